/* SPDX-License-Identifier: MIT */
#include "ext/dns_match.h"

#include <string.h>

#include "base/bytes.h"

#define DNS_HEADER_BYTES 12U
#define DNS_LABEL_MAX    63U
#define DNS_RESPONSE     0x8000U
#define UDP_HEADER_BYTES 8U

static char to_text(uint8_t byte)
{
	if (byte >= 'A' && byte <= 'Z') {
		return (char)(byte - 'A' + 'a');
	}
	if ((byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' ||
	    byte == '_') {
		return (char)byte;
	}
	return '?';
}

bool dns_question(const uint8_t *message, size_t bytes, char ret[DNS_NAME_BYTES])
{
	size_t at = DNS_HEADER_BYTES, length = 0;

	if (bytes < DNS_HEADER_BYTES || bytes_be16(message + 2) & DNS_RESPONSE ||
	    bytes_be16(message + 4) == 0) {
		return false;
	}
	for (;;) {
		size_t label;

		if (at >= bytes) {
			return false;
		}
		label = message[at++];
		if (label == 0) {
			break;
		}
		/* A pointer points back, and nothing is in front of the first question. */
		if (label > DNS_LABEL_MAX || label > bytes - at ||
		    length + label + 1 >= DNS_NAME_BYTES) {
			return false;
		}
		if (length > 0) {
			ret[length++] = '.';
		}
		for (size_t i = 0; i < label; i++) {
			ret[length++] = to_text(message[at + i]);
		}
		at += label;
	}
	ret[length] = '\0';
	return true;
}

bool dns_has_suffix(const char *name, const char *suffix)
{
	size_t name_bytes = strlen(name), suffix_bytes = strlen(suffix);

	return name_bytes >= suffix_bytes &&
	       strcmp(name + name_bytes - suffix_bytes, suffix) == 0 &&
	       (name_bytes == suffix_bytes || name[name_bytes - suffix_bytes - 1] == '.');
}

const uint8_t *dns_message(const uint8_t *frame, size_t bytes, size_t l4_offset, size_t *ret_bytes)
{
	if (l4_offset == 0 || bytes < l4_offset + UDP_HEADER_BYTES ||
	    bytes_be16(frame + l4_offset + 2) != DNS_PORT) {
		return NULL;
	}
	*ret_bytes = bytes - l4_offset - UDP_HEADER_BYTES;
	return frame + l4_offset + UDP_HEADER_BYTES;
}

bool dns_set_dscp(uint8_t *frame, size_t bytes, size_t l3_offset, unsigned int dscp,
		  bool has_checksum)
{
	uint8_t *ip = frame + l3_offset;

	if (l3_offset == 0 || bytes < l3_offset + 20) {
		return false;
	}
	if (ip[0] >> 4 == 4) {
		uint16_t was = bytes_be16(ip), sum = bytes_be16(ip + 10);
		uint32_t mended;

		ip[1] = (uint8_t)(dscp << 2 | (ip[1] & 3));
		/* RFC 1624, equation 3 */
		mended = (uint32_t)(uint16_t)~sum + (uint16_t)~was + bytes_be16(ip);
		mended = (mended & 0xffff) + (mended >> 16);
		mended = (mended & 0xffff) + (mended >> 16);
		if (has_checksum) {
			bytes_put_be16(ip + 10, (uint16_t)~mended);
		}
		return true;
	}
	if (ip[0] >> 4 == 6) {
		uint16_t first = bytes_be16(ip);

		bytes_put_be16(ip, (uint16_t)((first & 0xf03f) | dscp << 6));
		return true;
	}
	return false;
}

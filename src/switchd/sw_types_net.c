/* SPDX-License-Identifier: MIT */
/* How each type of value is read and written: lists and addresses. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "switchd/sw_value_internal.h"

/* ---- lists -------------------------------------------------------------------------------------- */

bool sw_next_word(const char **at, char *word, size_t bytes, bool *ok)
{
	const char *from = *at;
	size_t length;

	*ok = true;
	if (!from) {
		return false;
	}
	length = strcspn(from, ",");
	if (length == 0 || length >= bytes) {
		*ok = false;
		return false;
	}
	memcpy(word, from, length);
	word[length] = '\0';
	*at = from[length] ? from + length + 1 : NULL;
	return true;
}

bool sw_parse_names(const struct sw_key *key, const char *text, void *ret)
{
	struct sw_names *names = ret;
	char word[SW_NAME_BYTES];
	bool ok;

	if (strcmp(text, "none") == 0) {
		return true;
	}
	while (sw_next_word(&text, word, sizeof(word), &ok)) {
		if (names->count == SW_NAMES_MAX ||
		    !sw_parse_name(key, word, names->names[names->count])) {
			return false;
		}
		names->count++;
	}
	return ok;
}

void sw_build_names(const struct sw_key *key, const void *value, char *ret)
{
	const struct sw_names *names = value;
	size_t length = 0;

	(void)key;
	strcpy(ret, "none");
	for (unsigned int i = 0; i < names->count; i++) {
		length += (size_t)snprintf(ret + length, SW_TEXT_BYTES - length, "%s%s",
					   i ? "," : "", names->names[i]);
	}
}

bool sw_parse_mac(const struct sw_key *key, const char *text, void *ret)
{
	struct sw_mac *mac = ret;
	static const uint8_t none[6];

	(void)key;
	for (unsigned int i = 0; i < 6; i++) {
		const char *at = text + (size_t)i * 3;

		if (!isxdigit((unsigned char)at[0]) || !isxdigit((unsigned char)at[1]) ||
		    at[2] != (i < 5 ? ':' : '\0')) {
			return false;
		}
		mac->bytes[i] = (uint8_t)strtoul(at, NULL, 16);
	}
	return !(mac->bytes[0] & 1) && memcmp(mac->bytes, none, 6) != 0;
}

void sw_build_mac(const struct sw_key *key, const void *value, char *ret)
{
	const uint8_t *m = ((const struct sw_mac *)value)->bytes;

	(void)key;
	snprintf(ret, SW_TEXT_BYTES, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
}

bool sw_parse_macs(const struct sw_key *key, const char *text, void *ret)
{
	struct sw_macs *macs = ret;
	char word[32];
	bool ok;

	if (strcmp(text, "none") == 0) {
		return true;
	}
	while (sw_next_word(&text, word, sizeof(word), &ok)) {
		if (macs->count == SW_MACS_MAX ||
		    !sw_parse_mac(key, word, &macs->macs[macs->count])) {
			return false;
		}
		macs->count++;
	}
	return ok;
}

void sw_build_macs(const struct sw_key *key, const void *value, char *ret)
{
	const struct sw_macs *macs = value;
	char one[SW_TEXT_BYTES];
	size_t length = 0;

	strcpy(ret, "none");
	for (unsigned int i = 0; i < macs->count; i++) {
		sw_build_mac(key, &macs->macs[i], one);
		length += (size_t)snprintf(ret + length, SW_TEXT_BYTES - length, "%s%s",
					   i ? "," : "", one);
	}
}

/* ---- IP ----------------------------------------------------------------------------------------- */

_Static_assert(SW_ADDRESS_BYTES == INET6_ADDRSTRLEN, "what inet_ntop() may write");

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

static bool parse_address(const char *text, struct sw_address *ret, bool *ret_is_v4)
{
	if (inet_pton(AF_INET, text, ret->bytes + 12) == 1) {
		memcpy(ret->bytes, v4_mapped, sizeof(v4_mapped));
		*ret_is_v4 = true;
		return true;
	}
	*ret_is_v4 = false;
	/* ::ffff:1.2.3.4 would be written as 1.2.3.4 and is that. */
	return inet_pton(AF_INET6, text, ret->bytes) == 1 &&
	       memcmp(ret->bytes, v4_mapped, sizeof(v4_mapped)) != 0;
}

void sw_address_build(const struct sw_address *address, char ret[SW_ADDRESS_BYTES])
{
	bool is_v4 = memcmp(address->bytes, v4_mapped, sizeof(v4_mapped)) == 0;

	inet_ntop(is_v4 ? AF_INET : AF_INET6, address->bytes + (is_v4 ? 12 : 0), ret,
		  SW_ADDRESS_BYTES);
}

bool sw_parse_arp(const struct sw_key *key, const char *text, void *ret)
{
	struct sw_arp *arp = ret;
	char word[INET6_ADDRSTRLEN];
	bool ok, is_v4;

	(void)key;
	if (strcmp(text, "off") == 0 || strcmp(text, "snoop") == 0) {
		arp->mode = text[0] == 'o' ? SW_ARP_OFF : SW_ARP_SNOOP;
		return true;
	}
	arp->mode = SW_ARP_LIST;
	while (sw_next_word(&text, word, sizeof(word), &ok)) {
		if (arp->count == SW_ADDRESSES_MAX ||
		    !parse_address(word, &arp->addresses[arp->count], &is_v4)) {
			return false;
		}
		arp->count++;
	}
	return ok;
}

void sw_build_arp(const struct sw_key *key, const void *value, char *ret)
{
	const struct sw_arp *arp = value;
	char one[SW_ADDRESS_BYTES];
	size_t length = 0;

	(void)key;
	strcpy(ret, arp->mode == SW_ARP_SNOOP ? "snoop" : "off");
	for (unsigned int i = 0; i < arp->count; i++) {
		sw_address_build(&arp->addresses[i], one);
		length += (size_t)snprintf(ret + length, SW_TEXT_BYTES - length, "%s%s",
					   i ? "," : "", one);
	}
}

/* Whether all bits behind the first `bits` are zero. */
static bool is_prefix(const struct sw_address *address, unsigned int bits)
{
	for (unsigned int i = bits; i < 128; i++) {
		if (address->bytes[i / 8] >> (7 - i % 8) & 1) {
			return false;
		}
	}
	return true;
}

bool sw_parse_prefix(const struct sw_key *key, const char *text, void *ret)
{
	struct sw_prefix *prefix = ret;
	char word[INET6_ADDRSTRLEN];
	size_t length = strcspn(text, "/");
	uint64_t bits;
	unsigned int before;

	(void)key;
	if (strcmp(text, "any") == 0) {
		return true;
	}
	if (length >= sizeof(word)) {
		return false;
	}
	memcpy(word, text, length);
	word[length] = '\0';
	if (!parse_address(word, &prefix->address, &prefix->is_v4)) {
		return false;
	}
	before = prefix->is_v4 ? 96 : 0;
	bits = 128 - before;
	if (text[length] && !sw_read_whole(text + length + 1, 1, 128 - before, &bits)) {
		return false;
	}
	prefix->bits = (uint8_t)(bits + before);
	return is_prefix(&prefix->address, prefix->bits);
}

void sw_build_prefix(const struct sw_key *key, const void *value, char *ret)
{
	const struct sw_prefix *prefix = value;
	char one[SW_ADDRESS_BYTES];

	(void)key;
	if (prefix->bits == 0) {
		strcpy(ret, "any");
		return;
	}
	sw_address_build(&prefix->address, one);
	if (prefix->bits == 128) {
		snprintf(ret, SW_TEXT_BYTES, "%s", one);
	} else {
		snprintf(ret, SW_TEXT_BYTES, "%s/%d", one, prefix->bits - (prefix->is_v4 ? 96 : 0));
	}
}

static bool read_ipv4(const char *text, uint32_t *ret)
{
	struct in_addr address;

	if (inet_pton(AF_INET, text, &address) != 1 || address.s_addr == 0) {
		return false;
	}
	*ret = ntohl(address.s_addr);
	return true;
}

void sw_ipv4_text(uint32_t address, char ret[SW_IPV4_TEXT_BYTES])
{
	struct in_addr in = { htonl(address) };

	inet_ntop(AF_INET, &in, ret, INET_ADDRSTRLEN);
}

bool sw_parse_ipv4(const struct sw_key *key, const char *text, void *ret)
{
	(void)key;
	return strcmp(text, "auto") == 0 || read_ipv4(text, ret);
}

void sw_build_ipv4(const struct sw_key *key, const void *value, char *ret)
{
	uint32_t address = *(const uint32_t *)value;

	(void)key;
	if (address == 0) {
		strcpy(ret, "auto");
	} else {
		sw_ipv4_text(address, ret);
	}
}

bool sw_parse_pool(const struct sw_key *key, const char *text, void *ret)
{
	struct sw_pool *pool = ret;
	char first[INET_ADDRSTRLEN];
	size_t length = strcspn(text, "-");

	(void)key;
	if (strcmp(text, "auto") == 0) {
		return true;
	}
	if (!text[length] || length >= sizeof(first)) {
		return false;
	}
	memcpy(first, text, length);
	first[length] = '\0';
	return read_ipv4(first, &pool->first) && read_ipv4(text + length + 1, &pool->last) &&
	       pool->first <= pool->last;
}

void sw_build_pool(const struct sw_key *key, const void *value, char *ret)
{
	const struct sw_pool *pool = value;
	char first[INET_ADDRSTRLEN], last[INET_ADDRSTRLEN];

	(void)key;
	if (pool->first == 0) {
		strcpy(ret, "auto");
		return;
	}
	sw_ipv4_text(pool->first, first);
	sw_ipv4_text(pool->last, last);
	snprintf(ret, SW_TEXT_BYTES, "%s-%s", first, last);
}

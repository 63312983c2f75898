/* SPDX-License-Identifier: MIT */
#include "chipset/tulip/tulip_crc.h"

#include "base/bytes.h"

#define POLYNOMIAL 0xedb88320U /* reflected */

static uint32_t step(uint32_t value, unsigned int bits)
{
	for (unsigned int i = 0; i < bits; i++) {
		value = value >> 1 ^ (value & 1 ? POLYNOMIAL : 0);
	}
	return value;
}

void tulip_crc_init(struct tulip_crc *crc)
{
	for (unsigned int i = 0; i < 256; i++) {
		uint32_t value = i;

		for (unsigned int byte = 0; byte < 8; byte++) {
			value = step(value, 8);
			crc->table[byte][i] = value;
		}
	}
}

/* table[n]: a byte with n bytes behind it. */
static uint32_t eight(const struct tulip_crc *crc, uint32_t value, const uint8_t *at)
{
	uint32_t low = value ^ bytes_le32(at), high = bytes_le32(at + 4);

	value = 0;
	for (unsigned int i = 0; i < 4; i++) {
		value ^= crc->table[7 - i][low >> 8 * i & 0xff];
		value ^= crc->table[3 - i][high >> 8 * i & 0xff];
	}
	return value;
}

uint32_t tulip_crc_add(const struct tulip_crc *crc, uint32_t value, const void *buf, size_t bytes)
{
	const uint8_t *at = buf;

	for (; bytes >= 8; at += 8, bytes -= 8) {
		value = eight(crc, value, at);
	}
	for (; bytes; at++, bytes--) {
		value = value >> 8 ^ crc->table[0][(value ^ *at) & 0xff];
	}
	return value;
}

uint32_t tulip_crc_bytes(const uint8_t *bytes, size_t count)
{
	uint32_t value = TULIP_CRC_BEGIN;

	for (size_t i = 0; i < count; i++) {
		value = step(value ^ bytes[i], 8);
	}
	return value;
}

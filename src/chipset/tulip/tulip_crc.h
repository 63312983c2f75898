/* SPDX-License-Identifier: MIT */
/*
 * Ethernet's CRC-32, as its check sequence, the hash of its multicast filters and the serial ROM's checksum
 * have it: reflected, begun with ones. A running value, not complemented yet.
 *
 *   thread  any
 *   spec    IEEE 802.3 3.2.9
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TULIP_CRC_BEGIN 0xffffffffU

/* For speed, eight bytes at a time. Filled once by its owner. */
struct tulip_crc {
	uint32_t table[8][256];
};

void tulip_crc_init(struct tulip_crc *crc);
uint32_t tulip_crc_add(const struct tulip_crc *crc, uint32_t value, const void *buf, size_t bytes);

/* Of a few bytes, without a table. */
uint32_t tulip_crc_bytes(const uint8_t *bytes, size_t count);

/* SPDX-License-Identifier: MIT */
#include "base/crc32c.h"

#include <string.h>

/* Four bits at a time: for processors without the instruction. */
static uint32_t crc_plain(uint32_t crc, const uint8_t *p, size_t bytes)
{
	static const uint32_t table[16] = {
		0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
		0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
		0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
	};

	for (; bytes > 0; p++, bytes--) {
		crc ^= *p;
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc_fast(uint32_t crc, const uint8_t *p,
							   size_t bytes)
{
	uint64_t wide = crc;

	for (; bytes >= 8; p += 8, bytes -= 8) {
		uint64_t word;

		memcpy(&word, p, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; bytes > 0; p++, bytes--) {
		crc = __builtin_ia32_crc32qi(crc, *p);
	}
	return crc;
}
#endif

uint32_t crc32c_plain(uint32_t crc, const void *buf, size_t bytes)
{
	return ~crc_plain(~crc, buf, bytes);
}

uint32_t crc32c(uint32_t crc, const void *buf, size_t bytes)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2")) {
		return ~crc_fast(~crc, buf, bytes);
	}
#endif
	return crc32c_plain(crc, buf, bytes);
}

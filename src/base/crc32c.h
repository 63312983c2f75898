/* SPDX-License-Identifier: MIT */
/*
 * CRC-32C (Castagnoli, reflected), as image formats and networks use it.
 *
 *   thread  any
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Of bytes that follow those of crc; 0 to begin. */
uint32_t crc32c(uint32_t crc, const void *buf, size_t bytes);

/* The same without the processor's instruction for it; for tests. */
uint32_t crc32c_plain(uint32_t crc, const void *buf, size_t bytes);

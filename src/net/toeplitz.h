/* SPDX-License-Identifier: MIT */
/*
 * The Toeplitz hash of receive-side scaling: each bit of the input that is set adds (xor) the 32 bits of
 * the key that begin there. Four bits at a time by tables, which depend on the key alone.
 *
 *   owner   the caller   thread  any; a table is read-only once made
 *   spec    Microsoft, "RSS hashing functions"; vectors in "Verifying the RSS hash calculation"
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TOEPLITZ_KEY_BYTES   40
#define TOEPLITZ_INPUT_BYTES 36 /* two IPv6 addresses and two ports */

/* The tables of shorter inputs are the first of these: 1.5 KB of them for IPv4. */
struct toeplitz {
	uint32_t table[2 * TOEPLITZ_INPUT_BYTES][16];
};

void toeplitz_init(struct toeplitz *toeplitz, const uint8_t key[TOEPLITZ_KEY_BYTES]);

/* bytes: at most TOEPLITZ_INPUT_BYTES */
static inline uint32_t toeplitz_hash(const struct toeplitz *toeplitz, const uint8_t *input,
				     size_t bytes)
{
	uint32_t hash = 0;

	for (size_t i = 0; i < bytes; i++) {
		hash ^= toeplitz->table[2 * i][input[i] >> 4] ^
			toeplitz->table[2 * i + 1][input[i] & 15];
	}
	return hash;
}

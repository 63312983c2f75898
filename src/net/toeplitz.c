/* SPDX-License-Identifier: MIT */
#include "net/toeplitz.h"

/* The 32 bits of the key that begin at a bit. */
static uint32_t window(const uint8_t *key, unsigned int bit)
{
	uint64_t five = 0;

	for (unsigned int i = 0; i < 5; i++) {
		five = five << 8 | (bit / 8 + i < TOEPLITZ_KEY_BYTES ? key[bit / 8 + i] : 0U);
	}
	return (uint32_t)(five >> (8 - bit % 8));
}

void toeplitz_init(struct toeplitz *toeplitz, const uint8_t key[TOEPLITZ_KEY_BYTES])
{
	for (unsigned int nibble = 0; nibble < 2 * TOEPLITZ_INPUT_BYTES; nibble++) {
		for (unsigned int value = 0; value < 16; value++) {
			uint32_t sum = 0;

			for (unsigned int bit = 0; bit < 4; bit++) {
				sum ^= value & (8U >> bit) ? window(key, 4 * nibble + bit) : 0;
			}
			toeplitz->table[nibble][value] = sum;
		}
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * hash_mix(): for tables whose keys strangers choose, seeded with a secret, so that nobody can aim at one
 * bucket. Not for cryptography.
 *
 *   thread  any; pure functions
 */
#pragma once

#include <stdint.h>

/* Every bit of both words reaches every bit of the result (the finalizer of MurmurHash3, twice). */
static inline uint64_t hash_mix(uint64_t secret, uint64_t key)
{
	uint64_t h = key ^ secret;

	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h += secret;
	h *= 0xc4ceb9fe1a85ec53ULL;
	h ^= h >> 33;
	return h;
}

#define HASH_FNV1A_BASIS 0xcbf29ce484222325ULL

/*
 * FNV-1a of a text, which goes on with `hash`: the same in every process and for ever. It has no secret:
 * not for tables that a guest fills.
 */
static inline uint64_t hash_fnv1a(uint64_t hash, const char *text)
{
	for (; *text; text++) {
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3ULL;
	}
	return hash;
}

/* SPDX-License-Identifier: MIT */
/*
 * Which of several members a flow is for: each member gets a number made of the flow's hash and its own,
 * and the highest wins. When a member leaves or comes, only its own flows move. Pure.
 *
 *   source  Thaler, Ravishankar: "Using Name-Based Mappings to Increase Hit Rates" (1998)
 */
#pragma once

#include <stdint.h>

#include "base/hash.h"

/* One of `count` members (numbers), or -1: there is none. */
static inline int spread_pick(const uint16_t *members, unsigned int count, uint32_t hash)
{
	uint64_t best = 0;
	int picked = -1;

	for (unsigned int i = 0; i < count; i++) {
		uint64_t weight = hash_mix(members[i], hash);

		if (picked < 0 || weight > best) {
			best = weight;
			picked = members[i];
		}
	}
	return picked;
}

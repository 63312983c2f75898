/* SPDX-License-Identifier: MIT */
/*
 * Which frames are for this card: the last setup frame's addresses or hash table, read as its descriptor's two
 * filtering bits said (4.2.3), which CSR6 shows as HP, HO and IF.
 *
 *     FT1 FT0     0 0: 16 addresses     0 1: a hash for groups, one address
 *                 1 0: all but 16       1 1: a hash for everything
 */
#include <string.h>

#include "chipset/tulip/tulip_internal.h"

#define HASH_MASK (TULIP_SETUP_HASH_BITS - 1)

void tulip_filter_setup(struct tulip *tulip, const uint8_t *setup, uint32_t control)
{
	uint32_t mode = 0;

	if (control & TULIP_TDES1_FT0) {
		mode = control & TULIP_TDES1_FT1 ? TULIP_CSR6_HP | TULIP_CSR6_HO : TULIP_CSR6_HP;
	} else if (control & TULIP_TDES1_FT1) {
		mode = TULIP_CSR6_IF;
	}
	memcpy(tulip->setup, setup, TULIP_SETUP_BYTES);
	tulip->csr6 = (tulip->csr6 & ~TULIP_CSR6_FILTER) | mode;
	tulip->counters.setups++;
}

/* An address lies in the first two bytes of three longwords. */
static bool is_address(const uint8_t *at, const uint8_t *to)
{
	return at[0] == to[0] && at[1] == to[1] && at[4] == to[2] && at[5] == to[3] &&
	       at[8] == to[4] && at[9] == to[5];
}

static bool in_table(const struct tulip *tulip, const uint8_t *to)
{
	for (unsigned int i = 0; i < TULIP_SETUP_ADDRESSES; i++) {
		if (is_address(tulip->setup + i * TULIP_SETUP_ADDRESS_BYTES, to)) {
			return true;
		}
	}
	return false;
}

/* 16 bits in each longword. */
static bool in_hash(const struct tulip *tulip, const uint8_t *to)
{
	uint32_t bit = tulip_crc_bytes(to, NET_MAC_BYTES) & HASH_MASK;

	return tulip->setup[bit / 16 * 4 + bit % 16 / 8] >> bit % 8 & 1;
}

bool tulip_filter_matches(const struct tulip *tulip, const uint8_t *to)
{
	bool is_group = to[0] & 1;

	if (is_group && tulip->csr6 & TULIP_CSR6_PM) {
		return true;
	}
	if (!(tulip->csr6 & TULIP_CSR6_HP)) {
		return in_table(tulip, to) != ((tulip->csr6 & TULIP_CSR6_IF) != 0);
	}
	if (is_group || tulip->csr6 & TULIP_CSR6_HO) {
		return in_hash(tulip, to);
	}
	return is_address(tulip->setup + TULIP_SETUP_HASH_ADDRESS, to);
}

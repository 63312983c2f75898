/* SPDX-License-Identifier: MIT */
/*
 * The two serial lines behind CSR9: a 93C46 (64 words of EEPROM on a Microwire bus) and a PHY on MII
 * management. State machines of edges: no I/O, no time.
 *
 *   owner   tulip   thread  under the chipset lock
 *   spec    National Semiconductor NM93C46 data sheet (instruction set, timing); IEEE 802.3 22.2.4
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/net.h"
#include "proto/tulip.h"
#include "state/load.h"
#include "state/save.h"

struct tulip_srom {
	uint16_t words[TULIP_SROM_WORDS];
	/* the wires */
	bool selected, clock, out;
	/* an instruction: bits since the start bit; out_bits: left to be read */
	bool started, is_writable;
	uint8_t bits;
	uint8_t out_bits;
	uint32_t shift;
	uint16_t out_word;
	uint8_t address;
};

/* What such a board's ROM holds: identity, the address, one MII block, checksums. Erases the wires' state. */
void tulip_srom_init(struct tulip_srom *srom, const uint8_t *mac);
/* The wires as CSR9 has them; the answer is srom->out. */
void tulip_srom_wires(struct tulip_srom *srom, bool selected, bool clock, bool in);
void tulip_srom_save(const struct tulip_srom *srom, struct save *save);
MUST_CHECK int tulip_srom_load(struct tulip_srom *srom, struct load *load);

enum tulip_phy_step { PHY_IDLE, PHY_START, PHY_HEAD, PHY_READ, PHY_WRITE, PHY_STEPS };

struct tulip_phy {
	bool link;  /* the wire's */
	bool clock; /* MDC as it was */
	bool out;   /* what MDI shows */
	uint8_t step;
	uint8_t bits;
	uint32_t shift;
	bool link_lost; /* since BMSR was read: it says so once */
	uint16_t control, advertise;
};

void tulip_phy_reset(struct tulip_phy *phy);
void tulip_phy_wires(struct tulip_phy *phy, bool clock, bool in);
void tulip_phy_set_link(struct tulip_phy *phy, bool link);
/* Whether frames get through it. */
bool tulip_phy_is_up(const struct tulip_phy *phy);
void tulip_phy_save(const struct tulip_phy *phy, struct save *save);
MUST_CHECK int tulip_phy_load(struct tulip_phy *phy, struct load *load);

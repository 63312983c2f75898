/* SPDX-License-Identifier: MIT */
/*
 * A PHY that does 10 and 100 Mb/s, half and full duplex, and has a partner that does, too: negotiation is done
 * as soon as there is a link. Its management frames (22.2.4.5):
 *
 *            1        0        1          op, PHY, register           turn-around, 16 bits
 *   PHY_IDLE ┘ ──► PHY_START ──► PHY_HEAD ─────────────────► PHY_READ or PHY_WRITE ──► PHY_IDLE
 *
 * A bit counts at the rising edge of MDC. When it reads, the PHY changes the line after the edge, so that
 * a 0 is seen before the second edge and the value's first bit before the third.
 */
#include "chipset/tulip/tulip_serial.h"

#define HEAD_BITS       12U /* operation, PHY, register */
#define DATA_BITS       18U /* turn-around and value */
#define OP_WRITE        1U
#define OP_READ         2U
#define NOBODY          0xffffU /* the line is pulled up */

#define PHY_ID1         0x2000U /* a DP83840A's */
#define PHY_ID2         0x5c01U
#define ADVERTISES      0x01e1U
#define ADVERTISE_KEEPS 0x2dffU /* all but next page and acknowledge */
#define PARTNER         0x41e1U /* acknowledged */
#define PARTNER_NWAY    0x0003U /* a page was received; it negotiates */
#define CONTROL_RESET   (MII_BMCR_100 | MII_BMCR_NEGOTIATE)
#define CONTROL_KEEPS                                                                              \
	(MII_BMCR_LOOPBACK | MII_BMCR_100 | MII_BMCR_NEGOTIATE | MII_BMCR_POWER_DOWN |             \
	 MII_BMCR_ISOLATE | MII_BMCR_FULL | MII_BMCR_COLLISION_TEST)

enum {
	PHY_STATE_WIRES = 1, /* clock, out, link lost: a bit each */
	PHY_STATE_STEP = 2,
	PHY_STATE_BITS = 3,
	PHY_STATE_SHIFT = 4,
	PHY_STATE_CONTROL = 5,
	PHY_STATE_ADVERTISE = 6,
};

/* ---- registers --------------------------------------------------------------------------------------- */

static bool has_link(const struct tulip_phy *phy)
{
	return phy->link && !(phy->control & MII_BMCR_POWER_DOWN);
}

bool tulip_phy_is_up(const struct tulip_phy *phy)
{
	return has_link(phy) && !(phy->control & MII_BMCR_ISOLATE);
}

static bool has_negotiated(const struct tulip_phy *phy)
{
	return has_link(phy) && phy->control & MII_BMCR_NEGOTIATE;
}

static uint16_t read_status(struct tulip_phy *phy)
{
	uint16_t value = MII_BMSR_ABILITIES;

	if (has_negotiated(phy)) {
		value |= MII_BMSR_NEGOTIATED;
	}
	/* Latched low: who looks learns of a break that is over (22.2.4.2.13). */
	if (has_link(phy) && !phy->link_lost) {
		value |= MII_BMSR_LINK;
	}
	phy->link_lost = false;
	return value;
}

static uint16_t read_register(struct tulip_phy *phy, unsigned int number)
{
	switch (number) {
	case MII_BMCR:
		return phy->control;
	case MII_BMSR:
		return read_status(phy);
	case MII_ID1:
		return PHY_ID1;
	case MII_ID2:
		return PHY_ID2;
	case MII_ADVERTISE:
		return phy->advertise;
	case MII_PARTNER:
		return has_negotiated(phy) ? PARTNER : 0;
	case MII_EXPANSION:
		return has_negotiated(phy) ? PARTNER_NWAY : 0;
	default:
		return 0;
	}
}

static void set_control(struct tulip_phy *phy, uint16_t value)
{
	bool had_link = has_link(phy);

	if (value & MII_BMCR_RESET) { /* done at once */
		phy->control = CONTROL_RESET;
		phy->advertise = ADVERTISES;
	} else {
		phy->control = value & CONTROL_KEEPS;
	}
	phy->link_lost |= had_link && !has_link(phy);
}

static void write_register(struct tulip_phy *phy, unsigned int number, uint16_t value)
{
	if (number == MII_BMCR) {
		set_control(phy, value);
	} else if (number == MII_ADVERTISE) {
		phy->advertise = value & ADVERTISE_KEEPS;
	}
}

void tulip_phy_set_link(struct tulip_phy *phy, bool link)
{
	bool had_link = has_link(phy);

	phy->link = link;
	phy->link_lost |= had_link && !has_link(phy);
}

void tulip_phy_reset(struct tulip_phy *phy)
{
	bool link = phy->link;

	*phy = (struct tulip_phy){
		.link = link, .out = true, .control = CONTROL_RESET, .advertise = ADVERTISES
	};
}

/* ---- the wires --------------------------------------------------------------------------------------- */

static void head_done(struct tulip_phy *phy)
{
	unsigned int op = phy->shift >> 10 & 3, address = phy->shift >> 5 & 0x1f;

	phy->step = PHY_IDLE;
	if (op == OP_READ) {
		phy->step = PHY_READ;
		phy->shift = address == TULIP_PHY_ADDRESS
				     ? read_register(phy, phy->shift & 0x1f)
				     : NOBODY | 1U << 16; /* not even the turn-around's 0 */
	} else if (op == OP_WRITE) {
		phy->step = PHY_WRITE;
	}
	phy->bits = 0;
}

/* The first edge of a read is followed by the 0 of the turn-around, the next sixteen by the value. */
static void read_edge(struct tulip_phy *phy)
{
	phy->bits++;
	if (phy->bits == DATA_BITS) {
		phy->out = true;
		phy->step = PHY_IDLE;
		phy->bits = 0;
		return;
	}
	phy->out = phy->shift >> (DATA_BITS - 1 - phy->bits) & 1;
}

/* shift: register and PHY above the turn-around and the value; 10 + 18 bits. */
static void write_edge(struct tulip_phy *phy)
{
	phy->bits++;
	if (phy->bits < DATA_BITS) {
		return;
	}
	phy->step = PHY_IDLE;
	phy->bits = 0;
	if ((phy->shift >> (DATA_BITS + 5) & 0x1f) == TULIP_PHY_ADDRESS) {
		write_register(phy, phy->shift >> DATA_BITS & 0x1f, (uint16_t)phy->shift);
	}
}

static void rising(struct tulip_phy *phy, bool in)
{
	if (phy->step != PHY_READ) {
		phy->shift = phy->shift << 1 | in;
	}
	switch (phy->step) {
	case PHY_IDLE:
		phy->step = in ? PHY_IDLE : PHY_START;
		break;
	case PHY_START:
		phy->step = in ? PHY_HEAD : PHY_IDLE;
		phy->bits = 0;
		break;
	case PHY_HEAD:
		if (++phy->bits == HEAD_BITS) {
			head_done(phy);
		}
		break;
	case PHY_READ:
		read_edge(phy);
		break;
	default:
		write_edge(phy);
		break;
	}
}

void tulip_phy_wires(struct tulip_phy *phy, bool clock, bool in)
{
	if (clock && !phy->clock) {
		rising(phy, in);
	}
	phy->clock = clock;
}

/* ---- state ------------------------------------------------------------------------------------------- */

void tulip_phy_save(const struct tulip_phy *phy, struct save *save)
{
	save_u32(save, PHY_STATE_WIRES,
		 phy->clock | (uint32_t)phy->out << 1 | (uint32_t)phy->link_lost << 2);
	save_u32(save, PHY_STATE_STEP, phy->step);
	save_u32(save, PHY_STATE_BITS, phy->bits);
	save_u32(save, PHY_STATE_SHIFT, phy->shift);
	save_u32(save, PHY_STATE_CONTROL, phy->control);
	save_u32(save, PHY_STATE_ADVERTISE, phy->advertise);
}

static void load_field(struct tulip_phy *phy, uint16_t tag, uint32_t value)
{
	switch (tag) {
	case PHY_STATE_WIRES:
		phy->clock = value & 1;
		phy->out = value >> 1 & 1;
		phy->link_lost = value >> 2 & 1;
		break;
	case PHY_STATE_STEP:
		phy->step = (uint8_t)value;
		break;
	case PHY_STATE_BITS:
		phy->bits = (uint8_t)value;
		break;
	case PHY_STATE_SHIFT:
		phy->shift = value;
		break;
	case PHY_STATE_CONTROL:
		phy->control = value & CONTROL_KEEPS;
		break;
	case PHY_STATE_ADVERTISE:
		phy->advertise = value & ADVERTISE_KEEPS;
		break;
	default:
		break;
	}
}

int tulip_phy_load(struct tulip_phy *phy, struct load *load)
{
	struct load_field field;

	while (load_next(load, &field)) {
		if (field.tag <= PHY_STATE_ADVERTISE) {
			load_field(phy, field.tag, load_u32(load, &field));
		}
	}
	if (phy->step >= PHY_STEPS ||
	    phy->bits >= (phy->step >= PHY_READ ? DATA_BITS : HEAD_BITS)) {
		load_fail(load);
		phy->step = PHY_IDLE;
		phy->bits = 0;
	}
	return load_result(load);
}

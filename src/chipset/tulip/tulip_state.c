/* SPDX-License-Identifier: MIT */
/* What is kept of a 21140, and what is told of it. */
#include "chipset/tulip/tulip_internal.h"

enum {
	TULIP_STATE_PCI = 1,
	TULIP_STATE_CSR0 = 2,
	TULIP_STATE_CSR3 = 3,
	TULIP_STATE_CSR4 = 4,
	TULIP_STATE_CSR5 = 5,
	TULIP_STATE_CSR6 = 6,
	TULIP_STATE_CSR7 = 7,
	TULIP_STATE_CSR9 = 8,
	TULIP_STATE_CSR10 = 9,
	TULIP_STATE_CSR15 = 10,
	TULIP_STATE_BUS_ERROR = 11, /* 1 + CSR5's EB: no access; 0: none */
	TULIP_STATE_TIMER = 12,
	TULIP_STATE_TIMER_LEFT_NS = 13, /* 0: it does not run */
	TULIP_STATE_PINS = 14,          /* and the outputs among them, in bits 8 to 15 */
	TULIP_STATE_MISSED = 15,
	TULIP_STATE_OVERFLOW = 16,
	TULIP_STATE_SETUP = 17,
	TULIP_STATE_SROM = 18,
	TULIP_STATE_PHY = 19,
	TULIP_STATE_TX_AT = 20,
	TULIP_STATE_TX_STATE = 21,
	TULIP_STATE_RX_AT = 22,
	TULIP_STATE_RX_STATE = 23,
	TULIP_STATE_RX_LATE = 24,
	TULIP_STATE_CABLE = 25,
};

#define MISSED_MASK       (TULIP_CSR8_MFO | TULIP_CSR8_MISSED_MAX)
#define OVERFLOW_MASK     (TULIP_CSR8_OCO | TULIP_CSR8_OVERFLOW_MAX << TULIP_CSR8_OVERFLOW_SHIFT)
#define TIMER_LEFT_MAX_NS (0x10000 * TULIP_CSR11_TICK_10_NS)

/* ---- save ------------------------------------------------------------------------------------------------ */

static void save_registers(const struct tulip *tulip, struct save *save)
{
	uint64_t now_ns = loop_now_ns(), left_ns = 0;

	if (tulip->timer_end_ns) {
		left_ns = tulip->timer_end_ns > now_ns ? tulip->timer_end_ns - now_ns : 1;
	}
	save_u32(save, TULIP_STATE_CSR0, tulip->csr0);
	save_u32(save, TULIP_STATE_CSR3, tulip->csr3);
	save_u32(save, TULIP_STATE_CSR4, tulip->csr4);
	save_u32(save, TULIP_STATE_CSR5, tulip->csr5);
	save_u32(save, TULIP_STATE_CSR6, tulip->csr6);
	save_u32(save, TULIP_STATE_CSR7, tulip->csr7);
	save_u32(save, TULIP_STATE_CSR9, tulip->csr9);
	save_u32(save, TULIP_STATE_CSR10, tulip->csr10);
	save_u32(save, TULIP_STATE_CSR15, tulip->csr15);
	save_u32(save, TULIP_STATE_BUS_ERROR, tulip->is_dead ? tulip->bus_error + 1 : 0);
	save_u32(save, TULIP_STATE_TIMER, tulip->timer_value);
	save_u64(save, TULIP_STATE_TIMER_LEFT_NS, left_ns);
	save_u32(save, TULIP_STATE_PINS, tulip->pins | (uint32_t)tulip->pins_out << 8);
	save_u32(save, TULIP_STATE_MISSED, tulip->missed);
	save_u32(save, TULIP_STATE_OVERFLOW, tulip->overflow);
}

void tulip_save(struct tulip *tulip, struct save *save)
{
	chipset_lock(tulip->chipset);
	check(!tulip->tx.is_sending);
	save_group_begin(save, TULIP_STATE_PCI);
	pci_function_save(&tulip->pci, save);
	save_group_end(save);
	save_registers(tulip, save);
	save_bytes(save, TULIP_STATE_SETUP, tulip->setup, sizeof(tulip->setup));
	save_group_begin(save, TULIP_STATE_SROM);
	tulip_srom_save(&tulip->srom, save);
	save_group_end(save);
	save_group_begin(save, TULIP_STATE_PHY);
	tulip_phy_save(&tulip->phy, save);
	save_group_end(save);
	save_u32(save, TULIP_STATE_TX_AT, tulip->tx.at);
	save_u32(save, TULIP_STATE_TX_STATE, tulip->tx.state);
	save_u32(save, TULIP_STATE_RX_AT, tulip->rx.at);
	save_u32(save, TULIP_STATE_RX_STATE, tulip->rx.state);
	save_u32(save, TULIP_STATE_RX_LATE, tulip->rx.is_late);
	save_u32(save, TULIP_STATE_CABLE, tulip->is_cable_in);
	chipset_unlock(tulip->chipset);
}

/* ---- load ------------------------------------------------------------------------------------------------ */

static void load_timer(struct tulip *tulip, struct load *load, uint64_t left_ns)
{
	if (left_ns > TIMER_LEFT_MAX_NS) {
		load_fail(load);
		return;
	}
	tulip->timer_end_ns = left_ns ? loop_now_ns() + left_ns : 0;
}

static void load_state(struct load *load, uint32_t value, const uint8_t *states, unsigned int count,
		       uint8_t *ret)
{
	for (unsigned int i = 0; i < count; i++) {
		if (states[i] == value) {
			*ret = (uint8_t)value;
			return;
		}
	}
	load_fail(load);
}

static void load_process(struct tulip *tulip, struct load *load, uint16_t tag, uint32_t value)
{
	static const uint8_t tx[] = { TULIP_TS_STOPPED, TULIP_TS_FETCH, TULIP_TS_READ,
				      TULIP_TS_SUSPENDED };
	static const uint8_t rx[] = { TULIP_RS_STOPPED, TULIP_RS_WAIT, TULIP_RS_SUSPENDED };

	switch (tag) {
	case TULIP_STATE_TX_AT:
		tulip->tx.at = value & ~3U;
		break;
	case TULIP_STATE_TX_STATE:
		load_state(load, value, tx, sizeof(tx), &tulip->tx.state);
		break;
	case TULIP_STATE_RX_AT:
		tulip->rx.at = value & ~3U;
		break;
	case TULIP_STATE_RX_STATE:
		load_state(load, value, rx, sizeof(rx), &tulip->rx.state);
		break;
	case TULIP_STATE_RX_LATE:
		tulip->rx.is_late = value & 1;
		break;
	case TULIP_STATE_CABLE:
		tulip->is_cable_in = value & 1;
		break;
	default:
		break;
	}
}

static void load_bus_error(struct tulip *tulip, struct load *load, uint32_t value)
{
	if (value > TULIP_CSR5_EB_MASK + 1) {
		load_fail(load);
		return;
	}
	tulip->is_dead = value != 0;
	tulip->bus_error = value ? value - 1 : 0;
}

static void load_register(struct tulip *tulip, struct load *load, uint16_t tag, uint32_t value)
{
	switch (tag) {
	case TULIP_STATE_CSR0:
		tulip->csr0 = value & ~TULIP_CSR0_ONES;
		break;
	case TULIP_STATE_CSR3:
		tulip->csr3 = value & ~3U;
		break;
	case TULIP_STATE_CSR4:
		tulip->csr4 = value & ~3U;
		break;
	case TULIP_STATE_CSR5:
		tulip->csr5 = value & (TULIP_CSR5_NORMAL | TULIP_CSR5_ABNORMAL);
		break;
	case TULIP_STATE_CSR6:
		tulip->csr6 = value;
		break;
	case TULIP_STATE_CSR7:
		tulip->csr7 = value & TULIP_CSR7_WRITABLE;
		break;
	case TULIP_STATE_CSR9:
		tulip->csr9 = value;
		break;
	case TULIP_STATE_CSR10:
		tulip->csr10 = value & ~TULIP_CSR10_ONES;
		break;
	case TULIP_STATE_CSR15:
		tulip->csr15 = value & TULIP_CSR15_WRITABLE;
		break;
	case TULIP_STATE_BUS_ERROR:
		load_bus_error(tulip, load, value);
		break;
	case TULIP_STATE_TIMER:
		tulip->timer_value = value & (TULIP_CSR11_CONTINUOUS | 0xffff);
		break;
	case TULIP_STATE_PINS:
		tulip->pins = (uint8_t)value;
		tulip->pins_out = (uint8_t)(value >> 8);
		break;
	case TULIP_STATE_MISSED:
		tulip->missed = value & MISSED_MASK;
		break;
	case TULIP_STATE_OVERFLOW:
		tulip->overflow = value & OVERFLOW_MASK;
		break;
	default:
		load_process(tulip, load, tag, value);
		break;
	}
}

static void load_group_field(struct tulip *tulip, struct load *load, const struct load_field *field)
{
	struct load inner;
	int err;

	load_group(load, field, &inner);
	if (field->tag == TULIP_STATE_PCI) {
		err = pci_function_load(&tulip->pci, &inner);
	} else if (field->tag == TULIP_STATE_SROM) {
		err = tulip_srom_load(&tulip->srom, &inner);
	} else {
		err = tulip_phy_load(&tulip->phy, &inner);
	}
	load_close(load, &inner);
	if (err) {
		load_fail(load);
	}
}

static void load_one(struct tulip *tulip, struct load *load, const struct load_field *field)
{
	switch (field->tag) {
	case TULIP_STATE_PCI:
	case TULIP_STATE_SROM:
	case TULIP_STATE_PHY:
		load_group_field(tulip, load, field);
		break;
	case TULIP_STATE_SETUP:
		load_bytes(load, field, tulip->setup, sizeof(tulip->setup));
		break;
	case TULIP_STATE_TIMER_LEFT_NS:
		load_timer(tulip, load, load_u64(load, field));
		break;
	default:
		if (field->tag <= TULIP_STATE_CABLE) {
			load_register(tulip, load, field->tag, load_u32(load, field));
		}
		break;
	}
}

int tulip_load(struct tulip *tulip, struct load *load)
{
	struct load_field field;

	chipset_lock(tulip->chipset);
	tulip_power_on(tulip, false);
	while (load_next(load, &field)) {
		load_one(tulip, load, &field);
	}
	tulip_update_irq(tulip);
	chipset_unlock(tulip->chipset);
	tulip_link_update(tulip);
	return load_result(load);
}

/* ---- inspect --------------------------------------------------------------------------------------------- */

static void inspect_counters(const struct tulip_counters *counters, struct inspect *at)
{
	inspect_u64(at, "tx_frames", counters->tx_frames);
	inspect_u64(at, "tx_bytes", counters->tx_bytes);
	inspect_u64(at, "tx_lost", counters->tx_lost);
	inspect_u64(at, "tx_waits", counters->tx_waits);
	inspect_u64(at, "setup_frames", counters->setups);
	inspect_u64(at, "rx_frames", counters->rx_frames);
	inspect_u64(at, "rx_bytes", counters->rx_bytes);
	inspect_u64(at, "rx_lost", counters->rx_lost);
	inspect_u64(at, "rx_filtered", counters->rx_filtered);
	inspect_u64(at, "rx_missed", counters->rx_missed);
	inspect_u64(at, "rx_waits", counters->rx_waits);
	inspect_u64(at, "bus_errors", counters->bus_errors);
	inspect_u64(at, "interrupts", counters->interrupts);
}

void tulip_inspect(struct tulip *tulip, struct inspect *at)
{
	chipset_lock(tulip->chipset);
	inspect_format(at, "mac", "%02x:%02x:%02x:%02x:%02x:%02x", tulip->mac[0], tulip->mac[1],
		       tulip->mac[2], tulip->mac[3], tulip->mac[4], tulip->mac[5]);
	inspect_bool(at, "link", tulip->phy.link);
	inspect_bool(at, "full_duplex", tulip->csr6 & TULIP_CSR6_FD);
	inspect_format(at, "csr0", "%08x", tulip->csr0 | TULIP_CSR0_ONES);
	inspect_format(at, "csr5", "%08x", tulip_status(tulip));
	inspect_format(at, "csr6", "%08x", tulip->csr6 | TULIP_CSR6_ONES);
	inspect_format(at, "csr7", "%08x", tulip->csr7 | TULIP_CSR7_ONES);
	inspect_bool(at, "doorbells", tulip->bells[0].fd >= 0);
	inspect_counters(&tulip->counters, at);
	chipset_unlock(tulip->chipset);
}

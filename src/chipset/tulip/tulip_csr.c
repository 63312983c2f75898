/* SPDX-License-Identifier: MIT */
/*
 * The registers, the same through ports and memory. They are longwords, and so are accesses: of a narrower read
 * the guest gets its part, a narrower write does nothing (3.2).
 */
#include "base/num.h"
#include "chipset/tulip/tulip_internal.h"

#define ALL_ONES UINT32_MAX

/* ---- reading ------------------------------------------------------------------------------------------ */

static uint32_t read_missed(struct tulip *tulip)
{
	uint32_t value = TULIP_CSR8_ONES | tulip->missed | tulip->overflow;

	tulip->missed = tulip->overflow = 0;
	return value;
}

/* The low byte is the serial ROM's or, without a boot ROM's answer, nobody's. */
static uint32_t read_serial(const struct tulip *tulip)
{
	uint32_t value = TULIP_CSR9_ONES | (tulip->csr9 & TULIP_CSR9_KEEPS);

	value &= ~TULIP_CSR9_MDI;
	if (tulip->phy.out) {
		value |= TULIP_CSR9_MDI;
	}
	if (tulip->csr9 & TULIP_CSR9_SR) {
		value |= tulip->csr9 &
			 (TULIP_CSR9_SROM_CS | TULIP_CSR9_SROM_CLOCK | TULIP_CSR9_SROM_IN);
		return tulip->srom.out ? value | TULIP_CSR9_SROM_OUT : value;
	}
	if (tulip->csr9 & TULIP_CSR9_BR && tulip->csr10 < tulip->rom_bytes) {
		return value | tulip->rom[tulip->csr10];
	}
	return value | 0xff;
}

static uint32_t read_timer(const struct tulip *tulip)
{
	uint64_t tick_ns = tulip_timer_tick_ns(tulip), now_ns = loop_now_ns(), left = 0;

	if (tulip->timer_end_ns > now_ns) {
		left = (tulip->timer_end_ns - now_ns + tick_ns - 1) / tick_ns;
	}
	return TULIP_CSR11_ONES | (tulip->timer_value & TULIP_CSR11_CONTINUOUS) |
	       (uint32_t)num_min(left, 0xffff);
}

static uint32_t read_register(struct tulip *tulip, unsigned int number)
{
	switch (number) {
	case 0:
		return TULIP_CSR0_ONES | tulip->csr0;
	case 3:
		return tulip->csr3;
	case 4:
		return tulip->csr4;
	case 5:
		return tulip_status(tulip);
	case 6:
		return TULIP_CSR6_ONES | tulip->csr6;
	case 7:
		return TULIP_CSR7_ONES | tulip->csr7;
	case 8:
		return read_missed(tulip);
	case 9:
		return read_serial(tulip);
	case 10:
		return TULIP_CSR10_ONES | tulip->csr10;
	case 11:
		return read_timer(tulip);
	case 12: /* pins that are inputs are pulled up */
		return TULIP_CSR12_ONES | (uint8_t)(tulip->pins | ~tulip->pins_out);
	case 15:
		return TULIP_CSR15_ONES | tulip->csr15;
	default: /* demands, and what a 21140 has not got */
		return ALL_ONES;
	}
}

static uint64_t csr_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	struct tulip *tulip = ctx;
	unsigned int shift = offset % 4 * 8;
	uint64_t value;

	if (offset % TULIP_CSR_STRIDE >= 4) {
		return ~0ULL; /* between registers */
	}
	value = read_register(tulip, (unsigned int)(offset / TULIP_CSR_STRIDE)) | ~0ULL << 32;
	return value >> shift;
}

/* ---- writing ------------------------------------------------------------------------------------------ */

static void write_bus_mode(struct tulip *tulip, uint32_t value)
{
	if (value & TULIP_CSR0_SWR) {
		tulip_power_on(tulip, true);
	}
	tulip->csr0 = value & ~TULIP_CSR0_ONES;
}

static void write_status(struct tulip *tulip, uint32_t value)
{
	/* A bus error goes only with a reset (3.2.2.5, FBE), its bit does. */
	tulip->csr5 &= ~value;
}

static void write_mode(struct tulip *tulip, uint32_t value)
{
	bool was_looped = tulip_is_looped(tulip);

	tulip->csr6 = (value & ~TULIP_CSR6_FILTER) | (tulip->csr6 & TULIP_CSR6_FILTER);
	if (value & TULIP_CSR6_ST) {
		tulip_tx_start(tulip);
	} else {
		tulip_tx_stop(tulip);
	}
	if (value & TULIP_CSR6_SR) {
		tulip_rx_start(tulip);
	} else {
		tulip_rx_stop(tulip);
	}
	if (was_looped != tulip_is_looped(tulip)) {
		loop_post(tulip->loop, &tulip->rx_work); /* frames that wait are lost, or welcome */
	}
}

static void write_serial(struct tulip *tulip, uint32_t value)
{
	bool is_selected = value & TULIP_CSR9_SR && value & TULIP_CSR9_SROM_CS;
	bool was_looped = tulip_is_looped(tulip);

	tulip->csr9 = value;
	tulip_srom_wires(&tulip->srom, is_selected, value & TULIP_CSR9_SROM_CLOCK,
			 value & TULIP_CSR9_SROM_IN);
	/* While the PHY drives, or nobody does, the line is pulled up. */
	tulip_phy_wires(&tulip->phy, value & TULIP_CSR9_MDC,
			value & TULIP_CSR9_MII || value & TULIP_CSR9_MDO);
	if (was_looped != tulip_is_looped(tulip)) {
		loop_post(tulip->loop, &tulip->rx_work);
	}
}

static void write_timer(struct tulip *tulip, uint32_t value)
{
	uint32_t ticks = value & 0xffff;

	tulip->timer_value = value & (TULIP_CSR11_CONTINUOUS | 0xffff);
	tulip->timer_end_ns = ticks ? loop_now_ns() + ticks * tulip_timer_tick_ns(tulip) : 0;
	loop_post(tulip->loop, &tulip->timer_work);
}

static void write_register(struct tulip *tulip, unsigned int number, uint32_t value)
{
	switch (number) {
	case 0:
		write_bus_mode(tulip, value);
		break;
	case 1:
		tulip_tx_demand(tulip);
		break;
	case 2:
		tulip_rx_demand(tulip);
		break;
	case 3:
		tulip->csr3 = tulip->rx.at = value & ~3U;
		break;
	case 4:
		tulip->csr4 = value & ~3U;
		tulip_tx_list(tulip);
		break;
	case 5:
		write_status(tulip, value);
		break;
	case 6:
		write_mode(tulip, value);
		break;
	case 7:
		tulip->csr7 = value & TULIP_CSR7_WRITABLE;
		break;
	case 9:
		write_serial(tulip, value);
		break;
	case 10:
		tulip->csr10 = value & ~TULIP_CSR10_ONES;
		break;
	case 11:
		write_timer(tulip, value);
		break;
	case 12:
		*(value & TULIP_CSR12_GPC ? &tulip->pins_out : &tulip->pins) = (uint8_t)value;
		break;
	case 15:
		tulip->csr15 = value & TULIP_CSR15_WRITABLE;
		break;
	default:
		break;
	}
}

static void csr_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct tulip *tulip = ctx;

	if (bytes < 4 || offset % TULIP_CSR_STRIDE) {
		return;
	}
	write_register(tulip, (unsigned int)(offset / TULIP_CSR_STRIDE), (uint32_t)value);
	tulip_update_irq(tulip);
}

const struct io_region_ops tulip_csr_ops = { csr_read, csr_write };

/* SPDX-License-Identifier: MIT */
#include "chipset/s3/s3_internal.h"

#include <string.h>

#define DAC_STATE_WRITE 0x00U
#define DAC_STATE_READ  0x03U
#define DAC_COLOR_MASK  0x3fU

/* Bits that exist. */
static const uint8_t seq_mask[] = { 0x03, 0x3d, 0x0f, 0x3f, 0x0e };
static const uint8_t gfx_mask[VGA_GR_COUNT] = {
	0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff
};
static const uint8_t attr_mask[VGA_AR_COUNT] = {
	0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
	0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f,
};

/*
 * The state in which S3's own BIOS leaves the chip where that matters and VGA's BIOS, which we use, knows
 * nothing of it: the whole memory in the linear window (CR58), a memory clock of 44.7 MHz (SR10, SR11).
 */
void s3_power_on(struct s3_regs *regs)
{
	*regs = (struct s3_regs){ .dac_mask = 0xff, .enable = 1 };
	regs->crtc[S3_CR_STRAPS_1] = 0x1e; /* 4 MB, fast pages, PCI */
	regs->crtc[S3_CR_STRAPS_2] = 0xe1;
	regs->crtc[S3_CR_LINEAR] = S3_CR58_SIZE;
	regs->seq[S3_SR_MCLK_N] = 0x42;
	regs->seq[S3_SR_MCLK_M] = 0x30;
	regs->seq[S3_SR_DCLK_N] = 0x41; /* 25.1 MHz */
	regs->seq[S3_SR_DCLK_M] = 0x13;
}

/* ---- sequencer, graphics controller -------------------------------------------------------------- */

static void seq_write(struct s3 *s3, uint8_t value)
{
	struct s3_regs *r = &s3->regs;
	uint8_t index = r->seq_index, old;

	if (index >= S3_SR_COUNT ||
	    (index > S3_SR_UNLOCK && (r->seq[S3_SR_UNLOCK] & 0x0f) != S3_SR_UNLOCK_VALUE)) {
		return;
	}
	if (index < sizeof(seq_mask)) {
		value &= seq_mask[index];
	}
	old = r->seq[index];
	r->seq[index] = value;
	s3->is_changed |= old != value && (index == VGA_SR_CLOCKING || index == VGA_SR_FONTS);
	if (old != value && (index == VGA_SR_PLANES || index == VGA_SR_MEMORY)) {
		s3_map_update(s3);
	}
}

static void gfx_write(struct s3 *s3, uint8_t value)
{
	struct s3_regs *r = &s3->regs;
	uint8_t index = r->gfx_index, old;

	if (index >= VGA_GR_COUNT) {
		return;
	}
	value &= gfx_mask[index];
	old = r->gfx[index];
	r->gfx[index] = value;
	if (old != value) {
		s3->is_changed |= index == VGA_GR_MODE || index == VGA_GR_MISC;
		s3_map_update(s3);
	}
}

/* ---- attribute controller: index and data at one port ------------------------------------------------ */

static void attr_write(struct s3 *s3, uint8_t value)
{
	struct s3_regs *r = &s3->regs;
	uint8_t index = r->attr_index & 0x1f;

	if (!r->attr_is_data) {
		s3->is_changed |= (r->attr_index ^ value) & VGA_AR_INDEX_ON;
		r->attr_index = value & (VGA_AR_INDEX_ON | 0x1f);
	} else if (index < VGA_AR_COUNT) {
		value &= attr_mask[index];
		s3->is_changed |= r->attr[index] != value;
		r->attr[index] = value;
	}
	r->attr_is_data = !r->attr_is_data;
}

static uint8_t attr_read(const struct s3_regs *r)
{
	uint8_t index = r->attr_index & 0x1f;

	return index < VGA_AR_COUNT ? r->attr[index] : 0;
}

/* ---- DAC ------------------------------------------------------------------------------------------- */

static void dac_write(struct s3 *s3, uint8_t value)
{
	struct s3_regs *r = &s3->regs;
	uint8_t *entry = &r->dac[3 * r->dac_write];

	value &= DAC_COLOR_MASK;
	if (r->dac_part < 2) {
		r->dac_entry[r->dac_part++] = value;
		return;
	}
	s3->is_changed |=
		entry[0] != r->dac_entry[0] || entry[1] != r->dac_entry[1] || entry[2] != value;
	entry[0] = r->dac_entry[0];
	entry[1] = r->dac_entry[1];
	entry[2] = value;
	r->dac_part = 0;
	r->dac_write++;
}

static uint8_t dac_read(struct s3_regs *r)
{
	uint8_t value = r->dac[3 * r->dac_read + r->dac_part];

	if (++r->dac_part == 3) {
		r->dac_part = 0;
		r->dac_read++;
	}
	return value;
}

static void dac_select(struct s3_regs *r, uint8_t value, uint8_t state)
{
	if (state == DAC_STATE_READ) {
		r->dac_read = value;
	} else {
		r->dac_write = value;
	}
	r->dac_state = state;
	r->dac_part = 0;
}

/*
 * Who waits for a retrace asks again and again, an exit each time: it comes with each second question, so
 * that nobody waits for long, whether for its begin or its end.
 */
static uint8_t status_1_read(struct s3_regs *r)
{
	r->attr_is_data = false;
	r->status_1 ^= VGA_STATUS_1_NO_DISPLAY | VGA_STATUS_1_RETRACE;
	return r->status_1;
}

/* ---- ports ------------------------------------------------------------------------------------------ */

/* CRTC and status are at 0x3bx or at 0x3dx: the one's port, or 0 when it is not there now. */
static uint16_t crtc_port(const struct s3_regs *r, uint16_t port)
{
	bool is_color = r->misc & VGA_MISC_COLOR;

	if (port < VGA_PORT_COLOR) {
		return is_color ? 0 : port + 0x20;
	}
	return port >= VGA_PORT_COLOR + 0x10 && !is_color ? 0 : port;
}

static uint8_t vga_read(struct s3 *s3, uint16_t port)
{
	struct s3_regs *r = &s3->regs;

	switch (port) {
	case VGA_PORT_ATTRIBUTE:
		return r->attr_index;
	case VGA_PORT_ATTRIBUTE_READ:
		return attr_read(r);
	case VGA_PORT_MISC:
		return VGA_STATUS_0_SENSE; /* a colour monitor */
	case VGA_PORT_ENABLE:
		return r->enable;
	case VGA_PORT_SEQ_INDEX:
		return r->seq_index;
	case VGA_PORT_SEQ_DATA:
		return r->seq_index < S3_SR_COUNT ? r->seq[r->seq_index] : 0xff;
	case VGA_PORT_FEATURE_READ:
		return r->feature;
	case VGA_PORT_MISC_READ:
		return r->misc;
	case VGA_PORT_GFX_INDEX:
		return r->gfx_index;
	case VGA_PORT_GFX_DATA:
		return r->gfx_index < VGA_GR_COUNT ? r->gfx[r->gfx_index] : 0xff;
	case VGA_PORT_CRTC_INDEX:
		return r->crtc_index;
	case VGA_PORT_CRTC_DATA:
		return s3_crtc_read(s3, r->crtc_index);
	case VGA_PORT_STATUS_1:
		return status_1_read(r);
	case VGA_PORT_DAC_MASK:
		return r->dac_mask;
	case VGA_PORT_DAC_READ:
		return r->dac_state;
	case VGA_PORT_DAC_WRITE:
		return r->dac_write;
	case VGA_PORT_DAC_DATA:
		return dac_read(r);
	default:
		return 0xff;
	}
}

static void misc_write(struct s3 *s3, uint8_t value)
{
	uint8_t old = s3->regs.misc;

	s3->regs.misc = value;
	if ((old ^ value) & VGA_MISC_RAM) {
		s3_map_update(s3);
	}
}

static void dac_port_write(struct s3 *s3, uint16_t port, uint8_t value)
{
	struct s3_regs *r = &s3->regs;

	switch (port) {
	case VGA_PORT_DAC_MASK:
		s3->is_changed |= r->dac_mask != value;
		r->dac_mask = value;
		break;
	case VGA_PORT_DAC_READ:
		dac_select(r, value, DAC_STATE_READ);
		break;
	case VGA_PORT_DAC_WRITE:
		dac_select(r, value, DAC_STATE_WRITE);
		break;
	case VGA_PORT_DAC_DATA:
		dac_write(s3, value);
		break;
	default:
		break;
	}
}

static void vga_write(struct s3 *s3, uint16_t port, uint8_t value)
{
	struct s3_regs *r = &s3->regs;

	switch (port) {
	case VGA_PORT_ATTRIBUTE:
		attr_write(s3, value);
		break;
	case VGA_PORT_MISC:
		misc_write(s3, value);
		break;
	case VGA_PORT_ENABLE:
		r->enable = value & 1;
		break;
	case VGA_PORT_SEQ_INDEX:
		r->seq_index = value;
		break;
	case VGA_PORT_SEQ_DATA:
		seq_write(s3, value);
		break;
	case VGA_PORT_GFX_INDEX:
		r->gfx_index = value;
		break;
	case VGA_PORT_GFX_DATA:
		gfx_write(s3, value);
		break;
	case VGA_PORT_CRTC_INDEX:
		r->crtc_index = value;
		break;
	case VGA_PORT_CRTC_DATA:
		s3_crtc_write(s3, r->crtc_index, value);
		break;
	case VGA_PORT_STATUS_1:
		r->feature = value;
		break;
	default:
		dac_port_write(s3, port, value);
		break;
	}
}

uint8_t s3_port_read(struct s3 *s3, uint16_t port)
{
	return vga_read(s3, crtc_port(&s3->regs, port));
}

void s3_port_write(struct s3 *s3, uint16_t port, uint8_t value)
{
	vga_write(s3, crtc_port(&s3->regs, port), value);
}

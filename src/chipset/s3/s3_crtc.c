/* SPDX-License-Identifier: MIT */
#include "chipset/s3/s3_internal.h"

#define MONO_INDEX_MAX 0x18U /* VGA's own */

/* ---- locks ------------------------------------------------------------------------------------------ */

static bool is_unlocked_1(const struct s3_regs *r)
{
	return (r->crtc[S3_CR_UNLOCK_1] & 0xcc) == 0x48;
}

static bool is_unlocked_2(const struct s3_regs *r)
{
	return (r->crtc[S3_CR_UNLOCK_2] & 0xe0) == 0xa0;
}

/* CR35 keeps timings from being changed (section 16): the bits that it holds in this register. */
static uint8_t timing_locked(const struct s3_regs *r, uint8_t index)
{
	static const uint8_t horizontal[0x19] = {
		[0x00] = 0xff, [0x01] = 0xff, [0x02] = 0xff, [0x03] = 0xff,
		[0x04] = 0xff, [0x05] = 0xff, [0x17] = 0x04
	};
	static const uint8_t vertical[0x19] = {
		[0x06] = 0xff, [0x07] = 0xad, [0x09] = 0x20, [0x10] = 0xff,
		[0x11] = 0x0f, [0x15] = 0xff, [0x16] = 0xff
	};
	uint8_t lock = r->crtc[S3_CR_LOCK_TIMING], held = 0;

	if (lock & S3_CR35_LOCK_HORIZONTAL) {
		held |= horizontal[index];
	}
	if (lock & S3_CR35_LOCK_VERTICAL) {
		held |= vertical[index];
	}
	return held;
}

/* The bits of this register that a write can change now. */
static uint8_t writable(const struct s3_regs *r, uint8_t index)
{
	uint8_t bits = 0xff;

	if (index <= MONO_INDEX_MAX) {
		if (index <= VGA_CR_OVERFLOW && (r->crtc[VGA_CR_V_SYNC_END] & VGA_CR11_PROTECT)) {
			bits = index == VGA_CR_OVERFLOW ? 0x10
							: 0; /* line compare's bit 8 is free */
		}
		return bits & (uint8_t)~timing_locked(r, index);
	}
	if (index == S3_CR_UNLOCK_1 || index == S3_CR_UNLOCK_2) {
		return 0xff;
	}
	if (index <= S3_CR_CHIP_ID || index == S3_CR_STRAPS_1 || index == S3_CR_STRAPS_2 ||
	    index == S3_CR_LINEAR_HIGH || index == S3_CR_LINEAR_LOW) {
		return 0; /* what it is; and the place of the linear window is BAR 0's */
	}
	return (index < S3_CR_SYSTEM ? is_unlocked_1(r) : is_unlocked_2(r)) ? 0xff : 0;
}

/* ---- reading ---------------------------------------------------------------------------------------- */

static uint8_t faces_read(const struct s3_regs *r, uint8_t index)
{
	uint8_t value = r->crtc[index];

	switch (index) {
	case S3_CR_MEMORY:
		return (uint8_t)((value & 0xcf) | (r->start_high & 3) << 4);
	case S3_CR_LOCK_TIMING:
		return (uint8_t)((value & 0xf0) | (r->bank & 0x0f));
	case S3_CR_SYSTEM_2:
		return (uint8_t)((value & 0xf0) | (r->start_high >> 2 & 3) | (r->bank >> 2 & 0x0c));
	case S3_CR_START:
		return (uint8_t)((value & 0xe0) | r->start_high);
	case S3_CR_BANK:
		return (uint8_t)((value & 0x80) | r->bank);
	default:
		return value;
	}
}

static uint8_t cursor_color_read(uint8_t *colors, uint8_t *at)
{
	uint8_t value = colors[*at];

	*at = (uint8_t)((*at + 1) % 3);
	return value;
}

uint8_t s3_crtc_read(struct s3 *s3, uint8_t index)
{
	struct s3_regs *r = &s3->regs;

	if (index >= S3_CR_COUNT) {
		return 0xff;
	}
	switch (index) {
	case VGA_CR_LATCH:
		return (uint8_t)(r->latch >> 8 * (r->gfx[VGA_GR_READ_PLANE] & 3));
	case VGA_CR_ATTR_STATE:
		return r->attr_is_data ? 0x80 : 0;
	case VGA_CR_ATTR_INDEX:
		return r->attr_index;
	case S3_CR_ID_HIGH:
		return S3_DEVICE_TRIO64 >> 8;
	case S3_CR_ID_LOW:
		return S3_DEVICE_TRIO64 & 0xff;
	case S3_CR_REVISION:
		return 0; /* bit 6 would say 64V+ */
	case S3_CR_CHIP_ID:
		return S3_CHIP_ID_TRIO;
	case S3_CR_CURSOR_MODE:
		r->cursor_fg_at = r->cursor_bg_at = 0;
		return r->crtc[index];
	case S3_CR_CURSOR_FG:
		return cursor_color_read(r->cursor_fg, &r->cursor_fg_at);
	case S3_CR_CURSOR_BG:
		return cursor_color_read(r->cursor_bg, &r->cursor_bg_at);
	case S3_CR_LINEAR_HIGH:
		return (uint8_t)(s3->bar_base >> 24);
	case S3_CR_LINEAR_LOW:
		return (uint8_t)(s3->bar_base >> 16);
	default:
		return faces_read(r, index);
	}
}

/* ---- writing ---------------------------------------------------------------------------------------- */

static void faces_write(struct s3_regs *r, uint8_t index, uint8_t value)
{
	switch (index) {
	case S3_CR_MEMORY:
		r->start_high = (uint8_t)((r->start_high & 0x1c) | (value >> 4 & 3));
		break;
	case S3_CR_LOCK_TIMING:
		r->bank = (uint8_t)((r->bank & 0x70) | (value & 0x0f));
		break;
	case S3_CR_SYSTEM_2:
		r->start_high = (uint8_t)((r->start_high & 0x13) | (value & 3) << 2);
		r->bank = (uint8_t)((r->bank & 0x4f) | (value & 0x0c) << 2);
		break;
	case S3_CR_START:
		r->start_high = value & 0x1f;
		break;
	case S3_CR_BANK:
		r->bank = value & 0x7f;
		break;
	case S3_CR_CURSOR_FG:
		r->cursor_fg[r->cursor_fg_at] = value;
		r->cursor_fg_at = (uint8_t)((r->cursor_fg_at + 1) % 3);
		break;
	case S3_CR_CURSOR_BG:
		r->cursor_bg[r->cursor_bg_at] = value;
		r->cursor_bg_at = (uint8_t)((r->cursor_bg_at + 1) % 3);
		break;
	default:
		break;
	}
}

/* Cursors are looked at by themselves whenever a picture is made; the others change all of it. */
static bool changes_picture(uint8_t index)
{
	return !(index >= VGA_CR_CURSOR_START && index <= VGA_CR_CURSOR_END) &&
	       !(index >= VGA_CR_CURSOR_HIGH && index <= VGA_CR_CURSOR_LOW) &&
	       !(index >= S3_CR_CURSOR_MODE && index <= S3_CR_CURSOR_OFFSET_Y) &&
	       index != S3_CR_BANK && index != S3_CR_UNLOCK_1 && index != S3_CR_UNLOCK_2;
}

void s3_crtc_write(struct s3 *s3, uint8_t index, uint8_t value)
{
	struct s3_regs *r = &s3->regs;
	uint8_t bits, old, start_high = r->start_high;

	if (index >= S3_CR_COUNT) {
		return;
	}
	bits = writable(r, index);
	if (bits == 0) {
		return;
	}
	old = r->crtc[index];
	r->crtc[index] = (uint8_t)((old & ~bits) | (value & bits));
	faces_write(r, index, value);
	s3->is_changed |=
		(old != r->crtc[index] && changes_picture(index)) || r->start_high != start_high;
	if (index >= S3_CR_MEMORY) {
		s3_map_update(s3);
	}
	if (index == S3_CR_SYSTEM) {
		s3_engine_decode(s3);
	}
}

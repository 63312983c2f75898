/* SPDX-License-Identifier: MIT */
/* The accesses that Linux' s3fb makes for a mode, in its order. */
#pragma once

#include "s3_rig.h"

enum s3_fb_format { FB_TEXT, FB_4_PACKED, FB_4_PLANES, FB_8, FB_15, FB_16, FB_32 };

struct s3_fb_mode {
	uint32_t width, height, virtual_width;
	uint32_t left, right, hsync, upper, lower, vsync;
	uint32_t khz;
	enum s3_fb_format format;
	bool is_double, is_interlaced, is_slow_text;
};

/* Bits of a value over several registers, lowest first: index, first bit, last bit; ends with index 0xff. */
struct s3_fb_bits {
	uint8_t index, first, last;
};

static inline void s3_fb_spread(struct s3_rig *g, const struct s3_fb_bits *bits, uint32_t value)
{
	for (; bits->index != 0xff; bits++) {
		uint8_t count = (uint8_t)(bits->last - bits->first + 1);
		uint8_t mask = (uint8_t)(((1U << count) - 1) << bits->first);

		s3_change(g, VGA_PORT_CRTC_INDEX, bits->index, (uint8_t)(value << bits->first),
			  mask);
		value >>= count;
	}
}

#define S3_FB_END                                                                                  \
	{                                                                                          \
		0xff, 0, 0                                                                         \
	}

static const struct s3_fb_bits s3_fb_start[] = {
	{ 0x0d, 0, 7 }, { 0x0c, 0, 7 }, { 0x69, 0, 4 }, S3_FB_END
};

static inline uint32_t s3_fb_bpp(enum s3_fb_format format)
{
	static const uint8_t bpp[] = { 0, 4, 4, 8, 16, 16, 32 };

	return bpp[format];
}

static inline void s3_fb_unlock(struct s3_rig *g)
{
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x38, 0x48);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x39, 0xa5);
	s3_set(g, VGA_PORT_SEQ_INDEX, 0x08, 0x06);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x11, 0x00, 0x80);
}

static inline void s3_fb_defaults(struct s3_rig *g)
{
	static const uint8_t gfx[9] = { 0, 0, 0, 0, 0, 0, 0x05, 0x0f, 0xff };
	static const struct s3_fb_bits line_compare[] = {
		{ 0x18, 0, 7 }, { 0x07, 4, 4 }, { 0x09, 6, 6 }, { 0x5e, 6, 6 }, S3_FB_END
	};

	for (uint8_t i = 0; i < 9; i++) {
		s3_set(g, VGA_PORT_GFX_INDEX, i, gfx[i]);
	}
	s3_in(g, VGA_PORT_STATUS_1);
	s3_out(g, VGA_PORT_ATTRIBUTE, 0);
	for (uint8_t i = 0; i < 16; i++) {
		s3_attr(g, i, i);
	}
	s3_attr(g, 0x10, 0x01);
	s3_attr(g, 0x11, 0x00);
	s3_attr(g, 0x12, 0x0f);
	s3_attr(g, 0x13, 0x00);
	s3_attr(g, 0x14, 0x00);
	s3_in(g, VGA_PORT_STATUS_1);
	s3_out(g, VGA_PORT_ATTRIBUTE, 0x20);
	s3_set(g, VGA_PORT_SEQ_INDEX, 1, 0x01);
	s3_set(g, VGA_PORT_SEQ_INDEX, 2, 0x0f);
	s3_set(g, VGA_PORT_SEQ_INDEX, 3, 0x00);
	s3_set(g, VGA_PORT_SEQ_INDEX, 4, 0x06);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x03, 0x80, 0x80);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x08, 0);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x09, 0, 0x1f);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x14, 0);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x17, 0xe3);
	s3_fb_spread(g, line_compare, 0xffffffff);
	s3_fb_spread(g, s3_fb_start, 0);
}

static inline void s3_fb_special(struct s3_rig *g, const struct s3_fb_mode *m)
{
	static const struct s3_fb_bits offset[] = { { 0x13, 0, 7 }, { 0x51, 4, 5 }, S3_FB_END };
	uint32_t bpp = s3_fb_bpp(m->format);

	s3_change(g, VGA_PORT_CRTC_INDEX, 0x58, 0x10, 0x10);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x31, 0x08, 0x08);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x33, 0x00, 0x08);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x43, 0x00, 0x01);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x5d, 0x00, 0x28);
	s3_fb_spread(g, offset, bpp ? m->virtual_width * bpp / 64 : m->virtual_width / 16);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x54, 0x18);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x60, 0xff);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x61, 0xff);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x62, 0xff);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x3a, 0x35);
	s3_attr(g, 0x33, 0x00); /* an index with bit 5: the palette stays the screen's */
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x09, m->is_double ? 0x80 : 0, 0x80);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x42, m->is_interlaced ? 0x20 : 0, 0x20);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x45, 0x00, 0x01);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x67, 0x00, 0x0c);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x34, 0x10);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x31, 0x00, 0x40);
}

static inline void s3_fb_text_regs(struct s3_rig *g)
{
	s3_set(g, VGA_PORT_SEQ_INDEX, 4, 0x02);
	s3_set(g, VGA_PORT_SEQ_INDEX, 2, 0x03);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x09, 0x0f);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x14, 0x1f);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x17, 0x23, 0x7f);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x0a, 0x0d);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x0b, 0x0e);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x0e, 0);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x0f, 0);
	s3_set(g, VGA_PORT_GFX_INDEX, 5, 0x10);
	s3_set(g, VGA_PORT_GFX_INDEX, 6, 0x0e);
	s3_set(g, VGA_PORT_GFX_INDEX, 7, 0x00);
	s3_in(g, VGA_PORT_STATUS_1);
	s3_out(g, VGA_PORT_ATTRIBUTE, 0);
	s3_attr(g, 0x10, 0x0c);
	s3_attr(g, 0x13, 0x08);
	s3_in(g, VGA_PORT_STATUS_1);
	s3_out(g, VGA_PORT_ATTRIBUTE, 0x20);
}

/* CR50 and CR67 for the format; the factor of horizontal timings. */
static inline uint32_t s3_fb_format_regs(struct s3_rig *g, const struct s3_fb_mode *m)
{
	bool is_fast = m->format == FB_8 && m->khz >= 50000;
	static const uint8_t cr50[] = { 0, 0, 0, 0, 0x10, 0x10, 0x30 };
	static const uint8_t cr67[] = { 0, 0, 0, 0, 0x30, 0x50, 0xd0 };

	if (m->format == FB_TEXT) {
		s3_fb_text_regs(g);
	}
	if (m->format == FB_4_PACKED) {
		s3_set(g, VGA_PORT_GFX_INDEX, 5, 0x40);
	}
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x50, cr50[m->format], 0x30);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x67, is_fast ? 0x10 : cr67[m->format], 0xf0);
	if (m->format <= FB_4_PLANES) {
		s3_change(g, VGA_PORT_CRTC_INDEX, 0x3a, 0x00, 0x30);
	}
	if (m->format == FB_TEXT && !m->is_slow_text) {
		s3_change(g, VGA_PORT_CRTC_INDEX, 0x31, 0x40, 0x40);
	}
	s3_change(g, VGA_PORT_SEQ_INDEX, 0x15, is_fast ? 0x10 : 0, 0x10);
	s3_change(g, VGA_PORT_SEQ_INDEX, 0x18, is_fast ? 0x80 : 0, 0x80);
	return m->format == FB_15 || m->format == FB_16 ? 2 : 1;
}

static inline void s3_fb_clock(struct s3_rig *g)
{
	uint8_t value;

	s3_out(g, VGA_PORT_MISC, s3_in(g, VGA_PORT_MISC_READ) | 0x0c);
	s3_set(g, VGA_PORT_SEQ_INDEX, 0x12, 0x41);
	s3_set(g, VGA_PORT_SEQ_INDEX, 0x13, 0x13);
	value = s3_get(g, VGA_PORT_SEQ_INDEX, 0x15);
	s3_set(g, VGA_PORT_SEQ_INDEX, 0x15, value & ~0x20);
	s3_set(g, VGA_PORT_SEQ_INDEX, 0x15, value | 0x20);
	s3_set(g, VGA_PORT_SEQ_INDEX, 0x15, value & ~0x20);
}

static inline void s3_fb_timings(struct s3_rig *g, const struct s3_fb_mode *m, uint32_t factor)
{
	static const struct s3_fb_bits h_total[] = { { 0x00, 0, 7 }, { 0x5d, 0, 0 }, S3_FB_END };
	static const struct s3_fb_bits h_display[] = { { 0x01, 0, 7 }, { 0x5d, 1, 1 }, S3_FB_END };
	static const struct s3_fb_bits h_blank[] = { { 0x02, 0, 7 }, { 0x5d, 2, 2 }, S3_FB_END };
	static const struct s3_fb_bits h_blank_end[] = { { 0x03, 0, 4 },
							 { 0x05, 7, 7 },
							 S3_FB_END };
	static const struct s3_fb_bits h_sync[] = { { 0x04, 0, 7 }, { 0x5d, 4, 4 }, S3_FB_END };
	static const struct s3_fb_bits h_sync_end[] = { { 0x05, 0, 4 }, S3_FB_END };
	static const struct s3_fb_bits v_total[] = {
		{ 0x06, 0, 7 }, { 0x07, 0, 0 }, { 0x07, 5, 5 }, { 0x5e, 0, 0 }, S3_FB_END
	};
	static const struct s3_fb_bits v_display[] = {
		{ 0x12, 0, 7 }, { 0x07, 1, 1 }, { 0x07, 6, 6 }, { 0x5e, 1, 1 }, S3_FB_END
	};
	static const struct s3_fb_bits v_blank[] = {
		{ 0x15, 0, 7 }, { 0x07, 3, 3 }, { 0x09, 5, 5 }, { 0x5e, 2, 2 }, S3_FB_END
	};
	static const struct s3_fb_bits v_blank_end[] = { { 0x16, 0, 7 }, S3_FB_END };
	static const struct s3_fb_bits v_sync[] = {
		{ 0x10, 0, 7 }, { 0x07, 2, 2 }, { 0x07, 7, 7 }, { 0x5e, 4, 4 }, S3_FB_END
	};
	static const struct s3_fb_bits v_sync_end[] = { { 0x11, 0, 3 }, S3_FB_END };
	uint32_t times = m->is_double ? 2 : 1, by = m->is_interlaced ? 2 : 1;
	uint32_t width = m->width * factor, blanked = (m->left + m->right + m->hsync) * factor;
	uint32_t height = m->height * times / by;
	uint32_t v_all = (m->height + m->upper + m->lower + m->vsync) * times / by;

	s3_fb_spread(g, h_total, (width + blanked) / 8 - 5);
	s3_fb_spread(g, h_display, width / 8 - 1);
	s3_fb_spread(g, h_blank, width / 8 - 1 + factor);
	s3_fb_spread(g, h_blank_end, (width + blanked) / 8 - 1 - factor);
	s3_fb_spread(g, h_sync, (width + m->right * factor) / 8);
	s3_fb_spread(g, h_sync_end, (width + (m->right + m->hsync) * factor) / 8);
	s3_fb_spread(g, v_total, v_all - 2);
	s3_fb_spread(g, v_display, height - 1);
	s3_fb_spread(g, v_blank, height);
	s3_fb_spread(g, v_blank_end, v_all - 2);
	s3_fb_spread(g, v_sync, (m->height + m->lower) * times / by);
	s3_fb_spread(g, v_sync_end, (m->height + m->lower + m->vsync) * times / by);
	s3_out(g, VGA_PORT_MISC, s3_in(g, VGA_PORT_MISC_READ) | 0xc0);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x3c, (uint8_t)((width + blanked) / 16));
}

static inline void s3_fb_set(struct s3_rig *g, const struct s3_fb_mode *m)
{
	uint32_t factor;

	s3_fb_unlock(g);
	s3_change(g, VGA_PORT_SEQ_INDEX, 1, 0x20, 0x20);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x17, 0x00, 0x80);
	s3_fb_defaults(g);
	s3_fb_special(g, m);
	factor = s3_fb_format_regs(g, m);
	s3_fb_clock(g);
	s3_fb_timings(g, m, factor);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x17, 0x80, 0x80);
	s3_change(g, VGA_PORT_SEQ_INDEX, 1, 0x00, 0x20);
}

/* Its way to pan: doublewords, or characters. */
static inline void s3_fb_pan(struct s3_rig *g, const struct s3_fb_mode *m, uint32_t x, uint32_t y)
{
	uint32_t bpp = s3_fb_bpp(m->format);

	s3_fb_spread(g, s3_fb_start,
		     bpp ? (y * (m->virtual_width * bpp / 8) + x * bpp / 8) >> 2
			 : (y / 16 * (m->virtual_width / 2) + x / 2) >> 2);
}

/* Its colours. */
static inline void s3_fb_color(struct s3_rig *g, enum s3_fb_format format, uint8_t n, uint8_t red,
			       uint8_t green, uint8_t blue)
{
	s3_out(g, VGA_PORT_DAC_MASK, format == FB_8 ? 0xff : format == FB_4_PACKED ? 0xf0 : 0x0f);
	s3_color(g, (uint8_t)(format == FB_4_PACKED ? n * 16 : n), red, green, blue);
}

static const struct s3_fb_mode s3_fb_640 = { .width = 640,
					     .height = 480,
					     .virtual_width = 640,
					     .left = 48,
					     .right = 16,
					     .hsync = 96,
					     .upper = 33,
					     .lower = 10,
					     .vsync = 2,
					     .khz = 25175,
					     .format = FB_8 };
static const struct s3_fb_mode s3_fb_800 = { .width = 800,
					     .height = 600,
					     .virtual_width = 800,
					     .left = 88,
					     .right = 40,
					     .hsync = 128,
					     .upper = 23,
					     .lower = 1,
					     .vsync = 4,
					     .khz = 40000,
					     .format = FB_8 };
static const struct s3_fb_mode s3_fb_1024 = { .width = 1024,
					      .height = 768,
					      .virtual_width = 1024,
					      .left = 160,
					      .right = 24,
					      .hsync = 136,
					      .upper = 29,
					      .lower = 3,
					      .vsync = 6,
					      .khz = 65000,
					      .format = FB_8 };
static const struct s3_fb_mode s3_fb_1280 = { .width = 1280,
					      .height = 1024,
					      .virtual_width = 1280,
					      .left = 248,
					      .right = 48,
					      .hsync = 112,
					      .upper = 38,
					      .lower = 1,
					      .vsync = 3,
					      .khz = 108000,
					      .format = FB_8 };

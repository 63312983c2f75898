/* SPDX-License-Identifier: MIT */
#include "chipset/s3/s3_internal.h"

#include <string.h>

#include "base/num.h"

#define COLOR_BITS_5(v) ((v) << 3 | (v) >> 2)
#define COLOR_BITS_6(v) ((v) << 2 | (v) >> 4)

/* ---- VGA: a doubleword for each eight dots --------------------------------------------------------------- */

static uint32_t fetch(const struct s3_screen *s, const uint8_t *vram, const struct s3_line *line,
		      uint32_t cell)
{
	const struct s3_regs *r = &s->regs;
	uint32_t count = cell, value;

	if (r->crtc[VGA_CR_UNDERLINE] & 0x20) {
		count = cell / 4; /* count by four */
	} else if (r->crtc[VGA_CR_MODE] & VGA_CR17_COUNT_2) {
		count = cell / 2;
	}
	memcpy(&value, vram + 4ULL * s3_address_of(r, &s->mode, line->count + count, line->scan),
	       sizeof(value));
	return value;
}

/* A colour of sixteen, by the palette and the colour select register, as an index of the DAC. */
uint8_t s3_palette(const struct s3_regs *r, unsigned int color)
{
	uint8_t select = r->attr[VGA_AR_COLOR_SELECT];
	uint8_t index = r->attr[color & r->attr[VGA_AR_PLANES] & 0x0f];

	if (r->attr[VGA_AR_MODE] & VGA_AR10_P54) {
		index = (uint8_t)((index & 0x0f) | (select & 3) << 4);
	}
	return (uint8_t)(index | (select & 0x0c) << 4);
}

static uint8_t planar_dot(const struct s3_regs *r, uint32_t planes, unsigned int dot)
{
	uint32_t bits = planes >> (7 - dot) & 0x01010101U;

	return s3_palette(r, (bits | bits >> 7 | bits >> 14 | bits >> 21) & 0x0f);
}

static uint8_t cga_dot(const struct s3_regs *r, uint32_t planes, unsigned int dot)
{
	uint32_t pair = planes >> (dot < 4 ? 0 : 8), shift = 6 - 2 * (dot & 3);

	return s3_palette(r, (pair >> shift & 3) | (pair >> 16 >> shift & 3) << 2);
}

/* Nibbles, high ones first; the eight bits are this one and the next. */
static uint8_t nibble_dot(uint32_t planes, uint32_t next, unsigned int dot)
{
	uint64_t both = (uint64_t)__builtin_bswap32(planes) << 32 | __builtin_bswap32(next);

	return (uint8_t)(both >> (56 - 4 * dot));
}

static uint8_t dot_of(const struct s3_screen *s, uint32_t planes, uint32_t next, unsigned int dot)
{
	switch (s->mode.kind) {
	case S3_CGA:
		return cga_dot(&s->regs, planes, dot);
	case S3_256:
		return (uint8_t)(planes >> (dot / 2 * 8));
	case S3_NIBBLE:
		return nibble_dot(planes, next, dot);
	case S3_TEXT:
	case S3_PLANAR:
	case S3_8:
	case S3_15:
	case S3_16:
	case S3_32:
	default:
		return planar_dot(&s->regs, planes, dot);
	}
}

static void draw_vga(const struct s3_screen *s, const uint8_t *vram, const struct s3_line *line,
		     uint32_t *ret)
{
	uint32_t wide = s->mode.is_half_clock ? 2 : 1, dot = line->pan, cell = 0;
	uint32_t planes = fetch(s, vram, line, 0), next = fetch(s, vram, line, 1);

	for (uint32_t x = 0; x < s->mode.width; x++) {
		ret[x] = s->colors[dot_of(s, planes, next, dot)];
		if ((x + 1) % wide == 0 && ++dot == 8) {
			dot = 0;
			cell++;
			planes = next;
			next = fetch(s, vram, line, cell + 1);
		}
	}
}

/* ---- enhanced: pixels one after the other ------------------------------------------------------------------ */

static uint32_t pixel_15(uint32_t v)
{
	uint32_t red = v >> 10 & 31, green = v >> 5 & 31, blue = v & 31;

	return COLOR_BITS_5(red) << 16 | COLOR_BITS_5(green) << 8 | COLOR_BITS_5(blue);
}

static uint32_t pixel_16(uint32_t v)
{
	uint32_t red = v >> 11 & 31, green = v >> 5 & 63, blue = v & 31;

	return COLOR_BITS_5(red) << 16 | COLOR_BITS_6(green) << 8 | COLOR_BITS_5(blue);
}

static uint32_t pixel_bytes(enum s3_kind kind)
{
	return kind == S3_32 ? 4 : kind == S3_8 ? 1 : 2;
}

uint32_t s3_pixel(const struct s3_screen *s, uint32_t value)
{
	switch (s->mode.kind) {
	case S3_15:
		return pixel_15(value);
	case S3_16:
		return pixel_16(value);
	case S3_32:
		return value & 0xffffff;
	case S3_TEXT:
	case S3_PLANAR:
	case S3_CGA:
	case S3_256:
	case S3_NIBBLE:
	case S3_8:
	default:
		return s->colors[value & 0xff];
	}
}

static void draw_enhanced(const struct s3_screen *s, const uint8_t *vram,
			  const struct s3_line *line, uint32_t *ret)
{
	uint8_t bytes[PICTURE_WIDTH_MAX * 4];
	uint32_t each = pixel_bytes(s->mode.kind), length = s->mode.width * each;
	uint32_t at = (line->count & s->mode.mask) * 4, size = (s->mode.mask + 1) * 4;
	uint32_t first = (uint32_t)num_min(length, size - at);

	memcpy(bytes, vram + at, first);
	memcpy(bytes + first, vram, length - first); /* round the end */
	for (uint32_t x = 0; x < s->mode.width; x++) {
		uint32_t value = 0;

		memcpy(&value, bytes + (size_t)x * each, each);
		ret[x] = s3_pixel(s, value);
	}
}

void s3_draw_line(const struct s3_screen *s, const uint8_t *vram, const struct s3_line *line,
		  uint32_t *ret)
{
	if (s->mode.kind > S3_NIBBLE) {
		draw_enhanced(s, vram, line, ret);
	} else {
		draw_vga(s, vram, line, ret);
	}
}

bool s3_line_run(const struct s3_screen *s, const struct s3_line *line, uint32_t *ret_at,
		 uint32_t *ret_bytes)
{
	const struct s3_mode *m = &s->mode;
	uint32_t first, last;

	if (m->kind > S3_NIBBLE) {
		*ret_at = (line->count & m->mask) * 4;
		*ret_bytes = m->width * pixel_bytes(m->kind);
		return *ret_at + *ret_bytes <= (m->mask + 1) * 4;
	}
	/* Two more than is seen: panning. Less, where the CRTC counts slower. */
	first = s3_address_of(&s->regs, m, line->count, line->scan);
	last = s3_address_of(&s->regs, m, line->count + m->cells + 1, line->scan);
	*ret_at = first * 4;
	*ret_bytes = (last - first + 1) * 4;
	return last >= first;
}

/* SPDX-License-Identifier: MIT */
#include "chipset/s3/s3_internal.h"

#include <string.h>

#define GLYPH_LINES 32U
#define GLYPHS      256U
#define FONT_BYTES  (GLYPH_LINES * GLYPHS)

/* ---- fonts: plane 2 -------------------------------------------------------------------------------------- */

/* SR3: which eighth of plane 2, for characters with attribute bit 3 off and on. */
static uint32_t font_offset(const struct s3_regs *r, bool is_second)
{
	static const uint32_t offsets[] = { 0x0000, 0x4000, 0x8000, 0xc000,
					    0x2000, 0x6000, 0xa000, 0xe000 };
	uint8_t select = r->seq[VGA_SR_FONTS];

	return is_second ? offsets[(select >> 2 & 3) | (select >> 3 & 4)]
			 : offsets[(select & 3) | (select >> 2 & 4)];
}

/* S3's fast text has a line of all characters together, so that a page of memory serves them all (CR31). */
static uint8_t glyph(const struct s3_screen *s, const uint8_t *vram, uint32_t font, uint8_t code,
		     uint32_t scan)
{
	uint32_t at = s->regs.crtc[S3_CR_MEMORY] & S3_CR31_FAST_TEXT ? scan * GLYPHS + code
								     : code * GLYPH_LINES + scan;

	return vram[4ULL * (font + at) + 2];
}

static uint64_t font_hash(const uint8_t *vram, uint32_t font, uint64_t hash)
{
	for (uint32_t i = 0; i < FONT_BYTES; i += 4) {
		const uint8_t *at = vram + 4ULL * (font + i) + 2;

		hash = s3_hash(hash, at[0] | at[4] << 8 | at[8] << 16 | (uint64_t)at[12] << 24);
	}
	return hash;
}

struct s3_text_phase s3_text_phase_of(const struct s3_screen *s, const uint8_t *vram,
				      uint64_t frame)
{
	uint64_t hash = font_hash(vram, font_offset(&s->regs, false), 1);

	return (struct s3_text_phase){
		.is_cursor_on = frame / (S3_BLINK_CURSOR_FRAMES / 2) % 2 == 0,
		.is_blink_on = frame / (S3_BLINK_TEXT_FRAMES / 2) % 2 == 0,
		.fonts = font_hash(vram, font_offset(&s->regs, true), hash),
	};
}

/* ---- characters ------------------------------------------------------------------------------------------- */

struct cell {
	uint8_t code, attribute;
	bool is_cursor;
};

static struct cell cell_of(const struct s3_screen *s, const uint8_t *vram,
			   const struct s3_line *line, uint32_t n)
{
	const struct s3_regs *r = &s->regs;
	uint32_t count = line->count + n;
	uint32_t cursor = (uint32_t)r->crtc[VGA_CR_CURSOR_HIGH] << 8 | r->crtc[VGA_CR_CURSOR_LOW];
	const uint8_t *at = vram + 4ULL * s3_address_of(r, &s->mode, count, line->scan);

	return (struct cell){ at[0], at[1], (count & 0xffff) == cursor };
}

static bool has_cursor(const struct s3_screen *s, const struct s3_line *line,
		       const struct s3_text_phase *phase)
{
	const struct s3_regs *r = &s->regs;

	return phase->is_cursor_on && !(r->crtc[VGA_CR_CURSOR_START] & VGA_CRA_CURSOR_OFF) &&
	       line->scan >= (r->crtc[VGA_CR_CURSOR_START] & 0x1fU) &&
	       line->scan <= (r->crtc[VGA_CR_CURSOR_END] & 0x1fU);
}

/* The dots of a cell, leftmost in bit 8: eight of the font and the ninth. */
static uint32_t dots_of(const struct s3_screen *s, const uint8_t *vram, const struct cell *cell,
			uint32_t scan)
{
	const struct s3_regs *r = &s->regs;
	uint32_t dots = glyph(s, vram, font_offset(r, cell->attribute & 8), cell->code, scan) << 1;

	/* Line graphics join: their eighth column goes on in the ninth. */
	if ((r->attr[VGA_AR_MODE] & VGA_AR10_LINE_GRAPHICS) && (cell->code & 0xe0) == 0xc0) {
		dots |= dots >> 1 & 1;
	}
	if ((cell->attribute & 0x77) == 1 && scan == (r->crtc[VGA_CR_UNDERLINE] & 0x1fU)) {
		dots = 0x1ff;
	}
	return dots;
}

struct ink {
	uint32_t dots, on, off;
};

static struct ink ink_of(const struct s3_screen *s, const uint8_t *vram, const struct s3_line *line,
			 const struct s3_text_phase *phase, uint32_t n)
{
	const struct s3_regs *r = &s->regs;
	struct cell cell = cell_of(s, vram, line, n);
	bool blinks = r->attr[VGA_AR_MODE] & VGA_AR10_BLINK;
	struct ink ink = {
		.dots = dots_of(s, vram, &cell, line->scan),
		.on = s->colors[s3_palette(r, cell.attribute & 0x0f)],
		.off = s->colors[s3_palette(r, cell.attribute >> 4 & (blinks ? 7 : 15))],
	};

	if (blinks && (cell.attribute & 0x80) && !phase->is_blink_on) {
		ink.dots = 0;
	}
	if (cell.is_cursor && has_cursor(s, line, phase)) {
		ink.dots = 0x1ff;
	}
	return ink;
}

void s3_text_line(const struct s3_screen *s, const uint8_t *vram, const struct s3_line *line,
		  const struct s3_text_phase *phase, uint32_t *ret)
{
	uint32_t wide = s->mode.is_half_clock ? 2 : 1, dot = line->pan, n = 0;
	struct ink ink = ink_of(s, vram, line, phase, 0);

	for (uint32_t x = 0; x < s->mode.width; x++) {
		if (dot == s->mode.cell_dots) {
			dot = 0;
			ink = ink_of(s, vram, line, phase, ++n);
		}
		ret[x] = ink.dots >> (8 - dot) & 1 ? ink.on : ink.off;
		dot += (x + 1) % wide == 0;
	}
}

uint64_t s3_text_hash(const struct s3_screen *s, const uint8_t *vram, const struct s3_line *line,
		      const struct s3_text_phase *phase)
{
	bool blinks = s->regs.attr[VGA_AR_MODE] & VGA_AR10_BLINK;
	uint64_t hash = phase->fonts;

	for (uint32_t n = 0; n < s->mode.cells + (line->pan != 0); n++) {
		struct cell cell = cell_of(s, vram, line, n);
		bool is_gone = blinks && (cell.attribute & 0x80) && !phase->is_blink_on;
		bool is_cursor = cell.is_cursor && has_cursor(s, line, phase);

		hash = s3_hash(hash,
			       cell.code | cell.attribute << 8 | is_gone << 16 | is_cursor << 17);
	}
	return hash;
}

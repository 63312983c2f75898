/* SPDX-License-Identifier: MIT */
/*
 * The hardware cursor: 64 by 64 pixels of two bits over the picture of the enhanced modes.
 *
 *   spec    Trio64: 17 (CR45-CR4F), 13.5 (hardware cursor)
 */
#include "chipset/s3/s3_internal.h"

#define SIDE      64U
#define ROW_BYTES 16U /* four times: a word of the AND mask, a word of the XOR mask */

static uint32_t pair(const struct s3_regs *r, uint8_t high, uint32_t mask)
{
	return ((uint32_t)r->crtc[high] << 8 | r->crtc[high + 1]) & mask;
}

static bool is_shown(const struct s3_screen *s)
{
	return (s->regs.crtc[S3_CR_CURSOR_MODE] & 1) && s->mode.kind > S3_NIBBLE && !s->mode.is_off;
}

static uint32_t pattern_at(const struct s3_regs *r, uint32_t row)
{
	return (pair(r, S3_CR_CURSOR_ADDRESS, 0xfff) * 1024 + row * ROW_BYTES) % S3_VRAM_BYTES;
}

/* The cursor's row of this line, or SIDE: none. Its first rows and columns can be cut off (CR4E, CR4F). */
static uint32_t row_of(const struct s3_regs *r, uint32_t y)
{
	uint32_t top = pair(r, S3_CR_CURSOR_Y, 0x7ff);
	uint32_t row = y - top + (r->crtc[S3_CR_CURSOR_OFFSET_Y] & 0x3fU);

	return y >= top && row < SIDE ? row : SIDE;
}

uint64_t s3_cursor_look(const struct s3_screen *s, const uint8_t *vram, uint32_t *ret_top,
			uint32_t *ret_end)
{
	const struct s3_regs *r = &s->regs;
	uint64_t hash = 1;

	if (!is_shown(s)) {
		*ret_top = *ret_end = 0;
		return 0;
	}
	*ret_top = pair(r, S3_CR_CURSOR_Y, 0x7ff);
	*ret_end = *ret_top + SIDE - (r->crtc[S3_CR_CURSOR_OFFSET_Y] & 0x3f);
	for (uint32_t i = S3_CR_CURSOR_MODE; i <= S3_CR_CURSOR_OFFSET_Y; i++) {
		hash = s3_hash(hash, r->crtc[i]);
	}
	for (uint32_t i = 0; i < 3; i++) {
		hash = s3_hash(hash, r->cursor_fg[i] | r->cursor_bg[i] << 8);
	}
	for (uint32_t row = 0; row < SIDE; row++) {
		for (uint32_t i = 0; i < ROW_BYTES; i++) {
			hash = s3_hash(hash, vram[pattern_at(r, row) + i]);
		}
	}
	return hash | 1;
}

/* The stacks hold a colour in the form of the screen's pixels, lowest byte first. */
static uint32_t color_of(const struct s3_screen *s, const uint8_t *stack)
{
	return s3_pixel(s, stack[0] | (uint32_t)stack[1] << 8 | (uint32_t)stack[2] << 16);
}

/* Masks AND, XOR: 00 background, 01 foreground, 10 what is there, 11 its inverse; or X11's way (CR55). */
static uint32_t blend(const struct s3_screen *s, bool and, bool xor, uint32_t there)
{
	const struct s3_regs *r = &s->regs;

	if (r->crtc[S3_CR_DAC] & S3_CR55_CURSOR_X11) {
		return !and? there : color_of(s, xor? r->cursor_fg : r->cursor_bg);
	}
	if (and) {
		return xor? there ^ 0xffffff : there;
	}
	return color_of(s, xor? r->cursor_fg : r->cursor_bg);
}

void s3_cursor_draw(const struct s3_screen *s, const uint8_t *vram, uint32_t y, uint32_t *line)
{
	const struct s3_regs *r = &s->regs;
	uint32_t row = row_of(r, y), left = pair(r, S3_CR_CURSOR_X, 0x7ff);
	uint32_t cut = r->crtc[S3_CR_CURSOR_OFFSET_X] & 0x3f;
	const uint8_t *pattern = vram + pattern_at(r, row);

	if (row == SIDE || !is_shown(s)) {
		return;
	}
	for (uint32_t column = cut; column < SIDE; column++) {
		uint32_t x = left + column - cut, shift = 7 - (column & 7);
		const uint8_t *at = pattern + column / 16 * 4 + (column / 8 & 1);

		if (x < s->mode.width) {
			line[x] = blend(s, at[0] >> shift & 1, at[2] >> shift & 1, line[x]);
		}
	}
}

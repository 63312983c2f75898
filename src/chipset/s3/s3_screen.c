/* SPDX-License-Identifier: MIT */
/*
 * The picture, and what of it is stale. A frame is made in two steps:
 *
 *     look()   under the chipset lock: registers are copied, and which pages of memory were written
 *     paint()  without it: lines from what was copied and from memory. Who writes there meanwhile makes the
 *              page dirty again, and the next frame has it
 *
 * A line of graphics is stale when a page that it comes from is dirty; a line of text when a hash of its
 * characters, fonts and cursor differs; all are when a register has changed that is not a cursor's.
 */
#include "chipset/s3/s3_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "console/png.h"

/* ---- what there is ---------------------------------------------------------------------------------------- */

static void take_dirty(struct s3 *s3)
{
	struct s3_screen *s = &s3->screen;

	s->is_any_dirty = false;
	for (uint32_t i = 0; i < S3_DIRTY_WORDS; i++) {
		s->dirty[i] |= s3->dirty[i]; /* of a frame that failed, too */
		s->is_any_dirty |= s->dirty[i] != 0;
		s3->dirty[i] = 0;
	}
}

static void take_colors(struct s3_screen *s)
{
	for (uint32_t i = 0; i < 256; i++) {
		const uint8_t *entry = &s->regs.dac[3 * (i & s->regs.dac_mask)];
		uint32_t color = 0;

		for (uint32_t part = 0; part < 3; part++) {
			color = color << 8 | (entry[part] << 2 | entry[part] >> 4);
		}
		s->colors[i] = color;
	}
}

static void look(struct s3 *s3)
{
	struct s3_screen *s = &s3->screen;

	chipset_lock(s3->chipset);
	s3_map_collect(s3);
	s->regs = s3->regs;
	s->is_stale |= s3->is_changed;
	s3->is_changed = false;
	take_dirty(s3);
	chipset_unlock(s3->chipset);
	s3_mode_of(&s->regs, &s->mode);
	take_colors(s);
}

static int fit(struct s3_screen *s)
{
	struct picture *p = &s->picture;
	uint32_t *pixels;

	if (p->width == s->mode.width && p->height == s->mode.height) {
		return 0;
	}
	pixels = fault_alloc((size_t)s->mode.width * s->mode.height, sizeof(*pixels));
	if (!pixels) {
		s->is_stale = true;
		return -ENOMEM;
	}
	free(p->pixels);
	*p = (struct picture){ s->mode.width, s->mode.height, pixels };
	s->is_stale = true;
	return 0;
}

/* ---- what is stale ------------------------------------------------------------------------------------------ */

static bool is_dirty(const struct s3_screen *s, uint32_t at, uint32_t bytes)
{
	for (uint32_t page = at / S3_PAGE_BYTES; page <= (at + bytes - 1) / S3_PAGE_BYTES; page++) {
		if (s->dirty[page / 64] >> page % 64 & 1) {
			return true;
		}
	}
	return false;
}

static bool is_line_dirty(const struct s3_screen *s, const struct s3_line *line)
{
	uint32_t at, bytes;

	if (!s->is_any_dirty) {
		return false;
	}
	return !s3_line_run(s, line, &at, &bytes) || is_dirty(s, at, bytes);
}

/* The lines on which the hardware cursor was or is, when it has moved or changed: none when it has not. */
static void find_cursor(struct s3_screen *s, const uint8_t *vram, uint32_t *ret_top,
			uint32_t *ret_end)
{
	uint32_t top, end;
	uint64_t seen = s3_cursor_look(s, vram, &top, &end);

	*ret_top = *ret_end = 0;
	if (seen == s->cursor_seen) {
		return;
	}
	if (s->cursor_seen == 0) {
		*ret_top = top;
		*ret_end = end;
	} else if (seen == 0) {
		*ret_top = s->cursor_top;
		*ret_end = s->cursor_end;
	} else { /* both, and what is between them */
		*ret_top = top < s->cursor_top ? top : s->cursor_top;
		*ret_end = end > s->cursor_end ? end : s->cursor_end;
	}
	s->cursor_seen = seen;
	s->cursor_top = top;
	s->cursor_end = end;
}

/* ---- painting ------------------------------------------------------------------------------------------------ */

static uint32_t paint_off(struct s3_screen *s)
{
	if (!s->is_stale) {
		return 0;
	}
	memset(s->picture.pixels, 0, (size_t)s->mode.width * s->mode.height * sizeof(uint32_t));
	return s->mode.height;
}

static uint32_t paint_text(struct s3_screen *s, const uint8_t *vram, uint64_t frame)
{
	struct s3_text_phase phase = s3_text_phase_of(s, vram, frame);
	uint32_t lines = 0;

	for (uint32_t y = 0; y < s->mode.height; y++) {
		struct s3_line line = s3_line_of(&s->mode, y);
		uint64_t hash = s3_text_hash(s, vram, &line, &phase);

		if (s->is_stale || s->seen[y] != hash) {
			s3_text_line(s, vram, &line, &phase, picture_line(&s->picture, y));
			s->seen[y] = hash;
			lines++;
		}
	}
	return lines;
}

static uint32_t paint_graphics(struct s3_screen *s, const uint8_t *vram)
{
	uint32_t top, end, lines = 0;

	find_cursor(s, vram, &top, &end);
	for (uint32_t y = 0; y < s->mode.height; y++) {
		struct s3_line line = s3_line_of(&s->mode, y);

		if (s->is_stale || (y >= top && y < end) || is_line_dirty(s, &line)) {
			s3_draw_line(s, vram, &line, picture_line(&s->picture, y));
			s3_cursor_draw(s, vram, y, picture_line(&s->picture, y));
			lines++;
		}
	}
	return lines;
}

static uint32_t paint(struct s3_screen *s, const uint8_t *vram, uint64_t frame)
{
	uint32_t lines;

	if (s->mode.is_off) {
		lines = paint_off(s);
	} else if (s->mode.kind == S3_TEXT) {
		lines = paint_text(s, vram, frame);
	} else {
		lines = paint_graphics(s, vram);
	}
	s->is_stale = false;
	memset(s->dirty, 0, sizeof(s->dirty));
	return lines;
}

int s3_render(struct s3 *s3, uint64_t frame, const struct picture **ret, uint32_t *ret_lines)
{
	struct s3_screen *s = &s3->screen;
	uint32_t lines;
	int err;

	look(s3);
	err = fit(s);
	if (err) {
		return err;
	}
	lines = paint(s, s3->vram, frame);
	if (ret_lines) {
		*ret_lines = lines;
	}
	*ret = &s->picture;
	return 0;
}

int s3_screendump(struct s3 *s3, const char *path, struct diag *reterr)
{
	const struct picture *picture;

	if (s3_render(s3, 0, &picture, NULL)) {
		return diag_set(reterr, -ENOMEM, "%s: no memory for the picture", path);
	}
	return png_save(picture, path, reterr);
}

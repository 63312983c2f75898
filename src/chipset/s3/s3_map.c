/* SPDX-License-Identifier: MIT */
/*
 * Windows: memory of ours that the guest sees, so that drawing costs no exits.
 *
 *     flat memory   BAR 0 shows all of it, 0xa0000 the 64 KB of its bank
 *     plain text    0xb8000 (or 0xb0000) shows a page of characters and attributes. In memory these lie in
 *                   planes 0 and 1, four bytes apart; the page is gathered from there when it is shown, and
 *                   scattered when a picture is made or it is taken away
 *     otherwise     none: each access is an exit, and latches and planes do their work
 */
#include "chipset/s3/s3_internal.h"

#include <string.h>

static bool map(struct s3 *s3, uint64_t gpa, void *hva, uint32_t bytes)
{
	const struct windows *w = &s3->windows;

	if (!w->ops || !gpa || w->ops->map(w->ctx, gpa, hva, bytes, false)) {
		s3->window_refusals += w->ops != NULL;
		return false;
	}
	s3->window_changes++;
	return true;
}

/* ---- plain text --------------------------------------------------------------------------------------- */

/* Both a processor's byte and the doubleword that has it (s3_memory.c, odd/even). */
static uint32_t text_byte(uint32_t at)
{
	return (at & ~1U) * 4 + (at & 1);
}

static void text_gather(struct s3 *s3)
{
	for (uint32_t at = 0; at < S3_TEXT_BYTES; at++) {
		s3->text[at] = s3->vram[text_byte(at)];
	}
}

static void text_scatter(struct s3 *s3)
{
	for (uint32_t at = 0; at < S3_TEXT_BYTES; at++) {
		uint8_t *byte = &s3->vram[text_byte(at)];

		if (*byte != s3->text[at]) {
			*byte = s3->text[at];
			s3_touch(s3, text_byte(at));
		}
	}
}

/* Bytes go where they would with a plain memory of characters and attributes: nothing else is on. */
static bool is_plain_text(const struct s3_regs *r)
{
	const uint8_t *gr = r->gfx;

	return !(gr[VGA_GR_MISC] & VGA_GR6_GRAPHICS) && (gr[VGA_GR_MISC] >> 2 & 3) >= 2 &&
	       !(r->seq[VGA_SR_MEMORY] & (VGA_SR4_SEQUENTIAL | VGA_SR4_CHAIN_4)) &&
	       r->seq[VGA_SR_PLANES] == 3 && gr[VGA_GR_MODE] == VGA_GR5_ODD_EVEN &&
	       gr[VGA_GR_ENABLE_SR] == 0 && gr[VGA_GR_ROTATE] == 0 && gr[VGA_GR_BIT_MASK] == 0xff &&
	       !(gr[VGA_GR_READ_PLANE] & 2) && !s3_is_flat(r) &&
	       !(r->crtc[S3_CR_MEMORY] & S3_CR31_BANKS) &&
	       !(r->crtc[S3_CR_LINEAR] & S3_CR58_ENABLE);
}

/* ---- what the guest has written ------------------------------------------------------------------------- */

static void collect(struct s3 *s3, uint64_t gpa, uint32_t bytes, uint32_t first_page)
{
	const struct windows *w = &s3->windows;
	uint64_t bits[S3_DIRTY_WORDS] = { 0 };

	if (!w->ops->dirty || w->ops->dirty(w->ctx, gpa, bytes, bits)) {
		memset(bits, 0xff, sizeof(bits));
	}
	for (uint32_t page = 0; page < bytes / S3_PAGE_BYTES; page++) {
		if (bits[page / 64] >> page % 64 & 1) {
			s3_touch(s3, (first_page + page) * S3_PAGE_BYTES % S3_VRAM_BYTES);
		}
	}
}

static void collect_low(struct s3 *s3)
{
	if (s3->low_hva == s3->text) {
		text_scatter(s3);
	} else {
		collect(s3, s3->low_gpa, s3->low_bytes,
			(uint32_t)(s3->low_hva - s3->vram) / S3_PAGE_BYTES);
	}
}

void s3_map_collect(struct s3 *s3)
{
	if (s3->low_gpa) {
		collect_low(s3);
	}
	if (s3->lfb_gpa) {
		collect(s3, s3->lfb_gpa, s3->lfb_bytes, 0);
	}
}

/* ---- windows ---------------------------------------------------------------------------------------------- */

static void unmap_low(struct s3 *s3)
{
	if (s3->low_gpa) {
		collect_low(s3);
		s3->windows.ops->unmap(s3->windows.ctx, s3->low_gpa, s3->low_bytes);
		s3->low_gpa = 0;
		s3->low_hva = NULL;
	}
}

static void unmap_lfb(struct s3 *s3)
{
	if (s3->lfb_gpa) {
		collect(s3, s3->lfb_gpa, s3->lfb_bytes, 0);
		s3->windows.ops->unmap(s3->windows.ctx, s3->lfb_gpa, s3->lfb_bytes);
		s3->lfb_gpa = 0;
	}
}

void s3_map_clear(struct s3 *s3)
{
	unmap_low(s3);
	unmap_lfb(s3);
}

static void update_lfb(struct s3 *s3)
{
	uint32_t bytes = s3_is_flat(&s3->regs) ? s3_linear_bytes(&s3->regs) : 0;
	uint64_t gpa = bytes ? s3->bar_base : 0;

	if (s3->lfb_gpa && (gpa != s3->lfb_gpa || bytes != s3->lfb_bytes)) {
		unmap_lfb(s3);
	}
	if (gpa && !s3->lfb_gpa && map(s3, gpa, s3->vram, bytes)) {
		s3->lfb_gpa = gpa;
		s3->lfb_bytes = bytes;
	}
}

static void update_low(struct s3 *s3)
{
	uint32_t offset, bytes;
	uint64_t gpa = 0;
	uint8_t *hva = NULL;

	if (s3->has_memory && s3_low_window(&s3->regs, &offset, &bytes)) {
		if (s3_is_flat(&s3->regs)) {
			hva = s3->vram + s3_bank_offset(&s3->regs) % S3_VRAM_BYTES;
		} else if (is_plain_text(&s3->regs)) {
			hva = s3->text;
		}
		gpa = hva ? VGA_MEMORY_GPA + offset : 0;
	}
	if (gpa == s3->low_gpa && hva == s3->low_hva) {
		return;
	}
	unmap_low(s3);
	if (!s3->windows.ops || !gpa) {
		return;
	}
	if (hva == s3->text) {
		text_gather(s3);
	}
	if (map(s3, gpa, hva, bytes)) {
		s3->low_gpa = gpa;
		s3->low_hva = hva;
		s3->low_bytes = bytes;
	}
}

void s3_map_update(struct s3 *s3)
{
	update_lfb(s3);
	update_low(s3);
}

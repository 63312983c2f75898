/* SPDX-License-Identifier: MIT */
/*
 * Windows: memory of ours that the guest sees, so that drawing costs no exits.
 *
 *     flat memory   BAR 0 shows all of it, 0xa0000 the 64 KB of its bank
 *     plain text    0xb8000 (or 0xb0000) shows characters and attributes; in memory these lie in planes 0
 *                   and 1, eight bytes from one character to the next
 *     plain chain 4 0xa0000 shows the pixels of mode 0x13; in memory, four of each sixteen bytes
 *     otherwise     none: each access is an exit, and latches and planes do their work
 *
 * What is plain is not flat: the guest has a shadow. It is gathered from memory when it is shown, and scattered
 * into memory when a picture is made or when it is taken away. Memory is taken away before what the guest has
 * written there is looked at, so that nothing is lost of what another processor writes meanwhile.
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

/* ---- shadows -------------------------------------------------------------------------------------------- */

/* Where a processor's byte lies in memory (s3_memory.c: odd/even, chain 4). */
static uint32_t shadow_byte(enum s3_low low, uint32_t at)
{
	uint32_t plane = at & (low == S3_LOW_TEXT ? 1U : 3U);

	return (at - plane) * 4 + plane;
}

static void gather(struct s3 *s3, enum s3_low low, uint32_t bytes)
{
	for (uint32_t at = 0; at < bytes; at++) {
		s3->shadow[at] = s3->vram[shadow_byte(low, at)];
	}
}

static void scatter(struct s3 *s3, enum s3_low low, uint32_t bytes)
{
	for (uint32_t at = 0; at < bytes; at++) {
		uint32_t to = shadow_byte(low, at);

		if (s3->vram[to] != s3->shadow[at]) {
			s3->vram[to] = s3->shadow[at];
			s3_touch(s3, to);
		}
	}
}

/* Bytes are written and read as they are: no rotation, no function, no mask, no second plane, no bank. */
static bool is_plain(const struct s3_regs *r)
{
	const uint8_t *gr = r->gfx;

	return gr[VGA_GR_ENABLE_SR] == 0 && gr[VGA_GR_ROTATE] == 0 && gr[VGA_GR_BIT_MASK] == 0xff &&
	       !(gr[VGA_GR_MODE] & (VGA_GR5_WRITE_MODE | VGA_GR5_READ_COMPARE)) &&
	       !(r->crtc[S3_CR_MEMORY] & S3_CR31_BANKS) &&
	       !(r->crtc[S3_CR_LINEAR] & S3_CR58_ENABLE);
}

static bool is_plain_text(const struct s3_regs *r)
{
	const uint8_t *gr = r->gfx;

	return is_plain(r) && !(gr[VGA_GR_MISC] & VGA_GR6_GRAPHICS) &&
	       (gr[VGA_GR_MISC] >> 2 & 3) >= 2 && (gr[VGA_GR_MODE] & VGA_GR5_ODD_EVEN) &&
	       !(gr[VGA_GR_READ_PLANE] & 2) && r->seq[VGA_SR_PLANES] == 3 &&
	       !(r->seq[VGA_SR_MEMORY] & (VGA_SR4_SEQUENTIAL | VGA_SR4_CHAIN_4));
}

static bool is_plain_chain_4(const struct s3_regs *r)
{
	return is_plain(r) && (r->gfx[VGA_GR_MISC] >> 2 & 3) == 1 &&
	       r->seq[VGA_SR_PLANES] == 0x0f && (r->seq[VGA_SR_MEMORY] & VGA_SR4_CHAIN_4);
}

/* ---- what the guest has written ------------------------------------------------------------------------- */

/* is_gone: the window is not there any more, and nobody knows what was written last. */
static void collect(struct s3 *s3, uint64_t gpa, uint32_t bytes, uint32_t first_page, bool is_gone)
{
	const struct windows *w = &s3->windows;
	uint64_t bits[S3_DIRTY_WORDS] = { 0 };

	if (is_gone || !w->ops->dirty || w->ops->dirty(w->ctx, gpa, bytes, bits)) {
		memset(bits, 0xff, sizeof(bits));
	}
	for (uint32_t page = 0; page < bytes / S3_PAGE_BYTES; page++) {
		if (bits[page / 64] >> page % 64 & 1) {
			s3_touch(s3, (first_page + page) * S3_PAGE_BYTES % S3_VRAM_BYTES);
		}
	}
}

static void collect_low(struct s3 *s3, bool is_gone)
{
	if (s3->low == S3_LOW_FLAT) {
		collect(s3, s3->low_gpa, s3->low_bytes,
			(uint32_t)(s3->low_hva - s3->vram) / S3_PAGE_BYTES, is_gone);
	} else if (s3->low != S3_LOW_NONE) {
		scatter(s3, s3->low, s3->low_bytes);
	}
}

void s3_map_collect(struct s3 *s3)
{
	collect_low(s3, false);
	if (s3->lfb_gpa) {
		collect(s3, s3->lfb_gpa, s3->lfb_bytes, 0, false);
	}
}

/* ---- windows -------------------------------------------------------------------------------------------- */

static void unmap_low(struct s3 *s3)
{
	if (s3->low != S3_LOW_NONE) {
		s3->windows.ops->unmap(s3->windows.ctx, s3->low_gpa, s3->low_bytes);
		collect_low(s3, true);
		s3->low = S3_LOW_NONE;
		s3->low_gpa = 0;
		s3->low_hva = NULL;
	}
}

static void unmap_lfb(struct s3 *s3)
{
	if (s3->lfb_gpa) {
		s3->windows.ops->unmap(s3->windows.ctx, s3->lfb_gpa, s3->lfb_bytes);
		collect(s3, s3->lfb_gpa, s3->lfb_bytes, 0, true);
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

static enum s3_low low_wanted(const struct s3 *s3)
{
	const struct s3_regs *r = &s3->regs;

	if (!s3->windows.ops || !s3->has_memory || !(r->misc & VGA_MISC_RAM)) {
		return S3_LOW_NONE;
	}
	if (s3_is_flat(r)) {
		return S3_LOW_FLAT;
	}
	if (is_plain_text(r)) {
		return S3_LOW_TEXT;
	}
	return is_plain_chain_4(r) ? S3_LOW_CHAIN_4 : S3_LOW_NONE;
}

static void map_low(struct s3 *s3, enum s3_low low, uint64_t gpa, uint8_t *hva, uint32_t bytes)
{
	if (low != S3_LOW_FLAT) {
		gather(s3, low, bytes);
	}
	if (map(s3, gpa, hva, bytes)) {
		s3->low = low;
		s3->low_gpa = gpa;
		s3->low_hva = hva;
		s3->low_bytes = bytes;
	}
}

static void update_low(struct s3 *s3)
{
	enum s3_low low = low_wanted(s3);
	uint32_t offset, bytes;
	uint64_t gpa;
	uint8_t *hva;

	s3_low_window(&s3->regs, &offset, &bytes);
	gpa = VGA_MEMORY_GPA + offset;
	hva = low == S3_LOW_FLAT ? s3->vram + s3_bank_offset(&s3->regs) % S3_VRAM_BYTES
				 : s3->shadow;
	if (low == s3->low && (low == S3_LOW_NONE || (gpa == s3->low_gpa && hva == s3->low_hva))) {
		return;
	}
	unmap_low(s3);
	if (low != S3_LOW_NONE) {
		map_low(s3, low, gpa, hva, bytes);
	}
}

void s3_map_update(struct s3 *s3)
{
	update_lfb(s3);
	update_low(s3);
}

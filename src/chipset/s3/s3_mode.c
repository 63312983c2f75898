/* SPDX-License-Identifier: MIT */
#include "chipset/s3/s3_internal.h"

#include "base/num.h"

#define PLANAR_DWORDS (64U << 10) /* VGA's memory */
#define VRAM_DWORDS   (S3_VRAM_BYTES / 4)

static uint32_t bit(uint8_t value, unsigned int number, unsigned int to)
{
	return (uint32_t)(value >> number & 1) << to;
}

/* ---- timings -------------------------------------------------------------------------------------------- */

static uint32_t lines_of(const struct s3_regs *r)
{
	uint8_t overflow = r->crtc[VGA_CR_OVERFLOW];
	uint32_t lines = r->crtc[VGA_CR_V_DISPLAY] + bit(overflow, 1, 8) + bit(overflow, 6, 9) +
			 bit(r->crtc[S3_CR_V_OVERFLOW], 1, 10) + 1;

	/* Either counts two lines as one: every second line, or fields that lie between each other. */
	if (r->crtc[VGA_CR_MODE] & VGA_CR17_V_DOUBLE) {
		lines *= 2;
	}
	return r->crtc[S3_CR_MODE_CONTROL] & S3_CR42_INTERLACED ? 2 * lines : lines;
}

static uint32_t line_compare_of(const struct s3_regs *r)
{
	return r->crtc[VGA_CR_LINE_COMPARE] + bit(r->crtc[VGA_CR_OVERFLOW], 4, 8) +
	       bit(r->crtc[VGA_CR_MAX_SCAN], 6, 9) + bit(r->crtc[S3_CR_V_OVERFLOW], 6, 10);
}

/* CR13 and its higher bits: CR51's, or CR43's if those are none (section 18). */
static uint32_t pitch_of(const struct s3_regs *r)
{
	uint32_t high = r->crtc[S3_CR_SYSTEM_2] >> 4 & 3;

	if (high == 0) {
		high = bit(r->crtc[S3_CR_EXTENDED_MODE], 2, 0);
	}
	return 2 * (r->crtc[VGA_CR_OFFSET] | high << 8);
}

static void rows_of(const struct s3_regs *r, struct s3_mode *m)
{
	uint8_t max = r->crtc[VGA_CR_MAX_SCAN];

	m->scans = (max & 0x1f) + 1U;
	m->lines_per_row = m->scans * (max & 0x80 ? 2 : 1);
	m->preset = r->crtc[VGA_CR_PRESET_ROW] & 0x1f;
	if (m->preset >= m->scans) {
		m->preset = 0;
	}
	m->preset *= max & 0x80 ? 2 : 1;
}

/* ---- what a pixel is ------------------------------------------------------------------------------------ */

static enum s3_kind enhanced_kind(const struct s3_regs *r)
{
	switch (r->crtc[S3_CR_PIXELS] & S3_CR67_FORMAT) {
	case S3_CR67_15:
		return S3_15;
	case S3_CR67_16:
		return S3_16;
	case S3_CR67_32:
		return S3_32;
	default:
		return S3_8; /* one or two pixels a clock; the others are not this chip's */
	}
}

static enum s3_kind vga_kind(const struct s3_regs *r)
{
	if (r->gfx[VGA_GR_MODE] & VGA_GR5_SHIFT_256) {
		return r->attr[VGA_AR_MODE] & VGA_AR10_PIXEL_8 ? S3_256 : S3_NIBBLE;
	}
	return r->gfx[VGA_GR_MODE] & VGA_GR5_SHIFT_CGA ? S3_CGA : S3_PLANAR;
}

static enum s3_kind kind_of(const struct s3_regs *r)
{
	if (!(r->gfx[VGA_GR_MISC] & VGA_GR6_GRAPHICS)) {
		return S3_TEXT;
	}
	return r->crtc[S3_CR_MISC_1] & S3_CR3A_ENHANCED ? enhanced_kind(r) : vga_kind(r);
}

static bool is_off(const struct s3_regs *r)
{
	return !(r->crtc[VGA_CR_MODE] & VGA_CR17_RUN) || !(r->attr_index & VGA_AR_INDEX_ON) ||
	       (r->seq[VGA_SR_CLOCKING] & VGA_SR1_SCREEN_OFF) ||
	       (r->crtc[S3_CR_SYNC] & S3_CR56_NO_SYNC);
}

static uint32_t width_of(const struct s3_regs *r, struct s3_mode *m)
{
	uint32_t width;

	m->cells = r->crtc[VGA_CR_H_DISPLAY] + bit(r->crtc[S3_CR_H_OVERFLOW], 1, 8) + 1;
	m->cell_dots =
		m->kind == S3_TEXT && !(r->seq[VGA_SR_CLOCKING] & VGA_SR1_EIGHT_DOTS) ? 9 : 8;
	m->is_half_clock = m->kind <= S3_NIBBLE && (r->seq[VGA_SR_CLOCKING] & VGA_SR1_HALF_CLOCK);
	width = m->cells * m->cell_dots;
	if (m->is_half_clock) {
		width *= 2;
	}
	/* Two bytes a pixel: the CRTC counts twice as many clocks. */
	return m->kind == S3_15 || m->kind == S3_16 ? width / 2 : width;
}

static uint32_t pan_of(const struct s3_regs *r, const struct s3_mode *m)
{
	uint32_t pan = r->attr[VGA_AR_PAN];

	if (m->kind > S3_NIBBLE) {
		return 0;
	}
	if (m->cell_dots == 9) {
		return pan >= 8 ? 0 : pan + 1;
	}
	return pan & 7;
}

void s3_mode_of(const struct s3_regs *r, struct s3_mode *m)
{
	*m = (struct s3_mode){ .kind = kind_of(r), .is_off = is_off(r) };
	m->is_enhanced = r->crtc[S3_CR_MEMORY] & S3_CR31_ENHANCED;
	m->width = (uint32_t)num_min(width_of(r, m), PICTURE_WIDTH_MAX);
	m->height = (uint32_t)num_min(lines_of(r), PICTURE_HEIGHT_MAX);
	m->start = (uint32_t)r->start_high << 16 | r->crtc[VGA_CR_START_HIGH] << 8 |
		   r->crtc[VGA_CR_START_LOW];
	m->start += r->crtc[VGA_CR_PRESET_ROW] >> 5 & 3;
	m->pitch = pitch_of(r);
	rows_of(r, m);
	m->pan = pan_of(r, m);
	m->line_compare = line_compare_of(r);
	m->split_stops_pan = r->attr[VGA_AR_MODE] & VGA_AR10_PAN_SPLIT;
	m->mask = (m->is_enhanced || (r->crtc[S3_CR_MEMORY] & S3_CR31_BANKS) ? VRAM_DWORDS
									     : PLANAR_DWORDS) -
		  1;
}

/* ---- where a line comes from ---------------------------------------------------------------------------- */

struct s3_line s3_line_of(const struct s3_mode *m, uint32_t y)
{
	struct s3_line line = { .count = m->start, .pan = m->pan };
	uint32_t at = y + m->preset;

	if (y > m->line_compare) { /* below the split memory begins again */
		line.count = 0;
		line.pan = m->split_stops_pan ? 0 : m->pan;
		at = y - m->line_compare - 1;
	}
	line.count += at / m->lines_per_row * m->pitch;
	line.scan = at % m->lines_per_row * m->scans / m->lines_per_row;
	return line;
}

/* VGA's wiring of counts to addresses (CRTC mode control, underline location). */
uint32_t s3_address_of(const struct s3_regs *r, const struct s3_mode *m, uint32_t count,
		       uint32_t scan)
{
	uint8_t mode = r->crtc[VGA_CR_MODE];
	uint32_t address = count;

	if (m->is_enhanced) {
		return count & m->mask;
	}
	if (r->crtc[VGA_CR_UNDERLINE] & VGA_CR14_DWORD) {
		address = count << 2 | (count >> 14 & 3);
	} else if (!(mode & VGA_CR17_BYTE)) {
		address = count << 1 | (count >> (mode & VGA_CR17_WRAP_15 ? 15 : 13) & 1);
	}
	if (!(mode & VGA_CR17_MA13)) {
		address = (address & ~0x2000U) | (scan & 1) << 13;
	}
	if (!(mode & VGA_CR17_MA14)) {
		address = (address & ~0x4000U) | (scan >> 1 & 1) << 14;
	}
	return address & m->mask;
}

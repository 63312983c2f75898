/* SPDX-License-Identifier: MIT */
#include "chipset/s3/s3_internal.h"

#include <string.h>

#include "base/num.h"

#define PLANAR_BYTES (256U << 10) /* VGA's memory */

/* ---- what is where ---------------------------------------------------------------------------------- */

bool s3_is_flat(const struct s3_regs *r)
{
	return r->crtc[S3_CR_MEMORY] & S3_CR31_ENHANCED;
}

uint32_t s3_linear_bytes(const struct s3_regs *r)
{
	static const uint32_t sizes[] = { 64U << 10, 1U << 20, 2U << 20, 4U << 20 };
	uint8_t linear = r->crtc[S3_CR_LINEAR];

	return linear & S3_CR58_ENABLE ? sizes[linear & S3_CR58_SIZE] : 0;
}

uint32_t s3_bank_offset(const struct s3_regs *r)
{
	return r->crtc[S3_CR_MEMORY] & S3_CR31_BANKS ? r->bank * S3_BANK_BYTES : 0;
}

/* The part of 0xa0000-0xbffff that answers. Flat memory is 64 KB at 0xa0000, whatever GR6 says. */
bool s3_low_window(const struct s3_regs *r, uint32_t *ret_offset, uint32_t *ret_bytes)
{
	static const uint32_t offsets[] = { 0, 0, 0x10000, 0x18000 };
	static const uint32_t sizes[] = { 0x20000, 0x10000, 0x8000, 0x8000 };
	unsigned int map = s3_is_flat(r) ? 1 : r->gfx[VGA_GR_MISC] >> 2 & 3;

	*ret_offset = offsets[map];
	*ret_bytes = sizes[map];
	return r->misc & VGA_MISC_RAM;
}

/* ---- planes ------------------------------------------------------------------------------------------- */

/* A byte of ones for each bit. */
static uint32_t spread(unsigned int bits)
{
	uint32_t value = 0;

	for (unsigned int plane = 0; plane < 4; plane++) {
		value |= (bits >> plane & 1) * 0xffU << 8 * plane;
	}
	return value;
}

struct place {
	uint32_t byte;       /* of the doubleword of four planes */
	unsigned int planes; /* that a write reaches */
	unsigned int plane;  /* that a read gives */
};

static struct place place_of(const struct s3_regs *r, uint32_t at)
{
	bool is_large = r->crtc[S3_CR_MEMORY] & S3_CR31_BANKS;
	uint32_t mask = (is_large ? S3_VRAM_BYTES : PLANAR_BYTES) - 1;
	struct place place = { .planes = r->seq[VGA_SR_PLANES],
			       .plane = r->gfx[VGA_GR_READ_PLANE] };

	if (r->seq[VGA_SR_MEMORY] & VGA_SR4_CHAIN_4) {
		place.planes &= 1U << (at & 3);
		place.plane = at & 3;
		at &= ~3U;
	} else {
		bool is_even = !(r->seq[VGA_SR_MEMORY] & VGA_SR4_SEQUENTIAL);

		if (is_even) {
			place.planes &= at & 1 ? 0x0a : 0x05;
		}
		if (r->gfx[VGA_GR_MODE] & VGA_GR5_ODD_EVEN) {
			place.plane = (place.plane & 2) | (at & 1);
		}
		if (is_even || (r->gfx[VGA_GR_MISC] & VGA_GR6_CHAIN_ODD_EVEN)) {
			at &= ~1U;
		}
	}
	place.byte = at * 4 & mask;
	return place;
}

static uint32_t planes_load(const struct s3 *s3, uint32_t byte)
{
	uint32_t value;

	memcpy(&value, s3->vram + byte, sizeof(value));
	return value;
}

static uint8_t planar_read(struct s3 *s3, uint32_t at)
{
	struct s3_regs *r = &s3->regs;
	struct place place = place_of(r, at);
	uint32_t differs;

	r->latch = planes_load(s3, place.byte);
	if (!(r->gfx[VGA_GR_MODE] & VGA_GR5_READ_COMPARE)) {
		return (uint8_t)(r->latch >> 8 * place.plane);
	}
	differs = (r->latch ^ spread(r->gfx[VGA_GR_COMPARE])) & spread(r->gfx[VGA_GR_DONT_CARE]);
	return (uint8_t) ~(differs | differs >> 8 | differs >> 16 | differs >> 24);
}

static uint8_t rotated(const struct s3_regs *r, uint8_t value)
{
	unsigned int by = r->gfx[VGA_GR_ROTATE] & 7;

	return (uint8_t)(value >> by | value << (8 - by));
}

static uint32_t combine(const struct s3_regs *r, uint32_t value)
{
	switch (r->gfx[VGA_GR_ROTATE] >> 3 & 3) {
	case 1:
		return value & r->latch;
	case 2:
		return value | r->latch;
	case 3:
		return value ^ r->latch;
	default:
		return value;
	}
}

/* What a byte from the processor makes of the latched doubleword, all planes. */
static uint32_t written(const struct s3_regs *r, uint8_t value)
{
	uint32_t bits = r->gfx[VGA_GR_BIT_MASK] * 0x01010101U;
	uint32_t set = spread(r->gfx[VGA_GR_SET_RESET]), enable = spread(r->gfx[VGA_GR_ENABLE_SR]);
	uint32_t data;

	switch (r->gfx[VGA_GR_MODE] & VGA_GR5_WRITE_MODE) {
	case 0:
		data = (rotated(r, value) * 0x01010101U & ~enable) | (set & enable);
		break;
	case 1:
		return r->latch;
	case 2:
		data = spread(value & 0x0f);
		break;
	default:
		bits &= rotated(r, value) * 0x01010101U;
		data = set;
		break;
	}
	return (combine(r, data) & bits) | (r->latch & ~bits);
}

static void planar_write(struct s3 *s3, uint32_t at, uint8_t value)
{
	struct place place = place_of(&s3->regs, at);
	uint32_t mask = spread(place.planes);
	uint32_t now = (planes_load(s3, place.byte) & ~mask) | (written(&s3->regs, value) & mask);

	memcpy(s3->vram + place.byte, &now, sizeof(now));
	s3_touch(s3, place.byte);
}

/* ---- accesses ------------------------------------------------------------------------------------------ */

static uint64_t access_read(struct s3 *s3, uint32_t at, unsigned int bytes)
{
	bool is_flat = s3_is_flat(&s3->regs);
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes; i++) {
		uint8_t byte =
			is_flat ? s3->vram[(at + i) % S3_VRAM_BYTES] : planar_read(s3, at + i);

		value |= (uint64_t)byte << 8 * i;
	}
	return value;
}

static void access_write(struct s3 *s3, uint32_t at, uint64_t value, unsigned int bytes)
{
	bool is_flat = s3_is_flat(&s3->regs);

	for (unsigned int i = 0; i < bytes; i++) {
		uint8_t byte = (uint8_t)(value >> 8 * i);

		if (is_flat) {
			s3->vram[(at + i) % S3_VRAM_BYTES] = byte;
			s3_touch(s3, (at + i) % S3_VRAM_BYTES);
		} else {
			planar_write(s3, at + i, byte);
		}
	}
}

/* The whole access lies in what answers: its place there. */
static bool low_place(const struct s3 *s3, uint64_t offset, unsigned int bytes, uint32_t *ret)
{
	uint32_t first, size;

	if (!s3_low_window(&s3->regs, &first, &size) || offset < first ||
	    !num_range_fits(offset - first, bytes, size)) {
		return false;
	}
	*ret = (uint32_t)offset - first + s3_bank_offset(&s3->regs);
	return true;
}

/* The shadow's byte, while it is mapped: an exit there is possible all the same (KVM's emulation). */
static uint8_t *shadow_place(struct s3 *s3, uint64_t offset, unsigned int bytes)
{
	uint64_t gpa = VGA_MEMORY_GPA + offset;

	if (s3->low <= S3_LOW_FLAT || gpa < s3->low_gpa ||
	    !num_range_fits(gpa - s3->low_gpa, bytes, s3->low_bytes)) {
		return NULL;
	}
	return s3->shadow + (gpa - s3->low_gpa);
}

static uint64_t memory_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	struct s3 *s3 = ctx;
	const uint8_t *shadow = shadow_place(s3, offset, bytes);
	uint64_t value = 0;
	uint32_t at;

	if (shadow) {
		memcpy(&value, shadow, bytes);
		return value;
	}
	return low_place(s3, offset, bytes, &at) ? access_read(s3, at, bytes) : ~0ULL;
}

static void memory_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct s3 *s3 = ctx;
	uint8_t *shadow = shadow_place(s3, offset, bytes);
	uint32_t at;

	if (shadow) {
		memcpy(shadow, &value, bytes);
		return;
	}
	if (low_place(s3, offset, bytes, &at)) {
		access_write(s3, at, value, bytes);
	}
}

static uint64_t linear_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	struct s3 *s3 = ctx;

	return num_range_fits(offset, bytes, s3_linear_bytes(&s3->regs))
		       ? access_read(s3, (uint32_t)offset, bytes)
		       : ~0ULL;
}

static void linear_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct s3 *s3 = ctx;

	if (num_range_fits(offset, bytes, s3_linear_bytes(&s3->regs))) {
		access_write(s3, (uint32_t)offset, value, bytes);
	}
}

const struct io_region_ops s3_memory_ops = { memory_read, memory_write };
const struct io_region_ops s3_linear_ops = { linear_read, linear_write };

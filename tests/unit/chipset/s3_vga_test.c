/* SPDX-License-Identifier: MIT */
/* The VGA: registers and their locks, planes and latches, text and the graphics modes of a VGA BIOS. */
#include "s3_rig.h"

#include "base/crc32c.h"

struct fixture {
	struct s3_rig g;
};

static int set_up_with(void **state, bool has_windows)
{
	static struct fixture f;

	s3_rig_init(&f.g, has_windows);
	s3_out(&f.g, VGA_PORT_MISC, 0x67);
	*state = &f;
	return 0;
}

static int set_up(void **state)
{
	return set_up_with(state, false);
}

static int set_up_windows(void **state)
{
	return set_up_with(state, true);
}

static int tear_down(void **state)
{
	s3_rig_fini(&((struct fixture *)*state)->g);
	return 0;
}

static uint32_t noise(uint32_t x, uint32_t y)
{
	uint32_t v = x * 2246822519U ^ y * 3266489917U;

	return v ^ v >> 15;
}

/* ---- registers -------------------------------------------------------------------------------------------- */

static void nothing_answers_before_it_is_told_to(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;

	assert_int_equal(s3_in(g, VGA_PORT_MISC_READ), 0x67);
	pci_rig_write16(&g->p, S3_DEVFN, PCI_COMMAND, PCI_COMMAND_MEMORY);
	assert_int_equal(s3_in(g, VGA_PORT_MISC_READ), 0xff);
	pci_rig_store(&g->p, 0xa0000, 1, 1);
	pci_rig_write16(&g->p, S3_DEVFN, PCI_COMMAND, PCI_COMMAND_IO);
	assert_int_equal(s3_in(g, VGA_PORT_MISC_READ), 0x67);
	assert_false(chipset_mmio(g->p.rig.chipset, 0xa0000, true, "\1", 1));
	assert_int_equal(s3_in(g, 0x3bc), 0xff); /* a printer's, not ours */
}

static void the_crtc_is_in_two_places(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;

	s3_set(g, 0x3d4, 0x0f, 0x5a);
	assert_int_equal(s3_get(g, 0x3b4, 0x0f), 0xff);
	s3_out(g, VGA_PORT_MISC, 0x66);
	assert_int_equal(s3_get(g, 0x3b4, 0x0f), 0x5a);
	assert_int_equal(s3_get(g, 0x3d4, 0x0f), 0xff);
	assert_int_not_equal(s3_in(g, 0x3ba), 0xff);
	s3_out(g, VGA_PORT_MISC, 0x67);
	assert_int_equal(s3_get(g, 0x3d4, 0x0f), 0x5a);
}

static void the_attribute_port_flips(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;

	s3_attr(g, 0x11, 0x2a);
	s3_in(g, VGA_PORT_STATUS_1);
	s3_out(g, VGA_PORT_ATTRIBUTE, 0x11);
	assert_int_equal(s3_in(g, VGA_PORT_ATTRIBUTE_READ), 0x2a);
	assert_int_equal(s3_get(g, 0x3d4, 0x24), 0x80); /* data is next */
	assert_int_equal(s3_get(g, 0x3d4, 0x26), 0x11);
	s3_in(g, VGA_PORT_STATUS_1);
	assert_int_equal(s3_get(g, 0x3d4, 0x24), 0);
	/* Retraces begin and end for whoever waits. */
	assert_int_not_equal(s3_in(g, VGA_PORT_STATUS_1) & 8, s3_in(g, VGA_PORT_STATUS_1) & 8);
}

static void the_dac_counts(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;

	s3_color(g, 254, 1, 2, 0xff);
	s3_out(g, VGA_PORT_DAC_DATA, 4); /* 255 follows, and then 0 */
	s3_out(g, VGA_PORT_DAC_DATA, 5);
	s3_out(g, VGA_PORT_DAC_DATA, 6);
	s3_out(g, VGA_PORT_DAC_DATA, 7);
	s3_out(g, VGA_PORT_DAC_DATA, 8);
	s3_out(g, VGA_PORT_DAC_DATA, 9);
	assert_int_equal(s3_in(g, VGA_PORT_DAC_READ), 0);
	s3_out(g, VGA_PORT_DAC_READ, 254);
	assert_int_equal(s3_in(g, VGA_PORT_DAC_READ), 3);
	for (unsigned int i = 0; i < 9; i++) {
		assert_int_equal(s3_in(g, VGA_PORT_DAC_DATA), i == 2 ? 0x3f : i + 1);
	}
}

static void locks_hold(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;

	/* Locked: CR30 to CR3F, CR40 to CR6F, SR09 to SR1F. */
	s3_set(g, 0x3d4, 0x3b, 0x55);
	s3_set(g, 0x3d4, 0x54, 0x55);
	s3_set(g, 0x3c4, 0x12, 0x55);
	assert_int_equal(s3_get(g, 0x3d4, 0x3b) | s3_get(g, 0x3d4, 0x54), 0);
	assert_int_not_equal(s3_get(g, 0x3c4, 0x12), 0x55);
	s3_set(g, 0x3d4, 0x38, 0x48);
	s3_set(g, 0x3d4, 0x3b, 0x55);
	s3_set(g, 0x3d4, 0x54, 0x55);
	assert_int_equal(s3_get(g, 0x3d4, 0x3b), 0x55);
	assert_int_equal(s3_get(g, 0x3d4, 0x54), 0);
	s3_set(g, 0x3d4, 0x39, 0xa0);
	s3_set(g, 0x3d4, 0x54, 0x55);
	assert_int_equal(s3_get(g, 0x3d4, 0x54), 0x55);
	s3_set(g, 0x3c4, 0x08, 0x06);
	s3_set(g, 0x3c4, 0x12, 0x55);
	assert_int_equal(s3_get(g, 0x3c4, 0x12), 0x55);
	/* What the chip is cannot be written. */
	for (uint8_t i = 0x2d; i <= 0x30; i++) {
		s3_set(g, 0x3d4, i, 0x77);
	}
	s3_set(g, 0x3d4, 0x36, 0x77);
	assert_int_equal(s3_get(g, 0x3d4, 0x2e), 0x11);
	assert_int_equal(s3_get(g, 0x3d4, 0x36), 0x1e);
	/* CR11 protects CR00 to CR07, but for a bit of line compare. */
	s3_set(g, 0x3d4, 0x11, 0x00);
	s3_set(g, 0x3d4, 0x07, 0x00);
	s3_set(g, 0x3d4, 0x11, 0x80);
	s3_set(g, 0x3d4, 0x01, 0x4f);
	s3_set(g, 0x3d4, 0x07, 0xff);
	assert_int_equal(s3_get(g, 0x3d4, 0x01), 0);
	assert_int_equal(s3_get(g, 0x3d4, 0x07), 0x10);
	/* CR35 keeps timings. */
	s3_set(g, 0x3d4, 0x11, 0x00);
	s3_set(g, 0x3d4, 0x35, 0x30);
	s3_set(g, 0x3d4, 0x01, 0x4f);
	s3_set(g, 0x3d4, 0x06, 0x4f);
	assert_int_equal(s3_get(g, 0x3d4, 0x01) | s3_get(g, 0x3d4, 0x06), 0);
	s3_set(g, 0x3d4, 0x35, 0x00);
	s3_set(g, 0x3d4, 0x01, 0x4f);
	assert_int_equal(s3_get(g, 0x3d4, 0x01), 0x4f);
}

/* One bank, one start address, each with several faces; and the linear window's place is the BAR's. */
static void faces_of_one_value_agree(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;

	s3_set(g, 0x3d4, 0x38, 0x48);
	s3_set(g, 0x3d4, 0x39, 0xa5);
	s3_set(g, 0x3d4, 0x6a, 0x35);
	assert_int_equal(s3_get(g, 0x3d4, 0x35) & 0x0f, 5);
	assert_int_equal(s3_get(g, 0x3d4, 0x51) & 0x0c, 0x0c);
	s3_set(g, 0x3d4, 0x35, 0x0a);
	assert_int_equal(s3_get(g, 0x3d4, 0x6a), 0x3a);
	s3_set(g, 0x3d4, 0x69, 0x1b);
	assert_int_equal(s3_get(g, 0x3d4, 0x31) & 0x30, 0x30);
	assert_int_equal(s3_get(g, 0x3d4, 0x51) & 3, 2);
	s3_set(g, 0x3d4, 0x31, 0x10);
	assert_int_equal(s3_get(g, 0x3d4, 0x69), 0x19);
	assert_int_equal(s3_get(g, 0x3d4, 0x59), S3_LFB >> 24);
	assert_int_equal(s3_get(g, 0x3d4, 0x5a), 0);
}

/* ---- planes: against a model of single bits --------------------------------------------------------------- */

struct model {
	uint8_t planes[4][65536], latch[4];
	uint8_t gr[9], sr2, sr4;
};

static bool model_bit(uint8_t byte, unsigned int n)
{
	return byte >> n & 1;
}

static void model_where(const struct model *m, uint32_t at, uint32_t *ret_at,
			unsigned int *ret_planes)
{
	*ret_planes = m->sr2;
	*ret_at = at;
	if (m->sr4 & 8) {
		*ret_planes &= 1U << at % 4;
		*ret_at = at - at % 4;
	} else if (!(m->sr4 & 4)) {
		*ret_planes &= at % 2 ? 10 : 5;
		*ret_at = at - at % 2;
	} else if (m->gr[6] & 2) {
		*ret_at = at - at % 2;
	}
}

static uint8_t model_read(struct model *m, uint32_t at)
{
	uint32_t place;
	unsigned int planes, plane = m->gr[4];
	uint8_t result = 0;

	model_where(m, at, &place, &planes);
	for (unsigned int p = 0; p < 4; p++) {
		m->latch[p] = m->planes[p][place];
	}
	if (m->gr[5] & 8) {
		for (unsigned int n = 0; n < 8; n++) {
			bool is_same = true;

			for (unsigned int p = 0; p < 4; p++) {
				if (model_bit(m->gr[7], p) &&
				    model_bit(m->latch[p], n) != model_bit(m->gr[2], p)) {
					is_same = false;
				}
			}
			result |= (uint8_t)(is_same << n);
		}
		return result;
	}
	if (m->sr4 & 8) {
		plane = at % 4;
	} else if (m->gr[5] & 16) {
		plane = (plane & 2) + at % 2;
	}
	return m->latch[plane];
}

static bool model_written_bit(const struct model *m, uint8_t value, unsigned int p, unsigned int n)
{
	bool old = model_bit(m->latch[p], n), bit, is_let = model_bit(m->gr[8], n);
	bool turned = model_bit(value, (n + (m->gr[3] & 7)) % 8);

	switch (m->gr[5] & 3) {
	case 0:
		bit = model_bit(m->gr[1], p) ? model_bit(m->gr[0], p) : turned;
		break;
	case 1:
		return old;
	case 2:
		bit = model_bit(value, p);
		break;
	default:
		bit = model_bit(m->gr[0], p);
		is_let = is_let && turned;
		break;
	}
	switch (m->gr[3] >> 3) {
	case 1:
		bit = bit && old;
		break;
	case 2:
		bit = bit || old;
		break;
	case 3:
		bit = bit != old;
		break;
	default:
		break;
	}
	return is_let ? bit : old;
}

static void model_write(struct model *m, uint32_t at, uint8_t value)
{
	unsigned int planes;
	uint32_t place;

	model_where(m, at, &place, &planes);
	for (unsigned int p = 0; p < 4; p++) {
		uint8_t byte = 0;

		for (unsigned int n = 0; n < 8; n++) {
			byte |= (uint8_t)(model_written_bit(m, value, p, n) << n);
		}
		if (planes >> p & 1) {
			m->planes[p][place] = byte;
		}
	}
}

static void model_registers(struct model *m, struct s3_rig *g, uint32_t seed)
{
	static const uint8_t mask[9] = { 15, 15, 15, 0x1f, 3, 0x1b, 0, 15, 0xff };

	for (uint8_t i = 0; i < 9; i++) {
		m->gr[i] = (uint8_t)(noise(seed, i) & mask[i]);
	}
	if (noise(seed, 20) % 4 == 0) {
		m->gr[8] = 0xff;
		m->gr[3] = 0;
	}
	m->gr[6] = (uint8_t)(0x05 | (noise(seed, 21) & 2));
	m->sr2 = (uint8_t)(noise(seed, 22) % 3 ? noise(seed, 23) & 15 : 15);
	m->sr4 = (uint8_t)(2 | (noise(seed, 24) & 12));
	for (uint8_t i = 0; i < 9; i++) {
		s3_set(g, VGA_PORT_GFX_INDEX, i, m->gr[i]);
	}
	s3_set(g, VGA_PORT_SEQ_INDEX, 2, m->sr2);
	s3_set(g, VGA_PORT_SEQ_INDEX, 4, m->sr4);
}

/* All write modes, read modes, functions, masks, chains: 60,000 accesses of them mixed. */
static void planes_and_latches_work(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	static struct model m;

	memset(&m, 0, sizeof(m));
	s3_set(g, VGA_PORT_GFX_INDEX, 6, 5);
	for (uint32_t round = 0; round < 3000; round++) {
		model_registers(&m, g, round);
		if (s3_rig_window(g, 0xa0000)) {
			continue; /* plain: no latches are loaded */
		}
		for (uint32_t i = 0; i < 20; i++) {
			uint32_t at = noise(round, i) % 0x400 + noise(round, i + 40) % 2 * 0xfc00;
			uint8_t value = (uint8_t)noise(round, i + 100);

			if (noise(round, i + 200) % 3) {
				model_write(&m, at, value);
				s3_store(g, 0xa0000 + at, value, 1);
			} else {
				assert_int_equal(s3_fetch(g, 0xa0000 + at, 1), model_read(&m, at));
			}
		}
	}
}

/* A wide access is its bytes, in order. */
static void wide_accesses_are_bytes(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;

	s3_vga_set(g, &s3_vga_13);
	s3_store(g, 0xa0003, 0x1122334455667788, 8);
	assert_int_equal(s3_fetch(g, 0xa0003, 1), 0x88);
	assert_int_equal(s3_fetch(g, 0xa0005, 2), 0x5566);
	assert_int_equal(s3_fetch(g, 0xa0007, 4), 0x11223344);
	assert_int_equal(s3_fetch(g, 0xaffff, 2), 0xffff); /* runs out of what answers */
	assert_int_equal(s3_fetch(g, 0xb8000, 1), 0xff);
}

/* ---- pictures ------------------------------------------------------------------------------------------------ */

static uint32_t dac16(const struct s3_vga_mode *m, uint32_t color)
{
	return s3_vga_color(m->attr[color]);
}

static void mode_12_is_four_planes(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	const struct picture *picture;
	uint32_t lines;

	s3_vga_set(g, &s3_vga_12);
	for (uint32_t plane = 0; plane < 4; plane++) {
		s3_set(g, VGA_PORT_SEQ_INDEX, 2, (uint8_t)(1U << plane));
		for (uint32_t at = 0; at < 38400; at += 4) {
			s3_store(g, 0xa0000 + at, noise(at, plane), 4);
		}
	}
	picture = s3_picture(g, 0, &lines);
	assert_int_equal(lines, 480);
	assert_int_equal(picture->width, 640);
	assert_int_equal(picture->height, 480);
	for (uint32_t i = 0; i < 640 * 480; i++) {
		uint32_t byte = i / 8, color = 0;

		for (uint32_t plane = 0; plane < 4; plane++) {
			uint32_t bits = noise(byte & ~3U, plane) >> 8 * (byte & 3) & 0xff;

			color |= (bits >> (7 - i % 8) & 1) << plane;
		}
		assert_int_equal(picture->pixels[i], dac16(&s3_vga_12, color));
	}
	s3_set(g, VGA_PORT_SEQ_INDEX, 2, 0x0f);
	s3_store(g, 0xa0000 + 80 * 240, 0xff, 1);
	s3_picture(g, 0, &lines);
	assert_in_range(lines, 1, 14); /* those in the same page */
}

static void draw_13(struct s3_rig *g)
{
	for (uint32_t i = 0; i < 64000; i++) {
		s3_store(g, 0xa0000 + i, noise(i, 5) & 255, 1);
	}
}

static void mode_13_has_a_byte_for_each_pixel(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	const struct picture *picture;

	s3_vga_set(g, &s3_vga_13);
	draw_13(g);
	picture = s3_picture(g, 0, NULL);
	assert_int_equal(picture->width, 640); /* as on the monitor: two dots, two lines each */
	assert_int_equal(picture->height, 400);
	for (uint32_t y = 0; y < 400; y++) {
		for (uint32_t x = 0; x < 640; x++) {
			uint32_t value = noise(y / 2 * 320 + x / 2, 5) & 255;

			assert_int_equal(s3_dot(picture, x, y), s3_vga_color(value));
		}
	}
}

static void mode_4_is_cga(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	const struct picture *picture;

	s3_vga_set(g, &s3_vga_4);
	for (uint32_t at = 0; at < 0x4000; at++) {
		s3_store(g, 0xb8000 + at, noise(at, 6) & 255, 1);
	}
	picture = s3_picture(g, 0, NULL);
	assert_int_equal(picture->width, 640);
	assert_int_equal(picture->height, 400);
	for (uint32_t y = 0; y < 400; y++) {
		for (uint32_t x = 0; x < 640; x++) {
			uint32_t row = y / 2, at = row / 2 * 80 + row % 2 * 0x2000 + x / 8;
			uint32_t color = noise(at, 6) >> (6 - x / 2 % 4 * 2) & 3;

			assert_int_equal(s3_dot(picture, x, y), dac16(&s3_vga_4, color));
		}
	}
}

/* ---- text ---------------------------------------------------------------------------------------------------- */

static uint8_t font_bits(uint32_t font, uint32_t code, uint32_t row)
{
	return (uint8_t)(noise(font * 1000 + code, row + 900) >> 3);
}

/* As a BIOS does: plane 2 alone, in order, at 0xa0000; then back. */
static void load_font(struct s3_rig *g, uint32_t font, uint32_t offset)
{
	s3_set(g, VGA_PORT_SEQ_INDEX, 2, 0x04);
	s3_set(g, VGA_PORT_SEQ_INDEX, 4, 0x07);
	s3_set(g, VGA_PORT_GFX_INDEX, 4, 0x02);
	s3_set(g, VGA_PORT_GFX_INDEX, 5, 0x00);
	s3_set(g, VGA_PORT_GFX_INDEX, 6, 0x04);
	for (uint32_t code = 0; code < 256; code++) {
		for (uint32_t row = 0; row < 16; row++) {
			s3_store(g, 0xa0000 + offset + code * 32 + row, font_bits(font, code, row),
				 1);
		}
	}
	s3_set(g, VGA_PORT_SEQ_INDEX, 2, 0x03);
	s3_set(g, VGA_PORT_SEQ_INDEX, 4, 0x02);
	s3_set(g, VGA_PORT_GFX_INDEX, 4, 0x00);
	s3_set(g, VGA_PORT_GFX_INDEX, 5, 0x10);
	s3_set(g, VGA_PORT_GFX_INDEX, 6, 0x0e);
}

struct text {
	uint32_t start, cursor, cursor_top, cursor_end; /* of the model */
	bool is_blinked_away, is_cursor_away, is_blink_off, has_two_fonts;
	uint32_t split, pan;
};

static uint8_t text_code(uint32_t n)
{
	return (uint8_t)noise(n, 11);
}

static uint8_t text_attribute(uint32_t n)
{
	return (uint8_t)(noise(n, 12) >> 4);
}

static uint32_t text_dot(const struct text *t, uint32_t x, uint32_t y)
{
	bool is_below = t->split && y > t->split;
	uint32_t line = is_below ? y - t->split - 1 : y, dots = x + t->pan;
	uint32_t n = (is_below ? 0 : t->start) + line / 16 * 80 + dots / 9, row = line % 16;
	uint8_t code = text_code(n), attribute = text_attribute(n);
	uint32_t column = dots % 9, fg = attribute & 15;
	uint32_t bg = t->is_blink_off ? attribute >> 4 : attribute >> 4 & 7;
	uint8_t bits = font_bits(t->has_two_fonts && fg >= 8 ? 1 : 0, code, row);
	bool is_on;

	if (column < 8) {
		is_on = bits >> (7 - column) & 1;
	} else {
		is_on = code >= 0xc0 && code <= 0xdf && (bits & 1);
	}
	if (!t->is_blink_off && attribute >= 0x80 && t->is_blinked_away) {
		is_on = false;
	}
	if (n == t->cursor && row >= t->cursor_top && row <= t->cursor_end && !t->is_cursor_away) {
		is_on = true;
	}
	return dac16(&s3_vga_text, is_on ? fg : bg);
}

static void check_text(struct s3_rig *g, const struct text *t, uint64_t frame)
{
	const struct picture *picture = s3_picture(g, frame, NULL);

	assert_int_equal(picture->width, 720);
	assert_int_equal(picture->height, 400);
	for (uint32_t y = 0; y < 400; y++) {
		for (uint32_t x = 0; x < 720; x++) {
			if (s3_dot(picture, x, y) != text_dot(t, x, y)) {
				fail_msg("%u,%u: 0x%06x, not 0x%06x", x, y, s3_dot(picture, x, y),
					 text_dot(t, x, y));
			}
		}
	}
}

static void write_text(struct s3_rig *g)
{
	s3_vga_set(g, &s3_vga_text);
	load_font(g, 0, 0);
	for (uint32_t n = 0; n < 80 * 60; n++) {
		s3_store(g, 0xb8000 + 2 * n, text_code(n) | text_attribute(n) << 8, 2);
	}
	s3_set(g, 0x3d4, 0x0e, 500 >> 8);
	s3_set(g, 0x3d4, 0x0f, 500 & 255);
}

static struct text text_model(void)
{
	return (struct text){ .cursor = 500, .cursor_top = 13, .cursor_end = 14 };
}

static void text_has_cells_of_nine(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	struct text t = text_model();

	write_text(g);
	check_text(g, &t, 0);
	assert_int_equal(s3_fetch(g, 0xb8000 + 2 * 77, 2), text_code(77) | text_attribute(77) << 8);
}

static void text_blinks(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	struct text t = text_model();
	uint32_t lines;

	write_text(g);
	check_text(g, &t, 7);
	t.is_cursor_away = true;
	s3_picture(g, 8, &lines);
	assert_int_equal(lines, 2); /* the cursor's */
	check_text(g, &t, 8);
	t.is_blinked_away = true;
	t.is_cursor_away = false;
	check_text(g, &t, 16);
	t.is_cursor_away = true;
	check_text(g, &t, 31);
	s3_attr(g, 0x10, 0x04); /* sixteen backgrounds instead */
	s3_in(g, VGA_PORT_STATUS_1);
	s3_out(g, VGA_PORT_ATTRIBUTE, 0x20);
	t.is_blink_off = true;
	check_text(g, &t, 31);
}

static void text_moves_its_cursor(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	struct text t = text_model();
	uint32_t lines;

	write_text(g);
	check_text(g, &t, 0);
	s3_set(g, 0x3d4, 0x0e, 580 >> 8);
	s3_set(g, 0x3d4, 0x0f, 580 & 255);
	s3_picture(g, 0, &lines);
	assert_int_equal(lines, 4);
	t.cursor = 580;
	check_text(g, &t, 0);
	s3_set(g, 0x3d4, 0x0a, 0);
	t.cursor_top = 0;
	check_text(g, &t, 0);
	s3_set(g, 0x3d4, 0x0a, 0x20); /* off */
	t.is_cursor_away = true;
	check_text(g, &t, 0);
	s3_picture(g, 0, &lines);
	assert_int_equal(lines, 0);
	s3_store(g, 0xb8000 + 2 * 80 * 3, text_code(240) ^ 1, 1);
	s3_picture(g, 0, &lines);
	assert_in_range(lines, 1, 16); /* those in which the characters differ */
}

/* vgacon scrolls by the start address; a status line stays by line compare. */
static void text_scrolls_and_splits(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	struct text t = text_model();

	write_text(g);
	t.start = 80 * 7;
	t.cursor = 80 * 9 + 4;
	s3_set(g, 0x3d4, 0x0c, (uint8_t)(t.start >> 8));
	s3_set(g, 0x3d4, 0x0d, (uint8_t)t.start);
	s3_set(g, 0x3d4, 0x0e, (uint8_t)(t.cursor >> 8));
	s3_set(g, 0x3d4, 0x0f, (uint8_t)t.cursor);
	check_text(g, &t, 0);
	t.split = 319;
	s3_set(g, 0x3d4, 0x18, 319 & 255);
	s3_change(g, 0x3d4, 0x07, (319 >> 8) << 4, 0x10);
	s3_change(g, 0x3d4, 0x09, 0, 0x40);
	check_text(g, &t, 0);
	t.pan = 5; /* dots to the left: 4 in the register, of cells of nine */
	s3_attr(g, 0x13, 4);
	s3_in(g, VGA_PORT_STATUS_1);
	s3_out(g, VGA_PORT_ATTRIBUTE, 0x20);
	check_text(g, &t, 0);
}

static void text_has_two_fonts(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	struct text t = text_model();

	write_text(g);
	load_font(g, 1, 0xa000);                /* number 6 */
	s3_set(g, VGA_PORT_SEQ_INDEX, 3, 0x28); /* its number's bits: 5, 3 and 2 */
	t.has_two_fonts = true;
	check_text(g, &t, 0);
}

/* ---- memory of the enhanced modes through 64 KB --------------------------------------------------------------- */

static void banks_show_flat_memory(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;

	s3_set(g, 0x3d4, 0x38, 0x48);
	s3_set(g, 0x3d4, 0x39, 0xa5);
	s3_set(g, 0x3d4, 0x31, 0x09);
	s3_change(g, 0x3d4, 0x58, 0x10, 0x10);
	for (uint32_t bank = 0; bank < 64; bank++) {
		s3_set(g, 0x3d4, 0x6a, (uint8_t)bank);
		s3_store(g, 0xa1234, 0xab000000 + bank, 4);
	}
	for (uint32_t bank = 0; bank < 64; bank++) {
		assert_int_equal(s3_fetch(g, S3_LFB + bank * 65536 + 0x1234, 4), 0xab000000 + bank);
		s3_set(g, 0x3d4, 0x6a, (uint8_t)bank);
		assert_int_equal(s3_fetch(g, 0xa1234, 4), 0xab000000 + bank);
	}
	s3_set(g, 0x3d4, 0x31, 0x08); /* no banks: the first */
	assert_int_equal(s3_fetch(g, 0xa1234, 4), 0xab000000);
	/* What answers in the linear window is CR58's to say. */
	assert_int_equal(s3_fetch(g, S3_LFB + S3_VRAM_BYTES, 4), 0xffffffff);
	s3_change(g, 0x3d4, 0x58, 1, 3);
	assert_int_equal(s3_fetch(g, S3_LFB + 15 * 65536 + 0x1234, 4), 0xab00000f);
	assert_int_equal(s3_fetch(g, S3_LFB + 16 * 65536 + 0x1234, 4), 0xffffffff);
	s3_change(g, 0x3d4, 0x58, 0, 0x10);
	assert_int_equal(s3_fetch(g, S3_LFB + 0x1234, 4), 0xffffffff);
}

static void the_engine_is_idle(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;

	assert_int_equal(rig_in16(&g->p.rig, 0x9ae8), 0xffff);
	s3_set(g, 0x3d4, 0x38, 0x48);
	s3_set(g, 0x3d4, 0x39, 0xa5);
	s3_set(g, 0x3d4, 0x40, 0x01);
	assert_int_equal(rig_in16(&g->p.rig, 0x9ae8), S3_ENGINE_IDLE);
	rig_out16(&g->p.rig, 0x86e8, 0x123);
	assert_int_equal(rig_in16(&g->p.rig, 0x86e8), 0x123);
	assert_int_equal(rig_in(&g->p.rig, 0x86e9), 0x01);
	rig_out16(&g->p.rig, 0x9ae8, 0x40f3);
	assert_int_equal(rig_in16(&g->p.rig, 0x9ae8), S3_ENGINE_IDLE);
	assert_int_equal(rig_in(&g->p.rig, 0x42e8), 0x88);
	s3_set(g, 0x3d4, 0x40, 0x00);
	assert_int_equal(rig_in16(&g->p.rig, 0x86e8), 0xffff);
}

/* ---- golden pictures ------------------------------------------------------------------------------------------ */

static uint32_t picture_sum(struct s3_rig *g, uint64_t frame)
{
	const struct picture *picture = s3_picture(g, frame, NULL);

	return crc32c(0, picture->pixels, 4ULL * picture->width * picture->height);
}

/* Sums of pictures that were looked at when they were made: what has changed here changes for guests. */
static void pictures_are_what_they_were(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;

	write_text(g);
	assert_int_equal(picture_sum(g, 0), 0xb05a0142);
	assert_int_equal(picture_sum(g, 24), 0x26da1d51);
	s3_vga_set(g, &s3_vga_13);
	draw_13(g);
	assert_int_equal(picture_sum(g, 0), 0x1ef4195a);
}

#define EACH_WAY(test)                                                                             \
	cmocka_unit_test_setup_teardown(test, set_up, tear_down),                                  \
		cmocka_unit_test_setup_teardown(test, set_up_windows, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EACH_WAY(nothing_answers_before_it_is_told_to),
		EACH_WAY(the_crtc_is_in_two_places),
		EACH_WAY(the_attribute_port_flips),
		EACH_WAY(the_dac_counts),
		EACH_WAY(locks_hold),
		EACH_WAY(faces_of_one_value_agree),
		EACH_WAY(planes_and_latches_work),
		EACH_WAY(wide_accesses_are_bytes),
		EACH_WAY(mode_12_is_four_planes),
		EACH_WAY(mode_13_has_a_byte_for_each_pixel),
		EACH_WAY(mode_4_is_cga),
		EACH_WAY(text_has_cells_of_nine),
		EACH_WAY(text_blinks),
		EACH_WAY(text_moves_its_cursor),
		EACH_WAY(text_scrolls_and_splits),
		EACH_WAY(text_has_two_fonts),
		EACH_WAY(banks_show_flat_memory),
		EACH_WAY(the_engine_is_idle),
		EACH_WAY(pictures_are_what_they_were),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Stock s3fb's modes: its accesses, its drawing, and each pixel of the picture computed here by other means. */
#include "s3_fb.h"

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

/* ---- a pattern: what a program draws, and what a person should see ---- */

static uint32_t noise(uint32_t x, uint32_t y)
{
	uint32_t v = x * 2654435761U ^ y * 40503U;

	return v ^ v >> 13;
}

static uint32_t five(uint32_t v)
{
	return v * 33 >> 2; /* 0 … 31 to 0 … 255, the high bits again in the low ones */
}

static uint32_t six(uint32_t v)
{
	return v * 65 >> 4;
}

/* The colour that pixel value v means in this format. */
static uint32_t meaning(enum s3_fb_format format, uint32_t v)
{
	switch (format) {
	case FB_8:
		return six(v & 63) << 16 | six(v * 7 & 63) << 8 | six(v >> 2);
	case FB_15:
		return five(v >> 10 & 31) << 16 | five(v >> 5 & 31) << 8 | five(v & 31);
	case FB_16:
		return five(v >> 11) << 16 | six(v >> 5 & 63) << 8 | five(v & 31);
	case FB_32:
		return v & 0xffffff;
	case FB_TEXT:
	case FB_4_PACKED:
	case FB_4_PLANES:
	default:
		return six(v * 4) << 16 | six(63 - v) << 8 | six(v * 3);
	}
}

static uint32_t pixel_value(enum s3_fb_format format, uint32_t x, uint32_t y)
{
	uint32_t bpp = s3_fb_bpp(format);

	return bpp == 32 ? noise(x, y) : noise(x, y) & ((1U << bpp) - 1);
}

static void set_colors(struct s3_rig *g, enum s3_fb_format format)
{
	unsigned int count = format == FB_8 ? 256 : 16;

	for (unsigned int i = 0; i < count; i++) {
		uint32_t six_bits = meaning(format, i) >> 2;

		s3_fb_color(g, format, (uint8_t)i, six_bits >> 16 & 63, six_bits >> 8 & 63,
			    six_bits & 63);
	}
}

/* Packed pixels from the left, eight bytes at a time where it goes. */
static void draw(struct s3_rig *g, const struct s3_fb_mode *m, uint32_t lines)
{
	uint32_t each = s3_fb_bpp(m->format) / 8;

	for (uint32_t y = 0; y < lines; y++) {
		uint64_t at = S3_LFB + (uint64_t)y * m->virtual_width * each;

		for (uint32_t x = 0; x < m->virtual_width; x += 4 / each) {
			uint32_t value = 0;

			for (uint32_t i = 0; i < 4 / each; i++) {
				value |= pixel_value(m->format, x + i, y) << 8 * each * i;
			}
			s3_store(g, at + (uint64_t)x * each, value, 4);
		}
	}
}

static void check_picture(struct s3_rig *g, const struct s3_fb_mode *m, uint32_t left, uint32_t top)
{
	const struct picture *picture = s3_picture(g, 0, NULL);
	uint32_t times = m->is_double ? 2 : 1;

	assert_int_equal(picture->width, m->width);
	assert_int_equal(picture->height, m->height * times);
	for (uint32_t y = 0; y < picture->height; y++) {
		for (uint32_t x = 0; x < picture->width; x++) {
			uint32_t value = pixel_value(m->format, x + left, y / times + top);

			if (s3_dot(picture, x, y) != meaning(m->format, value)) {
				fail_msg("%ux%u format %d, %u,%u: 0x%06x, not 0x%06x", m->width,
					 m->height, m->format, x, y, s3_dot(picture, x, y),
					 meaning(m->format, value));
			}
		}
	}
}

static void one_mode(struct s3_rig *g, const struct s3_fb_mode *mode, enum s3_fb_format format)
{
	struct s3_fb_mode m = *mode;

	m.format = format;
	if ((uint64_t)m.width * m.height * s3_fb_bpp(format) / 8 > S3_VRAM_BYTES) {
		return; /* 1280x1024 with 32 bits: s3fb refuses it, too */
	}
	s3_fb_set(g, &m);
	set_colors(g, format);
	draw(g, &m, m.height);
	check_picture(g, &m, 0, 0);
}

static void all_sizes(struct s3_rig *g, enum s3_fb_format format)
{
	one_mode(g, &s3_fb_640, format);
	one_mode(g, &s3_fb_800, format);
	one_mode(g, &s3_fb_1024, format);
	one_mode(g, &s3_fb_1280, format);
	one_mode(g, &s3_fb_640, format); /* and back: no bit of the larger ones is left */
}

static void s3fb_sets_8_bits(void **state)
{
	all_sizes(&((struct fixture *)*state)->g, FB_8);
}

static void s3fb_sets_15_bits(void **state)
{
	all_sizes(&((struct fixture *)*state)->g, FB_15);
}

static void s3fb_sets_16_bits(void **state)
{
	all_sizes(&((struct fixture *)*state)->g, FB_16);
}

static void s3fb_sets_32_bits(void **state)
{
	all_sizes(&((struct fixture *)*state)->g, FB_32);
}

static void s3fb_doubles_and_interlaces(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	struct s3_fb_mode m = s3_fb_640;

	m.height = 240;
	m.is_double = true;
	one_mode(g, &m, FB_8);
	m = s3_fb_1024;
	m.is_interlaced = true;
	one_mode(g, &m, FB_16);
	one_mode(g, &s3_fb_640, FB_8);
}

/* Its console scrolls by panning through all of the memory. */
static void s3fb_pans(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	struct s3_fb_mode m = s3_fb_800;
	uint32_t lines = S3_VRAM_BYTES / 832;

	m.virtual_width = 832;
	s3_fb_set(g, &m);
	set_colors(g, FB_8);
	draw(g, &m, lines);
	check_picture(g, &m, 0, 0);
	s3_fb_pan(g, &m, 0, 1);
	check_picture(g, &m, 0, 1);
	s3_fb_pan(g, &m, 28, lines - 600); /* start address bits of CR69 are in it */
	check_picture(g, &m, 28, lines - 600);
}

/* ---- sixteen colours ---- */

static void s3fb_sets_4_packed_bits(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	struct s3_fb_mode m = s3_fb_640;

	m.format = FB_4_PACKED;
	s3_fb_set(g, &m);
	set_colors(g, m.format);
	for (uint32_t y = 0; y < m.height; y++) {
		for (uint32_t x = 0; x < m.width; x += 2) { /* the left one is the high nibble */
			uint32_t value =
				pixel_value(m.format, x, y) << 4 | pixel_value(m.format, x + 1, y);

			s3_store(g, S3_LFB + (uint64_t)y * m.width / 2 + x / 2, value, 1);
		}
	}
	check_picture(g, &m, 0, 0);
}

static void s3fb_sets_4_planes(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	struct s3_fb_mode m = s3_fb_640;

	m.format = FB_4_PLANES;
	s3_fb_set(g, &m);
	set_colors(g, m.format);
	for (uint32_t y = 0; y < m.height; y++) {
		for (uint32_t x = 0; x < m.width; x += 8) { /* a byte of each plane */
			uint32_t value = 0;

			for (uint32_t i = 0; i < 32; i++) {
				uint32_t v = pixel_value(m.format, x + i % 8, y);

				value |= (v >> i / 8 & 1) << (i / 8 * 8 + 7 - i % 8);
			}
			s3_store(g, S3_LFB + (uint64_t)y * m.width / 2 + x / 2, value, 4);
		}
	}
	check_picture(g, &m, 0, 0);
}

/* ---- text: characters four bytes apart, fonts after s3fb's two ways ---- */

static uint8_t font_bits(uint32_t code, uint32_t row)
{
	return (uint8_t)noise(code + 77, row);
}

static void load_font(struct s3_rig *g, bool is_fast)
{
	for (uint32_t code = 0; code < 256; code++) {
		for (uint32_t row = 0; row < 16; row++) {
			uint64_t at = is_fast ? row * 1024 + code * 4 : code * 128 + row * 4;

			s3_store(g, S3_LFB + 2 + at, font_bits(code, row), 1);
		}
	}
}

static uint32_t text_dot(uint32_t x, uint32_t y, uint32_t cursor)
{
	uint32_t n = y / 16 * 80 + x / 8, row = y % 16;
	uint32_t fg = noise(n, 2) & 15, bg = noise(n, 3) & 7;
	bool is_on = font_bits(noise(n, 1) & 255, row) >> (7 - x % 8) & 1;

	if (n == cursor && row >= 13 && row <= 14) {
		is_on = true;
	}
	return meaning(FB_TEXT, is_on ? fg : bg);
}

static void check_text(struct s3_rig *g, uint32_t cursor)
{
	const struct picture *picture = s3_picture(g, 0, NULL);

	assert_int_equal(picture->width, 640);
	assert_int_equal(picture->height, 480);
	for (uint32_t y = 0; y < 480; y++) {
		for (uint32_t x = 0; x < 640; x++) {
			if (s3_dot(picture, x, y) != text_dot(x, y, cursor)) {
				fail_msg("%u,%u: 0x%06x, not 0x%06x", x, y, s3_dot(picture, x, y),
					 text_dot(x, y, cursor));
			}
		}
	}
}

static void s3fb_text(struct s3_rig *g, bool is_fast)
{
	struct s3_fb_mode m = s3_fb_640;

	m.format = FB_TEXT;
	m.is_slow_text = !is_fast;
	s3_fb_set(g, &m);
	set_colors(g, FB_TEXT);
	load_font(g, is_fast);
	for (uint32_t n = 0; n < 80 * 30; n++) {
		s3_store(g, S3_LFB + 4ULL * n, noise(n, 1) & 255, 1);
		s3_store(g, S3_LFB + 4ULL * n + 1, (noise(n, 2) & 15) | (noise(n, 3) & 7) << 4, 1);
	}
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x0e, 3);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x0f, 9);
	check_text(g, 3 * 256 + 9);
}

static void s3fb_writes_text(void **state)
{
	s3fb_text(&((struct fixture *)*state)->g, false);
}

static void s3fb_writes_fast_text(void **state)
{
	s3fb_text(&((struct fixture *)*state)->g, true);
}

/* ---- what it does besides ---- */

static void s3fb_knows_the_chip(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	uint8_t n, m;

	assert_int_equal(pci_rig_read(&g->p, S3_DEVFN, 0), 0x88115333);
	assert_int_equal(pci_rig_read(&g->p, S3_DEVFN, 8) >> 8, 0x030000);
	assert_int_equal(s3_get(g, VGA_PORT_CRTC_INDEX, 0x38), 0);
	s3_fb_unlock(g);
	assert_int_equal(s3_get(g, VGA_PORT_CRTC_INDEX, 0x30), 0xe1);
	assert_int_equal(s3_get(g, VGA_PORT_CRTC_INDEX, 0x2e), 0x11);
	assert_int_equal(s3_get(g, VGA_PORT_CRTC_INDEX, 0x2f) & 0x40, 0); /* else a 64V+ */
	assert_int_equal(s3_get(g, VGA_PORT_CRTC_INDEX, 0x36) >> 5, 0);   /* 4 MB */
	n = s3_get(g, VGA_PORT_SEQ_INDEX, 0x10);
	m = s3_get(g, VGA_PORT_SEQ_INDEX, 0x11);
	assert_in_range((m + 2) * 14318 / ((n & 0x1f) + 2) >> (n >> 5), 40000, 80000);
}

static void s3fb_blanks(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	const struct picture *picture;
	uint32_t lines;

	one_mode(g, &s3_fb_640, FB_32);
	for (unsigned int level = 0; level < 4; level++) {
		s3_change(g, VGA_PORT_CRTC_INDEX, 0x56, (uint8_t)(level << 1), 0x06);
		s3_change(g, VGA_PORT_SEQ_INDEX, 0x01, 0x20, 0x20);
		picture = s3_picture(g, 0, &lines);
		assert_int_equal(lines, 480);
		for (uint32_t i = 0; i < 640 * 480; i++) {
			assert_int_equal(picture->pixels[i], 0);
		}
		s3_change(g, VGA_PORT_CRTC_INDEX, 0x56, 0, 0x06);
		s3_change(g, VGA_PORT_SEQ_INDEX, 0x01, 0, 0x20);
		check_picture(g,
			      &(struct s3_fb_mode){ .width = 640, .height = 480, .format = FB_32 },
			      0, 0);
	}
}

/* Only lines that have changed are made again. */
static void a_line_is_made_again_when_it_changes(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	struct s3_fb_mode m = s3_fb_1024;
	uint32_t lines;

	m.format = FB_32;
	s3_fb_set(g, &m);
	s3_picture(g, 0, &lines);
	assert_int_equal(lines, 768);
	s3_picture(g, 1, &lines);
	assert_int_equal(lines, 0);
	s3_store(g, S3_LFB + 4096 * 100, 0x123456, 4); /* a line is a page here */
	assert_int_equal(s3_dot(s3_picture(g, 2, &lines), 0, 100), 0x123456);
	assert_int_equal(lines, 1);
	s3_picture(g, 3, &lines);
	assert_int_equal(lines, 0);
	s3_store(g, S3_LFB + 4096 * 768, 1, 4); /* not on the screen */
	s3_picture(g, 4, &lines);
	assert_int_equal(lines, 0);
	s3_fb_pan(g, &m, 0, 1);
	assert_int_equal(s3_dot(s3_picture(g, 5, &lines), 0, 99), 0x123456);
	assert_int_equal(lines, 768);
}

/* ---- the hardware cursor ---- */

static void cursor_set(struct s3_rig *g, uint32_t x, uint32_t y, uint32_t cut_x, uint32_t cut_y)
{
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x46, (uint8_t)(x >> 8));
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x47, (uint8_t)x);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x49, (uint8_t)y);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x4e, (uint8_t)cut_x);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x4f, (uint8_t)cut_y);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x48, (uint8_t)(y >> 8));
}

static void cursor_color(struct s3_rig *g, uint8_t index, uint32_t color)
{
	s3_get(g, VGA_PORT_CRTC_INDEX, 0x45); /* both stacks from their first byte */
	for (unsigned int i = 0; i < 3; i++) {
		s3_set(g, VGA_PORT_CRTC_INDEX, index, (uint8_t)(color >> 8 * i));
	}
}

/* Two bits for each place of the pattern, and where these are in memory. */
static uint32_t cursor_bits(uint32_t column, uint32_t row)
{
	return noise(column, row) & 3; /* bit 1: AND, bit 0: XOR */
}

static void cursor_load(struct s3_rig *g, uint64_t gpa)
{
	for (uint32_t row = 0; row < 64; row++) {
		for (uint32_t group = 0; group < 4; group++) {
			uint8_t bytes[4] = { 0 };

			for (uint32_t i = 0; i < 16; i++) {
				uint32_t bits = cursor_bits(group * 16 + i, row);

				bytes[i / 8] |= (uint8_t)((bits >> 1) << (7 - i % 8));
				bytes[2 + i / 8] |= (uint8_t)((bits & 1) << (7 - i % 8));
			}
			for (uint32_t i = 0; i < 4; i++) {
				s3_store(g, gpa + row * 16 + group * 4 + i, bytes[i], 1);
			}
		}
	}
}

static uint32_t under_cursor(uint32_t there, uint32_t bits, bool is_x11)
{
	static const uint32_t fg = 0xc08040, bg = 0x103050;

	if (is_x11) {
		return bits < 2 ? there : bits == 3 ? fg : bg;
	}
	return bits == 0 ? bg : bits == 1 ? fg : bits == 2 ? there : there ^ 0xffffff;
}

static void check_cursor(struct s3_rig *g, uint32_t x0, uint32_t y0, uint32_t cut_x, uint32_t cut_y,
			 bool is_x11)
{
	const struct picture *picture = s3_picture(g, 0, NULL);

	for (uint32_t y = 0; y < 600; y++) {
		for (uint32_t x = 0; x < 800; x++) {
			uint32_t want = pixel_value(FB_32, x, y) & 0xffffff;

			if (x >= x0 && y >= y0 && x - x0 + cut_x < 64 && y - y0 + cut_y < 64) {
				want = under_cursor(
					want, cursor_bits(x - x0 + cut_x, y - y0 + cut_y), is_x11);
			}
			if (s3_dot(picture, x, y) != want) {
				fail_msg("%u,%u: 0x%06x, not 0x%06x", x, y, s3_dot(picture, x, y),
					 want);
			}
		}
	}
}

static void the_hardware_cursor_moves(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	uint32_t lines;

	one_mode(g, &s3_fb_800, FB_32);
	cursor_load(g, S3_LFB + 3000 * 1024);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x4c, 3000 >> 8);
	s3_set(g, VGA_PORT_CRTC_INDEX, 0x4d, 3000 & 255);
	cursor_color(g, 0x4a, 0xc08040);
	cursor_color(g, 0x4b, 0x103050);
	cursor_set(g, 300, 200, 0, 0);
	s3_picture(g, 0, NULL);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x45, 1, 1);
	s3_picture(g, 0, &lines);
	assert_int_equal(lines, 64);
	check_cursor(g, 300, 200, 0, 0, false);
	cursor_set(g, 310, 202, 0, 0);
	s3_picture(g, 0, &lines);
	assert_int_equal(lines, 66);
	check_cursor(g, 310, 202, 0, 0, false);
	cursor_set(g, 0, 0, 17, 40); /* half out, at the left and above */
	check_cursor(g, 0, 0, 17, 40, false);
	cursor_set(g, 790, 590, 0, 0); /* at the right and below */
	check_cursor(g, 790, 590, 0, 0, false);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x55, 0x10, 0x10);
	check_cursor(g, 790, 590, 0, 0, true);
	s3_change(g, VGA_PORT_CRTC_INDEX, 0x45, 0, 1);
	check_picture(g, &(struct s3_fb_mode){ .width = 800, .height = 600, .format = FB_32 }, 0,
		      0);
}

#define EACH_WAY(test)                                                                             \
	cmocka_unit_test_setup_teardown(test, set_up, tear_down),                                  \
		cmocka_unit_test_setup_teardown(test, set_up_windows, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(s3fb_knows_the_chip, set_up, tear_down),
		EACH_WAY(s3fb_sets_8_bits),
		EACH_WAY(s3fb_sets_15_bits),
		EACH_WAY(s3fb_sets_16_bits),
		EACH_WAY(s3fb_sets_32_bits),
		EACH_WAY(s3fb_doubles_and_interlaces),
		EACH_WAY(s3fb_pans),
		EACH_WAY(s3fb_sets_4_packed_bits),
		EACH_WAY(s3fb_sets_4_planes),
		EACH_WAY(s3fb_writes_text),
		EACH_WAY(s3fb_writes_fast_text),
		EACH_WAY(s3fb_blanks),
		EACH_WAY(a_line_is_made_again_when_it_changes),
		EACH_WAY(the_hardware_cursor_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

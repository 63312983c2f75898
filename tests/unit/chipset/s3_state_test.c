/* SPDX-License-Identifier: MIT */
/* A graphics card's life: windows, saved state, its ROM, files with its pictures, and memory that fails. */
#include "s3_fb.h"

#include <libpng16/png.h>
#include <unistd.h>

#include "base/fault.h"

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

/* ---- windows ------------------------------------------------------------------------------------------------ */

static void flat_memory_is_the_guests(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	struct s3_window *w;

	assert_null(s3_rig_window(g, S3_LFB));
	s3_fb_set(g, &s3_fb_640);
	w = s3_rig_window(g, S3_LFB);
	assert_non_null(w);
	assert_int_equal(w->bytes, S3_VRAM_BYTES);
	w->hva[12345] = 0x5a;
	assert_int_equal(pci_rig_load(&g->p, S3_LFB + 12345, 1), 0x5a); /* an exit sees the same */
	/* It moves with the BAR, and goes when nothing is decoded. */
	pci_rig_write(&g->p, S3_DEVFN, PCI_BAR_0, 0xd0000000);
	assert_null(s3_rig_window(g, S3_LFB));
	assert_non_null(s3_rig_window(g, 0xd0000000));
	pci_rig_write16(&g->p, S3_DEVFN, PCI_COMMAND, PCI_COMMAND_IO);
	assert_null(s3_rig_window(g, 0xd0000000));
	assert_null(s3_rig_window(g, 0xa0000));
	pci_rig_write16(&g->p, S3_DEVFN, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	assert_int_equal(s3_rig_window(g, 0xd0000000)->hva[12345], 0x5a);
	/* The other door to it, in banks. */
	s3_change(g, 0x3d4, 0x31, 1, 1);
	s3_set(g, 0x3d4, 0x6a, 63);
	assert_ptr_equal(s3_rig_window(g, 0xa0000)->hva,
			 s3_rig_window(g, 0xd0000000)->hva + 63 * 65536);
	s3_set(g, 0x3d4, 0x6a, 127); /* beyond memory: it wraps */
	assert_ptr_equal(s3_rig_window(g, 0xa0000)->hva,
			 s3_rig_window(g, 0xd0000000)->hva + 63 * 65536);
}

static void text_is_the_guests_while_it_is_plain(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	struct s3_window *w;

	s3_vga_set(g, &s3_vga_text);
	w = s3_rig_window(g, 0xb8000);
	assert_non_null(w);
	assert_int_equal(w->gpa, 0xb8000);
	assert_int_equal(w->bytes, 0x8000);
	s3_store(g, 0xb8000, 0x1e41, 2);
	s3_store(g, 0xbfffe, 0x2e42, 2);
	s3_set(g, VGA_PORT_SEQ_INDEX, 2, 0x07); /* three planes: not plain any more */
	assert_null(s3_rig_window(g, 0xb8000));
	assert_int_equal(s3_fetch(g, 0xb8000, 2), 0x1e41);
	assert_int_equal(s3_fetch(g, 0xbfffe, 2), 0x2e42);
	s3_store(g, 0xb8002, 0x1e43, 2);
	s3_set(g, VGA_PORT_SEQ_INDEX, 2, 0x03);
	assert_non_null(s3_rig_window(g, 0xb8000));
	assert_int_equal(s3_fetch(g, 0xb8002, 2), 0x1e43);
	s3_set(g, VGA_PORT_GFX_INDEX, 6, 0x0a); /* monochrome's address */
	assert_null(s3_rig_window(g, 0xb8000));
	assert_int_equal(s3_fetch(g, 0xb0000, 2), 0x1e41);
	assert_non_null(s3_rig_window(g, 0xb0000));
	s3_set(g, VGA_PORT_GFX_INDEX, 3, 0x18); /* exclusive or */
	assert_null(s3_rig_window(g, 0xb0000));
}

static void chain_4_is_the_guests_while_it_is_plain(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;

	s3_vga_set(g, &s3_vga_13);
	assert_int_equal(s3_rig_window(g, 0xa0000)->bytes, 0x10000);
	for (uint32_t at = 0; at < 0x10000; at += 8) {
		s3_store(g, 0xa0000 + at, at * 0x123456789ULL, 8);
	}
	s3_picture(g, 0, NULL);
	s3_set(g, VGA_PORT_SEQ_INDEX, 4, 0x06); /* planes, as unchained modes have it */
	assert_null(s3_rig_window(g, 0xa0000));
	for (uint32_t at = 0; at < 0x10000; at += 4) {
		for (uint8_t plane = 0; plane < 4; plane++) {
			uint64_t eight = (at & ~7U) * 0x123456789ULL;

			s3_set(g, VGA_PORT_GFX_INDEX, 4, plane);
			assert_int_equal(s3_fetch(g, 0xa0000 + at, 1),
					 eight >> 8 * ((at & 4) + plane) & 255);
		}
	}
	s3_store(g, 0xa0004, 0x77, 1);
	s3_set(g, VGA_PORT_SEQ_INDEX, 4, 0x0e);
	assert_int_equal(s3_fetch(g, 0xa0004, 4), 0x77777777);
}

/* What another processor writes while a window goes is kept: it goes first, then it is looked at. */
static void a_window_goes_before_it_is_looked_at(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;

	s3_vga_set(g, &s3_vga_text);
	g->late = 0x5a;
	s3_set(g, VGA_PORT_SEQ_INDEX, 2, 0x07);
	g->late = 0;
	assert_int_equal(s3_fetch(g, 0xb8000, 1), 0x5a);
}

/* ---- saved state ---------------------------------------------------------------------------------------------- */

struct blob {
	uint8_t *bytes;
	size_t length;
};

static struct blob save_card(struct s3_rig *g)
{
	const uint8_t *bytes;
	struct blob blob;
	struct save save;

	save_init(&save);
	s3_save(g->s3, &save);
	assert_int_equal(save_finish(&save, &bytes, &blob.length), 0);
	blob.bytes = malloc(blob.length);
	assert_non_null(blob.bytes);
	memcpy(blob.bytes, bytes, blob.length);
	save_fini(&save);
	return blob;
}

static int load_card(struct s3_rig *g, const struct blob *blob)
{
	struct load load;

	load_init(&load, blob->bytes, blob->length);
	return s3_load(g->s3, &load);
}

static uint32_t *copy_picture(struct s3_rig *g, struct picture *ret)
{
	const struct picture *picture = s3_picture(g, 0, NULL);
	size_t bytes = 4ULL * picture->width * picture->height;
	uint32_t *pixels = malloc(bytes);

	assert_non_null(pixels);
	memcpy(pixels, picture->pixels, bytes);
	*ret = *picture;
	return pixels;
}

static void check_same(struct s3_rig *g, const struct picture *shape, const uint32_t *pixels)
{
	const struct picture *picture = s3_picture(g, 0, NULL);

	assert_int_equal(picture->width, shape->width);
	assert_int_equal(picture->height, shape->height);
	assert_memory_equal(picture->pixels, pixels, 4ULL * shape->width * shape->height);
}

static void save_reset_load(struct s3_rig *g)
{
	struct blob before = save_card(g), after;
	struct picture shape;
	uint32_t *pixels = copy_picture(g, &shape);

	s3_reset(g->s3);
	assert_int_equal(s3_in(g, VGA_PORT_MISC_READ), 0xff); /* nothing answers */
	assert_int_equal(load_card(g, &before), 0);
	check_same(g, &shape, pixels);
	after = save_card(g);
	assert_int_equal(after.length, before.length);
	assert_memory_equal(after.bytes, before.bytes, before.length);
	free(after.bytes);
	free(before.bytes);
	free(pixels);
}

static void it_is_saved_and_loaded(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;

	s3_vga_set(g, &s3_vga_text);
	for (uint32_t i = 0; i < 4000; i += 2) {
		s3_store(g, 0xb8000 + i, i * 0x123, 2);
	}
	save_reset_load(g);
	s3_fb_set(g, &s3_fb_800);
	for (uint32_t i = 0; i < 800 * 600; i += 4) {
		s3_store(g, S3_LFB + i, i * 77777, 4);
	}
	save_reset_load(g);
	/* In the middle of things: an attribute's index, half a colour, an index without data. */
	s3_in(g, VGA_PORT_STATUS_1);
	s3_out(g, VGA_PORT_ATTRIBUTE, 0x31);
	s3_out(g, VGA_PORT_DAC_WRITE, 9);
	s3_out(g, VGA_PORT_DAC_DATA, 1);
	s3_out(g, VGA_PORT_DAC_DATA, 2);
	s3_out(g, 0x3d4, 0x47);
	save_reset_load(g);
	s3_out(g, VGA_PORT_DAC_DATA, 3);
	s3_out(g, 0x3d5, 0x44);
	s3_out(g, VGA_PORT_ATTRIBUTE, 0x2a);
	assert_int_equal(s3_get(g, 0x3d4, 0x47), 0x44);
	assert_int_equal(s3_in(g, VGA_PORT_ATTRIBUTE_READ), 0x2a);
	s3_out(g, VGA_PORT_DAC_READ, 9);
	assert_int_equal(s3_in(g, VGA_PORT_DAC_DATA) + s3_in(g, VGA_PORT_DAC_DATA) +
				 s3_in(g, VGA_PORT_DAC_DATA),
			 6);
}

static void a_bad_state_is_refused(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	uint8_t page[4 + 4096] = { 0x00, 0x04 }; /* number 1024: one too many */
	const uint8_t *bytes;
	struct save save;
	struct blob blob;

	s3_store(g, 0xa0000, 1, 1);
	blob = save_card(g);
	blob.length--;
	assert_int_equal(load_card(g, &blob), -EBADMSG);
	blob.length++;
	assert_int_equal(load_card(g, &blob), 0);
	free(blob.bytes);
	save_init(&save);
	save_bytes(&save, 10, page, sizeof(page));
	assert_int_equal(save_finish(&save, &bytes, &blob.length), 0);
	blob.bytes = (uint8_t *)bytes;
	assert_int_equal(load_card(g, &blob), -EBADMSG);
	save_fini(&save);
	memset(page, 0xff, 26); /* indices of the DAC and the cursor's colours, far out */
	save_init(&save);
	save_bytes(&save, 2, page, 26);
	assert_int_equal(save_finish(&save, &bytes, &blob.length), 0);
	blob.bytes = (uint8_t *)bytes;
	assert_int_equal(load_card(g, &blob), 0);
	s3_rig_enable(g);
	s3_in(g, VGA_PORT_DAC_DATA);
	s3_out(g, VGA_PORT_DAC_DATA, 1);
	s3_get(g, 0x3d4, 0x4a);
	s3_set(g, 0x3d4, 0x4b, 1);
	s3_picture(g, 0, NULL);
	save_fini(&save);
}

static void reset_is_power_on(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	struct blob first, second;

	s3_reset(g->s3);
	first = save_card(g);
	s3_rig_enable(g);
	s3_out(g, VGA_PORT_MISC, 0x67);
	s3_fb_set(g, &s3_fb_1024);
	s3_store(g, S3_LFB + 3000000, 1, 4);
	s3_reset(g->s3);
	second = save_card(g);
	assert_int_equal(first.length, second.length);
	assert_memory_equal(first.bytes, second.bytes, first.length);
	assert_null(s3_rig_window(g, S3_LFB));
	free(first.bytes);
	free(second.bytes);
}

/* ---- the ROM ----------------------------------------------------------------------------------------------------- */

static struct s3_config rom_config(struct s3_rig *g, const void *rom, size_t bytes)
{
	return (struct s3_config){ .chipset = g->p.rig.chipset,
				   .bus = g->p.bus,
				   .devfn = PCI_DEVFN(3, 0),
				   .rom = rom,
				   .rom_bytes = bytes };
}

static void its_rom_is_made_to_fit(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	uint8_t rom[2048] = { 0x55, 0xaa, 3, 0xe9 }, sum = 0;
	struct s3_config config = rom_config(g, rom, sizeof(rom));
	struct diag diag;
	struct s3 *s3;

	for (unsigned int i = 4; i < sizeof(rom); i++) {
		rom[i] = (uint8_t)(i * 7);
	}
	rom[0x18] = 0x40;
	rom[0x19] = 0x00;
	memcpy(rom + 0x40, "PCIR\x34\x12\x11\x11", 8);
	rom[0x40 + 20] = 0;
	assert_int_equal(s3_create(&config, &s3, &diag), 0);
	pci_rig_write(&g->p, config.devfn, PCI_ROM_ADDRESS, 0xfebf0001);
	pci_rig_write16(&g->p, config.devfn, PCI_COMMAND, PCI_COMMAND_MEMORY);
	for (unsigned int i = 0; i < 3 * 512; i++) {
		sum = (uint8_t)(sum + pci_rig_load(&g->p, 0xfebf0000 + i, 1));
	}
	assert_int_equal(sum, 0);
	assert_int_equal(pci_rig_load(&g->p, 0xfebf0044, 4), 0x88115333);
	assert_int_equal(pci_rig_load(&g->p, 0xfebf0060, 1), 0x60 * 7 & 0xff);
	pci_rig_store(&g->p, 0xfebf0060, 1, 1);
	assert_int_equal(pci_rig_load(&g->p, 0xfebf0060, 1), 0x60 * 7 & 0xff);
	assert_int_equal(pci_rig_load(&g->p, 0xfebff000, 1), 0xff);
	s3_destroy(s3);
}

static void what_is_no_rom_is_refused(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	static uint8_t rom[70000];
	struct s3_config config = rom_config(g, rom, 2048);
	struct diag diag;
	struct s3 *s3;

	assert_int_equal(s3_create(&config, &s3, &diag), -EINVAL);
	memcpy(rom, "\x55\xaa\x04", 3);
	assert_int_equal(s3_create(&config, &s3, &diag), -EINVAL); /* no PCI data structure */
	rom[0x18] = 0xf0;
	rom[0x19] = 0x07;
	memcpy(rom + 0x7f0, "PCIR", 4); /* which runs out of the ROM */
	assert_int_equal(s3_create(&config, &s3, &diag), -EINVAL);
	rom[2] = 5;
	assert_int_equal(s3_create(&config, &s3, &diag), -EINVAL); /* larger than its file */
	config.rom_bytes = sizeof(rom);
	assert_int_equal(s3_create(&config, &s3, &diag), -EFBIG);
	assert_non_null(strstr(diag.text, "65536"));
	config = rom_config(g, NULL, 0);
	config.devfn = S3_DEVFN;
	assert_int_equal(s3_create(&config, &s3, &diag), -EEXIST);
}

/* Debian's, when the package is here: what tests on real guests use. */
static void seabios_rom_fits(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	FILE *file = fopen("/usr/share/seabios/vgabios-stdvga.bin", "rb");
	static uint8_t rom[65536];
	struct s3_config config = rom_config(g, rom, 0);
	struct diag diag;
	struct s3 *s3;

	if (!file) {
		skip();
	}
	config.rom_bytes = fread(rom, 1, sizeof(rom), file);
	fclose(file);
	assert_int_equal(s3_create(&config, &s3, &diag), 0);
	s3_destroy(s3);
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

static void a_screendump_is_the_picture(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	png_image image = { .version = PNG_IMAGE_VERSION };
	const struct picture *picture;
	char path[] = "/tmp/s3-test-XXXXXX";
	static uint8_t bytes[800 * 600 * 3];
	struct s3_fb_mode m = s3_fb_800;
	struct diag diag;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	m.format = FB_32;
	s3_fb_set(g, &m);
	for (uint32_t i = 0; i < 800 * 600; i++) {
		s3_store(g, S3_LFB + 4ULL * i, i * 2654435761U, 4);
	}
	assert_int_equal(s3_screendump(g->s3, path, &diag), 0);
	assert_true(png_image_begin_read_from_file(&image, path));
	assert_int_equal(image.width, 800);
	assert_int_equal(image.height, 600);
	image.format = PNG_FORMAT_RGB;
	assert_true(png_image_finish_read(&image, NULL, bytes, 0, NULL));
	picture = s3_picture(g, 0, NULL);
	for (uint32_t i = 0; i < 800 * 600; i++) {
		uint32_t pixel =
			(uint32_t)bytes[3 * i] << 16 | bytes[3 * i + 1] << 8 | bytes[3 * i + 2];

		assert_int_equal(pixel, i * 2654435761U & 0xffffff);
		assert_int_equal(pixel, picture->pixels[i]);
	}
	unlink(path);
	assert_int_equal(s3_screendump(g->s3, "/nonexistent/dump.png", &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "/nonexistent/dump.png"));
}

/* ---- no memory ------------------------------------------------------------------------------------------------------ */

static void it_survives_without_memory(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	const struct picture *picture;
	struct s3_config config = rom_config(g, NULL, 0);
	struct diag diag;
	struct s3 *s3 = NULL;
	unsigned int n = 0;
	int err;

	do {
		fault_arm(++n);
		err = s3_create(&config, &s3, &diag);
		assert_true(err == 0 || err == -ENOMEM);
	} while (err);
	fault_arm(0);
	assert_true(n > 3);
	s3_destroy(s3);
	fault_arm(1);
	assert_int_equal(s3_render(g->s3, 0, &picture, NULL), -ENOMEM);
	fault_arm(0);
	assert_int_equal(s3_render(g->s3, 0, &picture, NULL), 0);
}

/* Somebody has a place already: the card is not there, and says so, until the place is free. */
static uint64_t other_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	return 0x11;
}

static void other_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
}

static void a_place_that_is_taken_is_left_alone(void **state)
{
	struct s3_rig *g = &((struct fixture *)*state)->g;
	static const struct io_region_ops ops = { other_read, other_write };
	const struct io_region region = { &ops, &state, 0x3b8, 2, "other" };

	pci_rig_write16(&g->p, S3_DEVFN, PCI_COMMAND, 0);
	assert_int_equal(chipset_pio_add(g->p.rig.chipset, &region), 0);
	pci_rig_write16(&g->p, S3_DEVFN, PCI_COMMAND, PCI_COMMAND_IO);
	assert_int_equal(s3_in(g, VGA_PORT_MISC_READ), 0xff);
	assert_int_equal(s3_in(g, 0x3b8), 0x11);
	chipset_remove(g->p.rig.chipset, &state);
	pci_rig_write16(&g->p, S3_DEVFN, PCI_COMMAND, PCI_COMMAND_IO);
	assert_int_equal(s3_in(g, VGA_PORT_MISC_READ), 0x67);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(flat_memory_is_the_guests, set_up_windows,
						tear_down),
		cmocka_unit_test_setup_teardown(text_is_the_guests_while_it_is_plain,
						set_up_windows, tear_down),
		cmocka_unit_test_setup_teardown(chain_4_is_the_guests_while_it_is_plain,
						set_up_windows, tear_down),
		cmocka_unit_test_setup_teardown(a_window_goes_before_it_is_looked_at,
						set_up_windows, tear_down),
		cmocka_unit_test_setup_teardown(it_is_saved_and_loaded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(it_is_saved_and_loaded, set_up_windows, tear_down),
		cmocka_unit_test_setup_teardown(a_bad_state_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(reset_is_power_on, set_up_windows, tear_down),
		cmocka_unit_test_setup_teardown(its_rom_is_made_to_fit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_no_rom_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(seabios_rom_fits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_screendump_is_the_picture, set_up_windows,
						tear_down),
		cmocka_unit_test_setup_teardown(it_survives_without_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_place_that_is_taken_is_left_alone, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

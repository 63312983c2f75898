/* SPDX-License-Identifier: MIT */
/* The graphics card's BIOS, as it is read at the start. */
#include "vm/vga.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROM_BYTES 1024

static char path[] = "/tmp/tabique-vga-test.XXXXXX";

/* A ROM of two units with a PCI data structure for x86. */
static void make_rom(uint8_t rom[ROM_BYTES])
{
	memset(rom, 0, ROM_BYTES);
	rom[0] = 0x55;
	rom[1] = 0xaa;
	rom[2] = ROM_BYTES / 512;
	rom[0x18] = 0x40;
	memcpy(rom + 0x40, "PCIR", 4);
}

static void put_file(const void *bytes, size_t count)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, count, file), count);
	assert_int_equal(fclose(file), 0);
}

static int make_path(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
	(void)state;
	return unlink(path);
}

/* Reads the file, which is refused with that word. */
static void refused(const char *from, int err, const char *word)
{
	struct diag diag = { .text = "" };
	uint8_t *rom = NULL;
	size_t bytes;

	assert_int_equal(vm_vga_read_rom(from, &rom, &bytes, &diag), err);
	assert_null(rom);
	assert_non_null(strstr(diag.text, word));
	assert_null(strchr(diag.text, '\n'));
}

static void a_vga_bios_is_read_as_it_is(void **state)
{
	uint8_t wanted[ROM_BYTES], *rom = NULL;
	struct diag diag;
	size_t bytes = 0;

	(void)state;
	make_rom(wanted);
	put_file(wanted, sizeof(wanted));
	assert_int_equal(vm_vga_read_rom(path, &rom, &bytes, &diag), 0);
	assert_int_equal(bytes, sizeof(wanted));
	assert_memory_equal(rom, wanted, sizeof(wanted));
	free(rom);
}

static void a_missing_one_names_the_package(void **state)
{
	(void)state;
	refused("/nonexistent/vgabios.bin", -ENOENT, "/nonexistent/vgabios.bin cannot be opened");
	refused("/nonexistent/vgabios.bin", -ENOENT, "package seabios, or give --vga none");
	refused("/", -EINVAL, "no regular file");
}

static void one_of_a_wrong_size_says_how_large_it_is(void **state)
{
	uint8_t *large = calloc(1, (64 << 10) + 1);

	(void)state;
	assert_non_null(large);
	make_rom(large);
	put_file(large, (64 << 10) + 1);
	refused(path, -EINVAL, "65537 bytes");
	put_file(large, 511);
	refused(path, -EINVAL, "511 bytes");
	put_file(large, 0);
	refused(path, -EINVAL, "0 bytes");
	put_file(large, 512); /* less than it says of itself */
	refused(path, -EINVAL, "no expansion ROM");
	put_file(large, 64 << 10);
	free(large);
}

static void one_that_is_no_rom_is_refused(void **state)
{
	uint8_t rom[ROM_BYTES];

	(void)state;
	make_rom(rom);
	rom[0x40] = 'X';
	put_file(rom, sizeof(rom));
	refused(path, -EINVAL, "no PCI data structure");
	memset(rom, 0, sizeof(rom));
	put_file(rom, sizeof(rom));
	refused(path, -EINVAL, "no expansion ROM");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vga_bios_is_read_as_it_is),
		cmocka_unit_test(a_missing_one_names_the_package),
		cmocka_unit_test(one_of_a_wrong_size_says_how_large_it_is),
		cmocka_unit_test(one_that_is_no_rom_is_refused),
	};

	return cmocka_run_group_tests(tests, make_path, remove_path);
}

/* SPDX-License-Identifier: MIT */
/* Which format a file is of; making, examining and compacting raw images. */
#include "unit/block/rig.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "block/image.h"
#include "block/utf16.h"

#define FILE_BYTES 4096

/* A file of zeroes with these bytes at an offset. */
static void make_file(const char *path, const void *bytes, size_t n, off_t at)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
	assert_int_equal(pwrite(fd, bytes, n, at), n);
	close(fd);
}

struct probe_case {
	const char *name, *magic;
	size_t magic_bytes;
	off_t at;
	enum block_kind kind;
	const char *format;
};

#define CASE(name, magic, at, kind, ...)                                                           \
	{                                                                                          \
		"image-test-" name, magic, sizeof(magic) - 1, at, kind, ##__VA_ARGS__              \
	}

static const struct probe_case good[] = {
	CASE("a", "", 0, BLOCK_RAW),
	CASE("a.img", "", 0, BLOCK_RAW),
	CASE("a.iso", "\x33\xed\x90", 0, BLOCK_RAW),
	CASE("a.vhd", "conectix", 0, BLOCK_VHD),
	CASE("b.vhd", "conectix", FILE_BYTES - 512, BLOCK_VHD),
	CASE("c.AVHD", "conectix", FILE_BYTES - 512, BLOCK_VHD),
	CASE("a.vhdx", "vhdxfile", 0, BLOCK_VHDX),
	CASE("a.avhdx", "vhdxfile", 0, BLOCK_VHDX),
	CASE("a.qcow2", "QFI\xfb\0\0\0\3", 0, BLOCK_QEMU, "qcow2"),
	CASE("b.qcow2", "QFI\xfb\0\0\0\2", 0, BLOCK_QEMU, "qcow2"),
	CASE("a.qcow", "QFI\xfb\0\0\0\1", 0, BLOCK_QEMU, "qcow"),
	CASE("a.qed", "QED\0", 0, BLOCK_QEMU, "qed"),
	CASE("a.vmdk", "KDMV", 0, BLOCK_QEMU, "vmdk"),
	CASE("b.vmdk", "# Disk DescriptorFile\n", 0, BLOCK_QEMU, "vmdk"),
	CASE("a.vdi", "\x7f\x10\xda\xbe", 0x40, BLOCK_QEMU, "vdi"),
	CASE("a.hdd", "WithoutFreeSpace", 0, BLOCK_QEMU, "parallels"),
	CASE("a.dmg", "koly", FILE_BYTES - 512, BLOCK_QEMU, "dmg"),
	/* A footer alone makes no image of a raw disk: the guest can write one. */
	CASE("d.img", "conectix", FILE_BYTES - 512, BLOCK_RAW),
};

static const struct probe_case bad[] = {
	CASE("a.img", "conectix", 0, BLOCK_VHD, "vhd"),
	CASE("a", "vhdxfile", 0, BLOCK_VHDX, "vhdx"),
	CASE("a.raw", "QFI\xfb\0\0\0\3", 0, BLOCK_QEMU, "qcow2"),
	CASE("b.raw", "KDMV", 0, BLOCK_QEMU, "vmdk"),
	CASE("c.raw", "COWD", 0, BLOCK_QEMU, "vmdk"),
	CASE("d.raw", "\x7f\x10\xda\xbe", 0x40, BLOCK_QEMU, "vdi"),
	CASE("e.raw", "LUKS\xba\xbe", 0, BLOCK_QEMU, "luks"),
	CASE("f.raw", "Bochs Virtual HD Image", 0, BLOCK_QEMU, "bochs"),
	CASE("a.vhd", "", 0, BLOCK_RAW, "raw"),
	CASE("b.vhd", "vhdxfile", 0, BLOCK_VHDX, "vhdx"),
	CASE("a.vhdx", "conectix", 0, BLOCK_VHD, "vhd"),
	CASE("a.qcow2", "", 0, BLOCK_RAW, "raw"),
};

static void name_and_header_must_agree(void **state)
{
	struct image_probe probe;
	struct diag diag;
	char word[64];

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		make_file(good[i].name, good[i].magic, good[i].magic_bytes, good[i].at);
		if (image_probe(good[i].name, &probe, &diag)) {
			fail_msg("%s: %s", good[i].name, diag.text);
		}
		assert_int_equal(probe.kind, good[i].kind);
		assert_true(good[i].format ? strcmp(probe.qemu_format, good[i].format) == 0
					   : !probe.qemu_format);
		unlink(good[i].name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		make_file(bad[i].name, bad[i].magic, bad[i].magic_bytes, bad[i].at);
		assert_int_equal(image_probe(bad[i].name, &probe, &diag), -EINVAL);
		snprintf(word, sizeof(word), "format=%s", bad[i].format);
		assert_non_null(strstr(diag.text, bad[i].name));
		assert_non_null(strstr(diag.text, word)); /* the remedy */
		unlink(bad[i].name);
	}
}

static void probing_says_why_it_cannot(void **state)
{
	static const char *const uris[] = { "nbd://host/x", "NBD+UNIX:///x?socket=/s", "nbds://h" };
	struct image_probe probe;
	struct diag diag;

	for (size_t i = 0; i < ARRAY_SIZE(uris); i++) {
		assert_int_equal(image_probe(uris[i], &probe, &diag), 0);
		assert_int_equal(probe.kind, BLOCK_NBD);
	}
	assert_int_equal(image_probe("no-such-disk", &probe, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "no-such-disk"));
	assert_int_equal(image_probe("/", &probe, &diag), -EISDIR);
	assert_int_equal(image_probe("/dev/null", &probe, &diag), -EINVAL);
	assert_int_equal(mkfifo("image-test-fifo", 0600), 0);
	assert_int_equal(image_probe("image-test-fifo", &probe, &diag), -EINVAL); /* no wait */
	unlink("image-test-fifo");

	/* Shorter than any header. */
	make_file("image-test-short", "", 0, 0);
	assert_int_equal(truncate("image-test-short", 3), 0);
	assert_int_equal(image_probe("image-test-short", &probe, &diag), 0);
	assert_int_equal(probe.kind, BLOCK_RAW);
	unlink("image-test-short");
}

#define PAGES 64

/* How many pages of the file are cached. */
static unsigned int cached_pages(int fd)
{
	void *map = mmap(NULL, PAGES * 4096, PROT_READ, MAP_SHARED, fd, 0);
	unsigned char in_core[PAGES];
	unsigned int count = 0;

	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(mincore(map, PAGES * 4096, in_core), 0);
	munmap(map, PAGES * 4096);
	for (unsigned int i = 0; i < PAGES; i++) {
		count += in_core[i] & 1;
	}
	return count;
}

static void probing_leaves_nothing_in_the_page_cache(void **state)
{
	const char *path = "image-test-cached.img";
	struct image_probe probe;
	struct diag diag;
	char byte = 1;
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, PAGES * 4096 - 512), 0);
	assert_int_equal(pwrite(fd, &byte, 1, 5000), 1);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	if (cached_pages(fd) > 0) {
		unlink(path);
		close(fd);
		skip(); /* a file system of memory: all of it is cache */
	}
	assert_int_equal(image_probe(path, &probe, &diag), 0);
	assert_int_equal(cached_pages(fd), 0);
	unlink(path);
	close(fd);
}

static void formats_are_known_by_name(void **state)
{
	struct image_probe probe;
	struct diag diag;

	assert_int_equal(image_kind_parse("vhd", &probe, &diag), 0);
	assert_int_equal(probe.kind, BLOCK_VHD);
	assert_int_equal(image_kind_parse("vpc", &probe, &diag), 0); /* QEMU's word */
	assert_int_equal(probe.kind, BLOCK_VHD);
	assert_int_equal(image_kind_parse("auto", &probe, &diag), 0);
	assert_int_equal(probe.kind, BLOCK_AUTO);
	assert_int_equal(image_kind_parse("qcow2", &probe, &diag), 0);
	assert_int_equal(probe.kind, BLOCK_QEMU);
	assert_string_equal(probe.qemu_format, "qcow2");
	assert_int_equal(image_kind_parse("vhdy", &probe, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "vhdy"));
	assert_string_equal(image_kind_name(BLOCK_VHDX), "vhdx");
}

/* ---- raw images -------------------------------------------------------------------------------- */

static void raw_images_are_made_whole_or_not_at_all(void **state)
{
	struct image_create_config config = {
		.kind = BLOCK_RAW,
		.path = "image-test-raw",
		.bytes = 1 << 20,
	};
	struct diag diag;
	struct stat st;

	unlink(config.path);
	assert_int_equal(image_create(&config, &diag), 0);
	assert_int_equal(stat(config.path, &st), 0);
	assert_int_equal(st.st_size, 1 << 20);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(image_create(&config, &diag), -EEXIST);
	assert_non_null(strstr(diag.text, config.path));
	unlink(config.path);

	config.layout = IMAGE_FIXED;
	assert_int_equal(image_create(&config, &diag), 0);
	assert_int_equal(stat(config.path, &st), 0);
	assert_true(st.st_blocks * 512 >= 1 << 20);
	unlink(config.path);

	config.bytes = 1ULL << 60; /* no file system has that much */
	assert_true(image_create(&config, &diag) < 0);
	assert_int_equal(stat(config.path, &st), -1);
	config.bytes = 1000;
	assert_int_equal(image_create(&config, &diag), -EINVAL);
	config.bytes = 1 << 20;
	config.layout = IMAGE_DIFFERENCING;
	assert_int_equal(image_create(&config, &diag), -EINVAL);
	config.layout = IMAGE_DYNAMIC;
	config.path = "no-such-directory/x";
	assert_int_equal(image_create(&config, &diag), -ENOENT);
	config.kind = BLOCK_QEMU;
	assert_int_equal(image_create(&config, &diag), -EINVAL);
}

static bool count_progress(void *ctx, uint64_t done, uint64_t total)
{
	unsigned int *count = ctx;

	assert_true(done <= total);
	return (*count)++ < 1000;
}

static void zeroes_in_a_raw_image_become_holes(void **state)
{
	unsigned int count = 0;
	struct image_progress progress = { count_progress, &count };
	static uint8_t buf[9 << 20], again[9 << 20];
	struct diag diag;
	uint64_t bytes = 0;
	struct stat st;
	int fd;

	memset(buf + (3 << 20), 7, 5000);
	memset(buf + (8 << 20), 8, 1 << 20);
	fd = open("image-test-raw", O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, buf, sizeof(buf)), sizeof(buf));
	if (image_compact("image-test-raw", BLOCK_RAW, &progress, &bytes, &diag)) {
		fail_msg("%s", diag.text);
	}
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, sizeof(buf));
	assert_true(st.st_blocks * 512 <= 2 << 20);
	assert_true(bytes >= 7 << 20);
	assert_true(count > 0);
	assert_int_equal(pread(fd, again, sizeof(again), 0), sizeof(again));
	assert_memory_equal(buf, again, sizeof(buf));
	/* Nothing is left to give back; and a user may stop it. */
	assert_int_equal(image_compact("image-test-raw", BLOCK_AUTO, NULL, &bytes, &diag), 0);
	assert_int_equal(bytes, 0);
	count = 1000;
	assert_int_equal(image_compact("image-test-raw", BLOCK_RAW, &progress, &bytes, &diag),
			 -ECANCELED);
	close(fd);
	unlink("image-test-raw");
}

static void count_line(void *ctx, const char *text)
{
	++*(unsigned int *)ctx;
}

static void a_raw_image_can_only_have_an_odd_size(void **state)
{
	unsigned int lines = 0;
	struct image_report report = { .line = count_line, .ctx = &lines };
	struct diag diag;

	make_file("image-test-raw", "", 0, 0);
	assert_int_equal(image_check("image-test-raw", BLOCK_AUTO, false, &report, NULL, &diag), 0);
	assert_int_equal(report.errors, 0);
	assert_int_equal(truncate("image-test-raw", 1000), 0);
	assert_int_equal(image_check("image-test-raw", BLOCK_RAW, false, &report, NULL, &diag), 0);
	assert_int_equal(report.errors, 1);
	assert_int_equal(lines, 1);
	unlink("image-test-raw");
	assert_int_equal(image_check("image-test-raw", BLOCK_RAW, false, &report, NULL, &diag),
			 -ENOENT);
	assert_int_equal(image_check("nbd://x", BLOCK_AUTO, false, &report, NULL, &diag), -EINVAL);
}

/* ---- text in images ---------------------------------------------------------------------------- */

static void utf16_is_read_and_written(void **state)
{
	static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
	static const uint8_t le[] = { 'a', 0, 0xe9, 0, 0xac, 0x20, 0x3d, 0xd8, 0x00, 0xde };
	uint8_t buf[32];
	char back[32];
	size_t n;

	assert_int_equal(utf16_from_utf8(text, false, buf, sizeof(buf), &n), 0);
	assert_int_equal(n, sizeof(le));
	assert_memory_equal(buf, le, n);
	assert_int_equal(utf16_to_utf8(le, sizeof(le), false, back, sizeof(back)), 0);
	assert_string_equal(back, text);
	assert_int_equal(utf16_from_utf8(text, true, buf, sizeof(buf), &n), 0);
	assert_int_equal(utf16_to_utf8(buf, n, true, back, sizeof(back)), 0);
	assert_string_equal(back, text);
	/* Cut off at its zero. */
	assert_int_equal(utf16_to_utf8("a\0\0\0b", 6, false, back, sizeof(back)), 0);
	assert_string_equal(back, "a");

	assert_int_equal(utf16_from_utf8(text, false, buf, 9, &n), -ENAMETOOLONG);
	assert_int_equal(utf16_to_utf8(le, sizeof(le), false, back, 10), -ENAMETOOLONG);
	assert_int_equal(utf16_to_utf8("\0\xd8", 2, false, back, sizeof(back)), -EILSEQ);
	assert_int_equal(utf16_to_utf8("\0\xd8x\0", 4, false, back, sizeof(back)), -EILSEQ);
	assert_int_equal(utf16_to_utf8("\0\xdc", 2, false, back, sizeof(back)), -EILSEQ);
	assert_int_equal(utf16_to_utf8("a", 1, false, back, sizeof(back)), -EILSEQ);
	assert_int_equal(utf16_to_utf8("\n\0", 2, false, back, sizeof(back)), -EILSEQ);
	assert_int_equal(utf16_from_utf8("\xc3", false, buf, sizeof(buf), &n), -EILSEQ);
	assert_int_equal(utf16_from_utf8("\xed\xa0\x80", false, buf, sizeof(buf), &n), -EILSEQ);
	assert_int_equal(utf16_from_utf8("\xe0\x80\x80", false, buf, sizeof(buf), &n), -EILSEQ);
	assert_int_equal(utf16_from_utf8("\xf4\x90\x80\x80", false, buf, sizeof(buf), &n), -EILSEQ);
}

static void zeroes_are_told_from_data(void **state)
{
	uint8_t buf[100] = { 0 };

	assert_true(bytes_is_zero(buf, 0));
	assert_true(bytes_is_zero(buf, sizeof(buf)));
	buf[99] = 1;
	assert_true(bytes_is_zero(buf, 99));
	assert_false(bytes_is_zero(buf, 100));
	assert_false(bytes_is_zero(buf + 99, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(name_and_header_must_agree),
		cmocka_unit_test(probing_says_why_it_cannot),
		cmocka_unit_test(probing_leaves_nothing_in_the_page_cache),
		cmocka_unit_test(formats_are_known_by_name),
		cmocka_unit_test(raw_images_are_made_whole_or_not_at_all),
		cmocka_unit_test(zeroes_in_a_raw_image_become_holes),
		cmocka_unit_test(a_raw_image_can_only_have_an_odd_size),
		cmocka_unit_test(utf16_is_read_and_written),
		cmocka_unit_test(zeroes_are_told_from_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* VHDs: layouts, random requests against a model, size changes, chains, damaged files. */
#include "unit/block/rig.h"

#include <sys/stat.h>

#include "base/bytes.h"
#include "block/block_impl.h"
#include "block/image.h"
#include "block/sync.h"
#include "block/vhd_format.h"

#define DISK_BYTES  (4U << 20)
#define BLOCK_BYTES (64U << 10)

static const char path[] = "vhd-test.vhd", child_path[] = "vhd-test-child.vhd",
		  grandchild_path[] = "vhd-test-grandchild.vhd";

static void make(const char *name, enum image_layout layout, uint64_t bytes, const char *parent)
{
	struct image_create_config config = {
		.kind = BLOCK_VHD,
		.layout = layout,
		.path = name,
		.bytes = bytes,
		.block_bytes = layout == IMAGE_FIXED ? 0 : BLOCK_BYTES,
		.parent_path = parent,
		.parent_kind = BLOCK_AUTO,
	};
	struct diag diag;

	unlink(name);
	if (image_create(&config, &diag)) {
		fail_msg("%s", diag.text);
	}
}

static int try_open(const char *name, bool read_only, struct block **ret, struct diag *diag)
{
	struct block_config config = { .kind = BLOCK_VHD, .path = name, .read_only = read_only };

	return block_open(&config, ret, diag);
}

/* An image that is open and runs. */
struct disk {
	struct block *block;
	struct block_sync *sync;
};

static struct disk disk_open(const char *name, bool read_only)
{
	struct disk disk;
	struct diag diag;

	if (try_open(name, read_only, &disk.block, &diag)) {
		fail_msg("%s", diag.text);
	}
	assert_int_equal(block_sync_create(disk.block, &disk.sync, &diag), 0);
	return disk;
}

static void disk_close(struct disk *disk)
{
	block_sync_destroy(disk->sync);
	block_close(disk->block);
}

static void expect_content(const char *name, const uint8_t *model, size_t bytes)
{
	struct disk disk = disk_open(name, true);
	uint8_t *buf = malloc(bytes);

	assert_int_equal(block_info(disk.block)->bytes, bytes);
	assert_int_equal(block_sync_read(disk.sync, 0, buf, bytes), 0);
	assert_memory_equal(buf, model, bytes);
	free(buf);
	disk_close(&disk);
}

static void on_line(void *ctx, const char *text)
{
	print_message("check: %s\n", text);
}

static void expect_clean(const char *name)
{
	struct image_report report = { .line = on_line };
	struct diag diag;

	if (image_check(name, BLOCK_VHD, false, &report, NULL, &diag)) {
		fail_msg("%s", diag.text);
	}
	assert_int_equal(report.errors, 0);
	assert_int_equal(report.leaks, 0);
}

static unsigned int seed = 1;

static uint32_t rnd(uint32_t below)
{
	return ((uint32_t)rand_r(&seed) << 8 ^ (uint32_t)rand_r(&seed)) % below;
}

/* ---- layouts ----------------------------------------------------------------------------------- */

static void geometry_is_the_specifications(void **state)
{
	static const struct {
		uint64_t sectors, cylinders, heads, per_track;
	} cases[] = {
		{ 8192, 120, 4, 17 },
		{ 65535ULL * 16 * 255 + 1000, 65535, 16, 255 },
		{ 266338304, 65278, 16, 255 }, /* 127 GiB */
		{ 20971520, 20805, 16, 63 },   /* 10 GiB */
	};
	uint16_t cylinders;
	uint8_t heads, per_track;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t covered =
			vhd_geometry(cases[i].sectors * 512, &cylinders, &heads, &per_track);

		assert_int_equal(cylinders, cases[i].cylinders);
		assert_int_equal(heads, cases[i].heads);
		assert_int_equal(per_track, cases[i].per_track);
		assert_int_equal(covered, cases[i].cylinders * cases[i].heads * cases[i].per_track);
	}
	assert_int_equal(vhd_bitmap_bytes(2U << 20), 512);
	assert_int_equal(vhd_bitmap_bytes(512), 512);
	assert_int_equal(vhd_bitmap_bytes(16U << 20), 4096);
}

static void footers_say_the_size_that_guests_saw(void **state)
{
	struct vhd_footer footer, back;

	vhd_footer_build(VHD_DYNAMIC, 1000 * 512, &footer);
	assert_int_equal(vhd_footer_parse(&footer.wire, &back), 0);
	assert_int_equal(back.bytes, 1000 * 512);
	assert_int_equal(back.type, VHD_DYNAMIC);
	assert_true(guid_is_equal(&back.id, &footer.id));
	/* Virtual PC's guests saw the geometry: 14 × 4 × 17. */
	for (int i = 0; i < 4; i++) {
		int sum = "vpc "[i] - "win "[i];
		uint32_t checksum = bytes_be32(footer.wire.checksum);

		footer.wire.creator[i] = (uint8_t) "vpc "[i];
		bytes_put_be32(footer.wire.checksum, checksum - (uint32_t)sum);
	}
	assert_int_equal(vhd_footer_parse(&footer.wire, &back), 0);
	assert_int_equal(back.bytes, 14 * 4 * 17 * 512);
	footer.wire.saved_state = 1;
	assert_int_equal(vhd_footer_parse(&footer.wire, &back), -EBADMSG);
	footer.wire.cookie[0] = 'C';
	assert_int_equal(vhd_footer_parse(&footer.wire, &back), -EINVAL);
}

static void creating_says_what_cannot_be(void **state)
{
	struct image_create_config config = { .kind = BLOCK_VHD, .path = path, .bytes = 1 << 20 };
	struct diag diag;

	unlink(path);
	config.bytes = VHD_BYTES_MAX + 512;
	assert_int_equal(image_create(&config, &diag), -EINVAL);
	config.bytes = 1000;
	assert_int_equal(image_create(&config, &diag), -EINVAL);
	config.bytes = 1 << 20;
	config.block_bytes = 3000;
	assert_int_equal(image_create(&config, &diag), -EINVAL);
	config.block_bytes = 0;
	config.logical_block_bytes = 4096;
	assert_int_equal(image_create(&config, &diag), -EINVAL);
	config.logical_block_bytes = 0;
	config.layout = IMAGE_DIFFERENCING;
	config.parent_kind = BLOCK_AUTO;
	config.bytes = 0;
	assert_int_equal(image_create(&config, &diag), -EINVAL);
	config.parent_path = "no-such.vhd";
	assert_int_equal(image_create(&config, &diag), -ENOENT);
	config.parent_path = "a\\b.vhd";
	assert_int_equal(image_create(&config, &diag), -ENOENT);
	assert_int_equal(access(path, F_OK), -1);
	config.layout = IMAGE_DYNAMIC;
	config.bytes = VHD_BYTES_MAX;
	assert_int_equal(image_create(&config, &diag), 0);
	expect_clean(path);
	unlink(path);
}

/* ---- requests against a model ------------------------------------------------------------------ */

static uint8_t model[2 * DISK_BYTES], other[2 * DISK_BYTES];

static void random_range(uint64_t bytes, uint64_t *ret_at, uint64_t *ret_length)
{
	uint64_t sectors = bytes / 512;
	uint64_t length = rnd(8) ? 1 + rnd(16) : 1 + rnd(400);
	uint64_t at = rnd((uint32_t)sectors);

	*ret_at = at * 512;
	*ret_length = num_min(length, sectors - at) * 512;
}

/* What the map says must agree with what is read: whether zeroes are zeroes. */
static void expect_map(struct disk *disk, uint64_t bytes)
{
	struct block_map map;

	for (uint64_t at = 0; at < bytes; at += map.bytes) {
		assert_int_equal(block_sync_map(disk->sync, at, bytes - at, &map), 0);
		assert_true(map.bytes > 0 && map.bytes <= bytes - at && map.bytes % 512 == 0);
		if (map.kind == BLOCK_MAP_ZERO) {
			assert_true(bytes_is_zero(model + at, map.bytes));
		}
	}
}

static void random_requests(struct disk *disk, uint64_t bytes, int count)
{
	static uint8_t buf[DISK_BYTES];
	uint64_t at, length;

	for (int i = 0; i < count; i++) {
		random_range(bytes, &at, &length);
		switch (rnd(8)) {
		case 0:
		case 1:
		case 2:
			memset(buf, (int)rnd(256), length);
			assert_int_equal(block_sync_write(disk->sync, at, buf, length), 0);
			memcpy(model + at, buf, length);
			break;
		case 3:
			assert_int_equal(block_sync_write_zeroes(disk->sync, at, length, rnd(2)),
					 0);
			memset(model + at, 0, length);
			break;
		case 4:
			assert_int_equal(block_sync_discard(disk->sync, at, length), 0);
			memset(model + at, 0, length);
			break;
		case 5:
			assert_int_equal(block_sync_flush(disk->sync), 0);
			break;
		default:
			assert_int_equal(block_sync_read(disk->sync, at, buf, length), 0);
			assert_memory_equal(buf, model + at, length);
		}
	}
	expect_map(disk, bytes);
}

static void random_layout(enum image_layout layout)
{
	memset(model, 0, sizeof(model));
	make(path, layout, DISK_BYTES, NULL);
	for (int round = 0; round < 4; round++) {
		struct disk disk = disk_open(path, false);

		random_requests(&disk, DISK_BYTES, 200);
		disk_close(&disk);
		expect_clean(path);
		expect_content(path, model, DISK_BYTES);
	}
	unlink(path);
}

static void a_dynamic_disk_keeps_what_it_is_given(void **state)
{
	random_layout(IMAGE_DYNAMIC);
}

static void a_fixed_disk_keeps_what_it_is_given(void **state)
{
	random_layout(IMAGE_FIXED);
}

static void a_chain_keeps_what_each_is_given(void **state)
{
	static uint8_t base[DISK_BYTES], middle[DISK_BYTES];
	struct disk disk;

	memset(model, 0, sizeof(model));
	make(path, IMAGE_DYNAMIC, DISK_BYTES, NULL);
	disk = disk_open(path, false);
	random_requests(&disk, DISK_BYTES, 200);
	disk_close(&disk);
	memcpy(base, model, sizeof(base));

	make(child_path, IMAGE_DIFFERENCING, 0, path);
	expect_content(child_path, model, DISK_BYTES);
	for (int round = 0; round < 4; round++) {
		disk = disk_open(child_path, false);
		random_requests(&disk, DISK_BYTES, 100);
		disk_close(&disk);
		expect_clean(child_path);
		expect_content(child_path, model, DISK_BYTES);
	}
	memcpy(middle, model, sizeof(middle));
	make(grandchild_path, IMAGE_DIFFERENCING, 0, child_path);
	disk = disk_open(grandchild_path, false);
	random_requests(&disk, DISK_BYTES, 200);
	assert_non_null(block_parent(disk.block));
	assert_non_null(block_parent(block_parent(disk.block)));
	assert_null(block_parent(block_parent(block_parent(disk.block))));
	disk_close(&disk);
	expect_content(grandchild_path, model, DISK_BYTES);
	expect_content(child_path, middle, DISK_BYTES);
	expect_content(path, base, DISK_BYTES);
	unlink(grandchild_path);
	unlink(child_path);
	unlink(path);
}

/* Many at once, of which some begin the same new block. */
static void requests_at_once_share_new_blocks(void **state)
{
	enum { COUNT = 64 };
	static struct rig_request requests[COUNT];
	static uint8_t data[COUNT][4096];
	struct block *block;
	struct diag diag;
	struct rig rig;

	memset(model, 0, sizeof(model));
	make(path, IMAGE_DYNAMIC, DISK_BYTES, NULL);
	make(child_path, IMAGE_DIFFERENCING, 0, path);
	rig_create(&rig, 4096);
	assert_int_equal(try_open(child_path, false, &block, &diag), 0);
	assert_int_equal(block_start(block, rig.loop), 0);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < COUNT; i++) {
			uint64_t at = ((uint64_t)i * 16 + rnd(8)) * 4096;

			memset(data[i], round * 64 + i, sizeof(data[i]));
			memcpy(model + at, data[i], sizeof(data[i]));
			requests[i].iov[0] = (struct iovec){ data[i], 4096 };
			requests[i].block.iov = requests[i].iov;
			requests[i].block.iov_count = 1;
			requests[i].block.fua = i % 5 == 0;
			rig_submit(block, &requests[i], BLOCK_WRITE, at, 4096);
		}
		for (int i = 0; i < COUNT; i++) {
			assert_int_equal(rig_wait(&rig, &requests[i]), 0);
		}
	}
	rig_stop(&rig, block);
	block_close(block);
	expect_content(child_path, model, DISK_BYTES);
	expect_clean(child_path);
	rig_destroy(&rig);
	unlink(child_path);
	unlink(path);
}

/* More blocks that are partly here than there are bitmaps in memory. */
static void bitmaps_come_and_go(void **state)
{
	enum { SMALL = 4096, COUNT = 10000 };
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm/vhd-test-a.vhd" : path;
	const char *child = access("/dev/shm", W_OK) == 0 ? "/dev/shm/vhd-test-b.vhd" : child_path;
	struct image_create_config config = {
		.kind = BLOCK_VHD,
		.path = base,
		.bytes = (uint64_t)SMALL * COUNT,
		.block_bytes = SMALL,
		.parent_kind = BLOCK_VHD,
	};
	uint8_t sector[512], block[SMALL];
	struct disk disk;
	struct diag diag;

	unlink(base);
	unlink(child);
	assert_int_equal(image_create(&config, &diag), 0);
	config.layout = IMAGE_DIFFERENCING;
	config.path = child;
	config.parent_path = base;
	config.bytes = 0;
	assert_int_equal(image_create(&config, &diag), 0);
	disk = disk_open(child, false);
	for (uint32_t i = 0; i < COUNT; i++) {
		memset(sector, (int)(i % 251) + 1, sizeof(sector));
		assert_int_equal(block_sync_write(disk.sync, (uint64_t)i * SMALL + i % 8 * 512,
						  sector, sizeof(sector)),
				 0);
	}
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < COUNT; i++) {
			assert_int_equal(block_sync_read(disk.sync, (uint64_t)i * SMALL, block,
							 sizeof(block)),
					 0);
			memset(sector, (int)(i % 251) + 1, sizeof(sector));
			assert_memory_equal(block + i % 8 * 512, sector, sizeof(sector));
			assert_true(bytes_is_zero(block, i % 8 * 512));
			assert_true(bytes_is_zero(block + (i % 8 + 1) * 512, (7 - i % 8) * 512));
		}
		disk_close(&disk);
		expect_clean(child);
		disk = disk_open(child, true);
	}
	disk_close(&disk);
	unlink(child);
	unlink(base);
}

/* The file's storage fails now and then: who asked is told, and what was written is not forgotten. */
static void errors_are_told_and_forgotten(void **state)
{
	static const enum block_op ops[] = { BLOCK_FLUSH, BLOCK_WRITE };
	struct block_config config = { .kind = BLOCK_RAW, .path = path, .growable = true };
	struct block_fail *fail;
	struct block *block;
	struct disk disk;
	struct diag diag;

	memset(model, 0, sizeof(model));
	for (int i = 0; i < 60; i++) {
		uint64_t at = (uint64_t)(i % 30) * BLOCK_BYTES * 2, began_ns;
		bool is_late;
		int err = 0;

		if (i % 30 == 0) {
			make(path, IMAGE_DYNAMIC, DISK_BYTES, NULL);
			memset(model, 0, sizeof(model));
		}
		config.kind = BLOCK_RAW;
		assert_int_equal(block_open(&config, &block, &diag), 0);
		assert_int_equal(block_fail_create(block, &fail), 0);
		config.kind = BLOCK_VHD;
		assert_int_equal(
			block_vhd_open(&config, block_fail_block(fail), &disk.block, &diag), 0);
		assert_int_equal(block_sync_create(disk.block, &disk.sync, &diag), 0);
		memset(model + at, i + 1, 4096);
		began_ns = loop_now_ns();
		assert_int_equal(block_sync_write(disk.sync, at, model + at, 4096), 0);
		block_fail_nth(fail, ops[i / 30], 1 + (unsigned int)i % 3, -EIO);
		/* After 50 ms, on a busy host, the image has begun to commit by itself, whose flush is first then. */
		is_late = loop_now_ns() - began_ns > 20000000ULL;
		err = block_sync_flush(disk.sync);
		assert_true(err == 0 || err == -EIO);
		assert_true(i / 30 || i % 3 != 0 || is_late || err == -EIO); /* the first is ours */
		block_fail_nth(fail, ops[i / 30], 0, 0);
		assert_int_equal(block_sync_flush(disk.sync), 0);
		disk_close(&disk);
		expect_clean(path);
	}
	expect_content(path, model, DISK_BYTES);
	unlink(path);
}

/* ---- sizes ------------------------------------------------------------------------------------- */

static void resize_to(const char *name, uint64_t bytes)
{
	struct disk disk = disk_open(name, false);

	assert_int_equal(block_sync_resize(disk.sync, bytes), 0);
	assert_int_equal(block_info(disk.block)->bytes, bytes);
	random_requests(&disk, bytes, 50);
	disk_close(&disk);
	expect_clean(name);
	expect_content(name, model, bytes);
}

static void a_disk_changes_its_size(void **state)
{
	static const enum image_layout layouts[] = { IMAGE_FIXED, IMAGE_DYNAMIC };
	static const uint64_t sizes[] = {
		DISK_BYTES + 512, 2 * DISK_BYTES, DISK_BYTES / 2 + 512,     DISK_BYTES / 2 + 1024,
		DISK_BYTES,       1536,           2 * DISK_BYTES - 30 * 512
	};
	struct disk disk;

	for (size_t l = 0; l < ARRAY_SIZE(layouts); l++) {
		memset(model, 0, sizeof(model));
		make(path, layouts[l], DISK_BYTES, NULL);
		disk = disk_open(path, false);
		random_requests(&disk, DISK_BYTES, 100);
		disk_close(&disk);
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			struct image_report report = { 0 };
			struct diag diag;
			uint64_t given;

			/* What was beyond the end does not come back. */
			disk = disk_open(path, false);
			assert_int_equal(block_sync_resize(disk.sync, sizes[i]), 0);
			disk_close(&disk);
			memset(model + sizes[i], 0, sizeof(model) - sizes[i]);
			expect_content(path, model, sizes[i]);
			assert_int_equal(image_check(path, BLOCK_VHD, false, &report, NULL, &diag),
					 0);
			assert_int_equal(report.errors, 0);
			if (layouts[l] == IMAGE_DYNAMIC) {
				assert_int_equal(
					image_compact(path, BLOCK_VHD, NULL, &given, &diag), 0);
			}
			resize_to(path, sizes[i]);
		}
	}
	/* A table that needs a new place: thousands of blocks more. */
	disk = disk_open(path, false);
	assert_int_equal(block_sync_resize(disk.sync, 20 * GIB), 0);
	assert_int_equal(block_sync_write(disk.sync, 20 * GIB - 4096, model, 4096), 0);
	assert_int_equal(block_sync_resize(disk.sync, VHD_BYTES_MAX + 512), -EFBIG);
	assert_int_equal(block_sync_read(disk.sync, 0, other, sizes[6]), 0);
	assert_memory_equal(other, model, sizes[6]);
	disk_close(&disk);
	unlink(path);
}

static void a_child_keeps_its_parents_size(void **state)
{
	struct disk disk;

	make(path, IMAGE_DYNAMIC, DISK_BYTES, NULL);
	make(child_path, IMAGE_DIFFERENCING, 0, path);
	disk = disk_open(child_path, false);
	assert_int_equal(block_sync_resize(disk.sync, 2 * DISK_BYTES), -EOPNOTSUPP);
	disk_close(&disk);
	unlink(child_path);
	unlink(path);
}

static void compacting_gives_back_what_is_empty(void **state)
{
	const char *names[] = { path, child_path };
	struct image_progress never = { 0 };
	struct disk disk;
	struct diag diag;
	uint64_t given;

	memset(model, 0, sizeof(model));
	make(path, IMAGE_DYNAMIC, DISK_BYTES, NULL);
	for (int n = 0; n < 2; n++) {
		if (n == 1) {
			make(child_path, IMAGE_DIFFERENCING, 0, path);
		}
		disk = disk_open(names[n], false);
		memset(other, 5, DISK_BYTES);
		memcpy(other, model, DISK_BYTES / 2);
		assert_int_equal(block_sync_write(disk.sync, 0, other, DISK_BYTES), 0);
		assert_int_equal(block_sync_discard(disk.sync, DISK_BYTES / 2, DISK_BYTES / 4), 0);
		memset(other + DISK_BYTES / 2, 0, DISK_BYTES / 4);
		memcpy(model, other, DISK_BYTES);
		disk_close(&disk);
		assert_int_equal(image_compact(names[n], BLOCK_VHD, &never, &given, &diag), 0);
		/* Half of it is as it was without it. */
		assert_true(given >= DISK_BYTES / 2);
		expect_content(names[n], model, DISK_BYTES);
		expect_clean(names[n]);
		assert_int_equal(image_compact(names[n], BLOCK_VHD, NULL, &given, &diag), 0);
		assert_int_equal(given, 0);
	}
	unlink(child_path);
	unlink(path);
	make(path, IMAGE_FIXED, DISK_BYTES, NULL);
	assert_int_equal(image_compact(path, BLOCK_VHD, NULL, &given, &diag), -EINVAL);
	unlink(path);
}

/* ---- damaged and odd files --------------------------------------------------------------------- */

static void patch(const char *name, off_t at, const void *bytes, size_t n)
{
	int fd = open(name, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, n, at), n);
	close(fd);
}

static off_t file_size(const char *name)
{
	struct stat st;

	assert_int_equal(stat(name, &st), 0);
	return st.st_size;
}

/* A footer or header with one field changed and the checksum right. */
static void patch_sealed(const char *name, off_t struct_at, size_t struct_bytes, size_t sum_at,
			 size_t at, const void *bytes, size_t n)
{
	uint8_t buf[1024];
	uint32_t sum = 0;
	int fd = open(name, O_RDWR);

	assert_int_equal(pread(fd, buf, struct_bytes, struct_at), struct_bytes);
	memcpy(buf + at, bytes, n);
	memset(buf + sum_at, 0, 4);
	for (size_t i = 0; i < struct_bytes; i++) {
		sum += buf[i];
	}
	bytes_put_be32(buf + sum_at, ~sum);
	assert_int_equal(pwrite(fd, buf, struct_bytes, struct_at), struct_bytes);
	close(fd);
}

static void expect_refused(const char *word)
{
	off_t bytes = file_size(path);
	struct image_report report = { 0 };
	struct block *block;
	struct diag diag;

	assert_int_equal(try_open(path, false, &block, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, path));
	if (!strstr(diag.text, word)) {
		fail_msg("%s: where is %s?", diag.text, word);
	}
	assert_int_equal(file_size(path), bytes); /* untouched */
	if (image_check(path, BLOCK_VHD, false, &report, NULL, &diag) == 0) {
		assert_true(report.errors > 0);
	}
}

static void make_with_blocks(void)
{
	struct disk disk;

	make(path, IMAGE_DYNAMIC, DISK_BYTES, NULL);
	disk = disk_open(path, false);
	memset(other, 1, DISK_BYTES);
	assert_int_equal(block_sync_write(disk.sync, 0, other, 8 * BLOCK_BYTES), 0);
	disk_close(&disk);
}

static void damaged_files_get_one_sentence(void **state)
{
	static const struct {
		size_t at, n;
		uint8_t bytes[8];
		const char *word;
	} headers[] = {
		{ offsetof(struct vhd_wire_header, table_offset), 8, { 0x7f }, "table" },
		{ offsetof(struct vhd_wire_header, table_offset), 8, { 0xff, 0xff }, "header" },
		{ offsetof(struct vhd_wire_header, table_offset), 8, { 0 }, "each other" },
		{ offsetof(struct vhd_wire_header, entries), 4, { 0, 0, 0, 1 }, "too short" },
		{ offsetof(struct vhd_wire_header, entries),
		  4,
		  { 0xff, 0xff, 0xff, 0xff },
		  "header" },
		{ offsetof(struct vhd_wire_header, entries), 4, { 0, 0x10, 0, 0 }, "beyond" },
		{ offsetof(struct vhd_wire_header, block_bytes), 4, { 0, 0, 0, 0 }, "header" },
		{ offsetof(struct vhd_wire_header, block_bytes), 4, { 0, 3, 0, 0 }, "header" },
		{ offsetof(struct vhd_wire_header, block_bytes), 4, { 0x80, 0, 0, 0 }, "header" },
	};
	static const uint8_t beyond[4] = { 0x7f, 0, 0, 0 }, table[4] = { 0, 0, 0, 3 };
	uint8_t entry[4];
	int fd;

	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		make_with_blocks();
		patch_sealed(path, 512, 1024, offsetof(struct vhd_wire_header, checksum),
			     headers[i].at, headers[i].bytes, headers[i].n);
		expect_refused(headers[i].word);
	}
	make_with_blocks();
	patch(path, 512 + 600, "x", 1);
	expect_refused("header");

	make_with_blocks();
	patch(path, 1536 + 8, beyond, 4);
	expect_refused("beyond");
	make_with_blocks();
	patch(path, 1536 + 8, table, 4);
	expect_refused("tables");
	make_with_blocks();
	fd = open(path, O_RDONLY);
	assert_int_equal(pread(fd, entry, 4, 1536), 4);
	close(fd);
	patch(path, 1536 + 4, entry, 4);
	expect_refused("each other");

	make_with_blocks();
	patch(path, 100, "x", 1);
	patch(path, file_size(path) - 100, "x", 1);
	expect_refused("footer");
	make(path, IMAGE_FIXED, DISK_BYTES, NULL);
	patch(path, file_size(path) - 100, "x", 1);
	expect_refused("footer");
	make(path, IMAGE_FIXED, DISK_BYTES, NULL);
	assert_int_equal(truncate(path, DISK_BYTES), 0);
	expect_refused("footer");
	make_with_blocks();
	assert_int_equal(truncate(path, 5 * BLOCK_BYTES), 0);
	expect_refused("beyond");
	assert_int_equal(truncate(path, 700), 0);
	expect_refused("beyond");
	assert_int_equal(truncate(path, 100), 0);
	expect_refused("short");
	unlink(path);
}

/* Every byte of the tables, changed in turn: an error or an image, never worse. */
static void any_byte_may_be_wrong(void **state)
{
	struct block *block;
	struct diag diag;
	uint8_t was, is;
	int fd;

	make_with_blocks();
	for (off_t at = 0; at < 1536 + 64; at++) {
		struct image_report report = { 0 };

		fd = open(path, O_RDWR);
		assert_int_equal(pread(fd, &was, 1, at), 1);
		is = (uint8_t)(was ^ (1 << rnd(8)));
		assert_int_equal(pwrite(fd, &is, 1, at), 1);
		if (try_open(path, true, &block, &diag) == 0) {
			block_close(block);
		}
		(void)!image_check(path, BLOCK_VHD, false, &report, NULL, &diag);
		assert_int_equal(pwrite(fd, &was, 1, at), 1);
		close(fd);
	}
	unlink(path);
}

static void a_lost_footer_is_written_again(void **state)
{
	struct image_report report = { 0 };
	struct disk disk;
	struct diag diag;
	off_t bytes;

	make_with_blocks();
	bytes = file_size(path);
	assert_int_equal(truncate(path, bytes - 512), 0);
	memset(model, 0, sizeof(model));
	memset(model, 1, 8 * BLOCK_BYTES);
	expect_content(path, model, DISK_BYTES);
	assert_int_equal(file_size(path), bytes - 512); /* read-only: untouched */
	assert_int_equal(image_check(path, BLOCK_VHD, false, &report, NULL, &diag), 0);
	assert_int_equal(report.errors, 1);
	disk = disk_open(path, false);
	disk_close(&disk);
	assert_int_equal(file_size(path), bytes);
	expect_clean(path);

	/* Rubbish behind it, as a crash leaves it. */
	patch(path, bytes + 100000, "x", 1);
	assert_int_equal(image_check(path, BLOCK_VHD, true, &report, NULL, &diag), 0);
	assert_int_equal(report.repaired, 1);
	assert_int_equal(file_size(path), bytes);
	expect_clean(path);

	/* And the copy. */
	patch(path, 20, "xxx", 3);
	expect_content(path, model, DISK_BYTES);
	disk = disk_open(path, false);
	disk_close(&disk);
	expect_clean(path);
	unlink(path);
}

/* A guest may write what looks like a dynamic disk's beginning into its fixed one. */
static void a_fixed_disk_stays_one(void **state)
{
	struct vhd_footer footer;
	struct disk disk;

	make(path, IMAGE_FIXED, DISK_BYTES, NULL);
	memset(model, 0, sizeof(model));
	vhd_footer_build(VHD_DYNAMIC, 2 * DISK_BYTES, &footer);
	memcpy(model, &footer.wire, 512);
	disk = disk_open(path, false);
	assert_int_equal(block_sync_write(disk.sync, 0, model, 512), 0);
	disk_close(&disk);
	expect_content(path, model, DISK_BYTES);
	unlink(path);
}

static void a_child_knows_its_parent(void **state)
{
	struct image_create_config config = {
		.kind = BLOCK_VHD,
		.layout = IMAGE_DIFFERENCING,
		.path = child_path,
		.parent_path = path,
		.parent_kind = BLOCK_AUTO,
	};
	struct image_report report = { 0 };
	struct block *block;
	struct diag diag;

	make(path, IMAGE_DYNAMIC, DISK_BYTES, NULL);
	make(child_path, IMAGE_DIFFERENCING, 0, path);
	make(path, IMAGE_DYNAMIC, DISK_BYTES, NULL); /* another one of the same name */
	assert_int_equal(try_open(child_path, true, &block, &diag), -ESTALE);
	assert_non_null(strstr(diag.text, path));
	assert_int_equal(image_check(child_path, BLOCK_VHD, false, &report, NULL, &diag), 0);
	assert_int_equal(report.errors, 1);
	unlink(path);
	assert_int_equal(try_open(child_path, true, &block, &diag), -ENOENT);
	/* It would be its own parent. */
	assert_int_equal(rename(child_path, path), 0);
	assert_int_equal(try_open(path, true, &block, &diag), -ELOOP);
	unlink(path);
	config.parent_kind = BLOCK_RAW;
	assert_int_equal(image_create(&config, &diag), -EINVAL);
	/* An image is locked by its users: one writer, or readers. */
	make(path, IMAGE_DYNAMIC, DISK_BYTES, NULL);
	make(child_path, IMAGE_DIFFERENCING, 0, path);
	assert_int_equal(try_open(child_path, false, &block, &diag), 0);
	struct block *second;

	assert_int_equal(try_open(path, false, &second, &diag), -EBUSY);
	assert_int_equal(try_open(child_path, true, &second, &diag), -EBUSY);
	block_close(block);
	unlink(child_path);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(geometry_is_the_specifications),
		cmocka_unit_test(footers_say_the_size_that_guests_saw),
		cmocka_unit_test(creating_says_what_cannot_be),
		cmocka_unit_test(a_dynamic_disk_keeps_what_it_is_given),
		cmocka_unit_test(a_fixed_disk_keeps_what_it_is_given),
		cmocka_unit_test(a_chain_keeps_what_each_is_given),
		cmocka_unit_test(requests_at_once_share_new_blocks),
		cmocka_unit_test(bitmaps_come_and_go),
		cmocka_unit_test(errors_are_told_and_forgotten),
		cmocka_unit_test(a_disk_changes_its_size),
		cmocka_unit_test(a_child_keeps_its_parents_size),
		cmocka_unit_test(compacting_gives_back_what_is_empty),
		cmocka_unit_test(damaged_files_get_one_sentence),
		cmocka_unit_test(any_byte_may_be_wrong),
		cmocka_unit_test(a_lost_footer_is_written_again),
		cmocka_unit_test(a_fixed_disk_stays_one),
		cmocka_unit_test(a_child_knows_its_parent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

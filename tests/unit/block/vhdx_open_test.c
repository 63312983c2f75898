/* SPDX-License-Identifier: MIT */
/* VHDX: files that are wrong are refused with a sentence and left alone; parents; examining, mending. */
#include <errno.h>

#include "unit/block/vhdx_rig.h"

#define PATH  "vhdx-open-test.vhdx"
#define BYTES (20 * MIB)
#define BLOCK (1U << 20)

static uint8_t buf[1 << 20] __attribute__((aligned(4096)));
static uint8_t back[1 << 20] __attribute__((aligned(4096)));

static void put(const char *path, uint64_t at, size_t bytes, unsigned int seed)
{
	struct block_sync *sync = rig_open_image(path, false);

	rig_fill(buf, bytes, seed);
	assert_int_equal(block_sync_write(sync, at, buf, bytes), 0);
	rig_close_image(sync);
}

static void expect(const char *path, uint64_t at, size_t bytes, unsigned int seed)
{
	struct block_sync *sync = rig_open_image(path, true);

	rig_fill(buf, bytes, seed);
	assert_int_equal(block_sync_read(sync, at, back, bytes), 0);
	assert_memory_equal(buf, back, bytes);
	rig_close_image(sync);
}

static uint32_t file_crc(const char *path)
{
	uint64_t bytes = rig_size(path);
	uint32_t crc = 0;

	for (uint64_t at = 0; at < bytes; at += sizeof(buf)) {
		size_t n = num_min(sizeof(buf), bytes - at);

		rig_peek(path, at, buf, n);
		crc = crc32c(crc, buf, n);
	}
	return crc;
}

/* ---- malformed files ----------------------------------------------------------------------------- */

struct wrong {
	const char *what; /* in the sentence */
	int err;
	uint64_t at[2]; /* 0: not there */
	uint64_t value;
	size_t bytes;
};

static const struct wrong wrongs[] = {
	{ "vhdxfile", -EINVAL, { 0 }, 0x1122334455667788, 8 },
	{ "version", -EINVAL, { VHDX_HEADER_AT(0) + 66, VHDX_HEADER_AT(1) + 66 }, 2, 2 },
	{ "log at", -EINVAL, { VHDX_HEADER_AT(0) + 68, VHDX_HEADER_AT(1) + 68 }, 1000, 4 },
	{ "log at", -EINVAL, { VHDX_HEADER_AT(0) + 68, VHDX_HEADER_AT(1) + 68 }, 0, 4 },
	{ "log at", -EINVAL, { VHDX_HEADER_AT(0) + 72, VHDX_HEADER_AT(1) + 72 }, ~0xfffffULL, 8 },
	{ "log", -EINVAL, { VHDX_HEADER_AT(0) + 72, VHDX_HEADER_AT(1) + 72 }, 1ULL << 40, 8 },
	{ "valid sequence", -EINVAL, { VHDX_HEADER_AT(0) + 48, VHDX_HEADER_AT(1) + 48 }, 7, 8 },
	{ "regions",
	  -EINVAL,
	  { VHDX_REGION_TABLE_AT(0) + 8, VHDX_REGION_TABLE_AT(1) + 8 },
	  2048,
	  4 },
	{ "block table",
	  -EINVAL,
	  { VHDX_REGION_TABLE_AT(0) + 8, VHDX_REGION_TABLE_AT(1) + 8 },
	  0,
	  4 },
	{ "whole MiB",
	  -EINVAL,
	  { VHDX_REGION_TABLE_AT(0) + 32, VHDX_REGION_TABLE_AT(1) + 32 },
	  4096,
	  8 },
	{ "cut off",
	  -EINVAL,
	  { VHDX_REGION_TABLE_AT(0) + 32, VHDX_REGION_TABLE_AT(1) + 32 },
	  ~0xfffffULL,
	  8 },
	{ "meets",
	  -EINVAL,
	  { VHDX_REGION_TABLE_AT(0) + 32, VHDX_REGION_TABLE_AT(1) + 32 },
	  1 << 20,
	  8 },
	{ "meets",
	  -EINVAL,
	  { VHDX_REGION_TABLE_AT(0) + 32, VHDX_REGION_TABLE_AT(1) + 32 },
	  2 << 20,
	  8 },
	{ "do not know",
	  -EOPNOTSUPP,
	  { VHDX_REGION_TABLE_AT(0) + 16, VHDX_REGION_TABLE_AT(1) + 16 },
	  77,
	  8 },
	{ "metadata table", -EINVAL, { RIG_METADATA_AT }, 0, 8 },
	{ "metadata table", -EINVAL, { RIG_METADATA_AT + 10 }, 2048, 2 },
	{ "metadata item", -EINVAL, { RIG_METADATA_AT + 32 + 16 }, 100, 4 },
	{ "metadata item", -EINVAL, { RIG_METADATA_AT + 32 + 16 }, 0xfffffff0, 4 },
	{ "metadata item", -EINVAL, { RIG_METADATA_AT + 32 + 20 }, 0xffffffff, 4 },
	{ "do not know", -EOPNOTSUPP, { RIG_METADATA_AT + 32 }, 78, 8 },
	{ "lacks", -EINVAL, { RIG_METADATA_AT + 10 }, 4, 2 },
	{ "blocks of", -EINVAL, { RIG_ITEMS_AT }, 3 << 20, 4 },
	{ "blocks of", -EINVAL, { RIG_ITEMS_AT }, 512 << 20, 4 },
	{ "blocks of", -EINVAL, { RIG_ITEMS_AT }, 0, 4 },
	{ "does not say which", -EINVAL, { RIG_ITEMS_AT + 4 }, VHDX_HAS_PARENT, 4 },
	{ "holds a disk", -EINVAL, { RIG_ITEMS_AT + 8 }, 0, 8 },
	{ "holds a disk", -EINVAL, { RIG_ITEMS_AT + 8 }, 1000, 8 },
	{ "holds a disk", -EINVAL, { RIG_ITEMS_AT + 8 }, ~511ULL, 8 },
	{ "no room", -EINVAL, { RIG_ITEMS_AT + 8 }, 64ULL << 40, 8 },
	{ "sectors of", -EINVAL, { RIG_ITEMS_AT + 32 }, 1024, 4 },
	{ "sectors of", -EINVAL, { RIG_ITEMS_AT + 40 }, 0, 4 },
	{ "unknown state", -EINVAL, { RIG_BAT_AT + 8 }, 4, 8 },
	{ "no parent", -EINVAL, { RIG_BAT_AT + 8 }, (4 << 20) | 7, 8 },
	{ "header", -EINVAL, { RIG_BAT_AT + 8 }, 6, 8 },
	{ "beyond the end", -EINVAL, { RIG_BAT_AT + 8 }, 6 | 1ULL << 45, 8 },
	{ "beyond the end", -EINVAL, { RIG_BAT_AT + 8 }, 6 | ~0xfffffULL, 8 },
	{ "something else", -EINVAL, { RIG_BAT_AT + 8 }, (4 << 20) | 6, 8 },
	{ "something else", -EINVAL, { RIG_BAT_AT + 8 }, (1 << 20) | 6, 8 },
};

static void wrong_files_are_refused_and_left_alone(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(wrongs); i++) {
		const struct wrong *wrong = &wrongs[i];
		struct block *block = NULL;
		uint32_t crc;

		rig_create_image(PATH, IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
		put(PATH, 0, 4096, 1);
		rig_poke(PATH, wrong->at[0], &wrong->value, wrong->bytes);
		if (wrong->at[1]) {
			rig_poke(PATH, wrong->at[1], &wrong->value, wrong->bytes);
		}
		rig_sum_all(PATH);
		crc = file_crc(PATH);
		for (int read_only = 0; read_only < 2; read_only++) {
			assert_int_equal(rig_try_open(PATH, read_only, &block), wrong->err);
			assert_null(block);
			if (!strstr(rig_diag.text, wrong->what) || !strstr(rig_diag.text, PATH)) {
				fail_msg("%zu: %s: %s", i, wrong->what, rig_diag.text);
			}
		}
		assert_int_equal(file_crc(PATH), crc);
	}
	unlink(PATH);
}

/* At any length: an error, or what there was. */
static void cut_off_files_are_refused(void **state)
{
	static const uint64_t sizes[] = {
		512,     4096,    65536,         MIB - 512, MIB,
		2 * MIB, 3 * MIB, 4 * MIB - 512, 4 * MIB,   5 * MIB - 512
	};
	struct block *block;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		rig_create_image(PATH, IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
		put(PATH, 0, 4096, 1);
		assert_int_equal(rig_size(PATH), 5 * MIB);
		assert_int_equal(truncate(PATH, (off_t)sizes[i]), 0);
		assert_int_equal(rig_try_open(PATH, false, &block), -EINVAL);
		assert_non_null(strstr(rig_diag.text, PATH));
		assert_int_equal(rig_size(PATH), sizes[i]);
	}
	unlink(PATH);
}

/* One copy of the header, and of the region table, is enough. */
static void one_copy_is_enough(void **state)
{
	for (unsigned int i = 0; i < 4; i++) {
		uint64_t at = i < 2 ? VHDX_HEADER_AT(i) : VHDX_REGION_TABLE_AT(i - 2);
		struct image_report report = { 0 };

		rig_create_image(PATH, IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
		put(PATH, MIB, 4096, 2);
		rig_poke(PATH, at + 8, "damage", 6);
		expect(PATH, MIB, 4096, 2);
		assert_int_equal((vhdx_image_ops.check)(PATH, false, &report, NULL, &rig_diag), 0);
		assert_int_equal(report.errors, 1);
		assert_int_equal((vhdx_image_ops.check)(PATH, true, &report, NULL, &rig_diag), 0);
		assert_int_equal(report.repaired, 1);
		rig_check_clean(PATH);
		expect(PATH, MIB, 4096, 2);
	}
	unlink(PATH);
}

/* ---- parents ------------------------------------------------------------------------------------- */

static void children_read_through_their_parents(void **state)
{
	rig_create_image("vhdx-a.vhdx", IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
	put("vhdx-a.vhdx", 2 * MIB, 65536, 1);
	rig_create_image("vhdx-b.vhdx", IMAGE_DIFFERENCING, 0, 2 * BLOCK, "vhdx-a.vhdx");
	put("vhdx-b.vhdx", 2 * MIB + 512, 512, 2);
	rig_create_image("vhdx-c.vhdx", IMAGE_DIFFERENCING, 0, BLOCK, "vhdx-b.vhdx");
	put("vhdx-c.vhdx", 2 * MIB + 1024, 512, 3);
	expect("vhdx-c.vhdx", 2 * MIB + 1024, 512, 3);
	expect("vhdx-c.vhdx", 2 * MIB + 512, 512, 2);
	expect("vhdx-c.vhdx", 2 * MIB, 512, 1);
	rig_check_clean("vhdx-c.vhdx");
	rig_check_clean("vhdx-b.vhdx");
}

static void discarded_sectors_of_a_child_hide_the_parent(void **state)
{
	struct block_sync *sync = rig_open_image("vhdx-c.vhdx", false);
	struct block_map map;

	assert_int_equal(block_sync_map(sync, 2 * MIB, MIB, &map), 0);
	assert_int_equal(map.kind, BLOCK_MAP_PARENT);
	assert_int_equal(map.bytes, 1024);
	assert_int_equal(block_sync_discard(sync, 2 * MIB + 512, 512), 0);
	assert_int_equal(block_sync_write_zeroes(sync, 3 * MIB - 512, 512, false), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(block_sync_read(sync, 2 * MIB + 512, back, 512), 0);
		assert_true(rig_is_zero(back, 512));
		assert_int_equal(block_sync_read(sync, 2 * MIB + 2048, back, 512), 0);
		assert_false(rig_is_zero(back, 512));
		rig_close_image(sync);
		sync = rig_open_image("vhdx-c.vhdx", false);
	}
	assert_int_equal(block_sync_discard(sync, 2 * MIB, MIB), 0);
	assert_int_equal(block_sync_read(sync, 2 * MIB, back, MIB), 0);
	assert_true(rig_is_zero(back, MIB));
	rig_close_image(sync);
	rig_check_clean("vhdx-c.vhdx");
}

static void a_changed_or_lost_parent_is_refused(void **state)
{
	struct block *block;

	assert_int_equal(rename("vhdx-b.vhdx", "vhdx-moved.vhdx"), 0);
	assert_int_equal(rig_try_open("vhdx-c.vhdx", true, &block), -ENOENT);
	assert_non_null(strstr(rig_diag.text, "vhdx-b.vhdx"));
	assert_int_equal(rename("vhdx-moved.vhdx", "vhdx-b.vhdx"), 0);
	put("vhdx-b.vhdx", 0, 512, 9);
	assert_int_equal(rig_try_open("vhdx-c.vhdx", true, &block), -ESTALE);
	assert_non_null(strstr(rig_diag.text, "changed"));
}

/* A file that names itself. */
static void cycles_are_refused(void **state)
{
	struct block *block;

	rig_create_image("vhdx-a.vhdx", IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
	rig_create_image("vhdx-b.vhdx", IMAGE_DIFFERENCING, 0, BLOCK, "vhdx-a.vhdx");
	assert_int_equal(rename("vhdx-b.vhdx", "vhdx-a.vhdx"), 0);
	assert_int_equal(rig_try_open("vhdx-a.vhdx", true, &block), -ELOOP);
	assert_non_null(strstr(rig_diag.text, "chain of parents"));
	unlink("vhdx-a.vhdx");
	unlink("vhdx-c.vhdx");
}

static void long_chains_are_refused(void **state)
{
	struct block *block;
	char path[32], parent[32];
	int i;

	rig_create_image("vhdx-chain-0", IMAGE_DYNAMIC, MIB, BLOCK, NULL);
	for (i = 1; i < BLOCK_CHAIN_MAX; i++) {
		struct image_create_config config = { .kind = BLOCK_VHDX,
						      .layout = IMAGE_DIFFERENCING,
						      .path = path,
						      .parent_path = parent,
						      .parent_kind = BLOCK_VHDX };

		snprintf(path, sizeof(path), "vhdx-chain-%d", i);
		snprintf(parent, sizeof(parent), "vhdx-chain-%d", i - 1);
		unlink(path);
		assert_int_equal((vhdx_image_ops.create)(&config, &rig_diag), 0);
	}
	assert_int_equal(rig_try_open(path, true, &block), 0);
	block_close(block);
	snprintf(parent, sizeof(parent), "%s", path);
	rig_create_image("vhdx-chain-last", IMAGE_DIFFERENCING, 0, BLOCK, parent);
	assert_int_equal(rig_try_open("vhdx-chain-last", true, &block), -EMLINK);
	unlink("vhdx-chain-last");
	while (i-- > 0) {
		snprintf(path, sizeof(path), "vhdx-chain-%d", i);
		unlink(path);
	}
}

static uint16_t put_wide(uint8_t *to, const char *text)
{
	uint16_t bytes = 0;

	for (; *text; text++) {
		bytes_put_le16(to + bytes, (uint8_t)*text);
		bytes = (uint16_t)(bytes + 2);
	}
	return bytes;
}

/* In place of the locator of a child: its parent's state under this key, and one path. */
static void put_locator(const char *path, const char *parent, const char *key, const char *value,
			const char *linkage_key)
{
	static const struct guid type = VHDX_LOCATOR_VHDX;
	const char *texts[4] = { linkage_key, NULL, key, value };
	struct vhdx_locator_header head = { .type = type, .count = 2 };
	char guid[GUID_STRING_BYTES], linkage[GUID_STRING_BYTES + 2];
	struct vhdx_locator_entry entries[2];
	struct vhdx_header header;
	uint8_t item[1024] = { 0 };
	uint16_t bytes[4];
	uint32_t at = sizeof(head) + sizeof(entries), offsets[4];

	rig_peek(parent, VHDX_HEADER_AT(1), &header, sizeof(header));
	snprintf(linkage, sizeof(linkage), "{%s}", guid_format(&header.data_write, guid));
	texts[1] = linkage;
	for (int i = 0; i < 4; i++) {
		offsets[i] = at;
		bytes[i] = put_wide(item + at, texts[i]);
		at += bytes[i];
	}
	for (int i = 0; i < 2; i++) {
		entries[i] = (struct vhdx_locator_entry){ offsets[2 * i], offsets[2 * i + 1],
							  bytes[2 * i], bytes[2 * i + 1] };
	}
	memcpy(item, &head, sizeof(head));
	memcpy(item + sizeof(head), entries, sizeof(entries));
	rig_poke(path, RIG_ITEMS_AT + 48, item, sizeof(item));
	rig_poke(path, RIG_METADATA_AT + 32 + 5 * 32 + 20, &at, 4);
}

/* As Hyper-V writes them: what can be found here is. */
static void windows_paths_lead_to_the_parent(void **state)
{
	static const struct {
		const char *key, *value;
		int err;
	} paths[] = {
		{ "relative_path", ".\\vhdx-dir\\parent.vhdx", 0 },
		{ "relative_path", "vhdx-dir\\..\\vhdx-dir\\parent.vhdx", 0 },
		{ "absolute_win32_path", "\\\\?\\C:\\nowhere\\vhdx-beside.vhdx", 0 },
		{ "absolute_win32_path", "D:\\vhdx-beside.vhdx", 0 },
		{ "volume_path",
		  "\\\\?\\Volume{26a21bda-a627-11d7-9931-806e6f6e6963}\\x\\vhdx-beside.vhdx", 0 },
		{ "relative_path", "..\\lost.vhdx", -ENOENT },
		{ "unheard_of", "vhdx-beside.vhdx", -ENOENT },
	};
	struct block *block;

	(void)mkdir("vhdx-dir", 0777);
	rig_create_image("vhdx-dir/parent.vhdx", IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
	put("vhdx-dir/parent.vhdx", MIB, 512, 4);
	rig_create_image(PATH, IMAGE_DIFFERENCING, 0, BLOCK, "vhdx-dir/parent.vhdx");
	unlink("vhdx-beside.vhdx");
	assert_int_equal(link("vhdx-dir/parent.vhdx", "vhdx-beside.vhdx"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		put_locator(PATH, "vhdx-dir/parent.vhdx", paths[i].key, paths[i].value,
			    i % 2 ? "parent_linkage" : "parent_linkage2");
		if (paths[i].err) {
			assert_int_equal(rig_try_open(PATH, true, &block), paths[i].err);
		} else {
			expect(PATH, MIB, 512, 4);
		}
	}
	put_locator(PATH, "vhdx-dir/parent.vhdx", "x", "y", "no_linkage");
	assert_int_equal(rig_try_open(PATH, true, &block), -EINVAL);
	unlink("vhdx-dir/parent.vhdx");
	unlink("vhdx-beside.vhdx");
	rmdir("vhdx-dir");
	unlink(PATH);
}

/* A child whose sector bitmap is only in the log: laid over, and the file stays as it is. */
static void read_only_replays_in_memory(void **state)
{
	struct block_fail *fail;
	struct block_sync *sync;
	uint32_t crc;

	rig_create_image("vhdx-a.vhdx", IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
	put("vhdx-a.vhdx", MIB, 4096, 1);
	rig_create_image(PATH, IMAGE_DIFFERENCING, 0, BLOCK, "vhdx-a.vhdx");
	sync = rig_open_failing(PATH, &fail);
	block_fail_at(fail, BLOCK_WRITE, 4 * MIB, -EIO); /* where the bitmap is */
	rig_fill(buf, 512, 2);
	assert_int_equal(block_sync_write(sync, MIB + 512, buf, 512), 0);
	assert_int_equal(block_sync_flush(sync), 0);
	rig_close_image(sync);
	crc = file_crc(PATH);
	expect(PATH, MIB + 512, 512, 2);
	expect(PATH, MIB, 512, 1);
	assert_int_equal(file_crc(PATH), crc);
	sync = rig_open_image(PATH, false);
	rig_close_image(sync);
	assert_int_not_equal(file_crc(PATH), crc);
	expect(PATH, MIB + 512, 512, 2);
	expect(PATH, MIB, 512, 1);
	rig_check_clean(PATH);
	unlink(PATH);
	unlink("vhdx-a.vhdx");
}

/* ---- making, examining, shrinking ---------------------------------------------------------------- */

static void create_refuses_nonsense_and_leaves_nothing(void **state)
{
	static const struct image_create_config wrong[] = {
		{ .bytes = 0 },
		{ .bytes = 1000 },
		{ .bytes = 65ULL << 40 },
		{ .bytes = MIB, .block_bytes = 12345 },
		{ .bytes = MIB, .block_bytes = 512 << 20 },
		{ .bytes = MIB, .logical_block_bytes = 2048 },
		{ .bytes = MIB, .physical_block_bytes = 1 },
		{ .layout = IMAGE_DIFFERENCING },
		{ .layout = IMAGE_DIFFERENCING, .parent_path = "no-such-image.vhdx" },
		{ .layout = IMAGE_DIFFERENCING, .parent_path = "x", .parent_kind = BLOCK_VHD },
	};

	unlink(PATH);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct image_create_config config = wrong[i];

		config.kind = BLOCK_VHDX;
		config.path = PATH;
		if (config.parent_kind == BLOCK_RAW) {
			config.parent_kind = BLOCK_AUTO;
		}
		assert_true((vhdx_image_ops.create)(&config, &rig_diag) < 0);
		assert_int_equal(access(PATH, F_OK), -1);
	}
	rig_create_image(PATH, IMAGE_DYNAMIC, MIB, 0, NULL);
	struct image_create_config again = { .kind = BLOCK_VHDX, .path = PATH, .bytes = MIB };

	assert_int_equal((vhdx_image_ops.create)(&again, &rig_diag), -EEXIST);
	assert_int_equal(access(PATH, F_OK), 0);
	unlink(PATH);
}

static void check_drops_what_names_air_and_cuts_the_tail(void **state)
{
	uint64_t nowhere = 1ULL << 40 | VHDX_FULLY_PRESENT;
	struct image_report report = { 0 };

	rig_create_image(PATH, IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
	put(PATH, 0, 4096, 3);
	rig_poke(PATH, RIG_BAT_AT + 40, &nowhere, 8);
	assert_int_equal(truncate(PATH, 9 * MIB), 0);
	assert_int_equal((vhdx_image_ops.check)(PATH, false, &report, NULL, &rig_diag), 0);
	assert_int_equal(report.errors, 1);
	assert_int_equal(report.leaks, 4);
	assert_int_equal((vhdx_image_ops.check)(PATH, true, &report, NULL, &rig_diag), 0);
	assert_int_equal(report.repaired, 1); /* the tail is left while something is wrong */
	assert_int_equal((vhdx_image_ops.check)(PATH, true, &report, NULL, &rig_diag), 0);
	assert_int_equal(report.errors, 0);
	assert_int_equal(report.repaired, 4);
	assert_int_equal(rig_size(PATH), 5 * MIB);
	rig_check_clean(PATH);
	expect(PATH, 0, 4096, 3);
	rig_poke(PATH, 0, "nothing", 7);
	assert_int_equal((vhdx_image_ops.check)(PATH, true, &report, NULL, &rig_diag), -EINVAL);
	unlink(PATH);
}

static void compact_gives_zeroes_back_and_moves_the_rest(void **state)
{
	uint64_t saved = 0;

	rig_create_image(PATH, IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
	for (unsigned int i = 0; i < 10; i++) {
		put(PATH, i * MIB, MIB, i);
	}
	for (unsigned int i = 0; i < 8; i++) {
		struct block_sync *sync = rig_open_image(PATH, false);

		memset(buf, 0, sizeof(buf));
		assert_int_equal(block_sync_write(sync, i * MIB, buf, MIB), 0);
		rig_close_image(sync);
	}
	assert_int_equal(rig_size(PATH), 14 * MIB);
	assert_int_equal((vhdx_image_ops.compact)(PATH, NULL, &saved, &rig_diag), 0);
	assert_int_equal(saved, 8 * MIB);
	assert_int_equal(rig_size(PATH), 6 * MIB);
	rig_check_clean(PATH);
	expect(PATH, 8 * MIB, MIB, 8);
	expect(PATH, 9 * MIB, MIB, 9);
	unlink(PATH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_files_are_refused_and_left_alone),
		cmocka_unit_test(cut_off_files_are_refused),
		cmocka_unit_test(one_copy_is_enough),
		cmocka_unit_test(children_read_through_their_parents),
		cmocka_unit_test(discarded_sectors_of_a_child_hide_the_parent),
		cmocka_unit_test(a_changed_or_lost_parent_is_refused),
		cmocka_unit_test(windows_paths_lead_to_the_parent),
		cmocka_unit_test(read_only_replays_in_memory),
		cmocka_unit_test(cycles_are_refused),
		cmocka_unit_test(long_chains_are_refused),
		cmocka_unit_test(create_refuses_nonsense_and_leaves_nothing),
		cmocka_unit_test(check_drops_what_names_air_and_cuts_the_tail),
		cmocka_unit_test(compact_gives_zeroes_back_and_moves_the_rest),
	};

	return cmocka_run_group_tests_name("block/vhdx_open", tests, NULL, NULL);
}

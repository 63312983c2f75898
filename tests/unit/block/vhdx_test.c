/* SPDX-License-Identifier: MIT */
/* VHDX: reading, writing, discarding, resizing, mapping; what flushes cost; errors of the file. */
#include "unit/block/vhdx_rig.h"

#define PATH  "vhdx-test.vhdx"
#define BYTES (20 * MIB + 1536)
#define BLOCK (1U << 20)

static uint8_t buf[3 << 20] __attribute__((aligned(4096)));
static uint8_t back[3 << 20] __attribute__((aligned(4096)));

static void expect(struct block_sync *sync, uint64_t at, size_t bytes, unsigned int seed)
{
	rig_fill(buf, bytes, seed);
	memset(back, 0xee, bytes);
	assert_int_equal(block_sync_read(sync, at, back, bytes), 0);
	assert_memory_equal(buf, back, bytes);
}

static void expect_zero(struct block_sync *sync, uint64_t at, size_t bytes)
{
	memset(back, 0xee, bytes);
	assert_int_equal(block_sync_read(sync, at, back, bytes), 0);
	assert_true(rig_is_zero(back, bytes));
}

static void put(struct block_sync *sync, uint64_t at, size_t bytes, unsigned int seed)
{
	rig_fill(buf, bytes, seed);
	assert_int_equal(block_sync_write(sync, at, buf, bytes), 0);
}

/* Nothing is there; a write makes a block, whose rest is zero; all of it is there after a reopening. */
static void what_is_written_is_read(void **state)
{
	struct block_sync *sync;

	rig_create_image(PATH, IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
	sync = rig_open_image(PATH, false);
	assert_int_equal(block_info(block_sync_block(sync))->bytes, BYTES);
	expect_zero(sync, 0, sizeof(back));
	put(sync, 5 * MIB + 512, 1024, 1);
	put(sync, 7 * MIB - 4096, 8192, 2); /* two blocks */
	put(sync, BYTES - 512, 512, 3);
	for (int i = 0; i < 2; i++) {
		expect(sync, 5 * MIB + 512, 1024, 1);
		expect(sync, 7 * MIB - 4096, 8192, 2);
		expect(sync, BYTES - 512, 512, 3);
		expect_zero(sync, 5 * MIB, 512);
		expect_zero(sync, 5 * MIB + 1536, MIB - 1536);
		expect_zero(sync, 8 * MIB, 2 * MIB);
		rig_close_image(sync);
		sync = rig_open_image(PATH, i == 0);
	}
	rig_close_image(sync);
	rig_check_clean(PATH);
	/* 4 MiB of structures, 4 blocks, and nothing at the end. */
	assert_int_equal(rig_size(PATH), 8 * MIB);
	unlink(PATH);
}

static void fixed_has_all_its_space(void **state)
{
	struct block_sync *sync;
	struct stat st;

	rig_create_image(PATH, IMAGE_FIXED, BYTES, BLOCK, NULL);
	assert_int_equal(rig_size(PATH), 4 * MIB + 21 * MIB);
	assert_int_equal(stat(PATH, &st), 0);
	assert_true((uint64_t)st.st_blocks * 512 >= 21 * MIB);
	sync = rig_open_image(PATH, false);
	expect_zero(sync, 3 * MIB, MIB);
	put(sync, 3 * MIB + 512, 512, 4);
	assert_int_equal(block_sync_discard(sync, 0, 2 * MIB), 0);
	assert_int_equal(block_sync_resize(sync, 2 * BYTES), -EOPNOTSUPP);
	expect(sync, 3 * MIB + 512, 512, 4);
	rig_close_image(sync);
	rig_check_clean(PATH);
	assert_int_equal(rig_size(PATH), 4 * MIB + 21 * MIB);
	unlink(PATH);
}

/* Whole blocks go back to the file, which is used again; parts become zero where they are. */
static void discarded_space_is_zero_and_used_again(void **state)
{
	struct block_sync *sync;

	rig_create_image(PATH, IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
	sync = rig_open_image(PATH, false);
	for (int round = 0; round < 10; round++) {
		put(sync, 2 * MIB, 3 * MIB, 5);
		put(sync, 6 * MIB, 1024, 6);
		assert_int_equal(block_sync_discard(sync, 2 * MIB + 512, 2 * MIB), 0);
		expect_zero(sync, 2 * MIB + 512, 2 * MIB);
		rig_fill(buf, 3 << 20, 5);
		assert_int_equal(block_sync_read(sync, 4 * MIB + 512, back, 4096), 0);
		assert_memory_equal(buf + 2 * MIB + 512, back, 4096);
		assert_int_equal(block_sync_write_zeroes(sync, 2 * MIB, 3 * MIB, true), 0);
		expect_zero(sync, 2 * MIB, 3 * MIB);
		assert_int_equal(block_sync_write_zeroes(sync, 6 * MIB, 512, false), 0);
		expect_zero(sync, 6 * MIB, 512);
	}
	put(sync, 2 * MIB, 512, 7); /* into a block that is on its way out */
	expect(sync, 2 * MIB, 512, 7);
	expect_zero(sync, 2 * MIB + 512, MIB - 512);
	rig_close_image(sync);
	rig_check_clean(PATH);
	assert_true(rig_size(PATH) <= 10 * MIB);
	unlink(PATH);
}

static uint64_t flushes_below(struct block_sync *sync)
{
	return block_read_stats(block_lower(block_sync_block(sync)))->flushes;
}

/* A flush with nothing pending is one of the file; with changed tables, one and a durable entry. */
static void flushes_cost_what_is_pending(void **state)
{
	struct block_fail *fail;
	struct block_sync *sync;
	const struct block_stats *below;
	uint64_t flushes, writes;

	rig_create_image(PATH, IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
	sync = rig_open_failing(PATH, &fail);
	below = block_read_stats(block_fail_block(fail));
	put(sync, 0, 4096, 1);
	assert_int_equal(block_sync_flush(sync), 0);
	put(sync, 4096, 4096, 2);
	assert_int_equal(block_sync_flush(sync), 0);
	flushes = flushes_below(sync);
	writes = below->writes;
	put(sync, 8192, 4096, 3);
	assert_int_equal(below->writes, writes + 1);
	put(sync, 5 * MIB, 4096, 4);
	put(sync, 7 * MIB, 4096, 4);
	assert_int_equal(below->writes, writes + 3);
	assert_int_equal(flushes_below(sync), flushes);
	assert_int_equal(block_sync_flush(sync), 0);
	assert_int_equal(flushes_below(sync), flushes + 1);
	/* The entry, and the table's page in its place. */
	while (below->writes < writes + 5) {
		loop_turn(block_sync_loop(sync));
	}
	assert_int_equal(flushes_below(sync), flushes + 1);
	rig_close_image(sync);
	rig_check_clean(PATH);
	unlink(PATH);
}

static void disks_grow_and_shrink(void **state)
{
	struct block_sync *sync;

	rig_create_image(PATH, IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
	sync = rig_open_image(PATH, false);
	put(sync, BYTES - 512, 512, 1);
	assert_int_equal(block_sync_resize(sync, 600 * MIB), 0);
	assert_int_equal(block_info(block_sync_block(sync))->bytes, 600 * MIB);
	expect(sync, BYTES - 512, 512, 1);
	expect_zero(sync, BYTES, MIB);
	put(sync, 600 * MIB - 512, 512, 2);
	assert_int_equal(block_sync_resize(sync, 500 * MIB), -EBUSY);
	assert_int_equal(block_sync_discard(sync, 599 * MIB, MIB), 0);
	assert_int_equal(block_sync_resize(sync, BYTES), 0);
	assert_int_equal(block_sync_read(sync, BYTES, back, 512), -EINVAL);
	/* What is cut off of a block does not come back. */
	put(sync, BYTES - 1024, 1024, 3);
	assert_int_equal(block_sync_resize(sync, BYTES - 512), 0);
	assert_int_equal(block_sync_resize(sync, BYTES), 0);
	expect_zero(sync, BYTES - 512, 512);
	/* More than the table has room for. */
	assert_int_equal(block_sync_resize(sync, 64ULL << 40), -EFBIG);
	assert_int_equal(block_sync_resize(sync, 65ULL << 40), -EFBIG);
	rig_close_image(sync);
	rig_check_clean(PATH);
	sync = rig_open_image(PATH, true);
	assert_int_equal(block_info(block_sync_block(sync))->bytes, BYTES);
	rig_close_image(sync);
	unlink(PATH);
}

static void map_tells_data_from_zeroes(void **state)
{
	struct block_sync *sync;
	struct block_map map;

	rig_create_image(PATH, IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
	sync = rig_open_image(PATH, false);
	put(sync, 2 * MIB, 2 * MIB, 1);
	assert_int_equal(block_sync_map(sync, 512, 10 * MIB, &map), 0);
	assert_int_equal(map.kind, BLOCK_MAP_ZERO);
	assert_int_equal(map.bytes, 2 * MIB - 512);
	assert_int_equal(block_sync_map(sync, 2 * MIB + 512, 10 * MIB, &map), 0);
	assert_int_equal(map.kind, BLOCK_MAP_DATA);
	assert_int_equal(map.bytes, 2 * MIB - 512);
	assert_int_equal(map.file_offset_bytes, 4 * MIB + 512);
	assert_int_equal(block_sync_map(sync, BYTES - 512, 512, &map), 0);
	assert_int_equal(map.bytes, 512);
	rig_close_image(sync);
	unlink(PATH);
}

/* ---- errors of the file -------------------------------------------------------------------------- */

/* Each request below fails once: somebody is told, nothing is lost that was promised, all goes on. */
static void errors_are_told_and_nothing_is_lost(void **state)
{
	static const enum block_op ops[] = { BLOCK_WRITE, BLOCK_FLUSH, BLOCK_RESIZE,
					     BLOCK_DISCARD };

	for (unsigned int which = 0; which < ARRAY_SIZE(ops) * 5; which++) {
		unsigned int n = which / ARRAY_SIZE(ops) + 1;
		struct block_fail *fail;
		struct block_sync *sync;
		bool told = false, flushed;

		rig_create_image(PATH, IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
		sync = rig_open_failing(PATH, &fail);
		put(sync, 10 * MIB, 4096, 9);
		assert_int_equal(block_sync_flush(sync), 0);
		block_fail_nth(fail, ops[which % ARRAY_SIZE(ops)], n, -EIO);
		rig_fill(buf, 8192, 1);
		for (unsigned int i = 0; i < 4; i++) {
			told = block_sync_write(sync, i * MIB, buf, 8192) < 0 || told;
			told = block_sync_flush(sync) < 0 || told;
		}
		told = block_sync_discard(sync, 10 * MIB, MIB) < 0 || told;
		block_fail_nth(fail, ops[which % ARRAY_SIZE(ops)], 0, 0);
		flushed = block_sync_write(sync, 8 * MIB, buf, 8192) == 0 &&
			  block_sync_flush(sync) == 0;
		/* Nothing but a table's own place is beyond another try. */
		assert_true(flushed || told || ops[which % ARRAY_SIZE(ops)] == BLOCK_WRITE);
		rig_close_image(sync);
		sync = rig_open_image(PATH, false);
		if (flushed) {
			expect(sync, 8 * MIB, 8192, 1);
		}
		for (unsigned int i = 0; i < 4 && !told; i++) {
			expect(sync, i * MIB, 8192, 1);
		}
		rig_close_image(sync);
		rig_check_clean(PATH);
	}
	unlink(PATH);
}

/* The log cannot be written: flushes and writes with fua say so, however often. */
static void a_log_that_cannot_be_written_is_no_silent_loss(void **state)
{
	struct block_fail *fail;
	struct block_sync *sync;

	rig_create_image(PATH, IMAGE_DYNAMIC, BYTES, BLOCK, NULL);
	sync = rig_open_failing(PATH, &fail);
	put(sync, 0, 4096, 1);
	block_fail_at(fail, BLOCK_WRITE, RIG_LOG_AT, -EIO);
	assert_int_equal(block_sync_flush(sync), -EIO);
	assert_int_equal(block_sync_flush(sync), -EIO);
	block_fail_at(fail, BLOCK_WRITE, RIG_LOG_AT, 0);
	assert_int_equal(block_sync_flush(sync), 0);
	/* The table's own place cannot be written: what the log holds stays, and no more is taken. */
	block_fail_at(fail, BLOCK_WRITE, RIG_BAT_AT, -EIO);
	put(sync, 2 * MIB, 4096, 2);
	assert_int_equal(block_sync_flush(sync), 0);
	while (block_sync_write(sync, 3 * MIB, buf, 4096) == 0) {}
	assert_int_equal(block_sync_write(sync, 3 * MIB, buf, 4096), -EIO);
	assert_int_equal(block_sync_flush(sync), -EIO);
	expect(sync, 2 * MIB, 4096, 2);
	rig_close_image(sync);
	sync = rig_open_image(PATH, true); /* replayed in memory */
	expect(sync, 0, 4096, 1);
	expect(sync, 2 * MIB, 4096, 2);
	rig_close_image(sync);
	sync = rig_open_image(PATH, false);
	expect(sync, 2 * MIB, 4096, 2);
	rig_close_image(sync);
	rig_check_clean(PATH);
	unlink(PATH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(fixed_has_all_its_space),
		cmocka_unit_test(discarded_space_is_zero_and_used_again),
		cmocka_unit_test(flushes_cost_what_is_pending),
		cmocka_unit_test(disks_grow_and_shrink),
		cmocka_unit_test(map_tells_data_from_zeroes),
		cmocka_unit_test(errors_are_told_and_nothing_is_lost),
		cmocka_unit_test(a_log_that_cannot_be_written_is_no_silent_loss),
	};

	return cmocka_run_group_tests_name("block/vhdx", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <errno.h>

struct scratch {
	uint64_t last_offset, last_value;
	unsigned int reads, writes;
};

static uint64_t scratch_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	struct scratch *s = ctx;

	s->reads++;
	s->last_offset = offset;
	return 0x8877665544332211ULL;
}

static void scratch_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct scratch *s = ctx;

	s->writes++;
	s->last_offset = offset;
	s->last_value = value;
}

static const struct io_region_ops ops = { scratch_read, scratch_write };

static void accesses_reach_their_region(void **state)
{
	struct scratch a = { 0 }, b = { 0 };
	struct rig rig;
	uint64_t wide;

	rig_init(&rig);
	assert_int_equal(
		chipset_pio_add(rig.chipset, &(struct io_region){ &ops, &b, 0x200, 4, "b" }), 0);
	assert_int_equal(
		chipset_pio_add(rig.chipset, &(struct io_region){ &ops, &a, 0x100, 8, "a" }), 0);
	assert_int_equal(
		chipset_mmio_add(rig.chipset, &(struct io_region){ &ops, &a, 0x1000, 16, "m" }), 0);

	assert_int_equal(rig_in(&rig, 0x107), 0x11);
	assert_int_equal(a.last_offset, 7);
	rig_out16(&rig, 0x202, 0xbeef);
	assert_int_equal(b.last_offset, 2);
	assert_int_equal(b.last_value, 0xbeef);
	assert_true(chipset_mmio(rig.chipset, 0x1008, false, &wide, 8));
	assert_true(wide == 0x8877665544332211ULL);
	rig_fini(&rig);
}

static void nobody_answers_with_all_ones(void **state)
{
	struct scratch a = { 0 };
	struct rig rig;
	uint8_t bytes[8] = { 0 };

	rig_init(&rig);
	assert_int_equal(
		chipset_pio_add(rig.chipset, &(struct io_region){ &ops, &a, 0x100, 8, "a" }), 0);
	assert_false(chipset_pio(rig.chipset, 0x90, false, bytes, 4, 2));
	for (size_t i = 0; i < sizeof(bytes); i++) {
		assert_int_equal(bytes[i], 0xff);
	}
	/* Across the end. */
	assert_false(chipset_pio(rig.chipset, 0x106, false, bytes, 4, 1));
	assert_false(chipset_pio(rig.chipset, 0xffff, true, bytes, 4, 1));
	assert_int_equal(a.reads + a.writes, 0);
	rig_fini(&rig);
}

static void strings_are_one_access_each(void **state)
{
	struct scratch a = { 0 };
	struct rig rig;
	uint8_t bytes[6] = { 1, 2, 3, 4, 5, 6 };

	rig_init(&rig);
	assert_int_equal(
		chipset_pio_add(rig.chipset, &(struct io_region){ &ops, &a, 0x100, 8, "a" }), 0);
	assert_true(chipset_pio(rig.chipset, 0x100, true, bytes, 2, 3));
	assert_int_equal(a.writes, 3);
	assert_int_equal(a.last_value, 0x0605);
	assert_int_equal(a.last_offset, 0);
	rig_fini(&rig);
}

static void regions_do_not_overlap(void **state)
{
	struct scratch a = { 0 };
	struct rig rig;

	rig_init(&rig);
	assert_int_equal(
		chipset_pio_add(rig.chipset, &(struct io_region){ &ops, &a, 0x100, 8, "a" }), 0);
	assert_int_equal(
		chipset_pio_add(rig.chipset, &(struct io_region){ &ops, &a, 0x107, 1, "x" }),
		-EEXIST);
	assert_int_equal(
		chipset_pio_add(rig.chipset, &(struct io_region){ &ops, &a, 0xff, 2, "x" }),
		-EEXIST);
	for (uint64_t i = 1; i < CHIPSET_REGIONS_MAX; i++) {
		struct io_region region = { &ops, &a, 0x200 + i, 1, "x" };

		assert_int_equal(chipset_pio_add(rig.chipset, &region), 0);
	}
	assert_int_equal(
		chipset_pio_add(rig.chipset, &(struct io_region){ &ops, &a, 0x400, 1, "x" }),
		-ENOSPC);
	chipset_remove(rig.chipset, &a);
	assert_int_equal(rig_in(&rig, 0x100), 0xff);
	rig_fini(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accesses_reach_their_region),
		cmocka_unit_test(nobody_answers_with_all_ones),
		cmocka_unit_test(strings_are_one_access_each),
		cmocka_unit_test(regions_do_not_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

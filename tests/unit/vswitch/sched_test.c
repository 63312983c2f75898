/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/sched.h"

static void a_turn_is_as_long_as_the_weight_says(void **state)
{
	(void)state;
	struct sched_entry heavy, light;
	struct sched sched = { .heaviest = 100 };
	unsigned int frames[2] = { 0 };

	sched_entry_init(&heavy, 100);
	sched_entry_init(&light, 25);
	for (unsigned int i = 0; i < 1000; i++) {
		sched_turn(&sched, &heavy, 1);
		for (; sched_may_send(&heavy); frames[0]++) {
			sched_charge(&heavy, sched_cost(1500));
		}
		sched_turn(&sched, &light, 1);
		for (; sched_may_send(&light); frames[1]++) {
			sched_charge(&light, sched_cost(1500));
		}
	}
	assert_in_range(frames[0], frames[1] * 39 / 10, frames[1] * 41 / 10);
}

static void an_unused_turn_is_not_kept(void **state)
{
	(void)state;
	struct sched sched = { .heaviest = 100 };
	struct sched_entry entry;

	sched_entry_init(&entry, 100);
	for (unsigned int i = 0; i < 50; i++) {
		sched_turn(&sched, &entry, 1);
	}
	sched_charge(&entry, SCHED_QUANTUM - 1);
	assert_true(sched_may_send(&entry));
	sched_charge(&entry, 1);
	assert_false(sched_may_send(&entry));
}

static void what_was_spent_too_much_is_owed(void **state)
{
	(void)state;
	struct sched sched = { .heaviest = 100 };
	struct sched_entry entry;
	int64_t turns;

	sched_entry_init(&entry, 1);
	sched_turn(&sched, &entry, 1);
	assert_int_equal(sched_turns_needed(&sched, &entry), 0);
	sched_charge(&entry, SCHED_QUANTUM); /* a hundred times what it had */
	turns = sched_turns_needed(&sched, &entry);
	assert_in_range(turns, 99, 101);
	sched_turn(&sched, &entry, turns - 1);
	assert_false(sched_may_send(&entry));
	sched_turn(&sched, &entry, 1);
	assert_true(sched_may_send(&entry));
	/* The smallest weight beside the greatest still earns something. */
	sched_charge(&entry, 10);
	sched.heaviest = SCHED_WEIGHT_MAX;
	sched_turn(&sched, &entry, 1000000);
	assert_true(sched_may_send(&entry));
}

static void weights_out_of_range_are_taken_for_the_nearest(void **state)
{
	(void)state;
	struct sched_entry entry;

	sched_entry_init(&entry, 0);
	assert_int_equal(entry.weight, 1);
	sched_entry_set_weight(&entry, SCHED_WEIGHT_MAX + 1);
	assert_int_equal(entry.weight, SCHED_WEIGHT_MAX);
}

static void a_full_uplink_is_shared_by_weight(void **state)
{
	(void)state;
	static const unsigned int weights[] = { 10, 30, 60 };
	struct sched_entry entries[3];
	uint64_t bytes[3] = { 0 }, all = 0;
	struct sched sched;

	sched_init(&sched);
	for (unsigned int i = 0; i < 3; i++) {
		sched_entry_init(&entries[i], weights[i]);
		sched_block(&sched, &entries[i]);
	}
	for (unsigned int i = 0; i < 100000; i++) {
		struct sched_entry *entry = sched_next_blocked(&sched);

		assert_non_null(entry);
		/* one frame each time there is room */
		(void)sched_charge(entry, 1500);
		bytes[entry - entries] += 1500;
		all += 1500;
		sched_block(&sched, entry);
	}
	for (unsigned int i = 0; i < 3; i++) {
		assert_in_range(bytes[i] * 100 / all, weights[i] - 1, weights[i] + 1);
	}
}

static void who_waits_longest_goes_first_among_equals(void **state)
{
	(void)state;
	struct sched_entry entries[3];
	struct sched sched;

	sched_init(&sched);
	for (unsigned int i = 0; i < 3; i++) {
		sched_entry_init(&entries[i], 50);
		sched_block(&sched, &entries[i]);
		sched_block(&sched, &entries[i]); /* no-op */
	}
	assert_ptr_equal(sched_next_blocked(&sched), &entries[0]);
	sched_entry_fini(&entries[1]);
	assert_ptr_equal(sched_next_blocked(&sched), &entries[2]);
	assert_null(sched_next_blocked(&sched));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_turn_is_as_long_as_the_weight_says),
		cmocka_unit_test(an_unused_turn_is_not_kept),
		cmocka_unit_test(what_was_spent_too_much_is_owed),
		cmocka_unit_test(weights_out_of_range_are_taken_for_the_nearest),
		cmocka_unit_test(a_full_uplink_is_shared_by_weight),
		cmocka_unit_test(who_waits_longest_goes_first_among_equals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

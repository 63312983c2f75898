/* SPDX-License-Identifier: MIT */
/*
 * Guests in miniature against vmbus/coalesce.h: time advances in steps, a guest hands over a request
 * each gap_ns, a device answers after device_ns, and the host does with each step what channel.c does
 * with each round.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/num.h"
#include "vmbus/coalesce.h"

#define STEP_NS 100ULL

struct world {
	/* the guest's ways */
	uint64_t gap_ns, think_ns, device_ns;

	/* how things stand */
	struct coalesce coalesce;
	uint64_t now_ns;
	uint64_t next_ns;        /* when the guest may hand over the next */
	unsigned int at_guest;   /* requests that the guest has yet to hand over */
	uint64_t at_device[256]; /* when each will be answered */
	unsigned int in_flight;
	uint64_t ready_ns; /* the oldest answer that is held */

	/* what came of it */
	uint64_t shown, interrupts, held_ns_max;
};

static void begin(struct world *world, unsigned int depth)
{
	coalesce_init(&world->coalesce, true);
	world->at_guest = depth;
	world->now_ns = world->next_ns = 1000000;
}

/* The guest reads all answers and gives the same number of requests back, after some thinking. */
static void show(struct world *world, bool in_vain)
{
	unsigned int count = world->coalesce.held;

	coalesce_shown(&world->coalesce, in_vain);
	world->held_ns_max = num_max(world->held_ns_max, world->now_ns - world->ready_ns);
	world->shown += count;
	world->interrupts++;
	if (world->at_guest == 0) {
		world->next_ns = world->now_ns + world->think_ns;
	}
	world->at_guest += count;
}

static void hand_over(struct world *world)
{
	if (world->at_guest == 0 || world->now_ns < world->next_ns) {
		return;
	}
	world->at_guest--;
	world->next_ns = world->now_ns + world->gap_ns;
	world->at_device[world->in_flight++] = world->now_ns + world->device_ns;
	coalesce_taken(&world->coalesce, 1, world->now_ns);
}

static void reap(struct world *world)
{
	for (unsigned int i = 0; i < world->in_flight;) {
		if (world->at_device[i] > world->now_ns) {
			i++;
			continue;
		}
		world->at_device[i] = world->at_device[--world->in_flight];
		if (world->coalesce.held == 0) {
			world->ready_ns = world->now_ns;
		}
		coalesce_answered(&world->coalesce);
	}
}

static void step(struct world *world)
{
	struct coalesce *coalesce = &world->coalesce;

	hand_over(world);
	reap(world);
	if (coalesce->held > 0 && coalesce_is_enough(coalesce)) {
		show(world, false);
	} else if (coalesce_is_on(coalesce) &&
		   coalesce_advise(coalesce, world->now_ns) == COALESCE_SHOW) {
		show(world, true);
	}
	world->now_ns += STEP_NS;
}

static void run(struct world *world, uint64_t ns)
{
	world->shown = world->interrupts = world->held_ns_max = 0;
	world->coalesce.in_vain = 0;
	for (uint64_t i = 0; i < ns / STEP_NS; i++) {
		step(world);
	}
}

static void one_request_hardly_ever_waits(void **state)
{
	struct world world = { .gap_ns = 1000, .think_ns = 5000 };

	begin(&world, 1);
	run(&world, 10000000);
	assert_true(world.shown > 1500);
	assert_int_equal(world.interrupts, world.shown);
	assert_int_equal(world.held_ns_max, 0);
	assert_false(coalesce_is_on(&world.coalesce));
	/* In the long run a few do, to see whether there is more. */
	run(&world, 200000000);
	assert_in_range(world.coalesce.in_vain, 1, world.shown / COALESCE_BLIND + 1);
}

static void a_burst_is_answered_as_one(void **state)
{
	struct world world = { .gap_ns = 1000, .think_ns = 10000, .device_ns = 1500 };

	begin(&world, 32);
	run(&world, 20000000);
	run(&world, 20000000);
	assert_true(world.shown > 10000);
	assert_true(world.interrupts * 24 < world.shown);
	assert_true(world.coalesce.in_vain * 20 < world.interrupts);
}

/* The same on a machine that is fifty times as slow: only what the guest does counts. */
static void time_is_measured_by_the_guest(void **state)
{
	struct world world = { .gap_ns = 50000, .think_ns = 400000, .device_ns = 10000 };

	begin(&world, 32);
	run(&world, 1000000000);
	run(&world, 1000000000);
	assert_true(world.interrupts * 24 < world.shown);
}

static void no_more_than_its_limit_is_gathered(void **state)
{
	struct world world = { .gap_ns = 1000, .think_ns = 10000, .device_ns = 500 };

	begin(&world, 200);
	run(&world, 20000000);
	assert_int_equal(world.coalesce.target, COALESCE_TARGET_MAX);
}

/* 32 become one: a few holds in vain, and no more. */
static void a_guest_that_slows_down_is_answered_at_once(void **state)
{
	struct world world = { .gap_ns = 1000, .think_ns = 10000, .device_ns = 1500 };

	begin(&world, 32);
	run(&world, 20000000);
	while (world.at_guest + world.in_flight + world.coalesce.held > 1) {
		world.at_guest = 0; /* whatever it had is taken away, as it comes back */
		step(&world);
	}
	world.at_guest = 1 - world.in_flight - world.coalesce.held;
	run(&world, 1000000);
	assert_in_range(world.coalesce.in_vain, 1, 8);
	run(&world, 10000000);
	assert_int_equal(world.held_ns_max, 0);
	assert_int_equal(world.coalesce.in_vain, 0);
	assert_int_equal(world.interrupts, world.shown);
}

/* A disk of 100 µs: the burst is long over when its answers come. They wait for little, and seldom. */
static void a_slow_device_is_not_made_slower(void **state)
{
	struct world world = { .gap_ns = 1000, .think_ns = 5000, .device_ns = 100000 };
	uint64_t cycle_ns = world.device_ns + world.think_ns + 4 * world.gap_ns;

	begin(&world, 4);
	run(&world, 100000000);
	run(&world, 100000000);
	assert_true(world.shown > 4 * 100000000 / cycle_ns * 95 / 100);
	assert_true(world.coalesce.in_vain * 20 < world.shown);
}

/* Bursts of changing length with silence between them: what is held in vain becomes rare. */
static void irregular_bursts_switch_it_off(void **state)
{
	struct world world = { .gap_ns = 1000, .think_ns = 10000, .device_ns = 500 };
	uint64_t bursts = 0, vain = 0;

	begin(&world, 0);
	for (unsigned int seed = 1; bursts < 4000; bursts++) {
		seed = seed * 1103515245 + 12345;
		world.at_guest = 1 + seed / 65536 % 20;
		world.next_ns = world.now_ns;
		run(&world, 300000); /* the answers that come back are new requests… */
		world.at_guest = 0;  /* …but not any more */
		run(&world, 300000);
		vain += bursts >= 2000 ? world.coalesce.in_vain : 0;
	}
	assert_true(vain < 2000);
}

static void a_hold_has_an_end(void **state)
{
	struct world world = { .gap_ns = 150000, .think_ns = 1000, .device_ns = 0 };

	/* One request after the other for ever, and never 32 of them. */
	begin(&world, 250);
	world.coalesce.target = 32;
	run(&world, 30000000);
	assert_true(world.interrupts > 0);
	assert_true(world.held_ns_max <= COALESCE_HOLD_NS_MAX + 2 * STEP_NS);
}

static void where_it_is_not_allowed_nothing_waits(void **state)
{
	struct world world = { .gap_ns = 1000, .think_ns = 10000, .device_ns = 1500 };

	begin(&world, 32);
	coalesce_init(&world.coalesce, false);
	run(&world, 20000000);
	assert_true(world.shown > 10000);
	assert_int_equal(world.held_ns_max, 0);
}

static void what_it_did_not_see_does_no_harm(void **state)
{
	struct coalesce coalesce;

	coalesce_init(&coalesce, true);
	for (int i = 0; i < 10; i++) {
		coalesce_answered(&coalesce); /* to requests from before a restore */
	}
	assert_true(coalesce_is_enough(&coalesce));
	coalesce_shown(&coalesce, false);
	assert_int_equal(coalesce.outstanding, 0);
	assert_int_equal(coalesce.held, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_request_hardly_ever_waits),
		cmocka_unit_test(a_burst_is_answered_as_one),
		cmocka_unit_test(time_is_measured_by_the_guest),
		cmocka_unit_test(no_more_than_its_limit_is_gathered),
		cmocka_unit_test(a_guest_that_slows_down_is_answered_at_once),
		cmocka_unit_test(a_slow_device_is_not_made_slower),
		cmocka_unit_test(irregular_bursts_switch_it_off),
		cmocka_unit_test(a_hold_has_an_end),
		cmocka_unit_test(where_it_is_not_allowed_nothing_waits),
		cmocka_unit_test(what_it_did_not_see_does_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

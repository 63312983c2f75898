/* SPDX-License-Identifier: MIT */
/*
 * Guests in miniature against loop/patience.h: each has a wake-up every wake_ns that does so much work,
 * in either manner.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/num.h"
#include "loop/patience.h"

struct manner {
	uint64_t wake_ns;
	uint32_t work; /* in each wake-up */
};

struct world {
	struct manner eager, patient;
	uint64_t now_ns;
	uint64_t patient_ns; /* how long it was patient in live() */
	uint64_t done;       /* work */
	struct patience patience;
};

static void live(struct world *world, uint64_t ns)
{
	uint64_t end = world->now_ns + ns;

	world->patient_ns = world->done = 0;
	while (world->now_ns < end) {
		const struct manner *manner =
			world->patience.is_patient ? &world->patient : &world->eager;

		world->now_ns += manner->wake_ns;
		world->patient_ns += world->patience.is_patient ? manner->wake_ns : 0;
		world->done += manner->work;
		patience_worked(&world->patience, manner->work);
		(void)patience_sleeps(&world->patience, world->now_ns);
	}
}

static struct world make_world(struct manner eager, struct manner patient)
{
	struct world world = { .eager = eager, .patient = patient, .now_ns = 1000000 };

	patience_init(&world.patience);
	return world;
}

#define SECOND 1000000000ULL
/* As measured: 7,000 and 44,000 requests per second; one request at a time beside a busy processor. */
static const struct manner eager_bursts = { 140000, 1 }, patient_bursts = { 1000000, 44 };
static const struct manner eager_single = { 700000, 1 }, patient_single = { 4500000, 1 };

static void bursts_are_waited_for(void **state)
{
	struct world world = make_world(eager_bursts, patient_bursts);

	live(&world, SECOND / 2);
	assert_true(world.patience.is_usual);
	live(&world, 10 * SECOND);
	assert_true(world.done > 42000 * 10);
}

static void a_guest_that_computes_is_interrupted(void **state)
{
	struct world world = make_world(eager_single, patient_single);

	live(&world, 3 * SECOND);
	assert_false(world.patience.is_usual);
	live(&world, 60 * SECOND);
	assert_false(world.patience.is_usual);
	assert_true(world.patient_ns < 60 * SECOND / 40);
}

static void who_is_no_faster_patient_stays_eager(void **state)
{
	struct world world = make_world((struct manner){ 500000, 1 }, (struct manner){ 480000, 1 });

	live(&world, 60 * SECOND);
	assert_int_equal(world.patience.changes, 0);
	assert_true(world.patient_ns < 60 * SECOND / 40);
}

static void another_load_is_noticed(void **state)
{
	struct world world = make_world(eager_bursts, patient_bursts);

	live(&world, 60 * SECOND);
	assert_true(world.patience.is_usual);
	world.eager = eager_single;
	world.patient = patient_single;
	live(&world, SECOND / 2);
	assert_false(world.patience.is_usual);
	live(&world, 60 * SECOND);
	world.eager = eager_bursts;
	world.patient = patient_bursts;
	live(&world, SECOND / 2);
	assert_true(world.patience.is_usual);
}

/* Rates that rise or fall all the time do not speak for the manner that was tried meanwhile. */
static void a_load_that_grows_proves_nothing(void **state)
{
	struct world world =
		make_world((struct manner){ 1000000, 10 }, (struct manner){ 1000000, 10 });

	for (uint32_t i = 0; i < 1000; i++) {
		live(&world, SECOND / 100);
		world.eager.work += 3;
		world.patient.work += 3;
	}
	assert_int_equal(world.patience.changes, 0);
}

static void the_idle_try_nothing(void **state)
{
	struct world world =
		make_world((struct manner){ 50000000, 1 }, (struct manner){ 50000000, 1 });

	world.eager.work = world.patient.work = 0;
	live(&world, 100 * SECOND);
	assert_int_equal(world.patient_ns, 0);
}

static void loops_of_a_group_change_together(void **state)
{
	struct patience_group group;
	uint64_t now_ns = 1000000;
	bool was_patient = false;

	patience_group_init(&group);
	for (unsigned int i = 0; i < 100000 && !was_patient; i++) {
		now_ns += eager_bursts.wake_ns;
		was_patient = patience_group_sleeps(&group, eager_bursts.work, now_ns);
		/* The other loop, whose clock was read a moment before. */
		assert_int_equal(patience_group_sleeps(&group, 0, now_ns - 100), was_patient);
	}
	assert_true(was_patient);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bursts_are_waited_for),
		cmocka_unit_test(a_guest_that_computes_is_interrupted),
		cmocka_unit_test(who_is_no_faster_patient_stays_eager),
		cmocka_unit_test(another_load_is_noticed),
		cmocka_unit_test(a_load_that_grows_proves_nothing),
		cmocka_unit_test(loops_of_a_group_change_together),
		cmocka_unit_test(the_idle_try_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * No wake-up is lost: guests send short bursts, with pauses between that end when a core is about to
 * sleep, has just gone to sleep, or sleeps. What a burst needs to arrive is one wake-up at each hand
 * (doorbell, hand-over between cores, news, grants); one that were lost would leave the last frames
 * where they are, for the cores' one timer does not run here.
 *
 *   wakeup_test [ROUNDS]     of each kind
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "guest/switch_guests.h"
#include "vswitch/core_internal.h"

#define LOST_NS      20000000000ULL
#define BURST_MAX    24U
#define SECTIONS     160U /* in flight at most, of both directions */
#define FRAME_BYTES  80U
#define POLL_NS      20000U
#define PAUSE_NS_MAX 60000U
#define QUICK_ROUNDS 1500U

static unsigned int rounds = QUICK_ROUNDS;

static void stop_clock(void *arg)
{
	loop_timer_cancel(&((struct core *)arg)->second);
}

static void let_spin(void *arg)
{
	loop_set_poll_ns(arg, POLL_NS);
}

/* Frames that carry a number each; every one of them counts. */
static void post_burst(struct rig *rig, unsigned int from, unsigned int count, uint32_t *number)
{
	struct party *party = &rig->party[from];
	uint8_t frame[FRAME_BYTES] = { 0 };

	memcpy(frame, rig->party[1 - from].mac, 6);
	memcpy(frame + 6, party->mac, 6);
	bytes_put_be16(frame + 12, 0x88b5);
	for (unsigned int i = 0; i < count; i++) {
		bytes_put_le32(frame + 14, ++*number);
		netvsc_post_section(&party->vsc, *number % SECTIONS, frame, sizeof(frame));
	}
}

static void explain(const struct rig *rig, unsigned int round, unsigned int to)
{
	for (unsigned int i = 0; i < rig->cores; i++) {
		struct loop_stats stats;

		loop_read_stats(rig->loops[i], &stats);
		print_error("core %u: %llu rounds, %llu sleeps, %llu handed\n", i,
			    (unsigned long long)stats.rounds, (unsigned long long)stats.sleeps,
			    (unsigned long long)counter_read(
				    &rig->vswitch->cores[i]->counters.handed_over));
	}
	fail_msg("round %u: guest %u waits for a frame", round, to);
}

static void take_burst(struct rig *rig, unsigned int round, unsigned int to, unsigned int count,
		       uint32_t *number)
{
	for (unsigned int i = 0; i < count; i++) {
		struct netvsc_item *item = netvsc_next_frame(&rig->party[to].vsc, LOST_NS);

		if (!item) {
			explain(rig, round, to);
			return;
		}
		assert_int_equal(bytes_le32(item->data + 14), ++*number); /* in order */
		free(item);
	}
}

/* Of any length up to the limit, and none looks at anything meanwhile. */
static void pause_at_random(unsigned int *random)
{
	uint64_t until = loop_now_ns();

	*random = *random * 1103515245U + 12345U;
	until += (*random >> 8) % PAUSE_NS_MAX;
	while (loop_now_ns() < until) {
		__builtin_ia32_pause();
	}
}

static void burst_and_rest(unsigned int cores, bool spins)
{
	struct rig *rig = malloc(sizeof(*rig));
	uint32_t sent[2] = { 0 }, taken[2] = { 0 };
	unsigned int random = 1;

	rig_create(rig, cores, 2, 1500);
	for (unsigned int i = 0; i < cores; i++) {
		loop_call(rig->loops[i], stop_clock, rig->vswitch->cores[i]);
		if (spins) {
			loop_call(rig->loops[i], let_spin, rig->loops[i]);
		}
	}
	for (unsigned int round = 0; round < rounds; round++) {
		unsigned int count[2];

		for (unsigned int from = 0; from < 2; from++) {
			random = random * 1103515245U + 12345U;
			count[from] = (random >> 16) % BURST_MAX;
			post_burst(rig, from, count[from], &sent[from]);
			pause_at_random(&random);
		}
		for (unsigned int to = 0; to < 2; to++) {
			take_burst(rig, round, to, count[1 - to], &taken[to]);
		}
		for (unsigned int i = 0; i < 2; i++) {
			netvsc_wait_completions(&rig->party[i].vsc, sent[i]);
		}
		pause_at_random(&random);
	}
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(rig_drops(rig, i, DROP_NO_BUFFER), 0);
		assert_int_equal(rig_drops(rig, i, DROP_NO_LANE), 0);
	}
	rig_destroy(rig);
	free(rig);
}

static void none_is_lost_on_one_core_that_sleeps_at_once(void **state)
{
	(void)state;
	burst_and_rest(1, false);
}

static void none_is_lost_on_one_core_that_looks_before_it_sleeps(void **state)
{
	(void)state;
	burst_and_rest(1, true);
}

static void none_is_lost_between_cores_that_sleep_at_once(void **state)
{
	(void)state;
	burst_and_rest(2, false);
}

static void none_is_lost_between_cores_that_look_before_they_sleep(void **state)
{
	(void)state;
	burst_and_rest(2, true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(none_is_lost_on_one_core_that_sleeps_at_once),
		cmocka_unit_test(none_is_lost_on_one_core_that_looks_before_it_sleeps),
		cmocka_unit_test(none_is_lost_between_cores_that_sleep_at_once),
		cmocka_unit_test(none_is_lost_between_cores_that_look_before_they_sleep),
	};

	if (argc > 1) {
		rounds = (unsigned int)strtoul(argv[1], NULL, 10);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

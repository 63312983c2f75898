/* SPDX-License-Identifier: MIT */
/*
 * The core's time by weight: senders that always have something to send, each as much in a round as a
 * channel gives at most. What is counted are frames, in rounds: it is the same on every machine.
 */
#include "switch_rig.h"
#include "vswitch/core_internal.h"

#define SENDERS   3U
#define PER_ROUND 64U
#define FRAME_MAX 60000U

struct greedy {
	unsigned int port, weight;
	uint32_t bytes;
	int to; /* -1: to all */
	bool idle;
	uint64_t sent;
	uint8_t frame[FRAME_MAX];
};

static struct greedy greedy[SENDERS];

static int set_up(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_init(rig, 1);
	rig->policy->mtu = NET_MTU_MAX;
	for (unsigned int i = 0; i < 6; i++) {
		rig->nics[i].config.mtu = FRAME_MAX;
		rig_plug(rig, i, 0);
	}
	memset(greedy, 0, sizeof(greedy));
	for (unsigned int i = 0; i < SENDERS; i++) {
		greedy[i].port = i;
		greedy[i].weight = 50;
		greedy[i].bytes = 60;
		greedy[i].to = (int)(3 + i);
		greedy[i].idle = true;
	}
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	rig_fini(*state);
	free(*state);
	return 0;
}

/* Until it is told to wait, or has sent what it may in a round. */
static void send_some(struct rig *rig, struct greedy *sender)
{
	struct rig_nic *nic = &rig->nics[sender->port];
	struct iovec iov[2] = { { 0 }, { sender->frame, sender->bytes } };
	unsigned int taken = 1;

	for (unsigned int n = 0; n < PER_ROUND && taken == 1; n++) {
		struct net_frame frame = { .iov = iov + 1, .iov_count = 1, .bytes = sender->bytes };

		iov[1] = (struct iovec){ sender->frame, sender->bytes };
		(void)!net_send_many(nic->net, &frame, 1, &taken);
		sender->sent += taken;
	}
	if (taken == 0) {
		nic->writables = 0;
	}
}

static void run(struct rig *rig, unsigned int rounds)
{
	for (unsigned int i = 0; i < SENDERS; i++) {
		struct greedy *sender = &greedy[i];

		rig->policy->ports[sender->port].limits.weight = (uint16_t)sender->weight;
		rig_frame(sender->frame, sender->port, sender->to, 0x88b5, sender->bytes);
		sender->sent = 0;
		rig->nics[sender->port].writables = 1;
	}
	rig_adopt(rig);
	for (unsigned int round = 0; round < rounds; round++) {
		for (unsigned int i = 0; i < SENDERS; i++) {
			if (!greedy[i].idle && rig->nics[greedy[i].port].writables) {
				send_some(rig, &greedy[i]);
			}
		}
		loop_turn(rig->loops[0]);
	}
}

static void assert_share(const struct greedy *a, const struct greedy *b, double ratio)
{
	double found =
		(double)a->sent * sched_cost(a->bytes) / ((double)b->sent * sched_cost(b->bytes));

	if (found < ratio * 0.95 || found > ratio * 1.05) {
		fail_msg("%llu frames of %u bytes beside %llu of %u: %.2f, not %.2f",
			 (unsigned long long)a->sent, a->bytes, (unsigned long long)b->sent,
			 b->bytes, found, ratio);
	}
}

static void time_is_shared_by_weight(void **state)
{
	/* Of short frames a channel gives no more in a round: they are compared with their like. */
	static const uint32_t sizes[][2] = {
		{ 60, 60 }, { 1500, 1500 }, { 1500, 9000 }, { 9000, 1500 }
	};
	static const unsigned int weights[][2] = {
		{ 50, 50 }, { 90, 10 }, { 100, 1 }, { 7000, 70 }
	};
	struct rig *rig = *state;

	greedy[0].idle = greedy[1].idle = false;
	for (size_t w = 0; w < ARRAY_SIZE(weights); w++) {
		greedy[0].weight = weights[w][0];
		greedy[1].weight = weights[w][1];
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			greedy[0].bytes = sizes[i][0];
			greedy[1].bytes = sizes[i][1];
			run(rig, 10000);
			assert_share(&greedy[0], &greedy[1], (double)weights[w][0] / weights[w][1]);
		}
	}
}

static void equals_have_equal_shares_however_long_their_frames_are(void **state)
{
	struct rig *rig = *state;

	for (unsigned int i = 0; i < SENDERS; i++) {
		greedy[i].idle = false;
	}
	greedy[1].bytes = 1500;
	greedy[2].bytes = 9000;
	run(rig, 20000);
	/* Of the shortest ones a channel gives no more in a round. */
	assert_in_range(greedy[0].sent, 19900ULL * PER_ROUND, 20000ULL * PER_ROUND);
	assert_share(&greedy[1], &greedy[2], 1);
}

static void who_floods_pays_for_each_copy(void **state)
{
	struct rig *rig = *state;

	greedy[0].idle = greedy[1].idle = false;
	greedy[0].bytes = greedy[1].bytes = 1500;
	greedy[1].to = -1; /* to five ports */
	run(rig, 20000);
	assert_share(&greedy[0], &greedy[1], 5);
}

static void nobody_waits_for_who_does_not_send(void **state)
{
	struct rig *rig = *state;
	struct port_stats stats;

	greedy[1].idle = false;
	greedy[1].weight = 1;
	greedy[0].weight = 10000;
	greedy[1].bytes = 9000;
	run(rig, 1000);
	assert_int_equal(greedy[1].sent, 1000 * PER_ROUND);
	vswitch_port_stats(rig->vswitch, 1, &stats);
	assert_int_equal(stats.waits, 0);
}

static void who_is_alone_again_has_all_the_time_soon(void **state)
{
	struct rig *rig = *state;

	greedy[0].idle = greedy[1].idle = false;
	greedy[0].weight = 10000;
	greedy[1].weight = 1;
	greedy[0].bytes = greedy[1].bytes = 9000;
	greedy[1].to = -1; /* and owes what it has flooded */
	run(rig, 5000);
	greedy[0].idle = true;
	run(rig, 1000);
	assert_in_range(greedy[1].sent, (1000 - 2 * CORE_TURNS_ROUNDS) * PER_ROUND,
			1000 * PER_ROUND);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(time_is_shared_by_weight),
		TEST(equals_have_equal_shares_however_long_their_frames_are),
		TEST(who_floods_pays_for_each_copy),
		TEST(nobody_waits_for_who_does_not_send),
		TEST(who_is_alone_again_has_all_the_time_soon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

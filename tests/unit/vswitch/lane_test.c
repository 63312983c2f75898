/* SPDX-License-Identifier: MIT */
/*
 * Frames from one core to a guest of another: by a lane of the guest's front end, which here is a list
 * that the test looks into, and by the ring. Both cores are on the test's thread: nothing happens but in
 * the order of the calls.
 */
#include "switch_rig.h"

#define LONG_BYTES  1200U
#define SHORT_BYTES 60U
#define LANE_FRAMES 64U

/* A front end's lane. */
struct net_lane {
	struct rig_nic *nic;
	struct loop *from;
	uint64_t passed;
	struct lane_frame {
		uint8_t bytes[LONG_BYTES];
		uint32_t length;
		uint64_t run;
	} frames[LANE_FRAMES];
	unsigned int put, taken, flushes, refused;
	int refuses;  /* what lane_deliver() says; 0: it takes it */
	bool is_full; /* the guest's ring: what is there stays */
	struct loop_work let_go, *done;
	bool is_cut, has_let_go;
};

static struct net_lane *lane; /* the only one */
static unsigned int lanes_made;
static bool no_memory;

/* ---- the front end ---- */

static int lane_create(struct net_front *front, struct loop *from, struct net_lane **ret)
{
	if (no_memory) {
		return -ENOMEM;
	}
	assert_null(lane);
	lane = calloc(1, sizeof(*lane));
	lane->nic = container_of(front, struct rig_nic, front);
	lane->from = from;
	lanes_made++;
	*ret = lane;
	return 0;
}

static int lane_deliver(struct net_lane *l, const struct net_frame *net, uint64_t run)
{
	struct lane_frame *frame = &l->frames[l->put % LANE_FRAMES];

	assert_ptr_equal(l, lane);
	assert_false(l->has_let_go);
	assert_true(loop_is_here(l->from));
	if (l->refuses || l->is_cut) {
		l->refused++;
		return l->is_cut ? -ENOBUFS : l->refuses;
	}
	assert_true(l->put == 0 || run >= l->frames[(l->put - 1) % LANE_FRAMES].run);
	frame->run = run;
	assert_true(net->bytes <= sizeof(frame->bytes));
	frame->length = net->bytes;
	fifo_gather(frame->bytes, net);
	l->put++;
	return 0;
}

/* As the front end does it by itself, too. */
static bool drain(struct net_lane *l)
{
	while (l->taken < l->put && l->frames[l->taken % LANE_FRAMES].run <= l->passed) {
		struct lane_frame *frame = &l->frames[l->taken % LANE_FRAMES];
		struct iovec iov = { frame->bytes, frame->length };
		const struct net_frame net = { .iov = &iov,
					       .iov_count = 1,
					       .bytes = frame->length };

		if (l->is_full) {
			return false;
		}
		rig_keep(l->nic, &net);
		l->taken++;
	}
	return true;
}

static bool lane_pass(struct net_lane *l, uint64_t run)
{
	assert_ptr_equal(l, lane);
	assert_false(l->is_cut);
	l->passed = num_max(l->passed, run);
	return drain(l);
}

static void lane_flush(struct net_lane *l)
{
	assert_false(l->has_let_go);
	l->flushes++;
}

static void on_let_go(struct loop_work *work)
{
	container_of(work, struct net_lane, let_go)->has_let_go = true;
}

static void lane_cut(struct net_lane *l, struct loop_work *done)
{
	assert_false(l->is_cut);
	l->is_cut = true;
	l->done = done;
	loop_work_init(&l->let_go, on_let_go);
	loop_post(l->from, &l->let_go);
}

/* The lane is gone; until then who has cut it waits. */
static void let_it_go(struct rig *rig)
{
	assert_true(lane->is_cut && lane->has_let_go);
	loop_post(rig->loops[1], lane->done);
	free(lane);
	lane = NULL;
}

static const struct net_front_ops lane_ops = {
	.deliver = rig_deliver,
	.batch_end = rig_end,
	.writable = rig_writable,
	.link_changed = rig_link,
	.lane_create = lane_create,
	.lane_cut = lane_cut,
	.lane_deliver = lane_deliver,
	.lane_pass = lane_pass,
	.lane_flush = lane_flush,
};

/* ---- the rig: port 0 on one core sends, port 1 on the other takes ---- */

static int set_up(void **state)
{
	struct rig *rig = malloc(sizeof(*rig));

	rig_init(rig, 2);
	rig_plug(rig, 0, 0);
	rig_plug(rig, 1, 1);
	rig->nics[1].front.ops = &lane_ops;
	lanes_made = 0;
	no_memory = false;
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	if (rig->nics[1].net) {
		net_detach(rig->nics[1].net);
		rig_turn(rig);
		if (lane) {
			let_it_go(rig);
		}
	}
	rig_fini(rig);
	free(rig);
	return 0;
}

static void turn(struct rig *rig, unsigned int core)
{
	while (loop_turn(rig->loops[core])) {}
}

/* Numbered, and within the round: nothing is flushed yet. */
static void send(struct rig *rig, uint8_t number, uint32_t length)
{
	uint8_t frame[LONG_BYTES];

	rig_frame(frame, 0, 1, 0x88b5, length);
	frame[20] = number;
	assert_int_equal(rig_send_flags(rig, 0, frame, length, 0, 0), 0);
}

/* These and no others have come since the last time. */
static void expect(struct rig *rig, const char *numbers)
{
	const struct rig_frame *frame;

	for (; *numbers; numbers++) {
		frame = rig_next(rig, 1);
		assert_non_null(frame);
		assert_int_equal(frame->data[20], *numbers);
	}
	assert_null(rig_next(rig, 1));
}

/* The first frame has gone by the ring, and there is a lane. */
static void begin(struct rig *rig)
{
	assert_null(lane);
	send(rig, '0', LONG_BYTES);
	rig_turn(rig);
	assert_non_null(lane);
	expect(rig, "0");
}

/* The second one by the ring. */
static void send_by_both_ways(struct rig *rig)
{
	send(rig, '1', LONG_BYTES);
	lane->refuses = -ENOBUFS;
	send(rig, '2', LONG_BYTES);
	lane->refuses = 0;
	send(rig, '3', LONG_BYTES);
}

static struct core_stats stats_of(struct rig *rig)
{
	struct core_stats stats;

	vswitch_core_stats(rig->vswitch, 0, &stats);
	return stats;
}

/* ---- tests ---- */

static void a_run_waits_for_what_was_handed_over_before(void **state)
{
	struct rig *rig = *state;

	begin(rig);
	lane->refuses = -ENOBUFS;
	send(rig, '1', LONG_BYTES);
	turn(rig, 0);
	lane->refuses = 0;
	send(rig, '2', LONG_BYTES);
	send(rig, '3', LONG_BYTES);
	turn(rig, 0);
	assert_int_equal(lane->put, 2);
	assert_true(lane->flushes > 0);
	assert_true(drain(lane)); /* the front end looks by itself: too early */
	expect(rig, "");
	turn(rig, 1);
	expect(rig, "123");
	/* in the same run nothing is waited for */
	send(rig, '4', LONG_BYTES);
	assert_true(drain(lane));
	expect(rig, "4");
	assert_int_equal(stats_of(rig).lane_frames, 3);
	assert_int_equal(stats_of(rig).handed_over, 2);
}

static void what_is_handed_over_waits_for_the_run_before(void **state)
{
	struct rig *rig = *state;

	begin(rig);
	send_by_both_ways(rig);
	turn(rig, 0);
	assert_int_equal(lane->put, 2);
	turn(rig, 1);
	expect(rig, "123");
}

/* The guest's ring is full: what is in the lane waits, and what is behind it is lost, not first. */
static void nothing_overtakes_a_lane_that_waits(void **state)
{
	struct rig *rig = *state;

	begin(rig);
	send_by_both_ways(rig);
	lane->is_full = true;
	rig_turn(rig);
	expect(rig, "");
	assert_int_equal(rig_drops(rig, 1, DROP_NO_BUFFER), 1);
	lane->is_full = false;
	assert_true(drain(lane));
	expect(rig, "13");
}

static void short_frames_go_by_the_ring_unless_they_can_ride_along(void **state)
{
	struct rig *rig = *state;

	begin(rig);
	send(rig, '1', SHORT_BYTES);
	rig_turn(rig);
	assert_int_equal(lane->put, 0);
	send(rig, '2', LONG_BYTES);
	send(rig, '3', SHORT_BYTES);
	assert_int_equal(lane->put, 2);
	rig_turn(rig);
	send(rig, '4', SHORT_BYTES);
	rig_turn(rig);
	assert_int_equal(lane->put, 2);
	expect(rig, "1234");
}

static void a_guest_that_takes_nothing_costs_no_copy(void **state)
{
	struct rig *rig = *state;

	begin(rig);
	lane->refuses = -ENOSPC;
	send(rig, '1', LONG_BYTES);
	send(rig, '2', LONG_BYTES);
	rig_turn(rig);
	expect(rig, "");
	assert_int_equal(rig_drops(rig, 1, DROP_NO_BUFFER), 2);
	assert_int_equal(stats_of(rig).handed_over, 1); /* the first of all */
}

/* Its own loop has nothing more to do with it, but the sender's has not been there yet. */
static void an_end_has_left_when_senders_have_let_go(void **state)
{
	struct rig *rig = *state;
	struct rig_leaving leaving = { .net = rig->nics[1].net };

	begin(rig);
	send(rig, '1', LONG_BYTES); /* to be flushed still */
	rig_do_leave(&leaving);
	send(rig, '2', LONG_BYTES); /* finds none */
	assert_int_equal(lane->put, 1);
	assert_int_equal(lane->refused, 0);
	rig_turn(rig);
	assert_true(lane->has_let_go);
	assert_false(leaving.is_done);
	let_it_go(rig);
	rig_turn(rig);
	assert_true(leaving.is_done);
	rig->nics[1].net = NULL;
	net_destroy(leaving.net);
	vswitch_port_remove(rig->vswitch, 1);
	for (unsigned int i = 0; i < RIG_KEPT; i++) {
		free(rig->nics[1].kept[i].data);
	}
	assert_int_equal(lanes_made, 1);
}

/* Another NIC at the same end: there is no lane to it before the other has gone. */
static void the_next_front_end_gets_a_lane_of_its_own(void **state)
{
	struct rig *rig = *state;
	struct rig_nic *nic = &rig->nics[1];

	begin(rig);
	send(rig, '1', LONG_BYTES);
	rig_turn(rig);
	expect(rig, "1");
	net_detach(nic->net);
	assert_int_equal(net_attach(nic->net, &nic->front, &nic->config), 0);
	send(rig, '2', LONG_BYTES);
	rig_turn(rig);
	expect(rig, "2");
	assert_int_equal(lanes_made, 1);
	let_it_go(rig);
	rig_turn(rig);
	assert_int_equal(lanes_made, 2); /* asked for by the last */
	assert_int_equal(lane->passed, 0);
	send(rig, '3', LONG_BYTES);
	turn(rig, 0);
	assert_int_equal(lane->put, 1);
	assert_true(drain(lane));
	expect(rig, ""); /* its run is a new one */
	rig_turn(rig);
	expect(rig, "3");
}

static void without_memory_for_a_lane_all_go_by_the_ring(void **state)
{
	struct rig *rig = *state;

	no_memory = true;
	for (char i = '0'; i < '5'; i++) {
		send(rig, (uint8_t)i, LONG_BYTES);
		rig_turn(rig);
	}
	expect(rig, "01234");
	assert_null(lane);
	/* it is tried again when something changes */
	no_memory = false;
	net_configure(rig->nics[1].net, &rig->nics[1].config);
	rig_turn(rig);
	assert_non_null(lane);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_run_waits_for_what_was_handed_over_before),
		T(what_is_handed_over_waits_for_the_run_before),
		T(nothing_overtakes_a_lane_that_waits),
		T(short_frames_go_by_the_ring_unless_they_can_ride_along),
		T(a_guest_that_takes_nothing_costs_no_copy),
		T(an_end_has_left_when_senders_have_let_go),
		T(the_next_front_end_gets_a_lane_of_its_own),
		T(without_memory_for_a_lane_all_go_by_the_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

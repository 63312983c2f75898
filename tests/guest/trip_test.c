/* SPDX-License-Identifier: MIT */
/*
 * What traffic between two guests on a switch costs in doorbells and interrupts, one by one. The core's
 * loop is turned by hand: it goes to sleep whenever it has nothing to do, and so does a guest, so that
 * nothing is saved because somebody happened to be awake. The guests do what Linux's netvsc does: an
 * interrupt begins a poll, which masks further ones, takes all packets, gives the receive buffers back
 * at its end, unmasks and looks once more.
 *
 * An interrupt that waited in vain for company comes by a timer, sooner or later on a slow machine: it
 * is counted by itself (`late`) and taken off. (It may serve for the frame that comes next, so that there is
 * one fewer: what counts is that there are never more.)
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "guest/fake_synic.h"
#include "guest/hand_switch.h"
#include "vmbus/channel_internal.h"

#define PARTIES     2U
#define TRIPS       100U
#define BURSTS      50U
#define BURST       8U
#define FRAME_BYTES 1514U
#define SMALL_BYTES 66U
#define LARGE_BYTES 62054U /* one TCP segment for the sender, and whole for the taker */
#define LARGE_PPI   16U
#define TURNS_MAX   1000U
#define TRIES       200U

struct party {
	struct hand_party *guest;
	uint32_t section; /* used next */
	gpa_t large;      /* a large segment for the other, as RNDIS has it */
	uint32_t large_bytes;
	uint64_t frames;                     /* that came */
	uint64_t interrupts;                 /* that began a poll */
	uint64_t doorbells, signalled, late; /* when counting began */
};

struct world {
	struct hand hand;
	struct party party[PARTIES];
	bool is_counting; /* the core is turned by the test alone */
};

/* ---- the world ---------------------------------------------------------------------------------- */

static void on_turn(struct hand *hand)
{
	if (!container_of(hand, struct world, hand)->is_counting) {
		loop_turn(hand->loop);
	}
}

/* TCP over IPv4, to be cut by whoever must. */
static void make_large(struct world *w, unsigned int from)
{
	struct party *party = &w->party[from];
	uint8_t *frame = calloc(1, LARGE_BYTES), *ip = frame + 14, ppi[LARGE_PPI];
	void *message;

	memcpy(frame, w->hand.party[1 - from].mac, 6);
	memcpy(frame + 6, party->guest->mac, 6);
	bytes_put_be16(frame + 12, 0x0800);
	ip[0] = 0x45;
	ip[8] = 64;
	ip[9] = 6;
	bytes_put_be32(ip + 12, 0x0a000001 + from);
	bytes_put_be32(ip + 16, 0x0a000002 - from);
	ip[32] = 0x50;
	ip[33] = 0x18;
	bytes_put_le32(ppi, LARGE_PPI);
	bytes_put_le32(ppi + 4, RNDIS_PPI_LSO);
	bytes_put_le32(ppi + 8, 12);
	bytes_put_le32(ppi + 12, 1448 | 34U << 20 | RNDIS_LSO_TYPE_V2);
	party->large = fake_guest_alloc(party->guest->vsc.guest, LARGE_BYTES + 4096);
	message = fake_guest_hva(party->guest->vsc.guest, party->large, LARGE_BYTES + 4096);
	party->large_bytes = netvsc_build_frame(message, frame, LARGE_BYTES, ppi, LARGE_PPI);
	free(frame);
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	hand_create(&w->hand, PARTIES, on_turn);
	for (unsigned int i = 0; i < PARTIES; i++) {
		struct party *party = &w->party[i];

		party->guest = &w->hand.party[i];
		hand_open(&w->hand, i, NDIS_FILTER_DIRECTED);
		netvsc_enable_rsc(&party->guest->vsc, true);
		netvsc_drain(&party->guest->vsc);
		party->guest->vsc.keep = true; /* given back at a poll's end */
		make_large(w, i);
	}
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	w->is_counting = false;
	hand_destroy(&w->hand);
	free(w);
	return 0;
}

/* ---- what guests do ----------------------------------------------------------------------------- */

static struct vmbus_channel *host_end(const struct party *party)
{
	return netvsp_device(party->guest->nic)->channel;
}

/* The core, until it sleeps. */
static void turn(struct world *w)
{
	for (unsigned int i = 0; loop_turn(w->hand.loop); i++) {
		assert_true(i < TURNS_MAX);
	}
}

static bool has_packets(struct party *party)
{
	struct vmbus_ring_control *ring = fake_channel_ring(party->guest->vsc.channel, 1);

	return atomic_load(&ring->write_index) != atomic_load(&ring->read_index);
}

static void take_frames(struct party *party)
{
	struct netvsc_item *item;

	while ((item = netvsc_next_frame(&party->guest->vsc, 0))) {
		party->frames++;
		free(item);
	}
}

static void send(struct world *w, unsigned int from, uint32_t bytes)
{
	struct party *party = &w->party[from];
	uint8_t frame[FRAME_BYTES] = { 0 };

	memcpy(frame, w->hand.party[1 - from].mac, 6);
	memcpy(frame + 6, party->guest->mac, 6);
	bytes_put_be16(frame + 12, 0x88b5);
	netvsc_post_section(&party->guest->vsc, party->section++ % 64, frame, bytes);
}

static void send_large(struct world *w, unsigned int from)
{
	const uint32_t nvsp[10] = { NVSP_SEND_RNDIS, NVSP_RNDIS_DATA, NVSP_SECTION_NONE };
	struct party *party = &w->party[from];

	fake_channel_send_gpa(party->guest->vsc.channel, party->guest->vsc.next_transaction++,
			      party->large, party->large_bytes, nvsp, sizeof(nvsp));
}

/*
 * If there is an interrupt, the poll that it begins. ack_each: so many frames are answered by one from
 * within it, as TCP does; 0: none. Whether there was one.
 */
static bool poll_of(struct world *w, unsigned int index, unsigned int ack_each)
{
	struct party *party = &w->party[index];
	struct vmbus_ring_control *ring = fake_channel_ring(party->guest->vsc.channel, 1);
	uint64_t before = party->frames;

	if (!fake_synic_take_flag(fake_guest_synic(party->guest->vsc.guest), 0,
				  fake_channel_relid(party->guest->vsc.channel))) {
		return false;
	}
	party->interrupts++;
	do {
		atomic_store(&ring->interrupt_mask, 1);
		while (has_packets(party)) {
			netvsc_take_one(&party->guest->vsc);
		}
		take_frames(party);
		for (; ack_each && before + ack_each <= party->frames; before += ack_each) {
			send(w, index, SMALL_BYTES);
		}
		netvsc_give_back(&party->guest->vsc);
		atomic_store(&ring->interrupt_mask, 0);
	} while (has_packets(party));
	return true;
}

/* Both guests, the second of which acknowledges. */
static bool poll_both(struct world *w, unsigned int ack_each)
{
	bool any = poll_of(w, 0, 0);

	return poll_of(w, 1, ack_each) || any;
}

static void expect_frames(const struct party *party, uint64_t frames)
{
	assert_int_equal(party->frames, frames);
}

/* ---- counting ----------------------------------------------------------------------------------- */

static uint64_t late_of(const struct party *party)
{
	return counter_read(&host_end(party)->late);
}

static uint64_t signalled_of(const struct party *party)
{
	return fake_channel_interrupts(party->guest->vsc.channel);
}

/* From here on; both guests sleep, nothing is under way. */
static void begin(struct world *w)
{
	w->is_counting = true;
	for (unsigned int i = 0; i < PARTIES; i++) {
		struct party *party = &w->party[i];

		turn(w);
		(void)poll_of(w, i, 0);
		turn(w);
		party->frames = party->interrupts = 0;
		party->doorbells = fake_synic_signals(fake_guest_synic(party->guest->vsc.guest));
		party->signalled = signalled_of(party);
		party->late = late_of(party);
	}
}

static uint64_t doorbells(const struct party *party)
{
	return fake_synic_signals(fake_guest_synic(party->guest->vsc.guest)) - party->doorbells;
}

/* Those that did not come by a timer. */
static uint64_t interrupts(const struct party *party)
{
	return signalled_of(party) - party->signalled - (late_of(party) - party->late);
}

/* At most so many. */
static void expect_counts(const struct world *w, uint64_t interrupts_of_a, uint64_t interrupts_of_b,
			  uint64_t doorbells_of_a, uint64_t doorbells_of_b)
{
	const struct party *a = &w->party[0], *b = &w->party[1];

	assert_in_range(interrupts(a), 0, interrupts_of_a);
	assert_in_range(interrupts(b), 0, interrupts_of_b);
	assert_in_range(doorbells(a), 0, doorbells_of_a);
	assert_in_range(doorbells(b), 0, doorbells_of_b);
}

/* ---- tests -------------------------------------------------------------------------------------- */

/*
 * A question and its answer. Each guest: one interrupt, with the other's frame; one doorbell for its
 * own frame, and one for the receive buffer that it gives back before, which nobody can save who
 * sleeps.
 */
static void a_trip_is_an_interrupt_for_each(void **state)
{
	struct world *w = *state;
	struct party *a = &w->party[0], *b = &w->party[1];

	begin(w);
	for (unsigned int i = 0; i < TRIPS; i++) {
		send(w, 0, SMALL_BYTES);
		do {
			turn(w);
		} while (poll_both(w, 0));
		expect_frames(b, i + 1);
		send(w, 1, SMALL_BYTES);
		do {
			turn(w);
		} while (poll_both(w, 0));
		expect_frames(a, i + 1);
	}
	expect_counts(w, TRIPS, TRIPS, 2 * TRIPS, 2 * TRIPS);
}

/* A guest that speaks before the host has come to look needs no second doorbell. */
static void a_trip_of_a_quick_guest_is_a_doorbell_for_each(void **state)
{
	struct world *w = *state;

	begin(w);
	for (unsigned int i = 0; i < TRIPS; i++) {
		send(w, 0, SMALL_BYTES);
		turn(w);
		while (poll_both(w, 0)) {}
		send(w, 1, SMALL_BYTES);
		turn(w);
		while (poll_both(w, 0)) {}
	}
	expect_frames(&w->party[0], TRIPS);
	expect_frames(&w->party[1], TRIPS);
	expect_counts(w, TRIPS, TRIPS, TRIPS + 1, TRIPS);
}

/* A window of frames, every other one acknowledged: whatever its size, it costs what a trip costs. */
static void a_window_costs_what_a_trip_costs(void **state)
{
	struct world *w = *state;

	begin(w);
	for (unsigned int i = 0; i < BURSTS; i++) {
		for (unsigned int k = 0; k < BURST; k++) {
			send(w, 0, FRAME_BYTES);
		}
		turn(w);
		while (poll_both(w, 2)) {}
		turn(w);
		while (poll_both(w, 2)) {}
	}
	expect_frames(&w->party[1], (uint64_t)BURSTS * BURST);
	expect_frames(&w->party[0], (uint64_t)BURSTS * BURST / 2);
	expect_counts(w, BURSTS, BURSTS, BURSTS + 1, BURSTS);
}

/* So many large segments, each acknowledged, and what that costs in interrupts of the sender's. */
static void send_windows(struct world *w, unsigned int window, unsigned int interrupts_of_a)
{
	struct party *a = &w->party[0], *b = &w->party[1];
	unsigned int packets;

	begin(w);
	packets = b->guest->vsc.receive_packets;
	for (unsigned int i = 0; i < BURSTS; i++) {
		for (unsigned int k = 0; k < window; k++) {
			send_large(w, 0);
		}
		turn(w);
		while (poll_both(w, 1)) {}
		turn(w);
		while (poll_both(w, 1)) {}
	}
	expect_frames(b, (uint64_t)BURSTS * window);
	expect_frames(a, (uint64_t)BURSTS * window);
	/* Each window in one packet, each segment whole. */
	assert_int_equal(b->guest->vsc.receive_packets - packets, BURSTS);
	expect_counts(w, BURSTS * interrupts_of_a, BURSTS, BURSTS + 1, BURSTS);
}

static void a_pair_of_large_segments_costs_what_a_trip_costs(void **state)
{
	send_windows(*state, 2, 1);
}

/* More than that, and the sender is told that they have gone before they are acknowledged. */
static void a_window_of_large_segments_costs_one_interrupt_more(void **state)
{
	send_windows(*state, 8, 2);
}

/* It is shown at once, but its interrupt waits, and not for ever. */
static void a_completion_alone_is_told_in_time(void **state)
{
	struct world *w = *state;
	struct party *a = &w->party[0];
	uint64_t began, took;

	begin(w);
	began = loop_now_ns();
	send(w, 0, SMALL_BYTES);
	turn(w);
	assert_true(has_packets(a));
	assert_int_equal(interrupts(a), 0);
	while (signalled_of(a) == a->signalled) {
		loop_turn(w->hand.loop);
	}
	took = loop_now_ns() - began;
	assert_true(took >= VMBUS_LAZY_NS);
	assert_int_equal(late_of(a) - a->late, 1);
	assert_true(poll_of(w, 0, 0));
	assert_int_equal(a->guest->vsc.completions, 1);
	/* Once, and no more. */
	for (began = loop_now_ns(); loop_now_ns() - began < 3 * VMBUS_LAZY_NS;) {
		loop_turn(w->hand.loop);
	}
	assert_int_equal(signalled_of(a) - a->signalled, 1);
}

/* One who looks by himself before that is not interrupted at all. */
static void a_guest_that_has_looked_is_left_alone(void **state)
{
	struct world *w = *state;
	struct party *a = &w->party[0];
	uint64_t began;

	for (unsigned int i = 0; i < TRIES; i++) {
		begin(w);
		send(w, 0, SMALL_BYTES);
		turn(w);
		while (has_packets(a)) {
			netvsc_take_one(&a->guest->vsc);
		}
		if (late_of(a) == a->late) {
			for (began = loop_now_ns(); loop_now_ns() - began < 3 * VMBUS_LAZY_NS;) {
				loop_turn(w->hand.loop);
			}
			assert_int_equal(signalled_of(a), a->signalled);
			/* And asleep again, it is told of the next frame. */
			send(w, 1, SMALL_BYTES);
			turn(w);
			assert_int_equal(interrupts(a), 1);
			return;
		}
	}
	fail_msg("the timer is always first");
}

/* Sends until there is an interrupt that no timer made; after how many frames. 0: a timer was first. */
static unsigned int frames_until_told(struct world *w, bool is_large)
{
	struct party *a = &w->party[0];

	begin(w);
	for (unsigned int i = 1; i <= VMBUS_LAZY_PACKETS + 1; i++) {
		if (is_large) {
			send_large(w, 0);
		} else {
			send(w, 0, SMALL_BYTES);
		}
		turn(w);
		if (late_of(a) != a->late) {
			return 0;
		}
		if (interrupts(a) > 0) {
			return i;
		}
	}
	return UINT32_MAX;
}

static void expect_told_after(struct world *w, bool is_large, unsigned int wanted)
{
	unsigned int after = 0;

	for (unsigned int i = 0; i < TRIES && after == 0; i++) {
		after = frames_until_told(w, is_large);
	}
	assert_int_equal(after, wanted);
}

static void only_so_many_packets_wait(void **state)
{
	expect_told_after(*state, false, VMBUS_LAZY_PACKETS + 1);
}

static void only_so_many_bytes_wait(void **state)
{
	expect_told_after(*state, true, VMBUS_LAZY_BYTES / LARGE_BYTES + 1);
}

/* What has gone wrong is told at once. */
static void a_refusal_does_not_wait(void **state)
{
	struct world *w = *state;
	struct party *a = &w->party[0];
	const uint8_t nonsense[64] = { 0 };

	begin(w);
	netvsc_post_raw_section(&a->guest->vsc, 0, nonsense, sizeof(nonsense));
	turn(w);
	assert_int_equal(interrupts(a), 1);
}

/* A paused machine's event flags are saved with it: nothing is owed any more. */
static void a_pause_pays_what_is_owed(void **state)
{
	struct world *w = *state;
	struct party *a = &w->party[0];

	begin(w);
	send(w, 0, SMALL_BYTES);
	turn(w);
	assert_int_equal(bus_pause(fake_guest_bus(a->guest->vsc.guest)), 0);
	assert_int_equal(signalled_of(a) - a->signalled, 1);
	bus_resume(fake_guest_bus(a->guest->vsc.guest));
	turn(w);
	assert_true(poll_of(w, 0, 0));
	assert_int_equal(a->guest->vsc.completions, 1);
	/* And the next one waits again. */
	send(w, 0, SMALL_BYTES);
	turn(w);
	assert_int_equal(interrupts(a), 1);
}

/* Nor what was to be told at the end of the round in which the pause comes: here, of a full ring. */
static void a_pause_tells_what_has_been_shown(void **state)
{
	struct world *w = *state;
	struct party *a = &w->party[0];
	static const uint8_t nothing[2048];
	int err;

	begin(w);
	do {
		err = vmbus_channel_send_inband(host_end(a), 0, false, nothing, sizeof(nothing));
	} while (!err);
	assert_int_equal(err, -EAGAIN);
	assert_true(has_packets(a));
	assert_int_equal(bus_pause(fake_guest_bus(a->guest->vsc.guest)), 0);
	assert_int_equal(signalled_of(a) - a->signalled, 1);
	bus_resume(fake_guest_bus(a->guest->vsc.guest));
	while (has_packets(a)) {
		fake_channel_receive(a->guest->vsc.channel, &a->guest->vsc.packet);
	}
	turn(w);
}

/* What is written in the round of a timer, but not yet shown, is told at its end, as ever. */
static void a_timer_makes_no_frame_wait(void **state)
{
	struct world *w = *state;
	struct party *a = &w->party[0];
	const uint8_t nothing[8] = { 0 };
	uint64_t began;

	for (unsigned int i = 0; i < TRIES; i++) {
		begin(w);
		send(w, 0, SMALL_BYTES);
		turn(w);
		while (has_packets(a)) {
			netvsc_take_one(
				&a->guest->vsc); /* by itself: the timer will find nothing owed */
		}
		for (began = loop_now_ns(); loop_now_ns() - began < 2 * VMBUS_LAZY_NS;) {}
		if (late_of(a) == a->late && signalled_of(a) == a->signalled) {
			assert_int_equal(vmbus_channel_send_inband(host_end(a), 0, false, nothing,
								   sizeof(nothing)),
					 0);
			loop_turn(w->hand.loop);
			assert_int_equal(interrupts(a), 1);
			fake_channel_receive(a->guest->vsc.channel, &a->guest->vsc.packet);
			return;
		}
	}
	fail_msg("the timer is always first");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_trip_is_an_interrupt_for_each),
		T(a_trip_of_a_quick_guest_is_a_doorbell_for_each),
		T(a_window_costs_what_a_trip_costs),
		T(a_pair_of_large_segments_costs_what_a_trip_costs),
		T(a_window_of_large_segments_costs_one_interrupt_more),
		T(a_completion_alone_is_told_in_time),
		T(a_guest_that_has_looked_is_left_alone),
		T(only_so_many_packets_wait),
		T(only_so_many_bytes_wait),
		T(a_refusal_does_not_wait),
		T(a_pause_pays_what_is_owed),
		T(a_pause_tells_what_has_been_shown),
		T(a_timer_makes_no_frame_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

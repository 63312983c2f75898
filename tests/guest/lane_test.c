/* SPDX-License-Identifier: MIT */
/*
 * Lanes into NetVSP: a thread brings frames from its own loop into a queue of a NIC, while the guest
 * takes them on another, gives pieces back late, closes, opens, revokes, sets things, and lanes are cut.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/num.h"
#include "guest/netvsc.h"
#include "net/net_impl.h"
#include "vsp/net/netvsp_internal.h"
#include "vsp/net/netvsp_lane.h"

#define SENDERS     2
#define FRAME_BYTES 120U
#define LARGE_BYTES 20000U

static const uint8_t mac[6] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 };

/* The minimal user of a lane. */
struct sender {
	unsigned int index;
	struct loop *loop;
	struct net_front *front;
	struct net_lane *lane;
	struct loop_work work;
	uint32_t number;
	_Atomic(bool) is_going;
	bool large; /* every seventh */
	_Atomic(uint64_t) sent, refused;
	struct loop_work cut;
	bool is_cut;
};

struct rig {
	struct netvsc vsc;
	struct net *net;
	struct netvsp *nic;
	struct sender senders[SENDERS];
	uint32_t last[SENDERS]; /* number that has come */
	uint64_t got;
	unsigned int large;
};

static uint32_t make_frame(uint8_t *buf, unsigned int sender, uint32_t number, bool large)
{
	uint32_t bytes = large ? LARGE_BYTES : FRAME_BYTES;

	memcpy(buf, mac, 6);
	memset(buf + 6, 0x04, 6);
	bytes_put_le16(buf + 12, 0xb588);
	bytes_put_le32(buf + 14, sender);
	bytes_put_le32(buf + 18, number);
	for (uint32_t i = 22; i < bytes; i++) {
		buf[i] = (uint8_t)(number + i);
	}
	return bytes;
}

static void send_one(struct sender *s, unsigned int which)
{
	static _Thread_local uint8_t bytes[LARGE_BYTES];
	bool large = s->large && s->number % 7 == 0;
	struct iovec iov = { bytes, make_frame(bytes, which, s->number + 1, large) };
	const struct net_frame frame = { .iov = &iov,
					 .iov_count = 1,
					 .bytes = (uint32_t)iov.iov_len,
					 .flags = large ? NET_FRAME_COALESCED : 0,
					 .l4 = NET_L4_TCP };
	int err = s->front->ops->lane_deliver(s->lane, &frame, 0);

	check(err == 0 || err == -ENOBUFS || err == -ENOSPC);
	s->number++;
	atomic_fetch_add(err ? &s->refused : &s->sent, 1);
}

static void on_send(struct loop_work *work)
{
	struct sender *s = container_of(work, struct sender, work);
	struct timespec nap = { .tv_nsec = 20000 };

	if (!atomic_load(&s->is_going)) {
		return;
	}
	for (unsigned int i = 0; i < 16; i++) {
		send_one(s, s->index);
	}
	s->front->ops->lane_flush(s->lane);
	nanosleep(&nap, NULL);
	loop_post(s->loop, work);
}

static void on_cut(struct loop_work *work)
{
	container_of(work, struct sender, cut)->is_cut = true;
}

static void sender_start(struct rig *r, unsigned int i)
{
	struct sender *s = &r->senders[i];
	struct diag diag;

	*s = (struct sender){ .index = i, .front = r->net->front, .large = i == 1 };
	check(loop_create("sender", &s->loop, &diag) == 0);
	check(loop_start_thread(s->loop, &diag) == 0);
	assert_int_equal(s->front->ops->lane_create(s->front, s->loop, &s->lane), 0);
	loop_work_init(&s->work, on_send);
	loop_work_init(&s->cut, on_cut);
	atomic_store(&s->is_going, true);
	loop_post(s->loop, &s->work);
	r->last[i] = 0;
}

static bool is_cut(void *arg)
{
	return ((struct sender *)arg)->is_cut;
}

static void sender_stop(struct rig *r, unsigned int i)
{
	struct sender *s = &r->senders[i];

	/* Cut in the middle of its work; it begins none when its loop has let go. */
	atomic_store(&s->is_going, false);
	s->front->ops->lane_cut(s->lane, &s->cut);
	assert_true(fake_guest_wait(r->vsc.guest, is_cut, s));
	loop_stop_thread(s->loop);
	loop_destroy(s->loop);
	s->loop = NULL;
}

static void start(struct rig *r)
{
	netvsc_start(&r->vsc, NVSP_VERSION_61);
	netvsc_enable_rsc(&r->vsc, true);
	netvsc_set_filter(&r->vsc, NDIS_FILTER_PROMISCUOUS);
}

static void rig_create(struct rig *r)
{
	const struct netvsp_config config = { .name = "net0", .mac = mac };
	struct netvsp_config c = config;
	struct diag diag;

	*r = (struct rig){ 0 };
	netvsc_init(&r->vsc);
	assert_int_equal(net_null_create(fake_guest_loop(r->vsc.guest), false, &r->net, &diag), 0);
	c.net = r->net;
	assert_int_equal(netvsp_create(&c, &r->nic, &diag), 0);
	fake_guest_offer(r->vsc.guest, netvsp_device(r->nic));
	fake_guest_connect(r->vsc.guest, VMBUS_VERSION_5_3);
	netvsc_open(&r->vsc);
	start(r);
}

static void rig_destroy(struct rig *r)
{
	netvsc_close(&r->vsc);
	netvsc_revoke_device(&r->vsc, netvsp_device(r->nic));
	netvsp_destroy(r->nic);
	net_destroy(r->net);
	netvsc_fini(&r->vsc);
}

/* Frames come in order, whole, and once; some are missing. */
static void take_frame(struct rig *r, const struct netvsc_item *item)
{
	uint8_t want[LARGE_BYTES];
	uint32_t i = bytes_le32(item->data + 14), number = bytes_le32(item->data + 18);

	assert_true(i < SENDERS);
	assert_true(number > r->last[i]);
	r->last[i] = number;
	assert_int_equal(make_frame(want, i, number, item->bytes == LARGE_BYTES), item->bytes);
	assert_memory_equal(want, item->data, item->bytes);
	r->large += item->bytes == LARGE_BYTES;
	r->got++;
}

static void take_frames(struct rig *r, unsigned int count)
{
	for (uint64_t end = r->got + count; r->got < end;) {
		struct netvsc_item *item = netvsc_next_frame(&r->vsc, FAKE_WAIT_NS);

		assert_non_null(item);
		take_frame(r, item);
		free(item);
	}
}

/* Nobody sends any more: all pieces are the queue's, and free when the guest has none. */
static void all_is_free(struct rig *r)
{
	const struct netvsp_queue *queue = &r->nic->queues[0];
	struct netvsc_item *item;

	while ((item = netvsc_next_frame(&r->vsc, 20000000))) {
		take_frame(r, item);
		free(item);
	}
	fake_guest_settle(r->vsc.guest);
	assert_int_equal(queue->pool.count, queue->pool.owned);
	assert_int_equal(queue->pool.owned, r->vsc.pieces);
}

static void frames_of_two_loops_arrive(void **state)
{
	struct rig r;

	(void)state;
	rig_create(&r);
	sender_start(&r, 0);
	sender_start(&r, 1);
	take_frames(&r, 3000);
	sender_stop(&r, 0);
	take_frames(&r, 500);
	sender_stop(&r, 1);
	all_is_free(&r);
	assert_true(r.large > 0);
	assert_int_equal(counter_read(&r.nic->queues[0].counters.lane_frames), r.got);
	assert_true(counter_read(&r.nic->queues[0].counters.lane_granted) >= r.got);
	assert_true(netvsp_lanes_refused(&r.nic->queues[0]) > 0); /* the first, at least */
	rig_destroy(&r);
}

static void pieces_that_the_guest_keeps_are_not_granted(void **state)
{
	struct rig r;

	(void)state;
	rig_create(&r);
	sender_start(&r, 0);
	r.vsc.keep = true;
	take_frames(&r, r.vsc.pieces / 2);
	for (unsigned int i = 0; i < 50; i++) {
		struct netvsc_item *item = netvsc_next_frame(&r.vsc, 1000000);

		if (item) {
			take_frame(&r, item);
			free(item);
		}
	}
	assert_true(r.nic->queues[0].pool.count >= NETVSP_CONTROL_PIECES);
	r.vsc.keep = false;
	netvsc_give_back(&r.vsc);
	take_frames(&r, 1000);
	sender_stop(&r, 0);
	all_is_free(&r);
	rig_destroy(&r);
}

static void what_the_guest_sets_is_heeded(void **state)
{
	struct rig r;

	(void)state;
	rig_create(&r);
	sender_start(&r, 0);
	for (unsigned int i = 0; i < 30; i++) {
		take_frames(&r, 50);
		netvsc_set_filter(&r.vsc, i % 2 ? NDIS_FILTER_PROMISCUOUS : NDIS_FILTER_DIRECTED);
	}
	netvsc_set_filter(&r.vsc, 0);
	netvsc_drain(&r.vsc);
	netvsc_expect_silence(&r.vsc);
	netvsc_set_filter(&r.vsc, NDIS_FILTER_DIRECTED);
	take_frames(&r, 50);
	sender_stop(&r, 0);
	all_is_free(&r);
	rig_destroy(&r);
}

static void a_guest_closes_and_opens_with_lanes_at_work(void **state)
{
	struct rig r;

	(void)state;
	rig_create(&r);
	sender_start(&r, 0);
	sender_start(&r, 1);
	for (unsigned int i = 0; i < 10; i++) {
		take_frames(&r, 100);
		if (i % 2) {
			netvsc_unbind(&r.vsc, i % 4 == 1);
		} else {
			netvsc_close(&r.vsc);
		}
		netvsc_open(&r.vsc);
		start(&r);
	}
	take_frames(&r, 100);
	sender_stop(&r, 1);
	sender_stop(&r, 0);
	all_is_free(&r);
	rig_destroy(&r);
}

static void lanes_come_and_go(void **state)
{
	struct rig r;

	(void)state;
	rig_create(&r);
	for (unsigned int i = 0; i < 20; i++) {
		sender_start(&r, i % 2);
		take_frames(&r, i * 3);
		sender_stop(&r, i % 2);
		all_is_free(&r);
	}
	rig_destroy(&r);
}

static void an_idle_lane_gives_its_pieces_back(void **state)
{
	struct rig r;
	struct timespec second = { .tv_sec = 1, .tv_nsec = 100000000 };

	(void)state;
	rig_create(&r);
	sender_start(&r, 0);
	take_frames(&r, 100);
	atomic_store(&r.senders[0].is_going, false);
	netvsc_drain(&r.vsc);
	assert_true(r.nic->queues[0].pool.count < r.nic->queues[0].pool.owned);
	for (unsigned int i = 0; i < 3; i++) {
		nanosleep(&second, NULL);
		netvsc_drain(&r.vsc);
	}
	all_is_free(&r);
	atomic_store(&r.senders[0].is_going, true);
	loop_post(r.senders[0].loop, &r.senders[0].work);
	take_frames(&r, 100);
	sender_stop(&r, 0);
	all_is_free(&r);
	rig_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_of_two_loops_arrive),
		cmocka_unit_test(pieces_that_the_guest_keeps_are_not_granted),
		cmocka_unit_test(what_the_guest_sets_is_heeded),
		cmocka_unit_test(a_guest_closes_and_opens_with_lanes_at_work),
		cmocka_unit_test(lanes_come_and_go),
		cmocka_unit_test(an_idle_lane_gives_its_pieces_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

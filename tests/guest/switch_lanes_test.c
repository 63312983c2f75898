/* SPDX-License-Identifier: MIT */
/*
 * Lanes between the cores of a switch: sources on both cores send without a pause, on the cores' own
 * threads, while a guest on the second core takes what comes, or does not; closes, leaves, is moved to
 * another NIC, sets things. Whatever arrives is whole, and in the order in which its source has sent it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/num.h"
#include "guest/switch_guests.h"
#include "vsp/net/netvsp_internal.h"

#define SOURCES     2U
#define SOURCE_PORT 10U /* and on */
#define TAKER       1U  /* the guest on the second core */
#define CHUNK       16U
#define HEAD_BYTES  58U /* addresses, IPv4, TCP, the number */
#define LONG_BYTES  1024U
#define LARGE_BYTES 20000U
#define WAIT_NS     3000000000ULL

/* The smallest NIC: it sends what its loop makes up. */
struct source {
	struct net_front front;
	struct net *net;
	struct loop *loop;
	struct loop_work work, start;
	unsigned int index, burst;
	uint64_t pause_ns;
	bool has_large, has_short;
	uint32_t window; /* so many are under way at most; 0: any number */
	_Atomic(uint32_t) came;
	_Atomic(bool) is_going;
	_Atomic(uint32_t) number; /* of the last that was taken */
	uint8_t bytes[CHUNK][LARGE_BYTES];
	struct iovec iov[CHUNK][2];
};

struct world {
	struct rig rig;
	struct source sources[SOURCES];
	uint32_t last[SOURCES]; /* number that has come */
	uint64_t got, large;
};

/* ---- frames ---- */

static const uint8_t taker_mac[6] = { 2, 0, 0, 0, 1, TAKER };

/* Short ones go by the ring, mostly. */
static uint32_t frame_bytes(const struct source *s, uint32_t number)
{
	const uint32_t least = s->has_short ? HEAD_BYTES : LONG_BYTES;

	if (s->has_large && number % 64 == 0) {
		return LARGE_BYTES;
	}
	return least + number * 97 % (1514 - least);
}

static uint32_t make_frame(const struct source *s, uint32_t number, uint8_t *buf)
{
	uint32_t bytes = frame_bytes(s, number);

	memcpy(buf, taker_mac, 6);
	memcpy(buf + 6, (uint8_t[]){ 2, 0, 0, 0, 2, (uint8_t)s->index }, 6);
	memset(buf + 12, 0, 42);
	bytes_put_be16(buf + 12, 0x0800);
	buf[14] = 0x45;
	bytes_put_be16(buf + 16, (uint16_t)(bytes - 14));
	buf[22] = 64;
	buf[23] = 6;
	bytes_put_be32(buf + 26, 0x0a000002);
	bytes_put_be32(buf + 30, 0x0a000001);
	buf[46] = 0x50;
	bytes_put_le32(buf + 54, number);
	for (uint32_t i = HEAD_BYTES; i < bytes; i++) {
		buf[i] = (uint8_t)(number * 7 + i + s->index);
	}
	return bytes;
}

/* Checksums and lengths are the switch's; all else is as it was sent, later than what came before. */
static void take_frame(struct world *w, struct netvsc_item *item)
{
	static uint8_t want[LARGE_BYTES];
	unsigned int source = item->data[11];
	uint32_t number = bytes_le32(item->data + 54);

	assert_in_range(item->bytes, HEAD_BYTES, LARGE_BYTES);
	assert_true(source < SOURCES);
	assert_true(number > w->last[source]);
	w->last[source] = number;
	w->sources[source].came = number;
	assert_int_equal(make_frame(&w->sources[source], number, want), item->bytes);
	assert_memory_equal(want, item->data, 24);
	assert_memory_equal(want + 54, item->data + 54, item->bytes - 54);
	w->got++;
	w->large += item->bytes == LARGE_BYTES;
	free(item);
}

static struct netvsc *vsc_of(struct world *w)
{
	return &w->rig.party[TAKER].vsc;
}

static void take_frames(struct world *w, unsigned int count)
{
	for (uint64_t end = w->got + count; w->got < end;) {
		struct netvsc_item *item = netvsc_next_frame(vsc_of(w), WAIT_NS);

		assert_non_null(item);
		take_frame(w, item);
	}
}

/* ---- sources ---- */

static unsigned int send_chunk(struct source *s, unsigned int count)
{
	struct net_frame frames[CHUNK];
	uint32_t number = s->number;
	unsigned int taken;

	for (unsigned int i = 0; i < count; i++) {
		uint32_t bytes = make_frame(s, number + i + 1, s->bytes[i]);

		s->iov[i][1] = (struct iovec){ s->bytes[i], bytes };
		frames[i] =
			(struct net_frame){ .iov = &s->iov[i][1], .iov_count = 1, .bytes = bytes };
		if (bytes == LARGE_BYTES) {
			frames[i].flags = NET_FRAME_LSO;
			frames[i].mss = 1400;
		}
	}
	if (net_send_many(s->net, frames, count, &taken)) {
		check(taken < count); /* its turn is over */
	}
	s->number = number + taken;
	return taken;
}

static void on_work(struct loop_work *work)
{
	struct source *s = container_of(work, struct source, work);
	struct timespec nap = { .tv_nsec = (long)s->pause_ns };

	if (!s->is_going) {
		return;
	}
	for (unsigned int sent = 0; sent < s->burst; sent += CHUNK) {
		if (s->window && s->number + CHUNK - s->came > s->window) {
			break;
		}
		if (send_chunk(s, CHUNK) < CHUNK) {
			break;
		}
	}
	nanosleep(&nap, NULL);
	loop_post(s->loop, work);
}

static int deliver(struct net_front *front, const struct net_frame *frame)
{
	(void)front;
	(void)frame;
	return 0;
}

static void nothing(struct net_front *front)
{
	(void)front;
}

static const struct net_front_ops source_ops = {
	.deliver = deliver,
	.batch_end = nothing,
	.writable = nothing,
	.link_changed = nothing,
};

static void attach(void *arg)
{
	struct source *s = arg;
	struct net_front_config config = { .mac = { 2, 0, 0, 0, 2, (uint8_t)s->index },
					   .mtu = 1500 };

	check(net_attach(s->net, &s->front, &config) == 0);
}

/* Before rig_adopt(). */
static void add_source(struct world *w, unsigned int index)
{
	struct source *s = &w->sources[index];
	uint16_t port = (uint16_t)(SOURCE_PORT + index);
	char name[16];

	snprintf(name, sizeof(name), "source%u", index);
	s->index = index;
	s->has_short = true;
	s->loop = w->rig.loops[index];
	s->front.ops = &source_ops;
	loop_work_init(&s->work, on_work);
	assert_int_equal(vswitch_port_add(w->rig.vswitch, port, name), 0);
	policy_port_init(w->rig.policy, port, PORT_GUEST);
	rig_create_end(&w->rig, port, s->loop, &s->net);
}

static void go(struct world *w, unsigned int index, unsigned int burst, uint64_t pause_ns,
	       bool large)
{
	struct source *s = &w->sources[index];

	s->burst = burst;
	s->pause_ns = pause_ns;
	s->has_large = large;
	s->is_going = true;
	loop_post(s->loop, &s->work);
}

static void nop(void *arg)
{
	(void)arg;
}

/* It sends no more, and all that it has sent is where it goes. */
static void halt(struct world *w, unsigned int index)
{
	w->sources[index].is_going = false;
	for (int i = 0; i < 8; i++) {
		loop_call(w->rig.loops[i % 2], nop, NULL);
	}
}

/* ---- the world ---- */

static struct world *world_create(void)
{
	struct world *w = calloc(1, sizeof(*w));

	rig_create(&w->rig, 2, 2, 1500);
	netvsc_enable_rsc(vsc_of(w), true);
	for (unsigned int i = 0; i < SOURCES; i++) {
		add_source(w, i);
	}
	rig_adopt(&w->rig);
	for (unsigned int i = 0; i < SOURCES; i++) {
		loop_call(w->sources[i].loop, attach, &w->sources[i]);
	}
	rig_settle(&w->rig);
	return w;
}

static void world_destroy(struct world *w)
{
	for (unsigned int i = 0; i < SOURCES; i++) {
		struct source *s = &w->sources[i];

		halt(w, i);
		rig_stop_net(&w->rig, s->loop, s->net);
		net_destroy(s->net);
		vswitch_port_remove(w->rig.vswitch, (uint16_t)(SOURCE_PORT + i));
	}
	rig_destroy(&w->rig);
	free(w);
}

static struct netvsp_queue *queue_of(struct world *w)
{
	return &w->rig.party[TAKER].nic->queues[0];
}

static struct core_stats stats_of(struct world *w, unsigned int core)
{
	struct core_stats stats;

	vswitch_core_stats(w->rig.vswitch, core, &stats);
	return stats;
}

static struct port_stats port_stats_of(struct world *w, unsigned int port)
{
	struct port_stats stats;

	vswitch_port_stats(w->rig.vswitch, (uint16_t)port, &stats);
	return stats;
}

/* Nobody sends any more. Every frame that was sent has come, or is counted as dropped, once. */
static void all_is_accounted_for(struct world *w)
{
	struct netvsc_item *item;
	uint64_t sent = 0, lost = 0;
	struct port_stats stats;

	while ((item = netvsc_next_frame(vsc_of(w), 50000000))) {
		take_frame(w, item);
	}
	stats = port_stats_of(w, TAKER);
	for (unsigned int i = 0; i < DROP_CAUSE_COUNT; i++) {
		lost += stats.drops[i];
	}
	for (unsigned int i = 0; i < SOURCES; i++) {
		sent += w->sources[i].number;
		assert_int_equal(port_stats_of(w, SOURCE_PORT + i).sent_frames,
				 w->sources[i].number);
	}
	assert_int_equal(stats.delivered_frames, w->got);
	assert_int_equal(stats.delivered_large, w->large);
	assert_int_equal(sent, w->got + lost);
}

struct pool_look {
	const struct netvsp_queue *queue;
	uint32_t count, owned;
};

static void look(void *arg)
{
	struct pool_look *look = arg;

	look->count = look->queue->pool.count;
	look->owned = look->queue->pool.owned;
}

/* When its lanes have been idle, all pieces are the queue's, and free. */
static void all_pieces_come_back(struct world *w)
{
	struct pool_look pool = { .queue = queue_of(w) };
	struct timespec nap = { .tv_nsec = 50000000 };

	for (unsigned int i = 0; i < 100; i++) {
		netvsc_drain(vsc_of(w));
		fake_guest_settle(vsc_of(w)->guest);
		loop_call(w->rig.party[TAKER].loop, look, &pool);
		if (pool.count == pool.owned) {
			break;
		}
		nanosleep(&nap, NULL);
	}
	assert_int_equal(pool.count, pool.owned);
	assert_int_equal(pool.owned, vsc_of(w)->pieces);
}

static void end(struct world *w)
{
	all_pieces_come_back(w);
	world_destroy(w);
}

/* ---- tests ---- */

static void frames_go_straight_to_a_guest_of_another_core(void **state)
{
	struct world *w = world_create();

	(void)state;
	w->sources[0].window = 4 * CHUNK;
	w->sources[0].has_short = false;
	go(w, 0, CHUNK, 20000, true);
	take_frames(w, 4000);
	halt(w, 0);
	all_is_accounted_for(w);
	assert_int_equal(w->got, w->sources[0].number);
	assert_true(w->large > 50);
	/* but for the first, until there is a lane, and for what it had no room for */
	assert_true(stats_of(w, 0).lane_frames > w->got * 9 / 10);
	assert_int_equal(stats_of(w, 0).lane_frames + stats_of(w, 0).handed_over, w->got);
	assert_true(stats_of(w, 0).handed_over > 0);
	assert_int_equal(counter_read(&queue_of(w)->counters.lane_frames),
			 stats_of(w, 0).lane_frames);
	assert_int_equal(net_counters(w->rig.party[TAKER].net)->delivered_frames, w->got);
	assert_int_equal(net_counters(w->rig.party[TAKER].net)->delivered_large, w->large);
	end(w);
}

/* Bursts that are longer than what is granted; and another source at the queue's own core. */
static void both_ways_together_keep_the_order(void **state)
{
	struct world *w = world_create();

	(void)state;
	go(w, 0, 256, 500000, true);
	go(w, 1, 32, 500000, false);
	take_frames(w, 10000);
	halt(w, 0);
	halt(w, 1);
	all_is_accounted_for(w);
	assert_true(stats_of(w, 0).lane_frames > 1000);
	assert_true(stats_of(w, 0).handed_over > 100);
	assert_int_equal(stats_of(w, 1).lane_frames, 0);
	end(w);
}

/* A guest that takes nothing loses what is sent to it, and nobody waits. */
static void who_stops_taking_loses_frames(void **state)
{
	struct world *w = world_create();

	(void)state;
	w->sources[0].has_short = false;
	go(w, 0, CHUNK, 20000, true);
	take_frames(w, 100);
	for (unsigned int round = 0; round < 3; round++) {
		uint32_t at = w->sources[0].number;
		uint64_t lost = rig_drops(&w->rig, TAKER, DROP_NO_BUFFER);
		uint64_t handed = 0;

		vsc_of(w)->keep = true;
		while (rig_drops(&w->rig, TAKER, DROP_NO_BUFFER) < lost + 2000) {
			struct netvsc_item *item = netvsc_next_frame(vsc_of(w), 100000);

			if (item) {
				take_frame(w, item);
			}
			if (handed == 0 &&
			    rig_drops(&w->rig, TAKER, DROP_NO_BUFFER) > lost + 1000) {
				handed = stats_of(w, 0).handed_over;
			}
		}
		assert_true(w->sources[0].number > at + 1900); /* it counts behind the chunk */
		/* the sender's core knows, and does not copy what will be lost */
		assert_true(stats_of(w, 0).handed_over - handed < 100);
		vsc_of(w)->keep = false;
		netvsc_give_back(vsc_of(w));
		take_frames(w, 500);
	}
	halt(w, 0);
	all_is_accounted_for(w);
	end(w);
}

static void restart_driver(struct world *w, unsigned int how)
{
	if (how % 2) {
		netvsc_unbind(vsc_of(w), how % 4 == 1);
	} else {
		netvsc_close(vsc_of(w));
	}
	netvsc_open(vsc_of(w));
	netvsc_start(vsc_of(w), NVSP_VERSION_61);
	netvsc_enable_rsc(vsc_of(w), true);
	netvsc_set_filter(vsc_of(w), NDIS_FILTER_DIRECTED);
}

static void a_driver_comes_and_goes_under_traffic(void **state)
{
	struct world *w = world_create();

	(void)state;
	go(w, 0, 64, 50000, true);
	go(w, 1, CHUNK, 100000, false);
	for (unsigned int i = 0; i < 12; i++) {
		take_frames(w, 300);
		restart_driver(w, i);
	}
	take_frames(w, 300);
	halt(w, 0);
	halt(w, 1);
	end(w);
}

static void start_another_nic(struct world *w)
{
	vsc_of(w)->mtu = 1514;
	rig_make_nic(&w->rig, TAKER);
	rig_start(&w->rig.party[TAKER]);
	netvsc_enable_rsc(vsc_of(w), true);
	rig_settle(&w->rig);
}

/* As when a device is taken home and lent again: another NIC at the same end. */
static void a_nic_is_replaced_under_traffic(void **state)
{
	struct world *w = world_create();

	(void)state;
	go(w, 0, 64, 50000, true);
	for (unsigned int i = 0; i < 8; i++) {
		take_frames(w, 300);
		rig_remove_nic(&w->rig, TAKER);
		netvsc_fini(vsc_of(w));
		if (i % 2) {
			rig_settle(&w->rig); /* else the cores never hear that there was none */
		}
		netvsc_init(vsc_of(w));
		start_another_nic(w);
	}
	take_frames(w, 300);
	halt(w, 0);
	assert_true(stats_of(w, 0).lane_frames > 1000);
	end(w);
}

static void a_port_comes_and_goes_under_traffic(void **state)
{
	struct world *w = world_create();

	(void)state;
	go(w, 0, 64, 50000, true);
	go(w, 1, CHUNK, 100000, false);
	for (unsigned int i = 0; i < 8; i++) {
		take_frames(w, 300);
		rig_unplug(&w->rig, TAKER);
		rig_plug(&w->rig, TAKER);
		rig_adopt(&w->rig);
		start_another_nic(w);
	}
	take_frames(w, 300);
	halt(w, 0);
	halt(w, 1);
	end(w);
}

static void what_is_paused_and_set_under_traffic_stays_in_order(void **state)
{
	struct world *w = world_create();

	(void)state;
	go(w, 0, 64, 50000, true);
	for (unsigned int i = 0; i < 20; i++) {
		take_frames(w, 200);
		netvsp_pause(w->rig.party[TAKER].nic);
		netvsp_resume(w->rig.party[TAKER].nic);
		take_frames(w, 200);
		netvsc_set_filter(vsc_of(w),
				  i % 2 ? NDIS_FILTER_DIRECTED : NDIS_FILTER_PROMISCUOUS);
	}
	halt(w, 0);
	end(w);
}

/* One frame a while: an idle lane has given its pieces back, and the next frame finds its way. */
static void a_quiet_source_loses_nothing(void **state)
{
	struct world *w = world_create();
	struct timespec nap = { .tv_nsec = 300000000 };

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		uint32_t before = w->sources[0].number;

		go(w, 0, CHUNK, 0, false);
		while (w->sources[0].number == before) {}
		halt(w, 0);
		all_is_accounted_for(w);
		assert_int_equal(w->got, w->sources[0].number);
		for (unsigned int k = 0; k < 8; k++) {
			nanosleep(&nap, NULL);
			netvsc_drain(vsc_of(w));
		}
		all_pieces_come_back(w);
	}
	world_destroy(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_go_straight_to_a_guest_of_another_core),
		cmocka_unit_test(both_ways_together_keep_the_order),
		cmocka_unit_test(who_stops_taking_loses_frames),
		cmocka_unit_test(a_driver_comes_and_goes_under_traffic),
		cmocka_unit_test(a_nic_is_replaced_under_traffic),
		cmocka_unit_test(a_port_comes_and_goes_under_traffic),
		cmocka_unit_test(what_is_paused_and_set_under_traffic_stays_in_order),
		cmocka_unit_test(a_quiet_source_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * For the tests of NetVSP with several queues: a NIC whose back end has an end for each, on the guest's
 * loop or on threads of their own, and a guest's driver that talks on every queue.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/num.h"
#include "guest/netvsc.h"
#include "net/net_impl.h"
#include "net/steer.h"

#define QUEUES_MAX 4

struct rig {
	struct netvsc vsc;
	struct net *ends[QUEUES_MAX];
	struct loop *loops[QUEUES_MAX]; /* of sub-channels, when they have threads */
	unsigned int queues;
	bool has_threads;
	struct netvsp *nic;
};

static const uint8_t mac[6] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 };
static const uint8_t peer[6] = { 0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee };

/* ---- the rig ------------------------------------------------------------------------------------- */

struct rig_config {
	unsigned int queues;
	bool echo, has_threads;
	uint32_t nvsp_max;
};

static inline void rig_make_nic(struct rig *r, uint32_t nvsp_max)
{
	struct netvsp_config config = { .name = "net0",
					.mac = mac,
					.net = r->ends[0],
					.twins = r->ends + 1,
					.twin_count = r->queues - 1,
					.nvsp_max = nvsp_max };
	struct diag diag;

	assert_int_equal(netvsp_create(&config, &r->nic, &diag), 0);
	assert_int_equal(netvsp_queues(r->nic), r->queues);
}

static inline void rig_create(struct rig *r, struct rig_config how)
{
	struct diag diag;

	memset(r, 0, sizeof(*r));
	r->queues = how.queues;
	r->has_threads = how.has_threads;
	netvsc_init(&r->vsc);
	assert_int_equal(net_null_create_many(fake_guest_loop(r->vsc.guest), how.echo, &r->ends[0]),
			 0);
	for (unsigned int i = 1; i < how.queues; i++) {
		r->loops[i] = fake_guest_loop(r->vsc.guest);
		if (how.has_threads) {
			assert_int_equal(loop_create("queue", &r->loops[i], &diag), 0);
		}
		assert_int_equal(net_twin(r->ends[0], r->loops[i], &r->ends[i]), 0);
	}
	rig_make_nic(r, how.nvsp_max);
	for (unsigned int i = 1; how.has_threads && i < how.queues; i++) {
		assert_int_equal(loop_start_thread(r->loops[i], &diag), 0);
	}
	fake_guest_offer(r->vsc.guest, netvsp_device(r->nic));
	fake_guest_connect(r->vsc.guest, VMBUS_VERSION_5_3);
	netvsc_open(&r->vsc);
}

static inline void rig_destroy(struct rig *r)
{
	netvsc_close(&r->vsc);
	netvsc_revoke_device(&r->vsc, netvsp_device(r->nic));
	netvsp_destroy(r->nic);
	for (unsigned int i = 1; r->has_threads && i < r->queues; i++) {
		loop_stop_thread(r->loops[i]);
	}
	for (unsigned int i = r->queues; i-- > 0;) {
		net_destroy(r->ends[i]);
	}
	for (unsigned int i = 1; r->has_threads && i < r->queues; i++) {
		loop_destroy(r->loops[i]);
	}
	netvsc_fini(&r->vsc);
}

/* From INIT to a filter that wants all, with all the sub-channels that there are. */
static inline unsigned int rig_start(struct rig *r, uint32_t version)
{
	unsigned int subs;

	netvsc_start(&r->vsc, version);
	subs = netvsc_open_subs(&r->vsc, 7);
	netvsc_set_filter(&r->vsc, NDIS_FILTER_PROMISCUOUS);
	return subs;
}

/* A TCP segment of a flow: the port says which. */
#define FLOW_BYTES 74U
static inline void make_flow(uint8_t *frame, const uint8_t *to, const uint8_t *from, uint16_t port)
{
	memset(frame, 0, FLOW_BYTES);
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	frame[12] = 8;
	frame[14] = 0x45;
	frame[23] = 6;
	memcpy(frame + 26, (uint8_t[]){ 10, 0, 0, 1, 10, 0, 0, 2 }, 8);
	frame[34] = (uint8_t)(port >> 8);
	frame[35] = (uint8_t)port;
	frame[37] = 80;
}

static inline int deliver_to(struct rig *r, unsigned int queue, const uint8_t *frame,
			     uint32_t bytes, uint16_t flags)
{
	struct iovec iov = { (void *)(uintptr_t)frame, bytes };
	struct net_frame nf = {
		.iov = &iov, .iov_count = 1, .bytes = bytes, .flags = flags, .l4 = NET_L4_TCP
	};

	return net_null_deliver(r->ends[queue], &nf);
}

static inline void nap(void)
{
	struct timespec time = { .tv_nsec = 2000000 };

	nanosleep(&time, NULL);
}

static inline void converse_on(struct rig *r, unsigned int queue)
{
	uint8_t frame[FLOW_BYTES];

	netvsc_select(&r->vsc, queue);
	for (uint16_t i = 0; i < 5; i++) {
		make_flow(frame, peer, mac, i);
		assert_int_equal(netvsc_send_section(&r->vsc, queue * 8 + i, frame, sizeof(frame)),
				 NVSP_STATUS_SUCCESS);
		make_flow(frame, mac, peer, i);
		netvsc_expect_frame(&r->vsc, frame, sizeof(frame));
	}
	make_flow(frame, peer, mac, 9);
	assert_int_equal(netvsc_send_pages(&r->vsc, frame, sizeof(frame)), NVSP_STATUS_SUCCESS);
	make_flow(frame, mac, peer, 9);
	netvsc_expect_frame(&r->vsc, frame, sizeof(frame));
	netvsc_select(&r->vsc, 0);
}

/* Delivers flows; each must arrive where the table says, with its hash. */
static inline void check_flows(struct rig *r, const uint32_t *table, unsigned int entries)
{
	struct net_rss rss = { .is_on = true,
			       .queues = QUEUES_MAX,
			       .table_entries = NET_RSS_TABLE_ENTRIES,
			       .hash_types = NET_RSS_IPV4 | NET_RSS_TCP_IPV4 };
	unsigned int seen[QUEUES_MAX] = { 0 };
	struct steer steer;

	memcpy(rss.key, netvsc_rss_key, sizeof(rss.key));
	for (uint16_t i = 0; i < NET_RSS_TABLE_ENTRIES; i++) {
		rss.table[i] = (uint16_t)table[i % entries];
	}
	steer_init(&steer, &rss);
	for (uint16_t port = 0; port < 64; port++) {
		uint8_t frame[FLOW_BYTES];
		struct iovec iov = { frame, sizeof(frame) };
		struct net_frame nf = { .iov = &iov, .iov_count = 1, .bytes = sizeof(frame) };
		unsigned int queue;
		uint32_t hash;
		int err;

		make_flow(frame, mac, peer, port);
		assert_true(steer_hash(&steer, frame, sizeof(frame), &hash));
		queue = net_null_deliver_steered(r->ends[0], &nf, &err);
		assert_int_equal(err, 0);
		assert_int_equal(queue, table[(hash & 127) % entries]);
		netvsc_select(&r->vsc, queue);
		netvsc_expect_frame(&r->vsc, frame, sizeof(frame));
		assert_true(r->vsc.frame_has_hash);
		assert_int_equal(r->vsc.frame_hash, hash);
		seen[queue]++;
	}
	for (unsigned int i = 0; i < entries; i++) {
		assert_true(seen[table[i]] > 0);
	}
	netvsc_select(&r->vsc, 0);
}

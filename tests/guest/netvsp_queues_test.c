/* SPDX-License-Identifier: MIT */
/*
 * A guest's network driver with several queues, as Linux's: sub-channels of each version, receive-side
 * scaling, what all queues must hear of at once, closes and revocations with queues at work, save and
 * load in the middle, and queues on threads of their own.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include <jansson.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "guest/fake_internal.h"
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

static void rig_make_nic(struct rig *r, uint32_t nvsp_max)
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

static void rig_create(struct rig *r, struct rig_config how)
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

static void rig_destroy(struct rig *r)
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
static unsigned int rig_start(struct rig *r, uint32_t version)
{
	unsigned int subs;

	netvsc_start(&r->vsc, version);
	subs = netvsc_open_subs(&r->vsc, 7);
	netvsc_set_filter(&r->vsc, NDIS_FILTER_PROMISCUOUS);
	return subs;
}

/* A TCP segment of a flow: the port says which. */
#define FLOW_BYTES 74U
static void make_flow(uint8_t *frame, const uint8_t *to, const uint8_t *from, uint16_t port)
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

static int deliver_to(struct rig *r, unsigned int queue, const uint8_t *frame, uint32_t bytes,
		      uint16_t flags)
{
	struct iovec iov = { (void *)(uintptr_t)frame, bytes };
	struct net_frame nf = {
		.iov = &iov, .iov_count = 1, .bytes = bytes, .flags = flags, .l4 = NET_L4_TCP
	};

	return net_null_deliver(r->ends[queue], &nf);
}

static void nap(void)
{
	struct timespec time = { .tv_nsec = 2000000 };

	nanosleep(&time, NULL);
}

/* ---- versions ------------------------------------------------------------------------------------ */

static const uint32_t versions[] = { NVSP_VERSION_1, NVSP_VERSION_2, NVSP_VERSION_4,
				     NVSP_VERSION_5, NVSP_VERSION_6, NVSP_VERSION_61 };

static void converse_on(struct rig *r, unsigned int queue)
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

static void check_caps(struct rig *r)
{
	uint8_t info[64];
	uint32_t bytes;

	assert_int_equal(netvsc_query(&r->vsc, OID_GEN_RSS_CAPABILITIES, info, &bytes), 0);
	assert_int_equal(bytes, NDIS_RSS_CAPABILITIES_BYTES);
	assert_int_equal(info[0], NDIS_OBJECT_RSS_CAPS);
	assert_int_equal(bytes_le32(info + 12), r->queues);
	assert_int_equal(bytes_le16(info + 16), NET_RSS_TABLE_ENTRIES);
}

static void run_version(struct rig *r, uint32_t version)
{
	unsigned int subs = 0;

	netvsc_start(&r->vsc, version);
	check_caps(r);
	if (version >= NVSP_VERSION_5) {
		subs = netvsc_open_subs(&r->vsc, 7);
		assert_int_equal(subs, r->queues - 1);
		for (unsigned int i = 0; subs && i < NVSP_SEND_TABLE_ENTRIES; i++) {
			assert_int_equal(r->vsc.send_table[i], i % r->queues);
		}
	} else {
		uint32_t status;

		assert_int_equal(netvsc_ask_subs(&r->vsc, 3, &status), 0);
		assert_int_not_equal(status, NVSP_STATUS_SUCCESS);
	}
	netvsc_set_filter(&r->vsc, NDIS_FILTER_PROMISCUOUS);
	for (unsigned int i = 0; i <= subs; i++) {
		converse_on(r, i);
	}
}

static void each_version_works_with_one_two_and_four_queues(void **state)
{
	(void)state;
	for (unsigned int queues = 1; queues <= 4; queues *= 2) {
		struct rig r;

		rig_create(&r, (struct rig_config){ .queues = queues, .echo = true });
		for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
			run_version(&r, versions[i]);
			netvsc_close(&r.vsc);
			netvsc_open(&r.vsc);
		}
		rig_destroy(&r);
	}
}

static void a_host_may_speak_old_versions_only(void **state)
{
	(void)state;
	for (size_t max = 0; max < ARRAY_SIZE(versions); max++) {
		struct rig r;

		rig_create(&r, (struct rig_config){
				       .queues = 2, .echo = true, .nvsp_max = versions[max] });
		/* As guests do: from the newest down. */
		for (size_t i = ARRAY_SIZE(versions); i-- > max + 1;) {
			assert_int_equal(netvsc_init_version(&r.vsc, versions[i]),
					 NVSP_STATUS_PROTOCOL_TOO_NEW);
		}
		run_version(&r, versions[max]);
		rig_destroy(&r);
	}
}

static void sub_channels_are_granted_once_and_no_more_than_there_are(void **state)
{
	uint32_t status;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 3 });
	netvsc_start(&r.vsc, NVSP_VERSION_61);
	netvsc_send_nvsp(&r.vsc, (uint32_t[]){ NVSP_SUBCHANNEL, 2, 1 }, 12);
	assert_int_equal(bytes_le32(r.vsc.packet.payload + 4), NVSP_STATUS_FAIL);
	assert_int_equal(netvsc_ask_subs(&r.vsc, 0, &status), 0);
	assert_int_equal(netvsc_ask_subs(&r.vsc, UINT32_MAX, &status), 2);
	assert_int_equal(status, NVSP_STATUS_SUCCESS);
	netvsc_open_sub(&r.vsc, 1);
	assert_int_equal(netvsc_ask_subs(&r.vsc, 2, &status), 0);
	assert_int_equal(status, NVSP_STATUS_FAIL);
	fake_guest_settle(r.vsc.guest);
	netvsc_expect_silence(&r.vsc);
	assert_int_equal(r.vsc.tables, 0); /* one is not open yet */
	netvsc_open_sub(&r.vsc, 2);
	fake_guest_settle(r.vsc.guest);
	netvsc_expect_silence(&r.vsc);
	assert_int_equal(r.vsc.tables, 1);
	rig_destroy(&r);
}

/* ---- receive-side scaling ------------------------------------------------------------------------ */

/* Delivers flows; each must arrive where the table says, with its hash. */
static void check_flows(struct rig *r, const uint32_t *table, unsigned int entries)
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

static void flows_arrive_where_the_table_says(void **state)
{
	static const uint32_t all[] = { 0, 1, 2, 3 }, some[] = { 3, 1 }, one[] = { 2 },
			      bad[] = { 0, 4 };
	uint8_t info[1024];
	uint32_t bytes;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 4 });
	assert_int_equal(rig_start(&r, NVSP_VERSION_61), 3);
	assert_int_equal(netvsc_query(&r.vsc, OID_GEN_RSS_PARAMETERS, info, &bytes),
			 RNDIS_STATUS_NOT_SUPPORTED);
	assert_int_equal(netvsc_set_rss(&r.vsc, all, 4), RNDIS_STATUS_SUCCESS);
	check_flows(&r, all, 4);
	assert_int_equal(netvsc_set_rss(&r.vsc, some, 2), RNDIS_STATUS_SUCCESS);
	check_flows(&r, some, 2);
	assert_int_equal(netvsc_set_rss(&r.vsc, one, 1), RNDIS_STATUS_SUCCESS);
	check_flows(&r, one, 1);
	assert_int_equal(netvsc_query(&r.vsc, OID_GEN_RSS_PARAMETERS, info, &bytes), 0);
	assert_int_equal(bytes, 592);
	assert_int_equal(bytes_le32(info + 40 + 4 * 77), 2);
	/* A queue that there is not: refused, and off, as it was switched off before. */
	assert_int_equal(netvsc_set_rss(&r.vsc, bad, 2), RNDIS_STATUS_INVALID_DATA);
	make_flow(info, mac, peer, 4);
	assert_int_equal(deliver_to(&r, 0, info, FLOW_BYTES, NET_FRAME_HASH), 0);
	netvsc_expect_frame(&r.vsc, info, FLOW_BYTES);
	assert_false(r.vsc.frame_has_hash);
	rig_destroy(&r);
}

/* ---- what all queues hear ------------------------------------------------------------------------ */

static void expect_nothing_anywhere(struct rig *r)
{
	for (unsigned int i = 0; i < r->vsc.channel_count; i++) {
		netvsc_select(&r->vsc, i);
		netvsc_expect_silence(&r->vsc);
	}
	netvsc_select(&r->vsc, 0);
}

static void no_frame_comes_after_the_filter_was_cleared(void **state)
{
	uint8_t frame[FLOW_BYTES];
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 4 });
	rig_start(&r, NVSP_VERSION_61);
	make_flow(frame, mac, peer, 1);
	for (int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 4; i++) {
			assert_int_equal(deliver_to(&r, i, frame, sizeof(frame), 0), 0);
			netvsc_select(&r.vsc, i);
			netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
		}
		netvsc_select(&r.vsc, 0);
		netvsc_set_filter(&r.vsc, 0);
		for (unsigned int i = 0; i < 4; i++) {
			assert_int_equal(deliver_to(&r, i, frame, sizeof(frame), 0), 0);
		}
		expect_nothing_anywhere(&r);
		netvsc_set_filter(&r.vsc, NDIS_FILTER_DIRECTED);
	}
	rig_destroy(&r);
}

static void halt_and_revoke_take_the_buffers_from_all_queues(void **state)
{
	uint8_t frame[FLOW_BYTES];
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 3 });
	make_flow(frame, mac, peer, 1);
	for (int round = 0; round < 4; round++) {
		rig_start(&r, NVSP_VERSION_61);
		r.vsc.keep = round % 2; /* the guest has pieces while the buffer goes */
		for (unsigned int i = 0; i < 3; i++) {
			assert_int_equal(deliver_to(&r, i, frame, sizeof(frame), 0), 0);
			netvsc_select(&r.vsc, i);
			netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
		}
		r.vsc.keep = false;
		netvsc_select(&r.vsc, 0);
		netvsc_unbind(&r.vsc, round / 2);
		for (unsigned int i = 0; i < 3; i++) {
			assert_int_equal(deliver_to(&r, i, frame, sizeof(frame), 0), 0);
		}
		netvsc_open(&r.vsc);
	}
	rig_destroy(&r);
}

static void buffers_may_be_changed_while_sub_channels_are_open(void **state)
{
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 3, .echo = true });
	rig_start(&r, NVSP_VERSION_61);
	converse_on(&r, 2);
	netvsc_send_nvsp(&r.vsc, (uint32_t[]){ NVSP_REVOKE_RECV_BUF, NETVSC_RECV_ID }, 8);
	netvsc_send_nvsp(&r.vsc, (uint32_t[]){ NVSP_REVOKE_SEND_BUF, NETVSC_SEND_ID }, 8);
	netvsc_select(&r.vsc, 1);
	assert_int_equal(netvsc_send_rndis(&r.vsc, 0, 64), NVSP_STATUS_INVALID_RNDIS);
	netvsc_select(&r.vsc, 0);
	netvsc_send_nvsp(&r.vsc,
			 (uint32_t[]){ NVSP_SEND_SEND_BUF, r.vsc.send_gpadl, NETVSC_SEND_ID }, 12);
	netvsc_send_nvsp(&r.vsc,
			 (uint32_t[]){ NVSP_SEND_RECV_BUF, r.vsc.recv_gpadl, NETVSC_RECV_ID }, 12);
	assert_int_equal(bytes_le32(r.vsc.packet.payload + 4), NVSP_STATUS_SUCCESS);
	for (unsigned int i = 0; i < 3; i++) {
		converse_on(&r, i);
	}
	rig_destroy(&r);
}

static void a_sub_channel_may_close_and_open_again(void **state)
{
	static const struct guid type = NVSP_INTERFACE;
	uint8_t frame[FLOW_BYTES];
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 2, .echo = true });
	rig_start(&r, NVSP_VERSION_61);
	make_flow(frame, mac, peer, 1);
	for (int round = 0; round < 3; round++) {
		/* Pieces that it has never given back are the queue's again. */
		r.vsc.keep = true;
		netvsc_select(&r.vsc, 1);
		while (deliver_to(&r, 1, frame, sizeof(frame), 0) == 0) {
			netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
		}
		r.vsc.keep = false;
		r.vsc.kept_count = 0;
		fake_channel_close(r.vsc.channels[1]);
		assert_int_equal(deliver_to(&r, 1, frame, sizeof(frame), 0), 0); /* lost */
		r.vsc.channels[1] = fake_channel_open(r.vsc.guest, &type, 1, NETVSC_RING_BYTES);
		converse_on(&r, 1);
		converse_on(&r, 0);
	}
	rig_destroy(&r);
}

static void closing_the_primary_under_traffic_closes_all(void **state)
{
	static const struct guid type = NVSP_INTERFACE;
	uint8_t frame[FLOW_BYTES];
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 3, .echo = true });
	make_flow(frame, peer, mac, 1);
	for (int round = 0; round < 3; round++) {
		rig_start(&r, NVSP_VERSION_61);
		for (unsigned int i = 0; i < 3; i++) {
			netvsc_select(&r.vsc, i);
			netvsc_post_section(&r.vsc, i, frame, sizeof(frame));
		}
		netvsc_select(&r.vsc, 0);
		if (round == 1) {
			fake_guest_unload(r.vsc.guest);
			fake_guest_settle(r.vsc.guest);
			for (unsigned int i = 0; i < 3; i++) {
				free(r.vsc.channels[i]);
			}
			r.vsc.channel = NULL;
			r.vsc.channel_count = 0;
			r.vsc.recv_gpadl = r.vsc.send_gpadl = 0;
			fake_guest_connect(r.vsc.guest, VMBUS_VERSION_5_3);
		} else {
			netvsc_close(&r.vsc);
		}
		netvsc_open(&r.vsc);
	}
	assert_null(fake_guest_find_offer(r.vsc.guest, &type, 1));
	rig_destroy(&r);
}

/* ---- flow ---------------------------------------------------------------------------------------- */

static void a_queue_without_pieces_holds_up_no_other(void **state)
{
	uint8_t frame[FLOW_BYTES], info[64];
	uint32_t given = 0, bytes;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 2 });
	r.vsc.recv_bytes = 1 << 20;
	rig_start(&r, NVSP_VERSION_61);
	make_flow(frame, mac, peer, 1);
	r.vsc.keep = true;
	netvsc_select(&r.vsc, 1);
	while (deliver_to(&r, 1, frame, sizeof(frame), 0) == 0) {
		netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
		assert_true(++given < 10000);
	}
	assert_int_equal(given, 256); /* half of 2 KiB pieces */
	r.vsc.keep = false;
	netvsc_select(&r.vsc, 0);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(deliver_to(&r, 0, frame, sizeof(frame), 0), 0);
		netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
	}
	assert_int_equal(netvsc_query(&r.vsc, OID_GEN_RCV_OK, info, &bytes), 0);
	assert_int_equal(bytes_le32(info), 1256);
	assert_int_equal(netvsc_query(&r.vsc, OID_GEN_BYTES_RCV, info, &bytes), 0);
	assert_int_equal(bytes_le32(info), 1256 * FLOW_BYTES);
	/* Another queue cannot give back what it was not given. */
	netvsc_complete(&r.vsc, r.vsc.kept[0]);
	fake_guest_settle(r.vsc.guest);
	assert_int_equal(deliver_to(&r, 1, frame, sizeof(frame), 0), -EAGAIN);
	netvsc_select(&r.vsc, 1);
	netvsc_give_back(&r.vsc);
	fake_guest_settle(r.vsc.guest);
	assert_int_equal(deliver_to(&r, 1, frame, sizeof(frame), 0), 0);
	netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
	rig_destroy(&r);
}

static void a_full_ring_holds_up_its_own_queue_alone(void **state)
{
	uint8_t frame[FLOW_BYTES];
	unsigned int given = 0;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 2 });
	netvsc_close(&r.vsc);
	r.vsc.ring_bytes = 2 * 4096;
	netvsc_open(&r.vsc);
	rig_start(&r, NVSP_VERSION_61);
	make_flow(frame, mac, peer, 1);
	while (deliver_to(&r, 1, frame, sizeof(frame), 0) == 0) {
		assert_true(++given < 100000);
	}
	assert_true(given > 20);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(deliver_to(&r, 0, frame, sizeof(frame), 0), 0);
		netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
	}
	netvsc_select(&r.vsc, 1);
	/* Completions need room too. */
	netvsc_post_section(&r.vsc, 0, frame, sizeof(frame));
	fake_guest_settle(r.vsc.guest);
	for (; given; given--) {
		netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
	}
	netvsc_wait_completions(&r.vsc, 1);
	rig_destroy(&r);
}

static void a_full_back_end_holds_up_its_own_queue_alone(void **state)
{
	uint8_t frame[FLOW_BYTES];
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 2, .echo = true });
	rig_start(&r, NVSP_VERSION_61);
	net_null_block(r.ends[1], true);
	netvsc_select(&r.vsc, 1);
	make_flow(frame, peer, mac, 1);
	netvsc_post_section(&r.vsc, 30, frame, sizeof(frame));
	fake_guest_settle(r.vsc.guest);
	netvsc_expect_silence(&r.vsc);
	converse_on(&r, 0);
	net_null_block(r.ends[1], false);
	netvsc_select(&r.vsc, 1);
	make_flow(frame, mac, peer, 1);
	netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
	rig_destroy(&r);
}

/* The back end takes some frames of a packet, and the rest later: none twice, none lost. */
static void a_packet_may_be_taken_in_parts(void **state)
{
	uint8_t section[NETVSC_SECTION_BYTES], frame[FLOW_BYTES];
	uint16_t flow = 0;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 2, .echo = true });
	rig_start(&r, NVSP_VERSION_61);
	netvsc_select(&r.vsc, 1);
	for (uint32_t packet = 0; packet < 30; packet++) {
		uint32_t at = 0;

		for (int i = 0; i < 7; i++) {
			make_flow(frame, peer, mac, flow++);
			at += netvsc_build_frame(section + at, frame, sizeof(frame), NULL, 0);
			at = (uint32_t)num_align_up(at, 8);
		}
		netvsc_pad_messages(section, at);
		netvsc_post_raw_section(&r.vsc, packet, section, at);
	}
	for (uint16_t i = 0; i < flow; i++) {
		make_flow(frame, mac, peer, i);
		netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
	}
	netvsc_wait_completions(&r.vsc, 30);
	netvsc_expect_silence(&r.vsc);
	assert_int_equal(net_counters(r.ends[1])->sent_frames, flow);
	assert_true(net_counters(r.ends[1])->send_waits > 0);
	rig_destroy(&r);
}

static void clearing_the_filter_empties_the_ring_of_a_full_back_end(void **state)
{
	uint8_t frame[FLOW_BYTES];
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 2, .echo = true });
	rig_start(&r, NVSP_VERSION_61);
	net_null_block(r.ends[1], true);
	netvsc_select(&r.vsc, 1);
	make_flow(frame, peer, mac, 1);
	for (uint32_t i = 0; i < 10; i++) {
		netvsc_post_section(&r.vsc, 30 + i, frame, sizeof(frame));
	}
	netvsc_expect_silence(&r.vsc);
	assert_int_equal(r.vsc.completions, 0);
	netvsc_select(&r.vsc, 0);
	netvsc_set_filter(&r.vsc, 0);
	netvsc_select(&r.vsc, 1);
	netvsc_wait_completions(&r.vsc, 10);
	netvsc_expect_silence(&r.vsc);
	assert_int_equal(net_counters(r.ends[1])->sent_frames, 0);
	rig_destroy(&r);
}

static void one_packet_announces_up_to_375_frames(void **state)
{
	uint8_t frame[FLOW_BYTES];
	struct iovec iov = { frame, sizeof(frame) };
	struct net_frame nf = { .iov = &iov, .iov_count = 1, .bytes = sizeof(frame) };
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 1 });
	for (size_t v = 0; v < 2; v++) {
		netvsc_start(&r.vsc, NVSP_VERSION_61);
		if (v == 1) {
			const uint32_t old[10] = { NVSP_SEND_NDIS_VERSION, 5, 0 };

			netvsc_send_nvsp(&r.vsc, old, sizeof(old));
		}
		netvsc_set_filter(&r.vsc, NDIS_FILTER_PROMISCUOUS);
		r.vsc.ranges_max = 0;
		for (uint16_t i = 0; i < 400; i++) {
			make_flow(frame, mac, peer, i);
			assert_int_equal(net_deliver(r.ends[0], &nf), 0);
		}
		net_deliver_end(r.ends[0]);
		for (uint16_t i = 0; i < 400; i++) {
			make_flow(frame, mac, peer, i);
			netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
		}
		assert_int_equal(r.vsc.ranges_max, v ? 64 : 375);
		netvsc_close(&r.vsc);
		netvsc_open(&r.vsc);
	}
	rig_destroy(&r);
}

/* ---- what is sent -------------------------------------------------------------------------------- */

static void large_sends_of_both_kinds_are_one_frame(void **state)
{
	static uint8_t frame[20000];
	const uint32_t kinds[] = { 1448 | 34U << 20, 1448 | 34U << 20 | RNDIS_LSO_TYPE_V2 };
	uint8_t info[64];
	uint32_t bytes;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 2 });
	rig_start(&r, NVSP_VERSION_61);
	netvsc_select(&r.vsc, 1);
	make_flow(frame, peer, mac, 7);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		uint8_t ppi[16];

		bytes_put_le32(ppi, 16);
		bytes_put_le32(ppi + 4, RNDIS_PPI_LSO);
		bytes_put_le32(ppi + 8, 12);
		bytes_put_le32(ppi + 12, kinds[i]);
		assert_int_equal(
			netvsc_send_pages_ppi(&r.vsc, frame, sizeof(frame), ppi, sizeof(ppi)),
			NVSP_STATUS_SUCCESS);
		assert_int_equal(net_counters(r.ends[1])->sent_large, i + 1);
	}
	netvsc_select(&r.vsc, 0);
	assert_int_equal(netvsc_query(&r.vsc, OID_GEN_BYTES_XMIT, info, &bytes), 0);
	assert_int_equal(bytes_le32(info), 2 * sizeof(frame));
	assert_int_equal(netvsc_query(&r.vsc, OID_GEN_XMIT_OK, info, &bytes), 0);
	assert_int_equal(bytes_le32(info), 2);
	rig_destroy(&r);
}

static void groups_and_everybody_are_counted(void **state)
{
	static const uint8_t everybody[6] = { 255, 255, 255, 255, 255, 255 };
	static const uint8_t group[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	const uint8_t *to[] = { mac, group, group, everybody, everybody, everybody };
	const uint32_t oids[] = { OID_GEN_DIRECTED_FRAMES_XMIT,  OID_GEN_MULTICAST_FRAMES_XMIT,
				  OID_GEN_BROADCAST_FRAMES_XMIT, OID_GEN_DIRECTED_FRAMES_RCV,
				  OID_GEN_MULTICAST_FRAMES_RCV,  OID_GEN_BROADCAST_FRAMES_RCV };
	uint8_t frame[FLOW_BYTES], info[64];
	uint32_t bytes;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 2 });
	rig_start(&r, NVSP_VERSION_61);
	netvsc_select(&r.vsc, 1);
	for (size_t i = 0; i < ARRAY_SIZE(to); i++) {
		make_flow(frame, to[i], peer, 1);
		assert_int_equal(netvsc_send_section(&r.vsc, 0, frame, sizeof(frame)),
				 NVSP_STATUS_SUCCESS);
		assert_int_equal(deliver_to(&r, 1, frame, sizeof(frame), 0), 0);
		netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
	}
	netvsc_select(&r.vsc, 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(oids); i++) {
		assert_int_equal(netvsc_query(&r.vsc, oids[i], info, &bytes), 0);
		assert_int_equal(bytes_le32(info), 1 + i % 3);
	}
	rig_destroy(&r);
}

static json_int_t number(const json_t *object, const char *group, const char *name)
{
	return json_integer_value(json_object_get(json_object_get(object, group), name));
}

static void each_queue_shows_its_own_counters(void **state)
{
	uint8_t frame[FLOW_BYTES];
	const json_t *channel;
	size_t at, seen = 0;
	json_t *tree = json_object();
	struct inspect inspect = { tree };
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 3 });
	rig_start(&r, NVSP_VERSION_61);
	make_flow(frame, mac, peer, 1);
	for (unsigned int i = 0; i < 3; i++) {
		netvsc_select(&r.vsc, i);
		for (unsigned int n = 0; n <= i; n++) {
			assert_int_equal(deliver_to(&r, i, frame, sizeof(frame), 0), 0);
			netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
			assert_int_equal(
				netvsc_send_section(&r.vsc, 8 * i + n, frame, sizeof(frame)),
				NVSP_STATUS_SUCCESS);
		}
	}
	fake_guest_settle(r.vsc.guest);
	bus_inspect(fake_guest_bus(r.vsc.guest), &inspect);
	json_array_foreach(json_object_get(tree, "channels"), at, channel)
	{
		json_int_t count = (json_int_t)(++seen);

		assert_int_equal(number(channel, "queue", "rx_frames"), count);
		assert_int_equal(number(channel, "queue", "rx_bytes"), count * FLOW_BYTES);
		assert_int_equal(number(channel, "queue", "tx_frames"), count);
		assert_int_equal(number(channel, "queue", "tx_bytes"), count * FLOW_BYTES);
	}
	assert_int_equal(seen, 3);
	channel = json_array_get(json_object_get(tree, "channels"), 0);
	assert_int_equal(number(channel, "netvsp", "rx_frames"), 6);
	assert_int_equal(number(channel, "netvsp", "tx_frames"), 6);
	assert_int_equal(number(channel, "netvsp", "sub_channels"), 2);
	json_decref(tree);
	rig_destroy(&r);
}

static void without_memory_there_is_no_buffer_and_later_there_is(void **state)
{
	uint32_t message[10] = { NVSP_SEND_RECV_BUF, 0, NETVSC_RECV_ID };
	unsigned int failures = 0;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 2, .echo = true });
	rig_start(&r, NVSP_VERSION_61);
	netvsc_send_nvsp(&r.vsc, (uint32_t[]){ NVSP_REVOKE_RECV_BUF, NETVSC_RECV_ID }, 8);
	message[1] = r.vsc.recv_gpadl;
	for (unsigned int n = 1;; n++, failures++) {
		bool has_fired;

		fault_arm(n);
		netvsc_send_nvsp(&r.vsc, message, sizeof(message));
		has_fired = fault_fired();
		fault_arm(0);
		assert_int_equal(bytes_le32(r.vsc.packet.payload + 4),
				 has_fired ? NVSP_STATUS_FAIL : NVSP_STATUS_SUCCESS);
		if (!has_fired) {
			break;
		}
	}
	assert_int_equal(failures, 5);
	converse_on(&r, 1);
	converse_on(&r, 0);
	rig_destroy(&r);
}

static void sub_channels_carry_frames_and_nothing_else(void **state)
{
	const uint32_t query[7] = { RNDIS_QUERY, 28, 1, OID_GEN_LINK_SPEED, 0, 20, 0 };
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 2, .echo = true });
	rig_start(&r, NVSP_VERSION_61);
	netvsc_select(&r.vsc, 1);
	assert_int_equal(netvsc_send_raw_section(&r.vsc, 0, query, sizeof(query)),
			 NVSP_STATUS_INVALID_RNDIS);
	netvsc_send_nvsp(&r.vsc, (uint32_t[]){ NVSP_INIT, NVSP_VERSION_61, NVSP_VERSION_61 }, 12);
	assert_int_equal(r.vsc.packet.payload_bytes, 0);
	netvsc_send_nvsp(&r.vsc, (uint32_t[]){ NVSP_REVOKE_RECV_BUF, NETVSC_RECV_ID }, 8);
	netvsc_send_nvsp(&r.vsc, (uint32_t[]){ NVSP_SUBCHANNEL, 1, 1 }, 12);
	assert_int_equal(r.vsc.packet.payload_bytes, 0);
	netvsc_send_nvsp(&r.vsc, (uint32_t[]){ 4711, 1 }, 8);
	netvsc_complete(&r.vsc, 1);
	netvsc_expect_silence(&r.vsc);
	converse_on(&r, 1);
	converse_on(&r, 0);
	rig_destroy(&r);
}

static void a_change_of_speed_is_told(void **state)
{
	const uint8_t *message;
	uint8_t info[64];
	uint32_t bytes;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 1 });
	netvsc_start(&r.vsc, NVSP_VERSION_61);
	netvsp_set_speed(r.nic, 40000000000ULL);
	netvsp_set_speed(r.nic, 40000000000ULL);
	message = netvsc_expect_control(&r.vsc, RNDIS_INDICATE);
	assert_int_equal(bytes_le32(message + 8), RNDIS_STATUS_LINK_SPEED_CHANGE);
	assert_int_equal(bytes_le32(message + 12), 4);
	assert_int_equal(bytes_le32(message + 8 + bytes_le32(message + 16)), 400000000);
	assert_int_equal(netvsc_query(&r.vsc, OID_GEN_LINK_SPEED, info, &bytes), 0);
	assert_int_equal(bytes_le32(info), 400000000);
	netvsc_close(&r.vsc);
	netvsc_open(&r.vsc);
	netvsc_start(&r.vsc, NVSP_VERSION_4);
	netvsp_set_speed(r.nic, 1000000000ULL);
	netvsc_expect_silence(&r.vsc);
	rig_destroy(&r);
}

/* ---- saved state --------------------------------------------------------------------------------- */

static void save_bus(struct rig *r, struct save *save, const uint8_t **ret, size_t *ret_bytes)
{
	save_init(save);
	bus_save(fake_guest_bus(r->vsc.guest), save);
	assert_int_equal(save_finish(save, ret, ret_bytes), 0);
}

static void queues_go_on_after_save_and_load(void **state)
{
	static const uint32_t all[] = { 0, 1, 2 };
	struct vmbus_device *device;
	uint8_t frame[FLOW_BYTES];
	static uint8_t large[30000];
	const uint8_t *a, *b;
	size_t a_bytes, b_bytes;
	struct save first, second;
	struct load load;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 3, .echo = true });
	device = netvsp_device(r.nic);
	rig_start(&r, NVSP_VERSION_61);
	netvsc_enable_rsc(&r.vsc, true);
	assert_int_equal(netvsc_set_rss(&r.vsc, all, 3), RNDIS_STATUS_SUCCESS);
	r.vsc.keep = true;
	netvsc_select(&r.vsc, 2);
	memcpy(large, mac, 6);
	assert_int_equal(deliver_to(&r, 2, large, sizeof(large), NET_FRAME_COALESCED), 0);
	netvsc_expect_frame(&r.vsc, large, sizeof(large));
	/* In the middle of traffic: a packet that the back end has no room for. */
	net_null_block(r.ends[2], true);
	make_flow(frame, peer, mac, 1);
	netvsc_post_section(&r.vsc, 0, frame, sizeof(frame));
	fake_guest_settle(r.vsc.guest);
	assert_int_equal(bus_pause(fake_guest_bus(r.vsc.guest)), 0);
	netvsp_pause(r.nic);
	save_bus(&r, &first, &a, &a_bytes);
	save_init(&second);
	device->ops->save(device, &second);
	assert_int_equal(save_finish(&second, &b, &b_bytes), 0);
	assert_int_equal(netvsc_reload(r.nic, b, b_bytes, &load), 0);
	save_fini(&second);
	save_bus(&r, &second, &b, &b_bytes);
	assert_int_equal(a_bytes, b_bytes);
	assert_memory_equal(a, b, a_bytes);
	save_fini(&first);
	save_fini(&second);
	bus_resume(fake_guest_bus(r.vsc.guest));
	netvsp_resume(r.nic);
	net_null_block(r.ends[2], false);
	r.vsc.keep = false;
	netvsc_give_back(&r.vsc);
	make_flow(frame, mac, peer, 1);
	netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
	netvsc_select(&r.vsc, 0);
	for (unsigned int i = 0; i < 3; i++) {
		converse_on(&r, i);
	}
	check_flows(&r, all, 3);
	assert_int_equal(r.vsc.tables, 1);
	rig_destroy(&r);
}

/* What the rig makes anew, over the guest's same memory. */
static void rig_replace_nic(struct rig *r)
{
	struct fake_guest *guest = r->vsc.guest;
	unsigned int queues = r->queues;

	netvsc_revoke_device(&r->vsc, netvsp_device(r->nic));
	bus_destroy(guest->bus);
	netvsp_destroy(r->nic);
	while (queues-- > 0) {
		net_destroy(r->ends[queues]);
	}
	assert_int_equal(net_null_create_many(guest->loop, true, &r->ends[0]), 0);
	for (unsigned int i = 1; i < r->queues; i++) {
		assert_int_equal(net_twin(r->ends[0], r->loops[i], &r->ends[i]), 0);
	}
	rig_make_nic(r, 0);
	assert_int_equal(
		bus_create(guest->loop, guest->mem, fake_synic_base(guest->synic), &guest->bus), 0);
	fake_guest_offer(guest, netvsp_device(r->nic));
}

/* The same memory, another bus, another NIC: all queues go on where they were. */
static void queues_go_on_in_another_process(void **state)
{
	static const uint32_t all[] = { 0, 1, 2 };
	const uint8_t *before, *after;
	size_t before_bytes, after_bytes;
	struct save first, second;
	uint8_t frame[FLOW_BYTES];
	struct load load;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 3, .echo = true });
	rig_start(&r, NVSP_VERSION_61);
	assert_int_equal(netvsc_set_rss(&r.vsc, all, 3), RNDIS_STATUS_SUCCESS);
	r.vsc.keep = true;
	make_flow(frame, mac, peer, 1);
	for (unsigned int i = 0; i < 3; i++) {
		netvsc_select(&r.vsc, i);
		assert_int_equal(deliver_to(&r, i, frame, sizeof(frame), 0), 0);
		netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
	}
	r.vsc.keep = false;
	assert_int_equal(bus_pause(fake_guest_bus(r.vsc.guest)), 0);
	netvsp_pause(r.nic);
	save_bus(&r, &first, &before, &before_bytes);
	netvsp_resume(r.nic);
	bus_resume(fake_guest_bus(r.vsc.guest));
	rig_replace_nic(&r);
	assert_int_equal(bus_pause(fake_guest_bus(r.vsc.guest)), 0);
	load_init(&load, before, before_bytes);
	assert_int_equal(bus_load(fake_guest_bus(r.vsc.guest), &load), 0);
	save_bus(&r, &second, &after, &after_bytes);
	assert_int_equal(before_bytes, after_bytes);
	assert_memory_equal(before, after, after_bytes);
	bus_resume(fake_guest_bus(r.vsc.guest));
	r.vsc.guest->backlog_count = 0; /* the rescinds of the old bus */
	for (unsigned int i = 0; i < 3; i++) {
		netvsc_select(&r.vsc, i);
		netvsc_complete(&r.vsc, r.vsc.kept[i]); /* what it had been lent before */
		converse_on(&r, i);
	}
	check_flows(&r, all, 3);
	netvsc_select(&r.vsc, 0);
	netvsc_set_filter(&r.vsc, 0);
	rig_destroy(&r);
	save_fini(&first);
	save_fini(&second);
}

static void spoilt_states_of_queues_are_refused(void **state)
{
	static const uint32_t all[] = { 0, 1, 2 };
	struct vmbus_device *device;
	const uint8_t *bytes;
	unsigned int refused = 0;
	size_t length;
	struct save save;
	struct load load;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 3, .echo = true });
	device = netvsp_device(r.nic);
	r.vsc.recv_bytes = 64 << 10;
	rig_start(&r, NVSP_VERSION_61);
	assert_int_equal(netvsc_set_rss(&r.vsc, all, 3), RNDIS_STATUS_SUCCESS);
	save_init(&save);
	device->ops->save(device, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	for (size_t cut = 0; cut < length; cut++) {
		uint8_t *copy = malloc(length);

		memcpy(copy, bytes, length);
		copy[cut] ^= 0x5a;
		refused += netvsc_reload(r.nic, copy, length, &load) != 0;
		refused += netvsc_reload(r.nic, bytes, cut, &load) != 0;
		free(copy);
	}
	assert_true(refused > length);
	assert_int_equal(netvsc_reload(r.nic, bytes, length, &load), 0);
	save_fini(&save);
	fake_guest_settle(r.vsc.guest);
	converse_on(&r, 2);
	rig_destroy(&r);
}

/* ---- threads ------------------------------------------------------------------------------------- */

/* Frames on each queue, whose loop is a thread, while the primary's changes what all go by. */
static void queues_on_threads_hear_of_changes_under_traffic(void **state)
{
	static const uint32_t tables[2][2] = { { 0, 1 }, { 2, 1 } };
	uint8_t frame[FLOW_BYTES];
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 3, .echo = true, .has_threads = true });
	make_flow(frame, peer, mac, 1);
	for (int round = 0; round < 10; round++) {
		rig_start(&r, NVSP_VERSION_61);
		for (unsigned int i = 0; i < 3; i++) {
			converse_on(&r, i);
		}
		for (int change = 0; change < 10; change++) {
			for (unsigned int i = 1; i < 3; i++) {
				netvsc_select(&r.vsc, i);
				for (uint32_t n = 0; n < 4; n++) {
					netvsc_post_section(&r.vsc, 4 * i + n, frame,
							    sizeof(frame));
				}
			}
			netvsc_select(&r.vsc, 0);
			netvsc_set_filter(&r.vsc, change % 2 ? NDIS_FILTER_PROMISCUOUS : 0);
			assert_int_equal(netvsc_set_rss(&r.vsc, tables[change % 2], 2), 0);
		}
		for (unsigned int i = 0; i < 3; i++) {
			netvsc_select(&r.vsc, i);
			nap();
			netvsc_drain(&r.vsc);
		}
		netvsc_select(&r.vsc, 0);
		if (round % 3 == 0) {
			netvsc_unbind(&r.vsc, round % 2);
		} else {
			netvsc_close(&r.vsc);
		}
		netvsc_open(&r.vsc);
	}
	rig_destroy(&r);
}

static void queues_on_threads_can_be_paused_saved_and_loaded(void **state)
{
	struct vmbus_device *device;
	uint8_t frame[FLOW_BYTES];
	const uint8_t *bytes;
	struct save save;
	struct load load;
	size_t length;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 3, .echo = true, .has_threads = true });
	device = netvsp_device(r.nic);
	rig_start(&r, NVSP_VERSION_61);
	make_flow(frame, peer, mac, 1);
	for (int round = 0; round < 5; round++) {
		for (unsigned int i = 0; i < 3; i++) {
			netvsc_select(&r.vsc, i);
			netvsc_post_section(&r.vsc, i, frame, sizeof(frame));
		}
		assert_int_equal(bus_pause(fake_guest_bus(r.vsc.guest)), 0);
		netvsp_pause(r.nic);
		save_init(&save);
		device->ops->save(device, &save);
		assert_int_equal(save_finish(&save, &bytes, &length), 0);
		assert_int_equal(netvsc_reload(r.nic, bytes, length, &load), 0);
		save_fini(&save);
		bus_resume(fake_guest_bus(r.vsc.guest));
		netvsp_resume(r.nic);
		nap();
		for (unsigned int i = 0; i < 3; i++) {
			netvsc_select(&r.vsc, i);
			netvsc_drain(&r.vsc);
		}
		for (unsigned int i = 0; i < 3; i++) {
			converse_on(&r, i);
		}
	}
	rig_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_version_works_with_one_two_and_four_queues),
		cmocka_unit_test(a_host_may_speak_old_versions_only),
		cmocka_unit_test(sub_channels_are_granted_once_and_no_more_than_there_are),
		cmocka_unit_test(flows_arrive_where_the_table_says),
		cmocka_unit_test(no_frame_comes_after_the_filter_was_cleared),
		cmocka_unit_test(halt_and_revoke_take_the_buffers_from_all_queues),
		cmocka_unit_test(buffers_may_be_changed_while_sub_channels_are_open),
		cmocka_unit_test(a_sub_channel_may_close_and_open_again),
		cmocka_unit_test(closing_the_primary_under_traffic_closes_all),
		cmocka_unit_test(a_queue_without_pieces_holds_up_no_other),
		cmocka_unit_test(a_full_ring_holds_up_its_own_queue_alone),
		cmocka_unit_test(a_full_back_end_holds_up_its_own_queue_alone),
		cmocka_unit_test(a_packet_may_be_taken_in_parts),
		cmocka_unit_test(clearing_the_filter_empties_the_ring_of_a_full_back_end),
		cmocka_unit_test(one_packet_announces_up_to_375_frames),
		cmocka_unit_test(large_sends_of_both_kinds_are_one_frame),
		cmocka_unit_test(groups_and_everybody_are_counted),
		cmocka_unit_test(each_queue_shows_its_own_counters),
		cmocka_unit_test(without_memory_there_is_no_buffer_and_later_there_is),
		cmocka_unit_test(sub_channels_carry_frames_and_nothing_else),
		cmocka_unit_test(a_change_of_speed_is_told),
		cmocka_unit_test(queues_go_on_after_save_and_load),
		cmocka_unit_test(queues_go_on_in_another_process),
		cmocka_unit_test(spoilt_states_of_queues_are_refused),
		cmocka_unit_test(queues_on_threads_hear_of_changes_under_traffic),
		cmocka_unit_test(queues_on_threads_can_be_paused_saved_and_loaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

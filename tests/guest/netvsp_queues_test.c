/* SPDX-License-Identifier: MIT */
/*
 * A guest's network driver with several queues, as Linux's: sub-channels of each version, receive-side
 * scaling, what all queues must hear of at once, closes and revocations with queues at work.
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
#include "guest/netvsp_queues_rig.h"
#include "net/net_impl.h"
#include "net/steer.h"

/* ---- versions ------------------------------------------------------------------------------------ */

static const uint32_t versions[] = { NVSP_VERSION_1, NVSP_VERSION_2, NVSP_VERSION_4,
				     NVSP_VERSION_5, NVSP_VERSION_6, NVSP_VERSION_61 };

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

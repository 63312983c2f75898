/* SPDX-License-Identifier: MIT */
/*
 * A guest's network driver speaks to NetVSP as Linux's does: negotiation of each version, frames both
 * ways, buffers that run out or are taken away, nonsense, links and filters, save and load.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/num.h"
#include "guest/netvsc.h"
#include "net/net_impl.h"

struct fixture {
	struct netvsc vsc;
	struct net *net;
	struct netvsp *nic;
	unsigned int drivers; /* that made it operational */
};

static void on_driver(void *ctx)
{
	((struct fixture *)ctx)->drivers++;
}

static const uint8_t mac[6] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 };
static const uint8_t peer[6] = { 0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee };
static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static int set_up_with(void **state, bool echo)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct netvsp_config config = {
		.name = "net0", .mac = mac, .on_driver = on_driver, .on_driver_ctx = f
	};
	struct diag diag;

	netvsc_init(&f->vsc);
	assert_int_equal(net_null_create(fake_guest_loop(f->vsc.guest), echo, &f->net, &diag), 0);
	config.net = f->net;
	assert_int_equal(netvsp_create(&config, &f->nic, &diag), 0);
	fake_guest_offer(f->vsc.guest, netvsp_device(f->nic));
	fake_guest_connect(f->vsc.guest, VMBUS_VERSION_5_3);
	netvsc_open(&f->vsc);
	*state = f;
	return 0;
}

static int set_up(void **state)
{
	return set_up_with(state, false);
}

static int set_up_echo(void **state)
{
	return set_up_with(state, true);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	netvsc_close(&f->vsc);
	netvsc_revoke_device(&f->vsc, netvsp_device(f->nic));
	netvsp_destroy(f->nic);
	net_destroy(f->net);
	netvsc_fini(&f->vsc);
	free(f);
	return 0;
}

/* An Ethernet frame with a payload that can be checked. */
static void make_frame(uint8_t *frame, uint32_t bytes, const uint8_t *to, uint8_t seed)
{
	memcpy(frame, to, 6);
	memcpy(frame + 6, peer, 6);
	frame[12] = 0x88;
	frame[13] = 0xb5; /* local experiments */
	for (uint32_t i = 14; i < bytes; i++) {
		frame[i] = (uint8_t)(i * 7 + seed);
	}
}

static int deliver(struct fixture *f, const uint8_t *frame, uint32_t bytes, uint16_t flags)
{
	struct iovec iov = { (void *)(uintptr_t)frame, bytes };
	struct net_frame nf = {
		.iov = &iov, .iov_count = 1, .bytes = bytes, .flags = flags, .l4 = NET_L4_TCP
	};

	return net_null_deliver(f->net, &nf);
}

/* ---- negotiation ------------------------------------------------------------------------------- */

static const uint32_t versions[] = { NVSP_VERSION_1, NVSP_VERSION_2, NVSP_VERSION_4,
				     NVSP_VERSION_5, NVSP_VERSION_6, NVSP_VERSION_61 };

static void every_version_reaches_operation(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		uint8_t info[512];
		uint32_t bytes;

		netvsc_start(&f->vsc, versions[i]);
		assert_int_equal(netvsc_query(&f->vsc, OID_802_3_PERMANENT_ADDRESS, info, &bytes),
				 RNDIS_STATUS_SUCCESS);
		assert_int_equal(bytes, 6);
		assert_memory_equal(info, mac, 6);
		netvsc_close(&f->vsc);
		netvsc_open(&f->vsc);
	}
}

static void versions_that_nobody_knows_are_refused(void **state)
{
	struct fixture *f = *state;
	const uint32_t bad[] = { 0, 1, 3, 0x30001, 0x50001, 0x60002, 0x70000, 0xffffffff };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_not_equal(netvsc_init_version(&f->vsc, bad[i]), NVSP_STATUS_SUCCESS);
	}
	assert_int_equal(netvsc_init_version(&f->vsc, NVSP_VERSION_61), NVSP_STATUS_SUCCESS);
	/* Twice is once too often: an answer without a body. */
	netvsc_send_nvsp(&f->vsc, (uint32_t[]){ NVSP_INIT, NVSP_VERSION_61, NVSP_VERSION_61 }, 12);
	assert_int_equal(f->vsc.packet.payload_bytes, 0);
}

static void nothing_is_served_before_init(void **state)
{
	struct fixture *f = *state;

	netvsc_send_nvsp(&f->vsc, (uint32_t[]){ NVSP_SEND_RECV_BUF, 1, 0xcafe }, 12);
	assert_int_equal(f->vsc.packet.payload_bytes, 0);
	netvsc_send_nvsp(&f->vsc, (uint32_t[]){ NVSP_SEND_RNDIS, 0, NVSP_SECTION_NONE, 0 }, 16);
	assert_int_equal(f->vsc.packet.payload_bytes, 0);
}

static void the_offload_query_tells_linux_what_it_checks(void **state)
{
	struct fixture *f = *state;
	const struct {
		uint32_t version, bytes;
		uint8_t revision;
	} cases[] = { { NVSP_VERSION_2, 112, 1 },
		      { NVSP_VERSION_4, 144, 2 },
		      { NVSP_VERSION_61, 156, 3 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t info[512];
		struct ndis_offload caps = { 0 };
		uint32_t bytes;

		netvsc_start(&f->vsc, cases[i].version);
		assert_int_equal(netvsc_query(&f->vsc, OID_TCP_OFFLOAD_HARDWARE_CAPS, info, &bytes),
				 RNDIS_STATUS_SUCCESS);
		assert_int_equal(bytes, cases[i].bytes);
		memcpy(&caps, info, bytes);
		assert_int_equal(caps.object.type, NDIS_OBJECT_OFFLOAD);
		assert_int_equal(caps.object.revision, cases[i].revision);
		assert_int_equal(caps.object.bytes, bytes);
		/* NDIS_TXCSUM_ALL_TCP4, _TCP6 and the LSO capabilities of netvsc_drv */
		assert_int_equal(caps.ip4_tx & 0x14, 0x14);
		assert_int_equal(caps.ip6_tx & 0x15, 0x15);
		assert_int_equal(caps.ip4_tx & 0x40, 0x40);
		assert_int_equal(caps.ip6_tx & 0x40, 0x40);
		assert_int_equal(caps.lso4_encapsulation & 2, 2);
		assert_int_equal(caps.lso6_encapsulation & 2, 2);
		assert_int_equal(caps.lso6_options & 5, 5);
		assert_in_range(caps.lso4_bytes_max, 60000, 65536);
		assert_int_equal(caps.rsc_ip4, cases[i].version == NVSP_VERSION_61);
		netvsc_close(&f->vsc);
		netvsc_open(&f->vsc);
	}
}

static void every_listed_oid_is_answered(void **state)
{
	struct fixture *f = *state;
	uint8_t list[RNDIS_REPLY_BYTES_MAX], info[RNDIS_REPLY_BYTES_MAX];
	uint32_t list_bytes, bytes;

	netvsc_start(&f->vsc, NVSP_VERSION_61);
	assert_int_equal(netvsc_query(&f->vsc, OID_GEN_SUPPORTED_LIST, list, &list_bytes), 0);
	assert_true(list_bytes > 100);
	for (uint32_t i = 0; i < list_bytes; i += 4) {
		uint32_t oid = bytes_le32(list + i);
		bool set_only =
			oid == OID_GEN_PROTOCOL_OPTIONS || oid == OID_GEN_NETWORK_LAYER_ADDRESSES ||
			oid == OID_GEN_RNDIS_CONFIG_PARAMETER || oid == OID_GEN_LINK_PARAMETERS ||
			oid == OID_TCP_OFFLOAD_PARAMETERS || oid == OID_GEN_RSS_PARAMETERS;
		uint32_t status = netvsc_query(&f->vsc, oid, info, &bytes);

		assert_int_equal(status, set_only ? RNDIS_STATUS_NOT_SUPPORTED : 0);
	}
	assert_int_equal(netvsc_query(&f->vsc, 0x12345678, info, &bytes),
			 RNDIS_STATUS_NOT_SUPPORTED);
	assert_int_equal(netvsc_set(&f->vsc, 0x12345678, info, 4), RNDIS_STATUS_NOT_SUPPORTED);
	assert_int_equal(netvsc_query(&f->vsc, OID_GEN_MAXIMUM_FRAME_SIZE, info, &bytes), 0);
	assert_int_equal(bytes_le32(info), 1500);
}

static void the_mtu_follows_the_guest_up_to_9000(void **state)
{
	struct fixture *f = *state;
	const struct {
		uint32_t asked, given;
	} cases[] = { { 1514, 1500 }, { 9014, 9000 }, { 65535, 9000 }, { 82, 1500 }, { 0, 1500 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t info[64], frame[9014];
		uint32_t bytes;

		f->vsc.mtu = cases[i].asked;
		netvsc_start(&f->vsc, NVSP_VERSION_61);
		assert_int_equal(netvsc_query(&f->vsc, OID_GEN_MAXIMUM_FRAME_SIZE, info, &bytes),
				 0);
		assert_int_equal(bytes_le32(info), cases[i].given);
		/* The largest frame arrives in one piece of the receive buffer. */
		make_frame(frame, cases[i].given + 14, mac, 1);
		netvsc_set_filter(&f->vsc, NDIS_FILTER_DIRECTED);
		assert_int_equal(deliver(f, frame, cases[i].given + 14, 0), 0);
		netvsc_expect_frame(&f->vsc, frame, cases[i].given + 14);
		assert_int_equal(f->vsc.frame_pieces, 1);
		netvsc_close(&f->vsc);
		netvsc_open(&f->vsc);
	}
}

/* ---- frames ------------------------------------------------------------------------------------ */

static void frames_travel_from_the_send_buffer(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[1514];

	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_PROMISCUOUS);
	for (uint32_t bytes = 14; bytes <= 1514; bytes += 100) {
		make_frame(frame, bytes, peer, (uint8_t)bytes);
		memcpy(frame + 6, mac, 6);
		assert_int_equal(netvsc_send_section(&f->vsc, 3, frame, bytes),
				 NVSP_STATUS_SUCCESS);
		memcpy(frame, mac, 6); /* the echo swaps them */
		memcpy(frame + 6, peer, 6);
		netvsc_expect_frame(&f->vsc, frame, bytes);
	}
}

static void frames_travel_from_scattered_pages(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[9000];

	f->vsc.mtu = 9014;
	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_PROMISCUOUS);
	make_frame(frame, sizeof(frame), mac, 9);
	assert_int_equal(netvsc_send_pages(&f->vsc, frame, sizeof(frame)), NVSP_STATUS_SUCCESS);
	memcpy(frame, peer, 6);
	memcpy(frame + 6, mac, 6);
	netvsc_expect_frame(&f->vsc, frame, sizeof(frame));
}

/* Linux: the header in a section, the rest in pages ("cp_partial"). */
static void frames_may_begin_in_the_send_buffer_and_go_on_in_pages(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[1400];

	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_PROMISCUOUS);
	make_frame(frame, sizeof(frame), mac, 9);
	assert_int_equal(netvsc_send_split(&f->vsc, 7, frame, sizeof(frame)), NVSP_STATUS_SUCCESS);
	memcpy(frame, peer, 6);
	memcpy(frame + 6, mac, 6);
	netvsc_expect_frame(&f->vsc, frame, sizeof(frame));
}

static void several_messages_in_one_packet_are_several_frames(void **state)
{
	struct fixture *f = *state;
	uint8_t section[NETVSC_SECTION_BYTES], frame[600];
	uint32_t at = 0;

	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_PROMISCUOUS);
	for (uint8_t i = 0; i < 8; i++) {
		make_frame(frame, 100U + i, mac, i);
		at += netvsc_build_frame(section + at, frame, 100U + i, NULL, 0);
		at = (uint32_t)num_align_up(at, 8);
		/* The padding belongs to the message. */
	}
	netvsc_pad_messages(section, at);
	assert_int_equal(netvsc_send_raw_section(&f->vsc, 0, section, at), NVSP_STATUS_SUCCESS);
	for (uint8_t i = 0; i < 8; i++) {
		make_frame(frame, 100U + i, mac, i);
		memcpy(frame, peer, 6);
		memcpy(frame + 6, mac, 6);
		netvsc_expect_frame(&f->vsc, frame, 100U + i);
	}
}

static void a_full_back_end_stops_reading_and_loses_nothing(void **state)
{
	struct fixture *f = *state;
	uint8_t section[NETVSC_SECTION_BYTES], frame[200];
	uint32_t at = 0;

	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_PROMISCUOUS);
	for (uint8_t i = 0; i < 4; i++) {
		make_frame(frame, 200, mac, i);
		at += netvsc_build_frame(section + at, frame, 200, NULL, 0);
		at = (uint32_t)num_align_up(at, 8);
	}
	netvsc_pad_messages(section, at);
	net_null_block(f->net, true);
	netvsc_post_raw_section(&f->vsc, 0, section, at);
	netvsc_post_raw_section(&f->vsc, 1, section, at);
	fake_guest_settle(f->vsc.guest);
	assert_false(fake_channel_poll(f->vsc.channel, &f->vsc.packet));
	net_null_block(f->net, false);
	for (uint8_t i = 0; i < 8; i++) {
		make_frame(frame, 200, mac, i % 4);
		memcpy(frame, peer, 6);
		memcpy(frame + 6, mac, 6);
		netvsc_expect_frame(&f->vsc, frame, 200);
	}
	assert_int_equal(net_counters(f->net)->sent_frames, 8);
	assert_int_equal(f->vsc.completions, 2);
}

static void frames_for_the_guest_share_one_interrupt_and_one_packet(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[60];
	uint64_t before;
	unsigned int packets;

	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_PROMISCUOUS);
	fake_guest_settle(f->vsc.guest);
	before = fake_channel_interrupts(f->vsc.channel);
	packets = f->vsc.receive_packets;
	for (uint8_t i = 0; i < 32; i++) {
		make_frame(frame, sizeof(frame), peer, i);
		memcpy(frame + 6, mac, 6);
		netvsc_post_section(&f->vsc, i, frame, sizeof(frame));
	}
	for (uint8_t i = 0; i < 32; i++) {
		make_frame(frame, sizeof(frame), mac, i);
		netvsc_expect_frame(&f->vsc, frame, sizeof(frame));
	}
	assert_true(f->vsc.receive_packets - packets <= 4);
	assert_true(fake_channel_interrupts(f->vsc.channel) - before <= 6);
}

static void coalesced_frames_come_in_pieces_that_linux_joins(void **state)
{
	struct fixture *f = *state;
	static uint8_t frame[65549];
	const uint32_t sizes[] = { 1515, 8096, 8097, 32174, 65000, 65549 };

	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_DIRECTED);
	netvsc_enable_rsc(&f->vsc, true);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		make_frame(frame, sizes[i], mac, (uint8_t)i);
		assert_int_equal(
			deliver(f, frame, sizes[i], NET_FRAME_COALESCED | NET_FRAME_CHECKSUM_GOOD),
			0);
		netvsc_expect_frame(&f->vsc, frame, sizes[i]);
		assert_int_equal(f->vsc.frame_checksum, RNDIS_RX_TCP_GOOD | RNDIS_RX_IP_GOOD);
	}
	/* Without the guest's consent, or without a coalesced frame's mark, it is lost. */
	netvsc_enable_rsc(&f->vsc, false);
	assert_int_equal(deliver(f, frame, 32174, NET_FRAME_COALESCED), 0);
	netvsc_enable_rsc(&f->vsc, true);
	assert_int_equal(deliver(f, frame, 32174, 0), 0);
	netvsc_expect_silence(&f->vsc);
}

static void old_guests_get_no_coalesced_frames(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[4000];

	netvsc_start(&f->vsc, NVSP_VERSION_6);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_DIRECTED);
	netvsc_enable_rsc(&f->vsc, true);
	make_frame(frame, sizeof(frame), mac, 1);
	assert_int_equal(deliver(f, frame, sizeof(frame), NET_FRAME_COALESCED), 0);
	netvsc_expect_silence(&f->vsc);
}

/* ---- flow -------------------------------------------------------------------------------------- */

static void a_guest_that_keeps_all_pieces_gets_no_more_but_still_answers(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[60], info[64];
	uint32_t given = 0, bytes;

	f->vsc.recv_bytes = 1 << 20;
	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_DIRECTED);
	f->vsc.keep = true;
	make_frame(frame, sizeof(frame), mac, 5);
	while (deliver(f, frame, sizeof(frame), 0) == 0) {
		netvsc_expect_frame(&f->vsc, frame, sizeof(frame));
		assert_true(++given < 10000);
	}
	assert_true(given > 400);
	/* The last pieces are for control. */
	f->vsc.keep = false;
	assert_int_equal(netvsc_query(&f->vsc, OID_GEN_LINK_SPEED, info, &bytes), 0);
	assert_int_equal(deliver(f, frame, sizeof(frame), 0), -EAGAIN);
	netvsc_give_back(&f->vsc);
	fake_guest_settle(f->vsc.guest);
	assert_int_equal(deliver(f, frame, sizeof(frame), 0), 0);
	netvsc_expect_frame(&f->vsc, frame, sizeof(frame));
}

static void answers_wait_for_a_guest_that_is_slow(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[60];

	f->vsc.recv_bytes = 64 << 10; /* 32 pieces */
	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_DIRECTED);
	f->vsc.keep = true;
	make_frame(frame, sizeof(frame), mac, 5);
	while (deliver(f, frame, sizeof(frame), 0) == 0) {
		netvsc_expect_frame(&f->vsc, frame, sizeof(frame));
	}
	/* Four pieces are left, twenty questions asked: eight answers wait, eight are dropped. */
	for (uint32_t i = 0; i < 20; i++) {
		netvsc_post_query(&f->vsc, OID_GEN_LINK_SPEED, 1000 + i);
	}
	fake_guest_settle(f->vsc.guest);
	for (uint32_t i = 0; i < 4; i++) {
		netvsc_expect_reply(&f->vsc, 1000 + i);
	}
	netvsc_give_back(&f->vsc);
	f->vsc.keep = false;
	for (uint32_t i = 4; i < 12; i++) {
		netvsc_expect_reply(&f->vsc, 1000 + i);
	}
	netvsc_expect_silence(&f->vsc);
}

static void a_full_ring_delays_and_loses_nothing(void **state)
{
	struct fixture *f = *state;
	static uint8_t frame[1000];
	uint32_t given = 0, echoed = 0;

	netvsc_close(&f->vsc);
	f->vsc.ring_bytes = 2 * 4096;
	netvsc_open(&f->vsc);
	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_PROMISCUOUS);
	make_frame(frame, sizeof(frame), mac, 5);
	while (deliver(f, frame, sizeof(frame), 0) == 0) {
		assert_true(++given < 100000);
	}
	assert_true(given > 20);
	/* Completions need room too. */
	netvsc_post_section(&f->vsc, 0, frame, sizeof(frame));
	fake_guest_settle(f->vsc.guest);
	for (; echoed < given; echoed++) {
		netvsc_expect_frame(&f->vsc, frame, sizeof(frame));
	}
	netvsc_wait_completions(&f->vsc, 1);
	assert_int_equal(deliver(f, frame, sizeof(frame), 0), 0);
	netvsc_expect_frame(&f->vsc, frame, sizeof(frame));
}

/* ---- filters and links ------------------------------------------------------------------------- */

static void only_what_the_filter_wants_reaches_the_guest(void **state)
{
	struct fixture *f = *state;
	static const uint8_t group_a[6] = { 0x01, 0, 0x5e, 0, 0, 1 };
	static const uint8_t group_b[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	const struct {
		uint32_t filter;
		bool own, other, all, a, b;
	} cases[] = {
		{ 0, false, false, false, false, false },
		{ NDIS_FILTER_DIRECTED, true, false, false, false, false },
		{ NDIS_FILTER_BROADCAST, false, false, true, false, false },
		{ NDIS_FILTER_MULTICAST, false, false, false, true, false },
		{ NDIS_FILTER_ALL_MULTICAST, false, false, false, true, true },
		{ NDIS_FILTER_PROMISCUOUS, true, true, true, true, true },
	};
	uint8_t frame[60];

	netvsc_start(&f->vsc, NVSP_VERSION_61);
	assert_int_equal(netvsc_set(&f->vsc, OID_802_3_MULTICAST_LIST, group_a, 6), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const uint8_t *to[5] = { mac, peer, broadcast, group_a, group_b };
		bool wanted[5] = { cases[i].own, cases[i].other, cases[i].all, cases[i].a,
				   cases[i].b };

		netvsc_set_filter(&f->vsc, cases[i].filter);
		for (int k = 0; k < 5; k++) {
			make_frame(frame, sizeof(frame), to[k], 1);
			assert_int_equal(deliver(f, frame, sizeof(frame), 0), 0);
			if (wanted[k]) {
				netvsc_expect_frame(&f->vsc, frame, sizeof(frame));
			} else {
				netvsc_expect_silence(&f->vsc);
			}
		}
	}
	uint8_t many[33 * 6] = { 0 };

	assert_int_equal(netvsc_set(&f->vsc, OID_802_3_MULTICAST_LIST, many, sizeof(many)),
			 RNDIS_STATUS_MULTICAST_FULL);
	assert_int_equal(netvsc_set(&f->vsc, OID_802_3_MULTICAST_LIST, many, 7),
			 RNDIS_STATUS_INVALID_LENGTH);
}

static void a_guest_may_change_its_address(void **state)
{
	struct fixture *f = *state;
	static const uint8_t other[6] = { 0x02, 0xde, 0xad, 0xbe, 0xef, 0x01 };
	uint8_t info[128], frame[60];
	uint32_t bytes;

	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_DIRECTED);
	assert_int_equal(netvsc_set_address(&f->vsc, "02deadbeef01"), RNDIS_STATUS_SUCCESS);
	assert_int_equal(netvsc_query(&f->vsc, OID_802_3_CURRENT_ADDRESS, info, &bytes), 0);
	assert_memory_equal(info, other, 6);
	make_frame(frame, sizeof(frame), other, 1);
	deliver(f, frame, sizeof(frame), 0);
	netvsc_expect_frame(&f->vsc, frame, sizeof(frame));
	assert_int_not_equal(netvsc_set_address(&f->vsc, "01deadbeef01"), RNDIS_STATUS_SUCCESS);
	assert_int_not_equal(netvsc_set_address(&f->vsc, "02deadbeefzz"), RNDIS_STATUS_SUCCESS);
}

static void a_link_change_is_told_and_stops_traffic(void **state)
{
	struct fixture *f = *state;
	uint8_t info[64], frame[60];
	uint32_t bytes;

	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_DIRECTED);
	netvsp_set_link(f->nic, false);
	netvsp_set_link(f->nic, false);
	netvsc_expect_status(&f->vsc, RNDIS_STATUS_MEDIA_DISCONNECT);
	assert_int_equal(netvsc_query(&f->vsc, OID_GEN_MEDIA_CONNECT_STATUS, info, &bytes), 0);
	assert_int_equal(bytes_le32(info), NDIS_MEDIA_DISCONNECTED);
	make_frame(frame, sizeof(frame), mac, 1);
	assert_int_equal(deliver(f, frame, sizeof(frame), 0), 0);
	netvsc_expect_silence(&f->vsc);
	assert_int_equal(netvsc_send_section(&f->vsc, 0, frame, sizeof(frame)),
			 NVSP_STATUS_SUCCESS);
	assert_int_equal(net_counters(f->net)->sent_frames, 0);
	netvsp_set_link(f->nic, true);
	netvsc_expect_status(&f->vsc, RNDIS_STATUS_MEDIA_CONNECT);
	net_null_set_link(f->net, false);
	netvsc_expect_status(&f->vsc, RNDIS_STATUS_MEDIA_DISCONNECT);
	net_null_set_link(f->net, true);
	netvsc_expect_status(&f->vsc, RNDIS_STATUS_MEDIA_CONNECT);
	netvsc_expect_silence(&f->vsc);
}

static bool link_asked(struct fixture *f, uint32_t oid)
{
	uint8_t info[64];
	uint32_t bytes;

	assert_int_equal(netvsc_query(&f->vsc, oid, info, &bytes), 0);
	return oid == OID_GEN_LINK_STATE ? bytes_le32(info + 4) == 1
					 : bytes_le32(info) == NDIS_MEDIA_CONNECTED;
}

/* Linux drops it before it has registered its interface, and would never hear of it again. */
static void a_link_change_is_told_when_the_driver_listens(void **state)
{
	struct fixture *f = *state;

	netvsp_set_link(f->nic, false);
	netvsc_start(&f->vsc, NVSP_VERSION_61);
	assert_false(link_asked(f, OID_GEN_MEDIA_CONNECT_STATUS));
	netvsp_set_link(f->nic, true);
	netvsc_expect_silence(&f->vsc);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_DIRECTED);
	netvsc_expect_status(&f->vsc, RNDIS_STATUS_MEDIA_CONNECT);
	netvsc_expect_silence(&f->vsc);
	/* What has changed back is none of its business. */
	netvsc_set_filter(&f->vsc, 0);
	netvsp_set_link(f->nic, false);
	netvsp_set_link(f->nic, true);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_DIRECTED);
	netvsc_expect_silence(&f->vsc);
}

static void a_link_that_was_asked_for_has_been_told(void **state)
{
	static const uint32_t oids[] = { OID_GEN_MEDIA_CONNECT_STATUS, OID_GEN_LINK_STATE };
	struct fixture *f = *state;

	netvsc_start(&f->vsc, NVSP_VERSION_61);
	for (size_t i = 0; i < sizeof(oids) / sizeof(oids[0]); i++) {
		/* Up at first, then down for who asks, and up again. */
		netvsp_set_link(f->nic, false);
		assert_false(link_asked(f, oids[i]));
		netvsp_set_link(f->nic, true);
		netvsc_set_filter(&f->vsc, NDIS_FILTER_DIRECTED);
		netvsc_expect_status(&f->vsc, RNDIS_STATUS_MEDIA_CONNECT);
		netvsc_set_filter(&f->vsc, 0);
		/* Down, and it has asked: nothing is new. */
		netvsp_set_link(f->nic, false);
		assert_false(link_asked(f, oids[i]));
		netvsc_set_filter(&f->vsc, NDIS_FILTER_DIRECTED);
		netvsc_expect_silence(&f->vsc);
		netvsp_set_link(f->nic, true);
		netvsc_expect_status(&f->vsc, RNDIS_STATUS_MEDIA_CONNECT);
		netvsc_set_filter(&f->vsc, 0);
	}
}

/* ---- life -------------------------------------------------------------------------------------- */

static void revoking_in_linux_order_lets_the_driver_bind_again(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[60];

	for (int i = 0; i < 3; i++) {
		netvsc_start(&f->vsc, NVSP_VERSION_61);
		netvsc_set_filter(&f->vsc, NDIS_FILTER_DIRECTED);
		make_frame(frame, sizeof(frame), mac, (uint8_t)i);
		f->vsc.keep = true; /* pieces are out while the buffer goes */
		deliver(f, frame, sizeof(frame), 0);
		netvsc_expect_frame(&f->vsc, frame, sizeof(frame));
		f->vsc.keep = false;
		netvsc_unbind(&f->vsc, i % 2 == 0); /* GPADLs before and after close */
		deliver(f, frame, sizeof(frame), 0);
		netvsc_open(&f->vsc);
	}
}

static void closing_in_the_middle_forgets_everything(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[60];

	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_PROMISCUOUS);
	make_frame(frame, sizeof(frame), mac, 1);
	net_null_block(f->net, true);
	netvsc_post_section(&f->vsc, 0, frame, sizeof(frame));
	fake_guest_settle(f->vsc.guest);
	deliver(f, frame, sizeof(frame), 0);
	netvsc_close(&f->vsc);
	net_null_block(f->net, false);
	fake_guest_settle(f->vsc.guest);
	netvsc_open(&f->vsc);
	netvsc_start(&f->vsc, NVSP_VERSION_5);
	netvsc_expect_silence(&f->vsc);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_PROMISCUOUS);
	deliver(f, frame, sizeof(frame), 0);
	netvsc_expect_frame(&f->vsc, frame, sizeof(frame));
}

static void halt_and_keepalive_and_reset_do_what_they_say(void **state)
{
	struct fixture *f = *state;
	uint8_t frame[60];
	uint32_t words[4] = { RNDIS_KEEPALIVE, 12, 77, 0 };

	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_PROMISCUOUS);
	netvsc_send_control(&f->vsc, words, 12);
	netvsc_expect_control(&f->vsc, RNDIS_KEEPALIVE | RNDIS_COMPLETION);
	words[0] = RNDIS_RESET;
	netvsc_send_control(&f->vsc, words, 12);
	netvsc_expect_control(&f->vsc, RNDIS_RESET | RNDIS_COMPLETION);
	make_frame(frame, sizeof(frame), mac, 1);
	deliver(f, frame, sizeof(frame), 0);
	netvsc_expect_silence(&f->vsc); /* the filter is gone */
	words[0] = RNDIS_HALT;
	netvsc_send_control(&f->vsc, words, 12);
	netvsc_send_section(&f->vsc, 0, frame, sizeof(frame));
	assert_int_equal(net_counters(f->net)->sent_frames, 0);
	netvsc_expect_silence(&f->vsc);
}

/* ---- nonsense ---------------------------------------------------------------------------------- */

static void nonsense_gets_an_answer_and_hurts_nobody(void **state)
{
	struct fixture *f = *state;
	uint8_t section[NETVSC_SECTION_BYTES], frame[60];
	uint32_t bytes;

	netvsc_start(&f->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_PROMISCUOUS);
	make_frame(frame, sizeof(frame), mac, 1);
	bytes = netvsc_build_frame(section, frame, sizeof(frame), NULL, 0);

	/* Sections that are none, lengths beyond one. */
	assert_int_equal(netvsc_send_rndis(&f->vsc, 100000, 64), NVSP_STATUS_INVALID_RNDIS);
	assert_int_equal(netvsc_send_rndis(&f->vsc, 0, NETVSC_SECTION_BYTES + 1),
			 NVSP_STATUS_INVALID_RNDIS);
	assert_int_equal(netvsc_send_rndis(&f->vsc, 0, 0), NVSP_STATUS_INVALID_RNDIS);
	/* Each word of the header, spoilt. */
	for (uint32_t word = 1; word < 11; word++) {
		const uint32_t bad[] = { 0xffffffff, 0x80000000, 0x7fffffff, 7, bytes + 1 };

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			uint8_t spoilt[256];

			memcpy(spoilt, section, bytes);
			bytes_put_le32(spoilt + 4 * word, bad[i]);
			(void)netvsc_send_raw_section(&f->vsc, 1, spoilt, bytes);
		}
	}
	/* Transactions that never were; one that was, twice. */
	netvsc_complete(&f->vsc, 0);
	netvsc_complete(&f->vsc, 12345678);
	netvsc_complete(&f->vsc, UINT64_MAX);
	f->vsc.keep = true;
	deliver(f, frame, sizeof(frame), 0);
	while (!netvsc_have_kept(&f->vsc)) {
		netvsc_take_one(&f->vsc);
	}
	f->vsc.keep = false;
	uint64_t id = f->vsc.kept[0];

	netvsc_give_back(&f->vsc);
	netvsc_complete(&f->vsc, id);
	/* Buffers twice, and of GPADLs that are none. */
	netvsc_send_nvsp(&f->vsc, (uint32_t[]){ NVSP_SEND_RECV_BUF, 0x77777, 0xcafe }, 12);
	assert_int_equal(bytes_le32(f->vsc.packet.payload + 4), NVSP_STATUS_FAIL);
	netvsc_send_nvsp(&f->vsc, (uint32_t[]){ NVSP_SEND_SEND_BUF, 0x77777, 0 }, 12);
	assert_int_equal(bytes_le32(f->vsc.packet.payload + 4), NVSP_STATUS_FAIL);
	netvsc_send_nvsp(&f->vsc, (uint32_t[]){ NVSP_REVOKE_RECV_BUF, 0xbeef }, 8);
	netvsc_send_nvsp(&f->vsc, (uint32_t[]){ 4711, 1, 2, 3 }, 16);
	netvsc_send_nvsp(&f->vsc, (uint32_t[]){ NVSP_PD_API, 1 }, 8);
	netvsc_send_nvsp(&f->vsc, (uint32_t[]){ NVSP_OID_QUERY_EX, 1 }, 8);
	assert_int_equal(bytes_le32(f->vsc.packet.payload), NVSP_OID_QUERY_EX_COMPLETE);
	netvsc_send_nvsp(&f->vsc, (uint32_t[]){ NVSP_SUBCHANNEL, 1, 7 }, 12);
	assert_int_equal(bytes_le32(f->vsc.packet.payload + 8), 0);
	netvsc_send_nvsp(&f->vsc, (uint32_t[]){ NVSP_SWITCH_DATA_PATH, 0 }, 8);
	assert_int_equal(f->vsc.packet.payload_bytes, 0);
	/* And yet it moves. */
	netvsc_drain(&f->vsc);
	deliver(f, frame, sizeof(frame), 0);
	netvsc_expect_frame(&f->vsc, frame, sizeof(frame));
}

/* ---- saved state ------------------------------------------------------------------------------- */

static void state_survives_save_and_load(void **state)
{
	struct fixture *f = *state;
	struct vmbus_device *device = netvsp_device(f->nic);
	struct save a, b;
	struct load load;
	const uint8_t *a_bytes, *b_bytes;
	size_t a_length, b_length;
	uint8_t frame[60], group[6] = { 1, 0, 0x5e, 0, 0, 1 };
	static uint8_t large[20000];

	assert_int_equal(f->drivers, 0);
	netvsc_start(&f->vsc, NVSP_VERSION_61);
	assert_int_equal(f->drivers, 1);
	netvsc_set_filter(&f->vsc, NDIS_FILTER_DIRECTED);
	netvsc_enable_rsc(&f->vsc, true);
	assert_int_equal(netvsc_set(&f->vsc, OID_802_3_MULTICAST_LIST, group, 6), 0);
	f->vsc.keep = true;
	make_frame(large, sizeof(large), mac, 3);
	deliver(f, large, sizeof(large), NET_FRAME_COALESCED);
	netvsc_expect_frame(&f->vsc, large, sizeof(large));
	make_frame(frame, sizeof(frame), mac, 1);
	deliver(f, frame, sizeof(frame), 0);
	netvsc_expect_frame(&f->vsc, frame, sizeof(frame));

	netvsp_pause(f->nic);
	save_init(&a);
	device->ops->save(device, &a);
	assert_int_equal(save_finish(&a, &a_bytes, &a_length), 0);
	assert_int_equal(deliver(f, frame, sizeof(frame), 0), -EAGAIN);
	netvsc_reload(f->nic, a_bytes, a_length, &load);
	assert_int_equal(load_result(&load), 0);
	assert_int_equal(f->drivers, 2); /* the one that came, and the one that was loaded */
	save_init(&b);
	device->ops->save(device, &b);
	assert_int_equal(save_finish(&b, &b_bytes, &b_length), 0);
	assert_int_equal(a_length, b_length);
	assert_memory_equal(a_bytes, b_bytes, a_length);
	save_fini(&a);
	save_fini(&b);
	netvsp_resume(f->nic);

	netvsc_give_back(&f->vsc);
	f->vsc.keep = false;
	deliver(f, large, sizeof(large), NET_FRAME_COALESCED);
	netvsc_expect_frame(&f->vsc, large, sizeof(large));
}

static void spoilt_state_is_refused(void **state)
{
	struct fixture *f = *state;
	struct vmbus_device *device = netvsp_device(f->nic);
	struct save a;
	struct load load;
	const uint8_t *bytes;
	size_t length;
	unsigned int refused = 0;

	netvsc_start(&f->vsc, NVSP_VERSION_61);
	save_init(&a);
	device->ops->save(device, &a);
	assert_int_equal(save_finish(&a, &bytes, &length), 0);
	for (size_t cut = 0; cut < length; cut += 97) {
		uint8_t *copy = malloc(length);

		memcpy(copy, bytes, length);
		copy[cut] ^= 0x5a;
		refused += netvsc_reload(f->nic, copy, length, &load) != 0;
		refused += netvsc_reload(f->nic, bytes, cut, &load) != 0;
		free(copy);
	}
	assert_true(refused > 0);
	assert_int_equal(netvsc_reload(f->nic, bytes, length, &load), 0);
	save_fini(&a);
}

/* ---- back ends --------------------------------------------------------------------------------- */

/* A back end that uses up the iovecs of what it takes, as some writers do. */
struct eater {
	struct net net;
	unsigned int frames;
};

static int eat(struct net *net, const struct net_frame *frame)
{
	(void)net;
	(void)frame;
	return 0;
}

static int eat_many(struct net *net, struct net_frame *frames, unsigned int count,
		    unsigned int *ret_taken)
{
	struct eater *eater = container_of(net, struct eater, net);

	for (unsigned int i = 0; i < count; i++) {
		struct iovec *iov = (struct iovec *)(uintptr_t)frames[i].iov;

		for (int k = 0; k < frames[i].iov_count; k++) {
			iov[k].iov_base = (uint8_t *)iov[k].iov_base + iov[k].iov_len;
			iov[k].iov_len = 0;
		}
		frames[i] = (struct net_frame){ 0 };
	}
	eater->frames += count;
	*ret_taken = count;
	return 0;
}

static void destroy_eater(struct net *net)
{
	(void)net;
}

static void a_back_end_may_use_up_the_frames_it_takes(void **state)
{
	static const struct net_ops ops = {
		.kind = "eater", .send = eat, .send_many = eat_many, .destroy = destroy_eater
	};
	struct netvsp_config config = { .name = "net0", .mac = mac };
	struct eater eater = { .frames = 0 };
	struct netvsc vsc;
	struct netvsp *nic;
	struct diag diag;
	uint8_t frame[600], info[64];
	uint32_t bytes;

	(void)state;
	netvsc_init(&vsc);
	net_init(&eater.net, &ops, fake_guest_loop(vsc.guest));
	config.net = &eater.net;
	assert_int_equal(netvsp_create(&config, &nic, &diag), 0);
	fake_guest_offer(vsc.guest, netvsp_device(nic));
	fake_guest_connect(vsc.guest, VMBUS_VERSION_5_3);
	netvsc_open(&vsc);
	netvsc_start(&vsc, NVSP_VERSION_61);
	make_frame(frame, sizeof(frame), broadcast, 1);
	assert_int_equal(netvsc_send_section(&vsc, 1, frame, sizeof(frame)), NVSP_STATUS_SUCCESS);
	make_frame(frame, sizeof(frame), peer, 2);
	assert_int_equal(netvsc_send_split(&vsc, 2, frame, sizeof(frame)), NVSP_STATUS_SUCCESS);
	assert_int_equal(eater.frames, 2);
	assert_int_equal(netvsc_query(&vsc, OID_GEN_BROADCAST_FRAMES_XMIT, info, &bytes), 0);
	assert_int_equal(bytes_le32(info), 1);
	netvsc_close(&vsc);
	netvsc_revoke_device(&vsc, netvsp_device(nic));
	netvsp_destroy(nic);
	net_destroy(&eater.net);
	netvsc_fini(&vsc);
}

int main(void)
{
#define TEST(name)      cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define ECHO_TEST(name) cmocka_unit_test_setup_teardown(name, set_up_echo, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(every_version_reaches_operation),
		cmocka_unit_test(a_back_end_may_use_up_the_frames_it_takes),
		TEST(versions_that_nobody_knows_are_refused),
		TEST(nothing_is_served_before_init),
		TEST(the_offload_query_tells_linux_what_it_checks),
		TEST(every_listed_oid_is_answered),
		TEST(the_mtu_follows_the_guest_up_to_9000),
		ECHO_TEST(frames_travel_from_the_send_buffer),
		ECHO_TEST(frames_travel_from_scattered_pages),
		ECHO_TEST(frames_may_begin_in_the_send_buffer_and_go_on_in_pages),
		ECHO_TEST(several_messages_in_one_packet_are_several_frames),
		ECHO_TEST(a_full_back_end_stops_reading_and_loses_nothing),
		ECHO_TEST(frames_for_the_guest_share_one_interrupt_and_one_packet),
		TEST(coalesced_frames_come_in_pieces_that_linux_joins),
		TEST(old_guests_get_no_coalesced_frames),
		TEST(a_guest_that_keeps_all_pieces_gets_no_more_but_still_answers),
		TEST(answers_wait_for_a_guest_that_is_slow),
		TEST(a_full_ring_delays_and_loses_nothing),
		TEST(only_what_the_filter_wants_reaches_the_guest),
		TEST(a_guest_may_change_its_address),
		TEST(a_link_change_is_told_and_stops_traffic),
		TEST(a_link_change_is_told_when_the_driver_listens),
		TEST(a_link_that_was_asked_for_has_been_told),
		TEST(revoking_in_linux_order_lets_the_driver_bind_again),
		TEST(closing_in_the_middle_forgets_everything),
		TEST(halt_and_keepalive_and_reset_do_what_they_say),
		TEST(nonsense_gets_an_answer_and_hurts_nobody),
		TEST(state_survives_save_and_load),
		TEST(spoilt_state_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

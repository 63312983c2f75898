/* SPDX-License-Identifier: MIT */
/*
 * Guests, with their NICs' real VSPs, plugged into a real switch whose cores have threads of their
 * own: one core, and two with the guests on both.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/num.h"
#include "guest/switch_guests.h"
#include "net/offload.h"

#define WAIT_NS 3000000000ULL

/* ---- frames ------------------------------------------------------------------------------------ */

static uint32_t make(struct rig *rig, uint8_t *frame, unsigned int from, int to, uint32_t bytes)
{
	if (to < 0) {
		memset(frame, 0xff, 6);
	} else {
		memcpy(frame, rig->party[to].mac, 6);
	}
	memcpy(frame + 6, rig->party[from].mac, 6);
	bytes_put_be16(frame + 12, 0x88b5);
	for (uint32_t i = 14; i < bytes; i++) {
		frame[i] = (uint8_t)(i * 11 + from);
	}
	return bytes;
}

static void send(struct rig *rig, unsigned int from, const uint8_t *frame, uint32_t bytes)
{
	assert_int_equal(netvsc_send_section(&rig->party[from].vsc, 0, frame, bytes),
			 NVSP_STATUS_SUCCESS);
}

static void expect(struct rig *rig, unsigned int to, const uint8_t *frame, uint32_t bytes)
{
	netvsc_expect_frame(&rig->party[to].vsc, frame, bytes);
}

/* Nothing, for long enough that it would have come. */
static void expect_silence(struct rig *rig, unsigned int to)
{
	struct netvsc_item *item = netvsc_next_frame(&rig->party[to].vsc, 30000000);

	assert_null(item);
}

/* TCP over IPv4 with so much payload; length and checksums are left to others. */
static uint32_t make_tcp(struct rig *rig, uint8_t *frame, unsigned int from, unsigned int to,
			 uint32_t payload)
{
	uint8_t *ip = frame + 14;

	make(rig, frame, from, (int)to, 54 + payload);
	memset(frame + 12, 0, 42);
	bytes_put_be16(frame + 12, 0x0800);
	ip[0] = 0x45;
	ip[8] = 64;
	ip[9] = 6;
	bytes_put_be32(ip + 12, 0x0a000001 + from);
	bytes_put_be32(ip + 16, 0x0a000001 + to);
	bytes_put_be16(ip + 20, 4000);
	bytes_put_be16(ip + 22, 80);
	bytes_put_be32(ip + 24, 1);
	ip[32] = 0x50;
	ip[33] = 0x18;
	return 54 + payload;
}

static bool sums_are_right(const struct netvsc_item *item)
{
	struct net_headers h;
	const uint8_t *l3;
	uint8_t tail[4];

	if (net_headers_parse(item->data, item->bytes, false, &h)) {
		return false;
	}
	l3 = item->data + h.l3_offset;
	bytes_put_be16(tail, h.protocol);
	bytes_put_be16(tail + 2, (uint16_t)(h.end - h.l4_offset));
	return net_sum_fold(net_sum(l3, 20)) == 0 &&
	       net_sum_fold(net_sum(l3 + 12, 8) + net_sum(tail, 4) +
			    net_sum(item->data + h.l4_offset, h.end - h.l4_offset)) == 0;
}

static void send_large(struct rig *rig, unsigned int from, const uint8_t *frame, uint32_t bytes,
		       uint32_t mss)
{
	uint8_t ppi[16];

	bytes_put_le32(ppi, 16);
	bytes_put_le32(ppi + 4, RNDIS_PPI_LSO);
	bytes_put_le32(ppi + 8, 12);
	bytes_put_le32(ppi + 12, mss | 34U << 20 | RNDIS_LSO_TYPE_V2);
	assert_int_equal(
		netvsc_send_pages_ppi(&rig->party[from].vsc, frame, bytes, ppi, sizeof(ppi)),
		NVSP_STATUS_SUCCESS);
}

/* Each is run with one core and with two. */
typedef void body_fn(struct rig *rig);

static void run(body_fn *body, unsigned int guests, uint32_t mtu)
{
	for (unsigned int cores = 1; cores <= 2; cores++) {
		struct rig *rig = malloc(sizeof(*rig));

		rig_create(rig, cores, guests, mtu);
		body(rig);
		rig_destroy(rig);
		free(rig);
	}
}

/* ---- tests ------------------------------------------------------------------------------------- */

static void talk(struct rig *rig)
{
	uint8_t frame[1514];

	for (unsigned int i = 0; i < 50; i++) {
		uint32_t bytes = make(rig, frame, 0, 1, 60 + i * 29);

		send(rig, 0, frame, bytes);
		expect(rig, 1, frame, bytes);
		make(rig, frame, 1, 0, bytes);
		send(rig, 1, frame, bytes);
		expect(rig, 0, frame, bytes);
	}
	make(rig, frame, 2, -1, 300);
	send(rig, 2, frame, 300);
	expect(rig, 0, frame, 300);
	expect(rig, 1, frame, 300);
	expect_silence(rig, 2);
}

static void guests_talk(void **state)
{
	(void)state;
	run(talk, 3, 1500);
}

static void stay_apart(struct rig *rig)
{
	uint8_t frame[100];
	uint32_t bytes = make(rig, frame, 0, -1, 80);
	struct acl_rule rule = { .id = 1, .priority = 1, .action = ACL_DENY, .ethertype = 0x88b5 };
	struct diag diag;

	for (uint16_t i = 0; i < 3; i++) {
		rig->policy->ports[i].vlan =
			(struct vlan_policy){ .mode = VLAN_ACCESS, .id = (uint16_t)(10 + i / 2) };
	}
	rig_adopt(rig);
	send(rig, 0, frame, bytes);
	expect(rig, 1, frame, bytes);
	expect_silence(rig, 2);
	/* who says that he is somebody else is not heard */
	rig->policy->ports[0].guard.mac = true;
	rig->policy->ports[0].guard.mac_count = 1;
	memcpy(rig->policy->ports[0].guard.macs[0], rig->party[0].mac, 6);
	rig_adopt(rig);
	make(rig, frame, 2, 1, 80);
	send(rig, 0, frame, bytes);
	expect_silence(rig, 1);
	assert_int_equal(rig_drops(rig, 0, DROP_MAC_SPOOF), 1);
	/* nor who is not let in */
	assert_int_equal(acl_compile(&rule, 1, ACL_OUT, &rig->policy->ports[1].acl_out, &diag), 0);
	rig_adopt(rig);
	make(rig, frame, 0, 1, 80);
	send(rig, 0, frame, bytes);
	expect_silence(rig, 1);
	assert_int_equal(rig_drops(rig, 1, DROP_ACL_OUT), 1);
	make(rig, frame, 1, 0, 80);
	send(rig, 1, frame, bytes);
	expect(rig, 0, frame, bytes);
}

static void vlans_guards_and_rules_keep_guests_apart(void **state)
{
	(void)state;
	run(stay_apart, 3, 1500);
}

static void send_whole(struct rig *rig)
{
	uint8_t *frame = malloc(66000);
	uint32_t bytes = make_tcp(rig, frame, 0, 1, 60000);
	struct netvsc_item *item;
	unsigned int before;

	netvsc_enable_rsc(&rig->party[1].vsc, true);
	rig_settle(rig);
	before = rig->party[1].vsc.receive_packets;
	send_large(rig, 0, frame, bytes, 1448);
	item = netvsc_next_frame(&rig->party[1].vsc, WAIT_NS);
	assert_non_null(item);
	assert_int_equal(item->bytes, bytes);
	assert_in_range(item->pieces, 2, 9);
	assert_int_equal(item->checksum, RNDIS_RX_TCP_GOOD | RNDIS_RX_IP_GOOD);
	assert_int_equal(bytes_be16(item->data + 16), bytes - 14);
	assert_int_equal(net_sum_fold(net_sum(item->data + 14, 20)), 0);
	assert_memory_equal(item->data + 54, frame + 54, 60000);
	free(item);
	assert_int_equal(rig->party[1].vsc.receive_packets, before + 1); /* one descriptor */
	expect_silence(rig, 1);
	free(frame);
}

static void a_large_segment_crosses_whole(void **state)
{
	(void)state;
	run(send_whole, 2, 1500);
}

static void send_cut(struct rig *rig)
{
	uint8_t *frame = malloc(66000);
	uint32_t bytes = make_tcp(rig, frame, 0, 1, 60000), at = 0;
	struct netvsc_item *item;

	netvsc_enable_rsc(&rig->party[1].vsc, false);
	rig_settle(rig);
	send_large(rig, 0, frame, bytes, 1448);
	while (at < 60000) {
		item = netvsc_next_frame(&rig->party[1].vsc, WAIT_NS);
		assert_non_null(item);
		assert_true(sums_are_right(item));
		assert_int_equal(item->pieces, 1);
		assert_memory_equal(item->data + 54, frame + 54 + at, item->bytes - 54);
		at += item->bytes - 54;
		free(item);
	}
	assert_int_equal(at, 60000);
	free(frame);
}

static void a_large_segment_is_cut_for_who_takes_none(void **state)
{
	(void)state;
	run(send_cut, 2, 1500);
}

/* TCP or UDP whose checksums are left to the switch. */
static void send_unsummed(struct rig *rig, unsigned int from, uint8_t *frame, uint32_t bytes)
{
	const bool is_tcp = frame[23] == 6;
	uint8_t ppi[16];

	bytes_put_be16(frame + 16, (uint16_t)(bytes - 14));
	bytes_put_le32(ppi, 16);
	bytes_put_le32(ppi + 4, RNDIS_PPI_CHECKSUM);
	bytes_put_le32(ppi + 8, 12);
	bytes_put_le32(ppi + 12, RNDIS_TX_IPV4 | RNDIS_TX_IP_HEADER |
					 (is_tcp ? RNDIS_TX_TCP : RNDIS_TX_UDP) |
					 34U << RNDIS_TX_L4_SHIFT);
	assert_int_equal(
		netvsc_send_pages_ppi(&rig->party[from].vsc, frame, bytes, ppi, sizeof(ppi)),
		NVSP_STATUS_SUCCESS);
}

static void expect_summed(struct rig *rig, unsigned int to, uint32_t bytes)
{
	struct netvsc_item *item = netvsc_next_frame(&rig->party[to].vsc, WAIT_NS);

	assert_non_null(item);
	assert_int_equal(item->bytes, bytes);
	assert_true(sums_are_right(item));
	assert_true(item->checksum & (RNDIS_RX_TCP_GOOD | RNDIS_RX_UDP_GOOD));
	free(item);
}

static void send_sums(struct rig *rig)
{
	uint8_t frame[9100];

	for (uint32_t payload = 0; payload < 8900; payload += payload < 200 ? 1 : 487) {
		uint32_t bytes = make_tcp(rig, frame, 0, 1, payload);

		frame[23] = payload & 1 ? 17 : 6;
		send_unsummed(rig, 0, frame, bytes);
		expect_summed(rig, 1, bytes);
		if (payload % 5 == 0 && bytes <= 1514) { /* the third takes no more */
			memset(frame, 0xff, 6);
			send_unsummed(rig, 0, frame, bytes);
			expect_summed(rig, 1, bytes);
			expect_summed(rig, 2, bytes);
		}
	}
}

static void missing_checksums_are_made(void **state)
{
	(void)state;
	run(send_sums, 3, 9000);
}

/* Another of the guest's processors: writes into the frame's payload all the time. */
static pid_t start_writing(struct netvsc *vsc)
{
	volatile uint8_t *page = fake_guest_hva(vsc->guest, vsc->scattered[1] << 12, 4096);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (uint8_t value = 0;; value++) {
			for (unsigned int i = 0; i < 4096; i++) {
				page[i] = value;
			}
		}
	}
	return pid;
}

static void send_and_write(struct rig *rig)
{
	uint8_t frame[9100];
	pid_t pid = start_writing(&rig->party[0].vsc);

	for (unsigned int i = 0; i < 1000; i++) {
		uint32_t bytes = make_tcp(rig, frame, 0, 1, 8000);

		send_unsummed(rig, 0, frame, bytes);
		expect_summed(rig, 1, bytes);
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void a_guest_that_writes_into_what_it_sends_spoils_no_checksum(void **state)
{
	(void)state;
	run(send_and_write, 2, 9000);
}

static void send_jumbo(struct rig *rig)
{
	uint8_t frame[9100];
	uint32_t bytes = make(rig, frame, 0, 1, 9014);

	assert_int_equal(netvsc_send_pages(&rig->party[0].vsc, frame, bytes), NVSP_STATUS_SUCCESS);
	expect(rig, 1, frame, bytes);
	make(rig, frame, 0, 2, bytes);
	assert_int_equal(netvsc_send_pages(&rig->party[0].vsc, frame, bytes), NVSP_STATUS_SUCCESS);
	expect_silence(rig, 2);
	assert_int_equal(rig_drops(rig, 2, DROP_MTU), 1);
	make(rig, frame, 0, 2, 1514);
	assert_int_equal(netvsc_send_pages(&rig->party[0].vsc, frame, 1514), NVSP_STATUS_SUCCESS);
	expect(rig, 2, frame, 1514);
}

static void a_frame_is_no_longer_than_its_receiver_takes(void **state)
{
	(void)state;
	run(send_jumbo, 3, 9000);
}

static void send_to_the_deaf(struct rig *rig)
{
	uint8_t frame[1514];
	uint32_t bytes = make(rig, frame, 0, 1, 1514);
	unsigned int sent = 0;

	/* 1 takes nothing: neither its ring is read nor pieces come back. */
	while (rig_drops(rig, 1, DROP_NO_BUFFER) == 0) {
		send(rig, 0, frame, bytes);
		assert_true(++sent < 20000);
	}
	for (unsigned int i = 0; i < 20; i++) {
		bytes = make(rig, frame, 0, 2, 100 + i);
		send(rig, 0, frame, bytes);
		expect(rig, 2, frame, bytes);
		make(rig, frame, 0, -1, bytes);
		send(rig, 0, frame, bytes);
		expect(rig, 2, frame, bytes);
	}
	/* it comes back */
	netvsc_drain(&rig->party[1].vsc);
	for (struct netvsc_item *item; (item = netvsc_next_frame(&rig->party[1].vsc, 50000000));) {
		free(item);
	}
	bytes = make(rig, frame, 0, 1, 200);
	send(rig, 0, frame, bytes);
	expect(rig, 1, frame, bytes);
}

static void who_does_not_listen_harms_nobody_else(void **state)
{
	(void)state;
	run(send_to_the_deaf, 3, 1500);
}

/* Posts as much as fits, and forgets it. */
static void flood(struct rig *rig, unsigned int from)
{
	uint8_t frame[1514];
	uint8_t garbage[200];

	make(rig, frame, from, -1, 1514);
	for (unsigned int i = 0; i < 8; i++) {
		netvsc_post_section(&rig->party[from].vsc, 8 + i, frame, 1514);
		make(rig, frame, from, 1, 64 + i);
		frame[10] = 9; /* ever other addresses */
		frame[11] = (uint8_t)i;
		netvsc_post_section(&rig->party[from].vsc, 16 + i, frame, 64 + i);
		memset(garbage, (int)(i * 37), sizeof(garbage));
		netvsc_post_raw_section(&rig->party[from].vsc, 24 + i, garbage, sizeof(garbage));
	}
	netvsc_wait_completions(&rig->party[from].vsc, 24);
}

static void be_hostile(struct rig *rig)
{
	uint8_t frame[1514];

	rig->policy->ports[2].limits.broadcast_pps = 1; /* less than the slowest machine sends */
	rig->policy->ports[2].macs_max = 4;
	rig_adopt(rig);
	for (unsigned int i = 0; i < 100; i++) {
		uint32_t bytes = make(rig, frame, 0, 1, 100 + i * 10);
		struct netvsc_item *item;

		flood(rig, 2);
		send(rig, 0, frame, bytes);
		/* among what the hostile one sends, ours is there */
		do {
			item = netvsc_next_frame(&rig->party[1].vsc, WAIT_NS);
			assert_non_null(item);
			if (!memcmp(item->data + 6, rig->party[0].mac, 6)) {
				break;
			}
			free(item);
		} while (true);
		assert_int_equal(item->bytes, bytes);
		assert_memory_equal(item->data, frame, bytes);
		free(item);
		netvsc_drain(&rig->party[0].vsc);
		netvsc_drain(&rig->party[2].vsc);
	}
	assert_true(rig_drops(rig, 2, DROP_STORM_BROADCAST) > 0);
}

static void a_hostile_guest_does_not_stop_the_others(void **state)
{
	(void)state;
	run(be_hostile, 3, 1500);
}

static void come_and_go(struct rig *rig)
{
	uint8_t frame[100];
	uint32_t bytes = make(rig, frame, 0, 1, 80);

	for (int i = 0; i < 5; i++) {
		send(rig, 0, frame, bytes);
		expect(rig, 1, frame, bytes);
		netvsc_close(&rig->party[1].vsc);
		send(rig, 0, frame, bytes);
		netvsc_open(&rig->party[1].vsc);
		netvsc_start(&rig->party[1].vsc, NVSP_VERSION_61);
		netvsc_set_filter(&rig->party[1].vsc, NDIS_FILTER_DIRECTED);
		rig_settle(rig);
	}
}

static void a_driver_comes_and_goes(void **state)
{
	(void)state;
	run(come_and_go, 2, 1500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guests_talk),
		cmocka_unit_test(vlans_guards_and_rules_keep_guests_apart),
		cmocka_unit_test(a_large_segment_crosses_whole),
		cmocka_unit_test(a_large_segment_is_cut_for_who_takes_none),
		cmocka_unit_test(missing_checksums_are_made),
		cmocka_unit_test(a_guest_that_writes_into_what_it_sends_spoils_no_checksum),
		cmocka_unit_test(a_frame_is_no_longer_than_its_receiver_takes),
		cmocka_unit_test(who_does_not_listen_harms_nobody_else),
		cmocka_unit_test(a_hostile_guest_does_not_stop_the_others),
		cmocka_unit_test(a_driver_comes_and_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

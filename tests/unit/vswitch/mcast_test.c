/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/fault.h"
#include "base/num.h"
#include "rig.h"
#include "state/load.h"
#include "state/save.h"
#include "vswitch/mcast.h"

static const uint8_t A[6] = { 2, 0, 0, 0, 0, 0xa }, GROUP_MAC[6] = { 1, 0, 0x5e, 1, 2, 3 };
static const uint8_t GROUP6_MAC[6] = { 0x33, 0x33, 1, 2, 3, 4 };
static const struct vframe_ip LINK = { 0xfe80000000000000ULL, 1 },
			      GROUP6 = { 0xff0e000000000000ULL, 0x01020304 };
#define GROUP 0xe1010203U /* 225.1.2.3 */
#define HOST  0x0a00000aU

static struct rig rig;
static struct mcast *mcast, *replica;
static struct mcast_news_list news;
static struct mcast_policy policy;
static uint32_t now;

static int set_up(void **state)
{
	(void)state;
	now = 1000;
	policy = (struct mcast_policy){ 0 };
	return mcast_create(1, &mcast) || mcast_create(2, &replica);
}

static int tear_down(void **state)
{
	(void)state;
	mcast_destroy(mcast);
	mcast_destroy(replica);
	return 0;
}

/* From port, in VLAN 5; what is heard goes to the replica too, which must agree with it. */
static enum mcast_where snoop(uint16_t port)
{
	uint8_t payload[MCAST_PAYLOAD_BYTES_MAX];
	struct vframe *frame = &rig.frame;
	enum mcast_where where;
	uint32_t bytes;

	rig_parse(&rig);
	frame->from = port;
	frame->fid = 5;
	bytes = vframe_ip_end(frame) - frame->key.l4_offset;
	bytes = vframe_copy(frame, frame->key.l4_offset, payload,
			    bytes < sizeof(payload) ? bytes : sizeof(payload));
	where = mcast_snoop(mcast, frame, payload, bytes, &policy, now, &news);
	for (unsigned int i = 0; i < news.count; i++) {
		(void)mcast_apply(replica, &news.news[i], now);
	}
	return where;
}

static enum mcast_where igmp_from(uint16_t port, uint32_t from, const uint8_t *message,
				  uint32_t bytes)
{
	uint8_t *at;
	uint16_t sum;

	rig_ethernet(&rig, GROUP_MAC, A, ETHER_TYPE_IPV4);
	rig_ipv4(&rig, IP_PROTOCOL_IGMP, from, GROUP, bytes);
	at = rig_put(&rig, message, bytes);
	sum = net_sum_fold(net_sum(at, bytes));
	memcpy(at + 2, &sum, 2);
	return snoop(port);
}

static enum mcast_where igmp(uint16_t port, uint8_t type, uint8_t code, uint32_t group)
{
	uint8_t message[8] = { type, code };

	bytes_put_be32(message + 4, group);
	return igmp_from(port, HOST, message, 8);
}

static enum mcast_where icmp6(uint16_t port, uint8_t protocol, const uint8_t *message,
			      uint32_t bytes)
{
	uint8_t pseudo[40] = { 0 };
	uint8_t *ip, *at;
	uint16_t sum;

	rig_ethernet(&rig, GROUP6_MAC, A, ETHER_TYPE_IPV6);
	ip = rig_ipv6(&rig, protocol, LINK, GROUP6, bytes);
	ip[7] = 1;
	at = rig_put(&rig, message, bytes);
	memcpy(pseudo, ip + 8, 32);
	bytes_put_be32(pseudo + 32, bytes);
	pseudo[39] = protocol;
	sum = net_sum_fold(net_sum(pseudo, 40) + net_sum(at, bytes));
	memcpy(at + 2, &sum, 2);
	return snoop(port);
}

static enum mcast_where mld(uint16_t port, uint8_t type, struct vframe_ip group)
{
	uint8_t message[24] = { type };

	bytes_put_be64(message + 8, group.hi);
	bytes_put_be64(message + 16, group.lo);
	return icmp6(port, IP_PROTOCOL_ICMPV6, message, 24);
}

static void age(uint32_t seconds)
{
	for (uint32_t i = 0; i < seconds; i++) {
		now++;
		mcast_age(mcast, now);
		mcast_age(replica, now);
	}
}

/* A querier on port 9 and the time that it takes to be believed. */
static void begin(void)
{
	assert_int_equal(igmp(9, IGMP_QUERY, 100, 0), MCAST_TO_ALL);
	age(MCAST_GRACE_S);
}

/* Whether frames to GROUP go to just these, both here and at the replica; -1: flooded. */
static void goes_to(int a, int b)
{
	struct mcast *const both[] = { mcast, replica };

	rig_ethernet(&rig, GROUP_MAC, A, ETHER_TYPE_IPV4);
	rig_ipv4(&rig, IP_PROTOCOL_UDP, HOST, GROUP, 8);
	rig_udp(&rig, 1, 2, 0);
	rig_parse(&rig)->fid = 5;
	for (unsigned int i = 0; i < 2; i++) {
		port_set ports = { 0 }, expected = { 0 };

		if (a < 0) {
			assert_false(mcast_ports(both[i], &rig.frame, &ports));
			continue;
		}
		port_set_add(&expected, (unsigned int)a);
		port_set_add(&expected, (unsigned int)b);
		assert_true(mcast_ports(both[i], &rig.frame, &ports));
		assert_memory_equal(&ports, &expected, sizeof(ports));
	}
}

static void a_group_is_flooded_until_a_querier_was_answered(void **state)
{
	(void)state;
	assert_int_equal(igmp(1, IGMP_V2_REPORT, 0, GROUP), MCAST_TO_ROUTERS);
	goes_to(-1, -1);
	assert_int_equal(igmp(9, IGMP_QUERY, 100, 0), MCAST_TO_ALL);
	age(MCAST_GRACE_S - 1);
	goes_to(-1, -1);
	age(1);
	goes_to(1, 9);
	age(MCAST_ROUTER_S - MCAST_GRACE_S);
	goes_to(-1, -1); /* the querier has gone */
}

static void a_group_that_nobody_asked_for_is_flooded(void **state)
{
	(void)state;
	begin();
	goes_to(-1, -1);
}

static void a_member_leaves_after_its_last_member_time(void **state)
{
	(void)state;
	begin();
	assert_int_equal(igmp(1, IGMP_V1_REPORT, 0, GROUP), MCAST_TO_ROUTERS);
	assert_int_equal(igmp(1, IGMP_LEAVE, 0, GROUP), MCAST_TO_ROUTERS);
	assert_int_equal(news.count, 1);
	assert_true(mcast_is_leaving(mcast, rig.frame.key.to, rig.frame.fid, 1));
	assert_false(mcast_is_leaving(mcast, rig.frame.key.to, rig.frame.fid, 9));
	goes_to(1, 9);
	/* Until the second question's answer may have come. */
	age(MCAST_LAST_MEMBER_S - 1);
	goes_to(1, 9);
	age(1);
	assert_false(mcast_is_leaving(mcast, rig.frame.key.to, rig.frame.fid, 1));
	goes_to(9, 9); /* known, with no members: not flooded */
	/* Another behind the same port says no in time. */
	(void)igmp(1, IGMP_V2_REPORT, 0, GROUP);
	(void)igmp(1, IGMP_LEAVE, 0, GROUP);
	age(1);
	(void)igmp(1, IGMP_V2_REPORT, 0, GROUP);
	assert_false(mcast_is_leaving(mcast, rig.frame.key.to, rig.frame.fid, 1));
	assert_int_equal(news.count, 1);
	age(5);
	goes_to(1, 9);
	/* A querier that gives more time gets it. */
	(void)igmp(1, IGMP_LEAVE, 0, GROUP);
	(void)igmp(9, IGMP_QUERY, 50, GROUP);
	age(5);
	goes_to(1, 9);
	age(1);
	goes_to(9, 9);
}

static void fast_leave_is_at_once(void **state)
{
	(void)state;
	begin();
	policy.fast_leave = true;
	(void)igmp(1, IGMP_V2_REPORT, 0, GROUP);
	(void)igmp(2, IGMP_V2_REPORT, 0, GROUP);
	(void)igmp(1, IGMP_LEAVE, 0, GROUP);
	goes_to(2, 9);
}

static void a_membership_ends_without_reports_and_is_told_while_it_lasts(void **state)
{
	unsigned int told = 0;

	(void)state;
	begin();
	for (unsigned int i = 0; i < 40; i++) {
		(void)igmp(1, IGMP_V2_REPORT, 0, GROUP);
		told += news.count;
		age(1);
	}
	assert_int_equal(told, 4);
	for (unsigned int i = 0; i < 3; i++) {
		age(100);
		(void)igmp(9, IGMP_QUERY, 100, 0);
	}
	goes_to(9, 9);
}

static void version_3_records_join_and_leave(void **state)
{
	static const struct {
		uint8_t type, sources;
		bool joins, leaves;
	} cases[] = {
		{ 1, 0, false, false }, { 1, 1, true, false }, { 2, 0, true, false },
		{ 3, 0, false, true },  { 3, 2, true, false }, { 4, 0, true, false },
		{ 5, 0, false, false }, { 5, 1, true, false }, { 6, 1, false, false },
		{ 7, 0, false, false },
	};

	(void)state;
	begin();
	policy.fast_leave = true;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int was = 0; was <= 1; was++) {
			uint8_t message[32] = { IGMP_V3_REPORT };
			bool is = cases[i].joins || (was && !cases[i].leaves);

			(void)igmp(2, IGMP_V2_REPORT, 0, GROUP);
			(void)igmp(1, was ? IGMP_V2_REPORT : IGMP_LEAVE, 0, GROUP);
			message[7] = 1;
			message[8] = cases[i].type;
			message[11] = cases[i].sources;
			bytes_put_be32(message + 12, GROUP);
			(void)igmp_from(1, HOST, message, 16 + cases[i].sources * 4U);
			(void)igmp(2, IGMP_LEAVE, 0, GROUP);
			goes_to(is ? 1 : 9, 9);
		}
	}
}

static void mld_is_the_same(void **state)
{
	struct mcast *const both[] = { mcast, replica };
	uint8_t report[28] = { ICMPV6_MLD2_REPORT, 0, 0, 0, 0, 0, 0, 1, 4 };

	(void)state;
	assert_int_equal(mld(9, ICMPV6_MLD_QUERY, (struct vframe_ip){ 0, 0 }), MCAST_TO_ALL);
	age(MCAST_GRACE_S);
	assert_int_equal(mld(1, ICMPV6_MLD_REPORT, GROUP6), MCAST_TO_ROUTERS);
	bytes_put_be64(report + 12, GROUP6.hi);
	bytes_put_be64(report + 20, GROUP6.lo);
	assert_int_equal(icmp6(2, IP_PROTOCOL_ICMPV6, report, 28), MCAST_TO_ROUTERS);
	assert_int_equal(mld(1, ICMPV6_MLD_DONE, GROUP6), MCAST_TO_ROUTERS);
	age(MCAST_LAST_MEMBER_S);
	for (unsigned int i = 0; i < 2; i++) {
		port_set ports;

		assert_true(mcast_ports(both[i], &rig.frame, &ports));
		assert_true(port_set_has(&ports, 2) && port_set_has(&ports, 9));
		assert_false(port_set_has(&ports, 1));
		/* The same Ethernet address, but link-local: never pruned. */
		rig.frame.key.ip_to.hi = 0xff02000000000000ULL;
		assert_false(mcast_ports(both[i], &rig.frame, &ports));
		rig.frame.key.ip_to.hi = GROUP6.hi;
	}
}

static void link_local_groups_are_never_pruned(void **state)
{
	port_set ports;

	(void)state;
	begin();
	(void)igmp(1, IGMP_V2_REPORT, 0, 0xe00000fb);
	assert_int_equal(news.count, 0);
	/* 225.0.0.251 has the same Ethernet address. */
	(void)igmp(1, IGMP_V2_REPORT, 0, 0xe10000fb);
	assert_int_equal(news.count, 1);
	rig_ethernet(&rig, (const uint8_t[]){ 1, 0, 0x5e, 0, 0, 0xfb }, A, ETHER_TYPE_IPV4);
	rig_ipv4(&rig, IP_PROTOCOL_UDP, HOST, 0xe00000fb, 8);
	rig_udp(&rig, 5353, 5353, 0);
	rig_parse(&rig)->fid = 5;
	assert_false(mcast_ports(mcast, &rig.frame, &ports));
	rig.frame.key.ip_to.lo = 0xffffe10000fbULL;
	assert_true(mcast_ports(mcast, &rig.frame, &ports));
	rig.frame.fid = 6; /* another VLAN */
	assert_false(mcast_ports(mcast, &rig.frame, &ports));
}

static void routers_are_known_by_queries_and_pim(void **state)
{
	uint8_t hello[] = { 0x20, 0, 0, 0 };
	uint8_t query[8] = { IGMP_QUERY, 100 };
	uint16_t sum = net_sum_fold(net_sum(hello, 4));
	port_set ports;

	(void)state;
	memcpy(hello + 2, &sum, 2);
	assert_false(mcast_routers(mcast, 5, false, &ports));
	/* A querier from nobody is no router. */
	assert_int_equal(igmp_from(3, 0, query, 8), MCAST_TO_ALL);
	assert_false(mcast_routers(mcast, 5, false, &ports));
	rig_ethernet(&rig, GROUP_MAC, A, ETHER_TYPE_IPV4);
	rig_ipv4(&rig, IP_PROTOCOL_PIM, HOST, 0xe000000d, 4);
	rig_put(&rig, hello, 4);
	assert_int_equal(snoop(4), MCAST_TO_ALL);
	hello[2] = hello[3] = 0;
	assert_int_equal(icmp6(6, IP_PROTOCOL_PIM, hello, 4), MCAST_TO_ALL);
	assert_true(mcast_routers(replica, 5, false, &ports));
	assert_int_equal(port_set_next(&ports, 0), 4);
	assert_int_equal(port_set_next(&ports, 5), -1);
	assert_true(mcast_routers(replica, 5, true, &ports));
	assert_int_equal(port_set_next(&ports, 0), 6);
	age(MCAST_ROUTER_S);
	assert_false(mcast_routers(replica, 5, true, &ports));
	assert_int_equal(mcast_counters(mcast)->routers, 0);
}

static void a_host_is_not_believed_to_be_a_router(void **state)
{
	port_set ports;

	(void)state;
	policy.is_host = true;
	assert_int_equal(igmp(3, IGMP_QUERY, 100, 0), MCAST_NOWHERE);
	assert_int_equal(mld(3, ICMPV6_MLD_QUERY, (struct vframe_ip){ 0, 0 }), MCAST_NOWHERE);
	assert_int_equal(news.count, 0);
	assert_false(mcast_routers(mcast, 5, false, &ports));
}

static void nonsense_is_counted_and_flooded(void **state)
{
	(void)state;
	(void)igmp(1, IGMP_V2_REPORT, 0, GROUP);
	rig.bytes[36]++; /* the checksum */
	assert_int_equal(snoop(1), MCAST_TO_ALL);
	(void)igmp(1, IGMP_V2_REPORT, 0, GROUP);
	rig.bytes[22] = 2; /* came from further away */
	assert_int_equal(snoop(1), MCAST_TO_ALL);
	(void)mld(1, ICMPV6_MLD_REPORT, GROUP6);
	rig.bytes[22] = 0x20; /* from no link-local address */
	assert_int_equal(snoop(1), MCAST_TO_ALL);
	assert_int_equal(mcast_counters(mcast)->bad, 3);
}

static void a_port_over_its_limit_harms_only_itself(void **state)
{
	(void)state;
	begin();
	policy.limit = 10;
	for (uint32_t i = 0; i < 100; i++) {
		(void)igmp(1, IGMP_V2_REPORT, 0, 0xe2000000 + i);
	}
	assert_int_equal(mcast_counters(mcast)->members, 10);
	assert_int_equal(mcast_counters(mcast)->groups, 10);
	assert_int_equal(mcast_counters(mcast)->refused, 90);
	(void)igmp(2, IGMP_V2_REPORT, 0, GROUP);
	goes_to(2, 9);
}

/* Every port in as many groups as there are places, and some: what has no place is flooded. */
static void a_full_table_floods(void **state)
{
	(void)state;
	begin();
	(void)igmp(2, IGMP_V2_REPORT, 0, GROUP);
	for (uint16_t port = 10; port < 60; port++) {
		for (uint32_t i = 0; i < MCAST_PORT_LIMIT; i++) {
			(void)igmp(port, IGMP_V2_REPORT, 0, 0xe2000000 + i);
		}
	}
	assert_int_equal(mcast_counters(mcast)->members, MCAST_MEMBERS_MAX);
	goes_to(2, 9);
	(void)igmp(1, IGMP_V2_REPORT, 0, GROUP);
	rig_ethernet(&rig, GROUP_MAC, A, ETHER_TYPE_IPV4);
	rig_ipv4(&rig, IP_PROTOCOL_UDP, HOST, GROUP, 8);
	rig_udp(&rig, 1, 2, 0);
	rig_parse(&rig)->fid = 5;
	{
		port_set ports;

		assert_false(mcast_ports(mcast, &rig.frame, &ports));
	}
	for (uint16_t port = 0; port < 60; port++) {
		mcast_flush_port(mcast, port);
	}
	assert_int_equal(mcast_counters(mcast)->members, 0);
	age(MCAST_MEMBER_S);
	assert_int_equal(mcast_counters(mcast)->groups, 0);
}

static void load_and_save_again_give_the_same_bytes(void **state)
{
	const uint8_t *bytes, *again;
	size_t length, again_length;
	struct save save, second;
	struct load load;
	struct mcast_entry entry;
	unsigned int entries = 0;

	(void)state;
	begin();
	(void)mld(8, ICMPV6_MLD_QUERY, (struct vframe_ip){ 0, 0 });
	for (uint16_t i = 0; i < 50; i++) {
		(void)igmp(i % 7, IGMP_V2_REPORT, 0, 0xe2000000U + i % 20U);
		age(1);
	}
	(void)igmp(1, IGMP_LEAVE, 0, 0xe2000001U);
	for (uint32_t cursor = 0; mcast_next(mcast, &cursor, now, &entry);) {
		entries++;
		assert_int_equal(entry.vlan, 5);
	}
	assert_int_equal(entries, 22);
	save_init(&save);
	mcast_save(mcast, now, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	tear_down(NULL);
	assert_int_equal(set_up(NULL), 0);
	load_init(&load, bytes, length);
	mcast_load(mcast, &load, NULL, NULL, 7);
	assert_int_equal(load_result(&load), 0);
	assert_true(mcast_has_other(mcast, 5, false));
	save_init(&second);
	mcast_save(mcast, 7, &second);
	assert_int_equal(save_finish(&second, &again, &again_length), 0);
	assert_int_equal(length, again_length);
	assert_memory_equal(bytes, again, length);
	for (size_t cut = 0; cut < length; cut += 5) {
		load_init(&load, bytes, cut);
		mcast_load(replica, &load, NULL, NULL, 7);
	}
	save_fini(&save);
	save_fini(&second);
}

static void we_ask(bool is_v6)
{
	const struct mcast_news ours = { .kind = MCAST_OURS, .vlan = 5, .is_v6 = is_v6 };

	(void)mcast_apply(mcast, &ours, now);
	(void)mcast_apply(replica, &ours, now);
}

static void expect_querier(bool is_v6, bool is_ours, bool has_other)
{
	assert_int_equal(mcast_is_ours(mcast, 5, is_v6), is_ours);
	assert_int_equal(mcast_is_ours(replica, 5, is_v6), is_ours);
	assert_int_equal(mcast_has_other(mcast, 5, is_v6), has_other);
	assert_int_equal(mcast_has_other(replica, 5, is_v6), has_other);
}

static void groups_are_pruned_where_the_switch_itself_asks(void **state)
{
	(void)state;
	expect_querier(false, false, false);
	we_ask(false);
	expect_querier(false, true, false);
	expect_querier(true, false, false);
	assert_false(mcast_is_ours(mcast, 6, false));
	assert_int_equal(igmp(1, IGMP_V2_REPORT, 0, GROUP), MCAST_TO_ROUTERS);
	age(MCAST_GRACE_S);
	goes_to(1, 1); /* nobody is taken for a router by that */
	age(125 - MCAST_GRACE_S);
	we_ask(false);
	(void)igmp(1, IGMP_V2_REPORT, 0, GROUP);
	age(200);
	goes_to(1, 1);
	age(MCAST_ROUTER_S - 200);
	expect_querier(false, false, false);
	goes_to(-1, -1);
}

static void any_ipv4_querier_with_an_address_is_better(void **state)
{
	uint8_t query[8] = { IGMP_QUERY, 100 };

	(void)state;
	we_ask(false);
	/* another snooping switch's */
	assert_int_equal(igmp_from(9, 0, query, 8), MCAST_TO_ALL);
	expect_querier(false, true, false);
	/* a host's is not believed */
	policy.is_host = true;
	assert_int_equal(igmp_from(1, HOST, query, 8), MCAST_NOWHERE);
	expect_querier(false, true, false);
	policy.is_host = false;
	assert_int_equal(igmp_from(9, 0xdfffffff, query, 8), MCAST_TO_ALL);
	expect_querier(false, false, true);
	age(MCAST_OTHER_S - 1);
	expect_querier(false, false, true);
	assert_int_equal(igmp_from(9, HOST, query, 8), MCAST_TO_ALL);
	age(MCAST_OTHER_S - 1);
	expect_querier(false, false, true);
	age(1);
	expect_querier(false, false, false);
}

static void the_lower_link_local_address_is_better(void **state)
{
	struct vframe_ip own = LINK;

	(void)state;
	own.lo--;
	mcast_set_address(mcast, &own);
	we_ask(true);
	assert_int_equal(mld(9, ICMPV6_MLD_QUERY, (struct vframe_ip){ 0, 0 }), MCAST_TO_ALL);
	expect_querier(true, true, false);
	own.lo += 2;
	mcast_set_address(mcast, &own);
	assert_int_equal(mld(9, ICMPV6_MLD_QUERY, (struct vframe_ip){ 0, 0 }), MCAST_TO_ALL);
	expect_querier(true, false, true);
	age(MCAST_OTHER_S);
	expect_querier(true, false, false);
}

static void what_is_left_is_told_once_to_who_asks(void **state)
{
	uint8_t message[8 + 12 * 8] = { IGMP_V3_REPORT, [7] = 12 };

	(void)state;
	(void)igmp(1, IGMP_LEAVE, 0, GROUP);
	assert_int_equal(news.left_count, 0); /* it was not in it */
	(void)igmp(1, IGMP_V2_REPORT, 0, GROUP);
	(void)igmp(1, IGMP_LEAVE, 0, GROUP);
	assert_int_equal(news.left_count, 1);
	assert_true(news.left[0].group.hi == 0 &&
		    news.left[0].group.lo == (0xffff00000000 | GROUP));
	(void)igmp(1, IGMP_LEAVE, 0, GROUP);
	assert_int_equal(news.left_count, 0); /* it is leaving already */
	(void)mld(1, ICMPV6_MLD_REPORT, GROUP6);
	(void)mld(1, ICMPV6_MLD_DONE, GROUP6);
	assert_int_equal(news.left_count, 1);
	assert_true(news.left[0].group.hi == GROUP6.hi && news.left[0].group.lo == GROUP6.lo);
	/* more than can be told one by one are counted */
	for (unsigned int i = 0; i < 12; i++) {
		(void)igmp(2, IGMP_V2_REPORT, 0, GROUP + i);
		message[8 + i * 8] = 3;
		bytes_put_be32(message + 12 + i * 8, GROUP + i);
	}
	(void)igmp_from(2, HOST, message, sizeof(message));
	assert_int_equal(news.left_count, 12);
	/* at once is at once */
	policy.fast_leave = true;
	(void)igmp(3, IGMP_V2_REPORT, 0, GROUP);
	(void)igmp(3, IGMP_LEAVE, 0, GROUP);
	assert_int_equal(news.left_count, 0);
}

static void creation_fails_cleanly(void **state)
{
	struct mcast *none = NULL;

	(void)state;
	fault_arm(1);
	assert_int_equal(mcast_create(1, &none), -ENOMEM);
	fault_arm(0);
	assert_null(none);
	mcast_destroy(NULL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_group_is_flooded_until_a_querier_was_answered),
		T(a_group_that_nobody_asked_for_is_flooded),
		T(a_member_leaves_after_its_last_member_time),
		T(fast_leave_is_at_once),
		T(a_membership_ends_without_reports_and_is_told_while_it_lasts),
		T(version_3_records_join_and_leave),
		T(mld_is_the_same),
		T(link_local_groups_are_never_pruned),
		T(routers_are_known_by_queries_and_pim),
		T(a_host_is_not_believed_to_be_a_router),
		T(nonsense_is_counted_and_flooded),
		T(a_port_over_its_limit_harms_only_itself),
		T(a_full_table_floods),
		T(load_and_save_again_give_the_same_bytes),
		T(groups_are_pruned_where_the_switch_itself_asks),
		T(any_ipv4_querier_with_an_address_is_better),
		T(the_lower_link_local_address_is_better),
		T(what_is_left_is_told_once_to_who_asks),
		T(creation_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

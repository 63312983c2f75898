/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/num.h"
#include "rig.h"
#include "vswitch/guard.h"

static const uint8_t A[6] = { 2, 0, 0, 0, 0, 0xa }, B[6] = { 2, 0, 0, 0, 0, 0xb };
static const uint8_t ALL[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
static const struct vframe_ip A6 = { 0xfd00000000000000ULL, 0xa },
			      B6 = { 0xfd00000000000000ULL, 0xb }, NOBODY6 = { 0, 0 },
			      A_LINK = { 0xfe80000000000000ULL, 0x000000fffe00000aULL },
			      B_LINK = { 0xfe80000000000000ULL, 0x000000fffe00000bULL };
#define A4     0x0a00000aU
#define B4     0x0a00000bU
#define MAPPED 0xffff00000000ULL

static struct rig rig;
static struct guard_policy policy;

static int reset(void **state)
{
	(void)state;
	policy = (struct guard_policy){ .mac = true, .mac_count = 1, .binding_count = 2 };
	memcpy(policy.macs[0], A, 6);
	policy.bindings[0] =
		(struct guard_binding){ .ip = { 0, MAPPED | A4 }, .until_s = GUARD_FOREVER };
	policy.bindings[1] = (struct guard_binding){ .ip = A6, .until_s = 1000 };
	return 0;
}

static enum drop_cause checked(void)
{
	return guard_check(&policy, rig_parse(&rig), 10);
}

static void a_foreign_source_address_is_refused(void **state)
{
	(void)state;
	rig_ethernet(&rig, B, A, 0x88b5);
	assert_int_equal(checked(), DROP_NONE);
	rig_ethernet(&rig, A, B, 0x88b5);
	assert_int_equal(checked(), DROP_MAC_SPOOF);
	policy.mac = false;
	assert_int_equal(checked(), DROP_NONE);
}

static enum drop_cause udp(int version, uint16_t from, uint16_t to)
{
	rig_ethernet(&rig, B, A, version == 4 ? ETHER_TYPE_IPV4 : ETHER_TYPE_IPV6);
	if (version == 4) {
		rig_ipv4(&rig, IP_PROTOCOL_UDP, A4, B4, 8);
	} else {
		rig_ipv6(&rig, IP_PROTOCOL_UDP, A6, B6, 8);
	}
	rig_udp(&rig, from, to, 0);
	return checked();
}

static void a_dhcp_servers_messages_are_refused_and_a_clients_are_not(void **state)
{
	(void)state;
	assert_int_equal(udp(4, 67, 68), DROP_NONE);
	policy.dhcp = true;
	assert_int_equal(udp(4, 67, 68), DROP_DHCP);
	assert_int_equal(udp(4, 9999, 68), DROP_DHCP);
	assert_int_equal(udp(4, 67, 67), DROP_DHCP);
	assert_int_equal(udp(4, 68, 67), DROP_NONE);
	assert_int_equal(udp(6, 547, 546), DROP_DHCP);
	assert_int_equal(udp(6, 9999, 546), DROP_DHCP);
	assert_int_equal(udp(6, 546, 547), DROP_NONE);
	assert_int_equal(udp(4, 546, 546), DROP_NONE);
}

/* Fills rig with an ND message; options follow with rig_put(). */
static uint8_t *nd(uint8_t type, struct vframe_ip from, struct vframe_ip to, uint32_t bytes,
		   uint32_t options)
{
	uint8_t *icmp;

	rig_ethernet(&rig, B, A, ETHER_TYPE_IPV6);
	rig_ipv6(&rig, IP_PROTOCOL_ICMPV6, from, to, bytes + options);
	icmp = rig_put(&rig, NULL, bytes);
	icmp[0] = type;
	return icmp;
}

static uint8_t *nd_for(uint8_t type, struct vframe_ip from, struct vframe_ip target,
		       uint32_t options)
{
	uint8_t *icmp = nd(type, from, B6, 24, options);

	bytes_put_be64(icmp + 8, target.hi);
	bytes_put_be64(icmp + 16, target.lo);
	return icmp;
}

static void nd_option(uint8_t kind, const uint8_t *mac)
{
	uint8_t *option = rig_put(&rig, NULL, 8);

	option[0] = kind;
	option[1] = 1;
	memcpy(option + 2, mac, 6);
}

static void routers_messages_are_refused(void **state)
{
	(void)state;
	policy.router = true;
	nd(ICMPV6_RA, A_LINK, B6, 16, 0);
	assert_int_equal(checked(), DROP_ROUTER);
	nd(ICMPV6_REDIRECT, A_LINK, B6, 40, 0);
	assert_int_equal(checked(), DROP_ROUTER);
	nd(ICMPV6_RS, A_LINK, B6, 8, 0);
	assert_int_equal(checked(), DROP_NONE);
	rig_ethernet(&rig, B, A, ETHER_TYPE_IPV4);
	rig_ipv4(&rig, IP_PROTOCOL_ICMP, A4, B4, 8);
	rig_put(&rig, NULL, 8)[0] = 5;
	assert_int_equal(checked(), DROP_ROUTER);
	rig.bytes[34] = 8;
	assert_int_equal(checked(), DROP_NONE);
}

/* RFC 7113: an advertisement behind extension headers, in fragments, behind a chain without end. */
static void what_hides_from_a_guard_is_refused(void **state)
{
	uint8_t *fragment;

	(void)state;
	policy.router = true;
	rig_ethernet(&rig, B, A, ETHER_TYPE_IPV6);
	rig_ipv6(&rig, IPV6_EXT_DESTINATION, A_LINK, B6, 24);
	rig_put(&rig, NULL, 8)[0] = IP_PROTOCOL_ICMPV6;
	rig_put(&rig, NULL, 16)[0] = ICMPV6_RA;
	assert_int_equal(checked(), DROP_ROUTER);
	/* The chain goes on behind the head. */
	rig_ethernet(&rig, B, A, ETHER_TYPE_IPV6);
	rig_ipv6(&rig, IPV6_EXT_DESTINATION, A_LINK, B6, 264 + 16);
	rig_put(&rig, NULL, 264)[0] = IP_PROTOCOL_ICMPV6;
	rig.bytes[55] = 32;
	rig_put(&rig, NULL, 16)[0] = ICMPV6_RA;
	assert_int_equal(checked(), DROP_HIDDEN);
	/* A first fragment without the upper header, and one with a solicitation (RFC 6980). */
	rig_ethernet(&rig, B, A, ETHER_TYPE_IPV6);
	rig_ipv6(&rig, IPV6_EXT_FRAGMENT, A_LINK, B6, 16);
	fragment = rig_put(&rig, NULL, 8);
	fragment[0] = IPV6_EXT_DESTINATION;
	fragment[3] = 1;
	rig_put(&rig, NULL, 8);
	rig.bytes[62] = IP_PROTOCOL_ICMPV6;
	assert_int_equal(checked(), DROP_HIDDEN);
	fragment[0] = IP_PROTOCOL_ICMPV6;
	rig.bytes[62] = ICMPV6_NS;
	assert_int_equal(checked(), DROP_HIDDEN);
	fragment[3] = 8; /* the rest of one whose first has passed */
	assert_int_equal(checked(), DROP_NONE);
	rig_ethernet(&rig, B, A, ETHER_TYPE_IPV4);
	rig_ipv4(&rig, IP_PROTOCOL_UDP, A4, B4, 4);
	rig_put(&rig, NULL, 4);
	assert_int_equal(checked(), DROP_HIDDEN);
	policy.router = false;
	assert_int_equal(checked(), DROP_NONE);
}

/* CVE-2021-27853 and its like. */
static void priority_tags_and_snap_hide_nothing(void **state)
{
	static const uint8_t snap[] = { 0xaa, 0xaa, 3, 0, 0, 0, 0x86, 0xdd };

	(void)state;
	policy.arp = true;
	rig_ethernet(&rig, B, A, ETHER_TYPE_VLAN);
	rig_tag(&rig, 0, ETHER_TYPE_VLAN);
	rig_tag(&rig, 0, ETHER_TYPE_IPV6);
	assert_int_equal(checked(), DROP_HIDDEN);
	rig_ethernet(&rig, B, A, ETHER_TYPE_QINQ);
	rig_tag(&rig, 0, ETHER_TYPE_IPV6);
	assert_int_equal(checked(), DROP_HIDDEN);
	rig_ethernet(&rig, B, A, ETHER_TYPE_QINQ);
	rig_tag(&rig, 5, ETHER_TYPE_IPV6);
	assert_int_equal(checked(), DROP_NONE); /* opaque */
	rig_ethernet(&rig, B, A, 100);
	rig_put(&rig, snap, sizeof(snap));
	assert_int_equal(checked(), DROP_HIDDEN);
	rig.bytes[21] = 0;
	assert_int_equal(checked(), DROP_NONE);
}

static enum drop_cause arp(uint16_t operation, const uint8_t *mac, uint32_t from, uint32_t to)
{
	static const uint8_t head[] = { 0, 1, 8, 0, 6, 4 };

	rig_ethernet(&rig, ALL, A, ETHER_TYPE_ARP);
	rig_put(&rig, head, 6);
	bytes_put_be16(rig_put(&rig, NULL, 2), operation);
	rig_put(&rig, mac, 6);
	bytes_put_be32(rig_put(&rig, NULL, 4), from);
	rig_put(&rig, NULL, 6);
	bytes_put_be32(rig_put(&rig, NULL, 4), to);
	return checked();
}

static void arp_is_for_bindings(void **state)
{
	(void)state;
	policy.arp = true;
	assert_int_equal(arp(1, A, A4, B4), DROP_NONE);
	assert_int_equal(arp(2, A, A4, B4), DROP_NONE);
	assert_int_equal(arp(1, A, A4, A4), DROP_NONE); /* gratuitous */
	assert_int_equal(arp(1, A, B4, B4), DROP_ARP);
	assert_int_equal(arp(2, A, B4, A4), DROP_ARP);
	assert_int_equal(arp(1, B, A4, B4), DROP_ARP);
	assert_int_equal(arp(1, A, 0, B4), DROP_NONE); /* a probe */
	assert_int_equal(arp(2, A, 0, B4), DROP_ARP);
	rig.length -= 4;
	assert_int_equal(checked(), DROP_ARP);
	policy.bindings[0].until_s = 10; /* over */
	assert_int_equal(arp(1, A, A4, B4), DROP_ARP);
}

static void nd_is_for_bindings(void **state)
{
	(void)state;
	policy.arp = true;
	nd_for(ICMPV6_NS, A6, B6, 8);
	nd_option(1, A);
	assert_int_equal(checked(), DROP_NONE);
	nd_for(ICMPV6_NS, A6, B6, 8);
	nd_option(1, B);
	assert_int_equal(checked(), DROP_ARP);
	nd_for(ICMPV6_NS, B6, A6, 0);
	assert_int_equal(checked(), DROP_ARP);
	/* Duplicate address detection: of its own, without an option. */
	nd_for(ICMPV6_NS, NOBODY6, A6, 0);
	assert_int_equal(checked(), DROP_NONE);
	nd_for(ICMPV6_NS, NOBODY6, A_LINK, 0);
	assert_int_equal(checked(), DROP_NONE);
	nd_for(ICMPV6_NS, NOBODY6, B6, 0);
	assert_int_equal(checked(), DROP_ARP);
	nd_for(ICMPV6_NS, NOBODY6, A6, 8);
	nd_option(1, A);
	assert_int_equal(checked(), DROP_ARP);
	nd_for(ICMPV6_NA, A_LINK, A6, 8);
	nd_option(2, A);
	assert_int_equal(checked(), DROP_NONE);
	nd_for(ICMPV6_NA, A_LINK, B6, 8);
	nd_option(2, A);
	assert_int_equal(checked(), DROP_ARP);
	nd_for(ICMPV6_NA, A_LINK, A6, 8);
	nd_option(2, B);
	assert_int_equal(checked(), DROP_ARP);
	nd_for(ICMPV6_NA, B_LINK, A6, 0);
	assert_int_equal(checked(), DROP_ARP);
	nd_for(ICMPV6_NA, NOBODY6, A6, 0);
	assert_int_equal(checked(), DROP_ARP);
	nd(ICMPV6_RS, NOBODY6, B6, 8, 0);
	assert_int_equal(checked(), DROP_NONE);
	policy.bindings[1].until_s = 10;
	nd_for(ICMPV6_NA, A_LINK, A6, 0);
	assert_int_equal(checked(), DROP_ARP);
}

static void bad_nd_options_are_refused(void **state)
{
	(void)state;
	policy.arp = true;
	nd_for(ICMPV6_NA, A6, A6, 8);
	rig_put(&rig, NULL, 8)[0] = 14; /* length 0 */
	assert_int_equal(checked(), DROP_ARP);
	nd_for(ICMPV6_NA, A6, A6, 8);
	rig_put(&rig, NULL, 8)[1] = 2; /* behind the end */
	assert_int_equal(checked(), DROP_ARP);
	nd_for(ICMPV6_NA, A6, A6, 200 + 8);
	rig_put(&rig, NULL, 200)[1] = 25; /* hides the next one behind the head */
	nd_option(2, B);
	assert_int_equal(checked(), DROP_HIDDEN);
	nd_for(ICMPV6_NA, A6, A6, 0);
	bytes_put_be16(rig.bytes + 18, 20); /* shorter than an advertisement */
	assert_int_equal(checked(), DROP_ARP);
}

static uint32_t dhcp_ack(uint8_t type, uint32_t lease_s)
{
	uint8_t *dhcp;

	rig_ethernet(&rig, A, B, ETHER_TYPE_IPV4);
	rig_ipv4(&rig, IP_PROTOCOL_UDP, B4, A4, 8 + 252);
	dhcp = rig_udp(&rig, 67, 68, 252) + 8;
	dhcp[0] = 2;
	dhcp[1] = 1;
	dhcp[2] = 6;
	bytes_put_be32(dhcp + 16, A4);
	memcpy(dhcp + 28, A, 6);
	bytes_put_be32(dhcp + 236, 0x63825363);
	dhcp[240] = 53;
	dhcp[241] = 1;
	dhcp[242] = type;
	dhcp[243] = 51;
	dhcp[244] = 4;
	bytes_put_be32(dhcp + 245, lease_s);
	dhcp[249] = 255;
	rig_parse(&rig);
	return (uint32_t)(dhcp - rig.bytes);
}

static void an_ack_makes_a_binding(void **state)
{
	struct guard_binding found[GUARD_SNOOP_MAX];
	uint8_t mac[6];
	uint32_t at = dhcp_ack(5, 600);

	(void)state;
	assert_true(guard_is_snoopable(&rig.frame));
	assert_int_equal(guard_snoop(&rig.frame, rig.bytes + at, 252, 10, found, mac), 1);
	assert_true(found[0].ip.hi == 0 && found[0].ip.lo == (MAPPED | A4));
	assert_int_equal(found[0].until_s, 610);
	assert_false(found[0].is_static);
	assert_memory_equal(mac, A, 6);
	for (uint32_t cut = 0; cut < 243; cut++) {
		assert_int_equal(guard_snoop(&rig.frame, rig.bytes + at, cut, 10, found, mac), 0);
	}
	at = dhcp_ack(5, UINT32_MAX);
	assert_int_equal(guard_snoop(&rig.frame, rig.bytes + at, 252, 10, found, mac), 1);
	assert_int_equal(found[0].until_s, GUARD_FOREVER);
	at = dhcp_ack(2, 600); /* an offer */
	assert_int_equal(guard_snoop(&rig.frame, rig.bytes + at, 252, 10, found, mac), 0);
}

static void a_dhcpv6_reply_makes_bindings(void **state)
{
	static const uint8_t reply[] = {
		7,   1, 2, 3,                                               /* reply */
		0,   1, 0, 2,  9,    9,                                     /* some option */
		0,   3, 0, 68, 0,    0, 0, 1, 0, 0,   0, 0, 0,  0,    0, 0, /* IA_NA */
		0,   5, 0, 24, 0xfd, 0, 0, 0, 0, 0,   0, 0, 0,  0,    0, 0, 0, 0, 0,
		0xa, 0, 0, 0,  1,    0, 0, 2, 0, 0,   5, 0, 24, 0xfd, 0, 0, 0, 0, 0,
		0,   0, 0, 0,  0,    0, 0, 0, 0, 0xc, 0, 0, 0,  1,    0, 0, 0, 0,
	};
	struct guard_binding found[GUARD_SNOOP_MAX];
	uint8_t mac[6];

	(void)state;
	rig_ethernet(&rig, A, B, ETHER_TYPE_IPV6);
	rig_ipv6(&rig, IP_PROTOCOL_UDP, B6, A6, 8);
	rig_udp(&rig, 547, 546, 0);
	rig_parse(&rig);
	assert_int_equal(guard_snoop(&rig.frame, reply, sizeof(reply), 10, found, mac), 2);
	assert_true(found[0].ip.hi == A6.hi && found[0].ip.lo == 0xa);
	assert_int_equal(found[0].until_s, 10 + 512);
	assert_int_equal(found[1].until_s, 10);
	assert_memory_equal(mac, A, 6);
	for (uint32_t cut = 0; cut < sizeof(reply); cut++) {
		assert_true(guard_snoop(&rig.frame, reply, cut, 10, found, mac) <= 1);
	}
}

static void bindings_are_renewed_replaced_and_given_back(void **state)
{
	struct guard_binding binding = { .ip = A6, .until_s = 2000 };

	(void)state;
	assert_false(guard_bind(&policy, &binding, 10));
	assert_int_equal(policy.bindings[1].until_s, 2000);
	binding.until_s = 10;
	assert_true(guard_bind(&policy, &binding, 10));
	assert_int_equal(policy.binding_count, 1);
	assert_false(guard_bind(&policy, &binding, 10));
	binding.until_s = 20;
	for (uint32_t i = 1; i < GUARD_BINDINGS_MAX; i++) {
		binding.ip.lo = i;
		assert_true(guard_bind(&policy, &binding, 10));
	}
	binding.ip.lo = 100;
	assert_false(guard_bind(&policy, &binding, 10));
	binding.until_s = 100;
	assert_true(guard_bind(&policy, &binding, 20)); /* in the place of one that is over */
	assert_int_equal(policy.binding_count, GUARD_BINDINGS_MAX);
	policy.bindings[0].is_static = true;
	binding = policy.bindings[0];
	binding.until_s = 10;
	assert_false(guard_bind(&policy, &binding, 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_foreign_source_address_is_refused, reset),
		cmocka_unit_test_setup(a_dhcp_servers_messages_are_refused_and_a_clients_are_not,
				       reset),
		cmocka_unit_test_setup(routers_messages_are_refused, reset),
		cmocka_unit_test_setup(what_hides_from_a_guard_is_refused, reset),
		cmocka_unit_test_setup(priority_tags_and_snap_hide_nothing, reset),
		cmocka_unit_test_setup(arp_is_for_bindings, reset),
		cmocka_unit_test_setup(nd_is_for_bindings, reset),
		cmocka_unit_test_setup(bad_nd_options_are_refused, reset),
		cmocka_unit_test_setup(an_ack_makes_a_binding, reset),
		cmocka_unit_test_setup(a_dhcpv6_reply_makes_bindings, reset),
		cmocka_unit_test_setup(bindings_are_renewed_replaced_and_given_back, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

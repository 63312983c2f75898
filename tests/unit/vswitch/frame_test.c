/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/num.h"
#include "rig.h"

static const uint8_t A[6] = { 2, 0, 0, 0, 0, 0xa }, B[6] = { 2, 0, 0, 0, 0, 0xb };
static const struct vframe_ip A6 = { 0xfd00000000000000ULL, 0xa },
			      B6 = { 0xfd00000000000000ULL, 0xb };
static struct rig rig;

static void make_tcp4(struct rig *r, bool is_back)
{
	uint8_t *tcp;

	rig_ethernet(r, B, A, ETHER_TYPE_IPV4);
	rig_ipv4(r, IP_PROTOCOL_TCP, is_back ? 0x0a000002 : 0x0a000001,
		 is_back ? 0x0a000001 : 0x0a000002, 20);
	tcp = rig_put(r, NULL, 20);
	bytes_put_be16(tcp, is_back ? 80 : 4321);
	bytes_put_be16(tcp + 2, is_back ? 4321 : 80);
	tcp[13] = VKEY_TCP_SYN;
}

static void a_tcp_frame_is_read_whole(void **state)
{
	const struct vframe_key *key = &rig.frame.key;

	(void)state;
	make_tcp4(&rig, false);
	rig_parse(&rig);
	assert_memory_equal(key->to, B, 6);
	assert_memory_equal(key->from, A, 6);
	assert_int_equal(key->ethertype, ETHER_TYPE_IPV4);
	assert_int_equal(key->ip_version, 4);
	assert_int_equal(key->protocol, IP_PROTOCOL_TCP);
	assert_int_equal(key->flags, VKEY_L4);
	assert_int_equal(key->tcp_flags, VKEY_TCP_SYN);
	assert_int_equal(key->port_from, 4321);
	assert_int_equal(key->port_to, 80);
	assert_int_equal(key->l3_offset, 14);
	assert_int_equal(key->l4_offset, 34);
	assert_true(key->ip_from.hi == 0 && key->ip_from.lo == 0xffff0a000001ULL);
	assert_int_equal(vframe_ip_end(&rig.frame), 54);
}

/* The quick way and the careful one must agree: the same frame behind a tag and without one. */
static void a_tag_moves_offsets_and_nothing_else(void **state)
{
	struct vframe_key plain;
	uint32_t hash;

	(void)state;
	make_tcp4(&rig, false);
	rig_parse(&rig);
	plain = rig.frame.key;
	hash = rig.frame.flow_hash;
	memmove(rig.bytes + 16, rig.bytes + 12, rig.length - 12);
	bytes_put_be16(rig.bytes + 12, ETHER_TYPE_VLAN);
	bytes_put_be16(rig.bytes + 14, 0x6005);
	rig.length += 4;
	rig_parse(&rig);
	assert_int_equal(rig.frame.key.l4_offset, 38);
	assert_int_equal(rig.frame.key.flags, VKEY_L4 | VKEY_TAG);
	assert_int_equal(rig.frame.flow_hash, hash);
	rig.frame.net.l4_offset = 38;
	vframe_untag(&rig.frame);
	assert_memory_equal(&rig.frame.key, &plain, sizeof(plain));
	assert_int_equal(rig.frame.net.vlan_tci, 0x6005);
	assert_int_equal(rig.frame.net.flags, NET_FRAME_HEAD | NET_FRAME_VLAN);
	assert_int_equal(rig.frame.net.bytes, 54);
	assert_int_equal(rig.frame.net.l4_offset, 34);
	assert_int_equal(rig.frame.net.iov[0].iov_len, 54);
	vframe_parse(&rig.frame, RIG_SECRET);
	assert_memory_equal(&rig.frame.key, &plain, sizeof(plain));
}

static void both_directions_hash_alike_and_others_do_not(void **state)
{
	uint32_t hash;

	(void)state;
	make_tcp4(&rig, false);
	hash = rig_parse(&rig)->flow_hash;
	make_tcp4(&rig, true);
	assert_int_equal(rig_parse(&rig)->flow_hash, hash);
	rig.bytes[35]++;
	assert_int_not_equal(rig_parse(&rig)->flow_hash, hash);
}

static void fragments_of_a_datagram_hash_alike_and_only_the_first_has_ports(void **state)
{
	uint32_t hash;

	(void)state;
	make_tcp4(&rig, false);
	bytes_put_be16(rig.bytes + 20, 0x2000);
	hash = rig_parse(&rig)->flow_hash;
	assert_int_equal(rig.frame.key.flags, VKEY_FRAGMENT | VKEY_FIRST | VKEY_L4);
	bytes_put_be16(rig.bytes + 20, 0x0003);
	assert_int_equal(rig_parse(&rig)->flow_hash, hash);
	assert_int_equal(rig.frame.key.flags, VKEY_FRAGMENT);
	assert_int_equal(rig.frame.key.l4_offset, 0);
}

static void what_is_cut_off_is_not_claimed(void **state)
{
	(void)state;
	for (uint32_t length = 14; length < 54; length++) {
		make_tcp4(&rig, false);
		rig.length = length;
		rig_parse(&rig);
		assert_true(rig.frame.key.flags & VKEY_TRUNCATED);
		assert_false(rig.frame.key.flags & VKEY_L4);
		assert_int_equal(rig.frame.key.ip_version, length < 34 ? 0 : 4);
	}
	/* Or when the IP header says so. */
	make_tcp4(&rig, false);
	bytes_put_be16(rig.bytes + 16, 39);
	rig_parse(&rig);
	assert_int_equal(rig.frame.key.flags, VKEY_TRUNCATED);
	/* But a large send's length may be missing. */
	bytes_put_be16(rig.bytes + 16, 0);
	rig_parse_flags(&rig, NET_FRAME_LSO, 0);
	assert_int_equal(rig.frame.key.flags, VKEY_L4);
}

static void ipv4_options_and_ah_are_stepped_over(void **state)
{
	uint8_t *ip, *ah;

	(void)state;
	rig_ethernet(&rig, B, A, ETHER_TYPE_IPV4);
	ip = rig_ipv4(&rig, IPV6_EXT_AH, 1, 2, 4 + 24 + 8);
	ip[0] = 0x46;
	rig_put(&rig, NULL, 4);
	ah = rig_put(&rig, NULL, 24);
	ah[0] = IP_PROTOCOL_UDP;
	ah[1] = 4;
	rig_udp(&rig, 7, 9, 0);
	rig_parse(&rig);
	assert_int_equal(rig.frame.key.flags, VKEY_L4 | VKEY_OPTIONS);
	assert_int_equal(rig.frame.key.protocol, IP_PROTOCOL_UDP);
	assert_int_equal(rig.frame.key.port_to, 9);
	assert_int_equal(rig.frame.key.l4_offset, 14 + 24 + 24);
}

static void extension_headers_are_followed_and_bounded(void **state)
{
	(void)state;
	for (unsigned int count = 0; count <= VFRAME_EXTENSIONS_MAX + 1; count++) {
		rig_ethernet(&rig, B, A, ETHER_TYPE_IPV6);
		rig_ipv6(&rig, count ? IPV6_EXT_DESTINATION : IP_PROTOCOL_UDP, A6, B6,
			 count * 8 + 8);
		for (unsigned int i = 0; i < count; i++) {
			rig_put(&rig, NULL, 8)[0] =
				i + 1 < count ? IPV6_EXT_DESTINATION : IP_PROTOCOL_UDP;
		}
		rig_udp(&rig, 7, 9, 0);
		rig_parse(&rig);
		assert_int_equal(rig.frame.key.ip_version, 6);
		assert_int_equal(!!(rig.frame.key.flags & VKEY_L4), count <= VFRAME_EXTENSIONS_MAX);
		assert_int_equal(!!(rig.frame.key.flags & VKEY_TRUNCATED),
				 count > VFRAME_EXTENSIONS_MAX);
		assert_int_equal(!!(rig.frame.key.flags & VKEY_OPTIONS), count > 0);
	}
}

static void ipv6_fragments_first_other_and_atomic(void **state)
{
	static const struct {
		uint16_t field;
		uint8_t flags;
	} cases[] = {
		{ 0x0001, VKEY_FRAGMENT | VKEY_FIRST | VKEY_L4 | VKEY_OPTIONS },
		{ 0x0008, VKEY_FRAGMENT | VKEY_OPTIONS },
		{ 0x0009, VKEY_FRAGMENT | VKEY_OPTIONS },
		{ 0x0000, VKEY_L4 | VKEY_OPTIONS },
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t *fragment;

		rig_ethernet(&rig, B, A, ETHER_TYPE_IPV6);
		rig_ipv6(&rig, IPV6_EXT_FRAGMENT, A6, B6, 16);
		fragment = rig_put(&rig, NULL, 8);
		fragment[0] = IP_PROTOCOL_UDP;
		bytes_put_be16(fragment + 2, cases[i].field);
		rig_udp(&rig, 7, 9, 0);
		rig_parse(&rig);
		assert_int_equal(rig.frame.key.flags, cases[i].flags);
		assert_int_equal(rig.frame.key.protocol, IP_PROTOCOL_UDP);
	}
}

static void arp_is_read(void **state)
{
	static const uint8_t head[] = { 0, 1, 8, 0, 6, 4, 0, 1 };

	(void)state;
	rig_ethernet(&rig, B, A, ETHER_TYPE_ARP);
	rig_put(&rig, head, 8);
	rig_put(&rig, A, 6);
	bytes_put_be32(rig_put(&rig, NULL, 4), 0x0a000001);
	rig_put(&rig, NULL, 6);
	bytes_put_be32(rig_put(&rig, NULL, 4), 0x0a000002);
	rig_parse(&rig);
	assert_int_equal(rig.frame.key.flags, VKEY_ARP);
	assert_int_equal(rig.frame.key.arp_operation, ARP_OPERATION_REQUEST);
	assert_memory_equal(rig.frame.key.arp_mac, A, 6);
	assert_int_equal(rig.frame.key.ip_to.lo, 0xffff0a000002ULL);
	rig.length--;
	rig_parse(&rig);
	assert_int_equal(rig.frame.key.flags, VKEY_TRUNCATED);
}

static void inner_tags_are_opaque(void **state)
{
	(void)state;
	rig_ethernet(&rig, B, A, ETHER_TYPE_VLAN);
	rig_tag(&rig, 5, ETHER_TYPE_VLAN);
	rig_tag(&rig, 6, ETHER_TYPE_IPV4);
	rig_ipv4(&rig, IP_PROTOCOL_UDP, 1, 2, 8);
	rig_udp(&rig, 1, 2, 0);
	rig_parse(&rig);
	assert_int_equal(rig.frame.key.ethertype, ETHER_TYPE_VLAN);
	assert_int_equal(rig.frame.key.ip_version, 0);
	/* A tag beside the frame is the first; that in it is the second. */
	rig_parse_flags(&rig, NET_FRAME_VLAN, 7);
	assert_int_equal(rig.frame.key.ethertype, ETHER_TYPE_VLAN);
	assert_int_equal(rig.frame.key.flags, 0);
	vframe_untag(&rig.frame);
	assert_int_equal(rig.frame.net.vlan_tci, 7);
	rig_type(&rig, 0);
	bytes_put_be16(rig.bytes + 12, ETHER_TYPE_QINQ);
	rig_parse(&rig);
	assert_int_equal(rig.frame.key.ethertype, ETHER_TYPE_QINQ);
	assert_int_equal(rig.frame.key.ip_version, 0);
}

/* However a frame is cut into iovecs, it is the same behind vframe_pull(), and back again. */
static void pulling_is_the_same_however_the_frame_is_cut(void **state)
{
	static const uint32_t cuts[] = { 1, 13, 14, 15, 60, 127, 128, 129, 299 };
	uint8_t out[300];

	(void)state;
	rig.length = 300;
	for (unsigned int i = 0; i < 300; i++) {
		rig.bytes[i] = (uint8_t)(i * 7);
	}
	for (unsigned int a = 0; a < ARRAY_SIZE(cuts); a++) {
		for (unsigned int b = a; b < ARRAY_SIZE(cuts); b++) {
			struct iovec before[3];
			struct net_frame net = { .iov = &rig.iov[1], .iov_count = 3, .bytes = 300 };
			uint32_t sum = 0;

			rig.iov[1] = (struct iovec){ rig.bytes, cuts[a] };
			rig.iov[2] = (struct iovec){ rig.bytes + cuts[a], cuts[b] - cuts[a] };
			rig.iov[3] = (struct iovec){ rig.bytes + cuts[b], 300 - cuts[b] };
			memcpy(before, &rig.iov[1], sizeof(before));
			assert_int_equal(vframe_pull(&rig.frame, &net, VFRAME_HEAD_PLAIN), 0);
			assert_int_equal(rig.frame.head_bytes, VFRAME_HEAD_PLAIN);
			assert_memory_equal(rig.frame.head, rig.bytes, VFRAME_HEAD_PLAIN);
			assert_ptr_equal(rig.frame.net.iov[0].iov_base, rig.frame.head);
			assert_true(rig.frame.net.iov >= &rig.iov[0]);
			assert_true(rig.frame.net.iov + rig.frame.net.iov_count == &rig.iov[4]);
			for (int i = 0; i < rig.frame.net.iov_count; i++) {
				sum += (uint32_t)rig.frame.net.iov[i].iov_len;
			}
			assert_int_equal(sum, 300);
			assert_int_equal(vframe_copy(&rig.frame, 0, out, 300), 300);
			assert_memory_equal(out, rig.bytes, 300);
			assert_int_equal(vframe_copy(&rig.frame, 120, out, 20), 20);
			assert_memory_equal(out, rig.bytes + 120, 20);
			assert_int_equal(vframe_copy(&rig.frame, 290, out, 20), 10);
			assert_int_equal(vframe_copy(&rig.frame, 300, out, 20), 0);
			vframe_unpull(&rig.frame);
			assert_memory_equal(before, &rig.iov[1], sizeof(before));
		}
	}
}

static void short_frames_are_all_head(void **state)
{
	(void)state;
	for (uint32_t bytes = 0; bytes <= VFRAME_HEAD_MAX; bytes++) {
		struct net_frame net = { .iov = &rig.iov[1], .iov_count = 1, .bytes = bytes };

		memset(rig.bytes, (int)bytes, bytes);
		rig.iov[1] = (struct iovec){ rig.bytes, bytes };
		assert_int_equal(vframe_pull(&rig.frame, &net, VFRAME_HEAD_MAX),
				 bytes < 14 ? -EBADMSG : 0);
		if (bytes >= 14) {
			assert_int_equal(rig.frame.net.iov_count, 1);
			assert_int_equal(rig.frame.net.iov[0].iov_len, bytes);
			assert_memory_equal(rig.frame.head, rig.bytes, bytes);
		}
	}
}

static void a_frame_shorter_than_it_says_is_refused(void **state)
{
	struct net_frame net = { .iov = &rig.iov[1], .iov_count = 1, .bytes = 100 };

	(void)state;
	rig.iov[1] = (struct iovec){ rig.bytes, 60 };
	assert_int_equal(vframe_pull(&rig.frame, &net, VFRAME_HEAD_PLAIN), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tcp_frame_is_read_whole),
		cmocka_unit_test(a_tag_moves_offsets_and_nothing_else),
		cmocka_unit_test(both_directions_hash_alike_and_others_do_not),
		cmocka_unit_test(fragments_of_a_datagram_hash_alike_and_only_the_first_has_ports),
		cmocka_unit_test(what_is_cut_off_is_not_claimed),
		cmocka_unit_test(ipv4_options_and_ah_are_stepped_over),
		cmocka_unit_test(extension_headers_are_followed_and_bounded),
		cmocka_unit_test(ipv6_fragments_first_other_and_atomic),
		cmocka_unit_test(arp_is_read),
		cmocka_unit_test(inner_tags_are_opaque),
		cmocka_unit_test(pulling_is_the_same_however_the_frame_is_cut),
		cmocka_unit_test(short_frames_are_all_head),
		cmocka_unit_test(a_frame_shorter_than_it_says_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* The hash by Microsoft's published vectors, and which frames are hashed by what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <string.h>

#include "base/num.h"
#include "net/steer.h"

static const uint8_t key[NET_RSS_KEY_BYTES] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

struct vector {
	const char *destination;
	uint16_t destination_port;
	const char *source;
	uint16_t source_port;
	uint32_t addresses, with_ports;
};

static const struct vector vectors4[] = {
	{ "161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178 },
	{ "65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea },
	{ "12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a },
	{ "209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f },
	{ "202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2 },
};

static const struct vector vectors6[] = {
	{ "3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d },
	{ "ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf },
	{ "fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251,
	  0x4b61e985, 0x02d1feef },
};

static struct net_rss rss_of(uint32_t types)
{
	struct net_rss rss = { .is_on = true,
			       .queues = 4,
			       .table_entries = NET_RSS_TABLE_ENTRIES,
			       .hash_types = types };

	memcpy(rss.key, key, sizeof(key));
	for (uint16_t i = 0; i < NET_RSS_TABLE_ENTRIES; i++) {
		rss.table[i] = i % 4;
	}
	return rss;
}

/* Ethernet, an 802.1Q tag if wanted, IP, and the first four bytes behind it. */
static uint32_t make_head(uint8_t *head, bool is_ipv6, bool is_tagged, uint8_t protocol,
			  const struct vector *v)
{
	uint8_t *ip = head + 14, *ports;

	memset(head, 0, STEER_HEAD_BYTES);
	if (is_tagged) {
		memcpy(head + 12, (uint8_t[]){ 0x81, 0, 0, 7 }, 4);
		ip += 4;
	}
	ip[-2] = is_ipv6 ? 0x86 : 0x08;
	ip[-1] = is_ipv6 ? 0xdd : 0x00;
	if (is_ipv6) {
		ip[0] = 0x60;
		ip[6] = protocol;
		assert_int_equal(inet_pton(AF_INET6, v->source, ip + 8), 1);
		assert_int_equal(inet_pton(AF_INET6, v->destination, ip + 24), 1);
		ports = ip + 40;
	} else {
		ip[0] = 0x46; /* with an option */
		ip[9] = protocol;
		assert_int_equal(inet_pton(AF_INET, v->source, ip + 12), 1);
		assert_int_equal(inet_pton(AF_INET, v->destination, ip + 16), 1);
		ports = ip + 24;
	}
	ports[0] = (uint8_t)(v->source_port >> 8);
	ports[1] = (uint8_t)v->source_port;
	ports[2] = (uint8_t)(v->destination_port >> 8);
	ports[3] = (uint8_t)v->destination_port;
	return (uint32_t)(ports + 4 - head);
}

static const struct vector *vector_at(size_t i, bool *ret_is_ipv6)
{
	*ret_is_ipv6 = i >= ARRAY_SIZE(vectors4);
	return *ret_is_ipv6 ? &vectors6[i - ARRAY_SIZE(vectors4)] : &vectors4[i];
}

#define VECTORS (ARRAY_SIZE(vectors4) + ARRAY_SIZE(vectors6))

static void the_published_vectors_come_out(void **state)
{
	struct net_rss tcp =
		rss_of(NET_RSS_IPV4 | NET_RSS_IPV6 | NET_RSS_TCP_IPV4 | NET_RSS_TCP_IPV6);
	struct net_rss ip = rss_of(NET_RSS_IPV4 | NET_RSS_IPV6);
	struct steer with_ports, without;
	uint8_t head[STEER_HEAD_BYTES];

	(void)state;
	steer_init(&with_ports, &tcp);
	steer_init(&without, &ip);
	for (size_t i = 0; i < VECTORS * 2; i++) {
		bool is_ipv6;
		const struct vector *v = vector_at(i / 2, &is_ipv6);
		uint32_t bytes = make_head(head, is_ipv6, i % 2, 6, v), hash;

		assert_true(steer_hash(&with_ports, head, bytes, &hash));
		assert_int_equal(hash, v->with_ports);
		assert_true(steer_hash(&without, head, bytes, &hash));
		assert_int_equal(hash, v->addresses);
		/* UDP's ports were not asked for. */
		make_head(head, is_ipv6, i % 2, 17, v);
		assert_true(steer_hash(&with_ports, head, bytes, &hash));
		assert_int_equal(hash, v->addresses);
		/* No port was there. */
		make_head(head, is_ipv6, i % 2, 6, v);
		assert_true(steer_hash(&with_ports, head, bytes - 1, &hash));
		assert_int_equal(hash, v->addresses);
	}
}

static void fragments_go_by_their_addresses(void **state)
{
	struct net_rss rss = rss_of(NET_RSS_IPV4 | NET_RSS_TCP_IPV4);
	uint8_t head[STEER_HEAD_BYTES];
	struct steer steer;
	uint32_t bytes = make_head(head, false, false, 6, &vectors4[0]), hash;

	(void)state;
	steer_init(&steer, &rss);
	head[14 + 6] = 0x20; /* the first of several */
	assert_true(steer_hash(&steer, head, bytes, &hash));
	assert_int_equal(hash, vectors4[0].addresses);
	head[14 + 6] = 0x40; /* must not be cut: is whole */
	assert_true(steer_hash(&steer, head, bytes, &hash));
	assert_int_equal(hash, vectors4[0].with_ports);
}

static void what_is_not_asked_for_is_not_hashed(void **state)
{
	struct net_rss rss = rss_of(NET_RSS_TCP_IPV4);
	uint8_t head[STEER_HEAD_BYTES];
	struct steer steer;
	uint32_t bytes = make_head(head, false, false, 17, &vectors4[0]), hash;

	(void)state;
	steer_init(&steer, &rss);
	assert_false(steer_hash(&steer, head, bytes, &hash));
	bytes = make_head(head, true, false, 6, &vectors6[0]);
	assert_false(steer_hash(&steer, head, bytes, &hash));
	/* Cut anywhere, or of another kind: no hash, nothing read beyond the end. */
	for (uint32_t cut = 0; cut < bytes; cut++) {
		uint8_t exact[STEER_HEAD_BYTES];

		memcpy(exact, head, cut);
		assert_false(steer_hash(&steer, exact, cut, &hash));
	}
	rss.is_on = false;
	steer_init(&steer, &rss);
	make_head(head, false, false, 6, &vectors4[0]);
	assert_false(steer_hash(&steer, head, bytes, &hash));
}

static void a_frame_goes_where_the_table_says(void **state)
{
	struct net_rss rss = rss_of(NET_RSS_IPV4 | NET_RSS_TCP_IPV4);
	uint8_t head[STEER_HEAD_BYTES];
	uint32_t bytes = make_head(head, false, false, 6, &vectors4[1]);
	struct iovec iov[2] = { { head, 20 }, { head + 20, bytes - 20 } };
	struct net_frame frame = { .iov = iov, .iov_count = 2, .bytes = bytes };
	struct steer steer;

	(void)state;
	steer_init(&steer, &rss);
	assert_int_equal(steer_frame(&steer, &frame), (vectors4[1].with_ports & 127) % 4);
	assert_true(frame.flags & NET_FRAME_HASH);
	assert_int_equal(frame.hash, vectors4[1].with_ports);
	/* A hash that is there is not computed again. */
	frame.hash = 3;
	assert_int_equal(steer_frame(&steer, &frame), 3);
	/* A table that leads to no queue is no table. */
	rss.table[5] = 4;
	steer_init(&steer, &rss);
	assert_int_equal(steer_frame(&steer, &frame), 0);
	rss.table[5] = 3;
	rss.table_entries = 100;
	steer_init(&steer, &rss);
	assert_int_equal(steer_frame(&steer, &frame), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_published_vectors_come_out),
		cmocka_unit_test(fragments_go_by_their_addresses),
		cmocka_unit_test(what_is_not_asked_for_is_not_hashed),
		cmocka_unit_test(a_frame_goes_where_the_table_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
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
#include "net/fifo.h"
#include "net/offload.h"

/* RFC 1071's own example. */
static void the_sum_is_that_of_the_rfc(void **state)
{
	const uint8_t bytes[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };
	uint16_t sum = net_sum_fold(net_sum(bytes, sizeof(bytes)));
	uint8_t wire[2];

	(void)state;
	memcpy(wire, &sum, 2);
	assert_int_equal(bytes_be16(wire), (uint16_t)~0xddf2);
}

static void the_sum_is_the_same_however_it_is_cut(void **state)
{
	uint8_t bytes[4097];
	uint16_t whole;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)(i * 73 + 5);
	}
	for (size_t length = 0; length < 100; length++) {
		uint64_t simple = 0;

		for (size_t i = 0; i < length; i++) {
			simple += (uint64_t)bytes[i + 1] << (i % 2 ? 8 : 0);
		}
		assert_int_equal(net_sum_fold(net_sum(bytes + 1, length)), net_sum_fold(simple));
	}
	whole = net_sum_fold(net_sum(bytes, sizeof(bytes)));
	for (size_t cut = 0; cut < sizeof(bytes); cut += 2) {
		assert_int_equal(net_sum_fold(net_sum(bytes, cut) +
					      net_sum(bytes + cut, sizeof(bytes) - cut)),
				 whole);
	}
}

/* A frame with TCP or UDP in IPv4 or IPv6; its length. */
static uint32_t make(uint8_t *frame, int version, uint8_t protocol, uint32_t payload)
{
	uint32_t l3 = version == 4 ? 20 : 40, l4 = protocol == 6 ? 24 : 8;
	uint8_t *ip = frame + 14, *tcp = ip + l3;

	memset(frame, 0, 14 + l3 + l4);
	memset(frame, 2, 12);
	bytes_put_be16(frame + 12, version == 4 ? 0x0800 : 0x86dd);
	if (version == 4) {
		ip[0] = 0x45;
		bytes_put_be16(ip + 2, (uint16_t)(20 + l4 + payload));
		bytes_put_be16(ip + 4, 77);
		ip[8] = 64;
		ip[9] = protocol;
		memcpy(ip + 12, (uint8_t[]){ 10, 0, 2, 15, 10, 0, 2, 2 }, 8);
	} else {
		ip[0] = 0x60;
		bytes_put_be16(ip + 4, (uint16_t)(l4 + payload));
		ip[6] = protocol;
		ip[7] = 64;
		memset(ip + 8, 0xfe, 32);
	}
	bytes_put_be16(tcp, 1000);
	bytes_put_be16(tcp + 2, 80);
	if (protocol == 6) {
		bytes_put_be32(tcp + 4, 5000);
		tcp[12] = 6 << 4;
		tcp[13] = 0x19; /* ACK, PSH, FIN */
		memcpy(tcp + 20, (uint8_t[]){ 1, 1, 1, 1 }, 4);
	} else {
		bytes_put_be16(tcp + 4, (uint16_t)(8 + payload));
	}
	for (uint32_t i = 0; i < payload; i++) {
		tcp[l4 + i] = (uint8_t)(i * 13);
	}
	return 14 + l3 + l4 + payload;
}

/* The L4 checksum by the book: over the pseudo header and all. 0: right. */
static uint16_t verify(const uint8_t *frame, uint32_t bytes)
{
	struct net_headers h;
	uint8_t pseudo[40] = { 0 };
	uint32_t length;

	assert_int_equal(net_headers_parse(frame, bytes, false, &h), 0);
	length = h.end - h.l4_offset;
	if (h.ip_version == 4) {
		memcpy(pseudo, frame + 26, 8);
		pseudo[9] = h.protocol;
		bytes_put_be16(pseudo + 10, (uint16_t)length);
		assert_int_equal(net_sum_fold(net_sum(frame + 14, h.l4_offset - 14U)), 0);
		return net_sum_fold(net_sum(pseudo, 12) + net_sum(frame + h.l4_offset, length));
	}
	memcpy(pseudo, frame + 22, 32);
	bytes_put_be32(pseudo + 32, length);
	pseudo[39] = h.protocol;
	return net_sum_fold(net_sum(pseudo, 40) + net_sum(frame + h.l4_offset, length));
}

static void checksums_are_finished(void **state)
{
	static uint8_t frame[70000];

	(void)state;
	for (int version = 4; version <= 6; version += 2) {
		for (uint32_t payload = 0; payload < 3000; payload += 251) {
			uint32_t bytes = make(frame, version, 6, payload);

			assert_int_equal(
				net_offload_finish(frame, bytes,
						   NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM),
				0);
			assert_int_equal(verify(frame, bytes), 0);
			bytes = make(frame, version, 17, payload);
			/* Padding behind the datagram is no part of it. */
			assert_int_equal(
				net_offload_finish(frame, bytes + 18,
						   NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM),
				0);
			assert_int_equal(verify(frame, bytes + 18), 0);
		}
	}
}

static void a_large_send_gets_its_length(void **state)
{
	static uint8_t frame[70000];

	(void)state;
	for (int version = 4; version <= 6; version += 2) {
		uint32_t bytes = make(frame, version, 6, 62000);

		bytes_put_be16(frame + 14 + (version == 4 ? 2 : 4), 0);
		assert_int_equal(net_offload_finish(frame, bytes, NET_FRAME_LSO), 0);
		assert_int_equal(verify(frame, bytes), 0);
		bytes = make(frame, version, 17, 100);
		assert_int_equal(net_offload_finish(frame, bytes, NET_FRAME_LSO), -EBADMSG);
	}
	uint32_t bytes = make(frame, 4, 6, 65000);

	assert_int_equal(net_offload_finish(frame, bytes + 540, NET_FRAME_LSO), -EBADMSG);
}

static void broken_headers_are_refused(void **state)
{
	uint8_t frame[200], good[200];
	uint32_t bytes = make(good, 4, 6, 20);
	struct net_headers h;
	const struct {
		uint32_t at;
		uint8_t value;
	} cases[] = { { 14, 0x55 }, { 14, 0x44 }, { 14, 0x4f }, { 16, 0xff }, { 17, 10 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memcpy(frame, good, bytes);
		frame[cases[i].at] = cases[i].value;
		if (cases[i].at == 17) {
			frame[16] = 0;
		}
		/* 0x4f: 60 bytes of header leave no TCP. */
		assert_int_equal(net_offload_finish(frame, bytes, NET_FRAME_L4_CHECKSUM), -EBADMSG);
	}
	for (uint32_t cut = 0; cut < bytes; cut++) {
		assert_int_not_equal(net_headers_parse(good, cut, false, &h), 0);
	}
	memcpy(frame, good, bytes);
	frame[12] = 0x12;
	assert_int_equal(net_headers_parse(frame, bytes, false, &h), -EOPNOTSUPP);
	memcpy(frame, good, bytes);
	frame[46] = 0x10; /* a TCP header of 4 bytes */
	assert_int_equal(net_offload_finish(frame, bytes, NET_FRAME_L4_CHECKSUM), -EBADMSG);
}

static uint32_t make_syn(uint8_t *frame, int version, uint16_t mss)
{
	uint32_t bytes = make(frame, version, 6, 0), l4 = version == 4 ? 34 : 54;

	frame[l4 + 13] = 2;
	memcpy(frame + l4 + 20, (uint8_t[]){ 2, 4, (uint8_t)(mss >> 8), (uint8_t)mss }, 4);
	assert_int_equal(
		net_offload_finish(frame, bytes, NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM), 0);
	return bytes;
}

static void a_syn_is_raised_to_whole_segments(void **state)
{
	uint8_t frame[200];
	const struct {
		uint16_t mss, max, raised;
	} cases[] = { { 1460, 32120, 32120 }, { 1440, 32120, 31680 }, { 536, 32120, 31624 },
		      { 8960, 32120, 26880 }, { 20000, 32120, 0 },    { 1460, 2919, 0 },
		      { 0, 32120, 0 },        { 1, 65535, 65535 } };

	(void)state;
	for (int version = 4; version <= 6; version += 2) {
		uint32_t l4 = version == 4 ? 34 : 54;

		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			uint32_t bytes = make_syn(frame, version, cases[i].mss);
			bool raised = net_raise_mss(frame, bytes, cases[i].max);

			assert_int_equal(raised, cases[i].raised != 0);
			assert_int_equal(bytes_be16(frame + l4 + 22),
					 raised ? cases[i].raised : cases[i].mss);
			assert_int_equal(verify(frame, bytes), 0);
		}
	}
}

static void only_a_syn_with_the_option_is_touched(void **state)
{
	uint8_t frame[200], before[200];
	uint32_t bytes;
	const uint8_t options[][4] = {
		{ 1, 1, 1, 1 }, { 3, 3, 7, 0 }, { 2, 3, 1, 1 }, { 2, 200, 1, 1 },
		{ 1, 1, 1, 2 }, { 8, 0, 1, 1 }, { 0, 2, 4, 9 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		bytes = make_syn(frame, 4, 1460);
		memcpy(frame + 54, options[i], 4);
		memcpy(before, frame, bytes);
		assert_false(net_raise_mss(frame, bytes, 32120));
		assert_memory_equal(frame, before, bytes);
	}
	bytes = make_syn(frame, 4, 1460);
	frame[47] = 0x10;
	assert_false(net_raise_mss(frame, bytes, 32120));
}

struct pieces {
	unsigned int count;
	uint32_t limit, payload_at;
	uint8_t data[70000];
	uint32_t have;
	uint8_t last_flags;
	bool tcp, is_partial;
};

static void on_piece(void *ctx, const struct iovec *iov, int count, uint32_t bytes)
{
	struct pieces *p = ctx;
	uint8_t frame[70000];
	struct net_frame net = { .iov = iov, .iov_count = count, .bytes = bytes };
	uint32_t all = 0;

	for (int i = 0; i < count; i++) {
		all += (uint32_t)iov[i].iov_len;
	}
	assert_int_equal(all, bytes);
	assert_true(bytes <= p->limit);
	if (p->is_partial) {
		net.flags = NET_FRAME_L4_PARTIAL;
		net.l4 = NET_L4_TCP;
		net.l4_offset = iov[0].iov_len == 78 ? 54 : 34;
		net.l4_end = bytes;
	}
	fifo_gather(frame, &net);
	if (p->tcp) {
		uint32_t l4 = bytes_be16(frame + 12) == 0x0800 ? 34 : 54;

		assert_int_equal(verify(frame, bytes), 0);
		assert_int_equal(bytes_be32(frame + l4 + 4), 5000 + p->have);
		p->last_flags = frame[l4 + 13];
	}
	memcpy(p->data + p->have, frame + p->payload_at, bytes - p->payload_at);
	p->have += bytes - p->payload_at;
	p->count++;
}

static void tcp_is_cut_into_right_segments(void **state)
{
	static uint8_t frame[70000];
	static struct pieces p;

	(void)state;
	for (int version = 4; version <= 6; version += 2) {
		for (uint32_t payload = 0; payload < 33000; payload += 2777) {
			uint32_t bytes = make(frame, version, 6, payload);
			uint32_t head = bytes - payload;

			p = (struct pieces){ .limit = head + 1460,
					     .payload_at = head,
					     .tcp = true };
			assert_int_equal(net_cut_tcp(frame, bytes, 1460, on_piece, &p), 0);
			assert_int_equal(p.count, num_max((payload + 1459) / 1460, 1));
			assert_int_equal(p.have, payload);
			assert_memory_equal(p.data, frame + head, payload);
			assert_int_equal(p.last_flags, 0x19);
		}
	}
	uint32_t bytes = make(frame, 4, 17, 3000);

	assert_int_equal(net_cut_tcp(frame, bytes, 1460, on_piece, &p), -EBADMSG);
	bytes = make(frame, 4, 6, 3000);
	assert_int_equal(net_cut_tcp(frame, bytes, 0, on_piece, &p), -EBADMSG);
}

static void it_does_not_matter_in_which_pieces_a_frame_lies(void **state)
{
	static const size_t steps[] = { 1, 3, 333, 777, 4096 };
	static uint8_t frame[70000];
	static struct pieces p;

	(void)state;
	for (int version = 4; version <= 6; version += 2) {
		uint32_t bytes = make(frame, version, 6, 9001), head = bytes - 9001;
		uint64_t sum = net_sum(frame + 11, bytes - 20);

		for (size_t s = 0; s < ARRAY_SIZE(steps); s++) {
			struct iovec iov[NET_IOV_MAX];
			int count = 0;

			/* short ones at first: headers in pieces too */
			for (size_t at = 0; at < bytes; count++) {
				size_t run =
					count < 100 ? num_min(steps[s], bytes - at) : bytes - at;

				iov[count] = (struct iovec){ frame + at, run };
				at += run;
			}
			assert_int_equal(net_sum_fold(net_sum_iov(iov, count, 11, bytes - 20)),
					 net_sum_fold(sum));
			p = (struct pieces){ .tcp = true,
					     .is_partial = true,
					     .limit = head + 1448,
					     .payload_at = head };
			assert_int_equal(net_cut_tcp_iov(iov, count, bytes, 1448, on_piece, &p), 0);
			assert_int_equal(p.have, 9001);
			assert_memory_equal(p.data, frame + head, 9001);
		}
	}
}

static void datagrams_are_cut_into_right_fragments(void **state)
{
	static uint8_t frame[70000];
	static struct pieces p;
	uint32_t bytes = make(frame, 4, 17, 9000);

	(void)state;
	p = (struct pieces){ .limit = 1514, .payload_at = 34 };
	assert_int_equal(net_cut_ip(frame, bytes, 1500, 1, on_piece, &p), 0);
	assert_int_equal(p.have, 9008);
	assert_memory_equal(p.data, frame + 34, 9008);
	frame[20] = 0x40; /* do not */
	assert_int_equal(net_cut_ip(frame, bytes, 1500, 1, on_piece, &p), -EMSGSIZE);
	bytes = make(frame, 6, 17, 9000);
	p = (struct pieces){ .limit = 1514, .payload_at = 62 };
	assert_int_equal(net_cut_ip(frame, bytes, 1500, 7, on_piece, &p), 0);
	assert_int_equal(p.have, 9008);
	assert_memory_equal(p.data, frame + 54, 9008);
	assert_int_equal(net_cut_ip(frame, bytes, 40, 7, on_piece, &p), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sum_is_that_of_the_rfc),
		cmocka_unit_test(the_sum_is_the_same_however_it_is_cut),
		cmocka_unit_test(checksums_are_finished),
		cmocka_unit_test(a_large_send_gets_its_length),
		cmocka_unit_test(broken_headers_are_refused),
		cmocka_unit_test(a_syn_is_raised_to_whole_segments),
		cmocka_unit_test(only_a_syn_with_the_option_is_touched),
		cmocka_unit_test(tcp_is_cut_into_right_segments),
		cmocka_unit_test(it_does_not_matter_in_which_pieces_a_frame_lies),
		cmocka_unit_test(datagrams_are_cut_into_right_fragments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

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
#include "vsp/net/rndis_parse.h"

static void headers_must_fit(void **state)
{
	const struct {
		uint32_t bytes, left;
		int err;
	} cases[] = { { 8, 8, 0 },
		      { 7, 8, -EBADMSG },
		      { 9, 8, -EBADMSG },
		      { 0, 100, -EBADMSG },
		      { 0xffffffff, 100, -EBADMSG },
		      { 100, 100, 0 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t buf[8];
		struct rndis_header h;

		bytes_put_le32(buf, RNDIS_PACKET);
		bytes_put_le32(buf + 4, cases[i].bytes);
		assert_int_equal(rndis_parse_header(buf, cases[i].left, &h), cases[i].err);
	}
	struct rndis_header h;

	assert_int_equal(rndis_parse_header((uint8_t[8]){ 0 }, 7, &h), -EBADMSG);
}

static void make_packet(uint8_t *buf, uint32_t data_offset, uint32_t data_bytes,
			uint32_t ppi_offset, uint32_t ppi_bytes)
{
	memset(buf, 0, RNDIS_PACKET_HEAD_BYTES);
	bytes_put_le32(buf + 8, data_offset);
	bytes_put_le32(buf + 12, data_bytes);
	bytes_put_le32(buf + 28, ppi_offset);
	bytes_put_le32(buf + 32, ppi_bytes);
}

static void offsets_that_leave_the_message_are_refused(void **state)
{
	const struct {
		uint32_t data_offset, data_bytes, ppi_offset, ppi_bytes;
		int err;
	} cases[] = {
		{ 36, 60, 0, 0, 0 },
		{ 52, 60, 36, 16, 0 },
		{ 36, 93, 0, 0, -EBADMSG },
		{ 35, 60, 0, 0, -EBADMSG },
		{ 0xfffffff0, 0x20, 0, 0, -EBADMSG },
		{ 36, 0xffffffff, 0, 0, -EBADMSG },
		{ 128, 0, 0, 0, 0 },
		{ 129, 0, 0, 0, -EBADMSG },
		{ 36, 60, 8, 16, -EBADMSG },
		{ 36, 60, 120, 16, -EBADMSG },
		{ 36, 60, 0xfffffff8, 16, -EBADMSG },
		{ 36, 60, 36, 0, 0 },
		{ 36, 60, 0, 16, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t buf[RNDIS_PACKET_HEAD_BYTES];
		struct rndis_frame f;

		make_packet(buf, cases[i].data_offset, cases[i].data_bytes, cases[i].ppi_offset,
			    cases[i].ppi_bytes);
		assert_int_equal(rndis_parse_packet(buf, 136, &f), cases[i].err);
		if (!cases[i].err) {
			assert_int_equal(f.data_offset, cases[i].data_offset + 8);
		}
	}
	uint8_t buf[RNDIS_PACKET_HEAD_BYTES];
	struct rndis_frame f;

	make_packet(buf, 36, 0, 0, 0);
	assert_int_equal(rndis_parse_packet(buf, 43, &f), -EBADMSG);
	make_packet(buf, 36, 0, 36, RNDIS_PPI_BYTES_MAX + 1);
	assert_int_equal(rndis_parse_packet(buf, 65536, &f), -EBADMSG);
}

static void put_ppi(uint8_t *at, uint32_t size, uint32_t type, uint32_t offset, uint32_t value)
{
	bytes_put_le32(at, size);
	bytes_put_le32(at + 4, type);
	bytes_put_le32(at + 8, offset);
	bytes_put_le32(at + 12, value);
}

static void per_packet_information_is_read(void **state)
{
	uint8_t ppi[64];
	struct rndis_offload o;

	(void)state;
	put_ppi(ppi, 16, RNDIS_PPI_CHECKSUM, 12, 5);
	put_ppi(ppi + 16, 16, RNDIS_PPI_HASH, 12, 9);
	put_ppi(ppi + 32, 16, RNDIS_PPI_VLAN, 12, 5 | RNDIS_VLAN_CFI | 77 << 4);
	put_ppi(ppi + 48, 16, RNDIS_PPI_LSO, 12, 1460);
	assert_int_equal(rndis_parse_ppi(ppi, 64, &o), 0);
	assert_true(o.has_checksum && o.has_vlan && o.has_lso);
	assert_int_equal(o.checksum, 5);
	assert_int_equal(o.lso, 1460);
	assert_int_equal(o.vlan_tci, 5 << 13 | 1 << 12 | 77);
	assert_int_equal(rndis_parse_ppi(ppi, 0, &o), 0);
	assert_false(o.has_checksum);
}

static void spoilt_per_packet_information_is_refused(void **state)
{
	const struct {
		uint32_t size, offset, left;
	} cases[] = { { 0, 12, 16 },          { 11, 12, 16 }, { 17, 12, 16 },
		      { 0xffffffff, 12, 16 }, { 16, 13, 16 }, { 16, 17, 16 },
		      { 16, 0xffffffff, 16 }, { 16, 0, 16 },  { 12, 12, 12 },
		      { 16, 12, 18 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t ppi[32] = { 0 };
		struct rndis_offload o;

		put_ppi(ppi, cases[i].size, RNDIS_PPI_LSO, cases[i].offset, 0);
		assert_int_equal(rndis_parse_ppi(ppi, cases[i].left, &o), -EBADMSG);
	}
}

static void requests_are_read_and_refused(void **state)
{
	uint32_t m[16] = { RNDIS_QUERY, 28, 7, OID_GEN_LINK_SPEED, 0, 20, 0 };
	struct rndis_request r;
	const uint8_t *buf = (const uint8_t *)m;

	(void)state;
	assert_int_equal(rndis_parse_request(buf, 28, &r), 0);
	assert_int_equal(r.request_id, 7);
	assert_int_equal(r.oid, OID_GEN_LINK_SPEED);
	for (uint32_t bytes = 0; bytes < 28; bytes++) {
		assert_int_equal(rndis_parse_request(buf, bytes, &r), -EBADMSG);
	}
	m[0] = RNDIS_SET;
	m[1] = 32;
	m[4] = 4;
	assert_int_equal(rndis_parse_request(buf, 32, &r), 0);
	assert_ptr_equal(r.info, buf + 28);
	const uint32_t bad[][2] = {
		{ 5, 20 }, { 4, 21 }, { 4, 19 }, { 0xffffffff, 20 }, { 4, 0xfffffffe }
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		m[4] = bad[i][0];
		m[5] = bad[i][1];
		assert_int_equal(rndis_parse_request(buf, 32, &r), -EBADMSG);
		assert_int_equal(r.request_id, 7); /* can be answered */
	}
	m[0] = RNDIS_INDICATE;
	assert_int_equal(rndis_parse_request(buf, 32, &r), -EOPNOTSUPP);
	m[0] = 0x80000002;
	assert_int_equal(rndis_parse_request(buf, 32, &r), -EOPNOTSUPP);
	uint32_t init[6] = { RNDIS_INITIALIZE, 20, 1, 1, 0, 0x4000 };

	assert_int_equal(rndis_parse_request((const uint8_t *)init, 24, &r), -EBADMSG);
	init[1] = 24;
	assert_int_equal(rndis_parse_request((const uint8_t *)init, 24, &r), 0);
	assert_int_equal(r.major, 1);
}

static void a_received_frame_is_described(void **state)
{
	uint8_t buf[RNDIS_RECEIVE_HEAD_MAX];
	struct rndis_receive rx = { .data_bytes = 1000,
				    .checksum = RNDIS_RX_TCP_GOOD,
				    .has_vlan = true,
				    .vlan_tci = 5 << 13 | 77,
				    .piece = RNDIS_ID_PIECE | RNDIS_ID_PIECE_FIRST };
	uint32_t head = rndis_build_packet(buf, &rx);

	(void)state;
	assert_true(head <= sizeof(buf));
	assert_int_equal(head, 44 + 3 * 16);
	assert_int_equal(bytes_le32(buf + 4), head + 1000);
	assert_int_equal(bytes_le32(buf + 8), head - 8);
	assert_int_equal(bytes_le32(buf + 44 + 12), RNDIS_RX_TCP_GOOD);
	assert_int_equal(bytes_le32(buf + 60 + 12), 5 | 77 << 4);
	assert_int_equal(bytes_le32(buf + 76 + 4), 0x80000001);
	assert_int_equal(bytes_le32(buf + 76 + 12), 1 | 3 << 8);
	rx = (struct rndis_receive){ .data_bytes = 60 };
	assert_int_equal(rndis_build_packet(buf, &rx), 44);
	assert_int_equal(bytes_le32(buf + 28), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(headers_must_fit),
		cmocka_unit_test(offsets_that_leave_the_message_are_refused),
		cmocka_unit_test(per_packet_information_is_read),
		cmocka_unit_test(spoilt_per_packet_information_is_refused),
		cmocka_unit_test(requests_are_read_and_refused),
		cmocka_unit_test(a_received_frame_is_described),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

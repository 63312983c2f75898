/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "vsp/storage/vstor_parse.h"

static uint8_t packet[VSTOR_PACKET_BYTES];

static void start(uint32_t operation)
{
	memset(packet, 0, sizeof(packet));
	bytes_put_le32(packet, operation);
	bytes_put_le32(packet + 4, VSTOR_FLAG_COMPLETION);
}

static void srb_is_parsed(void **state)
{
	struct vstor_request request;

	start(VSTOR_EXECUTE_SRB);
	packet[12 + 5] = 3; /* path */
	packet[12 + 6] = 1; /* target */
	packet[12 + 7] = 9; /* lun */
	packet[12 + 8] = 6; /* CDB bytes */
	bytes_put_le32(packet + 12 + 12, 36);
	memset(packet + 12 + 16, 0xaa, 16);
	assert_int_equal(vstor_parse(packet, sizeof(packet), &request), 0);
	assert_int_equal(request.operation, VSTOR_EXECUTE_SRB);
	assert_int_equal(request.path, 3);
	assert_int_equal(request.target, 1);
	assert_int_equal(request.lun, 9);
	assert_int_equal(request.cdb_bytes, 6);
	assert_int_equal(request.data_bytes, 36);
	assert_int_equal(request.cdb[5], 0xaa);
	assert_int_equal(request.cdb[6], 0); /* beyond the CDB's length nothing is believed */

	/* The packet of before Windows 8 holds all that we need. */
	assert_int_equal(vstor_parse(packet, VSTOR_PACKET_BYTES_OLD, &request), 0);
	assert_int_equal(vstor_parse(packet, VSTOR_PACKET_BYTES_OLD - 1, &request), -EBADMSG);
	packet[12 + 8] = 0;
	assert_int_equal(vstor_parse(packet, sizeof(packet), &request), -EBADMSG);
	packet[12 + 8] = 17;
	assert_int_equal(vstor_parse(packet, sizeof(packet), &request), -EBADMSG);
}

static void short_packets_are_refused(void **state)
{
	struct vstor_request request;

	for (size_t i = 0; i < 12; i++) {
		start(VSTOR_BEGIN_INITIALIZATION);
		assert_int_equal(vstor_parse(packet, i, &request), -EBADMSG);
		assert_int_equal(request.operation, 0);
	}
	assert_int_equal(vstor_parse(packet, 12, &request), 0);
	start(VSTOR_QUERY_PROTOCOL_VERSION);
	bytes_put_le16(packet + 12, VSTOR_VERSION_WIN8_1);
	assert_int_equal(vstor_parse(packet, 15, &request), -EBADMSG);
	assert_int_equal(vstor_parse(packet, 16, &request), 0);
	assert_int_equal(request.version, VSTOR_VERSION(6, 0));
	start(VSTOR_CREATE_SUB_CHANNELS);
	bytes_put_le16(packet + 12, 3);
	assert_int_equal(vstor_parse(packet, 13, &request), -EBADMSG);
	assert_int_equal(vstor_parse(packet, 14, &request), 0);
	assert_int_equal(request.sub_channels, 3);
}

static void unknown_operations_are_told_apart(void **state)
{
	static const uint32_t unknown[] = {
		0, VSTOR_COMPLETE_IO, VSTOR_REMOVE_DEVICE, VSTOR_ENUMERATE_BUS, 14, 0x80000003
	};
	struct vstor_request request;

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		start(unknown[i]);
		assert_int_equal(vstor_parse(packet, sizeof(packet), &request), -EOPNOTSUPP);
		assert_int_equal(request.operation, unknown[i]);
	}
}

static void answers_are_built(void **state)
{
	static const uint8_t sense[18] = { 0x70, 0, 5 };
	struct vstor_srb_answer answer = {
		.srb_status = 0x84,
		.scsi_status = 2,
		.path = 1,
		.target = 1,
		.lun = 4,
		.sense_bytes = 18,
		.sense = sense,
		.data_bytes = 0x01020304,
	};

	memset(packet, 0xee, sizeof(packet));
	vstor_build_srb(VSTOR_STATUS_IO_DEVICE_ERROR, &answer, packet);
	assert_int_equal(bytes_le32(packet), VSTOR_COMPLETE_IO);
	assert_int_equal(bytes_le32(packet + 8), VSTOR_STATUS_IO_DEVICE_ERROR);
	assert_int_equal(bytes_le16(packet + 12), 0x34);
	assert_int_equal(packet[14], 0x84);
	assert_int_equal(packet[15], 2);
	assert_int_equal(packet[19], 4);
	assert_int_equal(packet[21], 18);
	assert_int_equal(bytes_le32(packet + 24), 0x01020304);
	assert_memory_equal(packet + 28, sense, 18);
	for (size_t i = 28 + 18; i < sizeof(packet); i++) {
		assert_int_equal(packet[i], 0);
	}

	memset(packet, 0xee, sizeof(packet));
	vstor_build_properties(4, 1 << 20, packet);
	assert_int_equal(bytes_le16(packet + 16), 4);
	assert_int_equal(bytes_le32(packet + 20), VSTOR_PROPERTY_MULTI_CHANNEL);
	assert_int_equal(bytes_le32(packet + 24), 1 << 20);

	vstor_build_event(VSTOR_ENUMERATE_BUS, packet);
	assert_int_equal(bytes_le32(packet), VSTOR_ENUMERATE_BUS);
	assert_int_equal(vstor_answer_bytes(0), 48);
	assert_int_equal(vstor_answer_bytes(48), 48);
	assert_int_equal(vstor_answer_bytes(64), 64);
	assert_int_equal(vstor_answer_bytes(4096), 64);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(srb_is_parsed),
		cmocka_unit_test(short_packets_are_refused),
		cmocka_unit_test(unknown_operations_are_told_apart),
		cmocka_unit_test(answers_are_built),
	};

	return cmocka_run_group_tests_name("vsp_storage/vstor_parse", tests, NULL, NULL);
}

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
#include "vsp/net/nvsp_parse.h"

static void every_message_is_read(void **state)
{
	const struct nvsp_dialect *d = nvsp_dialect(NVSP_VERSION_61);
	struct nvsp_request r;

	(void)state;
	assert_int_equal(nvsp_parse((uint32_t[]){ NVSP_INIT, 5, 6 }, 12, NULL, &r), 0);
	assert_int_equal(r.init.version_min, 5);
	assert_int_equal(r.init.version_max, 6);
	assert_int_equal(nvsp_parse((uint32_t[]){ NVSP_SEND_NDIS_VERSION, 6, 30 }, 12, d, &r), 0);
	assert_int_equal(r.ndis_version.minor, 30);
	assert_int_equal(nvsp_parse((uint32_t[]){ NVSP_SEND_RECV_BUF, 9, 0xcafe }, 12, d, &r), 0);
	assert_int_equal(r.buffer.gpadl, 9);
	assert_int_equal(r.buffer.id, 0xcafe);
	assert_int_equal(nvsp_parse((uint32_t[]){ NVSP_SEND_RNDIS, 1, 2, 3 }, 16, d, &r), 0);
	assert_int_equal(r.rndis.channel, 1);
	assert_int_equal(r.rndis.section, 2);
	assert_int_equal(r.rndis.section_bytes, 3);
	assert_int_equal(nvsp_parse((uint32_t[]){ NVSP_SEND_NDIS_CONFIG, 1514, 0, NVSP_CAP_RSC, 0 },
				    20, d, &r),
			 0);
	assert_int_equal(r.ndis_config.mtu, 1514);
	assert_int_equal(r.ndis_config.capabilities, NVSP_CAP_RSC);
	assert_int_equal(nvsp_parse((uint32_t[]){ NVSP_SUBCHANNEL, 1, 7 }, 12, d, &r), 0);
	assert_int_equal(r.subchannel.count, 7);
	assert_int_equal(nvsp_parse((uint32_t[]){ NVSP_SWITCH_DATA_PATH, 1 }, 8, d, &r), 0);
	assert_int_equal(r.switch_data_path.path, 1);
	assert_int_equal(nvsp_parse((uint32_t[]){ NVSP_REVOKE_RECV_BUF, 0xcafe }, 8, d, &r), 0);
	assert_int_equal(r.revoke.id, 0xcafe);
}

static void short_messages_are_refused(void **state)
{
	const struct nvsp_dialect *d = nvsp_dialect(NVSP_VERSION_61);
	const struct {
		uint32_t type, bytes;
	} cases[] = { { NVSP_INIT, 12 },
		      { NVSP_SEND_NDIS_VERSION, 12 },
		      { NVSP_SEND_RECV_BUF, 10 },
		      { NVSP_SEND_SEND_BUF, 10 },
		      { NVSP_REVOKE_RECV_BUF, 6 },
		      { NVSP_SEND_RNDIS, 16 },
		      { NVSP_SEND_NDIS_CONFIG, 20 },
		      { NVSP_SWITCH_DATA_PATH, 8 },
		      { NVSP_SUBCHANNEL, 12 },
		      { NVSP_SEND_RNDIS_COMPLETE, 8 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t message[64] = { 0 };
		struct nvsp_request r;

		bytes_put_le32(message, cases[i].type);
		for (uint32_t bytes = 0; bytes < cases[i].bytes; bytes++) {
			assert_int_equal(nvsp_parse(message, bytes, d, &r), -EBADMSG);
		}
		assert_int_equal(nvsp_parse(message, cases[i].bytes, d, &r), 0);
	}
}

static void each_version_knows_its_own_messages(void **state)
{
	const struct {
		uint32_t version, known, unknown;
	} cases[] = { { NVSP_VERSION_1, NVSP_SEND_RNDIS, NVSP_SEND_NDIS_CONFIG },
		      { NVSP_VERSION_2, NVSP_SEND_NDIS_CONFIG, NVSP_SWITCH_DATA_PATH },
		      { NVSP_VERSION_4, NVSP_SWITCH_DATA_PATH, NVSP_SUBCHANNEL },
		      { NVSP_VERSION_5, NVSP_SUBCHANNEL, NVSP_PD_API } };
	struct nvsp_request r;
	uint8_t message[64] = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct nvsp_dialect *d = nvsp_dialect(cases[i].version);

		bytes_put_le32(message, cases[i].known);
		assert_int_equal(nvsp_parse(message, sizeof(message), d, &r), 0);
		bytes_put_le32(message, cases[i].unknown);
		assert_int_equal(nvsp_parse(message, sizeof(message), d, &r), -EOPNOTSUPP);
		assert_int_equal(r.type, cases[i].unknown);
	}
	bytes_put_le32(message, NVSP_SEND_RNDIS);
	assert_int_equal(nvsp_parse(message, sizeof(message), NULL, &r), -EPROTO);
	assert_null(nvsp_dialect(0x60002));
	assert_null(nvsp_dialect(0));
}

static void answers_have_the_length_that_guests_want(void **state)
{
	const struct nvsp_dialect *old = nvsp_dialect(NVSP_VERSION_5);
	const struct nvsp_dialect *new = nvsp_dialect(NVSP_VERSION_61);
	struct nvsp_message m;

	(void)state;
	nvsp_build_init_complete(NULL, 7, NVSP_STATUS_FAIL, &m);
	assert_int_equal(m.length, 28);
	nvsp_build_recv_buf_complete(new, NVSP_STATUS_SUCCESS, 8192, 512, &m);
	assert_int_equal(m.length, 40);
	assert_int_equal(bytes_le32(m.bytes + 16), 8192);
	assert_int_equal(bytes_le32(m.bytes + 24), 8192 * 512);
	nvsp_build_send_buf_complete(old, NVSP_STATUS_SUCCESS, 6144, &m);
	assert_int_equal(m.length, 28);
	nvsp_build_rndis_complete(NVSP_STATUS_SUCCESS, &m);
	assert_int_equal(m.length, 8);
	nvsp_build_rndis(new, NVSP_RNDIS_DATA, &m);
	assert_int_equal(bytes_le32(m.bytes + 8), NVSP_SECTION_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_is_read),
		cmocka_unit_test(short_messages_are_refused),
		cmocka_unit_test(each_version_knows_its_own_messages),
		cmocka_unit_test(answers_have_the_length_that_guests_want),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

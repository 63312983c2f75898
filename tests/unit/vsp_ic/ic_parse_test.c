/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/num.h"
#include "vsp/ic/ic_parse.h"

/* NEGOTIATE for frameworks 1.0, 3.0 and heartbeat 1.0, 3.0, as Hyper-V sends it. */
static const uint8_t negotiate_bytes[] = {
	1,  0, 0, 0, 44, 0, 0, 0,       /* pipe: data, 44 bytes */
	0,  0, 0, 0, 0,  0, 0, 0, 0, 0, /* framework 0.0, NEGOTIATE, version 0.0 */
	24, 0, 0, 0, 0,  0, 5, 3, 0, 0, /* 24 bytes, status, transaction 5, flags */
	2,  0, 2, 0, 0,  0, 0, 0,       /* two and two */
	1,  0, 0, 0, 3,  0, 0, 0,       /* frameworks */
	1,  0, 0, 0, 3,  0, 0, 0,       /* heartbeat */
};

static const uint32_t versions[] = { IC_HEARTBEAT_1_0, IC_HEARTBEAT_3_0 };

static void negotiate_has_its_layout(void **state)
{
	uint8_t buf[IC_MESSAGE_BYTES_MAX];

	(void)state;
	assert_int_equal(ic_build_negotiate(versions, ARRAY_SIZE(versions), 5, buf),
			 sizeof(negotiate_bytes));
	assert_memory_equal(buf, negotiate_bytes, sizeof(negotiate_bytes));
}

static void a_message_is_parsed_as_it_was_built(void **state)
{
	static const uint8_t body[] = { 1, 2, 3, 4, 5 };
	struct ic_message message = { .framework = IC_FRAMEWORK_3_0,
				      .version = IC_SHUTDOWN_3_2,
				      .type = IC_MSG_SHUTDOWN,
				      .transaction_id = 200,
				      .flags = 5,
				      .status = IC_STATUS_FAIL,
				      .body = body,
				      .body_bytes = sizeof(body) };
	struct ic_message parsed;
	uint8_t buf[IC_MESSAGE_BYTES_MAX] = { 0 };
	size_t length = ic_build(&message, buf);

	(void)state;
	assert_int_equal(ic_parse(buf, num_align_up(length, 8), &parsed), 0);
	assert_int_equal(parsed.framework, message.framework);
	assert_int_equal(parsed.version, message.version);
	assert_int_equal(parsed.type, message.type);
	assert_int_equal(parsed.transaction_id, message.transaction_id);
	assert_int_equal(parsed.flags, message.flags);
	assert_int_equal(parsed.status, message.status);
	assert_int_equal(parsed.body_bytes, sizeof(body));
	assert_memory_equal(parsed.body, body, sizeof(body));
}

static void lengths_that_do_not_fit_are_refused(void **state)
{
	uint8_t buf[sizeof(negotiate_bytes)];
	struct ic_message message;

	(void)state;
	for (size_t length = 0; length < sizeof(negotiate_bytes); length++) {
		assert_int_equal(ic_parse(negotiate_bytes, length, &message), -EPROTO);
	}
	memcpy(buf, negotiate_bytes, sizeof(buf));
	bytes_put_le32(buf + 4, 0xffffffff);
	assert_int_equal(ic_parse(buf, sizeof(buf), &message), -EPROTO);
	bytes_put_le32(buf + 4, 43); /* less than what the header says */
	assert_int_equal(ic_parse(buf, sizeof(buf), &message), -EPROTO);
	bytes_put_le32(buf + 4, 44);
	bytes_put_le16(buf + 18, 25);
	assert_int_equal(ic_parse(buf, sizeof(buf), &message), -EPROTO);
}

static int parse_versions(const uint8_t *body, uint32_t bytes, uint32_t *framework,
			  uint32_t *version)
{
	struct ic_message message = { .body = body, .body_bytes = bytes };

	return ic_parse_negotiate(&message, framework, version);
}

static void an_answer_names_one_version_of_each(void **state)
{
	uint8_t body[16] = { 1, 0, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 3, 0, 2, 0 };
	uint32_t framework = 0, version = 0;

	(void)state;
	assert_int_equal(parse_versions(body, 16, &framework, &version), 0);
	assert_int_equal(framework, IC_FRAMEWORK_3_0);
	assert_int_equal(version, IC_SHUTDOWN_3_2);
	for (uint32_t bytes = 0; bytes < 16; bytes++) {
		assert_int_equal(parse_versions(body, bytes, &framework, &version), -EBADMSG);
	}
	body[2] = 2;
	assert_int_equal(parse_versions(body, 16, &framework, &version), -EBADMSG);
	body[0] = body[2] = 0;
	assert_int_equal(parse_versions(body, 16, &framework, &version), -EOPNOTSUPP);
}

static void an_old_heartbeat_has_no_application_state(void **state)
{
	static const uint8_t body[12] = { 9, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0 };
	struct ic_message message = { .body = body, .body_bytes = 8 };
	struct ic_heartbeat_answer answer;

	(void)state;
	assert_int_equal(ic_parse_heartbeat(&message, &answer), 0);
	assert_int_equal(answer.sequence, 9);
	assert_int_equal(answer.application_state, IC_APPLICATION_UNKNOWN);
	message.body_bytes = 12;
	assert_int_equal(ic_parse_heartbeat(&message, &answer), 0);
	assert_int_equal(answer.application_state, IC_APPLICATION_CRITICAL);
	message.body_bytes = 7;
	assert_int_equal(ic_parse_heartbeat(&message, &answer), -EBADMSG);
}

static void bodies_have_their_layout(void **state)
{
	uint8_t body[sizeof(struct ic_shutdown)];

	(void)state;
	assert_int_equal(ic_build_shutdown(IC_SHUTDOWN_FLAG_RESTART, 60, body), 2060);
	assert_int_equal(bytes_le32(body), IC_SHUTDOWN_REASON_PLANNED);
	assert_int_equal(bytes_le32(body + 4), 60);
	assert_int_equal(bytes_le32(body + 8), 2);
	assert_int_equal(ic_build_timesync(IC_TIMESYNC_3_0, 11, 22, 1, body), 32);
	assert_int_equal(bytes_le64(body), 11);
	assert_int_equal(body[24], 1);
	assert_int_equal(ic_build_timesync(IC_TIMESYNC_4_0, 11, 22, 2, body), 24);
	assert_int_equal(bytes_le64(body + 8), 22);
	assert_int_equal(body[16], 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(negotiate_has_its_layout),
		cmocka_unit_test(a_message_is_parsed_as_it_was_built),
		cmocka_unit_test(lengths_that_do_not_fit_are_refused),
		cmocka_unit_test(an_answer_names_one_version_of_each),
		cmocka_unit_test(an_old_heartbeat_has_no_application_state),
		cmocka_unit_test(bodies_have_their_layout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

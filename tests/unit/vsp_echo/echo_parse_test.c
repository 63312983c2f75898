/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "vsp/echo/echo_parse.h"

static uint32_t message(uint8_t *buf, uint32_t type, uint32_t bytes)
{
	memset(buf, 0, 8 + bytes);
	bytes_put_le32(buf, type);
	bytes_put_le32(buf + 4, bytes);
	return 8 + bytes;
}

static void hello_gives_its_version(void **state)
{
	struct echo_request request;
	uint8_t buf[64];
	uint32_t length = message(buf, ECHO_MSG_HELLO, sizeof(struct echo_hello));

	(void)state;
	bytes_put_le32(buf + 8, ECHO_VERSION_2);
	assert_int_equal(echo_parse(buf, length, &request), 0);
	assert_int_equal(request.type, ECHO_MSG_HELLO);
	assert_int_equal(request.hello.version, ECHO_VERSION_2);
}

static void an_echo_ends_where_its_header_says(void **state)
{
	struct echo_request request;
	uint8_t buf[64];

	(void)state;
	message(buf, ECHO_MSG_ECHO, 8 + 3);
	memcpy(buf + 16, "abc", 3);
	assert_int_equal(echo_parse(buf, 24, &request), 0); /* padded to 8 */
	assert_int_equal(request.echo.count, 3);
	assert_memory_equal(request.echo.bytes, "abc", 3);
}

static void lengths_that_do_not_fit_are_refused(void **state)
{
	struct echo_request request;
	uint8_t buf[64];

	(void)state;
	for (size_t length = 0; length < 8; length++) {
		message(buf, ECHO_MSG_HELLO, 8);
		assert_int_equal(echo_parse(buf, length, &request), -EPROTO);
	}
	message(buf, ECHO_MSG_HELLO, 8);
	assert_int_equal(echo_parse(buf, 15, &request), -EPROTO);
	message(buf, ECHO_MSG_HELLO, 3);
	assert_int_equal(echo_parse(buf, 16, &request), -EBADMSG);
	message(buf, ECHO_MSG_ECHO, 7);
	assert_int_equal(echo_parse(buf, 16, &request), -EBADMSG);
	message(buf, 99, 8);
	assert_int_equal(echo_parse(buf, 16, &request), -EOPNOTSUPP);
}

static void an_echo_has_a_limit(void **state)
{
	static uint8_t buf[16 + ECHO_BYTES_MAX + 8];
	struct echo_request request;
	uint32_t length;

	(void)state;
	length = message(buf, ECHO_MSG_ECHO, 8 + ECHO_BYTES_MAX);
	assert_int_equal(echo_parse(buf, length, &request), 0);
	assert_int_equal(request.echo.count, ECHO_BYTES_MAX);
	length = message(buf, ECHO_MSG_ECHO, 8 + ECHO_BYTES_MAX + 1);
	assert_int_equal(echo_parse(buf, length, &request), -EBADMSG);
}

static void what_is_built_has_its_layout(void **state)
{
	static const uint8_t result[] = { 2, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0 };
	static const uint8_t echo[] = { 3, 0, 0, 0, 13, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0 };
	uint8_t buf[ECHO_RESULT_BYTES];

	(void)state;
	echo_build_result(ECHO_MSG_HELLO_RESULT, ECHO_STATUS_UNSUPPORTED, 2, buf);
	assert_memory_equal(buf, result, sizeof(result));
	echo_build_echo(7, 5, buf);
	assert_memory_equal(buf, echo, sizeof(echo));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hello_gives_its_version),
		cmocka_unit_test(an_echo_ends_where_its_header_says),
		cmocka_unit_test(lengths_that_do_not_fit_are_refused),
		cmocka_unit_test(an_echo_has_a_limit),
		cmocka_unit_test(what_is_built_has_its_layout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

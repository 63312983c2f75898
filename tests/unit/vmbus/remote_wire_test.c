/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "vmbus/remote_wire.h"

static uint8_t buf[REMOTE_MESSAGE_BYTES_MAX];
static struct remote_message back;

static struct remote_message hello(void)
{
	struct remote_message m = { .type = REMOTE_MSG_HELLO, .device = REMOTE_DEVICE_CONNECTION };

	m.hello.version_min = m.hello.version_max = 1;
	m.hello.vps = 4;
	m.hello.range_count = 1;
	m.hello.board_bytes = REMOTE_BOARD_BYTES;
	m.hello.ranges[0].bytes = 64 << 20;
	strcpy(m.hello.name, "web");
	return m;
}

static struct remote_message lend(const uint8_t *config, uint32_t bytes)
{
	struct remote_message m = { .type = REMOTE_MSG_LEND, .device = 3, .serial = 9 };

	strcpy(m.lend.kind, "net");
	strcpy(m.lend.port, "web/net0");
	m.lend.channels = 2;
	m.lend.gpadls = 4;
	m.lend.journal_bytes = 1 << 20;
	m.lend.config_bytes = bytes;
	m.tail = config;
	m.tail_bytes = bytes;
	return m;
}

static int parse(uint32_t bytes, unsigned int fds)
{
	return remote_parse(buf, bytes, fds, &back);
}

static void what_is_built_is_parsed(void **state)
{
	const uint8_t config[] = { 1, 2, 3, 4, 5 };
	struct remote_message m = lend(config, sizeof(config));
	uint32_t bytes = remote_build(&m, buf);

	(void)state;
	assert_int_equal(bytes, 272 + 5);
	assert_int_equal(parse(bytes, 1), 0);
	assert_int_equal(back.type, REMOTE_MSG_LEND);
	assert_int_equal(back.device, 3);
	assert_int_equal(back.serial, 9);
	assert_string_equal(back.lend.port, "web/net0");
	assert_int_equal(back.tail_bytes, 5);
	assert_memory_equal(back.tail, config, 5);
}

static void hello_says_how_many_descriptors_it_has(void **state)
{
	struct remote_message m = hello();
	uint32_t bytes = remote_build(&m, buf);

	(void)state;
	assert_int_equal(bytes, 168);
	assert_int_equal(parse(bytes, 6), 0);
	assert_string_equal(back.hello.name, "web");
	assert_int_equal(parse(bytes, 5), -EPROTO);
	assert_int_equal(parse(bytes, 7), -EPROTO);
	assert_int_equal(parse(bytes, 0), -EPROTO);
	m.hello.vps = 0;
	bytes = remote_build(&m, buf);
	assert_int_equal(parse(bytes, 2), -EPROTO);
	m.hello.vps = REMOTE_VPS_MAX + 1;
	bytes = remote_build(&m, buf);
	assert_int_equal(parse(bytes, 2 + REMOTE_VPS_MAX + 1), -EPROTO);
}

static void bytes_at_the_end_of_a_message_are_ignored(void **state)
{
	struct remote_message m = hello();
	uint32_t bytes = remote_build(&m, buf) + 8, told = bytes;

	(void)state;
	memcpy(buf + 4, &told, sizeof(told));
	assert_int_equal(parse(bytes, 6), 0);
}

static void a_length_that_is_not_the_datagrams_is_refused(void **state)
{
	struct remote_message m = hello();
	uint32_t bytes = remote_build(&m, buf);

	(void)state;
	for (uint32_t n = 0; n < bytes; n++) {
		assert_int_equal(parse(n, 6), -EPROTO); /* cut off */
	}
	for (uint32_t n = 0; n < bytes; n++) { /* cut off, and says so */
		memcpy(buf + 4, &n, sizeof(n));
		assert_int_equal(parse(n, 6), -EPROTO);
	}
}

static void unknown_types_and_flags_are_refused(void **state)
{
	struct remote_message m = { .type = REMOTE_MSG_PING };
	uint32_t bytes = remote_build(&m, buf);

	(void)state;
	assert_int_equal(parse(bytes, 0), 0);
	assert_int_equal(parse(bytes, 1), -EPROTO);
	buf[2] = 1;
	assert_int_equal(parse(bytes, 0), -EPROTO);
	buf[2] = 0;
	buf[0] = 0;
	assert_int_equal(parse(bytes, 0), -EPROTO);
	buf[0] = REMOTE_MSG_PONG + 1;
	assert_int_equal(parse(bytes, 0), -EPROTO);
}

static void texts_end(void **state)
{
	struct remote_message m = hello(), w = { .type = REMOTE_MSG_WELCOME };

	(void)state;
	memset(m.hello.name, 'x', sizeof(m.hello.name));
	assert_int_equal(parse(remote_build(&m, buf), 6), -EPROTO);
	memset(w.welcome.text, 'x', sizeof(w.welcome.text));
	assert_int_equal(parse(remote_build(&w, buf), 0), -EPROTO);
	remote_copy_text(
		w.welcome.text, sizeof(w.welcome.text),
		"a sentence that is much longer than sixty-four bytes, and so it is cut off");
	assert_int_equal(parse(remote_build(&w, buf), 0), 0);
	assert_int_equal(strlen(back.welcome.text), 63);
}

static void a_gpadl_brings_the_pages_that_it_counts(void **state)
{
	uint64_t gfns[REMOTE_GFNS_MAX] = { 7, 8 };
	struct remote_message m = { .type = REMOTE_MSG_GPADL };

	(void)state;
	m.gpadl.pages = m.gpadl.count = REMOTE_GFNS_MAX;
	m.tail = (const uint8_t *)gfns;
	m.tail_bytes = sizeof(gfns);
	uint32_t bytes = remote_build(&m, buf);

	assert_int_equal(bytes, REMOTE_MESSAGE_BYTES_MAX);
	assert_int_equal(parse(bytes, 0), 0);
	assert_int_equal(back.tail_bytes, sizeof(gfns));
	m.gpadl.first = 1; /* beyond the whole */
	assert_int_equal(parse(remote_build(&m, buf), 0), -EPROTO);
	m.gpadl.first = 0;
	m.gpadl.pages = REMOTE_GPADL_PAGES_MAX + 1;
	assert_int_equal(parse(remote_build(&m, buf), 0), -EPROTO);
	m.gpadl.pages = 2;
	m.gpadl.count = 2;
	m.tail_bytes = 8; /* fewer than it says */
	assert_int_equal(parse(remote_build(&m, buf), 0), -EPROTO);
	m.gpadl.count = 0;
	assert_int_equal(parse(remote_build(&m, buf), 0), -EPROTO);
}

static void counts_have_limits(void **state)
{
	const uint8_t config[REMOTE_CONFIG_BYTES_MAX + 1] = { 0 };
	struct remote_message m = lend(config, REMOTE_CONFIG_BYTES_MAX);
	struct remote_message recall = { .type = REMOTE_MSG_RECALL };
	uint8_t relids[4 * (REMOTE_CHANNELS_MAX + 1)] = { 0 };

	(void)state;
	assert_int_equal(parse(remote_build(&m, buf), 1), 0);
	m = lend(config, REMOTE_CONFIG_BYTES_MAX + 1);
	assert_int_equal(parse(remote_build(&m, buf), 1), -EPROTO);
	m = lend(config, 0);
	m.lend.channels = REMOTE_CHANNELS_MAX + 1;
	assert_int_equal(parse(remote_build(&m, buf), 1), -EPROTO);
	m.lend.channels = 0;
	assert_int_equal(parse(remote_build(&m, buf), 1), -EPROTO);
	recall.recall.close_count = REMOTE_CHANNELS_MAX;
	recall.tail = relids;
	recall.tail_bytes = 4 * REMOTE_CHANNELS_MAX;
	assert_int_equal(parse(remote_build(&recall, buf), 0), 0);
	recall.recall.close_count++;
	recall.tail_bytes += 4;
	assert_int_equal(parse(remote_build(&recall, buf), 0), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_built_is_parsed),
		cmocka_unit_test(hello_says_how_many_descriptors_it_has),
		cmocka_unit_test(bytes_at_the_end_of_a_message_are_ignored),
		cmocka_unit_test(a_length_that_is_not_the_datagrams_is_refused),
		cmocka_unit_test(unknown_types_and_flags_are_refused),
		cmocka_unit_test(texts_end),
		cmocka_unit_test(a_gpadl_brings_the_pages_that_it_counts),
		cmocka_unit_test(counts_have_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

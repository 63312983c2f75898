/* SPDX-License-Identifier: MIT */
/* What the DNS filter reads, and what it changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "ext/dns_match.h"
#include "ext/spread.h"

static size_t question(uint8_t *to, const char *labels, size_t bytes)
{
	memset(to, 0, 12);
	to[5] = 1;
	memcpy(to + 12, labels, bytes);
	return 12 + bytes;
}

static void names_are_read_in_lower_case(void **state)
{
	uint8_t message[100];
	char name[DNS_NAME_BYTES];
	size_t bytes = question(message, "\3Www\7eXa/ple\3net\0\0\1\0\1", 21);

	(void)state;
	assert_true(dns_question(message, bytes, name));
	assert_string_equal(name, "www.exa?ple.net");
	bytes = question(message, "\0\0\1\0\1", 5);
	assert_true(dns_question(message, bytes, name));
	assert_string_equal(name, "");
}

static void what_is_no_question_is_none(void **state)
{
	uint8_t message[400];
	char name[DNS_NAME_BYTES];
	size_t bytes = question(message, "\3www\3net\0", 10);

	(void)state;
	for (size_t i = 0; i < bytes - 1; i++) {
		assert_false(dns_question(message, i, name));
	}
	message[2] = 0x80; /* an answer */
	assert_false(dns_question(message, bytes, name));
	message[2] = 0;
	message[5] = 0; /* no question */
	assert_false(dns_question(message, bytes, name));
	message[5] = 1;
	message[12] = 0xc0; /* a pointer */
	assert_false(dns_question(message, bytes, name));
	memset(message + 12, 63, 300); /* longer than names are */
	assert_false(dns_question(message, 312, name));
}

static void suffixes_end_at_dots(void **state)
{
	(void)state;
	assert_true(dns_has_suffix("example.net", "example.net"));
	assert_true(dns_has_suffix("www.example.net", "example.net"));
	assert_false(dns_has_suffix("badexample.net", "example.net"));
	assert_false(dns_has_suffix("net", "example.net"));
}

static void a_dscp_leaves_the_checksum_right(void **state)
{
	uint8_t frame[60] = { 0 };
	uint32_t sum = 0;

	(void)state;
	frame[14] = 0x45;
	frame[15] = 3;
	memset(frame + 18, 0x5a, 16);
	bytes_put_be16(frame + 24, 0);
	for (int i = 0; i < 20; i += 2) {
		sum += bytes_be16(frame + 14 + i);
	}
	sum = (sum & 0xffff) + (sum >> 16);
	bytes_put_be16(frame + 24, (uint16_t)~sum);
	assert_true(dns_set_dscp(frame, sizeof(frame), 14, 46, true));
	assert_int_equal(frame[15], 46 << 2 | 3);
	sum = 0;
	for (int i = 0; i < 20; i += 2) {
		sum += bytes_be16(frame + 14 + i);
	}
	sum = (sum & 0xffff) + (sum >> 16);
	assert_int_equal(sum, 0xffff);
	assert_false(dns_set_dscp(frame, 30, 14, 46, true));
	assert_false(dns_set_dscp(frame, sizeof(frame), 0, 46, true));
	bytes_put_be16(frame + 14, 0x6fff);
	assert_true(dns_set_dscp(frame, sizeof(frame), 14, 1, true));
	assert_int_equal(bytes_be16(frame + 14), 0x607f);
}

static void a_member_that_leaves_moves_only_its_own_flows(void **state)
{
	uint16_t all[4] = { 3, 7, 200, 9 }, fewer[3] = { 3, 200, 9 };
	unsigned int counts[256] = { 0 };

	(void)state;
	assert_int_equal(spread_pick(all, 0, 1), -1);
	for (uint32_t hash = 0; hash < 4000; hash++) {
		int before = spread_pick(all, 4, hash), after = spread_pick(fewer, 3, hash);

		counts[before]++;
		assert_true(before == 7 ? after != 7 : after == before);
	}
	for (int i = 0; i < 4; i++) {
		assert_in_range(counts[all[i]], 800, 1200);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_read_in_lower_case),
		cmocka_unit_test(what_is_no_question_is_none),
		cmocka_unit_test(suffixes_end_at_dots),
		cmocka_unit_test(a_dscp_leaves_the_checksum_right),
		cmocka_unit_test(a_member_that_leaves_moves_only_its_own_flows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/bytes.h"
#include "base/guid.h"
#include "base/num.h"

static const struct guid nic = GUID(0xf8615163, 0xdf3e, 0x46c5, 0x913f, 0xf2d2f965ed0e);

static void the_initializer_has_microsofts_byte_order(void **state)
{
	const uint8_t wire[16] = { 0x63, 0x51, 0x61, 0xf8, 0x3e, 0xdf, 0xc5, 0x46,
				   0x91, 0x3f, 0xf2, 0xd2, 0xf9, 0x65, 0xed, 0x0e };

	assert_memory_equal(nic.bytes, wire, 16);
}

static void printed_and_parsed_are_the_same(void **state)
{
	char text[GUID_STRING_BYTES];
	struct guid g;

	assert_string_equal(guid_format(&nic, text), "f8615163-df3e-46c5-913f-f2d2f965ed0e");
	assert_int_equal(guid_parse(text, &g), 0);
	assert_true(guid_is_equal(&g, &nic));
	assert_int_equal(guid_parse("{F8615163-DF3E-46C5-913F-F2D2F965ED0E}", &g), 0);
	assert_true(guid_is_equal(&g, &nic));
}

static void broken_text_is_refused(void **state)
{
	static const char *const bad[] = { "",
					   "f",
					   "f8615163",
					   "{f8615163-df3e-46c5-913f-f2d2f965ed0e",
					   "f8615163-df3e-46c5-913f-f2d2f965ed0",
					   "f8615163-df3e-46c5-913f-f2d2f965ed0e0",
					   "g8615163-df3e-46c5-913f-f2d2f965ed0e",
					   "f8615163xdf3e-46c5-913f-f2d2f965ed0e" };
	struct guid g;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(guid_parse(bad[i], &g), -EINVAL);
	}
}

static void names_give_stable_and_different_guids(void **state)
{
	struct guid a, b, again;

	guid_from_name("disk0", &a);
	guid_from_name("disk1", &b);
	guid_from_name("disk0", &again);
	assert_false(guid_is_equal(&a, &b));
	assert_true(guid_is_equal(&a, &again));
}

static void a_cursor_fails_once_and_stays_failed(void **state)
{
	const uint8_t bytes[] = { 1, 2, 3, 4, 5 };
	struct bytes_cursor c = bytes_cursor(bytes, sizeof(bytes));

	assert_int_equal(bytes_take_le32(&c), 0x04030201);
	assert_int_equal(bytes_take_le16(&c), 0);
	assert_true(c.failed);
	assert_int_equal(bytes_take_u8(&c), 0);
}

static void ranges_do_not_overflow(void **state)
{
	assert_true(num_range_fits(0, 10, 10));
	assert_false(num_range_fits(1, 10, 10));
	assert_false(num_range_fits(UINT64_MAX, 2, 10));
	assert_false(num_range_fits(2, UINT64_MAX, 10));
	assert_true(num_range_fits(10, 0, 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_initializer_has_microsofts_byte_order),
		cmocka_unit_test(printed_and_parsed_are_the_same),
		cmocka_unit_test(broken_text_is_refused),
		cmocka_unit_test(names_give_stable_and_different_guids),
		cmocka_unit_test(a_cursor_fails_once_and_stays_failed),
		cmocka_unit_test(ranges_do_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

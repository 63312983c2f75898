/* SPDX-License-Identifier: MIT */
/* CRC-32C: the values of RFC 3720, and pieces of any length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"

static void values_are_those_of_the_rfc(void **state)
{
	uint8_t buf[32];

	memset(buf, 0, sizeof(buf));
	assert_int_equal(crc32c(0, buf, 32), 0x8a9136aa);
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(crc32c(0, buf, 32), 0x62a8ab43);
	for (uint8_t i = 0; i < 32; i++) {
		buf[i] = i;
	}
	assert_int_equal(crc32c(0, buf, 32), 0x46dd794e);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, buf, 0), 0);
}

/* Bit by bit, as the definition has it; every split and every alignment of ours must agree. */
static void any_split_gives_the_same(void **state)
{
	uint8_t buf[61];
	uint32_t plain = ~0U;

	for (size_t i = 0; i < sizeof(buf); i++) {
		buf[i] = (uint8_t)(i * 37 + 11);
		plain ^= buf[i];
		for (int bit = 0; bit < 8; bit++) {
			plain = plain >> 1 ^ (plain & 1 ? 0x82f63b78U : 0);
		}
	}
	for (size_t split = 0; split <= sizeof(buf); split++) {
		uint32_t crc = crc32c(0, buf, split);

		assert_int_equal(crc32c(crc, buf + split, sizeof(buf) - split), ~plain);
	}
}

static void processors_without_the_instruction_agree(void **state)
{
	uint8_t buf[300];

	for (size_t i = 0; i < sizeof(buf); i++) {
		buf[i] = (uint8_t)(i * 91 + 3);
	}
	for (size_t n = 0; n < sizeof(buf); n++) {
		assert_int_equal(crc32c_plain(5, buf, n), crc32c(5, buf, n));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_those_of_the_rfc),
		cmocka_unit_test(any_split_gives_the_same),
		cmocka_unit_test(processors_without_the_instruction_agree),
	};

	return cmocka_run_group_tests_name("base/crc32c", tests, NULL, NULL);
}

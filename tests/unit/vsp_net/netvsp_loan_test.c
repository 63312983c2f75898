/* SPDX-License-Identifier: MIT */
#include "vsp/net/netvsp_loan.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void what_is_built_is_parsed(void **state)
{
	const struct netvsp_loan loan = { .name = "net3",
					  .has_mac = true,
					  .mac = { 2, 0, 0, 0, 0, 9 },
					  .queues_max = 4,
					  .no_rsc = true,
					  .nvsp_max = 0x50000 };
	struct netvsp_loan again;
	const uint8_t *bytes;
	struct save save;
	size_t length;

	(void)state;
	save_init(&save);
	netvsp_loan_build(&loan, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	assert_int_equal(netvsp_loan_parse(bytes, length, &again), 0);
	assert_string_equal(again.name, loan.name);
	assert_true(again.has_mac);
	assert_memory_equal(again.mac, loan.mac, sizeof(loan.mac));
	assert_int_equal(again.queues_max, loan.queues_max);
	assert_true(again.no_rsc);
	assert_int_equal(again.nvsp_max, loan.nvsp_max);
	/* Half of it is nonsense. */
	assert_int_equal(netvsp_loan_parse(bytes, length - 1, &again), -EBADMSG);
	save_fini(&save);
}

static void nothing_at_all_is_a_nic_with_defaults(void **state)
{
	struct netvsp_loan loan;

	(void)state;
	assert_int_equal(netvsp_loan_parse(NULL, 0, &loan), 0);
	assert_string_equal(loan.name, "net0");
	assert_false(loan.has_mac);
	assert_int_equal(loan.queues_max, 0);
}

static void a_name_that_is_none_is_refused(void **state)
{
	char name[NETVSP_NAME_BYTES_MAX + 1];
	struct netvsp_loan loan;
	const uint8_t *bytes;
	struct save save;
	size_t length;

	(void)state;
	memset(name, 'a', sizeof(name));
	for (size_t n = 0; n <= 2; n++) {
		save_init(&save);
		save_bytes(&save, 1, n == 2 ? "a\0b" : name,
			   n == 0   ? 0
			   : n == 1 ? sizeof(name)
				    : 3);
		assert_int_equal(save_finish(&save, &bytes, &length), 0);
		assert_int_equal(netvsp_loan_parse(bytes, length, &loan), -EBADMSG);
		save_fini(&save);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_built_is_parsed),
		cmocka_unit_test(nothing_at_all_is_a_nic_with_defaults),
		cmocka_unit_test(a_name_that_is_none_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

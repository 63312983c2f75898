/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

static void entries_come_out_in_order_and_may_leave_twice(void **state)
{
	struct list head = LIST_INIT(head), a, b, c;

	list_append(&head, &b);
	list_append(&head, &c);
	list_prepend(&head, &a);
	assert_ptr_equal(head.next, &a);
	assert_ptr_equal(a.next, &b);
	assert_ptr_equal(head.prev, &c);
	list_remove(&b);
	list_remove(&b);
	assert_ptr_equal(a.next, &c);
	assert_ptr_equal(c.prev, &a);
}

static void a_list_is_taken_whole_whatever_its_length(void **state)
{
	for (unsigned int count = 0; count <= 3; count++) {
		struct list from = LIST_INIT(from), to, entries[3], late;

		for (unsigned int i = 0; i < count; i++) {
			list_append(&from, &entries[i]);
		}
		list_take(&from, &to);
		assert_true(list_is_empty(&from));
		list_append(&from, &late); /* joins the old one only */
		for (unsigned int i = 0; i < count; i++) {
			assert_ptr_equal(to.next, &entries[i]);
			list_remove(to.next);
		}
		assert_true(list_is_empty(&to));
		assert_ptr_equal(from.next, &late);
		assert_ptr_equal(from.prev, &late);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_come_out_in_order_and_may_leave_twice),
		cmocka_unit_test(a_list_is_taken_whole_whatever_its_length),
	};

	return cmocka_run_group_tests_name("base/list", tests, NULL, NULL);
}

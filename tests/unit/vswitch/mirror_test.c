/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vswitch/mirror.h"

static void each_direction_has_its_own_targets(void **state)
{
	(void)state;
	static struct mirror mirror;
	struct mirror_session sessions[2] = { { .directions = MIRROR_IN, .target = 9 },
					      { .directions = MIRROR_IN | MIRROR_OUT,
						.target = 200 } };
	struct diag diag;
	const port_set *to;

	port_set_add(&sessions[0].sources, 1);
	port_set_add(&sessions[1].sources, 1);
	port_set_add(&sessions[1].sources, 255);
	assert_int_equal(mirror_compile(sessions, 2, &mirror, &diag), 0);
	to = mirror_targets(&mirror, 1, false);
	assert_non_null(to);
	assert_true(port_set_has(to, 9) && port_set_has(to, 200));
	to = mirror_targets(&mirror, 1, true);
	assert_true(to && !port_set_has(to, 9) && port_set_has(to, 200));
	assert_non_null(mirror_targets(&mirror, 255, true));
	assert_null(mirror_targets(&mirror, 9, false));
	assert_int_equal(mirror_compile(NULL, 0, &mirror, &diag), 0);
	assert_null(mirror_targets(&mirror, 1, false));
}

static void sessions_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	static struct mirror mirror;
	static struct mirror_session many[MIRROR_SESSIONS_MAX + 1];
	struct mirror_session good = { .directions = MIRROR_IN, .target = 9 }, bad;
	struct diag diag;

	assert_int_equal(mirror_compile(&good, 1, &mirror, &diag), -EINVAL);
	port_set_add(&good.sources, 1);
	assert_int_equal(mirror_compile(&good, 1, &mirror, &diag), 0);
	bad = good;
	bad.directions = 0;
	assert_int_equal(mirror_compile(&bad, 1, &mirror, &diag), -EINVAL);
	bad = good;
	bad.target = VSWITCH_PORTS_MAX;
	assert_int_equal(mirror_compile(&bad, 1, &mirror, &diag), -EINVAL);
	bad = good;
	bad.target = 1;
	assert_int_equal(mirror_compile(&bad, 1, &mirror, &diag), -EINVAL);
	assert_int_equal(mirror_compile(many, MIRROR_SESSIONS_MAX + 1, &mirror, &diag), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_direction_has_its_own_targets),
		cmocka_unit_test(sessions_that_make_no_sense_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

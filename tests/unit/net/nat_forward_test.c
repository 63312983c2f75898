/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/num.h"
#include "net/net.h"

static void forwards_are_read(void **state)
{
	const struct {
		const char *text;
		struct net_forward want;
	} cases[] = {
		{ "tcp:2222:22", { false, 0, 2222, 0, 22 } },
		{ "udp:53:5353", { true, 0, 53, 0, 5353 } },
		{ "tcp:127.0.0.1:2222:22", { false, 0x7f000001, 2222, 0, 22 } },
		{ "tcp:2222:10.0.2.15:22", { false, 0, 2222, 0x0a00020f, 22 } },
		{ "tcp:127.0.0.1:2222:10.0.2.15:22", { false, 0x7f000001, 2222, 0x0a00020f, 22 } },
		{ "tcp:65535:1", { false, 0, 65535, 0, 1 } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct net_forward f;
		struct diag diag;

		assert_int_equal(net_nat_parse_forward(cases[i].text, &f, &diag), 0);
		assert_int_equal(f.udp, cases[i].want.udp);
		assert_int_equal(f.host_address, cases[i].want.host_address);
		assert_int_equal(f.host_port, cases[i].want.host_port);
		assert_int_equal(f.guest_address, cases[i].want.guest_address);
		assert_int_equal(f.guest_port, cases[i].want.guest_port);
	}
}

static void others_are_refused_by_name(void **state)
{
	const char *const bad[] = {
		"",
		"tcp",
		"tcp:",
		"tcp:22",
		"tcp::22",
		"tcp:22:",
		"icmp:1:2",
		"tcp:0:22",
		"tcp:65536:22",
		"tcp:-1:22",
		"tcp: 22:22",
		"tcp:22:22:",
		"tcp:22:22:3",
		"tcp:1.2.3:2:3",
		"tcp:a:b",
		"tcp:1.2.3.4",
		"tcp:1.2.3.4:5:6.7.8.9:10:11",
		"tcp:22x:22",
		"tcp:99999999999999999999:22",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct net_forward f;
		struct diag diag = { "" };

		assert_int_equal(net_nat_parse_forward(bad[i], &f, &diag), -EINVAL);
		assert_non_null(strstr(diag.text, bad[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forwards_are_read),
		cmocka_unit_test(others_are_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

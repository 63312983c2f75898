/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fault.h"
#include "vswitch/acl.h"

static struct acl *compile(const struct acl_rule *rules, unsigned int count,
			   enum acl_direction direction)
{
	struct acl *acl = NULL;
	struct diag diag;

	assert_int_equal(acl_compile(rules, count, direction, &acl, &diag), 0);
	return acl;
}

static struct vframe_ip ipv4(uint32_t ip)
{
	return (struct vframe_ip){ .lo = 0xffffULL << 32 | ip };
}

static struct vframe tcp_frame(uint32_t from, uint32_t to, uint16_t port_from, uint16_t port_to)
{
	return (struct vframe){ .net = { .bytes = 100 },
				.key = { .ethertype = 0x0800,
					 .ip_version = 4,
					 .protocol = 6,
					 .flags = VKEY_L4,
					 .ip_from = ipv4(from),
					 .ip_to = ipv4(to),
					 .port_from = port_from,
					 .port_to = port_to } };
}

static void the_first_match_by_priority_decides(void **state)
{
	(void)state;
	static const struct acl_rule rules[] = {
		{ .id = 1, .priority = 20, .action = ACL_DENY },
		{ .id = 2,
		  .priority = 10,
		  .action = ACL_ALLOW,
		  .protocol = 6,
		  .is_stateful = true },
	};
	struct acl *acl = compile(rules, 2, ACL_IN);
	struct vframe frame = tcp_frame(1, 2, 3, 4);
	struct acl_verdict verdict = acl_match(acl, NULL, &frame);

	assert_int_equal(verdict.action, ACL_ALLOW);
	assert_true(verdict.wants_flow);
	assert_int_equal(acl_rule_at(acl, (unsigned int)verdict.rule)->id, 2);
	frame.key.protocol = 17;
	assert_int_equal(acl_match(acl, NULL, &frame).action, ACL_DENY);
	acl_destroy(acl);
}

static void no_match_is_allowed(void **state)
{
	(void)state;
	struct acl *acl = compile(NULL, 0, ACL_OUT);
	struct vframe frame = tcp_frame(1, 2, 3, 4);

	assert_int_equal(acl_match(acl, NULL, &frame).action, ACL_ALLOW);
	assert_int_equal(acl_match(acl, NULL, &frame).rule, -1);
	acl_destroy(acl);
}

static void local_is_the_ports_side_in_both_directions(void **state)
{
	(void)state;
	struct acl_rule rule = { .id = 1,
				 .action = ACL_DENY,
				 .protocol = 6,
				 .local = { ipv4(0x0a000001), 128 },
				 .local_ports = { 80, 90 } };
	struct acl *in = compile(&rule, 1, ACL_IN), *out = compile(&rule, 1, ACL_OUT);
	struct vframe sent = tcp_frame(0x0a000001, 9, 85, 1), got = tcp_frame(9, 0x0a000001, 1, 85);

	assert_int_equal(acl_match(in, NULL, &sent).action, ACL_DENY);
	assert_int_equal(acl_match(in, NULL, &got).action, ACL_ALLOW);
	assert_int_equal(acl_match(out, NULL, &got).action, ACL_DENY);
	assert_int_equal(acl_match(out, NULL, &sent).action, ACL_ALLOW);
	acl_destroy(in);
	acl_destroy(out);
}

static void counting_rules_count_and_go_on(void **state)
{
	(void)state;
	static const struct acl_rule rules[] = {
		{ .id = 7, .priority = 1, .action = ACL_COUNT },
		{ .id = 8, .priority = 2, .action = ACL_DENY, .protocol = 17 },
	};
	struct acl *acl = compile(rules, 2, ACL_IN), *next = compile(rules, 1, ACL_IN);
	struct acl_counter *counters, *carried;
	struct vframe frame = tcp_frame(1, 2, 3, 4);

	assert_int_equal(acl_counters_create(acl, &counters), 0);
	assert_int_equal(acl_counters_create(next, &carried), 0);
	assert_int_equal(acl_match(acl, counters, &frame).action, ACL_ALLOW);
	assert_int_equal(counter_read(&counters[0].frames), 1);
	assert_int_equal(counter_read(&counters[0].bytes), 100);
	assert_int_equal(counter_read(&counters[1].frames), 0);
	acl_counters_carry(next, carried, acl, counters);
	acl_counters_carry(next, carried, NULL, NULL);
	assert_int_equal(counter_read(&carried[0].bytes), 100);
	/* one of them, or all, begins anew; what was counted in an earlier life is added */
	assert_true(acl_counters_base(acl, counters, 8, 3, 300));
	assert_true(acl_counters_base(acl, counters, 7, 1, 50));
	assert_false(acl_counters_base(acl, counters, 9, 3, 300));
	assert_int_equal(counter_read(&counters[0].bytes), 150);
	acl_counters_zero(acl, counters, 7);
	assert_int_equal(counter_read(&counters[0].frames), 0);
	assert_int_equal(counter_read(&counters[0].bytes), 0);
	assert_int_equal(counter_read(&counters[1].frames), 3);
	acl_counters_zero(acl, counters, 0);
	assert_int_equal(counter_read(&counters[1].frames), 0);
	assert_int_equal(counter_read(&counters[1].bytes), 0);
	acl_counters_destroy(counters);
	acl_counters_destroy(carried);
	acl_destroy(acl);
	acl_destroy(next);
}

static void pieces_behind_the_first_are_denied_by_ports_and_not_allowed_by_them(void **state)
{
	(void)state;
	struct acl_rule rule = {
		.id = 1, .action = ACL_DENY, .protocol = 6, .remote_ports = { 80, 80 }
	};
	struct vframe frame = tcp_frame(1, 2, 0, 0);
	struct acl *acl = compile(&rule, 1, ACL_IN);

	frame.key.flags = VKEY_FRAGMENT;
	assert_int_equal(acl_match(acl, NULL, &frame).rule, 0);
	acl_destroy(acl);
	rule.action = ACL_ALLOW;
	acl = compile(&rule, 1, ACL_IN);
	assert_int_equal(acl_match(acl, NULL, &frame).rule, -1);
	acl_destroy(acl);
}

static void a_hidden_protocol_is_denied_by_protocol(void **state)
{
	(void)state;
	struct acl_rule rule = {
		.id = 1, .action = ACL_DENY, .protocol = 58, .has_icmp_type = true, .icmp_type = 134
	};
	struct vframe frame = { .key = {
					.ip_version = 6, .protocol = 44, .flags = VKEY_FRAGMENT } };
	struct acl *acl = compile(&rule, 1, ACL_OUT);

	assert_int_equal(acl_match(acl, NULL, &frame).action, ACL_DENY);
	frame.key.protocol = 17;
	assert_int_equal(acl_match(acl, NULL, &frame).action, ACL_ALLOW);
	acl_destroy(acl);
}

static void an_ipv4_rule_does_not_take_mapped_addresses_of_ipv6(void **state)
{
	(void)state;
	struct acl_rule rule = { .id = 1, .action = ACL_DENY, .remote = { ipv4(0), 96 } };
	struct acl *acl = compile(&rule, 1, ACL_IN);
	struct vframe frame = tcp_frame(1, 2, 3, 4);

	assert_int_equal(acl_match(acl, NULL, &frame).action, ACL_DENY);
	frame.key.ip_version = 6;
	assert_int_equal(acl_match(acl, NULL, &frame).action, ACL_ALLOW);
	acl_destroy(acl);
}

static void macs_and_ethertypes_are_compared(void **state)
{
	(void)state;
	struct acl_rule rules[2] = {
		{ .id = 1, .action = ACL_DENY, .ethertype = 0x0806 },
		{ .id = 2, .action = ACL_DENY, .has_mac = true, .mac = { 2, 0, 0, 0, 0, 9 } }
	};
	struct acl *acl = compile(rules, 2, ACL_IN);
	struct vframe frame = { .key = { .ethertype = 0x0806 } };

	assert_int_equal(acl_match(acl, NULL, &frame).rule, 0);
	frame.key.ethertype = 0x1234;
	assert_int_equal(acl_match(acl, NULL, &frame).rule, -1);
	memcpy(frame.key.to, rules[1].mac, 6);
	assert_int_equal(acl_match(acl, NULL, &frame).rule, 1);
	acl_destroy(acl);
}

static void rules_that_make_no_sense_are_refused(void **state)
{
	(void)state;
	static struct acl_rule many[ACL_RULES_MAX + 1];
	static const struct acl_rule bad[] = {
		{ .action = 3 },
		{ .action = ACL_DENY, .is_stateful = true },
		{ .idle_s = ACL_IDLE_S_MAX + 1 },
		{ .local = { .bits = 129 } },
		{ .local = { { 0, 0xffffULL << 32 }, 96 }, .remote = { { 1, 0 }, 64 } },
		{ .protocol = 6, .local_ports = { 2, 1 } },
		{ .local_ports = { 1, 2 } },
		{ .protocol = 6, .has_icmp_type = true },
	};
	struct acl *acl;
	struct diag diag;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(acl_compile(&bad[i], 1, ACL_IN, &acl, &diag), -EINVAL);
	}
	assert_int_equal(acl_compile(many, 2, ACL_IN, &acl, &diag), -EINVAL);
	assert_int_equal(acl_compile(many, ACL_RULES_MAX + 1, ACL_IN, &acl, &diag), -E2BIG);
	fault_arm(1);
	assert_int_equal(acl_compile(many, 1, ACL_IN, &acl, &diag), -ENOMEM);
	fault_arm(0);
	for (uint32_t i = 0; i < ACL_RULES_MAX; i++) {
		many[i].id = many[i].priority = ACL_RULES_MAX - i;
	}
	acl = compile(many, ACL_RULES_MAX, ACL_IN);
	assert_int_equal(acl_rules(acl), ACL_RULES_MAX);
	assert_int_equal(acl_rule_at(acl, 0)->id, 1);
	acl_destroy(acl);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_match_by_priority_decides),
		cmocka_unit_test(no_match_is_allowed),
		cmocka_unit_test(local_is_the_ports_side_in_both_directions),
		cmocka_unit_test(counting_rules_count_and_go_on),
		cmocka_unit_test(
			pieces_behind_the_first_are_denied_by_ports_and_not_allowed_by_them),
		cmocka_unit_test(a_hidden_protocol_is_denied_by_protocol),
		cmocka_unit_test(an_ipv4_rule_does_not_take_mapped_addresses_of_ipv6),
		cmocka_unit_test(macs_and_ethertypes_are_compared),
		cmocka_unit_test(rules_that_make_no_sense_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* What `acl list` and `acl zero` answer. */
#include "sw_live_rig.h"
#include "vswitch/stats.h"

static uint16_t number(const struct sw *sw, const char *name)
{
	return (uint16_t)sw_policy_port(sw->config, name);
}

static json_t *show(struct sw *sw, const char *line)
{
	json_t *request = sw_rig_request("acl list", line), *result = json_object(), *list;
	struct diag diag;

	if (sw_show_rules(sw, request, result, &diag)) {
		fail_msg("acl list %s: %s", line, diag.text);
	}
	list = json_incref(json_object_get(result, "acl"));
	json_decref(request);
	json_decref(result);
	return list;
}

/* "ID:FRAMES:BYTES ID:…", in the order of the list. */
static void expect(struct sw *sw, const char *line, const char *wanted)
{
	json_t *list = show(sw, line);
	char got[256] = "";
	size_t length = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		json_int_t rule, frames, bytes;

		assert_int_equal(json_unpack(json_array_get(list, i), "{s:I, s:I, s:I}", "rule",
					     &rule, "frames", &frames, "bytes", &bytes),
				 0);
		length += (size_t)snprintf(got + length, sizeof(got) - length, "%s%lld:%lld:%lld",
					   i ? " " : "", (long long)rule, (long long)frames,
					   (long long)bytes);
	}
	json_decref(list);
	assert_string_equal(got, wanted);
}

static int zero(struct sw *sw, const char *line, struct diag *diag)
{
	json_t *request = sw_rig_request("acl zero", line), *result = json_object();
	int err = sw_zero_rules(sw, request, result, diag);

	json_decref(request);
	json_decref(result);
	return err;
}

static void must_zero(struct sw *sw, const char *line)
{
	struct diag diag;

	if (zero(sw, line, &diag)) {
		fail_msg("acl zero %s: %s", line, diag.text);
	}
}

/* Two ports with a profile that has a rule, and rules of their own. */
static void init(struct sw *sw)
{
	live_init(sw, sw_rig_config());
	live_do(sw, "profile add", "name=gold");
	live_do(sw, "port add", "name=web profile=gold");
	live_do(sw, "port add", "name=db profile=gold");
	live_do(sw, "acl add", "rule=9 profile=gold direction=in action=count");
	live_do(sw, "acl add", "rule=3 port=web direction=out action=deny proto=udp");
	live_do(sw, "acl add", "rule=4 port=uplink direction=in action=deny");
	vswitch_rule_base(sw->vswitch, number(sw, "web"), false, 9, 10, 1000);
	vswitch_rule_base(sw->vswitch, number(sw, "db"), false, 9, 1, 100);
	vswitch_rule_base(sw->vswitch, number(sw, "web"), true, 3, 5, 500);
}

static void rules_are_listed_with_what_they_counted(void **state)
{
	struct sw sw;
	json_t *list;

	(void)state;
	init(&sw);
	expect(&sw, "", "9:11:1100 3:5:500 4:0:0");
	/* at one port: its own and its profile's, as they count there */
	expect(&sw, "port=web", "9:10:1000 3:5:500");
	expect(&sw, "port=db", "9:1:100");
	/* which has no number while there is no uplink */
	expect(&sw, "port=uplink", "4:0:0");
	list = show(&sw, "port=web");
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "action")),
			    "deny");
	json_decref(list);
	live_fini(&sw);
}

static void counters_stay_when_something_else_changes(void **state)
{
	struct sw sw;

	(void)state;
	init(&sw);
	live_do(&sw, "port set", "port=web link=down");
	live_do(&sw, "acl add", "rule=1 port=web direction=in action=allow priority=1");
	live_do(&sw, "set", "age=77");
	expect(&sw, "port=web", "9:10:1000 3:5:500 1:0:0");
	/* a rule that is gone is forgotten, also when its number comes again */
	live_do(&sw, "acl remove", "rule=3");
	live_do(&sw, "acl add", "rule=3 port=web direction=out action=deny proto=udp");
	expect(&sw, "", "9:11:1100 4:0:0 1:0:0 3:0:0");
	live_fini(&sw);
}

static void counters_begin_at_0_again(void **state)
{
	struct sw sw;

	(void)state;
	init(&sw);
	must_zero(&sw, "port=web rule=9");
	expect(&sw, "", "9:1:100 3:5:500 4:0:0");
	must_zero(&sw, "rule=3");
	expect(&sw, "", "9:1:100 3:0:0 4:0:0");
	vswitch_rule_base(sw.vswitch, number(&sw, "web"), true, 3, 5, 500);
	must_zero(&sw, "port=db");
	must_zero(&sw, "port=uplink");
	expect(&sw, "", "9:0:0 3:5:500 4:0:0");
	must_zero(&sw, "");
	expect(&sw, "", "9:0:0 3:0:0 4:0:0");
	live_fini(&sw);
}

static void refused(struct sw *sw, const char *line, int err, const char *word)
{
	struct diag diag = { .text = "" };
	int got = zero(sw, line, &diag);

	if (got != err || !strstr(diag.text, word) || strchr(diag.text, '\n')) {
		fail_msg("acl zero %s: %d, \"%s\"", line, got, diag.text);
	}
}

static void nonsense_is_refused_and_zeroes_nothing(void **state)
{
	json_t *request = sw_rig_request("acl list", "port=none"), *result = json_object();
	struct diag diag;
	struct sw sw;

	(void)state;
	init(&sw);
	refused(&sw, "port=none", -EINVAL, "no port \"none\"");
	refused(&sw, "rule=77", -ENOENT, "no rule 77");
	refused(&sw, "rule=x", -EINVAL, "number");
	refused(&sw, "rule=-1", -ENOENT, "no rule -1");
	assert_int_equal(sw_show_rules(&sw, request, result, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "no port"));
	expect(&sw, "", "9:11:1100 3:5:500 4:0:0");
	json_decref(request);
	json_decref(result);
	live_fini(&sw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rules_are_listed_with_what_they_counted),
		cmocka_unit_test(counters_stay_when_something_else_changes),
		cmocka_unit_test(counters_begin_at_0_again),
		cmocka_unit_test(nonsense_is_refused_and_zeroes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

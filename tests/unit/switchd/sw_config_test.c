/* SPDX-License-Identifier: MIT */
#include "switchd/sw_config.h"

#include "sw_rig.h"

static struct sw_config *whole_config(void)
{
	struct sw_config *config = sw_rig_config();

	sw_rig_do(&config, "set", "mtu=9000 threads=2 host-port=sw0-host team=hash age=60");
	sw_rig_do(&config, "nat set",
		  "on=on gateway=10.0.2.1 dns=9.9.9.9 range=10.0.2.10-10.0.2.20 lease=900 "
		  "domain=lan port-leases=3");
	sw_rig_do(&config, "nat reserve", "mac=02:00:00:00:00:07 ip=10.0.2.99");
	sw_rig_do(&config, "nat forward", "forward=tcp:2222:10.0.2.15:22");
	sw_rig_do(&config, "profile add", "name=gold arp-guard=snoop pps-max=1000");
	sw_rig_do(&config, "port add",
		  "name=web profile=gold vlan=trunk:1,2-20 macs=02:00:00:00:00:01");
	sw_rig_do(&config, "port add", "name=db vlan=private:5/isolated:6");
	sw_rig_do(&config, "acl add", "port=web direction=in action=deny remote=fe80::/10");
	sw_rig_do(&config, "mirror set", "mirror=m from=web to=db");
	sw_rig_do(&config, "uplink add", "dev=eth1 mode=packet");
	sw_rig_do(&config, "fdb add", "mac=02:00:00:00:00:09 port=db vlan=7");
	return config;
}

static char *text_of(const struct sw_config *config, bool everything)
{
	json_t *json = sw_config_build(config, everything);
	char *text;

	assert_non_null(json);
	text = json_dumps(json, JSON_INDENT(2));
	json_decref(json);
	assert_non_null(text);
	return text;
}

static void a_file_has_what_was_said_and_comes_back(void **state)
{
	struct sw_config *config = whole_config(), *again;
	char *text = text_of(config, false), *text_again;
	struct diag diag;

	(void)state;
	if (sw_config_parse_text(text, strlen(text), &again, &diag)) {
		fail_msg("%s\n%s", diag.text, text);
	}
	text_again = text_of(again, false);
	assert_string_equal(text, text_again);
	assert_null(strstr(text, "querier")); /* nobody said it */
	assert_int_equal(again->settings.mtu, 9000);
	assert_int_equal(sw_port_find(again, "db")->vlan.secondary, 6);
	assert_int_equal(sw_port_find(again, "db")->number, SW_PORT_FIRST + 1);
	free(text);
	free(text_again);
	sw_config_destroy(config);
	sw_config_destroy(again);
}

static void automatic_ports_are_not_in_the_file(void **state)
{
	struct sw_config *config = sw_rig_config();
	struct diag diag;
	char *text;

	(void)state;
	assert_int_equal(sw_config_add_auto(config, "vm/net0", &diag), 0);
	text = text_of(config, false);
	assert_null(strstr(text, "vm/net0"));
	free(text);
	text = text_of(config, true);
	assert_non_null(strstr(text, "vm/net0"));
	free(text);
	sw_config_destroy(config);
}

static void refused(const char *text, const char *word)
{
	struct sw_config *config = NULL;
	struct diag diag = { .text = "" };
	int err = sw_config_parse_text(text, strlen(text), &config, &diag);

	if (err != -EINVAL || !strstr(diag.text, word)) {
		fail_msg("%s: %d, \"%s\"", text, err, diag.text);
	}
	assert_null(config);
}

static void broken_files_are_refused_with_a_sentence(void **state)
{
	(void)state;
	refused("", "line");
	refused("{", "line 1");
	refused("[]", "no JSON object");
	refused("{}", "version");
	refused("{\"version\":2,\"name\":\"a\"}", "version");
	refused("{\"version\":1}", "name");
	refused("{\"version\":1,\"name\":\"a/b\"}", "name");
	refused("{\"version\":1,\"name\":\"a\",\"ports\":{}}", "no list");
	refused("{\"version\":1,\"name\":\"a\",\"ports\":[1]}", "no object");
	refused("{\"version\":1,\"name\":\"a\",\"ports\":[{}]}", "say name=");
	refused("{\"version\":1,\"name\":\"a\",\"ports\":[{\"name\":[]}]}", "neither a text");
	refused("{\"version\":1,\"name\":\"a\",\"ports\":[{\"name\":\"x\"},{\"name\":\"x\"}]}",
		"there already");
	refused("{\"version\":1,\"name\":\"a\",\"settings\":[]}", "no object");
	refused("{\"version\":1,\"name\":\"a\",\"settings\":{\"mtu\":1}}", "mtu");
	refused("{\"version\":1,\"name\":\"a\",\"colour\":1}", "colour");
	refused("{\"version\":1,\"name\":\"a\",\"fdb\":[{\"mac\":\"02:00:00:00:00:01\"}]}",
		"no port");
	refused("{\"version\":1,\"version\":1,\"name\":\"a\"}", "duplicate");
}

static void copies_are_whole(void **state)
{
	struct sw_config *config = whole_config(), *copy;
	char *text = text_of(config, true), *other;

	(void)state;
	assert_int_equal(sw_config_copy(config, &copy), 0);
	sw_config_destroy(config);
	other = text_of(copy, true);
	assert_string_equal(text, other);
	free(text);
	free(other);
	sw_config_destroy(copy);
}

static void names_of_switches_are_plain(void **state)
{
	(void)state;
	assert_true(sw_switch_name_is_good("sw0"));
	assert_true(sw_switch_name_is_good("a.b-c_d"));
	assert_false(sw_switch_name_is_good(""));
	assert_false(sw_switch_name_is_good(".."));
	assert_false(sw_switch_name_is_good("a/b"));
	assert_false(sw_switch_name_is_good("01234567890123456789012345678901"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_has_what_was_said_and_comes_back),
		cmocka_unit_test(automatic_ports_are_not_in_the_file),
		cmocka_unit_test(broken_files_are_refused_with_a_sentence),
		cmocka_unit_test(copies_are_whole),
		cmocka_unit_test(names_of_switches_are_plain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

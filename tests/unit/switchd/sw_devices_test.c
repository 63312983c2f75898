/* SPDX-License-Identifier: MIT */
/* The list of devices that a switch may have, as a file. */
#include "switchd/sw_devices.h"

#include <sys/stat.h>
#include <unistd.h>

#include "sw_dir.h"
#include "sw_rig.h"
#include "switchd/sw_file.h"

static struct sw_devices list;
static struct diag diag;

/* A switch of before there were lists: it has a host's port and two uplinks, and no list. */
static int set_up(void **state)
{
	struct sw_config *config = sw_rig_config();

	sw_rig_do(&config, "set", "kind=external host-port=lan0");
	sw_rig_do(&config, "uplink add", "dev=eth1");
	sw_rig_do(&config, "uplink add", "dev=tap7 mode=tap");
	assert_int_equal(sw_file_save(config, &diag), 0);
	*state = config;
	return 0;
}

static int tear_down(void **state)
{
	sw_config_destroy(*state);
	return sw_file_remove("sw0", &diag);
}

static void expect(unsigned int count)
{
	if (sw_devices_load("sw0", &list, &diag)) {
		fail_msg("%s", diag.text);
	}
	assert_int_equal(list.count, count);
}

static void the_first_list_is_what_the_configuration_has(void **state)
{
	struct sw_config *config = *state;
	char path[SW_PATH_BYTES];
	struct stat st;

	assert_int_equal(sw_devices_load("sw0", &list, &diag), -ENOENT);
	assert_int_equal(sw_devices_make(config, &diag), 0);
	expect(3);
	assert_true(sw_devices_has(&list, "lan0") && sw_devices_has(&list, "eth1") &&
		    sw_devices_has(&list, "tap7"));
	assert_int_equal(sw_path(SW_PATH_DEVICES, "sw0", path, &diag), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* One that is there stays, whatever the configuration has become meanwhile. */
	sw_rig_do(&config, "uplink add", "dev=eth2");
	sw_rig_do(&config, "nat set", "on=on");
	*state = config;
	assert_int_equal(sw_devices_make(config, &diag), 0);
	expect(3);
	assert_int_equal(sw_devices_check("sw0", "eth1", &diag), 0);
	assert_int_equal(sw_devices_check("sw0", "eth2", &diag), -EPERM);
	assert_non_null(strstr(diag.text, "device allow sw0 dev=eth2"));
	assert_int_equal(sw_devices_check("sw0", SW_DEVICE_NAT, &diag), -EPERM);
	/* A switch that is created anew has what it is created with. */
	assert_int_equal(sw_devices_save_for(config, &diag), 0);
	expect(5);
	assert_true(sw_devices_has(&list, SW_DEVICE_NAT));
}

static void the_first_change_keeps_what_was_there(void **state)
{
	bool is_new;

	(void)state;
	/* The keeper that runs is one from before: nobody has made a list yet. */
	assert_int_equal(sw_devices_allow("sw0", "eth5", &is_new, &diag), 0);
	assert_true(is_new);
	expect(4);
	assert_true(sw_devices_has(&list, "eth1") && sw_devices_has(&list, "eth5"));
	assert_int_equal(sw_devices_allow("sw0", "eth1", &is_new, &diag), 0);
	assert_false(is_new);
	assert_int_equal(sw_devices_deny("sw0", "eth1", &diag), 0);
	expect(3);
	assert_false(sw_devices_has(&list, "eth1"));
	assert_int_equal(sw_devices_deny("sw0", "eth1", &diag), -ENOENT);
	assert_int_equal(sw_devices_allow("sw1", "eth1", &is_new, &diag), -ENOENT);
}

static void names_are_names_and_so_many(void **state)
{
	char dev[SW_IFNAME_BYTES];
	bool is_new;
	int err = 0;

	(void)state;
	assert_int_equal(sw_devices_allow("sw0", "eth1/x", &is_new, &diag), -EINVAL);
	assert_int_equal(sw_devices_allow("sw0", ":else", &is_new, &diag), -EINVAL);
	assert_int_equal(sw_devices_allow("sw0", "", &is_new, &diag), -EINVAL);
	for (unsigned int i = 3; !err; i++) {
		snprintf(dev, sizeof(dev), "a-long-name-%u", i);
		err = sw_devices_allow("sw0", dev, &is_new, &diag);
		assert_int_equal(err, i < SW_DEVICES_MAX ? 0 : -ENOSPC);
	}
	expect(SW_DEVICES_MAX);
	assert_int_equal(sw_devices_allow("sw0", "eth1", &is_new, &diag), 0);
}

static void a_broken_list_allows_nothing_and_is_left_alone(void **state)
{
	static const char *const broken[] = { "eth1\na b\n", "eth1\n/\n", ":natx\n" };
	bool is_new;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(broken); i++) {
		assert_int_equal(sw_file_save_devices("sw0", broken[i], strlen(broken[i]), &diag),
				 0);
		assert_int_equal(sw_devices_check("sw0", "eth1", &diag), -EINVAL);
		assert_null(strchr(diag.text, '\n'));
		assert_int_equal(sw_devices_make(*state, &diag), -EINVAL);
		assert_int_equal(sw_devices_allow("sw0", "eth1", &is_new, &diag), -EINVAL);
	}
	assert_int_equal(sw_file_save_devices("sw0", "et\0h1\n", 6, &diag), 0);
	assert_int_equal(sw_devices_load("sw0", &list, &diag), -EINVAL);
	/* comments, empty lines, and no newline at the end */
	assert_int_equal(sw_file_save_devices("sw0", "# x y\n\neth1", 11, &diag), 0);
	expect(1);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_first_list_is_what_the_configuration_has),
		TEST(the_first_change_keeps_what_was_there),
		TEST(names_are_names_and_so_many),
		TEST(a_broken_list_allows_nothing_and_is_left_alone),
	};

	return cmocka_run_group_tests(tests, sw_dir_make, sw_dir_remove);
}

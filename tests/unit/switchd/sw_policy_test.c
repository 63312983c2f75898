/* SPDX-License-Identifier: MIT */
/* What a configuration means to the cores. */
#include "sw_live_rig.h"
#include "vswitch/policy.h"

static const struct port_policy *host(const struct sw *sw)
{
	return &vswitch_policy(sw->vswitch)->ports[SW_PORT_HOST];
}

static void the_hosts_port_has_a_vlan_of_its_own(void **state)
{
	struct sw sw;

	(void)state;
	live_init(&sw, sw_rig_config());
	live_do(&sw, "set", "kind=internal host-port=sw0");
	assert_true(host(&sw)->is_used);
	assert_int_equal(host(&sw)->vlan.mode, VLAN_NONE);
	live_do(&sw, "set", "host-vlan=access:10");
	assert_int_equal(host(&sw)->vlan.mode, VLAN_ACCESS);
	assert_int_equal(host(&sw)->vlan.id, 10);
	live_do(&sw, "set", "host-vlan=trunk:1,20-21");
	assert_int_equal(host(&sw)->vlan.mode, VLAN_TRUNK);
	assert_int_equal(host(&sw)->vlan.id, 1);
	assert_true(vlan_is_allowed(&host(&sw)->vlan, 20) && vlan_is_allowed(&host(&sw)->vlan, 1));
	assert_false(vlan_is_allowed(&host(&sw)->vlan, 22));
	live_do(&sw, "set", "host-vlan=private:100/isolated:101");
	assert_int_equal(host(&sw)->vlan.mode, VLAN_ISOLATED);
	assert_int_equal(vswitch_policy(sw.vswitch)->vlans.primary[101], 100);
	/* it stays what it was when something else is set, and in the file */
	live_do(&sw, "set", "age=77");
	assert_int_equal(host(&sw)->vlan.mode, VLAN_ISOLATED);
	live_do(&sw, "set", "host-vlan=none");
	assert_int_equal(host(&sw)->vlan.mode, VLAN_NONE);
	assert_int_equal(vswitch_policy(sw.vswitch)->vlans.primary[101], 0);
	live_fini(&sw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_hosts_port_has_a_vlan_of_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

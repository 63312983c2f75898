/* SPDX-License-Identifier: MIT */
#include "switchd/sw_change.h"

#include "base/fault.h"
#include "sw_rig.h"
#include "switchd/sw_nat.h"

static void ports_are_added_changed_and_removed(void **state)
{
	struct sw_config *config = sw_rig_config();
	const struct sw_port *port;

	(void)state;
	sw_rig_do(&config, "port add", "name=web vlan=access:10 max=100M burst=64K owner=1000");
	sw_rig_do(&config, "port add", "port=db macs-max=2");
	port = sw_port_find(config, "web");
	assert_non_null(port);
	assert_int_equal(port->number, SW_PORT_FIRST);
	assert_int_equal(port->vlan.mode, SW_VLAN_ACCESS);
	assert_int_equal(port->vlan.id, 10);
	assert_true(port->max_bits == 100000000 && port->burst_bytes == 65536);
	assert_int_equal(port->owner, 1000);
	assert_true(port->link);
	assert_int_equal(sw_port_find(config, "db")->number, SW_PORT_FIRST + 1);
	sw_rig_do(&config, "port set", "port=web link=down vlan=none");
	port = sw_port_find(config, "web");
	assert_false(port->link);
	assert_int_equal(port->vlan.mode, SW_VLAN_NONE);
	assert_true(port->max_bits == 100000000);
	sw_rig_do(&config, "port remove", "port=web");
	assert_null(sw_port_find(config, "web"));
	/* Its number is free again; that of the other stays. */
	sw_rig_do(&config, "port add", "name=mail");
	assert_int_equal(sw_port_find(config, "mail")->number, SW_PORT_FIRST);
	assert_int_equal(sw_port_find(config, "db")->number, SW_PORT_FIRST + 1);
	sw_config_destroy(config);
}

static void nonsense_about_ports_is_refused(void **state)
{
	struct sw_config *config = sw_rig_config();

	(void)state;
	sw_rig_do(&config, "port add", "name=web");
	sw_rig_refused(&config, "port add", "name=web", -EINVAL, "there already");
	sw_rig_refused(&config, "port add", "vlan=none", -EINVAL, "say name=");
	sw_rig_refused(&config, "port add", "name=a colour=red", -EINVAL, "no \"colour\"");
	sw_rig_refused(&config, "port add", "name=a vlan=access:4095", -EINVAL, "access:4095");
	sw_rig_refused(&config, "port add", "name=a weight=0", -EINVAL, "from 1 to 10000");
	sw_rig_refused(&config, "port add", "name=a max=1K", -EINVAL, "max \"1K\"");
	sw_rig_refused(&config, "port add", "name=a burst=64K", -EINVAL, "max=");
	sw_rig_refused(&config, "port add", "name=a profile=gold", -EINVAL, "no profile \"gold\"");
	sw_rig_refused(&config, "port add", "name=host", -EINVAL, "switch's own");
	sw_rig_refused(&config, "port add", "name=uplink", -EINVAL, "switch's own");
	sw_rig_refused(&config, "port set", "port=none link=up", -ENOENT, "no none");
	sw_rig_refused(&config, "port set", "link=up", -EINVAL, "which one");
	sw_rig_refused(&config, "port remove", "port=none", -ENOENT, "no none");
	sw_rig_refused(&config, "port remove", "port=web link=up", -EINVAL, "link");
	sw_rig_refused(&config, "port melt", "port=web", -ENOSYS, "port melt");
	sw_config_destroy(config);
}

static void there_are_no_more_ports_than_fit(void **state)
{
	struct sw_config *config = sw_rig_config();
	char line[32];

	(void)state;
	for (unsigned int i = 0; i < SW_PORTS_MAX; i++) {
		snprintf(line, sizeof(line), "name=p%u", i);
		sw_rig_do(&config, "port add", line);
	}
	sw_rig_refused(&config, "port add", "name=more", -ENOSPC, "at most 240");
	sw_config_destroy(config);
}

static void a_port_has_what_its_profile_says_unless_it_says_it_itself(void **state)
{
	struct sw_config *config = sw_rig_config();
	struct sw_port whole;

	(void)state;
	sw_rig_do(&config, "profile add", "name=gold vlan=access:20 dhcp-guard=on weight=500");
	sw_rig_do(&config, "port add", "name=web profile=gold weight=7");
	sw_port_effective(config, sw_port_find(config, "web"), &whole);
	assert_int_equal(whole.vlan.id, 20);
	assert_true(whole.dhcp_guard);
	assert_int_equal(whole.weight, 7);
	assert_string_equal(whole.name, "web");
	assert_int_equal(whole.number, SW_PORT_FIRST);
	sw_rig_do(&config, "profile set", "profile=gold vlan=access:21");
	sw_port_effective(config, sw_port_find(config, "web"), &whole);
	assert_int_equal(whole.vlan.id, 21);
	/* "default" is everybody's who names none */
	sw_rig_do(&config, "profile add", "name=default router-guard=on");
	sw_rig_do(&config, "port add", "name=plain");
	sw_port_effective(config, sw_port_find(config, "plain"), &whole);
	assert_true(whole.router_guard);
	sw_port_effective(config, sw_port_find(config, "web"), &whole);
	assert_false(whole.router_guard);
	sw_rig_refused(&config, "profile remove", "profile=gold", -EBUSY, "port web");
	sw_rig_refused(&config, "profile add", "name=x profile=gold", -EINVAL, "of its own");
	sw_rig_do(&config, "port set", "port=web profile=default");
	sw_rig_do(&config, "profile remove", "profile=gold");
	sw_config_destroy(config);
}

static void rules_are_numbered_and_go_with_their_port(void **state)
{
	struct sw_config *config = sw_rig_config();
	const struct sw_rule *rule;
	struct diag diag;
	json_t *result = NULL;

	(void)state;
	sw_rig_do(&config, "port add", "name=web");
	assert_int_equal(sw_rig_try(&config, "acl add",
				    "port=web direction=in action=allow proto=tcp "
				    "remote=10.0.0.0/8 local-port=80 stateful=on idle=60",
				    &result, &diag),
			 0);
	assert_int_equal(json_integer_value(json_object_get(result, "rule")), 1);
	json_decref(result);
	sw_rig_do(&config, "acl add", "port=web direction=in action=deny rule=7");
	sw_rig_do(&config, "acl add", "port=web direction=out action=count");
	rule = sw_list_at(config, SW_LIST_RULES, 2);
	assert_int_equal(rule->id, 8);
	rule = sw_list_at(config, SW_LIST_RULES, 0);
	assert_int_equal(rule->remote.bits, 96 + 8);
	assert_true(rule->is_stateful && rule->local_port.from == 80 && rule->local_port.to == 80);
	sw_rig_do(&config, "acl remove", "rule=7");
	assert_int_equal(config->lists[SW_LIST_RULES].count, 2);
	sw_rig_refused(&config, "acl remove", "rule=7", -ENOENT, "no 7");
	sw_rig_do(&config, "port remove", "port=web");
	assert_int_equal(config->lists[SW_LIST_RULES].count, 0);
	sw_config_destroy(config);
}

static void nonsense_in_rules_is_refused(void **state)
{
	struct sw_config *config = sw_rig_config();

	(void)state;
	sw_rig_do(&config, "port add", "name=web");
	sw_rig_refused(&config, "acl add", "action=deny", -EINVAL, "port= or profile=");
	sw_rig_refused(&config, "acl add", "port=none action=deny", -EINVAL, "no port \"none\"");
	sw_rig_refused(&config, "acl add", "profile=none action=deny", -EINVAL, "no profile");
	sw_rig_refused(&config, "acl add", "port=web action=maybe", -EINVAL,
		       "allow, deny or count");
	sw_rig_refused(&config, "acl add", "port=web direction=up", -EINVAL, "in or out");
	sw_rig_refused(&config, "acl add", "port=web local-port=80", -EINVAL, "proto=tcp");
	sw_rig_refused(&config, "acl add", "port=web local=10.0.0.1 remote=fe80::1", -EINVAL,
		       "both");
	sw_rig_refused(&config, "acl add", "port=web ethertype=0x88cc proto=tcp", -EINVAL,
		       "ethertype");
	sw_rig_refused(&config, "acl add", "port=web action=deny stateful=on", -EINVAL,
		       "action=allow");
	sw_rig_refused(&config, "acl add", "port=web idle=5", -EINVAL, "stateful=on");
	sw_rig_do(&config, "acl add", "port=web action=deny rule=5");
	sw_rig_refused(&config, "acl add", "port=web action=allow rule=5", -EINVAL,
		       "there already");
	for (unsigned int i = 1; i < SW_PORT_RULES_MAX / 2; i++) {
		sw_rig_do(&config, "acl add", "port=web action=deny");
	}
	sw_rig_refused(&config, "acl add", "port=web action=deny", -ENOSPC, "at most 128");
	sw_rig_do(&config, "acl add", "port=web direction=out action=deny");
	sw_config_destroy(config);
}

static void mirrors_are_made_changed_and_ended(void **state)
{
	struct sw_config *config = sw_rig_config();
	const struct sw_mirror *mirror;

	(void)state;
	sw_rig_do(&config, "port add", "name=a");
	sw_rig_do(&config, "port add", "name=b");
	sw_rig_do(&config, "port add", "name=watch");
	sw_rig_refused(&config, "mirror set", "mirror=m from=a", -EINVAL, "to=");
	sw_rig_refused(&config, "mirror set", "mirror=m from=a to=none", -EINVAL, "\"none\"");
	sw_rig_refused(&config, "mirror set", "mirror=m from=x to=a", -EINVAL, "\"x\"");
	sw_rig_refused(&config, "mirror set", "mirror=m from=a,watch to=watch", -EINVAL, "itself");
	sw_rig_refused(&config, "mirror set", "from=a to=watch", -EINVAL, "which one");
	sw_rig_do(&config, "mirror set", "mirror=m from=a to=watch");
	sw_rig_do(&config, "mirror set", "mirror=m from=a,b,uplink direction=in");
	assert_int_equal(config->lists[SW_LIST_MIRRORS].count, 1);
	mirror = sw_list_at(config, SW_LIST_MIRRORS, 0);
	assert_int_equal(mirror->from.count, 3);
	assert_int_equal(mirror->direction, SW_IN);
	assert_string_equal(mirror->to, "watch");
	sw_rig_refused(&config, "port remove", "port=b", -EBUSY, "mirror m");
	sw_rig_refused(&config, "port remove", "port=watch", -EBUSY, "mirror m");
	sw_rig_do(&config, "mirror off", "mirror=m");
	sw_rig_refused(&config, "mirror off", "mirror=m", -ENOENT, "no m");
	sw_rig_do(&config, "port remove", "port=watch");
	sw_config_destroy(config);
}

static void the_kind_decides_what_there_may_be(void **state)
{
	struct sw_config *config = sw_rig_config();

	(void)state;
	sw_rig_do(&config, "uplink add", "dev=eth1 mode=packet team=hash");
	assert_int_equal(config->settings.team, SW_TEAM_HASH);
	assert_int_equal(sw_uplink_find(config, "eth1")->number, SW_PORT_UPLINK);
	sw_rig_refused(&config, "set", "kind=internal", -EINVAL, "eth1");
	sw_rig_refused(&config, "set", "host-port=eth1", -EINVAL, "eth1");
	sw_rig_refused(&config, "uplink add", "dev=eth1", -EINVAL, "there already");
	sw_rig_refused(&config, "uplink add", "mode=auto", -EINVAL, "dev=");
	sw_rig_refused(&config, "uplink add", "dev=eth2 team=lacp", -EINVAL, "standby or hash");
	sw_rig_do(&config, "uplink add", "dev=eth2");
	assert_int_equal(sw_uplink_find(config, "eth2")->mode, SW_UPLINK_PACKET);
	sw_rig_do(&config, "uplink remove", "dev=eth1");
	sw_rig_do(&config, "uplink add", "dev=eth3");
	assert_int_equal(sw_uplink_find(config, "eth3")->number, SW_PORT_UPLINK);
	assert_int_equal(sw_uplink_find(config, "eth2")->number, SW_PORT_UPLINK + 1);
	sw_rig_do(&config, "uplink set", "dev=eth3 priority=1 rate=1G");
	sw_rig_do(&config, "uplink remove", "dev=eth2");
	sw_rig_do(&config, "uplink remove", "dev=eth3");
	sw_rig_do(&config, "set", "kind=internal host-port=sw0-host");
	sw_rig_refused(&config, "set", "kind=private", -EINVAL, "sw0-host");
	sw_rig_do(&config, "set", "host-port=none kind=private");
	assert_string_equal(config->settings.host_port, "");
	sw_rig_refused(&config, "nat set", "on=on", -EINVAL, "private");
	sw_rig_refused(&config, "uplink add", "dev=eth1", -EINVAL, "private");
	sw_rig_refused(&config, "set", "mtu=9001", -EINVAL, "1280 to 9000");
	sw_rig_refused(&config, "set", "threads=17", -EINVAL, "0 to 16");
	sw_rig_refused(&config, "set", "kind=weird", -EINVAL, "external, internal or private");
	sw_config_destroy(config);
}

static void nat_and_its_forwards_are_set(void **state)
{
	struct sw_config *config = sw_rig_config();

	(void)state;
	sw_rig_do(&config, "nat set", "on=on net=10.9.0.0/16");
	assert_true(config->nat.on);
	sw_rig_refused(&config, "nat set", "net=fe80::/10", -EINVAL, "IPv4");
	sw_rig_refused(&config, "nat set", "net=10.9.0.0/30", -EINVAL, "8 to 28");
	sw_rig_do(&config, "nat forward", "forward=tcp:2222:10.9.0.15:22");
	sw_rig_refused(&config, "nat forward", "forward=tcp:2222:10.9.0.15:22", -EINVAL, "already");
	sw_rig_refused(&config, "nat forward", "forward=sctp:1:1", -EINVAL, "forward");
	sw_rig_refused(&config, "nat forward", "", -EINVAL, "say forward=");
	sw_rig_do(&config, "nat unforward", "forward=tcp:2222:10.9.0.15:22");
	sw_rig_refused(&config, "nat unforward", "forward=tcp:2222:10.9.0.15:22", -ENOENT,
		       "no tcp");
	sw_config_destroy(config);
}

static void nats_network_is_what_was_said(void **state)
{
	struct sw_config *config = sw_rig_config();
	struct net_nat_network n;
	struct diag diag;
	uint64_t usual = sw_nat_signature(config);

	(void)state;
	assert_int_equal(sw_nat_network(config, &n, &diag), 0);
	assert_int_equal(n.network, 0x0a000200);
	assert_int_equal(n.gateway, 0x0a000202);
	assert_int_equal(n.lease_s, 3600);
	assert_int_equal(n.per_origin_max, 32);
	assert_int_equal(n.mtu, 0);
	sw_rig_do(&config, "nat set", "gateway=10.0.2.1 dns=10.0.2.9 range=10.0.2.10-10.0.2.20");
	assert_int_equal(sw_nat_network(config, &n, &diag), 0);
	assert_int_equal(n.gateway, 0x0a000201);
	assert_int_equal(n.dns, 0x0a000209);
	assert_int_equal(n.resolver, 0);
	assert_int_equal(n.pool_last, 0x0a000214);
	assert_true(usual != sw_nat_signature(config));
	/* A resolver that is somewhere else is told to clients; the service's own stays where it is. */
	sw_rig_do(&config, "nat set", "dns=9.9.9.9 lease=120 domain=lan port-leases=4");
	sw_rig_do(&config, "set", "mtu=9000");
	assert_int_equal(sw_nat_network(config, &n, &diag), 0);
	assert_int_equal(n.dns, 0x0a000203);
	assert_int_equal(n.resolver, 0x09090909);
	assert_int_equal(n.mtu, 9000);
	assert_string_equal(n.domain, "lan");
	sw_rig_do(&config, "nat set", "domain=none gateway=auto range=auto");
	assert_int_equal(sw_nat_network(config, &n, &diag), 0);
	assert_string_equal(n.domain, "");
	assert_int_equal(n.gateway, 0x0a000202);
	sw_rig_refused(&config, "nat set", "gateway=10.0.3.1", -EINVAL, "network");
	sw_rig_refused(&config, "nat set", "gateway=10.0.2.3 dns=auto", -EINVAL, "two addresses");
	sw_rig_refused(&config, "nat set", "range=10.0.2.20-10.0.2.10", -EINVAL, "first");
	sw_rig_refused(&config, "nat set", "range=10.0.2.250-10.0.3.1", -EINVAL, "pool");
	sw_rig_refused(&config, "nat set", "lease=10", -EINVAL, "60");
	sw_config_destroy(config);
}

static void reservations_and_forwards_fit_the_network(void **state)
{
	struct sw_config *config = sw_rig_config();
	uint64_t before = sw_nat_signature(config);
	struct net_forward forwards[SW_FORWARDS_MAX];

	(void)state;
	sw_rig_do(&config, "nat reserve", "mac=02:00:00:00:00:01 ip=10.0.2.50");
	sw_rig_refused(&config, "nat reserve", "mac=02:00:00:00:00:01 ip=10.0.2.51", -EINVAL,
		       "already");
	sw_rig_refused(&config, "nat reserve", "mac=02:00:00:00:00:02 ip=10.0.2.50", -EINVAL,
		       "already");
	sw_rig_refused(&config, "nat reserve", "mac=02:00:00:00:00:02 ip=10.0.2.2", -EINVAL,
		       "gateway");
	sw_rig_refused(&config, "nat reserve", "mac=02:00:00:00:00:02 ip=10.0.2.255", -EINVAL,
		       "network");
	sw_rig_refused(&config, "nat reserve", "mac=02:00:00:00:00:02", -EINVAL, "none");
	sw_rig_refused(&config, "nat forward", "forward=tcp:2222:22", -EINVAL, "10.0.2.15");
	sw_rig_do(&config, "nat forward", "forward=udp:53:10.0.2.50:5353");
	assert_int_equal(sw_nat_forwards(config, forwards), 1);
	assert_int_equal(forwards[0].guest_address, 0x0a000232);
	/* Neither makes NAT anew. */
	assert_true(before == sw_nat_signature(config));
	/* The network cannot go away from under them. */
	sw_rig_refused(&config, "nat set", "net=10.9.0.0/16", -EINVAL, "guest of the network");
	sw_rig_do(&config, "nat unforward", "forward=udp:53:10.0.2.50:5353");
	sw_rig_refused(&config, "nat set", "net=10.9.0.0/16", -EINVAL, "10.0.2.50");
	sw_rig_do(&config, "nat unreserve", "mac=02:00:00:00:00:01");
	sw_rig_do(&config, "nat set", "net=10.9.0.0/16");
	sw_config_destroy(config);
}

static void addresses_are_told_and_taken_back(void **state)
{
	struct sw_config *config = sw_rig_config();

	(void)state;
	sw_rig_do(&config, "port add", "name=a");
	sw_rig_do(&config, "fdb add", "mac=02:00:00:00:00:01 port=a");
	sw_rig_do(&config, "fdb add", "mac=02:00:00:00:00:01 port=a vlan=5");
	sw_rig_refused(&config, "fdb add", "mac=02:00:00:00:00:01 port=uplink vlan=5", -EINVAL,
		       "there already");
	sw_rig_refused(&config, "fdb add", "mac=02:00:00:00:00:02 port=b", -EINVAL, "\"b\"");
	sw_rig_refused(&config, "fdb add", "mac=03:00:00:00:00:02 port=a", -EINVAL, "one station");
	sw_rig_refused(&config, "fdb delete", "mac=02:00:00:00:00:02", -ENOENT, "no 02:");
	sw_rig_do(&config, "fdb delete", "mac=02:00:00:00:00:01");
	assert_int_equal(config->lists[SW_LIST_STATICS].count, 1);
	assert_int_equal(((struct sw_static *)sw_list_at(config, SW_LIST_STATICS, 0))->vlan, 5);
	sw_rig_do(&config, "port remove", "port=a");
	assert_int_equal(config->lists[SW_LIST_STATICS].count, 0);
	sw_config_destroy(config);
}

static void a_port_that_a_worker_brought_stays_when_somebody_sets_it(void **state)
{
	struct sw_config *config = sw_rig_config();
	struct diag diag;

	(void)state;
	assert_int_equal(sw_config_add_auto(config, "vm1/net0", &diag), 0);
	assert_int_equal(sw_config_add_auto(config, "vm1/net0", &diag), -EEXIST);
	assert_int_equal(sw_config_add_auto(config, "a b", &diag), -EINVAL);
	/* or a mirror to the host's port would be for a worker */
	assert_int_equal(sw_config_add_auto(config, "host", &diag), -EINVAL);
	assert_int_equal(sw_config_add_auto(config, "uplink", &diag), -EINVAL);
	assert_int_equal(sw_config_add_auto(config, "nat", &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "switch's own"));
	assert_true(sw_port_find(config, "vm1/net0")->is_auto);
	sw_rig_do(&config, "port set", "port=vm1/net0 vlan=access:3");
	assert_false(sw_port_find(config, "vm1/net0")->is_auto);
	sw_rig_do(&config, "set", "ports=fixed");
	assert_int_equal(sw_config_add_auto(config, "vm2/net0", &diag), -EPERM);
	assert_non_null(strstr(diag.text, "port add"));
	sw_config_destroy(config);
}

static void lists_tell_all_and_change_nothing(void **state)
{
	struct sw_config *config = sw_rig_config();
	const struct sw_config *before;
	struct diag diag;
	json_t *result = NULL, *port;

	(void)state;
	sw_rig_do(&config, "profile add", "name=gold weight=200");
	sw_rig_do(&config, "port add", "name=web profile=gold vlan=trunk:1,2-4");
	before = config;
	assert_int_equal(sw_rig_try(&config, "port list", "", &result, &diag), 0);
	assert_ptr_equal(before, config);
	port = json_array_get(json_object_get(result, "ports"), 0);
	assert_string_equal(json_string_value(json_object_get(port, "vlan")), "trunk:1,2-4");
	assert_int_equal(json_integer_value(json_object_get(port, "weight")), 200);
	assert_string_equal(json_string_value(json_object_get(port, "arp-guard")), "off");
	json_decref(result);
	sw_config_destroy(config);
}

static void a_failing_allocation_changes_nothing(void **state)
{
	struct sw_config *config = sw_rig_config();
	bool fired = true;

	(void)state;
	sw_rig_do(&config, "port add", "name=a");
	for (unsigned int n = 1; fired; n++) {
		struct sw_config *changed = NULL;
		json_t *request = sw_rig_request("port add", "name=web"), *result = NULL;
		struct diag diag;
		int err;

		fault_arm(n);
		err = sw_change(config, "port add", request, &changed, &result, &diag);
		fired = fault_fired();
		fault_arm(0);
		assert_int_equal(err, fired ? -ENOMEM : 0);
		assert_int_equal(config->lists[SW_LIST_PORTS].count, 1);
		sw_config_destroy(changed);
		json_decref(result);
		json_decref(request);
	}
	sw_config_destroy(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_are_added_changed_and_removed),
		cmocka_unit_test(nonsense_about_ports_is_refused),
		cmocka_unit_test(there_are_no_more_ports_than_fit),
		cmocka_unit_test(a_port_has_what_its_profile_says_unless_it_says_it_itself),
		cmocka_unit_test(rules_are_numbered_and_go_with_their_port),
		cmocka_unit_test(nonsense_in_rules_is_refused),
		cmocka_unit_test(mirrors_are_made_changed_and_ended),
		cmocka_unit_test(the_kind_decides_what_there_may_be),
		cmocka_unit_test(nat_and_its_forwards_are_set),
		cmocka_unit_test(nats_network_is_what_was_said),
		cmocka_unit_test(reservations_and_forwards_fit_the_network),
		cmocka_unit_test(addresses_are_told_and_taken_back),
		cmocka_unit_test(a_port_that_a_worker_brought_stays_when_somebody_sets_it),
		cmocka_unit_test(lists_tell_all_and_change_nothing),
		cmocka_unit_test(a_failing_allocation_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

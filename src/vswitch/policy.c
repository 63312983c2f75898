/* SPDX-License-Identifier: MIT */
#include "vswitch/policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "proto/ether.h"

int policy_create(struct policy **ret)
{
	struct policy *policy = fault_alloc(1, sizeof(*policy));

	if (!policy) {
		return -ENOMEM;
	}
	policy->mtu = NET_MTU_DEFAULT;
	policy->fdb_age_s = FDB_AGE_S;
	policy->snooping = true;
	*ret = policy;
	return 0;
}

static int copy_rules(const struct acl *acl, enum acl_direction direction, struct acl **ret)
{
	struct acl_rule rules[ACL_RULES_MAX];
	struct diag diag;

	if (!acl) {
		return 0;
	}
	for (unsigned int i = 0; i < acl_rules(acl); i++) {
		rules[i] = *acl_rule_at(acl, i);
	}
	return acl_compile(rules, acl_rules(acl), direction, ret, &diag);
}

int policy_copy(const struct policy *policy, struct policy **ret)
{
	struct policy *copy = fault_alloc(1, sizeof(*copy));
	int err = 0;

	if (!copy) {
		return -ENOMEM;
	}
	*copy = *policy;
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		copy->ports[i].acl_in = copy->ports[i].acl_out = NULL;
	}
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX && !err; i++) {
		err = copy_rules(policy->ports[i].acl_in, ACL_IN, &copy->ports[i].acl_in);
		if (!err) {
			err = copy_rules(policy->ports[i].acl_out, ACL_OUT,
					 &copy->ports[i].acl_out);
		}
	}
	if (err) {
		policy_destroy(copy);
		return err;
	}
	*ret = copy;
	return 0;
}

void policy_destroy(struct policy *policy)
{
	if (!policy) {
		return;
	}
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		acl_destroy(policy->ports[i].acl_in);
		acl_destroy(policy->ports[i].acl_out);
	}
	free(policy);
}

void policy_port_init(struct policy *policy, uint16_t port, enum port_kind kind)
{
	check(port < VSWITCH_PORTS_MAX);
	policy_port_fini(policy, port);
	policy->ports[port] = (struct port_policy){
		.is_used = true,
		.link = true,
		.kind = (uint8_t)kind,
		.macs_max = kind == PORT_GUEST ? PORT_MACS_DEFAULT : PORT_MACS_WIRE,
		.mcast = { .is_host = kind == PORT_GUEST },
		.limits = { .weight = PORT_WEIGHT_DEFAULT },
	};
}

void policy_port_fini(struct policy *policy, uint16_t port)
{
	check(port < VSWITCH_PORTS_MAX);
	acl_destroy(policy->ports[port].acl_in);
	acl_destroy(policy->ports[port].acl_out);
	policy->ports[port] = (struct port_policy){ 0 };
}

/* Nothing that the short path leaves out: it does sanity, an access VLAN, MACs and the FDB. */
static bool is_plain_in(const struct policy *policy, unsigned int index)
{
	const struct port_policy *port = &policy->ports[index];
	const struct port_limits *limits = &port->limits;

	return port->link && port->vlan.mode <= VLAN_ACCESS && !port->guard.dhcp &&
	       !port->guard.router && !port->guard.arp && !port->acl_in &&
	       !(port->ext & (PORT_EXT_CAPTURE_IN | PORT_EXT_FILTER_IN | PORT_EXT_FORWARD)) &&
	       !limits->pps && !limits->broadcast_pps && !limits->multicast_pps &&
	       !limits->unknown_pps && !port->is_member &&
	       !port_set_has(&policy->mirror.mirrored[false], index);
}

static bool is_plain_out(const struct policy *policy, unsigned int index)
{
	const struct port_policy *port = &policy->ports[index];

	return port->link && port->vlan.mode <= VLAN_ACCESS && port->kind == PORT_GUEST &&
	       !port->snoops && !port->acl_out &&
	       !(port->ext & (PORT_EXT_CAPTURE_OUT | PORT_EXT_FILTER_OUT)) &&
	       !port_set_has(&policy->mirror.mirrored[true], index);
}

static void add_querier_vlan(struct policy *policy, uint16_t vlan)
{
	for (unsigned int i = 0; i < policy->querier_vlan_count; i++) {
		if (policy->querier_vlans[i] == vlan) {
			return;
		}
	}
	if (policy->querier_vlan_count < QUERIER_VLANS_MAX) {
		policy->querier_vlans[policy->querier_vlan_count++] = vlan;
	}
}

static void find_querier_vlans(struct policy *policy, bool of_trunks)
{
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		const struct port_policy *port = &policy->ports[i];
		bool is_trunk = port->vlan.mode == VLAN_TRUNK;

		if (!port->is_used || policy_is_uplink(port)) {
			continue;
		}
		if (!of_trunks && (!is_trunk || port->vlan.id)) {
			add_querier_vlan(policy, port->vlan.mode == VLAN_NONE ? 0 : port->vlan.id);
		}
		for (unsigned int vlan = 0; of_trunks && is_trunk && vlan <= ETHER_VLAN_MAX;
		     vlan++) {
			if (vlan_is_allowed(&port->vlan, (uint16_t)vlan)) {
				add_querier_vlan(policy, (uint16_t)vlan);
			}
		}
	}
}

static void seal_querier(struct policy *policy)
{
	port_set_clear(&policy->uplinks);
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		if (port_set_has(&policy->used, i) && policy_is_uplink(&policy->ports[i])) {
			port_set_add(&policy->uplinks, i);
		}
	}
	policy->querier_vlan_count = 0;
	if (policy->querier && policy->snooping) {
		find_querier_vlans(policy, false);
		find_querier_vlans(policy, true);
	}
}

void policy_seal(struct policy *policy)
{
	port_set_clear(&policy->used);
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		policy->ports[i].is_member = false;
		if (policy->ports[i].is_used) {
			port_set_add(&policy->used, i);
		}
	}
	for (unsigned int i = 0; policy->has_team && i < policy->team.member_count; i++) {
		unsigned int port = policy->team.members[i].uplink;

		check(port < VSWITCH_PORTS_MAX);
		port_set_remove(&policy->used, port);
		policy->ports[port].is_member = true;
		policy->ports[port].member = (uint8_t)i;
	}
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		policy->ports[i].is_plain_in = is_plain_in(policy, i);
		policy->ports[i].is_plain_out = is_plain_out(policy, i);
	}
	seal_querier(policy);
}

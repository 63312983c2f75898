/* SPDX-License-Identifier: MIT */
#include "switchd/sw_policy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/hash.h"
#include "base/num.h"

AUTO_DESTROY(policy, policy_destroy)

#define BURST_DEFAULT_NS (10ULL * 1000 * 1000) /* of the maximum, at once */
#define BURST_MIN_BYTES  (64ULL * 1024)        /* one large frame must pass */

/* ---- names -------------------------------------------------------------------------------------- */

int sw_policy_port(const struct sw_config *config, const char *name)
{
	const struct sw_port *port = sw_port_find(config, name);
	unsigned int uplinks = config->lists[SW_LIST_UPLINKS].count;

	if (port) {
		return port->number;
	}
	if (strcmp(name, SW_HOST_NAME) == 0 && config->settings.host_port[0]) {
		return SW_PORT_HOST;
	}
	if (strcmp(name, SW_NAT_NAME) == 0 && config->nat.on) {
		return SW_PORT_NAT;
	}
	if (strcmp(name, SW_UPLINK_NAME) == 0 && uplinks > 1) {
		return SW_PORT_TEAM;
	}
	if (strcmp(name, SW_UPLINK_NAME) == 0 && uplinks == 1) {
		return ((const struct sw_uplink *)sw_list_at(config, SW_LIST_UPLINKS, 0))->number;
	}
	return -1;
}

const char *sw_policy_name(const struct sw_config *config, uint16_t number)
{
	const struct sw_port *port = sw_port_by_number(config, number);

	if (port) {
		return port->name;
	}
	if (number == SW_PORT_HOST) {
		return SW_HOST_NAME;
	}
	if (number == SW_PORT_NAT) {
		return SW_NAT_NAME;
	}
	return (number >= SW_PORT_UPLINK && number < SW_PORT_UPLINK + SW_UPLINKS_MAX) ||
			       number == SW_PORT_TEAM
		       ? SW_UPLINK_NAME
		       : NULL;
}

/* ---- rules -------------------------------------------------------------------------------------- */

static struct acl_prefix prefix_of(const struct sw_prefix *prefix)
{
	struct acl_prefix result = { .bits = prefix->bits };
	const uint8_t *b = prefix->address.bytes;

	for (unsigned int i = 0; i < 8; i++) {
		result.ip.hi = result.ip.hi << 8 | b[i];
		result.ip.lo = result.ip.lo << 8 | b[i + 8];
	}
	return result;
}

static struct acl_ports ports_of(const struct sw_range *range)
{
	bool is_any = range->from == 0 && range->to == UINT16_MAX;

	return (struct acl_ports){ range->from, is_any ? 0 : range->to };
}

static struct acl_rule rule_of(const struct sw_rule *rule)
{
	static const struct sw_mac none;
	struct acl_rule result = {
		.id = rule->id,
		.priority = rule->priority,
		.action = rule->action == SW_ALLOW  ? ACL_ALLOW
			  : rule->action == SW_DENY ? ACL_DENY
						    : ACL_COUNT,
		.is_stateful = rule->is_stateful,
		.idle_s = sw_value_given(rule, (unsigned int)sw_table_find(
						       sw_lists[SW_LIST_RULES].table, "idle"))
				  ? rule->idle_s
				  : 0,
		.protocol = rule->protocol,
		.local = prefix_of(&rule->local),
		.remote = prefix_of(&rule->remote),
		.local_ports = ports_of(&rule->local_port),
		.remote_ports = ports_of(&rule->remote_port),
		.has_mac = memcmp(&rule->remote_mac, &none, sizeof(none)) != 0,
		.ethertype = rule->ethertype,
	};

	memcpy(result.mac, rule->remote_mac.bytes, NET_MAC_BYTES);
	return result;
}

/* Those of a port and, for ports that have one, of its profile. */
static int compile_rules(const struct sw_config *config, const char *port, const char *profile,
			 enum sw_direction direction, struct acl **ret, struct diag *reterr)
{
	struct acl_rule rules[SW_PORT_RULES_MAX];
	unsigned int count = 0;

	for (unsigned int i = 0; i < config->lists[SW_LIST_RULES].count; i++) {
		const struct sw_rule *rule = sw_list_at(config, SW_LIST_RULES, i);
		bool is_mine = rule->port[0] ? strcmp(rule->port, port) == 0
					     : profile && strcmp(rule->profile, profile) == 0;

		if (is_mine && rule->direction == direction && count < ARRAY_SIZE(rules)) {
			rules[count++] = rule_of(rule);
		}
	}
	if (count == 0) {
		*ret = NULL;
		return 0;
	}
	return acl_compile(rules, count, direction == SW_IN ? ACL_IN : ACL_OUT, ret, reterr);
}

static int add_rules(const struct sw_config *config, const char *name, const char *profile,
		     struct port_policy *port, struct diag *reterr)
{
	int err = compile_rules(config, name, profile, SW_IN, &port->acl_in, reterr);

	return err ? err : compile_rules(config, name, profile, SW_OUT, &port->acl_out, reterr);
}

/* ---- ports -------------------------------------------------------------------------------------- */

static void add_vlan(const struct sw_vlan *vlan, struct vlan_policy *ret)
{
	static const uint8_t modes[] = {
		[SW_VLAN_NONE] = VLAN_NONE,         [SW_VLAN_ACCESS] = VLAN_ACCESS,
		[SW_VLAN_TRUNK] = VLAN_TRUNK,       [SW_VLAN_PROMISCUOUS] = VLAN_PRIMARY,
		[SW_VLAN_ISOLATED] = VLAN_ISOLATED, [SW_VLAN_COMMUNITY] = VLAN_COMMUNITY,
	};

	*ret = (struct vlan_policy){ .mode = modes[vlan->mode],
				     .id = vlan->id,
				     .secondary = vlan->secondary };
	if (vlan->mode == SW_VLAN_TRUNK) {
		memcpy(ret->allowed, vlan->allowed, sizeof(ret->allowed));
		if (vlan->id) {
			vlan_allow(ret, vlan->id);
		}
	}
}

static void add_guards(const struct sw_port *port, const struct sw_policy_facts *facts,
		       struct port_policy *ret)
{
	struct guard_policy *guard = &ret->guard;
	uint8_t own[NET_MAC_BYTES];

	guard->mac = !port->mac_spoofing;
	guard->dhcp = port->dhcp_guard;
	guard->router = port->router_guard;
	guard->arp = port->arp.mode != SW_ARP_OFF;
	ret->snoops = port->arp.mode == SW_ARP_SNOOP;
	if (facts->mac(facts->ctx, port->number, own)) {
		memcpy(guard->macs[guard->mac_count++], own, NET_MAC_BYTES);
	}
	for (unsigned int i = 0; i < port->macs.count && guard->mac_count < GUARD_MACS_MAX; i++) {
		memcpy(guard->macs[guard->mac_count++], port->macs.macs[i].bytes, NET_MAC_BYTES);
	}
	for (unsigned int i = 0; i < port->arp.count; i++) {
		struct sw_prefix address = { .address = port->arp.addresses[i] };
		struct guard_binding *binding = &guard->bindings[guard->binding_count++];

		binding->ip = prefix_of(&address).ip;
		binding->until_s = GUARD_FOREVER;
		binding->is_static = true;
	}
}

static void add_limits(const struct sw_port *port, struct port_limits *ret)
{
	uint64_t bytes_per_s = port->max_bits / 8;
	uint64_t burst = num_max(bytes_per_s / (1000000000 / BURST_DEFAULT_NS), BURST_MIN_BYTES);

	*ret = (struct port_limits){
		.pps = port->pps_max,
		.broadcast_pps = port->broadcast_pps,
		.multicast_pps = port->multicast_pps,
		.unknown_pps = port->unknown_pps,
		.bytes_per_s = bytes_per_s,
		.burst_bytes = !bytes_per_s        ? 0
			       : port->burst_bytes ? port->burst_bytes
						   : burst,
		.weight = (uint16_t)port->weight,
	};
}

static int add_port(const struct sw_config *config, const struct sw_port *port,
		    const struct sw_policy_facts *facts, struct policy *policy, struct diag *reterr)
{
	struct port_policy *ret = &policy->ports[port->number];
	struct sw_port whole;

	sw_port_effective(config, port, &whole);
	policy_port_init(policy, port->number, PORT_GUEST);
	ret->link = whole.link;
	ret->forwards = whole.forwards;
	ret->macs_max = whole.macs_max;
	ret->mcast.limit = (uint16_t)whole.multicast_max;
	ret->mcast.is_host = whole.router_guard;
	ret->ext = facts->ext ? facts->ext_stages : 0;
	add_vlan(&whole.vlan, &ret->vlan);
	add_guards(&whole, facts, ret);
	add_limits(&whole, &ret->limits);
	return add_rules(config, port->name, port->profile[0] ? port->profile : SW_PROFILE_DEFAULT,
			 ret, reterr);
}

/* ---- the wires ---------------------------------------------------------------------------------- */

/* Frames with and without a tag pass as they are. */
static void allow_all_vlans(struct vlan_policy *vlan)
{
	*vlan = (struct vlan_policy){ .mode = VLAN_TRUNK };
	memset(vlan->allowed, 0xff, sizeof(vlan->allowed));
	vlan->allowed[VLAN_SET_WORDS - 1] &= ~(UINT64_C(1) << 63); /* 4095 is nobody's */
}

static int add_wire(const struct sw_config *config, const char *name, uint16_t number,
		    enum port_kind kind, const struct sw_policy_facts *facts, struct policy *policy,
		    struct diag *reterr)
{
	struct port_policy *ret = &policy->ports[number];

	policy_port_init(policy, number, kind);
	ret->macs_max = PORT_MACS_WIRE;
	ret->ext = facts->ext ? facts->ext_stages : 0;
	if (kind == PORT_UPLINK || kind == PORT_TEAM) {
		allow_all_vlans(&ret->vlan);
	}
	return add_rules(config, name, NULL, ret, reterr);
}

static int add_team(const struct sw_config *config, const struct sw_policy_facts *facts,
		    struct policy *policy, struct diag *reterr)
{
	const struct sw_list *uplinks = &config->lists[SW_LIST_UPLINKS];
	struct team *team = &policy->team;

	team->mode = config->settings.team == SW_TEAM_HASH ? TEAM_HASH : TEAM_STANDBY;
	team->failback = true;
	team->port = SW_PORT_TEAM;
	for (unsigned int i = 0; i < uplinks->count; i++) {
		const struct sw_uplink *uplink = sw_list_at(config, SW_LIST_UPLINKS, i);

		team->members[team->member_count++] = (struct team_member){
			.uplink = uplink->number,
			.priority = (uint8_t)uplink->priority,
			.link = facts->link(facts->ctx, uplink->number),
		};
	}
	policy->has_team = true;
	return team_init(team, reterr);
}

static int add_uplinks(const struct sw_config *config, const struct sw_policy_facts *facts,
		       struct policy *policy, struct diag *reterr)
{
	const struct sw_list *uplinks = &config->lists[SW_LIST_UPLINKS];
	bool is_team = uplinks->count > 1;
	int err = 0;

	for (unsigned int i = 0; !err && i < uplinks->count; i++) {
		const struct sw_uplink *uplink = sw_list_at(config, SW_LIST_UPLINKS, i);
		struct port_policy *port = &policy->ports[uplink->number];

		/* of a team: what the team does is the team port's */
		err = add_wire(config, is_team ? "" : SW_UPLINK_NAME, uplink->number, PORT_UPLINK,
			       facts, policy, reterr);
		port->limits.bytes_per_s = uplink->rate_bits / 8;
		port->limits.burst_bytes = uplink->rate_bits ? BURST_MIN_BYTES : 0;
	}
	if (!err && is_team) {
		err = add_wire(config, SW_UPLINK_NAME, SW_PORT_TEAM, PORT_TEAM, facts, policy,
			       reterr);
		err = err ? err : add_team(config, facts, policy, reterr);
	}
	return err;
}

/* ---- the whole ---------------------------------------------------------------------------------- */

static int add_mirrors(const struct sw_config *config, struct policy *policy, struct diag *reterr)
{
	struct mirror_session sessions[SW_MIRRORS_MAX];
	unsigned int count = 0;

	for (unsigned int i = 0; i < config->lists[SW_LIST_MIRRORS].count; i++) {
		const struct sw_mirror *mirror = sw_list_at(config, SW_LIST_MIRRORS, i);
		struct mirror_session *session = &sessions[count];
		int target = sw_policy_port(config, mirror->to);

		*session = (struct mirror_session){ .target = (uint16_t)target };
		session->directions = mirror->direction == SW_IN    ? MIRROR_IN
				      : mirror->direction == SW_OUT ? MIRROR_OUT
								    : MIRROR_IN | MIRROR_OUT;
		for (unsigned int j = 0; j < mirror->from.count; j++) {
			int source = sw_policy_port(config, mirror->from.names[j]);

			if (source >= 0) {
				port_set_add(&session->sources, (uint16_t)source);
			}
		}
		/* "uplink" while there is none: the session waits */
		count += target >= 0 && !port_set_is_empty(&session->sources);
	}
	return mirror_compile(sessions, count, &policy->mirror, reterr);
}

static void add_private_vlans(const struct sw_config *config, struct policy *policy)
{
	const struct sw_vlan *host = &config->settings.host_vlan;

	if (config->settings.host_port[0] && host->secondary) {
		policy->vlans.primary[host->secondary] = host->id;
	}
	for (unsigned int i = 0; i < config->lists[SW_LIST_PORTS].count; i++) {
		struct sw_port whole;

		sw_port_effective(config, sw_list_at(config, SW_LIST_PORTS, i), &whole);
		if (whole.vlan.secondary) {
			policy->vlans.primary[whole.vlan.secondary] = whole.vlan.id;
		}
	}
}

/*
 * The switch asks for groups from an address that nobody else has, and the next process has, too: other
 * switches and queriers see one that goes on.
 */
static void add_querier(const struct sw_config *config, struct policy *policy)
{
	uint64_t hash = hash_fnv1a(HASH_FNV1A_BASIS, config->name);

	policy->querier = config->settings.querier;
	policy->querier_mac[0] = 2;
	for (unsigned int i = 1; i < NET_MAC_BYTES; i++) {
		policy->querier_mac[i] = (uint8_t)(hash >> (8 * i));
	}
}

static int add_all(const struct sw_config *config, const struct sw_policy_facts *facts,
		   struct policy *policy, struct diag *reterr)
{
	int err = 0;

	policy->mtu = config->settings.mtu;
	policy->fdb_age_s = config->settings.age_s;
	policy->link_local = config->settings.link_local;
	add_querier(config, policy);
	policy->ext = facts->ext;
	policy->ext_ctx = facts->ext_ctx;
	for (unsigned int i = 0; !err && i < config->lists[SW_LIST_PORTS].count; i++) {
		err = add_port(config, sw_list_at(config, SW_LIST_PORTS, i), facts, policy, reterr);
	}
	if (!err && config->settings.host_port[0]) {
		err = add_wire(config, SW_HOST_NAME, SW_PORT_HOST, PORT_HOST, facts, policy,
			       reterr);
		add_vlan(&config->settings.host_vlan, &policy->ports[SW_PORT_HOST].vlan);
	}
	if (!err && config->nat.on) {
		err = add_wire(config, SW_NAT_NAME, SW_PORT_NAT, PORT_NAT, facts, policy, reterr);
	}
	err = err ? err : add_uplinks(config, facts, policy, reterr);
	if (!err) {
		add_private_vlans(config, policy);
		err = add_mirrors(config, policy, reterr);
	}
	return err;
}

int sw_policy_build(const struct sw_config *config, const struct sw_policy_facts *facts,
		    struct policy **ret, struct diag *reterr)
{
	auto_destroy(policy) struct policy *policy = NULL;
	int err;

	if (policy_create(&policy)) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	err = add_all(config, facts, policy, reterr);
	if (!err) {
		policy_seal(policy);
		*ret = steal(policy);
	}
	return err;
}

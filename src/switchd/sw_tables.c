/* SPDX-License-Identifier: MIT */
/* Which keys each object of a switch's configuration has. */
#include "base/num.h"
#include "net/dhcp.h"
#include "switchd/sw_config.h"

#define AT(member) offsetof(STRUCT, member)

static const char *const kinds[] = { "external", "internal", "private", NULL };
static const char *const ports_modes[] = { "auto", "fixed", NULL };
static const char *const team_modes[] = { "standby", "hash", NULL };
static const char *const directions[] = { "in", "out", NULL };
static const char *const mirror_directions[] = { "in", "out", "both", NULL };
static const char *const actions[] = { "allow", "deny", "count", NULL };
static const char *const uplink_modes[] = { "auto", "xdp", "packet", "tap", NULL };
static const char *const ext_kinds[] = { "capture", "filter", "forward", NULL };
static const char *const failures[] = { "pass", "drop", NULL };

#define PPS_MAX       1000000000U
#define RATE_MIN_BITS (64 * 1000ULL)
#define RATE_MAX_BITS (1000ULL * 1000 * 1000 * 1000)
#define BURST_MIN     2048
#define BURST_MAX     (1ULL << 30)

#define STRUCT        struct sw_settings
static const struct sw_key settings_keys[] = {
	{ "kind", SW_WORD, AT(kind), .words = kinds },
	{ "mtu", SW_NUMBER, AT(mtu), 1280, 9000 },
	{ "threads", SW_NUMBER, AT(threads), 0, SW_CORES_MAX },
	{ "ports", SW_WORD, AT(ports), .words = ports_modes },
	{ "host-port", SW_IFNAME, AT(host_port) },
	{ "host-vlan", SW_VLAN, AT(host_vlan) },
	{ "team", SW_WORD, AT(team), .words = team_modes },
	{ "age", SW_NUMBER, AT(age_s), 10, 1000000 },
	{ "querier", SW_SWITCH, AT(querier) },
	{ "link-local", SW_SWITCH, AT(link_local) },
};
#undef STRUCT

#define STRUCT struct sw_nat
static const struct sw_key nat_keys[] = {
	{ "on", SW_SWITCH, AT(on) },
	{ "net", SW_PREFIX, AT(net) },
	{ "restricted", SW_SWITCH, AT(restricted) },
	{ "gateway", SW_IPV4, AT(gateway) },
	{ "dns", SW_IPV4, AT(dns) },
	{ "range", SW_POOL, AT(pool) },
	{ "lease", SW_NUMBER, AT(lease_s), DHCP_LEASE_S_MIN, DHCP_LEASE_S_MAX },
	{ "port-leases", SW_NUMBER, AT(port_leases), 0, DHCP_POOL_MAX },
	{ "domain", SW_NAME, AT(domain) },
};
#undef STRUCT

#define STRUCT struct sw_port
static const struct sw_key port_keys[] = {
	{ "name", SW_NAME, AT(name) },
	{ "profile", SW_NAME, AT(profile) },
	{ "vlan", SW_VLAN, AT(vlan) },
	{ "mac-spoofing", SW_SWITCH, AT(mac_spoofing) },
	{ "dhcp-guard", SW_SWITCH, AT(dhcp_guard) },
	{ "router-guard", SW_SWITCH, AT(router_guard) },
	{ "arp-guard", SW_ARP, AT(arp) },
	{ "macs", SW_MACS, AT(macs) },
	{ "macs-max", SW_NUMBER, AT(macs_max), 0, 16384 },
	{ "multicast-max", SW_NUMBER, AT(multicast_max), 1, 1024 },
	{ "broadcast-pps", SW_NUMBER, AT(broadcast_pps), 0, PPS_MAX },
	{ "multicast-pps", SW_NUMBER, AT(multicast_pps), 0, PPS_MAX },
	{ "unknown-pps", SW_NUMBER, AT(unknown_pps), 0, PPS_MAX },
	{ "pps-max", SW_NUMBER, AT(pps_max), 0, PPS_MAX },
	{ "weight", SW_NUMBER, AT(weight), 1, 10000 },
	{ "max", SW_RATE, AT(max_bits), RATE_MIN_BITS, RATE_MAX_BITS },
	{ "burst", SW_SIZE, AT(burst_bytes), BURST_MIN, BURST_MAX },
	{ "link", SW_LINK, AT(link) },
	{ "forwards", SW_SWITCH, AT(forwards) },
	{ "owner", SW_OWNER, AT(owner) },
};
#undef STRUCT

#define STRUCT struct sw_rule
static const struct sw_key rule_keys[] = {
	{ "rule", SW_NUMBER, AT(id), 1, UINT32_MAX },
	{ "port", SW_NAME, AT(port) },
	{ "profile", SW_NAME, AT(profile) },
	{ "direction", SW_WORD, AT(direction), .words = directions },
	{ "action", SW_WORD, AT(action), .words = actions },
	{ "priority", SW_NUMBER, AT(priority), 0, 1000000 },
	{ "proto", SW_PROTOCOL, AT(protocol) },
	{ "ethertype", SW_ETHERTYPE, AT(ethertype) },
	{ "local", SW_PREFIX, AT(local) },
	{ "remote", SW_PREFIX, AT(remote) },
	{ "local-port", SW_RANGE, AT(local_port) },
	{ "remote-port", SW_RANGE, AT(remote_port) },
	{ "remote-mac", SW_MAC, AT(remote_mac) },
	{ "stateful", SW_SWITCH, AT(is_stateful) },
	{ "idle", SW_NUMBER, AT(idle_s), 1, 86400 },
};
#undef STRUCT

#define STRUCT struct sw_mirror
static const struct sw_key mirror_keys[] = {
	{ "mirror", SW_NAME, AT(name) },
	{ "from", SW_NAMES, AT(from) },
	{ "direction", SW_WORD, AT(direction), .words = mirror_directions },
	{ "to", SW_NAME, AT(to) },
};
#undef STRUCT

#define STRUCT struct sw_uplink
static const struct sw_key uplink_keys[] = {
	{ "dev", SW_IFNAME, AT(dev) },
	{ "mode", SW_WORD, AT(mode), .words = uplink_modes },
	{ "priority", SW_NUMBER, AT(priority), 0, 255 },
	{ "rate", SW_RATE, AT(rate_bits), RATE_MIN_BITS, RATE_MAX_BITS },
};
#undef STRUCT

#define STRUCT struct sw_forward
static const struct sw_key forward_keys[] = { { "forward", SW_NAME, AT(text) } };
#undef STRUCT

#define STRUCT struct sw_reservation
static const struct sw_key reservation_keys[] = {
	{ "mac", SW_MAC, AT(mac) },
	{ "ip", SW_IPV4, AT(address) },
};
#undef STRUCT

#define STRUCT struct sw_static
static const struct sw_key static_keys[] = {
	{ "mac", SW_MAC, AT(mac) },
	{ "vlan", SW_NUMBER, AT(vlan), 0, SW_VLAN_MAX },
	{ "port", SW_NAME, AT(port) },
};
#undef STRUCT

#define STRUCT struct sw_extension
static const struct sw_key extension_keys[] = {
	{ "ext", SW_NAME, AT(name) },
	{ "kind", SW_WORD, AT(kind), .words = ext_kinds },
	{ "on-failure", SW_WORD, AT(on_failure), .words = failures },
	{ "deadline", SW_NUMBER, AT(deadline_ms), 1, 1000 },
	{ "owner", SW_OWNER, AT(owner) },
};
#undef STRUCT

const struct sw_table sw_settings_table = { "switch", settings_keys, ARRAY_SIZE(settings_keys) };
const struct sw_table sw_nat_table = { "nat", nat_keys, ARRAY_SIZE(nat_keys) };
const struct sw_table sw_port_table = { "port", port_keys, ARRAY_SIZE(port_keys) };
static const struct sw_table profile_table = { "profile", port_keys, ARRAY_SIZE(port_keys) };
static const struct sw_table rule_table = { "acl", rule_keys, ARRAY_SIZE(rule_keys) };
static const struct sw_table mirror_table = { "mirror", mirror_keys, ARRAY_SIZE(mirror_keys) };
static const struct sw_table uplink_table = { "uplink", uplink_keys, ARRAY_SIZE(uplink_keys) };
static const struct sw_table forward_table = { "nat", forward_keys, ARRAY_SIZE(forward_keys) };
static const struct sw_table reservation_table = { "nat", reservation_keys,
						   ARRAY_SIZE(reservation_keys) };
static const struct sw_table static_table = { "fdb", static_keys, ARRAY_SIZE(static_keys) };
static const struct sw_table extension_table = { "ext", extension_keys,
						 ARRAY_SIZE(extension_keys) };

static void port_init(void *item)
{
	*(struct sw_port *)item = (struct sw_port){
		.link = true,
		.macs_max = 64,
		.multicast_max = 64,
		.weight = 100,
		.owner = SW_OWNER_ANY,
	};
}

static void rule_init(void *item)
{
	*(struct sw_rule *)item = (struct sw_rule){
		.priority = 1000,
		.idle_s = 300,
		.local_port = { 0, UINT16_MAX },
		.remote_port = { 0, UINT16_MAX },
	};
}

static void mirror_init(void *item)
{
	*(struct sw_mirror *)item = (struct sw_mirror){ .direction = SW_BOTH };
}

static void uplink_init(void *item)
{
	/* What is known to work on any card; AF_XDP has been tried on none but virtual ones. */
	*(struct sw_uplink *)item = (struct sw_uplink){ .mode = SW_UPLINK_PACKET, .priority = 100 };
}

static void forward_init(void *item)
{
	*(struct sw_forward *)item = (struct sw_forward){ 0 };
}

static void reservation_init(void *item)
{
	*(struct sw_reservation *)item = (struct sw_reservation){ 0 };
}

static void static_init(void *item)
{
	*(struct sw_static *)item = (struct sw_static){ 0 };
}

static void extension_init(void *item)
{
	*(struct sw_extension *)item =
		(struct sw_extension){ .deadline_ms = 20, .owner = SW_OWNER_ANY };
}

const struct sw_list_info sw_lists[SW_LIST_COUNT] = {
	[SW_LIST_PROFILES] = { "profiles", &profile_table, sizeof(struct sw_port), SW_PROFILES_MAX,
			       1, port_init },
	[SW_LIST_PORTS] = { "ports", &sw_port_table, sizeof(struct sw_port), SW_PORTS_MAX, 1,
			    port_init },
	[SW_LIST_RULES] = { "acl", &rule_table, sizeof(struct sw_rule), SW_RULES_MAX, 1,
			    rule_init },
	[SW_LIST_MIRRORS] = { "mirrors", &mirror_table, sizeof(struct sw_mirror), SW_MIRRORS_MAX, 1,
			      mirror_init },
	[SW_LIST_UPLINKS] = { "uplinks", &uplink_table, sizeof(struct sw_uplink), SW_UPLINKS_MAX, 1,
			      uplink_init },
	[SW_LIST_FORWARDS] = { "forwards", &forward_table, sizeof(struct sw_forward),
			       SW_FORWARDS_MAX, 1, forward_init },
	[SW_LIST_RESERVATIONS] = { "reservations", &reservation_table,
				   sizeof(struct sw_reservation), SW_RESERVATIONS_MAX, 1,
				   reservation_init },
	[SW_LIST_STATICS] = { "fdb", &static_table, sizeof(struct sw_static), SW_STATICS_MAX, 2,
			      static_init },
	[SW_LIST_EXTENSIONS] = { "extensions", &extension_table, sizeof(struct sw_extension),
				 SW_EXTENSIONS_MAX, 1, extension_init },
};

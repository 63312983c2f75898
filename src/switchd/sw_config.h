/* SPDX-License-Identifier: MIT */
/*
 * The process of a virtual switch: what it is made of, and who builds it of `vswitch`, `net` and `vsp`.
 *
 * This header: a switch's configuration as plain data. It is what its file says and what its verbs
 * change: lists of objects, each a table of keys (sw_value.h). Nothing here opens, runs or knows a
 * switch. Every verb works on a copy, which takes the place of the old one when all has gone well.
 *
 *   owner   the caller: create, destroy   thread  any one
 *   spec    tabique-switch(1), docs/control-socket.md
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "base/diag.h"
#include "switchd/sw_value.h"

#define SW_CONFIG_VERSION    1
#define SW_CONFIG_BYTES_MAX  (4U << 20)
#define SW_SWITCH_NAME_BYTES 32

#define SW_PORTS_MAX         240
#define SW_PROFILES_MAX      32
#define SW_RULES_MAX         4096 /* of all ports; one has at most SW_PORT_RULES_MAX each way */
#define SW_PORT_RULES_MAX    256
#define SW_MIRRORS_MAX       16
#define SW_UPLINKS_MAX       8
#define SW_FORWARDS_MAX      64
#define SW_RESERVATIONS_MAX  256
#define SW_STATICS_MAX       1024
#define SW_EXTENSIONS_MAX    16
#define SW_CORES_MAX         16

#define SW_PROFILE_DEFAULT   "default"

enum sw_kind { SW_EXTERNAL, SW_INTERNAL, SW_PRIVATE };
enum sw_ports_mode { SW_PORTS_AUTO, SW_PORTS_FIXED };
enum sw_team_mode { SW_TEAM_STANDBY, SW_TEAM_HASH };

/* What concerns all of it. */
struct sw_settings {
	uint64_t given;
	uint8_t kind;  /* enum sw_kind */
	uint8_t ports; /* enum sw_ports_mode: may a worker bring a port that is not in the file? */
	uint8_t team;  /* enum sw_team_mode */
	bool querier;  /* asks for groups when nobody else does */
	bool link_local; /* lets 802.1X, LLDP and the like pass */
	uint32_t mtu;
	uint32_t threads;                /* core loops; 0: processors - 1 */
	uint32_t age_s;                  /* of learned addresses */
	char host_port[SW_IFNAME_BYTES]; /* the TAP that is the host's own port; "": none */
	struct sw_vlan host_vlan;        /* its VLAN */
};

struct sw_nat {
	uint64_t given;
	bool on;
	bool restricted; /* only what is forwarded passes */
	struct sw_prefix net;
	uint32_t gateway;    /* 0: the usual one (net/nat.h) */
	uint32_t dns;        /* of its network: the resolver's place; any other: told to clients */
	struct sw_pool pool; /* that clients get addresses of */
	uint32_t lease_s;
	uint32_t port_leases; /* one port has at most so many addresses; 0: as many as there are */
	char domain[SW_NAME_BYTES]; /* told to clients; "", "none": none */
};

/* A port, or a profile: then it is what those ports have that say nothing themselves. */
struct sw_port {
	uint64_t given;
	char name[SW_NAME_BYTES];
	char profile[SW_NAME_BYTES];
	struct sw_vlan vlan;
	bool mac_spoofing, dhcp_guard, router_guard;
	bool link;
	bool forwards; /* what is behind it forwards frames: their checksums must be there */
	struct sw_arp arp;
	struct sw_macs macs; /* further ones of its own */
	uint32_t macs_max, multicast_max;
	uint32_t broadcast_pps, multicast_pps, unknown_pps, pps_max;
	uint32_t weight;
	uint64_t max_bits;    /* per second; 0: no maximum */
	uint64_t burst_bytes; /* 0: 10 ms of the maximum */
	uint32_t owner;       /* the user whose worker may take it, or SW_OWNER_ANY */
	uint16_t number;      /* not in the file: given when it is added, from SW_PORT_FIRST */
	bool is_auto;         /* not in the file either: a worker brought it */
};

/* Numbers of ports: the host's, the uplinks (as one), NAT's, then those that have a name. */
#define SW_PORT_HOST   0
#define SW_PORT_UPLINK 1 /* to SW_UPLINKS_MAX */
#define SW_PORT_NAT    9
#define SW_PORT_FIRST  16
#define SW_HOST_NAME   "host"
#define SW_UPLINK_NAME "uplink"
#define SW_NAT_NAME    "nat"

enum sw_direction { SW_IN, SW_OUT, SW_BOTH };
enum sw_action { SW_ALLOW, SW_DENY, SW_COUNT };

struct sw_rule {
	uint64_t given;
	uint32_t id;
	char port[SW_NAME_BYTES]; /* of a port or, with profile, "" */
	char profile[SW_NAME_BYTES];
	uint8_t direction; /* SW_IN: from the port into the switch, SW_OUT */
	uint8_t action;
	uint32_t priority; /* smaller ones first; then by id */
	bool is_stateful;
	uint32_t idle_s;
	uint8_t protocol;
	uint16_t ethertype;
	struct sw_prefix local, remote;
	struct sw_range local_port, remote_port;
	struct sw_mac remote_mac; /* zeroes: any */
};

struct sw_mirror {
	uint64_t given;
	char name[SW_NAME_BYTES];
	struct sw_names from;
	uint8_t direction;
	char to[SW_NAME_BYTES];
};

enum sw_uplink_mode { SW_UPLINK_AUTO, SW_UPLINK_XDP, SW_UPLINK_PACKET, SW_UPLINK_TAP };

struct sw_uplink {
	uint64_t given;
	char dev[SW_IFNAME_BYTES];
	uint8_t mode;
	uint32_t priority; /* the smallest whose link is up is the active one */
	uint64_t rate_bits;
	uint16_t number; /* not in the file: SW_PORT_UPLINK to SW_UPLINKS_MAX */
};

struct sw_forward {
	uint64_t given;
	char text[SW_NAME_BYTES]; /* as net_nat_parse_forward() takes it */
};

/* An address that NAT gives to one client only. */
struct sw_reservation {
	uint64_t given;
	struct sw_mac mac;
	uint32_t address;
};

struct sw_static {
	uint64_t given;
	struct sw_mac mac;
	uint32_t vlan;
	char port[SW_NAME_BYTES];
};

enum sw_ext_kind { SW_EXT_CAPTURE, SW_EXT_FILTER, SW_EXT_FORWARD };

/* What an extension that names itself so may be, and what happens when it does not answer. */
struct sw_extension {
	uint64_t given;
	char name[SW_NAME_BYTES];
	uint8_t kind;
	uint8_t on_failure; /* 0 pass, 1 drop */
	uint32_t deadline_ms;
	uint32_t owner;
};

enum sw_list_kind {
	SW_LIST_PROFILES,
	SW_LIST_PORTS,
	SW_LIST_RULES,
	SW_LIST_MIRRORS,
	SW_LIST_UPLINKS,
	SW_LIST_FORWARDS,
	SW_LIST_RESERVATIONS,
	SW_LIST_STATICS,
	SW_LIST_EXTENSIONS,
	SW_LIST_COUNT,
};

struct sw_list {
	void *items; /* count of them, as sw_lists says */
	unsigned int count;
};

struct sw_config {
	char name[SW_SWITCH_NAME_BYTES];
	struct sw_settings settings;
	struct sw_nat nat;
	struct sw_list lists[SW_LIST_COUNT];
};

/* ---- tables ------------------------------------------------------------------------------------- */

/* What each list holds. The first `identity` keys tell its items apart. */
struct sw_list_info {
	const char *name; /* "ports": in the file */
	const struct sw_table *table;
	size_t bytes;
	unsigned int max;
	unsigned int identity;
	void (*init)(void *item);
};
extern const struct sw_list_info sw_lists[SW_LIST_COUNT];
extern const struct sw_table sw_settings_table, sw_nat_table, sw_port_table;

/* ---- life --------------------------------------------------------------------------------------- */

/* name: a switch's, which sw_switch_name_is_good(). -ENOMEM. */
MUST_CHECK int sw_config_create(const char *name, struct sw_config **ret);
MUST_CHECK int sw_config_copy(const struct sw_config *config, struct sw_config **ret);
void sw_config_destroy(struct sw_config *config); /* NULL is fine */
AUTO_DESTROY(sw_config, sw_config_destroy)

/* 1 to 31 letters, digits, dots, dashes and underscores, the first a letter or a digit. */
bool sw_switch_name_is_good(const char *name);

/* ---- lists -------------------------------------------------------------------------------------- */

/* A new item with its defaults, at the end: valid until the list changes. -ENOSPC with a sentence, -ENOMEM. */
MUST_CHECK int sw_list_add(struct sw_config *config, enum sw_list_kind kind, void **ret,
			   struct diag *reterr);
void sw_list_remove(struct sw_config *config, enum sw_list_kind kind, unsigned int index);
void *sw_list_at(const struct sw_config *config, enum sw_list_kind kind, unsigned int index);

struct sw_port *sw_port_find(const struct sw_config *config, const char *name); /* NULL: none */
struct sw_port *sw_port_by_number(const struct sw_config *config, unsigned int number);
struct sw_uplink *sw_uplink_find(const struct sw_config *config, const char *dev);

/* A number that no port has. -ENOSPC with a sentence. */
MUST_CHECK int sw_port_number(const struct sw_config *config, uint16_t *ret, struct diag *reterr);

/*
 * What holds for a port: its own words, else its profile's, else the defaults. The profile "default"
 * is that of ports that name none, when there is one.
 */
void sw_port_effective(const struct sw_config *config, const struct sw_port *port,
		       struct sw_port *ret);

/*
 * A port that a worker has brought, by ports=auto. -EEXIST, -EPERM (ports=fixed) or another errno with a
 * sentence.
 */
MUST_CHECK int sw_config_add_auto(struct sw_config *config, const char *name, struct diag *reterr);

/* ---- the whole --------------------------------------------------------------------------------- */

/* Does it all fit together? -EINVAL with a sentence. */
MUST_CHECK int sw_config_check(const struct sw_config *config, struct diag *reterr);

/* The file's form. -EINVAL with a sentence; what is loaded has been checked. */
MUST_CHECK int sw_config_parse(const struct json_t *json, struct sw_config **ret,
			       struct diag *reterr);
MUST_CHECK int sw_config_parse_text(const char *text, size_t bytes, struct sw_config **ret,
				    struct diag *reterr);
/* A new reference; NULL: no memory. Automatic ports are left out unless `everything`. */
struct json_t *sw_config_build(const struct sw_config *config, bool everything);

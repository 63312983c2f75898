/* SPDX-License-Identifier: MIT */
/*
 * What is configured, all of it. The control loop builds a policy (mostly a changed copy of the one in
 * force), seals it, and vswitch_adopt() hands it to each core between two batches: no core ever sees
 * half a change. Sealed, it is immutable, and any core reads it.
 *
 * What changes by itself (addresses learned, bindings snooped, tokens in a bucket, links) is not here
 * but in the cores; a policy says only the rules for it.
 *
 *   owner   who made it, until vswitch_adopt() takes it   thread  control
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "vswitch/acl.h"
#include "vswitch/frame.h"
#include "vswitch/guard.h"
#include "vswitch/mcast.h"
#include "vswitch/mirror.h"
#include "vswitch/querier.h"
#include "vswitch/sched.h"
#include "vswitch/team.h"
#include "vswitch/vlan.h"

struct ext_hooks; /* core.h */

enum port_kind {
	PORT_GUEST,
	PORT_HOST,   /* the parent partition's own: a TAP */
	PORT_UPLINK, /* a wire, or one of a team's */
	PORT_TEAM,   /* the team's wires as one: has no ends of its own */
	PORT_NAT,
};

#define PORT_WEIGHT_DEFAULT 50U
#define PORT_MACS_DEFAULT   64U
#define PORT_MACS_WIRE      FDB_ENTRIES_MAX

/* What a port may send; 0: as much as it can. */
struct port_limits {
	uint64_t pps;                                       /* frames per second, all */
	uint64_t broadcast_pps, multicast_pps, unknown_pps; /* storms */
	uint64_t bytes_per_s, burst_bytes;                  /* over it, the sender waits */
	uint16_t weight; /* 1 to SCHED_WEIGHT_MAX: its share where something is scarce */
};

/* port_policy.ext: which extensions want to see the port's frames */
enum {
	PORT_EXT_CAPTURE_IN = 1U << 0,
	PORT_EXT_CAPTURE_OUT = 1U << 1,
	PORT_EXT_FILTER_IN = 1U << 2,
	PORT_EXT_FILTER_OUT = 1U << 3,
	PORT_EXT_FORWARD = 1U << 4,
};

struct port_policy {
	bool is_used;
	bool link;         /* the cable, as the user sees it */
	bool forwards;     /* the guest passes frames on: nothing coalesced for it */
	bool snoops;       /* guard.arp: what DHCP gives to the port is bound to it */
	uint8_t kind;      /* enum port_kind */
	uint8_t ext;       /* PORT_EXT_* */
	uint32_t macs_max; /* addresses learned behind it */
	struct mcast_policy mcast;
	struct vlan_policy vlan;
	struct guard_policy guard;
	struct port_limits limits;
	struct acl *acl_in,
		*acl_out; /* the policy's own, compiled for that direction; NULL: no rules */

	/* policy_seal() fills: */
	bool is_plain_in, is_plain_out; /* the short path will do */
	bool is_member;                 /* of the team: its frames are the team port's */
	uint8_t member;                 /* which one */
};

struct policy {
	uint32_t generation; /* vswitch_adopt() counts */
	uint32_t mtu;        /* of IP; frames may be 14 bytes and a tag longer */
	uint32_t fdb_age_s;
	bool snooping;   /* IGMP, MLD; else multicasts are flooded */
	bool link_local; /* passes 802.1X, LLDP and others of the addresses that bridges keep */
	bool querier;    /* and it asks for groups itself, from this address: */
	uint8_t querier_mac[NET_MAC_BYTES];
	bool has_team;         /* team.port is a port here, and team_member.uplink are ports here */
	struct team team;      /* team_init() has filled it; links: at the time of adoption */
	struct vlan_map vlans; /* of private VLANs */
	struct mirror mirror;
	const struct ext_hooks *ext; /* NULL: no extensions; borrowed */
	void *ext_ctx;
	struct port_policy ports[VSWITCH_PORTS_MAX];

	/* policy_seal() fills: */
	port_set used;    /* those that frames go to: members of the team are not among them */
	port_set uplinks; /* of these: the uplink, or the team */
	/* Where it asks: the VLANs of the other ports; those of trunks come last, as far as there is room. */
	uint16_t querier_vlans[QUERIER_VLANS_MAX];
	unsigned int querier_vlan_count; /* 0 unless querier and snooping */
};

/* The uplink, or the team: the way to hosts that are not on this one. */
static inline bool policy_is_uplink(const struct port_policy *port)
{
	return port->kind == PORT_UPLINK || port->kind == PORT_TEAM;
}

/* A policy without ports: MTU 1500, ageing FDB_AGE_S, snooping. -ENOMEM. */
MUST_CHECK int policy_create(struct policy **ret);
/* A copy of everything, rules too; to be changed and sealed. -ENOMEM. */
MUST_CHECK int policy_copy(const struct policy *policy, struct policy **ret);
/* With its rules. NULL is fine. */
void policy_destroy(struct policy *policy);

/* Puts a port of this kind there, with defaults: link up, no VLAN, no guard, no limit, no rules. */
void policy_port_init(struct policy *policy, uint16_t port, enum port_kind kind);
/* The port is not used any more; its rules are freed. */
void policy_port_fini(struct policy *policy, uint16_t port);

/* Works out what the pipeline wants to know. After the last change, before vswitch_adopt(). */
void policy_seal(struct policy *policy);

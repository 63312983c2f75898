/* SPDX-License-Identifier: MIT */
/*
 * Access control lists: the rules of one port for one direction. They are looked at by priority,
 * and the first that matches decides; ACL_COUNT only counts and the search goes on. No match:
 * allowed.
 *
 * "Local" is always the port's side and "remote" the other, for both directions: of a frame that
 * the port sends (ACL_IN, into the switch) local is the source, of one that is for the port
 * (ACL_OUT) it is the destination.
 *
 * What a frame does not show cannot be compared. Ports and ICMP types are not seen in pieces of a
 * datagram behind the first, nor where headers are cut off; the protocol is not seen behind IPv6
 * headers that were not copied out. Then ACL_DENY is taken to match and ACL_ALLOW and ACL_COUNT
 * are taken not to.
 *
 *   owner   a struct acl: who compiled it, mostly a policy   thread  any; it is never written again
 *           the counters: a core each, see below
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/diag.h"
#include "vswitch/frame.h"

#define ACL_RULES_MAX  256U /* of a port and direction */
#define ACL_IDLE_S_MAX 86400U

enum acl_action { ACL_ALLOW, ACL_DENY, ACL_COUNT };
enum acl_direction { ACL_IN, ACL_OUT };

/*
 * The first `bits` of an address; 0: any, of either family and also of what is no IP. IPv4 as
 * ::ffff:a.b.c.d, with 96 more bits: 10.0.0.0/8 has 104, and 96 is "any IPv4". Bits behind the
 * prefix are not looked at.
 */
struct acl_prefix {
	struct vframe_ip ip;
	uint8_t bits;
};

/* From first to last; 0 to 0: any, also of protocols without ports. */
struct acl_ports {
	uint16_t first, last;
};

struct acl_rule {
	uint32_t id;       /* the user's; unique within the list */
	uint32_t priority; /* lower numbers first; equal ones by id */
	uint8_t action;    /* enum acl_action */
	/* ACL_ALLOW: answers to what this rule lets through are let through too (flow.h) */
	bool is_stateful;
	uint32_t idle_s; /* how long such a flow may be silent; 0: flow.h's own */
	uint8_t protocol;
	bool has_icmp_type; /* with protocol ICMP or ICMPv6 only */
	uint8_t icmp_type;
	struct acl_prefix local, remote;
	struct acl_ports local_ports, remote_ports; /* with protocol TCP or UDP only */
	bool has_mac;
	uint8_t mac[NET_MAC_BYTES]; /* remote */
	uint16_t ethertype; /* 0: any. ARP is seen by rules with this, and by those without any
	                             * condition; its addresses are the guards' matter */
};

struct acl_verdict {
	uint8_t action;  /* ACL_ALLOW or ACL_DENY */
	bool wants_flow; /* a stateful rule: flow_add() */
	int rule;        /* index in the order of search, acl_rule_at(); -1: none matched */
};

/* One per rule and core, in the order of search. The core's loop writes, anyone reads. */
struct acl_counter {
	counter_u64 frames, bytes;
};

struct acl;

/*
 * Sorts and compiles. rules are copied. -EINVAL: one makes no sense, diag says which and why (a
 * port without a protocol that has ports, first above last, prefix too long, families that
 * differ, the same id twice, …); -E2BIG: more than ACL_RULES_MAX, also in diag; -ENOMEM.
 */
MUST_CHECK int acl_compile(const struct acl_rule *rules, unsigned int count,
			   enum acl_direction direction, struct acl **ret, struct diag *diag);

/* NULL is fine. */
void acl_destroy(struct acl *acl);

/* How many rules, and the index-th in the order of search. */
unsigned int acl_rules(const struct acl *acl);
const struct acl_rule *acl_rule_at(const struct acl *acl, unsigned int index);

/* Zeroed counters for one core; acl_counters_destroy(), NULL is fine. -ENOMEM. */
MUST_CHECK int acl_counters_create(const struct acl *acl, struct acl_counter **ret);
void acl_counters_destroy(struct acl_counter *counters);

/*
 * A new list has come: what the core has counted so far for rules that are in both (by id) is
 * added to the new counters. On the core's loop, before it uses new_acl; the old counters are not
 * changed. old_acl and from NULL: nothing happens.
 */
void acl_counters_carry(const struct acl *acl, struct acl_counter *to, const struct acl *old_acl,
			const struct acl_counter *from);

/* Rules with this id begin at 0 again; id 0: all of them. On the core's loop. */
void acl_counters_zero(const struct acl *acl, struct acl_counter *counters, uint32_t id);

/* Adds to what the rule has counted. On the core's loop. false: there is no rule with this id. */
bool acl_counters_base(const struct acl *acl, struct acl_counter *counters, uint32_t id,
		       uint64_t frames, uint64_t bytes);

/* What the decision is, and counts every rule that matched. counters may be NULL. */
struct acl_verdict acl_match(const struct acl *acl, struct acl_counter *counters,
			     const struct vframe *frame);

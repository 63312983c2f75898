/* SPDX-License-Identifier: MIT */
/*
 * A switch that asks for groups itself, where nobody else does: when it asks, and the questions. General
 * queries of IGMPv3 and MLDv2 (which hosts of older versions read as their own), two when it begins, then
 * one each QUERIER_INTERVAL_S, in each VLAN and family. While another querier with a better claim is heard
 * (mcast_has_other()) it is silent. It has no IPv4 address and asks from 0.0.0.0, so that it never wins
 * there (RFC 4541, 2.1.1); of MLD's queriers the lowest link-local address wins, and its own is made of a
 * MAC that is made up.
 *
 * About a group that somebody has left it asks at once and once more QUERIER_LAST_MS later (struct
 * querier_left), since one question, or the only answer to it, may be lost on its way.
 *
 *   owner   the core   thread  its loop; time is handed in (seconds of a monotonic clock; nanoseconds
 *           where it says so)
 *   spec    RFC 3376, 3810 (4.1, 5.1, 8, 9); 2236, 2710; 4541
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vswitch/frame.h"

#define QUERIER_VLANS_MAX       128U
#define QUERIER_INTERVAL_S      125U
#define QUERIER_STARTUP_S       31U /* a quarter of it, between the first two */
#define QUERIER_STARTUP_COUNT   2U
#define QUERIER_ANSWER_MS       10000U /* hosts have so long to answer a general query, */
#define QUERIER_LAST_MS         1000U  /* and so long one that somebody's leave has caused */
#define QUERIER_LEFT_MAX        256U   /* questions that wait to be repeated, on one core, */
#define QUERIER_LEFT_PER_PORT   16U    /* and of one port */
#define QUERIER_FRAME_BYTES_MAX 90U

struct querier_vlan {
	uint16_t vlan;
	uint8_t sent[2]; /* by family; of the first ones */
	uint32_t next_s[2];
};

/* All zeroes: asks nowhere. */
struct querier {
	unsigned int count;
	struct querier_vlan vlans[QUERIER_VLANS_MAX];
};

/* Asks in these VLANs from now on; where it has asked before, it goes on as it would have. */
void querier_set(struct querier *querier, const uint16_t *vlans, unsigned int count,
		 uint32_t now_s);

/* Whether a query is due in the index-th VLAN; true: it is taken for sent. */
bool querier_is_due(struct querier *querier, unsigned int index, bool is_v6, bool has_other,
		    uint32_t now_s);

/* What was left and is to be asked about once more. */
struct querier_again {
	uint64_t due_ns;
	struct vframe_ip group;
	uint8_t mac[NET_MAC_BYTES]; /* the group's */
	uint16_t vlan, port;
	bool is_v6;
	bool is_all; /* more was left than is asked about one by one: a general query */
};

/* In the order of their times, since all wait alike. All zeroes: none. */
struct querier_left {
	unsigned int first, count;
	struct querier_again list[QUERIER_LEFT_MAX];
};

/*
 * The first question has been sent: the next is due QUERIER_LAST_MS from now. false: there is no room, or
 * QUERIER_LEFT_PER_PORT of this port wait already; one question has to do then.
 */
bool querier_left_add(struct querier_left *left, const struct querier_again *what, uint64_t now_ns);

/* Takes the next one that is due. false: none is. */
bool querier_left_take(struct querier_left *left, uint64_t now_ns, struct querier_again *ret);

/* How long until the next is due, in nanoseconds. false: none waits. */
bool querier_left_wait(const struct querier_left *left, uint64_t now_ns, uint64_t *ret_ns);

/* The address that MLD's queries come from. */
struct vframe_ip querier_address(const uint8_t mac[NET_MAC_BYTES]);

/*
 * A query: general, or about one group (as vframe_ip has it; NULL: all). Its length: the frame has no tag
 * and is not padded.
 */
uint32_t querier_build(const uint8_t mac[NET_MAC_BYTES], bool is_v6, const struct vframe_ip *group,
		       uint32_t answer_ms, uint8_t ret[QUERIER_FRAME_BYTES_MAX]);

/* SPDX-License-Identifier: MIT */
/*
 * Several uplinks as one port of the switch. A plain value: each core has its own copy and is
 * told of links.
 *
 *   TEAM_STANDBY  one is active: the best one (lowest priority number, then lowest index) whose
 *                 link is up. With failback a better one that comes back takes over at once;
 *                 without, the active one stays until it fails. Frames that come in on the others
 *                 are dropped.
 *   TEAM_HASH     all whose links are up, by hash. The switch at the other end either takes the
 *                 links for one (is_aggregated; without LACP), then flows are spread; or does not
 *                 know, then source addresses are spread, so that it sees each on one link, and
 *                 group frames, which come in on all links, are taken from one (the best, as
 *                 above), and frames whose source lives on a local port are our own, come back,
 *                 and are dropped.
 *
 *   T1  A member that goes moves only what was on it; one that comes takes only its share.
 *
 *   owner   policy (as configured), a core (its copy)   thread  the core's loop
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "vswitch/frame.h"

#define TEAM_MEMBERS_MAX 8U
#define TEAM_SLOTS       256U /* a power of two */
#define TEAM_NO_MEMBER   0xffU
#define TEAM_RARP_BYTES  60U

enum team_mode { TEAM_STANDBY, TEAM_HASH };

struct team_member {
	uint16_t
		uplink; /* which uplink that is: the caller's number, part of no decision but T1's */
	uint8_t priority; /* lower is better */
	bool link;
};

struct team {
	uint8_t mode; /* enum team_mode */
	bool failback;
	bool is_aggregated;
	uint16_t port; /* of the switch, which all of them are */
	uint8_t member_count;
	struct team_member members[TEAM_MEMBERS_MAX];
	/* Filled by team_init() and team_link(). */
	uint8_t active;             /* STANDBY's active one; HASH: whose group frames are taken */
	uint8_t slots[TEAM_SLOTS];  /* member by hash, or TEAM_NO_MEMBER */
	uint8_t before[TEAM_SLOTS]; /* and before the last change */
};

/*
 * Checks what is configured (mode to members, link included) and fills the rest. -EINVAL with
 * diag: more than TEAM_MEMBERS_MAX, none, an uplink twice, no such mode.
 */
MUST_CHECK int team_init(struct team *team, struct diag *diag);

/* What team_pick() is to be asked with for this frame. secret: of the process, the same on all cores. */
uint32_t team_hash(const struct team *team, const struct vframe *frame, uint64_t secret);
/* The same for an address that lives on a local port and is to be announced. */
uint32_t team_hash_address(const uint8_t mac[NET_MAC_BYTES], uint64_t secret);

/* The member to send on, or -1: no link is up. */
static inline int team_pick(const struct team *team, uint32_t hash)
{
	uint8_t member = team->slots[hash % TEAM_SLOTS];

	return member == TEAM_NO_MEMBER ? -1 : (int)member;
}

/*
 * Whether a frame that came in on this member is taken; false: DROP_TEAM. source_port: where the
 * FDB says that its source lives, or -1.
 */
bool team_accepts(const struct team *team, unsigned int member, const struct vframe *frame,
		  int source_port);

/*
 * A member's link went up or down. Whether what goes where has changed: then local addresses are
 * to be announced where team_moved() says.
 */
bool team_link(struct team *team, unsigned int member, bool up);

/* After team_link() was true: the member on which an address with this hash is to be announced; -1: it has not
 * moved, or there is none. is_aggregated: announced on one, for any will do. */
int team_moved(const struct team *team, uint32_t hash);

/* The announcement: a reverse ARP request for the address itself (RFC 903), to all, without a tag. */
void team_build_rarp(const uint8_t mac[NET_MAC_BYTES], uint8_t ret[TEAM_RARP_BYTES]);

/* SPDX-License-Identifier: MIT */
/*
 * Groups: which ports want which multicast address, by listening to IGMP (1 to 3) and MLD (1, 2).
 *
 * One replica per core. The core that a report comes in on tells the others what changed (struct
 * mcast_news), and they take it with mcast_apply(); the same happens here inside of mcast_snoop().
 * Groups are Ethernet addresses, not IP addresses: 32 IPv4 groups share one, and sources (IGMPv3) are
 * not told apart: a port gets a little too much, never too little.
 *
 * A group goes to all ports (mcast_ports() is false) when it is link-local (224.0.0.x, ff02::1 and
 * such), when nobody has asked for it, when no querier was heard in its VLAN for MCAST_GRACE_S (nobody
 * has reported then), or when there is no room for it. Otherwise it goes to its members and to the router ports, which are
 * those that queries and PIM hellos came from. A group whose last member has left stays known, with no
 * members, for MCAST_MEMBER_S.
 *
 * A port leaves MCAST_LAST_MEMBER_S after its leave, unless somebody there reports meanwhile; or at
 * once (fast leave: one host per port). Reports are never suppressed or answered here.
 *
 * Where the switch itself asks (querier.h, MCAST_OURS), this stands beside a querier that is heard, and
 * ends when one with a better claim is: any with an IPv4 address, or with a lower link-local one.
 *
 * `vlan` is a frame's fid: of a private VLAN, the primary.
 *
 *   owner   the core   thread  its loop; time is handed in (seconds of a monotonic clock, any start)
 *   errors  by value; nothing is allocated after mcast_create()
 *   spec    RFC 1112, 2236, 3376 (IGMP); 2710, 3810 (MLD); 7761 (PIM hello); 4541 (snooping)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "vswitch/fdb.h"
#include "vswitch/frame.h"

#define MCAST_GROUPS_MAX        1024U
#define MCAST_MEMBERS_MAX       8192U /* ports of all groups together */
#define MCAST_ROUTERS_MAX       256U  /* router ports of all VLANs and both families together */
#define MCAST_PORT_LIMIT        256U  /* groups that a port may be in, unless configured */
#define MCAST_NEWS_MAX          192U  /* records of one report that are looked at: a full frame's */
#define MCAST_MEMBER_S          260U
#define MCAST_ROUTER_S          260U
#define MCAST_OTHER_S           255U /* twice a querier's interval and half its time to answer */
#define MCAST_LEFT_MAX          8U   /* groups left by one report that are asked about one by one */
#define MCAST_GRACE_S           12U  /* all have answered a new querier: pruning begins */
/*
 * Two questions a second apart and a second to answer the last one (RFC 3376, 8.8 to 8.10), and what may be
 * missing of the second that a leave falls into.
 */
#define MCAST_LAST_MEMBER_S     3U
#define MCAST_TELL_S            10U /* a membership that goes on is told again this often at most */
/* How much of a message is worth copying out for mcast_snoop(). */
#define MCAST_PAYLOAD_BYTES_MAX 1500U

struct mcast;

enum mcast_news_kind {
	MCAST_JOIN = 1,
	MCAST_LEAVE,   /* seconds: so long until it is true; 0: at once */
	MCAST_ROUTER,  /* there is a router behind port */
	MCAST_QUERIER, /* and it asks: reports can be expected in this VLAN */
	MCAST_ASKED, /* the querier asks about one group: who is leaving has `seconds` to say no */
	MCAST_OURS,  /* this switch has asked: reports can be expected */
	MCAST_OTHER, /* a querier with a better claim than ours is there */
};

/* A change; 16 bytes. Made by mcast_snoop() only, and taken by mcast_apply(). */
struct mcast_news {
	uint8_t kind;
	bool is_v6;
	uint8_t mac[NET_MAC_BYTES]; /* join, leave, asked */
	uint16_t vlan, port;
	uint16_t limit; /* join: of the port */
	uint16_t seconds;
};

struct mcast_news_list {
	unsigned int count;
	struct mcast_news news[MCAST_NEWS_MAX];
	/* Groups that somebody was in and leaves by and by; more than MCAST_LEFT_MAX: only how many. */
	unsigned int left_count;
	struct {
		struct vframe_ip group;
		uint8_t mac[NET_MAC_BYTES];
	} left[MCAST_LEFT_MAX];
};

/* What a port may. */
struct mcast_policy {
	uint16_t limit; /* groups that it may be in; 0: MCAST_PORT_LIMIT */
	bool fast_leave;
	bool is_host; /* no router: queries and hellos from it are not believed and go nowhere */
};

enum mcast_where {
	MCAST_BY_GROUP,   /* no message about groups: mcast_ports() */
	MCAST_TO_ALL,     /* the VLAN */
	MCAST_TO_ROUTERS, /* mcast_routers() */
	MCAST_NOWHERE,    /* drop */
};

/* -ENOMEM. secret as of fdb_create(). */
MUST_CHECK int mcast_create(uint64_t secret, struct mcast **ret);
/* NULL is fine. */
void mcast_destroy(struct mcast *mcast);

/* The address that our own MLD queries come from, for the election. */
void mcast_set_address(struct mcast *mcast, const struct vframe_ip *address);

/* Whether the querier of a VLAN is this switch; and whether there is one that it keeps silent for. */
bool mcast_is_ours(const struct mcast *mcast, uint16_t vlan, bool is_v6);
bool mcast_has_other(const struct mcast *mcast, uint16_t vlan, bool is_v6);

/* Whether a port has left the group, and nobody there has said since that it wants it. */
bool mcast_is_leaving(const struct mcast *mcast, const uint8_t mac[NET_MAC_BYTES], uint16_t vlan,
		      uint16_t port);

/* Whether the frame may be about groups: then mcast_snoop() is to see it. Cheap. */
static inline bool mcast_is_snoopable(const struct vframe *frame)
{
	const struct vframe_key *key = &frame->key;

	if (key->ip_version == 4) {
		return key->protocol == 2 || key->protocol == 103;
	}
	return key->ip_version == 6 &&
	       ((key->protocol == 58 && (key->flags & VKEY_L4) &&
		 ((key->icmp_type >= 130 && key->icmp_type <= 132) || key->icmp_type == 143)) ||
		key->protocol == 103);
}

/*
 * A frame that mcast_is_snoopable(), after vlan_ingress(): from->from and fid count. payload: from
 * key.l4_offset to vframe_ip_end(), a private copy of up to MCAST_PAYLOAD_BYTES_MAX. Where to send it.
 * *ret: what the other cores must hear.
 */
enum mcast_where mcast_snoop(struct mcast *mcast, const struct vframe *frame,
			     const uint8_t *payload, uint32_t bytes,
			     const struct mcast_policy *policy, uint32_t now_s,
			     struct mcast_news_list *ret);

/* What another core has heard. Whether anything changed. */
bool mcast_apply(struct mcast *mcast, const struct mcast_news *news, uint32_t now_s);

/*
 * Whom a frame for a group is for (its to and fid, and the IP address that it is for), its source port
 * included if it is a member. false: everybody in the VLAN. *ret is set on true only.
 */
bool mcast_ports(const struct mcast *mcast, const struct vframe *frame, port_set *ret);

/* The router ports of a VLAN; false: none is known, send to everybody. */
bool mcast_routers(const struct mcast *mcast, uint16_t vlan, bool is_v6, port_set *ret);

/* Ends what is over, all of it: once a second. A full table costs some tens of microseconds. */
void mcast_age(struct mcast *mcast, uint32_t now_s);

/* The port is gone: from every group, and as a router. */
void mcast_flush_port(struct mcast *mcast, uint16_t port);

struct mcast_counters {
	uint32_t groups, members, routers;
	uint64_t reports, leaves, queries;
	uint64_t bad; /* messages that were none: wrong length, version, checksum or hop limit */
	uint64_t refused; /* joins over the port's limit, or without room */
};
const struct mcast_counters *mcast_counters(const struct mcast *mcast);

/* A group or, with mac all zeroes, the router ports of a VLAN and family. */
struct mcast_entry {
	uint8_t mac[NET_MAC_BYTES];
	uint16_t vlan;
	bool is_v6;
	port_set ports;
	uint32_t left_s; /* of the member that stays longest */
};

/* Iterates: *cursor starts at 0; false at the end. */
bool mcast_next(const struct mcast *mcast, uint32_t *cursor, uint32_t now_s,
		struct mcast_entry *ret);

/* ---- soft state (mcast_state.c); as fdb_save() and fdb_load() ------------------------------------ */

void mcast_save(const struct mcast *mcast, uint32_t now_s, struct save *save);
void mcast_load(struct mcast *mcast, struct load *load, vswitch_port_map_fn *map, void *ctx,
		uint32_t now_s);

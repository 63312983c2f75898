/* SPDX-License-Identifier: MIT */
/*
 * What mcast.c (the tables), mcast_snoop.c (the messages) and mcast_state.c (saving) share.
 *
 *   nets      a VLAN and a family that a router or querier was heard in: its router ports
 *   groups    by hash of VLAN and address; each with a chain of members, one per port
 *
 * Pools with free lists of indices; lowest first, so that a saved table loads in its own order.
 */
#pragma once

#include "vswitch/mcast.h"

#define MCAST_NETS_MAX 256U
#define MCAST_HEADS    2048U
#define MCAST_NO_INDEX UINT16_MAX

struct mcast_net {
	bool is_used, has_querier;
	bool is_pruning; /* MCAST_GRACE_S after the querier was first heard: everybody has reported */
	bool is_v6;
	bool is_ours;   /* this switch asks */
	bool has_other; /* until other_until_s: a querier with a better claim */
	uint16_t vlan;
	uint32_t querier_until_s, prune_at_s, other_until_s;
	port_set routers;
};

struct mcast_router {
	uint16_t net, port;
	uint32_t until_s, told_s;
};

struct mcast_group {
	uint64_t key; /* fdb_key(); 0: free */
	port_set ports;
	uint32_t until_s; /* of a group without members */
	uint16_t first;   /* member */
	uint16_t next;    /* group of the same hash, or free one */
	bool is_flood;    /* somebody wants it for whom there was no room */
};

struct mcast_member {
	uint32_t until_s, told_s;
	uint16_t port, next; /* member of the same group, or free one */
	bool is_leaving;
};

struct mcast {
	uint64_t secret;
	struct vframe_ip address; /* of our own MLD queries; zeroes: it is not known */
	struct mcast_counters counters;
	uint32_t router_count;
	uint16_t free_group, free_member;
	uint16_t joined[VSWITCH_PORTS_MAX]; /* groups that a port is in */
	uint16_t net_of[2][4096];           /* by family and VLAN; 0: none, else net + 1 */
	uint16_t heads[MCAST_HEADS];
	struct mcast_net nets[MCAST_NETS_MAX];
	struct mcast_router routers[MCAST_ROUTERS_MAX];
	struct mcast_group groups[MCAST_GROUPS_MAX];
	struct mcast_member members[MCAST_MEMBERS_MAX];
};

static inline bool mcast_is_over(uint32_t until_s, uint32_t now_s)
{
	return (int32_t)(until_s - now_s) <= 0;
}

static inline bool mcast_is_v6_mac(const uint8_t mac[NET_MAC_BYTES])
{
	return mac[0] == 0x33;
}

/* Whether others are to hear of it. */
bool mcast_take(struct mcast *mcast, const struct mcast_news *news, uint32_t now_s);

/* For loading: a group without members; NULL: no room. */
struct mcast_group *mcast_group_get(struct mcast *mcast, const uint8_t mac[NET_MAC_BYTES],
				    uint16_t vlan, uint32_t now_s);
struct mcast_member *mcast_member_get(struct mcast *mcast, struct mcast_group *group, uint16_t port,
				      uint16_t limit);
struct mcast_net *mcast_net_get(struct mcast *mcast, uint16_t vlan, bool is_v6);
struct mcast_router *mcast_router_get(struct mcast *mcast, struct mcast_net *net, uint16_t port);
void mcast_unkey(uint64_t key, uint8_t mac[NET_MAC_BYTES], uint16_t *ret_vlan);

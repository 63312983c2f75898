/* SPDX-License-Identifier: MIT */
/* Saved state of groups: nets with their routers, and groups with their members. docs/formats.md */
#include <errno.h>
#include <stddef.h>

#include "proto/ether.h"
#include "state/load.h"
#include "state/save.h"
#include "vswitch/mcast_internal.h"

enum {
	MCAST_STATE_NET = 1, /* a group of these: */
	NET_STATE_VLAN = 1,
	NET_STATE_IS_V6 = 2,
	NET_STATE_QUERIER_LEFT_S = 3, /* missing: there is none */
	NET_STATE_IS_PRUNING = 4,
	NET_STATE_ROUTER = 5, /* a group: */
	ROUTER_STATE_PORT = 1,
	ROUTER_STATE_LEFT_S = 2,
	NET_STATE_OTHER_LEFT_S = 6, /* missing: no querier that ours keeps silent for */

	MCAST_STATE_GROUP = 2, /* a group of these: */
	GROUP_STATE_MAC = 1,
	GROUP_STATE_VLAN = 2,
	GROUP_STATE_LEFT_S = 3, /* without members */
	GROUP_STATE_IS_FLOOD = 4,
	GROUP_STATE_MEMBER = 5, /* a group: */
	MEMBER_STATE_PORT = 1,
	MEMBER_STATE_LEFT_S = 2,
	MEMBER_STATE_IS_LEAVING = 3,
};

static uint32_t left(uint32_t until_s, uint32_t now_s)
{
	return mcast_is_over(until_s, now_s) ? 0 : until_s - now_s;
}

static void save_net(const struct mcast *mcast, uint32_t index, uint32_t now_s, struct save *save)
{
	const struct mcast_net *net = &mcast->nets[index];

	save_group_begin(save, MCAST_STATE_NET);
	save_u32(save, NET_STATE_VLAN, net->vlan);
	save_u32(save, NET_STATE_IS_V6, net->is_v6);
	if (net->has_querier) {
		save_u32(save, NET_STATE_QUERIER_LEFT_S, left(net->querier_until_s, now_s));
		save_u32(save, NET_STATE_IS_PRUNING, net->is_pruning);
	}
	if (net->has_other) {
		save_u32(save, NET_STATE_OTHER_LEFT_S, left(net->other_until_s, now_s));
	}
	for (uint32_t i = 0; i < mcast->router_count; i++) {
		if (mcast->routers[i].net == index) {
			save_group_begin(save, NET_STATE_ROUTER);
			save_u32(save, ROUTER_STATE_PORT, mcast->routers[i].port);
			save_u32(save, ROUTER_STATE_LEFT_S, left(mcast->routers[i].until_s, now_s));
			save_group_end(save);
		}
	}
	save_group_end(save);
}

static void save_group(const struct mcast *mcast, const struct mcast_group *group, uint32_t now_s,
		       struct save *save)
{
	uint8_t mac[NET_MAC_BYTES];
	uint16_t vlan;

	mcast_unkey(group->key, mac, &vlan);
	save_group_begin(save, MCAST_STATE_GROUP);
	save_bytes(save, GROUP_STATE_MAC, mac, sizeof(mac));
	save_u32(save, GROUP_STATE_VLAN, vlan);
	save_u32(save, GROUP_STATE_LEFT_S,
		 group->first == MCAST_NO_INDEX ? left(group->until_s, now_s) : MCAST_MEMBER_S);
	save_u32(save, GROUP_STATE_IS_FLOOD, group->is_flood);
	for (uint16_t at = group->first; at != MCAST_NO_INDEX; at = mcast->members[at].next) {
		save_group_begin(save, GROUP_STATE_MEMBER);
		save_u32(save, MEMBER_STATE_PORT, mcast->members[at].port);
		save_u32(save, MEMBER_STATE_LEFT_S, left(mcast->members[at].until_s, now_s));
		save_u32(save, MEMBER_STATE_IS_LEAVING, mcast->members[at].is_leaving);
		save_group_end(save);
	}
	save_group_end(save);
}

void mcast_save(const struct mcast *mcast, uint32_t now_s, struct save *save)
{
	for (uint32_t i = 0; i < MCAST_NETS_MAX; i++) {
		if (mcast->nets[i].is_used) {
			save_net(mcast, i, now_s, save);
		}
	}
	for (unsigned int i = 0; i < MCAST_GROUPS_MAX; i++) {
		if (mcast->groups[i].key != 0) {
			save_group(mcast, &mcast->groups[i], now_s, save);
		}
	}
}

struct loading {
	struct mcast *mcast;
	vswitch_port_map_fn *map;
	void *ctx;
	uint32_t now_s;
};

/* A port's number and times, of a router or a member: both have the same tags. */
struct saved_port {
	int port; /* -1: not here any more */
	uint32_t left_s;
	bool is_leaving;
};

static struct saved_port load_port(const struct loading *l, struct load *load)
{
	struct saved_port ret = { .port = -1 };
	uint32_t saved = UINT32_MAX;
	struct load_field f;

	_Static_assert((int)ROUTER_STATE_PORT == (int)MEMBER_STATE_PORT &&
			       (int)ROUTER_STATE_LEFT_S == (int)MEMBER_STATE_LEFT_S,
		       "one reader for both");
	while (load_next(load, &f)) {
		switch (f.tag) {
		case MEMBER_STATE_PORT:
			saved = load_u32(load, &f);
			break;
		case MEMBER_STATE_LEFT_S:
			ret.left_s = load_u32(load, &f);
			break;
		case MEMBER_STATE_IS_LEAVING:
			ret.is_leaving = load_u32(load, &f) != 0;
			break;
		default:
			break;
		}
	}
	if (saved >= VSWITCH_PORTS_MAX || ret.left_s > MCAST_MEMBER_S) {
		load_fail(load);
		return ret;
	}
	ret.port = l->map ? l->map(l->ctx, saved) : (int)saved;
	return ret;
}

static void load_router(const struct loading *l, struct load *load, struct mcast_net *net)
{
	struct saved_port saved = load_port(l, load);
	struct mcast_router *router;

	if (load_result(load) != 0 || saved.port < 0 || !net) {
		return;
	}
	router = mcast_router_get(l->mcast, net, (uint16_t)saved.port);
	if (router) {
		router->until_s = l->now_s + saved.left_s;
		router->told_s = l->now_s;
	}
}

static void load_net(const struct loading *l, struct load *load)
{
	uint32_t vlan = UINT32_MAX, is_v6 = 0, left_s = 0;
	struct mcast_net *net = NULL;
	struct load_field f;

	while (load_next(load, &f)) {
		struct load inner;

		switch (f.tag) {
		case NET_STATE_VLAN:
			vlan = load_u32(load, &f);
			break;
		case NET_STATE_IS_V6:
			is_v6 = load_u32(load, &f);
			if (vlan > ETHER_VLAN_MAX || is_v6 > 1) {
				load_fail(load);
				return;
			}
			net = mcast_net_get(l->mcast, (uint16_t)vlan, is_v6);
			break;
		case NET_STATE_QUERIER_LEFT_S:
			left_s = load_u32(load, &f);
			if (left_s > MCAST_ROUTER_S) {
				load_fail(load);
			} else if (net) {
				net->has_querier = true;
				net->querier_until_s = l->now_s + left_s;
				net->prune_at_s = l->now_s + MCAST_GRACE_S;
			}
			break;
		case NET_STATE_IS_PRUNING:
			if (load_u32(load, &f) && net && net->has_querier) {
				net->is_pruning = true;
			}
			break;
		case NET_STATE_OTHER_LEFT_S:
			left_s = load_u32(load, &f);
			if (left_s > MCAST_OTHER_S) {
				load_fail(load);
			} else if (net) {
				net->has_other = true;
				net->other_until_s = l->now_s + left_s;
			}
			break;
		case NET_STATE_ROUTER:
			load_group(load, &f, &inner);
			load_router(l, &inner, net);
			load_close(load, &inner);
			break;
		default:
			break;
		}
	}
}

static void load_member(const struct loading *l, struct load *load, struct mcast_group *group)
{
	struct saved_port saved = load_port(l, load);
	struct mcast_member *member;

	if (load_result(load) != 0 || saved.port < 0 || !group) {
		return;
	}
	member = mcast_member_get(l->mcast, group, (uint16_t)saved.port, MCAST_GROUPS_MAX);
	if (member) {
		member->until_s = l->now_s + saved.left_s;
		member->told_s = l->now_s;
		member->is_leaving = saved.is_leaving;
	}
}

static void load_one_group(const struct loading *l, struct load *load)
{
	uint8_t mac[NET_MAC_BYTES] = { 0 };
	struct mcast_group *group = NULL;
	struct load_field f;
	uint32_t value;

	while (load_next(load, &f)) {
		struct load inner;

		switch (f.tag) {
		case GROUP_STATE_MAC:
			load_bytes(load, &f, mac, sizeof(mac));
			break;
		case GROUP_STATE_VLAN:
			value = load_u32(load, &f);
			if (value > ETHER_VLAN_MAX || !(mac[0] & 1)) {
				load_fail(load);
				return;
			}
			group = mcast_group_get(l->mcast, mac, (uint16_t)value, l->now_s);
			break;
		case GROUP_STATE_LEFT_S:
			value = load_u32(load, &f);
			if (value > MCAST_MEMBER_S) {
				load_fail(load);
			} else if (group) {
				group->until_s = l->now_s + value;
			}
			break;
		case GROUP_STATE_IS_FLOOD:
			value = load_u32(load, &f);
			if (group) {
				group->is_flood = value != 0;
			}
			break;
		case GROUP_STATE_MEMBER:
			load_group(load, &f, &inner);
			load_member(l, &inner, group);
			load_close(load, &inner);
			break;
		default:
			break;
		}
	}
}

void mcast_load(struct mcast *mcast, struct load *load, vswitch_port_map_fn *map, void *ctx,
		uint32_t now_s)
{
	const struct loading l = { mcast, map, ctx, now_s };
	struct load_field f;

	while (load_next(load, &f)) {
		struct load inner;

		if (f.tag != MCAST_STATE_NET && f.tag != MCAST_STATE_GROUP) {
			continue;
		}
		load_group(load, &f, &inner);
		if (f.tag == MCAST_STATE_NET) {
			load_net(&l, &inner);
		} else {
			load_one_group(&l, &inner);
		}
		load_close(load, &inner);
	}
}

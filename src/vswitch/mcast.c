/* SPDX-License-Identifier: MIT */
#include "vswitch/mcast.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "vswitch/mcast_internal.h"

#define LINK_LOCAL_V4_FIRST 0xffffe0000000ULL /* ::ffff:224.0.0.0/24 */
#define KEY_USED            (1ULL << 60)

int mcast_create(uint64_t secret, struct mcast **ret)
{
	struct mcast *mcast = fault_alloc(1, sizeof(*mcast));

	if (!mcast) {
		return -ENOMEM;
	}
	mcast->secret = secret;
	for (unsigned int i = 0; i < MCAST_HEADS; i++) {
		mcast->heads[i] = MCAST_NO_INDEX;
	}
	for (unsigned int i = 0; i < MCAST_GROUPS_MAX; i++) {
		mcast->groups[i].next =
			i + 1 < MCAST_GROUPS_MAX ? (uint16_t)(i + 1) : MCAST_NO_INDEX;
	}
	for (unsigned int i = 0; i < MCAST_MEMBERS_MAX; i++) {
		mcast->members[i].next =
			i + 1 < MCAST_MEMBERS_MAX ? (uint16_t)(i + 1) : MCAST_NO_INDEX;
	}
	*ret = mcast;
	return 0;
}

void mcast_destroy(struct mcast *mcast)
{
	free(mcast);
}

const struct mcast_counters *mcast_counters(const struct mcast *mcast)
{
	return &mcast->counters;
}

/* ---- groups and members ------------------------------------------------------------------------ */

static uint64_t group_key(const uint8_t mac[NET_MAC_BYTES], uint16_t vlan)
{
	return fdb_key(mac, vlan) | KEY_USED;
}

void mcast_unkey(uint64_t key, uint8_t mac[NET_MAC_BYTES], uint16_t *ret_vlan)
{
	for (unsigned int i = 0; i < NET_MAC_BYTES; i++) {
		mac[i] = (uint8_t)(key >> (8 * i));
	}
	*ret_vlan = (uint16_t)(key >> 48 & 0xfff);
}

static uint16_t *head_of(struct mcast *mcast, uint64_t key)
{
	return &mcast->heads[hash_mix(mcast->secret, key) % MCAST_HEADS];
}

static const struct mcast_group *find_group(const struct mcast *mcast, uint64_t key)
{
	uint16_t at = mcast->heads[hash_mix(mcast->secret, key) % MCAST_HEADS];

	while (at != MCAST_NO_INDEX && mcast->groups[at].key != key) {
		at = mcast->groups[at].next;
	}
	return at == MCAST_NO_INDEX ? NULL : &mcast->groups[at];
}

static void free_group(struct mcast *mcast, struct mcast_group *group)
{
	uint16_t index = (uint16_t)(group - mcast->groups);
	uint16_t *link = head_of(mcast, group->key);

	while (*link != index) {
		link = &mcast->groups[*link].next;
	}
	*link = group->next;
	*group = (struct mcast_group){ .first = MCAST_NO_INDEX, .next = mcast->free_group };
	mcast->free_group = index;
	mcast->counters.groups--;
}

/* Takes the member that *link names out of its group. */
static void free_member(struct mcast *mcast, struct mcast_group *group, uint16_t *link,
			uint32_t now_s)
{
	uint16_t index = *link;
	struct mcast_member *member = &mcast->members[index];

	port_set_remove(&group->ports, member->port);
	mcast->joined[member->port]--;
	mcast->counters.members--;
	*link = member->next;
	*member = (struct mcast_member){ .next = mcast->free_member };
	mcast->free_member = index;
	if (group->first == MCAST_NO_INDEX) {
		group->until_s = now_s + MCAST_MEMBER_S;
	}
}

/* A table full of groups that nobody is in any more has room. */
static bool make_group(struct mcast *mcast)
{
	for (unsigned int i = 0; mcast->free_group == MCAST_NO_INDEX && i < MCAST_GROUPS_MAX; i++) {
		struct mcast_group *group = &mcast->groups[i];

		if (group->first == MCAST_NO_INDEX && !group->is_flood) {
			free_group(mcast, group);
		}
	}
	return mcast->free_group != MCAST_NO_INDEX;
}

struct mcast_group *mcast_group_get(struct mcast *mcast, const uint8_t mac[NET_MAC_BYTES],
				    uint16_t vlan, uint32_t now_s)
{
	uint64_t key = group_key(mac, vlan);
	struct mcast_group *group = (struct mcast_group *)(uintptr_t)find_group(mcast, key);
	uint16_t *head = head_of(mcast, key);
	uint16_t index;

	if (group) {
		return group;
	}
	if (!make_group(mcast)) {
		return NULL;
	}
	index = mcast->free_group;
	group = &mcast->groups[index];
	mcast->free_group = group->next;
	*group = (struct mcast_group){
		.key = key,
		.first = MCAST_NO_INDEX,
		.next = *head,
		.until_s = now_s + MCAST_MEMBER_S,
	};
	*head = index;
	mcast->counters.groups++;
	return group;
}

static uint16_t *find_member(struct mcast *mcast, struct mcast_group *group, uint16_t port)
{
	uint16_t *link = &group->first;

	while (*link != MCAST_NO_INDEX && mcast->members[*link].port != port) {
		link = &mcast->members[*link].next;
	}
	return link;
}

struct mcast_member *mcast_member_get(struct mcast *mcast, struct mcast_group *group, uint16_t port,
				      uint16_t limit)
{
	uint16_t *link = find_member(mcast, group, port);
	struct mcast_member *member;

	if (*link != MCAST_NO_INDEX) {
		return &mcast->members[*link];
	}
	if (mcast->joined[port] >= limit) {
		return NULL;
	}
	if (mcast->free_member == MCAST_NO_INDEX) {
		group->is_flood = true;
		return NULL;
	}
	*link = mcast->free_member;
	member = &mcast->members[*link];
	mcast->free_member = member->next;
	*member = (struct mcast_member){ .port = port, .next = MCAST_NO_INDEX };
	port_set_add(&group->ports, port);
	mcast->joined[port]++;
	mcast->counters.members++;
	return member;
}

static bool take_join(struct mcast *mcast, const struct mcast_news *news, uint32_t now_s)
{
	uint64_t key = group_key(news->mac, news->vlan);
	struct mcast_group *group = (struct mcast_group *)(uintptr_t)find_group(mcast, key);
	struct mcast_member *member = NULL;
	bool is_new;

	/* Over its limit, a port makes no group known either. */
	if (group || mcast->joined[news->port] < news->limit) {
		group = mcast_group_get(mcast, news->mac, news->vlan, now_s);
	}
	is_new = group && !port_set_has(&group->ports, news->port);
	if (group) {
		member = mcast_member_get(mcast, group, news->port, news->limit);
	}
	if (!member) {
		mcast->counters.refused++;
		return false;
	}
	is_new = is_new || member->is_leaving || now_s - member->told_s >= MCAST_TELL_S;
	if (is_new) {
		member->told_s = now_s;
	}
	member->is_leaving = false;
	member->until_s = now_s + MCAST_MEMBER_S;
	return is_new;
}

bool mcast_is_leaving(const struct mcast *mcast, const uint8_t mac[NET_MAC_BYTES], uint16_t vlan,
		      uint16_t port)
{
	const struct mcast_group *group = find_group(mcast, group_key(mac, vlan));
	uint16_t at = group ? group->first : MCAST_NO_INDEX;

	while (at != MCAST_NO_INDEX && mcast->members[at].port != port) {
		at = mcast->members[at].next;
	}
	return at != MCAST_NO_INDEX && mcast->members[at].is_leaving;
}

static bool take_leave(struct mcast *mcast, const struct mcast_news *news, uint32_t now_s)
{
	uint64_t key = group_key(news->mac, news->vlan);
	struct mcast_group *group = (struct mcast_group *)(uintptr_t)find_group(mcast, key);
	struct mcast_member *member;
	uint16_t *link;

	if (!group) {
		return false;
	}
	if (news->kind == MCAST_ASKED) {
		bool is_any = false;

		/* The answer may take as long as the querier gives it. */
		for (uint16_t at = group->first; at != MCAST_NO_INDEX;
		     at = mcast->members[at].next) {
			member = &mcast->members[at];
			if (member->is_leaving &&
			    (int32_t)(now_s + news->seconds - member->until_s) > 0) {
				member->until_s = now_s + news->seconds;
				is_any = true;
			}
		}
		return is_any;
	}
	link = find_member(mcast, group, news->port);
	if (*link == MCAST_NO_INDEX) {
		return false;
	}
	member = &mcast->members[*link];
	if (news->seconds == 0) {
		free_member(mcast, group, link, now_s);
		return true;
	}
	if (member->is_leaving) {
		return false;
	}
	member->is_leaving = true;
	if ((int32_t)(member->until_s - now_s) > news->seconds) {
		member->until_s = now_s + news->seconds;
	}
	return true;
}

/* ---- routers ----------------------------------------------------------------------------------- */

struct mcast_net *mcast_net_get(struct mcast *mcast, uint16_t vlan, bool is_v6)
{
	uint16_t *index = &mcast->net_of[is_v6][vlan & 0xfff];

	for (unsigned int i = 0; *index == 0 && i < MCAST_NETS_MAX; i++) {
		if (!mcast->nets[i].is_used) {
			mcast->nets[i] = (struct mcast_net){ .is_used = true,
							     .is_v6 = is_v6,
							     .vlan = vlan & 0xfff };
			*index = (uint16_t)(i + 1);
		}
	}
	return *index ? &mcast->nets[*index - 1] : NULL;
}

static void put_net(struct mcast *mcast, struct mcast_net *net)
{
	if (!net->has_querier && !net->has_other && port_set_is_empty(&net->routers)) {
		mcast->net_of[net->is_v6][net->vlan] = 0;
		*net = (struct mcast_net){ 0 };
	}
}

struct mcast_router *mcast_router_get(struct mcast *mcast, struct mcast_net *net, uint16_t port)
{
	uint16_t index = (uint16_t)(net - mcast->nets);
	struct mcast_router *router;

	for (uint32_t i = 0; i < mcast->router_count; i++) {
		if (mcast->routers[i].net == index && mcast->routers[i].port == port) {
			return &mcast->routers[i];
		}
	}
	if (mcast->router_count == MCAST_ROUTERS_MAX) {
		return NULL;
	}
	router = &mcast->routers[mcast->router_count++];
	*router = (struct mcast_router){ .net = index, .port = port };
	port_set_add(&net->routers, port);
	mcast->counters.routers = mcast->router_count;
	return router;
}

/* In order, for saving. */
static void free_router(struct mcast *mcast, uint32_t index)
{
	struct mcast_net *net = &mcast->nets[mcast->routers[index].net];

	port_set_remove(&net->routers, mcast->routers[index].port);
	memmove(&mcast->routers[index], &mcast->routers[index + 1],
		(mcast->router_count - index - 1) * sizeof(mcast->routers[0]));
	mcast->counters.routers = --mcast->router_count;
	put_net(mcast, net);
}

static bool take_router(struct mcast *mcast, const struct mcast_news *news, uint32_t now_s)
{
	struct mcast_net *net = mcast_net_get(mcast, news->vlan, news->is_v6);
	struct mcast_router *router;
	bool is_new;

	if (!net) {
		return false;
	}
	is_new = !port_set_has(&net->routers, news->port);
	router = mcast_router_get(mcast, net, news->port);
	if (!router) {
		/* Unknown routers must not be cut off: nothing is pruned here any more. */
		net->is_pruning = false;
		net->has_querier = false;
		net->is_ours = false;
		put_net(mcast, net);
		return false;
	}
	is_new = is_new || now_s - router->told_s >= MCAST_TELL_S;
	if (is_new) {
		router->told_s = now_s;
	}
	router->until_s = now_s + MCAST_ROUTER_S;
	return is_new;
}

static bool take_querier(struct mcast *mcast, const struct mcast_news *news, uint32_t now_s)
{
	struct mcast_net *net = mcast_net_get(mcast, news->vlan, news->is_v6);
	bool is_new;

	if (!net) {
		return false;
	}
	is_new = !net->has_querier || net->querier_until_s - now_s + MCAST_TELL_S <= MCAST_ROUTER_S;
	if (!net->has_querier) {
		net->has_querier = true;
		net->prune_at_s = now_s + MCAST_GRACE_S;
	}
	net->querier_until_s = now_s + MCAST_ROUTER_S;
	return is_new;
}

static bool take_ours(struct mcast *mcast, const struct mcast_news *news, uint32_t now_s)
{
	bool is_new = take_querier(mcast, news, now_s);
	struct mcast_net *net = mcast_net_get(mcast, news->vlan, news->is_v6);

	if (!net) {
		return false;
	}
	if (net->has_other) {
		return is_new; /* who asked had not heard of it yet */
	}
	is_new |= !net->is_ours;
	net->is_ours = true;
	return is_new;
}

static bool take_other(struct mcast *mcast, const struct mcast_news *news, uint32_t now_s)
{
	struct mcast_net *net = mcast_net_get(mcast, news->vlan, news->is_v6);
	bool is_new;

	if (!net) {
		return false;
	}
	is_new = !net->has_other || net->other_until_s - now_s + MCAST_TELL_S <= MCAST_OTHER_S;
	net->is_ours = false;
	net->has_other = true;
	net->other_until_s = now_s + MCAST_OTHER_S;
	return is_new;
}

/* ---- all together ------------------------------------------------------------------------------ */

bool mcast_take(struct mcast *mcast, const struct mcast_news *news, uint32_t now_s)
{
	check(news->port < VSWITCH_PORTS_MAX);
	switch ((enum mcast_news_kind)news->kind) {
	case MCAST_JOIN:
		return take_join(mcast, news, now_s);
	case MCAST_LEAVE:
	case MCAST_ASKED:
		return take_leave(mcast, news, now_s);
	case MCAST_ROUTER:
		return take_router(mcast, news, now_s);
	case MCAST_QUERIER:
		return take_querier(mcast, news, now_s);
	case MCAST_OURS:
		return take_ours(mcast, news, now_s);
	case MCAST_OTHER:
		return take_other(mcast, news, now_s);
	default:
		return false;
	}
}

bool mcast_apply(struct mcast *mcast, const struct mcast_news *news, uint32_t now_s)
{
	return mcast_take(mcast, news, now_s);
}

static const struct mcast_net *find_net(const struct mcast *mcast, uint16_t vlan, bool is_v6)
{
	uint16_t index = mcast->net_of[is_v6][vlan & 0xfff];

	return index ? &mcast->nets[index - 1] : NULL;
}

void mcast_set_address(struct mcast *mcast, const struct vframe_ip *address)
{
	mcast->address = *address;
}

bool mcast_is_ours(const struct mcast *mcast, uint16_t vlan, bool is_v6)
{
	const struct mcast_net *net = find_net(mcast, vlan, is_v6);

	return net && net->is_ours;
}

bool mcast_has_other(const struct mcast *mcast, uint16_t vlan, bool is_v6)
{
	const struct mcast_net *net = find_net(mcast, vlan, is_v6);

	return net && net->has_other;
}

bool mcast_ports(const struct mcast *mcast, const struct vframe *frame, port_set *ret)
{
	const struct vframe_key *key = &frame->key;
	const struct mcast_net *net;
	const struct mcast_group *group;

	if (key->ip_version == 4) {
		if ((key->ip_to.lo & ~0xffULL) == LINK_LOCAL_V4_FIRST || key->to[0] != 0x01) {
			return false;
		}
	} else if (key->ip_version != 6 || (key->ip_to.hi >> 48 & 0xf) <= 2 || key->to[0] != 0x33) {
		return false;
	}
	net = find_net(mcast, frame->fid, key->ip_version == 6);
	if (!net || !net->is_pruning) {
		return false;
	}
	group = find_group(mcast, group_key(key->to, frame->fid));
	if (!group || group->is_flood) {
		return false;
	}
	*ret = group->ports;
	port_set_or(ret, &net->routers);
	return true;
}

bool mcast_routers(const struct mcast *mcast, uint16_t vlan, bool is_v6, port_set *ret)
{
	const struct mcast_net *net = find_net(mcast, vlan, is_v6);

	if (!net || port_set_is_empty(&net->routers)) {
		return false;
	}
	*ret = net->routers;
	return true;
}

static void age_groups(struct mcast *mcast, uint32_t now_s)
{
	for (unsigned int i = 0; i < MCAST_GROUPS_MAX; i++) {
		struct mcast_group *group = &mcast->groups[i];

		if (group->key == 0) {
			continue;
		}
		for (uint16_t *link = &group->first; *link != MCAST_NO_INDEX;) {
			if (mcast_is_over(mcast->members[*link].until_s, now_s)) {
				free_member(mcast, group, link, now_s);
			} else {
				link = &mcast->members[*link].next;
			}
		}
		if (group->first == MCAST_NO_INDEX && mcast_is_over(group->until_s, now_s)) {
			free_group(mcast, group);
		}
	}
}

void mcast_age(struct mcast *mcast, uint32_t now_s)
{
	age_groups(mcast, now_s);
	for (uint32_t i = mcast->router_count; i > 0; i--) {
		if (mcast_is_over(mcast->routers[i - 1].until_s, now_s)) {
			free_router(mcast, i - 1);
		}
	}
	for (unsigned int i = 0; i < MCAST_NETS_MAX; i++) {
		struct mcast_net *net = &mcast->nets[i];

		if (!net->is_used) {
			continue;
		}
		if (net->has_other && mcast_is_over(net->other_until_s, now_s)) {
			net->has_other = false;
		}
		if (!net->has_querier) {
			put_net(mcast, net);
		} else if (mcast_is_over(net->querier_until_s, now_s)) {
			net->has_querier = false;
			net->is_pruning = false;
			net->is_ours = false;
			put_net(mcast, net);
		} else if (!net->is_pruning && mcast_is_over(net->prune_at_s, now_s)) {
			net->is_pruning = true;
		}
	}
}

void mcast_flush_port(struct mcast *mcast, uint16_t port)
{
	check(port < VSWITCH_PORTS_MAX);
	for (unsigned int i = 0; i < MCAST_GROUPS_MAX && mcast->joined[port]; i++) {
		struct mcast_group *group = &mcast->groups[i];
		uint16_t *link;

		if (group->key == 0 || !port_set_has(&group->ports, port)) {
			continue;
		}
		link = find_member(mcast, group, port);
		/* Nobody left: as if it never had been; until_s in the past. */
		free_member(mcast, group, link, 0);
		if (group->first == MCAST_NO_INDEX && !group->is_flood) {
			free_group(mcast, group);
		}
	}
	for (uint32_t i = mcast->router_count; i > 0; i--) {
		if (mcast->routers[i - 1].port == port) {
			free_router(mcast, i - 1);
		}
	}
}

bool mcast_next(const struct mcast *mcast, uint32_t *cursor, uint32_t now_s,
		struct mcast_entry *ret)
{
	for (; *cursor < MCAST_GROUPS_MAX; (*cursor)++) {
		const struct mcast_group *group = &mcast->groups[*cursor];
		uint32_t until_s = group->until_s;

		if (group->key == 0) {
			continue;
		}
		*ret = (struct mcast_entry){ .ports = group->ports };
		mcast_unkey(group->key, ret->mac, &ret->vlan);
		ret->is_v6 = mcast_is_v6_mac(ret->mac);
		for (uint16_t at = group->first; at != MCAST_NO_INDEX;
		     at = mcast->members[at].next) {
			if (at == group->first ||
			    (int32_t)(mcast->members[at].until_s - until_s) > 0) {
				until_s = mcast->members[at].until_s;
			}
		}
		ret->left_s = mcast_is_over(until_s, now_s) ? 0 : until_s - now_s;
		(*cursor)++;
		return true;
	}
	for (; *cursor < MCAST_GROUPS_MAX + MCAST_NETS_MAX; (*cursor)++) {
		uint32_t index = *cursor - MCAST_GROUPS_MAX;
		const struct mcast_net *net = &mcast->nets[index];

		if (!net->is_used) {
			continue;
		}
		*ret = (struct mcast_entry){ .vlan = net->vlan,
					     .is_v6 = net->is_v6,
					     .ports = net->routers };
		for (uint32_t i = 0; i < mcast->router_count; i++) {
			const struct mcast_router *router = &mcast->routers[i];

			if (router->net == index && !mcast_is_over(router->until_s, now_s) &&
			    router->until_s - now_s > ret->left_s) {
				ret->left_s = router->until_s - now_s;
			}
		}
		(*cursor)++;
		return true;
	}
	return false;
}

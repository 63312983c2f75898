/* SPDX-License-Identifier: MIT */
/* Stage 8: the source is learned, and the tables say where a frame goes: address, group, or all. */
#include <string.h>

#include "base/num.h"
#include "vswitch/core_internal.h"

static void tell_address(struct core *core, const struct vframe *frame)
{
	struct news news = { .kind = NEWS_FDB, .port = frame->from, .vlan = frame->fid };

	if (core->cores > 1) {
		memcpy(news.mac, frame->key.from, sizeof(news.mac));
		(void)core_tell(core, &news); /* lost: they flood until it is told again */
	}
}

bool pipeline_learn(struct core *core, struct vframe *frame, uint32_t macs_max)
{
	switch (fdb_learn(core->fdb, frame->key.from, frame->fid, frame->from, macs_max,
			  core->now_s)) {
	case FDB_NEW:
	case FDB_MOVED:
	case FDB_REFRESH:
		tell_address(core, frame);
		return true;
	case FDB_REFUSED_LIMIT:
		pipeline_kill(core, frame, DROP_MAC_LIMIT);
		return false;
	case FDB_KNOWN:
	case FDB_REFUSED_STATIC: /* another's address: it may send, and answers go to the other */
	case FDB_REFUSED_FULL:
	default:
		return true;
	}
}

static void flood(struct core *core, struct vframe *frame)
{
	frame->to = core->policy->used;
	counter_add(&core->counters.flooded, 1);
}

/* The switch itself asks for groups where this frame is. */
static bool is_ours(const struct core *core, const struct vframe *frame)
{
	return core->policy->querier &&
	       mcast_is_ours(core->mcast, frame->fid, frame->key.ip_version == 6);
}

/*
 * Who asks from no address is no router to other switches, and hears of no reports that they keep from it:
 * where the switch itself asks, its uplinks get everything, as ports with a router do.
 */
static void add_uplinks(const struct core *core, struct vframe *frame)
{
	if (is_ours(core, frame)) {
		port_set_or(&frame->to, &core->policy->uplinks);
	}
}

/* Messages about groups are listened to, and go where those who need them are. */
static bool snoop(struct core *core, struct vframe *frame)
{
	uint32_t end = vframe_ip_end(frame), l4 = frame->key.l4_offset, bytes = 0;
	struct news news = { .kind = NEWS_MCAST };
	enum mcast_where where;

	if (l4 && end > l4) {
		bytes = vframe_copy(frame, l4, core->payload,
				    (uint32_t)num_min(end - l4, sizeof(core->payload)));
	}
	core->heard.count = core->heard.left_count = 0;
	where = mcast_snoop(core->mcast, frame, core->payload, bytes,
			    &core->policy->ports[frame->from].mcast, core->now_s, &core->heard);
	for (unsigned int i = 0; i < core->heard.count && core->cores > 1; i++) {
		news.mcast = core->heard.news[i];
		(void)core_tell(core, &news); /* it is told again with the next report */
	}
	core_ask_left(core, frame);
	switch (where) {
	case MCAST_TO_ALL:
		flood(core, frame);
		return true;
	case MCAST_TO_ROUTERS:
		if (!mcast_routers(core->mcast, frame->fid, frame->key.ip_version == 6,
				   &frame->to) &&
		    !is_ours(core, frame)) {
			flood(core, frame);
		}
		add_uplinks(core, frame);
		return true;
	case MCAST_NOWHERE:
		port_set_clear(&frame->to);
		return true;
	case MCAST_BY_GROUP:
	default:
		return false;
	}
}

static void find_group(struct core *core, struct vframe *frame)
{
	if (!core->policy->snooping || vframe_is_broadcast(frame)) {
		flood(core, frame);
	} else if (mcast_is_snoopable(frame) && snoop(core, frame)) {
		port_set_and(&frame->to, &core->policy->used);
	} else if (mcast_ports(core->mcast, frame, &frame->to)) {
		add_uplinks(core, frame);
		port_set_and(&frame->to, &core->policy->used);
	} else {
		flood(core, frame);
	}
}

static void flood_unknown(struct core *core, struct vframe *frame)
{
	const struct port_limits *limits = &core->policy->ports[frame->from].limits;

	if (limits->unknown_pps &&
	    !bucket_take(&core->slow[frame->from].unknown, 1, loop_now_ns())) {
		pipeline_kill(core, frame, DROP_STORM_UNKNOWN);
		return;
	}
	flood(core, frame);
}

static bool accepts_from_team(struct core *core, struct vframe *frame)
{
	int source = fdb_find(core->fdb, frame->key.from, frame->fid);

	return team_accepts(&core->team, frame->member, frame,
			    source == (int)core->team.port ? -1 : source);
}

int pipeline_find_port(struct core *core, const struct vframe *frame)
{
	int port = fdb_find(core->fdb, frame->key.to, frame->fid);

	if (port < 0 && core->cores > 1) {
		core_take_news(core);
		port = fdb_find(core->fdb, frame->key.to, frame->fid);
	}
	return port;
}

/*
 * Of the addresses that no bridge forwards (IEEE 802.1Q, 8.6.3) spanning tree's passes, for nobody here speaks
 * that, and others if they may; but never what is between the two ends of one cable: pause and slow protocols
 * (LACP).
 */
static bool is_kept(const struct core *core, const struct vframe *frame)
{
	static const uint8_t reserved[] = { 0x01, 0x80, 0xc2, 0x00, 0x00 };
	const uint8_t last = frame->key.to[5];

	return memcmp(frame->key.to, reserved, sizeof(reserved)) == 0 && last >= 0x01 &&
	       last <= (core->policy->link_local ? 0x02 : 0x0f);
}

bool pipeline_find(struct core *core, struct vframe *frame)
{
	int port;

	if (vframe_is_group(frame)) {
		if (is_kept(core, frame)) {
			pipeline_kill(core, frame, DROP_LINK_LOCAL);
			return false;
		}
		find_group(core, frame);
		port_set_remove(&frame->to, frame->from);
		return true;
	}
	port = pipeline_find_port(core, frame);
	if (port < 0) {
		flood_unknown(core, frame);
		port_set_remove(&frame->to, frame->from);
		return true;
	}
	if (port == (int)frame->from) {
		pipeline_kill(core, frame, DROP_SPLIT_HORIZON);
		return false;
	}
	port_set_add(&frame->to, (unsigned int)port);
	return false;
}

bool pipeline_forward(struct core *core, struct vframe *frame)
{
	const struct policy *policy = core->policy;
	const struct port_policy *port = &policy->ports[frame->from];
	enum drop_cause cause = DROP_EXT_FILTER;

	port_set_clear(&frame->to);
	if (frame->member != VSWITCH_NO_PORT && !accepts_from_team(core, frame)) {
		pipeline_kill(core, frame, DROP_TEAM);
		return false;
	}
	if (!pipeline_learn(core, frame, port->macs_max)) {
		return false;
	}
	if (policy->ext && port->ext & PORT_EXT_FORWARD) {
		switch (policy->ext->forward(policy->ext_ctx, core, frame, &cause)) {
		case EXT_DROP:
			pipeline_kill(core, frame, cause);
			return false;
		case EXT_TAKEN:
			frame->drop = FRAME_TAKEN;
			return false;
		case EXT_SENT:
			port_set_and(&frame->to, &policy->used);
			port_set_remove(&frame->to, frame->from);
			return true;
		case EXT_PASS:
		default:
			break;
		}
	}
	return pipeline_find(core, frame);
}

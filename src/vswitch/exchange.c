/* SPDX-License-Identifier: MIT */
/* Between cores: news, frames handed over, and who waits for a wire. */
#include "vswitch/core_internal.h"

/* ---- news -------------------------------------------------------------------------------------- */

bool core_tell(struct core *core, const struct news *news)
{
	/* All or none: half of the cores knowing a flow would be half a state. */
	for (unsigned int i = 0; i < core->cores; i++) {
		if (core->news_out[i] && news_room(core->news_out[i]) == 0) {
			counter_add(&core->counters.news_lost, 1);
			return false;
		}
	}
	for (unsigned int i = 0; i < core->cores; i++) {
		struct news_ring *ring = core->news_out[i];

		if (!ring) {
			continue;
		}
		check(news_put(ring, news));
		if (news_count(ring) >= NEWS_DEPTH / 2) {
			/* It sleeps, or has had no reason to look. */
			loop_post(core->vswitch->cores[i]->loop, &core->vswitch->cores[i]->news);
		}
	}
	counter_add(&core->counters.news_told, core->cores > 1);
	return true;
}

static void take(struct core *core, const struct news *news)
{
	switch ((enum news_kind)news->kind) {
	case NEWS_FDB:
		/* No room, or configured otherwise: it stays unknown here, and is flooded. */
		(void)!fdb_set(core->fdb, news->mac, news->vlan, news->port, FDB_LEARNED,
			       core->now_s);
		return;
	case NEWS_MCAST:
		(void)mcast_apply(core->mcast, &news->mcast, core->now_s);
		return;
	case NEWS_FLOW:
		(void)flow_apply(core->flows, &news->flow, core->now_s);
		return;
	case NEWS_BINDING:
		(void)guard_bind(&core->slow[news->port].guard, &news->binding, core->now_s);
		return;
	default:
		check(false);
	}
}

void core_take_news(struct core *core)
{
	for (unsigned int i = 0; i < core->cores; i++) {
		struct news news;

		/* At most what a ring holds: the writer may be faster than we are. */
		for (unsigned int n = 0; core->news_in[i] && n < NEWS_DEPTH; n++) {
			if (!news_take(core->news_in[i], &news)) {
				break;
			}
			take(core, &news);
		}
	}
}

/* ---- frames ------------------------------------------------------------------------------------ */

bool core_hand_over(struct core *core, unsigned int to, uint16_t port, uint16_t queue, uint64_t run,
		    const struct net_frame *frame)
{
	if (!core->hand_out[to] || !hand_put(core->hand_out[to], port, queue, run, frame)) {
		counter_add(&core->counters.handed_lost, 1);
		return false;
	}
	counter_add(&core->counters.handed_over, 1);
	core->is_high |= hand_is_half(core->hand_out[to]);
	core_touch(core);
	return true;
}

void core_flush_hands(struct core *core)
{
	bool was_high = core->is_high;

	core->is_high = false;
	for (unsigned int i = 0; i < core->cores; i++) {
		struct core *to = core->vswitch->cores[i];

		if (core->hand_out[i] && hand_flush(core->hand_out[i])) {
			loop_post(to->loop, &to->hand);
		}
		if (was_high && core->hand_out[i]) {
			core->is_high |= hand_is_half_still(core->hand_out[i]);
		}
	}
}

/* Where an entry is for: its port and queue may have gone, or moved to another core, since it was put. */
static struct port_end *end_for(const struct core *core, const struct hand_entry *entry)
{
	const struct port_view *view = core->ports[entry->port].view;

	return view && view->core_of[entry->queue] == core->index ? view->ends[entry->queue] : NULL;
}

static void take_frame(struct core *core, struct port_end *end, struct hand_entry *entry)
{
	struct iovec iov[2] = { { 0 }, { entry->data, entry->bytes } };
	struct net_frame net = { .iov = iov + 1,
				 .iov_count = 1,
				 .bytes = entry->bytes,
				 .flags = entry->flags & (uint16_t)~NET_FRAME_VLAN,
				 .l4_offset = entry->l4_offset,
				 .l4 = entry->l4,
				 .mss = entry->mss,
				 .hash = entry->hash };
	bool is_tagged = (entry->flags & NET_FRAME_VLAN) != 0;
	struct vframe *frame = &core->single;

	if (end->is_wire || !(net.flags & FRAME_TODO)) {
		frame->net = net;
	} else {
		if (vframe_pull(frame, &net, VFRAME_HEAD_MAX)) {
			core_drop(core, entry->port, DROP_RUNT);
			return;
		}
		vframe_parse(frame, core->secret);
	}
	deliver_to_end(core, end, frame, entry->vlan_tci, is_tagged);
}

static void take_hand(struct core *core, unsigned int from, struct hand_entry *entry)
{
	struct port_end *end = end_for(core, entry);
	bool may_go = !end || end->is_wire || lane_pass(core, end, from, entry->run);

	if (entry->bytes == 0) {
		return; /* it was for the lane */
	}
	if (!end || !core->ports[entry->port].policy) {
		core_drop(core, entry->port, DROP_LINK);
	} else if (!may_go) {
		core_drop(core, entry->port, DROP_NO_BUFFER);
	} else {
		take_frame(core, end, entry);
	}
}

void core_take_hands(struct core *core)
{
	bool is_more = false;

	if (core->is_quiet) {
		return;
	}
	for (unsigned int i = 0; i < core->cores; i++) {
		struct core *from = core->vswitch->cores[i];
		struct hand_ring *ring = core->hand_in[i];
		struct hand_entry *entry = NULL;

		for (unsigned int n = 0; ring && n < CORE_HAND_BATCH; n++) {
			entry = hand_peek(ring);
			if (!entry) {
				break;
			}
			take_hand(core, i, entry);
			hand_pop(ring);
		}
		is_more |= entry != NULL;
		if (ring && hand_has_room(ring)) {
			loop_post(from->loop, &from->room);
		}
	}
	if (is_more) {
		loop_post(core->loop, &core->hand); /* others on this loop first */
	}
}

/* ---- waiting for a wire ------------------------------------------------------------------------ */

bool core_is_wire_blocked(struct core *core, const struct port_slot *slot)
{
	const struct port_view *view = slot->view;

	if (!view || !view->is_wire) {
		return false;
	}
	if (slot->end) {
		return slot->end->is_full;
	}
	for (unsigned int i = 0; i < view->queues; i++) {
		unsigned int to = view->core_of[i];

		if (to != VIEW_NO_CORE) {
			/* The end is there as long as this core has the view. */
			return atomic_load_explicit(&view->ends[i]->is_blocked,
						    memory_order_relaxed) ||
			       (core->hand_out[to] && hand_is_high(core->hand_out[to]));
		}
	}
	return false;
}

void core_wake(struct core *core)
{
	struct sched_entry *entry;

	while ((entry = sched_next_blocked(&core->sched))) {
		port_end_resume(container_of(entry, struct port_end, sched));
	}
}

void core_wake_all(struct vswitch *vswitch)
{
	for (unsigned int i = 0; i < vswitch->config.core_count; i++) {
		loop_post(vswitch->cores[i]->loop, &vswitch->cores[i]->room);
	}
}

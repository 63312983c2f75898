/* SPDX-License-Identifier: MIT */
/*
 * A frame that the host sends to a guest which has no receive buffer just now stays where it is, in the
 * TAP's queue behind the host's port, and so do those behind it: for a guest that is slow, not for one
 * that has stopped.
 *
 *   H1  Only frames of the host's own port, for one guest whose queue is on the same core.
 *   H2  A guest that has given nothing back since HOLD_ALONE_NS (HOLD_SHARED_NS where the host has
 *       spoken to others lately, who wait behind the frame) gets drops at once, until it does.
 *   H3  Where the host speaks to others, all that is held up in this way is an eighth of the time: a
 *       guest that gives back one buffer now and then takes no more from its neighbours.
 *
 * Nothing is looked at as long as all guests of the core have plenty of room (HOLD_FRAMES): a round's
 * end sees who has not.
 *
 *   thread  the core's
 */
#include "base/num.h"
#include "vswitch/core_internal.h"

#define HOLD_FRAMES    320U /* more than a wire and a guest bring in a round */
#define HOLD_ALONE_NS  20000000ULL
#define HOLD_SHARED_NS 4000000ULL
#define HOLD_BUDGET_NS 8000000U
#define HOLD_SHARE     8U
#define OTHERS_NS      1000000000ULL /* how long one counts as spoken to */

/* ---- guests ------------------------------------------------------------------------------------ */

static void set_scarce(struct port_end *end, bool is_scarce)
{
	if (end->is_scarce == is_scarce) {
		return;
	}
	end->is_scarce = is_scarce;
	if (is_scarce) {
		end->core->scarce++;
	} else {
		end->core->scarce--;
	}
}

void hold_look(struct port_end *end)
{
	struct net_front *front = end->net->front;

	set_scarce(end, front && !end->is_leaving && front->ops->has_room &&
				!front->ops->has_room(front, HOLD_FRAMES, 1, false));
}

void hold_forget(struct port_end *end)
{
	set_scarce(end, false);
	end->starved_ns = 0;
	list_remove(&end->held);
}

void hold_release(struct port_end *end)
{
	struct core *core = end->core;
	struct list held;

	end->starved_ns = 0;
	list_take(&core->held, &held);
	while (!list_is_empty(&held)) {
		struct port_end *wire = list_first(&held, struct port_end, held);

		list_remove(&wire->held);
		loop_timer_cancel(&wire->timer);
		port_end_resume(wire);
	}
}

/* The guest's end that this one is for, if it is here and short of room; else NULL. */
static struct port_end *short_of_room(struct core *core, unsigned int port, struct vframe *frame)
{
	struct port_end *end = deliver_find_end(core, port, frame);
	const struct net_frame *net = &frame->net;
	uint32_t frames = 1, bytes = net->bytes;

	if (!end || end->is_wire || !end->is_scarce || !end->net->front) {
		return NULL;
	}
	if (net->flags & NET_FRAME_COALESCED && net->mss &&
	    (bytes > core->ports[port].view->coalesce_bytes_max ||
	     core->ports[port].policy->forwards)) {
		frames = bytes / net->mss + 1; /* it will be cut */
		bytes = net->mss + VFRAME_HEAD_PLAIN;
	}
	if (end->net->front->ops->has_room(end->net->front, frames, bytes, true)) {
		end->starved_ns = 0;
		return NULL;
	}
	return end;
}

/* ---- the host's port --------------------------------------------------------------------------- */

/* What it has waited is charged to it; an eighth of the time since comes back. */
static void settle(struct port_end *wire, uint64_t now_ns)
{
	uint64_t back = (now_ns - wire->hold_seen_ns) / HOLD_SHARE;
	uint64_t left = num_min(wire->hold_left_ns + num_min(back, HOLD_BUDGET_NS), HOLD_BUDGET_NS);

	if (wire->hold_begun_ns) {
		left -= num_min(left, now_ns - wire->hold_begun_ns);
		wire->hold_begun_ns = 0;
		list_remove(&wire->held);
	}
	wire->hold_left_ns = left;
	wire->hold_seen_ns = now_ns;
}

/* How long this guest may still be waited for; 0: no more. */
static uint64_t patience_with(const struct port_end *wire, const struct port_end *guest,
			      uint64_t now_ns)
{
	bool is_shared = wire->hold_others_ns && now_ns - wire->hold_others_ns < OTHERS_NS;
	uint64_t limit = is_shared ? HOLD_SHARED_NS : HOLD_ALONE_NS;
	uint64_t starved = now_ns - guest->starved_ns;

	if (starved >= limit) {
		return 0;
	}
	return is_shared ? num_min(limit - starved, wire->hold_left_ns) : limit - starved;
}

bool hold_must_wait(struct core *core, struct port_end *wire, unsigned int port,
		    struct vframe *frame)
{
	struct port_end *guest = short_of_room(core, port, frame);
	uint64_t now_ns = loop_now_ns(), patience;

	settle(wire, now_ns);
	if (wire->hold_to && wire->hold_to != port + 1) {
		wire->hold_others_ns = now_ns;
	}
	wire->hold_to = port + 1;
	if (!guest) {
		return false;
	}
	if (!guest->starved_ns) {
		guest->starved_ns = now_ns;
	}
	patience = patience_with(wire, guest, now_ns);
	if (!patience) {
		return false;
	}
	wire->hold_begun_ns = now_ns;
	list_append(&core->held, &wire->held);
	loop_timer_arm(&wire->timer, patience);
	return true;
}

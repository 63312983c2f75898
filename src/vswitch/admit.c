/* SPDX-License-Identifier: MIT */
/* Who may send, and how much: wires without room, rates, turns. */
#include "base/num.h"
#include "vswitch/core_internal.h"

/* What a frame waits for. */
enum wait { WAIT_NONE, WAIT_WIRE, WAIT_GUEST };

/*
 * Whether the one port that this frame is for is a wire without room or, where that is asked for, a guest
 * that will have some soon. The frame stays as it was.
 */
static enum wait must_wait(struct core *core, struct port_end *from, const struct net_frame *net,
			   bool may_hold)
{
	const struct port_policy *own = &core->policy->ports[from->port];
	const struct port_policy *policy =
		own->is_member ? &core->policy->ports[core->policy->team.port] : own;
	struct vframe *frame = &core->peeked;
	enum wait wait = WAIT_NONE;
	int port = -1;

	if (net->bytes > NET_FRAME_BYTES_MAX || vframe_pull(frame, net, VFRAME_HEAD_PLAIN)) {
		return WAIT_NONE;
	}
	vframe_parse(frame, core->secret);
	if (!vframe_is_group(frame) && vlan_ingress(&policy->vlan, &core->policy->vlans, frame)) {
		port = pipeline_find_port(core, frame);
	}
	if (port >= 0 && core->policy->has_team && port == (int)core->team.port) {
		int member = team_pick(&core->team, team_hash(&core->team, frame, core->secret));

		port = member < 0 ? -1 : core->team.members[member].uplink;
	}
	if (port >= 0 && core_is_wire_blocked(core, &core->ports[port])) {
		wait = WAIT_WIRE;
	} else if (port >= 0 && may_hold && hold_must_wait(core, from, (unsigned int)port, frame)) {
		wait = WAIT_GUEST;
	}
	vframe_unpull(frame);
	return wait;
}

/* How many of them its rate allows; the timer goes on with the rest. */
static unsigned int within_rate(struct core *core, struct port_end *from,
				const struct net_frame *frames, unsigned int count)
{
	struct bucket_share *rate = &core->slow[from->port].rate;
	uint64_t now_ns = loop_now_ns();

	for (unsigned int i = 0; i < count; i++) {
		if (!bucket_take(rate, frames[i].bytes, now_ns)) {
			uint64_t wait = bucket_wait_ns(rate, frames[i].bytes, now_ns);

			loop_timer_arm(&from->timer, num_min(num_max(wait, 1), 1000000000ULL));
			return i;
		}
	}
	return count;
}

/*
 * How many of them its turn allows: all of them where nobody else wants to send. The first of them always,
 * if it has any credit: what that costs too much it owes.
 */
static unsigned int within_turn(struct core *core, struct port_end *from,
				const struct net_frame *frames, unsigned int count)
{
	int64_t credit;
	unsigned int i = 0;

	if (core->contended == 0) {
		return count;
	}
	if (from->period != core->period) {
		from->period = core->period;
		from->sched.credit = 0;
	}
	if (from->round != core->round && !from->yields) {
		from->round = core->round;
		sched_turn(&core->sched, &from->sched, 1);
	}
	for (credit = from->sched.credit; i < count && credit > 0; i++) {
		credit -= sched_cost(frames[i].bytes);
	}
	return i;
}

void core_charge(struct core *core, struct port_end *from, const struct net_frame *frames,
		 unsigned int count)
{
	uint32_t cost = core->copies_cost;

	if (count == 0) {
		return;
	}
	if (from->sent_round != core->round) {
		from->sent_round = core->round;
		core->senders++;
		core->heaviest = (unsigned int)num_max(core->heaviest, from->sched.weight);
	}
	if (core->contended == 0) {
		return;
	}
	for (unsigned int i = 0; i < count; i++) {
		cost += sched_cost(frames[i].bytes);
	}
	sched_charge(&from->sched, cost);
}

/* How many of them are for somebody who has room. */
static unsigned int with_room(struct core *core, struct port_end *from,
			      const struct net_frame *frames, unsigned int count, bool may_hold)
{
	for (unsigned int i = 0; i < count; i++) {
		enum wait wait = must_wait(core, from, &frames[i], may_hold);

		if (wait == WAIT_WIRE) {
			sched_block(&core->sched, &from->sched);
		}
		if (wait != WAIT_NONE) {
			return i;
		}
	}
	return count;
}

unsigned int core_admit(struct core *core, struct port_end *from, const struct net_frame *frames,
			unsigned int count)
{
	bool may_hold = hold_is_due(core, from);
	unsigned int in_turn = within_turn(core, from, frames, count), allowed = in_turn;

	if (__builtin_expect(
		    core->is_high || may_hold ||
			    atomic_load_explicit(&core->vswitch->full_wires, memory_order_relaxed),
		    0)) {
		allowed = with_room(core, from, frames, allowed, may_hold);
	}
	if (core->policy->ports[from->port].limits.bytes_per_s) {
		allowed = within_rate(core, from, frames, allowed);
	}
	if (allowed == in_turn && in_turn < count && !from->yields) {
		from->yields = true;
		list_append(&core->yield, &from->yield);
	}
	return allowed;
}

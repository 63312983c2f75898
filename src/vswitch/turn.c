/* SPDX-License-Identifier: MIT */
/* Stages 9 to 12: what a destination port lets out, and who looks at it then. */
#include <string.h>

#include "base/num.h"
#include "vswitch/core_internal.h"

/* A copy as it came in, by no rule of the target's; with its tag where tags are read. */
void turn_mirror(struct core *core, struct vframe *frame, const port_set *targets)
{
	for (int port = port_set_next(targets, 0); port >= 0;
	     port = port_set_next(targets, (unsigned int)port + 1)) {
		const struct port_policy *policy = core->ports[port].policy;
		bool is_tagged;

		if (!policy || !policy->link || !core->ports[port].view) {
			continue;
		}
		is_tagged = policy->vlan.mode == VLAN_TRUNK && frame->vlan != 0;
		core->copies_cost += sched_cost(frame->net.bytes);
		deliver(core, (unsigned int)port, frame,
			(uint16_t)(frame->pcp << ETHER_PCP_SHIFT | frame->vlan), is_tagged);
	}
}

/* What a DHCP server gives to the port is its own from now on. */
static void snoop(struct core *core, struct vframe *frame, unsigned int port)
{
	struct port_slow *slow = &core->slow[port];
	struct guard_binding bindings[GUARD_SNOOP_MAX];
	uint32_t l4 = frame->key.l4_offset + 8U, end = vframe_ip_end(frame);
	uint8_t mac[NET_MAC_BYTES];
	unsigned int count;
	uint32_t bytes;

	_Static_assert(GUARD_SNOOP_BYTES_MAX <= sizeof(core->payload), "a DHCP message fits");
	if (core->policy->ports[frame->from].guard.dhcp || end <= l4) {
		return;
	}
	bytes = vframe_copy(frame, l4, core->payload,
			    (uint32_t)num_min(end - l4, GUARD_SNOOP_BYTES_MAX));
	count = guard_snoop(frame, core->payload, bytes, core->now_s, bindings, mac);
	if (count == 0 || !guard_has_mac(&slow->guard, mac)) {
		return;
	}
	for (unsigned int i = 0; i < count; i++) {
		struct news news = { .kind = NEWS_BINDING,
				     .port = (uint16_t)port,
				     .binding = bindings[i] };

		(void)guard_bind(&slow->guard, &bindings[i], core->now_s);
		(void)core_tell(core, &news); /* lost: it is told again with the next renewal */
	}
	vswitch_bound(core->vswitch);
}

/* 10: rules and bindings. 11: filters. Whether it goes on. */
static bool look_out(struct core *core, struct vframe *frame, unsigned int port)
{
	const struct policy *policy = core->policy;
	const struct port_policy *out = &policy->ports[port];
	enum drop_cause cause = pipeline_rules(core, frame, port, true);

	if (cause) {
		core_drop(core, port, cause);
		return false;
	}
	if (out->snoops && guard_is_snoopable(frame)) {
		snoop(core, frame, port);
	}
	if (!policy->ext || !(out->ext & PORT_EXT_FILTER_OUT)) {
		return true;
	}
	cause = DROP_EXT_FILTER;
	switch (policy->ext->filter(policy->ext_ctx, core, frame, (uint16_t)port, true, &cause)) {
	case EXT_DROP:
		core_drop(core, port, cause);
		return false;
	case EXT_TAKEN:
		return false;
	case EXT_PASS:
	case EXT_SENT:
	default:
		return true;
	}
}

/*
 * NAT is for guests and the host: what is behind an uplink has a network, and a DHCP server, of its own, and is
 * to be told of no other.
 */
static bool is_apart(const struct policy *policy, const struct vframe *frame,
		     const struct port_policy *out)
{
	const struct port_policy *from;

	if (out->kind == PORT_GUEST || frame->from >= VSWITCH_PORTS_MAX) {
		return false;
	}
	from = &policy->ports[frame->from];
	return (out->kind == PORT_NAT && policy_is_uplink(from)) ||
	       (from->kind == PORT_NAT && policy_is_uplink(out));
}

bool turn_port(struct core *core, struct vframe *frame, unsigned int port, bool is_for_many,
	       bool is_resumed)
{
	const struct policy *policy = core->policy;
	const struct port_slot *slot = &core->ports[port];
	const struct port_policy *out = slot->policy;
	const port_set *targets;
	bool is_tagged;
	uint16_t tci;

	if (!out || !out->link || (!slot->view && out->kind != PORT_TEAM)) {
		if (!is_for_many) {
			core_drop(core, port, DROP_LINK);
		}
		return !is_for_many;
	}
	if (is_apart(policy, frame, out)) {
		if (!is_for_many) {
			core_drop(core, port, DROP_NAT);
		}
		return !is_for_many;
	}
	if (!vlan_egress(&out->vlan, frame, &tci, &is_tagged)) {
		if (!is_for_many) {
			core_drop(core, port, DROP_VLAN);
		}
		return !is_for_many;
	}
	if (!is_resumed && !look_out(core, frame, port)) {
		return true;
	}
	targets = mirror_targets(&policy->mirror, (uint16_t)port, true);
	if (targets) {
		turn_mirror(core, frame, targets);
	}
	if (policy->ext && out->ext & PORT_EXT_CAPTURE_OUT) {
		policy->ext->capture(policy->ext_ctx, core, frame, (uint16_t)port, true);
	}
	deliver(core, port, frame, tci, is_tagged);
	return true;
}

void turn_run(struct core *core, struct vframe *frame, bool is_for_many)
{
	unsigned int copies = 0;

	if (is_for_many && vframe_is_group(frame)) {
		counter_add(&core->ports[frame->from].counters.sent_groups, 1);
	}
	for (int port = port_set_next(&frame->to, 0); port >= 0;
	     port = port_set_next(&frame->to, (unsigned int)port + 1)) {
		copies += turn_port(core, frame, (unsigned int)port, is_for_many, false);
	}
	if (copies == 0) {
		core_drop(core, frame->from, DROP_NOWHERE);
	} else {
		core->copies_cost += (copies - 1) * sched_cost(frame->net.bytes);
	}
}

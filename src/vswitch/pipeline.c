/* SPDX-License-Identifier: MIT */
/*
 * Stages 1 to 8: from a port's end to where a frame goes; rules and tables are in rules.c and forward.c. A batch passes each stage as a whole; where
 * the source port has nothing but an access VLAN and its addresses to be looked at, one loop does it
 * all (run_plain()). Both do the same to every frame: fuzz/vswitch.c holds them against each other.
 */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "vswitch/core_internal.h"

/* ---- counting ---------------------------------------------------------------------------------- */

void pipeline_kill(struct core *core, struct vframe *frame, enum drop_cause cause)
{
	const struct policy *policy = core->policy;

	frame->drop = (uint8_t)cause;
	core_drop(core, frame->from, cause);
	if (policy->ext && policy->ext->dropped &&
	    policy->ports[frame->from].ext & PORT_EXT_CAPTURE_IN) {
		policy->ext->dropped(policy->ext_ctx, core, frame, frame->from);
	}
}

static void count_sent(struct core *core, struct port_end *from, const struct net_frame *frames,
		       unsigned int count)
{
	struct port_counters *counters = &core->ports[from->port].counters;
	uint64_t bytes = 0, large = 0;

	for (unsigned int i = 0; i < count; i++) {
		bytes += frames[i].bytes;
		large += (frames[i].flags & (NET_FRAME_LSO | NET_FRAME_COALESCED)) != 0;
	}
	counter_add(&counters->sent_frames, count);
	counter_add(&counters->sent_bytes, bytes);
	if (large) {
		counter_add(&counters->sent_large, large);
	}
	if (!from->is_wire) {
		from->net->counters.sent_frames += count;
		from->net->counters.sent_bytes += bytes;
		from->net->counters.sent_large += large;
	}
}

/* ---- 1: sanity --------------------------------------------------------------------------------- */

/* A frame with something left to do: what its head says decides, not what was claimed. */
static enum drop_cause check_offload(const struct core *core, struct vframe *frame)
{
	const uint16_t large = NET_FRAME_LSO | NET_FRAME_COALESCED;
	const struct vframe_key *key = &frame->key;
	struct net_frame *net = &frame->net;
	bool has_ports = (key->flags & (VKEY_L4 | VKEY_FRAGMENT)) == VKEY_L4;
	uint32_t tcp_bytes;

	if (net->flags & (large | NET_FRAME_L4_CHECKSUM)) {
		if (!has_ports ||
		    (key->protocol != IP_PROTOCOL_TCP && key->protocol != IP_PROTOCOL_UDP)) {
			return DROP_OFFLOAD;
		}
		net->l4 = key->protocol == IP_PROTOCOL_TCP ? NET_L4_TCP : NET_L4_UDP;
		net->l4_offset = key->l4_offset;
	}
	if (!(net->flags & large)) {
		if (net->flags & NET_FRAME_IP_CHECKSUM && key->ip_version != 4) {
			return DROP_OFFLOAD;
		}
		return DROP_NONE;
	}
	tcp_bytes = (frame->head[key->l4_offset + 12] >> 4) * 4U;
	if (net->l4 != NET_L4_TCP || tcp_bytes < 20 ||
	    key->l4_offset + tcp_bytes > frame->head_bytes || net->mss < NET_MSS_MIN ||
	    net->mss > core->policy->mtu || net->bytes - key->l3_offset > UINT16_MAX) {
		return DROP_OFFLOAD;
	}
	net->flags &= (uint16_t) ~(NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM);
	return DROP_NONE;
}

static inline enum drop_cause check_sanity(const struct core *core, struct vframe *frame)
{
	const uint8_t *from = frame->key.from;
	const uint16_t large = NET_FRAME_LSO | NET_FRAME_COALESCED;
	uint32_t most = core->policy->mtu + NET_HEADER_BYTES +
			(frame->key.flags & VKEY_TAG ? ETHER_TAG_BYTES : 0);

	if (from[0] & 1 || !(from[0] | from[1] | from[2] | from[3] | from[4] | from[5])) {
		return DROP_SOURCE;
	}
	if (!(frame->net.flags & large) && frame->net.bytes > most) {
		return DROP_LONG;
	}
	return frame->net.flags & FRAME_TODO ? check_offload(core, frame) : DROP_NONE;
}

/* ---- 5: rates ---------------------------------------------------------------------------------- */

static void stage_rates(struct core *core, struct vframe *frame, uint64_t now_ns)
{
	struct port_slow *slow = &core->slow[frame->from];
	const struct port_limits *limits = &core->policy->ports[frame->from].limits;

	if (limits->pps && !bucket_take(&slow->pps, 1, now_ns)) {
		pipeline_kill(core, frame, DROP_PPS);
	} else if (!vframe_is_group(frame)) {
		return; /* unknown ones are found out at 8 */
	} else if (vframe_is_broadcast(frame)) {
		if (limits->broadcast_pps && !bucket_take(&slow->broadcast, 1, now_ns)) {
			pipeline_kill(core, frame, DROP_STORM_BROADCAST);
		}
	} else if (limits->multicast_pps && !bucket_take(&slow->multicast, 1, now_ns)) {
		pipeline_kill(core, frame, DROP_STORM_MULTICAST);
	}
}

/* ---- batches ----------------------------------------------------------------------------------- */

/* Copies the head out and reads it. false: it is no frame; counted. */
static inline bool ingest(struct core *core, const struct net_frame *net, struct vframe *frame,
			  uint16_t from, uint16_t member, uint32_t head_max)
{
	if (net->flags & (NET_FRAME_LSO | NET_FRAME_COALESCED)) {
		head_max = VFRAME_HEAD_MAX;
	}
	frame->from = from;
	frame->member = member;
	if (net->bytes > NET_FRAME_BYTES_MAX || vframe_pull(frame, net, head_max)) {
		frame->drop = net->bytes > NET_FRAME_BYTES_MAX ? DROP_LONG : DROP_RUNT;
		frame->lent = 0;
		core_drop(core, from, (enum drop_cause)frame->drop);
		return false;
	}
	frame->drop = DROP_NONE;
	frame->net.flags &= (uint16_t)~NET_FRAME_HASH; /* another front end's key */
	vframe_parse(frame, core->secret);
	return true;
}

/* Stages 8 and on: the short way to one port that is as plain; others as always. */
static inline void run_plain_forward(struct core *core, const struct port_policy *policy,
				     struct vframe *frame)
{
	bool is_for_many;

	if (!vframe_is_group(frame)) {
		struct port_slot *slot;
		int port;

		if (!pipeline_learn(core, frame, policy->macs_max)) {
			return;
		}
		port = fdb_find(core->fdb, frame->key.to, frame->fid);
		slot = port >= 0 ? &core->ports[port] : NULL;
		if (slot && slot->view && port != (int)frame->from && slot->policy &&
		    slot->policy->is_plain_out && slot->policy->vlan.mode == policy->vlan.mode &&
		    slot->policy->vlan.id == policy->vlan.id) {
			if (slot->end) {
				deliver_to_end(core, slot->end, frame, 0, false);
			} else {
				deliver(core, (unsigned int)port, frame, 0, false);
			}
			return;
		}
	}
	is_for_many = pipeline_forward(core, frame);
	if (!frame->drop) {
		turn_run(core, frame, is_for_many);
	}
}

/* Stages 1, 2, 6, 8 of a port for which these are all; 9 and 13 where the destination allows. */
static void run_plain(struct core *core, struct port_end *from, const struct net_frame *frames,
		      unsigned int count)
{
	const struct port_policy *policy = &core->policy->ports[from->port];

	for (unsigned int i = 0; i < count; i++) {
		struct vframe *frame = &core->batch[i];

		if (ingest(core, &frames[i], frame, from->port, VSWITCH_NO_PORT,
			   VFRAME_HEAD_PLAIN)) {
			fdb_prefetch(core->fdb, frame->key.to,
				     policy->vlan.mode == VLAN_ACCESS ? policy->vlan.id : 0);
		}
	}
	for (unsigned int i = 0; i < count; i++) {
		struct vframe *frame = &core->batch[i];
		enum drop_cause cause;

		if (frame->drop) {
			continue;
		}
		cause = check_sanity(core, frame);
		if (!cause && !vlan_ingress(&policy->vlan, &core->policy->vlans, frame)) {
			cause = DROP_VLAN;
		}
		if (!cause) {
			cause = guard_check(&policy->guard, frame, core->now_s);
		}
		if (__builtin_expect(cause != DROP_NONE, 0)) {
			pipeline_kill(core, frame, cause);
			continue;
		}
		run_plain_forward(core, policy, frame);
	}
	counter_add(&core->counters.plain_frames, count);
}

/* Stages 3 and 4 for all that are left. */
static void stage_extensions(struct core *core, const struct port_policy *port, unsigned int count)
{
	const struct policy *policy = core->policy;

	for (unsigned int i = 0; i < count; i++) {
		struct vframe *frame = &core->batch[i];
		const port_set *targets = mirror_targets(&policy->mirror, frame->from, false);
		enum drop_cause cause = DROP_EXT_FILTER;
		enum ext_answer answer;

		if (frame->drop) {
			continue;
		}
		if (targets) {
			turn_mirror(core, frame, targets);
		}
		if (policy->ext && port->ext & PORT_EXT_CAPTURE_IN) {
			policy->ext->capture(policy->ext_ctx, core, frame, frame->from, false);
		}
		if (!policy->ext || !(port->ext & PORT_EXT_FILTER_IN)) {
			continue;
		}
		answer = policy->ext->filter(policy->ext_ctx, core, frame, frame->from, false,
					     &cause);
		if (answer == EXT_DROP) {
			pipeline_kill(core, frame, cause);
		} else if (answer == EXT_TAKEN) {
			frame->drop = FRAME_TAKEN;
		}
	}
}

/* Stages 5 to 13 of one frame. */
static void go_on(struct core *core, struct vframe *frame, uint64_t now_ns)
{
	enum drop_cause cause;
	bool is_for_many;

	stage_rates(core, frame, now_ns);
	if (frame->drop) {
		return;
	}
	cause = guard_check(&core->slow[frame->from].guard, frame, core->now_s);
	if (!cause) {
		cause = pipeline_rules(core, frame, frame->from, false);
	}
	if (cause) {
		pipeline_kill(core, frame, cause);
		return;
	}
	is_for_many = pipeline_forward(core, frame);
	if (!frame->drop) {
		turn_run(core, frame, is_for_many);
	}
}

static void run_full(struct core *core, struct port_end *from, const struct net_frame *frames,
		     unsigned int count)
{
	const struct port_policy *own = &core->policy->ports[from->port];
	uint16_t port = own->is_member ? core->policy->team.port : from->port;
	const struct port_policy *policy = &core->policy->ports[port];
	uint32_t head_max = guard_head_bytes(&policy->guard);
	uint64_t now_ns = 0;

	for (unsigned int i = 0; i < count; i++) {
		struct vframe *frame = &core->batch[i];
		enum drop_cause cause;

		if (!ingest(core, &frames[i], frame, port,
			    own->is_member ? own->member : VSWITCH_NO_PORT, head_max)) {
			continue;
		}
		cause = own->link && policy->link ? check_sanity(core, frame) : DROP_PORT_LINK;
		if (!cause && !vlan_ingress(&policy->vlan, &core->policy->vlans, frame)) {
			cause = DROP_VLAN;
		}
		if (cause) {
			pipeline_kill(core, frame, cause);
		}
	}
	stage_extensions(core, policy, count);
	if (policy->limits.pps || policy->limits.broadcast_pps || policy->limits.multicast_pps) {
		now_ns = loop_now_ns();
	}
	for (unsigned int i = 0; i < count; i++) {
		if (!core->batch[i].drop) {
			go_on(core, &core->batch[i], now_ns);
		}
	}
}

/* ---- from an end -------------------------------------------------------------------------------- */

/* Iovecs are the sender's again as they were. */
static void give_back(struct core *core, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		if (core->batch[i].lent) {
			vframe_unpull(&core->batch[i]);
		}
	}
}

int pipeline_run(struct core *core, struct port_end *from, struct net_frame *frames,
		 unsigned int count, unsigned int *ret_taken)
{
	const struct port_slot *slot = &core->ports[from->port];
	unsigned int taken = 0;

	core_touch(core);
	if (!slot->policy) {
		counter_add(&core->drops[from->port][DROP_PORT_LINK], count);
		*ret_taken = count;
		return 0;
	}
	while (taken < count) {
		unsigned int wanted = (unsigned int)num_min(count - taken, PIPELINE_CHUNK);
		unsigned int allowed = core_admit(core, from, frames + taken, wanted);

		core->copies_cost = 0;
		if (slot->policy->is_plain_in) {
			run_plain(core, from, frames + taken, allowed);
		} else {
			run_full(core, from, frames + taken, allowed);
		}
		give_back(core, allowed);
		core_charge(core, from, frames + taken, allowed);
		count_sent(core, from, frames + taken, allowed);
		taken += allowed;
		if (allowed < wanted) {
			break;
		}
	}
	counter_add(&core->counters.batches, 1);
	counter_add(&core->counters.frames, taken);
	*ret_taken = taken;
	if (taken < count) {
		counter_add(&core->ports[from->port].counters.waits, 1);
		return -EAGAIN;
	}
	return 0;
}

int pipeline_run_one(struct port_end *from, const struct net_frame *frame)
{
	struct core *core = from->core;
	struct net_frame copy = *frame;
	unsigned int taken;

	if (frame->iov_count < 1 || frame->iov_count > NET_IOV_MAX) {
		return 0;
	}
	memcpy(core->iov + 1, frame->iov, (size_t)frame->iov_count * sizeof(*frame->iov));
	copy.iov = core->iov + 1;
	return pipeline_run(core, from, &copy, 1, &taken);
}

/* ---- extensions' way back ---------------------------------------------------------------------- */

void core_held(const struct vframe *frame, enum core_stage stage, uint16_t port,
	       struct core_held *ret)
{
	*ret = (struct core_held){
		.stage = (uint8_t)stage,
		.pcp = frame->pcp,
		.from = frame->from,
		.member = frame->member,
		.vlan = frame->vlan,
		.fid = frame->fid,
		.port = stage == STAGE_FILTER_OUT ? port : VSWITCH_NO_PORT,
	};
}

void core_drop_held(struct core *core, const struct core_held *held, enum drop_cause cause)
{
	core_drop(core, held->port != VSWITCH_NO_PORT ? held->port : held->from, cause);
}

/* Stage 8 has been asked. */
static void resume_turn(struct core *core, struct vframe *frame, const port_set *to)
{
	bool is_for_many = true;

	port_set_clear(&frame->to);
	if (to) {
		frame->to = *to;
		port_set_and(&frame->to, &core->policy->used);
		port_set_remove(&frame->to, frame->from);
	} else {
		is_for_many = pipeline_find(core, frame);
	}
	if (!frame->drop) {
		turn_run(core, frame, is_for_many);
	}
}

void core_resume(struct core *core, const struct core_held *held, const struct net_frame *net,
		 const port_set *to)
{
	struct vframe *frame = &core->single;
	enum drop_cause cause;

	if (!core->ports[held->from].policy ||
	    (held->port != VSWITCH_NO_PORT && !core->ports[held->port].policy)) {
		core_drop_held(core, held, DROP_LINK);
		return;
	}
	core_touch(core);
	if (!ingest(core, net, frame, held->from, held->member, VFRAME_HEAD_MAX)) {
		return;
	}
	frame->vlan = held->vlan;
	frame->fid = held->fid;
	frame->pcp = held->pcp;
	cause = check_sanity(core, frame);
	if (cause) {
		pipeline_kill(core, frame, cause);
		return;
	}
	switch ((enum core_stage)held->stage) {
	case STAGE_FILTER_IN:
		go_on(core, frame, loop_now_ns());
		return;
	case STAGE_FORWARD:
		resume_turn(core, frame, to);
		return;
	case STAGE_FILTER_OUT:
		(void)turn_port(core, frame, held->port, true, true);
		return;
	case STAGE_CAPTURE_IN:
	case STAGE_CAPTURE_OUT:
	default:
		check(false); /* nothing can be taken there */
	}
}

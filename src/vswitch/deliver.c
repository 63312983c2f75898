/* SPDX-License-Identifier: MIT */
/*
 * Stage 13: a frame as its destination takes it. What the sender left undone is left undone for wires,
 * which say what they can; a guest gets a frame that is right: with checksums made here up to the MTU,
 * a large one whole where it takes those (then only declared good: decision J), cut where it does not.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "net/offload.h"
#include "vswitch/core_internal.h"

/* ---- checksums --------------------------------------------------------------------------------- */

static uint32_t ip_header_bytes(const struct vframe *frame)
{
	return (frame->head[frame->key.l3_offset] & 15U) * 4;
}

static bool is_ip_sum_good(const struct vframe *frame)
{
	return frame->key.ip_version != 4 ||
	       net_sum_fold(net_sum(frame->head + frame->key.l3_offset, ip_header_bytes(frame))) ==
		       0;
}

static void make_ip_sum(struct vframe *frame)
{
	net_ipv4_checksum(frame->head + frame->key.l3_offset, ip_header_bytes(frame));
}

/*
 * In the head, what the head decides; the payload is summed by whoever copies it, so that no guest can
 * change it between the two (NET_FRAME_L4_PARTIAL).
 */
static void begin_l4_sum(struct vframe *frame)
{
	const struct vframe_key *key = &frame->key;
	const uint8_t *ip = frame->head + key->l3_offset;
	const uint32_t end = vframe_ip_end(frame);
	uint16_t folded;

	frame->net.l4 = key->protocol == IP_PROTOCOL_TCP ? NET_L4_TCP : NET_L4_UDP;
	frame->net.l4_offset = key->l4_offset;
	frame->net.l4_end = end;
	folded = (uint16_t)~net_sum_fold(
		net_pseudo_sum(ip, key->ip_version, key->protocol, end - key->l4_offset));
	memcpy(frame->head + key->l4_offset + net_l4_field(frame->net.l4), &folded, 2);
}

/* Makes what is missing, or says how; take_back() follows. */
static void finish(struct vframe *frame)
{
	if (frame->net.flags & NET_FRAME_IP_CHECKSUM) {
		make_ip_sum(frame);
	}
	if (frame->net.flags & NET_FRAME_L4_CHECKSUM) {
		begin_l4_sum(frame);
		frame->net.flags |= NET_FRAME_L4_PARTIAL;
		if (is_ip_sum_good(frame)) {
			frame->net.flags |= NET_FRAME_CHECKSUM_GOOD;
		}
	}
	frame->net.flags &= (uint16_t) ~(NET_FRAME_IP_CHECKSUM | NET_FRAME_L4_CHECKSUM);
}

/* For the next destination: its payload has not been looked at, and its flags were those. */
static void take_back(struct vframe *frame, uint16_t flags)
{
	frame->net.flags = flags & (uint16_t)~NET_FRAME_IP_CHECKSUM;
	frame->net.mss = 0; /* was l4_end */
}

static void set_tag(struct net_frame *net, uint16_t tci, bool is_tagged)
{
	if (is_tagged) {
		net->flags |= NET_FRAME_VLAN;
		net->vlan_tci = tci;
	}
}

/* ---- to a guest -------------------------------------------------------------------------------- */

static void put(struct core *core, struct port_slot *slot, struct port_end *end,
		const struct net_frame *net)
{
	if (__builtin_expect(end->core != core, 0)) {
		lane_put(core, slot, end, net);
		return;
	}
	if (net_deliver(end->net, net)) {
		core_drop(core, end->port, DROP_NO_BUFFER);
		return;
	}
	count_delivered(slot, net);
	core_mark_dirty(core, end);
}

struct cut {
	struct core *core;
	struct port_slot *slot;
	struct port_end *end;
	struct net_frame net; /* what all pieces have in common */
};

static void on_piece(void *ctx, const struct iovec *iov, int count, uint32_t bytes)
{
	struct cut *cut = ctx;

	cut->net.iov = iov;
	cut->net.iov_count = count;
	cut->net.bytes = cut->net.l4_end = bytes;
	cut->core->copies_cost += SCHED_FRAME_COST;
	put(cut->core, cut->slot, cut->end, &cut->net);
}

/* The length that a large send may have left out. */
static void set_ip_length(struct vframe *frame)
{
	uint8_t *ip = frame->head + frame->key.l3_offset;
	uint32_t bytes = frame->net.bytes - frame->key.l3_offset;

	if (frame->key.ip_version == 4) {
		bytes_put_be16(ip + 2, (uint16_t)bytes);
		make_ip_sum(frame);
	} else {
		bytes_put_be16(ip + 4, (uint16_t)(bytes - 40));
	}
}

static void deliver_large(struct core *core, struct port_slot *slot, struct port_end *end,
			  struct vframe *frame, struct net_frame *net)
{
	const struct port_view *view = slot->view;
	uint32_t header = frame->key.l4_offset + (frame->head[frame->key.l4_offset + 12] >> 4) * 4U;
	uint16_t kept = net->flags & NET_FRAME_VLAN;
	struct cut cut = { core, slot, end, *net };

	if (net->flags & NET_FRAME_LSO) {
		set_ip_length(frame);
	}
	if (header - NET_HEADER_BYTES + net->mss > view->mtu) {
		core_drop(core, end->port, DROP_MTU);
		return;
	}
	net->flags = kept | NET_FRAME_COALESCED | NET_FRAME_CHECKSUM_GOOD | NET_FRAME_HEAD |
		     (net->flags & NET_FRAME_HASH);
	if (net->bytes <= view->coalesce_bytes_max && !slot->policy->forwards &&
	    net->bytes > header + net->mss) {
		put(core, slot, end, net);
		return;
	}
	cut.net.flags = kept | NET_FRAME_CHECKSUM_GOOD | NET_FRAME_L4_PARTIAL |
			(net->flags & NET_FRAME_HASH);
	if (net_cut_tcp_iov(net->iov, net->iov_count, net->bytes, net->mss, on_piece, &cut)) {
		core_drop(core, end->port, DROP_OFFLOAD);
	}
}

/* What is missing of the frame has been made. */
static void deliver_finished(struct core *core, struct port_slot *slot, struct port_end *end,
			     struct vframe *frame, uint16_t tci, bool is_tagged)
{
	const struct net_frame *net = &frame->net;
	struct net_frame copy;

	/* Most go as they are: to copy what has just been written in parts would wait for all stores. */
	if (__builtin_expect(is_tagged || frame->net.flags & (NET_FRAME_LSO | NET_FRAME_COALESCED),
			     0)) {
		copy = frame->net;
		set_tag(&copy, tci, is_tagged);
		if (copy.flags & (NET_FRAME_LSO | NET_FRAME_COALESCED)) {
			deliver_large(core, slot, end, frame, &copy);
			return;
		}
		net = &copy;
	}
	if (net->bytes > slot->view->mtu + NET_HEADER_BYTES) {
		core_drop(core, end->port, DROP_MTU);
		return;
	}
	put(core, slot, end, net);
}

void deliver_to_guest(struct core *core, struct port_slot *slot, struct port_end *end,
		      struct vframe *frame, uint16_t tci, bool is_tagged)
{
	const uint16_t flags = frame->net.flags;

	if (flags & (NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM)) {
		finish(frame);
		deliver_finished(core, slot, end, frame, tci, is_tagged);
		take_back(frame, flags);
		return;
	}
	deliver_finished(core, slot, end, frame, tci, is_tagged);
}

/* ---- to a wire --------------------------------------------------------------------------------- */

static void deliver_to_wire(struct core *core, struct port_slot *slot, struct port_end *end,
			    const struct vframe *frame, uint16_t tci, bool is_tagged)
{
	struct net_frame net = frame->net;

	if (net.flags & NET_FRAME_COALESCED) {
		/* As it came from one wire it goes to the other: to be cut there. */
		net.flags |= NET_FRAME_LSO;
	}
	net.flags &= (uint16_t) ~(NET_FRAME_COALESCED | NET_FRAME_CHECKSUM_GOOD | NET_FRAME_HASH);
	set_tag(&net, tci, is_tagged);
	port_wire_send(core, end, slot, &net);
}

void deliver_to_end(struct core *core, struct port_end *end, struct vframe *frame, uint16_t tci,
		    bool is_tagged)
{
	struct port_slot *slot = &core->ports[end->port];

	if (end->is_wire) {
		deliver_to_wire(core, slot, end, frame, tci, is_tagged);
	} else {
		deliver_to_guest(core, slot, end, frame, tci, is_tagged);
	}
}

/* ---- where ------------------------------------------------------------------------------------- */

/* Which of the ends: the flow's queue of a guest; of a wire, one here, or else its first. */
static unsigned int pick_queue(const struct port_slot *slot, struct vframe *frame)
{
	const struct port_view *view = slot->view;
	unsigned int queue;

	if (view->is_wire) {
		return slot->end ? slot->end->queue : view_first_queue(view);
	}
	if (view->queues == 1) {
		return 0;
	}
	queue = steer_frame(&view->steer, &frame->net);
	return queue < view->queues && view->core_of[queue] != VIEW_NO_CORE ? queue : 0;
}

struct port_end *deliver_find_end(struct core *core, unsigned int port, struct vframe *frame)
{
	const struct port_slot *slot = &core->ports[port];
	unsigned int queue;

	if (!slot->view || !slot->policy) {
		return NULL;
	}
	queue = pick_queue(slot, frame);
	return slot->view->core_of[queue] == core->index ? slot->view->ends[queue] : NULL;
}

void deliver(struct core *core, unsigned int port, struct vframe *frame, uint16_t tci,
	     bool is_tagged)
{
	struct port_slot *slot = &core->ports[port];
	struct net_frame net;
	unsigned int queue, to;

	if (slot->policy->kind == PORT_TEAM && core->policy->has_team) {
		int member = team_pick(&core->team, team_hash(&core->team, frame, core->secret));

		if (member < 0) {
			core_drop(core, port, DROP_LINK);
			return;
		}
		port = core->team.members[member].uplink;
		slot = &core->ports[port];
	}
	if (!slot->view) {
		core_drop(core, port, DROP_LINK);
		return;
	}
	frame->net.flags &= (uint16_t)~NET_FRAME_HASH; /* of the destination before this one */
	queue = pick_queue(slot, frame);
	to = slot->view->core_of[queue];
	if (to == core->index) {
		deliver_to_end(core, slot->view->ends[queue], frame, tci, is_tagged);
		return;
	}
	if (to == VIEW_NO_CORE) {
		core_drop(core, port, DROP_LINK);
		return;
	}
	if (!slot->view->is_wire) {
		deliver_to_guest(core, slot, slot->view->ends[queue], frame, tci, is_tagged);
		return;
	}
	net = frame->net;
	set_tag(&net, tci, is_tagged);
	if (!core_hand_over(core, to, (uint16_t)port, (uint16_t)queue, 0, &net)) {
		core_drop(core, port, DROP_UPLINK_FULL);
	}
}

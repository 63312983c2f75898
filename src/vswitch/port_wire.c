/* SPDX-License-Identifier: MIT */
/*
 * A wire's side of the switch: a front end for one end of a back end. When the back end has no room,
 * what was already on its way is kept here (bounded) and who sends to it waits; then all go on in turn.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "vswitch/core_internal.h"

static struct port_end *end_of(struct net_front *front)
{
	return container_of(front, struct port_end, front);
}

/* ---- from the wire ----------------------------------------------------------------------------- */

static int on_deliver(struct net_front *front, const struct net_frame *frame)
{
	struct port_end *end = end_of(front);
	struct net_frame sent = *frame;

	if (sent.flags & NET_FRAME_L4_PARTIAL) {
		/* As a sender would say it; of wires to wires nobody sums it. */
		sent.flags &= (uint16_t) ~(NET_FRAME_L4_PARTIAL | NET_FRAME_CHECKSUM_GOOD);
		sent.flags |= NET_FRAME_L4_CHECKSUM;
		sent.mss = 0; /* was l4_end */
	}
	return end->is_leaving ? 0 : pipeline_run_one(end, &sent);
}

static void on_batch_end(struct net_front *front)
{
	(void)front; /* the round's end does it */
}

/* ---- to the wire ------------------------------------------------------------------------------- */

static void set_full(struct port_end *end, bool is_full)
{
	struct vswitch *vswitch = end->vswitch;

	if (end->is_full == is_full) {
		return;
	}
	end->is_full = is_full;
	/* Who reads true after this waits, and is woken: the wake-up is posted behind this store. */
	atomic_store(&end->is_blocked, is_full);
	if (is_full) {
		atomic_fetch_add(&vswitch->full_wires, 1);
		return;
	}
	atomic_fetch_sub(&vswitch->full_wires, 1);
	core_wake_all(vswitch);
}

static void count(struct port_slot *slot, uint32_t bytes, uint16_t flags)
{
	counter_add(&slot->counters.delivered_frames, 1);
	counter_add(&slot->counters.delivered_bytes, bytes);
	if (flags & NET_FRAME_LSO) {
		counter_add(&slot->counters.delivered_large, 1);
	}
}

void port_wire_send(struct core *core, struct port_end *end, struct port_slot *slot,
		    const struct net_frame *frame)
{
	int err = -EAGAIN;

	if (end->is_leaving) {
		core_drop(core, end->port, DROP_LINK);
		return;
	}
	if (!end->is_full) {
		err = net_send(end->net, frame);
	}
	if (err == -EAGAIN) {
		set_full(end, true);
		if (fifo_put(&end->backlog, frame, NULL)) {
			core_drop(core, end->port, DROP_UPLINK_FULL);
			return;
		}
	} else if (err) {
		core_drop(core, end->port, DROP_OFFLOAD);
		return;
	}
	count(slot, frame->bytes, frame->flags);
	core_mark_dirty(core, end);
}

static void on_writable(struct net_front *front)
{
	struct port_end *end = end_of(front);
	struct fifo_frame *entry;

	while ((entry = fifo_peek(&end->backlog))) {
		struct iovec iov = { entry->data, entry->bytes };
		struct net_frame frame = { .iov = &iov,
					   .iov_count = 1,
					   .bytes = entry->bytes,
					   .flags = entry->flags & (uint16_t)~NET_FRAME_HEAD,
					   .l4_offset = entry->l4_offset,
					   .l4 = entry->l4,
					   .vlan_tci = entry->vlan_tci,
					   .mss = entry->mss };

		if (net_send(end->net, &frame) == -EAGAIN) {
			break;
		}
		fifo_pop(&end->backlog);
	}
	core_mark_dirty(end->core, end);
	if (fifo_is_empty(&end->backlog)) {
		set_full(end, false);
	}
}

static void on_link_changed(struct net_front *front)
{
	port_end_changed(end_of(front));
}

static const struct net_front_ops wire_ops = {
	.deliver = on_deliver,
	.batch_end = on_batch_end,
	.writable = on_writable,
	.link_changed = on_link_changed,
};

/* ---- life -------------------------------------------------------------------------------------- */

int port_wire_attach(struct vswitch *vswitch, uint16_t port, struct net *net, struct port_end **ret)
{
	struct port_end *end = fault_alloc(1, sizeof(*end));
	struct net_front_config config = { .mtu = NET_MTU_MAX,
					   .coalesce_bytes_max = NET_FRAME_BYTES_MAX };
	int err;

	if (!end) {
		return -ENOMEM;
	}
	err = fifo_init(&end->backlog, WIRE_BACKLOG_BYTES);
	if (err) {
		free(end);
		return err;
	}
	err = port_end_init(end, vswitch, port, net_loop(net));
	if (err) {
		port_wire_free(end);
		return err;
	}
	end->is_wire = true;
	end->net = net;
	end->front.ops = &wire_ops;
	err = net_attach(net, &end->front, &config);
	if (err) {
		port_end_fini(end);
		port_wire_free(end);
		return err;
	}
	port_end_join(end);
	*ret = end;
	return 0;
}

void port_wire_detach(struct port_end *end, struct loop_work *done)
{
	net_detach(end->net);
	set_full(end, false);
	port_end_leave(end, done);
}

void port_wire_free(struct port_end *end)
{
	fifo_fini(&end->backlog);
	free(end);
}

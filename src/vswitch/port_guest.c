/* SPDX-License-Identifier: MIT */
/* A guest's side of the switch: a back end, whose front end is a queue of a NIC. */
#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "vswitch/core_internal.h"

struct port_guest {
	struct net net;
	struct port_end end;
};

static const struct net_ops guest_ops;

static struct port_end *end_of(struct net *net)
{
	return &container_of(net, struct port_guest, net)->end;
}

/* The pipeline's entry. */
static int guest_send_many(struct net *net, struct net_frame *frames, unsigned int count,
			   unsigned int *ret_taken)
{
	struct port_end *end = end_of(net);

	return pipeline_run(end->core, end, frames, count, ret_taken);
}

static int guest_send(struct net *net, const struct net_frame *frame)
{
	return pipeline_run_one(end_of(net), frame);
}

static void guest_configured(struct net *net)
{
	struct port_end *end = end_of(net);

	const struct port_policy *policy = end->core->ports[end->port].policy;

	if (net->front) {
		if (list_is_empty(&end->link)) {
			net->link_up = policy && policy->link; /* nobody has looked yet */
		}
		port_end_join(end);
		port_lanes_make(end);
	} else {
		hold_forget(end);
		port_lanes_cut(end);
		port_end_changed(end);
	}
}

static void guest_room(struct net *net)
{
	hold_release(end_of(net));
}

static int guest_create(struct vswitch *vswitch, uint16_t port, struct loop *loop, struct net **ret)
{
	struct port_guest *guest = fault_alloc(1, sizeof(*guest));
	int err;

	if (!guest) {
		return -ENOMEM;
	}
	err = port_end_init(&guest->end, vswitch, port, loop);
	if (err) {
		free(guest);
		return err;
	}
	err = port_lanes_create(&guest->end);
	if (err) {
		port_end_fini(&guest->end);
		free(guest);
		return err;
	}
	net_init(&guest->net, &guest_ops, loop);
	guest->end.net = &guest->net;
	guest->net.link_up = false;
	*ret = &guest->net;
	return 0;
}

static int guest_twin(struct net *net, struct loop *loop, struct net **ret)
{
	const struct port_end *end = end_of(net);

	return guest_create(end->vswitch, end->port, loop, ret);
}

static void guest_stop(struct net *net, struct loop_work *done)
{
	port_end_leave(end_of(net), done);
}

static void guest_destroy(struct net *net)
{
	struct port_guest *guest = container_of(net, struct port_guest, net);

	if (!guest->end.is_leaving) {
		port_end_fini(&guest->end); /* never attached */
	}
	port_lanes_destroy(&guest->end);
	free(guest);
}

static const struct net_ops guest_ops = {
	.kind = "switch",
	.send = guest_send,
	.send_many = guest_send_many,
	.twin = guest_twin,
	.ends_max = VSWITCH_QUEUES_MAX,
	.room = guest_room,
	.configured = guest_configured,
	.stop = guest_stop,
	.destroy = guest_destroy,
};

int port_guest_create(struct vswitch *vswitch, uint16_t port, struct loop *loop, struct net **ret)
{
	return guest_create(vswitch, port, loop, ret);
}

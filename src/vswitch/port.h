/* SPDX-License-Identifier: MIT */
/*
 * Ends of ports: where frames enter and leave the switch.
 *
 *   guest's side   a struct net: NetVSP (or a test) attaches to it as its front end. A NIC with several
 *                  queues has an end per queue: net_twin(), on the queue's loop, in the queues' order.
 *   wire's side    a front end for a back end (tap, packet, xdp, nat): one per end of the back end, each
 *                  on that end's loop.
 *
 * Ends live on loops of cores (vswitch_loop()), and everything about an end is called there.
 */
#pragma once

#include "net/net.h"
#include "vswitch/vswitch.h"

struct port_end;

/*
 * The first queue's end of a guest's port. Stopped and destroyed like every back end (net_stop(),
 * net_destroy()). On `loop`, or before it runs. 0; -ENOENT: no such port; -EINVAL: the loop is no
 * core's; -EBUSY: the port has VSWITCH_QUEUES_MAX ends; -ENOMEM.
 */
MUST_CHECK int port_guest_create(struct vswitch *vswitch, uint16_t port, struct loop *loop,
				 struct net **ret);

/*
 * Attaches a port to a back end (borrowed until port_wire_detach()) as its front. On the back end's
 * loop, or before it runs. 0; -EBUSY: the back end has a front already, or as above.
 */
MUST_CHECK int port_wire_attach(struct vswitch *vswitch, uint16_t port, struct net *net,
				struct port_end **ret);

/*
 * Detaches from the back end; done is posted on the end's loop when no core sends there any more, and
 * the end is gone with it. NULL is not fine.
 */
void port_wire_detach(struct port_end *end, struct loop_work *done);

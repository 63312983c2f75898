/* SPDX-License-Identifier: MIT */
/*
 * The back end of a NIC whose packets are, or will be, served by another process: nothing is ever
 * delivered. While the link is up, what is sent waits (-EAGAIN, N3) for who comes to serve it; while
 * it is down, it is lost and counted, as on a wire that is unplugged. Any number of ends.
 *
 *   owner   as net.h says   thread  each end's loop
 */
#pragma once

#include "net/net.h"

#define NET_AWAY_ENDS_MAX 64U

/* 0 or -ENOMEM. The link is down. */
MUST_CHECK int net_away_create(struct loop *loop, struct net **ret);

/*
 * This end's link (each end has its own); on its loop. The front end is told at once: not to be
 * called from within a call of its (N2). Down: who waited for room is told that there is some.
 */
void net_away_set_link(struct net *net, bool up);

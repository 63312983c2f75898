/* SPDX-License-Identifier: MIT */
/*
 * An interface of the host, shared with it (a packet socket): what is sent here leaves by the
 * interface, and all that arrives there arrives here too, whoever it is for. Checksums and large
 * segments go both ways undone where the interface can (virtio_net_hdr). The ends share what arrives
 * by a hash of its flow. The link is up while the interface is up and running; removed, it is down
 * until one of that name is there again: whoever may not open and bind sockets has others do it
 * (net_packet_config.returned).
 *
 *   owner   as net.h says   thread  each end's loop; life (create, twin) before the loops run, or on
 *           the first end's
 *   spec    packet(7)
 */
#pragma once

#include "net/net.h"

#define NET_PACKET_ENDS_MAX 16U

struct net_packet_config {
	const char *name;    /* of the interface */
	const int *fds_take; /* of net_packet_open(), one per end; taken over (also on failure) */
	unsigned int ends;   /* 1 to NET_PACKET_ENDS_MAX: the first end and its twins */
	int link_fd_take; /* of linkwatch_open() in the interface's network namespace; -1: opens one */
	/*
	 * An interface of this name is there again, and the sockets are none of its: posted to told, about once a
	 * second until net_packet_replace(). NULL: the sockets are bound or opened anew here, which needs the
	 * right to.
	 */
	struct loop *told;
	struct loop_work *returned;
};

/*
 * Opens a socket per end on the interface. 0, or an errno with a sentence: -ENODEV, -EPERM (needs
 * CAP_NET_RAW), -ENETDOWN (several ends on an interface that is down), -EINVAL (no Ethernet).
 */
MUST_CHECK int net_packet_open(const char *name, unsigned int ends, int *ret_fds,
			       struct diag *reterr);

/*
 * On the first end's loop, of a back end with told: as many sockets as it has ends, of net_packet_open(),
 * taken over. They take the place of those that there are; or they are closed, when the interface is not
 * there (or not up, or another one) at this moment, and are asked for again.
 */
void net_packet_replace(struct net *net, const int *fds_take);

/* 0 or a negative errno with a sentence. */
MUST_CHECK int net_packet_create(struct loop *loop, const struct net_packet_config *config,
				 struct net **ret, struct diag *reterr);

/* SPDX-License-Identifier: MIT */
/*
 * An interface of the host, taken over by AF_XDP: what arrives there arrives here instead of in the
 * host's stack, one end per receive queue of the interface; what is sent here leaves by it. The kernel
 * copies. AF_XDP of Linux 6.1 knows no offloads: checksums are made and segments are cut here, and a
 * frame of a sender on this host whose checksum is not there yet is completed (its field holds the sum
 * of the pseudo header). Frames longer than NET_XDP_MTU_MAX are lost, so senders on this host (veth)
 * must not make large segments: packet.h serves those better. The link is up while the interface
 * is up and running; removed, it stays down.
 *
 *   owner   as net.h says   thread  each end's loop; life (create, twin) before the loops run, or on
 *           the first end's
 *   spec    Linux Documentation/networking/af_xdp.rst, libxdp(3)
 */
#pragma once

#include "net/net.h"

#define NET_XDP_QUEUES_MAX 16U
#define NET_XDP_MTU_MAX    3800U /* a page, less what the kernel and we put in front of a frame */

enum net_xdp_mode {
	NET_XDP_NATIVE,  /* in the driver, or not at all */
	NET_XDP_GENERIC, /* in the stack: any driver, and slower */
};

struct net_xdp_config {
	const char *name; /* of the interface */
	enum net_xdp_mode mode;
	unsigned int queues; /* its first ones, up to NET_XDP_QUEUES_MAX */
	/*
	 * The map of sockets of a program that net_xdp_load() has put on the interface, borrowed; -1: a
	 * program is loaded here (needs CAP_NET_ADMIN and CAP_BPF) and goes with the last end.
	 */
	int map_fd;
	int link_fd_take; /* of linkwatch_open(); -1: opens one */
};

/* Whether this program was built with libxdp; all else is -EOPNOTSUPP without it. */
bool net_xdp_is_there(void);

/*
 * Puts the program on the interface that hands frames to AF_XDP sockets, and gives the map that they
 * are to be put into: for a process that may, on behalf of one that may not. Frames of queues without
 * a socket go to the host's stack. The caller closes the map. 0, or an errno with a sentence.
 */
MUST_CHECK int net_xdp_load(const char *name, int *ret_map_fd, struct diag *reterr);
/* Takes every such program off the interface. */
void net_xdp_unload(const char *name);

/* 0, or an errno with a sentence: -EOPNOTSUPP, -ENODEV, -EPERM, -EMSGSIZE (MTU), -EBUSY … */
MUST_CHECK int net_xdp_create(struct loop *loop, const struct net_xdp_config *config,
			      struct net **ret, struct diag *reterr);

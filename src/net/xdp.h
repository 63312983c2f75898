/* SPDX-License-Identifier: MIT */
/*
 * An interface of the host, taken over by AF_XDP: what arrives there arrives here instead of in the
 * host's stack, one end per receive queue of the interface; what is sent here leaves by it. The kernel
 * copies. AF_XDP of Linux 6.1 knows no offloads: checksums are made and segments are cut here, and a
 * frame of a sender on this host whose checksum is not there yet is completed (its field holds the sum
 * of the pseudo header). Frames longer than NET_XDP_MTU_MAX are lost, so senders on this host (veth)
 * must not make large segments: packet.h serves those better. The link is up while the interface
 * is up and running; removed, it stays down: for another interface another back end is made.
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
	/*
	 * Sockets of net_xdp_open(), one per queue, taken over (also on failure): nothing is opened here, and
	 * mode and map_fd are not looked at. NULL: opens them.
	 */
	const int *fds_take;
	int memory_fd_take; /* with fds_take: as net_xdp_open() gave it */
	/* With fds_take, when the sockets have their rings: has net_xdp_bind() done on them. */
	int (*bind)(void *ctx, struct diag *reterr);
	void *bind_ctx;
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

/*
 * For a process that may, on behalf of one that may not: a socket for each receive queue of the interface,
 * bound to nothing yet (needs CAP_NET_RAW), and memory for all of them, locked (CAP_IPC_LOCK, or a high
 * RLIMIT_MEMLOCK). The other one makes their rings, and only then (the kernel demands it) are they bound.
 * At most ends of them: -E2BIG when the interface has more queues,
 * whose frames would pass the switch by. Other errnos as of net_xdp_create().
 */
MUST_CHECK int net_xdp_open(const char *name, unsigned int ends, int ret_fds[NET_XDP_QUEUES_MAX],
			    unsigned int *ret_count, int *ret_memory_fd, struct diag *reterr);
/* Binds them, queue by queue, and loads the program: as net_xdp_load(). On failure there is none. */
MUST_CHECK int net_xdp_bind(const char *name, const int *fds, unsigned int count, int *ret_map_fd,
			    struct diag *reterr);

/* 0, or an errno with a sentence: -EOPNOTSUPP, -ENODEV, -EPERM, -EMSGSIZE (MTU), -EBUSY … */
MUST_CHECK int net_xdp_create(struct loop *loop, const struct net_xdp_config *config,
			      struct net **ret, struct diag *reterr);

/* SPDX-License-Identifier: MIT */
/*
 * A TAP device of the host: what is sent here is what the host's kernel receives on that interface.
 * Checksums and large TCP segments go both ways undone (virtio_net_hdr). An end per queue of the
 * device; which of them a frame comes from is the front end's choice (net_rss), as far as the kernel
 * lets this process load a program for it. The link is up while the interface is up and running;
 * removed, it is down until an interface of that name, and a TAP, is there again, to which the ends
 * attach by themselves.
 *
 *   owner   as net.h says   thread  each end's loop; life (create, twin) before the loops run, or on
 *           the first end's
 *   spec    Linux Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h
 */
#pragma once

#include "net/net.h"

#define NET_TAP_QUEUES_MAX 16U

struct net_tap_config {
	const int *fds_take; /* of net_tap_open(), one per end; taken over (also on failure) */
	unsigned int queues; /* 1 to NET_TAP_QUEUES_MAX: the first end and its twins */
	int link_fd_take; /* of linkwatch_open() in the device's network namespace; -1: opens one */
	/*
	 * Bytes on their way into the host's kernel that are too many: then net_send() waits. 0: none
	 * are, which is Linux's default.
	 */
	uint32_t send_bytes_max;
};

/*
 * Opens so many queues of the device of this name, and makes it when there is none (it goes with its
 * last descriptor then, and somebody has to set it up). 0, or an errno with a sentence: -EPERM,
 * -EACCES (not allowed), -EBUSY (another program has it), -EINVAL (not a TAP, not a name, a
 * device with one queue and several wanted), -ENOENT (no /dev/net/tun).
 */
MUST_CHECK int net_tap_open(const char *name, unsigned int queues, int *ret_fds,
			    struct diag *reterr);

/*
 * The same, so that more queues can come later, by the same call: also a device that is made for one can
 * have several. One that was made with a single one by somebody else is taken as it is.
 */
MUST_CHECK int net_tap_open_growing(const char *name, unsigned int queues, int *ret_fds,
				    struct diag *reterr);

/* Whether an interface may have this name. */
bool net_tap_is_name(const char *name);

/* 0 or a negative errno with a sentence. */
MUST_CHECK int net_tap_create(struct loop *loop, const struct net_tap_config *config,
			      struct net **ret, struct diag *reterr);

/* SPDX-License-Identifier: MIT */
/*
 * A wire between two processes: frames through a SOCK_SEQPACKET socket, each a datagram of a virtio_net_hdr
 * (12 bytes) and the frame, several in one system call. Offloads go with them as to a TAP, so that large
 * segments stay whole. Either end is a back end of this kind; the link is up while the other end is there.
 * Neither believes the other: what does not fit is lost and counted, as from a wire.
 *
 * Who reads too slowly makes the sender wait (N3), for PIPE_STUCK_MS at most: then frames are lost until
 * something was read again, so that a process that stands still holds up nobody for long.
 *
 * The last 16 bits of the header are a label: what the sender knows of who sent a DHCP client's message
 * (IPv4, UDP, port 67). 0 for all other frames.
 *
 *   owner   as net.h says   thread  its loop; no twins
 *   spec    unix(7); virtio 1.2, 5.1.6 (vnet_hdr.h)
 */
#pragma once

#include "net/net.h"

#define PIPE_HDR_BYTES 12U
#define PIPE_STUCK_MS  500U
#define PIPE_BUFFER    (1U << 20) /* of a socket: bytes on the way in one direction, about */

struct net_pipe_config {
	int fd_take; /* one end of net_pipe_pair(); taken over, also on failure */
	/* Both optional. Of a frame that is sent, by its source; and of one that came with a label. */
	uint16_t (*label)(void *ctx, const uint8_t mac[NET_MAC_BYTES]);
	void (*labelled)(void *ctx, const uint8_t mac[NET_MAC_BYTES], uint16_t label);
	void *ctx;
	/* Optional: posted to told when the other end has gone. */
	struct loop *told;
	struct loop_work *gone;
};

/* Two sockets that are connected, non-blocking and close-on-exec. 0 or a negative errno. */
MUST_CHECK int net_pipe_pair(int ret_fds[2]);

/* 0 or a negative errno with a sentence. */
MUST_CHECK int net_pipe_create(struct loop *loop, const struct net_pipe_config *config,
			       struct net **ret, struct diag *reterr);

/* On its loop: another other end (taken over), which takes the place of the one that was there. */
MUST_CHECK int net_pipe_replace(struct net *net, int fd_take);

/* SPDX-License-Identifier: MIT */
/*
 * AF_XDP, for its files: xdp.c is the wire's kind, xdp_queue.c a queue's memory and rings, xdp_io.c what
 * arrives and leaves by them, xdp_open.c what a process does that may on behalf of one that may not.
 *
 *   owner   the wire's group   thread  a queue: its end's loop
 */
#pragma once

#include <xdp/xsk.h>

#include "net/wire_internal.h"
#include "net/xdp.h"

#define XDP_CHUNK_BYTES  4096U
#define XDP_RX_CHUNKS    1024U
#define XDP_TX_CHUNKS    2048U
#define XDP_MEMORY_BYTES ((size_t)(XDP_RX_CHUNKS + XDP_TX_CHUNKS) * XDP_CHUNK_BYTES)
#define XDP_HEADROOM     16U /* for VNET_HDR_BYTES */
#define XDP_FRAME_MAX    (NET_XDP_MTU_MAX + NET_HEADER_BYTES + VNET_TAG_BYTES)

/* In front of a frame in its chunk: XDP_PACKET_HEADROOM of the kernel's. */
_Static_assert(256 + XDP_HEADROOM + XDP_FRAME_MAX <= XDP_CHUNK_BYTES, "a frame fits its chunk");
_Static_assert(XDP_HEADROOM >= VNET_HDR_BYTES, "a header before each frame");
_Static_assert(NET_XDP_QUEUES_MAX <= WIRE_ENDS_MAX, "an end per queue");

/* A queue: memory that the kernel shares, four rings over it. */
struct xdp_queue {
	uint8_t *memory; /* chunks: XDP_RX_CHUNKS to receive into, XDP_TX_CHUNKS to send from */
	int fd;          /* the socket's */
	struct xsk_umem *umem; /* NULL, like the next: of a socket that was given to us */
	struct xsk_socket *socket;
	struct mapping {
		void *at;
		size_t bytes;
	} maps[4]; /* of its rings then */
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons done, rx;
	uint64_t held[WIRE_SLOTS]; /* chunks of the slots */
	unsigned int held_count;
	uint64_t free[XDP_TX_CHUNKS];
	unsigned int free_count;
	uint8_t *large; /* a segment to be cut, in one piece */
};

struct xdp_state {
	struct xdp_queue queues[NET_XDP_QUEUES_MAX];
};

/* ---- xdp_queue.c ---- */

/* A queue of its own: a socket bound to the interface's number-th. 0 or a negative errno; then close it. */
MUST_CHECK int xdp_queue_open(struct xdp_queue *q, const struct net_xdp_config *config,
			      uint32_t number);
/*
 * What the library does with a socket of its own, but for binding it: that is another process's. The socket
 * stays the caller's to close. 0 or a negative errno; then close the queue.
 */
MUST_CHECK int xdp_queue_adopt(struct xdp_queue *q, int fd, int memory_fd, unsigned int number);
void xdp_queue_close(struct xdp_queue *q);

/* ---- xdp_io.c ---- */

/* struct wire_kind */
void xdp_read(struct wire *wire);
MUST_CHECK int xdp_write(struct wire *wire, struct mmsghdr *messages, unsigned int count,
			 unsigned int *ret_done);

/* ---- xdp_open.c ---- */

/* The libraries would write to stderr; what they return says enough. */
void xdp_hush(void);
/* 0, or an errno with a sentence. */
MUST_CHECK int xdp_check_mtu(const char *name, struct diag *reterr);

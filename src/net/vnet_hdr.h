/* SPDX-License-Identifier: MIT */
/*
 * What Linux knows and wants to know about a frame on TAP devices and packet sockets (struct
 * virtio_net_hdr), and what net.h says of it: one into the other.
 *
 *   thread  any; pure functions
 *   spec    virtio 1.2, 5.1.6; Linux include/uapi/linux/virtio_net.h; little-endian hosts only
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/check.h"
#include "net/net.h"

#define VNET_HDR_BYTES 10 /* struct virtio_net_hdr */
#define VNET_HDR_GOOD                                                                              \
	2 /* its first byte: the checksum was looked at (VIRTIO_NET_HDR_F_DATA_VALID) */
#define VNET_TAG_BYTES   4
#define VNET_TYPE_VLAN   0x8100
/* Ethernet, a tag, IPv6 with room for extensions, TCP with options: what a private head holds. */
#define VNET_HEAD_BYTES  256
#define VNET_SEND_PIECES (NET_PIECES_MAX + 1) /* of iov, for vnet_send() */

/* ---- to the kernel ---- */

/* The header and the checked and mended copy of a frame's beginning, in one piece. */
struct vnet_head {
	uint8_t bytes[VNET_HDR_BYTES + 2 + VNET_TAG_BYTES + VNET_HEAD_BYTES];
};

/*
 * Prepares a frame for writev(): iov becomes header (hdr_bytes of it: VNET_HDR_BYTES, or 12 with a
 * field that is 0) and head, which lie in *head, and the rest of the frame where it is; at most
 * VNET_SEND_PIECES of them, *ret_count says how many. Nothing of the frame's memory is written (N4);
 * its head is read once. 0, or -EBADMSG: the frame has not what its flags say.
 */
MUST_CHECK int vnet_send(const struct net_frame *frame, unsigned int hdr_bytes,
			 struct vnet_head *head, struct iovec *iov, int *ret_count);

/* ---- from the kernel ---- */

/* A frame that was received, in memory of our own. */
struct vnet_frame {
	uint8_t *frame; /* where it begins now */
	uint32_t bytes;
	/* NET_FRAME_VLAN, CHECKSUM_GOOD, L4_PARTIAL up to its end; COALESCED: a segment that may be cut */
	uint16_t flags;
	uint16_t l4_offset;
	uint8_t l4;
	uint16_t vlan_tci;
	uint32_t mss;
};

/* To be delivered; whole is its only piece. */
static inline struct net_frame vnet_net_frame(const struct vnet_frame *f, struct iovec *whole)
{
	struct net_frame frame = { .iov = whole,
				   .iov_count = 1,
				   .bytes = f->bytes,
				   .flags = f->flags,
				   .l4 = f->l4,
				   .l4_offset = f->l4_offset,
				   .vlan_tci = f->vlan_tci,
				   .mss = f->mss };

	*whole = (struct iovec){ f->frame, f->bytes };
	if (f->flags & NET_FRAME_L4_PARTIAL) {
		frame.l4_end = f->bytes;
	}
	return frame;
}

/*
 * Understands what the kernel wrote: a tag in the frame is taken out of it, a checksum that is missing
 * is left to who copies the frame (L4_PARTIAL), or made where the headers are unusual (but not that of a
 * large segment, which nobody reads). The frame's bytes change. 0, or
 * -EBADMSG: header and frame do not fit each other.
 */
MUST_CHECK int vnet_receive(const uint8_t *hdr, uint8_t *frame, uint32_t bytes,
			    struct vnet_frame *ret);

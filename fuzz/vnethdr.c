/* SPDX-License-Identifier: MIT */
/*
 * Frames from the kernel with their virtio_net_hdr, and frames to it. The first byte chooses the way;
 * the next ten are the header, or flags and sizes of what is sent.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/num.h"
#include "net/fifo.h"
#include "net/offload.h"
#include "net/vnet_hdr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HDR 12U

static void on_piece(void *ctx, const struct iovec *iov, int count, uint32_t bytes)
{
	uint32_t sum = 0;

	(void)ctx;
	for (int i = 0; i < count; i++) {
		sum += (uint32_t)iov[i].iov_len;
	}
	check(sum == bytes && bytes <= NET_FRAME_BYTES_MAX);
}

/* What a kernel has written there: with the input's bytes instead no sum would be right. */
static void put_pseudo(const struct vnet_frame *f)
{
	struct net_headers h;
	uint16_t sum;

	check(net_headers_parse(f->frame, f->bytes, false, &h) == 0);
	sum = net_pseudo_field(f->frame + h.l3_offset, &h);
	memcpy(f->frame + f->l4_offset + net_l4_field(f->l4), &sum, 2);
}

static void gather(const struct vnet_frame *f)
{
	struct iovec iov;
	const struct net_frame frame = vnet_net_frame(f, &iov);
	uint8_t *copy = malloc(f->bytes), *right = malloc(f->bytes);

	check(copy && right && !(f->flags & NET_FRAME_COALESCED));
	put_pseudo(f);
	fifo_gather(copy, &frame);
	memcpy(right, copy, f->bytes);
	/* It also looks at where TCP's header ends, which is nobody's business here. */
	if (net_offload_finish(right, f->bytes, NET_FRAME_L4_CHECKSUM) == 0) {
		check(memcmp(copy, right, f->bytes) == 0);
	}
	free(copy);
	free(right);
}

static void receive(const uint8_t *hdr, const uint8_t *data, uint32_t bytes)
{
	/* Of its exact size, so that a byte too many is seen. */
	uint8_t *frame = malloc(bytes);
	struct vnet_frame f;

	check(frame);
	memcpy(frame, data, bytes);
	if (vnet_receive(hdr, frame, bytes, &f) == 0) {
		check(f.frame >= frame && f.frame + f.bytes <= frame + bytes);
		check(f.bytes >= NET_HEADER_BYTES);
		check(!(f.flags & NET_FRAME_CHECKSUM_GOOD) || f.l4 != NET_L4_NONE);
		if (f.flags & NET_FRAME_L4_PARTIAL) {
			gather(&f);
		}
		if (f.flags & NET_FRAME_COALESCED) {
			check(f.mss >= NET_MSS_MIN);
			check(net_cut_tcp(f.frame, f.bytes, f.mss, on_piece, NULL) == 0);
		}
	}
	free(frame);
}

static void send_it(const uint8_t *how, const uint8_t *data, uint32_t bytes)
{
	uint8_t *frame = malloc(bytes), *before = malloc(bytes);
	const uint32_t piece = (uint32_t)num_max(bytes / 100 + 1, how[0]);
	struct iovec pieces[NET_IOV_MAX], out[VNET_SEND_PIECES];
	struct net_frame f = { .iov = pieces,
			       .bytes = bytes,
			       .flags = bytes_le16(how + 1) &
					(NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM |
					 NET_FRAME_LSO | NET_FRAME_VLAN),
			       .mss = bytes_le16(how + 3),
			       .vlan_tci = bytes_le16(how + 5) };
	struct vnet_head head;
	int count;

	check(frame && before);
	memcpy(frame, data, bytes);
	memcpy(before, data, bytes);
	for (uint32_t at = 0; at < bytes; at += piece) {
		pieces[f.iov_count++] =
			(struct iovec){ frame + at, (size_t)num_min(piece, bytes - at) };
	}
	if (vnet_send(&f, HDR, &head, out, &count) == 0) {
		size_t sum = 0;

		check(count >= 1 && count <= f.iov_count + 1);
		for (int i = 0; i < count; i++) {
			sum += out[i].iov_len;
		}
		check(sum <= HDR + bytes + VNET_TAG_BYTES);
		check(out[0].iov_len >= HDR && out[0].iov_len <= sizeof(head.bytes));
	}
	check(memcmp(frame, before, bytes) == 0);
	free(frame);
	free(before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 12 || size > NET_FRAME_BYTES_MAX) {
		return 0;
	}
	if (data[0] & 1) {
		send_it(data + 1, data + 11, (uint32_t)size - 11);
	} else {
		receive(data + 1, data + 11, (uint32_t)size - 11);
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "net/vnet_hdr.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "net/offload.h"

#define MACS_BYTES 12
#define TCP_BYTES  20U
#define UDP_BYTES  8U
#define IPV4_BYTES 20
#define IPV6_BYTES 40
#define TCP_CWR    0x80
#define PARTIAL_L4_MAX                                                                             \
	74U /* IPv4 with all options; IPv6 with few extensions: the switch looks at a short head */

_Static_assert(sizeof(struct virtio_net_hdr) == VNET_HDR_BYTES, "the header without num_buffers");

/* ---- to the kernel ---- */

/* Where the bytes of a frame that is sent come from, behind what was copied. */
struct source {
	const struct iovec *iov;
	int left;
	size_t at; /* in the first of them */
};

static uint32_t pull(struct source *source, uint8_t *to, uint32_t bytes)
{
	uint32_t done = 0;

	while (done < bytes && source->left > 0) {
		size_t room = source->iov->iov_len - source->at;
		uint32_t run = (uint32_t)num_min(bytes - done, room);

		memcpy(to + done, (const uint8_t *)source->iov->iov_base + source->at, run);
		done += run;
		source->at += run;
		if (source->at == source->iov->iov_len) {
			source->iov++;
			source->left--;
			source->at = 0;
		}
	}
	return done;
}

/*
 * Where things are, when only the first have bytes of a frame of so many are at hand. The datagram's
 * end is the frame's (LSO), or what its header says.
 */
static int find_headers(const uint8_t *frame, uint32_t have, uint32_t bytes, bool lso,
			struct net_headers *h)
{
	const uint8_t *l3 = frame + NET_HEADER_BYTES;

	if (net_headers_parse(frame, have, true, h)) {
		return -EBADMSG;
	}
	if (lso) {
		h->end = bytes;
	} else if (h->ip_version == 4) {
		h->end = h->l3_offset + (uint32_t)bytes_be16(l3 + 2);
	} else {
		h->end = h->l3_offset + IPV6_BYTES + (uint32_t)bytes_be16(l3 + 4);
	}
	return h->end < h->l4_offset || h->end > bytes ? -EBADMSG : 0;
}

/* The large segment's header, its length in IP and its segment size. h->end is right already. */
static int mend_lso(const struct net_frame *frame, uint8_t *head, uint32_t have,
		    const struct net_headers *h, struct virtio_net_hdr *hdr)
{
	const uint32_t fixed = h->ip_version == 6 ? IPV6_BYTES : 0;
	uint32_t length = h->end - h->l3_offset - fixed, head_bytes;

	if (h->protocol != NET_IP_TCP || h->is_fragment || length > UINT16_MAX ||
	    h->l4_offset + TCP_BYTES > have || frame->mss < NET_MSS_MIN) {
		return -EBADMSG;
	}
	head_bytes = h->l4_offset + (head[h->l4_offset + 12] >> 4) * 4U;
	if (head_bytes < h->l4_offset + TCP_BYTES || head_bytes > h->end) {
		return -EBADMSG;
	}
	bytes_put_be16(head + h->l3_offset + (h->ip_version == 4 ? 2 : 4), (uint16_t)length);
	/* What fits one segment is no large one: Linux would drop it. */
	if (h->end - head_bytes > frame->mss) {
		hdr->gso_type =
			h->ip_version == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
		if (head[h->l4_offset + 13] & TCP_CWR) {
			hdr->gso_type |= VIRTIO_NET_HDR_GSO_ECN;
		}
		hdr->gso_size = (uint16_t)frame->mss;
		hdr->hdr_len = (uint16_t)head_bytes;
	}
	return 0;
}

static uint32_t l4_bytes(uint8_t l4)
{
	return l4 == NET_L4_TCP ? TCP_BYTES : UDP_BYTES;
}

static int mend_l4(uint8_t *head, uint32_t have, const struct net_headers *h,
		   struct virtio_net_hdr *hdr)
{
	const uint8_t l4 = net_headers_l4(h);
	const uint16_t offset = (uint16_t)net_l4_field(l4);
	uint16_t sum;

	if (l4 == NET_L4_NONE || h->l4_offset + l4_bytes(l4) > num_min(have, h->end)) {
		return -EBADMSG;
	}
	sum = net_pseudo_field(head + h->l3_offset, h);
	memcpy(head + h->l4_offset + offset, &sum, 2);
	hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	hdr->csum_start = h->l4_offset;
	hdr->csum_offset = offset;
	return 0;
}

/* Does, in the copy of the frame's beginning, what its flags ask for. *bytes: of the whole frame. */
static int mend(const struct net_frame *frame, uint8_t *head, uint32_t have, uint32_t *bytes,
		struct virtio_net_hdr *hdr)
{
	const bool lso = (frame->flags & NET_FRAME_LSO) != 0;
	struct net_headers h;

	if (find_headers(head, have, *bytes, lso, &h)) {
		return -EBADMSG;
	}
	if (lso && mend_lso(frame, head, have, &h, hdr)) {
		return -EBADMSG;
	}
	if (h.ip_version == 4 && frame->flags & (NET_FRAME_IP_CHECKSUM | NET_FRAME_LSO)) {
		net_ipv4_checksum(head + h.l3_offset, (uint32_t)h.l4_offset - h.l3_offset);
	}
	if (frame->flags & (NET_FRAME_L4_CHECKSUM | NET_FRAME_LSO)) {
		/* The kernel sums up to the frame's end: no padding there. */
		*bytes = h.end;
		return mend_l4(head, have, &h, hdr);
	}
	return 0;
}

/* The rest of the frame, up to so many bytes, where it lies. */
static int put_rest(struct source *source, uint32_t bytes, struct iovec *iov, int count)
{
	for (; bytes && source->left > 0; source->iov++, source->left--, source->at = 0) {
		size_t run = num_min(source->iov->iov_len - source->at, bytes);

		if (run) {
			iov[count++] =
				(struct iovec){ (uint8_t *)source->iov->iov_base + source->at,
						run };
			bytes -= (uint32_t)run;
		}
	}
	return bytes ? -1 : count;
}

int vnet_send(const struct net_frame *frame, unsigned int hdr_bytes, struct vnet_head *head,
	      struct iovec *iov, int *ret_count)
{
	const bool has_tag = (frame->flags & NET_FRAME_VLAN) != 0;
	const uint16_t todo =
		frame->flags & (NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM | NET_FRAME_LSO);
	struct source source = { .iov = frame->iov, .left = frame->iov_count };
	struct virtio_net_hdr hdr = { 0 };
	uint8_t *copy = head->bytes + hdr_bytes + (has_tag ? VNET_TAG_BYTES : 0);
	uint32_t bytes = frame->bytes, have = 0, head_bytes = hdr_bytes;
	int count;

	if (frame->bytes < NET_HEADER_BYTES || frame->bytes > NET_FRAME_BYTES_MAX ||
	    frame->iov_count > NET_PIECES_MAX) {
		return -EBADMSG;
	}
	if (todo || has_tag) {
		uint32_t want = todo ? (uint32_t)num_min(bytes, VNET_HEAD_BYTES) : MACS_BYTES;

		have = pull(&source, copy, want);
		if (have < want || (todo && mend(frame, copy, have, &bytes, &hdr))) {
			return -EBADMSG;
		}
		have = (uint32_t)num_min(have, bytes);
		head_bytes += have;
	}
	if (has_tag) {
		memmove(copy - VNET_TAG_BYTES, copy, MACS_BYTES);
		bytes_put_be16(copy - VNET_TAG_BYTES + MACS_BYTES, VNET_TYPE_VLAN);
		bytes_put_be16(copy - VNET_TAG_BYTES + MACS_BYTES + 2, frame->vlan_tci);
		head_bytes += VNET_TAG_BYTES;
		if (hdr.flags) {
			hdr.csum_start = (uint16_t)(hdr.csum_start + VNET_TAG_BYTES);
		}
		if (hdr.gso_type) {
			hdr.hdr_len = (uint16_t)(hdr.hdr_len + VNET_TAG_BYTES);
		}
	}
	memset(head->bytes, 0, hdr_bytes);
	memcpy(head->bytes, &hdr, sizeof(hdr));
	iov[0] = (struct iovec){ head->bytes, head_bytes };
	count = put_rest(&source, bytes - have, iov, 1);
	if (count < 0) {
		return -EBADMSG;
	}
	*ret_count = count;
	return 0;
}

/* ---- from the kernel ---- */

/*
 * The headers are such as everybody understands, and the kernel and they agree on what is summed: then who
 * copies the frame does it. Whether it was so.
 */
static bool leave_partial(struct vnet_frame *f, uint32_t start, uint32_t offset)
{
	struct net_headers h;
	uint8_t l4;

	if (net_headers_parse(f->frame, f->bytes, false, &h) || h.l4_offset != start ||
	    h.l4_offset > PARTIAL_L4_MAX || h.end != f->bytes) {
		return false;
	}
	l4 = net_headers_l4(&h);
	if (l4 == NET_L4_NONE || h.end - start < l4_bytes(l4) || offset != net_l4_field(l4)) {
		return false;
	}
	f->l4 = l4;
	f->l4_offset = h.l4_offset;
	f->flags |= NET_FRAME_L4_PARTIAL;
	return true;
}

static int finish_checksum(uint8_t *frame, uint32_t bytes, uint32_t start, uint32_t offset)
{
	uint16_t sum;

	if (start < NET_HEADER_BYTES || start > bytes || bytes - start < offset + 2) {
		return -EBADMSG;
	}
	/* The field holds the pseudo header's sum, and is part of what is summed. */
	sum = net_sum_fold(net_sum(frame + start, bytes - start));
	if (sum == 0) {
		sum = 0xffff;
	}
	memcpy(frame + start + offset, &sum, 2);
	return 0;
}

/* A checksum that is good is TCP's or UDP's, and IP's is looked at; otherwise nothing is said. */
static void say_good(struct vnet_frame *f)
{
	struct net_headers h;
	uint8_t l4;

	if (net_headers_parse(f->frame, f->bytes, false, &h) ||
	    (l4 = net_headers_l4(&h)) == NET_L4_NONE) {
		return;
	}
	if (h.ip_version == 4 &&
	    net_sum_fold(net_sum(f->frame + h.l3_offset, (size_t)h.l4_offset - h.l3_offset)) != 0) {
		return;
	}
	f->flags |= NET_FRAME_CHECKSUM_GOOD;
	f->l4 = l4;
	f->l4_offset = h.l4_offset;
}

/* A large segment of TCP; *ret_large stays false when it is none after all. */
static int receive_large(struct vnet_frame *f, const struct virtio_net_hdr *hdr, bool *ret_large)
{
	const uint8_t type = hdr->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	const uint8_t version = type == VIRTIO_NET_HDR_GSO_TCPV4 ? 4 : 6;
	struct net_headers h;
	uint32_t head_bytes;

	if ((type != VIRTIO_NET_HDR_GSO_TCPV4 && type != VIRTIO_NET_HDR_GSO_TCPV6) ||
	    hdr->gso_size == 0 || net_headers_parse(f->frame, f->bytes, false, &h) ||
	    h.is_fragment || h.protocol != NET_IP_TCP || h.ip_version != version ||
	    h.end - h.l4_offset < TCP_BYTES) {
		return -EBADMSG;
	}
	head_bytes = h.l4_offset + (f->frame[h.l4_offset + 12] >> 4) * 4U;
	if (head_bytes < h.l4_offset + TCP_BYTES || head_bytes > h.end) {
		return -EBADMSG;
	}
	if (h.end - head_bytes <= hdr->gso_size) {
		return 0;
	}
	if (hdr->gso_size < NET_MSS_MIN) {
		return -EBADMSG;
	}
	f->flags |= NET_FRAME_COALESCED | NET_FRAME_CHECKSUM_GOOD;
	f->mss = hdr->gso_size;
	f->l4 = NET_L4_TCP;
	f->l4_offset = h.l4_offset;
	f->bytes = h.end;
	*ret_large = true;
	return 0;
}

int vnet_receive(const uint8_t *hdr_bytes, uint8_t *frame, uint32_t bytes, struct vnet_frame *ret)
{
	struct vnet_frame f = { .frame = frame, .bytes = bytes };
	struct virtio_net_hdr hdr;
	uint32_t start;
	bool large = false;

	memcpy(&hdr, hdr_bytes, sizeof(hdr));
	start = hdr.csum_start;
	if (bytes < NET_HEADER_BYTES || bytes > NET_FRAME_BYTES_MAX) {
		return -EBADMSG;
	}
	if (bytes >= NET_HEADER_BYTES + VNET_TAG_BYTES &&
	    bytes_be16(frame + MACS_BYTES) == VNET_TYPE_VLAN) {
		f.vlan_tci = bytes_be16(frame + MACS_BYTES + 2);
		f.flags = NET_FRAME_VLAN;
		memmove(frame + VNET_TAG_BYTES, frame, MACS_BYTES);
		f.frame += VNET_TAG_BYTES;
		f.bytes -= VNET_TAG_BYTES;
		start = start < VNET_TAG_BYTES ? 0 : start - VNET_TAG_BYTES;
	}
	if (hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE && receive_large(&f, &hdr, &large)) {
		return -EBADMSG;
	}
	if (!large && hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if (!leave_partial(&f, start, hdr.csum_offset) &&
		    finish_checksum(f.frame, f.bytes, start, hdr.csum_offset)) {
			return -EBADMSG;
		}
		say_good(&f);
	} else if (!large && hdr.flags & VIRTIO_NET_HDR_F_DATA_VALID) {
		say_good(&f);
	}
	*ret = f;
	return 0;
}

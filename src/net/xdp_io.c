/* SPDX-License-Identifier: MIT */
/* Frames through the rings of a queue. The kernel copies them from and to its own memory. */
#include <errno.h>
#include <linux/if_xdp.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/num.h"
#include "net/fifo.h"
#include "net/offload.h"
#include "net/xdp_internal.h"
#include "proto/ether.h"

/* The kernel sends 32 frames in one call (TX_BATCH_SIZE), in versions to come perhaps others. */
#define KICKS_MAX (XDP_TX_CHUNKS / 16)

static struct xdp_queue *queue_of(const struct wire *wire)
{
	struct xdp_state *state = wire->group->state;

	return &state->queues[wire->index];
}

/* ---- what arrives ---- */

/* The slots' chunks have been delivered (W1): the kernel may have them again. */
static void give_back(struct xdp_queue *q)
{
	uint32_t at;

	if (q->held_count &&
	    xsk_ring_prod__reserve(&q->fill, q->held_count, &at) == q->held_count) {
		for (unsigned int i = 0; i < q->held_count; i++) {
			*xsk_ring_prod__fill_addr(&q->fill, at + i) = q->held[i];
		}
		xsk_ring_prod__submit(&q->fill, q->held_count);
		q->held_count = 0;
	}
}

/*
 * A checksum that is nothing but the pseudo header's sum: of a sender on this host, who leaves the rest
 * to the device. (One that happens to be right all the same is made again, and is the same.)
 */
static void note_checksum(const uint8_t *frame, uint32_t bytes, struct virtio_net_hdr *hdr)
{
	struct net_headers h;
	uint32_t offset;
	uint16_t field;
	uint8_t l4;

	if (net_headers_parse(frame, bytes, false, &h) ||
	    (l4 = net_headers_l4(&h)) == NET_L4_NONE) {
		return;
	}
	offset = net_l4_field(l4);
	if (h.l4_offset + offset + 2 > h.end) {
		return;
	}
	field = net_pseudo_field(frame + h.l3_offset, &h);
	if (memcmp(frame + h.l4_offset + offset, &field, 2) == 0) {
		hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		hdr->csum_start = h.l4_offset;
		hdr->csum_offset = (uint16_t)offset;
	}
}

/* The frame lies behind its own header, in memory that is the kernel's no more. */
static void take_slot(struct xdp_queue *q, struct wire_slot *slot, const struct xdp_desc *desc)
{
	uint8_t *frame = q->memory + desc->addr;
	struct virtio_net_hdr hdr = { 0 };
	uint32_t tag = 0;

	slot->has_tag = false;
	/* A tag is in the frame: what is behind it is looked at as if it were not. */
	if (desc->len > NET_HEADER_BYTES + VNET_TAG_BYTES &&
	    bytes_be16(frame + ETHER_TYPE_OFFSET) == ETHER_TYPE_VLAN) {
		tag = VNET_TAG_BYTES;
		slot->has_tag = true;
		slot->tci = bytes_be16(frame + NET_HEADER_BYTES);
		memmove(frame + tag, frame, ETHER_TYPE_OFFSET);
		frame += tag;
	}
	note_checksum(frame, desc->len - tag, &hdr);
	slot->buffer = frame - VNET_HDR_BYTES;
	slot->bytes = (int)(desc->len - tag + VNET_HDR_BYTES);
	memcpy(slot->buffer, &hdr, sizeof(hdr));
}

static void kick(struct wire *wire, struct xdp_queue *q);

void xdp_read(struct wire *wire)
{
	struct xdp_queue *q = queue_of(wire);
	uint32_t at, got;

	give_back(q);
	got = xsk_ring_cons__peek(&q->rx, WIRE_SLOTS, &at);
	for (uint32_t i = 0; i < got; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&q->rx, at + i);

		q->held[i] = desc->addr & ~(uint64_t)(XDP_CHUNK_BYTES - 1);
		take_slot(q, &wire->slots[i], desc);
	}
	q->held_count = got;
	xsk_ring_cons__release(&q->rx, got);
	kick(wire, q);
	wire_received(wire, got, got == WIRE_SLOTS);
}

/* ---- what leaves ---- */

static void reclaim(struct xdp_queue *q)
{
	uint32_t at, done = xsk_ring_cons__peek(&q->done, XDP_TX_CHUNKS, &at);

	for (uint32_t i = 0; i < done; i++) {
		q->free[q->free_count++] = *xsk_ring_cons__comp_addr(&q->done, at + i);
	}
	xsk_ring_cons__release(&q->done, done);
}

static bool has_unsent(struct xdp_queue *q)
{
	return xsk_prod_nb_free(&q->tx, XDP_TX_CHUNKS) < XDP_TX_CHUNKS;
}

/* In copy mode the kernel sends when it is told to. What the device has no room for: next round. */
static void kick(struct wire *wire, struct xdp_queue *q)
{
	for (unsigned int i = 0; i < KICKS_MAX && has_unsent(q); i++) {
		wire->calls++;
		if (sendto(q->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
		    errno != EINTR) {
			break;
		}
	}
	if (has_unsent(q) && !wire->is_stopping) {
		wire->more = true;
		loop_defer(wire->net.loop, &wire->pump_work);
	}
}

struct sending {
	struct wire *wire;
	struct xdp_queue *queue;
	bool has_tag; /* to be put into each piece */
	uint16_t tci;
};

/* Copies a frame, or a piece of one, into a chunk; what is partial of its checksum is whole there. */
static void put_frame(struct sending *s, const struct net_frame *frame)
{
	struct xdp_queue *q = s->queue;
	const uint32_t tag = s->has_tag ? VNET_TAG_BYTES : 0;
	uint64_t chunk;
	uint8_t *to;
	uint32_t at;

	if (!q->free_count) {
		kick(s->wire, q);
		reclaim(q);
	}
	if (frame->bytes + tag > XDP_FRAME_MAX || !q->free_count ||
	    xsk_ring_prod__reserve(&q->tx, 1, &at) != 1) {
		s->wire->refused++;
		s->wire->net.counters.send_lost++;
		return;
	}
	chunk = q->free[--q->free_count];
	to = q->memory + chunk;
	fifo_gather(to + tag, frame);
	if (tag) {
		memmove(to, to + tag, ETHER_TYPE_OFFSET);
		bytes_put_be16(to + ETHER_TYPE_OFFSET, ETHER_TYPE_VLAN);
		bytes_put_be16(to + ETHER_TYPE_OFFSET + 2, s->tci);
	}
	*xsk_ring_prod__tx_desc(&q->tx, at) =
		(struct xdp_desc){ .addr = chunk, .len = frame->bytes + tag };
	xsk_ring_prod__submit(&q->tx, 1);
}

static void on_piece(void *ctx, const struct iovec *iov, int count, uint32_t bytes)
{
	const struct net_frame frame = { .iov = iov, .iov_count = count, .bytes = bytes };

	put_frame(ctx, &frame);
}

/* In one piece, to be cut. */
static void send_large(struct sending *s, const struct net_frame *whole, uint32_t mss)
{
	uint8_t *frame = s->queue->large;
	uint32_t bytes = whole->bytes;

	fifo_gather(frame, whole);
	if (bytes_be16(frame + ETHER_TYPE_OFFSET) == ETHER_TYPE_VLAN) {
		s->has_tag = true;
		s->tci = bytes_be16(frame + NET_HEADER_BYTES);
		memmove(frame + VNET_TAG_BYTES, frame, ETHER_TYPE_OFFSET);
		frame += VNET_TAG_BYTES;
		bytes -= VNET_TAG_BYTES;
	}
	if (net_cut_tcp(frame, bytes, mss, on_piece, s)) {
		s->wire->net.counters.send_lost++;
	}
}

/* What vnet_send() has prepared: a virtio_net_hdr and the frame, its tag within. */
static void send_message(struct wire *wire, struct xdp_queue *q, const struct msghdr *message)
{
	struct iovec iov[VNET_SEND_PIECES];
	struct net_frame frame = { .iov = iov, .iov_count = (int)message->msg_iovlen };
	struct sending s = { .wire = wire, .queue = q };
	struct virtio_net_hdr hdr;

	check(message->msg_iovlen <= ARRAY_SIZE(iov));
	memcpy(iov, message->msg_iov, message->msg_iovlen * sizeof(iov[0]));
	memcpy(&hdr, iov[0].iov_base, sizeof(hdr));
	iov[0] = (struct iovec){ (uint8_t *)iov[0].iov_base + VNET_HDR_BYTES,
				 iov[0].iov_len - VNET_HDR_BYTES };
	for (int i = 0; i < frame.iov_count; i++) {
		frame.bytes += (uint32_t)iov[i].iov_len;
	}
	if (hdr.gso_type) {
		send_large(&s, &frame, hdr.gso_size);
		return;
	}
	if (hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		/* The field holds the pseudo header's sum, and the frame ends with its datagram. */
		frame.flags = NET_FRAME_L4_PARTIAL;
		frame.l4 = hdr.csum_offset == net_l4_field(NET_L4_UDP) ? NET_L4_UDP : NET_L4_TCP;
		frame.l4_offset = hdr.csum_start;
		frame.l4_end = frame.bytes;
	}
	put_frame(&s, &frame);
}

/* Never waits: what finds no room is lost, as on a card whose queue is full. */
int xdp_write(struct wire *wire, struct mmsghdr *messages, unsigned int count,
	      unsigned int *ret_done)
{
	struct xdp_queue *q = queue_of(wire);

	reclaim(q);
	for (unsigned int i = 0; i < count; i++) {
		send_message(wire, q, &messages[i].msg_hdr);
	}
	kick(wire, q);
	*ret_done = count;
	return 0;
}

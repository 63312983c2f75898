/* SPDX-License-Identifier: MIT */
/*
 * Frames and control messages to the guest. Frames gather in a batch, which becomes one packet when
 * the back end says that this is all for now, or when it is full.
 */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "vsp/net/netvsp_internal.h"

static struct netvsp *from_front(struct net_front *front)
{
	return container_of(front, struct netvsp, front);
}

/* ---- packets ---- */

/* Transaction ids are the first piece's index, plus one so that none is 0. */
static int send_pages(struct netvsp *nic, uint32_t channel_type, uint32_t head)
{
	struct netvsp_batch *batch = &nic->batch;
	struct nvsp_message message;
	struct iovec payload;
	struct vmbus_send send = {
		.type = VMBUS_PACKET_TRANSFER_PAGES,
		.wants_completion = true,
		.transaction_id = (uint64_t)head + 1,
		.descriptor = &batch->header,
		.descriptor_bytes =
			(uint32_t)(sizeof(batch->header) + batch->ranges * sizeof(batch->range[0])),
		.payload = &payload,
		.payload_count = 1,
	};

	static_assert(offsetof(struct netvsp_batch, range) ==
			      offsetof(struct netvsp_batch, header) +
				      sizeof(struct vmbus_transfer_pages_header),
		      "the ranges follow the header");
	nvsp_build_rndis(nic->dialect, channel_type, &message);
	payload = (struct iovec){ message.bytes, message.length };
	batch->header = (struct vmbus_transfer_pages_header){ .set_id = nic->recv.buffer.id,
							      .range_count = batch->ranges };
	return vmbus_channel_send(nic->channel, &send);
}

static void batch_forget(struct netvsp *nic)
{
	nic->batch.ranges = 0;
	nic->rx_ring_full = false;
}

/* Gives the batch's pieces back unseen. */
static void batch_drop(struct netvsp *nic)
{
	if (nic->batch.ranges) {
		nic->counters.rx_lost += nic->batch.ranges;
		check(netvsp_pieces_release(&nic->recv, nic->batch.head) == 0);
	}
	batch_forget(nic);
}

int netvsp_rx_flush(struct netvsp *nic)
{
	int err;

	if (nic->batch.ranges == 0) {
		return 0;
	}
	err = send_pages(nic, NVSP_RNDIS_DATA, nic->batch.head);
	if (err == -EAGAIN) {
		nic->rx_ring_full = true;
		return err;
	}
	if (err) {
		batch_drop(nic); /* the channel is dead: nobody waits for them */
		return 0;
	}
	nic->counters.rx_packets++;
	batch_forget(nic);
	return 0;
}

/* Puts a piece that was filled into the batch. */
static void batch_add(struct netvsp *nic, uint32_t piece, uint32_t bytes)
{
	struct netvsp_batch *batch = &nic->batch;

	if (batch->ranges == 0) {
		batch->head = piece;
	} else {
		netvsp_piece_chain(&nic->recv, batch->tail, piece);
	}
	batch->tail = piece;
	batch->range[batch->ranges++] = (struct vmbus_transfer_page_range){
		.length_bytes = bytes,
		.offset_bytes = piece * nic->recv.piece_bytes,
	};
}

/* ---- frames ---- */

static bool is_wanted(const struct netvsp *nic, const struct net_frame *frame)
{
	uint8_t to[NET_MAC_BYTES];
	static const uint8_t broadcast[NET_MAC_BYTES] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (nic->filter & NDIS_FILTER_PROMISCUOUS) {
		return true;
	}
	for (int i = 0, have = 0; have < NET_MAC_BYTES; i++) {
		int run = (int)num_min(frame->iov[i].iov_len, (uint64_t)(NET_MAC_BYTES - have));

		memcpy(to + have, frame->iov[i].iov_base, (size_t)run);
		have += run;
	}
	if (!(to[0] & 1)) {
		return nic->filter & NDIS_FILTER_DIRECTED && !memcmp(to, nic->mac, sizeof(to));
	}
	if (!memcmp(to, broadcast, sizeof(to))) {
		return (nic->filter & NDIS_FILTER_BROADCAST) != 0;
	}
	if (nic->filter & NDIS_FILTER_ALL_MULTICAST) {
		return true;
	}
	for (uint32_t i = 0; nic->filter & NDIS_FILTER_MULTICAST && i < nic->multicast_count; i++) {
		if (!memcmp(to, nic->multicast[i], sizeof(to))) {
			return true;
		}
	}
	return false;
}

static uint32_t checksum_word(const struct net_frame *frame)
{
	uint32_t word = 0;

	if (!(frame->flags & NET_FRAME_CHECKSUM_GOOD)) {
		return 0;
	}
	if (frame->l4 == NET_L4_TCP) {
		word = RNDIS_RX_TCP_GOOD | RNDIS_RX_IP_GOOD;
	} else if (frame->l4 == NET_L4_UDP) {
		word = RNDIS_RX_UDP_GOOD | RNDIS_RX_IP_GOOD;
	}
	return word;
}

/* Where a frame's bytes are copied from. */
struct source {
	const struct iovec *iov;
	size_t at; /* in the first of them */
};

static void copy_piece(struct netvsp *nic, struct source *source, uint32_t offset, uint32_t bytes)
{
	while (bytes) {
		uint32_t run = (uint32_t)num_min(source->iov->iov_len - source->at, bytes);

		netvsp_buffer_write(&nic->recv.buffer, offset,
				    (const uint8_t *)source->iov->iov_base + source->at, run);
		source->at += run;
		offset += run;
		bytes -= run;
		if (source->at == source->iov->iov_len) {
			source->iov++;
			source->at = 0;
		}
	}
}

static void put_frame(struct netvsp *nic, const struct net_frame *frame, uint32_t pieces)
{
	const uint32_t room = nic->recv.piece_bytes - RNDIS_RECEIVE_HEAD_MAX;
	struct source source = { .iov = frame->iov };
	uint32_t left = frame->bytes;

	for (uint32_t i = 0; i < pieces; i++) {
		uint32_t piece = netvsp_piece_take(&nic->recv);
		uint32_t offset = piece * nic->recv.piece_bytes, head_bytes;
		uint8_t head[RNDIS_RECEIVE_HEAD_MAX];
		struct rndis_receive receive = { .data_bytes = (uint32_t)num_min(left, room) };

		if (i == 0) {
			receive.checksum = checksum_word(frame);
			receive.has_vlan = (frame->flags & NET_FRAME_VLAN) != 0;
			receive.vlan_tci = frame->vlan_tci;
		}
		if (pieces > 1) {
			receive.piece =
				(uint8_t)(RNDIS_ID_PIECE | (i == 0 ? RNDIS_ID_PIECE_FIRST : 0) |
					  (i == pieces - 1 ? RNDIS_ID_PIECE_LAST : 0));
		}
		head_bytes = rndis_build_packet(head, &receive);
		netvsp_buffer_write(&nic->recv.buffer, offset, head, head_bytes);
		copy_piece(nic, &source, offset + head_bytes, receive.data_bytes);
		batch_add(nic, piece, head_bytes + receive.data_bytes);
		left -= receive.data_bytes;
	}
}

/* How many pieces a frame needs; 0: the guest cannot take it at all. */
static uint32_t pieces_for(const struct netvsp *nic, const struct net_frame *frame)
{
	const uint32_t room = nic->recv.piece_bytes - RNDIS_RECEIVE_HEAD_MAX;
	uint32_t pieces = (frame->bytes + room - 1) / room;

	if (frame->bytes < NET_HEADER_BYTES) {
		return 0;
	}
	if (frame->flags & NET_FRAME_COALESCED) {
		return netvsp_has_rsc(nic) && pieces <= NETVSP_BATCH_RANGES ? pieces : 0;
	}
	return frame->bytes <= nic->mtu + NET_HEADER_BYTES + 4 && pieces == 1 ? 1 : 0;
}

static int on_deliver(struct net_front *front, const struct net_frame *frame)
{
	struct netvsp *nic = from_front(front);
	uint32_t pieces;

	if (nic->paused) {
		nic->rx_wanted = 1;
		return -EAGAIN;
	}
	if (!nic->operational || !nic->recv.buffer.gpadl || !netvsp_link(nic)) {
		nic->counters.rx_lost++;
		return 0;
	}
	pieces = pieces_for(nic, frame);
	if (pieces == 0) {
		nic->counters.rx_lost++;
		return 0;
	}
	if (!is_wanted(nic, frame)) {
		nic->counters.rx_filtered++;
		return 0;
	}
	if (pieces > nic->recv.pieces - NETVSP_CONTROL_PIECES) {
		nic->counters.rx_lost++;
		return 0;
	}
	if (nic->rx_ring_full || nic->recv.free_count < pieces + NETVSP_CONTROL_PIECES ||
	    (nic->batch.ranges + pieces > NETVSP_BATCH_RANGES && netvsp_rx_flush(nic))) {
		nic->rx_wanted = pieces;
		nic->counters.rx_waits++;
		return -EAGAIN;
	}
	put_frame(nic, frame, pieces);
	nic->counters.rx_frames++;
	nic->counters.rx_bytes += frame->bytes;
	nic->counters.rx_large += pieces > 1;
	return 0;
}

static void on_batch_end(struct net_front *front)
{
	struct netvsp *nic = from_front(front);

	if (!nic->paused && !nic->rx_ring_full) {
		(void)netvsp_rx_flush(nic); /* no room: writable() goes on */
	}
}

static void on_net_writable(struct net_front *front)
{
	struct netvsp *nic = from_front(front);

	if (nic->channel) {
		vmbus_channel_resume(nic->channel);
	}
}

static void on_link_changed(struct net_front *front)
{
	netvsp_tell_link(from_front(front));
}

const struct net_front_ops netvsp_front_ops = {
	.deliver = on_deliver,
	.batch_end = on_batch_end,
	.writable = on_net_writable,
	.link_changed = on_link_changed,
};

/* ---- control messages ---- */

/* 0; -EAGAIN: no piece or no room in the ring. */
static int send_reply(struct netvsp *nic, const uint8_t *message, uint32_t bytes)
{
	struct netvsp_batch saved;
	uint32_t piece;
	int err;

	if (nic->paused || netvsp_rx_flush(nic) || nic->recv.free_count == 0) {
		return -EAGAIN;
	}
	check(bytes <= nic->recv.piece_bytes);
	/* The batch is empty: its packet is borrowed for this one. */
	saved = nic->batch;
	piece = netvsp_piece_take(&nic->recv);
	netvsp_buffer_write(&nic->recv.buffer, piece * nic->recv.piece_bytes, message, bytes);
	batch_add(nic, piece, bytes);
	err = send_pages(nic, NVSP_RNDIS_CONTROL, piece);
	nic->batch = saved;
	if (err) {
		check(netvsp_pieces_release(&nic->recv, piece) == 0);
		return err;
	}
	return 0;
}

static void drain_replies(struct netvsp *nic)
{
	while (nic->replies_count && nic->recv.buffer.gpadl) {
		struct netvsp_reply *reply = &nic->replies[nic->replies_first];

		if (send_reply(nic, reply->message, reply->bytes) == -EAGAIN) {
			return;
		}
		nic->replies_first = (nic->replies_first + 1) % NETVSP_CONTROL_QUEUE;
		nic->replies_count--;
	}
}

void netvsp_reply(struct netvsp *nic, const uint8_t *message, uint32_t bytes)
{
	struct netvsp_reply *reply;

	check(bytes <= RNDIS_REPLY_BYTES_MAX);
	nic->counters.control++;
	if (!nic->recv.buffer.gpadl) {
		nic->counters.control_lost++; /* there is no way to say anything */
		return;
	}
	if (nic->replies_count == 0 && send_reply(nic, message, bytes) != -EAGAIN) {
		return;
	}
	if (nic->replies_count == NETVSP_CONTROL_QUEUE) {
		nic->counters.control_lost++;
		vmbus_channel_fault(nic->channel, "RNDIS answers pile up: the guest takes none");
		return;
	}
	reply = &nic->replies[(nic->replies_first + nic->replies_count++) % NETVSP_CONTROL_QUEUE];
	reply->bytes = bytes;
	memcpy(reply->message, message, bytes);
}

/* ---- going on ---- */

static void rx_go_on(struct netvsp *nic)
{
	drain_replies(nic);
	if (nic->rx_wanted && !nic->rx_ring_full && !nic->paused &&
	    nic->recv.free_count >= nic->rx_wanted + NETVSP_CONTROL_PIECES) {
		nic->rx_wanted = 0;
		net_room(nic->net);
	}
}

int netvsp_rx_complete(struct netvsp *nic, uint64_t transaction_id)
{
	if (transaction_id == 0 || !nic->recv.buffer.gpadl ||
	    (nic->batch.ranges && transaction_id - 1 == nic->batch.head) ||
	    netvsp_pieces_release(&nic->recv, transaction_id - 1)) {
		nic->counters.bad_completions++;
		return -EBADMSG;
	}
	if (nic->rx_wanted || nic->replies_count) {
		rx_go_on(nic);
	}
	return 0;
}

void netvsp_rx_writable(struct netvsp *nic)
{
	if (nic->paused) {
		return;
	}
	nic->rx_ring_full = false;
	if (netvsp_rx_flush(nic) == 0) {
		rx_go_on(nic);
	}
}

void netvsp_rx_drop(struct netvsp *nic)
{
	if (nic->recv.pieces) {
		batch_drop(nic);
	}
	nic->replies_first = nic->replies_count = 0;
	if (nic->rx_wanted) {
		/* Whoever waits may bring its frames: they are lost now. */
		nic->rx_wanted = 0;
		net_room(nic->net);
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * Frames and control messages to the guest. Frames gather in a batch, which becomes one packet when
 * the back end says that this is all for now, or when it is full.
 */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "vsp/net/netvsp_internal.h"
#include "vsp/net/netvsp_lane.h"

static struct netvsp_queue *from_front(struct net_front *front)
{
	return container_of(front, struct netvsp_queue, front);
}

/* ---- packets ---- */

/* Transaction ids are the first piece's index, plus one so that none is 0. */
static int send_pages(struct netvsp_queue *queue, uint32_t channel_type, uint32_t head)
{
	struct netvsp_batch *batch = &queue->batch;
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
	nvsp_build_rndis(queue->view->dialect, channel_type, &message);
	payload = (struct iovec){ message.bytes, message.length };
	batch->header = (struct vmbus_transfer_pages_header){ .set_id = queue->view->recv.buffer.id,
							      .range_count = batch->ranges };
	int err = vmbus_channel_send(queue->channel, &send);

	if (!err && queue->log) {
		/* Not before: a send that finds no room commits what there is. */
		netvsp_log_stamp(&queue->log[head].shown,
				 vmbus_channel_stamp(queue->channel)); /* J3 */
	}
	return err;
}

static void batch_forget(struct netvsp_queue *queue)
{
	queue->batch.ranges = 0;
	queue->rx_ring_full = false;
}

/* Gives the batch's pieces back unseen. */
static void batch_drop(struct netvsp_queue *queue)
{
	if (queue->batch.ranges) {
		counter_add(&queue->counters.rx_lost, queue->batch.ranges);
		netvsp_pieces_put_back(queue, queue->batch.head);
	}
	batch_forget(queue);
}

int netvsp_rx_flush(struct netvsp_queue *queue)
{
	int err;

	if (queue->batch.ranges == 0) {
		return 0;
	}
	err = send_pages(queue, NVSP_RNDIS_DATA, queue->batch.head);
	if (err == -EAGAIN) {
		queue->rx_ring_full = true;
		return err;
	}
	if (err) {
		batch_drop(queue); /* the channel is dead: nobody waits for them */
		return 0;
	}
	counter_add(&queue->counters.rx_packets, 1);
	batch_forget(queue);
	return 0;
}

/* Puts a piece that was filled into the batch. */
static void batch_add(struct netvsp_queue *queue, uint32_t piece, uint32_t offset, uint32_t bytes)
{
	struct netvsp_batch *batch = &queue->batch;

	if (batch->ranges == 0) {
		batch->head = piece;
	} else {
		netvsp_piece_chain(queue, batch->tail, piece);
	}
	batch->tail = piece;
	batch->range[batch->ranges++] = (struct vmbus_transfer_page_range){
		.length_bytes = bytes,
		.offset_bytes = offset,
	};
}

/* ---- frames ---- */

void netvsp_destination(const struct net_frame *frame, uint8_t *ret_to)
{
	/* Almost always; in the sizes that are looked at, or that waits for all stores before. */
	if (frame->iov->iov_len >= NET_MAC_BYTES) {
		memcpy(ret_to, frame->iov->iov_base, NET_MAC_BYTES);
		return;
	}
	for (size_t i = 0, have = 0; have < NET_MAC_BYTES; i++) {
		size_t run = num_min(frame->iov[i].iov_len, NET_MAC_BYTES - have);

		memcpy(ret_to + have, frame->iov[i].iov_base, run);
		have += run;
	}
}

static bool is_wanted(const struct netvsp_view *view, const uint8_t *to)
{
	static const uint8_t broadcast[NET_MAC_BYTES] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (view->filter & NDIS_FILTER_PROMISCUOUS) {
		return true;
	}
	if (!(to[0] & 1)) {
		return view->filter & NDIS_FILTER_DIRECTED &&
		       !memcmp(to, view->config.mac, NET_MAC_BYTES);
	}
	if (!memcmp(to, broadcast, sizeof(broadcast))) {
		return (view->filter & NDIS_FILTER_BROADCAST) != 0;
	}
	if (view->filter & NDIS_FILTER_ALL_MULTICAST) {
		return true;
	}
	for (uint32_t i = 0; view->filter & NDIS_FILTER_MULTICAST && i < view->multicast_count;
	     i++) {
		if (!memcmp(to, view->multicast[i], NET_MAC_BYTES)) {
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

/* tally: NULL, or what is copied is added to it. */
static inline void copy_piece(const struct netvsp_recv *recv, struct netvsp_source *source,
			      uint32_t offset, uint32_t bytes, struct net_tally *tally)
{
	while (bytes) {
		uint32_t run = (uint32_t)num_min(source->iov->iov_len - source->at, bytes);
		const uint8_t *from = (const uint8_t *)source->iov->iov_base + source->at;

		if (tally) {
			netvsp_buffer_write_summed(&recv->buffer, offset, from, run, tally);
		} else {
			netvsp_buffer_write(&recv->buffer, offset, from, run);
		}
		source->at += run;
		offset += run;
		bytes -= run;
		if (source->at == source->iov->iov_len) {
			source->iov++;
			source->at = 0;
		}
	}
}

/* NET_FRAME_L4_PARTIAL: a whole frame, to offset on. */
static void copy_partial(const struct netvsp_recv *recv, const struct net_frame *frame,
			 uint32_t offset)
{
	const uint32_t l4 = frame->l4_offset, end = frame->l4_end,
		       field = l4 + net_l4_field(frame->l4);
	struct netvsp_source source = { .iov = frame->iov };
	struct net_tally tally = { 0 };
	uint16_t checksum;

	check(field + sizeof(checksum) <= end && end <= frame->bytes);
	copy_piece(recv, &source, offset, l4, NULL);
	copy_piece(recv, &source, offset + l4, end - l4, &tally);
	copy_piece(recv, &source, offset + end, frame->bytes - end, NULL);
	checksum = net_sum_fold_l4(tally.sum, frame->l4 == NET_L4_UDP);
	netvsp_buffer_write(&recv->buffer, offset + field, &checksum, sizeof(checksum));
}

/* Where in its piece a frame begins that takes so many bytes there. */
static uint32_t colour(const struct netvsp_recv *recv, uint32_t piece, uint32_t bytes)
{
	uint32_t room = recv->piece_bytes - bytes;
	uint32_t offset = piece % NETVSP_COLOURS * NETVSP_COLOUR_BYTES;

	return offset <= room ? offset : 0;
}

void netvsp_fetch_piece(const struct netvsp_recv *recv, uint32_t piece)
{
	uint32_t offset = piece * recv->piece_bytes + colour(recv, piece, 0);
	uint8_t *head =
		recv->buffer.pages[offset >> MEM_PAGE_SHIFT] + (offset & (MEM_PAGE_BYTES - 1));
	__asm__ volatile("prefetchw %0" : : "m"(head[0]));
	__asm__ volatile("prefetchw %0" : : "m"(head[NETVSP_LINE_BYTES]));
}

/* The guest has looked at a free piece's head last. */
static void fetch_next(const struct netvsp_queue *queue)
{
	const struct netvsp_pool *pool = &queue->pool;

	if (pool->count > NETVSP_FETCH_PIECES) {
		netvsp_fetch_piece(&queue->view->recv,
				   pool->free[pool->count - 1 - NETVSP_FETCH_PIECES]);
	}
}

static void describe(bool has_hash, const struct net_frame *frame, struct rndis_receive *receive)
{
	receive->checksum = checksum_word(frame);
	receive->has_vlan = (frame->flags & NET_FRAME_VLAN) != 0;
	receive->vlan_tci = frame->vlan_tci;
	receive->has_hash = has_hash && frame->flags & NET_FRAME_HASH;
	receive->hash = frame->hash;
}

uint32_t netvsp_frame_pieces(const struct netvsp_recv *recv, uint32_t bytes)
{
	const uint32_t room = recv->piece_bytes - RNDIS_RECEIVE_HEAD_MAX;

	return (bytes + room - 1) / room;
}

struct netvsp_range netvsp_fill_piece(const struct netvsp_recv *recv, uint32_t piece,
				      const struct net_frame *frame, bool has_hash,
				      struct netvsp_source *source)
{
	const uint32_t room = recv->piece_bytes - RNDIS_RECEIVE_HEAD_MAX;
	const bool is_first = source->done == 0;
	uint8_t head[RNDIS_RECEIVE_HEAD_MAX];
	struct rndis_receive receive = { .data_bytes = (uint32_t)num_min(
						 frame->bytes - source->done, room) };
	uint32_t offset = piece * recv->piece_bytes, head_bytes;

	source->done += receive.data_bytes;
	if (is_first) {
		describe(has_hash, frame, &receive);
	}
	if (frame->bytes > room) {
		receive.piece = (uint8_t)(RNDIS_ID_PIECE | (is_first ? RNDIS_ID_PIECE_FIRST : 0) |
					  (source->done == frame->bytes ? RNDIS_ID_PIECE_LAST : 0));
	}
	head_bytes = rndis_build_packet(head, &receive);
	offset += colour(recv, piece, head_bytes + receive.data_bytes);
	netvsp_buffer_write(&recv->buffer, offset, head, head_bytes);
	if (frame->flags & NET_FRAME_L4_PARTIAL) {
		check(receive.data_bytes == frame->bytes);
		copy_partial(recv, frame, offset + head_bytes);
	} else {
		copy_piece(recv, source, offset + head_bytes, receive.data_bytes, NULL);
	}
	return (struct netvsp_range){ offset, head_bytes + receive.data_bytes };
}

static void put_frame(struct netvsp_queue *queue, const struct net_frame *frame, uint32_t pieces)
{
	struct netvsp_source source = { .iov = frame->iov };

	for (uint32_t i = 0; i < pieces; i++) {
		fetch_next(queue);
		uint32_t piece = netvsp_piece_take(queue);
		struct netvsp_range range = netvsp_fill_piece(
			&queue->view->recv, piece, frame, queue->view->config.rss.is_on, &source);

		batch_add(queue, piece, range.offset, range.bytes);
	}
}

/* How many pieces a frame needs; 0: the guest cannot take it at all. */
static uint32_t pieces_for(const struct netvsp_queue *queue, const struct net_frame *frame)
{
	const struct netvsp_view *view = queue->view;
	uint32_t pieces = netvsp_frame_pieces(&view->recv, frame->bytes);

	if (frame->bytes < NET_HEADER_BYTES || pieces + netvsp_reserve(queue) > queue->pool.owned) {
		return 0;
	}
	if (frame->flags & NET_FRAME_COALESCED) {
		return view->has_rsc && pieces <= view->ranges_max ? pieces : 0;
	}
	return frame->bytes <= view->config.mtu + NET_HEADER_BYTES + 4 && pieces == 1 ? 1 : 0;
}

static void count_frame(struct netvsp_queue *queue, uint32_t bytes, const uint8_t *to,
			uint32_t pieces)
{
	counter_add(&queue->counters.rx_frames, 1);
	counter_add(&queue->counters.rx_bytes, bytes);
	if (pieces > 1) {
		counter_add(&queue->counters.rx_large, 1);
	}
	netvsp_count_group(to, &queue->counters.rx_multicast, &queue->counters.rx_broadcast);
}

bool netvsp_rx_is_stopped(const struct netvsp_queue *queue)
{
	bool is_answering = queue->index == 0 && queue->nic->is_answering; /* I2 */

	return queue->paused || queue->is_held || queue->rx_ring_full || is_answering;
}

int netvsp_rx_filled(struct netvsp_queue *queue, const struct netvsp_filled *filled,
		     const struct netvsp_filled *(*next)(void *ctx), void *ctx)
{
	const struct netvsp_view *view = queue->view;
	const uint32_t pieces = filled->pieces, frame_bytes = filled->frame_bytes;
	uint8_t to[NET_MAC_BYTES];
	bool is_lost = !view->operational || !netvsp_queue_link(queue) || pieces > view->ranges_max;
	bool is_filtered = !is_wanted(view, filled->to);

	memcpy(to, filled->to, sizeof(to));
	if (!is_lost && !is_filtered && queue->batch.ranges + pieces > view->ranges_max &&
	    netvsp_rx_flush(queue)) {
		return -EAGAIN;
	}
	for (uint32_t i = 0; i < pieces; i++, filled = i < pieces ? next(ctx) : NULL) {
		netvsp_piece_use(queue, filled->piece);
		if (is_lost || is_filtered) {
			netvsp_pieces_put_back(queue, filled->piece);
		} else {
			batch_add(queue, filled->piece, filled->offset, filled->bytes);
		}
	}
	if (is_lost) {
		counter_add(&queue->counters.rx_lost, 1);
	} else if (is_filtered) {
		counter_add(&queue->counters.rx_filtered, 1);
	} else {
		count_frame(queue, frame_bytes, to, pieces);
		counter_add(&queue->counters.lane_frames, 1);
	}
	net_count_delivered(queue->net, frame_bytes,
			    frame_bytes > view->config.mtu + NET_HEADER_BYTES + 4);
	return 0;
}

static int on_deliver(struct net_front *front, const struct net_frame *frame)
{
	struct netvsp_queue *queue = from_front(front);
	uint8_t to[NET_MAC_BYTES];
	uint32_t pieces = 0;

	if (queue->paused || queue->is_held) {
		queue->rx_wanted = 1;
		return -EAGAIN;
	}
	if (queue->channel && queue->view->operational && queue->view->recv.buffer.gpadl &&
	    netvsp_queue_link(queue)) {
		pieces = pieces_for(queue, frame);
	}
	if (pieces == 0) {
		counter_add(&queue->counters.rx_lost, 1);
		return 0;
	}
	netvsp_destination(frame, to);
	if (!is_wanted(queue->view, to)) {
		counter_add(&queue->counters.rx_filtered, 1);
		return 0;
	}
	if (queue->rx_ring_full || queue->pool.count < pieces + netvsp_reserve(queue) ||
	    (queue->batch.ranges + pieces > queue->view->ranges_max && netvsp_rx_flush(queue))) {
		queue->rx_wanted = pieces;
		counter_add(&queue->counters.rx_waits, 1);
		return -EAGAIN;
	}
	put_frame(queue, frame, pieces);
	count_frame(queue, frame->bytes, to, pieces);
	return 0;
}

static bool has_room(struct net_front *front, uint32_t frames, uint32_t bytes, bool waits)
{
	struct netvsp_queue *queue = from_front(front);
	const struct netvsp_view *view = queue->view;
	uint32_t pieces = 1;

	if (!queue->paused && !queue->is_held) {
		if (!queue->channel || !view->operational || !view->recv.buffer.gpadl ||
		    !netvsp_queue_link(queue)) {
			return true; /* for nobody */
		}
		pieces = frames * netvsp_frame_pieces(&view->recv, bytes);
		if ((waits && pieces + netvsp_reserve(queue) > queue->pool.owned) ||
		    (!queue->rx_ring_full && queue->pool.count >= pieces + netvsp_reserve(queue))) {
			return true;
		}
	}
	if (waits) {
		queue->rx_wanted = pieces;
		counter_add(&queue->counters.rx_waits, 1);
	}
	return false;
}

static void on_batch_end(struct net_front *front)
{
	struct netvsp_queue *queue = from_front(front);

	if (!queue->paused && !queue->is_held && !queue->rx_ring_full) {
		(void)netvsp_rx_flush(queue); /* no room: writable() goes on */
	}
}

static void on_net_writable(struct net_front *front)
{
	struct netvsp_queue *queue = from_front(front);

	if (queue->channel) {
		vmbus_channel_resume(queue->channel);
	}
}

static void on_link_changed(struct net_front *front)
{
	const struct netvsp_queue *queue = from_front(front);

	if (queue->index == 0) {
		netvsp_tell_link(queue->nic);
	}
}

const struct net_front_ops netvsp_front_ops = {
	.deliver = on_deliver,
	.batch_end = on_batch_end,
	.writable = on_net_writable,
	.link_changed = on_link_changed,
	.has_room = has_room,
	.lane_create = netvsp_lane_create,
	.lane_cut = netvsp_lane_cut,
	.lane_deliver = netvsp_lane_deliver,
	.lane_pass = netvsp_lane_pass,
	.lane_flush = netvsp_lane_flush,
};

/* ---- control messages: the primary's ---- */

/* 0; -EAGAIN: no piece or no room in the ring. */
static int send_reply(struct netvsp_queue *queue, const uint8_t *message, uint32_t bytes)
{
	const struct netvsp_recv *recv = &queue->view->recv;
	struct netvsp_batch *batch = &queue->batch;
	uint32_t piece;
	int err;

	if (queue->paused || netvsp_rx_flush(queue) || queue->pool.count == 0) {
		return -EAGAIN;
	}
	check(bytes <= recv->piece_bytes && batch->ranges == 0);
	/* The batch is empty: its packet is borrowed for this one. */
	piece = netvsp_piece_take(queue);
	netvsp_buffer_write(&recv->buffer, piece * recv->piece_bytes, message, bytes);
	batch_add(queue, piece, piece * recv->piece_bytes, bytes);
	err = send_pages(queue, NVSP_RNDIS_CONTROL, piece);
	batch->ranges = 0;
	if (err) {
		netvsp_pieces_put_back(queue, piece);
		return err;
	}
	return 0;
}

void netvsp_drain_replies(struct netvsp *nic)
{
	struct netvsp_queue *queue = &nic->queues[0];

	while (nic->replies_count && queue->channel && queue->view->recv.buffer.gpadl &&
	       !queue->is_held && !nic->is_publishing && !nic->is_answering) {
		struct netvsp_reply *reply = &nic->replies[nic->replies_first];

		if (send_reply(queue, reply->message, reply->bytes) == -EAGAIN) {
			return;
		}
		nic->replies_first = (nic->replies_first + 1) % NETVSP_CONTROL_QUEUE;
		nic->replies_count--;
		netvsp_touch(nic);
	}
}

void netvsp_reply(struct netvsp *nic, const uint8_t *message, uint32_t bytes)
{
	struct netvsp_queue *queue = &nic->queues[0];
	struct netvsp_reply *reply;

	check(bytes <= RNDIS_REPLY_BYTES_MAX);
	nic->counters.control++;
	if (!queue->channel || !queue->view->recv.buffer.gpadl) {
		nic->counters.control_lost++; /* there is no way to say anything */
		return;
	}
	if (nic->replies_count == NETVSP_CONTROL_QUEUE) {
		nic->counters.control_lost++;
		vmbus_channel_fault(queue->channel, "RNDIS answers pile up: the guest takes none");
		return;
	}
	reply = &nic->replies[(nic->replies_first + nic->replies_count++) % NETVSP_CONTROL_QUEUE];
	reply->bytes = bytes;
	memcpy(reply->message, message, bytes);
	netvsp_touch(nic);
	netvsp_drain_replies(nic);
}

/* ---- going on ---- */

void netvsp_rx_go_on(struct netvsp_queue *queue)
{
	if (queue->index == 0) {
		netvsp_drain_replies(queue->nic);
	}
	if (queue->rx_wanted && !queue->rx_ring_full && !queue->paused &&
	    queue->pool.count >= queue->rx_wanted + netvsp_reserve(queue)) {
		queue->rx_wanted = 0;
		net_room(queue->net);
	}
	if (queue->lanes) {
		netvsp_lanes_go_on(queue);
	}
}

int netvsp_rx_complete(struct netvsp_queue *queue, uint64_t transaction_id)
{
	if (transaction_id == 0 || !queue->view->recv.buffer.gpadl ||
	    (queue->batch.ranges && transaction_id - 1 == queue->batch.head) ||
	    netvsp_pieces_release(queue, transaction_id - 1)) {
		counter_add(&queue->counters.bad_completions, 1);
		return -EBADMSG;
	}
	netvsp_rx_go_on(queue);
	return 0;
}

void netvsp_rx_writable(struct netvsp_queue *queue)
{
	if (queue->paused || queue->is_held) {
		return;
	}
	queue->rx_ring_full = false;
	if (netvsp_rx_flush(queue) == 0) {
		netvsp_rx_go_on(queue);
	}
}

void netvsp_rx_drop(struct netvsp_queue *queue)
{
	if (queue->view->recv.pieces) {
		batch_drop(queue);
	}
	if (!queue->is_held && queue->rx_wanted && !queue->paused) {
		/* Whoever waits may bring its frames: they are lost now. */
		queue->rx_wanted = 0;
		net_room(queue->net);
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * Frames from the guest: RNDIS messages in a section of the send buffer, in pages of the guest's, or
 * beginning in the one and going on in the other. Headers are copied out and read once; a frame's
 * bytes are handed on as they lie.
 */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "vsp/net/netvsp_internal.h"

/* All bytes of a packet. */
struct view {
	const struct iovec *iov;
	int count;
	uint32_t bytes;
};

/* The iovec in which offset lies; *offset becomes the offset in it. There is one. */
static int view_find(const struct view *view, uint32_t *offset)
{
	int i = 0;

	while (*offset >= view->iov[i].iov_len) {
		*offset -= (uint32_t)view->iov[i++].iov_len;
	}
	return i;
}

/* [offset, offset + bytes) lies in the view. */
static void view_copy(const struct view *view, uint32_t offset, void *dst, uint32_t bytes)
{
	uint8_t *to = dst;

	if (bytes == 0) {
		return;
	}
	for (int i = view_find(view, &offset); bytes; i++, offset = 0) {
		uint32_t run = (uint32_t)num_min(view->iov[i].iov_len - offset, bytes);

		memcpy(to, (const uint8_t *)view->iov[i].iov_base + offset, run);
		to += run;
		bytes -= run;
	}
}

/* The same range as iovecs: no more than the view has. */
static int view_slice(const struct view *view, uint32_t offset, uint32_t bytes, struct iovec *iov)
{
	int count = 0;

	if (bytes == 0) {
		return 0;
	}
	for (int i = view_find(view, &offset); bytes; i++, offset = 0) {
		uint32_t run = (uint32_t)num_min(view->iov[i].iov_len - offset, bytes);

		iov[count++] = (struct iovec){ (uint8_t *)view->iov[i].iov_base + offset, run };
		bytes -= run;
	}
	return count;
}

/* The guest has just written all of it, on another core: its lines come together, not one by one. */
static void fetch_section(const struct iovec *iov, int count)
{
	for (int i = 0; i < count; i++) {
		for (size_t at = 0; at < iov[i].iov_len; at += NETVSP_LINE_BYTES) {
			__builtin_prefetch((const uint8_t *)iov[i].iov_base + at);
		}
	}
}

static int add_section(struct netvsp_queue *queue, const struct nvsp_request *request,
		       struct view *view)
{
	uint32_t section = request->rndis.section, bytes = request->rndis.section_bytes;
	int count;

	if (section == NVSP_SECTION_NONE) {
		return 0;
	}
	if (section >= queue->view->send.sections || bytes > NETVSP_SECTION_BYTES) {
		return -EBADMSG;
	}
	count = netvsp_buffer_iovec(&queue->view->send.buffer, section * NETVSP_SECTION_BYTES,
				    bytes, queue->tx_iov, NET_IOV_MAX);
	if (count < 0) {
		return -EBADMSG;
	}
	fetch_section(queue->tx_iov, count);
	view->count = count;
	view->bytes = bytes;
	return 0;
}

/* So many more iovecs behind the view's; the first may go on where the last ends: Linux names each page. */
static void view_join(struct view *view, struct iovec *iov, int count)
{
	struct iovec *next = iov + view->count;

	if (view->count > 0 && (uint8_t *)next[-1].iov_base + next[-1].iov_len == next->iov_base) {
		next[-1].iov_len += next->iov_len;
		memmove(next, next + 1, (size_t)(count - 1) * sizeof(*next));
		count--;
	}
	view->count += count;
}

static int add_pages(struct netvsp_queue *queue, const struct vmbus_packet *packet,
		     struct view *view)
{
	const struct mem *mem = vmbus_channel_mem(queue->channel);
	int ranges;

	if (packet->type != VMBUS_PACKET_GPA_DIRECT) {
		return 0;
	}
	ranges = vmbus_packet_gpa_ranges(packet, queue->tx_ranges, NETVSP_TX_RANGES);
	if (ranges < 0) {
		return -EBADMSG;
	}
	for (int i = 0; i < ranges; i++) {
		const struct gpa_range *range = &queue->tx_ranges[i];
		int count;

		if (range->length_bytes == 0) {
			continue;
		}
		if (range->length_bytes > UINT32_MAX - view->bytes) {
			return -EBADMSG;
		}
		count = gpa_range_iovec(mem, range, 0, range->length_bytes,
					queue->tx_iov + view->count, NET_IOV_MAX - view->count);
		if (count < 0) {
			return -EBADMSG;
		}
		view_join(view, queue->tx_iov, count);
		view->bytes += range->length_bytes;
	}
	return 0;
}

/* Per-packet information as the back end wants it. 0 or -EBADMSG. */
static int apply_offload(const struct rndis_offload *offload, struct net_frame *frame)
{
	if (offload->has_vlan) {
		frame->flags |= NET_FRAME_VLAN;
		frame->vlan_tci = offload->vlan_tci;
	}
	if (offload->has_lso) {
		frame->flags |= NET_FRAME_LSO;
		frame->l4 = NET_L4_TCP;
		frame->mss = offload->lso & RNDIS_LSO_MSS_MASK;
		frame->l4_offset = (offload->lso >> RNDIS_LSO_L4_SHIFT) & RNDIS_LSO_L4_MASK;
		return frame->mss ? 0 : -EBADMSG;
	}
	if (!offload->has_checksum) {
		return 0;
	}
	if (offload->checksum & RNDIS_TX_IP_HEADER) {
		frame->flags |= NET_FRAME_IP_CHECKSUM;
	}
	if (offload->checksum & (RNDIS_TX_TCP | RNDIS_TX_UDP)) {
		frame->flags |= NET_FRAME_L4_CHECKSUM;
		frame->l4 = offload->checksum & RNDIS_TX_TCP ? NET_L4_TCP : NET_L4_UDP;
		frame->l4_offset = (offload->checksum >> RNDIS_TX_L4_SHIFT) & RNDIS_TX_L4_MASK;
	}
	return 0;
}

static void count_frame(struct netvsp_queue *queue, const struct netvsp_tx_frame *frame)
{
	counter_add(&queue->counters.tx_frames, 1);
	counter_add(&queue->counters.tx_bytes, frame->bytes);
	if (frame->is_large) {
		counter_add(&queue->counters.tx_large, 1);
	}
	netvsp_count_group(frame->to, &queue->counters.tx_multicast, &queue->counters.tx_broadcast);
}

/* Sends the frames that wait. 0, or -EAGAIN: tx_done says from where on. */
static int tx_flush(struct netvsp_queue *queue)
{
	unsigned int count = queue->frame_count, taken = count;
	int err = 0;

	queue->frame_count = queue->frame_iov_count = 0;
	if (count == 0 || !netvsp_queue_link(queue)) {
		return 0; /* the cable is out */
	}
	err = net_send_many(queue->net, queue->frames, count, &taken);
	for (unsigned int i = 0; i < taken; i++) {
		count_frame(queue, &queue->frame_facts[i]);
	}
	if (err && !queue->view->filter) {
		return 0; /* the driver is stopping: what waits for nobody is lost */
	}
	if (err) {
		queue->tx_done = queue->frame_facts[taken].at;
	}
	return err;
}

/* One RNDIS_PACKET at `at` joins those that wait. 0 or -EBADMSG. */
static int tx_frame(struct netvsp_queue *queue, const struct view *view, uint32_t at,
		    uint32_t bytes)
{
	uint8_t head[RNDIS_PACKET_HEAD_BYTES], ppi[RNDIS_PPI_BYTES_MAX];
	struct iovec *iov = queue->frame_iov + queue->frame_iov_count + 1;
	struct net_frame *frame = &queue->frames[queue->frame_count];
	struct rndis_offload offload = { 0 };
	struct netvsp_tx_frame *facts;
	struct rndis_frame where;
	int err;

	if (bytes < sizeof(head)) {
		return -EBADMSG;
	}
	view_copy(view, at, head, sizeof(head));
	err = rndis_parse_packet(head, bytes, &where);
	if (err) {
		return err;
	}
	/* In its place: a copy of what has just been written field by field would wait for all stores. */
	*frame = (struct net_frame){ .iov = iov };
	view_copy(view, at + where.ppi_offset, ppi, where.ppi_bytes);
	err = rndis_parse_ppi(ppi, where.ppi_bytes, &offload);
	if (!err) {
		err = apply_offload(&offload, frame);
	}
	if (err) {
		return err;
	}
	if (where.data_bytes < NET_HEADER_BYTES || where.data_bytes > NET_FRAME_BYTES_MAX) {
		return -EBADMSG;
	}
	frame->iov_count = view_slice(view, at + where.data_offset, where.data_bytes, iov);
	frame->bytes = where.data_bytes;
	facts = &queue->frame_facts[queue->frame_count];
	*facts = (struct netvsp_tx_frame){
		.bytes = frame->bytes,
		.at = at,
		.is_large = (frame->flags & NET_FRAME_LSO) != 0,
	};
	view_copy(view, at + where.data_offset, facts->to, sizeof(facts->to));
	queue->frame_count++;
	queue->frame_iov_count += 1 + (unsigned int)frame->iov_count;
	return 0;
}

static int tx_message(struct netvsp_queue *queue, const struct view *view, uint32_t at,
		      const struct rndis_header *header)
{
	struct netvsp *nic = queue->nic;
	int err;

	if (header->type == RNDIS_PACKET) {
		/* Before INITIALIZE and after HALT frames go nowhere. */
		return queue->view->operational ? tx_frame(queue, view, at, header->bytes) : 0;
	}
	if (queue->index > 0 || header->bytes > sizeof(nic->control)) {
		return -EBADMSG; /* control is the primary's alone */
	}
	err = tx_flush(queue); /* in the guest's order */
	if (err) {
		return err;
	}
	view_copy(view, at, nic->control, header->bytes);
	return netvsp_control(nic, nic->control, header->bytes);
}

/* What is left behind the last message may be padding, less than a header. */
static int tx_messages(struct netvsp_queue *queue, const struct view *view)
{
	uint32_t at = queue->tx_done;
	unsigned int count = 0;
	int err = 0, flushed;

	queue->frame_count = queue->frame_iov_count = 0;
	while (!err && at < view->bytes && view->bytes - at >= sizeof(struct rndis_header)) {
		uint8_t bytes[sizeof(struct rndis_header)];
		struct rndis_header header;

		if (count++ == NETVSP_TX_MESSAGES_MAX) {
			err = -EBADMSG;
			break;
		}
		view_copy(view, at, bytes, sizeof(bytes));
		err = rndis_parse_header(bytes, view->bytes - at, &header);
		if (!err) {
			err = tx_message(queue, view, at, &header);
			at += header.bytes;
		}
	}
	if (err == -EAGAIN) {
		return err; /* of a flush before a control message */
	}
	/* Frames before one that is none are sent. */
	flushed = tx_flush(queue);
	if (flushed) {
		return flushed;
	}
	if (!err && count == 0 && !queue->tx_done) {
		err = -EBADMSG;
	}
	return err;
}

int netvsp_tx(struct netvsp_queue *queue, const struct vmbus_packet *packet,
	      const struct nvsp_request *request, uint32_t *ret_status, uint32_t *ret_bytes)
{
	struct view view = { .iov = queue->tx_iov };
	int err = add_section(queue, request, &view);

	if (!err) {
		err = add_pages(queue, packet, &view);
	}
	if (!err) {
		err = tx_messages(queue, &view);
	}
	if (err == -EAGAIN) {
		counter_add(&queue->counters.tx_waits, 1);
		return err;
	}
	queue->tx_done = 0;
	counter_add(&queue->counters.tx_packets, 1);
	if (err) {
		counter_add(&queue->counters.tx_refused, 1);
	}
	*ret_status = err ? NVSP_STATUS_INVALID_RNDIS : NVSP_STATUS_SUCCESS;
	*ret_bytes = err ? 0 : view.bytes;
	return err;
}

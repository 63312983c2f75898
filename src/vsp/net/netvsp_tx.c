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
	view->count = count;
	view->bytes = bytes;
	return 0;
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
		view->count += count;
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

static void count_frame(struct netvsp_queue *queue, const struct view *view, uint32_t data_offset,
			const struct net_frame *frame)
{
	uint8_t to[NET_MAC_BYTES];

	counter_add(&queue->counters.tx_frames, 1);
	counter_add(&queue->counters.tx_bytes, frame->bytes);
	if (frame->flags & NET_FRAME_LSO) {
		counter_add(&queue->counters.tx_large, 1);
	}
	view_copy(view, data_offset, to, sizeof(to)); /* the back end has found them there */
	netvsp_count_group(to, &queue->counters.tx_multicast, &queue->counters.tx_broadcast);
}

/* One RNDIS_PACKET at `at`. 0, -EAGAIN, -EBADMSG. */
static int tx_frame(struct netvsp_queue *queue, const struct view *view, uint32_t at,
		    uint32_t bytes)
{
	uint8_t head[RNDIS_PACKET_HEAD_BYTES], ppi[RNDIS_PPI_BYTES_MAX];
	struct rndis_offload offload = { 0 };
	struct net_frame frame = { .iov = queue->frame_iov + 1 };
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
	view_copy(view, at + where.ppi_offset, ppi, where.ppi_bytes);
	err = rndis_parse_ppi(ppi, where.ppi_bytes, &offload);
	if (!err) {
		err = apply_offload(&offload, &frame);
	}
	if (err) {
		return err;
	}
	frame.iov_count =
		view_slice(view, at + where.data_offset, where.data_bytes, queue->frame_iov + 1);
	frame.bytes = where.data_bytes;
	if (!netvsp_queue_link(queue)) {
		return 0; /* the cable is out */
	}
	err = net_send(queue->net, &frame);
	if (err == -EAGAIN && !queue->view->filter) {
		return 0; /* the driver is stopping: what waits for nobody is lost */
	}
	if (!err) {
		count_frame(queue, view, at + where.data_offset, &frame);
	}
	return err;
}

static int tx_message(struct netvsp_queue *queue, const struct view *view, uint32_t at,
		      const struct rndis_header *header)
{
	struct netvsp *nic = queue->nic;

	if (header->type == RNDIS_PACKET) {
		/* Before INITIALIZE and after HALT frames go nowhere. */
		return queue->view->operational ? tx_frame(queue, view, at, header->bytes) : 0;
	}
	if (queue->index > 0 || header->bytes > sizeof(nic->control)) {
		return -EBADMSG; /* control is the primary's alone */
	}
	view_copy(view, at, nic->control, header->bytes);
	return netvsp_control(nic, nic->control, header->bytes);
}

static int tx_messages(struct netvsp_queue *queue, const struct view *view)
{
	uint32_t at = queue->tx_done;
	unsigned int count = 0;

	/* What is left may be padding, less than a header. */
	while (at < view->bytes && view->bytes - at >= sizeof(struct rndis_header)) {
		uint8_t bytes[sizeof(struct rndis_header)];
		struct rndis_header header;
		int err;

		if (count++ == NETVSP_TX_MESSAGES_MAX) {
			return -EBADMSG;
		}
		view_copy(view, at, bytes, sizeof(bytes));
		err = rndis_parse_header(bytes, view->bytes - at, &header);
		if (!err) {
			err = tx_message(queue, view, at, &header);
		}
		if (err == -EAGAIN) {
			queue->tx_done = at;
		}
		if (err) {
			return err;
		}
		at += header.bytes;
	}
	return count || queue->tx_done ? 0 : -EBADMSG;
}

int netvsp_tx(struct netvsp_queue *queue, const struct vmbus_packet *packet,
	      const struct nvsp_request *request, uint32_t *ret_status)
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
	return err;
}

/* SPDX-License-Identifier: MIT */
#include "nic.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/num.h"
#include "guest/fake_synic.h"

#define IPV4_UDP_BYTES 42U
#define IPV4_TCP_BYTES 54U
#define HASH           0x12345678U
#define LINE_BYTES     64U
#define AHEAD          16U /* ranges whose heads are fetched before they are looked at */

/* What goes into the ring for sections of the send buffer. */
struct section_packet {
	struct vmbus_packet_header header;
	uint32_t nvsp[NVSP_MESSAGE_BYTES_V61 / 4];
	uint64_t trailer;
};

/* For a large frame: a range of one page each, as vmbus_sendpacket_pagebuffer() has it. */
struct one_page {
	struct vmbus_gpa_range range;
	uint64_t gfn;
};

struct pages_packet {
	struct vmbus_packet_header header;
	struct vmbus_gpa_direct_header direct;
	struct one_page pages[NIC_LARGE_PAGES + 1];
	uint32_t nvsp[NVSP_MESSAGE_BYTES_V61 / 4];
	uint64_t trailer;
};

struct completion_packet {
	struct vmbus_packet_header header;
	uint32_t nvsp[2];
	uint64_t trailer;
};
static_assert(sizeof(struct completion_packet) == 32, "a completion");

/* ---- rings -------------------------------------------------------------------------------------- */

static uint32_t ring_next(const struct vsc_ring *ring, uint32_t at, uint32_t bytes)
{
	return at + bytes >= ring->bytes ? at + bytes - ring->bytes : at + bytes;
}

/* Whether the doorbell was rung. */
static bool ring_put(struct vsc_ring *ring, struct netvsc *vsc, const void *packet, uint32_t bytes)
{
	struct vmbus_ring_control *control = ring->control;
	uint32_t read = atomic_load_explicit(&control->read_index, memory_order_acquire);
	uint32_t used = ring->at >= read ? ring->at - read : ring->bytes - read + ring->at;
	uint32_t before = ring->at;

	check(used + bytes < ring->bytes); /* rings are made for the depth */
	memcpy(ring->data + ring->at, packet, bytes);
	ring->at = ring_next(ring, ring->at, bytes);
	atomic_store_explicit(&control->write_index, ring->at, memory_order_release);
	/* Partner: the host's barrier between clearing the mask and looking at write_index. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&control->interrupt_mask, memory_order_relaxed) == 0 &&
	    atomic_load_explicit(&control->read_index, memory_order_relaxed) == before) {
		fake_channel_doorbell(vsc->channel);
		return true;
	}
	return false;
}

/* Everything up to at has been taken; whether the doorbell was rung for the host, which waited. */
static bool ring_taken(struct vsc_ring *ring, struct netvsc *vsc)
{
	struct vmbus_ring_control *control = ring->control;

	atomic_store_explicit(&control->read_index, ring->at, memory_order_release);
	/* Partner: the host's barrier between storing pending_send_bytes and looking at read_index. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&control->pending_send_bytes, memory_order_relaxed) != 0) {
		fake_channel_doorbell(vsc->channel);
		return true;
	}
	return false;
}

/* ---- the one that sends ------------------------------------------------------------------------- */

void nic_sender_init(struct nic_sender *sender, struct netvsc *vsc)
{
	uint32_t bytes = NIC_LARGE_BUFFERS * NIC_LARGE_PAGES * MEM_PAGE_BYTES;

	*sender = (struct nic_sender){ .vsc = vsc };
	vsc_ring_init(&sender->asks, vsc->guest, vsc->channel, 0);
	vsc_ring_init(&sender->tells, vsc->guest, vsc->channel, 1);
	atomic_store(&sender->tells.control->interrupt_mask, 1);
	sender->sections = fake_guest_hva(vsc->guest, vsc->send_gpa, NETVSC_SEND_BYTES);
	sender->pages_gpa = fake_guest_alloc(vsc->guest, bytes);
	sender->pages = fake_guest_hva(vsc->guest, sender->pages_gpa, bytes);
	for (uint32_t i = 0; i < bytes; i += 64) {
		sender->pages[i] = (uint8_t)(i >> 6); /* no page of zeroes that all share */
	}
}

void nic_sender_fini(struct nic_sender *sender)
{
	check(sender->in_flight == 0);
	vsc_ring_fini(&sender->asks);
	vsc_ring_fini(&sender->tells);
}

static uint32_t put_ppi(uint8_t *at, uint32_t type, uint32_t value)
{
	bytes_put_le32(at, 16);
	bytes_put_le32(at + 4, type);
	bytes_put_le32(at + 8, 12);
	bytes_put_le32(at + 12, value);
	return 16;
}

static void put_ip(uint8_t *frame, uint32_t frame_bytes, bool large)
{
	uint8_t *ip = frame + 14, *l4 = ip + 20;

	bytes_put_be16(frame + 12, 0x0800);
	ip[0] = 0x45;
	bytes_put_be16(ip + 2, (uint16_t)(frame_bytes - 14));
	ip[8] = 64;
	ip[9] = large ? 6 : 17;
	bytes_put_be32(ip + 12, 0x0a000001);
	bytes_put_be32(ip + 16, 0x0a000002);
	bytes_put_be16(l4, 4000);
	bytes_put_be16(l4 + 2, 9);
	if (large) {
		l4[12] = 0x50;
		l4[13] = 0x10;
	} else {
		bytes_put_be16(l4 + 4, (uint16_t)(frame_bytes - 34));
	}
}

/* The message of each frame; of a large one its RNDIS head and headers. */
static void make_message(struct nic_sender *sender, const uint8_t *to, const uint8_t *from)
{
	const struct nic_load *load = &sender->load;
	bool large = load->frame_bytes == NIC_LARGE_BYTES;
	uint32_t kept = large ? IPV4_TCP_BYTES : load->frame_bytes, ppi = 0;
	uint8_t *m = sender->message, *frame;

	memset(m, 0, sizeof(sender->message));
	if (load->offloads || large) {
		ppi += put_ppi(m + RNDIS_PACKET_HEAD_BYTES, RNDIS_PPI_HASH, HASH);
		ppi += large ? put_ppi(m + RNDIS_PACKET_HEAD_BYTES + ppi, RNDIS_PPI_LSO,
				       NIC_LARGE_MSS | 34U << RNDIS_LSO_L4_SHIFT |
					       RNDIS_LSO_TYPE_V2)
			     : put_ppi(m + RNDIS_PACKET_HEAD_BYTES + ppi, RNDIS_PPI_CHECKSUM,
				       RNDIS_TX_IPV4 | RNDIS_TX_UDP | 34U << RNDIS_TX_L4_SHIFT);
	}
	sender->head_bytes = (uint32_t)RNDIS_PACKET_HEAD_BYTES + ppi;
	/* Each message begins at a multiple of 8 in its section. */
	sender->message_bytes = (uint32_t)num_align_up(sender->head_bytes + kept, 8);
	check(sender->message_bytes <= sizeof(sender->message));
	bytes_put_le32(m, RNDIS_PACKET);
	bytes_put_le32(m + 4,
		       large ? sender->head_bytes + load->frame_bytes : sender->message_bytes);
	bytes_put_le32(m + 8, (uint32_t)sizeof(struct rndis_packet) + ppi);
	bytes_put_le32(m + 12, load->frame_bytes);
	bytes_put_le32(m + 28, ppi ? sizeof(struct rndis_packet) : 0);
	bytes_put_le32(m + 32, ppi);
	frame = m + sender->head_bytes;
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	put_ip(frame, load->frame_bytes, large);
}

static void send_section(struct nic_sender *sender, uint32_t slot)
{
	uint8_t *section = sender->sections + (size_t)slot * NETVSC_SECTION_BYTES;
	uint32_t bytes = sender->load.batch * sender->message_bytes;
	struct section_packet packet = {
		.header = { .type = VMBUS_PACKET_INBAND,
			    .offset8 = 2,
			    .length8 = offsetof(struct section_packet, trailer) / 8,
			    .flags = VMBUS_PACKET_FLAG_COMPLETION_REQUESTED,
			    .transaction_id = slot + 1 },
		.nvsp = { NVSP_SEND_RNDIS, NVSP_RNDIS_DATA, slot, bytes },
		.trailer = (uint64_t)sender->asks.at << 32,
	};

	/* What the host has read last is fetched back while this one is written. */
	for (uint32_t at = 0; sender->free_count && at < bytes; at += LINE_BYTES) {
		__builtin_prefetch(sender->sections + at +
					   (size_t)sender->free[sender->free_count - 1] *
						   NETVSC_SECTION_BYTES,
				   1);
	}
	for (uint32_t i = 0; i < sender->load.batch; i++) {
		memcpy(section + (size_t)i * sender->message_bytes, sender->message,
		       sender->message_bytes);
	}
	sender->doorbells += ring_put(&sender->asks, sender->vsc, &packet, sizeof(packet));
}

/* A buffer is used again when all others have been: it is in no near cache then. */
static void send_pages(struct nic_sender *sender, uint32_t slot)
{
	uint32_t buffer = sender->next_buffer++ % NIC_LARGE_BUFFERS;
	uint8_t *page = sender->pages + (size_t)buffer * NIC_LARGE_PAGES * MEM_PAGE_BYTES;
	uint64_t gfn = (sender->pages_gpa >> MEM_PAGE_SHIFT) + (uint64_t)buffer * NIC_LARGE_PAGES;
	uint32_t left = NIC_LARGE_BYTES - IPV4_TCP_BYTES, ranges = 2;
	struct pages_packet packet = {
		.header = { .type = VMBUS_PACKET_GPA_DIRECT,
			    .offset8 = offsetof(struct pages_packet, nvsp) / 8,
			    .length8 = offsetof(struct pages_packet, trailer) / 8,
			    .flags = VMBUS_PACKET_FLAG_COMPLETION_REQUESTED,
			    .transaction_id = slot + 1 },
		.nvsp = { NVSP_SEND_RNDIS, NVSP_RNDIS_DATA, NVSP_SECTION_NONE },
		.trailer = (uint64_t)sender->asks.at << 32,
	};

	memcpy(page + 256, sender->message, sender->head_bytes + IPV4_TCP_BYTES);
	packet.pages[0] = (struct one_page){ { sender->head_bytes, 256 }, gfn };
	packet.pages[1] = (struct one_page){ { IPV4_TCP_BYTES, 256 + sender->head_bytes }, gfn };
	while (left) {
		uint32_t run = (uint32_t)num_min(left, MEM_PAGE_BYTES);

		packet.pages[ranges] = (struct one_page){ { run, 0 }, gfn + ranges - 1 };
		left -= run;
		ranges++;
	}
	check(ranges == ARRAY_SIZE(packet.pages));
	packet.direct.range_count = ranges;
	sender->doorbells += ring_put(&sender->asks, sender->vsc, &packet, sizeof(packet));
}

static void take_completions(struct nic_sender *sender)
{
	struct vsc_ring *ring = &sender->tells;
	uint32_t write = atomic_load_explicit(&ring->control->write_index, memory_order_acquire);
	uint32_t before = ring->at;

	while (ring->at != write) {
		const uint8_t *at = ring->data + ring->at;
		struct vmbus_packet_header header;

		memcpy(&header, at, sizeof(header));
		check(header.type == VMBUS_PACKET_COMPLETION &&
		      header.transaction_id - 1 < sender->load.depth);
		at += (size_t)header.offset8 * 8;
		check(bytes_le32(at) == NVSP_SEND_RNDIS_COMPLETE &&
		      bytes_le32(at + 4) == NVSP_STATUS_SUCCESS);
		sender->free[sender->free_count++] = (uint16_t)(header.transaction_id - 1);
		sender->in_flight--;
		ring->at = ring_next(ring, ring->at, header.length8 * 8U + 8);
	}
	if (ring->at != before) {
		sender->doorbells += ring_taken(ring, sender->vsc);
	}
}

void nic_sender_start(struct nic_sender *sender, const struct nic_load *load, const uint8_t *to,
		      const uint8_t *from)
{
	check(sender->in_flight == 0 && load->depth <= NIC_DEPTH_MAX &&
	      load->batch <= NIC_BATCH_MAX);
	sender->load = *load;
	sender->sent_frames = sender->sent_bytes = sender->doorbells = 0;
	sender->bytes_max = UINT64_MAX;
	sender->free_count = 0;
	for (uint32_t slot = 0; slot < load->depth; slot++) {
		sender->free[sender->free_count++] = (uint16_t)slot;
	}
	make_message(sender, to, from);
}

uint32_t nic_sender_turn(struct nic_sender *sender, bool ending)
{
	uint32_t count = 0, bytes = sender->load.batch * sender->load.frame_bytes;

	take_completions(sender);
	while (!ending && sender->free_count && sender->sent_bytes + bytes <= sender->bytes_max) {
		uint32_t slot = sender->free[--sender->free_count];

		if (sender->load.frame_bytes == NIC_LARGE_BYTES) {
			send_pages(sender, slot);
		} else {
			send_section(sender, slot);
		}
		sender->in_flight++;
		sender->sent_frames += sender->load.batch;
		sender->sent_bytes += bytes;
		count++;
	}
	return count;
}

/* ---- the one that takes ------------------------------------------------------------------------- */

void nic_sink_init(struct nic_sink *sink, struct netvsc *vsc)
{
	*sink = (struct nic_sink){ .vsc = vsc };
	vsc_ring_init(&sink->asks, vsc->guest, vsc->channel, 0);
	vsc_ring_init(&sink->tells, vsc->guest, vsc->channel, 1);
	atomic_store(&sink->tells.control->interrupt_mask, 1);
	sink->buffer = fake_guest_hva(vsc->guest, vsc->recv_gpa, vsc->recv_room);
}

void nic_sink_fini(struct nic_sink *sink)
{
	vsc_ring_fini(&sink->asks);
	vsc_ring_fini(&sink->tells);
}

/* As rndis_filter_receive() and eth_type_trans() look at it. */
static void take_piece(struct nic_sink *sink, const struct vmbus_transfer_page_range *range)
{
	const uint8_t *message = sink->buffer + range->offset_bytes;
	uint32_t offset = bytes_le32(message + 8), bytes = bytes_le32(message + 12);

	check(bytes_le32(message) == RNDIS_PACKET && 8 + offset + bytes <= range->length_bytes);
	__asm__ volatile("" ::"r"(message[8 + offset])); /* its first byte has been looked at */
	sink->bytes += bytes;
	sink->pieces++;
}

static void complete(struct nic_sink *sink, uint64_t transaction_id)
{
	struct completion_packet packet = {
		.header = { .type = VMBUS_PACKET_COMPLETION,
			    .offset8 = 2,
			    .length8 = offsetof(struct completion_packet, trailer) / 8,
			    .transaction_id = transaction_id },
		.nvsp = { NVSP_SEND_RNDIS_COMPLETE, NVSP_STATUS_SUCCESS },
		.trailer = (uint64_t)sink->asks.at << 32,
	};

	sink->doorbells += ring_put(&sink->asks, sink->vsc, &packet, sizeof(packet));
}

uint32_t nic_sink_turn(struct nic_sink *sink)
{
	struct vsc_ring *ring = &sink->tells;
	uint32_t write = atomic_load_explicit(&ring->control->write_index, memory_order_acquire);
	uint32_t before = ring->at, count = 0;

	for (; ring->at != write; count++) {
		const uint8_t *at = ring->data + ring->at;
		struct vmbus_transfer_pages_header pages;
		struct vmbus_packet_header header;

		memcpy(&header, at, sizeof(header));
		memcpy(&pages, at + sizeof(header), sizeof(pages));
		check(header.type == VMBUS_PACKET_TRANSFER_PAGES);
		at += sizeof(header) + sizeof(pages);
		for (uint32_t i = 0; i < pages.range_count; i++) {
			struct vmbus_transfer_page_range range;

			if (i + AHEAD < pages.range_count) {
				memcpy(&range, at + (i + AHEAD) * sizeof(range), sizeof(range));
				__builtin_prefetch(sink->buffer + range.offset_bytes);
				__builtin_prefetch(sink->buffer + range.offset_bytes + LINE_BYTES);
			}
			memcpy(&range, at + i * sizeof(range), sizeof(range));
			take_piece(sink, &range);
		}
		complete(sink, header.transaction_id);
		ring->at = ring_next(ring, ring->at, header.length8 * 8U + 8);
	}
	sink->packets += count;
	sink->drains += count > 0;
	if (ring->at != before) {
		sink->doorbells += ring_taken(ring, sink->vsc);
	}
	return count;
}

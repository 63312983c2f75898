/* SPDX-License-Identifier: MIT */
#include "vsc.h"

#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/num.h"
#include "guest/fake_synic.h"
#include "proto/scsi.h"
#include "proto/vstor.h"

/* What goes into the ring for one command. */
struct vsc_asks {
	struct vmbus_packet_header header;
	struct vmbus_gpa_direct_header direct;
	struct vmbus_gpa_range range;
	uint64_t gfn;
	struct vstor_header vstor;
	struct vstor_srb srb;
	uint64_t trailer;
};
static_assert(sizeof(struct vsc_asks) == VSC_ASKS_BYTES, "packet of one command");

struct vsc_tells {
	struct vmbus_packet_header header;
	struct vstor_header vstor;
	struct vstor_srb srb;
	uint64_t trailer;
};
static_assert(sizeof(struct vsc_tells) == VSC_TELLS_BYTES, "packet of one answer");

/* ---- life --------------------------------------------------------------------------------------- */

void vsc_ring_init(struct vsc_ring *ring, struct fake_guest *guest, struct fake_channel *channel,
		   unsigned int which)
{
	const uint8_t *hva = fake_channel_ring_data(channel, which, &ring->bytes);
	const struct mem_range *range;
	uint64_t gfns[VSC_RING_PAGES_MAX];
	size_t pages = ring->bytes / MEM_PAGE_BYTES;
	void *data;

	check(pages <= ARRAY_SIZE(gfns) && mem_ranges(fake_guest_mem(guest), &range) == 1);
	for (size_t i = 0; i < pages; i++) {
		gfns[i] = ((uint64_t)(hva - range->hva) >> MEM_PAGE_SHIFT) + i;
	}
	check(mem_map_pages(fake_guest_mem(guest), gfns, pages, 2, &data) == 0);
	ring->data = data;
	ring->control = fake_channel_ring(channel, which);
	ring->at =
		atomic_load(which == 0 ? &ring->control->write_index : &ring->control->read_index);
}

void vsc_ring_fini(struct vsc_ring *ring)
{
	mem_unmap_pages(ring->data, ring->bytes / MEM_PAGE_BYTES, 2);
}

void vsc_queue_init(struct vsc_queue *queue, struct fake_guest *guest, struct fake_channel *channel)
{
	memset(queue, 0, sizeof(*queue));
	queue->guest = guest;
	queue->channel = channel;
	queue->random = 88172645463325252ULL + fake_channel_relid(channel);
	vsc_ring_init(&queue->asks, guest, channel, 0);
	vsc_ring_init(&queue->tells, guest, channel, 1);
	gpa_t pages = fake_guest_alloc(guest, VSC_DEPTH_MAX * MEM_PAGE_BYTES);

	for (uint32_t i = 0; i < VSC_DEPTH_MAX; i++) {
		queue->gfns[i] = (pages >> MEM_PAGE_SHIFT) + i;
	}
}

void vsc_queue_fini(struct vsc_queue *queue)
{
	check(queue->in_flight == 0);
	vsc_ring_fini(&queue->asks);
	vsc_ring_fini(&queue->tells);
}

/* ---- asking ------------------------------------------------------------------------------------- */

static uint32_t ring_next(const struct vsc_ring *ring, uint32_t at, uint32_t bytes)
{
	return at + bytes >= ring->bytes ? at + bytes - ring->bytes : at + bytes;
}

static uint64_t next_random(struct vsc_queue *queue)
{
	uint64_t x = queue->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return queue->random = x;
}

static void build(struct vsc_queue *queue, uint32_t slot, struct vsc_asks *ret)
{
	uint64_t blocks = queue->config.disk_bytes / 512, per_io = VSC_IO_BYTES / 512;
	uint64_t lba = next_random(queue) % (blocks / per_io) * per_io;

	*ret = (struct vsc_asks){
		.header = { .type = VMBUS_PACKET_GPA_DIRECT,
			    .offset8 = offsetof(struct vsc_asks, vstor) / 8,
			    .length8 = offsetof(struct vsc_asks, trailer) / 8,
			    .flags = VMBUS_PACKET_FLAG_COMPLETION_REQUESTED,
			    .transaction_id = slot + 1 },
		.direct = { .range_count = 1 },
		.range = { .length_bytes = VSC_IO_BYTES },
		.gfn = queue->gfns[slot],
		.vstor = { .operation = VSTOR_EXECUTE_SRB, .flags = VSTOR_FLAG_COMPLETION },
		.srb = { .length = sizeof(struct vstor_srb),
			 .cdb_bytes = 10,
			 .sense_bytes = VSTOR_SENSE_BYTES,
			 .data_in = queue->config.writes ? VSTOR_DATA_OUT : VSTOR_DATA_IN,
			 .data_bytes = VSC_IO_BYTES },
		.trailer = (uint64_t)queue->asks.at << 32,
	};
	ret->srb.cdb[0] = queue->config.writes ? SCSI_OP_WRITE_10 : SCSI_OP_READ_10;
	bytes_put_be32(&ret->srb.cdb[2], (uint32_t)lba);
	bytes_put_be16(&ret->srb.cdb[7], (uint16_t)per_io);
}

static void ask(struct vsc_queue *queue, uint32_t slot)
{
	struct vsc_ring *ring = &queue->asks;
	struct vmbus_ring_control *control = ring->control;
	uint32_t read = atomic_load_explicit(&control->read_index, memory_order_acquire);
	uint32_t used = ring->at >= read ? ring->at - read : ring->bytes - read + ring->at;
	uint32_t before = ring->at;
	struct vsc_asks packet;

	check(used + VSC_ASKS_BYTES < ring->bytes); /* rings are made for the depth */
	build(queue, slot, &packet);
	memcpy(ring->data + ring->at, &packet, sizeof(packet));
	ring->at = ring_next(ring, ring->at, sizeof(packet));
	atomic_store_explicit(&control->write_index, ring->at, memory_order_release);
	queue->in_flight++;
	/* Partner: the host's barrier between clearing the mask and looking at write_index. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&control->interrupt_mask, memory_order_relaxed) == 0 &&
	    atomic_load_explicit(&control->read_index, memory_order_relaxed) == before) {
		queue->counts.doorbells++;
		fake_channel_doorbell(queue->channel);
	}
}

void vsc_queue_start(struct vsc_queue *queue, const struct vsc_config *config)
{
	check(queue->in_flight == 0 && config->depth <= VSC_DEPTH_MAX);
	queue->config = *config;
	queue->counts = (struct vsc_counts){ 0 };
	queue->sleeps = false;
	atomic_store(&queue->tells.control->interrupt_mask, 1);
	for (uint32_t slot = 0; slot < config->depth; slot++) {
		ask(queue, slot);
	}
}

/* ---- being told --------------------------------------------------------------------------------- */

/* Takes the answers that there are; their slots. */
static uint32_t drain(struct vsc_queue *queue, uint16_t *ret_slots)
{
	struct vsc_ring *ring = &queue->tells;
	struct vmbus_ring_control *control = ring->control;
	uint32_t write = atomic_load_explicit(&control->write_index, memory_order_acquire);
	uint32_t before = ring->at, count = 0;

	while (ring->at != write) {
		struct vsc_tells packet;

		memcpy(&packet, ring->data + ring->at, sizeof(packet));
		check(packet.header.type == VMBUS_PACKET_COMPLETION &&
		      packet.header.length8 * 8U + 8 == sizeof(packet) &&
		      packet.header.transaction_id - 1 < queue->config.depth);
		check(packet.vstor.operation == VSTOR_COMPLETE_IO &&
		      packet.vstor.status == VSTOR_STATUS_SUCCESS &&
		      packet.srb.srb_status == VSTOR_SRB_SUCCESS &&
		      packet.srb.data_bytes == VSC_IO_BYTES);
		ret_slots[count++] = (uint16_t)(packet.header.transaction_id - 1);
		ring->at = ring_next(ring, ring->at, sizeof(packet));
	}
	if (ring->at == before) {
		return 0;
	}
	atomic_store_explicit(&control->read_index, ring->at, memory_order_release);
	/* Partner: the host's barrier between storing pending_send_bytes and looking at read_index. */
	atomic_thread_fence(memory_order_seq_cst);
	/* The ring holds all answers of the depth, so the host never waits for room. */
	check(atomic_load_explicit(&control->pending_send_bytes, memory_order_relaxed) == 0);
	return count;
}

/* Asks for an interrupt, unless answers have come meanwhile; whether one is asked for. */
static bool arm(struct vsc_queue *queue)
{
	struct vmbus_ring_control *control = queue->tells.control;

	atomic_store_explicit(&control->interrupt_mask, 0, memory_order_relaxed);
	/* Partner: the host's barrier between storing write_index and looking at the mask. */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&control->write_index, memory_order_relaxed) == queue->tells.at) {
		return true;
	}
	atomic_store_explicit(&control->interrupt_mask, 1, memory_order_relaxed);
	return false;
}

uint32_t vsc_queue_turn(struct vsc_queue *queue, bool ending)
{
	uint16_t slots[VSC_DEPTH_MAX];

	if (queue->sleeps) {
		if (!fake_synic_take_flag(fake_guest_synic(queue->guest), 0,
					  fake_channel_relid(queue->channel))) {
			return 0;
		}
		queue->counts.interrupts++;
		queue->sleeps = false;
		atomic_store_explicit(&queue->tells.control->interrupt_mask, 1,
				      memory_order_relaxed);
	}
	uint32_t count = drain(queue, slots);

	if (count == 0 && !queue->config.polls) {
		queue->sleeps = arm(queue);
	}
	queue->counts.drains += count > 0;
	queue->counts.done += count;
	queue->in_flight -= count;
	for (uint32_t i = 0; i < count && !ending; i++) {
		ask(queue, slots[i]);
	}
	return count;
}

/* SPDX-License-Identifier: MIT */
#include "guest/shared_nic.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "proto/vmbus_ring.h"
#include "vsp/net/rndis_parse.h"

#define SECTION_BYTES    6144U
#define CONTROL_SECTION  (SHARED_QUEUES * SHARED_SECTIONS)
#define CONTROL_BASE     0x10000U /* transactions of control packets */
#define PACKET_BYTES_MAX 1024U
#define FRAME_HEAD       26U /* addresses, type, queue, number, length */

static const uint32_t data_bytes = (SHARED_RING_PAGES - 1) * MEM_PAGE_BYTES;

void shared_nic_wrong(struct shared_nic *nic, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (!nic->wrong[0]) {
		vsnprintf(nic->wrong, sizeof(nic->wrong), fmt, args);
	}
	va_end(args);
}

unsigned int shared_roll(unsigned int *random, unsigned int below)
{
	*random = *random * 1103515245U + 12345U;
	return (*random >> 16) % below;
}

/* ---- rings --------------------------------------------------------------------------------------- */

/* 2 × queue: to the host; and from it. */
static struct vmbus_ring_control *ring_of(const struct shared_nic *nic, unsigned int which)
{
	return mem_hva(nic->mem, (SHARED_RINGS_GFN + which * SHARED_RING_PAGES) * MEM_PAGE_BYTES,
		       SHARED_RING_PAGES * MEM_PAGE_BYTES);
}

static uint8_t *at_gfn(const struct shared_nic *nic, uint64_t gfn, uint32_t offset)
{
	return (uint8_t *)mem_hva(nic->mem, gfn * MEM_PAGE_BYTES, MEM_PAGE_BYTES) + offset;
}

static uint32_t copy(const struct shared_nic *nic, unsigned int which, uint32_t at, void *buf,
		     size_t bytes, bool is_write)
{
	uint8_t *data = (uint8_t *)ring_of(nic, which) + MEM_PAGE_BYTES, *b = buf;

	for (size_t i = 0; i < bytes; i++, at = (at + 1) % data_bytes) {
		if (is_write) {
			data[at] = b[i];
		} else {
			b[i] = data[at];
		}
	}
	return at;
}

static bool send_packet(struct shared_nic *nic, unsigned int queue, uint16_t type,
			uint64_t transaction, const void *payload, uint32_t bytes)
{
	struct vmbus_ring_control *ring = ring_of(nic, 2 * queue);
	uint32_t write = ring->write_index, read = atomic_load(&ring->read_index);
	uint32_t length = 16 + (uint32_t)num_align_up(bytes, 8);
	uint32_t used = (write + data_bytes - read) % data_bytes;
	uint64_t trailer = (uint64_t)write << 32;
	uint8_t padded[64] = { 0 };
	struct vmbus_packet_header header = { .type = type,
					      .offset8 = 2,
					      .length8 = (uint16_t)(length / 8),
					      .flags = type == VMBUS_PACKET_INBAND,
					      .transaction_id = transaction };

	if (length + 8 >= data_bytes - used) {
		return false;
	}
	memcpy(padded, payload, bytes);
	uint32_t at = copy(nic, 2 * queue, write, &header, 16, true);

	at = copy(nic, 2 * queue, at, padded, length - 16, true);
	at = copy(nic, 2 * queue, at, &trailer, 8, true);
	atomic_store(&ring->write_index, at);
	return true;
}

void shared_nic_init(struct shared_nic *nic, struct mem *mem, unsigned int queues)
{
	*nic = (struct shared_nic){ .mem = mem, .queues = queues, .is_setting_up = true };
	for (unsigned int i = 0; i < 2 * SHARED_QUEUES; i++) {
		memset(ring_of(nic, i), 0, MEM_PAGE_BYTES);
	}
}

void shared_nic_ask(struct shared_nic *nic, uint64_t transaction, const void *message,
		    uint32_t bytes)
{
	nic->has_completion = nic->has_reply = false;
	if (!send_packet(nic, 0, VMBUS_PACKET_INBAND, transaction, message, bytes)) {
		shared_nic_wrong(nic, "no room to ask");
	}
}

static bool try_control(struct shared_nic *nic, uint64_t transaction, const void *message,
			uint32_t bytes)
{
	const uint32_t nvsp[10] = { NVSP_SEND_RNDIS, 1, CONTROL_SECTION, bytes };

	memcpy(at_gfn(nic, SHARED_SEND_GFN, CONTROL_SECTION * SECTION_BYTES), message, bytes);
	return send_packet(nic, 0, VMBUS_PACKET_INBAND, transaction, nvsp, sizeof(nvsp));
}

void shared_nic_control(struct shared_nic *nic, uint64_t transaction, const void *message,
			uint32_t bytes)
{
	nic->has_completion = nic->has_reply = false;
	if (!try_control(nic, transaction, message, bytes)) {
		shared_nic_wrong(nic, "no room for control");
	}
}

/* ---- frames from the host -------------------------------------------------------------------------- */

static uint8_t byte_of(uint32_t number, uint32_t i)
{
	return (uint8_t)(number * 31 + i * 7);
}

uint32_t shared_frame_make(uint8_t *buf, unsigned int queue, uint32_t number)
{
	uint32_t bytes = number % 9 == 0 ? SHARED_LARGE_BYTES - number : 60 + number % 200;

	memset(buf, 0x02, 12);
	bytes_put_le16(buf + 12, 0xb588);
	bytes_put_le32(buf + 14, queue);
	bytes_put_le32(buf + 18, number);
	bytes_put_le32(buf + 22, bytes);
	for (uint32_t i = FRAME_HEAD; i < bytes; i++) {
		buf[i] = byte_of(number, i);
	}
	return bytes;
}

static uint32_t sum_of(const uint8_t *bytes, uint32_t count)
{
	uint32_t sum = 1;

	for (uint32_t i = 0; i < count; i++) {
		sum = sum * 31 + bytes[i];
	}
	return sum;
}

/* A whole frame, put together again. */
static void take_frame(struct shared_nic *nic, unsigned int queue, const uint8_t *frame,
		       uint32_t bytes)
{
	struct shared_queue *q = &nic->queue[queue];
	uint8_t want[SHARED_LARGE_BYTES];
	uint32_t number = bytes_le32(frame + 18);

	if (bytes < FRAME_HEAD || bytes_le32(frame + 14) != queue || number == 0 ||
	    number > SHARED_RX_TRIES || shared_frame_make(want, queue, number) != bytes ||
	    memcmp(want, frame, bytes) != 0) {
		shared_nic_wrong(nic, "queue %u: a frame of %u bytes that nobody sent", queue,
				 bytes);
		return;
	}
	if (q->rx[number].received++) {
		shared_nic_wrong(nic, "queue %u: frame %u comes twice", queue, number);
	}
}

static void take_control(struct shared_nic *nic, const uint8_t *message)
{
	uint32_t type = bytes_le32(message);

	if (type == RNDIS_INDICATE) {
		nic->indicated = bytes_le32(message + 8);
		nic->indications++;
		return;
	}
	if (nic->is_setting_up) {
		nic->has_reply = true;
		return;
	}
	if (type != (RNDIS_SET | RNDIS_COMPLETION) && type != (RNDIS_QUERY | RNDIS_COMPLETION)) {
		shared_nic_wrong(nic, "control of type %x", type);
	}
	if (bytes_le32(message + 8) != nic->controls || bytes_le32(message + 12) != 0 ||
	    nic->controls_replied == nic->controls) {
		shared_nic_wrong(nic, "reply %u of status %x to %u", bytes_le32(message + 8),
				 bytes_le32(message + 12), nic->controls);
	}
	nic->controls_replied++;
}

/* The pieces of a transaction become the guest's. */
static void hold(struct shared_nic *nic, struct shared_held *held, uint32_t offset, uint32_t bytes)
{
	uint32_t piece = offset / nic->piece_bytes;

	if (piece >= nic->pieces || offset % nic->piece_bytes + bytes > nic->piece_bytes ||
	    held->count == SHARED_PIECES_MAX) {
		shared_nic_wrong(nic, "no piece at %u", offset);
		return;
	}
	if (nic->is_held[piece]) {
		shared_nic_wrong(nic, "piece %u is given while it is held", piece);
	}
	nic->is_held[piece] = true;
	held->range[held->count].offset = offset;
	held->range[held->count].bytes = bytes;
	held->range[held->count++].sum = sum_of(at_gfn(nic, SHARED_RECV_GFN, offset), bytes);
}

static void take_pages(struct shared_nic *nic, unsigned int queue, uint64_t transaction,
		       const uint8_t *packet, uint32_t descriptor_bytes)
{
	struct shared_queue *q = &nic->queue[queue];
	uint32_t count = bytes_le32(packet + 4), joined = 0;
	uint8_t frame[SHARED_LARGE_BYTES + 2048];

	if (q->held_count == SHARED_PIECES_MAX || 8 + 8 * count > descriptor_bytes) {
		shared_nic_wrong(nic, "queue %u: more transactions than pieces", queue);
		return;
	}
	struct shared_held *held = &q->held[q->held_count++];

	*held = (struct shared_held){ .transaction = transaction };
	for (uint32_t i = 0; i < count && !nic->wrong[0]; i++) {
		uint32_t bytes = bytes_le32(packet + 8 + 8 * (size_t)i);
		uint32_t offset = bytes_le32(packet + 12 + 8 * (size_t)i);
		const uint8_t *message = at_gfn(nic, SHARED_RECV_GFN, offset);

		hold(nic, held, offset, bytes);
		if (bytes_le32(message) != RNDIS_PACKET) {
			take_control(nic, message);
			continue;
		}
		uint32_t length = bytes_le32(message + 12);

		if (joined + length > sizeof(frame)) {
			shared_nic_wrong(nic, "queue %u: a frame without an end", queue);
			return;
		}
		memcpy(frame + joined, message + 8 + bytes_le32(message + 8), length);
		joined += length;
		if (joined >= FRAME_HEAD && joined >= bytes_le32(frame + 22)) {
			take_frame(nic, queue, frame, joined);
			joined = 0;
		}
	}
	if (joined) {
		shared_nic_wrong(nic, "queue %u: half a frame", queue);
	}
}

/* ---- completions ------------------------------------------------------------------------------------ */

static void take_completion(struct shared_nic *nic, unsigned int queue, uint64_t transaction,
			    const uint8_t *payload)
{
	struct shared_queue *q = &nic->queue[queue];

	if (nic->is_setting_up) {
		memcpy(nic->completion, payload, sizeof(nic->completion));
		nic->has_completion = true;
		return;
	}
	if (bytes_le32(payload) != NVSP_SEND_RNDIS_COMPLETE ||
	    bytes_le32(payload + 4) != NVSP_STATUS_SUCCESS) {
		shared_nic_wrong(nic, "queue %u: %llx failed", queue,
				 (unsigned long long)transaction);
	}
	if (transaction == CONTROL_BASE + nic->controls && queue == 0 &&
	    nic->controls_completed < nic->controls) {
		nic->controls_completed++;
		return;
	}
	for (unsigned int i = 0; i < SHARED_SECTIONS; i++) {
		if (transaction && q->in_section[i] == transaction) {
			q->in_section[i] = 0;
			q->is_completed[transaction]++;
			q->completed++;
			return;
		}
	}
	shared_nic_wrong(nic, "queue %u: a completion of %llx, which is none or the second", queue,
			 (unsigned long long)transaction);
}

static bool take_one(struct shared_nic *nic, unsigned int queue)
{
	struct vmbus_ring_control *ring = ring_of(nic, 2 * queue + 1);
	uint32_t read = ring->read_index, bytes;
	struct vmbus_packet_header header;
	uint8_t packet[PACKET_BYTES_MAX] = { 0 };

	if (atomic_load(&ring->write_index) == read) {
		return false;
	}
	uint32_t at = copy(nic, 2 * queue + 1, read, &header, 16, false);

	bytes = header.length8 * 8U - 16;
	if (header.length8 < 2 || header.offset8 < 2 || bytes > sizeof(packet)) {
		shared_nic_wrong(nic, "queue %u: not a packet at %u", queue, read);
		return false;
	}
	at = copy(nic, 2 * queue + 1, at, packet, bytes, false);
	if (header.type == VMBUS_PACKET_COMPLETION) {
		take_completion(nic, queue, header.transaction_id, packet);
	} else if (header.type == VMBUS_PACKET_TRANSFER_PAGES) {
		take_pages(nic, queue, header.transaction_id, packet, header.offset8 * 8U - 16);
	}
	atomic_store(&ring->read_index, (at + 8) % data_bytes);
	return true;
}

unsigned int shared_nic_take(struct shared_nic *nic, unsigned int queue, unsigned int max)
{
	unsigned int taken = 0;

	while (taken < max && !nic->wrong[0] && take_one(nic, queue)) {
		taken++;
	}
	return taken;
}

/* ---- acting ----------------------------------------------------------------------------------------- */

/* One RNDIS packet around a frame of 40 bytes that says which it is. */
static uint32_t put_message(uint8_t *at, unsigned int queue, uint32_t frame)
{
	memset(at, 0, RNDIS_PACKET_HEAD_BYTES + 40);
	bytes_put_le32(at, RNDIS_PACKET);
	bytes_put_le32(at + 4, RNDIS_PACKET_HEAD_BYTES + 40);
	bytes_put_le32(at + 8, sizeof(struct rndis_packet));
	bytes_put_le32(at + 12, 40);
	bytes_put_le32(at + RNDIS_PACKET_HEAD_BYTES + 14, queue);
	bytes_put_le32(at + RNDIS_PACKET_HEAD_BYTES + 18, frame);
	return RNDIS_PACKET_HEAD_BYTES + 40;
}

/* Packet n has frame 2n, and every other one 2n + 1 too. */
void shared_nic_send_next(struct shared_nic *nic, unsigned int queue)
{
	struct shared_queue *q = &nic->queue[queue];
	unsigned int i = 0;

	while (i < SHARED_SECTIONS && q->in_section[i]) {
		i++;
	}
	if (i == SHARED_SECTIONS || q->sent == SHARED_TX) {
		return;
	}
	uint64_t n = q->sent + 1;
	uint32_t section = queue * SHARED_SECTIONS + i;
	uint8_t *at = at_gfn(nic, SHARED_SEND_GFN, section * SECTION_BYTES);
	uint32_t bytes = put_message(at, queue, (uint32_t)(2 * n));

	if (n % 2) {
		bytes += put_message(at + bytes, queue, (uint32_t)(2 * n + 1));
	}
	const uint32_t nvsp[10] = { NVSP_SEND_RNDIS, 0, section, bytes };

	if (send_packet(nic, queue, VMBUS_PACKET_INBAND, n, nvsp, sizeof(nvsp))) {
		q->in_section[i] = n;
		q->sent = n;
	}
}

static void send_control(struct shared_nic *nic)
{
	uint32_t message[32] = { 0 };
	uint8_t *info = (uint8_t *)(message + 7);

	if (nic->controls == SHARED_CONTROLS || nic->controls_completed < nic->controls ||
	    nic->controls_replied < nic->controls) {
		return;
	}
	uint32_t n = nic->controls + 1, bytes = n % 2 ? 72 : 0;

	message[0] = n % 2 ? RNDIS_SET : RNDIS_QUERY;
	message[1] = 28 + bytes;
	message[2] = n;
	message[3] = n % 2 ? OID_GEN_RNDIS_CONFIG_PARAMETER : OID_GEN_CURRENT_PACKET_FILTER;
	message[4] = bytes;
	message[5] = 20;
	if (n % 2) { /* a new address, which ends in n */
		static const char name[] = "NetworkAddress", digits[] = "02112233440";

		bytes_put_le32(info, 20);
		bytes_put_le32(info + 4, 28);
		bytes_put_le32(info + 8, RNDIS_CONFIG_STRING);
		bytes_put_le32(info + 12, 48);
		bytes_put_le32(info + 16, 24);
		for (int i = 0; i < 14; i++) {
			info[20 + 2 * i] = (uint8_t)name[i];
		}
		for (uint32_t i = 0; i < 12; i++) {
			info[48 + 2 * i] = (uint8_t)(i < 11 ? (uint32_t)digits[i] : '0' + n);
		}
	}
	nic->controls = n;
	if (!try_control(nic, CONTROL_BASE + n, message, 28 + bytes)) {
		nic->controls = n - 1;
	} else if (n % 2) {
		memcpy(nic->mac, (uint8_t[]){ 0x02, 0x11, 0x22, 0x33, 0x44, (uint8_t)n }, 6);
	}
}

static void give_back(struct shared_nic *nic, unsigned int queue)
{
	struct shared_queue *q = &nic->queue[queue];
	unsigned int i = shared_roll(&nic->random, q->held_count);
	const struct shared_held *held = &q->held[i];
	const uint32_t nvsp[10] = { NVSP_SEND_RNDIS_COMPLETE, NVSP_STATUS_SUCCESS };

	for (unsigned int k = 0; k < held->count; k++) {
		uint32_t offset = held->range[k].offset;

		if (sum_of(at_gfn(nic, SHARED_RECV_GFN, offset), held->range[k].bytes) !=
		    held->range[k].sum) {
			shared_nic_wrong(nic, "queue %u: piece %u was written while it was held",
					 queue, offset / nic->piece_bytes);
		}
	}
	if (!send_packet(nic, queue, VMBUS_PACKET_COMPLETION, held->transaction, nvsp,
			 sizeof(nvsp))) {
		return;
	}
	for (unsigned int k = 0; k < held->count; k++) {
		nic->is_held[held->range[k].offset / nic->piece_bytes] = false;
	}
	q->held[i] = q->held[--q->held_count];
}

void shared_nic_act(struct shared_nic *nic)
{
	for (unsigned int queue = 0; queue < nic->queues && !nic->wrong[0]; queue++) {
		struct shared_queue *q = &nic->queue[queue];

		for (unsigned int n = shared_roll(&nic->random, 6); n > 0; n--) {
			shared_nic_send_next(nic, queue);
		}
		/* Seldom enough that the ring is full at times. */
		if (shared_roll(&nic->random, 12) == 0) {
			shared_nic_take(nic, queue, shared_roll(&nic->random, 60));
		}
		/* So seldom that pieces run out. */
		for (unsigned int n = shared_roll(&nic->random, 5) ? 0 : q->held_count; n > 0;
		     n--) {
			give_back(nic, queue);
		}
	}
	if (shared_roll(&nic->random, 3) == 0) {
		send_control(nic);
	}
}

/* ---- the end ------------------------------------------------------------------------------------------ */

static bool queue_is_done(const struct shared_queue *q)
{
	uint32_t accepted = 0;

	if (q->completed < SHARED_TX || q->held_count) {
		return false;
	}
	for (uint32_t i = 1; i <= SHARED_RX_TRIES; i++) {
		accepted += atomic_load(&q->rx[i].is_accepted);
		if (atomic_load(&q->rx[i].is_safe) && !q->rx[i].received) {
			return false;
		}
	}
	return accepted >= SHARED_RX;
}

bool shared_nic_is_done(const struct shared_nic *nic)
{
	bool is_done = nic->controls == SHARED_CONTROLS &&
		       nic->controls_completed == SHARED_CONTROLS &&
		       nic->controls_replied == SHARED_CONTROLS;

	for (unsigned int i = 0; i < nic->queues; i++) {
		/* Nothing is in the rings either. */
		is_done =
			is_done && queue_is_done(&nic->queue[i]) &&
			ring_of(nic, 2 * i)->read_index == ring_of(nic, 2 * i)->write_index &&
			ring_of(nic, 2 * i + 1)->read_index == ring_of(nic, 2 * i + 1)->write_index;
	}
	return is_done || nic->wrong[0];
}

void shared_nic_explain(const struct shared_nic *nic, char *buf, size_t bytes)
{
	const struct shared_queue *q = nic->queue;

	snprintf(buf, bytes, "controls %u/%u/%u; %llu+%llu completed, %u+%u held, frames %u+%u",
		 nic->controls, nic->controls_completed, nic->controls_replied,
		 (unsigned long long)q[0].completed, (unsigned long long)q[1].completed,
		 q[0].held_count, q[1].held_count, atomic_load(&q[0].rx_made),
		 atomic_load(&q[1].rx_made));
}

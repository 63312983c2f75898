/* SPDX-License-Identifier: MIT */
#include "vmbus/ring.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"

#define HEADER_BYTES  sizeof(struct vmbus_packet_header)
#define TRAILER_BYTES VMBUS_PACKET_TRAILER_BYTES

int vmbus_ring_map(struct vmbus_ring *ring, const struct mem *mem, const uint64_t *gfns,
		   size_t pages)
{
	void *data;

	if (pages < VMBUS_RING_PAGES_MIN || pages > VMBUS_RING_PAGES_MAX) {
		return -EINVAL;
	}
	struct vmbus_ring_control *control =
		mem_hva(mem, gfns[0] << MEM_PAGE_SHIFT, MEM_PAGE_BYTES);

	if (!control) {
		return -EFAULT;
	}
	int err = mem_map_pages(mem, gfns + 1, pages - 1, 2, &data);

	if (err) {
		return err;
	}
	*ring = (struct vmbus_ring){ .control = control,
				     .data = data,
				     .data_bytes = (uint32_t)((pages - 1) * MEM_PAGE_BYTES) };
	return 0;
}

void vmbus_ring_unmap(struct vmbus_ring *ring)
{
	mem_unmap_pages(ring->data, ring->data_bytes / MEM_PAGE_BYTES, 2);
	*ring = (struct vmbus_ring){ 0 };
}

static bool is_index(const struct vmbus_ring *ring, uint32_t index)
{
	return index < ring->data_bytes && index % 8 == 0;
}

/* From `from` forward to `to`. */
static uint32_t distance(const struct vmbus_ring *ring, uint32_t from, uint32_t to)
{
	return to >= from ? to - from : ring->data_bytes - from + to;
}

static uint32_t advance(const struct vmbus_ring *ring, uint32_t index, uint32_t bytes)
{
	uint32_t next = index + bytes; /* both below 4 MiB */

	return next >= ring->data_bytes ? next - ring->data_bytes : next;
}

/* ---- guest → host ---- */

int vmbus_ring_reader_init(struct vmbus_ring_reader *reader)
{
	uint32_t read = atomic_load(&reader->ring.control->read_index);

	if (!is_index(&reader->ring, read)) {
		return -EPROTO;
	}
	reader->read = reader->limit = reader->committed = read;
	reader->is_journaled = false;
	return 0;
}

bool vmbus_ring_has_packets(const struct vmbus_ring_reader *reader)
{
	return reader->read != reader->limit ||
	       atomic_load_explicit(&reader->ring.control->write_index, memory_order_relaxed) !=
		       reader->read;
}

/* Looks at the guest's write index when what we knew of is used up. */
static int refresh_limit(struct vmbus_ring_reader *reader)
{
	if (reader->read != reader->limit) {
		return 0;
	}
	/* Pairs with the guest's store of write_index after the packet's bytes. */
	uint32_t limit =
		atomic_load_explicit(&reader->ring.control->write_index, memory_order_acquire);

	if (!is_index(&reader->ring, limit)) {
		return -EPROTO;
	}
	reader->limit = limit;
	return reader->read == limit ? -EAGAIN : 0;
}

int vmbus_ring_read(struct vmbus_ring_reader *reader, uint8_t *buf, uint32_t room,
		    struct vmbus_packet *ret_packet)
{
	int err = refresh_limit(reader);

	if (err) {
		return err;
	}
	uint32_t there = distance(&reader->ring, reader->read, reader->limit);
	struct vmbus_packet_header header;

	if (there < HEADER_BYTES + TRAILER_BYTES) {
		return -EPROTO;
	}
	memcpy(&header, reader->ring.data + reader->read, HEADER_BYTES);
	uint32_t length = header.length8 * 8U;
	uint32_t offset = header.offset8 * 8U;

	if (offset < HEADER_BYTES || offset > length || length > there - TRAILER_BYTES ||
	    length - HEADER_BYTES > room) {
		return -EPROTO;
	}
	memcpy(buf, reader->ring.data + reader->read + HEADER_BYTES, length - HEADER_BYTES);
	*ret_packet = (struct vmbus_packet){
		.type = header.type,
		.wants_completion = header.flags & VMBUS_PACKET_FLAG_COMPLETION_REQUESTED,
		.transaction_id = header.transaction_id,
		.descriptor = buf,
		.descriptor_bytes = offset - (uint32_t)HEADER_BYTES,
		.payload = buf + offset - HEADER_BYTES,
		.payload_bytes = length - offset,
	};
	reader->read = advance(&reader->ring, reader->read, length + TRAILER_BYTES);
	return 0;
}

void vmbus_ring_unread(struct vmbus_ring_reader *reader, uint32_t to)
{
	reader->read = to;
}

bool vmbus_ring_commit(struct vmbus_ring_reader *reader)
{
	struct vmbus_ring_control *control = reader->ring.control;
	uint32_t freed = distance(&reader->ring, reader->committed, reader->read);

	if (freed == 0) {
		return false;
	}
	reader->committed = reader->read;
	check(!reader->is_journaled || reader->intent == reader->read); /* J2 */
	fault_store();
	/*
	 * Full barrier between publishing the room and looking whether the guest waits for it. Its
	 * partner is the guest's barrier between storing pending_send_bytes and looking at
	 * read_index.
	 */
	atomic_store_explicit(&control->read_index, reader->read, memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
	uint32_t pending = atomic_load_explicit(&control->pending_send_bytes, memory_order_relaxed);

	if (pending == 0) {
		return false;
	}
	uint32_t write = atomic_load_explicit(&control->write_index, memory_order_relaxed);

	if (!is_index(&reader->ring, write)) {
		return false; /* the next read will say so */
	}
	uint32_t room = reader->ring.data_bytes - distance(&reader->ring, reader->read, write);

	/* Only when this commit made the difference, so that it is told once. */
	return room >= pending && room - freed <= pending;
}

void vmbus_ring_mask(struct vmbus_ring_reader *reader)
{
	atomic_store_explicit(&reader->ring.control->interrupt_mask, 1, memory_order_relaxed);
}

bool vmbus_ring_arm(struct vmbus_ring_reader *reader)
{
	atomic_store_explicit(&reader->ring.control->interrupt_mask, 0, memory_order_seq_cst);
	/* Partner: the guest's barrier between storing write_index and looking at the mask. */
	atomic_thread_fence(memory_order_seq_cst);
	return vmbus_ring_has_packets(reader);
}

/* ---- host → guest ---- */

int vmbus_ring_writer_init(struct vmbus_ring_writer *writer)
{
	struct vmbus_ring_control *control = writer->ring.control;
	uint32_t write = atomic_load(&control->write_index);
	uint32_t read = atomic_load(&control->read_index);

	if (!is_index(&writer->ring, write) || !is_index(&writer->ring, read)) {
		return -EPROTO;
	}
	writer->write = writer->published = writer->told = write;
	writer->read = read;
	writer->is_journaled = false;
	atomic_fetch_or(&control->feature_bits, VMBUS_RING_FEATURE_PENDING_SEND);
	return 0;
}

static inline uint64_t packet_bytes(uint64_t content_bytes)
{
	return HEADER_BYTES + num_align_up(content_bytes, 8) + TRAILER_BYTES;
}

uint64_t vmbus_ring_packet_bytes(uint64_t content_bytes)
{
	return packet_bytes(content_bytes);
}

/* Room by what we know of the guest's read index. A full ring keeps 8 bytes, or it looked empty. */
static uint32_t known_room(const struct vmbus_ring_writer *writer)
{
	return writer->ring.data_bytes - distance(&writer->ring, writer->read, writer->write) - 8;
}

static int refresh_read(struct vmbus_ring_writer *writer)
{
	/* Pairs with the guest's store of read_index after it has read the packets' bytes. */
	uint32_t read =
		atomic_load_explicit(&writer->ring.control->read_index, memory_order_acquire);

	if (!is_index(&writer->ring, read) ||
	    distance(&writer->ring, read, writer->write) <
		    distance(&writer->ring, writer->published, writer->write)) {
		return -EPROTO; /* read what was not yet written */
	}
	writer->read = read;
	return 0;
}

static int find_more_room(struct vmbus_ring_writer *writer, uint64_t bytes)
{
	int err = refresh_read(writer);

	if (err) {
		return err;
	}
	return bytes <= known_room(writer) ? 0 : -EAGAIN;
}

static inline int find_room(struct vmbus_ring_writer *writer, uint64_t bytes)
{
	if (bytes > writer->ring.data_bytes - 8 || bytes > VMBUS_PACKET_BYTES_MAX) {
		return -E2BIG;
	}
	return bytes <= known_room(writer) ? 0 : find_more_room(writer, bytes);
}

bool vmbus_ring_has_room(struct vmbus_ring_writer *writer, uint64_t content_bytes)
{
	return find_room(writer, vmbus_ring_packet_bytes(content_bytes)) == 0;
}

int vmbus_ring_write(struct vmbus_ring_writer *writer, const struct vmbus_send *send)
{
	uint64_t payload_bytes = 0;

	for (int i = 0; i < send->payload_count; i++) {
		payload_bytes += send->payload[i].iov_len;
	}
	uint64_t total = packet_bytes(send->descriptor_bytes + payload_bytes);
	int err = find_room(writer, total);

	if (err) {
		return err;
	}
	uint8_t *start = writer->ring.data + writer->write, *at = start;
	struct vmbus_packet_header header = {
		.type = send->type,
		.offset8 = (uint16_t)((HEADER_BYTES + send->descriptor_bytes) / 8),
		.length8 = (uint16_t)((total - TRAILER_BYTES) / 8),
		.flags = send->wants_completion ? VMBUS_PACKET_FLAG_COMPLETION_REQUESTED : 0,
		.transaction_id = send->transaction_id,
	};
	uint64_t trailer = (uint64_t)writer->write << 32;

	memcpy(at, &header, HEADER_BYTES);
	at += HEADER_BYTES;
	fault_store();
	if (send->descriptor_bytes) {
		memcpy(at, send->descriptor, send->descriptor_bytes);
		at += send->descriptor_bytes;
	}
	for (int i = 0; i < send->payload_count; i++) {
		memcpy(at, send->payload[i].iov_base, send->payload[i].iov_len);
		at += send->payload[i].iov_len;
	}
	uint8_t *end = start + total - TRAILER_BYTES;

	if (at != end) {
		memset(at, 0, (size_t)(end - at)); /* most payloads are multiples of 8 */
	}
	memcpy(end, &trailer, TRAILER_BYTES);
	writer->write = advance(&writer->ring, writer->write, (uint32_t)total);
	return 0;
}

/* Whether the guest does not look by itself, and stands in the `bytes` behind what it was told of. */
static bool is_untold(const struct vmbus_ring_writer *writer, uint32_t bytes)
{
	const struct vmbus_ring_control *control = writer->ring.control;

	if (atomic_load_explicit(&control->interrupt_mask, memory_order_relaxed)) {
		return false;
	}
	uint32_t read = atomic_load_explicit(&control->read_index, memory_order_relaxed);

	return distance(&writer->ring, writer->told, read) < bytes;
}

bool vmbus_ring_publish(struct vmbus_ring_writer *writer)
{
	struct vmbus_ring_control *control = writer->ring.control;
	uint32_t before = writer->published;

	if (writer->write == before) {
		return false;
	}
	writer->published = writer->write;
	check(!writer->is_journaled || writer->intent == writer->write); /* J2 */
	fault_store();
	atomic_store_explicit(&control->write_index, writer->write, memory_order_release);
	/* Partner: the guest's barrier between clearing the mask and looking for packets. */
	atomic_thread_fence(memory_order_seq_cst);
	/* At `before` it has read all there was. */
	if (!is_untold(writer, distance(&writer->ring, writer->told, before) + 1)) {
		/* It looks, or has yet to read what it was told of: it sees these, too, before it sleeps. */
		writer->told = writer->write;
		return false;
	}
	return true;
}

bool vmbus_ring_owes(const struct vmbus_ring_writer *writer)
{
	return is_untold(writer, distance(&writer->ring, writer->told, writer->published));
}

void vmbus_ring_told(struct vmbus_ring_writer *writer)
{
	writer->told = writer->published;
}

bool vmbus_ring_wait_room(struct vmbus_ring_writer *writer, uint64_t content_bytes)
{
	struct vmbus_ring_control *control = writer->ring.control;
	/* One more than the packet: the guest compares with the room that it sees, which has 8. */
	uint64_t bytes = content_bytes ? vmbus_ring_packet_bytes(content_bytes) + 8 : 0;

	atomic_store_explicit(&control->pending_send_bytes, (uint32_t)bytes, memory_order_seq_cst);
	if (content_bytes == 0) {
		return true;
	}
	/* Partner: the guest's barrier between storing read_index and looking here. */
	atomic_thread_fence(memory_order_seq_cst);
	if (!vmbus_ring_has_room(writer, content_bytes)) {
		return false;
	}
	atomic_store_explicit(&control->pending_send_bytes, 0, memory_order_relaxed);
	return true;
}

bool vmbus_ring_signals_room(const struct vmbus_ring_writer *writer)
{
	return atomic_load_explicit(&writer->ring.control->feature_bits, memory_order_relaxed) &
	       VMBUS_RING_FEATURE_PENDING_SEND;
}

/* ---- both ---- */

int vmbus_ring_roll(struct vmbus_ring_reader *reader, uint32_t read,
		    struct vmbus_ring_writer *writer, uint32_t write)
{
	if (!is_index(&reader->ring, read) || !is_index(&writer->ring, write)) {
		return -EBADMSG;
	}
	uint32_t guests = atomic_load(&writer->ring.control->read_index);

	if (!is_index(&writer->ring, guests)) {
		return -EPROTO;
	}
	reader->read = reader->limit = reader->committed = reader->intent = read;
	writer->write = writer->published = writer->told = writer->intent = write;
	writer->read = guests;
	reader->is_journaled = writer->is_journaled = true;
	fault_store();
	atomic_store(&writer->ring.control->write_index, write);
	fault_store();
	atomic_store(&reader->ring.control->read_index, read);
	atomic_store(&writer->ring.control->pending_send_bytes, 0); /* nobody waits yet */
	atomic_fetch_or(&writer->ring.control->feature_bits, VMBUS_RING_FEATURE_PENDING_SEND);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * A VMBus ring and the packets in it. Little-endian; all in guest memory.
 *
 * A channel has two rings in one GPADL: guest → host ("outgoing" for the guest) first, then
 * host → guest from the page that OPENCHANNEL names. Each is one control page and then data pages.
 * Packets are multiples of 8 bytes; each is followed by 8 bytes of trailer whose high half is the
 * write index before the packet (readers ignore it).
 *
 *   spec  docs/protocols.md#ring (facts: Linux include/linux/hyperv.h, drivers/hv/ring_buffer.c)
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define VMBUS_RING_CONTROL_BYTES 4096

/* The control page. Touched by atomics in vmbus/ring.c only. */
struct vmbus_ring_control {
	_Atomic(uint32_t) write_index;    /* bytes into the data; the producer's */
	_Atomic(uint32_t) read_index;     /* bytes into the data; the consumer's */
	_Atomic(uint32_t) interrupt_mask; /* the consumer's: 1 = do not signal me */
	_Atomic(uint32_t)
		pending_send_bytes; /* the producer's: waits for so much room; 0 = does not */
	uint32_t reserved[12];
	_Atomic(uint32_t) feature_bits; /* VMBUS_RING_FEATURE_* */
};
static_assert(offsetof(struct vmbus_ring_control, feature_bits) == 64, "ring control page");

/* Whoever frees room looks at pending_send_bytes and signals. */
#define VMBUS_RING_FEATURE_PENDING_SEND (1U << 0)

struct vmbus_packet_header {
	uint16_t type;    /* VMBUS_PACKET_* */
	uint16_t offset8; /* start of the payload, in units of 8 bytes from this header */
	uint16_t length8; /* whole packet without trailer, in units of 8 bytes */
	uint16_t flags;   /* VMBUS_PACKET_FLAG_* */
	uint64_t transaction_id;
};
static_assert(sizeof(struct vmbus_packet_header) == 16, "packet header");

#define VMBUS_PACKET_TRAILER_BYTES             8
#define VMBUS_PACKET_BYTES_MAX                 (0xffffU * 8)

#define VMBUS_PACKET_INBAND                    6
#define VMBUS_PACKET_TRANSFER_PAGES            7
#define VMBUS_PACKET_GPA_DIRECT                9
#define VMBUS_PACKET_COMPLETION                11

#define VMBUS_PACKET_FLAG_COMPLETION_REQUESTED 1

/* After the header of a VMBUS_PACKET_TRANSFER_PAGES; `ranges` entries follow. */
struct vmbus_transfer_pages_header {
	uint16_t set_id; /* which agreed buffer: NVSP receive buffer id */
	uint8_t sender_owns_set;
	uint8_t reserved;
	uint32_t range_count;
};
static_assert(sizeof(struct vmbus_transfer_pages_header) == 8, "transfer pages");

struct vmbus_transfer_page_range {
	uint32_t length_bytes;
	uint32_t offset_bytes;
};

/* After the header of a VMBUS_PACKET_GPA_DIRECT; ranges follow. */
struct vmbus_gpa_direct_header {
	uint32_t reserved;
	uint32_t range_count;
};

/* One GPA range; the page frame numbers (u64) that it spans follow. */
struct vmbus_gpa_range {
	uint32_t length_bytes;
	uint32_t offset_bytes; /* into the first page */
};

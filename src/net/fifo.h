/* SPDX-License-Identifier: MIT */
/*
 * Frames that wait, in order, in one block of memory: each in one piece behind its metadata. Grows
 * never; no room is a value.
 *
 *   owner   a back end   thread  its loop
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "net/net.h"

struct fifo_frame {
	uint32_t bytes; /* of data; FIFO_SKIP: go on at the beginning */
	uint32_t mss;
	uint16_t flags;
	uint16_t l4_offset;
	uint16_t vlan_tci;
	uint8_t l4;
	uint8_t reserved;
	uint8_t data[];
};

struct fifo {
	uint8_t *block;
	size_t size;
	size_t head, tail; /* read at head, written at tail */
	size_t frames;
};

/* size_bytes: a multiple of 8. Memory is touched only as it is used. 0 or -ENOMEM. */
MUST_CHECK int fifo_init(struct fifo *fifo, size_t size_bytes);
void fifo_fini(struct fifo *fifo);

/* Copies a frame in. 0, or -EAGAIN without room. *ret_entry (may be NULL): where it went. */
MUST_CHECK int fifo_put(struct fifo *fifo, const struct net_frame *frame,
			struct fifo_frame **ret_entry);

/* The oldest frame, until fifo_pop(); NULL when there is none. */
struct fifo_frame *fifo_peek(struct fifo *fifo);
void fifo_pop(struct fifo *fifo);

static inline bool fifo_is_empty(const struct fifo *fifo)
{
	return fifo->frames == 0;
}

/* Copies a frame's pieces out, one after the other; what is partial of its checksum is whole there. */
void fifo_gather(void *dst, const struct net_frame *frame);

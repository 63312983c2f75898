/* SPDX-License-Identifier: MIT */
#include "vswitch/hand.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "net/fifo.h"

#define ENTRY_ALIGN 16U

int hand_ring_create(struct hand_ring **ret)
{
	struct hand_ring *ring;

	if (fault_point()) {
		return -ENOMEM;
	}
	ring = aligned_alloc(64, sizeof(*ring));
	if (!ring) {
		return -ENOMEM;
	}
	memset(ring, 0, offsetof(struct hand_ring, block));
	*ret = ring;
	return 0;
}

void hand_ring_destroy(struct hand_ring *ring)
{
	free(ring);
}

static struct hand_entry *entry_at(struct hand_ring *ring, uint32_t at)
{
	return (struct hand_entry *)(void *)(ring->block + at % HAND_RING_BYTES);
}

static uint32_t room(struct hand_ring *ring, uint32_t wanted)
{
	if (HAND_RING_BYTES - (ring->put - ring->taken_seen) < wanted) {
		/* Pairs with the release in hand_pop(): the bytes have been read. */
		ring->taken_seen = atomic_load_explicit(&ring->taken, memory_order_acquire);
	}
	return HAND_RING_BYTES - (ring->put - ring->taken_seen);
}

static uint32_t step_of(uint32_t bytes)
{
	return (uint32_t)num_align_up(sizeof(struct hand_entry) + bytes, ENTRY_ALIGN);
}

/* What is left unused at the ring's end, since an entry of such a size lies in one piece. */
static uint32_t skip_for(const struct hand_ring *ring, uint32_t step)
{
	uint32_t to_end = HAND_RING_BYTES - ring->put % HAND_RING_BYTES;

	return step > to_end ? to_end : 0;
}

/* The place of the next entry, with so many bytes of data; NULL: no room. */
static struct hand_entry *next_entry(struct hand_ring *ring, uint32_t bytes)
{
	uint32_t step = step_of(bytes), skip = skip_for(ring, step);
	struct hand_entry *entry;

	if (room(ring, step + skip) < step + skip) {
		return NULL;
	}
	if (skip) {
		/* At least 16 bytes are left at the end: step and bytes fit. */
		entry = entry_at(ring, ring->put);
		entry->step = skip;
		entry->bytes = HAND_SKIP;
		ring->put += skip;
	}
	return entry_at(ring, ring->put);
}

bool hand_put(struct hand_ring *ring, uint16_t port, uint16_t queue, uint64_t run,
	      const struct net_frame *frame)
{
	struct hand_entry *entry;

	check(frame->bytes > 0 && frame->bytes <= NET_FRAME_BYTES_MAX);
	entry = next_entry(ring, frame->bytes);
	if (!entry) {
		return false;
	}
	*entry = (struct hand_entry){
		.step = step_of(frame->bytes),
		.bytes = frame->bytes,
		.port = port,
		.queue = queue,
		.flags = frame->flags & (uint16_t)~NET_FRAME_L4_PARTIAL, /* fifo_gather() */
		.l4_offset = frame->l4_offset,
		.vlan_tci = frame->vlan_tci,
		.l4 = frame->l4,
		.mss = frame->mss,
		.hash = frame->hash,
		.run = run,
	};
	fifo_gather(entry->data, frame);
	ring->put += entry->step;
	return true;
}

bool hand_can_pass(struct hand_ring *ring)
{
	uint32_t step = step_of(0), wanted = step + skip_for(ring, step);

	return room(ring, wanted) >= wanted;
}

bool hand_put_pass(struct hand_ring *ring, uint16_t port, uint16_t queue, uint64_t run)
{
	struct hand_entry *entry = next_entry(ring, 0);

	if (!entry) {
		return false;
	}
	*entry =
		(struct hand_entry){ .step = step_of(0), .port = port, .queue = queue, .run = run };
	ring->put += entry->step;
	return true;
}

bool hand_flush(struct hand_ring *ring)
{
	if (atomic_load_explicit(&ring->written, memory_order_relaxed) == ring->put) {
		return false;
	}
	/* Pairs with the acquire in hand_peek(): the entries are whole. */
	atomic_store_explicit(&ring->written, ring->put, memory_order_release);
	return true;
}

struct hand_entry *hand_peek(struct hand_ring *ring)
{
	for (;;) {
		uint32_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);
		struct hand_entry *entry;

		if (taken == ring->written_seen) {
			ring->written_seen =
				atomic_load_explicit(&ring->written, memory_order_acquire);
			if (taken == ring->written_seen) {
				return NULL;
			}
		}
		entry = entry_at(ring, taken);
		if (entry->bytes != HAND_SKIP) {
			return entry;
		}
		hand_pop(ring);
	}
}

void hand_pop(struct hand_ring *ring)
{
	uint32_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);

	atomic_store_explicit(&ring->taken, taken + entry_at(ring, taken)->step,
			      memory_order_release);
}

bool hand_is_half_still(struct hand_ring *ring)
{
	(void)room(ring, HAND_RING_BYTES);
	return hand_is_half(ring);
}

bool hand_is_high(struct hand_ring *ring)
{
	if (room(ring, HAND_RING_BYTES / 2) >= HAND_RING_BYTES / 2) {
		return false;
	}
	/*
	 * Against the reader that empties the ring at this moment: the flag first, then a second look;
	 * the reader pops first and then looks at the flag, so one of the two sees the other. Both
	 * pairs are sequentially consistent (hand_has_room()).
	 */
	atomic_store(&ring->wants_room, true);
	ring->taken_seen = atomic_load(&ring->taken);
	return ring->put - ring->taken_seen > HAND_RING_BYTES / 2;
}

bool hand_has_room(struct hand_ring *ring)
{
	uint32_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);

	atomic_store(&ring->taken, taken); /* the same again, ordered: see hand_is_high() */
	if (!atomic_load(&ring->wants_room) ||
	    atomic_load_explicit(&ring->written, memory_order_relaxed) - taken >
		    HAND_RING_BYTES / 4) {
		return false;
	}
	atomic_store(&ring->wants_room, false);
	return true;
}

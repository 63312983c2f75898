/* SPDX-License-Identifier: MIT */
/*
 * Whole frames for another core: copied into a ring of bytes with one writer and one reader, for wires
 * whose ends live there only, and for guests as long as they cannot go by a lane (lane.h). An entry lies
 * in one piece. What is in flight names its port and queue by number: whoever takes it out looks them
 * up (S3).
 *
 *   owner   the switch   thread  hand_put, hand_flush: the writer's loop; hand_peek, hand_pop: the
 *           reader's
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "net/net.h"

#define HAND_RING_BYTES (1U << 20) /* a power of two: fifteen of the largest frames */

/* A frame on its way, and room in front of it for net.h's iov[-1]. */
struct hand_entry {
	uint32_t step; /* to the next one: all that it takes up */
	uint32_t
		bytes; /* of data; 0: the lane's run may pass; HAND_SKIP: go on at the ring's beginning */
	uint16_t port, queue;
	uint16_t flags, l4_offset;
	uint16_t vlan_tci;
	uint8_t l4, reserved;
	uint32_t mss, hash;
	uint64_t run; /* of the lane to that queue, before this entry; or which may pass */
	_Alignas(16) uint8_t data[];
};

#define HAND_SKIP UINT32_MAX

struct hand_ring {
	/* the writer's line: `put` is what it has written, `written` what the reader may see of it */
	_Alignas(64) _Atomic(uint32_t) written;
	uint32_t put;
	uint32_t taken_seen;
	/* the reader's */
	_Alignas(64) _Atomic(uint32_t) taken;
	uint32_t written_seen;
	/* The writer waits for room (hand_is_high()); the reader clears it and tells. */
	_Alignas(64) _Atomic(bool) wants_room;
	_Alignas(64) uint8_t block[HAND_RING_BYTES];
};

/* -ENOMEM. Memory is touched as it is used. */
MUST_CHECK int hand_ring_create(struct hand_ring **ret);
/* NULL is fine. */
void hand_ring_destroy(struct hand_ring *ring);

/* Copies a frame in, still unseen. false: no room for it. */
bool hand_put(struct hand_ring *ring, uint16_t port, uint16_t queue, uint64_t run,
	      const struct net_frame *frame);

/* Whether hand_put_pass() would find room. */
bool hand_can_pass(struct hand_ring *ring);
/* Frames of the lane's that are of this run may pass, once all that is before in the ring was taken. */
bool hand_put_pass(struct hand_ring *ring, uint16_t port, uint16_t queue, uint64_t run);

/* Shows the reader what was put. Whether there was anything new. */
bool hand_flush(struct hand_ring *ring);

/* The oldest, until hand_pop(), to be written too; NULL: none. */
struct hand_entry *hand_peek(struct hand_ring *ring);
void hand_pop(struct hand_ring *ring);

/*
 * Writer: whether more than half of the ring is in use, so that who can wait should. Then the reader's
 * hand_has_room() will be true once, when three quarters are free.
 */
bool hand_is_high(struct hand_ring *ring);
/* The same without asking for anything; and as far as the writer has seen. */
bool hand_is_half_still(struct hand_ring *ring);
static inline bool hand_is_half(const struct hand_ring *ring)
{
	return ring->put - ring->taken_seen > HAND_RING_BYTES / 2;
}

bool hand_has_room(struct hand_ring *ring);

/* SPDX-License-Identifier: MIT */
#include "vswitch/news.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"

int news_ring_create(struct news_ring **ret)
{
	struct news_ring *ring;

	if (fault_point()) {
		return -ENOMEM;
	}
	ring = aligned_alloc(64, sizeof(*ring));
	if (!ring) {
		return -ENOMEM;
	}
	/* Not the entries: their pages are touched as they are used. */
	memset(ring, 0, offsetof(struct news_ring, entries));
	*ret = ring;
	return 0;
}

void news_ring_destroy(struct news_ring *ring)
{
	free(ring);
}

uint32_t news_room(struct news_ring *ring)
{
	uint32_t written = atomic_load_explicit(&ring->written, memory_order_relaxed);

	if (written - ring->taken_seen == NEWS_DEPTH) {
		/* Pairs with the release in news_take(): the entry has been read. */
		ring->taken_seen = atomic_load_explicit(&ring->taken, memory_order_acquire);
	}
	return NEWS_DEPTH - (written - ring->taken_seen);
}

bool news_put(struct news_ring *ring, const struct news *news)
{
	uint32_t written = atomic_load_explicit(&ring->written, memory_order_relaxed);

	if (news_room(ring) == 0) {
		return false;
	}
	ring->entries[written % NEWS_DEPTH] = *news;
	/* Pairs with the acquire in news_take(): the entry is whole. */
	atomic_store_explicit(&ring->written, written + 1, memory_order_release);
	return true;
}

bool news_take(struct news_ring *ring, struct news *ret)
{
	uint32_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);

	if (taken == ring->written_seen) {
		ring->written_seen = atomic_load_explicit(&ring->written, memory_order_acquire);
		if (taken == ring->written_seen) {
			return false;
		}
	}
	*ret = ring->entries[taken % NEWS_DEPTH];
	atomic_store_explicit(&ring->taken, taken + 1, memory_order_release);
	return true;
}

uint32_t news_count(const struct news_ring *ring)
{
	return atomic_load_explicit(&ring->written, memory_order_relaxed) -
	       atomic_load_explicit(&ring->taken, memory_order_relaxed);
}

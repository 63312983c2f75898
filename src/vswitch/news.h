/* SPDX-License-Identifier: MIT */
/*
 * What one core tells another: addresses, flows, groups, links. A ring per pair of cores with one
 * writer and one reader, bounded; no room is a value.
 *
 * What was put before a frame is handed over or delivered is there before any answer to that frame
 * can be: so a core that does not know something takes its news and looks again.
 *
 *   owner   the switch   thread  news_put, news_room: the writer's loop; news_take: the reader's;
 *           news_count: any
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "vswitch/flow.h"
#include "vswitch/guard.h"
#include "vswitch/mcast.h"

#define NEWS_DEPTH 4096U /* a power of two */

enum news_kind {
	NEWS_FDB,     /* mac lives behind port in VLAN vlan */
	NEWS_MCAST,   /* mcast */
	NEWS_FLOW,    /* flow */
	NEWS_BINDING, /* port may speak for binding */
};

struct news {
	uint8_t kind; /* enum news_kind */
	bool up;
	uint16_t port, vlan;
	union {
		uint8_t mac[NET_MAC_BYTES];
		struct mcast_news mcast;
		struct flow_news flow;
		struct guard_binding binding;
	};
};

_Static_assert(sizeof(struct news) == 64, "an entry is a cache line");

struct news_ring {
	/* the writer's line */
	_Alignas(64) _Atomic(uint32_t) written;
	uint32_t taken_seen; /* of `taken`, when it was last looked at */
	/* the reader's */
	_Alignas(64) _Atomic(uint32_t) taken;
	uint32_t written_seen;
	_Alignas(64) struct news entries[NEWS_DEPTH];
};

/* -ENOMEM. */
MUST_CHECK int news_ring_create(struct news_ring **ret);
/* NULL is fine. */
void news_ring_destroy(struct news_ring *ring);

/* How many more can be put, at least. */
uint32_t news_room(struct news_ring *ring);

/* false: no room. */
bool news_put(struct news_ring *ring, const struct news *news);

/* The oldest; false: there is none. */
bool news_take(struct news_ring *ring, struct news *ret);

/* How many wait, roughly. */
uint32_t news_count(const struct news_ring *ring);

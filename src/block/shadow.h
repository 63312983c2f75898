/* SPDX-License-Identifier: MIT */
/*
 * Shadows: requests of a layer's own that go below in place of the user's, one for one, so that the
 * layer hears of their end. Bounded: who finds none free waits for one.
 *
 *   owner   the layer   thread  its loop
 */
#pragma once

#include "block/block_impl.h"

struct block_shadow {
	struct block_request request; /* what goes below */
	struct block_request *whole;  /* the user's */
	struct list link;             /* the layer's while in use; else the pool's */
	struct block_shadow *next;    /* the layer's: between threads */
	uint64_t context;             /* the layer's */
	int result;                   /* the layer's */
	struct iovec *iov; /* BLOCK_IOVECS_MAX of its own, where the pool was asked for them */
};

/* Embedded in the layer. */
struct block_shadows {
	struct block_shadow *all;
	unsigned int count;
	struct iovec *iovs; /* mapped; pages that are never used are never touched */
	struct list free;
	struct list waiting; /* wholes, by request.link */
};

/* 0 or -ENOMEM. count: at once. */
MUST_CHECK int block_shadows_init(struct block_shadows *pool, unsigned int count, bool with_iovs);
/* Zeroed is fine. None is in use. */
void block_shadows_fini(struct block_shadows *pool);

/*
 * A shadow for this request: a copy of what the user asked for, with iovecs of its own or, without
 * such, the user's. Its done is the caller's to set. NULL: none is free; the request waits.
 */
struct block_shadow *block_shadow_get(struct block_shadows *pool, struct block_request *whole);

/*
 * Copies the answers (map) and frees it; the whole is the caller's to complete. Returns a request that has waited
 * for a shadow, to be submitted now, or NULL.
 */
struct block_request *block_shadow_put(struct block_shadows *pool, struct block_shadow *shadow);

/* Once more what the user asked for: what is below may have changed the iovecs. */
void block_shadow_rewind(struct block_shadow *shadow);

/* SPDX-License-Identifier: MIT */
/*
 * A request (the whole) cut into pieces (fragments) that go to different places: how an image format
 * serves a range that its file keeps in several parts. No data is copied: a fragment's iovecs are cut
 * from the whole's.
 *
 *   image's submit ──► block_whole_begin ──► advance ──┬─► block_fragment_submit … (as many as needed)
 *                                              ▲       ├─► block_whole_zero
 *                                              │       └─► block_whole_end ──► completed when the last
 *                  a fragment is free again ───┘           part is: with the first error, or 0
 *
 * `done_bytes` of the whole is the cursor: what has been given to fragments or zeroed. `pending` counts
 * who may still touch it: advance() itself, each fragment, each block_whole_hold().
 *
 *   owner   the image   thread  its loop
 */
#pragma once

#include "block/block_impl.h"

struct block_fragments;
struct block_fragment;

/*
 * Goes on with a whole at its cursor until everything is given away, or until block_fragment_get()
 * says NULL, or until it has to wait for something of the image's own; then calls block_whole_end() or
 * keeps the whole (its hold goes along) and calls advance later by itself, from the loop.
 */
typedef void block_advance_fn(struct block *image, struct block_request *whole);

struct block_fragment {
	struct block_request request; /* what goes below */
	struct block_request *whole;
	struct block_fragments *pool;
	/* Optional, set before submit: called when it is done, before the whole hears of it. */
	void (*done)(struct block_fragment *fragment, int result);
	uint64_t context; /* the image's */
	struct list link;
	struct iovec iov[BLOCK_IOVECS_MAX]; /* pages that are never used are never touched */
};

/* Embedded in the image. */
struct block_fragments {
	struct block *image;
	block_advance_fn *advance;
	struct block_fragment *all; /* mapped */
	unsigned int count, fresh;
	struct list free;
	struct list waiting; /* wholes, by request.link */
};

/* 0 or -ENOMEM. count: at once, of all wholes together. */
MUST_CHECK int block_fragments_init(struct block_fragments *pool, struct block *image,
				    unsigned int count, block_advance_fn *advance);
void block_fragments_fini(struct block_fragments *pool);

/* In submit, before the first advance. Takes one hold, advance's. */
void block_whole_begin(struct block_request *whole);

/* What is not given away yet. */
static inline uint64_t block_whole_left(const struct block_request *whole)
{
	return whole->length_bytes - whole->done_bytes;
}

/* One more who may touch it, to be given back with block_whole_end(). */
void block_whole_hold(struct block_request *whole);

/*
 * Gives a hold back; result: 0 or an error, of which the first counts. The whole is completed, later
 * in this round, when it was the last.
 */
void block_whole_end(struct block *image, struct block_request *whole, int result);

/* The next `bytes` of a read are zeroes (the parent has nothing, say). */
void block_whole_zero(struct block_request *whole, uint64_t bytes);

/* The next `bytes` need nothing to be done (a discard of what is not there). */
void block_whole_skip(struct block_request *whole, uint64_t bytes);

/*
 * A fragment for the next piece. NULL: none is free; the whole is queued, with advance's hold, and
 * advance() is called again when there is one: return at once.
 */
struct block_fragment *block_fragment_get(struct block_fragments *pool,
					  struct block_request *whole);

/* The next `bytes` of the whole go to lower at this offset, as the whole's operation. */
void block_fragment_submit(struct block_fragment *fragment, struct block *lower,
			   uint64_t offset_bytes, uint64_t bytes);

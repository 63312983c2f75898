/* SPDX-License-Identifier: MIT */
/*
 * What an implementer of a disk, or of a layer over one, provides and may use. See block.h.
 */
#pragma once

#include "block/block.h"

struct block_ops {
	const char *name;

	/* The loop's thread. Optional. */
	int (*start)(struct block *block, struct loop *loop);

	/*
	 * Takes a request that lies within the block and is allowed. Completes it by
	 * block_complete() from the loop, or by block_complete_later().
	 */
	void (*submit)(struct block *block, struct block_request *request);

	/* Nothing is in flight: give back what start took. Optional. */
	void (*stop)(struct block *block);

	/* Frees the block. */
	void (*close)(struct block *block);
};

/* Embedded first by implementers. */
struct block {
	const struct block_ops *ops;
	struct block_info info; /* filled by the implementer */
	bool is_direct;
	struct loop *loop; /* NULL: not started */
	struct block_stats stats;
	struct loop_work *stop_done; /* stopping */
	struct list later;           /* requests whose completion waits for the loop */
	struct loop_work later_work;
};

void block_init(struct block *block, const struct block_ops *ops);

/* From the loop, never inside submit: counts, then calls done. The request is the caller's again. */
void block_complete(struct block_request *request, int result);

/* Completes it in this round of the loop, after the current call chain has returned. */
void block_complete_later(struct block *block, struct block_request *request, int result);

/* A layer hands the request, unchanged, to the block below it. */
void block_forward(struct block *lower, struct block_request *request);

/* A layer starts and stops the block below with itself; nothing is in flight at stop. */
MUST_CHECK int block_start_lower(struct block *lower, struct loop *loop);
void block_stop_lower(struct block *lower);

/* The implementers that block_open() knows. */
MUST_CHECK int block_raw_open(const struct block_config *config, struct block **ret,
			      struct diag *reterr);
MUST_CHECK int block_null_open(const struct block_config *config, struct block **ret,
			       struct diag *reterr);

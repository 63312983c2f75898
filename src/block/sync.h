/* SPDX-License-Identifier: MIT */
/*
 * A block used in sequence: for opening images, for tools and for tests. Each call waits on a loop of
 * its own that runs on this thread.
 *
 *   owner   the caller   thread  the one that creates it
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "block/block.h"

struct block_sync;

/*
 * Starts the block, which is borrowed and not started. 0 or a negative errno with a sentence. The
 * loop may be shared with requests of the caller's own (block_submit(), then loop_run()).
 */
MUST_CHECK int block_sync_create(struct block *block, struct block_sync **ret, struct diag *reterr);

/* Stops the block (which finishes what it has to) and leaves it as it was found. NULL is fine. */
void block_sync_destroy(struct block_sync *sync);

struct block *block_sync_block(const struct block_sync *sync);
struct loop *block_sync_loop(const struct block_sync *sync);

/* Each: 0 or the request's negative errno. */
MUST_CHECK int block_sync_read(struct block_sync *sync, uint64_t offset_bytes, void *buf,
			       size_t bytes);
MUST_CHECK int block_sync_write(struct block_sync *sync, uint64_t offset_bytes, const void *buf,
				size_t bytes);
MUST_CHECK int block_sync_flush(struct block_sync *sync);
MUST_CHECK int block_sync_discard(struct block_sync *sync, uint64_t offset_bytes, uint64_t bytes);
MUST_CHECK int block_sync_write_zeroes(struct block_sync *sync, uint64_t offset_bytes,
				       uint64_t bytes, bool may_unmap);
MUST_CHECK int block_sync_resize(struct block_sync *sync, uint64_t bytes);
MUST_CHECK int block_sync_map(struct block_sync *sync, uint64_t offset_bytes, uint64_t bytes,
			      struct block_map *ret);

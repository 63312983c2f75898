/* SPDX-License-Identifier: MIT */
/*
 * Layers for tests: blocks over a block, to be stacked in any order. Each takes the lower block,
 * also on failure, and closes it with itself. Twins have the original's knobs, and count with it.
 *
 *   thread  create: control; the knobs: the loop's
 */
#pragma once

#include "block/block.h"

/* ---- fail: some requests do not reach the disk ------------------------------------------------- */

struct block_fail;

MUST_CHECK int block_fail_create(struct block *lower_take, struct block_fail **ret);
struct block *block_fail_block(struct block_fail *fail);

/* The n-th request of this kind from now (1 = the next) fails with err (negative); 0 disarms. */
void block_fail_nth(struct block_fail *fail, enum block_op op, unsigned int n, int err);

/* Each n-th from now; 0 disarms. */
void block_fail_every(struct block_fail *fail, enum block_op op, unsigned int n, int err);

/* Every read or write that touches this byte fails with err; 0 disarms. */
void block_fail_at(struct block_fail *fail, enum block_op op, uint64_t offset_bytes, int err);

/* ---- delay: requests take their time ------------------------------------------------------------ */

struct block_delay;

/* ~0: until block_delay_release(). */
#define BLOCK_DELAY_HOLD (~0ULL)

MUST_CHECK int block_delay_create(struct block *lower_take, uint64_t delay_ns,
				  struct block_delay **ret);
struct block *block_delay_block(struct block_delay *delay);
void block_delay_set(struct block_delay *delay, uint64_t delay_ns);

/* Lets all that are held go. */
void block_delay_release(struct block_delay *delay);
unsigned int block_delay_held(const struct block_delay *delay);

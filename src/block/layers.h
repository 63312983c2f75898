/* SPDX-License-Identifier: MIT */
/*
 * Layers for tests: blocks over a block, to be stacked in any order. Each takes the lower block,
 * also on failure, and closes it with itself. Twins have the original's knobs, and count with it.
 *
 *   thread  create: control; the knobs: the loop's
 */
#pragma once

#include "block/block.h"

/* Kinds of requests, bits 1 << op. */
#define BLOCK_OPS_ALL ((1U << BLOCK_OPS) - 1)

/* ---- fail: some requests do not reach the disk ------------------------------------------------- */

struct block_fail;

MUST_CHECK int block_fail_create(struct block *lower_take, struct block_fail **ret);
struct block *block_fail_block(struct block_fail *fail);

/* The n-th request of this kind from now (1 = the next) fails with err (negative); 0 disarms. */
void block_fail_nth(struct block_fail *fail, enum block_op op, unsigned int n, int err);

/* Every read or write that touches this byte fails with err; 0 disarms. */
void block_fail_at(struct block_fail *fail, enum block_op op, uint64_t offset_bytes, int err);

enum block_fail_when {
	BLOCK_FAIL_EVERY, /* each n-th of these kinds together */
	BLOCK_FAIL_NTH,   /* only the n-th of them */
	BLOCK_FAIL_TOUCH, /* each that touches byte n */
};

/* One more rule beside those above, for users: ops are bits 1 << op. Before it is started. */
void block_fail_rule(struct block_fail *fail, uint32_t ops, enum block_fail_when when, uint64_t n,
		     int err);

/* ---- delay: requests take their time ------------------------------------------------------------ */

struct block_delay;

/* ~0: until block_delay_release(). */
#define BLOCK_DELAY_HOLD (~0ULL)

MUST_CHECK int block_delay_create(struct block *lower_take, uint64_t delay_ns,
				  struct block_delay **ret);
struct block *block_delay_block(struct block_delay *delay);
void block_delay_set(struct block_delay *delay, uint64_t delay_ns);

/* Only these kinds, bits 1 << op. */
void block_delay_set_ops(struct block_delay *delay, uint32_t ops);

/* Lets all that are held go. */
void block_delay_release(struct block_delay *delay);
unsigned int block_delay_held(const struct block_delay *delay);

/* ---- log: a line for each request, when it is done ---------------------------------------------- */

/*
 * Appends to the file, made if need be: UTC, operation (with "+fua"), offset, length, "ok" or the errno's
 * name, and microseconds, separated by spaces. Written through the loop from buffers of a fixed size:
 * a host that is too slow costs lines, which are counted in a line of their own, and never time.
 */
MUST_CHECK int block_log_create(struct block *lower_take, const char *path, struct block **ret,
				struct diag *reterr);

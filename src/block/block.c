/* SPDX-License-Identifier: MIT */
/* What all blocks share: checks of requests, counters, completions that wait for the loop. */
#include "block/block.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/num.h"
#include "block/block_impl.h"

static void block_on_later(struct loop_work *work)
{
	struct block *block = container_of(work, struct block, later_work);
	struct list batch;

	/* Only those that are here now: a done may submit again and fail again at once. */
	list_take(&block->later, &batch);
	while (!list_is_empty(&batch)) {
		struct block_request *request = list_first(&batch, struct block_request, link);

		list_remove(&request->link);
		block_complete(request, request->result);
	}
}

void block_init(struct block *block, const struct block_ops *ops)
{
	block->ops = ops;
	list_init(&block->later);
	loop_work_init(&block->later_work, block_on_later);
	list_init(&block->twins);
	list_init(&block->twin_link);
}

void block_copy_info(struct block_info *to, const struct block_info *from)
{
	static_assert(offsetof(struct block_info, bytes) == 0, "what changes comes first");

	/* All but the size are constants; that is read for itself, since its loop may write it. */
	memcpy((char *)to + sizeof(to->bytes), (const char *)from + sizeof(from->bytes),
	       sizeof(*to) - sizeof(to->bytes));
	to->bytes = from->bytes;
}

void block_layer_init(struct block *block, const struct block_ops *ops, struct block *lower_take)
{
	block_init(block, ops);
	block->lower = lower_take;
	block_copy_info(&block->info, &lower_take->info);
	block->is_direct = lower_take->is_direct;
	lower_take->upper = block;
}

void block_set_bytes(struct block *block, uint64_t bytes)
{
	for (; block; block = block->upper) {
		block->info.bytes = bytes;
	}
}

/* What this end has counted and nobody else. */
static void block_add_stats(struct block_stats *sum, const struct block *end)
{
	const struct block_stats *more = &end->stats;

	if (end->is_pass) {
		return;
	}
	counter_add(&sum->reads, more->reads);
	counter_add(&sum->writes, more->writes);
	counter_add(&sum->flushes, more->flushes);
	counter_add(&sum->discards, more->discards);
	counter_add(&sum->zeroes, more->zeroes);
	counter_add(&sum->read_bytes, more->read_bytes);
	counter_add(&sum->written_bytes, more->written_bytes);
	counter_add(&sum->resizes, more->resizes);
	counter_add(&sum->errors, more->errors);
	counter_add(&sum->bounced, more->bounced);
	counter_add(&sum->in_flight, more->in_flight);
	sum->in_flight_max = num_max(sum->in_flight_max, more->in_flight_max);
}

void block_sum_stats(const struct block *original, struct block_stats *ret)
{
	*ret = original->closed_stats;
	block_add_stats(ret, original);
	list_for_each (it, &original->twins) {
		block_add_stats(ret, list_entry(it, struct block, twin_link));
	}
}

int block_twin(struct block *original, struct block **ret)
{
	struct block *twin;
	int err = -EOPNOTSUPP;

	if (original->original) {
		original = original->original;
	}
	if (original->ops->twin) {
		err = original->ops->twin(original, &twin);
	}
	if (err == -EOPNOTSUPP) {
		err = block_pass_create(original, &twin);
	}
	if (!err) {
		twin->original = original;
		list_append(&original->twins, &twin->twin_link);
		*ret = twin;
	}
	return err;
}

void block_close(struct block *block)
{
	if (!block) {
		return;
	}
	check(!block->loop);
	check(block->stats.in_flight == 0);
	check(list_is_empty(&block->twins));
	struct block *lower = block->lower;

	if (block->original) {
		/* By the control thread only, as those who read it. */
		block_add_stats(&block->original->closed_stats, block);
		list_remove(&block->twin_link);
	}
	block->ops->close(block);
	block_close(lower);
}

const struct block_info *block_info(const struct block *block)
{
	return &block->info;
}

const struct block_stats *block_read_stats(const struct block *block)
{
	return &block->stats;
}

const char *block_name(const struct block *block)
{
	return block->ops->name;
}

bool block_is_direct(const struct block *block)
{
	return block->is_direct;
}

struct loop *block_loop(const struct block *block)
{
	return block->loop;
}

struct block *block_lower(const struct block *block)
{
	return block->lower;
}

struct block *block_parent(const struct block *block)
{
	struct block *parent = NULL;

	for (; block && !parent; block = block->lower) {
		parent = block->ops->parent ? block->ops->parent(block) : NULL;
	}
	return parent;
}

void block_stop_lower(struct block *block)
{
	if (block->ops->stop) {
		block->ops->stop(block);
	}
	block->loop = NULL;
	if (block->lower) {
		block_stop_lower(block->lower);
	}
}

int block_start_lower(struct block *block, struct loop *loop)
{
	int err = 0;

	check(!block->loop);
	if (block->lower) {
		err = block_start_lower(block->lower, loop);
	}
	if (!err && block->ops->start) {
		err = block->ops->start(block, loop);
		if (err && block->lower) {
			block_stop_lower(block->lower);
		}
	}
	if (!err) {
		block->loop = loop;
	}
	return err;
}

int block_start(struct block *block, struct loop *loop)
{
	loop_check_here(loop);
	return block_start_lower(block, loop);
}

/* All layers have finished, top down: stops them, and says so. */
static void block_finish_stop(struct block *top)
{
	struct loop *loop = top->loop;
	struct loop_work *done = top->stop_done;

	top->stop_done = NULL;
	block_stop_lower(top);
	loop_post(loop, done);
}

/* Lets the next layer that has something to finish do so. */
static void block_quiesce_from(struct block *top, struct block *block)
{
	for (; block; block = block->lower) {
		if (block->ops->quiesce) {
			top->quiescing = block;
			block->top = top;
			block->ops->quiesce(block);
			return;
		}
	}
	block_finish_stop(top);
}

void block_quiesced(struct block *block)
{
	struct block *top = block->top;

	check(top && top->quiescing == block);
	top->quiescing = NULL;
	block_quiesce_from(top, block->lower);
}

static void block_advance_stop(struct block *block)
{
	if (block->stop_done && !block->quiescing && block->stats.in_flight == 0) {
		block_quiesce_from(block, block);
	}
}

void block_stop(struct block *block, struct loop_work *done)
{
	check(block->loop && !block->stop_done);
	loop_check_here(block->loop);
	block->stop_done = done;
	for (struct block *at = block; at; at = at->lower) {
		if (at->ops->drain) {
			at->ops->drain(at);
		}
	}
	block_advance_stop(block);
}

/* 0, or why the request cannot be. */
static int block_check(const struct block *block, const struct block_request *request)
{
	uint64_t mask = block->info.logical_block_bytes - 1;
	bool reads = request->op == BLOCK_READ || request->op == BLOCK_MAP;
	uint64_t end = block->info.bytes;

	if (request->op == BLOCK_FLUSH) {
		return 0;
	}
	if (!reads && block->info.read_only) {
		return -EROFS;
	}
	if (request->op == BLOCK_RESIZE) {
		return !block->info.can_resize                                    ? -EOPNOTSUPP
		       : (request->offset_bytes & mask) || !request->offset_bytes ? -EINVAL
										  : 0;
	}
	if (request->op == BLOCK_WRITE || request->op == BLOCK_WRITE_ZEROES) {
		end = num_max(end, block->info.grow_bytes_max);
	}
	if (((request->offset_bytes | request->length_bytes) & mask) != 0 ||
	    !num_range_fits(request->offset_bytes, request->length_bytes, end)) {
		return -EINVAL;
	}
	if ((request->op == BLOCK_READ || request->op == BLOCK_WRITE) &&
	    (request->iov_count < 0 || request->iov_count > BLOCK_IOVECS_MAX)) {
		return -EINVAL;
	}
	if ((request->op == BLOCK_DISCARD && !block->info.can_discard) ||
	    (request->op == BLOCK_WRITE_ZEROES && !block->info.can_write_zeroes)) {
		return -EOPNOTSUPP;
	}
	return 0;
}

void block_submit(struct block *block, struct block_request *request)
{
	uint64_t in_flight;
	int err;

	check(block->loop && !block->stop_done);
	request->top = block;
	request->done_bytes = 0;
	request->bounce = -1;
	request->retries = 0;
	request->pending = 0;
	list_init(&request->link);
	counter_add(&block->stats.in_flight, 1);
	in_flight = counter_read(&block->stats.in_flight);
	if (in_flight > counter_read(&block->stats.in_flight_max)) {
		atomic_store_explicit(&block->stats.in_flight_max, in_flight, memory_order_relaxed);
	}

	err = block_check(block, request);
	if (!err && request->length_bytes == 0 && request->op != BLOCK_FLUSH &&
	    request->op != BLOCK_RESIZE) {
		block_complete_later(block, request, 0);
	} else if (err) {
		block_complete_later(block, request, err);
	} else {
		block_forward(block, request);
	}
}

void block_forward(struct block *lower, struct block_request *request)
{
	request->at = lower;
	lower->ops->submit(lower, request);
}

void block_complete_later(struct block *block, struct block_request *request, int result)
{
	request->result = result;
	list_append(&block->later, &request->link);
	loop_defer(block->loop, &block->later_work);
}

static void block_count(struct block_stats *stats, const struct block_request *request, int result)
{
	uint64_t bytes = result ? 0 : request->length_bytes;

	switch (request->op) {
	case BLOCK_READ:
		counter_add(&stats->reads, 1);
		counter_add(&stats->read_bytes, bytes);
		break;
	case BLOCK_WRITE:
		counter_add(&stats->writes, 1);
		counter_add(&stats->written_bytes, bytes);
		break;
	case BLOCK_FLUSH:
		counter_add(&stats->flushes, 1);
		break;
	case BLOCK_DISCARD:
		counter_add(&stats->discards, 1);
		break;
	case BLOCK_WRITE_ZEROES:
		counter_add(&stats->zeroes, 1);
		break;
	case BLOCK_RESIZE:
		counter_add(&stats->resizes, 1);
		break;
	case BLOCK_MAP:
		break;
	}
	if (result) {
		counter_add(&stats->errors, 1);
	}
}

/* A file that grows: the layers above it are as large. Those between are only passed through. */
static void block_follow_size(struct block *top)
{
	const struct block *lowest = top;

	while (lowest->lower) {
		lowest = lowest->lower;
	}
	top->info.bytes = lowest->info.bytes;
}

void block_complete(struct block_request *request, int result)
{
	struct block *top = request->top;

	check(top && top->stats.in_flight > 0 && result <= 0);
	if (top->info.grow_bytes_max) {
		block_follow_size(top);
	}
	request->top = NULL;
	counter_add(&top->stats.in_flight, (uint64_t)-1);
	block_count(&top->stats, request, result);
	request->done(request, result);
	block_advance_stop(top);
}

/* ---- through the layers ------------------------------------------------------------------------- */

void block_refresh(struct block *block)
{
	if (block->lower) {
		block_refresh(block->lower);
	}
	if (block->ops->refresh) {
		block->ops->refresh(block);
	} else if (block->lower) {
		block->info.bytes = block->lower->info.bytes;
	}
}

unsigned int block_held(const struct block *block)
{
	unsigned int count = 0;

	for (; block; block = block->lower) {
		count += block->ops->held ? block->ops->held(block) : 0;
	}
	return count;
}

void block_retry(struct block *block)
{
	for (; block; block = block->lower) {
		if (block->ops->retry) {
			block->ops->retry(block);
		}
	}
}

void block_give_up(struct block *block)
{
	for (; block; block = block->lower) {
		if (block->ops->give_up) {
			block->ops->give_up(block);
		}
	}
}

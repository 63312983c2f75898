/* SPDX-License-Identifier: MIT */
/* What all blocks share: checks of requests, counters, completions that wait for the loop. */
#include "block/block.h"

#include <errno.h>

#include "base/num.h"
#include "block/block_impl.h"

int block_open(const struct block_config *config, struct block **ret, struct diag *reterr)
{
	switch (config->kind) {
	case BLOCK_RAW:
		return block_raw_open(config, ret, reterr);
	case BLOCK_NULL:
		return block_null_open(config, ret, reterr);
	}
	return diag_set(reterr, -EINVAL, "a disk of an unknown kind");
}

static void block_on_later(struct loop_work *work)
{
	struct block *block = container_of(work, struct block, later_work);
	struct list batch;

	/* Only those that are here now: a done may submit again and fail again at once. */
	list_init(&batch);
	while (!list_is_empty(&block->later)) {
		struct list *first = block->later.next;

		list_remove(first);
		list_append(&batch, first);
	}
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
}

void block_close(struct block *block)
{
	if (!block) {
		return;
	}
	check(!block->loop);
	check(block->stats.in_flight == 0);
	block->ops->close(block);
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

int block_start_lower(struct block *lower, struct loop *loop)
{
	int err = 0;

	check(!lower->loop);
	if (lower->ops->start) {
		err = lower->ops->start(lower, loop);
	}
	if (!err) {
		lower->loop = loop;
	}
	return err;
}

void block_stop_lower(struct block *lower)
{
	if (lower->ops->stop) {
		lower->ops->stop(lower);
	}
	lower->loop = NULL;
}

int block_start(struct block *block, struct loop *loop)
{
	loop_check_here(loop);
	return block_start_lower(block, loop);
}

static void block_advance_stop(struct block *block)
{
	struct loop *loop = block->loop;
	struct loop_work *done = block->stop_done;

	if (!done || block->stats.in_flight > 0) {
		return;
	}
	block->stop_done = NULL;
	block_stop_lower(block);
	loop_post(loop, done);
}

void block_stop(struct block *block, struct loop_work *done)
{
	check(block->loop && !block->stop_done);
	loop_check_here(block->loop);
	block->stop_done = done;
	block_advance_stop(block);
}

/* 0, or why the request cannot be. */
static int block_check(const struct block *block, const struct block_request *request)
{
	uint64_t mask = block->info.logical_block_bytes - 1;

	if (request->op == BLOCK_FLUSH) {
		return 0;
	}
	if (((request->offset_bytes | request->length_bytes) & mask) != 0 ||
	    !num_range_fits(request->offset_bytes, request->length_bytes, block->info.bytes)) {
		return -EINVAL;
	}
	if (request->op != BLOCK_READ && block->info.read_only) {
		return -EROFS;
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
	int err;

	check(block->loop && !block->stop_done);
	request->top = block;
	request->done_bytes = 0;
	request->bounce = -1;
	request->retries = 0;
	list_init(&request->link);
	block->stats.in_flight++;
	if (block->stats.in_flight > block->stats.in_flight_max) {
		block->stats.in_flight_max = block->stats.in_flight;
	}

	err = block_check(block, request);
	if (!err && request->length_bytes == 0 && request->op != BLOCK_FLUSH) {
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
		stats->reads++;
		stats->read_bytes += bytes;
		break;
	case BLOCK_WRITE:
		stats->writes++;
		stats->written_bytes += bytes;
		break;
	case BLOCK_FLUSH:
		stats->flushes++;
		break;
	case BLOCK_DISCARD:
		stats->discards++;
		break;
	case BLOCK_WRITE_ZEROES:
		stats->zeroes++;
		break;
	}
	if (result) {
		stats->errors++;
	}
}

void block_complete(struct block_request *request, int result)
{
	struct block *top = request->top;

	check(top && top->stats.in_flight > 0 && result <= 0);
	request->top = NULL;
	top->stats.in_flight--;
	block_count(&top->stats, request, result);
	request->done(request, result);
	block_advance_stop(top);
}

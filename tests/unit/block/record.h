/* SPDX-License-Identifier: MIT */
/*
 * A layer that remembers all that reaches the file, so that a power cut at any moment can be played: what
 * had to be on stable storage is there, and of the rest any part, sector by sector.
 *
 * Requests complete when record_pump() lets them, in any order.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "block/block_impl.h"
#include "block/iovec.h"

#define RECORD_NEVER (~0ULL)

static inline uint64_t record_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

struct record_op {
	enum block_op op;
	bool fua;
	uint64_t offset, bytes;
	uint8_t *data; /* BLOCK_WRITE */
	uint64_t submitted, done;
};

struct record_request {
	struct block_request lower;
	struct block_request *whole;
	size_t index; /* of its op; ~0: none */
	struct list link;
	int result;
};

struct record {
	struct block block;
	uint64_t *time; /* the test's clock: each event moves it */
	struct record_op *ops;
	size_t count, room;
	struct list done; /* completed below, not told yet */
	bool at_once;     /* they need no pump */
};

static inline void record_tell(struct record *record, struct record_request *request)
{
	if (request->index != ~(size_t)0 && request->result == 0) {
		record->ops[request->index].done = (*record->time)++;
	}
	record->block.info.bytes = record->block.lower->info.bytes;
	block_complete(request->whole, request->result);
	free(request);
}

static inline void record_on_done(struct block_request *lower, int result)
{
	struct record_request *request = container_of(lower, struct record_request, lower);
	struct record *record = container_of(request->whole->at, struct record, block);

	request->result = result;
	if (record->at_once) {
		record_tell(record, request);
	} else {
		list_append(&record->done, &request->link);
	}
}

static inline size_t record_add(struct record *record, const struct block_request *whole)
{
	struct record_op *op;

	if (record->count == record->room) {
		record->room = record->room ? 2 * record->room : 1024;
		record->ops = realloc(record->ops, record->room * sizeof(*record->ops));
		check(record->ops);
	}
	op = &record->ops[record->count];
	*op = (struct record_op){
		.op = whole->op,
		.fua = whole->op == BLOCK_WRITE && whole->fua,
		.offset = whole->offset_bytes,
		.bytes = whole->length_bytes,
		.submitted = (*record->time)++,
		.done = RECORD_NEVER,
	};
	if (whole->op == BLOCK_WRITE) {
		op->data = malloc(op->bytes);
		check(op->data);
		iovec_gather(whole->iov, whole->iov_count, 0, op->data, op->bytes);
	}
	return record->count++;
}

static inline void record_submit(struct block *block, struct block_request *whole)
{
	struct record *record = container_of(block, struct record, block);
	struct record_request *request = calloc(1, sizeof(*request));
	bool changes = whole->op != BLOCK_READ && whole->op != BLOCK_MAP;

	check(request);
	request->whole = whole;
	request->index = changes ? record_add(record, whole) : ~(size_t)0;
	request->lower = (struct block_request){
		.op = whole->op,
		.fua = whole->fua,
		.may_unmap = whole->may_unmap,
		.offset_bytes = whole->offset_bytes,
		.length_bytes = whole->length_bytes,
		.iov = whole->iov,
		.iov_count = whole->iov_count,
		.done = record_on_done,
	};
	block_submit(record->block.lower, &request->lower);
}

/* Tells one of those that are done, any; false: there is none. */
static inline bool record_pump(struct record *record, uint64_t *seed)
{
	struct list *it = record->done.next;
	struct record_request *request;
	unsigned int count = 0;

	list_for_each (each, &record->done) {
		count++;
	}
	if (count == 0) {
		return false;
	}
	for (uint64_t skip = record_random(seed) % count; skip > 0; skip--) {
		it = it->next;
	}
	request = list_entry(it, struct record_request, link);
	list_remove(&request->link);
	record_tell(record, request);
	return true;
}

static inline void record_close(struct block *block)
{
	struct record *record = container_of(block, struct record, block);

	/* The test keeps what was recorded. */
	check(list_is_empty(&record->done));
}

/* Between an image and its file, once more; what was recorded before stays. */
static inline void record_attach(struct record *record, struct block *lower_take)
{
	static const struct block_ops ops = {
		.name = "record",
		.submit = record_submit,
		.close = record_close,
	};

	memset(&record->block, 0, sizeof(record->block));
	block_init(&record->block, &ops);
	list_init(&record->done);
	record->block.lower = lower_take;
	record->block.info = lower_take->info;
}

static inline void record_fini(struct record *record)
{
	for (size_t i = 0; i < record->count; i++) {
		free(record->ops[i].data);
	}
	free(record->ops);
}

/* ---- a power cut --------------------------------------------------------------------------------- */

/* All that completed before this moment was flushed before the cut. */
static inline uint64_t record_flushed_before(const struct record *record, uint64_t cut)
{
	uint64_t before = 0;

	for (size_t i = 0; i < record->count; i++) {
		const struct record_op *op = &record->ops[i];

		if (op->op == BLOCK_FLUSH && op->done < cut) {
			before = num_max(before, op->submitted);
		}
	}
	return before;
}

static inline void record_play_range(int fd, const struct record_op *op, uint64_t at,
				     uint64_t bytes)
{
	if (op->op == BLOCK_WRITE) {
		check(pwrite(fd, op->data + at, bytes, (off_t)(op->offset + at)) == (ssize_t)bytes);
	} else {
		check(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)(op->offset + at), (off_t)bytes) == 0);
	}
}

/* Any sectors of it. */
static inline void record_play_torn(int fd, const struct record_op *op, uint64_t *seed)
{
	uint64_t how = record_random(seed) % 4;
	uint64_t cut = record_random(seed) % (op->bytes / 512 + 1) * 512;

	if (how == 0) {
		record_play_range(fd, op, 0, op->bytes);
	} else if (how == 1 && cut > 0) {
		record_play_range(fd, op, 0, cut);
	} else if (how == 2 && op->bytes <= 65536) {
		for (uint64_t at = 0; at < op->bytes; at += 512) {
			if (record_random(seed) & 1) {
				record_play_range(fd, op, at, 512);
			}
		}
	}
}

/* What the file, which is as it was in the beginning, holds after a power cut at this moment. */
static inline void record_play(const struct record *record, int fd, uint64_t cut, uint64_t seed)
{
	uint64_t flushed = record_flushed_before(record, cut);

	seed = seed * 0x9e3779b97f4a7c15ULL | 1;
	for (size_t i = 0; i < record->count && record->ops[i].submitted < cut; i++) {
		const struct record_op *op = &record->ops[i];
		bool durable = op->done < flushed || (op->fua && op->done < cut);

		if (op->op == BLOCK_RESIZE) {
			if (op->done < cut || (record_random(&seed) & 1)) {
				check(ftruncate(fd, (off_t)op->offset) == 0);
			}
		} else if (op->op != BLOCK_FLUSH && durable) {
			record_play_range(fd, op, 0, op->bytes);
		} else if (op->op != BLOCK_FLUSH) {
			record_play_torn(fd, op, &seed);
		}
	}
}

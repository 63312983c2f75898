/* SPDX-License-Identifier: MIT */
#include "block/fragment.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fault.h"
#include "base/num.h"
#include "block/iovec.h"

int block_fragments_init(struct block_fragments *pool, struct block *image, unsigned int count,
			 block_advance_fn *advance)
{
	void *all = MAP_FAILED;

	if (!fault_point()) {
		all = mmap(NULL, count * sizeof(*pool->all), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	}
	if (all == MAP_FAILED) {
		return -ENOMEM;
	}
	*pool = (struct block_fragments){
		.image = image,
		.advance = advance,
		.all = all,
		.count = count,
	};
	list_init(&pool->free);
	list_init(&pool->waiting);
	return 0;
}

void block_fragments_fini(struct block_fragments *pool)
{
	if (pool->all) {
		check(list_is_empty(&pool->waiting));
		munmap(pool->all, pool->count * sizeof(*pool->all));
		pool->all = NULL;
	}
}

void block_whole_begin(struct block_request *whole)
{
	whole->done_bytes = 0;
	whole->result = 0;
	whole->pending = 1;
}

void block_whole_hold(struct block_request *whole)
{
	check(whole->pending > 0);
	whole->pending++;
}

/* Whether it was the last hold. */
static bool whole_put(struct block_request *whole, int result)
{
	check(whole->pending > 0);
	if (result && !whole->result) {
		whole->result = result;
	}
	return --whole->pending == 0;
}

void block_whole_end(struct block *image, struct block_request *whole, int result)
{
	if (whole_put(whole, result)) {
		block_complete_later(image, whole, whole->result);
	}
}

/* Moves the cursor. */
static void whole_advance(struct block_request *whole, uint64_t bytes)
{
	check(bytes > 0 && bytes <= block_whole_left(whole));
	whole->done_bytes += bytes;
	if (whole->op == BLOCK_READ || whole->op == BLOCK_WRITE) {
		whole->iov = iovec_skip(whole->iov, &whole->iov_count, bytes);
	}
}

void block_whole_zero(struct block_request *whole, uint64_t bytes)
{
	uint64_t left = bytes;

	check(whole->op == BLOCK_READ);
	for (int i = 0; i < whole->iov_count && left > 0; i++) {
		size_t n = num_min(whole->iov[i].iov_len, left);

		memset(whole->iov[i].iov_base, 0, n);
		left -= n;
	}
	whole_advance(whole, bytes);
}

void block_whole_skip(struct block_request *whole, uint64_t bytes)
{
	whole_advance(whole, bytes);
}

struct block_fragment *block_fragment_get(struct block_fragments *pool, struct block_request *whole)
{
	struct block_fragment *fragment = list_first(&pool->free, struct block_fragment, link);

	if (fragment) {
		list_remove(&fragment->link);
	} else if (pool->fresh < pool->count) {
		fragment = &pool->all[pool->fresh++];
		fragment->pool = pool;
		list_init(&fragment->link);
	} else {
		list_append(&pool->waiting, &whole->link);
		return NULL;
	}
	fragment->done = NULL;
	fragment->whole = whole;
	return fragment;
}

static void fragment_on_done(struct block_request *request, int result)
{
	struct block_fragment *fragment = container_of(request, struct block_fragment, request);
	struct block_fragments *pool = fragment->pool;
	struct block_request *whole = fragment->whole, *next;

	if (fragment->done) {
		fragment->done(fragment, result);
	}
	list_prepend(&pool->free, &fragment->link);
	if (whole_put(whole, result)) {
		block_complete(whole, whole->result);
	}
	next = list_first(&pool->waiting, struct block_request, link);
	if (next) {
		list_remove(&next->link);
		pool->advance(pool->image, next);
	}
}

/* The head of the whole's iovecs, so many bytes of it, as the fragment's own. */
static void fragment_cut(struct block_fragment *fragment, uint64_t bytes)
{
	const struct block_request *whole = fragment->whole;
	int count = 0;

	for (; bytes > 0; count++) {
		size_t n = num_min(whole->iov[count].iov_len, bytes);

		check(count < whole->iov_count);
		fragment->iov[count] = (struct iovec){ whole->iov[count].iov_base, n };
		bytes -= n;
	}
	fragment->request.iov = fragment->iov;
	fragment->request.iov_count = count;
}

void block_fragment_submit(struct block_fragment *fragment, struct block *lower,
			   uint64_t offset_bytes, uint64_t bytes)
{
	struct block_request *whole = fragment->whole, *request = &fragment->request;

	request->op = whole->op;
	request->fua = whole->fua;
	request->may_unmap = whole->may_unmap;
	request->offset_bytes = offset_bytes;
	request->length_bytes = bytes;
	request->iov_count = 0;
	request->done = fragment_on_done;
	if (whole->op == BLOCK_READ || whole->op == BLOCK_WRITE) {
		fragment_cut(fragment, bytes);
	}
	whole_advance(whole, bytes);
	whole->pending++;
	block_submit(lower, request);
}

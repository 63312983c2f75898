/* SPDX-License-Identifier: MIT */
#include "block/shadow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fault.h"

int block_shadows_init(struct block_shadows *pool, unsigned int count, bool with_iovs)
{
	void *iovs = NULL;
	struct block_shadow *all = fault_alloc(count, sizeof(*all));

	if (all && with_iovs) {
		iovs = fault_point() ? MAP_FAILED
				     : mmap(NULL, count * BLOCK_IOVECS_MAX * sizeof(*pool->iovs),
					    PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	}
	if (!all || iovs == MAP_FAILED) {
		free(all);
		return -ENOMEM;
	}
	*pool = (struct block_shadows){ .all = all, .count = count, .iovs = iovs };
	list_init(&pool->free);
	list_init(&pool->waiting);
	for (unsigned int i = 0; i < count; i++) {
		all[i].iov = iovs ? pool->iovs + (size_t)i * BLOCK_IOVECS_MAX : NULL;
		list_append(&pool->free, &all[i].link);
	}
	return 0;
}

void block_shadows_fini(struct block_shadows *pool)
{
	if (!pool->all) {
		return;
	}
	check(list_is_empty(&pool->waiting));
	if (pool->iovs) {
		munmap(pool->iovs, pool->count * BLOCK_IOVECS_MAX * sizeof(*pool->iovs));
	}
	free(pool->all);
	pool->all = NULL;
}

void block_shadow_rewind(struct block_shadow *shadow)
{
	const struct block_request *whole = shadow->whole;
	struct block_request *request = &shadow->request;

	request->op = whole->op;
	request->fua = whole->fua;
	request->may_unmap = whole->may_unmap;
	request->offset_bytes = whole->offset_bytes;
	request->length_bytes = whole->length_bytes;
	request->iov = whole->iov;
	request->iov_count = 0;
	if (whole->op != BLOCK_READ && whole->op != BLOCK_WRITE) {
		return;
	}
	request->iov_count = whole->iov_count;
	if (shadow->iov) {
		memcpy(shadow->iov, whole->iov, (size_t)whole->iov_count * sizeof(*whole->iov));
		request->iov = shadow->iov;
	}
}

struct block_shadow *block_shadow_get(struct block_shadows *pool, struct block_request *whole)
{
	struct block_shadow *shadow = list_first(&pool->free, struct block_shadow, link);

	if (!shadow) {
		list_append(&pool->waiting, &whole->link);
		return NULL;
	}
	list_remove(&shadow->link);
	shadow->whole = whole;
	block_shadow_rewind(shadow);
	return shadow;
}

struct block_request *block_shadow_put(struct block_shadows *pool, struct block_shadow *shadow)
{
	struct block_request *next = list_first(&pool->waiting, struct block_request, link);

	shadow->whole->map = shadow->request.map;
	/* The one used last is the one in the cache. */
	list_prepend(&pool->free, &shadow->link);
	if (next) {
		list_remove(&next->link);
	}
	return next;
}

/* SPDX-License-Identifier: MIT */
#include "vmbus/gpadl.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/list.h"
#include "base/num.h"
#include "vmbus/gpadl_internal.h"

/* Before the page numbers: length and offset of the range. */
#define RANGE_HEADER_BYTES 8

struct gpadl {
	struct list link; /* in table->live, or in table->dying once torn down */
	struct gpadl_table *table;
	atomic_uint users; /* the table's own reference included */
	struct loop_work gone;
	uint32_t id, relid;
	uint32_t offset_bytes, length_bytes;
	bool is_quiet; /* the connection is over: do not tell */
	size_t gfn_count, gfns_seen;
	uint64_t gfns[];
};

struct gpadl_table {
	const struct mem *mem;
	struct loop *loop;
	gpadl_gone_fn *gone;
	void *ctx;
	uint64_t pages; /* in all, also the dying */
	uint32_t count;
	pthread_mutex_t
		lock; /* `live`, against lookups from I/O loops; nothing is taken under it */
	struct list live;
	struct list dying;
};

int gpadl_table_create(const struct mem *mem, struct loop *control_loop, gpadl_gone_fn *gone,
		       void *ctx, struct gpadl_table **ret)
{
	struct gpadl_table *table = fault_alloc(1, sizeof(*table));

	if (!table) {
		return -ENOMEM;
	}
	table->mem = mem;
	table->loop = control_loop;
	table->gone = gone;
	table->ctx = ctx;
	list_init(&table->live);
	list_init(&table->dying);
	pthread_mutex_init(&table->lock, NULL);
	*ret = table;
	return 0;
}

static void free_gpadl(struct gpadl *gpadl)
{
	struct gpadl_table *table = gpadl->table;

	list_remove(&gpadl->link);
	table->pages -= gpadl->gfn_count;
	table->count--;
	free(gpadl);
}

/* The last reference is gone; the control loop. */
static void on_gone(struct loop_work *work)
{
	struct gpadl *gpadl = container_of(work, struct gpadl, gone);
	struct gpadl_table *table = gpadl->table;
	uint32_t id = gpadl->id;
	bool is_quiet = gpadl->is_quiet;

	free_gpadl(gpadl);
	if (!is_quiet) {
		table->gone(table->ctx, id);
	}
}

void gpadl_put(struct gpadl *gpadl)
{
	if (gpadl && atomic_fetch_sub(&gpadl->users, 1) == 1) {
		loop_post(gpadl->table->loop, &gpadl->gone);
	}
}

void gpadl_table_destroy(struct gpadl_table *table)
{
	if (!table) {
		return;
	}
	gpadl_table_clear(table);
	list_for_each_safe (it, &table->dying) {
		struct gpadl *gpadl = list_entry(it, struct gpadl, link);

		check(gpadl->users == 0); /* only its funeral was still to come */
		loop_cancel(table->loop, &gpadl->gone);
		free_gpadl(gpadl);
	}
	pthread_mutex_destroy(&table->lock);
	free(table);
}

static bool is_complete(const struct gpadl *gpadl)
{
	return gpadl->gfns_seen == gpadl->gfn_count;
}

static struct gpadl *find(struct gpadl_table *table, uint32_t id)
{
	list_for_each (it, &table->live) {
		struct gpadl *gpadl = list_entry(it, struct gpadl, link);

		if (gpadl->id == id) {
			return gpadl;
		}
	}
	return NULL;
}

static int take_gfns(struct gpadl *gpadl, const uint8_t *bytes, uint32_t length)
{
	size_t n = num_min(length / 8, gpadl->gfn_count - gpadl->gfns_seen);

	if (n == 0 && !is_complete(gpadl)) {
		return -EBADMSG; /* a message without progress */
	}
	for (size_t i = 0; i < n; i++) {
		uint64_t gfn = bytes_le64(bytes + i * 8);

		if (gfn >= 1ULL << 52 ||
		    !mem_hva(gpadl->table->mem, gfn << MEM_PAGE_SHIFT, MEM_PAGE_BYTES)) {
			return -EFAULT;
		}
		gpadl->gfns[gpadl->gfns_seen++] = gfn;
	}
	return is_complete(gpadl);
}

/* Out of the live ones; freed when nobody uses it. */
static void bury(struct gpadl *gpadl, bool is_quiet)
{
	struct gpadl_table *table = gpadl->table;

	pthread_mutex_lock(&table->lock);
	list_remove(&gpadl->link);
	list_append(&table->dying, &gpadl->link);
	pthread_mutex_unlock(&table->lock);
	gpadl->is_quiet = is_quiet;
	gpadl_put(gpadl);
}

static struct gpadl *make(struct gpadl_table *table, uint32_t relid, uint32_t id, uint32_t length,
			  uint32_t offset, size_t pages)
{
	struct gpadl *gpadl = fault_alloc(1, sizeof(*gpadl) + pages * sizeof(uint64_t));

	if (!gpadl) {
		return NULL;
	}
	gpadl->table = table;
	gpadl->users = 1;
	gpadl->id = id;
	gpadl->relid = relid;
	gpadl->offset_bytes = offset;
	gpadl->length_bytes = length;
	gpadl->gfn_count = pages;
	loop_work_init(&gpadl->gone, on_gone);
	table->pages += pages;
	table->count++;
	pthread_mutex_lock(&table->lock);
	list_prepend(&table->live, &gpadl->link);
	pthread_mutex_unlock(&table->lock);
	return gpadl;
}

int gpadl_table_begin(struct gpadl_table *table, uint32_t relid, uint32_t id, uint32_t range_count,
		      const uint8_t *bytes, uint32_t length)
{
	if (range_count != 1 || length < RANGE_HEADER_BYTES) {
		return -EBADMSG;
	}
	uint32_t range_length = bytes_le32(bytes), offset = bytes_le32(bytes + 4);
	uint64_t span = (uint64_t)offset + range_length;
	uint64_t pages = (span + MEM_PAGE_BYTES - 1) >> MEM_PAGE_SHIFT;

	if (offset >= MEM_PAGE_BYTES || range_length == 0) {
		return -EBADMSG;
	}
	if (find(table, id)) {
		return -EEXIST;
	}
	if (table->count >= GPADL_COUNT_MAX || pages > GPADL_PAGES_MAX - table->pages) {
		return -ENOSPC;
	}
	struct gpadl *gpadl = make(table, relid, id, range_length, offset, pages);

	if (!gpadl) {
		return -ENOMEM;
	}
	if (length == RANGE_HEADER_BYTES) {
		return 0; /* all of them follow */
	}
	int done = take_gfns(gpadl, bytes + RANGE_HEADER_BYTES, length - RANGE_HEADER_BYTES);

	if (done < 0) {
		bury(gpadl, true);
	}
	return done;
}

int gpadl_table_append(struct gpadl_table *table, uint32_t id, const uint8_t *bytes,
		       uint32_t length, uint32_t *ret_relid)
{
	struct gpadl *gpadl = find(table, id);

	if (!gpadl || is_complete(gpadl)) {
		return -ENOENT;
	}
	*ret_relid = gpadl->relid;
	int done = take_gfns(gpadl, bytes, length);

	if (done < 0) {
		bury(gpadl, true);
	}
	return done;
}

int gpadl_table_teardown(struct gpadl_table *table, uint32_t id)
{
	struct gpadl *gpadl = find(table, id);

	if (!gpadl) {
		return -ENOENT;
	}
	bury(gpadl, false);
	return 0;
}

void gpadl_table_clear(struct gpadl_table *table)
{
	list_for_each (it, &table->dying) {
		list_entry(it, struct gpadl, link)->is_quiet = true;
	}
	list_for_each_safe (it, &table->live) {
		bury(list_entry(it, struct gpadl, link), true);
	}
}

int gpadl_table_get(struct gpadl_table *table, uint32_t relid, uint32_t id, struct gpadl **ret)
{
	int err = -ENOENT;

	pthread_mutex_lock(&table->lock);
	struct gpadl *gpadl = find(table, id);

	if (gpadl && gpadl->relid == relid && is_complete(gpadl)) {
		atomic_fetch_add(&gpadl->users, 1);
		*ret = gpadl;
		err = 0;
	}
	pthread_mutex_unlock(&table->lock);
	return err;
}

uint32_t gpadl_table_relid(struct gpadl_table *table, uint32_t id)
{
	const struct gpadl *gpadl = find(table, id);

	return gpadl ? gpadl->relid : 0;
}

void gpadl_table_each(struct gpadl_table *table, uint32_t relid, gpadl_each_fn *fn, void *ctx)
{
	list_for_each (it, &table->live) {
		const struct gpadl *gpadl = list_entry(it, struct gpadl, link);

		if (gpadl->relid == relid && is_complete(gpadl)) {
			fn(ctx, gpadl);
		}
	}
}

uint32_t gpadl_table_count(const struct gpadl_table *table)
{
	return table->count;
}

/* ---- for users ---- */

uint32_t gpadl_id(const struct gpadl *gpadl)
{
	return gpadl->id;
}

uint32_t gpadl_offset(const struct gpadl *gpadl)
{
	return gpadl->offset_bytes;
}

uint64_t gpadl_bytes(const struct gpadl *gpadl)
{
	return gpadl->length_bytes;
}

const uint64_t *gpadl_gfns(const struct gpadl *gpadl, size_t *ret_count)
{
	*ret_count = gpadl->gfn_count;
	return gpadl->gfns;
}

/* One step of a walk over [offset, offset + bytes): the pointer and how far it reaches. */
static uint8_t *step(const struct gpadl *gpadl, uint64_t offset, size_t bytes, size_t *ret_bytes)
{
	uint64_t at = gpadl->offset_bytes + offset;
	uint64_t in_page = at % MEM_PAGE_BYTES;

	*ret_bytes = num_min(bytes, MEM_PAGE_BYTES - in_page);
	return (uint8_t *)mem_hva(gpadl->table->mem,
				  gpadl->gfns[at >> MEM_PAGE_SHIFT] << MEM_PAGE_SHIFT,
				  MEM_PAGE_BYTES) +
	       in_page;
}

int gpadl_read(const struct gpadl *gpadl, uint64_t offset, void *ret_buf, size_t bytes)
{
	uint8_t *to = ret_buf;

	if (!num_range_fits(offset, bytes, gpadl->length_bytes)) {
		return -EFAULT;
	}
	while (bytes > 0) {
		size_t n;
		const uint8_t *from = step(gpadl, offset, bytes, &n);

		memcpy(to, from, n);
		to += n;
		offset += n;
		bytes -= n;
	}
	return 0;
}

int gpadl_write(const struct gpadl *gpadl, uint64_t offset, const void *buf, size_t bytes)
{
	const uint8_t *from = buf;

	if (!num_range_fits(offset, bytes, gpadl->length_bytes)) {
		return -EFAULT;
	}
	while (bytes > 0) {
		size_t n;
		uint8_t *to = step(gpadl, offset, bytes, &n);

		memcpy(to, from, n);
		from += n;
		offset += n;
		bytes -= n;
	}
	return 0;
}

int gpadl_iovec(const struct gpadl *gpadl, uint64_t offset, size_t bytes, struct iovec *ret_iov,
		int max)
{
	struct gpa_range range = { .gfns = gpadl->gfns,
				   .gfn_count = (uint32_t)gpadl->gfn_count,
				   .offset_bytes = gpadl->offset_bytes,
				   .length_bytes = gpadl->length_bytes };

	if (!num_range_fits(offset, bytes, gpadl->length_bytes)) {
		return -EFAULT;
	}
	return gpa_range_iovec(gpadl->table->mem, &range, (uint32_t)offset, (uint32_t)bytes,
			       ret_iov, max);
}

/* ---- state ---- */

enum {
	GPADL_STATE_ENTRY = 1,
	GPADL_STATE_ID = 1,
	GPADL_STATE_RELID = 2,
	GPADL_STATE_OFFSET = 3,
	GPADL_STATE_LENGTH = 4,
	GPADL_STATE_GFNS = 5
};

void gpadl_table_save(struct gpadl_table *table, struct save *save)
{
	/* Newest first in the list; loading prepends, so save the oldest first. */
	for (struct list *it = table->live.prev; it != &table->live; it = it->prev) {
		struct gpadl *gpadl = list_entry(it, struct gpadl, link);

		save_group_begin(save, GPADL_STATE_ENTRY);
		save_u32(save, GPADL_STATE_ID, gpadl->id);
		save_u32(save, GPADL_STATE_RELID, gpadl->relid);
		save_u32(save, GPADL_STATE_OFFSET, gpadl->offset_bytes);
		save_u32(save, GPADL_STATE_LENGTH, gpadl->length_bytes);
		save_bytes(save, GPADL_STATE_GFNS, gpadl->gfns, gpadl->gfns_seen * 8);
		save_group_end(save);
	}
}

static int load_entry(struct gpadl_table *table, struct load *load)
{
	uint32_t id = 0, relid = 0, seen_bytes = 0;
	uint8_t head[RANGE_HEADER_BYTES] = { 0 };
	const uint8_t *gfns = NULL;
	struct load_field f;

	while (load_next(load, &f)) {
		switch (f.tag) {
		case GPADL_STATE_ID:
			id = load_u32(load, &f);
			break;
		case GPADL_STATE_RELID:
			relid = load_u32(load, &f);
			break;
		case GPADL_STATE_OFFSET:
			bytes_put_le32(head + 4, load_u32(load, &f));
			break;
		case GPADL_STATE_LENGTH:
			bytes_put_le32(head, load_u32(load, &f));
			break;
		case GPADL_STATE_GFNS:
			gfns = f.bytes;
			seen_bytes = f.length;
			break;
		default:
			break;
		}
	}
	int err = load_result(load);

	if (!err) {
		err = gpadl_table_begin(table, relid, id, 1, head, RANGE_HEADER_BYTES);
	}
	if (err >= 0 && seen_bytes) {
		err = gpadl_table_append(table, id, gfns, seen_bytes, &relid);
	}
	return err < 0 ? err : 0;
}

int gpadl_table_load(struct gpadl_table *table, struct load *load)
{
	struct load_field f;
	struct load inner;

	while (load_next(load, &f)) {
		if (f.tag == GPADL_STATE_ENTRY) {
			load_group(load, &f, &inner);
			if (load_entry(table, &inner)) {
				load_fail(load);
			}
			load_close(load, &inner);
		}
	}
	return load_result(load);
}

/* SPDX-License-Identifier: MIT */
/*
 * VHDX: giving space back. An ordinary open image does the work, so each step is as safe as a guest's
 * write: blocks that hold nothing of their own are dropped; then, from the end of the file, blocks move
 * into gaps before them; the log names a block's new place when its data are there, and the old place is
 * free only then. Closing cuts the file off. What a guest sees does not change, and children stay valid.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

#define COMPACT_PIECE_BYTES (1U << 20)
/* Moved between two commits. */
#define COMPACT_BATCH       64

struct place {
	uint64_t offset, index;
};

struct compact {
	struct vhdx *vhdx;
	struct block_sync *sync;
	struct block_request request; /* straight to the file or to the parent */
	struct iovec iov;
	bool is_done;
	int result;
	const struct image_progress *progress;
	uint64_t done, total;
	uint8_t *buf, *other;
	struct place old[COMPACT_BATCH]; /* moved away from, not committed yet */
	unsigned int olds;
};

static bool compact_go_on(struct compact *compact, uint64_t done)
{
	const struct image_progress *progress = compact->progress;

	compact->done += done;
	return !progress || !progress->report ||
	       progress->report(progress->ctx, num_min(compact->done, compact->total),
				compact->total);
}

static void compact_on_done(struct block_request *request, int result)
{
	struct compact *compact = container_of(request, struct compact, request);

	compact->is_done = true;
	compact->result = result;
}

/* Below the image, on the image's loop. */
static int compact_io(struct compact *compact, struct block *block, enum block_op op,
		      uint64_t offset, void *buf, uint64_t bytes)
{
	struct block_request *request = &compact->request;

	compact->iov = (struct iovec){ buf, bytes };
	request->op = op;
	request->offset_bytes = offset;
	request->length_bytes = bytes;
	request->iov = &compact->iov;
	request->iov_count = 1;
	request->done = compact_on_done;
	compact->is_done = false;
	block_submit(block, request);
	while (!compact->is_done) {
		loop_turn(block_sync_loop(compact->sync));
	}
	return compact->result;
}

static int compact_open_session(struct compact *compact)
{
	struct vhdx *vhdx = compact->vhdx;

	vhdx->log.keeps_data = true;
	vhdx_log_open_session(vhdx);
	while (vhdx->session == VHDX_OPENING) {
		loop_turn(block_sync_loop(compact->sync));
	}
	return vhdx->session == VHDX_OPEN ? 0 : -EIO;
}

/* ---- blocks that hold nothing of their own ------------------------------------------------------- */

static bool is_zero(const uint8_t *buf, size_t bytes)
{
	return buf[0] == 0 && memcmp(buf, buf + 1, bytes - 1) == 0;
}

/* The parent's bytes, with zeroes beyond its end. */
static int compact_read_parent(struct compact *compact, uint64_t offset, uint64_t bytes)
{
	struct block *parent = compact->vhdx->parent;
	uint64_t end = block_info(parent)->bytes;
	uint64_t there = offset < end ? num_min(bytes, end - offset) : 0;

	memset(compact->other, 0, bytes);
	return there ? compact_io(compact, parent, BLOCK_READ, offset, compact->other, there) : 0;
}

/* Whether the whole block is zeroes; whether it is what the parent has. */
static int compact_look(struct compact *compact, uint64_t block, bool *ret_zero, bool *ret_same)
{
	const struct vhdx_geometry *geometry = &compact->vhdx->geometry;
	uint64_t span = vhdx_block_span(geometry, block), start = block << geometry->block_shift;
	bool zero = true, same = compact->vhdx->parent != NULL;
	int err = 0;

	for (uint64_t at = 0; at < span && (zero || same) && !err; at += COMPACT_PIECE_BYTES) {
		uint64_t bytes = num_min(span - at, COMPACT_PIECE_BYTES);

		err = block_sync_read(compact->sync, start + at, compact->buf, bytes);
		zero = zero && !err && is_zero(compact->buf, bytes);
		if (same && !err) {
			err = compact_read_parent(compact, start + at, bytes);
			same = !err && memcmp(compact->buf, compact->other, bytes) == 0;
		}
	}
	*ret_zero = zero && !err;
	*ret_same = same && !err;
	return err;
}

static int compact_drop(struct compact *compact, uint64_t block)
{
	struct vhdx *vhdx = compact->vhdx;
	uint64_t index = vhdx_bat_index(&vhdx->geometry, block);
	uint64_t *entry = &vhdx->bat[index];
	bool zero, same;
	int err = compact_look(compact, block, &zero, &same);

	if (!err && (same || zero)) {
		*entry = (*entry & VHDX_BAT_OFFSET) | VHDX_FREEING |
			 (same ? VHDX_NOT_PRESENT : VHDX_ZERO);
		vhdx->allocated--;
		vhdx_dirty_entry(vhdx, index);
	}
	return err;
}

static int compact_drop_all(struct compact *compact)
{
	struct vhdx *vhdx = compact->vhdx;
	int err = 0;

	for (uint64_t block = 0; block < vhdx->geometry.blocks && !err; block++) {
		if (vhdx_is_present(vhdx->bat[vhdx_bat_index(&vhdx->geometry, block)])) {
			err = compact_drop(compact, block);
		}
		if (!err && !compact_go_on(compact, 1)) {
			err = -ECANCELED;
		}
	}
	return err;
}

/* Commits, and waits until what is to be freed is. */
static int compact_settle(struct compact *compact)
{
	struct vhdx *vhdx = compact->vhdx;
	int err = block_sync_flush(compact->sync);

	while (!err && vhdx->log.stage != VHDX_IDLE) {
		loop_turn(block_sync_loop(compact->sync));
	}
	return err ? err : vhdx->log.broken;
}

/* ---- moving -------------------------------------------------------------------------------------- */

static int place_compare(const void *a, const void *b)
{
	uint64_t x = ((const struct place *)a)->offset, y = ((const struct place *)b)->offset;

	return x < y ? 1 : x > y ? -1 : 0; /* the last in the file first */
}

/* All that may move. */
static int compact_places(const struct vhdx *vhdx, struct place **ret, uint64_t *ret_count)
{
	uint64_t count = 0;
	struct place *places;

	for (uint64_t i = 0; i < vhdx->geometry.entries; i++) {
		count += vhdx_is_present(vhdx->bat[i]);
	}
	places = fault_alloc(count + 1, sizeof(*places));
	if (!places) {
		return -ENOMEM;
	}
	count = 0;
	for (uint64_t i = 0; i < vhdx->geometry.entries; i++) {
		if (vhdx_is_present(vhdx->bat[i])) {
			places[count++] = (struct place){ vhdx->bat[i] & VHDX_BAT_OFFSET, i };
		}
	}
	qsort(places, count, sizeof(*places), place_compare);
	*ret = places;
	*ret_count = count;
	return 0;
}

static uint64_t place_bytes(const struct vhdx *vhdx, uint64_t index)
{
	return vhdx_bat_is_bitmap(&vhdx->geometry, index) ? VHDX_BITMAP_BYTES
							  : vhdx->geometry.block_bytes;
}

static int compact_commit(struct compact *compact)
{
	struct vhdx *vhdx = compact->vhdx;
	int err = compact_settle(compact);

	for (unsigned int i = 0; i < compact->olds && !err; i++) {
		vhdx_space_free(&vhdx->space, compact->old[i].offset,
				place_bytes(vhdx, compact->old[i].index), false);
	}
	compact->olds = 0;
	return err;
}

/* A piece of a block to its new place; holes stay holes. */
static int compact_put(struct compact *compact, uint64_t to)
{
	struct block *file = compact->vhdx->block.lower;
	bool hole = block_info(file)->can_discard && is_zero(compact->buf, COMPACT_PIECE_BYTES);

	return compact_io(compact, file, hole ? BLOCK_DISCARD : BLOCK_WRITE, to, compact->buf,
			  COMPACT_PIECE_BYTES);
}

static int compact_move(struct compact *compact, const struct place *place, uint64_t to)
{
	struct vhdx *vhdx = compact->vhdx;
	uint64_t bytes = place_bytes(vhdx, place->index);
	int err = 0;

	check(vhdx_space_mark(&vhdx->space, to, bytes));
	for (uint64_t at = 0; at < bytes && !err; at += COMPACT_PIECE_BYTES) {
		err = compact_io(compact, vhdx->block.lower, BLOCK_READ, place->offset + at,
				 compact->buf, COMPACT_PIECE_BYTES);
		err = err ? err : compact_put(compact, to + at);
	}
	if (err) {
		return err;
	}
	vhdx->bat[place->index] = to | vhdx_state(vhdx->bat[place->index]);
	vhdx_dirty_entry(vhdx, place->index);
	compact->old[compact->olds++] = *place;
	return compact->olds == COMPACT_BATCH ? compact_commit(compact) : 0;
}

static int compact_move_all(struct compact *compact)
{
	struct vhdx *vhdx = compact->vhdx;
	struct place *places = NULL;
	uint64_t count = 0;
	int err = compact_places(vhdx, &places, &count);

	for (uint64_t i = 0; i < count && !err; i++) {
		uint64_t bytes = place_bytes(vhdx, places[i].index);
		uint64_t to = vhdx_space_find(&vhdx->space, bytes, places[i].offset);

		if (to) {
			err = compact_move(compact, &places[i], to);
		}
		if (!err && !compact_go_on(compact, 1)) {
			err = -ECANCELED;
		}
	}
	free(places);
	return err ? err : compact_commit(compact);
}

/* ---- all ----------------------------------------------------------------------------------------- */

int vhdx_compact_started(struct block_sync *sync, const struct image_progress *progress)
{
	struct vhdx *vhdx = vhdx_find(block_sync_block(sync));
	struct compact all = { .vhdx = vhdx, .sync = sync, .progress = progress };
	struct compact *compact = &all;
	int err = -ENOMEM;

	compact->total = 2 * vhdx->geometry.blocks;
	compact->buf = fault_alloc(1, COMPACT_PIECE_BYTES);
	compact->other = fault_alloc(1, COMPACT_PIECE_BYTES);
	/* All that is free counts, whether it can be punched or not: moving writes all of it. */
	vhdx->space.can_punch = true;
	if (compact->buf && compact->other) {
		err = compact_open_session(compact);
		err = err ? err : compact_drop_all(compact);
		err = err ? err : compact_settle(compact);
		err = err ? err : compact_move_all(compact);
	}
	free(compact->buf);
	free(compact->other);
	return err;
}

int vhdx_compact(const char *path, const struct image_progress *progress, uint64_t *ret_bytes,
		 struct diag *reterr)
{
	struct block_config config = { .kind = BLOCK_VHDX, .path = path };
	struct block_sync *sync;
	struct vhdx *vhdx;
	uint64_t before, after;
	struct block *block;
	int err = block_open(&config, &block, reterr);

	if (err) {
		return err;
	}
	vhdx = vhdx_find(block);
	if (vhdx->geometry.is_fixed) {
		block_close(block);
		return diag_set(reterr, -EOPNOTSUPP,
				"image %.200s is fixed, which cannot be compacted: convert it to a "
				"dynamic one",
				path);
	}
	before = block_info(vhdx->block.lower)->bytes;
	err = block_sync_create(block, &sync, reterr);
	if (!err) {
		err = vhdx_compact_started(sync, progress);
		if (err) {
			diag_set(reterr, err, "image %.200s cannot be compacted: %s", path,
				 strerror(-err));
		}
		block_sync_destroy(sync);
	}
	after = block_info(vhdx->block.lower)->bytes;
	block_close(block);
	if (!err) {
		*ret_bytes = before > after ? before - after : 0;
	}
	return err;
}

/* SPDX-License-Identifier: MIT */
/*
 * VHDX: requests. A present block is one look-up and one fragment. Whatever has to wait (for space, for a
 * bitmap, for the log) is parked with its cursor, and advanced again when something has changed; so each
 * step looks at the tables afresh.
 *
 *   vhdx_submit ──► advance ──► step ──► fragment ──► data_on_done ──► mark (fresh, sectors)
 *                     ▲           │                        │
 *                     └── unpark ◄┘ -EAGAIN                └──► settle: fua waits for the log (X4)
 */
#include <errno.h>

#include "base/num.h"
#include "block/vhdx_internal.h"

/* Whether this whole has a hold of ours, which settle() gives back; between layers the field is free. */
static uint32_t *whole_is_held(struct block_request *whole)
{
	return &whole->asked_bytes;
}

/* ---- parking ------------------------------------------------------------------------------------- */

int vhdx_park(struct vhdx *vhdx, struct block_request *whole)
{
	list_append(&vhdx->parked, &whole->link);
	return -EAGAIN;
}

/* Takes all that are parked now: they may be parked again. */
static void unpark_take(struct vhdx *vhdx, struct list *ret)
{
	list_init(ret);
	while (!list_is_empty(&vhdx->parked)) {
		struct list *first = vhdx->parked.next;

		list_remove(first);
		list_append(ret, first);
	}
}

static void whole_end(struct vhdx *vhdx, struct block_request *whole, int result);

static bool is_read(const struct block_request *whole)
{
	return whole->op == BLOCK_READ || whole->op == BLOCK_MAP;
}

static void unpark_all(struct vhdx *vhdx, int err, bool reads_too)
{
	struct block_request *whole;
	struct list batch;

	unpark_take(vhdx, &batch);
	while ((whole = list_first(&batch, struct block_request, link)) != NULL) {
		list_remove(&whole->link);
		if (err && (reads_too || !is_read(whole))) {
			whole_end(vhdx, whole, err);
		} else {
			vhdx_advance(&vhdx->block, whole);
		}
	}
	if (vhdx->log.is_quiescing) {
		vhdx_log_kick(vhdx);
	}
}

void vhdx_unpark(struct vhdx *vhdx)
{
	unpark_all(vhdx, 0, false);
}

void vhdx_unpark_failed(struct vhdx *vhdx, int err)
{
	unpark_all(vhdx, err, false);
}

void vhdx_unpark_ended(struct vhdx *vhdx, int err)
{
	unpark_all(vhdx, err, true);
}

/* ---- ends ---------------------------------------------------------------------------------------- */

/* All parts of a write with fua are done: it is, when the log holds what they have changed. */
static void whole_settle(struct vhdx *vhdx, struct block_request *whole)
{
	*whole_is_held(whole) = 0;
	if (whole->result == 0 && vhdx->log.broken) {
		block_whole_end(&vhdx->block, whole, vhdx->log.broken);
	} else if (whole->result == 0 && vhdx_log_is_needed(vhdx)) {
		vhdx_log_wait(vhdx, whole);
	} else {
		block_whole_end(&vhdx->block, whole, 0);
	}
}

/* Gives advance's hold back. */
static void whole_end(struct vhdx *vhdx, struct block_request *whole, int result)
{
	bool settles = *whole_is_held(whole) && whole->pending == 2;

	block_whole_end(&vhdx->block, whole, result);
	if (settles) {
		whole_settle(vhdx, whole);
	}
}

/* ---- data ---------------------------------------------------------------------------------------- */

/* A fragment's context: the block, and these. */
#define DATA_EPOCH (1ULL << 63)
#define DATA_MARK  (1ULL << 62)

static void data_on_done(struct block_fragment *fragment, int result)
{
	struct vhdx *vhdx = vhdx_of(fragment->pool->image);
	struct block_request *whole = fragment->whole;
	uint64_t block = fragment->context & ~(DATA_EPOCH | DATA_MARK);
	unsigned int epoch = (fragment->context & DATA_EPOCH) != 0;

	if (result == 0 && (fragment->context & DATA_MARK)) {
		uint64_t offset =
			vhdx->bat[vhdx_bat_index(&vhdx->geometry, block)] & VHDX_BAT_OFFSET;

		vhdx_mark(vhdx, block, fragment->request.offset_bytes - offset,
			  fragment->request.length_bytes);
	}
	if (--vhdx->in_flight[epoch] == 0 && epoch != vhdx->epoch) {
		vhdx_log_drained(vhdx);
	}
	/* What is left: this fragment's hold and ours. */
	if (*whole_is_held(whole) && whole->pending == 2) {
		if (result && !whole->result) {
			whole->result = result;
		}
		whole_settle(vhdx, whole);
	}
}

int vhdx_submit_data(struct vhdx *vhdx, struct block_request *whole, const struct vhdx_piece *piece,
		     bool mark)
{
	struct block_fragment *fragment = block_fragment_get(&vhdx->fragments, whole);

	if (!fragment) {
		return -EAGAIN;
	}
	fragment->done = data_on_done;
	fragment->context = piece->block | (mark ? DATA_MARK : 0) | (vhdx->epoch ? DATA_EPOCH : 0);
	vhdx->in_flight[vhdx->epoch]++;
	block_fragment_submit(fragment, vhdx->block.lower,
			      (vhdx->bat[piece->index] & VHDX_BAT_OFFSET) + piece->at,
			      piece->bytes);
	return 0;
}

/* ---- reading ------------------------------------------------------------------------------------- */

/* What this disk does not have: the parent's, or zeroes. */
static int step_read_parent(struct vhdx *vhdx, struct block_request *whole, uint64_t bytes)
{
	uint64_t offset = whole->offset_bytes + whole->done_bytes;
	struct block_fragment *fragment;
	uint64_t end = vhdx->parent ? block_info(vhdx->parent)->bytes : 0;

	if (offset >= end) {
		block_whole_zero(whole, bytes);
		return 0;
	}
	fragment = block_fragment_get(&vhdx->fragments, whole);
	if (!fragment) {
		return -EAGAIN;
	}
	block_fragment_submit(fragment, vhdx->parent, offset, num_min(bytes, end - offset));
	return 0;
}

static int step_read_partial(struct vhdx *vhdx, struct block_request *whole,
			     const struct vhdx_piece *piece)
{
	struct vhdx_piece run = *piece;

	if (vhdx_bitmap_load(vhdx, piece->block, piece->at, piece->bytes)) {
		return vhdx_park(vhdx, whole);
	}
	if (vhdx_bitmap_run(vhdx, piece->block, piece->at, piece->bytes, &run.bytes)) {
		return vhdx_submit_data(vhdx, whole, &run, false);
	}
	return step_read_parent(vhdx, whole, run.bytes);
}

static int step_read(struct vhdx *vhdx, struct block_request *whole, const struct vhdx_piece *piece)
{
	switch (vhdx_state(vhdx->bat[piece->index])) {
	case VHDX_FULLY_PRESENT:
		return vhdx_submit_data(vhdx, whole, piece, false);
	case VHDX_PARTIALLY_PRESENT:
		return step_read_partial(vhdx, whole, piece);
	case VHDX_NOT_PRESENT:
		return step_read_parent(vhdx, whole, piece->bytes);
	default:
		block_whole_zero(whole, piece->bytes);
		return 0;
	}
}

/* ---- mapping ------------------------------------------------------------------------------------- */

/* Of one block, or of a run of sectors of it. */
static int map_block(struct vhdx *vhdx, struct block_request *whole, const struct vhdx_piece *piece,
		     struct block_map *ret)
{
	uint64_t entry = vhdx->bat[piece->index];
	bool present = true;

	*ret = (struct block_map){ BLOCK_MAP_DATA, piece->bytes,
				   (entry & VHDX_BAT_OFFSET) + piece->at };
	switch (vhdx_state(entry)) {
	case VHDX_FULLY_PRESENT:
		return 0;
	case VHDX_PARTIALLY_PRESENT:
		if (vhdx_bitmap_load(vhdx, piece->block, piece->at, piece->bytes)) {
			return vhdx_park(vhdx, whole);
		}
		present = vhdx_bitmap_run(vhdx, piece->block, piece->at, piece->bytes, &ret->bytes);
		break;
	case VHDX_NOT_PRESENT:
		present = false;
		break;
	default:
		ret->kind = BLOCK_MAP_ZERO;
		ret->file_offset_bytes = ~0ULL;
		return 0;
	}
	if (!present) {
		ret->kind = vhdx->parent ? BLOCK_MAP_PARENT : BLOCK_MAP_ZERO;
		ret->file_offset_bytes = ~0ULL;
	}
	return 0;
}

static void piece_at(const struct vhdx *vhdx, uint64_t offset, uint64_t left,
		     struct vhdx_piece *ret)
{
	const struct vhdx_geometry *geometry = &vhdx->geometry;

	ret->block = offset >> geometry->block_shift;
	ret->index = vhdx_bat_index(geometry, ret->block);
	ret->at = offset & (geometry->block_bytes - 1);
	ret->bytes = num_min(left, geometry->block_bytes - ret->at);
}

/* Blocks that go on in the same way, so many at most in one answer. */
#define MAP_BLOCKS_MAX 4096

static int step_map(struct vhdx *vhdx, struct block_request *whole)
{
	uint64_t done = 0;

	for (unsigned int i = 0; i < MAP_BLOCKS_MAX && done < whole->length_bytes; i++) {
		struct block_map map, *all = &whole->map;
		struct vhdx_piece piece;
		int err;

		piece_at(vhdx, whole->offset_bytes + done, whole->length_bytes - done, &piece);
		err = map_block(vhdx, whole, &piece, &map);
		if (err) {
			return err;
		}
		if (done == 0) {
			*all = map;
		} else if (map.kind != all->kind ||
			   (map.kind == BLOCK_MAP_DATA &&
			    map.file_offset_bytes != all->file_offset_bytes + done)) {
			break;
		} else {
			all->bytes += map.bytes;
		}
		done += map.bytes;
		if (map.bytes < piece.bytes) {
			break;
		}
	}
	return 0;
}

/* ---- all ----------------------------------------------------------------------------------------- */

static int advance_step(struct vhdx *vhdx, struct block_request *whole)
{
	struct vhdx_piece piece;

	piece_at(vhdx, whole->offset_bytes + whole->done_bytes, block_whole_left(whole), &piece);
	switch (whole->op) {
	case BLOCK_READ:
		return step_read(vhdx, whole, &piece);
	case BLOCK_WRITE:
		return vhdx_step_write(vhdx, whole, &piece);
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		return vhdx_step_clear(vhdx, whole, &piece);
	case BLOCK_FLUSH:
	case BLOCK_RESIZE:
	case BLOCK_MAP:
		break;
	}
	check(false);
}

void vhdx_advance(struct block *block, struct block_request *whole)
{
	struct vhdx *vhdx = vhdx_of(block);
	int err = 0;

	if (whole->op == BLOCK_RESIZE) {
		err = vhdx_step_resize(vhdx, whole);
	} else if (whole->op == BLOCK_MAP) {
		err = step_map(vhdx, whole);
	} else {
		while (!err && block_whole_left(whole) > 0) {
			err = advance_step(vhdx, whole);
		}
	}
	if (err != -EAGAIN) {
		whole_end(vhdx, whole, err);
	}
}

static void submit_flush(struct vhdx *vhdx, struct block_request *whole)
{
	if (vhdx->log.broken) {
		block_complete_later(&vhdx->block, whole, vhdx->log.broken);
	} else if (vhdx_log_is_needed(vhdx)) {
		block_whole_begin(whole);
		vhdx_log_wait(vhdx, whole);
	} else {
		block_forward(vhdx->block.lower, whole);
	}
}

void vhdx_submit(struct block *block, struct block_request *whole)
{
	struct vhdx *vhdx = vhdx_of(block);

	if (whole->op == BLOCK_FLUSH) {
		submit_flush(vhdx, whole);
		return;
	}
	if (!is_read(whole) && vhdx->log.broken) {
		block_complete_later(block, whole, vhdx->log.broken);
		return;
	}
	block_whole_begin(whole);
	*whole_is_held(whole) = whole->op == BLOCK_WRITE && whole->fua;
	if (*whole_is_held(whole)) {
		block_whole_hold(whole);
	}
	vhdx_advance(block, whole);
}

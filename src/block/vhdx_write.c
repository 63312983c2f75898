/* SPDX-License-Identifier: MIT */
/* VHDX: requests that change something: the tables in memory, at once; vhdx_log.c brings it to the file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

/* The first change of all needs new GUIDs in the headers. */
static int step_session(struct vhdx *vhdx, struct block_request *whole)
{
	if (vhdx->log.broken) {
		return vhdx->log.broken;
	}
	if (vhdx->session == VHDX_OPEN) {
		return 0;
	}
	vhdx_log_open_session(vhdx);
	return vhdx_park(vhdx, whole);
}

void vhdx_mark(struct vhdx *vhdx, uint64_t block, uint64_t at, uint64_t bytes)
{
	uint64_t index = vhdx_bat_index(&vhdx->geometry, block), run;
	uint64_t *entry = &vhdx->bat[index];
	uint64_t span = vhdx_block_span(&vhdx->geometry, block);

	if (*entry & VHDX_FRESH) {
		*entry &= ~(VHDX_FRESH | VHDX_OLD);
		vhdx->fresh--;
		vhdx_dirty_entry(vhdx, index);
	}
	if (vhdx_state(*entry) != VHDX_PARTIALLY_PRESENT) {
		return; /* discarded meanwhile, perhaps */
	}
	vhdx_bitmap_set(vhdx, block, at, bytes, true);
	/* Looked at only where somebody who writes through it would end. */
	if (at + bytes == span && !vhdx_bitmap_load(vhdx, block, 0, span) &&
	    vhdx_bitmap_run(vhdx, block, 0, span, &run) && run == span) {
		*entry = (*entry & VHDX_BAT_OFFSET) | VHDX_FULLY_PRESENT;
		vhdx_dirty_entry(vhdx, index);
	}
}

/* ---- allocation ---------------------------------------------------------------------------------- */

/* With a parent: bits of the block, none of them set yet. 0, or -EAGAIN: parked, or an error. */
static int allocate_bits(struct vhdx *vhdx, struct block_request *whole, uint64_t block)
{
	uint64_t chunk = block >> vhdx->geometry.chunk_shift, offset;
	uint64_t span = vhdx_block_span(&vhdx->geometry, block);
	int err;

	if (!vhdx_is_present(vhdx->bat[vhdx_bitmap_index(&vhdx->geometry, chunk)])) {
		err = vhdx_space_take(vhdx, VHDX_BITMAP_BYTES, &offset);
		if (err) {
			return err == -EAGAIN ? vhdx_park(vhdx, whole) : err;
		}
		vhdx_bitmap_create(vhdx, chunk, offset);
	}
	if (vhdx_bitmap_load(vhdx, block, 0, span)) {
		return vhdx_park(vhdx, whole);
	}
	return 0;
}

/* The block gets space of its own, which reads as what it was: zeroes, or the parent. */
static int step_allocate(struct vhdx *vhdx, struct block_request *whole,
			 const struct vhdx_piece *piece)
{
	uint64_t *entry = &vhdx->bat[piece->index], offset;
	bool over_parent = vhdx->parent && vhdx_state(*entry) == VHDX_NOT_PRESENT;
	int err;

	if (vhdx->log.broken) {
		return vhdx->log.broken;
	}
	if (*entry & VHDX_FREEING) {
		/* What it had before is still on its way out. */
		vhdx_log_want(vhdx);
		return vhdx_park(vhdx, whole);
	}
	err = over_parent ? allocate_bits(vhdx, whole, piece->block) : 0;
	if (err) {
		return err;
	}
	err = vhdx_space_take(vhdx, vhdx->geometry.block_bytes, &offset);
	if (err) {
		return err == -EAGAIN ? vhdx_park(vhdx, whole) : err;
	}
	if (over_parent) {
		vhdx_bitmap_set(vhdx, piece->block, 0,
				vhdx_block_span(&vhdx->geometry, piece->block), false);
	}
	*entry = offset | VHDX_FRESH | (uint64_t)vhdx_state(*entry) << VHDX_OLD_SHIFT |
		 (over_parent ? VHDX_PARTIALLY_PRESENT : VHDX_FULLY_PRESENT);
	vhdx->fresh++;
	vhdx->allocated++;
	return 0;
}

int vhdx_step_write(struct vhdx *vhdx, struct block_request *whole, const struct vhdx_piece *piece)
{
	uint64_t *entry = &vhdx->bat[piece->index];
	int err = vhdx->session == VHDX_OPEN ? 0 : step_session(vhdx, whole);

	if (!err && !vhdx_is_present(*entry)) {
		err = step_allocate(vhdx, whole, piece);
	}
	if (!err && vhdx_state(*entry) == VHDX_PARTIALLY_PRESENT &&
	    vhdx_bitmap_load(vhdx, piece->block, piece->at, piece->bytes)) {
		err = vhdx_park(vhdx, whole);
	}
	if (err) {
		return err;
	}
	return vhdx_submit_data(vhdx, whole, piece,
				(*entry & VHDX_FRESH) ||
					vhdx_state(*entry) == VHDX_PARTIALLY_PRESENT);
}

/* ---- discard, write zeroes ----------------------------------------------------------------------- */

/* The whole block becomes zeroes that take no space. */
static void clear_block(struct vhdx *vhdx, const struct vhdx_piece *piece)
{
	uint64_t *entry = &vhdx->bat[piece->index];

	if (vhdx_is_present(*entry)) {
		vhdx->fresh -= (*entry & VHDX_FRESH) != 0;
		vhdx->allocated--;
		*entry = (*entry & VHDX_BAT_OFFSET) | VHDX_FREEING | VHDX_ZERO;
		vhdx_dirty_entry(vhdx, piece->index);
		vhdx_log_want(vhdx);
	} else if (vhdx->parent && vhdx_state(*entry) == VHDX_NOT_PRESENT) {
		*entry = VHDX_ZERO;
		vhdx_dirty_entry(vhdx, piece->index);
	}
}

/* A part of a block that the parent has: fresh space is zero already, the bits say that it counts. */
static int clear_over_parent(struct vhdx *vhdx, struct block_request *whole,
			     const struct vhdx_piece *piece)
{
	int err = step_allocate(vhdx, whole, piece);

	if (err) {
		return err;
	}
	vhdx_mark(vhdx, piece->block, piece->at, piece->bytes);
	block_whole_skip(whole, piece->bytes);
	return 0;
}

int vhdx_step_clear(struct vhdx *vhdx, struct block_request *whole, const struct vhdx_piece *piece)
{
	uint64_t *entry = &vhdx->bat[piece->index];
	bool gives_back =
		(whole->op == BLOCK_DISCARD || whole->may_unmap) && !vhdx->geometry.is_fixed;
	bool covers =
		piece->at == 0 && piece->bytes == vhdx_block_span(&vhdx->geometry, piece->block);
	bool over_parent = vhdx->parent && vhdx_state(*entry) == VHDX_NOT_PRESENT;
	int err;

	if (!vhdx_is_present(*entry) && !over_parent) {
		block_whole_skip(whole, piece->bytes); /* it is zero */
		return 0;
	}
	err = step_session(vhdx, whole);
	if (err) {
		return err;
	}
	if (covers && (gives_back || over_parent)) {
		clear_block(vhdx, piece);
		block_whole_skip(whole, piece->bytes);
		return 0;
	}
	if (over_parent) {
		return clear_over_parent(vhdx, whole, piece);
	}
	if (vhdx_state(*entry) == VHDX_PARTIALLY_PRESENT &&
	    vhdx_bitmap_load(vhdx, piece->block, piece->at, piece->bytes)) {
		return vhdx_park(vhdx, whole);
	}
	return vhdx_submit_data(vhdx, whole, piece,
				(*entry & VHDX_FRESH) ||
					vhdx_state(*entry) == VHDX_PARTIALLY_PRESENT);
}

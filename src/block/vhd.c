/* SPDX-License-Identifier: MIT */
/*
 * Requests to a VHD. A fixed one's go to its file as they are. Others are cut at blocks, and within a
 * block where sectors change between here and not here:
 *
 *              not here           here
 *   read       parent, or zero    file
 *   write      file, set bits     file            of a block that is not here: it is placed first
 *   zeroes,    as write, or skip  file            without a parent what is not here is zero already
 *   discard
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "block/vhd_internal.h"

/* A part of a request within one block, alike from end to end. */
struct vhd_run {
	uint32_t block, offset_bytes, bytes;
	bool is_placed;        /* the block is in the file */
	bool is_here;          /* the sectors are */
	struct vhd_slot *slot; /* of a placed block that is not full */
};

/* Our mark on a whole, in its `bounce`: a write that must last, held until a commit if need be. */
#define WHOLE_LASTS 1

/* ---- ends -------------------------------------------------------------------------------------- */

/* Before one of the whole's holds is given back: was it the last but the one for what must last? */
static void vhd_whole_check(struct vhd *vhd, struct block_request *whole)
{
	if (whole->bounce != WHOLE_LASTS || whole->pending != 2) {
		return;
	}
	whole->bounce = 0;
	if (!whole->result && vhd_commit_is_needed(vhd)) {
		vhd_commit_wait(vhd, whole);
	} else {
		block_whole_end(&vhd->block, whole, 0);
	}
}

void vhd_whole_end(struct vhd *vhd, struct block_request *whole, int result)
{
	vhd_whole_check(vhd, whole);
	block_whole_end(&vhd->block, whole, result);
}

/* A fragment of something that changes sectors is done; context: 1 + where in the disk. */
static void vhd_on_changed(struct block_fragment *fragment, int result)
{
	struct vhd *vhd = container_of(fragment->pool->image, struct vhd, block);
	uint64_t at = fragment->context - 1;
	uint32_t block_bytes = vhd->header.block_bytes;

	if (fragment->context) {
		vhd_bitmap_unpin(vhd_bitmap_find(vhd, (uint32_t)(at / block_bytes)),
				 (uint32_t)(at % block_bytes),
				 result ? 0 : (uint32_t)fragment->request.length_bytes);
	}
	if (result && !fragment->whole->result) {
		fragment->whole->result = result;
	}
	vhd_whole_check(vhd, fragment->whole);
}

static void vhd_on_mapped(struct block_fragment *fragment, int result)
{
	struct block_map *map = &fragment->whole->map;
	const struct block_map *below = &fragment->request.map;

	if (!result) {
		map->bytes = below->bytes;
		map->kind = below->kind;
	}
}

/* ---- runs -------------------------------------------------------------------------------------- */

/* The run at the whole's cursor. False: it waits for a bitmap, and is advanced again. */
static bool vhd_next_run(struct vhd *vhd, struct block_request *whole, struct vhd_run *ret)
{
	uint64_t at = whole->offset_bytes + whole->done_bytes;
	uint32_t block_bytes = vhd->header.block_bytes;
	struct vhd_run run = {
		.block = (uint32_t)(at / block_bytes),
		.offset_bytes = (uint32_t)(at % block_bytes),
	};
	uint32_t sectors;

	run.bytes = (uint32_t)num_min(block_bytes - run.offset_bytes, block_whole_left(whole));
	run.is_placed = vhd->table[run.block] != VHD_NO_BLOCK;
	run.is_here = run.is_placed;
	if (run.is_placed && !(vhd->state[run.block] & VHD_STATE_FULL)) {
		run.slot = vhd_bitmap_get(vhd, run.block, false, whole);
		if (!run.slot) {
			return false;
		}
		sectors = vhd_bitmap_run(run.slot->bits, run.offset_bytes / VHD_SECTOR_BYTES,
					 run.bytes / VHD_SECTOR_BYTES, &run.is_here);
		/* Writes do not care, and need not be cut. */
		if (whole->op != BLOCK_WRITE) {
			run.bytes = sectors * VHD_SECTOR_BYTES;
		} else if (sectors < run.bytes / VHD_SECTOR_BYTES) {
			run.is_here = false;
		}
	}
	*ret = run;
	return true;
}

/*
 * A block of its own for the run's. 0; -EINPROGRESS: the whole waits for a slot; -ENOSPC: the file
 * cannot get longer.
 */
static int vhd_place_block(struct vhd *vhd, struct block_request *whole, struct vhd_run *run)
{
	uint64_t at = vhd_place(vhd->end, vhd->bitmap_bytes);
	uint64_t end = at + vhd->bitmap_bytes + vhd->header.block_bytes;

	if (at / VHD_SECTOR_BYTES >= VHD_NO_BLOCK ||
	    end + VHD_SECTOR_BYTES > block_info(vhd_file(vhd))->grow_bytes_max) {
		return -ENOSPC;
	}
	if (vhd->parent) {
		run->slot = vhd_bitmap_get(vhd, run->block, true, whole);
		if (!run->slot) {
			return -EINPROGRESS;
		}
		/* It stays in memory until it is in the file, written to or not. */
		run->slot->is_dirty = true;
		list_remove(&run->slot->link);
	} else {
		vhd->state[run->block] |= VHD_STATE_FULL;
		run->is_here = true;
	}
	vhd->table[run->block] = (uint32_t)(at / VHD_SECTOR_BYTES);
	vhd->end = end;
	vhd_mark_dirty(vhd, run->block);
	run->is_placed = true;
	return 0;
}

/* How many of these bytes of the file exist: a block that is new may lie beyond its end. */
static uint64_t vhd_file_has(struct vhd *vhd, uint64_t from, uint64_t bytes)
{
	struct block *file = vhd_file(vhd);

	if (!num_range_fits(from, bytes, block_info(file)->bytes)) {
		block_refresh(file);
	}
	return from >= block_info(file)->bytes ? 0 : num_min(bytes, block_info(file)->bytes - from);
}

/* False: no fragment is free, and the whole waits. */
static bool vhd_submit_run(struct vhd *vhd, struct block_request *whole, const struct vhd_run *run,
			   uint32_t bytes)
{
	struct block_fragment *fragment = block_fragment_get(&vhd->fragments, whole);
	bool changes = whole->op != BLOCK_READ && whole->op != BLOCK_MAP;

	if (!fragment) {
		return false;
	}
	fragment->context = 0;
	if (changes) {
		fragment->done = vhd_on_changed;
		if (run->slot && !run->is_here) {
			fragment->context = whole->offset_bytes + whole->done_bytes + 1;
			vhd_bitmap_pin(run->slot);
		}
	} else if (whole->op == BLOCK_MAP) {
		fragment->done = vhd_on_mapped;
	}
	block_fragment_submit(fragment, vhd_file(vhd),
			      vhd_data_at(vhd, run->block) + run->offset_bytes, bytes);
	return true;
}

/* ---- operations: each gives the run's bytes away; false: the whole waits ------------------------ */

static bool vhd_read_run(struct vhd *vhd, struct block_request *whole, const struct vhd_run *run)
{
	uint64_t at = whole->offset_bytes + whole->done_bytes;
	struct block_fragment *fragment;
	uint64_t bytes = 0;

	if (run->is_here) {
		bytes = vhd_file_has(vhd, vhd_data_at(vhd, run->block) + run->offset_bytes,
				     run->bytes);
		if (bytes > 0) {
			return vhd_submit_run(vhd, whole, run, (uint32_t)bytes);
		}
	} else if (vhd->parent && at < block_info(vhd->parent)->bytes) {
		fragment = block_fragment_get(&vhd->fragments, whole);
		if (!fragment) {
			return false;
		}
		bytes = num_min(run->bytes, block_info(vhd->parent)->bytes - at);
		block_fragment_submit(fragment, vhd->parent, at, bytes);
		return true;
	}
	block_whole_zero(whole, run->bytes);
	return true;
}

/* Whether the run's block has its place; if not, the whole waits for it or has ended. */
static bool vhd_place_run(struct vhd *vhd, struct block_request *whole, struct vhd_run *run)
{
	int err = run->is_placed ? 0 : vhd_place_block(vhd, whole, run);

	if (err && err != -EINPROGRESS) {
		whole->result = whole->result ? whole->result : err;
		vhd_whole_end(vhd, whole, err);
	}
	return err == 0;
}

static bool vhd_write_run(struct vhd *vhd, struct block_request *whole, struct vhd_run *run)
{
	if (!vhd_place_run(vhd, whole, run)) {
		return false;
	}
	return vhd_submit_run(vhd, whole, run, run->bytes);
}

/* Discards and zeroes: afterwards it reads as zeroes, whatever the parent has. */
static bool vhd_clear_run(struct vhd *vhd, struct block_request *whole, struct vhd_run *run)
{
	uint64_t there;

	if (!run->is_here && !vhd->parent) {
		block_whole_skip(whole, run->bytes);
		return true;
	}
	if (!vhd_place_run(vhd, whole, run)) {
		return false;
	}
	there = vhd_file_has(vhd, vhd_data_at(vhd, run->block) + run->offset_bytes, run->bytes);
	if (there > 0) {
		return vhd_submit_run(vhd, whole, run, (uint32_t)there);
	}
	/* Beyond the end of the file: that is zero as it is (V2). */
	if (run->slot && !run->is_here) {
		vhd_bitmap_pin(run->slot);
		vhd_bitmap_unpin(run->slot, run->offset_bytes, run->bytes);
	}
	block_whole_skip(whole, run->bytes);
	return true;
}

/* Only the first run is asked for: the rest of the whole is dropped. */
static bool vhd_map_run(struct vhd *vhd, struct block_request *whole, const struct vhd_run *run)
{
	uint64_t from = run->is_here ? vhd_data_at(vhd, run->block) + run->offset_bytes : ~0ULL;
	uint64_t there = run->is_here ? vhd_file_has(vhd, from, run->bytes) : 0;

	whole->map = (struct block_map){
		.kind = run->is_here && there > 0      ? BLOCK_MAP_DATA
			: !run->is_here && vhd->parent ? BLOCK_MAP_PARENT
						       : BLOCK_MAP_ZERO,
		.bytes = there > 0 ? there : run->bytes,
		.file_offset_bytes = from,
	};
	if (there > 0) {
		/* The file may have a hole there. */
		if (!vhd_submit_run(vhd, whole, run, (uint32_t)there)) {
			return false;
		}
	}
	if (block_whole_left(whole) > 0) {
		block_whole_skip(whole, block_whole_left(whole));
	}
	return true;
}

void vhd_advance(struct block *image, struct block_request *whole)
{
	struct vhd *vhd = container_of(image, struct vhd, block);

	while (block_whole_left(whole) > 0) {
		struct vhd_run run;
		bool goes_on = false;

		if (!vhd_next_run(vhd, whole, &run)) {
			return;
		}
		switch (whole->op) {
		case BLOCK_READ:
			goes_on = vhd_read_run(vhd, whole, &run);
			break;
		case BLOCK_WRITE:
			goes_on = vhd_write_run(vhd, whole, &run);
			break;
		case BLOCK_DISCARD:
		case BLOCK_WRITE_ZEROES:
			goes_on = vhd_clear_run(vhd, whole, &run);
			break;
		case BLOCK_MAP:
			goes_on = vhd_map_run(vhd, whole, &run);
			break;
		case BLOCK_FLUSH:
		case BLOCK_RESIZE:
			check(false);
		}
		if (!goes_on) {
			return;
		}
	}
	vhd_whole_end(vhd, whole, 0);
}

/* ---- the block --------------------------------------------------------------------------------- */

static void vhd_submit(struct block *block, struct block_request *request)
{
	struct vhd *vhd = container_of(block, struct vhd, block);

	if (request->op == BLOCK_RESIZE) {
		list_append(&vhd->resize_waiting, &request->link);
		vhd_commit_kick(vhd, true);
		return;
	}
	if (vhd_is_fixed(vhd)) {
		block_forward(vhd_file(vhd), request);
		return;
	}
	block_whole_begin(request);
	request->bounce = 0;
	if (request->op == BLOCK_FLUSH) {
		vhd_commit_wait(vhd, request);
		return;
	}
	if (request->op == BLOCK_WRITE && request->fua) {
		request->bounce = WHOLE_LASTS;
		block_whole_hold(request);
	}
	vhd_advance(block, request);
}

static int vhd_start(struct block *block, struct loop *loop)
{
	struct vhd *vhd = container_of(block, struct vhd, block);

	vhd_commit_start(vhd, loop);
	return vhd->parent ? block_start_lower(vhd->parent, loop) : 0;
}

static void vhd_quiesce(struct block *block)
{
	struct vhd *vhd = container_of(block, struct vhd, block);

	vhd->is_quiescing = true;
	vhd_commit_kick(vhd, true);
}

static void vhd_stop(struct block *block)
{
	struct vhd *vhd = container_of(block, struct vhd, block);

	loop_timer_cancel(&vhd->timer);
	loop_cancel(block->loop, &vhd->commit_work);
	if (!vhd_is_fixed(vhd)) {
		loop_cancel(block->loop, &vhd->slot_work);
	}
	if (vhd->parent) {
		block_stop_lower(vhd->parent);
	}
}

/* The footer says how long the disk is, not the file. */
static void vhd_refresh(struct block *block)
{
	block->info.bytes = container_of(block, struct vhd, block)->footer.bytes;
}

static struct block *vhd_parent(const struct block *block)
{
	return container_of(block, const struct vhd, block)->parent;
}

static void fact_number(image_fact_fn *fn, void *ctx, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	fn(ctx, name, text);
}

static void fact_time(image_fact_fn *fn, void *ctx, const char *name, uint32_t stamp)
{
	time_t at = (time_t)(stamp + VHD_EPOCH_S);
	char text[64];
	struct tm tm;

	if (gmtime_r(&at, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0) {
		fn(ctx, name, text);
	}
}

static void vhd_describe(struct block *block, image_fact_fn *fn, void *ctx)
{
	struct vhd *vhd = container_of(block, struct vhd, block);
	char id[GUID_STRING_BYTES];
	uint64_t placed = 0;

	fn(ctx, "path", vhd->path);
	fn(ctx, "layout",
	   vhd_is_fixed(vhd)                      ? "fixed"
	   : vhd->footer.type == VHD_DIFFERENCING ? "differencing"
						  : "dynamic");
	fact_number(fn, ctx, "virtual_bytes", vhd->footer.bytes);
	fn(ctx, "identifier", guid_format(&vhd->footer.id, id));
	fn(ctx, "creator", vhd->footer.creator);
	fact_time(fn, ctx, "created", vhd->footer.time_stamp);
	if (vhd_is_fixed(vhd)) {
		return;
	}
	for (uint32_t i = 0; i < vhd->header.entries; i++) {
		placed += vhd->table[i] != VHD_NO_BLOCK;
	}
	fact_number(fn, ctx, "block_bytes", vhd->header.block_bytes);
	fact_number(fn, ctx, "blocks_allocated", placed);
	if (vhd->parent) {
		fn(ctx, "parent", vhd->parent_path);
		fn(ctx, "parent_identifier", guid_format(&vhd->header.parent_id, id));
		fn(ctx, "parent_modified_since", vhd->parent_modified ? "yes" : "no");
	}
}

static void vhd_close(struct block *block)
{
	struct vhd *vhd = container_of(block, struct vhd, block);

	block_close(vhd->parent);
	if (vhd->fragments.all) {
		block_fragments_fini(&vhd->fragments);
	}
	vhd_bitmaps_fini(vhd);
	if (vhd->arrays) {
		munmap(vhd->arrays, vhd->arrays_bytes);
	}
	free(vhd->footer_out);
	free(vhd->header_out);
	free(vhd->parent_path);
	free(vhd->path);
	free(vhd);
}

const struct block_ops vhd_ops = {
	.name = "vhd",
	.start = vhd_start,
	.submit = vhd_submit,
	.quiesce = vhd_quiesce,
	.stop = vhd_stop,
	.refresh = vhd_refresh,
	.describe = vhd_describe,
	.parent = vhd_parent,
	.close = vhd_close,
};

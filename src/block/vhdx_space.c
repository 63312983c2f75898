/* SPDX-License-Identifier: MIT */
/*
 * VHDX: the file as units of 1 MiB.
 *
 *      used ──free()──► free ──punch──► clean ──take()──► used
 *                                         ▲
 *                       the file grows ───┘
 *
 * What is free when the file is opened may hold anything, so it is punched before it is used again.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fault.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

#define SPACE_UNITS     (VHDX_FILE_BYTES_MAX / VHDX_ALIGN_BYTES)
#define SPACE_MAP_BYTES (SPACE_UNITS / 8)
#define SPACE_SHIFT     20

static bool bit_is_set(const uint64_t *bits, uint64_t index)
{
	return bits[index / 64] >> (index % 64) & 1;
}

static void bits_put(uint64_t *bits, uint64_t from, uint64_t count, bool value)
{
	for (uint64_t i = from; i < from + count; i++) {
		if (value) {
			bits[i / 64] |= 1ULL << (i % 64);
		} else {
			bits[i / 64] &= ~(1ULL << (i % 64));
		}
	}
}

/* Takes no memory but for what is used of it. */
static uint64_t *space_map(void)
{
	void *map = MAP_FAILED;

	if (!fault_point()) {
		map = mmap(NULL, SPACE_MAP_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	}
	return map == MAP_FAILED ? NULL : map;
}

int vhdx_space_init(struct vhdx_space *space, uint64_t file_bytes, bool can_punch)
{
	*space = (struct vhdx_space){
		.used = space_map(),
		.clean = space_map(),
		.end = file_bytes >> SPACE_SHIFT,
		.can_punch = can_punch,
	};
	if (!space->used || !space->clean) {
		vhdx_space_fini(space);
		return -ENOMEM;
	}
	return 0;
}

void vhdx_space_fini(struct vhdx_space *space)
{
	if (space->used) {
		munmap(space->used, SPACE_MAP_BYTES);
	}
	if (space->clean) {
		munmap(space->clean, SPACE_MAP_BYTES);
	}
	space->used = NULL;
	space->clean = NULL;
}

bool vhdx_space_mark(struct vhdx_space *space, uint64_t offset, uint64_t bytes)
{
	uint64_t from = offset >> SPACE_SHIFT;
	uint64_t until = (offset + bytes + VHDX_ALIGN_BYTES - 1) >> SPACE_SHIFT;

	check(num_range_fits(offset, bytes, VHDX_FILE_BYTES_MAX));
	for (uint64_t i = from; i < until; i++) {
		if (bit_is_set(space->used, i)) {
			return false;
		}
	}
	bits_put(space->used, from, until - from, true);
	return true;
}

void vhdx_space_free(struct vhdx_space *space, uint64_t offset, uint64_t bytes, bool is_clean)
{
	uint64_t from = offset >> SPACE_SHIFT, units = bytes >> SPACE_SHIFT;

	bits_put(space->used, from, units, false);
	bits_put(space->clean, from, units, is_clean);
	space->from = num_min(space->from, from);
}

uint64_t vhdx_space_end_bytes(const struct vhdx_space *space)
{
	uint64_t end = space->end;

	while (end > 0 && !bit_is_set(space->used, end - 1)) {
		end--;
	}
	return end << SPACE_SHIFT;
}

uint64_t vhdx_space_used_units(const struct vhdx_space *space)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < (space->end + 63) / 64; i++) {
		count += (unsigned int)__builtin_popcountll(space->used[i]);
	}
	return count;
}

/* May this unit be handed out, perhaps after a punch? */
static bool unit_is_free(const struct vhdx_space *space, uint64_t unit)
{
	return !bit_is_set(space->used, unit) &&
	       (space->can_punch || bit_is_set(space->clean, unit));
}

/* The lowest run of free units that ends below limit; else where the last run began, short of it. */
static bool space_search(const struct vhdx_space *space, uint64_t units, uint64_t limit,
			 uint64_t *ret_at)
{
	uint64_t run = 0, i = space->from;

	while (i < limit) {
		/* A whole word of used ones. */
		if (i % 64 == 0 && space->used[i / 64] == ~0ULL) {
			run = 0;
			i += 64;
			continue;
		}
		run = unit_is_free(space, i) ? run + 1 : 0;
		i++;
		if (run == units) {
			*ret_at = i - units;
			return true;
		}
	}
	*ret_at = limit - num_min(run, limit);
	return false;
}

uint64_t vhdx_space_find(const struct vhdx_space *space, uint64_t bytes, uint64_t limit)
{
	uint64_t at;

	return space_search(space, bytes >> SPACE_SHIFT, num_min(limit >> SPACE_SHIFT, space->end),
			    &at)
		       ? at << SPACE_SHIFT
		       : 0;
}

/* ---- preparing ----------------------------------------------------------------------------------- */

static void space_on_prepared(struct block_request *request, int result)
{
	struct vhdx *vhdx = container_of(request, struct vhdx, space.request);
	struct vhdx_space *space = &vhdx->space;

	space->is_busy = false;
	if (result) {
		vhdx_unpark_failed(vhdx, result);
		return;
	}
	bits_put(space->clean, space->at, space->units, true);
	if (space->is_growing) {
		space->end = request->offset_bytes >> SPACE_SHIFT;
	}
	vhdx_unpark(vhdx);
}

static int space_prepare(struct vhdx *vhdx, enum block_op op, uint64_t offset, uint64_t bytes)
{
	struct vhdx_space *space = &vhdx->space;
	struct block_request *request = &space->request;

	space->is_busy = true;
	space->is_growing = op == BLOCK_RESIZE;
	request->op = op;
	request->fua = false;
	request->may_unmap = true;
	request->offset_bytes = offset;
	request->length_bytes = bytes;
	request->iov_count = 0;
	request->done = space_on_prepared;
	block_submit(vhdx->block.lower, request);
	return -EAGAIN;
}

/* So that `units` from `at`, where the free units at the end begin, are there; and some more. */
static int space_grow(struct vhdx *vhdx, uint64_t at, uint64_t units)
{
	struct vhdx_space *space = &vhdx->space;
	uint64_t file_bytes = block_info(vhdx->block.lower)->bytes;
	uint64_t step =
		num_max(VHDX_GROW_BYTES_MIN, num_min(VHDX_GROW_BYTES_MAX, file_bytes / 8)) >>
		SPACE_SHIFT;
	uint64_t end = num_max(at + units, space->end + num_align_up(step, units));

	if (end > SPACE_UNITS) {
		return -EFBIG;
	}
	/* A last unit that the file has only a part of may hold something in it. */
	space->at = (file_bytes + VHDX_ALIGN_BYTES - 1) >> SPACE_SHIFT;
	space->units = end - space->at;
	return space_prepare(vhdx, BLOCK_RESIZE, end << SPACE_SHIFT, 0);
}

static bool run_is_clean(const struct vhdx_space *space, uint64_t at, uint64_t units)
{
	for (uint64_t i = at; i < at + units; i++) {
		if (!bit_is_set(space->clean, i)) {
			return false;
		}
	}
	return true;
}

int vhdx_space_take(struct vhdx *vhdx, uint64_t bytes, uint64_t *ret_offset)
{
	struct vhdx_space *space = &vhdx->space;
	uint64_t units = bytes >> SPACE_SHIFT, at;

	if (space->is_busy) {
		return -EAGAIN;
	}
	if (!space_search(space, units, space->end, &at)) {
		return space_grow(vhdx, at, units);
	}
	if (!run_is_clean(space, at, units)) {
		space->at = at;
		space->units = units;
		return space_prepare(vhdx, BLOCK_DISCARD, at << SPACE_SHIFT, bytes);
	}
	bits_put(space->used, at, units, true);
	bits_put(space->clean, at, units, false);
	if (at == space->from) {
		space->from = at + units;
	}
	*ret_offset = at << SPACE_SHIFT;
	return 0;
}

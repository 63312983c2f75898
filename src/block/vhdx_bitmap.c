/* SPDX-License-Identifier: MIT */
/*
 * VHDX: sector bitmaps. A chunk of blocks has one of 1 MiB, a bit per sector, least significant first.
 * Pages of it come into memory when they are needed and stay there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fault.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

#define PAGE_BITS (VHDX_PAGE_BYTES * 8ULL)

int vhdx_bitmaps_init(struct vhdx *vhdx)
{
	struct vhdx_bitmaps *bitmaps = &vhdx->bitmaps;
	void *map = MAP_FAILED;

	bitmaps->chunks = vhdx->dirty.bitmap_pages / VHDX_BITMAP_PAGES;
	bitmaps->loaded = fault_alloc(bitmaps->chunks, VHDX_BITMAP_PAGES / 8);
	if (bitmaps->loaded && !fault_point()) {
		map = mmap(NULL, bitmaps->chunks * VHDX_BITMAP_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	}
	bitmaps->bits = map == MAP_FAILED ? NULL : map;
	return bitmaps->bits ? 0 : -ENOMEM;
}

void vhdx_bitmaps_fini(struct vhdx *vhdx)
{
	struct vhdx_bitmaps *bitmaps = &vhdx->bitmaps;

	check(!bitmaps->is_busy);
	if (bitmaps->bits) {
		munmap(bitmaps->bits, bitmaps->chunks * VHDX_BITMAP_BYTES);
	}
	free(bitmaps->loaded);
}

/* The bit of a place in a block, counted from the first of the disk. */
static uint64_t bit_of(const struct vhdx *vhdx, uint64_t block, uint64_t at)
{
	return ((block << vhdx->geometry.block_shift) + at) >> vhdx->geometry.sector_shift;
}

static bool page_is_loaded(const struct vhdx_bitmaps *bitmaps, uint64_t page)
{
	return bitmaps->loaded[page / 64] >> (page % 64) & 1;
}

static void page_set_loaded(struct vhdx_bitmaps *bitmaps, uint64_t page)
{
	bitmaps->loaded[page / 64] |= 1ULL << (page % 64);
}

static uint64_t chunk_entry(const struct vhdx *vhdx, uint64_t chunk)
{
	return vhdx->bat[vhdx_bitmap_index(&vhdx->geometry, chunk)];
}

static void bitmap_on_loaded(struct block_request *request, int result)
{
	struct vhdx *vhdx = container_of(request, struct vhdx, bitmaps.request);
	struct vhdx_bitmaps *bitmaps = &vhdx->bitmaps;

	bitmaps->is_busy = false;
	if (result) {
		/* All who might have waited for it: a read has no other way to end, either. */
		vhdx_unpark_ended(vhdx, result);
		return;
	}
	vhdx_replay_overlay(&vhdx->replay, request->offset_bytes, bitmaps->iov.iov_base,
			    VHDX_PAGE_BYTES);
	page_set_loaded(bitmaps, bitmaps->loading);
	vhdx_unpark(vhdx);
}

static void page_load(struct vhdx *vhdx, uint64_t page)
{
	struct vhdx_bitmaps *bitmaps = &vhdx->bitmaps;
	struct block_request *request = &bitmaps->request;

	bitmaps->is_busy = true;
	bitmaps->loading = page;
	bitmaps->iov = (struct iovec){ bitmaps->bits + page * VHDX_PAGE_BYTES, VHDX_PAGE_BYTES };
	request->op = BLOCK_READ;
	request->fua = false;
	request->offset_bytes = (chunk_entry(vhdx, page / VHDX_BITMAP_PAGES) & VHDX_BAT_OFFSET) +
				page % VHDX_BITMAP_PAGES * VHDX_PAGE_BYTES;
	request->length_bytes = VHDX_PAGE_BYTES;
	request->iov = &bitmaps->iov;
	request->iov_count = 1;
	request->done = bitmap_on_loaded;
	block_submit(vhdx->block.lower, request);
}

int vhdx_bitmap_load(struct vhdx *vhdx, uint64_t block, uint64_t at, uint64_t bytes)
{
	uint64_t first = bit_of(vhdx, block, at) / PAGE_BITS;
	uint64_t last = (bit_of(vhdx, block, at + bytes) - 1) / PAGE_BITS;

	for (uint64_t page = first; page <= last; page++) {
		if (!page_is_loaded(&vhdx->bitmaps, page)) {
			if (!vhdx->bitmaps.is_busy) {
				page_load(vhdx, page);
			}
			return -EAGAIN;
		}
	}
	return 0;
}

void vhdx_bitmap_create(struct vhdx *vhdx, uint64_t chunk, uint64_t offset)
{
	uint64_t index = vhdx_bitmap_index(&vhdx->geometry, chunk);

	vhdx->bat[index] = offset | VHDX_FULLY_PRESENT;
	vhdx_dirty_entry(vhdx, index);
	for (uint64_t i = 0; i < VHDX_BITMAP_PAGES; i++) {
		page_set_loaded(&vhdx->bitmaps, chunk * VHDX_BITMAP_PAGES + i);
	}
}

bool vhdx_bitmap_run(const struct vhdx *vhdx, uint64_t block, uint64_t at, uint64_t bytes,
		     uint64_t *ret_bytes)
{
	const uint8_t *bits = vhdx->bitmaps.bits;
	uint64_t first = bit_of(vhdx, block, at), end = bit_of(vhdx, block, at + bytes);
	bool present = bits[first / 8] >> (first % 8) & 1;
	uint64_t i = first + 1;

	while (i < end) {
		/* Eight that are all the same. */
		if (i % 8 == 0 && bits[i / 8] == (present ? 0xff : 0)) {
			i += 8;
			continue;
		}
		if ((bits[i / 8] >> (i % 8) & 1) != present) {
			break;
		}
		i++;
	}
	*ret_bytes = (num_min(i, end) - first) << vhdx->geometry.sector_shift;
	return present;
}

void vhdx_bitmap_set(struct vhdx *vhdx, uint64_t block, uint64_t at, uint64_t bytes, bool present)
{
	uint8_t *bits = vhdx->bitmaps.bits;
	uint64_t first = bit_of(vhdx, block, at), end = bit_of(vhdx, block, at + bytes);

	for (uint64_t i = first; i < end;) {
		uint64_t page = i / PAGE_BITS;
		bool changed = false;

		for (; i < end && i / PAGE_BITS == page; i++) {
			uint8_t bit = (uint8_t)(1U << (i % 8)), old = bits[i / 8];

			bits[i / 8] = present ? old | bit : (uint8_t)(old & ~bit);
			changed = changed || bits[i / 8] != old;
		}
		if (changed) {
			vhdx_dirty_page(vhdx, page);
		}
	}
}

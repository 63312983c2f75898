/* SPDX-License-Identifier: MIT */
/* VHDX: the pages of tables that differ from the file, and what of them the file may say already. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

int vhdx_dirty_init(struct vhdx *vhdx)
{
	struct vhdx_dirty *dirty = &vhdx->dirty;
	const struct vhdx_geometry *geometry = &vhdx->geometry;
	uint64_t pages;

	dirty->bat_pages = vhdx->regions->bat_bytes / VHDX_PAGE_BYTES;
	if (geometry->has_parent) {
		uint64_t room = vhdx->regions->bat_bytes / 8;
		uint64_t chunks = room / ((1ULL << geometry->chunk_shift) + 1);
		uint64_t most =
			VHDX_DISK_BYTES_MAX / (VHDX_CHUNK_SECTORS * geometry->logical_bytes);

		dirty->bitmap_pages = num_min(chunks, most) * VHDX_BITMAP_PAGES;
	}
	pages = dirty->bitmap_pages + dirty->bat_pages + VHDX_METADATA_PAGES;
	dirty->bits = fault_alloc((pages + 63) / 64, sizeof(*dirty->bits));
	return dirty->bits ? 0 : -ENOMEM;
}

void vhdx_dirty_page(struct vhdx *vhdx, uint64_t page)
{
	struct vhdx_dirty *dirty = &vhdx->dirty;
	uint64_t bit = 1ULL << (page % 64);

	if (dirty->bits[page / 64] & bit) {
		return;
	}
	dirty->bits[page / 64] |= bit;
	dirty->low = dirty->count ? num_min(dirty->low, page) : page;
	dirty->high = dirty->count ? num_max(dirty->high, page + 1) : page + 1;
	dirty->count++;
}

void vhdx_dirty_entry(struct vhdx *vhdx, uint64_t index)
{
	vhdx_dirty_page(vhdx, vhdx->dirty.bitmap_pages + index / VHDX_PAGE_ENTRIES);
}

void vhdx_dirty_metadata(struct vhdx *vhdx)
{
	for (unsigned int i = 0; i < VHDX_METADATA_PAGES; i++) {
		if (vhdx->metadata_at[i] != ~0ULL) {
			vhdx_dirty_page(vhdx, vhdx->dirty.bitmap_pages + vhdx->dirty.bat_pages + i);
		}
	}
}

/* Which page of the BAT it is; ~0: none. */
static uint64_t page_of_bat(const struct vhdx *vhdx, uint64_t page)
{
	uint64_t first = vhdx->dirty.bitmap_pages;

	return page >= first && page - first < vhdx->dirty.bat_pages ? page - first : ~0ULL;
}

uint64_t vhdx_page_offset(const struct vhdx *vhdx, uint64_t page)
{
	const struct vhdx_dirty *dirty = &vhdx->dirty;

	if (page < dirty->bitmap_pages) {
		uint64_t index = vhdx_bitmap_index(&vhdx->geometry, page / VHDX_BITMAP_PAGES);

		return (vhdx->bat[index] & VHDX_BAT_OFFSET) +
		       page % VHDX_BITMAP_PAGES * VHDX_PAGE_BYTES;
	}
	page -= dirty->bitmap_pages;
	return page < dirty->bat_pages ? vhdx->regions->bat_offset + page * VHDX_PAGE_BYTES
				       : vhdx->metadata_at[page - dirty->bat_pages];
}

/* What the file may say of this entry (X1). */
static uint64_t entry_for_file(uint64_t entry)
{
	if (entry & VHDX_FRESH) {
		return (entry & VHDX_OLD) >> VHDX_OLD_SHIFT;
	}
	return vhdx_is_present(entry) ? entry & (VHDX_BAT_OFFSET | VHDX_BAT_STATE)
				      : vhdx_state(entry);
}

static void page_build_bat(struct vhdx *vhdx, uint64_t bat_page, uint8_t *to)
{
	uint64_t *entries = vhdx->bat + bat_page * VHDX_PAGE_ENTRIES;

	for (unsigned int i = 0; i < VHDX_PAGE_ENTRIES; i++) {
		bytes_put_le64(to + (size_t)i * 8, entry_for_file(entries[i]));
		if (entries[i] & VHDX_FREEING) {
			entries[i] |= VHDX_LOGGED;
			vhdx->log.has_frees = true;
		}
	}
}

static void page_build(struct vhdx *vhdx, uint64_t page, uint8_t *to)
{
	const struct vhdx_dirty *dirty = &vhdx->dirty;
	uint64_t bat_page = page_of_bat(vhdx, page);

	if (bat_page != ~0ULL) {
		page_build_bat(vhdx, bat_page, to);
	} else if (page < dirty->bitmap_pages) {
		memcpy(to, vhdx->bitmaps.bits + page * VHDX_PAGE_BYTES, VHDX_PAGE_BYTES);
	} else {
		page -= dirty->bitmap_pages + dirty->bat_pages;
		memcpy(to, vhdx->metadata + page * VHDX_PAGE_BYTES, VHDX_PAGE_BYTES);
	}
}

void vhdx_pages_take(struct vhdx *vhdx)
{
	struct vhdx_dirty *dirty = &vhdx->dirty;
	struct vhdx_log *log = &vhdx->log;
	uint64_t page = dirty->low;

	log->pages = 0;
	log->applied = 0;
	log->has_frees = false;
	while (dirty->count > 0 && log->pages < VHDX_COMMIT_PAGES) {
		uint64_t word = dirty->bits[page / 64] >> (page % 64);

		if (!word) {
			page = num_align_down(page, 64) + 64;
			continue;
		}
		page += (unsigned int)__builtin_ctzll(word);
		check(page < dirty->high);
		dirty->bits[page / 64] &= ~(1ULL << (page % 64));
		dirty->count--;
		page_build(vhdx, page, vhdx_log_page_buffer(log, log->pages));
		log->page[log->pages++] = page++;
	}
	dirty->low = page;
	log->free_page = 0;
	log->free_entry = 0;
}

void vhdx_pages_restore(struct vhdx *vhdx)
{
	struct vhdx_log *log = &vhdx->log;

	for (unsigned int i = 0; i < log->pages; i++) {
		uint64_t bat_page = page_of_bat(vhdx, log->page[i]);

		vhdx_dirty_page(vhdx, log->page[i]);
		for (unsigned int j = 0; bat_page != ~0ULL && j < VHDX_PAGE_ENTRIES; j++) {
			vhdx->bat[bat_page * VHDX_PAGE_ENTRIES + j] &= ~VHDX_LOGGED;
		}
	}
	log->pages = 0;
	log->has_frees = false;
}

uint64_t *vhdx_pages_next_free(struct vhdx *vhdx)
{
	struct vhdx_log *log = &vhdx->log;

	for (; log->free_page < log->pages; log->free_page++, log->free_entry = 0) {
		uint64_t bat_page = page_of_bat(vhdx, log->page[log->free_page]);

		for (; bat_page != ~0ULL && log->free_entry < VHDX_PAGE_ENTRIES;
		     log->free_entry++) {
			uint64_t *entry =
				&vhdx->bat[bat_page * VHDX_PAGE_ENTRIES + log->free_entry];

			if (*entry & VHDX_LOGGED) {
				return entry;
			}
		}
	}
	return NULL;
}

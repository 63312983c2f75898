/* SPDX-License-Identifier: MIT */
/* VHDX: the block allocation table, from the file into memory, with all that can be wrong about it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

/* Read at once. */
#define BAT_PIECE_BYTES (1U << 20)

bool vhdx_bat_is_bitmap(const struct vhdx_geometry *geometry, uint64_t index)
{
	uint64_t ratio = 1ULL << geometry->chunk_shift;

	return index % (ratio + 1) == ratio;
}

const char *vhdx_bat_complain(const struct vhdx *vhdx, uint64_t index, uint64_t entry,
			      uint64_t file_bytes)
{
	const struct vhdx_geometry *geometry = &vhdx->geometry;
	bool is_bitmap = vhdx_bat_is_bitmap(geometry, index);
	unsigned int state = vhdx_state(entry);
	uint64_t bytes = is_bitmap ? VHDX_BITMAP_BYTES : geometry->block_bytes;

	if (is_bitmap && state != VHDX_NOT_PRESENT && state != VHDX_FULLY_PRESENT) {
		return "is in a state that a sector bitmap cannot have";
	}
	if (is_bitmap && state != VHDX_NOT_PRESENT && !geometry->has_parent) {
		return "names a sector bitmap, but there is no parent";
	}
	if (state == 4 || state == 5) {
		return "is in an unknown state";
	}
	if (state == VHDX_PARTIALLY_PRESENT && !geometry->has_parent) {
		return "is partially present, but there is no parent";
	}
	if (!vhdx_is_present(entry)) {
		return NULL;
	}
	if ((entry & VHDX_BAT_OFFSET) < VHDX_ALIGN_BYTES) {
		return "lies over the header";
	}
	if (!num_range_fits(entry & VHDX_BAT_OFFSET, bytes, file_bytes)) {
		return "lies beyond the end of the file, which may be cut off";
	}
	return NULL;
}

static int bat_complain(const struct vhdx_reader *reader, uint64_t index, const char *what,
			struct diag *reterr)
{
	return diag_set(reterr, -EINVAL,
			"image %.200s is damaged: entry %llu of its block table %s", reader->path,
			(unsigned long long)index, what);
}

/* As it is in memory: no reserved bits, and an offset only where there is something. */
static int bat_take(struct vhdx *vhdx, const struct vhdx_reader *reader, uint64_t index,
		    struct diag *reterr)
{
	uint64_t *entry = &vhdx->bat[index];
	bool is_bitmap = vhdx_bat_is_bitmap(&vhdx->geometry, index);
	bool is_stale = !vhdx_is_present(*entry) && (*entry & VHDX_BAT_OFFSET);
	const char *what;

	*entry &= ~VHDX_BAT_RESERVED;
	if (is_bitmap && !vhdx->geometry.has_parent) {
		*entry = 0; /* some writers leave something there; nobody reads it */
		return 0;
	}
	what = vhdx_bat_complain(vhdx, index, *entry, reader->file_bytes);
	if (what) {
		return bat_complain(reader, index, what, reterr);
	}
	if (!vhdx_is_present(*entry)) {
		*entry = vhdx_state(*entry);
		if (is_stale && !vhdx->block.info.read_only) {
			/* It names space that we may hand out again: not any more, when we write. */
			vhdx_dirty_entry(vhdx, index);
		}
		return 0;
	}
	vhdx->allocated += !is_bitmap;
	if (!vhdx_space_mark(&vhdx->space, *entry & VHDX_BAT_OFFSET,
			     is_bitmap ? VHDX_BITMAP_BYTES : vhdx->geometry.block_bytes)) {
		return bat_complain(reader, index, "names space that belongs to something else",
				    reterr);
	}
	return 0;
}

/* A block with sectors needs the bitmap that says which. */
static int bat_check_bitmaps(const struct vhdx *vhdx, const struct vhdx_reader *reader,
			     struct diag *reterr)
{
	const struct vhdx_geometry *geometry = &vhdx->geometry;

	for (uint64_t block = 0; block < geometry->blocks && geometry->has_parent; block++) {
		uint64_t chunk = block >> geometry->chunk_shift;

		if (vhdx_state(vhdx->bat[vhdx_bat_index(geometry, block)]) ==
			    VHDX_PARTIALLY_PRESENT &&
		    !vhdx_is_present(vhdx->bat[vhdx_bitmap_index(geometry, chunk)])) {
			return bat_complain(reader, vhdx_bat_index(geometry, block),
					    "is partially present, but has no sector bitmap",
					    reterr);
		}
	}
	return 0;
}

static bool bat_mark_structures(struct vhdx *vhdx)
{
	const struct vhdx_header *header = &vhdx->log.headers.copy[vhdx->log.headers.current];
	bool ok = vhdx_space_mark(&vhdx->space, 0, VHDX_ALIGN_BYTES) &&
		  vhdx_space_mark(&vhdx->space, header->log_offset, header->log_bytes);

	for (unsigned int i = 0; i < vhdx->regions->count && ok; i++) {
		ok = vhdx_space_mark(&vhdx->space, vhdx->regions->all[i].offset,
				     vhdx->regions->all[i].bytes);
	}
	return ok;
}

static int bat_read(struct vhdx *vhdx, const struct vhdx_reader *reader)
{
	uint64_t bytes = vhdx->bat_pages * VHDX_PAGE_BYTES;
	int err = 0;

	for (uint64_t done = 0; done < bytes && !err; done += BAT_PIECE_BYTES) {
		err = vhdx_read(reader, vhdx->regions->bat_offset + done,
				(uint8_t *)vhdx->bat + done,
				num_min(bytes - done, BAT_PIECE_BYTES));
	}
	/* Behind the last entry anything may be, even what we keep in reserved bits. */
	memset(vhdx->bat + vhdx->geometry.entries, 0, bytes - vhdx->geometry.entries * 8);
	return err;
}

int vhdx_bat_load(struct vhdx *vhdx, const struct vhdx_reader *reader, struct diag *reterr)
{
	const struct vhdx_geometry *geometry = &vhdx->geometry;
	int err;

	if (geometry->entries > vhdx->regions->bat_bytes / sizeof(*vhdx->bat)) {
		return diag_set(
			reterr, -EINVAL,
			"image %.200s is damaged: its block table has no room for a disk of "
			"%llu bytes",
			reader->path, (unsigned long long)geometry->disk_bytes);
	}
	vhdx->bat_pages = (geometry->entries + VHDX_PAGE_ENTRIES - 1) / VHDX_PAGE_ENTRIES;
	vhdx->bat = fault_alloc(vhdx->bat_pages, VHDX_PAGE_BYTES);
	err = vhdx->bat ? bat_read(vhdx, reader) : -ENOMEM;
	err = err ? err : vhdx_dirty_init(vhdx);
	if (err) {
		return diag_set(reterr, err, "image %.200s: its block table cannot be read: %s",
				reader->path, strerror(-err));
	}
	if (!bat_mark_structures(vhdx)) {
		return diag_set(reterr, -EINVAL, "image %.200s is damaged: its regions overlap",
				reader->path);
	}
	for (uint64_t i = 0; i < geometry->entries && !err; i++) {
		err = bat_take(vhdx, reader, i, reterr);
	}
	return err ? err : bat_check_bitmaps(vhdx, reader, reterr);
}

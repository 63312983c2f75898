/* SPDX-License-Identifier: MIT */
/*
 * VHDX: another size of the disk. The table's region stays where it is, so a disk grows up to what has room
 * in it. A disk becomes smaller only where nothing is; the piece of its last block that is cut off, or
 * that comes back, is zero.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

/* The number may lie across two pages, which are neighbours in memory as they are in the file. */
static void size_put(struct vhdx *vhdx, uint64_t bytes)
{
	bytes_put_le64(vhdx->metadata + (vhdx->disk_bytes_at - vhdx->metadata_at[0]), bytes);
	vhdx_dirty_metadata(vhdx);
}

/* Room in memory for the table of the larger disk; what the file has there is nobody's. */
static int resize_table(struct vhdx *vhdx, uint64_t entries)
{
	uint64_t pages = (entries + VHDX_PAGE_ENTRIES - 1) / VHDX_PAGE_ENTRIES;
	uint64_t old = vhdx->geometry.entries, *bat = vhdx->bat;

	if (pages > vhdx->bat_pages) {
		bat = fault_alloc(pages, VHDX_PAGE_BYTES);
		if (!bat) {
			return -ENOMEM;
		}
		memcpy(bat, vhdx->bat, vhdx->bat_pages * VHDX_PAGE_BYTES);
		free(vhdx->bat);
		vhdx->bat = bat;
		vhdx->bat_pages = pages;
	}
	memset(bat + old, 0, (pages * VHDX_PAGE_ENTRIES - old) * sizeof(*bat));
	for (uint64_t i = old; i < entries;
	     i = num_align_down(i, VHDX_PAGE_ENTRIES) + VHDX_PAGE_ENTRIES) {
		vhdx_dirty_entry(vhdx, i);
	}
	return 0;
}

static int resize_check_grow(const struct vhdx *vhdx, uint64_t bytes)
{
	uint64_t entries = vhdx_geometry_entries(&vhdx->geometry, bytes);

	return bytes > VHDX_DISK_BYTES_MAX || entries > vhdx->regions->bat_bytes / 8 ? -EFBIG : 0;
}

/* Nothing may be in blocks that go away altogether. */
static int resize_check_shrink(struct vhdx *vhdx, struct block_request *whole, uint64_t bytes)
{
	const struct vhdx_geometry *geometry = &vhdx->geometry;
	uint64_t keep = (bytes + geometry->block_bytes - 1) >> geometry->block_shift;

	if (geometry->is_fixed || geometry->has_parent) {
		return -EOPNOTSUPP;
	}
	for (uint64_t block = keep; block < geometry->blocks; block++) {
		uint64_t entry = vhdx->bat[vhdx_bat_index(geometry, block)];

		if (vhdx_is_present(entry)) {
			return -EBUSY;
		}
		if (entry & VHDX_FREEING) {
			vhdx_log_want(vhdx);
			return vhdx_park(vhdx, whole);
		}
	}
	return 0;
}

/* A new fixed disk's blocks would have to be there: it does not grow. */
static int resize_check(struct vhdx *vhdx, struct block_request *whole)
{
	uint64_t bytes = whole->offset_bytes;

	if (vhdx->log.broken) {
		return vhdx->log.broken;
	}
	if (vhdx->resize_bytes) {
		return vhdx_park(vhdx, whole); /* one at a time */
	}
	if (bytes >= vhdx->geometry.disk_bytes) {
		return vhdx->geometry.is_fixed ? -EOPNOTSUPP : resize_check_grow(vhdx, bytes);
	}
	return resize_check_shrink(vhdx, whole, bytes);
}

/* The part of the last block that lies behind the smaller of the two sizes; none: 0 bytes. */
static struct vhdx_piece resize_tail(const struct vhdx *vhdx, uint64_t bytes)
{
	const struct vhdx_geometry *geometry = &vhdx->geometry;
	uint64_t end = num_min(bytes, geometry->disk_bytes);
	struct vhdx_piece piece = { .block = end >> geometry->block_shift,
				    .at = end & (geometry->block_bytes - 1) };

	piece.index = vhdx_bat_index(geometry, piece.block);
	piece.bytes = geometry->block_bytes - piece.at;
	if (piece.at == 0 || vhdx_state(vhdx->bat[piece.index]) != VHDX_FULLY_PRESENT) {
		piece.bytes = 0;
	}
	return piece;
}

static void resize_commit(struct vhdx *vhdx, struct block_request *whole, int result)
{
	if (!result && whole->offset_bytes > vhdx->geometry.disk_bytes) {
		result = resize_table(vhdx,
				      vhdx_geometry_entries(&vhdx->geometry, whole->offset_bytes));
	}
	if (result) {
		vhdx->resize_bytes = 0;
		block_whole_end(&vhdx->block, whole, result);
		vhdx_unpark(vhdx);
		return;
	}
	size_put(vhdx, whole->offset_bytes);
	vhdx_log_wait(vhdx, whole);
}

static void resize_on_zeroed(struct block_request *request, int result)
{
	struct vhdx *vhdx = container_of(request, struct vhdx, resize_request);

	resize_commit(vhdx, vhdx->resizing, result);
}

int vhdx_step_resize(struct vhdx *vhdx, struct block_request *whole)
{
	struct block_request *request = &vhdx->resize_request;
	struct vhdx_piece tail;
	int err = resize_check(vhdx, whole);

	if (err || whole->offset_bytes == vhdx->geometry.disk_bytes) {
		return err;
	}
	if (vhdx->session != VHDX_OPEN) {
		vhdx_log_open_session(vhdx);
		return vhdx_park(vhdx, whole);
	}
	vhdx->resize_bytes = whole->offset_bytes;
	vhdx->resizing = whole;
	tail = resize_tail(vhdx, whole->offset_bytes);
	if (tail.bytes == 0) {
		resize_commit(vhdx, whole, 0);
		return -EAGAIN;
	}
	request->op = BLOCK_WRITE_ZEROES;
	request->fua = false;
	request->may_unmap = true;
	request->offset_bytes = (vhdx->bat[tail.index] & VHDX_BAT_OFFSET) + tail.at;
	request->length_bytes = tail.bytes;
	request->iov_count = 0;
	request->done = resize_on_zeroed;
	block_submit(vhdx->block.lower, request);
	return -EAGAIN;
}

void vhdx_resized(struct vhdx *vhdx, int result)
{
	struct vhdx_geometry *geometry = &vhdx->geometry;
	struct diag ignored;

	if (result) {
		size_put(vhdx, geometry->disk_bytes);
	} else {
		geometry->disk_bytes = vhdx->resize_bytes;
		check(vhdx_geometry_init(geometry, &ignored) == 0);
	}
	vhdx->resize_bytes = 0;
	/* Another resize may have waited for this one; it goes on when the log is idle. */
	vhdx_log_want(vhdx);
}

/* SPDX-License-Identifier: MIT */
/*
 * A VHD gets longer or shorter. Each step is one request to the file; between steps other requests go
 * on, but for commits. A crash between any two leaves an image of the old or of the new size.
 *
 * A table that has no room to grow is written anew at the end of the file; the header, whose first
 * sector says where it is, changes at once.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "block/vhd_internal.h"

enum resize_step {
	RESIZE_TAIL,       /* what lies behind the disk's end in its last block becomes zero */
	RESIZE_TABLE,      /* entries behind the end become empty; the table has its new length */
	RESIZE_OLD_FOOTER, /* the file is as long as the table needs */
	RESIZE_HEADER,
	RESIZE_COPY,
	RESIZE_FOOTER,
	RESIZE_FIXED_FOOTER,
	RESIZE_FIXED_REST, /* fixed: the old footer's place becomes data, or the file shorter */
	RESIZE_FLUSH,
	RESIZE_END,
};

static const uint8_t resize_grow[] = {
	RESIZE_TAIL,  RESIZE_TABLE, RESIZE_OLD_FOOTER, RESIZE_FLUSH, RESIZE_HEADER,
	RESIZE_FLUSH, RESIZE_COPY,  RESIZE_FOOTER,     RESIZE_FLUSH, RESIZE_END,
};
static const uint8_t resize_shrink[] = {
	RESIZE_COPY, RESIZE_FOOTER, RESIZE_FLUSH, RESIZE_TABLE, RESIZE_FLUSH, RESIZE_END,
};
static const uint8_t resize_fixed[] = {
	RESIZE_FIXED_FOOTER, RESIZE_FLUSH, RESIZE_FIXED_REST, RESIZE_FLUSH, RESIZE_END,
};

static void resize_next(struct vhd *vhd);

static void resize_finish(struct vhd *vhd, int result)
{
	struct block_request *request = vhd->resize;

	vhd->resize = NULL;
	vhd->phase = VHD_IDLE;
	vhd->block.info.bytes = vhd->footer.bytes;
	block_complete_later(&vhd->block, request, result);
	vhd_commit_kick(vhd, true);
}

static void resize_on_step(struct block_request *request, int result)
{
	struct vhd_meta *meta = container_of(request, struct vhd_meta, request);
	struct vhd *vhd = meta->vhd;

	vhd_meta_put(meta);
	if (result) {
		/* What is behind the end is not trusted before it is written again. */
		vhd->footer_at = vhd_is_fixed(vhd) ? vhd->footer_at : VHD_NO_OFFSET;
		resize_finish(vhd, result);
		return;
	}
	if (*vhd->resize_steps == RESIZE_HEADER) {
		vhd->header = vhd->resize_header;
	} else if (*vhd->resize_steps == RESIZE_FOOTER) {
		vhd->footer = vhd->resize_footer;
	} else if (*vhd->resize_steps == RESIZE_FIXED_REST) {
		vhd->footer = vhd->resize_footer;
		vhd->footer_at = vhd->footer.bytes;
		vhd->end = vhd->footer_at;
	}
	vhd->resize_steps++;
	resize_next(vhd);
}

/* Zeroes from the old end of the disk to the end of its block; false: there is no such block. */
static bool resize_tail(struct vhd *vhd)
{
	uint32_t from = (uint32_t)(vhd->footer.bytes % vhd->header.block_bytes);
	uint32_t block = (uint32_t)(vhd->footer.bytes / vhd->header.block_bytes);
	uint64_t at, bytes;

	if (from == 0 || vhd->table[block] == VHD_NO_BLOCK) {
		return false;
	}
	at = vhd_data_at(vhd, block) + from;
	block_refresh(vhd_file(vhd));
	if (at >= block_info(vhd_file(vhd))->bytes) {
		return false;
	}
	bytes = num_min(vhd->header.block_bytes - from, block_info(vhd_file(vhd))->bytes - at);
	vhd_meta_submit(vhd, BLOCK_WRITE_ZEROES, at, NULL, bytes, resize_on_step);
	return true;
}

/* How far the table can reach where it is. */
static uint64_t resize_room(const struct vhd *vhd)
{
	uint64_t from = vhd->header.table_offset, until = vhd->end;
	uint64_t header = vhd->footer.header_offset;

	for (uint32_t i = 0; i < vhd->header.entries; i++) {
		if (vhd->table[i] != VHD_NO_BLOCK && vhd_bitmap_at(vhd, i) > from) {
			until = num_min(until, vhd_bitmap_at(vhd, i));
		}
	}
	for (int i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *locator = &vhd->header.locators[i];

		if (locator->platform != 0 && locator->offset > from) {
			until = num_min(until, locator->offset);
		}
	}
	return (header > from ? num_min(until, header) : until) - from;
}

static void resize_table(struct vhd *vhd)
{
	uint32_t wanted = vhd_entries(vhd->resize_footer.bytes, vhd->header.block_bytes);
	uint32_t keep =
		(uint32_t)num_min(wanted, vhd_entries(vhd->footer.bytes, vhd->header.block_bytes));
	struct vhd_header *header = &vhd->resize_header;
	uint32_t until;

	/* What a crash in a shrink left behind must not come back, either. */
	until = (uint32_t)num_max(vhd->header.entries,
				  num_align_up(wanted, VHD_TABLE_PAGE_ENTRIES));
	for (uint32_t i = keep; i < until; i++) {
		vhd->table[i] = VHD_NO_BLOCK;
		vhd->state[i] &= (uint8_t)~VHD_STATE_FULL;
		bytes_put_be32(vhd->table_disk + (size_t)i * 4, VHD_NO_BLOCK);
	}
	*header = vhd->header;
	if (wanted > header->entries) {
		header->entries = wanted;
		if (vhd_table_bytes(wanted) > resize_room(vhd)) {
			header->table_offset = num_align_up(vhd->end + VHD_SECTOR_BYTES, 4096);
			vhd->end = header->table_offset + vhd_table_bytes(wanted);
		}
	}
	vhd_header_seal(header);
	vhd_meta_submit(vhd, BLOCK_WRITE, header->table_offset, vhd->table_disk,
			vhd_table_bytes(header->entries), resize_on_step);
}

static void resize_write_footer(struct vhd *vhd, const struct vhd_footer *footer, uint64_t at)
{
	*vhd->footer_out = footer->wire;
	vhd_meta_submit(vhd, BLOCK_WRITE, at, vhd->footer_out, sizeof(*vhd->footer_out),
			resize_on_step);
}

static bool resize_fixed_rest(struct vhd *vhd)
{
	uint64_t at = vhd->resize_footer.bytes;

	if (at > vhd->footer_at) {
		vhd_meta_submit(vhd, BLOCK_WRITE_ZEROES, vhd->footer_at, NULL, VHD_SECTOR_BYTES,
				resize_on_step);
	} else {
		vhd_meta_submit(vhd, BLOCK_RESIZE, at + VHD_SECTOR_BYTES, NULL, 0, resize_on_step);
	}
	return true;
}

/* The next step's request; false: there is nothing to do in it. */
static bool resize_step(struct vhd *vhd)
{
	switch ((enum resize_step) * vhd->resize_steps) {
	case RESIZE_TAIL:
		return resize_tail(vhd);
	case RESIZE_TABLE:
		resize_table(vhd);
		return true;
	case RESIZE_OLD_FOOTER:
		vhd->footer_at = vhd->end;
		resize_write_footer(vhd, &vhd->footer, vhd->footer_at);
		return true;
	case RESIZE_HEADER:
		*vhd->header_out = vhd->resize_header.wire;
		vhd_meta_submit(vhd, BLOCK_WRITE, vhd->footer.header_offset, vhd->header_out,
				sizeof(*vhd->header_out), resize_on_step);
		return true;
	case RESIZE_COPY:
		resize_write_footer(vhd, &vhd->resize_footer, 0);
		return true;
	case RESIZE_FOOTER:
		vhd->footer_at = vhd->end;
		resize_write_footer(vhd, &vhd->resize_footer, vhd->footer_at);
		return true;
	case RESIZE_FIXED_FOOTER:
		resize_write_footer(vhd, &vhd->resize_footer, vhd->resize_footer.bytes);
		return true;
	case RESIZE_FIXED_REST:
		return resize_fixed_rest(vhd);
	case RESIZE_FLUSH:
		vhd_meta_submit(vhd, BLOCK_FLUSH, 0, NULL, 0, resize_on_step);
		return true;
	case RESIZE_END:
		break;
	}
	resize_finish(vhd, 0);
	return true;
}

static void resize_next(struct vhd *vhd)
{
	while (!resize_step(vhd)) {
		vhd->resize_steps++;
	}
}

void vhd_resize_begin(struct vhd *vhd)
{
	struct block_request *request =
		list_first(&vhd->resize_waiting, struct block_request, link);
	uint64_t bytes = request->offset_bytes;

	list_remove(&request->link);
	vhd->resize = request;
	vhd->phase = VHD_RESIZING;
	if (bytes > VHD_BYTES_MAX ||
	    (!vhd_is_fixed(vhd) &&
	     (bytes + vhd->header.block_bytes - 1) / vhd->header.block_bytes > vhd->entries_max)) {
		resize_finish(vhd, -EFBIG);
		return;
	}
	vhd->resize_footer = vhd->footer;
	vhd_footer_resize(&vhd->resize_footer, bytes);
	if (bytes < vhd->footer.bytes) {
		vhd->block.info.bytes = bytes; /* nothing goes there any more */
	}
	vhd->resize_steps = vhd_is_fixed(vhd)           ? resize_fixed
			    : bytes < vhd->footer.bytes ? resize_shrink
							: resize_grow;
	resize_next(vhd);
}

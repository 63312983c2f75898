/* SPDX-License-Identifier: MIT */
/*
 * A dynamic or differencing VHD made short again:
 *
 *   1. blocks that hold nothing (zeroes; with a parent: what the parent holds) leave the table
 *   2. the last blocks move into the places that are free, a batch at a time:
 *      copied, flushed, the table written, flushed
 *   3. a footer behind the last block, flushed, and the file is cut off
 *
 * A place becomes free only when the table on stable storage names it no more, so the image is whole at
 * any moment.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "block/vhd_internal.h"

/* Moved before the table is written. */
#define COMPACT_BATCH 64U

struct vhd_compacting {
	struct vhd *vhd;
	struct block_sync *file, *parent; /* started on loops of their own, not through the image */
	const struct image_progress *progress;
	uint64_t block_total;         /* bitmap and data */
	uint8_t *buf;                 /* a block with its bitmap */
	uint8_t *other;               /* the parent's, or NULL */
	struct compact_place *places; /* all that is in the file, from its beginning */
	uint32_t count;
};

struct compact_place {
	uint64_t from, bytes;
	uint32_t block; /* VHD_NO_BLOCK: a table, which stays */
};

static int compact_report(struct vhd_compacting *at, uint64_t done, uint64_t total)
{
	const struct image_progress *progress = at->progress;

	return progress && progress->report && !progress->report(progress->ctx, done, total)
		       ? -ECANCELED
		       : 0;
}

/* The disk's sectors of this block as the parent has them. */
static int compact_read_parent(struct vhd_compacting *at, uint32_t block)
{
	uint64_t from = (uint64_t)block * at->vhd->header.block_bytes;
	uint64_t there = block_info(at->vhd->parent)->bytes;
	uint64_t bytes = from < there ? num_min(at->vhd->header.block_bytes, there - from) : 0;

	memset(at->other, 0, at->vhd->header.block_bytes);
	return bytes ? block_sync_read(at->parent, from, at->other, (size_t)bytes) : 0;
}

/* Whether the block says nothing that the disk would not say without it. */
static int compact_is_needless(struct vhd_compacting *at, uint32_t block, bool *ret)
{
	struct vhd *vhd = at->vhd;
	const uint8_t *data = at->buf + vhd->bitmap_bytes;
	uint32_t sectors = vhd->header.block_bytes / VHD_SECTOR_BYTES;
	uint64_t left =
		(vhd->footer.bytes - (uint64_t)block * vhd->header.block_bytes) / VHD_SECTOR_BYTES;
	int err = block_sync_read(at->file, vhd_bitmap_at(vhd, block), at->buf,
				  (size_t)at->block_total);

	if (!err && vhd->parent) {
		err = compact_read_parent(at, block);
	}
	if (err) {
		return err;
	}
	sectors = (uint32_t)num_min(sectors, left);
	for (uint32_t i = 0; i < sectors;) {
		bool set;
		uint32_t n = vhd_bitmap_run(at->buf, i, sectors - i, &set);
		size_t from = (size_t)i * VHD_SECTOR_BYTES, bytes = (size_t)n * VHD_SECTOR_BYTES;

		if (set && (vhd->parent ? memcmp(data + from, at->other + from, bytes) != 0
					: !bytes_is_zero(data + from, bytes))) {
			*ret = false;
			return 0;
		}
		i += n;
	}
	*ret = true;
	return 0;
}

/* Writes the whole table; then it is stable. */
static int compact_write_table(struct vhd_compacting *at)
{
	struct vhd *vhd = at->vhd;
	int err;

	for (uint32_t i = 0; i < vhd->header.entries; i++) {
		bytes_put_be32(vhd->table_disk + (size_t)i * 4, vhd->table[i]);
	}
	err = block_sync_write(at->file, vhd->header.table_offset, vhd->table_disk,
			       (size_t)vhd_table_bytes(vhd->header.entries));
	return err ? err : block_sync_flush(at->file);
}

static int compact_drop(struct vhd_compacting *at)
{
	struct vhd *vhd = at->vhd;
	bool needless;
	int err = 0;

	for (uint32_t i = 0; i < vhd->header.entries && !err; i++) {
		/* Each block is looked at, and half of them at most are moved. */
		err = compact_report(at, i, (uint64_t)vhd->header.entries * 3 / 2);
		if (err || vhd->table[i] == VHD_NO_BLOCK) {
			continue;
		}
		/* A place beyond the disk's end is what a crash in a shrink leaves. */
		if (i >= vhd_entries(vhd->footer.bytes, vhd->header.block_bytes)) {
			vhd->table[i] = VHD_NO_BLOCK;
			continue;
		}
		err = compact_is_needless(at, i, &needless);
		if (!err && needless) {
			vhd->table[i] = VHD_NO_BLOCK;
		}
	}
	return err ? err : compact_write_table(at);
}

/* ---- moving ------------------------------------------------------------------------------------ */

static int compare_places(const void *a, const void *b)
{
	const struct compact_place *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

static void compact_add(struct vhd_compacting *at, uint64_t from, uint64_t bytes, uint32_t block)
{
	at->places[at->count++] = (struct compact_place){ from, bytes, block };
}

static int compact_list(struct vhd_compacting *at)
{
	const struct vhd *vhd = at->vhd;

	at->places =
		fault_alloc((size_t)vhd->header.entries + 3 + VHD_LOCATORS, sizeof(*at->places));
	if (!at->places) {
		return -ENOMEM;
	}
	compact_add(at, 0, sizeof(struct vhd_wire_footer), VHD_NO_BLOCK);
	compact_add(at, vhd->footer.header_offset, sizeof(struct vhd_wire_header), VHD_NO_BLOCK);
	compact_add(at, vhd->header.table_offset, vhd_table_bytes(vhd->header.entries),
		    VHD_NO_BLOCK);
	for (int i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *locator = &vhd->header.locators[i];

		if (locator->platform != 0) {
			compact_add(at, locator->offset, locator->space_bytes, VHD_NO_BLOCK);
		}
	}
	for (uint32_t i = 0; i < vhd->header.entries; i++) {
		if (vhd->table[i] != VHD_NO_BLOCK) {
			compact_add(at, vhd_bitmap_at(vhd, i), at->block_total, i);
		}
	}
	qsort(at->places, at->count, sizeof(*at->places), compare_places);
	return 0;
}

static int compact_move(struct vhd_compacting *at, struct compact_place *place, uint64_t to)
{
	int err = block_sync_read(at->file, place->from, at->buf, (size_t)at->block_total);

	if (!err) {
		err = block_sync_write(at->file, to, at->buf, (size_t)at->block_total);
	}
	if (!err) {
		at->vhd->table[place->block] = (uint32_t)(to / VHD_SECTOR_BYTES);
		place->from = to;
	}
	return err;
}

/* What a batch moved is on stable storage, and then the table says so. */
static int compact_settle(struct vhd_compacting *at)
{
	int err = block_sync_flush(at->file);

	return err ? err : compact_write_table(at);
}

/* The last blocks into the first gaps, until these meet. */
static int compact_pack(struct vhd_compacting *at)
{
	uint32_t last = at->count, batch = 0;
	uint64_t cursor = 0;
	int err = 0;

	for (uint32_t i = 0; i < last && !err; i++) {
		while (!err) {
			uint64_t to = vhd_place(cursor, at->vhd->bitmap_bytes);

			if (to + at->block_total > at->places[i].from) {
				break;
			}
			while (last > i && at->places[last - 1].block == VHD_NO_BLOCK) {
				last--; /* a table that lies there stays there */
			}
			if (last <= i || at->places[last - 1].from <= to) {
				break;
			}
			err = compact_move(at, &at->places[--last], to);
			cursor = to + at->block_total;
			if (!err && ++batch % COMPACT_BATCH == 0) {
				err = compact_settle(at);
			}
			if (!err) {
				err = compact_report(at, at->vhd->header.entries + batch / 2,
						     (uint64_t)at->vhd->header.entries * 3 / 2 + 1);
			}
		}
		if (i < last) {
			cursor = num_max(cursor, at->places[i].from + at->places[i].bytes);
		}
	}
	return err || batch % COMPACT_BATCH == 0 ? err : compact_settle(at);
}

static int compact_cut(struct vhd_compacting *at)
{
	struct vhd *vhd = at->vhd;
	uint64_t end = 0;
	int err;

	for (uint32_t i = 0; i < at->count; i++) {
		end = num_max(end, at->places[i].from + at->places[i].bytes);
	}
	end = num_align_up(end, VHD_SECTOR_BYTES);
	if (end >= vhd->footer_at) {
		return 0;
	}
	err = block_sync_write(at->file, end, &vhd->footer.wire, sizeof(vhd->footer.wire));
	if (!err) {
		err = block_sync_flush(at->file);
	}
	return err ? err : block_sync_resize(at->file, end + VHD_SECTOR_BYTES);
}

static int compact_all(struct vhd_compacting *at, struct diag *reterr)
{
	struct vhd *vhd = at->vhd;
	int err;

	at->block_total = vhd->bitmap_bytes + (uint64_t)vhd->header.block_bytes;
	at->buf = fault_alloc(1, (size_t)at->block_total);
	at->other = vhd->parent ? fault_alloc(1, vhd->header.block_bytes) : NULL;
	if (!at->buf || (vhd->parent && !at->other)) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	err = block_sync_create(vhd_file(vhd), &at->file, reterr);
	if (!err && vhd->parent) {
		err = block_sync_create(vhd->parent, &at->parent, reterr);
	}
	if (err) {
		return err;
	}
	err = compact_drop(at);
	if (!err) {
		err = compact_list(at);
	}
	if (!err) {
		err = compact_pack(at);
	}
	if (!err) {
		err = compact_cut(at);
	}
	return err ? diag_set(reterr, err, "disk %s: compacting it: %s", vhd->path, strerror(-err))
		   : 0;
}

int vhd_image_compact(const char *path, const struct image_progress *progress, uint64_t *ret_bytes,
		      struct diag *reterr)
{
	struct block_config config = { .kind = BLOCK_VHD, .path = path };
	struct vhd_compacting at = { .progress = progress };
	uint64_t before, after;
	struct block *block;
	int err;

	err = block_open(&config, &block, reterr);
	if (err) {
		return err;
	}
	at.vhd = vhd_of(block);
	check(at.vhd);
	if (vhd_is_fixed(at.vhd)) {
		block_close(block);
		return diag_set(reterr, -EINVAL,
				"disk %s: a fixed VHD has all its space by definition: convert it "
				"to a dynamic one",
				path);
	}
	before = block_info(vhd_file(at.vhd))->bytes;
	err = compact_all(&at, reterr);
	block_sync_destroy(at.parent);
	block_sync_destroy(at.file);
	after = block_info(vhd_file(at.vhd))->bytes;
	block_close(block);
	free(at.buf);
	free(at.other);
	free(at.places);
	if (!err) {
		*ret_bytes = before > after ? before - after : 0;
	}
	return err;
}

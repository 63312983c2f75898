/* SPDX-License-Identifier: MIT */
/* Opening a VHD: everything in it is checked before anything is written. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "block/utf16.h"
#include "block/vhd_internal.h"

#define VHD_PATH_BYTES 4096
#define VHD_REGIONS    (3 + VHD_LOCATORS)

/* Places of the file that hold no blocks. */
struct vhd_region {
	uint64_t from, bytes;
};

/* What opening knows besides. */
struct vhd_opening {
	struct vhd *vhd;
	const struct block_config *config;
	struct block_sync *file;
	uint64_t file_bytes;
	struct vhd_wire_footer head, tail;
	bool is_head_good, is_tail_good;
	struct vhd_region regions[VHD_REGIONS];
	unsigned int region_count;
	struct diag *reterr;
};

static int open_bad(const struct vhd_opening *open, const char *what)
{
	return diag_set(open->reterr, -EINVAL,
			"disk %s is damaged: %s: look at it with `tabique disk check %s`",
			open->config->path, what, open->config->path);
}

static int open_io(const struct vhd_opening *open, int err)
{
	return diag_set(open->reterr, err, "disk %s cannot be read: %s", open->config->path,
			strerror(-err));
}

/* ---- footers ----------------------------------------------------------------------------------- */

/*
 * Which of the two counts. A fixed disk's first sector is its guest's, and a dynamic one's last sector
 * may be, after a crash: so a fixed footer at the end decides, and else the copy at the beginning.
 */
static int open_choose_footer(struct vhd_opening *open)
{
	struct vhd_footer head, tail;
	int head_err = vhd_footer_parse(&open->head, &head);
	int tail_err = vhd_footer_parse(&open->tail, &tail);

	if (!tail_err && tail.type == VHD_FIXED) {
		open->vhd->footer = tail;
		open->is_tail_good = true;
		return 0;
	}
	if (!head_err && head.type != VHD_FIXED) {
		open->vhd->footer = head;
		open->is_head_good = true;
		open->is_tail_good = !tail_err && tail.type == head.type &&
				     guid_is_equal(&tail.id, &head.id) && tail.bytes == head.bytes;
		return 0;
	}
	if (!tail_err) {
		open->vhd->footer = tail;
		open->is_tail_good = true;
		return 0;
	}
	if (head_err == -EBADMSG || tail_err == -EBADMSG) {
		return open_bad(open, "its footer is wrong and so is the copy of it");
	}
	return diag_set(open->reterr, -EINVAL,
			"disk %s has no VHD footer: is it another format, or cut off? A raw image "
			"opens with format=raw",
			open->config->path);
}

static int open_footers(struct vhd_opening *open)
{
	int err;

	if (open->file_bytes < VHD_SECTOR_BYTES) {
		return diag_set(open->reterr, -EINVAL, "disk %s is too short for a VHD",
				open->config->path);
	}
	err = block_sync_read(open->file, 0, &open->head, sizeof(open->head));
	if (!err) {
		err = block_sync_read(open->file, open->file_bytes - sizeof(open->tail),
				      &open->tail, sizeof(open->tail));
	}
	return err ? open_io(open, err) : open_choose_footer(open);
}

static int open_fixed(struct vhd_opening *open)
{
	struct vhd *vhd = open->vhd;

	if (vhd->footer.bytes > open->file_bytes - VHD_SECTOR_BYTES) {
		return open_bad(open, "the file is shorter than the disk in it");
	}
	vhd->footer_at = open->file_bytes - VHD_SECTOR_BYTES;
	vhd->end = vhd->footer_at;
	return 0;
}

/* ---- tables ------------------------------------------------------------------------------------ */

static void open_add_region(struct vhd_opening *open, uint64_t from, uint64_t bytes)
{
	open->regions[open->region_count++] = (struct vhd_region){ from, bytes };
	open->vhd->end = num_max(open->vhd->end, num_align_up(from + bytes, VHD_SECTOR_BYTES));
}

static int open_header(struct vhd_opening *open)
{
	struct vhd *vhd = open->vhd;
	struct vhd_wire_header wire;
	int err;

	if (!num_range_fits(vhd->footer.header_offset, sizeof(wire), open->file_bytes)) {
		return open_bad(open, "its header lies beyond the end of the file");
	}
	err = block_sync_read(open->file, vhd->footer.header_offset, &wire, sizeof(wire));
	if (err) {
		return open_io(open, err);
	}
	if (vhd_header_parse(&wire, &vhd->header)) {
		return open_bad(open, "its header is wrong");
	}
	if (vhd->header.entries < vhd_entries(vhd->footer.bytes, vhd->header.block_bytes)) {
		return open_bad(open, "its block table is too short for its size");
	}
	if (!num_range_fits(vhd->header.table_offset, vhd_table_bytes(vhd->header.entries),
			    open->file_bytes)) {
		return open_bad(open, "its block table lies beyond the end of the file");
	}
	open_add_region(open, 0, sizeof(struct vhd_wire_footer));
	open_add_region(open, vhd->footer.header_offset, sizeof(wire));
	open_add_region(open, vhd->header.table_offset, vhd_table_bytes(vhd->header.entries));
	for (int i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *locator = &vhd->header.locators[i];

		if (locator->platform == 0 || locator->length_bytes == 0) {
			continue;
		}
		if (!num_range_fits(locator->offset, locator->length_bytes, open->file_bytes)) {
			return open_bad(open, "a parent's path lies beyond the end of the file");
		}
		open_add_region(open, locator->offset, locator->length_bytes);
	}
	for (unsigned int i = 0; i < open->region_count; i++) {
		for (unsigned int j = 0; j < i; j++) {
			if (open->regions[i].from <
				    open->regions[j].from + open->regions[j].bytes &&
			    open->regions[j].from <
				    open->regions[i].from + open->regions[i].bytes) {
				return open_bad(open, "two of its tables lie on each other");
			}
		}
	}
	return 0;
}

/* One mapping for all arrays; pages that are never used are never there. */
static int open_arrays(struct vhd *vhd)
{
	uint32_t wanted = vhd_entries(VHD_BYTES_MAX, vhd->header.block_bytes);
	uint64_t entries =
		num_align_up(num_max(num_min(wanted, VHD_ENTRIES_MAX), vhd->header.entries),
			     VHD_TABLE_PAGE_ENTRIES);
	uint8_t *at = MAP_FAILED;

	vhd->entries_max = (uint32_t)entries;
	vhd->arrays_bytes = (size_t)(entries * (5 * 4 + 1) + entries / VHD_TABLE_PAGE_ENTRIES);
	if (!fault_point()) {
		at = mmap(NULL, vhd->arrays_bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	}
	if (at == MAP_FAILED) {
		return -ENOMEM;
	}
	vhd->arrays = at;
	vhd->table_disk = at; /* page-aligned, for direct I/O */
	vhd->table = (uint32_t *)(at + entries * 4);
	vhd->slot_of = vhd->table + entries;
	vhd->dirty = vhd->slot_of + entries;
	vhd->committing = vhd->dirty + entries;
	vhd->state = (uint8_t *)(vhd->committing + entries);
	vhd->page_marks = vhd->state + entries;
	return 0;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* No two blocks may lie on each other: a write to one would change the other. */
static int open_check_overlap(struct vhd_opening *open, uint32_t count)
{
	struct vhd *vhd = open->vhd;
	uint64_t sectors = (vhd->bitmap_bytes + vhd->header.block_bytes) / VHD_SECTOR_BYTES;
	uint32_t *sorted = vhd->dirty; /* not used yet */
	int err = 0;

	qsort(sorted, count, sizeof(*sorted), compare_u32);
	for (uint32_t i = 1; i < count && !err; i++) {
		if (sorted[i] - sorted[i - 1] < sectors) {
			err = open_bad(open, "two of its blocks lie on each other");
		}
	}
	return err;
}

static int open_check_block(struct vhd_opening *open, uint64_t from, uint64_t bytes)
{
	if (!num_range_fits(from, bytes, open->file_bytes)) {
		return open_bad(open, "one of its blocks lies beyond the end of the file");
	}
	for (unsigned int i = 0; i < open->region_count; i++) {
		const struct vhd_region *region = &open->regions[i];

		if (from < region->from + region->bytes && region->from < from + bytes) {
			return open_bad(open, "one of its blocks lies on its tables");
		}
	}
	return 0;
}

static int open_table(struct vhd_opening *open)
{
	struct vhd *vhd = open->vhd;
	uint64_t bytes = vhd->bitmap_bytes + (uint64_t)vhd->header.block_bytes;
	uint64_t end = vhd->end;
	uint32_t count = 0;
	int err;

	err = block_sync_read(open->file, vhd->header.table_offset, vhd->table_disk,
			      (size_t)vhd_table_bytes(vhd->header.entries));
	if (err) {
		return open_io(open, err);
	}
	/* What is behind is filled when it grows (resize_table): it may be large, and never used. */
	for (uint32_t i = 0; i < vhd->header.entries; i++) {
		vhd->table[i] = bytes_be32(vhd->table_disk + (size_t)i * 4);
		if (vhd->table[i] == VHD_NO_BLOCK) {
			continue;
		}
		err = open_check_block(open, vhd_bitmap_at(vhd, i), bytes);
		if (err) {
			return err;
		}
		vhd->dirty[count++] = vhd->table[i];
		end = num_max(end, vhd_bitmap_at(vhd, i) + bytes);
	}
	err = open_check_overlap(open, count);
	if (err) {
		return err;
	}
	vhd->end = end;
	vhd->footer_at = VHD_NO_OFFSET;
	if (open->is_tail_good) {
		vhd->footer_at = open->file_bytes - VHD_SECTOR_BYTES;
		vhd->end = num_max(vhd->end, vhd->footer_at);
		if (vhd->end != vhd->footer_at) {
			return open_bad(open, "its footer lies in a block");
		}
	}
	return 0;
}

static int open_dynamic(struct vhd_opening *open)
{
	struct vhd *vhd = open->vhd;
	int err = open_header(open);

	if (err) {
		return err;
	}
	if (!open->config->read_only && block_info(vhd_file(vhd))->grow_bytes_max == 0) {
		return diag_set(
			open->reterr, -EINVAL,
			"disk %s: a VHD that grows cannot be written on a block device: use "
			"readonly=on, or copy it to a file",
			open->config->path);
	}
	vhd->bitmap_bytes = vhd_bitmap_bytes(vhd->header.block_bytes);
	err = open_arrays(vhd);
	if (!err) {
		err = vhd_bitmaps_init(vhd);
	}
	if (!err) {
		err = block_fragments_init(&vhd->fragments, &vhd->block, VHD_FRAGMENTS,
					   vhd_advance);
	}
	if (err) {
		return diag_set(open->reterr, err, "disk %s: no memory for its tables",
				open->config->path);
	}
	return open_table(open);
}

/* ---- the parent -------------------------------------------------------------------------------- */

int vhd_locator_read(struct block_sync *file, const struct vhd_locator *locator, char *buf,
		     size_t bytes)
{
	auto_free uint8_t *text = fault_alloc(1, locator->length_bytes + VHD_SECTOR_BYTES);
	uint64_t length = num_align_up(locator->length_bytes, VHD_SECTOR_BYTES);
	int err;

	if (!text) {
		return -ENOMEM;
	}
	err = block_sync_read(file, locator->offset, text, (size_t)length);
	return err ? err : utf16_to_utf8(text, locator->length_bytes, false, buf, bytes);
}

struct vhd *vhd_of(struct block *block)
{
	for (; block; block = block->lower) {
		if (block->ops == &vhd_ops) {
			return container_of(block, struct vhd, block);
		}
	}
	return NULL;
}

/* Opens it at this path and compares identifiers. */
static int open_parent_at(struct vhd_opening *open, const char *path)
{
	struct vhd *vhd = open->vhd, *parent;
	struct block *block;
	struct stat st;
	int err;

	err = block_parent_open(open->config, path, BLOCK_VHD, &block, open->reterr);
	if (err) {
		return err;
	}
	parent = vhd_of(block);
	if (!parent || !guid_is_equal(&parent->footer.id, &vhd->header.parent_id)) {
		block_close(block);
		return diag_set(
			open->reterr, -ESTALE,
			"disk %s: %s is not the parent that it was made from: its identifier "
			"differs",
			open->config->path, path);
	}
	vhd->parent_modified =
		stat(parent->path, &st) == 0 &&
		(uint32_t)(st.st_mtim.tv_sec - VHD_EPOCH_S) != vhd->header.parent_time_stamp;
	vhd->parent_path = strdup(parent->path);
	vhd->parent = block;
	return vhd->parent_path ? 0 : diag_set(open->reterr, -ENOMEM, "no memory");
}

/* Whether another of the image's words for its parent may be right where this one was not. */
static bool open_may_go_on(int err)
{
	return err == -ENOENT || err == -ENOTDIR || err == -ESTALE || err == -ENAMETOOLONG;
}

static int open_parent(struct vhd_opening *open)
{
	static const uint32_t platforms[] = { VHD_PLATFORM_RELATIVE, VHD_PLATFORM_ABSOLUTE };
	const struct vhd_header *header = &open->vhd->header;
	char path[VHD_PATH_BYTES];
	int result = 0, err;

	for (size_t p = 0; p < ARRAY_SIZE(platforms); p++) {
		for (int i = 0; i < VHD_LOCATORS; i++) {
			if (header->locators[i].platform != platforms[p] ||
			    vhd_locator_read(open->file, &header->locators[i], path,
					     sizeof(path)) ||
			    !path[0]) {
				continue;
			}
			err = open_parent_at(open, path);
			if (!open_may_go_on(err)) {
				return err;
			}
			result = err;
		}
	}
	if (utf16_to_utf8(header->wire.parent_name, sizeof(header->wire.parent_name), true, path,
			  sizeof(path)) == 0 &&
	    path[0]) {
		err = open_parent_at(open, path);
		if (!open_may_go_on(err)) {
			return err;
		}
		result = err;
	}
	return result ? result : open_bad(open, "it does not name its parent");
}

/* ---- all of it --------------------------------------------------------------------------------- */

/* After a crash: the footer's copy is written where its original should be, or the other way. */
static int open_repair(struct vhd_opening *open)
{
	struct vhd *vhd = open->vhd;
	int err = 0;

	if (open->config->read_only || vhd_is_fixed(vhd) ||
	    (open->is_head_good && open->is_tail_good)) {
		return 0;
	}
	if (!open->is_tail_good) {
		/* What lies there was on its way when the power went: nobody refers to it (V1). */
		if (open->file_bytes > vhd->end) {
			err = block_sync_resize(open->file, vhd->end);
		}
		if (!err) {
			err = block_sync_write(open->file, vhd->end, &vhd->footer.wire,
					       sizeof(vhd->footer.wire));
		}
		vhd->footer_at = vhd->end;
	}
	if (!err && !open->is_head_good) {
		err = block_sync_write(open->file, 0, &vhd->footer.wire, sizeof(vhd->footer.wire));
	}
	if (!err) {
		err = block_sync_flush(open->file);
	}
	return err ? diag_set(open->reterr, err, "disk %s: its footer cannot be repaired: %s",
			      open->config->path, strerror(-err))
		   : 0;
}

static int open_all(struct vhd_opening *open)
{
	struct vhd *vhd = open->vhd;
	int err = open_footers(open);

	if (!err) {
		err = vhd_is_fixed(vhd) ? open_fixed(open) : open_dynamic(open);
	}
	if (!err && vhd->footer.type == VHD_DIFFERENCING) {
		err = open_parent(open);
	}
	return err ? err : open_repair(open);
}

static void open_fill_info(struct vhd *vhd, const struct block_config *config)
{
	const struct block_info *file = block_info(vhd_file(vhd));
	struct block_info *info = &vhd->block.info;

	info->bytes = vhd->footer.bytes;
	info->logical_block_bytes = VHD_SECTOR_BYTES;
	info->physical_block_bytes = file->physical_block_bytes;
	info->read_only = config->read_only;
	info->rotational = file->rotational;
	info->can_discard = file->can_discard && !config->read_only;
	info->can_write_zeroes = file->can_write_zeroes && !config->read_only;
	/* A parent that is longer than its child would show through where the child grows. */
	info->can_resize =
		file->can_resize && file->can_write_zeroes && !config->read_only && !vhd->parent;
	guid_format(&vhd->footer.id, info->identity);
	vhd->block.is_direct = vhd_file(vhd)->is_direct;
}

int block_vhd_open(const struct block_config *config, struct block *file_take, struct block **ret,
		   struct diag *reterr)
{
	struct vhd *vhd = fault_alloc(1, sizeof(*vhd));
	struct vhd_opening open = { .vhd = vhd, .config = config, .reterr = reterr };
	int err;

	if (!vhd) {
		block_close(file_take);
		return diag_set(reterr, -ENOMEM, "disk %s: no memory for it", config->path);
	}
	block_init(&vhd->block, &vhd_ops);
	vhd->block.lower = file_take;
	vhd_commit_init(vhd);
	open.file_bytes = num_align_down(block_info(file_take)->bytes, VHD_SECTOR_BYTES);
	vhd->path = fault_point() ? NULL : strdup(config->path);
	vhd->footer_out = aligned_alloc(4096, 4096);
	vhd->header_out = aligned_alloc(4096, 4096);
	if (!vhd->path || !vhd->footer_out || !vhd->header_out) {
		err = diag_set(reterr, -ENOMEM, "disk %s: no memory for it", config->path);
	} else {
		err = block_sync_create(file_take, &open.file, reterr);
	}
	if (!err) {
		err = open_all(&open);
		block_sync_destroy(open.file);
	}
	if (err) {
		block_close(&vhd->block);
		return err;
	}
	open_fill_info(vhd, config);
	*ret = &vhd->block;
	return 0;
}

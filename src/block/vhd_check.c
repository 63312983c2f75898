/* SPDX-License-Identifier: MIT */
/* A VHD examined: every table against every other. Nothing of its data is read. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "block/utf16.h"
#include "block/vhd_internal.h"

struct vhd_checking {
	const char *path;
	bool repair;
	struct image_report *report;
	const struct image_progress *progress;
	unsigned int lines;
	struct block_sync *file;
	uint64_t file_bytes;
	struct vhd_footer footer;
	bool is_head_good, is_tail_good, is_tail_wanted;
	struct vhd_header header;
	uint64_t tables_end; /* behind the last that is no block */
	uint8_t *table;
	uint32_t *sorted, count;
	uint64_t blocks_end;
};

__attribute__((format(printf, 3, 4))) static void check_say(struct vhd_checking *at,
							    uint64_t *count, const char *fmt, ...)
{
	char text[256];
	va_list args;

	++*count;
	if (!at->report->line || at->lines++ >= IMAGE_LINES_MAX) {
		return;
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	at->report->line(at->report->ctx, text);
}

#define check_error(at, ...) check_say(at, &(at)->report->errors, __VA_ARGS__)

/* 0: there is a footer to go by. */
static int check_footers(struct vhd_checking *at, struct diag *reterr)
{
	struct vhd_wire_footer head_wire, tail_wire;
	struct vhd_footer head, tail;
	int head_err, tail_err, err;

	if (at->file_bytes < sizeof(head_wire)) {
		return diag_set(reterr, -EINVAL, "disk %s is too short for a VHD", at->path);
	}
	err = block_sync_read(at->file, 0, &head_wire, sizeof(head_wire));
	if (!err) {
		err = block_sync_read(at->file, at->file_bytes - sizeof(tail_wire), &tail_wire,
				      sizeof(tail_wire));
	}
	if (err) {
		return diag_set(reterr, err, "disk %s cannot be read: %s", at->path,
				strerror(-err));
	}
	head_err = vhd_footer_parse(&head_wire, &head);
	tail_err = vhd_footer_parse(&tail_wire, &tail);
	at->is_tail_good = !tail_err;
	at->is_head_good = !head_err && head.type != VHD_FIXED;
	if (!tail_err && tail.type == VHD_FIXED) {
		at->footer = tail;
		return 0;
	}
	if (!at->is_head_good && !at->is_tail_good) {
		if (head_err == -EINVAL && tail_err == -EINVAL) {
			return diag_set(reterr, -EINVAL, "disk %s has no VHD footer: it is no VHD",
					at->path);
		}
		check_error(at, "the footer and its copy are both damaged");
		return -EBADMSG;
	}
	at->footer = at->is_head_good ? head : tail;
	if (!at->is_tail_good) {
		check_error(at, "the footer at the end of the file is missing or damaged");
	} else if (!at->is_head_good) {
		check_error(at, "the footer's copy at the beginning of the file is damaged");
	} else if (memcmp(&head_wire, &tail_wire, sizeof(head_wire)) != 0) {
		at->is_tail_good = false;
		check_error(at, "the footer and its copy differ");
	}
	return 0;
}

/* 0: the header can be gone by. */
static int check_header(struct vhd_checking *at)
{
	struct vhd_wire_header wire;
	uint64_t table_bytes;

	if (!num_range_fits(at->footer.header_offset, sizeof(wire), at->file_bytes) ||
	    block_sync_read(at->file, at->footer.header_offset, &wire, sizeof(wire))) {
		check_error(at, "the header lies beyond the end of the file");
		return -EBADMSG;
	}
	if (vhd_header_parse(&wire, &at->header)) {
		check_error(at, "the header is damaged");
		return -EBADMSG;
	}
	table_bytes = vhd_table_bytes(at->header.entries);
	if (!num_range_fits(at->header.table_offset, table_bytes, at->file_bytes)) {
		check_error(at, "the block table lies beyond the end of the file");
		return -EBADMSG;
	}
	if (at->header.entries < vhd_entries(at->footer.bytes, at->header.block_bytes)) {
		check_error(at, "the block table has %u entries, the disk needs %u",
			    at->header.entries,
			    vhd_entries(at->footer.bytes, at->header.block_bytes));
		return -EBADMSG;
	}
	at->tables_end = num_max(at->footer.header_offset + sizeof(wire),
				 at->header.table_offset + table_bytes);
	return 0;
}

static void check_locators(struct vhd_checking *at)
{
	char path[4096];

	for (int i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *locator = &at->header.locators[i];

		if (locator->platform == 0 || locator->length_bytes == 0) {
			continue;
		}
		if (!num_range_fits(locator->offset,
				    num_align_up(locator->length_bytes, VHD_SECTOR_BYTES),
				    at->file_bytes)) {
			check_error(at, "path %d of the parent lies beyond the end of the file", i);
			continue;
		}
		at->tables_end = num_max(at->tables_end, locator->offset + locator->length_bytes);
		if ((locator->platform == VHD_PLATFORM_RELATIVE ||
		     locator->platform == VHD_PLATFORM_ABSOLUTE) &&
		    vhd_locator_read(at->file, locator, path, sizeof(path))) {
			check_error(at, "path %d of the parent is no text", i);
		}
	}
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static bool check_block(struct vhd_checking *at, uint32_t i, uint32_t sector)
{
	uint64_t from = (uint64_t)sector * VHD_SECTOR_BYTES;
	uint64_t bytes =
		vhd_bitmap_bytes(at->header.block_bytes) + (uint64_t)at->header.block_bytes;
	uint64_t table = at->header.table_offset;
	uint64_t table_end = table + vhd_table_bytes(at->header.entries);

	if (!num_range_fits(from, bytes, at->file_bytes)) {
		check_error(at, "block %u lies beyond the end of the file", i);
		return false;
	}
	if (from < sizeof(struct vhd_wire_footer) || (from < table_end && table < from + bytes) ||
	    (from < at->footer.header_offset + sizeof(struct vhd_wire_header) &&
	     at->footer.header_offset < from + bytes)) {
		check_error(at, "block %u lies on the tables", i);
		return false;
	}
	at->blocks_end = num_max(at->blocks_end, from + bytes);
	return true;
}

/* Blocks on each other, and room for blocks between them that no block is in. */
static void check_places(struct vhd_checking *at)
{
	uint64_t bytes =
		vhd_bitmap_bytes(at->header.block_bytes) + (uint64_t)at->header.block_bytes;
	uint64_t end = 0;

	qsort(at->sorted, at->count, sizeof(*at->sorted), compare_u32);
	for (uint32_t i = 0; i <= at->count; i++) {
		uint64_t from =
			i < at->count ? (uint64_t)at->sorted[i] * VHD_SECTOR_BYTES : at->file_bytes;

		if (i > 0 && i < at->count && from < end) {
			check_error(at, "two blocks lie on each other at byte %llu of the file",
				    (unsigned long long)from);
		}
		/* The tables may lie anywhere: what comes before their end is not looked at. */
		end = num_max(end, at->tables_end);
		while (end + bytes + VHD_SECTOR_BYTES <= from) {
			at->report->leaks++;
			end += bytes;
		}
		end = from + bytes;
	}
}

static int check_table(struct vhd_checking *at, struct diag *reterr)
{
	uint32_t needed = vhd_entries(at->footer.bytes, at->header.block_bytes);
	uint64_t bytes = vhd_table_bytes(at->header.entries), stale = 0;
	int err;

	at->table = fault_alloc(1, (size_t)bytes);
	at->sorted = fault_alloc(at->header.entries, sizeof(*at->sorted));
	if (!at->table || !at->sorted) {
		return diag_set(reterr, -ENOMEM, "disk %s: no memory for its table", at->path);
	}
	err = block_sync_read(at->file, at->header.table_offset, at->table, (size_t)bytes);
	if (err) {
		return diag_set(reterr, err, "disk %s cannot be read: %s", at->path,
				strerror(-err));
	}
	for (uint32_t i = 0; i < at->header.entries; i++) {
		uint32_t sector = bytes_be32(at->table + (size_t)i * 4);

		if (i % 4096 == 0 && at->progress && at->progress->report &&
		    !at->progress->report(at->progress->ctx, i, at->header.entries)) {
			return diag_set(reterr, -ECANCELED, "given up");
		}
		if (sector == VHD_NO_BLOCK) {
			continue;
		}
		if (i >= needed) {
			stale++;
			bytes_put_be32(at->table + (size_t)i * 4, VHD_NO_BLOCK);
		} else if (check_block(at, i, sector)) {
			at->sorted[at->count++] = sector;
		}
	}
	check_places(at);
	if (stale > 0) {
		check_error(at, "%llu blocks lie beyond the end of the disk",
			    (unsigned long long)stale);
		if (at->repair) {
			err = block_sync_write(at->file, at->header.table_offset, at->table,
					       (size_t)bytes);
			at->report->repaired += err ? 0 : 1;
		}
	}
	return err ? diag_set(reterr, err, "disk %s cannot be repaired: %s", at->path,
			      strerror(-err))
		   : 0;
}

/* One of the footers from the other, which is no guess: they are meant to be alike. */
static int check_mend_footers(struct vhd_checking *at, struct diag *reterr)
{
	uint64_t end = num_max(at->blocks_end, at->tables_end);
	int err = 0;

	if (!at->repair || (at->is_head_good && at->is_tail_good)) {
		return 0;
	}
	if (at->is_head_good) {
		end = num_align_up(end, VHD_SECTOR_BYTES);
		if (at->file_bytes > end) {
			err = block_sync_resize(at->file, end);
		}
		if (!err) {
			err = block_sync_write(at->file, end, &at->footer.wire,
					       sizeof(at->footer.wire));
		}
	} else {
		err = block_sync_write(at->file, 0, &at->footer.wire, sizeof(at->footer.wire));
	}
	if (!err) {
		err = block_sync_flush(at->file);
	}
	if (err) {
		return diag_set(reterr, err, "disk %s cannot be repaired: %s", at->path,
				strerror(-err));
	}
	at->report->repaired++;
	return 0;
}

/* That it is there and the right one: as opening the image finds it. */
static void check_parent(struct vhd_checking *at)
{
	struct block_config config = { .kind = BLOCK_VHD, .path = at->path, .read_only = true };
	struct block *block;
	struct diag diag;

	if (block_open(&config, &block, &diag)) {
		check_error(at, "%.240s", diag.text);
	} else {
		block_close(block);
	}
}

static int check_all(struct vhd_checking *at, struct diag *reterr)
{
	int err = check_footers(at, reterr);

	if (err) {
		return err == -EBADMSG ? 0 : err;
	}
	if (at->footer.type == VHD_FIXED) {
		if (at->footer.bytes > at->file_bytes - VHD_SECTOR_BYTES) {
			check_error(at, "the file is shorter than the disk in it");
		}
		return 0;
	}
	if (check_header(at)) {
		return 0;
	}
	check_locators(at);
	err = check_table(at, reterr);
	if (!err && at->report->errors > 0 && at->blocks_end > at->file_bytes) {
		return 0;
	}
	return err ? err : check_mend_footers(at, reterr);
}

int vhd_image_check(const char *path, bool repair, struct image_report *report,
		    const struct image_progress *progress, struct diag *reterr)
{
	struct vhd_checking at = {
		.path = path,
		.repair = repair,
		.report = report,
		.progress = progress,
	};
	struct block_config config = {
		.kind = BLOCK_RAW,
		.path = path,
		.read_only = !repair,
		.growable = true,
	};
	struct block *block;
	int err;

	err = block_open(&config, &block, reterr);
	if (err) {
		return err;
	}
	at.file_bytes = num_align_down(block_info(block)->bytes, VHD_SECTOR_BYTES);
	err = block_sync_create(block, &at.file, reterr);
	if (!err) {
		err = check_all(&at, reterr);
		block_sync_destroy(at.file);
	}
	block_close(block);
	if (!err && at.footer.type == VHD_DIFFERENCING && report->errors == report->repaired) {
		check_parent(&at);
	}
	free(at.table);
	free(at.sorted);
	return err;
}

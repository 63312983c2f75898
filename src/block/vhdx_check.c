/* SPDX-License-Identifier: MIT */
/*
 * VHDX: examining an image. Unlike opening, this goes on after the first thing that is wrong, as far as it
 * can be told what the rest means. Mended is what needs no guess: a log is replayed, a damaged copy is
 * made from the good one, an entry that names nothing but air is dropped, space at the end is cut off.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

#define CHECK_PIECE_BYTES (1U << 20)

struct check {
	const char *path;
	bool repair;
	struct image_report *report;
	const struct image_progress *progress;
	struct diag *reterr;
	unsigned int lines;
	struct vhdx_reader reader;
	struct vhdx_headers headers;
	struct vhdx *vhdx; /* only what there is of it: regions, geometry, space */
	uint8_t *buf;
	bool is_touched; /* a header says that the file has been changed */
};

__attribute__((format(printf, 2, 3))) static void check_say(struct check *check, const char *fmt,
							    ...)
{
	struct image_report *report = check->report;
	char text[DIAG_BYTES];
	va_list args;

	if (!report->line || check->lines++ >= IMAGE_LINES_MAX) {
		return;
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	report->line(report->ctx, text);
}

/* A structure that makes no sense ends the examination, but not as a failure: this is the result. */
static int check_wrong(struct check *check, int err, const struct diag *diag)
{
	if (err != -EINVAL && err != -EOPNOTSUPP) {
		*check->reterr = *diag;
		return err;
	}
	check->report->errors++;
	check_say(check, "%s", diag->text);
	return -EBADMSG;
}

/* Before the first change: a new file_write, as the format wants it. */
static int check_touch(struct check *check)
{
	static const struct vhdx_replay nothing;
	int err = check->is_touched ? 0
				    : vhdx_replay_apply(&nothing, &check->headers, &check->reader);

	check->is_touched = true;
	return err;
}

/* ---- headers, log, regions ----------------------------------------------------------------------- */

static int check_headers(struct check *check)
{
	unsigned int damaged;
	struct diag diag;
	int err = vhdx_read_headers(&check->reader, &check->headers, &diag);

	if (err) {
		return check_wrong(check, err, &diag);
	}
	damaged = !check->headers.is_valid[0] + !check->headers.is_valid[1];
	if (damaged) {
		check->report->errors++;
		check_say(check, "one copy of the header is damaged");
		if (check->repair) {
			err = check_touch(check);
			check->report->repaired += !err;
		}
	}
	return err;
}

static int check_log(struct check *check)
{
	struct vhdx_replay *replay = &check->vhdx->replay;
	struct diag diag;
	int err = vhdx_read_log(&check->reader, &check->headers, replay, &diag);

	if (err) {
		return check_wrong(check, err, &diag);
	}
	if (replay->entries == 0) {
		return 0;
	}
	check_say(check, "it was not closed: its log holds %u entries, which opening it applies",
		  replay->entries);
	if (check->repair) {
		err = vhdx_replay_apply(replay, &check->headers, &check->reader);
		check->report->repaired += !err;
		check->is_touched = true;
		vhdx_replay_fini(replay);
	} else {
		check->reader.replay = replay;
	}
	return err;
}

/* A damaged copy is made from the other one. */
static int check_mend_regions(struct check *check, const bool valid[VHDX_REGION_TABLE_COPIES])
{
	unsigned int good = valid[0] ? 0 : 1;
	uint8_t *buf = check->buf;
	int err = check_touch(check);

	err = err ? err
		  : block_sync_read(check->reader.sync, VHDX_REGION_TABLE_AT(good), buf,
				    VHDX_REGION_TABLE_BYTES);
	err = err ? err
		  : block_sync_write(check->reader.sync, VHDX_REGION_TABLE_AT(1 - good), buf,
				     VHDX_REGION_TABLE_BYTES);
	check->report->repaired += !err;
	return err;
}

static int check_regions(struct check *check)
{
	const struct vhdx_header *header = &check->headers.copy[check->headers.current];
	bool valid[VHDX_REGION_TABLE_COPIES];
	struct diag diag;
	int err = vhdx_read_regions(&check->reader, header, check->vhdx->regions, valid, &diag);

	if (err) {
		return check_wrong(check, err, &diag);
	}
	if (!valid[0] || !valid[1]) {
		check->report->errors++;
		check_say(check, "one copy of the region table is damaged");
		err = check->repair ? check_mend_regions(check, valid) : 0;
	}
	return err;
}

/* ---- the block table ----------------------------------------------------------------------------- */

/* Says what is wrong with this entry. Whether it may be dropped: what it names is not there at all. */
static bool check_entry(struct check *check, uint64_t index, uint64_t entry, bool *ret_drop)
{
	struct vhdx *vhdx = check->vhdx;
	bool is_bitmap = vhdx_bat_is_bitmap(&vhdx->geometry, index);
	uint64_t bytes = is_bitmap ? VHDX_BITMAP_BYTES : vhdx->geometry.block_bytes;
	uint64_t offset = entry & VHDX_BAT_OFFSET;
	const char *what = vhdx_bat_complain(vhdx, index, entry, check->reader.file_bytes);

	*ret_drop = what && (offset >= check->reader.file_bytes ||
			     (is_bitmap && !vhdx->geometry.has_parent));
	if (!what && (entry & VHDX_BAT_RESERVED)) {
		what = "has reserved bits set";
	}
	if (!what && vhdx_is_present(entry) && !vhdx_space_mark(&vhdx->space, offset, bytes)) {
		what = "names space that belongs to something else";
	}
	if (!what) {
		return true;
	}
	check->report->errors++;
	check_say(check, "entry %llu of the block table (state %u, at %llu) %s",
		  (unsigned long long)index, vhdx_state(entry), (unsigned long long)offset, what);
	return false;
}

/* A piece of the table, in check->buf; what may be dropped is. */
static int check_entries(struct check *check, uint64_t first, uint64_t count)
{
	bool changed = false;
	int err = 0;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t entry = bytes_le64(check->buf + 8 * i);
		bool drop;

		check->vhdx->bat[first + i] = entry;
		if (!check_entry(check, first + i, entry, &drop) && drop && check->repair) {
			bytes_put_le64(check->buf + 8 * i, VHDX_NOT_PRESENT);
			check->vhdx->bat[first + i] = VHDX_NOT_PRESENT;
			check->report->repaired++;
			changed = true;
		}
	}
	if (changed) {
		err = check_touch(check);
		err = err ? err
			  : block_sync_write(check->reader.sync,
					     check->vhdx->regions->bat_offset + 8 * first,
					     check->buf, CHECK_PIECE_BYTES);
	}
	return err;
}

/* A block of which sectors are present needs the bitmap that says which. */
static void check_bitmaps(struct check *check)
{
	const struct vhdx_geometry *geometry = &check->vhdx->geometry;

	for (uint64_t block = 0; block < geometry->blocks && geometry->has_parent; block++) {
		uint64_t index = vhdx_bat_index(geometry, block);
		uint64_t bitmap = vhdx_bitmap_index(geometry, block >> geometry->chunk_shift);

		if (vhdx_state(check->vhdx->bat[index]) == VHDX_PARTIALLY_PRESENT &&
		    !vhdx_is_present(check->vhdx->bat[bitmap])) {
			check->report->errors++;
			check_say(check, "block %llu has sectors, but no bitmap that says which",
				  (unsigned long long)block);
		}
	}
}

static int check_bat(struct check *check)
{
	struct vhdx *vhdx = check->vhdx;
	const struct image_progress *progress = check->progress;
	uint64_t entries = vhdx->geometry.entries;
	int err = 0;

	if (entries > vhdx->regions->bat_bytes / 8) {
		check->report->errors++;
		check_say(check, "the block table has no room for a disk of %llu bytes",
			  (unsigned long long)vhdx->geometry.disk_bytes);
		return -EBADMSG;
	}
	vhdx->bat = fault_alloc(entries, 8);
	if (!vhdx->bat) {
		return -ENOMEM;
	}
	for (uint64_t i = 0; i < entries && !err; i += CHECK_PIECE_BYTES / 8) {
		err = vhdx_read(&check->reader, vhdx->regions->bat_offset + 8 * i, check->buf,
				CHECK_PIECE_BYTES);
		err = err ? err
			  : check_entries(check, i, num_min(entries - i, CHECK_PIECE_BYTES / 8));
		if (!err && progress && progress->report &&
		    !progress->report(progress->ctx, i, entries)) {
			err = -ECANCELED;
		}
	}
	if (!err) {
		check_bitmaps(check);
	}
	return err;
}

/* ---- space --------------------------------------------------------------------------------------- */

static int check_structures(struct check *check)
{
	const struct vhdx_header *header = &check->headers.copy[check->headers.current];
	struct vhdx *vhdx = check->vhdx;
	int err = vhdx_space_init(&vhdx->space, check->reader.file_bytes, false);
	/* None of these meets another: parsing has seen to it. */
	bool ok = !err && vhdx_space_mark(&vhdx->space, 0, VHDX_ALIGN_BYTES) &&
		  vhdx_space_mark(&vhdx->space, header->log_offset, header->log_bytes);

	for (unsigned int i = 0; i < vhdx->regions->count && ok; i++) {
		ok = vhdx_space_mark(&vhdx->space, vhdx->regions->all[i].offset,
				     vhdx->regions->all[i].bytes);
	}
	return err ? err : ok ? 0 : -EINVAL;
}

/* Only when nothing is wrong is it known that nobody refers to it. */
static int check_leaks(struct check *check)
{
	struct vhdx_space *space = &check->vhdx->space;
	uint64_t end = vhdx_space_end_bytes(space);
	uint64_t tail = space->end - end / VHDX_ALIGN_BYTES;
	uint64_t leaks = space->end - vhdx_space_used_units(space);
	int err;

	check->report->leaks = leaks;
	if (leaks) {
		check_say(check, "%llu MiB belong to nobody, %llu of them at the end",
			  (unsigned long long)leaks, (unsigned long long)tail);
	}
	if (!check->repair || tail == 0 || check->report->errors > 0) {
		return 0;
	}
	err = check_touch(check);
	err = err ? err : block_sync_resize(check->reader.sync, end);
	check->report->repaired += err ? 0 : tail;
	return err;
}

static int check_parent(struct check *check)
{
	struct block_config config = { .kind = BLOCK_VHDX, .path = check->path, .read_only = true };
	struct diag diag;
	int err;

	if (!check->vhdx->geometry.has_parent) {
		return 0;
	}
	err = vhdx_parent_load(check->vhdx, &config, &check->reader, &diag);
	if (err == -ENOMEM) {
		return err;
	}
	if (err) {
		check->report->errors++;
		check_say(check, "%s", diag.text);
	}
	return 0;
}

static int check_all(struct check *check)
{
	struct diag diag = { "" };
	int err = check_headers(check);

	err = err ? err : check_log(check);
	err = err ? err : check_regions(check);
	if (!err) {
		err = vhdx_read_metadata(check->vhdx, &check->reader, &diag);
		err = err ? check_wrong(check, err, &diag) : 0;
	}
	err = err ? err : check_structures(check);
	err = err ? err : check_bat(check);
	err = err ? err : check_parent(check);
	err = err ? err : check_leaks(check);
	if (err == -EBADMSG) {
		return 0; /* said already */
	}
	if (!err && check->is_touched) {
		err = block_sync_flush(check->reader.sync);
	}
	return err;
}

/* ---- the file ------------------------------------------------------------------------------------ */

/* A vhdx that is never an open block: its parts are. */
static int check_create_parts(struct check *check)
{
	check->vhdx = fault_alloc(1, sizeof(*check->vhdx));
	if (!check->vhdx) {
		return -ENOMEM;
	}
	block_init(&check->vhdx->block, &vhdx_ops);
	check->vhdx->block.info.read_only = true;
	list_init(&check->vhdx->parked);
	check->vhdx->path = fault_point() ? NULL : strdup(check->path);
	check->vhdx->regions = fault_alloc(1, sizeof(*check->vhdx->regions));
	check->buf = fault_alloc(1, CHECK_PIECE_BYTES);
	return check->vhdx->path && check->vhdx->regions && check->buf ? 0 : -ENOMEM;
}

static int check_file(struct check *check, struct block *file)
{
	uint64_t signature = 0;
	int err = check_create_parts(check);

	check->reader.file_bytes = block_info(file)->bytes;
	if (err) {
		return diag_set(check->reterr, err, "image %.200s: no memory for it", check->path);
	}
	err = block_sync_create(file, &check->reader.sync, check->reterr);
	if (err) {
		return err;
	}
	err = check->reader.file_bytes > VHDX_FILE_BYTES_MAX
		      ? -EFBIG
		      : vhdx_read(&check->reader, 0, &signature, sizeof(signature));
	if (!err && signature != VHDX_FILE_SIGNATURE) {
		err = diag_set(check->reterr, -EINVAL,
			       "image %.200s is no VHDX: it does not begin with \"vhdxfile\"",
			       check->path);
	} else {
		diag_set(check->reterr, 0, "%s", "");
		err = err ? err : check_all(check);
		if (err && !check->reterr->text[0]) {
			diag_set(check->reterr, err, "image %.200s cannot be examined: %s",
				 check->path, strerror(-err));
		}
	}
	block_sync_destroy(check->reader.sync);
	return err;
}

int vhdx_check(const char *path, bool repair, struct image_report *report,
	       const struct image_progress *progress, struct diag *reterr)
{
	struct block_config config = {
		.kind = BLOCK_RAW, .path = path, .read_only = !repair, .growable = repair
	};
	struct check check = {
		.path = path,
		.repair = repair,
		.report = report,
		.progress = progress,
		.reterr = reterr,
		.reader.path = path,
	};
	struct block *file;
	int err = block_raw_open(&config, &file, reterr);

	if (err) {
		return err;
	}
	report->errors = report->leaks = report->repaired = 0;
	err = check_file(&check, file);
	if (check.vhdx) {
		block_close(&check.vhdx->block);
	}
	free(check.buf);
	block_close(file);
	return err;
}

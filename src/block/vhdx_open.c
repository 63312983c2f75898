/* SPDX-License-Identifier: MIT */
/* VHDX: the image's life, and the replay of its log when it was not closed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/fault.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

/* Zeroes are written in pieces of this size where the file system has no other way. */
#define OPEN_ZERO_BYTES (64U << 10)

void vhdx_guid_create(struct guid *ret)
{
	/* Up to 256 bytes come whole, once the system has any. */
	check(getrandom(ret->bytes, sizeof(ret->bytes), 0) == (ssize_t)sizeof(ret->bytes));
	ret->bytes[7] = (uint8_t)((ret->bytes[7] & 0x0f) | 0x40); /* version 4, random */
	ret->bytes[8] = (uint8_t)((ret->bytes[8] & 0x3f) | 0x80);
}

struct vhdx *vhdx_find(struct block *block)
{
	for (; block; block = block->lower) {
		if (block->ops == &vhdx_ops) {
			return vhdx_of(block);
		}
	}
	return NULL;
}

/* ---- replay -------------------------------------------------------------------------------------- */

static int replay_zero(struct block_sync *sync, uint64_t offset, uint64_t bytes)
{
	uint8_t *zero;
	int err = 0;

	if (block_info(block_sync_block(sync))->can_write_zeroes) {
		return block_sync_write_zeroes(sync, offset, bytes, true);
	}
	zero = fault_alloc(1, OPEN_ZERO_BYTES);
	if (!zero) {
		return -ENOMEM;
	}
	for (uint64_t done = 0; done < bytes && !err; done += OPEN_ZERO_BYTES) {
		err = block_sync_write(sync, offset + done, zero,
				       num_min(bytes - done, OPEN_ZERO_BYTES));
	}
	free(zero);
	return err;
}

/* Both copies, each on stable storage before the next: the log is empty from then on. */
static int replay_write_headers(struct vhdx_headers *headers, struct block_sync *sync)
{
	struct vhdx_header next = headers->copy[headers->current];
	uint8_t *buf = fault_alloc(1, VHDX_HEADER_BYTES);
	int err = buf ? 0 : -ENOMEM;

	vhdx_guid_create(&next.file_write);
	memset(&next.log, 0, sizeof(next.log));
	for (unsigned int i = 0; i < VHDX_HEADER_COPIES && !err; i++) {
		unsigned int other = 1 - headers->current;

		next.sequence++;
		vhdx_header_build(&next, buf);
		err = block_sync_write(sync, VHDX_HEADER_AT(other), buf, VHDX_HEADER_BYTES);
		err = err ? err : block_sync_flush(sync);
		if (!err) {
			headers->copy[other] = next;
			headers->is_valid[other] = true;
			headers->current = other;
		}
	}
	free(buf);
	return err;
}

int vhdx_replay_apply(const struct vhdx_replay *replay, struct vhdx_headers *headers,
		      struct vhdx_reader *reader)
{
	uint64_t last = num_align_up(replay->last_bytes, VHDX_ALIGN_BYTES);
	int err = 0;

	if (replay->entries && last > reader->file_bytes) {
		err = block_sync_resize(reader->sync, last);
		reader->file_bytes = err ? reader->file_bytes : last;
	}
	for (size_t i = 0; i < replay->count && !err; i++) {
		const struct vhdx_update *update = &replay->updates[i];

		if (update->bytes == 0) {
			continue;
		}
		err = update->data ? block_sync_write(reader->sync, update->offset, update->data,
						      update->bytes)
				   : replay_zero(reader->sync, update->offset, update->bytes);
	}
	err = err ? err : block_sync_flush(reader->sync);
	return err ? err : replay_write_headers(headers, reader->sync);
}

/* Writable: into the file. Read-only: laid over what is read from it. */
static int open_replay(struct vhdx *vhdx, struct vhdx_reader *reader, struct diag *reterr)
{
	struct vhdx_headers *headers = &vhdx->log.headers;
	int err = vhdx_read_log(reader, headers, &vhdx->replay, reterr);

	if (err) {
		return err;
	}
	vhdx->replayed = vhdx->replay.entries;
	if (vhdx->block.info.read_only) {
		reader->replay = vhdx->replay.entries ? &vhdx->replay : NULL;
		if (vhdx->replay.last_bytes > reader->file_bytes) {
			return diag_set(reterr, -EROFS,
					"image %.200s was not closed, and what its log says does "
					"not fit the file: open it once for writing",
					reader->path);
		}
		return 0;
	}
	if (vhdx->replay.entries || !headers->is_valid[0] || !headers->is_valid[1]) {
		err = vhdx_replay_apply(&vhdx->replay, headers, reader);
		vhdx_replay_fini(&vhdx->replay);
	}
	return err ? diag_set(reterr, err, "image %.200s: its log cannot be replayed: %s",
			      reader->path, strerror(-err))
		   : 0;
}

/* Where data is, unit by unit. */
static int overlay_mark_data(const struct vhdx *vhdx, struct vhdx_space *ret)
{
	const struct vhdx_geometry *geometry = &vhdx->geometry;
	int err = vhdx_space_init(ret, VHDX_FILE_BYTES_MAX, false);

	for (uint64_t block = 0; block < geometry->blocks && !err; block++) {
		uint64_t entry = vhdx->bat[vhdx_bat_index(geometry, block)];

		if (vhdx_is_present(entry)) {
			/* The table was checked: none meets another. */
			check(vhdx_space_mark(ret, entry & VHDX_BAT_OFFSET, geometry->block_bytes));
		}
	}
	return err;
}

static bool overlay_is_inside(const struct vhdx_update *update, uint64_t offset, uint64_t bytes)
{
	return update->offset >= offset &&
	       num_range_fits(update->offset - offset, update->bytes, bytes);
}

/*
 * A log that is only laid over must not concern data, which we read straight from the file. Tables may
 * be anywhere else, bitmaps among data; those are of one unit.
 */
static int open_check_overlay(const struct vhdx *vhdx, struct diag *reterr)
{
	const struct vhdx_regions *regions = vhdx->regions;
	struct vhdx_space data;
	bool ok = true;

	if (vhdx->replay.count == 0) {
		return 0;
	}
	if (overlay_mark_data(vhdx, &data)) {
		return diag_set(reterr, -ENOMEM, "image %.200s: no memory for it", vhdx->path);
	}
	for (size_t i = 0; i < vhdx->replay.count && ok; i++) {
		const struct vhdx_update *update = &vhdx->replay.updates[i];

		ok = update->bytes == 0 || overlay_is_inside(update, 0, VHDX_ALIGN_BYTES) ||
		     overlay_is_inside(update, regions->bat_offset, regions->bat_bytes) ||
		     overlay_is_inside(update, regions->metadata_offset, regions->metadata_bytes) ||
		     (update->bytes <= VHDX_ALIGN_BYTES &&
		      vhdx_space_mark(&data, update->offset, update->bytes));
		if (ok && update->offset >= VHDX_ALIGN_BYTES && update->bytes) {
			vhdx_space_free(&data, num_align_down(update->offset, VHDX_ALIGN_BYTES),
					VHDX_ALIGN_BYTES, false);
		}
	}
	vhdx_space_fini(&data);
	return ok ? 0
		  : diag_set(
			    reterr, -EROFS,
			    "image %.200s was not closed, and its log holds data: open it once for "
			    "writing",
			    vhdx->path);
}

/* ---- opening ------------------------------------------------------------------------------------- */

static void open_fill_info(struct vhdx *vhdx)
{
	const struct vhdx_geometry *geometry = &vhdx->geometry;
	const struct block_info *file = block_info(vhdx->block.lower);
	struct block_info *info = &vhdx->block.info;

	info->bytes = geometry->disk_bytes;
	info->logical_block_bytes = geometry->logical_bytes;
	info->physical_block_bytes =
		(uint32_t)num_max(geometry->physical_bytes, geometry->logical_bytes);
	info->rotational = file->rotational;
	info->can_discard = !info->read_only && file->can_discard;
	info->can_write_zeroes = !info->read_only && file->can_write_zeroes;
	info->can_resize = !info->read_only && !geometry->is_fixed;
	guid_format(&geometry->page83, info->identity);
	vhdx->block.is_direct = vhdx->block.lower->is_direct;
}

/* In the order in which the file makes sense: headers, log, then what the log may have changed. */
static int open_read(struct vhdx *vhdx, const struct block_config *config,
		     struct vhdx_reader *reader, struct diag *reterr)
{
	const struct vhdx_headers *headers = &vhdx->log.headers;
	bool valid[VHDX_REGION_TABLE_COPIES];
	int err = vhdx_read_headers(reader, &vhdx->log.headers, reterr);

	err = err ? err : open_replay(vhdx, reader, reterr);
	err = err ? err
		  : vhdx_read_regions(reader, &headers->copy[headers->current], vhdx->regions,
				      valid, reterr);
	err = err ? err : vhdx_read_metadata(vhdx, reader, reterr);
	if (!err && vhdx_space_init(&vhdx->space, reader->file_bytes,
				    block_info(vhdx->block.lower)->can_discard)) {
		err = diag_set(reterr, -ENOMEM, "image %.200s: no memory for it", vhdx->path);
	}
	err = err ? err : vhdx_bat_load(vhdx, reader, reterr);
	err = err ? err : open_check_overlay(vhdx, reterr);
	if (!err) {
		open_fill_info(vhdx);
	}
	if (!err && vhdx->geometry.has_parent && vhdx_bitmaps_init(vhdx)) {
		err = diag_set(reterr, -ENOMEM, "image %.200s: no memory for its bitmaps",
			       vhdx->path);
	}
	if (!err && vhdx->geometry.has_parent) {
		err = vhdx_parent_load(vhdx, config, reader, reterr);
	}
	return err;
}

static int open_allocate(struct vhdx *vhdx, const char *path)
{
	int err;

	list_init(&vhdx->parked);
	list_init(&vhdx->log.waiting);
	list_init(&vhdx->log.riding);
	vhdx->path = fault_point() ? NULL : strdup(path);
	vhdx->regions = fault_alloc(1, sizeof(*vhdx->regions));
	err = vhdx->path && vhdx->regions ? 0 : -ENOMEM;
	err = err ? err
		  : block_fragments_init(&vhdx->fragments, &vhdx->block, VHDX_FRAGMENTS,
					 vhdx_advance);
	return err ? err : vhdx_log_init(vhdx);
}

int block_vhdx_open(const struct block_config *config, struct block *file_take, struct block **ret,
		    struct diag *reterr)
{
	struct vhdx_reader reader = { .path = config->path };
	struct vhdx *vhdx = fault_alloc(1, sizeof(*vhdx));
	int err;

	if (!vhdx) {
		block_close(file_take);
		return diag_set(reterr, -ENOMEM, "image %.200s: no memory for it", config->path);
	}
	block_init(&vhdx->block, &vhdx_ops);
	vhdx->block.lower = file_take;
	vhdx->block.info.read_only = config->read_only;
	reader.file_bytes = block_info(file_take)->bytes;
	err = open_allocate(vhdx, config->path);
	if (err) {
		diag_set(reterr, err, "image %.200s: no memory for it", config->path);
	} else if (reader.file_bytes > VHDX_FILE_BYTES_MAX) {
		err = diag_set(reterr, -EFBIG, "image %.200s is larger than %llu TiB", config->path,
			       VHDX_FILE_BYTES_MAX >> 40);
	} else {
		err = block_sync_create(file_take, &reader.sync, reterr);
	}
	err = err ? err : open_read(vhdx, config, &reader, reterr);
	block_sync_destroy(reader.sync);
	if (err) {
		block_close(&vhdx->block);
		return err;
	}
	*ret = &vhdx->block;
	return 0;
}

static int vhdx_start(struct block *block, struct loop *loop)
{
	struct vhdx *vhdx = vhdx_of(block);

	return vhdx->parent ? block_start_lower(vhdx->parent, loop) : 0;
}

static void vhdx_stop(struct block *block)
{
	struct vhdx *vhdx = vhdx_of(block);

	check(list_is_empty(&vhdx->parked) && vhdx->log.stage == VHDX_IDLE);
	if (vhdx->parent) {
		block_stop_lower(vhdx->parent);
	}
}

static void vhdx_quiesce(struct block *block)
{
	vhdx_log_quiesce(vhdx_of(block));
}

static void vhdx_refresh(struct block *block)
{
	block->info.bytes = vhdx_of(block)->geometry.disk_bytes;
}

static void vhdx_close(struct block *block)
{
	struct vhdx *vhdx = vhdx_of(block);

	block_close(vhdx->parent);
	block_fragments_fini(&vhdx->fragments);
	vhdx_bitmaps_fini(vhdx);
	vhdx_space_fini(&vhdx->space);
	vhdx_replay_fini(&vhdx->replay);
	vhdx_log_fini(vhdx);
	free(vhdx->dirty.bits);
	free(vhdx->bat);
	free(vhdx->metadata);
	free(vhdx->locator);
	free(vhdx->regions);
	free(vhdx->path);
	free(vhdx);
}

/* ---- describing ---------------------------------------------------------------------------------- */

static void fact_number(image_fact_fn *fn, void *ctx, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	fn(ctx, name, text);
}

static void fact_guid(image_fact_fn *fn, void *ctx, const char *name, const struct guid *guid)
{
	char text[GUID_STRING_BYTES];

	fn(ctx, name, guid_format(guid, text));
}

static void vhdx_describe(struct block *block, image_fact_fn *fn, void *ctx)
{
	const struct vhdx *vhdx = vhdx_of(block);
	const struct vhdx_geometry *geometry = &vhdx->geometry;
	const struct vhdx_header *header = &vhdx->log.headers.copy[vhdx->log.headers.current];

	fn(ctx, "layout",
	   geometry->has_parent ? "differencing"
	   : geometry->is_fixed ? "fixed"
				: "dynamic");
	fact_number(fn, ctx, "disk_bytes", geometry->disk_bytes);
	fact_number(fn, ctx, "block_bytes", geometry->block_bytes);
	fact_number(fn, ctx, "logical_block_bytes", geometry->logical_bytes);
	fact_number(fn, ctx, "physical_block_bytes", geometry->physical_bytes);
	fact_number(fn, ctx, "blocks", geometry->blocks);
	fact_number(fn, ctx, "allocated_blocks", vhdx->allocated);
	fact_number(fn, ctx, "file_bytes", vhdx->block.lower->info.bytes);
	fact_number(fn, ctx, "log_bytes", header->log_bytes);
	fn(ctx, "log",
	   vhdx->log.broken     ? "broken"
	   : vhdx->log.is_open  ? "open"
	   : vhdx->replayed > 0 ? "replayed"
				: "empty");
	fact_guid(fn, ctx, "disk_id", &geometry->page83);
	fact_guid(fn, ctx, "data_write_guid", &header->data_write);
	fact_guid(fn, ctx, "file_write_guid", &header->file_write);
	if (vhdx->locator) {
		fn(ctx, "parent",
		   vhdx->locator->relative[0]   ? vhdx->locator->relative
		   : vhdx->locator->absolute[0] ? vhdx->locator->absolute
						: vhdx->locator->volume);
		fact_guid(fn, ctx, "parent_linkage", &vhdx->locator->linkage[0]);
	}
}

const struct block_ops vhdx_ops = {
	.name = "vhdx",
	.start = vhdx_start,
	.submit = vhdx_submit,
	.quiesce = vhdx_quiesce,
	.stop = vhdx_stop,
	.refresh = vhdx_refresh,
	.describe = vhdx_describe,
	.close = vhdx_close,
};

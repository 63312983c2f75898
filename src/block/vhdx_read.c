/* SPDX-License-Identifier: MIT */
/* VHDX: reading the structures of a file that is not started yet. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/num.h"
#include "block/vhdx_internal.h"

/* Puts the file's name before what is wrong with it. */
static int read_complain(const struct vhdx_reader *reader, int err, const struct diag *what,
			 struct diag *reterr)
{
	return diag_set(reterr, err, "image %.200s %.280s", reader->path, what->text);
}

static int read_failed(const struct vhdx_reader *reader, int err, uint64_t offset,
		       struct diag *reterr)
{
	return diag_set(reterr, err, "image %.200s cannot be read at %llu: %s", reader->path,
			(unsigned long long)offset, strerror(-err));
}

int vhdx_read(const struct vhdx_reader *reader, uint64_t offset, void *buf, size_t bytes)
{
	uint32_t unit = block_info(block_sync_block(reader->sync))->logical_block_bytes;
	uint64_t from = num_align_down(offset, unit), until = num_align_up(offset + bytes, unit);
	auto_free uint8_t *bounce = NULL;
	void *to = buf;
	int err;

	if (!num_range_fits(offset, bytes, reader->file_bytes)) {
		return -EINVAL;
	}
	if (from != offset || until != offset + bytes) {
		bounce = fault_alloc(1, until - from);
		if (!bounce) {
			return -ENOMEM;
		}
		to = bounce;
	}
	err = block_sync_read(reader->sync, from, to, until - from);
	if (err) {
		return err;
	}
	if (bounce) {
		memcpy(buf, bounce + (offset - from), bytes);
	}
	if (reader->replay) {
		vhdx_replay_overlay(reader->replay, offset, buf, bytes);
	}
	return 0;
}

int vhdx_read_headers(const struct vhdx_reader *reader, struct vhdx_headers *ret,
		      struct diag *reterr)
{
	auto_free uint8_t *buf = fault_alloc(VHDX_HEADER_COPIES, VHDX_HEADER_BYTES);
	const uint8_t *copies[VHDX_HEADER_COPIES];
	struct diag what;
	uint64_t signature;
	int err;

	if (!buf) {
		return read_failed(reader, -ENOMEM, 0, reterr);
	}
	if (reader->file_bytes < VHDX_ALIGN_BYTES) {
		return diag_set(reterr, -EINVAL,
				"image %.200s is no VHDX: it has %llu bytes, less than its header",
				reader->path, (unsigned long long)reader->file_bytes);
	}
	err = vhdx_read(reader, 0, &signature, sizeof(signature));
	for (unsigned int i = 0; i < VHDX_HEADER_COPIES && !err; i++) {
		copies[i] = buf + (size_t)i * VHDX_HEADER_BYTES;
		err = vhdx_read(reader, VHDX_HEADER_AT(i), buf + (size_t)i * VHDX_HEADER_BYTES,
				VHDX_HEADER_BYTES);
	}
	if (err) {
		return read_failed(reader, err, 0, reterr);
	}
	if (signature != VHDX_FILE_SIGNATURE) {
		return diag_set(reterr, -EINVAL,
				"image %.200s is no VHDX: it does not begin with \"vhdxfile\"",
				reader->path);
	}
	err = vhdx_headers_parse(copies, ret, &what);
	return err ? read_complain(reader, err, &what, reterr) : 0;
}

int vhdx_read_log(const struct vhdx_reader *reader, const struct vhdx_headers *headers,
		  struct vhdx_replay *ret, struct diag *reterr)
{
	const struct vhdx_header *header = &headers->copy[headers->current];
	auto_free uint8_t *log = NULL;
	struct diag what;
	int err;

	memset(ret, 0, sizeof(*ret));
	if (!num_range_fits(header->log_offset, header->log_bytes, reader->file_bytes)) {
		return diag_set(reterr, -EINVAL,
				"image %.200s ends at %llu, before its log does: it is cut off",
				reader->path, (unsigned long long)reader->file_bytes);
	}
	if (vhdx_guid_is_zero(&header->log)) {
		return 0;
	}
	log = fault_alloc(1, header->log_bytes);
	if (!log) {
		return read_failed(reader, -ENOMEM, header->log_offset, reterr);
	}
	err = vhdx_read(reader, header->log_offset, log, header->log_bytes);
	if (err) {
		return read_failed(reader, err, header->log_offset, reterr);
	}
	err = vhdx_replay_parse(log, header, reader->file_bytes, ret, &what);
	return err ? read_complain(reader, err, &what, reterr) : 0;
}

int vhdx_read_regions(const struct vhdx_reader *reader, const struct vhdx_header *header,
		      struct vhdx_regions *ret, bool ret_valid[VHDX_REGION_TABLE_COPIES],
		      struct diag *reterr)
{
	auto_free uint8_t *buf = fault_alloc(1, VHDX_REGION_TABLE_BYTES);
	auto_free struct vhdx_regions *regions = fault_alloc(1, sizeof(*regions));
	struct diag what = { "" };
	bool is_found = false;
	int err = -EINVAL;

	if (!buf || !regions) {
		return read_failed(reader, -ENOMEM, VHDX_REGION_TABLE_AT(0), reterr);
	}
	for (unsigned int i = 0; i < VHDX_REGION_TABLE_COPIES; i++) {
		int failed =
			vhdx_read(reader, VHDX_REGION_TABLE_AT(i), buf, VHDX_REGION_TABLE_BYTES);

		ret_valid[i] = false;
		if (failed) {
			return read_failed(reader, failed, VHDX_REGION_TABLE_AT(i), reterr);
		}
		if (is_found) {
			/* Only whether it would have served, too. */
			struct diag ignored;

			ret_valid[i] = !vhdx_regions_parse(buf, header, reader->file_bytes, regions,
							   &ignored) &&
				       memcmp(regions, ret, sizeof(*ret)) == 0;
			continue;
		}
		/* A whole table that we cannot take is not a damaged one: its copy is the same. */
		err = vhdx_regions_parse(buf, header, reader->file_bytes, ret, &what);
		is_found = err == 0;
		ret_valid[i] = is_found;
		if (err && err != -EBADMSG) {
			break;
		}
	}
	return is_found ? 0 : read_complain(reader, err == -EBADMSG ? -EINVAL : err, &what, reterr);
}

/* The items that have a number each. */
static int read_items(struct vhdx *vhdx, const struct vhdx_reader *reader,
		      const struct vhdx_items *items)
{
	struct vhdx_geometry *geometry = &vhdx->geometry;
	uint64_t at = vhdx->regions->metadata_offset;
	struct vhdx_file_parameters parameters;
	int err = vhdx_read(reader, at + items->parameters.offset, &parameters, sizeof(parameters));

	err = err ? err
		  : vhdx_read(reader, at + items->disk_bytes.offset, &geometry->disk_bytes, 8);
	err = err ? err : vhdx_read(reader, at + items->page83.offset, &geometry->page83, 16);
	err = err ? err
		  : vhdx_read(reader, at + items->logical.offset, &geometry->logical_bytes, 4);
	err = err ? err
		  : vhdx_read(reader, at + items->physical.offset, &geometry->physical_bytes, 4);
	if (!err) {
		geometry->block_bytes = parameters.block_bytes;
		geometry->is_fixed = parameters.flags & VHDX_LEAVE_ALLOCATED;
		geometry->has_parent = parameters.flags & VHDX_HAS_PARENT;
	}
	return err;
}

/* The pages of the region that hold the disk's size, for a resize. */
static int read_size_pages(struct vhdx *vhdx, const struct vhdx_reader *reader)
{
	uint64_t first = num_align_down(vhdx->disk_bytes_at, VHDX_PAGE_BYTES);
	uint64_t last = num_align_down(vhdx->disk_bytes_at + 7, VHDX_PAGE_BYTES);
	int err;

	vhdx->metadata = fault_alloc(VHDX_METADATA_PAGES, VHDX_PAGE_BYTES);
	if (!vhdx->metadata) {
		return -ENOMEM;
	}
	vhdx->metadata_at[0] = first;
	vhdx->metadata_at[1] = last != first ? last : ~0ULL;
	err = vhdx_read(reader, first, vhdx->metadata, VHDX_PAGE_BYTES);
	if (!err && last != first) {
		err = vhdx_read(reader, last, vhdx->metadata + VHDX_PAGE_BYTES, VHDX_PAGE_BYTES);
	}
	return err;
}

int vhdx_read_metadata(struct vhdx *vhdx, const struct vhdx_reader *reader, struct diag *reterr)
{
	auto_free uint8_t *buf = fault_alloc(1, VHDX_METADATA_TABLE_BYTES);
	uint64_t at = vhdx->regions->metadata_offset;
	struct vhdx_items items;
	struct diag what;
	int err;

	if (!buf) {
		return read_failed(reader, -ENOMEM, at, reterr);
	}
	err = vhdx_read(reader, at, buf, VHDX_METADATA_TABLE_BYTES);
	if (err) {
		return read_failed(reader, err, at, reterr);
	}
	err = vhdx_items_parse(buf, vhdx->regions->metadata_bytes, &items, &what);
	if (err) {
		return read_complain(reader, err, &what, reterr);
	}
	vhdx->disk_bytes_at = at + items.disk_bytes.offset;
	err = read_items(vhdx, reader, &items);
	err = err ? err : read_size_pages(vhdx, reader);
	if (err) {
		return read_failed(reader, err, at, reterr);
	}
	if (vhdx->geometry.has_parent && !items.parent.bytes) {
		return diag_set(reterr, -EINVAL,
				"image %.200s has a parent and does not say which: it is damaged",
				reader->path);
	}
	vhdx->locator_item = items.parent;
	err = vhdx_geometry_init(&vhdx->geometry, &what);
	return err ? read_complain(reader, err, &what, reterr) : 0;
}

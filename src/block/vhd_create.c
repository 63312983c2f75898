/* SPDX-License-Identifier: MIT */
/* Making VHDs. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "block/utf16.h"
#include "block/vhd_internal.h"

/* Each of the parent's paths has so much room, as other programs make it. */
#define CREATE_LOCATOR_BYTES 4096U
#define CREATE_PATH_BYTES    4096

/* A file being made, piece by piece. */
struct vhd_making {
	const struct image_create_config *config;
	struct image_file file;
	struct vhd_footer footer;
	struct vhd_header header;
	uint64_t end;
	struct diag *reterr;
};

static int make_write(struct vhd_making *make, uint64_t at, const void *buf, size_t bytes)
{
	const uint8_t *from = buf;

	while (bytes > 0) {
		ssize_t n = pwrite(make->file.fd, from, bytes, (off_t)at);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return image_file_error(&make->file, n < 0 ? -errno : -EIO, make->reterr);
		}
		from += n;
		at += (uint64_t)n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int make_fixed(struct vhd_making *make)
{
	int err = -posix_fallocate(make->file.fd, 0, (off_t)make->footer.bytes);

	if (err) {
		return image_file_error(&make->file, err, make->reterr);
	}
	return make_write(make, make->footer.bytes, &make->footer.wire, sizeof(make->footer.wire));
}

/* ---- the parent's names ------------------------------------------------------------------------ */

static int make_name_error(struct vhd_making *make, int err)
{
	return diag_set(
		make->reterr, err,
		"disk %s: the parent's path %s cannot be written into a VHD: it must be UTF-8 "
		"of at most %u characters without backslashes",
		make->config->path, make->config->parent_path, CREATE_LOCATOR_BYTES / 2);
}

/* path, with backslashes, as the n-th locator. */
static int make_locator(struct vhd_making *make, int n, uint32_t platform, const char *path)
{
	struct vhd_wire_locator *wire = &make->header.wire.locators[n];
	auto_free uint8_t *text = fault_alloc(1, CREATE_LOCATOR_BYTES);
	char windows[CREATE_PATH_BYTES + 3];
	size_t bytes = 0;
	int err;

	if (!text) {
		return diag_set(make->reterr, -ENOMEM, "no memory");
	}
	snprintf(windows, sizeof(windows), "%s%s",
		 platform == VHD_PLATFORM_RELATIVE && path[0] != '.' ? "./" : "", path);
	for (char *p = windows; *p; p++) {
		*p = *p == '/' ? '\\' : *p;
	}
	err = utf16_from_utf8(windows, false, text, CREATE_LOCATOR_BYTES, &bytes);
	if (err) {
		return make_name_error(make, err);
	}
	bytes_put_be32(wire->platform, platform);
	bytes_put_be32(wire->space, CREATE_LOCATOR_BYTES);
	bytes_put_be32(wire->length_bytes, (uint32_t)bytes);
	bytes_put_be64(wire->offset, make->end);
	err = make_write(make, make->end, text, CREATE_LOCATOR_BYTES);
	make->end += CREATE_LOCATOR_BYTES;
	return err;
}

/* How it is found again: as the user wrote it, and for programs that look for the name alone. */
static int make_parent_names(struct vhd_making *make, const char *found)
{
	const char *path = make->config->parent_path, *name = strrchr(found, '/');
	auto_free char *real = realpath(found, NULL);
	size_t bytes = 0;
	int err = 0;

	if (strchr(path, '\\') || strlen(path) >= CREATE_PATH_BYTES || !real ||
	    strlen(real) >= CREATE_PATH_BYTES) {
		return make_name_error(make, -EINVAL);
	}
	name = name ? name + 1 : found;
	/* 512 bytes: what does not fit is cut off, it is for people. */
	err = utf16_from_utf8(name, true, make->header.wire.parent_name,
			      sizeof(make->header.wire.parent_name), &bytes);
	if (err == -EILSEQ) {
		return make_name_error(make, err);
	}
	if (err) {
		memset(make->header.wire.parent_name, 0, sizeof(make->header.wire.parent_name));
	}
	err = path[0] == '/' ? 0 : make_locator(make, 0, VHD_PLATFORM_RELATIVE, path);
	return err ? err : make_locator(make, 1, VHD_PLATFORM_ABSOLUTE, real);
}

/* Opens the parent as the child will, and takes its facts over. */
static int make_parent(struct vhd_making *make)
{
	const struct image_create_config *config = make->config;
	struct block_config child = { .kind = BLOCK_VHD, .path = config->path };
	struct block *block;
	struct stat st = { 0 };
	struct vhd *parent;
	int err;

	if (config->parent_kind != BLOCK_VHD && config->parent_kind != BLOCK_AUTO) {
		return diag_set(make->reterr, -EINVAL,
				"disk %s: the parent of a VHD must be a VHD, not %s", config->path,
				image_kind_name(config->parent_kind));
	}
	err = block_parent_open(&child, config->parent_path, BLOCK_VHD, &block, make->reterr);
	if (err) {
		return err;
	}
	parent = vhd_of(block);
	check(parent);
	if (stat(parent->path, &st) < 0) {
		err = diag_set(make->reterr, -errno, "disk %s: %s", parent->path, strerror(errno));
	}
	vhd_footer_build(VHD_DIFFERENCING, parent->footer.bytes, &make->footer);
	make->header.parent_id = parent->footer.id;
	make->header.parent_time_stamp = (uint32_t)(st.st_mtim.tv_sec - VHD_EPOCH_S);
	if (!err) {
		err = make_parent_names(make, parent->path);
	}
	block_close(block);
	return err;
}

/* ---- dynamic ----------------------------------------------------------------------------------- */

static int make_table(struct vhd_making *make)
{
	static const size_t piece = 64 * 1024;
	uint64_t bytes = vhd_table_bytes(make->header.entries);
	auto_free uint8_t *empty = fault_alloc(1, piece);
	int err = 0;

	if (!empty) {
		return diag_set(make->reterr, -ENOMEM, "no memory");
	}
	memset(empty, 0xff, piece);
	make->header.table_offset = make->end;
	for (uint64_t at = 0; at < bytes && !err; at += piece) {
		err = make_write(make, make->end + at, empty, (size_t)num_min(piece, bytes - at));
	}
	make->end += bytes;
	return err;
}

static int make_dynamic(struct vhd_making *make)
{
	struct vhd_header *header = &make->header;
	uint32_t block_bytes = make->config->block_bytes;
	int err = 0;

	header->block_bytes = block_bytes ? block_bytes : VHD_BLOCK_BYTES_DEFAULT;
	make->end = sizeof(make->footer.wire) + sizeof(header->wire);
	if (make->config->layout == IMAGE_DIFFERENCING) {
		err = make_parent(make);
	}
	if (!err && (make->footer.bytes + header->block_bytes - 1) / header->block_bytes >
			    VHD_ENTRIES_MAX) {
		err = diag_set(make->reterr, -EINVAL,
			       "disk %s: blocks of %u bytes are too small for so large a disk",
			       make->config->path, header->block_bytes);
	}
	if (!err) {
		header->entries = vhd_entries(make->footer.bytes, header->block_bytes);
		err = make_table(make);
	}
	if (!err) {
		vhd_header_seal(header);
		err = make_write(make, make->footer.header_offset, &header->wire,
				 sizeof(header->wire));
	}
	if (!err) {
		err = make_write(make, 0, &make->footer.wire, sizeof(make->footer.wire));
	}
	return err ? err
		   : make_write(make, make->end, &make->footer.wire, sizeof(make->footer.wire));
}

static int make_check(const struct image_create_config *config, struct diag *reterr)
{
	uint32_t block = config->block_bytes;

	if (config->layout == IMAGE_DIFFERENCING && (!config->parent_path || config->bytes)) {
		return diag_set(reterr, -EINVAL,
				"disk %s: a differencing disk has a parent, and its size",
				config->path);
	}
	if (config->layout != IMAGE_DIFFERENCING &&
	    (config->bytes == 0 || config->bytes % VHD_SECTOR_BYTES != 0 ||
	     config->bytes > VHD_BYTES_MAX)) {
		return diag_set(
			reterr, -EINVAL,
			"disk %s: a VHD's size is a multiple of 512 from 512 bytes to 2040G; "
			"beyond that there is vhdx",
			config->path);
	}
	if (block != 0 && (!num_is_power_of_2(block) || block < 4096 ||
			   block > VHD_BLOCK_BYTES_MAX || config->layout == IMAGE_FIXED)) {
		return diag_set(reterr, -EINVAL,
				"disk %s: a block's size is a power of two from 4K to 256M, and "
				"fixed disks have none",
				config->path);
	}
	if ((config->logical_block_bytes != 0 && config->logical_block_bytes != 512) ||
	    (config->physical_block_bytes != 0 && config->physical_block_bytes != 512)) {
		return diag_set(reterr, -EINVAL,
				"disk %s: a VHD's sectors have 512 bytes: use vhdx for others",
				config->path);
	}
	return 0;
}

static int vhd_image_create(const struct image_create_config *config, struct diag *reterr)
{
	struct vhd_making make = { .config = config, .reterr = reterr };
	int err = make_check(config, reterr);

	if (!err) {
		err = image_file_create(config->path, &make.file, reterr);
	}
	if (err) {
		return err;
	}
	vhd_footer_build(config->layout == IMAGE_FIXED ? VHD_FIXED : VHD_DYNAMIC, config->bytes,
			 &make.footer);
	err = config->layout == IMAGE_FIXED ? make_fixed(&make) : make_dynamic(&make);
	return image_file_finish(&make.file, err, reterr);
}

const struct image_ops vhd_image_ops = {
	.create = vhd_image_create,
	.check = vhd_image_check,
	.compact = vhd_image_compact,
};

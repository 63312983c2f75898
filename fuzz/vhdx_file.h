/* SPDX-License-Identifier: MIT */
/*
 * VHDX files for fuzz targets, in memory: templates that are made once, patches that an input applies to
 * a copy, and use of the result as a disk.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/num.h"
#include "block/block_impl.h"
#include "block/sync.h"
#include "block/vhdx_format.h"

#define FILE_PAGE        4096U
#define FILE_PAGES_MAX   64
#define FILE_TEMPLATES   4
#define FILE_LOG_AT      (1 * MIB)
#define FILE_METADATA_AT (2 * MIB)
#define FILE_BAT_AT      (3 * MIB)
#define FILE_DISK_BYTES  (9 * MIB + 4096)
#define FILE_IO_BYTES    (256U << 10)

/* The pages of a file that are not zero. */
struct file_template {
	uint64_t bytes;
	unsigned int count;
	uint64_t at[FILE_PAGES_MAX];
	uint8_t page[FILE_PAGES_MAX][FILE_PAGE];
};

struct file_state {
	struct file_template templates[FILE_TEMPLATES];
	int fd, parent;
	char path[64], parent_path[64];
	uint8_t buf[FILE_IO_BYTES];
};

static struct file_state file;

static inline void file_take(struct file_template *template, int fd)
{
	uint8_t page[FILE_PAGE];
	static const uint8_t zero[FILE_PAGE];
	off_t bytes = lseek(fd, 0, SEEK_END);

	template->bytes = (uint64_t)bytes;
	for (off_t at = 0; at < bytes; at += FILE_PAGE) {
		check(pread(fd, page, FILE_PAGE, at) == FILE_PAGE);
		if (memcmp(page, zero, FILE_PAGE) != 0) {
			check(template->count < FILE_PAGES_MAX);
			template->at[template->count] = (uint64_t)at;
			memcpy(template->page[template->count++], page, FILE_PAGE);
		}
	}
}

/* A file's bytes into a memfd. */
static inline void file_load(const char *path, int fd)
{
	static struct file_template template;
	int from = open(path, O_RDONLY);

	memset(&template, 0, sizeof(template));
	check(from >= 0);
	file_take(&template, from);
	close(from);
	check(ftruncate(fd, 0) == 0 && ftruncate(fd, (off_t) template.bytes) == 0);
	for (unsigned int i = 0; i < template.count; i++) {
		check(pwrite(fd, template.page[i], FILE_PAGE, (off_t) template.at[i]) == FILE_PAGE);
	}
}

/* Some data, so that there are blocks to be named. */
static inline void file_fill(const char *path)
{
	struct block_config config = { .kind = BLOCK_VHDX, .path = path };
	struct block_sync *sync;
	struct block *block;
	struct diag diag;

	check(block_open(&config, &block, &diag) == 0);
	check(block_sync_create(block, &sync, &diag) == 0);
	memset(file.buf, 0x5a, 8192);
	check(block_sync_write(sync, MIB - 4096, file.buf, 8192) == 0);
	check(block_sync_write(sync, 5 * MIB, file.buf, 4096) == 0);
	block_sync_destroy(sync);
	block_close(block);
}

/* Dynamic, dynamic of 4 KiB sectors, fixed, differencing. */
static inline void file_setup(void)
{
	static const enum image_layout layouts[] = { IMAGE_DYNAMIC, IMAGE_DYNAMIC, IMAGE_FIXED,
						     IMAGE_DIFFERENCING };
	char path[] = "/tmp/vhdx-fuzz-XXXXXX", image[64];
	struct diag diag;

	if (file.fd) {
		return;
	}
	check(mkdtemp(path) != NULL);
	file.fd = memfd_create("image", MFD_CLOEXEC);
	file.parent = memfd_create("parent", MFD_CLOEXEC);
	check(file.fd >= 0 && file.parent >= 0);
	snprintf(file.path, sizeof(file.path), "/proc/self/fd/%d", file.fd);
	snprintf(file.parent_path, sizeof(file.parent_path), "/proc/self/fd/%d", file.parent);
	snprintf(image, sizeof(image), "%s/image", path);
	for (int i = 0; i < FILE_TEMPLATES; i++) {
		struct image_create_config config = {
			.kind = BLOCK_VHDX,
			.layout = layouts[i],
			.path = image,
			.bytes = layouts[i] == IMAGE_DIFFERENCING ? 0 : FILE_DISK_BYTES,
			.block_bytes = 1U << 20,
			.logical_block_bytes = i == 1 ? 4096 : 0,
			.parent_path = layouts[i] == IMAGE_DIFFERENCING ? file.parent_path : NULL,
			.parent_kind = BLOCK_VHDX,
		};
		int fd;

		check((vhdx_image_ops.create)(&config, &diag) == 0);
		file_fill(image);
		fd = open(image, O_RDONLY);
		check(fd >= 0);
		file_take(&file.templates[i], fd);
		close(fd);
		if (i == 0) {
			file_load(image, file.parent);
		}
		unlink(image);
	}
	rmdir(path);
}

static inline void file_reset(unsigned int which)
{
	const struct file_template *template = &file.templates[which % FILE_TEMPLATES];

	check(ftruncate(file.fd, 0) == 0 && ftruncate(file.fd, (off_t) template->bytes) == 0);
	for (unsigned int i = 0; i < template->count; i++) {
		check(pwrite(file.fd, template->page[i], FILE_PAGE, (off_t) template->at[i]) ==
		      FILE_PAGE);
	}
}

static inline void file_sum(uint64_t at, size_t bytes)
{
	uint8_t *buf = file.buf;

	if (pread(file.fd, buf, bytes, (off_t)at) != (ssize_t)bytes) {
		return;
	}
	bytes_put_le32(buf + 4, 0);
	bytes_put_le32(buf + 4, crc32c(0, buf, bytes));
	check(pwrite(file.fd, buf + 4, 4, (off_t)at + 4) == 4);
}

/*
 * Patches: where (1 byte), offset (2), length (1), bytes. Where 8: the checksums are made right. 9: the
 * file is cut off at so many pages. Above: the end.
 */
static inline void file_patch(struct bytes_cursor *c)
{
	static const uint64_t places[] = { VHDX_HEADER_AT(0),
					   VHDX_HEADER_AT(1),
					   VHDX_REGION_TABLE_AT(0),
					   VHDX_REGION_TABLE_AT(1),
					   FILE_METADATA_AT,
					   FILE_METADATA_AT + VHDX_METADATA_TABLE_BYTES,
					   FILE_BAT_AT,
					   FILE_LOG_AT };

	while (c->left > 0 && !c->failed) {
		uint8_t where = bytes_take_u8(c);
		uint16_t offset;
		uint8_t length, bytes[255];

		if (where > 9) {
			return;
		}
		if (where == 8) {
			file_sum(VHDX_HEADER_AT(0), VHDX_HEADER_BYTES);
			file_sum(VHDX_HEADER_AT(1), VHDX_HEADER_BYTES);
			file_sum(VHDX_REGION_TABLE_AT(0), VHDX_REGION_TABLE_BYTES);
			file_sum(VHDX_REGION_TABLE_AT(1), VHDX_REGION_TABLE_BYTES);
			continue;
		}
		offset = bytes_take_le16(c);
		if (where == 9) {
			check(ftruncate(file.fd, (off_t)offset * 4096) == 0);
			continue;
		}
		length = bytes_take_u8(c);
		length = (uint8_t)num_min(length, c->left);
		bytes_take_copy(c, bytes, length);
		check(pwrite(file.fd, bytes, length, (off_t)(places[where] + offset)) == length);
	}
}

/* One operation: kind, offset in units of 4 KiB (2 bytes), length in units of 512 bytes (1 byte × 2). */
static inline void file_operate(struct block_sync *sync, struct bytes_cursor *c)
{
	const struct block_info *info = block_info(block_sync_block(sync));
	uint8_t kind = bytes_take_u8(c);
	uint64_t at = bytes_take_le16(c) * 4096ULL;
	size_t bytes = bytes_take_u8(c) * 1024U;
	struct block_map map;
	int err = 0;

	bytes = num_min(bytes, FILE_IO_BYTES);
	switch (kind % 8) {
	case 0:
		err = block_sync_read(sync, at, file.buf, bytes);
		break;
	case 1:
	case 2:
		err = block_sync_write(sync, at, file.buf, bytes);
		break;
	case 3:
		err = block_sync_flush(sync);
		break;
	case 4:
		err = block_sync_discard(sync, at, bytes * 16);
		break;
	case 5:
		err = block_sync_write_zeroes(sync, at, bytes * 8, kind & 8);
		break;
	case 6:
		err = block_sync_map(sync, at, bytes, &map);
		check(err || bytes == 0 || (map.bytes > 0 && map.bytes <= bytes));
		break;
	case 7:
		err = block_sync_resize(sync, num_align_up(at + bytes, info->logical_block_bytes));
		break;
	}
	check(err <= 0);
}

/* ---- the file as a block ------------------------------------------------------------------------- */

/* Straight calls: io_uring would hand flushes and holes to another thread, which takes far longer. */
static inline int file_block_do(struct block *block, struct block_request *request)
{
	off_t at = (off_t)request->offset_bytes;
	ssize_t n;

	switch (request->op) {
	case BLOCK_READ:
		n = preadv(file.fd, request->iov, request->iov_count, at);
		return n == (ssize_t)request->length_bytes ? 0 : -EIO;
	case BLOCK_WRITE:
		n = pwritev(file.fd, request->iov, request->iov_count, at);
		block->info.bytes =
			num_max(block->info.bytes, request->offset_bytes + request->length_bytes);
		return n == (ssize_t)request->length_bytes ? 0 : -EIO;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		return fallocate(file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
				 (off_t)request->length_bytes)
			       ? -errno
			       : 0;
	case BLOCK_RESIZE:
		if (ftruncate(file.fd, at)) {
			return -errno;
		}
		block->info.bytes = request->offset_bytes;
		return 0;
	case BLOCK_FLUSH:
	case BLOCK_MAP:
		break;
	}
	return 0;
}

static inline void file_block_submit(struct block *block, struct block_request *request)
{
	block_complete_later(block, request, file_block_do(block, request));
}

static inline void file_block_close(struct block *block)
{
	free(block);
}

static inline struct block *file_block_open(bool read_only)
{
	static const struct block_ops ops = {
		.name = "file",
		.submit = file_block_submit,
		.close = file_block_close,
	};
	struct block *block = calloc(1, sizeof(*block));

	check(block);
	block_init(block, &ops);
	block->info = (struct block_info){
		.bytes = num_align_down((uint64_t)lseek(file.fd, 0, SEEK_END), 512),
		.logical_block_bytes = 512,
		.physical_block_bytes = 4096,
		.read_only = read_only,
		.can_discard = !read_only,
		.can_write_zeroes = !read_only,
		.can_resize = !read_only,
		.grow_bytes_max = read_only ? 0 : INT64_MAX & ~4095ULL,
	};
	return block;
}

#define FILE_OPERATIONS_MAX 24

/* Opens, uses, closes. A file that could be opened for writing can be opened again. */
static inline bool file_use(struct bytes_cursor *c, bool read_only)
{
	struct block_config config = { .kind = BLOCK_VHDX,
				       .path = file.path,
				       .read_only = read_only };
	struct block_sync *sync;
	struct block *block = NULL;
	struct diag diag = { "" };
	int err = block_vhdx_open(&config, file_block_open(read_only), &block, &diag);

	if (err) {
		check(err < 0 && !block && diag.text[0]);
		return false;
	}
	check(block_info(block)->bytes > 0 && block_info(block)->bytes <= VHDX_DISK_BYTES_MAX);
	check(block_sync_create(block, &sync, &diag) == 0);
	for (int i = 0; i < FILE_OPERATIONS_MAX && c->left > 0 && !c->failed; i++) {
		file_operate(sync, c);
	}
	block_sync_destroy(sync);
	block_close(block);
	return true;
}

/* SPDX-License-Identifier: MIT */
/* VHDX images in files of the working directory, for tests; and layers between image and file. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/num.h"
#include "block/block_impl.h"
#include "block/layers.h"
#include "block/sync.h"
#include "block/vhdx_format.h"

/* Where create puts things. */
#define RIG_LOG_AT      (1 * MIB)
#define RIG_METADATA_AT (2 * MIB)
#define RIG_ITEMS_AT    (RIG_METADATA_AT + VHDX_METADATA_TABLE_BYTES)
#define RIG_BAT_AT      (3 * MIB)

static struct diag rig_diag;

static inline void rig_create_image(const char *path, enum image_layout layout, uint64_t bytes,
				    uint32_t block_bytes, const char *parent)
{
	struct image_create_config config = {
		.kind = BLOCK_VHDX,
		.layout = layout,
		.path = path,
		.bytes = bytes,
		.block_bytes = block_bytes,
		.parent_path = parent,
		.parent_kind = BLOCK_AUTO,
	};

	unlink(path);
	if ((vhdx_image_ops.create)(&config, &rig_diag)) {
		fail_msg("%s", rig_diag.text);
	}
}

static inline int rig_try_open(const char *path, bool read_only, struct block **ret)
{
	struct block_config config = { .kind = BLOCK_VHDX, .path = path, .read_only = read_only };

	memset(&rig_diag, 0, sizeof(rig_diag));
	return block_open(&config, ret, &rig_diag);
}

static inline struct block_sync *rig_start(struct block *block)
{
	struct block_sync *sync;

	if (block_sync_create(block, &sync, &rig_diag)) {
		fail_msg("%s", rig_diag.text);
	}
	return sync;
}

static inline struct block_sync *rig_open_image(const char *path, bool read_only)
{
	struct block *block;

	if (rig_try_open(path, read_only, &block)) {
		fail_msg("%s", rig_diag.text);
	}
	return rig_start(block);
}

static inline void rig_close_image(struct block_sync *sync)
{
	struct block *block = block_sync_block(sync);

	block_sync_destroy(sync);
	block_close(block);
}

/* An open image over a layer that fails what it is told to. */
static inline struct block_sync *rig_open_failing(const char *path, struct block_fail **ret)
{
	struct block_config config = { .kind = BLOCK_RAW, .path = path, .growable = true };
	struct block *raw, *image;

	assert_int_equal(block_raw_open(&config, &raw, &rig_diag), 0);
	assert_int_equal(block_fail_create(raw, ret), 0);
	config.kind = BLOCK_VHDX;
	if (block_vhdx_open(&config, block_fail_block(*ret), &image, &rig_diag)) {
		fail_msg("%s", rig_diag.text);
	}
	return rig_start(image);
}

static inline void rig_poke(const char *path, uint64_t at, const void *data, size_t bytes)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, bytes, (off_t)at), bytes);
	close(fd);
}

static inline void rig_peek(const char *path, uint64_t at, void *data, size_t bytes)
{
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, data, bytes, (off_t)at), bytes);
	close(fd);
}

/* The checksum of a structure whose field is at offset 4. */
static inline void rig_sum(const char *path, uint64_t at, size_t bytes)
{
	uint8_t *buf = malloc(bytes);

	assert_non_null(buf);
	rig_peek(path, at, buf, bytes);
	bytes_put_le32(buf + 4, 0);
	bytes_put_le32(buf + 4, crc32c(0, buf, bytes));
	rig_poke(path, at, buf, bytes);
	free(buf);
}

static inline void rig_sum_all(const char *path)
{
	for (unsigned int i = 0; i < 2; i++) {
		rig_sum(path, VHDX_HEADER_AT(i), VHDX_HEADER_BYTES);
		rig_sum(path, VHDX_REGION_TABLE_AT(i), VHDX_REGION_TABLE_BYTES);
	}
}

static inline uint64_t rig_size(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

/* A fill that differs from byte to byte and from one seed to the next. */
static inline void rig_fill(uint8_t *buf, size_t bytes, unsigned int seed)
{
	for (size_t i = 0; i < bytes; i++) {
		buf[i] = (uint8_t)(i * 7 + i / 251 + seed * 31 + 1);
	}
}

static inline bool rig_is_zero(const uint8_t *buf, size_t bytes)
{
	return buf[0] == 0 && memcmp(buf, buf + 1, bytes - 1) == 0;
}

static inline void rig_check_clean(const char *path)
{
	struct image_report report = { 0 };

	if ((vhdx_image_ops.check)(path, false, &report, NULL, &rig_diag)) {
		fail_msg("%s", rig_diag.text);
	}
	assert_int_equal(report.errors, 0);
}

/* SPDX-License-Identifier: MIT */
/* Raw images as files: made with holes or without, examined, and given holes where they hold zeroes. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "base/num.h"
#include "block/block_impl.h"
#include "block/sync.h"

/* Zeroes are looked for, and given back, in aligned pieces of this size. */
#define RAW_HOLE_BYTES    (64 * KIB)
#define RAW_COMPACT_BYTES (4 * MIB)

static int raw_image_create(const struct image_create_config *config, struct diag *reterr)
{
	struct image_file file;
	int err;

	if (config->layout == IMAGE_DIFFERENCING) {
		return diag_set(reterr, -EINVAL,
				"disk %s: a raw image has no parent: use format vhd or vhdx",
				config->path);
	}
	if (config->bytes == 0 || config->bytes % 512 != 0 || config->bytes > INT64_MAX) {
		return diag_set(
			reterr, -EINVAL,
			"disk %s: its size must be a multiple of 512 from 512 to 2^63 bytes",
			config->path);
	}
	err = image_file_create(config->path, &file, reterr);
	if (err) {
		return err;
	}
	if (ftruncate(file.fd, (off_t)config->bytes) < 0) {
		err = -errno;
	} else if (config->layout == IMAGE_FIXED) {
		err = -posix_fallocate(file.fd, 0, (off_t)config->bytes);
	}
	if (err) {
		(void)image_file_error(&file, err, reterr);
	}
	return image_file_finish(&file, err, reterr);
}

static void raw_report(struct image_report *report, const char *text)
{
	report->errors++;
	if (report->line) {
		report->line(report->ctx, text);
	}
}

/* There is nothing in a raw image that could contradict itself; only its size can be odd. */
static int raw_image_check(const char *path, bool repair, struct image_report *report,
			   const struct image_progress *progress, struct diag *reterr)
{
	struct block_config config = {
		.kind = BLOCK_RAW,
		.path = path,
		.read_only = !repair,
		.growable = true, /* takes files of any size */
	};
	struct block *block;
	struct stat st;
	int err;

	(void)progress;
	err = block_open(&config, &block, reterr);
	if (err) {
		return err;
	}
	if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
		if (st.st_size == 0) {
			raw_report(report, "the file is empty");
		} else if (st.st_size % 512 != 0) {
			raw_report(report, "the file's size is no multiple of 512");
		}
	}
	block_close(block);
	return 0;
}

/* Punches the pieces of buf that hold nothing; neighbours at once. */
static int raw_punch(struct block_sync *sync, uint64_t offset, const uint8_t *buf, uint64_t bytes)
{
	uint64_t run = 0;

	for (uint64_t at = 0;; at += RAW_HOLE_BYTES) {
		bool zero = at + RAW_HOLE_BYTES <= bytes && bytes_is_zero(buf + at, RAW_HOLE_BYTES);
		int err;

		if (zero) {
			run += RAW_HOLE_BYTES;
		} else if (run > 0) {
			err = block_sync_discard(sync, offset + at - run, run);
			if (err) {
				return err;
			}
			run = 0;
		}
		if (at >= bytes) {
			return 0;
		}
	}
}

static int raw_compact_all(struct block_sync *sync, const struct image_progress *progress)
{
	uint64_t total = block_info(block_sync_block(sync))->bytes;
	auto_free uint8_t *buf = fault_alloc(1, RAW_COMPACT_BYTES);
	struct block_map map;
	int err;

	if (!buf) {
		return -ENOMEM;
	}
	for (uint64_t at = 0; at < total;) {
		uint64_t n = num_min(RAW_COMPACT_BYTES, total - at);

		if (progress && progress->report && !progress->report(progress->ctx, at, total)) {
			return -ECANCELED;
		}
		err = block_sync_map(sync, at, total - at, &map);
		if (err) {
			return err;
		}
		if (map.kind == BLOCK_MAP_ZERO && map.bytes >= RAW_HOLE_BYTES) {
			at = num_align_down(at + map.bytes, RAW_HOLE_BYTES);
			if (at + RAW_HOLE_BYTES > total) {
				break;
			}
			continue;
		}
		err = block_sync_read(sync, at, buf, (size_t)n);
		if (!err) {
			err = raw_punch(sync, at, buf, n);
		}
		if (err) {
			return err;
		}
		at += n;
	}
	return block_sync_flush(sync);
}

/* What the file takes of its file system. */
static uint64_t raw_allocation(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static int raw_image_compact(const char *path, const struct image_progress *progress,
			     uint64_t *ret_bytes, struct diag *reterr)
{
	struct block_config config = { .kind = BLOCK_RAW, .path = path };
	uint64_t before, after;
	struct block_sync *sync;
	struct block *block;
	int err;

	err = block_open(&config, &block, reterr);
	if (err) {
		return err;
	}
	if (!block->info.can_discard) {
		block_close(block);
		return diag_set(reterr, -EOPNOTSUPP,
				"disk %s: its file system or device cannot give space back", path);
	}
	before = raw_allocation(path);
	err = block_sync_create(block, &sync, reterr);
	if (!err) {
		err = raw_compact_all(sync, progress);
		if (err) {
			diag_set(reterr, err, "disk %s: compacting it: %s", path, strerror(-err));
		}
		block_sync_destroy(sync);
	}
	block_close(block);
	if (err) {
		return err;
	}
	after = raw_allocation(path);
	*ret_bytes = before > after ? before - after : 0;
	return 0;
}

const struct image_ops raw_image_ops = {
	.create = raw_image_create,
	.check = raw_image_check,
	.compact = raw_image_compact,
};

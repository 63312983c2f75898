/* SPDX-License-Identifier: MIT */
/*
 * A VHD from a stranger: the first byte says what is done with it, the rest is the file.
 *
 *   bit 0   checksums are made right first, so that what they guard is reached
 *   bit 1   the first sector is put at the end, too, as the footer
 *   bit 2   it is written to, resized and compacted, and must be read back
 *   bit 3   it is checked with repair
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/num.h"
#include "block/image.h"
#include "block/sync.h"
#include "block/vhd_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILE_BYTES_MAX (256U << 10)

static uint8_t file[FILE_BYTES_MAX + 512];
static char path[64];

static void seal(size_t at, size_t bytes, size_t sum_at)
{
	uint32_t sum = 0;

	memset(file + at + sum_at, 0, 4);
	for (size_t i = 0; i < bytes; i++) {
		sum += file[at + i];
	}
	bytes_put_be32(file + at + sum_at, ~sum);
}

/* A file of its own for each use: locks live on for a moment. Returns its descriptor. */
static int make(size_t bytes)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, file, bytes) != (ssize_t)bytes) {
		abort();
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return fd;
}

static void on_fact(void *ctx, const char *name, const char *value)
{
	*(size_t *)ctx += strlen(name) + strlen(value);
}

static void use(struct block *block, struct block_sync *sync, bool writes)
{
	static uint8_t buf[64 << 10], back[512];
	uint64_t bytes = block_info(block)->bytes, last = bytes - 512;
	uint64_t length = num_min(bytes, sizeof(buf));
	struct block_map map;
	size_t facts = 0;

	image_describe(block, on_fact, &facts);
	(void)!block_sync_read(sync, 0, buf, (size_t)length);
	(void)!block_sync_read(sync, bytes - length, buf, (size_t)length);
	if (block_sync_map(sync, 0, bytes, &map) == 0 && (map.bytes == 0 || map.bytes > bytes)) {
		abort();
	}
	if (!writes) {
		return;
	}
	memset(buf, 0x5a, 512);
	if (block_sync_write(sync, last, buf, 512) == 0 &&
	    (block_sync_flush(sync) || block_sync_read(sync, last, back, 512) ||
	     memcmp(back, buf, 512) != 0)) {
		abort();
	}
	(void)!block_sync_write_zeroes(sync, 0, length, true);
	(void)!block_sync_discard(sync, bytes - length, length);
	(void)!block_sync_resize(sync, bytes + (1U << 20));
	(void)!block_sync_resize(sync, num_max(bytes / 2 / 512 * 512, 512));
}

static void try_open(size_t bytes, bool writes)
{
	struct block_config config = { .kind = BLOCK_VHD, .path = path, .read_only = !writes };
	struct block_sync *sync;
	struct block *block;
	struct diag diag;
	int fd = make(bytes);

	if (block_open(&config, &block, &diag) == 0) {
		if (block_sync_create(block, &sync, &diag) == 0) {
			use(block, sync, writes);
			block_sync_destroy(sync);
		}
		block_close(block);
	}
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image_report report = { 0 };
	struct diag diag;
	uint64_t given;
	size_t bytes;
	int fd;

	if (size < 2) {
		return 0;
	}
	bytes = num_min(size - 1, FILE_BYTES_MAX);
	memset(file, 0, sizeof(file));
	memcpy(file, data + 1, bytes);
	bytes = (size_t)num_align_up(bytes, 512);
	if (data[0] & 1) {
		seal(0, 512, offsetof(struct vhd_wire_footer, checksum));
		if (bytes >= 1536) {
			seal(512, 1024, offsetof(struct vhd_wire_header, checksum));
		}
	}
	if (data[0] & 2) {
		memcpy(file + bytes, file, 512);
		bytes += 512;
	}
	try_open(bytes, data[0] & 4);
	fd = make(bytes);
	(void)!image_check(path, BLOCK_VHD, data[0] & 8, &report, NULL, &diag);
	close(fd);
	if (data[0] & 4) {
		fd = make(bytes);
		(void)!image_compact(path, BLOCK_VHD, NULL, &given, &diag);
		close(fd);
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* Raw disks: opening, locking, and finding out what the host's storage can do. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/guid.h"
#include "base/num.h"
#include "block/raw_internal.h"

#define RAW_ALIGN_MAX  4096U

#define RAW_LOCK_TRIES 25
static const struct timespec raw_lock_pause = { .tv_nsec = 20000000 };

/* The sentence for a failed open. */
static int raw_open_error(const char *path, bool read_only, int err, struct diag *reterr)
{
	switch (err) {
	case -ENOENT:
		return diag_set(reterr, err,
				"disk %s does not exist: check the path, or make one with "
				"`truncate -s 10G %s`",
				path, path);
	case -EACCES:
	case -EPERM:
		return diag_set(reterr, err, "disk %s: no permission to open it for %s: %s", path,
				read_only ? "reading" : "writing",
				read_only ? "change its mode or owner"
					  : "change its mode or owner, or use readonly=on");
	case -EROFS:
		return diag_set(reterr, err,
				"disk %s is on a read-only file system: use readonly=on", path);
	case -EBUSY:
		return diag_set(reterr, err,
				"disk %s is in use by this host (mounted?): unmount it first",
				path);
	default:
		return diag_set(reterr, err, "disk %s cannot be opened: %s", path, strerror(-err));
	}
}

static int raw_check_type(const char *path, mode_t mode, struct diag *reterr)
{
	if (S_ISDIR(mode)) {
		return diag_set(reterr, -EISDIR,
				"disk %s is a directory: name a disk image or a block device",
				path);
	}
	if (!S_ISREG(mode) && !S_ISBLK(mode)) {
		return diag_set(reterr, -EINVAL,
				"disk %s is neither a file nor a block device: name one of these",
				path);
	}
	return 0;
}

static bool raw_is_slice(const struct block_config *config)
{
	return config->slice_offset_bytes != 0 || config->slice_bytes != 0;
}

/*
 * A device of which others have slices cannot be claimed for good, as only one can claim it: the claim
 * is tried, and given back.
 */
static int raw_check_unclaimed(const char *path)
{
	int err = 0;

	for (int i = 0; i < RAW_LOCK_TRIES; i++) {
		int fd = open(path, O_RDONLY | O_CLOEXEC | O_EXCL);

		err = fd < 0 ? -errno : 0;
		if (fd >= 0) {
			close(fd);
		}
		if (err != -EBUSY) {
			break;
		}
		nanosleep(&raw_lock_pause, NULL); /* perhaps another just tries the same */
	}
	return err;
}

/* Opens with direct I/O where the file system has it. */
static int raw_open_fd(const struct block_config *config, struct stat *ret_st, bool *ret_direct,
		       int *ret_fd, struct diag *reterr)
{
	int flags = O_CLOEXEC | (config->read_only ? O_RDONLY : O_RDWR);
	auto_close int fd = -1;
	struct stat st;
	int err = 0;

	/* Asked before opening, too: opening a FIFO would wait for its other end. */
	if (stat(config->path, &st) < 0) {
		return raw_open_error(config->path, config->read_only, -errno, reterr);
	}
	err = raw_check_type(config->path, st.st_mode, reterr);
	if (err) {
		return err;
	}
	if (S_ISBLK(st.st_mode) && !config->read_only) {
		/* Refuses a device that the host has mounted. */
		if (raw_is_slice(config)) {
			err = raw_check_unclaimed(config->path);
		} else {
			flags |= O_EXCL;
		}
	}
	if (err) {
		return raw_open_error(config->path, config->read_only, err, reterr);
	}
	*ret_direct = !config->buffered;
	fd = open(config->path, flags | (config->buffered ? 0 : O_DIRECT));
	if (fd < 0 && errno == EINVAL && !config->buffered) {
		*ret_direct = false;
		fd = open(config->path, flags);
	}
	if (fd < 0 || fstat(fd, &st) < 0) {
		return raw_open_error(config->path, config->read_only, -errno, reterr);
	}
	err = raw_check_type(config->path, st.st_mode, reterr);
	if (err) {
		return err;
	}
	*ret_st = st;
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* The sentence for bytes that another has locked. */
static int raw_lock_error(const struct block_config *config, int fd, struct flock lock,
			  struct diag *reterr)
{
	const char *other = config->read_only ? "writer" : "program";
	const char *remedy = config->read_only ? "" : ", or let both use readonly=on";

	if (!raw_is_slice(config) || fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type == F_UNLCK) {
		return diag_set(reterr, -EBUSY, "disk %s is in use by another %s: stop it first%s",
				config->path, other, remedy);
	}
	if (lock.l_len == 0) {
		return diag_set(reterr, -EBUSY,
				"disk %s is in use from byte %lld to its end by another %s: choose "
				"another offset= or size=, or stop it first%s",
				config->path, (long long)lock.l_start, other, remedy);
	}
	return diag_set(reterr, -EBUSY,
			"disk %s is in use from byte %lld to byte %lld by another %s: choose "
			"another offset= or size=, or stop it first%s",
			config->path, (long long)lock.l_start,
			(long long)(lock.l_start + lock.l_len - 1), other, remedy);
}

/*
 * One writer or many readers of each byte of our slice. The lock goes away with the descriptor, also when its owner is killed;
 * but the kernel takes a killed io_uring, and the files registered with it, apart in the background,
 * so a successor that starts at once has to try for a moment.
 */
static int raw_lock(const struct block_config *config, int fd, struct diag *reterr)
{
	struct flock lock = {
		.l_type = (short)(config->read_only ? F_RDLCK : F_WRLCK),
		.l_whence = SEEK_SET,
		.l_start = (off_t)config->slice_offset_bytes,
		.l_len = (off_t)config->slice_bytes, /* 0: to the end, wherever that will be */
	};

	for (int i = 0; i < RAW_LOCK_TRIES; i++) {
		if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
			return 0;
		}
		if (errno != EAGAIN && errno != EACCES) {
			break;
		}
		if (i + 1 < RAW_LOCK_TRIES) {
			nanosleep(&raw_lock_pause, NULL);
			errno = EAGAIN;
		}
	}
	if (errno == EAGAIN || errno == EACCES) {
		return raw_lock_error(config, fd, lock, reterr);
	}
	if (errno == ENOLCK || errno == EOPNOTSUPP || errno == ENOSYS) {
		return 0; /* a file system without locks: nothing to be had */
	}
	return diag_set(reterr, -errno, "disk %s cannot be locked: %s", config->path,
			strerror(errno));
}

void raw_unlock(const struct raw *raw)
{
	struct flock lock = {
		.l_type = F_UNLCK,
		.l_whence = SEEK_SET,
		.l_start = (off_t)raw->slice_offset_bytes,
		.l_len = (off_t)raw->slice_bytes,
	};

	/* Without locks there was none. */
	(void)fcntl(raw->fd, F_OFD_SETLK, &lock);
}

/* A number from the device's queue/ in sysfs; a partition's is in its parent. 0 when unknown. */
static uint64_t raw_queue_limit(dev_t rdev, const char *name)
{
	static const char *const dirs[] = { "", "../" };
	unsigned long long value = 0;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		char path[128];
		FILE *f;

		snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%squeue/%s", major(rdev),
			 minor(rdev), dirs[i], name);
		f = fopen(path, "re");
		if (f) {
			if (fscanf(f, "%llu", &value) != 1) {
				value = 0;
			}
			fclose(f);
			break;
		}
	}
	return value;
}

int raw_read_size(const struct raw *raw, uint64_t *ret_bytes)
{
	struct stat st;

	if (raw->is_device) {
		return ioctl(raw->fd, BLKGETSIZE64, ret_bytes) < 0 ? -errno : 0;
	}
	if (fstat(raw->fd, &st) < 0) {
		return -errno;
	}
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

static int raw_probe_device(struct raw *raw, const struct stat *st)
{
	struct block_info *info = &raw->block.info;
	unsigned int physical = 0;
	int logical = 0;

	if (ioctl(raw->fd, BLKGETSIZE64, &info->bytes) < 0 ||
	    ioctl(raw->fd, BLKSSZGET, &logical) < 0) {
		return -errno;
	}
	if (ioctl(raw->fd, BLKPBSZGET, &physical) < 0 || physical < (unsigned int)logical) {
		physical = (unsigned int)logical;
	}
	info->logical_block_bytes = (uint32_t)logical;
	info->physical_block_bytes = physical;
	info->rotational = raw_queue_limit(st->st_rdev, "rotational") != 0;
	info->can_write_zeroes = !info->read_only;
	/* Punching a hole asks the device to write zeroes and may unmap; it never falls back. */
	info->can_discard = !info->read_only && raw_queue_limit(st->st_rdev, "discard_max_bytes") &&
			    raw_queue_limit(st->st_rdev, "write_zeroes_max_bytes");
	return 0;
}

static void raw_probe_file(struct raw *raw, const struct stat *st)
{
	struct block_info *info = &raw->block.info;

	info->bytes = (uint64_t)st->st_size;
	info->logical_block_bytes = 512;
	info->physical_block_bytes = RAW_ALIGN_MAX;
	if (raw->is_growable) {
		info->bytes = num_align_down(info->bytes, 512);
	}
	if (info->read_only) {
		return;
	}
	info->can_resize = true;
	info->grow_bytes_max = raw->is_growable ? num_align_down(INT64_MAX, RAW_ALIGN_MAX) : 0;
	/* A hole beyond the end changes nothing and tells whether the file system can. */
	info->can_discard =
		fallocate(raw->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)num_align_up(info->bytes, RAW_ALIGN_MAX), RAW_ALIGN_MAX) == 0;
	info->can_write_zeroes = info->can_discard;
}

void raw_drop_direct(struct raw *raw)
{
	int flags = fcntl(raw->fd, F_GETFL);

	if (flags >= 0) {
		(void)fcntl(raw->fd, F_SETFL, flags & ~O_DIRECT);
	}
	raw->block.is_direct = false;
}

/*
 * Which addresses direct I/O takes. Holes are not checked by every file system, so the answer may be
 * too good: raw.c corrects it when the host refuses a transfer.
 */
static void raw_probe_alignment(struct raw *raw)
{
	static const uint32_t aligns[] = { 4, 512, RAW_ALIGN_MAX };
	uint32_t logical = raw->block.info.logical_block_bytes;
	off_t at = (off_t)raw->slice_offset_bytes;
	void *buf = NULL;

	raw->length_mask = logical - 1;
	raw->memory_mask = RAW_ALIGN_MAX - 1;
	if (!raw->block.is_direct) {
		return;
	}
	if (posix_memalign(&buf, RAW_ALIGN_MAX, (size_t)2 * RAW_ALIGN_MAX) != 0) {
		return;
	}
	if (pread(raw->fd, buf, logical, at) < 0 ||
	    (raw->block.info.bytes >= 2 * logical &&
	     pread(raw->fd, buf, logical, at + logical) < 0)) {
		raw_drop_direct(raw);
	}
	for (size_t i = 0; i < ARRAY_SIZE(aligns); i++) {
		if (pread(raw->fd, (uint8_t *)buf + aligns[i], logical, at) == (ssize_t)logical) {
			raw->memory_mask = aligns[i] - 1;
			break;
		}
	}
	free(buf);
}

uint64_t raw_window_bytes(const struct raw *raw, uint64_t file_bytes)
{
	uint64_t ours =
		file_bytes > raw->slice_offset_bytes ? file_bytes - raw->slice_offset_bytes : 0;

	if (raw->slice_bytes) {
		ours = num_min(ours, raw->slice_bytes);
	}
	return num_align_down(ours, raw->block.info.logical_block_bytes);
}

/* The slice as the user wrote it; info has the whole disk yet. */
static int raw_check_slice(const struct raw *raw, const struct block_config *config,
			   struct diag *reterr)
{
	const struct block_info *info = &raw->block.info;
	unsigned long long offset = config->slice_offset_bytes, bytes = config->slice_bytes;
	unsigned long long all = info->bytes;

	if (raw->is_growable) {
		return diag_set(reterr, -EINVAL,
				"disk %s is an image: offset= and size= are for raw disks only",
				config->path);
	}
	if ((offset | bytes) & (info->logical_block_bytes - 1)) {
		return diag_set(reterr, -EINVAL,
				"disk %s: offset=%llu,size=%llu: both have to be multiples of its "
				"blocks of %u bytes",
				config->path, offset, bytes, info->logical_block_bytes);
	}
	if (offset >= all || !num_range_fits(offset, bytes, all)) {
		return diag_set(reterr, -EINVAL,
				"disk %s has %llu bytes: offset=%llu,size=%llu does not lie within",
				config->path, all, offset, bytes);
	}
	if (all - offset < info->logical_block_bytes) {
		return diag_set(reterr, -EINVAL,
				"disk %s has %llu bytes: nothing is left of it at offset=%llu",
				config->path, all, offset);
	}
	return 0;
}

/* Whether we share a page of the host's with whoever has the bytes before or behind ours. */
static bool raw_shares_page(const struct raw *raw, uint64_t file_bytes)
{
	uint64_t end = raw->slice_offset_bytes + raw->slice_bytes;

	return raw->slice_offset_bytes % RAW_ALIGN_MAX != 0 ||
	       (raw->slice_bytes != 0 && end != file_bytes && end % RAW_ALIGN_MAX != 0);
}

/* info has the whole disk, and is cut down to the window. */
static int raw_setup_slice(struct raw *raw, const struct block_config *config, struct diag *reterr)
{
	struct block_info *info = &raw->block.info;
	int err = raw_check_slice(raw, config, reterr);

	if (err) {
		return err;
	}
	raw->is_slice = true;
	raw->slice_offset_bytes = config->slice_offset_bytes;
	raw->slice_bytes = config->slice_bytes;
	raw->must_be_direct = raw_shares_page(raw, info->bytes);
	info->bytes = raw_window_bytes(raw, info->bytes);
	info->can_resize = false;
	return 0;
}

static int raw_check_size(const struct raw *raw, const char *path, struct diag *reterr)
{
	const struct block_info *info = &raw->block.info;

	if (raw->is_growable) {
		return 0; /* the image format decides */
	}
	if (info->bytes == 0) {
		return diag_set(reterr, -EINVAL,
				"disk %s is empty: give it a size with `truncate -s 10G %s`", path,
				path);
	}
	if (info->bytes % info->logical_block_bytes != 0) {
		return diag_set(
			reterr, -EINVAL,
			"disk %s has %llu bytes, no multiple of %u: is it a raw image? If so, "
			"extend it with `truncate -s %%%u %s`",
			path, (unsigned long long)info->bytes, info->logical_block_bytes,
			info->logical_block_bytes, path);
	}
	return 0;
}

/* Stable as long as the path is: guests find their disks by it. */
static int raw_identify(struct raw *raw, const char *path)
{
	auto_free char *real = realpath(path, NULL), *slice = NULL;
	struct guid guid;

	if (raw->is_slice && asprintf(&slice, "%s:%llu:%llu", real ? real : path,
				      (unsigned long long)raw->slice_offset_bytes,
				      (unsigned long long)raw->slice_bytes) < 0) {
		slice = NULL;
		return -ENOMEM;
	}
	guid_from_name(slice ? slice : real ? real : path, &guid);
	static_assert(BLOCK_IDENTITY_BYTES >= GUID_STRING_BYTES, "room for a GUID");
	guid_format(&guid, raw->block.info.identity);
	return 0;
}

static int raw_map_bounce(struct raw *raw)
{
	void *all = MAP_FAILED;

	/* Takes no memory until a slot is used. */
	if (!fault_point()) {
		all = mmap(NULL, (size_t)RAW_BOUNCE_SLOTS * RAW_BOUNCE_BYTES,
			   PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	if (all == MAP_FAILED) {
		return -ENOMEM;
	}
	raw->bounce = all;
	raw->bounce_free = (1U << RAW_BOUNCE_SLOTS) - 1;
	return 0;
}

static int raw_setup(struct raw *raw, const struct block_config *config, const struct stat *st,
		     struct diag *reterr)
{
	int err = 0;

	raw->block.info.read_only = config->read_only;
	raw->is_device = S_ISBLK(st->st_mode);
	raw->is_growable = config->growable && !raw->is_device;
	if (raw->is_device) {
		err = raw_probe_device(raw, st);
		if (err) {
			return diag_set(reterr, err, "disk %s does not tell its size: %s",
					config->path, strerror(-err));
		}
	} else {
		raw_probe_file(raw, st);
	}
	if (config->logical_block_bytes > raw->block.info.logical_block_bytes) {
		raw->block.info.logical_block_bytes = config->logical_block_bytes;
		raw->block.info.physical_block_bytes = (uint32_t)num_max(
			raw->block.info.physical_block_bytes, config->logical_block_bytes);
	}
	err = raw_is_slice(config) ? raw_setup_slice(raw, config, reterr)
				   : raw_check_size(raw, config->path, reterr);
	if (err) {
		return err;
	}
	raw_probe_alignment(raw);
	if (raw->must_be_direct && !raw->block.is_direct) {
		return diag_set(reterr, -EINVAL,
				"disk %s: a slice that does not begin and end at multiples of %u "
				"needs direct I/O, which %s: choose another offset= or size=",
				config->path, RAW_ALIGN_MAX,
				config->buffered ? "is turned off"
						 : "this file system does not have");
	}
	if (raw_identify(raw, config->path)) {
		return diag_set(reterr, -ENOMEM, "disk %s: no memory for it", config->path);
	}
	if (raw_map_bounce(raw)) {
		return diag_set(reterr, -ENOMEM, "disk %s: no memory for its buffers",
				config->path);
	}
	return 0;
}

int block_raw_open(const struct block_config *config, struct block **ret, struct diag *reterr)
{
	auto_close int fd = -1;
	struct raw *raw;
	struct stat st = { 0 };
	bool direct = false;
	int err;

	if (!num_range_fits(config->slice_offset_bytes, config->slice_bytes, INT64_MAX)) {
		return diag_set(reterr, -EINVAL,
				"disk %s: offset=%llu,size=%llu: no disk is that large",
				config->path, (unsigned long long)config->slice_offset_bytes,
				(unsigned long long)config->slice_bytes);
	}
	err = raw_open_fd(config, &st, &direct, &fd, reterr);
	if (!err) {
		err = raw_lock(config, fd, reterr);
	}
	if (err) {
		return err;
	}
	raw = fault_alloc(1, sizeof(*raw));
	if (!raw) {
		return diag_set(reterr, -ENOMEM, "disk %s: no memory for it", config->path);
	}
	block_init(&raw->block, &raw_ops);
	raw->original = raw;
	raw->fd = steal_fd(&fd);
	raw->file_index = -1;
	raw->block.is_direct = direct;
	list_init(&raw->waiting);
	err = raw_setup(raw, config, &st, reterr);
	if (err) {
		block_close(&raw->block);
		return err;
	}
	*ret = &raw->block;
	return 0;
}

int raw_twin(struct block *block, struct block **ret)
{
	const struct raw *raw = container_of(block, struct raw, block);
	struct raw *twin;
	int err;

	if (raw->is_growable) {
		return -EOPNOTSUPP; /* each end would have an end of its own */
	}
	twin = fault_alloc(1, sizeof(*twin));
	if (!twin) {
		return -ENOMEM;
	}
	block_init(&twin->block, &raw_ops);
	block_copy_info(&twin->block.info, &block->info);
	twin->block.is_direct = raw->block.is_direct;
	twin->file_index = -1;
	twin->is_device = raw->is_device;
	twin->original = raw->original;
	twin->is_slice = raw->is_slice;
	twin->slice_offset_bytes = raw->slice_offset_bytes;
	twin->slice_bytes = raw->slice_bytes;
	twin->must_be_direct = raw->must_be_direct;
	twin->memory_mask = raw->memory_mask;
	twin->length_mask = raw->length_mask;
	list_init(&twin->waiting);
	/* The lock is the open file's, which ends with its last descriptor. */
	twin->fd = fcntl(raw->fd, F_DUPFD_CLOEXEC, 0);
	err = twin->fd < 0 ? -errno : raw_map_bounce(twin);
	if (err) {
		block_close(&twin->block);
		return err;
	}
	*ret = &twin->block;
	return 0;
}

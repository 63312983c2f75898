/* SPDX-License-Identifier: MIT */
/*
 * Which format a path is of. The name proposes and the header must agree: neither alone decides, for
 * the bytes of a raw disk are the guest's to write.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <linux/fs.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/num.h"
#include "block/block_impl.h"

#define PAGE_BYTES       4096U
#define PROBE_HEAD_BYTES 512
#define PROBE_TAIL_BYTES 512

/* What is looked at: the file's first and last bytes; zeroes where it is shorter. */
struct probe_bytes {
	uint8_t head[PROBE_HEAD_BYTES], tail[PROBE_TAIL_BYTES];
};

/* A format's mark. By it a raw file is refused, unless it stands at the end only. */
struct probe_mark {
	struct image_probe format;
	const char *magic;
	uint8_t magic_bytes;
	uint16_t offset_bytes;
	bool is_at_end; /* counted in the last 512 bytes */
};

#define MARK(kind, format, offset, magic, ...)                                                     \
	{                                                                                          \
		{ kind, format }, magic, sizeof(magic) - 1, offset, ##__VA_ARGS__                  \
	}

static const struct probe_mark probe_marks[] = {
	MARK(BLOCK_VHDX, NULL, 0, "vhdxfile"),
	MARK(BLOCK_VHD, NULL, 0, "conectix"),
	MARK(BLOCK_VHD, NULL, 0, "conectix", true),
	MARK(BLOCK_QEMU, "qcow2", 0, "QFI\xfb\0\0\0\x02"),
	MARK(BLOCK_QEMU, "qcow2", 0, "QFI\xfb\0\0\0\x03"),
	MARK(BLOCK_QEMU, "qcow", 0, "QFI\xfb\0\0\0\x01"),
	MARK(BLOCK_QEMU, "qed", 0, "QED\0"),
	MARK(BLOCK_QEMU, "vmdk", 0, "KDMV"),
	MARK(BLOCK_QEMU, "vmdk", 0, "COWD"),
	MARK(BLOCK_QEMU, "vmdk", 0, "# Disk DescriptorFile"),
	MARK(BLOCK_QEMU, "vdi", 0x40, "\x7f\x10\xda\xbe"),
	MARK(BLOCK_QEMU, "parallels", 0, "WithoutFreeSpace"),
	MARK(BLOCK_QEMU, "parallels", 0, "WithouFreSpacExt"),
	MARK(BLOCK_QEMU, "bochs", 0, "Bochs Virtual HD Image"),
	MARK(BLOCK_QEMU, "cloop", 0, "#!/bin/sh\n#V2.0 Format\n"),
	MARK(BLOCK_QEMU, "luks", 0, "LUKS\xba\xbe"),
	MARK(BLOCK_QEMU, "dmg", 0, "koly", true),
};

static const struct {
	const char *suffix;
	struct image_probe format;
} probe_suffixes[] = {
	{ ".vhd", { BLOCK_VHD, NULL } },         { ".avhd", { BLOCK_VHD, NULL } },
	{ ".vhdx", { BLOCK_VHDX, NULL } },       { ".avhdx", { BLOCK_VHDX, NULL } },
	{ ".qcow2", { BLOCK_QEMU, "qcow2" } },   { ".qcow", { BLOCK_QEMU, "qcow" } },
	{ ".qed", { BLOCK_QEMU, "qed" } },       { ".vmdk", { BLOCK_QEMU, "vmdk" } },
	{ ".vdi", { BLOCK_QEMU, "vdi" } },       { ".hdd", { BLOCK_QEMU, "parallels" } },
	{ ".hds", { BLOCK_QEMU, "parallels" } }, { ".bochs", { BLOCK_QEMU, "bochs" } },
	{ ".cloop", { BLOCK_QEMU, "cloop" } },   { ".luks", { BLOCK_QEMU, "luks" } },
	{ ".dmg", { BLOCK_QEMU, "dmg" } },
};

static const struct {
	const char *name;
	struct image_probe format;
} probe_names[] = {
	{ "raw", { BLOCK_RAW, NULL } },       { "vhd", { BLOCK_VHD, NULL } },
	{ "vhdx", { BLOCK_VHDX, NULL } },     { "nbd", { BLOCK_NBD, NULL } },
	{ "auto", { BLOCK_AUTO, NULL } },     { "vpc", { BLOCK_VHD, NULL } },
	{ "qcow2", { BLOCK_QEMU, "qcow2" } }, { "qcow", { BLOCK_QEMU, "qcow" } },
	{ "qed", { BLOCK_QEMU, "qed" } },     { "vmdk", { BLOCK_QEMU, "vmdk" } },
	{ "vdi", { BLOCK_QEMU, "vdi" } },     { "parallels", { BLOCK_QEMU, "parallels" } },
	{ "bochs", { BLOCK_QEMU, "bochs" } }, { "cloop", { BLOCK_QEMU, "cloop" } },
	{ "luks", { BLOCK_QEMU, "luks" } },   { "dmg", { BLOCK_QEMU, "dmg" } },
};

const char *image_kind_name(enum block_kind kind)
{
	switch (kind) {
	case BLOCK_RAW:
		return "raw";
	case BLOCK_NULL:
		return "null";
	case BLOCK_VHD:
		return "vhd";
	case BLOCK_VHDX:
		return "vhdx";
	case BLOCK_NBD:
		return "nbd";
	case BLOCK_QEMU:
		return "qemu";
	case BLOCK_AUTO:
		return "auto";
	}
	return "unknown";
}

int image_kind_parse(const char *text, struct image_probe *ret, struct diag *reterr)
{
	for (size_t i = 0; i < ARRAY_SIZE(probe_names); i++) {
		if (strcmp(text, probe_names[i].name) == 0) {
			*ret = probe_names[i].format;
			return 0;
		}
	}
	return diag_set(
		reterr, -EINVAL,
		"unknown disk format \"%s\": raw, vhd, vhdx, nbd, auto, or one of "
		"qemu-nbd's: qcow2, qcow, qed, vmdk, vdi, parallels, bochs, cloop, luks, dmg",
		text);
}

static const char *probe_name(const struct image_probe *format)
{
	return format->qemu_format ? format->qemu_format : image_kind_name(format->kind);
}

static bool probe_is_uri(const char *path)
{
	static const char *const schemes[] = { "nbd://", "nbd+unix://", "nbds://", "nbds+unix://" };

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++) {
		if (strncasecmp(path, schemes[i], strlen(schemes[i])) == 0) {
			return true;
		}
	}
	return false;
}

/* What the name says: raw when it says nothing. */
static struct image_probe probe_by_suffix(const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < ARRAY_SIZE(probe_suffixes); i++) {
		size_t n = strlen(probe_suffixes[i].suffix);

		/* A name that is nothing but the suffix is a hidden file's. */
		if (len > n && path[len - n - 1] != '/' &&
		    strcasecmp(path + len - n, probe_suffixes[i].suffix) == 0) {
			return probe_suffixes[i].format;
		}
	}
	return (struct image_probe){ BLOCK_RAW, NULL };
}

void image_probe_name(const char *path, struct image_probe *ret)
{
	*ret = probe_is_uri(path) ? (struct image_probe){ BLOCK_NBD, NULL } : probe_by_suffix(path);
}

static bool probe_is_same(const struct image_probe *a, const struct image_probe *b)
{
	return a->kind == b->kind &&
	       (a->qemu_format == b->qemu_format ||
		(a->qemu_format && b->qemu_format && strcmp(a->qemu_format, b->qemu_format) == 0));
}

static bool probe_has_mark(const struct probe_bytes *bytes, const struct probe_mark *mark)
{
	const uint8_t *at = (mark->is_at_end ? bytes->tail : bytes->head) + mark->offset_bytes;

	return memcmp(at, mark->magic, mark->magic_bytes) == 0;
}

/* Whether the bytes are this format's. */
static bool probe_has_format(const struct probe_bytes *bytes, const struct image_probe *format)
{
	for (size_t i = 0; i < ARRAY_SIZE(probe_marks); i++) {
		if (probe_is_same(&probe_marks[i].format, format) &&
		    probe_has_mark(bytes, &probe_marks[i])) {
			return true;
		}
	}
	return false;
}

/* Whose header the first bytes are; NULL: nobody's. */
static const struct image_probe *probe_by_header(const struct probe_bytes *bytes)
{
	for (size_t i = 0; i < ARRAY_SIZE(probe_marks); i++) {
		if (!probe_marks[i].is_at_end && probe_has_mark(bytes, &probe_marks[i])) {
			return &probe_marks[i].format;
		}
	}
	return NULL;
}

/*
 * What was read to look at it leaves the page cache: a file with one page there has the kernel look for
 * more at every direct request.
 */
static void probe_forget(int fd, uint64_t bytes)
{
	(void)posix_fadvise(fd, 0, PAGE_BYTES, POSIX_FADV_DONTNEED);
	if (bytes > PAGE_BYTES) {
		(void)posix_fadvise(fd, (off_t)num_align_down(bytes - 1, PAGE_BYTES), 0,
				    POSIX_FADV_DONTNEED);
	}
}

/* Never waits: a FIFO is not opened, and a device's size is asked of it. */
static int probe_read(const char *path, struct probe_bytes *ret)
{
	auto_close int fd = -1;
	uint64_t bytes;
	struct stat st;

	memset(ret, 0, sizeof(*ret));
	if (stat(path, &st) < 0) {
		return -errno;
	}
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		return -errno;
	}
	bytes = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, &bytes) < 0) {
		return -errno;
	}
	/* No read-ahead. */
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	int err = 0;

	if (pread(fd, ret->head, sizeof(ret->head), 0) < 0 ||
	    (bytes >= sizeof(ret->tail) &&
	     pread(fd, ret->tail, sizeof(ret->tail), (off_t)(bytes - sizeof(ret->tail))) < 0)) {
		err = -errno;
	}
	probe_forget(fd, bytes);
	return err;
}

static int probe_error(const char *path, int err, struct diag *reterr)
{
	switch (err) {
	case -ENOENT:
		return diag_set(reterr, err,
				"disk %s does not exist: check the path, or make one with "
				"`tabique disk create %s 10G`",
				path, path);
	case -EISDIR:
		return diag_set(reterr, err,
				"disk %s is a directory: name a disk image or a block device",
				path);
	case -EINVAL:
		return diag_set(reterr, err,
				"disk %s is neither a file nor a block device: name one of these",
				path);
	case -EACCES:
	case -EPERM:
		return diag_set(reterr, err,
				"disk %s: no permission to read it: change its mode or owner",
				path);
	default:
		return diag_set(reterr, err, "disk %s cannot be read: %s", path, strerror(-err));
	}
}

int image_probe(const char *path, struct image_probe *ret, struct diag *reterr)
{
	struct image_probe named = probe_by_suffix(path);
	const struct image_probe *found;
	struct probe_bytes bytes;
	int err;

	if (probe_is_uri(path)) {
		*ret = (struct image_probe){ BLOCK_NBD, NULL };
		return 0;
	}
	err = probe_read(path, &bytes);
	if (err) {
		return probe_error(path, err, reterr);
	}
	found = probe_by_header(&bytes);
	if (named.kind != BLOCK_RAW && !probe_has_format(&bytes, &named)) {
		return diag_set(reterr, -EINVAL,
				"disk %s is named like %s but begins like %s: say which it is "
				"with format=%s or rename it",
				path, probe_name(&named), found ? probe_name(found) : "raw data",
				found ? probe_name(found) : "raw");
	}
	if (named.kind == BLOCK_RAW && found) {
		return diag_set(
			reterr, -EINVAL,
			"disk %s begins with a header of format %s but is not named so: use "
			"format=%s, or format=raw if its guest wrote that, or rename it",
			path, probe_name(found), probe_name(found));
	}
	*ret = named;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* Making an image's file: it appears under its name whole and durable, or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "block/block_impl.h"

#define IMAGE_FILE_MODE 0666 /* as the umask allows */

/* "dir" of "dir/name", "." of "name". */
static int file_directory(const char *path, char buf[PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	if (n >= PATH_MAX) {
		return -ENAMETOOLONG;
	}
	if (!slash || n == 0) {
		strcpy(buf, slash ? "/" : ".");
	} else {
		memcpy(buf, path, n);
		buf[n] = '\0';
	}
	return 0;
}

int image_file_error(const struct image_file *file, int err, struct diag *reterr)
{
	if (err == -EEXIST) {
		return diag_set(reterr, err,
				"disk %s exists already: name another, or remove it first",
				file->path);
	}
	if (err == -ENOSPC || err == -EDQUOT) {
		return diag_set(reterr, err, "disk %s: no space left for it: %s", file->path,
				"free some, or choose another file system");
	}
	if (err == -EFBIG) {
		return diag_set(reterr, err,
				"disk %s is larger than its file system allows a file to be",
				file->path);
	}
	return diag_set(reterr, err, "disk %s cannot be made: %s", file->path, strerror(-err));
}

int image_file_create(const char *path, struct image_file *ret, struct diag *reterr)
{
	struct image_file file = { .fd = -1, .path = path };
	char dir[PATH_MAX];
	int err = file_directory(path, dir);

	if (!err && faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
		err = -EEXIST;
	}
	if (!err && fault_point()) {
		err = -ENFILE;
	}
	if (err) {
		return image_file_error(&file, err, reterr);
	}
	file.fd = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, IMAGE_FILE_MODE);
	if (file.fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
		file.fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, IMAGE_FILE_MODE);
		file.is_named = file.fd >= 0;
	}
	if (file.fd < 0) {
		return image_file_error(&file, -errno, reterr);
	}
	*ret = file;
	return 0;
}

/* The file's content, then its name. */
static int file_publish(struct image_file *file)
{
	char self[64], dir[PATH_MAX];
	auto_close int dir_fd = -1;
	int err;

	if (fsync(file->fd) < 0) {
		return -errno;
	}
	if (!file->is_named) {
		snprintf(self, sizeof(self), "/proc/self/fd/%d", file->fd);
		if (linkat(AT_FDCWD, self, AT_FDCWD, file->path, AT_SYMLINK_FOLLOW) < 0) {
			return -errno;
		}
		file->is_named = true;
	}
	err = file_directory(file->path, dir);
	if (err) {
		return err;
	}
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0) {
		return -errno;
	}
	/* Some file systems have nothing to sync in a directory, and say so. */
	return fsync(dir_fd) < 0 && errno != EINVAL ? -errno : 0;
}

int image_file_finish(struct image_file *file, int err, struct diag *reterr)
{
	if (!err) {
		err = file_publish(file);
		if (err) {
			(void)image_file_error(file, err, reterr);
		}
	}
	if (err && file->is_named) {
		unlink(file->path);
	}
	close(file->fd);
	file->fd = -1;
	return err;
}

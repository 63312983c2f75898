/* SPDX-License-Identifier: MIT */
#include "boot/unpack_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

#define NAME_BYTES   128
#define KEEP_SECONDS (60L * 24 * 3600)

/* The directory, if it is ours alone. */
static int open_dir(const char *dir)
{
	auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & 022)) {
		return -ENOENT;
	}
	return steal_fd(&fd);
}

static int name_of(int kernel_fd, size_t bytes, char ret[NAME_BYTES])
{
	struct stat st;

	if (fstat(kernel_fd, &st) != 0) {
		return -ENOENT;
	}
	snprintf(ret, NAME_BYTES, "kernel-%llx-%llx-%llx-%llx.%09lx-%zx",
		 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
		 (unsigned long long)st.st_size, (unsigned long long)st.st_ctim.tv_sec,
		 (unsigned long)st.st_ctim.tv_nsec, bytes);
	return 0;
}

int unpack_cache_map(const char *dir, int kernel_fd, size_t bytes, uint8_t **ret)
{
	auto_close int dir_fd = open_dir(dir);
	auto_close int fd = -1;
	char name[NAME_BYTES];
	struct stat st;

	if (dir_fd < 0 || name_of(kernel_fd, bytes, name) != 0) {
		return -ENOENT;
	}
	fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) != 0 || st.st_uid != geteuid() ||
	    (uint64_t)st.st_size != bytes) {
		return -ENOENT;
	}
	void *image = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);

	if (image == MAP_FAILED) {
		return -ENOENT;
	}
	(void)futimens(fd, NULL); /* used today: see remove_old() */
	*ret = image;
	return 0;
}

/* Kernels come and go; what nobody has started for KEEP_SECONDS goes. */
static void remove_old(int dir_fd)
{
	DIR *dir = fdopendir(dup(dir_fd));
	const struct dirent *entry;
	struct stat st;

	while (dir && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, "kernel-", 7) == 0 &&
		    fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    time(NULL) - st.st_mtime > KEEP_SECONDS) {
			(void)unlinkat(dir_fd, entry->d_name, 0);
		}
	}
	if (dir) {
		closedir(dir);
	}
}

/* With the directory above it; those above that are the user's business. */
static void make_dir(const char *dir)
{
	char above[PATH_MAX];
	const char *slash = strrchr(dir, '/');

	if (mkdir(dir, 0700) != 0 && errno == ENOENT && slash && slash > dir) {
		snprintf(above, sizeof(above), "%.*s", (int)(slash - dir), dir);
		(void)mkdir(above, 0700);
		(void)mkdir(dir, 0700);
	}
}

static int write_all(int fd, const uint8_t *bytes, size_t left)
{
	while (left > 0) {
		ssize_t done = write(fd, bytes, left);

		if (done <= 0) {
			return -EIO;
		}
		bytes += done;
		left -= (size_t)done;
	}
	return 0;
}

void unpack_cache_store(const char *dir, int kernel_fd, const uint8_t *image, size_t bytes)
{
	char name[NAME_BYTES], making[NAME_BYTES + 16];

	make_dir(dir);
	auto_close int dir_fd = open_dir(dir);
	auto_close int fd = -1;

	if (dir_fd < 0 || name_of(kernel_fd, bytes, name) != 0) {
		return;
	}
	remove_old(dir_fd);
	snprintf(making, sizeof(making), "%s.%d", name, (int)getpid());
	fd = openat(dir_fd, making, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		return;
	}
	if (write_all(fd, image, bytes) != 0 || renameat(dir_fd, making, dir_fd, name) != 0) {
		(void)unlinkat(dir_fd, making, 0);
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * Disk traffic from inside a guest, small enough to start at once where fio with
 * its libraries takes seconds:
 *
 *   guest-io fill PATH MB SEED          writes blocks that name themselves
 *   guest-io verify PATH MB SEED        reads them back and compares
 *   guest-io random PATH read|write DEPTH BYTES SECONDS    prints I/O per second
 *   guest-io stream PATH read|write DEPTH BYTES SECONDS    prints MB per second
 *
 * All of it with O_DIRECT and Linux's own asynchronous I/O. Exit status 0, 1 on
 * a wrong byte or an I/O error, 2 on wrong usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH_MAX = 256, CHUNK_BYTES = 256 * 1024 };

__attribute__((noreturn)) static void fail(const char *what)
{
	fprintf(stderr, "guest-io: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* xorshift: each word of the disk tells its place and the seed. */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static void make_chunk(uint64_t *words, uint64_t offset, uint64_t seed)
{
	for (size_t i = 0; i < CHUNK_BYTES / 8; i++) {
		words[i] = mix(offset + i * 8 + seed * 0x9e3779b97f4a7c15ULL);
	}
}

static void *buffer(size_t bytes)
{
	void *p = NULL;

	if (posix_memalign(&p, 4096, bytes) != 0) {
		errno = ENOMEM;
		fail("memory");
	}
	memset(p, 0x5a, bytes);
	return p;
}

static int fill_or_verify(bool fill, const char *path, uint64_t mb, uint64_t seed)
{
	int fd = open(path, (fill ? O_RDWR | O_CREAT : O_RDONLY) | O_DIRECT, 0644);
	uint64_t *want = buffer(CHUNK_BYTES), *got = buffer(CHUNK_BYTES);
	uint64_t end = mb << 20;

	if (fd < 0) {
		fail(path);
	}
	for (uint64_t at = 0; at < end; at += CHUNK_BYTES) {
		make_chunk(want, at, seed);
		if (fill) {
			if (pwrite(fd, want, CHUNK_BYTES, (off_t)at) != CHUNK_BYTES) {
				fail("write");
			}
			continue;
		}
		if (pread(fd, got, CHUNK_BYTES, (off_t)at) != CHUNK_BYTES) {
			fail("read");
		}
		for (size_t i = 0; i < CHUNK_BYTES / 8; i++) {
			if (want[i] != got[i]) {
				printf("guest-io: byte %llu: expected %016llx, found %016llx\n",
				       (unsigned long long)(at + i * 8),
				       (unsigned long long)want[i], (unsigned long long)got[i]);
				return 1;
			}
		}
	}
	if (fill && fsync(fd) < 0) {
		fail("fsync");
	}
	close(fd);
	printf("guest-io: %s %llu MB ok\n", fill ? "filled" : "verified", (unsigned long long)mb);
	return 0;
}

static uint64_t size_of(int fd)
{
	uint64_t bytes = 0;
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		return (uint64_t)st.st_size;
	}
	if (ioctl(fd, BLKGETSIZE64, &bytes) < 0) {
		fail("size");
	}
	return bytes;
}

static int load(bool random, const char *path, bool writes, unsigned depth, size_t bytes,
		double seconds)
{
	int fd = open(path, (writes ? O_RDWR : O_RDONLY) | O_DIRECT);
	aio_context_t context = 0;
	static struct iocb control[DEPTH_MAX];
	static struct io_event events[DEPTH_MAX];
	uint64_t done = 0, next = 0, draw = 88172645463325252ULL;

	if (fd < 0 || depth < 1 || depth > DEPTH_MAX || bytes < 512) {
		fail(path);
	}
	uint64_t blocks = size_of(fd) / bytes;

	if (blocks == 0 || syscall(SYS_io_setup, depth, &context) < 0) {
		fail("io_setup");
	}
	for (unsigned i = 0; i < depth; i++) {
		control[i].aio_fildes = (uint32_t)fd;
		control[i].aio_lio_opcode = writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
		control[i].aio_buf = (uint64_t)(uintptr_t)buffer(bytes);
		control[i].aio_nbytes = bytes;
		control[i].aio_data = i;
	}
	double start = now(), end = start + seconds;
	struct iocb *batch[DEPTH_MAX];
	long ready = 0;

	for (unsigned i = 0; i < depth; i++) {
		batch[ready++] = &control[i];
	}
	do {
		for (long i = 0; i < ready; i++) {
			draw ^= draw << 13;
			draw ^= draw >> 7;
			draw ^= draw << 17;
			batch[i]->aio_offset = (int64_t)((random ? draw : next++) % blocks * bytes);
		}
		if (syscall(SYS_io_submit, context, ready, batch) != ready) {
			fail("io_submit");
		}
		ready = syscall(SYS_io_getevents, context, 1, depth, events, NULL);
		for (long i = 0; i < ready; i++) {
			if (events[i].res != (int64_t)bytes) {
				errno = events[i].res < 0 ? (int)-events[i].res : EIO;
				fail("I/O");
			}
			batch[i] = &control[events[i].data];
		}
		done += (uint64_t)ready;
	} while (now() < end);
	double took = now() - start;

	if (random) {
		printf("guest-io: %.0f I/O per second, %llu done\n", (double)done / took,
		       (unsigned long long)done);
	} else {
		printf("guest-io: %.1f MB per second, %llu done\n",
		       (double)done * (double)bytes / took / 1e6, (unsigned long long)done);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && (strcmp(argv[1], "fill") == 0 || strcmp(argv[1], "verify") == 0)) {
		return fill_or_verify(argv[1][0] == 'f', argv[2], strtoull(argv[3], NULL, 0),
				      strtoull(argv[4], NULL, 0));
	}
	if (argc == 7 && (strcmp(argv[1], "random") == 0 || strcmp(argv[1], "stream") == 0)) {
		return load(argv[1][0] == 'r', argv[2], argv[3][0] == 'w',
			    (unsigned)strtoul(argv[4], NULL, 0), strtoul(argv[5], NULL, 0),
			    strtod(argv[6], NULL));
	}
	fprintf(stderr, "usage: guest-io fill|verify PATH MB SEED\n"
			"       guest-io random|stream PATH read|write DEPTH BYTES SECONDS\n");
	return 2;
}

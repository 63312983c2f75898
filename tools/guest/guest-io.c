/* SPDX-License-Identifier: MIT */
/*
 * Disk traffic from inside a guest, small enough to start at once where fio with
 * its libraries takes seconds:
 *
 *   guest-io fill PATH MB SEED          writes blocks that name themselves
 *   guest-io verify PATH MB SEED        reads them back and compares
 *   guest-io random PATH read|write|mixed DEPTH BYTES SECONDS [JOBS]
 *                                       prints I/O per second; mixed: 30 % writes
 *   guest-io stream PATH read|write|mixed DEPTH BYTES SECONDS [JOBS]
 *                                       prints MB per second
 *
 * All of it with O_DIRECT where the file system has that, loads with Linux's own
 * asynchronous I/O; each job is a process with a queue of its own. Exit status 0,
 * 1 on a wrong byte or an I/O error, 2 on wrong usage.
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
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH_MAX = 256, JOBS_MAX = 64, CHUNK_BYTES = 256 * 1024 };

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

/* Past the page cache, where that exists. */
static int open_direct(const char *path, int flags)
{
	int fd = open(path, flags | O_DIRECT, 0644);

	return fd < 0 && errno == EINVAL ? open(path, flags, 0644) : fd;
}

static int fill_or_verify(bool fill, const char *path, uint64_t mb, uint64_t seed)
{
	int fd = open_direct(path, fill ? O_RDWR | O_CREAT : O_RDONLY);
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

struct load {
	const char *path;
	bool random;
	unsigned write_percent, depth, jobs;
	size_t bytes;
	double seconds;
};

/* What a job did; in memory that all of them share. */
struct done {
	uint64_t requests;
	double start, end;
};

static uint64_t next_draw(uint64_t *draw)
{
	*draw ^= *draw << 13;
	*draw ^= *draw >> 7;
	*draw ^= *draw << 17;
	return *draw;
}

/* One job: keeps its queue as deep as it was told until the time is over. */
static void run_job(const struct load *load, unsigned job, struct done *done)
{
	int fd = open_direct(load->path, load->write_percent > 0 ? O_RDWR : O_RDONLY);
	aio_context_t context = 0;
	static struct iocb control[DEPTH_MAX];
	static struct io_event events[DEPTH_MAX];
	struct iocb *batch[DEPTH_MAX];
	uint64_t draw = 88172645463325252ULL + job * 0x9e3779b97f4a7c15ULL;
	long ready = 0;

	if (fd < 0) {
		fail(load->path);
	}
	uint64_t blocks = size_of(fd) / load->bytes;

	if (blocks < load->jobs || syscall(SYS_io_setup, load->depth, &context) < 0) {
		fail("io_setup");
	}
	/* Streams of several jobs begin apart. */
	uint64_t next = blocks / load->jobs * job;

	for (unsigned i = 0; i < load->depth; i++) {
		control[i].aio_fildes = (uint32_t)fd;
		control[i].aio_buf = (uint64_t)(uintptr_t)buffer(load->bytes);
		control[i].aio_nbytes = load->bytes;
		control[i].aio_data = i;
		batch[ready++] = &control[i];
	}
	done->start = now();
	do {
		for (long i = 0; i < ready; i++) {
			bool writes = next_draw(&draw) % 100 < load->write_percent;
			uint64_t block = load->random ? next_draw(&draw) : next++;

			batch[i]->aio_lio_opcode = writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
			batch[i]->aio_offset = (int64_t)(block % blocks * load->bytes);
		}
		if (syscall(SYS_io_submit, context, ready, batch) != ready) {
			fail("io_submit");
		}
		ready = syscall(SYS_io_getevents, context, 1, load->depth, events, NULL);
		for (long i = 0; i < ready; i++) {
			if (events[i].res != (int64_t)load->bytes) {
				errno = events[i].res < 0 ? (int)-events[i].res : EIO;
				fail("I/O");
			}
			batch[i] = &control[events[i].data];
		}
		done->requests += (uint64_t)ready;
		done->end = now();
	} while (done->end < done->start + load->seconds);
}

static int run_load(const struct load *load)
{
	struct done *done = mmap(NULL, load->jobs * sizeof(*done), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t requests = 0;
	double rate = 0;
	int status, failed = 0;

	if (done == MAP_FAILED) {
		fail("memory");
	}
	for (unsigned i = 1; i < load->jobs; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			fail("fork");
		}
		if (pid == 0) {
			run_job(load, i, &done[i]);
			_exit(0);
		}
	}
	run_job(load, 0, &done[0]);
	while (wait(&status) > 0) {
		failed |= status != 0;
	}
	if (failed) {
		return 1;
	}
	for (unsigned i = 0; i < load->jobs; i++) {
		requests += done[i].requests;
		rate += (double)done[i].requests / (done[i].end - done[i].start);
	}
	if (load->random) {
		printf("guest-io: %.0f I/O per second, %llu done\n", rate,
		       (unsigned long long)requests);
	} else {
		printf("guest-io: %.1f MB per second, %llu done\n",
		       rate * (double)load->bytes / 1e6, (unsigned long long)requests);
	}
	return 0;
}

/* Fills *ret from PATH OPERATION DEPTH BYTES SECONDS [JOBS]. */
static bool read_load(char **argv, int argc, struct load *ret)
{
	static const struct {
		const char *name;
		unsigned write_percent;
	} operations[] = { { "read", 0 }, { "write", 100 }, { "mixed", 30 } };

	for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
		if (strcmp(argv[1], operations[i].name) == 0) {
			ret->path = argv[0];
			ret->write_percent = operations[i].write_percent;
			ret->depth = (unsigned)strtoul(argv[2], NULL, 0);
			ret->bytes = strtoul(argv[3], NULL, 0);
			ret->seconds = strtod(argv[4], NULL);
			ret->jobs = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 0) : 1;
			return ret->depth >= 1 && ret->depth <= DEPTH_MAX && ret->bytes >= 512 &&
			       ret->jobs >= 1 && ret->jobs <= JOBS_MAX;
		}
	}
	return false;
}

int main(int argc, char **argv)
{
	if (argc == 5 && (strcmp(argv[1], "fill") == 0 || strcmp(argv[1], "verify") == 0)) {
		return fill_or_verify(argv[1][0] == 'f', argv[2], strtoull(argv[3], NULL, 0),
				      strtoull(argv[4], NULL, 0));
	}
	struct load load = { 0 };

	if ((argc == 7 || argc == 8) &&
	    (strcmp(argv[1], "random") == 0 || strcmp(argv[1], "stream") == 0) &&
	    read_load(argv + 2, argc - 2, &load)) {
		load.random = argv[1][0] == 'r';
		return run_load(&load);
	}
	fprintf(stderr,
		"usage: guest-io fill|verify PATH MB SEED\n"
		"       guest-io random|stream PATH read|write|mixed DEPTH BYTES SECONDS [JOBS]\n");
	return 2;
}

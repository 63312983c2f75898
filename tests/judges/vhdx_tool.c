/* SPDX-License-Identifier: MIT */
/*
 * Drives VHDX images from scripts.
 *
 *   vhdx_tool create PATH dynamic|fixed BYTES BLOCK LOGICAL     vhdx_tool create PATH child PARENT BLOCK
 *   vhdx_tool import RAW VHDX      all that is not zero in RAW is written
 *   vhdx_tool export VHDX RAW      all is read
 *   vhdx_tool random VHDX SEED N   N random writes, discards, zeroes and flushes; the same into VHDX.raw
 *   vhdx_tool bench PATH raw|vhdx read|write DEPTH N      N requests of 4 KiB at random; prints their rate
 *   vhdx_tool check|repair|compact|facts VHDX
 *
 * Exit 0; 1 with a sentence; 2 when check finds errors.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "block/block_impl.h"
#include "block/sync.h"

#define PIECE_BYTES (4U << 20)

static struct diag diag;
static uint8_t piece[PIECE_BYTES] __attribute__((aligned(4096)));

static int fail_with(const char *what, int err)
{
	fprintf(stderr, "vhdx_tool: %s: %s: %s\n", what, strerror(-err), diag.text);
	return 1;
}

static struct block_sync *open_image(const char *path, enum block_kind kind, bool read_only)
{
	struct block_config config = { .kind = kind, .path = path, .read_only = read_only };
	struct block_sync *sync;
	struct block *block;
	int err = block_open(&config, &block, &diag);

	err = err ? err : block_sync_create(block, &sync, &diag);
	if (err) {
		exit(fail_with(path, err));
	}
	return sync;
}

static void close_image(struct block_sync *sync)
{
	struct block *block = block_sync_block(sync);

	block_sync_destroy(sync);
	block_close(block);
}

static int create(char **argv, int argc)
{
	struct image_create_config config = { .kind = BLOCK_VHDX, .path = argv[0] };

	if (strcmp(argv[1], "child") == 0) {
		config.layout = IMAGE_DIFFERENCING;
		config.parent_path = argv[2];
		config.parent_kind = BLOCK_VHDX;
	} else {
		config.layout = strcmp(argv[1], "fixed") == 0 ? IMAGE_FIXED : IMAGE_DYNAMIC;
		config.bytes = strtoull(argv[2], NULL, 0);
	}
	config.block_bytes = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 0) : 0;
	config.logical_block_bytes = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 0) : 0;
	int err = vhdx_image_ops.create(&config, &diag);

	return err ? fail_with(argv[0], err) : 0;
}

static bool is_zero(const uint8_t *buf, size_t bytes)
{
	return bytes == 0 || (buf[0] == 0 && memcmp(buf, buf + 1, bytes - 1) == 0);
}

static int copy(const char *from, enum block_kind from_kind, const char *to,
		enum block_kind to_kind)
{
	struct block_sync *in = open_image(from, from_kind, true);
	struct block_sync *out = open_image(to, to_kind, false);
	uint64_t bytes = block_info(block_sync_block(in))->bytes;
	int err = 0;

	for (uint64_t at = 0; at < bytes && !err; at += PIECE_BYTES) {
		size_t n = num_min(PIECE_BYTES, bytes - at);

		err = block_sync_read(in, at, piece, n);
		if (!err && !is_zero(piece, n)) {
			err = block_sync_write(out, at, piece, n);
		}
	}
	err = err ? err : block_sync_flush(out);
	close_image(in);
	close_image(out);
	return err ? fail_with(to, err) : 0;
}

static int export_raw(const char *from, const char *to)
{
	struct block_sync *in = open_image(from, BLOCK_VHDX, true);
	uint64_t bytes = block_info(block_sync_block(in))->bytes;
	int fd = open(to, O_CREAT | O_TRUNC | O_WRONLY, 0666);

	close_image(in);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0) {
		return fail_with(to, -errno);
	}
	close(fd);
	return copy(from, BLOCK_VHDX, to, BLOCK_RAW);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* The same operation on both. */
static int random_step(struct block_sync *image, struct block_sync *raw, uint64_t *seed,
		       uint64_t bytes, uint32_t unit)
{
	uint64_t n = unit * (1 + next_random(seed) % (next_random(seed) % 8 ? 64 : 8192));
	uint64_t at = num_align_down(next_random(seed) % bytes, unit);
	unsigned int what = next_random(seed) % 16;
	int err;

	n = num_min(n, num_min(bytes - at, PIECE_BYTES));
	if (what == 0) {
		return block_sync_flush(image);
	}
	if (what < 4) {
		err = what == 1 ? block_sync_discard(image, at, n)
				: block_sync_write_zeroes(image, at, n, what == 2);
		return err ? err : block_sync_write_zeroes(raw, at, n, true);
	}
	for (size_t i = 0; i < n; i += 8) {
		uint64_t value = next_random(seed);

		memcpy(piece + i, &value, 8);
	}
	err = block_sync_write(image, at, piece, n);
	return err ? err : block_sync_write(raw, at, piece, n);
}

static int random_writes(const char *path, uint64_t seed, unsigned long count)
{
	struct block_sync *image = open_image(path, BLOCK_VHDX, false), *raw;
	const struct block_info *info = block_info(block_sync_block(image));
	char other[4096];
	int err = 0;

	snprintf(other, sizeof(other), "%s.raw", path);
	raw = open_image(other, BLOCK_RAW, false);
	seed = seed * 0x9e3779b97f4a7c15ULL + 1;
	for (unsigned long i = 0; i < count && !err; i++) {
		err = random_step(image, raw, &seed, info->bytes, info->logical_block_bytes);
	}
	close_image(image);
	close_image(raw);
	return err ? fail_with(path, err) : 0;
}

/* ---- bench --------------------------------------------------------------------------------------- */

#define BENCH_DEPTH_MAX 256

struct bench {
	struct block_sync *sync;
	enum block_op op;
	uint64_t seed, left, in_flight;
	struct bench_slot {
		struct bench *bench;
		struct block_request request;
		struct iovec iov;
	} slots[BENCH_DEPTH_MAX];
};

static void bench_submit(struct bench_slot *slot)
{
	struct bench *bench = slot->bench;
	struct block *block = block_sync_block(bench->sync);
	size_t n = (size_t)(slot - bench->slots);

	slot->iov = (struct iovec){ piece + n * 4096, 4096 };
	slot->request.op = bench->op;
	slot->request.iov = &slot->iov;
	slot->request.iov_count = 1;
	slot->request.length_bytes = 4096;
	slot->request.offset_bytes =
		next_random(&bench->seed) % (block_info(block)->bytes / 4096) * 4096;
	bench->left--;
	bench->in_flight++;
	block_submit(block, &slot->request);
}

static void bench_on_done(struct block_request *request, int result)
{
	struct bench_slot *slot = container_of(request, struct bench_slot, request);

	check(result == 0);
	slot->bench->in_flight--;
	if (slot->bench->left > 0) {
		bench_submit(slot);
	} else if (slot->bench->in_flight == 0) {
		loop_quit(block_sync_loop(slot->bench->sync));
	}
}

static int bench_image(char **argv)
{
	static struct bench bench;
	bool raw = strcmp(argv[1], "raw") == 0;
	unsigned long depth = strtoul(argv[3], NULL, 0);
	uint64_t count = strtoull(argv[4], NULL, 0), before;

	bench.op = strcmp(argv[2], "read") == 0 ? BLOCK_READ : BLOCK_WRITE;
	bench.seed = 1;
	bench.left = count;
	bench.sync = open_image(argv[0], raw ? BLOCK_RAW : BLOCK_VHDX, false);
	before = loop_now_ns();
	for (unsigned long i = 0; i < depth && i < BENCH_DEPTH_MAX; i++) {
		bench.slots[i].bench = &bench;
		bench.slots[i].request.done = bench_on_done;
		bench_submit(&bench.slots[i]);
	}
	loop_run(block_sync_loop(bench.sync));
	printf("%.0f per second\n", (double)count * 1e9 / (double)(loop_now_ns() - before));
	close_image(bench.sync);
	return 0;
}

static void print_line(void *ctx, const char *text)
{
	(void)ctx;
	printf("%s\n", text);
}

static int check_image(const char *path, bool repair)
{
	struct image_report report = { .line = print_line };
	int err = (vhdx_image_ops.check)(path, repair, &report, NULL, &diag);

	if (err) {
		return fail_with(path, err);
	}
	printf("%llu errors, %llu leaks, %llu repaired\n", (unsigned long long)report.errors,
	       (unsigned long long)report.leaks, (unsigned long long)report.repaired);
	return report.errors ? 2 : 0;
}

static int compact_image(const char *path)
{
	uint64_t bytes = 0;
	int err = vhdx_image_ops.compact(path, NULL, &bytes, &diag);

	if (err) {
		return fail_with(path, err);
	}
	printf("%llu bytes less\n", (unsigned long long)bytes);
	return 0;
}

static void print_fact(void *ctx, const char *name, const char *value)
{
	(void)ctx;
	printf("%s: %s\n", name, value);
}

static int print_facts(const char *path)
{
	struct block_sync *sync = open_image(path, BLOCK_VHDX, true);
	struct block *block = block_sync_block(sync);

	block->ops->describe(block, print_fact, NULL);
	close_image(sync);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 2 ? argv[1] : "";

	if (strcmp(verb, "create") == 0 && argc >= 5) {
		return create(argv + 2, argc - 2);
	}
	if (strcmp(verb, "import") == 0 && argc == 4) {
		return copy(argv[2], BLOCK_RAW, argv[3], BLOCK_VHDX);
	}
	if (strcmp(verb, "export") == 0 && argc == 4) {
		return export_raw(argv[2], argv[3]);
	}
	if (strcmp(verb, "random") == 0 && argc == 5) {
		return random_writes(argv[2], strtoull(argv[3], NULL, 0),
				     strtoul(argv[4], NULL, 0));
	}
	if (strcmp(verb, "bench") == 0 && argc == 7) {
		return bench_image(argv + 2);
	}
	if (strcmp(verb, "check") == 0 || strcmp(verb, "repair") == 0) {
		return check_image(argv[2], verb[0] == 'r');
	}
	if (strcmp(verb, "compact") == 0) {
		return compact_image(argv[2]);
	}
	if (strcmp(verb, "facts") == 0) {
		return print_facts(argv[2]);
	}
	fprintf(stderr, "vhdx_tool: see the head of its source\n");
	return 1;
}

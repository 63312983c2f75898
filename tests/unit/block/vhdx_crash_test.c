/* SPDX-License-Identifier: MIT */
/*
 * Power cuts. A guest writes, discards and flushes at random, and then the image is compacted; all that reaches the file is recorded, and
 * played again up to a random moment, torn as a disk may tear it. Each time the image opens, holds what
 * was flushed, holds nothing that was never written, and check finds nothing. QEMU judges a sample: what
 * we have replayed is in order, and what it replays by itself holds the same.
 *
 *   TABIQUE_CRASH_CUTS   power cuts in all (default 1200)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "block/vhdx_internal.h"
#include "unit/block/record.h"

#define SEEDS         8
#define CUTS_DEFAULT  1200
#define JUDGED_EACH   24 /* one in so many by QEMU */
#define OPS           1500
#define SLOTS         6
#define DISK_BYTES    (9 * MIB + 64 * KIB)
#define SECTORS       (DISK_BYTES / 512)
#define SLOT_SECTORS  (SECTORS / SLOTS)
#define WRITE_SECTORS 2048
#define PARENT_VALUE  0xffffffU

/* One of the guest's own operations. */
struct change {
	uint64_t first, count; /* sectors */
	uint32_t value;        /* 0: zeroes */
	bool fua;
	uint64_t submitted, done;
};

struct slot {
	struct block_request request;
	struct iovec iov;
	uint64_t *buf;
	size_t change; /* ~0: a flush */
	uint64_t flush_submitted;
	bool is_busy;
};

struct crash {
	uint64_t seed, time, compacting; /* the latter: since when */
	bool has_parent;
	int fd, parent, start; /* memfds: the image, its parent, the image before all */
	char path[64], parent_path[64];
	struct record record;
	struct loop *loop;
	struct block *image;
	struct slot slots[SLOTS];
	struct change *changes;
	size_t count;
	struct flush {
		uint64_t submitted, done;
	} * flushes;
	size_t flush_count;
	bool is_stopped;
	struct loop_work stopped;
	uint32_t *last; /* per sector: 1 + the last change that had to be there */
	uint64_t *read_buf;
};

static struct diag diag;

/* ---- values of sectors --------------------------------------------------------------------------- */

static uint64_t word_of(uint32_t value, uint64_t sector)
{
	return value ? (uint64_t)value << 32 | sector : 0;
}

static void fill(uint64_t *buf, uint64_t first, uint64_t count, uint32_t value)
{
	for (uint64_t i = 0; i < count; i++) {
		for (unsigned int j = 0; j < 64; j++) {
			buf[i * 64 + j] = word_of(value, first + i);
		}
	}
}

/* ---- the files ----------------------------------------------------------------------------------- */

static int make_fd(const char *name, char path[64])
{
	int fd = memfd_create(name, 0);

	assert_true(fd >= 0);
	snprintf(path, 64, "/proc/%d/fd/%d", getpid(), fd);
	return fd;
}

static void copy_fd(int from, int to)
{
	static uint8_t page[65536];
	off_t bytes = lseek(from, 0, SEEK_END);

	assert_int_equal(ftruncate(to, 0), 0);
	assert_int_equal(ftruncate(to, bytes), 0);
	for (off_t at = lseek(from, 0, SEEK_DATA); at >= 0 && at < bytes;
	     at = lseek(from, at, SEEK_DATA)) {
		ssize_t n = pread(from, page, sizeof(page), at);

		assert_true(n > 0);
		assert_int_equal(pwrite(to, page, (size_t)n, at), n);
		at += n;
	}
}

/* An image is made in a file of its own name; its bytes then live in a memfd. */
static void make_image(const struct image_create_config *config, int fd)
{
	int made;

	if ((vhdx_image_ops.create)(config, &diag)) {
		fail_msg("%s", diag.text);
	}
	made = open(config->path, O_RDONLY);
	assert_true(made >= 0);
	copy_fd(made, fd);
	close(made);
	unlink(config->path);
}

static struct block_sync *open_sync(const char *path, struct block **ret)
{
	struct block_config config = { .kind = BLOCK_VHDX, .path = path };
	struct block_sync *sync = NULL;

	if (block_open(&config, ret, &diag) || block_sync_create(*ret, &sync, &diag)) {
		fail_msg("%s", diag.text);
	}
	return sync;
}

/* Every other piece of the parent holds something. */
static void fill_parent(struct crash *crash)
{
	struct block *block;
	struct block_sync *sync = open_sync(crash->parent_path, &block);

	for (uint64_t first = 0; first + 128 <= SECTORS; first += 256) {
		fill(crash->read_buf, first, 128, PARENT_VALUE);
		assert_int_equal(block_sync_write(sync, first * 512, crash->read_buf, 128 * 512),
				 0);
	}
	block_sync_destroy(sync);
	block_close(block);
}

static uint32_t value_before(const struct crash *crash, uint64_t sector)
{
	uint64_t at = sector % 256;

	return crash->has_parent && at < 128 && sector - at + 128 <= SECTORS ? PARENT_VALUE : 0;
}

static void crash_create(struct crash *crash, uint64_t seed)
{
	struct image_create_config config = {
		.kind = BLOCK_VHDX,
		.path = "vhdx-crash-image",
		.bytes = DISK_BYTES,
		.block_bytes = 1U << 20,
	};
	char path[64];

	memset(crash, 0, sizeof(*crash));
	crash->seed = seed * 0x9e3779b97f4a7c15ULL | 1;
	crash->has_parent = seed % 2;
	crash->fd = make_fd("image", crash->path);
	crash->start = make_fd("start", path);
	crash->parent = make_fd("parent", crash->parent_path);
	crash->changes = calloc(OPS + 1, sizeof(*crash->changes));
	crash->flushes = calloc(OPS + 2, sizeof(*crash->flushes));
	crash->last = calloc(SECTORS, sizeof(*crash->last));
	crash->read_buf = aligned_alloc(4096, MIB);
	assert_true(crash->changes && crash->flushes && crash->last && crash->read_buf);
	for (int i = 0; i < SLOTS; i++) {
		crash->slots[i].buf = aligned_alloc(4096, WRITE_SECTORS * 512);
		assert_non_null(crash->slots[i].buf);
	}
	unlink(config.path);
	if (crash->has_parent) {
		make_image(&config, crash->parent);
		fill_parent(crash);
		config.layout = IMAGE_DIFFERENCING;
		config.bytes = 0;
		config.parent_path = crash->parent_path;
		config.parent_kind = BLOCK_VHDX;
	}
	make_image(&config, crash->start);
	copy_fd(crash->start, crash->fd);
}

static void crash_destroy(struct crash *crash)
{
	record_fini(&crash->record);
	for (int i = 0; i < SLOTS; i++) {
		free(crash->slots[i].buf);
	}
	free(crash->changes);
	free(crash->flushes);
	free(crash->last);
	free(crash->read_buf);
	close(crash->fd);
	close(crash->start);
	close(crash->parent);
}

/* ---- the guest ----------------------------------------------------------------------------------- */

static struct crash *running;

static void on_done(struct block_request *request, int result)
{
	struct slot *slot = container_of(request, struct slot, request);

	assert_int_equal(result, 0);
	slot->is_busy = false;
	if (slot->change != ~(size_t)0) {
		running->changes[slot->change].done = running->time++;
	} else {
		running->flushes[running->flush_count++] =
			(struct flush){ slot->flush_submitted, running->time++ };
	}
}

static void submit_flush(struct crash *crash, struct slot *slot)
{
	slot->change = ~(size_t)0;
	slot->flush_submitted = crash->time++;
	slot->request.op = BLOCK_FLUSH;
}

/* Somewhere in the slot's own part of the disk, so that no two in flight meet; often on whole blocks. */
static void submit_change(struct crash *crash, struct slot *slot)
{
	struct change *change = &crash->changes[crash->count];
	uint64_t from = (uint64_t)(slot - crash->slots) * SLOT_SECTORS;
	uint64_t what = record_random(&crash->seed) % 16;
	bool clears = what < 3;

	change->count =
		1 + record_random(&crash->seed) % (record_random(&crash->seed) % 4 ? 16 : 512);
	change->first = from + record_random(&crash->seed) % SLOT_SECTORS;
	if (clears && (record_random(&crash->seed) & 1)) {
		change->first = (from + 2047) / 2048 * 2048; /* a whole block */
		change->count = 2048;
	}
	change->count = num_min(change->count, from + SLOT_SECTORS - change->first);
	change->value = clears ? 0 : (uint32_t)(crash->count + 1);
	change->fua = !clears && what == 4;
	change->submitted = crash->time++;
	change->done = RECORD_NEVER;
	slot->change = crash->count++;
	slot->request.op = what == 0 ? BLOCK_DISCARD : what < 3 ? BLOCK_WRITE_ZEROES : BLOCK_WRITE;
	slot->request.fua = change->fua;
	slot->request.may_unmap = what == 1;
	slot->request.offset_bytes = change->first * 512;
	slot->request.length_bytes = change->count * 512;
	fill(slot->buf, change->first, change->count, change->value);
	slot->iov = (struct iovec){ slot->buf, change->count * 512 };
	slot->request.iov = &slot->iov;
	slot->request.iov_count = clears ? 0 : 1;
}

static void run_turn(struct crash *crash)
{
	loop_turn(crash->loop);
	if (record_random(&crash->seed) % 3) {
		record_pump(&crash->record, &crash->seed);
	}
}

static void on_stopped(struct loop_work *work)
{
	container_of(work, struct crash, stopped)->is_stopped = true;
}

static void run_guest(struct crash *crash)
{
	unsigned int busy;

	for (unsigned int i = 0; i < OPS;) {
		struct slot *slot = &crash->slots[record_random(&crash->seed) % SLOTS];

		run_turn(crash);
		if (slot->is_busy) {
			continue;
		}
		memset(&slot->request, 0, sizeof(slot->request));
		slot->request.done = on_done;
		slot->is_busy = true;
		if (record_random(&crash->seed) % 6 == 0) {
			submit_flush(crash, slot);
		} else {
			submit_change(crash, slot);
		}
		block_submit(crash->image, &slot->request);
		i++;
	}
	do {
		run_turn(crash);
		busy = 0;
		for (int i = 0; i < SLOTS; i++) {
			busy += crash->slots[i].is_busy;
		}
	} while (busy);
}

static void open_recorded(struct crash *crash)
{
	struct block_config config = { .kind = BLOCK_RAW, .path = crash->path, .growable = true };
	struct block *raw;

	assert_int_equal(block_raw_open(&config, &raw, &diag), 0);
	/* Opening is in sequence, and changes nothing here: recorded from then on. */
	config.kind = BLOCK_VHDX;
	if (block_vhdx_open(&config, raw, &crash->image, &diag)) {
		fail_msg("%s", diag.text);
	}
	record_attach(&crash->record, crash->image->lower);
	crash->image->lower = &crash->record.block;
}

/* Closed, all is promised; then compact moves it about, and promises no less. */
static void run_compact(struct crash *crash)
{
	struct block_sync *sync;

	crash->flushes[crash->flush_count++] = (struct flush){ crash->time, crash->time };
	crash->compacting = ++crash->time;
	crash->record.at_once = true;
	open_recorded(crash);
	assert_int_equal(block_sync_create(crash->image, &sync, &diag), 0);
	assert_int_equal(vhdx_compact_started(sync, NULL), 0);
	block_sync_destroy(sync);
	block_close(crash->image);
}

static void crash_run(struct crash *crash)
{
	running = crash;
	crash->record.time = &crash->time;
	open_recorded(crash);
	assert_int_equal(loop_create("test", &crash->loop, &diag), 0);
	assert_int_equal(block_start(crash->image, crash->loop), 0);
	run_guest(crash);
	loop_work_init(&crash->stopped, on_stopped);
	block_stop(crash->image, &crash->stopped);
	while (!crash->is_stopped) {
		run_turn(crash);
	}
	block_close(crash->image);
	loop_destroy(crash->loop);
	run_compact(crash);
}

/* ---- after the cut ------------------------------------------------------------------------------- */

/* For each sector the last change that the guest was promised. */
static void find_promised(struct crash *crash, uint64_t cut)
{
	uint64_t flushed = 0;

	for (size_t i = 0; i < crash->flush_count; i++) {
		if (crash->flushes[i].done < cut) {
			flushed = num_max(flushed, crash->flushes[i].submitted);
		}
	}
	memset(crash->last, 0, SECTORS * sizeof(*crash->last));
	for (size_t i = 0; i < crash->count; i++) {
		const struct change *change = &crash->changes[i];

		if (change->done < flushed || (change->fua && change->done < cut)) {
			for (uint64_t j = 0; j < change->count; j++) {
				crash->last[change->first + j] = (uint32_t)(i + 1);
			}
		}
	}
}

static bool value_is_allowed(const struct crash *crash, uint64_t sector, uint64_t word,
			     uint64_t cut)
{
	size_t i = crash->last[sector];
	uint32_t promised = i ? crash->changes[i - 1].value : value_before(crash, sector);

	if (word == word_of(promised, sector)) {
		return true;
	}
	/* Something newer that was on its way. */
	for (; i < crash->count && crash->changes[i].submitted < cut; i++) {
		const struct change *change = &crash->changes[i];

		if (sector >= change->first && sector - change->first < change->count &&
		    word == word_of(change->value, sector)) {
			return true;
		}
	}
	return false;
}

static void verify_sectors(struct crash *crash, uint64_t first, uint64_t count, uint64_t cut)
{
	for (uint64_t i = 0; i < count; i++) {
		const uint64_t *words = crash->read_buf + i * 64;

		if (!value_is_allowed(crash, first + i, words[0], cut) ||
		    memcmp(words, words + 1, 504) != 0) {
			fail_msg("cut at %llu: sector %llu holds change %llu; promised was %u",
				 (unsigned long long)cut, (unsigned long long)(first + i),
				 (unsigned long long)(words[0] >> 32), crash->last[first + i]);
		}
	}
}

static void verify_content(struct crash *crash, struct block_sync *sync, uint64_t cut)
{
	find_promised(crash, cut);
	for (uint64_t at = 0; at < DISK_BYTES; at += MIB) {
		uint64_t bytes = num_min(MIB, DISK_BYTES - at);

		assert_int_equal(block_sync_read(sync, at, crash->read_buf, bytes), 0);
		verify_sectors(crash, at / 512, bytes / 512, cut);
	}
}

static void print_line(void *ctx, const char *text)
{
	(void)ctx;
	print_message("check: %s\n", text);
}

static void verify_check(struct crash *crash)
{
	struct image_report report = { .line = NULL };

	if ((vhdx_image_ops.check)(crash->path, false, &report, NULL, &diag)) {
		fail_msg("%s", diag.text);
	}
	if (report.errors) {
		report.line = print_line;
		assert_int_equal((vhdx_image_ops.check)(crash->path, false, &report, NULL, &diag),
				 0);
		fail_msg("check finds %llu errors", (unsigned long long)report.errors);
	}
}

/* Opened, which replays the log; and used a little, so that closing has something to do. */
static void verify_image(struct crash *crash, uint64_t cut)
{
	struct block *block;
	struct block_sync *sync = open_sync(crash->path, &block);

	verify_content(crash, sync, cut);
	block_sync_destroy(sync);
	block_close(block);
	verify_check(crash);
}

static bool run_qemu(const char *path, bool repair)
{
	char command[200];

	snprintf(command, sizeof(command), "qemu-img check -q -f vhdx %s %s >/dev/null 2>&1",
		 repair ? "-r all" : "", path);
	return system(command) == 0;
}

static bool has_qemu(void)
{
	return system("command -v qemu-img >/dev/null 2>&1") == 0;
}

/* QEMU replays our log, and the content is the same; it knows no parents. */
static void judge_replay(struct crash *crash, uint64_t cut, uint64_t seed)
{
	struct block *block;
	struct block_sync *sync;

	copy_fd(crash->start, crash->fd);
	record_play(&crash->record, crash->fd, cut, seed);
	if (!run_qemu(crash->path, true)) {
		fail_msg("cut at %llu: qemu-img cannot replay the log", (unsigned long long)cut);
	}
	sync = open_sync(crash->path, &block);
	verify_content(crash, sync, cut);
	block_sync_destroy(sync);
	block_close(block);
}

static void cut_once(struct crash *crash, uint64_t cut, uint64_t seed, bool judged)
{
	copy_fd(crash->start, crash->fd);
	record_play(&crash->record, crash->fd, cut, seed);
	verify_image(crash, cut);
	if (judged && !crash->has_parent) {
		if (!run_qemu(crash->path, false)) {
			fail_msg("cut at %llu: qemu-img check complains", (unsigned long long)cut);
		}
		judge_replay(crash, cut, seed);
	}
}

static void flushed_data_survive_power_cuts(void **state)
{
	const char *wanted = getenv("TABIQUE_CRASH_CUTS");
	unsigned long cuts = wanted ? strtoul(wanted, NULL, 10) : CUTS_DEFAULT;
	unsigned int judged = 0, logs = 0;
	bool qemu = has_qemu();
	struct crash crash;

	(void)state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		crash_create(&crash, seed);
		crash_run(&crash);
		for (unsigned long i = 0; i < (cuts + SEEDS - 1) / SEEDS; i++) {
			/* One in four while it is compacted. */
			uint64_t from = i % 4 == 1 ? crash.compacting : 0;
			uint64_t cut = from + record_random(&crash.seed) % (crash.time + 1 - from);
			bool by_qemu = qemu && !crash.has_parent && i % JUDGED_EACH == 0;

			cut_once(&crash, cut, i, by_qemu);
			judged += by_qemu;
		}
		logs += crash.record.count > 0;
		crash_destroy(&crash);
	}
	assert_int_equal(logs, SEEDS);
	print_message("%lu power cuts, %u judged by qemu-img%s\n", cuts, judged,
		      qemu ? "" : ", which is not installed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flushed_data_survive_power_cuts),
	};

	return cmocka_run_group_tests_name("block/vhdx_crash", tests, NULL, NULL);
}

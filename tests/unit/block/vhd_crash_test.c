/* SPDX-License-Identifier: MIT */
/*
 * The power goes while a VHD is written. What reaches its file is recorded; then, for many moments, the
 * file is built again as the host's storage might have left it: what a completed flush of the file covers
 * is there, of the rest each sector is there or not, at random. The image must open, be clean, and have
 * every sector as it was last flushed, or as it was written since.
 *
 *   TABIQUE_CRASH_CUTS   power cuts in all (default 800)
 */
#include "unit/block/rig.h"

#include <sys/stat.h>

#include "base/bytes.h"
#include "block/block_impl.h"
#include "block/image.h"
#include "block/sync.h"

#define DISK_BYTES   (2U << 20)
#define SECTORS      (DISK_BYTES / 512)
#define BLOCK_BYTES  (32U << 10)
#define ROUNDS       250
#define AT_ONCE      4
#define CUTS_DEFAULT 800 /* half of them of a child */
#define EVENTS_MAX   20000
#define VERSIONS_MAX 64

static const char path[] = "vhd-crash.vhd", parent_path[] = "vhd-crash-parent.vhd",
		  built_path[] = "vhd-crash-built.vhd";

static unsigned int seed;

static uint32_t rnd(uint32_t below)
{
	return ((uint32_t)rand_r(&seed) << 8 ^ (uint32_t)rand_r(&seed)) % below;
}

/* Moments: each submission and completion, below and above, is one. */
static uint32_t now;

/* ---- what reaches the file --------------------------------------------------------------------- */

struct event {
	enum block_op op;
	bool fua;
	uint64_t at, bytes;
	uint8_t *data;
	uint32_t submitted, completed; /* ~0: not */
};

static struct event events[EVENTS_MAX];
static uint32_t event_count;

/* A layer that records. */
struct recorder {
	struct block block;
};

struct recorded {
	struct block_request request;
	struct block_request *above;
	uint32_t event;
};

static void recorder_on_done(struct block_request *request, int result)
{
	struct recorded *recorded = container_of(request, struct recorded, request);

	assert_int_equal(result, 0);
	if (recorded->event != ~0U) {
		events[recorded->event].completed = ++now;
	}
	recorded->above->map = request->map;
	block_complete(recorded->above, result);
	free(recorded);
}

static void recorder_submit(struct block *block, struct block_request *request)
{
	struct recorded *recorded = calloc(1, sizeof(*recorded));

	recorded->above = request;
	recorded->event = ~0U;
	recorded->request = (struct block_request){
		.op = request->op,
		.fua = request->fua,
		.may_unmap = request->may_unmap,
		.offset_bytes = request->offset_bytes,
		.length_bytes = request->length_bytes,
		.iov = request->iov,
		.iov_count = request->iov_count,
		.done = recorder_on_done,
	};
	if (request->op != BLOCK_READ && request->op != BLOCK_MAP) {
		struct event *event = &events[event_count];

		assert_true(event_count < EVENTS_MAX);
		recorded->event = event_count++;
		*event = (struct event){
			.op = request->op,
			.fua = request->fua,
			.at = request->offset_bytes,
			.bytes = request->length_bytes,
			.submitted = ++now,
			.completed = ~0U,
		};
		if (request->op == BLOCK_WRITE) {
			uint64_t n = 0;

			event->data = malloc(event->bytes);
			for (int i = 0; i < request->iov_count; i++) {
				memcpy(event->data + n, request->iov[i].iov_base,
				       request->iov[i].iov_len);
				n += request->iov[i].iov_len;
			}
		}
	}
	block_submit(block->lower, &recorded->request);
}

static void recorder_close(struct block *block)
{
	free(container_of(block, struct recorder, block));
}

static const struct block_ops recorder_ops = {
	.name = "recorder",
	.submit = recorder_submit,
	.close = recorder_close,
};

/* ---- what the guest knows ----------------------------------------------------------------------- */

/* A sector's contents, the oldest first: the number that fills it; 0: as it was before. */
struct version {
	uint32_t stamp, submitted, completed;
};

static struct version versions[SECTORS][VERSIONS_MAX];
static uint32_t version_count[SECTORS];

struct guest_flush {
	uint32_t submitted, completed;
};

static struct guest_flush flushes[4 * ROUNDS];
static uint32_t flush_count;

struct guest_request {
	struct rig_request rig;
	uint8_t data[32 * 512];
	uint32_t sector, count;
	uint32_t flush;
	uint32_t completed;
};

static void guest_on_done(struct block_request *block, int result)
{
	struct guest_request *request = container_of(block, struct guest_request, rig.block);

	assert_int_equal(result, 0);
	request->rig.is_done = true;
	now++;
	if (block->op == BLOCK_FLUSH) {
		flushes[request->flush].completed = now;
		return;
	}
	for (uint32_t i = 0; i < request->count; i++) {
		uint32_t sector = request->sector + i;

		versions[sector][version_count[sector] - 1].completed = now;
	}
	if (block->fua) {
		/* As a flush that covers this alone: recorded as one of its sectors' versions. */
		for (uint32_t i = 0; i < request->count; i++) {
			versions[request->sector + i][version_count[request->sector + i] - 1]
				.stamp |= 1U << 31;
		}
	}
}

static void guest_submit(struct block *block, struct guest_request *request, uint32_t lane)
{
	static uint32_t stamp;
	uint32_t span = SECTORS / AT_ONCE;
	bool zero = rnd(6) == 0;

	*request = (struct guest_request){ 0 };
	now++;
	if (rnd(10) == 0) {
		request->flush = flush_count++;
		flushes[request->flush] = (struct guest_flush){ now, ~0U };
		request->rig.block.op = BLOCK_FLUSH;
	} else {
		request->count = 1 + rnd(32);
		request->sector = lane * span + rnd(span - request->count);
		stamp++;
		for (uint32_t i = 0; i < request->count; i++) {
			uint32_t sector = request->sector + i;
			struct version *version = &versions[sector][version_count[sector]++];

			assert_true(version_count[sector] <= VERSIONS_MAX);
			*version = (struct version){ zero ? 0 : stamp, now, ~0U };
			for (int j = 0; j < 512 && !zero; j += 4) {
				bytes_put_le32(request->data + i * 512 + j, stamp);
			}
		}
		request->rig.block.op = !zero    ? BLOCK_WRITE
					: rnd(2) ? BLOCK_WRITE_ZEROES
						 : BLOCK_DISCARD;
		request->rig.block.fua = !zero && rnd(8) == 0;
		request->rig.iov[0] = (struct iovec){ request->data, request->count * 512 };
		request->rig.block.iov = request->rig.iov;
		request->rig.block.iov_count = 1;
	}
	request->rig.block.offset_bytes = (uint64_t)request->sector * 512;
	request->rig.block.length_bytes = (uint64_t)request->count * 512;
	request->rig.block.done = guest_on_done;
	block_submit(block, &request->rig.block);
}

static void guest_run(struct rig *rig, struct block *block)
{
	static struct guest_request requests[AT_ONCE];

	for (int round = 0; round < ROUNDS; round++) {
		for (uint32_t i = 0; i < AT_ONCE; i++) {
			guest_submit(block, &requests[i], i);
			if (rnd(2)) {
				loop_turn(rig->loop);
			}
		}
		for (uint32_t i = 0; i < AT_ONCE; i++) {
			while (!requests[i].rig.is_done) {
				loop_turn(rig->loop);
			}
		}
		if (rnd(20) == 0) {
			usleep(60000); /* tables are written without a flush, too */
			loop_turn(rig->loop);
		}
	}
}

/* ---- the file after the power went -------------------------------------------------------------- */

static bool is_stable(const struct event *event, uint32_t cut)
{
	if (event->fua && event->completed <= cut) {
		return true;
	}
	for (uint32_t i = 0; i < event_count; i++) {
		if (events[i].op == BLOCK_FLUSH && events[i].completed <= cut &&
		    events[i].submitted > event->completed) {
			return true;
		}
	}
	return false;
}

static void apply(int fd, const struct event *event, uint64_t at, uint64_t bytes)
{
	static const uint8_t zeroes[512];

	for (uint64_t i = 0; i < bytes; i += 512) {
		const uint8_t *from = event->data ? event->data + at + i : zeroes;

		assert_int_equal(pwrite(fd, from, 512, (off_t)(event->at + at + i)), 512);
	}
}

static void build(int from, uint32_t cut)
{
	static uint8_t buf[8 << 20];
	ssize_t n = pread(from, buf, sizeof(buf), 0);
	int fd;

	/* A new file: the lock of the last one lives on while the kernel takes its ring apart. */
	unlink(built_path);
	fd = open(built_path, O_RDWR | O_CREAT | O_EXCL, 0600);

	assert_int_equal(pwrite(fd, buf, (size_t)n, 0), n);
	for (uint32_t i = 0; i < event_count && events[i].submitted <= cut; i++) {
		const struct event *event = &events[i];
		bool stable = event->op != BLOCK_FLUSH && is_stable(event, cut);

		if (event->op == BLOCK_RESIZE) {
			assert_int_equal(ftruncate(fd, (off_t)event->at), 0);
		} else if (event->op != BLOCK_FLUSH && stable) {
			apply(fd, event, 0, event->bytes);
		} else if (event->op != BLOCK_FLUSH) {
			uint32_t style = rnd(3); /* none, all, or torn */

			for (uint64_t at = 0; style && at < event->bytes; at += 512) {
				if (style == 1 || rnd(2)) {
					apply(fd, event, at, 512);
				}
			}
		}
	}
	close(fd);
}

/* ---- judgement ---------------------------------------------------------------------------------- */

/* Whether the guest may count on this version at the cut. */
static bool is_promised(const struct version *version, uint32_t cut)
{
	if (version->completed == ~0U || version->completed > cut) {
		return false;
	}
	if (version->stamp >> 31) {
		return true;
	}
	for (uint32_t i = 0; i < flush_count; i++) {
		if (flushes[i].completed <= cut && flushes[i].submitted > version->completed) {
			return true;
		}
	}
	return false;
}

static void judge_sector(uint32_t sector, const uint8_t *data, uint32_t before, uint32_t cut)
{
	uint32_t found = bytes_le32(data);
	int first = -1;

	for (int i = 4; i < 512; i += 4) {
		assert_int_equal(bytes_le32(data + i), found); /* one write's, from end to end */
	}
	for (int i = (int)version_count[sector] - 1; i >= 0 && first < 0; i--) {
		first = is_promised(&versions[sector][i], cut) ? i : first;
	}
	if (first < 0 && found == before) {
		return;
	}
	for (int i = first < 0 ? 0 : first; i < (int)version_count[sector]; i++) {
		if (versions[sector][i].submitted <= cut &&
		    (versions[sector][i].stamp & 0x7fffffff) == found) {
			return;
		}
	}
	fail_msg("moment %u: sector %u has %u, which is older than what was flushed", cut, sector,
		 found);
}

static void on_line(void *ctx, const char *text)
{
	print_message("check: %s\n", text);
}

static void judge(uint32_t cut, uint32_t before)
{
	struct block_config config = { .kind = BLOCK_VHD, .path = built_path };
	struct image_report report = { .line = on_line };
	static uint8_t data[DISK_BYTES];
	struct block_sync *sync;
	struct block *block;
	struct diag diag;

	if (block_open(&config, &block, &diag)) {
		fail_msg("moment %u: %s", cut, diag.text);
	}
	assert_int_equal(block_sync_create(block, &sync, &diag), 0);
	assert_int_equal(block_sync_read(sync, 0, data, sizeof(data)), 0);
	for (uint32_t i = 0; i < SECTORS; i++) {
		judge_sector(i, data + (size_t)i * 512, before, cut);
	}
	block_sync_destroy(sync);
	block_close(block);
	if (cut % 10 != 0) {
		return; /* closing takes its time, see build() */
	}
	assert_int_equal(image_check(built_path, BLOCK_VHD, false, &report, NULL, &diag), 0);
	if (report.errors > 0) {
		fail_msg("moment %u: %llu errors", cut, (unsigned long long)report.errors);
	}
}

/* ---- runs --------------------------------------------------------------------------------------- */

static struct block *open_recorded(void)
{
	struct block_config config = { .kind = BLOCK_RAW, .path = path, .growable = true };
	struct recorder *recorder = calloc(1, sizeof(*recorder));
	struct block *block;
	struct diag diag;

	assert_int_equal(block_open(&config, &block, &diag), 0);
	block_init(&recorder->block, &recorder_ops);
	recorder->block.info = *block_info(block);
	recorder->block.lower = block;
	config.kind = BLOCK_VHD;
	if (block_vhd_open(&config, &recorder->block, &block, &diag)) {
		fail_msg("%s", diag.text);
	}
	return block;
}

static void crash(enum image_layout layout, uint32_t before)
{
	struct image_create_config config = {
		.kind = BLOCK_VHD,
		.layout = layout,
		.path = path,
		.bytes = layout == IMAGE_DIFFERENCING ? 0 : DISK_BYTES,
		.block_bytes = BLOCK_BYTES,
		.parent_path = parent_path,
		.parent_kind = BLOCK_VHD,
	};
	const char *wanted = getenv("TABIQUE_CRASH_CUTS");
	unsigned long cuts = wanted ? strtoul(wanted, NULL, 10) : CUTS_DEFAULT;
	struct block *block;
	struct diag diag;
	struct rig rig;
	int from;

	unlink(path);
	if (image_create(&config, &diag)) {
		fail_msg("%s", diag.text);
	}
	from = open(path, O_RDONLY);
	assert_true(from >= 0);
	struct stat st;
	static uint8_t image[1 << 20];
	int saved = open("vhd-crash-start", O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(fstat(from, &st), 0);
	assert_int_equal(read(from, image, sizeof(image)), st.st_size);
	assert_int_equal(write(saved, image, (size_t)st.st_size), st.st_size);
	close(from);

	now = event_count = flush_count = 0;
	memset(version_count, 0, sizeof(version_count));
	rig_create(&rig, 4096);
	block = open_recorded();
	assert_int_equal(block_start(block, rig.loop), 0);
	guest_run(&rig, block);
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
	for (unsigned long i = 0; i < cuts / 2; i++) {
		uint32_t cut = i == 0 ? 0 : i == 1 ? now : rnd(now);

		build(saved, cut);
		judge(cut, before);
	}
	for (uint32_t i = 0; i < event_count; i++) {
		free(events[i].data);
		events[i].data = NULL;
	}
	close(saved);
	unlink("vhd-crash-start");
	unlink(path);
	unlink(built_path);
}

static void a_dynamic_disk_survives_the_power(void **state)
{
	crash(IMAGE_DYNAMIC, 0);
}

static void a_child_survives_the_power(void **state)
{
	struct image_create_config config = {
		.kind = BLOCK_VHD,
		.path = parent_path,
		.bytes = DISK_BYTES,
	};
	struct block_config open_config = { .kind = BLOCK_VHD, .path = parent_path };
	static uint8_t data[DISK_BYTES];
	struct block_sync *sync;
	struct block *block;
	struct diag diag;

	unlink(parent_path);
	assert_int_equal(image_create(&config, &diag), 0);
	assert_int_equal(block_open(&open_config, &block, &diag), 0);
	assert_int_equal(block_sync_create(block, &sync, &diag), 0);
	memset(data, 0x11, sizeof(data));
	assert_int_equal(block_sync_write(sync, 0, data, sizeof(data)), 0);
	block_sync_destroy(sync);
	block_close(block);
	crash(IMAGE_DIFFERENCING, 0x11111111);
	unlink(parent_path);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dynamic_disk_survives_the_power),
		cmocka_unit_test(a_child_survives_the_power),
	};

	char directory[] = "/dev/shm/vhd-crash-XXXXXX";
	int failed;

	/* Hundreds of files are made durable: in memory, if there is such a place. */
	if (mkdtemp(directory) && chdir(directory) < 0) {
		return 1;
	}
	seed = argc > 1 ? (unsigned int)atoi(argv[1]) : 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}

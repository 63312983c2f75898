/* SPDX-License-Identifier: MIT */
/* Slices: several disks in one file, none of which touches a byte of another's. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "unit/block/rig.h"

#define FILE_BYTES (1U << 20)

static int try_slice(struct rig *rig, uint64_t offset, uint64_t bytes, bool read_only,
		     struct block **ret, struct diag *diag)
{
	struct block_config config = {
		.kind = BLOCK_RAW,
		.path = rig->path,
		.read_only = read_only,
		.slice_offset_bytes = offset,
		.slice_bytes = bytes,
	};
	int err;

	*ret = NULL;
	err = block_open(&config, ret, diag);
	if (err) {
		assert_null(*ret);
		assert_non_null(strstr(diag->text, rig->path)); /* it names the file */
	}
	return err;
}

static struct block *open_slice(struct rig *rig, uint64_t offset, uint64_t bytes, bool read_only)
{
	struct block *block;
	struct diag diag;

	if (try_slice(rig, offset, bytes, read_only, &block, &diag)) {
		fail_msg("%s", diag.text);
	}
	return block;
}

static void expect_refused(struct rig *rig, uint64_t offset, uint64_t bytes, int err,
			   const char *word)
{
	struct block *block;
	struct diag diag;

	assert_int_equal(try_slice(rig, offset, bytes, false, &block, &diag), err);
	if (!strstr(diag.text, word)) {
		fail_msg("no '%s' in: %s", word, diag.text);
	}
}

static void a_slice_is_a_disk_of_its_own(void **state)
{
	char whole[BLOCK_IDENTITY_BYTES], first[BLOCK_IDENTITY_BYTES];
	struct block *block;
	struct rig rig;

	rig_create(&rig, FILE_BYTES);
	block = rig_open(&rig, false, false);
	strcpy(whole, block_info(block)->identity);
	block_close(block);
	block = open_slice(&rig, 65536, 131072, false);
	assert_int_equal(block_info(block)->bytes, 131072);
	assert_false(block_info(block)->can_resize);
	strcpy(first, block_info(block)->identity);
	assert_string_not_equal(first, whole);
	block_close(block);
	block = open_slice(&rig, 196608, 131072, false);
	assert_string_not_equal(block_info(block)->identity, first);
	block_close(block);
	/* No size: to the end. No offset: from the beginning. */
	block = open_slice(&rig, 65536, 0, false);
	assert_int_equal(block_info(block)->bytes, FILE_BYTES - 65536);
	block_close(block);
	block = open_slice(&rig, 0, 4096, false);
	assert_int_equal(block_info(block)->bytes, 4096);
	block_close(block);
	block = open_slice(&rig, 0, FILE_BYTES, false);
	assert_int_equal(block_info(block)->bytes, FILE_BYTES);
	block_close(block);
	rig_destroy(&rig);
}

static void open_says_what_is_wrong_with_a_slice(void **state)
{
	struct block_config config = { .kind = BLOCK_RAW, .growable = true, .slice_bytes = 4096 };
	struct block *block;
	struct diag diag;
	struct rig rig;

	rig_create(&rig, FILE_BYTES);
	expect_refused(&rig, FILE_BYTES, 0, -EINVAL, "within");
	expect_refused(&rig, FILE_BYTES, 512, -EINVAL, "within");
	expect_refused(&rig, FILE_BYTES - 512, 1024, -EINVAL, "within");
	expect_refused(&rig, 0, FILE_BYTES + 512, -EINVAL, "within");
	expect_refused(&rig, 1ULL << 62, 1ULL << 61, -EINVAL, "within");
	expect_refused(&rig, 4096, INT64_MAX - 4095, -EINVAL, "that large");
	expect_refused(&rig, ~511ULL, 512, -EINVAL, "that large");
	expect_refused(&rig, 512, ~511ULL, -EINVAL, "that large");
	expect_refused(&rig, 1ULL << 63, 0, -EINVAL, "that large");
	expect_refused(&rig, 4097, 4096, -EINVAL, "512");
	expect_refused(&rig, 4096, 4095, -EINVAL, "512");
	config.path = rig.path;
	assert_int_equal(block_open(&config, &block, &diag), -EINVAL);
	config.growable = false;
	config.logical_block_bytes = 4096;
	config.slice_bytes = 4096 + 512;
	assert_int_equal(block_open(&config, &block, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "4096"));
	config.slice_offset_bytes = FILE_BYTES - 4096;
	config.slice_bytes = 0;
	assert_int_equal(ftruncate(rig.file, FILE_BYTES - 512), 0);
	assert_int_equal(block_open(&config, &block, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "nothing is left"));
	rig_destroy(&rig);
}

/* A page shared with a neighbour must not go through the page cache at one and past it at the other. */
static void shared_pages_need_direct_io(void **state)
{
	struct block_config config = {
		.kind = BLOCK_RAW,
		.buffered = true,
		.slice_offset_bytes = 512,
	};
	struct block *block;
	struct diag diag;
	struct rig rig;
	bool direct;

	rig_create(&rig, FILE_BYTES);
	config.path = rig.path;
	assert_int_equal(block_open(&config, &block, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "direct I/O"));
	config.slice_offset_bytes = 4096;
	config.slice_bytes = 512;
	assert_int_equal(block_open(&config, &block, &diag), -EINVAL);
	config.slice_bytes = 0;
	assert_int_equal(block_open(&config, &block, &diag), 0);
	block_close(block);
	block = rig_open(&rig, true, false);
	direct = block_is_direct(block);
	block_close(block);
	if (direct) {
		block = open_slice(&rig, 512, 1024, false);
		assert_true(block_is_direct(block));
		block_close(block);
	} else {
		expect_refused(&rig, 512, 1024, -EINVAL, "does not have");
	}
	rig_destroy(&rig);
}

/* ---- locks ---- */

static void disjoint_slices_are_used_at_once(void **state)
{
	struct block *a, *b, *c;
	struct diag diag;
	struct rig rig;

	rig_create(&rig, FILE_BYTES);
	a = open_slice(&rig, 0, 65536, false);
	b = open_slice(&rig, 65536, 65536, false);
	c = open_slice(&rig, 131072, 0, false);
	expect_refused(&rig, 61440, 8192, -EBUSY, "from byte 0 to byte 65535");
	expect_refused(&rig, 131072 - 512, 512, -EBUSY, "from byte 65536 to byte 131071");
	expect_refused(&rig, FILE_BYTES - 4096, 4096, -EBUSY, "from byte 131072 to its end");
	expect_refused(&rig, 0, 0, -EBUSY, "in use"); /* the whole disk */
	block_close(b);
	b = open_slice(&rig, 65536, 4096, false);
	expect_refused(&rig, 65536, 4096, -EBUSY, "another offset=");
	block_close(a);
	block_close(b);
	block_close(c);

	/* Readers share; a writer does not come in between. */
	a = open_slice(&rig, 0, 65536, true);
	b = open_slice(&rig, 32768, 65536, true);
	expect_refused(&rig, 65536, 65536, -EBUSY, "in use");
	assert_int_equal(try_slice(&rig, 0, 0, true, &c, &diag), 0);
	block_close(c);
	c = open_slice(&rig, 98304, 4096, false);
	block_close(a);
	block_close(b);
	assert_int_equal(try_slice(&rig, 0, 0, true, &a, &diag), -EBUSY);
	assert_non_null(strstr(diag.text, "writer"));
	block_close(c);

	/* The whole disk keeps slices out. */
	a = rig_open(&rig, false, false);
	expect_refused(&rig, 4096, 4096, -EBUSY, "from byte 0 to its end");
	block_close(a);
	rig_destroy(&rig);
}

static void other_processes_are_kept_out_too(void **state)
{
	struct block *block;
	int pipe_fds[2];
	struct rig rig;
	pid_t child;
	char c;

	rig_create(&rig, FILE_BYTES);
	assert_int_equal(pipe(pipe_fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		block = open_slice(&rig, 65536, 65536, false);
		if (write(pipe_fds[1], "l", 1) == 1) {
			pause();
		}
		_exit(1);
	}
	assert_int_equal(read(pipe_fds[0], &c, 1), 1);
	expect_refused(&rig, 98304, 4096, -EBUSY, "from byte 65536 to byte 131071");
	block = open_slice(&rig, 131072, 65536, false);
	block_close(block);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	block = open_slice(&rig, 98304, 4096, false);
	block_close(block);
	rig_destroy(&rig);
}

/* A twin holds the lock as long as it is open, and closing it leaves the original's. */
static void a_twin_has_the_same_window_and_lock(void **state)
{
	struct block *block, *twin;
	uint8_t buf[512], byte;
	struct rig rig;

	rig_create(&rig, FILE_BYTES);
	block = open_slice(&rig, 65536, 65536, false);
	assert_int_equal(block_twin(block, &twin), 0);
	assert_int_equal(block_info(twin)->bytes, 65536);
	assert_int_equal(block_start(block, rig.loop), 0);
	assert_int_equal(block_start(twin, rig.loop), 0);
	memset(buf, 7, sizeof(buf));
	assert_int_equal(rig_io(&rig, twin, BLOCK_WRITE, 512, buf, 512), 0);
	assert_int_equal(rig_io(&rig, twin, BLOCK_WRITE, 65536, buf, 512), -EINVAL);
	assert_int_equal(pread(rig.file, &byte, 1, 65536 + 512), 1);
	assert_int_equal(byte, 7);
	rig_stop(&rig, twin);
	block_close(twin);
	expect_refused(&rig, 65536, 512, -EBUSY, "in use");
	rig_stop(&rig, block);
	block_close(block);
	block_close(open_slice(&rig, 65536, 65536, false));
	rig_destroy(&rig);
}

/* ---- the window ---- */

static uint8_t guard(uint64_t i)
{
	return (uint8_t)(0xa5 ^ i ^ (i >> 8));
}

static void put_guards(struct rig *rig)
{
	uint8_t *all = malloc(FILE_BYTES);

	for (uint64_t i = 0; i < FILE_BYTES; i++) {
		all[i] = guard(i);
	}
	assert_int_equal(pwrite(rig->file, all, FILE_BYTES, 0), FILE_BYTES);
	free(all);
}

/* The file is as the model says within the window, and untouched around it. */
static void expect_file(struct rig *rig, uint64_t offset, uint64_t bytes, const uint8_t *model)
{
	uint8_t *all = malloc(FILE_BYTES);

	assert_int_equal(lseek(rig->file, 0, SEEK_END), FILE_BYTES);
	assert_int_equal(pread(rig->file, all, FILE_BYTES, 0), FILE_BYTES);
	for (uint64_t i = 0; i < FILE_BYTES; i++) {
		bool inside = i >= offset && i - offset < bytes;
		uint8_t want = inside ? model[i - offset] : guard(i);

		if (all[i] != want) {
			fail_msg("byte %llu is 0x%02x instead of 0x%02x", (unsigned long long)i,
				 all[i], want);
		}
	}
	free(all);
}

static void lies_about_the_memory_are_refused(void **state)
{
	struct rig_request request = { 0 };
	uint8_t *buf = aligned_alloc(4096, 16384);
	uint8_t model[4096];
	struct block *block;
	struct rig rig;

	rig_create(&rig, FILE_BYTES);
	put_guards(&rig);
	memset(buf, 1, 16384);
	block = open_slice(&rig, 65536, 4096, false);
	assert_int_equal(block_start(block, rig.loop), 0);
	/* More memory than the request says: it would run over the end. */
	request.iov[0] = (struct iovec){ buf, 8192 };
	request.block.iov = request.iov;
	request.block.iov_count = 1;
	rig_submit(block, &request, BLOCK_WRITE, 0, 4096);
	assert_int_equal(rig_wait(&rig, &request), -EINVAL);
	request.iov[0] = (struct iovec){ buf, ~0ULL };
	request.iov[1] = (struct iovec){ buf, 4097 }; /* the sum wraps to what was asked for */
	request.block.iov_count = 2;
	rig_submit(block, &request, BLOCK_WRITE, 0, 4096);
	assert_int_equal(rig_wait(&rig, &request), -EINVAL);
	request.iov[0] = (struct iovec){ buf, 512 };
	request.block.iov_count = 1;
	rig_submit(block, &request, BLOCK_READ, 0, 4096);
	assert_int_equal(rig_wait(&rig, &request), -EINVAL);
	for (size_t i = 0; i < sizeof(model); i++) {
		model[i] = guard(65536 + i);
	}
	expect_file(&rig, 65536, 4096, model);
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
	free(buf);
}

static void maps_stay_within_the_slice(void **state)
{
	struct rig_request request = { 0 };
	uint8_t buf[4096] = { 1 };
	struct block *block;
	struct rig rig;

	rig_create(&rig, FILE_BYTES); /* one hole but for one page in the middle of the slice */
	assert_int_equal(pwrite(rig.file, buf, 4096, 131072), 4096);
	block = open_slice(&rig, 65536, 131072, false);
	assert_int_equal(block_start(block, rig.loop), 0);
	rig_submit(block, &request, BLOCK_MAP, 0, 131072);
	assert_int_equal(rig_wait(&rig, &request), 0);
	assert_true(request.block.map.bytes <= 131072);
	if (request.block.map.kind == BLOCK_MAP_ZERO) {
		assert_int_equal(request.block.map.bytes, 65536);
		rig_submit(block, &request, BLOCK_MAP, 65536, 65536);
		assert_int_equal(rig_wait(&rig, &request), 0);
		assert_int_equal(request.block.map.kind, BLOCK_MAP_DATA);
		assert_int_equal(request.block.map.bytes, 4096);
		assert_int_equal(request.block.map.file_offset_bytes, 131072);
	}
	/* The hole goes on behind the slice; the answer does not. */
	rig_submit(block, &request, BLOCK_MAP, 131072 - 512, 512);
	assert_int_equal(rig_wait(&rig, &request), 0);
	assert_int_equal(request.block.map.bytes, 512);
	rig_submit(block, &request, BLOCK_MAP, 131072 - 512, 1024);
	assert_int_equal(rig_wait(&rig, &request), -EINVAL);
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
}

static void the_window_follows_the_file(void **state)
{
	struct block *block, *rest;
	uint8_t buf[4096];
	struct rig rig;

	rig_create(&rig, FILE_BYTES);
	block = open_slice(&rig, 65536, 131072, false);
	rest = open_slice(&rig, 524288, 0, false);
	assert_int_equal(block_start(block, rig.loop), 0);
	assert_int_equal(block_start(rest, rig.loop), 0);
	assert_int_equal(rig_io(&rig, block, BLOCK_RESIZE, 4096, NULL, 0), -EOPNOTSUPP);
	assert_int_equal(ftruncate(rig.file, 2 * FILE_BYTES + 100), 0);
	block_refresh(block);
	block_refresh(rest);
	assert_int_equal(block_info(block)->bytes, 131072);
	assert_int_equal(block_info(rest)->bytes, 2 * FILE_BYTES - 524288);
	assert_int_equal(ftruncate(rig.file, 65536 + 1000), 0);
	block_refresh(block);
	block_refresh(rest);
	assert_int_equal(block_info(block)->bytes, 512);
	assert_int_equal(block_info(rest)->bytes, 0);
	assert_int_equal(rig_io(&rig, rest, BLOCK_READ, 0, buf, 512), -EINVAL);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 0, buf, 1024), -EINVAL);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 0, buf, 512), 0);
	rig_stop(&rig, block);
	rig_stop(&rig, rest);
	block_close(block);
	block_close(rest);
	rig_destroy(&rig);
}

/* The disk itself looks, too, whatever a layer above it still believes. */
static void a_mistaken_layer_gets_no_byte_outside(void **state)
{
	static const enum block_op ops[] = { BLOCK_READ, BLOCK_WRITE, BLOCK_DISCARD,
					     BLOCK_WRITE_ZEROES, BLOCK_MAP };
	struct block_fail *layer;
	struct block *block;
	uint8_t buf[4096];
	struct rig rig;

	rig_create(&rig, FILE_BYTES);
	assert_int_equal(block_fail_create(open_slice(&rig, 65536, 8192, false), &layer), 0);
	block = block_fail_block(layer);
	assert_int_equal(block_start(block, rig.loop), 0);
	assert_int_equal(ftruncate(rig.file, 65536 + 4096), 0);
	block_refresh(block_lower(block)); /* and not the layer */
	assert_int_equal(ftruncate(rig.file, FILE_BYTES), 0);
	put_guards(&rig);
	assert_int_equal(block_info(block)->bytes, 8192);
	memset(buf, 1, sizeof(buf));
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		assert_int_equal(rig_io(&rig, block, ops[i], 4096, buf, 4096), -EINVAL);
		assert_int_equal(rig_io(&rig, block, ops[i], 512, buf, 4096), -EINVAL);
	}
	expect_file(&rig, 0, 0, NULL);
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
}

/* ---- anything, beside a model ---- */

static uint64_t random_state;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static uint64_t random_below(uint64_t n)
{
	return random_next() % n;
}

/* Mostly near the edges, sometimes beyond them or nonsense. */
static uint64_t random_offset(uint64_t window)
{
	switch (random_below(6)) {
	case 0:
		return window - 512 * random_below(20);
	case 1:
		return 512 * random_below(20);
	case 2:
		return random_below(4) ? window + 512 * random_below(8) : random_next();
	default:
		return 512 * random_below(window / 512);
	}
}

static uint64_t random_length(void)
{
	switch (random_below(8)) {
	case 0:
		return random_next();
	case 1:
		return random_below(3 * 512);
	case 2:
		return 512 * random_below(1000); /* up to two bounce buffers */
	default:
		return 512 * random_below(40);
	}
}

#define MEMORY_BYTES (520U << 10)

struct walk {
	struct rig rig;
	struct block *block;
	uint64_t offset, window;
	uint8_t model[FILE_BYTES];
	uint8_t *memory;
	unsigned int done, refused;
};

/* Memory at any alignment, in up to 8 pieces. */
static int random_iovecs(struct walk *walk, struct rig_request *request, uint64_t length)
{
	uint8_t *at = walk->memory + (random_below(2) ? 0 : random_below(4096));
	int count = 0;

	while (length > 0 && count < 7) {
		size_t n = random_below(3) ? length : 1 + random_below(length);

		request->iov[count++] = (struct iovec){ at, n };
		at += n;
		length -= n;
	}
	if (length > 0) {
		request->iov[count++] = (struct iovec){ at, length };
	}
	return count;
}

static bool walk_may(const struct walk *walk, enum block_op op, uint64_t offset, uint64_t length)
{
	const struct block_info *info = block_info(walk->block);

	if (op == BLOCK_FLUSH) {
		return true;
	}
	if (offset % 512 || length % 512 || !num_range_fits(offset, length, walk->window)) {
		return false;
	}
	return (op != BLOCK_DISCARD || info->can_discard) &&
	       (op != BLOCK_WRITE_ZEROES || info->can_write_zeroes) && op != BLOCK_RESIZE;
}

static void walk_step(struct walk *walk)
{
	struct rig_request request = { 0 };
	enum block_op op = (enum block_op)random_below(BLOCK_OPS);
	uint64_t offset = random_offset(walk->window), length = random_length();
	bool transfers = op == BLOCK_READ || op == BLOCK_WRITE;
	uint8_t fill = (uint8_t)random_next();
	int result;

	if (transfers) {
		/* What is refused brings no memory worth speaking of. */
		request.block.iov = request.iov;
		request.block.iov_count =
			random_iovecs(walk, &request, num_min(length, MEMORY_BYTES - 4096));
	}
	for (uint64_t i = 0; op == BLOCK_WRITE && i < num_min(length, MEMORY_BYTES - 4096); i++) {
		((uint8_t *)request.iov[0].iov_base)[i] = (uint8_t)(fill + i);
	}
	request.block.fua = random_below(8) == 0;
	request.block.may_unmap = random_below(2);
	rig_submit(walk->block, &request, op, offset, length);
	result = rig_wait(&walk->rig, &request);
	if (!walk_may(walk, op, offset, length)) {
		/* Nothing at an impossible place is still nothing. */
		assert_true(result < 0);
		walk->refused++;
		return;
	}
	assert_int_equal(result, 0);
	walk->done++;
	if (op == BLOCK_WRITE) {
		for (uint64_t i = 0; i < length; i++) {
			walk->model[offset + i] = (uint8_t)(fill + i);
		}
	} else if (op == BLOCK_DISCARD || op == BLOCK_WRITE_ZEROES) {
		memset(walk->model + offset, 0, length);
	} else if (op == BLOCK_MAP && length > 0) {
		assert_in_range(request.block.map.bytes, 1, length);
	}
}

/* A read of its own, since a request's iovecs are not ours any more when it is done. */
static void walk_verify(struct walk *walk)
{
	for (uint64_t at = 0; at < walk->window; at += 65536) {
		uint64_t n = num_min(65536, walk->window - at);

		assert_int_equal(
			rig_io(&walk->rig, walk->block, BLOCK_READ, at, walk->memory + 1, n), 0);
		assert_memory_equal(walk->memory + 1, walk->model + at, n);
	}
	expect_file(&walk->rig, walk->offset, walk->window, walk->model);
}

static void no_request_touches_a_byte_outside(void **state)
{
	static const uint64_t geometries[][2] = {
		{ 4096, 4096 }, { 65536, 700 * 1024 }, { 0, 131072 },
		{ 524288, 0 },  { 512, 1536 },         { 66048, 99 * 512 },
	};
	static struct walk walk;

	random_state = 0x9e3779b97f4a7c15ULL;
	for (size_t g = 0; g < ARRAY_SIZE(geometries); g++) {
		struct diag diag;
		int err;

		rig_create(&walk.rig, FILE_BYTES);
		put_guards(&walk.rig);
		walk.offset = geometries[g][0];
		err = try_slice(&walk.rig, walk.offset, geometries[g][1], false, &walk.block,
				&diag);
		if (err && strstr(diag.text, "direct I/O")) {
			rig_destroy(&walk.rig); /* a file system without it, see above */
			continue;
		}
		assert_int_equal(err, 0);
		walk.window = block_info(walk.block)->bytes;
		walk.memory = aligned_alloc(4096, MEMORY_BYTES + 8192);
		for (uint64_t i = 0; i < walk.window; i++) {
			walk.model[i] = guard(walk.offset + i);
		}
		assert_int_equal(block_start(walk.block, walk.rig.loop), 0);
		walk.done = walk.refused = 0;
		for (int i = 0; i < 800; i++) {
			walk_step(&walk);
			if (i % 250 == 0) {
				walk_verify(&walk);
			}
		}
		walk_verify(&walk);
		assert_true(walk.done > 100 && walk.refused > 100);
		rig_stop(&walk.rig, walk.block);
		block_close(walk.block);
		rig_destroy(&walk.rig);
		free(walk.memory);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slice_is_a_disk_of_its_own),
		cmocka_unit_test(open_says_what_is_wrong_with_a_slice),
		cmocka_unit_test(shared_pages_need_direct_io),
		cmocka_unit_test(disjoint_slices_are_used_at_once),
		cmocka_unit_test(other_processes_are_kept_out_too),
		cmocka_unit_test(a_twin_has_the_same_window_and_lock),
		cmocka_unit_test(lies_about_the_memory_are_refused),
		cmocka_unit_test(maps_stay_within_the_slice),
		cmocka_unit_test(the_window_follows_the_file),
		cmocka_unit_test(a_mistaken_layer_gets_no_byte_outside),
		cmocka_unit_test(no_request_touches_a_byte_outside),
	};

	return cmocka_run_group_tests_name("block/slice", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Servers as child processes, and a disk over them against a model in memory: for nbd and qemu tests. */
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "block/nbd_internal.h"
#include "unit/block/rig.h"

#define SERVER_ARGS_MAX 24

/* A directory of its own for sockets and images. */
static char server_dir[64];

static inline const char *server_path(const char *name)
{
	static char paths[4][128];
	static unsigned int next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", server_dir, name);
	return path;
}

static inline bool program_exists(const char *name)
{
	char command[128];

	snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1", name);
	return system(command) == 0;
}

static inline pid_t server_spawn(const char *const *args)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent) {
			int null = open("/dev/null", O_RDWR);

			dup2(null, 0);
			execvp(args[0], (char *const *)(uintptr_t)args);
		}
		_exit(127);
	}
	assert_true(pid > 0);
	return pid;
}

/* Until somebody listens at the socket, for ten seconds at most. */
static inline void server_await(const char *path)
{
	for (int i = 0; i < 1000; i++) {
		struct sockaddr_un address = { .sun_family = AF_UNIX };
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int err;

		snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
		err = connect(fd, (struct sockaddr *)&address, sizeof(address));
		close(fd);
		if (err == 0) {
			return;
		}
		usleep(10000);
	}
	fail_msg("no server at %s", path);
}

/* nbdkit with these words, at the socket `name` of our directory. */
static inline pid_t nbdkit(const char *name, const char *const *words)
{
	const char *args[SERVER_ARGS_MAX] = { "nbdkit", "-f", "-U", server_path(name) };
	size_t count = 4;
	pid_t pid;

	unlink(server_path(name));
	while (*words) {
		assert_true(count + 1 < ARRAY_SIZE(args));
		args[count++] = *words++;
	}
	pid = server_spawn(args);
	server_await(server_path(name));
	return pid;
}
#define NBDKIT(name, ...) nbdkit(name, (const char *const[]){ __VA_ARGS__, NULL })

static inline void server_kill(pid_t pid, int signal)
{
	kill(pid, signal);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static inline const char *server_uri(const char *name, const char *export)
{
	static char uri[256];

	snprintf(uri, sizeof(uri), "nbd+unix:///%s?socket=%s", export, server_path(name));
	return uri;
}

/* Turns the loop, and leaves the processor to the server when there is nothing to do. */
static inline void rig_turn(struct rig *rig)
{
	if (!loop_turn(rig->loop)) {
		usleep(50);
	}
}

static inline int rig_wait_server(struct rig *rig, struct rig_request *request)
{
	while (!request->is_done) {
		rig_turn(rig);
	}
	return request->result;
}

static inline int rig_io_server(struct rig *rig, struct block *block, enum block_op op,
				uint64_t offset, void *buf, uint64_t bytes)
{
	struct rig_request request = { .iov[0] = { buf, bytes } };

	request.block.iov = request.iov;
	request.block.iov_count = buf ? 1 : 0;
	rig_submit(block, &request, op, offset, bytes);
	return rig_wait_server(rig, &request);
}

/* ---- disks over them --------------------------------------------------------------------------- */

#define SECOND 1000000000ULL

static const struct nbd_limits quick = {
	.connect_ns = 3 * SECOND,
	.silence_ns = 3 * SECOND,
	.backoff_ns_min = 10000000,
	.backoff_ns_max = 50000000,
};

static inline int try_open_with(const char *uri, bool read_only, const struct nbd_limits *limits,
				struct block **ret, struct diag *diag)
{
	struct block_config config = { .kind = BLOCK_NBD, .path = uri, .read_only = read_only };

	return nbd_disk_open(&config, limits, ret, diag);
}

static inline struct block *open_started_with(struct rig *rig, const char *uri,
					      const struct nbd_limits *limits)
{
	struct block *block;
	struct diag diag;

	if (try_open_with(uri, false, limits, &block, &diag)) {
		fail_msg("%s", diag.text);
	}
	assert_int_equal(block_start(block, rig->loop), 0);
	return block;
}

static inline struct block *open_started(struct rig *rig, const char *uri)
{
	return open_started_with(rig, uri, &quick);
}

static inline void stop_and_close(struct rig *rig, struct block *block)
{
	rig_stop(rig, block);
	block_close(block);
}

static inline int write_fua(struct rig *rig, struct block *block)
{
	static uint8_t buf[4096];
	struct rig_request request = { .iov[0] = { buf, sizeof(buf) } };

	request.block.iov = request.iov;
	request.block.iov_count = 1;
	request.block.fua = true;
	rig_submit(block, &request, BLOCK_WRITE, 0, sizeof(buf));
	return rig_wait_server(rig, &request);
}

/* ---- random requests against a model ----------------------------------------------------------- */

#define MODEL_SLOTS  8
#define MODEL_PIECES 8
#define MODEL_MAX    (1U << 20) /* bytes of one request */

struct model_slot {
	struct rig_request request;
	struct iovec pieces[MODEL_PIECES]; /* the request's array is the back end's */
	int count;
	uint8_t *buf;
	uint64_t offset, bytes;
	bool is_busy;
};

struct model {
	struct rig *rig;
	struct block *block;
	uint8_t *bytes; /* what the disk must hold */
	uint64_t size;
	uint32_t unit;
	unsigned int seed;
	struct model_slot slots[MODEL_SLOTS];
};

static inline uint64_t model_random(struct model *model, uint64_t below)
{
	return ((uint64_t)(unsigned int)rand_r(&model->seed) << 16 ^
		(unsigned int)rand_r(&model->seed)) %
	       below;
}

static inline bool model_overlaps(const struct model *model, uint64_t offset, uint64_t bytes)
{
	for (int i = 0; i < MODEL_SLOTS; i++) {
		const struct model_slot *slot = &model->slots[i];

		if (slot->is_busy && offset < slot->offset + slot->bytes &&
		    slot->offset < offset + bytes) {
			return true;
		}
	}
	return false;
}

/* Cuts the buffer into a few pieces of any length, some of them far apart in memory. */
static inline int model_cut(struct model *model, struct model_slot *slot)
{
	uint8_t *at = slot->buf;
	uint64_t left = slot->bytes;
	int count = 0;

	while (left > 0) {
		uint64_t piece = count == MODEL_PIECES - 1 ? left : 1 + model_random(model, left);

		if (model_random(model, 2)) {
			piece = num_min(left, num_align_up(piece, 512));
		}
		slot->pieces[count] = slot->request.iov[count] = (struct iovec){ at, piece };
		count++;
		at += piece + 64; /* a gap, so that they do not join */
		left -= piece;
	}
	return count;
}

static inline void model_copy(struct model_slot *slot, uint8_t *bytes, bool to_iov)
{
	uint64_t done = 0;

	for (int i = 0; i < slot->count; i++) {
		struct iovec *iov = &slot->pieces[i];

		if (to_iov) {
			memcpy(iov->iov_base, bytes + done, iov->iov_len);
		} else {
			assert_memory_equal(iov->iov_base, bytes + done, iov->iov_len);
		}
		done += iov->iov_len;
	}
	assert_int_equal(done, slot->bytes);
}

static inline void model_begin(struct model *model, struct model_slot *slot)
{
	static const enum block_op ops[] = { BLOCK_READ,    BLOCK_WRITE,        BLOCK_READ,
					     BLOCK_WRITE,   BLOCK_WRITE_ZEROES, BLOCK_FLUSH,
					     BLOCK_DISCARD, BLOCK_MAP };
	enum block_op op = ops[model_random(model, ARRAY_SIZE(ops))];
	uint64_t max = model_random(model, 3) ? 16 * model->unit : MODEL_MAX;
	uint64_t bytes = model->unit * (1 + model_random(model, max / model->unit));
	uint64_t offset = model->unit * model_random(model, model->size / model->unit);
	const struct block_info *info = block_info(model->block);

	bytes = num_min(bytes, model->size - offset);
	if (model_overlaps(model, offset, bytes) || (op == BLOCK_DISCARD && !info->can_discard) ||
	    (op == BLOCK_WRITE_ZEROES && !info->can_write_zeroes)) {
		return;
	}
	slot->offset = offset;
	slot->bytes = bytes;
	slot->is_busy = true;
	slot->request.block.iov = slot->request.iov;
	slot->count = slot->request.block.iov_count = model_cut(model, slot);
	slot->request.block.fua = op == BLOCK_WRITE && model_random(model, 4) == 0;
	slot->request.block.may_unmap = model_random(model, 2);
	if (op == BLOCK_WRITE) {
		for (uint64_t i = 0; i < bytes; i++) {
			model->bytes[offset + i] = (uint8_t)rand_r(&model->seed);
		}
		model_copy(slot, model->bytes + offset, true);
	} else if (op == BLOCK_WRITE_ZEROES) {
		memset(model->bytes + offset, 0, bytes);
	} else if (op == BLOCK_DISCARD) {
		/* What it reads as afterwards is nobody's promise: zeroes make it known again. */
		assert_int_equal(rig_io_server(model->rig, model->block, op, offset, NULL, bytes),
				 0);
		memset(model->bytes + offset, 0, bytes);
		op = BLOCK_WRITE_ZEROES;
		if (!info->can_write_zeroes) {
			op = BLOCK_WRITE;
			model_copy(slot, model->bytes + offset, true);
		}
	}
	rig_submit(model->block, &slot->request, op, offset, op == BLOCK_FLUSH ? 0 : bytes);
}

static inline void model_end(struct model *model, struct model_slot *slot)
{
	const struct block_request *block = &slot->request.block;

	assert_int_equal(slot->request.result, 0);
	if (block->op == BLOCK_READ) {
		model_copy(slot, model->bytes + slot->offset, false);
	} else if (block->op == BLOCK_MAP) {
		assert_in_range(block->map.bytes, 1, slot->bytes);
		for (uint64_t i = 0; block->map.kind == BLOCK_MAP_ZERO && i < block->map.bytes;
		     i++) {
			assert_int_equal(model->bytes[slot->offset + i], 0);
		}
	}
	slot->is_busy = false;
}

/* The disk must be zeroes at the beginning. */
static inline void model_run(struct rig *rig, struct block *block, unsigned int seed,
			     unsigned int requests)
{
	struct model model = {
		.rig = rig,
		.block = block,
		.size = block_info(block)->bytes,
		.unit = block_info(block)->logical_block_bytes,
		.seed = seed,
	};
	unsigned int busy = 0;

	model.bytes = calloc(1, model.size);
	assert_non_null(model.bytes);
	for (int i = 0; i < MODEL_SLOTS; i++) {
		model.slots[i].buf = malloc(MODEL_MAX + MODEL_PIECES * 64);
		assert_non_null(model.slots[i].buf);
	}
	while (requests > 0 || busy > 0) {
		struct model_slot *slot = &model.slots[model_random(&model, MODEL_SLOTS)];

		if (slot->is_busy && slot->request.is_done) {
			model_end(&model, slot);
			busy--;
		} else if (!slot->is_busy && requests > 0) {
			model_begin(&model, slot);
			requests--;
			busy += slot->is_busy;
		} else {
			rig_turn(rig);
		}
	}
	for (int i = 0; i < MODEL_SLOTS; i++) {
		free(model.slots[i].buf);
	}
	free(model.bytes);
}

/* ---- a group's directory -------------------------------------------------------------------------- */

static inline int server_group_setup(void **state)
{
	strcpy(server_dir, "/tmp/tabique-test-XXXXXX");
	return mkdtemp(server_dir) ? 0 : -1;
}

static inline int server_group_teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", server_dir);
	return system(command);
}

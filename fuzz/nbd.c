/* SPDX-License-Identifier: MIT */
/*
 * A server of a network disk that says what it likes. Input: a byte that chooses the requests, then all
 * that the server sends, from the greeting on, whatever it is asked. Then it closes.
 *
 * Every request must be answered exactly once, in bounded time, and nothing may be written but what was
 * asked for.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "block/nbd_internal.h"
#include "loop/loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUESTS   9
#define TURNS_MAX  10000
#define HALF_BYTES 512

struct fuzz_request {
	struct block_request block;
	struct iovec iov[2];
	uint8_t *half[2]; /* of their own, so that an overrun shows */
	bool is_done;
};

static const struct nbd_limits limits = {
	.connect_ns = 1000000000,
	.silence_ns = 1000000000,
	.backoff_ns_min = 1000000000000,
	.backoff_ns_max = 1000000000000,
};

static struct loop *loop;
static unsigned int answered;
static bool is_stopped;

static void on_stopped(struct loop_work *work)
{
	is_stopped = true;
}

static void on_done(struct block_request *block, int result)
{
	struct fuzz_request *request = container_of(block, struct fuzz_request, block);

	check(!request->is_done);
	request->is_done = true;
	answered++;
	if (!result && block->op == BLOCK_MAP) {
		check(block->map.bytes >= 1 && block->map.bytes <= block->length_bytes);
		check(block->map.kind == BLOCK_MAP_DATA || block->map.kind == BLOCK_MAP_ZERO);
	}
}

/* The handshake, over what the server has said already; NULL: it came to nothing. */
static struct nbd_handle *shake_hands(int fd_take)
{
	struct nbd_handle *handle = nbd_create();
	bool going = true;

	check(handle && nbd_add_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION) == 0);
	if (nbd_aio_connect_socket(handle, fd_take) < 0) {
		nbd_close(handle);
		return NULL;
	}
	while (going && !nbd_aio_is_ready(handle)) {
		unsigned int direction = nbd_aio_get_direction(handle);
		int fd = nbd_aio_get_fd(handle);

		going = fd >= 0 &&
			(direction & LIBNBD_AIO_DIRECTION_READ ? nbd_aio_notify_read(handle)
							       : nbd_aio_notify_write(handle)) == 0;
	}
	if (!going) {
		nbd_close(handle);
		return NULL;
	}
	return handle;
}

static void submit(struct block *block, struct fuzz_request *request, unsigned int number)
{
	static const enum block_op ops[REQUESTS] = {
		BLOCK_READ,         BLOCK_READ, BLOCK_MAP,  BLOCK_WRITE,   BLOCK_FLUSH,
		BLOCK_WRITE_ZEROES, BLOCK_MAP,  BLOCK_READ, BLOCK_DISCARD,
	};

	for (int i = 0; i < 2; i++) {
		request->half[i] = calloc(1, HALF_BYTES);
		check(request->half[i]);
		request->iov[i] = (struct iovec){ request->half[i], HALF_BYTES };
	}
	request->block.op = ops[number];
	request->block.fua = number == 3;
	request->block.offset_bytes = number * 8192ULL;
	/* Even ones need a bounce, odd ones go straight. */
	request->block.length_bytes = number & 1 ? HALF_BYTES : 2 * HALF_BYTES;
	request->block.iov = request->iov;
	request->block.iov_count = number & 1 ? 1 : 2;
	request->block.done = on_done;
	block_submit(block, &request->block);
}

static void run(struct block *block, uint8_t which)
{
	struct fuzz_request requests[REQUESTS] = { 0 };
	struct loop_work stopped;
	unsigned int wanted = 0, turns = 0;

	answered = 0;
	is_stopped = false;
	loop_work_init(&stopped, on_stopped);
	check(block_start(block, loop) == 0);
	for (unsigned int i = 0; i < REQUESTS; i++) {
		if (i < 2 || which & 1U << (i - 2) % 8) {
			submit(block, &requests[i], i);
			wanted++;
		}
	}
	while (answered < wanted) {
		loop_turn(loop);
		check(++turns < TURNS_MAX);
	}
	block_stop(block, &stopped);
	while (!is_stopped) {
		loop_turn(loop);
		check(++turns < TURNS_MAX);
	}
	for (unsigned int i = 0; i < REQUESTS; i++) {
		free(requests[i].half[0]);
		free(requests[i].half[1]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct block_config config = { .kind = BLOCK_NBD, .path = "nbd+unix:///?socket=none" };
	struct nbd_handle *handle;
	struct block *block;
	struct diag diag;
	int fds[2];

	if (!loop) {
		log_set_level(LOG_ERROR);
		check(loop_create("fuzz", &loop, &diag) == 0);
	}
	if (size < 1) {
		return 0;
	}
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	if (size > 1 && send(fds[1], data + 1, size - 1, 0) < 0) {
		check(errno == EAGAIN);
	}
	shutdown(fds[1], SHUT_WR);
	config.read_only = data[0] & 0x80;
	handle = shake_hands(fds[0]);
	if (handle && nbd_disk_create(&config, &limits, handle, &block, &diag) == 0) {
		run(block, data[0]);
		block_close(block);
	}
	close(fds[1]);
	return 0;
}

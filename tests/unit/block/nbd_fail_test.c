/* SPDX-License-Identifier: MIT */
/* Network disks whose server dies, hangs, is replaced, or lies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/bytes.h"
#include "base/log.h"
#include "unit/block/nbd_rig.h"

/* ---- servers that fail ------------------------------------------------------------------------------ */

static void errors_of_the_server_are_the_requests(void **state)
{
	pid_t pid = NBDKIT("error", "--filter=error", "memory", "1M", "error=ENOSPC",
			   "error-pwrite-rate=100%", "error-pread-rate=0%");
	struct block *block;
	uint8_t buf[512] = { 0 };
	struct rig rig;

	rig_create(&rig, 512);
	block = open_started(&rig, server_uri("error", ""));
	assert_int_equal(rig_io_server(&rig, block, BLOCK_WRITE, 0, buf, 512), -ENOSPC);
	assert_int_equal(rig_io_server(&rig, block, BLOCK_READ, 0, buf, 512), 0);
	stop_and_close(&rig, block);
	rig_destroy(&rig);
	server_kill(pid, SIGTERM);
}

/* Until the disk works again. */
static void await_reconnection(struct rig *rig, struct block *block)
{
	uint64_t until_ns = loop_now_ns() + 10 * SECOND;
	uint8_t buf[512];

	while (rig_io_server(rig, block, BLOCK_READ, 0, buf, 512)) {
		assert_true(loop_now_ns() < until_ns);
		usleep(1000);
	}
}

static void a_server_that_dies_is_found_again(void **state)
{
	pid_t pid = NBDKIT("die", "--filter=delay", "memory", "1M", "rdelay=100", "wdelay=0");
	struct rig_request requests[3] = { 0 };
	static uint8_t buf[3][512];
	struct block *block;
	struct rig rig;

	rig_create(&rig, 512);
	block = open_started(&rig, server_uri("die", ""));
	assert_int_equal(rig_io_server(&rig, block, BLOCK_WRITE, 0, buf[0], 512), 0);
	for (int i = 0; i < 3; i++) {
		requests[i].iov[0] = (struct iovec){ buf[i], 512 };
		requests[i].block.iov = requests[i].iov;
		requests[i].block.iov_count = 1;
		rig_submit(block, &requests[i], BLOCK_READ, 0, 512);
	}
	for (int i = 0; i < 20; i++) {
		rig_turn(&rig);
	}
	server_kill(pid, SIGKILL);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(rig_wait_server(&rig, &requests[i]), -EIO);
	}
	assert_int_equal(rig_io_server(&rig, block, BLOCK_READ, 0, buf[0], 512), -ENOTCONN);
	pid = NBDKIT("die", "--filter=fua", "memory", "1M"); /* fua by a flush */
	await_reconnection(&rig, block);
	assert_int_equal(write_fua(&rig, block), 0); /* does not take that message away */
	/* A write had not been flushed: nobody knows what became of it. Said once. */
	assert_int_equal(rig_io_server(&rig, block, BLOCK_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(rig_io_server(&rig, block, BLOCK_FLUSH, 0, NULL, 0), 0);
	/* Idle, it is noticed as well, and all was flushed this time. */
	server_kill(pid, SIGKILL);
	pid = NBDKIT("die", "memory", "1M");
	await_reconnection(&rig, block);
	assert_int_equal(rig_io_server(&rig, block, BLOCK_FLUSH, 0, NULL, 0), 0);
	/* It can be stopped while there is no server. */
	server_kill(pid, SIGKILL);
	assert_int_not_equal(rig_io_server(&rig, block, BLOCK_READ, 0, buf[0], 512), 0);
	stop_and_close(&rig, block);
	rig_destroy(&rig);
}

/* Whatever the server does, every request ends, with an answer or an error. */
static void every_request_ends_while_the_server_comes_and_goes(void **state)
{
	enum {
		SLOTS = 16,
		LIVES = 8,
		GOOD_EACH = 16
	}; /* of which each server ends some, however slow */
	static uint8_t area[SLOTS][2][65536];
	struct rig_request requests[SLOTS] = { 0 };
	unsigned int good = 0, bad = 0;
	struct block *block = NULL;
	struct rig rig;

	rig_create(&rig, 512);
	for (int life = 0; life < LIVES; life++) {
		pid_t pid = NBDKIT("flap", "memory", "8M");
		uint64_t until_ns = loop_now_ns() + SECOND / 8;

		block = block ? block : open_started(&rig, server_uri("flap", ""));
		for (unsigned int i = 0;
		     loop_now_ns() < until_ns ||
		     (good < GOOD_EACH * (life + 1U) && loop_now_ns() < until_ns + 20 * SECOND);
		     i++) {
			struct rig_request *request = &requests[i % SLOTS];
			uint64_t offset = i % 61 * 131072ULL;

			if (request->block.done && !request->is_done) {
				rig_turn(&rig);
				continue;
			}
			good += request->is_done && request->result == 0;
			bad += request->is_done && request->result != 0;
			request->iov[0] = (struct iovec){ area[i % SLOTS][0], 4096 };
			request->iov[1] = (struct iovec){ area[i % SLOTS][1], 61440 };
			request->block.iov = request->iov;
			request->block.iov_count = 2;
			rig_submit(block, request, i & 1 ? BLOCK_READ : BLOCK_WRITE, offset, 65536);
		}
		server_kill(pid, SIGKILL);
	}
	for (int i = 0; i < SLOTS; i++) {
		if (requests[i].block.done) {
			(void)rig_wait_server(&rig, &requests[i]);
		}
	}
	assert_true(good >= GOOD_EACH * LIVES && bad > 0);
	assert_int_equal(block_read_stats(block)->in_flight, 0);
	stop_and_close(&rig, block);
	rig_destroy(&rig);
}

static void another_disk_in_its_place_is_refused(void **state)
{
	pid_t pid = NBDKIT("swap", "memory", "1M");
	uint64_t until_ns;
	struct block *block;
	uint8_t buf[512];
	struct rig rig;

	rig_create(&rig, 512);
	block = open_started(&rig, server_uri("swap", ""));
	server_kill(pid, SIGKILL);
	pid = NBDKIT("swap", "memory", "512K");
	until_ns = loop_now_ns() + SECOND / 2;
	while (loop_now_ns() < until_ns) {
		assert_int_not_equal(rig_io_server(&rig, block, BLOCK_READ, 0, buf, 512), 0);
		usleep(1000);
	}
	server_kill(pid, SIGKILL);
	pid = NBDKIT("swap", "memory", "2M");
	await_reconnection(&rig, block);
	assert_int_equal(block_info(block)->bytes, 1 << 20);
	block_refresh(block);
	assert_int_equal(block_info(block)->bytes, 2 << 20);
	stop_and_close(&rig, block);
	rig_destroy(&rig);
	server_kill(pid, SIGTERM);
}

static void silence_ends_in_bounded_time(void **state)
{
	static const struct nbd_limits impatient = {
		.connect_ns = SECOND / 2,
		.silence_ns = SECOND / 2,
		.backoff_ns_min = SECOND,
		.backoff_ns_max = SECOND,
	};
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	uint64_t before_ns = loop_now_ns();
	struct block *block;
	uint8_t buf[512];
	struct diag diag;
	struct rig rig;
	pid_t pid;

	/* It listens, and that is all. */
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", server_path("mute"));
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 5), 0);
	assert_int_equal(try_open_with(server_uri("mute", ""), false, &impatient, &block, &diag),
			 -ETIMEDOUT);
	assert_true(loop_now_ns() - before_ns < 5 * SECOND);
	close(fd);
	/* It never answers a request. */
	pid = NBDKIT("hang", "--filter=delay", "memory", "1M", "rdelay=1000");
	rig_create(&rig, 512);
	block = open_started_with(&rig, server_uri("hang", ""), &impatient);
	before_ns = loop_now_ns();
	assert_int_equal(rig_io_server(&rig, block, BLOCK_READ, 0, buf, 512), -ETIMEDOUT);
	assert_in_range(loop_now_ns() - before_ns, SECOND / 2, 5 * SECOND);
	stop_and_close(&rig, block);
	rig_destroy(&rig);
	server_kill(pid, SIGKILL);
}

/* ---- servers that lie -------------------------------------------------------------------------------- */

#define REQUEST_BYTES 28
#define REPLY_MAGIC   0x67446698U

enum lie {
	LIE_MAGIC,
	LIE_COOKIE,
	LIE_TRUNCATED,
	LIE_STRUCTURED,
	LIE_NOISE,
	LIE_CLOSE,
	LIE_ERROR,
	LIES,
};

struct liar {
	int listen_fd;
	enum lie lie;
	uint64_t bytes;
	pthread_t thread;
};

static void liar_greet(int fd, uint64_t bytes)
{
	/* The old style of greeting: all at once, and nothing is asked. */
	uint8_t hello[152] = "NBDMAGIC";

	bytes_put_be64(hello + 8, 0x00420281861253ULL);
	bytes_put_be64(hello + 16, bytes);
	bytes_put_be32(hello + 24, 1 | 4 | 32); /* has flags, flush, trim */
	assert_int_equal(send(fd, hello, sizeof(hello), MSG_NOSIGNAL), sizeof(hello));
}

static void liar_answer(int fd, enum lie lie, const uint8_t *request)
{
	uint8_t reply[16 + 512] = { 0 };
	size_t bytes = sizeof(reply);

	bytes_put_be32(reply, lie == LIE_MAGIC ? 0x12345678 : REPLY_MAGIC);
	memcpy(reply + 8, request + 8, 8);
	if (lie == LIE_COOKIE) {
		reply[15] ^= 0x40;
	} else if (lie == LIE_TRUNCATED) {
		bytes = 100;
	} else if (lie == LIE_STRUCTURED) {
		bytes_put_be32(reply, 0x668e33ef);
	} else if (lie == LIE_NOISE) {
		memset(reply, 0xEE, sizeof(reply));
	} else if (lie == LIE_CLOSE) {
		bytes = 0;
	} else if (lie == LIE_ERROR) {
		bytes_put_be32(reply + 4, 0xDEADBEEF); /* an error that does not exist */
		bytes = 16;
	}
	(void)!send(fd, reply, bytes, MSG_NOSIGNAL);
}

static void *liar_main(void *arg)
{
	struct liar *liar = arg;
	uint8_t request[REQUEST_BYTES];
	int fd = accept(liar->listen_fd, NULL, NULL);

	liar_greet(fd, liar->bytes);
	if (recv(fd, request, sizeof(request), MSG_WAITALL) == sizeof(request)) {
		liar_answer(fd, liar->lie, request);
		if (liar->lie == LIE_ERROR) { /* the connection is still good */
			(void)!recv(fd, request, sizeof(request), MSG_WAITALL);
		}
	}
	close(fd);
	return NULL;
}

static void liar_begin(struct liar *liar, enum lie lie, uint64_t bytes)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	unlink(server_path("liar"));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", server_path("liar"));
	*liar = (struct liar){ .lie = lie, .bytes = bytes };
	liar->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(liar->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(liar->listen_fd, 5), 0);
	assert_int_equal(pthread_create(&liar->thread, NULL, liar_main, liar), 0);
}

static void liar_end(struct liar *liar)
{
	pthread_join(liar->thread, NULL);
	close(liar->listen_fd);
}

static void lies_are_errors_and_harm_nothing(void **state)
{
	for (enum lie lie = 0; lie < LIES; lie++) {
		uint8_t buf[3][512];
		struct block *block;
		struct liar liar;
		struct rig rig;
		int err;

		memset(buf, 0x5A, sizeof(buf));
		rig_create(&rig, 512);
		liar_begin(&liar, lie, 1 << 20);
		block = open_started(&rig, server_uri("liar", ""));
		err = rig_io_server(&rig, block, BLOCK_READ, 0, buf[1], 512);
		assert_int_equal(err, lie == LIE_ERROR ? -EINVAL : -EIO);
		for (int i = 0; i < 512; i++) {
			assert_int_equal(buf[0][i], 0x5A);
			assert_int_equal(buf[2][i], 0x5A);
		}
		stop_and_close(&rig, block);
		liar_end(&liar);
		rig_destroy(&rig);
	}
}

static void impossible_sizes_are_refused(void **state)
{
	static const uint64_t sizes[] = { 0, 511, 1ULL << 63, ~0ULL, ~511ULL };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct block *block = NULL;
		struct diag diag;
		struct liar liar;

		liar_begin(&liar, LIE_CLOSE, sizes[i]);
		assert_int_equal(
			try_open_with(server_uri("liar", ""), false, &quick, &block, &diag),
			-EINVAL);
		liar_end(&liar);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors_of_the_server_are_the_requests),
		cmocka_unit_test(a_server_that_dies_is_found_again),
		cmocka_unit_test(every_request_ends_while_the_server_comes_and_goes),
		cmocka_unit_test(another_disk_in_its_place_is_refused),
		cmocka_unit_test(silence_ends_in_bounded_time),
		cmocka_unit_test(lies_are_errors_and_harm_nothing),
		cmocka_unit_test(impossible_sizes_are_refused),
	};

	if (!program_exists("nbdkit")) {
		fprintf(stderr, "skipped: nbdkit is not installed (tools/setup test)\n");
		return 77;
	}
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("block/nbd_fail", tests, server_group_setup,
					   server_group_teardown);
}

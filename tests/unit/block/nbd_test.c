/* SPDX-License-Identifier: MIT */
/* Network disks against real servers (nbdkit) and against hostile ones of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <pthread.h>

#include "base/bytes.h"
#include "base/log.h"
#include "unit/block/nbd_rig.h"

#define SECOND 1000000000ULL

static const struct nbd_limits quick = {
	.connect_ns = 3 * SECOND,
	.silence_ns = 3 * SECOND,
	.backoff_ns_min = 10000000,
	.backoff_ns_max = 50000000,
};

static int try_open_with(const char *uri, bool read_only, const struct nbd_limits *limits,
			 struct block **ret, struct diag *diag)
{
	struct block_config config = { .kind = BLOCK_NBD, .path = uri, .read_only = read_only };

	return nbd_disk_open(&config, limits, ret, diag);
}

static struct block *open_started_with(struct rig *rig, const char *uri,
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

static struct block *open_started(struct rig *rig, const char *uri)
{
	return open_started_with(rig, uri, &quick);
}

static void stop_and_close(struct rig *rig, struct block *block)
{
	rig_stop(rig, block);
	block_close(block);
}

/* ---- data ------------------------------------------------------------------------------------------ */

static void check_integrity(const char *const *words, const char *uri, unsigned int seed)
{
	pid_t pid = nbdkit("data", words);
	struct block *block;
	struct rig rig;

	rig_create(&rig, 512);
	block = open_started(&rig, uri ? uri : server_uri("data", ""));
	model_run(&rig, block, seed, 400);
	assert_int_equal(block_read_stats(block)->errors, 0);
	/* It can be stopped and started again, with the same connection. */
	rig_stop(&rig, block);
	assert_int_equal(block_start(block, rig.loop), 0);
	assert_int_equal(rig_io_server(&rig, block, BLOCK_FLUSH, 0, NULL, 0), 0);
	stop_and_close(&rig, block);
	rig_destroy(&rig);
	server_kill(pid, SIGTERM);
}
#define CHECK_INTEGRITY(seed, ...)                                                                 \
	check_integrity((const char *const[]){ __VA_ARGS__, NULL }, NULL, seed)

static void random_requests_match_a_model(void **state)
{
	CHECK_INTEGRITY(1, "memory", "8M");
	CHECK_INTEGRITY(2, "--no-sr", "memory", "8M");
}

static void random_requests_survive_a_slow_server(void **state)
{
	CHECK_INTEGRITY(3, "--filter=delay", "memory", "8M", "rdelay=1ms", "wdelay=2ms");
}

static void small_transfers_are_split(void **state)
{
	CHECK_INTEGRITY(4, "--filter=blocksize-policy", "memory", "8M", "blocksize-minimum=512",
			"blocksize-preferred=4096", "blocksize-maximum=64K",
			"blocksize-error-policy=error");
}

static void servers_that_can_little_are_served(void **state)
{
	CHECK_INTEGRITY(5, "--filter=nozero", "--filter=fua", "--filter=noextents", "memory", "8M",
			"zeromode=none");
}

static void tcp_works_by_name(void **state)
{
	const char *args[] = {
		"nbdkit", "-f", "-i", "127.0.0.1", "-p", NULL, "memory", "8M", NULL
	};
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	struct block *block = NULL;
	char port[16], uri[64];
	struct diag diag;
	struct rig rig;
	pid_t pid;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	/* A port that is free now. */
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	close(fd);
	snprintf(port, sizeof(port), "%u", ntohs(address.sin_port));
	snprintf(uri, sizeof(uri), "nbd://localhost:%s/", port);
	args[5] = port;
	pid = server_spawn(args);
	for (int i = 0; i < 500 && try_open_with(uri, false, &quick, &block, &diag); i++) {
		usleep(10000);
	}
	assert_non_null(block);
	rig_create(&rig, 512);
	assert_int_equal(block_start(block, rig.loop), 0);
	model_run(&rig, block, 6, 300);
	stop_and_close(&rig, block);
	rig_destroy(&rig);
	server_kill(pid, SIGTERM);
}

/* A request of BLOCK_IOVECS_MAX pieces, and more requests than the connection has commands. */
static void many_pieces_and_many_requests_wait_their_turn(void **state)
{
	enum { MANY = 3 * NBD_OPS, PIECE = 512 };
	pid_t pid = NBDKIT("many", "memory", "8M");
	struct rig_request *requests = calloc(MANY, sizeof(*requests));
	struct iovec *iov = calloc(BLOCK_IOVECS_MAX, sizeof(*iov));
	uint8_t *area = malloc(BLOCK_IOVECS_MAX * 2 * PIECE), *back = malloc(MANY * 1024);
	struct rig_request whole = { 0 };
	struct block *block;
	struct rig rig;

	rig_create(&rig, 512);
	block = open_started(&rig, server_uri("many", ""));
	for (int i = 0; i < BLOCK_IOVECS_MAX; i++) {
		iov[i] = (struct iovec){ area + (size_t)i * 2 * PIECE, PIECE };
		memset(iov[i].iov_base, i * 7 + 1, PIECE);
	}
	whole.block.iov = iov;
	whole.block.iov_count = BLOCK_IOVECS_MAX;
	whole.block.fua = true;
	rig_submit(block, &whole, BLOCK_WRITE, 4096, BLOCK_IOVECS_MAX * PIECE);
	assert_int_equal(rig_wait_server(&rig, &whole), 0);
	assert_int_equal(block_read_stats(block)->bounced,
			 BLOCK_IOVECS_MAX * PIECE / NBD_BOUNCE_BYTES);
	/* Each in two pieces, so that all want one of a few slots. */
	for (int i = 0; i < MANY; i++) {
		uint8_t *at = back + (size_t)i * 1024;

		requests[i].iov[0] = (struct iovec){ at + 512, 512 };
		requests[i].iov[1] = (struct iovec){ at, 512 };
		requests[i].block.iov = requests[i].iov;
		requests[i].block.iov_count = 2;
		rig_submit(block, &requests[i], BLOCK_READ, 4096 + (uint64_t)i * 1024, 1024);
	}
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(rig_wait_server(&rig, &requests[i]), 0);
		assert_int_equal(back[(size_t)i * 1024 + 512], (uint8_t)(2 * i * 7 + 1));
		assert_int_equal(back[(size_t)i * 1024 + 511], (uint8_t)((2 * i + 1) * 7 + 1));
	}
	stop_and_close(&rig, block);
	rig_destroy(&rig);
	server_kill(pid, SIGTERM);
	free(requests);
	free(iov);
	free(area);
	free(back);
}

/* ---- durability ------------------------------------------------------------------------------------ */

/* How often a word stands in the server's log. */
static int log_count(const char *word)
{
	char line[512];
	FILE *file = fopen(server_path("log"), "r");
	int count = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		count += strstr(line, word) != NULL;
	}
	fclose(file);
	return count;
}

static int write_fua(struct rig *rig, struct block *block)
{
	static uint8_t buf[4096];
	struct rig_request request = { .iov[0] = { buf, sizeof(buf) } };

	request.block.iov = request.iov;
	request.block.iov_count = 1;
	request.block.fua = true;
	rig_submit(block, &request, BLOCK_WRITE, 0, sizeof(buf));
	return rig_wait_server(rig, &request);
}

static void check_fua(const char *fua, int flushes)
{
	char file[128];
	struct block *block;
	struct rig rig;
	pid_t pid;

	snprintf(file, sizeof(file), "logfile=%s", server_path("log"));
	unlink(server_path("log"));
	pid = NBDKIT("fua", "--filter=log", "--filter=fua", "memory", "1M", file, fua);
	rig_create(&rig, 512);
	block = open_started(&rig, server_uri("fua", ""));
	assert_int_equal(write_fua(&rig, block), 0);
	assert_int_equal(log_count(" Write "), 1);
	assert_int_equal(log_count(" Flush "), flushes);
	assert_int_equal(log_count(" fua=1 ..."), 1 - flushes);
	assert_int_equal(rig_io_server(&rig, block, BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(log_count(" Flush "), flushes + 1);
	stop_and_close(&rig, block);
	rig_destroy(&rig);
	server_kill(pid, SIGTERM);
}

static void fua_is_passed_on_or_made_of_a_flush(void **state)
{
	check_fua("fuamode=native", 0);
	check_fua(NULL, 1); /* the filter's default: no fua */
}

static void zeroes_keep_their_space_unless_told(void **state)
{
	struct rig_request request = { 0 };
	char file[128];
	struct block *block;
	struct rig rig;
	pid_t pid;

	snprintf(file, sizeof(file), "logfile=%s", server_path("log"));
	unlink(server_path("log"));
	pid = NBDKIT("zero", "--filter=log", "memory", "1M", file);
	rig_create(&rig, 512);
	block = open_started(&rig, server_uri("zero", ""));
	rig_submit(block, &request, BLOCK_WRITE_ZEROES, 0, 65536);
	assert_int_equal(rig_wait_server(&rig, &request), 0);
	assert_int_equal(log_count("trim=0 fua"), 1);
	request.block.may_unmap = true;
	rig_submit(block, &request, BLOCK_WRITE_ZEROES, 0, 65536);
	assert_int_equal(rig_wait_server(&rig, &request), 0);
	assert_int_equal(log_count("trim=1 fua"), 1);
	rig_submit(block, &request, BLOCK_DISCARD, 65536, 65536);
	assert_int_equal(rig_wait_server(&rig, &request), 0);
	assert_int_equal(log_count(" Trim "), 1);
	stop_and_close(&rig, block);
	rig_destroy(&rig);
	server_kill(pid, SIGTERM);
}

static void map_tells_data_from_zeroes(void **state)
{
	pid_t pid = NBDKIT("map", "memory", "1M");
	struct rig_request request = { 0 };
	struct block *block;
	uint8_t buf[65536];
	struct rig rig;

	memset(buf, 1, sizeof(buf));
	rig_create(&rig, 512);
	block = open_started(&rig, server_uri("map", ""));
	assert_int_equal(rig_io_server(&rig, block, BLOCK_WRITE, 65536, buf, sizeof(buf)), 0);
	rig_submit(block, &request, BLOCK_MAP, 0, 1 << 20);
	assert_int_equal(rig_wait_server(&rig, &request), 0);
	assert_int_equal(request.block.map.kind, BLOCK_MAP_ZERO);
	assert_int_equal(request.block.map.bytes, 65536);
	rig_submit(block, &request, BLOCK_MAP, 65536, 1 << 19);
	assert_int_equal(rig_wait_server(&rig, &request), 0);
	assert_int_equal(request.block.map.kind, BLOCK_MAP_DATA);
	assert_int_equal(request.block.map.bytes, 65536);
	stop_and_close(&rig, block);
	rig_destroy(&rig);
	server_kill(pid, SIGTERM);
}

/* ---- opening --------------------------------------------------------------------------------------- */

static void check_refusal(const char *uri, bool read_only, int err, const char *word)
{
	struct block *block = NULL;
	struct diag diag;

	assert_int_equal(try_open_with(uri, read_only, &quick, &block, &diag), err);
	assert_null(block);
	assert_non_null(strstr(diag.text, uri)); /* it names the disk */
	if (!strstr(diag.text, word)) {
		fail_msg("'%s' says nothing of '%s'", diag.text, word);
	}
}

static void open_says_what_is_wrong(void **state)
{
	pid_t pid = NBDKIT("strict", "--filter=exportname", "memory", "1M",
			   "exportname-strict=true", "exportname=right");

	check_refusal("/dev/null", false, -EINVAL, "nbd://HOST");
	check_refusal("http://localhost/", false, -EINVAL, "nbd://HOST");
	check_refusal("nbd+unix:///", false, -EINVAL, "socket");
	check_refusal("nbd+unix:///?socket=/no/such/socket", false, -ENOENT, "No such file");
	check_refusal("nbd://127.0.0.1:1/", false, -ECONNREFUSED, "could not connect");
	check_refusal(server_uri("strict", "wrong"), false, -ENOENT, "export");
	server_kill(pid, SIGTERM);
}

static void exports_that_do_not_fit_are_refused(void **state)
{
	pid_t pid = NBDKIT("small", "memory", "1000");

	check_refusal(server_uri("small", ""), false, -EINVAL, "1000 bytes");
	server_kill(pid, SIGTERM);
	pid = NBDKIT("large", "--filter=blocksize-policy", "memory", "1M", "blocksize-minimum=64K",
		     "blocksize-preferred=64K", "blocksize-maximum=1M");
	check_refusal(server_uri("large", ""), false, -EINVAL, "65536");
	server_kill(pid, SIGTERM);
}

static void large_blocks_become_the_disks(void **state)
{
	pid_t pid = NBDKIT("large", "--filter=blocksize-policy", "memory", "8M",
			   "blocksize-minimum=1024", "blocksize-preferred=8192",
			   "blocksize-maximum=1M", "blocksize-error-policy=error");
	struct block *block;
	struct rig rig;

	rig_create(&rig, 512);
	block = open_started(&rig, server_uri("large", ""));
	assert_int_equal(block_info(block)->logical_block_bytes, 4096);
	assert_int_equal(block_info(block)->physical_block_bytes, 8192);
	model_run(&rig, block, 7, 200);
	stop_and_close(&rig, block);
	rig_destroy(&rig);
	server_kill(pid, SIGTERM);
}

static void read_only_exports_are_only_read(void **state)
{
	pid_t pid = NBDKIT("ro", "-r", "pattern", "1M");
	struct block *block;
	uint8_t buf[512];
	struct diag diag;
	struct rig rig;

	check_refusal(server_uri("ro", ""), false, -EROFS, "readonly=on");
	rig_create(&rig, 512);
	assert_int_equal(try_open_with(server_uri("ro", ""), true, &quick, &block, &diag), 0);
	assert_true(block_info(block)->read_only);
	assert_false(block_info(block)->can_discard);
	assert_int_equal(block_start(block, rig.loop), 0);
	assert_int_equal(rig_io_server(&rig, block, BLOCK_READ, 512, buf, 512), 0);
	assert_int_equal(bytes_be64(buf + 8), 520); /* the pattern: each word its own offset */
	assert_int_equal(rig_io_server(&rig, block, BLOCK_WRITE, 0, buf, 512), -EROFS);
	stop_and_close(&rig, block);
	rig_destroy(&rig);
	server_kill(pid, SIGTERM);
}

static void encrypted_connections_work(void **state)
{
	FILE *keys = fopen(server_path("keys"), "w");
	char psk[128], uri[256];
	struct block *block;
	struct rig rig;
	pid_t pid;

	assert_non_null(keys);
	fprintf(keys, "alice:0123456789abcdef0123456789abcdef\n");
	fclose(keys);
	snprintf(psk, sizeof(psk), "--tls-psk=%s", server_path("keys"));
	pid = NBDKIT("tls", "--tls=require", psk, "memory", "8M");
	snprintf(uri, sizeof(uri), "nbds+unix://alice@/?socket=%s&tls-psk-file=%s",
		 server_path("tls"), server_path("keys"));
	rig_create(&rig, 512);
	block = open_started(&rig, uri);
	model_run(&rig, block, 8, 200);
	/* Quiet for a while in between: what TLS says by itself must not get us stuck. */
	for (int i = 0; i < 100; i++) {
		rig_turn(&rig);
	}
	model_run(&rig, block, 8, 0);
	assert_int_equal(rig_io_server(&rig, block, BLOCK_FLUSH, 0, NULL, 0), 0);
	stop_and_close(&rig, block);
	/* And none without. */
	check_refusal(server_uri("tls", ""), false, -EOPNOTSUPP, "TLS");
	rig_destroy(&rig);
	server_kill(pid, SIGTERM);
}

static void twins_see_the_same_disk(void **state)
{
	pid_t pid = NBDKIT("twin", "memory", "1M");
	struct block *block, *twin;
	uint8_t buf[512], back[512];
	struct rig rig;

	rig_create(&rig, 512);
	block = open_started(&rig, server_uri("twin", ""));
	assert_non_null(block->ops->twin);
	assert_int_equal(block->ops->twin(block, &twin), 0);
	assert_int_equal(block_start(twin, rig.loop), 0);
	memset(buf, 42, sizeof(buf));
	assert_int_equal(rig_io_server(&rig, block, BLOCK_WRITE, 512, buf, 512), 0);
	assert_int_equal(rig_io_server(&rig, twin, BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(rig_io_server(&rig, twin, BLOCK_READ, 512, back, 512), 0);
	assert_memory_equal(buf, back, 512);
	assert_string_equal(block_info(twin)->identity, block_info(block)->identity);
	stop_and_close(&rig, twin);
	stop_and_close(&rig, block);
	server_kill(pid, SIGTERM);
	/* A server that does not promise coherence gets no second connection. */
	pid = NBDKIT("twin", "--filter=multi-conn", "memory", "1M", "multi-conn-mode=disable");
	block = open_started(&rig, server_uri("twin", ""));
	assert_null(block->ops->twin);
	stop_and_close(&rig, block);
	rig_destroy(&rig);
	server_kill(pid, SIGTERM);
}

struct other_loop {
	struct loop *loop;
	struct block *twin;
	struct rig_request request;
	_Atomic(unsigned int) done;
	struct loop_work stopped;
	atomic_bool is_stopped;
	uint8_t buf[4096];
};

static void other_next(struct other_loop *other);

static void other_on_done(struct block_request *block, int result)
{
	struct other_loop *other = container_of(block, struct other_loop, request.block);

	assert_int_equal(result, 0);
	if (++other->done < 500) {
		other_next(other);
	}
}

static void other_next(struct other_loop *other)
{
	struct block_request *request = &other->request.block;

	other->request.iov[0] = (struct iovec){ other->buf, sizeof(other->buf) };
	*request = (struct block_request){
		.op = other->done % 3 == 0 ? BLOCK_FLUSH : BLOCK_WRITE,
		.offset_bytes = 524288,
		.length_bytes = other->done % 3 == 0 ? 0 : sizeof(other->buf),
		.iov = other->request.iov,
		.iov_count = 1,
		.done = other_on_done,
	};
	block_submit(other->twin, request);
}

static void other_begin(void *arg)
{
	struct other_loop *other = arg;

	assert_int_equal(block_start(other->twin, other->loop), 0);
	other_next(other);
}

static void other_on_stopped(struct loop_work *work)
{
	container_of(work, struct other_loop, stopped)->is_stopped = true;
}

static void other_end(void *arg)
{
	struct other_loop *other = arg;

	block_stop(other->twin, &other->stopped);
}

static void twins_work_on_two_threads(void **state)
{
	pid_t pid = NBDKIT("two", "memory", "1M");
	struct other_loop other = { 0 };
	struct block *block;
	uint8_t buf[4096] = { 0 };
	struct diag diag;
	struct rig rig;

	rig_create(&rig, 512);
	block = open_started(&rig, server_uri("two", ""));
	assert_int_equal(block->ops->twin(block, &other.twin), 0);
	assert_int_equal(loop_create("other", &other.loop, &diag), 0);
	loop_work_init(&other.stopped, other_on_stopped);
	assert_int_equal(loop_start_thread(other.loop, &diag), 0);
	loop_call(other.loop, other_begin, &other);
	while (other.done < 500) {
		assert_int_equal(rig_io_server(&rig, block, BLOCK_WRITE, 0, buf, sizeof(buf)), 0);
		assert_int_equal(rig_io_server(&rig, block, BLOCK_FLUSH, 0, NULL, 0), 0);
	}
	loop_call(other.loop, other_end, &other);
	while (!other.is_stopped) {
		usleep(1000);
	}
	loop_stop_thread(other.loop);
	block_close(other.twin);
	loop_destroy(other.loop);
	stop_and_close(&rig, block);
	rig_destroy(&rig);
	server_kill(pid, SIGTERM);
}

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
	enum { SLOTS = 16, LIVES = 8 };
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
		for (unsigned int i = 0; loop_now_ns() < until_ns; i++) {
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
	assert_true(good > 100 && bad > 0);
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
		cmocka_unit_test(random_requests_match_a_model),
		cmocka_unit_test(random_requests_survive_a_slow_server),
		cmocka_unit_test(small_transfers_are_split),
		cmocka_unit_test(servers_that_can_little_are_served),
		cmocka_unit_test(tcp_works_by_name),
		cmocka_unit_test(many_pieces_and_many_requests_wait_their_turn),
		cmocka_unit_test(fua_is_passed_on_or_made_of_a_flush),
		cmocka_unit_test(zeroes_keep_their_space_unless_told),
		cmocka_unit_test(map_tells_data_from_zeroes),
		cmocka_unit_test(open_says_what_is_wrong),
		cmocka_unit_test(exports_that_do_not_fit_are_refused),
		cmocka_unit_test(large_blocks_become_the_disks),
		cmocka_unit_test(read_only_exports_are_only_read),
		cmocka_unit_test(encrypted_connections_work),
		cmocka_unit_test(twins_see_the_same_disk),
		cmocka_unit_test(twins_work_on_two_threads),
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
	return cmocka_run_group_tests_name("block/nbd", tests, server_group_setup,
					   server_group_teardown);
}

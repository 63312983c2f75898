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
	};

	if (!program_exists("nbdkit")) {
		fprintf(stderr, "skipped: nbdkit is not installed (tools/setup test)\n");
		return 77;
	}
	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests_name("block/nbd", tests, server_group_setup,
					   server_group_teardown);
}

/* SPDX-License-Identifier: MIT */
/* Faults as users write them: the words, and what the layers then do. */
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "base/fault.h"
#include "block/faults.h"
#include "unit/block/rig.h"

static void expect_wrong(const char *text, const char *word)
{
	struct diag diag = { "" };

	assert_int_equal(block_faults_check(text, &diag), -EINVAL);
	if (!strstr(diag.text, word)) {
		fail_msg("%s: no '%s' in: %s", text, word, diag.text);
	}
}

static void right_words_are_taken(void **state)
{
	static const char *const texts[] = {
		"",
		"delay:500us",
		"delay:20ms:read",
		"delay:0s:all",
		"delay:3600s",
		"fail:read",
		"fail:all:every=3",
		"fail:write:nth=1:ENOSPC",
		"fail:flush:EIO",
		"fail:discard:at=1M:EROFS",
		"fail:zeroes:at=18446744073709551615",
		"log:a:b/c d",
		"delay:1ms+fail:read:every=2+log:x+delay:1s:write",
	};
	struct diag diag;

	assert_int_equal(block_faults_check(NULL, &diag), 0);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (block_faults_check(texts[i], &diag)) {
			fail_msg("%s: %s", texts[i], diag.text);
		}
	}
}

static void wrong_words_are_refused_with_a_sentence(void **state)
{
	char *longest = malloc(10000);

	expect_wrong("slow", "slow");
	expect_wrong("delay", "delay:TIME");
	expect_wrong("delay:", "time");
	expect_wrong("delay:5", "us, ms or s");
	expect_wrong("delay:5m", "us, ms or s");
	expect_wrong("delay:-5ms", "us, ms or s");
	expect_wrong("delay:3601s", "3600");
	expect_wrong("delay:99999999999999999999s", "3600");
	expect_wrong("delay:18446744073709551615s", "3600");
	expect_wrong("delay:1s:reed", "reed");
	expect_wrong("delay:1s:read:write", "write");
	expect_wrong("fail", "fail:OP");
	expect_wrong("fail:", "''");
	expect_wrong("fail:resize", "resize");
	expect_wrong("fail:read:every=0", "every=0");
	expect_wrong("fail:read:every=x", "every=x");
	expect_wrong("fail:read:nth=", "nth=");
	expect_wrong("fail:read:nth=0", "nth=0");
	expect_wrong("fail:read:at=1Q", "at=1Q");
	expect_wrong("fail:read:at=1MB", "at=1MB");
	expect_wrong("fail:read:at=18446744073709551615K", "at=");
	expect_wrong("fail:read:ENONSENSE", "ENONSENSE");
	expect_wrong("fail:read:EIO:", "''");
	expect_wrong("log", "log:FILE");
	expect_wrong("log:", "log:FILE");
	expect_wrong("+", "''");
	expect_wrong("delay:1s+", "''");
	expect_wrong("delay:1s++delay:1s", "''");
	expect_wrong("delay:1s+delay:1s+delay:1s+delay:1s+delay:1s+delay:1s+delay:1s+delay:1s+"
		     "delay:1s",
		     "more than 8");
	memset(longest, 'x', 9999);
	longest[9999] = '\0';
	expect_wrong(longest, "more than");
	free(longest);
}

static struct block *open_with(const char *fault)
{
	struct block_config config = { .kind = BLOCK_NULL, .null_bytes = 1 << 20, .fault = fault };
	struct block *block;
	struct diag diag;

	if (block_open(&config, &block, &diag)) {
		fail_msg("%s", diag.text);
	}
	return block;
}

static void expect_results(const char *fault, enum block_op op, uint64_t offset,
			   const int results[4])
{
	struct block *block = open_with(fault);
	uint8_t buf[4096];
	struct rig rig;

	rig_create(&rig, 512);
	assert_int_equal(block_start(block, rig.loop), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(rig_io(&rig, block, op, offset, buf, sizeof(buf)), results[i]);
	}
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
}

static void fail_words_mean_what_they_say(void **state)
{
	static const int always[] = { -EIO, -EIO, -EIO, -EIO }, never[] = { 0, 0, 0, 0 };
	static const int second[] = { 0, -EIO, 0, -EIO }, third[] = { 0, 0, -ENOSPC, 0 };

	expect_results("fail:read", BLOCK_READ, 0, always);
	expect_results("fail:read", BLOCK_WRITE, 0, never);
	expect_results("fail:all", BLOCK_FLUSH, 0, always);
	expect_results("fail:read:every=2", BLOCK_READ, 0, second);
	expect_results("fail:write:nth=3:ENOSPC", BLOCK_WRITE, 0, third);
	expect_results("fail:write:at=8191", BLOCK_WRITE, 4096, always);
	expect_results("fail:write:at=8K", BLOCK_WRITE, 4096, never);
	expect_results("fail:discard:at=4K", BLOCK_DISCARD, 4096, always);
	/* The lower one fails first; what it lets through the upper one counts. */
	expect_results("fail:read:every=2+fail:write", BLOCK_READ, 0, second);
	expect_results("", BLOCK_READ, 0, never);
}

static void delay_words_mean_what_they_say(void **state)
{
	struct block *block = open_with("delay:5ms:read");
	uint64_t began, read_ns, write_ns;
	uint8_t buf[512];
	struct rig rig;

	rig_create(&rig, 512);
	assert_int_equal(block_start(block, rig.loop), 0);
	began = loop_now_ns();
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 0, buf, sizeof(buf)), 0);
	read_ns = loop_now_ns() - began;
	assert_true(read_ns >= 5000000);
	/* At least one of several that nothing delays but the host. */
	write_ns = ~0ULL;
	for (int i = 0; i < 20; i++) {
		began = loop_now_ns();
		assert_int_equal(rig_io(&rig, block, BLOCK_WRITE, 0, buf, sizeof(buf)), 0);
		write_ns = num_min(write_ns, loop_now_ns() - began);
	}
	assert_true(write_ns < 5000000);
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
}

/* Below an image and above it are different places; a raw disk has both. */
static void both_places_have_layers(void **state)
{
	struct block_config config = {
		.kind = BLOCK_RAW,
		.file_fault = "fail:read:at=0:EPERM",
		.fault = "fail:read:at=4096:EACCES",
	};
	struct block *block;
	struct diag diag;
	uint8_t buf[512];
	struct rig rig;

	rig_create(&rig, 65536);
	config.path = rig.path;
	assert_int_equal(block_open(&config, &block, &diag), 0);
	assert_string_equal(block_name(block), "fail");
	assert_string_equal(block_name(block_lower(block)), "fail");
	assert_string_equal(block_name(block_lower(block_lower(block))), "raw");
	assert_int_equal(block_start(block, rig.loop), 0);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 0, buf, 512), -EPERM);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 4096, buf, 512), -EACCES);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 8192, buf, 512), 0);
	/* A size goes through all of them. */
	assert_int_equal(rig_io(&rig, block, BLOCK_RESIZE, 131072, NULL, 0), 0);
	assert_int_equal(block_info(block)->bytes, 131072);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 130560, buf, 512), 0);
	rig_stop(&rig, block);
	block_close(block);

	config.file_fault = "nonsense";
	assert_int_equal(block_open(&config, &block, &diag), -EINVAL);
	config.file_fault = NULL;
	config.fault = "nonsense";
	assert_int_equal(block_open(&config, &block, &diag), -EINVAL);
	config.kind = BLOCK_NULL;
	config.slice_bytes = 512;
	assert_int_equal(block_open(&config, &block, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "raw disks only"));
	rig_destroy(&rig);
}

/* An image's file grows when it is written; layers between must not stand in the way. */
static void a_file_grows_through_its_layers(void **state)
{
	struct block_config config = {
		.kind = BLOCK_RAW,
		.growable = true,
		.file_fault = "delay:0us+log:faults-test.log+fail:read:at=1T",
	};
	struct block *block;
	struct diag diag;
	uint8_t buf[512];
	struct rig rig;

	rig_create(&rig, 0);
	config.path = rig.path;
	assert_int_equal(block_open(&config, &block, &diag), 0);
	assert_int_equal(block_start(block, rig.loop), 0);
	memset(buf, 3, sizeof(buf));
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 65536, buf, 512), -EINVAL);
	assert_int_equal(rig_io(&rig, block, BLOCK_WRITE, 65536, buf, 512), 0);
	assert_int_equal(block_info(block)->bytes, 65536 + 512);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 65536, buf, 512), 0);
	assert_int_equal(buf[511], 3);
	rig_stop(&rig, block);
	block_close(block);
	unlink("faults-test.log");
	rig_destroy(&rig);
}

/* ---- log ---- */

static char *read_log(const char *path)
{
	char *text = calloc(1, 1 << 20);
	FILE *file = fopen(path, "re");

	assert_non_null(file);
	assert_true(fread(text, 1, (1 << 20) - 1, file) > 0);
	fclose(file);
	return text;
}

static unsigned int count_lines(const char *text)
{
	unsigned int n = 0;

	for (; *text; text++) {
		n += *text == '\n';
	}
	return n;
}

static void log_has_a_line_for_each_request(void **state)
{
	static const char path[] = "faults-log-test.log";
	struct rig_request request = { 0 };
	struct block *block, *twin;
	uint8_t buf[4096];
	char *text, op[16], result[16], when[32];
	unsigned long long offset, length, us;
	struct rig rig;

	unlink(path);
	rig_create(&rig, 512);
	block = open_with("delay:3ms:read+fail:discard:ENOSPC+log:faults-log-test.log");
	assert_string_equal(block_name(block), "log");
	assert_int_equal(block_twin(block, &twin), 0);
	assert_int_equal(block_start(block, rig.loop), 0);
	assert_int_equal(block_start(twin, rig.loop), 0);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 4096, buf, 512), 0);
	request.block.fua = true;
	request.iov[0] = (struct iovec){ buf, 4096 };
	request.block.iov = request.iov;
	request.block.iov_count = 1;
	rig_submit(block, &request, BLOCK_WRITE, 8192, 4096);
	assert_int_equal(rig_wait(&rig, &request), 0);
	assert_int_equal(rig_io(&rig, block, BLOCK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(rig_io(&rig, block, BLOCK_DISCARD, 512, NULL, 512), -ENOSPC);
	assert_int_equal(rig_io(&rig, twin, BLOCK_WRITE_ZEROES, 512, NULL, 512), 0);
	rig_submit(block, &request, BLOCK_MAP, 512, 1024);
	assert_int_equal(rig_wait(&rig, &request), 0);
	assert_int_equal(request.block.map.kind, BLOCK_MAP_ZERO); /* answers come through */
	rig_stop(&rig, twin);
	block_close(twin);
	rig_stop(&rig, block);
	block_close(block);

	text = read_log(path);
	assert_int_equal(count_lines(text), 6);
	assert_non_null(strstr(text, "Z write+fua 8192 4096 ok "));
	assert_non_null(strstr(text, "Z flush 0 0 ok "));
	assert_non_null(strstr(text, "Z discard 512 512 ENOSPC "));
	assert_non_null(strstr(text, "Z zeroes 512 512 ok "));
	assert_non_null(strstr(text, "Z map 512 1024 ok "));
	assert_int_equal(sscanf(text, "%31s %15s %llu %llu %15s %llu", when, op, &offset, &length,
				result, &us),
			 6);
	assert_string_equal(op, "read");
	assert_int_equal(offset, 4096);
	assert_int_equal(length, 512);
	assert_string_equal(result, "ok");
	assert_true(us >= 3000);
	assert_int_equal(strlen(when), 27);
	free(text);
	unlink(path);
	rig_destroy(&rig);
}

/* Lines about requests, and how many requests the others say that they stand for. */
static unsigned int count_told(char *text, unsigned long long *ret_dropped)
{
	unsigned int lines = 0;

	*ret_dropped = 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		const char *word = strstr(line, " dropped ");
		unsigned long long n;

		if (word && sscanf(word, " dropped %llu", &n) == 1) {
			*ret_dropped += n;
		} else {
			lines++;
		}
	}
	return lines;
}

/* More in flight than it has shadows: all are told, or counted. */
static void a_flood_is_logged_or_counted(void **state)
{
	enum { COUNT = 5000 };
	static const char path[] = "faults-log-test.log";
	struct rig_request *requests = calloc(COUNT, sizeof(*requests));
	unsigned long long dropped, lines;
	struct block *block;
	uint8_t buf[512];
	struct rig rig;
	char *text;

	unlink(path);
	rig_create(&rig, 512);
	block = open_with("log:faults-log-test.log");
	assert_int_equal(block_start(block, rig.loop), 0);
	for (size_t i = 0; i < COUNT; i++) {
		requests[i].iov[0] = (struct iovec){ buf, 512 };
		requests[i].block.iov = requests[i].iov;
		requests[i].block.iov_count = 1;
		rig_submit(block, &requests[i], BLOCK_READ, 0, 512);
	}
	for (size_t i = 0; i < COUNT; i++) {
		assert_int_equal(rig_wait(&rig, &requests[i]), 0);
	}
	rig_stop(&rig, block);
	block_close(block);
	text = read_log(path);
	lines = count_told(text, &dropped);
	assert_int_equal(lines + dropped, COUNT);
	free(text);
	free(requests);
	unlink(path);
	rig_destroy(&rig);
}

/* The log's disk is full (as RLIMIT_FSIZE plays it): the requests do not care, and lines are counted. */
static void a_log_that_cannot_be_written_costs_lines_only(void **state)
{
	struct block *block = open_with("log:faults-log-test.log");
	unsigned long long dropped, lines;
	struct rlimit old, limit;
	uint8_t buf[512];
	struct rig rig;
	char *text;

	rig_create(&rig, 512);
	assert_int_equal(block_start(block, rig.loop), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(rig_io(&rig, block, BLOCK_READ, 0, buf, 512), 0);
		for (int k = 0; k < 10; k++) {
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
			loop_turn(rig.loop);
		}
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 0, buf, 512), 0);
	rig_stop(&rig, block);
	block_close(block);
	text = read_log("faults-log-test.log");
	lines = count_told(text, &dropped);
	assert_int_equal(lines + dropped, 11);
	assert_true(dropped >= 5);
	free(text);
	unlink("faults-log-test.log");
	rig_destroy(&rig);
}

static void a_log_has_to_be_a_file(void **state)
{
	struct block_config config = { .kind = BLOCK_NULL, .null_bytes = 1 << 20 };
	struct block *block;
	struct diag diag;

	config.fault = "log:/dev/full";
	assert_int_equal(block_open(&config, &block, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "regular"));
	config.fault = "log:/no/such/directory/log";
	assert_int_equal(block_open(&config, &block, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "/no/such/directory/log"));
}

static void no_memory_leaves_nothing(void **state)
{
	struct block_config config = {
		.kind = BLOCK_NULL,
		.null_bytes = 1 << 20,
		.fault = "delay:1ms+fail:read+log:faults-log-test.log",
	};
	struct block *block, *twin;
	struct diag diag;
	unsigned int n = 1;
	int err;

	do {
		fault_arm(n++);
		err = block_open(&config, &block, &diag);
		assert_true(err == 0 || err == -ENOMEM);
	} while (err);
	assert_true(n > 5);
	n = 1;
	do {
		fault_arm(n++);
		err = block_twin(block, &twin);
		assert_true(err == 0 || err == -ENOMEM);
	} while (err);
	fault_arm(0);
	assert_true(n > 5);
	block_close(twin);
	block_close(block);
	unlink("faults-log-test.log");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(right_words_are_taken),
		cmocka_unit_test(wrong_words_are_refused_with_a_sentence),
		cmocka_unit_test(fail_words_mean_what_they_say),
		cmocka_unit_test(delay_words_mean_what_they_say),
		cmocka_unit_test(both_places_have_layers),
		cmocka_unit_test(a_file_grows_through_its_layers),
		cmocka_unit_test(log_has_a_line_for_each_request),
		cmocka_unit_test(a_flood_is_logged_or_counted),
		cmocka_unit_test(a_log_that_cannot_be_written_costs_lines_only),
		cmocka_unit_test(a_log_has_to_be_a_file),
		cmocka_unit_test(no_memory_leaves_nothing),
	};

	return cmocka_run_group_tests_name("block/faults", tests, NULL, NULL);
}

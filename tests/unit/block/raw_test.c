/* SPDX-License-Identifier: MIT */
/* Raw disks over real files: what open says, I/O of any alignment, errors of the host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "unit/block/rig.h"

#define DISK_BYTES (4U << 20)

/* ---- opening ----------------------------------------------------------------------------------- */

static int try_open(const char *path, bool read_only, struct diag *diag)
{
	struct block_config config = { .kind = BLOCK_RAW, .path = path, .read_only = read_only };
	struct block *block = NULL;
	int err = block_open(&config, &block, diag);

	if (!err) {
		block_close(block);
	} else {
		assert_null(block);
		assert_non_null(strstr(diag->text, path)); /* it names the file */
		assert_int_not_equal(diag->text[strlen(diag->text) - 1], '.');
	}
	return err;
}

static void open_says_what_is_wrong(void **state)
{
	struct diag diag;
	struct rig rig;

	rig_create(&rig, DISK_BYTES);
	assert_int_equal(try_open(rig.path, false, &diag), 0);
	assert_int_equal(try_open("no-such-disk", false, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "does not exist"));
	assert_int_equal(try_open("/", false, &diag), -EISDIR);
	assert_int_equal(try_open("/dev/null", true, &diag), -EINVAL);
	assert_int_equal(ftruncate(rig.file, 1000), 0);
	assert_int_equal(try_open(rig.path, false, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "512"));
	assert_int_equal(ftruncate(rig.file, 0), 0);
	assert_int_equal(try_open(rig.path, false, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "empty"));
	if (geteuid() != 0) {
		assert_int_equal(fchmod(rig.file, 0444), 0);
		assert_int_equal(try_open(rig.path, false, &diag), -EACCES);
		assert_non_null(strstr(diag.text, "readonly=on"));
	}
	rig_destroy(&rig);
}

static void one_writer_or_many_readers(void **state)
{
	struct block *a, *b;
	struct diag diag;
	struct rig rig;

	rig_create(&rig, DISK_BYTES);
	a = rig_open(&rig, false, false);
	assert_int_equal(try_open(rig.path, false, &diag), -EBUSY);
	assert_non_null(strstr(diag.text, "in use"));
	assert_int_equal(try_open(rig.path, true, &diag), -EBUSY);
	block_close(a);
	a = rig_open(&rig, true, false);
	b = rig_open(&rig, true, false);
	assert_int_equal(try_open(rig.path, false, &diag), -EBUSY);
	block_close(a);
	block_close(b);
	assert_int_equal(try_open(rig.path, false, &diag), 0);
	rig_destroy(&rig);
}

static void identity_is_stable(void **state)
{
	struct block *block;
	char before[BLOCK_IDENTITY_BYTES];
	struct rig rig;

	rig_create(&rig, DISK_BYTES);
	block = rig_open(&rig, false, false);
	assert_int_equal(block_info(block)->bytes, DISK_BYTES);
	assert_int_equal(block_info(block)->logical_block_bytes, 512);
	strcpy(before, block_info(block)->identity);
	assert_int_equal(strlen(before), 36);
	block_close(block);
	block = rig_open(&rig, true, false);
	assert_string_equal(block_info(block)->identity, before);
	assert_true(block_info(block)->read_only);
	assert_false(block_info(block)->can_discard);
	block_close(block);
	rig_destroy(&rig);
}

/* ---- I/O ---------------------------------------------------------------------------------------- */

static uint8_t pattern(uint64_t i)
{
	return (uint8_t)(i * 13 + i / 509);
}

/* Memory at every alignment, in several pieces, in direct and in buffered mode. */
static void any_alignment_of_memory_works(void **state)
{
	static const size_t shifts[] = { 0, 512, 4, 1, 3583 };
	uint8_t *area = aligned_alloc(4096, 3 << 20);

	assert_non_null(area);
	for (int buffered = 0; buffered < 2; buffered++) {
		struct block *block;
		struct rig rig;

		rig_create(&rig, DISK_BYTES);
		block = rig_open(&rig, false, buffered);
		assert_int_equal(block_start(block, rig.loop), 0);
		for (size_t i = 0; i < ARRAY_SIZE(shifts); i++) {
			uint8_t *out = area + shifts[i], *in = area + (2 << 20) + shifts[i];
			uint64_t at = (i + 1) * 4608;
			size_t bytes = i == 3 ? 700 * 1024 : 8192; /* also larger than a bounce */
			struct rig_request request = {
				.iov = { { in, 100 },
					 { in + 100, 412 },
					 { in + 512, bytes - 512 } },
			};

			for (size_t k = 0; k < bytes; k++) {
				out[k] = pattern(k + i);
			}
			memset(in, 0, bytes);
			assert_int_equal(rig_io(&rig, block, BLOCK_WRITE, at, out, bytes), 0);
			request.block.iov = request.iov;
			request.block.iov_count = 3;
			rig_submit(block, &request, BLOCK_READ, at, bytes);
			assert_int_equal(rig_wait(&rig, &request), 0);
			assert_memory_equal(in, out, bytes);
		}
		if (block_is_direct(block)) {
			assert_true(block_read_stats(block)->bounced > 0);
		} else {
			assert_int_equal(block_read_stats(block)->bounced, 0);
		}
		rig_stop(&rig, block);
		block_close(block);
		rig_destroy(&rig);
	}
	free(area);
}

/* More misaligned requests at once than there are bounce buffers. */
static void bounce_buffers_are_shared(void **state)
{
	enum { COUNT = 32, BYTES = 384 << 10 };
	struct rig_request *requests = calloc(COUNT, sizeof(*requests));
	uint8_t *area = aligned_alloc(4096, (size_t)COUNT * (BYTES + 4096));
	struct block *block;
	struct rig rig;

	assert_non_null(area);
	rig_create(&rig, (uint64_t)COUNT * BYTES);
	for (size_t i = 0; i < (size_t)COUNT * BYTES; i += 512) {
		uint8_t sector[512];

		memset(sector, pattern(i / 512), sizeof(sector));
		assert_int_equal(pwrite(rig.file, sector, 512, (off_t)i), 512);
	}
	block = rig_open(&rig, false, false);
	assert_int_equal(block_start(block, rig.loop), 0);
	for (size_t i = 0; i < COUNT; i++) {
		requests[i].iov[0] = (struct iovec){ area + i * (BYTES + 4096) + 1, BYTES };
		requests[i].block.iov = requests[i].iov;
		requests[i].block.iov_count = 1;
		rig_submit(block, &requests[i], BLOCK_READ, i * BYTES, BYTES);
	}
	for (size_t i = 0; i < COUNT; i++) {
		assert_int_equal(rig_wait(&rig, &requests[i]), 0);
		for (size_t k = 0; k < BYTES; k += 512) {
			assert_int_equal(area[i * (BYTES + 4096) + 1 + k],
					 pattern((i * BYTES + k) / 512));
		}
	}
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
	free(area);
	free(requests);
}

static void counters_tell(void **state)
{
	uint8_t *buf = aligned_alloc(4096, 8192);
	const struct block_stats *stats;
	struct block *block;
	struct rig rig;

	rig_create(&rig, DISK_BYTES);
	memset(buf, 1, 8192);
	block = rig_open(&rig, false, false);
	assert_int_equal(block_start(block, rig.loop), 0);
	assert_int_equal(rig_io(&rig, block, BLOCK_WRITE, 0, buf, 8192), 0);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 0, buf, 4096), 0);
	assert_int_equal(rig_io(&rig, block, BLOCK_FLUSH, 0, NULL, 0), 0);
	if (block_info(block)->can_discard) {
		assert_int_equal(rig_io(&rig, block, BLOCK_WRITE_ZEROES, 0, NULL, 512), 0);
		assert_int_equal(rig_io(&rig, block, BLOCK_DISCARD, 4096, NULL, 4096), 0);
		assert_int_equal(rig_io(&rig, block, BLOCK_READ, 0, buf, 8192), 0);
		for (size_t i = 0; i < 8192; i++) {
			assert_int_equal(buf[i], i < 512 || i >= 4096 ? 0 : 1);
		}
	}
	stats = block_read_stats(block);
	assert_int_equal(stats->writes, 1);
	assert_int_equal(stats->written_bytes, 8192);
	assert_true(stats->reads >= 1);
	assert_int_equal(stats->flushes, 1);
	assert_int_equal(stats->errors, 0);
	assert_int_equal(stats->in_flight, 0);
	assert_int_equal(stats->in_flight_max, 1);
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
	free(buf);
}

static void short_file_is_an_error_and_not_a_hang(void **state)
{
	uint8_t *buf = aligned_alloc(4096, 16384);
	struct rig rig;

	for (int buffered = 0; buffered < 2; buffered++) {
		struct block *block;

		rig_create(&rig, DISK_BYTES);
		block = rig_open(&rig, false, buffered);
		assert_int_equal(block_start(block, rig.loop), 0);
		assert_int_equal(ftruncate(rig.file, 8192 + 700), 0);
		assert_int_equal(rig_io(&rig, block, BLOCK_READ, 0, buf, 8192), 0);
		assert_int_equal(rig_io(&rig, block, BLOCK_READ, 4096, buf, 16384), -EIO);
		assert_int_equal(rig_io(&rig, block, BLOCK_READ, 65536, buf, 16384), -EIO);
		assert_int_equal(block_read_stats(block)->errors, 2);
		rig_stop(&rig, block);
		block_close(block);
		rig_destroy(&rig);
	}
	free(buf);
}

/* RLIMIT_FSIZE stands in for a full disk: the host refuses to make the file longer. */
static void refused_growth_is_reported_and_passes(void **state)
{
	struct rlimit old, limit;
	uint8_t *buf = aligned_alloc(4096, 8192);
	struct block *block;
	struct rig rig;

	rig_create(&rig, DISK_BYTES);
	memset(buf, 5, 8192);
	block = rig_open(&rig, false, false);
	assert_int_equal(block_start(block, rig.loop), 0);
	assert_int_equal(ftruncate(rig.file, 4096), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 8192;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(rig_io(&rig, block, BLOCK_WRITE, 65536, buf, 8192), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(rig_io(&rig, block, BLOCK_WRITE, 65536, buf, 8192), 0);
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
	free(buf);
}

/* The writer is killed: what it had flushed is there, and its lock is gone. */
static void killed_writer_leaves_its_data_and_no_lock(void **state)
{
	uint8_t in[4096];
	struct diag diag;
	int pipe_fds[2];
	struct rig rig;
	pid_t child;
	char c;

	rig_create(&rig, DISK_BYTES);
	assert_int_equal(pipe(pipe_fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when an assertion fails */

		uint8_t *buf = aligned_alloc(4096, 4096);
		struct block *block = rig_open(&rig, false, false);
		struct loop *loop;

		/* A loop of its own: one is not shared with a child. */
		if (loop_create("child", &loop, &diag)) {
			_exit(1);
		}
		rig.loop = loop;
		memset(buf, 0x5a, 4096);
		if (block_start(block, loop) || rig_io(&rig, block, BLOCK_WRITE, 8192, buf, 4096) ||
		    rig_io(&rig, block, BLOCK_FLUSH, 0, NULL, 0) ||
		    write(pipe_fds[1], "f", 1) != 1) {
			_exit(1);
		}
		pause();
		_exit(0);
	}
	close(pipe_fds[1]);
	assert_int_equal(read(pipe_fds[0], &c, 1), 1);
	assert_int_equal(try_open(rig.path, false, &diag), -EBUSY);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(pipe_fds[0]);
	assert_int_equal(pread(rig.file, in, sizeof(in), 8192), sizeof(in));
	for (size_t i = 0; i < sizeof(in); i++) {
		assert_int_equal(in[i], 0x5a);
	}
	assert_int_equal(try_open(rig.path, false, &diag), 0);
	rig_destroy(&rig);
}

/* ---- a host that is really full: a small tmpfs in a name space of its own ----------------------- */

#define SMALL_BYTES (1U << 20)

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0) {
		close(fd);
	}
	return ok;
}

/* Mounts that nobody else sees; in a user name space unless we are root. */
static bool enter_name_space(void)
{
	char users[32], groups[32];

	snprintf(users, sizeof(users), "0 %u 1", geteuid());
	snprintf(groups, sizeof(groups), "0 %u 1", getegid());
	if (geteuid() == 0) {
		return unshare(CLONE_NEWNS) == 0 &&
		       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	}
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
	       write_text("/proc/self/setgroups", "deny") &&
	       write_text("/proc/self/uid_map", users) && write_text("/proc/self/gid_map", groups);
}

/* Which step went wrong, for the exit status; 77: no such name space to be had. */
static int run_on_full_host(void)
{
	struct block_config config = { .kind = BLOCK_RAW, .path = "full/disk" };
	uint8_t *buf = aligned_alloc(4096, 65536);
	struct rig rig = { 0 };
	struct block *block;
	struct diag diag;
	int filler, written = 0, err = 0;

	if (!enter_name_space() || (mkdir("full", 0700) && errno != EEXIST) ||
	    mount("full", "full", "tmpfs", 0, "size=1m") != 0) {
		return 77;
	}
	filler = open("full/disk", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (filler < 0 || ftruncate(filler, 4 * SMALL_BYTES) ||
	    loop_create("full", &rig.loop, &diag)) {
		return 1;
	}
	close(filler);
	loop_work_init(&rig.stopped, rig_on_stopped);
	memset(buf, 1, 65536);
	if (block_open(&config, &block, &diag) || block_start(block, rig.loop)) {
		return 2;
	}
	while (!err && written < 64) {
		err = rig_io(&rig, block, BLOCK_WRITE, (uint64_t)written * 65536, buf, 65536);
		written += !err;
	}
	if (err != -ENOSPC || written == 0) {
		return 3;
	}
	/* Reading works on, and so does writing once there is room. */
	if (rig_io(&rig, block, BLOCK_READ, 0, buf, 65536) || buf[65535] != 1) {
		return 4;
	}
	if (mount("full", "full", "tmpfs", MS_REMOUNT, "size=8m") != 0 ||
	    rig_io(&rig, block, BLOCK_WRITE, (uint64_t)written * 65536, buf, 65536)) {
		return 5;
	}
	rig_stop(&rig, block);
	block_close(block);
	loop_destroy(rig.loop);
	free(buf);
	return 0;
}

static void full_host_gives_an_error_and_then_works_on(void **state)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		_exit(run_on_full_host());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	rmdir("full");
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77) {
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(open_says_what_is_wrong),
		cmocka_unit_test(one_writer_or_many_readers),
		cmocka_unit_test(identity_is_stable),
		cmocka_unit_test(any_alignment_of_memory_works),
		cmocka_unit_test(bounce_buffers_are_shared),
		cmocka_unit_test(counters_tell),
		cmocka_unit_test(short_file_is_an_error_and_not_a_hang),
		cmocka_unit_test(refused_growth_is_reported_and_passes),
		cmocka_unit_test(killed_writer_leaves_its_data_and_no_lock),
		cmocka_unit_test(full_host_gives_an_error_and_then_works_on),
	};

	return cmocka_run_group_tests_name("block/raw", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Policies: how much passes, who passes next, and what is never delayed. Times are bounded from below. */
#include <semaphore.h>
#include <time.h>

#include "base/fault.h"
#include "block/qos.h"
#include "unit/block/rig.h"

#define DISK_BYTES (1U << 20)
#define MS         1000000ULL

static struct qos_policy *make_policy(uint64_t iops, uint64_t iops_burst, uint64_t bytes,
				      uint64_t bytes_burst)
{
	const struct qos_limits limits = { iops, iops_burst, bytes, bytes_burst };
	struct qos_policy *policy;

	assert_int_equal(qos_policy_create(&limits, &policy), 0);
	return policy;
}

static struct qos_stats read_stats(struct qos_policy *policy)
{
	struct qos_limits limits;
	struct qos_stats stats;

	qos_policy_read(policy, &limits, &stats);
	return stats;
}

static struct block *open_disk(struct qos_policy *first, struct qos_policy *second)
{
	struct qos_policy *policies[] = { first, second };
	struct block_config config = {
		.kind = BLOCK_NULL,
		.null_bytes = DISK_BYTES,
		.qos = policies,
		.qos_count = second ? 2 : 1,
	};
	struct block *block;
	struct diag diag;

	if (block_open(&config, &block, &diag)) {
		fail_msg("%s", diag.text);
	}
	return block;
}

struct set {
	struct rig rig;
	struct qos_policy *policy;
	struct block *block;
	uint8_t *buf;
	struct rig_request requests[1024];
};

static struct set set;

static void set_create(struct qos_policy *policy)
{
	memset(&set, 0, sizeof(set));
	rig_create(&set.rig, 512);
	set.policy = policy;
	set.block = open_disk(policy, NULL);
	set.buf = malloc(DISK_BYTES);
	assert_string_equal(block_name(set.block), "qos");
	assert_int_equal(block_start(set.block, set.rig.loop), 0);
}

static void set_destroy(void)
{
	rig_stop(&set.rig, set.block);
	block_close(set.block);
	qos_policy_destroy(set.policy);
	rig_destroy(&set.rig);
	free(set.buf);
}

/* Requests from `first` on, at once. */
static void submit_many(unsigned int first, unsigned int count, enum block_op op, uint64_t bytes)
{
	for (unsigned int i = first; i < first + count; i++) {
		struct rig_request *request = &set.requests[i];

		request->iov[0] = (struct iovec){ set.buf, bytes };
		request->block.iov = request->iov;
		request->block.iov_count = 1;
		rig_submit(set.block, request, op, 0, bytes);
	}
}

static void wait_many(unsigned int first, unsigned int count)
{
	for (unsigned int i = first; i < first + count; i++) {
		assert_int_equal(rig_wait(&set.rig, &set.requests[i]), 0);
	}
}

static uint64_t time_many(unsigned int count, enum block_op op, uint64_t bytes)
{
	uint64_t began = loop_now_ns();

	submit_many(0, count, op, bytes);
	wait_many(0, count);
	return loop_now_ns() - began;
}

static void operations_are_counted_in_8_kib(void **state)
{
	static const struct {
		enum block_op op;
		uint64_t bytes, operations;
	} cases[] = {
		{ BLOCK_READ, 512, 1 },
		{ BLOCK_READ, 8192, 1 },
		{ BLOCK_WRITE, 8192 + 512, 2 },
		{ BLOCK_WRITE, 65536, 8 },
		{ BLOCK_DISCARD, DISK_BYTES, 1 },
		{ BLOCK_WRITE_ZEROES, 512, 1 },
		{ BLOCK_FLUSH, 0, 0 },
		{ BLOCK_MAP, 65536, 0 },
	};

	set_create(make_policy(0, 0, 0, 0));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool transfers = cases[i].op == BLOCK_READ || cases[i].op == BLOCK_WRITE;
		struct qos_stats before = read_stats(set.policy), after;

		time_many(1, cases[i].op, cases[i].bytes);
		after = read_stats(set.policy);
		assert_int_equal(after.operations - before.operations, cases[i].operations);
		assert_int_equal(after.bytes - before.bytes, transfers ? cases[i].bytes : 0);
		assert_int_equal(after.delayed, 0);
		assert_int_equal(after.waiting, 0);
	}
	set_destroy();
}

static void rates_are_kept(void **state)
{
	uint64_t ns;

	set_create(make_policy(1000, 1, 0, 0)); /* 300 requests need 299 ms */
	ns = time_many(300, BLOCK_READ, 512);
	assert_in_range(ns, 299 * MS, 3000 * MS);
	assert_true(read_stats(set.policy).delayed >= 298);
	set_destroy();

	set_create(make_policy(1000, 1, 0, 0)); /* of 24 KiB each: three times that */
	ns = time_many(100, BLOCK_READ, 24576);
	assert_in_range(ns, 297 * MS, 3000 * MS);
	set_destroy();

	set_create(make_policy(0, 0, 1 << 20, 4096)); /* 75 × 4 KiB at 1 MiB/s */
	ns = time_many(76, BLOCK_WRITE, 4096);
	assert_in_range(ns, 292 * MS, 3000 * MS);
	set_destroy();
}

static void a_burst_passes_after_a_rest(void **state)
{
	uint64_t ns;

	set_create(make_policy(100, 50, 0, 0));
	ns = time_many(50, BLOCK_READ, 512); /* the bucket was full */
	assert_int_equal(read_stats(set.policy).delayed, 0);
	assert_true(ns < 1000 * MS);
	ns = time_many(20, BLOCK_READ, 512); /* and is empty: less than 50 × 10 ms have passed */
	assert_true(ns >= 100 * MS);
	assert_true(read_stats(set.policy).delayed > 0);
	set_destroy();

	/* One that is larger than the bucket passes when that is full, and the next pays for it. */
	set_create(make_policy(0, 0, 1 << 20, 4096));
	assert_true(time_many(1, BLOCK_READ, 262144) < 200 * MS);
	ns = time_many(1, BLOCK_READ, 512);
	assert_in_range(ns, 200 * MS, 3000 * MS); /* of 250 */
	set_destroy();
}

static void changes_are_in_force_at_once(void **state)
{
	const struct qos_limits none = { 0 }, slow = { .iops = 1, .iops_burst = 1 };
	struct qos_limits limits;
	struct qos_stats stats;
	uint64_t began;

	set_create(make_policy(1, 1, 0, 0));
	began = loop_now_ns();
	submit_many(0, 100, BLOCK_READ, 512);
	for (int i = 0; i < 10; i++) {
		loop_turn(set.rig.loop);
	}
	assert_true(set.requests[0].is_done);
	assert_false(set.requests[1].is_done);
	qos_policy_read(set.policy, &limits, &stats);
	assert_int_equal(limits.iops, 1);
	assert_int_equal(stats.waiting, 99);
	assert_int_equal(stats.operations, 1);
	qos_policy_set(set.policy, &none);
	wait_many(0, 100);
	assert_true(loop_now_ns() - began < 20000 * MS);
	assert_int_equal(read_stats(set.policy).waiting, 0);

	/* And back. */
	qos_policy_set(set.policy, &slow);
	submit_many(0, 3, BLOCK_READ, 512);
	for (int i = 0; i < 100; i++) {
		loop_turn(set.rig.loop);
	}
	assert_false(set.requests[2].is_done);
	/* Faster, but limited: what is missing is made up for at the new rate. */
	qos_policy_set(set.policy, &(struct qos_limits){ .iops = 1000 });
	wait_many(0, 3);
	set_destroy();
}

static void flushes_are_never_delayed(void **state)
{
	set_create(make_policy(1, 1, 1, 1));
	submit_many(0, 10, BLOCK_WRITE, 4096);
	submit_many(10, 3, BLOCK_FLUSH, 0);
	wait_many(10, 3);
	assert_false(set.requests[9].is_done);
	set_destroy(); /* stopping does not wait for the policy either */
	for (int i = 0; i < 10; i++) {
		assert_true(set.requests[i].is_done);
	}
}

static void every_policy_of_a_disk_applies(void **state)
{
	struct qos_policy *own = make_policy(200, 1, 0, 0),
			  *shared = make_policy(0, 0, 1 << 20, 512);
	struct block *block = open_disk(own, shared);
	uint64_t began;
	struct rig rig;

	memset(&set, 0, sizeof(set));
	rig_create(&rig, 512);
	set.rig = rig;
	set.block = block;
	set.buf = malloc(DISK_BYTES);
	assert_int_equal(block_start(block, rig.loop), 0);
	began = loop_now_ns();
	submit_many(0, 41, BLOCK_READ, 512); /* 40 × 5 ms by operations, 20 ms by bytes */
	wait_many(0, 41);
	assert_in_range(loop_now_ns() - began, 200 * MS, 3000 * MS);
	began = loop_now_ns();
	submit_many(0, 3, BLOCK_READ, 131072); /* 3 × 80 ms by operations, 3 × 125 ms by bytes */
	wait_many(0, 3);
	assert_true(loop_now_ns() - began >= 240 * MS);
	assert_int_equal(read_stats(own).operations, 41 + 48);
	assert_int_equal(read_stats(shared).operations, 41 + 48);
	rig_stop(&rig, block);
	block_close(block);
	assert_int_equal(read_stats(shared).operations, 41 + 48); /* what is gone stays counted */
	qos_policy_destroy(own);
	qos_policy_destroy(shared);
	rig_destroy(&rig);
	free(set.buf);
}

/* ---- who shares a policy takes turns: users on threads of their own ---- */

#define DEPTH_MAX 64

struct user;

struct load {
	struct block_request request;
	struct iovec iov;
	struct user *user;
	unsigned int others; /* how much the other had got when this began */
};

struct user {
	struct loop *loop;
	struct block *block;
	struct user *other;
	unsigned int depth, busy;
	uint64_t bytes;
	unsigned int worst; /* how much the other got at most while one of ours waited */
	_Atomic(unsigned int) done;
	atomic_bool quit;
	unsigned int enough;
	struct load loads[DEPTH_MAX];
	uint8_t buf[65536];
	struct loop_work stopped;
	sem_t event, gone;
	int result;
};

static void load_submit(struct load *load)
{
	struct user *user = load->user;

	load->others = user->other ? user->other->done : 0;
	load->iov = (struct iovec){ user->buf, user->bytes };
	load->request.op = BLOCK_READ;
	load->request.length_bytes = user->bytes;
	load->request.iov = &load->iov;
	load->request.iov_count = 1;
	block_submit(user->block, &load->request);
}

static void load_on_done(struct block_request *request, int result)
{
	struct load *load = container_of(request, struct load, request);
	struct user *user = load->user;

	check(result == 0 && loop_is_here(user->loop));
	if (user->other && user->done > 5) {
		unsigned int others = user->other->done - load->others;

		user->worst = others > user->worst ? others : user->worst;
	}
	user->done++;
	if (user->enough && user->done == user->enough) {
		sem_post(&user->event);
	}
	if (!user->quit) {
		load_submit(load);
	} else if (--user->busy == 0) {
		sem_post(&user->event);
	}
}

static void on_begin(void *arg)
{
	struct user *user = arg;

	user->busy = user->depth;
	for (unsigned int i = 0; i < user->depth; i++) {
		user->loads[i].user = user;
		user->loads[i].request.done = load_on_done;
		load_submit(&user->loads[i]);
	}
}

static void on_start(void *arg)
{
	struct user *user = arg;

	user->result = block_start(user->block, user->loop);
}

static void on_stop(void *arg)
{
	struct user *user = arg;

	block_stop(user->block, &user->stopped);
}

static void user_on_stopped(struct loop_work *work)
{
	sem_post(&container_of(work, struct user, stopped)->gone);
}

static void user_create(struct user *user, struct block *block, unsigned int depth, uint64_t bytes)
{
	struct diag diag;

	memset(user, 0, sizeof(*user));
	user->block = block;
	user->depth = depth;
	user->bytes = bytes;
	sem_init(&user->event, 0, 0);
	sem_init(&user->gone, 0, 0);
	loop_work_init(&user->stopped, user_on_stopped);
	assert_int_equal(loop_create("user", &user->loop, &diag), 0);
	assert_int_equal(loop_start_thread(user->loop, &diag), 0);
	loop_call(user->loop, on_start, user);
	assert_int_equal(user->result, 0);
}

static void user_finish(struct user *user)
{
	user->quit = true;
	sem_wait(&user->event);
}

static void user_destroy(struct user *user)
{
	loop_call(user->loop, on_stop, user);
	sem_wait(&user->gone);
	block_close(user->block);
	loop_stop_thread(user->loop);
	loop_destroy(user->loop);
	sem_destroy(&user->event);
	sem_destroy(&user->gone);
}

static struct user flooder, second, small;

static void a_flooder_does_not_starve_a_small_one(void **state)
{
	struct qos_policy *policy = make_policy(500, 1, 0, 0);
	unsigned int done;

	user_create(&flooder, open_disk(policy, NULL), DEPTH_MAX, 512);
	user_create(&small, open_disk(policy, NULL), 1, 512);
	small.other = &flooder;
	small.enough = 100;
	loop_call(flooder.loop, on_begin, &flooder);
	loop_call(small.loop, on_begin, &small);
	sem_wait(&small.event);
	done = flooder.done;
	user_finish(&flooder);
	user_finish(&small);
	/*
	 * In turn: each of its requests waits for one of the flooder's, or two when that had just asked,
	 * plus what was let through but not yet seen by its thread.
	 */
	assert_true(small.worst <= 10);
	assert_true(done <= 4 * small.enough);
	user_destroy(&flooder);
	user_destroy(&small);
	qos_policy_destroy(policy);
}

/* Equal depths get equal shares; a disk with two ends gets one. */
static void shares_are_of_disks_and_not_of_ends(void **state)
{
	struct qos_policy *policy = make_policy(1000, 1, 0, 0);
	struct block *disk = open_disk(policy, NULL), *twin;
	unsigned int two_ends, one_end;

	assert_int_equal(block_twin(disk, &twin), 0);
	user_create(&flooder, disk, 16, 512);
	user_create(&second, twin, 16, 512);
	user_create(&small, open_disk(policy, NULL), 16, 512);
	small.enough = 300;
	loop_call(flooder.loop, on_begin, &flooder);
	loop_call(second.loop, on_begin, &second);
	loop_call(small.loop, on_begin, &small);
	sem_wait(&small.event);
	two_ends = flooder.done + second.done;
	one_end = small.done;
	if (two_ends < one_end * 3 / 4 || two_ends > one_end * 4 / 3) {
		fail_msg("%u of two ends, %u of one", two_ends, one_end);
	}
	assert_true(flooder.done > 50 && second.done > 50);
	user_finish(&flooder);
	user_finish(&second);
	user_finish(&small);
	user_destroy(&second);
	user_destroy(&flooder);
	user_destroy(&small);
	assert_true(read_stats(policy).operations >= two_ends + one_end);
	qos_policy_destroy(policy);
}

/* Limits come and go, disks and policies are shared by three threads: nothing hangs and nothing is lost. */
static void anything_goes_at_any_time(void **state)
{
	struct qos_policy *own = make_policy(0, 0, 0, 0), *shared = make_policy(0, 0, 0, 0);
	struct block *disk = open_disk(own, shared), *twin;
	unsigned int before;

	assert_int_equal(block_twin(disk, &twin), 0);
	user_create(&flooder, disk, 32, 65536);
	user_create(&second, twin, 7, 512);
	user_create(&small, open_disk(shared, NULL), 1, 8192);
	loop_call(flooder.loop, on_begin, &flooder);
	loop_call(second.loop, on_begin, &second);
	loop_call(small.loop, on_begin, &small);
	for (unsigned int i = 0; i < 300; i++) {
		static const struct qos_limits kinds[] = {
			{ .iops = 20000 },
			{ 0 },
			{ .bytes_per_s = 200 << 20, .bytes_burst = 512 },
			{ .iops = 1 },
			{ .iops = 100000, .iops_burst = 1, .bytes_per_s = 1ULL << 40 },
			{ .iops = ~0ULL, .bytes_per_s = ~0ULL },
		};

		qos_policy_set(i & 1 ? own : shared, &kinds[i % 7 % ARRAY_SIZE(kinds)]);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	qos_policy_set(own, &(struct qos_limits){ 0 });
	qos_policy_set(shared, &(struct qos_limits){ .iops = 50000 });
	before = small.done;
	while (small.done < before + 100) {
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	/* The twin goes with its requests still waiting, and nobody is left behind. */
	qos_policy_set(shared, &(struct qos_limits){ .iops = 1, .iops_burst = 1 });
	second.quit = flooder.quit = small.quit = true;
	user_destroy(&second);
	qos_policy_set(shared, &(struct qos_limits){ 0 });
	sem_wait(&flooder.event);
	sem_wait(&small.event);
	user_destroy(&flooder);
	user_destroy(&small);
	qos_policy_destroy(own);
	qos_policy_destroy(shared);
}

static void no_memory_leaves_nothing(void **state)
{
	struct qos_policy *policy = NULL;
	struct qos_policy *policies[5];
	struct block_config config = {
		.kind = BLOCK_NULL,
		.null_bytes = DISK_BYTES,
		.qos = policies,
		.qos_count = 5,
	};
	const struct qos_limits limits = { 0 };
	struct block *block, *twin;
	unsigned int n = 1;
	struct diag diag;
	int err;

	fault_arm(1);
	assert_int_equal(qos_policy_create(&limits, &policy), -ENOMEM);
	fault_arm(0);
	assert_int_equal(qos_policy_create(&limits, &policy), 0);
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		policies[i] = policy;
	}
	assert_int_equal(block_open(&config, &block, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "at most 4"));
	config.qos_count = 1;
	do {
		fault_arm(n++);
		err = block_open(&config, &block, &diag);
		assert_true(err == 0 || err == -ENOMEM);
	} while (err);
	n = 1;
	do {
		fault_arm(n++);
		err = block_twin(block, &twin);
		assert_true(err == 0 || err == -ENOMEM);
	} while (err);
	fault_arm(0);
	block_close(twin);
	block_close(block);
	qos_policy_destroy(policy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operations_are_counted_in_8_kib),
		cmocka_unit_test(rates_are_kept),
		cmocka_unit_test(a_burst_passes_after_a_rest),
		cmocka_unit_test(changes_are_in_force_at_once),
		cmocka_unit_test(flushes_are_never_delayed),
		cmocka_unit_test(every_policy_of_a_disk_applies),
		cmocka_unit_test(a_flooder_does_not_starve_a_small_one),
		cmocka_unit_test(shares_are_of_disks_and_not_of_ends),
		cmocka_unit_test(anything_goes_at_any_time),
		cmocka_unit_test(no_memory_leaves_nothing),
	};

	return cmocka_run_group_tests_name("block/qos", tests, NULL, NULL);
}

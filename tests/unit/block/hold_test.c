/* SPDX-License-Identifier: MIT */
/* Requests that fail for a while: held, tried again, given up. */
#include "base/fault.h"
#include "block/block_impl.h"
#include "unit/block/rig.h"

#define DISK_BYTES (1U << 20)

/*
 * A back end for these tests: fails what it is told to, and leaves the iovecs of what it fails in a state that
 * no other try could use.
 */
struct flaky {
	struct block block;
	uint8_t bytes[DISK_BYTES];
	int err;           /* of each request from now on; 0: serve */
	unsigned int fail; /* so many; then serve. ~0: all */
	unsigned int tries;
};

static void flaky_move(struct flaky *flaky, struct block_request *request)
{
	uint64_t at = request->offset_bytes;

	for (int i = 0; i < request->iov_count; i++) {
		uint8_t *memory = request->iov[i].iov_base;

		if (request->op == BLOCK_READ) {
			memcpy(memory, flaky->bytes + at, request->iov[i].iov_len);
		} else {
			memcpy(flaky->bytes + at, memory, request->iov[i].iov_len);
		}
		at += request->iov[i].iov_len;
	}
	assert_int_equal(at - request->offset_bytes, request->length_bytes);
}

static void flaky_submit(struct block *block, struct block_request *request)
{
	struct flaky *flaky = container_of(block, struct flaky, block);
	bool transfers = request->op == BLOCK_READ || request->op == BLOCK_WRITE;

	flaky->tries++;
	if (flaky->fail > 0) {
		flaky->fail -= flaky->fail != ~0U;
		for (int i = 0; transfers && i < request->iov_count; i++) {
			request->iov[i] = (struct iovec){ NULL, 1 };
		}
		request->iov = NULL;
		request->iov_count = -1;
		block_complete_later(block, request, flaky->err);
		return;
	}
	if (transfers) {
		flaky_move(flaky, request);
	}
	block_complete_later(block, request, 0);
}

static void flaky_close(struct block *block)
{
	free(container_of(block, struct flaky, block));
}

static const struct block_ops flaky_ops = {
	.name = "flaky",
	.submit = flaky_submit,
	.close = flaky_close,
};

#include "block/hold.h"

struct set {
	struct rig rig;
	struct flaky *flaky;
	struct block *block;
	unsigned int stops;
	int stop_err;
};

static void on_stop(void *ctx, int err)
{
	struct set *set = ctx;

	set->stops++;
	set->stop_err = err;
}

static void set_create(struct set *set, enum block_on_error on_error)
{
	struct block_config config = {
		.on_error = on_error,
		.on_stop = on_stop,
		.on_stop_ctx = set,
	};
	struct diag diag;

	memset(set, 0, sizeof(*set));
	rig_create(&set->rig, 512);
	set->flaky = calloc(1, sizeof(*set->flaky));
	block_init(&set->flaky->block, &flaky_ops);
	set->flaky->block.info = (struct block_info){
		.bytes = DISK_BYTES,
		.logical_block_bytes = 512,
		.can_discard = true,
		.can_write_zeroes = true,
	};
	assert_int_equal(block_hold_create(&config, &set->flaky->block, &set->block, &diag), 0);
	assert_int_equal(block_start(set->block, set->rig.loop), 0);
}

static void set_destroy(struct set *set)
{
	rig_stop(&set->rig, set->block);
	block_close(set->block);
	rig_destroy(&set->rig);
}

static void set_fail(struct set *set, unsigned int count, int err)
{
	set->flaky->fail = count;
	set->flaky->err = err;
}

static void submit(struct set *set, struct rig_request *request, enum block_op op, uint64_t offset,
		   uint8_t *buf, uint64_t bytes)
{
	*request = (struct rig_request){
		.iov = { { buf, 100 }, { buf + 100, 412 }, { buf + 512, bytes - 512 } }
	};
	request->block.iov = request->iov;
	request->block.iov_count = 3;
	rig_submit(set->block, request, op, offset, bytes);
}

static void turn(struct set *set)
{
	for (int i = 0; i < 10; i++) {
		loop_turn(set->rig.loop);
	}
}

static void stop_holds_until_retry(void **state)
{
	struct rig_request requests[8];
	uint8_t out[4096], in[4096];
	struct set set;

	set_create(&set, BLOCK_STOP);
	for (size_t i = 0; i < sizeof(out); i++) {
		out[i] = (uint8_t)(i * 7);
	}
	set_fail(&set, ~0U, -ENOSPC);
	for (unsigned int i = 0; i < 8; i++) {
		submit(&set, &requests[i], BLOCK_WRITE, i * 4096, out, 4096);
	}
	turn(&set);
	assert_int_equal(block_held(set.block), 8);
	assert_int_equal(set.stops, 1); /* once, not once for each */
	assert_int_equal(set.stop_err, -ENOSPC);

	/* In vain: a new transition. */
	set_fail(&set, ~0U, -EIO);
	block_retry(set.block);
	turn(&set);
	assert_int_equal(block_held(set.block), 8);
	assert_int_equal(set.stops, 2);
	assert_int_equal(set.stop_err, -EIO);
	assert_int_equal(set.flaky->tries, 16);

	/* Some pass, and one has to wait for the next time. */
	set_fail(&set, 1, -EIO);
	block_retry(set.block);
	turn(&set);
	assert_int_equal(block_held(set.block), 1);
	assert_int_equal(set.stops, 3);
	assert_false(requests[0].is_done);
	block_retry(set.block);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(rig_wait(&set.rig, &requests[i]), 0);
	}
	assert_int_equal(block_held(set.block), 0);
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(rig_io(&set.rig, set.block, BLOCK_READ, i * 4096, in, 4096), 0);
		assert_memory_equal(in, out, 4096);
	}
	assert_int_equal(block_read_stats(set.block)->errors, 0);
	set_destroy(&set);
}

static void reads_flushes_and_others_are_held_too(void **state)
{
	static const enum block_op ops[] = { BLOCK_READ, BLOCK_FLUSH, BLOCK_DISCARD,
					     BLOCK_WRITE_ZEROES, BLOCK_MAP };
	struct rig_request request;
	uint8_t buf[4096];
	struct set set;

	set_create(&set, BLOCK_STOP);
	memset(set.flaky->bytes, 9, sizeof(set.flaky->bytes));
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		memset(buf, 0, sizeof(buf));
		set_fail(&set, 1, -ETIMEDOUT);
		submit(&set, &request, ops[i], ops[i] == BLOCK_FLUSH ? 0 : 8192, buf, 4096);
		turn(&set);
		assert_int_equal(block_held(set.block), 1);
		assert_int_equal(set.stops, i + 1);
		block_retry(set.block);
		assert_int_equal(rig_wait(&set.rig, &request), 0);
	}
	set_fail(&set, 1, -EIO);
	submit(&set, &request, BLOCK_READ, 8192, buf, 4096);
	turn(&set);
	block_retry(set.block);
	assert_int_equal(rig_wait(&set.rig, &request), 0);
	assert_int_equal(buf[0], 9);
	assert_int_equal(buf[4095], 9);
	set_destroy(&set);
}

static void mistakes_are_reported_at_once(void **state)
{
	static const int errs[] = { -EINVAL, -EOPNOTSUPP, -EROFS, -ECANCELED, -ENOTRECOVERABLE };
	uint8_t buf[512];
	struct set set;

	set_create(&set, BLOCK_STOP);
	for (size_t i = 0; i < ARRAY_SIZE(errs); i++) {
		set_fail(&set, 1, errs[i]);
		assert_int_equal(rig_io(&set.rig, set.block, BLOCK_READ, 0, buf, 512), errs[i]);
	}
	assert_int_equal(rig_io(&set.rig, set.block, BLOCK_READ, DISK_BYTES, buf, 512), -EINVAL);
	assert_int_equal(set.stops, 0);
	set_destroy(&set);
}

static void retry_tries_by_itself_and_ever_more_slowly(void **state)
{
	struct rig_request request;
	uint64_t began, took;
	uint8_t buf[512];
	struct set set;

	set_create(&set, BLOCK_RETRY);
	set_fail(&set, 3, -ENODEV);
	began = loop_now_ns();
	submit(&set, &request, BLOCK_READ, 0, buf, 512);
	assert_int_equal(rig_wait(&set.rig, &request), 0);
	took = loop_now_ns() - began;
	assert_int_equal(set.flaky->tries, 4);
	assert_true(took >= 700000000); /* 100 + 200 + 400 ms */
	assert_true(took < 3000000000);
	assert_int_equal(set.stops, 0);

	/* The next trouble begins with short times again, and block_retry() does not wait. */
	set_fail(&set, 1, -ENODEV);
	began = loop_now_ns();
	submit(&set, &request, BLOCK_READ, 0, buf, 512);
	assert_int_equal(rig_wait(&set.rig, &request), 0);
	took = loop_now_ns() - began;
	assert_true(took >= 100000000 && took < 390000000);
	set_fail(&set, 1, -ENODEV);
	began = loop_now_ns();
	submit(&set, &request, BLOCK_READ, 0, buf, 512);
	turn(&set);
	assert_int_equal(block_held(set.block), 1);
	block_retry(set.block);
	assert_int_equal(rig_wait(&set.rig, &request), 0);
	assert_true(loop_now_ns() - began < 100000000);
	set_destroy(&set);
}

static void given_up_requests_are_cancelled_and_later_ones_are_not(void **state)
{
	struct rig_request held[3], later;
	uint8_t buf[4096];
	struct set set;

	for (int mode = BLOCK_STOP; mode <= BLOCK_RETRY; mode++) {
		set_create(&set, (enum block_on_error)mode);
		set_fail(&set, ~0U, -EIO);
		submit(&set, &held[0], BLOCK_READ, 0, buf, 4096);
		submit(&set, &held[1], BLOCK_WRITE, 0, buf, 4096);
		turn(&set);
		assert_int_equal(block_held(set.block), 2);
		/* One is below at that moment, and fails afterwards. */
		submit(&set, &held[2], BLOCK_WRITE, 0, buf, 4096);
		block_give_up(set.block);
		for (int i = 0; i < 3; i++) {
			assert_false(held[i].is_done); /* never from within */
		}
		for (int i = 0; i < 3; i++) {
			assert_int_equal(rig_wait(&set.rig, &held[i]), -ECANCELED);
		}
		assert_int_equal(block_held(set.block), 0);
		submit(&set, &later, BLOCK_READ, 0, buf, 4096);
		turn(&set);
		assert_int_equal(block_held(set.block), 1);
		if (mode == BLOCK_STOP) {
			assert_int_equal(set.stops, 2);
		}
		set_fail(&set, 0, 0);
		block_retry(set.block);
		assert_int_equal(rig_wait(&set.rig, &later), 0);
		set_destroy(&set);
	}
}

/* Stopping waits for what is held, and goes on when that ends. */
static void stop_waits_until_the_held_end(void **state)
{
	struct rig_request request;
	uint8_t buf[512];
	struct set set;

	for (int retry = 0; retry < 2; retry++) {
		set_create(&set, BLOCK_STOP);
		set_fail(&set, 1, -EIO);
		submit(&set, &request, BLOCK_WRITE, 0, buf, 512);
		turn(&set);
		block_stop(set.block, &set.rig.stopped);
		turn(&set);
		assert_false(set.rig.is_stopped || request.is_done);
		if (retry) {
			block_retry(set.block);
		} else {
			block_give_up(set.block);
		}
		assert_int_equal(rig_wait(&set.rig, &request), retry ? 0 : -ECANCELED);
		turn(&set);
		assert_true(set.rig.is_stopped);
		block_close(set.block);
		rig_destroy(&set.rig);
	}
}

/* More than can be held: the others wait, and none is lost, whether it goes well or not. */
static void a_flood_is_held_in_bounds(void **state)
{
	enum { COUNT = 1000 };
	struct rig_request *requests = calloc(COUNT, sizeof(*requests));
	uint8_t buf[512];
	struct set set;

	for (int good = 0; good < 2; good++) {
		set_create(&set, BLOCK_STOP);
		set_fail(&set, ~0U, -ENOSPC);
		for (int i = 0; i < COUNT; i++) {
			submit(&set, &requests[i], BLOCK_READ, 0, buf, 512);
		}
		turn(&set);
		assert_int_equal(block_held(set.block), 256);
		assert_int_equal(set.stops, 1);
		if (good) {
			set_fail(&set, 0, 0);
			block_retry(set.block);
		} else {
			block_give_up(set.block);
		}
		for (int i = 0; i < COUNT; i++) {
			assert_int_equal(rig_wait(&set.rig, &requests[i]), good ? 0 : -ECANCELED);
		}
		assert_int_equal(block_held(set.block), 0);
		set_destroy(&set);
	}
	free(requests);
}

/* Two ends on one loop here; on two threads in twin_test.c. */
static void one_retry_is_for_all_ends(void **state)
{
	struct block_config config = {
		.kind = BLOCK_NULL,
		.null_bytes = DISK_BYTES,
		.on_error = BLOCK_STOP,
		.on_stop = on_stop,
		.fault = "fail:write:ENOSPC",
	};
	struct rig_request a, b;
	struct block *twin;
	uint8_t buf[512];
	struct diag diag;
	struct set set;

	memset(&set, 0, sizeof(set));
	config.on_stop_ctx = &set;
	rig_create(&set.rig, 512);
	assert_int_equal(block_open(&config, &set.block, &diag), 0);
	assert_string_equal(block_name(set.block), "hold");
	assert_int_equal(block_twin(set.block, &twin), 0);
	assert_int_equal(block_start(set.block, set.rig.loop), 0);
	assert_int_equal(block_start(twin, set.rig.loop), 0);
	submit(&set, &a, BLOCK_WRITE, 0, buf, 512);
	b = (struct rig_request){ .iov[0] = { buf, 512 } };
	b.block.iov = b.iov;
	b.block.iov_count = 1;
	rig_submit(twin, &b, BLOCK_WRITE, 0, 512);
	turn(&set);
	assert_int_equal(block_held(set.block), 2);
	assert_int_equal(block_held(twin), 2);
	assert_int_equal(set.stops, 1);
	block_retry(twin);
	turn(&set);
	assert_int_equal(block_held(set.block), 2);
	assert_int_equal(set.stops, 2);
	block_give_up(set.block);
	assert_int_equal(rig_wait(&set.rig, &a), -ECANCELED);
	assert_int_equal(rig_wait(&set.rig, &b), -ECANCELED);
	rig_stop(&set.rig, twin);
	block_close(twin);
	rig_stop(&set.rig, set.block);
	block_close(set.block);
	rig_destroy(&set.rig);
}

static void no_memory_leaves_nothing(void **state)
{
	struct block_config config = {
		.kind = BLOCK_NULL,
		.null_bytes = DISK_BYTES,
		.on_error = BLOCK_RETRY,
	};
	struct block *block, *twin;
	unsigned int n = 1;
	struct diag diag;
	int err;

	do {
		fault_arm(n++);
		err = block_open(&config, &block, &diag);
		assert_true(err == 0 || err == -ENOMEM);
	} while (err);
	assert_true(n > 4);
	n = 1;
	do {
		fault_arm(n++);
		err = block_twin(block, &twin);
		assert_true(err == 0 || err == -ENOMEM);
	} while (err);
	fault_arm(0);
	assert_true(n > 4);
	block_close(twin);
	block_close(block);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stop_holds_until_retry),
		cmocka_unit_test(reads_flushes_and_others_are_held_too),
		cmocka_unit_test(mistakes_are_reported_at_once),
		cmocka_unit_test(retry_tries_by_itself_and_ever_more_slowly),
		cmocka_unit_test(given_up_requests_are_cancelled_and_later_ones_are_not),
		cmocka_unit_test(stop_waits_until_the_held_end),
		cmocka_unit_test(a_flood_is_held_in_bounds),
		cmocka_unit_test(one_retry_is_for_all_ends),
		cmocka_unit_test(no_memory_leaves_nothing),
	};

	return cmocka_run_group_tests_name("block/hold", tests, NULL, NULL);
}

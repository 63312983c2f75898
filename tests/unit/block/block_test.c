/* SPDX-License-Identifier: MIT */
/* What every block does: checks, completion from the loop, draining; and the layers for tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/fault.h"
#include "unit/block/rig.h"

static struct block *open_null(bool read_only)
{
	struct block_config config = {
		.kind = BLOCK_NULL,
		.null_bytes = 1 << 20,
		.read_only = read_only,
	};
	struct block *block;
	struct diag diag;

	assert_int_equal(block_open(&config, &block, &diag), 0);
	return block;
}

static void nonsense_is_completed_with_an_error(void **state)
{
	struct block *block = open_null(false), *ro = open_null(true);
	uint8_t buf[1024];
	struct rig rig;

	rig_create(&rig, 512);
	assert_int_equal(block_start(block, rig.loop), 0);
	assert_int_equal(block_start(ro, rig.loop), 0);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 1 << 20, buf, 512), -EINVAL);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, ~511ULL, buf, 1024), -EINVAL);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 1, buf, 512), -EINVAL);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 0, buf, 511), -EINVAL);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 512, buf, 0), 0);
	assert_int_equal(rig_io(&rig, ro, BLOCK_WRITE, 0, buf, 512), -EROFS);
	assert_int_equal(rig_io(&rig, ro, BLOCK_FLUSH, 0, NULL, 0), 0);
	memset(buf, 1, sizeof(buf));
	assert_int_equal(rig_io(&rig, ro, BLOCK_READ, 0, buf, 512), 0);
	assert_int_equal(buf[511], 0);
	assert_int_equal(buf[512], 1);
	rig_stop(&rig, block);
	rig_stop(&rig, ro);
	block_close(block);
	block_close(ro);
	rig_destroy(&rig);
}

static void null_disk_needs_a_size(void **state)
{
	struct block_config config = { .kind = BLOCK_NULL, .null_bytes = 1000 };
	struct block *block;
	struct diag diag;

	assert_int_equal(block_open(&config, &block, &diag), -EINVAL);
}

/* For measurements: nothing but the request moves. */
static void null_disk_without_data_leaves_the_buffer_alone(void **state)
{
	struct block_config config = {
		.kind = BLOCK_NULL,
		.null_bytes = 1 << 20,
		.null_no_data = true,
	};
	struct block *block;
	struct diag diag;
	struct rig rig;
	uint8_t buf[512];

	rig_create(&rig, 512);
	assert_int_equal(block_open(&config, &block, &diag), 0);
	assert_int_equal(block_start(block, rig.loop), 0);
	memset(buf, 7, sizeof(buf));
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 0, buf, 512), 0);
	assert_int_equal(buf[0], 7);
	assert_int_equal(buf[511], 7);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 1 << 20, buf, 512), -EINVAL);
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
}

/* Whatever cannot be had, nothing is left behind, and a layer closes what it took. */
static void no_memory_leaves_nothing(void **state)
{
	struct block_config config = { .kind = BLOCK_NULL, .null_bytes = 512 };
	struct block_delay *delay;
	struct block_fail *fail;
	struct block *block;
	struct diag diag;

	fault_arm(1);
	assert_int_equal(block_open(&config, &block, &diag), -ENOMEM);
	block = open_null(false);
	fault_arm(1);
	assert_int_equal(block_fail_create(block, &fail), -ENOMEM);
	block = open_null(false);
	fault_arm(1);
	assert_int_equal(block_delay_create(block, 0, &delay), -ENOMEM);
	fault_arm(0);
}

static void fail_layer_fails_by_number_and_by_place(void **state)
{
	struct block_fail *fail;
	struct block *block;
	uint8_t buf[4096];
	struct rig rig;

	rig_create(&rig, 512);
	assert_int_equal(block_fail_create(open_null(false), &fail), 0);
	block = block_fail_block(fail);
	assert_int_equal(block_start(block, rig.loop), 0);
	block_fail_nth(fail, BLOCK_READ, 2, -EIO);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 0, buf, 512), 0);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 0, buf, 512), -EIO);
	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 0, buf, 512), 0);
	block_fail_at(fail, BLOCK_WRITE, 4095, -ENOSPC);
	assert_int_equal(rig_io(&rig, block, BLOCK_WRITE, 4096, buf, 512), 0);
	assert_int_equal(rig_io(&rig, block, BLOCK_WRITE, 0, buf, 4096), -ENOSPC);
	assert_int_equal(rig_io(&rig, block, BLOCK_WRITE, 0, buf, 3584), 0);
	assert_int_equal(block_read_stats(block)->errors, 2);
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
}

static void stop_waits_for_what_is_in_flight(void **state)
{
	struct rig_request request = { 0 };
	struct block_delay *delay;
	struct block *block;
	uint8_t buf[512];
	struct rig rig;

	rig_create(&rig, 512);
	assert_int_equal(block_delay_create(open_null(false), BLOCK_DELAY_HOLD, &delay), 0);
	block = block_delay_block(delay);
	assert_int_equal(block_start(block, rig.loop), 0);
	request.iov[0] = (struct iovec){ buf, 512 };
	request.block.iov = request.iov;
	request.block.iov_count = 1;
	rig_submit(block, &request, BLOCK_READ, 0, 512);
	block_stop(block, &rig.stopped);
	for (int i = 0; i < 10; i++) {
		loop_turn(rig.loop);
	}
	assert_false(request.is_done || rig.is_stopped);
	assert_int_equal(block_delay_held(delay), 1);
	block_delay_release(delay);
	assert_int_equal(rig_wait(&rig, &request), 0);
	while (!rig.is_stopped) {
		loop_turn(rig.loop);
	}
	/* And once more. */
	block_delay_set(delay, 2000000);
	assert_int_equal(block_start(block, rig.loop), 0);
	uint64_t before = loop_now_ns();

	assert_int_equal(rig_io(&rig, block, BLOCK_READ, 0, buf, 512), 0);
	assert_true(loop_now_ns() - before >= 2000000);
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
}

/* A done may submit again, also when that fails at once: no recursion, no lost request. */
static unsigned int resubmissions;

static void on_done_again(struct block_request *block, int result)
{
	struct rig_request *request = container_of(block, struct rig_request, block);

	assert_int_equal(result, -EINVAL);
	if (++resubmissions < 10000) {
		block_submit(request->iov[7].iov_base, block);
	} else {
		request->is_done = true;
	}
}

static void done_may_submit(void **state)
{
	struct rig_request request = { 0 };
	struct block *block = open_null(false);
	struct rig rig;

	rig_create(&rig, 512);
	assert_int_equal(block_start(block, rig.loop), 0);
	request.iov[7].iov_base = block;
	request.block.op = BLOCK_READ;
	request.block.offset_bytes = 1;
	request.block.done = on_done_again;
	block_submit(block, &request.block);
	rig_wait(&rig, &request);
	assert_int_equal(resubmissions, 10000);
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nonsense_is_completed_with_an_error),
		cmocka_unit_test(null_disk_needs_a_size),
		cmocka_unit_test(null_disk_without_data_leaves_the_buffer_alone),
		cmocka_unit_test(no_memory_leaves_nothing),
		cmocka_unit_test(fail_layer_fails_by_number_and_by_place),
		cmocka_unit_test(stop_waits_for_what_is_in_flight),
		cmocka_unit_test(done_may_submit),
	};

	return cmocka_run_group_tests_name("block/block", tests, NULL, NULL);
}

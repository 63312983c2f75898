/* SPDX-License-Identifier: MIT */
/* Two ends of one disk on two threads: of back ends that have twins, and of those that have not. */
#include <semaphore.h>
#include <time.h>

#include "base/fault.h"
#include "block/block_impl.h"
#include "unit/block/rig.h"

#define DISK_BYTES (4U << 20)
#define SLOT_BYTES 4096U
#define SLOTS      64U /* in flight at each end */

/* One end: a thread, its block, and requests that write, read back and compare, again and again. */
struct end;

struct slot {
	struct block_request request;
	struct iovec iov[2];
	struct end *end;
	unsigned int index, round;
	uint8_t *buf;
};

struct end {
	struct loop *loop;
	struct block *block;
	uint64_t base_bytes; /* of its half of the disk */
	unsigned int rounds, busy, errors, wrong;
	struct slot slots[SLOTS];
	uint8_t *area;
	struct loop_work stopped;
	sem_t done;
	int result;
};

static void end_on_stopped(struct loop_work *work)
{
	sem_post(&container_of(work, struct end, stopped)->done);
}

static void end_create(struct end *end, uint64_t base_bytes)
{
	struct diag diag;

	memset(end, 0, sizeof(*end));
	end->base_bytes = base_bytes;
	end->area = aligned_alloc(4096, (size_t)SLOTS * SLOT_BYTES);
	assert_non_null(end->area);
	loop_work_init(&end->stopped, end_on_stopped);
	sem_init(&end->done, 0, 0);
	assert_int_equal(loop_create("end", &end->loop, &diag), 0);
	assert_int_equal(loop_start_thread(end->loop, &diag), 0);
}

static void end_destroy(struct end *end)
{
	loop_stop_thread(end->loop);
	loop_destroy(end->loop);
	sem_destroy(&end->done);
	free(end->area);
}

static void on_start(void *arg)
{
	struct end *end = arg;

	end->result = block_start(end->block, end->loop);
}

static void end_start(struct end *end, struct block *block)
{
	end->block = block;
	loop_call(end->loop, on_start, end);
	assert_int_equal(end->result, 0);
}

static void on_stop(void *arg)
{
	struct end *end = arg;

	block_stop(end->block, &end->stopped);
}

static void end_stop(struct end *end)
{
	loop_call(end->loop, on_stop, end);
	sem_wait(&end->done);
}

static uint8_t pattern(const struct slot *slot, size_t i)
{
	return (uint8_t)(i * 7 + slot->index * 31 + slot->round * 101 +
			 (slot->end->base_bytes ? 1 : 0));
}

static void slot_submit(struct slot *slot, enum block_op op)
{
	slot->request.op = op;
	slot->request.fua = slot->round % 8 == 0;
	slot->request.offset_bytes = slot->end->base_bytes + slot->index * SLOT_BYTES;
	slot->request.length_bytes = op == BLOCK_FLUSH ? 0 : SLOT_BYTES;
	slot->iov[0] = (struct iovec){ slot->buf, 1536 };
	slot->iov[1] = (struct iovec){ slot->buf + 1536, SLOT_BYTES - 1536 };
	slot->request.iov = slot->iov;
	slot->request.iov_count = op == BLOCK_FLUSH ? 0 : 2;
	block_submit(slot->end->block, &slot->request);
}

static void slot_write(struct slot *slot)
{
	for (size_t i = 0; i < SLOT_BYTES; i++) {
		slot->buf[i] = pattern(slot, i);
	}
	slot_submit(slot, BLOCK_WRITE);
}

static void slot_on_done(struct block_request *request, int result)
{
	struct slot *slot = container_of(request, struct slot, request);
	struct end *end = slot->end;

	check(loop_is_here(end->loop));
	end->errors += result != 0;
	if (request->op == BLOCK_WRITE && slot->index % 16 == 0) {
		slot_submit(slot, BLOCK_FLUSH);
		return;
	}
	if (request->op != BLOCK_READ) {
		memset(slot->buf, 0, SLOT_BYTES);
		slot_submit(slot, BLOCK_READ);
		return;
	}
	for (size_t i = 0; i < SLOT_BYTES; i++) {
		end->wrong += slot->buf[i] != pattern(slot, i);
	}
	if (++slot->round < __atomic_load_n(&end->rounds, __ATOMIC_RELAXED)) {
		slot_write(slot);
	} else if (--end->busy == 0) {
		sem_post(&end->done);
	}
}

static void on_work(void *arg)
{
	struct end *end = arg;

	end->busy = SLOTS;
	for (unsigned int i = 0; i < SLOTS; i++) {
		struct slot *slot = &end->slots[i];

		slot->end = end;
		slot->index = i;
		slot->round = 0;
		slot->buf = end->area + (size_t)i * SLOT_BYTES;
		slot->request.done = slot_on_done;
		slot_write(slot);
	}
}

static void end_work(struct end *end, unsigned int rounds)
{
	end->rounds = rounds;
	loop_call(end->loop, on_work, end);
}

/* One request, waited for. */
struct one {
	struct block_request request;
	struct end *end;
	int result;
};

static void one_on_done(struct block_request *request, int result)
{
	struct one *one = container_of(request, struct one, request);

	one->result = result;
	sem_post(&one->end->done);
}

static void on_one(void *arg)
{
	struct one *one = arg;

	block_submit(one->end->block, &one->request);
}

static int end_io(struct end *end, enum block_op op, uint64_t offset, void *buf, uint64_t bytes,
		  struct block_map *ret_map)
{
	struct iovec iov = { buf, buf ? bytes : 0 };
	struct one one = {
		.request = {
			.op = op,
			.offset_bytes = offset,
			.length_bytes = bytes,
			.iov = &iov,
			.iov_count = buf ? 1 : 0,
			.done = one_on_done,
		},
		.end = end,
	};

	loop_call(end->loop, on_one, &one);
	sem_wait(&end->done);
	if (ret_map) {
		*ret_map = one.request.map;
	}
	return one.result;
}

static void on_refresh(void *arg)
{
	block_refresh(arg);
}

/* ---- disks to have two ends of ---- */

enum disk { DISK_RAW, DISK_GROWABLE, DISK_LAYERS, DISKS };

static struct block *open_disk(struct rig *rig, enum disk disk)
{
	struct block_config config = {
		.kind = BLOCK_RAW,
		.path = rig->path,
		.growable = disk == DISK_GROWABLE, /* as an image's file, which has no twins */
	};
	struct block_delay *delay;
	struct block_fail *fail;
	struct block *block;
	struct diag diag;

	if (block_open(&config, &block, &diag)) {
		fail_msg("%s", diag.text);
	}
	if (disk == DISK_LAYERS) {
		assert_int_equal(block_fail_create(block, &fail), 0);
		assert_int_equal(block_delay_create(block_fail_block(fail), 20000, &delay), 0);
		block = block_delay_block(delay);
	}
	return block;
}

struct pair {
	struct rig rig;
	struct end a, b;
	struct block *block, *twin;
};

static void pair_create(struct pair *pair, enum disk disk)
{
	rig_create(&pair->rig, DISK_BYTES);
	pair->block = open_disk(&pair->rig, disk);
	end_create(&pair->a, 0);
	end_create(&pair->b, DISK_BYTES / 2);
	assert_int_equal(block_twin(pair->block, &pair->twin), 0);
	end_start(&pair->a, pair->block);
	end_start(&pair->b, pair->twin);
}

static void pair_destroy(struct pair *pair)
{
	end_stop(&pair->b);
	block_close(pair->twin);
	end_stop(&pair->a);
	block_close(pair->block);
	end_destroy(&pair->a);
	end_destroy(&pair->b);
	rig_destroy(&pair->rig);
}

static struct pair pair;

static void both_ends_serve_at_once(void **state)
{
	uint8_t *buf = aligned_alloc(4096, SLOT_BYTES);

	for (int disk = 0; disk < DISKS; disk++) {
		pair_create(&pair, (enum disk)disk);
		assert_string_equal(block_name(pair.twin), disk == DISK_GROWABLE ? "twin"
							   : disk == DISK_LAYERS ? "delay"
										 : "raw");
		end_work(&pair.a, 20);
		end_work(&pair.b, 20);
		sem_wait(&pair.a.done);
		sem_wait(&pair.b.done);
		assert_int_equal(pair.a.errors + pair.b.errors, 0);
		assert_int_equal(pair.a.wrong + pair.b.wrong, 0);

		/* What one has written the other reads, and so does the file. */
		for (unsigned int i = 0; i < SLOTS; i++) {
			const struct slot last = { .index = i, .round = 19, .end = &pair.b };
			uint64_t offset = pair.b.base_bytes + (uint64_t)i * SLOT_BYTES;

			assert_int_equal(end_io(&pair.a, BLOCK_READ, offset, buf, SLOT_BYTES, NULL),
					 0);
			for (size_t k = 0; k < SLOT_BYTES; k++) {
				assert_int_equal(buf[k], pattern(&last, k));
			}
		}
		assert_int_equal(end_io(&pair.a, BLOCK_FLUSH, 0, NULL, 0, NULL), 0);
		assert_int_equal(end_io(&pair.b, BLOCK_FLUSH, 0, NULL, 0, NULL), 0);
		pair_destroy(&pair);
	}
	free(buf);
}

/* ---- more at once than a twin has shadows ---- */

#define MANY 2000U

static struct {
	struct block_request requests[MANY];
	struct iovec iovs[MANY];
	uint8_t buf[512];
	struct end *end;
	unsigned int seen[MANY], done, order_errors, next;
} many;

static void many_on_done(struct block_request *request, int result)
{
	size_t i = (size_t)(request - many.requests);

	check(result == 0 && many.seen[i] == 0);
	many.seen[i]++;
	if (++many.done == MANY) {
		sem_post(&many.end->done);
	}
}

static void on_many(void *arg)
{
	many.end = arg;
	for (unsigned int i = 0; i < MANY; i++) {
		many.iovs[i] = (struct iovec){ many.buf, sizeof(many.buf) };
		many.requests[i] = (struct block_request){
			.op = BLOCK_READ,
			.length_bytes = sizeof(many.buf),
			.iov = &many.iovs[i],
			.iov_count = 1,
			.done = many_on_done,
		};
		block_submit(many.end->block, &many.requests[i]);
	}
}

static void a_flood_is_bounded_and_loses_none(void **state)
{
	memset(&many, 0, sizeof(many));
	pair_create(&pair, DISK_GROWABLE);
	loop_call(pair.b.loop, on_many, &pair.b);
	sem_wait(&pair.b.done);
	assert_int_equal(many.done, MANY);
	assert_int_equal(block_read_stats(pair.twin)->reads, MANY);
	assert_int_equal(block_read_stats(pair.twin)->in_flight, 0);
	assert_true(block_read_stats(pair.block)->in_flight_max <= 256);
	pair_destroy(&pair);
}

/* ---- the rest of the contract ---- */

static void errors_and_answers_come_back(void **state)
{
	uint8_t *buf = aligned_alloc(4096, SLOT_BYTES);
	struct block_map map;

	memset(buf, 1, SLOT_BYTES);
	for (int disk = 0; disk < DISKS; disk++) {
		pair_create(&pair, (enum disk)disk);
		assert_int_equal(end_io(&pair.b, BLOCK_WRITE, 65536, buf, SLOT_BYTES, NULL), 0);
		assert_int_equal(end_io(&pair.b, BLOCK_MAP, 65536, NULL, SLOT_BYTES, &map), 0);
		assert_int_equal(map.kind, BLOCK_MAP_DATA);
		assert_int_equal(map.bytes, SLOT_BYTES);
		assert_int_equal(map.file_offset_bytes, 65536);
		assert_int_equal(end_io(&pair.b, BLOCK_READ, DISK_BYTES, buf, SLOT_BYTES, NULL),
				 -EINVAL);
		assert_int_equal(end_io(&pair.b, BLOCK_READ, 1, buf, SLOT_BYTES, NULL), -EINVAL);
		/* The file becomes short under both. */
		assert_int_equal(ftruncate(pair.rig.file, 65536), 0);
		assert_int_equal(end_io(&pair.b, BLOCK_READ, 65536, buf, SLOT_BYTES, NULL), -EIO);
		assert_int_equal(block_read_stats(pair.twin)->errors, 3);
		pair_destroy(&pair);
	}
	free(buf);
}

static void a_new_size_is_taken_over_at_both_ends(void **state)
{
	uint8_t *buf = aligned_alloc(4096, SLOT_BYTES);

	memset(buf, 1, SLOT_BYTES);
	for (int disk = 0; disk < DISKS; disk++) {
		pair_create(&pair, (enum disk)disk);
		assert_int_equal(end_io(&pair.b, BLOCK_RESIZE, 2 * DISK_BYTES, NULL, 0, NULL), 0);
		loop_call(pair.a.loop, on_refresh, pair.block);
		loop_call(pair.b.loop, on_refresh, pair.twin);
		assert_int_equal(block_info(pair.block)->bytes, 2 * DISK_BYTES);
		assert_int_equal(block_info(pair.twin)->bytes, 2 * DISK_BYTES);
		assert_int_equal(end_io(&pair.a, BLOCK_WRITE, DISK_BYTES, buf, SLOT_BYTES, NULL),
				 0);
		assert_int_equal(end_io(&pair.b, BLOCK_READ, DISK_BYTES, buf, SLOT_BYTES, NULL), 0);
		assert_int_equal(buf[0], 1);
		pair_destroy(&pair);
	}
	free(buf);
}

static void counters_are_of_each_end_and_of_all(void **state)
{
	uint8_t *buf = aligned_alloc(4096, SLOT_BYTES);
	struct block_stats sum;
	struct block *second;

	for (int disk = 0; disk < DISKS; disk++) {
		pair_create(&pair, (enum disk)disk);
		assert_int_equal(end_io(&pair.a, BLOCK_READ, 0, buf, SLOT_BYTES, NULL), 0);
		assert_int_equal(end_io(&pair.b, BLOCK_READ, 0, buf, SLOT_BYTES, NULL), 0);
		assert_int_equal(end_io(&pair.b, BLOCK_FLUSH, 0, NULL, 0, NULL), 0);
		assert_int_equal(block_read_stats(pair.twin)->reads, 1);
		block_sum_stats(pair.block, &sum);
		if (disk != DISK_GROWABLE) {
			assert_int_equal(block_read_stats(pair.block)->reads, 1);
		}
		assert_int_equal(sum.reads, 2);
		assert_int_equal(sum.flushes, 1);
		assert_int_equal(sum.read_bytes, 2 * SLOT_BYTES);

		/* What a closed twin has counted stays; a twin's twin is the original's. */
		assert_int_equal(block_twin(pair.twin, &second), 0);
		end_stop(&pair.b);
		block_close(pair.twin);
		pair.twin = second;
		end_start(&pair.b, second);
		assert_int_equal(end_io(&pair.b, BLOCK_READ, 0, buf, SLOT_BYTES, NULL), 0);
		block_sum_stats(pair.block, &sum);
		assert_int_equal(sum.reads, 3);
		pair_destroy(&pair);
	}
	free(buf);
}

/* Twins come and go while the original works: stopping must leave nothing behind on its loop. */
static void twins_come_and_go(void **state)
{
	for (int disk = 0; disk < DISKS; disk++) {
		pair_create(&pair, (enum disk)disk);
		end_work(&pair.a, 1000000);
		for (int i = 0; i < 100; i++) {
			end_work(&pair.b, 1);
			sem_wait(&pair.b.done);
			end_stop(&pair.b);
			block_close(pair.twin);
			assert_int_equal(block_twin(pair.block, &pair.twin), 0);
			end_start(&pair.b, pair.twin);
		}
		__atomic_store_n(&pair.a.rounds, 0, __ATOMIC_RELAXED);
		sem_wait(&pair.a.done);
		assert_int_equal(pair.b.errors + pair.b.wrong, 0);
		assert_int_equal(pair.a.errors + pair.a.wrong, 0);
		pair_destroy(&pair);
	}
}

static void on_retry(void *arg)
{
	block_retry(arg);
}

/* Every other write fails; whoever is told to retry tells the other end. */
static void held_requests_of_both_ends_are_tried_again(void **state)
{
	struct block_config config = {
		.kind = BLOCK_RAW,
		.on_error = BLOCK_STOP,
		.fault = "fail:write:every=2:ENOSPC",
	};
	struct diag diag;

	rig_create(&pair.rig, DISK_BYTES);
	config.path = pair.rig.path;
	assert_int_equal(block_open(&config, &pair.block, &diag), 0);
	end_create(&pair.a, 0);
	end_create(&pair.b, DISK_BYTES / 2);
	assert_int_equal(block_twin(pair.block, &pair.twin), 0);
	end_start(&pair.a, pair.block);
	end_start(&pair.b, pair.twin);
	end_work(&pair.a, 5);
	end_work(&pair.b, 5);
	for (int ended = 0, i = 0; ended < 2; i++) {
		const struct timespec pause = { .tv_nsec = 1000000 };

		loop_call(i & 1 ? pair.b.loop : pair.a.loop, on_retry,
			  i & 1 ? pair.twin : pair.block);
		nanosleep(&pause, NULL);
		ended += sem_trywait(&pair.a.done) == 0;
		ended += sem_trywait(&pair.b.done) == 0;
	}
	assert_int_equal(block_held(pair.block), 0);
	assert_int_equal(pair.a.errors + pair.b.errors, 0);
	assert_int_equal(pair.a.wrong + pair.b.wrong, 0);
	pair_destroy(&pair);
}

static void a_null_disk_has_twins(void **state)
{
	struct block_config config = { .kind = BLOCK_NULL, .null_bytes = DISK_BYTES };
	struct block *block, *twin;
	uint8_t buf[512];
	struct diag diag;
	struct rig rig;

	rig_create(&rig, 512);
	assert_int_equal(block_open(&config, &block, &diag), 0);
	assert_int_equal(block_twin(block, &twin), 0);
	assert_int_equal(block_start(block, rig.loop), 0);
	assert_int_equal(block_start(twin, rig.loop), 0);
	assert_int_equal(rig_io(&rig, twin, BLOCK_READ, 0, buf, 512), 0);
	assert_int_equal(rig_io(&rig, block, BLOCK_RESIZE, 1024, NULL, 0), 0);
	block_refresh(twin);
	assert_int_equal(block_info(twin)->bytes, 1024);
	rig_stop(&rig, twin);
	block_close(twin);
	rig_stop(&rig, block);
	block_close(block);
	rig_destroy(&rig);
}

static void no_memory_leaves_nothing(void **state)
{
	for (int disk = 0; disk < DISKS; disk++) {
		struct block *block, *twin;
		unsigned int n = 1;
		struct rig rig;
		int err;

		rig_create(&rig, DISK_BYTES);
		block = open_disk(&rig, (enum disk)disk);
		do {
			fault_arm(n++);
			err = block_twin(block, &twin);
			assert_true(err == 0 || err == -ENOMEM);
		} while (err);
		fault_arm(0);
		assert_true(n > 2);
		block_close(twin);
		block_close(block);
		rig_destroy(&rig);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_serve_at_once),
		cmocka_unit_test(a_flood_is_bounded_and_loses_none),
		cmocka_unit_test(errors_and_answers_come_back),
		cmocka_unit_test(a_new_size_is_taken_over_at_both_ends),
		cmocka_unit_test(counters_are_of_each_end_and_of_all),
		cmocka_unit_test(twins_come_and_go),
		cmocka_unit_test(held_requests_of_both_ends_are_tried_again),
		cmocka_unit_test(a_null_disk_has_twins),
		cmocka_unit_test(no_memory_leaves_nothing),
	};

	return cmocka_run_group_tests_name("block/twin", tests, NULL, NULL);
}

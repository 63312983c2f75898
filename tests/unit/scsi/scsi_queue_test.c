/* SPDX-License-Identifier: MIT */
/* Units on several queues: attach and detach, unit attentions, what queues share, saved state. */
#include <stdatomic.h>
#include <sched.h>
#include <time.h>

#include "scsi_rig.h"

/* ---- attach, detach ----------------------------------------------------------------------------- */

static void detached_disk_is_not_there(void **state)
{
	scsi_disk_detach(disk, 1);
	scsi_disk_detach(disk, 1); /* once more does nothing */
	assert_null(scsi_disk_end(disk, 1));
	queue = 1;
	assert_int_equal(SUBMIT(0, 0, 0, 0, 0, 0, 0), SCSI_NO_UNIT);
	RUN(64, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	expect_good(8); /* no units */
	RUN(36, 0x12, 0, 0, 0, 36, 0);
	expect_good(36);
	assert_int_equal(buf[0], 0x7f);
	queue = 0; /* the other queue is not concerned */
	READY();
	expect_good(0);
	RUN(64, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	expect_good(16);
	scsi_disk_attach(disk, 1, &spies[1].block);
	queue = 1;
	READY();
	expect_good(0);
}

static void each_queue_uses_its_own_end(void **state)
{
	RUN(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	queue = 1;
	RUN(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	RUN(512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	RUN(0, 0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_int_equal(spies[0].requests, 1);
	assert_int_equal(spies[1].requests, 3);
}

static void what_one_queue_sets_holds_for_all(void **state)
{
	memset(buf, 0, 24);
	buf[4] = 8;
	buf[5] = 18;
	RUN(24, 0x15, 0x10, 0, 0, 24, 0); /* no write cache */
	queue = 1;
	RUN(512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	assert_true(spies[1].last.fua);
	RUN(0, 0x1b, 0, 0, 0, 0, 0);
	queue = 0;
	READY();
	expect_sense(SCSI_KEY_NOT_READY, SCSI_ASC_NOT_READY_START_NEEDED);
}

/* U2: what is in flight ends, and asks nothing more of a block that is about to stop. */
static void command_in_steps_ends_after_a_detach(void **state)
{
	static const uint8_t unmap[10] = { 0x42, 0, 0, 0, 0, 0, 0, 0, 40 };

	memset(buf, 0, 40);
	bytes_put_be16(buf, 38);
	bytes_put_be16(&buf[2], 32);
	bytes_put_be32(&buf[16], 8);
	bytes_put_be64(&buf[24], 200);
	bytes_put_be32(&buf[32], 8);
	spy.holds = true;
	assert_int_equal(submit(unmap, 10, 40), SCSI_PENDING);
	scsi_disk_detach(disk, 0);
	spy_release(&spy);
	assert_true(is_done);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LUN_NOT_SUPPORTED);
	assert_int_equal(spy.requests, 1);

	scsi_disk_attach(disk, 0, &spy.block);
	fill(512, 1);
	spy.requests = 0;
	assert_int_equal(SUBMIT(512, 0x41, 0, 0, 0, 0, 0, 0, 1, 0, 0), SCSI_PENDING);
	scsi_disk_detach(disk, 0);
	spy_release(&spy);
	assert_true(is_done);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LUN_NOT_SUPPORTED);
	assert_int_equal(spy.requests, 1);

	/* One that was at its last step has succeeded. */
	scsi_disk_attach(disk, 0, &spy.block);
	assert_int_equal(SUBMIT(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), SCSI_PENDING);
	scsi_disk_detach(disk, 0);
	spy_release(&spy);
	expect_good(512);
}

/* The scratch buffer is one; who comes second is told to come again. */
static void second_command_in_steps_is_told_busy(void **state)
{
	struct scsi_request first;

	spy.holds = true;
	fill(512, 0);
	assert_int_equal(SUBMIT(512, 0x2f, 2, 0, 0, 0, 0, 0, 0, 1, 0), SCSI_PENDING);
	first = request; /* where the block will not find it: only its answer counts below */
	assert_non_null(spy.held);
	assert_int_equal(first.status, 0xee);

	struct scsi_request second = request;

	second.queue = 0;
	assert_int_equal(scsi_target_submit(&target, 0, &second), SCSI_DONE);
	assert_int_equal(second.status, SCSI_STATUS_BUSY);
	second.queue = 1; /* another queue has its own */
	spies[1].holds = true;
	assert_int_equal(scsi_target_submit(&target, 0, &second), SCSI_PENDING);
	spy_release(&spy);
	assert_true(is_done);
	expect_sense(SCSI_KEY_MISCOMPARE, SCSI_ASC_MISCOMPARE);
	is_done = false;
	spy_release(&spies[1]);
	assert_true(is_done);
}

/* ---- unit attentions ---------------------------------------------------------------------------- */

static void begin_is_quiet(void **state)
{
	READY();
	expect_good(0);
	scsi_disk_resized(disk);
	scsi_disk_reset(disk); /* a driver begins */
	READY();
	expect_good(0);
}

static void condition_is_told_once_by_one_queue(void **state)
{
	scsi_disk_resized(disk);
	queue = 1;
	RUN(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	expect_sense(SCSI_KEY_UNIT_ATTENTION, SCSI_ASC_CAPACITY_CHANGED);
	assert_int_equal(spies[1].requests, 0);
	queue = 0;
	RUN(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	expect_good(512);
}

static void conditions_are_told_in_order(void **state)
{
	scsi_disk_luns_changed(disk);
	scsi_disk_resized(disk);
	scsi_disk_set_write_cache(disk, false);
	scsi_disk_reset_unit(disk);
	scsi_disk_reset_unit(disk); /* twice is once */
	READY();
	expect_sense(SCSI_KEY_UNIT_ATTENTION, 0x2903);
	READY();
	expect_sense(SCSI_KEY_UNIT_ATTENTION, 0x2a01);
	READY();
	expect_sense(SCSI_KEY_UNIT_ATTENTION, 0x2a09);
	READY();
	expect_sense(SCSI_KEY_UNIT_ATTENTION, 0x3f0e);
	READY();
	expect_good(0);
	scsi_disk_set_write_cache(disk, false); /* no change, no news */
	READY();
	expect_good(0);
}

static void some_commands_neither_tell_nor_end_a_condition(void **state)
{
	scsi_disk_resized(disk);
	RUN(36, 0x12, 0, 0, 0, 36, 0);
	expect_good(36);
	RUN(64, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	expect_good(16);
	RUN(512, 0xff, 0, 0, 0, 0, 0); /* what is no command */
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	READY();
	expect_sense(SCSI_KEY_UNIT_ATTENTION, SCSI_ASC_CAPACITY_CHANGED);
}

/* Linux' hv_storvsc would hide it from its user, and the user read zeroes. */
static void mode_sense_works_while_a_condition_waits(void **state)
{
	scsi_disk_resized(disk);
	RUN(64, 0x1a, 8, 8, 0, 64, 0);
	expect_good(24);
	assert_int_equal(buf[6], 4);
	RUN(64, 0x5a, 8, 8, 0, 0, 0, 0, 0, 64, 0);
	expect_good(28);
	READY();
	expect_sense(SCSI_KEY_UNIT_ATTENTION, SCSI_ASC_CAPACITY_CHANGED);
}

static void request_sense_fetches_a_condition(void **state)
{
	RUN(18, 3, 0, 0, 0, 18, 0);
	expect_good(18);
	assert_int_equal(buf[2], 0);
	scsi_disk_resized(disk);
	RUN(18, 3, 0, 0, 0, 18, 0);
	expect_good(18);
	assert_int_equal(buf[0], 0x70);
	assert_int_equal(buf[2], 6);
	assert_int_equal(bytes_be16(&buf[12]), 0x2a09);
	READY();
	expect_good(0);
	scsi_disk_reset_unit(disk);
	RUN(18, 3, 1, 0, 0, 18, 0);
	expect_good(8);
	assert_int_equal(buf[0], 0x72);
	assert_int_equal(buf[1], 6);
	assert_int_equal(bytes_be16(&buf[2]), 0x2903);
}

static void report_of_units_ends_their_news(void **state)
{
	scsi_disk_luns_changed(disk);
	scsi_disk_resized(disk);
	RUN(64, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	READY();
	expect_sense(SCSI_KEY_UNIT_ATTENTION, SCSI_ASC_CAPACITY_CHANGED);
	READY();
	expect_good(0);
}

static void reset_of_a_unit_starts_it(void **state)
{
	RUN(0, 0x1b, 0, 0, 0, 0, 0);
	scsi_disk_reset_unit(disk);
	READY();
	expect_sense(SCSI_KEY_UNIT_ATTENTION, SCSI_ASC_RESET_DEVICE);
	READY();
	expect_good(0);
}

static void resize_shows_when_the_end_was_refreshed(void **state)
{
	spies[0].block.info.bytes = MEDIUM_BYTES * 2; /* as block_refresh() does */
	RUN(512, 0x28, 0, 0, 0, 8, 0, 0, 0, 1, 0);
	expect_good(512);
	RUN(8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_int_equal(bytes_be32(buf), 4095);
	queue = 1;
	RUN(512, 0x28, 0, 0, 0, 8, 0, 0, 0, 1, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
}

/* ---- saved state -------------------------------------------------------------------------------- */

static void state_is_saved_and_loaded(void **state)
{
	struct save first, second;
	const uint8_t *a, *b;
	size_t a_bytes, b_bytes;
	struct load load;

	scsi_disk_set_write_cache(disk, false);
	RUN(0, 0x1b, 0, 0, 0, 0, 0); /* tells of the cache */
	RUN(0, 0x1b, 0, 0, 0, 0, 0);
	scsi_disk_resized(disk);
	scsi_disk_luns_changed(disk);
	save_init(&first);
	scsi_disk_save(disk, &first);
	assert_int_equal(save_finish(&first, &a, &a_bytes), 0);
	scsi_disk_reset(disk);
	load_init(&load, a, a_bytes);
	assert_int_equal(scsi_disk_load(disk, &load), 0);
	save_init(&second);
	scsi_disk_save(disk, &second);
	assert_int_equal(save_finish(&second, &b, &b_bytes), 0);
	assert_int_equal(a_bytes, b_bytes);
	assert_memory_equal(a, b, a_bytes);
	READY();
	expect_sense(SCSI_KEY_UNIT_ATTENTION, SCSI_ASC_CAPACITY_CHANGED);
	READY();
	expect_sense(SCSI_KEY_UNIT_ATTENTION, SCSI_ASC_LUNS_CHANGED);
	READY();
	expect_sense(SCSI_KEY_NOT_READY, SCSI_ASC_NOT_READY_START_NEEDED);
	assert_false(scsi_disk_has_write_cache(disk));
	save_fini(&first);
	save_fini(&second);
}

/* What the first release wrote: tags 1 and 2, and nothing else. For ever. */
static void first_state_still_loads(void **state)
{
	static const uint8_t golden[] = { 1, 0, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0,
					  2, 0, 1, 0, 4, 0, 0, 0, 1, 0, 0, 0 };
	struct load load;

	scsi_disk_resized(disk);
	load_init(&load, golden, sizeof(golden));
	assert_int_equal(scsi_disk_load(disk, &load), 0);
	assert_false(scsi_disk_has_write_cache(disk));
	READY();
	expect_sense(SCSI_KEY_NOT_READY, SCSI_ASC_NOT_READY_START_NEEDED);
}

static void hostile_state_is_refused(void **state)
{
	static const struct {
		uint16_t tag;
		uint32_t value;
	} bad[] = {
		{ 1, 2 },    { 2, 2 }, { 3, 1 }, { 4, 1 }, { 5, 1 },        { 6, 2 },
		{ 6, 0x20 }, { 7, 1 }, { 7, 8 }, { 8, 2 }, { 6, ~0U >> 1 }, { 7, ~0U },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const uint8_t *bytes;
		struct save save;
		struct load load;
		size_t length;

		save_init(&save);
		save_u32(&save, bad[i].tag, bad[i].value);
		assert_int_equal(save_finish(&save, &bytes, &length), 0);
		load_init(&load, bytes, length);
		assert_int_equal(scsi_disk_load(disk, &load), -EBADMSG);
		save_fini(&save);
		READY();
		expect_good(0); /* and nothing was taken over */
	}
}

/* ---- threads ------------------------------------------------------------------------------------ */

#define CONDITIONS 2000

struct worker {
	struct loop *loop;
	struct block *end;
	struct scsi_target target;
	struct scsi_request request;
	struct loop_work next, stopped;
	struct iovec iov;
	uint8_t data[2048];
	unsigned int queue, rounds;
	_Atomic(unsigned int) attentions;
	_Atomic(bool) wants_end, is_done;
};

static void worker_done(struct scsi_request *r)
{
	struct worker *w = container_of(r, struct worker, request);

	if (r->status == SCSI_STATUS_CHECK_CONDITION && r->sense[2] == SCSI_KEY_UNIT_ATTENTION) {
		w->attentions++;
	} else if (r->status == SCSI_STATUS_CHECK_CONDITION) {
		check(scsi_disk_type(w->target.luns[0]) == SCSI_DVD);
		check(r->sense[2] == SCSI_KEY_NOT_READY);
	} else {
		check(r->status == SCSI_STATUS_GOOD);
	}
	w->rounds++;
	if (!atomic_load(&w->wants_end)) {
		loop_defer(w->loop, &w->next);
	} else {
		scsi_disk_detach(w->target.luns[0], w->queue);
		block_stop(w->end, &w->stopped);
	}
}

static void worker_next(struct loop_work *work)
{
	static const uint8_t disk_ops[] = { 0x28, 0x2a, 0x35, 0x00, 0x25, 0x12 };
	static const uint8_t dvd_ops[] = { 0x28, 0x1b, 0x12, 0x00, 0x25, 0x43 };
	struct worker *w = container_of(work, struct worker, next);
	bool is_dvd = scsi_disk_type(w->target.luns[0]) == SCSI_DVD;
	const uint8_t *ops = is_dvd ? dvd_ops : disk_ops;
	struct scsi_request *r = &w->request;

	memset(r->cdb, 0, sizeof(r->cdb));
	r->cdb[0] = ops[w->rounds % sizeof(disk_ops)];
	r->cdb[8] = r->cdb[0] == 0x28 || r->cdb[0] == 0x2a ? 1 : 0;
	r->cdb[4] = r->cdb[0] == 0x1b ? 2 : 0; /* eject */
	r->cdb_bytes = 10;
	r->queue = (uint8_t)w->queue;
	w->iov = (struct iovec){ w->data, sizeof(w->data) };
	r->iov = &w->iov;
	r->iov_count = 1;
	r->data_bytes = sizeof(w->data);
	r->done = worker_done;
	if (scsi_target_submit(&w->target, 0, r) == SCSI_DONE) {
		worker_done(r);
	}
}

static void worker_stopped(struct loop_work *work)
{
	atomic_store(&container_of(work, struct worker, stopped)->is_done, true);
}

static void worker_begin(void *arg)
{
	struct worker *w = arg;

	check(block_start(w->end, w->loop) == 0);
	scsi_disk_attach(w->target.luns[0], w->queue, w->end);
	loop_defer(w->loop, &w->next);
}

static unsigned int attentions_told(struct worker *workers)
{
	return atomic_load(&workers[0].attentions) + atomic_load(&workers[1].attentions);
}

static void worker_attach(void *arg)
{
	struct worker *w = arg;

	scsi_disk_attach(w->target.luns[0], w->queue, w->end);
}

static void worker_detach(void *arg)
{
	struct worker *w = arg;

	scsi_disk_detach(w->target.luns[0], w->queue);
}

/* Two loops with threads of their own, an end each; both send commands from now on. */
static struct scsi_disk *workers_begin(struct worker *workers, struct scsi_disk_config unit)
{
	struct block_config config = { .kind = BLOCK_NULL, .null_bytes = MEDIUM_BYTES };
	struct scsi_disk *shared = NULL;
	struct diag diag;

	memset(workers, 0, QUEUES * sizeof(*workers));
	unit.transfer_bytes_max = 1 << 20;
	for (unsigned int i = 0; i < QUEUES; i++) {
		struct worker *w = &workers[i];

		assert_int_equal(block_open(&config, &w->end, &diag), 0);
		unit.info = block_info(w->end);
		if (i == 0) {
			assert_int_equal(scsi_disk_create(&unit, &shared, &diag), 0);
		}
		assert_int_equal(loop_create("queue", &w->loop, &diag), 0);
		w->queue = i;
		w->target.luns[0] = shared;
		loop_work_init(&w->next, worker_next);
		loop_work_init(&w->stopped, worker_stopped);
		assert_int_equal(loop_start_thread(w->loop, &diag), 0);
	}
	for (unsigned int i = 0; i < QUEUES; i++) {
		loop_call(workers[i].loop, worker_begin, &workers[i]);
	}
	return shared;
}

static void workers_end(struct worker *workers)
{
	for (unsigned int i = 0; i < QUEUES; i++) {
		atomic_store(&workers[i].wants_end, true);
	}
	for (unsigned int i = 0; i < QUEUES; i++) {
		while (!atomic_load(&workers[i].is_done)) {
			sched_yield();
		}
		loop_stop_thread(workers[i].loop);
		loop_destroy(workers[i].loop);
		block_close(workers[i].end);
	}
}

/* U3 with real threads: each condition is told exactly once, by whichever queue. */
static void two_threads_share_a_unit(void **state)
{
	static struct worker workers[QUEUES];
	struct scsi_disk *shared =
		workers_begin(workers, (struct scsi_disk_config){ .write_cache = true });
	unsigned int raised = 0;

	for (unsigned int i = 0; i < CONDITIONS; i++) {
		scsi_disk_set_write_cache(shared, i & 1); /* first off */
		scsi_disk_resized(shared);
		raised += 2;
		while (attentions_told(workers) < raised) {
			sched_yield();
		}
	}
	workers_end(workers);
	assert_int_equal(attentions_told(workers), raised);
	scsi_disk_destroy(shared);
}

static void count_eject(void *ctx)
{
	atomic_fetch_add((_Atomic(unsigned int) *)ctx, 1);
}

/* U1: the disc is changed while both threads ask for it, and take it out as soon as they find it. */
static void disc_changes_under_two_threads(void **state)
{
	static struct worker workers[QUEUES];
	static _Atomic(unsigned int) ejects;
	struct scsi_disk *shared =
		workers_begin(workers, (struct scsi_disk_config){ .type = SCSI_DVD,
								  .on_eject = count_eject,
								  .on_eject_ctx = &ejects });
	struct diag diag;

	for (unsigned int i = 1; i <= CONDITIONS / 4; i++) {
		while (atomic_load(&ejects) < i) {
			sched_yield();
		}
		for (unsigned int q = 0; q < QUEUES; q++) {
			loop_call(workers[q].loop, worker_detach, &workers[q]);
		}
		scsi_disk_clear_medium(shared);
		assert_int_equal(scsi_disk_set_medium(shared, block_info(workers[0].end), &diag),
				 0);
		for (unsigned int q = 0; q < QUEUES; q++) {
			loop_call(workers[q].loop, worker_attach, &workers[q]);
		}
		assert_true(atomic_load(&ejects) <= i + 1);
	}
	workers_end(workers);
	scsi_disk_destroy(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(detached_disk_is_not_there),
		TEST(each_queue_uses_its_own_end),
		TEST(what_one_queue_sets_holds_for_all),
		TEST(command_in_steps_ends_after_a_detach),
		TEST(second_command_in_steps_is_told_busy),
		TEST(begin_is_quiet),
		TEST(condition_is_told_once_by_one_queue),
		TEST(conditions_are_told_in_order),
		TEST(some_commands_neither_tell_nor_end_a_condition),
		TEST(mode_sense_works_while_a_condition_waits),
		TEST(request_sense_fetches_a_condition),
		TEST(report_of_units_ends_their_news),
		TEST(reset_of_a_unit_starts_it),
		TEST(resize_shows_when_the_end_was_refreshed),
		TEST(state_is_saved_and_loaded),
		TEST(first_state_still_loads),
		TEST(hostile_state_is_refused),
		cmocka_unit_test(two_threads_share_a_unit),
		cmocka_unit_test(disc_changes_under_two_threads),
	};

	return cmocka_run_group_tests_name("scsi/scsi_queue", tests, NULL, NULL);
}

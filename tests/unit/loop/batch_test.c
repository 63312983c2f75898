/* SPDX-License-Identifier: MIT */
/*
 * Datagram sockets are what TAP devices are to it: each read takes one, or finds nothing. Each test
 * runs both ways: with RWF_NOWAIT, and as on a kernel whose drivers do not know it.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fault.h"
#include "loop/batch.h"

#define MESSAGES 20000U

struct rig {
	struct batch *batch;
	int ours, theirs;
	uint32_t values[BATCH_MAX];
	struct iovec iov[BATCH_MAX];
	struct batch_op ops[BATCH_MAX];
	unsigned int order[BATCH_MAX], done;
};

static void rig_up(struct rig *rig, bool forget)
{
	int fds[2], err = batch_create(&rig->batch);

	if (err == -EOPNOTSUPP || err == -ENOSYS || err == -EPERM) {
		skip();
	}
	assert_int_equal(err, 0);
	if (forget) {
		batch_forget_nowait(rig->batch);
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	rig->ours = fds[0];
	rig->theirs = fds[1];
	for (unsigned int i = 0; i < BATCH_MAX; i++) {
		rig->iov[i] = (struct iovec){ &rig->values[i], sizeof(rig->values[i]) };
		rig->ops[i] = (struct batch_op){ .iov = &rig->iov[i], .iov_count = 1 };
	}
}

static void rig_down(struct rig *rig)
{
	close(rig->ours);
	close(rig->theirs);
	batch_destroy(rig->batch);
}

static int run(struct rig *rig, bool is_write, unsigned int count)
{
	int calls =
		batch_run(rig->batch, rig->ours, is_write, rig->ops, count, rig->order, &rig->done);

	assert_true(calls > 0);
	return calls;
}

static void put(struct rig *rig, uint32_t value)
{
	assert_int_equal(send(rig->theirs, &value, sizeof(value), 0), sizeof(value));
}

/* The first run on a descriptor finds out which way it is. */
static void learn(struct rig *rig)
{
	(void)run(rig, false, 1);
	assert_int_equal(rig->done, 0);
	assert_int_equal(rig->ops[0].result, -EAGAIN);
}

static void reads_what_is_there(bool forget)
{
	struct rig rig;

	rig_up(&rig, forget);
	learn(&rig);
	for (uint32_t n = 0; n <= 20; n++) {
		for (uint32_t i = 0; i < n; i++) {
			put(&rig, i);
		}
		assert_int_equal(run(&rig, false, 20), 1);
		assert_int_equal(rig.done, n);
		for (uint32_t i = 0; i < n; i++) {
			assert_int_equal(rig.values[rig.order[i]], i);
			assert_int_equal(rig.ops[rig.order[i]].result, sizeof(uint32_t));
		}
		for (unsigned int i = n; i < 20; i++) {
			assert_int_equal(rig.ops[i].result, -EAGAIN);
		}
	}
	rig_down(&rig);
}

/* What comes after a run is for the next one: no read that was taken back is still waiting for it. */
static void nothing_is_left_waiting(bool forget)
{
	struct rig rig;

	rig_up(&rig, forget);
	for (uint32_t i = 0; i < 100; i++) {
		uint32_t got;

		(void)run(&rig, false, BATCH_MAX);
		assert_int_equal(rig.done, 0);
		put(&rig, i);
		assert_int_equal(recv(rig.ours, &got, sizeof(got), MSG_DONTWAIT), sizeof(got));
		assert_int_equal(got, i);
	}
	rig_down(&rig);
}

static void writes_until_there_is_no_room(bool forget)
{
	struct rig rig;
	uint32_t got, sent = 0, wanted;
	unsigned int last = BATCH_MAX;

	rig_up(&rig, forget);
	learn(&rig);
	while (last == BATCH_MAX) {
		for (unsigned int i = 0; i < BATCH_MAX; i++) {
			rig.values[i] = sent + i;
		}
		(void)run(&rig, true, BATCH_MAX);
		last = rig.done;
		for (unsigned int i = 0; i < BATCH_MAX; i++) {
			assert_int_equal(rig.ops[i].result,
					 i < last ? (int)sizeof(uint32_t) : -EAGAIN);
		}
		sent += last;
		assert_true(sent < MESSAGES);
	}
	for (wanted = 0; recv(rig.theirs, &got, sizeof(got), MSG_DONTWAIT) > 0; wanted++) {
		assert_int_equal(got, wanted);
	}
	assert_int_equal(wanted, sent);
	rig_down(&rig);
}

static void *write_all(void *arg)
{
	const struct rig *rig = arg;

	for (uint32_t i = 0; i < MESSAGES;) {
		if (send(rig->theirs, &i, sizeof(i), 0) == sizeof(i)) {
			i++;
		} else {
			sched_yield();
		}
		if (i % 7 == 0) {
			sched_yield();
		}
	}
	return NULL;
}

/* Messages that arrive in the middle of runs, which is where entries wait and are taken back. */
static void order_holds_while_more_arrives(bool forget)
{
	struct rig rig;
	pthread_t writer;
	uint32_t next = 0;

	rig_up(&rig, forget);
	assert_int_equal(pthread_create(&writer, NULL, write_all, &rig), 0);
	for (unsigned int count = 1; next < MESSAGES; count = count % BATCH_MAX + 1) {
		(void)run(&rig, false, count);
		for (unsigned int i = 0; i < rig.done; i++) {
			assert_int_equal(rig.values[rig.order[i]], next);
			next++;
		}
	}
	pthread_join(writer, NULL);
	rig_down(&rig);
}

static void a_closed_peer_is_told_as_read_tells_it(bool forget)
{
	struct rig rig;

	rig_up(&rig, forget);
	close(rig.theirs);
	rig.theirs = -1;
	(void)run(&rig, false, 2);
	assert_int_equal(rig.ops[0].result, 0);
	rig_down(&rig);
}

/*
 * The kernel fails once while reads wait in it: they are taken back all the same, so that nothing that arrives
 * later is read into buffers that somebody else uses by then.
 */
static void a_failure_in_the_middle_leaves_no_read_behind(void **state)
{
	unsigned int calls = 0;

	(void)state;
	for (unsigned int nth = 1; nth <= calls + 1; nth++) {
		struct rig rig;
		uint32_t got;
		int result;

		rig_up(&rig, true);
		batch_take_back_later(rig.batch);
		memset(rig.values, 0x5a, sizeof(rig.values));
		fault_arm(nth);
		result = batch_run(rig.batch, rig.ours, false, rig.ops, BATCH_MAX, rig.order,
				   &rig.done);
		fault_arm(0);
		if (nth == 1) {
			/* The kernel has seen none of them. */
			assert_int_equal(result, -EIO);
			calls = 2;
		} else {
			assert_in_range(result, 2, 3);
			assert_int_equal(rig.done, 0);
		}
		for (uint32_t i = 0; i < BATCH_MAX; i++) {
			put(&rig, i);
			assert_int_equal(recv(rig.ours, &got, sizeof(got), MSG_DONTWAIT),
					 sizeof(got));
			assert_int_equal(got, i);
			assert_int_equal(rig.values[i], 0x5a5a5a5a);
		}
		rig_down(&rig);
	}
}

#define BOTH_WAYS(name)                                                                            \
	static void name##_with_nowait(void **state)                                               \
	{                                                                                          \
		(void)state;                                                                       \
		name(false);                                                                       \
	}                                                                                          \
	static void name##_without(void **state)                                                   \
	{                                                                                          \
		(void)state;                                                                       \
		name(true);                                                                        \
	}

BOTH_WAYS(reads_what_is_there)
BOTH_WAYS(nothing_is_left_waiting)
BOTH_WAYS(writes_until_there_is_no_room)
BOTH_WAYS(order_holds_while_more_arrives)
BOTH_WAYS(a_closed_peer_is_told_as_read_tells_it)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_is_there_with_nowait),
		cmocka_unit_test(reads_what_is_there_without),
		cmocka_unit_test(nothing_is_left_waiting_with_nowait),
		cmocka_unit_test(nothing_is_left_waiting_without),
		cmocka_unit_test(writes_until_there_is_no_room_with_nowait),
		cmocka_unit_test(writes_until_there_is_no_room_without),
		cmocka_unit_test(order_holds_while_more_arrives_with_nowait),
		cmocka_unit_test(order_holds_while_more_arrives_without),
		cmocka_unit_test(a_closed_peer_is_told_as_read_tells_it_with_nowait),
		cmocka_unit_test(a_closed_peer_is_told_as_read_tells_it_without),
		cmocka_unit_test(a_failure_in_the_middle_leaves_no_read_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

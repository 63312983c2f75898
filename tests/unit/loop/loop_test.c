/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <liburing.h>

#include "base/num.h"
#include "loop/loop.h"
#include "loop/patience.h"

struct probe {
	struct loop_work work;
	struct loop_timer timer;
	struct loop_watch watch;
	struct loop_request request;
	struct loop *loop;
	int runs, fired, edges, result;
};

static void on_work(struct loop_work *work)
{
	container_of(work, struct probe, work)->runs++;
}

static void on_timer(struct loop_timer *timer)
{
	container_of(timer, struct probe, timer)->fired++;
}

static void on_edge(struct loop_watch *watch, uint32_t events)
{
	assert_true(events & POLLIN);
	container_of(watch, struct probe, watch)->edges++;
}

static void on_request(struct loop_request *request, int result)
{
	container_of(request, struct probe, request)->result = result;
}

static struct loop *make_loop(void)
{
	struct loop *loop;
	struct diag diag;

	assert_int_equal(loop_create("test", &loop, &diag), 0);
	return loop;
}

static void turn_some(struct loop *loop)
{
	for (int i = 0; i < 5; i++) {
		loop_turn(loop);
	}
}

static void posted_work_runs_once(void **state)
{
	struct loop *loop = make_loop();
	struct probe p = { 0 };

	loop_work_init(&p.work, on_work);
	loop_post(loop, &p.work);
	loop_post(loop, &p.work);
	turn_some(loop);
	assert_int_equal(p.runs, 1);
	loop_post(loop, &p.work);
	turn_some(loop);
	assert_int_equal(p.runs, 2);
	loop_destroy(loop);
}

static void deferred_work_can_be_cancelled(void **state)
{
	struct loop *loop = make_loop();
	struct probe p = { 0 }, q = { 0 };

	loop_work_init(&p.work, on_work);
	loop_work_init(&q.work, on_work);
	loop_defer(loop, &p.work);
	loop_defer(loop, &q.work);
	loop_cancel(loop, &q.work);
	turn_some(loop);
	assert_int_equal(p.runs, 1);
	assert_int_equal(q.runs, 0);
	loop_defer(loop, &q.work);
	turn_some(loop);
	assert_int_equal(q.runs, 1);
	loop_destroy(loop);
}

static void timers_fire_in_order_and_can_be_cancelled(void **state)
{
	struct loop *loop = make_loop();
	struct probe p = { 0 }, q = { 0 };

	loop_timer_init(&p.timer, loop, on_timer);
	loop_timer_init(&q.timer, loop, on_timer);
	loop_timer_arm(&p.timer, 1000000);
	loop_timer_arm(&q.timer, 500000);
	loop_timer_cancel(&q.timer);
	usleep(2000);
	turn_some(loop);
	assert_int_equal(p.fired, 1);
	assert_int_equal(q.fired, 0);
	assert_false(loop_timer_is_armed(&p.timer));
	loop_destroy(loop);
}

/* An eventfd that the loop watches for p, and has begun to. */
static int watched_eventfd(struct loop *loop, struct probe *p)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	assert_int_equal(loop_watch_start(loop, &p->watch, fd, POLLIN, on_edge), 0);
	turn_some(loop);
	return fd;
}

static void signal_eventfd(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void an_eventfd_that_is_never_read_gives_an_edge_per_write(void **state)
{
	struct loop *loop = make_loop();
	struct probe p = { 0 };
	int fd = watched_eventfd(loop, &p);

	for (int i = 1; i <= 3; i++) {
		signal_eventfd(fd);
		turn_some(loop);
		assert_int_equal(p.edges, i);
	}
	loop_watch_stop(&p.watch);
	signal_eventfd(fd);
	turn_some(loop);
	assert_int_equal(p.edges, 3);
	close(fd);
	loop_destroy(loop);
}

/* The event has reached the kernel, and not yet us. */
static void a_watch_stopped_between_an_event_and_its_edge_stays_stopped(void **state)
{
	struct loop *loop = make_loop();
	struct probe p = { 0 };
	int fd = watched_eventfd(loop, &p);

	signal_eventfd(fd);
	loop_watch_stop(&p.watch);
	turn_some(loop);
	assert_int_equal(p.edges, 0);
	signal_eventfd(fd);
	assert_false(loop_turn(loop)); /* nobody is woken by it any more */
	assert_false(loop_turn(loop));
	close(fd);
	loop_destroy(loop);
}

static void an_eventfd_is_signalled_and_requests_complete(void **state)
{
	struct loop *loop = make_loop();
	struct probe p = { .request = { on_request }, .result = -1 };
	int fd = eventfd(0, EFD_NONBLOCK);
	uint64_t value = 0;

	turn_some(loop);
	loop_signal_eventfd(loop, fd);
	loop_signal_eventfd(loop, fd);
	turn_some(loop);
	struct io_uring_sqe *sqe = loop_sqe(loop, &p.request);

	io_uring_prep_read(sqe, fd, &value, sizeof(value), 0);
	turn_some(loop);
	assert_int_equal(p.result, 8);
	assert_int_equal(value, 2);
	close(fd);
	loop_destroy(loop);
}

/* What the ring answers to a request that must not be. */
static void expect_refused(struct loop *loop, void (*prepare)(struct io_uring_sqe *sqe))
{
	struct probe p = { .request = { on_request }, .result = 1 };

	prepare(loop_sqe(loop, &p.request));
	turn_some(loop);
	assert_int_equal(p.result, -EACCES);
}

static void prepare_open(struct io_uring_sqe *sqe)
{
	io_uring_prep_openat(sqe, AT_FDCWD, "/", O_RDONLY, 0);
}

static void prepare_socket(struct io_uring_sqe *sqe)
{
	io_uring_prep_rw(IORING_OP_SOCKET, sqe, AF_INET, NULL, 0, SOCK_STREAM);
}

static void prepare_connect(struct io_uring_sqe *sqe)
{
	static const struct sockaddr address;

	io_uring_prep_connect(sqe, 0, &address, sizeof(address));
}

static void a_restricted_loop_does_its_work_and_opens_nothing(void **state)
{
	struct loop *loop = make_loop();
	struct probe p = { .request = { on_request }, .result = -1 };
	int fd, index;

	(void)state;
	assert_int_equal(loop_restrict(loop), 0);
	fd = watched_eventfd(loop, &p);
	turn_some(loop);
	loop_signal_eventfd(loop, fd);
	turn_some(loop);
	assert_int_equal(p.edges, 1);
	io_uring_prep_poll_add(loop_sqe(loop, &p.request), fd, POLLIN);
	turn_some(loop);
	assert_true(p.result & POLLIN);
	index = loop_file_register(loop, fd);
	assert_true(index >= 0);
	loop_file_unregister(loop, index);
	expect_refused(loop, prepare_open);
	expect_refused(loop, prepare_socket);
	expect_refused(loop, prepare_connect);
	loop_watch_stop(&p.watch);
	turn_some(loop);
	close(fd);
	loop_destroy(loop);
}

static void set_to_seven(void *arg)
{
	*(int *)arg = 7;
}

static void one_signal_is_in_flight_at_a_time(void **state)
{
	struct loop *loop = make_loop();
	int fd = eventfd(0, EFD_NONBLOCK);
	struct loop_signal *signal = loop_signal_create(loop);
	uint64_t counted;

	(void)state;
	turn_some(loop);
	for (int i = 0; i < 100; i++) {
		loop_signal_once(signal, fd);
	}
	turn_some(loop);
	assert_int_equal(read(fd, &counted, sizeof(counted)), sizeof(counted));
	assert_true(counted >= 1 && counted <= 2); /* the one in flight, and one for the others */
	loop_signal_once(signal, fd);
	turn_some(loop);
	assert_int_equal(read(fd, &counted, sizeof(counted)), sizeof(counted));
	loop_signal_destroy(signal);
	loop_destroy(loop);
	close(fd);
}

static void an_eventfd_that_is_full_holds_up_nobody(void **state)
{
	struct loop *loop = make_loop();
	uint64_t full = UINT64_MAX - 1, counted;
	int fd = eventfd(0, 0), other = eventfd(0, EFD_NONBLOCK); /* one that blocks */
	struct loop_signal *signal = loop_signal_create(loop);

	(void)state;
	assert_int_equal(write(fd, &full, sizeof(full)), sizeof(full));
	loop_signal_once(signal, fd);
	turn_some(loop);
	loop_signal_once(signal, fd);
	loop_signal_eventfd(loop, other);
	turn_some(loop);
	assert_int_equal(read(other, &counted, sizeof(counted)), sizeof(counted));
	loop_signal_destroy(signal); /* in flight */
	turn_some(loop);
	loop_destroy(loop);
	close(other);
	close(fd);
}

static void a_call_runs_on_the_loops_thread_and_waits(void **state)
{
	struct loop *loop = make_loop();
	struct diag diag;
	int value = 0;

	assert_int_equal(loop_start_thread(loop, &diag), 0);
	assert_false(loop_is_here(loop));
	for (int i = 0; i < 1000; i++) {
		value = 0;
		loop_call(loop, set_to_seven, &value);
		assert_int_equal(value, 7);
	}
	loop_stop_thread(loop);
	assert_true(loop_is_here(loop));
	loop_destroy(loop);
}

#define POSTS 20000
static _Atomic(int) posts_run;

static void on_post(struct loop_work *work)
{
	(void)work;
	posts_run++;
}

static void *poster(void *arg)
{
	struct loop_work work;

	loop_work_init(&work, on_post);
	for (int i = 0; i < POSTS; i++) {
		loop_post(arg, &work);
		while (work.queued) {
			sched_yield();
		}
	}
	/* queued is cleared before fn runs: let it finish before our stack goes. */
	int seven;

	loop_call(arg, set_to_seven, &seven);
	return NULL;
}

static void posts_from_many_threads_all_arrive(void **state)
{
	struct loop *loop = make_loop();
	pthread_t threads[3];
	struct diag diag;

	assert_int_equal(loop_start_thread(loop, &diag), 0);
	for (int i = 0; i < 3; i++) {
		pthread_create(&threads[i], NULL, poster, loop);
	}
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
	}
	loop_stop_thread(loop);
	assert_int_equal(posts_run, 3 * POSTS);
	loop_destroy(loop);
}

struct fake_source {
	struct loop_poller poller;
	int left, arms;
};

static bool source_poll(struct loop_poller *poller)
{
	struct fake_source *s = container_of(poller, struct fake_source, poller);

	return s->left > 0 && s->left--;
}

static bool source_arm(struct loop_poller *poller)
{
	container_of(poller, struct fake_source, poller)->arms++;
	return false;
}

static void a_poller_is_armed_before_sleep(void **state)
{
	static const struct loop_poller_ops ops = { source_poll, source_arm };
	struct fake_source source = { .poller = { .ops = &ops }, .left = 3 };
	struct loop *loop = make_loop();

	loop_poller_add(loop, &source.poller);
	turn_some(loop);
	assert_int_equal(source.left, 0);
	assert_true(source.arms > 0);
	loop_poller_remove(loop, &source.poller);
	loop_destroy(loop);
}

/* Queues an entry in each of its rounds, and waits with them until there are four. */
struct holder {
	struct loop_poller poller;
	struct loop_request request;
	struct loop *loop;
	int left, fd;
	_Atomic(int) done;
	bool signals;
	uint64_t value;
};

static void on_held(struct loop_request *request, int result)
{
	container_of(request, struct holder, request)->done += result == 8;
}

static bool holder_poll(struct loop_poller *poller)
{
	struct holder *h = container_of(poller, struct holder, poller);

	if (h->left == 0) {
		return false;
	}
	h->left--;
	io_uring_prep_write(loop_sqe(h->loop, &h->request), h->fd, &h->value, sizeof(h->value), 0);
	if (h->signals) {
		loop_signal_eventfd(h->loop, h->fd);
	}
	loop_hold_submissions(h->loop, 4);
	return true;
}

static bool holder_arm(struct loop_poller *poller)
{
	(void)poller;
	return false;
}

static void add_holder(void *arg)
{
	struct holder *h = arg;

	loop_poller_add(h->loop, &h->poller);
}

static void remove_holder(void *arg)
{
	struct holder *h = arg;

	loop_poller_remove(h->loop, &h->poller);
}

/* The io_uring_enter calls that this many entries take, one queued in each round. */
static uint64_t enters_for(struct holder *h, int entries)
{
	static const struct loop_poller_ops ops = { holder_poll, holder_arm };
	struct loop *loop = make_loop();
	struct loop_stats before, after;
	struct diag diag;

	h->poller.ops = &ops;
	h->request.fn = on_held;
	h->loop = loop;
	h->fd = eventfd(0, EFD_NONBLOCK);
	h->value = 1;
	h->left = entries;
	assert_int_equal(loop_start_thread(loop, &diag), 0);
	usleep(20000); /* asleep */
	loop_read_stats(loop, &before);
	loop_call(loop, add_holder, h);
	for (int i = 0; i < 1000 && h->done < entries; i++) {
		usleep(10000);
	}
	loop_call(loop, remove_holder, h);
	loop_stop_thread(loop);
	loop_read_stats(loop, &after);
	assert_int_equal(h->done, entries);
	close(h->fd);
	loop_destroy(loop);
	return after.enters - before.enters;
}

static void held_submissions_share_a_call(void **state)
{
	struct holder held = { 0 }, urgent = { .signals = true };

	/* 10 times four, and the last three when nothing more is held; some more to sleep. */
	assert_in_range(enters_for(&held, 43), 10, 20);
	/* Who signals does not wait. */
	assert_true(enters_for(&urgent, 43) >= 43);
}

static void get_policy(void *arg)
{
	*(int *)arg = sched_getscheduler(0);
}

/* After the loop has gone to sleep, all of it later than what the caller did. */
static int policy_of(struct loop *loop)
{
	struct loop_stats before, stats;
	int policy;

	loop_read_stats(loop, &before);
	do {
		loop_call(loop, get_policy, &policy);
		loop_read_stats(loop, &stats);
	} while (stats.sleeps < before.sleeps + 2);
	loop_call(loop, get_policy, &policy);
	return policy;
}

static void be_idle(void *arg)
{
	static const struct sched_param none = { 0 };

	assert_int_equal(sched_setscheduler(0, SCHED_IDLE, &none), 0);
}

static void a_patient_loop_interrupts_nobody(void **state)
{
	struct loop *loop = make_loop();
	struct patience_group group;
	struct loop_stats stats;
	struct diag diag;

	patience_group_init(&group);
	loop_share_processor(loop, &group);
	assert_false(loop_spins(loop));
	assert_int_equal(loop_start_thread(loop, &diag), 0);
	assert_int_equal(policy_of(loop), SCHED_OTHER);
	atomic_store(&group.is_patient, true);
	assert_int_equal(policy_of(loop), SCHED_BATCH);
	loop_read_stats(loop, &stats);
	assert_true(stats.is_patient);
	atomic_store(&group.is_patient, false);
	assert_int_equal(policy_of(loop), SCHED_OTHER);
	/* Who has given it another policy keeps it. */
	loop_call(loop, be_idle, NULL);
	atomic_store(&group.is_patient, true);
	assert_int_equal(policy_of(loop), SCHED_IDLE);
	loop_stop_thread(loop);
	loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(posted_work_runs_once),
		cmocka_unit_test(deferred_work_can_be_cancelled),
		cmocka_unit_test(timers_fire_in_order_and_can_be_cancelled),
		cmocka_unit_test(an_eventfd_that_is_never_read_gives_an_edge_per_write),
		cmocka_unit_test(a_watch_stopped_between_an_event_and_its_edge_stays_stopped),
		cmocka_unit_test(an_eventfd_is_signalled_and_requests_complete),
		cmocka_unit_test(a_restricted_loop_does_its_work_and_opens_nothing),
		cmocka_unit_test(one_signal_is_in_flight_at_a_time),
		cmocka_unit_test(an_eventfd_that_is_full_holds_up_nobody),
		cmocka_unit_test(a_call_runs_on_the_loops_thread_and_waits),
		cmocka_unit_test(posts_from_many_threads_all_arrive),
		cmocka_unit_test(a_poller_is_armed_before_sleep),
		cmocka_unit_test(held_submissions_share_a_call),
		cmocka_unit_test(a_patient_loop_interrupts_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

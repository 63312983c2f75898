/* SPDX-License-Identifier: MIT */
#include "loop/loop.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/fault.h"
#include "base/num.h"
#include "loop/batch.h"
#include "loop/patience.h"
#include "loop/ring.h"

#define SQ_ENTRIES    256
#define CQ_ENTRIES    2048
#define FIXED_FILES   64
#define STACK_BYTES   (256 * KIB)
#define POLL_NS_FLOOR 2000ULL /* a window smaller than this is no window */

/* What a completion's user_data points at is in its two low bits. */
enum { TAG_REQUEST = 0, TAG_WATCH = 1, TAG_IGNORE = 2, TAG_MASK = 3 };

/* One multi-shot poll in the kernel. Outlives its watch until the kernel has let go of it. */
struct loop_op {
	struct list link;
	struct loop_watch *watch; /* NULL once stopped */
	int fd;
	uint32_t events;
};

struct loop {
	/* the loop's thread */
	struct io_uring ring;
	struct list ops;
	struct list signals; /* struct loop_signal */
	struct list timers;  /* by time, soonest first */
	struct list pollers;
	struct loop_work *queue, **queue_tail;
	struct loop_watch wake_watch;
	uint64_t poll_ns_max, poll_ns; /* the longest window, and the present one */
	uint64_t idle_since_ns;
	struct patience_group *sharing; /* its processor: loop_share_processor() */
	uint32_t work;                  /* since it last slept: loop_note_work() */
	bool ring_enabled;
	bool has_waited;           /* entries of the round before are not submitted yet */
	bool is_holding;           /* they are not, because others are about to come */
	bool is_urgent;            /* somebody waits for one that is queued */
	bool has_requests;         /* one that is queued has a completion to come */
	unsigned int hold_entries; /* loop_hold_submissions(), in this round; 0: not asked for */
	uint64_t fixed_files_used;
	struct batch *batch; /* made when somebody asks for it */
	bool has_no_batch;

	/* any thread */
	const char *name;
	_Atomic(const char *)
		owner; /* the thread's `myself`; NULL: a thread that has yet to begin */
	_Atomic(struct loop_work *) posted; /* newest first */
	atomic_bool quit;
	int wake_fd;
	pthread_t thread;
	bool has_thread;
	atomic_bool is_patient;
	counter_u64 rounds, sleeps, enters, submissions, poll_hits;
};

/* Freed when the kernel has let go of it, or with the loop. */
struct loop_signal {
	struct loop_request request;
	struct loop *loop;
	struct list link; /* in loop->signals */
	int again;        /* what is to be written next, or -1 */
	bool is_in_flight, is_over;
};

/* Its address tells one thread from another: cheaper than a call. */
static _Thread_local const char myself;

uint64_t loop_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* ---- life ---- */

/* The newest set-up that this kernel takes: each flag only saves work. */
static int ring_init(struct io_uring *ring)
{
	static const unsigned int flag_sets[] = {
		IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_R_DISABLED | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_R_DISABLED,
	};
	int err = -EINVAL;

	for (size_t i = 0; i < ARRAY_SIZE(flag_sets) && err == -EINVAL; i++) {
		struct io_uring_params params = { .flags = flag_sets[i] | IORING_SETUP_CQSIZE,
						  .cq_entries = CQ_ENTRIES };

		err = io_uring_queue_init_params(SQ_ENTRIES, ring, &params);
	}
	return err;
}

unsigned int loop_processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned int)CPU_COUNT(&set) : 1;
}

static void on_wake(struct loop_watch *watch, uint32_t poll_events)
{
	/* The posted work is what counts, and each round looks for it. */
	(void)watch;
	(void)poll_events;
}

int loop_create(const char *name, struct loop **ret, struct diag *reterr)
{
	struct loop *loop = fault_alloc(1, sizeof(*loop));
	int err;

	if (!loop) {
		return diag_set(reterr, -ENOMEM, "no memory for an event loop");
	}
	loop->wake_fd = -1;
	err = ring_init(&loop->ring);
	if (err) {
		free(loop);
		return diag_set(
			reterr, err,
			"io_uring is not to be had here (%s); it needs Linux 5.13 or newer, "
			"and kernel.io_uring_disabled=0",
			strerror(-err));
	}
	list_init(&loop->ops);
	list_init(&loop->signals);
	list_init(&loop->timers);
	list_init(&loop->pollers);
	loop->queue_tail = &loop->queue;
	loop->name = name;
	loop->owner = &myself;
	loop->poll_ns_max = loop_processors() > 1 ? LOOP_POLL_NS_DEFAULT : 0;
	loop->poll_ns = loop->poll_ns_max / 2;
	/* Without a table of fixed files loop_file_register() says so, and all still works. */
	if (io_uring_register_files_sparse(&loop->ring, FIXED_FILES)) {
		loop->fixed_files_used = UINT64_MAX;
	}
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = loop->wake_fd < 0
		      ? -errno
		      : loop_watch_start(loop, &loop->wake_watch, loop->wake_fd, POLLIN, on_wake);
	if (err) {
		loop_destroy(loop);
		return diag_set(reterr, err, "cannot make an event loop: %s", strerror(-err));
	}
	*ret = loop;
	return 0;
}

int loop_restrict(struct loop *loop)
{
	static const uint8_t ops[] = { IORING_OP_POLL_ADD, IORING_OP_WRITE,
				       IORING_OP_ASYNC_CANCEL };

	check(!loop->ring_enabled);
	return ring_restrict(&loop->ring, ops, ARRAY_SIZE(ops),
			     IOSQE_CQE_SKIP_SUCCESS | IOSQE_FIXED_FILE,
			     IORING_REGISTER_FILES_UPDATE);
}

static void free_signal(struct loop_signal *signal)
{
	list_remove(&signal->link);
	free(signal);
}

void loop_destroy(struct loop *loop)
{
	if (!loop) {
		return;
	}
	check(!loop->has_thread);
	check(list_is_empty(&loop->timers));
	check(list_is_empty(&loop->pollers));
	io_uring_queue_exit(&loop->ring);
	batch_destroy(loop->batch);
	list_for_each_safe (it, &loop->ops) {
		free(list_entry(it, struct loop_op, link));
	}
	list_for_each_safe (it, &loop->signals) {
		free_signal(list_entry(it, struct loop_signal, link));
	}
	if (loop->wake_fd >= 0) {
		close(loop->wake_fd);
	}
	free(loop);
}

static inline bool is_here(const struct loop *loop)
{
	/* Relaxed: only a thread itself can find itself there. */
	return atomic_load_explicit(&loop->owner, memory_order_relaxed) == &myself;
}

bool loop_is_here(const struct loop *loop)
{
	return is_here(loop);
}

void loop_check_here(const struct loop *loop)
{
	check(is_here(loop));
}

static void wake(struct loop *loop)
{
	uint64_t one = 1;
	ssize_t done = write(loop->wake_fd, &one, sizeof(one));

	(void)done; /* -EAGAIN: it is already as awake as can be */
}

void loop_quit(struct loop *loop)
{
	loop->quit = true;
	wake(loop);
}

static void *thread_main(void *arg)
{
	struct loop *loop = arg;

	prctl(PR_SET_NAME, loop->name);
	loop_run(loop);
	return NULL;
}

int loop_start_thread(struct loop *loop, struct diag *reterr)
{
	pthread_attr_t attr;
	int err;

	/* Until the thread says so itself, so that nobody mistakes himself for it. */
	loop->owner = NULL;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	err = pthread_create(&loop->thread, &attr, thread_main, loop);
	pthread_attr_destroy(&attr);
	if (err) {
		loop->owner = &myself;
		return diag_set(reterr, -err, "cannot start thread %s: %s", loop->name,
				strerror(err));
	}
	loop->has_thread = true;
	return 0;
}

void loop_stop_thread(struct loop *loop)
{
	if (!loop->has_thread) {
		return;
	}
	loop_quit(loop);
	pthread_join(loop->thread, NULL);
	loop->has_thread = false;
	loop->owner = &myself;
}

/* ---- work ---- */

void loop_work_init(struct loop_work *work, loop_work_fn *fn)
{
	*work = (struct loop_work){ .fn = fn };
}

void loop_post(struct loop *loop, struct loop_work *work)
{
	if (atomic_exchange(&work->queued, true)) {
		return;
	}
	struct loop_work *head = atomic_load_explicit(&loop->posted, memory_order_relaxed);

	do {
		work->next = head;
	} while (!atomic_compare_exchange_weak_explicit(
		&loop->posted, &head, work, memory_order_release, memory_order_relaxed));
	if (!head) {
		wake(loop); /* whoever found it empty wakes; the others ride along */
	}
}

void loop_defer(struct loop *loop, struct loop_work *work)
{
	check(is_here(loop));
	/*
	 * Most often it is queued already, and a look is enough: what this thread has done it will
	 * see when the work runs. A locked instruction waits for every store before it, and those
	 * into a ring wait for the guest's cache.
	 */
	if (atomic_load_explicit(&work->queued, memory_order_relaxed) ||
	    atomic_exchange(&work->queued, true)) {
		return;
	}
	work->next = NULL;
	*loop->queue_tail = work;
	loop->queue_tail = &work->next;
}

/* Posted work joins the queue of this thread, in order of posting. */
static void take_posted(struct loop *loop)
{
	struct loop_work *newest, *oldest = NULL;

	if (!atomic_load_explicit(&loop->posted, memory_order_relaxed)) {
		return;
	}
	newest = atomic_exchange_explicit(&loop->posted, NULL, memory_order_acquire);
	while (newest) {
		struct loop_work *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	*loop->queue_tail = oldest;
	while (*loop->queue_tail) {
		loop->queue_tail = &(*loop->queue_tail)->next;
	}
}

void loop_cancel(struct loop *loop, struct loop_work *work)
{
	loop_check_here(loop);
	take_posted(loop);
	for (struct loop_work **at = &loop->queue; *at; at = &(*at)->next) {
		if (*at == work) {
			*at = work->next;
			if (!*at) {
				loop->queue_tail = at;
			}
			work->queued = false;
			return;
		}
	}
}

/* What is queued now; what that queues itself waits for the next round. */
static bool run_queue(struct loop *loop)
{
	struct loop_work end = { .fn = NULL }; /* marks where to stop, and cannot be cancelled */

	if (!loop->queue) {
		return false;
	}
	*loop->queue_tail = &end;
	loop->queue_tail = &end.next;
	while (loop->queue != &end) {
		struct loop_work *work = loop->queue;

		loop->queue = work->next;
		/* It may be queued again, or freed, from within. */
		work->queued = false;
		work->fn(work);
	}
	loop->queue = end.next;
	if (!loop->queue) {
		loop->queue_tail = &loop->queue;
	}
	return true;
}

struct call {
	struct loop_work work;
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
};

static void on_call(struct loop_work *work)
{
	struct call *call = container_of(work, struct call, work);

	call->fn(call->arg);
	sem_post(&call->done);
}

void loop_call(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	if (loop_is_here(loop)) {
		fn(arg);
		return;
	}
	struct call call = { .work = { .fn = on_call }, .fn = fn, .arg = arg };

	sem_init(&call.done, 0, 0);
	loop_post(loop, &call.work);
	while (sem_wait(&call.done) != 0) {
		check(errno == EINTR);
	}
	sem_destroy(&call.done);
}

/* ---- submissions ---- */

static void submit(struct loop *loop)
{
	if (!loop->ring_enabled || io_uring_sq_ready(&loop->ring) == 0) {
		return;
	}
	/* What is done within the call, as on a RAM disk, is then seen without another one. */
	int submitted = loop->has_requests ? io_uring_submit_and_get_events(&loop->ring)
					   : io_uring_submit(&loop->ring);

	loop->is_urgent = loop->has_requests = false;
	counter_add(&loop->enters, 1);
	if (submitted > 0) {
		counter_add(&loop->submissions, (uint64_t)submitted);
	}
}

static struct io_uring_sqe *next_sqe(struct loop *loop, uintptr_t user_data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);

	if (!sqe) {
		submit(loop);
		sqe = io_uring_get_sqe(&loop->ring);
	}
	check(sqe);
	memset(sqe, 0, sizeof(*sqe));
	/* liburing's prep functions leave user_data alone. */
	sqe->user_data = user_data;
	return sqe;
}

struct io_uring_sqe *loop_sqe(struct loop *loop, struct loop_request *request)
{
	check(((uintptr_t)request & TAG_MASK) == 0);
	loop->has_requests = true;
	return next_sqe(loop, (uintptr_t)request | TAG_REQUEST);
}

void loop_signal_eventfd(struct loop *loop, int fd)
{
	static const uint64_t one = 1;
	struct io_uring_sqe *sqe = next_sqe(loop, TAG_IGNORE);

	loop->is_urgent = true;
	io_uring_prep_write(sqe, fd, &one, sizeof(one), 0);
	sqe->user_data = TAG_IGNORE;
	io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS);
}

static void write_signal(struct loop_signal *signal, int fd)
{
	static const uint64_t one = 1;
	struct io_uring_sqe *sqe = next_sqe(signal->loop, 0);

	signal->is_in_flight = true;
	signal->loop->is_urgent = true;
	io_uring_prep_write(sqe, fd, &one, sizeof(one), 0);
	sqe->user_data = (uintptr_t)&signal->request | TAG_REQUEST;
}

static void on_signal_written(struct loop_request *request, int result)
{
	struct loop_signal *signal = container_of(request, struct loop_signal, request);
	int fd = signal->again;

	(void)result; /* a descriptor that cannot be written is its maker's misfortune */
	signal->is_in_flight = false;
	signal->again = -1;
	if (signal->is_over) {
		free_signal(signal);
	} else if (fd >= 0) {
		write_signal(signal, fd);
	}
}

struct loop_signal *loop_signal_create(struct loop *loop)
{
	struct loop_signal *signal = fault_alloc(1, sizeof(*signal));

	loop_check_here(loop);
	if (signal) {
		signal->request.fn = on_signal_written;
		signal->loop = loop;
		signal->again = -1;
		list_append(&loop->signals, &signal->link);
	}
	return signal;
}

void loop_signal_once(struct loop_signal *signal, int fd)
{
	loop_check_here(signal->loop);
	if (signal->is_in_flight) {
		signal->again = fd;
	} else {
		write_signal(signal, fd);
	}
}

void loop_signal_destroy(struct loop_signal *signal)
{
	if (!signal) {
		return;
	}
	loop_check_here(signal->loop);
	if (!signal->is_in_flight) {
		free_signal(signal);
		return;
	}
	signal->is_over = true;
	struct io_uring_sqe *sqe = next_sqe(signal->loop, TAG_IGNORE);

	io_uring_prep_cancel64(sqe, (uintptr_t)&signal->request | TAG_REQUEST, 0);
	sqe->user_data = TAG_IGNORE;
	submit(signal->loop); /* its descriptors may be closed now */
}

void loop_hold_submissions(struct loop *loop, unsigned int entries)
{
	/* Of several who would wait, the least patient decides. */
	if (loop->hold_entries == 0 || entries < loop->hold_entries) {
		loop->hold_entries = entries;
	}
}

int loop_file_register(struct loop *loop, int fd)
{
	loop_check_here(loop);
	for (int i = 0; i < FIXED_FILES; i++) {
		if (!(loop->fixed_files_used & 1ULL << i)) {
			int done = io_uring_register_files_update(&loop->ring, (unsigned int)i, &fd,
								  1);

			if (done < 0) {
				return done;
			}
			loop->fixed_files_used |= 1ULL << i;
			return i;
		}
	}
	return -ENOSPC;
}

void loop_file_unregister(struct loop *loop, int index)
{
	int none = -1;

	loop_check_here(loop);
	if (index >= 0) {
		(void)io_uring_register_files_update(&loop->ring, (unsigned int)index, &none, 1);
		loop->fixed_files_used &= ~(1ULL << index);
	}
}

struct batch *loop_batch(struct loop *loop)
{
	loop_check_here(loop);
	if (!loop->batch && !loop->has_no_batch) {
		loop->has_no_batch = batch_create(&loop->batch) != 0;
	}
	return loop->batch;
}

/* ---- descriptors ---- */

static void arm_op(struct loop *loop, struct loop_op *op)
{
	struct io_uring_sqe *sqe = next_sqe(loop, (uintptr_t)op | TAG_WATCH);

	io_uring_prep_poll_multishot(sqe, op->fd, op->events);
	sqe->user_data = (uintptr_t)op | TAG_WATCH;
}

int loop_watch_start(struct loop *loop, struct loop_watch *watch, int fd, uint32_t poll_events,
		     loop_watch_fn *fn)
{
	struct loop_op *op = fault_alloc(1, sizeof(*op));

	loop_check_here(loop);
	if (!op) {
		return -ENOMEM;
	}
	check(!watch->op);
	*watch = (struct loop_watch){ .loop = loop, .op = op, .fn = fn, .fd = fd };
	*op = (struct loop_op){ .watch = watch, .fd = fd, .events = poll_events };
	list_append(&loop->ops, &op->link);
	arm_op(loop, op);
	return 0;
}

void loop_watch_stop(struct loop_watch *watch)
{
	struct loop_op *op = watch->op;

	if (!op) {
		return;
	}
	loop_check_here(watch->loop);
	op->watch = NULL;
	watch->op = NULL;
	struct io_uring_sqe *sqe = next_sqe(watch->loop, TAG_IGNORE);

	/* Not a poll's own removal: that fails (-EALREADY) while an event is on its way to us. */
	io_uring_prep_cancel64(sqe, (uintptr_t)op | TAG_WATCH, 0);
	sqe->user_data = TAG_IGNORE;
	/* The descriptor may be closed as soon as we return: the kernel must have heard of it. */
	submit(watch->loop);
}

static void complete_op(struct loop *loop, struct loop_op *op, const struct io_uring_cqe *cqe)
{
	bool more = cqe->flags & IORING_CQE_F_MORE;

	if (op->watch && cqe->res > 0) {
		op->watch->fn(op->watch, (uint32_t)cqe->res);
	}
	if (more) {
		return;
	}
	if (op->watch && cqe->res > 0) {
		arm_op(loop, op);
		return;
	}
	if (op->watch) {
		op->watch->op = NULL; /* the kernel will not watch it: a closed descriptor */
	}
	list_remove(&op->link);
	free(op);
}

static bool reap(struct loop *loop)
{
	struct io_uring_cqe *cqes[32];
	unsigned int n, total = 0;

	/* Bounded, so that a flood of completions does not keep timers and posted work waiting. */
	while (total < CQ_ENTRIES && (n = io_uring_peek_batch_cqe(&loop->ring, cqes, 32)) > 0) {
		for (unsigned int i = 0; i < n; i++) {
			struct io_uring_cqe cqe = *cqes[i];
			void *target = (void *)(uintptr_t)(cqe.user_data & ~(uint64_t)TAG_MASK);

			switch (cqe.user_data & TAG_MASK) {
			case TAG_REQUEST:
				((struct loop_request *)target)->fn(target, cqe.res);
				break;
			case TAG_WATCH:
				complete_op(loop, target, &cqe);
				break;
			default:
				break;
			}
		}
		io_uring_cq_advance(&loop->ring, n);
		total += n;
	}
	return total > 0;
}

/* ---- timers ---- */

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_timer_fn *fn)
{
	*timer = (struct loop_timer){ .loop = loop, .fn = fn };
	list_init(&timer->link);
}

void loop_timer_arm(struct loop_timer *timer, uint64_t delay_ns)
{
	loop_check_here(timer->loop);
	list_remove(&timer->link);
	timer->at_ns = loop_now_ns() + delay_ns;
	struct list *at = timer->loop->timers.next;

	while (at != &timer->loop->timers &&
	       list_entry(at, struct loop_timer, link)->at_ns <= timer->at_ns) {
		at = at->next;
	}
	list_insert_before(at, &timer->link);
}

void loop_timer_cancel(struct loop_timer *timer)
{
	if (timer->loop) {
		loop_check_here(timer->loop);
		list_remove(&timer->link);
	}
}

bool loop_timer_is_armed(const struct loop_timer *timer)
{
	return timer->loop && !list_is_empty(&timer->link);
}

static bool run_timers(struct loop *loop)
{
	bool any = false;

	if (list_is_empty(&loop->timers)) {
		return false;
	}
	uint64_t now = loop_now_ns();
	struct loop_timer *timer;

	while ((timer = list_first(&loop->timers, struct loop_timer, link)) &&
	       timer->at_ns <= now) {
		list_remove(&timer->link);
		timer->fn(timer);
		any = true;
	}
	return any;
}

/* ---- pollers ---- */

void loop_poller_add(struct loop *loop, struct loop_poller *poller)
{
	loop_check_here(loop);
	list_append(&loop->pollers, &poller->link);
}

void loop_poller_remove(struct loop *loop, struct loop_poller *poller)
{
	loop_check_here(loop);
	list_remove(&poller->link);
}

void loop_set_poll_ns(struct loop *loop, uint64_t ns)
{
	loop->poll_ns_max = ns;
	loop->poll_ns = ns / 2;
}

void loop_share_processor(struct loop *loop, struct patience_group *group)
{
	loop_set_poll_ns(loop, 0);
	loop->sharing = group;
}

void loop_note_work(struct loop *loop, unsigned int count)
{
	loop->work += count;
}

bool loop_spins(const struct loop *loop)
{
	return loop->poll_ns_max > 0;
}

static bool run_pollers(struct loop *loop)
{
	bool any = false;

	list_for_each_safe (it, &loop->pollers) {
		struct loop_poller *poller = list_entry(it, struct loop_poller, link);

		any |= poller->ops->poll(poller);
	}
	return any;
}

static bool arm_pollers(struct loop *loop)
{
	bool any = false;

	list_for_each_safe (it, &loop->pollers) {
		struct loop_poller *poller = list_entry(it, struct loop_poller, link);

		any |= poller->ops->arm(poller);
	}
	return any;
}

/* ---- the loop ---- */

static bool run_round(struct loop *loop)
{
	bool any = false;

	loop->hold_entries = 0;
	counter_add(&loop->rounds, 1);
	take_posted(loop);
	any |= reap(loop);
	any |= run_timers(loop);
	any |= run_pollers(loop);
	any |= run_queue(loop);
	return any;
}

/*
 * After a round with work. What it queued goes out at once if this thread may spin, for it will look
 * for the answers soon; else it rides along with the system call that sleeps, unless the next round
 * has work as well.
 */
static void submit_or_wait(struct loop *loop)
{
	unsigned int queued = io_uring_sq_ready(&loop->ring);

	loop->is_holding = queued > 0 && queued < loop->hold_entries && !loop->is_urgent;
	if (loop->is_holding) {
		return;
	}
	if (loop->poll_ns >= POLL_NS_FLOOR || loop->has_waited) {
		submit(loop);
		loop->has_waited = false;
	} else {
		loop->has_waited = io_uring_sq_ready(&loop->ring) > 0;
	}
}

static void enable_ring(struct loop *loop)
{
	if (!loop->ring_enabled) {
		check(ring_enable(&loop->ring) == 0);
		loop->ring_enabled = true;
	}
}

/* Nothing to do: whether to look once more rather than to sleep. */
static bool may_spin(struct loop *loop)
{
	if (loop->poll_ns < POLL_NS_FLOOR || list_is_empty(&loop->pollers)) {
		return false;
	}
	uint64_t now = loop_now_ns();

	if (loop->idle_since_ns == 0) {
		loop->idle_since_ns = now;
	}
	__builtin_ia32_pause();
	return now - loop->idle_since_ns < loop->poll_ns;
}

/* A short sleep says that a longer look would have paid; a long one that it was wasted. */
static void adapt_window(struct loop *loop, uint64_t slept_ns)
{
	if (loop->poll_ns_max == 0) {
		return;
	}
	if (slept_ns < loop->poll_ns_max) {
		loop->poll_ns =
			num_min(num_max(loop->poll_ns * 2, 2 * POLL_NS_FLOOR), loop->poll_ns_max);
	} else if (slept_ns > 2 * loop->poll_ns_max) {
		loop->poll_ns /= 2;
	}
}

/* Who is woken under SCHED_BATCH does not take the processor from anybody. */
static void be_patient(struct loop *loop, bool is_patient)
{
	static const struct sched_param none = { 0 };
	int policy = sched_getscheduler(0);

	if (policy != SCHED_OTHER && policy != SCHED_BATCH) {
		loop->sharing = NULL; /* somebody knows better, and said so with chrt(1) */
		return;
	}
	(void)sched_setscheduler(0, is_patient ? SCHED_BATCH : SCHED_OTHER, &none);
	atomic_store_explicit(&loop->is_patient, is_patient, memory_order_relaxed);
}

static void adapt_patience(struct loop *loop, uint64_t now_ns)
{
	if (!loop->sharing) {
		return;
	}
	bool is_patient = patience_group_sleeps(loop->sharing, loop->work, now_ns);

	loop->work = 0;
	if (is_patient != atomic_load_explicit(&loop->is_patient, memory_order_relaxed)) {
		be_patient(loop, is_patient);
	}
}

static void sleep_for_events(struct loop *loop)
{
	struct loop_timer *timer = list_first(&loop->timers, struct loop_timer, link);
	struct __kernel_timespec ts, *timeout = NULL;
	struct io_uring_cqe *cqe;
	uint64_t before = loop_now_ns();

	if (timer) {
		uint64_t left = timer->at_ns > before ? timer->at_ns - before : 0;

		ts.tv_sec = (long long)(left / 1000000000ULL);
		ts.tv_nsec = (long long)(left % 1000000000ULL);
		timeout = &ts;
	}
	adapt_patience(loop, before);
	loop->has_waited = loop->is_holding = loop->is_urgent = loop->has_requests = false;
	counter_add(&loop->sleeps, 1);
	counter_add(&loop->enters, 1);
	counter_add(&loop->submissions, io_uring_sq_ready(&loop->ring));
	(void)io_uring_submit_and_wait_timeout(&loop->ring, &cqe, 1, timeout, NULL);
	adapt_window(loop, loop_now_ns() - before);
}

bool loop_turn(struct loop *loop)
{
	loop_check_here(loop);
	enable_ring(loop);
	bool any = run_round(loop);

	submit(loop);
	(void)io_uring_get_events(&loop->ring);
	return arm_pollers(loop) || any;
}

void loop_run(struct loop *loop)
{
	loop->owner = &myself;
	enable_ring(loop);
	while (!loop->quit) {
		if (run_round(loop) || loop->is_holding) {
			submit_or_wait(loop);
			if (loop->idle_since_ns) {
				counter_add(&loop->poll_hits, 1);
				loop->idle_since_ns = 0;
			}
			continue;
		}
		if (may_spin(loop)) {
			continue;
		}
		loop->idle_since_ns = 0;
		if (arm_pollers(loop) || loop->quit) {
			continue;
		}
		sleep_for_events(loop);
	}
	loop->quit = false;
}

void loop_read_stats(const struct loop *loop, struct loop_stats *ret)
{
	*ret = (struct loop_stats){
		.rounds = counter_read(&loop->rounds),
		.sleeps = counter_read(&loop->sleeps),
		.enters = counter_read(&loop->enters),
		.submissions = counter_read(&loop->submissions),
		.poll_hits = counter_read(&loop->poll_hits),
		.is_patient = atomic_load_explicit(&loop->is_patient, memory_order_relaxed),
	};
}

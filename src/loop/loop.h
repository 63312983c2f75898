/* SPDX-License-Identifier: MIT */
/*
 * Event loops: who runs what.
 *
 * A loop is one thread that sleeps in io_uring. It runs, in this order and until nothing is left:
 * completions (watched descriptors and submitted I/O), timers, pollers, and the work that other
 * threads have posted or this one has deferred. Then it submits what those queued, in one system call, and
 * sleeps in the same call.
 *
 *   owner   whoever creates it (the worker)
 *   thread  everything is called on the loop's own thread unless it says "any thread". Before
 *           loop_run() has begun, the creating thread counts as the loop's own.
 *
 * Objects that a loop calls (watch, timer, work, poller, request) are embedded in their owner and
 * must be stopped before they are freed. No function here allocates after loop_create(), except
 * loop_watch_start().
 *
 *   spec    io_uring(7), liburing(7)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "base/list.h"

struct loop;
struct io_uring_sqe;

/* ---- life ---------------------------------------------------------------------------------- */

/*
 * name (borrowed for ever: a literal) is the thread's name. 0, or the errno of io_uring_setup with
 * a sentence in *reterr.
 */
MUST_CHECK int loop_create(const char *name, struct loop **ret, struct diag *reterr);

/*
 * Before it runs: from then on its ring only polls, writes (for eventfds) and cancels, on descriptors that there
 * are, whoever fills it. A list of system calls (seccomp) does not see what a ring is asked for: without
 * this it could open files and sockets. 0 or a negative errno.
 */
MUST_CHECK int loop_restrict(struct loop *loop);

/* NULL is fine. Nothing may be watched, armed or in flight any more. */
void loop_destroy(struct loop *loop);

/* Runs on this thread until loop_quit(). May be called again afterwards. */
void loop_run(struct loop *loop);

/* Any thread: loop_run() returns soon. */
void loop_quit(struct loop *loop);

/* Runs the loop on a new thread; join with loop_stop_thread(), which quits it. */
MUST_CHECK int loop_start_thread(struct loop *loop, struct diag *reterr);
void loop_stop_thread(struct loop *loop);

/* Runs one round without sleeping; whether anything happened. For tests on the creating thread. */
bool loop_turn(struct loop *loop);

/* Any thread: is this the loop's own thread? loop_check_here ends the process when it is not. */
bool loop_is_here(const struct loop *loop);
void loop_check_here(const struct loop *loop);

/* CLOCK_MONOTONIC, any thread. */
uint64_t loop_now_ns(void);

/* ---- work: run a function later ------------------------------------------------------------- */

struct loop_work;
typedef void loop_work_fn(struct loop_work *work);

/* Zero it, or loop_work_init(). Queued at most once at a time. */
struct loop_work {
	loop_work_fn *fn;
	struct loop_work *next; /* the loop's */
	_Atomic(bool) queued;   /* the loop's */
};

void loop_work_init(struct loop_work *work, loop_work_fn *fn);

/* Any thread, never fails, never blocks: runs work->fn on the loop; no-op when already queued. */
void loop_post(struct loop *loop, struct loop_work *work);

/* The loop's thread: the same at the end of this round, without a wake-up. */
void loop_defer(struct loop *loop, struct loop_work *work);

/*
 * Takes queued work back; no-op when it is not queued. The loop's thread, and only for work that no
 * other thread may be posting at this moment.
 */
void loop_cancel(struct loop *loop, struct loop_work *work);

/*
 * Another thread (never an I/O loop: only the control loop and tests): runs fn(arg) on the loop and
 * waits until it has returned. On the loop's own thread it just calls.
 */
void loop_call(struct loop *loop, void (*fn)(void *arg), void *arg);

/* ---- descriptors ------------------------------------------------------------------------------ */

struct loop_watch;
struct loop_op;
typedef void loop_watch_fn(struct loop_watch *watch, uint32_t poll_events);

/*
 * Calls fn each time the descriptor *becomes* ready (edge-triggered, multi-shot): fn reads until
 * -EAGAIN. An eventfd used as a doorbell need not be read at all: each write is an edge, and not
 * reading it saves a system call.
 */
struct loop_watch {
	struct loop *loop;
	struct loop_op *op; /* the loop's */
	loop_watch_fn *fn;
	int fd; /* borrowed until loop_watch_stop() */
};

/* poll_events: POLLIN, POLLOUT… Zero the watch first. -ENOMEM. */
MUST_CHECK int loop_watch_start(struct loop *loop, struct loop_watch *watch, int fd,
				uint32_t poll_events, loop_watch_fn *fn);

/* fn is not called again. No-op when not started. */
void loop_watch_stop(struct loop_watch *watch);

/* ---- timers ---------------------------------------------------------------------------------- */

struct loop_timer;
typedef void loop_timer_fn(struct loop_timer *timer);

struct loop_timer {
	struct list link; /* the loop's */
	struct loop *loop;
	loop_timer_fn *fn;
	uint64_t at_ns;
};

void loop_timer_init(struct loop_timer *timer, struct loop *loop, loop_timer_fn *fn);

/* Once, delay_ns from now; moves the timer when it is armed. */
void loop_timer_arm(struct loop_timer *timer, uint64_t delay_ns);
void loop_timer_cancel(struct loop_timer *timer);
bool loop_timer_is_armed(const struct loop_timer *timer);

/* ---- I/O --------------------------------------------------------------------------------------- */

struct loop_request;
/* result: what io_uring says: bytes, or a negative errno. */
typedef void loop_request_fn(struct loop_request *request, int result);

struct loop_request {
	loop_request_fn *fn;
};

/*
 * An empty submission entry whose completion goes to request->fn; the caller prepares it with
 * io_uring_prep_*() and io_uring_sqe_set_flags() and leaves its user_data alone. Submitted at the
 * end of this round. Never NULL: submits early when the queue is full.
 */
struct io_uring_sqe *loop_sqe(struct loop *loop, struct loop_request *request);

/*
 * Adds 1 to an eventfd at the end of this round, without a system call of its own. The eventfd must
 * be EFD_NONBLOCK: io_uring hands a blocking one to a kernel thread, which costs far more.
 */
void loop_signal_eventfd(struct loop *loop, int fd);

/*
 * The same for an eventfd that another process has made and may have made a blocking one: at most one
 * write is in flight, and what is signalled meanwhile is one more write after it, to the last one
 * named. NULL: no memory.
 */
struct loop_signal;
struct loop_signal *loop_signal_create(struct loop *loop);
/* The descriptor lives until loop_signal_destroy(). */
void loop_signal_once(struct loop_signal *signal, int fd);
/* NULL is fine. A write in flight is given up. */
void loop_signal_destroy(struct loop_signal *signal);

/*
 * What was or will be queued in this round need not be submitted before there are so many entries, or
 * loop_signal_eventfd() was called, or the loop sleeps: more are about to come. For this round only.
 */
void loop_hold_submissions(struct loop *loop, unsigned int entries);

/*
 * Registers a descriptor with the ring ("fixed file"), which saves its look-up on each request.
 * Returns the index for IOSQE_FIXED_FILE, or a negative errno, which is no tragedy: use the
 * descriptor itself then.
 */
int loop_file_register(struct loop *loop, int fd);
void loop_file_unregister(struct loop *loop, int index);

/*
 * Several reads or writes in one system call, done when it returns (loop/batch.h): the loop's, made at
 * the first call. NULL: not to be had, and the caller makes a system call for each. A process that may
 * not make rings later calls it beforehand.
 */
struct batch;
struct batch *loop_batch(struct loop *loop);

/* ---- polling before sleep --------------------------------------------------------------------- */

struct loop_poller;

/*
 * A source that can be looked at cheaply (a ring in shared memory). While the loop is awake it
 * calls poll() again and again; before it sleeps it calls arm(), which asks the other side for a
 * wake-up and looks once more.
 */
struct loop_poller_ops {
	/* Does what there is to do; whether there was anything. */
	bool (*poll)(struct loop_poller *poller);
	/* Asks for a wake-up (unmask the doorbell); true when work turned up meanwhile. */
	bool (*arm)(struct loop_poller *poller);
};

struct loop_poller {
	const struct loop_poller_ops *ops;
	struct list link; /* the loop's */
};

void loop_poller_add(struct loop *loop, struct loop_poller *poller);
void loop_poller_remove(struct loop *loop, struct loop_poller *poller);

/*
 * The longest time that the loop looks at its pollers in vain before it sleeps; it adapts below
 * that. Default LOOP_POLL_NS_DEFAULT where the process may use more than one processor, else 0:
 * spinning would only take the time away from whom we wait for (who knows how many threads there
 * are to be compares them with loop_processors()).
 */
#define LOOP_POLL_NS_DEFAULT 50000ULL
void loop_set_poll_ns(struct loop *loop, uint64_t ns);

/*
 * This loop has no processor of its own: it never spins, and finds out, with the others of its group,
 * whether more gets done when a wake-up interrupts whoever runs there or when it waits for him
 * (loop/patience.h). The group is borrowed until loop_destroy(). Before the thread runs.
 */
struct patience_group;
void loop_share_processor(struct loop *loop, struct patience_group *group);

/* What they go by: requests, frames, what counts as work done. From a poller. */
void loop_note_work(struct loop *loop, unsigned int count);

/* Whether it ever spins. */
bool loop_spins(const struct loop *loop);

/* The processors that this process may use; at least 1. Any thread. */
unsigned int loop_processors(void);

/* Counters, monotonic; any thread may read them (each is exact, together they are a snapshot). */
struct loop_stats {
	uint64_t rounds;      /* times around */
	uint64_t sleeps;      /* times it had to wait in the kernel */
	uint64_t enters;      /* io_uring_enter calls */
	uint64_t submissions; /* entries submitted */
	uint64_t poll_hits;   /* work found while polling before sleep */
	bool is_patient;      /* at present; no counter: loop_share_processor() */
};
void loop_read_stats(const struct loop *loop, struct loop_stats *ret);

/* SPDX-License-Identifier: MIT */
#include "meter.h"

#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/num.h"
#include "loop/loop.h"

/* Others use this machine, too: many short attempts, and the best counts. */
#define HERTZ_ROTATIONS 200000
#define LINE_TRIPS      500
#define ATTEMPTS        400

/* ---- processors --------------------------------------------------------------------------------- */

int meter_processors(int *ret_cpus, int max)
{
	cpu_set_t set;
	int count = 0;

	check(sched_getaffinity(0, sizeof(set), &set) == 0);
	for (int cpu = 0; cpu < CPU_SETSIZE && count < max; cpu++) {
		if (CPU_ISSET(cpu, &set)) {
			ret_cpus[count++] = cpu;
		}
	}
	return count;
}

void meter_pin_any(const int *cpus, int count)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (int i = 0; i < count; i++) {
		CPU_SET(cpus[i], &set);
	}
	check(sched_setaffinity(0, sizeof(set), &set) == 0);
}

void meter_pin(int cpu)
{
	meter_pin_any(&cpu, 1);
}

pthread_t meter_thread(int cpu, void *(*fn)(void *arg), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_attr_init(&attr);
	check(pthread_attr_setaffinity_np(&attr, sizeof(set), &set) == 0);
	check(pthread_create(&thread, &attr, fn, arg) == 0);
	pthread_attr_destroy(&attr);
	return thread;
}

double meter_hertz(void)
{
	uint64_t best = UINT64_MAX;

	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		uint64_t began = loop_now_ns(), word = 1;

		for (int i = 0; i < HERTZ_ROTATIONS / 8; i++) {
			/* Not additions, which newer processors fold into one another. */
			__asm__ volatile("rol $1, %0\n\trol $1, %0\n\trol $1, %0\n\trol $1, %0\n\t"
					 "rol $1, %0\n\trol $1, %0\n\trol $1, %0\n\trol $1, %0"
					 : "+r"(word));
		}
		best = num_min(best, loop_now_ns() - began);
	}
	return HERTZ_ROTATIONS * 1e9 / (double)best;
}

struct bounce {
	_Alignas(128) _Atomic(uint32_t) turn;
};

static void *bounce_back(void *arg)
{
	struct bounce *bounce = arg;

	for (uint32_t i = 0; i < ATTEMPTS * LINE_TRIPS; i++) {
		while (atomic_load_explicit(&bounce->turn, memory_order_acquire) != 2 * i + 1) {}
		atomic_store_explicit(&bounce->turn, 2 * i + 2, memory_order_release);
	}
	return NULL;
}

double meter_line_ns(int cpu, int other_cpu)
{
	struct bounce bounce = { 0 };
	uint64_t best = UINT64_MAX;
	uint32_t i = 0;

	meter_pin(cpu);
	pthread_t other = meter_thread(other_cpu, bounce_back, &bounce);

	for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
		uint64_t began = loop_now_ns();

		for (int trip = 0; trip < LINE_TRIPS; trip++, i++) {
			atomic_store_explicit(&bounce.turn, 2 * i + 1, memory_order_release);
			while (atomic_load_explicit(&bounce.turn, memory_order_acquire) !=
			       2 * i + 2) {}
		}
		best = num_min(best, loop_now_ns() - began);
	}
	pthread_join(other, NULL);
	return (double)best / (2.0 * LINE_TRIPS);
}

/* ---- the processor's counters ------------------------------------------------------------------- */

bool meter_start(struct meter *meter)
{
	static const uint64_t events[METER_COUNTS] = { PERF_COUNT_HW_CPU_CYCLES,
						       PERF_COUNT_HW_INSTRUCTIONS,
						       PERF_COUNT_HW_CACHE_MISSES };

	for (int i = 0; i < METER_COUNTS; i++) {
		struct perf_event_attr attr = { .type = PERF_TYPE_HARDWARE,
						.size = sizeof(attr),
						.config = events[i],
						.exclude_hv = 1 };

		meter->fds[i] = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	}
	return meter->fds[METER_CYCLES] >= 0 && meter->fds[METER_INSTRUCTIONS] >= 0;
}

void meter_stop(struct meter *meter, uint64_t *ret_counts)
{
	for (int i = 0; i < METER_COUNTS; i++) {
		ret_counts[i] = 0;
		if (meter->fds[i] >= 0) {
			if (read(meter->fds[i], &ret_counts[i], 8) != 8) {
				ret_counts[i] = 0;
			}
			close(meter->fds[i]);
		}
	}
}

/* ---- one by one --------------------------------------------------------------------------------- */

static volatile unsigned int *side; /* shared with the child */

void meter_side(unsigned int which)
{
	if (side) {
		*side = which;
	}
}

void meter_mark(void)
{
	raise(SIGSTOP);
}

/* Goes on until the child has stopped by itself; whether it has. */
static bool wait_mark(pid_t child)
{
	int status;

	return waitpid(child, &status, 0) == child && WIFSTOPPED(status) &&
	       WSTOPSIG(status) == SIGSTOP;
}

static bool step_to_mark(pid_t child, uint64_t *ret_instructions)
{
	unsigned long long at, before = 0;
	int status;

	for (;;) {
		if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) ||
		    waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) {
			return false;
		}
		if (WSTOPSIG(status) == SIGSTOP) {
			return true;
		}
		at = (unsigned long long)ptrace(PTRACE_PEEKUSER, child,
						offsetof(struct user_regs_struct, rip), NULL);
		/* A repeated string instruction stops at each repetition. */
		if (at != before) {
			ret_instructions[*side % METER_SIDES]++;
		}
		before = at;
	}
}

/* A child that is traced, and runs fn; or -1. */
static pid_t start_traced(void (*fn)(void *ctx), void *ctx)
{
	pid_t child = fork();

	if (child == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) {
			_exit(1);
		}
		fn(ctx);
		_exit(0);
	}
	return child;
}

static void end_traced(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

bool meter_steps(void (*fn)(void *ctx), void *ctx, uint64_t *ret_instructions)
{
	uint64_t counts[METER_SIDES] = { 0 };
	bool done = false;
	pid_t child;

	side = mmap(NULL, sizeof(*side), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(side != MAP_FAILED);
	child = start_traced(fn, ctx);
	if (child > 0) {
		done = wait_mark(child) && step_to_mark(child, counts);
		end_traced(child);
	}
	munmap((void *)side, sizeof(*side));
	side = NULL;
	for (int i = 0; i < METER_SIDES; i++) {
		ret_instructions[i] = counts[i];
	}
	return done;
}

/* Each call stops twice, when it begins and when it ends. */
static bool call_to_mark(pid_t child, uint64_t *ret_calls)
{
	uint64_t stops = 0;
	int status;

	if (ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD)) {
		return false;
	}
	for (;;) {
		if (ptrace(PTRACE_SYSCALL, child, NULL, NULL) ||
		    waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) {
			return false;
		}
		if (WSTOPSIG(status) == SIGSTOP) {
			*ret_calls = stops / 2;
			return true;
		}
		stops += WSTOPSIG(status) == (SIGTRAP | 0x80);
	}
}

bool meter_calls(void (*fn)(void *ctx), void *ctx, uint64_t *ret_calls)
{
	pid_t child = start_traced(fn, ctx);
	bool done = false;

	if (child > 0) {
		done = wait_mark(child) && call_to_mark(child, ret_calls);
		end_traced(child);
	}
	return done;
}

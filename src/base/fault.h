/* SPDX-License-Identifier: MIT */
/*
 * Fail the n-th. Tests arm a countdown; every allocation that goes through fault_alloc() and every
 * call site that asks fault_point() counts; the n-th one fails. Disarmed (the default) it costs one
 * predictable branch. Used by the `fault` suite.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* The n-th point from now fails, n >= 1; 0 disarms. Not thread safe: tests are single-threaded. */
void fault_arm(unsigned int n);

/* Points passed since the last arming; whether the armed one was reached. */
unsigned int fault_points(void);
bool fault_fired(void);

/* True when this point is the one that must fail. */
bool fault_point(void);

/* calloc that can be made to fail. */
void *fault_alloc(size_t count, size_t bytes);

/*
 * Die at the n-th. Code whose stores another process must be able to pick up after our death says
 * fault_store() before each of them; a test's child process arms this, and at the n-th (n >= 1) it is
 * killed. 0 disarms. One predictable branch when disarmed.
 */
void fault_crash(unsigned int n);

extern _Atomic unsigned int fault_stores_left; /* fault.c's; 0: disarmed; any thread's stores */
void fault_store_armed(void);

static inline void fault_store(void)
{
	if (__builtin_expect(atomic_load_explicit(&fault_stores_left, memory_order_relaxed) != 0,
			     0)) {
		fault_store_armed();
	}
}

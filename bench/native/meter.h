/* SPDX-License-Identifier: MIT */
/*
 * What a processor can be asked: its clock, what moving a cache line to another core costs, its
 * counters; and, where there are none, instructions counted one by one.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Processors that this process may use, at most max; their number. */
int meter_processors(int *ret_cpus, int max);

/* This thread stays on this processor; on any of these. */
void meter_pin(int cpu);
void meter_pin_any(const int *cpus, int count);

/* A thread that is on its processor from the start, for ours may never let it go there. */
pthread_t meter_thread(int cpu, void *(*fn)(void *arg), void *arg);

/* Cycles a second of this core, at work, from rotations that wait for each other. */
double meter_hertz(void);

/* Nanoseconds for a cache line to go from one core to another: half a round trip. */
double meter_line_ns(int cpu, int other_cpu);

/* ---- the processor's counters ------------------------------------------------------------------- */

enum meter_count { METER_CYCLES, METER_INSTRUCTIONS, METER_CACHE_MISSES, METER_COUNTS };

struct meter {
	int fds[METER_COUNTS];
};

/* Counts this thread from now on; false when the processor counts nothing for us. */
bool meter_start(struct meter *meter);
void meter_stop(struct meter *meter, uint64_t *ret_counts);

/* ---- one by one --------------------------------------------------------------------------------- */

#define METER_SIDES 2

/*
 * Runs fn(ctx) in a child process that is executed step by step between its two calls of
 * meter_mark(); how many instructions fell on each side (meter_side(), 0 at first). Those of the
 * kernel are not counted, and a repeated string instruction is one. False when we may not trace.
 */
bool meter_steps(void (*fn)(void *ctx), void *ctx, uint64_t *ret_instructions);
/*
 * The same for system calls between the marks; what the second mark is made of is among them, always the same.
 */
bool meter_calls(void (*fn)(void *ctx), void *ctx, uint64_t *ret_calls);
void meter_mark(void);
void meter_side(unsigned int side);

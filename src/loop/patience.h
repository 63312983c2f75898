/* SPDX-License-Identifier: MIT */
/*
 * Patience: whether loops that share their processors take them at once when they are woken.
 *
 * Eager, it runs at once, and whoever woke it stops in the middle of what it did: a guest that hands
 * over a burst of requests loses its processor at the first of them, is answered, and loses it again
 * at the second. Patient, the loop runs when the other has halted or its slice has ended: a whole
 * burst costs one wake-up. But a guest that computes beside its requests then waits a slice, some
 * milliseconds, for each answer.
 *
 * Which it is cannot be told from the requests (one who is answered at once never shows two), so both
 * are tried and the work that gets done is compared:
 *
 *   epoch   at least PATIENCE_EPOCH_NS and PATIENCE_EPOCH_WAKES sleeps; work per time is its rate.
 *   trial   an epoch of the usual manner, one of the other, one of the usual again. The other wins
 *           when its rate is clearly above the mean of its neighbours'. A trial that changes
 *           nothing makes the next one rarer, down to one in PATIENCE_TRIAL_MAX epochs; a rate
 *           that has changed a lot since the last trial brings the next one soon.
 *
 * Loops that serve the same guest decide together: an eager one beside a patient one would gain what
 * the other loses.
 *
 *   owner, thread  struct patience: none of its own. struct patience_group: whoever creates the
 *                  loops; any thread. Pure: time is handed in.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PATIENCE_EPOCH_NS    30000000ULL
#define PATIENCE_EPOCH_WAKES 8U

/* Epochs from one trial to the next: at first, and at most. */
#define PATIENCE_TRIAL_MIN   2U
#define PATIENCE_TRIAL_MAX   256U

/* Clearly above: by one part in so many. */
#define PATIENCE_MARGIN      16U

/* So many times more or less work than before is another load. */
#define PATIENCE_RATE_FACTOR 4U

/* With less work than this in an epoch, nothing is compared: it is idle. */
#define PATIENCE_WORK_MIN    8U

enum patience_step {
	PATIENCE_USUAL,
	PATIENCE_BEFORE, /* a trial's first epoch */
	PATIENCE_OTHER,  /* its second: the other manner */
	PATIENCE_AFTER,  /* its third */
};

struct patience {
	bool is_patient; /* at present */
	bool is_usual;   /* patient is what it usually is */
	enum patience_step step;
	uint32_t trial_in;    /* epochs until the next trial… */
	uint32_t trial_after; /* …and after one that changes nothing */
	uint32_t wakes;       /* in this epoch */
	uint64_t since_ns;    /* its beginning, CLOCK_MONOTONIC; 0: none yet */
	uint64_t work;        /* done in it */
	uint64_t rate[3];     /* of the last trial's epochs, work per second */
	uint64_t changes;     /* of the usual manner; for tests */
};

void patience_init(struct patience *patience);

/* Work was done: count requests, frames, whatever is counted alike in both manners. */
static inline void patience_worked(struct patience *patience, uint32_t count)
{
	patience->work += count;
}

/* The loop is about to sleep. Whether is_patient has changed. */
bool patience_sleeps(struct patience *patience, uint64_t now_ns);

/* Several loops' patience. */
struct patience_group {
	atomic_flag busy; /* somebody has patience */
	atomic_bool is_patient;
	atomic_uint work; /* that patience has not heard of */
	struct patience patience;
};

void patience_group_init(struct patience_group *group);

/* Any thread: a loop is about to sleep, having done so much work since it last was. Whether to be patient. */
bool patience_group_sleeps(struct patience_group *group, uint32_t work, uint64_t now_ns);

/* SPDX-License-Identifier: MIT */
/*
 * Interrupt coalescing: when the answers of a channel are shown to its guest.
 *
 * A guest with many requests hands them over one by one, microseconds apart. Who answers each at once
 * interrupts the guest while it still writes the next, and pays a system call, a doorbell and an
 * interrupt for each few. Who gathers for a fixed time, or to a fixed number, makes a guest with one
 * request wait for others that never come. So this looks at what the guest does:
 *
 *   target   answers that leave together. 1: each at once, but for a rare probe.
 *   hold     answers are ready, fewer than target, and the guest is in a burst of requests: they
 *            wait. A hold ends with target answers; or in vain, at the end of the burst: no
 *            request for GAPS_TO_WAIT times as long as they were apart of late. What was ready by
 *            then is the new target, but at least half of the old one: a guest that has become
 *            slow, or whose device answers when the burst is long over, is soon answered at once.
 *   probe    a hold with four times the target as its goal: only by waiting longer can it be seen that
 *            there is more. One that finds more is followed by another; one that does not makes
 *            the next rarer, and so does each lowering of target, down to one in COALESCE_PROBE_MAX
 *            holds. With a target of 1, requests that come together lead to one, and, since a quick
 *            host may never see two at once, one showing in COALESCE_BLIND does.
 *
 * A guest that gives away all its requests in a burst thus has them answered with one interrupt, as
 * with a device that is told once at a burst's end; and nobody waits longer than some gaps between
 * two of his own requests.
 *
 *   owner, thread  the channel, on its I/O loop. Pure: time is handed in.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* The most answers that leave together. */
#define COALESCE_TARGET_MAX  32U

/* No answer waits longer for others, whatever the guest does. */
#define COALESCE_HOLD_NS_MAX 2000000ULL

/* Holds from one probe to the next grow to this when those before were in vain. */
#define COALESCE_PROBE_MAX   256U

/* So many showings without a hold, and one is tried. */
#define COALESCE_BLIND       4096U

struct coalesce {
	bool is_allowed;
	bool is_probing;
	bool is_over;         /* the burst: no more requests are expected */
	uint32_t target;      /* answers; at least 1 */
	uint32_t outstanding; /* requests taken whose answers have not been shown */
	uint32_t held;        /* answers that are ready, of these */
	uint32_t probe_in;    /* holds until the next probe… */
	uint32_t probe_after; /* …after one that found no more */
	uint32_t retry_after; /* …after target was lowered */
	uint32_t blind;       /* showings while it is off, until COALESCE_BLIND */
	uint64_t gap_ns;      /* between two requests, on average */
	uint64_t arrival_ns;  /* the last request, CLOCK_MONOTONIC; 0: not known */
	uint64_t hold_ns;     /* the first look since answers were last shown; 0: none yet */
	uint64_t in_vain;     /* holds that ended so; for people */
};

/* Not allowed: every answer at once, for ever. */
void coalesce_init(struct coalesce *coalesce, bool is_allowed);

/* Whether it gathers at present; only then does it need to know the time. */
static inline bool coalesce_is_on(const struct coalesce *coalesce)
{
	return coalesce->target > 1 || coalesce->is_probing;
}

/* The answers that end this hold. */
static inline uint32_t coalesce_goal(const struct coalesce *coalesce)
{
	return coalesce->is_probing ? 4 * coalesce->target : coalesce->target;
}

/* Requests were taken, count ≥ 1 of them. now_ns is needed only when it is on. */
void coalesce_taken(struct coalesce *coalesce, uint32_t count, uint64_t now_ns);

/* Whether the answers that are ready need not wait for others. */
static inline bool coalesce_is_enough(const struct coalesce *coalesce)
{
	return coalesce->held >= coalesce_goal(coalesce);
}

/* One answer is ready. */
static inline void coalesce_answered(struct coalesce *coalesce)
{
	coalesce->held++;
}

/* What to do with what is there when a round's requests have been taken. */
enum coalesce_advice {
	COALESCE_GO_ON,  /* nothing: nobody waits for anything */
	COALESCE_WAIT,   /* more requests are to come soon: answers and submissions wait for them */
	COALESCE_SUBMIT, /* none are: what was held back is submitted, and may be answered at once */
	COALESCE_SHOW,   /* none are, and what is ready is shown, in vain */
};

/* Only when it is on. */
enum coalesce_advice coalesce_advise(struct coalesce *coalesce, uint64_t now_ns);

/* All answers that were ready are shown: enough, or in vain at a burst's end, or for another reason. */
void coalesce_shown(struct coalesce *coalesce, bool in_vain);

/*
 * During a burst, so many submissions are worth a system call. Not more: while the kernel works on
 * these, the guest makes others.
 */
static inline uint32_t coalesce_submissions(const struct coalesce *coalesce)
{
	uint32_t goal = coalesce_goal(coalesce);

	return goal < 4 ? goal : goal < 8 ? 4 : 8;
}

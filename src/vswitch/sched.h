/* SPDX-License-Identifier: MIT */
/*
 * Whose turn it is: deficit round robin among the queues of one core. Costs are bytes, and a
 * frame costs SCHED_FRAME_COST on top of its length, for it takes time however short it is. Each copy
 * costs.
 *
 * Weights are Hyper-V's minimum bandwidth weight: what a port gets at least, in relation to the
 * others, where something is scarce: the core's time (turns), or an uplink (who is blocked on it goes
 * on in the order of sched_next_blocked()). Where nothing is scarce weights do nothing; a maximum is
 * a bucket's matter.
 *
 *   S1  A turn earns quantum × weight / heaviest, where the heaviest is who weighs most of those who
 *       take turns, and ends when it is spent; what was spent too much is owed.
 *   S2  A queue that does not use its turn keeps nothing: credit never exceeds one turn's.
 *   S3  Of the blocked ones goes first who has most credit left, then who weighs more, then who
 *       waits longest; when none has any, all blocked ones earn turns until one has.
 *
 *   owner   a core; entries: its queues   thread  its loop
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

/* Of the heaviest: as much as a channel gives of the shortest frames in a round (64 packets). */
#define SCHED_QUANTUM    20480U
#define SCHED_WEIGHT_MAX 10000U
#define SCHED_FRAME_COST 256U

struct sched {
	struct list blocked;   /* longest waiting first */
	unsigned int heaviest; /* weight of the heaviest who takes turns; the owner's to set */
};

struct sched_entry {
	struct list link; /* in sched.blocked */
	int64_t credit;
	uint16_t weight;
	bool is_blocked;
};

static inline uint32_t sched_cost(uint32_t frame_bytes)
{
	return SCHED_FRAME_COST + frame_bytes;
}

void sched_init(struct sched *sched);

/* weight: 1 to SCHED_WEIGHT_MAX, others are taken for the nearest. */
void sched_entry_init(struct sched_entry *entry, unsigned int weight);
void sched_entry_set_weight(struct sched_entry *entry, unsigned int weight);
/* Forgets it, also when it is blocked: before its owner goes. */
void sched_entry_fini(struct sched_entry *entry);

/* It earns so many turns: one each time that the loop has come round to it. */
void sched_turn(const struct sched *sched, struct sched_entry *entry, int64_t turns);

/* It has sent something. */
void sched_charge(struct sched_entry *entry, uint32_t cost);

/* false: its turn is over, the others go first. */
static inline bool sched_may_send(const struct sched_entry *entry)
{
	return entry->credit > 0;
}

/* How many turns it has to earn until it may send; 0: it may. */
int64_t sched_turns_needed(const struct sched *sched, const struct sched_entry *entry);

/* The uplink is full: it waits, at the end of the line. No-op when it does already. */
void sched_block(struct sched *sched, struct sched_entry *entry);

/*
 * There is room again: who goes on (S3), taken off the line; it runs until its turn is over or it is
 * blocked again. NULL: nobody waits.
 */
struct sched_entry *sched_next_blocked(struct sched *sched);

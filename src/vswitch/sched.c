/* SPDX-License-Identifier: MIT */
#include "vswitch/sched.h"

#include <stddef.h>

#include "base/num.h"

static int64_t turn_of(const struct sched_entry *entry)
{
	return (int64_t)(SCHED_QUANTUM * entry->weight / SCHED_WEIGHT_MAX);
}

void sched_init(struct sched *sched)
{
	list_init(&sched->blocked);
}

void sched_entry_set_weight(struct sched_entry *entry, unsigned int weight)
{
	entry->weight = (uint16_t)num_min(num_max(weight, 1), SCHED_WEIGHT_MAX);
	entry->credit = entry->credit < turn_of(entry) ? entry->credit : turn_of(entry); /* S2 */
}

void sched_entry_init(struct sched_entry *entry, unsigned int weight)
{
	*entry = (struct sched_entry){ .weight = 1 };
	list_init(&entry->link);
	sched_entry_set_weight(entry, weight);
}

void sched_entry_fini(struct sched_entry *entry)
{
	if (entry->is_blocked) {
		list_remove(&entry->link);
		entry->is_blocked = false;
	}
}

/* `turns` turns' worth (S1), no more than one kept (S2). */
static void earn(struct sched_entry *entry, int64_t turns)
{
	int64_t credit = entry->credit + turns * turn_of(entry);

	entry->credit = credit < turn_of(entry) ? credit : turn_of(entry);
}

void sched_turn(struct sched_entry *entry)
{
	earn(entry, 1);
}

bool sched_charge(struct sched_entry *entry, uint32_t cost)
{
	entry->credit -= cost;
	return entry->credit > 0;
}

void sched_block(struct sched *sched, struct sched_entry *entry)
{
	if (!entry->is_blocked) {
		entry->is_blocked = true;
		list_append(&sched->blocked, &entry->link);
	}
}

/* Rounds until the first of the blocked ones has credit. */
static int64_t rounds_needed(const struct sched *sched)
{
	int64_t fewest = INT64_MAX;

	for (const struct list *at = sched->blocked.next; at != &sched->blocked; at = at->next) {
		const struct sched_entry *entry = container_of(at, struct sched_entry, link);
		/* From 0 or less to above 0. */
		int64_t rounds = -entry->credit / turn_of(entry) + 1;

		fewest = rounds < fewest ? rounds : fewest;
	}
	return fewest;
}

static struct sched_entry *richest(const struct sched *sched)
{
	struct sched_entry *best = NULL;

	for (struct list *at = sched->blocked.next; at != &sched->blocked; at = at->next) {
		struct sched_entry *entry = container_of(at, struct sched_entry, link);

		if (!best || entry->credit > best->credit ||
		    (entry->credit == best->credit && entry->weight > best->weight)) {
			best = entry;
		}
	}
	return best;
}

struct sched_entry *sched_next_blocked(struct sched *sched)
{
	struct sched_entry *best = richest(sched);

	if (!best) {
		return NULL;
	}
	if (best->credit <= 0) {
		int64_t rounds = rounds_needed(sched);

		for (struct list *at = sched->blocked.next; at != &sched->blocked; at = at->next) {
			earn(container_of(at, struct sched_entry, link), rounds);
		}
		best = richest(sched);
	}
	list_remove(&best->link);
	best->is_blocked = false;
	return best;
}

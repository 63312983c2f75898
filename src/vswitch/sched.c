/* SPDX-License-Identifier: MIT */
#include "vswitch/sched.h"

#include <stddef.h>

#include "base/num.h"

static int64_t share_of(const struct sched_entry *entry, unsigned int heaviest)
{
	/* Who weighs more than the heaviest so far has as much as that one, until they are compared. */
	int64_t share = (int64_t)(SCHED_QUANTUM * num_min(entry->weight, heaviest) / heaviest);

	return share > 0 ? share : 1;
}

static int64_t turn_of(const struct sched *sched, const struct sched_entry *entry)
{
	return share_of(entry, sched->heaviest);
}

void sched_init(struct sched *sched)
{
	*sched = (struct sched){ .heaviest = 1 };
	list_init(&sched->blocked);
}

void sched_entry_set_weight(struct sched_entry *entry, unsigned int weight)
{
	entry->weight = (uint16_t)num_min(num_max(weight, 1), SCHED_WEIGHT_MAX);
}

void sched_entry_init(struct sched_entry *entry, unsigned int weight)
{
	*entry = (struct sched_entry){ 0 };
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

static void earn(struct sched_entry *entry, int64_t share, int64_t turns)
{
	int64_t credit = entry->credit + turns * share;

	entry->credit = credit < share ? credit : share; /* S2 */
}

void sched_turn(const struct sched *sched, struct sched_entry *entry, int64_t turns)
{
	earn(entry, turn_of(sched, entry), turns);
}

void sched_charge(struct sched_entry *entry, uint32_t cost)
{
	entry->credit -= cost;
}

static int64_t turns_needed(const struct sched_entry *entry, int64_t share)
{
	/* From 0 or less to above 0. */
	return entry->credit > 0 ? 0 : -entry->credit / share + 1;
}

int64_t sched_turns_needed(const struct sched *sched, const struct sched_entry *entry)
{
	return turns_needed(entry, turn_of(sched, entry));
}

void sched_block(struct sched *sched, struct sched_entry *entry)
{
	if (!entry->is_blocked) {
		entry->is_blocked = true;
		list_append(&sched->blocked, &entry->link);
	}
}

/* Of an uplink: whoever is blocked is compared with those who are, whatever their weights. */
static int64_t uplink_share(const struct sched_entry *entry)
{
	return share_of(entry, SCHED_WEIGHT_MAX);
}

/* Rounds until the first of the blocked ones has credit. */
static int64_t rounds_needed(const struct sched *sched)
{
	int64_t fewest = INT64_MAX;

	for (const struct list *at = sched->blocked.next; at != &sched->blocked; at = at->next) {
		const struct sched_entry *entry = container_of(at, struct sched_entry, link);
		int64_t rounds = turns_needed(entry, uplink_share(entry));

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
			struct sched_entry *entry = container_of(at, struct sched_entry, link);

			earn(entry, uplink_share(entry), rounds);
		}
		best = richest(sched);
	}
	list_remove(&best->link);
	best->is_blocked = false;
	return best;
}

/* SPDX-License-Identifier: MIT */
#include "loop/patience.h"

#include "base/num.h"

void patience_init(struct patience *patience)
{
	*patience = (struct patience){
		.trial_in = PATIENCE_TRIAL_MIN,
		.trial_after = PATIENCE_TRIAL_MIN,
	};
}

static bool other_wins(const struct patience *patience)
{
	uint64_t usual = (patience->rate[0] + patience->rate[2]) / 2;

	return patience->rate[1] > usual + usual / PATIENCE_MARGIN;
}

static void end_trial(struct patience *patience)
{
	patience->step = PATIENCE_USUAL;
	if (other_wins(patience)) {
		patience->is_usual = !patience->is_usual;
		patience->trial_after = PATIENCE_TRIAL_MIN;
		patience->changes++;
	} else {
		patience->trial_after =
			(uint32_t)num_min(2 * patience->trial_after, PATIENCE_TRIAL_MAX);
	}
	patience->trial_in = patience->trial_after;
}

static bool is_another_load(const struct patience *patience, uint64_t rate)
{
	uint64_t known = patience->rate[2];

	return rate > PATIENCE_RATE_FACTOR * known || known > PATIENCE_RATE_FACTOR * rate;
}

static void end_epoch(struct patience *patience, uint64_t rate)
{
	switch (patience->step) {
	case PATIENCE_USUAL:
		if (is_another_load(patience, rate)) {
			patience->trial_after = PATIENCE_TRIAL_MIN;
			patience->trial_in =
				(uint32_t)num_min(patience->trial_in, PATIENCE_TRIAL_MIN);
		}
		if (--patience->trial_in == 0) {
			patience->step = PATIENCE_BEFORE;
		}
		return;
	case PATIENCE_BEFORE:
		patience->rate[0] = rate;
		patience->step = PATIENCE_OTHER;
		return;
	case PATIENCE_OTHER:
		patience->rate[1] = rate;
		patience->step = PATIENCE_AFTER;
		return;
	case PATIENCE_AFTER:
		patience->rate[2] = rate;
		end_trial(patience);
	}
}

/* Nobody has much to do: back to the usual manner; a trial would compare nothing. */
static void be_idle(struct patience *patience)
{
	if (patience->step != PATIENCE_USUAL) {
		patience->step = PATIENCE_USUAL;
		patience->trial_in = patience->trial_after;
	}
}

bool patience_sleeps(struct patience *patience, uint64_t now_ns)
{
	bool was_patient = patience->is_patient;

	if (patience->since_ns == 0) {
		patience->since_ns = now_ns;
	}
	/* Threads that take turns may see the clock in another order. */
	uint64_t took = now_ns > patience->since_ns ? now_ns - patience->since_ns : 0;

	if (++patience->wakes < PATIENCE_EPOCH_WAKES || took < PATIENCE_EPOCH_NS) {
		return false;
	}
	if (patience->work < PATIENCE_WORK_MIN) {
		be_idle(patience);
	} else {
		end_epoch(patience, patience->work * 1000000000ULL / took);
	}
	patience->is_patient = patience->is_usual != (patience->step == PATIENCE_OTHER);
	patience->wakes = 0;
	patience->work = 0;
	patience->since_ns = now_ns;
	return patience->is_patient != was_patient;
}

void patience_group_init(struct patience_group *group)
{
	*group = (struct patience_group){ .busy = ATOMIC_FLAG_INIT };
	patience_init(&group->patience);
}

bool patience_group_sleeps(struct patience_group *group, uint32_t work, uint64_t now_ns)
{
	if (work > 0) {
		atomic_fetch_add_explicit(&group->work, work, memory_order_relaxed);
	}
	/* Who does not get it leaves it to the one who has it: one sleep more or less does not matter. */
	if (!atomic_flag_test_and_set_explicit(&group->busy, memory_order_acquire)) {
		struct patience *patience = &group->patience;

		patience_worked(patience,
				atomic_exchange_explicit(&group->work, 0, memory_order_relaxed));
		if (patience_sleeps(patience, now_ns)) {
			atomic_store_explicit(&group->is_patient, patience->is_patient,
					      memory_order_relaxed);
		}
		atomic_flag_clear_explicit(&group->busy, memory_order_release);
	}
	return atomic_load_explicit(&group->is_patient, memory_order_relaxed);
}

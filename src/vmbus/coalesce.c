/* SPDX-License-Identifier: MIT */
#include "vmbus/coalesce.h"

#include "base/num.h"

/* Before anything is known: what a slow machine takes from one request to the next. */
#define GAP_NS_DEFAULT 20000ULL

/* A pause longer than this is none between requests of one burst. */
#define GAP_NS_MAX     200000ULL

/* So many average gaps without a request, and the burst is over. Fewer, and a timer tick ends it. */
#define GAPS_TO_WAIT   8

void coalesce_init(struct coalesce *coalesce, bool is_allowed)
{
	*coalesce = (struct coalesce){
		.is_allowed = is_allowed,
		.target = 1,
		.probe_after = 1,
		.retry_after = 1,
		.gap_ns = GAP_NS_DEFAULT,
	};
}

static void learn_gap(struct coalesce *coalesce, uint32_t count, uint64_t now_ns)
{
	if (coalesce->arrival_ns) {
		uint64_t gap = num_min(now_ns - coalesce->arrival_ns, GAP_NS_MAX) / count;

		coalesce->gap_ns = (7 * coalesce->gap_ns + gap) / 8 + 1;
	}
	coalesce->arrival_ns = now_ns;
}

void coalesce_taken(struct coalesce *coalesce, uint32_t count, uint64_t now_ns)
{
	coalesce->outstanding += count;
	if (coalesce_is_on(coalesce)) {
		learn_gap(coalesce, count, now_ns);
	} else if (coalesce->outstanding > 1 && coalesce->is_allowed) {
		/* They come together: worth a look at how many there are, now or soon. */
		coalesce->is_probing = coalesce->probe_in <= 1;
		coalesce->probe_in -= coalesce->probe_in > 0;
		coalesce->arrival_ns = 0;
	}
}

/* Whether the burst goes on: more requests are to come soon. */
static bool expects_more(struct coalesce *coalesce, uint64_t now_ns)
{
	if (coalesce->hold_ns == 0) {
		coalesce->hold_ns = now_ns;
	}
	if (coalesce->arrival_ns == 0) {
		coalesce->arrival_ns = now_ns;
	}
	return now_ns - coalesce->hold_ns <= COALESCE_HOLD_NS_MAX &&
	       now_ns - coalesce->arrival_ns <= GAPS_TO_WAIT * coalesce->gap_ns;
}

enum coalesce_advice coalesce_advise(struct coalesce *coalesce, uint64_t now_ns)
{
	if (coalesce->outstanding + coalesce->held == 0) {
		return COALESCE_GO_ON;
	}
	if (expects_more(coalesce, now_ns)) {
		coalesce->is_over = false;
		return COALESCE_WAIT;
	}
	if (!coalesce->is_over) {
		coalesce->is_over = true;
		return COALESCE_SUBMIT;
	}
	return coalesce->held > 0 ? COALESCE_SHOW : COALESCE_GO_ON;
}

static uint32_t at_most(uint32_t target)
{
	return (uint32_t)num_max(1, num_min(target, COALESCE_TARGET_MAX));
}

static uint32_t rarer(uint32_t holds)
{
	return (uint32_t)num_min(2 * holds, COALESCE_PROBE_MAX);
}

static void learn_success(struct coalesce *coalesce)
{
	if (coalesce->is_probing) {
		coalesce->target = at_most(coalesce->held);
		coalesce->probe_in = coalesce->probe_after = 1; /* there may be still more */
	} else {
		coalesce->retry_after -= coalesce->retry_after / 16;
	}
}

static void learn_failure(struct coalesce *coalesce)
{
	uint32_t held = at_most(coalesce->held), half = coalesce->target / 2;

	coalesce->in_vain++;
	if (held < coalesce->target) {
		coalesce->target = (uint32_t)num_max(held, half);
		coalesce->retry_after = rarer(coalesce->retry_after);
		coalesce->probe_in = coalesce->retry_after;
	} else { /* only a probe gets here: there is not more than this */
		coalesce->target = held;
		coalesce->probe_after = rarer(coalesce->probe_after);
		coalesce->probe_in = coalesce->probe_after;
	}
}

static void begin_hold(struct coalesce *coalesce)
{
	if (coalesce->target > 1 && coalesce->probe_in > 0) {
		coalesce->probe_in--;
	}
	coalesce->is_probing = coalesce->target > 1 && coalesce->probe_in == 0;
}

static void look_now_and_then(struct coalesce *coalesce)
{
	if (coalesce->is_allowed && ++coalesce->blind == COALESCE_BLIND) {
		coalesce->blind = 0;
		coalesce->is_probing = true;
		coalesce->arrival_ns = 0;
	}
}

void coalesce_shown(struct coalesce *coalesce, bool in_vain)
{
	if (!coalesce_is_on(coalesce)) {
		look_now_and_then(coalesce);
	} else if (coalesce->held > 0) {
		if (coalesce_is_enough(coalesce)) {
			learn_success(coalesce);
			begin_hold(coalesce);
		} else if (in_vain) {
			learn_failure(coalesce);
			begin_hold(coalesce);
		}
	}
	/* Those that a restored machine does not know of count not. */
	coalesce->outstanding -= (uint32_t)num_min(coalesce->held, coalesce->outstanding);
	coalesce->held = 0;
	coalesce->hold_ns = 0;
}

/* SPDX-License-Identifier: MIT */
#include "block/hold.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"
#include "block/shadow.h"

#define HOLD_SHADOWS      256 /* requests below or held at once; others wait */
#define HOLD_RETRY_MIN_NS 100000000ULL
#define HOLD_RETRY_MAX_NS 5000000000ULL

struct hold {
	struct block block;
	struct hold *original; /* ourselves, or whose twin we are */

	/* This end's loop. */
	struct block_shadows shadows;
	struct list held;
	struct loop_timer timer; /* BLOCK_RETRY */
	uint64_t retry_ns;       /* how long it waits the next time */
	struct loop_work poke;   /* another end was told to retry or to give up */
	atomic_bool poke_retry;

	/* The original's, of all ends. */
	enum block_on_error on_error;
	void (*on_stop)(void *ctx, int err);
	void *on_stop_ctx;
	_Atomic(unsigned int) held_count;
	atomic_bool is_stopped;       /* on_stop has been called; until retry */
	_Atomic(uint64_t) generation; /* how often it was given up */
	pthread_mutex_t lock;
	struct list ends; /* those that are started, by end_link; the lock's */

	struct loop *loop; /* where it is started; the lock's */
	struct list end_link;
};

/* Whether another try may succeed; the others are mistakes, refusals, or our own answer. */
static bool may_pass(int err)
{
	switch (err) {
	case -EIO:
	case -ENOSPC:
	case -EDQUOT:
	case -ETIMEDOUT:
	case -ENODEV:
	case -ENXIO:
	case -ENOMEM:
	case -ENOBUFS:
	case -ENOLINK:
	case -EREMOTEIO:
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -ECONNABORTED:
	case -ENOTCONN:
	case -EPIPE:
	case -EHOSTDOWN:
	case -EHOSTUNREACH:
	case -ENETDOWN:
	case -ENETUNREACH:
	case -ESHUTDOWN:
	case -EAGAIN:
		return true;
	default:
		return false;
	}
}

static void hold_submit(struct block *block, struct block_request *request);

static void hold_finish(struct hold *hold, struct block_shadow *shadow, int result)
{
	struct block_request *whole = shadow->whole;
	struct block_request *waited = block_shadow_put(&hold->shadows, shadow);

	block_complete(whole, result);
	if (waited) {
		hold_submit(&hold->block, waited);
	}
}

static void hold_keep(struct hold *hold, struct block_shadow *shadow, int err)
{
	struct hold *original = hold->original;

	shadow->result = err;
	list_append(&hold->held, &shadow->link);
	atomic_fetch_add(&original->held_count, 1);
	if (original->on_error == BLOCK_RETRY) {
		if (!loop_timer_is_armed(&hold->timer)) {
			loop_timer_arm(&hold->timer, hold->retry_ns);
			hold->retry_ns = num_min(2 * hold->retry_ns, HOLD_RETRY_MAX_NS);
		}
	} else if (!atomic_exchange(&original->is_stopped, true) && original->on_stop) {
		original->on_stop(original->on_stop_ctx, err);
	}
}

static void hold_on_done(struct block_request *request, int result)
{
	struct block_shadow *shadow = container_of(request, struct block_shadow, request);
	struct hold *hold = container_of(shadow->whole->at, struct hold, block);

	if (!may_pass(result) || request->op == BLOCK_RESIZE) { /* who asked for that hears it */
		if (shadow->result) {
			hold->retry_ns = HOLD_RETRY_MIN_NS; /* the trouble is over */
		}
		hold_finish(hold, shadow, result);
	} else if (shadow->context != hold->original->generation) {
		hold_finish(hold, shadow, -ECANCELED);
	} else {
		hold_keep(hold, shadow, result);
	}
}

static void hold_submit(struct block *block, struct block_request *request)
{
	struct hold *hold = container_of(block, struct hold, block);
	struct block_shadow *shadow = block_shadow_get(&hold->shadows, request);

	if (shadow) {
		shadow->context = hold->original->generation;
		shadow->result = 0;
		shadow->request.done = hold_on_done;
		block_submit(block->lower, &shadow->request);
	}
}

/* ---- retry and give up, of this end ---- */

static struct block_shadow *hold_take(struct hold *hold)
{
	struct block_shadow *shadow = list_first(&hold->held, struct block_shadow, link);

	if (shadow) {
		list_remove(&shadow->link);
		atomic_fetch_sub(&hold->original->held_count, 1);
	}
	return shadow;
}

static void hold_retry_here(struct hold *hold)
{
	struct block_shadow *shadow;

	loop_timer_cancel(&hold->timer);
	/* None comes back before the loop has gone round. */
	while ((shadow = hold_take(hold)) != NULL) {
		block_shadow_rewind(shadow);
		block_submit(hold->block.lower, &shadow->request);
	}
}

/* What was submitted before it was given up. */
static void hold_cancel_here(struct hold *hold)
{
	uint64_t generation = hold->original->generation;
	struct block_request *waited;
	struct list keep;

	list_init(&keep);
	/* Those that wait for a shadow are as old as what is held: they are cancelled with it. */
	while ((waited = list_first(&hold->shadows.waiting, struct block_request, link)) != NULL) {
		list_remove(&waited->link);
		block_complete_later(&hold->block, waited, -ECANCELED);
	}
	while (!list_is_empty(&hold->held)) {
		struct block_shadow *shadow = hold_take(hold);
		struct block_request *whole = shadow->whole;

		if (shadow->context == generation) {
			list_append(&keep, &shadow->link);
			atomic_fetch_add(&hold->original->held_count, 1);
			continue;
		}
		check(!block_shadow_put(&hold->shadows, shadow));
		block_complete_later(&hold->block, whole, -ECANCELED);
	}
	while (!list_is_empty(&keep)) {
		struct list *first = keep.next;

		list_remove(first);
		list_append(&hold->held, first);
	}
	if (list_is_empty(&hold->held)) {
		loop_timer_cancel(&hold->timer);
		hold->retry_ns = HOLD_RETRY_MIN_NS;
	}
}

static void hold_on_timer(struct loop_timer *timer)
{
	hold_retry_here(container_of(timer, struct hold, timer));
}

static void hold_on_poke(struct loop_work *work)
{
	struct hold *hold = container_of(work, struct hold, poke);

	hold_cancel_here(hold);
	if (atomic_exchange(&hold->poke_retry, false)) {
		hold_retry_here(hold);
	}
}

/* ---- of all ends ---- */

static void hold_poke_others(struct hold *hold, bool retry)
{
	struct hold *original = hold->original;

	pthread_mutex_lock(&original->lock);
	list_for_each (it, &original->ends) {
		struct hold *end = list_entry(it, struct hold, end_link);

		if (end != hold) {
			if (retry) {
				end->poke_retry = true;
			}
			loop_post(end->loop, &end->poke);
		}
	}
	pthread_mutex_unlock(&original->lock);
}

static unsigned int hold_held(const struct block *block)
{
	return container_of(block, const struct hold, block)->original->held_count;
}

static void hold_retry(struct block *block)
{
	struct hold *hold = container_of(block, struct hold, block);

	hold->original->is_stopped = false;
	hold_retry_here(hold);
	hold_poke_others(hold, true);
}

static void hold_give_up(struct block *block)
{
	struct hold *hold = container_of(block, struct hold, block);

	atomic_fetch_add(&hold->original->generation, 1);
	hold->original->is_stopped = false;
	hold_cancel_here(hold);
	hold_poke_others(hold, false);
}

/* ---- life ---- */

static int hold_start(struct block *block, struct loop *loop)
{
	struct hold *hold = container_of(block, struct hold, block);

	loop_timer_init(&hold->timer, loop, hold_on_timer);
	hold->retry_ns = HOLD_RETRY_MIN_NS;
	pthread_mutex_lock(&hold->original->lock);
	hold->loop = loop;
	list_append(&hold->original->ends, &hold->end_link);
	pthread_mutex_unlock(&hold->original->lock);
	return 0;
}

static void hold_stop(struct block *block)
{
	struct hold *hold = container_of(block, struct hold, block);

	pthread_mutex_lock(&hold->original->lock);
	list_remove(&hold->end_link);
	pthread_mutex_unlock(&hold->original->lock);
	/* Nobody finds us any more, so nobody posts this. */
	loop_cancel(hold->loop, &hold->poke);
	loop_timer_cancel(&hold->timer);
	hold->poke_retry = false;
}

static void hold_close(struct block *block)
{
	struct hold *hold = container_of(block, struct hold, block);

	block_shadows_fini(&hold->shadows);
	pthread_mutex_destroy(&hold->lock);
	free(hold);
}

static int hold_twin(struct block *block, struct block **ret);

static const struct block_ops hold_ops = {
	.name = "hold",
	.start = hold_start,
	.submit = hold_submit,
	.stop = hold_stop,
	.twin = hold_twin,
	.held = hold_held,
	.retry = hold_retry,
	.give_up = hold_give_up,
	.close = hold_close,
};

static int hold_create(struct block *lower_take, struct hold **ret)
{
	struct hold *hold = fault_alloc(1, sizeof(*hold));

	if (!hold) {
		block_close(lower_take);
		return -ENOMEM;
	}
	block_layer_init(&hold->block, &hold_ops, lower_take);
	pthread_mutex_init(&hold->lock, NULL);
	list_init(&hold->ends);
	list_init(&hold->end_link);
	list_init(&hold->held);
	loop_work_init(&hold->poke, hold_on_poke);
	hold->original = hold;
	if (block_shadows_init(&hold->shadows, HOLD_SHADOWS, true)) {
		block_close(&hold->block);
		return -ENOMEM;
	}
	*ret = hold;
	return 0;
}

static int hold_twin(struct block *block, struct block **ret)
{
	struct hold *twin;
	struct block *lower;
	int err = block_twin(block->lower, &lower);

	err = err ? err : hold_create(lower, &twin);
	if (!err) {
		twin->original = container_of(block, struct hold, block);
		*ret = &twin->block;
	}
	return err;
}

int block_hold_create(const struct block_config *config, struct block *lower_take,
		      struct block **ret, struct diag *reterr)
{
	struct hold *hold;
	int err = hold_create(lower_take, &hold);

	if (err) {
		return diag_set(reterr, err, "no memory to hold a disk's requests");
	}
	hold->on_error = config->on_error;
	hold->on_stop = config->on_stop;
	hold->on_stop_ctx = config->on_stop_ctx;
	*ret = &hold->block;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * A twin of a block that can be used from one loop only: passes requests to the original's loop, and
 * their ends back. What a round of a loop collects goes over together, with one wake-up at most.
 *
 *   the twin's loop                                  the original's ("home")
 *   pass_submit ─► out ─► on_flush_out ──► to ──► on_to ─► block_submit(original)
 *                                                                     │
 *   block_complete ◄─ on_back ◄── back ◄── on_flush_in ◄─ in ◄─ pass_on_done
 *
 * To stop, a message goes there and back behind all others: home has let go of us when it returns.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "block/shadow.h"

#define PASS_SHADOWS 256 /* requests on their way at once */

/* One way between two loops: shadows pushed by one thread, and taken, all at once, by another. */
struct pass_way {
	_Atomic(struct block_shadow *) newest;
	struct loop_work work;
};

struct pass {
	struct block block;

	/* The twin's loop. */
	struct block_shadows shadows;
	struct list out;
	struct loop_work flush_out;
	struct loop *home; /* while started */

	/* Both. */
	struct pass_way to, back;
	struct loop_work leave, left;

	/* The original's loop. */
	struct list in;
	struct loop_work flush_in;
};

/* All of the list, the oldest first. */
static void way_push(struct pass_way *way, struct list *list)
{
	struct block_shadow *oldest = list_first(list, struct block_shadow, link);
	struct block_shadow *newest = NULL, *before;

	list_for_each_safe (it, list) {
		struct block_shadow *shadow = list_entry(it, struct block_shadow, link);

		list_remove(it);
		shadow->next = newest;
		newest = shadow;
	}
	if (!newest) {
		return;
	}
	/*
	 * Sequentially consistent, as is way_take(): whoever finds the way's work queued already must be
	 * sure that it sees these when it runs.
	 */
	before = way->newest;
	do {
		oldest->next = before;
	} while (!atomic_compare_exchange_weak(&way->newest, &before, newest));
}

/* The oldest, the others by next. */
static struct block_shadow *way_take(struct pass_way *way)
{
	struct block_shadow *newest = atomic_exchange(&way->newest, NULL), *oldest = NULL;

	while (newest) {
		struct block_shadow *next = newest->next;

		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	return oldest;
}

/* ---- home ---- */

static void pass_on_done(struct block_request *request, int result)
{
	struct block_shadow *shadow = container_of(request, struct block_shadow, request);
	struct pass *pass = container_of(shadow->whole->at, struct pass, block);

	shadow->result = result;
	list_append(&pass->in, &shadow->link);
	loop_defer(pass->home, &pass->flush_in);
}

static void on_flush_in(struct loop_work *work)
{
	struct pass *pass = container_of(work, struct pass, flush_in);

	way_push(&pass->back, &pass->in);
	loop_post(pass->block.loop, &pass->back.work);
}

static void on_to(struct loop_work *work)
{
	struct pass *pass = container_of(work, struct pass, to.work);
	struct block_shadow *shadow = way_take(&pass->to);

	while (shadow) {
		struct block_shadow *next = shadow->next;

		list_init(&shadow->link);
		block_submit(pass->block.original, &shadow->request);
		shadow = next;
	}
}

static void on_leave(struct loop_work *work)
{
	struct pass *pass = container_of(work, struct pass, leave);

	loop_post(pass->block.loop, &pass->left);
}

/* ---- the twin's loop ---- */

static void pass_submit(struct block *block, struct block_request *request)
{
	struct pass *pass = container_of(block, struct pass, block);
	struct block_shadow *shadow = block_shadow_get(&pass->shadows, request);

	if (shadow) {
		shadow->request.done = pass_on_done;
		list_append(&pass->out, &shadow->link);
		loop_defer(block->loop, &pass->flush_out);
	}
}

static void on_flush_out(struct loop_work *work)
{
	struct pass *pass = container_of(work, struct pass, flush_out);

	way_push(&pass->to, &pass->out);
	loop_post(pass->home, &pass->to.work);
}

static void on_back(struct loop_work *work)
{
	struct pass *pass = container_of(work, struct pass, back.work);
	struct block_shadow *shadow = way_take(&pass->back);

	while (shadow) {
		struct block_shadow *next = shadow->next;
		struct block_request *whole = shadow->whole, *waited;
		int result = shadow->result;

		list_init(&shadow->link);
		waited = block_shadow_put(&pass->shadows, shadow);
		block_complete(whole, result);
		if (waited) {
			pass_submit(&pass->block, waited);
		}
		shadow = next;
	}
}

static int pass_start(struct block *block, struct loop *loop)
{
	struct pass *pass = container_of(block, struct pass, block);

	pass->home = block->original->loop;
	check(pass->home);
	/* It may have changed its size since we were made. */
	block->info.bytes = block->original->info.bytes;
	return 0;
}

static void pass_quiesce(struct block *block)
{
	struct pass *pass = container_of(block, struct pass, block);

	loop_post(pass->home, &pass->leave);
}

static void on_left(struct loop_work *work)
{
	block_quiesced(&container_of(work, struct pass, left)->block);
}

static void pass_refresh(struct block *block)
{
	block->info.bytes = block->original->info.bytes;
}

static void pass_close(struct block *block)
{
	struct pass *pass = container_of(block, struct pass, block);

	block_shadows_fini(&pass->shadows);
	free(pass);
}

static const struct block_ops pass_ops = {
	.name = "twin",
	.start = pass_start,
	.submit = pass_submit,
	.quiesce = pass_quiesce,
	.refresh = pass_refresh,
	.close = pass_close,
};

int block_pass_create(struct block *original, struct block **ret)
{
	struct pass *pass = fault_alloc(1, sizeof(*pass));

	if (!pass) {
		return -ENOMEM;
	}
	if (block_shadows_init(&pass->shadows, PASS_SHADOWS, false)) {
		free(pass);
		return -ENOMEM;
	}
	block_init(&pass->block, &pass_ops);
	block_copy_info(&pass->block.info, &original->info);
	pass->block.is_direct = original->is_direct;
	pass->block.is_pass = true;
	list_init(&pass->out);
	list_init(&pass->in);
	loop_work_init(&pass->flush_out, on_flush_out);
	loop_work_init(&pass->flush_in, on_flush_in);
	loop_work_init(&pass->to.work, on_to);
	loop_work_init(&pass->back.work, on_back);
	loop_work_init(&pass->leave, on_leave);
	loop_work_init(&pass->left, on_left);
	*ret = &pass->block;
	return 0;
}

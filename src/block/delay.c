/* SPDX-License-Identifier: MIT */
/* A layer that holds requests back for a while before it passes them on. */
#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"
#include "block/block_impl.h"
#include "block/layers.h"

struct block_delay {
	struct block block;
	struct block_delay *knobs; /* a twin's are the original's */
	_Atomic(uint64_t) delay_ns;
	_Atomic(uint32_t) ops; /* bits 1 << op */
	struct list held;      /* by ready_ns unless the delay was changed meanwhile */
	unsigned int held_count;
	struct loop_timer timer;
};

static void delay_pass(struct block_delay *delay, uint64_t now_ns)
{
	struct block_request *first;

	while ((first = list_first(&delay->held, struct block_request, link)) != NULL &&
	       first->ready_ns <= now_ns) {
		list_remove(&first->link);
		delay->held_count--;
		block_forward(delay->block.lower, first);
	}
	if (first && first->ready_ns != BLOCK_DELAY_HOLD) {
		loop_timer_arm(&delay->timer, first->ready_ns - now_ns);
	}
}

static void delay_on_timer(struct loop_timer *timer)
{
	delay_pass(container_of(timer, struct block_delay, timer), loop_now_ns());
}

static void delay_submit(struct block *block, struct block_request *request)
{
	struct block_delay *delay = container_of(block, struct block_delay, block);
	uint64_t delay_ns = delay->knobs->delay_ns;

	if (delay_ns == 0 || !(delay->knobs->ops & 1U << request->op)) {
		block_forward(delay->block.lower, request);
		return;
	}
	request->ready_ns =
		delay_ns == BLOCK_DELAY_HOLD ? BLOCK_DELAY_HOLD : loop_now_ns() + delay_ns;
	list_append(&delay->held, &request->link);
	delay->held_count++;
	if (delay_ns != BLOCK_DELAY_HOLD && !loop_timer_is_armed(&delay->timer)) {
		loop_timer_arm(&delay->timer, delay_ns);
	}
}

static int delay_start(struct block *block, struct loop *loop)
{
	struct block_delay *delay = container_of(block, struct block_delay, block);

	loop_timer_init(&delay->timer, loop, delay_on_timer);
	return 0;
}

static void delay_stop(struct block *block)
{
	struct block_delay *delay = container_of(block, struct block_delay, block);

	loop_timer_cancel(&delay->timer);
}

static void delay_close(struct block *block)
{
	free(container_of(block, struct block_delay, block));
}

static int delay_twin(struct block *block, struct block **ret)
{
	struct block_delay *delay = container_of(block, struct block_delay, block), *twin;
	struct block *lower;
	int err = block_twin(delay->block.lower, &lower);

	err = err ? err : block_delay_create(lower, 0, &twin);
	if (!err) {
		twin->knobs = delay;
		*ret = &twin->block;
	}
	return err;
}

static const struct block_ops delay_ops = {
	.name = "delay",
	.start = delay_start,
	.submit = delay_submit,
	.stop = delay_stop,
	.twin = delay_twin,
	.close = delay_close,
};

int block_delay_create(struct block *lower_take, uint64_t delay_ns, struct block_delay **ret)
{
	struct block_delay *delay = fault_alloc(1, sizeof(*delay));

	if (!delay) {
		block_close(lower_take);
		return -ENOMEM;
	}
	block_layer_init(&delay->block, &delay_ops, lower_take);
	list_init(&delay->held);
	delay->knobs = delay;
	delay->delay_ns = delay_ns;
	delay->ops = BLOCK_OPS_ALL;
	*ret = delay;
	return 0;
}

struct block *block_delay_block(struct block_delay *delay)
{
	return &delay->block;
}

void block_delay_set(struct block_delay *delay, uint64_t delay_ns)
{
	delay->knobs->delay_ns = delay_ns;
}

void block_delay_set_ops(struct block_delay *delay, uint32_t ops)
{
	delay->knobs->ops = ops;
}

void block_delay_release(struct block_delay *delay)
{
	delay_pass(delay, BLOCK_DELAY_HOLD);
}

unsigned int block_delay_held(const struct block_delay *delay)
{
	return delay->held_count;
}

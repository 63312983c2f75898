/* SPDX-License-Identifier: MIT */
/*
 * One end of a disk with policies. Requests pass in order; the first asks one policy after the other:
 *
 *   qos_submit ──► queue ──► advance ──┬─ all passed ──► below, and the next
 *                               ▲      └─ has to wait ──► timer or wake ─┐
 *                               └────────────────────────────────────────┘
 */
#include "block/qos.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"
#include "block/block_impl.h"
#include "block/qos_internal.h"
#include "block/qos_layer.h"

struct qos {
	struct block block;
	unsigned int count;
	struct qos_policy *policies[BLOCK_QOS_MAX];
	struct qos_member members[BLOCK_QOS_MAX];
	struct qos_turn own_turns[BLOCK_QOS_MAX];
	struct qos_turn *turns; /* own_turns of ourselves, or of whose twin we are */

	/* The loop's. */
	struct list queue;
	unsigned int passed; /* policies that the first has passed */
	bool is_waiting;     /* the first waits for the next of them */
	bool is_draining;
	struct qos_waiter waiter;
	struct loop_timer timer;
	struct loop_work wake;
	struct qos_counters counters;
};

/* Whether policies count it: flushes are never in the way, and the others are not the guest's. */
static bool qos_counts(const struct block_request *request)
{
	switch (request->op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		return true;
	case BLOCK_FLUSH:
	case BLOCK_RESIZE:
	case BLOCK_MAP:
		return false;
	}
	return false;
}

static void qos_measure(const struct block_request *request, struct qos_waiter *waiter)
{
	bool transfers = request->op == BLOCK_READ || request->op == BLOCK_WRITE;
	uint64_t bytes = transfers ? request->length_bytes : 0;

	waiter->bytes = bytes;
	waiter->operations = bytes ? (bytes - 1) / QOS_NORMAL_BYTES + 1 : 1;
}

static void qos_wait(struct qos *qos, uint64_t wait_ns)
{
	if (wait_ns != QOS_NO_WAIT) {
		loop_timer_arm(&qos->timer, wait_ns);
	}
}

/* Whether the first has passed them all. */
static bool qos_pass(struct qos *qos)
{
	uint64_t wait_ns;

	for (; !qos->is_draining && qos->passed < qos->count; qos->passed++) {
		qos->waiter.turn = &qos->turns[qos->passed];
		if (!qos_take(qos->policies[qos->passed], &qos->waiter, &wait_ns)) {
			qos->is_waiting = true;
			qos_wait(qos, wait_ns);
			return false;
		}
	}
	return true;
}

static void qos_forward(struct qos *qos, struct block_request *request)
{
	counter_add(&qos->counters.operations, qos->waiter.operations);
	counter_add(&qos->counters.bytes, qos->waiter.bytes);
	qos->passed = 0;
	block_forward(qos->block.lower, request);
}

static void qos_advance(struct qos *qos)
{
	struct block_request *first;

	while ((first = list_first(&qos->queue, struct block_request, link)) != NULL) {
		qos_measure(first, &qos->waiter);
		if (!qos_pass(qos)) {
			return;
		}
		list_remove(&first->link);
		counter_add(&qos->counters.waiting, (uint64_t)-1);
		qos_forward(qos, first);
	}
}

static void qos_submit(struct block *block, struct block_request *request)
{
	struct qos *qos = container_of(block, struct qos, block);

	if (!qos_counts(request)) {
		block_forward(block->lower, request);
		return;
	}
	if (list_is_empty(&qos->queue)) {
		qos_measure(request, &qos->waiter);
		if (qos_pass(qos)) {
			qos_forward(qos, request);
			return;
		}
	}
	list_append(&qos->queue, &request->link);
	counter_add(&qos->counters.waiting, 1);
	counter_add(&qos->counters.delayed, 1);
}

static void qos_ask_again(struct qos *qos)
{
	uint64_t wait_ns;

	if (!qos->is_waiting) {
		return; /* woken twice */
	}
	if (!qos_resume(qos->policies[qos->passed], &qos->waiter, &wait_ns)) {
		qos_wait(qos, wait_ns);
		return;
	}
	qos->is_waiting = false;
	loop_timer_cancel(&qos->timer);
	qos->passed++;
	qos_advance(qos);
}

static void qos_on_timer(struct loop_timer *timer)
{
	qos_ask_again(container_of(timer, struct qos, timer));
}

static void qos_on_wake(struct loop_work *work)
{
	qos_ask_again(container_of(work, struct qos, wake));
}

/* ---- life ---- */

static int qos_start(struct block *block, struct loop *loop)
{
	struct qos *qos = container_of(block, struct qos, block);

	loop_timer_init(&qos->timer, loop, qos_on_timer);
	qos->waiter.loop = loop;
	qos->is_draining = false;
	return 0;
}

/* Nobody waits for a disk that is being taken away. */
static void qos_drain(struct block *block)
{
	struct qos *qos = container_of(block, struct qos, block);

	qos->is_draining = true;
	if (qos->is_waiting) {
		qos_leave(qos->policies[qos->passed], &qos->waiter);
		qos->is_waiting = false;
		loop_timer_cancel(&qos->timer);
	}
	qos_advance(qos);
}

static void qos_stop(struct block *block)
{
	struct qos *qos = container_of(block, struct qos, block);

	/* Whoever wakes us does so under the lock, while we wait; we have had it since. */
	loop_cancel(block->loop, &qos->wake);
	loop_timer_cancel(&qos->timer);
}

static void qos_close(struct block *block)
{
	struct qos *qos = container_of(block, struct qos, block);

	for (unsigned int i = 0; i < qos->count; i++) {
		qos_detach(qos->policies[i], &qos->members[i]);
	}
	free(qos);
}

static int qos_twin(struct block *block, struct block **ret);

static const struct block_ops qos_ops = {
	.name = "qos",
	.start = qos_start,
	.submit = qos_submit,
	.drain = qos_drain,
	.stop = qos_stop,
	.twin = qos_twin,
	.close = qos_close,
};

static int qos_create(struct qos_policy *const *policies, unsigned int count,
		      struct block *lower_take, struct qos **ret)
{
	struct qos *qos = fault_alloc(1, sizeof(*qos));

	if (!qos) {
		block_close(lower_take);
		return -ENOMEM;
	}
	block_layer_init(&qos->block, &qos_ops, lower_take);
	list_init(&qos->queue);
	list_init(&qos->waiter.link);
	loop_work_init(&qos->wake, qos_on_wake);
	qos->waiter.wake = &qos->wake;
	qos->turns = qos->own_turns;
	qos->count = count;
	for (unsigned int i = 0; i < count; i++) {
		list_init(&qos->own_turns[i].link);
		list_init(&qos->own_turns[i].ends);
		qos->policies[i] = policies[i];
		qos->members[i].counters = &qos->counters;
		qos_attach(policies[i], &qos->members[i]);
	}
	*ret = qos;
	return 0;
}

static int qos_twin(struct block *block, struct block **ret)
{
	struct qos *qos = container_of(block, struct qos, block), *twin;
	struct block *lower;
	int err = block_twin(block->lower, &lower);

	err = err ? err : qos_create(qos->policies, qos->count, lower, &twin);
	if (!err) {
		twin->turns = qos->turns;
		*ret = &twin->block;
	}
	return err;
}

int block_qos_create(const struct block_config *config, struct block *lower_take,
		     struct block **ret, struct diag *reterr)
{
	struct qos *qos;
	int err;

	check(config->qos_count <= BLOCK_QOS_MAX);
	err = qos_create(config->qos, config->qos_count, lower_take, &qos);
	if (err) {
		return diag_set(reterr, err, "no memory for a disk's QoS");
	}
	*ret = &qos->block;
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* A layer that fails requests by number or by place. */
#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"
#include "block/block_impl.h"
#include "block/layers.h"

/* Atomic, since the twins count here, each on its loop. */
struct fail_rule {
	_Atomic(unsigned int) nth; /* how many until it fails; 0: disarmed */
	_Atomic(uint64_t) at_bytes;
	_Atomic(int) nth_err, at_err;
};

struct fail_user_rule {
	uint32_t ops; /* 0: no rule */
	enum block_fail_when when;
	uint64_t n;
	int err;
	_Atomic(uint64_t) seen;
};

struct block_fail {
	struct block block;
	struct block_fail *knobs; /* a twin's are the original's */
	struct fail_rule op[BLOCK_OPS];
	struct fail_user_rule rule;
};

/* Whether this one is the n-th. */
static bool fail_count_down(_Atomic(unsigned int) *nth)
{
	unsigned int left = *nth;

	while (left > 0) {
		if (atomic_compare_exchange_weak(nth, &left, left - 1)) {
			return left == 1;
		}
	}
	return false;
}

static bool fail_touches(const struct block_request *request, uint64_t at_bytes)
{
	return at_bytes >= request->offset_bytes &&
	       at_bytes - request->offset_bytes < request->length_bytes;
}

static bool fail_rule_applies(struct fail_user_rule *rule, const struct block_request *request)
{
	if (!(rule->ops & 1U << request->op)) {
		return false;
	}
	switch (rule->when) {
	case BLOCK_FAIL_EVERY:
		return (atomic_fetch_add(&rule->seen, 1) + 1) % rule->n == 0;
	case BLOCK_FAIL_NTH:
		return atomic_fetch_add(&rule->seen, 1) + 1 == rule->n;
	case BLOCK_FAIL_TOUCH:
		return fail_touches(request, rule->n);
	}
	return false;
}

static int fail_decide(struct block_fail *fail, const struct block_request *request)
{
	struct fail_rule *op = &fail->knobs->op[request->op];

	if (fail_count_down(&op->nth)) {
		return op->nth_err;
	}
	if (op->at_err && fail_touches(request, op->at_bytes)) {
		return op->at_err;
	}
	return fail_rule_applies(&fail->knobs->rule, request) ? fail->knobs->rule.err : 0;
}

static void fail_submit(struct block *block, struct block_request *request)
{
	struct block_fail *fail = container_of(block, struct block_fail, block);
	int err = fail_decide(fail, request);

	if (err) {
		block_complete_later(block, request, err);
	} else {
		block_forward(fail->block.lower, request);
	}
}

static int fail_twin(struct block *block, struct block **ret)
{
	struct block_fail *fail = container_of(block, struct block_fail, block), *twin;
	struct block *lower;
	int err = block_twin(fail->block.lower, &lower);

	err = err ? err : block_fail_create(lower, &twin);
	if (!err) {
		twin->knobs = fail;
		*ret = &twin->block;
	}
	return err;
}

static void fail_close(struct block *block)
{
	free(container_of(block, struct block_fail, block));
}

static const struct block_ops fail_ops = {
	.name = "fail",
	.submit = fail_submit,
	.twin = fail_twin,
	.close = fail_close,
};

int block_fail_create(struct block *lower_take, struct block_fail **ret)
{
	struct block_fail *fail = fault_alloc(1, sizeof(*fail));

	if (!fail) {
		block_close(lower_take);
		return -ENOMEM;
	}
	block_layer_init(&fail->block, &fail_ops, lower_take);
	fail->knobs = fail;
	*ret = fail;
	return 0;
}

struct block *block_fail_block(struct block_fail *fail)
{
	return &fail->block;
}

void block_fail_nth(struct block_fail *fail, enum block_op op, unsigned int n, int err)
{
	fail->knobs->op[op].nth_err = err;
	fail->knobs->op[op].nth = n;
}

void block_fail_at(struct block_fail *fail, enum block_op op, uint64_t offset_bytes, int err)
{
	fail->knobs->op[op].at_bytes = offset_bytes;
	fail->knobs->op[op].at_err = err;
}

void block_fail_rule(struct block_fail *fail, uint32_t ops, enum block_fail_when when, uint64_t n,
		     int err)
{
	check(n > 0 || when == BLOCK_FAIL_TOUCH);
	fail->rule.ops = ops;
	fail->rule.when = when;
	fail->rule.n = n;
	fail->rule.err = err;
}

/* SPDX-License-Identifier: MIT */
/* A layer that fails requests by number or by place. */
#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"
#include "block/block_impl.h"
#include "block/layers.h"

struct block_fail {
	struct block block;
	struct {
		unsigned int nth;
		int nth_err;
		uint64_t at_bytes;
		int at_err;
	} op[BLOCK_OPS];
};

static int fail_decide(struct block_fail *fail, const struct block_request *request)
{
	typeof(&fail->op[0]) rule = &fail->op[request->op];

	if (rule->nth > 0 && --rule->nth == 0) {
		return rule->nth_err;
	}
	if (rule->at_err && rule->at_bytes >= request->offset_bytes &&
	    rule->at_bytes - request->offset_bytes < request->length_bytes) {
		return rule->at_err;
	}
	return 0;
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

static void fail_close(struct block *block)
{
	free(container_of(block, struct block_fail, block));
}

static const struct block_ops fail_ops = {
	.name = "fail",
	.submit = fail_submit,
	.close = fail_close,
};

int block_fail_create(struct block *lower_take, struct block_fail **ret)
{
	struct block_fail *fail = fault_alloc(1, sizeof(*fail));

	if (!fail) {
		block_close(lower_take);
		return -ENOMEM;
	}
	block_init(&fail->block, &fail_ops);
	fail->block.lower = lower_take;
	fail->block.info = lower_take->info;
	fail->block.is_direct = lower_take->is_direct;
	*ret = fail;
	return 0;
}

struct block *block_fail_block(struct block_fail *fail)
{
	return &fail->block;
}

void block_fail_nth(struct block_fail *fail, enum block_op op, unsigned int n, int err)
{
	fail->op[op].nth = n;
	fail->op[op].nth_err = err;
}

void block_fail_at(struct block_fail *fail, enum block_op op, uint64_t offset_bytes, int err)
{
	fail->op[op].at_bytes = offset_bytes;
	fail->op[op].at_err = err;
}

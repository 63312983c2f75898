/* SPDX-License-Identifier: MIT */
/* A disk of zeroes that forgets what is written. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "block/block_impl.h"

struct block_null {
	struct block block;
	bool no_data; /* reads touch no buffer */
};

static void null_submit(struct block *block, struct block_request *request)
{
	const struct block_null *null = container_of(block, struct block_null, block);

	if (request->op == BLOCK_READ && !null->no_data) {
		for (int i = 0; i < request->iov_count; i++) {
			memset(request->iov[i].iov_base, 0, request->iov[i].iov_len);
		}
	}
	if (request->op == BLOCK_MAP) {
		request->map = (struct block_map){ BLOCK_MAP_ZERO, request->length_bytes, ~0ULL };
	} else if (request->op == BLOCK_RESIZE) {
		block_set_bytes(block, request->offset_bytes);
	}
	block_complete_later(block, request, 0);
}

static void null_refresh(struct block *block)
{
	if (block->original) {
		block->info.bytes = block->original->info.bytes;
	}
}

static int null_twin(struct block *block, struct block **ret);

static void null_close(struct block *block)
{
	free(container_of(block, struct block_null, block));
}

static const struct block_ops null_ops = {
	.name = "null",
	.submit = null_submit,
	.refresh = null_refresh,
	.twin = null_twin,
	.close = null_close,
};

static int null_twin(struct block *block, struct block **ret)
{
	struct block_null *twin = fault_alloc(1, sizeof(*twin));

	if (!twin) {
		return -ENOMEM;
	}
	block_init(&twin->block, &null_ops);
	block_copy_info(&twin->block.info, &block->info);
	twin->no_data = container_of(block, struct block_null, block)->no_data;
	*ret = &twin->block;
	return 0;
}

int block_null_open(const struct block_config *config, struct block **ret, struct diag *reterr)
{
	uint32_t logical = config->logical_block_bytes ? config->logical_block_bytes : 512;
	struct block_null *null;
	struct block *block;

	if (config->null_bytes == 0 || config->null_bytes % logical != 0) {
		return diag_set(
			reterr, -EINVAL,
			"a null disk of %llu bytes: give it a size that is a multiple of %u",
			(unsigned long long)config->null_bytes, logical);
	}
	null = fault_alloc(1, sizeof(*null));
	if (!null) {
		return diag_set(reterr, -ENOMEM, "no memory for a null disk");
	}
	null->no_data = config->null_no_data;
	block = &null->block;
	block_init(block, &null_ops);
	block->info = (struct block_info){
		.bytes = config->null_bytes,
		.logical_block_bytes = logical,
		.physical_block_bytes = 4096,
		.read_only = config->read_only,
		.can_discard = !config->read_only,
		.can_write_zeroes = !config->read_only,
		.can_resize = !config->read_only,
	};
	snprintf(block->info.identity, sizeof(block->info.identity), "%s",
		 "00000000-0000-8000-8000-6e756c6c0000");
	*ret = block;
	return 0;
}

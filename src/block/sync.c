/* SPDX-License-Identifier: MIT */
#include "block/sync.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"

struct block_sync {
	struct block *block;
	struct loop *loop;
	struct block_request request;
	struct iovec iov;
	int result;
	struct loop_work stopped;
};

int block_sync_create(struct block *block, struct block_sync **ret, struct diag *reterr)
{
	struct block_sync *sync = fault_alloc(1, sizeof(*sync));
	int err;

	if (!sync) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	err = loop_create("tabique-sync", &sync->loop, reterr);
	if (err) {
		free(sync);
		return err;
	}
	loop_set_poll_ns(sync->loop, 0);
	sync->block = block;
	err = block_start(block, sync->loop);
	if (err) {
		loop_destroy(sync->loop);
		free(sync);
		return diag_set(reterr, err, "a disk cannot be started: %s", strerror(-err));
	}
	*ret = sync;
	return 0;
}

static void sync_on_stopped(struct loop_work *work)
{
	loop_quit(container_of(work, struct block_sync, stopped)->loop);
}

void block_sync_destroy(struct block_sync *sync)
{
	if (!sync) {
		return;
	}
	loop_work_init(&sync->stopped, sync_on_stopped);
	block_stop(sync->block, &sync->stopped);
	loop_run(sync->loop);
	loop_destroy(sync->loop);
	free(sync);
}

struct block *block_sync_block(const struct block_sync *sync)
{
	return sync->block;
}

struct loop *block_sync_loop(const struct block_sync *sync)
{
	return sync->loop;
}

static void sync_on_done(struct block_request *request, int result)
{
	struct block_sync *sync = container_of(request, struct block_sync, request);

	sync->result = result;
	loop_quit(sync->loop);
}

static int sync_run(struct block_sync *sync, enum block_op op, uint64_t offset_bytes, void *buf,
		    uint64_t bytes)
{
	struct block_request *request = &sync->request;

	sync->iov = (struct iovec){ buf, buf ? (size_t)bytes : 0 };
	request->op = op;
	request->offset_bytes = offset_bytes;
	request->length_bytes = bytes;
	request->iov = &sync->iov;
	request->iov_count = buf ? 1 : 0;
	request->done = sync_on_done;
	block_submit(sync->block, request);
	loop_run(sync->loop);
	return sync->result;
}

int block_sync_read(struct block_sync *sync, uint64_t offset_bytes, void *buf, size_t bytes)
{
	return sync_run(sync, BLOCK_READ, offset_bytes, buf, bytes);
}

int block_sync_write(struct block_sync *sync, uint64_t offset_bytes, const void *buf, size_t bytes)
{
	return sync_run(sync, BLOCK_WRITE, offset_bytes, (void *)(uintptr_t)buf, bytes);
}

int block_sync_flush(struct block_sync *sync)
{
	return sync_run(sync, BLOCK_FLUSH, 0, NULL, 0);
}

int block_sync_discard(struct block_sync *sync, uint64_t offset_bytes, uint64_t bytes)
{
	return sync_run(sync, BLOCK_DISCARD, offset_bytes, NULL, bytes);
}

int block_sync_write_zeroes(struct block_sync *sync, uint64_t offset_bytes, uint64_t bytes,
			    bool may_unmap)
{
	sync->request.may_unmap = may_unmap;
	return sync_run(sync, BLOCK_WRITE_ZEROES, offset_bytes, NULL, bytes);
}

int block_sync_resize(struct block_sync *sync, uint64_t bytes)
{
	int err = sync_run(sync, BLOCK_RESIZE, bytes, NULL, 0);

	if (!err) {
		block_refresh(sync->block);
	}
	return err;
}

int block_sync_map(struct block_sync *sync, uint64_t offset_bytes, uint64_t bytes,
		   struct block_map *ret)
{
	int err = sync_run(sync, BLOCK_MAP, offset_bytes, NULL, bytes);

	if (!err) {
		*ret = sync->request.map;
	}
	return err;
}

/* SPDX-License-Identifier: MIT */
/* A loop, a file, and requests that are waited for: for the tests of blocks. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "block/block.h"
#include "block/layers.h"

struct rig {
	struct loop *loop;
	char path[64];
	int file;
	struct loop_work stopped;
	bool is_stopped;
};

static inline void rig_on_stopped(struct loop_work *work)
{
	container_of(work, struct rig, stopped)->is_stopped = true;
}

static inline void rig_create(struct rig *rig, uint64_t bytes)
{
	struct diag diag;

	memset(rig, 0, sizeof(*rig));
	loop_work_init(&rig->stopped, rig_on_stopped);
	assert_int_equal(loop_create("test", &rig->loop, &diag), 0);
	snprintf(rig->path, sizeof(rig->path), "block-test-XXXXXX");
	rig->file = mkstemp(rig->path);
	assert_true(rig->file >= 0);
	assert_int_equal(ftruncate(rig->file, (off_t)bytes), 0);
}

static inline void rig_destroy(struct rig *rig)
{
	close(rig->file);
	unlink(rig->path);
	loop_destroy(rig->loop);
}

static inline struct block *rig_open(struct rig *rig, bool read_only, bool buffered)
{
	struct block_config config = {
		.kind = BLOCK_RAW,
		.path = rig->path,
		.read_only = read_only,
		.buffered = buffered,
	};
	struct block *block;
	struct diag diag;

	if (block_open(&config, &block, &diag)) {
		fail_msg("%s", diag.text);
	}
	return block;
}

static inline void rig_stop(struct rig *rig, struct block *block)
{
	rig->is_stopped = false;
	block_stop(block, &rig->stopped);
	while (!rig->is_stopped) {
		loop_turn(rig->loop);
	}
}

struct rig_request {
	struct block_request block;
	struct iovec iov[8];
	bool is_done;
	int result;
};

static inline void rig_on_done(struct block_request *block, int result)
{
	struct rig_request *request = container_of(block, struct rig_request, block);

	assert_false(request->is_done);
	request->is_done = true;
	request->result = result;
}

static inline void rig_submit(struct block *block, struct rig_request *request, enum block_op op,
			      uint64_t offset, uint64_t bytes)
{
	request->is_done = false;
	request->block.op = op;
	request->block.offset_bytes = offset;
	request->block.length_bytes = bytes;
	request->block.done = rig_on_done;
	block_submit(block, &request->block);
	assert_false(request->is_done); /* submit never calls back */
}

static inline int rig_wait(struct rig *rig, struct rig_request *request)
{
	while (!request->is_done) {
		loop_turn(rig->loop);
	}
	return request->result;
}

static inline int rig_io(struct rig *rig, struct block *block, enum block_op op, uint64_t offset,
			 void *buf, uint64_t bytes)
{
	struct rig_request request = { .iov[0] = { buf, bytes } };

	request.block.iov = request.iov;
	request.block.iov_count = 1;
	rig_submit(block, &request, op, offset, bytes);
	return rig_wait(rig, &request);
}

/* SPDX-License-Identifier: MIT */
/* A SCSI unit over blocks that write down what they are asked, and the initiator's half. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "block/block_impl.h"
#include "block/iovec.h"
#include "scsi/scsi_disk.h"

#define QUEUES       2
#define MEDIUM_BYTES (1U << 20)

/* ---- a unit over two ends of a block ------------------------------------------------------------ */

struct end {
	struct block block;
	struct block_request last; /* a copy */
	unsigned int requests;
	int result;                 /* of the next */
	bool holds;                 /* requests wait for spy_release() */
	struct block_request *held; /* one of them */
};

static struct loop *loop;
static struct end spies[QUEUES];
static struct scsi_disk *disk;
static struct scsi_target target;
static struct scsi_request request;
static uint8_t medium[MEDIUM_BYTES];
static uint8_t buf[1 << 16];
static struct iovec iov[2];
static bool is_done;
static unsigned int queue; /* where commands go */
#define spy spies[0]

static inline void spy_submit(struct block *block, struct block_request *r)
{
	struct end *at = container_of(block, struct end, block);

	at->last = *r;
	at->requests++;
	if (at->result == 0 && r->offset_bytes + r->length_bytes <= MEDIUM_BYTES) {
		if (r->op == BLOCK_READ) {
			iovec_scatter(r->iov, r->iov_count, 0, medium + r->offset_bytes,
				      r->length_bytes);
		} else if (r->op == BLOCK_WRITE) {
			iovec_gather(r->iov, r->iov_count, 0, medium + r->offset_bytes,
				     r->length_bytes);
		}
	}
	if (at->holds) {
		at->held = r;
	} else {
		block_complete_later(block, r, at->result);
	}
	at->result = 0;
}

static inline void spy_release(struct end *at)
{
	struct block_request *r = at->held;

	at->held = NULL;
	block_complete(r, 0);
}

static inline void spy_close(struct block *block)
{
}

static const struct block_ops spy_ops = { .name = "spy", .submit = spy_submit, .close = spy_close };

static inline void on_done(struct scsi_request *r)
{
	assert_false(is_done);
	is_done = true;
}

static inline void attach(void)
{
	for (unsigned int i = 0; i < QUEUES; i++) {
		scsi_disk_attach(disk, i, &spies[i].block);
	}
}

static inline void detach(void)
{
	for (unsigned int i = 0; i < QUEUES; i++) {
		scsi_disk_detach(disk, i);
	}
}

static const struct block_info full_info = {
	.bytes = MEDIUM_BYTES,
	.logical_block_bytes = 512,
	.physical_block_bytes = 4096,
	.can_discard = true,
	.can_write_zeroes = true,
	.identity = "01234567-89ab-cdef-0123-456789abcdef",
};

/* Another unit over the same blocks; info of the config: as the blocks have it. */
static inline void recreate(struct scsi_disk_config config)
{
	struct diag diag;

	if (disk) {
		detach();
		scsi_disk_destroy(disk);
	}
	config.info = &spy.block.info;
	config.transfer_bytes_max = 1 << 20;
	if (scsi_disk_create(&config, &disk, &diag)) {
		fail_msg("%s", diag.text);
	}
	attach();
	memset(&target, 0, sizeof(target));
	target.luns[0] = disk;
}

static inline void create_unit(struct block_info info, struct scsi_disk_config config)
{
	struct diag diag;

	memset(spies, 0, sizeof(spies));
	memset(medium, 0, sizeof(medium));
	queue = 0;
	disk = NULL;
	assert_int_equal(loop_create("test", &loop, &diag), 0);
	for (unsigned int i = 0; i < QUEUES; i++) {
		block_init(&spies[i].block, &spy_ops);
		spies[i].block.info = info;
		assert_int_equal(block_start(&spies[i].block, loop), 0);
	}
	recreate(config);
}

static inline void create(struct block_info info)
{
	create_unit(info, (struct scsi_disk_config){ .serial = "SN-1", .write_cache = true });
}

static inline int setup(void **state)
{
	create(full_info);
	return 0;
}

static inline int teardown(void **state)
{
	detach();
	scsi_disk_destroy(disk);
	for (unsigned int i = 0; i < QUEUES; i++) {
		block_stop_lower(&spies[i].block);
	}
	loop_destroy(loop);
	return 0;
}

static inline void fill(size_t bytes, uint8_t seed)
{
	for (size_t i = 0; i < bytes; i++) {
		buf[i] = (uint8_t)(seed + i * 5 + i / 253);
	}
}

/* ---- the initiator's half ----------------------------------------------------------------------- */

/* The buffer in two pieces, so that nothing relies on one. */
static inline enum scsi_submit submit(const void *cdb, uint8_t cdb_bytes, uint32_t data_bytes)
{
	memset(&request, 0xee, sizeof(request));
	memset(request.cdb, 0, sizeof(request.cdb));
	memcpy(request.cdb, cdb, cdb_bytes);
	request.cdb_bytes = cdb_bytes;
	request.queue = (uint8_t)queue;
	iov[0] = (struct iovec){ buf, num_min(data_bytes, 7) };
	iov[1] = (struct iovec){ buf + 7, data_bytes - iov[0].iov_len };
	request.iov = iov;
	request.iov_count = 2;
	request.data_bytes = data_bytes;
	request.done = on_done;
	is_done = false;
	return scsi_target_submit(&target, 0, &request);
}

static inline uint8_t run(const void *cdb, uint8_t cdb_bytes, uint32_t data_bytes)
{
	enum scsi_submit how = submit(cdb, cdb_bytes, data_bytes);

	assert_false(is_done);
	while (how == SCSI_PENDING && !is_done) {
		loop_turn(loop);
	}
	assert_true(how != SCSI_NO_UNIT);
	return request.status;
}

#define CDB(...)             ((const uint8_t[]){ __VA_ARGS__ })
#define SUBMIT(bytes, ...)   submit(CDB(__VA_ARGS__), sizeof(CDB(__VA_ARGS__)), bytes)
#define RUN(data_bytes, ...) run(CDB(__VA_ARGS__), sizeof(CDB(__VA_ARGS__)), data_bytes)
#define READY()              RUN(0, 0, 0, 0, 0, 0, 0)

static inline void expect_sense(uint8_t key, uint16_t asc)
{
	assert_int_equal(request.status, SCSI_STATUS_CHECK_CONDITION);
	assert_int_equal(request.sense_bytes, SCSI_SENSE_BYTES);
	assert_int_equal(request.sense[0], 0x70);
	assert_int_equal(request.sense[2], key);
	assert_int_equal(request.sense[7], 10);
	assert_int_equal(bytes_be16(&request.sense[12]), asc);
	assert_int_equal(request.transferred_bytes, 0);
}

/* ILLEGAL REQUEST, invalid field in CDB, pointing at byte (and bit, unless negative). */
static inline void expect_bad_cdb(unsigned int byte, int bit)
{
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_CDB);
	assert_int_equal(request.sense[15], bit < 0 ? 0xc0 : 0xc8 | bit);
	assert_int_equal(bytes_be16(&request.sense[16]), byte);
}

static inline void expect_bad_list(unsigned int byte)
{
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_LIST);
	assert_int_equal(request.sense[15], 0x80);
	assert_int_equal(bytes_be16(&request.sense[16]), byte);
}

static inline void expect_good(uint32_t transferred)
{
	assert_int_equal(request.status, SCSI_STATUS_GOOD);
	assert_int_equal(request.sense_bytes, 0);
	assert_int_equal(request.transferred_bytes, transferred);
}

#define TEST(name)           cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_ON(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)

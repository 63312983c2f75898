/* SPDX-License-Identifier: MIT */
/* Every command of a SCSI disk, and every refusal with its sense data. */
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
#include "scsi/scsi_disk.h"

/* ---- a disk over a block that writes down what it is asked ------------------------------------- */

struct spy {
	struct block block;
	struct block_request last; /* a copy */
	unsigned int requests;
	int result; /* of the next */
};

static struct loop *loop;
static struct spy spy;
static struct scsi_disk *disk;
static struct scsi_target target;
static struct scsi_request request;
static uint8_t buf[1 << 16];
static struct iovec iov[2];
static bool is_done;

static void spy_submit(struct block *block, struct block_request *r)
{
	spy.last = *r;
	spy.requests++;
	block_complete_later(block, r, spy.result);
	spy.result = 0;
}

static void spy_close(struct block *block)
{
}

static const struct block_ops spy_ops = { .name = "spy", .submit = spy_submit, .close = spy_close };

static void on_done(struct scsi_request *r)
{
	assert_false(is_done);
	is_done = true;
}

static void create(struct block_info info)
{
	struct scsi_disk_config config = {
		.info = &info,
		.write_cache = true,
		.transfer_bytes_max = 1 << 20,
		.serial = "SN-1",
	};
	struct diag diag;

	memset(&spy, 0, sizeof(spy));
	block_init(&spy.block, &spy_ops);
	spy.block.info = info;
	assert_int_equal(loop_create("test", &loop, &diag), 0);
	assert_int_equal(block_start(&spy.block, loop), 0);
	assert_int_equal(scsi_disk_create(&config, &disk, &diag), 0);
	scsi_disk_attach(disk, 0, &spy.block);
	memset(&target, 0, sizeof(target));
	target.luns[0] = disk;
}

static const struct block_info full_info = {
	.bytes = 1 << 20,
	.logical_block_bytes = 512,
	.physical_block_bytes = 4096,
	.can_discard = true,
	.can_write_zeroes = true,
	.identity = "01234567-89ab-cdef-0123-456789abcdef",
};

static int setup(void **state)
{
	create(full_info);
	return 0;
}

static int setup_read_only(void **state)
{
	struct block_info info = full_info;

	info.read_only = true;
	info.can_discard = info.can_write_zeroes = false;
	create(info);
	return 0;
}

/* 3 TiB of 4 KiB blocks, rotating, without provisioning. */
static int setup_large(void **state)
{
	struct block_info info = {
		.bytes = 3ULL << 40,
		.logical_block_bytes = 512,
		.physical_block_bytes = 512,
		.rotational = true,
	};

	create(info);
	return 0;
}

static int setup_4k(void **state)
{
	struct block_info info = full_info;

	info.logical_block_bytes = 4096;
	create(info);
	return 0;
}

static int teardown(void **state)
{
	scsi_disk_detach(disk, 0);
	scsi_disk_destroy(disk);
	block_stop_lower(&spy.block);
	loop_destroy(loop);
	return 0;
}

/* The buffer in two pieces, so that nothing relies on one. */
static uint8_t run(const void *cdb, uint8_t cdb_bytes, uint32_t data_bytes)
{
	enum scsi_submit how;

	memset(&request, 0xee, sizeof(request));
	memset(request.cdb, 0, sizeof(request.cdb));
	memcpy(request.cdb, cdb, cdb_bytes);
	request.cdb_bytes = cdb_bytes;
	iov[0] = (struct iovec){ buf, num_min(data_bytes, 7) };
	iov[1] = (struct iovec){ buf + 7, data_bytes - iov[0].iov_len };
	request.iov = iov;
	request.iov_count = 2;
	request.data_bytes = data_bytes;
	request.done = on_done;
	request.queue = 0;
	is_done = false;
	how = scsi_target_submit(&target, 0, &request);
	assert_false(is_done);
	while (how == SCSI_PENDING && !is_done) {
		loop_turn(loop);
	}
	assert_true(how != SCSI_NO_UNIT);
	return request.status;
}

#define RUN(data_bytes, ...)                                                                       \
	run((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }), data_bytes)

static void expect_sense(uint8_t key, uint16_t asc)
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
static void expect_bad_cdb(unsigned int byte, int bit)
{
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_CDB);
	assert_int_equal(request.sense[15], bit < 0 ? 0xc0 : 0xc8 | bit);
	assert_int_equal(bytes_be16(&request.sense[16]), byte);
}

static void expect_bad_list(unsigned int byte)
{
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_LIST);
	assert_int_equal(request.sense[15], 0x80);
	assert_int_equal(bytes_be16(&request.sense[16]), byte);
}

static void expect_good(uint32_t transferred)
{
	assert_int_equal(request.status, SCSI_STATUS_GOOD);
	assert_int_equal(request.sense_bytes, 0);
	assert_int_equal(request.transferred_bytes, transferred);
}

/* ---- who are you -------------------------------------------------------------------------------- */

static void inquiry_tells_vendor_and_product(void **state)
{
	RUN(96, 0x12, 0, 0, 0, 96, 0);
	expect_good(36);
	assert_int_equal(buf[0], 0);
	assert_int_equal(buf[2], 5);
	assert_int_equal(buf[4], 31);
	assert_memory_equal(&buf[8], "Msft    Virtual Disk    1.0 ", 28);
	RUN(96, 0x12, 0, 0, 0, 5, 0); /* no more than was allowed */
	expect_good(5);
	RUN(3, 0x12, 0, 0, 0, 96, 0); /* nor than there is room for */
	expect_good(3);
	RUN(0, 0x12, 0, 0, 0, 0, 0);
	expect_good(0);
	RUN(96, 0x12, 0, 0x80, 0, 96, 0); /* a page without EVPD */
	expect_bad_cdb(2, -1);
	RUN(96, 0x12, 2, 0, 0, 96, 0);
	expect_bad_cdb(1, 1);
}

static void vital_product_data_is_complete(void **state)
{
	static const uint8_t pages[] = { 0, 0x80, 0x83, 0xb0, 0xb1, 0xb2 };

	RUN(255, 0x12, 1, 0, 0, 255, 0);
	expect_good(4 + sizeof(pages));
	assert_memory_equal(&buf[4], pages, sizeof(pages));
	for (size_t i = 0; i < sizeof(pages); i++) {
		RUN(255, 0x12, 1, pages[i], 0, 255, 0);
		expect_good(4U + bytes_be16(&buf[2]));
		assert_int_equal(buf[1], pages[i]);
	}
	RUN(255, 0x12, 1, 0x80, 0, 255, 0);
	assert_memory_equal(&buf[4], "SN-1", 4);
	RUN(255, 0x12, 1, 0x83, 0, 255, 0);
	assert_int_equal(buf[4 + 29], 3); /* NAA */
	assert_int_equal(bytes_be32(&buf[4 + 32]), 0x60022480);
	RUN(255, 0x12, 1, 0xb0, 0, 255, 0);
	assert_int_equal(bytes_be32(&buf[8]), 2048); /* MAXIMUM TRANSFER LENGTH */
	assert_int_equal(bytes_be32(&buf[24]), SCSI_UNMAP_MAX);
	assert_int_equal(bytes_be32(&buf[28]), 8);
	RUN(255, 0x12, 1, 0xb1, 0, 255, 0);
	assert_int_equal(bytes_be16(&buf[4]), 1);
	RUN(255, 0x12, 1, 0xb2, 0, 255, 0);
	assert_int_equal(buf[5], 0xe4);
	RUN(255, 0x12, 1, 0xc0, 0, 255, 0);
	expect_bad_cdb(2, -1);
}

static void disk_without_provisioning_offers_none(void **state)
{
	RUN(255, 0x12, 1, 0, 0, 255, 0);
	expect_good(4 + 5);
	RUN(255, 0x12, 1, 0xb2, 0, 255, 0);
	expect_bad_cdb(2, -1);
	RUN(255, 0x12, 1, 0xb1, 0, 255, 0);
	assert_int_equal(bytes_be16(&buf[4]), 7200);
	RUN(24, 0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	RUN(512, 0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	/* 3 TiB: the small READ CAPACITY points to the large one. */
	RUN(8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_int_equal(bytes_be32(buf), 0xffffffff);
	RUN(32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0);
	expect_good(32);
	assert_int_equal(bytes_be64(buf), (3ULL << 31) - 1);
	assert_int_equal(buf[13], 0);
	assert_int_equal(buf[14], 0);
	/* Its last block can be read, the one after it not. */
	RUN(512, 0x88, 0, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0);
	expect_good(512);
	assert_int_equal(spy.last.offset_bytes, (3ULL << 40) - 512);
	RUN(512, 0x88, 0, 0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	RUN(512, 0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
}

static void capacity_is_told(void **state)
{
	RUN(8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	expect_good(8);
	assert_int_equal(bytes_be32(buf), 2047);
	assert_int_equal(bytes_be32(&buf[4]), 512);
	RUN(8, 0x25, 0, 0, 0, 0, 1, 0, 0, 0, 0);
	expect_bad_cdb(2, -1);
	RUN(32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0);
	expect_good(32);
	assert_int_equal(bytes_be64(buf), 2047);
	assert_int_equal(buf[13], 3);
	assert_int_equal(buf[14], 0xc0);
	RUN(32, 0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0);
	expect_bad_cdb(1, 4);
}

static void luns_are_reported(void **state)
{
	target.luns[5] = disk;
	RUN(64, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	expect_good(24);
	assert_int_equal(bytes_be32(buf), 16);
	assert_int_equal(buf[9], 0);
	assert_int_equal(buf[17], 5);
	RUN(64, 0xa0, 0, 1, 0, 0, 0, 0, 0, 0, 64, 0, 0); /* well-known units: none */
	expect_good(8);
	RUN(64, 0xa0, 0, 3, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	expect_bad_cdb(2, -1);
	RUN(64, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0);
	expect_bad_cdb(6, -1);
}

static void sense_is_never_pending(void **state)
{
	RUN(512, 0x28, 0, 0xff, 0, 0, 0, 0, 0, 1, 0);
	RUN(18, 3, 0, 0, 0, 18, 0);
	expect_good(18);
	assert_int_equal(buf[0], 0x70);
	assert_int_equal(buf[2], 0);
	RUN(18, 3, 1, 0, 0, 18, 0);
	expect_good(8);
	assert_int_equal(buf[0], 0x72);
}

/* ---- modes -------------------------------------------------------------------------------------- */

static void mode_sense_tells_caching_and_control(void **state)
{
	RUN(255, 0x1a, 0, 0x3f, 0, 255, 0);
	expect_good(4 + 8 + 20 + 12);
	assert_int_equal(buf[0], 43);
	assert_int_equal(buf[2], 0x10); /* DPOFUA, not WP */
	assert_int_equal(buf[3], 8);
	assert_int_equal(bytes_be32(&buf[8]), 512);
	assert_int_equal(buf[12], 8);
	assert_int_equal(buf[14], 4);    /* WCE */
	RUN(255, 0x1a, 8, 8, 0, 255, 0); /* DBD */
	expect_good(4 + 20);
	assert_int_equal(buf[3], 0);
	RUN(255, 0x1a, 8, 0x48, 0, 255, 0); /* changeable */
	assert_int_equal(buf[4 + 2], 4);
	assert_int_equal(buf[4 + 3], 0);
	RUN(255, 0x5a, 8, 10, 0, 0, 0, 0, 0, 255, 0);
	expect_good(8 + 12);
	assert_int_equal(bytes_be16(buf), 18);
	assert_int_equal(buf[3], 0x10);
	RUN(4, 0x1a, 0, 0x3f, 0, 4, 0); /* the head alone */
	expect_good(4);
	RUN(255, 0x1a, 0, 0x1c, 0, 255, 0);
	expect_bad_cdb(2, 5);
	RUN(255, 0x1a, 0, 0x3f, 1, 255, 0);
	expect_bad_cdb(3, -1);
	RUN(255, 0x1a, 0, 0xc8, 0, 255, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_SAVING_NOT_SUPPORTED);
}

static void cache_list(uint8_t wce)
{
	memset(buf, 0, 24);
	buf[4] = 8;
	buf[5] = 18;
	buf[6] = wce;
}

static void write_cache_can_be_switched_off(void **state)
{
	cache_list(0);
	RUN(24, 0x15, 0x10, 0, 0, 24, 0);
	expect_good(24);
	assert_int_equal(spy.last.op, BLOCK_FLUSH); /* what was in it */
	RUN(64, 0x1a, 8, 8, 0, 64, 0);
	assert_int_equal(buf[6], 0);
	RUN(512, 0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0);
	expect_good(512);
	assert_true(spy.last.fua);
	cache_list(4);
	spy.requests = 0;
	RUN(24, 0x15, 0x10, 0, 0, 24, 0);
	expect_good(24);
	assert_int_equal(spy.requests, 0);
	RUN(512, 0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0);
	assert_false(spy.last.fua);
}

static void mode_select_refuses_by_the_book(void **state)
{
	cache_list(4);
	RUN(24, 0x15, 0x11, 0, 0, 24, 0);
	expect_bad_cdb(1, 0);
	RUN(24, 0x15, 0, 0, 0, 24, 0);
	expect_bad_cdb(1, 4);
	RUN(24, 0x15, 0x10, 0, 0, 0, 0);
	expect_good(0);
	RUN(24, 0x15, 0x10, 0, 0, 25, 0); /* longer than the buffer */
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	RUN(24, 0x15, 0x10, 0, 0, 3, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	RUN(24, 0x15, 0x10, 0, 0, 5, 0); /* half a page header */
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	RUN(24, 0x15, 0x10, 0, 0, 23, 0); /* a page that ends early */
	expect_bad_list(5);
	cache_list(4 | 1); /* RCD cannot be changed */
	RUN(24, 0x15, 0x10, 0, 0, 24, 0);
	expect_bad_list(6);
	cache_list(4);
	buf[4] = 0x3f;
	RUN(24, 0x15, 0x10, 0, 0, 24, 0);
	expect_bad_list(4);
	cache_list(4);
	buf[3] = 8; /* a block descriptor with another block size */
	RUN(24, 0x15, 0x10, 0, 0, 24, 0);
	expect_bad_list(4);
	cache_list(4);
	buf[3] = 200;
	RUN(24, 0x15, 0x10, 0, 0, 24, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
}

/* ---- data --------------------------------------------------------------------------------------- */

static void transfers_of_every_cdb_size(void **state)
{
	RUN(1024, 0x08, 0x00, 0x00, 0x10, 2, 0);
	expect_good(1024);
	assert_int_equal(spy.last.op, BLOCK_READ);
	assert_int_equal(spy.last.offset_bytes, 16 * 512);
	assert_int_equal(spy.last.length_bytes, 1024);
	RUN(512, 0x0a, 0xe0, 0, 1, 1, 0); /* the old LUN field is not part of the address */
	expect_good(512);
	assert_int_equal(spy.last.op, BLOCK_WRITE);
	assert_int_equal(spy.last.offset_bytes, 512);
	assert_false(spy.last.fua);
	RUN(sizeof(buf), 0x08, 0, 0, 0, 0, 0); /* 0 is 256 blocks, more than the buffer */
	expect_bad_cdb(4, -1);
	RUN(512, 0x2a, 0x08, 0, 0, 0, 2, 0, 0, 1, 0);
	expect_good(512);
	assert_true(spy.last.fua);
	RUN(512, 0xa8, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0);
	expect_good(512);
	assert_int_equal(spy.last.offset_bytes, 3 * 512);
	RUN(512, 0xaa, 0x08, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0);
	expect_good(512);
	assert_true(spy.last.fua);
	RUN(512, 0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0);
	expect_good(512);
	assert_int_equal(spy.last.offset_bytes, 4 * 512);
	RUN(512, 0x2e, 0, 0, 0, 0, 5, 0, 0, 1, 0); /* WRITE AND VERIFY */
	expect_good(512);
	assert_true(spy.last.fua);
	RUN(512, 0x2e, 2, 0, 0, 0, 5, 0, 0, 1, 0);
	expect_bad_cdb(1, 2);
	RUN(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0); /* 0 blocks */
	expect_good(0);
}

static void transfers_that_do_not_fit_are_refused(void **state)
{
	spy.requests = 0;
	RUN(512, 0x28, 0, 0, 0, 8, 0, 0, 0, 1, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	RUN(1024, 0x2a, 0, 0, 0, 7, 0xff, 0, 0, 2, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	RUN(1023, 0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0); /* the buffer is too small */
	expect_bad_cdb(7, -1);
	RUN(0, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0); /* or missing */
	expect_bad_cdb(7, -1);
	RUN(512, 0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0); /* protection information */
	expect_bad_cdb(1, 7);
	RUN(512, 0x8a, 0xe0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0);
	expect_bad_cdb(1, 7);
	assert_int_equal(spy.requests, 0);
	RUN(4096, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0); /* too large is fine: the rest is residual */
	expect_good(512);
	assert_int_equal(spy.last.length_bytes, 512);
	/* A CDB that ends before its time. */
	RUN(512, 0x28, 0, 0, 0, 0, 0, 0);
	expect_bad_cdb(7, -1);
}

static void verify_checks_the_range(void **state)
{
	RUN(0, 0x2f, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	RUN(0, 0x2f, 0, 0, 0, 0, 0, 0, 0, 8, 0);
	expect_good(0);
	RUN(512, 0x2f, 2, 0, 0, 0, 0, 0, 0, 1, 0);
	expect_bad_cdb(1, 2);
	RUN(0, 0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0);
	expect_good(0);
}

static void caches_are_flushed(void **state)
{
	RUN(0, 0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	expect_good(0);
	assert_int_equal(spy.last.op, BLOCK_FLUSH);
	spy.requests = 0;
	RUN(0, 0x91, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	expect_good(0);
	assert_int_equal(spy.requests, 1);
	RUN(0, 0x35, 0, 0, 0xff, 0, 0, 0, 0, 1, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
}

static void stopped_unit_is_not_ready(void **state)
{
	RUN(0, 0x1b, 0, 0, 0, 0, 0);
	expect_good(0);
	assert_int_equal(spy.last.op, BLOCK_FLUSH);
	RUN(0, 0, 0, 0, 0, 0, 0);
	expect_sense(SCSI_KEY_NOT_READY, SCSI_ASC_NOT_READY_START_NEEDED);
	RUN(512, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	expect_sense(SCSI_KEY_NOT_READY, SCSI_ASC_NOT_READY_START_NEEDED);
	RUN(36, 0x12, 0, 0, 0, 36, 0);
	expect_good(36);
	RUN(0, 0x1b, 0, 0, 0, 1, 0);
	expect_good(0);
	RUN(0, 0, 0, 0, 0, 0, 0);
	expect_good(0);
	RUN(0, 0x1b, 0, 0, 0, 2, 0);
	expect_bad_cdb(4, 1);
	RUN(0, 0x1b, 0, 0, 0, 0x10, 0);
	expect_bad_cdb(4, 7);
}

static void unmap_discards_each_extent(void **state)
{
	memset(buf, 0, 64);
	bytes_put_be16(buf, 38);
	bytes_put_be16(&buf[2], 32);
	bytes_put_be64(&buf[8], 100);
	bytes_put_be32(&buf[16], 8);
	bytes_put_be64(&buf[24], 200);
	bytes_put_be32(&buf[32], 16);
	RUN(40, 0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0);
	expect_good(40);
	assert_int_equal(spy.requests, 2);
	assert_int_equal(spy.last.op, BLOCK_DISCARD);
	assert_int_equal(spy.last.offset_bytes, 200 * 512);
	assert_int_equal(spy.last.length_bytes, 16 * 512);

	bytes_put_be64(&buf[24], 2048);
	RUN(40, 0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	assert_int_equal(spy.requests, 2); /* and none of it was done */
	RUN(40, 0x42, 1, 0, 0, 0, 0, 0, 0, 40, 0);
	expect_bad_cdb(1, 0);
	RUN(40, 0x42, 0, 0, 0, 0, 0, 0, 0, 41, 0);
	expect_bad_cdb(7, -1);
	RUN(40, 0x42, 0, 0, 0, 0, 0, 0, 0, 7, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	RUN(40, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	expect_good(0);
	bytes_put_be16(&buf[2], 16 * (SCSI_UNMAP_MAX + 1));
	RUN(40, 0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0);
	expect_bad_list(2);
	/* The host fails in the middle. */
	bytes_put_be16(&buf[2], 32);
	bytes_put_be64(&buf[24], 200);
	spy.result = -EIO;
	RUN(40, 0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0);
	expect_sense(SCSI_KEY_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR);
}

static void write_same_writes_zeroes(void **state)
{
	memset(buf, 0, 512);
	RUN(512, 0x41, 0, 0, 0, 0, 8, 0, 0, 4, 0);
	expect_good(512);
	assert_int_equal(spy.last.op, BLOCK_WRITE_ZEROES);
	assert_int_equal(spy.last.length_bytes, 4 * 512);
	assert_false(spy.last.may_unmap);
	RUN(512, 0x93, 8, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0);
	expect_good(512);
	assert_true(spy.last.may_unmap);
	RUN(0, 0x93, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0); /* NDOB */
	expect_good(0);
	RUN(512, 0x41, 0, 0, 0, 7, 0, 0, 0, 0, 0); /* to the end */
	expect_good(512);
	assert_int_equal(spy.last.length_bytes, 256 * 512);
	RUN(511, 0x41, 0, 0, 0, 0, 8, 0, 0, 4, 0);
	expect_bad_cdb(0, -1);
	RUN(512, 0x41, 0x10, 0, 0, 0, 8, 0, 0, 4, 0);
	expect_bad_cdb(1, 4);
	RUN(512, 0x41, 0, 0, 0, 8, 0, 0, 0, 1, 0);
	expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	buf[300] = 1;
	RUN(512, 0x41, 0, 0, 0, 0, 8, 0, 0, 4, 0);
	expect_bad_list(0);
}

static void read_only_disk_is_protected(void **state)
{
	RUN(512, 0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0);
	expect_sense(SCSI_KEY_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
	RUN(255, 0x1a, 0, 0x3f, 0, 255, 0);
	assert_int_equal(buf[2], 0x90);
	spy.requests = 0;
	RUN(0, 0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	expect_good(0);
	assert_int_equal(spy.requests, 0);
}

static void blocks_of_4k_are_addressed(void **state)
{
	RUN(8192, 0x28, 0, 0, 0, 0, 3, 0, 0, 2, 0);
	expect_good(8192);
	assert_int_equal(spy.last.offset_bytes, 3 * 4096);
	RUN(8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_int_equal(bytes_be32(buf), 255);
	assert_int_equal(bytes_be32(&buf[4]), 4096);
}

/* ---- the rest ----------------------------------------------------------------------------------- */

static void every_other_command_is_refused(void **state)
{
	static const uint8_t known[] = { 0x00, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b, 0x25, 0x28,
					 0x2a, 0x2e, 0x2f, 0x35, 0x41, 0x42, 0x55, 0x5a, 0x88, 0x8a,
					 0x8e, 0x8f, 0x91, 0x93, 0x9e, 0xa0, 0xa3, 0xa8, 0xaa };

	for (unsigned int op = 0; op < 256; op++) {
		uint8_t cdb[16] = { (uint8_t)op };

		if (memchr(known, (int)op, sizeof(known))) {
			continue;
		}
		run(cdb, sizeof(cdb), 512);
		expect_sense(SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
	}
}

static void supported_commands_are_reported(void **state)
{
	RUN(1024, 0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0);
	expect_good(4 + 29 * 8);
	assert_int_equal(bytes_be32(buf), 29 * 8);
	RUN(1024, 0xa3, 0x0c, 0x80, 0, 0, 0, 0, 0, 4, 0, 0, 0); /* with timeouts */
	expect_good(4 + 29 * 20);
	RUN(64, 0xa3, 0x0c, 1, 0x28, 0, 0, 0, 0, 0, 64, 0, 0);
	expect_good(4 + 10);
	assert_int_equal(buf[1], 3);
	assert_int_equal(buf[4], 0x28);
	assert_int_equal(buf[6], 0xff);
	RUN(64, 0xa3, 0x0c, 2, 0x9e, 0, 0x10, 0, 0, 0, 64, 0, 0);
	expect_good(4 + 16);
	assert_int_equal(buf[5], 0x10);
	RUN(64, 0xa3, 0x0c, 2, 0x9e, 0, 0x12, 0, 0, 0, 64, 0, 0);
	expect_good(4);
	assert_int_equal(buf[1], 1);
	RUN(64, 0xa3, 0x0c, 1, 0x5e, 0, 0, 0, 0, 0, 64, 0, 0); /* PERSISTENT RESERVE IN */
	expect_good(4);
	assert_int_equal(buf[1], 1);
	RUN(64, 0xa3, 0x0c, 1, 0x9e, 0, 0, 0, 0, 0, 64, 0, 0);
	expect_bad_cdb(2, 2);
	RUN(64, 0xa3, 0x0c, 2, 0x28, 0, 0, 0, 0, 0, 64, 0, 0);
	expect_bad_cdb(2, 2);
	RUN(64, 0xa3, 0x0c, 7, 0x28, 0, 0, 0, 0, 0, 64, 0, 0);
	expect_bad_cdb(2, 2);
	RUN(64, 0xa3, 0x05, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	expect_bad_cdb(1, 4);
}

static void state_is_saved_and_loaded(void **state)
{
	struct save first, second;
	const uint8_t *a, *b;
	size_t a_bytes, b_bytes;
	struct load load;

	cache_list(0);
	RUN(24, 0x15, 0x10, 0, 0, 24, 0);
	RUN(0, 0x1b, 0, 0, 0, 0, 0);
	save_init(&first);
	scsi_disk_save(disk, &first);
	assert_int_equal(save_finish(&first, &a, &a_bytes), 0);
	scsi_disk_reset(disk);
	load_init(&load, a, a_bytes);
	assert_int_equal(scsi_disk_load(disk, &load), 0);
	save_init(&second);
	scsi_disk_save(disk, &second);
	assert_int_equal(save_finish(&second, &b, &b_bytes), 0);
	assert_int_equal(a_bytes, b_bytes);
	assert_memory_equal(a, b, a_bytes);
	RUN(0, 0, 0, 0, 0, 0, 0);
	expect_sense(SCSI_KEY_NOT_READY, SCSI_ASC_NOT_READY_START_NEEDED);
	save_fini(&first);
	save_fini(&second);

	save_init(&first);
	save_u32(&first, 1, 2);
	assert_int_equal(save_finish(&first, &a, &a_bytes), 0);
	load_init(&load, a, a_bytes);
	assert_int_equal(scsi_disk_load(disk, &load), -EBADMSG);
	save_fini(&first);
}

static void serials_are_checked(void **state)
{
	struct scsi_disk_config config = { .info = &full_info };
	struct diag diag;
	struct scsi_disk *other = NULL;

	config.serial = "0123456789012345678901234567890123";
	assert_int_equal(scsi_disk_create(&config, &other, &diag), -EINVAL);
	config.serial = "a\nb";
	assert_int_equal(scsi_disk_create(&config, &other, &diag), -EINVAL);
	assert_null(other);
	config.serial = NULL;
	assert_int_equal(scsi_disk_create(&config, &other, &diag), 0);
	scsi_disk_destroy(other);
	scsi_disk_destroy(NULL);
}

#define TEST(name)           cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_ON(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(inquiry_tells_vendor_and_product),
		TEST(vital_product_data_is_complete),
		TEST_ON(disk_without_provisioning_offers_none, setup_large),
		TEST(capacity_is_told),
		TEST(luns_are_reported),
		TEST(sense_is_never_pending),
		TEST(mode_sense_tells_caching_and_control),
		TEST(write_cache_can_be_switched_off),
		TEST(mode_select_refuses_by_the_book),
		TEST(transfers_of_every_cdb_size),
		TEST(transfers_that_do_not_fit_are_refused),
		TEST(verify_checks_the_range),
		TEST(caches_are_flushed),
		TEST(stopped_unit_is_not_ready),
		TEST(unmap_discards_each_extent),
		TEST(write_same_writes_zeroes),
		TEST_ON(read_only_disk_is_protected, setup_read_only),
		TEST_ON(blocks_of_4k_are_addressed, setup_4k),
		TEST(every_other_command_is_refused),
		TEST(supported_commands_are_reported),
		TEST(state_is_saved_and_loaded),
		TEST(serials_are_checked),
	};

	return cmocka_run_group_tests_name("scsi/scsi_disk", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Every command of a SCSI disk, and every refusal with its sense data. */
#include "scsi_rig.h"

/* 3 TiB of 512-byte blocks, rotating, without provisioning. */
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

static int setup_read_only(void **state)
{
	struct block_info info = full_info;

	info.read_only = true;
	info.can_discard = info.can_write_zeroes = false;
	create(info);
	return 0;
}

static int setup_large_with_zeroes(void **state)
{
	struct block_info info = full_info;

	info.bytes = 3ULL << 40;
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
	assert_memory_equal(&buf[8], "Msft    ", 8);
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
	expect_good(4 + 8 + 12 + 20 + 12 + 12);
	assert_int_equal(buf[0], 67);
	assert_int_equal(buf[2], 0x10); /* DPOFUA, not WP */
	assert_int_equal(buf[3], 8);
	assert_int_equal(bytes_be32(&buf[8]), 512);
	assert_int_equal(buf[12], 1);
	assert_int_equal(buf[24], 8);
	assert_int_equal(buf[26], 4); /* WCE */
	assert_int_equal(buf[44], 0x0a);
	assert_int_equal(buf[56], 0x1c);
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
	RUN(255, 0x1a, 0, 0x2a, 0, 255, 0);
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
	RUN(512, 0x2f, 4, 0, 0, 0, 0, 0, 0, 1, 0); /* reserved */
	expect_bad_cdb(1, 2);
	RUN(512, 0x2f, 6, 0, 0, 0, 0, 0, 0, 1, 0); /* one block against all */
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
}

static void write_same_writes_patterns_in_pieces(void **state)
{
	fill(512, 7);
	spy.requests = 0;
	RUN(512, 0x41, 0, 0, 0, 0, 8, 0, 1, 0, 0); /* 128 KiB: two pieces */
	expect_good(512);
	assert_int_equal(spy.requests, 2);
	assert_int_equal(spy.last.op, BLOCK_WRITE);
	assert_false(spy.last.fua);
	for (uint32_t i = 0; i < 512 * 256; i++) {
		assert_int_equal(medium[8 * 512 + i], buf[i % 512]);
	}
	assert_int_equal(medium[8 * 512 - 1], 0);
	assert_int_equal(medium[264 * 512], 0);
	spy.result = -EIO;
	RUN(512, 0x41, 0, 0, 0, 0, 8, 0, 1, 0, 0);
	expect_sense(SCSI_KEY_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR);
	RUN(512, 0x41, 0, 0, 0, 0, 8, 0, 0, 1, 0); /* the scratch is free again */
	expect_good(512);
}

/* What takes long would have to be waited for by a close. */
static void large_patterns_are_refused(void **state)
{
	fill(512, 7);
	spy.requests = 0;
	RUN(512, 0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x01, 0, 0);
	expect_bad_cdb(10, -1);
	RUN(512, 0x41, 0, 0, 0, 0, 0, 0, 0, 0, 0); /* to the end */
	expect_bad_cdb(7, -1);
	assert_int_equal(spy.requests, 0);
	RUN(512, 0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x00, 0, 0);
	expect_good(512);
	assert_int_equal(spy.requests, SCSI_PATTERN_BYTES_MAX / 65536);
}

static void verify_compares_bytes(void **state)
{
	fill(sizeof(buf), 3);
	RUN(sizeof(buf), 0x2a, 0, 0, 0, 0, 1, 0, 0, 128, 0);
	expect_good(sizeof(buf));
	RUN(sizeof(buf), 0x2f, 2, 0, 0, 0, 1, 0, 0, 128, 0);
	expect_good(sizeof(buf));
	RUN(sizeof(buf), 0x8f, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 128, 0, 0);
	expect_good(sizeof(buf));
	buf[65535] ^= 1; /* the last byte */
	RUN(sizeof(buf), 0x2f, 2, 0, 0, 0, 1, 0, 0, 128, 0);
	expect_sense(SCSI_KEY_MISCOMPARE, SCSI_ASC_MISCOMPARE);
	RUN(sizeof(buf), 0x2f, 2, 0, 0, 0, 1, 0, 0, 127, 0);
	expect_good(127 * 512);
	RUN(511, 0x2f, 2, 0, 0, 0, 1, 0, 0, 1, 0); /* too little to compare with */
	expect_bad_cdb(7, -1);
	spy.result = -EIO;
	RUN(512, 0x2f, 2, 0, 0, 0, 1, 0, 0, 1, 0);
	expect_sense(SCSI_KEY_MEDIUM_ERROR, SCSI_ASC_READ_ERROR);
	RUN(512, 0x2f, 2, 0, 0, 0, 1, 0, 0, 1, 0);
	expect_good(512);
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
	static const uint8_t known[] = {
		0x00, 0x03, 0x08, 0x0a, 0x12, 0x15, 0x1a, 0x1b, 0x25, 0x28,
		0x2a, 0x2e, 0x2f, 0x35, 0x41, 0x42, 0x4d, 0x55, 0x5a, 0x88,
		0x8a, 0x8e, 0x8f, 0x91, 0x93, 0x9e, 0xa0, 0xa3, 0xa8, 0xaa
	};

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
	expect_good(4 + 31 * 8);
	assert_int_equal(bytes_be32(buf), 31 * 8);
	RUN(1024, 0xa3, 0x0c, 0x80, 0, 0, 0, 0, 0, 4, 0, 0, 0); /* with timeouts */
	expect_good(4 + 31 * 20);
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

static void logs_are_there(void **state)
{
	RUN(64, 0x4d, 0, 0x40, 0, 0, 0, 0, 0, 64, 0);
	expect_good(6);
	assert_int_equal(buf[4], 0);
	assert_int_equal(buf[5], 0x2f);
	RUN(64, 0x4d, 0, 0x6f, 0, 0, 0, 0, 0, 64, 0);
	expect_good(12);
	assert_int_equal(bytes_be16(&buf[2]), 8);
	assert_int_equal(buf[10], 0xff);
	RUN(64, 0x4d, 0, 0x40 | 2, 0, 0, 0, 0, 0, 64, 0);
	expect_bad_cdb(2, 5);
	RUN(64, 0x4d, 0, 0x40, 1, 0, 0, 0, 0, 64, 0);
	expect_bad_cdb(3, -1);
	RUN(64, 0x4d, 1, 0x40, 0, 0, 0, 0, 0, 64, 0);
	expect_bad_cdb(1, 1);
	RUN(64, 0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	expect_good(4);
	assert_int_equal(buf[0], 0x0a);
	RUN(64, 0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 64, 0, 0);
	expect_good(16);
}

static void expect_no_create(struct scsi_disk_config config, const char *sentence)
{
	struct scsi_disk *other = NULL;
	struct diag diag;

	config.info = config.info ? config.info : &full_info;
	assert_int_equal(scsi_disk_create(&config, &other, &diag), -EINVAL);
	assert_null(other);
	if (!strstr(diag.text, sentence)) {
		fail_msg("\"%s\" says nothing of \"%s\"", diag.text, sentence);
	}
}

static void nonsense_is_refused_with_a_sentence(void **state)
{
	struct block_info odd = full_info, large = full_info, none = full_info;

	odd.logical_block_bytes = 520;
	large.logical_block_bytes = 8192;
	none.bytes = 511;
	expect_no_create((struct scsi_disk_config){ .serial = "" }, "serial");
	expect_no_create((struct scsi_disk_config){ .vendor = "123456789" }, "vendor");
	expect_no_create((struct scsi_disk_config){ .product = "\t" }, "product");
	expect_no_create((struct scsi_disk_config){ .wwn = "5002538" }, "WWN");
	expect_no_create((struct scsi_disk_config){ .wwn = "2002538e40001234" }, "WWN");
	expect_no_create((struct scsi_disk_config){ .wwn = "5002538e4000123g" }, "WWN");
	expect_no_create((struct scsi_disk_config){ .wwn = "50022480000000000000000000000001" },
			 "WWN");
	expect_no_create((struct scsi_disk_config){ .info = &odd }, "520");
	expect_no_create((struct scsi_disk_config){ .info = &large }, "8192");
	expect_no_create((struct scsi_disk_config){ .info = &none }, "511");
}

static void world_wide_names_are_told(void **state)
{
	static const uint8_t naa5[] = { 0x50, 0x02, 0x53, 0x8e, 0x40, 0x00, 0x12, 0x34 };

	recreate((struct scsi_disk_config){
		.wwn = "5002538e40001234", .vendor = "ATA", .product = "Disk of ours" });
	RUN(255, 0x12, 1, 0x83, 0, 255, 0);
	expect_good(4 + 28 + 12 + 4 + 24);
	assert_int_equal(buf[4 + 31], 8);
	assert_memory_equal(&buf[4 + 32], naa5, 8);
	assert_int_equal(buf[4 + 41], 8); /* SCSI name string */
	assert_int_equal(buf[4 + 43], 24);
	assert_string_equal((char *)&buf[4 + 44], "naa.5002538E40001234");
	RUN(96, 0x12, 0, 0, 0, 96, 0);
	assert_memory_equal(&buf[8], "ATA     Disk of ours    ", 24);
	recreate((struct scsi_disk_config){ .wwn = "600224800123456789abcdef01234567" });
	RUN(255, 0x12, 1, 0x83, 0, 255, 0);
	expect_good(4 + 28 + 20 + 4 + 40);
	assert_string_equal((char *)&buf[4 + 52], "naa.600224800123456789ABCDEF01234567");
}

/* An identity serves where no serial was given, and is for ever. */
static void identity_makes_serial_and_name(void **state)
{
	recreate((struct scsi_disk_config){ 0 });
	RUN(255, 0x12, 1, 0x80, 0, 255, 0);
	expect_good(4 + 32);
	assert_memory_equal(&buf[4], "0123456789abcdef0123456789abcdef", 32);
	recreate((struct scsi_disk_config){ .identity = "scsi0:0:0:1" });
	RUN(255, 0x12, 1, 0x80, 0, 255, 0);
	expect_good(4 + 11);
	recreate((struct scsi_disk_config){ .identity = "0123456789012345678901234567890123" });
	RUN(255, 0x12, 1, 0x80, 0, 255, 0);
	expect_good(4 + 32);
	assert_memory_not_equal(&buf[4], "01234567890123456789012345678901", 32);
}

static void write_cache_is_off_where_asked(void **state)
{
	recreate((struct scsi_disk_config){ .write_cache = false });
	RUN(64, 0x1a, 8, 8, 0, 64, 0);
	assert_int_equal(buf[6], 0);
	RUN(64, 0x1a, 8, 0x88, 0, 64, 0); /* default */
	assert_int_equal(buf[6], 0);
	RUN(64, 0x1a, 8, 0x48, 0, 64, 0); /* changeable */
	assert_int_equal(buf[6], 4);
	RUN(512, 0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0);
	assert_true(spy.last.fua);
	cache_list(4);
	RUN(24, 0x15, 0x10, 0, 0, 24, 0);
	RUN(512, 0x2a, 0, 0, 0, 0, 1, 0, 0, 1, 0);
	assert_false(spy.last.fua);
	scsi_disk_reset_unit(disk); /* a driver does not ask again: it stays */
	assert_true(scsi_disk_has_write_cache(disk));
	scsi_disk_reset(disk);
	assert_false(scsi_disk_has_write_cache(disk));
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
		TEST(serials_are_checked),
		TEST(write_same_writes_patterns_in_pieces),
		TEST_ON(large_patterns_are_refused, setup_large_with_zeroes),
		TEST(verify_compares_bytes),
		TEST(logs_are_there),
		TEST(nonsense_is_refused_with_a_sentence),
		TEST(world_wide_names_are_told),
		TEST(identity_makes_serial_and_name),
		TEST(write_cache_is_off_where_asked),
	};

	return cmocka_run_group_tests_name("scsi/scsi_disk", tests, NULL, NULL);
}

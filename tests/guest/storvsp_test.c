/* SPDX-License-Identifier: MIT */
/* A fake guest speaks VSTOR and SCSI to a StorVSP over files, failing disks and slow ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/fault.h"
#include "guest/storvsp_rig.h"

static void each_version_is_negotiated(void **state)
{
	static const uint16_t versions[] = { VSTOR_VERSION_WIN10, VSTOR_VERSION_WIN8_1,
					     VSTOR_VERSION_WIN8 };
	struct machine m;

	machine_create(&m, (struct machine_config){ 0 });
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		m.channel = fake_channel_open(m.guest, &scsi_type, 0, RING_BYTES);
		negotiate(&m, versions[i]);
		fake_channel_close(m.channel);
		m.channel = NULL;
	}
	machine_destroy(&m);
}

static void unknown_version_is_refused_and_the_next_taken(void **state)
{
	struct machine m;

	machine_create(&m, (struct machine_config){ 0 });
	m.channel = fake_channel_open(m.guest, &scsi_type, 0, RING_BYTES);
	assert_int_equal(ask_plain(&m, VSTOR_BEGIN_INITIALIZATION), 0);
	assert_int_equal(ask_version(&m, VSTOR_VERSION(7, 0)), VSTOR_STATUS_REVISION_MISMATCH);
	assert_int_equal(ask_version(&m, VSTOR_VERSION(4, 2)), VSTOR_STATUS_REVISION_MISMATCH);
	assert_int_equal(ask_version(&m, VSTOR_VERSION_WIN8_1), VSTOR_STATUS_SUCCESS);
	machine_destroy(&m);
}

static void write_reads_back_over_scattered_pages(void **state)
{
	static const struct {
		uint32_t offset, length, lba;
	} cases[] = {
		{ 0, 4096, 0 },      { 0, 512, 8 },         { 512, 4096, 16 },
		{ 1024, 12288, 64 }, { 0, 1U << 20, 2048 }, { 512, 1U << 20, 4096 },
		{ 4, 8192, 8192 },   { 3, 512, 9000 },      { 2048, 300 * 512, 9100 },
	};
	struct machine m;
	struct packet p;

	machine_create(&m, (struct machine_config){ 0 });
	machine_open(&m, RING_BYTES);
	for (uint32_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buffer out, in;

		buffer_create(&m, &out, cases[i].offset, cases[i].length);
		buffer_create(&m, &in, cases[i].offset, cases[i].length);
		buffer_fill(&m, &out, i);
		rw(&m, &p, SCSI_OP_WRITE_10, cases[i].lba, &out, i & 1);
		expect_good(&p, cases[i].length);
		file_expect(&m, 512ULL * cases[i].lba, i, cases[i].length);
		rw(&m, &p, SCSI_OP_READ_10, cases[i].lba, &in, false);
		expect_good(&p, cases[i].length);
		buffer_expect(&m, &in, i);
	}
	machine_destroy(&m);
}

static void operations_out_of_turn_are_refused(void **state)
{
	static const uint32_t turns[] = { VSTOR_BEGIN_INITIALIZATION, VSTOR_QUERY_PROTOCOL_VERSION,
					  VSTOR_QUERY_PROPERTIES, VSTOR_END_INITIALIZATION };
	struct machine m;

	machine_create(&m, (struct machine_config){ 0 });
	m.channel = fake_channel_open(m.guest, &scsi_type, 0, RING_BYTES);
	for (size_t phase = 0; phase <= ARRAY_SIZE(turns); phase++) {
		for (uint32_t op = VSTOR_BEGIN_INITIALIZATION; op <= VSTOR_QUERY_PROPERTIES; op++) {
			if (phase == ARRAY_SIZE(turns) || op != turns[phase]) {
				assert_int_equal(ask_plain(&m, op),
						 VSTOR_STATUS_INVALID_DEVICE_STATE);
			}
		}
		if (phase < ARRAY_SIZE(turns)) {
			struct packet p = { .header = { .operation = turns[phase] },
					    .version = { .version = VSTOR_VERSION_WIN10 } };

			assert_int_equal(ask_plain(&m, VSTOR_RESET_BUS),
					 VSTOR_STATUS_INVALID_DEVICE_STATE);
			assert_int_equal(ask(&m, &p), VSTOR_STATUS_SUCCESS);
		}
	}
	machine_destroy(&m);
}

static void operations_that_we_have_not_are_refused(void **state)
{
	struct packet p = { .header = { .operation = VSTOR_CREATE_SUB_CHANNELS },
			    .sub_channels = 1 };
	struct machine m;

	machine_create(&m, (struct machine_config){ 0 });
	machine_open(&m, RING_BYTES);
	assert_int_equal(ask(&m, &p), VSTOR_STATUS_INVALID_PARAMETER);
	assert_int_equal(ask_plain(&m, VSTOR_FC_HBA_DATA), VSTOR_STATUS_INVALID_DEVICE_REQUEST);
	assert_int_equal(ask_plain(&m, VSTOR_COMPLETE_IO), VSTOR_STATUS_INVALID_DEVICE_REQUEST);
	assert_int_equal(ask_plain(&m, 0), VSTOR_STATUS_INVALID_DEVICE_REQUEST);
	assert_int_equal(ask_plain(&m, 0xffffffff), VSTOR_STATUS_INVALID_DEVICE_REQUEST);
	assert_int_equal(ask_plain(&m, VSTOR_RESET_LUN), VSTOR_STATUS_SUCCESS);
	assert_int_equal(ask_plain(&m, VSTOR_RESET_ADAPTER), VSTOR_STATUS_SUCCESS);
	assert_int_equal(ask_plain(&m, VSTOR_RESET_BUS), VSTOR_STATUS_SUCCESS);
	machine_destroy(&m);
}

static void garbage_is_answered_and_the_channel_lives(void **state)
{
	static struct fake_packet answer;
	uint8_t bytes[256];
	struct machine m;
	struct packet p;
	static const uint8_t tur[6];

	machine_create(&m, (struct machine_config){ 0 });
	machine_open(&m, RING_BYTES);
	for (uint32_t i = 0; i < 32; i++) {
		memset(bytes, (int)i * 17, sizeof(bytes));
		fake_channel_send_inband(m.channel, 1000 + i, bytes, i * 8);
		fake_channel_expect_completion(m.channel, 1000 + i, &answer);
		assert_int_equal(answer.payload_bytes, i * 8 >= VSTOR_PACKET_BYTES
							       ? VSTOR_PACKET_BYTES
							       : VSTOR_PACKET_BYTES_OLD);
		assert_int_equal(bytes_le32(answer.payload), VSTOR_COMPLETE_IO);
		assert_int_not_equal(bytes_le32(answer.payload + 8), VSTOR_STATUS_SUCCESS);
	}
	/* CDBs of impossible lengths. */
	srb_init(&p, tur, 6, 0);
	p.srb.cdb_bytes = 0;
	run_srb(&m, &p, NULL);
	assert_int_equal(p.header.status, VSTOR_STATUS_INVALID_PARAMETER);
	srb_init(&p, tur, 6, 0);
	p.srb.cdb_bytes = 17;
	run_srb(&m, &p, NULL);
	assert_int_equal(p.header.status, VSTOR_STATUS_INVALID_PARAMETER);
	srb_init(&p, tur, 6, 0);
	run_srb(&m, &p, NULL);
	expect_good(&p, 0);
	machine_destroy(&m);
}

/* The guest's description of its memory is wrong in some way: no I/O, an error, and on it goes. */
static void bad_buffers_are_refused(void **state)
{
	struct machine m;
	struct buffer b;
	struct packet p;

	machine_create(&m, (struct machine_config){ 0 });
	machine_open(&m, RING_BYTES);
	buffer_create(&m, &b, 0, 8192);

	rw_init(&p, SCSI_OP_READ_10, 0, 8192, false);
	p.srb.data_bytes = 12288; /* more than the ranges hold */
	run_srb(&m, &p, &b);
	assert_int_equal(p.header.status, VSTOR_STATUS_INVALID_PARAMETER);
	assert_int_equal(p.srb.srb_status, VSTOR_SRB_INVALID_REQUEST);

	rw_init(&p, SCSI_OP_READ_10, 0, 8192, false);
	p.srb.data_bytes = 0xffffffff;
	run_srb(&m, &p, &b);
	assert_int_equal(p.header.status, VSTOR_STATUS_INVALID_PARAMETER);

	rw_init(&p, SCSI_OP_READ_10, 0, 8192, false); /* data, but no ranges at all */
	run_srb(&m, &p, NULL);
	assert_int_equal(p.header.status, VSTOR_STATUS_INVALID_PARAMETER);

	rw_init(&p, SCSI_OP_READ_10, 0, 16384, false);
	p.srb.data_bytes = 8192; /* less than the CDB asks for */
	run_srb(&m, &p, &b);
	expect_sense(&p, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_CDB);

	b.gfns[1] = RAM_BYTES / 4096 + 5; /* no RAM there */
	rw_init(&p, SCSI_OP_READ_10, 0, 8192, false);
	run_srb(&m, &p, &b);
	assert_int_equal(p.header.status, VSTOR_STATUS_INVALID_PARAMETER);
	b.gfns[1] = ~0ULL;
	rw_init(&p, SCSI_OP_READ_10, 0, 8192, false);
	run_srb(&m, &p, &b);
	assert_int_equal(p.header.status, VSTOR_STATUS_INVALID_PARAMETER);
	machine_destroy(&m);
}

static void several_ranges_are_one_buffer(void **state)
{
	uint64_t gfns[3], descriptor[1 + 3 * 2];
	struct packet p;
	struct machine m;
	struct iovec payload = { .iov_base = &p, .iov_len = VSTOR_PACKET_BYTES };
	struct vmbus_send send = {
		.type = VMBUS_PACKET_GPA_DIRECT,
		.wants_completion = true,
		.descriptor = descriptor,
		.descriptor_bytes = sizeof(descriptor),
		.payload = &payload,
		.payload_count = 1,
	};
	struct buffer out;

	machine_create(&m, (struct machine_config){ 0 });
	machine_open(&m, RING_BYTES);
	buffer_create(&m, &out, 0, 4096);
	buffer_fill(&m, &out, 7);
	rw(&m, &p, SCSI_OP_WRITE_10, 40, &out, false);
	expect_good(&p, 4096);

	/* 1024 bytes at the end of a page, 2048 in the middle of one, 1024 at the start of one. */
	fake_guest_alloc_scattered(m.guest, 3, gfns);
	descriptor[0] = 3ULL << 32;
	descriptor[1] = 1024 | 3072ULL << 32;
	descriptor[2] = gfns[0];
	descriptor[3] = 2048 | 512ULL << 32;
	descriptor[4] = gfns[1];
	descriptor[5] = 1024;
	descriptor[6] = gfns[2];
	rw_init(&p, SCSI_OP_READ_10, 40, 4096, false);
	send.transaction_id = m.next_id++;
	fake_channel_send(m.channel, &send);
	expect_srb(&m, send.transaction_id, &p);
	expect_good(&p, 4096);
	for (uint32_t i = 0; i < 4096; i++) {
		uint64_t gpa = i < 1024   ? (gfns[0] << 12) + 3072 + i
			       : i < 3072 ? (gfns[1] << 12) + 512 + (i - 1024)
					  : (gfns[2] << 12) + (i - 3072);

		assert_int_equal(*(uint8_t *)fake_guest_hva(m.guest, gpa, 1), pattern(7, i));
	}
	machine_destroy(&m);
}

static void read_only_disk_refuses_writes(void **state)
{
	static const uint8_t sense[6] = { SCSI_OP_MODE_SENSE_6, 0x08, 0x3f, 0, 64 };
	static const uint8_t sync[10] = { SCSI_OP_SYNCHRONIZE_CACHE_10 };
	struct machine m;
	struct buffer b;
	struct packet p;

	machine_create(&m, (struct machine_config){ .read_only = true });
	machine_open(&m, RING_BYTES);
	buffer_create(&m, &b, 0, 4096);
	rw(&m, &p, SCSI_OP_WRITE_10, 0, &b, false);
	expect_sense(&p, SCSI_KEY_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
	rw(&m, &p, SCSI_OP_READ_10, 0, &b, false);
	expect_good(&p, 4096);
	b.length = 64;
	srb_init(&p, sense, 6, 64);
	run_srb(&m, &p, &b);
	assert_int_equal(p.srb.srb_status, VSTOR_SRB_SUCCESS);
	assert_true(*buffer_at(&m, &b, 2) & SCSI_MODE_WP);
	srb_init(&p, sync, 10, 0);
	run_srb(&m, &p, NULL);
	expect_good(&p, 0);
	machine_destroy(&m);
}

static void host_errors_become_sense(void **state)
{
	static const struct {
		enum block_op op;
		int err;
		uint8_t key;
		uint16_t asc;
	} cases[] = {
		{ BLOCK_READ, -EIO, SCSI_KEY_MEDIUM_ERROR, SCSI_ASC_READ_ERROR },
		{ BLOCK_WRITE, -EIO, SCSI_KEY_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR },
		{ BLOCK_WRITE, -ENOSPC, SCSI_KEY_DATA_PROTECT, SCSI_ASC_SPACE_ALLOCATION },
		{ BLOCK_WRITE, -EROFS, SCSI_KEY_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED },
		{ BLOCK_READ, -ENXIO, SCSI_KEY_NOT_READY, SCSI_ASC_NOT_READY_MANUAL },
		{ BLOCK_READ, -EFAULT, SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_INTERNAL_FAILURE },
		{ BLOCK_FLUSH, -EIO, SCSI_KEY_MEDIUM_ERROR, SCSI_ASC_WRITE_ERROR },
	};
	static const uint8_t sync[10] = { SCSI_OP_SYNCHRONIZE_CACHE_10 };
	struct machine m;
	struct buffer b;
	struct packet p;

	machine_create(&m, (struct machine_config){ .with_fail = true });
	machine_open(&m, RING_BYTES);
	buffer_create(&m, &b, 0, 4096);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int again = 0; again < 2; again++) {
			if (!again) {
				block_fail_nth(m.fail, cases[i].op, 1, cases[i].err);
			}
			if (cases[i].op == BLOCK_FLUSH) {
				srb_init(&p, sync, 10, 0);
				run_srb(&m, &p, NULL);
			} else {
				rw(&m, &p,
				   cases[i].op == BLOCK_READ ? SCSI_OP_READ_10 : SCSI_OP_WRITE_10,
				   8, &b, false);
			}
			if (!again) {
				expect_sense(&p, cases[i].key, cases[i].asc);
			} else { /* and then it works on */
				expect_good(&p, cases[i].op == BLOCK_FLUSH ? 0 : 4096);
			}
		}
	}
	/* No memory just now: the guest is asked to try again. */
	block_fail_nth(m.fail, BLOCK_READ, 1, -ENOMEM);
	rw(&m, &p, SCSI_OP_READ_10, 8, &b, false);
	assert_int_equal(p.srb.srb_status, VSTOR_SRB_BUSY);
	assert_int_equal(p.srb.scsi_status, SCSI_STATUS_BUSY);
	/* A bad sector fails what touches it and nothing else. */
	block_fail_at(m.fail, BLOCK_READ, 512 * 20, -EIO);
	rw(&m, &p, SCSI_OP_READ_10, 16, &b, false);
	expect_sense(&p, SCSI_KEY_MEDIUM_ERROR, SCSI_ASC_READ_ERROR);
	rw(&m, &p, SCSI_OP_READ_10, 24, &b, false);
	expect_good(&p, 4096);
	machine_destroy(&m);
}

static void file_that_became_short_is_a_medium_error(void **state)
{
	struct machine m;
	struct buffer b;
	struct packet p;

	machine_create(&m, (struct machine_config){ 0 });
	machine_open(&m, RING_BYTES);
	buffer_create(&m, &b, 0, 8192);
	assert_int_equal(ftruncate(m.file, 1U << 20), 0);
	rw(&m, &p, SCSI_OP_READ_10, (1U << 20) / 512, &b, false);
	expect_sense(&p, SCSI_KEY_MEDIUM_ERROR, SCSI_ASC_READ_ERROR);
	rw(&m, &p, SCSI_OP_READ_10, (1U << 20) / 512 - 8, &b, false); /* half is there */
	expect_sense(&p, SCSI_KEY_MEDIUM_ERROR, SCSI_ASC_READ_ERROR);
	rw(&m, &p, SCSI_OP_READ_10, 0, &b, false);
	expect_good(&p, 8192);
	machine_destroy(&m);
}

static void absent_units_are_told(void **state)
{
	static const uint8_t inquiry[6] = { SCSI_OP_INQUIRY, 0, 0, 0, 36 };
	static const uint8_t luns[12] = { SCSI_OP_REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 64 };
	static const uint8_t tur[6];
	static const struct storvsp_address absent[] = { { 0, 0, 1 },      { 0, 1, 0 },
							 { 7, 1, 63 },     { 0, 0, 255 },
							 { 8, 0, 0 },      { 0, 2, 0 },
							 { 255, 255, 255 } };
	struct machine m;
	struct buffer b;
	struct packet p;

	machine_create(&m, (struct machine_config){ 0 });
	machine_open(&m, RING_BYTES);
	buffer_create(&m, &b, 0, 64);
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
		srb_init(&p, inquiry, 6, 64);
		p.srb.path = absent[i].path;
		p.srb.target = absent[i].target;
		p.srb.lun = absent[i].lun;
		run_srb(&m, &p, &b);
		expect_good(&p, 36);
		assert_int_equal(*buffer_at(&m, &b, 0), SCSI_INQUIRY_NO_UNIT);

		srb_init(&p, tur, 6, 0);
		p.srb.path = absent[i].path;
		p.srb.target = absent[i].target;
		p.srb.lun = absent[i].lun;
		run_srb(&m, &p, NULL);
		assert_int_equal(p.srb.srb_status, VSTOR_SRB_INVALID_LUN);
		assert_int_equal(p.header.status, VSTOR_STATUS_DEVICE_DOES_NOT_EXIST);
		assert_int_equal(p.srb.path, absent[i].path);
	}
	srb_init(&p, luns, 12, 64);
	run_srb(&m, &p, &b);
	expect_good(&p, 16);
	assert_int_equal(*buffer_at(&m, &b, 3), 8); /* one unit, number 0 */
	srb_init(&p, luns, 12, 64);
	p.srb.target = 1;
	run_srb(&m, &p, &b);
	expect_good(&p, 8);
	assert_int_equal(*buffer_at(&m, &b, 3), 0);
	machine_destroy(&m);
}

static void zeroes_and_discards_reach_the_file(void **state)
{
	uint8_t same[16] = { SCSI_OP_WRITE_SAME_16 }, unmap[10] = { SCSI_OP_UNMAP };
	struct machine m;
	struct buffer b, list;
	struct packet p;

	machine_create(&m, (struct machine_config){ 0 });
	machine_open(&m, RING_BYTES);
	if (!block_info(m.block)->can_discard) {
		machine_destroy(&m);
		skip();
	}
	buffer_create(&m, &b, 0, 65536);
	buffer_fill(&m, &b, 3);
	rw(&m, &p, SCSI_OP_WRITE_10, 0, &b, false);
	expect_good(&p, 65536);

	/* Blocks 0 to 7 by WRITE SAME with a block of zeroes. */
	buffer_create(&m, &list, 0, 512);
	bytes_put_be32(&same[10], 8);
	srb_init(&p, same, 16, 512);
	run_srb(&m, &p, &list);
	expect_good(&p, 512);
	/* A block that is not zero is written out, elsewhere. */
	*buffer_at(&m, &list, 511) = 1;
	bytes_put_be32(&same[6], 1024);
	srb_init(&p, same, 16, 512);
	run_srb(&m, &p, &list);
	expect_good(&p, 512);

	/* Blocks 16 to 23 and 32 to 39 by UNMAP. */
	buffer_create(&m, &list, 0, 8 + 32);
	bytes_put_be16(buffer_at(&m, &list, 0), 8 + 32 - 2);
	bytes_put_be16(buffer_at(&m, &list, 2), 32);
	bytes_put_be64(buffer_at(&m, &list, 8), 16);
	bytes_put_be32(buffer_at(&m, &list, 16), 8);
	bytes_put_be64(buffer_at(&m, &list, 24), 32);
	bytes_put_be32(buffer_at(&m, &list, 32), 8);
	bytes_put_be16(&unmap[7], 40);
	srb_init(&p, unmap, 10, 40);
	run_srb(&m, &p, &list);
	expect_good(&p, 40);
	assert_int_equal(block_read_stats(m.block)->discards, 2);

	rw(&m, &p, SCSI_OP_READ_10, 0, &b, false);
	expect_good(&p, 65536);
	for (uint32_t i = 0; i < b.length; i++) {
		uint32_t block = i / 512;
		bool zero = block < 8 || (block >= 16 && block < 24) || (block >= 32 && block < 40);

		assert_int_equal(*buffer_at(&m, &b, i), zero ? 0 : pattern(3, i));
	}
	machine_destroy(&m);
}

/* No memory for the pool: the guest may open again later. */
static void open_without_memory_is_refused(void **state)
{
	struct vmbus_device *device;
	struct machine m;

	machine_create(&m, (struct machine_config){ 0 });
	device = storvsp_device(m.storvsp);
	fault_arm(1);
	assert_int_equal(device->ops->open(device, device->channel, NULL), -ENOMEM);
	fault_arm(0);
	machine_open(&m, RING_BYTES);
	machine_destroy(&m);
}

/* ---- many at once ------------------------------------------------------------------------------ */

#define MANY (STORVSP_REQUESTS + 100)

/* Receives count answers with ids from first on, each exactly once. */
static void collect(struct machine *m, uint64_t first, uint32_t count)
{
	static struct fake_packet answer;
	uint8_t *seen = calloc(count, 1);

	assert_non_null(seen);
	for (uint32_t i = 0; i < count; i++) {
		fake_channel_receive(m->channel, &answer);
		assert_true(answer.transaction_id >= first &&
			    answer.transaction_id < first + count);
		assert_int_equal(seen[answer.transaction_id - first]++, 0);
		assert_int_equal(bytes_le32(answer.payload + 8), VSTOR_STATUS_SUCCESS);
	}
	assert_false(fake_channel_poll(m->channel, &answer));
	free(seen);
}

static void more_than_the_pool_waits_in_the_ring(void **state)
{
	struct machine m;
	struct buffer b;
	struct packet p;
	uint64_t first;

	machine_create(&m, (struct machine_config){ .with_delay = true });
	machine_open(&m, RING_BYTES);
	buffer_create(&m, &b, 0, 4096);
	block_delay_set(m.delay, BLOCK_DELAY_HOLD);
	first = m.next_id;
	rw_init(&p, SCSI_OP_READ_10, 0, 4096, false);
	for (uint32_t i = 0; i < MANY; i++) {
		send_srb(&m, &p, &b);
		if (i % 64 == 0) {
			fake_guest_settle(m.guest);
		}
	}
	fake_guest_settle(m.guest);
	assert_int_equal(block_delay_held(m.delay), STORVSP_REQUESTS);
	block_delay_set(m.delay, 0);
	block_delay_release(m.delay);
	collect(&m, first, MANY);
	assert_int_equal(block_read_stats(m.block)->reads, MANY);
	machine_destroy(&m);
}

static void answers_wait_for_a_guest_that_does_not_read(void **state)
{
	static const uint8_t tur[6];
	struct machine m;
	struct packet p;
	uint64_t first;

	machine_create(&m, (struct machine_config){ 0 });
	machine_open(&m, SMALL_RING);
	first = m.next_id;
	srb_init(&p, tur, 6, 0);
	for (uint32_t i = 0; i < 300; i++) {
		send_srb(&m, &p, NULL);
		fake_guest_settle(m.guest);
	}
	collect(&m, first, 300);
	machine_destroy(&m);
}

static bool disk_is_quiet(void *arg)
{
	return block_read_stats(((struct machine *)arg)->block)->in_flight == 0;
}

static void close_waits_for_what_is_in_flight(void **state)
{
	struct machine m;
	struct buffer b;
	struct packet p;

	machine_create(&m, (struct machine_config){ .with_delay = true });
	for (int round = 0; round < 3; round++) {
		machine_open(&m, RING_BYTES);
		buffer_create(&m, &b, 0, 4096);
		buffer_fill(&m, &b, 9);
		block_delay_set(m.delay, BLOCK_DELAY_HOLD);
		for (uint32_t i = 0; i < 20; i++) {
			rw_init(&p, SCSI_OP_WRITE_10, i * 8, 4096, false);
			send_srb(&m, &p, &b);
		}
		fake_guest_settle(m.guest);
		assert_int_equal(block_delay_held(m.delay), 20);
		fake_channel_close_nowait(m.channel);
		fake_guest_settle(m.guest);
		assert_int_equal(block_read_stats(m.block)->in_flight, 20);
		block_delay_set(m.delay, 0);
		block_delay_release(m.delay);
		assert_true(fake_guest_wait(m.guest, disk_is_quiet, &m));
		fake_channel_close(m.channel); /* once more, which is nonsense; and the GPADL */
		m.channel = NULL;
		file_expect(&m, 0, 9, 4096);
	}
	machine_open(&m, RING_BYTES);
	rw(&m, &p, SCSI_OP_READ_10, 0, &b, false);
	expect_good(&p, 4096);
	machine_destroy(&m);
}

/* ---- saved state -------------------------------------------------------------------------------- */

static void save_device(struct machine *m, struct save *save, const uint8_t **ret,
			size_t *ret_bytes)
{
	struct vmbus_device *device = storvsp_device(m->storvsp);

	save_init(save);
	device->ops->save(device, save);
	assert_int_equal(save_finish(save, ret, ret_bytes), 0);
}

/* Answers without room and a switched-off cache survive; load(save(x)) saves the same bytes. */
static void state_survives_in_the_middle(void **state)
{
	static const uint8_t tur[6];
	uint8_t select[6] = { SCSI_OP_MODE_SELECT_6, 0x10, 0, 0, 24 };
	struct vmbus_device *device;
	const uint8_t *before, *after;
	size_t before_bytes, after_bytes;
	struct save first_save, second_save;
	struct machine m;
	struct buffer b;
	struct packet p;
	struct load load;
	uint64_t first;

	machine_create(&m, (struct machine_config){ 0 });
	machine_open(&m, SMALL_RING);
	device = storvsp_device(m.storvsp);
	buffer_create(&m, &b, 0, 24);
	*buffer_at(&m, &b, 4) = SCSI_MODE_CACHING;
	*buffer_at(&m, &b, 5) = 18;
	srb_init(&p, select, 6, 24);
	run_srb(&m, &p, &b);
	expect_good(&p, 24);
	assert_int_equal(block_read_stats(m.block)->flushes, 1);

	first = m.next_id;
	srb_init(&p, tur, 6, 0);
	for (uint32_t i = 0; i < 100; i++) {
		send_srb(&m, &p, NULL);
		fake_guest_settle(m.guest);
	}
	assert_int_equal(bus_pause(fake_guest_bus(m.guest)), 0);
	storvsp_stop(m.storvsp, &m.done);
	machine_wait_done(&m);
	save_device(&m, &first_save, &before, &before_bytes);
	assert_true(before_bytes > 40 * VSTOR_PACKET_BYTES);

	load_init(&load, before, before_bytes);
	assert_int_equal(device->ops->load(device, &load), 0);
	save_device(&m, &second_save, &after, &after_bytes);
	assert_int_equal(before_bytes, after_bytes);
	assert_memory_equal(before, after, after_bytes);
	save_fini(&first_save);
	save_fini(&second_save);

	bus_resume(fake_guest_bus(m.guest));
	collect(&m, first, 100);
	buffer_create(&m, &b, 0, 4096);
	rw(&m, &p, SCSI_OP_WRITE_10, 0, &b, false);
	expect_good(&p, 4096);
	machine_destroy(&m);
}

static void nonsense_state_is_refused(void **state)
{
	struct vmbus_device *device;
	const uint8_t *bytes;
	size_t length;
	struct save save;
	struct machine m;
	struct load load;

	machine_create(&m, (struct machine_config){ 0 });
	machine_open(&m, RING_BYTES);
	device = storvsp_device(m.storvsp);

	save_init(&save);
	save_u32(&save, 1, 5); /* a phase that is not */
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	load_init(&load, bytes, length);
	assert_int_equal(device->ops->load(device, &load), -EBADMSG);
	save_fini(&save);

	save_init(&save);
	save_u32(&save, 1, 4); /* ready without a version */
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	load_init(&load, bytes, length);
	assert_int_equal(device->ops->load(device, &load), -EBADMSG);
	save_fini(&save);
	machine_destroy(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_version_is_negotiated),
		cmocka_unit_test(unknown_version_is_refused_and_the_next_taken),
		cmocka_unit_test(operations_out_of_turn_are_refused),
		cmocka_unit_test(operations_that_we_have_not_are_refused),
		cmocka_unit_test(garbage_is_answered_and_the_channel_lives),
		cmocka_unit_test(write_reads_back_over_scattered_pages),
		cmocka_unit_test(several_ranges_are_one_buffer),
		cmocka_unit_test(bad_buffers_are_refused),
		cmocka_unit_test(read_only_disk_refuses_writes),
		cmocka_unit_test(host_errors_become_sense),
		cmocka_unit_test(file_that_became_short_is_a_medium_error),
		cmocka_unit_test(absent_units_are_told),
		cmocka_unit_test(zeroes_and_discards_reach_the_file),
		cmocka_unit_test(open_without_memory_is_refused),
		cmocka_unit_test(more_than_the_pool_waits_in_the_ring),
		cmocka_unit_test(answers_wait_for_a_guest_that_does_not_read),
		cmocka_unit_test(close_waits_for_what_is_in_flight),
		cmocka_unit_test(state_survives_in_the_middle),
		cmocka_unit_test(nonsense_state_is_refused),
	};

	return cmocka_run_group_tests_name("guest/storvsp", tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* A fake guest speaks VSTOR and SCSI to a StorVSP over files, failing disks and slow ones. */
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

#include "base/bytes.h"
#include "base/num.h"
#include "block/block.h"
#include "block/layers.h"
#include "guest/fake_guest.h"
#include "proto/scsi.h"
#include "proto/vstor.h"
#include "vsp/storage/storvsp.h"

#define RAM_BYTES  (64U << 20)
#define RING_BYTES (128U << 10)
#define DISK_BYTES (8U << 20)
#define SMALL_RING 8192 /* a control page and a page of data */

static const struct guid scsi_type = GUID(0xba6163d9, 0x04a1, 0x4d29, 0xb605, 0x72e2ffb1dc7f);

/* ---- a machine with one controller ------------------------------------------------------------ */

struct machine {
	struct fake_guest *guest;
	struct storvsp *storvsp;
	struct fake_channel *channel;
	char path[64];
	int file;
	struct block *block;	   /* the topmost */
	struct block_fail *fail;   /* or NULL */
	struct block_delay *delay; /* or NULL */
	struct loop_work done;
	bool is_done;
	uint64_t next_id;
};

struct machine_config {
	bool read_only, with_fail, with_delay, without_disk;
};

static void on_done(struct loop_work *work)
{
	container_of(work, struct machine, done)->is_done = true;
}

static bool machine_is_done(void *arg)
{
	return ((struct machine *)arg)->is_done;
}

static void machine_wait_done(struct machine *m)
{
	assert_true(fake_guest_wait(m->guest, machine_is_done, m));
	m->is_done = false;
}

static void machine_add_disk(struct machine *m, const struct machine_config *how)
{
	struct block_config config = {
		.kind = BLOCK_RAW,
		.path = m->path,
		.read_only = how->read_only,
	};
	struct diag diag;

	if (block_open(&config, &m->block, &diag)) {
		fail_msg("%s", diag.text);
	}
	if (how->with_fail) {
		assert_int_equal(block_fail_create(m->block, &m->fail), 0);
		m->block = block_fail_block(m->fail);
	}
	if (how->with_delay) {
		assert_int_equal(block_delay_create(m->block, 0, &m->delay), 0);
		m->block = block_delay_block(m->delay);
	}
	assert_int_equal(block_start(m->block, fake_guest_loop(m->guest)), 0);
	assert_int_equal(storvsp_add_disk(m->storvsp, (struct storvsp_address){ 0, 0, 0 },
					  m->block, "disk-0", &diag),
			 0);
}

static void machine_create(struct machine *m, struct machine_config how)
{
	memset(m, 0, sizeof(*m));
	loop_work_init(&m->done, on_done);
	snprintf(m->path, sizeof(m->path), "storvsp-test-XXXXXX");
	m->file = mkstemp(m->path);
	assert_true(m->file >= 0);
	assert_int_equal(ftruncate(m->file, DISK_BYTES), 0);
	m->guest = fake_guest_create(RAM_BYTES, 2);
	assert_int_equal(storvsp_create("scsi0", &m->storvsp), 0);
	if (!how.without_disk) {
		machine_add_disk(m, &how);
	}
	fake_guest_offer(m->guest, storvsp_device(m->storvsp));
	fake_guest_connect(m->guest, VMBUS_VERSION_5_3);
	m->next_id = 100;
}

static void machine_destroy(struct machine *m)
{
	if (m->channel) {
		fake_channel_close(m->channel);
	}
	bus_revoke(fake_guest_bus(m->guest), storvsp_device(m->storvsp), &m->done);
	machine_wait_done(m);
	storvsp_destroy(m->storvsp);
	if (m->block) {
		block_stop(m->block, &m->done);
		machine_wait_done(m);
		block_close(m->block);
	}
	fake_guest_destroy(m->guest);
	close(m->file);
	unlink(m->path);
}

/* ---- the driver's half ------------------------------------------------------------------------ */

struct packet {
	struct vstor_header header;
	union {
		struct vstor_srb srb;
		struct vstor_version version;
		struct vstor_properties properties;
		uint16_t sub_channels;
	};
};

static void parse_answer(const struct fake_packet *from, struct packet *ret)
{
	assert_int_equal(from->payload_bytes, VSTOR_PACKET_BYTES);
	memcpy(ret, from->payload, VSTOR_PACKET_BYTES);
	assert_int_equal(ret->header.operation, VSTOR_COMPLETE_IO);
}

/* Sends a control packet and waits for its answer; the NT status. */
static uint32_t ask(struct machine *m, struct packet *packet)
{
	static struct fake_packet answer;
	uint64_t id = m->next_id++;

	packet->header.flags = VSTOR_FLAG_COMPLETION;
	fake_channel_send_inband(m->channel, id, packet, VSTOR_PACKET_BYTES);
	fake_channel_expect_completion(m->channel, id, &answer);
	parse_answer(&answer, packet);
	return packet->header.status;
}

static uint32_t ask_plain(struct machine *m, uint32_t operation)
{
	struct packet packet = { .header = { .operation = operation } };

	return ask(m, &packet);
}

static uint32_t ask_version(struct machine *m, uint16_t version)
{
	struct packet packet = {
		.header = { .operation = VSTOR_QUERY_PROTOCOL_VERSION },
		.version = { .version = version },
	};
	uint32_t status = ask(m, &packet);

	assert_int_equal(packet.version.version, version);
	return status;
}

static void negotiate(struct machine *m, uint16_t version)
{
	struct packet packet = { .header = { .operation = VSTOR_QUERY_PROPERTIES } };

	assert_int_equal(ask_plain(m, VSTOR_BEGIN_INITIALIZATION), VSTOR_STATUS_SUCCESS);
	assert_int_equal(ask_version(m, version), VSTOR_STATUS_SUCCESS);
	assert_int_equal(ask(m, &packet), VSTOR_STATUS_SUCCESS);
	assert_int_equal(packet.properties.sub_channels_max, 0);
	assert_int_equal(packet.properties.flags, 0);
	assert_int_equal(packet.properties.transfer_bytes_max % 4096, 0);
	assert_true(packet.properties.transfer_bytes_max >= 1U << 20);
	assert_int_equal(ask_plain(m, VSTOR_END_INITIALIZATION), VSTOR_STATUS_SUCCESS);
}

static void machine_open(struct machine *m, uint32_t ring_bytes)
{
	m->channel = fake_channel_open(m->guest, &scsi_type, 0, ring_bytes);
	negotiate(m, VSTOR_VERSION_WIN10);
}

/* Guest memory of a command: scattered pages, an offset into the first, a length. */
struct buffer {
	uint64_t gfns[300];
	size_t pages;
	uint32_t offset, length;
};

static void buffer_create(struct machine *m, struct buffer *b, uint32_t offset, uint32_t length)
{
	b->pages = (offset + length + 4095) / 4096;
	b->offset = offset;
	b->length = length;
	assert_true(b->pages <= ARRAY_SIZE(b->gfns));
	fake_guest_alloc_scattered(m->guest, b->pages, b->gfns);
}

static uint8_t *buffer_at(struct machine *m, const struct buffer *b, uint32_t i)
{
	uint32_t at = b->offset + i;

	return fake_guest_hva(m->guest, (b->gfns[at / 4096] << 12) + at % 4096, 1);
}

static uint8_t pattern(uint32_t seed, uint32_t i)
{
	return (uint8_t)(seed * 31 + i * 7 + i / 251);
}

static void buffer_fill(struct machine *m, const struct buffer *b, uint32_t seed)
{
	for (uint32_t i = 0; i < b->length; i++) {
		*buffer_at(m, b, i) = pattern(seed, i);
	}
}

static void buffer_expect(struct machine *m, const struct buffer *b, uint32_t seed)
{
	for (uint32_t i = 0; i < b->length; i++) {
		if (*buffer_at(m, b, i) != pattern(seed, i)) {
			fail_msg("byte %u is %02x, not %02x", i, *buffer_at(m, b, i),
				 pattern(seed, i));
		}
	}
}

static void srb_init(struct packet *p, const uint8_t *cdb, uint8_t cdb_bytes, uint32_t data_bytes)
{
	memset(p, 0, sizeof(*p));
	p->header.operation = VSTOR_EXECUTE_SRB;
	p->header.flags = VSTOR_FLAG_COMPLETION;
	p->srb.length = sizeof(p->srb);
	p->srb.cdb_bytes = cdb_bytes;
	p->srb.sense_bytes = VSTOR_SENSE_BYTES;
	p->srb.data_bytes = data_bytes;
	memcpy(p->srb.cdb, cdb, cdb_bytes);
}

/* Sends an SRB; b may be NULL. */
static uint64_t send_srb(struct machine *m, const struct packet *p, const struct buffer *b)
{
	uint64_t id = m->next_id++;

	if (b) {
		fake_channel_send_gfns(m->channel, id, b->gfns, b->pages, b->offset, b->length, p,
				       VSTOR_PACKET_BYTES);
	} else {
		fake_channel_send_inband(m->channel, id, p, VSTOR_PACKET_BYTES);
	}
	return id;
}

static void expect_srb(struct machine *m, uint64_t id, struct packet *ret)
{
	static struct fake_packet answer;

	fake_channel_expect_completion(m->channel, id, &answer);
	parse_answer(&answer, ret);
}

static void run_srb(struct machine *m, struct packet *p, const struct buffer *b)
{
	expect_srb(m, send_srb(m, p, b), p);
}

static void rw_cdb(uint8_t *cdb, uint8_t op, uint32_t lba, uint32_t blocks, bool fua)
{
	memset(cdb, 0, 10);
	cdb[0] = op;
	cdb[1] = fua ? SCSI_CDB_FUA : 0;
	bytes_put_be32(&cdb[2], lba);
	bytes_put_be16(&cdb[7], (uint16_t)blocks);
}

static void rw_init(struct packet *p, uint8_t op, uint32_t lba, uint32_t bytes, bool fua)
{
	uint8_t cdb[10];

	rw_cdb(cdb, op, lba, bytes / 512, fua);
	srb_init(p, cdb, 10, bytes);
}

static void rw(struct machine *m, struct packet *p, uint8_t op, uint32_t lba,
	       const struct buffer *b, bool fua)
{
	rw_init(p, op, lba, b->length, fua);
	run_srb(m, p, b);
}

static void expect_good(const struct packet *p, uint32_t data_bytes)
{
	assert_int_equal(p->header.status, VSTOR_STATUS_SUCCESS);
	assert_int_equal(p->srb.srb_status, VSTOR_SRB_SUCCESS);
	assert_int_equal(p->srb.scsi_status, SCSI_STATUS_GOOD);
	assert_int_equal(p->srb.data_bytes, data_bytes);
}

static void expect_sense(const struct packet *p, uint8_t key, uint16_t asc)
{
	assert_int_not_equal(p->header.status, VSTOR_STATUS_SUCCESS);
	assert_true(p->srb.srb_status & VSTOR_SRB_AUTOSENSE_VALID);
	assert_int_equal(p->srb.scsi_status, SCSI_STATUS_CHECK_CONDITION);
	assert_int_equal(p->srb.sense_bytes, SCSI_SENSE_BYTES);
	assert_int_equal(p->srb.sense[0], SCSI_SENSE_FIXED_CURRENT);
	assert_int_equal(p->srb.sense[2], key);
	assert_int_equal(bytes_be16(&p->srb.sense[12]), asc);
	assert_int_equal(p->srb.data_bytes, 0);
}

static void file_expect(const struct machine *m, uint64_t at, uint32_t seed, uint32_t length)
{
	uint8_t *bytes = malloc(length);

	assert_non_null(bytes);
	assert_int_equal(pread(m->file, bytes, length, (off_t)at), length);
	for (uint32_t i = 0; i < length; i++) {
		assert_int_equal(bytes[i], pattern(seed, i));
	}
	free(bytes);
}

/* ---- tests ------------------------------------------------------------------------------------ */

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
		{ 0, 4096, 0 },	      { 0, 512, 8 },	      { 512, 4096, 16 },
		{ 1024, 12288, 64 },  { 0, 1U << 20, 2048 },  { 512, 1U << 20, 4096 },
		{ 4, 8192, 8192 },    { 3, 512, 9000 },	      { 2048, 300 * 512, 9100 },
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
		assert_int_equal(answer.payload_bytes,
				 i * 8 >= VSTOR_PACKET_BYTES ? VSTOR_PACKET_BYTES :
							       VSTOR_PACKET_BYTES_OLD);
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
		uint64_t gpa = i < 1024 ? (gfns[0] << 12) + 3072 + i :
			       i < 3072 ? (gfns[1] << 12) + 512 + (i - 1024) :
					  (gfns[2] << 12) + (i - 3072);

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
	static const struct storvsp_address absent[] = { { 0, 0, 1 },	{ 0, 1, 0 },
							 { 7, 1, 63 },	{ 0, 0, 255 },
							 { 8, 0, 0 },	{ 0, 2, 0 },
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
	/* A block that is not zero is refused. */
	*buffer_at(&m, &list, 511) = 1;
	srb_init(&p, same, 16, 512);
	run_srb(&m, &p, &list);
	expect_sense(&p, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_LIST);

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

static void save_device(struct machine *m, struct save *save, const uint8_t **ret, size_t *ret_bytes)
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
	bus_pause(fake_guest_bus(m.guest));
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
		cmocka_unit_test(more_than_the_pool_waits_in_the_ring),
		cmocka_unit_test(answers_wait_for_a_guest_that_does_not_read),
		cmocka_unit_test(close_waits_for_what_is_in_flight),
		cmocka_unit_test(state_survives_in_the_middle),
		cmocka_unit_test(nonsense_state_is_refused),
	};

	return cmocka_run_group_tests_name("guest/storvsp", tests, NULL, NULL);
}

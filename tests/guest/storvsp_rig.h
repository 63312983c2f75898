/* SPDX-License-Identifier: MIT */
/*
 * A machine with one StorVSP, and the driver's half of VSTOR: negotiation, buffers over scattered
 * guest pages, SRBs and their answers. Failed expectations end the test.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
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
static const struct guid ide_type = GUID(0x32412632, 0x86cb, 0x44a2, 0x9b5c, 0x50d1417354f5);

/* ---- a machine with one controller ------------------------------------------------------------ */

struct machine {
	struct fake_guest *guest;
	struct storvsp *storvsp;
	struct loop *loops[STORVSP_QUEUES_MAX];
	struct scsi_disk *disk;
	struct fake_channel *channel;
	char path[64];
	int file;
	struct block *block;       /* the topmost */
	struct block_fail *fail;   /* or NULL */
	struct block_delay *delay; /* or NULL */
	struct loop_work done;
	bool is_done;
	uint64_t next_id;
};

struct machine_config {
	bool read_only, with_fail, with_delay, without_disk;
	unsigned int queues;           /* 0: one; all on the guest's loop */
	const struct storvsp_ide *ide; /* NULL: a SCSI controller */
};

static inline void on_done(struct loop_work *work)
{
	container_of(work, struct machine, done)->is_done = true;
}

static inline bool machine_is_done(void *arg)
{
	return ((struct machine *)arg)->is_done;
}

static inline void machine_wait_done(struct machine *m)
{
	assert_true(fake_guest_wait(m->guest, machine_is_done, m));
	m->is_done = false;
}

static inline void machine_add_disk(struct machine *m, const struct machine_config *how)
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
	struct scsi_disk_config scsi = {
		.type = SCSI_DISK,
		.info = block_info(m->block),
		.transfer_bytes_max = STORVSP_TRANSFER_BYTES_MAX,
		.serial = "disk-0",
		.write_cache = true,
	};

	assert_int_equal(block_start(m->block, fake_guest_loop(m->guest)), 0);
	assert_int_equal(scsi_disk_create(&scsi, &m->disk, &diag), 0);
	/* All queues are on one loop here, so one end serves them all. */
	for (unsigned int i = 0; i < storvsp_queues(m->storvsp); i++) {
		scsi_disk_attach(m->disk, i, m->block);
	}
	const struct storvsp_address at = { .target = how->ide ? how->ide->device : 0 };

	assert_int_equal(storvsp_add(m->storvsp, at, m->disk, &diag), 0);
}

static inline void machine_remove_disk(struct machine *m)
{
	for (unsigned int i = 0; i < storvsp_queues(m->storvsp); i++) {
		scsi_disk_detach(m->disk, i);
	}
	block_stop(m->block, &m->done);
	machine_wait_done(m);
	block_close(m->block);
	scsi_disk_destroy(m->disk);
	m->block = NULL;
	m->disk = NULL;
}

static inline void machine_create(struct machine *m, struct machine_config how)
{
	memset(m, 0, sizeof(*m));
	loop_work_init(&m->done, on_done);
	snprintf(m->path, sizeof(m->path), "storvsp-test-XXXXXX");
	m->file = mkstemp(m->path);
	assert_true(m->file >= 0);
	assert_int_equal(ftruncate(m->file, DISK_BYTES), 0);
	m->guest = fake_guest_create(RAM_BYTES, 2);
	struct storvsp_config config = {
		.name = "scsi0",
		.ide = how.ide,
		.control = fake_guest_loop(m->guest),
		.loops = m->loops,
		.loop_count = how.queues ? how.queues : 1,
	};

	for (unsigned int i = 0; i < config.loop_count; i++) {
		m->loops[i] = fake_guest_loop(m->guest);
	}
	assert_int_equal(storvsp_create(&config, &m->storvsp), 0);
	if (!how.without_disk) {
		machine_add_disk(m, &how);
	}
	fake_guest_offer(m->guest, storvsp_device(m->storvsp));
	fake_guest_connect(m->guest, VMBUS_VERSION_5_3);
	m->next_id = 100;
}

static inline void machine_destroy(struct machine *m)
{
	if (m->channel) {
		fake_channel_close(m->channel);
	}
	bus_revoke(fake_guest_bus(m->guest), storvsp_device(m->storvsp), &m->done);
	machine_wait_done(m);
	if (m->block) {
		machine_remove_disk(m);
	}
	storvsp_destroy(m->storvsp);
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

static inline void parse_answer(const struct fake_packet *from, struct packet *ret)
{
	assert_int_equal(from->payload_bytes, VSTOR_PACKET_BYTES);
	memcpy(ret, from->payload, VSTOR_PACKET_BYTES);
	assert_int_equal(ret->header.operation, VSTOR_COMPLETE_IO);
}

/* Sends a control packet and waits for its answer; the NT status. */
static inline uint32_t ask(struct machine *m, struct packet *packet)
{
	static struct fake_packet answer;
	uint64_t id = m->next_id++;

	packet->header.flags = VSTOR_FLAG_COMPLETION;
	fake_channel_send_inband(m->channel, id, packet, VSTOR_PACKET_BYTES);
	fake_channel_expect_completion(m->channel, id, &answer);
	parse_answer(&answer, packet);
	return packet->header.status;
}

static inline uint32_t ask_plain(struct machine *m, uint32_t operation)
{
	struct packet packet = { .header = { .operation = operation } };

	return ask(m, &packet);
}

static inline uint32_t ask_version(struct machine *m, uint16_t version)
{
	struct packet packet = {
		.header = { .operation = VSTOR_QUERY_PROTOCOL_VERSION },
		.version = { .version = version },
	};
	uint32_t status = ask(m, &packet);

	assert_int_equal(packet.version.version, version);
	return status;
}

static inline void negotiate(struct machine *m, uint16_t version)
{
	struct packet packet = { .header = { .operation = VSTOR_QUERY_PROPERTIES } };

	assert_int_equal(ask_plain(m, VSTOR_BEGIN_INITIALIZATION), VSTOR_STATUS_SUCCESS);
	assert_int_equal(ask_version(m, version), VSTOR_STATUS_SUCCESS);
	assert_int_equal(ask(m, &packet), VSTOR_STATUS_SUCCESS);
	assert_int_equal(packet.properties.sub_channels_max, storvsp_queues(m->storvsp) - 1);
	assert_int_equal(packet.properties.flags, storvsp_queues(m->storvsp) > 1);
	assert_int_equal(packet.properties.transfer_bytes_max % 4096, 0);
	assert_true(packet.properties.transfer_bytes_max >= 1U << 20);
	assert_int_equal(ask_plain(m, VSTOR_END_INITIALIZATION), VSTOR_STATUS_SUCCESS);
}

static inline void machine_open(struct machine *m, uint32_t ring_bytes)
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

static inline void buffer_create(struct machine *m, struct buffer *b, uint32_t offset,
				 uint32_t length)
{
	b->pages = (offset + length + 4095) / 4096;
	b->offset = offset;
	b->length = length;
	assert_true(b->pages <= ARRAY_SIZE(b->gfns));
	fake_guest_alloc_scattered(m->guest, b->pages, b->gfns);
}

static inline uint8_t *buffer_at(struct machine *m, const struct buffer *b, uint32_t i)
{
	uint32_t at = b->offset + i;

	return fake_guest_hva(m->guest, (b->gfns[at / 4096] << 12) + at % 4096, 1);
}

static inline uint8_t pattern(uint32_t seed, uint32_t i)
{
	return (uint8_t)(seed * 31 + i * 7 + i / 251);
}

static inline void buffer_fill(struct machine *m, const struct buffer *b, uint32_t seed)
{
	for (uint32_t i = 0; i < b->length; i++) {
		*buffer_at(m, b, i) = pattern(seed, i);
	}
}

static inline void buffer_expect(struct machine *m, const struct buffer *b, uint32_t seed)
{
	for (uint32_t i = 0; i < b->length; i++) {
		if (*buffer_at(m, b, i) != pattern(seed, i)) {
			fail_msg("byte %u is %02x, not %02x", i, *buffer_at(m, b, i),
				 pattern(seed, i));
		}
	}
}

static inline void srb_init(struct packet *p, const uint8_t *cdb, uint8_t cdb_bytes,
			    uint32_t data_bytes)
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
static inline uint64_t send_srb(struct machine *m, const struct packet *p, const struct buffer *b)
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

static inline void expect_srb(struct machine *m, uint64_t id, struct packet *ret)
{
	static struct fake_packet answer;

	fake_channel_expect_completion(m->channel, id, &answer);
	parse_answer(&answer, ret);
}

static inline void run_srb(struct machine *m, struct packet *p, const struct buffer *b)
{
	expect_srb(m, send_srb(m, p, b), p);
}

static inline void rw_cdb(uint8_t *cdb, uint8_t op, uint32_t lba, uint32_t blocks, bool fua)
{
	memset(cdb, 0, 10);
	cdb[0] = op;
	cdb[1] = fua ? SCSI_CDB_FUA : 0;
	bytes_put_be32(&cdb[2], lba);
	bytes_put_be16(&cdb[7], (uint16_t)blocks);
}

static inline void rw_init(struct packet *p, uint8_t op, uint32_t lba, uint32_t bytes, bool fua)
{
	uint8_t cdb[10];

	rw_cdb(cdb, op, lba, bytes / 512, fua);
	srb_init(p, cdb, 10, bytes);
}

static inline void rw(struct machine *m, struct packet *p, uint8_t op, uint32_t lba,
		      const struct buffer *b, bool fua)
{
	rw_init(p, op, lba, b->length, fua);
	run_srb(m, p, b);
}

static inline void expect_good(const struct packet *p, uint32_t data_bytes)
{
	assert_int_equal(p->header.status, VSTOR_STATUS_SUCCESS);
	assert_int_equal(p->srb.srb_status, VSTOR_SRB_SUCCESS);
	assert_int_equal(p->srb.scsi_status, SCSI_STATUS_GOOD);
	assert_int_equal(p->srb.data_bytes, data_bytes);
}

static inline void expect_sense(const struct packet *p, uint8_t key, uint16_t asc)
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

static inline void file_expect(const struct machine *m, uint64_t at, uint32_t seed, uint32_t length)
{
	uint8_t *bytes = malloc(length);

	assert_non_null(bytes);
	assert_int_equal(pread(m->file, bytes, length, (off_t)at), length);
	for (uint32_t i = 0; i < length; i++) {
		assert_int_equal(bytes[i], pattern(seed, i));
	}
	free(bytes);
}

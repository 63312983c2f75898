/* SPDX-License-Identifier: MIT */
/*
 * A StorVSP with two queues by actions: a fake guest that negotiates or does not, sends commands,
 * nonsense and pages that it has not, opens and closes sub-channels, resets, closes in the middle, is
 * saved and loaded, does not read its answers, while its disk comes and goes. Input: an action byte and
 * its arguments, again and again. Never more answers than packets that asked for one, and after a close
 * nothing is in flight.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/num.h"
#include "block/layers.h"
#include "guest/fake_internal.h"
#include "proto/scsi.h"
#include "proto/vstor.h"
#include "vsp/storage/storvsp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ACTIONS_MAX  200
#define BUFFER_PAGES 64
#define REOPENS_MAX  8   /* in one input */
#define OPENINGS_MAX 500 /* of a machine: each takes guest memory that is never given back */

static const struct guid scsi_type = GUID(0xba6163d9, 0x04a1, 0x4d29, 0xb605, 0x72e2ffb1dc7f);

static struct {
	struct fake_guest *guest;
	struct storvsp *storvsp;
	struct loop *loops[2];
	struct scsi_disk *disk;
	bool is_on_bus;
	struct block *block;
	struct block_fail *fail;
	struct block_delay *delay;
	struct fake_channel *channels[2]; /* the primary and, when it is open, the sub-channel */
	struct fake_channel *channel;     /* of these, the one that is spoken on */
	gpa_t buffer;
	struct loop_work done;
	bool is_done;
	unsigned int openings, reopens;
	uint64_t asked[2], answered[2];
	uint64_t next_id;
} m;

static void on_done(struct loop_work *work)
{
	m.is_done = true;
}

static void wait_done(void)
{
	while (!m.is_done) {
		loop_turn(fake_guest_loop(m.guest));
	}
	m.is_done = false;
}

static void machine_create(void)
{
	struct block_config config = { .kind = BLOCK_NULL, .null_bytes = 1 << 20 };
	struct diag diag;

	loop_work_init(&m.done, on_done);
	m.guest = fake_guest_create(64 << 20, 1);
	m.loops[0] = m.loops[1] = fake_guest_loop(m.guest);
	struct storvsp_config storvsp = {
		.name = "fuzz", .control = m.loops[0], .loops = m.loops, .loop_count = 2
	};

	check(storvsp_create(&storvsp, &m.storvsp) == 0);
	check(block_open(&config, &m.block, &diag) == 0);
	check(block_fail_create(m.block, &m.fail) == 0);
	check(block_delay_create(block_fail_block(m.fail), 0, &m.delay) == 0);
	m.block = block_delay_block(m.delay);
	check(block_start(m.block, fake_guest_loop(m.guest)) == 0);
	struct scsi_disk_config scsi = {
		.type = SCSI_DISK,
		.info = block_info(m.block),
		.transfer_bytes_max = STORVSP_TRANSFER_BYTES_MAX,
		.write_cache = true,
	};

	check(scsi_disk_create(&scsi, &m.disk, &diag) == 0);
	scsi_disk_attach(m.disk, 0, m.block);
	scsi_disk_attach(m.disk, 1, m.block);
	check(storvsp_add(m.storvsp, (struct storvsp_address){ 0, 0, 0 }, m.disk, &diag) == 0);
	m.is_on_bus = true;
	fake_guest_offer(m.guest, storvsp_device(m.storvsp));
	fake_guest_connect(m.guest, VMBUS_VERSION_5_3);
	m.buffer = fake_guest_alloc(m.guest, BUFFER_PAGES * 4096);
}

static void machine_destroy(void)
{
	bus_revoke(fake_guest_bus(m.guest), storvsp_device(m.storvsp), &m.done);
	wait_done();
	storvsp_destroy(m.storvsp);
	scsi_disk_detach(m.disk, 0);
	scsi_disk_detach(m.disk, 1);
	block_stop(m.block, &m.done);
	wait_done();
	block_close(m.block);
	scsi_disk_destroy(m.disk);
	fake_guest_destroy(m.guest);
	memset(&m, 0, sizeof(m));
}

static void open_channel(void)
{
	m.channels[0] = m.channel = fake_channel_open(m.guest, &scsi_type, 0, 16384);
	memset(m.asked, 0, sizeof(m.asked));
	memset(m.answered, 0, sizeof(m.answered));
	m.openings++;
}

/* The index that the channel we speak on has in our tables. */
static unsigned int current(void)
{
	return m.channel == m.channels[1];
}

static void release(void)
{
	fake_guest_settle(m.guest);
	block_delay_set(m.delay, 0);
	block_delay_release(m.delay);
	fake_guest_settle(m.guest);
}

static void open_sub(void)
{
	if (!m.channels[1] && m.openings < OPENINGS_MAX &&
	    fake_guest_find_offer(m.guest, &scsi_type, 1)) {
		m.channels[1] = fake_channel_open(m.guest, &scsi_type, 1, 16384);
		m.asked[1] = m.answered[1] = 0;
		m.openings++;
	}
}

static void close_sub(void)
{
	if (m.channels[1]) {
		fake_channel_close_nowait(m.channels[1]);
		release();
		fake_channel_close(m.channels[1]);
		m.channels[1] = NULL;
		m.channel = m.channels[0];
	}
}

/* With an open sub-channel or without, which the host then takes back. */
static void close_channel(void)
{
	const struct vmbus_msg_offer_channel *sub = fake_guest_find_offer(m.guest, &scsi_type, 1);
	struct vmbus_msg_rescind_offer released = { .header.type = VMBUS_MSG_RELID_RELEASED,
						    .relid = sub ? sub->relid : 0 };

	fake_channel_close_nowait(m.channels[0]);
	release();
	check(block_read_stats(m.block)->in_flight == 0);
	if (m.channels[1]) {
		fake_guest_gpadl_teardown(m.guest, released.relid, m.channels[1]->gpadl);
		free(m.channels[1]);
		m.channels[1] = NULL;
	}
	if (sub) {
		fake_guest_post(m.guest, m.guest->connection_id, &released, sizeof(released));
	}
	fake_channel_close(m.channels[0]);
	m.channels[0] = m.channel = NULL;
}

static void plug(void)
{
	const struct storvsp_address at = { 0, 0, 0 };
	struct diag diag;

	if (m.is_on_bus) {
		storvsp_remove(m.storvsp, at);
	} else {
		check(storvsp_add(m.storvsp, at, m.disk, &diag) == 0);
	}
	m.is_on_bus = !m.is_on_bus;
}

static void drain_answers(void)
{
	static struct fake_packet packet;
	unsigned int i = current();

	while (fake_channel_poll(m.channel, &packet)) {
		if (packet.type == VMBUS_PACKET_INBAND) { /* of a unit that came or went */
			check(i == 0 && packet.transaction_id == 0);
			continue;
		}
		check(packet.type == VMBUS_PACKET_COMPLETION);
		check(packet.payload_bytes == VSTOR_PACKET_BYTES ||
		      packet.payload_bytes == VSTOR_PACKET_BYTES_OLD);
		m.answered[i]++;
		check(m.answered[i] <= m.asked[i]);
	}
}

static void send_packet(const void *payload, size_t bytes, const void *descriptor,
			size_t descriptor_bytes, bool wants_completion)
{
	struct iovec iov = { (void *)(uintptr_t)payload, bytes };
	struct vmbus_send send = {
		.type = descriptor ? VMBUS_PACKET_GPA_DIRECT : VMBUS_PACKET_INBAND,
		.wants_completion = wants_completion,
		.transaction_id = ++m.next_id,
		.descriptor = descriptor,
		.descriptor_bytes = (uint32_t)descriptor_bytes,
		.payload = &iov,
		.payload_count = 1,
	};

	if (fake_channel_try_send(m.channel, &send) && wants_completion) {
		m.asked[current()]++;
	}
}

static void send_operation(uint32_t operation, uint16_t argument)
{
	uint8_t packet[VSTOR_PACKET_BYTES] = { 0 };

	bytes_put_le32(packet, operation);
	bytes_put_le16(packet + 12, argument);
	send_packet(packet, sizeof(packet), NULL, 0, true);
}

static void negotiate(void)
{
	send_operation(VSTOR_BEGIN_INITIALIZATION, 0);
	send_operation(VSTOR_QUERY_PROTOCOL_VERSION, VSTOR_VERSION_WIN10);
	send_operation(VSTOR_QUERY_PROPERTIES, 0);
	send_operation(VSTOR_END_INITIALIZATION, 0);
	fake_guest_settle(m.guest);
}

/* A well-formed SRB with the input's CDB, over some of our pages. */
static void send_command(struct bytes_cursor *c)
{
	uint64_t descriptor[2 + BUFFER_PAGES];
	uint8_t packet[VSTOR_PACKET_BYTES] = { 0 };
	uint8_t lun = bytes_take_u8(c) & 1, length = bytes_take_u8(c);
	uint32_t offset = (uint32_t)bytes_take_u8(c) * 16, pages;
	uint32_t bytes = (uint32_t)bytes_take_le16(c) * 4;

	bytes = (uint32_t)num_min(bytes, BUFFER_PAGES * 4096 - offset);
	bytes_put_le32(packet, VSTOR_EXECUTE_SRB);
	packet[12 + 7] = lun;
	packet[12 + 8] = (uint8_t)(1 + length % 16);
	bytes_put_le32(packet + 12 + 12, bytes);
	bytes_take_copy(c, packet + 12 + 16, packet[12 + 8]);
	if (bytes == 0) {
		send_packet(packet, sizeof(packet), NULL, 0, !(length & 0x80));
		return;
	}
	pages = (offset + bytes + 4095) / 4096;
	descriptor[0] = 1ULL << 32;
	descriptor[1] = bytes | (uint64_t)offset << 32;
	for (uint32_t i = 0; i < pages; i++) {
		descriptor[2 + i] = (m.buffer >> 12) + (length & 0x40 ? pages - 1 - i : i);
	}
	send_packet(packet, sizeof(packet), descriptor, 8 * (2 + pages), !(length & 0x80));
}

/* A read or write that is likely to succeed. */
static void send_transfer(struct bytes_cursor *c)
{
	uint64_t descriptor[2 + BUFFER_PAGES];
	uint8_t packet[VSTOR_PACKET_BYTES] = { 0 };
	uint8_t how = bytes_take_u8(c), blocks = bytes_take_u8(c);
	uint32_t pages = (blocks * 512U + 4095) / 4096;

	bytes_put_le32(packet, VSTOR_EXECUTE_SRB);
	packet[12 + 8] = 10;
	bytes_put_le32(packet + 12 + 12, blocks * 512U);
	packet[12 + 16] = how & 1 ? SCSI_OP_READ_10 : SCSI_OP_WRITE_10;
	packet[12 + 17] = how & 2 ? SCSI_CDB_FUA : 0;
	packet[12 + 16 + 4] = how & 4 ? 7 : 0;
	packet[12 + 16 + 5] = how;
	packet[12 + 16 + 8] = blocks;
	if (blocks == 0) {
		send_packet(packet, sizeof(packet), NULL, 0, true);
		return;
	}
	descriptor[0] = 1ULL << 32;
	descriptor[1] = blocks * 512U;
	for (uint32_t i = 0; i < pages; i++) {
		descriptor[2 + i] = (m.buffer >> 12) + (i * 7) % BUFFER_PAGES;
	}
	send_packet(packet, sizeof(packet), descriptor, 8 * (2 + pages), true);
}

static void send_raw(struct bytes_cursor *c)
{
	uint8_t payload[256], descriptor[128];
	uint8_t how = bytes_take_u8(c);
	size_t bytes = bytes_take_u8(c), descriptor_bytes = (how & 0x0f) * 8U;

	bytes_take_copy(c, payload, num_min(bytes, c->left));
	bytes = num_min(bytes, 248) & ~7U;
	bytes_take_copy(c, descriptor, num_min(descriptor_bytes, c->left));
	send_packet(payload, bytes, descriptor_bytes ? descriptor : NULL, descriptor_bytes,
		    how & 0x80);
}

/* What comes out of save goes back in and comes out again. */
static void save_and_load(void)
{
	struct vmbus_device *device = storvsp_device(m.storvsp);
	struct save first, second;
	const uint8_t *a, *b;
	size_t a_bytes, b_bytes;
	struct load load;

	check(bus_pause(fake_guest_bus(m.guest)) == 0);
	block_delay_set(m.delay, 0);
	block_delay_release(m.delay);
	storvsp_stop(m.storvsp, &m.done);
	wait_done();
	save_init(&first);
	save_init(&second);
	device->ops->save(device, &first);
	check(save_finish(&first, &a, &a_bytes) == 0);
	load_init(&load, a, a_bytes);
	check(device->ops->load(device, &load) == 0);
	device->ops->save(device, &second);
	check(save_finish(&second, &b, &b_bytes) == 0);
	check(a_bytes == b_bytes && memcmp(a, b, a_bytes) == 0);
	save_fini(&first);
	save_fini(&second);
	bus_resume(fake_guest_bus(m.guest));
}

static void act(struct bytes_cursor *c)
{
	uint8_t arg;

	switch (bytes_take_u8(c) % 18) {
	case 0:
		negotiate();
		break;
	case 1:
	case 2:
		send_command(c);
		break;
	case 3:
	case 4:
		send_transfer(c);
		break;
	case 5:
		send_raw(c);
		break;
	case 6:
		loop_turn(fake_guest_loop(m.guest));
		break;
	case 7:
		drain_answers();
		break;
	case 8:
		if (m.reopens++ < REOPENS_MAX) {
			close_channel();
			open_channel();
		}
		break;
	case 9:
		arg = bytes_take_u8(c);
		block_delay_set(m.delay, arg & 1 ? BLOCK_DELAY_HOLD : 0);
		if (arg & 2) {
			block_delay_release(m.delay);
		}
		break;
	case 10:
		arg = bytes_take_u8(c);
		block_fail_nth(m.fail, (enum block_op)(arg % (BLOCK_WRITE_ZEROES + 1)), arg >> 4,
			       -(1 + bytes_take_u8(c) % 120));
		break;
	case 11:
		save_and_load();
		break;
	case 12:
		arg = bytes_take_u8(c);
		send_operation(arg & 0x0f, bytes_take_le16(c));
		break;
	case 13:
		send_operation(VSTOR_CREATE_SUB_CHANNELS, bytes_take_u8(c) % 3);
		fake_guest_settle(m.guest);
		break;
	case 14:
		open_sub();
		break;
	case 15:
		close_sub();
		break;
	case 16:
		m.channel = m.channels[1] && bytes_take_u8(c) % 2 ? m.channels[1] : m.channels[0];
		break;
	case 17:
		plug();
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_cursor c = bytes_cursor(data, size);

	log_set_level(LOG_ERROR);
	if (!m.guest) {
		machine_create();
	}
	m.reopens = 0;
	open_channel();
	for (int i = 0; i < ACTIONS_MAX && c.left > 0; i++) {
		act(&c);
	}
	close_channel();
	if (!m.is_on_bus) {
		plug();
	}
	if (m.openings >= OPENINGS_MAX) {
		machine_destroy();
	}
	return 0;
}

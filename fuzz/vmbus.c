/* SPDX-License-Identifier: MIT */
/*
 * The bus by actions: control messages true and false, rings that change under the host's hands,
 * opens, closes, GPADLs, unloads, resets, save and load; over the echo VSP.
 *
 * Input: a sequence of actions, one byte each, with their arguments behind.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/num.h"
#include "guest/fake_internal.h"
#include "proto/echo.h"
#include "vsp/echo/echo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAGES    24
#define BASE_GFN 512ULL

struct world {
	struct fake_guest *guest;
	struct echo *echo[2];
	struct bytes_cursor in;
	bool work_ran;
	struct loop_work work;
};

static void on_work(struct loop_work *work)
{
	container_of(work, struct world, work)->work_ran = true;
}

static void turn(struct world *w)
{
	struct synic_message message;

	for (int i = 0; i < 4; i++) {
		loop_turn(w->guest->loop);
		while (fake_synic_take(w->guest->synic, 0, &message)) {}
	}
}

static void wait_work(struct world *w)
{
	for (int i = 0; i < 10000 && !w->work_ran; i++) {
		turn(w);
	}
	check(w->work_ran);
	w->work_ran = false;
}

static void post(struct world *w, const void *message, uint32_t bytes)
{
	struct synic *synic = fake_synic_base(w->guest->synic);
	uint8_t connection_id = bytes_take_u8(&w->in);

	(void)synic->sink->on_post_message(synic->sink_ctx, connection_id & 4 ? 4 : 1,
					   VMBUS_MESSAGE_TYPE, message, bytes);
}

/* Whatever the input says. */
static void act_raw_message(struct world *w)
{
	uint8_t message[VMBUS_MESSAGE_BYTES_MAX];
	uint32_t bytes = bytes_take_u8(&w->in) % (sizeof(message) + 1);

	bytes_take_copy(&w->in, message, bytes);
	post(w, message, bytes);
}

/* Well-formed messages with small, colliding numbers, so that they reach deep. */
static void act_contact(struct world *w)
{
	static const uint32_t versions[] = { VMBUS_VERSION_2_4, VMBUS_VERSION_4_1,
					     VMBUS_VERSION_5_0, VMBUS_VERSION_5_3,
					     VMBUS_VERSION(6, 0) };
	struct vmbus_msg_initiate_contact message = {
		.header.type = VMBUS_MSG_INITIATE_CONTACT,
		.version = versions[bytes_take_u8(&w->in) % ARRAY_SIZE(versions)],
		.target_vp = bytes_take_u8(&w->in) % 3,
		.interrupt_page_or_sint = VMBUS_SINT,
	};

	post(w, &message, sizeof(message));
}

static void act_simple(struct world *w)
{
	static const uint32_t types[] = { VMBUS_MSG_REQUEST_OFFERS, VMBUS_MSG_UNLOAD,
					  VMBUS_MSG_CLOSE_CHANNEL, VMBUS_MSG_RELID_RELEASED };
	uint32_t message[3] = { types[bytes_take_u8(&w->in) % ARRAY_SIZE(types)], 0,
				bytes_take_u8(&w->in) % 6U };

	post(w, message, sizeof(message));
}

static void act_gpadl(struct world *w)
{
	uint8_t raw[VMBUS_MESSAGE_BYTES_MAX] = { 0 };
	uint8_t pages = bytes_take_u8(&w->in) % PAGES;
	struct vmbus_msg_gpadl_header header = { .header.type = VMBUS_MSG_GPADL_HEADER,
						 .relid = bytes_take_u8(&w->in) % 6U,
						 .gpadl = bytes_take_u8(&w->in) % 4U,
						 .range_count = 1 };
	struct vmbus_gpa_range range = { .length_bytes = pages * 4096U };
	uint64_t gfns[PAGES];

	for (uint64_t i = 0; i < PAGES; i++) {
		gfns[i] = BASE_GFN + i;
	}
	memcpy(raw, &header, sizeof(header));
	memcpy(raw + sizeof(header), &range, sizeof(range));
	memcpy(raw + sizeof(header) + sizeof(range), gfns, pages * 8U);
	post(w, raw, (uint32_t)(sizeof(header) + sizeof(range)) + pages * 8U);
}

static void act_gpadl_teardown(struct world *w)
{
	struct vmbus_msg_gpadl_teardown message = { .header.type = VMBUS_MSG_GPADL_TEARDOWN,
						    .relid = 1,
						    .gpadl = bytes_take_u8(&w->in) % 4U };

	post(w, &message, sizeof(message));
}

static void act_open(struct world *w)
{
	struct vmbus_msg_open_channel message = {
		.header.type = VMBUS_MSG_OPEN_CHANNEL,
		.relid = bytes_take_u8(&w->in) % 6U,
		.open_id = 9,
		.ring_gpadl = bytes_take_u8(&w->in) % 4U,
		.target_vp = bytes_take_u8(&w->in) % 3U,
		.downstream_page_offset = bytes_take_u8(&w->in) % PAGES,
	};

	post(w, &message, sizeof(message));
}

static void act_modify(struct world *w)
{
	struct vmbus_msg_modify_channel message = { .header.type = VMBUS_MSG_MODIFY_CHANNEL,
						    .relid = bytes_take_u8(&w->in) % 6U,
						    .target_vp = bytes_take_u8(&w->in) % 3U };

	post(w, &message, sizeof(message));
}

/* Bytes anywhere into the pages that rings are made of: control pages and data alike. */
static void act_scribble(struct world *w)
{
	uint8_t page = bytes_take_u8(&w->in) % PAGES, bytes = bytes_take_u8(&w->in);
	uint16_t offset = bytes_take_le16(&w->in) % (4096 - 255);

	bytes_take_copy(&w->in, fake_guest_hva(w->guest, (BASE_GFN + page) << 12, 4096) + offset,
			w->in.left < bytes ? w->in.left : bytes);
}

/* A packet where a ring begins, and a doorbell. */
static void act_packet(struct world *w)
{
	struct vmbus_ring_control *control = fake_guest_hva(w->guest, BASE_GFN << 12, PAGES * 4096);
	uint8_t *ring = (uint8_t *)control + 4096;
	uint32_t at = control->write_index % 4096 & ~7U, bytes = bytes_take_u8(&w->in);
	struct vmbus_packet_header header = { VMBUS_PACKET_INBAND, 2,
					      (uint16_t)(2 + (bytes + 7) / 8), 1, 3 };

	memcpy(ring + at, &header, sizeof(header));
	bytes_take_copy(&w->in, ring + at + 16, w->in.left < bytes ? w->in.left : bytes);
	control->write_index = (at + 24 + ((bytes + 7) & ~7U)) % 8192;
	fake_synic_signal(w->guest->synic, 0x1000 + 1 + bytes % 4);
}

static void act_reset(struct world *w)
{
	bus_reset(w->guest->bus, &w->work);
	wait_work(w);
}

static void act_reoffer(struct world *w)
{
	struct vmbus_device *device = echo_device(w->echo[bytes_take_u8(&w->in) % 2]);

	bus_revoke(w->guest->bus, device, &w->work);
	wait_work(w);
	device->loop = w->guest->loop;
	check(bus_offer(w->guest->bus, device) == 0);
}

static void act_save(struct world *w)
{
	struct save save;
	const uint8_t *bytes;
	size_t length;

	check(bus_pause(w->guest->bus) == 0);
	save_init(&save);
	bus_save(w->guest->bus, &save);
	check(save_finish(&save, &bytes, &length) == 0);
	save_fini(&save);
	bus_resume(w->guest->bus);
}

/* A state made of the input. */
static void act_load(struct world *w)
{
	uint8_t copy[512];
	size_t bytes = num_min(w->in.left, bytes_take_u8(&w->in) * 2U);
	struct load load;

	act_reset(w);
	bytes = num_min(bytes, w->in.left);
	bytes_take_copy(&w->in, copy, bytes);
	load_init(&load, copy, bytes);
	check(bus_pause(w->guest->bus) == 0);
	int err = bus_load(w->guest->bus, &load);

	bus_resume(w->guest->bus);
	check(err <= 0);
	act_reset(w);
}

static void (*const actions[])(struct world *w) = {
	act_raw_message, act_contact, act_simple,   act_gpadl,  act_gpadl_teardown,
	act_open,        act_modify,  act_scribble, act_packet, act_reset,
	act_reoffer,     act_save,    act_load,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = { .in = bytes_cursor(data, size) };

	log_set_level(LOG_ERROR);
	w.guest = fake_guest_create(64 << 20, 2);
	loop_work_init(&w.work, on_work);
	for (int i = 0; i < 2; i++) {
		check(echo_create(i ? "b" : "a", &w.echo[i]) == 0);
		fake_guest_offer(w.guest, echo_device(w.echo[i]));
	}
	for (int i = 0; i < 200 && w.in.left > 0; i++) {
		uint8_t action = bytes_take_u8(&w.in);

		actions[action % ARRAY_SIZE(actions)](&w);
		if (action & 0x80) {
			turn(&w);
		}
	}
	turn(&w);
	for (int i = 0; i < 2; i++) {
		bus_revoke(w.guest->bus, echo_device(w.echo[i]), &w.work);
		wait_work(&w);
		echo_destroy(w.echo[i]);
	}
	fake_guest_destroy(w.guest);
	return 0;
}

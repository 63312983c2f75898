/* SPDX-License-Identifier: MIT */
/*
 * A VSP over the fake guest: the input is a list of actions of a hostile driver. Copied with the
 * example; the actions are the same for most VSPs.
 */
#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/num.h"
#include "guest/fake_guest.h"
#include "proto/echo.h"
#include "vsp/echo/echo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RING_BYTES       (2 * 4096)
/* Guest RAM is never given back, so a guest serves so many inputs. */
#define INPUTS_PER_GUEST 500

enum action { SEND, SEND_QUIETLY, READ, TURN, SAVE_AND_LOAD, LOAD, POKE_RING, ACTIONS };

static const struct guid echo_type = ECHO_INTERFACE;
static struct fake_guest *guest;
static struct echo *echo;

static void on_revoked(struct loop_work *work)
{
	(void)work;
}

static void make_guest(void)
{
	static unsigned int inputs;
	struct loop_work work;

	if (guest && ++inputs % INPUTS_PER_GUEST != 0) {
		return;
	}
	if (guest) {
		loop_work_init(&work, on_revoked);
		bus_revoke(fake_guest_bus(guest), echo_device(echo), &work);
		fake_guest_settle(guest);
		echo_destroy(echo);
		fake_guest_destroy(guest);
	}
	log_set_level(LOG_ERROR);
	guest = fake_guest_create(64 << 20, 1);
	check(echo_create("fuzz", &echo) == 0);
	fake_guest_offer(guest, echo_device(echo));
	fake_guest_connect(guest, VMBUS_VERSION_5_3);
}

static void send(struct fake_channel *channel, struct bytes_cursor *input, bool wants_completion)
{
	uint16_t bytes = bytes_take_le16(input) % 2048;
	uint8_t type = bytes_take_u8(input);
	const uint8_t *payload;

	bytes = (uint16_t)num_min(bytes, input->left);
	payload = bytes_take(input, bytes);

	struct iovec iov = { (void *)(uintptr_t)payload, bytes };
	struct vmbus_send send = {
		.type = type & 0x80 ? type & 0xf : VMBUS_PACKET_INBAND,
		.wants_completion = wants_completion,
		.transaction_id = type,
		.payload = &iov,
		.payload_count = bytes > 0,
	};

	(void)!fake_channel_try_send(channel, &send);
}

static void load(const uint8_t *bytes, size_t length)
{
	struct vmbus_device *device = echo_device(echo);
	struct load load;

	load_init(&load, bytes, length);
	(void)!device->ops->load(device, &load);
}

static void save_and_load(void)
{
	struct vmbus_device *device = echo_device(echo);
	const uint8_t *bytes;
	struct save save;
	size_t length;

	save_init(&save);
	device->ops->save(device, &save);
	check(save_finish(&save, &bytes, &length) == 0);
	load(bytes, length);
	save_fini(&save);
}

/* The guest's index of its own ring goes astray, and comes back. */
static void poke_ring(struct fake_channel *channel, uint32_t index)
{
	struct vmbus_ring_control *control = fake_channel_ring(channel, 0);
	uint32_t honest = control->write_index;

	control->write_index = index;
	fake_channel_doorbell(channel);
	loop_turn(fake_guest_loop(guest));
	control->write_index = honest;
}

static void act(struct fake_channel *channel, struct bytes_cursor *input)
{
	enum action action = bytes_take_u8(input) % ACTIONS;
	static struct fake_packet packet;
	uint8_t bytes;

	switch (action) {
	case SEND:
	case SEND_QUIETLY:
		send(channel, input, action == SEND);
		break;
	case READ:
		while (fake_channel_poll(channel, &packet)) {}
		break;
	case TURN:
		loop_turn(fake_guest_loop(guest));
		break;
	case SAVE_AND_LOAD:
		save_and_load();
		break;
	case LOAD:
		bytes = (uint8_t)num_min(bytes_take_u8(input), input->left);
		load(bytes_take(input, bytes), bytes);
		break;
	case POKE_RING:
		poke_ring(channel, bytes_take_le32(input));
		break;
	case ACTIONS:
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_cursor input = bytes_cursor(data, size);
	struct fake_channel *channel;

	make_guest();
	channel = fake_channel_open(guest, &echo_type, 0, RING_BYTES);
	while (input.left > 0 && !input.failed) {
		act(channel, &input);
	}
	fake_channel_close(channel);
	return 0;
}

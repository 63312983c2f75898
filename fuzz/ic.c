/* SPDX-License-Identifier: MIT */
/*
 * The three integration components over the fake guest: the input is a list of actions of a hostile
 * guest, and of a host that wants things from it meanwhile.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/num.h"
#include "guest/fake_guest.h"
#include "proto/ic.h"
#include "vsp/ic/ic.h"
#include "vsp/ic/ic_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RING_BYTES      (2 * 4096)
/* Guest RAM is never given back, so a guest opens so many channels. */
#define OPENS_PER_GUEST 1000
#define PERIOD_NS       2000000ULL /* so that timers are part of longer inputs */

enum action {
	RAW,
	ANSWER,
	AGREE,
	READ,
	TURN,
	REOPEN,
	SHUTDOWN,
	SYNC,
	SAVE_AND_LOAD,
	LOAD,
	ACTIONS
};

enum { COMPONENTS = 3 };

static const struct guid types[COMPONENTS] = { IC_HEARTBEAT_INTERFACE, IC_SHUTDOWN_INTERFACE,
					       IC_TIMESYNC_INTERFACE };
static struct fake_guest *guest;
static struct heartbeat *heartbeat;
static struct shutdown *shutdown_ic;
static struct timesync *timesync;
static struct vmbus_device *devices[COMPONENTS];
static struct fake_channel *channels[COMPONENTS];
static uint8_t last_transaction[COMPONENTS];
static struct shutdown_request request;
static bool requested;
static unsigned int opens;

static void on_revoked(struct loop_work *work)
{
	(void)work;
}

static void on_done(struct loop_work *work)
{
	(void)work;
	check(requested); /* exactly once */
	requested = false;
}

static uint64_t reference_time(void *ctx)
{
	(void)ctx;
	return loop_now_ns() / 100;
}

static void destroy_guest(void)
{
	struct loop_work work[COMPONENTS];

	for (unsigned int i = 0; i < COMPONENTS; i++) {
		loop_work_init(&work[i], on_revoked);
		bus_revoke(fake_guest_bus(guest), devices[i], &work[i]);
	}
	fake_guest_settle(guest);
	heartbeat_destroy(heartbeat);
	shutdown_destroy(shutdown_ic);
	timesync_destroy(timesync);
	fake_guest_destroy(guest);
}

static void make_guest(void)
{
	struct timesync_config config = { reference_time, NULL, PERIOD_NS };
	if (guest && opens < OPENS_PER_GUEST) {
		return;
	}
	opens = 0;
	if (guest) {
		destroy_guest();
	}
	log_set_level(LOG_ERROR);
	guest = fake_guest_create(64 << 20, 1);
	check(heartbeat_create(PERIOD_NS, &heartbeat) == 0);
	check(shutdown_create(&shutdown_ic) == 0);
	check(timesync_create(&config, &timesync) == 0);
	devices[0] = heartbeat_device(heartbeat);
	devices[1] = shutdown_device(shutdown_ic);
	devices[2] = timesync_device(timesync);
	for (unsigned int i = 0; i < COMPONENTS; i++) {
		fake_guest_offer(guest, devices[i]);
	}
	fake_guest_connect(guest, VMBUS_VERSION_5_3);
}

static void open_channel(unsigned int which)
{
	opens++;
	channels[which] = fake_channel_open(guest, &types[which], 0, RING_BYTES);
}

static void send(unsigned int which, const void *payload, size_t bytes)
{
	struct iovec iov = { (void *)(uintptr_t)payload, bytes };
	struct vmbus_send send = { .type = VMBUS_PACKET_INBAND,
				   .payload = &iov,
				   .payload_count = bytes > 0 };

	(void)!fake_channel_try_send(channels[which], &send);
}

static const uint8_t *take_some(struct bytes_cursor *input, size_t max, uint32_t *ret_bytes)
{
	*ret_bytes = (uint32_t)num_min(num_min(bytes_take_le16(input), input->left), max);
	return bytes_take(input, *ret_bytes);
}

/* A well-framed answer to the last request with a body of the input's. */
static void answer(unsigned int which, struct bytes_cursor *input)
{
	uint8_t buf[IC_MESSAGE_BYTES_MAX];
	struct ic_message message = {
		.framework = IC_FRAMEWORK_3_0,
		.version = IC_VERSION(3, 0),
		.type = bytes_take_u8(input) % 6,
		.transaction_id = last_transaction[which],
		.flags = IC_FLAG_TRANSACTION | IC_FLAG_RESPONSE,
		.status = bytes_take_u8(input) ? IC_STATUS_FAIL : IC_STATUS_OK,
	};

	message.body = take_some(input, 2100, &message.body_bytes);
	send(which, buf, ic_build(&message, buf));
}

/* The answer to NEGOTIATE that makes the component ready. */
static void agree(unsigned int which, struct bytes_cursor *input)
{
	uint8_t buf[IC_MESSAGE_BYTES_MAX], body[16] = { 1, 0, 1, 0, 0, 0, 0, 0, 3 };
	struct ic_message message = {
		.type = IC_MSG_NEGOTIATE,
		.flags = IC_FLAG_TRANSACTION | IC_FLAG_RESPONSE,
		.body = body,
		.body_bytes = sizeof(body),
	};

	body[12] = bytes_take_u8(input) % 5;
	body[14] = bytes_take_u8(input) % 3;
	send(which, buf, ic_build(&message, buf));
}

static void read_all(unsigned int which)
{
	static struct fake_packet packet;
	struct ic_message message;

	while (fake_channel_poll(channels[which], &packet)) {
		check(ic_parse(packet.payload, packet.payload_bytes, &message) == 0);
		last_transaction[which] = message.transaction_id;
	}
}

static void submit(struct bytes_cursor *input)
{
	if (requested) {
		return;
	}
	memset(&request, 0, sizeof(request));
	request.kind = bytes_take_u8(input) & 1 ? SHUTDOWN_RESTART : SHUTDOWN_POWER_OFF;
	request.answer_ns = PERIOD_NS * bytes_take_u8(input);
	request.done_loop = fake_guest_loop(guest);
	loop_work_init(&request.done, on_done);
	requested = true;
	shutdown_submit(shutdown_ic, &request);
}

static void load(struct vmbus_device *device, const uint8_t *bytes, size_t length)
{
	struct load load;

	load_init(&load, bytes, length);
	(void)!device->ops->load(device, &load);
}

static void save_and_load(struct vmbus_device *device)
{
	const uint8_t *bytes;
	struct save save;
	size_t length;

	save_init(&save);
	device->ops->save(device, &save);
	check(save_finish(&save, &bytes, &length) == 0);
	load(device, bytes, length);
	save_fini(&save);
}

static void act(struct bytes_cursor *input)
{
	uint8_t byte = bytes_take_u8(input);
	unsigned int which = byte / ACTIONS % COMPONENTS;
	const uint8_t *bytes;
	uint32_t count;

	switch ((enum action)(byte % ACTIONS)) {
	case RAW:
		bytes = take_some(input, 4096, &count);
		send(which, bytes, count);
		break;
	case ANSWER:
		answer(which, input);
		break;
	case AGREE:
		agree(which, input);
		break;
	case READ:
		read_all(which);
		break;
	case TURN:
		loop_turn(fake_guest_loop(guest));
		break;
	case REOPEN:
		fake_channel_close(channels[which]);
		open_channel(which);
		break;
	case SHUTDOWN:
		submit(input);
		break;
	case SYNC:
		timesync_sync(timesync);
		break;
	case SAVE_AND_LOAD:
		save_and_load(devices[which]);
		break;
	case LOAD:
		bytes = take_some(input, 256, &count);
		load(devices[which], bytes, count);
		break;
	case ACTIONS:
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_cursor input = bytes_cursor(data, size);
	unsigned int actions = 0;

	make_guest();
	for (unsigned int i = 0; i < COMPONENTS; i++) {
		open_channel(i);
	}
	while (input.left > 0 && !input.failed && actions++ < 200) {
		act(&input);
	}
	for (unsigned int i = 0; i < COMPONENTS; i++) {
		fake_channel_close(channels[i]);
	}
	fake_guest_settle(guest);
	check(!requested);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* A guest's integration services speak to ours: negotiation, each service, refusals, silence. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/num.h"
#include "guest/fake_guest.h"
#include "proto/ic.h"
#include "vsp/ic/ic.h"
#include "vsp/ic/ic_parse.h"

#define RING_BYTES (4 * 4096)
#define BEAT_NS    (5ULL * 1000 * 1000)

struct fixture {
	struct fake_guest *guest;
	struct heartbeat *heartbeat;
	struct shutdown *shutdown;
	struct timesync *timesync;
	unsigned int done;
	struct shutdown_request request;
	uint64_t reference;
};

static const struct guid heartbeat_type = IC_HEARTBEAT_INTERFACE;
static const struct guid shutdown_type = IC_SHUTDOWN_INTERFACE;
static const struct guid timesync_type = IC_TIMESYNC_INTERFACE;

static uint64_t reference_time(void *ctx)
{
	return ((struct fixture *)ctx)->reference;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct timesync_config config = { reference_time, f, BEAT_NS };

	f->reference = 12345;
	f->guest = fake_guest_create(64 << 20, 1);
	assert_int_equal(heartbeat_create(BEAT_NS, &f->heartbeat), 0);
	assert_int_equal(shutdown_create(&f->shutdown), 0);
	assert_int_equal(timesync_create(&config, &f->timesync), 0);
	fake_guest_offer(f->guest, heartbeat_device(f->heartbeat));
	fake_guest_offer(f->guest, shutdown_device(f->shutdown));
	fake_guest_offer(f->guest, timesync_device(f->timesync));
	fake_guest_connect(f->guest, VMBUS_VERSION_5_3);
	*state = f;
	return 0;
}

static unsigned int revoked;

static void on_revoked(struct loop_work *work)
{
	(void)work;
	revoked++;
}

static bool is_revoked(void *arg)
{
	(void)arg;
	return revoked == 1;
}

static void revoke(struct fixture *f, struct vmbus_device *device)
{
	struct loop_work work;

	revoked = 0;
	loop_work_init(&work, on_revoked);
	bus_revoke(fake_guest_bus(f->guest), device, &work);
	assert_true(fake_guest_wait(f->guest, is_revoked, NULL));
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	revoke(f, heartbeat_device(f->heartbeat));
	revoke(f, shutdown_device(f->shutdown));
	revoke(f, timesync_device(f->timesync));
	heartbeat_destroy(f->heartbeat);
	shutdown_destroy(f->shutdown);
	timesync_destroy(f->timesync);
	fake_guest_destroy(f->guest);
	free(f);
	return 0;
}

/* ---- the guest's half, as Linux's hv_utils plays it -------------------------------------------- */

/* Receives the host's next message. The body borrows from packet. */
static void hear(struct fake_channel *channel, struct fake_packet *packet,
		 struct ic_message *ret_message)
{
	fake_channel_receive(channel, packet);
	assert_int_equal(packet->type, VMBUS_PACKET_INBAND);
	assert_int_equal(ic_parse(packet->payload, packet->payload_bytes, ret_message), 0);
	assert_int_equal(ret_message->flags, IC_FLAG_TRANSACTION | IC_FLAG_REQUEST);
}

static void send_raw(struct fake_channel *channel, const void *payload, uint32_t bytes)
{
	struct iovec iov = { (void *)(uintptr_t)payload, bytes };
	struct vmbus_send send = { .type = VMBUS_PACKET_INBAND,
				   .payload = &iov,
				   .payload_count = 1 };

	fake_channel_send(channel, &send);
}

/* Sends the message back as an answer with this status and body. */
static void answer(struct fake_channel *channel, const struct ic_message *asked, uint32_t status,
		   const void *body, uint32_t body_bytes)
{
	uint8_t buf[IC_MESSAGE_BYTES_MAX];
	struct ic_message message = *asked;

	message.flags = IC_FLAG_TRANSACTION | IC_FLAG_RESPONSE;
	message.status = status;
	message.body = body;
	message.body_bytes = body_bytes;
	send_raw(channel, buf, (uint32_t)ic_build(&message, buf));
}

/* Answers NEGOTIATE with these versions; they must have been offered. */
static void negotiate(struct fake_channel *channel, uint32_t framework, uint32_t version)
{
	struct fake_packet packet;
	struct ic_message message;
	uint8_t body[16] = { 1, 0, 1, 0 };
	bool offered = false;

	hear(channel, &packet, &message);
	assert_int_equal(message.type, IC_MSG_NEGOTIATE);
	assert_int_equal(bytes_le16(message.body), 2);
	for (uint32_t i = 0; i < bytes_le16(message.body + 2); i++) {
		offered |= bytes_le32(message.body + 8 + 4 * (2 + i)) == version;
	}
	assert_true(offered);
	bytes_put_le32(body + 8, framework);
	bytes_put_le32(body + 12, version);
	answer(channel, &message, IC_STATUS_OK, body, sizeof(body));
}

static struct fake_channel *open_service(struct fixture *f, const struct guid *type)
{
	return fake_channel_open(f->guest, type, 0, RING_BYTES);
}

/* Answers one beat; its sequence. */
static uint64_t beat(struct fake_channel *channel, uint32_t version)
{
	struct fake_packet packet;
	struct ic_message message;
	uint8_t body[40] = { 0 };
	uint64_t sequence;

	hear(channel, &packet, &message);
	assert_int_equal(message.type, IC_MSG_HEARTBEAT);
	assert_int_equal(message.version, version);
	assert_int_equal(message.body_bytes, sizeof(body));
	sequence = bytes_le64(message.body);
	bytes_put_le64(body, sequence + 1);
	bytes_put_le32(body + 8, IC_APPLICATION_HEALTHY);
	answer(channel, &message, IC_STATUS_OK, body, sizeof(body));
	return sequence;
}

static bool is_ok(void *arg)
{
	return heartbeat_health(((struct fixture *)arg)->heartbeat) == HEARTBEAT_OK;
}

static bool is_lost(void *arg)
{
	return heartbeat_health(((struct fixture *)arg)->heartbeat) == HEARTBEAT_LOST;
}

/* ---- framing and negotiation --------------------------------------------------------------------- */

static void offers_are_pipes_in_message_mode(void **state)
{
	struct fixture *f = *state;
	const struct guid *types[] = { &heartbeat_type, &shutdown_type, &timesync_type };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		const struct vmbus_msg_offer_channel *offer =
			fake_guest_find_offer(f->guest, types[i], 0);

		assert_non_null(offer);
		assert_true(offer->flags & VMBUS_OFFER_FLAG_NAMED_PIPE);
		assert_int_equal(bytes_le32(offer->user_defined), VMBUS_PIPE_MODE_MESSAGE);
	}
}

static void each_version_is_accepted(void **state)
{
	struct fixture *f = *state;
	const uint32_t frameworks[] = { IC_FRAMEWORK_1_0, IC_FRAMEWORK_3_0 };
	const uint32_t versions[] = { IC_HEARTBEAT_1_0, IC_HEARTBEAT_3_0 };

	for (size_t i = 0; i < 4; i++) {
		struct fake_channel *channel = open_service(f, &heartbeat_type);

		negotiate(channel, frameworks[i / 2], versions[i % 2]);
		beat(channel, versions[i % 2]);
		assert_true(fake_guest_wait(f->guest, is_ok, f));
		fake_channel_close(channel);
		assert_int_equal(heartbeat_health(f->heartbeat), HEARTBEAT_NO_CONTACT);
	}
}

static void a_guest_with_nothing_in_common_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = open_service(f, &heartbeat_type);
	struct fake_packet packet;
	struct ic_message message;
	static const uint8_t none[16];

	hear(channel, &packet, &message);
	answer(channel, &message, IC_STATUS_OK, none, sizeof(none));
	fake_guest_settle(f->guest);
	assert_false(fake_channel_poll(channel, &packet));
	assert_int_equal(heartbeat_health(f->heartbeat), HEARTBEAT_NO_CONTACT);
	fake_channel_close(channel);

	/* The next driver may know more. */
	channel = open_service(f, &heartbeat_type);
	negotiate(channel, IC_FRAMEWORK_3_0, IC_HEARTBEAT_3_0);
	beat(channel, IC_HEARTBEAT_3_0);
	fake_channel_close(channel);
}

static void a_version_that_was_not_offered_is_not_taken(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = open_service(f, &heartbeat_type);
	struct fake_packet packet;
	struct ic_message message;
	uint8_t body[16] = { 1, 0, 1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 9, 0, 9, 0 };

	hear(channel, &packet, &message);
	answer(channel, &message, IC_STATUS_OK, body, sizeof(body));
	fake_guest_settle(f->guest);
	assert_false(fake_channel_poll(channel, &packet));

	/* A proper answer still helps. */
	bytes_put_le32(body + 12, IC_HEARTBEAT_3_0);
	answer(channel, &message, IC_STATUS_OK, body, sizeof(body));
	beat(channel, IC_HEARTBEAT_3_0);
	fake_channel_close(channel);
}

static void garbage_is_counted_and_survived(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = open_service(f, &heartbeat_type);
	uint8_t garbage[256];
	uint32_t seed = 1;

	for (unsigned int i = 0; i < 300; i++) {
		for (size_t j = 0; j < sizeof(garbage); j++) {
			seed = seed * 1664525 + 1013904223;
			garbage[j] = (uint8_t)(seed >> 24);
		}
		if (i % 3 == 0) { /* lengths that fit, so that it gets further */
			bytes_put_le32(garbage + 4, sizeof(garbage) - 8);
			bytes_put_le16(garbage + 18, (uint16_t)(i % 2 ? 228 : i));
			bytes_put_le16(garbage + 12, (uint16_t)(i % 5));
			garbage[25] = IC_FLAG_TRANSACTION | IC_FLAG_RESPONSE;
		}
		send_raw(channel, garbage, i % 2 ? sizeof(garbage) : i % 64 & ~7U);
		fake_guest_settle(f->guest);
	}
	fake_channel_close(channel);
	channel = open_service(f, &heartbeat_type);
	negotiate(channel, IC_FRAMEWORK_3_0, IC_HEARTBEAT_3_0);
	beat(channel, IC_HEARTBEAT_3_0);
	fake_channel_close(channel);
}

/* ---- heartbeat ------------------------------------------------------------------------------------ */

static void the_sequence_advances_by_what_the_guest_says(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = open_service(f, &heartbeat_type);

	negotiate(channel, IC_FRAMEWORK_3_0, IC_HEARTBEAT_3_0);
	for (uint64_t i = 0; i < 5; i++) {
		assert_int_equal(beat(channel, IC_HEARTBEAT_3_0), i);
	}
	fake_channel_close(channel);
}

static void a_silent_guest_is_lost_and_found_again(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = open_service(f, &heartbeat_type);

	negotiate(channel, IC_FRAMEWORK_3_0, IC_HEARTBEAT_3_0);
	beat(channel, IC_HEARTBEAT_3_0);
	assert_true(fake_guest_wait(f->guest, is_ok, f));
	assert_true(fake_guest_wait(f->guest, is_lost, f));
	/* It wakes up and works off what has piled up: only the newest counts, none hurts. */
	while (!is_ok(f)) {
		beat(channel, IC_HEARTBEAT_3_0);
		fake_guest_settle(f->guest);
	}
	fake_channel_close(channel);
}

static void a_guest_that_never_reads_fills_its_ring_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = fake_channel_open(f->guest, &heartbeat_type, 0, 2 * 4096);

	negotiate(channel, IC_FRAMEWORK_3_0, IC_HEARTBEAT_3_0);
	for (unsigned int i = 0; i < 60; i++) { /* more than 4 KiB of beats */
		struct timespec nap = { .tv_nsec = BEAT_NS };

		nanosleep(&nap, NULL);
		fake_guest_settle(f->guest);
	}
	assert_true(is_lost(f));
	fake_channel_close(channel);
}

static void a_pause_is_neither_disturbed_nor_held_against_the_guest(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = open_service(f, &heartbeat_type);
	struct fake_channel *time = open_service(f, &timesync_type);
	struct timespec nap = { .tv_nsec = 2 * BEAT_NS };
	uint32_t before, before_time;

	negotiate(channel, IC_FRAMEWORK_3_0, IC_HEARTBEAT_3_0);
	negotiate(time, IC_FRAMEWORK_3_0, IC_TIMESYNC_4_0);
	beat(channel, IC_HEARTBEAT_3_0);
	assert_true(fake_guest_wait(f->guest, is_ok, f));
	assert_int_equal(bus_pause(fake_guest_bus(f->guest)), 0);
	fake_guest_settle(f->guest);
	before = fake_channel_ring(channel, 1)->write_index;
	before_time = fake_channel_ring(time, 1)->write_index;
	for (unsigned int i = 0; i < 2 * HEARTBEAT_MISSED_MAX; i++) {
		nanosleep(&nap, NULL);
		timesync_sync(f->timesync);
		fake_guest_settle(f->guest);
	}
	assert_int_equal(fake_channel_ring(channel, 1)->write_index, before);
	assert_int_equal(fake_channel_ring(time, 1)->write_index, before_time);
	assert_true(is_ok(f));
	bus_resume(fake_guest_bus(f->guest));
	beat(channel, IC_HEARTBEAT_3_0);
	beat(channel, IC_HEARTBEAT_3_0);

	/* The first time is the order from before, the next the one after the pause. */
	for (unsigned int i = 0; i < 2; i++) {
		struct fake_packet packet;
		struct ic_message message;

		hear(time, &packet, &message);
		assert_int_equal(message.body[16], IC_TIMESYNC_FLAG_SYNC);
	}
	fake_channel_close(channel);
	fake_channel_close(time);
}

/* ---- shutdown --------------------------------------------------------------------------------------- */

static void on_done(struct loop_work *work)
{
	container_of(container_of(work, struct shutdown_request, done), struct fixture, request)
		->done++;
}

static bool is_done(void *arg)
{
	return ((struct fixture *)arg)->done == 1;
}

static void ask(struct fixture *f, enum shutdown_kind kind, uint64_t answer_ns)
{
	f->done = 0;
	memset(&f->request, 0, sizeof(f->request));
	f->request.kind = kind;
	f->request.answer_ns = answer_ns;
	f->request.done_loop = fake_guest_loop(f->guest);
	f->request.result = 1;
	loop_work_init(&f->request.done, on_done);
	shutdown_submit(f->shutdown, &f->request);
	assert_int_equal(f->done, 0); /* submit never calls back */
}

static int result(struct fixture *f)
{
	assert_true(fake_guest_wait(f->guest, is_done, f));
	return f->request.result;
}

/* The guest's half of one request; its flags. */
static uint32_t obey(struct fake_channel *channel, uint32_t status)
{
	struct fake_packet packet;
	struct ic_message message;

	hear(channel, &packet, &message);
	assert_int_equal(message.type, IC_MSG_SHUTDOWN);
	/* Linux refuses a shorter body. */
	assert_int_equal(message.body_bytes, sizeof(struct ic_shutdown));
	assert_int_equal(bytes_le32(message.body), IC_SHUTDOWN_REASON_PLANNED);
	answer(channel, &message, status, message.body, message.body_bytes);
	return bytes_le32(message.body + 8);
}

static void shutdown_and_restart_are_asked_for(void **state)
{
	struct fixture *f = *state;
	const uint32_t versions[] = { IC_SHUTDOWN_1_0, IC_SHUTDOWN_3_0, IC_SHUTDOWN_3_1,
				      IC_SHUTDOWN_3_2 };

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		struct fake_channel *channel = open_service(f, &shutdown_type);

		negotiate(channel, IC_FRAMEWORK_3_0, versions[i]);
		fake_guest_settle(f->guest);
		ask(f, SHUTDOWN_POWER_OFF, 0);
		assert_int_equal(obey(channel, IC_STATUS_OK), 0);
		assert_int_equal(result(f), 0);
		ask(f, SHUTDOWN_RESTART, 0);
		if (versions[i] == IC_SHUTDOWN_3_1 || versions[i] == IC_SHUTDOWN_3_2) {
			assert_int_equal(obey(channel, IC_STATUS_OK), IC_SHUTDOWN_FLAG_RESTART);
			assert_int_equal(result(f), 0);
		} else {
			assert_int_equal(result(f), -EOPNOTSUPP);
		}
		fake_channel_close(channel);
	}
}

static void shutdown_fails_clearly(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel;

	ask(f, SHUTDOWN_POWER_OFF, 0);
	assert_int_equal(result(f), -ENOTCONN);

	channel = open_service(f, &shutdown_type);
	ask(f, SHUTDOWN_POWER_OFF, 0);
	assert_int_equal(result(f), -ENOTCONN);
	negotiate(channel, IC_FRAMEWORK_3_0, IC_SHUTDOWN_3_2);
	fake_guest_settle(f->guest);

	ask(f, SHUTDOWN_POWER_OFF, 0);
	obey(channel, IC_STATUS_FAIL);
	assert_int_equal(result(f), -EREMOTEIO);
	assert_int_equal(f->request.guest_status, IC_STATUS_FAIL);

	ask(f, SHUTDOWN_POWER_OFF, 0);
	obey(channel, IC_STATUS_NOT_SUPPORTED);
	assert_int_equal(result(f), -EOPNOTSUPP);
	fake_channel_close(channel);
}

static void silence_times_out_and_a_late_answer_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = open_service(f, &shutdown_type);

	negotiate(channel, IC_FRAMEWORK_3_0, IC_SHUTDOWN_3_2);
	fake_guest_settle(f->guest);
	ask(f, SHUTDOWN_POWER_OFF, BEAT_NS);
	assert_int_equal(result(f), -ETIMEDOUT);
	ask(f, SHUTDOWN_RESTART, 0);
	assert_int_equal(obey(channel, IC_STATUS_FAIL), 0); /* to the first */
	fake_guest_settle(f->guest);
	assert_int_equal(f->done, 0);
	assert_int_equal(obey(channel, IC_STATUS_OK), IC_SHUTDOWN_FLAG_RESTART);
	assert_int_equal(result(f), 0);
	fake_channel_close(channel);
}

static void one_request_at_a_time(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = open_service(f, &shutdown_type);
	struct fixture second = { .guest = f->guest, .shutdown = f->shutdown };

	negotiate(channel, IC_FRAMEWORK_3_0, IC_SHUTDOWN_3_2);
	fake_guest_settle(f->guest);
	ask(f, SHUTDOWN_POWER_OFF, 0);
	ask(&second, SHUTDOWN_POWER_OFF, 0);
	assert_int_equal(result(&second), -EBUSY);
	obey(channel, IC_STATUS_OK);
	assert_int_equal(result(f), 0);
	fake_channel_close(channel);
}

static void closing_in_the_middle_ends_the_request(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = open_service(f, &shutdown_type);

	negotiate(channel, IC_FRAMEWORK_3_0, IC_SHUTDOWN_3_2);
	fake_guest_settle(f->guest);
	ask(f, SHUTDOWN_POWER_OFF, 0);
	fake_guest_settle(f->guest);
	fake_channel_close(channel);
	assert_int_equal(result(f), -ECONNRESET);
}

static void unloading_in_the_middle_ends_the_request(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = open_service(f, &shutdown_type);

	negotiate(channel, IC_FRAMEWORK_3_0, IC_SHUTDOWN_3_2);
	fake_guest_settle(f->guest);
	ask(f, SHUTDOWN_POWER_OFF, 0);
	fake_guest_settle(f->guest);
	fake_guest_unload(f->guest);
	assert_int_equal(result(f), -ECONNRESET);
	free(channel); /* the host has forgotten it */
	fake_guest_connect(f->guest, VMBUS_VERSION_4_0);
	channel = open_service(f, &shutdown_type);
	negotiate(channel, IC_FRAMEWORK_1_0, IC_SHUTDOWN_1_0);
	fake_channel_close(channel);
}

/* ---- time sync --------------------------------------------------------------------------------------- */

static void check_time(const struct ic_message *message, uint32_t version, uint8_t flag,
		       uint64_t reference)
{
	uint64_t parent = bytes_le64(message->body);
	uint64_t now = (uint64_t)time(NULL) * 10000000 + IC_TIMESYNC_EPOCH_100NS;

	assert_int_equal(message->type, IC_MSG_TIMESYNC);
	assert_in_range(parent, now - 100000000, now + 100000000); /* ten seconds */
	if (version == IC_TIMESYNC_4_0) {
		assert_int_equal(message->body_bytes, sizeof(struct ic_timesync_4));
		assert_int_equal(bytes_le64(message->body + 8), reference);
		assert_int_equal(message->body[16], flag);
	} else {
		assert_int_equal(message->body_bytes, sizeof(struct ic_timesync));
		assert_int_equal(message->body[24], flag);
	}
}

static void the_first_time_is_an_order_the_others_are_samples(void **state)
{
	struct fixture *f = *state;
	const uint32_t versions[] = { IC_TIMESYNC_1_0, IC_TIMESYNC_3_0, IC_TIMESYNC_4_0 };

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		struct fake_channel *channel = open_service(f, &timesync_type);
		struct fake_packet packet;
		struct ic_message message;

		negotiate(channel, IC_FRAMEWORK_3_0, versions[i]);
		for (unsigned int n = 0; n < 3; n++) {
			hear(channel, &packet, &message);
			check_time(&message, versions[i],
				   n == 0 ? IC_TIMESYNC_FLAG_SYNC : IC_TIMESYNC_FLAG_SAMPLE, 12345);
			answer(channel, &message, IC_STATUS_OK, message.body, message.body_bytes);
		}
		timesync_sync(f->timesync); /* as after a pause */
		hear(channel, &packet, &message);
		check_time(&message, versions[i], IC_TIMESYNC_FLAG_SYNC, 12345);
		fake_channel_close(channel);
	}
}

static void without_a_reference_4_0_is_not_offered(void **state)
{
	struct fixture *f = *state;
	struct timesync_config config = { 0 };
	struct fake_channel *channel;
	struct fake_packet packet;
	struct ic_message message;

	revoke(f, timesync_device(f->timesync));
	timesync_destroy(f->timesync);
	assert_int_equal(timesync_create(&config, &f->timesync), 0);
	fake_guest_offer(f->guest, timesync_device(f->timesync));
	fake_guest_settle(f->guest);
	fake_guest_unload(f->guest);
	fake_guest_connect(f->guest, VMBUS_VERSION_5_3);
	channel = open_service(f, &timesync_type);
	hear(channel, &packet, &message);
	assert_int_equal(bytes_le16(message.body + 2), 2);
	fake_channel_close(channel);
}

/* ---- saved state ---------------------------------------------------------------------------------------- */

static void save_device(struct vmbus_device *device, struct save *save, const uint8_t **bytes,
			size_t *length)
{
	save_init(save);
	device->ops->save(device, save);
	assert_int_equal(save_finish(save, bytes, length), 0);
}

static int load_device(struct vmbus_device *device, const uint8_t *bytes, size_t length)
{
	struct load load;

	load_init(&load, bytes, length);
	return device->ops->load(device, &load);
}

/* A channel as the bus restores it: open, and the guest has heard nothing on it yet. */
static struct fake_channel *reopen(struct fixture *f, const struct guid *type)
{
	struct fake_channel *channel = open_service(f, type);
	struct fake_packet packet;

	fake_guest_settle(f->guest);
	while (fake_channel_poll(channel, &packet)) {}
	return channel;
}

static void a_loaded_heartbeat_goes_on_where_it_was(void **state)
{
	struct fixture *f = *state;
	struct vmbus_device *device = heartbeat_device(f->heartbeat);
	struct fake_channel *channel = open_service(f, &heartbeat_type);
	struct save save, again;
	const uint8_t *bytes, *bytes_again;
	size_t length, length_again;
	struct fake_packet packet;

	negotiate(channel, IC_FRAMEWORK_3_0, IC_HEARTBEAT_3_0);
	for (uint64_t i = 0; i < 7; i++) {
		beat(channel, IC_HEARTBEAT_3_0);
	}
	fake_guest_settle(f->guest);
	save_device(device, &save, &bytes, &length);
	fake_channel_close(channel);

	channel = reopen(f, &heartbeat_type);
	assert_int_equal(load_device(device, bytes, length), 0);
	save_device(device, &again, &bytes_again, &length_again);
	assert_int_equal(length, length_again);
	assert_memory_equal(bytes, bytes_again, length);

	struct ic_message message;

	hear(channel, &packet, &message);
	assert_int_equal(message.type, IC_MSG_HEARTBEAT);
	assert_int_equal(bytes_le64(message.body), 7);
	fake_channel_close(channel);
	save_fini(&save);
	save_fini(&again);
}

static void a_loaded_time_sync_gives_an_order(void **state)
{
	struct fixture *f = *state;
	struct vmbus_device *device = timesync_device(f->timesync);
	struct fake_channel *channel = open_service(f, &timesync_type);
	struct fake_packet packet;
	struct ic_message message;
	struct save save;
	const uint8_t *bytes;
	size_t length;

	negotiate(channel, IC_FRAMEWORK_3_0, IC_TIMESYNC_4_0);
	fake_guest_settle(f->guest);
	save_device(device, &save, &bytes, &length);
	fake_channel_close(channel);
	channel = reopen(f, &timesync_type);
	assert_int_equal(load_device(device, bytes, length), 0);
	hear(channel, &packet, &message);
	check_time(&message, IC_TIMESYNC_4_0, IC_TIMESYNC_FLAG_SYNC, 12345);
	fake_channel_close(channel);
	save_fini(&save);
}

static void a_state_that_does_not_fit_is_refused(void **state)
{
	struct fixture *f = *state;
	struct vmbus_device *device = heartbeat_device(f->heartbeat);
	struct fake_channel *channel = open_service(f, &heartbeat_type);
	struct save save;
	const uint8_t *bytes;
	size_t length;

	negotiate(channel, IC_FRAMEWORK_3_0, IC_HEARTBEAT_3_0);
	beat(channel, IC_HEARTBEAT_3_0);
	fake_guest_settle(f->guest);
	save_device(device, &save, &bytes, &length);
	fake_channel_close(channel);

	/* The channel is closed, so it cannot be ready. */
	assert_int_equal(load_device(device, bytes, length), -EBADMSG);
	channel = open_service(f, &heartbeat_type);
	for (size_t cut = 1; cut < length; cut++) {
		(void)!load_device(device, bytes, cut);
	}
	assert_int_equal(load_device(device, bytes, 0), -EBADMSG);
	fake_channel_close(channel);
	save_fini(&save);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(offers_are_pipes_in_message_mode),
		TEST(each_version_is_accepted),
		TEST(a_guest_with_nothing_in_common_is_left_alone),
		TEST(a_version_that_was_not_offered_is_not_taken),
		TEST(garbage_is_counted_and_survived),
		TEST(the_sequence_advances_by_what_the_guest_says),
		TEST(a_silent_guest_is_lost_and_found_again),
		TEST(a_guest_that_never_reads_fills_its_ring_and_nothing_else),
		TEST(a_pause_is_neither_disturbed_nor_held_against_the_guest),
		TEST(shutdown_and_restart_are_asked_for),
		TEST(shutdown_fails_clearly),
		TEST(silence_times_out_and_a_late_answer_changes_nothing),
		TEST(one_request_at_a_time),
		TEST(closing_in_the_middle_ends_the_request),
		TEST(unloading_in_the_middle_ends_the_request),
		TEST(the_first_time_is_an_order_the_others_are_samples),
		TEST(without_a_reference_4_0_is_not_offered),
		TEST(a_loaded_heartbeat_goes_on_where_it_was),
		TEST(a_loaded_time_sync_gives_an_order),
		TEST(a_state_that_does_not_fit_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

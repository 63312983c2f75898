/* SPDX-License-Identifier: MIT */
/* What the test of any VSP has: negotiation, one good exchange, each refusal, close in the middle,
 * reopen, a full ring, save and load. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "guest/fake_guest.h"
#include "proto/echo.h"
#include "vsp/echo/echo.h"

#define RING_BYTES (4 * 4096)

struct fixture {
	struct fake_guest *guest;
	struct echo *echo;
	struct fake_channel *channel;
	uint64_t transaction_id;
	struct fake_packet packet;
};

static const struct guid echo_type = ECHO_INTERFACE;

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->guest = fake_guest_create(64 << 20, 1);
	assert_int_equal(echo_create("test", &f->echo), 0);
	fake_guest_offer(f->guest, echo_device(f->echo));
	fake_guest_connect(f->guest, VMBUS_VERSION_5_3);
	f->channel = fake_channel_open(f->guest, &echo_type, 0, RING_BYTES);
	*state = f;
	return 0;
}

static bool revoked;

static void on_revoked(struct loop_work *work)
{
	(void)work;
	revoked = true;
}

static bool is_revoked(void *arg)
{
	(void)arg;
	return revoked;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	struct loop_work work;

	fake_channel_close(f->channel);
	revoked = false;
	loop_work_init(&work, on_revoked);
	bus_revoke(fake_guest_bus(f->guest), echo_device(f->echo), &work);
	assert_true(fake_guest_wait(f->guest, is_revoked, NULL));
	echo_destroy(f->echo);
	fake_guest_destroy(f->guest);
	free(f);
	return 0;
}

/* ---- the guest's half --------------------------------------------------------------------------- */

static uint32_t build(uint32_t type, const void *body, uint32_t bytes, uint8_t *ret_buf)
{
	bytes_put_le32(ret_buf, type);
	bytes_put_le32(ret_buf + 4, bytes);
	memcpy(ret_buf + 8, body, bytes);
	return 8 + bytes;
}

/* Sends a message and waits for its completion, in f->packet. */
static void exchange(struct fixture *f, uint32_t type, const void *body, uint32_t bytes)
{
	uint8_t buf[8192];

	fake_channel_send_inband(f->channel, ++f->transaction_id, buf,
				 build(type, body, bytes, buf));
	fake_channel_expect_completion(f->channel, f->transaction_id, &f->packet);
}

/* The status of HELLO_RESULT or ERROR in f->packet. */
static uint32_t status_of(const struct fixture *f, uint32_t type)
{
	assert_int_equal(bytes_le32(f->packet.payload), type);
	assert_int_equal(bytes_le32(f->packet.payload + 4), sizeof(struct echo_result));
	return bytes_le32(f->packet.payload + 8);
}

static uint32_t hello(struct fixture *f, uint32_t version)
{
	struct echo_hello body = { .version = version };

	exchange(f, ECHO_MSG_HELLO, &body, sizeof(body));
	return status_of(f, ECHO_MSG_HELLO_RESULT);
}

/* Sends text; its sequence comes back. */
static uint64_t echo(struct fixture *f, const char *text)
{
	uint8_t body[4104] = { 0 };
	uint32_t bytes = (uint32_t)strlen(text);

	memcpy(body + 8, text, bytes);
	exchange(f, ECHO_MSG_ECHO, body, 8 + bytes);
	assert_int_equal(bytes_le32(f->packet.payload), ECHO_MSG_ECHO);
	assert_int_equal(bytes_le32(f->packet.payload + 4), 8 + bytes);
	assert_memory_equal(f->packet.payload + 16, text, bytes);
	return bytes_le64(f->packet.payload + 8);
}

/* ---- tests ---------------------------------------------------------------------------------------- */

static void each_version_speaks(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(hello(f, ECHO_VERSION_1), ECHO_STATUS_OK);
	assert_int_equal(echo(f, "hello"), 0);
	assert_int_equal(hello(f, ECHO_VERSION_2), ECHO_STATUS_OK);
	assert_int_equal(echo(f, "hello"), 1);
	assert_int_equal(echo(f, ""), 2);
}

static void an_unknown_version_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(hello(f, 3), ECHO_STATUS_UNSUPPORTED);
	assert_int_equal(hello(f, 0), ECHO_STATUS_UNSUPPORTED);
	assert_int_equal(hello(f, ECHO_VERSION_1), ECHO_STATUS_OK);
}

static void an_echo_before_hello_is_refused(void **state)
{
	struct fixture *f = *state;
	uint8_t body[16] = { 0 };

	exchange(f, ECHO_MSG_ECHO, body, sizeof(body));
	assert_int_equal(status_of(f, ECHO_MSG_ERROR), ECHO_STATUS_INVALID);
}

static void nonsense_is_answered_and_forgiven(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[64] = { 0 };

	exchange(f, 77, buf, 8);
	assert_int_equal(status_of(f, ECHO_MSG_ERROR), ECHO_STATUS_INVALID);
	exchange(f, ECHO_MSG_HELLO, buf, 0);
	assert_int_equal(status_of(f, ECHO_MSG_ERROR), ECHO_STATUS_INVALID);

	/* A length that the packet does not have. */
	bytes_put_le32(buf, ECHO_MSG_ECHO);
	bytes_put_le32(buf + 4, 0xffffffff);
	fake_channel_send_inband(f->channel, ++f->transaction_id, buf, sizeof(buf));
	fake_channel_expect_completion(f->channel, f->transaction_id, &f->packet);
	assert_int_equal(status_of(f, ECHO_MSG_ERROR), ECHO_STATUS_INVALID);

	/* Nothing at all, and nobody waiting for an answer. */
	struct vmbus_send send = { .type = VMBUS_PACKET_INBAND };

	fake_channel_send(f->channel, &send);
	assert_int_equal(hello(f, ECHO_VERSION_1), ECHO_STATUS_OK);
}

static void a_close_in_the_middle_forgets_what_was_agreed(void **state)
{
	struct fixture *f = *state;
	uint8_t body[16] = { 0 }, buf[64];

	assert_int_equal(hello(f, ECHO_VERSION_2), ECHO_STATUS_OK);
	fake_channel_send_inband(f->channel, 99, buf, build(ECHO_MSG_ECHO, body, 16, buf));
	fake_channel_close(f->channel);
	f->channel = fake_channel_open(f->guest, &echo_type, 0, RING_BYTES);
	exchange(f, ECHO_MSG_ECHO, body, sizeof(body));
	assert_int_equal(status_of(f, ECHO_MSG_ERROR), ECHO_STATUS_INVALID);
	assert_int_equal(hello(f, ECHO_VERSION_2), ECHO_STATUS_OK);
	assert_int_equal(echo(f, "again"), 1);
}

static void a_full_ring_holds_the_guest_back_and_loses_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t sent = 0, heard = 0;
	uint8_t body[1008] = { 0 }, buf[1100];
	uint32_t bytes = build(ECHO_MSG_ECHO, body, sizeof(body), buf);
	struct iovec iov = { buf, bytes };
	struct vmbus_send send = { .type = VMBUS_PACKET_INBAND,
				   .wants_completion = true,
				   .payload = &iov,
				   .payload_count = 1 };

	assert_int_equal(hello(f, ECHO_VERSION_2), ECHO_STATUS_OK);
	/* Both rings full: the host has answered as much as there was room for. */
	for (unsigned int stuck = 0; stuck < 3;) {
		send.transaction_id = 1000 + sent;
		if (fake_channel_try_send(f->channel, &send)) {
			sent++;
			stuck = 0;
		} else {
			stuck++;
		}
		fake_guest_settle(f->guest);
	}
	assert_true(sent > 2 * (RING_BYTES - 4096) / 1200);
	while (heard < sent) {
		fake_channel_receive(f->channel, &f->packet);
		assert_int_equal(f->packet.transaction_id, 1000 + heard);
		heard++;
		assert_int_equal(bytes_le64(f->packet.payload + 8), heard);
	}
}

static void a_loaded_echo_goes_on_where_it_was(void **state)
{
	struct fixture *f = *state;
	struct vmbus_device *device = echo_device(f->echo);
	struct save save, again;
	const uint8_t *bytes, *bytes_again;
	size_t length, length_again;
	struct load load;

	assert_int_equal(hello(f, ECHO_VERSION_2), ECHO_STATUS_OK);
	assert_int_equal(echo(f, "a"), 1);
	save_init(&save);
	device->ops->save(device, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);

	fake_channel_close(f->channel);
	f->channel = fake_channel_open(f->guest, &echo_type, 0, RING_BYTES);
	load_init(&load, bytes, length);
	assert_int_equal(device->ops->load(device, &load), 0);
	save_init(&again);
	device->ops->save(device, &again);
	assert_int_equal(save_finish(&again, &bytes_again, &length_again), 0);
	assert_int_equal(length, length_again);
	assert_memory_equal(bytes, bytes_again, length);
	assert_int_equal(echo(f, "b"), 2);

	for (size_t cut = 0; cut < length; cut++) {
		load_init(&load, bytes, cut);
		(void)!device->ops->load(device, &load);
	}
	save_fini(&save);
	save_fini(&again);
}

static void creation_survives_a_failing_allocation(void **state)
{
	struct echo *echo = NULL;

	(void)state;
	fault_arm(1);
	assert_int_equal(echo_create("fault", &echo), -ENOMEM);
	fault_arm(0);
	assert_null(echo);
	echo_destroy(echo);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(each_version_speaks),
		TEST(an_unknown_version_is_refused),
		TEST(an_echo_before_hello_is_refused),
		TEST(nonsense_is_answered_and_forgiven),
		TEST(a_close_in_the_middle_forgets_what_was_agreed),
		TEST(a_full_ring_holds_the_guest_back_and_loses_nothing),
		TEST(a_loaded_echo_goes_on_where_it_was),
		cmocka_unit_test(creation_survives_a_failing_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

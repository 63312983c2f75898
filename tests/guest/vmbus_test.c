/* SPDX-License-Identifier: MIT */
/* The bus itself: contact, offers, GPADLs, opens, rescinds, unload, hostile rings; over the echo VSP. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/num.h"
#include "guest/fake_guest.h"
#include "guest/fake_internal.h"
#include "proto/echo.h"
#include "proto/hv.h"
#include "vsp/echo/echo.h"

#define RING_BYTES (4 * 4096)

static const struct guid echo_type = ECHO_INTERFACE;

struct fixture {
	struct fake_guest *guest;
	struct echo *echo;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->guest = fake_guest_create(64 << 20, 4);
	assert_int_equal(echo_create("test", &f->echo), 0);
	fake_guest_offer(f->guest, echo_device(f->echo));
	*state = f;
	return 0;
}

static bool work_ran;

static void on_work(struct loop_work *work)
{
	(void)work;
	work_ran = true;
}

static bool has_run(void *arg)
{
	(void)arg;
	return work_ran;
}

static void wait_work(struct fake_guest *guest)
{
	assert_true(fake_guest_wait(guest, has_run, NULL));
	work_ran = false;
}

static void revoke(struct fixture *f)
{
	static struct loop_work work;

	loop_work_init(&work, on_work);
	bus_revoke(f->guest->bus, echo_device(f->echo), &work);
	wait_work(f->guest);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	if (echo_device(f->echo)->channel) {
		revoke(f);
	}
	echo_destroy(f->echo);
	fake_guest_destroy(f->guest);
	free(f);
	return 0;
}

static void post(struct fake_guest *guest, const void *message, uint32_t bytes)
{
	assert_int_equal(fake_guest_post(guest, guest->connection_id, message, bytes),
			 HV_STATUS_SUCCESS);
	fake_guest_settle(guest);
}

/* hello, then an echo: the channel lives. */
static void converse(struct fake_channel *channel)
{
	uint32_t hello[4] = { ECHO_MSG_HELLO, 8, ECHO_VERSION_1, 0 };
	struct fake_packet packet;

	fake_channel_send_inband(channel, 7, hello, sizeof(hello));
	fake_channel_expect_completion(channel, 7, &packet);
	assert_int_equal(*(uint32_t *)packet.payload, ECHO_MSG_HELLO_RESULT);
}

static struct fake_channel *connect_and_open(struct fixture *f)
{
	fake_guest_connect(f->guest, VMBUS_VERSION_5_3);
	return fake_channel_open(f->guest, &echo_type, 0, RING_BYTES);
}

/* ---- contact ---- */

static void every_version_is_spoken_and_others_are_refused(void **state)
{
	struct fixture *f = *state;
	static const uint32_t spoken[] = {
		VMBUS_VERSION_2_4, VMBUS_VERSION_3_0, VMBUS_VERSION_4_0, VMBUS_VERSION_4_1,
		VMBUS_VERSION_5_0, VMBUS_VERSION_5_1, VMBUS_VERSION_5_2, VMBUS_VERSION_5_3,
	};
	static const uint32_t refused[] = {
		0, 1, VMBUS_VERSION(1, 1), VMBUS_VERSION(4, 2), VMBUS_VERSION(6, 0), UINT32_MAX
	};

	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct vmbus_msg_initiate_contact contact = {
			.header.type = VMBUS_MSG_INITIATE_CONTACT,
			.version = refused[i],
			.interrupt_page_or_sint = VMBUS_SINT,
		};
		struct vmbus_msg_version_response response;

		f->guest->connection_id = VMBUS_CONNECTION_ID_NEW;
		post(f->guest, &contact, sizeof(contact));
		fake_guest_expect(f->guest, VMBUS_MSG_VERSION_RESPONSE, &response,
				  sizeof(response));
		assert_false(response.supported);
	}
	for (size_t i = 0; i < ARRAY_SIZE(spoken); i++) {
		/* Without an unload in between: as after kexec. */
		fake_guest_connect(f->guest, spoken[i]);
		struct fake_channel *channel =
			fake_channel_open(f->guest, &echo_type, 0, RING_BYTES);

		converse(channel);
		if (i % 2) {
			fake_guest_unload(f->guest);
			free(channel);
		} else {
			fake_channel_close(channel);
		}
	}
}

static void a_contact_for_another_sint_is_refused(void **state)
{
	struct fixture *f = *state;
	struct vmbus_msg_initiate_contact contact = { .header.type = VMBUS_MSG_INITIATE_CONTACT,
						      .version = VMBUS_VERSION_5_3,
						      .interrupt_page_or_sint = 5 };
	struct vmbus_msg_version_response response;

	f->guest->connection_id = VMBUS_CONNECTION_ID_NEW;
	post(f->guest, &contact, sizeof(contact));
	fake_guest_expect(f->guest, VMBUS_MSG_VERSION_RESPONSE, &response, sizeof(response));
	assert_false(response.supported);
}

static void unknown_connection_ids_and_types_get_the_hypercalls_error(void **state)
{
	struct fixture *f = *state;
	uint8_t message[240] = { 0 };
	struct synic *synic = fake_synic_base(f->guest->synic);

	assert_int_equal(fake_guest_post(f->guest, 2, message, 240),
			 HV_STATUS_INVALID_CONNECTION_ID);
	assert_int_equal(synic->sink->on_post_message(synic->sink_ctx, 1, 2, message, 240),
			 HV_STATUS_INVALID_CONNECTION_ID);
}

static void a_guest_that_reads_no_messages_only_stops_itself(void **state)
{
	struct fixture *f = *state;
	struct vmbus_msg_tl_connect_request request = { .header.type =
								VMBUS_MSG_TL_CONNECT_REQUEST };
	int refused = 0;

	fake_guest_connect(f->guest, VMBUS_VERSION_5_3);
	for (int i = 0; i < 1000; i++) {
		uint16_t status = fake_guest_post(f->guest, f->guest->connection_id, &request,
						  sizeof(request));

		refused += status == HV_STATUS_INSUFFICIENT_BUFFERS;
		loop_turn(f->guest->loop); /* takes nothing from the slot */
	}
	assert_true(refused > 500);
	/* And when it reads again, every accepted message has its answer. */
	for (int i = 0; i < 1000 - refused; i++) {
		fake_guest_expect(f->guest, VMBUS_MSG_TL_CONNECT_RESULT, NULL, 0);
	}
}

/* ---- GPADLs ---- */

static uint32_t gpadl_status(struct fixture *f, const void *message, uint32_t bytes)
{
	struct vmbus_msg_gpadl_created created;

	post(f->guest, message, bytes);
	fake_guest_expect(f->guest, VMBUS_MSG_GPADL_CREATED, &created, sizeof(created));
	return created.status;
}

struct small_gpadl {
	struct vmbus_msg_gpadl_header header;
	struct vmbus_gpa_range range;
	uint64_t gfns[2];
} __attribute__((packed));

static struct small_gpadl make_gpadl(struct fixture *f)
{
	return (struct small_gpadl){
		.header = { .header.type = VMBUS_MSG_GPADL_HEADER,
			    .relid = fake_guest_find_offer(f->guest, &echo_type, 0)->relid,
			    .gpadl = 77,
			    .range_bytes = 24,
			    .range_count = 1 },
		.range = { .length_bytes = 8192 },
		.gfns = { 300, 301 },
	};
}

static void bad_gpadls_are_refused(void **state)
{
	struct fixture *f = *state;
	struct small_gpadl g;

	fake_guest_connect(f->guest, VMBUS_VERSION_5_3);
	g = make_gpadl(f);
	g.header.range_count = 2;
	assert_int_not_equal(gpadl_status(f, &g, sizeof(g)), 0);
	g = make_gpadl(f);
	g.range.offset_bytes = 4096;
	assert_int_not_equal(gpadl_status(f, &g, sizeof(g)), 0);
	g = make_gpadl(f);
	g.range.length_bytes = 0;
	assert_int_not_equal(gpadl_status(f, &g, sizeof(g)), 0);
	g = make_gpadl(f);
	g.range.length_bytes = UINT32_MAX;
	g.range.offset_bytes = 4095;
	assert_int_not_equal(gpadl_status(f, &g, sizeof(g) - 12), 0);
	g = make_gpadl(f);
	g.gfns[1] = 1ULL << 40; /* no RAM */
	assert_int_not_equal(gpadl_status(f, &g, sizeof(g)), 0);
	g = make_gpadl(f);
	g.header.relid = 999;
	assert_int_not_equal(gpadl_status(f, &g, sizeof(g)), 0);
	g = make_gpadl(f);
	assert_int_equal(gpadl_status(f, &g, sizeof(g)), 0);
	assert_int_not_equal(gpadl_status(f, &g, sizeof(g)), 0); /* twice */
	fake_guest_gpadl_teardown(f->guest, g.header.relid, 77);
	fake_guest_gpadl_teardown(f->guest, g.header.relid, 77); /* not there: still answered */
}

static void a_gpadl_beyond_one_message_reads_and_writes_every_page(void **state)
{
	struct fixture *f = *state;
	uint64_t pages = 600;

	struct fake_channel *channel = connect_and_open(f);
	gpa_t gpa = fake_guest_alloc(f->guest, pages * 4096);
	uint32_t id = fake_guest_gpadl(f->guest, fake_channel_relid(channel), gpa, pages * 4096);
	struct gpadl *gpadl;
	uint8_t buf[10000], back[10000];

	assert_int_equal(vmbus_channel_gpadl_get(echo_device(f->echo)->channel, id, &gpadl), 0);
	assert_int_equal(gpadl_bytes(gpadl), pages * 4096);
	for (size_t i = 0; i < sizeof(buf); i++) {
		buf[i] = (uint8_t)(i * 7);
	}
	assert_int_equal(gpadl_write(gpadl, 4000, buf, sizeof(buf)), 0);
	assert_memory_equal(fake_guest_hva(f->guest, gpa + 4000, sizeof(buf)), buf, sizeof(buf));
	assert_int_equal(gpadl_read(gpadl, 4000, back, sizeof(back)), 0);
	assert_memory_equal(buf, back, sizeof(buf));
	assert_int_equal(gpadl_write(gpadl, pages * 4096 - 10, buf, 11), -EFAULT);
	assert_int_equal(gpadl_write(gpadl, UINT64_MAX - 5, buf, 10), -EFAULT);

	/* The answer to the teardown waits for us. */
	struct vmbus_msg_gpadl_teardown teardown = { .header.type = VMBUS_MSG_GPADL_TEARDOWN,
						     .relid = fake_channel_relid(channel),
						     .gpadl = id };

	post(f->guest, &teardown, sizeof(teardown));
	assert_int_equal(f->guest->backlog_count, 0);
	gpadl_put(gpadl);
	fake_guest_expect(f->guest, VMBUS_MSG_GPADL_TORNDOWN, NULL, 0);
	assert_int_equal(vmbus_channel_gpadl_get(echo_device(f->echo)->channel, id, &gpadl),
			 -ENOENT);
	fake_channel_close(channel);
}

/* ---- channels ---- */

static void a_second_open_of_an_open_channel_is_refused(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = connect_and_open(f);

	fake_channel_open_refused(f->guest, &echo_type, 0, RING_BYTES);
	converse(channel);
	fake_channel_close(channel);
}

static void opens_with_impossible_rings_are_refused(void **state)
{
	struct fixture *f = *state;
	static const uint32_t offsets[] = { 0, 1, 7, 8, UINT32_MAX };

	fake_guest_connect(f->guest, VMBUS_VERSION_5_3);
	uint32_t relid = fake_guest_find_offer(f->guest, &echo_type, 0)->relid;
	gpa_t rings = fake_guest_alloc(f->guest, 8 * 4096);
	uint32_t gpadl = fake_guest_gpadl(f->guest, relid, rings, 8 * 4096);

	for (size_t i = 0; i < 2 * ARRAY_SIZE(offsets); i++) {
		struct vmbus_msg_open_channel open = {
			.header.type = VMBUS_MSG_OPEN_CHANNEL,
			.relid = relid,
			.ring_gpadl = i < ARRAY_SIZE(offsets) ? gpadl : gpadl + 1,
			.downstream_page_offset = offsets[i % ARRAY_SIZE(offsets)],
		};
		struct vmbus_msg_open_result result;

		post(f->guest, &open, sizeof(open));
		fake_guest_expect(f->guest, VMBUS_MSG_OPEN_RESULT, &result, sizeof(result));
		assert_int_not_equal(result.status, 0);
	}
	fake_guest_gpadl_teardown(f->guest, relid, gpadl);
	fake_channel_close(fake_channel_open(f->guest, &echo_type, 0, RING_BYTES));
}

static void a_channel_moves_to_another_processor(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = connect_and_open(f);
	struct vmbus_msg_modify_channel modify = { .header.type = VMBUS_MSG_MODIFY_CHANNEL,
						   .relid = fake_channel_relid(channel),
						   .target_vp = 3 };
	struct vmbus_msg_modify_channel_response response;

	post(f->guest, &modify, sizeof(modify));
	fake_guest_expect(f->guest, VMBUS_MSG_MODIFY_CHANNEL_RESPONSE, &response, sizeof(response));
	assert_int_equal(response.status, 0);
	fake_synic_take_flag(f->guest->synic, 3, fake_channel_relid(channel));
	converse(channel);
	assert_true(fake_synic_take_flag(f->guest->synic, 3, fake_channel_relid(channel)));
	modify.target_vp = 4;
	post(f->guest, &modify, sizeof(modify));
	fake_guest_expect(f->guest, VMBUS_MSG_MODIFY_CHANNEL_RESPONSE, &response, sizeof(response));
	assert_int_not_equal(response.status, 0);
	fake_channel_close(channel);
}

static void a_revoked_device_is_rescinded_and_can_be_offered_again(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = connect_and_open(f);
	uint32_t relid = fake_channel_relid(channel);
	struct vmbus_msg_rescind_offer rescind;

	revoke(f);
	fake_guest_expect(f->guest, VMBUS_MSG_RESCIND_OFFER, &rescind, sizeof(rescind));
	assert_int_equal(rescind.relid, relid);
	f->guest->offer_count = 0;
	fake_guest_offer(f->guest, echo_device(f->echo));
	fake_guest_settle(f->guest);
	assert_non_null(fake_guest_find_offer(f->guest, &echo_type, 0));
	assert_int_not_equal(fake_guest_find_offer(f->guest, &echo_type, 0)->relid, relid);
	/* What Linux does when it hears of the rescind. */
	fake_channel_close(channel);
	rescind.header.type = VMBUS_MSG_RELID_RELEASED;
	post(f->guest, &rescind, sizeof(rescind));
	channel = fake_channel_open(f->guest, &echo_type, 0, RING_BYTES);
	converse(channel);
	fake_channel_close(channel);
}

static void a_reset_closes_everything_and_the_guest_begins_anew(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = connect_and_open(f);
	static struct loop_work work;

	converse(channel);
	loop_work_init(&work, on_work);
	bus_reset(f->guest->bus, &work);
	wait_work(f->guest);
	free(channel);
	channel = connect_and_open(f);
	converse(channel);
	fake_channel_close(channel);
}

/* ---- rings ---- */

static void thousands_of_packets_cross_with_few_doorbells(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = connect_and_open(f);
	uint32_t message[30] = { ECHO_MSG_ECHO, 8 + 100 };
	struct fake_packet packet;
	uint64_t next = 0, done = 0;

	converse(channel);
	uint64_t signals = fake_synic_signals(f->guest->synic);

	while (done < 5000) {
		struct iovec iov = { message, 8 + 8 + 100 };
		struct vmbus_send send = { .type = VMBUS_PACKET_INBAND,
					   .wants_completion = true,
					   .transaction_id = next,
					   .payload = &iov,
					   .payload_count = 1 };

		message[5] = (uint32_t)next;
		if (next < 5000 && fake_channel_try_send(channel, &send)) {
			next++;
			continue;
		}
		while (done < next) {
			fake_channel_expect_completion(channel, done, &packet);
			assert_int_equal(((uint32_t *)packet.payload)[5], (uint32_t)done);
			done++;
		}
	}
	/* Each fill of the ring (about 90 packets) costs a doorbell or two. */
	assert_true(fake_synic_signals(f->guest->synic) - signals < 500);
	fake_channel_close(channel);
}

static void a_host_that_waits_for_room_is_woken(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = connect_and_open(f);
	uint32_t message[30] = { ECHO_MSG_ECHO, 8 + 100 };
	struct fake_packet packet;
	uint64_t sent = 0;

	converse(channel);
	/* Send without reading: the host's ring fills up, then ours. */
	for (int i = 0; i < 2000; i++) {
		struct iovec iov = { message, 116 };
		struct vmbus_send send = { .type = VMBUS_PACKET_INBAND,
					   .wants_completion = true,
					   .transaction_id = sent,
					   .payload = &iov,
					   .payload_count = 1 };

		sent += fake_channel_try_send(channel, &send);
		loop_turn(f->guest->loop);
	}
	assert_true(sent < 2000);
	assert_int_not_equal(fake_channel_ring(channel, 1)->pending_send_bytes, 0);
	for (uint64_t i = 0; i < sent; i++) {
		fake_channel_expect_completion(channel, i, &packet);
	}
	assert_int_equal(fake_channel_ring(channel, 1)->pending_send_bytes, 0);
	fake_channel_close(channel);
}

static void a_guest_that_waits_for_room_is_signalled(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = connect_and_open(f);
	struct vmbus_ring_control *control = fake_channel_ring(channel, 0);
	uint32_t message[30] = { ECHO_MSG_ECHO, 8 + 100 };
	struct iovec iov = { message, 116 };
	struct vmbus_send send = { .type = VMBUS_PACKET_INBAND,
				   .payload = &iov,
				   .payload_count = 1 };

	converse(channel);
	while (fake_channel_try_send(channel, &send)) {}
	control->pending_send_bytes = 4096;
	uint64_t interrupts = fake_channel_interrupts(channel);

	fake_channel_ring(channel, 1)->interrupt_mask = 1; /* only the room counts */
	fake_guest_settle(f->guest);
	assert_int_equal(fake_channel_interrupts(channel), interrupts + 1);
	fake_channel_close(channel);
}

static void garbage_in_a_ring_kills_the_channel_alone(void **state)
{
	struct fixture *f = *state;

	fake_guest_connect(f->guest, VMBUS_VERSION_5_3);
	for (int kind = 0; kind < 7; kind++) {
		struct fake_channel *channel =
			fake_channel_open(f->guest, &echo_type, 0, RING_BYTES);
		struct vmbus_ring_control *in = fake_channel_ring(channel, 0);
		struct vmbus_ring_control *out = fake_channel_ring(channel, 1);
		uint32_t bytes;
		uint8_t *data = fake_channel_ring_data(channel, 0, &bytes);
		struct vmbus_packet_header header = { VMBUS_PACKET_INBAND, 2, 4, 1, 5 };
		uint32_t hello[4] = { ECHO_MSG_HELLO, 8, ECHO_VERSION_1, 0 };
		struct fake_packet packet;

		switch (kind) {
		case 0:
			in->write_index = bytes;
			break;
		case 1:
			in->write_index = 7;
			break;
		case 2:
			in->write_index = 8; /* less than a header */
			break;
		case 3:
			header.length8 = 1;
			break;
		case 4:
			header.offset8 = 5;
			break;
		case 5:
			header.length8 = 0xffff;
			break;
		default:
			out->read_index = 13; /* the host will look when it wants to answer */
			fake_channel_send_inband(channel, 1, hello, sizeof(hello));
			break;
		}
		if (kind >= 3 && kind <= 5) {
			memcpy(data, &header, sizeof(header));
			in->write_index = 48;
		}
		fake_channel_doorbell(channel);
		fake_guest_settle(f->guest);
		assert_false(kind < 6 && fake_channel_poll(channel, &packet));
		fake_channel_close(channel);
	}
	struct fake_channel *channel = fake_channel_open(f->guest, &echo_type, 0, RING_BYTES);

	converse(channel);
	fake_channel_close(channel);
}

/* ---- save and load ---- */

static void a_saved_bus_goes_on_in_another_process(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = connect_and_open(f);
	struct save first, second;
	const uint8_t *bytes, *again;
	size_t length, length_again;
	struct load load;

	converse(channel);
	assert_int_equal(bus_pause(f->guest->bus), 0);
	save_init(&first);
	bus_save(f->guest->bus, &first);
	assert_int_equal(save_finish(&first, &bytes, &length), 0);

	/* The same memory, another bus, another VSP. */
	struct loop_work work;
	struct echo *old = f->echo;

	bus_resume(f->guest->bus);
	loop_work_init(&work, on_work);
	bus_revoke(f->guest->bus, echo_device(old), &work);
	wait_work(f->guest);
	bus_destroy(f->guest->bus);
	echo_destroy(old);
	assert_int_equal(bus_create(f->guest->loop, f->guest->mem, fake_synic_base(f->guest->synic),
				    &f->guest->bus),
			 0);
	assert_int_equal(echo_create("test", &f->echo), 0);
	fake_guest_offer(f->guest, echo_device(f->echo));
	assert_int_equal(bus_pause(f->guest->bus), 0);
	load_init(&load, bytes, length);
	assert_int_equal(bus_load(f->guest->bus, &load), 0);
	save_init(&second);
	bus_save(f->guest->bus, &second);
	assert_int_equal(save_finish(&second, &again, &length_again), 0);
	assert_int_equal(length, length_again);
	assert_memory_equal(bytes, again, length);
	bus_resume(f->guest->bus);
	f->guest->backlog_count = 0; /* the rescind of the old bus */

	uint32_t message[30] = { ECHO_MSG_ECHO, 8 + 100 };
	struct fake_packet packet;

	fake_channel_send_inband(channel, 9, message, 116);
	fake_channel_expect_completion(channel, 9, &packet);
	assert_int_equal(*(uint32_t *)packet.payload, ECHO_MSG_ECHO);
	fake_channel_close(channel);
	save_fini(&first);
	save_fini(&second);
}

static void a_broken_state_loads_nothing(void **state)
{
	struct fixture *f = *state;
	struct fake_channel *channel = connect_and_open(f);
	struct save save;
	const uint8_t *bytes;
	size_t length;

	assert_int_equal(bus_pause(f->guest->bus), 0);
	save_init(&save);
	bus_save(f->guest->bus, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	bus_resume(f->guest->bus);
	fake_channel_close(channel);
	fake_guest_unload(f->guest);
	assert_int_equal(bus_pause(f->guest->bus), 0);
	for (size_t cut = 1; cut < length; cut += 13) {
		static struct loop_work work;
		struct load load;

		load_init(&load, bytes, length - cut);
		int err = bus_load(f->guest->bus, &load);

		assert_true(err == 0 || err == -EBADMSG);
		bus_resume(f->guest->bus);
		loop_work_init(&work, on_work);
		bus_reset(f->guest->bus, &work);
		wait_work(f->guest);
		assert_int_equal(bus_pause(f->guest->bus), 0);
	}
	bus_resume(f->guest->bus);
	save_fini(&save);
	channel = connect_and_open(f);
	converse(channel);
	fake_channel_close(channel);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_version_is_spoken_and_others_are_refused),
		T(a_contact_for_another_sint_is_refused),
		T(unknown_connection_ids_and_types_get_the_hypercalls_error),
		T(a_guest_that_reads_no_messages_only_stops_itself),
		T(bad_gpadls_are_refused),
		T(a_gpadl_beyond_one_message_reads_and_writes_every_page),
		T(a_second_open_of_an_open_channel_is_refused),
		T(opens_with_impossible_rings_are_refused),
		T(a_channel_moves_to_another_processor),
		T(a_revoked_device_is_rescinded_and_can_be_offered_again),
		T(a_reset_closes_everything_and_the_guest_begins_anew),
		T(thousands_of_packets_cross_with_few_doorbells),
		T(a_host_that_waits_for_room_is_woken),
		T(a_guest_that_waits_for_room_is_signalled),
		T(garbage_in_a_ring_kills_the_channel_alone),
		T(a_saved_bus_goes_on_in_another_process),
		T(a_broken_state_loads_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/num.h"
#include "guest/fake_internal.h"
#include "proto/hv.h"

/* Page numbers that fit a GPADL_HEADER and a GPADL_BODY. */
#define HEADER_GFNS 26
#define BODY_GFNS   28

struct fake_guest *fake_guest_create(uint64_t ram_bytes, uint32_t vps)
{
	struct fake_guest *guest = calloc(1, sizeof(*guest));
	struct mem_config config = { .bytes = ram_bytes };
	struct diag diag;

	assert_non_null(guest);
	if (loop_create("fake", &guest->loop, &diag) || mem_create(&config, &guest->mem, &diag)) {
		fail_msg("%s", diag.text);
	}
	guest->synic = fake_synic_create(vps);
	assert_int_equal(
		bus_create(guest->loop, guest->mem, fake_synic_base(guest->synic), &guest->bus), 0);
	guest->next_free = 1 << 20;
	guest->next_gpadl = 0xe1e10;
	guest->next_open_id = 1;
	guest->connection_id = VMBUS_CONNECTION_ID_OLD;
	return guest;
}

void fake_guest_destroy(struct fake_guest *guest)
{
	fake_guest_settle(guest);
	bus_destroy(guest->bus);
	fake_synic_destroy(guest->synic);
	loop_destroy(guest->loop);
	mem_destroy(guest->mem);
	free(guest);
}

struct vmbus_bus *fake_guest_bus(struct fake_guest *guest)
{
	return guest->bus;
}

struct loop *fake_guest_loop(struct fake_guest *guest)
{
	return guest->loop;
}

struct mem *fake_guest_mem(struct fake_guest *guest)
{
	return guest->mem;
}

struct fake_synic *fake_guest_synic(struct fake_guest *guest)
{
	return guest->synic;
}

void fake_guest_offer(struct fake_guest *guest, struct vmbus_device *device)
{
	device->loop = guest->loop;
	assert_int_equal(bus_offer(guest->bus, device), 0);
}

/* ---- waiting ---- */

/* A relid that the host takes back names no channel any more. */
static void forget_offer(struct fake_guest *guest, const struct synic_message *message)
{
	struct vmbus_msg_rescind_offer rescind;

	memcpy(&rescind, message->payload, sizeof(rescind));
	if (rescind.header.type != VMBUS_MSG_RESCIND_OFFER) {
		return;
	}
	for (size_t i = 0; i < guest->offer_count; i++) {
		if (guest->offers[i].relid == rescind.relid) {
			guest->offer_count--;
			memmove(&guest->offers[i], &guest->offers[i + 1],
				(guest->offer_count - i) * sizeof(guest->offers[0]));
			return;
		}
	}
}

/* What the VMBus interrupt does in a guest: empties the slots. */
static void take_messages(struct fake_guest *guest)
{
	struct synic_message message;

	for (uint32_t vp = 0;
	     vp < fake_synic_base(guest->synic)->ops->vp_count(fake_synic_base(guest->synic));
	     vp++) {
		while (guest->backlog_count < ARRAY_SIZE(guest->backlog) &&
		       fake_synic_take(guest->synic, vp, &message)) {
			struct vmbus_msg_offer_channel offer;

			memcpy(&offer, message.payload, sizeof(offer));
			if (offer.header.type == VMBUS_MSG_OFFER_CHANNEL &&
			    guest->offer_count < ARRAY_SIZE(guest->offers)) {
				guest->offers[guest->offer_count++] = offer;
			} else {
				forget_offer(guest, &message);
				guest->backlog[guest->backlog_count++] = message;
			}
		}
	}
}

bool fake_guest_wait(struct fake_guest *guest, bool (*pred)(void *arg), void *arg)
{
	uint64_t deadline = loop_now_ns() + FAKE_WAIT_NS;

	while (loop_now_ns() < deadline) {
		bool any = loop_turn(guest->loop);

		take_messages(guest);
		if (pred(arg)) {
			return true;
		}
		if (!any) {
			struct timespec nap = { .tv_nsec = 20000 };

			nanosleep(&nap, NULL);
		}
	}
	return false;
}

void fake_guest_settle(struct fake_guest *guest)
{
	/* Bounded: a poller that is never satisfied must not hang the test. */
	for (int idle = 0, turns = 0; idle < 3 && turns < 100000; turns++) {
		idle = loop_turn(guest->loop) ? 0 : idle + 1;
		take_messages(guest);
	}
}

/* ---- control messages ---- */

uint16_t fake_guest_post(struct fake_guest *guest, uint32_t connection_id, const void *message,
			 uint32_t bytes)
{
	struct synic *synic = fake_synic_base(guest->synic);

	return synic->sink->on_post_message(synic->sink_ctx, connection_id, VMBUS_MESSAGE_TYPE,
					    message, bytes);
}

static void post(struct fake_guest *guest, const void *message, uint32_t bytes)
{
	uint16_t status;

	/* As a guest does: again when there is no room. */
	for (int i = 0; i < 100; i++) {
		status = fake_guest_post(guest, guest->connection_id, message, bytes);
		if (status != HV_STATUS_INSUFFICIENT_BUFFERS) {
			break;
		}
		loop_turn(guest->loop);
		take_messages(guest);
	}
	assert_int_equal(status, HV_STATUS_SUCCESS);
}

struct expectation {
	struct fake_guest *guest;
	uint32_t type;
	struct synic_message found;
};

static bool has_come(void *arg)
{
	struct expectation *e = arg;

	while (e->guest->backlog_count > 0) {
		struct vmbus_msg_header header;

		e->found = e->guest->backlog[0];
		e->guest->backlog_count--;
		memmove(&e->guest->backlog[0], &e->guest->backlog[1],
			e->guest->backlog_count * sizeof(e->guest->backlog[0]));
		memcpy(&header, e->found.payload, sizeof(header));
		if (header.type == e->type) {
			return true;
		}
	}
	return false;
}

void fake_guest_expect(struct fake_guest *guest, uint32_t type, void *ret, size_t bytes)
{
	struct expectation e = { .guest = guest, .type = type };

	if (!fake_guest_wait(guest, has_come, &e)) {
		fail_msg("no control message of type %u came", type);
	}
	if (ret) {
		assert_true(e.found.payload_bytes >= bytes);
		memcpy(ret, e.found.payload, bytes);
	}
}

void fake_guest_connect(struct fake_guest *guest, uint32_t version)
{
	struct vmbus_msg_initiate_contact contact = {
		.header.type = VMBUS_MSG_INITIATE_CONTACT,
		.version = version,
		.interrupt_page_or_sint = version >= VMBUS_VERSION_5_0 ? VMBUS_SINT : 0x5000,
	};
	struct vmbus_msg_version_response response;
	struct vmbus_msg_header request = { .type = VMBUS_MSG_REQUEST_OFFERS };

	guest->connection_id =
		version >= VMBUS_VERSION_5_0 ? VMBUS_CONNECTION_ID_NEW : VMBUS_CONNECTION_ID_OLD;
	guest->offer_count = 0;
	post(guest, &contact, sizeof(contact));
	fake_guest_expect(guest, VMBUS_MSG_VERSION_RESPONSE, &response, sizeof(response));
	assert_true(response.supported);
	if (version >= VMBUS_VERSION_5_0) {
		guest->connection_id = response.message_connection_id;
	}
	post(guest, &request, sizeof(request));
	fake_guest_expect(guest, VMBUS_MSG_ALL_OFFERS_DELIVERED, NULL, 0);
}

void fake_guest_unload(struct fake_guest *guest)
{
	struct vmbus_msg_header unload = { .type = VMBUS_MSG_UNLOAD };

	post(guest, &unload, sizeof(unload));
	fake_guest_expect(guest, VMBUS_MSG_UNLOAD_RESPONSE, NULL, 0);
}

const struct vmbus_msg_offer_channel *fake_guest_find_offer(struct fake_guest *guest,
							    const struct guid *type, unsigned int n)
{
	for (size_t i = 0; i < guest->offer_count; i++) {
		if (guid_is_equal(&guest->offers[i].interface_type, type) && n-- == 0) {
			return &guest->offers[i];
		}
	}
	return NULL;
}

/* ---- memory ---- */

gpa_t fake_guest_alloc(struct fake_guest *guest, uint64_t bytes)
{
	gpa_t gpa = guest->next_free;

	guest->next_free += num_align_up(bytes, MEM_PAGE_BYTES);
	assert_true(guest->next_free <= num_min(mem_bytes(guest->mem), MEM_LOW_MAX));
	memset(fake_guest_hva(guest, gpa, bytes), 0, bytes);
	return gpa;
}

void fake_guest_alloc_scattered(struct fake_guest *guest, size_t pages, uint64_t *ret_gfns)
{
	gpa_t gpa = fake_guest_alloc(guest, pages * 2 * MEM_PAGE_BYTES);

	for (size_t i = 0; i < pages; i++) {
		/* Backwards, too: nothing follows anything. */
		ret_gfns[pages - 1 - i] = (gpa >> MEM_PAGE_SHIFT) + 2 * i;
	}
}

void *fake_guest_hva(struct fake_guest *guest, gpa_t gpa, uint64_t bytes)
{
	void *hva = mem_hva(guest->mem, gpa, bytes);

	assert_non_null(hva);
	return hva;
}

/* ---- GPADLs ---- */

static void post_gpadl(struct fake_guest *guest, uint32_t relid, uint32_t id, const uint64_t *gfns,
		       size_t count, uint32_t length)
{
	uint8_t raw[VMBUS_MESSAGE_BYTES_MAX] = { 0 };
	struct vmbus_msg_gpadl_header header = { .header.type = VMBUS_MSG_GPADL_HEADER,
						 .relid = relid,
						 .gpadl = id,
						 .range_bytes = (uint16_t)(8 + count * 8),
						 .range_count = 1 };
	struct vmbus_gpa_range range = { .length_bytes = length };
	size_t n = num_min(count, HEADER_GFNS), done = n;

	memcpy(raw, &header, sizeof(header));
	memcpy(raw + sizeof(header), &range, sizeof(range));
	memcpy(raw + sizeof(header) + sizeof(range), gfns, n * 8);
	post(guest, raw, (uint32_t)(sizeof(header) + sizeof(range) + n * 8));
	for (uint32_t number = 0; done < count; number++, done += n) {
		struct vmbus_msg_gpadl_body body = { .header.type = VMBUS_MSG_GPADL_BODY,
						     .message_number = number,
						     .gpadl = id };

		n = num_min(count - done, BODY_GFNS);
		memcpy(raw, &body, sizeof(body));
		memcpy(raw + sizeof(body), gfns + done, n * 8);
		post(guest, raw, (uint32_t)(sizeof(body) + n * 8));
	}
}

uint32_t fake_guest_gpadl(struct fake_guest *guest, uint32_t relid, gpa_t gpa, uint64_t bytes)
{
	size_t count = num_align_up(bytes, MEM_PAGE_BYTES) >> MEM_PAGE_SHIFT;
	uint64_t *gfns = calloc(count, sizeof(*gfns));
	struct vmbus_msg_gpadl_created created;
	uint32_t id = guest->next_gpadl++;

	assert_non_null(gfns);
	for (size_t i = 0; i < count; i++) {
		gfns[i] = (gpa >> MEM_PAGE_SHIFT) + i;
	}
	post_gpadl(guest, relid, id, gfns, count, (uint32_t)bytes);
	free(gfns);
	fake_guest_expect(guest, VMBUS_MSG_GPADL_CREATED, &created, sizeof(created));
	assert_int_equal(created.gpadl, id);
	assert_int_equal(created.relid, relid);
	assert_int_equal(created.status, VMBUS_STATUS_SUCCESS);
	return id;
}

void fake_guest_gpadl_teardown(struct fake_guest *guest, uint32_t relid, uint32_t gpadl)
{
	struct vmbus_msg_gpadl_teardown message = { .header.type = VMBUS_MSG_GPADL_TEARDOWN,
						    .relid = relid,
						    .gpadl = gpadl };
	struct vmbus_msg_gpadl_torndown answer;

	post(guest, &message, sizeof(message));
	fake_guest_expect(guest, VMBUS_MSG_GPADL_TORNDOWN, &answer, sizeof(answer));
	assert_int_equal(answer.gpadl, gpadl);
}

/* ---- opening and closing ---- */

uint32_t fake_guest_open_channel(struct fake_guest *guest, struct fake_channel *channel)
{
	uint32_t bytes = channel->ring_bytes;

	channel->guest = guest;
	channel->rings = fake_guest_alloc(guest, 2ULL * bytes);
	for (unsigned int i = 0; i < 2; i++) {
		fake_channel_ring(channel, i)->feature_bits = VMBUS_RING_FEATURE_PENDING_SEND;
	}
	channel->gpadl =
		fake_guest_gpadl(guest, channel->offer.relid, channel->rings, 2ULL * bytes);
	struct vmbus_msg_open_channel open = {
		.header.type = VMBUS_MSG_OPEN_CHANNEL,
		.relid = channel->offer.relid,
		.open_id = guest->next_open_id++,
		.ring_gpadl = channel->gpadl,
		.downstream_page_offset = bytes / (uint32_t)MEM_PAGE_BYTES,
	};
	struct vmbus_msg_open_result result;

	post(guest, &open, sizeof(open));
	fake_guest_expect(guest, VMBUS_MSG_OPEN_RESULT, &result, sizeof(result));
	assert_int_equal(result.relid, open.relid);
	assert_int_equal(result.open_id, open.open_id);
	return result.status;
}

void fake_channel_close_nowait(struct fake_channel *channel)
{
	struct vmbus_msg_close_channel close = { .header.type = VMBUS_MSG_CLOSE_CHANNEL,
						 .relid = channel->offer.relid };

	post(channel->guest, &close, sizeof(close));
}

void fake_channel_close(struct fake_channel *channel)
{
	fake_channel_close_nowait(channel);
	fake_guest_gpadl_teardown(channel->guest, channel->offer.relid, channel->gpadl);
	free(channel);
}

/* SPDX-License-Identifier: MIT */
/* The guest's half of the rings, written from the protocol, not from vmbus/ring.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "guest/fake_internal.h"

static struct fake_channel *make(struct fake_guest *guest, const struct guid *type, unsigned int n,
				 uint32_t ring_bytes)
{
	struct fake_channel *channel = calloc(1, sizeof(*channel));
	const struct vmbus_msg_offer_channel *offer = fake_guest_find_offer(guest, type, n);

	assert_non_null(channel);
	assert_non_null(offer);
	channel->offer = *offer;
	channel->ring_bytes = ring_bytes;
	return channel;
}

struct fake_channel *fake_channel_open(struct fake_guest *guest, const struct guid *type,
				       unsigned int n, uint32_t ring_bytes)
{
	struct fake_channel *channel = make(guest, type, n, ring_bytes);

	assert_int_equal(fake_guest_open_channel(guest, channel), VMBUS_STATUS_SUCCESS);
	return channel;
}

uint32_t fake_channel_open_refused(struct fake_guest *guest, const struct guid *type,
				   unsigned int n, uint32_t ring_bytes)
{
	struct fake_channel *channel = make(guest, type, n, ring_bytes);
	uint32_t status = fake_guest_open_channel(guest, channel);

	assert_int_not_equal(status, VMBUS_STATUS_SUCCESS);
	fake_guest_gpadl_teardown(guest, channel->offer.relid, channel->gpadl);
	free(channel);
	return status;
}

uint32_t fake_channel_relid(const struct fake_channel *channel)
{
	return channel->offer.relid;
}

struct vmbus_ring_control *fake_channel_ring(struct fake_channel *channel, unsigned int which)
{
	return fake_guest_hva(channel->guest, channel->rings + which * channel->ring_bytes,
			      channel->ring_bytes);
}

uint8_t *fake_channel_ring_data(struct fake_channel *channel, unsigned int which,
				uint32_t *ret_bytes)
{
	*ret_bytes = channel->ring_bytes - VMBUS_RING_CONTROL_BYTES;
	return (uint8_t *)fake_channel_ring(channel, which) + VMBUS_RING_CONTROL_BYTES;
}

/* ---- sending ---- */

struct ring_at {
	uint8_t *data;
	uint32_t bytes, at;
};

static void put(struct ring_at *ring, const void *from, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		ring->data[ring->at] = from ? ((const uint8_t *)from)[i] : 0;
		ring->at = (ring->at + 1) % ring->bytes;
	}
}

static void take(struct ring_at *ring, void *to, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		((uint8_t *)to)[i] = ring->data[ring->at];
		ring->at = (ring->at + 1) % ring->bytes;
	}
}

void fake_channel_doorbell(struct fake_channel *channel)
{
	assert_true(fake_synic_signal(channel->guest->synic, channel->offer.connection_id));
}

bool fake_channel_try_send(struct fake_channel *channel, const struct vmbus_send *send)
{
	struct vmbus_ring_control *control = fake_channel_ring(channel, 0);
	struct ring_at ring = { .at = control->write_index };
	uint32_t payload_bytes = 0, old_write = control->write_index;
	uint64_t trailer = (uint64_t)old_write << 32;

	ring.data = fake_channel_ring_data(channel, 0, &ring.bytes);
	for (int i = 0; i < send->payload_count; i++) {
		payload_bytes += (uint32_t)send->payload[i].iov_len;
	}
	uint32_t length = 16 + send->descriptor_bytes + (uint32_t)num_align_up(payload_bytes, 8);
	uint32_t used = (ring.at + ring.bytes - control->read_index) % ring.bytes;

	if (length + 8 >= ring.bytes - used) {
		return false;
	}
	struct vmbus_packet_header header = {
		.type = send->type,
		.offset8 = (uint16_t)((16 + send->descriptor_bytes) / 8),
		.length8 = (uint16_t)(length / 8),
		.flags = send->wants_completion,
		.transaction_id = send->transaction_id,
	};

	put(&ring, &header, sizeof(header));
	put(&ring, send->descriptor, send->descriptor_bytes);
	for (int i = 0; i < send->payload_count; i++) {
		put(&ring, send->payload[i].iov_base, send->payload[i].iov_len);
	}
	put(&ring, NULL, num_align_up(payload_bytes, 8) - payload_bytes);
	put(&ring, &trailer, 8);
	atomic_store(&control->write_index, ring.at);
	if (!control->interrupt_mask && control->read_index == old_write) {
		fake_channel_doorbell(channel);
	}
	return true;
}

struct send_try {
	struct fake_channel *channel;
	const struct vmbus_send *send;
};

static bool try_again(void *arg)
{
	struct send_try *t = arg;

	return fake_channel_try_send(t->channel, t->send);
}

void fake_channel_send(struct fake_channel *channel, const struct vmbus_send *send)
{
	struct send_try t = { channel, send };

	if (!fake_channel_try_send(channel, send) &&
	    !fake_guest_wait(channel->guest, try_again, &t)) {
		fail_msg("the host does not read channel %u", channel->offer.relid);
	}
}

void fake_channel_send_inband(struct fake_channel *channel, uint64_t transaction_id,
			      const void *payload, uint32_t bytes)
{
	struct iovec iov = { (void *)payload, bytes };
	struct vmbus_send send = { .type = VMBUS_PACKET_INBAND,
				   .wants_completion = true,
				   .transaction_id = transaction_id,
				   .payload = &iov,
				   .payload_count = 1 };

	fake_channel_send(channel, &send);
}

void fake_channel_send_gfns(struct fake_channel *channel, uint64_t transaction_id,
			    const uint64_t *gfns, size_t count, uint32_t offset, uint32_t length,
			    const void *payload, uint32_t bytes)
{
	uint8_t descriptor[16 + 8 * 1024];
	struct vmbus_gpa_direct_header header = { .range_count = 1 };
	struct vmbus_gpa_range range = { .length_bytes = length, .offset_bytes = offset };
	struct iovec iov = { (void *)payload, bytes };

	assert_true(count <= 1024);
	memcpy(descriptor, &header, 8);
	memcpy(descriptor + 8, &range, 8);
	memcpy(descriptor + 16, gfns, count * 8);
	struct vmbus_send send = { .type = VMBUS_PACKET_GPA_DIRECT,
				   .wants_completion = true,
				   .transaction_id = transaction_id,
				   .descriptor = descriptor,
				   .descriptor_bytes = (uint32_t)(16 + count * 8),
				   .payload = &iov,
				   .payload_count = 1 };

	fake_channel_send(channel, &send);
}

void fake_channel_send_gpa(struct fake_channel *channel, uint64_t transaction_id, gpa_t gpa,
			   uint32_t length, const void *payload, uint32_t bytes)
{
	uint32_t offset = (uint32_t)(gpa % MEM_PAGE_BYTES);
	size_t count = num_align_up(offset + length, MEM_PAGE_BYTES) >> MEM_PAGE_SHIFT;
	uint64_t gfns[1024];

	assert_true(count <= ARRAY_SIZE(gfns));
	for (size_t i = 0; i < count; i++) {
		gfns[i] = (gpa >> MEM_PAGE_SHIFT) + i;
	}
	fake_channel_send_gfns(channel, transaction_id, gfns, count, offset, length, payload,
			       bytes);
}

/* ---- receiving ---- */

static bool take_packet(struct fake_channel *channel, struct fake_packet *ret)
{
	struct vmbus_ring_control *control = fake_channel_ring(channel, 1);
	struct ring_at ring = { .at = control->read_index };
	struct vmbus_packet_header header;
	uint64_t trailer;

	ring.data = fake_channel_ring_data(channel, 1, &ring.bytes);
	if (atomic_load(&control->write_index) == ring.at) {
		return false;
	}
	uint32_t used_before = (control->write_index + ring.bytes - ring.at) % ring.bytes;

	take(&ring, &header, sizeof(header));
	ret->type = header.type;
	ret->flags = header.flags;
	ret->transaction_id = header.transaction_id;
	ret->descriptor_bytes = header.offset8 * 8U - 16;
	ret->payload_bytes = (header.length8 - header.offset8) * 8U;
	assert_true(header.length8 >= header.offset8 && header.offset8 >= 2);
	assert_true(header.length8 * 8U + 8 <= used_before);
	assert_true(ret->descriptor_bytes <= sizeof(ret->descriptor));
	assert_true(ret->payload_bytes <= sizeof(ret->payload));
	take(&ring, ret->descriptor, ret->descriptor_bytes);
	take(&ring, ret->payload, ret->payload_bytes);
	take(&ring, &trailer, 8);
	atomic_store(&control->read_index, ring.at);
	/* The guest's side of flow control. */
	uint32_t pending = control->pending_send_bytes;
	uint32_t freed = header.length8 * 8U + 8;
	uint32_t room = ring.bytes - (used_before - freed);

	if (pending && room >= pending && room - freed <= pending) {
		fake_channel_doorbell(channel);
	}
	return true;
}

bool fake_channel_poll(struct fake_channel *channel, struct fake_packet *ret)
{
	loop_turn(channel->guest->loop);
	return take_packet(channel, ret);
}

struct receive {
	struct fake_channel *channel;
	struct fake_packet *packet;
};

static bool has_packet(void *arg)
{
	struct receive *r = arg;

	return take_packet(r->channel, r->packet);
}

void fake_channel_receive(struct fake_channel *channel, struct fake_packet *ret)
{
	struct receive r = { channel, ret };

	if (!fake_guest_wait(channel->guest, has_packet, &r)) {
		fail_msg("no packet came on channel %u", channel->offer.relid);
	}
}

void fake_channel_expect_completion(struct fake_channel *channel, uint64_t transaction_id,
				    struct fake_packet *ret)
{
	fake_channel_receive(channel, ret);
	assert_int_equal(ret->type, VMBUS_PACKET_COMPLETION);
	assert_int_equal(ret->transaction_id, transaction_id);
}

uint64_t fake_channel_interrupts(const struct fake_channel *channel)
{
	return fake_synic_flag_count(channel->guest->synic, channel->offer.relid);
}

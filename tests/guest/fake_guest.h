/* SPDX-License-Identifier: MIT */
/*
 * A fake guest: the guest's half of VMBus over plain memory, in one thread with the real bus and the
 * real VSPs, no KVM. Failing expectations end the test (cmocka's fail()), so tests read like a
 * conversation.
 *
 * One loop plays control loop and I/O loop. Every function that waits turns the loop until what it
 * waits for has come, for at most FAKE_WAIT_NS.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/guid.h"
#include "dev/synic.h"
#include "loop/loop.h"
#include "mem/mem.h"
#include "proto/vmbus_msg.h"
#include "proto/vmbus_ring.h"
#include "vmbus/bus.h"
#include "vmbus/device.h"

#define FAKE_WAIT_NS (5ULL * 1000 * 1000 * 1000)

struct fake_guest;
struct fake_channel;
struct fake_synic; /* guest/fake_synic.h */

/* A guest with so much RAM and so many VPs; no contact yet. */
struct fake_guest *fake_guest_create(uint64_t ram_bytes, uint32_t vps);
void fake_guest_destroy(struct fake_guest *guest); /* devices first: bus_revoke, as vm does */

struct vmbus_bus *fake_guest_bus(struct fake_guest *guest);
struct loop *fake_guest_loop(struct fake_guest *guest);
struct mem *fake_guest_mem(struct fake_guest *guest);
struct fake_synic *fake_guest_synic(struct fake_guest *guest);

/* Fills device->loop and offers the device on the bus. */
void fake_guest_offer(struct fake_guest *guest, struct vmbus_device *device);

/* Turns the loop until pred(arg) holds; whether it did in time. */
bool fake_guest_wait(struct fake_guest *guest, bool (*pred)(void *arg), void *arg);

/* Turns the loop until nothing happens any more. */
void fake_guest_settle(struct fake_guest *guest);

/* INITIATE_CONTACT with this version (must be accepted), then REQUEST_OFFERS until all have come. */
void fake_guest_connect(struct fake_guest *guest, uint32_t version);
void fake_guest_unload(struct fake_guest *guest);

/* The n-th offer (0 …) of this interface type, or NULL. */
const struct vmbus_msg_offer_channel *
fake_guest_find_offer(struct fake_guest *guest, const struct guid *type, unsigned int n);

/* Raw control messages, for hostile tests. post returns the HV_STATUS_*. */
uint16_t fake_guest_post(struct fake_guest *guest, uint32_t connection_id, const void *message,
			 uint32_t bytes);
/* Waits for the next control message of this type that no other call has taken; drops others. */
void fake_guest_expect(struct fake_guest *guest, uint32_t type, void *ret, size_t bytes);

/* Guest RAM, page-aligned, zeroed, never freed before the guest. */
gpa_t fake_guest_alloc(struct fake_guest *guest, uint64_t bytes);
/* As above, but with a hole after each page, so that nothing is adjacent; gfns of each page. */
void fake_guest_alloc_scattered(struct fake_guest *guest, size_t pages, uint64_t *ret_gfns);
void *fake_guest_hva(struct fake_guest *guest, gpa_t gpa, uint64_t bytes);

/* Creates a GPADL (one range) over pages of guest RAM; its id. Uses GPADL_BODY when needed. */
uint32_t fake_guest_gpadl(struct fake_guest *guest, uint32_t relid, gpa_t gpa, uint64_t bytes);
void fake_guest_gpadl_teardown(struct fake_guest *guest, uint32_t relid, uint32_t gpadl);

/* ---- channels ---- */

/* Opens the n-th offer of a type with two rings of ring_bytes each (control page included). */
struct fake_channel *fake_channel_open(struct fake_guest *guest, const struct guid *type,
				       unsigned int n, uint32_t ring_bytes);
/* The same, but the host is expected to refuse; its status. */
uint32_t fake_channel_open_refused(struct fake_guest *guest, const struct guid *type,
				   unsigned int n, uint32_t ring_bytes);
/* CLOSE_CHANNEL, then tears the ring's GPADL down (waits for TORNDOWN). Frees channel. */
void fake_channel_close(struct fake_channel *channel);
/* Only sends CLOSE_CHANNEL. */
void fake_channel_close_nowait(struct fake_channel *channel);

uint32_t fake_channel_relid(const struct fake_channel *channel);

/* The control pages, for hostile tests and flow control. [0] guest → host, [1] host → guest. */
struct vmbus_ring_control *fake_channel_ring(struct fake_channel *channel, unsigned int which);
uint8_t *fake_channel_ring_data(struct fake_channel *channel, unsigned int which,
				uint32_t *ret_bytes);

/* Writes a packet; false when the ring has no room. Rings the doorbell unless masked. */
bool fake_channel_try_send(struct fake_channel *channel, const struct vmbus_send *send);
/* The same; must fit. */
void fake_channel_send(struct fake_channel *channel, const struct vmbus_send *send);
/* In-band, completion requested. */
void fake_channel_send_inband(struct fake_channel *channel, uint64_t transaction_id,
			      const void *payload, uint32_t bytes);
/* GPA-direct with one range over [gpa, gpa + length), completion requested. */
void fake_channel_send_gpa(struct fake_channel *channel, uint64_t transaction_id, gpa_t gpa,
			   uint32_t length, const void *payload, uint32_t bytes);
/* GPA-direct with one range over scattered pages. */
void fake_channel_send_gfns(struct fake_channel *channel, uint64_t transaction_id,
			    const uint64_t *gfns, size_t count, uint32_t offset, uint32_t length,
			    const void *payload, uint32_t bytes);
void fake_channel_doorbell(struct fake_channel *channel);

#define FAKE_PACKET_BYTES_MAX 16384
struct fake_packet {
	uint16_t type;
	uint16_t flags;
	uint64_t transaction_id;
	uint8_t descriptor[4096];
	uint32_t descriptor_bytes;
	uint8_t payload[FAKE_PACKET_BYTES_MAX];
	uint32_t payload_bytes;
};

/* The next packet if there is one now (turns the loop once). */
bool fake_channel_poll(struct fake_channel *channel, struct fake_packet *ret);
/* Waits for it. */
void fake_channel_receive(struct fake_channel *channel, struct fake_packet *ret);
/* Waits for the completion of this transaction; any other packet fails the test. */
void fake_channel_expect_completion(struct fake_channel *channel, uint64_t transaction_id,
				    struct fake_packet *ret);
/* Interrupts that this channel's event flag has had. */
uint64_t fake_channel_interrupts(const struct fake_channel *channel);

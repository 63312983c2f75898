/* SPDX-License-Identifier: MIT */
/*
 * A driver of a 21140, which does what Linux's does (reset, rings, a setup frame, demands), and a wire whose
 * other end is the test: what was sent is kept, what it likes is delivered.
 */
#pragma once

#include <stdlib.h>

#include "base/bytes.h"
#include "base/num.h"
#include "chipset/tulip/tulip.h"
#include "net/net_impl.h"
#include "pci_rig.h"
#include "proto/tulip.h"

#define RIG_DEVFN     PCI_DEVFN(10, 0)
#define RIG_PORTS     0xc000U
#define RIG_MMIO      0xe0000000U
#define RIG_RX        0x10000U /* rings */
#define RIG_TX        0x20000U
#define RIG_SETUP     0x30000U
#define RIG_RX_BUFFER 0x100000U
#define RIG_TX_BUFFER 0x200000U
#define RIG_BUFFER    2048U
#define RIG_DESCS     8U
#define RIG_WIRE      256U

static const uint8_t rig_mac[NET_MAC_BYTES] = { 0x00, 0x15, 0x5d, 0x01, 0x02, 0x03 };
static const uint8_t rig_peer[NET_MAC_BYTES] = { 0x00, 0x15, 0x5d, 0x0a, 0x0b, 0x0c };
static const uint8_t rig_everybody[NET_MAC_BYTES] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

/* ---- the wire -------------------------------------------------------------------------------------- */

struct wire_frame {
	uint32_t bytes;
	uint8_t data[TULIP_FRAME_MAX + 64];
};

struct wire {
	struct net net;
	struct wire_frame sent[RIG_WIRE];
	unsigned int count, calls, ends, rooms;
	unsigned int takes;        /* frames until it is full */
	const void *first;         /* where the first piece of the last frame lay */
	void (*during)(void *ctx); /* in the middle of a call, as another thread */
	void *ctx;
};

static inline int wire_send(struct net *net, const struct net_frame *frame)
{
	struct wire *wire = container_of(net, struct wire, net);
	struct wire_frame *to;
	uint32_t at = 0;

	if (wire->takes == 0) {
		return -EAGAIN;
	}
	wire->takes--;
	assert_true(wire->count < RIG_WIRE);
	assert_true(frame->bytes <= sizeof(to->data));
	assert_int_equal(frame->flags, 0);
	to = &wire->sent[wire->count++];
	wire->first = frame->iov->iov_base;
	for (int i = 0; i < frame->iov_count; i++) {
		memcpy(to->data + at, frame->iov[i].iov_base, frame->iov[i].iov_len);
		at += (uint32_t)frame->iov[i].iov_len;
	}
	assert_int_equal(at, frame->bytes);
	to->bytes = at;
	return 0;
}

static inline int wire_send_many(struct net *net, struct net_frame *frames, unsigned int count,
				 unsigned int *ret_taken)
{
	struct wire *wire = container_of(net, struct wire, net);
	unsigned int i = 0;

	wire->calls++;
	if (wire->during) {
		wire->during(wire->ctx);
	}
	while (i < count && !wire_send(net, &frames[i])) {
		memset((struct iovec *)(uintptr_t)frames[i].iov - 1, 0x5a, sizeof(struct iovec));
		net_count_sent(net, &frames[i++]);
	}
	*ret_taken = i;
	return i < count ? -EAGAIN : 0;
}

static inline void wire_batch_end(struct net *net)
{
	container_of(net, struct wire, net)->ends++;
}

static inline void wire_room(struct net *net)
{
	container_of(net, struct wire, net)->rooms++;
}

static inline void wire_destroy(struct net *net)
{
}

static const struct net_ops wire_ops = {
	.kind = "wire",
	.send = wire_send,
	.send_many = wire_send_many,
	.batch_end = wire_batch_end,
	.room = wire_room,
	.destroy = wire_destroy,
};

static inline void wire_init(struct wire *wire, struct loop *loop)
{
	memset(wire, 0, sizeof(*wire));
	net_init(&wire->net, &wire_ops, loop);
	wire->takes = UINT32_MAX;
	if (!wire->net.link_up) {
		net_link_set(&wire->net, true);
	}
}

/* ---- the machine ----------------------------------------------------------------------------------- */

struct tulip_rig {
	struct pci_rig p;
	struct wire wire;
	struct tulip *tulip;
	unsigned int tx, rx; /* the driver's next descriptors */
};

static inline void csr_out(struct tulip_rig *r, unsigned int n, uint32_t value)
{
	rig_out32(&r->p.rig, (uint16_t)(RIG_PORTS + TULIP_CSR(n)), value);
}

static inline uint32_t csr_in(struct tulip_rig *r, unsigned int n)
{
	return rig_in32(&r->p.rig, (uint16_t)(RIG_PORTS + TULIP_CSR(n)));
}

static inline unsigned int rig_rs(struct tulip_rig *r)
{
	return csr_in(r, 5) >> TULIP_CSR5_RS_SHIFT & TULIP_CSR5_STATE_MASK;
}

static inline unsigned int rig_ts(struct tulip_rig *r)
{
	return csr_in(r, 5) >> TULIP_CSR5_TS_SHIFT & TULIP_CSR5_STATE_MASK;
}

/* The level of its pin: device 10's INTA. */
static inline bool rig_irq(struct tulip_rig *r)
{
	return r->p.wires[10 % PCI_WIRES];
}

static inline void rig_settle(struct tulip_rig *r)
{
	for (unsigned int i = 0; i < 100 && loop_turn(r->p.rig.loop); i++) {}
}

static inline void rig_map(struct tulip_rig *r)
{
	pci_rig_write(&r->p, RIG_DEVFN, PCI_BAR_0, RIG_PORTS);
	pci_rig_write(&r->p, RIG_DEVFN, PCI_BAR_0 + 4, RIG_MMIO);
	pci_rig_write16(&r->p, RIG_DEVFN, PCI_COMMAND,
			PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static inline struct tulip_config rig_config(struct tulip_rig *r)
{
	struct tulip_config config = {
		.chipset = r->p.rig.chipset,
		.bus = r->p.bus,
		.devfn = RIG_DEVFN,
		.mem = r->p.mem,
		.loop = r->p.rig.loop,
		.net = &r->wire.net,
	};

	memcpy(config.mac, rig_mac, sizeof(rig_mac));
	return config;
}

/* A card that the firmware has given its addresses. */
static inline struct tulip_rig *rig_new(void)
{
	struct tulip_rig *r = calloc(1, sizeof(*r));
	struct tulip_config config;

	assert_non_null(r);
	pci_rig_init(&r->p);
	wire_init(&r->wire, r->p.rig.loop);
	config = rig_config(r);
	assert_int_equal(tulip_create(&config, &r->tulip), 0);
	rig_map(r);
	rig_settle(r);
	return r;
}

static inline void rig_free(struct tulip_rig *r)
{
	tulip_destroy(r->tulip);
	rig_settle(r);
	pci_rig_fini(&r->p);
	free(r);
}

/* Until the net may go on with a frame that it keeps: on a busy host that takes its time. */
static inline void rig_wait_room(struct tulip_rig *r, unsigned int rooms)
{
	for (unsigned int i = 0; i < 5000 && r->wire.rooms < rooms; i++) {
		rig_turn(&r->p.rig, 1);
	}
	assert_int_equal(r->wire.rooms, rooms);
}

static inline void rig_wait_irq(struct tulip_rig *r)
{
	for (unsigned int i = 0; i < 5000 && !rig_irq(r); i++) {
		rig_turn(&r->p.rig, 1);
	}
	assert_true(rig_irq(r));
}

static inline void rig_wait_sent(struct tulip_rig *r, unsigned int count)
{
	for (unsigned int i = 0; i < 5000 && r->wire.count < count; i++) {
		rig_turn(&r->p.rig, 1);
	}
	assert_int_equal(r->wire.count, count);
}

/* ---- memory ---------------------------------------------------------------------------------------- */

static inline void put32(struct tulip_rig *r, uint64_t gpa, uint32_t value)
{
	uint8_t bytes[4];

	bytes_put_le32(bytes, value);
	assert_int_equal(mem_write(r->p.mem, gpa, bytes, 4), 0);
}

static inline uint32_t get32(struct tulip_rig *r, uint64_t gpa)
{
	uint8_t bytes[4];

	assert_int_equal(mem_read(r->p.mem, gpa, bytes, 4), 0);
	return bytes_le32(bytes);
}

static inline void put_desc(struct tulip_rig *r, uint32_t gpa, uint32_t status, uint32_t control,
			    uint32_t buffer_1, uint32_t buffer_2)
{
	put32(r, gpa + 4, control);
	put32(r, gpa + 8, buffer_1);
	put32(r, gpa + 12, buffer_2);
	put32(r, gpa, status);
}

static inline uint32_t rx_desc(unsigned int i)
{
	return RIG_RX + i * TULIP_DESC_BYTES;
}

static inline uint32_t tx_desc(unsigned int i)
{
	return RIG_TX + i * TULIP_DESC_BYTES;
}

static inline void rig_rings(struct tulip_rig *r)
{
	for (unsigned int i = 0; i < RIG_DESCS; i++) {
		uint32_t end = i == RIG_DESCS - 1 ? TULIP_DESC_END_OF_RING : 0;

		put_desc(r, rx_desc(i), TULIP_DESC_OWN, 1540 | end, RIG_RX_BUFFER + i * RIG_BUFFER,
			 0);
		put_desc(r, tx_desc(i), 0, end, 0, 0);
	}
	r->tx = r->rx = 0;
}

/* ---- frames ---------------------------------------------------------------------------------------- */

static inline void make_frame(uint8_t *frame, const uint8_t *to, const uint8_t *from,
			      uint32_t bytes, uint8_t seed)
{
	memcpy(frame, to, NET_MAC_BYTES);
	memcpy(frame + NET_MAC_BYTES, from, NET_MAC_BYTES);
	bytes_put_be16(frame + 12, 0x0800);
	for (uint32_t i = NET_HEADER_BYTES; i < bytes; i++) {
		frame[i] = (uint8_t)(seed + i * 7);
	}
}

/* From the wire to the card. */
static inline int rig_deliver(struct tulip_rig *r, const uint8_t *to, uint32_t bytes, uint8_t seed)
{
	uint8_t data[4096];
	/* In three pieces, one of them empty. */
	struct iovec iov[] = { { data, 7 }, { data + 7, 0 }, { data + 7, bytes - 7 } };
	struct net_frame frame = { .iov = iov, .iov_count = 3, .bytes = bytes };
	int err;

	make_frame(data, to, rig_peer, bytes, seed);
	err = net_deliver(&r->wire.net, &frame);
	net_deliver_end(&r->wire.net);
	return err;
}

/* A descriptor of the driver's with a frame in its first buffer; no demand. */
static inline unsigned int rig_queue(struct tulip_rig *r, uint32_t bytes, uint32_t flags,
				     uint8_t seed)
{
	unsigned int i = r->tx++ % RIG_DESCS;
	uint32_t gpa = RIG_TX_BUFFER + i * RIG_BUFFER;
	uint8_t frame[RIG_BUFFER];

	make_frame(frame, rig_peer, rig_mac, bytes, seed);
	assert_int_equal(mem_write(r->p.mem, gpa, frame, bytes), 0);
	put_desc(r, tx_desc(i), TULIP_DESC_OWN,
		 bytes | flags | (i == RIG_DESCS - 1 ? TULIP_DESC_END_OF_RING : 0), gpa, 0);
	return i;
}

#define RIG_WHOLE (TULIP_TDES1_FS | TULIP_TDES1_LS)

static inline unsigned int rig_send(struct tulip_rig *r, uint32_t bytes, uint32_t flags,
				    uint8_t seed)
{
	unsigned int i = rig_queue(r, bytes, flags | RIG_WHOLE, seed);

	csr_out(r, 1, 0);
	rig_settle(r);
	return i;
}

static inline void assert_sent(struct tulip_rig *r, unsigned int i, uint32_t bytes, uint8_t seed)
{
	uint8_t frame[RIG_BUFFER];

	assert_true(i < r->wire.count);
	make_frame(frame, rig_peer, rig_mac, bytes, seed);
	assert_memory_equal(r->wire.sent[i].data, frame, bytes);
}

/* ---- filters and going up -------------------------------------------------------------------------- */

static inline void setup_address(uint8_t *setup, unsigned int i, const uint8_t *address)
{
	uint8_t *at = setup + i * TULIP_SETUP_ADDRESS_BYTES;

	for (unsigned int word = 0; word < 3; word++) {
		memcpy(at + 4 * word, address + 2 * word, 2);
		memcpy(at + 4 * word + 2, address + 2 * word, 2);
	}
}

static inline void rig_setup(struct tulip_rig *r, const uint8_t *setup, uint32_t flags)
{
	unsigned int i = r->tx++ % RIG_DESCS;

	assert_int_equal(mem_write(r->p.mem, RIG_SETUP, setup, TULIP_SETUP_BYTES), 0);
	put_desc(r, tx_desc(i), TULIP_DESC_OWN,
		 TULIP_TDES1_SET | flags | TULIP_SETUP_BYTES |
			 (i == RIG_DESCS - 1 ? TULIP_DESC_END_OF_RING : 0),
		 RIG_SETUP, 0);
	csr_out(r, 1, 0);
	rig_settle(r);
	assert_int_equal(get32(r, tx_desc(i)), TULIP_TDES0_SETUP_DONE);
}

#define RIG_INTERRUPTS 0x0001ebefU
#define RIG_MODE       0x020e0200U /* MII, full duplex */

/* Up to here the driver is Linux's tulip_up(). */
static inline void rig_up_with(struct tulip_rig *r, uint32_t csr0)
{
	uint8_t setup[TULIP_SETUP_BYTES];

	csr_out(r, 6, 0x00040000);
	csr_out(r, 0, TULIP_CSR0_SWR);
	csr_out(r, 0, csr0);
	csr_out(r, 3, RIG_RX);
	csr_out(r, 4, RIG_TX);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST);
	memset(setup, 0xff, sizeof(setup));
	setup_address(setup, 15, rig_mac);
	rig_setup(r, setup, 0);
	csr_out(r, 5, RIG_INTERRUPTS);
	csr_out(r, 7, RIG_INTERRUPTS);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST | TULIP_CSR6_SR);
	csr_out(r, 2, 0);
	rig_settle(r);
}

static inline struct tulip_rig *rig_up(void)
{
	struct tulip_rig *r = rig_new();

	rig_rings(r);
	rig_up_with(r, 0x01a08000);
	return r;
}

/* What lies in the driver's next receive descriptor is this frame, and it gives the descriptor back. */
static inline void assert_received(struct tulip_rig *r, const uint8_t *to, uint32_t bytes,
				   uint8_t seed)
{
	unsigned int i = r->rx++ % RIG_DESCS;
	uint32_t status = get32(r, rx_desc(i)), padded = bytes < 60 ? 60 : bytes;
	uint8_t frame[RIG_BUFFER] = { 0 }, got[RIG_BUFFER];

	make_frame(frame, to, rig_peer, bytes, seed);
	assert_int_equal(
		status & (TULIP_DESC_OWN | TULIP_RDES0_ES | TULIP_RDES0_FS | TULIP_RDES0_LS),
		TULIP_RDES0_FS | TULIP_RDES0_LS);
	assert_int_equal(status >> 16 & TULIP_RDES0_LENGTH_MASK, padded + 4);
	assert_int_equal(mem_read(r->p.mem, RIG_RX_BUFFER + i * RIG_BUFFER, got, padded), 0);
	assert_memory_equal(got, frame, padded);
	put32(r, rx_desc(i), TULIP_DESC_OWN);
}

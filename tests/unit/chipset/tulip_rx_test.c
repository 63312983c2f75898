/* SPDX-License-Identifier: MIT */
/* Frames to the guest: filters, buffers, status, and what happens where there is no room. */
#include "net/sum.h"
#include "tulip_rig.h"

static const uint8_t group[NET_MAC_BYTES] = { 0x01, 0x00, 0x5e, 0x01, 0x02, 0x03 };
static const uint8_t other_group[NET_MAC_BYTES] = { 0x33, 0x33, 0x00, 0x00, 0x00, 0x01 };

/* The check sequence, the slow way. */
static uint32_t slow_crc(const uint8_t *bytes, size_t count)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < count * 8; i++) {
		bool carry = ((crc & 1) != 0) != ((bytes[i / 8] >> i % 8 & 1) != 0);

		crc = crc >> 1 ^ (carry ? 0xedb88320U : 0);
	}
	return crc;
}

static uint32_t status_of(struct tulip_rig *r, unsigned int i)
{
	return get32(r, rx_desc(i % RIG_DESCS));
}

static void a_frame_comes_with_status_length_and_check_sequence(void **state)
{
	struct tulip_rig *r = rig_up();
	uint8_t got[504];

	csr_out(r, 5, 0x1ffff);
	assert_int_equal(rig_rs(r), TULIP_RS_WAIT);
	assert_int_equal(rig_deliver(r, rig_mac, 500, 3), 0);
	assert_int_equal(status_of(r, 0),
			 504U << 16 | TULIP_RDES0_FS | TULIP_RDES0_LS | TULIP_RDES0_FT);
	assert_int_equal(mem_read(r->p.mem, RIG_RX_BUFFER, got, 504), 0);
	assert_int_equal(bytes_le32(got + 500), ~slow_crc(got, 500));
	assert_int_equal(csr_in(r, 5) & 0x1ffff, TULIP_CSR5_NIS | TULIP_CSR5_RI);
	assert_true(rig_irq(r));
	assert_received(r, rig_mac, 500, 3);
	csr_out(r, 5, TULIP_CSR5_RI);
	assert_false(rig_irq(r));
	for (unsigned int i = 0; i < 3 * RIG_DESCS; i++) {
		assert_int_equal(rig_deliver(r, rig_mac, 60 + 59 * i, (uint8_t)i), 0);
		assert_received(r, rig_mac, 60 + 59 * i, (uint8_t)i);
	}
	rig_free(r);
}

static void interrupts_wait_for_the_end_of_a_batch(void **state)
{
	struct tulip_rig *r = rig_up();
	uint8_t data[100];
	struct iovec iov = { data, sizeof(data) };
	struct net_frame frame = { .iov = &iov, .iov_count = 1, .bytes = sizeof(data) };
	unsigned int edges;

	csr_out(r, 5, 0x1ffff);
	edges = r->p.edges[2];
	make_frame(data, rig_mac, rig_peer, sizeof(data), 1);
	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(net_deliver(&r->wire.net, &frame), 0);
		assert_false(rig_irq(r));
	}
	net_deliver_end(&r->wire.net);
	assert_true(rig_irq(r));
	assert_int_equal(r->p.edges[2], edges + 1);
	rig_free(r);
}

static void short_frames_are_padded_as_on_a_wire(void **state)
{
	struct tulip_rig *r = rig_up();
	uint8_t got[64];

	assert_int_equal(rig_deliver(r, rig_mac, 42, 3), 0);
	assert_int_equal(mem_read(r->p.mem, RIG_RX_BUFFER, got, 64), 0);
	assert_int_equal(bytes_le32(got + 60), ~slow_crc(got, 60));
	assert_received(r, rig_mac, 42, 3);
	rig_free(r);
}

static void what_is_longer_than_a_wires_frame_is_lost(void **state)
{
	struct tulip_rig *r = rig_up();

	assert_int_equal(rig_deliver(r, rig_mac, TULIP_FRAME_MAX, 3), 0);
	assert_int_equal(status_of(r, 0) & (TULIP_RDES0_TL | TULIP_RDES0_ES | TULIP_RDES0_LS),
			 TULIP_RDES0_TL | TULIP_RDES0_ES | TULIP_RDES0_LS);
	assert_int_equal(status_of(r, 0) >> 16, TULIP_FRAME_MAX + 4);
	assert_int_equal(rig_deliver(r, rig_mac, 1514, 3), 0);
	assert_int_equal(status_of(r, 1) & (TULIP_RDES0_TL | TULIP_RDES0_ES), 0);
	assert_int_equal(rig_deliver(r, rig_mac, TULIP_FRAME_MAX + 1, 3), 0);
	assert_int_equal(status_of(r, 2), TULIP_DESC_OWN);
	rig_free(r);
}

static void a_tag_that_is_beside_the_frame_is_put_into_it(void **state)
{
	struct tulip_rig *r = rig_up();
	uint8_t data[100], got[104];
	struct iovec iov[] = { { data, 5 }, { data + 5, 95 } };
	struct net_frame frame = { .iov = iov,
				   .iov_count = 2,
				   .bytes = 100,
				   .flags = NET_FRAME_VLAN,
				   .vlan_tci = 0x6123 };

	make_frame(data, rig_mac, rig_peer, sizeof(data), 1);
	assert_int_equal(net_deliver(&r->wire.net, &frame), 0);
	assert_int_equal(status_of(r, 0) >> 16, 108);
	assert_int_equal(mem_read(r->p.mem, RIG_RX_BUFFER, got, 104), 0);
	assert_memory_equal(got, data, 12);
	assert_int_equal(bytes_be32(got + 12), 0x81006123);
	assert_memory_equal(got + 16, data + 12, 88);
	rig_free(r);
}

/* This card makes no checksums: they are made where the frame is copied. */
static void a_partial_checksum_is_finished(void **state)
{
	struct tulip_rig *r = rig_up();
	uint8_t data[100], got[100];
	struct iovec iov[] = { { data, 54 }, { data + 54, 46 } };
	struct net_frame frame = { .iov = iov,
				   .iov_count = 2,
				   .bytes = 100,
				   .l4 = NET_L4_UDP,
				   .flags = NET_FRAME_L4_PARTIAL,
				   .l4_offset = 34,
				   .l4_end = 99 };

	make_frame(data, rig_mac, rig_peer, sizeof(data), 1);
	bytes_put_le16(data + 40, 0x1234); /* of the pseudo header */
	assert_int_equal(net_deliver(&r->wire.net, &frame), 0);
	assert_int_equal(mem_read(r->p.mem, RIG_RX_BUFFER, got, 100), 0);
	assert_int_equal(bytes_le16(got + 40), net_sum_fold_l4(net_sum(data + 34, 65), true));
	memcpy(got + 40, data + 40, 2);
	assert_memory_equal(got, data, 100);
	rig_free(r);
}

/* ---- filters ---------------------------------------------------------------------------------------- */

/* Whether a frame to this address came; the ring is as before. */
static bool comes(struct tulip_rig *r, const uint8_t *to)
{
	unsigned int i = r->rx % RIG_DESCS;

	assert_int_equal(rig_deliver(r, to, 100, 1), 0);
	if (get32(r, rx_desc(i)) & TULIP_DESC_OWN) {
		return false;
	}
	assert_int_equal((get32(r, rx_desc(i)) & TULIP_RDES0_MF) != 0, to[0] & 1);
	put32(r, rx_desc(i), TULIP_DESC_OWN);
	r->rx++;
	return true;
}

#define RUNS (RIG_MODE | TULIP_CSR6_ST | TULIP_CSR6_SR)

static void the_perfect_filter_knows_sixteen_addresses(void **state)
{
	struct tulip_rig *r = rig_up();
	uint8_t setup[TULIP_SETUP_BYTES] = { 0 }, address[NET_MAC_BYTES];

	assert_true(comes(r, rig_mac));
	assert_true(comes(r, rig_everybody)); /* since the driver named it */
	assert_false(comes(r, rig_peer));
	assert_false(comes(r, group));
	for (unsigned int i = 0; i < TULIP_SETUP_ADDRESSES; i++) {
		memcpy(address, group, sizeof(address));
		address[5] = (uint8_t)(i + 1);
		setup_address(setup, i, address);
	}
	rig_setup(r, setup, 0);
	for (unsigned int i = 0; i <= TULIP_SETUP_ADDRESSES + 1; i++) {
		address[5] = (uint8_t)i;
		assert_int_equal(comes(r, address), i >= 1 && i <= TULIP_SETUP_ADDRESSES);
	}
	assert_false(comes(r, rig_mac));
	assert_false(comes(r, rig_everybody));
	assert_int_equal(csr_in(r, 6) & TULIP_CSR6_FILTER, 0);
	rig_free(r);
}

static void the_inverse_filter_takes_all_but_those(void **state)
{
	struct tulip_rig *r = rig_up();
	uint8_t setup[TULIP_SETUP_BYTES] = { 0 };

	setup_address(setup, 0, rig_peer);
	rig_setup(r, setup, TULIP_TDES1_FT1);
	assert_int_equal(csr_in(r, 6) & TULIP_CSR6_FILTER, TULIP_CSR6_IF);
	assert_false(comes(r, rig_peer));
	assert_true(comes(r, rig_mac));
	assert_true(comes(r, group));
	/* The mode's filter bits cannot be written. */
	csr_out(r, 6, RUNS | TULIP_CSR6_HO);
	assert_int_equal(csr_in(r, 6) & TULIP_CSR6_FILTER, TULIP_CSR6_IF);
	rig_free(r);
}

static void set_hash(uint8_t *setup, const uint8_t *address)
{
	uint32_t bit = slow_crc(address, NET_MAC_BYTES) & 0x1ff;

	setup[bit / 16 * 4 + bit % 16 / 8] |= (uint8_t)(1U << bit % 8);
}

static void the_hash_filter_is_for_groups_and_one_address(void **state)
{
	struct tulip_rig *r = rig_up();
	uint8_t setup[TULIP_SETUP_BYTES] = { 0 };

	assert_int_equal(slow_crc(rig_everybody, 6) & 0x1ff, 255); /* as Linux has it */
	set_hash(setup, group);
	set_hash(setup, rig_everybody);
	set_hash(setup, rig_peer);
	setup_address(setup, 13, rig_mac);
	rig_setup(r, setup, TULIP_TDES1_FT0);
	assert_int_equal(csr_in(r, 6) & TULIP_CSR6_FILTER, TULIP_CSR6_HP);
	assert_true(comes(r, group));
	assert_true(comes(r, rig_everybody));
	assert_false(comes(r, other_group));
	assert_true(comes(r, rig_mac));
	assert_false(comes(r, rig_peer)); /* no group: the hash is not looked at */
	rig_setup(r, setup, TULIP_TDES1_FT0 | TULIP_TDES1_FT1);
	assert_int_equal(csr_in(r, 6) & TULIP_CSR6_FILTER, TULIP_CSR6_HP | TULIP_CSR6_HO);
	assert_true(comes(r, rig_peer));
	assert_true(comes(r, group));
	assert_false(comes(r, rig_mac));
	rig_free(r);
}

static void promiscuous_and_all_groups_take_more(void **state)
{
	struct tulip_rig *r = rig_up();

	csr_out(r, 6, RUNS | TULIP_CSR6_PM);
	assert_true(comes(r, group));
	assert_false(comes(r, rig_peer));
	csr_out(r, 6, RUNS | TULIP_CSR6_PR);
	assert_int_equal(rig_deliver(r, rig_peer, 100, 1), 0);
	assert_int_equal(status_of(r, r->rx) & TULIP_RDES0_FF,
			 TULIP_RDES0_FF); /* the filter says no */
	put32(r, rx_desc(r->rx++ % RIG_DESCS), TULIP_DESC_OWN);
	assert_true(comes(r, rig_mac));
	csr_out(r, 6, RUNS | TULIP_CSR6_RA);
	assert_int_equal(rig_deliver(r, rig_peer, 100, 1), 0);
	assert_int_equal(status_of(r, r->rx) & TULIP_RDES0_FF, TULIP_RDES0_FF);
	rig_free(r);
}

/* ---- buffers ---------------------------------------------------------------------------------------- */

static void a_frame_fills_both_buffers_of_as_many_descriptors_as_it_needs(void **state)
{
	struct tulip_rig *r = rig_new();
	uint8_t frame[604], got[604];
	uint32_t at = RIG_RX_BUFFER;

	/* 200 in two buffers; none; 300 in the second alone; the rest. */
	put_desc(r, rx_desc(0), TULIP_DESC_OWN, 120 | 80U << 11, at, at + 120);
	put_desc(r, rx_desc(1), TULIP_DESC_OWN, 0, 0xdeadbeef, 0xdeadbeef);
	put_desc(r, rx_desc(2), TULIP_DESC_OWN, 300U << 11, 0xdeadbeef, at + 200);
	put_desc(r, rx_desc(3), TULIP_DESC_OWN, 400, at + 500, 0);
	put_desc(r, rx_desc(4), TULIP_DESC_OWN, 400, at + 1000, 0);
	csr_out(r, 3, RIG_RX);
	csr_out(r, 6, RUNS | TULIP_CSR6_PR);
	rig_settle(r);
	assert_int_equal(rig_deliver(r, rig_mac, 600, 5), 0);
	assert_int_equal(status_of(r, 0), TULIP_RDES0_FS);
	assert_int_equal(status_of(r, 1), 0);
	assert_int_equal(status_of(r, 2), 0);
	assert_int_equal(status_of(r, 3) & ~TULIP_RDES0_FF,
			 604U << 16 | TULIP_RDES0_LS | TULIP_RDES0_FT);
	assert_int_equal(status_of(r, 4), TULIP_DESC_OWN);
	make_frame(frame, rig_mac, rig_peer, 600, 5);
	assert_int_equal(mem_read(r->p.mem, at, got, 604), 0);
	assert_memory_equal(got, frame, 600);
	assert_int_equal(bytes_le32(got + 600), ~slow_crc(frame, 600));
	rig_free(r);
}

static void receive_descriptors_may_be_chained(void **state)
{
	struct tulip_rig *r = rig_new();

	put_desc(r, 0x41000, TULIP_DESC_OWN, TULIP_DESC_CHAINED | 1540, RIG_RX_BUFFER, 0x45000);
	put_desc(r, 0x45000, TULIP_DESC_OWN, TULIP_DESC_CHAINED | 1540, RIG_RX_BUFFER + 2048,
		 0x41000);
	csr_out(r, 3, 0x41000);
	csr_out(r, 6, RUNS | TULIP_CSR6_PR);
	rig_settle(r);
	for (unsigned int i = 0; i < 4; i++) {
		uint32_t gpa = i & 1 ? 0x45000 : 0x41000;

		assert_int_equal(rig_deliver(r, rig_mac, 100, 1), 0);
		assert_int_equal(get32(r, gpa) >> 16 & TULIP_RDES0_LENGTH_MASK, 104);
		put32(r, gpa, TULIP_DESC_OWN);
	}
	rig_free(r);
}

static void a_frame_that_outgrows_the_buffers_is_cut(void **state)
{
	struct tulip_rig *r = rig_new();

	put_desc(r, rx_desc(0), TULIP_DESC_OWN, 200, RIG_RX_BUFFER, 0);
	put_desc(r, rx_desc(1), TULIP_DESC_OWN, 200, RIG_RX_BUFFER + 200, 0);
	put_desc(r, rx_desc(2), 0, 200, RIG_RX_BUFFER + 400, 0);
	csr_out(r, 3, RIG_RX);
	csr_out(r, 6, RUNS | TULIP_CSR6_PR);
	rig_settle(r);
	assert_int_equal(rig_deliver(r, rig_mac, 600, 5), 0);
	assert_int_equal(status_of(r, 0), TULIP_RDES0_FS);
	assert_int_equal(status_of(r, 1) & (TULIP_RDES0_DE | TULIP_RDES0_ES | TULIP_RDES0_LS |
					    TULIP_RDES0_FS | TULIP_DESC_OWN),
			 TULIP_RDES0_DE | TULIP_RDES0_ES | TULIP_RDES0_LS);
	assert_int_equal(status_of(r, 1) >> 16 & TULIP_RDES0_LENGTH_MASK, 400);
	assert_int_equal(rig_rs(r), TULIP_RS_SUSPENDED);
	assert_int_equal(csr_in(r, 5) & TULIP_CSR5_RU, TULIP_CSR5_RU);
	rig_free(r);
}

/* RX_FRAME_DESCS without a byte of room: the frame is given up. */
static void a_chain_of_nothing_ends(void **state)
{
	struct tulip_rig *r = rig_new();

	for (uint32_t i = 0; i < 4096; i++) {
		put_desc(r, 0x400000 + i * 16, TULIP_DESC_OWN, 0, 0, 0);
	}
	csr_out(r, 3, 0x400000);
	csr_out(r, 6, RUNS | TULIP_CSR6_PR);
	rig_settle(r);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 5), 0);
	assert_int_equal(get32(r, 0x400000), TULIP_RDES0_FS);
	assert_int_equal(get32(r, 0x400000 + 511 * 16) & (TULIP_RDES0_DE | TULIP_RDES0_LS),
			 TULIP_RDES0_DE | TULIP_RDES0_LS);
	assert_int_equal(get32(r, 0x400000 + 512 * 16), TULIP_DESC_OWN);
	rig_free(r);
}

static void bad_receive_addresses_are_bus_errors(void **state)
{
	struct tulip_rig *r = rig_up();

	put32(r, rx_desc(0) + 8, 0xbadf00d0);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 5), 0);
	assert_int_equal(csr_in(r, 5) & TULIP_CSR5_FBE, TULIP_CSR5_FBE);
	assert_int_equal(rig_rs(r), TULIP_RS_STOPPED);
	assert_int_equal(rig_ts(r), TULIP_TS_STOPPED);
	assert_true(rig_irq(r));
	assert_int_equal(rig_deliver(r, rig_mac, 100, 5), 0); /* lost */
	rig_rings(r);
	rig_up_with(r, 0);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 5), 0);
	assert_received(r, rig_mac, 100, 5);
	csr_out(r, 6, RIG_MODE);
	csr_out(r, 3, 0xfffffff0);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_SR);
	assert_int_equal(csr_in(r, 5) & TULIP_CSR5_FBE, TULIP_CSR5_FBE);
	rig_free(r);
}

static void received_frames_may_be_big_endian(void **state)
{
	struct tulip_rig *r = rig_new();
	uint8_t frame[101], got[108];

	put_desc(r, rx_desc(0), __builtin_bswap32(TULIP_DESC_OWN), __builtin_bswap32(1540),
		 __builtin_bswap32(RIG_RX_BUFFER), 0);
	put_desc(r, rx_desc(1), 0, 0, 0, 0);
	csr_out(r, 0, TULIP_CSR0_BLE | TULIP_CSR0_DBO);
	csr_out(r, 3, RIG_RX);
	csr_out(r, 6, RUNS | TULIP_CSR6_PR);
	rig_settle(r);
	assert_int_equal(rig_deliver(r, rig_mac, 101, 5), 0);
	assert_int_equal(__builtin_bswap32(status_of(r, 0)) >> 16 & TULIP_RDES0_LENGTH_MASK, 105);
	assert_int_equal(mem_read(r->p.mem, RIG_RX_BUFFER, got, 108), 0);
	make_frame(frame, rig_mac, rig_peer, 101, 5);
	for (unsigned int i = 0; i < 101; i++) {
		assert_int_equal(got[i ^ 3], frame[i]);
	}
	rig_free(r);
}

/* ---- no room ---------------------------------------------------------------------------------------- */

static void fill_ring(struct tulip_rig *r)
{
	for (unsigned int i = 0; i < RIG_DESCS; i++) {
		assert_int_equal(rig_deliver(r, rig_mac, 100, (uint8_t)i), 0);
	}
}

static void the_last_buffer_suspends_the_receiver(void **state)
{
	struct tulip_rig *r = rig_up();

	for (unsigned int i = 0; i < RIG_DESCS - 1; i++) {
		assert_int_equal(rig_deliver(r, rig_mac, 100, (uint8_t)i), 0);
	}
	csr_out(r, 5, 0x1ffff);
	assert_int_equal(rig_rs(r), TULIP_RS_WAIT);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 7), 0);
	assert_int_equal(rig_rs(r), TULIP_RS_SUSPENDED);
	assert_int_equal(csr_in(r, 5) & 0x1ffff,
			 TULIP_CSR5_NIS | TULIP_CSR5_AIS | TULIP_CSR5_RI | TULIP_CSR5_RU);
	csr_out(r, 5, 0x1ffff);
	/* It says so once (3.2.2.5). */
	assert_int_equal(rig_deliver(r, rig_mac, 100, 7), -EAGAIN);
	assert_int_equal(csr_in(r, 5) & 0x1ffff, 0);
	/* A demand, and a frame. */
	for (unsigned int i = 0; i < RIG_DESCS; i++) {
		assert_received(r, rig_mac, 100, (uint8_t)i);
	}
	assert_int_equal(rig_rs(r), TULIP_RS_SUSPENDED);
	csr_out(r, 2, 0);
	assert_int_equal(rig_rs(r), TULIP_RS_WAIT);
	rig_settle(r);
	assert_int_equal(r->wire.rooms, 1);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), 0);
	assert_received(r, rig_mac, 100, 9);
	rig_free(r);
}

/* Linux gives buffers back without a word. */
static void a_frame_that_waits_is_asked_for_when_there_is_a_buffer(void **state)
{
	struct tulip_rig *r = rig_up();

	fill_ring(r);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), -EAGAIN);
	assert_received(r, rig_mac, 100, 0);
	rig_wait_room(r, 1);
	assert_int_equal(rig_rs(r), TULIP_RS_WAIT);
	assert_int_equal(csr_in(r, 8) & 0x1ffff, 0);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), 0);
	rig_free(r);
}

static void frames_that_wait_for_too_long_are_missed(void **state)
{
	struct tulip_rig *r = rig_up();

	fill_ring(r);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), -EAGAIN);
	rig_wait_room(r, 1);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(rig_deliver(r, rig_mac, 100, 9), 0);
	}
	assert_int_equal(rig_deliver(r, rig_peer, 100, 9), 0); /* not for us: not missed */
	assert_int_equal(csr_in(r, 8), TULIP_CSR8_ONES | 3);
	assert_int_equal(csr_in(r, 8), TULIP_CSR8_ONES); /* cleared when read */
	/* With a buffer all is as before. */
	assert_received(r, rig_mac, 100, 0);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), 0);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), -EAGAIN);
	rig_free(r);
}

static void the_counter_of_missed_frames_says_when_it_is_too_small(void **state)
{
	struct tulip_rig *r = rig_up();

	fill_ring(r);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), -EAGAIN);
	rig_wait_room(r, 1);
	for (unsigned int i = 0; i < 0x10002; i++) {
		assert_int_equal(rig_deliver(r, rig_mac, 100, 9), 0);
	}
	assert_int_equal(csr_in(r, 8), TULIP_CSR8_ONES | TULIP_CSR8_MFO | 2);
	rig_free(r);
}

static void a_stopped_receiver_takes_nothing_and_keeps_nobody_waiting(void **state)
{
	struct tulip_rig *r = rig_up();

	fill_ring(r);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), -EAGAIN);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST);
	rig_settle(r);
	assert_int_equal(r->wire.rooms, 1);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), 0);
	assert_int_equal(csr_in(r, 8), TULIP_CSR8_ONES);
	/* Started again it goes on in its ring: there is no buffer yet. */
	csr_out(r, 5, 0x1ffff);
	csr_out(r, 6, RUNS);
	assert_int_equal(rig_rs(r), TULIP_RS_SUSPENDED);
	assert_int_equal(csr_in(r, 5) & TULIP_CSR5_RU, TULIP_CSR5_RU);
	assert_received(r, rig_mac, 100, 0);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 1), 0);
	rig_free(r);
}

static void loopback_keeps_nobody_waiting(void **state)
{
	struct tulip_rig *r = rig_up();

	fill_ring(r);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), -EAGAIN);
	csr_out(r, 6, RUNS | TULIP_OM_INTERNAL << TULIP_CSR6_OM_SHIFT);
	rig_settle(r);
	assert_int_equal(r->wire.rooms, 1);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), 0);
	assert_int_equal(csr_in(r, 8), TULIP_CSR8_ONES); /* lost on the wire, not missed */
	rig_free(r);
}

static void frames_wait_while_it_may_not_be_master(void **state)
{
	struct tulip_rig *r = rig_up();

	pci_rig_write16(&r->p, RIG_DEVFN, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), -EAGAIN);
	rig_map(r);
	rig_settle(r);
	assert_int_equal(r->wire.rooms, 1);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), 0);
	assert_received(r, rig_mac, 100, 9);
	rig_free(r);
}

static void masked_events_interrupt_nobody(void **state)
{
	struct tulip_rig *r = rig_up();

	csr_out(r, 7, RIG_INTERRUPTS & ~TULIP_CSR5_RI);
	csr_out(r, 5, 0x1ffff);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), 0);
	assert_false(rig_irq(r));
	assert_int_equal(csr_in(r, 5) & 0x1ffff, TULIP_CSR5_RI); /* without a summary */
	csr_out(r, 7, RIG_INTERRUPTS);
	assert_true(rig_irq(r));
	csr_out(r, 7, RIG_INTERRUPTS & ~TULIP_CSR5_NIS);
	assert_false(rig_irq(r));
	assert_int_equal(csr_in(r, 5) & 0x1ffff, TULIP_CSR5_RI | TULIP_CSR5_NIS);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_comes_with_status_length_and_check_sequence),
		cmocka_unit_test(interrupts_wait_for_the_end_of_a_batch),
		cmocka_unit_test(short_frames_are_padded_as_on_a_wire),
		cmocka_unit_test(what_is_longer_than_a_wires_frame_is_lost),
		cmocka_unit_test(a_tag_that_is_beside_the_frame_is_put_into_it),
		cmocka_unit_test(a_partial_checksum_is_finished),
		cmocka_unit_test(the_perfect_filter_knows_sixteen_addresses),
		cmocka_unit_test(the_inverse_filter_takes_all_but_those),
		cmocka_unit_test(the_hash_filter_is_for_groups_and_one_address),
		cmocka_unit_test(promiscuous_and_all_groups_take_more),
		cmocka_unit_test(a_frame_fills_both_buffers_of_as_many_descriptors_as_it_needs),
		cmocka_unit_test(receive_descriptors_may_be_chained),
		cmocka_unit_test(a_frame_that_outgrows_the_buffers_is_cut),
		cmocka_unit_test(a_chain_of_nothing_ends),
		cmocka_unit_test(bad_receive_addresses_are_bus_errors),
		cmocka_unit_test(received_frames_may_be_big_endian),
		cmocka_unit_test(the_last_buffer_suspends_the_receiver),
		cmocka_unit_test(a_frame_that_waits_is_asked_for_when_there_is_a_buffer),
		cmocka_unit_test(frames_that_wait_for_too_long_are_missed),
		cmocka_unit_test(the_counter_of_missed_frames_says_when_it_is_too_small),
		cmocka_unit_test(a_stopped_receiver_takes_nothing_and_keeps_nobody_waiting),
		cmocka_unit_test(loopback_keeps_nobody_waiting),
		cmocka_unit_test(frames_wait_while_it_may_not_be_master),
		cmocka_unit_test(masked_events_interrupt_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

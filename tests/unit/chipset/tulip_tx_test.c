/* SPDX-License-Identifier: MIT */
/* Frames from the guest: rings, chains, buffers, setup frames, loopback, and how the transmitter stops. */
#include "tulip_rig.h"

static void a_frame_leaves_from_where_it_lies(void **state)
{
	struct tulip_rig *r = rig_up();
	unsigned int i;

	csr_out(r, 5, 0x1ffff);
	i = rig_send(r, 600, TULIP_TDES1_IC, 5);
	assert_int_equal(r->wire.count, 1);
	assert_int_equal(r->wire.sent[0].bytes, 600);
	assert_sent(r, 0, 600, 5);
	assert_ptr_equal(r->wire.first, mem_hva(r->p.mem, RIG_TX_BUFFER + i * RIG_BUFFER, 600));
	assert_int_equal(get32(r, tx_desc(i)), 0);
	assert_int_equal(rig_ts(r), TULIP_TS_SUSPENDED);
	/* One interrupt says both: sent, and no more. */
	assert_int_equal(csr_in(r, 5) & 0x1ffff, TULIP_CSR5_NIS | TULIP_CSR5_TI | TULIP_CSR5_TU);
	assert_true(rig_irq(r));
	csr_out(r, 5, TULIP_CSR5_TI | TULIP_CSR5_TU);
	assert_false(rig_irq(r));
	rig_send(r, 60, 0, 6);
	assert_int_equal(csr_in(r, 5) & 0x1ffff, TULIP_CSR5_NIS | TULIP_CSR5_TU);
	rig_free(r);
}

static void many_frames_are_one_call(void **state)
{
	struct tulip_rig *r = rig_up();
	unsigned int calls = r->wire.calls;

	for (unsigned int i = 0; i < RIG_DESCS - 1; i++) {
		rig_queue(r, 100 + i, RIG_WHOLE, (uint8_t)i);
	}
	csr_out(r, 1, 0);
	rig_settle(r);
	assert_int_equal(r->wire.calls, calls + 1);
	assert_int_equal(r->wire.ends, 1);
	assert_int_equal(r->wire.count, RIG_DESCS - 1);
	for (unsigned int i = 0; i < RIG_DESCS - 1; i++) {
		assert_int_equal(r->wire.sent[i].bytes, 100 + i);
		assert_sent(r, i, 100 + i, (uint8_t)i);
	}
	/* The ring wraps as often as one likes. */
	for (unsigned int i = 0; i < 3 * RIG_DESCS; i++) {
		rig_send(r, 200, 0, (uint8_t)i);
	}
	assert_int_equal(r->wire.count, 4 * RIG_DESCS - 1);
	rig_free(r);
}

static void a_frame_may_lie_in_both_buffers_of_many_descriptors(void **state)
{
	struct tulip_rig *r = rig_up();
	uint32_t at = RIG_TX_BUFFER + 1; /* any byte is good enough */
	uint8_t frame[900];

	make_frame(frame, rig_peer, rig_mac, sizeof(frame), 1);
	assert_int_equal(mem_write(r->p.mem, at, frame, sizeof(frame)), 0);
	put_desc(r, tx_desc(1), TULIP_DESC_OWN, TULIP_TDES1_FS | 100 | 200U << 11, at, at + 100);
	put_desc(r, tx_desc(2), TULIP_DESC_OWN, 0 | 300U << 11, 0xdeadbeef, at + 300);
	put_desc(r, tx_desc(3), TULIP_DESC_OWN, TULIP_TDES1_LS | 297 | 3U << 11, at + 600,
		 at + 897);
	csr_out(r, 1, 0);
	rig_settle(r);
	assert_int_equal(r->wire.count, 1);
	assert_int_equal(r->wire.sent[0].bytes, sizeof(frame));
	assert_sent(r, 0, sizeof(frame), 1);
	for (unsigned int i = 1; i <= 3; i++) {
		assert_int_equal(get32(r, tx_desc(i)), 0);
	}
	rig_free(r);
}

static void descriptors_may_be_chained(void **state)
{
	struct tulip_rig *r = rig_new();
	uint8_t frame[300];

	make_frame(frame, rig_peer, rig_mac, sizeof(frame), 8);
	assert_int_equal(mem_write(r->p.mem, RIG_TX_BUFFER, frame, sizeof(frame)), 0);
	put_desc(r, 0x41000, TULIP_DESC_OWN, RIG_WHOLE | TULIP_DESC_CHAINED | 300 | 77U << 11,
		 RIG_TX_BUFFER, 0x48000);
	put_desc(r, 0x48000, TULIP_DESC_OWN, RIG_WHOLE | TULIP_DESC_CHAINED | 300, RIG_TX_BUFFER,
		 0x42000);
	put_desc(r, 0x42000, 0, 0, 0, 0);
	csr_out(r, 4, 0x41000);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST);
	rig_settle(r);
	assert_int_equal(r->wire.count, 2);
	assert_int_equal(r->wire.sent[0].bytes, 300); /* the second size counts for nothing */
	assert_sent(r, 1, 300, 8);
	assert_int_equal(rig_ts(r), TULIP_TS_SUSPENDED);
	/* The ring's end goes before the chain (4.2.2.2). */
	put_desc(r, 0x42000, TULIP_DESC_OWN,
		 RIG_WHOLE | TULIP_DESC_CHAINED | TULIP_DESC_END_OF_RING | 300 | 40U << 11,
		 RIG_TX_BUFFER, 0x48000);
	put32(r, 0x41000, TULIP_DESC_OWN);
	csr_out(r, 1, 0);
	rig_settle(r);
	assert_int_equal(r->wire.count, 4);
	assert_int_equal(r->wire.sent[2].bytes, 340); /* and so there is a second buffer */
	rig_free(r);
}

static void descriptors_may_have_gaps(void **state)
{
	struct tulip_rig *r = rig_new();
	uint8_t frame[100];

	make_frame(frame, rig_peer, rig_mac, sizeof(frame), 8);
	assert_int_equal(mem_write(r->p.mem, RIG_TX_BUFFER, frame, sizeof(frame)), 0);
	for (uint32_t i = 0; i < 3; i++) { /* five longwords between them */
		put_desc(r, 0x41000 + i * 36, TULIP_DESC_OWN, RIG_WHOLE | 100, RIG_TX_BUFFER, 0);
	}
	csr_out(r, 0, 5U << TULIP_CSR0_DSL_SHIFT);
	csr_out(r, 4, 0x41000);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST);
	rig_settle(r);
	assert_int_equal(r->wire.count, 3);
	rig_free(r);
}

static void short_frames_are_padded_unless_they_ask_not_to(void **state)
{
	struct tulip_rig *r = rig_up();
	static const uint8_t zeroes[60];

	rig_send(r, 20, 0, 4);
	assert_int_equal(r->wire.sent[0].bytes, 60);
	assert_sent(r, 0, 20, 4);
	assert_memory_equal(r->wire.sent[0].data + 20, zeroes, 40);
	rig_send(r, 20, TULIP_TDES1_DPD, 4);
	assert_int_equal(r->wire.sent[1].bytes, 20);
	/* A check sequence of the driver's own goes: the wire makes one. */
	rig_send(r, 104, TULIP_TDES1_AC, 4);
	assert_int_equal(r->wire.sent[2].bytes, 100);
	assert_sent(r, 2, 100, 4);
	/* Nothing at all is no frame, but its descriptor comes back. */
	rig_send(r, 14, TULIP_TDES1_DPD | TULIP_TDES1_AC, 4);
	assert_int_equal(r->wire.count, 3);
	assert_int_equal(get32(r, tx_desc(4)), 0);
	rig_free(r);
}

static void frames_that_no_wire_carries_are_lost(void **state)
{
	struct tulip_rig *r = rig_up();

	rig_send(r, TULIP_FRAME_MAX, 0, 1);
	assert_int_equal(r->wire.count, 1);
	assert_int_equal(get32(r, tx_desc(rig_send(r, TULIP_FRAME_MAX + 1, 0, 1))), 0);
	assert_int_equal(r->wire.count, 1);
	rig_send(r, 100, 0, 1);
	assert_int_equal(r->wire.count, 2);
	rig_free(r);
}

static void a_frame_whose_end_is_missing_waits_for_it(void **state)
{
	struct tulip_rig *r = rig_up();
	unsigned int i;

	csr_out(r, 5, 0x1ffff);
	i = rig_queue(r, 100, TULIP_TDES1_FS, 1);
	csr_out(r, 1, 0);
	rig_settle(r);
	assert_int_equal(r->wire.count, 0);
	assert_int_equal(get32(r, tx_desc(i)), TULIP_DESC_OWN);
	assert_int_equal(rig_ts(r), TULIP_TS_SUSPENDED);
	assert_int_equal(csr_in(r, 5) & (TULIP_CSR5_TU | TULIP_CSR5_UNF), TULIP_CSR5_TU);
	rig_queue(r, 100, TULIP_TDES1_LS, 1);
	csr_out(r, 1, 0);
	rig_settle(r);
	assert_int_equal(r->wire.sent[0].bytes, 200);
	assert_int_equal(get32(r, tx_desc(i)), 0);
	rig_free(r);
}

/* Linux puts one before a setup frame. */
static void a_filler_descriptor_is_skipped(void **state)
{
	struct tulip_rig *r = rig_up();
	uint8_t setup[TULIP_SETUP_BYTES] = { 0 };
	unsigned int dummy = r->tx++ % RIG_DESCS;

	put_desc(r, tx_desc(dummy), TULIP_DESC_OWN, 0, 0, 0);
	setup_address(setup, 3, rig_peer);
	rig_setup(r, setup, TULIP_TDES1_IC);
	assert_int_equal(get32(r, tx_desc(dummy)), 0);
	assert_int_equal(csr_in(r, 5) & TULIP_CSR5_TI, TULIP_CSR5_TI);
	assert_int_equal(r->wire.count, 0);
	assert_int_equal(rig_deliver(r, rig_peer, 100, 3), 0);
	assert_received(r, rig_peer, 100, 3);
	rig_free(r);
}

static void frames_before_a_setup_frame_go_first(void **state)
{
	struct tulip_rig *r = rig_up();
	uint8_t setup[TULIP_SETUP_BYTES] = { 0 };

	rig_queue(r, 100, RIG_WHOLE, 1);
	rig_queue(r, 100, RIG_WHOLE, 2);
	rig_setup(r, setup, 0);
	rig_send(r, 100, 0, 3);
	assert_int_equal(r->wire.count, 3);
	assert_sent(r, 1, 100, 2);
	assert_sent(r, 2, 100, 3);
	rig_free(r);
}

static void a_setup_frame_that_is_too_short_changes_nothing(void **state)
{
	struct tulip_rig *r = rig_up();
	unsigned int i = r->tx++ % RIG_DESCS;

	put_desc(r, tx_desc(i), TULIP_DESC_OWN, TULIP_TDES1_SET | 191, RIG_SETUP, 0);
	put32(r, RIG_SETUP + 15 * 12, 0); /* our address */
	csr_out(r, 1, 0);
	rig_settle(r);
	assert_int_equal(get32(r, tx_desc(i)), TULIP_TDES0_SETUP_DONE);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 3), 0);
	assert_received(r, rig_mac, 100, 3);
	rig_free(r);
}

static void a_full_wire_makes_frames_wait_in_order(void **state)
{
	struct tulip_rig *r = rig_up();

	r->wire.takes = 2;
	for (unsigned int i = 0; i < 4; i++) {
		rig_queue(r, 100, RIG_WHOLE, (uint8_t)i);
	}
	csr_out(r, 1, 0);
	rig_settle(r);
	assert_int_equal(r->wire.count, 2);
	assert_int_equal(get32(r, tx_desc(2)), 0);
	assert_int_equal(get32(r, tx_desc(3)), TULIP_DESC_OWN);
	assert_int_equal(rig_ts(r), TULIP_TS_READ);
	r->wire.takes = 100;
	net_now_writable(&r->wire.net);
	rig_settle(r);
	assert_int_equal(r->wire.count, 4);
	assert_sent(r, 2, 100, 2);
	assert_sent(r, 3, 100, 3);
	assert_int_equal(rig_ts(r), TULIP_TS_SUSPENDED);
	rig_free(r);
}

/* ---- stopping --------------------------------------------------------------------------------------- */

/* FreeBSD waits for it; Linux' handler stops and starts once more and then clears it. */
static void stopping_says_so_until_it_is_acknowledged(void **state)
{
	struct tulip_rig *r = rig_up();

	csr_out(r, 5, 0x1ffff);
	csr_out(r, 6, RIG_MODE);
	assert_int_equal(rig_ts(r), TULIP_TS_STOPPED);
	assert_int_equal(rig_rs(r), TULIP_RS_STOPPED);
	assert_int_equal(csr_in(r, 5) & 0x1ffff, TULIP_CSR5_AIS | TULIP_CSR5_TPS | TULIP_CSR5_RPS);
	assert_true(rig_irq(r));
	csr_out(r, 1, 0); /* nothing */
	rig_settle(r);
	assert_int_equal(rig_ts(r), TULIP_TS_STOPPED);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST | TULIP_CSR6_SR);
	assert_int_equal(csr_in(r, 5) & (TULIP_CSR5_TPS | TULIP_CSR5_RPS),
			 TULIP_CSR5_TPS | TULIP_CSR5_RPS);
	csr_out(r, 5, 0x0800f7ba);
	assert_false(rig_irq(r));
	rig_settle(r);
	rig_send(r, 100, 0, 1); /* where it was in the ring */
	assert_sent(r, 0, 100, 1);
	rig_free(r);
}

struct interruption {
	struct tulip_rig *r;
	uint32_t csr6;
	bool resets, lists;
	unsigned int ts; /* seen meanwhile */
};

/* What another processor does while frames are with the net. */
static void interrupt_it(void *ctx)
{
	struct interruption *i = ctx;

	i->r->wire.during = NULL;
	if (i->resets) {
		csr_out(i->r, 0, TULIP_CSR0_SWR);
	} else if (i->lists) {
		csr_out(i->r, 4, 0x41000);
	} else {
		csr_out(i->r, 6, i->csr6);
	}
	i->ts = rig_ts(i->r);
}

static void stopping_in_the_middle_waits_for_the_frames_on_their_way(void **state)
{
	struct tulip_rig *r = rig_up();
	struct interruption what = { .r = r, .csr6 = RIG_MODE };
	unsigned int i;

	r->wire.during = interrupt_it;
	r->wire.ctx = &what;
	rig_queue(r, 100, RIG_WHOLE, 1);
	i = rig_send(r, 100, 0, 2);
	assert_int_equal(what.ts, TULIP_TS_READ);
	assert_int_equal(r->wire.count, 2);
	assert_int_equal(get32(r, tx_desc(i)), 0);
	assert_int_equal(rig_ts(r), TULIP_TS_STOPPED);
	assert_int_equal(csr_in(r, 5) & TULIP_CSR5_TPS, TULIP_CSR5_TPS);
	rig_free(r);
}

static void a_reset_in_the_middle_disowns_the_frames_on_their_way(void **state)
{
	struct tulip_rig *r = rig_up();
	struct interruption what = { .r = r, .resets = true };
	unsigned int i;

	r->wire.during = interrupt_it;
	r->wire.ctx = &what;
	i = rig_send(r, 100, TULIP_TDES1_IC, 2);
	assert_int_equal(what.ts, TULIP_TS_STOPPED);
	assert_int_equal(get32(r, tx_desc(i)), TULIP_DESC_OWN); /* as the driver left it */
	assert_int_equal(csr_in(r, 5), 0xf0000000);
	rig_rings(r);
	rig_up_with(r, 0);
	rig_send(r, 100, 0, 9);
	assert_sent(r, 1, 100, 9);
	rig_free(r);
}

static void another_list_in_the_middle_is_where_it_goes_on(void **state)
{
	struct tulip_rig *r = rig_up();
	struct interruption what = { .r = r, .lists = true };
	unsigned int i;

	r->wire.during = interrupt_it;
	r->wire.ctx = &what;
	put_desc(r, 0x41000, TULIP_DESC_OWN, RIG_WHOLE | 90, RIG_TX_BUFFER, 0);
	i = rig_send(r, 100, 0, 2);
	assert_int_equal(get32(r, tx_desc(i)), TULIP_DESC_OWN);
	csr_out(r, 1, 0);
	rig_settle(r);
	assert_int_equal(r->wire.count, 2);
	assert_int_equal(r->wire.sent[1].bytes, 90);
	assert_int_equal(get32(r, 0x41000), 0);
	rig_free(r);
}

static void a_filter_change_in_the_mode_stops_nothing(void **state)
{
	struct tulip_rig *r = rig_up();

	csr_out(r, 5, 0x1ffff);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST | TULIP_CSR6_SR | TULIP_CSR6_PM);
	assert_int_equal(csr_in(r, 5) & 0x1ffff, 0);
	assert_int_equal(rig_ts(r), TULIP_TS_SUSPENDED);
	assert_int_equal(rig_rs(r), TULIP_RS_WAIT);
	rig_free(r);
}

static void automatic_polling_finds_frames_without_a_demand(void **state)
{
	struct tulip_rig *r = rig_new();

	rig_rings(r);
	rig_up_with(r, 2U << TULIP_CSR0_TAP_SHIFT);
	rig_queue(r, 100, RIG_WHOLE, 4);
	rig_wait_sent(r, 1);
	assert_sent(r, 0, 100, 4);
	rig_queue(r, 100, RIG_WHOLE, 5);
	rig_wait_sent(r, 2);
	assert_sent(r, 1, 100, 5);
	rig_free(r);
}

/* ---- errors ----------------------------------------------------------------------------------------- */

static void jabber_stops_the_transmitter(void **state)
{
	struct tulip_rig *r = rig_up();

	csr_out(r, 15, TULIP_CSR15_JCK);
	csr_out(r, 5, 0x1ffff);
	rig_queue(r, 2000, TULIP_TDES1_FS, 1);
	rig_send(r, 1000, 0, 1); /* a first one in the middle goes on with the frame */
	assert_int_equal(r->wire.count, 0);
	assert_int_equal(get32(r, tx_desc(1)), 0);
	assert_int_equal(get32(r, tx_desc(2)), TULIP_TDES0_ES | TULIP_TDES0_TO);
	assert_int_equal(rig_ts(r), TULIP_TS_STOPPED);
	assert_int_equal(csr_in(r, 5) & (TULIP_CSR5_TJT | TULIP_CSR5_TPS),
			 TULIP_CSR5_TJT | TULIP_CSR5_TPS);
	/* Linux stops and starts, and goes on behind it. */
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_SR);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_SR | TULIP_CSR6_ST);
	rig_send(r, 100, 0, 1);
	assert_int_equal(r->wire.count, 1);
	rig_free(r);
}

static void a_chain_without_an_end_is_jabber(void **state)
{
	struct tulip_rig *r = rig_new();

	put_desc(r, 0x41000, TULIP_DESC_OWN, TULIP_TDES1_FS | TULIP_DESC_CHAINED | 1, RIG_TX_BUFFER,
		 0x41000);
	csr_out(r, 4, 0x41000);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST);
	rig_settle(r);
	assert_int_equal(rig_ts(r), TULIP_TS_STOPPED);
	assert_int_equal(csr_in(r, 5) & TULIP_CSR5_TJT, TULIP_CSR5_TJT);
	rig_free(r);
}

/* A ring of one descriptor that the guest gives back again and again; fillers, too. */
static void endless_work_is_done_in_turns(void **state)
{
	struct tulip_rig *r = rig_new();

	for (uint32_t i = 0; i < 4096; i++) {
		put_desc(r, 0x400000 + i * 16, TULIP_DESC_OWN, 0, 0, 0);
	}
	csr_out(r, 4, 0x400000);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST);
	loop_turn(r->p.rig.loop);
	assert_int_equal(get32(r, 0x400000), 0);
	assert_int_equal(get32(r, 0x400000 + 4095 * 16), TULIP_DESC_OWN); /* not at once */
	rig_settle(r);
	assert_int_equal(get32(r, 0x400000 + 4095 * 16), 0);
	rig_free(r);
}

static void assert_dead(struct tulip_rig *r)
{
	assert_int_equal(csr_in(r, 5) & TULIP_CSR5_FBE, TULIP_CSR5_FBE);
	assert_int_equal(csr_in(r, 5) >> TULIP_CSR5_EB_SHIFT & 7, TULIP_EB_MASTER_ABORT);
	assert_int_equal(rig_ts(r), TULIP_TS_STOPPED);
	assert_int_equal(rig_rs(r), TULIP_RS_STOPPED);
	assert_true(pci_rig_read(&r->p, RIG_DEVFN, PCI_COMMAND) >> 16 & PCI_STATUS_MASTER_ABORT);
	/* Only a reset helps. */
	csr_out(r, 5, 0x1ffff);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST | TULIP_CSR6_SR);
	assert_int_equal(rig_ts(r), TULIP_TS_STOPPED);
	rig_rings(r);
	rig_up_with(r, 0);
	assert_int_equal(csr_in(r, 5) >> TULIP_CSR5_EB_SHIFT & 7, 0);
	rig_send(r, 100, 0, 1);
	assert_sent(r, r->wire.count - 1, 100, 1);
}

static void addresses_that_nobody_answers_are_bus_errors(void **state)
{
	struct tulip_rig *r = rig_up();

	csr_out(r, 5, 0x1ffff);
	csr_out(r, 6, RIG_MODE); /* another list: nowhere */
	csr_out(r, 4, 0xfffffff0);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST);
	rig_settle(r);
	assert_true(rig_irq(r));
	assert_dead(r);

	/* The frames before the one with the bad buffer are sent. */
	rig_queue(r, 100, RIG_WHOLE, 7);
	put_desc(r, tx_desc(r->tx++ % RIG_DESCS), TULIP_DESC_OWN, RIG_WHOLE | 100, 0xbadf00d0, 0);
	r->wire.count = 0;
	csr_out(r, 1, 0);
	rig_settle(r);
	assert_sent(r, 0, 100, 7);
	assert_int_equal(r->wire.count, 1);
	assert_dead(r);

	/* A setup frame of nowhere. */
	put_desc(r, tx_desc(r->tx++ % RIG_DESCS), TULIP_DESC_OWN, TULIP_TDES1_SET | 192, 0xbadf00d0,
		 0);
	csr_out(r, 1, 0);
	rig_settle(r);
	assert_dead(r);
	rig_free(r);
}

static void nothing_moves_while_it_may_not_be_master_or_sleeps(void **state)
{
	struct tulip_rig *r = rig_up();

	pci_rig_write16(&r->p, RIG_DEVFN, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	rig_send(r, 100, 0, 1);
	assert_int_equal(r->wire.count, 0);
	rig_map(r);
	rig_settle(r);
	assert_sent(r, 0, 100, 1);
	pci_rig_write(&r->p, RIG_DEVFN, TULIP_CFDA, TULIP_CFDA_SLEEP);
	rig_send(r, 100, 0, 2);
	assert_int_equal(r->wire.count, 1);
	pci_rig_write(&r->p, RIG_DEVFN, TULIP_CFDA, 0);
	rig_settle(r);
	assert_sent(r, 1, 100, 2);
	rig_free(r);
}

static void without_a_link_half_duplex_misses_the_carrier(void **state)
{
	struct tulip_rig *r = rig_up();
	unsigned int i;

	tulip_set_cable(r->tulip, false);
	i = rig_send(r, 100, 0, 1);
	assert_int_equal(get32(r, tx_desc(i)), 0);
	csr_out(r, 6, (RIG_MODE & ~TULIP_CSR6_FD) | TULIP_CSR6_ST | TULIP_CSR6_SR);
	i = rig_send(r, 100, 0, 1);
	assert_int_equal(get32(r, tx_desc(i)), TULIP_TDES0_ES | TULIP_TDES0_LO | TULIP_TDES0_NC);
	assert_int_equal(r->wire.count, 0);
	rig_free(r);
}

/* ---- loopback and byte order ------------------------------------------------------------------------- */

static void loopback_returns_frames_and_shuts_the_wire(void **state)
{
	struct tulip_rig *r = rig_up();
	uint32_t status;

	for (uint32_t mode = 1; mode <= 2; mode++) {
		csr_out(r, 6,
			RIG_MODE | TULIP_CSR6_ST | TULIP_CSR6_SR | TULIP_CSR6_PR |
				mode << TULIP_CSR6_OM_SHIFT);
		rig_send(r, 300, 0, 1);
		assert_int_equal(r->wire.count, 0);
		status = get32(r, rx_desc(r->rx % RIG_DESCS));
		assert_int_equal(status >> TULIP_RDES0_DT_SHIFT & 3, mode);
		assert_int_equal(status >> 16 & TULIP_RDES0_LENGTH_MASK, 304);
		assert_int_equal(status & TULIP_RDES0_FF, TULIP_RDES0_FF); /* not ours */
		assert_int_equal(rig_deliver(r, rig_mac, 100, 1), 0);
		assert_int_equal(get32(r, rx_desc(++r->rx % RIG_DESCS)), TULIP_DESC_OWN);
	}
	/* A frame that is filtered out comes back to nobody. */
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST | TULIP_CSR6_SR | 1U << TULIP_CSR6_OM_SHIFT);
	rig_send(r, 300, 0, 1);
	assert_int_equal(get32(r, rx_desc(r->rx % RIG_DESCS)), TULIP_DESC_OWN);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST | TULIP_CSR6_SR);
	rig_send(r, 300, 0, 1);
	assert_int_equal(r->wire.count, 1);
	rig_free(r);
}

static void a_forced_collision_ends_in_excess(void **state)
{
	struct tulip_rig *r = rig_up();
	unsigned int i;

	csr_out(r, 6,
		RIG_MODE | TULIP_CSR6_ST | TULIP_CSR6_SR | TULIP_CSR6_FC |
			TULIP_OM_INTERNAL << TULIP_CSR6_OM_SHIFT);
	i = rig_send(r, 300, 0, 1);
	assert_int_equal(get32(r, tx_desc(i)), TULIP_TDES0_ES | TULIP_TDES0_EC);
	assert_int_equal(get32(r, rx_desc(0)), TULIP_DESC_OWN);
	rig_free(r);
}

static void put_swapped(struct tulip_rig *r, uint32_t gpa, uint32_t bytes, uint8_t seed)
{
	uint8_t frame[104], swapped[104];

	make_frame(frame, rig_peer, rig_mac, sizeof(frame), seed);
	for (unsigned int i = 0; i < sizeof(frame); i++) {
		swapped[i] = frame[i ^ 3];
	}
	assert_int_equal(mem_write(r->p.mem, gpa, swapped, bytes), 0);
}

static void descriptors_and_buffers_may_be_big_endian(void **state)
{
	struct tulip_rig *r = rig_new();

	put_swapped(r, RIG_TX_BUFFER, 104, 6);
	put_swapped(r, RIG_TX_BUFFER + 0x1000, 104, 7);
	put_desc(r, 0x41000, __builtin_bswap32(TULIP_DESC_OWN), __builtin_bswap32(RIG_WHOLE | 101),
		 __builtin_bswap32(RIG_TX_BUFFER), 0);
	put_desc(r, 0x41010, __builtin_bswap32(TULIP_DESC_OWN), __builtin_bswap32(RIG_WHOLE | 100),
		 __builtin_bswap32(RIG_TX_BUFFER + 0x1000), 0);
	csr_out(r, 0, TULIP_CSR0_BLE | TULIP_CSR0_DBO);
	csr_out(r, 4, 0x41000);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST);
	rig_settle(r);
	assert_int_equal(r->wire.count, 2);
	assert_int_equal(r->wire.sent[0].bytes, 101);
	assert_sent(r, 0, 101, 6);
	assert_int_equal(r->wire.sent[1].bytes, 100);
	assert_sent(r, 1, 100, 7);
	assert_int_equal(get32(r, 0x41000), 0);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_leaves_from_where_it_lies),
		cmocka_unit_test(many_frames_are_one_call),
		cmocka_unit_test(a_frame_may_lie_in_both_buffers_of_many_descriptors),
		cmocka_unit_test(descriptors_may_be_chained),
		cmocka_unit_test(descriptors_may_have_gaps),
		cmocka_unit_test(short_frames_are_padded_unless_they_ask_not_to),
		cmocka_unit_test(frames_that_no_wire_carries_are_lost),
		cmocka_unit_test(a_frame_whose_end_is_missing_waits_for_it),
		cmocka_unit_test(a_filler_descriptor_is_skipped),
		cmocka_unit_test(frames_before_a_setup_frame_go_first),
		cmocka_unit_test(a_setup_frame_that_is_too_short_changes_nothing),
		cmocka_unit_test(a_full_wire_makes_frames_wait_in_order),
		cmocka_unit_test(stopping_says_so_until_it_is_acknowledged),
		cmocka_unit_test(stopping_in_the_middle_waits_for_the_frames_on_their_way),
		cmocka_unit_test(a_reset_in_the_middle_disowns_the_frames_on_their_way),
		cmocka_unit_test(another_list_in_the_middle_is_where_it_goes_on),
		cmocka_unit_test(a_filter_change_in_the_mode_stops_nothing),
		cmocka_unit_test(automatic_polling_finds_frames_without_a_demand),
		cmocka_unit_test(jabber_stops_the_transmitter),
		cmocka_unit_test(a_chain_without_an_end_is_jabber),
		cmocka_unit_test(endless_work_is_done_in_turns),
		cmocka_unit_test(addresses_that_nobody_answers_are_bus_errors),
		cmocka_unit_test(nothing_moves_while_it_may_not_be_master_or_sleeps),
		cmocka_unit_test(without_a_link_half_duplex_misses_the_carrier),
		cmocka_unit_test(loopback_returns_frames_and_shuts_the_wire),
		cmocka_unit_test(a_forced_collision_ends_in_excess),
		cmocka_unit_test(descriptors_and_buffers_may_be_big_endian),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * A 21140 that is saved in the middle of what it does and goes on elsewhere; that is paused; whose net is taken
 * away and given back; that is pulled out while it runs.
 */
#include "tulip_rig.h"

struct saved {
	struct save save;
	const uint8_t *bytes;
	size_t length;
};

static void save_it(struct tulip_rig *r, struct saved *saved)
{
	save_init(&saved->save);
	tulip_save(r->tulip, &saved->save);
	assert_int_equal(save_finish(&saved->save, &saved->bytes, &saved->length), 0);
}

static int load_it(struct tulip_rig *r, const struct saved *saved)
{
	struct load load;

	load_init(&load, saved->bytes, saved->length);
	return tulip_load(r->tulip, &load);
}

/* To another machine: another chip over the same memory, at the same net. */
static void move(struct tulip_rig *r)
{
	struct tulip_config config = rig_config(r);
	struct saved saved, again;
	bool level = rig_irq(r);

	tulip_pause(r->tulip);
	save_it(r, &saved);
	tulip_destroy(r->tulip);
	assert_int_equal(tulip_create(&config, &r->tulip), 0);
	tulip_pause(r->tulip);
	assert_int_equal(load_it(r, &saved), 0);
	assert_int_equal(rig_irq(r), level);
	save_it(r, &again);
	assert_int_equal(saved.length, again.length);
	assert_memory_equal(saved.bytes, again.bytes, saved.length);
	save_fini(&saved.save);
	save_fini(&again.save);
	tulip_resume(r->tulip);
	rig_settle(r);
}

static void frames_go_on_both_ways_after_a_move(void **state)
{
	struct tulip_rig *r = rig_up();

	for (unsigned int i = 0; i < 5 * RIG_DESCS; i++) {
		rig_send(r, 100 + i, 0, (uint8_t)i);
		assert_sent(r, i, 100 + i, (uint8_t)i);
		assert_int_equal(rig_deliver(r, rig_mac, 100 + i, (uint8_t)i), 0);
		if (i % 3 == 0) {
			move(r);
		}
		assert_received(r, rig_mac, 100 + i, (uint8_t)i);
	}
	assert_int_equal(rig_deliver(r, rig_peer, 100, 1), 0); /* the filter came along */
	assert_int_equal(get32(r, rx_desc(r->rx % RIG_DESCS)), TULIP_DESC_OWN);
	rig_free(r);
}

static void frames_that_wait_for_the_wire_wait_on(void **state)
{
	struct tulip_rig *r = rig_up();

	r->wire.takes = 1;
	for (unsigned int i = 0; i < 4; i++) {
		rig_queue(r, 100, RIG_WHOLE | TULIP_TDES1_IC, (uint8_t)i);
	}
	csr_out(r, 1, 0);
	rig_settle(r);
	assert_int_equal(r->wire.count, 1);
	r->wire.takes = 0;
	csr_out(r, 5, 0x1ffff);
	move(r);
	assert_int_equal(r->wire.count, 1);
	assert_int_equal(rig_ts(r), TULIP_TS_READ);
	r->wire.takes = 100;
	net_now_writable(&r->wire.net);
	rig_settle(r);
	assert_int_equal(r->wire.count, 4);
	assert_sent(r, 1, 100, 1);
	assert_sent(r, 3, 100, 3);
	assert_true(rig_irq(r));
	rig_free(r);
}

static void an_interrupt_and_a_full_ring_come_along(void **state)
{
	struct tulip_rig *r = rig_up();

	for (unsigned int i = 0; i < RIG_DESCS; i++) {
		assert_int_equal(rig_deliver(r, rig_mac, 100, (uint8_t)i), 0);
	}
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), -EAGAIN);
	rig_wait_room(r, 1);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), 0); /* missed */
	move(r);
	assert_true(rig_irq(r));
	assert_int_equal(rig_rs(r), TULIP_RS_SUSPENDED);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), 0);
	assert_int_equal(csr_in(r, 8), TULIP_CSR8_ONES | 2);
	for (unsigned int i = 0; i < RIG_DESCS; i++) {
		assert_received(r, rig_mac, 100, (uint8_t)i);
	}
	csr_out(r, 5, 0x1ffff);
	assert_false(rig_irq(r));
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), 0);
	assert_received(r, rig_mac, 100, 9);
	rig_free(r);
}

/* A word of the serial ROM and a register of the PHY, with a move after every clock. */
static void half_a_word_on_a_wire_comes_along(void **state)
{
	const uint32_t on = TULIP_CSR9_SR | TULIP_CSR9_SROM_CS;
	struct tulip_rig *r = rig_new();
	uint32_t command = 6U << 6 | TULIP_SROM_ADDRESS / 2, value = 0;

	csr_out(r, 9, TULIP_CSR9_SR);
	for (unsigned int i = 0; i < 9 + 16; i++) {
		uint32_t in = i < 9 && command >> (8 - i) & 1 ? TULIP_CSR9_SROM_IN : 0;

		csr_out(r, 9, on | in);
		csr_out(r, 9, on | in | TULIP_CSR9_SROM_CLOCK);
		move(r);
		value = value << 1 | ((csr_in(r, 9) & TULIP_CSR9_SROM_OUT) != 0);
	}
	assert_int_equal(value & 0xffff, bytes_le16(rig_mac));
	csr_out(r, 9, 0);

	command = 0xf6U << 10 | TULIP_PHY_ADDRESS << 5 | MII_PARTNER;
	for (unsigned int i = 0; i < 16 + 18; i++) {
		uint32_t bits = i >= 16                   ? TULIP_CSR9_MII
				: command >> (15 - i) & 1 ? TULIP_CSR9_MDO
							  : 0;

		csr_out(r, 9, bits);
		value = value << 1 | ((csr_in(r, 9) & TULIP_CSR9_MDI) != 0);
		csr_out(r, 9, bits | TULIP_CSR9_MDC);
		move(r);
	}
	assert_int_equal(value & 0xffff, 0x41e1);
	rig_free(r);
}

static void the_timer_goes_on_where_it_was(void **state)
{
	struct tulip_rig *r = rig_up();
	struct tulip_config config = rig_config(r);
	struct saved saved;

	csr_out(r, 7, TULIP_CSR5_NIS | TULIP_CSR5_GTE);
	csr_out(r, 11, TULIP_CSR11_CONTINUOUS | 500); /* 41 ms */
	tulip_pause(r->tulip);
	save_it(r, &saved);
	tulip_destroy(r->tulip);
	assert_int_equal(tulip_create(&config, &r->tulip), 0);
	tulip_pause(r->tulip);
	assert_int_equal(load_it(r, &saved), 0);
	rig_turn(&r->p.rig, 60);
	assert_false(rig_irq(r)); /* paused */
	tulip_resume(r->tulip);
	rig_wait_irq(r);
	csr_out(r, 5, TULIP_CSR5_GTE);
	rig_wait_irq(r);
	save_fini(&saved.save);
	rig_free(r);
}

static void a_dead_bus_stays_dead_elsewhere(void **state)
{
	struct tulip_rig *r = rig_up();

	put32(r, rx_desc(0) + 8, 0xbadf00d0);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 5), 0);
	move(r);
	assert_int_equal(csr_in(r, 5) >> TULIP_CSR5_EB_SHIFT & 7, TULIP_EB_MASTER_ABORT);
	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST | TULIP_CSR6_SR);
	assert_int_equal(rig_rs(r), TULIP_RS_STOPPED);
	rig_rings(r);
	rig_up_with(r, 0);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 5), 0);
	assert_received(r, rig_mac, 100, 5);
	rig_free(r);
}

/* Each byte of a state wrong in turn, and each length: 0 or -EBADMSG, and a chip that can be reset. */
static void a_spoilt_state_does_no_harm(void **state)
{
	struct tulip_rig *r = rig_up();
	struct saved saved, spoilt;
	uint8_t *bytes;

	tulip_pause(r->tulip);
	save_it(r, &saved);
	bytes = malloc(saved.length);
	assert_non_null(bytes);
	for (size_t i = 0; i < saved.length; i++) {
		int err;

		memcpy(bytes, saved.bytes, saved.length);
		bytes[i] ^= 0xff;
		spoilt = (struct saved){ .bytes = bytes, .length = saved.length };
		err = load_it(r, &spoilt);
		assert_true(err == 0 || err == -EBADMSG);
		spoilt.bytes = saved.bytes;
		spoilt.length = i;
		err = load_it(r, &spoilt);
		assert_true(err == 0 || err == -EBADMSG);
	}
	free(bytes);
	assert_int_equal(load_it(r, &saved), 0);
	save_fini(&saved.save);
	tulip_resume(r->tulip);
	rig_settle(r);
	rig_send(r, 100, 0, 1);
	assert_sent(r, 0, 100, 1);
	rig_free(r);
}

static void states_out_of_range_are_refused(void **state)
{
	static const uint16_t tags[] = { 21, 23, 11 }; /* states of the processes, the bus error */
	struct tulip_rig *r = rig_up();

	tulip_pause(r->tulip);
	for (unsigned int i = 0; i < ARRAY_SIZE(tags); i++) {
		struct saved saved;

		save_init(&saved.save);
		save_u32(&saved.save, tags[i], 99);
		assert_int_equal(save_finish(&saved.save, &saved.bytes, &saved.length), 0);
		assert_int_equal(load_it(r, &saved), -EBADMSG);
		save_fini(&saved.save);
	}
	rig_free(r);
}

/* ---- pausing ---------------------------------------------------------------------------------------- */

static void nothing_happens_while_it_is_paused(void **state)
{
	struct tulip_rig *r = rig_up();

	tulip_pause(r->tulip);
	rig_send(r, 100, 0, 1);
	assert_int_equal(r->wire.count, 0);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 1), -EAGAIN);
	rig_turn(&r->p.rig, TULIP_RX_HOLD_NS / 1000000 + 5);
	assert_int_equal(r->wire.rooms, 0);
	tulip_resume(r->tulip);
	rig_settle(r);
	assert_sent(r, 0, 100, 1);
	assert_int_equal(r->wire.rooms, 1);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 1), 0);
	assert_received(r, rig_mac, 100, 1);
	rig_free(r);
}

/* With doorbells, the guest's last one may not have been heard when it is saved. */
static void a_demand_that_nobody_heard_is_made_up_for(void **state)
{
	struct tulip_rig *r = rig_up();

	csr_out(r, 5, 0x1ffff);
	move(r);
	assert_int_equal(csr_in(r, 5) & 0x1ffff, 0); /* nothing to do: not a word */
	rig_queue(r, 100, RIG_WHOLE, 1);
	move(r);
	assert_sent(r, 0, 100, 1);
	rig_free(r);
}

/* ---- the net ---------------------------------------------------------------------------------------- */

static void the_net_can_be_taken_away_and_given_back(void **state)
{
	struct tulip_rig *r = rig_up();

	/* While it keeps frames of both directions. */
	r->wire.takes = 0;
	rig_send(r, 100, 0, 1);
	for (unsigned int i = 0; i < RIG_DESCS; i++) {
		assert_int_equal(rig_deliver(r, rig_mac, 100, (uint8_t)i), 0);
	}
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), -EAGAIN);
	assert_ptr_equal(tulip_net(r->tulip), &r->wire.net);
	assert_int_equal(tulip_set_net(r->tulip, NULL), 0);
	assert_null(tulip_net(r->tulip));
	assert_null(r->wire.net.front);
	assert_false(tulip_link_is_up(r->tulip));
	rig_turn(&r->p.rig, TULIP_RX_HOLD_NS / 1000000 + 5);
	assert_int_equal(r->wire.rooms, 0);        /* it is not called */
	assert_int_equal(get32(r, tx_desc(1)), 0); /* what waited is lost, and given back */
	r->wire.takes = 100;
	rig_send(r, 100, 0, 2);
	assert_int_equal(r->wire.count, 0);

	assert_int_equal(tulip_set_net(r->tulip, &r->wire.net), 0);
	assert_true(tulip_link_is_up(r->tulip));
	assert_int_equal(r->wire.net.config.mtu, TULIP_MTU);
	assert_int_equal(r->wire.net.config.coalesce_bytes_max, 0);
	assert_memory_equal(r->wire.net.config.mac, rig_mac, sizeof(rig_mac));
	rig_send(r, 100, 0, 3);
	assert_sent(r, 0, 100, 3);
	for (unsigned int i = 0; i < RIG_DESCS; i++) {
		assert_received(r, rig_mac, 100, (uint8_t)i);
	}
	csr_out(r, 2, 0);
	rig_settle(r);
	assert_int_equal(r->wire.rooms, 0); /* it was refused nothing since */
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), 0);
	assert_received(r, rig_mac, 100, 9);
	rig_free(r);
}

static void a_net_that_is_taken_already_leaves_it_without(void **state)
{
	struct tulip_rig *r = rig_up();
	struct tulip_config config = rig_config(r);
	struct tulip *second;

	config.net = NULL;
	config.devfn = PCI_DEVFN(11, 0);
	assert_int_equal(tulip_create(&config, &second), 0);
	assert_int_equal(tulip_set_net(second, &r->wire.net), -EBUSY);
	assert_null(tulip_net(second));
	assert_false(tulip_link_is_up(second));
	/* Handed over. */
	assert_int_equal(tulip_set_net(r->tulip, NULL), 0);
	assert_int_equal(tulip_set_net(second, &r->wire.net), 0);
	assert_true(tulip_link_is_up(second));
	tulip_destroy(second);
	assert_null(r->wire.net.front);
	rig_free(r);
}

static void it_can_be_pulled_out_while_it_works(void **state)
{
	struct tulip_rig *r = rig_up();

	for (unsigned int i = 0; i < RIG_DESCS; i++) {
		assert_int_equal(rig_deliver(r, rig_mac, 100, (uint8_t)i), 0);
	}
	assert_int_equal(rig_deliver(r, rig_mac, 100, 9), -EAGAIN);
	rig_queue(r, 100, RIG_WHOLE, 1);
	csr_out(r, 1, 0); /* posted, not done */
	csr_out(r, 11, TULIP_CSR11_CONTINUOUS | 1);
	assert_true(rig_irq(r));
	tulip_destroy(r->tulip);
	r->tulip = NULL;
	assert_false(rig_irq(r));
	rig_turn(&r->p.rig, 5);
	assert_int_equal(r->wire.count, 0);
	assert_int_equal(pci_rig_read(&r->p, RIG_DEVFN, 0), 0xffffffff);
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_go_on_both_ways_after_a_move),
		cmocka_unit_test(frames_that_wait_for_the_wire_wait_on),
		cmocka_unit_test(an_interrupt_and_a_full_ring_come_along),
		cmocka_unit_test(half_a_word_on_a_wire_comes_along),
		cmocka_unit_test(the_timer_goes_on_where_it_was),
		cmocka_unit_test(a_dead_bus_stays_dead_elsewhere),
		cmocka_unit_test(a_spoilt_state_does_no_harm),
		cmocka_unit_test(states_out_of_range_are_refused),
		cmocka_unit_test(nothing_happens_while_it_is_paused),
		cmocka_unit_test(a_demand_that_nobody_heard_is_made_up_for),
		cmocka_unit_test(the_net_can_be_taken_away_and_given_back),
		cmocka_unit_test(a_net_that_is_taken_already_leaves_it_without),
		cmocka_unit_test(it_can_be_pulled_out_while_it_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

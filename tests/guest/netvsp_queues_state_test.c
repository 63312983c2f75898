/* SPDX-License-Identifier: MIT */
/*
 * A NIC with several queues whose state is saved and loaded, in the middle of traffic and in another
 * process; and with its queues on threads of their own.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "guest/fake_internal.h"
#include "guest/netvsp_queues_rig.h"

/* ---- saved state --------------------------------------------------------------------------------- */

static void save_bus(struct rig *r, struct save *save, const uint8_t **ret, size_t *ret_bytes)
{
	save_init(save);
	bus_save(fake_guest_bus(r->vsc.guest), save);
	assert_int_equal(save_finish(save, ret, ret_bytes), 0);
}

static void queues_go_on_after_save_and_load(void **state)
{
	static const uint32_t all[] = { 0, 1, 2 };
	struct vmbus_device *device;
	uint8_t frame[FLOW_BYTES];
	static uint8_t large[30000];
	const uint8_t *a, *b;
	size_t a_bytes, b_bytes;
	struct save first, second;
	struct load load;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 3, .echo = true });
	device = netvsp_device(r.nic);
	rig_start(&r, NVSP_VERSION_61);
	netvsc_enable_rsc(&r.vsc, true);
	assert_int_equal(netvsc_set_rss(&r.vsc, all, 3), RNDIS_STATUS_SUCCESS);
	r.vsc.keep = true;
	netvsc_select(&r.vsc, 2);
	memcpy(large, mac, 6);
	assert_int_equal(deliver_to(&r, 2, large, sizeof(large), NET_FRAME_COALESCED), 0);
	netvsc_expect_frame(&r.vsc, large, sizeof(large));
	/* In the middle of traffic: a packet that the back end has no room for. */
	net_null_block(r.ends[2], true);
	make_flow(frame, peer, mac, 1);
	netvsc_post_section(&r.vsc, 0, frame, sizeof(frame));
	fake_guest_settle(r.vsc.guest);
	assert_int_equal(bus_pause(fake_guest_bus(r.vsc.guest)), 0);
	netvsp_pause(r.nic);
	save_bus(&r, &first, &a, &a_bytes);
	save_init(&second);
	device->ops->save(device, &second);
	assert_int_equal(save_finish(&second, &b, &b_bytes), 0);
	assert_int_equal(netvsc_reload(r.nic, b, b_bytes, &load), 0);
	save_fini(&second);
	save_bus(&r, &second, &b, &b_bytes);
	assert_int_equal(a_bytes, b_bytes);
	assert_memory_equal(a, b, a_bytes);
	save_fini(&first);
	save_fini(&second);
	bus_resume(fake_guest_bus(r.vsc.guest));
	netvsp_resume(r.nic);
	net_null_block(r.ends[2], false);
	r.vsc.keep = false;
	netvsc_give_back(&r.vsc);
	make_flow(frame, mac, peer, 1);
	netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
	netvsc_select(&r.vsc, 0);
	for (unsigned int i = 0; i < 3; i++) {
		converse_on(&r, i);
	}
	check_flows(&r, all, 3);
	assert_int_equal(r.vsc.tables, 1);
	rig_destroy(&r);
}

/* What the rig makes anew, over the guest's same memory. */
static void rig_replace_nic(struct rig *r)
{
	struct fake_guest *guest = r->vsc.guest;
	unsigned int queues = r->queues;

	netvsc_revoke_device(&r->vsc, netvsp_device(r->nic));
	bus_destroy(guest->bus);
	netvsp_destroy(r->nic);
	while (queues-- > 0) {
		net_destroy(r->ends[queues]);
	}
	assert_int_equal(net_null_create_many(guest->loop, true, &r->ends[0]), 0);
	for (unsigned int i = 1; i < r->queues; i++) {
		assert_int_equal(net_twin(r->ends[0], r->loops[i], &r->ends[i]), 0);
	}
	rig_make_nic(r, 0);
	assert_int_equal(
		bus_create(guest->loop, guest->mem, fake_synic_base(guest->synic), &guest->bus), 0);
	fake_guest_offer(guest, netvsp_device(r->nic));
}

/* The same memory, another bus, another NIC: all queues go on where they were. */
static void queues_go_on_in_another_process(void **state)
{
	static const uint32_t all[] = { 0, 1, 2 };
	const uint8_t *before, *after;
	size_t before_bytes, after_bytes;
	struct save first, second;
	uint8_t frame[FLOW_BYTES];
	struct load load;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 3, .echo = true });
	rig_start(&r, NVSP_VERSION_61);
	assert_int_equal(netvsc_set_rss(&r.vsc, all, 3), RNDIS_STATUS_SUCCESS);
	r.vsc.keep = true;
	make_flow(frame, mac, peer, 1);
	for (unsigned int i = 0; i < 3; i++) {
		netvsc_select(&r.vsc, i);
		assert_int_equal(deliver_to(&r, i, frame, sizeof(frame), 0), 0);
		netvsc_expect_frame(&r.vsc, frame, sizeof(frame));
	}
	r.vsc.keep = false;
	assert_int_equal(bus_pause(fake_guest_bus(r.vsc.guest)), 0);
	netvsp_pause(r.nic);
	save_bus(&r, &first, &before, &before_bytes);
	netvsp_resume(r.nic);
	bus_resume(fake_guest_bus(r.vsc.guest));
	rig_replace_nic(&r);
	assert_int_equal(bus_pause(fake_guest_bus(r.vsc.guest)), 0);
	load_init(&load, before, before_bytes);
	assert_int_equal(bus_load(fake_guest_bus(r.vsc.guest), &load), 0);
	save_bus(&r, &second, &after, &after_bytes);
	assert_int_equal(before_bytes, after_bytes);
	assert_memory_equal(before, after, after_bytes);
	bus_resume(fake_guest_bus(r.vsc.guest));
	r.vsc.guest->backlog_count = 0; /* the rescinds of the old bus */
	for (unsigned int i = 0; i < 3; i++) {
		netvsc_select(&r.vsc, i);
		netvsc_complete(&r.vsc, r.vsc.kept[i]); /* what it had been lent before */
		converse_on(&r, i);
	}
	check_flows(&r, all, 3);
	netvsc_select(&r.vsc, 0);
	netvsc_set_filter(&r.vsc, 0);
	rig_destroy(&r);
	save_fini(&first);
	save_fini(&second);
}

static void spoilt_states_of_queues_are_refused(void **state)
{
	static const uint32_t all[] = { 0, 1, 2 };
	struct vmbus_device *device;
	const uint8_t *bytes;
	unsigned int refused = 0;
	size_t length;
	struct save save;
	struct load load;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 3, .echo = true });
	device = netvsp_device(r.nic);
	r.vsc.recv_bytes = 64 << 10;
	rig_start(&r, NVSP_VERSION_61);
	assert_int_equal(netvsc_set_rss(&r.vsc, all, 3), RNDIS_STATUS_SUCCESS);
	save_init(&save);
	device->ops->save(device, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	for (size_t cut = 0; cut < length; cut++) {
		uint8_t *copy = malloc(length);

		memcpy(copy, bytes, length);
		copy[cut] ^= 0x5a;
		refused += netvsc_reload(r.nic, copy, length, &load) != 0;
		refused += netvsc_reload(r.nic, bytes, cut, &load) != 0;
		free(copy);
	}
	assert_true(refused > length);
	assert_int_equal(netvsc_reload(r.nic, bytes, length, &load), 0);
	save_fini(&save);
	fake_guest_settle(r.vsc.guest);
	converse_on(&r, 2);
	rig_destroy(&r);
}

/* ---- threads ------------------------------------------------------------------------------------- */

/* Frames on each queue, whose loop is a thread, while the primary's changes what all go by. */
static void queues_on_threads_hear_of_changes_under_traffic(void **state)
{
	static const uint32_t tables[2][2] = { { 0, 1 }, { 2, 1 } };
	uint8_t frame[FLOW_BYTES];
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 3, .echo = true, .has_threads = true });
	make_flow(frame, peer, mac, 1);
	for (int round = 0; round < 10; round++) {
		rig_start(&r, NVSP_VERSION_61);
		for (unsigned int i = 0; i < 3; i++) {
			converse_on(&r, i);
		}
		for (int change = 0; change < 10; change++) {
			for (unsigned int i = 1; i < 3; i++) {
				netvsc_select(&r.vsc, i);
				for (uint32_t n = 0; n < 4; n++) {
					netvsc_post_section(&r.vsc, 4 * i + n, frame,
							    sizeof(frame));
				}
			}
			netvsc_select(&r.vsc, 0);
			netvsc_set_filter(&r.vsc, change % 2 ? NDIS_FILTER_PROMISCUOUS : 0);
			assert_int_equal(netvsc_set_rss(&r.vsc, tables[change % 2], 2), 0);
		}
		for (unsigned int i = 0; i < 3; i++) {
			netvsc_select(&r.vsc, i);
			nap();
			netvsc_drain(&r.vsc);
		}
		netvsc_select(&r.vsc, 0);
		if (round % 3 == 0) {
			netvsc_unbind(&r.vsc, round % 2);
		} else {
			netvsc_close(&r.vsc);
		}
		netvsc_open(&r.vsc);
	}
	rig_destroy(&r);
}

static void queues_on_threads_can_be_paused_saved_and_loaded(void **state)
{
	struct vmbus_device *device;
	uint8_t frame[FLOW_BYTES];
	const uint8_t *bytes;
	struct save save;
	struct load load;
	size_t length;
	struct rig r;

	(void)state;
	rig_create(&r, (struct rig_config){ .queues = 3, .echo = true, .has_threads = true });
	device = netvsp_device(r.nic);
	rig_start(&r, NVSP_VERSION_61);
	make_flow(frame, peer, mac, 1);
	for (int round = 0; round < 5; round++) {
		for (unsigned int i = 0; i < 3; i++) {
			netvsc_select(&r.vsc, i);
			netvsc_post_section(&r.vsc, i, frame, sizeof(frame));
		}
		assert_int_equal(bus_pause(fake_guest_bus(r.vsc.guest)), 0);
		netvsp_pause(r.nic);
		save_init(&save);
		device->ops->save(device, &save);
		assert_int_equal(save_finish(&save, &bytes, &length), 0);
		assert_int_equal(netvsc_reload(r.nic, bytes, length, &load), 0);
		save_fini(&save);
		bus_resume(fake_guest_bus(r.vsc.guest));
		netvsp_resume(r.nic);
		nap();
		for (unsigned int i = 0; i < 3; i++) {
			netvsc_select(&r.vsc, i);
			netvsc_drain(&r.vsc);
		}
		for (unsigned int i = 0; i < 3; i++) {
			converse_on(&r, i);
		}
	}
	rig_destroy(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queues_go_on_after_save_and_load),
		cmocka_unit_test(queues_go_on_in_another_process),
		cmocka_unit_test(spoilt_states_of_queues_are_refused),
		cmocka_unit_test(queues_on_threads_hear_of_changes_under_traffic),
		cmocka_unit_test(queues_on_threads_can_be_paused_saved_and_loaded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include "guest/hand_switch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmbus/bus.h"
#include "vswitch/policy.h"
#include "vswitch/port.h"

static bool on_turn(struct loop_poller *poller)
{
	struct hand *hand = container_of(poller, struct hand_party, turns)->hand;

	hand->turn(hand);
	return false;
}

static bool never(struct loop_poller *poller)
{
	(void)poller;
	return false;
}

static const struct loop_poller_ops turn_ops = { on_turn, never };

static void create_ports(struct hand *hand)
{
	struct policy *policy;

	assert_int_equal(policy_create(&policy), 0);
	for (uint16_t i = 0; i < hand->parties; i++) {
		struct hand_party *party = &hand->party[i];
		char name[16];

		snprintf(name, sizeof(name), "port%u", i);
		memcpy(party->mac, (uint8_t[]){ 2, 0, 0, 0, 1, (uint8_t)i }, 6);
		policy_port_init(policy, i, PORT_GUEST);
		assert_int_equal(vswitch_port_add(hand->vswitch, i, name), 0);
		assert_int_equal(port_guest_create(hand->vswitch, i, hand->loop, &party->net), 0);
	}
	policy_seal(policy);
	vswitch_adopt(hand->vswitch, policy);
}

static void create_nic(struct hand *hand, struct hand_party *party)
{
	const struct netvsp_config config = { .name = "net0",
					      .mac = party->mac,
					      .net = party->net };
	struct diag diag;

	assert_int_equal(netvsp_create(&config, &party->nic, &diag), 0);
	netvsp_device(party->nic)->loop = hand->loop;
	netvsc_init(&party->vsc);
	party->hand = hand;
	party->turns.ops = &turn_ops;
	loop_poller_add(fake_guest_loop(party->vsc.guest), &party->turns);
}

void hand_create(struct hand *hand, unsigned int parties, void (*turn)(struct hand *hand))
{
	struct vswitch_config config = { .core_count = 1, .secret = 1 };
	struct diag diag;

	check(parties <= HAND_PARTIES_MAX);
	memset(hand, 0, sizeof(*hand));
	hand->parties = parties;
	hand->turn = turn;
	assert_int_equal(loop_create("core", &hand->loop, &diag), 0);
	config.control = config.loops[0] = hand->loop;
	assert_int_equal(vswitch_create(&config, &hand->vswitch), 0);
	create_ports(hand);
	for (unsigned int i = 0; i < parties; i++) {
		create_nic(hand, &hand->party[i]);
	}
}

void hand_open(struct hand *hand, unsigned int index, uint32_t filter)
{
	struct hand_party *party = &hand->party[index];
	struct fake_guest *guest = party->vsc.guest;

	assert_int_equal(bus_offer(fake_guest_bus(guest), netvsp_device(party->nic)), 0);
	fake_guest_connect(guest, VMBUS_VERSION_5_3);
	netvsc_open(&party->vsc);
	netvsc_start(&party->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&party->vsc, filter);
	netvsc_drain(&party->vsc);
}

struct ending {
	struct loop_work done;
	bool is_done;
};

static void on_done(struct loop_work *work)
{
	container_of(work, struct ending, done)->is_done = true;
}

static void wait_done(struct hand *hand, struct ending *ending)
{
	while (!ending->is_done) {
		loop_turn(hand->loop);
	}
	ending->is_done = false;
}

static void remove_party(struct hand *hand, unsigned int index, struct ending *ending)
{
	struct hand_party *party = &hand->party[index];

	netvsc_close(&party->vsc);
	netvsc_revoke_device(&party->vsc, netvsp_device(party->nic));
	netvsp_destroy(party->nic);
	net_stop(party->net, &ending->done);
	wait_done(hand, ending);
	net_destroy(party->net);
	vswitch_port_remove(hand->vswitch, (uint16_t)index);
	loop_poller_remove(fake_guest_loop(party->vsc.guest), &party->turns);
	netvsc_fini(&party->vsc);
}

void hand_destroy(struct hand *hand)
{
	struct ending ending = { .is_done = false };

	loop_work_init(&ending.done, on_done);
	for (unsigned int i = 0; i < hand->parties; i++) {
		remove_party(hand, i, &ending);
	}
	vswitch_stop(hand->vswitch, &ending.done);
	wait_done(hand, &ending);
	vswitch_destroy(hand->vswitch);
	loop_destroy(hand->loop);
}

/* SPDX-License-Identifier: MIT */
#include "guest/switch_guests.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmbus/bus.h"

void rig_adopt(struct rig *rig)
{
	struct policy *next;

	policy_seal(rig->policy);
	assert_int_equal(policy_copy(rig->policy, &next), 0);
	vswitch_adopt(rig->vswitch, rig->policy);
	rig->policy = next;
}

void rig_settle(struct rig *rig)
{
	while (loop_turn(rig->control)) {}
}

struct end_making {
	struct vswitch *vswitch;
	uint16_t port;
	struct loop *loop;
	struct net **ret;
};

static void create_end(void *arg)
{
	const struct end_making *making = arg;

	check(port_guest_create(making->vswitch, making->port, making->loop, making->ret) == 0);
}

void rig_create_end(struct rig *rig, uint16_t port, struct loop *loop, struct net **ret)
{
	struct end_making making = { rig->vswitch, port, loop, ret };

	loop_call(loop, create_end, &making);
}

void rig_plug(struct rig *rig, unsigned int index)
{
	struct party *party = &rig->party[index];
	char name[16];

	snprintf(name, sizeof(name), "guest%u", index);
	memcpy(party->mac, (uint8_t[]){ 2, 0, 0, 0, 1, (uint8_t)index }, 6);
	party->loop = rig->loops[index % rig->cores];
	netvsc_init(&party->vsc);
	assert_int_equal(vswitch_port_add(rig->vswitch, (uint16_t)index, name), 0);
	policy_port_init(rig->policy, (uint16_t)index, PORT_GUEST);
	rig_create_end(rig, (uint16_t)index, party->loop, &party->net);
}

void rig_make_nic(struct rig *rig, unsigned int index)
{
	struct party *party = &rig->party[index];
	struct netvsp_config config = { .name = "net0", .mac = party->mac, .net = party->net };
	struct diag diag;

	assert_int_equal(netvsp_create(&config, &party->nic, &diag), 0);
}

void rig_start(struct party *party)
{
	struct vmbus_device *device = netvsp_device(party->nic);

	device->loop = party->loop;
	assert_int_equal(bus_offer(fake_guest_bus(party->vsc.guest), device), 0);
	fake_guest_connect(party->vsc.guest, VMBUS_VERSION_5_3);
	netvsc_open(&party->vsc);
	netvsc_start(&party->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&party->vsc,
			  NDIS_FILTER_DIRECTED | NDIS_FILTER_BROADCAST | NDIS_FILTER_ALL_MULTICAST);
}

void rig_create(struct rig *rig, unsigned int cores, unsigned int guests, uint32_t mtu)
{
	struct vswitch_config config = {
		.core_count = cores, .secret = 1, .fdb_entries = 1024, .flows = 1024
	};
	struct diag diag;

	memset(rig, 0, sizeof(*rig));
	rig->cores = cores;
	rig->guests = guests;
	assert_int_equal(loop_create("control", &rig->control, &diag), 0);
	config.control = rig->control;
	for (unsigned int i = 0; i < cores; i++) {
		assert_int_equal(loop_create("core", &rig->loops[i], &diag), 0);
		loop_set_poll_ns(rig->loops[i], 0);
		config.loops[i] = rig->loops[i];
	}
	assert_int_equal(vswitch_create(&config, &rig->vswitch), 0);
	assert_int_equal(policy_create(&rig->policy), 0);
	rig->policy->mtu = mtu;
	for (unsigned int i = 0; i < guests; i++) {
		rig_plug(rig, i);
	}
	rig_adopt(rig);
	for (unsigned int i = 0; i < guests; i++) {
		rig_make_nic(rig, i);
	}
	rig_settle(rig);
	for (unsigned int i = 0; i < cores; i++) {
		assert_int_equal(loop_start_thread(rig->loops[i], &diag), 0);
	}
	for (unsigned int i = 0; i < guests; i++) {
		rig->party[i].vsc.mtu = i == 2 ? 1514 : mtu + 14; /* the third never takes more */
		rig_start(&rig->party[i]);
	}
	rig_settle(rig);
}

struct leaving {
	struct net *net;
	struct loop_work done;
	_Atomic(bool) is_done;
};

static void on_done(struct loop_work *work)
{
	container_of(work, struct leaving, done)->is_done = true;
}

static void stop_net(void *arg)
{
	struct leaving *leaving = arg;

	net_stop(leaving->net, &leaving->done);
}

static void wait_done(struct rig *rig, struct leaving *leaving)
{
	while (!leaving->is_done) {
		loop_turn(rig->control);
	}
}

void rig_stop_net(struct rig *rig, struct loop *loop, struct net *net)
{
	struct leaving leaving = { .net = net };

	loop_work_init(&leaving.done, on_done);
	loop_call(loop, stop_net, &leaving);
	wait_done(rig, &leaving);
}

void rig_remove_nic(struct rig *rig, unsigned int index)
{
	struct party *party = &rig->party[index];

	netvsc_close(&party->vsc);
	netvsc_revoke_device(&party->vsc, netvsp_device(party->nic));
	netvsp_destroy(party->nic);
}

void rig_unplug(struct rig *rig, unsigned int index)
{
	struct party *party = &rig->party[index];

	rig_remove_nic(rig, index);
	rig_stop_net(rig, party->loop, party->net);
	net_destroy(party->net);
	vswitch_port_remove(rig->vswitch, (uint16_t)index);
	netvsc_fini(&party->vsc);
}

void rig_destroy(struct rig *rig)
{
	struct leaving leaving = { 0 };

	for (unsigned int i = 0; i < rig->guests; i++) {
		rig_unplug(rig, i);
	}
	loop_work_init(&leaving.done, on_done);
	vswitch_stop(rig->vswitch, &leaving.done);
	wait_done(rig, &leaving);
	for (unsigned int i = 0; i < rig->cores; i++) {
		loop_stop_thread(rig->loops[i]);
	}
	vswitch_destroy(rig->vswitch);
	policy_destroy(rig->policy);
	for (unsigned int i = 0; i < rig->cores; i++) {
		loop_destroy(rig->loops[i]);
	}
	loop_destroy(rig->control);
}

uint64_t rig_drops(const struct rig *rig, unsigned int port, enum drop_cause cause)
{
	struct port_stats stats;

	vswitch_port_stats(rig->vswitch, (uint16_t)port, &stats);
	return stats.drops[cause];
}

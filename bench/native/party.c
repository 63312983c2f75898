/* SPDX-License-Identifier: MIT */
#include "party.h"

#include <string.h>

#include "base/check.h"
#include "vmbus/bus.h"
#include "vswitch/port.h"

#define RING_BYTES (128U * 4096) /* hv_netvsc's default */

bool party_turn(struct party *party)
{
	bool any = false;

	for (unsigned int i = 0; i < PARTY_LOOPS && party->loops[i]; i++) {
		any |= loop_turn(party->loops[i]);
	}
	return any;
}

static bool on_turn(struct loop_poller *poller)
{
	return party_turn(container_of(poller, struct party, turns));
}

static bool never(struct loop_poller *poller)
{
	(void)poller;
	return false;
}

static const struct loop_poller_ops turn_ops = { on_turn, never };

void party_plug(struct party *party, struct vswitch *vswitch, struct policy *policy, uint16_t port)
{
	party->port = port;
	memcpy(party->mac, (uint8_t[]){ 2, 0, 0, 0, 1, (uint8_t)port }, 6);
	policy_port_init(policy, port, PORT_GUEST);
	check(vswitch_port_add(vswitch, port, port ? "taker" : "sender") == 0);
	check(port_guest_create(vswitch, port, party->core, &party->net) == 0);
}

void party_start(struct party *party)
{
	struct netvsp_config config = { .name = "net0", .mac = party->mac, .net = party->net };
	struct netvsc *vsc = &party->vsc;
	struct diag diag;

	check(netvsp_create(&config, &party->nic, &diag) == 0);
	netvsc_init(vsc);
	party->turns.ops = &turn_ops;
	loop_poller_add(fake_guest_loop(vsc->guest), &party->turns);
	vsc->ring_bytes = RING_BYTES;
	vsc->recv_bytes = PARTY_RECV_BYTES;
	netvsp_device(party->nic)->loop = party->core;
	check(bus_offer(fake_guest_bus(vsc->guest), netvsp_device(party->nic)) == 0);
	fake_guest_connect(vsc->guest, VMBUS_VERSION_5_3);
	netvsc_open(vsc);
	netvsc_start(vsc, NVSP_VERSION_61);
	netvsc_set_filter(vsc, NDIS_FILTER_DIRECTED | NDIS_FILTER_BROADCAST);
	netvsc_enable_rsc(vsc, true);
	netvsc_drain(vsc); /* of the link */
}

static void on_done(struct loop_work *work)
{
	container_of(work, struct party, done)->is_done = true;
}

void party_unplug(struct party *party, struct vswitch *vswitch)
{
	netvsc_close(&party->vsc);
	netvsc_revoke_device(&party->vsc, netvsp_device(party->nic));
	netvsp_destroy(party->nic);
	loop_work_init(&party->done, on_done);
	net_stop(party->net, &party->done);
	while (!party->is_done) {
		party_turn(party);
	}
	net_destroy(party->net);
	vswitch_port_remove(vswitch, party->port);
	loop_poller_remove(fake_guest_loop(party->vsc.guest), &party->turns);
	netvsc_fini(&party->vsc);
}

/* SPDX-License-Identifier: MIT */
/*
 * States of NetVSP that were saved once and must load for ever: a bus with an operational NIC of one
 * queue, whose guest has set filter, groups, address and coalescing, and holds pieces of the receive
 * buffer.
 */
#include "golden/golden.h"
#include "guest/netvsc.h"

static const uint8_t mac[6] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 };
static const uint8_t changed[6] = { 0x02, 0xde, 0xad, 0xbe, 0xef, 0x01 };

struct pair {
	struct netvsc vsc;
	struct net *net;
	struct netvsp *nic;
};

static void pair_create(struct pair *p)
{
	struct netvsp_config config = { .name = "net0", .mac = mac };
	struct diag diag;

	memset(p, 0, sizeof(*p));
	netvsc_init(&p->vsc);
	assert_int_equal(net_null_create(fake_guest_loop(p->vsc.guest), false, &p->net, &diag), 0);
	config.net = p->net;
	assert_int_equal(netvsp_create(&config, &p->nic, &diag), 0);
	fake_guest_offer(p->vsc.guest, netvsp_device(p->nic));
	fake_guest_connect(p->vsc.guest, VMBUS_VERSION_5_3);
}

static void pair_destroy(struct pair *p)
{
	netvsc_close(&p->vsc);
	netvsc_revoke_device(&p->vsc, netvsp_device(p->nic));
	netvsp_destroy(p->nic);
	net_destroy(p->net);
	netvsc_fini(&p->vsc);
}

static int deliver(struct pair *p, uint8_t *frame, uint32_t bytes, uint16_t flags)
{
	struct iovec iov = { frame, bytes };
	struct net_frame nf = {
		.iov = &iov, .iov_count = 1, .bytes = bytes, .flags = flags, .l4 = NET_L4_TCP
	};

	memset(frame, 0x55, bytes);
	memcpy(frame, changed, 6);
	return net_null_deliver(p->net, &nf);
}

static void on_reset(struct loop_work *work)
{
	(void)work;
}

static void load_file(const char *path)
{
	static uint8_t frame[1000];
	struct loop_work reset;
	struct pair p;

	pair_create(&p);
	golden_load(p.vsc.guest, path);
	assert_true(vmbus_channel_is_open(netvsp_device(p.nic)->channel));
	bus_resume(fake_guest_bus(p.vsc.guest));
	fake_guest_settle(p.vsc.guest);
	/* It goes on: the address that the guest had set is the NIC's, and the filter lets it in. */
	assert_int_equal(deliver(&p, frame, sizeof(frame), 0), 0);
	assert_int_equal(net_counters(p.net)->delivered_frames, 1);
	loop_work_init(&reset, on_reset);
	bus_reset(fake_guest_bus(p.vsc.guest), &reset);
	fake_guest_settle(p.vsc.guest);
	pair_destroy(&p);
}

/* ---- making one ---------------------------------------------------------------------------------- */

static void write_state(const char *path)
{
	static uint8_t frame[20000];
	static const uint8_t group[6] = { 1, 0, 0x5e, 0, 0, 1 };
	struct pair p;

	pair_create(&p);
	p.vsc.recv_bytes = 1 << 20;
	netvsc_open(&p.vsc);
	netvsc_start(&p.vsc, NVSP_VERSION_61);
	netvsc_enable_rsc(&p.vsc, true);
	netvsc_set_filter(&p.vsc, NDIS_FILTER_DIRECTED | NDIS_FILTER_MULTICAST);
	assert_int_equal(netvsc_set(&p.vsc, OID_802_3_MULTICAST_LIST, group, 6), 0);
	assert_int_equal(netvsc_set_address(&p.vsc, "02deadbeef01"), RNDIS_STATUS_SUCCESS);
	p.vsc.keep = true;
	assert_int_equal(deliver(&p, frame, 20000, NET_FRAME_COALESCED), 0);
	netvsc_expect_frame(&p.vsc, frame, 20000);
	assert_int_equal(deliver(&p, frame, 60, 0), 0);
	netvsc_expect_frame(&p.vsc, frame, 60);
	assert_int_equal(bus_pause(fake_guest_bus(p.vsc.guest)), 0);
	netvsp_pause(p.nic);
	golden_write(p.vsc.guest, path);
	netvsp_resume(p.nic);
	bus_resume(fake_guest_bus(p.vsc.guest));
	pair_destroy(&p);
}

int main(int argc, char **argv)
{
	return golden_main(
		(struct golden){ .name = "netvsp", .load = load_file, .make = write_state }, argc,
		argv);
}

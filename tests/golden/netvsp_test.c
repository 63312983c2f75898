/* SPDX-License-Identifier: MIT */
/*
 * States of NetVSP that were saved once and must load for ever: a bus with an operational NIC of one
 * queue, whose guest has set filter, groups, address and coalescing, and holds pieces of the receive
 * buffer.
 *
 *   netvsp_test DIRECTORY            loads each DIRECTORY/netvsp-*.state
 *   netvsp_test --write FILE         saves such a state as this version does: for a new golden file,
 *                                    when the saved form has changed and a release is made
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "guest/netvsc.h"
#include "vmbus/bus.h"

static const char *directory, *target;
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

static void load_file(const char *name)
{
	static uint8_t bytes[1 << 20], frame[1000];
	struct vmbus_device *device;
	struct loop_work reset;
	struct load load;
	struct pair p;
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "rb");
	assert_non_null(f);
	size_t length = fread(bytes, 1, sizeof(bytes), f);

	fclose(f);
	pair_create(&p);
	/* A process that takes a machine over has heard nothing of its guest. */
	fake_guest_unload(p.vsc.guest);
	device = netvsp_device(p.nic);
	assert_int_equal(bus_pause(fake_guest_bus(p.vsc.guest)), 0);
	load_init(&load, bytes, length);
	assert_int_equal(bus_load(fake_guest_bus(p.vsc.guest), &load), 0);
	assert_true(vmbus_channel_is_open(device->channel));
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

static void each_golden_state_loads(void **state)
{
	unsigned int count = 0;
	struct dirent *entry;
	DIR *dir = opendir(directory);

	(void)state;
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		size_t length = strlen(entry->d_name);

		if (strncmp(entry->d_name, "netvsp-", 7) == 0 && length > 6 &&
		    strcmp(entry->d_name + length - 6, ".state") == 0) {
			load_file(entry->d_name);
			count++;
		}
	}
	closedir(dir);
	assert_true(count > 0);
}

/* ---- making one ---------------------------------------------------------------------------------- */

static void write_state(void **state)
{
	static uint8_t frame[20000];
	static const uint8_t group[6] = { 1, 0, 0x5e, 0, 0, 1 };
	const uint8_t *bytes;
	struct save save;
	size_t length;
	struct pair p;
	FILE *f;

	(void)state;
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
	save_init(&save);
	bus_save(fake_guest_bus(p.vsc.guest), &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	f = fopen(target, "wb");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, length, f), length);
	assert_int_equal(fclose(f), 0);
	save_fini(&save);
	netvsp_resume(p.nic);
	bus_resume(fake_guest_bus(p.vsc.guest));
	pair_destroy(&p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest load[] = { cmocka_unit_test(each_golden_state_loads) };
	const struct CMUnitTest make[] = { cmocka_unit_test(write_state) };

	if (argc == 3 && strcmp(argv[1], "--write") == 0) {
		target = argv[2];
		return cmocka_run_group_tests_name("golden/netvsp", make, NULL, NULL);
	}
	if (argc != 2) {
		fprintf(stderr, "usage: netvsp_test DIRECTORY | --write FILE\n");
		return 1;
	}
	directory = argv[1];
	return cmocka_run_group_tests_name("golden/netvsp", load, NULL, NULL);
}

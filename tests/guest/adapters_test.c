/* SPDX-License-Identifier: MIT */
/*
 * A guest's NIC that a switch's process serves, and its twin: the real table of adapters over a fake
 * guest; the switch is a process that gives back what is sent to it. Links come and go, and frames with
 * them; nothing is asked of the guest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <libgen.h>
#include <signal.h>
#include <unistd.h>

#include "base/bytes.h"
#include "guest/fake_internal.h"
#include "guest/fake_synic.h"
#include "guest/netvsc.h"
#include "guest/remote_rig.h"
#include "vm/adapters_internal.h"

#define FRAME_BYTES 120U

struct rig {
	struct netvsc vsc;
	struct vm vm;
	struct vm_config config;
	struct vm_adapter *adapter;
	char path[64];
	int listen_fd;
	pid_t host;
	struct loop_work done;
	bool is_done;
};

static const uint8_t peer[6] = { 0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee };
static const uint8_t mac[6] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 };

/* What devices.c has in the worker. */
struct loop *vm_io_loop(struct vm *vm, size_t n)
{
	return vm->io[n % vm->io_count];
}

/* ---- the rig ---- */

static struct vmbus_device *device(struct rig *r)
{
	return netvsp_device(r->adapter->nic);
}

static bool is_away(void *arg)
{
	return remote_worker_is_away(device(arg)) && !strcmp(((struct rig *)arg)->adapter->why, "");
}

static bool is_home(void *arg)
{
	return !remote_worker_is_away(device(arg));
}

static void start_switch(struct rig *r)
{
	r->host = remote_rig_start(r->listen_fd, REMOTE_RIG_SERVE);
	assert_true(fake_guest_wait(r->vsc.guest, is_away, r));
}

static void end_switch(struct rig *r, int signal_number)
{
	kill(r->host, signal_number);
	assert_true(fake_guest_wait(r->vsc.guest, is_home, r));
	remote_rig_wait(r->host);
	r->host = 0;
}

static int set_up(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	char dir[64];
	struct diag diag;

	assert_non_null(r);
	netvsc_init(&r->vsc);
	gpa_t page = fake_guest_alloc(r->vsc.guest, MEM_PAGE_BYTES);

	fake_synic_set_event_page(r->vsc.guest->synic, 0, page,
				  fake_guest_hva(r->vsc.guest, page, MEM_PAGE_BYTES));
	r->listen_fd = remote_rig_listen(r->path, sizeof(r->path));
	strcpy(dir, r->path);
	setenv("TABIQUE_SWITCH_DIR", dirname(dir), 1);
	strcpy(r->config.name, "test");
	r->config.cpus = r->config.io_threads = 1;
	assert_int_equal(vm_config_add_net(&r->config, "switch=host,mac=02:11:22:33:44:55", &diag),
			 0);
	r->vm.config = &r->config;
	r->vm.control = r->vm.io[0] = fake_guest_loop(r->vsc.guest);
	r->vm.io_count = 1;
	r->vm.bus = fake_guest_bus(r->vsc.guest);
	assert_int_equal(vm_adapters_create(&r->vm, &r->vm.adapters), 0);
	assert_int_equal(vm_adapters_add(r->vm.adapters, &r->config.nets[0], &diag), 0);
	r->adapter = &r->vm.adapters->list[0];
	fake_guest_connect(r->vsc.guest, VMBUS_VERSION_5_3);
	netvsc_open(&r->vsc);
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	netvsc_close(&r->vsc);
	netvsc_revoke_device(&r->vsc, device(r));
	vm_adapters_stop(r->vm.adapters);
	vm_adapters_stop(r->vm.adapters); /* as an end that comes twice */
	vm_adapters_destroy(r->vm.adapters);
	if (r->host) {
		kill(r->host, SIGKILL);
		remote_rig_wait(r->host);
	}
	netvsc_fini(&r->vsc);
	close(r->listen_fd);
	remote_rig_unlink(r->path);
	vm_config_fini(&r->config);
	free(r);
	return 0;
}

static void start(struct rig *r)
{
	netvsc_start(&r->vsc, NVSP_VERSION_61);
	netvsc_set_filter(&r->vsc, NDIS_FILTER_DIRECTED | NDIS_FILTER_BROADCAST);
}

static void make_frame(uint8_t *frame, const uint8_t *to, const uint8_t *from)
{
	memset(frame, 0x5a, FRAME_BYTES);
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	bytes_put_le16(frame + 12, 0xb588); /* no protocol that anybody parses */
}

static void expect_there_and_back(struct rig *r)
{
	uint8_t frame[FRAME_BYTES];

	make_frame(frame, peer, mac);
	assert_int_equal(netvsc_send_section(&r->vsc, 0, frame, FRAME_BYTES), NVSP_STATUS_SUCCESS);
	make_frame(frame, mac, peer);
	netvsc_expect_frame(&r->vsc, frame, FRAME_BYTES);
}

static bool is_told_up(struct rig *r)
{
	uint8_t info[RNDIS_INFO_BYTES_MAX];
	uint32_t bytes;

	assert_int_equal(netvsc_query(&r->vsc, OID_GEN_MEDIA_CONNECT_STATUS, info, &bytes),
			 RNDIS_STATUS_SUCCESS);
	return bytes_le32(info) == 0;
}

/* A word of what `inspect` says of it. */
static void expect_shown(struct rig *r, const char *name, const char *value)
{
	json_t *tree = json_object(), *item;
	struct inspect at = { tree };

	vm_adapters_inspect(r->vm.adapters, &at);
	item = json_array_get(json_object_get(tree, "list"), 0);
	assert_string_equal(json_string_value(json_object_get(item, name)), value);
	json_decref(tree);
}

/* ---- tests ---- */

static void a_guest_starts_without_a_switch(void **state)
{
	struct rig *r = *state;
	uint8_t frame[FRAME_BYTES];

	start(r);
	assert_false(is_told_up(r));
	make_frame(frame, peer, mac);
	/* Lost, and answered: nothing in the guest stands still. */
	assert_int_equal(netvsc_send_section(&r->vsc, 0, frame, FRAME_BYTES), NVSP_STATUS_SUCCESS);
	expect_shown(r, "where", "home");
	expect_shown(r, "port", "test/net0");
}

static void the_link_comes_and_goes_with_the_switch(void **state)
{
	struct rig *r = *state;

	start(r);
	for (int i = 0; i < 3; i++) {
		start_switch(r);
		netvsc_expect_status(&r->vsc, RNDIS_STATUS_MEDIA_CONNECT);
		expect_there_and_back(r);
		expect_shown(r, "where", "away");
		end_switch(r, SIGKILL);
		netvsc_expect_status(&r->vsc, RNDIS_STATUS_MEDIA_DISCONNECT);
		expect_shown(r, "where", "home");
		expect_shown(r, "why", "the process that served it is gone");
	}
	/* Who asks is answered also now, and has the address that it had. */
	assert_false(is_told_up(r));
}

static void a_switch_that_is_started_anew_takes_no_link_away(void **state)
{
	struct rig *r = *state;
	uint8_t frame[FRAME_BYTES];

	start(r);
	start_switch(r);
	netvsc_expect_status(&r->vsc, RNDIS_STATUS_MEDIA_CONNECT);
	end_switch(r, SIGTERM);
	assert_true(is_told_up(r));
	/* It waits in the ring until somebody is there again. */
	make_frame(frame, peer, mac);
	netvsc_post_section(&r->vsc, 0, frame, FRAME_BYTES);
	netvsc_expect_silence(&r->vsc);
	start_switch(r);
	netvsc_wait_completions(&r->vsc, 1);
	make_frame(frame, mac, peer);
	netvsc_expect_frame(&r->vsc, frame, FRAME_BYTES);
	expect_there_and_back(r);
	assert_true(is_told_up(r));
}

static void nobody_waits_for_ever_for_a_switch(void **state)
{
	struct rig *r = *state;
	uint8_t frame[FRAME_BYTES];

	start(r);
	start_switch(r);
	netvsc_expect_status(&r->vsc, RNDIS_STATUS_MEDIA_CONNECT);
	end_switch(r, SIGTERM);
	make_frame(frame, peer, mac);
	netvsc_post_section(&r->vsc, 0, frame, FRAME_BYTES);
	netvsc_expect_status(&r->vsc, RNDIS_STATUS_MEDIA_DISCONNECT); /* within 2.5 s */
	netvsc_wait_completions(&r->vsc, 1);
}

static bool is_unplugged(void *arg)
{
	const struct rig *r = arg;

	return !r->adapter->is_lent && !r->adapter->is_leaving;
}

static void the_user_pulls_the_cable(void **state)
{
	struct rig *r = *state;

	start(r);
	start_switch(r);
	netvsc_expect_status(&r->vsc, RNDIS_STATUS_MEDIA_CONNECT);
	for (int i = 0; i < 3; i++) {
		r->adapter->is_link_up = false;
		vm_away_set_link(r->adapter);
		assert_true(fake_guest_wait(r->vsc.guest, is_unplugged, r));
		netvsc_expect_status(&r->vsc, RNDIS_STATUS_MEDIA_DISCONNECT);
		expect_shown(r, "where", "unplugged");
		r->adapter->is_link_up = true;
		vm_away_set_link(r->adapter);
		assert_true(fake_guest_wait(r->vsc.guest, is_away, r));
		netvsc_expect_status(&r->vsc, RNDIS_STATUS_MEDIA_CONNECT);
		expect_there_and_back(r);
	}
	/* Out and in again before it is home. */
	r->adapter->is_link_up = false;
	vm_away_set_link(r->adapter);
	r->adapter->is_link_up = true;
	vm_away_set_link(r->adapter);
	assert_true(fake_guest_wait(r->vsc.guest, is_away, r));
	expect_shown(r, "where", "away");
}

static void a_pause_takes_it_home_with_its_link(void **state)
{
	struct rig *r = *state;

	start(r);
	start_switch(r);
	netvsc_expect_status(&r->vsc, RNDIS_STATUS_MEDIA_CONNECT);
	assert_int_equal(bus_pause(r->vm.bus), 0);
	vm_adapters_pause(r->vm.adapters, true);
	assert_true(is_home(r));
	vm_adapters_pause(r->vm.adapters, false);
	bus_resume(r->vm.bus);
	assert_true(fake_guest_wait(r->vsc.guest, is_away, r));
	expect_there_and_back(r);
	assert_true(is_told_up(r));
}

static void a_driver_goes_and_comes_while_it_is_away(void **state)
{
	struct rig *r = *state;

	start(r);
	start_switch(r);
	netvsc_expect_status(&r->vsc, RNDIS_STATUS_MEDIA_CONNECT);
	for (int i = 0; i < 3; i++) {
		netvsc_unbind(&r->vsc, false);
		netvsc_open(&r->vsc);
		start(r);
		/* As if nobody had moved: its link is up from the beginning. */
		assert_true(is_told_up(r));
		assert_true(fake_guest_wait(r->vsc.guest, is_away, r));
		expect_there_and_back(r);
	}
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_guest_starts_without_a_switch),
		TEST(the_link_comes_and_goes_with_the_switch),
		TEST(a_switch_that_is_started_anew_takes_no_link_away),
		TEST(nobody_waits_for_ever_for_a_switch),
		TEST(the_user_pulls_the_cable),
		TEST(a_pause_takes_it_home_with_its_link),
		TEST(a_driver_goes_and_comes_while_it_is_away),
	};
#undef TEST
	int status;

	if (remote_rig_is_host(argc, argv, &status)) {
		return status;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * What a data process has left for the next one (switchd/sw_state.c): into a switch with two ports, one of
 * which learns from DHCP and has a rule. What it says then is loaded again.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "switchd/sw_internal.h"
#include "vswitch/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char config_text[] =
	"{\"version\":1,\"name\":\"sw0\",\"ports\":[{\"name\":\"web\",\"arp-guard\":\"snoop\"},"
	"{\"name\":\"db\"}],\"acl\":[{\"rule\":1,\"port\":\"web\",\"direction\":\"in\","
	"\"action\":\"allow\",\"stateful\":true}]}";

static bool no_mac(void *ctx, uint16_t port, uint8_t ret[NET_MAC_BYTES])
{
	(void)ctx;
	(void)port;
	(void)ret;
	return false;
}

static bool no_link(void *ctx, uint16_t port)
{
	(void)ctx;
	(void)port;
	return false;
}

static void adopt(struct sw *sw)
{
	const struct sw_policy_facts facts = { .ctx = sw, .mac = no_mac, .link = no_link };
	struct policy *policy;
	struct diag diag;

	for (uint16_t n = SW_PORT_FIRST; n < VSWITCH_PORTS_MAX; n++) {
		const char *name = sw_policy_name(sw->config, n);

		if (name && !vswitch_port_name(sw->vswitch, n)) {
			check(vswitch_port_add(sw->vswitch, n, name) == 0);
		}
	}
	check(sw_policy_build(sw->config, &facts, &policy, &diag) == 0);
	vswitch_adopt(sw->vswitch, policy);
}

static struct sw *make(void)
{
	static struct sw sw;
	struct vswitch_config vswitch = {
		.core_count = 1, .secret = 42, .fdb_entries = 256, .flows = 256
	};
	struct diag diag;

	list_init(&sw.wires);
	list_init(&sw.nics);
	check(loop_create("fuzz", &sw.control, &diag) == 0);
	vswitch.control = vswitch.loops[0] = sw.control;
	check(vswitch_create(&vswitch, &sw.vswitch) == 0);
	return &sw;
}

static void load(struct sw *sw, const void *bytes, size_t length)
{
	struct diag diag;

	sw_config_destroy(sw->config);
	check(sw_config_parse_text(config_text, strlen(config_text), &sw->config, &diag) == 0);
	sw_state_load_names(sw, bytes, length);
	check(sw_config_check(sw->config, &diag) == 0);
	adopt(sw);
	sw_state_load_tables(sw, bytes, length);
	check(sw->parked_count <= SW_PARKED_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sw *sw;
	void *again;
	off_t length;
	int fd;

	if (!sw) {
		sw = make();
	}
	load(sw, data, size);
	fd = sw_state_save(sw, true);
	check(fd >= 0);
	length = lseek(fd, 0, SEEK_END);
	check(length > 0);
	again = mmap(NULL, (size_t)length, PROT_READ, MAP_PRIVATE, fd, 0);
	check(again != MAP_FAILED);
	load(sw, again, (size_t)length);
	munmap(again, (size_t)length);
	close(fd);
	free(sw->parked);
	sw->parked = NULL;
	sw->parked_count = 0;
	/* Automatic ports of this input are not there for the next. */
	load(sw, "", 0);
	sw_forget_ports(sw);
	return 0;
}

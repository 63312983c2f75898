/* SPDX-License-Identifier: MIT */
/*
 * The DHCP server before real clients: a network namespace with a TAP device, a client of Debian's in
 * it, and our server (and a host that answers ARP) at the other end.
 *
 * Needs root, /dev/net/tun, iproute2, and udhcpc or dhclient; skipped without.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "loop/loop.h"
#include "net/dhcp.h"

#define NETWORK   0x0a090800U /* 10.9.8.0/24 */
#define SERVER    (NETWORK + 1)
#define WAIT_MS   30000
#define TURN_MS   20
#define ARP_BYTES 42U

static const struct dhcp_config config = { .network = NETWORK,
					   .prefix_bits = 24,
					   .mac = { 0x52, 0x55, 10, 9, 8, 1 },
					   .server = SERVER,
					   .router = SERVER,
					   .dns = NETWORK + 3,
					   .pool_first = NETWORK + 50,
					   .pool_last = NETWORK + 60,
					   .mtu = 1400,
					   .domain = "judge.test" };

struct rig {
	struct dhcp *dhcp;
	int tap;
	char dir[64], script[80], out[80];
};

/* ---- our end ---- */

static void write_frame(struct rig *rig, const uint8_t *frame, uint32_t bytes)
{
	assert_int_equal(write(rig->tap, frame, bytes), bytes);
}

/* The server's address is there; every other is free. */
static void answer_arp(struct rig *rig, uint8_t *frame)
{
	if (bytes_be16(frame + 20) != 1 || bytes_be32(frame + 38) != SERVER) {
		return;
	}
	memcpy(frame, frame + 6, 6);
	memcpy(frame + 6, config.mac, 6);
	bytes_put_be16(frame + 20, 2);
	memcpy(frame + 32, frame + 22, 10);
	memcpy(frame + 22, config.mac, 6);
	bytes_put_be32(frame + 28, SERVER);
	write_frame(rig, frame, ARP_BYTES);
}

static void serve(struct rig *rig)
{
	struct pollfd p = { rig->tap, POLLIN, 0 };
	uint8_t frame[2048], reply[DHCP_REPLY_BYTES];
	uint32_t bytes;
	ssize_t got;

	if (poll(&p, 1, TURN_MS) <= 0) {
		return;
	}
	got = read(rig->tap, frame, sizeof(frame));
	if (got >= ARP_BYTES && bytes_be16(frame + 12) == 0x0806) {
		answer_arp(rig, frame);
	} else if (got > 0 && dhcp_input(rig->dhcp, frame, (uint32_t)got,
					 loop_now_ns() / 1000000000, reply, &bytes) == DHCP_REPLY) {
		write_frame(rig, reply, bytes);
	}
}

/* Serves until a program has ended; its exit code, -1: none within WAIT_MS. */
static int run(struct rig *rig, const char *command)
{
	const uint64_t until_ns = loop_now_ns() + WAIT_MS * 1000000ULL;
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, WNOHANG) != pid) {
		serve(rig);
		if (loop_now_ns() > until_ns) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -1;
		}
	}
	for (int i = 0; i < 50; i++) {
		serve(rig); /* what it sent last */
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int open_tap(void)
{
	struct ifreq request = { .ifr_name = "eth" };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	request.ifr_flags = IFF_TAP | IFF_NO_PI;
	if (fd >= 0 && ioctl(fd, TUNSETIFF, &request)) {
		close(fd);
		return -1;
	}
	return fd;
}

static void write_script(struct rig *rig, const char *text)
{
	FILE *f = fopen(rig->script, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(rig->script, 0755), 0);
	assert_int_equal(setenv("OUT", rig->out, 1), 0);
}

static const char *script_said(const struct rig *rig)
{
	static char text[512];
	FILE *f = fopen(rig->out, "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	text[n] = 0;
	if (f) {
		fclose(f);
	}
	return text;
}

static int set_up(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct diag diag;

	strcpy(rig->dir, "/tmp/dhcp-clients-XXXXXX");
	assert_non_null(mkdtemp(rig->dir));
	snprintf(rig->script, sizeof(rig->script), "%s/script", rig->dir);
	snprintf(rig->out, sizeof(rig->out), "%s/out", rig->dir);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	rig->tap = open_tap();
	assert_true(rig->tap >= 0);
	assert_int_equal(system("ip link set lo up; ip link set eth up"), 0);
	assert_int_equal(dhcp_create(&config, &rig->dhcp, &diag), 0);
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;
	char command[96];

	dhcp_destroy(rig->dhcp);
	close(rig->tap);
	snprintf(command, sizeof(command), "rm -rf %s", rig->dir);
	assert_int_equal(system(command), 0);
	free(rig);
	return 0;
}

static bool has(const char *program)
{
	char command[96];

	snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1", program);
	return system(command) == 0;
}

/* ---- the judges ---- */

static void udhcpc_gets_a_lease_renews_and_gives_it_back(void **state)
{
	struct rig *rig = *state;
	struct dhcp_lease lease;
	uint32_t cursor = 0;
	char command[256];

	if (!has("udhcpc")) {
		print_message("no udhcpc here (Debian's package udhcpc)\n");
		skip();
	}
	write_script(
		rig,
		"#!/bin/sh\n"
		"case $1 in renew) echo renewed $ip >>$OUT; (sleep 0.2; kill $PPID) & ;; bound)\n"
		"echo $ip $mask $router $dns $domain $mtu $serverid >$OUT\n"
		"ip addr add $ip/$mask dev $interface\n"
		"(sleep 0.3; kill -USR1 $PPID) & ;; esac\n");
	snprintf(command, sizeof(command), "udhcpc -i eth -n -R -f -s %s >%s/log 2>&1; true",
		 rig->script, rig->dir);
	assert_int_equal(run(rig, command), 0);
	assert_string_equal(script_said(rig),
			    "10.9.8.50 24 10.9.8.1 10.9.8.3 judge.test 1400 10.9.8.1\n"
			    "renewed 10.9.8.50\n");
	assert_int_equal(dhcp_counters(rig->dhcp)->acks, 2);
	assert_int_equal(dhcp_counters(rig->dhcp)->releases, 1);
	assert_false(dhcp_next(rig->dhcp, &cursor, loop_now_ns() / 1000000000, &lease));
}

static void udhcpc_gets_the_address_that_it_asks_for(void **state)
{
	struct rig *rig = *state;
	char command[256];

	if (!has("udhcpc")) {
		skip();
	}
	write_script(rig, "#!/bin/sh\n[ $1 != bound ] || echo $ip >$OUT\n");
	snprintf(command, sizeof(command), "udhcpc -i eth -n -q -f -r 10.9.8.55 -s %s >%s/log 2>&1",
		 rig->script, rig->dir);
	assert_int_equal(run(rig, command), 0);
	assert_string_equal(script_said(rig), "10.9.8.55\n");
}

static void dhclient_gets_a_lease_renews_and_gives_it_back(void **state)
{
	struct rig *rig = *state;
	char command[400];

	if (!has("dhclient")) {
		print_message("no dhclient here (Debian's package isc-dhcp-client)\n");
		skip();
	}
	write_script(rig, "#!/bin/sh\n"
			  "case $reason in BOUND|REBOOT)\n"
			  "echo $reason $new_ip_address $new_subnet_mask $new_routers "
			  "$new_domain_name_servers $new_interface_mtu >>$OUT\n"
			  "ip addr replace $new_ip_address/24 dev $interface;; esac\n"
			  "exit 0\n");
	for (int i = 0; i < 2; i++) { /* the second time it asks for what it had: INIT-REBOOT */
		snprintf(command, sizeof(command),
			 "cd %s; dhclient -1 -e OUT=$OUT -lf $PWD/leases -pf $PWD/pid -cf "
			 "/dev/null -sf %s eth >log 2>&1 && kill -9 $(cat pid)",
			 rig->dir, rig->script);
		assert_int_equal(run(rig, command), 0);
	}
	assert_string_equal(script_said(rig),
			    "BOUND 10.9.8.50 255.255.255.0 10.9.8.1 10.9.8.3 1400\n"
			    "REBOOT 10.9.8.50 255.255.255.0 10.9.8.1 10.9.8.3 1400\n");
	snprintf(command, sizeof(command),
		 "cd %s; dhclient -r -e OUT=$OUT -lf $PWD/leases -pf $PWD/pid -cf /dev/null -sf %s "
		 "eth >log 2>&1",
		 rig->dir, rig->script);
	assert_int_equal(run(rig, command), 0);
	assert_int_equal(dhcp_counters(rig->dhcp)->releases, 1);
	assert_int_equal(dhcp_counters(rig->dhcp)->acks, 2);
	assert_int_equal(dhcp_counters(rig->dhcp)->naks, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(udhcpc_gets_a_lease_renews_and_gives_it_back),
		TEST(udhcpc_gets_the_address_that_it_asks_for),
		TEST(dhclient_gets_a_lease_renews_and_gives_it_back),
	};

	if (geteuid() != 0 || access("/dev/net/tun", R_OK | W_OK) != 0 || !has("ip") ||
	    unshare(CLONE_NEWNET) != 0) {
		fputs("needs root, /dev/net/tun and iproute2\n", stderr);
		return 77;
	}
	if (!has("udhcpc") && !has("dhclient")) {
		fputs("no DHCP client here: tools/setup test installs udhcpc\n", stderr);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/*
 * tabique-ext-balance: a forwarder. Frames for one address, which no port has for itself, are spread over
 * several ports by their flow; ports without a link are left out.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "ext/ext_program.h"
#include "ext/spread.h"

#define MEMBERS_MAX 64

static const char usage[] =
	"usage: tabique-ext-balance [--once] SWITCH MAC PORT...\n"
	"\n"
	"A forwarder for a virtual switch: frames for the address MAC are spread over the ports "
	"PORT by\n"
	"their flow. All of a flow goes to one port, as long as that one's link is up. SWITCH is "
	"a\n"
	"switch's name, or the path of its socket. A switch has one forwarder.\n"
	"\n"
	"  --once  ends when the switch does, instead of waiting for it\n";

struct balance {
	char **names;
	unsigned int name_count;
	uint64_t seen;                 /* ext_client_ports_seen() when members were looked for */
	uint16_t members[MEMBERS_MAX]; /* whose link is up */
	unsigned int member_count;
};

static void find_members(struct balance *balance, struct ext_client *client)
{
	balance->member_count = 0;
	for (unsigned int i = 0; i < balance->name_count; i++) {
		int port = ext_client_find_port(client, balance->names[i]);

		if (port >= 0 && ext_client_port(client, (uint16_t)port)->flags & VSEXT_PORT_LINK) {
			balance->members[balance->member_count++] = (uint16_t)port;
		}
	}
	balance->seen = ext_client_ports_seen(client);
}

static void on_frame(void *ctx, struct ext_client *client, const struct ext_frame *frame)
{
	struct balance *balance = ctx;
	uint64_t ports[VSEXT_PORTS_MAX / 64] = { 0 };
	int port;

	if (balance->seen != ext_client_ports_seen(client)) {
		find_members(balance, client);
	}
	port = spread_pick(balance->members, balance->member_count, frame->slot->hash);
	if (port < 0) {
		ext_client_drop(client, frame);
		return;
	}
	ports[port / 64] = 1ULL << port % 64;
	ext_client_send(client, frame, ports);
}

static bool parse_mac(const char *text, uint8_t ret[6])
{
	char rest;

	return strlen(text) == 17 &&
	       sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &ret[0], &ret[1], &ret[2],
		      &ret[3], &ret[4], &ret[5], &rest) == 6 &&
	       !(ret[0] & 1);
}

static int fail(void)
{
	fputs(usage, stderr);
	return 1;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "once", no_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct balance balance = { 0 };
	struct ext_program program = {
		.name = "tabique-ext-balance",
		.client = { .kind = VSEXT_FORWARD, .name = "balance", .match = VSEXT_MATCH_TO },
		.on_frame = on_frame,
		.ctx = &balance,
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'o') {
			program.once = true;
		} else if (option == 'h') {
			fputs(usage, stdout);
			return 0;
		} else {
			return fail();
		}
	}
	if (argc - optind < 3 || argc - optind - 2 > MEMBERS_MAX ||
	    !parse_mac(argv[optind + 1], program.client.to)) {
		return fail();
	}
	program.where = argv[optind];
	balance.names = argv + optind + 2;
	balance.name_count = (unsigned int)(argc - optind - 2);
	return ext_program_run(&program);
}

/* SPDX-License-Identifier: MIT */
/*
 * tabique-ext-dns: a filter. Drops DNS questions for the names of a list and whatever is below them, and
 * can mark all others with a DSCP.
 */
#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "ext/dns_match.h"
#include "ext/ext_program.h"

#define UDP      17
#define DSCP_MAX 63

static const char usage[] =
	"usage: tabique-ext-dns [--port PORT] [--dscp N] [--once] [-v] SWITCH SUFFIX...\n"
	"\n"
	"A filter for a virtual switch: drops DNS questions over UDP for the names SUFFIX and "
	"below\n"
	"them. SWITCH is a switch's name, or the path of its socket.\n"
	"\n"
	"  --port PORT  only what this port of the switch sends\n"
	"  --dscp N     marks all other questions (0 to 63)\n"
	"  --once       ends when the switch does, instead of waiting for it\n"
	"  -v           says what it drops\n";

struct dns {
	char **suffixes;
	int suffix_count;
	bool has_dscp, is_verbose;
	unsigned long dscp;
};

static bool is_listed(const struct dns *dns, const char *name)
{
	for (int i = 0; i < dns->suffix_count; i++) {
		if (dns_has_suffix(name, dns->suffixes[i])) {
			return true;
		}
	}
	return false;
}

/* A copy with the DSCP goes on instead. */
static bool mark(const struct dns *dns, struct ext_client *client, const struct ext_frame *frame)
{
	uint32_t bytes = frame->slot->bytes;

	if (bytes > frame->room) {
		return false;
	}
	memcpy(frame->changed, frame->bytes, bytes);
	if (!dns_set_dscp(frame->changed, bytes, frame->slot->l3_offset, (unsigned int)dns->dscp,
			  !(frame->slot->flags & VSEXT_FRAME_IP_CHECKSUM))) {
		return false;
	}
	ext_client_change(client, frame, bytes);
	return true;
}

static void on_frame(void *ctx, struct ext_client *client, const struct ext_frame *frame)
{
	const struct dns *dns = ctx;
	const uint8_t *message;
	char name[DNS_NAME_BYTES];
	size_t bytes;

	/* Fragments and what else hides its ports come here, too: those have no l4_offset. */
	message = frame->slot->protocol == UDP ? dns_message(frame->bytes, frame->slot->bytes,
							     frame->slot->l4_offset, &bytes)
					       : NULL;
	if (!message || !dns_question(message, bytes, name)) {
		ext_client_pass(client, frame);
	} else if (is_listed(dns, name)) {
		if (dns->is_verbose) {
			const struct vsext_port *port = ext_client_port(client, frame->slot->port);

			printf("%s asked for %s\n", port ? port->name : "?", name);
			fflush(stdout);
		}
		ext_client_drop(client, frame);
	} else if (!dns->has_dscp || !mark(dns, client, frame)) {
		ext_client_pass(client, frame);
	}
}

static int fail(void)
{
	fputs(usage, stderr);
	return 1;
}

/* As names are compared: in lower case, without dots at the ends. */
static void tidy(char *suffix)
{
	size_t bytes = strlen(suffix);

	if (bytes > 0 && suffix[bytes - 1] == '.') {
		suffix[bytes - 1] = '\0';
	}
	if (suffix[0] == '.') {
		memmove(suffix, suffix + 1, strlen(suffix));
	}
	for (; *suffix; suffix++) {
		*suffix = (char)tolower((unsigned char)*suffix);
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "port", required_argument, NULL, 'p' },
		{ "dscp", required_argument, NULL, 'd' },
		{ "once", no_argument, NULL, 'o' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct dns dns = { 0 };
	struct ext_program program = {
		.name = "tabique-ext-dns",
		.client = { .kind = VSEXT_FILTER,
			    .name = "dns",
			    .directions = VSEXT_IN,
			    .match = VSEXT_MATCH_PROTOCOL | VSEXT_MATCH_L4_PORT,
			    .protocol = UDP,
			    .l4_port = DNS_PORT },
		.on_frame = on_frame,
		.ctx = &dns,
	};
	int option;

	while ((option = getopt_long(argc, argv, "vh", options, NULL)) != -1) {
		if (option == 'p') {
			program.client.port = optarg;
			program.client.match |= VSEXT_MATCH_PORT;
		} else if (option == 'd' && ext_program_number(optarg, 0, DSCP_MAX, &dns.dscp)) {
			dns.has_dscp = true;
		} else if (option == 'o') {
			program.once = true;
		} else if (option == 'v') {
			dns.is_verbose = true;
		} else if (option == 'h') {
			fputs(usage, stdout);
			return 0;
		} else {
			return fail();
		}
	}
	dns.suffixes = argv + optind + 1;
	dns.suffix_count = argc - optind - 1;
	if (dns.suffix_count < 1 && !(dns.has_dscp && dns.suffix_count == 0)) {
		return fail();
	}
	for (int i = 0; i < dns.suffix_count; i++) {
		tidy(dns.suffixes[i]);
	}
	program.where = argv[optind];
	return ext_program_run(&program);
}

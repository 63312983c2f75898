/* SPDX-License-Identifier: MIT */
/* tabique ctl: one request to a running partition. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "rpc/rpc.h"
#include "vm/vm.h"

/* A guest has 10 s to answer a request to shut down; everything else is at once. */
#define TIMEOUT_MS 30000

static const char help[] =
	"usage: tabique ctl PATH VERB [KEY=VALUE]...\n"
	"\n"
	"Sends one request to the partition whose control socket is PATH (given to\n"
	"tabique run --control unix:PATH) and prints the answer as JSON.\n"
	"\n"
	"  status             name, state, uptime, heartbeat\n"
	"  inspect            the whole tree: processors, exits, channels, rings, counters\n"
	"  pause, resume      stop the processors, let them run again\n"
	"  reset              restart the guest without asking it\n"
	"  nmi                send a non-maskable interrupt to every processor\n"
	"  powerbutton        press the ACPI power button\n"
	"  shutdown           ask the guest to power off in order; restart=true: to restart\n"
	"  quit               end the partition at once\n"
	"  help               what this partition understands\n"
	"\n"
	"exit status: 0 done; 1 the partition said no, or nonsense; 2 it cannot be reached.\n";

int cmd_ctl(int argc, char **argv)
{
	json_t *request, *result;
	struct diag diag;

	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		fputs(help, stdout);
		return 0;
	}
	if (argc < 3) {
		fputs(help, stderr);
		return VM_STATUS_USER;
	}
	const char *path = strncmp(argv[1], "unix:", 5) == 0 ? argv[1] + 5 : argv[1];

	if (rpc_request_from_words(argv[2], argv + 3, (size_t)argc - 3, &request, &diag)) {
		return cmd_fail(VM_STATUS_USER, &diag);
	}
	int err = rpc_call(path, request, TIMEOUT_MS, &result, &diag);

	json_decref(request);
	if (err) {
		return cmd_fail(err == -EREMOTEIO ? VM_STATUS_USER : VM_STATUS_HOST, &diag);
	}
	json_dumpf(result, stdout, isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT);
	putchar('\n');
	json_decref(result);
	return 0;
}

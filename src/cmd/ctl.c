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

/*
 * A guest has 10 s to answer a request to shut down; removing or resizing a disk waits for the host's
 * storage; everything else is at once.
 */
#define TIMEOUT_MS     30000

#define VERB_BYTES_MAX 64

static const char help[] =
	"usage: tabique ctl PATH VERB [KEY=VALUE]...\n"
	"\n"
	"Sends one request to the partition whose control socket is PATH (given to\n"
	"tabique run --control unix:PATH) and prints the answer as JSON.\n"
	"\n"
	"The partition:\n"
	"  status             name, state (and why it is paused), uptime, heartbeat\n"
	"  inspect            the whole tree: processors, exits, channels, rings, counters\n"
	"  pause, resume      stop the processors, let them run again\n"
	"  reset              restart the guest without asking it\n"
	"  nmi                send a non-maskable interrupt to every processor\n"
	"  powerbutton        press the ACPI power button\n"
	"  screendump file=FILE.png\n"
	"                     the picture on the legacy machine's screen\n"
	"  shutdown           ask the guest to power off in order; restart=true: to restart\n"
	"  quit               end the partition at once\n"
	"  help               what this partition understands\n"
	"\n"
	"Disks and DVD drives, while the guest runs; each has an id:\n"
	"  disk list          all of them, with their counters, and the policies\n"
	"  disk add path=FILE [KEY=VALUE]...     the keys of tabique run --disk\n"
	"  dvd add [path=FILE] [KEY=VALUE]...    those of --dvd\n"
	"  disk remove id=ID                     the guest is told that it has gone\n"
	"  disk resize id=ID [size=SIZE] [shrink=true]\n"
	"                     without size: takes over what size the host's storage has\n"
	"  disk eject id=ID [force=true]         takes the disc out\n"
	"  disk change id=ID path=FILE [force=true]\n"
	"                     another disc; force: even if the guest has locked the tray\n"
	"  disk retry [id=ID]                    tries again what on-error=stop holds\n"
	"\n"
	"Limits; without any, what is in force; 0 is none:\n"
	"  disk qos id=ID [iops=N] [bandwidth=SIZE] [iops-burst=N] [bandwidth-burst=SIZE]\n"
	"  policy list        those that disks share, with their counters\n"
	"  policy add name=NAME [iops=N]...      a new one\n"
	"  policy set name=NAME [iops=N]...      only what is named changes\n"
	"\n"
	"exit status: 0 done; 1 the partition said no, or nonsense; 2 it cannot be reached.\n";

/*
 * "disk add" are two words: all before the first with '='. *ret_used: how many they are. -EINVAL with a
 * sentence.
 */
static int join_verb(char *const *words, int count, char ret[VERB_BYTES_MAX], int *ret_used,
		     struct diag *reterr)
{
	size_t length = 0;
	int used = 0;

	while (used < count && !strchr(words[used], '=')) {
		int n = snprintf(ret + length, VERB_BYTES_MAX - length, "%s%s", used ? " " : "",
				 words[used]);

		if (n < 0 || (size_t)n >= VERB_BYTES_MAX - length) {
			return diag_set(reterr, -EINVAL, "\"%s...\" is no verb: try help", ret);
		}
		length += (size_t)n;
		used++;
	}
	if (used == 0) {
		return diag_set(reterr, -EINVAL, "\"%s\" stands where a verb should: try help",
				words[0]);
	}
	*ret_used = used;
	return 0;
}

/* What a verb that was not answered may have done. */
static void explain_timeout(const char *verb, struct diag *diag)
{
	if (strncmp(verb, "disk ", 5) == 0) {
		(void)!diag_set(diag, -ETIMEDOUT,
				"%s was not done within %d s, and may still be: see disk list",
				verb, TIMEOUT_MS / 1000);
	}
}

int cmd_ctl(int argc, char **argv)
{
	json_t *request, *result;
	char verb[VERB_BYTES_MAX];
	struct diag diag;
	int used = 0;

	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		fputs(help, stdout);
		return 0;
	}
	if (argc < 3) {
		fputs(help, stderr);
		return VM_STATUS_USER;
	}
	const char *path = strncmp(argv[1], "unix:", 5) == 0 ? argv[1] + 5 : argv[1];

	if (join_verb(argv + 2, argc - 2, verb, &used, &diag) ||
	    rpc_request_from_words(verb, argv + 2 + used, (size_t)(argc - 2 - used), &request,
				   &diag)) {
		return cmd_fail(VM_STATUS_USER, &diag);
	}
	int err = rpc_call(path, request, TIMEOUT_MS, &result, &diag);

	json_decref(request);
	if (err == -ETIMEDOUT) {
		explain_timeout(verb, &diag);
	}
	if (err) {
		return cmd_fail(err == -EREMOTEIO ? VM_STATUS_USER : VM_STATUS_HOST, &diag);
	}
	json_dumpf(result, stdout, isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT);
	putchar('\n');
	json_decref(result);
	return 0;
}

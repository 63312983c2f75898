/* SPDX-License-Identifier: MIT */
/* tabique: which command. */
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "cmd/cmd.h"
#include "vm/vm.h"

static const char usage[] =
	"usage: tabique COMMAND [OPTIONS]\n"
	"\n"
	"Runs unmodified guests in partitions on KVM, on Hyper-V's synthetic devices.\n"
	"\n"
	"commands:\n"
	"  run          boot a guest in a partition and serve it until it ends\n"
	"  ctl          speak to a running partition through its control socket\n"
	"  disk         make, examine, convert and repair disk images\n"
	"  switch       make and change virtual switches, which partitions are plugged into\n"
	"  host-check   can this host run partitions? says what it lacks\n"
	"\n"
	"`tabique COMMAND --help` tells more; the whole story is in tabique(1).\n";

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "run", cmd_run },
	{ "ctl", cmd_ctl },
	{ "disk", cmd_disk },
	{ "switch", cmd_switch },
	{ "host-check", cmd_host_check },
};

int cmd_fail(int status, const struct diag *diag)
{
	fprintf(stderr, "tabique: error: %s\n", diag->text);
	return status;
}

int main(int argc, char **argv)
{
	struct diag diag;

	if (argc < 2) {
		fputs(usage, stderr);
		return VM_STATUS_USER;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		puts("tabique " TABIQUE_VERSION);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name) == 0) {
			return commands[i].run(argc - 1, argv + 1);
		}
	}
	diag_set(&diag, 0, "unknown command \"%s\": see tabique --help", argv[1]);
	return cmd_fail(VM_STATUS_USER, &diag);
}

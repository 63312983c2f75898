/* SPDX-License-Identifier: MIT */
/* tabique run: words into a configuration, then the worker itself. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cmd/cmd.h"
#include "vm/vm.h"

static const char help[] =
	"usage: tabique run --kernel FILE [OPTIONS]\n"
	"       tabique run --machine legacy [--firmware bios|FILE] [OPTIONS]\n"
	"\n"
	"Boots a guest in a partition of its own and serves it until it ends.\n"
	"\n"
	"  --kernel FILE      bzImage, or ELF kernel with a PVH entry\n"
	"  --initrd FILE      initial RAM disk\n"
	"  --append TEXT      the kernel's command line\n"
	"  --machine modern|legacy\n"
	"                     as little of a PC as Linux wants; or a board of the time of the "
	"440BX,\n"
	"                     with PCI and firmware, for every system (modern)\n"
	"  --firmware bios|FILE\n"
	"                     what the legacy machine starts without --kernel: SeaBIOS, or "
	"another\n"
	"                     BIOS of 64, 128 or 256 KiB (bios)\n"
	"  --boot-order disk,dvd,net\n"
	"                     what firmware tries, some of these (disk,dvd,net)\n"
	"  --boot-menu on|off firmware waits a moment for Escape, and lets choose (off)\n"
	"  --boot-serial on|off\n"
	"                     firmware's screen and keyboard on the first serial port, too (on)\n"
	"  --vga s3|none      the legacy machine's graphics card: S3's Trio64, or none (s3)\n"
	"  --cpus N           virtual processors, 1 to 64 (1)\n"
	"  --memory SIZE      guest memory: 64M and more, a multiple of 2M (512M)\n"
	"  --disk path=FILE[,KEY=VALUE]...\n"
	"                     a synthetic SCSI disk; repeats. Keys:\n"
	"       format=auto|raw|vhd|vhdx|nbd|null|qcow2|...   readonly=on   cache=on (host's)\n"
	"       offset=SIZE, size=SIZE        a slice of a raw disk\n"
	"       sector=512|4096   write-cache=on|off   serial=TEXT   wwn=HEX\n"
	"       controller=0..3   lun=0..63   id=NAME\n"
	"       bus=auto|scsi|ide|adaptec     on the legacy machine (auto: IDE while it has "
	"room);\n"
	"       position=0..3 (ide)   target=0..6 (adaptec)\n"
	"       face=auto|emulated|synthetic  as everybody's drivers know it, until the "
	"guest's\n"
	"                     own driver takes it over; or one of the two for good (auto)\n"
	"       on-error=report|stop|retry    what becomes of a failed request\n"
	"       iops=N, bandwidth=SIZE, iops-burst=N, bandwidth-burst=SIZE, policy=NAME\n"
	"       fault=TEXT, file-fault=TEXT   faults for tests\n"
	"  --dvd path=FILE.iso[,KEY=VALUE]... or --dvd empty[,KEY=VALUE]...\n"
	"                     a DVD drive, with or without a disc; repeats\n"
	"  --policy name=NAME[,iops=N][,bandwidth=SIZE]...\n"
	"                     limits that several disks share; repeats\n"
	"  --net nat[,forward=PROTO:[ADDR:]PORT:[ADDR:]PORT]...[,KEY=VALUE]...\n"
	"                     a synthetic network adapter behind address translation; repeats\n"
	"  --net tap=NAME     one whose other end is a TAP device of the host\n"
	"  --net switch=NAME[,port=PORT]\n"
	"                     one that is plugged into a tabique-switch\n"
	"       also, for each: mac=ADDRESS   queues=N (tap, switch)   link=up|down   no-rsc\n"
	"       face=auto|emulated|synthetic  on the legacy machine: as a disk's (auto)\n"
	"       nvsp-max=1|2|4|5|6|6.1        for tests\n"
	"  --serial stdio|none|file:PATH|unix:PATH\n"
	"                     where the first serial port goes (stdio; Ctrl-A x leaves)\n"
	"  --serial2 stdio|none|file:PATH|unix:PATH\n"
	"                     the legacy machine's second serial port (none)\n"
	"  --control unix:PATH\n"
	"                     control socket, for tabique ctl\n"
	"  --name NAME        the partition's name (tabique)\n"
	"  --no-reboot        a reset by the guest ends the partition\n"
	"  --io-threads N     threads that serve disks and adapters, 1 to 16 (1)\n"
	"  --unpack on|off    decompress a bzImage here and keep the result for the next\n"
	"                     start, in $TABIQUE_CACHE or ~/.cache/tabique (on)\n"
	"  --verbose          say more; twice: much more\n"
	"\n"
	"exit status: 0 the guest powered off, or reset with --no-reboot; 1 a mistake in the\n"
	"options; 2 the host cannot; 3 the guest crashed; 128+N ended by signal N.\n";

enum {
	OPT_KERNEL = 256,
	OPT_INITRD,
	OPT_APPEND,
	OPT_MACHINE,
	OPT_FIRMWARE,
	OPT_BOOT_ORDER,
	OPT_BOOT_MENU,
	OPT_BOOT_SERIAL,
	OPT_VGA,
	OPT_CPUS,
	OPT_MEMORY,
	OPT_DISK,
	OPT_DVD,
	OPT_POLICY,
	OPT_NET,
	OPT_SERIAL,
	OPT_SERIAL2,
	OPT_CONTROL,
	OPT_NAME,
	OPT_NO_REBOOT,
	OPT_IO_THREADS,
	OPT_UNPACK,
	OPT_VERBOSE,
	OPT_HELP,
};

static const struct option options[] = {
	{ "kernel", required_argument, NULL, OPT_KERNEL },
	{ "initrd", required_argument, NULL, OPT_INITRD },
	{ "append", required_argument, NULL, OPT_APPEND },
	{ "machine", required_argument, NULL, OPT_MACHINE },
	{ "firmware", required_argument, NULL, OPT_FIRMWARE },
	{ "boot-order", required_argument, NULL, OPT_BOOT_ORDER },
	{ "boot-menu", required_argument, NULL, OPT_BOOT_MENU },
	{ "boot-serial", required_argument, NULL, OPT_BOOT_SERIAL },
	{ "vga", required_argument, NULL, OPT_VGA },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "memory", required_argument, NULL, OPT_MEMORY },
	{ "disk", required_argument, NULL, OPT_DISK },
	{ "dvd", required_argument, NULL, OPT_DVD },
	{ "policy", required_argument, NULL, OPT_POLICY },
	{ "net", required_argument, NULL, OPT_NET },
	{ "serial", required_argument, NULL, OPT_SERIAL },
	{ "serial2", required_argument, NULL, OPT_SERIAL2 },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "no-reboot", no_argument, NULL, OPT_NO_REBOOT },
	{ "io-threads", required_argument, NULL, OPT_IO_THREADS },
	{ "unpack", required_argument, NULL, OPT_UNPACK },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static int set_text(char **at, const char *option, const char *text, struct diag *reterr)
{
	if (!*text) {
		return diag_set(reterr, -EINVAL, "%s is empty: give it a value", option);
	}
	free(*at);
	*at = strdup(text);
	return *at ? 0 : diag_set(reterr, -ENOMEM, "no memory");
}

static int set_number(uint32_t *at, const char *option, const char *text, uint32_t max,
		      struct diag *reterr)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end || value < 1 || value > max) {
		return diag_set(reterr, -EINVAL, "%s \"%s\": give a number from 1 to %u", option,
				text, max);
	}
	*at = (uint32_t)value;
	return 0;
}

static int set_control(struct vm_config *config, const char *text, struct diag *reterr)
{
	if (strncmp(text, "unix:", 5) != 0 || !text[5]) {
		return diag_set(
			reterr, -EINVAL,
			"--control \"%s\": give a socket's path, as in unix:/run/guest.sock", text);
	}
	return set_text(&config->control, "--control", text + 5, reterr);
}

static int set_switch(bool *at, const char *option, const char *text, struct diag *reterr)
{
	if (strcmp(text, "on") != 0 && strcmp(text, "off") != 0) {
		return diag_set(reterr, -EINVAL, "%s is on or off, not \"%s\"", option, text);
	}
	*at = strcmp(text, "on") == 0;
	return 0;
}

/* Options of the board; -ENOSYS: none of them. */
static int set_board_option(struct vm_config *config, int option, const char *text,
			    struct diag *reterr)
{
	switch (option) {
	case OPT_MACHINE:
		return vm_config_set_machine(config, text, reterr);
	case OPT_FIRMWARE:
		return vm_config_set_firmware(config, text, reterr);
	case OPT_BOOT_ORDER:
		return vm_config_set_boot_order(config, text, reterr);
	case OPT_BOOT_MENU:
		return set_switch(&config->boot_menu, "--boot-menu", text, reterr);
	case OPT_BOOT_SERIAL:
		config->has_boot_serial = true;
		return set_switch(&config->boot_serial, "--boot-serial", text, reterr);
	case OPT_VGA:
		return vm_config_set_vga(config, text, reterr);
	case OPT_SERIAL2:
		return set_text(&config->serial2, "--serial2", text, reterr);
	default:
		return -ENOSYS; /* not reached: getopt_long() knows no other */
	}
}

static int set_option(struct vm_config *config, int option, const char *text, struct diag *reterr)
{
	switch (option) {
	case OPT_KERNEL:
		return set_text(&config->kernel, "--kernel", text, reterr);
	case OPT_INITRD:
		return set_text(&config->initrd, "--initrd", text, reterr);
	case OPT_APPEND:
		free(config->cmdline);
		config->cmdline = strdup(text);
		return config->cmdline ? 0 : diag_set(reterr, -ENOMEM, "no memory");
	case OPT_CPUS:
		return set_number(&config->cpus, "--cpus", text, VM_CPUS_MAX, reterr);
	case OPT_MEMORY:
		return vm_config_parse_size("--memory", text, &config->memory_bytes, reterr);
	case OPT_DISK:
		return vm_config_add_disk(config, text, reterr);
	case OPT_DVD:
		return vm_config_add_dvd(config, text, reterr);
	case OPT_POLICY:
		return vm_config_add_policy(config, text, reterr);
	case OPT_NET:
		return vm_config_add_net(config, text, reterr);
	case OPT_SERIAL:
		return set_text(&config->serial, "--serial", text, reterr);
	case OPT_CONTROL:
		return set_control(config, text, reterr);
	case OPT_NAME:
		return vm_config_set_name(config, text, reterr);
	case OPT_NO_REBOOT:
		config->no_reboot = true;
		return 0;
	case OPT_IO_THREADS:
		return set_number(&config->io_threads, "--io-threads", text, VM_IO_THREADS_MAX,
				  reterr);
	case OPT_UNPACK:
		return set_switch(&config->unpack_kernel, "--unpack", text, reterr);
	case OPT_VERBOSE:
		log_set_level(log_level() < LOG_INFO ? LOG_INFO : LOG_DEBUG);
		return 0;
	default:
		return set_board_option(config, option, text, reterr);
	}
}

/* 0; 1 when --help was all; -EINVAL with a sentence. */
static int parse_options(int argc, char **argv, struct vm_config *config, struct diag *reterr)
{
	int option, err = 0;

	opterr = 0;
	while (!err && (option = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		if (option == OPT_HELP || option == 'h') {
			fputs(help, stdout);
			return 1;
		}
		if (option == ':') {
			return diag_set(reterr, -EINVAL, "%s needs a value: see tabique run --help",
					argv[optind - 1]);
		}
		if (option == '?') {
			return diag_set(reterr, -EINVAL,
					"unknown option \"%s\": see tabique run --help",
					argv[optind - 1]);
		}
		err = set_option(config, option, optarg, reterr);
	}
	if (!err && optind < argc) {
		return diag_set(reterr, -EINVAL, "what is \"%s\"? see tabique run --help",
				argv[optind]);
	}
	return err ? err : vm_config_finish(config, reterr);
}

/* Where unpacked kernels are kept; NULL: nowhere. For free(). */
static char *find_cache_dir(void)
{
	const char *own = getenv("TABIQUE_CACHE"), *xdg = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");
	char *dir = NULL;
	int length = -1;

	if (own && *own) {
		length = asprintf(&dir, "%s/unpacked", own);
	} else if (xdg && *xdg) {
		length = asprintf(&dir, "%s/tabique/unpacked", xdg);
	} else if (home && *home) {
		length = asprintf(&dir, "%s/.cache/tabique/unpacked", home);
	}
	return length < 0 ? NULL : dir;
}

int cmd_run(int argc, char **argv)
{
	struct vm_config config;
	struct vm *vm = NULL;
	struct diag diag;
	int status;

	vm_config_init(&config);
	int err = parse_options(argc, argv, &config, &diag);

	if (err) {
		vm_config_fini(&config);
		return err > 0 ? 0 : cmd_fail(VM_STATUS_USER, &diag);
	}
	config.cache_dir = find_cache_dir();
	if (vm_create(&config, &vm, &status, &diag)) {
		status = cmd_fail(status, &diag);
	} else {
		status = vm_run(vm);
	}
	vm_destroy(vm);
	vm_config_fini(&config);
	return status;
}

int cmd_host_check(int argc, char **argv)
{
	struct diag diag;

	if (argc > 1) {
		int asked = strcmp(argv[1], "--help") == 0;

		fputs("usage: tabique host-check\n\n"
		      "Can this host's KVM run partitions? Exit status 0: yes; 2: no, and why.\n",
		      asked ? stdout : stderr);
		return asked ? 0 : VM_STATUS_USER;
	}
	if (vm_host_check(&diag)) {
		return cmd_fail(VM_STATUS_HOST, &diag);
	}
	puts("This host's KVM has all that partitions need.");
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* tabique disk: which sub-command, and what they share. */
#include "cmd/disk.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"
#include "loop/loop.h"
#include "vm/config.h"
#include "vm/vm.h"

#define PROGRESS_NS 100000000ULL
#define BAR_CELLS   30

static const char usage[] =
	"usage: tabique disk COMMAND [OPTIONS]\n"
	"\n"
	"Disk images: raw, vhd and vhdx; qcow2 and others, and nbd://, as sources.\n"
	"\n"
	"  create     make an image\n"
	"  info       what an image is, and its chain of parents\n"
	"  convert    copy an image into another format; a chain becomes one image\n"
	"  check      examine an image, and repair it\n"
	"  resize     make the disk in an image longer or shorter\n"
	"  compact    give back the space of what is empty\n"
	"  map        which parts are where\n"
	"\n"
	"`tabique disk COMMAND --help` tells more; the whole story is in tabique-disk(1).\n";

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "create", disk_create }, { "info", disk_info },     { "convert", disk_convert },
	{ "check", disk_check },   { "resize", disk_resize }, { "compact", disk_compact },
	{ "map", disk_map },
};

static volatile sig_atomic_t is_cancelled; /* a handler can reach nothing else */

int disk_usage(const char *text, bool is_asked_for)
{
	fputs(text, is_asked_for ? stdout : stderr);
	return is_asked_for ? 0 : VM_STATUS_USER;
}

int disk_fail(int err, const struct diag *diag)
{
	switch (-err) {
	case EINVAL:
	case ENOENT:
	case EEXIST:
	case EISDIR:
	case EOPNOTSUPP:
	case ESTALE:
	case ELOOP:
	case EMLINK:
	case EFBIG:
	case ENAMETOOLONG:
	case EROFS:
		return cmd_fail(VM_STATUS_USER, diag);
	case ECANCELED:
		return cmd_fail(DISK_STATUS_CANCELLED, diag);
	default:
		return cmd_fail(VM_STATUS_HOST, diag);
	}
}

int disk_format_in(const char *text, const char *path, struct image_probe *ret, struct diag *reterr)
{
	int err = 0;

	*ret = (struct image_probe){ .kind = BLOCK_AUTO };
	if (text) {
		err = image_kind_parse(text, ret, reterr);
	}
	return err || ret->kind != BLOCK_AUTO ? err : image_probe(path, ret, reterr);
}

int disk_format_out(const char *text, const char *path, struct image_probe *ret,
		    struct diag *reterr)
{
	int err = 0;

	*ret = (struct image_probe){ .kind = BLOCK_AUTO };
	if (text) {
		err = image_kind_parse(text, ret, reterr);
	}
	if (!err && ret->kind == BLOCK_AUTO) {
		image_probe_name(path, ret);
	}
	if (!err && ret->kind != BLOCK_RAW && ret->kind != BLOCK_VHD && ret->kind != BLOCK_VHDX) {
		err = diag_set(reterr, -EINVAL,
			       "%s: format %s cannot be made: choose raw, vhd or vhdx", path,
			       ret->qemu_format ? ret->qemu_format : image_kind_name(ret->kind));
	}
	return err;
}

int disk_size(const char *option, const char *text, uint32_t *ret, struct diag *reterr)
{
	uint64_t bytes;
	int err = vm_config_parse_size(option, text, &bytes, reterr);

	if (!err && bytes > UINT32_MAX) {
		err = diag_set(reterr, -EINVAL, "%s %s is too much", option, text);
	}
	if (!err) {
		*ret = (uint32_t)bytes;
	}
	return err;
}

int disk_open(const char *path, const struct image_probe *format, bool read_only,
	      struct block **ret, struct diag *reterr)
{
	struct block_config config = {
		.kind = format->kind,
		.qemu_format = format->qemu_format,
		.path = path,
		.read_only = read_only,
	};

	return block_open(&config, ret, reterr);
}

/* ---- progress ---------------------------------------------------------------------------------- */

static void on_signal(int number)
{
	(void)number;
	is_cancelled = 1;
}

bool disk_is_cancelled(void)
{
	return is_cancelled;
}

void disk_progress_init(struct disk_progress *progress, const char *title)
{
	struct sigaction action = { .sa_handler = on_signal };

	*progress = (struct disk_progress){
		.title = title,
		.is_terminal = isatty(STDERR_FILENO),
	};
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

void disk_progress_fini(struct disk_progress *progress)
{
	if (progress->is_shown) {
		fputs("\r\033[K", stderr); /* the line is empty again */
	}
}

bool disk_progress_report(void *context, uint64_t done, uint64_t total)
{
	struct disk_progress *progress = context;
	uint64_t now = loop_now_ns();

	if (progress->is_terminal && now - progress->shown_ns >= PROGRESS_NS) {
		double part = total > 0 ? (double)done / (double)total : 1;
		int cells = (int)(part * BAR_CELLS);

		fprintf(stderr, "\r%s [%.*s%*s] %3d %%", progress->title, cells,
			"##############################", BAR_CELLS - cells, "", (int)(part * 100));
		progress->shown_ns = now;
		progress->is_shown = true;
	}
	return !is_cancelled;
}

int cmd_disk(int argc, char **argv)
{
	struct diag diag;

	if (argc < 2) {
		return disk_usage(usage, false);
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		return disk_usage(usage, true);
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].name) == 0) {
			return commands[i].run(argc - 1, argv + 1);
		}
	}
	diag_set(&diag, 0, "unknown command \"disk %s\": see tabique disk --help", argv[1]);
	return cmd_fail(VM_STATUS_USER, &diag);
}

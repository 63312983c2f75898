/* SPDX-License-Identifier: MIT */
/* tabique disk check, compact: long work on one image. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "cmd/disk.h"
#include "vm/vm.h"

static const char check_help[] =
	"usage: tabique disk check [-f FORMAT] [--repair] PATH\n"
	"\n"
	"Reads all tables of an image and compares them with each other; --repair mends\n"
	"what can be mended without a guess.\n"
	"\n"
	"exit status: 0 nothing is wrong (any more); 1 a mistake in the command, or no such\n"
	"image; 2 the host cannot; 3 errors; 4 no errors, but space that nobody refers to.\n";

static const char compact_help[] =
	"usage: tabique disk compact [-f FORMAT] PATH\n"
	"\n"
	"Gives back the space of what is empty, or as the parent has it. Stopped at any\n"
	"moment, the image stays whole.\n";

enum { OPT_REPAIR = 256 };

static const struct option names[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "format", required_argument, NULL, 'f' },
	{ "repair", no_argument, NULL, OPT_REPAIR },
	{ 0 },
};

static void on_line(void *ctx, const char *text)
{
	disk_progress_fini(ctx);
	printf("%s\n", text);
}

int disk_check(int argc, char **argv)
{
	struct disk_progress shown;
	struct image_progress progress = { disk_progress_report, &shown };
	struct image_report report = { .line = on_line, .ctx = &shown };
	struct image_probe format = { .kind = BLOCK_AUTO };
	const char *format_text = NULL;
	bool repair = false;
	struct diag diag;
	int option, err;

	while ((option = getopt_long(argc, argv, "hf:", names, NULL)) != -1) {
		if (option == 'f') {
			format_text = optarg;
		} else if (option == OPT_REPAIR) {
			repair = true;
		} else {
			return disk_usage(check_help, option == 'h');
		}
	}
	if (argc - optind != 1) {
		return disk_usage(check_help, false);
	}
	err = disk_format_in(format_text, argv[optind], &format, &diag);
	if (!err) {
		disk_progress_init(&shown, "checking");
		err = image_check(argv[optind], format.kind, repair, &report, &progress, &diag);
		disk_progress_fini(&shown);
	}
	if (err) {
		return disk_fail(err, &diag);
	}
	printf("%llu errors, %llu leaks, %llu repaired\n", (unsigned long long)report.errors,
	       (unsigned long long)report.leaks, (unsigned long long)report.repaired);
	return report.errors + report.leaks <= report.repaired ? 0
	       : report.errors > 0                             ? DISK_STATUS_ERRORS
							       : DISK_STATUS_LEAKS;
}

int disk_compact(int argc, char **argv)
{
	struct disk_progress shown;
	struct image_progress progress = { disk_progress_report, &shown };
	struct image_probe format = { .kind = BLOCK_AUTO };
	const char *format_text = NULL;
	uint64_t bytes = 0;
	struct diag diag;
	int option, err;

	while ((option = getopt_long(argc, argv, "hf:", names, NULL)) != -1) {
		if (option != 'f') {
			return disk_usage(compact_help, option == 'h');
		}
		format_text = optarg;
	}
	if (argc - optind != 1) {
		return disk_usage(compact_help, false);
	}
	err = disk_format_in(format_text, argv[optind], &format, &diag);
	if (!err) {
		disk_progress_init(&shown, "compacting");
		err = image_compact(argv[optind], format.kind, &progress, &bytes, &diag);
		disk_progress_fini(&shown);
	}
	if (err) {
		return disk_fail(err, &diag);
	}
	printf("%llu bytes given back\n", (unsigned long long)bytes);
	return 0;
}

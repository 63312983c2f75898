/* SPDX-License-Identifier: MIT */
/*
 * What the sub-commands of `tabique disk` share. Each takes its own argv and returns the exit status:
 * 0 done; 1 a mistake of the user's; 2 the host cannot; 3 and 4 `check` found something; 130 stopped by
 * a signal.
 */
#pragma once

#include "block/image.h"
#include "cmd/cmd.h"

#define DISK_STATUS_ERRORS    3
#define DISK_STATUS_LEAKS     4
#define DISK_STATUS_CANCELLED 130

int disk_create(int argc, char **argv);
int disk_info(int argc, char **argv);
int disk_convert(int argc, char **argv);
int disk_check(int argc, char **argv);
int disk_resize(int argc, char **argv);
int disk_compact(int argc, char **argv);
int disk_map(int argc, char **argv);

/* --help: prints text; else prints it as a refusal. Returns the status. */
int disk_usage(const char *text, bool is_asked_for);

/* The exit status that an errno means, after its sentence was printed. */
int disk_fail(int err, const struct diag *diag);

/* A format as users write it; for an input NULL: as the file says, for an output: as the name does. */
MUST_CHECK int disk_format_in(const char *text, const char *path, struct image_probe *ret,
			      struct diag *reterr);
MUST_CHECK int disk_format_out(const char *text, const char *path, struct image_probe *ret,
			       struct diag *reterr);

/* A size of at most 4 GiB, as an option's value. */
MUST_CHECK int disk_size(const char *option, const char *text, uint32_t *ret, struct diag *reterr);

/* Opens an image of this format. */
MUST_CHECK int disk_open(const char *path, const struct image_probe *format, bool read_only,
			 struct block **ret, struct diag *reterr);

/* A bar on standard error when that is a terminal; false when a signal wants the end. */
struct disk_progress {
	const char *title;
	uint64_t shown_ns;
	bool is_terminal, is_shown;
};
/* From now on SIGINT and SIGTERM only make disk_is_cancelled() true. */
void disk_progress_init(struct disk_progress *progress, const char *title);
void disk_progress_fini(struct disk_progress *progress);
bool disk_progress_report(void *progress, uint64_t done, uint64_t total);
bool disk_is_cancelled(void);

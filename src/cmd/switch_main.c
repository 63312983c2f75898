/* SPDX-License-Identifier: MIT */
/* tabique-switch: the process of a virtual switch; which of its processes. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "switchd/keeper.h"
#include "switchd/natd.h"
#include "switchd/sw.h"
#include "switchd/sw_config.h"

#define STATUS_USER 1
#define STATUS_HOST 2

static const char usage[] =
	"usage: tabique-switch [OPTIONS] NAME\n"
	"\n"
	"Runs the virtual switch NAME, which `tabique switch create` has made, until it is told "
	"to\n"
	"end (SIGTERM, or `tabique switch stop NAME`).\n"
	"\n"
	"  --user USER     whose the process that carries frames becomes, when this is run by "
	"root\n"
	"                  (default: nobody)\n"
	"  --ready-fd FD   writes \"ready\", or why not, to this descriptor and closes it\n"
	"  --verbose       says more\n"
	"  --version\n"
	"\n"
	"exit status: 0 it was told to end; 1 there is no such switch, or nonsense; 2 the host\n"
	"cannot.\n";

enum {
	OPT_DATA = 256,
	OPT_NAT,
	OPT_UID,
	OPT_GID,
	OPT_USER,
	OPT_READY,
	OPT_VERBOSE,
	OPT_QUIET,
	OPT_VERSION
};

/* --data, --nat, --uid, --gid and --quiet are between the keeper and its children. */
static const struct option options[] = {
	{ "data", no_argument, NULL, OPT_DATA },
	{ "nat", no_argument, NULL, OPT_NAT },
	{ "uid", required_argument, NULL, OPT_UID },
	{ "gid", required_argument, NULL, OPT_GID },
	{ "user", required_argument, NULL, OPT_USER },
	{ "ready-fd", required_argument, NULL, OPT_READY },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "quiet", no_argument, NULL, OPT_QUIET },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct words {
	bool is_data, is_nat, is_verbose;
	uid_t uid;
	gid_t gid;
	int ready_fd;
};

static int fail(int status, const char *what, const char *which)
{
	fprintf(stderr, "tabique-switch: error: %s%s\n", what, which);
	return status;
}

static bool read_number(const char *text, unsigned int *ret)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end || errno || number > 0x7fffffff) {
		return false;
	}
	*ret = (unsigned int)number;
	return true;
}

static bool read_user(const char *name, struct words *words)
{
	const struct passwd *user = getpwnam(name);

	if (user) {
		words->uid = user->pw_uid;
		words->gid = user->pw_gid;
		return true;
	}
	return read_number(name, &words->uid) && read_number(name, &words->gid);
}

/* The program's own path, for the next data process: a link to a replaced file would be of no use. */
static const char *own_path(char *ret, size_t bytes)
{
	static const char gone[] = " (deleted)";
	ssize_t n = readlink("/proc/self/exe", ret, bytes - 1);

	if (n <= 0) {
		return "/usr/bin/tabique-switch";
	}
	ret[n] = '\0';
	if ((size_t)n > sizeof(gone) && strcmp(ret + n - sizeof(gone) + 1, gone) == 0) {
		ret[(size_t)n - sizeof(gone) + 1] = '\0';
	}
	return ret;
}

/* -1: go on; else the exit status. */
static int read_options(int argc, char **argv, struct words *words)
{
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		unsigned int number = 0;
		bool ok = true;

		switch (option) {
		case OPT_DATA:
			words->is_data = true;
			break;
		case OPT_NAT:
			words->is_nat = true;
			break;
		case OPT_UID:
			ok = read_number(optarg, &words->uid);
			break;
		case OPT_GID:
			ok = read_number(optarg, &words->gid);
			break;
		case OPT_USER:
			ok = read_user(optarg, words);
			break;
		case OPT_READY:
			/* Not for the data process: who waits for its end would wait for ours. */
			ok = read_number(optarg, &number) &&
			     fcntl((int)number, F_SETFD, FD_CLOEXEC) == 0;
			words->ready_fd = (int)number;
			break;
		case OPT_VERBOSE:
			words->is_verbose = true;
			break;
		case OPT_QUIET:
			break;
		case OPT_VERSION:
			puts("tabique-switch " TABIQUE_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return STATUS_USER;
		}
		if (!ok) {
			return fail(STATUS_USER, "there is no user or number ", optarg);
		}
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct words words = { .uid = 65534, .gid = 65534, .ready_fd = -1 };
	char path[4096];
	int status;

	(void)read_user("nobody", &words);
	status = read_options(argc, argv, &words);
	if (status >= 0) {
		return status;
	}
	if (optind + 1 != argc || !sw_switch_name_is_good(argv[optind])) {
		fputs(usage, stderr);
		return STATUS_USER;
	}
	log_set_level(words.is_verbose ? LOG_INFO : LOG_WARN);
	if (words.is_data) {
		return sw_run(&(struct sw_run_config){ .name = argv[optind],
						       .keeper_fd = KEEPER_FD,
						       .uid = words.uid,
						       .gid = words.gid });
	}
	if (words.is_nat) {
		return natd_run(&(struct natd_config){ .name = argv[optind],
						       .keeper_fd = KEEPER_FD,
						       .uid = words.uid,
						       .gid = words.gid });
	}
	return keeper_run(&(struct keeper_config){ .name = argv[optind],
						   .program = own_path(path, sizeof(path)),
						   .uid = words.uid,
						   .gid = words.gid,
						   .ready_fd = words.ready_fd,
						   .is_verbose = words.is_verbose });
}

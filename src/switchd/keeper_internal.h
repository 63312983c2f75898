/* SPDX-License-Identifier: MIT */
/* What the keeper's files share: its life (keeper.c), what it answers (keeper_serve.c), devices (keeper_devices.c), NAT (keeper_nat.c). */
#pragma once

#include <signal.h>

#include "switchd/keeper.h"
#include "switchd/sw_config.h"
#include "switchd/sw_devices.h"
#include "switchd/sw_file.h"

#define KEEPER_TAPS_MAX 9 /* the host's port and all uplinks */

struct keeper_tap {
	char name[KEEPER_NAME_BYTES]; /* "": a free place */
	unsigned int count;
	int fds[KEEPER_FDS_MAX];
};

/* Sockets of the data process, until it closes the device or ends. */
struct keeper_xdp {
	char name[KEEPER_NAME_BYTES]; /* "": a free place */
	unsigned int count;
	int fds[KEEPER_FDS_MAX]; /* count sockets, and their memory */
	int map_fd;              /* of the program on the device; -1: none is there yet */
};

/* NAT's process; pid 0: there is none. */
struct keeper_nat {
	int fd;
	pid_t pid;
	uint64_t started_ns, next_ns; /* before which no other is started */
	uint64_t quit_ns;             /* when it was told to end; 0 */
	unsigned int failures;        /* in a row */
};

struct keeper {
	const struct keeper_config *config;
	const sigset_t *signals; /* that are blocked here */
	int lock_fd;
	int listeners[3]; /* SW_PATH_VSP, _CTL, _EXT */
	struct keeper_tap taps[KEEPER_TAPS_MAX];
	struct keeper_xdp xdps[SW_UPLINKS_MAX];
	int state_fd;     /* what a process has left; -1 */
	uint32_t refused; /* requests for what is not on the list of devices */

	/* the data process; fd -1: there is none */
	int fd;
	pid_t pid;
	uint64_t started_ns;
	unsigned int failures; /* in a row, of processes that had just begun */
	uint32_t delay_ms;     /* before the next one is started */
	bool is_upgrade;       /* it said that it goes */
	bool is_ending;        /* this keeper ends */
	bool was_ready;
	uint64_t quit_ns; /* when it was told to end; 0 */

	struct keeper_nat nat;
};

/* An answer, and descriptors that go with it; those that are only for it are closed afterwards. */
struct keeper_answer {
	struct keeper_message message;
	struct diag diag;
	int fds[KEEPER_FDS_MAX];
	unsigned int count;
	uint32_t number; /* instead of descriptors */
	bool is_lent;    /* the descriptors stay ours */
};

/* What a request comes to: its status; descriptors that came with it are closed unless they are taken. */
typedef int keeper_serve_fn(struct keeper *keeper, const struct keeper_message *request, int *fds,
			    unsigned int count, struct keeper_answer *answer);
/* Answers what waits at fd, once: as keeper_serve(). */
MUST_CHECK int keeper_serve_at(struct keeper *keeper, int fd, keeper_serve_fn *fn);

/* Answers what waits at keeper->fd, once. -EPIPE: nobody is there any more; -EPROTO: nonsense. */
MUST_CHECK int keeper_serve(struct keeper *keeper);

/*
 * What a process has left survives the keeper, in a file for its next run (SW_PATH_STATE), which takes it
 * up and removes it. Nothing depends on it: what goes wrong is in the log.
 */
void keeper_keep_state(struct keeper *keeper);
void keeper_find_state(struct keeper *keeper);
/* ---- keeper.c ----------------------------------------------------------------------------------- */

/* The program, in a role ("--data"), with a socket to it. 0 or a negative errno. */
MUST_CHECK int keeper_spawn(struct keeper *keeper, const char *role, int *ret_fd, pid_t *ret_pid);
/* "was killed by signal 9"; and how long one waits after so many failures. */
void keeper_describe(int status, char *ret, size_t bytes);
uint32_t keeper_restart_delay_ms(unsigned int failures);
void keeper_tell_ready(const struct keeper_config *config, const char *sentence);

/* ---- keeper_devices.c --------------------------------------------------------------------------- */

/* OPEN_TAP, OPEN_PACKET, OPEN_XDP: what the configuration names and the list of devices has. */
MUST_CHECK int keeper_open_device(struct keeper *keeper, const struct keeper_message *request,
				  struct keeper_answer *answer);
MUST_CHECK int keeper_bind_xdp(struct keeper *keeper, const struct keeper_message *request,
			       struct keeper_answer *answer);
/* Whether users have allowed it: else -EPERM, counted, with a sentence; others as sw_devices_check(). */
MUST_CHECK int keeper_check_listed(struct keeper *keeper, const char *dev, struct diag *reterr);
/* No-op for one that is not open. */
void keeper_close_tap(struct keeper *keeper, const char *name);
void keeper_close_xdp(struct keeper *keeper, const char *name);
/* The TAPs that nobody needs any more, and at the end all. */
void keeper_close_taps(struct keeper *keeper);
/* When the data process has ended: frames are the host's again. */
void keeper_close_xdps(struct keeper *keeper);

/* ---- keeper_nat.c ------------------------------------------------------------------------------- */

/* OPEN_NAT. */
MUST_CHECK int keeper_open_nat(struct keeper *keeper, struct keeper_answer *answer);
/* What it asks. */
void keeper_serve_nat(struct keeper *keeper);
/* Whether this child was it. */
bool keeper_nat_ended(struct keeper *keeper, pid_t pid, int status);
/* Tells it to end; said again after a second, ends it. No-op without one. */
void keeper_quit_nat(struct keeper *keeper);

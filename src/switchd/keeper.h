/* SPDX-License-Identifier: MIT */
/*
 * The keeper: the small, privileged half of a switch. It owns what must survive the data process (the
 * listening sockets, so that workers wait in a backlog; the host's own TAP; what a leaving process has
 * left for the next one) and what only it may do (opening devices, writing the configuration's file).
 * It parses no frame and no guest's word; of the data process it takes the requests below.
 *
 * With NAT there is a third process (natd.h), which it starts when the data process asks for it.
 *
 *              spawn                  HELLO … OPEN_* …              UPGRADE, exit: at once
 *   keeper ─────────────► data process ───────────────────────► dies: at once, then 100 ms … 5 s
 *
 * It opens what the configuration names and the switch's list of devices has: the configuration can be the
 * data process's own, the list is written by users only.
 *
 * Wire: one SEQPACKET datagram of struct keeper_message for each request and each answer, which has the
 * request's type and serial. KEEPER_QUIT comes unasked. Both halves may be of different versions after an
 * upgrade: types and the struct are for ever, a new meaning gets a new type.
 *
 *   owner   the program tabique-switch   thread  its only one
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/check.h"
#include "base/diag.h"

#define KEEPER_MAGIC             0x4b575354U /* "TSWK" */
#define KEEPER_FDS_MAX           16U
#define KEEPER_NAME_BYTES        16U /* of an interface */
#define KEEPER_RESTART_FIRST_MS  100U
#define KEEPER_RESTART_MAX_MS    5000U
#define KEEPER_RESTART_HEALTHY_S 1U /* who lived so long is started anew at once when it dies */
#define KEEPER_QUIT_MS           6000U
#define KEEPER_STATE_BYTES_MAX   (64U << 20)
#define KEEPER_KEPT_BYTES_MAX    (1U << 20) /* of it, in a file between two runs */
#define KEEPER_LEASE_BYTES_MAX   (1U << 20)
/* After so many of NAT's in a row that ended at once, the next one gets no leases: they may be why. */
#define KEEPER_LEASE_FAILURES    3U

enum keeper_type {
	/* → ; ← the listening sockets: workers, verbs, extensions; then the configuration's file */
	KEEPER_HELLO = 1,
	/* → ; ← what the process before has left, or count 0 */
	KEEPER_TAKE_STATE = 2,
	/* → name, count: queues; ← as many descriptors. Kept open by the keeper: a TAP that it has made
	 * stays, with its addresses, until it is closed. */
	KEEPER_OPEN_TAP = 3,
	/* → name, count: ends; ← descriptors */
	KEEPER_OPEN_PACKET = 4,
	/* → name: of a TAP that is not needed any more */
	KEEPER_CLOSE = 5,
	/* → a descriptor: the new configuration; ← it is on stable storage */
	KEEPER_SAVE_CONFIG = 6,
	/* → a descriptor: for TAKE_STATE of the next process */
	KEEPER_LEAVE_STATE = 7,
	/* → : I end now, start the program that is there then; ← yes */
	KEEPER_UPGRADE = 8,
	/* → : I end now, and so shall you */
	KEEPER_STOP = 9,
	/* ← unasked: end in order */
	KEEPER_QUIT = 10,
	/* → : guests can be served; ← yes */
	KEEPER_READY = 11,
	/* → ; ← a netlink socket that hears of links (linkwatch.h) */
	KEEPER_OPEN_LINKS = 12,
	/* NAT's process → a descriptor: the leases of its clients, to be written to their file */
	KEEPER_SAVE_LEASES = 13,
	/* NAT's process → ; ← that file, or count 0 */
	KEEPER_TAKE_LEASES = 14,
	/*
	 * → name, count: ends at most; ← as many sockets of AF_XDP as the device has queues, bound to nothing,
	 * and behind them their memory.
	 * Refused for mode=auto, with a sentence, where packet sockets serve the device better.
	 */
	KEEPER_OPEN_XDP = 15,
	/* → name: they have their rings; ← they are bound, and what arrives at the device arrives at them */
	KEEPER_BIND_XDP = 16,
	/* → name: of a device under AF_XDP that is not needed any more; a TAP of this name is another thing */
	KEEPER_CLOSE_XDP = 17,
	/* → ; ← count: how often something was asked for that the list of devices lacks (sw_devices.h) */
	KEEPER_COUNT_REFUSED = 18,
	/*
	 * → ; ← two sockets whose other ends NAT's process gets, which is started if need be: frames (net/pipe.h),
	 * and what is said about them (natd.h). -EAGAIN: not yet again.
	 */
	KEEPER_OPEN_NAT = 19,
};

struct keeper_message {
	uint32_t magic;
	uint32_t type;
	uint32_t serial;
	int32_t status; /* of an answer: 0 or a negative errno, and a sentence in text */
	uint32_t count; /* descriptors asked for, or that come with this */
	char name[KEEPER_NAME_BYTES];
	char text[DIAG_BYTES];
};

struct keeper_config {
	const char *name;    /* of the switch */
	const char *program; /* that is started: its path */
	uid_t uid;           /* the data process's, when the keeper is root */
	gid_t gid;
	int ready_fd; /* told "ready", or a sentence, when it has begun; -1: nobody waits */
	bool is_verbose;
};

/* Runs until it is told to end: the exit status of the program. */
int keeper_run(const struct keeper_config *config);

/* ---- the data process's half (keeper_client.c) -------------------------------------------------- */

/* The descriptor that the data process finds its keeper at. */
#define KEEPER_FD 3

/* Sends request, with the descriptors fds (borrowed), and waits for its answer: at most 10 s. Fills
 * *ret_fds with at most KEEPER_FDS_MAX descriptors. 0; -EREMOTEIO and others with a sentence. */
MUST_CHECK int keeper_call(int fd, enum keeper_type type, const char *name, uint32_t count,
			   const int *fds, unsigned int fd_count, int *ret_fds,
			   unsigned int *ret_fd_count, struct diag *reterr);

/* The same for a request whose answer is a number. */
MUST_CHECK int keeper_ask_number(int fd, enum keeper_type type, uint32_t *ret, struct diag *reterr);

/*
 * Any conversation of this kind: *message is the request (its magic and serial are filled in) and becomes the
 * answer, whose status is 0 then. who: for the sentence when nobody answers in time ("the keeper of this
 * switch").
 */
MUST_CHECK int keeper_converse(int fd, const char *who, int timeout_ms,
			       struct keeper_message *message, const int *fds,
			       unsigned int fd_count, int *ret_fds, unsigned int *ret_fd_count,
			       struct diag *reterr);

/* What has come unasked: true when that was KEEPER_QUIT, or the keeper has gone. Never waits. */
bool keeper_wants_end(int fd);

/* ---- for all ----------------------------------------------------------------------------------- */

/* 0; -EAGAIN (flags MSG_DONTWAIT), -EPIPE, -EPROTO or another errno. Descriptors are close-on-exec. */
MUST_CHECK int keeper_send(int fd, const struct keeper_message *message, const int *fds,
			   unsigned int fd_count);
MUST_CHECK int keeper_receive(int fd, int flags, struct keeper_message *ret,
			      int ret_fds[KEEPER_FDS_MAX], unsigned int *ret_fd_count);

/* A private copy of what is in a regular file or memory file (borrowed), which others may write meanwhile. A
 * 0 is behind it. -EINVAL: no such file, or longer than bytes_max; -ENOMEM; another errno. */
MUST_CHECK int keeper_copy_of(int fd, size_t bytes_max, char **ret, size_t *ret_bytes);
/* The other way: a memory file of that, close-on-exec. A negative errno. */
MUST_CHECK int keeper_file_of(const char *name, const void *bytes, size_t length);

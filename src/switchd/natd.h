/* SPDX-License-Identifier: MIT */
/*
 * NAT in a process of its own: `tabique-switch --nat`, which the keeper starts when the data process first
 * wants it and again when it has died. It has libslirp, the DHCP server and their sockets; it has no guest's
 * memory, no device and no right to any. It outlives data processes, and with it guests' connections do.
 *
 *              NATD_PEER: two sockets              what is said: NATD_CONFIGURE, …
 *   keeper ───────────────────────────► natd ◄═══════════════════════════════════► data process
 *            ◄─── leases, to be kept            frames (net/pipe.h)
 *
 * The keeper makes both pairs of sockets when the data process asks (KEEPER_OPEN_NAT) and gives each of them
 * its ends; new ones take the place of those that there were. All messages are struct keeper_message. Of
 * the data process natd takes frames and configurations, and takes both for hostile.
 *
 *   owner   the keeper   thread  its only one
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/check.h"

/* Numbers of their own, apart from enum keeper_type, and for ever like those. */
enum natd_type {
	/* keeper → natd, unasked, with the other ends of what the data process gets: frames, and words */
	NATD_PEER = 101,
	/*
	 * data process → natd, with a descriptor: the switch's configuration. ← NAT is as it says: changed in
	 * place where only forwards and reservations differ, else made anew with the leases of before. Refused:
	 * with a sentence, and all is as before.
	 */
	NATD_CONFIGURE = 102,
	/* data process → natd; ← a descriptor: an array of struct natd_lease */
	NATD_LEASES = 103,
	/* the same of struct natd_fact */
	NATD_FACTS = 104,
};

/* The answer of NATD_LEASES and NATD_FACTS is at most so long. */
#define NATD_ANSWER_BYTES_MAX (1U << 20)

struct natd_lease {
	uint32_t address; /* host order */
	uint32_t left_s;
	uint8_t mac[6];
	uint8_t is_static;
	uint8_t reserved;
	char name[64]; /* printable, ends with a 0 */
};

struct natd_fact {
	uint64_t value;
	char name[32];
};

/*
 * Where a DHCP client is, as the data process knows it (net_pipe_config.label): at a place without a limit, at
 * none that is known, or at a guest's port, whose number (SW_PORT_FIRST or more) it is then.
 */
enum natd_label { NATD_LABEL_HOST = 1, NATD_LABEL_UNKNOWN = 2 };

struct natd_config {
	const char *name; /* of the switch */
	int keeper_fd;
	uid_t uid; /* what it becomes, when it is root */
	gid_t gid;
};

/* Runs until the keeper says so or has gone: the exit status of the program. */
int natd_run(const struct natd_config *config);

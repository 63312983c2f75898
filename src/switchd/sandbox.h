/* SPDX-License-Identifier: MIT */
/*
 * What a switch's data process, and NAT's, gives up before it looks at the first guest's word: its user, new
 * privileges, the file system, and all system calls but those of its role.
 *
 *   thread  each step says which
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/check.h"
#include "base/diag.h"

/* Threads' roles: what each may ask of the kernel. */
enum sandbox_role {
	SANDBOX_CONTROL, /* takes connections, maps memory, answers verbs */
	SANDBOX_CORE,    /* carries frames */
	SANDBOX_NAT,     /* NAT's process: sockets of IP, and files to read */
};

/*
 * The process: root becomes uid and gid in an empty root directory; others stay who they are. No new
 * privileges for anybody. keeps_files: name resolution (NAT) reads /etc. Before any thread is started.
 * 0, or a negative errno with a sentence.
 */
MUST_CHECK int sandbox_process(uid_t uid, gid_t gid, bool keeps_files, struct diag *reterr);

/* As many descriptors as it may ever have: a worker, or a connection through NAT, takes many. Before it gives anything up. */
void sandbox_raise_descriptor_limit(void);

/*
 * The calling thread: from now on other system calls fail with -EPERM. 0 or a negative errno. Builds with sanitizers, which make calls of their own, only say 0.
 */
MUST_CHECK int sandbox_thread(enum sandbox_role role);

/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine: assembly of everything below, and its life. Knows all, decides little.
 *
 *            vm_run()            guest: reset            control socket
 *   created ─────────► running ◄───────────► resetting      pause ► paused ► resume
 *                         │ power off, crash, quit, signal
 *                         ▼
 *                      ending ──► vm_run() returns the exit status
 *
 *   owner   the program   thread  the control loop: the thread that calls vm_run()
 */
#pragma once

#include "base/check.h"
#include "base/diag.h"
#include "vm/config.h"

struct vm;

/* Exit statuses of `tabique run`. A signal ends it with 128 + its number. */
enum vm_status {
	VM_STATUS_OK = 0,          /* the guest powered off; or reset, with no_reboot; or `quit` */
	VM_STATUS_USER = 1,        /* a mistake in what the user asked for */
	VM_STATUS_HOST = 2,        /* the host cannot */
	VM_STATUS_GUEST_CRASH = 3, /* the guest reported a crash, or a triple fault */
};

/*
 * Builds all of it; nothing runs yet. config is borrowed for the VM's life. 0, or a negative errno
 * with a sentence, and *ret_status says whose mistake it is (VM_STATUS_USER or VM_STATUS_HOST).
 */
MUST_CHECK int vm_create(const struct vm_config *config, struct vm **ret, int *ret_status,
			 struct diag *reterr);

/* Runs it to its end: the exit status. Blocks SIGINT, SIGTERM and SIGHUP to hear them itself. */
int vm_run(struct vm *vm);

/* Not running. NULL is fine. */
void vm_destroy(struct vm *vm);

/* Can this host run VMs at all? 0, or a negative errno and a sentence that says what it lacks. */
MUST_CHECK int vm_host_check(struct diag *reterr);

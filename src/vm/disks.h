/* SPDX-License-Identifier: MIT */
/*
 * The disks of a VM: controllers, units, their blocks and the policies that they share; from the
 * command line at the start, and through the control socket while the guest runs.
 *
 * A unit has one end of its block for each queue of its controller, on that queue's loop:
 *
 *   open_medium: block_open, block_twin … ─► start_ends: block_start, scsi_disk_attach ─► in use
 *                                                                                          │
 *   close_medium ◄── original stopped ◄── twins stopped ◄── stop_ends: detach, give up ◄───┘
 *
 *   owner   vm   thread  control
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "dev/inspect.h"
#include "vm/disk_config.h"

struct vm;
struct vm_disk;
struct vm_disks;
struct vmbus_device;

#define VM_POLICIES_MAX 64

/*
 * What is heard when something that takes its time is over: 0 or a negative errno; -ECANCELED: the VM
 * ended first (vm_disks_stop()).
 */
typedef void vm_disk_done_fn(void *ctx, int result);

/* 0 or -ENOMEM. */
MUST_CHECK int vm_disks_create(struct vm *vm, struct vm_disks **ret);

/* After vm_disks_stop(); the controllers are revoked. NULL is fine. */
void vm_disks_destroy(struct vm_disks *disks);

/* A policy that disks may name. 0; -EEXIST, -E2BIG, -ENOMEM with a sentence. */
MUST_CHECK int vm_disks_add_policy(struct vm_disks *disks, const struct vm_policy_config *config,
				   struct diag *reterr);

/*
 * Opens a disk and shows it to the guest. config is copied; *ret_id (may be NULL) is borrowed while the
 * disk lives. 0 or an errno with a sentence; nothing is left then.
 */
MUST_CHECK int vm_disks_add(struct vm_disks *disks, const struct vm_disk_config *config,
			    const char **ret_id, struct diag *reterr);

/*
 * Each of these: 0 when it has begun, and done is called later, once, perhaps within the call; or an
 * errno with a sentence, and it is not. -ENOENT: no such disk; -EBUSY: something else is under way.
 */

/* Takes it from the guest, which is told, and closes it. */
MUST_CHECK int vm_disks_remove(struct vm_disks *disks, const char *id, vm_disk_done_fn *done,
			       void *ctx, struct diag *reterr);
/* bytes 0: looks what size the host's storage has now. */
MUST_CHECK int vm_disks_resize(struct vm_disks *disks, const char *id, uint64_t bytes,
			       vm_disk_done_fn *done, void *ctx, struct diag *reterr);
/* DVD drives. force: even if the guest has locked the tray. */
MUST_CHECK int vm_disks_eject(struct vm_disks *disks, const char *id, bool force,
			      vm_disk_done_fn *done, void *ctx, struct diag *reterr);
/* Another disc; also into an empty drive. path is copied. A disc that cannot be opened: the old stays. */
MUST_CHECK int vm_disks_change(struct vm_disks *disks, const char *id, const char *path, bool force,
			       vm_disk_done_fn *done, void *ctx, struct diag *reterr);

/*
 * Tries again what on-error=stop holds; id NULL: of all. The VM goes on if it was paused for that and
 * nothing else is held.
 */
MUST_CHECK int vm_disks_retry(struct vm_disks *disks, const char *id, struct diag *reterr);

/* The disk's own limits; or a policy's. */
MUST_CHECK int vm_disks_set_qos(struct vm_disks *disks, const char *id,
				const struct qos_limits *limits, struct diag *reterr);
MUST_CHECK int vm_disks_set_policy(struct vm_disks *disks, const char *name,
				   const struct qos_limits *limits, struct diag *reterr);
/* What is in force. -ENOENT with a sentence. */
MUST_CHECK int vm_disks_qos(struct vm_disks *disks, const char *id, struct qos_limits *ret,
			    struct diag *reterr);
MUST_CHECK int vm_disks_policy(struct vm_disks *disks, const char *name, struct qos_limits *ret,
			       struct diag *reterr);

/* Its size as the guest sees it; a drive without a disc has 0. -ENOENT with a sentence. */
MUST_CHECK int vm_disks_bytes(struct vm_disks *disks, const char *id, uint64_t *ret,
			      struct diag *reterr);

/* ---- for vm -------------------------------------------------------------------------------------- */

/* The n-th controller's device, or NULL. */
struct vmbus_device *vm_disks_device(struct vm_disks *disks, size_t n);
bool vm_disks_is_empty(const struct vm_disks *disks);

/* The machine is being reset: what is held ends. A user resumes it: what is held is tried again. */
void vm_disks_reset(struct vm_disks *disks);
void vm_disks_retry_all(struct vm_disks *disks);

/* The bus goes on after a pause: the guest hears of disks that came and went meanwhile. */
void vm_disks_resumed(struct vm_disks *disks);

/* "disk ID: No space left on device" of the first disk that holds requests; false: none does. */
bool vm_disks_error(struct vm_disks *disks, char *ret, size_t bytes);

/* Nothing is held any more, and what fails from now on is reported: the VM ends. */
void vm_disks_give_up(struct vm_disks *disks);

/* Stops all ends, and waits; also in the half-built. I/O loops still run, or were never started. */
void vm_disks_stop(struct vm_disks *disks);

/* Disks as "list", then the policies. */
void vm_disks_inspect(struct vm_disks *disks, struct inspect *at);
/* As "policies". */
void vm_disks_inspect_policies(struct vm_disks *disks, struct inspect *at);

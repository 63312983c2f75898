/* SPDX-License-Identifier: MIT */
/*
 * The control socket's verbs about disks, DVD drives and policies, for the table in verbs.c. A reply that
 * waits for a disk's job is completed when the job is over, at the latest by vm_disks_stop().
 *
 *   thread  control   spec  docs/control-socket.md
 */
#pragma once

#include "rpc/rpc.h"

rpc_verb_fn vm_verb_disk_add, vm_verb_disk_remove, vm_verb_disk_resize, vm_verb_disk_eject,
	vm_verb_disk_change, vm_verb_disk_retry, vm_verb_disk_qos, vm_verb_disk_list,
	vm_verb_dvd_add, vm_verb_policy_add, vm_verb_policy_set, vm_verb_policy_list;

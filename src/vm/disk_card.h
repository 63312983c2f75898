/* SPDX-License-Identifier: MIT */
/*
 * The legacy board's SCSI card, for disks and drives that a user has put there (bus=adaptec): an AHA-2940,
 * which is there only if something is on it. A guest that has no driver of ours drives it by itself.
 *
 *     create ──► running ◄──── pause, resume ────► paused ──► settle: quiet ──► destroy, then the blocks close
 *
 *   owner   vm_disks   thread  control
 */
#pragma once

#include "base/diag.h"
#include "dev/inspect.h"
#include "vm/disks_internal.h"

/* The card as a disk's controller (disk->controller): its place and its loop. -EINVAL with a sentence. */
MUST_CHECK int vm_disk_card_controller(struct vm_disk *disk, struct diag *reterr);

/* Puts the disk's unit on the bus, or takes it off. While there is no card yet, or none any more. */
void vm_disk_card_add(struct vm_disk *disk);
void vm_disk_card_remove(struct vm_disk *disk);

/* When all disks of the start are there. 0, or an errno with a sentence. */
MUST_CHECK int vm_disk_card_create(struct vm_disks *disks, struct diag *reterr);
/* Settled, or never created. NULL of a card is fine, as for all that follow. */
void vm_disk_card_destroy(struct vm_disks *disks);

/* It begins nothing any more; or goes on. The second: returns when nothing is at the host. */
void vm_disk_card_pause(struct vm_disks *disks);
void vm_disk_card_settle(struct vm_disks *disks);
void vm_disk_card_resume(struct vm_disks *disks);

/* The machine is reset: VPs are out. */
void vm_disk_card_reset(struct vm_disks *disks);

/* As "adaptec". */
void vm_disk_card_inspect(struct vm_disks *disks, struct inspect *at);

/* SPDX-License-Identifier: MIT */
/*
 * One disk, two faces: the IDE controller of the legacy board, and for each of its disks a VMBus channel of
 * class IDE. Firmware and a guest without our drivers use the emulated face. A guest's StorVSC that opens the
 * channel waits until the controller has let go of the disk; when it has gone, the controller has it again.
 *
 *              opened: ide_detach()              drained: storvsp_begin()
 *   EMULATED ───────────────────────► DRAINING ──────────────────────────► SYNTHETIC
 *      ▲                                 │ closed meanwhile                    │
 *      └────────── ide_attach() ◄────────┴──────────────── closed ◄────────────┘
 *
 * So there is never a request of both under way.
 *
 *   owner   vm_disks   thread  control, but for what the channel and the chip call: their loop
 */
#pragma once

#include "base/diag.h"
#include "dev/inspect.h"
#include "vm/disks_internal.h"

/* The channel of an IDE disk as its controller (disk->controller). 0 or an errno with a sentence. */
MUST_CHECK int vm_face_controller(struct vm_disk *disk, struct diag *reterr);

/* When all disks of the start are there: the controller. Nothing to do on a board that has none. */
MUST_CHECK int vm_faces_create(struct vm_disks *disks, struct diag *reterr);
/* Paused, or never created. */
void vm_faces_destroy(struct vm_disks *disks);

/* The controller begins nothing any more; or goes on. The second: returns when nothing is at the host. */
void vm_faces_pause(struct vm_disks *disks);
void vm_faces_settle(struct vm_disks *disks);
void vm_faces_resume(struct vm_disks *disks);

/* The machine is reset: the bus is quiet. */
void vm_faces_reset(struct vm_disks *disks);

void vm_faces_inspect(struct vm_disks *disks, struct inspect *at);
/* What of a disk's line is about its faces. */
void vm_face_inspect(const struct vm_disk *disk, struct inspect *at);

/* Of the configuration: whether a guest's ATA driver has to serve a disk that has no other face. */
bool vm_faces_need_ata(const struct vm_config *config);

/* SPDX-License-Identifier: MIT */
/*
 * What disks.c (the table), disk_unit.c (one unit and its ends) and disk_jobs.c (what takes its time)
 * share. Control thread, where it does not say otherwise.
 */
#pragma once

#include <stdatomic.h>

#include "base/list.h"
#include "scsi/scsi.h"
#include "vm/disks.h"
#include "vm/vm_internal.h"

enum vm_disk_job {
	VM_DISK_IDLE,
	VM_DISK_REMOVING,
	VM_DISK_RESIZING,
	VM_DISK_EJECTING,
	VM_DISK_CHANGING,
	VM_DISK_ENDING, /* the VM is */
};

/* One end of a medium; its queue's loop has it between start and stop. */
struct vm_disk_end {
	struct vm_disk *disk;
	unsigned int queue;
	struct block *block;
	struct loop_work stopped; /* posted to the queue's loop */
	int result;               /* of a call there */
};

/* A block with its twins; ends[0] is the original. */
struct vm_medium {
	struct vm_disk_end ends[SCSI_QUEUES_MAX];
	unsigned int count; /* 0: none */
};

struct vm_policy {
	struct list link;
	struct vm_policy_config config;
	struct qos_policy *qos;
};

struct vm_controller {
	struct storvsp *storvsp;             /* NULL: no disk has named it yet, or the card */
	bool is_offered;                     /* on the bus */
	struct loop *loops[SCSI_QUEUES_MAX]; /* of the queues */
	unsigned int loop_count;
};

/* The legacy board's SCSI card (disk_card.h). */
struct vm_disk_card {
	struct aic7870 *chip;            /* NULL: nothing is on it */
	struct vm_controller controller; /* without StorVSP */
	struct scsi_target targets[VM_ADAPTEC_TARGETS];
	bool is_paused;
	_Atomic(bool) is_quiet;
	struct loop_work quiet; /* its loop's */
};

/* A disk on IDE: who has it (disk_faces.h). */
struct vm_disk_face {
	/* the controller's loop */
	bool has_driver, is_draining;
	struct loop_work drained;
	/* any thread */
	_Atomic(bool) is_synthetic;
	_Atomic(uint64_t) handovers;
};

struct vm_disk {
	struct list link;
	struct vm_disks *disks;
	struct vm_disk_config config;
	struct vm_controller *controller;
	struct storvsp_address address;
	struct scsi_disk *scsi;
	bool is_on_bus;
	struct vm_disk_face face;
	struct qos_policy *qos; /* its own */
	struct vm_policy *policy;
	struct vm_medium medium;

	enum vm_disk_job job;
	vm_disk_done_fn *done; /* NULL: nobody waits for the job */
	void *done_ctx;
	struct vm_medium next; /* CHANGING: what comes into the drive */
	char *next_path;
	bool is_stopping;             /* from vm_disk_stop_ends() until all ends have said so */
	struct block_request request; /* RESIZING: loop 0's while in flight */
	int result;

	/* any thread */
	_Atomic(unsigned int) ends_left; /* that have still to stop */
	_Atomic(int) error;              /* what on-error=stop stopped for */
	struct loop_work ends_stopped, eject_asked, error_asked, resized;
};

struct vm_disks {
	struct vm *vm;
	struct list list, policies;
	unsigned int policy_count;
	struct vm_controller controllers[VM_CONTROLLERS_MAX];

	/* the legacy board's, with a VMBus channel for each disk (disk_faces.c) */
	struct ide *ide;
	struct vm_controller faces[VM_IDE_POSITIONS];
	bool is_ide_paused;
	_Atomic(bool) is_ide_quiet;
	struct loop_work ide_quiet; /* its loop's */

	struct vm_disk_card card;
};

/* ---- disk_unit.c ---- */

/* Opens config's block with path and a twin for each further queue. */
MUST_CHECK int vm_medium_open(struct vm_disk *disk, const char *path, struct vm_medium *ret,
			      struct diag *reterr);
void vm_medium_close(struct vm_medium *medium);

/* Starts disk->medium's ends and gives them to the unit. 0 or an errno: then stop what did start. */
MUST_CHECK int vm_disk_start_ends(struct vm_disk *disk, struct diag *reterr);

/* The unit sees the medium no more; disk->ends_stopped is posted when all ends are stopped. */
void vm_disk_stop_ends(struct vm_disk *disk);
/* The next step of it, from ends_stopped: whether all are. */
bool vm_disk_ends_are_stopped(struct vm_disk *disk);

/* Calls fn(end) on each end's loop. */
void vm_disk_each_end(struct vm_disk *disk, void (*fn)(void *end));
void vm_disk_give_up(struct vm_disk *disk);

/* The loop of its unit's queue. */
struct loop *vm_disk_loop(const struct vm_disk *disk, unsigned int queue);

/*
 * Puts the unit on its controller's bus, or takes it off. And: it has something to tell; on buses where
 * nobody can say so, its next command hears it.
 */
MUST_CHECK int vm_disk_join(struct vm_disk *disk, struct diag *reterr);
void vm_disk_leave(struct vm_disk *disk);
void vm_disk_announce(struct vm_disk *disk);

/* ---- disk_jobs.c ---- */

void vm_disk_jobs_init(struct vm_disk *disk);
/* Nothing is under way any more, and nothing of it is queued. */
void vm_disk_jobs_fini(struct vm_disk *disk);
/* The VM ends: whoever waits for what is under way (not a resize) hears -ECANCELED. */
void vm_disk_end_job(struct vm_disk *disk);
/* Of a disk that was not built to its end, perhaps from within the control loop: frees it when it may. */
void vm_disk_discard(struct vm_disk *disk);

/* ---- disks.c ---- */

/* Until a controller's loop has set it; what a layer holds is given up meanwhile. */
void vm_disks_wait_quiet(struct vm_disks *disks, _Atomic(bool) *is_quiet);
MUST_CHECK int vm_disks_find(struct vm_disks *disks, const char *id, struct vm_disk **ret,
			     struct diag *reterr);
/* Off the bus, out of the list, freed. Its medium is closed. */
void vm_disk_free(struct vm_disk *disk);

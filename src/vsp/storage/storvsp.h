/* SPDX-License-Identifier: MIT */
/*
 * StorVSP: one synthetic SCSI controller of a partition, with up to STORVSP_DISKS_MAX units on it, and a
 * queue (a VMBus channel) for each I/O loop that it is given.
 *
 * Data goes from guest pages straight to the blocks: a packet's page list becomes iovecs, the SCSI
 * unit hands them to the block, the block to io_uring, which is entered once per round of the loop.
 * A queue touches nothing of another: its ring, its pool of requests and its ends of the blocks live
 * on its loop.
 *
 * A controller may instead be the other face of one disk on an IDE controller ("accelerated IDE"): the
 * firmware and a guest without our drivers use the emulated face, and the guest's StorVSC, when it opens
 * this one, takes the disk over. Until the emulated face has let go of it, packets wait in the ring.
 *
 *   owner   vm owns controllers, units and blocks
 *   thread  control, but for what the bus calls; blocks' ends and commands: their queue's loop
 *   spec    docs/protocols.md#vstor
 */
#pragma once

#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "loop/loop.h"
#include "scsi/scsi_disk.h"
#include "vmbus/device.h"

struct storvsp;

/* Addresses that a guest's driver scans: paths ("buses"), targets, units. */
#define STORVSP_PATHS              8
#define STORVSP_TARGETS            2
#define STORVSP_LUNS               64
#define STORVSP_DISKS_MAX          64

/* The primary channel and its sub-channels. */
#define STORVSP_QUEUES_MAX         SCSI_QUEUES_MAX

/* Bytes in one command; guests derive their largest request from it. */
#define STORVSP_TRANSFER_BYTES_MAX (1U << 20)

/* Commands at once on one queue; the rest waits in the ring. Linux has up to 350 in one of 128 KiB. */
#define STORVSP_REQUESTS           512

struct storvsp_address {
	uint8_t path, target, lun;
};

/* Which disk of an IDE controller, and who is told that a guest's driver takes it over. */
struct storvsp_ide {
	uint8_t channel, device; /* 0 or 1 each; the unit is at path 0, target `device`, LUN 0 */
	/*
	 * The primary's loop. opened: a driver is there, and waits for storvsp_begin(); also when a saved
	 * state had one. closed: it has gone, with all that it had in flight; also without a begin.
	 */
	void (*opened)(void *ctx);
	void (*closed)(void *ctx);
	void *ctx;
};

struct storvsp_config {
	const char *name; /* unique in the partition; the instance GUID is made of it */
	const struct storvsp_ide *ide; /* NULL: a SCSI controller; copied. With it: one loop */
	struct loop *control;
	struct loop *const *loops; /* borrowed until destroy; queue n lives on loops[n] */
	unsigned int loop_count;   /* 1 to STORVSP_QUEUES_MAX */
};

MUST_CHECK int storvsp_create(const struct storvsp_config *config, struct storvsp **ret);

/* Revoked. NULL is fine. Units and blocks are left alone. */
void storvsp_destroy(struct storvsp *storvsp);

unsigned int storvsp_queues(const struct storvsp *storvsp);

/*
 * Puts a unit on the bus, or takes it off; also while the guest runs, which is told and looks for
 * itself. The unit is borrowed until storvsp_remove(), after which no new command reaches it; those in
 * flight end with its blocks' ends (scsi_disk_detach(), block_stop()), and only then may it be destroyed.
 *
 * 0; -EINVAL (no such address), -EEXIST, -ENOSPC, with a sentence.
 */
MUST_CHECK int storvsp_add(struct storvsp *storvsp, struct storvsp_address address,
			   struct scsi_disk *disk, struct diag *reterr);
void storvsp_remove(struct storvsp *storvsp, struct storvsp_address address);

/* The first address on path 0, target 0 where nothing is; false: all are taken. */
bool storvsp_free_address(const struct storvsp *storvsp, struct storvsp_address *ret);

/* A unit has something to tell (unit attention): the guest is asked to look at all. */
void storvsp_announce(struct storvsp *storvsp);

/* IDE, after opened(), the primary's loop: the disk is the driver's. Without a driver: nothing. */
void storvsp_begin(struct storvsp *storvsp);

/* The bus goes on after a pause: what could not be told meanwhile is told now. */
void storvsp_resume(struct storvsp *storvsp);

/* For bus_offer(). Lives as long as the controller. */
struct vmbus_device *storvsp_device(struct storvsp *storvsp);

/*
 * While the bus is paused: posts done to the control loop when no command is in flight on any queue
 * any more. Needed before bus_save(). Nothing else is asked until done has run.
 */
void storvsp_stop(struct storvsp *storvsp, struct loop_work *done);

/* SPDX-License-Identifier: MIT */
/*
 * StorVSP: one synthetic SCSI controller of a partition, with up to STORVSP_DISKS_MAX disks.
 *
 * Data goes from guest pages straight to the blocks: a packet's page list becomes iovecs, the SCSI
 * disk hands them to the block, the block to io_uring, which is entered once per round of the loop.
 *
 *   owner   vm owns controllers and blocks, a controller its SCSI disks
 *   thread  create, add, destroy: control, before the offer and after the revoke; else the I/O loop,
 *           which is also the one on which the blocks were started
 *   spec    docs/protocols.md#vstor
 */
#pragma once

#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "block/block.h"
#include "loop/loop.h"
#include "vmbus/device.h"

struct storvsp;

/* Addresses that a guest's driver scans: paths ("buses"), targets, units. */
#define STORVSP_PATHS              8
#define STORVSP_TARGETS            2
#define STORVSP_LUNS               64
#define STORVSP_DISKS_MAX          64

/* Bytes in one command; guests derive their largest request from it. */
#define STORVSP_TRANSFER_BYTES_MAX (1U << 20)

/* Commands at once; the rest waits in the ring. Linux has up to 350 in a ring of 128 KiB. */
#define STORVSP_REQUESTS           512

struct storvsp_address {
	uint8_t path, target, lun;
};

/* name: of the controller, unique in the partition; its instance GUID is made of it. */
MUST_CHECK int storvsp_create(const char *name, struct storvsp **ret);

/* Revoked. NULL is fine. The blocks are left alone. */
void storvsp_destroy(struct storvsp *storvsp);

/*
 * Attaches a disk: block is borrowed until storvsp_destroy() and must be started, on the loop of the
 * device, before the offer. serial may be NULL. 0; -EINVAL (address, serial), -EEXIST, -ENOSPC,
 * -ENOMEM, with a sentence.
 */
MUST_CHECK int storvsp_add_disk(struct storvsp *storvsp, struct storvsp_address address,
				struct block *block, const char *serial, struct diag *reterr);

/* For bus_offer(), with its loop to be set. Lives as long as the controller. */
struct vmbus_device *storvsp_device(struct storvsp *storvsp);

/*
 * While the bus is paused: posts done to the I/O loop when no command is in flight any more. Needed
 * before bus_save(). The I/O loop's thread; nothing else is asked until done has run.
 */
void storvsp_stop(struct storvsp *storvsp, struct loop_work *done);

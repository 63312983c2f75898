/* SPDX-License-Identifier: MIT */
/*
 * A direct-access logical unit over a block. See scsi.h.
 *
 *   owner   the front end   thread  as scsi.h
 */
#pragma once

#include "scsi/scsi.h"
#include "state/load.h"
#include "state/save.h"

struct scsi_disk_config {
	struct block *block;         /* borrowed; started before the first request */
	uint32_t transfer_bytes_max; /* what the front end can move in one command */
	const char *serial; /* at most 32 printable characters; NULL: from the block's identity */
};

#define SCSI_SERIAL_BYTES_MAX 32

/* 0 or -ENOMEM, -EINVAL (serial). */
MUST_CHECK int scsi_disk_create(const struct scsi_disk_config *config, struct scsi_disk **ret);

/* Nothing is in flight. NULL is fine. */
void scsi_disk_destroy(struct scsi_disk *disk);

struct block *scsi_disk_block(const struct scsi_disk *disk);

/* Power on: what was negotiated is forgotten (mode parameters, stopped). */
void scsi_disk_reset(struct scsi_disk *disk);

/* Executes a command: SCSI_PENDING or SCSI_DONE. */
MUST_CHECK enum scsi_submit scsi_disk_submit(struct scsi_disk *disk, struct scsi_request *request);

/* Nothing is in flight. */
void scsi_disk_save(const struct scsi_disk *disk, struct save *save);
MUST_CHECK int scsi_disk_load(struct scsi_disk *disk, struct load *load);

/* SPDX-License-Identifier: MIT */
/*
 * What the files of a SCSI disk share: scsi_disk.c (life, dispatch), scsi_rw.c (commands that reach
 * the block), scsi_inquiry.c, scsi_mode.c (pages), scsi_opcodes.c (the table).
 */
#pragma once

#include "scsi/scsi_disk.h"

/* A command's handler: SCSI_PENDING or SCSI_DONE. */
typedef enum scsi_submit scsi_command_fn(struct scsi_disk *disk, struct scsi_request *request);

#define SCSI_COMMAND_MEDIUM  1 /* not while stopped */
#define SCSI_COMMAND_WRITE   2 /* not when write-protected */
#define SCSI_COMMAND_DISCARD 4 /* only when the block can discard */
#define SCSI_COMMAND_ZEROES  8 /* only when the block can write zeroes */

#define SCSI_NO_ACTION       0xff

struct scsi_command {
	uint8_t opcode;
	uint8_t action; /* service action, or SCSI_NO_ACTION */
	uint8_t cdb_bytes;
	uint8_t flags; /* SCSI_COMMAND_* */
	scsi_command_fn *execute;
	uint8_t usage[SCSI_CDB_BYTES_MAX]; /* which bits of the CDB we evaluate, from byte 1 */
};

struct scsi_disk {
	struct block *block;
	uint32_t transfer_bytes_max;
	uint32_t block_shift; /* log2 of the logical block */
	uint64_t blocks;
	char serial[SCSI_SERIAL_BYTES_MAX + 1];

	const struct scsi_command *commands[256]; /* by operation code; NULL: not supported */

	bool write_cache; /* WCE; off: each write is forced to the disk */
	bool stopped;     /* START STOP UNIT with START = 0 */
};

/* Fills disk->commands with those that its block can serve. */
void scsi_commands_init(struct scsi_disk *disk);

/* scsi_rw.c */
scsi_command_fn scsi_read, scsi_write, scsi_write_verify, scsi_verify, scsi_synchronize,
	scsi_write_same, scsi_unmap, scsi_start_stop;

/* Empties the cache, then answers GOOD with so many bytes transferred. */
enum scsi_submit scsi_flush(struct scsi_disk *disk, struct scsi_request *request,
			    uint32_t transfer_bytes);

/* scsi_inquiry.c */
scsi_command_fn scsi_inquiry, scsi_read_capacity_10, scsi_read_capacity_16;
void scsi_inquiry_fill(uint8_t *ret_data, uint8_t peripheral);

/* scsi_mode.c */
scsi_command_fn scsi_mode_sense, scsi_mode_select;

/* scsi_opcodes.c */
scsi_command_fn scsi_report_opcodes;

/* scsi_disk.c */
scsi_command_fn scsi_test_unit_ready, scsi_request_sense;

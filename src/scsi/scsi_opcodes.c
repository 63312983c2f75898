/* SPDX-License-Identifier: MIT */
/*
 * The commands of a disk and of a DVD drive, as tables: what is executed and what REPORT SUPPORTED OPERATION CODES
 * tells. Rows of one operation code stand together: a unit finds the first by a direct index.
 */
#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "scsi/scsi_dvd_internal.h"

#define MEDIUM      SCSI_COMMAND_MEDIUM
#define WRITE       SCSI_COMMAND_WRITE
#define DISCARD     SCSI_COMMAND_DISCARD
#define ZEROES      SCSI_COMMAND_ZEROES
#define QUIET       SCSI_COMMAND_QUIET
#define NONE        SCSI_NO_ACTION
#define WRITES      MEDIUM | WRITE
#define LBA32       0xff, 0xff, 0xff, 0xff
#define LBA64       LBA32, LBA32

/* Usage maps of CDBs of so many bytes whose byte 1 is b1: address and length; only a length. */
#define USE_6(b1)   b1, 0xff, 0xff, 0xff
#define USE_10(b1)  b1, LBA32, 0, 0xff, 0xff
#define USE_12(b1)  b1, LBA32, LBA32
#define USE_16(b1)  b1, LBA64, LBA32
#define LIST_6(b1)  b1, 0, 0, 0xff
#define LIST_10(b1) b1, 0, 0, 0, 0, 0, 0xff, 0xff

#define LOG_10      3, 0xff, 0xff, 0, 0, 0, 0xff, 0xff
#define MODE_10     8, 0xff, 0xff, 0, 0, 0, 0xff, 0xff

/* What both kinds of units do in the same way. */
#define MAINTENANCE_COMMANDS                                                                       \
	{ SCSI_OP_MAINTENANCE_IN,                                                                  \
	  SCSI_SA_REPORT_OP_CODES,                                                                 \
	  12,                                                                                      \
	  0,                                                                                       \
	  scsi_report_opcodes,                                                                     \
	  { 0x1f, 0x87, 0xff, 0xff, 0xff, LBA32 } },                                               \
	{                                                                                          \
		SCSI_OP_MAINTENANCE_IN, SCSI_SA_REPORT_FUNCTIONS, 12, 0, scsi_report_functions,    \
		{                                                                                  \
			0x1f, 0x80, 0, 0, 0, LBA32                                                 \
		}                                                                                  \
	}

/*
 * MODE SENSE is quiet beyond the standard's three: Linux' hv_storvsc takes a MODE SENSE that failed for
 * one that succeeded, so an attention told there would be lost, and a buffer that nobody filled be read
 * as "no write cache".
 */
static const struct scsi_command disk_commands[] = {
	{ SCSI_OP_TEST_UNIT_READY, NONE, 6, MEDIUM, scsi_test_unit_ready, { 0 } },
	{ SCSI_OP_REQUEST_SENSE, NONE, 6, QUIET, scsi_request_sense, { LIST_6(1) } },
	{ SCSI_OP_READ_6, NONE, 6, MEDIUM, scsi_read, { USE_6(0x1f) } },
	{ SCSI_OP_WRITE_6, NONE, 6, WRITES, scsi_write, { USE_6(0x1f) } },
	{ SCSI_OP_INQUIRY, NONE, 6, QUIET, scsi_inquiry, { USE_6(1) } },
	{ SCSI_OP_MODE_SELECT_6, NONE, 6, 0, scsi_mode_select, { LIST_6(0x11) } },
	{ SCSI_OP_MODE_SENSE_6, NONE, 6, QUIET, scsi_mode_sense, { USE_6(8) } },
	{ SCSI_OP_START_STOP_UNIT, NONE, 6, 0, scsi_start_stop, { 1, 0, 0, 0xf7 } },
	{ SCSI_OP_READ_CAPACITY_10, NONE, 10, MEDIUM, scsi_read_capacity_10, { 0, LBA32 } },
	{ SCSI_OP_READ_10, NONE, 10, MEDIUM, scsi_read, { USE_10(0xf8) } },
	{ SCSI_OP_WRITE_10, NONE, 10, WRITES, scsi_write, { USE_10(0xf8) } },
	{ SCSI_OP_WRITE_VERIFY_10, NONE, 10, WRITES, scsi_write_verify, { USE_10(0xf6) } },
	{ SCSI_OP_VERIFY_10, NONE, 10, MEDIUM, scsi_verify, { USE_10(0xf6) } },
	{ SCSI_OP_SYNCHRONIZE_CACHE_10, NONE, 10, MEDIUM, scsi_synchronize, { USE_10(2) } },
	{ SCSI_OP_WRITE_SAME_10, NONE, 10, WRITES | ZEROES, scsi_write_same, { USE_10(0xf8) } },
	{ SCSI_OP_UNMAP, NONE, 10, WRITES | DISCARD, scsi_unmap, { LIST_10(1) } },
	{ SCSI_OP_LOG_SENSE, NONE, 10, 0, scsi_log_sense, { LOG_10 } },
	{ SCSI_OP_MODE_SELECT_10, NONE, 10, 0, scsi_mode_select, { LIST_10(0x11) } },
	{ SCSI_OP_MODE_SENSE_10, NONE, 10, QUIET, scsi_mode_sense, { MODE_10 } },
	{ SCSI_OP_READ_16, NONE, 16, MEDIUM, scsi_read, { USE_16(0xf8) } },
	{ SCSI_OP_WRITE_16, NONE, 16, WRITES, scsi_write, { USE_16(0xf8) } },
	{ SCSI_OP_WRITE_VERIFY_16, NONE, 16, WRITES, scsi_write_verify, { USE_16(0xf6) } },
	{ SCSI_OP_VERIFY_16, NONE, 16, MEDIUM, scsi_verify, { USE_16(0xf6) } },
	{ SCSI_OP_SYNCHRONIZE_CACHE_16, NONE, 16, MEDIUM, scsi_synchronize, { USE_16(2) } },
	{ SCSI_OP_WRITE_SAME_16, NONE, 16, WRITES | ZEROES, scsi_write_same, { USE_16(0xf9) } },
	{ SCSI_OP_SERVICE_ACTION_IN_16,
	  SCSI_SA_READ_CAPACITY_16,
	  16,
	  MEDIUM,
	  scsi_read_capacity_16,
	  { USE_16(0x1f) } },
	MAINTENANCE_COMMANDS,
	{ SCSI_OP_READ_12, NONE, 12, MEDIUM, scsi_read, { USE_12(0xf8) } },
	{ SCSI_OP_WRITE_12, NONE, 12, WRITES, scsi_write, { USE_12(0xf8) } },
};

static const struct scsi_command dvd_commands[] = {
	{ SCSI_OP_TEST_UNIT_READY, NONE, 6, MEDIUM, scsi_test_unit_ready, { 0 } },
	{ SCSI_OP_REQUEST_SENSE, NONE, 6, QUIET, scsi_request_sense, { LIST_6(1) } },
	{ SCSI_OP_INQUIRY, NONE, 6, QUIET, scsi_inquiry, { USE_6(1) } },
	{ SCSI_OP_MODE_SENSE_6, NONE, 6, QUIET, scsi_mode_sense, { USE_6(8) } },
	{ SCSI_OP_START_STOP_UNIT, NONE, 6, 0, scsi_dvd_start_stop, { 1, 0, 0, 0xf3 } },
	{ SCSI_OP_PREVENT_ALLOW, NONE, 6, 0, scsi_dvd_prevent, { 0, 0, 0, 3 } },
	{ SCSI_OP_READ_FORMAT_CAPACITIES, NONE, 10, 0, scsi_dvd_format_capacities, { LIST_10(0) } },
	{ SCSI_OP_READ_CAPACITY_10, NONE, 10, MEDIUM, scsi_read_capacity_10, { 0, LBA32 } },
	{ SCSI_OP_READ_10, NONE, 10, MEDIUM, scsi_read, { USE_10(0xf8) } },
	{ SCSI_OP_WRITE_10, NONE, 10, WRITES, scsi_write, { USE_10(0xf8) } },
	{ SCSI_OP_SEEK_10, NONE, 10, MEDIUM, scsi_dvd_seek, { 0, LBA32 } },
	{ SCSI_OP_VERIFY_10, NONE, 10, MEDIUM, scsi_verify, { USE_10(0xf6) } },
	{ SCSI_OP_SYNCHRONIZE_CACHE_10, NONE, 10, MEDIUM, scsi_synchronize, { USE_10(2) } },
	{ SCSI_OP_READ_TOC,
	  NONE,
	  10,
	  MEDIUM,
	  scsi_dvd_read_toc,
	  { 2, 0x0f, 0, 0, 0, 0xff, 0xff, 0xff, 0xc0 } },
	{ SCSI_OP_GET_CONFIGURATION,
	  NONE,
	  10,
	  QUIET,
	  scsi_dvd_configuration,
	  { 3, 0xff, 0xff, 0, 0, 0, 0xff, 0xff } },
	{ SCSI_OP_GET_EVENT_STATUS,
	  NONE,
	  10,
	  QUIET,
	  scsi_dvd_event_status,
	  { 1, 0, 0, 0xff, 0, 0, 0xff, 0xff } },
	{ SCSI_OP_LOG_SENSE, NONE, 10, 0, scsi_log_sense, { LOG_10 } },
	{ SCSI_OP_READ_DISC_INFORMATION,
	  NONE,
	  10,
	  MEDIUM,
	  scsi_dvd_disc_information,
	  { LIST_10(7) } },
	{ SCSI_OP_READ_TRACK_INFORMATION,
	  NONE,
	  10,
	  MEDIUM,
	  scsi_dvd_track_information,
	  { USE_10(3) } },
	{ SCSI_OP_MODE_SENSE_10, NONE, 10, QUIET, scsi_mode_sense, { MODE_10 } },
	MAINTENANCE_COMMANDS,
	{ SCSI_OP_READ_12, NONE, 12, MEDIUM, scsi_read, { USE_12(0xf8) } },
	{ SCSI_OP_WRITE_12, NONE, 12, WRITES, scsi_write, { USE_12(0xf8) } },
	{ SCSI_OP_READ_DISC_STRUCTURE,
	  NONE,
	  12,
	  MEDIUM,
	  scsi_dvd_structure,
	  { 0x0f, LBA32, 0xff, 0xff, 0xff, 0xff } },
	{ SCSI_OP_SET_CD_SPEED, NONE, 12, 0, scsi_dvd_set_speed, { 3, LBA32 } },
	{ SCSI_OP_MECHANISM_STATUS,
	  NONE,
	  12,
	  0,
	  scsi_dvd_mechanism,
	  { 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff } },
	{ SCSI_OP_READ_CD,
	  NONE,
	  12,
	  MEDIUM,
	  scsi_dvd_read_cd,
	  { 0x1c, LBA32, 0xff, 0xff, 0xff, 0xf8, 7 } },
};

/* Answered by the target, listed here for REPORT SUPPORTED OPERATION CODES only. */
static const struct scsi_command scsi_report_luns_command = {
	SCSI_OP_REPORT_LUNS, NONE, 12, 0, NULL, { 0, 0xff, 0, 0, 0, LBA32 },
};

#define COMMANDS_MAX ARRAY_SIZE(disk_commands)

static_assert(ARRAY_SIZE(dvd_commands) <= COMMANDS_MAX, "room for a report of all");

/* What the medium cannot serve is no command of this unit. */
static bool scsi_command_is_offered(const struct scsi_request *request,
				    const struct scsi_command *command)
{
	return !(command->flags & scsi_queue_of(request)->refused &
		 (SCSI_COMMAND_DISCARD | SCSI_COMMAND_ZEROES));
}

void scsi_commands_init(struct scsi_disk *disk)
{
	bool is_dvd = disk->type == SCSI_DVD;

	disk->table = is_dvd ? dvd_commands : disk_commands;
	disk->table_count = is_dvd ? ARRAY_SIZE(dvd_commands) : ARRAY_SIZE(disk_commands);
	for (size_t i = disk->table_count; i-- > 0;) {
		disk->commands[disk->table[i].opcode] = &disk->table[i];
	}
}

const struct scsi_command *scsi_command_find(const struct scsi_disk *disk, const uint8_t *cdb,
					     bool *ret_action)
{
	const struct scsi_command *at = disk->commands[cdb[0]];
	const struct scsi_command *end = disk->table + disk->table_count;

	if (!at || at->action == SCSI_NO_ACTION) {
		return at;
	}
	for (; at < end && at->opcode == cdb[0]; at++) {
		if (at->action == (cdb[1] & 0x1f)) {
			return at;
		}
	}
	*ret_action = true;
	return NULL;
}

/* One command's timeouts descriptor: 12 bytes, "no timeout is told". */
static uint32_t put_timeouts(uint8_t *at)
{
	memset(at, 0, 12);
	bytes_put_be16(at, 10);
	return 12;
}

static uint32_t put_descriptor(uint8_t *at, const struct scsi_command *command, bool timeouts)
{
	memset(at, 0, 8);
	at[0] = command->opcode;
	if (command->action != NONE) {
		bytes_put_be16(&at[2], command->action);
		at[5] |= 0x01; /* SERVACTV */
	}
	at[5] |= timeouts ? 0x02 : 0; /* CTDP */
	bytes_put_be16(&at[6], command->cdb_bytes);
	return 8 + (timeouts ? put_timeouts(at + 8) : 0);
}

static void report_all(struct scsi_disk *disk, struct scsi_request *request, bool timeouts)
{
	uint8_t data[4 + (COMMANDS_MAX + 1) * 20];
	uint32_t bytes = 4;

	for (size_t i = 0; i < disk->table_count; i++) {
		if (scsi_command_is_offered(request, &disk->table[i])) {
			bytes += put_descriptor(&data[bytes], &disk->table[i], timeouts);
		}
	}
	bytes += put_descriptor(&data[bytes], &scsi_report_luns_command, timeouts);
	bytes_put_be32(data, bytes - 4);
	scsi_reply(request, data, bytes, bytes_be32(&request->cdb[6]));
}

/* SPC-4 6.35.3: whether and how one command is supported. */
static void report_one(struct scsi_request *request, const struct scsi_command *command,
		       bool timeouts)
{
	uint8_t data[4 + SCSI_CDB_BYTES_MAX + 12] = { 0 };
	uint32_t bytes = 4;

	data[1] = 0x01; /* not supported */
	if (command) {
		data[1] = 0x03; /* supported, as the standard says */
		data[4] = command->opcode;
		memcpy(&data[5], command->usage, command->cdb_bytes - 1U);
		if (command->action != NONE) {
			data[5] = (uint8_t)((data[5] & ~0x1f) | command->action);
		}
		bytes_put_be16(&data[2], command->cdb_bytes);
		bytes += command->cdb_bytes;
		if (timeouts) {
			data[1] |= 0x80;
			bytes += put_timeouts(&data[bytes]);
		}
	}
	scsi_reply(request, data, bytes, bytes_be32(&request->cdb[6]));
}

enum scsi_submit scsi_report_opcodes(struct scsi_disk *disk, struct scsi_request *request)
{
	uint8_t opcode = request->cdb[3];
	bool timeouts = request->cdb[2] & 0x80;
	unsigned int options = request->cdb[2] & 0x07;
	uint16_t action = bytes_be16(&request->cdb[4]);
	const struct scsi_command *command;
	bool is_action;

	if (options == 0) {
		report_all(disk, request, timeouts);
		return SCSI_DONE;
	}
	command =
		opcode == SCSI_OP_REPORT_LUNS ? &scsi_report_luns_command : disk->commands[opcode];
	if (command && !scsi_command_is_offered(request, command)) {
		command = NULL;
	}
	if (options == 1 && command && command->action != NONE) {
		scsi_fail_cdb(request, 2, 2); /* has service actions: must be asked with one */
	} else if (options == 2 && command && command->action == NONE) {
		scsi_fail_cdb(request, 2, 2);
	} else if (options > 3) {
		scsi_fail_cdb(request, 2, 2);
	} else {
		if (command && command->action != NONE) {
			const uint8_t cdb[2] = { opcode, (uint8_t)action };

			command = action < 0x20 ? scsi_command_find(disk, cdb, &is_action) : NULL;
		}
		report_one(request, command, timeouts);
	}
	return SCSI_DONE;
}

/* SPC-4 6.36: resets of a unit and of a target; what is in flight ends by itself. */
enum scsi_submit scsi_report_functions(struct scsi_disk *disk, struct scsi_request *request)
{
	uint8_t data[16] = { 0x0a }; /* LURS, TRS */
	bool extended = request->cdb[2] & 0x80;

	data[3] = extended ? sizeof(data) - 4 : 0;
	scsi_reply(request, data, extended ? sizeof(data) : 4, bytes_be32(&request->cdb[6]));
	return SCSI_DONE;
}

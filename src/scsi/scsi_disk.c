/* SPDX-License-Identifier: MIT */
/* A SCSI disk: life, dispatch, and the commands that ask how it is. */
#include "scsi/scsi_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "scsi/scsi_disk_internal.h"

/* Tags of the saved state. */
enum { DISK_STATE_WRITE_CACHE = 1, DISK_STATE_STOPPED = 2 };

static int disk_set_serial(struct scsi_disk *disk, const struct scsi_disk_config *config)
{
	const char *from = config->serial;

	if (!from) {
		/* The identity without its dashes: 32 hexadecimal digits. */
		size_t n = 0;

		for (from = block_info(config->block)->identity; *from; from++) {
			if (*from != '-' && n < SCSI_SERIAL_BYTES_MAX) {
				disk->serial[n++] = *from;
			}
		}
		return 0;
	}
	if (strlen(from) > SCSI_SERIAL_BYTES_MAX) {
		return -EINVAL;
	}
	for (const char *c = from; *c; c++) {
		if (*c < 0x20 || *c > 0x7e) {
			return -EINVAL;
		}
	}
	snprintf(disk->serial, sizeof(disk->serial), "%s", from);
	return 0;
}

int scsi_disk_create(const struct scsi_disk_config *config, struct scsi_disk **ret)
{
	const struct block_info *info = block_info(config->block);
	struct scsi_disk *disk = fault_alloc(1, sizeof(*disk));
	int err;

	if (!disk) {
		return -ENOMEM;
	}
	err = disk_set_serial(disk, config);
	if (err) {
		free(disk);
		return err;
	}
	disk->block = config->block;
	disk->transfer_bytes_max = config->transfer_bytes_max;
	disk->block_shift = (uint32_t)__builtin_ctz(info->logical_block_bytes);
	disk->blocks = info->bytes >> disk->block_shift;
	scsi_commands_init(disk);
	scsi_disk_reset(disk);
	*ret = disk;
	return 0;
}

void scsi_disk_destroy(struct scsi_disk *disk)
{
	free(disk);
}

struct block *scsi_disk_block(const struct scsi_disk *disk)
{
	return disk->block;
}

void scsi_disk_reset(struct scsi_disk *disk)
{
	disk->write_cache = true;
	disk->stopped = false;
}

enum scsi_submit scsi_test_unit_ready(struct scsi_disk *disk, struct scsi_request *request)
{
	scsi_good(request);
	return SCSI_DONE;
}

/* Sense goes out with each answer (autosense), so there is never any left to ask for. */
enum scsi_submit scsi_request_sense(struct scsi_disk *disk, struct scsi_request *request)
{
	static const uint8_t fixed[SCSI_SENSE_BYTES] = {
		SCSI_SENSE_FIXED_CURRENT, 0, SCSI_KEY_NO_SENSE, 0, 0, 0, 0, SCSI_SENSE_ADDITIONAL,
	};
	static const uint8_t descriptor[8] = { 0x72 };

	if (request->cdb[1] & 0x01) {
		scsi_reply(request, descriptor, sizeof(descriptor), request->cdb[4]);
	} else {
		scsi_reply(request, fixed, sizeof(fixed), request->cdb[4]);
	}
	return SCSI_DONE;
}

enum scsi_submit scsi_disk_submit(struct scsi_disk *disk, struct scsi_request *request)
{
	const struct scsi_command *command = disk->commands[request->cdb[0]];

	request->disk = disk;
	if (!command) {
		scsi_fail(request, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
		return SCSI_DONE;
	}
	if (command->action != SCSI_NO_ACTION && command->action != (request->cdb[1] & 0x1f)) {
		scsi_fail_cdb(request, 1, 4); /* the service action: bits 4 to 0 */
		return SCSI_DONE;
	}
	if (request->cdb_bytes < command->cdb_bytes) {
		scsi_fail_cdb(request, request->cdb_bytes, -1);
		return SCSI_DONE;
	}
	if ((command->flags & SCSI_COMMAND_MEDIUM) && disk->stopped) {
		scsi_fail(request, SCSI_KEY_NOT_READY, SCSI_ASC_NOT_READY_START_NEEDED);
		return SCSI_DONE;
	}
	if ((command->flags & SCSI_COMMAND_WRITE) && block_info(disk->block)->read_only) {
		scsi_fail(request, SCSI_KEY_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
		return SCSI_DONE;
	}
	return command->execute(disk, request);
}

void scsi_disk_save(const struct scsi_disk *disk, struct save *save)
{
	save_u32(save, DISK_STATE_WRITE_CACHE, disk->write_cache);
	save_u32(save, DISK_STATE_STOPPED, disk->stopped);
}

int scsi_disk_load(struct scsi_disk *disk, struct load *load)
{
	struct load_field field;
	uint32_t write_cache = 1, stopped = 0;

	while (load_next(load, &field)) {
		switch (field.tag) {
		case DISK_STATE_WRITE_CACHE:
			write_cache = load_u32(load, &field);
			break;
		case DISK_STATE_STOPPED:
			stopped = load_u32(load, &field);
			break;
		default:
			break;
		}
	}
	if (write_cache > 1 || stopped > 1) {
		load_fail(load);
	}
	if (load_result(load) == 0) {
		disk->write_cache = write_cache;
		disk->stopped = stopped;
	}
	return load_result(load);
}

/* SPDX-License-Identifier: MIT */
/* A SCSI unit: life, media, queues, dispatch. */
#include "scsi/scsi_disk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fault.h"
#include "base/num.h"
#include "scsi/scsi_disk_internal.h"

#define DISK_BLOCK_BYTES_MIN 512
#define DISK_BLOCK_BYTES_MAX 4096
#define DVD_BLOCK_SHIFT      11

static_assert(1 << DVD_BLOCK_SHIFT == SCSI_DVD_BLOCK_BYTES, "a disc's block");

#define SCRATCH_BYTES ((size_t)SCSI_QUEUES_MAX * SCSI_SCRATCH_BYTES)

/* ---- life --------------------------------------------------------------------------------------- */

/* Mapped, not allocated: what is never used never takes memory, and pages suit direct I/O. */
static int create_scratch(struct scsi_disk *disk, struct diag *reterr)
{
	void *scratch = MAP_FAILED;

	if (!fault_point()) {
		scratch = mmap(NULL, SCRATCH_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	if (scratch == MAP_FAILED) {
		return diag_set(reterr, -ENOMEM, "no memory for a SCSI disk");
	}
	disk->scratch = scratch;
	return 0;
}

int scsi_disk_create(const struct scsi_disk_config *config, struct scsi_disk **ret,
		     struct diag *reterr)
{
	struct scsi_disk *disk = fault_alloc(1, sizeof(*disk));
	int err;

	if (!disk) {
		return diag_set(reterr, -ENOMEM, "no memory for a SCSI disk");
	}
	disk->type = config->type;
	disk->transfer_bytes_max = config->transfer_bytes_max;
	disk->write_cache = config->write_cache;
	disk->on_eject = config->on_eject;
	disk->on_eject_ctx = config->on_eject_ctx;
	err = scsi_identity_init(disk, config, reterr);
	if (!err && config->info) {
		err = scsi_disk_set_medium(disk, config->info, reterr);
	} else if (!err && config->type == SCSI_DISK) {
		err = diag_set(reterr, -EINVAL, "a SCSI disk needs a disk behind it");
	}
	if (!err && config->type == SCSI_DISK) {
		err = create_scratch(disk, reterr);
	}
	if (err) {
		scsi_disk_destroy(disk);
		return err;
	}
	scsi_commands_init(disk);
	scsi_disk_reset(disk); /* the first disc is no news */
	*ret = disk;
	return 0;
}

void scsi_disk_destroy(struct scsi_disk *disk)
{
	if (disk) {
		check(atomic_load(&disk->attached) == 0);
		if (disk->scratch) {
			munmap(disk->scratch, SCRATCH_BYTES);
		}
		free(disk);
	}
}

/* ---- media -------------------------------------------------------------------------------------- */

int scsi_disk_set_medium(struct scsi_disk *disk, const struct block_info *info, struct diag *reterr)
{
	uint32_t bytes = info->logical_block_bytes, before, after;
	uint32_t bytes_max = disk->type == SCSI_DVD ? SCSI_DVD_BLOCK_BYTES : DISK_BLOCK_BYTES_MAX;

	check(atomic_load(&disk->attached) == 0); /* U1 */
	if (!num_is_power_of_2(bytes) || bytes < DISK_BLOCK_BYTES_MIN || bytes > bytes_max) {
		return diag_set(reterr, -EINVAL, "blocks of %u bytes: a SCSI %s can have 512 to %u",
				bytes, disk->type == SCSI_DVD ? "DVD drive" : "disk", bytes_max);
	}
	if (info->bytes < (disk->type == SCSI_DVD ? bytes_max : bytes)) {
		return diag_set(reterr, -EINVAL, "%llu bytes: a SCSI %s needs at least one block",
				(unsigned long long)info->bytes,
				disk->type == SCSI_DVD ? "disc" : "disk");
	}
	disk->medium = *info;
	if (disk->type == SCSI_DISK) {
		scsi_flags_set(disk, SCSI_STATE_MEDIUM);
		return 0;
	}
	/* In one step: a queue that ejects the disc as soon as it is there must not be undone. */
	before = scsi_flags(disk);
	do {
		after = before & ~(SCSI_STATE_EJECTED | SCSI_STATE_TRAY_OPEN | SCSI_EVENT_ALL);
		after |= SCSI_STATE_MEDIUM | SCSI_UA_MEDIUM | SCSI_EVENT_NEW_MEDIUM;
	} while (!atomic_compare_exchange_weak(&disk->flags, &before, after));
	return 0;
}

void scsi_disk_clear_medium(struct scsi_disk *disk)
{
	check(disk->type == SCSI_DVD);
	check(atomic_load(&disk->attached) == 0); /* U1 */
	if (!scsi_disk_has_medium(disk)) {
		return;
	}
	/* When the guest took it out by itself, it knows. */
	if (!(scsi_flags(disk) & SCSI_STATE_EJECTED)) {
		scsi_flags_clear(disk, SCSI_UA_MEDIUM | SCSI_EVENT_ALL);
		scsi_flags_set(disk, SCSI_EVENT_REMOVAL);
	}
	scsi_flags_clear(disk, SCSI_STATE_MEDIUM | SCSI_STATE_LOCKED | SCSI_STATE_EJECTED);
}

bool scsi_disk_has_medium(const struct scsi_disk *disk)
{
	return scsi_flags(disk) & SCSI_STATE_MEDIUM;
}

/* ---- queues ------------------------------------------------------------------------------------- */

static uint8_t medium_refuses(const struct scsi_disk *disk, const struct block_info *info)
{
	uint8_t refused = 0;

	if (disk->type == SCSI_DVD || info->read_only) {
		refused |= SCSI_COMMAND_WRITE;
	}
	if (!info->can_discard) {
		refused |= SCSI_COMMAND_DISCARD;
	}
	if (!info->can_write_zeroes) {
		refused |= SCSI_COMMAND_ZEROES;
	}
	return refused;
}

void scsi_disk_attach(struct scsi_disk *disk, unsigned int queue, struct block *end)
{
	const struct block_info *info = block_info(end);
	struct scsi_queue *at;

	check(queue < SCSI_QUEUES_MAX);
	check(scsi_disk_has_medium(disk) &&
	      info->logical_block_bytes == disk->medium.logical_block_bytes); /* U1 */
	loop_check_here(block_loop(end));
	at = &disk->queues[queue];
	check(!at->end);
	at->block_shift = disk->type == SCSI_DVD
				  ? DVD_BLOCK_SHIFT
				  : (uint32_t)__builtin_ctz(info->logical_block_bytes);
	at->refused = medium_refuses(disk, info);
	at->end = end;
	atomic_fetch_add(&disk->attached, 1);
}

void scsi_disk_detach(struct scsi_disk *disk, unsigned int queue)
{
	struct scsi_queue *at;

	check(queue < SCSI_QUEUES_MAX);
	at = &disk->queues[queue];
	if (!at->end) {
		return;
	}
	loop_check_here(block_loop(at->end));
	at->end = NULL;
	check(atomic_fetch_sub(&disk->attached, 1) > 0);
}

struct block *scsi_disk_end(const struct scsi_disk *disk, unsigned int queue)
{
	check(queue < SCSI_QUEUES_MAX);
	return disk->queues[queue].end;
}

uint64_t scsi_blocks(const struct scsi_request *request)
{
	uint64_t blocks = scsi_info(request)->bytes >> scsi_block_shift(request);

	return request->disk->type == SCSI_DVD ? num_min(blocks, SCSI_DVD_BLOCKS_MAX) : blocks;
}

bool scsi_medium_is_there(const struct scsi_request *request)
{
	return scsi_queue_of(request)->end && !(scsi_flags(request->disk) & SCSI_STATE_EJECTED);
}

bool scsi_disk_is_there(const struct scsi_disk *disk, unsigned int queue)
{
	check(queue < SCSI_QUEUES_MAX);
	return disk->type == SCSI_DVD || disk->queues[queue].end;
}

void scsi_fail_no_medium(struct scsi_request *request)
{
	const struct scsi_disk *disk = request->disk;

	if (disk->type == SCSI_DISK) {
		scsi_fail(request, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LUN_NOT_SUPPORTED);
	} else if ((scsi_flags(disk) & (SCSI_STATE_MEDIUM | SCSI_STATE_EJECTED)) ==
		   SCSI_STATE_MEDIUM) {
		scsi_fail(request, SCSI_KEY_NOT_READY, SCSI_ASC_BECOMING_READY);
	} else if (scsi_flags(disk) & SCSI_STATE_TRAY_OPEN) {
		scsi_fail(request, SCSI_KEY_NOT_READY, SCSI_ASC_NO_MEDIUM_TRAY_OPEN);
	} else {
		scsi_fail(request, SCSI_KEY_NOT_READY, SCSI_ASC_NO_MEDIUM);
	}
}

/* ---- dispatch ----------------------------------------------------------------------------------- */

enum scsi_submit scsi_test_unit_ready(struct scsi_disk *disk, struct scsi_request *request)
{
	scsi_good(request);
	return SCSI_DONE;
}

/* Whether the CDB is one that the unit executes at all; else it is answered. */
static const struct scsi_command *find_command(struct scsi_disk *disk, struct scsi_request *request)
{
	bool is_action = false;
	const struct scsi_command *command = scsi_command_find(disk, request->cdb, &is_action);
	uint8_t refused = disk->queues[request->queue].refused;

	if (!command && is_action) {
		scsi_fail_cdb(request, 1, 4); /* the service action: bits 4 to 0 */
		return NULL;
	}
	if (!command || (command->flags & refused & (SCSI_COMMAND_DISCARD | SCSI_COMMAND_ZEROES))) {
		scsi_fail(request, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_OPCODE);
		return NULL;
	}
	if (request->cdb_bytes < command->cdb_bytes) {
		scsi_fail_cdb(request, request->cdb_bytes, -1);
		return NULL;
	}
	return command;
}

/* Whether the unit is in the mood for a command that needs its medium; else it is answered. */
static bool medium_is_ready(struct scsi_request *request, uint8_t command_flags, uint32_t flags)
{
	struct scsi_queue *queue = scsi_queue_of(request);

	if (!queue->end || (flags & SCSI_STATE_EJECTED)) {
		scsi_fail_no_medium(request);
		return false;
	}
	if (flags & SCSI_STATE_STOPPED) {
		scsi_fail(request, SCSI_KEY_NOT_READY, SCSI_ASC_NOT_READY_START_NEEDED);
		return false;
	}
	if (command_flags & queue->refused & SCSI_COMMAND_WRITE) {
		scsi_fail(request, SCSI_KEY_DATA_PROTECT, SCSI_ASC_WRITE_PROTECTED);
		return false;
	}
	return true;
}

enum scsi_submit scsi_disk_submit(struct scsi_disk *disk, struct scsi_request *request)
{
	const struct scsi_command *command;
	uint32_t flags;

	if (!scsi_disk_is_there(disk, request->queue)) {
		return SCSI_NO_UNIT;
	}
	request->disk = disk;
	command = find_command(disk, request);
	if (!command) {
		return SCSI_DONE;
	}
	flags = scsi_flags(disk);
	if (__builtin_expect(!(flags & SCSI_STATE_SEEN), 0)) {
		scsi_flags_set(disk, SCSI_STATE_SEEN);
	}
	if ((flags & SCSI_UA_ALL) && !(command->flags & SCSI_COMMAND_QUIET)) {
		uint16_t asc = scsi_attention_take(request);

		if (asc) {
			scsi_fail(request, SCSI_KEY_UNIT_ATTENTION, asc);
			return SCSI_DONE;
		}
	}
	if ((command->flags & SCSI_COMMAND_MEDIUM) &&
	    !medium_is_ready(request, command->flags, flags)) {
		return SCSI_DONE;
	}
	return command->execute(disk, request);
}

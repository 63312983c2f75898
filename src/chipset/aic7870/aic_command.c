/* SPDX-License-Identifier: MIT */
/*
 * Commands at the targets. A command has a buffer of its own: a target on this bus has to take the data of
 * a WRITE before it knows where the initiator keeps the rest, and has to have read the data of a READ
 * before it reconnects; and a command that is aborted may end when its I/O does, with nobody's memory.
 *
 *                 begin            ready                submit              scsi's done
 *   free ──► (on the bus: data out) ──► waiting ──► at_unit ──► answered ──► (on the bus) ──► free
 *                                                        └─ aborted ─────────────────────────────┘
 *
 * Sense data waits at the target for REQUEST SENSE, as on any bus of SCSI-2; scsi hands it over with the
 * status.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "chipset/aic7870/aic_internal.h"
#include "scsi/scsi_disk.h"

#define STATUS_QUEUE_FULL 0x28
#define ASC_OVERLAPPED    0x4e00 /* overlapped commands attempted */

#define BYTCHK            0x06 /* VERIFY, WRITE AND VERIFY: byte 1 */
#define BYTCHK_ONE        0x06 /* one block, compared with each */
#define WRITE_SAME_NDOB   0x01 /* WRITE SAME(16), byte 1: no data comes */

/* ---- the pool ------------------------------------------------------------------------------------------ */

#define DATA_BYTES        ((size_t)AIC7870_COMMANDS * AIC7870_TRANSFER_BYTES_MAX)

int aic_commands_create(struct aic7870 *chip)
{
	void *data = MAP_FAILED;

	list_init(&chip->free);
	list_init(&chip->waiting);
	list_init(&chip->at_unit);
	list_init(&chip->answered);
	if (!fault_point()) {
		data = mmap(NULL, DATA_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	}
	if (data == MAP_FAILED) {
		return -ENOMEM;
	}
	chip->data = data;
	for (unsigned int i = 0; i < AIC7870_COMMANDS; i++) {
		struct aic_command *command = &chip->commands[i];

		command->chip = chip;
		command->data = chip->data + (size_t)i * AIC7870_TRANSFER_BYTES_MAX;
		list_append(&chip->free, &command->link);
	}
	chip->full.chip = chip;
	list_init(&chip->full.link);
	return 0;
}

void aic_commands_destroy(struct aic7870 *chip)
{
	if (chip->data) {
		munmap(chip->data, DATA_BYTES);
	}
}

/* The last one used is the next: its buffer is warm, and pages that were never needed stay away. */
void aic_command_end(struct aic7870 *chip, struct aic_command *command)
{
	command->state = AIC_COMMAND_FREE;
	list_remove(&command->link);
	if (command != &chip->full) {
		list_prepend(&chip->free, &command->link);
	}
}

/* ---- what a command moves --------------------------------------------------------------------------------- */

/* Blocks of a READ, WRITE, VERIFY, by the size of the CDB. */
static uint32_t blocks_of(const uint8_t *cdb)
{
	switch (cdb[0] >> 5) {
	case 0:
		return cdb[4] ? cdb[4] : 256;
	case 4:
		return bytes_be32(&cdb[10]);
	case 5:
		return bytes_be32(&cdb[6]);
	default:
		return bytes_be16(&cdb[7]);
	}
}

/* Bytes that the initiator is to send for this CDB. */
static uint64_t bytes_out(const uint8_t *cdb, uint32_t block_bytes)
{
	switch (cdb[0]) {
	case SCSI_OP_WRITE_6:
	case SCSI_OP_WRITE_10:
	case SCSI_OP_WRITE_12:
	case SCSI_OP_WRITE_16:
	case SCSI_OP_WRITE_VERIFY_10:
	case SCSI_OP_WRITE_VERIFY_16:
		return (uint64_t)blocks_of(cdb) * block_bytes;
	case SCSI_OP_VERIFY_10:
	case SCSI_OP_VERIFY_16:
		if ((cdb[1] & BYTCHK) == 0) {
			return 0;
		}
		return (cdb[1] & BYTCHK) == BYTCHK_ONE ? block_bytes
						       : (uint64_t)blocks_of(cdb) * block_bytes;
	case SCSI_OP_WRITE_SAME_10:
		return block_bytes;
	case SCSI_OP_WRITE_SAME_16:
		return cdb[1] & WRITE_SAME_NDOB ? 0 : block_bytes;
	case SCSI_OP_MODE_SELECT_6:
		return cdb[4];
	case SCSI_OP_MODE_SELECT_10:
	case SCSI_OP_UNMAP:
		return bytes_be16(&cdb[7]);
	default:
		return 0;
	}
}

/* Of the unit's medium; 0 when there is nothing that could be written. */
static uint32_t block_bytes_of(const struct aic7870 *chip, unsigned int target, unsigned int lun)
{
	const struct scsi_target *t = chip->targets[target];
	const struct scsi_disk *disk = t && lun < SCSI_LUNS_MAX ? t->luns[lun] : NULL;
	const struct block *end = disk ? scsi_disk_end(disk, chip->queue) : NULL;

	if (!end) {
		return 0;
	}
	return scsi_disk_type(disk) == SCSI_DVD ? SCSI_DVD_BLOCK_BYTES
						: block_info(end)->logical_block_bytes;
}

/* ---- sense ---------------------------------------------------------------------------------------------------- */

static uint8_t *sense_of(struct aic7870 *chip, const struct aic_command *command)
{
	return chip->sense[command->target][command->lun & 7];
}

static void keep_sense(struct aic7870 *chip, const struct aic_command *command)
{
	uint8_t *sense = sense_of(chip, command);

	sense[0] = command->scsi.sense_bytes;
	memcpy(&sense[1], command->scsi.sense, SCSI_SENSE_BYTES);
}

/* REQUEST SENSE while there is some; any other command than an INQUIRY makes it void. */
static bool answer_sense(struct aic7870 *chip, struct aic_command *command)
{
	uint8_t *sense = sense_of(chip, command);
	bool is_asked = command->scsi.cdb[0] == SCSI_OP_REQUEST_SENSE && sense[0] > 0;

	if (is_asked) {
		command->is_in = true;
		command->data_bytes = (uint32_t)num_min(sense[0], command->scsi.cdb[4]);
		memcpy(command->data, &sense[1], command->data_bytes);
		command->status = SCSI_STATUS_GOOD;
		command->state = AIC_COMMAND_ANSWERED;
	}
	if (command->scsi.cdb[0] != SCSI_OP_INQUIRY) {
		sense[0] = 0;
	}
	return is_asked;
}

void aic_command_fail(struct aic7870 *chip, struct aic_command *command, uint8_t key, uint16_t asc)
{
	scsi_fail(&command->scsi, key, asc);
	keep_sense(chip, command);
	command->status = SCSI_STATUS_CHECK_CONDITION;
	command->is_in = false;
	command->data_bytes = command->moved_bytes = 0;
	command->state = AIC_COMMAND_ANSWERED;
}

/* ---- a nexus -------------------------------------------------------------------------------------------------- */

static bool is_same_nexus(const struct aic_command *a, const struct aic_command *b)
{
	return a->target == b->target && a->lun == b->lun && a->is_tagged == b->is_tagged &&
	       (!a->is_tagged || a->tag == b->tag);
}

/* SCSI-2 7.5.2: an initiator that uses a nexus twice has lost count: all of it is aborted. */
static bool is_overlapped(struct aic7870 *chip, const struct aic_command *command)
{
	for (unsigned int i = 0; i < AIC7870_COMMANDS; i++) {
		const struct aic_command *other = &chip->commands[i];

		if (other != command && other->state != AIC_COMMAND_FREE && !other->is_aborted &&
		    is_same_nexus(other, command)) {
			return true;
		}
	}
	return false;
}

static void fill(struct aic_command *command, const struct aic_link *link)
{
	command->target = (uint8_t)link->target;
	command->lun = link->is_identified ? link->lun : link->cdb[1] >> 5;
	command->tag = link->tag;
	command->is_tagged = link->is_tagged;
	command->is_ordered = link->is_tagged && link->tag_kind == AIC_MSG_ORDERED_TAG;
	command->is_first = link->is_tagged && link->tag_kind == AIC_MSG_HEAD_TAG;
	command->may_disconnect = link->may_disconnect;
	command->is_aborted = command->is_in = false;
	command->data_bytes = command->moved_bytes = 0;
	command->scsi.cdb_bytes = link->cdb_bytes;
	memcpy(command->scsi.cdb, link->cdb, sizeof(command->scsi.cdb));
}

/* The pool is empty. */
static struct aic_command *begin_full(struct aic7870 *chip)
{
	fill(&chip->full, &chip->link);
	chip->full.state = AIC_COMMAND_ANSWERED;
	chip->full.status = chip->link.is_tagged ? STATUS_QUEUE_FULL : SCSI_STATUS_BUSY;
	counter_add(&chip->queue_full, 1);
	return &chip->full;
}

static void begin_data(struct aic7870 *chip, struct aic_command *command)
{
	uint64_t bytes =
		bytes_out(command->scsi.cdb, block_bytes_of(chip, command->target, command->lun));

	if (bytes > AIC7870_TRANSFER_BYTES_MAX) {
		aic_command_fail(chip, command, SCSI_KEY_ILLEGAL_REQUEST,
				 SCSI_ASC_INVALID_FIELD_IN_CDB);
		return;
	}
	command->data_bytes = (uint32_t)bytes;
	if (bytes > 0) {
		command->state = AIC_COMMAND_DATA_OUT;
	} else {
		aic_command_ready(chip, command);
	}
}

void aic_command_begin(struct aic7870 *chip)
{
	struct aic_link *link = &chip->link;
	struct aic_command *command = list_first(&chip->free, struct aic_command, link);

	link->has_cdb = false;
	counter_add(&chip->started, 1);
	if (!command) {
		link->command = begin_full(chip);
		aic_link_next(chip);
		return;
	}
	list_remove(&command->link);
	fill(command, link);
	if (is_overlapped(chip, command)) {
		aic_commands_abort(chip, command->target, command->lun, -1);
		aic_command_fail(chip, command, SCSI_KEY_ABORTED_COMMAND, ASC_OVERLAPPED);
	} else if (!answer_sense(chip, command)) {
		begin_data(chip, command);
	}
	link->command = command;
	aic_link_next(chip);
}

void aic_command_ready(struct aic7870 *chip, struct aic_command *command)
{
	command->state = AIC_COMMAND_WAITING;
	if (command->is_first) {
		list_prepend(&chip->waiting, &command->link);
	} else {
		list_append(&chip->waiting, &command->link);
	}
}

/* ---- scsi --------------------------------------------------------------------------------------------------- */

/* The answer is in command->scsi. */
static void take_answer(struct aic7870 *chip, struct aic_command *command)
{
	const struct scsi_request *scsi = &command->scsi;

	chip->in_flight--;
	list_remove(&command->link);
	if (command->is_aborted) {
		aic_command_end(chip, command);
		return;
	}
	command->state = AIC_COMMAND_ANSWERED;
	command->status = scsi->status;
	if (scsi->status == SCSI_STATUS_CHECK_CONDITION) {
		keep_sense(chip, command);
	}
	if (command->is_in) {
		command->data_bytes =
			(uint32_t)num_min(scsi->transferred_bytes, AIC7870_TRANSFER_BYTES_MAX);
		command->moved_bytes = 0;
	}
	if (chip->link.command == command) {
		aic_link_next(chip);
	} else {
		list_append(&chip->answered, &command->link);
	}
}

static void tell_stopped(struct aic7870 *chip)
{
	if (chip->is_stopped && chip->in_flight == 0 && chip->stop_done) {
		loop_post(chip->stop_loop, chip->stop_done);
		chip->stop_done = NULL;
	}
}

/* The loop's thread, from scsi: without the lock. */
static void on_done(struct scsi_request *scsi)
{
	struct aic_command *command = container_of(scsi, struct aic_command, scsi);
	struct aic7870 *chip = command->chip;

	chipset_lock(chip->chipset);
	take_answer(chip, command);
	tell_stopped(chip);
	chipset_unlock(chip->chipset);
	loop_defer(chip->loop, &chip->work);
}

static bool is_same_unit(const struct aic_command *a, const struct aic_command *b)
{
	return a->target == b->target && a->lun == b->lun;
}

/* Behind aborted ones of its target (A4), an ordered one, or, if it is ordered itself, any. */
static bool has_to_wait(struct aic7870 *chip, const struct aic_command *command)
{
	list_for_each (it, &chip->at_unit) {
		const struct aic_command *other = list_entry(it, struct aic_command, link);

		if ((other->is_aborted && other->target == command->target) ||
		    (is_same_unit(other, command) && !command->is_first &&
		     (other->is_ordered || command->is_ordered))) {
			return true;
		}
	}
	list_for_each (it, &chip->waiting) {
		const struct aic_command *other = list_entry(it, struct aic_command, link);

		if (other == command) {
			return false;
		}
		if (is_same_unit(other, command) && (other->is_ordered || command->is_ordered)) {
			return true;
		}
	}
	return false;
}

static struct aic_command *next_to_submit(struct aic7870 *chip)
{
	list_for_each (it, &chip->waiting) {
		struct aic_command *command = list_entry(it, struct aic_command, link);

		if (!has_to_wait(chip, command)) {
			return command;
		}
	}
	return NULL;
}

static void submit(struct aic7870 *chip, struct aic_command *command)
{
	struct scsi_request *scsi = &command->scsi;
	struct scsi_target *target = chip->targets[command->target];
	enum scsi_submit how = SCSI_NO_UNIT;

	command->is_in = command->data_bytes == 0;
	command->iov.iov_base = command->data;
	command->iov.iov_len = command->is_in ? AIC7870_TRANSFER_BYTES_MAX : command->data_bytes;
	scsi->queue = chip->queue;
	scsi->iov = &command->iov;
	scsi->iov_count = 1;
	scsi->data_bytes = (uint32_t)command->iov.iov_len;
	scsi->done = on_done;
	scsi->status = scsi->sense_bytes = 0;
	scsi->transferred_bytes = 0;
	command->state = AIC_COMMAND_AT_UNIT;
	list_remove(&command->link);
	list_append(&chip->at_unit, &command->link);
	chip->in_flight++;
	chipset_unlock(chip->chipset);
	if (target) {
		how = scsi_target_submit(target, command->lun, scsi);
	}
	if (how == SCSI_NO_UNIT) {
		scsi_fail(scsi, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LUN_NOT_SUPPORTED);
	}
	chipset_lock(chip->chipset);
	if (how != SCSI_PENDING) {
		take_answer(chip, command);
	}
}

/* What resets have done to the units: they tell it with their next command. */
static void reset_units(struct aic7870 *chip)
{
	uint8_t targets = chip->units_to_reset;

	chip->units_to_reset = 0;
	for (unsigned int id = 0; id < AIC_IDS; id++) {
		const struct scsi_target *target = chip->targets[id];

		for (unsigned int lun = 0; (targets >> id & 1) && target && lun < SCSI_LUNS_MAX;
		     lun++) {
			if (target->luns[lun]) {
				scsi_disk_reset_unit(target->luns[lun]);
			}
		}
	}
}

bool aic_commands_submit(struct aic7870 *chip)
{
	struct aic_command *command;
	bool any = false;

	reset_units(chip);
	if (chip->link.has_cdb) {
		aic_command_begin(chip);
		any = true;
	}
	while (!chip->is_stopped && (command = next_to_submit(chip)) != NULL) {
		submit(chip, command);
		any = true;
	}
	if (!chip->is_stopped) {
		aic_link_wait(chip);
	}
	return any;
}

/* ---- aborts ---------------------------------------------------------------------------------------------------- */

static bool is_meant(const struct aic_command *command, unsigned int target, int lun, int tag)
{
	return command->target == target && (lun < 0 || command->lun == lun) &&
	       (tag < 0 || (command->is_tagged && command->tag == tag));
}

void aic_commands_abort(struct aic7870 *chip, unsigned int target, int lun, int tag)
{
	for (unsigned int i = 0; i < AIC7870_COMMANDS; i++) {
		struct aic_command *command = &chip->commands[i];

		if (command->state == AIC_COMMAND_FREE || command->is_aborted ||
		    !is_meant(command, target, lun, tag)) {
			continue;
		}
		counter_add(&chip->aborts, 1);
		if (chip->link.command == command) {
			chip->link.command = NULL; /* who aborts it lets the bus go */
		}
		if (command->state == AIC_COMMAND_AT_UNIT) {
			command->is_aborted = true; /* A2 */
		} else {
			aic_command_end(chip, command);
		}
	}
	for (unsigned int l = 0; l < 8; l++) {
		if (lun < 0 || (unsigned int)lun % 8 == l) {
			chip->sense[target][l][0] = 0;
		}
	}
}

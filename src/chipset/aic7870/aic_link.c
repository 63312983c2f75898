/* SPDX-License-Identifier: MIT */
/*
 * A connected target: which phase it is in, what it says, what it is told. Each handshake ends in
 * aic_link_next(), which decides what the target asks for next:
 *
 *   ATN ─► message out ─► messages in ─► command ─► data out ─┐ (at the unit: no REQ, or disconnected)
 *                                                  data in ◄──┴─► status ─► COMMAND COMPLETE ─► bus free
 *
 * A target that has to wait for its unit lets go of the bus if the initiator's IDENTIFY allows it:
 * SAVE DATA POINTERS when data has moved, DISCONNECT, and later a reselection with IDENTIFY and tag.
 *
 *   spec  SCSI-2 6.1 (phases), 6.5 and 6.6 (messages), 7.8 (queues)
 */
#include <string.h>

#include "base/num.h"
#include "chipset/aic7870/aic_internal.h"

/* The fastest that a narrow Fast SCSI target agrees to: 100 ns in units of 4 ns, and the offset. */
#define PERIOD_MIN          25
#define OFFSET_MAX          15

#define ASC_INITIATOR_ERROR 0x4800 /* initiator detected error message received */

/* ---- REQ ---------------------------------------------------------------------------------------------- */

static void ask(struct aic7870 *chip, uint8_t phase)
{
	struct aic_link *link = &chip->link;

	if (link->phase != phase) {
		link->phase = phase;
		chip->sstat1 |= AIC_PHASECHG;
	}
	link->req = true;
	chip->sstat1 |= AIC_REQINIT;
	aic_update(chip);
}

static void drop_req(struct aic7870 *chip)
{
	chip->link.req = false;
	chip->sstat1 &= (uint8_t)~AIC_REQINIT;
}

static void say(struct aic_link *link, const uint8_t *message, unsigned int bytes)
{
	if (link->in_at == link->in_bytes) {
		link->in_at = link->in_bytes = 0;
	}
	if (link->in_bytes + bytes <= AIC_MSG_BYTES) {
		memcpy(&link->in[link->in_bytes], message, bytes);
		link->in_bytes = (uint8_t)(link->in_bytes + bytes);
	}
}

static void say_byte(struct aic_link *link, uint8_t message)
{
	say(link, &message, 1);
}

static void next_of_command(struct aic7870 *chip, struct aic_command *command)
{
	switch (command->state) {
	case AIC_COMMAND_DATA_OUT:
		ask(chip, AIC_P_DATAOUT);
		break;
	case AIC_COMMAND_ANSWERED:
		if (command->is_in && command->moved_bytes < command->data_bytes) {
			chip->link.in_value = command->data[command->moved_bytes];
			ask(chip, AIC_P_DATAIN);
		} else {
			chip->link.in_value = command->status;
			ask(chip, AIC_P_STATUS);
		}
		break;
	case AIC_COMMAND_FREE:
	case AIC_COMMAND_WAITING:
	case AIC_COMMAND_AT_UNIT:
		drop_req(chip);
		break;
	}
}

void aic_link_next(struct aic7870 *chip)
{
	struct aic_link *link = &chip->link;

	if (link->atn && !link->is_urgent) {
		ask(chip, AIC_P_MESGOUT);
	} else if (link->in_at < link->in_bytes) {
		link->in_value = link->in[link->in_at];
		ask(chip, AIC_P_MESGIN);
	} else if (link->then == AIC_THEN_BUS_FREE) {
		aic_bus_free(chip);
	} else if (link->command) {
		next_of_command(chip, link->command);
	} else if (link->has_cdb) {
		drop_req(chip); /* the loop will look at it */
	} else {
		ask(chip, AIC_P_COMMAND);
	}
}

/* ---- messages from the initiator ------------------------------------------------------------------------ */

static void reject(struct aic_link *link)
{
	link->in_at = link->in_bytes = 0;
	say_byte(link, AIC_MSG_REJECT);
	link->is_urgent = true;
}

/* Synchronous transfers cost no less here, but drivers want to agree on them. */
static void negotiate(struct aic_link *link)
{
	uint8_t code = link->out[2];

	if (code == AIC_EXT_SDTR && link->out[1] == 3) {
		const uint8_t answer[] = { AIC_MSG_EXTENDED, 3, AIC_EXT_SDTR,
					   (uint8_t)num_max(link->out[3], PERIOD_MIN),
					   (uint8_t)num_min(link->out[4], OFFSET_MAX) };

		say(link, answer, sizeof(answer));
	} else if (code == AIC_EXT_WDTR && link->out[1] == 2) {
		const uint8_t answer[] = { AIC_MSG_EXTENDED, 2, AIC_EXT_WDTR, 0 }; /* 8 bits */

		say(link, answer, sizeof(answer));
	} else {
		reject(link);
	}
}

static void abort_some(struct aic7870 *chip, uint8_t message)
{
	const struct aic_link *link = &chip->link;
	unsigned int target = (unsigned int)link->target;

	if (message == AIC_MSG_DEVICE_RESET) {
		aic_commands_abort(chip, target, -1, -1);
		chip->units_to_reset |= (uint8_t)(1U << target);
	} else if (link->is_identified) {
		aic_commands_abort(chip, target, link->lun,
				   message == AIC_MSG_ABORT_TAG && link->is_tagged ? link->tag
										   : -1);
	}
	aic_bus_free(chip);
}

static void identify(struct aic_link *link, uint8_t message)
{
	if (!link->command) {
		link->is_identified = true;
		link->lun = message & AIC_MSG_LUN_MASK;
		link->may_disconnect = message & AIC_MSG_MAY_DISCONNECT;
	}
}

/* A whole message is in out[]. Whether the target still has the bus. */
static bool obey(struct aic7870 *chip)
{
	struct aic_link *link = &chip->link;
	uint8_t message = link->out[0];

	if (message & AIC_MSG_IDENTIFY) {
		identify(link, message);
		return true;
	}
	switch (message) {
	case AIC_MSG_EXTENDED:
		negotiate(link);
		break;
	case AIC_MSG_SIMPLE_TAG:
	case AIC_MSG_HEAD_TAG:
	case AIC_MSG_ORDERED_TAG:
		if (!link->command) {
			link->is_tagged = true;
			link->tag_kind = message;
			link->tag = link->out[1];
		}
		break;
	case AIC_MSG_ABORT:
	case AIC_MSG_ABORT_TAG:
	case AIC_MSG_CLEAR_QUEUE:
	case AIC_MSG_DEVICE_RESET:
		abort_some(chip, message);
		return false;
	case AIC_MSG_INITIATOR_ERROR:
		if (link->command && link->command->state == AIC_COMMAND_ANSWERED) {
			aic_command_fail(chip, link->command, SCSI_KEY_ABORTED_COMMAND,
					 ASC_INITIATOR_ERROR);
		}
		break;
	case AIC_MSG_PARITY_ERROR: /* once more */
		memcpy(link->in, link->in_last, sizeof(link->in));
		link->in_bytes = link->in_last_bytes;
		link->in_at = 0;
		break;
	case AIC_MSG_REJECT:
		link->in_at = link->in_bytes = 0;
		break;
	case AIC_MSG_NOOP:
		break;
	default:
		reject(link);
		break;
	}
	return true;
}

/* The length of the message that begins in out[], as far as it can be told. */
static unsigned int message_bytes(const struct aic_link *link)
{
	if (link->out[0] == AIC_MSG_EXTENDED) {
		return link->out_bytes < 2 ? 2 : 2U + (link->out[1] ? link->out[1] : 256U);
	}
	return link->out[0] >= 0x20 && link->out[0] < 0x30 ? 2 : 1;
}

static bool message_out(struct aic7870 *chip, uint8_t value)
{
	struct aic_link *link = &chip->link;
	unsigned int bytes;

	link->out[link->out_bytes++] = value;
	bytes = message_bytes(link);
	if (bytes > AIC_MSG_BYTES || (!link->atn && link->out_bytes < bytes)) {
		link->out_bytes = 0; /* too long for any that we know, or it stops in the middle */
		reject(link);
		return true;
	}
	if (link->out_bytes < bytes) {
		return true;
	}
	link->out_bytes = 0;
	return obey(chip);
}

/* ---- handshakes ------------------------------------------------------------------------------------------ */

/* SCSI-2 7.2.1: the length is in the group of the operation code; groups of vendors as Linux counts. */
static unsigned int cdb_bytes(uint8_t opcode)
{
	static const uint8_t by_group[8] = { 6, 10, 10, 12, 16, 12, 10, 10 };

	return by_group[opcode >> 5];
}

static void command_out(struct aic_link *link, uint8_t value)
{
	if (link->cdb_bytes < sizeof(link->cdb)) {
		link->cdb[link->cdb_bytes++] = value;
	}
	link->has_cdb = link->cdb_bytes >= cdb_bytes(link->cdb[0]);
}

void aic_link_give(struct aic7870 *chip, uint8_t value)
{
	struct aic_link *link = &chip->link;

	drop_req(chip);
	if (link->phase == AIC_P_MESGOUT) {
		if (!message_out(chip, value)) {
			return;
		}
	} else if (link->phase == AIC_P_COMMAND) {
		command_out(link, value);
	} else {
		link->command->data[link->command->moved_bytes] = value;
		aic_link_moved(chip, 1);
		return;
	}
	aic_link_next(chip);
}

static void status_is_taken(struct aic7870 *chip)
{
	struct aic_link *link = &chip->link;

	aic_command_end(chip, link->command);
	counter_add(&chip->completed, 1);
	link->command = NULL;
	link->then = AIC_THEN_BUS_FREE;
	say_byte(link, AIC_MSG_COMPLETE);
}

void aic_link_take(struct aic7870 *chip)
{
	struct aic_link *link = &chip->link;

	drop_req(chip);
	link->is_urgent = false;
	if (link->phase == AIC_P_DATAIN) {
		aic_link_moved(chip, 1);
		return;
	}
	if (link->phase == AIC_P_STATUS) {
		status_is_taken(chip);
	} else if (++link->in_at == link->in_bytes) {
		memcpy(link->in_last, link->in, sizeof(link->in));
		link->in_last_bytes = link->in_bytes;
	}
	aic_link_next(chip);
}

uint32_t aic_link_data(struct aic7870 *chip, uint8_t **ret)
{
	struct aic_command *command = chip->link.command;

	if (!chip->link.req || !command || (chip->link.phase & ~AIC_IO)) {
		return 0;
	}
	*ret = &command->data[command->moved_bytes];
	return command->data_bytes - command->moved_bytes;
}

void aic_link_moved(struct aic7870 *chip, uint32_t bytes)
{
	struct aic_command *command = chip->link.command;

	command->moved_bytes += bytes;
	if (command->state == AIC_COMMAND_DATA_OUT && command->moved_bytes == command->data_bytes) {
		aic_command_ready(chip, command);
	}
	aic_link_next(chip);
}

/* ---- coming and going -------------------------------------------------------------------------------------- */

static void begin(struct aic7870 *chip, unsigned int target, uint8_t auto_atn)
{
	uint8_t out_value = chip->link.out_value;

	chip->link = (struct aic_link){
		.target = (int)target,
		.atn = chip->regs[AIC_SCSISEQ] & auto_atn,
		.out_value = out_value,
	};
}

void aic_link_selected(struct aic7870 *chip, unsigned int target)
{
	begin(chip, target, AIC_ENAUTOATNO);
	aic_link_next(chip);
}

void aic_link_reselect(struct aic7870 *chip, struct aic_command *command)
{
	struct aic_link *link = &chip->link;

	list_remove(&command->link);
	begin(chip, command->target, AIC_ENAUTOATNI);
	link->is_identified = link->may_disconnect = link->is_urgent = true;
	link->command = command;
	link->lun = command->lun;
	link->is_tagged = command->is_tagged;
	link->tag = command->tag;
	say_byte(link, (uint8_t)(AIC_MSG_IDENTIFY | command->lun));
	if (command->is_tagged) {
		const uint8_t tag[] = { AIC_MSG_SIMPLE_TAG, command->tag };

		say(link, tag, sizeof(tag));
	}
	aic_link_next(chip);
}

void aic_link_wait(struct aic7870 *chip)
{
	struct aic_link *link = &chip->link;
	struct aic_command *command = link->command;

	if (link->target < 0 || link->req || !command || !command->may_disconnect ||
	    (command->state != AIC_COMMAND_WAITING && command->state != AIC_COMMAND_AT_UNIT)) {
		return;
	}
	if (command->moved_bytes > 0) {
		say_byte(link, AIC_MSG_SAVE_POINTERS);
	}
	say_byte(link, AIC_MSG_DISCONNECT);
	link->command = NULL;
	link->then = AIC_THEN_BUS_FREE;
	counter_add(&chip->disconnects, 1);
	aic_link_next(chip);
}

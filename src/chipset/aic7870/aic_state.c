/* SPDX-License-Identifier: MIT */
/*
 * Saved state: everything under the lock, between two instructions, with no command at a unit. Commands that
 * wait for their unit or for the bus are saved with their data. What a load is given is hostile: every
 * index is checked, and what the bus asks for must be there.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "chipset/aic7870/aic_internal.h"

/* Fields; a missing one is as after power-on, for a command or the link: there is none. */
enum {
	STATE_PCI = 1,            /* group: the function's header */
	STATE_REGS = 2,           /* 256 bytes: plain registers, and what others keep as written */
	STATE_SCBS = 3,           /* 16 × 32 bytes */
	STATE_PROGRAM = 4,        /* 512 × 4 bytes, as downloaded */
	STATE_SEQUENCER = 5,      /* address, stack, pointers, flags: save_sequencer() */
	STATE_STATUS = 6,         /* SSTAT0, SSTAT1 (latched bits), INTSTAT, ERROR, HCNTRL, … */
	STATE_COUNTERS = 7,       /* STCNT, HCNT, HADDR, SHADDR, 4 bytes each */
	STATE_FIFO = 8,           /* in, out, 2 bytes: how many; 256 bytes */
	STATE_QUEUE_IN = 9,       /* 256 bytes, in, out */
	STATE_QUEUE_OUT = 10,     /* likewise */
	STATE_SENSE = 11,         /* per target and LUN: length, 18 bytes */
	STATE_SEEPROM = 12,       /* 64 × 2 bytes */
	STATE_SEEPROM_LINES = 13, /* what is being shifted */
	STATE_COMMAND = 14,       /* group, repeated: before the link */
	STATE_LINK = 15,          /* group: the connected target */
};

enum { COMMAND_FIELDS = 1, COMMAND_CDB = 2, COMMAND_DATA = 3 };
enum { LINK_FIELDS = 1, LINK_CDB = 2, LINK_OUT = 3, LINK_IN = 4, LINK_IN_LAST = 5 };

/* Where a command is. */
#define SAVED_DATA_OUT  1
#define SAVED_WAITING   2
#define SAVED_ANSWERED  3

/* Flags of a command and of the link, as they are saved. */
#define FLAG_TAGGED     0x01U
#define FLAG_ORDERED    0x02U
#define FLAG_FIRST      0x04U
#define FLAG_DISCONNECT 0x08U
#define FLAG_IN         0x10U
#define FLAG_ON_BUS     0x20U
#define FLAG_FULL       0x40U /* it is the one that says QUEUE FULL */

#define FLAG_REQ        0x01U
#define FLAG_ATN        0x02U
#define FLAG_IDENTIFIED 0x04U
#define FLAG_URGENT     0x10U
#define FLAG_HAS_CDB    0x20U
#define FLAG_BUS_FREE   0x40U

/* ---- save ------------------------------------------------------------------------------------------------- */

static void save_sequencer(const struct aic_sequencer *seq, struct save *save)
{
	uint8_t program[AIC_PROGRAM_WORDS * 4], bytes[2 + 2 * AIC_STACK_WORDS + 5];

	for (unsigned int i = 0; i < AIC_PROGRAM_WORDS; i++) {
		bytes_put_le32(&program[4 * i], seq->ram[i]);
	}
	save_bytes(save, STATE_PROGRAM, program, sizeof(program));
	bytes_put_le16(bytes, seq->pc);
	for (unsigned int i = 0; i < AIC_STACK_WORDS; i++) {
		bytes_put_le16(&bytes[2 + 2 * i], seq->stack[i]);
	}
	bytes[10] = seq->sp;
	bytes[11] = seq->stack_reads;
	bytes[12] = seq->ram_byte;
	bytes[13] = (uint8_t)((seq->zero ? AIC_ZERO : 0) | (seq->carry ? AIC_CARRY : 0));
	bytes[14] = seq->at_break;
	save_bytes(save, STATE_SEQUENCER, bytes, sizeof(bytes));
}

static void save_queue(struct save *save, uint16_t tag, const struct aic_queue *queue)
{
	uint8_t bytes[258];

	memcpy(bytes, queue->entries, 256);
	bytes[256] = queue->in;
	bytes[257] = queue->out;
	save_bytes(save, tag, bytes, sizeof(bytes));
}

static void save_data_path(const struct aic7870 *chip, struct save *save)
{
	uint8_t counters[16], fifo[4 + AIC_FIFO_BYTES];

	bytes_put_le32(counters, chip->stcnt);
	bytes_put_le32(&counters[4], chip->hcnt);
	bytes_put_le32(&counters[8], chip->haddr);
	bytes_put_le32(&counters[12], chip->shaddr);
	save_bytes(save, STATE_COUNTERS, counters, sizeof(counters));
	fifo[0] = chip->fifo_in;
	fifo[1] = chip->fifo_out;
	bytes_put_le16(&fifo[2], chip->fifo_bytes);
	memcpy(&fifo[4], chip->fifo, AIC_FIFO_BYTES);
	save_bytes(save, STATE_FIFO, fifo, sizeof(fifo));
}

static void save_seeprom(const struct aic_seeprom *seeprom, struct save *save)
{
	uint8_t words[2 * AIC_SEEPROM_WORDS], lines[10];

	for (unsigned int i = 0; i < AIC_SEEPROM_WORDS; i++) {
		bytes_put_le16(&words[2 * i], seeprom->words[i]);
	}
	save_bytes(save, STATE_SEEPROM, words, sizeof(words));
	bytes_put_le32(lines, seeprom->shift);
	bytes_put_le16(&lines[4], seeprom->out);
	lines[6] = seeprom->lines;
	lines[7] = seeprom->bits;
	lines[8] = seeprom->out_bits;
	lines[9] = (uint8_t)(seeprom->di | seeprom->may_write << 1);
	save_bytes(save, STATE_SEEPROM_LINES, lines, sizeof(lines));
}

/* What is there of its data: all that goes in, and what has come out so far. */
static uint32_t kept_bytes(const struct aic_command *command)
{
	return command->state == AIC_COMMAND_DATA_OUT ? command->moved_bytes : command->data_bytes;
}

static uint8_t saved_state(enum aic_command_state state)
{
	switch (state) {
	case AIC_COMMAND_DATA_OUT:
		return SAVED_DATA_OUT;
	case AIC_COMMAND_WAITING:
		return SAVED_WAITING;
	case AIC_COMMAND_ANSWERED:
		return SAVED_ANSWERED;
	case AIC_COMMAND_FREE:
	case AIC_COMMAND_AT_UNIT: /* not after a stop */
		break;
	}
	return 0;
}

static void save_command(const struct aic7870 *chip, const struct aic_command *command,
			 struct save *save)
{
	uint8_t fields[16] = { 0 };

	fields[0] = saved_state(command->state);
	fields[1] = command->target;
	fields[2] = command->lun;
	fields[3] = command->tag;
	fields[4] = command->status;
	fields[5] = (uint8_t)((command->is_tagged ? FLAG_TAGGED : 0) |
			      (command->is_ordered ? FLAG_ORDERED : 0) |
			      (command->is_first ? FLAG_FIRST : 0) |
			      (command->may_disconnect ? FLAG_DISCONNECT : 0) |
			      (command->is_in ? FLAG_IN : 0) |
			      (command == chip->link.command ? FLAG_ON_BUS : 0) |
			      (command == &chip->full ? FLAG_FULL : 0));
	fields[6] = command->scsi.cdb_bytes;
	bytes_put_le32(&fields[8], command->data_bytes);
	bytes_put_le32(&fields[12], command->moved_bytes);
	save_group_begin(save, STATE_COMMAND);
	save_bytes(save, COMMAND_FIELDS, fields, sizeof(fields));
	save_bytes(save, COMMAND_CDB, command->scsi.cdb, sizeof(command->scsi.cdb));
	save_bytes(save, COMMAND_DATA, command->data, kept_bytes(command));
	save_group_end(save);
}

static void save_commands(struct aic7870 *chip, struct save *save)
{
	list_for_each (it, &chip->waiting) {
		save_command(chip, list_entry(it, struct aic_command, link), save);
	}
	list_for_each (it, &chip->answered) {
		save_command(chip, list_entry(it, struct aic_command, link), save);
	}
	if (chip->link.command && list_is_empty(&chip->link.command->link)) {
		save_command(chip, chip->link.command, save);
	}
}

static void save_link(const struct aic_link *link, struct save *save)
{
	uint8_t fields[16] = { 0 };

	fields[0] = (uint8_t)(link->target + 1);
	fields[1] = link->phase;
	fields[2] =
		(uint8_t)((link->req ? FLAG_REQ : 0) | (link->atn ? FLAG_ATN : 0) |
			  (link->is_identified ? FLAG_IDENTIFIED : 0) |
			  (link->may_disconnect ? FLAG_DISCONNECT : 0) |
			  (link->is_urgent ? FLAG_URGENT : 0) | (link->has_cdb ? FLAG_HAS_CDB : 0) |
			  (link->then == AIC_THEN_BUS_FREE ? FLAG_BUS_FREE : 0) |
			  (link->is_tagged ? 0x80U : 0));
	fields[3] = link->out_value;
	fields[4] = link->in_value;
	fields[5] = link->lun;
	fields[6] = link->tag;
	fields[7] = link->tag_kind;
	fields[8] = link->cdb_bytes;
	fields[9] = link->out_bytes;
	fields[10] = link->in_bytes;
	fields[11] = link->in_at;
	fields[12] = link->in_last_bytes;
	save_group_begin(save, STATE_LINK);
	save_bytes(save, LINK_FIELDS, fields, sizeof(fields));
	save_bytes(save, LINK_CDB, link->cdb, sizeof(link->cdb));
	save_bytes(save, LINK_OUT, link->out, sizeof(link->out));
	save_bytes(save, LINK_IN, link->in, sizeof(link->in));
	save_bytes(save, LINK_IN_LAST, link->in_last, sizeof(link->in_last));
	save_group_end(save);
}

void aic7870_save(struct aic7870 *chip, struct save *save)
{
	uint8_t status[8] = { 0 };

	chipset_lock(chip->chipset);
	check(chip->in_flight == 0);
	save_group_begin(save, STATE_PCI);
	pci_function_save(&chip->pci, save);
	save_group_end(save);
	save_bytes(save, STATE_REGS, chip->regs, sizeof(chip->regs));
	save_bytes(save, STATE_SCBS, chip->scbs, sizeof(chip->scbs));
	save_sequencer(&chip->seq, save);
	status[0] = chip->sstat0;
	status[1] = chip->sstat1;
	status[2] = chip->intstat;
	status[3] = chip->error;
	status[4] = chip->hcntrl;
	status[5] = chip->units_to_reset;
	status[6] = chip->board_bank;
	save_bytes(save, STATE_STATUS, status, sizeof(status));
	save_data_path(chip, save);
	save_queue(save, STATE_QUEUE_IN, &chip->qin);
	save_queue(save, STATE_QUEUE_OUT, &chip->qout);
	save_bytes(save, STATE_SENSE, chip->sense, sizeof(chip->sense));
	save_seeprom(&chip->seeprom, save);
	save_commands(chip, save);
	save_link(&chip->link, save);
	chipset_unlock(chip->chipset);
}

/* ---- load ------------------------------------------------------------------------------------------------- */

static void load_program(struct aic_sequencer *seq, struct load *load,
			 const struct load_field *field)
{
	uint8_t program[AIC_PROGRAM_WORDS * 4];

	load_bytes(load, field, program, sizeof(program));
	for (unsigned int i = 0; i < AIC_PROGRAM_WORDS; i++) {
		seq->ram[i] = bytes_le32(&program[4 * i]);
		aic_seq_decode(seq, i);
	}
}

static void load_sequencer(struct aic_sequencer *seq, struct load *load,
			   const struct load_field *field)
{
	uint8_t bytes[2 + 2 * AIC_STACK_WORDS + 5];

	load_bytes(load, field, bytes, sizeof(bytes));
	seq->pc = bytes_le16(bytes) % AIC_PROGRAM_WORDS;
	for (unsigned int i = 0; i < AIC_STACK_WORDS; i++) {
		seq->stack[i] = bytes_le16(&bytes[2 + 2 * i]) % AIC_PROGRAM_WORDS;
	}
	seq->sp = bytes[10] % AIC_STACK_WORDS;
	seq->stack_reads = bytes[11] % (2 * AIC_STACK_WORDS);
	seq->ram_byte = bytes[12] % 4;
	seq->zero = bytes[13] & AIC_ZERO;
	seq->carry = bytes[13] & AIC_CARRY;
	seq->at_break = bytes[14] & 1;
}

static void load_status(struct aic7870 *chip, struct load *load, const struct load_field *field)
{
	uint8_t status[8];

	load_bytes(load, field, status, sizeof(status));
	chip->sstat0 = status[0] & (AIC_SELDO | AIC_SELDI | AIC_SELINGO);
	chip->sstat1 = status[1] & (AIC_SELTO | AIC_SCSIRSTI | AIC_BUSFREE | AIC_SCSIPERR |
				    AIC_PHASECHG | AIC_REQINIT);
	chip->intstat = status[2];
	chip->error = status[3];
	chip->hcntrl = status[4] & (AIC_POWRDN | AIC_SWINT | AIC_PAUSE | AIC_INTEN | AIC_CHIPRST);
	chip->units_to_reset = status[5];
	chip->board_bank = status[6] & 1;
}

static void load_counters(struct aic7870 *chip, struct load *load, const struct load_field *field)
{
	uint8_t counters[16];

	load_bytes(load, field, counters, sizeof(counters));
	chip->stcnt = bytes_le32(counters) & 0xffffff;
	chip->hcnt = bytes_le32(&counters[4]) & 0xffffff;
	chip->haddr = bytes_le32(&counters[8]);
	chip->shaddr = bytes_le32(&counters[12]);
}

static void load_fifo(struct aic7870 *chip, struct load *load, const struct load_field *field)
{
	uint8_t fifo[4 + AIC_FIFO_BYTES];

	load_bytes(load, field, fifo, sizeof(fifo));
	chip->fifo_in = fifo[0];
	chip->fifo_out = fifo[1];
	chip->fifo_bytes = bytes_le16(&fifo[2]);
	memcpy(chip->fifo, &fifo[4], AIC_FIFO_BYTES);
	if (chip->fifo_bytes > AIC_FIFO_BYTES ||
	    (uint8_t)chip->fifo_bytes != (uint8_t)(chip->fifo_in - chip->fifo_out)) {
		load_fail(load);
		aic_fifo_reset(chip);
	}
}

static void load_queue(struct aic_queue *queue, struct load *load, const struct load_field *field)
{
	uint8_t bytes[258];

	load_bytes(load, field, bytes, sizeof(bytes));
	memcpy(queue->entries, bytes, 256);
	queue->in = bytes[256];
	queue->out = bytes[257];
}

static void load_sense(struct aic7870 *chip, struct load *load, const struct load_field *field)
{
	load_bytes(load, field, chip->sense, sizeof(chip->sense));
	for (unsigned int id = 0; id < AIC_IDS; id++) {
		for (unsigned int lun = 0; lun < 8; lun++) {
			if (chip->sense[id][lun][0] > SCSI_SENSE_BYTES) {
				chip->sense[id][lun][0] = 0;
				load_fail(load);
			}
		}
	}
}

static void load_seeprom(struct aic_seeprom *seeprom, struct load *load,
			 const struct load_field *field)
{
	uint8_t words[2 * AIC_SEEPROM_WORDS], lines[10];

	if (field->tag == STATE_SEEPROM) {
		load_bytes(load, field, words, sizeof(words));
		for (unsigned int i = 0; i < AIC_SEEPROM_WORDS; i++) {
			seeprom->words[i] = bytes_le16(&words[2 * i]);
		}
		return;
	}
	load_bytes(load, field, lines, sizeof(lines));
	seeprom->shift = bytes_le32(lines);
	seeprom->out = bytes_le16(&lines[4]);
	seeprom->lines = lines[6] & (AIC_SEECS | AIC_SEECK);
	seeprom->bits = lines[7];
	seeprom->out_bits = lines[8] % 17;
	seeprom->di = lines[9] & 1;
	seeprom->may_write = lines[9] & 2;
}

static bool command_is_sane(const struct aic_command *command, bool is_on_bus)
{
	bool is_known = command->state == AIC_COMMAND_DATA_OUT ||
			command->state == AIC_COMMAND_WAITING ||
			command->state == AIC_COMMAND_ANSWERED;

	return is_known && command->target < AIC_IDS && command->lun < SCSI_LUNS_MAX &&
	       command->scsi.cdb_bytes <= SCSI_CDB_BYTES_MAX &&
	       command->data_bytes <= AIC7870_TRANSFER_BYTES_MAX &&
	       command->moved_bytes <= command->data_bytes &&
	       (command->state != AIC_COMMAND_DATA_OUT ||
		(is_on_bus && command->moved_bytes < command->data_bytes));
}

static enum aic_command_state loaded_state(uint8_t saved)
{
	switch (saved) {
	case SAVED_DATA_OUT:
		return AIC_COMMAND_DATA_OUT;
	case SAVED_WAITING:
		return AIC_COMMAND_WAITING;
	case SAVED_ANSWERED:
		return AIC_COMMAND_ANSWERED;
	default:
		return AIC_COMMAND_FREE; /* none that could be saved */
	}
}

static void load_command_fields(struct aic_command *command, const uint8_t *fields)
{
	uint8_t flags = fields[5];

	command->state = loaded_state(fields[0]);
	command->target = fields[1];
	command->lun = fields[2];
	command->tag = fields[3];
	command->status = fields[4];
	command->is_tagged = flags & FLAG_TAGGED;
	command->is_ordered = flags & FLAG_ORDERED;
	command->is_first = flags & FLAG_FIRST;
	command->may_disconnect = flags & FLAG_DISCONNECT;
	command->is_in = flags & FLAG_IN;
	command->is_aborted = false;
	command->scsi.cdb_bytes = fields[6];
	command->data_bytes = bytes_le32(&fields[8]);
	command->moved_bytes = bytes_le32(&fields[12]);
}

/* A command that is whole, or none: it goes where it was, or back. */
static void place_command(struct aic7870 *chip, struct aic_command *command, bool is_on_bus,
			  struct load *load)
{
	if (!command_is_sane(command, is_on_bus) || (is_on_bus && chip->link.command) ||
	    (command == &chip->full && (!is_on_bus || command->data_bytes > 0))) {
		aic_command_end(chip, command);
		load_fail(load);
		return;
	}
	if (is_on_bus) {
		chip->link.command = command;
	}
	if (command->state == AIC_COMMAND_WAITING) {
		list_append(&chip->waiting, &command->link);
	} else if (!is_on_bus) {
		list_append(&chip->answered, &command->link);
	}
}

static void load_command(struct aic7870 *chip, struct load *load, const struct load_field *field)
{
	struct aic_command *command = NULL;
	uint8_t fields[16] = { 0 };
	struct load inner;
	struct load_field f;

	load_group(load, field, &inner);
	while (load_next(&inner, &f)) {
		if (f.tag == COMMAND_FIELDS && !command) {
			load_bytes(&inner, &f, fields, sizeof(fields));
			command = fields[5] & FLAG_FULL
					  ? &chip->full
					  : list_first(&chip->free, struct aic_command, link);
			if (!command || command == chip->link.command) {
				load_fail(&inner);
				break;
			}
			list_remove(&command->link);
			load_command_fields(command, fields);
		} else if (f.tag == COMMAND_CDB && command) {
			load_bytes(&inner, &f, command->scsi.cdb, sizeof(command->scsi.cdb));
		} else if (f.tag == COMMAND_DATA && command) {
			if (f.length > 0 && (command == &chip->full ||
					     command->data_bytes > AIC7870_TRANSFER_BYTES_MAX ||
					     f.length != kept_bytes(command))) {
				load_fail(&inner);
			} else if (f.length > 0) {
				load_bytes(&inner, &f, command->data, f.length);
			}
		}
	}
	if (command && command != chip->link.command) {
		place_command(chip, command, fields[5] & FLAG_ON_BUS, &inner);
	}
	load_close(load, &inner);
}

static void load_link_fields(struct aic_link *link, const uint8_t *fields)
{
	uint8_t flags = fields[2];

	link->target = fields[0] - 1;
	link->phase = fields[1] & AIC_PHASE_MASK;
	link->req = flags & FLAG_REQ;
	link->atn = flags & FLAG_ATN;
	link->is_identified = flags & FLAG_IDENTIFIED;
	link->may_disconnect = flags & FLAG_DISCONNECT;
	link->is_urgent = flags & FLAG_URGENT;
	link->has_cdb = flags & FLAG_HAS_CDB;
	link->then = flags & FLAG_BUS_FREE ? AIC_THEN_BUS_FREE : AIC_THEN_GO_ON;
	link->is_tagged = flags & 0x80;
	link->out_value = fields[3];
	link->in_value = fields[4];
	link->lun = fields[5];
	link->tag = fields[6];
	link->tag_kind = fields[7];
	link->cdb_bytes = fields[8];
	link->out_bytes = fields[9];
	link->in_bytes = fields[10];
	link->in_at = fields[11];
	link->in_last_bytes = fields[12];
}

static void load_link(struct aic7870 *chip, struct load *load, const struct load_field *field)
{
	struct aic_link *link = &chip->link;
	uint8_t fields[16];
	struct load inner;
	struct load_field f;

	load_group(load, field, &inner);
	while (load_next(&inner, &f)) {
		switch (f.tag) {
		case LINK_FIELDS:
			load_bytes(&inner, &f, fields, sizeof(fields));
			load_link_fields(link, fields);
			break;
		case LINK_CDB:
			load_bytes(&inner, &f, link->cdb, sizeof(link->cdb));
			break;
		case LINK_OUT:
			load_bytes(&inner, &f, link->out, sizeof(link->out));
			break;
		case LINK_IN:
			load_bytes(&inner, &f, link->in, sizeof(link->in));
			break;
		case LINK_IN_LAST:
			load_bytes(&inner, &f, link->in_last, sizeof(link->in_last));
			break;
		default:
			break;
		}
	}
	load_close(load, &inner);
}

/* Whether there is what the target asks for, or says. */
static bool request_is_sane(const struct aic_link *link)
{
	const struct aic_command *command = link->command;

	switch (link->phase) {
	case AIC_P_MESGOUT:
		return true;
	case AIC_P_MESGIN:
		return link->in_at < link->in_bytes;
	case AIC_P_COMMAND:
		return !command && !link->has_cdb;
	case AIC_P_STATUS:
		return command && command->state == AIC_COMMAND_ANSWERED;
	case AIC_P_DATAIN:
		return command && command->state == AIC_COMMAND_ANSWERED && command->is_in &&
		       command->moved_bytes < command->data_bytes;
	case AIC_P_DATAOUT:
		return command && command->state == AIC_COMMAND_DATA_OUT;
	default:
		return false;
	}
}

static bool link_is_sane(const struct aic_link *link)
{
	if (link->target < 0) {
		return !link->req && !link->atn && !link->command && !link->has_cdb;
	}
	return link->target < (int)AIC_IDS && link->lun < SCSI_LUNS_MAX &&
	       (link->has_cdb ? link->cdb_bytes > 0 && !link->command : true) &&
	       link->cdb_bytes <= SCSI_CDB_BYTES_MAX && link->out_bytes < AIC_MSG_BYTES &&
	       link->in_bytes <= AIC_MSG_BYTES && link->in_at <= link->in_bytes &&
	       link->in_last_bytes <= AIC_MSG_BYTES &&
	       (!link->command || link->command->target == link->target) &&
	       (!link->req || request_is_sane(link));
}

static void load_one(struct aic7870 *chip, struct load *load, const struct load_field *field)
{
	struct load inner;

	switch (field->tag) {
	case STATE_PCI:
		load_group(load, field, &inner);
		if (pci_function_load(&chip->pci, &inner)) {
			load_fail(load);
		}
		break;
	case STATE_REGS:
		load_bytes(load, field, chip->regs, sizeof(chip->regs));
		break;
	case STATE_SCBS:
		load_bytes(load, field, chip->scbs, sizeof(chip->scbs));
		break;
	case STATE_PROGRAM:
		load_program(&chip->seq, load, field);
		break;
	case STATE_SEQUENCER:
		load_sequencer(&chip->seq, load, field);
		break;
	case STATE_STATUS:
		load_status(chip, load, field);
		break;
	case STATE_COUNTERS:
		load_counters(chip, load, field);
		break;
	case STATE_FIFO:
		load_fifo(chip, load, field);
		break;
	case STATE_QUEUE_IN:
	case STATE_QUEUE_OUT:
		load_queue(field->tag == STATE_QUEUE_IN ? &chip->qin : &chip->qout, load, field);
		break;
	case STATE_SENSE:
		load_sense(chip, load, field);
		break;
	case STATE_SEEPROM:
	case STATE_SEEPROM_LINES:
		load_seeprom(&chip->seeprom, load, field);
		break;
	case STATE_COMMAND:
		load_command(chip, load, field);
		break;
	case STATE_LINK:
		load_link(chip, load, field);
		break;
	default:
		break;
	}
}

int aic7870_load(struct aic7870 *chip, struct load *load)
{
	struct load_field field;

	chipset_lock(chip->chipset);
	aic_chip_reset(chip); /* nothing of what was is on the bus or at a target */
	while (load_next(load, &field)) {
		load_one(chip, load, &field);
	}
	if (!link_is_sane(&chip->link)) {
		load_fail(load);
	}
	if (load_result(load)) {
		aic_chip_reset(chip);
		chip->hcntrl = AIC_CHIPRST | AIC_PAUSE;
		chip->link = (struct aic_link){ .target = -1 };
	}
	aic_update(chip);
	chipset_unlock(chip->chipset);
	return load_result(load);
}

/* ---- inspect ------------------------------------------------------------------------------------------------- */

void aic7870_inspect(struct aic7870 *chip, struct inspect *at)
{
	chipset_lock(chip->chipset);
	inspect_bool(at, "paused", aic_is_paused(chip));
	inspect_format(at, "sequencer_address", "0x%03x", chip->seq.pc);
	inspect_format(at, "intstat", "0x%02x", chip->intstat);
	inspect_format(at, "error", "0x%02x", chip->error);
	inspect_format(at, "bus", chip->link.target < 0 ? "free" : "target %d, phase 0x%02x",
		       chip->link.target, chip->link.phase);
	inspect_u64(at, "in_flight", chip->in_flight);
	inspect_u64(at, "instructions", counter_read(&chip->instructions));
	inspect_u64(at, "slices", counter_read(&chip->slices));
	inspect_u64(at, "commands", counter_read(&chip->started));
	inspect_u64(at, "completed", counter_read(&chip->completed));
	inspect_u64(at, "disconnects", counter_read(&chip->disconnects));
	inspect_u64(at, "reselections", counter_read(&chip->reselections));
	inspect_u64(at, "selection_timeouts", counter_read(&chip->timeouts));
	inspect_u64(at, "bus_resets", counter_read(&chip->resets));
	inspect_u64(at, "aborted", counter_read(&chip->aborts));
	inspect_u64(at, "queue_full", counter_read(&chip->queue_full));
	inspect_u64(at, "errors", counter_read(&chip->errors));
	inspect_u64(at, "bytes_in", counter_read(&chip->bytes_in));
	inspect_u64(at, "bytes_out", counter_read(&chip->bytes_out));
	chipset_unlock(chip->chipset);
}

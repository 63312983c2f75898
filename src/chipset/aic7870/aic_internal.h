/* SPDX-License-Identifier: MIT */
/*
 * The AIC-7870's parts among themselves. All state is under the chipset lock; functions here are called
 * with it held unless they say otherwise.
 *
 *     aic7870.c      life, the loop's turns, interrupts
 *     aic_regs.c     registers, from either side
 *     aic_seq.c      the sequencer
 *     aic_dma.c      FIFO, host DMA, automatic transfers
 *     aic_bus.c      who has the bus: selection, reselection, bus free, reset
 *     aic_link.c     what the connected target does: phases and messages
 *     aic_command.c  commands at the targets, and scsi
 *     aic_seeprom.c  the 93C46
 *     aic_state.c    saved state, inspect
 *
 * Invariants:
 *   A1  While the sequencer executes, nothing else changes its registers: the lock is held for a slice.
 *   A2  scsi is called without the lock; what it is given (a command at_unit) is touched by nobody until
 *       its done. Data goes to a buffer of the command's, never straight to guest memory: an aborted
 *       command may end at leisure.
 *   A3  A command is in one list: free, waiting, at_unit or answered; or in none while its data is
 *       coming in over the bus.
 *   A4  A target with aborted commands at a unit is given no new one before they have ended.
 */
#pragma once

#include "base/counter.h"
#include "base/list.h"
#include "chipset/aic7870/aic7870.h"

enum aic_command_state {
	AIC_COMMAND_FREE,
	AIC_COMMAND_DATA_OUT, /* the nexus is on the bus, and its data is coming */
	AIC_COMMAND_WAITING,  /* to be given to scsi */
	AIC_COMMAND_AT_UNIT,
	AIC_COMMAND_ANSWERED, /* data in, status and completion are to be told */
};

struct aic_command {
	struct list link; /* A3 */
	struct aic7870 *chip;
	enum aic_command_state state;
	uint8_t target, lun, tag;
	bool is_tagged, is_ordered, is_first, may_disconnect;
	bool is_aborted; /* AT_UNIT: nobody waits for the answer */
	bool is_in;      /* the direction of data_bytes */
	bool was_sent;   /* its status */
	uint8_t status;
	uint8_t *data;
	uint32_t data_bytes, moved_bytes; /* over the bus */
	struct iovec iov;
	struct scsi_request scsi;
};

/* What a target does when it has no more messages for the initiator. */
enum aic_then { AIC_THEN_GO_ON, AIC_THEN_BUS_FREE };

#define AIC_MSG_BYTES 16

/* The connected target. */
struct aic_link {
	int target;    /* -1: the bus is free */
	uint8_t phase; /* AIC_P_* */
	bool req, atn;
	uint8_t out_value; /* the initiator's latch */
	uint8_t in_value;  /* what the target drives */
	bool is_identified, may_disconnect, is_tagged;
	uint8_t lun, tag, tag_kind;
	struct aic_command *command;
	enum aic_then then;
	bool is_urgent; /* a message in that does not wait for ATN to fall */
	uint8_t cdb[SCSI_CDB_BYTES_MAX], cdb_bytes;
	bool has_cdb;                               /* complete: the loop makes a command of it */
	uint8_t out[AIC_MSG_BYTES], out_bytes;      /* a message that is coming */
	uint8_t in[AIC_MSG_BYTES], in_bytes, in_at; /* messages that are going */
	uint8_t in_last[AIC_MSG_BYTES], in_last_bytes; /* the last batch, for a retry */
};

struct aic_insn {
	uint8_t op, source, destination, immediate;
	uint16_t address;
	bool is_ret;
};

struct aic_sequencer {
	uint32_t ram[AIC_PROGRAM_WORDS];
	struct aic_insn program[AIC_PROGRAM_WORDS]; /* ram, decoded */
	uint16_t pc;
	uint16_t stack[AIC_STACK_WORDS];
	uint8_t sp, stack_reads;
	uint8_t ram_byte; /* of the word that SEQRAM is at */
	bool carry, zero;
	bool at_break; /* it has stopped at the breakpoint, and may go on */

	/* Has anything changed since it was at marker? Else it waits there for somebody else. */
	bool changed;
	int marker;
	uint8_t marker_sp;
};

struct aic_seeprom {
	uint16_t words[AIC_SEEPROM_WORDS];
	uint8_t lines;  /* SEECS, SEECK */
	uint32_t shift; /* bits since the start bit, itself included */
	uint8_t bits;
	uint16_t out;
	uint8_t out_bits; /* still to be shifted out */
	bool di, may_write;
};

struct aic_queue {
	uint8_t entries[256], in, out;
};

struct aic7870 {
	struct chipset *chipset;
	struct mem *mem;
	struct loop *loop;
	struct pci_function pci;
	uint8_t queue;
	struct scsi_target *targets[AIC_IDS];

	uint8_t regs[AIC_REGISTERS]; /* plain ones, and what the others keep as it was written */
	uint8_t scbs[AIC_SCBS][AIC_SCB_BYTES];
	struct aic_sequencer seq;
	struct aic_seeprom seeprom;
	struct aic_queue qin, qout;
	uint8_t sstat0, sstat1; /* latched bits */
	uint8_t intstat, error, hcntrl;
	uint32_t stcnt, hcnt, haddr, shaddr;
	uint8_t fifo[AIC_FIFO_BYTES];
	uint8_t fifo_in, fifo_out;
	uint16_t fifo_bytes;
	bool halt; /* no instruction may be executed */

	struct aic_link link;
	struct list free, waiting, at_unit, answered;
	struct aic_command commands[AIC7870_COMMANDS];
	struct aic_command full; /* says QUEUE FULL when they are used up; without data */
	uint8_t *data;           /* of all commands: mapped, never touched where it is not used */
	uint8_t sense[AIC_IDS][8][1 + SCSI_SENSE_BYTES]; /* length, sense: until it is asked for */
	uint8_t units_to_reset; /* targets, a bit each: told to scsi on the loop */
	bool board_bank;        /* what BRDCTL reads */

	struct loop_work work;
	struct loop_timer slow;
	unsigned int busy_turns; /* in a row without anything but instructions */
	bool is_stopped;
	struct loop *stop_loop;
	struct loop_work *stop_done;
	unsigned int in_flight;

	counter_u64 instructions, slices, started, completed, disconnects, reselections, timeouts;
	counter_u64 resets, aborts, errors, queue_full, bytes_in, bytes_out;
};

/* ---- aic7870.c ------------------------------------------------------------------------------------ */

/* Status, masks or enables have changed: interrupts, the pin, and whether the sequencer may run. */
void aic_update(struct aic7870 *chip);
bool aic_is_paused(const struct aic7870 *chip);

/* Something has happened that the sequencer or a target may be waiting for. Any thread. */
void aic_wake(struct aic7870 *chip);

/* CHIPRST: registers; what is on the bus is dropped. */
void aic_chip_reset(struct aic7870 *chip);

/* ERROR and BRKADRINT, unless SEQCTL says that failures are of no interest. */
void aic_hard_error(struct aic7870 *chip, uint8_t error);

/* ---- aic_regs.c ------------------------------------------------------------------------------------ */

/* A register that is not plain memory. */
uint8_t aic_reg_read(struct aic7870 *chip, uint8_t reg, bool is_host);
void aic_reg_write(struct aic7870 *chip, uint8_t reg, uint8_t value, bool is_host);

/* Whether it is plain memory in regs[]. */
bool aic_reg_is_plain(uint8_t reg);

/* The byte of the SCB array at reg, auto-increment included. */
uint8_t *aic_scb_byte(struct aic7870 *chip, uint8_t reg);

/* The live status bits of the SCSI block. */
uint8_t aic_sstat0(const struct aic7870 *chip);
uint8_t aic_sstat1(const struct aic7870 *chip);

uint64_t aic_host_read(void *ctx, uint64_t offset, unsigned int bytes);
void aic_host_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes);

/* ---- aic_seq.c -------------------------------------------------------------------------------------- */

enum aic_run { AIC_RUN_HALTED, AIC_RUN_WAITS, AIC_RUN_ON };

/* Executes at most so many instructions. WAITS: it polls, and nothing that it can do changes anything. */
enum aic_run aic_seq_run(struct aic7870 *chip, unsigned int instructions);
void aic_seq_decode(struct aic_sequencer *seq, unsigned int address);

/* ---- aic_dma.c -------------------------------------------------------------------------------------- */

/* Moves what can be moved, up to a limit; whether anything was. */
bool aic_dma_run(struct aic7870 *chip);
void aic_dma_control(struct aic7870 *chip, uint8_t dfcntrl);
void aic_fifo_reset(struct aic7870 *chip);
uint8_t aic_fifo_get(struct aic7870 *chip);
void aic_fifo_put(struct aic7870 *chip, uint8_t value);

/* ---- aic_bus.c -------------------------------------------------------------------------------------- */

/* Arbitration, selection and reselection: whether anything happened. The loop's thread. */
bool aic_bus_step(struct aic7870 *chip);
void aic_bus_free(struct aic7870 *chip);
void aic_bus_reset(struct aic7870 *chip);

/* Whether a REQ stands in the phase that the initiator expects. */
bool aic_bus_matches(const struct aic7870 *chip);

/* Automatic PIO: the latch is read or written. */
uint8_t aic_pio_read(struct aic7870 *chip);
void aic_pio_write(struct aic7870 *chip, uint8_t value);

/* ---- aic_link.c -------------------------------------------------------------------------------------- */

/* A target has the bus: selected, or to go on with a command. */
void aic_link_selected(struct aic7870 *chip, unsigned int target);
void aic_link_reselect(struct aic7870 *chip, struct aic_command *command);

/* The handshake of a byte: taken from the target, or given to it. */
void aic_link_take(struct aic7870 *chip);
void aic_link_give(struct aic7870 *chip, uint8_t value);

/* The data of a data phase, in one piece: how many bytes there are to move, and where; then moved. */
uint32_t aic_link_data(struct aic7870 *chip, uint8_t **ret);
void aic_link_moved(struct aic7870 *chip, uint32_t bytes);

/* The command has changed: the target goes on, or lets go of the bus to wait. */
void aic_link_next(struct aic7870 *chip);
void aic_link_wait(struct aic7870 *chip);

/* ---- aic_command.c ------------------------------------------------------------------------------------ */

/* 0, -ENOMEM. */
MUST_CHECK int aic_commands_create(struct aic7870 *chip);
void aic_commands_destroy(struct aic7870 *chip);

/* The link's CDB becomes its command, which may be answered at once. The loop's thread. */
void aic_command_begin(struct aic7870 *chip);

/* All data is there. */
void aic_command_ready(struct aic7870 *chip, struct aic_command *command);

/* Back to the pool. */
void aic_command_end(struct aic7870 *chip, struct aic_command *command);

/* A CHECK CONDITION of the target's own. */
void aic_command_fail(struct aic7870 *chip, struct aic_command *command, uint8_t key, uint16_t asc);

/* Of a target: all; of a unit (lun >= 0); of a tag (tag >= 0). */
void aic_commands_abort(struct aic7870 *chip, unsigned int target, int lun, int tag);

/* Gives waiting ones to scsi: whether there were any. The loop's thread; lets go of the lock meanwhile. */
bool aic_commands_submit(struct aic7870 *chip);

/* ---- aic_seeprom.c ------------------------------------------------------------------------------------- */

void aic_seeprom_init(struct aic_seeprom *seeprom);
void aic_seeprom_write(struct aic_seeprom *seeprom, uint8_t seectl);

/* SPDX-License-Identifier: MIT */
/*
 * PIIX4's IDE function: two channels on a PC's legacy ports, each with two drives: ATA disks over a block,
 * ATAPI drives over a SCSI unit. PIO through the chip's buffers, bus-master DMA between guest pages and the
 * block without a copy.
 *
 *     VP: a register ── chipset lock ──► registers, command ──► loop_post()
 *     loop: ide_advance() ── lock: plan ──► block_submit()/scsi_disk_submit(), without the lock
 *     loop: completion ── lock: status, interrupt ──► ide_advance()
 *
 * A channel does one command at a time and has at most one request at the host. A reset answers BSY until
 * that request is back: nothing writes guest memory after a guest was told that a command is gone.
 *
 *   owner   vm; drives' blocks and units are its own
 *   thread  registers: VPs, under the chipset lock; requests: the loop; else as each function says
 *   spec    ATA/ATAPI-6; Intel 82371AB (PIIX4) 5; Bus Master IDE 1.0; docs/ide.md
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/diag.h"
#include "block/block.h"
#include "chipset/pci.h"
#include "mem/mem.h"
#include "scsi/scsi_disk.h"

#define IDE_CHANNELS         2U
#define IDE_UNITS            2U
#define IDE_DRIVES           (IDE_CHANNELS * IDE_UNITS) /* drive = channel * 2 + unit */

#define IDE_SERIAL_BYTES     20
#define IDE_MODEL_BYTES      40

/* What a DVD's unit is asked for in one command: its transfer_bytes_max. */
#define IDE_PACKET_BYTES_MAX (512U << 10)

enum ide_kind { IDE_EMPTY, IDE_DISK, IDE_DVD };

/* Strings are borrowed for the call, the rest until ide_destroy(). */
struct ide_drive_config {
	enum ide_kind kind;
	struct block *block;        /* a disk's: of 512-byte sectors, started on the loop */
	bool write_cache;           /* a disk's, at power on */
	struct scsi_disk *unit;     /* a DVD drive's */
	uint8_t queue;              /* on which the owner attaches its media, on the loop */
	const char *serial, *model; /* printable; NULL: of the block's identity, of the kind */
};

struct ide_config {
	struct chipset *chipset;
	struct pci_bus *bus;
	uint8_t devfn;
	const struct mem *mem;
	struct loop *loop;
	struct irq_line lines[IDE_CHANNELS]; /* ISA 14, 15 */
	bool is_decoded; /* the ports answer from power on: for a board whose firmware does not say so */
	struct ide_drive_config drives[IDE_DRIVES];
};

struct ide;

/* ---- life: the control thread ---------------------------------------------------------------------- */

/* 0; -ENOMEM; -EINVAL for a drive that cannot be, with a sentence; -EEXIST (pci_add(), ports taken). */
MUST_CHECK int ide_create(const struct ide_config *config, struct ide **ret, struct diag *reterr);

/* Paused, so that nothing is in flight. NULL is fine. */
void ide_destroy(struct ide *ide);

/*
 * Any thread: no request goes to the host any more; done is posted to the loop when none is there. What a
 * guest has asked for goes on with ide_resume(). While on_error holds a request, it does not come back: give
 * up first. Not a second time before ide_resume().
 */
void ide_pause(struct ide *ide, struct loop_work *done);
void ide_resume(struct ide *ide);

/* While paused, vCPUs out: power on. Drives that were detached stay so: ide_attach() comes next. */
void ide_reset(struct ide *ide);

/* While paused. 0 or -EBADMSG: and then the chip is as after a reset. */
void ide_save(struct ide *ide, struct save *save);
MUST_CHECK int ide_load(struct ide *ide, struct load *load);

/* Any thread. */
void ide_inspect(struct ide *ide, struct inspect *at);

/* ---- one disk, two faces: any thread ------------------------------------------------------------------ */

/*
 * The drive lets go of its block (or unit): a DMA command that runs is finished, one that waits for the
 * guest is forgotten, new ones are not begun; then the position is empty and done is posted to the loop. From
 * there on the block is its owner's. Not while paused; no-op, but for done, when it is detached.
 */
void ide_detach(struct ide *ide, unsigned int drive, struct loop_work *done);

/*
 * It is there again, as after power on. block: NULL, or another end of the same disk (started on the loop).
 * For a disk, its size is looked at anew.
 */
void ide_attach(struct ide *ide, unsigned int drive, struct block *block);
bool ide_is_attached(struct ide *ide, unsigned int drive);

/* SPDX-License-Identifier: MIT */
/*
 * An Adaptec AHA-2940: the AIC-7870, a SCSI host adapter whose sequencer runs the program that its driver
 * downloads, a narrow SCSI bus, and targets that execute commands with the SCSI code of StorVSP.
 *
 *     driver ──► registers, SCB RAM ──► sequencer ──► data FIFO ──► guest memory
 *                                           │              │
 *                                    SCSI bus: phases, messages, data ──► targets ──► scsi ──► block
 *
 * How a command travels, and what of the chip is not there: docs/aic7870.md.
 *
 *   owner   the board; destroyed before the bus, the chipset and the loop, after aic7870_stop()
 *   thread  registers: VPs, under the chipset lock; the sequencer and the targets: the loop, under the
 *           chipset lock too, but for the calls of scsi. Functions: as each says
 *   spec    proto/aic7870.h; SCSI-2 (X3.131-1994), 6 (bus, messages), 7 (commands and status)
 */
#pragma once

#include "chipset/pci.h"
#include "loop/loop.h"
#include "mem/mem.h"
#include "proto/aic7870.h"
#include "scsi/scsi.h"

#define AIC7870_HOST_ID            7

/* Commands that the targets together can hold; one more is answered QUEUE FULL or BUSY. */
#define AIC7870_COMMANDS           64

/* Data of one command. More is ILLEGAL REQUEST: a disk's transfer_bytes_max should say it. */
#define AIC7870_TRANSFER_BYTES_MAX (2U << 20)

struct aic7870;

struct aic7870_config {
	struct chipset *chipset;
	struct pci_bus *bus;
	uint8_t devfn;
	struct mem *mem;
	struct loop *loop; /* where the sequencer runs, and that of the targets' queue */
	uint8_t queue;     /* of the units: scsi_request.queue */
	/*
	 * By SCSI id; AIC7870_HOST_ID's is not looked at. Borrowed until destroy; looked at on the loop
	 * only, so that units may come and go there. A target without any unit is not on the bus.
	 */
	struct scsi_target *targets[AIC_IDS]; /* NULL: no such target */
};

/* The control thread, before the loop runs or on it. 0, -ENOMEM, or pci_add()'s. */
MUST_CHECK int aic7870_create(const struct aic7870_config *config, struct aic7870 **ret);

/* Stopped, or never started a command. NULL is fine. The loop's thread, or while it does not run. */
void aic7870_destroy(struct aic7870 *chip);

/*
 * The loop's thread: no instruction is executed and no command submitted any more; posts done to
 * `to` when none is in flight. One stop at a time.
 */
void aic7870_stop(struct aic7870 *chip, struct loop *to, struct loop_work *done);

/* The loop's thread: goes on from where it was. */
void aic7870_resume(struct aic7870 *chip);

/* Power on. Any thread, while the VPs are out. What is in flight is forgotten and ends unseen. */
void aic7870_reset(struct aic7870 *chip);

/* Any thread, after a stop. 0 or -EBADMSG; then reset it. */
void aic7870_save(struct aic7870 *chip, struct save *save);
MUST_CHECK int aic7870_load(struct aic7870 *chip, struct load *load);

/* Any thread. */
void aic7870_inspect(struct aic7870 *chip, struct inspect *at);

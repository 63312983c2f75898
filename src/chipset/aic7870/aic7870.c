/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "chipset/aic7870/aic_internal.h"

/* A slice is executed with the lock held, some tens of microseconds; a turn of the loop has a few. */
#define SLICE_INSTRUCTIONS 2048
#define SLICES_PER_TURN    8

/*
 * So many turns in a row of instructions alone, without a byte on the bus: the program counts or waits in a
 * way that we do not recognize. It goes on at about the real chip's 10 MHz.
 */
#define BUSY_TURNS         16
#define SLOW_NS            1600000ULL

/* ---- interrupts --------------------------------------------------------------------------------------- */

bool aic_is_paused(const struct aic7870 *chip)
{
	if (chip->intstat & (AIC_SEQINT | AIC_BRKADRINT)) {
		return true;
	}
	if (chip->regs[AIC_SEQCTL] & AIC_PAUSEDIS) {
		return false; /* a critical section of the program's: later */
	}
	return (chip->hcntrl & AIC_PAUSE) || (chip->intstat & AIC_SCSIINT);
}

void aic_update(struct aic7870 *chip)
{
	uint8_t pausing = AIC_SEQINT | AIC_SCSIINT | AIC_BRKADRINT;
	bool level;

	if ((aic_sstat0(chip) & chip->regs[AIC_SIMODE0]) ||
	    (aic_sstat1(chip) & chip->regs[AIC_SIMODE1])) {
		chip->intstat |= AIC_SCSIINT;
	}
	if (chip->intstat & pausing) {
		chip->hcntrl |= AIC_PAUSE; /* until the host says otherwise */
	}
	chip->halt = aic_is_paused(chip) || (chip->hcntrl & AIC_CHIPRST) ||
		     (chip->regs[AIC_SEQCTL] & AIC_LOADRAM);
	level = (chip->hcntrl & AIC_INTEN) &&
		((chip->intstat & (pausing | AIC_CMDCMPLT)) || (chip->hcntrl & AIC_SWINT) ||
		 (chip->error & AIC_PCIERRSTAT));
	pci_set_intx(&chip->pci, level);
}

void aic_hard_error(struct aic7870 *chip, uint8_t error)
{
	if (chip->regs[AIC_SEQCTL] & AIC_FAILDIS) {
		return;
	}
	counter_add(&chip->errors, 1);
	chip->error |= error;
	chip->intstat |= AIC_BRKADRINT;
	aic_update(chip);
}

/* ---- resets --------------------------------------------------------------------------------------------- */

/* The RAMs keep what they have; PAUSE and CHIPRST are set by whoever resets. */
void aic_chip_reset(struct aic7870 *chip)
{
	for (unsigned int id = 0; id < AIC_IDS; id++) {
		aic_commands_abort(chip, id, -1, -1);
	}
	if (chip->link.target >= 0) {
		aic_bus_free(chip);
	}
	memset(chip->regs, 0, AIC_SCRATCH);
	memset(&chip->regs[AIC_SEQCTL], 0, AIC_SCBARRAY - AIC_SEQCTL);
	chip->regs[AIC_SCSIID] = AIC7870_HOST_ID;
	chip->regs[AIC_BRKADDR1] = AIC_BRKDIS;
	chip->sstat0 = chip->sstat1 = 0;
	chip->intstat = chip->error = 0;
	chip->stcnt = chip->hcnt = chip->haddr = chip->shaddr = 0;
	chip->qin = chip->qout = (struct aic_queue){ 0 };
	chip->seq.pc = 0;
	chip->seq.sp = chip->seq.stack_reads = chip->seq.ram_byte = 0;
	chip->seq.carry = chip->seq.zero = chip->seq.at_break = false;
	aic_fifo_reset(chip);
}

static void power_on(struct aic7870 *chip)
{
	aic_chip_reset(chip);
	memset(&chip->regs[AIC_SCRATCH], 0, AIC_SCRATCH_BYTES);
	memset(chip->scbs, 0, sizeof(chip->scbs));
	memset(chip->seq.ram, 0, sizeof(chip->seq.ram));
	memset(chip->seq.program, 0, sizeof(chip->seq.program));
	chip->hcntrl = AIC_CHIPRST | AIC_PAUSE; /* nobody has used it since */
	pci_put(&chip->pci, AIC_DEVCONFIG, AIC_DEVCONFIG_RESET, 4);
	chip->units_to_reset = 0;
	aic_update(chip);
}

void aic7870_reset(struct aic7870 *chip)
{
	chipset_lock(chip->chipset);
	pci_function_reset(&chip->pci);
	power_on(chip);
	chipset_unlock(chip->chipset);
}

/* ---- the loop --------------------------------------------------------------------------------------------- */

void aic_wake(struct aic7870 *chip)
{
	loop_post(chip->loop, &chip->work);
}

/* One slice of instructions, and what they set off. False: nothing more to do for now. */
static bool turn(struct aic7870 *chip, bool *ret_moved)
{
	enum aic_run run = aic_seq_run(chip, SLICE_INSTRUCTIONS);
	bool moved = aic_bus_step(chip);

	moved |= aic_dma_run(chip);
	moved |= aic_commands_submit(chip);
	if (moved) {
		aic_update(chip);
	}
	counter_add(&chip->slices, 1);
	*ret_moved |= moved;
	return moved || run == AIC_RUN_ON;
}

static void on_work(struct loop_work *work)
{
	struct aic7870 *chip = container_of(work, struct aic7870, work);
	bool more = true, moved = false;

	chipset_lock(chip->chipset);
	for (unsigned int i = 0; more && i < SLICES_PER_TURN; i++) {
		more = !chip->is_stopped && turn(chip, &moved);
		chipset_unlock(chip->chipset); /* a VP may have its turn */
		chipset_lock(chip->chipset);
	}
	more &= !chip->is_stopped;
	chip->busy_turns = more && !moved ? chip->busy_turns + 1 : 0;
	chipset_unlock(chip->chipset);
	if (!more) {
		return;
	}
	if (chip->busy_turns < BUSY_TURNS) {
		loop_defer(chip->loop, &chip->work);
	} else {
		loop_timer_arm(&chip->slow, SLOW_NS);
	}
}

static void on_slow(struct loop_timer *timer)
{
	struct aic7870 *chip = container_of(timer, struct aic7870, slow);

	loop_defer(chip->loop, &chip->work);
}

void aic7870_stop(struct aic7870 *chip, struct loop *to, struct loop_work *done)
{
	bool is_quiet;

	chipset_lock(chip->chipset);
	chip->is_stopped = true;
	chip->stop_loop = to;
	chip->stop_done = done;
	is_quiet = chip->in_flight == 0;
	if (is_quiet) {
		chip->stop_done = NULL;
	}
	chipset_unlock(chip->chipset);
	loop_timer_cancel(&chip->slow);
	if (is_quiet) {
		loop_post(to, done);
	}
}

void aic7870_resume(struct aic7870 *chip)
{
	chipset_lock(chip->chipset);
	chip->is_stopped = false;
	chip->stop_done = NULL;
	chipset_unlock(chip->chipset);
	loop_post(chip->loop, &chip->work);
}

/* ---- configuration space ------------------------------------------------------------------------------------- */

/* The guest has let it be master of the bus: transfers that waited go on. */
static void on_config_written(struct pci_function *function, uint32_t offset, unsigned int bytes)
{
	struct aic7870 *chip = function->ctx;

	if (offset <= PCI_COMMAND) {
		aic_dma_run(chip);
		aic_update(chip);
		aic_wake(chip);
	}
}

static void init_function(struct aic7870 *chip)
{
	static const struct pci_function_ops ops = { .config_written = on_config_written };
	static const struct io_region_ops registers = { aic_host_read, aic_host_write };
	const struct pci_identity identity = {
		.vendor = AIC_VENDOR_ID,
		.device = AIC_DEVICE_ID,
		.revision = AIC_REVISION,
		.class_code = 0x010000, /* SCSI */
		.interrupt_pin = 1,
	};

	pci_function_init(&chip->pci, "aic7870", &identity);
	chip->pci.ops = &ops;
	chip->pci.ctx = chip;
	pci_put(&chip->pci, PCI_STATUS, PCI_STATUS_MEDIUM | PCI_STATUS_FAST_BACK, 2);
	chip->pci.config[PCI_MIN_GRANT] = 8; /* quarters of a microsecond */
	chip->pci.config[PCI_MAX_LATENCY] = 8;
	for (unsigned int i = 0; i < 4; i++) {
		chip->pci.writable[AIC_DEVCONFIG + i] = (uint8_t)(AIC_DEVCONFIG_WRITABLE >> 8 * i);
	}
	chip->pci.bars[0] = (struct pci_bar){
		.bytes = 256, .is_io = true, .ops = &registers, .ctx = chip, .name = "aic7870"
	};
	chip->pci.bars[1] = (struct pci_bar){
		.bytes = 4096, .ops = &registers, .ctx = chip, .name = "aic7870"
	};
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

int aic7870_create(const struct aic7870_config *config, struct aic7870 **ret)
{
	struct aic7870 *chip = fault_alloc(1, sizeof(*chip));
	int err;

	if (!chip) {
		return -ENOMEM;
	}
	chip->chipset = config->chipset;
	chip->mem = config->mem;
	chip->loop = config->loop;
	chip->queue = config->queue;
	memcpy(chip->targets, config->targets, sizeof(chip->targets));
	chip->link.target = -1;
	loop_work_init(&chip->work, on_work);
	loop_timer_init(&chip->slow, chip->loop, on_slow);
	aic_seeprom_init(&chip->seeprom);
	init_function(chip);
	err = aic_commands_create(chip);
	if (!err) {
		power_on(chip);
		err = pci_add(config->bus, &chip->pci, config->devfn);
	}
	if (err) {
		aic7870_destroy(chip);
		return err;
	}
	*ret = chip;
	return 0;
}

void aic7870_destroy(struct aic7870 *chip)
{
	if (!chip) {
		return;
	}
	check(chip->in_flight == 0);
	pci_remove(&chip->pci);
	loop_cancel(chip->loop, &chip->work);
	loop_timer_cancel(&chip->slow);
	aic_commands_destroy(chip);
	free(chip);
}

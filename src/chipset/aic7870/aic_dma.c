/* SPDX-License-Identifier: MIT */
/*
 * The data path: host memory ─ HDMA ─ FIFO ─ SCSI bus. DFCNTRL enables either half; DIRECTION says which
 * way. The sequencer reads and writes the FIFO too: it fetches SCBs and scatter lists through it.
 *
 * Data phases with both halves enabled go past the FIFO, from the command's buffer to guest memory or back, as
 * far as HCNT, STCNT and the target allow, BULK_BYTES at a time so that the lock is not held for long.
 *
 *   spec  AIC-7770 Data Book 3-53 to 3-58 (DFCNTRL, DFSTATUS, DFDAT), 3-19 (STCNT), 3-48 (HADDR)
 */
#include <string.h>

#include "base/num.h"
#include "chipset/aic7870/aic_internal.h"

#define BULK_BYTES  (64U << 10)
#define ADDRESS_END (1ULL << 32)

/* ---- FIFO ------------------------------------------------------------------------------------------- */

void aic_fifo_reset(struct aic7870 *chip)
{
	chip->fifo_in = chip->fifo_out = 0;
	chip->fifo_bytes = 0;
}

static uint8_t pull(struct aic7870 *chip)
{
	chip->fifo_bytes--;
	return chip->fifo[chip->fifo_out++];
}

static void push(struct aic7870 *chip, uint8_t value)
{
	chip->fifo[chip->fifo_in++] = value;
	chip->fifo_bytes++;
}

uint8_t aic_fifo_get(struct aic7870 *chip)
{
	uint8_t value;

	if (chip->fifo_bytes == 0) {
		return chip->fifo[chip->fifo_out];
	}
	chip->seq.changed = true;
	value = pull(chip);
	aic_dma_run(chip);
	return value;
}

void aic_fifo_put(struct aic7870 *chip, uint8_t value)
{
	if (chip->fifo_bytes < AIC_FIFO_BYTES) {
		push(chip, value);
		aic_dma_run(chip);
		aic_update(chip);
	}
}

/* ---- the PCI bus -------------------------------------------------------------------------------------- */

static void master_abort(struct aic7870 *chip)
{
	uint32_t status = pci_get(&chip->pci, PCI_STATUS, 2);

	pci_put(&chip->pci, PCI_STATUS, status | PCI_STATUS_MASTER_ABORT, 2);
	chip->error |= AIC_PCIERRSTAT;
	counter_add(&chip->errors, 1);
}

/* What HDMA may move now, of at most so many bytes: not beyond the end of the address space at once. */
static uint32_t host_room(const struct aic7870 *chip, uint32_t bytes)
{
	if (!(chip->regs[AIC_DFCNTRL] & AIC_HDMAEN) || !pci_is_master(&chip->pci)) {
		return 0;
	}
	bytes = (uint32_t)num_min(bytes, chip->hcnt);
	return (uint32_t)num_min(bytes, ADDRESS_END - chip->haddr);
}

static void host_moved(struct aic7870 *chip, uint32_t bytes)
{
	chip->haddr += bytes;
	chip->hcnt -= bytes;
}

/* Where nobody answers one reads ones and writes nothing, and the chip says so. */
static void host_read(struct aic7870 *chip, uint8_t *buf, uint32_t bytes)
{
	if (mem_read(chip->mem, chip->haddr, buf, bytes)) {
		memset(buf, 0xff, bytes);
		master_abort(chip);
	}
	host_moved(chip, bytes);
}

static void host_write(struct aic7870 *chip, const uint8_t *buf, uint32_t bytes)
{
	if (mem_write(chip->mem, chip->haddr, buf, bytes)) {
		master_abort(chip);
	}
	host_moved(chip, bytes);
}

/* ---- halves -------------------------------------------------------------------------------------------- */

static bool scsi_is_enabled(const struct aic7870 *chip)
{
	uint8_t both = AIC_SCSIEN | AIC_SDMAEN;

	return (chip->regs[AIC_DFCNTRL] & both) == both && chip->stcnt > 0 && aic_bus_matches(chip);
}

static void scsi_moved(struct aic7870 *chip, uint32_t bytes)
{
	chip->stcnt -= bytes;
	chip->shaddr += bytes;
}

/* A data phase between the command's buffer and guest memory. */
static uint32_t run_bulk(struct aic7870 *chip, bool is_out, uint32_t limit)
{
	uint8_t *data;
	uint32_t bytes;

	if (chip->fifo_bytes > 0 || !scsi_is_enabled(chip)) {
		return 0;
	}
	bytes = (uint32_t)num_min(aic_link_data(chip, &data), num_min(limit, chip->stcnt));
	bytes = host_room(chip, bytes);
	if (bytes == 0) {
		return 0;
	}
	if (is_out) {
		host_read(chip, data, bytes);
		counter_add(&chip->bytes_out, bytes);
	} else {
		host_write(chip, data, bytes);
		counter_add(&chip->bytes_in, bytes);
	}
	scsi_moved(chip, bytes);
	aic_link_moved(chip, bytes);
	return bytes;
}

static bool fifo_to_scsi(struct aic7870 *chip)
{
	bool any = false;

	while (chip->fifo_bytes > 0 && scsi_is_enabled(chip) && !(chip->link.phase & AIC_IO)) {
		scsi_moved(chip, 1);
		aic_link_give(chip, pull(chip));
		any = true;
	}
	return any;
}

static bool scsi_to_fifo(struct aic7870 *chip)
{
	bool any = false;

	while (chip->fifo_bytes < AIC_FIFO_BYTES && scsi_is_enabled(chip) &&
	       (chip->link.phase & AIC_IO)) {
		push(chip, chip->link.in_value);
		scsi_moved(chip, 1);
		aic_link_take(chip);
		any = true;
	}
	return any;
}

static bool host_to_fifo(struct aic7870 *chip)
{
	uint8_t buf[AIC_FIFO_BYTES];
	uint32_t bytes = host_room(chip, AIC_FIFO_BYTES - chip->fifo_bytes);

	if (bytes > 0) {
		host_read(chip, buf, bytes);
	}
	for (uint32_t i = 0; i < bytes; i++) {
		push(chip, buf[i]);
	}
	return bytes > 0;
}

static bool fifo_to_host(struct aic7870 *chip)
{
	uint8_t buf[AIC_FIFO_BYTES];
	uint32_t bytes = host_room(chip, chip->fifo_bytes);

	for (uint32_t i = 0; i < bytes; i++) {
		buf[i] = pull(chip);
	}
	if (bytes > 0) {
		host_write(chip, buf, bytes);
	}
	return bytes > 0;
}

/* Bit bucket: what the target wants to move in a data phase is dropped, or made up of zeroes. */
static bool run_bucket(struct aic7870 *chip)
{
	uint8_t *data;
	uint32_t bytes;

	if (!(chip->regs[AIC_SXFRCTL1] & AIC_BITBUCKET) || !aic_bus_matches(chip)) {
		return false;
	}
	bytes = aic_link_data(chip, &data);
	if (bytes == 0) {
		return false;
	}
	if (!(chip->link.phase & AIC_IO)) {
		memset(data, 0, bytes);
	}
	aic_link_moved(chip, bytes);
	return true;
}

bool aic_dma_run(struct aic7870 *chip)
{
	bool is_out = chip->regs[AIC_DFCNTRL] & AIC_DIRECTION, any = run_bucket(chip), more = true;
	uint32_t left = BULK_BYTES;

	/* Each round moves something or is the last; FIFO rounds are bounded by HCNT and STCNT. */
	for (unsigned int round = 0; more && left > 0 && round < BULK_BYTES / AIC_FIFO_BYTES;
	     round++) {
		uint32_t bulk = run_bulk(chip, is_out, left);

		left -= bulk;
		if (is_out) {
			more = fifo_to_scsi(chip);
			more |= host_to_fifo(chip);
		} else {
			more = scsi_to_fifo(chip);
			more |= fifo_to_host(chip);
		}
		more |= bulk > 0;
		any |= more;
	}
	return any;
}

void aic_dma_control(struct aic7870 *chip, uint8_t dfcntrl)
{
	if (dfcntrl & AIC_FIFORESET) {
		aic_fifo_reset(chip);
	}
	chip->regs[AIC_DFCNTRL] =
		dfcntrl & (AIC_WIDEODD | AIC_SCSIEN | AIC_SDMAEN | AIC_HDMAEN | AIC_DIRECTION);
	aic_dma_run(chip);
	aic_update(chip);
}

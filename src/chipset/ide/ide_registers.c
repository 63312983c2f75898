/* SPDX-License-Identifier: MIT */
/*
 * The task file. Both drives of a channel take what is written to the command block; the selected one
 * answers. While it is busy or wants data it takes nothing but a reset (ATA/ATAPI-6: 7, 9.1, 9.11).
 */
#include <string.h>

#include "chipset/ide/ide_internal.h"

/* ---- the interrupt ---------------------------------------------------------------------------------- */

void ide_update_irq(struct ide_channel *channel)
{
	const struct ide_drive *drive = ide_selected(channel);
	bool level = drive->is_attached && drive->irq && !(channel->control & ATA_CONTROL_NIEN);

	if (level == channel->level) {
		return;
	}
	channel->level = level;
	if (level) {
		channel->bm_status |=
			BM_STATUS_IRQ; /* PIIX4: 5.3.2, whatever the interrupt is for */
		channel->stats.interrupts++;
	}
	irq_line_set(&channel->line, level);
}

void ide_raise(struct ide_channel *channel, unsigned int unit)
{
	channel->drives[unit].irq = true;
	ide_update_irq(channel);
}

/* ---- resets ----------------------------------------------------------------------------------------- */

void ide_cancel(struct ide_channel *channel)
{
	if (channel->in_flight) {
		channel->is_cancelled = true;
	}
	channel->job = (struct ide_job){ 0 };
	channel->phase = IDE_IDLE;
	channel->front_bytes = channel->front_at = channel->front_done = channel->drq_end = 0;
	channel->back_bytes = channel->back_target = 0;
	channel->is_ahead_stopped = false;
}

/* 9.12: who it is. */
void ide_put_signature(struct ide_channel *channel, unsigned int unit)
{
	struct ide_drive *drive = &channel->drives[unit];
	bool is_dvd = drive->kind == IDE_DVD;

	drive->count[0] = drive->lba_low[0] = 1;
	drive->lba_mid[0] = is_dvd ? ATAPI_SIGNATURE_MID : 0;
	drive->lba_high[0] = is_dvd ? ATAPI_SIGNATURE_HIGH : 0;
	drive->count[1] = drive->lba_low[1] = drive->lba_mid[1] = drive->lba_high[1] = 0;
}

void ide_finish_reset(struct ide_channel *channel)
{
	for (unsigned int unit = 0; unit < IDE_UNITS; unit++) {
		struct ide_drive *drive = &channel->drives[unit];

		if (!(channel->reset_units & 1U << unit) || !drive->is_attached) {
			continue;
		}
		ide_put_signature(channel, unit);
		drive->feature[0] = drive->feature[1] = 0;
		drive->error = ATA_ERROR_PASSED;
		drive->status = drive->kind == IDE_DVD ? 0 : ATA_STATUS_DRDY | ATA_STATUS_DSC;
		drive->irq = false;
	}
	channel->is_reset_due = false;
	channel->reset_units = 0;
	ide_update_irq(channel);
}

void ide_reset_units(struct ide_channel *channel, uint8_t units)
{
	ide_cancel(channel);
	channel->stats.resets++;
	channel->reset_units |= units;
	for (unsigned int unit = 0; unit < IDE_UNITS; unit++) {
		if (units & 1U << unit) {
			channel->drives[unit].status = ATA_STATUS_BSY;
			channel->drives[unit].irq = false;
		}
	}
	ide_update_irq(channel);
	if (channel->in_flight) {
		channel->is_reset_due = true; /* I2 */
	} else if (!(channel->control & ATA_CONTROL_SRST)) {
		ide_finish_reset(channel);
	}
}

void ide_control_write(struct ide_channel *channel, uint8_t value)
{
	uint8_t changed = channel->control ^ value;

	channel->control = value;
	if (changed & ATA_CONTROL_SRST) {
		if (value & ATA_CONTROL_SRST) {
			channel->device = ATA_DEVICE_ALWAYS;
			ide_reset_units(channel, 3);
		} else if (!channel->in_flight) {
			ide_finish_reset(channel);
		}
	}
	ide_update_irq(channel);
}

void ide_drive_reset(struct ide_drive *drive)
{
	drive->multiple = IDE_MULTIPLE_MAX;
	drive->mode = ATA_MODE_PIO_DEFAULT;
	drive->heads = 16;
	drive->track_sectors = 63;
	drive->write_cache = drive->has_write_cache;
	drive->look_ahead = true;
	drive->has_sense = false;
	memset(drive->sense, 0, sizeof(drive->sense));
}

/* ---- the command block -------------------------------------------------------------------------------- */

uint8_t ide_status_read(const struct ide_channel *channel)
{
	const struct ide_drive *drive = &channel->drives[(channel->device & ATA_DEVICE_ONE) != 0];

	return drive->is_attached ? drive->status : 0;
}

static uint8_t *latch_of(struct ide_drive *drive, unsigned int reg)
{
	switch (reg) {
	case ATA_REG_FEATURE:
		return drive->feature;
	case ATA_REG_COUNT:
		return drive->count;
	case ATA_REG_LBA_LOW:
		return drive->lba_low;
	case ATA_REG_LBA_MID:
		return drive->lba_mid;
	default:
		return drive->lba_high;
	}
}

uint8_t ide_register_read(struct ide_channel *channel, unsigned int reg)
{
	struct ide_drive *drive = ide_selected(channel);
	uint8_t value;

	if (!drive->is_attached) {
		return 0; /* nobody: the other one does not answer for it */
	}
	switch (reg) {
	case ATA_REG_ERROR:
		return drive->error;
	case ATA_REG_DEVICE:
		return channel->device;
	case ATA_REG_STATUS:
		value = drive->status;
		drive->irq = false;
		ide_update_irq(channel);
		return value;
	default:
		return latch_of(drive, reg)[(channel->control & ATA_CONTROL_HOB) != 0];
	}
}

static bool is_occupied(const struct ide_drive *drive)
{
	return drive->status & (ATA_STATUS_BSY | ATA_STATUS_DRQ);
}

static void write_command(struct ide_channel *channel, uint8_t command)
{
	struct ide_drive *drive = ide_selected(channel);
	unsigned int unit = (unsigned int)(drive - channel->drives);
	bool is_reset = command == ATA_CMD_DEVICE_RESET && drive->kind == IDE_DVD;

	if (!drive->is_attached || drive->detached || (channel->control & ATA_CONTROL_SRST)) {
		return;
	}
	if (is_reset && (channel->job.op == IDE_NONE || channel->job.unit == unit)) {
		channel->device = (uint8_t)(channel->device & (ATA_DEVICE_ONE | ATA_DEVICE_ALWAYS));
		ide_reset_units(channel, (uint8_t)(1U << unit));
		return;
	}
	/* A channel does one command at a time, and none while one that was given up is at the host. */
	if (is_occupied(drive) || channel->phase != IDE_IDLE || channel->in_flight) {
		return;
	}
	drive->irq = false;
	ide_update_irq(channel);
	channel->stats.commands++;
	ide_command(channel, command);
}

void ide_register_write(struct ide_channel *channel, unsigned int reg, uint8_t value)
{
	channel->control &= (uint8_t)~ATA_CONTROL_HOB;
	if (reg == ATA_REG_COMMAND) {
		write_command(channel, value);
		return;
	}
	if (reg == ATA_REG_DEVICE) {
		if (!is_occupied(ide_selected(channel)) || !ide_selected(channel)->is_attached) {
			channel->device = value | ATA_DEVICE_ALWAYS;
			ide_update_irq(channel);
		}
		return;
	}
	for (unsigned int unit = 0; unit < IDE_UNITS; unit++) {
		struct ide_drive *drive = &channel->drives[unit];
		uint8_t *latch = latch_of(drive, reg);

		if (drive->is_attached && !is_occupied(drive)) {
			latch[1] = latch[0];
			latch[0] = value;
		}
	}
}

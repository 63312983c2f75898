/* SPDX-License-Identifier: MIT */
/* The IDE function: life, pause, drives that come and go, inspect. */
#include "chipset/ide/ide.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fault.h"
#include "chipset/ide/ide_internal.h"

#define BUFFERS_BYTES ((size_t)IDE_CHANNELS * 2 * IDE_BUFFER_BYTES)

/* ---- drives --------------------------------------------------------------------------------------------- */

/* The identity's characters that a serial number can have, as many as it takes. */
static void serial_of(const char *identity, char *ret)
{
	size_t n = 0;

	for (; *identity && n < IDE_SERIAL_BYTES; identity++) {
		if (*identity > ' ' && *identity < 0x7f && *identity != '-') {
			ret[n++] = *identity;
		}
	}
	ret[n] = '\0';
}

static int put_name(char *ret, size_t bytes_max, const char *text, unsigned int drive,
		    const char *what, struct diag *reterr)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++) {
		if (text[i] < ' ' || text[i] > '~') {
			return diag_set(reterr, -EINVAL,
					"IDE drive %u: a %s has printable characters only", drive,
					what);
		}
	}
	if (n > bytes_max) {
		return diag_set(reterr, -EINVAL,
				"IDE drive %u: %s \"%s\" is longer than %zu characters", drive,
				what, text, bytes_max);
	}
	memcpy(ret, text, n + 1);
	return 0;
}

static int check_disk(const struct ide_drive_config *config, unsigned int index,
		      struct diag *reterr)
{
	const struct block_info *info = block_info(config->block);

	if (info->logical_block_bytes != ATA_SECTOR_BYTES) {
		return diag_set(reterr, -EINVAL,
				"IDE drive %u: sectors of %u bytes; an IDE disk has 512: use "
				"sector=512 or another controller",
				index, info->logical_block_bytes);
	}
	if (info->bytes < ATA_SECTOR_BYTES) {
		return diag_set(reterr, -EINVAL,
				"IDE drive %u: %llu bytes; a disk needs at least one sector", index,
				(unsigned long long)info->bytes);
	}
	return 0;
}

/* Not of a drive that is away: its block may be, too. */
static void measure(struct ide_drive *drive)
{
	if (drive->kind == IDE_DISK && drive->is_attached) {
		drive->sectors = block_info(drive->block)->bytes / ATA_SECTOR_BYTES;
		drive->sectors = drive->sectors < ATA_SECTORS_48 ? drive->sectors : ATA_SECTORS_48;
	}
}

static int init_drive(struct ide_drive *drive, const struct ide_drive_config *config,
		      unsigned int index, struct diag *reterr)
{
	bool is_disk = config->kind == IDE_DISK;
	const char *model = config->model ? config->model
			    : is_disk     ? "Tabique Virtual HD"
					  : "Tabique Virtual DVD";
	char serial[IDE_SERIAL_BYTES + 1] = "1";
	int err = 0;

	drive->kind = config->kind;
	if (config->kind == IDE_EMPTY) {
		return 0;
	}
	if (is_disk) {
		err = check_disk(config, index, reterr);
		serial_of(block_info(config->block)->identity, serial);
	}
	if (!err) {
		err = put_name(drive->serial, IDE_SERIAL_BYTES,
			       config->serial ? config->serial : serial, index, "serial number",
			       reterr);
	}
	if (!err) {
		err = put_name(drive->model, IDE_MODEL_BYTES, model, index, "model", reterr);
	}
	if (err) {
		return err;
	}
	drive->block = config->block;
	drive->unit = config->unit;
	drive->queue = config->queue;
	drive->has_write_cache = config->write_cache;
	drive->is_attached = true;
	return 0;
}

/* ---- life --------------------------------------------------------------------------------------------------- */

static int create_buffers(struct ide *ide)
{
	void *buffers = MAP_FAILED;

	if (!fault_point()) { /* pages, for direct I/O */
		buffers = mmap(NULL, BUFFERS_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	if (buffers == MAP_FAILED) {
		return -ENOMEM;
	}
	ide->buffers = buffers;
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		ide->channels[i].front = ide->buffers + (size_t)2 * i * IDE_BUFFER_BYTES;
		ide->channels[i].back = ide->channels[i].front + IDE_BUFFER_BYTES;
	}
	return 0;
}

static void reset_channel(struct ide_channel *channel)
{
	check(!channel->in_flight);
	ide_cancel(channel);
	channel->device = ATA_DEVICE_ALWAYS;
	channel->control = 0;
	channel->bm_command = channel->bm_status = 0;
	channel->bm_active = false;
	channel->bm_table = 0;
	channel->prd = (struct ide_prd){ 0 };
	for (unsigned int unit = 0; unit < IDE_UNITS; unit++) {
		measure(&channel->drives[unit]);
		ide_drive_reset(&channel->drives[unit]);
	}
	channel->reset_units = 3;
	ide_finish_reset(channel);
}

static int init_drives(struct ide *ide, const struct ide_config *config, struct diag *reterr)
{
	for (unsigned int i = 0; i < IDE_DRIVES; i++) {
		struct ide_channel *channel = &ide->channels[i / IDE_UNITS];
		int err =
			init_drive(&channel->drives[i % IDE_UNITS], &config->drives[i], i, reterr);

		if (err) {
			return err;
		}
	}
	return 0;
}

static void free_all(struct ide *ide)
{
	if (ide->buffers) {
		munmap(ide->buffers, BUFFERS_BYTES);
	}
	free(ide);
}

int ide_create(const struct ide_config *config, struct ide **ret, struct diag *reterr)
{
	struct ide *ide = fault_alloc(1, sizeof(*ide));
	int err;

	if (!ide) {
		return diag_set(reterr, -ENOMEM, "no memory for the IDE controller");
	}
	ide->chipset = config->chipset;
	ide->mem = config->mem;
	ide->loop = config->loop;
	ide->is_decoded = config->is_decoded;
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		ide->channels[i].ide = ide;
		ide->channels[i].index = i;
		ide->channels[i].line = config->lines[i];
		loop_work_init(&ide->channels[i].work, ide_on_work);
	}
	err = init_drives(ide, config, reterr);
	if (err) {
		free_all(ide);
		return err;
	}
	err = create_buffers(ide);
	if (err) {
		free_all(ide);
		return diag_set(reterr, err, "no memory for the IDE controller's buffers");
	}
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		reset_channel(&ide->channels[i]);
	}
	err = ide_pci_init(ide, config);
	if (err) {
		ide_pci_fini(ide);
		free_all(ide);
		return diag_set(reterr, err, "the IDE controller's place on the PCI bus is taken");
	}
	*ret = ide;
	return 0;
}

/* On the loop: nobody posts them any more. */
static void cancel_work(void *arg)
{
	struct ide *ide = arg;

	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		check(!ide->channels[i].in_flight);
		loop_cancel(ide->loop, &ide->channels[i].work);
	}
}

void ide_destroy(struct ide *ide)
{
	if (!ide) {
		return;
	}
	ide_pci_fini(ide);
	loop_call(ide->loop, cancel_work, ide);
	free_all(ide);
}

void ide_pause(struct ide *ide, struct loop_work *done)
{
	chipset_lock(ide->chipset);
	check(!ide->is_paused);
	ide->is_paused = true;
	ide->paused = done;
	chipset_unlock(ide->chipset);
	ide_kick(&ide->channels[0]);
}

void ide_resume(struct ide *ide)
{
	chipset_lock(ide->chipset);
	ide->is_paused = false;
	chipset_unlock(ide->chipset);
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		ide_kick(&ide->channels[i]);
	}
}

void ide_reset(struct ide *ide)
{
	chipset_lock(ide->chipset);
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		reset_channel(&ide->channels[i]);
	}
	ide_pci_reset(ide);
	chipset_unlock(ide->chipset);
}

/* ---- drives that come and go ------------------------------------------------------------------------------ */

static struct ide_drive *drive_at(struct ide *ide, unsigned int drive)
{
	check(drive < IDE_DRIVES);
	return &ide->channels[drive / IDE_UNITS].drives[drive % IDE_UNITS];
}

void ide_detach(struct ide *ide, unsigned int drive, struct loop_work *done)
{
	struct ide_drive *at = drive_at(ide, drive);

	chipset_lock(ide->chipset);
	check(!at->detached);
	if (at->is_attached) {
		at->detached = done;
		ide_kick(&ide->channels[drive / IDE_UNITS]);
	} else {
		loop_post(ide->loop, done);
	}
	chipset_unlock(ide->chipset);
}

void ide_attach(struct ide *ide, unsigned int drive, struct block *block)
{
	struct ide_channel *channel = &ide->channels[drive / IDE_UNITS];
	struct ide_drive *at = drive_at(ide, drive);

	chipset_lock(ide->chipset);
	if (at->kind != IDE_EMPTY && !at->is_attached) {
		at->block = block ? block : at->block;
		at->is_attached = true;
		measure(at);
		ide_drive_reset(at);
		if (channel->control & ATA_CONTROL_SRST) {
			at->status = ATA_STATUS_BSY;
		} else {
			uint8_t before = channel->reset_units;

			channel->reset_units = (uint8_t)(1U << drive % IDE_UNITS);
			ide_finish_reset(channel);
			channel->reset_units = before;
		}
	}
	chipset_unlock(ide->chipset);
}

bool ide_is_attached(struct ide *ide, unsigned int drive)
{
	bool is_attached;

	chipset_lock(ide->chipset);
	is_attached = drive_at(ide, drive)->is_attached;
	chipset_unlock(ide->chipset);
	return is_attached;
}

/* ---- inspect -------------------------------------------------------------------------------------------------- */

static void inspect_drive(const struct ide_drive *drive, unsigned int unit, struct inspect *at)
{
	struct inspect item = inspect_item(at, "drives");

	inspect_u64(&item, "unit", unit);
	inspect_string(&item, "kind", drive->kind == IDE_DISK ? "disk" : "dvd");
	inspect_bool(&item, "attached", drive->is_attached);
	inspect_string(&item, "model", drive->model);
	inspect_format(&item, "mode", "0x%02x", drive->mode);
	inspect_format(&item, "status", "0x%02x", drive->status);
	if (drive->kind == IDE_DISK) {
		inspect_u64(&item, "sectors", drive->sectors);
		inspect_bool(&item, "write_cache", drive->write_cache);
	}
}

static void inspect_channel(const struct ide_channel *channel, struct inspect *at)
{
	static const char *const phases[IDE_PHASES] = { "idle",   "busy",    "cdb",
							"pio-in", "pio-out", "dma" };
	struct inspect item = inspect_item(at, "channels");

	inspect_string(&item, "phase", phases[channel->phase]);
	inspect_bool(&item, "in_flight", channel->in_flight);
	inspect_bool(&item, "decoded", channel->is_mapped);
	inspect_u64(&item, "commands", channel->stats.commands);
	inspect_u64(&item, "errors", channel->stats.errors);
	inspect_u64(&item, "unknown", channel->stats.unknown);
	inspect_u64(&item, "resets", channel->stats.resets);
	inspect_u64(&item, "interrupts", channel->stats.interrupts);
	inspect_u64(&item, "requests", channel->stats.requests);
	inspect_u64(&item, "pio_bytes", channel->stats.pio_bytes);
	inspect_u64(&item, "dma_bytes", channel->stats.dma_bytes);
	inspect_u64(&item, "prd_errors", channel->stats.prd_errors);
	for (unsigned int unit = 0; unit < IDE_UNITS; unit++) {
		if (channel->drives[unit].kind != IDE_EMPTY) {
			inspect_drive(&channel->drives[unit], unit, &item);
		}
	}
}

void ide_inspect(struct ide *ide, struct inspect *at)
{
	chipset_lock(ide->chipset);
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		inspect_channel(&ide->channels[i], at);
	}
	chipset_unlock(ide->chipset);
}

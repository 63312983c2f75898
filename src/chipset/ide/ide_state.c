/* SPDX-License-Identifier: MIT */
/*
 * Saved form. What was read ahead is not in it: the command stands where the guest is, and reads again. A
 * state that this chip cannot be in is refused as a whole: each phase says what its command must look like
 * (check_*), since what is loaded is what later code relies on. docs/formats.md
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "chipset/ide/ide_internal.h"

enum { IDE_STATE_FUNCTION = 1, IDE_STATE_CHANNEL = 2 /* once each, in order */ };

enum {
	CHANNEL_STATE_DEVICE = 1,
	CHANNEL_STATE_CONTROL = 2,
	CHANNEL_STATE_PHASE = 3,
	CHANNEL_STATE_JOB = 4,
	CHANNEL_STATE_CDB = 5,
	CHANNEL_STATE_FRONT = 6,
	CHANNEL_STATE_CURSOR = 7,
	CHANNEL_STATE_MASTER = 8,
	CHANNEL_STATE_PRD = 9,
	CHANNEL_STATE_DRIVE = 10, /* once each, in order */
};

enum {
	DRIVE_STATE_KIND = 1,
	DRIVE_STATE_ATTACHED = 2,
	DRIVE_STATE_LATCHES = 3,
	DRIVE_STATE_STATUS = 4, /* status, error, irq */
	DRIVE_STATE_SETTINGS = 5,
	DRIVE_STATE_SENSE = 6,
};

#define JOB_BYTES      24
#define CURSOR_BYTES   16
#define MASTER_BYTES   8
#define PRD_BYTES      14
#define LATCH_BYTES    10
#define STATUS_BYTES   3
#define SETTINGS_BYTES 6

/* ---- save --------------------------------------------------------------------------------------------- */

static uint8_t *latch_at(struct ide_drive *drive, unsigned int i)
{
	uint8_t *const latches[] = { drive->feature, drive->count, drive->lba_low, drive->lba_mid,
				     drive->lba_high };

	return &latches[i / 2][i % 2];
}

static void save_drive(struct ide_drive *drive, struct save *save)
{
	const uint8_t status[STATUS_BYTES] = { drive->status, drive->error, drive->irq };
	const uint8_t settings[SETTINGS_BYTES] = {
		drive->multiple,      drive->mode,        drive->heads,
		drive->track_sectors, drive->write_cache, drive->look_ahead,
	};
	uint8_t latches[LATCH_BYTES];

	for (unsigned int i = 0; i < LATCH_BYTES; i++) {
		latches[i] = *latch_at(drive, i);
	}
	save_group_begin(save, CHANNEL_STATE_DRIVE);
	save_u32(save, DRIVE_STATE_KIND, drive->kind);
	save_u32(save, DRIVE_STATE_ATTACHED, drive->is_attached);
	save_bytes(save, DRIVE_STATE_LATCHES, latches, sizeof(latches));
	save_bytes(save, DRIVE_STATE_STATUS, status, sizeof(status));
	save_bytes(save, DRIVE_STATE_SETTINGS, settings, sizeof(settings));
	if (drive->has_sense) {
		save_bytes(save, DRIVE_STATE_SENSE, drive->sense, sizeof(drive->sense));
	}
	save_group_end(save);
}

static void save_job(const struct ide_channel *channel, struct save *save)
{
	const struct ide_job *job = &channel->job;
	uint32_t ahead = channel->back_bytes / ATA_SECTOR_BYTES; /* read again */
	uint8_t raw[JOB_BYTES];

	raw[0] = (uint8_t)job->op;
	raw[1] = job->unit;
	raw[2] = (uint8_t)(job->is_dma | job->is_lba48 << 1 | job->fua << 2);
	raw[3] = 0;
	bytes_put_le64(&raw[4], job->lba - ahead);
	bytes_put_le32(&raw[12], job->left + ahead);
	bytes_put_le32(&raw[16], job->piece_max);
	bytes_put_le32(&raw[20], job->drq_bytes);
	save_bytes(save, CHANNEL_STATE_JOB, raw, sizeof(raw));
	save_bytes(save, CHANNEL_STATE_CDB, job->cdb, ATAPI_CDB_BYTES);
}

static void save_master(const struct ide_channel *channel, struct save *save)
{
	const struct ide_prd *prd = &channel->prd;
	uint8_t raw[MASTER_BYTES] = { channel->bm_command, channel->bm_status, channel->bm_active };
	uint8_t at[PRD_BYTES];

	bytes_put_le32(&raw[4], channel->bm_table);
	save_bytes(save, CHANNEL_STATE_MASTER, raw, sizeof(raw));
	bytes_put_le32(&at[0], prd->table);
	bytes_put_le32(&at[4], prd->gpa);
	bytes_put_le32(&at[8], prd->left);
	at[12] = prd->is_last;
	at[13] = prd->is_bad;
	save_bytes(save, CHANNEL_STATE_PRD, at, sizeof(at));
}

static void save_channel(struct ide_channel *channel, struct save *save)
{
	uint8_t cursor[CURSOR_BYTES];

	check(!channel->in_flight);
	bytes_put_le32(&cursor[0], channel->front_bytes);
	bytes_put_le32(&cursor[4], channel->front_at);
	bytes_put_le32(&cursor[8], channel->front_done);
	bytes_put_le32(&cursor[12], channel->drq_end);
	save_group_begin(save, IDE_STATE_CHANNEL);
	save_u32(save, CHANNEL_STATE_DEVICE, channel->device);
	save_u32(save, CHANNEL_STATE_CONTROL, channel->control);
	save_u32(save, CHANNEL_STATE_PHASE, channel->phase);
	save_job(channel, save);
	save_bytes(save, CHANNEL_STATE_CURSOR, cursor, sizeof(cursor));
	save_bytes(save, CHANNEL_STATE_FRONT, channel->front, channel->front_bytes);
	save_master(channel, save);
	for (unsigned int unit = 0; unit < IDE_UNITS; unit++) {
		save_drive(&channel->drives[unit], save);
	}
	save_group_end(save);
}

void ide_save(struct ide *ide, struct save *save)
{
	chipset_lock(ide->chipset);
	save_group_begin(save, IDE_STATE_FUNCTION);
	pci_function_save(&ide->function, save);
	save_group_end(save);
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		save_channel(&ide->channels[i], save);
	}
	chipset_unlock(ide->chipset);
}

/* ---- what can be ---------------------------------------------------------------------------------------- */

static bool drive_is_sane(const struct ide_drive *drive)
{
	return ide_mode_is_known(drive->mode) && drive->heads >= 1 && drive->heads <= 16 &&
	       drive->track_sectors >= 1 && drive->multiple <= IDE_MULTIPLE_MAX &&
	       (drive->multiple == 0 || num_is_power_of_2(drive->multiple));
}

static uint8_t occupied(const struct ide_drive *drive)
{
	return drive->status & (ATA_STATUS_BSY | ATA_STATUS_DRQ);
}

static bool op_fits(enum ide_phase phase, const struct ide_job *job)
{
	switch (phase) {
	case IDE_IDLE:
		return job->op == IDE_NONE;
	case IDE_BUSY:
		return job->op == IDE_READ || job->op == IDE_WRITE || job->op == IDE_VERIFY ||
		       job->op == IDE_FLUSH || job->op == IDE_PACKET ||
		       (job->op == IDE_PACKET_READ && !job->is_dma);
	case IDE_CDB:
		return job->op == IDE_PACKET;
	case IDE_PIO_IN:
		return job->op == IDE_READ || job->op == IDE_PACKET || job->op == IDE_PACKET_READ ||
		       job->op == IDE_REPLY;
	case IDE_PIO_OUT:
		return job->op == IDE_WRITE;
	case IDE_DMA:
		return job->is_dma && (job->op == IDE_READ || job->op == IDE_WRITE ||
				       job->op == IDE_PACKET_READ || job->op == IDE_REPLY);
	default:
		return false;
	}
}

/* The command against its drive: kind, range, size of a block of DRQ. */
static bool job_is_sane(const struct ide_drive *drive, const struct ide_job *job,
			enum ide_phase phase)
{
	bool is_packet = job->op == IDE_PACKET || job->op == IDE_PACKET_READ;
	bool needs_more = phase == IDE_BUSY || phase == IDE_DMA || phase == IDE_PIO_OUT;
	uint32_t sectors = job->drq_bytes / ATA_SECTOR_BYTES;

	if (is_packet || (job->op == IDE_REPLY && job->is_dma)) {
		return drive->kind == IDE_DVD && job->drq_bytes > 0 && job->drq_bytes <= 0xfffe &&
		       job->drq_bytes % 2 == 0 && job->lba <= UINT32_MAX + 1ULL + UINT32_MAX &&
		       !(job->op == IDE_PACKET_READ && needs_more && job->left == 0) &&
		       !(job->op == IDE_PACKET && job->left > 0);
	}
	if (job->op == IDE_REPLY) {
		return job->drq_bytes == ATA_SECTOR_BYTES && job->left == 0;
	}
	if (drive->kind != IDE_DISK) {
		return false;
	}
	if (job->op == IDE_FLUSH) {
		return true;
	}
	return job->piece_max >= 1 && job->left <= 65536 && !(needs_more && job->left == 0) &&
	       num_range_fits(job->lba, job->left, drive->sectors) &&
	       job->drq_bytes % ATA_SECTOR_BYTES == 0 && sectors <= IDE_MULTIPLE_MAX &&
	       num_is_power_of_2(sectors) &&
	       !(job->op == IDE_WRITE && block_info(drive->block)->read_only);
}

/* The front buffer against the command. */
static bool cursor_is_sane(const struct ide_channel *channel)
{
	const struct ide_job *job = &channel->job;
	uint32_t end = channel->front_bytes;

	if (end > IDE_BUFFER_BYTES || channel->front_at > end || channel->front_done > end) {
		return false;
	}
	switch (channel->phase) {
	case IDE_PIO_IN:
		return channel->front_at < channel->drq_end && channel->drq_end <= end;
	case IDE_PIO_OUT:
		return channel->front_at < channel->drq_end && channel->drq_end <= end &&
		       channel->front_done == 0 && end % ATA_SECTOR_BYTES == 0 &&
		       end / ATA_SECTOR_BYTES <= job->left;
	case IDE_BUSY:
		return job->op != IDE_WRITE ||
		       (channel->front_done < end && end % ATA_SECTOR_BYTES == 0 &&
			channel->front_done % ATA_SECTOR_BYTES == 0 &&
			(end - channel->front_done) / ATA_SECTOR_BYTES <= job->left);
	case IDE_DMA:
		return job->op != IDE_REPLY ||
		       (channel->front_done < end && (end - channel->front_done) % 2 == 0);
	case IDE_CDB:
	case IDE_IDLE:
	default:
		return true;
	}
}

static bool channel_is_sane(const struct ide_channel *channel)
{
	static const uint8_t shows[IDE_PHASES] = {
		[IDE_BUSY] = ATA_STATUS_BSY,   [IDE_CDB] = ATA_STATUS_DRQ,
		[IDE_PIO_IN] = ATA_STATUS_DRQ, [IDE_PIO_OUT] = ATA_STATUS_DRQ,
		[IDE_DMA] = ATA_STATUS_BSY,
	};
	bool is_reset = channel->control & ATA_CONTROL_SRST;

	if (!op_fits(channel->phase, &channel->job) || (is_reset && channel->phase != IDE_IDLE) ||
	    (channel->phase == IDE_CDB && channel->front_at >= ATAPI_CDB_BYTES)) {
		return false;
	}
	for (unsigned int unit = 0; unit < IDE_UNITS; unit++) {
		const struct ide_drive *drive = &channel->drives[unit];
		bool has_job = channel->phase != IDE_IDLE && channel->job.unit == unit;
		uint8_t expected = has_job ? shows[channel->phase] : is_reset ? ATA_STATUS_BSY : 0;

		if (!drive_is_sane(drive) || (has_job && !drive->is_attached) ||
		    (drive->is_attached && occupied(drive) != expected)) {
			return false;
		}
	}
	if (channel->phase == IDE_IDLE) {
		return true;
	}
	return job_is_sane(&channel->drives[channel->job.unit], &channel->job, channel->phase) &&
	       (channel->phase == IDE_CDB || cursor_is_sane(channel));
}

/* ---- load ------------------------------------------------------------------------------------------------ */

static bool flag(struct load *load, uint8_t value)
{
	if (value > 1) {
		load_fail(load);
	}
	return value == 1;
}

static void load_settings(struct ide_drive *drive, struct load *load,
			  const struct load_field *field)
{
	uint8_t raw[SETTINGS_BYTES];

	load_bytes(load, field, raw, sizeof(raw));
	drive->multiple = raw[0];
	drive->mode = raw[1];
	drive->heads = raw[2];
	drive->track_sectors = raw[3];
	drive->write_cache = flag(load, raw[4]);
	drive->look_ahead = flag(load, raw[5]);
}

static void load_drive(struct ide_drive *drive, struct load *load)
{
	struct load_field field;
	uint8_t status[STATUS_BYTES], latches[LATCH_BYTES];

	drive->has_sense = false;
	while (load_next(load, &field)) {
		switch (field.tag) {
		case DRIVE_STATE_KIND:
			if (load_u32(load, &field) != drive->kind) {
				load_fail(load); /* another machine's */
			}
			break;
		case DRIVE_STATE_ATTACHED:
			drive->is_attached =
				flag(load, (uint8_t)num_min(load_u32(load, &field), 2));
			break;
		case DRIVE_STATE_LATCHES:
			load_bytes(load, &field, latches, sizeof(latches));
			for (unsigned int i = 0; i < LATCH_BYTES; i++) {
				*latch_at(drive, i) = latches[i];
			}
			break;
		case DRIVE_STATE_STATUS:
			load_bytes(load, &field, status, sizeof(status));
			drive->status = status[0];
			drive->error = status[1];
			drive->irq = flag(load, status[2]);
			break;
		case DRIVE_STATE_SETTINGS:
			load_settings(drive, load, &field);
			break;
		case DRIVE_STATE_SENSE:
			load_bytes(load, &field, drive->sense, sizeof(drive->sense));
			drive->has_sense = true;
			break;
		default:
			break;
		}
	}
	if (drive->is_attached && drive->kind == IDE_EMPTY) {
		load_fail(load);
	}
}

static void load_job(struct ide_channel *channel, struct load *load, const struct load_field *field)
{
	struct ide_job *job = &channel->job;
	uint8_t raw[JOB_BYTES];

	load_bytes(load, field, raw, sizeof(raw));
	if (raw[0] >= IDE_OPS || raw[1] >= IDE_UNITS || raw[2] > 7) {
		load_fail(load);
		return;
	}
	job->op = (enum ide_op)raw[0];
	job->unit = raw[1];
	job->is_dma = raw[2] & 1;
	job->is_lba48 = raw[2] & 2;
	job->fua = raw[2] & 4;
	job->lba = bytes_le64(&raw[4]);
	job->left = bytes_le32(&raw[12]);
	job->piece_max = bytes_le32(&raw[16]);
	job->drq_bytes = bytes_le32(&raw[20]);
}

static void load_master(struct ide_channel *channel, struct load *load,
			const struct load_field *field)
{
	uint8_t raw[MASTER_BYTES];

	load_bytes(load, field, raw, sizeof(raw));
	channel->bm_command = raw[0] & (BM_COMMAND_START | BM_COMMAND_TO_MEMORY);
	channel->bm_status = raw[1] & (BM_STATUS_CAPABLE | BM_STATUS_ERROR | BM_STATUS_IRQ);
	channel->bm_active = flag(load, raw[2]);
	channel->bm_table = bytes_le32(&raw[4]) & ~3U;
}

static void load_prd(struct ide_channel *channel, struct load *load, const struct load_field *field)
{
	struct ide_prd *prd = &channel->prd;
	uint8_t raw[PRD_BYTES];

	load_bytes(load, field, raw, sizeof(raw));
	prd->table = bytes_le32(&raw[0]) & ~3U;
	prd->gpa = bytes_le32(&raw[4]) & ~1U;
	prd->left = bytes_le32(&raw[8]) & ~1U;
	prd->is_last = flag(load, raw[12]);
	prd->is_bad = flag(load, raw[13]);
	if (prd->left > 65536) {
		load_fail(load);
	}
}

static void load_cursor(struct ide_channel *channel, struct load *load,
			const struct load_field *field)
{
	uint8_t raw[CURSOR_BYTES];

	load_bytes(load, field, raw, sizeof(raw));
	channel->front_bytes = bytes_le32(&raw[0]);
	channel->front_at = bytes_le32(&raw[4]);
	channel->front_done = bytes_le32(&raw[8]);
	channel->drq_end = bytes_le32(&raw[12]);
}

static void load_front(struct ide_channel *channel, struct load *load,
		       const struct load_field *field, uint32_t *ret_bytes)
{
	if (field->kind != STATE_BYTES || field->length > IDE_BUFFER_BYTES) {
		load_fail(load);
		return;
	}
	load_bytes(load, field, channel->front, field->length);
	*ret_bytes = field->length;
}

static void load_phase(struct ide_channel *channel, struct load *load, uint32_t phase)
{
	if (phase >= IDE_PHASES) {
		load_fail(load);
	} else {
		channel->phase = (enum ide_phase)phase;
	}
}

static void load_unit(struct ide_channel *channel, struct load *load,
		      const struct load_field *field, unsigned int *unit)
{
	struct load inner;

	if (*unit >= IDE_UNITS) {
		load_fail(load);
		return;
	}
	load_group(load, field, &inner);
	load_drive(&channel->drives[(*unit)++], &inner);
	load_close(load, &inner);
}

static void load_field(struct ide_channel *channel, struct load *load,
		       const struct load_field *field, unsigned int *unit, uint32_t *front)
{
	switch (field->tag) {
	case CHANNEL_STATE_DEVICE:
		channel->device = (uint8_t)load_u32(load, field) | ATA_DEVICE_ALWAYS;
		break;
	case CHANNEL_STATE_CONTROL:
		channel->control = (uint8_t)load_u32(load, field);
		break;
	case CHANNEL_STATE_PHASE:
		load_phase(channel, load, load_u32(load, field));
		break;
	case CHANNEL_STATE_JOB:
		load_job(channel, load, field);
		break;
	case CHANNEL_STATE_CDB:
		load_bytes(load, field, channel->job.cdb, ATAPI_CDB_BYTES);
		break;
	case CHANNEL_STATE_CURSOR:
		load_cursor(channel, load, field);
		break;
	case CHANNEL_STATE_FRONT:
		load_front(channel, load, field, front);
		break;
	case CHANNEL_STATE_MASTER:
		load_master(channel, load, field);
		break;
	case CHANNEL_STATE_PRD:
		load_prd(channel, load, field);
		break;
	case CHANNEL_STATE_DRIVE:
		load_unit(channel, load, field, unit);
		break;
	default:
		break;
	}
}

static void load_channel(struct ide_channel *channel, struct load *load)
{
	struct load_field field;
	unsigned int unit = 0;
	uint32_t front = 0;
	uint8_t bm_status;

	check(!channel->in_flight);
	ide_cancel(channel);
	while (load_next(load, &field)) {
		load_field(channel, load, &field, &unit, &front);
	}
	if (front != channel->front_bytes || !channel_is_sane(channel)) {
		load_fail(load);
	}
	if (load_result(load)) {
		return;
	}
	channel->reset_units = channel->control & ATA_CONTROL_SRST ? 3 : 0;
	bm_status = channel->bm_status;
	ide_update_irq(channel);
	channel->bm_status = bm_status; /* whatever the line did just now */
}

/* Which drives are there: bit 2 * channel + unit. */
static unsigned int attached(const struct ide *ide)
{
	unsigned int set = 0;

	for (unsigned int i = 0; i < IDE_DRIVES; i++) {
		set |= (unsigned int)ide->channels[i / IDE_UNITS].drives[i % IDE_UNITS].is_attached
		       << i;
	}
	return set;
}

static void restore_attached(struct ide *ide, unsigned int set)
{
	for (unsigned int i = 0; i < IDE_DRIVES; i++) {
		ide->channels[i / IDE_UNITS].drives[i % IDE_UNITS].is_attached = set >> i & 1;
	}
}

int ide_load(struct ide *ide, struct load *load)
{
	struct load_field field;
	struct load inner;
	unsigned int channel = 0, before;
	int err;

	chipset_lock(ide->chipset);
	before = attached(ide);
	while (load_next(load, &field)) {
		if (field.tag == IDE_STATE_FUNCTION) {
			load_group(load, &field, &inner);
			if (pci_function_load(&ide->function, &inner)) {
				load_fail(load);
			}
			load_close(load, &inner);
			ide_pci_follow(ide);
		} else if (field.tag == IDE_STATE_CHANNEL && channel < IDE_CHANNELS) {
			load_group(load, &field, &inner);
			load_channel(&ide->channels[channel++], &inner);
			load_close(load, &inner);
		}
	}
	err = load_result(load);
	if (err) {
		restore_attached(ide, before);
	}
	chipset_unlock(ide->chipset);
	if (err) {
		ide_reset(ide);
	}
	return err;
}

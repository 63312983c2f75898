/* SPDX-License-Identifier: MIT */
/*
 * ATA commands: what each needs, as a table, and those that end at once. What is not here is aborted, as the
 * standard says (ATA/ATAPI-6: 8; SMART, security, host protected area are not there and IDENTIFY says so).
 */
#include "base/num.h"
#include "chipset/ide/ide_internal.h"

/* ---- ends -------------------------------------------------------------------------------------------- */

void ide_enter(struct ide_channel *channel, enum ide_phase phase)
{
	static const uint8_t status[IDE_PHASES] = {
		[IDE_IDLE] = ATA_STATUS_DRDY | ATA_STATUS_DSC,
		[IDE_BUSY] = ATA_STATUS_BSY,
		[IDE_CDB] = ATA_STATUS_DRDY | ATA_STATUS_DSC | ATA_STATUS_DRQ,
		[IDE_PIO_IN] = ATA_STATUS_DRDY | ATA_STATUS_DSC | ATA_STATUS_DRQ,
		[IDE_PIO_OUT] = ATA_STATUS_DRDY | ATA_STATUS_DSC | ATA_STATUS_DRQ,
		[IDE_DMA] = ATA_STATUS_BSY,
	};

	channel->phase = phase;
	ide_job_drive(channel)->status = status[phase];
}

static void end(struct ide_channel *channel, uint8_t error)
{
	struct ide_drive *drive = ide_job_drive(channel);
	unsigned int unit = channel->job.unit;

	if (channel->job.is_dma) {
		ide_bm_settle(channel);
	}
	ide_cancel(channel);
	channel->job.unit = (uint8_t)unit; /* whose status ide_enter() sets */
	ide_enter(channel, IDE_IDLE);
	drive->error = error;
	if (error) {
		drive->status |= ATA_STATUS_ERR;
		channel->stats.errors++;
	}
	ide_raise(channel, unit);
}

void ide_succeed(struct ide_channel *channel)
{
	end(channel, 0);
}

void ide_fail(struct ide_channel *channel, uint8_t error)
{
	end(channel, error);
}

void ide_fail_at(struct ide_channel *channel, uint8_t error, uint64_t lba)
{
	struct ide_drive *drive = ide_job_drive(channel);
	uint32_t per_cylinder = (uint32_t)drive->heads * drive->track_sectors;

	if (!channel->job.is_lba48 && !(channel->device & ATA_DEVICE_LBA)) {
		uint64_t cylinder = lba / per_cylinder;
		uint32_t head = (uint32_t)(lba / drive->track_sectors % drive->heads);

		channel->device = (uint8_t)((channel->device & 0xf0) | (head & 0x0f));
		lba = (cylinder << 8 | (lba % drive->track_sectors + 1));
	} else if (!channel->job.is_lba48) {
		channel->device = (uint8_t)((channel->device & 0xf0) | (lba >> 24 & 0x0f));
	} else {
		drive->lba_low[1] = (uint8_t)(lba >> 24);
		drive->lba_mid[1] = (uint8_t)(lba >> 32);
		drive->lba_high[1] = (uint8_t)(lba >> 40);
	}
	drive->lba_low[0] = (uint8_t)lba;
	drive->lba_mid[0] = (uint8_t)(lba >> 8);
	drive->lba_high[0] = (uint8_t)(lba >> 16);
	ide_fail(channel, error);
}

/* ---- addresses ----------------------------------------------------------------------------------------- */

/* ~0: a CHS address that is none. */
static uint64_t address_of(const struct ide_channel *channel, const struct ide_drive *drive,
			   bool is_lba48)
{
	uint32_t low = drive->lba_low[0] | (uint32_t)drive->lba_mid[0] << 8 |
		       (uint32_t)drive->lba_high[0] << 16;
	uint32_t head = channel->device & 0x0fU;

	if (is_lba48) {
		return low | (uint64_t)drive->lba_low[1] << 24 | (uint64_t)drive->lba_mid[1] << 32 |
		       (uint64_t)drive->lba_high[1] << 40;
	}
	if (channel->device & ATA_DEVICE_LBA) {
		return low | head << 24;
	}
	if (head >= drive->heads || (low & 0xff) == 0 || (low & 0xff) > drive->track_sectors) {
		return ~0ULL;
	}
	return ((uint64_t)(low >> 8) * drive->heads + head) * drive->track_sectors + (low & 0xff) -
	       1;
}

static uint32_t count_of(const struct ide_drive *drive, bool is_lba48)
{
	uint32_t count = drive->count[0];

	if (is_lba48) {
		count |= (uint32_t)drive->count[1] << 8;
		return count ? count : 65536;
	}
	return count ? count : 256;
}

/* ---- commands that move data ------------------------------------------------------------------------ */

#define F_LBA48    0x01
#define F_DMA      0x02
#define F_MULTIPLE 0x04
#define F_FUA      0x08

static void begin_transfer(struct ide_channel *channel, enum ide_op op, unsigned int flags)
{
	struct ide_drive *drive = ide_job_drive(channel);
	struct ide_job *job = &channel->job;

	job->is_lba48 = flags & F_LBA48;
	if ((op == IDE_WRITE && block_info(drive->block)->read_only) ||
	    ((flags & F_MULTIPLE) && drive->multiple == 0)) {
		ide_fail(channel, ATA_ERROR_ABRT);
		return;
	}
	job->lba = address_of(channel, drive, job->is_lba48);
	job->left = count_of(drive, job->is_lba48);
	if (!num_range_fits(job->lba, job->left, drive->sectors)) {
		ide_fail_at(channel, ATA_ERROR_IDNF,
			    job->lba > ATA_SECTORS_48 ? 0 : num_max(job->lba, drive->sectors));
		return;
	}
	job->op = op;
	job->is_dma = flags & F_DMA;
	job->fua = (flags & F_FUA) || !drive->write_cache;
	job->piece_max = ~0U;
	job->drq_bytes = ATA_SECTOR_BYTES * (flags & F_MULTIPLE ? drive->multiple : 1U);
	if (job->is_dma) {
		ide_enter(channel, IDE_DMA);
	} else if (op == IDE_WRITE) {
		ide_pio_out(channel, true);
		return;
	} else {
		ide_enter(channel, IDE_BUSY);
	}
	ide_kick(channel);
}

static void begin_flush(struct ide_channel *channel)
{
	channel->job.op = IDE_FLUSH;
	ide_enter(channel, IDE_BUSY);
	ide_kick(channel);
}

/* ---- those that end at once ------------------------------------------------------------------------- */

static void set_features(struct ide_channel *channel)
{
	struct ide_drive *drive = ide_job_drive(channel);
	bool is_disk = drive->kind == IDE_DISK;

	switch (drive->feature[0]) {
	case ATA_FEATURE_TRANSFER_MODE:
		if (!ide_mode_is_known(drive->count[0])) {
			ide_fail(channel, ATA_ERROR_ABRT);
			return;
		}
		drive->mode = drive->count[0];
		break;
	case ATA_FEATURE_WRITE_CACHE_ON:
	case ATA_FEATURE_LOOK_AHEAD_ON:
	case ATA_FEATURE_LOOK_AHEAD_OFF:
		if (!is_disk) {
			ide_fail(channel, ATA_ERROR_ABRT);
			return;
		}
		if (drive->feature[0] == ATA_FEATURE_WRITE_CACHE_ON) {
			drive->write_cache = true;
		} else {
			drive->look_ahead = drive->feature[0] == ATA_FEATURE_LOOK_AHEAD_ON;
		}
		break;
	case ATA_FEATURE_WRITE_CACHE_OFF:
		if (!is_disk) {
			ide_fail(channel, ATA_ERROR_ABRT);
			return;
		}
		drive->write_cache = false;
		begin_flush(channel); /* what is in it must not stay there */
		return;
	case ATA_FEATURE_KEEP_SETTINGS:
	case ATA_FEATURE_DEFAULT_SETTINGS: /* over a soft reset: we keep them */
		break;
	default:
		ide_fail(channel, ATA_ERROR_ABRT);
		return;
	}
	ide_succeed(channel);
}

static void set_multiple(struct ide_channel *channel)
{
	struct ide_drive *drive = ide_job_drive(channel);
	uint8_t count = drive->count[0];

	if (count > IDE_MULTIPLE_MAX || (count && !num_is_power_of_2(count))) {
		ide_fail(channel, ATA_ERROR_ABRT);
		return;
	}
	drive->multiple = count; /* 0: off */
	ide_succeed(channel);
}

/* 8.16 of ATA-5: the translation of CHS addresses. */
static void init_parameters(struct ide_channel *channel)
{
	struct ide_drive *drive = ide_job_drive(channel);

	if (drive->count[0] == 0) {
		ide_fail(channel, ATA_ERROR_ABRT);
		return;
	}
	drive->heads = (uint8_t)((channel->device & 0x0f) + 1);
	drive->track_sectors = drive->count[0];
	ide_succeed(channel);
}

/* Both drives look at themselves; drive 0, if there is one, tells. */
static void diagnose(struct ide_channel *channel)
{
	unsigned int teller = channel->drives[0].is_attached ? 0 : 1;

	channel->device = ATA_DEVICE_ALWAYS;
	channel->reset_units = 3;
	ide_finish_reset(channel);
	ide_raise(channel, teller);
}

static void identify(struct ide_channel *channel)
{
	struct ide_job *job = &channel->job;

	job->op = IDE_REPLY;
	job->drq_bytes = ATA_SECTOR_BYTES;
	ide_identify(channel, job->unit, channel->front);
	ide_pio_in(channel, ATA_SECTOR_BYTES);
}

static void seek(struct ide_channel *channel)
{
	struct ide_drive *drive = ide_job_drive(channel);

	if (address_of(channel, drive, false) >= drive->sectors) {
		ide_fail(channel, ATA_ERROR_IDNF);
	} else {
		ide_succeed(channel);
	}
}

static void check_power(struct ide_channel *channel)
{
	ide_job_drive(channel)->count[0] = 0xff; /* active */
	ide_succeed(channel);
}

/* 8.19: a drive that is no disk says what it is. */
static void abort_with_signature(struct ide_channel *channel)
{
	ide_put_signature(channel, channel->job.unit);
	ide_fail(channel, ATA_ERROR_ABRT);
}

/* ---- dispatch ------------------------------------------------------------------------------------------ */

#define DISK 1U
#define DVD  2U
#define BOTH (DISK | DVD)

static const struct ide_command {
	uint8_t code, code_last;
	uint8_t who;
	uint8_t flags;
	enum ide_op op; /* or: */
	void (*run)(struct ide_channel *channel);
} commands[] = {
	{ ATA_CMD_READ, ATA_CMD_READ_NO_RETRY, DISK, 0, IDE_READ, NULL },
	{ ATA_CMD_READ_EXT, ATA_CMD_READ_EXT, DISK, F_LBA48, IDE_READ, NULL },
	{ ATA_CMD_READ_DMA_EXT, ATA_CMD_READ_DMA_EXT, DISK, F_LBA48 | F_DMA, IDE_READ, NULL },
	{ ATA_CMD_READ_MULTIPLE_EXT, ATA_CMD_READ_MULTIPLE_EXT, DISK, F_LBA48 | F_MULTIPLE,
	  IDE_READ, NULL },
	{ ATA_CMD_READ_MULTIPLE, ATA_CMD_READ_MULTIPLE, DISK, F_MULTIPLE, IDE_READ, NULL },
	{ ATA_CMD_READ_DMA, ATA_CMD_READ_DMA_NO_RETRY, DISK, F_DMA, IDE_READ, NULL },
	{ ATA_CMD_WRITE, ATA_CMD_WRITE_NO_RETRY, DISK, 0, IDE_WRITE, NULL },
	{ ATA_CMD_WRITE_EXT, ATA_CMD_WRITE_EXT, DISK, F_LBA48, IDE_WRITE, NULL },
	{ ATA_CMD_WRITE_DMA_EXT, ATA_CMD_WRITE_DMA_EXT, DISK, F_LBA48 | F_DMA, IDE_WRITE, NULL },
	{ ATA_CMD_WRITE_DMA_FUA_EXT, ATA_CMD_WRITE_DMA_FUA_EXT, DISK, F_LBA48 | F_DMA | F_FUA,
	  IDE_WRITE, NULL },
	{ ATA_CMD_WRITE_MULTIPLE_EXT, ATA_CMD_WRITE_MULTIPLE_EXT, DISK, F_LBA48 | F_MULTIPLE,
	  IDE_WRITE, NULL },
	{ ATA_CMD_WRITE_MULTIPLE_FUA, ATA_CMD_WRITE_MULTIPLE_FUA, DISK,
	  F_LBA48 | F_MULTIPLE | F_FUA, IDE_WRITE, NULL },
	{ ATA_CMD_WRITE_MULTIPLE, ATA_CMD_WRITE_MULTIPLE, DISK, F_MULTIPLE, IDE_WRITE, NULL },
	{ ATA_CMD_WRITE_DMA, ATA_CMD_WRITE_DMA_NO_RETRY, DISK, F_DMA, IDE_WRITE, NULL },
	{ ATA_CMD_VERIFY, ATA_CMD_VERIFY_NO_RETRY, DISK, 0, IDE_VERIFY, NULL },
	{ ATA_CMD_VERIFY_EXT, ATA_CMD_VERIFY_EXT, DISK, F_LBA48, IDE_VERIFY, NULL },
	{ ATA_CMD_RECALIBRATE, ATA_CMD_RECALIBRATE + 15, DISK, 0, IDE_NONE, ide_succeed },
	{ ATA_CMD_SEEK, ATA_CMD_SEEK + 15, DISK, 0, IDE_NONE, seek },
	{ ATA_CMD_DIAGNOSTIC, ATA_CMD_DIAGNOSTIC, BOTH, 0, IDE_NONE, diagnose },
	{ ATA_CMD_INIT_PARAMETERS, ATA_CMD_INIT_PARAMETERS, DISK, 0, IDE_NONE, init_parameters },
	{ ATA_CMD_PACKET, ATA_CMD_PACKET, DVD, 0, IDE_NONE, ide_packet_begin },
	{ ATA_CMD_IDENTIFY_PACKET, ATA_CMD_IDENTIFY_PACKET, DVD, 0, IDE_NONE, identify },
	{ ATA_CMD_IDENTIFY, ATA_CMD_IDENTIFY, DISK, 0, IDE_NONE, identify },
	{ ATA_CMD_IDENTIFY, ATA_CMD_IDENTIFY, DVD, 0, IDE_NONE, abort_with_signature },
	{ ATA_CMD_READ, ATA_CMD_READ, DVD, 0, IDE_NONE, abort_with_signature },
	{ ATA_CMD_SET_MULTIPLE, ATA_CMD_SET_MULTIPLE, DISK, 0, IDE_NONE, set_multiple },
	{ ATA_CMD_STANDBY_NOW, ATA_CMD_IDLE, BOTH, 0, IDE_NONE, ide_succeed },
	{ ATA_CMD_CHECK_POWER, ATA_CMD_CHECK_POWER, BOTH, 0, IDE_NONE, check_power },
	{ ATA_CMD_SLEEP, ATA_CMD_SLEEP, BOTH, 0, IDE_NONE, ide_succeed },
	{ ATA_CMD_FLUSH, ATA_CMD_FLUSH, DISK, 0, IDE_NONE, begin_flush },
	{ ATA_CMD_FLUSH_EXT, ATA_CMD_FLUSH_EXT, DISK, 0, IDE_NONE, begin_flush },
	{ ATA_CMD_SET_FEATURES, ATA_CMD_SET_FEATURES, BOTH, 0, IDE_NONE, set_features },
};

static const struct ide_command *find(uint8_t code, enum ide_kind kind)
{
	unsigned int who = kind == IDE_DVD ? DVD : DISK;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (code >= commands[i].code && code <= commands[i].code_last &&
		    (commands[i].who & who)) {
			return &commands[i];
		}
	}
	return NULL;
}

void ide_command(struct ide_channel *channel, uint8_t code)
{
	struct ide_drive *drive = ide_selected(channel);
	const struct ide_command *command;

	if (code == ATA_CMD_DIAGNOSTIC && !drive->is_attached) {
		return;
	}
	command = find(code, drive->kind);
	channel->job = (struct ide_job){ .unit = (uint8_t)(drive - channel->drives) };
	drive->error = 0;
	if (!command) {
		channel->stats.unknown++;
		ide_fail(channel, ATA_ERROR_ABRT);
	} else if (command->run) {
		command->run(channel);
	} else {
		begin_transfer(channel, command->op, command->flags);
	}
}

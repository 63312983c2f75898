/* SPDX-License-Identifier: MIT */
/*
 * The loop's half of a channel: looks what its command needs next (ide_next), asks the host for it without
 * the lock, and takes the answer over. A piece that fails is tried again sector by sector, so that all before
 * the bad one arrives and the guest is told which it is.
 */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "block/iovec.h"
#include "chipset/ide/ide_internal.h"

enum ide_next { IDE_NOTHING, IDE_AGAIN, IDE_BLOCK, IDE_SCSI };

static block_done_fn on_block;

/* ---- plans: with the lock held --------------------------------------------------------------------------- */

static enum ide_next plan_block(struct ide_channel *channel, enum block_op op, enum ide_where where,
				uint32_t sectors)
{
	struct ide_io *io = &channel->io;

	io->where = where;
	io->count = sectors;
	io->block = (struct block_request){
		.op = op,
		.fua = op == BLOCK_WRITE && channel->job.fua,
		.offset_bytes = channel->job.lba * ATA_SECTOR_BYTES,
		.length_bytes = (uint64_t)sectors * ATA_SECTOR_BYTES,
		.iov = io->iov,
		.iov_count = io->iov_count,
		.done = on_block,
	};
	return IDE_BLOCK;
}

static void point(struct ide_channel *channel, uint8_t *bytes, uint32_t length)
{
	channel->io.iov[0] = (struct iovec){ bytes, length };
	channel->io.iov_count = 1;
}

static enum ide_next plan_packet(struct ide_channel *channel)
{
	/* One byte is left for what reply() puts there. */
	point(channel, channel->front, IDE_BUFFER_BYTES - 2);
	channel->io.where = IDE_TO_FRONT;
	ide_packet_plan(channel, IDE_BUFFER_BYTES - 2);
	return IDE_SCSI;
}

/* The next buffer's worth, or the next piece of it. */
static enum ide_next plan_fill(struct ide_channel *channel)
{
	struct ide_job *job = &channel->job;
	uint32_t sectors;

	if (job->op == IDE_PACKET_READ) {
		uint32_t blocks = (uint32_t)num_min(job->left, IDE_BUFFER_BLOCKS);

		point(channel, channel->back, blocks * SCSI_DVD_BLOCK_BYTES);
		channel->io.where = IDE_TO_BACK;
		ide_packet_plan(channel, blocks * SCSI_DVD_BLOCK_BYTES);
		return IDE_SCSI;
	}
	if (channel->back_bytes == 0) {
		channel->back_target =
			(uint32_t)num_min(job->left, IDE_BUFFER_SECTORS) * ATA_SECTOR_BYTES;
	}
	sectors = (channel->back_target - channel->back_bytes) / ATA_SECTOR_BYTES;
	sectors = (uint32_t)num_min(sectors, job->piece_max);
	point(channel, channel->back + channel->back_bytes, sectors * ATA_SECTOR_BYTES);
	return plan_block(channel, BLOCK_READ, IDE_TO_BACK, sectors);
}

static enum ide_next plan_write(struct ide_channel *channel)
{
	uint32_t sectors = (channel->front_bytes - channel->front_done) / ATA_SECTOR_BYTES;

	sectors = (uint32_t)num_min(sectors, channel->job.piece_max);
	point(channel, channel->front + channel->front_done, sectors * ATA_SECTOR_BYTES);
	return plan_block(channel, BLOCK_WRITE, IDE_FROM_FRONT, sectors);
}

/* An answer of a unit, into guest memory: no request of the host's. */
static enum ide_next copy_reply(struct ide_channel *channel)
{
	uint32_t bytes = ide_bm_gather(channel, channel->front_bytes - channel->front_done, 2);

	if (bytes == 0) {
		return IDE_NOTHING;
	}
	iovec_scatter(channel->io.iov, channel->io.iov_count, 0,
		      channel->front + channel->front_done, bytes);
	channel->front_done += bytes;
	channel->stats.dma_bytes += bytes;
	if (channel->front_done == channel->front_bytes) {
		ide_packet_succeed(channel);
		return IDE_NOTHING;
	}
	ide_kick(channel); /* a table of very small pieces: in turns */
	return IDE_NOTHING;
}

static enum ide_next plan_dma(struct ide_channel *channel)
{
	struct ide_job *job = &channel->job;
	bool is_packet = job->op == IDE_PACKET_READ;
	uint32_t unit = is_packet ? SCSI_DVD_BLOCK_BYTES : ATA_SECTOR_BYTES;
	uint32_t most = (is_packet ? IDE_PACKET_BYTES_MAX : IDE_DMA_BYTES_MAX) / unit;
	uint32_t bytes;

	if (!ide_bm_runs(channel)) {
		return IDE_NOTHING;
	}
	if (job->op == IDE_REPLY) {
		return copy_reply(channel);
	}
	most = (uint32_t)num_min(most, job->left);
	most = is_packet ? most : (uint32_t)num_min(most, job->piece_max);
	bytes = ide_bm_gather(channel, most * unit, unit);
	if (bytes == 0) {
		return IDE_NOTHING;
	}
	if (is_packet) {
		channel->io.where = IDE_GUEST;
		ide_packet_plan(channel, bytes);
		return IDE_SCSI;
	}
	return plan_block(channel, job->op == IDE_WRITE ? BLOCK_WRITE : BLOCK_READ, IDE_GUEST,
			  bytes / unit);
}

static enum ide_next plan_busy(struct ide_channel *channel)
{
	switch (channel->job.op) {
	case IDE_READ:
	case IDE_VERIFY:
	case IDE_PACKET_READ:
		return plan_fill(channel);
	case IDE_WRITE:
		return plan_write(channel);
	case IDE_PACKET:
		return plan_packet(channel);
	case IDE_FLUSH:
		if (block_info(ide_job_drive(channel)->block)->read_only) {
			ide_succeed(channel); /* nothing can be in its cache */
			return IDE_NOTHING;
		}
		channel->io.iov_count = 0;
		channel->job.lba = 0;
		return plan_block(channel, BLOCK_FLUSH, IDE_NOWHERE, 0);
	case IDE_NONE:
	case IDE_REPLY:
	default:
		return IDE_NOTHING;
	}
}

static enum ide_next plan(struct ide_channel *channel)
{
	const struct ide_job *job = &channel->job;

	switch (channel->phase) {
	case IDE_BUSY:
		return plan_busy(channel);
	case IDE_DMA:
		return plan_dma(channel);
	case IDE_PIO_IN:
		/* Not a packet's: a unit attention is told once, and must be told now. */
		if (job->op == IDE_READ && job->left > 0 && !ide_back_is_ready(channel) &&
		    !channel->is_ahead_stopped) {
			return plan_fill(channel);
		}
		return IDE_NOTHING;
	case IDE_IDLE:
	case IDE_CDB:
	case IDE_PIO_OUT:
	default:
		return IDE_NOTHING;
	}
}

/* ---- drives that go ----------------------------------------------------------------------------------------- */

static bool waits_for_guest(const struct ide_channel *channel)
{
	return channel->phase != IDE_BUSY && (channel->phase != IDE_DMA || !ide_bm_runs(channel));
}

static void settle_detach(struct ide_channel *channel)
{
	for (unsigned int unit = 0; unit < IDE_UNITS; unit++) {
		struct ide_drive *drive = &channel->drives[unit];
		bool is_its = channel->phase != IDE_IDLE && channel->job.unit == unit;

		if (!drive->detached || (is_its && !waits_for_guest(channel))) {
			continue;
		}
		if (is_its) {
			ide_cancel(channel);
		}
		drive->is_attached = false;
		drive->irq = false;
		drive->status = 0;
		loop_post(channel->ide->loop, drive->detached);
		drive->detached = NULL;
		ide_update_irq(channel);
	}
}

/* ---- rounds ---------------------------------------------------------------------------------------------------- */

static void settle_pause(struct ide *ide)
{
	for (unsigned int i = 0; i < IDE_CHANNELS; i++) {
		if (ide->channels[i].in_flight) {
			return;
		}
	}
	if (ide->paused) {
		loop_post(ide->loop, ide->paused);
		ide->paused = NULL;
	}
}

static enum ide_next next(struct ide_channel *channel)
{
	enum ide_next what;

	if (channel->in_flight) {
		return IDE_NOTHING;
	}
	if (channel->ide->is_paused) {
		settle_pause(channel->ide);
		return IDE_NOTHING;
	}
	what = plan(channel);
	if (what == IDE_NOTHING) {
		settle_detach(channel);
	} else {
		channel->in_flight = true; /* I1 */
		channel->io.drive = ide_job_drive(channel);
		channel->stats.requests++;
	}
	return what;
}

static void take_scsi(struct ide_channel *channel, bool has_unit);

void ide_advance(struct ide_channel *channel)
{
	for (;;) {
		enum ide_next what;
		enum scsi_submit how;

		chipset_lock(channel->ide->chipset);
		what = next(channel);
		chipset_unlock(channel->ide->chipset);
		if (what == IDE_BLOCK) {
			block_submit(channel->io.drive->block, &channel->io.block);
		}
		if (what != IDE_SCSI) {
			return;
		}
		how = scsi_disk_submit(channel->io.drive->unit, &channel->io.scsi);
		if (how == SCSI_PENDING) {
			return;
		}
		take_scsi(channel, how == SCSI_DONE);
	}
}

void ide_on_work(struct loop_work *work)
{
	ide_advance(container_of(work, struct ide_channel, work));
}

/* ---- completions: with the lock held ----------------------------------------------------------------------------- */

static uint8_t error_of(enum ide_op op, int result)
{
	if (result == -EINVAL) {
		return ATA_ERROR_IDNF; /* the disk has become smaller */
	}
	return result == -EIO && op != IDE_WRITE && op != IDE_FLUSH ? ATA_ERROR_UNC
								    : ATA_ERROR_ABRT;
}

/* What was read before the bad sector is the guest's, in whole blocks of DRQ. */
static void fill_failed(struct ide_channel *channel, uint8_t error)
{
	struct ide_job *job = &channel->job;
	uint32_t over = channel->back_bytes % job->drq_bytes;

	if (job->op == IDE_READ && (channel->phase == IDE_PIO_IN || channel->back_bytes > over)) {
		job->lba -= over / ATA_SECTOR_BYTES;
		job->left += over / ATA_SECTOR_BYTES;
		channel->back_bytes -= over;
		channel->back_target = channel->back_bytes;
		if (channel->phase == IDE_BUSY) {
			ide_pio_promote(channel);
		}
		channel->is_ahead_stopped = true; /* told when the guest has read that far */
		return;
	}
	ide_fail_at(channel, error, job->lba);
}

static void piece_failed(struct ide_channel *channel, int result)
{
	struct ide_job *job = &channel->job;

	if (result == -EIO && channel->io.count > 1) {
		job->piece_max = 1;
		if (channel->io.where == IDE_GUEST) {
			channel->prd = channel->io.before;
		}
		return;
	}
	if (channel->io.where == IDE_TO_BACK) {
		fill_failed(channel, error_of(job->op, result));
	} else {
		ide_fail_at(channel, error_of(job->op, result), job->lba);
	}
}

static void piece_done(struct ide_channel *channel)
{
	struct ide_job *job = &channel->job;
	uint32_t bytes = channel->io.count * ATA_SECTOR_BYTES;

	job->lba += channel->io.count;
	job->left -= channel->io.count;
	switch (channel->io.where) {
	case IDE_TO_BACK:
		if (job->op == IDE_READ) {
			channel->back_bytes += bytes;
			if (channel->phase == IDE_BUSY && ide_back_is_ready(channel)) {
				ide_pio_promote(channel);
			}
		} else if (job->left == 0) {
			ide_succeed(channel);
		}
		break;
	case IDE_FROM_FRONT:
		channel->front_done += bytes;
		if (channel->front_done == channel->front_bytes && job->left > 0) {
			ide_pio_out(channel, false);
		} else if (channel->front_done == channel->front_bytes) {
			ide_succeed(channel);
		}
		break;
	case IDE_GUEST:
		channel->stats.dma_bytes += bytes;
		if (job->left == 0) {
			ide_succeed(channel);
		}
		break;
	case IDE_NOWHERE:
	case IDE_TO_FRONT:
	default:
		ide_succeed(channel);
		break;
	}
}

/* The request is back; whether anybody waits for it. */
static bool land(struct ide_channel *channel)
{
	bool is_wanted = !channel->is_cancelled;

	channel->in_flight = channel->is_cancelled = false;
	if (channel->is_reset_due) {
		channel->is_reset_due = false;
		if (!(channel->control & ATA_CONTROL_SRST)) {
			ide_finish_reset(channel);
		}
	}
	return is_wanted;
}

static void on_block(struct block_request *request, int result)
{
	struct ide_channel *channel = container_of(request, struct ide_channel, io.block);

	chipset_lock(channel->ide->chipset);
	if (land(channel)) {
		if (result) {
			piece_failed(channel, result);
		} else {
			piece_done(channel);
		}
	}
	chipset_unlock(channel->ide->chipset);
	ide_advance(channel);
}

static void take_scsi(struct ide_channel *channel, bool has_unit)
{
	chipset_lock(channel->ide->chipset);
	if (land(channel)) {
		ide_packet_done(channel, has_unit);
	}
	chipset_unlock(channel->ide->chipset);
}

void ide_on_scsi(struct scsi_request *request)
{
	struct ide_channel *channel = container_of(request, struct ide_channel, io.scsi);

	take_scsi(channel, true);
	ide_advance(channel);
}

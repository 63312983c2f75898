/* SPDX-License-Identifier: MIT */
/*
 * ATAPI: a PACKET command carries the CDB of a command for the SCSI unit. Commands that read the medium are
 * executed in pieces, straight to where the data goes; the answer of any other is small and passes through
 * the front buffer. A failed command's sense is kept for REQUEST SENSE (SFF-8020i 5, ATA/ATAPI-6 8.23, 9.10).
 */
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "chipset/ide/ide_internal.h"

#define BYTE_LIMIT_MAX 0xfffeU

void ide_packet_reason(struct ide_channel *channel, uint8_t reason, uint32_t bytes)
{
	struct ide_drive *drive = ide_job_drive(channel);

	drive->count[0] = reason;
	drive->lba_mid[0] = (uint8_t)bytes;
	drive->lba_high[0] = (uint8_t)(bytes >> 8);
}

void ide_packet_succeed(struct ide_channel *channel)
{
	ide_job_drive(channel)->count[0] = ATAPI_REASON_CD | ATAPI_REASON_IO;
	ide_succeed(channel);
}

static void fail(struct ide_channel *channel, const struct scsi_request *request)
{
	struct ide_drive *drive = ide_job_drive(channel);
	uint8_t key = SCSI_KEY_HARDWARE_ERROR;

	if (request->status == SCSI_STATUS_CHECK_CONDITION && request->sense_bytes > 2) {
		memcpy(drive->sense, request->sense, sizeof(drive->sense));
		drive->has_sense = true;
		key = request->sense[2] & 0x0f;
	}
	drive->count[0] = ATAPI_REASON_CD | ATAPI_REASON_IO;
	ide_fail(channel, (uint8_t)(key << 4 | ATA_ERROR_ABRT));
}

/* ---- from the guest ------------------------------------------------------------------------------------ */

void ide_packet_begin(struct ide_channel *channel)
{
	struct ide_drive *drive = ide_job_drive(channel);
	struct ide_job *job = &channel->job;
	uint32_t limit = drive->lba_mid[0] | (uint32_t)drive->lba_high[0] << 8;

	/* 9.10: blocks are even but for the last one; what says nothing leaves it to us. */
	limit = (uint32_t)num_min(limit, BYTE_LIMIT_MAX) & ~1U;
	job->op = IDE_PACKET;
	job->is_dma = drive->feature[0] & ATAPI_FEATURE_DMA;
	job->drq_bytes = limit ? limit : BYTE_LIMIT_MAX;
	channel->front_at = 0;
	drive->count[0] = ATAPI_REASON_CD;
	ide_enter(channel, IDE_CDB);
}

/* So many bytes in the front buffer are the answer. */
static void reply(struct ide_channel *channel, uint32_t bytes)
{
	if (bytes == 0) {
		ide_packet_succeed(channel);
	} else if (channel->job.is_dma) {
		channel->job.op = IDE_REPLY;
		channel->front[bytes] = 0; /* words move: the odd byte's neighbour */
		channel->front_bytes = (bytes + 1) & ~1U;
		channel->front_done = 0;
		ide_enter(channel, IDE_DMA);
		ide_kick(channel);
	} else {
		ide_pio_in(channel, bytes);
	}
}

/* What the medium is to be read for: the address and how many blocks; false: not such a command. */
static bool reads_medium(const uint8_t *cdb, uint32_t *ret_lba, uint32_t *ret_blocks)
{
	switch (cdb[0]) {
	case SCSI_OP_READ_10:
		*ret_blocks = bytes_be16(&cdb[7]);
		break;
	case SCSI_OP_READ_12:
		*ret_blocks = bytes_be32(&cdb[6]);
		break;
	case SCSI_OP_READ_CD:
		/* Without user data nothing is read; the unit says whether it likes the rest. */
		*ret_blocks = cdb[9] == 0x10 ? bytes_be32(&cdb[5]) & 0xffffff : 0;
		break;
	default:
		return false;
	}
	*ret_lba = bytes_be32(&cdb[2]);
	return *ret_blocks > 0;
}

void ide_packet_cdb(struct ide_channel *channel)
{
	struct ide_drive *drive = ide_job_drive(channel);
	struct ide_job *job = &channel->job;
	uint32_t lba, blocks;

	if (job->cdb[0] == SCSI_OP_REQUEST_SENSE && drive->has_sense) {
		uint32_t bytes = (uint32_t)num_min(job->cdb[4], sizeof(drive->sense));

		memcpy(channel->front, drive->sense, bytes);
		drive->has_sense = false;
		reply(channel, bytes);
		return;
	}
	drive->has_sense = false;
	if (reads_medium(job->cdb, &lba, &blocks)) {
		job->op = IDE_PACKET_READ;
		job->lba = lba;
		job->left = blocks;
	}
	ide_enter(channel, job->op == IDE_PACKET_READ && job->is_dma ? IDE_DMA : IDE_BUSY);
	ide_kick(channel);
}

/* ---- the loop --------------------------------------------------------------------------------------------- */

static void put_range(uint8_t *cdb, uint32_t lba, uint32_t blocks)
{
	bytes_put_be32(&cdb[2], lba);
	switch (cdb[0]) {
	case SCSI_OP_READ_10:
		bytes_put_be16(&cdb[7], (uint16_t)blocks);
		break;
	case SCSI_OP_READ_12:
		bytes_put_be32(&cdb[6], blocks);
		break;
	default:
		cdb[6] = (uint8_t)(blocks >> 16);
		bytes_put_be16(&cdb[7], (uint16_t)blocks);
		break;
	}
}

void ide_packet_plan(struct ide_channel *channel, uint32_t bytes)
{
	struct scsi_request *request = &channel->io.scsi;
	struct ide_job *job = &channel->job;

	memcpy(request->cdb, job->cdb, sizeof(request->cdb));
	request->cdb_bytes = ATAPI_CDB_BYTES;
	request->queue = ide_job_drive(channel)->queue;
	request->iov = channel->io.iov;
	request->iov_count = channel->io.iov_count;
	request->data_bytes = bytes;
	request->done = ide_on_scsi;
	channel->io.count = 0;
	if (job->op == IDE_PACKET_READ) {
		channel->io.count = bytes / SCSI_DVD_BLOCK_BYTES;
		put_range(request->cdb, (uint32_t)job->lba, channel->io.count);
	}
}

static void piece_is_read(struct ide_channel *channel)
{
	struct ide_job *job = &channel->job;

	job->lba += channel->io.count;
	job->left -= channel->io.count;
	if (channel->io.where == IDE_TO_BACK) {
		channel->back_bytes = channel->io.count * SCSI_DVD_BLOCK_BYTES;
		channel->back_target = channel->back_bytes;
		ide_pio_promote(channel);
		return;
	}
	channel->stats.dma_bytes += (uint64_t)channel->io.count * SCSI_DVD_BLOCK_BYTES;
	if (job->left == 0) {
		ide_packet_succeed(channel);
	}
}

void ide_packet_done(struct ide_channel *channel, bool has_unit)
{
	struct scsi_request *request = &channel->io.scsi;

	if (!has_unit) {
		scsi_fail(request, SCSI_KEY_HARDWARE_ERROR, SCSI_ASC_LUN_NOT_SUPPORTED);
	}
	if (request->status != SCSI_STATUS_GOOD) {
		fail(channel, request);
	} else if (channel->job.op == IDE_PACKET_READ) {
		piece_is_read(channel);
	} else {
		reply(channel, request->transferred_bytes);
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * The data port. A command's data goes through the front buffer in blocks, one interrupt each: while the
 * guest has it, the loop reads the next buffer's worth into the back one; what is written collects in the
 * front one until it is full (ATA/ATAPI-6: 9.7, 9.8; for packets 9.10).
 */
#include <string.h>

#include "base/num.h"
#include "chipset/ide/ide_internal.h"

static bool is_packet(const struct ide_job *job)
{
	return job->op == IDE_PACKET || job->op == IDE_PACKET_READ;
}

static void begin_block(struct ide_channel *channel)
{
	uint32_t bytes =
		(uint32_t)num_min(channel->job.drq_bytes, channel->front_bytes - channel->front_at);

	channel->drq_end = channel->front_at + bytes;
	if (is_packet(&channel->job)) {
		ide_packet_reason(channel, ATAPI_REASON_IO, bytes);
	}
}

void ide_pio_in(struct ide_channel *channel, uint32_t bytes)
{
	channel->front_bytes = bytes;
	channel->front_at = 0;
	begin_block(channel);
	ide_enter(channel, IDE_PIO_IN);
	ide_raise(channel, channel->job.unit);
}

void ide_pio_promote(struct ide_channel *channel)
{
	uint8_t *front = channel->back;
	uint32_t bytes = channel->back_bytes;

	channel->back = channel->front;
	channel->front = front;
	channel->back_bytes = channel->back_target = 0;
	ide_pio_in(channel, bytes);
	if (channel->job.left > 0) {
		ide_kick(channel); /* read ahead */
	}
}

void ide_pio_out(struct ide_channel *channel, bool is_first)
{
	channel->front_bytes =
		(uint32_t)num_min(channel->job.left, IDE_BUFFER_SECTORS) * ATA_SECTOR_BYTES;
	channel->front_at = channel->front_done = 0;
	begin_block(channel);
	ide_enter(channel, IDE_PIO_OUT);
	if (!is_first) {
		ide_raise(channel, channel->job.unit); /* 9.8: none for the first block */
	}
}

/* The guest has read a block. */
static void block_is_read(struct ide_channel *channel)
{
	if (channel->front_at < channel->front_bytes) {
		begin_block(channel);
		ide_raise(channel, channel->job.unit);
	} else if (ide_back_is_ready(channel)) {
		ide_pio_promote(channel);
	} else if (channel->job.left > 0 && channel->job.op != IDE_REPLY) {
		ide_enter(channel, IDE_BUSY); /* the loop is about it */
		channel->is_ahead_stopped = false;
		ide_kick(channel);
	} else if (is_packet(&channel->job)) {
		ide_packet_succeed(channel);
	} else {
		/* 9.7: the end of a PIO read is no interrupt. */
		uint8_t unit = channel->job.unit;

		ide_cancel(channel);
		channel->job.unit = unit;
		ide_enter(channel, IDE_IDLE);
	}
}

uint32_t ide_data_read(struct ide_channel *channel, unsigned int bytes)
{
	uint32_t value = 0;
	uint32_t n;

	if (channel->phase != IDE_PIO_IN || ide_selected(channel) != ide_job_drive(channel)) {
		return ~0U;
	}
	n = (uint32_t)num_min(bytes, channel->drq_end - channel->front_at);
	memcpy(&value, channel->front + channel->front_at, n);
	channel->front_at += n;
	channel->stats.pio_bytes += n;
	if (channel->front_at == channel->drq_end) {
		block_is_read(channel);
	}
	return value;
}

static void cdb_write(struct ide_channel *channel, uint32_t value, unsigned int bytes)
{
	uint32_t n = (uint32_t)num_min(bytes, ATAPI_CDB_BYTES - channel->front_at);

	memcpy(channel->job.cdb + channel->front_at, &value, n);
	channel->front_at += n;
	if (channel->front_at == ATAPI_CDB_BYTES) {
		channel->front_at = 0;
		ide_packet_cdb(channel);
	}
}

void ide_data_write(struct ide_channel *channel, uint32_t value, unsigned int bytes)
{
	uint32_t n;

	if (ide_selected(channel) != ide_job_drive(channel)) {
		return;
	}
	if (channel->phase == IDE_CDB) {
		cdb_write(channel, value, bytes);
		return;
	}
	if (channel->phase != IDE_PIO_OUT) {
		return;
	}
	n = (uint32_t)num_min(bytes, channel->drq_end - channel->front_at);
	memcpy(channel->front + channel->front_at, &value, n);
	channel->front_at += n;
	channel->stats.pio_bytes += n;
	if (channel->front_at < channel->drq_end) {
		return;
	}
	if (channel->front_at < channel->front_bytes) {
		begin_block(channel);
		ide_raise(channel, channel->job.unit);
	} else {
		ide_enter(channel, IDE_BUSY);
		ide_kick(channel);
	}
}

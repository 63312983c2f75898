/* SPDX-License-Identifier: MIT */
/*
 * The bus master: its registers, and its way through the table of physical region descriptors. Each is read
 * once. The direction is the command's; a table that says too little leaves the drive waiting, as in the chip
 * (Bus Master IDE 1.0: 2, 3; PIIX4: 5.3).
 */
#include "base/bytes.h"
#include "base/num.h"
#include "chipset/ide/ide_internal.h"

#define TABLE_WINDOW 0xffffU /* a table does not cross 64 KiB: its address wraps */

/* ---- registers ------------------------------------------------------------------------------------------ */

static struct ide_channel *channel_at(struct ide *ide, uint64_t offset)
{
	return &ide->channels[offset / BM_CHANNEL_BYTES % IDE_CHANNELS];
}

static uint8_t read_byte(const struct ide_channel *channel, unsigned int reg)
{
	/* What is at the host still moves, whatever the guest has done to the start bit. */
	bool moves = channel->bm_active || (channel->in_flight && channel->io.where == IDE_GUEST);

	switch (reg) {
	case BM_REG_COMMAND:
		return channel->bm_command;
	case BM_REG_STATUS:
		return channel->bm_status | (moves ? BM_STATUS_ACTIVE : 0);
	case BM_REG_TABLE:
	case BM_REG_TABLE + 1:
	case BM_REG_TABLE + 2:
	case BM_REG_TABLE + 3:
		return (uint8_t)(channel->bm_table >> 8 * (reg - BM_REG_TABLE));
	default:
		return 0;
	}
}

uint64_t ide_bm_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes; i++) {
		value |= (uint64_t)read_byte(channel_at(ctx, offset + i),
					     (unsigned int)(offset + i) % BM_CHANNEL_BYTES)
			 << 8 * i;
	}
	return value;
}

static void write_bm_command(struct ide_channel *channel, uint8_t value)
{
	bool was_started = channel->bm_command & BM_COMMAND_START;

	channel->bm_command = value & (BM_COMMAND_START | BM_COMMAND_TO_MEMORY);
	if (!(value & BM_COMMAND_START)) {
		channel->bm_active = false;
	} else if (!was_started) {
		channel->bm_active = true;
		channel->prd = (struct ide_prd){ .table = channel->bm_table };
		if (channel->phase == IDE_DMA) {
			ide_kick(channel);
		}
	}
}

static void write_byte(struct ide_channel *channel, unsigned int reg, uint8_t value)
{
	unsigned int shift;

	switch (reg) {
	case BM_REG_COMMAND:
		write_bm_command(channel, value);
		break;
	case BM_REG_STATUS:
		channel->bm_status &= (uint8_t) ~(value & (BM_STATUS_ERROR | BM_STATUS_IRQ));
		channel->bm_status = (uint8_t)((channel->bm_status & ~BM_STATUS_CAPABLE) |
					       (value & BM_STATUS_CAPABLE));
		break;
	case BM_REG_TABLE:
	case BM_REG_TABLE + 1:
	case BM_REG_TABLE + 2:
	case BM_REG_TABLE + 3:
		shift = 8 * (reg - BM_REG_TABLE);
		channel->bm_table &= ~(0xffU << shift);
		channel->bm_table |= (uint32_t)value << shift;
		channel->bm_table &= ~3U;
		break;
	default:
		break;
	}
}

void ide_bm_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	for (unsigned int i = 0; i < bytes; i++) {
		write_byte(channel_at(ctx, offset + i),
			   (unsigned int)(offset + i) % BM_CHANNEL_BYTES,
			   (uint8_t)(value >> 8 * i));
	}
}

bool ide_bm_runs(const struct ide_channel *channel)
{
	return channel->bm_active && pci_is_master(&channel->ide->function);
}

/* ---- the table ------------------------------------------------------------------------------------------ */

/* The next descriptor; false: there is none, or it is out of the world. */
static bool next_descriptor(const struct ide *ide, struct ide_prd *prd)
{
	uint8_t raw[BM_PRD_BYTES];

	if (prd->is_last || prd->is_bad) {
		return false;
	}
	if (mem_read(ide->mem, prd->table, raw, sizeof(raw))) {
		prd->is_bad = true;
		return false;
	}
	prd->table = (prd->table & ~TABLE_WINDOW) | ((prd->table + BM_PRD_BYTES) & TABLE_WINDOW);
	prd->gpa = bytes_le32(raw) & ~1U;
	prd->left = bytes_le16(&raw[4]) & ~1U;
	prd->left = prd->left ? prd->left : 65536;
	prd->is_last = bytes_le16(&raw[6]) & BM_PRD_END;
	return true;
}

static void put_piece(struct ide_io *io, void *hva, uint32_t bytes)
{
	struct iovec *last = io->iov_count ? &io->iov[io->iov_count - 1] : NULL;

	if (last && (uint8_t *)last->iov_base + last->iov_len == hva) {
		last->iov_len += bytes; /* neighbours in guest memory: one piece */
	} else {
		io->iov[io->iov_count++] = (struct iovec){ hva, bytes };
	}
}

/* Where a whole number of units ended. */
struct mark {
	struct ide_prd prd;
	uint32_t bytes;
	int iov_count;
	size_t last_bytes;
};

/* Sets the mark when the piece that was put last has filled a unit. */
static void set_mark(const struct ide_io *io, const struct ide_prd *prd, uint32_t total,
		     uint32_t unit, struct mark *mark)
{
	uint32_t whole = total - total % unit, over = total - whole;

	if (whole > mark->bytes) {
		mark->prd = *prd;
		mark->prd.gpa -= over;
		mark->prd.left += over;
		mark->bytes = whole;
		mark->iov_count = io->iov_count;
		mark->last_bytes = io->iov[io->iov_count - 1].iov_len - over;
	}
}

uint32_t ide_bm_gather(struct ide_channel *channel, uint32_t bytes, uint32_t unit)
{
	struct ide *ide = channel->ide;
	struct ide_io *io = &channel->io;
	struct ide_prd prd = channel->prd;
	struct mark mark = { .prd = prd };
	uint32_t total = 0;

	io->before = prd;
	io->iov_count = 0;
	for (unsigned int n = 0; n < IDE_PRDS_MAX && total < bytes; n++) {
		uint32_t piece;
		void *hva;

		if (prd.left == 0 && !next_descriptor(ide, &prd)) {
			break;
		}
		piece = (uint32_t)num_min(prd.left, bytes - total);
		hva = mem_hva(ide->mem, prd.gpa, piece);
		if (!hva) {
			prd.is_bad = true;
			break;
		}
		put_piece(io, hva, piece);
		prd.gpa += piece;
		prd.left -= piece;
		total += piece;
		set_mark(io, &prd, total, unit, &mark);
	}
	if (mark.bytes == 0) {
		/* Too short or astray: a part of a sector is not moved. */
		channel->prd = prd;
		channel->bm_active = false;
		if (prd.is_bad) {
			channel->bm_status |= BM_STATUS_ERROR;
			channel->stats.prd_errors++;
			ide->function.config[PCI_STATUS + 1] |= PCI_STATUS_MASTER_ABORT >> 8;
		}
		return 0;
	}
	channel->prd = mark.prd;
	io->iov_count = mark.iov_count;
	io->iov[io->iov_count - 1].iov_len = mark.last_bytes;
	return mark.bytes;
}

void ide_bm_settle(struct ide_channel *channel)
{
	if (channel->prd.is_last && channel->prd.left == 0) {
		channel->bm_active = false;
	}
}

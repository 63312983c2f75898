/* SPDX-License-Identifier: MIT */
/*
 * What the files of the IDE function share. ide.c: life; ide_pci.c: configuration space, ports;
 * ide_registers.c: the task file, resets, the interrupt; ide_command.c: ATA commands; ide_identify.c: what
 * drives say of themselves; ide_pio.c: the data port; ide_dma.c: the bus master; ide_packet.c: ATAPI;
 * ide_io.c: the loop's half; ide_state.c: saved form.
 *
 *              command, no data                     the loop: done, failed
 *    ┌──────────────────────────────┐  ┌──────────────────────────────────────────────┐
 *    ▼        command               │  ▼              data is there                   │
 *   IDLE ───────────────────────────┴► BUSY ───────────────────────► PIO_IN ──┐       │
 *    │  └── PACKET ──► CDB ── 12 bytes ─┘ ▲ ▲ ◄── the buffer is empty ────────┘       │
 *    │                                    │ └──── the buffer is full ──── PIO_OUT ◄───┤
 *    └── DMA command ──► DMA ◄────────────┘ (ATAPI)                                   │
 *                         └── the bus master runs: piece by piece ────────────────────┘
 *
 * Invariants:
 *   I1  in_flight: one request of this channel is at the host. Only the loop sets and clears it.
 *   I2  While in_flight, the loop's buffer (the back one; the front one while BUSY) and guest pages of the
 *       request are the host's; a command that is given up meanwhile leaves BSY until it is back.
 *   I3  DRQ is set exactly in CDB, PIO_IN, PIO_OUT, and there the guest has bytes to move.
 *
 *   thread  everything in struct ide_channel under the chipset lock, but for `io`, which is the loop's
 */
#pragma once

#include "base/counter.h"
#include "chipset/ide/ide.h"
#include "proto/ata.h"

#define IDE_BUFFER_BYTES   65536U
#define IDE_BUFFER_SECTORS (IDE_BUFFER_BYTES / ATA_SECTOR_BYTES)
#define IDE_BUFFER_BLOCKS  (IDE_BUFFER_BYTES / SCSI_DVD_BLOCK_BYTES)
#define IDE_DMA_BYTES_MAX  (2U << 20) /* in one request to the host */
#define IDE_MULTIPLE_MAX   16U
#define IDE_PRDS_MAX       1024U /* looked at in one go */

enum ide_phase { IDE_IDLE, IDE_BUSY, IDE_CDB, IDE_PIO_IN, IDE_PIO_OUT, IDE_DMA };
#define IDE_PHASES (IDE_DMA + 1)

enum ide_op {
	IDE_NONE,
	IDE_READ,
	IDE_WRITE,
	IDE_VERIFY, /* a read whose data goes nowhere */
	IDE_FLUSH,
	IDE_PACKET,      /* any command of a unit, its answer in the front buffer */
	IDE_PACKET_READ, /* one that reads the medium, in pieces */
	IDE_REPLY,       /* what is in the front buffer, and no more */
};
#define IDE_OPS (IDE_REPLY + 1)

/* The command that a channel does. */
struct ide_job {
	enum ide_op op;
	uint8_t unit;
	bool is_dma, is_lba48, fua;
	uint64_t lba;       /* the next sector, or block, for the host */
	uint32_t left;      /* sectors, or blocks, that the host has not moved */
	uint32_t piece_max; /* sectors in one request: 1 after an error, to find where it is */
	uint32_t drq_bytes; /* the guest moves so many for one interrupt */
	uint8_t cdb[SCSI_CDB_BYTES_MAX];
};

/* The bus master's way through its table. */
struct ide_prd {
	uint32_t table;     /* the next descriptor */
	uint32_t gpa, left; /* of the present one */
	bool is_last, is_bad;
};

/* One drive's half of the registers, and what was set in it. */
struct ide_drive {
	enum ide_kind kind;
	struct block *block;
	struct scsi_disk *unit;
	uint8_t queue;
	bool is_attached;
	struct loop_work *detached; /* posted when it is; not NULL: detaching */
	char serial[IDE_SERIAL_BYTES + 1], model[IDE_MODEL_BYTES + 1];
	bool has_write_cache; /* at power on */
	uint64_t sectors;

	/* [0]: what was written last; [1]: what was before it (LBA48) */
	uint8_t feature[2], count[2], lba_low[2], lba_mid[2], lba_high[2];
	uint8_t status, error;
	bool irq; /* INTRQ, were it selected */

	uint8_t multiple, mode;
	uint8_t heads, track_sectors; /* the translation that CHS addresses go by */
	bool write_cache, look_ahead;
	uint8_t sense[SCSI_SENSE_BYTES]; /* an ATAPI drive's, of the last command */
	bool has_sense;
};

enum ide_where { IDE_NOWHERE, IDE_TO_BACK, IDE_TO_FRONT, IDE_FROM_FRONT, IDE_GUEST };

/* The request at the host: the loop's. */
struct ide_io {
	const struct ide_drive *drive; /* whose it is */
	enum ide_where where;
	uint32_t count;        /* sectors or blocks that it moves */
	struct ide_prd before; /* where the bus master was */
	struct block_request block;
	struct scsi_request scsi;
	int iov_count;
	struct iovec iov[IDE_PRDS_MAX];
};

struct ide_channel {
	struct ide *ide;
	unsigned int index;
	struct irq_line line;
	bool level; /* of the line */
	bool is_mapped;
	struct ide_drive drives[IDE_UNITS];

	uint8_t device, control;
	bool is_reset_due; /* when in_flight ends: BSY until then; bit per unit in reset_units */
	uint8_t reset_units;

	enum ide_phase phase;
	struct ide_job job;
	uint8_t *front, *back; /* IDE_BUFFER_BYTES each */
	uint32_t front_bytes;  /* what is, or is to be, in it */
	uint32_t front_at;     /* the guest's next */
	uint32_t front_done;   /* IDE_WRITE: written so far; IDE_REPLY by DMA: copied so far */
	uint32_t drq_end;      /* of the block that DRQ is for */
	uint32_t back_bytes;   /* read ahead */
	uint32_t back_target;  /* what is to be there before the guest sees it */
	bool is_ahead_stopped; /* reading ahead has failed: nobody knows before the guest is there */

	uint8_t bm_command, bm_status; /* but for ACTIVE, which is: */
	bool bm_active;
	uint32_t bm_table;
	struct ide_prd prd;

	bool in_flight;    /* I1 */
	bool is_cancelled; /* its command is gone */

	struct loop_work work;
	struct ide_io io;

	struct {
		uint64_t commands, errors, unknown, resets, interrupts;
		uint64_t pio_bytes, dma_bytes, requests, prd_errors;
	} stats;
};

struct ide {
	struct chipset *chipset;
	const struct mem *mem;
	struct loop *loop;
	struct pci_function function;
	bool is_decoded;
	bool is_paused;
	struct loop_work *paused; /* to be posted */
	uint8_t *buffers;
	struct ide_channel channels[IDE_CHANNELS];
};

/* ---- helpers ------------------------------------------------------------------------------------------ */

static inline struct ide_drive *ide_selected(struct ide_channel *channel)
{
	return &channel->drives[(channel->device & ATA_DEVICE_ONE) != 0];
}

static inline struct ide_drive *ide_job_drive(struct ide_channel *channel)
{
	return &channel->drives[channel->job.unit];
}

/* What was read ahead can be the guest's. */
static inline bool ide_back_is_ready(const struct ide_channel *channel)
{
	return channel->back_bytes > 0 && channel->back_bytes == channel->back_target;
}

static inline void ide_kick(struct ide_channel *channel)
{
	loop_post(channel->ide->loop, &channel->work);
}

/* ---- ide_pci.c ---- */
MUST_CHECK int ide_pci_init(struct ide *ide, const struct ide_config *config);
void ide_pci_fini(struct ide *ide);
/* Power-on values of the function, and what depends on them; the lock is held. */
void ide_pci_reset(struct ide *ide);
/* After a change of configuration space: the ports. The lock is held. */
void ide_pci_follow(struct ide *ide);

/* ---- ide_registers.c: all with the lock held ---- */
uint8_t ide_register_read(struct ide_channel *channel, unsigned int reg);
void ide_register_write(struct ide_channel *channel, unsigned int reg, uint8_t value);
uint8_t ide_status_read(const struct ide_channel *channel);
void ide_control_write(struct ide_channel *channel, uint8_t value);
/* The line follows the drives, the selection and nIEN. */
void ide_update_irq(struct ide_channel *channel);
void ide_raise(struct ide_channel *channel, unsigned int unit);
/* Forgets the command; in_flight goes on by itself. */
void ide_cancel(struct ide_channel *channel);
/* These units (bits) are reset, at once or when in_flight ends. */
void ide_reset_units(struct ide_channel *channel, uint8_t units);
void ide_finish_reset(struct ide_channel *channel);
void ide_put_signature(struct ide_channel *channel, unsigned int unit);
/* As after power on. */
void ide_drive_reset(struct ide_drive *drive);

/* ---- ide_command.c ---- */
void ide_command(struct ide_channel *channel, uint8_t command);
/* The end of the job's command, with an interrupt. */
void ide_succeed(struct ide_channel *channel);
void ide_fail(struct ide_channel *channel, uint8_t error);
/* The same, telling the sector at which it ended. */
void ide_fail_at(struct ide_channel *channel, uint8_t error, uint64_t lba);
void ide_enter(struct ide_channel *channel, enum ide_phase phase);

/* ---- ide_identify.c ---- */
void ide_identify(struct ide_channel *channel, unsigned int unit, uint8_t *ret_data);
bool ide_mode_is_known(uint8_t mode);
uint32_t ide_cylinders(uint64_t sectors, uint32_t heads, uint32_t track_sectors);

/* ---- ide_pio.c ---- */
uint32_t ide_data_read(struct ide_channel *channel, unsigned int bytes);
void ide_data_write(struct ide_channel *channel, uint32_t value, unsigned int bytes);
/* The front buffer is full, or is to be filled: DRQ for its first block. */
void ide_pio_in(struct ide_channel *channel, uint32_t bytes);
void ide_pio_out(struct ide_channel *channel, bool is_first);
/* The back buffer is the front one now. */
void ide_pio_promote(struct ide_channel *channel);

/* ---- ide_dma.c ---- */
uint64_t ide_bm_read(void *ctx, uint64_t offset, unsigned int bytes);
void ide_bm_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes);
bool ide_bm_runs(const struct ide_channel *channel);
/*
 * Guest pages for at most `bytes`, in multiples of `unit`, into io.iov: how many bytes. 0: the table is at its
 * end, or leads to what is not memory, and the bus master has stopped.
 */
uint32_t ide_bm_gather(struct ide_channel *channel, uint32_t bytes, uint32_t unit);
/* The command is done: is the table, too? */
void ide_bm_settle(struct ide_channel *channel);

/* ---- ide_packet.c ---- */
void ide_packet_begin(struct ide_channel *channel);
void ide_packet_cdb(struct ide_channel *channel);
void ide_packet_reason(struct ide_channel *channel, uint8_t reason, uint32_t bytes);
void ide_packet_succeed(struct ide_channel *channel);
/* On the loop, with the lock held: io.scsi for the job's next piece, into io.iov. */
void ide_packet_plan(struct ide_channel *channel, uint32_t bytes);
/* The unit has answered; has_unit false: there was none. */
void ide_packet_done(struct ide_channel *channel, bool has_unit);

/* ---- ide_io.c: the loop ---- */
void ide_on_work(struct loop_work *work);
void ide_advance(struct ide_channel *channel);
void ide_on_scsi(struct scsi_request *request);

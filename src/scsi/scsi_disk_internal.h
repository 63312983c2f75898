/* SPDX-License-Identifier: MIT */
/*
 * What the files of a SCSI unit share. scsi_disk.c: life, dispatch, media; scsi_attention.c: what is
 * told by sense; scsi_state.c: saved form; scsi_rw.c, scsi_steps.c: commands that reach the block;
 * scsi_inquiry.c, scsi_mode.c: pages; scsi_opcodes.c: the tables of commands; scsi_dvd*.c: the drive.
 */
#pragma once

#include <stdatomic.h>

#include "scsi/scsi_disk.h"

/* A command's handler: SCSI_PENDING or SCSI_DONE. */
typedef enum scsi_submit scsi_command_fn(struct scsi_disk *disk, struct scsi_request *request);

#define SCSI_COMMAND_MEDIUM  0x01 /* not while stopped, nor without a medium */
#define SCSI_COMMAND_WRITE   0x02 /* not when write-protected */
#define SCSI_COMMAND_DISCARD 0x04 /* only when the block can discard */
#define SCSI_COMMAND_ZEROES  0x08 /* only when the block can write zeroes */
#define SCSI_COMMAND_QUIET   0x10 /* neither tells a unit attention nor ends it */

#define SCSI_NO_ACTION       0xff

struct scsi_command {
	uint8_t opcode;
	uint8_t action; /* service action, or SCSI_NO_ACTION; rows of one opcode stand together */
	uint8_t cdb_bytes;
	uint8_t flags; /* SCSI_COMMAND_* */
	scsi_command_fn *execute;
	uint8_t usage[SCSI_CDB_BYTES_MAX]; /* which bits of the CDB we evaluate, from byte 1 */
};

/*
 * The flags that queues share. Unit attentions come first, in the order in which they are told when
 * several are pending: a lower bit goes first. Saved by number: never renumbered.
 */
#define SCSI_UA_RESET            0x0001U /* 29/03 */
#define SCSI_UA_MEDIUM           0x0002U /* 28/00 */
#define SCSI_UA_MODE             0x0004U /* 2A/01 */
#define SCSI_UA_CAPACITY         0x0008U /* 2A/09 */
#define SCSI_UA_LUNS             0x0010U /* 3F/0E */
#define SCSI_UA_ALL              0x001fU
#define SCSI_STATE_STOPPED       0x0100U /* START STOP UNIT with START = 0 */
#define SCSI_STATE_NO_CACHE      0x0200U /* WCE = 0: each write is forced to the disk */
#define SCSI_STATE_LOCKED        0x0400U /* PREVENT ALLOW MEDIUM REMOVAL */
#define SCSI_STATE_EJECTED       0x0800U /* by the guest: there is no disc, whatever is attached */
#define SCSI_STATE_TRAY_OPEN     0x1000U
#define SCSI_STATE_MEDIUM        0x2000U  /* one is set */
#define SCSI_STATE_SEEN          0x4000U  /* some command has come; not saved */
#define SCSI_EVENT_NEW_MEDIUM    0x10000U /* for GET EVENT STATUS NOTIFICATION */
#define SCSI_EVENT_REMOVAL       0x20000U
#define SCSI_EVENT_EJECT_REQUEST 0x40000U
#define SCSI_EVENT_ALL           0x70000U

/* Of each queue: the largest piece of VERIFY with a byte check, of WRITE SAME with a pattern. */
#define SCSI_SCRATCH_BYTES       65536U

/* What one queue has of the unit; its loop's alone. */
struct scsi_queue {
	struct block *end;    /* NULL: detached */
	uint32_t block_shift; /* log2 of the logical block */
	uint8_t refused;      /* SCSI_COMMAND_* that the medium cannot serve */
	bool has_step;        /* a command uses the scratch buffer */
	uint8_t pad[50];      /* the next queue's is another cache line */
};

struct scsi_disk {
	/* ---- constant from create to destroy ---- */
	enum scsi_disk_type type;
	uint32_t transfer_bytes_max;
	bool write_cache; /* at power on */
	char serial[SCSI_SERIAL_BYTES_MAX + 1];
	uint8_t naa[16];    /* the designator; its first digit says how long it is */
	uint8_t unique[16]; /* of the T10 designator */
	void (*on_eject)(void *ctx);
	void *on_eject_ctx;
	uint8_t vendor[SCSI_VENDOR_BYTES], product[SCSI_PRODUCT_BYTES]; /* filled with blanks */
	const struct scsi_command *table;
	size_t table_count;
	const struct scsi_command *commands[256]; /* the first row by operation code, or NULL */

	/* ---- the control thread's, while all queues are detached (U1) ---- */
	struct block_info medium; /* with SCSI_STATE_MEDIUM */

	/* ---- any thread's ---- */
	_Atomic(uint32_t) flags;    /* SCSI_UA_*, SCSI_STATE_*, SCSI_EVENT_* */
	_Atomic(uint32_t) attached; /* queues */

	struct scsi_queue queues[SCSI_QUEUES_MAX];
	uint8_t *
		scratch; /* SCSI_SCRATCH_BYTES for each queue; a disk's; mapped, touched when used */
};

static inline uint32_t scsi_flags(const struct scsi_disk *disk)
{
	return atomic_load_explicit(&disk->flags, memory_order_relaxed);
}

static inline void scsi_flags_set(struct scsi_disk *disk, uint32_t bits)
{
	atomic_fetch_or(&disk->flags, bits);
}

static inline void scsi_flags_clear(struct scsi_disk *disk, uint32_t bits)
{
	atomic_fetch_and(&disk->flags, ~bits);
}

static inline struct scsi_queue *scsi_queue_of(const struct scsi_request *request)
{
	return &request->disk->queues[request->queue];
}

/* The medium as this queue sees it; only where there is one (SCSI_COMMAND_MEDIUM). */
static inline const struct block_info *scsi_info(const struct scsi_request *request)
{
	return block_info(scsi_queue_of(request)->end);
}

static inline uint32_t scsi_block_shift(const struct scsi_request *request)
{
	return scsi_queue_of(request)->block_shift;
}

static inline uint32_t scsi_block_bytes(const struct scsi_request *request)
{
	return 1U << scsi_block_shift(request);
}

/* Blocks now: a resize shows on each queue when its end was refreshed. */
uint64_t scsi_blocks(const struct scsi_request *request);

/* Whether this queue finds a medium. */
bool scsi_medium_is_there(const struct scsi_request *request);

/* Whether the queue's end of a disk is there at all; a drive always is. */
bool scsi_disk_is_there(const struct scsi_disk *disk, unsigned int queue);

/* Answers that the medium, or the disk, is not there (any more). */
void scsi_fail_no_medium(struct scsi_request *request);

/* ---- scsi_identity.c ---- */

/* Fills serial, naa and unique. 0 or -EINVAL with a sentence. */
MUST_CHECK int scsi_identity_init(struct scsi_disk *disk, const struct scsi_disk_config *config,
				  struct diag *reterr);

/* ---- scsi_attention.c ---- */

/*
 * Takes one pending unit attention that this queue may tell (U3): its additional sense, or 0. A new
 * medium is told where it can be found.
 */
uint16_t scsi_attention_take(struct scsi_request *request);
scsi_command_fn scsi_request_sense;

/* ---- scsi_rw.c ---- */
scsi_command_fn scsi_read, scsi_write, scsi_write_verify, scsi_verify, scsi_synchronize,
	scsi_write_same, scsi_unmap, scsi_start_stop;

/* Answers as the standards say what the host said of request->block. */
void scsi_fail_errno(struct scsi_request *request, int err);

/* Reads user data; blocks_at: the CDB's byte to point at when the buffer is too small. */
enum scsi_submit scsi_read_range(struct scsi_request *request, uint64_t lba, uint32_t blocks,
				 unsigned int blocks_at);

/* Empties the cache, then answers GOOD with so many bytes transferred. */
enum scsi_submit scsi_flush(struct scsi_disk *disk, struct scsi_request *request,
			    uint32_t transfer_bytes);

/* ---- scsi_inquiry.c ---- */
scsi_command_fn scsi_inquiry, scsi_read_capacity_10, scsi_read_capacity_16;

/* The standard data of a unit, or of the place of one (disk is NULL). SCSI_INQUIRY_BYTES. */
void scsi_inquiry_fill(uint8_t *ret_data, const struct scsi_disk *disk);

/* ---- scsi_mode.c ---- */
scsi_command_fn scsi_mode_sense, scsi_mode_select;

/* ---- scsi_log.c ---- */
scsi_command_fn scsi_log_sense;

/* ---- scsi_steps.c: commands that move the medium's data piece by piece through a scratch buffer ---- */

/* Compares blocks with the data buffer; writes one block's worth of data to all of them. */
enum scsi_submit scsi_compare(struct scsi_request *request, uint64_t lba, uint32_t blocks);
enum scsi_submit scsi_repeat(struct scsi_request *request, uint64_t lba, uint32_t blocks);

/* ---- scsi_opcodes.c ---- */
void scsi_commands_init(struct scsi_disk *disk);

/* The row of this CDB: NULL when the opcode is not known; *ret_action: only the action is not. */
const struct scsi_command *scsi_command_find(const struct scsi_disk *disk, const uint8_t *cdb,
					     bool *ret_action);
scsi_command_fn scsi_report_opcodes, scsi_report_functions;

/* ---- scsi_disk.c ---- */
scsi_command_fn scsi_test_unit_ready;

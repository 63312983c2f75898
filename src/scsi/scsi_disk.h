/* SPDX-License-Identifier: MIT */
/*
 * A logical unit over a block: a hard disk, or a DVD drive with or without a disc. See scsi.h.
 *
 * A unit serves several queues at once. Each has an end of the same block (block_twin()), which is
 * used on that queue's loop only:
 *
 *   control          scsi_disk_create(), set_medium() ───────────┐         ┌── clear_medium() ── …
 *   each queue's loop            block_start(end), attach() ─────▼─ … ── detach(), block_stop(end)
 *
 * What the queues share is one word of flags: a command touches nothing else of another queue.
 *
 * Invariants:
 *   U1  The medium is set and cleared only while every queue is detached, and looked at only by
 *       queues that are attached.
 *   U2  After a detach nothing more is submitted to the end, not even by a command of several steps:
 *       that one ends with an error.
 *   U3  A unit attention is told once, by one command of one queue.
 *
 *   owner   the front end   thread  as each section says
 *   spec    SPC-4, SBC-3, MMC-6; docs/scsi.md: every command, page and sense
 */
#pragma once

#include "base/diag.h"
#include "scsi/scsi.h"
#include "state/load.h"
#include "state/save.h"

enum scsi_disk_type {
	SCSI_DISK,
	SCSI_DVD, /* read-only, blocks of 2048 bytes whatever the block's own are */
};

#define SCSI_SERIAL_BYTES_MAX 32

/* Vendor and product, as INQUIRY tells them. */
#define SCSI_VENDOR_BYTES     8
#define SCSI_PRODUCT_BYTES    16

/* A disc's blocks: what a READ CAPACITY(10) can tell. What is beyond them cannot be read. */
#define SCSI_DVD_BLOCK_BYTES  2048
#define SCSI_DVD_BLOCKS_MAX   0xffffffffULL

/* Strings are borrowed for the call. */
struct scsi_disk_config {
	enum scsi_disk_type type;
	const struct block_info *info; /* the first medium; NULL: none yet, of a DVD drive only */
	uint32_t transfer_bytes_max;   /* what the front end can move in one command */

	/*
	 * Who the unit is, for ever. serial: at most SCSI_SERIAL_BYTES_MAX printable characters; wwn: 16
	 * hexadecimal digits that begin with 5, or 32 that begin with 6 (NAA). Either may be NULL: then
	 * it is made of identity, which is NULL for "as info says".
	 */
	const char *serial, *wwn, *identity;

	/* Printable, at most SCSI_VENDOR_BYTES and SCSI_PRODUCT_BYTES; NULL: as Hyper-V's. */
	const char *vendor, *product;

	bool write_cache; /* a disk's, at power on */

	/*
	 * A DVD drive's guest took the disc out. Any queue's loop: post it to the control thread, which
	 * asks scsi_disk_is_ejected() first (the host may have acted meanwhile). Or NULL.
	 */
	void (*on_eject)(void *ctx);
	void *on_eject_ctx;
};

/* ---- life: the control thread ------------------------------------------------------------------ */

/* 0; -ENOMEM, or -EINVAL for a word of the user's or a medium that does not fit, with a sentence. */
MUST_CHECK int scsi_disk_create(const struct scsi_disk_config *config, struct scsi_disk **ret,
				struct diag *reterr);

/* Detached, and nothing is in flight. NULL is fine. */
void scsi_disk_destroy(struct scsi_disk *disk);

/*
 * While every queue is detached (U1). Setting a DVD drive's closes its tray; the guest is told with
 * the next command. -EINVAL, and nothing happened: blocks that the unit cannot address, or none.
 */
MUST_CHECK int scsi_disk_set_medium(struct scsi_disk *disk, const struct block_info *info,
				    struct diag *reterr);

/* The same, of a DVD drive only; takes out what is there, locked or not. No-op when it is empty. */
void scsi_disk_clear_medium(struct scsi_disk *disk);
bool scsi_disk_has_medium(const struct scsi_disk *disk);

/* ---- one queue: its loop ------------------------------------------------------------------------ */

/*
 * From now on the queue's commands find the medium. end: started on this loop, of the medium that was
 * set last; borrowed until the detach.
 */
void scsi_disk_attach(struct scsi_disk *disk, unsigned int queue, struct block *end);

/*
 * From now on the queue's commands find no disk, or a drive that is not ready: one that becomes ready
 * while it has a medium (the other queues may be attached already), one without a disc after
 * clear_medium(). Those in flight end by themselves: block_stop() the end next, which waits for them.
 * No-op when not attached.
 */
void scsi_disk_detach(struct scsi_disk *disk, unsigned int queue);

/* What is attached, or NULL. */
struct block *scsi_disk_end(const struct scsi_disk *disk, unsigned int queue);

/* Executes a command of request->queue: SCSI_PENDING, SCSI_DONE, or SCSI_NO_UNIT (a detached disk). */
MUST_CHECK enum scsi_submit scsi_disk_submit(struct scsi_disk *disk, struct scsi_request *request);

/* ---- what happens to a unit: any thread --------------------------------------------------------- */

/*
 * Power on: what was negotiated is forgotten (mode parameters, stopped, locked, attentions); a disc
 * stays where it is. Nothing is told to the guest: a driver that begins finds a quiet unit.
 */
void scsi_disk_reset(struct scsi_disk *disk);

/*
 * LOGICAL UNIT RESET, TARGET RESET: started, unlocked, and the next command is told. The write cache
 * stays as it is, since drivers do not ask again. Commands in flight are the front end's matter.
 */
void scsi_disk_reset_unit(struct scsi_disk *disk);

/* After each queue has called block_refresh(end): the guest is told that the capacity changed. */
void scsi_disk_resized(struct scsi_disk *disk);

/* A unit was added to or removed from the target: told by each unit for which it is called. */
void scsi_disk_luns_changed(struct scsi_disk *disk);

/*
 * The host switches the cache; the guest is told. Turning it off concerns later writes: what was
 * written before is the caller's to flush.
 */
void scsi_disk_set_write_cache(struct scsi_disk *disk, bool on);

enum scsi_disk_type scsi_disk_type(const struct scsi_disk *disk);
bool scsi_disk_has_write_cache(const struct scsi_disk *disk);
bool scsi_disk_is_locked(const struct scsi_disk *disk); /* the guest forbids to take the disc out */
bool scsi_disk_is_ejected(const struct scsi_disk *disk); /* by the guest; clear_medium() is due */
bool scsi_disk_is_seen(const struct scsi_disk *disk);    /* a command has come to it, any */
bool scsi_disk_is_tray_open(const struct scsi_disk *disk);

/* Asks the guest of a DVD drive to let go of the disc, as the button on a drive does. */
void scsi_disk_ask_eject(struct scsi_disk *disk);

/* ---- saved state: nothing is in flight on any queue -------------------------------------------- */

/*
 * The medium itself is the machine's to save. A drive that is loaded with a disc where there was none,
 * or the other way round, tells its guest of a change; one whose guest had just taken the disc out
 * calls on_eject again. 0 or -EBADMSG.
 */
void scsi_disk_save(const struct scsi_disk *disk, struct save *save);
MUST_CHECK int scsi_disk_load(struct scsi_disk *disk, struct load *load);

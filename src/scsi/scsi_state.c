/* SPDX-License-Identifier: MIT */
/*
 * The saved form of a SCSI unit: what its guest negotiated and has yet to be told. Tags are for
 * ever. The medium is the machine's to save; whether there was one is written down, so that a drive
 * that finds itself with another tells its guest.
 */
#include <errno.h>

#include "scsi/scsi_disk_internal.h"

enum {
	DISK_STATE_WRITE_CACHE = 1, /* 0 or 1; default 1 */
	DISK_STATE_STOPPED = 2,     /* 0 or 1; default 0, as all that follow */
	DISK_STATE_LOCKED = 3,
	DISK_STATE_EJECTED = 4,
	DISK_STATE_TRAY_OPEN = 5,
	DISK_STATE_ATTENTIONS = 6, /* SCSI_UA_* */
	DISK_STATE_EVENTS = 7,     /* SCSI_EVENT_* >> 16 */
	DISK_STATE_MEDIUM = 8,     /* a DVD drive's: 0 or 1; default: as it is here */
};

#define EVENT_SHIFT 16

void scsi_disk_save(const struct scsi_disk *disk, struct save *save)
{
	uint32_t flags = scsi_flags(disk);

	save_u32(save, DISK_STATE_WRITE_CACHE, !(flags & SCSI_STATE_NO_CACHE));
	save_u32(save, DISK_STATE_STOPPED, !!(flags & SCSI_STATE_STOPPED));
	save_u32(save, DISK_STATE_LOCKED, !!(flags & SCSI_STATE_LOCKED));
	save_u32(save, DISK_STATE_EJECTED, !!(flags & SCSI_STATE_EJECTED));
	save_u32(save, DISK_STATE_TRAY_OPEN, !!(flags & SCSI_STATE_TRAY_OPEN));
	save_u32(save, DISK_STATE_ATTENTIONS, flags & SCSI_UA_ALL);
	save_u32(save, DISK_STATE_EVENTS, (flags & SCSI_EVENT_ALL) >> EVENT_SHIFT);
	if (disk->type == SCSI_DVD) {
		save_u32(save, DISK_STATE_MEDIUM, scsi_disk_has_medium(disk));
	}
}

/* A flag of 0 or 1. */
static void load_flag(struct load *load, const struct load_field *field, uint32_t bit,
		      uint32_t *flags)
{
	uint32_t value = load_u32(load, field);

	if (value > 1) {
		load_fail(load);
	}
	*flags = value ? *flags | bit : *flags & ~bit;
}

/* A set of bits, of which no other is known. */
static void load_bits(struct load *load, const struct load_field *field, unsigned int shift,
		      uint32_t all, uint32_t *flags)
{
	uint32_t value = load_u32(load, field);

	if (value & ~(all >> shift)) {
		load_fail(load);
	}
	*flags = (*flags & ~all) | ((value << shift) & all);
}

static uint32_t load_flags(const struct scsi_disk *disk, struct load *load, uint32_t *ret_medium)
{
	struct load_field field;
	uint32_t flags = 0, no_write_cache = 1;

	*ret_medium = scsi_disk_has_medium(disk);
	while (load_next(load, &field)) {
		switch (field.tag) {
		case DISK_STATE_WRITE_CACHE:
			load_flag(load, &field, 1, &no_write_cache);
			break;
		case DISK_STATE_STOPPED:
			load_flag(load, &field, SCSI_STATE_STOPPED, &flags);
			break;
		case DISK_STATE_LOCKED:
			load_flag(load, &field, SCSI_STATE_LOCKED, &flags);
			break;
		case DISK_STATE_EJECTED:
			load_flag(load, &field, SCSI_STATE_EJECTED, &flags);
			break;
		case DISK_STATE_TRAY_OPEN:
			load_flag(load, &field, SCSI_STATE_TRAY_OPEN, &flags);
			break;
		case DISK_STATE_ATTENTIONS:
			load_bits(load, &field, 0, SCSI_UA_ALL, &flags);
			break;
		case DISK_STATE_EVENTS:
			load_bits(load, &field, EVENT_SHIFT, SCSI_EVENT_ALL, &flags);
			break;
		case DISK_STATE_MEDIUM:
			load_flag(load, &field, 1, ret_medium);
			break;
		default:
			break;
		}
	}
	return flags | (no_write_cache ? 0 : SCSI_STATE_NO_CACHE);
}

int scsi_disk_load(struct scsi_disk *disk, struct load *load)
{
	bool has_medium = scsi_disk_has_medium(disk);
	uint32_t medium, flags = load_flags(disk, load, &medium);

	/* A hard disk has neither a tray nor anybody who looks at its events. */
	if (disk->type == SCSI_DISK &&
	    (flags & (SCSI_STATE_LOCKED | SCSI_STATE_EJECTED | SCSI_STATE_TRAY_OPEN |
		      SCSI_UA_MEDIUM | SCSI_EVENT_ALL))) {
		load_fail(load);
	}
	if (load_result(load)) {
		return load_result(load);
	}
	if (disk->type == SCSI_DVD && medium != has_medium) {
		flags &= ~(SCSI_STATE_EJECTED | SCSI_STATE_TRAY_OPEN | SCSI_EVENT_ALL);
		flags |= has_medium ? SCSI_UA_MEDIUM | SCSI_EVENT_NEW_MEDIUM : SCSI_EVENT_REMOVAL;
	}
	if (!has_medium && (flags & SCSI_STATE_EJECTED)) {
		flags &= ~SCSI_STATE_EJECTED; /* it was taken away meanwhile */
	}
	atomic_store(&disk->flags, flags | (has_medium ? SCSI_STATE_MEDIUM : 0));
	if ((flags & SCSI_STATE_EJECTED) && has_medium && disk->on_eject) {
		disk->on_eject(disk->on_eject_ctx);
	}
	return 0;
}

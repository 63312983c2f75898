/* SPDX-License-Identifier: MIT */
/*
 * What happens to a unit, and how its guest is told: unit attentions, and the state that the queues
 * share.
 *
 *   spec  SAM-5 5.14, SPC-4 6.39 (REQUEST SENSE)
 */
#include <assert.h>

#include "base/bytes.h"
#include "scsi/scsi_disk_internal.h"

static const uint16_t attention_asc[] = {
	SCSI_ASC_RESET_DEVICE,     /* SCSI_UA_RESET */
	SCSI_ASC_MEDIUM_CHANGED,   /* SCSI_UA_MEDIUM */
	SCSI_ASC_MODE_CHANGED,     /* SCSI_UA_MODE */
	SCSI_ASC_CAPACITY_CHANGED, /* SCSI_UA_CAPACITY */
	SCSI_ASC_LUNS_CHANGED,     /* SCSI_UA_LUNS */
};

uint16_t scsi_attention_take(struct scsi_request *request)
{
	struct scsi_disk *disk = request->disk;
	uint32_t flags = atomic_load(&disk->flags);
	uint32_t mine = scsi_queue_of(request)->end ? SCSI_UA_ALL : SCSI_UA_ALL & ~SCSI_UA_MEDIUM;

	static_assert(SCSI_UA_ALL == (1U << (sizeof(attention_asc) / sizeof(attention_asc[0]))) - 1,
		      "an additional sense for each");
	while (flags & mine) {
		uint32_t first = (flags & mine) & -(flags & mine);

		/* Another queue may take it first (U3); then flags is what is left. */
		if (atomic_compare_exchange_weak(&disk->flags, &flags, flags & ~first)) {
			return attention_asc[__builtin_ctz(first)];
		}
	}
	return 0;
}

/* Sense goes out with each answer (autosense): what is left to ask for is a unit attention. */
enum scsi_submit scsi_request_sense(struct scsi_disk *disk, struct scsi_request *request)
{
	uint16_t asc = scsi_attention_take(request);
	uint8_t key = asc ? SCSI_KEY_UNIT_ATTENTION : SCSI_KEY_NO_SENSE;
	uint8_t data[SCSI_SENSE_BYTES] = { 0 };
	uint32_t bytes;

	if (request->cdb[1] & 0x01) { /* DESC */
		data[0] = SCSI_SENSE_DESCRIPTOR_CURRENT;
		data[1] = key;
		bytes_put_be16(&data[2], asc);
		bytes = 8;
	} else {
		data[0] = SCSI_SENSE_FIXED_CURRENT;
		data[2] = key;
		data[7] = SCSI_SENSE_ADDITIONAL;
		bytes_put_be16(&data[12], asc);
		bytes = sizeof(data);
	}
	scsi_reply(request, data, bytes, request->cdb[4]);
	return SCSI_DONE;
}

/* ---- any thread --------------------------------------------------------------------------------- */

void scsi_disk_reset(struct scsi_disk *disk)
{
	scsi_flags_clear(disk, SCSI_UA_ALL | SCSI_STATE_STOPPED | SCSI_STATE_LOCKED |
				       SCSI_STATE_NO_CACHE | SCSI_EVENT_ALL);
	if (!disk->write_cache) {
		scsi_flags_set(disk, SCSI_STATE_NO_CACHE);
	}
}

void scsi_disk_reset_unit(struct scsi_disk *disk)
{
	scsi_flags_clear(disk, SCSI_STATE_STOPPED | SCSI_STATE_LOCKED);
	scsi_flags_set(disk, SCSI_UA_RESET);
}

void scsi_disk_resized(struct scsi_disk *disk)
{
	scsi_flags_set(disk, SCSI_UA_CAPACITY);
}

void scsi_disk_luns_changed(struct scsi_disk *disk)
{
	scsi_flags_set(disk, SCSI_UA_LUNS);
}

void scsi_disk_set_write_cache(struct scsi_disk *disk, bool on)
{
	if (scsi_disk_has_write_cache(disk) == on) {
		return;
	}
	if (on) {
		scsi_flags_clear(disk, SCSI_STATE_NO_CACHE);
	} else {
		scsi_flags_set(disk, SCSI_STATE_NO_CACHE);
	}
	scsi_flags_set(disk, SCSI_UA_MODE);
}

enum scsi_disk_type scsi_disk_type(const struct scsi_disk *disk)
{
	return disk->type;
}

bool scsi_disk_has_write_cache(const struct scsi_disk *disk)
{
	return !(scsi_flags(disk) & SCSI_STATE_NO_CACHE);
}

bool scsi_disk_is_locked(const struct scsi_disk *disk)
{
	return scsi_flags(disk) & SCSI_STATE_LOCKED;
}

bool scsi_disk_is_ejected(const struct scsi_disk *disk)
{
	return scsi_flags(disk) & SCSI_STATE_EJECTED;
}

bool scsi_disk_is_seen(const struct scsi_disk *disk)
{
	return scsi_flags(disk) & SCSI_STATE_SEEN;
}

bool scsi_disk_is_tray_open(const struct scsi_disk *disk)
{
	return scsi_flags(disk) & SCSI_STATE_TRAY_OPEN;
}

void scsi_disk_ask_eject(struct scsi_disk *disk)
{
	check(disk->type == SCSI_DVD);
	scsi_flags_set(disk, SCSI_EVENT_EJECT_REQUEST);
}

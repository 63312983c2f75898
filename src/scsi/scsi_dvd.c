/* SPDX-License-Identifier: MIT */
/*
 * What makes a unit a DVD drive: tray, lock, events, features. The disc's own tables are in
 * scsi_dvd_disc.c.
 *
 *                    START STOP UNIT: eject                     clear_medium()
 *   disc ───────────────────────────────────► ejected, tray open ─────────────► empty, tray open
 *    │ ▲                                                                          │ START STOP UNIT:
 *    │ └────────────── set_medium() ── from any ◄────────────────────────────┐    ▼ load
 *    └──────────────── clear_medium() ───────────────────────────────────► empty, tray closed
 *
 * A disc that was ejected does not come back by loading: the machine takes it away.
 *
 *   spec  MMC-6 6.5 (GET CONFIGURATION), 6.6 (events), 6.42 (START STOP UNIT), 7.11 (page 2A)
 */
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "scsi/scsi_dvd_internal.h"

/* The largest compact disc, 80 minutes; what is larger is a DVD. */
#define DVD_CD_BLOCKS_MAX   (80U * 60 * 75)

#define DVD_PROFILE_CD_ROM  0x0008
#define DVD_PROFILE_DVD_ROM 0x0010

#define DVD_SPEED_KB        22160 /* 16 × DVD */
#define DVD_BUFFER_KB       2048

#define DVD_FEATURES_MAX    16
#define DVD_FEATURE_BYTES   16
#define DVD_EVENT_MEDIA     4

bool scsi_dvd_is_cd(const struct scsi_request *request)
{
	return scsi_blocks(request) <= DVD_CD_BLOCKS_MAX;
}

static uint16_t current_profile(const struct scsi_request *request)
{
	if (!scsi_medium_is_there(request)) {
		return 0;
	}
	return scsi_dvd_is_cd(request) ? DVD_PROFILE_CD_ROM : DVD_PROFILE_DVD_ROM;
}

/* ---- tray and lock ------------------------------------------------------------------------------ */

static void eject(struct scsi_disk *disk)
{
	uint32_t before = scsi_flags(disk), after;

	/* In one step: another queue may do the same at this moment, or the control thread load. */
	do {
		after = before | SCSI_STATE_TRAY_OPEN;
		if ((before & SCSI_STATE_MEDIUM) && !(before & SCSI_STATE_EJECTED)) {
			after |= SCSI_STATE_EJECTED | SCSI_EVENT_REMOVAL;
			after &= ~(SCSI_EVENT_NEW_MEDIUM | SCSI_EVENT_EJECT_REQUEST |
				   SCSI_UA_MEDIUM);
		}
	} while (!atomic_compare_exchange_weak(&disk->flags, &before, after));
	if ((after & ~before & SCSI_STATE_EJECTED) && disk->on_eject) {
		disk->on_eject(disk->on_eject_ctx);
	}
}

enum scsi_submit scsi_dvd_start_stop(struct scsi_disk *disk, struct scsi_request *request)
{
	uint8_t how = request->cdb[4];
	bool load_or_eject = how & 0x02, start = how & 0x01;

	scsi_good(request);
	if (how & 0xf0) {
		return SCSI_DONE; /* power conditions: all are the same to us */
	}
	if (load_or_eject && !start) {
		if (scsi_flags(disk) & SCSI_STATE_LOCKED) {
			scsi_fail(request, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_REMOVAL_PREVENTED);
		} else {
			eject(disk);
		}
	} else if (load_or_eject) {
		scsi_flags_clear(disk, SCSI_STATE_TRAY_OPEN);
	} else if (start && !scsi_medium_is_there(request)) {
		scsi_fail_no_medium(request);
	}
	return SCSI_DONE; /* a disc that was stopped turns again when it is read */
}

enum scsi_submit scsi_dvd_prevent(struct scsi_disk *disk, struct scsi_request *request)
{
	if (request->cdb[4] & 0x01) {
		scsi_flags_set(disk, SCSI_STATE_LOCKED);
	} else {
		scsi_flags_clear(disk, SCSI_STATE_LOCKED);
	}
	scsi_good(request);
	return SCSI_DONE;
}

/* ---- events ------------------------------------------------------------------------------------- */

static const struct {
	uint32_t flag;
	uint8_t code;
} media_events[] = {
	{ SCSI_EVENT_REMOVAL, 3 },
	{ SCSI_EVENT_NEW_MEDIUM, 2 },
	{ SCSI_EVENT_EJECT_REQUEST, 1 },
};

/* The code of the next event, which is taken; 0: nothing happened. */
static uint8_t take_event(struct scsi_disk *disk)
{
	for (size_t i = 0; i < ARRAY_SIZE(media_events); i++) {
		uint32_t flag = media_events[i].flag;

		if ((scsi_flags(disk) & flag) && (atomic_fetch_and(&disk->flags, ~flag) & flag)) {
			return media_events[i].code;
		}
	}
	return 0;
}

enum scsi_submit scsi_dvd_event_status(struct scsi_disk *disk, struct scsi_request *request)
{
	uint32_t allocation = bytes_be16(&request->cdb[7]), flags, bytes = 4;
	uint8_t data[8] = { 0 };

	if (!(request->cdb[1] & 0x01)) {
		scsi_fail_cdb(request, 1, 0); /* asynchronous: we do not call back */
		return SCSI_DONE;
	}
	data[3] = 1 << DVD_EVENT_MEDIA; /* the classes that we have */
	if (!(request->cdb[4] & (1 << DVD_EVENT_MEDIA))) {
		data[2] = 0x80; /* NEA: none of those asked for */
	} else {
		data[2] = DVD_EVENT_MEDIA;
		/* Only who has room for an event takes one. */
		if (num_min(allocation, request->data_bytes) > 4) {
			data[4] = take_event(disk);
		}
		flags = scsi_flags(disk);
		data[5] = flags & SCSI_STATE_TRAY_OPEN ? 0x01 : 0;
		if ((flags & SCSI_STATE_MEDIUM) && !(flags & SCSI_STATE_EJECTED)) {
			data[5] |= 0x02;
		}
		bytes = 8;
	}
	bytes_put_be16(data, (uint16_t)(bytes - 2));
	scsi_reply(request, data, bytes, allocation);
	return SCSI_DONE;
}

enum scsi_submit scsi_dvd_mechanism(struct scsi_disk *disk, struct scsi_request *request)
{
	uint8_t data[8] = { 0 };

	data[1] = scsi_flags(disk) & SCSI_STATE_TRAY_OPEN ? 0x10 : 0;
	scsi_reply(request, data, sizeof(data), bytes_be16(&request->cdb[8]));
	return SCSI_DONE;
}

/* ---- features ----------------------------------------------------------------------------------- */

#define ALWAYS  0x01 /* persistent */
#define WITH_CD 0x02 /* current when such a disc is in */
#define DVD     0x04

static const struct {
	uint16_t code;
	uint8_t version, when, bytes;
	uint8_t data[8];
} features[] = {
	{ 0x0000, 0, ALWAYS, 8, { 0, DVD_PROFILE_DVD_ROM, 0, 0, 0, DVD_PROFILE_CD_ROM, 0, 0 } },
	{ 0x0001, 2, ALWAYS, 8, { 0, 0, 0, 1, 0x01, 0, 0, 0 } }, /* core: SCSI; busy events */
	{ 0x0003, 2, ALWAYS, 4, { 0x39, 0, 0, 0 } }, /* a tray that locks, ejects and loads */
	{ 0x0010, 0, WITH_CD | DVD, 8, { 0, 0, 0x08, 0, 0, 1, 0, 0 } }, /* reads at random, 2048 */
	{ 0x001e, 2, WITH_CD, 4, { 0, 0, 0, 0 } },                      /* reads CDs */
	{ 0x001f, 1, DVD, 4, { 0, 0, 0, 0 } },                          /* reads DVDs */
	{ 0x0100, 0, ALWAYS, 0, { 0 } },                                /* power management */
	{ 0x0105, 1, ALWAYS, 4, { 0, 0, 0, 0 } },                       /* timeouts */
};

static uint8_t feature_current(size_t i, uint16_t profile)
{
	uint8_t disc = profile == DVD_PROFILE_CD_ROM    ? WITH_CD
		       : profile == DVD_PROFILE_DVD_ROM ? DVD
							: 0;

	return features[i].when & (ALWAYS | disc) ? 1 : 0;
}

static uint32_t put_feature(uint8_t *at, size_t i, uint16_t profile)
{
	bytes_put_be16(at, features[i].code);
	at[2] = (uint8_t)(features[i].version << 2);
	at[2] |= features[i].when & ALWAYS ? 0x02 : 0;
	at[2] |= feature_current(i, profile);
	at[3] = features[i].bytes;
	memcpy(&at[4], features[i].data, features[i].bytes);
	if (features[i].code == 0) { /* which of the profiles is the current one */
		at[4 + 2] = profile == DVD_PROFILE_DVD_ROM;
		at[8 + 2] = profile == DVD_PROFILE_CD_ROM;
	}
	return 4U + features[i].bytes;
}

enum scsi_submit scsi_dvd_configuration(struct scsi_disk *disk, struct scsi_request *request)
{
	uint8_t data[8 + ARRAY_SIZE(features) * DVD_FEATURE_BYTES] = { 0 };
	uint8_t which = request->cdb[1] & 0x03;
	uint16_t from = bytes_be16(&request->cdb[2]), profile = current_profile(request);
	uint32_t bytes = 8;

	if (which == 3) {
		scsi_fail_cdb(request, 1, 1);
		return SCSI_DONE;
	}
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		bool wanted = which == 2 ? features[i].code == from : features[i].code >= from;

		if (wanted && (which != 1 || feature_current(i, profile))) {
			bytes += put_feature(&data[bytes], i, profile);
		}
	}
	bytes_put_be32(data, bytes - 4);
	bytes_put_be16(&data[6], profile);
	scsi_reply(request, data, bytes, bytes_be16(&request->cdb[7]));
	return SCSI_DONE;
}

/* ---- mode pages --------------------------------------------------------------------------------- */

uint32_t scsi_dvd_page_capabilities(const struct scsi_disk *disk, unsigned int control, uint8_t *at)
{
	memset(at, 0, DVD_CAPABILITIES_BYTES);
	at[0] = SCSI_MODE_CAPABILITIES;
	at[1] = DVD_CAPABILITIES_BYTES - 2;
	if (control == SCSI_MODE_PC_CHANGEABLE) {
		return DVD_CAPABILITIES_BYTES;
	}
	at[2] = 0x1b; /* reads CD-R, CD-RW, DVD-ROM, DVD-R; writes nothing */
	at[6] = 0x29; /* a tray that locks and ejects */
	if (control == SCSI_MODE_PC_CURRENT && (scsi_flags(disk) & SCSI_STATE_LOCKED)) {
		at[6] |= 0x02;
	}
	bytes_put_be16(&at[8], DVD_SPEED_KB);
	bytes_put_be16(&at[12], DVD_BUFFER_KB);
	bytes_put_be16(&at[14], DVD_SPEED_KB);
	return DVD_CAPABILITIES_BYTES;
}

enum scsi_submit scsi_dvd_set_speed(struct scsi_disk *disk, struct scsi_request *request)
{
	scsi_good(request); /* as fast as the host's storage is */
	return SCSI_DONE;
}

/* SPDX-License-Identifier: MIT */
/*
 * What a drive tells of its disc: one session with one data track from the first block to the last.
 *
 *   spec  MMC-6 6.21 (READ CD), 6.22 (READ DISC INFORMATION), 6.23 (READ DISC STRUCTURE), 6.26
 *         (READ TOC/PMA/ATIP), 6.27 (READ TRACK INFORMATION)
 */
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "scsi/scsi_dvd_internal.h"

#define TRACK_CONTROL      0x14 /* ADR 1; a data track, recorded at once */
#define TRACK_LEAD_OUT     0xaa
#define MSF_LEAD_IN        150 /* blocks before the first */
#define STRUCTURE_BYTES    2048
#define PHYSICAL_START     0x30000 /* the first sector of a DVD's data */

#define TOC_FORMAT_TRACKS  0
#define TOC_FORMAT_SESSION 1
#define TOC_FORMAT_FULL    2

/* Minute, second, frame. A disc longer than can be written so ends at the last that can. */
static void put_msf(uint8_t *at, uint64_t block)
{
	block = num_min(block + MSF_LEAD_IN, 256 * 60 * 75 - 1);
	at[0] = (uint8_t)(block / 75 / 60);
	at[1] = (uint8_t)(block / 75 % 60);
	at[2] = (uint8_t)(block % 75);
}

static void put_address(uint8_t *at, uint64_t block, bool msf)
{
	if (msf) {
		at[0] = 0;
		put_msf(&at[1], block);
	} else {
		bytes_put_be32(at, (uint32_t)block);
	}
}

static uint32_t put_track(uint8_t *at, uint8_t track, uint64_t block, bool msf)
{
	at[1] = TRACK_CONTROL;
	at[2] = track;
	put_address(&at[4], block, msf);
	return 8;
}

/* One entry of the lead-in: point says what min, sec, frame are about. */
static uint32_t put_point(uint8_t *at, uint8_t point)
{
	at[0] = 1; /* session */
	at[1] = TRACK_CONTROL;
	at[3] = point;
	return 11;
}

static uint32_t full_toc(uint8_t *at, uint64_t blocks)
{
	uint32_t bytes = 0;

	bytes += put_point(&at[bytes], 0xa0);
	at[bytes - 3] = 1; /* the first track */
	bytes += put_point(&at[bytes], 0xa1);
	at[bytes - 3] = 1; /* the last one */
	bytes += put_point(&at[bytes], 0xa2);
	put_msf(&at[bytes - 3], blocks);
	bytes += put_point(&at[bytes], 1);
	put_msf(&at[bytes - 3], 0);
	return bytes;
}

/* Linux and others that follow SFF-8020 put the format into the last byte. */
static unsigned int toc_format(const uint8_t *cdb)
{
	unsigned int format = cdb[2] & 0x0f;

	return format ? format : cdb[9] >> 6;
}

enum scsi_submit scsi_dvd_read_toc(struct scsi_disk *disk, struct scsi_request *request)
{
	uint8_t data[4 + 4 * 11] = { 0 };
	uint8_t from = request->cdb[6];
	bool msf = request->cdb[1] & 0x02;
	uint64_t blocks = scsi_blocks(request);
	uint32_t bytes = 4;

	data[2] = 1; /* the first and the last track, or session */
	data[3] = 1;
	switch (toc_format(request->cdb)) {
	case TOC_FORMAT_TRACKS:
		if (from > 1 && from != TRACK_LEAD_OUT) {
			scsi_fail_cdb(request, 6, -1);
			return SCSI_DONE;
		}
		if (from <= 1) {
			bytes += put_track(&data[bytes], 1, 0, msf);
		}
		bytes += put_track(&data[bytes], TRACK_LEAD_OUT, blocks, msf);
		break;
	case TOC_FORMAT_SESSION:
		bytes += put_track(&data[bytes], 1, 0, msf);
		break;
	case TOC_FORMAT_FULL:
		if (from > 1) {
			scsi_fail_cdb(request, 6, -1);
			return SCSI_DONE;
		}
		bytes += full_toc(&data[bytes], blocks);
		break;
	default:
		scsi_fail_cdb(request, 2, 3); /* PMA, ATIP, CD-TEXT: such discs we have not */
		return SCSI_DONE;
	}
	bytes_put_be16(data, (uint16_t)(bytes - 2));
	scsi_reply(request, data, bytes, bytes_be16(&request->cdb[7]));
	return SCSI_DONE;
}

enum scsi_submit scsi_dvd_disc_information(struct scsi_disk *disk, struct scsi_request *request)
{
	uint8_t data[34] = { 0 };

	if (request->cdb[1] & 0x07) {
		scsi_fail_cdb(request, 1, 2); /* the standard information is all there is */
		return SCSI_DONE;
	}
	bytes_put_be16(data, sizeof(data) - 2);
	data[2] = 0x0e; /* complete, its session too */
	data[3] = 1;    /* first track; sessions; first and last track of the last session */
	data[4] = 1;
	data[5] = 1;
	data[6] = 1;
	data[7] = 0x20;                         /* unrestricted use */
	bytes_put_be32(&data[16], 0x00ffffffU); /* lead-in and lead-out of a next session: */
	bytes_put_be32(&data[20], 0x00ffffffU); /* none */
	scsi_reply(request, data, sizeof(data), bytes_be16(&request->cdb[7]));
	return SCSI_DONE;
}

/* Whether what the CDB names (a block, a track, a session) is our one track. */
static bool is_the_track(const struct scsi_request *request)
{
	uint32_t number = bytes_be32(&request->cdb[2]);

	switch (request->cdb[1] & 0x03) {
	case 0:
		return number < scsi_blocks(request);
	case 1:
	case 2:
		return number == 1;
	default:
		return false;
	}
}

enum scsi_submit scsi_dvd_track_information(struct scsi_disk *disk, struct scsi_request *request)
{
	uint8_t data[36] = { 0 };
	uint64_t blocks = scsi_blocks(request);

	if (!is_the_track(request)) {
		scsi_fail_cdb(request, 2, -1);
		return SCSI_DONE;
	}
	bytes_put_be16(data, sizeof(data) - 2);
	data[2] = 1;    /* track */
	data[3] = 1;    /* session */
	data[5] = 0x04; /* data */
	data[6] = 0x01; /* of mode 1 */
	bytes_put_be32(&data[24], (uint32_t)blocks);
	bytes_put_be32(&data[28], (uint32_t)(blocks - 1));
	scsi_reply(request, data, sizeof(data), bytes_be16(&request->cdb[7]));
	return SCSI_DONE;
}

/* ---- READ DISC STRUCTURE ------------------------------------------------------------------------ */

/* A DVD-ROM of one layer. Sector numbers have 24 bits. */
static uint32_t structure_physical(const struct scsi_request *request, uint8_t *at)
{
	uint64_t last = PHYSICAL_START + scsi_blocks(request) - 1;

	at[0] = 0x01; /* DVD-ROM, version 1 */
	at[1] = 0x0f; /* 120 mm; no rate is told */
	at[2] = 0x01; /* one layer, embossed */
	bytes_put_be32(&at[4], PHYSICAL_START);
	bytes_put_be32(&at[8], (uint32_t)num_min(last, 0xffffff));
	return STRUCTURE_BYTES;
}

/* No copy protection, playable everywhere. */
static uint32_t structure_copyright(const struct scsi_request *request, uint8_t *at)
{
	return 4;
}

static uint32_t structure_list(const struct scsi_request *request, uint8_t *at)
{
	static const uint8_t list[] = {
		0x00,
		0x40,
		(STRUCTURE_BYTES + 2) >> 8,
		(STRUCTURE_BYTES + 2) & 0xff, /* physical */
		0x01,
		0x40,
		0,
		6, /* copyright */
		0xff,
		0x40,
		0,
		14, /* this list */
	};

	memcpy(at, list, sizeof(list));
	return sizeof(list);
}

enum scsi_submit scsi_dvd_structure(struct scsi_disk *disk, struct scsi_request *request)
{
	uint8_t data[4 + STRUCTURE_BYTES] = { 0 };
	uint32_t bytes;

	if (request->cdb[1] & 0x0f) {
		scsi_fail_cdb(request, 1, 3); /* Blu-ray */
		return SCSI_DONE;
	}
	if (scsi_dvd_is_cd(request)) {
		scsi_fail(request, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INCOMPATIBLE_FORMAT);
		return SCSI_DONE;
	}
	switch (request->cdb[7]) {
	case 0x00:
		if (request->cdb[6] != 0) {
			scsi_fail_cdb(request, 6, -1); /* another layer */
			return SCSI_DONE;
		}
		bytes = structure_physical(request, &data[4]);
		break;
	case 0x01:
		bytes = structure_copyright(request, &data[4]);
		break;
	case 0xff:
		bytes = structure_list(request, &data[4]);
		break;
	default:
		scsi_fail_cdb(request, 7, -1);
		return SCSI_DONE;
	}
	bytes_put_be16(data, (uint16_t)(bytes + 2));
	scsi_reply(request, data, 4 + bytes, bytes_be16(&request->cdb[8]));
	return SCSI_DONE;
}

/* ---- data --------------------------------------------------------------------------------------- */

/* The user data of mode 1, which is all that an image has: the 2048 bytes of each block. */
enum scsi_submit scsi_dvd_read_cd(struct scsi_disk *disk, struct scsi_request *request)
{
	const uint8_t *cdb = request->cdb;
	uint32_t blocks = bytes_be32(&cdb[5]) & 0xffffff;
	uint8_t type = (cdb[1] >> 2) & 0x07;

	if (type != 0 && type != 2) {
		scsi_fail(request, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_ILLEGAL_TRACK_MODE);
		return SCSI_DONE;
	}
	if (cdb[10] & 0x07) {
		scsi_fail_cdb(request, 10, 2); /* sub-channels */
		return SCSI_DONE;
	}
	if (cdb[9] != 0 && cdb[9] != 0x10) {
		scsi_fail_cdb(request, 9, 7); /* headers, error codes */
		return SCSI_DONE;
	}
	return scsi_read_range(request, bytes_be32(&cdb[2]), cdb[9] ? blocks : 0, 6);
}

enum scsi_submit scsi_dvd_seek(struct scsi_disk *disk, struct scsi_request *request)
{
	if (bytes_be32(&request->cdb[2]) >= scsi_blocks(request)) {
		scsi_fail(request, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_LBA_OUT_OF_RANGE);
	} else {
		scsi_good(request);
	}
	return SCSI_DONE;
}

/* Of the disc that is in; without one, the most that there could be. */
enum scsi_submit scsi_dvd_format_capacities(struct scsi_disk *disk, struct scsi_request *request)
{
	uint8_t data[12] = { 0 };
	bool has_disc = scsi_medium_is_there(request);

	data[3] = 8;
	bytes_put_be32(&data[4], (uint32_t)(has_disc ? scsi_blocks(request) : SCSI_DVD_BLOCKS_MAX));
	bytes_put_be32(&data[8], SCSI_DVD_BLOCK_BYTES);
	data[8] = has_disc ? 0x02 : 0x03;
	scsi_reply(request, data, sizeof(data), bytes_be16(&request->cdb[7]));
	return SCSI_DONE;
}

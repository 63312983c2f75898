/* SPDX-License-Identifier: MIT */
/* Answers of SCSI commands, and the target that routes them to its units. */
#include "scsi/scsi.h"

#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "block/iovec.h"
#include "scsi/scsi_disk_internal.h"

void scsi_good(struct scsi_request *request)
{
	request->status = SCSI_STATUS_GOOD;
	request->sense_bytes = 0;
	request->transferred_bytes = 0;
}

void scsi_fail(struct scsi_request *request, uint8_t key, uint16_t asc)
{
	request->status = SCSI_STATUS_CHECK_CONDITION;
	request->transferred_bytes = 0;
	request->sense_bytes = SCSI_SENSE_BYTES;
	memset(request->sense, 0, sizeof(request->sense));
	request->sense[0] = SCSI_SENSE_FIXED_CURRENT;
	request->sense[2] = key;
	request->sense[7] = SCSI_SENSE_ADDITIONAL;
	bytes_put_be16(&request->sense[12], asc);
}

static void scsi_point(struct scsi_request *request, uint8_t flags, unsigned int byte, int bit)
{
	request->sense[15] = SCSI_SENSE_SKSV | flags;
	if (bit >= 0) {
		request->sense[15] |= (uint8_t)(SCSI_SENSE_BPV | bit);
	}
	bytes_put_be16(&request->sense[16], (uint16_t)byte);
}

void scsi_fail_cdb(struct scsi_request *request, unsigned int byte, int bit)
{
	scsi_fail(request, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_CDB);
	scsi_point(request, SCSI_SENSE_IN_CDB, byte, bit);
}

void scsi_fail_list(struct scsi_request *request, unsigned int byte, int bit)
{
	scsi_fail(request, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_INVALID_FIELD_IN_LIST);
	scsi_point(request, 0, byte, bit);
}

void scsi_reply(struct scsi_request *request, const void *data, uint32_t bytes,
		uint32_t allocation_bytes)
{
	size_t n = num_min(num_min(bytes, allocation_bytes), request->data_bytes);

	scsi_good(request);
	request->transferred_bytes =
		(uint32_t)iovec_scatter(request->iov, request->iov_count, 0, data, n);
}

/* The list is what they were to be told of. */
static void scsi_luns_told(struct scsi_target *target)
{
	for (unsigned int lun = 0; lun < SCSI_LUNS_MAX; lun++) {
		struct scsi_disk *disk = target->luns[lun];

		if (disk && (scsi_flags(disk) & SCSI_UA_LUNS)) {
			scsi_flags_clear(disk, SCSI_UA_LUNS);
		}
	}
}

/* SPC-4 6.33: the units of this target, in order. */
static void scsi_report_luns(struct scsi_target *target, struct scsi_request *request)
{
	uint8_t data[8 + 8 * SCSI_LUNS_MAX] = { 0 };
	uint32_t allocation = bytes_be32(&request->cdb[6]);
	uint32_t bytes = 8;

	if (request->cdb[2] > 2) {
		scsi_fail_cdb(request, 2, -1);
		return;
	}
	if (allocation < 16) {
		scsi_fail_cdb(request, 6, -1);
		return;
	}
	/* 1 asks for well-known units only, and there are none. */
	for (unsigned int lun = 0; request->cdb[2] != 1 && lun < SCSI_LUNS_MAX; lun++) {
		if (target->luns[lun] && scsi_disk_is_there(target->luns[lun], request->queue)) {
			data[bytes + 1] = (uint8_t)lun;
			bytes += 8;
		}
	}
	scsi_luns_told(target);
	bytes_put_be32(data, bytes - 8);
	scsi_reply(request, data, bytes, allocation);
}

/* SPC-4 6.6.2: a unit that cannot be there, said so. */
static void scsi_inquiry_absent(struct scsi_request *request)
{
	uint8_t data[SCSI_INQUIRY_BYTES];

	if (request->cdb[1] & (SCSI_INQUIRY_EVPD | SCSI_INQUIRY_CMDDT)) {
		scsi_fail_cdb(request, 1, 0);
		return;
	}
	if (request->cdb[2] != 0) {
		scsi_fail_cdb(request, 2, -1);
		return;
	}
	scsi_inquiry_fill(data, NULL);
	scsi_reply(request, data, sizeof(data), bytes_be16(&request->cdb[3]));
}

enum scsi_submit scsi_target_submit(struct scsi_target *target, uint8_t lun,
				    struct scsi_request *request)
{
	struct scsi_disk *disk = lun < SCSI_LUNS_MAX ? target->luns[lun] : NULL;
	enum scsi_submit how = SCSI_NO_UNIT;

	if (request->cdb[0] == SCSI_OP_REPORT_LUNS) {
		scsi_report_luns(target, request);
		return SCSI_DONE;
	}
	if (disk) {
		how = scsi_disk_submit(disk, request);
	}
	if (how == SCSI_NO_UNIT && request->cdb[0] == SCSI_OP_INQUIRY) {
		scsi_inquiry_absent(request);
		return SCSI_DONE;
	}
	return how;
}

/* SPDX-License-Identifier: MIT */
/*
 * LOG SENSE: the list of pages, and the one that tells that nothing is wrong.
 *
 *   spec  SPC-4 6.8, 7.3.8
 */
#include "base/bytes.h"
#include "scsi/scsi_disk_internal.h"

#define LOG_SUPPORTED  0x00
#define LOG_EXCEPTIONS 0x2f /* informational exceptions */

enum scsi_submit scsi_log_sense(struct scsi_disk *disk, struct scsi_request *request)
{
	uint8_t data[4 + 8] = { 0 };
	uint32_t bytes = 4;

	if (request->cdb[1] & 0x03) {
		scsi_fail_cdb(request, 1, 1); /* PPC, SP: nothing changes, nothing is saved */
		return SCSI_DONE;
	}
	if (request->cdb[3] != 0) {
		scsi_fail_cdb(request, 3, -1);
		return SCSI_DONE;
	}
	data[0] = request->cdb[2] & 0x3f;
	switch (data[0]) {
	case LOG_SUPPORTED:
		data[bytes++] = LOG_SUPPORTED;
		data[bytes++] = LOG_EXCEPTIONS;
		break;
	case LOG_EXCEPTIONS:
		data[6] = 0x03; /* parameter 0: binary, in a list */
		data[7] = 4;
		data[10] = 0xff; /* no additional sense; the temperature is not known */
		bytes += 8;
		break;
	default:
		scsi_fail_cdb(request, 2, 5);
		return SCSI_DONE;
	}
	bytes_put_be16(&data[2], (uint16_t)(bytes - 4));
	scsi_reply(request, data, bytes, bytes_be16(&request->cdb[7]));
	return SCSI_DONE;
}

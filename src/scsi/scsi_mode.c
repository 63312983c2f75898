/* SPDX-License-Identifier: MIT */
/*
 * Mode parameters. All that can be changed is a disk's write cache, in the caching page.
 *
 *   spec  SPC-4 6.10 to 6.14 and 7.5, SBC-3 6.5
 */
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "block/iovec.h"
#include "scsi/scsi_dvd_internal.h"

#define CACHING_BYTES        20
#define CONTROL_BYTES        12
#define ERROR_RECOVERY_BYTES 12
#define EXCEPTIONS_BYTES     12
#define ALL_PAGES_BYTES                                                                            \
	(ERROR_RECOVERY_BYTES + CACHING_BYTES + CONTROL_BYTES + EXCEPTIONS_BYTES +                 \
	 DVD_CAPABILITIES_BYTES)
#define MODE_LIST_BYTES_MAX 256

static bool is_long_form(const struct scsi_request *request)
{
	return request->cdb[0] >> 5 != 0;
}

static uint32_t page_caching(const struct scsi_disk *disk, unsigned int control, uint8_t *at)
{
	memset(at, 0, CACHING_BYTES);
	at[0] = SCSI_MODE_CACHING;
	at[1] = CACHING_BYTES - 2;
	if (control == SCSI_MODE_PC_CHANGEABLE ||
	    (control == SCSI_MODE_PC_DEFAULT ? disk->write_cache
					     : scsi_disk_has_write_cache(disk))) {
		at[2] = SCSI_MODE_WCE;
	}
	return CACHING_BYTES;
}

static uint32_t page_control(const struct scsi_disk *disk, unsigned int control, uint8_t *at)
{
	memset(at, 0, CONTROL_BYTES);
	at[0] = SCSI_MODE_CONTROL;
	at[1] = CONTROL_BYTES - 2;
	if (control != SCSI_MODE_PC_CHANGEABLE) {
		at[3] = 0x10;                   /* commands may be reordered */
		bytes_put_be16(&at[8], 0xffff); /* a busy timeout without limit */
	}
	return CONTROL_BYTES;
}

/* SBC-3 6.4.2: the 8-byte block descriptor. */
static uint32_t block_descriptor(const struct scsi_request *request, uint8_t *at)
{
	bytes_put_be32(at, (uint32_t)num_min(scsi_blocks(request), UINT32_MAX));
	bytes_put_be32(&at[4], scsi_block_bytes(request));
	at[4] = 0;
	return 8;
}

/* What the host's storage does by itself: nothing of it can be set. */
static uint32_t page_error_recovery(const struct scsi_disk *disk, unsigned int control, uint8_t *at)
{
	memset(at, 0, ERROR_RECOVERY_BYTES);
	at[0] = SCSI_MODE_ERROR_RECOVERY;
	at[1] = ERROR_RECOVERY_BYTES - 2;
	if (control != SCSI_MODE_PC_CHANGEABLE && disk->type == SCSI_DISK) {
		at[2] = 0xc0; /* AWRE, ARRE: bad blocks are replaced */
	}
	return ERROR_RECOVERY_BYTES;
}

static uint32_t page_exceptions(const struct scsi_disk *disk, unsigned int control, uint8_t *at)
{
	memset(at, 0, EXCEPTIONS_BYTES);
	at[0] = SCSI_MODE_EXCEPTIONS;
	at[1] = EXCEPTIONS_BYTES - 2;
	if (control != SCSI_MODE_PC_CHANGEABLE) {
		at[2] = 0x08; /* DEXCPT: none are reported */
	}
	return EXCEPTIONS_BYTES;
}

static const struct mode_page {
	uint8_t code;
	uint8_t types; /* 1 << enum scsi_disk_type */
	uint32_t (*fill)(const struct scsi_disk *disk, unsigned int control, uint8_t *at);
} all_pages[] = {
	{ SCSI_MODE_ERROR_RECOVERY, 1 << SCSI_DISK | 1 << SCSI_DVD, page_error_recovery },
	{ SCSI_MODE_CACHING, 1 << SCSI_DISK, page_caching },
	{ SCSI_MODE_CONTROL, 1 << SCSI_DISK, page_control },
	{ SCSI_MODE_EXCEPTIONS, 1 << SCSI_DISK | 1 << SCSI_DVD, page_exceptions },
	{ SCSI_MODE_CAPABILITIES, 1 << SCSI_DVD, scsi_dvd_page_capabilities },
};

/* The pages that were asked for, ALL_PAGES_BYTES at most; 0 when there is no such page. */
static uint32_t mode_pages(const struct scsi_disk *disk, uint8_t page, unsigned int control,
			   uint8_t *at)
{
	uint32_t bytes = 0;

	for (size_t i = 0; i < ARRAY_SIZE(all_pages); i++) {
		if ((page == all_pages[i].code || page == SCSI_MODE_ALL) &&
		    (all_pages[i].types & 1 << disk->type)) {
			bytes += all_pages[i].fill(disk, control, at + bytes);
		}
	}
	return bytes;
}

enum scsi_submit scsi_mode_sense(struct scsi_disk *disk, struct scsi_request *request)
{
	bool is_long = is_long_form(request);
	uint8_t page = request->cdb[2] & 0x3f, subpage = request->cdb[3];
	unsigned int control = request->cdb[2] >> 6;
	uint8_t device = disk->type == SCSI_DISK ? SCSI_MODE_DPOFUA : 0;
	uint8_t data[8 + 8 + ALL_PAGES_BYTES] = { 0 };
	uint32_t bytes = is_long ? 8 : 4, descriptor = 0, pages;

	if (control == SCSI_MODE_PC_SAVED) {
		scsi_fail(request, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_SAVING_NOT_SUPPORTED);
		return SCSI_DONE;
	}
	if (subpage != 0 && subpage != 0xff) {
		scsi_fail_cdb(request, 3, -1);
		return SCSI_DONE;
	}
	/* DBD: no block descriptor, please; a drive has none. */
	if (disk->type == SCSI_DISK && !(request->cdb[1] & 0x08)) {
		descriptor = block_descriptor(request, &data[bytes]);
		bytes += descriptor;
	}
	pages = mode_pages(disk, page, control, &data[bytes]);
	if (pages == 0) {
		scsi_fail_cdb(request, 2, 5);
		return SCSI_DONE;
	}
	bytes += pages;

	if (disk->type == SCSI_DISK && (scsi_queue_of(request)->refused & SCSI_COMMAND_WRITE)) {
		device |= SCSI_MODE_WP;
	}
	if (is_long) {
		bytes_put_be16(data, (uint16_t)(bytes - 2));
		data[3] = device;
		bytes_put_be16(&data[6], (uint16_t)descriptor);
		scsi_reply(request, data, bytes, bytes_be16(&request->cdb[7]));
	} else {
		data[0] = (uint8_t)(bytes - 1);
		data[2] = device;
		data[3] = (uint8_t)descriptor;
		scsi_reply(request, data, bytes, request->cdb[4]);
	}
	return SCSI_DONE;
}

/*
 * One page of a MODE SELECT list: must equal the current one but for what can be changed. -1 and
 * the new write cache setting, or the offset of the first byte that is wrong.
 */
static int select_page(const struct scsi_disk *disk, const uint8_t *at, uint32_t left,
		       bool *write_cache)
{
	uint8_t current[ALL_PAGES_BYTES], changeable[ALL_PAGES_BYTES];
	uint32_t bytes =
		at[0] == SCSI_MODE_ALL ? 0 : mode_pages(disk, at[0], SCSI_MODE_PC_CURRENT, current);

	if (bytes == 0) {
		return 0;
	}
	(void)mode_pages(disk, at[0], SCSI_MODE_PC_CHANGEABLE, changeable);
	if (at[1] != current[1] || bytes > left) {
		return 1;
	}
	for (uint32_t i = 2; i < bytes; i++) {
		if ((at[i] ^ current[i]) & ~changeable[i]) {
			return (int)i;
		}
	}
	if (at[0] == SCSI_MODE_CACHING) {
		*write_cache = at[2] & SCSI_MODE_WCE;
	}
	return -1;
}

/* The list, copied out of the guest's memory. False when it was refused and answered. */
static bool select_list(const struct scsi_disk *disk, struct scsi_request *request,
			const uint8_t *list, uint32_t bytes, bool *write_cache)
{
	uint32_t at = is_long_form(request) ? 8 : 4;
	uint32_t descriptor = 0;
	int wrong;

	if (bytes >= at) {
		descriptor = is_long_form(request) ? bytes_be16(&list[6]) : list[3];
	}
	if (bytes < at || descriptor > bytes - at) {
		goto length;
	}
	/* The block size cannot be changed; the number of blocks is not looked at. */
	if (descriptor != 0 && (descriptor != 8 || (bytes_be32(&list[at + 4]) & 0xffffff) !=
							   scsi_block_bytes(request))) {
		scsi_fail_list(request, at, -1);
		return false;
	}
	for (at += descriptor; at < bytes; at += 2U + list[at + 1]) {
		if (bytes - at < 2) {
			goto length;
		}
		wrong = select_page(disk, &list[at], bytes - at, write_cache);
		if (wrong >= 0) {
			scsi_fail_list(request, at + (uint32_t)wrong, -1);
			return false;
		}
	}
	return true;

length:
	scsi_fail(request, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
	return false;
}

enum scsi_submit scsi_mode_select(struct scsi_disk *disk, struct scsi_request *request)
{
	uint8_t list[MODE_LIST_BYTES_MAX];
	uint32_t bytes = is_long_form(request) ? bytes_be16(&request->cdb[7]) : request->cdb[4];
	bool had_cache = scsi_disk_has_write_cache(disk), write_cache = had_cache;

	if (request->cdb[1] & 0x01) {
		scsi_fail_cdb(request, 1, 0); /* SP: nothing is saved */
		return SCSI_DONE;
	}
	if (!(request->cdb[1] & 0x10)) {
		scsi_fail_cdb(request, 1, 4); /* PF: standard pages only */
		return SCSI_DONE;
	}
	if (bytes == 0) {
		scsi_good(request);
		return SCSI_DONE;
	}
	if (bytes > request->data_bytes || bytes > sizeof(list)) {
		scsi_fail(request, SCSI_KEY_ILLEGAL_REQUEST, SCSI_ASC_PARAMETER_LIST_LENGTH);
		return SCSI_DONE;
	}
	iovec_gather(request->iov, request->iov_count, 0, list, bytes);
	/* All pages are checked before any takes effect. */
	if (!select_list(disk, request, list, bytes, &write_cache)) {
		return SCSI_DONE;
	}
	if (write_cache) {
		scsi_flags_clear(disk, SCSI_STATE_NO_CACHE);
	} else {
		scsi_flags_set(disk, SCSI_STATE_NO_CACHE);
	}
	if (had_cache && !write_cache) {
		return scsi_flush(disk, request, bytes); /* what is still in it */
	}
	scsi_good(request);
	request->transferred_bytes = bytes;
	return SCSI_DONE;
}

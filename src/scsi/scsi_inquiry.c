/* SPDX-License-Identifier: MIT */
/*
 * What a disk is: INQUIRY with its vital product data pages, READ CAPACITY.
 *
 *   spec  SPC-4 6.6 and 7.8, SBC-3 5.16, 5.17 and 6.6
 */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "scsi/scsi_disk_internal.h"

#define INQUIRY_VENDOR  "Msft    "
#define INQUIRY_VERSION "1.0 "

#define VPD_BYTES_MAX   128

static uint8_t inquiry_type(const struct scsi_disk *disk)
{
	return disk->type == SCSI_DVD ? SCSI_INQUIRY_TYPE_DVD : SCSI_INQUIRY_TYPE_DISK;
}

void scsi_inquiry_fill(uint8_t *ret_data, const struct scsi_disk *disk)
{
	memset(ret_data, 0, SCSI_INQUIRY_BYTES);
	ret_data[0] = SCSI_INQUIRY_NO_UNIT;
	ret_data[2] = SCSI_INQUIRY_VERSION_SPC3;
	ret_data[3] = 0x02; /* format of this answer */
	ret_data[4] = SCSI_INQUIRY_BYTES - 5;
	ret_data[7] = SCSI_INQUIRY_CMDQUE;
	memcpy(&ret_data[32], INQUIRY_VERSION, 4);
	if (!disk) {
		memcpy(&ret_data[8], INQUIRY_VENDOR, 8);
		memset(&ret_data[16], ' ', 16);
		return;
	}
	ret_data[0] = inquiry_type(disk);
	ret_data[1] = disk->type == SCSI_DVD ? SCSI_INQUIRY_RMB : 0;
	memcpy(&ret_data[8], disk->vendor, sizeof(disk->vendor));
	memcpy(&ret_data[16], disk->product, sizeof(disk->product));
}

static bool disk_can_provision(const struct scsi_request *request)
{
	const struct block_info *info = scsi_info(request);

	return info->can_discard || info->can_write_zeroes;
}

/* Each returns the bytes of its page after the 4-byte header. */
static uint32_t vpd_supported(const struct scsi_request *request, uint8_t *at)
{
	uint32_t n = 0;

	at[n++] = SCSI_VPD_SUPPORTED;
	at[n++] = SCSI_VPD_SERIAL;
	at[n++] = SCSI_VPD_IDENTIFICATION;
	if (request->disk->type == SCSI_DVD) {
		return n;
	}
	at[n++] = SCSI_VPD_BLOCK_LIMITS;
	at[n++] = SCSI_VPD_CHARACTERISTICS;
	if (disk_can_provision(request)) {
		at[n++] = SCSI_VPD_PROVISIONING;
	}
	return n;
}

static uint32_t vpd_serial(const struct scsi_request *request, uint8_t *at)
{
	size_t n = strlen(request->disk->serial);

	memcpy(at, request->disk->serial, n);
	return (uint32_t)n;
}

/* SPC-4 7.8.6.11: "naa." and the digits, ended by zeroes to a multiple of 4 bytes. */
static uint32_t put_name_string(uint8_t *at, const uint8_t *naa, uint8_t naa_bytes)
{
	uint32_t bytes = (4U + 2U * naa_bytes + 1 + 3) & ~3U;
	char text[4 + 2 * 16 + 1];
	int n = snprintf(text, sizeof(text), "naa.");

	for (uint8_t i = 0; i < naa_bytes; i++) {
		n += snprintf(&text[n], sizeof(text) - (size_t)n, "%02X", naa[i]);
	}
	memset(at, 0, 4 + bytes);
	at[0] = 0x03; /* UTF-8 */
	at[1] = 0x08; /* SCSI name string, of the unit */
	at[3] = (uint8_t)bytes;
	memcpy(&at[4], text, (size_t)n);
	return 4 + bytes;
}

/*
 * Three designators, each of which is unique by itself: T10 vendor (binary: vendor and a GUID), NAA,
 * and the same as a SCSI name string.
 */
static uint32_t vpd_identification(const struct scsi_request *request, uint8_t *at)
{
	const struct scsi_disk *disk = request->disk;
	uint8_t naa_bytes = disk->naa[0] >> 4 == 6 ? 16 : 8;

	at[0] = 0x01; /* binary */
	at[1] = 0x01; /* T10 vendor identification, of the unit */
	at[2] = 0;
	at[3] = 8 + 16;
	memcpy(&at[4], disk->vendor, 8);
	memcpy(&at[12], disk->unique, 16);
	at[28] = 0x01;
	at[29] = 0x03; /* NAA */
	at[30] = 0;
	at[31] = naa_bytes;
	memcpy(&at[32], disk->naa, naa_bytes);
	return 32U + naa_bytes + put_name_string(&at[32 + naa_bytes], disk->naa, naa_bytes);
}

static uint32_t vpd_block_limits(const struct scsi_request *request, uint8_t *at)
{
	const struct block_info *info = scsi_info(request);
	uint32_t granularity = info->physical_block_bytes >> scsi_block_shift(request);

	memset(at, 0, 60);
	bytes_put_be16(&at[2], (uint16_t)num_min(granularity, UINT16_MAX));
	bytes_put_be32(&at[4], request->disk->transfer_bytes_max >> scsi_block_shift(request));
	if (info->can_discard) {
		bytes_put_be32(&at[16], UINT32_MAX);
		bytes_put_be32(&at[20], SCSI_UNMAP_MAX);
		bytes_put_be32(&at[24], granularity);
		bytes_put_be32(&at[28], 0x80000000); /* alignment 0, valid */
	}
	if (info->can_write_zeroes) {
		bytes_put_be64(&at[32], UINT32_MAX); /* of WRITE SAME, blocks */
	}
	return 60;
}

static uint32_t vpd_characteristics(const struct scsi_request *request, uint8_t *at)
{
	memset(at, 0, 60);
	bytes_put_be16(at, scsi_info(request)->rotational ? 7200 : 1); /* 1: does not rotate */
	return 60;
}

static uint32_t vpd_provisioning(const struct scsi_request *request, uint8_t *at)
{
	const struct block_info *info = scsi_info(request);

	memset(at, 0, 4);
	if (info->can_discard) {
		at[1] |= 0x80; /* LBPU: UNMAP */
		at[2] = 2;     /* thin */
	}
	if (info->can_write_zeroes && info->can_discard) {
		at[1] |= 0x60; /* LBPWS, LBPWS10: WRITE SAME may unmap */
		at[1] |= 0x04; /* LBPRZ: unmapped blocks read zeroes */
	}
	return 4;
}

static const struct {
	uint8_t page;
	bool is_disks; /* a DVD drive has no such page */
	uint32_t (*fill)(const struct scsi_request *request, uint8_t *at);
} vpd_pages[] = {
	{ SCSI_VPD_SUPPORTED, false, vpd_supported },
	{ SCSI_VPD_SERIAL, false, vpd_serial },
	{ SCSI_VPD_IDENTIFICATION, false, vpd_identification },
	{ SCSI_VPD_BLOCK_LIMITS, true, vpd_block_limits },
	{ SCSI_VPD_CHARACTERISTICS, true, vpd_characteristics },
	{ SCSI_VPD_PROVISIONING, true, vpd_provisioning },
};

static void inquiry_vpd(struct scsi_disk *disk, struct scsi_request *request, uint32_t allocation)
{
	uint8_t data[4 + VPD_BYTES_MAX] = { 0 };
	uint8_t page = request->cdb[2];

	for (size_t i = 0; i < ARRAY_SIZE(vpd_pages); i++) {
		uint32_t bytes;

		if (vpd_pages[i].page != page ||
		    (vpd_pages[i].is_disks && disk->type != SCSI_DISK) ||
		    (page == SCSI_VPD_PROVISIONING && !disk_can_provision(request))) {
			continue;
		}
		bytes = vpd_pages[i].fill(request, &data[4]);
		data[0] = inquiry_type(disk);
		data[1] = page;
		bytes_put_be16(&data[2], (uint16_t)bytes);
		scsi_reply(request, data, 4 + bytes, allocation);
		return;
	}
	scsi_fail_cdb(request, 2, -1);
}

enum scsi_submit scsi_inquiry(struct scsi_disk *disk, struct scsi_request *request)
{
	uint32_t allocation = bytes_be16(&request->cdb[3]);
	uint8_t data[SCSI_INQUIRY_BYTES];

	if (request->cdb[1] & SCSI_INQUIRY_CMDDT) {
		scsi_fail_cdb(request, 1, 1);
	} else if (request->cdb[1] & SCSI_INQUIRY_EVPD) {
		inquiry_vpd(disk, request, allocation);
	} else if (request->cdb[2] != 0) {
		scsi_fail_cdb(request, 2, -1);
	} else {
		scsi_inquiry_fill(data, disk);
		scsi_reply(request, data, sizeof(data), allocation);
	}
	return SCSI_DONE;
}

/* A disk of more than 2^32 - 1 blocks answers all ones: ask with 16. */
enum scsi_submit scsi_read_capacity_10(struct scsi_disk *disk, struct scsi_request *request)
{
	uint8_t data[8];

	if (bytes_be32(&request->cdb[2]) != 0 && !(request->cdb[8] & 0x01)) {
		scsi_fail_cdb(request, 2, -1); /* an address without PMI */
		return SCSI_DONE;
	}
	bytes_put_be32(&data[0], (uint32_t)num_min(scsi_blocks(request) - 1, UINT32_MAX));
	bytes_put_be32(&data[4], scsi_block_bytes(request));
	scsi_reply(request, data, sizeof(data), sizeof(data));
	return SCSI_DONE;
}

enum scsi_submit scsi_read_capacity_16(struct scsi_disk *disk, struct scsi_request *request)
{
	const struct block_info *info = scsi_info(request);
	uint8_t data[32] = { 0 };
	uint32_t per_physical = info->physical_block_bytes >> scsi_block_shift(request);

	bytes_put_be64(&data[0], scsi_blocks(request) - 1);
	bytes_put_be32(&data[8], scsi_block_bytes(request));
	if (num_is_power_of_2(per_physical)) {
		data[13] = (uint8_t)__builtin_ctz(per_physical);
	}
	if (info->can_discard) {
		data[14] |= 0x80;                              /* LBPME: thin */
		data[14] |= info->can_write_zeroes ? 0x40 : 0; /* LBPRZ */
	}
	scsi_reply(request, data, sizeof(data), bytes_be32(&request->cdb[10]));
	return SCSI_DONE;
}

/* SPDX-License-Identifier: MIT */
/* VSTOR packets. */
#include "vsp/storage/vstor_parse.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"

static int vstor_parse_srb(const uint8_t *at, size_t bytes, struct vstor_request *request)
{
	struct vstor_srb srb;

	/* What Windows 8 added at the end is not needed. */
	if (bytes < offsetof(struct vstor_srb, reserved2)) {
		return -EBADMSG;
	}
	memset(&srb, 0, sizeof(srb));
	memcpy(&srb, at, num_min(bytes, sizeof(srb)));
	if (srb.cdb_bytes == 0 || srb.cdb_bytes > VSTOR_CDB_BYTES) {
		return -EBADMSG;
	}
	request->path = srb.path;
	request->target = srb.target;
	request->lun = srb.lun;
	request->cdb_bytes = srb.cdb_bytes;
	memcpy(request->cdb, srb.cdb, srb.cdb_bytes);
	request->data_bytes = srb.data_bytes;
	return 0;
}

int vstor_parse(const void *payload, size_t bytes, struct vstor_request *ret_request)
{
	const uint8_t *at = (const uint8_t *)payload + sizeof(struct vstor_header);
	struct vstor_header header;
	struct vstor_version version;

	memset(ret_request, 0, sizeof(*ret_request));
	if (bytes < sizeof(header)) {
		return -EBADMSG;
	}
	memcpy(&header, payload, sizeof(header));
	bytes -= sizeof(header);
	ret_request->operation = header.operation;
	switch (header.operation) {
	case VSTOR_EXECUTE_SRB:
		return vstor_parse_srb(at, bytes, ret_request);
	case VSTOR_RESET_LUN:
	case VSTOR_RESET_ADAPTER:
	case VSTOR_RESET_BUS:
	case VSTOR_BEGIN_INITIALIZATION:
	case VSTOR_END_INITIALIZATION:
	case VSTOR_QUERY_PROPERTIES:
	case VSTOR_FC_HBA_DATA:
		return 0;
	case VSTOR_QUERY_PROTOCOL_VERSION:
		if (bytes < sizeof(version)) {
			return -EBADMSG;
		}
		memcpy(&version, at, sizeof(version));
		ret_request->version = version.version;
		return 0;
	case VSTOR_CREATE_SUB_CHANNELS:
		if (bytes < sizeof(ret_request->sub_channels)) {
			return -EBADMSG;
		}
		memcpy(&ret_request->sub_channels, at, sizeof(ret_request->sub_channels));
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

uint32_t vstor_answer_bytes(size_t request_bytes)
{
	return request_bytes >= VSTOR_PACKET_BYTES ? VSTOR_PACKET_BYTES : VSTOR_PACKET_BYTES_OLD;
}

static void vstor_build(uint32_t operation, uint32_t status, const void *body, size_t bytes,
			uint8_t *ret_packet)
{
	struct vstor_header header = { .operation = operation, .status = status };

	memcpy(ret_packet, &header, sizeof(header));
	if (bytes > 0) {
		memcpy(ret_packet + sizeof(header), body, bytes);
	}
	memset(ret_packet + sizeof(header) + bytes, 0, VSTOR_PACKET_BYTES - sizeof(header) - bytes);
}

void vstor_build_status(uint32_t status, uint8_t *ret_packet)
{
	vstor_build(VSTOR_COMPLETE_IO, status, NULL, 0, ret_packet);
}

void vstor_build_event(uint32_t operation, uint8_t *ret_packet)
{
	vstor_build(operation, VSTOR_STATUS_SUCCESS, NULL, 0, ret_packet);
}

void vstor_build_version(uint32_t status, uint16_t version, uint8_t *ret_packet)
{
	struct vstor_version body = { .version = version };

	vstor_build(VSTOR_COMPLETE_IO, status, &body, sizeof(body), ret_packet);
}

void vstor_build_properties(uint16_t sub_channels_max, uint32_t transfer_bytes_max,
			    uint8_t *ret_packet)
{
	struct vstor_properties body = {
		.sub_channels_max = sub_channels_max,
		.flags = sub_channels_max > 0 ? VSTOR_PROPERTY_MULTI_CHANNEL : 0,
		.transfer_bytes_max = transfer_bytes_max,
	};

	vstor_build(VSTOR_COMPLETE_IO, VSTOR_STATUS_SUCCESS, &body, sizeof(body), ret_packet);
}

void vstor_build_srb(uint32_t status, const struct vstor_srb_answer *answer, uint8_t *ret_packet)
{
	struct vstor_srb srb = {
		.length = sizeof(srb),
		.srb_status = answer->srb_status,
		.scsi_status = answer->scsi_status,
		.path = answer->path,
		.target = answer->target,
		.lun = answer->lun,
		.cdb_bytes = VSTOR_CDB_BYTES,
		.sense_bytes = answer->sense_bytes,
		.data_bytes = answer->data_bytes,
	};

	if (answer->sense_bytes > 0) {
		memcpy(srb.sense, answer->sense, answer->sense_bytes);
	}
	vstor_build(VSTOR_COMPLETE_IO, status, &srb, sizeof(srb), ret_packet);
}

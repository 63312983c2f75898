/* SPDX-License-Identifier: MIT */
/*
 * VSTOR packets: bytes to requests, answers to bytes. The only code that sees proto/vstor.h's
 * structs.
 *
 *   thread  any
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "proto/vstor.h"

struct vstor_request {
	uint32_t operation; /* VSTOR_* */

	/* EXECUTE_SRB */
	uint8_t path, target, lun;
	uint8_t cdb_bytes;
	uint8_t cdb[VSTOR_CDB_BYTES]; /* zero beyond cdb_bytes */
	uint32_t data_bytes;

	/* QUERY_PROTOCOL_VERSION */
	uint16_t version;

	/* CREATE_SUB_CHANNELS */
	uint16_t sub_channels;
};

/*
 * A packet's payload. 0; -EBADMSG when it is too short for its operation or its CDB is longer than
 * the protocol's; -EOPNOTSUPP when there is no such operation. ret_request->operation is set
 * whenever the header was there, else 0.
 */
MUST_CHECK int vstor_parse(const void *payload, size_t bytes, struct vstor_request *ret_request);

/*
 * Answers have the length of the protocol's packet, since Windows insists on it; a guest that sends
 * the shorter packets of old gets such back.
 */
uint32_t vstor_answer_bytes(size_t request_bytes);

struct vstor_srb_answer {
	uint8_t srb_status;
	uint8_t scsi_status;
	uint8_t path, target, lun;
	uint8_t sense_bytes; /* ≤ VSTOR_SENSE_BYTES */
	const uint8_t *sense;
	uint32_t data_bytes;
};

/* Each fills VSTOR_PACKET_BYTES. */
void vstor_build_status(uint32_t status, uint8_t *ret_packet);
void vstor_build_version(uint32_t status, uint16_t version, uint8_t *ret_packet);
void vstor_build_properties(uint16_t sub_channels_max, uint32_t transfer_bytes_max,
			    uint8_t *ret_packet);
void vstor_build_srb(uint32_t status, const struct vstor_srb_answer *answer, uint8_t *ret_packet);

/* An unsolicited packet: VSTOR_ENUMERATE_BUS, VSTOR_REMOVE_DEVICE. */
void vstor_build_event(uint32_t operation, uint8_t *ret_packet);

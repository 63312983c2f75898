/* SPDX-License-Identifier: MIT */
/* A VSTOR packet: parsed, then an answer made of what came out. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "vsp/storage/vstor_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1); /* of its own, so that an overrun shows */
	uint8_t answer[VSTOR_PACKET_BYTES];
	struct vstor_request request;
	int err;

	check(copy);
	if (size > 0) {
		memcpy(copy, data, size);
	}
	err = vstor_parse(copy, size, &request);
	check(request.cdb_bytes <= VSTOR_CDB_BYTES);
	check(err || request.operation != VSTOR_EXECUTE_SRB || request.cdb_bytes > 0);
	check(vstor_answer_bytes(size) <= sizeof(answer));
	if (!err) {
		struct vstor_srb_answer srb = {
			.path = request.path,
			.target = request.target,
			.lun = request.lun,
			.sense = request.cdb,
			.sense_bytes = request.cdb_bytes,
			.data_bytes = request.data_bytes,
		};

		vstor_build_srb(VSTOR_STATUS_SUCCESS, &srb, answer);
		vstor_build_version(VSTOR_STATUS_SUCCESS, request.version, answer);
		vstor_build_properties(request.sub_channels, request.data_bytes, answer);
	}
	free(copy);
	return 0;
}

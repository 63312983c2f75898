/* SPDX-License-Identifier: MIT */
/* NVSP messages: the first byte chooses the version. */
#include <stdlib.h>
#include <string.h>

#include "vsp/net/nvsp_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t versions[] = { 0,
					     NVSP_VERSION_1,
					     NVSP_VERSION_2,
					     NVSP_VERSION_4,
					     NVSP_VERSION_5,
					     NVSP_VERSION_6,
					     NVSP_VERSION_61 };
	struct nvsp_request request = { 0 };
	const struct nvsp_dialect *dialect;
	uint8_t *copy;
	int err;

	if (size < 1) {
		return 0;
	}
	dialect = nvsp_dialect(versions[data[0] % (sizeof(versions) / sizeof(versions[0]))]);
	copy = malloc(size - 1 ? size - 1 : 1);
	memcpy(copy, data + 1, size - 1);
	err = nvsp_parse(copy, size - 1, dialect, &request);
	check(err || dialect || request.type == NVSP_INIT);
	check(err || request.type == NVSP_INIT || request.type <= dialect->last_type);
	free(copy);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* A partition's saved state, up to the point where KVM would get it. */
#include <stddef.h>
#include <stdint.h>

#include "unit/partition/fake_partition.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake_partition fake;
	struct diag diag;
	struct load load;

	log_set_level(LOG_ERROR);
	if (fake_partition_init(&fake)) {
		return 0;
	}
	load_init(&load, data, size);
	/* There is no KVM here: it cannot succeed. */
	check(partition_load(&fake.partition, &load, &diag) < 0);
	fake_partition_fini(&fake);
	return 0;
}

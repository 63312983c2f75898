/* SPDX-License-Identifier: MIT */
/*
 * A partition without KVM, for tests and fuzzing of its saved state: two VPs that no KVM call can
 * reach (their descriptors are -1).
 *
 *   owner   the test    thread  the test's
 */
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "partition/partition_internal.h"

struct fake_partition {
	struct partition partition;
	struct partition_chips chips;
	struct vcpu vcpus[2];
	uint32_t msrs[4];
};

static inline int fake_partition_init(struct fake_partition *fake)
{
	memset(fake, 0, sizeof(*fake));
	fake->msrs[0] = 0x10;
	fake->msrs[1] = HV_MSR_SCONTROL;
	fake->msrs[2] = HV_MSR_SIMP;
	fake->msrs[3] = HV_MSR_SIEFP;
	fake->partition.vps = 2;
	fake->partition.vm_fd = fake->partition.kvm_fd = -1;
	fake->partition.xsave_bytes = sizeof(struct kvm_xsave);
	fake->partition.msrs.indices = fake->msrs;
	fake->partition.msrs.count = 4;
	fake->partition.vcpus = fake->vcpus;
	fake->partition.power_on_chips = &fake->chips;
	for (uint32_t i = 0; i < 2; i++) {
		vcpu_prepare(&fake->vcpus[i]);
		fake->vcpus[i].partition = &fake->partition;
		fake->vcpus[i].index = i;
	}
	for (uint32_t i = 0; i < 3; i++) {
		fake->chips.chips[i].chip_id = i;
	}
	return vcpu_state_create(&fake->partition, &fake->partition.power_on);
}

static inline void fake_partition_fini(struct fake_partition *fake)
{
	vcpu_state_destroy(fake->partition.power_on);
}

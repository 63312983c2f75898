/* SPDX-License-Identifier: MIT */
/*
 * Which MSRs make up a VP's state: KVM's own list, less what belongs to interfaces that the guest
 * does not see, plus what KVM can save but does not list.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "partition/kvm.h"
#include "partition/partition_internal.h"

/* KVM's paravirtual clock at its old place; and its range since. */
#define MSR_KVM_OLD_FIRST 0x11U
#define MSR_KVM_OLD_LAST  0x12U
#define MSR_KVM_FIRST     0x4b564d00U
#define MSR_KVM_LAST      0x4b564dffU
#define MSR_HV_FIRST      0x40000000U
#define MSR_HV_LAST       0x400001ffU

/*
 * Hyper-V's, in the order in which they must be set: the guest's id before the hypercall page that
 * needs it; a timer's count before the configuration that starts it.
 */
static const uint32_t hv_msrs[] = {
	HV_MSR_GUEST_OS_ID,  HV_MSR_HYPERCALL,    0x40000010, /* VP_RUNTIME */
	0x40000021,                                           /* REFERENCE_TSC */
	0x40000073,                                           /* VP_ASSIST_PAGE */
	HV_MSR_SCONTROL,     HV_MSR_SIEFP,        HV_MSR_SIMP,
	HV_MSR_SINT0 + 0,    HV_MSR_SINT0 + 1,    HV_MSR_SINT0 + 2,
	HV_MSR_SINT0 + 3,    HV_MSR_SINT0 + 4,    HV_MSR_SINT0 + 5,
	HV_MSR_SINT0 + 6,    HV_MSR_SINT0 + 7,    HV_MSR_SINT0 + 8,
	HV_MSR_SINT0 + 9,    HV_MSR_SINT0 + 10,   HV_MSR_SINT0 + 11,
	HV_MSR_SINT0 + 12,   HV_MSR_SINT0 + 13,   HV_MSR_SINT0 + 14,
	HV_MSR_SINT0 + 15,   0x400000b1,          0x400000b0, /* STIMER0: count, configuration */
	0x400000b3,          0x400000b2,          0x400000b5,
	0x400000b4,          0x400000b7,          0x400000b6,
	HV_MSR_CRASH_P0 + 0, HV_MSR_CRASH_P0 + 1, HV_MSR_CRASH_P0 + 2,
	HV_MSR_CRASH_P0 + 3, HV_MSR_CRASH_P0 + 4, 0x40000118, /* TSC_INVARIANT_CONTROL */
};

/* MTRRs: type, fixed ranges, eight variable ranges. */
static const uint32_t mtrr_msrs[] = {
	0x2ff, 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d,
	0x26e, 0x26f, 0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207,
	0x208, 0x209, 0x20a, 0x20b, 0x20c, 0x20d, 0x20e, 0x20f,
};

static bool is_foreign(uint32_t msr)
{
	return (msr >= MSR_KVM_OLD_FIRST && msr <= MSR_KVM_OLD_LAST) ||
	       (msr >= MSR_KVM_FIRST && msr <= MSR_KVM_LAST) ||
	       (msr >= MSR_HV_FIRST && msr <= MSR_HV_LAST);
}

static void add(struct kvm_msrs *msrs, uint32_t msr)
{
	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		if (msrs->entries[i].index == msr) {
			return;
		}
	}
	msrs->entries[msrs->nmsrs++].index = msr;
}

/* Drops what VP 0 cannot read: KVM stops there and says how far it came. */
static int drop_unreadable(int vcpu_fd, struct kvm_msrs *msrs)
{
	uint32_t at = 0;

	while (at < msrs->nmsrs) {
		auto_free struct kvm_msrs *rest = NULL;
		size_t bytes = (msrs->nmsrs - at) * sizeof(msrs->entries[0]);
		int n;

		rest = fault_alloc(1, sizeof(*rest) + bytes);
		if (!rest) {
			return -ENOMEM;
		}
		rest->nmsrs = msrs->nmsrs - at;
		memcpy(rest->entries, msrs->entries + at, bytes);
		n = kvm_get_msrs(vcpu_fd, rest);
		if (n < 0) {
			return n;
		}
		at += (uint32_t)n;
		if (at < msrs->nmsrs) {
			msrs->nmsrs--;
			memmove(msrs->entries + at, msrs->entries + at + 1,
				(msrs->nmsrs - at) * sizeof(msrs->entries[0]));
		}
	}
	return 0;
}

int msr_list_create(struct partition *partition)
{
	auto_free struct kvm_msr_list *list = NULL;
	auto_free struct kvm_msrs *msrs = NULL;
	uint32_t room;
	int r;

	r = kvm_get_msr_index_list(partition->kvm_fd, &list);
	if (r < 0) {
		return r;
	}
	room = (uint32_t)(list->nmsrs + ARRAY_SIZE(hv_msrs) + ARRAY_SIZE(mtrr_msrs));
	msrs = fault_alloc(1, sizeof(*msrs) + room * sizeof(msrs->entries[0]));
	if (!msrs) {
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < list->nmsrs; i++) {
		if (!is_foreign(list->indices[i])) {
			add(msrs, list->indices[i]);
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(mtrr_msrs); i++) {
		add(msrs, mtrr_msrs[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(hv_msrs); i++) {
		add(msrs, hv_msrs[i]);
	}
	r = drop_unreadable(partition->vcpus[0].fd, msrs);
	if (r < 0) {
		return r;
	}
	partition->msrs.indices = fault_alloc(msrs->nmsrs + 1, sizeof(uint32_t));
	if (!partition->msrs.indices) {
		return -ENOMEM;
	}
	partition->msrs.count = msrs->nmsrs;
	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		partition->msrs.indices[i] = msrs->entries[i].index;
	}
	return 0;
}

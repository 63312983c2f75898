/* SPDX-License-Identifier: MIT */
/*
 * What the guest sees of its processors: KVM's own list, made into one package of single-threaded
 * cores, and Hyper-V's leaves in place of KVM's.
 *
 *   spec  Intel SDM 2A, CPUID; AMD APM 3, appendix E; TLFS 2.4
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/num.h"
#include "partition/partition_internal.h"

#define LEAF_HYPERVISOR_FIRST   0x40000000U
#define LEAF_HYPERVISOR_LAST    0x4fffffffU
#define LEAF_1_ECX_VMX          (1U << 5)
#define LEAF_1_ECX_TSC_DEADLINE (1U << 24)
#define LEAF_1_ECX_HYPERVISOR   (1U << 31)
#define LEAF_1_EDX_HTT          (1U << 28)
#define LEAF_EXT1_ECX_CMP       (1U << 1)
#define LEAF_EXT1_ECX_SVM       (1U << 2)

#define TOPOLOGY_SMT            1U
#define TOPOLOGY_CORE           2U

#define HV_VENDOR_EBX           0x7263694dU /* "Microsoft Hv" */
#define HV_VENDOR_ECX           0x666f736fU
#define HV_VENDOR_EDX           0x76482074U
#define HV_INTERFACE_EAX        0x31237648U /* "Hv#1" */

/* The Hyper-V that we say we are; guests print it. Windows Server 2022, as VMBus 5.3 is. */
#define HV_BUILD                20348U
#define HV_VERSION              (10U << 16 | 0U)

/* Retries on a lock before HvCallNotifyLongSpinWait; all ones: never. */
#define HV_SPINS_SMP            0x00000fffU
#define HV_SPINS_NEVER          0xffffffffU

/*
 * The privileges that Windows looks for before it starts VMBus, and what else a guest gains by;
 * all of this we demand of KVM.
 */
#define HV_PRIV_NEEDED                                                                             \
	(HV_PRIV_VP_RUNTIME | HV_PRIV_TIME_REF_COUNT | HV_PRIV_SYNIC | HV_PRIV_SYNTIMERS |         \
	 HV_PRIV_APIC_ACCESS | HV_PRIV_HYPERCALL | HV_PRIV_VP_INDEX | HV_PRIV_RESET |              \
	 HV_PRIV_REFERENCE_TSC | HV_PRIV_FREQUENCY_MSRS)
#define HV_PRIV_HIGH_NEEDED (HV_PRIV_HIGH_POST_MESSAGES | HV_PRIV_HIGH_SIGNAL_EVENTS)
#define HV_FEATURES_NEEDED                                                                         \
	(HV_FEATURE_FREQUENCY_MSRS | HV_FEATURE_CRASH_MSRS | HV_FEATURE_STIMER_DIRECT)

/* What is used where KVM has it. */
#define HV_PRIV_WANTED     HV_PRIV_TSC_INVARIANT
#define HV_FEATURES_WANTED HV_FEATURE_XMM_INPUT
#define HV_HINTS_ALWAYS    (HV_HINT_RELAXED_TIMING | HV_HINT_DEPRECATE_AUTO_EOI)
#define HV_HINTS_SMP       (HV_HINT_REMOTE_TLB_FLUSH | HV_HINT_CLUSTER_IPI | HV_HINT_EX_PROCESSOR_MASKS)

static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuid2 *list, uint32_t leaf)
{
	for (uint32_t i = 0; i < list->nent; i++) {
		if (list->entries[i].function == leaf) {
			return &list->entries[i];
		}
	}
	return NULL;
}

const char *cpuid_missing(const struct kvm_cpuid2 *hyperv)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} privileges[] = {
		{ HV_PRIV_VP_RUNTIME, "VP runtime" },
		{ HV_PRIV_TIME_REF_COUNT, "reference counter" },
		{ HV_PRIV_SYNIC, "SynIC" },
		{ HV_PRIV_SYNTIMERS, "synthetic timers" },
		{ HV_PRIV_APIC_ACCESS, "APIC MSRs" },
		{ HV_PRIV_HYPERCALL, "hypercalls" },
		{ HV_PRIV_VP_INDEX, "VP index" },
		{ HV_PRIV_RESET, "reset MSR" },
		{ HV_PRIV_REFERENCE_TSC, "reference TSC" },
		{ HV_PRIV_FREQUENCY_MSRS, "frequency MSRs" },
	}, features[] = {
		{ HV_FEATURE_FREQUENCY_MSRS, "frequency MSRs" },
		{ HV_FEATURE_CRASH_MSRS, "crash MSRs" },
		{ HV_FEATURE_STIMER_DIRECT, "direct synthetic timers" },
	};
	const struct kvm_cpuid_entry2 *leaf = find(hyperv, HV_CPUID_FEATURES);

	if (!leaf) {
		return "Hyper-V feature leaf";
	}
	for (size_t i = 0; i < ARRAY_SIZE(privileges); i++) {
		if (!(leaf->eax & privileges[i].bit)) {
			return privileges[i].name;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		if (!(leaf->edx & features[i].bit)) {
			return features[i].name;
		}
	}
	if ((leaf->ebx & HV_PRIV_HIGH_NEEDED) != HV_PRIV_HIGH_NEEDED) {
		return "post message and signal event";
	}
	return NULL;
}

/* ---- building ---- */

static struct kvm_cpuid_entry2 *add(struct kvm_cpuid2 *list, uint32_t leaf)
{
	struct kvm_cpuid_entry2 *entry = &list->entries[list->nent++];

	*entry = (struct kvm_cpuid_entry2){ .function = leaf };
	return entry;
}

static void add_hyperv(struct kvm_cpuid2 *list, const struct kvm_cpuid2 *hyperv,
		       const struct cpuid_policy *policy)
{
	const struct kvm_cpuid_entry2 *has = find(hyperv, HV_CPUID_FEATURES);
	const struct kvm_cpuid_entry2 *hints = find(hyperv, HV_CPUID_HINTS);
	struct kvm_cpuid_entry2 *entry = add(list, HV_CPUID_VENDOR);

	entry->eax = HV_CPUID_LIMITS;
	entry->ebx = HV_VENDOR_EBX;
	entry->ecx = HV_VENDOR_ECX;
	entry->edx = HV_VENDOR_EDX;
	entry = add(list, HV_CPUID_INTERFACE);
	entry->eax = HV_INTERFACE_EAX;
	entry = add(list, HV_CPUID_VERSION);
	entry->eax = HV_BUILD;
	entry->ebx = HV_VERSION;
	entry = add(list, HV_CPUID_FEATURES);
	if (has) {
		/* Bit 12 of ebx, CPU management, stays away: with it Linux thinks it is root. */
		entry->eax = has->eax & (HV_PRIV_NEEDED | HV_PRIV_WANTED);
		entry->ebx = has->ebx & HV_PRIV_HIGH_NEEDED;
		entry->edx = has->edx & (HV_FEATURES_NEEDED | HV_FEATURES_WANTED);
	}
	entry = add(list, HV_CPUID_HINTS);
	entry->ebx = policy->vps > 1 ? HV_SPINS_SMP : HV_SPINS_NEVER;
	if (hints) {
		uint32_t want = HV_HINTS_ALWAYS | (policy->vps > 1 ? HV_HINTS_SMP : 0);

		/*
		 * EOI by MSR can be skipped altogether where the assist page says so; without
		 * APIC hardware that is the cheapest. With it, the APIC's own EOI costs nothing.
		 */
		want |= policy->has_apic_hardware ? 0 : HV_HINT_APIC_MSRS;
		entry->eax = hints->eax & want;
	}
	entry = add(list, HV_CPUID_LIMITS);
	entry->eax = PARTITION_VPS_MAX;
	entry->ebx = PARTITION_VPS_MAX;
}

/* Bits that hold the numbers 0 to n - 1. */
static uint32_t bits_for(uint32_t n)
{
	uint32_t bits = 0;

	while (1U << bits < n) {
		bits++;
	}
	return bits;
}

static void set_cache_sharing(struct kvm_cpuid_entry2 *entry, uint32_t vps)
{
	uint32_t level = entry->eax >> 5 & 7;
	uint32_t sharers = level >= 3 ? (1U << bits_for(vps)) - 1 : 0;

	/* Bits 25:14: processors that share it, less one; 31:26, Intel: cores, less one. */
	entry->eax = (entry->eax & 0x3fff) | sharers << 14;
	if (entry->function == 4) {
		entry->eax |= ((1U << bits_for(vps)) - 1) << 26;
	}
}

/* One leaf of KVM's, as we show it. */
static void adjust(struct kvm_cpuid_entry2 *entry, const struct cpuid_policy *policy)
{
	uint32_t vps = policy->vps;

	switch (entry->function) {
	case 1:
		/* No virtualization in the guest: its state could not be saved. */
		entry->ecx &= ~LEAF_1_ECX_VMX;
		entry->ecx |= LEAF_1_ECX_HYPERVISOR;
		if (policy->has_tsc_deadline) {
			entry->ecx |= LEAF_1_ECX_TSC_DEADLINE;
		}
		entry->ebx = (entry->ebx & 0x0000ffff) | vps << 16;
		entry->edx = vps > 1 ? entry->edx | LEAF_1_EDX_HTT : entry->edx & ~LEAF_1_EDX_HTT;
		break;
	case 4:
	case 0x8000001d:
		if (entry->eax & 0x1f) {
			set_cache_sharing(entry, vps);
		}
		break;
	case 0xa:
		/* No performance counters: each access to one would be an exit. */
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
		break;
	case 0x80000001:
		entry->ecx &= ~LEAF_EXT1_ECX_SVM;
		entry->ecx =
			vps > 1 ? entry->ecx | LEAF_EXT1_ECX_CMP : entry->ecx & ~LEAF_EXT1_ECX_CMP;
		break;
	case 0x80000008:
		entry->ecx = (vps - 1) | bits_for(vps) << 12;
		break;
	case 0x8000000a:
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
		break;
	default:
		break;
	}
}

/* Leaf 0xb: a level of threads, one each, and a level of cores. */
static void add_topology(struct kvm_cpuid2 *list, uint32_t vps)
{
	struct kvm_cpuid_entry2 *entry;

	entry = add(list, 0xb);
	entry->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	entry->ebx = 1;
	entry->ecx = TOPOLOGY_SMT << 8;
	entry = add(list, 0xb);
	entry->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	entry->index = 1;
	entry->eax = bits_for(vps);
	entry->ebx = vps;
	entry->ecx = 1 | TOPOLOGY_CORE << 8;
	entry = add(list, 0xb);
	entry->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	entry->index = 2;
	entry->ecx = 2;
}

static bool is_replaced(uint32_t leaf)
{
	return leaf == 0xb || leaf == 0x1f ||
	       (leaf >= LEAF_HYPERVISOR_FIRST && leaf <= LEAF_HYPERVISOR_LAST);
}

int cpuid_build(const struct kvm_cpuid2 *supported, const struct kvm_cpuid2 *hyperv,
		const struct cpuid_policy *policy, struct kvm_cpuid2 **ret)
{
	/* Six leaves of Hyper-V's and three of topology at most. */
	size_t room = (size_t)supported->nent + 9;
	struct kvm_cpuid2 *list = fault_alloc(1, sizeof(*list) + room * sizeof(list->entries[0]));
	const struct kvm_cpuid_entry2 *first;

	if (!list) {
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < supported->nent; i++) {
		if (!is_replaced(supported->entries[i].function)) {
			struct kvm_cpuid_entry2 *entry = &list->entries[list->nent++];

			*entry = supported->entries[i];
			adjust(entry, policy);
		}
	}
	first = find(supported, 0);
	if (first && first->eax >= 0xb) {
		add_topology(list, policy->vps);
	}
	add_hyperv(list, hyperv, policy);
	*ret = list;
	return 0;
}

void cpuid_set_vp(struct kvm_cpuid2 *cpuid, uint32_t vp)
{
	for (uint32_t i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		switch (entry->function) {
		case 1:
			entry->ebx = (entry->ebx & 0x00ffffff) | vp << 24;
			break;
		case 0xb:
			entry->edx = vp;
			break;
		case 0x8000001e:
			/* One thread in each core, one node. */
			entry->eax = vp;
			entry->ebx = vp;
			entry->ecx = 0;
			break;
		default:
			break;
		}
	}
}

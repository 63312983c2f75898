/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fault.h"
#include "partition/partition_internal.h"
#include "proto/hv.h"

#define ENTRIES 16

/* KVM's list with room behind it. */
union cpuid_list {
	struct kvm_cpuid2 head;
	uint8_t room[sizeof(struct kvm_cpuid2) + ENTRIES * sizeof(struct kvm_cpuid_entry2)];
};

static struct kvm_cpuid_entry2 *add(union cpuid_list *list, uint32_t leaf, uint32_t index)
{
	struct kvm_cpuid_entry2 *entry = &list->head.entries[list->head.nent++];

	entry->function = leaf;
	entry->index = index;
	return entry;
}

/* A processor with everything in it that we must change. */
static void make_supported(union cpuid_list *list)
{
	struct kvm_cpuid_entry2 *entry;

	memset(list, 0, sizeof(*list));
	add(list, 0, 0)->eax = 0x10;
	entry = add(list, 1, 0);
	entry->ebx = 0x05ff0800;
	entry->ecx = 1U << 5;
	add(list, 4, 3)->eax = 3U << 5 | 3 | 0xfffU << 14;
	add(list, 4, 0)->eax = 1U << 5 | 1 | 0xfffU << 14;
	add(list, 0xa, 0)->eax = 0x1234;
	add(list, 0xb, 0)->eax = 7;
	add(list, 0x40000000, 0)->ebx = 0x4b4d564b;
	add(list, 0x40000001, 0)->eax = 0xffff;
	add(list, 0x80000001, 0)->ecx = 1U << 2;
	add(list, 0x80000008, 0)->ecx = 0xffff;
	add(list, 0x8000001e, 0);
}

static void make_hyperv(union cpuid_list *list)
{
	struct kvm_cpuid_entry2 *entry;

	memset(list, 0, sizeof(*list));
	entry = add(list, HV_CPUID_FEATURES, 0);
	entry->eax = ~0U;
	entry->ebx = ~0U;
	entry->edx = ~0U;
	add(list, HV_CPUID_HINTS, 0)->eax = ~0U;
}

static const struct kvm_cpuid_entry2 *get(const struct kvm_cpuid2 *cpuid, uint32_t leaf,
					  uint32_t index)
{
	const struct kvm_cpuid_entry2 *found = NULL;

	for (uint32_t i = 0; i < cpuid->nent; i++) {
		if (cpuid->entries[i].function == leaf && cpuid->entries[i].index == index) {
			assert_null(found); /* once and no more */
			found = &cpuid->entries[i];
		}
	}
	return found;
}

static struct kvm_cpuid2 *build(uint32_t vps, bool has_apic_hardware)
{
	const struct cpuid_policy policy = {
		.vps = vps,
		.has_tsc_deadline = true,
		.has_apic_hardware = has_apic_hardware,
	};
	union cpuid_list supported, hyperv;
	struct kvm_cpuid2 *cpuid;

	make_supported(&supported);
	make_hyperv(&hyperv);
	assert_int_equal(cpuid_build(&supported.head, &hyperv.head, &policy, &cpuid), 0);
	return cpuid;
}

static void kvm_is_hidden_and_hyper_v_is_there(void **state)
{
	struct kvm_cpuid2 *cpuid = build(1, false);

	(void)state;
	assert_int_equal(get(cpuid, 0x40000000, 0)->ebx, 0x7263694d);
	assert_int_equal(get(cpuid, 0x40000001, 0)->eax, 0x31237648);
	/* KVM offers everything here: CPU management and the like must not come through. */
	assert_int_equal(get(cpuid, HV_CPUID_FEATURES, 0)->ebx, 0x30);
	assert_int_equal(get(cpuid, HV_CPUID_FEATURES, 0)->eax & HV_PRIV_REENLIGHTENMENT, 0);
	assert_int_equal(get(cpuid, HV_CPUID_HINTS, 0)->eax,
			 HV_HINT_RELAXED_TIMING | HV_HINT_DEPRECATE_AUTO_EOI | HV_HINT_APIC_MSRS);
	assert_int_equal(get(cpuid, HV_CPUID_HINTS, 0)->ebx, ~0U);
	assert_int_equal(get(cpuid, 1, 0)->ecx, 1U << 31 | 1U << 24);
	assert_int_equal(get(cpuid, 0x80000001, 0)->ecx, 0);
	assert_int_equal(get(cpuid, 0xa, 0)->eax, 0);
	free(cpuid);
}

static void several_processors_get_flushes_and_ipis(void **state)
{
	struct kvm_cpuid2 *cpuid = build(5, true);
	uint32_t hints = get(cpuid, HV_CPUID_HINTS, 0)->eax;

	(void)state;
	assert_true(hints & HV_HINT_REMOTE_TLB_FLUSH);
	assert_true(hints & HV_HINT_CLUSTER_IPI);
	assert_true(hints & HV_HINT_EX_PROCESSOR_MASKS);
	assert_false(hints & HV_HINT_APIC_MSRS);
	free(cpuid);
}

static void topology_tells_cores_of_one_package(void **state)
{
	struct kvm_cpuid2 *cpuid = build(5, false);

	(void)state;
	cpuid_set_vp(cpuid, 3);
	assert_int_equal(get(cpuid, 1, 0)->ebx, 0x03050800);
	assert_int_equal(get(cpuid, 1, 0)->edx, 1U << 28);
	assert_int_equal(get(cpuid, 0xb, 0)->eax, 0);
	assert_int_equal(get(cpuid, 0xb, 0)->edx, 3);
	assert_int_equal(get(cpuid, 0xb, 1)->eax, 3);
	assert_int_equal(get(cpuid, 0xb, 1)->ebx, 5);
	assert_int_equal(get(cpuid, 0xb, 1)->edx, 3);
	/* The first cache is a core's own, the third everybody's. */
	assert_int_equal(get(cpuid, 4, 0)->eax, 1U << 5 | 1 | 7U << 26);
	assert_int_equal(get(cpuid, 4, 3)->eax, 3U << 5 | 3 | 7U << 14 | 7U << 26);
	assert_int_equal(get(cpuid, 0x80000008, 0)->ecx, 4 | 3 << 12);
	assert_int_equal(get(cpuid, 0x8000001e, 0)->eax, 3);
	assert_int_equal(get(cpuid, 0x80000001, 0)->ecx, 2);
	free(cpuid);
}

static void what_is_missing_is_named(void **state)
{
	union cpuid_list hyperv;

	(void)state;
	make_hyperv(&hyperv);
	assert_null(cpuid_missing(&hyperv.head));
	hyperv.head.entries[0].eax &= ~HV_PRIV_REFERENCE_TSC;
	assert_string_equal(cpuid_missing(&hyperv.head), "reference TSC");
	make_hyperv(&hyperv);
	hyperv.head.entries[0].edx &= ~HV_FEATURE_STIMER_DIRECT;
	assert_string_equal(cpuid_missing(&hyperv.head), "direct synthetic timers");
	make_hyperv(&hyperv);
	hyperv.head.entries[0].ebx = 0;
	assert_string_equal(cpuid_missing(&hyperv.head), "post message and signal event");
	memset(&hyperv, 0, sizeof(hyperv));
	assert_string_equal(cpuid_missing(&hyperv.head), "Hyper-V feature leaf");
}

static void failed_allocation_is_an_error(void **state)
{
	const struct cpuid_policy policy = { .vps = 1 };
	union cpuid_list supported, hyperv;
	struct kvm_cpuid2 *cpuid = NULL;

	(void)state;
	make_supported(&supported);
	make_hyperv(&hyperv);
	fault_arm(1);
	assert_int_equal(cpuid_build(&supported.head, &hyperv.head, &policy, &cpuid), -ENOMEM);
	fault_arm(0);
	assert_null(cpuid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kvm_is_hidden_and_hyper_v_is_there),
		cmocka_unit_test(several_processors_get_flushes_and_ipis),
		cmocka_unit_test(topology_tells_cores_of_one_package),
		cmocka_unit_test(what_is_missing_is_named),
		cmocka_unit_test(failed_allocation_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

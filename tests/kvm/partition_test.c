/* SPDX-License-Identifier: MIT */
/* Processors and machine: what guests see, reach and do to themselves. */
#include "kvm_guest.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LEAF_NONE (~0ULL)

static void ask_cpuid(struct kvm_guest *guest, const uint32_t (*leaves)[2], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		guest->shared->in[2 * i] = leaves[i][0];
		guest->shared->in[2 * i + 1] = leaves[i][1];
	}
	guest->shared->in[2 * n] = LEAF_NONE;
	kvm_guest_run(guest, guest_cpuid);
}

static void guest_sees_hyper_v_and_nothing_else(void **state)
{
	static const uint32_t leaves[][2] = { { 1, 0 },          { 0x40000000, 0 },
					      { 0x40000001, 0 }, { 0x40000003, 0 },
					      { 0x40000004, 0 }, { 0x40000100, 0 },
					      { 0x40000002, 0 } };
	struct kvm_guest guest;
	volatile uint64_t *out;

	(void)state;
	kvm_guest_create(&guest, 1);
	ask_cpuid(&guest, leaves, 7);
	out = guest.shared->out;
	assert_true(out[2] & 1U << 31); /* hypervisor */
	assert_false(out[2] & 1U << 5); /* VMX */
	assert_int_equal(out[4], 0x40000005);
	assert_int_equal(out[5], 0x7263694d); /* Micr */
	assert_int_equal(out[6], 0x666f736f);
	assert_int_equal(out[7], 0x76482074);
	assert_int_equal(out[8], 0x31237648); /* Hv#1 */
	/* The seven that Windows wants, reset, reference TSC, frequencies. */
	assert_int_equal(out[12] & 0xaff, 0xaff);
	assert_int_equal(out[13] & 1U << 12, 0);
	assert_int_equal(out[13], 0x30);
	assert_true(out[15] & 1U << 19); /* direct timers */
	assert_true(out[15] & 1U << 10); /* crash MSRs */
	assert_true(out[15] & 1U << 8);  /* frequency MSRs */
	assert_true(out[16] & 1U << 9);  /* no auto-EOI */
	assert_false(out[16] & 1U << 2); /* one VP: no flushes by hypercall */
	/* Beyond the last hypervisor leaf there is no second hypervisor. */
	assert_int_not_equal(out[21], 0x4b4d564b);
	kvm_guest_destroy(&guest);
}

static void topology_is_one_package_of_cores(void **state)
{
	static const uint32_t leaves[][2] = {
		{ 1, 0 }, { 0xb, 0 }, { 0xb, 1 }, { 0xb, 2 }, { 0x40000004, 0 }
	};
	struct kvm_guest guest;
	volatile uint64_t *out;

	(void)state;
	kvm_guest_create(&guest, 3);
	ask_cpuid(&guest, leaves, 5);
	out = guest.shared->out;
	assert_int_equal(out[1] >> 24, 0);
	assert_int_equal(out[1] >> 16 & 0xff, 3);
	assert_true(out[3] & 1U << 28);
	assert_int_equal(out[4], 0);
	assert_int_equal(out[5], 1);
	assert_int_equal(out[6], 0x100);
	assert_int_equal(out[8], 2);
	assert_int_equal(out[9], 3);
	assert_int_equal(out[10], 0x201);
	assert_int_equal(out[13], 0);
	assert_int_equal(out[16] & (1U << 2 | 1U << 10 | 1U << 11), 1U << 2 | 1U << 10 | 1U << 11);
	kvm_guest_destroy(&guest);
}

static void synthetic_msrs_answer(void **state)
{
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 1);
	kvm_guest_run(&guest, guest_msrs);
	assert_int_equal(guest.shared->out[0], 0);
	assert_true(guest.shared->out[1] > 100000000);
	assert_true(guest.shared->out[2] > 1000000);
	assert_int_equal(guest.shared->out[4], 1);      /* SCONTROL is on from the start */
	assert_true(guest.shared->out[5] & 1ULL << 62); /* panic texts are welcome */
	assert_true(guest.shared->out[6] > guest.shared->out[3]);
	kvm_guest_destroy(&guest);
}

static void ports_and_mmio_reach_the_machine(void **state)
{
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 1);
	memcpy((void *)&guest.shared->in[8], "abcdefgh", 8);
	kvm_guest_run(&guest, guest_ports);
	assert_int_equal(guest.shared->out[0], 0x5a);
	assert_int_equal(guest.shared->out[1], 0xffffffff);
	assert_int_equal(guest.port_bytes_count, 10);
	assert_memory_equal(guest.port_bytes,
			    "\x11\x22"
			    "abcdefgh",
			    10);
	assert_int_equal(guest.last_mmio_gpa, GUEST_GPA_MMIO + 0x10);
	assert_int_equal(guest.last_mmio_value, 0xdeadbeef);
	assert_int_equal(guest.shared->out[2], 0x77777777);
	assert_true(guest.shared->out[3] == ~0ULL);
	assert_int_equal(kvm_guest_exits(&guest, "mmio"), 3);
	kvm_guest_destroy(&guest);
}

static void crash_brings_parameters_and_text(void **state)
{
	static const char text[] = "Kernel panic - not \x1b[31m syncing\nline 2";
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 1);
	memcpy((void *)&guest.shared->in[32], text, sizeof(text));
	for (unsigned int i = 0; i < 3; i++) {
		guest.shared->in[i] = 0x1111 * (i + 1);
	}
	guest.shared->in[3] = GUEST_GPA_SHARED + 32 * 8;
	guest.shared->in[4] = sizeof(text);
	guest.shared->in[5] = 3ULL << 62;
	kvm_guest_start(&guest, guest_crash);
	assert_int_equal(kvm_guest_wait_event(&guest)->kind, PARTITION_EVENT_CRASH);
	assert_int_equal(guest.events[0].crash[0], 0x1111);
	assert_int_equal(guest.events[0].crash[2], 0x3333);
	assert_string_equal(guest.texts[0], "Kernel panic - not ?[31m syncing\nline 2");
	/* It goes on. */
	guest.shared->go = 1;
	kvm_guest_wait(&guest);
	assert_int_equal(guest.shared->out[0], 1);
	kvm_guest_destroy(&guest);
}

static void crash_with_nonsense_has_no_text(void **state)
{
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 1);
	guest.shared->in[3] = 0xfffffffffffff000ULL;
	guest.shared->in[4] = ~0ULL;
	guest.shared->in[5] = 3ULL << 62;
	kvm_guest_start(&guest, guest_crash);
	assert_int_equal(kvm_guest_wait_event(&guest)->kind, PARTITION_EVENT_CRASH);
	assert_string_equal(guest.texts[0], "");
	kvm_guest_destroy(&guest);
}

static void triple_fault_is_told_and_reset_revives(void **state)
{
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 1);
	kvm_guest_start(&guest, guest_triple_fault);
	assert_int_equal(kvm_guest_wait_event(&guest)->kind, PARTITION_EVENT_TRIPLE_FAULT);
	partition_pause(guest.partition);
	kvm_guest_boot(&guest, guest_msrs);
	partition_resume(guest.partition);
	kvm_guest_wait(&guest);
	assert_int_equal(guest.event_count, 1);
	assert_true(guest.shared->out[1] > 100000000);
	kvm_guest_destroy(&guest);
}

static void reset_msr_parks_until_reset(void **state)
{
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 1);
	kvm_guest_start(&guest, guest_reset_msr);
	assert_int_equal(kvm_guest_wait_event(&guest)->kind, PARTITION_EVENT_RESET);
	partition_pause(guest.partition);
	partition_resume(guest.partition);
	kvm_guest_turn(&guest, 50 * 1000 * 1000);
	assert_int_equal(guest.shared->out[0], 1);
	assert_int_equal(guest.shared->out[1], 0);
	kvm_guest_destroy(&guest);
}

static void pause_stops_and_resume_goes_on(void **state)
{
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 1);
	kvm_guest_run(&guest, guest_count);
	for (int i = 0; i < 20; i++) {
		uint64_t count;

		partition_pause(guest.partition);
		count = guest.shared->out[0];
		kvm_guest_turn(&guest, 2 * 1000 * 1000);
		assert_int_equal(guest.shared->out[0], count);
		partition_resume(guest.partition);
		kvm_guest_turn(&guest, 5 * 1000 * 1000);
		assert_true(guest.shared->out[0] > count);
	}
	kvm_guest_destroy(&guest);
}

static void halted_and_unstarted_processors_can_be_paused(void **state)
{
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 4);
	kvm_guest_run(&guest, guest_halt);
	for (int i = 0; i < 5; i++) {
		partition_pause(guest.partition);
		partition_resume(guest.partition);
	}
	kvm_guest_destroy(&guest);
}

static void nmi_arrives(void **state)
{
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 1);
	kvm_guest_run(&guest, guest_nmi);
	partition_nmi(guest.partition);
	kvm_guest_wait(&guest);
	assert_int_equal(guest.shared->interrupts[2], 1);
	kvm_guest_destroy(&guest);
}

static void second_processor_starts_by_sipi_again_after_reset(void **state)
{
	/* xor ax,ax; mov ds,ax; inc word [0x8208]; cli; hlt: counts out[1]. */
	static const uint8_t ap[] = { 0x31, 0xc0, 0x8e, 0xd8, 0xff, 0x06, 0x08, 0x82, 0xfa, 0xf4 };
	struct kvm_guest guest;

	(void)state;
	kvm_guest_create(&guest, 2);
	assert_int_equal(mem_write(guest.mem, GUEST_GPA_AP_CODE, ap, sizeof(ap)), 0);
	kvm_guest_run(&guest, guest_start_ap);
	assert_int_equal(guest.shared->out[1], 1);
	partition_pause(guest.partition);
	kvm_guest_boot(&guest, guest_start_ap);
	guest.shared->out[1] = 0;
	partition_resume(guest.partition);
	kvm_guest_wait(&guest);
	assert_int_equal(guest.shared->out[1], 1);
	kvm_guest_destroy(&guest);
}

static void firmware_boot_starts_at_the_reset_vector(void **state)
{
	const struct partition_boot boot = { .mode = PARTITION_BOOT_FIRMWARE };
	struct kvm_guest guest;
	struct diag diag;

	(void)state;
	kvm_guest_create(&guest, 1);
	assert_int_equal(partition_reset(guest.partition, &boot, &diag), 0);
	assert_int_equal(partition_start(guest.partition, &diag), 0);
	/* There is no ROM: KVM asks for the first instruction, gets all ones, and fails on it. */
	kvm_guest_wait_event(&guest);
	assert_true(guest.events[0].kind == PARTITION_EVENT_FAILURE ||
		    guest.events[0].kind == PARTITION_EVENT_TRIPLE_FAULT);
	kvm_guest_destroy(&guest);
}

static void create_refuses_too_many_processors(void **state)
{
	const struct partition_config config = { .vps = PARTITION_VPS_MAX + 1, .kvm_fd = -1 };
	struct partition *partition = NULL;
	struct diag diag;

	(void)state;
	assert_int_equal(partition_create(NULL, NULL, &config, &partition, &diag), -EINVAL);
	assert_null(partition);
	assert_string_equal(diag.text, "65 processors; it can be 1 to 64");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guest_sees_hyper_v_and_nothing_else),
		cmocka_unit_test(topology_is_one_package_of_cores),
		cmocka_unit_test(synthetic_msrs_answer),
		cmocka_unit_test(ports_and_mmio_reach_the_machine),
		cmocka_unit_test(crash_brings_parameters_and_text),
		cmocka_unit_test(crash_with_nonsense_has_no_text),
		cmocka_unit_test(triple_fault_is_told_and_reset_revives),
		cmocka_unit_test(reset_msr_parks_until_reset),
		cmocka_unit_test(pause_stops_and_resume_goes_on),
		cmocka_unit_test(halted_and_unstarted_processors_can_be_paused),
		cmocka_unit_test(nmi_arrives),
		cmocka_unit_test(second_processor_starts_by_sipi_again_after_reset),
		cmocka_unit_test(firmware_boot_starts_at_the_reset_vector),
		cmocka_unit_test(create_refuses_too_many_processors),
	};

	kvm_guest_need_host();
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/partition/fake_partition.h"

/* Tags as they are on disk: they never change. */
enum { TAG_VPS = 1, TAG_PIC_MASTER = 4, TAG_VP = 8, TAG_VP_REGS = 1, TAG_VP_XSAVE = 8 };

static void fill(struct fake_partition *fake, struct vcpu_state *state, int seed)
{
	uint8_t *bytes = state->xsave;

	memset(&state->regs, seed, sizeof(state->regs));
	memset(&state->sregs, seed + 1, sizeof(state->sregs));
	memset(&state->debugregs, seed + 2, sizeof(state->debugregs));
	memset(&state->events, seed + 3, sizeof(state->events));
	memset(&state->mp_state, seed + 4, sizeof(state->mp_state));
	memset(&state->xcrs, seed + 5, sizeof(state->xcrs));
	memset(&state->lapic, seed + 6, sizeof(state->lapic));
	for (size_t i = 0; i < fake->partition.xsave_bytes; i++) {
		bytes[i] = (uint8_t)(i * 7 + (size_t)seed);
	}
	for (uint32_t i = 0; i < state->msrs->nmsrs; i++) {
		state->msrs->entries[i].data = 0x1111111111111111ULL * i + (uint64_t)seed;
	}
}

static void registers_survive_save_and_load(void **state)
{
	struct fake_partition fake;
	struct vcpu_state *from, *to;
	struct save save, again;
	struct load load;
	const uint8_t *bytes, *again_bytes;
	size_t length, again_length;

	(void)state;
	assert_int_equal(fake_partition_init(&fake), 0);
	assert_int_equal(vcpu_state_create(&fake.partition, &from), 0);
	assert_int_equal(vcpu_state_create(&fake.partition, &to), 0);
	fill(&fake, from, 3);
	save_init(&save);
	vcpu_state_save(&fake.partition, from, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	load_init(&load, bytes, length);
	vcpu_state_load(&fake.partition, to, &load);
	assert_int_equal(load_result(&load), 0);
	assert_memory_equal(&to->sregs, &from->sregs, sizeof(to->sregs));
	assert_memory_equal(to->xsave, from->xsave, fake.partition.xsave_bytes);
	assert_true(*vcpu_state_msr(to, HV_MSR_SIEFP) == 0x3333333333333333ULL + 3);
	save_init(&again);
	vcpu_state_save(&fake.partition, to, &again);
	assert_int_equal(save_finish(&again, &again_bytes, &again_length), 0);
	assert_int_equal(length, again_length);
	assert_memory_equal(bytes, again_bytes, length);
	save_fini(&save);
	save_fini(&again);
	vcpu_state_destroy(from);
	vcpu_state_destroy(to);
	fake_partition_fini(&fake);
}

/* Runs partition_load() over what was saved; returns what it returns. */
static int load_saved(struct fake_partition *fake, struct save *save, struct diag *diag)
{
	const uint8_t *bytes;
	size_t length;
	struct load load;
	int r;

	assert_int_equal(save_finish(save, &bytes, &length), 0);
	load_init(&load, bytes, length);
	r = partition_load(&fake->partition, &load, diag);
	save_fini(save);
	return r;
}

static void load_refuses_nonsense_before_it_touches_kvm(void **state)
{
	struct fake_partition fake;
	struct diag diag = { "" };
	struct save save;
	uint8_t chip[sizeof(struct kvm_irqchip)] = { 1 }; /* says that it is the slave */
	uint8_t big[2 * sizeof(struct kvm_xsave)] = { 0 };

	(void)state;
	assert_int_equal(fake_partition_init(&fake), 0);
	save_init(&save);
	save_u32(&save, TAG_VPS, 3);
	assert_int_equal(load_saved(&fake, &save, &diag), -EINVAL);
	assert_string_equal(diag.text, "the saved partition has 3 processors, this one 2");

	save_init(&save);
	save_u32(&save, TAG_VPS, 2);
	save_bytes(&save, TAG_PIC_MASTER, chip, sizeof(chip));
	assert_int_equal(load_saved(&fake, &save, &diag), -EBADMSG);
	assert_string_equal(diag.text, "the saved partition is damaged");

	/* More processors than it says. */
	save_init(&save);
	save_u32(&save, TAG_VPS, 2);
	for (int i = 0; i < 3; i++) {
		save_group_begin(&save, TAG_VP);
		save_group_end(&save);
	}
	assert_int_equal(load_saved(&fake, &save, &diag), -EBADMSG);

	/* More registers than this processor has; fewer bytes than the registers have. */
	save_init(&save);
	save_group_begin(&save, TAG_VP);
	save_bytes(&save, TAG_VP_XSAVE, big, sizeof(big));
	save_group_end(&save);
	assert_int_equal(load_saved(&fake, &save, &diag), -EBADMSG);
	save_init(&save);
	save_group_begin(&save, TAG_VP);
	save_bytes(&save, TAG_VP_REGS, big, 3);
	save_group_end(&save);
	assert_int_equal(load_saved(&fake, &save, &diag), -EBADMSG);
	fake_partition_fini(&fake);
}

static void missing_fields_have_power_on_values(void **state)
{
	struct fake_partition fake;
	struct diag diag = { "" };
	struct save save;

	(void)state;
	assert_int_equal(fake_partition_init(&fake), 0);
	save_init(&save);
	save_u32(&save, TAG_VPS, 2);
	for (int i = 0; i < 2; i++) {
		save_group_begin(&save, TAG_VP);
		save_u32(&save, 999, 1); /* a tag of the future */
		save_group_end(&save);
	}
	/* Well-formed: it gets as far as KVM, which there is not. */
	assert_int_equal(load_saved(&fake, &save, &diag), -EBADF);
	fake_partition_fini(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers_survive_save_and_load),
		cmocka_unit_test(load_refuses_nonsense_before_it_touches_kvm),
		cmocka_unit_test(missing_fields_have_power_on_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

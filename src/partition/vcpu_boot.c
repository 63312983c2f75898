/* SPDX-License-Identifier: MIT */
/*
 * Where a VP begins: power-on registers, and the entry protocols that start past the firmware.
 *
 *   spec  Linux Documentation/x86/boot.rst, "64-bit Boot Protocol"; Xen docs/misc/pvh.pandoc
 */
#include <string.h>

#include "base/bytes.h"
#include "partition/partition_internal.h"
#include "partition/vcpu.h"

#define BOOT_SELECTOR_CODE 0x10
#define BOOT_SELECTOR_DATA 0x18

#define CR0_PE             (1ULL << 0)
#define CR0_ET             (1ULL << 4)
#define CR0_NE             (1ULL << 5)
#define CR0_PG             (1ULL << 31)
#define CR4_PAE            (1ULL << 5)
#define EFER_LME           (1ULL << 8)
#define EFER_LMA           (1ULL << 10)

#define RFLAGS_RESERVED    0x2ULL /* always one; interrupts off */

#define APIC_BASE_BSP      (1ULL << 8)
#define APIC_ID_OFFSET     0x20
#define MSR_MTRR_TYPE      0x2ffU
#define MTRR_ENABLED_WB    0x806ULL /* enabled, no fixed ranges; default write-back */
#define MTRR_ENABLE        (1ULL << 11)

void vcpu_state_make_power_on(struct vcpu_state *state, uint32_t index)
{
	bytes_put_le32(state->lapic.regs + APIC_ID_OFFSET, index << 24);
	if (index == 0) {
		state->sregs.apic_base |= APIC_BASE_BSP;
		state->mp_state.mp_state = KVM_MP_STATE_RUNNABLE;
	} else {
		state->sregs.apic_base &= ~APIC_BASE_BSP;
		state->mp_state.mp_state = KVM_MP_STATE_UNINITIALIZED;
	}
}

static struct kvm_segment boot_segment(uint16_t selector, uint8_t type, bool is_long)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.db = !is_long,
		.l = is_long,
		.g = 1,
	};
}

/*
 * PROTECTED and LONG skip the firmware, and with it the one thing that Linux takes from there:
 * MTRRs that are switched on. Without, it would switch its page attribute table off.
 */
void vcpu_state_make_boot(struct vcpu_state *state, const struct partition_boot *boot)
{
	bool is_long = boot->mode == PARTITION_BOOT_LONG;
	struct kvm_sregs *sregs = &state->sregs;
	struct kvm_segment data = boot_segment(BOOT_SELECTOR_DATA, 0x3, false);
	uint64_t *mtrr = vcpu_state_msr(state, MSR_MTRR_TYPE);

	if (boot->mode == PARTITION_BOOT_FIRMWARE) {
		return;
	}
	if (mtrr && !(*mtrr & MTRR_ENABLE)) {
		*mtrr = MTRR_ENABLED_WB;
	}
	if (state->mp_state.mp_state != KVM_MP_STATE_RUNNABLE) {
		return;
	}
	sregs->cs = boot_segment(BOOT_SELECTOR_CODE, 0xb, is_long);
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->tr = (struct kvm_segment){ .limit = 0x67, .type = 0xb, .present = 1 };
	sregs->ldt = (struct kvm_segment){ .type = 0x2, .unusable = 1 };
	sregs->gdt.base = boot->gdt_gpa;
	sregs->gdt.limit = boot->gdt_limit;
	sregs->idt.base = 0;
	sregs->idt.limit = 0;
	sregs->cr0 = CR0_PE | CR0_ET | CR0_NE;
	if (is_long) {
		sregs->cr0 |= CR0_PG;
		sregs->cr3 = boot->cr3;
		sregs->cr4 = CR4_PAE;
		sregs->efer = EFER_LME | EFER_LMA;
	}
	memset(&state->regs, 0, sizeof(state->regs));
	state->regs.rip = boot->rip;
	state->regs.rsp = boot->rsp;
	state->regs.rbx = boot->rbx;
	state->regs.rsi = boot->rsi;
	state->regs.rflags = RFLAGS_RESERVED;
}

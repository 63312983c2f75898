/* SPDX-License-Identifier: MIT */
/*
 * KVM's ioctls, one function each. Results are 0 (or a non-negative number where it says so) or a
 * negative errno; nothing here decides anything.
 *
 *   owner   descriptors belong to the caller    thread  any
 *   spec    Linux Documentation/virt/kvm/api.rst
 */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"

/* ---- /dev/kvm and the VM ------------------------------------------------------------------------ */

MUST_CHECK int kvm_open(void);                 /* a descriptor */
MUST_CHECK int kvm_api_version(int kvm_fd);    /* 12 */
int kvm_check_extension(int fd, uint32_t cap); /* KVM or VM descriptor; 0: no; > 0: yes */
MUST_CHECK int kvm_create_vm(int kvm_fd);      /* a descriptor */
MUST_CHECK int kvm_run_bytes(int kvm_fd);      /* size of struct kvm_run's mapping */
MUST_CHECK int kvm_enable_cap(int fd, uint32_t cap, uint64_t arg0); /* VM or vCPU descriptor */
MUST_CHECK int kvm_set_tss_addr(int vm_fd, uint64_t gpa);
MUST_CHECK int kvm_set_identity_map_addr(int vm_fd, uint64_t gpa);
MUST_CHECK int kvm_create_irqchip(int vm_fd);
MUST_CHECK int kvm_create_pit2(int vm_fd);
/* flags: KVM_MEM_*; 0 bytes take the slot away. */
MUST_CHECK int kvm_set_memory(int vm_fd, uint32_t slot, uint64_t gpa, uint64_t bytes, void *hva,
			      uint32_t flags);
/* A bit for each page of the slot written since the last call; ret: whole 64 bits. */
MUST_CHECK int kvm_get_dirty_log(int vm_fd, uint32_t slot, uint64_t *ret);
/* A write of so many bytes at a port or gpa, whatever the value, writes fd. */
MUST_CHECK int kvm_ioeventfd(int vm_fd, bool is_port, uint64_t base, unsigned int bytes, int fd,
			     bool is_removal);
MUST_CHECK int kvm_set_gsi_routing(int vm_fd, const struct kvm_irq_routing *routing);
MUST_CHECK int kvm_irq_line(int vm_fd, uint32_t gsi, bool level);
MUST_CHECK int kvm_signal_msi(int vm_fd, uint64_t address, uint32_t data);

/* Writing fd raises gsi; resample_fd (or -1) is written by KVM when the guest acknowledges it. */
MUST_CHECK int kvm_irqfd(int vm_fd, uint32_t gsi, int fd, int resample_fd);

/* HvCallSignalEvent on this connection writes fd; is_removal takes it back. */
MUST_CHECK int kvm_hyperv_eventfd(int vm_fd, uint32_t connection_id, int fd, bool is_removal);

/* Reads and writes of one MSR by the guest go to user space. */
MUST_CHECK int kvm_filter_msr(int vm_fd, uint32_t msr);

MUST_CHECK int kvm_get_irqchip(int vm_fd, struct kvm_irqchip *ret); /* ret->chip_id names it */
MUST_CHECK int kvm_set_irqchip(int vm_fd, const struct kvm_irqchip *chip);
MUST_CHECK int kvm_get_pit2(int vm_fd, struct kvm_pit_state2 *ret);
MUST_CHECK int kvm_set_pit2(int vm_fd, const struct kvm_pit_state2 *pit);
MUST_CHECK int kvm_get_clock(int vm_fd, struct kvm_clock_data *ret);
MUST_CHECK int kvm_set_clock(int vm_fd, const struct kvm_clock_data *clock);

/* Lists that KVM fills; the caller frees them. fd: KVM, for HV a vCPU. */
MUST_CHECK int kvm_get_supported_cpuid(int kvm_fd, struct kvm_cpuid2 **ret);
MUST_CHECK int kvm_get_supported_hv_cpuid(int vcpu_fd, struct kvm_cpuid2 **ret);
MUST_CHECK int kvm_get_msr_index_list(int kvm_fd, struct kvm_msr_list **ret);

/* ---- vCPUs ------------------------------------------------------------------------------------- */

MUST_CHECK int kvm_create_vcpu(int vm_fd, uint32_t id); /* a descriptor */
MUST_CHECK int kvm_run(int vcpu_fd);                    /* -EINTR, -EAGAIN: nothing happened */
MUST_CHECK int kvm_get_tsc_khz(int vcpu_fd);            /* kHz */
MUST_CHECK int kvm_set_tsc_khz(int vcpu_fd, uint32_t khz);
MUST_CHECK int kvm_set_cpuid2(int vcpu_fd, const struct kvm_cpuid2 *cpuid);
MUST_CHECK int kvm_setup_mce(int vcpu_fd, uint64_t mcg_cap);
MUST_CHECK int kvm_get_stats_fd(int fd); /* a descriptor */

MUST_CHECK int kvm_get_regs(int vcpu_fd, struct kvm_regs *ret);
MUST_CHECK int kvm_set_regs(int vcpu_fd, const struct kvm_regs *regs);
MUST_CHECK int kvm_get_sregs(int vcpu_fd, struct kvm_sregs *ret);
MUST_CHECK int kvm_set_sregs(int vcpu_fd, const struct kvm_sregs *sregs);
MUST_CHECK int kvm_get_debugregs(int vcpu_fd, struct kvm_debugregs *ret);
MUST_CHECK int kvm_set_debugregs(int vcpu_fd, const struct kvm_debugregs *regs);
MUST_CHECK int kvm_get_vcpu_events(int vcpu_fd, struct kvm_vcpu_events *ret);
MUST_CHECK int kvm_set_vcpu_events(int vcpu_fd, const struct kvm_vcpu_events *events);
MUST_CHECK int kvm_get_mp_state(int vcpu_fd, struct kvm_mp_state *ret);
MUST_CHECK int kvm_set_mp_state(int vcpu_fd, const struct kvm_mp_state *state);
MUST_CHECK int kvm_get_xcrs(int vcpu_fd, struct kvm_xcrs *ret);
MUST_CHECK int kvm_set_xcrs(int vcpu_fd, const struct kvm_xcrs *xcrs);
MUST_CHECK int kvm_get_lapic(int vcpu_fd, struct kvm_lapic_state *ret);
MUST_CHECK int kvm_set_lapic(int vcpu_fd, const struct kvm_lapic_state *lapic);

/* xsave has room for what KVM_CAP_XSAVE2 says, at least sizeof(struct kvm_xsave). */
MUST_CHECK int kvm_get_xsave(int vcpu_fd, bool has_xsave2, void *ret);
MUST_CHECK int kvm_set_xsave(int vcpu_fd, const void *xsave);

/* The number of MSRs that went well: KVM stops at the first that does not. */
MUST_CHECK int kvm_get_msrs(int vcpu_fd, struct kvm_msrs *msrs);
MUST_CHECK int kvm_set_msrs(int vcpu_fd, const struct kvm_msrs *msrs);

/* One of them: 0, or -EIO when KVM has no such MSR. */
MUST_CHECK int kvm_get_msr(int vcpu_fd, uint32_t msr, uint64_t *ret);
MUST_CHECK int kvm_set_msr(int vcpu_fd, uint32_t msr, uint64_t value);

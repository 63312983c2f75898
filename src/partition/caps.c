/* SPDX-License-Identifier: MIT */
/*
 * What KVM must have, with the reason for each. Capabilities are tested, never the vendor or the
 * version.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "partition/kvm.h"
#include "partition/partition_internal.h"

#define KVM_API 12

#define REMEDY  "run it under tools/with-kvm, which brings a host that has it"

static const struct {
	uint32_t cap;
	const char *name;
	const char *why;
} caps[] = {
	{ KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "guest memory of ours" },
	{ KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM", "firmware in memory" },
	{ KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD", "doorbells of chips" },
	{ KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP", "interrupt controllers" },
	{ KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING", "interrupt lines to synthetic interrupts" },
	{ KVM_CAP_IRQFD, "KVM_CAP_IRQFD", "interrupts without an exit" },
	{ KVM_CAP_IRQFD_RESAMPLE, "KVM_CAP_IRQFD_RESAMPLE", "to learn that a message was read" },
	{ KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI", "NMIs" },
	{ KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "to pause a processor" },
	{ KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", "what the guest sees of its processors" },
	{ KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", "to start and save processors" },
	{ KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", "to save processors" },
	{ KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS", "to save processors" },
	{ KVM_CAP_XSAVE, "KVM_CAP_XSAVE", "to save processors" },
	{ KVM_CAP_XCRS, "KVM_CAP_XCRS", "to save processors" },
	{ KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK", "to save the reference clock" },
	{ KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ", "the guest's clock" },
	{ KVM_CAP_HYPERV, "KVM_CAP_HYPERV", "Hyper-V's hypercalls and registers" },
	{ KVM_CAP_HYPERV_SYNIC2, "KVM_CAP_HYPERV_SYNIC2", "Hyper-V's interrupt controller" },
	{ KVM_CAP_HYPERV_VP_INDEX, "KVM_CAP_HYPERV_VP_INDEX", "Hyper-V's processor numbers" },
	{ KVM_CAP_HYPERV_EVENTFD, "KVM_CAP_HYPERV_EVENTFD", "doorbells without an exit" },
	{ KVM_CAP_HYPERV_TIME, "KVM_CAP_HYPERV_TIME", "Hyper-V's clock" },
	{ KVM_CAP_HYPERV_TLBFLUSH, "KVM_CAP_HYPERV_TLBFLUSH", "TLB flushes by hypercall" },
	{ KVM_CAP_HYPERV_SEND_IPI, "KVM_CAP_HYPERV_SEND_IPI", "IPIs by hypercall" },
	{ KVM_CAP_HYPERV_CPUID, "KVM_CAP_HYPERV_CPUID", "what KVM has of Hyper-V" },
	{ KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR",
	  "crash reports with their text" },
	{ KVM_CAP_X86_MSR_FILTER, "KVM_CAP_X86_MSR_FILTER", "crash reports with their text" },
};

int caps_open(struct diag *reterr)
{
	int fd = kvm_open();

	switch (fd) {
	case -ENOENT:
	case -ENODEV:
	case -ENXIO:
		return diag_set(reterr, fd,
				"this host has no /dev/kvm; load kvm_intel or kvm_amd, or " REMEDY);
	case -EACCES:
	case -EPERM:
		return diag_set(reterr, fd,
				"/dev/kvm may not be opened; join the group kvm, or run as "
				"root");
	default:
		if (fd < 0) {
			return diag_set(reterr, fd, "cannot open /dev/kvm: %s", strerror(-fd));
		}
		return fd;
	}
}

int caps_check(int kvm_fd, struct diag *reterr)
{
	if (kvm_api_version(kvm_fd) != KVM_API) {
		return diag_set(reterr, -EOPNOTSUPP,
				"this host's KVM does not speak API %d; " REMEDY, KVM_API);
	}
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
		if (kvm_check_extension(kvm_fd, caps[i].cap) == 0) {
			return diag_set(reterr, -EOPNOTSUPP,
					"this host's KVM lacks %s (%s); " REMEDY, caps[i].name,
					caps[i].why);
		}
	}
	return 0;
}

/* A processor as we make them, to see what KVM only says when there is one. */
static int check_vcpu(int vm_fd, struct diag *reterr)
{
	auto_close int vcpu_fd = -1;
	auto_free struct kvm_cpuid2 *hyperv = NULL;
	const char *missing;
	int r;

	vcpu_fd = kvm_create_vcpu(vm_fd, 0);
	if (vcpu_fd < 0) {
		return diag_set(reterr, vcpu_fd, "KVM makes no processor: %s", strerror(-vcpu_fd));
	}
	r = kvm_enable_cap(vcpu_fd, KVM_CAP_HYPERV_SYNIC2, 0);
	if (r < 0) {
		return diag_set(reterr, r,
				"this host's KVM lacks KVM_CAP_HYPERV_SYNIC2 (%s); " REMEDY,
				strerror(-r));
	}
	r = kvm_get_supported_hv_cpuid(vcpu_fd, &hyperv);
	if (r < 0) {
		return diag_set(reterr, r, "KVM does not tell what it has of Hyper-V: %s",
				strerror(-r));
	}
	missing = cpuid_missing(hyperv);
	if (missing) {
		return diag_set(reterr, -EOPNOTSUPP, "this host's KVM lacks Hyper-V's %s; " REMEDY,
				missing);
	}
	return 0;
}

int partition_host_check(struct diag *reterr)
{
	auto_close int kvm_fd = -1;
	auto_close int vm_fd = -1;
	int r;

	kvm_fd = caps_open(reterr);
	if (kvm_fd < 0) {
		return kvm_fd;
	}
	r = caps_check(kvm_fd, reterr);
	if (r < 0) {
		return r;
	}
	vm_fd = kvm_create_vm(kvm_fd);
	if (vm_fd < 0) {
		return diag_set(reterr, vm_fd, "KVM makes no VM: %s", strerror(-vm_fd));
	}
	r = kvm_create_irqchip(vm_fd);
	if (r < 0) {
		return diag_set(reterr, r, "KVM makes no interrupt controllers: %s", strerror(-r));
	}
	return check_vcpu(vm_fd, reterr);
}

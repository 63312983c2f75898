/* SPDX-License-Identifier: MIT */
#include "partition/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "base/fault.h"

/* More CPUID entries or MSR numbers than KVM has ever had. */
#define KVM_LIST_ENTRIES_MAX 4096

static int kvm_ioctl(int fd, unsigned long request, const void *arg)
{
	int r = ioctl(fd, request, arg);

	return r < 0 ? -errno : r;
}

static int kvm_ioctl_value(int fd, unsigned long request, unsigned long value)
{
	int r = ioctl(fd, request, value);

	return r < 0 ? -errno : r;
}

int kvm_open(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int kvm_api_version(int kvm_fd)
{
	return kvm_ioctl_value(kvm_fd, KVM_GET_API_VERSION, 0);
}

int kvm_check_extension(int fd, uint32_t cap)
{
	int r = kvm_ioctl_value(fd, KVM_CHECK_EXTENSION, cap);

	return r < 0 ? 0 : r;
}

int kvm_create_vm(int kvm_fd)
{
	int r;

	do {
		r = kvm_ioctl_value(kvm_fd, KVM_CREATE_VM, 0);
	} while (r == -EINTR);
	return r;
}

int kvm_run_bytes(int kvm_fd)
{
	return kvm_ioctl_value(kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
}

int kvm_enable_cap(int fd, uint32_t cap, uint64_t arg0)
{
	struct kvm_enable_cap enable = { .cap = cap, .args = { arg0 } };

	return kvm_ioctl(fd, KVM_ENABLE_CAP, &enable);
}

int kvm_set_tss_addr(int vm_fd, uint64_t gpa)
{
	return kvm_ioctl_value(vm_fd, KVM_SET_TSS_ADDR, gpa);
}

int kvm_set_identity_map_addr(int vm_fd, uint64_t gpa)
{
	return kvm_ioctl(vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &gpa);
}

int kvm_create_irqchip(int vm_fd)
{
	return kvm_ioctl_value(vm_fd, KVM_CREATE_IRQCHIP, 0);
}

int kvm_create_pit2(int vm_fd)
{
	struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };

	return kvm_ioctl(vm_fd, KVM_CREATE_PIT2, &config);
}

int kvm_set_memory(int vm_fd, uint32_t slot, uint64_t gpa, uint64_t bytes, void *hva,
		   uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)hva,
	};

	return kvm_ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &region);
}

int kvm_get_dirty_log(int vm_fd, uint32_t slot, uint64_t *ret)
{
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = ret };

	return kvm_ioctl(vm_fd, KVM_GET_DIRTY_LOG, &log);
}

int kvm_ioeventfd(int vm_fd, bool is_port, uint64_t base, unsigned int bytes, int fd,
		  bool is_removal)
{
	struct kvm_ioeventfd doorbell = {
		.addr = base,
		.len = bytes,
		.fd = fd,
		.flags = (is_port ? KVM_IOEVENTFD_FLAG_PIO : 0U) |
			 (is_removal ? KVM_IOEVENTFD_FLAG_DEASSIGN : 0U),
	};

	return kvm_ioctl(vm_fd, KVM_IOEVENTFD, &doorbell);
}

int kvm_set_gsi_routing(int vm_fd, const struct kvm_irq_routing *routing)
{
	return kvm_ioctl(vm_fd, KVM_SET_GSI_ROUTING, routing);
}

int kvm_irq_line(int vm_fd, uint32_t gsi, bool level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	return kvm_ioctl(vm_fd, KVM_IRQ_LINE, &line);
}

int kvm_signal_msi(int vm_fd, uint64_t address, uint32_t data)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)address,
		.address_hi = (uint32_t)(address >> 32),
		.data = data,
	};

	return kvm_ioctl(vm_fd, KVM_SIGNAL_MSI, &msi);
}

int kvm_irqfd(int vm_fd, uint32_t gsi, int fd, int resample_fd)
{
	struct kvm_irqfd irqfd = { .fd = (uint32_t)fd, .gsi = gsi };

	if (resample_fd >= 0) {
		irqfd.flags = KVM_IRQFD_FLAG_RESAMPLE;
		irqfd.resamplefd = (uint32_t)resample_fd;
	}
	return kvm_ioctl(vm_fd, KVM_IRQFD, &irqfd);
}

int kvm_hyperv_eventfd(int vm_fd, uint32_t connection_id, int fd, bool is_removal)
{
	struct kvm_hyperv_eventfd event = {
		.conn_id = connection_id,
		.fd = fd,
		.flags = is_removal ? KVM_HYPERV_EVENTFD_DEASSIGN : 0,
	};

	return kvm_ioctl(vm_fd, KVM_HYPERV_EVENTFD, &event);
}

int kvm_filter_msr(int vm_fd, uint32_t msr)
{
	uint8_t deny = 0;
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = { .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			       .nmsrs = 1,
			       .base = msr,
			       .bitmap = &deny },
	};

	return kvm_ioctl(vm_fd, KVM_X86_SET_MSR_FILTER, &filter);
}

int kvm_get_irqchip(int vm_fd, struct kvm_irqchip *ret)
{
	return kvm_ioctl(vm_fd, KVM_GET_IRQCHIP, ret);
}

int kvm_set_irqchip(int vm_fd, const struct kvm_irqchip *chip)
{
	return kvm_ioctl(vm_fd, KVM_SET_IRQCHIP, chip);
}

int kvm_get_pit2(int vm_fd, struct kvm_pit_state2 *ret)
{
	return kvm_ioctl(vm_fd, KVM_GET_PIT2, ret);
}

int kvm_set_pit2(int vm_fd, const struct kvm_pit_state2 *pit)
{
	return kvm_ioctl(vm_fd, KVM_SET_PIT2, pit);
}

int kvm_get_clock(int vm_fd, struct kvm_clock_data *ret)
{
	return kvm_ioctl(vm_fd, KVM_GET_CLOCK, ret);
}

int kvm_set_clock(int vm_fd, const struct kvm_clock_data *clock)
{
	return kvm_ioctl(vm_fd, KVM_SET_CLOCK, clock);
}

/* KVM answers -E2BIG to a list that is too short: it grows until it fits. */
static int kvm_get_cpuid_list(int fd, unsigned long request, struct kvm_cpuid2 **ret)
{
	for (uint32_t n = 64; n <= KVM_LIST_ENTRIES_MAX; n *= 2) {
		auto_free struct kvm_cpuid2 *list =
			fault_alloc(1, sizeof(*list) + n * sizeof(list->entries[0]));
		int r;

		if (!list) {
			return -ENOMEM;
		}
		list->nent = n;
		r = kvm_ioctl(fd, request, list);
		if (r >= 0) {
			*ret = steal(list);
			return 0;
		}
		if (r != -E2BIG) {
			return r;
		}
	}
	return -E2BIG;
}

int kvm_get_supported_cpuid(int kvm_fd, struct kvm_cpuid2 **ret)
{
	return kvm_get_cpuid_list(kvm_fd, KVM_GET_SUPPORTED_CPUID, ret);
}

int kvm_get_supported_hv_cpuid(int vcpu_fd, struct kvm_cpuid2 **ret)
{
	return kvm_get_cpuid_list(vcpu_fd, KVM_GET_SUPPORTED_HV_CPUID, ret);
}

int kvm_get_msr_index_list(int kvm_fd, struct kvm_msr_list **ret)
{
	struct kvm_msr_list count = { .nmsrs = 0 };
	auto_free struct kvm_msr_list *list = NULL;
	int r = kvm_ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, &count);

	/* The first call only asks how many there are. */
	if (r < 0 && r != -E2BIG) {
		return r;
	}
	if (count.nmsrs > KVM_LIST_ENTRIES_MAX) {
		return -E2BIG;
	}
	list = fault_alloc(1, sizeof(*list) + count.nmsrs * sizeof(list->indices[0]));
	if (!list) {
		return -ENOMEM;
	}
	list->nmsrs = count.nmsrs;
	r = kvm_ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, list);
	if (r < 0) {
		return r;
	}
	*ret = steal(list);
	return 0;
}

int kvm_create_vcpu(int vm_fd, uint32_t id)
{
	return kvm_ioctl_value(vm_fd, KVM_CREATE_VCPU, id);
}

int kvm_run(int vcpu_fd)
{
	return kvm_ioctl_value(vcpu_fd, KVM_RUN, 0);
}

int kvm_get_tsc_khz(int vcpu_fd)
{
	return kvm_ioctl_value(vcpu_fd, KVM_GET_TSC_KHZ, 0);
}

int kvm_set_tsc_khz(int vcpu_fd, uint32_t khz)
{
	return kvm_ioctl_value(vcpu_fd, KVM_SET_TSC_KHZ, khz);
}

int kvm_set_cpuid2(int vcpu_fd, const struct kvm_cpuid2 *cpuid)
{
	return kvm_ioctl(vcpu_fd, KVM_SET_CPUID2, cpuid);
}

int kvm_setup_mce(int vcpu_fd, uint64_t mcg_cap)
{
	return kvm_ioctl(vcpu_fd, KVM_X86_SETUP_MCE, &mcg_cap);
}

int kvm_get_stats_fd(int fd)
{
	return kvm_ioctl_value(fd, KVM_GET_STATS_FD, 0);
}

int kvm_get_regs(int vcpu_fd, struct kvm_regs *ret)
{
	return kvm_ioctl(vcpu_fd, KVM_GET_REGS, ret);
}

int kvm_set_regs(int vcpu_fd, const struct kvm_regs *regs)
{
	return kvm_ioctl(vcpu_fd, KVM_SET_REGS, regs);
}

int kvm_get_sregs(int vcpu_fd, struct kvm_sregs *ret)
{
	return kvm_ioctl(vcpu_fd, KVM_GET_SREGS, ret);
}

int kvm_set_sregs(int vcpu_fd, const struct kvm_sregs *sregs)
{
	return kvm_ioctl(vcpu_fd, KVM_SET_SREGS, sregs);
}

int kvm_get_debugregs(int vcpu_fd, struct kvm_debugregs *ret)
{
	return kvm_ioctl(vcpu_fd, KVM_GET_DEBUGREGS, ret);
}

int kvm_set_debugregs(int vcpu_fd, const struct kvm_debugregs *regs)
{
	return kvm_ioctl(vcpu_fd, KVM_SET_DEBUGREGS, regs);
}

int kvm_get_vcpu_events(int vcpu_fd, struct kvm_vcpu_events *ret)
{
	return kvm_ioctl(vcpu_fd, KVM_GET_VCPU_EVENTS, ret);
}

int kvm_set_vcpu_events(int vcpu_fd, const struct kvm_vcpu_events *events)
{
	return kvm_ioctl(vcpu_fd, KVM_SET_VCPU_EVENTS, events);
}

int kvm_get_mp_state(int vcpu_fd, struct kvm_mp_state *ret)
{
	return kvm_ioctl(vcpu_fd, KVM_GET_MP_STATE, ret);
}

int kvm_set_mp_state(int vcpu_fd, const struct kvm_mp_state *state)
{
	return kvm_ioctl(vcpu_fd, KVM_SET_MP_STATE, state);
}

int kvm_get_xcrs(int vcpu_fd, struct kvm_xcrs *ret)
{
	return kvm_ioctl(vcpu_fd, KVM_GET_XCRS, ret);
}

int kvm_set_xcrs(int vcpu_fd, const struct kvm_xcrs *xcrs)
{
	return kvm_ioctl(vcpu_fd, KVM_SET_XCRS, xcrs);
}

int kvm_get_lapic(int vcpu_fd, struct kvm_lapic_state *ret)
{
	return kvm_ioctl(vcpu_fd, KVM_GET_LAPIC, ret);
}

int kvm_set_lapic(int vcpu_fd, const struct kvm_lapic_state *lapic)
{
	return kvm_ioctl(vcpu_fd, KVM_SET_LAPIC, lapic);
}

int kvm_get_xsave(int vcpu_fd, bool has_xsave2, void *ret)
{
	return kvm_ioctl(vcpu_fd, has_xsave2 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, ret);
}

int kvm_set_xsave(int vcpu_fd, const void *xsave)
{
	return kvm_ioctl(vcpu_fd, KVM_SET_XSAVE, xsave);
}

int kvm_get_msrs(int vcpu_fd, struct kvm_msrs *msrs)
{
	return kvm_ioctl(vcpu_fd, KVM_GET_MSRS, msrs);
}

int kvm_set_msrs(int vcpu_fd, const struct kvm_msrs *msrs)
{
	return kvm_ioctl(vcpu_fd, KVM_SET_MSRS, msrs);
}

/* struct kvm_msrs ends in a flexible array: room for one entry. */
union kvm_one_msr {
	struct kvm_msrs msrs;
	uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
};

int kvm_get_msr(int vcpu_fd, uint32_t msr, uint64_t *ret)
{
	union kvm_one_msr one = { .msrs.nmsrs = 1 };
	int r;

	one.msrs.entries[0].index = msr;
	r = kvm_get_msrs(vcpu_fd, &one.msrs);
	if (r != 1) {
		return r < 0 ? r : -EIO;
	}
	*ret = one.msrs.entries[0].data;
	return 0;
}

int kvm_set_msr(int vcpu_fd, uint32_t msr, uint64_t value)
{
	union kvm_one_msr one = { .msrs.nmsrs = 1 };
	int r;

	one.msrs.entries[0].index = msr;
	one.msrs.entries[0].data = value;
	r = kvm_set_msrs(vcpu_fd, &one.msrs);
	return r == 1 ? 0 : r < 0 ? r : -EIO;
}

/* SPDX-License-Identifier: MIT */
/* What `inspect` shows of a partition: exits to user space by reason, and KVM's own counters. */
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/num.h"
#include "partition/kvm.h"
#include "partition/partition_internal.h"

static const char *const exit_names[VCPU_EXIT_COUNT] = {
	[VCPU_EXIT_PIO] = "pio",
	[VCPU_EXIT_MMIO] = "mmio",
	[VCPU_EXIT_HLT] = "hlt",
	[VCPU_EXIT_HYPERCALL] = "hypercall",
	[VCPU_EXIT_SYNIC] = "synic",
	[VCPU_EXIT_MSR] = "msr",
	[VCPU_EXIT_SYSTEM_EVENT] = "system_event",
	[VCPU_EXIT_SHUTDOWN] = "shutdown",
	[VCPU_EXIT_INTERRUPTED] = "interrupted",
	[VCPU_EXIT_FAILURE] = "failure",
	[VCPU_EXIT_OTHER] = "other",
};

static const char *const port_names[VCPU_PORT_COUNT] = {
	[VCPU_PORT_SERIAL] = "serial", [VCPU_PORT_RTC] = "rtc",
	[VCPU_PORT_I8042] = "i8042",   [VCPU_PORT_PIT] = "pit",
	[VCPU_PORT_PCI] = "pci",       [VCPU_PORT_VGA] = "vga",
	[VCPU_PORT_IDE] = "ide",       [VCPU_PORT_POST_CODE] = "post_code",
	[VCPU_PORT_OTHER] = "other",
};

static const char *const hypercall_names[VCPU_HYPERCALL_COUNT] = {
	[VCPU_HYPERCALL_POST_MESSAGE] = "post_message",
	[VCPU_HYPERCALL_SIGNAL_EVENT] = "signal_event",
	[VCPU_HYPERCALL_OTHER] = "other",
};

/* Those that never counted are left out; the sum of all. */
static uint64_t inspect_counters(struct inspect *at, const char *name, const char *const *names,
				 const counter_u64 *counters, size_t n)
{
	struct inspect child = inspect_child(at, name);
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t value = counter_read(&counters[i]);

		sum += value;
		if (value) {
			inspect_u64(&child, names[i], value);
		}
	}
	return sum;
}

/* ---- KVM's counters ---- */

/* Of KVM's names, those that tell what a VP costs. */
static const char *const stats_shown[] = {
	"exits",      "io_exits",       "mmio_exits", "signal_exits",   "irq_window_exits",
	"halt_exits", "halt_wakeup",    "irq_exits",  "irq_injections", "nmi_injections",
	"hypercalls", "insn_emulation", "pf_taken",   "tlb_flush",
};

static bool stat_is_shown(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(stats_shown); i++) {
		if (strcmp(name, stats_shown[i]) == 0) {
			return true;
		}
	}
	return false;
}

static bool read_at(int fd, void *buf, size_t bytes, uint64_t offset)
{
	return pread(fd, buf, bytes, (off_t)offset) == (ssize_t)bytes;
}

void stats_inspect(struct vcpu *vcpu, struct inspect *at)
{
	struct kvm_stats_header header;
	auto_free uint8_t *descs = NULL;
	struct inspect child;
	size_t desc_bytes;

	if (vcpu->stats_fd < 0 || !read_at(vcpu->stats_fd, &header, sizeof(header), 0) ||
	    header.name_size > 256 || header.num_desc > 1024) {
		return;
	}
	desc_bytes = sizeof(struct kvm_stats_desc) + header.name_size;
	descs = fault_alloc(header.num_desc, desc_bytes);
	if (!descs ||
	    !read_at(vcpu->stats_fd, descs, header.num_desc * desc_bytes, header.desc_offset)) {
		return;
	}
	child = inspect_child(at, "kvm");
	for (uint32_t i = 0; i < header.num_desc; i++) {
		const struct kvm_stats_desc *desc = (const void *)(descs + i * desc_bytes);
		uint64_t value;

		if (desc->size == 1 && stat_is_shown(desc->name) &&
		    read_at(vcpu->stats_fd, &value, sizeof(value),
			    header.data_offset + desc->offset)) {
			inspect_u64(&child, desc->name, value);
		}
	}
}

/* ---- the tree ---- */

static const char *state_name(const struct vcpu *vcpu)
{
	if (atomic_load(&vcpu->is_stuck)) {
		return "stuck";
	}
	if (!vcpu->partition->is_running) {
		return vcpu->has_thread ? "paused" : "created";
	}
	return atomic_load(&vcpu->is_in_guest) ? "in_guest" : "in_host";
}

static void inspect_vp(struct vcpu *vcpu, struct inspect *at)
{
	struct vcpu_counters *counters = &vcpu->counters;
	uint64_t sum;

	inspect_u64(at, "index", vcpu->index);
	inspect_string(at, "state", state_name(vcpu));
	sum = inspect_counters(at, "exits", exit_names, counters->exits, VCPU_EXIT_COUNT);
	inspect_u64(at, "exits_total", sum);
	inspect_counters(at, "ports", port_names, counters->ports, VCPU_PORT_COUNT);
	inspect_counters(at, "hypercalls", hypercall_names, counters->hypercalls,
			 VCPU_HYPERCALL_COUNT);
	inspect_u64(at, "hypercall_errors", counter_read(&counters->hypercall_errors));
	inspect_u64(at, "unclaimed_pio", counter_read(&counters->unclaimed_pio));
	inspect_u64(at, "unclaimed_mmio", counter_read(&counters->unclaimed_mmio));
	stats_inspect(vcpu, at);
	synic_inspect(vcpu, at);
}

void partition_inspect(struct partition *partition, struct inspect *at)
{
	inspect_bool(at, "running", partition->is_running);
	inspect_u64(at, "tsc_khz", partition->tsc_khz);
	inspect_u64(at, "events_dropped", atomic_load(&partition->events_dropped));
	for (uint32_t i = 0; i < partition->vps; i++) {
		struct inspect vp = inspect_item(at, "vps");

		inspect_vp(&partition->vcpus[i], &vp);
	}
	window_inspect(partition, at);
}

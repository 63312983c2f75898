/* SPDX-License-Identifier: MIT */
/*
 * What the files of this directory share: the partition's insides.
 *
 *   owner   partition    thread  see the parts of the struct
 */
#pragma once

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/log.h"
#include "partition/partition.h"
#include "partition/vcpu.h"

/* GSIs above the IOAPIC's pins: SINT VMBUS_SINT of VP n is n above this. */
#define PARTITION_GSI_SINT         PARTITION_IRQ_LINES

/* KVM's own pages on processors that cannot run real mode unaided; in the hole below 4 GiB. */
#define PARTITION_IDENTITY_MAP_GPA 0xfeffc000ULL
#define PARTITION_TSS_GPA          0xfeffd000ULL

enum partition_want {
	PARTITION_WANT_PAUSE,
	PARTITION_WANT_RUN,
	PARTITION_WANT_QUIT,
};

/* Slots of KVM's: RAM's ranges (with a hole for VGA: three), then the windows. */
#define PARTITION_WINDOW_SLOT 4U

/* Host memory that the guest sees; bytes 0: free. */
struct partition_window {
	gpa_t gpa;
	uint64_t bytes;
	bool is_readonly;
};

/* MSRs that are saved and reset, besides the SynIC's. */
struct msr_list {
	uint32_t count;
	uint32_t *indices;
};

struct partition {
	/* Constant after create. */
	struct synic synic; /* first: the bus's handle */
	const struct mem *mem;
	struct loop *control;
	const struct partition_ops *ops;
	void *ops_ctx;
	int kvm_fd, vm_fd;
	uint32_t vps;
	uint32_t tsc_khz;
	size_t run_bytes;
	size_t xsave_bytes;
	bool has_pit, has_vga_hole, has_xsave2, has_stats;
	struct msr_list msrs;
	struct vcpu *vcpus; /* vps of them */

	/* Control loop. */
	bool is_started, is_running, is_stopped;
	struct vcpu_state *power_on; /* VP 0 as KVM made it: what reset restores */
	struct partition_chips *power_on_chips;

	/* Under window_lock: memory slots of KVM's above the RAM's. */
	pthread_mutex_t window_lock;
	struct partition_window windows[PARTITION_WINDOWS_MAX];

	/* Under lock: parking. `want` may be looked at without it, it changes only with it. */
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a VP parked, or want changed */
	_Atomic(int) want;      /* enum partition_want */
	uint32_t parked;

	_Atomic(uint64_t) events_dropped;
};

/* The machine's state outside the VPs. */
struct partition_chips {
	struct kvm_irqchip chips[3]; /* master PIC, slave PIC, IOAPIC */
	struct kvm_pit_state2 pit;   /* when has_pit */
};

MUST_CHECK int partition_get_chips(struct partition *partition, struct partition_chips *ret);
MUST_CHECK int partition_set_chips(struct partition *partition,
				   const struct partition_chips *chips);

/* ---- caps.c ---- */

/* 0, or -EOPNOTSUPP and the sentence. */
MUST_CHECK int caps_check(int kvm_fd, struct diag *reterr);

/* Opens /dev/kvm: a descriptor, or a negative errno and the sentence. */
MUST_CHECK int caps_open(struct diag *reterr);

/* ---- window.c ---- */

void window_inspect(struct partition *partition, struct inspect *at);

/* ---- cpuid.c ---- */

struct cpuid_policy {
	uint32_t vps;
	bool has_tsc_deadline;  /* KVM can time the LAPIC by TSC deadline */
	bool has_apic_hardware; /* APICv or AVIC: the APIC's own registers cost no exit */
};

/*
 * Makes what VP 0 sees of what KVM supports (from KVM_GET_SUPPORTED_CPUID, and the Hyper-V leaves
 * from KVM_GET_SUPPORTED_HV_CPUID). Pure; -ENOMEM. *ret is the caller's to free.
 */
MUST_CHECK int cpuid_build(const struct kvm_cpuid2 *supported, const struct kvm_cpuid2 *hyperv,
			   const struct cpuid_policy *policy, struct kvm_cpuid2 **ret);

/* Puts a VP's own numbers (APIC id) into what cpuid_build() made. */
void cpuid_set_vp(struct kvm_cpuid2 *cpuid, uint32_t vp);

/* Which of the leaves that a stock guest needs KVM's Hyper-V lacks; NULL when none. */
const char *cpuid_missing(const struct kvm_cpuid2 *hyperv);

/* ---- msr.c ---- */

/* The MSRs to save, of KVM's list; probes VP 0. indices are freed with the partition. */
MUST_CHECK int msr_list_create(struct partition *partition);

/* ---- synic.c ---- */

extern const struct synic_ops synic_kvm_ops;

/* Routes and event descriptors; every VP must exist. */
MUST_CHECK int synic_init(struct partition *partition, struct diag *reterr);
void synic_fini(struct partition *partition);

/* The VP's registers have these values now. guest: it wrote msr itself, on the VP's thread. */
void synic_vp_set(struct vcpu *vcpu, uint64_t control, uint64_t siefp, uint64_t simp);
void synic_vp_on_exit(struct vcpu *vcpu, uint32_t msr, uint64_t control, uint64_t siefp,
		      uint64_t simp);
void synic_vp_reset(struct vcpu *vcpu);
bool synic_vp_is_waiting(const struct vcpu *vcpu);
MUST_CHECK int synic_vp_wait(struct vcpu *vcpu); /* on_slot_free() follows once */
void synic_inspect(struct vcpu *vcpu, struct inspect *at);

/* ---- hypercall.c ---- */

/* A hypercall's input value and two parameters; what to answer. On the VP's thread. */
uint64_t hypercall_handle(struct vcpu *vcpu, uint64_t input, uint64_t param0, uint64_t param1);

/* ---- partition_inspect.c ---- */

/* KVM's own counters of a VP (exits, halts…); adds nothing where KVM has none. */
void stats_inspect(struct vcpu *vcpu, struct inspect *at);

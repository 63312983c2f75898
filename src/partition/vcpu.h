/* SPDX-License-Identifier: MIT */
/*
 * One virtual processor: its thread, its exits, its registers.
 *
 *              start            exit, kick             reset
 *   made ───► parked ◄────────────────────► running     │
 *                ▲  resume (partition wants RUN)        │
 *                └────────── stuck ◄────────────────────┘
 *                             ▲ triple fault, KVM failure, reset request: parked until reset
 *
 *   owner   partition (an array of them)
 *   thread  its own, except where it says otherwise
 */
#pragma once

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "loop/loop.h"
#include "partition/partition.h"
#include "proto/hv.h"

struct partition;

/* Why a VP came out to user space. */
enum vcpu_exit {
	VCPU_EXIT_PIO,
	VCPU_EXIT_MMIO,
	VCPU_EXIT_HLT,
	VCPU_EXIT_HYPERCALL,
	VCPU_EXIT_SYNIC,
	VCPU_EXIT_MSR,
	VCPU_EXIT_SYSTEM_EVENT,
	VCPU_EXIT_SHUTDOWN,
	VCPU_EXIT_INTERRUPTED, /* a kick */
	VCPU_EXIT_FAILURE,
	VCPU_EXIT_OTHER,
	VCPU_EXIT_COUNT,
};

/* Ports, told apart for the counters only. */
enum vcpu_port {
	VCPU_PORT_SERIAL,
	VCPU_PORT_RTC,
	VCPU_PORT_I8042,
	VCPU_PORT_PIT,
	VCPU_PORT_PCI,
	VCPU_PORT_VGA,
	VCPU_PORT_IDE,
	VCPU_PORT_POST_CODE,
	VCPU_PORT_OTHER,
	VCPU_PORT_COUNT,
};

enum vcpu_hypercall {
	VCPU_HYPERCALL_POST_MESSAGE,
	VCPU_HYPERCALL_SIGNAL_EVENT,
	VCPU_HYPERCALL_OTHER,
	VCPU_HYPERCALL_COUNT,
};

/* Written by the VP's thread alone, read by any. */
struct vcpu_counters {
	counter_u64 exits[VCPU_EXIT_COUNT];
	counter_u64 ports[VCPU_PORT_COUNT];
	counter_u64 hypercalls[VCPU_HYPERCALL_COUNT];
	counter_u64 hypercall_errors;
	counter_u64 unclaimed_pio, unclaimed_mmio;
};

/* The SynIC of a VP; the functions are synic.c's. */
struct vcpu_synic {
	/* Any thread: where the guest's pages are; NULL while it has none. */
	_Atomic(uint8_t *) message_page;
	_Atomic(uint8_t *) event_page;
	_Atomic(bool) is_enabled;

	/* For inspect and saved state; the VP's thread, or paused. */
	_Atomic(uint64_t) control, siefp, simp;

	int sint_fd; /* irqfd that raises VMBUS_SINT; lives as long as the partition */
	int eom_fd;  /* KVM writes it when the guest acknowledges VMBUS_SINT */
	int idle_fd; /* never written: KVM wants a trigger beside eom_fd */

	/* Control loop: a message found the slot taken. */
	bool is_waiting;
	struct loop_watch eom_watch;

	/* Counters; single writer each. */
	counter_u64 messages, messages_busy, slots_freed;
};

struct vcpu {
	struct partition *partition;
	uint32_t index;
	int fd, stats_fd;
	struct kvm_run *run;
	pthread_t thread;
	bool has_thread;

	_Atomic(bool) is_in_guest; /* in KVM_RUN: for inspect */
	_Atomic(bool) is_stuck;    /* parked until reset; set by its thread */

	struct vcpu_synic synic;
	struct vcpu_counters counters;
	struct log_rate rate;

	/* What to tell the control loop: bits of enum partition_event_kind. */
	struct loop_work event_work;
	_Atomic(unsigned int) events;
	uint64_t crash[5]; /* valid while the CRASH bit is set */
	bool crash_has_text;
	const char *failure; /* a literal; valid while the FAILURE bit is set */
	uint32_t failure_detail;
};

/* ---- life: control loop -------------------------------------------------------------------------- */

/* On zeroed memory, before all else: fini is fine from here on. */
void vcpu_prepare(struct vcpu *vcpu);

/* Makes it in KVM; CPUID and SynIC come later. 0 or a negative errno. */
MUST_CHECK int vcpu_init(struct vcpu *vcpu, struct partition *partition, uint32_t index);
void vcpu_fini(struct vcpu *vcpu);

MUST_CHECK int vcpu_start_thread(struct vcpu *vcpu);
void vcpu_join_thread(struct vcpu *vcpu);

/* Any thread: makes it look at what the partition wants. */
void vcpu_kick(struct vcpu *vcpu);

/* The process answers kicks; once per process, repeatable. */
MUST_CHECK int vcpu_kick_init(void);

/* ---- events: the VP's thread ---------------------------------------------------------------------- */

/* Tells the control loop. A kind that was told and not yet heard is told once. */
void vcpu_post_event(struct vcpu *vcpu, enum partition_event_kind kind);

/* The guest wrote CRASH_CTL: control's bits say what it reports. */
void vcpu_report_crash(struct vcpu *vcpu, uint64_t control);

/* ---- registers: not running ------------------------------------------------------------------------ */

/* All that KVM knows of a VP. */
struct vcpu_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;
	struct kvm_xcrs xcrs;
	struct kvm_lapic_state lapic;
	struct kvm_msrs *msrs; /* in the same allocation */
	void *xsave;           /* likewise */
};

/* 0 or -ENOMEM. */
MUST_CHECK int vcpu_state_create(const struct partition *partition, struct vcpu_state **ret);
void vcpu_state_destroy(struct vcpu_state *state);

/* Both of the same partition. */
void vcpu_state_copy(const struct partition *partition, struct vcpu_state *to,
		     const struct vcpu_state *from);

/* Takes an MSR out: vcpu_state_set() will leave it alone. */
void vcpu_state_drop_msr(struct vcpu_state *state, uint32_t msr);

/* Between KVM and the struct. *ret_what names the part that failed. */
MUST_CHECK int vcpu_state_get(struct vcpu *vcpu, struct vcpu_state *state, const char **ret_what);
MUST_CHECK int vcpu_state_set(struct vcpu *vcpu, const struct vcpu_state *state,
			      const char **ret_what);

/* Between the struct and saved state. load leaves what is not there as it is. */
void vcpu_state_save(const struct partition *partition, const struct vcpu_state *state,
		     struct save *save);
void vcpu_state_load(const struct partition *partition, struct vcpu_state *state,
		     struct load *load);

/* The value of an MSR in it, to be changed; NULL when it is not there. */
uint64_t *vcpu_state_msr(struct vcpu_state *state, uint32_t msr);

/* Makes VP 0's power-on state that of VP `index`, and where boot says. vcpu_boot.c */
void vcpu_state_make_power_on(struct vcpu_state *state, uint32_t index);
void vcpu_state_make_boot(struct vcpu_state *state, const struct partition_boot *boot);

/* SPDX-License-Identifier: MIT */
/*
 * A partition on KVM: the VM, its virtual processors (VPs), its interrupt controllers and its
 * Hyper-V face. The only directory that knows KVM, and only vm includes it.
 *
 *   partition.[ch]  life, pause, reset, interrupt lines, inspect     kvm.[ch]   the ioctls
 *   vcpu.[ch]       one VP: its thread, its exits, its registers     caps.c     what KVM must have
 *   synic.c         SynIC messages, event flags and doorbells        cpuid.c    what the guest sees
 *   hypercall.c     hypercalls that reach us                         msr.c      crash reports, lists
 *   window.c        memory of chips, doorbells                       vcpu_state.c partition_state.c
 *                                                                    saved state
 *
 *   created ──start──► running ──pause──► paused ──destroy──► gone
 *      │                  ▲                 │ ▲
 *      └── save, load     └─────resume──────┘ └─ reset, save and load happen here
 *
 * Invariants:
 *   P1  While paused, no VP is in KVM_RUN, no exit is half answered and no callback of ops runs.
 *   P2  Every line of KVM's API that takes a VP's state is called by the VP's own thread or while
 *       the partition is paused or not started.
 *   P3  A guest can end its own run (an event), never ours.
 *
 *   owner   vm; mem and the control loop must outlive it
 *   thread  the control loop, unless it says otherwise. VPs run on threads of their own.
 *   spec    Linux Documentation/virt/kvm/api.rst; TLFS
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "dev/inspect.h"
#include "dev/pio.h"
#include "dev/synic.h"
#include "dev/window.h"
#include "loop/loop.h"
#include "mem/mem.h"
#include "state/load.h"
#include "state/save.h"

#define PARTITION_VPS_MAX          64

/* GSIs 0 to 23 are the pins of the IOAPIC (at its usual 0xfec00000, id 0); 0 to 15 also the PICs'. */
#define PARTITION_IRQ_LINES        24
#define PARTITION_IOAPIC_GPA       0xfec00000ULL
#define PARTITION_LAPIC_GPA        0xfee00000ULL
#define PARTITION_CRASH_TEXT_BYTES 4096
#define PARTITION_WINDOWS_MAX      16U
#define PARTITION_VGA_HOLE_GPA     0xa0000ULL
#define PARTITION_VGA_HOLE_BYTES   0x20000ULL

struct partition;

/* ---- what happens in it --------------------------------------------------------------------- */

enum partition_event_kind {
	PARTITION_EVENT_RESET,        /* the guest asked for a reset (HV_X64_MSR_RESET) */
	PARTITION_EVENT_CRASH,        /* the guest reports its own crash; it goes on running */
	PARTITION_EVENT_TRIPLE_FAULT, /* the VP is parked until reset */
	PARTITION_EVENT_FAILURE,      /* KVM cannot go on; the VP is parked until reset */
};

struct partition_event {
	enum partition_event_kind kind;
	uint32_t vp;
	uint64_t crash[5]; /* CRASH: the guest's five parameters */
	/* CRASH: the guest's text, made printable, or ""; FAILURE: a one-line reason. */
	const char *text;
};

struct partition_ops {
	/*
	 * A port or MMIO access that KVM did not answer. Returns whether anyone did; a read that
	 * nobody answers is all ones. bytes is the width of one access, count their number (string
	 * instructions). On the VPs' threads, several at once: takes the chipset's lock itself, and
	 * must not wait for the control loop.
	 */
	bool (*pio)(void *ctx, uint16_t port, bool is_write, void *data, unsigned int bytes,
		    unsigned int count);
	bool (*mmio)(void *ctx, gpa_t gpa, bool is_write, void *data, unsigned int bytes);

	/* On the control loop. event lives during the call. */
	void (*on_event)(void *ctx, const struct partition_event *event);
};

/* ---- where VP 0 begins ------------------------------------------------------------------------ */

enum partition_boot_mode {
	PARTITION_BOOT_FIRMWARE,  /* the processor's own: real mode at 0xfffffff0 */
	PARTITION_BOOT_PROTECTED, /* 32 bits, flat, paging off (PVH) */
	PARTITION_BOOT_LONG,      /* 64 bits, paging on (bzImage's 64-bit entry) */
};

/*
 * Registers of VP 0 after power-on; the others wait for INIT and SIPI. Interrupts are off. In
 * PROTECTED and LONG, cs is selector 0x10 and all data segments are 0x18, flat; the descriptor
 * table at gdt_gpa must say the same. LONG needs page tables at cr3 that map rip.
 */
struct partition_boot {
	enum partition_boot_mode mode;
	uint64_t rip, rsp;
	uint64_t rbx; /* PVH: gpa of hvm_start_info */
	uint64_t rsi; /* bzImage: gpa of boot_params */
	gpa_t cr3;
	gpa_t gdt_gpa;
	uint16_t gdt_limit; /* bytes - 1 */
};

/* ---- life -------------------------------------------------------------------------------------- */

struct partition_config {
	uint32_t vps; /* 1 to PARTITION_VPS_MAX; APIC id = VP index */
	bool has_pit; /* an i8254 in KVM, with port 0x61: firmware, old guests; Linux does without */
	/*
	 * What is RAM of mem from 0xa0000 to 0xbffff is not shown to the guest: accesses there are a
	 * graphics adapter's, by ops or by windows. (mem_read() and its like still see the RAM.)
	 */
	bool has_vga_hole;
	int kvm_fd;                      /* /dev/kvm, taken over; -1: opened here */
	const struct partition_ops *ops; /* borrowed for life */
	void *ops_ctx;
};

/* 0; -EINVAL, -ENOENT or -EACCES (no /dev/kvm), -EOPNOTSUPP (KVM lacks something), -ENOMEM…; the
 * sentence is in *reterr. VP 0 is left at PARTITION_BOOT_FIRMWARE. */
MUST_CHECK int partition_create(const struct mem *mem, struct loop *control,
				const struct partition_config *config, struct partition **ret,
				struct diag *reterr);

/*
 * NULL is fine. Must be stopped (or never started). Not from within on_event(), nor from anything
 * else that the control loop calls: an event that is still on its way is let arrive first.
 */
void partition_destroy(struct partition *partition);

/*
 * All VPs to power-on state, interrupt controllers and SynICs too; guest memory is untouched and
 * doorbells stay. Before start, or paused. Also the way to set where VP 0 begins.
 */
MUST_CHECK int partition_reset(struct partition *partition, const struct partition_boot *boot,
			       struct diag *reterr);

/* Makes the VPs' threads and lets them run. */
MUST_CHECK int partition_start(struct partition *partition, struct diag *reterr);

/* Waits until every VP is out (P1). Nothing when it is not running. */
void partition_pause(struct partition *partition);
void partition_resume(struct partition *partition);

/* Pauses, ends the threads, drops events that were not delivered. Start is not possible again. */
void partition_stop(struct partition *partition);

/* An NMI on every VP. Any state. */
void partition_nmi(struct partition *partition);

/* ---- what devices need ------------------------------------------------------------------------ */

/* Interrupt line gsi < PARTITION_IRQ_LINES; level, any thread. */
struct irq_line partition_irq_line(struct partition *partition, uint32_t gsi);

/*
 * Memory windows (KVM's memory slots) and doorbells (its ioeventfds) for chips; borrowed, for the
 * partition's life. A write to a read-only window reaches ops->mmio. A doorbell lies on a port or
 * gpa that no window covers.
 */
struct windows partition_windows(struct partition *partition);
struct doorbells partition_doorbells(struct partition *partition);

/* The VPs' SynICs; only SINT VMBUS_SINT is served. */
struct synic *partition_synic(struct partition *partition);

uint32_t partition_vps(const struct partition *partition);

/* ---- saved state: before start, or paused -------------------------------------------------------- */

/* Processors, interrupt controllers, clock. Memory is not in it. */
void partition_save(struct partition *partition, struct save *save);

/*
 * 0; -EBADMSG for nonsense; -EINVAL when it comes from a partition with another number of VPs;
 * an errno of KVM's. After a failure only reset, load or destroy make sense.
 */
MUST_CHECK int partition_load(struct partition *partition, struct load *load, struct diag *reterr);

/* VPs with exits by reason and hypercalls by code, SynICs. */
void partition_inspect(struct partition *partition, struct inspect *at);

/* ---- the host ------------------------------------------------------------------------------------ */

/*
 * Is this host's KVM enough? 0; or a negative errno with the sentence that names what is missing
 * and the remedy. Any thread, needs nothing.
 */
MUST_CHECK int partition_host_check(struct diag *reterr);

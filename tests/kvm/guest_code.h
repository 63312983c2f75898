/* SPDX-License-Identifier: MIT */
/*
 * Programs that run inside tiny guests, and the memory that they share with the test. The code is
 * compiled into a section of its own, which the test copies into the guest: no calls out of the
 * section, no constants in memory.
 */
#pragma once

#include <stdint.h>

/* Where things are in the guest; all below 4 GiB, mapped one to one. */
#define GUEST_GPA_PAGE_TABLES 0x1000ULL /* six pages */
#define GUEST_GPA_GDT         0x7000ULL
#define GUEST_GPA_SHARED      0x8000ULL
#define GUEST_GPA_AP_CODE     0xa000ULL /* real mode: SIPI vector 0x0a */
#define GUEST_GPA_IDT         0xb000ULL
#define GUEST_GPA_SIMP        0x20000ULL
#define GUEST_GPA_SIEFP       0x21000ULL
#define GUEST_GPA_HYPERCALL   0x22000ULL
#define GUEST_GPA_INPUT       0x23000ULL
#define GUEST_GPA_CODE        0x200000ULL
#define GUEST_GPA_STACK_TOP   0x400000ULL
#define GUEST_GPA_MMIO        0xd0000000ULL

#define GUEST_GPA_WINDOW      0xd4000000ULL
#define GUEST_GPA_ROM         0xfffc0000ULL
#define GUEST_GPA_BELL        (GUEST_GPA_MMIO + 0x40)
#define GUEST_PORT_BELL       0x540

#define GUEST_PORT_DONE       0x500 /* a write: look now */
#define GUEST_PORT_BYTES      0x510 /* collects writes, reads 0x5a */
#define GUEST_PORT_NOBODY     0x600

#define GUEST_VECTOR_SINT     0x50
#define GUEST_VECTOR_STIMER   0x51

#define GUEST_VALUES          64

struct guest_shared {
	volatile uint64_t in[GUEST_VALUES];  /* test → guest */
	volatile uint64_t out[GUEST_VALUES]; /* guest → test */
	volatile uint64_t interrupts[256];   /* by vector; the guest's handler counts */
	volatile uint64_t go;                /* the test lets the guest go on */
};

typedef void guest_fn(struct guest_shared *shared);

extern const uint8_t guest_text_start[] __asm__("__start_guest_text");
extern const uint8_t guest_text_stop[] __asm__("__stop_guest_text");

/* Where VP 0 begins: calls rbx with rsi as its argument, then halts. */
void guest_entry(void);

guest_fn guest_cpuid, guest_hypercalls, guest_doorbell, guest_receive, guest_flags, guest_stimer,
	guest_stimer_before_simp, guest_crash, guest_triple_fault, guest_ports, guest_count,
	guest_registers, guest_start_ap, guest_nmi, guest_reset_msr, guest_msrs, guest_halt,
	guest_windows, guest_bells, guest_speaker;

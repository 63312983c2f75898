/* SPDX-License-Identifier: MIT */
#include "guest_code.h"

#include <stdbool.h>

#define GUEST              __attribute__((section("guest_text"), noinline))
#define GUEST_INLINE       static inline __attribute__((always_inline))

#define MSR_GUEST_OS_ID    0x40000000
#define MSR_HYPERCALL      0x40000001
#define MSR_VP_INDEX       0x40000002
#define MSR_RESET          0x40000003
#define MSR_TIME_REF       0x40000020
#define MSR_TSC_FREQUENCY  0x40000022
#define MSR_APIC_FREQUENCY 0x40000023
#define MSR_EOI            0x40000070
#define MSR_SCONTROL       0x40000080
#define MSR_SIEFP          0x40000082
#define MSR_SIMP           0x40000083
#define MSR_EOM            0x40000084
#define MSR_SINT2          0x40000092
#define MSR_STIMER0_CONFIG 0x400000b0
#define MSR_STIMER0_COUNT  0x400000b1
#define MSR_CRASH_P0       0x40000100
#define MSR_CRASH_CTL      0x40000105

#define APIC_SPURIOUS      0xfee000f0ULL
#define APIC_ICR_LOW       0xfee00300ULL
#define APIC_ICR_HIGH      0xfee00310ULL

/* ---- the machine ---- */

__asm__(".pushsection guest_text, \"ax\"\n"
	".globl guest_entry\n"
	"guest_entry:\n"
	"	mov %rsi, %rdi\n"
	"	call *%rbx\n"
	"1:	cli\n"
	"	hlt\n"
	"	jmp 1b\n"
	/* Handlers push their vector; the common part counts it and ends the interrupt. */
	".globl guest_isr_sint\n"
	"guest_isr_sint:\n"
	"	push $0x50\n"
	"	jmp guest_isr\n"
	".globl guest_isr_stimer\n"
	"guest_isr_stimer:\n"
	"	push $0x51\n"
	"	jmp guest_isr\n"
	".globl guest_isr_nmi\n"
	"guest_isr_nmi:\n"
	"	lock incq 0x8000 + 64 * 16 + 2 * 8\n"
	"	iretq\n"
	"guest_isr:\n"
	"	push %rax\n"
	"	push %rcx\n"
	"	push %rdx\n"
	"	mov 24(%rsp), %rax\n"
	"	lock incq 0x8000 + 64 * 16(, %rax, 8)\n"
	"	mov $0x40000070, %ecx\n"
	"	xor %eax, %eax\n"
	"	xor %edx, %edx\n"
	"	wrmsr\n"
	"	pop %rdx\n"
	"	pop %rcx\n"
	"	pop %rax\n"
	"	add $8, %rsp\n"
	"	iretq\n"
	".popsection\n");

/* Hidden: their addresses are taken without a table of the linker's, which is not copied. */
__attribute__((visibility("hidden"))) void guest_isr_sint(void);
__attribute__((visibility("hidden"))) void guest_isr_stimer(void);
__attribute__((visibility("hidden"))) void guest_isr_nmi(void);

GUEST_INLINE void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

GUEST_INLINE uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

GUEST_INLINE uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

GUEST_INLINE void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

GUEST_INLINE uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr) : "memory");
	return (uint64_t)high << 32 | low;
}

GUEST_INLINE void done(void)
{
	out8(GUEST_PORT_DONE, 1);
}

GUEST_INLINE void wait_go(struct guest_shared *s, uint64_t value)
{
	while (s->go < value) {
		__asm__ volatile("pause" : : : "memory");
	}
}

/* Sleeps until interrupts[vector] reaches n. No wake-up is lost: sti takes effect after hlt. */
GUEST_INLINE void wait_interrupt(struct guest_shared *s, uint32_t vector, uint64_t n)
{
	for (;;) {
		__asm__ volatile("cli" : : : "memory");
		if (s->interrupts[vector] >= n) {
			break;
		}
		__asm__ volatile("sti; hlt" : : : "memory");
	}
	__asm__ volatile("sti" : : : "memory");
}

GUEST_INLINE void set_gate(uint32_t vector, void (*handler)(void))
{
	volatile uint64_t *gate = (volatile uint64_t *)(GUEST_GPA_IDT + vector * 16);
	uint64_t at = (uint64_t)handler;

	gate[0] = (at & 0xffff) | 0x10ULL << 16 | 0x8e00ULL << 32 | (at >> 16 & 0xffff) << 48;
	gate[1] = at >> 32;
}

GUEST_INLINE void load_idt(uint16_t limit)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = { limit, GUEST_GPA_IDT };

	__asm__ volatile("lidt %0" : : "m"(idtr) : "memory");
}

GUEST_INLINE void set_up_interrupts(void)
{
	set_gate(2, guest_isr_nmi);
	set_gate(GUEST_VECTOR_SINT, guest_isr_sint);
	set_gate(GUEST_VECTOR_STIMER, guest_isr_stimer);
	load_idt(256 * 16 - 1);
	*(volatile uint32_t *)APIC_SPURIOUS = 0x1ff;
}

/* SIMP, SIEFP, SINT2, SCONTROL: in Linux's order. */
GUEST_INLINE void set_up_synic(void)
{
	wrmsr(MSR_SIMP, rdmsr(MSR_SIMP) | GUEST_GPA_SIMP | 1);
	wrmsr(MSR_SIEFP, rdmsr(MSR_SIEFP) | GUEST_GPA_SIEFP | 1);
	wrmsr(MSR_SINT2, GUEST_VECTOR_SINT);
	wrmsr(MSR_SCONTROL, rdmsr(MSR_SCONTROL) | 1);
}

GUEST_INLINE void set_up_hypercalls(void)
{
	wrmsr(MSR_GUEST_OS_ID, 0x8100ULL << 48 | 0x1234);
	wrmsr(MSR_HYPERCALL, GUEST_GPA_HYPERCALL | 1);
}

GUEST_INLINE uint64_t hypercall(uint64_t control, uint64_t input, uint64_t output)
{
	register uint64_t r8 __asm__("r8") = output;
	uint64_t page = GUEST_GPA_HYPERCALL;
	uint64_t result;

	__asm__ volatile("call *%[page]"
			 : "=a"(result), "+c"(control), "+d"(input), "+r"(r8)
			 : [page] "r"(page)
			 : "memory", "cc", "r9", "r10", "r11");
	return result;
}

/* ---- programs ---- */

/* in[2i]: leaf, in[2i + 1]: subleaf, until a leaf of ~0; out[4i…]: eax ebx ecx edx. */
GUEST void guest_cpuid(struct guest_shared *s)
{
	for (uint32_t i = 0; i < GUEST_VALUES / 4 && s->in[2 * i] != ~0ULL; i++) {
		uint32_t a = (uint32_t)s->in[2 * i], c = (uint32_t)s->in[2 * i + 1], b, d;

		__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
		s->out[4 * i] = a;
		s->out[4 * i + 1] = b;
		s->out[4 * i + 2] = c;
		s->out[4 * i + 3] = d;
	}
	done();
}

GUEST void guest_msrs(struct guest_shared *s)
{
	s->out[0] = rdmsr(MSR_VP_INDEX);
	s->out[1] = rdmsr(MSR_TSC_FREQUENCY);
	s->out[2] = rdmsr(MSR_APIC_FREQUENCY);
	s->out[3] = rdmsr(MSR_TIME_REF);
	s->out[4] = rdmsr(MSR_SCONTROL);
	s->out[5] = rdmsr(MSR_CRASH_CTL);
	s->out[6] = rdmsr(MSR_TIME_REF);
	done();
}

/* in[i]: control, input; until control is 0. out[i]: status. */
GUEST void guest_hypercalls(struct guest_shared *s)
{
	set_up_hypercalls();
	s->out[GUEST_VALUES - 1] = rdmsr(MSR_HYPERCALL);
	for (uint32_t i = 0; s->in[2 * i]; i++) {
		s->out[i] = hypercall(s->in[2 * i], s->in[2 * i + 1], 0);
	}
	done();
}

/* in[0]: connection id; in[1]: how often. */
GUEST void guest_doorbell(struct guest_shared *s)
{
	set_up_hypercalls();
	done();
	wait_go(s, 1);
	for (uint64_t i = 0; i < s->in[1]; i++) {
		s->out[0] |= hypercall(0x5d | 1 << 16, s->in[0], 0);
	}
	s->out[1] = 1;
	wait_go(s, 2);
}

/* Takes in[0] messages; out[i]: the first word of each; out[32 + i]: its flags. */
GUEST void guest_receive(struct guest_shared *s)
{
	volatile uint32_t *type = (volatile uint32_t *)(GUEST_GPA_SIMP + 2 * 256);
	volatile uint8_t *flags = (volatile uint8_t *)(GUEST_GPA_SIMP + 2 * 256 + 5);
	volatile uint64_t *payload = (volatile uint64_t *)(GUEST_GPA_SIMP + 2 * 256 + 16);

	set_up_interrupts();
	set_up_synic();
	__asm__ volatile("sti");
	done();
	for (uint64_t i = 0; i < s->in[0]; i++) {
		wait_go(s, i + 1);
		while (*type == 0) {
			__asm__ volatile("pause" : : : "memory");
		}
		s->out[i] = *payload;
		*type = 0;
		__asm__ volatile("mfence" : : : "memory");
		s->out[32 + i] = *flags & 1;
		if (*flags & 1) {
			wrmsr(MSR_EOM, 0);
		}
		done();
	}
	wait_go(s, ~0ULL);
}

/* Waits for a SINT interrupt and shows the first two words of the event flags. */
GUEST void guest_flags(struct guest_shared *s)
{
	volatile uint64_t *flags = (volatile uint64_t *)(GUEST_GPA_SIEFP + 2 * 256);

	set_up_interrupts();
	set_up_synic();
	done();
	wait_interrupt(s, GUEST_VECTOR_SINT, 1);
	s->out[0] = flags[0];
	s->out[1] = flags[31];
	done();
}

/* Three direct timers of 1 ms, one after the other. */
GUEST void guest_stimer(struct guest_shared *s)
{
	set_up_interrupts();
	/* Enabled, auto-enable, direct mode; the vector in bits 11:4. */
	wrmsr(MSR_STIMER0_CONFIG, 1 << 3 | 1 << 12 | GUEST_VECTOR_STIMER << 4);
	s->out[0] = rdmsr(MSR_TIME_REF);
	for (uint64_t i = 1; i <= 3; i++) {
		wrmsr(MSR_STIMER0_COUNT, rdmsr(MSR_TIME_REF) + 10000);
		wait_interrupt(s, GUEST_VECTOR_STIMER, i);
	}
	s->out[1] = rdmsr(MSR_TIME_REF);
	done();
}

/* A timer with a message on SINT2 that expires before there is a message page. */
GUEST void guest_stimer_before_simp(struct guest_shared *s)
{
	volatile uint32_t *type = (volatile uint32_t *)(GUEST_GPA_SIMP + 2 * 256);

	wrmsr(MSR_SINT2, GUEST_VECTOR_SINT);
	wrmsr(MSR_STIMER0_CONFIG, 1 << 3 | 2 << 16);
	wrmsr(MSR_STIMER0_COUNT, rdmsr(MSR_TIME_REF) + 1000);
	while (rdmsr(MSR_TIME_REF) < rdmsr(MSR_STIMER0_COUNT) + 20000) {}
	wrmsr(MSR_SIMP, GUEST_GPA_SIMP | 1);
	for (uint64_t end = rdmsr(MSR_TIME_REF) + 20000000; rdmsr(MSR_TIME_REF) < end;) {
		if (*type) {
			break;
		}
	}
	s->out[0] = *type;
	done();
}

/* in[0…4]: the parameters; in[5]: what to write to CTL. */
GUEST void guest_crash(struct guest_shared *s)
{
	for (uint32_t i = 0; i < 5; i++) {
		wrmsr(MSR_CRASH_P0 + i, s->in[i]);
	}
	wrmsr(MSR_CRASH_CTL, s->in[5]);
	s->out[0] = 1;
	wait_go(s, 1);
	done();
}

GUEST void guest_triple_fault(struct guest_shared *s)
{
	(void)s;
	load_idt(0);
	__asm__ volatile("int3");
}

GUEST void guest_ports(struct guest_shared *s)
{
	const uint8_t *from = (const uint8_t *)&s->in[8];
	uint64_t n = 8;

	out8(GUEST_PORT_BYTES, 0x11);
	out8(GUEST_PORT_BYTES, 0x22);
	s->out[0] = in8(GUEST_PORT_BYTES);
	s->out[1] = in32(GUEST_PORT_NOBODY);
	__asm__ volatile("cld; rep outsb" : "+S"(from), "+c"(n) : "d"(GUEST_PORT_BYTES) : "memory");
	*(volatile uint32_t *)(GUEST_GPA_MMIO + 0x10) = 0xdeadbeef;
	s->out[2] = *(volatile uint32_t *)(GUEST_GPA_MMIO + 0x20);
	s->out[3] = *(volatile uint64_t *)(GUEST_GPA_MMIO + 0x1000000);
	done();
}

/* The chip's memory, a ROM, and the hole below 1 MiB. */
GUEST void guest_windows(struct guest_shared *s)
{
	volatile uint32_t *window = (volatile uint32_t *)GUEST_GPA_WINDOW;
	volatile uint32_t *rom = (volatile uint32_t *)GUEST_GPA_ROM;
	volatile uint32_t *hole = (volatile uint32_t *)0xb8000ULL;

	s->out[0] = window[0];
	window[0x2000 / 4] = 0x12345678;
	s->out[1] = rom[0];
	rom[1] = 0xdeadbeef;
	s->out[2] = rom[1];
	hole[0] = 0x07410741;
	s->out[3] = hole[0];
	s->out[4] = *(volatile uint32_t *)0xc0000ULL;
	done();
	wait_go(s, 1);
	s->out[5] = window[0];
	done();
}

/* The doorbells' widths, and others at the same places. */
GUEST void guest_bells(struct guest_shared *s)
{
	volatile uint32_t *bell = (volatile uint32_t *)GUEST_GPA_BELL;

	*bell = 1;
	*bell = 0xffffffff;
	*(volatile uint8_t *)bell = 1;
	out8(GUEST_PORT_BELL, 7);
	done();
	wait_go(s, 1);
	*bell = 2;
	done();
}

/* As firmware measures time: channel 2 counts while its gate is open; its output is in bit 5. */
GUEST void guest_speaker(struct guest_shared *s)
{
	uint64_t turns = 0;

	out8(0x61, 0);
	out8(0x43, 0xb0); /* channel 2, both bytes, mode 0 */
	out8(0x42, 0x80);
	out8(0x42, 0x10); /* 0x1080 ticks: 3.5 ms */
	out8(0x61, 1);
	s->out[0] = in8(0x61);
	while (!(in8(0x61) & 0x20) && turns < 10000000) {
		turns++;
	}
	s->out[1] = turns;
	s->out[2] = in8(0x61);
	done();
}

GUEST void guest_count(struct guest_shared *s)
{
	done();
	for (;;) {
		s->out[0]++;
	}
}

/* Holds values in registers while it is saved and loaded. */
GUEST void guest_registers(struct guest_shared *s)
{
	uint64_t a = s->in[0], b = s->in[1], c = s->in[2];

	set_up_interrupts();
	set_up_hypercalls();
	set_up_synic();
	/* CR4.OSFXSR: SSE is allowed. */
	__asm__ volatile("mov %%cr4, %%rax; or $0x200, %%rax; mov %%rax, %%cr4" : : : "rax");
	__asm__ volatile("movq %0, %%xmm7" : : "r"(c));
	s->out[7] = rdmsr(MSR_TIME_REF);
	done();
	__asm__ volatile("1: cmpq $0, (%[go])\n"
			 "pause\n"
			 "je 1b\n"
			 : "+r"(a), "+r"(b)
			 : [go] "r"(&s->go)
			 : "memory", "cc");
	__asm__ volatile("movq %%xmm7, %0" : "=r"(c));
	s->out[0] = a;
	s->out[1] = b;
	s->out[2] = c;
	s->out[3] = rdmsr(MSR_SIMP);
	s->out[4] = rdmsr(MSR_SINT2);
	s->out[5] = rdmsr(MSR_HYPERCALL);
	s->out[6] = rdmsr(MSR_TIME_REF);
	__asm__ volatile("sti");
	done();
	wait_interrupt(s, GUEST_VECTOR_SINT, s->in[3]);
	done();
}

/* The AP, in real mode at GUEST_GPA_AP_CODE, counts in out[1]; see the test. */
GUEST void guest_start_ap(struct guest_shared *s)
{
	*(volatile uint32_t *)APIC_SPURIOUS = 0x1ff;
	*(volatile uint32_t *)APIC_ICR_HIGH = 1 << 24;
	*(volatile uint32_t *)APIC_ICR_LOW = 0x4500;
	for (uint64_t end = rdmsr(MSR_TIME_REF) + 100000; rdmsr(MSR_TIME_REF) < end;) {}
	*(volatile uint32_t *)APIC_ICR_HIGH = 1 << 24;
	*(volatile uint32_t *)APIC_ICR_LOW = 0x4600 | GUEST_GPA_AP_CODE >> 12;
	while (s->out[1] == 0) {
		__asm__ volatile("pause" : : : "memory");
	}
	done();
	wait_go(s, ~0ULL);
}

GUEST void guest_nmi(struct guest_shared *s)
{
	set_up_interrupts();
	done();
	while (s->interrupts[2] == 0) {
		__asm__ volatile("pause" : : : "memory");
	}
	done();
}

GUEST void guest_reset_msr(struct guest_shared *s)
{
	s->out[0]++;
	wrmsr(MSR_RESET, 1);
	s->out[1]++;
	done();
}

GUEST void guest_halt(struct guest_shared *s)
{
	(void)s;
	done();
	__asm__ volatile("cli; hlt");
}

/* SPDX-License-Identifier: MIT */
/*
 * Tiny guests under real KVM: a partition of 64 MiB whose VP 0 runs one function of guest_code.c in
 * 64-bit mode, with all of the first 4 GiB mapped one to one.
 *
 *   owner   the test    thread  the test's: it is the control loop
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "loop/loop.h"
#include "mem/mem.h"
#include "partition/partition.h"

#include "guest_code.h"

#define KVM_GUEST_BYTES   (64ULL << 20)
#define KVM_GUEST_OUTS    64
#define KVM_GUEST_WAIT_NS (20ULL * 1000 * 1000 * 1000)

struct kvm_guest {
	struct mem *mem;
	struct loop *loop;
	struct partition *partition;
	struct synic *synic;
	struct guest_shared *shared; /* in the guest's memory */

	/* What the guest's ports and MMIO saw; the VPs' threads write, the test reads when done. */
	_Atomic(unsigned int) pios, mmios, dones;
	uint64_t last_mmio_gpa, last_mmio_value; /* where somebody answers */
	uint64_t last_write_gpa;                 /* anywhere */
	uint8_t port_bytes[KVM_GUEST_OUTS];
	uint32_t port_bytes_count;

	/* Events, in order. */
	struct partition_event events[8];
	char texts[8][256];
	unsigned int event_count;
	unsigned int dones_seen, events_seen; /* by kvm_guest_wait() */

	/* What the SynIC's sink heard. */
	uint32_t message_connection, message_type, message_bytes;
	uint8_t message[240];
	_Atomic(unsigned int) messages;
	unsigned int slots_freed;
	uint16_t message_status; /* to answer */

	struct loop_timer timeout;
	bool is_timed_out;
};

/* Fails the test when it cannot. legacy: with a PIT, and the hole for VGA. */
void kvm_guest_create(struct kvm_guest *guest, uint32_t vps);
void kvm_guest_create_legacy(struct kvm_guest *guest, uint32_t vps);
void kvm_guest_destroy(struct kvm_guest *guest);

/* Resets it so that VP 0 will begin in this function. */
void kvm_guest_boot(struct kvm_guest *guest, guest_fn *fn);

/* boot, start; and wait. */
void kvm_guest_start(struct kvm_guest *guest, guest_fn *fn);
void kvm_guest_run(struct kvm_guest *guest, guest_fn *fn);

/* Turns the loop until the guest says done once more; fails on time-out and on an event. */
void kvm_guest_wait(struct kvm_guest *guest);

/* Turns the loop until the next event; fails on time-out and on a done. */
const struct partition_event *kvm_guest_wait_event(struct kvm_guest *guest);

/* Turns the loop for so long, whatever happens. */
void kvm_guest_turn(struct kvm_guest *guest, uint64_t ns);

/* Exits to user space of all VPs, as inspect tells. */
uint64_t kvm_guest_exits(struct kvm_guest *guest, const char *reason);

/* Ends the program with 77 when this host's KVM is not enough. */
void kvm_guest_need_host(void);

/* SPDX-License-Identifier: MIT */
/*
 * The Hyper-V face of a partition: hypercalls, SynIC pages, synthetic MSRs, CPUID leaves.
 * All structures are little-endian and live in guest memory.
 *
 *   spec  Hypervisor Top-Level Functional Specification (TLFS) 6.0b: 2 (feature discovery),
 *         3 (hypercalls), 10 (interrupts), 11 (SynIC messages and events), 12 (timers)
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* ---- CPUID (TLFS 2.4) ---- */
#define HV_CPUID_VENDOR                   0x40000000U
#define HV_CPUID_INTERFACE                0x40000001U
#define HV_CPUID_VERSION                  0x40000002U
#define HV_CPUID_FEATURES                 0x40000003U
#define HV_CPUID_HINTS                    0x40000004U
#define HV_CPUID_LIMITS                   0x40000005U

/* Leaf 3 EAX: partition privileges, low half (TLFS 4.2.2). */
#define HV_PRIV_VP_RUNTIME                (1U << 0)
#define HV_PRIV_TIME_REF_COUNT            (1U << 1)
#define HV_PRIV_SYNIC                     (1U << 2)
#define HV_PRIV_SYNTIMERS                 (1U << 3)
#define HV_PRIV_APIC_ACCESS               (1U << 4)
#define HV_PRIV_HYPERCALL                 (1U << 5)
#define HV_PRIV_VP_INDEX                  (1U << 6)
#define HV_PRIV_RESET                     (1U << 7)
#define HV_PRIV_REFERENCE_TSC             (1U << 9)
#define HV_PRIV_FREQUENCY_MSRS            (1U << 11)
#define HV_PRIV_REENLIGHTENMENT           (1U << 13)
#define HV_PRIV_TSC_INVARIANT             (1U << 15)

/* Leaf 3 EBX: privileges, high half. */
#define HV_PRIV_HIGH_POST_MESSAGES        (1U << 4)
#define HV_PRIV_HIGH_SIGNAL_EVENTS        (1U << 5)

/* Leaf 3 EDX: features. */
#define HV_FEATURE_XMM_INPUT              (1U << 4)
#define HV_FEATURE_FREQUENCY_MSRS         (1U << 8)
#define HV_FEATURE_CRASH_MSRS             (1U << 10)
#define HV_FEATURE_STIMER_DIRECT          (1U << 19)

/* Leaf 4 EAX: recommendations. */
#define HV_HINT_REMOTE_TLB_FLUSH          (1U << 2)
#define HV_HINT_APIC_MSRS                 (1U << 3)
#define HV_HINT_RELAXED_TIMING            (1U << 5)
#define HV_HINT_DEPRECATE_AUTO_EOI        (1U << 9)
#define HV_HINT_CLUSTER_IPI               (1U << 10)
#define HV_HINT_EX_PROCESSOR_MASKS        (1U << 11)

/* ---- hypercalls (TLFS 3, appendix A) ---- */
#define HV_CALL_POST_MESSAGE              0x005cU
#define HV_CALL_SIGNAL_EVENT              0x005dU

#define HV_STATUS_SUCCESS                 0x0000U
#define HV_STATUS_INVALID_HYPERCALL_CODE  0x0002U
#define HV_STATUS_INVALID_HYPERCALL_INPUT 0x0003U
#define HV_STATUS_INVALID_ALIGNMENT       0x0004U
#define HV_STATUS_INVALID_PARAMETER       0x0005U
#define HV_STATUS_INSUFFICIENT_MEMORY     0x000bU
#define HV_STATUS_INVALID_CONNECTION_ID   0x0012U
#define HV_STATUS_INSUFFICIENT_BUFFERS    0x0013U

/* Input of HvCallPostMessage; payload_bytes of payload follow (TLFS 11.11.1). */
struct hv_post_message_input {
	uint32_t connection_id;
	uint32_t reserved;
	uint32_t message_type; /* HV_MESSAGE_* of the guest: below 0x80000000 */
	uint32_t payload_bytes;
	uint8_t payload[240];
};
static_assert(sizeof(struct hv_post_message_input) == 256, "TLFS 11.11.1");

/* ---- synthetic MSRs (TLFS appendix C) ---- */
#define HV_MSR_GUEST_OS_ID          0x40000000U
#define HV_MSR_HYPERCALL            0x40000001U
#define HV_MSR_VP_INDEX             0x40000002U
#define HV_MSR_SCONTROL             0x40000080U
#define HV_MSR_SIEFP                0x40000082U
#define HV_MSR_SIMP                 0x40000083U
#define HV_MSR_EOM                  0x40000084U
#define HV_MSR_SINT0                0x40000090U
#define HV_MSR_CRASH_P0             0x40000100U
#define HV_MSR_CRASH_CTL            0x40000105U

#define HV_SYNIC_ENABLE             (1ULL << 0) /* SCONTROL, SIMP and SIEFP */
#define HV_SINT_COUNT               16
#define HV_SINT_MASKED              (1ULL << 16)

#define HV_CRASH_CTL_NOTIFY_MESSAGE (1ULL << 62) /* P3 gpa and P4 bytes of a text */
#define HV_CRASH_CTL_NOTIFY         (1ULL << 63)

/* ---- SynIC message page: one slot of 256 bytes per SINT (TLFS 11.8) ---- */
#define HV_MESSAGE_NONE             0x00000000U
#define HV_MESSAGE_VMBUS            0x00000001U
#define HV_MESSAGE_TIMER_EXPIRED    0x80000010U

#define HV_MESSAGE_FLAG_PENDING     0x01U /* the guest must write EOM after it has emptied the slot */

struct hv_message {
	uint32_t type; /* HV_MESSAGE_*; the guest writes HV_MESSAGE_NONE to empty the slot */
	uint8_t payload_bytes;
	uint8_t flags; /* HV_MESSAGE_FLAG_* */
	uint8_t reserved[2];
	uint64_t origin;
	uint8_t payload[240];
};
static_assert(sizeof(struct hv_message) == 256, "TLFS 11.8.1");

/* ---- SynIC event flags page: 2048 bits per SINT (TLFS 11.9) ---- */
#define HV_EVENT_FLAGS_BYTES 256

/* SPDX-License-Identifier: MIT */
/*
 * What a machine's synthetic interrupt controllers offer to the bus (SynIC, one per virtual
 * processor), and what the bus hears from them. The partition implements it over KVM, tests over
 * plain memory.
 *
 *   spec    Hypervisor Top-Level Functional Specification (TLFS), chapter 11, "Inter-Partition
 *           Communication", and chapter 10, "Virtual Interrupt Controller"
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

/* Payload bytes of one SynIC message, and bits of one SINT's event flags. */
#define SYNIC_MESSAGE_PAYLOAD_BYTES 240
#define SYNIC_EVENT_FLAGS           2048

struct synic;

struct synic_message {
	uint32_t type; /* HV_MESSAGE_* (proto/hv.h); 1 for VMBus */
	uint8_t payload_bytes;
	uint8_t payload[SYNIC_MESSAGE_PAYLOAD_BYTES];
};

struct synic_ops {
	/* Virtual processors; constant. Any thread. */
	uint32_t (*vp_count)(struct synic *synic);

	/*
	 * Puts a message into the VP's slot for this SINT and raises it. 0; -EAGAIN when the slot
	 * is taken: on_slot_free() follows once; -ENODEV when the guest has not enabled SCONTROL,
	 * SIMP or the SINT, or there is no such VP. Control loop.
	 */
	int (*post_message)(struct synic *synic, uint32_t vp, uint32_t sint,
			    const struct synic_message *message);

	/*
	 * Sets an event flag (< SYNIC_EVENT_FLAGS) of the VP's SINT without raising it; false when
	 * the guest has no SIEFP page there. Any thread.
	 */
	bool (*set_event_flag)(struct synic *synic, uint32_t vp, uint32_t sint, uint32_t flag);

	/*
	 * The eventfd that raises the VP's SINT when written; -1 when there is no such VP. Lives as
	 * long as the synic. Any thread.
	 */
	int (*sint_eventfd)(struct synic *synic, uint32_t vp, uint32_t sint);

	/*
	 * HvCallSignalEvent on this connection id (24 bits) writes the eventfd. 0, -EEXIST, or an
	 * errno. Control loop.
	 */
	int (*doorbell_add)(struct synic *synic, uint32_t connection_id, int eventfd);
	void (*doorbell_remove)(struct synic *synic, uint32_t connection_id);

	/*
	 * The VP's SIEFP register: gpa of its page of event flags, bit 0: enabled. 0 when there is no
	 * such VP. Any thread.
	 */
	uint64_t (*event_page)(struct synic *synic, uint32_t vp);
};

/* What the bus hears. */
struct synic_sink_ops {
	/*
	 * HvCallPostMessage. Returns an HV_STATUS_*; must not block. Called on the vCPU's thread.
	 */
	uint16_t (*on_post_message)(void *ctx, uint32_t connection_id, uint32_t type,
				    const uint8_t *payload, uint32_t payload_bytes);

	/* A slot that post_message() found taken is free. Control loop. */
	void (*on_slot_free)(void *ctx, uint32_t vp, uint32_t sint);

	/*
	 * event_page() gives another value from now on. Must not block. On the thread that sets it: the
	 * vCPU's as a rule.
	 */
	void (*on_event_page)(void *ctx, uint32_t vp, uint64_t siefp);
};

/* Embedded first by implementers. */
struct synic {
	const struct synic_ops *ops;
	const struct synic_sink_ops *sink; /* set by the bus before the first vCPU runs */
	void *sink_ctx;
};

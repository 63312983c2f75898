/* SPDX-License-Identifier: MIT */
/*
 * Hypercalls that KVM hands to us: HvCallPostMessage, and HvCallSignalEvent on a connection that
 * has no doorbell. All others KVM answers itself.
 *
 *   spec  TLFS 3.7 (input value), 11.11 (HvCallPostMessage, HvCallSignalEvent)
 */
#include "partition/partition_internal.h"
#include "partition/vcpu.h"

#define INPUT_CODE(input)       ((uint16_t)(input))
#define INPUT_FAST              (1ULL << 16)

/* Port types HV_MESSAGE_* from here on are the hypervisor's own. */
#define MESSAGE_TYPE_HYPERVISOR 0x80000000U

static uint16_t post_message(struct vcpu *vcpu, uint64_t input, uint64_t gpa)
{
	struct partition *partition = vcpu->partition;
	const struct synic *synic = &partition->synic;
	struct hv_post_message_input message;

	/* In registers there is no room for a payload. */
	if (input & INPUT_FAST) {
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	}
	if (gpa % 8 || gpa % MEM_PAGE_BYTES + sizeof(message) > MEM_PAGE_BYTES) {
		return HV_STATUS_INVALID_ALIGNMENT;
	}
	if (mem_read(partition->mem, gpa, &message, sizeof(message))) {
		return HV_STATUS_INVALID_ALIGNMENT;
	}
	if (message.payload_bytes > sizeof(message.payload) ||
	    message.message_type == HV_MESSAGE_NONE ||
	    message.message_type >= MESSAGE_TYPE_HYPERVISOR) {
		return HV_STATUS_INVALID_PARAMETER;
	}
	if (!synic->sink) {
		return HV_STATUS_INVALID_CONNECTION_ID;
	}
	return synic->sink->on_post_message(synic->sink_ctx, message.connection_id,
					    message.message_type, message.payload,
					    message.payload_bytes);
}

uint64_t hypercall_handle(struct vcpu *vcpu, uint64_t input, uint64_t param0, uint64_t param1)
{
	uint16_t status;

	(void)param1;
	switch (INPUT_CODE(input)) {
	case HV_CALL_POST_MESSAGE:
		counter_add(&vcpu->counters.hypercalls[VCPU_HYPERCALL_POST_MESSAGE], 1);
		status = post_message(vcpu, input, param0);
		break;
	case HV_CALL_SIGNAL_EVENT:
		counter_add(&vcpu->counters.hypercalls[VCPU_HYPERCALL_SIGNAL_EVENT], 1);
		status = HV_STATUS_INVALID_CONNECTION_ID;
		break;
	default:
		counter_add(&vcpu->counters.hypercalls[VCPU_HYPERCALL_OTHER], 1);
		status = HV_STATUS_INVALID_HYPERCALL_CODE;
		break;
	}
	if (status != HV_STATUS_SUCCESS) {
		counter_add(&vcpu->counters.hypercall_errors, 1);
	}
	return status;
}

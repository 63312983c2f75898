/* SPDX-License-Identifier: MIT */
/*
 * A VP's registers, between KVM, memory and saved state.
 *
 * KVM's structures are part of Linux's stable interface, so the saved form holds them as they are,
 * one field each; MSRs are (number, value) pairs, because their list differs from host to host.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "partition/kvm.h"
#include "partition/partition_internal.h"
#include "partition/vcpu.h"

/* Tags of a VP's group; never reused. */
enum {
	VCPU_STATE_REGS = 1,
	VCPU_STATE_SREGS = 2,
	VCPU_STATE_DEBUGREGS = 3,
	VCPU_STATE_EVENTS = 4,
	VCPU_STATE_MP_STATE = 5,
	VCPU_STATE_XCRS = 6,
	VCPU_STATE_LAPIC = 7,
	VCPU_STATE_XSAVE = 8, /* as long as the saving host's; at least struct kvm_xsave */
	VCPU_STATE_MSRS = 9,  /* pairs of number u32, value u64 */
};

#define VCPU_STATE_MSR_BYTES 12

int vcpu_state_create(const struct partition *partition, struct vcpu_state **ret)
{
	size_t msrs_at = num_align_up(sizeof(struct vcpu_state), 16);
	size_t xsave_at = num_align_up(msrs_at + sizeof(struct kvm_msrs) +
					       partition->msrs.count * sizeof(struct kvm_msr_entry),
				       64);
	struct vcpu_state *state = fault_alloc(1, xsave_at + partition->xsave_bytes);

	if (!state) {
		return -ENOMEM;
	}
	state->msrs = (struct kvm_msrs *)((uint8_t *)state + msrs_at);
	state->xsave = (uint8_t *)state + xsave_at;
	state->msrs->nmsrs = partition->msrs.count;
	for (uint32_t i = 0; i < partition->msrs.count; i++) {
		state->msrs->entries[i].index = partition->msrs.indices[i];
	}
	*ret = state;
	return 0;
}

void vcpu_state_destroy(struct vcpu_state *state)
{
	free(state);
}

uint64_t *vcpu_state_msr(struct vcpu_state *state, uint32_t msr)
{
	for (uint32_t i = 0; i < state->msrs->nmsrs; i++) {
		if (state->msrs->entries[i].index == msr) {
			return (uint64_t *)&state->msrs->entries[i].data;
		}
	}
	return NULL;
}

void vcpu_state_copy(const struct partition *partition, struct vcpu_state *to,
		     const struct vcpu_state *from)
{
	struct kvm_msrs *msrs = to->msrs;
	void *xsave = to->xsave;

	*to = *from;
	to->msrs = msrs;
	to->xsave = xsave;
	memcpy(msrs, from->msrs, sizeof(*msrs) + partition->msrs.count * sizeof(msrs->entries[0]));
	memcpy(xsave, from->xsave, partition->xsave_bytes);
}

void vcpu_state_drop_msr(struct vcpu_state *state, uint32_t msr)
{
	struct kvm_msrs *msrs = state->msrs;

	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		if (msrs->entries[i].index == msr) {
			msrs->nmsrs--;
			memmove(&msrs->entries[i], &msrs->entries[i + 1],
				(msrs->nmsrs - i) * sizeof(msrs->entries[0]));
			return;
		}
	}
}

/* ---- KVM ---- */

/* One step of a sequence: remembers the first that fails and does not take those after it. */
static bool step(int result, const char *what, int *r, const char **ret_what)
{
	if (result < 0) {
		*r = result;
		*ret_what = what;
		return false;
	}
	return true;
}

int vcpu_state_get(struct vcpu *vcpu, struct vcpu_state *state, const char **ret_what)
{
	int fd = vcpu->fd;
	bool has_xsave2 = vcpu->partition->has_xsave2;
	int r = 0;

	/* mp_state first: KVM_GET_MP_STATE takes pending INIT and SIPI into the registers. */
	if (step(kvm_get_mp_state(fd, &state->mp_state), "mp_state", &r, ret_what) &&
	    step(kvm_get_regs(fd, &state->regs), "regs", &r, ret_what) &&
	    step(kvm_get_sregs(fd, &state->sregs), "sregs", &r, ret_what) &&
	    step(kvm_get_xsave(fd, has_xsave2, state->xsave), "xsave", &r, ret_what) &&
	    step(kvm_get_xcrs(fd, &state->xcrs), "xcrs", &r, ret_what) &&
	    step(kvm_get_debugregs(fd, &state->debugregs), "debugregs", &r, ret_what) &&
	    step(kvm_get_lapic(fd, &state->lapic), "lapic", &r, ret_what) &&
	    step(kvm_get_vcpu_events(fd, &state->events), "events", &r, ret_what)) {
		int n = kvm_get_msrs(fd, state->msrs);

		if (n != (int)state->msrs->nmsrs) {
			r = n < 0 ? n : -EIO;
			*ret_what = "msrs";
		}
	}
	return r;
}

/*
 * KVM stops at the first MSR that it will not take. That is fine when the MSR has the value
 * already (some can be read but not written), and an error when it has not.
 */
static int set_msrs(int fd, const struct kvm_msrs *msrs)
{
	auto_free struct kvm_msrs *rest = NULL;
	uint32_t at = 0;

	rest = fault_alloc(1, sizeof(*rest) + msrs->nmsrs * sizeof(rest->entries[0]));
	if (!rest) {
		return -ENOMEM;
	}
	while (at < msrs->nmsrs) {
		uint64_t value;
		int n;

		rest->nmsrs = msrs->nmsrs - at;
		memcpy(rest->entries, msrs->entries + at, rest->nmsrs * sizeof(rest->entries[0]));
		n = kvm_set_msrs(fd, rest);
		if (n < 0) {
			return n;
		}
		at += (uint32_t)n;
		if (at == msrs->nmsrs) {
			break;
		}
		if (kvm_get_msr(fd, msrs->entries[at].index, &value) ||
		    value != msrs->entries[at].data) {
			log_debug("partition", "KVM does not take %llx for MSR 0x%x",
				  msrs->entries[at].data, msrs->entries[at].index);
			return -EIO;
		}
		at++;
	}
	return 0;
}

int vcpu_state_set(struct vcpu *vcpu, const struct vcpu_state *state, const char **ret_what)
{
	int fd = vcpu->fd;
	int r = 0;

	/*
	 * sregs before the LAPIC: they hold its base and mode. The LAPIC before the MSRs: the TSC
	 * deadline counts only in its timer mode. mp_state last: it undoes what INIT left behind.
	 */
	(void)(step(kvm_set_sregs(fd, &state->sregs), "sregs", &r, ret_what) &&
	       step(kvm_set_regs(fd, &state->regs), "regs", &r, ret_what) &&
	       step(kvm_set_xcrs(fd, &state->xcrs), "xcrs", &r, ret_what) &&
	       step(kvm_set_xsave(fd, state->xsave), "xsave", &r, ret_what) &&
	       step(kvm_set_debugregs(fd, &state->debugregs), "debugregs", &r, ret_what) &&
	       step(kvm_set_lapic(fd, &state->lapic), "lapic", &r, ret_what) &&
	       step(set_msrs(fd, state->msrs), "msrs", &r, ret_what) &&
	       step(kvm_set_vcpu_events(fd, &state->events), "events", &r, ret_what) &&
	       step(kvm_set_mp_state(fd, &state->mp_state), "mp_state", &r, ret_what));
	return r;
}

/* ---- saved state ---- */

static void save_msrs(const struct kvm_msrs *msrs, struct save *save)
{
	size_t bytes = (size_t)msrs->nmsrs * VCPU_STATE_MSR_BYTES;
	auto_free uint8_t *pairs = fault_alloc(1, bytes + 1);

	if (!pairs) {
		save->error = save->error ? save->error : -ENOMEM;
		return;
	}
	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		uint8_t *pair = pairs + (size_t)i * VCPU_STATE_MSR_BYTES;

		bytes_put_le32(pair, msrs->entries[i].index);
		bytes_put_le64(pair + 4, msrs->entries[i].data);
	}
	save_bytes(save, VCPU_STATE_MSRS, pairs, bytes);
}

void vcpu_state_save(const struct partition *partition, const struct vcpu_state *state,
		     struct save *save)
{
	save_bytes(save, VCPU_STATE_REGS, &state->regs, sizeof(state->regs));
	save_bytes(save, VCPU_STATE_SREGS, &state->sregs, sizeof(state->sregs));
	save_bytes(save, VCPU_STATE_DEBUGREGS, &state->debugregs, sizeof(state->debugregs));
	save_bytes(save, VCPU_STATE_EVENTS, &state->events, sizeof(state->events));
	save_bytes(save, VCPU_STATE_MP_STATE, &state->mp_state, sizeof(state->mp_state));
	save_bytes(save, VCPU_STATE_XCRS, &state->xcrs, sizeof(state->xcrs));
	save_bytes(save, VCPU_STATE_LAPIC, &state->lapic, sizeof(state->lapic));
	save_bytes(save, VCPU_STATE_XSAVE, state->xsave, partition->xsave_bytes);
	save_msrs(state->msrs, save);
}

/* Values for MSRs that this host has; one that it has not must not be lost in silence. */
static void load_msrs(struct vcpu_state *state, struct load *load, const struct load_field *field)
{
	if (field->kind != STATE_BYTES || field->length % VCPU_STATE_MSR_BYTES) {
		load_fail(load);
		return;
	}
	for (uint32_t at = 0; at < field->length; at += VCPU_STATE_MSR_BYTES) {
		uint32_t index = bytes_le32(field->bytes + at);
		uint64_t value = bytes_le64(field->bytes + at + 4);
		uint64_t *place = vcpu_state_msr(state, index);

		if (place) {
			*place = value;
		} else if (value) {
			log_warn("partition", "saved MSR 0x%x is not known to this host", index);
		}
	}
}

static void load_xsave(const struct partition *partition, struct vcpu_state *state,
		       struct load *load, const struct load_field *field)
{
	/* A longer one comes from a processor with more registers than this one's. */
	if (field->kind != STATE_BYTES || field->length > partition->xsave_bytes) {
		load_fail(load);
		return;
	}
	memset(state->xsave, 0, partition->xsave_bytes);
	memcpy(state->xsave, field->bytes, field->length);
}

void vcpu_state_load(const struct partition *partition, struct vcpu_state *state, struct load *load)
{
	struct load_field f;

	while (load_next(load, &f)) {
		switch (f.tag) {
		case VCPU_STATE_REGS:
			load_bytes(load, &f, &state->regs, sizeof(state->regs));
			break;
		case VCPU_STATE_SREGS:
			load_bytes(load, &f, &state->sregs, sizeof(state->sregs));
			break;
		case VCPU_STATE_DEBUGREGS:
			load_bytes(load, &f, &state->debugregs, sizeof(state->debugregs));
			break;
		case VCPU_STATE_EVENTS:
			load_bytes(load, &f, &state->events, sizeof(state->events));
			break;
		case VCPU_STATE_MP_STATE:
			load_bytes(load, &f, &state->mp_state, sizeof(state->mp_state));
			break;
		case VCPU_STATE_XCRS:
			load_bytes(load, &f, &state->xcrs, sizeof(state->xcrs));
			break;
		case VCPU_STATE_LAPIC:
			load_bytes(load, &f, &state->lapic, sizeof(state->lapic));
			break;
		case VCPU_STATE_XSAVE:
			load_xsave(partition, state, load, &f);
			break;
		case VCPU_STATE_MSRS:
			load_msrs(state, load, &f);
			break;
		default:
			break;
		}
	}
}

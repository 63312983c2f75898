/* SPDX-License-Identifier: MIT */
/*
 * The partition's saved state. Everything is parsed before anything is given to KVM; what is
 * missing has its power-on value.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "partition/kvm.h"
#include "partition/partition_internal.h"

/* Tags of the partition; never reused. */
enum {
	PARTITION_STATE_VPS = 1,
	PARTITION_STATE_TSC_KHZ = 2,
	PARTITION_STATE_CLOCK_NS = 3,   /* the reference counter, in ns */
	PARTITION_STATE_PIC_MASTER = 4, /* struct kvm_irqchip */
	PARTITION_STATE_PIC_SLAVE = 5,
	PARTITION_STATE_IOAPIC = 6,
	PARTITION_STATE_PIT = 7, /* struct kvm_pit_state2; only with an i8254 */
	PARTITION_STATE_VP = 8,  /* group, one per VP in order */
};

/* Tags of a VP's group, beside vcpu_state.c's, which stay below this. */
enum {
	PARTITION_STATE_VP_IS_WAITING = 100, /* the bus waits for its message slot */
	PARTITION_STATE_VP_IS_STUCK = 101,   /* until reset */
};

/* ---- save ---- */

static void save_vp(struct vcpu *vcpu, struct vcpu_state *state, struct save *save)
{
	const char *what = NULL;
	int r;

	vcpu_state_copy(vcpu->partition, state, vcpu->partition->power_on);
	r = vcpu_state_get(vcpu, state, &what);
	if (r < 0) {
		log_warn("partition", "vp %u: KVM does not give %s: %s", vcpu->index, what,
			 strerror(-r));
		save->error = save->error ? save->error : r;
		return;
	}
	save_group_begin(save, PARTITION_STATE_VP);
	vcpu_state_save(vcpu->partition, state, save);
	save_u32(save, PARTITION_STATE_VP_IS_WAITING, synic_vp_is_waiting(vcpu));
	save_u32(save, PARTITION_STATE_VP_IS_STUCK, atomic_load(&vcpu->is_stuck));
	save_group_end(save);
}

void partition_save(struct partition *partition, struct save *save)
{
	struct vcpu_state *state = NULL;
	struct partition_chips chips;
	struct kvm_clock_data clock = { 0 };
	int r;

	check(!partition->is_running);
	r = vcpu_state_create(partition, &state);
	if (r == 0) {
		r = kvm_get_clock(partition->vm_fd, &clock);
	}
	if (r == 0) {
		r = partition_get_chips(partition, &chips);
	}
	if (r < 0) {
		save->error = save->error ? save->error : r;
		vcpu_state_destroy(state);
		return;
	}
	save_u32(save, PARTITION_STATE_VPS, partition->vps);
	save_u32(save, PARTITION_STATE_TSC_KHZ, partition->tsc_khz);
	save_u64(save, PARTITION_STATE_CLOCK_NS, clock.clock);
	save_bytes(save, PARTITION_STATE_PIC_MASTER, &chips.chips[0], sizeof(chips.chips[0]));
	save_bytes(save, PARTITION_STATE_PIC_SLAVE, &chips.chips[1], sizeof(chips.chips[1]));
	save_bytes(save, PARTITION_STATE_IOAPIC, &chips.chips[2], sizeof(chips.chips[2]));
	if (partition->has_pit) {
		save_bytes(save, PARTITION_STATE_PIT, &chips.pit, sizeof(chips.pit));
	}
	for (uint32_t i = 0; i < partition->vps; i++) {
		save_vp(&partition->vcpus[i], state, save);
	}
	vcpu_state_destroy(state);
}

/* ---- load ---- */

struct loaded_vp {
	struct vcpu_state *state;
	bool is_waiting, is_stuck;
};

struct loaded {
	uint32_t vps, vps_seen;
	uint32_t tsc_khz;
	uint64_t clock_ns;
	struct partition_chips chips;
	struct loaded_vp vp[PARTITION_VPS_MAX];
};

static void loaded_free(struct loaded *loaded)
{
	if (!loaded) {
		return;
	}
	for (uint32_t i = 0; i < PARTITION_VPS_MAX; i++) {
		vcpu_state_destroy(loaded->vp[i].state);
	}
	free(loaded);
}

/* Our fields of a VP's group; vcpu_state_load() has taken the others from its own copy. */
static void load_vp_own(struct loaded_vp *vp, struct load *load)
{
	struct load_field f;

	while (load_next(load, &f)) {
		if (f.tag == PARTITION_STATE_VP_IS_WAITING) {
			vp->is_waiting = load_u32(load, &f) != 0;
		} else if (f.tag == PARTITION_STATE_VP_IS_STUCK) {
			vp->is_stuck = load_u32(load, &f) != 0;
		}
	}
}

static int load_vp(struct partition *partition, struct loaded *loaded, struct load *load,
		   const struct load_field *field)
{
	struct loaded_vp *vp;
	struct load inner;
	int r;

	if (loaded->vps_seen == partition->vps) {
		load_fail(load);
		return 0;
	}
	vp = &loaded->vp[loaded->vps_seen];
	r = vcpu_state_create(partition, &vp->state);
	if (r < 0) {
		return r;
	}
	vcpu_state_copy(partition, vp->state, partition->power_on);
	vcpu_state_make_power_on(vp->state, loaded->vps_seen);
	load_group(load, field, &inner);
	vcpu_state_load(partition, vp->state, &inner);
	load_close(load, &inner);
	load_group(load, field, &inner);
	load_vp_own(vp, &inner);
	load_close(load, &inner);
	loaded->vps_seen++;
	return 0;
}

static void load_chip(struct loaded *loaded, struct load *load, const struct load_field *field,
		      size_t index)
{
	uint32_t id = loaded->chips.chips[index].chip_id;

	load_bytes(load, field, &loaded->chips.chips[index], sizeof(loaded->chips.chips[index]));
	if (loaded->chips.chips[index].chip_id != id) {
		load_fail(load);
	}
}

static int parse(struct partition *partition, struct loaded *loaded, struct load *load)
{
	struct load_field f;
	int r = 0;

	while (r == 0 && load_next(load, &f)) {
		switch (f.tag) {
		case PARTITION_STATE_VPS:
			loaded->vps = load_u32(load, &f);
			break;
		case PARTITION_STATE_TSC_KHZ:
			loaded->tsc_khz = load_u32(load, &f);
			break;
		case PARTITION_STATE_CLOCK_NS:
			loaded->clock_ns = load_u64(load, &f);
			break;
		case PARTITION_STATE_PIC_MASTER:
			load_chip(loaded, load, &f, 0);
			break;
		case PARTITION_STATE_PIC_SLAVE:
			load_chip(loaded, load, &f, 1);
			break;
		case PARTITION_STATE_IOAPIC:
			load_chip(loaded, load, &f, 2);
			break;
		case PARTITION_STATE_PIT:
			load_bytes(load, &f, &loaded->chips.pit, sizeof(loaded->chips.pit));
			break;
		case PARTITION_STATE_VP:
			r = load_vp(partition, loaded, load, &f);
			break;
		default:
			break;
		}
	}
	return r;
}

/* The guest counts on its TSC's rate: KVM scales, or the rates must be the same (to 250 ppm). */
static int apply_tsc_rate(struct partition *partition, uint32_t khz, struct diag *reterr)
{
	for (uint32_t i = 0; i < partition->vps && khz && khz != partition->tsc_khz; i++) {
		int r = kvm_set_tsc_khz(partition->vcpus[i].fd, khz);

		if (r < 0) {
			return diag_set(
				reterr, r,
				"the saved guest's clock runs at %u kHz, this host's at %u kHz, "
				"and this processor cannot scale it",
				khz, partition->tsc_khz);
		}
	}
	partition->tsc_khz = khz ? khz : partition->tsc_khz;
	return 0;
}

static int apply_vp(struct vcpu *vcpu, struct loaded_vp *vp, const char **ret_what)
{
	const uint64_t *control = vcpu_state_msr(vp->state, HV_MSR_SCONTROL);
	const uint64_t *siefp = vcpu_state_msr(vp->state, HV_MSR_SIEFP);
	const uint64_t *simp = vcpu_state_msr(vp->state, HV_MSR_SIMP);
	int r = vcpu_state_set(vcpu, vp->state, ret_what);

	if (r < 0) {
		return r;
	}
	synic_vp_reset(vcpu);
	synic_vp_set(vcpu, control ? *control : 0, siefp ? *siefp : 0, simp ? *simp : 0);
	atomic_store(&vcpu->is_stuck, vp->is_stuck);
	if (vp->is_waiting) {
		*ret_what = "message slot";
		r = synic_vp_wait(vcpu);
	}
	return r;
}

static int apply(struct partition *partition, struct loaded *loaded, struct diag *reterr)
{
	struct kvm_clock_data clock = { .clock = loaded->clock_ns };
	const char *what = "clock";
	int r = apply_tsc_rate(partition, loaded->tsc_khz, reterr);

	if (r < 0) {
		return r;
	}
	r = kvm_set_clock(partition->vm_fd, &clock);
	if (r == 0) {
		what = "interrupt controllers";
		r = partition_set_chips(partition, &loaded->chips);
	}
	for (uint32_t i = 0; i < partition->vps && r == 0; i++) {
		r = apply_vp(&partition->vcpus[i], &loaded->vp[i], &what);
	}
	return r < 0 ? diag_set(reterr, r, "KVM does not take the saved %s: %s", what, strerror(-r))
		     : 0;
}

int partition_load(struct partition *partition, struct load *load, struct diag *reterr)
{
	struct loaded *loaded;
	int r;

	check(!partition->is_running);
	loaded = fault_alloc(1, sizeof(*loaded));
	if (!loaded) {
		return diag_set(reterr, -ENOMEM, "no memory to load the partition");
	}
	loaded->chips = *partition->power_on_chips;
	r = parse(partition, loaded, load);
	if (r == 0) {
		r = load_result(load);
	}
	if (r < 0) {
		diag_set(reterr, r, "the saved partition is damaged");
	} else if (loaded->vps != partition->vps || loaded->vps_seen != partition->vps) {
		r = diag_set(reterr, -EINVAL, "the saved partition has %u processors, this one %u",
			     loaded->vps, partition->vps);
	} else {
		r = apply(partition, loaded, reterr);
	}
	loaded_free(loaded);
	return r;
}

/* SPDX-License-Identifier: MIT */
#include "partition/partition.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "partition/kvm.h"
#include "partition/partition_internal.h"

#define MSR_TSC           0x10U

/* Machine check banks; KVM's default of 32 makes guests touch a hundred registers at boot. */
#define MCE_BANKS         1

/* MSI that delivers an NMI: address with the APIC id in bits 19:12, delivery mode 4. */
#define MSI_DATA_NMI      (4U << 8)
#define MSI_APIC_ID_SHIFT 12

/* ---- create ---- */

/* The slots of RAM; at most PARTITION_WINDOW_SLOT. */
static size_t list_memory(const struct partition *partition, struct mem_range *ret)
{
	const gpa_t hole_end = PARTITION_VGA_HOLE_GPA + PARTITION_VGA_HOLE_BYTES;
	const struct mem_range *ranges;
	size_t n = mem_ranges(partition->mem, &ranges), count = 0;

	for (size_t i = 0; i < n; i++) {
		ret[count] = ranges[i];
		if (i == 0 && partition->has_vga_hole) {
			ret[0].bytes = PARTITION_VGA_HOLE_GPA;
			ret[++count] = (struct mem_range){ .gpa = hole_end,
							   .bytes = ranges[0].bytes - hole_end,
							   .hva = ranges[0].hva + hole_end };
		}
		count++;
	}
	check(count <= PARTITION_WINDOW_SLOT);
	return count;
}

static int create_memory(struct partition *partition, struct diag *reterr)
{
	struct mem_range ranges[PARTITION_WINDOW_SLOT];
	size_t n = list_memory(partition, ranges);

	for (size_t i = 0; i < n; i++) {
		int r = kvm_set_memory(partition->vm_fd, (uint32_t)i, ranges[i].gpa,
				       ranges[i].bytes, ranges[i].hva, 0);

		if (r < 0) {
			return diag_set(reterr, r, "KVM does not take the guest's memory: %s",
					strerror(-r));
		}
	}
	return 0;
}

/*
 * CRASH_CTL comes to us: KVM itself drops the bit by which Linux learns that it may report the
 * text of its panic.
 */
static int take_crash_msr(struct partition *partition)
{
	int r = kvm_enable_cap(partition->vm_fd, KVM_CAP_X86_USER_SPACE_MSR,
			       KVM_MSR_EXIT_REASON_FILTER);

	return r < 0 ? r : kvm_filter_msr(partition->vm_fd, HV_MSR_CRASH_CTL);
}

static int create_vm(struct partition *partition, struct diag *reterr)
{
	const char *what = "VM";
	int r = kvm_create_vm(partition->kvm_fd);

	if (r < 0) {
		goto out;
	}
	partition->vm_fd = r;
	/* Refused by KVMs that do not need them. */
	if (kvm_set_identity_map_addr(partition->vm_fd, PARTITION_IDENTITY_MAP_GPA) < 0 ||
	    kvm_set_tss_addr(partition->vm_fd, PARTITION_TSS_GPA) < 0) {
		log_debug("partition", "KVM takes no address for its own pages");
	}
	if (kvm_check_extension(partition->vm_fd, KVM_CAP_PMU_CAPABILITY) > 0 &&
	    kvm_enable_cap(partition->vm_fd, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE) < 0) {
		log_debug("partition", "KVM cannot switch performance counters off");
	}
	what = "interrupt controllers";
	r = kvm_create_irqchip(partition->vm_fd);
	if (r == 0 && partition->has_pit) {
		what = "i8254";
		r = kvm_create_pit2(partition->vm_fd);
	}
	if (r == 0) {
		what = "exit for crash reports";
		r = take_crash_msr(partition);
	}
out:
	if (r < 0) {
		return diag_set(reterr, r, "KVM makes no %s: %s", what, strerror(-r));
	}
	return create_memory(partition, reterr);
}

/* APICv or AVIC: then the APIC's own registers cost less than Hyper-V's MSRs for it. */
static bool host_has_apic_hardware(void)
{
	static const char *const switches[] = {
		"/sys/module/kvm_intel/parameters/enable_apicv",
		"/sys/module/kvm_amd/parameters/avic",
	};

	for (size_t i = 0; i < ARRAY_SIZE(switches); i++) {
		auto_close int fd = open(switches[i], O_RDONLY | O_CLOEXEC);
		char c = 0;

		if (fd >= 0 && read(fd, &c, 1) == 1 && (c == 'Y' || c == '1')) {
			return true;
		}
	}
	return false;
}

/* Hyper-V's leaves can be asked of a VP only: VP 0 is made before its CPUID is known. */
static int make_cpuid(struct partition *partition, struct kvm_cpuid2 **ret, struct diag *reterr)
{
	auto_free struct kvm_cpuid2 *supported = NULL;
	auto_free struct kvm_cpuid2 *hyperv = NULL;
	struct cpuid_policy policy = {
		.vps = partition->vps,
		.has_tsc_deadline =
			kvm_check_extension(partition->vm_fd, KVM_CAP_TSC_DEADLINE_TIMER) > 0,
		.has_apic_hardware = host_has_apic_hardware(),
	};
	const char *missing;
	int r = kvm_get_supported_cpuid(partition->kvm_fd, &supported);

	if (r == 0) {
		r = kvm_get_supported_hv_cpuid(partition->vcpus[0].fd, &hyperv);
	}
	if (r < 0) {
		return diag_set(reterr, r, "KVM does not tell what processors it makes: %s",
				strerror(-r));
	}
	missing = cpuid_missing(hyperv);
	if (missing) {
		return diag_set(reterr, -EOPNOTSUPP,
				"this host's KVM lacks Hyper-V's %s; run under tools/with-kvm",
				missing);
	}
	r = cpuid_build(supported, hyperv, &policy, ret);
	return r < 0 ? diag_set(reterr, r, "no memory for CPUID") : 0;
}

static int dress_vcpu(struct vcpu *vcpu, struct kvm_cpuid2 *cpuid)
{
	struct partition *partition = vcpu->partition;
	int r;

	cpuid_set_vp(cpuid, vcpu->index);
	r = kvm_set_cpuid2(vcpu->fd, cpuid);
	if (r == 0) {
		r = kvm_enable_cap(vcpu->fd, KVM_CAP_HYPERV_SYNIC2, 0);
	}
	if (r == 0 && kvm_check_extension(partition->vm_fd, KVM_CAP_HYPERV_ENFORCE_CPUID) > 0) {
		/* What CPUID does not offer, KVM then refuses. */
		r = kvm_enable_cap(vcpu->fd, KVM_CAP_HYPERV_ENFORCE_CPUID, 1);
	}
	if (r == 0 && kvm_setup_mce(vcpu->fd, MCE_BANKS) < 0) {
		log_debug("partition", "KVM cannot set the number of machine check banks");
	}
	if (r == 0 && partition->has_stats) {
		int fd = kvm_get_stats_fd(vcpu->fd);

		vcpu->stats_fd = fd < 0 ? -1 : fd;
	}
	return r;
}

static int create_vcpus(struct partition *partition, struct diag *reterr)
{
	auto_free struct kvm_cpuid2 *cpuid = NULL;
	int r = 0;

	for (uint32_t i = 0; i < partition->vps && r == 0; i++) {
		r = vcpu_init(&partition->vcpus[i], partition, i);
		if (r == 0 && i == 0) {
			r = make_cpuid(partition, &cpuid, reterr);
			if (r < 0) {
				return r;
			}
		}
		if (r == 0) {
			r = dress_vcpu(&partition->vcpus[i], cpuid);
		}
	}
	if (r < 0) {
		return diag_set(reterr, r, "KVM makes no processor: %s", strerror(-r));
	}
	r = kvm_get_tsc_khz(partition->vcpus[0].fd);
	if (r < 0) {
		return diag_set(reterr, r, "KVM does not tell the guest's TSC rate: %s",
				strerror(-r));
	}
	partition->tsc_khz = (uint32_t)r;
	return 0;
}

/* What reset restores, taken while it is fresh. */
static int take_power_on(struct partition *partition, struct diag *reterr)
{
	const char *what = "MSRs";
	int r = msr_list_create(partition);

	if (r == 0) {
		r = vcpu_state_create(partition, &partition->power_on);
	}
	if (r == 0) {
		r = vcpu_state_get(&partition->vcpus[0], partition->power_on, &what);
	}
	if (r == 0) {
		partition->power_on_chips = fault_alloc(1, sizeof(*partition->power_on_chips));
		what = "interrupt controllers";
		r = partition->power_on_chips
			    ? partition_get_chips(partition, partition->power_on_chips)
			    : -ENOMEM;
	}
	return r < 0 ? diag_set(reterr, r, "KVM does not give a processor's %s: %s", what,
				strerror(-r))
		     : 0;
}

static int partition_build(struct partition *partition, struct diag *reterr)
{
	int r;

	if (partition->kvm_fd < 0) {
		partition->kvm_fd = caps_open(reterr);
		if (partition->kvm_fd < 0) {
			return partition->kvm_fd;
		}
	}
	r = caps_check(partition->kvm_fd, reterr);
	if (r < 0) {
		return r;
	}
	r = kvm_run_bytes(partition->kvm_fd);
	if (r < 0) {
		return diag_set(reterr, r, "KVM fails: %s", strerror(-r));
	}
	partition->run_bytes = (size_t)r;
	r = vcpu_kick_init();
	if (r < 0) {
		return diag_set(reterr, r, "no signal to be had: %s", strerror(-r));
	}
	r = create_vm(partition, reterr);
	if (r < 0) {
		return r;
	}
	r = kvm_check_extension(partition->vm_fd, KVM_CAP_XSAVE2);
	partition->has_xsave2 = r > 0;
	partition->xsave_bytes = num_max((size_t)r, sizeof(struct kvm_xsave));
	partition->has_stats = kvm_check_extension(partition->vm_fd, KVM_CAP_BINARY_STATS_FD) > 0;
	r = create_vcpus(partition, reterr);
	if (r < 0) {
		return r;
	}
	r = synic_init(partition, reterr);
	return r < 0 ? r : take_power_on(partition, reterr);
}

int partition_create(const struct mem *mem, struct loop *control,
		     const struct partition_config *config, struct partition **ret,
		     struct diag *reterr)
{
	auto_close int kvm_fd = config->kvm_fd; /* ours from the first moment */
	struct partition *partition;
	int r;

	if (config->vps < 1 || config->vps > PARTITION_VPS_MAX) {
		return diag_set(reterr, -EINVAL, "%u processors; it can be 1 to %d", config->vps,
				PARTITION_VPS_MAX);
	}
	partition = fault_alloc(1, sizeof(*partition));
	if (!partition) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	partition->mem = mem;
	partition->control = control;
	partition->ops = config->ops;
	partition->ops_ctx = config->ops_ctx;
	partition->kvm_fd = steal_fd(&kvm_fd);
	partition->vm_fd = -1;
	partition->has_pit = config->has_pit;
	partition->has_vga_hole = config->has_vga_hole;
	pthread_mutex_init(&partition->window_lock, NULL);
	pthread_mutex_init(&partition->lock, NULL);
	pthread_cond_init(&partition->changed, NULL);
	atomic_init(&partition->want, PARTITION_WANT_PAUSE);
	partition->vcpus = fault_alloc(config->vps, sizeof(*partition->vcpus));
	if (!partition->vcpus) {
		partition_destroy(partition);
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	partition->vps = config->vps;
	for (uint32_t i = 0; i < partition->vps; i++) {
		vcpu_prepare(&partition->vcpus[i]);
	}
	r = partition_build(partition, reterr);
	if (r < 0) {
		partition_destroy(partition);
		return r;
	}
	*ret = partition;
	return 0;
}

/* An event that nobody has heard yet: the loop must not find it after it is freed. */
static void drain_event(struct vcpu *vcpu)
{
	for (int tries = 0; atomic_load(&vcpu->event_work.queued); tries++) {
		check(tries < 1000);
		loop_turn(vcpu->partition->control);
	}
}

void partition_destroy(struct partition *partition)
{
	if (!partition) {
		return;
	}
	check(!partition->is_running);
	synic_fini(partition);
	for (uint32_t i = 0; i < partition->vps; i++) {
		drain_event(&partition->vcpus[i]);
		vcpu_fini(&partition->vcpus[i]);
	}
	cleanup_close(&partition->vm_fd);
	cleanup_close(&partition->kvm_fd);
	vcpu_state_destroy(partition->power_on);
	free(partition->power_on_chips);
	free(partition->msrs.indices);
	free(partition->vcpus);
	pthread_cond_destroy(&partition->changed);
	pthread_mutex_destroy(&partition->lock);
	pthread_mutex_destroy(&partition->window_lock);
	free(partition);
}

/* ---- running ---- */

static void set_want(struct partition *partition, enum partition_want want)
{
	pthread_mutex_lock(&partition->lock);
	atomic_store(&partition->want, want);
	pthread_cond_broadcast(&partition->changed);
	pthread_mutex_unlock(&partition->lock);
}

int partition_start(struct partition *partition, struct diag *reterr)
{
	check(!partition->is_started);
	for (uint32_t i = 0; i < partition->vps; i++) {
		int r = vcpu_start_thread(&partition->vcpus[i]);

		if (r < 0) {
			partition_stop(partition);
			return diag_set(reterr, r, "no thread for processor %u: %s", i,
					strerror(-r));
		}
	}
	partition->is_started = true;
	partition_resume(partition);
	return 0;
}

void partition_resume(struct partition *partition)
{
	if (!partition->is_started || partition->is_running) {
		return;
	}
	partition->is_running = true;
	set_want(partition, PARTITION_WANT_RUN);
}

void partition_pause(struct partition *partition)
{
	loop_check_here(partition->control);
	if (!partition->is_running) {
		return;
	}
	set_want(partition, PARTITION_WANT_PAUSE);
	for (uint32_t i = 0; i < partition->vps; i++) {
		vcpu_kick(&partition->vcpus[i]);
	}
	pthread_mutex_lock(&partition->lock);
	while (partition->parked < partition->vps) {
		pthread_cond_wait(&partition->changed, &partition->lock);
	}
	pthread_mutex_unlock(&partition->lock);
	partition->is_running = false;
}

void partition_stop(struct partition *partition)
{
	partition_pause(partition);
	partition->is_stopped = true;
	set_want(partition, PARTITION_WANT_QUIT);
	for (uint32_t i = 0; i < partition->vps; i++) {
		vcpu_join_thread(&partition->vcpus[i]);
	}
}

void partition_nmi(struct partition *partition)
{
	for (uint32_t i = 0; i < partition->vps; i++) {
		uint64_t address = PARTITION_LAPIC_GPA | (uint64_t)i << MSI_APIC_ID_SHIFT;
		int r = kvm_signal_msi(partition->vm_fd, address, MSI_DATA_NMI);

		if (r < 0) {
			log_warn("partition", "no NMI for vp %u: %s", i, strerror(-r));
		}
	}
}

/* ---- reset ---- */

int partition_get_chips(struct partition *partition, struct partition_chips *ret)
{
	static const uint32_t ids[] = { KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE,
					KVM_IRQCHIP_IOAPIC };

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		int r;

		ret->chips[i].chip_id = ids[i];
		r = kvm_get_irqchip(partition->vm_fd, &ret->chips[i]);
		if (r < 0) {
			return r;
		}
	}
	return partition->has_pit ? kvm_get_pit2(partition->vm_fd, &ret->pit) : 0;
}

int partition_set_chips(struct partition *partition, const struct partition_chips *chips)
{
	for (size_t i = 0; i < ARRAY_SIZE(chips->chips); i++) {
		int r = kvm_set_irqchip(partition->vm_fd, &chips->chips[i]);

		if (r < 0) {
			return r;
		}
	}
	return partition->has_pit ? kvm_set_pit2(partition->vm_fd, &chips->pit) : 0;
}

static int reset_vcpu(struct vcpu *vcpu, struct vcpu_state *state,
		      const struct partition_boot *boot, const char **ret_what)
{
	struct partition *partition = vcpu->partition;

	vcpu_state_copy(partition, state, partition->power_on);
	/* The TSC goes on, and with it the reference clock: all VPs keep the same. */
	vcpu_state_drop_msr(state, MSR_TSC);
	vcpu_state_make_power_on(state, vcpu->index);
	vcpu_state_make_boot(state, boot);
	synic_vp_reset(vcpu);
	atomic_store(&vcpu->is_stuck, false);
	return vcpu_state_set(vcpu, state, ret_what);
}

int partition_reset(struct partition *partition, const struct partition_boot *boot,
		    struct diag *reterr)
{
	struct vcpu_state *state = NULL;
	const char *what = "interrupt controllers";
	int r;

	check(!partition->is_running);
	r = vcpu_state_create(partition, &state);
	if (r < 0) {
		return diag_set(reterr, r, "no memory to reset the processors");
	}
	r = partition_set_chips(partition, partition->power_on_chips);
	for (uint32_t i = 0; i < partition->vps && r == 0; i++) {
		r = reset_vcpu(&partition->vcpus[i], state, boot, &what);
	}
	vcpu_state_destroy(state);
	return r < 0 ? diag_set(reterr, r, "KVM does not take the power-on state (%s): %s", what,
				strerror(-r))
		     : 0;
}

/* ---- what devices need ---- */

static void set_irq_line(void *ctx, uint32_t gsi, bool level)
{
	struct partition *partition = ctx;
	int r = kvm_irq_line(partition->vm_fd, gsi, level);

	check(r >= 0);
}

struct irq_line partition_irq_line(struct partition *partition, uint32_t gsi)
{
	check(gsi < PARTITION_IRQ_LINES);
	return (struct irq_line){ .set = set_irq_line, .ctx = partition, .gsi = gsi };
}

struct synic *partition_synic(struct partition *partition)
{
	return &partition->synic;
}

uint32_t partition_vps(const struct partition *partition)
{
	return partition->vps;
}

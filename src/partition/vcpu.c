/* SPDX-License-Identifier: MIT */
#include "partition/vcpu.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "partition/kvm.h"
#include "partition/partition_internal.h"

/* Exits are handled on this stack: chipset and bus included. */
#define VCPU_STACK_BYTES (128 * 1024)

/*
 * A kick is a signal, so that it ends KVM_RUN; and run->immediate_exit, so that one that comes
 * just before KVM_RUN is not lost.
 */
#define VCPU_KICK_SIGNAL SIGRTMIN

/* ---- life ---- */

static void on_kick_signal(int signal)
{
	(void)signal;
}

int vcpu_kick_init(void)
{
	/* No SA_RESTART: the point is the interruption. */
	struct sigaction action = { .sa_handler = on_kick_signal };

	return sigaction(VCPU_KICK_SIGNAL, &action, NULL) ? -errno : 0;
}

void vcpu_kick(struct vcpu *vcpu)
{
	/*
	 * After the request that the caller stored; vcpu_attend() clears this and then looks for
	 * requests. All four are sequentially consistent: one side sees the other.
	 */
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (vcpu->has_thread) {
		pthread_kill(vcpu->thread, VCPU_KICK_SIGNAL);
	}
}

static void deliver_events(struct loop_work *work);

void vcpu_prepare(struct vcpu *vcpu)
{
	vcpu->fd = vcpu->stats_fd = -1;
	vcpu->synic.sint_fd = vcpu->synic.eom_fd = vcpu->synic.idle_fd = -1;
	loop_work_init(&vcpu->event_work, deliver_events);
}

int vcpu_init(struct vcpu *vcpu, struct partition *partition, uint32_t index)
{
	void *run;
	int r;

	vcpu->partition = partition;
	vcpu->index = index;
	r = kvm_create_vcpu(partition->vm_fd, index);
	if (r < 0) {
		return r;
	}
	vcpu->fd = r;
	run = mmap(NULL, partition->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED) {
		return -errno;
	}
	vcpu->run = run;
	return 0;
}

void vcpu_fini(struct vcpu *vcpu)
{
	check(!vcpu->has_thread);
	if (vcpu->run) {
		munmap(vcpu->run, vcpu->partition->run_bytes);
		vcpu->run = NULL;
	}
	if (vcpu->stats_fd >= 0) {
		close(vcpu->stats_fd);
		vcpu->stats_fd = -1;
	}
	if (vcpu->fd >= 0) {
		close(vcpu->fd);
		vcpu->fd = -1;
	}
}

/* ---- events ---- */

static void crash_text(struct vcpu *vcpu, char text[PARTITION_CRASH_TEXT_BYTES + 1])
{
	uint64_t bytes = vcpu->crash[4];
	size_t n = 0;

	text[0] = 0;
	if (bytes > PARTITION_CRASH_TEXT_BYTES) {
		bytes = PARTITION_CRASH_TEXT_BYTES;
	}
	if (mem_read(vcpu->partition->mem, vcpu->crash[3], text, bytes)) {
		text[0] = 0;
		return;
	}
	/* It goes to people's terminals: nothing but printable characters and line ends. */
	for (size_t i = 0; i < bytes && text[i]; i++) {
		char c = text[i];

		if (c == '\r') {
			continue;
		}
		text[n++] = (c >= ' ' && c <= '~') || c == '\n' || c == '\t' ? c : '?';
	}
	text[n] = 0;
}

static void deliver_crash(struct vcpu *vcpu)
{
	struct partition *partition = vcpu->partition;
	struct partition_event event = { .kind = PARTITION_EVENT_CRASH, .vp = vcpu->index };
	char text[PARTITION_CRASH_TEXT_BYTES + 1] = "";

	memcpy(event.crash, vcpu->crash, sizeof(event.crash));
	if (vcpu->crash_has_text) {
		crash_text(vcpu, text);
	}
	event.text = text;
	/* From here on the VP may report the next crash. */
	atomic_fetch_and(&vcpu->events, ~(1U << PARTITION_EVENT_CRASH));
	partition->ops->on_event(partition->ops_ctx, &event);
}

static void deliver_failure(struct vcpu *vcpu)
{
	struct partition *partition = vcpu->partition;
	char text[128];
	struct partition_event event = {
		.kind = PARTITION_EVENT_FAILURE,
		.vp = vcpu->index,
		.text = text,
	};

	snprintf(text, sizeof(text), "%s (0x%x)", vcpu->failure, vcpu->failure_detail);
	atomic_fetch_and(&vcpu->events, ~(1U << PARTITION_EVENT_FAILURE));
	partition->ops->on_event(partition->ops_ctx, &event);
}

static void deliver_plain(struct vcpu *vcpu, enum partition_event_kind kind)
{
	struct partition *partition = vcpu->partition;
	struct partition_event event = { .kind = kind, .vp = vcpu->index, .text = "" };

	atomic_fetch_and(&vcpu->events, ~(1U << kind));
	partition->ops->on_event(partition->ops_ctx, &event);
}

/* Control loop. A crash first: what follows it is its consequence. */
static void deliver_events(struct loop_work *work)
{
	struct vcpu *vcpu = container_of(work, struct vcpu, event_work);
	unsigned int events = atomic_load(&vcpu->events);

	if (vcpu->partition->is_stopped) {
		return;
	}
	if (events & 1U << PARTITION_EVENT_CRASH) {
		deliver_crash(vcpu);
	}
	if (events & 1U << PARTITION_EVENT_FAILURE) {
		deliver_failure(vcpu);
	}
	if (events & 1U << PARTITION_EVENT_TRIPLE_FAULT) {
		deliver_plain(vcpu, PARTITION_EVENT_TRIPLE_FAULT);
	}
	if (events & 1U << PARTITION_EVENT_RESET) {
		deliver_plain(vcpu, PARTITION_EVENT_RESET);
	}
}

void vcpu_post_event(struct vcpu *vcpu, enum partition_event_kind kind)
{
	if (atomic_fetch_or(&vcpu->events, 1U << kind) & 1U << kind) {
		atomic_fetch_add(&vcpu->partition->events_dropped, 1);
	}
	loop_post(vcpu->partition->control, &vcpu->event_work);
}

void vcpu_report_crash(struct vcpu *vcpu, uint64_t control)
{
	if (!(control & HV_CRASH_CTL_NOTIFY)) {
		return;
	}
	if (atomic_load(&vcpu->events) & 1U << PARTITION_EVENT_CRASH) {
		/* The control loop still reads the last one. */
		atomic_fetch_add(&vcpu->partition->events_dropped, 1);
		return;
	}
	for (uint32_t i = 0; i < 5; i++) {
		if (kvm_get_msr(vcpu->fd, HV_MSR_CRASH_P0 + i, &vcpu->crash[i])) {
			vcpu->crash[i] = 0;
		}
	}
	vcpu->crash_has_text = (control & HV_CRASH_CTL_NOTIFY_MESSAGE) != 0;
	vcpu_post_event(vcpu, PARTITION_EVENT_CRASH);
}

/* It can do nothing more until it is reset. */
static void vcpu_get_stuck(struct vcpu *vcpu, enum partition_event_kind kind)
{
	atomic_store(&vcpu->is_stuck, true);
	vcpu_post_event(vcpu, kind);
}

static void vcpu_fail(struct vcpu *vcpu, const char *reason, uint32_t detail)
{
	struct kvm_regs regs;

	vcpu->failure = reason;
	vcpu->failure_detail = detail;
	if (kvm_get_regs(vcpu->fd, &regs) == 0) {
		log_debug("partition",
			  "vp %u: rip %llx rsp %llx flags %llx rax %llx rbx %llx rcx %llx rdx %llx "
			  "rsi %llx rdi %llx",
			  vcpu->index, regs.rip, regs.rsp, regs.rflags, regs.rax, regs.rbx,
			  regs.rcx, regs.rdx, regs.rsi, regs.rdi);
	}
	vcpu_get_stuck(vcpu, PARTITION_EVENT_FAILURE);
}

/* ---- exits ---- */

static enum vcpu_port port_class(uint16_t port)
{
	static const struct {
		uint16_t first, last;
		enum vcpu_port port;
	} classes[] = {
		{ 0x3f8, 0x3ff, VCPU_PORT_SERIAL },  { 0x2f8, 0x2ff, VCPU_PORT_SERIAL },
		{ 0x3e8, 0x3ef, VCPU_PORT_SERIAL },  { 0x2e8, 0x2ef, VCPU_PORT_SERIAL },
		{ 0x70, 0x73, VCPU_PORT_RTC },       { 0x60, 0x60, VCPU_PORT_I8042 },
		{ 0x64, 0x64, VCPU_PORT_I8042 },     { 0x40, 0x43, VCPU_PORT_PIT },
		{ 0x61, 0x61, VCPU_PORT_PIT },       { 0xcf8, 0xcff, VCPU_PORT_PCI },
		{ 0x3c0, 0x3df, VCPU_PORT_VGA },     { 0x1f0, 0x1f7, VCPU_PORT_IDE },
		{ 0x170, 0x177, VCPU_PORT_IDE },     { 0x80, 0x80, VCPU_PORT_POST_CODE },
		{ 0xed, 0xed, VCPU_PORT_POST_CODE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		if (port >= classes[i].first && port <= classes[i].last) {
			return classes[i].port;
		}
	}
	return VCPU_PORT_OTHER;
}

static void handle_pio(struct vcpu *vcpu)
{
	struct partition *partition = vcpu->partition;
	struct kvm_run *run = vcpu->run;
	void *data = (uint8_t *)run + run->io.data_offset;
	bool is_write = run->io.direction == KVM_EXIT_IO_OUT;

	counter_add(&vcpu->counters.exits[VCPU_EXIT_PIO], 1);
	counter_add(&vcpu->counters.ports[port_class(run->io.port)], 1);
	if (partition->ops->pio(partition->ops_ctx, run->io.port, is_write, data, run->io.size,
				run->io.count)) {
		return;
	}
	counter_add(&vcpu->counters.unclaimed_pio, 1);
	if (!is_write) {
		memset(data, 0xff, (size_t)run->io.size * run->io.count);
	}
}

static void handle_mmio(struct vcpu *vcpu)
{
	struct partition *partition = vcpu->partition;
	struct kvm_run *run = vcpu->run;

	counter_add(&vcpu->counters.exits[VCPU_EXIT_MMIO], 1);
	if (partition->ops->mmio(partition->ops_ctx, run->mmio.phys_addr, run->mmio.is_write,
				 run->mmio.data, run->mmio.len)) {
		return;
	}
	counter_add(&vcpu->counters.unclaimed_mmio, 1);
	if (!run->mmio.is_write) {
		memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
	}
}

static void handle_hyperv(struct vcpu *vcpu)
{
	struct kvm_hyperv_exit *exit = &vcpu->run->hyperv;

	switch (exit->type) {
	case KVM_EXIT_HYPERV_SYNIC:
		counter_add(&vcpu->counters.exits[VCPU_EXIT_SYNIC], 1);
		synic_vp_on_exit(vcpu, exit->u.synic.msr, exit->u.synic.control,
				 exit->u.synic.evt_page, exit->u.synic.msg_page);
		break;
	case KVM_EXIT_HYPERV_HCALL:
		counter_add(&vcpu->counters.exits[VCPU_EXIT_HYPERCALL], 1);
		exit->u.hcall.result =
			hypercall_handle(vcpu, exit->u.hcall.input, exit->u.hcall.params[0],
					 exit->u.hcall.params[1]);
		break;
	default:
		counter_add(&vcpu->counters.exits[VCPU_EXIT_OTHER], 1);
		break;
	}
}

/* Only CRASH_CTL is sent here: KVM does not keep its message bit (partition_create). */
static void handle_msr(struct vcpu *vcpu, bool is_write)
{
	struct kvm_run *run = vcpu->run;

	counter_add(&vcpu->counters.exits[VCPU_EXIT_MSR], 1);
	if (run->msr.index != HV_MSR_CRASH_CTL) {
		run->msr.error = 1;
		return;
	}
	run->msr.error = 0;
	if (is_write) {
		vcpu_report_crash(vcpu, run->msr.data);
	} else {
		run->msr.data = HV_CRASH_CTL_NOTIFY | HV_CRASH_CTL_NOTIFY_MESSAGE;
	}
}

static void handle_system_event(struct vcpu *vcpu)
{
	counter_add(&vcpu->counters.exits[VCPU_EXIT_SYSTEM_EVENT], 1);
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_CRASH:
		vcpu_report_crash(vcpu, HV_CRASH_CTL_NOTIFY);
		break;
	case KVM_SYSTEM_EVENT_RESET:
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vcpu_get_stuck(vcpu, PARTITION_EVENT_RESET);
		break;
	default:
		log_guest(&vcpu->rate, "partition", "vp %u: unknown system event %u", vcpu->index,
			  vcpu->run->system_event.type);
		break;
	}
}

static void handle_internal_error(struct vcpu *vcpu)
{
	uint32_t kind = vcpu->run->internal.suberror;

	counter_add(&vcpu->counters.exits[VCPU_EXIT_FAILURE], 1);
	vcpu_fail(vcpu,
		  kind == KVM_INTERNAL_ERROR_EMULATION
			  ? "KVM cannot emulate an instruction of the guest"
			  : "KVM reports an internal error",
		  kind);
}

static void handle_exit(struct vcpu *vcpu)
{
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_IO:
		handle_pio(vcpu);
		break;
	case KVM_EXIT_MMIO:
		handle_mmio(vcpu);
		break;
	case KVM_EXIT_HYPERV:
		handle_hyperv(vcpu);
		break;
	case KVM_EXIT_X86_RDMSR:
		handle_msr(vcpu, false);
		break;
	case KVM_EXIT_X86_WRMSR:
		handle_msr(vcpu, true);
		break;
	case KVM_EXIT_HLT:
		counter_add(&vcpu->counters.exits[VCPU_EXIT_HLT], 1);
		break;
	case KVM_EXIT_INTR:
		counter_add(&vcpu->counters.exits[VCPU_EXIT_INTERRUPTED], 1);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		handle_system_event(vcpu);
		break;
	case KVM_EXIT_SHUTDOWN:
		counter_add(&vcpu->counters.exits[VCPU_EXIT_SHUTDOWN], 1);
		vcpu_get_stuck(vcpu, PARTITION_EVENT_TRIPLE_FAULT);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		counter_add(&vcpu->counters.exits[VCPU_EXIT_FAILURE], 1);
		vcpu_fail(vcpu, "the processor refuses the guest's state",
			  (uint32_t)vcpu->run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		handle_internal_error(vcpu);
		break;
	default:
		counter_add(&vcpu->counters.exits[VCPU_EXIT_OTHER], 1);
		vcpu_fail(vcpu, "KVM exits for a reason that is not known", vcpu->run->exit_reason);
		break;
	}
}

/* One trip into KVM; what came of it is handled. Whether there was anything. */
static bool vcpu_step(struct vcpu *vcpu)
{
	int r;

	atomic_store_explicit(&vcpu->is_in_guest, true, memory_order_relaxed);
	r = kvm_run(vcpu->fd);
	atomic_store_explicit(&vcpu->is_in_guest, false, memory_order_relaxed);
	if (r == 0) {
		handle_exit(vcpu);
		return true;
	}
	if (r == -EINTR) {
		counter_add(&vcpu->counters.exits[VCPU_EXIT_INTERRUPTED], 1);
	} else if (r != -EAGAIN) {
		counter_add(&vcpu->counters.exits[VCPU_EXIT_FAILURE], 1);
		vcpu_fail(vcpu, "KVM_RUN fails", (uint32_t)-r);
	}
	return false;
}

/* ---- the thread ---- */

/*
 * KVM takes the answer to an exit only when the VP is entered again: until then the instruction is
 * half done, and its registers are not fit to be saved.
 */
static void vcpu_finish_exit(struct vcpu *vcpu)
{
	do {
		__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELAXED);
	} while (vcpu_step(vcpu) && !atomic_load(&vcpu->is_stuck));
}

static bool vcpu_must_park(struct vcpu *vcpu)
{
	return atomic_load(&vcpu->partition->want) != PARTITION_WANT_RUN ||
	       atomic_load(&vcpu->is_stuck);
}

/* Waits while it must not run; false: the thread ends. */
static bool vcpu_park(struct vcpu *vcpu)
{
	struct partition *partition = vcpu->partition;
	bool is_quit;

	pthread_mutex_lock(&partition->lock);
	partition->parked++;
	pthread_cond_broadcast(&partition->changed);
	while (atomic_load(&partition->want) != PARTITION_WANT_QUIT && vcpu_must_park(vcpu)) {
		pthread_cond_wait(&partition->changed, &partition->lock);
	}
	partition->parked--;
	is_quit = atomic_load(&partition->want) == PARTITION_WANT_QUIT;
	pthread_mutex_unlock(&partition->lock);
	return !is_quit;
}

/* After a kick: looks at what is wanted. False: the thread ends. */
static bool vcpu_attend(struct vcpu *vcpu)
{
	/* Cleared before looking: a kick that comes in between is seen by one or the other. */
	__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	while (vcpu_must_park(vcpu)) {
		if (!atomic_load(&vcpu->is_stuck)) {
			vcpu_finish_exit(vcpu);
		}
		if (!vcpu_park(vcpu)) {
			return false;
		}
		__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	}
	return true;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	char name[16];

	snprintf(name, sizeof(name), "vp%u", vcpu->index);
	pthread_setname_np(pthread_self(), name);
	if (!vcpu_park(vcpu)) {
		return NULL;
	}
	while (vcpu_attend(vcpu)) {
		vcpu_step(vcpu);
	}
	return NULL;
}

int vcpu_start_thread(struct vcpu *vcpu)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	r = pthread_attr_init(&attr);
	if (r) {
		return -r;
	}
	/* Born with all signals blocked but the kick: the others are the worker's. */
	sigfillset(&all);
	sigdelset(&all, VCPU_KICK_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_setstacksize(&attr, VCPU_STACK_BYTES);
	r = pthread_create(&vcpu->thread, &attr, vcpu_thread, vcpu);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (r) {
		return -r;
	}
	vcpu->has_thread = true;
	return 0;
}

void vcpu_join_thread(struct vcpu *vcpu)
{
	if (vcpu->has_thread) {
		pthread_join(vcpu->thread, NULL);
		vcpu->has_thread = false;
	}
}

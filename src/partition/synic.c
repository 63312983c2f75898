/* SPDX-License-Identifier: MIT */
/*
 * SynICs on KVM. The registers and the interrupts are KVM's (KVM_CAP_HYPERV_SYNIC2); the contents
 * of the message and event pages are ours.
 *
 * A message slot:
 *
 *     free (type 0) ── post_message ──► full ── the guest writes type 0 ──► free
 *                                        │                                   │
 *                             post_message: sets PENDING           PENDING was set: EOM ──► eom_fd
 *
 * S1  The type is written last (release) and read first (acquire); the guest does the reverse.
 * S2  PENDING is set before the second look at the type; the guest clears the type before it looks
 *     at PENDING. One of the two sees the other, so no free slot is slept upon.
 * S3  eom_fd is watched only while a message waits: it is also written for each end of interrupt
 *     of the SINT, and those must not wake anybody.
 *
 *   spec  TLFS 11.8 (messages), 11.9 (event flags), 11.10 (EOM)
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "partition/kvm.h"
#include "partition/partition_internal.h"
#include "proto/vmbus_msg.h"

/* Two per ISA line, one per other line, one per VP. */
#define ROUTES_MAX       (2 * 16 + 8 + PARTITION_VPS_MAX)

/* The line of the i8254; by custom it is wired to another pin of the IOAPIC. */
#define ISA_LINE_PIT     0
#define IOAPIC_PIN_PIT   2
#define ISA_LINE_CASCADE 2
#define PIC_LINES        8
#define PIC_LINES_BOTH   16

static struct partition *synic_partition(struct synic *synic)
{
	return container_of(synic, struct partition, synic);
}

static struct vcpu *synic_vp(struct synic *synic, uint32_t vp, uint32_t sint)
{
	struct partition *partition = synic_partition(synic);

	return vp < partition->vps && sint == VMBUS_SINT ? &partition->vcpus[vp] : NULL;
}

static void signal_eventfd(int fd)
{
	uint64_t one = 1;

	/* Full only after 2^64 - 2 writes that nobody read, and then it is signalled anyway. */
	if (write(fd, &one, sizeof(one)) < 0) {
		return;
	}
}

/* ---- messages: control loop ---- */

static struct hv_message *message_slot(struct vcpu *vcpu)
{
	uint8_t *page = atomic_load_explicit(&vcpu->synic.message_page, memory_order_acquire);

	if (!page || !atomic_load_explicit(&vcpu->synic.is_enabled, memory_order_acquire)) {
		return NULL;
	}
	return (struct hv_message *)page + VMBUS_SINT;
}

static bool slot_is_free(const struct hv_message *slot)
{
	return __atomic_load_n(&slot->type, __ATOMIC_ACQUIRE) == HV_MESSAGE_NONE;
}

static void on_eom(struct loop_watch *watch, uint32_t poll_events)
{
	struct vcpu_synic *vs = container_of(watch, struct vcpu_synic, eom_watch);
	struct vcpu *vcpu = container_of(vs, struct vcpu, synic);
	const struct synic *synic = &vcpu->partition->synic;
	const struct hv_message *slot = message_slot(vcpu);

	(void)poll_events;
	/* No slot at all: whoever waits must hear of it too, post_message() will tell why. */
	if (!vs->is_waiting || (slot && !slot_is_free(slot))) {
		return;
	}
	loop_watch_stop(&vs->eom_watch);
	vs->is_waiting = false;
	counter_add(&vs->slots_freed, 1);
	if (synic->sink) {
		synic->sink->on_slot_free(synic->sink_ctx, vcpu->index, VMBUS_SINT);
	}
}

bool synic_vp_is_waiting(const struct vcpu *vcpu)
{
	return vcpu->synic.is_waiting;
}

int synic_vp_wait(struct vcpu *vcpu)
{
	struct vcpu_synic *vs = &vcpu->synic;
	uint64_t old;
	int r;

	if (vs->is_waiting) {
		return 0;
	}
	/* What was written before this moment is about earlier messages. */
	if (read(vs->eom_fd, &old, sizeof(old)) < 0) {
		old = 0;
	}
	r = loop_watch_start(vcpu->partition->control, &vs->eom_watch, vs->eom_fd, POLLIN, on_eom);
	if (r < 0) {
		return r;
	}
	vs->is_waiting = true;
	return 0;
}

static int post_message(struct synic *synic, uint32_t vp, uint32_t sint,
			const struct synic_message *message)
{
	struct vcpu *vcpu = synic_vp(synic, vp, sint);
	struct hv_message *slot = vcpu ? message_slot(vcpu) : NULL;

	check(message->payload_bytes <= SYNIC_MESSAGE_PAYLOAD_BYTES);
	check(message->type != HV_MESSAGE_NONE);
	if (!slot) {
		return -ENODEV;
	}
	if (vcpu->synic.is_waiting) {
		return -EAGAIN;
	}
	if (!slot_is_free(slot)) {
		int r;

		counter_add(&vcpu->synic.messages_busy, 1);
		/* The watch first, so that the EOM which S2 promises finds it. */
		r = synic_vp_wait(vcpu);
		if (r < 0) {
			return r;
		}
		__atomic_fetch_or(&slot->flags, HV_MESSAGE_FLAG_PENDING, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&slot->type, __ATOMIC_SEQ_CST) != HV_MESSAGE_NONE) {
			return -EAGAIN;
		}
		loop_watch_stop(&vcpu->synic.eom_watch);
		vcpu->synic.is_waiting = false;
	}
	memcpy(slot->payload, message->payload, message->payload_bytes);
	slot->payload_bytes = message->payload_bytes;
	slot->flags = 0;
	slot->origin = 0;
	__atomic_store_n(&slot->type, message->type, __ATOMIC_RELEASE);
	counter_add(&vcpu->synic.messages, 1);
	signal_eventfd(vcpu->synic.sint_fd);
	return 0;
}

/* ---- event flags and doorbells ---- */

static bool set_event_flag(struct synic *synic, uint32_t vp, uint32_t sint, uint32_t flag)
{
	struct vcpu *vcpu = synic_vp(synic, vp, sint);
	uint64_t *flags;
	uint8_t *page;

	check(flag < SYNIC_EVENT_FLAGS);
	if (!vcpu) {
		return false;
	}
	page = atomic_load_explicit(&vcpu->synic.event_page, memory_order_acquire);
	if (!page) {
		return false;
	}
	flags = (uint64_t *)(page + (size_t)VMBUS_SINT * HV_EVENT_FLAGS_BYTES);
	/* Release: what the flag announces was written to the ring before. */
	__atomic_fetch_or(&flags[flag / 64], 1ULL << flag % 64, __ATOMIC_RELEASE);
	return true;
}

static uint32_t vp_count(struct synic *synic)
{
	return synic_partition(synic)->vps;
}

static int sint_eventfd(struct synic *synic, uint32_t vp, uint32_t sint)
{
	const struct vcpu *vcpu = synic_vp(synic, vp, sint);

	return vcpu ? vcpu->synic.sint_fd : -1;
}

static int connection_add(struct synic *synic, uint32_t connection_id, int eventfd)
{
	return kvm_hyperv_eventfd(synic_partition(synic)->vm_fd, connection_id, eventfd, false);
}

static void connection_remove(struct synic *synic, uint32_t connection_id)
{
	int r = kvm_hyperv_eventfd(synic_partition(synic)->vm_fd, connection_id, -1, true);

	check(r == 0 || r == -ENOENT);
}

static uint64_t event_page(struct synic *synic, uint32_t vp)
{
	const struct vcpu *vcpu = synic_vp(synic, vp, VMBUS_SINT);

	return vcpu ? atomic_load(&vcpu->synic.siefp) : 0;
}

const struct synic_ops synic_kvm_ops = {
	.vp_count = vp_count,
	.post_message = post_message,
	.set_event_flag = set_event_flag,
	.sint_eventfd = sint_eventfd,
	.doorbell_add = connection_add,
	.doorbell_remove = connection_remove,
	.event_page = event_page,
};

/* ---- registers ---- */

static uint8_t *page_of(struct vcpu *vcpu, uint64_t value)
{
	if (!(value & HV_SYNIC_ENABLE)) {
		return NULL;
	}
	return mem_hva(vcpu->partition->mem, num_align_down(value, MEM_PAGE_BYTES), MEM_PAGE_BYTES);
}

void synic_vp_set(struct vcpu *vcpu, uint64_t control, uint64_t siefp, uint64_t simp)
{
	const struct synic *synic = &vcpu->partition->synic;
	struct vcpu_synic *vs = &vcpu->synic;

	atomic_store_explicit(&vs->control, control, memory_order_relaxed);
	atomic_store(&vs->siefp, siefp);
	atomic_store_explicit(&vs->simp, simp, memory_order_relaxed);
	atomic_store_explicit(&vs->event_page, page_of(vcpu, siefp), memory_order_release);
	atomic_store_explicit(&vs->message_page, page_of(vcpu, simp), memory_order_release);
	atomic_store_explicit(&vs->is_enabled, (control & HV_SYNIC_ENABLE) != 0,
			      memory_order_release);
	if (synic->sink && synic->sink->on_event_page) {
		synic->sink->on_event_page(synic->sink_ctx, vcpu->index, siefp);
	}
}

/* A page that the guest switches on begins empty: with SYNIC2 KVM leaves that to us. */
static void clear_new_page(struct vcpu *vcpu, uint64_t old, uint64_t new)
{
	uint8_t *page = page_of(vcpu, new);

	if (page && page != page_of(vcpu, old)) {
		memset(page, 0, MEM_PAGE_BYTES);
	} else if ((new &HV_SYNIC_ENABLE) && !page) {
		log_guest(&vcpu->rate, "partition", "vp %u: SynIC page 0x%llx is not memory",
			  vcpu->index, (unsigned long long)new);
	}
}

void synic_vp_on_exit(struct vcpu *vcpu, uint32_t msr, uint64_t control, uint64_t siefp,
		      uint64_t simp)
{
	struct vcpu_synic *vs = &vcpu->synic;

	if (msr == HV_MSR_SIMP) {
		clear_new_page(vcpu, atomic_load(&vs->simp), simp);
	} else if (msr == HV_MSR_SIEFP) {
		clear_new_page(vcpu, atomic_load(&vs->siefp), siefp);
	}
	synic_vp_set(vcpu, control, siefp, simp);
	/*
	 * A timer that expired before there was a page keeps its message, and KVM tries again only
	 * at an EOM; guests do not expect to have to.
	 */
	if (msr == HV_MSR_SIMP && (simp & HV_SYNIC_ENABLE) &&
	    kvm_set_msr(vcpu->fd, HV_MSR_EOM, 0)) {
		log_guest(&vcpu->rate, "partition", "vp %u: KVM does not take an EOM", vcpu->index);
	}
	/* Whoever waits for a slot that is gone now must look. */
	signal_eventfd(vs->eom_fd);
}

void synic_vp_reset(struct vcpu *vcpu)
{
	struct vcpu_synic *vs = &vcpu->synic;

	/* The bus is reset too: nobody waits any more. */
	if (vs->is_waiting) {
		loop_watch_stop(&vs->eom_watch);
		vs->is_waiting = false;
	}
	synic_vp_set(vcpu, HV_SYNIC_ENABLE, 0, 0);
}

/* ---- life ---- */

static void add_chip_route(struct kvm_irq_routing *routing, uint32_t gsi, uint32_t chip,
			   uint32_t pin)
{
	struct kvm_irq_routing_entry *entry = &routing->entries[routing->nr++];

	entry->gsi = gsi;
	entry->type = KVM_IRQ_ROUTING_IRQCHIP;
	entry->u.irqchip.irqchip = chip;
	entry->u.irqchip.pin = pin;
}

/* Lines as on every PC: ISA's go to a PIC and to the IOAPIC, the others to the IOAPIC alone. */
static void add_line_routes(struct kvm_irq_routing *routing)
{
	for (uint32_t gsi = 0; gsi < PARTITION_IRQ_LINES; gsi++) {
		if (gsi == ISA_LINE_CASCADE) {
			continue;
		}
		if (gsi < PIC_LINES) {
			add_chip_route(routing, gsi, KVM_IRQCHIP_PIC_MASTER, gsi);
		} else if (gsi < PIC_LINES_BOTH) {
			add_chip_route(routing, gsi, KVM_IRQCHIP_PIC_SLAVE, gsi - PIC_LINES);
		}
		add_chip_route(routing, gsi, KVM_IRQCHIP_IOAPIC,
			       gsi == ISA_LINE_PIT ? IOAPIC_PIN_PIT : gsi);
	}
}

static int set_routes(struct partition *partition)
{
	auto_free struct kvm_irq_routing *routing = NULL;

	routing = fault_alloc(1, sizeof(*routing) + ROUTES_MAX * sizeof(routing->entries[0]));
	if (!routing) {
		return -ENOMEM;
	}
	add_line_routes(routing);
	for (uint32_t vp = 0; vp < partition->vps; vp++) {
		struct kvm_irq_routing_entry *entry = &routing->entries[routing->nr++];

		entry->gsi = PARTITION_GSI_SINT + vp;
		entry->type = KVM_IRQ_ROUTING_HV_SINT;
		entry->u.hv_sint.vcpu = vp;
		entry->u.hv_sint.sint = VMBUS_SINT;
	}
	return kvm_set_gsi_routing(partition->vm_fd, routing);
}

static int make_eventfds(struct vcpu_synic *vs)
{
	vs->sint_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vs->eom_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vs->idle_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return vs->sint_fd < 0 || vs->eom_fd < 0 || vs->idle_fd < 0 ? -errno : 0;
}

int synic_init(struct partition *partition, struct diag *reterr)
{
	int r = set_routes(partition);

	partition->synic.ops = &synic_kvm_ops;
	if (r < 0) {
		return diag_set(reterr, r, "KVM does not take the interrupt routes: %s",
				strerror(-r));
	}
	for (uint32_t vp = 0; vp < partition->vps; vp++) {
		struct vcpu_synic *vs = &partition->vcpus[vp].synic;
		uint32_t gsi = PARTITION_GSI_SINT + vp;

		r = make_eventfds(vs);
		if (r < 0) {
			return diag_set(reterr, r,
					"no event descriptors: %s; raise the limit of open "
					"files (ulimit -n)",
					strerror(-r));
		}
		r = kvm_irqfd(partition->vm_fd, gsi, vs->sint_fd, -1);
		if (r == 0) {
			r = kvm_irqfd(partition->vm_fd, gsi, vs->idle_fd, vs->eom_fd);
		}
		if (r < 0) {
			return diag_set(reterr, r, "KVM does not take an irqfd: %s", strerror(-r));
		}
		synic_vp_reset(&partition->vcpus[vp]);
	}
	return 0;
}

void synic_fini(struct partition *partition)
{
	for (uint32_t vp = 0; partition->vcpus && vp < partition->vps; vp++) {
		struct vcpu_synic *vs = &partition->vcpus[vp].synic;

		if (vs->is_waiting) {
			loop_watch_stop(&vs->eom_watch);
			vs->is_waiting = false;
		}
		/* Closing an irqfd takes it off its GSI. */
		cleanup_close(&vs->sint_fd);
		cleanup_close(&vs->eom_fd);
		cleanup_close(&vs->idle_fd);
		vs->sint_fd = vs->eom_fd = vs->idle_fd = -1;
	}
}

void synic_inspect(struct vcpu *vcpu, struct inspect *at)
{
	struct vcpu_synic *vs = &vcpu->synic;
	struct inspect synic = inspect_child(at, "synic");
	uint64_t sint;

	inspect_bool(&synic, "enabled", atomic_load(&vs->is_enabled));
	inspect_format(&synic, "simp", "0x%llx", (unsigned long long)atomic_load(&vs->simp));
	inspect_format(&synic, "siefp", "0x%llx", (unsigned long long)atomic_load(&vs->siefp));
	/* Asking KVM for a running VP's registers would wait for its next exit. */
	if (!vcpu->partition->is_running &&
	    kvm_get_msr(vcpu->fd, HV_MSR_SINT0 + VMBUS_SINT, &sint) == 0) {
		inspect_format(&synic, "sint2", "0x%llx", (unsigned long long)sint);
	}
	inspect_bool(&synic, "slot_awaited", vs->is_waiting);
	inspect_u64(&synic, "messages", counter_read(&vs->messages));
	inspect_u64(&synic, "messages_busy", counter_read(&vs->messages_busy));
	inspect_u64(&synic, "slots_freed", counter_read(&vs->slots_freed));
}

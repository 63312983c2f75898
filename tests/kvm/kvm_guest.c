/* SPDX-License-Identifier: MIT */
#include "kvm_guest.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/log.h"

#define PAGE_PRESENT_WRITE 0x3ULL
#define PAGE_LARGE         0x80ULL

/* ---- what the guest can reach: VPs' threads ---- */

static bool on_pio(void *ctx, uint16_t port, bool is_write, void *data, unsigned int bytes,
		   unsigned int count)
{
	struct kvm_guest *guest = ctx;
	uint8_t *p = data;

	atomic_fetch_add(&guest->pios, 1);
	switch (port) {
	case GUEST_PORT_DONE:
		atomic_fetch_add(&guest->dones, 1);
		loop_quit(guest->loop);
		return true;
	case GUEST_PORT_BYTES:
		for (unsigned int i = 0; i < bytes * count; i++) {
			if (!is_write) {
				p[i] = 0x5a;
			} else if (guest->port_bytes_count < KVM_GUEST_OUTS) {
				guest->port_bytes[guest->port_bytes_count++] = p[i];
			}
		}
		return true;
	default:
		return false;
	}
}

static bool on_mmio(void *ctx, gpa_t gpa, bool is_write, void *data, unsigned int bytes)
{
	struct kvm_guest *guest = ctx;

	atomic_fetch_add(&guest->mmios, 1);
	if (is_write) {
		guest->last_write_gpa = gpa;
	}
	if (gpa < GUEST_GPA_MMIO || gpa >= GUEST_GPA_MMIO + 0x1000) {
		return false;
	}
	if (is_write) {
		guest->last_mmio_gpa = gpa;
		guest->last_mmio_value = 0;
		memcpy(&guest->last_mmio_value, data, bytes);
	} else {
		memset(data, 0x77, bytes);
	}
	return true;
}

static void on_event(void *ctx, const struct partition_event *event)
{
	struct kvm_guest *guest = ctx;

	assert_true(guest->event_count < 8);
	guest->events[guest->event_count] = *event;
	snprintf(guest->texts[guest->event_count], sizeof(guest->texts[0]), "%s", event->text);
	guest->event_count++;
	loop_quit(guest->loop);
}

static uint16_t on_post_message(void *ctx, uint32_t connection_id, uint32_t type,
				const uint8_t *payload, uint32_t payload_bytes)
{
	struct kvm_guest *guest = ctx;

	guest->message_connection = connection_id;
	guest->message_type = type;
	guest->message_bytes = payload_bytes;
	memcpy(guest->message, payload, payload_bytes);
	atomic_fetch_add(&guest->messages, 1);
	return guest->message_status;
}

static void on_slot_free(void *ctx, uint32_t vp, uint32_t sint)
{
	struct kvm_guest *guest = ctx;

	assert_int_equal(sint, 2);
	(void)vp;
	guest->slots_freed++;
}

static const struct partition_ops ops = { .pio = on_pio, .mmio = on_mmio, .on_event = on_event };
static const struct synic_sink_ops sink = { .on_post_message = on_post_message,
					    .on_slot_free = on_slot_free };

/* ---- life ---- */

static void on_timeout(struct loop_timer *timer)
{
	struct kvm_guest *guest = container_of(timer, struct kvm_guest, timeout);

	guest->is_timed_out = true;
	loop_quit(guest->loop);
}

/* Four gigabytes one to one, in large pages. */
static void make_page_tables(struct mem *mem)
{
	uint64_t *tables = mem_hva(mem, GUEST_GPA_PAGE_TABLES, 6 * MEM_PAGE_BYTES);

	tables[0] = (GUEST_GPA_PAGE_TABLES + MEM_PAGE_BYTES) | PAGE_PRESENT_WRITE;
	for (uint64_t i = 0; i < 4; i++) {
		tables[512 + i] =
			(GUEST_GPA_PAGE_TABLES + (2 + i) * MEM_PAGE_BYTES) | PAGE_PRESENT_WRITE;
	}
	for (uint64_t i = 0; i < 4 * 512; i++) {
		tables[1024 + i] = i << 21 | PAGE_LARGE | PAGE_PRESENT_WRITE;
	}
}

static void create(struct kvm_guest *guest, uint32_t vps, bool is_legacy)
{
	const struct mem_config mem_config = { .bytes = KVM_GUEST_BYTES };
	const struct partition_config config = {
		.vps = vps,
		.has_pit = is_legacy,
		.has_vga_hole = is_legacy,
		.kvm_fd = -1,
		.ops = &ops,
		.ops_ctx = guest,
	};
	/* Null; unused; 64-bit code; data. */
	static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffffULL, 0x00cf93000000ffffULL };
	struct diag diag = { "" };

	memset(guest, 0, sizeof(*guest));
	if (mem_create(&mem_config, &guest->mem, &diag) ||
	    loop_create("test", &guest->loop, &diag) ||
	    partition_create(guest->mem, guest->loop, &config, &guest->partition, &diag)) {
		fail_msg("%s", diag.text);
	}
	guest->synic = partition_synic(guest->partition);
	guest->synic->sink = &sink;
	guest->synic->sink_ctx = guest;
	guest->shared = mem_hva(guest->mem, GUEST_GPA_SHARED, sizeof(*guest->shared));
	make_page_tables(guest->mem);
	assert_int_equal(mem_write(guest->mem, GUEST_GPA_GDT, gdt, sizeof(gdt)), 0);
	assert_int_equal(mem_write(guest->mem, GUEST_GPA_CODE, guest_text_start,
				   (uint64_t)(guest_text_stop - guest_text_start)),
			 0);
	loop_timer_init(&guest->timeout, guest->loop, on_timeout);
}

void kvm_guest_create(struct kvm_guest *guest, uint32_t vps)
{
	create(guest, vps, false);
}

void kvm_guest_create_legacy(struct kvm_guest *guest, uint32_t vps)
{
	create(guest, vps, true);
}

void kvm_guest_destroy(struct kvm_guest *guest)
{
	partition_stop(guest->partition);
	partition_destroy(guest->partition);
	loop_timer_cancel(&guest->timeout);
	loop_destroy(guest->loop);
	mem_destroy(guest->mem);
}

static uint64_t guest_address(const void *fn)
{
	return GUEST_GPA_CODE + (uint64_t)((const uint8_t *)fn - guest_text_start);
}

void kvm_guest_boot(struct kvm_guest *guest, guest_fn *fn)
{
	const struct partition_boot boot = {
		.mode = PARTITION_BOOT_LONG,
		.rip = guest_address((const void *)(uintptr_t)guest_entry),
		.rsp = GUEST_GPA_STACK_TOP,
		.rbx = guest_address((const void *)(uintptr_t)fn),
		.rsi = GUEST_GPA_SHARED,
		.cr3 = GUEST_GPA_PAGE_TABLES,
		.gdt_gpa = GUEST_GPA_GDT,
		.gdt_limit = 4 * 8 - 1,
	};
	struct diag diag = { "" };

	if (partition_reset(guest->partition, &boot, &diag)) {
		fail_msg("%s", diag.text);
	}
}

void kvm_guest_start(struct kvm_guest *guest, guest_fn *fn)
{
	struct diag diag = { "" };

	kvm_guest_boot(guest, fn);
	if (partition_start(guest->partition, &diag)) {
		fail_msg("%s", diag.text);
	}
}

void kvm_guest_run(struct kvm_guest *guest, guest_fn *fn)
{
	kvm_guest_start(guest, fn);
	kvm_guest_wait(guest);
}

/* Until there is a done or an event that was not waited for yet. */
static void wait_for_anything(struct kvm_guest *guest)
{
	guest->is_timed_out = false;
	loop_timer_arm(&guest->timeout, KVM_GUEST_WAIT_NS);
	while (atomic_load(&guest->dones) == guest->dones_seen &&
	       guest->event_count == guest->events_seen && !guest->is_timed_out) {
		loop_run(guest->loop);
	}
	loop_timer_cancel(&guest->timeout);
	assert_false(guest->is_timed_out);
}

void kvm_guest_wait(struct kvm_guest *guest)
{
	wait_for_anything(guest);
	if (guest->event_count != guest->events_seen) {
		fail_msg("event %d: %s", guest->events[guest->events_seen].kind,
			 guest->texts[guest->events_seen]);
	}
	guest->dones_seen++;
}

const struct partition_event *kvm_guest_wait_event(struct kvm_guest *guest)
{
	wait_for_anything(guest);
	assert_int_equal(guest->event_count, guest->events_seen + 1);
	return &guest->events[guest->events_seen++];
}

void kvm_guest_turn(struct kvm_guest *guest, uint64_t ns)
{
	uint64_t end = loop_now_ns() + ns;

	while (loop_now_ns() < end) {
		loop_timer_arm(&guest->timeout, end - loop_now_ns());
		loop_run(guest->loop);
	}
	loop_timer_cancel(&guest->timeout);
}

uint64_t kvm_guest_exits(struct kvm_guest *guest, const char *reason)
{
	json_t *tree = json_object();
	struct inspect at = { .object = tree };
	uint64_t sum = 0;
	json_t *vp;
	size_t i;

	partition_inspect(guest->partition, &at);
	json_array_foreach(json_object_get(tree, "vps"), i, vp)
	{
		json_t *value = reason ? json_object_get(json_object_get(vp, "exits"), reason)
				       : json_object_get(vp, "exits_total");

		sum += (uint64_t)json_integer_value(value);
	}
	if (getenv("KVM_TEST_INSPECT")) {
		json_dumpf(tree, stderr, JSON_INDENT(2));
	}
	json_decref(tree);
	return sum;
}

void kvm_guest_need_host(void)
{
	struct diag diag = { "" };

	if (getenv("KVM_TEST_DEBUG")) {
		log_set_level(LOG_DEBUG);
	}
	if (partition_host_check(&diag)) {
		fprintf(stderr, "skipped: %s\n", diag.text);
		exit(77);
	}
}

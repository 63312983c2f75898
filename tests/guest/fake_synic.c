/* SPDX-License-Identifier: MIT */
#include "guest/fake_synic.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/num.h"
#include "proto/hv.h"

#define DOORBELLS 4096

struct fake_vp {
	bool has_message, wants_slot;
	struct synic_message message;
	_Atomic(uint8_t) own[SYNIC_EVENT_FLAGS / 8];
	_Atomic(uint8_t)
		*flags; /* as in a real one, both sides'; in guest memory if it has a page */
	_Atomic(uint64_t) siefp;
	int fd;
};

struct fake_synic {
	struct synic base;
	uint32_t vp_count;
	bool enabled;
	struct fake_vp *vps;
	struct {
		uint32_t connection_id;
		int fd;
	} doorbells[DOORBELLS];
	size_t doorbell_count;
	counter_u64 signals;
	counter_u64 flag_counts[SYNIC_EVENT_FLAGS];
};

static struct fake_synic *of(struct synic *synic)
{
	return container_of(synic, struct fake_synic, base);
}

static uint32_t vp_count(struct synic *synic)
{
	return of(synic)->vp_count;
}

static int post_message(struct synic *synic, uint32_t vp, uint32_t sint,
			const struct synic_message *message)
{
	struct fake_synic *fake = of(synic);

	if (!fake->enabled || vp >= fake->vp_count || sint != 2) {
		return -ENODEV;
	}
	if (fake->vps[vp].has_message) {
		fake->vps[vp].wants_slot = true;
		return -EAGAIN;
	}
	fake->vps[vp].message = *message;
	fake->vps[vp].has_message = true;
	return 0;
}

static bool set_event_flag(struct synic *synic, uint32_t vp, uint32_t sint, uint32_t flag)
{
	struct fake_synic *fake = of(synic);

	check(flag < SYNIC_EVENT_FLAGS);
	if (!fake->enabled || vp >= fake->vp_count || sint != 2) {
		return false;
	}
	atomic_fetch_or(&fake->vps[vp].flags[flag / 8], (uint8_t)(1 << flag % 8));
	counter_add(&fake->flag_counts[flag], 1);
	return true;
}

static int sint_eventfd(struct synic *synic, uint32_t vp, uint32_t sint)
{
	return vp < of(synic)->vp_count && sint == 2 ? of(synic)->vps[vp].fd : -1;
}

static int doorbell_add(struct synic *synic, uint32_t connection_id, int eventfd)
{
	struct fake_synic *fake = of(synic);

	for (size_t i = 0; i < fake->doorbell_count; i++) {
		if (fake->doorbells[i].connection_id == connection_id) {
			return -EEXIST;
		}
	}
	if (fake->doorbell_count == DOORBELLS) {
		return -ENOSPC;
	}
	fake->doorbells[fake->doorbell_count].connection_id = connection_id;
	fake->doorbells[fake->doorbell_count++].fd = eventfd;
	return 0;
}

static void doorbell_remove(struct synic *synic, uint32_t connection_id)
{
	struct fake_synic *fake = of(synic);

	for (size_t i = 0; i < fake->doorbell_count; i++) {
		if (fake->doorbells[i].connection_id == connection_id) {
			fake->doorbells[i] = fake->doorbells[--fake->doorbell_count];
			return;
		}
	}
	check(false);
}

static uint64_t event_page(struct synic *synic, uint32_t vp)
{
	return vp < of(synic)->vp_count ? atomic_load(&of(synic)->vps[vp].siefp) : 0;
}

static const struct synic_ops ops = {
	.vp_count = vp_count,
	.post_message = post_message,
	.set_event_flag = set_event_flag,
	.sint_eventfd = sint_eventfd,
	.doorbell_add = doorbell_add,
	.doorbell_remove = doorbell_remove,
	.event_page = event_page,
};

struct fake_synic *fake_synic_create(uint32_t vps)
{
	struct fake_synic *fake = calloc(1, sizeof(*fake));

	check(fake);
	fake->base.ops = &ops;
	fake->vp_count = vps;
	fake->enabled = true;
	fake->vps = calloc(vps, sizeof(*fake->vps));
	check(fake->vps);
	for (uint32_t i = 0; i < vps; i++) {
		fake->vps[i].fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		fake->vps[i].flags = fake->vps[i].own;
	}
	return fake;
}

void fake_synic_destroy(struct fake_synic *fake)
{
	for (uint32_t i = 0; i < fake->vp_count; i++) {
		close(fake->vps[i].fd);
	}
	free(fake->vps);
	free(fake);
}

struct synic *fake_synic_base(struct fake_synic *fake)
{
	return &fake->base;
}

bool fake_synic_take(struct fake_synic *fake, uint32_t vp, struct synic_message *ret)
{
	struct fake_vp *at = &fake->vps[vp];

	if (!at->has_message) {
		return false;
	}
	*ret = at->message;
	at->has_message = false;
	if (at->wants_slot && fake->base.sink) {
		at->wants_slot = false;
		fake->base.sink->on_slot_free(fake->base.sink_ctx, vp, 2);
	}
	return true;
}

bool fake_synic_take_flag(struct fake_synic *fake, uint32_t vp, uint32_t flag)
{
	_Atomic(uint8_t) *byte = &fake->vps[vp].flags[flag / 8];
	uint8_t bit = (uint8_t)(1 << flag % 8);

	/* A look before the locked instruction: a guest that waits asks again and again. */
	return (atomic_load_explicit(byte, memory_order_acquire) & bit) &&
	       (atomic_fetch_and(byte, (uint8_t)~bit) & bit);
}

uint64_t fake_synic_flag_count(const struct fake_synic *fake, uint32_t flag)
{
	return counter_read(&fake->flag_counts[flag]);
}

bool fake_synic_signal(struct fake_synic *fake, uint32_t connection_id)
{
	uint64_t one = 1;

	for (size_t i = 0; i < fake->doorbell_count; i++) {
		if (fake->doorbells[i].connection_id == connection_id) {
			counter_add(&fake->signals, 1);
			return write(fake->doorbells[i].fd, &one, sizeof(one)) == sizeof(one);
		}
	}
	return false;
}

uint64_t fake_synic_signals(const struct fake_synic *fake)
{
	return counter_read(&fake->signals);
}

void fake_synic_enable(struct fake_synic *fake, bool enabled)
{
	fake->enabled = enabled;
}

void fake_synic_set_event_page(struct fake_synic *fake, uint32_t vp, uint64_t gpa, void *hva)
{
	struct fake_vp *at = &fake->vps[vp];

	at->flags = (_Atomic(uint8_t) *)((uint8_t *)hva + 2 * HV_EVENT_FLAGS_BYTES);
	atomic_store(&at->siefp, gpa | HV_SYNIC_ENABLE);
	if (fake->base.sink && fake->base.sink->on_event_page) {
		fake->base.sink->on_event_page(fake->base.sink_ctx, vp, at->siefp);
	}
}

/* SPDX-License-Identifier: MIT */
#include "vmbus/remote_synic.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/num.h"
#include "proto/hv.h"
#include "proto/vmbus_msg.h"

static struct remote_synic *of(struct synic *synic)
{
	return container_of(synic, struct remote_synic, base);
}

static uint32_t vp_count(struct synic *synic)
{
	return of(synic)->vps;
}

static int post_message(struct synic *synic, uint32_t vp, uint32_t sint,
			const struct synic_message *message)
{
	(void)synic;
	(void)vp;
	(void)sint;
	(void)message;
	return -ENODEV;
}

static uint64_t event_page(struct synic *synic, uint32_t vp)
{
	const struct remote_synic *remote = of(synic);

	/* Acquire: with the worker's store, whose guest has cleared the page before. */
	return vp < remote->vps
		       ? atomic_load_explicit(&remote->board->siefp[vp], memory_order_acquire)
		       : 0;
}

static bool set_event_flag(struct synic *synic, uint32_t vp, uint32_t sint, uint32_t flag)
{
	uint64_t siefp = event_page(synic, vp);
	uint8_t *page = NULL;

	check(flag < SYNIC_EVENT_FLAGS);
	if (sint == VMBUS_SINT && (siefp & HV_SYNIC_ENABLE)) {
		page = mem_hva(of(synic)->mem, num_align_down(siefp, MEM_PAGE_BYTES),
			       MEM_PAGE_BYTES);
	}
	if (!page) {
		return false;
	}
	uint64_t *flags = (uint64_t *)(page + (size_t)VMBUS_SINT * HV_EVENT_FLAGS_BYTES);

	/* Release: what the flag announces was written to the ring before. */
	__atomic_fetch_or(&flags[flag / 64], 1ULL << flag % 64, __ATOMIC_RELEASE);
	return true;
}

static int sint_eventfd(struct synic *synic, uint32_t vp, uint32_t sint)
{
	return vp < of(synic)->vps && sint == VMBUS_SINT ? of(synic)->sint_fds[vp] : -1;
}

static int doorbell_add(struct synic *synic, uint32_t connection_id, int eventfd)
{
	(void)synic;
	(void)connection_id;
	(void)eventfd;
	return -EOPNOTSUPP;
}

static void doorbell_remove(struct synic *synic, uint32_t connection_id)
{
	(void)synic;
	(void)connection_id;
}

void remote_synic_init(struct remote_synic *synic, const struct mem *mem,
		       const struct remote_board *board, uint32_t vps, const int *sint_fds)
{
	static const struct synic_ops ops = {
		.vp_count = vp_count,
		.post_message = post_message,
		.set_event_flag = set_event_flag,
		.sint_eventfd = sint_eventfd,
		.doorbell_add = doorbell_add,
		.doorbell_remove = doorbell_remove,
		.event_page = event_page,
	};

	check(vps <= REMOTE_VPS_MAX);
	*synic = (struct remote_synic){
		.base.ops = &ops, .mem = mem, .board = board, .vps = vps, .sint_fds = sint_fds
	};
}

/* SPDX-License-Identifier: MIT */
#include "net/fifo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "net/sum.h"

#define FIFO_SKIP UINT32_MAX

int fifo_init(struct fifo *fifo, size_t size_bytes)
{
	check(size_bytes % 8 == 0);
	*fifo = (struct fifo){ .block = fault_alloc(1, size_bytes), .size = size_bytes };
	return fifo->block ? 0 : -ENOMEM;
}

void fifo_fini(struct fifo *fifo)
{
	free(fifo->block);
	*fifo = (struct fifo){ 0 };
}

static size_t entry_bytes(uint32_t data_bytes)
{
	return num_align_up(sizeof(struct fifo_frame) + data_bytes, 8);
}

/*
 * Room for need bytes in one piece. What is in use is [head, tail), or [head, size) and [0, tail)
 * once it has wrapped; tail == head means empty, so the last bytes before head stay free.
 */
static struct fifo_frame *reserve(struct fifo *fifo, size_t need)
{
	if (fifo->frames == 0) {
		/* Begin where the memory is warm. */
		fifo->head = fifo->tail = 0;
	}
	if (fifo->tail >= fifo->head) {
		if (need <= fifo->size - fifo->tail) {
			return (void *)(fifo->block + fifo->tail);
		}
		if (need >= fifo->head) {
			return NULL;
		}
		if (fifo->size - fifo->tail >= sizeof(struct fifo_frame)) {
			((struct fifo_frame *)(void *)(fifo->block + fifo->tail))->bytes =
				FIFO_SKIP;
		}
		fifo->tail = 0;
		return (void *)fifo->block;
	}
	return need < fifo->head - fifo->tail ? (void *)(fifo->block + fifo->tail) : NULL;
}

/* NET_FRAME_L4_PARTIAL */
static void gather_partial(uint8_t *dst, const struct net_frame *frame)
{
	const uint32_t l4 = frame->l4_offset, end = frame->l4_end;
	uint16_t folded;

	check(l4 + net_l4_field(frame->l4) + 2 <= end && end <= frame->bytes);
	(void)net_copy_and_sum_iov(dst, frame->iov, frame->iov_count, 0, l4);
	folded = net_sum_fold_l4(
		net_copy_and_sum_iov(dst + l4, frame->iov, frame->iov_count, l4, end - l4),
		frame->l4 == NET_L4_UDP);
	(void)net_copy_and_sum_iov(dst + end, frame->iov, frame->iov_count, end,
				   frame->bytes - end);
	memcpy(dst + l4 + net_l4_field(frame->l4), &folded, 2);
}

void fifo_gather(void *dst, const struct net_frame *frame)
{
	uint8_t *at = dst;

	if (frame->flags & NET_FRAME_L4_PARTIAL) {
		gather_partial(dst, frame);
		return;
	}
	for (int i = 0; i < frame->iov_count; i++) {
		memcpy(at, frame->iov[i].iov_base, frame->iov[i].iov_len);
		at += frame->iov[i].iov_len;
	}
}

int fifo_put(struct fifo *fifo, const struct net_frame *frame, struct fifo_frame **ret_entry)
{
	size_t need = entry_bytes(frame->bytes);
	struct fifo_frame *entry = reserve(fifo, need);

	if (!entry) {
		return -EAGAIN;
	}
	*entry = (struct fifo_frame){ .bytes = frame->bytes,
				      .mss = frame->mss,
				      .flags = frame->flags & (uint16_t)~NET_FRAME_L4_PARTIAL,
				      .l4_offset = frame->l4_offset,
				      .vlan_tci = frame->vlan_tci,
				      .l4 = frame->l4 };
	fifo_gather(entry->data, frame);
	fifo->tail += need;
	fifo->frames++;
	if (ret_entry) {
		*ret_entry = entry;
	}
	return 0;
}

struct fifo_frame *fifo_peek(struct fifo *fifo)
{
	struct fifo_frame *entry;

	if (fifo->frames == 0) {
		return NULL;
	}
	entry = (void *)(fifo->block + fifo->head);
	if (fifo->size - fifo->head < sizeof(*entry) || entry->bytes == FIFO_SKIP) {
		fifo->head = 0;
		entry = (void *)fifo->block;
	}
	return entry;
}

void fifo_pop(struct fifo *fifo)
{
	struct fifo_frame *entry = fifo_peek(fifo);

	check(entry);
	fifo->head += entry_bytes(entry->bytes);
	fifo->frames--;
}

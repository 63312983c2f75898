/* SPDX-License-Identifier: MIT */
/* The receive and the send buffer: a GPADL each, as a table of our pointers to the guest's pages. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "vsp/net/netvsp_internal.h"

static void buffer_close(struct netvsp_buffer *buffer)
{
	if (buffer->gpadl) {
		gpadl_put(buffer->gpadl);
	}
	free(buffer->pages);
	*buffer = (struct netvsp_buffer){ 0 };
}

void netvsp_buffer_leave(struct netvsp_buffer *buffer)
{
	if (buffer->gpadl) {
		gpadl_put(buffer->gpadl);
		buffer->gpadl = NULL;
	}
}

static int map_pages(struct netvsp *nic, struct netvsp_buffer *buffer)
{
	const struct mem *mem = vmbus_channel_mem(nic->queues[0].channel);
	size_t count;
	const uint64_t *gfns = gpadl_gfns(buffer->gpadl, &count);

	buffer->pages = fault_alloc(count, sizeof(*buffer->pages));
	if (!buffer->pages) {
		return -ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		buffer->pages[i] =
			gfns[i] > UINT64_MAX >> MEM_PAGE_SHIFT
				? NULL
				: mem_hva(mem, gfns[i] << MEM_PAGE_SHIFT, MEM_PAGE_BYTES);
		if (!buffer->pages[i]) {
			return -EFAULT;
		}
	}
	return 0;
}

static int buffer_open(struct netvsp *nic, struct netvsp_buffer *buffer, uint32_t gpadl_id,
		       uint16_t id)
{
	uint64_t bytes;
	size_t count;
	int err;

	if (buffer->gpadl) {
		return -EBUSY;
	}
	err = vmbus_channel_gpadl_get(nic->queues[0].channel, gpadl_id, &buffer->gpadl);
	if (err) {
		return err;
	}
	buffer->gpadl_id = gpadl_id;
	buffer->id = id;
	bytes = gpadl_bytes(buffer->gpadl);
	gpadl_gfns(buffer->gpadl, &count);
	/* Whole pages only: no guest gives anything else, and so offsets are page and rest. */
	if (bytes == 0 || bytes > NETVSP_BUFFER_BYTES_MAX || bytes != count * MEM_PAGE_BYTES) {
		err = -EINVAL;
	} else {
		buffer->bytes = (uint32_t)bytes;
		err = map_pages(nic, buffer);
	}
	if (err) {
		buffer_close(buffer);
	}
	return err;
}

/* How much of [offset, offset + bytes) lies in one run for us; pages often follow each other. */
static uint32_t run_bytes(const struct netvsp_buffer *buffer, uint32_t offset, uint32_t bytes)
{
	uint8_t *const *page = &buffer->pages[offset >> MEM_PAGE_SHIFT];
	uint32_t run = MEM_PAGE_BYTES - (offset & (MEM_PAGE_BYTES - 1));

	for (; run < bytes && page[1] == page[0] + MEM_PAGE_BYTES; page++) {
		run += MEM_PAGE_BYTES;
	}
	return run < bytes ? run : bytes;
}

/* tally: NULL, or what is written is added to it. */
static inline void write_runs(const struct netvsp_buffer *buffer, uint32_t offset,
			      const uint8_t *from, uint32_t bytes, struct net_tally *tally)
{
	while (bytes) {
		uint8_t *to =
			buffer->pages[offset >> MEM_PAGE_SHIFT] + (offset & (MEM_PAGE_BYTES - 1));
		uint32_t run = run_bytes(buffer, offset, bytes);

		if (tally) {
			net_tally_add(tally, net_copy_and_sum(to, from, run), run);
		} else {
			net_copy(to, from, run);
		}
		from += run;
		offset += run;
		bytes -= run;
	}
}

void netvsp_buffer_write(const struct netvsp_buffer *buffer, uint32_t offset, const void *src,
			 uint32_t bytes)
{
	write_runs(buffer, offset, src, bytes, NULL);
}

void netvsp_buffer_write_summed(const struct netvsp_buffer *buffer, uint32_t offset,
				const void *src, uint32_t bytes, struct net_tally *tally)
{
	write_runs(buffer, offset, src, bytes, tally);
}

int netvsp_buffer_iovec(const struct netvsp_buffer *buffer, uint32_t offset, uint32_t bytes,
			struct iovec *iov, int max)
{
	int count = 0;

	while (bytes) {
		uint32_t in_page = offset & (MEM_PAGE_BYTES - 1);
		uint32_t run = (uint32_t)num_min(bytes, MEM_PAGE_BYTES - in_page);

		if (count == max) {
			return -E2BIG;
		}
		iov[count++] =
			(struct iovec){ buffer->pages[offset >> MEM_PAGE_SHIFT] + in_page, run };
		offset += run;
		bytes -= run;
	}
	return count;
}

/* ---- the receive buffer ---- */

static uint32_t choose_piece_bytes(const struct netvsp *nic, uint32_t buffer_bytes)
{
	/* A frame of the MTU, with a tag, fits one piece always. */
	uint32_t least = nic->mtu + NETVSP_FRAME_OVERHEAD;
	uint32_t want = buffer_bytes < 4U << 20 ? NETVSP_PIECE_BYTES_SMALL : NETVSP_PIECE_BYTES;

	return (uint32_t)num_align_up(num_max(want, least), 256);
}

static int recv_tables(struct netvsp *nic)
{
	struct netvsp_recv *recv = &nic->recv;

	recv->free = fault_alloc(recv->pieces, sizeof(*recv->free));
	recv->next = fault_alloc(recv->pieces, sizeof(*recv->next));
	recv->state = fault_alloc(recv->pieces, sizeof(*recv->state));
	recv->owner = fault_alloc(recv->pieces, sizeof(*recv->owner));
	if (!recv->free || !recv->next || !recv->state || !recv->owner) {
		return -ENOMEM;
	}
	netvsp_pools_make(nic); /* zeroes: all are free, and the primary's */
	return 0;
}

int netvsp_recv_open(struct netvsp *nic, uint32_t gpadl_id, uint16_t id, uint32_t piece_bytes)
{
	struct netvsp_recv *recv = &nic->recv;
	int err = buffer_open(nic, &recv->buffer, gpadl_id, id);

	if (err) {
		return err;
	}
	if (!nic->queues[0].is_held) {
		netvsp_log_clear(nic->queues[0].log); /* L3; one that is loaded has its entries */
	}
	recv->piece_bytes = piece_bytes ? piece_bytes : choose_piece_bytes(nic, recv->buffer.bytes);
	recv->pieces = recv->buffer.bytes / recv->piece_bytes;
	err = recv->pieces < NETVSP_PIECES_MIN ? -EINVAL : recv_tables(nic);
	if (err) {
		netvsp_recv_close(nic);
	}
	return err;
}

void netvsp_recv_close(struct netvsp *nic)
{
	struct netvsp_recv *recv = &nic->recv;

	buffer_close(&recv->buffer);
	free(recv->free);
	free(recv->next);
	free(recv->state);
	free(recv->owner);
	*recv = (struct netvsp_recv){ 0 };
	nic->recv_is_going = false;
}

/* ---- pieces ---- */

void netvsp_pools_make(struct netvsp *nic)
{
	struct netvsp_recv *recv = &nic->recv;
	uint32_t at = 0;

	for (unsigned int i = 0; i < nic->queue_count; i++) {
		struct netvsp_pool *pool = &nic->queues[i].pool;

		*pool = (struct netvsp_pool){ .free = recv->free + at };
		for (uint32_t piece = recv->pieces; piece-- > 0;) {
			if (recv->owner[piece] != i) {
				continue;
			}
			pool->owned++;
			if (recv->state[piece] == PIECE_FREE) {
				pool->free[pool->count++] = piece;
			}
		}
		at += pool->owned;
	}
}

void netvsp_pools_split(struct netvsp *nic)
{
	struct netvsp_pool *primary = &nic->queues[0].pool;
	struct netvsp_recv *recv = &nic->recv;
	uint32_t share = recv->pieces / (nic->granted + 1);

	if (!recv->buffer.gpadl || nic->granted == 0) {
		return;
	}
	/* What the primary's guest holds, or its batch, stays the primary's. */
	for (unsigned int i = 1; i <= nic->granted; i++) {
		for (uint32_t k = 0; k < share && primary->count > NETVSP_CONTROL_PIECES; k++) {
			uint32_t piece = primary->free[--primary->count];

			netvsp_log_move(nic->queues[0].log, piece, (uint16_t)i);
			recv->owner[piece] = (uint8_t)i;
		}
	}
	netvsp_pools_make(nic);
}

uint32_t netvsp_piece_take(struct netvsp_queue *queue)
{
	const struct netvsp_recv *recv = &queue->view->recv;

	check(queue->pool.count > 0);
	uint32_t piece = queue->pool.free[--queue->pool.count];

	check(recv->state[piece] == PIECE_FREE);
	netvsp_piece_use(queue, piece);
	return piece;
}

void netvsp_piece_use(struct netvsp_queue *queue, uint32_t piece)
{
	const struct netvsp_recv *recv = &queue->view->recv;

	recv->state[piece] = PIECE_HEAD;
	recv->next[piece] = piece;
	netvsp_log_next(queue->log, piece, piece);
}

void netvsp_piece_chain(struct netvsp_queue *queue, uint32_t tail, uint32_t piece)
{
	const struct netvsp_recv *recv = &queue->view->recv;

	recv->next[tail] = piece;
	recv->state[piece] = PIECE_TAIL;
	netvsp_log_next(queue->log, tail, piece);
}

void netvsp_pieces_put_back(struct netvsp_queue *queue, uint32_t head)
{
	const struct netvsp_recv *recv = &queue->view->recv;

	for (uint32_t at = head, next;; at = next) {
		next = recv->next[at];
		recv->state[at] = PIECE_FREE;
		queue->pool.free[queue->pool.count++] = at;
		if (next == at) {
			return;
		}
	}
}

/* L1: the transaction joins the list. */
static void let_return(struct netvsp_queue *queue, uint32_t head)
{
	const struct netvsp_recv *recv = &queue->view->recv;
	struct netvsp_returning *returning = &queue->returning;

	netvsp_log_stamp(&queue->log[head].returned, vmbus_channel_stamp(queue->channel)); /* J3 */
	for (uint32_t at = head, next;; at = next) {
		next = recv->next[at];
		recv->state[at] = PIECE_RETURNING;
		recv->next[at] = returning->count++ ? returning->first : at;
		returning->first = at;
		if (next == at) {
			return;
		}
	}
}

void netvsp_pieces_committed(struct netvsp_queue *queue)
{
	if (queue->returning.count) {
		queue->returning.count = 0;
		netvsp_pieces_put_back(queue, queue->returning.first);
	}
}

int netvsp_pieces_release(struct netvsp_queue *queue, uint64_t head)
{
	const struct netvsp_recv *recv = &queue->view->recv;

	if (head >= recv->pieces || recv->owner[head] != queue->index ||
	    recv->state[head] != PIECE_HEAD) {
		return -EBADMSG;
	}
	if (queue->log) {
		let_return(queue, (uint32_t)head);
	} else {
		netvsp_pieces_put_back(queue, (uint32_t)head);
	}
	return 0;
}

void netvsp_pieces_reclaim(struct netvsp_queue *queue)
{
	const struct netvsp_recv *recv = &queue->view->recv;

	if (!recv->pieces) {
		return; /* the pool is the primary's loop's (I1) */
	}
	queue->pool.count = queue->returning.count = 0;
	for (uint32_t i = recv->pieces; i-- > 0;) {
		if (recv->owner[i] == queue->index) {
			netvsp_log_move(queue->log, i, (uint16_t)queue->index);
			recv->state[i] = PIECE_FREE;
			queue->pool.free[queue->pool.count++] = i;
		}
	}
}

/* ---- the send buffer ---- */

int netvsp_send_open(struct netvsp *nic, uint32_t gpadl_id, uint16_t id)
{
	int err = buffer_open(nic, &nic->send.buffer, gpadl_id, id);

	if (err) {
		return err;
	}
	nic->send.sections = nic->send.buffer.bytes / NETVSP_SECTION_BYTES;
	if (nic->send.sections == 0) {
		netvsp_send_close(nic);
		return -EINVAL;
	}
	return 0;
}

void netvsp_send_close(struct netvsp *nic)
{
	buffer_close(&nic->send.buffer);
	nic->send = (struct netvsp_send_buffer){ 0 };
	nic->send_is_going = false;
}

/* SPDX-License-Identifier: MIT */
#include "vsp/net/netvsp_log.h"

#include <errno.h>

#include "vsp/net/netvsp_internal.h"

/* The most pieces that a buffer can have. */
#define LOG_PIECES (NETVSP_BUFFER_BYTES_MAX / NETVSP_PIECE_BYTES_MIN)

size_t netvsp_log_bytes(const struct vmbus_device *device)
{
	(void)device;
	return LOG_PIECES * sizeof(struct netvsp_log_entry);
}

void netvsp_log_attach(struct vmbus_device *device, void *log)
{
	netvsp_of(device)->log = log;
}

void netvsp_log_clear(struct netvsp_log_entry *log)
{
	if (!log) {
		return;
	}
	fault_store();
	for (uint32_t i = 0; i < LOG_PIECES; i++) {
		atomic_store_explicit(&log[i].shown, 0, memory_order_release);
		atomic_store_explicit(&log[i].returned, 0, memory_order_release);
		atomic_store_explicit(&log[i].queue, 0, memory_order_release);
	}
	fault_store();
}

/* What a batch holds the guest has not seen: with its head, all of it is free. */
static bool is_in_batch(const struct netvsp *nic, uint32_t head)
{
	const struct netvsp_batch *batch = &nic->queues[nic->recv.owner[head]].batch;

	return batch->ranges > 0 && batch->head == head;
}

void netvsp_log_write(struct vmbus_device *device, void *log)
{
	const struct netvsp *nic = netvsp_of(device);
	const struct netvsp_recv *recv = &nic->recv;
	struct netvsp_log_entry *entry = log;

	for (uint32_t i = 0; i < recv->pieces; i++) {
		bool is_out = recv->state[i] == PIECE_HEAD && !is_in_batch(nic, i);

		atomic_store(&entry[i].next, recv->next[i]);
		atomic_store(&entry[i].queue, recv->owner[i]);
		atomic_store(&entry[i].shown, is_out);
	}
}

/* ---- recovery ------------------------------------------------------------------------------------ */

/* Of a hostile log: each value is read once. */
struct entry {
	uint64_t shown, returned;
	uint32_t next;
	uint16_t queue;
};

static struct entry read_entry(const struct netvsp_log_entry *at)
{
	return (struct entry){ .shown = atomic_load(&at->shown),
			       .returned = atomic_load(&at->returned),
			       .next = atomic_load(&at->next),
			       .queue = atomic_load(&at->queue) };
}

/* The stamp as of the channel's last commit; what is beyond it has not happened. */
static uint64_t as_of_now(const struct vmbus_channel *channel, uint64_t stamp)
{
	return channel && vmbus_channel_is_past(channel, stamp) ? stamp : 0;
}

/* To go on in this log: what has not happened is void, and each piece is where it is believed to be. */
static void make_true(struct netvsp_log_entry *at, const struct entry *entry, uint64_t shown,
		      uint64_t returned, uint16_t queue)
{
	if (queue != entry->queue) {
		netvsp_log_move(at, 0, queue);
		return;
	}
	if (shown != entry->shown) {
		netvsp_log_stamp(&at->shown, shown);
	}
	if (returned != entry->returned) {
		netvsp_log_stamp(&at->returned, returned);
	}
}

static void recover_piece(struct netvsp *nic, const struct netvsp_log_entry *log, uint32_t piece)
{
	const struct netvsp_recv *recv = &nic->recv;
	const struct entry entry = read_entry(&log[piece]);
	/* One that changed its queue in a packet that is in the ring yet. */
	bool is_known = entry.queue <= nic->granted;
	uint16_t queue = is_known ? entry.queue : 0;
	const struct vmbus_channel *channel = is_known ? nic->queues[queue].channel : NULL;
	uint64_t shown = as_of_now(channel, entry.shown);
	uint64_t returned = as_of_now(channel, entry.returned);

	recv->owner[piece] = (uint8_t)queue;
	recv->next[piece] = entry.next;
	recv->state[piece] = shown > 0 && returned < shown ? PIECE_HEAD : PIECE_FREE;
	if (nic->log) {
		make_true(&nic->log[piece], &entry, shown, returned, queue);
	}
}

/* The transaction's pieces are its own alone. */
static int follow(const struct netvsp_recv *recv, uint32_t head)
{
	for (uint32_t at = head, next; recv->next[at] != at; at = next) {
		next = recv->next[at];
		if (next >= recv->pieces || recv->state[next] != PIECE_FREE ||
		    recv->owner[next] != recv->owner[head]) {
			return -EBADMSG;
		}
		recv->state[next] = PIECE_TAIL;
	}
	return 0;
}

static int recover_pieces(struct netvsp *nic, const struct netvsp_log_entry *log)
{
	const struct netvsp_recv *recv = &nic->recv;
	int err = 0;

	for (uint32_t i = 0; i < recv->pieces; i++) {
		recover_piece(nic, log, i);
	}
	for (uint32_t i = 0; !err && i < recv->pieces; i++) {
		err = recv->state[i] == PIECE_HEAD ? follow(recv, i) : 0;
	}
	if (err) {
		memset(recv->state, PIECE_FREE, recv->pieces);
	}
	netvsp_pools_make(nic);
	return err;
}

int netvsp_recover(struct vmbus_device *device, const void *log, bool is_clean)
{
	struct netvsp *nic = netvsp_of(device);
	int err = 0;

	for (unsigned int i = 0; !is_clean && i < nic->queue_count; i++) {
		/* The bank may be older than the ring: what was sent of its packet is not known. */
		nic->queues[i].tx_done = 0;
	}
	if (nic->recv.buffer.gpadl) {
		check(nic->recv.pieces <= LOG_PIECES);
		err = log ? recover_pieces(nic, log) : -EBADMSG;
	}
	netvsp_publish_now(nic);
	return err;
}

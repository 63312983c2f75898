/* SPDX-License-Identifier: MIT */
/*
 * Saved state of a NIC. What is negotiated and what the guest holds of ours is saved; frames that
 * have not reached the guest are lost, as on any wire, and counters begin anew.
 *
 * The machine is paused: the primary's loop may look at all queues. A buffer that is being revoked is
 * saved as one that is there: the revocation is in the ring still.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "base/num.h"
#include "vsp/net/netvsp_internal.h"

/* Tags; never reused. Missing ones mean a NIC whose channel is closed. */
enum {
	STATE_LINK_WANTED = 1,
	STATE_VERSION = 2, /* NVSP */
	STATE_NDIS_MAJOR = 3,
	STATE_NDIS_MINOR = 4,
	STATE_CAPABILITIES = 5,
	STATE_MTU = 6,
	STATE_RECV = 7,
	STATE_SEND = 8,
	STATE_ANSWER = 9,
	STATE_OPERATIONAL = 10,
	STATE_LINK_TOLD = 11,
	STATE_MAC = 12,
	STATE_FILTER = 13,
	STATE_MULTICAST = 14,
	STATE_LOOKAHEAD = 15,
	STATE_OFFLOADS = 16,
	STATE_REPLY = 17, /* one field for each */
	STATE_TX_DONE = 18,
	STATE_QUEUES = 19, /* only with sub-channels granted */
	STATE_RSS = 20,    /* only when the guest has set it */
};

/* In STATE_RECV and STATE_SEND. */
enum {
	BUFFER_GPADL = 1,
	BUFFER_ID = 2,
	BUFFER_PIECE_BYTES = 3,  /* of the send buffer: its sections' */
	BUFFER_PIECE_STATES = 4, /* a byte each: enum netvsp_piece_state */
	BUFFER_PIECE_NEXTS = 5,  /* le32 each */
	BUFFER_PIECE_OWNERS = 6, /* a byte each: queue; only with sub-channels granted */
};

/* In STATE_ANSWER. */
enum { ANSWER_TRANSACTION = 1, ANSWER_MESSAGE = 2 };

/* In STATE_QUEUES; what the primary has is above. */
enum {
	QUEUES_GRANTED = 1,
	QUEUES_TABLE_TOLD = 2,
	QUEUES_QUEUE = 3, /* a group for each sub-channel that has something to say */
};
enum { QUEUE_INDEX = 1, QUEUE_TX_DONE = 2, QUEUE_ANSWER = 3 };

/* In STATE_RSS. */
enum { RSS_IS_ON = 1, RSS_HASH_INFO = 2, RSS_KEY = 3, RSS_TABLE = 4 /* le16 each */ };

#define OFFLOADS_BYTES 9

/* ---- save -------------------------------------------------------------------------------------- */

/*
 * Into a journal's bank: pieces are in the log. It is saved while other queues run, but the last time,
 * when they have left; and nobody is owed an answer (I2).
 */
static bool is_bank(const struct netvsp *nic, const struct save *save)
{
	return save->is_fixed && nic->queues[0].channel;
}

static void save_pieces(const struct netvsp *nic, struct save *save)
{
	const struct netvsp_recv *recv = &nic->recv;
	auto_free uint8_t *states = malloc(recv->pieces);
	auto_free uint8_t *nexts = malloc(4 * (size_t)recv->pieces);

	if (!states || !nexts) {
		save->error = save->error ? save->error : -ENOMEM;
		return;
	}
	for (uint32_t i = 0; i < recv->pieces; i++) {
		/* What returns or was granted to a lane is nobody's. */
		states[i] = recv->state[i] > PIECE_TAIL ? PIECE_FREE : recv->state[i];
		bytes_put_le32(nexts + 4 * (size_t)i, states[i] == PIECE_FREE ? 0 : recv->next[i]);
	}
	/* The batches' pieces have not been seen by the guest: they are free. */
	for (unsigned int q = 0; q < nic->queue_count; q++) {
		const struct netvsp_batch *batch = &nic->queues[q].batch;

		for (uint32_t i = 0, at = batch->head; i < batch->ranges; i++) {
			states[at] = PIECE_FREE;
			bytes_put_le32(nexts + 4 * (size_t)at, 0);
			at = recv->next[at];
		}
	}
	save_bytes(save, BUFFER_PIECE_STATES, states, recv->pieces);
	save_bytes(save, BUFFER_PIECE_NEXTS, nexts, 4 * (size_t)recv->pieces);
	if (nic->granted > 0) {
		save_bytes(save, BUFFER_PIECE_OWNERS, recv->owner, recv->pieces);
	}
}

static void save_buffer(struct save *save, uint16_t tag, const struct netvsp *nic,
			const struct netvsp_buffer *buffer, uint32_t piece_bytes, bool is_recv)
{
	if (!buffer->gpadl) {
		return;
	}
	save_group_begin(save, tag);
	save_u32(save, BUFFER_GPADL, buffer->gpadl_id);
	save_u32(save, BUFFER_ID, buffer->id);
	save_u32(save, BUFFER_PIECE_BYTES, piece_bytes);
	if (is_recv && !is_bank(nic, save)) {
		save_pieces(nic, save);
	}
	save_group_end(save);
}

static void save_rndis(const struct netvsp *nic, struct save *save)
{
	const struct netvsp_offloads *o = &nic->offloads;
	const uint8_t offloads[OFFLOADS_BYTES] = { o->ip4,  o->tcp4, o->udp4, o->tcp6, o->udp6,
						   o->lso4, o->lso6, o->rsc4, o->rsc6 };

	save_u32(save, STATE_OPERATIONAL, nic->operational);
	save_u32(save, STATE_LINK_TOLD, nic->link_told);
	save_bytes(save, STATE_MAC, nic->mac, NET_MAC_BYTES);
	save_u32(save, STATE_FILTER, nic->filter);
	save_bytes(save, STATE_MULTICAST, nic->multicast, nic->multicast_count * NET_MAC_BYTES);
	save_u32(save, STATE_LOOKAHEAD, nic->lookahead);
	save_bytes(save, STATE_OFFLOADS, offloads, sizeof(offloads));
	for (uint32_t i = 0; i < nic->replies_count; i++) {
		const struct netvsp_reply *reply =
			&nic->replies[(nic->replies_first + i) % NETVSP_CONTROL_QUEUE];

		save_bytes(save, STATE_REPLY, reply->message, reply->bytes);
	}
}

static void save_answer(const struct netvsp_queue *queue, uint16_t tag, struct save *save)
{
	if (queue->answer.pending) {
		save_group_begin(save, tag);
		save_u64(save, ANSWER_TRANSACTION, queue->answer.transaction_id);
		save_bytes(save, ANSWER_MESSAGE, queue->answer.message.bytes,
			   queue->answer.message.length);
		save_group_end(save);
	}
}

static void save_queues(const struct netvsp *nic, struct save *save)
{
	bool runs = nic->queues[0].channel && vmbus_channel_is_journaled(nic->queues[0].channel);

	if (nic->granted == 0) {
		return;
	}
	save_group_begin(save, STATE_QUEUES);
	save_u32(save, QUEUES_GRANTED, nic->granted);
	save_u32(save, QUEUES_TABLE_TOLD, nic->table_told);
	for (unsigned int i = 1; i <= nic->granted; i++) {
		const struct netvsp_queue *queue = &nic->queues[i];

		if (runs && atomic_load(&queue->is_open)) {
			continue;
		}
		if (queue->answer.pending || queue->tx_done) {
			save_group_begin(save, QUEUES_QUEUE);
			save_u32(save, QUEUE_INDEX, i);
			save_u32(save, QUEUE_TX_DONE, queue->tx_done);
			save_answer(queue, QUEUE_ANSWER, save);
			save_group_end(save);
		}
	}
	save_group_end(save);
}

static void save_rss(const struct netvsp_rss *rss, struct save *save)
{
	uint8_t table[2 * NET_RSS_TABLE_ENTRIES];

	if (!rss->is_set) {
		return;
	}
	for (size_t i = 0; i < rss->table_entries; i++) {
		bytes_put_le16(table + 2 * i, rss->table[i]);
	}
	save_group_begin(save, STATE_RSS);
	save_u32(save, RSS_IS_ON, rss->is_on);
	save_u32(save, RSS_HASH_INFO, rss->hash_info);
	save_bytes(save, RSS_KEY, rss->key, sizeof(rss->key));
	save_bytes(save, RSS_TABLE, table, 2 * (size_t)rss->table_entries);
	save_group_end(save);
}

/* Only what was loaded from an old state does, and no journal goes on with that. */
static bool owes_answer(const struct netvsp *nic)
{
	for (unsigned int i = 0; !nic->queues[0].log && i < nic->queue_count; i++) {
		if (nic->queues[i].answer.pending) {
			return true;
		}
	}
	return false;
}

void netvsp_save(struct vmbus_device *device, struct save *save)
{
	const struct netvsp *nic = netvsp_of(device);
	const struct netvsp_queue *primary = &nic->queues[0];

	save_u32(save, STATE_LINK_WANTED, nic->link_wanted);
	if (!primary->channel) {
		return;
	}
	if (is_bank(nic, save) && owes_answer(nic)) {
		save->error = save->error ? save->error : -EBUSY; /* soon not */
		return;
	}
	save_u32(save, STATE_VERSION, nic->dialect ? nic->dialect->version : 0);
	save_u32(save, STATE_NDIS_MAJOR, nic->ndis_major);
	save_u32(save, STATE_NDIS_MINOR, nic->ndis_minor);
	save_u32(save, STATE_CAPABILITIES, nic->capabilities);
	save_u32(save, STATE_MTU, nic->mtu);
	save_buffer(save, STATE_RECV, nic, &nic->recv.buffer, nic->recv.piece_bytes, true);
	save_buffer(save, STATE_SEND, nic, &nic->send.buffer, NETVSP_SECTION_BYTES, false);
	save_answer(primary, STATE_ANSWER, save);
	save_rndis(nic, save);
	save_u32(save, STATE_TX_DONE, primary->tx_done);
	save_queues(nic, save);
	save_rss(&nic->rss, save);
}

/* ---- load -------------------------------------------------------------------------------------- */

struct saved_buffer {
	uint32_t gpadl, id, piece_bytes;
	struct load_field states, nexts, owners;
};

static void load_buffer(struct load *load, const struct load_field *field, struct saved_buffer *ret)
{
	struct load inner;
	struct load_field f;

	load_group(load, field, &inner);
	while (load_next(&inner, &f)) {
		switch (f.tag) {
		case BUFFER_GPADL:
			ret->gpadl = load_u32(&inner, &f);
			break;
		case BUFFER_ID:
			ret->id = load_u32(&inner, &f);
			break;
		case BUFFER_PIECE_BYTES:
			ret->piece_bytes = load_u32(&inner, &f);
			break;
		case BUFFER_PIECE_STATES:
			ret->states = f;
			break;
		case BUFFER_PIECE_NEXTS:
			ret->nexts = f;
			break;
		case BUFFER_PIECE_OWNERS:
			ret->owners = f;
			break;
		default:
			break;
		}
	}
	load_close(load, &inner);
}

/* Follows each transaction from its head; every piece that is not free is in exactly one. */
static bool chains_are_sound(const struct netvsp_recv *recv, uint8_t *seen)
{
	uint32_t found = 0, used = 0;

	for (uint32_t i = 0; i < recv->pieces; i++) {
		used += recv->state[i] != PIECE_FREE;
		if (recv->state[i] != PIECE_HEAD) {
			continue;
		}
		for (uint32_t at = i;; at = recv->next[at]) {
			if (seen[at] || (at != i && recv->state[at] != PIECE_TAIL) ||
			    recv->owner[at] != recv->owner[i]) {
				return false;
			}
			seen[at] = 1;
			found++;
			if (recv->next[at] == at) {
				break;
			}
		}
	}
	return found == used;
}

static int restore_pieces(struct netvsp *nic, const struct saved_buffer *saved)
{
	struct netvsp_recv *recv = &nic->recv;
	auto_free uint8_t *seen = fault_alloc(recv->pieces, 1);

	if (!seen) {
		return -ENOMEM;
	}
	if (saved->states.length != recv->pieces ||
	    saved->nexts.length != 4 * (uint64_t)recv->pieces ||
	    saved->owners.length != (nic->granted ? recv->pieces : 0)) {
		return -EBADMSG;
	}
	for (uint32_t i = 0; i < recv->pieces; i++) {
		recv->state[i] = saved->states.bytes[i];
		recv->next[i] = bytes_le32(saved->nexts.bytes + 4 * (size_t)i);
		recv->owner[i] = nic->granted ? saved->owners.bytes[i] : 0;
		if (recv->state[i] > PIECE_TAIL || recv->next[i] >= recv->pieces ||
		    recv->owner[i] > nic->granted) {
			return -EBADMSG;
		}
	}
	if (!chains_are_sound(recv, seen)) {
		return -EBADMSG;
	}
	netvsp_pools_make(nic);
	return 0;
}

static int restore_recv(struct netvsp *nic, const struct saved_buffer *saved)
{
	int err;

	if (saved->id > UINT16_MAX || saved->piece_bytes < NETVSP_PIECE_BYTES_MIN ||
	    saved->piece_bytes > NETVSP_BUFFER_BYTES_MAX) {
		return -EBADMSG;
	}
	err = netvsp_recv_open(nic, saved->gpadl, (uint16_t)saved->id, saved->piece_bytes);
	if (err || nic->queues[0].is_held) {
		return err; /* a bank's are in the log: recover() */
	}
	return restore_pieces(nic, saved);
}

static int restore_send(struct netvsp *nic, const struct saved_buffer *saved)
{
	if (saved->id > UINT16_MAX || saved->piece_bytes != NETVSP_SECTION_BYTES) {
		return -EBADMSG;
	}
	return netvsp_send_open(nic, saved->gpadl, (uint16_t)saved->id);
}

static void load_answer(struct netvsp_queue *queue, struct load *load,
			const struct load_field *field)
{
	struct load inner;
	struct load_field f;

	if (queue->is_held) {
		load_fail(load); /* no bank has it */
		return;
	}
	load_group(load, field, &inner);
	queue->answer.pending = true;
	while (load_next(&inner, &f)) {
		switch (f.tag) {
		case ANSWER_TRANSACTION:
			queue->answer.transaction_id = load_u64(&inner, &f);
			break;
		case ANSWER_MESSAGE:
			if (f.length > sizeof(queue->answer.message.bytes)) {
				load_fail(&inner);
				break;
			}
			queue->answer.message.length = f.length;
			load_bytes(&inner, &f, queue->answer.message.bytes, f.length);
			break;
		default:
			break;
		}
	}
	load_close(load, &inner);
}

/* One of a sub-channel that is open. */
static void load_queue(struct netvsp *nic, struct load *load, const struct load_field *field)
{
	struct netvsp_queue *queue = NULL;
	struct load_field f;
	struct load inner;
	uint32_t index;

	load_group(load, field, &inner);
	while (load_next(&inner, &f)) {
		if (f.tag == QUEUE_INDEX) {
			index = load_u32(&inner, &f);
			queue = index > 0 && index < nic->queue_count && nic->queues[index].channel
					? &nic->queues[index]
					: NULL;
		} else if (!queue) {
			load_fail(&inner);
		} else if (f.tag == QUEUE_TX_DONE) {
			queue->tx_done = load_u32(&inner, &f);
		} else if (f.tag == QUEUE_ANSWER) {
			load_answer(queue, &inner, &f);
		}
	}
	load_close(load, &inner);
}

static void load_queues(struct netvsp *nic, struct load *load, const struct load_field *field)
{
	struct load_field f;
	struct load inner;

	load_group(load, field, &inner);
	while (load_next(&inner, &f)) {
		switch (f.tag) {
		case QUEUES_GRANTED:
			nic->granted = load_u32(&inner, &f);
			if (nic->granted == 0 || nic->granted >= nic->queue_count) {
				nic->granted = 0;
				load_fail(&inner); /* fewer queues than it was saved with */
			}
			break;
		case QUEUES_TABLE_TOLD:
			nic->table_told = load_u32(&inner, &f) != 0;
			break;
		case QUEUES_QUEUE:
			load_queue(nic, &inner, &f);
			break;
		default:
			break;
		}
	}
	load_close(load, &inner);
}

static void load_rss_table(struct netvsp_rss *rss, struct load *load, const struct load_field *f)
{
	if (f->length % 2 || f->length > sizeof(rss->table)) {
		load_fail(load);
		return;
	}
	rss->table_entries = (uint16_t)(f->length / 2);
	for (size_t i = 0; i < rss->table_entries; i++) {
		rss->table[i] = bytes_le16(f->bytes + 2 * i);
	}
}

static void load_rss(struct netvsp_rss *rss, struct load *load, const struct load_field *field)
{
	struct load_field f;
	struct load inner;

	*rss = (struct netvsp_rss){ .is_set = true };
	load_group(load, field, &inner);
	while (load_next(&inner, &f)) {
		switch (f.tag) {
		case RSS_IS_ON:
			rss->is_on = load_u32(&inner, &f) != 0;
			break;
		case RSS_HASH_INFO:
			rss->hash_info = load_u32(&inner, &f);
			break;
		case RSS_KEY:
			load_bytes(&inner, &f, rss->key, sizeof(rss->key));
			break;
		case RSS_TABLE:
			load_rss_table(rss, &inner, &f);
			break;
		default:
			break;
		}
	}
	load_close(load, &inner);
}

static void load_multicast(struct netvsp *nic, struct load *load, const struct load_field *f)
{
	if (f->length % NET_MAC_BYTES || f->length > sizeof(nic->multicast)) {
		load_fail(load);
		return;
	}
	nic->multicast_count = f->length / NET_MAC_BYTES;
	load_bytes(load, f, nic->multicast, f->length);
}

static void load_offloads(struct netvsp *nic, struct load *load, const struct load_field *f)
{
	uint8_t b[OFFLOADS_BYTES];

	load_bytes(load, f, b, sizeof(b));
	nic->offloads = (struct netvsp_offloads){ .ip4 = b[0],
						  .tcp4 = b[1],
						  .udp4 = b[2],
						  .tcp6 = b[3],
						  .udp6 = b[4],
						  .lso4 = b[5],
						  .lso6 = b[6],
						  .rsc4 = b[7],
						  .rsc6 = b[8] };
}

static void load_reply(struct netvsp *nic, struct load *load, const struct load_field *f)
{
	struct netvsp_reply *reply = &nic->replies[nic->replies_count];

	if (nic->replies_count == NETVSP_CONTROL_QUEUE || f->length > sizeof(reply->message)) {
		load_fail(load);
		return;
	}
	reply->bytes = f->length;
	load_bytes(load, f, reply->message, f->length);
	nic->replies_count++;
}

static void load_mtu(struct netvsp *nic, struct load *load, const struct load_field *f)
{
	nic->mtu = load_u32(load, f);
	if (nic->mtu < NET_MTU_DEFAULT || nic->mtu > NET_MTU_MAX) {
		nic->mtu = NET_MTU_DEFAULT;
		load_fail(load);
	}
}

static void load_version(struct netvsp *nic, struct load *load, const struct load_field *f)
{
	uint32_t version = load_u32(load, f);

	nic->dialect = nvsp_dialect(version);
	if (version && !nic->dialect) {
		load_fail(load);
	}
}

/* Fields of the connection; buffers only make sense after all others are known. */
static void load_connection(struct netvsp *nic, struct load *load, const struct load_field *f)
{
	switch (f->tag) {
	case STATE_VERSION:
		load_version(nic, load, f);
		break;
	case STATE_NDIS_MAJOR:
		nic->ndis_major = load_u32(load, f);
		break;
	case STATE_NDIS_MINOR:
		nic->ndis_minor = load_u32(load, f);
		break;
	case STATE_CAPABILITIES:
		nic->capabilities = load_u32(load, f);
		break;
	case STATE_MTU:
		load_mtu(nic, load, f);
		break;
	case STATE_ANSWER:
		load_answer(&nic->queues[0], load, f);
		break;
	case STATE_TX_DONE:
		nic->queues[0].tx_done = load_u32(load, f);
		break;
	case STATE_QUEUES:
		load_queues(nic, load, f);
		break;
	case STATE_RSS:
		load_rss(&nic->rss, load, f);
		break;
	default:
		break;
	}
}

static void load_rndis(struct netvsp *nic, struct load *load, const struct load_field *f)
{
	switch (f->tag) {
	case STATE_OPERATIONAL:
		nic->operational = load_u32(load, f) != 0;
		break;
	case STATE_LINK_TOLD:
		nic->link_told = load_u32(load, f) != 0;
		break;
	case STATE_MAC:
		load_bytes(load, f, nic->mac, NET_MAC_BYTES);
		break;
	case STATE_FILTER:
		nic->filter = load_u32(load, f);
		break;
	case STATE_MULTICAST:
		load_multicast(nic, load, f);
		break;
	case STATE_LOOKAHEAD:
		nic->lookahead = load_u32(load, f);
		break;
	case STATE_OFFLOADS:
		load_offloads(nic, load, f);
		break;
	case STATE_REPLY:
		load_reply(nic, load, f);
		break;
	default:
		break;
	}
}

/* Nobody else runs: what there was goes, whatever it was. */
static void load_begin(struct netvsp *nic)
{
	struct vmbus_device *device = &nic->device;

	netvsp_forget(nic);
	for (unsigned int i = 0; i < nic->queue_count; i++) {
		netvsp_queue_forget(&nic->queues[i]);
	}
	netvsp_publish_now(nic);
	netvsp_recv_close(nic);
	netvsp_send_close(nic);
	nic->has_left = false;
	if (!nic->queues[0].is_held) { /* else restored() has said it */
		nic->queues[0].channel = device->channel && vmbus_channel_is_open(device->channel)
						 ? device->channel
						 : NULL;
	}
}

static int load_end(struct netvsp *nic, const struct saved_buffer *recv,
		    const struct saved_buffer *send)
{
	int err = 0;

	if ((recv || send || nic->operational) && !nic->dialect) {
		return -EBADMSG;
	}
	if (!netvsp_rss_is_sound(&nic->rss, nic->granted + 1)) {
		nic->rss = (struct netvsp_rss){ 0 };
		return -EBADMSG;
	}
	for (unsigned int i = nic->granted + 1; i < nic->queue_count; i++) {
		if (nic->queues[i].channel) {
			return -EBADMSG; /* open, and yet never granted */
		}
	}
	if (recv) {
		err = restore_recv(nic, recv);
	}
	if (!err && send) {
		err = restore_send(nic, send);
	}
	return err;
}

int netvsp_load(struct vmbus_device *device, struct load *load)
{
	struct netvsp *nic = netvsp_of(device);
	struct saved_buffer recv = { 0 }, send = { 0 };
	bool has_recv = false, has_send = false;
	struct load_field f;
	int err;

	load_begin(nic);
	while (load_next(load, &f)) {
		if (f.tag == STATE_LINK_WANTED) {
			nic->link_wanted = load_u32(load, &f) != 0;
		} else if (!nic->queues[0].channel) {
			load_fail(load); /* a connection without a channel */
		} else if (f.tag == STATE_RECV) {
			load_buffer(load, &f, &recv);
			has_recv = true;
		} else if (f.tag == STATE_SEND) {
			load_buffer(load, &f, &send);
			has_send = true;
		} else {
			load_connection(nic, load, &f);
			load_rndis(nic, load, &f);
		}
	}
	err = load_result(load);
	if (err) {
		nic->rss = (struct netvsp_rss){ 0 };
	} else {
		err = load_end(nic, has_recv ? &recv : NULL, has_send ? &send : NULL);
	}
	netvsp_publish_now(nic);
	if (!nic->queues[0].is_held) {
		netvsp_publish(nic);
	}
	if (!err) {
		netvsp_tell_driver(nic);
	}
	return err ? -EBADMSG : 0;
}

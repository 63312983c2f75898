/* SPDX-License-Identifier: MIT */
/*
 * Saved state of a NIC. What is negotiated and what the guest holds of ours is saved; frames that
 * have not reached the guest are lost, as on any wire, and counters begin anew.
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
};

/* In STATE_RECV and STATE_SEND. */
enum {
	BUFFER_GPADL = 1,
	BUFFER_ID = 2,
	BUFFER_PIECE_BYTES = 3,  /* of the send buffer: its sections' */
	BUFFER_PIECE_STATES = 4, /* a byte each: enum netvsp_piece_state */
	BUFFER_PIECE_NEXTS = 5,  /* le32 each */
};

/* In STATE_ANSWER. */
enum { ANSWER_TRANSACTION = 1, ANSWER_MESSAGE = 2 };

#define OFFLOADS_BYTES 9

/* ---- save -------------------------------------------------------------------------------------- */

static void save_pieces(const struct netvsp *nic, struct save *save)
{
	const struct netvsp_recv *recv = &nic->recv;
	auto_free uint8_t *states = malloc(recv->pieces);
	auto_free uint8_t *nexts = malloc(4 * (size_t)recv->pieces);

	if (!states || !nexts) {
		save->error = save->error ? save->error : -ENOMEM;
		return;
	}
	memcpy(states, recv->state, recv->pieces);
	for (uint32_t i = 0; i < recv->pieces; i++) {
		bytes_put_le32(nexts + 4 * (size_t)i, states[i] == PIECE_FREE ? 0 : recv->next[i]);
	}
	/* The batch's pieces have not been seen by the guest: they are free. */
	for (uint32_t i = 0, at = nic->batch.head; i < nic->batch.ranges; i++) {
		states[at] = PIECE_FREE;
		bytes_put_le32(nexts + 4 * (size_t)at, 0);
		at = recv->next[at];
	}
	save_bytes(save, BUFFER_PIECE_STATES, states, recv->pieces);
	save_bytes(save, BUFFER_PIECE_NEXTS, nexts, 4 * (size_t)recv->pieces);
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
	if (is_recv) {
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

void netvsp_save(struct vmbus_device *device, struct save *save)
{
	const struct netvsp *nic = container_of(device, struct netvsp, device);

	save_u32(save, STATE_LINK_WANTED, nic->link_wanted);
	if (!nic->channel) {
		return;
	}
	save_u32(save, STATE_VERSION, nic->dialect ? nic->dialect->version : 0);
	save_u32(save, STATE_NDIS_MAJOR, nic->ndis_major);
	save_u32(save, STATE_NDIS_MINOR, nic->ndis_minor);
	save_u32(save, STATE_CAPABILITIES, nic->capabilities);
	save_u32(save, STATE_MTU, nic->mtu);
	save_buffer(save, STATE_RECV, nic, &nic->recv.buffer, nic->recv.piece_bytes, true);
	save_buffer(save, STATE_SEND, nic, &nic->send.buffer, NETVSP_SECTION_BYTES, false);
	if (nic->answer.pending) {
		save_group_begin(save, STATE_ANSWER);
		save_u64(save, ANSWER_TRANSACTION, nic->answer.transaction_id);
		save_bytes(save, ANSWER_MESSAGE, nic->answer.message.bytes,
			   nic->answer.message.length);
		save_group_end(save);
	}
	save_rndis(nic, save);
	save_u32(save, STATE_TX_DONE, nic->tx_done);
}

/* ---- load -------------------------------------------------------------------------------------- */

struct saved_buffer {
	uint32_t gpadl, id, piece_bytes;
	struct load_field states, nexts;
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
			if (seen[at] || (at != i && recv->state[at] != PIECE_TAIL)) {
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
	    saved->nexts.length != 4 * (uint64_t)recv->pieces) {
		return -EBADMSG;
	}
	for (uint32_t i = 0; i < recv->pieces; i++) {
		recv->state[i] = saved->states.bytes[i];
		recv->next[i] = bytes_le32(saved->nexts.bytes + 4 * (size_t)i);
		if (recv->state[i] > PIECE_TAIL || recv->next[i] >= recv->pieces) {
			return -EBADMSG;
		}
	}
	if (!chains_are_sound(recv, seen)) {
		return -EBADMSG;
	}
	recv->free_count = 0;
	for (uint32_t i = recv->pieces; i-- > 0;) {
		if (recv->state[i] == PIECE_FREE) {
			recv->free[recv->free_count++] = i;
		}
	}
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
	return err ? err : restore_pieces(nic, saved);
}

static int restore_send(struct netvsp *nic, const struct saved_buffer *saved)
{
	if (saved->id > UINT16_MAX || saved->piece_bytes != NETVSP_SECTION_BYTES) {
		return -EBADMSG;
	}
	return netvsp_send_open(nic, saved->gpadl, (uint16_t)saved->id);
}

static void load_answer(struct netvsp *nic, struct load *load, const struct load_field *field)
{
	struct load inner;
	struct load_field f;

	load_group(load, field, &inner);
	nic->answer.pending = true;
	while (load_next(&inner, &f)) {
		switch (f.tag) {
		case ANSWER_TRANSACTION:
			nic->answer.transaction_id = load_u64(&inner, &f);
			break;
		case ANSWER_MESSAGE:
			if (f.length > sizeof(nic->answer.message.bytes)) {
				load_fail(&inner);
				break;
			}
			nic->answer.message.length = f.length;
			load_bytes(&inner, &f, nic->answer.message.bytes, f.length);
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
		load_answer(nic, load, f);
		break;
	case STATE_TX_DONE:
		nic->tx_done = load_u32(load, f);
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

int netvsp_load(struct vmbus_device *device, struct load *load)
{
	struct netvsp *nic = container_of(device, struct netvsp, device);
	struct saved_buffer recv = { 0 }, send = { 0 };
	bool has_recv = false, has_send = false;
	struct load_field f;
	int err;

	netvsp_forget(nic);
	if (device->channel && vmbus_channel_is_open(device->channel)) {
		nic->channel = device->channel;
	}
	while (load_next(load, &f)) {
		if (f.tag == STATE_LINK_WANTED) {
			nic->link_wanted = load_u32(load, &f) != 0;
		} else if (!nic->channel) {
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
	if (!err && ((has_recv || has_send || nic->operational) && !nic->dialect)) {
		err = -EBADMSG;
	}
	if (!err && has_recv) {
		err = restore_recv(nic, &recv);
	}
	if (!err && has_send) {
		err = restore_send(nic, &send);
	}
	netvsp_tell_net(nic);
	return err ? -EBADMSG : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * One extension on one core: its slots, the two rings, the queue of frames that wait for its word, and
 * what is done with those when none comes.
 *
 *          take                answer, its turn in the queue
 *   FREE ───────► HELD ──────► (ANSWERED) ─────────────────────► FREE
 *     │             └─ deadline, suspended, closed ─► LENT ────► FREE
 *     └── a capture's ───────────────────────────────► LENT        its answer
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/bytes.h"
#include "proto/ether.h"
#include "vswitch/ext_internal.h"

#define RING_MASK       (VSEXT_RING - 1U)
#define BELL_BYTES      4096U
#define BELL_READS      8U     /* at a time */
#define RUNG_IN_VAIN    20000U /* times in RUNG_WINDOW_NS: it keeps the core from its work */
#define RUNG_WINDOW_NS  1000000000ULL
#define SECOND_NS       1000000000ULL
#define TYPE_END_OFFSET (ETHER_TYPE_OFFSET + ETHER_TAG_BYTES)

/* ---- slots ------------------------------------------------------------------------------------- */

void ext_half_init(struct ext_half *half)
{
	for (uint32_t i = 0; i < VSEXT_SMALL; i++) {
		half->small[i] = (uint16_t)(VSEXT_SMALL - 1 - i);
	}
	for (uint32_t i = 0; i < VSEXT_LARGE; i++) {
		half->large[i] = (uint16_t)(VSEXT_SLOTS - 1 - i);
	}
	half->small_count = VSEXT_SMALL;
	half->large_count = VSEXT_LARGE;
}

/* For so many bytes; -1: none is free. */
static int take_slot(struct ext_half *half, uint32_t bytes)
{
	int slot = -1;

	if (bytes <= vsext_slot_room(0) && half->small_count > 0) {
		slot = half->small[--half->small_count];
	} else if (bytes > vsext_slot_room(0) && half->large_count > 0) {
		slot = half->large[--half->large_count];
	}
	half->lent += slot >= 0;
	return slot;
}

static void free_slot(struct ext_half *half, uint32_t slot)
{
	half->held[slot].state = EXT_SLOT_FREE;
	half->lent--;
	if (slot < VSEXT_SMALL) {
		half->small[half->small_count++] = (uint16_t)slot;
	} else {
		half->large[half->large_count++] = (uint16_t)slot;
	}
}

static struct vsext_slot *slot_at(const struct ext_half *half, uint32_t slot)
{
	return (struct vsext_slot *)(half->slots + vsext_slot_offset(slot));
}

static uint16_t flags_of(const struct net_frame *net)
{
	uint16_t flags = 0;

	flags |= net->flags & NET_FRAME_L4_CHECKSUM ? VSEXT_FRAME_L4_CHECKSUM : 0;
	flags |= net->flags & NET_FRAME_IP_CHECKSUM ? VSEXT_FRAME_IP_CHECKSUM : 0;
	flags |= net->flags & NET_FRAME_CHECKSUM_GOOD ? VSEXT_FRAME_CHECKSUM_GOOD : 0;
	if (net->flags & (NET_FRAME_LSO | NET_FRAME_COALESCED)) {
		flags |= VSEXT_FRAME_LARGE;
	}
	return flags;
}

/* The frame into its slot, and the ask into the ring. */
static void put(struct ext_half *half, uint32_t slot, const struct ext_question *question,
		uint32_t bytes)
{
	const struct vframe *frame = question->frame;
	struct vsext_slot *to = slot_at(half, slot);
	/* It was dropped before its VLAN was looked at. */
	bool is_unknown = question->dropped != DROP_NONE && question->dropped <= DROP_VLAN;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	*to = (struct vsext_slot){
		.time_ns = (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec,
		.frame_bytes = frame->net.bytes,
		.bytes = bytes,
		.hash = frame->flow_hash,
		.port = question->port,
		.from = frame->from,
		.vlan = is_unknown ? 0 : frame->vlan,
		.flags = flags_of(&frame->net),
		.mss = (uint16_t)frame->net.mss,
		.ethertype = frame->key.ethertype,
		.l3_offset = frame->key.ip_version ? frame->key.l3_offset : 0,
		.l4_offset = frame->key.flags & VKEY_L4 ? frame->key.l4_offset : 0,
		.pcp = is_unknown ? 0 : frame->pcp,
		.direction = question->is_out ? VSEXT_OUT : VSEXT_IN,
		.protocol = frame->key.ip_version ? frame->key.protocol : 0,
		.ip_version = frame->key.ip_version,
	};
	if (question->dropped != DROP_NONE) {
		strncpy(to->reason, drop_cause_name(question->dropped), sizeof(to->reason) - 1);
	}
	(void)vframe_copy(frame, 0, to + 1, bytes);
	half->held[slot].seq = ++half->seq;
	half->ask_ring[half->produced & RING_MASK] =
		(struct vsext_ask){ .slot = slot, .seq = half->seq };
	/* Pairs with the extension's acquire: who sees the number sees the ask and its slot. */
	atomic_store_explicit(&half->asks->produced, ++half->produced, memory_order_release);
	half->is_dirty = true;
	counter_add(&half->counters.asked, 1);
}

/* ---- when there is no answer ------------------------------------------------------------------- */

/* The frame is still in its slot. */
static void go_on_unchanged(struct ext_half *half, uint32_t slot, const port_set *to)
{
	const struct ext_held *held = &half->held[slot];
	struct net_frame net = {
		.bytes = held->bytes,
		.flags = held->flags,
		.l4_offset = held->l4_offset,
		.l4 = held->l4,
		.mss = held->mss,
	};

	exts_core_go_on(half, &held->core, &net, (const uint8_t *)(slot_at(half, slot) + 1), to);
}

static void fail(struct ext_half *half, uint32_t slot, enum drop_cause cause)
{
	if (half->ext->rules.drops_on_failure) {
		core_drop_held(half->core, &half->held[slot].core, cause);
	} else {
		go_on_unchanged(half, slot, NULL);
	}
}

static enum ext_answer fail_now(const struct ext_half *half, enum drop_cause cause,
				enum drop_cause *ret_cause)
{
	*ret_cause = cause;
	return half->ext->rules.drops_on_failure ? EXT_DROP : EXT_PASS;
}

/* ---- answers ----------------------------------------------------------------------------------- */

/* A tag may be neither put in, nor taken out, nor changed. */
static bool keeps_tag(const uint8_t *was, uint32_t was_bytes, const uint8_t *is, uint32_t is_bytes)
{
	uint16_t types[2] = { bytes_be16(was + ETHER_TYPE_OFFSET),
			      bytes_be16(is + ETHER_TYPE_OFFSET) };

	for (int i = 0; i < 2; i++) {
		if (types[i] == ETHER_TYPE_VLAN || types[i] == ETHER_TYPE_QINQ) {
			return was_bytes >= TYPE_END_OFFSET && is_bytes >= TYPE_END_OFFSET &&
			       !memcmp(was + ETHER_TYPE_OFFSET, is + ETHER_TYPE_OFFSET,
				       ETHER_TAG_BYTES);
		}
	}
	return true;
}

/* Copies what the extension has made of the frame out, once (X2). */
static bool finish_changed(struct ext_half *half, uint32_t slot)
{
	const struct ext_held *held = &half->held[slot];
	uint8_t *scratch = half->exts->scratch;
	struct net_frame net = {
		.bytes = held->changed_bytes,
		.flags = held->flags,
		.l4_offset = held->l4_offset,
		.l4 = held->l4,
		.mss = held->mss,
	};

	if (held->changed_bytes < NET_HEADER_BYTES || held->changed_bytes > vsext_slot_room(slot) ||
	    held->changed_bytes > NET_FRAME_BYTES_MAX) {
		return false;
	}
	memcpy(scratch, half->changed + vsext_slot_offset(slot), held->changed_bytes);
	if (!keeps_tag((const uint8_t *)(slot_at(half, slot) + 1), held->bytes, scratch,
		       held->changed_bytes)) {
		return false;
	}
	counter_add(&half->counters.changed, 1);
	exts_core_go_on(half, &held->core, &net, scratch, NULL);
	return true;
}

/* It has been answered, and it is its turn. */
static void finish(struct ext_half *half, uint32_t slot)
{
	const struct ext_held *held = &half->held[slot];
	bool is_filter = half->ext->hello.kind == VSEXT_FILTER;

	if (held->verdict == VSEXT_PASS) {
		counter_add(&half->counters.passed, 1);
		go_on_unchanged(half, slot, NULL);
	} else if (held->verdict == VSEXT_DROP) {
		counter_add(&half->counters.dropped, 1);
		core_drop_held(half->core, &held->core, DROP_EXT_FILTER);
	} else if (held->verdict == VSEXT_SEND && !is_filter) {
		counter_add(&half->counters.sent, 1);
		go_on_unchanged(half, slot, &held->to);
	} else if (held->verdict != VSEXT_CHANGED || !is_filter || !finish_changed(half, slot)) {
		counter_add(&half->counters.bad, 1);
		fail(half, slot, DROP_EXT_BAD);
	}
}

static uint32_t queue_pop(struct ext_half *half)
{
	uint32_t slot = half->queue[half->queue_head++ & RING_MASK];

	atomic_store_explicit(&half->counters.held, half->queue_tail - half->queue_head,
			      memory_order_relaxed);
	return slot;
}

static bool queue_is_empty(const struct ext_half *half)
{
	return half->queue_head == half->queue_tail;
}

static struct ext_held *queue_first(struct ext_half *half)
{
	return &half->held[half->queue[half->queue_head & RING_MASK]];
}

/* All in front that have been answered. */
static void release_answered(struct ext_half *half)
{
	while (!queue_is_empty(half) && queue_first(half)->state == EXT_SLOT_ANSWERED) {
		uint32_t slot = queue_pop(half);

		finish(half, slot);
		free_slot(half, slot);
	}
}

/* The first one, answered or not. */
static void release_first(struct ext_half *half, enum drop_cause cause)
{
	uint32_t slot = queue_pop(half);

	if (half->held[slot].state == EXT_SLOT_ANSWERED) {
		finish(half, slot);
		free_slot(half, slot);
		return;
	}
	half->held[slot].state = EXT_SLOT_LENT; /* X4 */
	fail(half, slot, cause);
}

static void release_all(struct ext_half *half, enum drop_cause cause)
{
	/* Who goes on may come back here on its way out, behind the last one. */
	for (uint32_t end = half->queue_tail; half->queue_head != end;) {
		release_first(half, cause);
	}
}

/* false: nonsense. */
static bool take_answer(struct ext_half *half, const struct vsext_answer *answer)
{
	struct ext_held *held;

	if (answer->slot >= VSEXT_SLOTS || half->held[answer->slot].seq != answer->seq) {
		return false;
	}
	held = &half->held[answer->slot];
	switch ((enum ext_slot_state)held->state) {
	case EXT_SLOT_HELD:
		held->state = EXT_SLOT_ANSWERED;
		held->verdict = answer->verdict;
		held->changed_bytes = answer->bytes;
		memcpy(&held->to, answer->to, sizeof(held->to));
		return true;
	case EXT_SLOT_LENT:
		free_slot(half, answer->slot);
		return true;
	case EXT_SLOT_FREE:
	case EXT_SLOT_ANSWERED:
	default:
		return false;
	}
}

static void break_off(struct ext_half *half)
{
	counter_add(&half->counters.bad, 1);
	half->is_closing = true;
	release_all(half, DROP_EXT_BAD);
	ext_is_broken(half->ext);
}

/* All that have come. Whether there were any. */
static bool take_answers(struct ext_half *half)
{
	uint32_t produced, count;

	if (half->is_closing) {
		return false;
	}
	/* Pairs with the extension's release. The number is hostile, the answers are. */
	produced = atomic_load_explicit(&half->answers->produced, memory_order_acquire);
	count = produced - half->consumed;
	if (count == 0) {
		return false;
	}
	if (count > half->lent) {
		break_off(half);
		return true;
	}
	for (; count > 0; count--) {
		struct vsext_answer answer;

		memcpy(&answer, &half->answer_ring[half->consumed++ & RING_MASK], sizeof(answer));
		if (!take_answer(half, &answer)) {
			break_off(half);
			return true;
		}
	}
	release_answered(half);
	return true;
}

/* ---- deadlines --------------------------------------------------------------------------------- */

static void suspend(struct ext_half *half, uint64_t now_ns)
{
	half->suspended_until_ns = now_ns + EXT_SUSPENDED_NS;
	atomic_store_explicit(&half->counters.is_suspended, true, memory_order_relaxed);
	release_all(half, DROP_EXT_LATE);
}

static void miss(struct ext_half *half, uint64_t now_ns)
{
	counter_add(&half->counters.late, 1);
	if (half->misses == 0 || now_ns - half->window_ns >= EXT_WINDOW_NS) {
		half->window_ns = now_ns;
		half->misses = 0;
	}
	half->misses++;
	release_first(half, DROP_EXT_LATE);
	if (half->misses >= EXT_MISSES_MAX && half->suspended_until_ns == 0) {
		suspend(half, now_ns);
	}
}

static void arm(struct ext_half *half, uint64_t now_ns)
{
	uint64_t at_ns;

	if (queue_is_empty(half) || half->is_closing) {
		return;
	}
	at_ns = queue_first(half)->deadline_ns;
	loop_timer_arm(&half->timer, at_ns > now_ns ? at_ns - now_ns : 1);
}

static void on_deadline(struct loop_timer *timer)
{
	struct ext_half *half = container_of(timer, struct ext_half, timer);
	uint64_t now_ns = loop_now_ns();

	/* It may be the core that is late. */
	(void)take_answers(half);
	while (!half->is_closing && !queue_is_empty(half) &&
	       queue_first(half)->deadline_ns <= now_ns) {
		if (queue_first(half)->state == EXT_SLOT_ANSWERED) {
			release_answered(half);
		} else {
			miss(half, now_ns);
		}
	}
	release_answered(half);
	arm(half, now_ns);
	ext_half_flush(half);
}

/* ---- asking ------------------------------------------------------------------------------------ */

void ext_half_show(struct ext_half *half, const struct ext_question *question)
{
	uint32_t bytes = question->frame->net.bytes;
	int slot;

	if (half->is_closing) {
		return;
	}
	if (half->ext->hello.snaplen && bytes > half->ext->hello.snaplen) {
		bytes = half->ext->hello.snaplen;
	}
	slot = take_slot(half, bytes);
	if (slot < 0) {
		counter_add(&half->counters.full, 1);
		atomic_store_explicit(&half->asks->lost, ++half->lost, memory_order_relaxed);
		return;
	}
	half->held[slot].state = EXT_SLOT_LENT;
	put(half, (uint32_t)slot, question, bytes);
}

static bool is_suspended(struct ext_half *half, uint64_t now_ns)
{
	if (half->suspended_until_ns == 0) {
		return false;
	}
	if (now_ns < half->suspended_until_ns) {
		return true;
	}
	half->suspended_until_ns = 0;
	half->misses = 0;
	atomic_store_explicit(&half->counters.is_suspended, false, memory_order_relaxed);
	return false;
}

enum ext_answer ext_half_ask(struct ext_half *half, const struct ext_question *question,
			     enum drop_cause *ret_cause)
{
	const struct net_frame *net = &question->frame->net;
	uint64_t now_ns = loop_now_ns();
	int slot;

	if (half->is_closing || is_suspended(half, now_ns)) {
		counter_add(&half->counters.bypassed, 1);
		return fail_now(half, DROP_EXT_LATE, ret_cause);
	}
	slot = take_slot(half, net->bytes);
	if (slot < 0) {
		counter_add(&half->counters.full, 1);
		return fail_now(half, DROP_EXT_FULL, ret_cause);
	}
	half->held[slot] = (struct ext_held){
		.core = question->held,
		.deadline_ns = now_ns + half->ext->rules.deadline_ns,
		.bytes = net->bytes,
		.mss = net->mss,
		.flags =
			net->flags & (uint16_t) ~(NET_FRAME_HEAD | NET_FRAME_HASH | NET_FRAME_VLAN),
		.l4_offset = net->l4_offset,
		.l4 = net->l4,
		.state = EXT_SLOT_HELD,
	};
	put(half, (uint32_t)slot, question, net->bytes);
	half->queue[half->queue_tail++ & RING_MASK] = (uint16_t)slot;
	atomic_store_explicit(&half->counters.held, half->queue_tail - half->queue_head,
			      memory_order_relaxed);
	if (!loop_timer_is_armed(&half->timer)) {
		arm(half, now_ns);
	}
	return EXT_TAKEN;
}

void ext_half_flush(struct ext_half *half)
{
	uint32_t sleep;

	if (!half->is_dirty) {
		return;
	}
	half->is_dirty = false;
	/* Pairs with the extension's: it says that it sleeps, then looks once more. */
	atomic_thread_fence(memory_order_seq_cst);
	sleep = atomic_load_explicit(&half->answers->sleeping, memory_order_relaxed);
	if (sleep != 0 && sleep != half->rung_for) {
		half->rung_for = sleep;
		/* Full: it has been rung for often enough. Gone: the control loop hears of it. */
		(void)!send(half->bell, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

/* ---- matching ---------------------------------------------------------------------------------- */

/* Whether the frame may be of this protocol and port: what cannot be read may. */
static bool wants_l4(const struct vsext_hello *hello, const struct vframe *frame)
{
	const struct vframe_key *key = &frame->key;
	bool is_hidden = (key->flags & VKEY_TRUNCATED) != 0;

	if (key->ip_version == 0) {
		return is_hidden &&
		       (key->ethertype == ETHER_TYPE_IPV4 || key->ethertype == ETHER_TYPE_IPV6);
	}
	if (hello->match & VSEXT_MATCH_PROTOCOL && key->protocol != hello->protocol && !is_hidden) {
		return false;
	}
	return !(hello->match & VSEXT_MATCH_L4_PORT) || is_hidden || !(key->flags & VKEY_L4) ||
	       key->port_from == hello->l4_port || key->port_to == hello->l4_port;
}

bool ext_half_wants(const struct ext_half *half, const struct vframe *frame, uint16_t port,
		    bool is_out)
{
	const struct vsext_hello *hello = &half->ext->hello;
	uint16_t match = hello->match;

	if (hello->kind != VSEXT_FORWARD &&
	    !(hello->directions & (is_out ? VSEXT_OUT : VSEXT_IN))) {
		return false;
	}
	if (match == 0) {
		return true;
	}
	if (match & VSEXT_MATCH_PORT && !port_set_has(&half->ports, port)) {
		return false;
	}
	if (match & VSEXT_MATCH_VLAN && frame->vlan != hello->vlan) {
		return false;
	}
	if (match & VSEXT_MATCH_ETHERTYPE && frame->key.ethertype != hello->ethertype) {
		return false;
	}
	if (match & VSEXT_MATCH_TO && memcmp(frame->key.to, hello->to, sizeof(hello->to)) != 0) {
		return false;
	}
	return !(match & (VSEXT_MATCH_PROTOCOL | VSEXT_MATCH_L4_PORT)) || wants_l4(hello, frame);
}

/* ---- the loop ---------------------------------------------------------------------------------- */

static bool on_poll(struct loop_poller *poller)
{
	struct ext_half *half = container_of(poller, struct ext_half, poller);
	bool any = take_answers(half);

	if (any) {
		half->rung = 0;
		atomic_store_explicit(&half->asks->sleeping, 0, memory_order_relaxed);
		ext_half_flush(half);
	}
	return any;
}

static bool on_arm(struct loop_poller *poller)
{
	struct ext_half *half = container_of(poller, struct ext_half, poller);

	if (half->is_closing) {
		return false;
	}
	half->sleeps += half->sleeps == UINT32_MAX ? 2 : 1;
	atomic_store_explicit(&half->asks->sleeping, half->sleeps, memory_order_relaxed);
	/* Pairs with the extension's: it answers, then looks whether we sleep. */
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit(&half->answers->produced, memory_order_relaxed) !=
	       half->consumed;
}

static const struct loop_poller_ops poller_ops = {
	.poll = on_poll,
	.arm = on_arm,
};

/* The poller does the work. Who rings on and on without an answer is only a nuisance. */
static void on_bell(struct loop_watch *watch, uint32_t poll_events)
{
	struct ext_half *half = container_of(watch, struct ext_half, watch);
	uint64_t now_ns = loop_now_ns();
	uint8_t bytes[BELL_BYTES];

	(void)poll_events;
	for (unsigned int i = 0;
	     i < BELL_READS && recv(half->bell, bytes, sizeof(bytes), MSG_DONTWAIT) > 0; i++) {}
	if (now_ns - half->rung_ns >= RUNG_WINDOW_NS) {
		half->rung_ns = now_ns;
		half->rung = 0;
	}
	if (++half->rung >= RUNG_IN_VAIN && !half->is_closing) {
		break_off(half);
	}
}

int ext_half_open(struct ext_half *half, struct core *core)
{
	int err = loop_watch_start(core_loop(core), &half->watch, half->bell, POLLIN, on_bell);

	if (err) {
		return err;
	}
	half->core = core;
	half->poller.ops = &poller_ops;
	loop_poller_add(core_loop(core), &half->poller);
	loop_timer_init(&half->timer, core_loop(core), on_deadline);
	exts_core_add(half->exts, half);
	return 0;
}

void ext_half_close(struct ext_half *half)
{
	if (!half->core) {
		return;
	}
	half->is_closing = true;
	/* Its place in the chain says who comes behind it. */
	release_all(half, DROP_EXT_LATE);
	exts_core_remove(half->exts, half);
	loop_watch_stop(&half->watch);
	loop_timer_cancel(&half->timer);
	loop_poller_remove(core_loop(half->core), &half->poller);
	half->core = NULL;
}

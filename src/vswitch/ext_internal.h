/* SPDX-License-Identifier: MIT */
/* What the files of the switch's side of extensions share (ext.h). */
#pragma once

#include "base/counter.h"
#include "base/list.h"
#include "loop/listener.h"
#include "vswitch/ext.h"
#include "vswitch/frame.h"

/* ---- messages (ext_wire.c): pure ---- */

/* HELLO, checked: 0; -EPROTO and a sentence. */
MUST_CHECK int ext_parse_hello(const void *buf, size_t bytes, struct vsext_hello *ret,
			       struct diag *reterr);

/* ---- one extension on one core (ext_half.c): the core's loop ---- */

enum ext_slot_state {
	EXT_SLOT_FREE,
	EXT_SLOT_HELD,     /* in the queue, not answered */
	EXT_SLOT_ANSWERED, /* in the queue, behind one that is not */
	EXT_SLOT_LENT,     /* not in the queue (X4) */
};

/* What must be known of a slot's frame. Not in shared memory. */
struct ext_held {
	struct core_held core;
	uint64_t deadline_ns;
	uint32_t seq;
	uint32_t bytes, mss;
	uint16_t flags, l4_offset;
	uint8_t l4;
	uint8_t state; /* enum ext_slot_state */
	uint8_t verdict;
	uint32_t changed_bytes;
	port_set to;
};

/* What ext list shows. */
struct ext_counters {
	counter_u64 asked, passed, dropped, changed, sent, full, late, bypassed, bad, held;
	_Atomic(bool) is_suspended;
};

struct ext_half {
	struct ext *ext;
	struct core *core;      /* NULL: not attached */
	struct exts_core *exts; /* its place */
	bool is_closing;        /* asks nothing any more */
	bool is_dirty;          /* something was asked: see whether it must be woken */

	/* shared memory */
	struct vsext_asks *asks;
	struct vsext_ask *ask_ring;
	uint8_t *slots;
	struct vsext_answers *answers; /* the extension's: hostile */
	const struct vsext_answer *answer_ring;
	const uint8_t *changed;
	int bell; /* our end of the doorbell */

	/* our own */
	uint32_t produced, consumed, seq;
	uint32_t sleeps, rung_for; /* numbers: ours, and the extension's that was rung for */
	uint32_t lent;             /* slots that are not free */
	uint64_t lost;
	struct ext_held held[VSEXT_SLOTS];
	uint16_t small[VSEXT_SMALL], large[VSEXT_LARGE]; /* free slots */
	uint32_t small_count, large_count;
	uint16_t queue[VSEXT_RING]; /* held slots in the order of asking (X3) */
	uint32_t queue_head, queue_tail;
	uint64_t suspended_until_ns; /* 0: it is asked */
	uint64_t window_ns;          /* when misses began to be counted */
	unsigned int misses;

	port_set ports;   /* that hello.match is about; the control loop sets it */
	uint64_t rung_ns; /* when its ringing in vain began to be counted */
	unsigned int rung;
	struct loop_poller poller;
	struct loop_watch watch;
	struct loop_timer timer; /* the first deadline */
	struct ext_counters counters;
};

/* What is asked about a frame. */
struct ext_question {
	const struct vframe *frame;
	struct core_held held;
	uint16_t port;
	bool is_out;
	enum drop_cause dropped; /* capture: DROP_NONE, or why it is shown again */
};

/* All slots free; memory, descriptors and ext are set. */
void ext_half_init(struct ext_half *half);

/* On the core: -ENOMEM. Then it may be asked. */
MUST_CHECK int ext_half_open(struct ext_half *half, struct core *core);

/* What was held goes on by the rules, and nothing is called any more. No-op when it is not open. */
void ext_half_close(struct ext_half *half);

/* Shows a frame to a capture: never waits, counts what is lost. */
void ext_half_show(struct ext_half *half, const struct ext_question *question);

/* EXT_TAKEN, or what the rules say at once: EXT_PASS, EXT_DROP. */
enum ext_answer ext_half_ask(struct ext_half *half, const struct ext_question *question,
			     enum drop_cause *ret_cause);

/* The round ends: wakes it, if it sleeps. */
void ext_half_flush(struct ext_half *half);

/* Whether hello.match fits. */
bool ext_half_wants(const struct ext_half *half, const struct vframe *frame, uint16_t port,
		    bool is_out);

/* ---- all extensions on one core (ext_core.c): the core's loop ---- */

struct exts_core {
	struct ext_half *captures[EXTS_MAX], *filters[EXTS_MAX]; /* filters: in order of position */
	unsigned int capture_count, filter_count;
	struct ext_half *forward;
	/* a frame that goes on: its iovecs with room for a head, and what it says */
	struct iovec iov[4];
	struct vframe frame;
	uint8_t *scratch; /* NET_FRAME_BYTES_MAX: bytes that an extension has changed */
};

/*
 * A frame that half has let pass: the filters behind it are asked, then it goes on in the pipeline.
 * net: what it says, without iovecs; bytes: net->bytes of them, still for the call.
 */
void exts_core_go_on(struct ext_half *half, const struct core_held *held,
		     const struct net_frame *net, const uint8_t *bytes, const port_set *to);

void exts_core_add(struct exts_core *exts, struct ext_half *half);
void exts_core_remove(struct exts_core *exts, struct ext_half *half);

/* ---- one extension (ext.c): the control loop ---- */

struct ext {
	struct exts *exts;
	struct list link;
	int fd;
	uid_t uid;
	pid_t pid;
	bool has_hello;
	struct vsext_hello hello; /* immutable once halves are open */
	struct ext_rules rules;
	struct loop_watch watch;
	struct loop_timer timer;      /* until HELLO */
	struct loop_work broken_work; /* posted by cores */
	struct ext_half *halves[VSWITCH_CORES_MAX];
	void *asks, *answers; /* mapped */
	size_t asks_bytes, answers_bytes;
	struct vsext_port told[VSWITCH_PORTS_MAX]; /* what it knows */
	bool must_tell;                            /* its socket was full */
};

struct exts {
	struct exts_config config;
	struct listener listener;
	struct list list; /* struct ext, filters in order */
	unsigned int count;
	bool is_stopped;
	struct loop_work stages_work;
	struct vsext_port ports[VSWITCH_PORTS_MAX];
	struct exts_core cores[VSWITCH_CORES_MAX];
};

/* Any core: it spoke nonsense and is removed soon. */
void ext_is_broken(struct ext *ext);

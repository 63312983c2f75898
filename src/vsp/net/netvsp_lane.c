/* SPDX-License-Identifier: MIT */
#include "vsp/net/netvsp_lane.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/num.h"
#include "vsp/net/netvsp_internal.h"

#define MASK       (NETVSP_LANE_PIECES - 1)
#define LINE_BYTES 64
#define AHEAD      8U /* granted pieces, whose first lines are fetched */

struct net_lane {
	/* constant */
	struct netvsp_queue *queue; /* V5 */
	struct loop *loop, *from;   /* the queue's, the sender's */
	struct net_lane *next;      /* the queue's list */
	bool is_fenced;             /* V1 without membarrier(2) */

	/*
	 * Lines, by who writes them: what is written for each frame is on none that the other side looks
	 * at for each.
	 */
	/* the sender's own, but while the lane is shut */
	_Alignas(LINE_BYTES) _Atomic(bool) is_busy;
	bool has_news;         /* since the last flush */
	uint32_t granted_seen; /* granted_put */
	counter_u64 refused;
	/* the sender's, for the queue */
	_Alignas(LINE_BYTES) _Atomic(uint32_t) filled_put;
	_Atomic(uint32_t) granted_taken;
	_Atomic(bool) is_wanted; /* the queue takes it away */

	/* the queue's: what seldom changes. Of the view, while it is shut (V1) */
	_Alignas(LINE_BYTES) _Atomic(bool) is_open;
	_Atomic(bool) is_dry; /* the guest has had all pieces for a while */
	bool has_hash;
	uint32_t frame_max, coalesced_pieces;
	struct netvsp_recv recv;
	/* and what often does */
	_Alignas(LINE_BYTES) _Atomic(uint32_t) granted_put;
	_Atomic(uint32_t) filled_taken;
	uint32_t filled_seen; /* filled_put */
	uint64_t passed;      /* V4 */
	uint32_t target;      /* so many pieces are granted */
	uint32_t seen;        /* filled_put, when the timer looked last */
	bool was_dry;         /* it wanted more since the last grant */
	uint64_t dry_ns;      /* since when there is no piece to grant; 0: there was one */

	struct loop_work wake; /* the queue's loop: there is something */
	struct loop_work let_go, gone;
	struct loop_work *done;

	_Alignas(LINE_BYTES) uint32_t granted[NETVSP_LANE_PIECES];
	struct netvsp_filled filled[NETVSP_LANE_PIECES];
};

/* ---- V1 ------------------------------------------------------------------------------------------ */

/*
 * A full barrier of the sender's for each frame would wait until its copy, into lines that the guest has
 * had last, is done. So whoever shuts the lane makes one on all processors that run this process.
 */
static bool barrier_is_there(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

static void barrier_everywhere(void)
{
	check(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0);
}

/* Whether the lane is open, and then stays so until leave(). */
static bool enter(struct net_lane *lane)
{
	if (__builtin_expect(lane->is_fenced, 0)) {
		atomic_store_explicit(&lane->is_busy, true, memory_order_seq_cst);
		return atomic_load_explicit(&lane->is_open, memory_order_seq_cst);
	}
	atomic_store_explicit(&lane->is_busy, true, memory_order_relaxed);
	/* Pairs with barrier_everywhere() in close_gate(): the processor is told there. */
	atomic_signal_fence(memory_order_seq_cst);
	return atomic_load_explicit(&lane->is_open, memory_order_acquire);
}

static void leave(struct net_lane *lane)
{
	atomic_store_explicit(&lane->is_busy, false, memory_order_release);
}

/* The queue: nobody is inside, nor will be. A frame is being copied at most. */
static void close_gate(struct net_lane *lane)
{
	atomic_store_explicit(&lane->is_open, false, memory_order_seq_cst);
	if (!lane->is_fenced) {
		barrier_everywhere();
	}
	while (atomic_load_explicit(&lane->is_busy, memory_order_seq_cst)) {
		sched_yield();
	}
}

/* ---- the sender ---------------------------------------------------------------------------------- */

/* How many pieces a frame takes; 0: the guest does not take it. */
static uint32_t pieces_for(const struct net_lane *lane, const struct net_frame *frame)
{
	uint32_t pieces = netvsp_frame_pieces(&lane->recv, frame->bytes);

	if (frame->bytes < NET_HEADER_BYTES) {
		return 0;
	}
	if (frame->flags & NET_FRAME_COALESCED) {
		return pieces <= lane->coalesced_pieces ? pieces : 0;
	}
	return frame->bytes <= lane->frame_max && pieces == 1 ? 1 : 0;
}

/* The guest has looked at a piece last: the first lines of one that is soon to be filled. */
static void fetch_ahead(const struct net_lane *lane, uint32_t taken)
{
	if (lane->granted_seen - taken > AHEAD) {
		netvsp_fetch_piece(&lane->recv, lane->granted[(taken + AHEAD) & MASK]);
	}
}

/* How many granted pieces are left; looks at the queue's line only when there are too few. */
static uint32_t left(struct net_lane *lane, uint32_t taken, uint32_t wanted)
{
	if (lane->granted_seen - taken < wanted) {
		/* Pairs with the release in grant(). */
		lane->granted_seen = atomic_load_explicit(&lane->granted_put, memory_order_acquire);
	}
	return lane->granted_seen - taken;
}

/* The lane is open and stays so. */
static int fill(struct net_lane *lane, const struct net_frame *frame, uint64_t run)
{
	uint32_t put = atomic_load_explicit(&lane->filled_put, memory_order_relaxed);
	uint32_t taken = atomic_load_explicit(&lane->granted_taken, memory_order_relaxed);
	uint32_t pieces = pieces_for(lane, frame);
	struct netvsp_source source = { .iov = frame->iov };

	if (pieces == 0 || left(lane, taken, pieces) < pieces) {
		return -ENOBUFS;
	}
	for (uint32_t i = 0; i < pieces; i++) {
		struct netvsp_filled *filled = &lane->filled[(put + i) & MASK];
		uint32_t piece = lane->granted[(taken + i) & MASK];

		fetch_ahead(lane, taken + i);
		struct netvsp_range range =
			netvsp_fill_piece(&lane->recv, piece, frame, lane->has_hash, &source);

		filled->piece = piece;
		filled->offset = range.offset;
		filled->bytes = range.bytes;
		if (i == 0) {
			filled->pieces = pieces;
			filled->frame_bytes = frame->bytes;
			filled->run = run;
			netvsp_destination(frame, filled->to);
		}
	}
	atomic_store_explicit(&lane->granted_taken, taken + pieces, memory_order_relaxed);
	/* Pairs with the acquire in drain(): the frame is whole. */
	atomic_store_explicit(&lane->filled_put, put + pieces, memory_order_release);
	return 0;
}

int netvsp_lane_deliver(struct net_lane *lane, const struct net_frame *frame, uint64_t run)
{
	int err = -ENOBUFS;

	if (enter(lane)) {
		err = fill(lane, frame, run);
	}
	leave(lane);
	if (!err) {
		lane->has_news = true;
		return 0;
	}
	counter_add(&lane->refused, 1);
	if (!atomic_load_explicit(&lane->is_wanted, memory_order_relaxed)) {
		atomic_store_explicit(&lane->is_wanted, true, memory_order_release);
		lane->has_news = true;
	}
	return atomic_load_explicit(&lane->is_dry, memory_order_relaxed) ? -ENOSPC : err;
}

void netvsp_lane_flush(struct net_lane *lane)
{
	if (lane->has_news) {
		lane->has_news = false;
		loop_post(lane->loop, &lane->wake);
	}
}

/* ---- the queue: granting ------------------------------------------------------------------------- */

/* A lane's fair share: half of the queue's pieces are its own back end's always. */
static uint32_t share(const struct netvsp_queue *queue)
{
	uint32_t pieces = queue->pool.owned / (2 * queue->lane_count);

	return (uint32_t)num_min(pieces, NETVSP_LANE_PIECES);
}

static uint32_t out(const struct net_lane *lane)
{
	return atomic_load_explicit(&lane->granted_put, memory_order_relaxed) -
	       atomic_load_explicit(&lane->filled_taken, memory_order_relaxed);
}

static void grant(struct net_lane *lane)
{
	struct netvsp_queue *queue = lane->queue;
	const uint32_t reserve = netvsp_reserve(queue),
		       max = (uint32_t)num_min(lane->target, share(queue));
	uint32_t put = atomic_load_explicit(&lane->granted_put, memory_order_relaxed), first = put;

	for (uint32_t n = out(lane); n < max && queue->pool.count > reserve; n++) {
		uint32_t piece = queue->pool.free[--queue->pool.count];

		queue->view->recv.state[piece] = PIECE_LANE;
		lane->granted[put++ & MASK] = piece;
	}
	if (put != first) {
		counter_add(&queue->counters.lane_granted, put - first);
		/* Pairs with the acquire in fill(). */
		atomic_store_explicit(&lane->granted_put, put, memory_order_release);
	}
}

static void open_lane(struct net_lane *lane)
{
	struct netvsp_queue *queue = lane->queue;
	const struct netvsp_view *view = queue->view;

	if (!queue->channel || !view->recv.buffer.gpadl || !view->operational || queue->paused ||
	    queue->is_held) {
		return;
	}
	lane->recv = view->recv;
	lane->frame_max = view->config.mtu + NET_HEADER_BYTES + 4;
	lane->coalesced_pieces = view->has_rsc ? view->ranges_max : 0;
	lane->has_hash = view->config.rss.is_on;
	lane->target = NETVSP_LANE_GRANT;
	atomic_store_explicit(&lane->is_open, true, memory_order_seq_cst);
	if (!loop_timer_is_armed(&queue->lane_timer)) {
		loop_timer_arm(&queue->lane_timer, NETVSP_LANE_IDLE_NS);
	}
}

static bool is_open(const struct net_lane *lane)
{
	return atomic_load_explicit(&lane->is_open, memory_order_relaxed);
}

/* It tells the sender not to try another way either. Others' pieces come back in time, mostly. */
static void set_dry(struct net_lane *lane, bool has_none)
{
	bool is_dry = false;

	if (!has_none) {
		lane->dry_ns = 0;
	} else if (lane->dry_ns == 0) {
		lane->dry_ns = loop_now_ns();
	} else {
		is_dry = loop_now_ns() - lane->dry_ns > NETVSP_LANE_DRY_NS;
	}
	if (atomic_load_explicit(&lane->is_dry, memory_order_relaxed) != is_dry) {
		atomic_store_explicit(&lane->is_dry, is_dry, memory_order_relaxed);
	}
}

/* More, when it wants them, or has used most of what it had. */
static void refill(struct net_lane *lane)
{
	bool is_wanted = atomic_load_explicit(&lane->is_wanted, memory_order_acquire);

	if (!is_open(lane)) {
		if (is_wanted) {
			open_lane(lane);
		}
		if (!is_open(lane)) {
			return;
		}
	} else if (is_wanted && !lane->was_dry) {
		lane->target = (uint32_t)num_min(2 * lane->target, NETVSP_LANE_PIECES);
	}
	lane->was_dry = is_wanted;
	uint32_t left = atomic_load_explicit(&lane->granted_put, memory_order_relaxed) -
			atomic_load_explicit(&lane->granted_taken, memory_order_relaxed);

	if (is_wanted || left < NETVSP_LANE_GRANT) {
		uint32_t before = out(lane);

		grant(lane);
		if (is_wanted && out(lane) != before) {
			lane->was_dry = false;
			atomic_store_explicit(&lane->is_wanted, false, memory_order_release);
		}
		set_dry(lane, is_wanted && out(lane) == before &&
				      lane->queue->pool.count <= netvsp_reserve(lane->queue));
	}
}

/* ---- the queue: taking --------------------------------------------------------------------------- */

/* The next piece of the frame at hand. */
static const struct netvsp_filled *next_filled(void *ctx)
{
	struct net_lane *lane = ctx;
	uint32_t taken = atomic_load_explicit(&lane->filled_taken, memory_order_relaxed) + 1;

	atomic_store_explicit(&lane->filled_taken, taken, memory_order_relaxed);
	return &lane->filled[taken & MASK];
}

/* Whole frames, as far as there is room in the ring. Whether none is left of those that may pass. */
static bool drain(struct net_lane *lane)
{
	struct netvsp_queue *queue = lane->queue;

	for (;;) {
		uint32_t taken = atomic_load_explicit(&lane->filled_taken, memory_order_relaxed);
		const struct netvsp_filled *filled = &lane->filled[taken & MASK];

		if (taken == lane->filled_seen) {
			/* Pairs with the release in fill(). */
			lane->filled_seen =
				atomic_load_explicit(&lane->filled_put, memory_order_acquire);
		}
		if (taken == lane->filled_seen || filled->run > lane->passed) {
			return true; /* V4 */
		}
		if (!queue->channel || netvsp_rx_is_stopped(queue) ||
		    netvsp_rx_filled(queue, filled, next_filled, lane)) {
			return false;
		}
		(void)next_filled(lane); /* past its last */
	}
}

bool netvsp_lane_pass(struct net_lane *lane, uint64_t run)
{
	bool is_empty;

	if (run > lane->passed) {
		lane->passed = run;
	}
	is_empty = drain(lane);
	refill(lane);
	return is_empty;
}

static void flush_later(struct netvsp_queue *queue)
{
	if (queue->batch.ranges && !netvsp_rx_is_stopped(queue)) {
		loop_defer(queue->loop, &queue->go_on);
	}
}

static void on_wake(struct loop_work *work)
{
	struct net_lane *lane = container_of(work, struct net_lane, wake);

	if (lane->done) {
		return; /* it is cut */
	}
	(void)drain(lane);
	refill(lane);
	if (lane->queue->channel && !netvsp_rx_is_stopped(lane->queue)) {
		(void)netvsp_rx_flush(lane->queue); /* no room: writable() goes on */
	}
}

void netvsp_lanes_go_on(struct netvsp_queue *queue)
{
	for (struct net_lane *lane = queue->lanes; lane; lane = lane->next) {
		(void)drain(lane);
		refill(lane);
	}
	flush_later(queue);
}

/* ---- the queue: shutting ------------------------------------------------------------------------- */

static uint32_t put_of(const struct net_lane *lane)
{
	return atomic_load_explicit(&lane->filled_put, memory_order_relaxed);
}

static void give_back(struct netvsp_queue *queue, uint32_t piece)
{
	netvsp_piece_use(queue, piece);
	netvsp_pieces_put_back(queue, piece);
}

/* Nothing of the lane's touches the buffer any more, and all its pieces are the queue's. */
static void shut(struct net_lane *lane)
{
	struct netvsp_queue *queue = lane->queue;
	uint32_t at, put, taken;

	if (!is_open(lane)) {
		return;
	}
	close_gate(lane);
	(void)drain(lane);
	flush_later(queue);
	set_dry(lane, false);
	put = atomic_load_explicit(&lane->filled_put, memory_order_acquire);
	taken = atomic_load_explicit(&lane->filled_taken, memory_order_relaxed);
	for (at = taken; at != put; at++) {
		give_back(queue, lane->filled[at & MASK].piece);
	}
	if (put != taken) {
		counter_add(&queue->counters.rx_lost, put - taken);
	}
	atomic_store_explicit(&lane->filled_taken, put, memory_order_relaxed);
	/* What was granted and not used is taken back from the end of the ring. */
	put = atomic_load_explicit(&lane->granted_put, memory_order_relaxed);
	taken = atomic_load_explicit(&lane->granted_taken, memory_order_acquire);
	for (at = taken; at != put; at++) {
		give_back(queue, lane->granted[at & MASK]);
	}
	atomic_store_explicit(&lane->granted_put, taken, memory_order_relaxed);
	lane->granted_seen = taken; /* the sender comes back behind open_lane() */
	lane->filled_seen = put_of(lane);
}

void netvsp_lanes_shut(struct netvsp_queue *queue)
{
	for (struct net_lane *lane = queue->lanes; lane; lane = lane->next) {
		if (is_open(lane)) {
			shut(lane);
			/* Whoever is busy goes on as soon as it can. */
			atomic_store_explicit(&lane->is_wanted, true, memory_order_release);
		}
	}
}

/* One that has brought nothing since the last time gives its pieces back. */
static void on_timer(struct loop_timer *timer)
{
	struct netvsp_queue *queue = container_of(timer, struct netvsp_queue, lane_timer);
	bool any = false;

	for (struct net_lane *lane = queue->lanes; lane; lane = lane->next) {
		uint32_t put = atomic_load_explicit(&lane->filled_put, memory_order_relaxed);

		if (is_open(lane) && put == lane->seen) {
			shut(lane);
		}
		lane->seen = put;
		any |= is_open(lane);
	}
	if (any) {
		loop_timer_arm(timer, NETVSP_LANE_IDLE_NS);
	}
}

/* ---- life ---------------------------------------------------------------------------------------- */

/* The queue's loop: the sender has let go. */
static void on_gone(struct loop_work *work)
{
	struct net_lane *lane = container_of(work, struct net_lane, gone);

	loop_cancel(lane->loop, &lane->wake);
	loop_post(lane->loop, lane->done);
	free(lane);
}

/* The sender's loop. */
static void on_let_go(struct loop_work *work)
{
	struct net_lane *lane = container_of(work, struct net_lane, let_go);

	loop_post(lane->loop, &lane->gone);
}

int netvsp_lane_create(struct net_front *front, struct loop *from, struct net_lane **ret)
{
	struct netvsp_queue *queue = container_of(front, struct netvsp_queue, front);
	struct net_lane *lane;

	if (queue->lane_count == NETVSP_LANES_MAX) {
		return -ENOSPC;
	}
	if (fault_point() || posix_memalign((void **)&lane, LINE_BYTES, sizeof(*lane))) {
		return -ENOMEM;
	}
	memset(lane, 0, sizeof(*lane));
	lane->queue = queue;
	lane->loop = queue->loop;
	lane->from = from;
	lane->is_fenced = !barrier_is_there();
	loop_work_init(&lane->wake, on_wake);
	loop_work_init(&lane->let_go, on_let_go);
	loop_work_init(&lane->gone, on_gone);
	lane->next = queue->lanes;
	queue->lanes = lane;
	queue->lane_count++;
	*ret = lane;
	return 0;
}

void netvsp_lane_cut(struct net_lane *lane, struct loop_work *done)
{
	struct netvsp_queue *queue = lane->queue;
	struct net_lane **at = &queue->lanes;

	shut(lane);
	counter_add(&queue->counters.lane_refused, counter_read(&lane->refused));
	while (*at != lane) {
		at = &(*at)->next;
	}
	*at = lane->next;
	queue->lane_count--;
	lane->done = done;
	loop_post(lane->from, &lane->let_go);
}

void netvsp_lanes_init(struct netvsp_queue *queue)
{
	loop_timer_init(&queue->lane_timer, queue->loop, on_timer);
}

uint64_t netvsp_lanes_refused(const struct netvsp_queue *queue)
{
	uint64_t refused = counter_read(&queue->counters.lane_refused);

	for (const struct net_lane *lane = queue->lanes; lane; lane = lane->next) {
		refused += counter_read(&lane->refused);
	}
	return refused;
}

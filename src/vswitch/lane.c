/* SPDX-License-Identifier: MIT */
/*
 * Frames for a guest's queue on another core: copied straight into its memory by a lane of its front
 * end's (net/net.h) where that has room, else handed over by the ring.
 *
 *   sender's core                                     the end's core
 *     no lane ─── ask ──────────────────────────────► port_lanes_make()
 *     a run of frames by the lane ──────────────────►  taken as they come
 *       no room in it: the run ends
 *     frames by the ring ═══════════════════════════►  what is in the lane first, then the frame
 *       the lane takes one again:
 *     "run n may pass", by the ring ════════════════►  lane_pass(n)
 *     run n by the lane ────────────────────────────►  waits for that
 *
 * So frames of one core for one end arrive in the order in which they were sent, by whichever way. A lane
 * is asked for by the first frame that would go by it; it may be refused (no memory), and then all go by
 * the ring.
 *
 * Short frames go by the ring by choice: what a lane fills are lines that the receiver's processor has
 * looked at last, in another place for each frame, and fetching them takes longer than one more copy out
 * of a ring that lies in one piece. They ride along where a longer one has gone by the lane in this round.
 *
 *   thread  the sender's core, the end's: each function says which
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "vswitch/core_internal.h"

#define LANE_BYTES_MIN 1024U

/* ---- the sender's core ------------------------------------------------------------------------- */

static void ask(struct port_end *end, struct port_lane *way)
{
	if (!atomic_load_explicit(&way->is_asked, memory_order_relaxed)) {
		atomic_store_explicit(&way->is_asked, true, memory_order_relaxed);
		loop_post(end->core->loop, &end->ask);
	}
}

static void mark_dirty(struct core *core, struct port_lane *way)
{
	if (list_is_empty(&way->dirty)) {
		list_append(&core->dirty_lanes, &way->dirty);
		core_touch(core);
	}
}

/* A new run, behind frames that are in the ring. */
static int begin_run(struct core *core, struct port_end *end, struct port_lane *way,
		     struct net_lane *lane, const struct net_frame *net)
{
	struct hand_ring *ring = core->hand_out[end->core->index];
	uint64_t run = core->runs + 1;
	int err;

	if (!hand_can_pass(ring)) {
		return -ENOBUFS;
	}
	err = way->ops->lane_deliver(lane, net, run);
	if (err) {
		return err;
	}
	core->runs = way->run = run;
	way->is_between = false;
	check(hand_put_pass(ring, end->port, end->queue, run));
	return 0;
}

/* As lane_deliver(). */
static int send_by_lane(struct core *core, struct port_end *end, struct port_lane *way,
			const struct net_frame *net)
{
	/* L2. Pairs with the release in make(). */
	struct net_lane *lane = atomic_load_explicit(&way->lane, memory_order_acquire);

	if (!lane) {
		ask(end, way);
		return -ENOBUFS;
	}
	mark_dirty(core, way);
	return way->is_between ? begin_run(core, end, way, lane, net)
			       : way->ops->lane_deliver(lane, net, way->run);
}

void lane_put(struct core *core, struct port_slot *slot, struct port_end *end,
	      const struct net_frame *net)
{
	struct port_lane *way = &end->lanes[core->index];
	bool rides_along = !way->is_between && !list_is_empty(&way->dirty);
	int err = -ENOBUFS;

	if (net->bytes >= LANE_BYTES_MIN || rides_along) {
		err = send_by_lane(core, end, way, net);
	}
	if (!err) {
		count_delivered(slot, net);
		counter_add(&core->counters.lane_frames, 1);
	} else if (err == -ENOSPC) {
		core_drop(core, end->port, DROP_NO_BUFFER);
	} else {
		way->is_between = true;
		if (!core_hand_over(core, end->core->index, end->port, end->queue, way->run, net)) {
			core_drop(core, end->port, DROP_NO_LANE);
		}
	}
}

void core_flush_lanes(struct core *core)
{
	while (!list_is_empty(&core->dirty_lanes)) {
		struct port_lane *way = list_first(&core->dirty_lanes, struct port_lane, dirty);
		struct net_lane *lane = atomic_load_explicit(&way->lane, memory_order_acquire);

		list_remove(&way->dirty);
		if (lane) {
			way->ops->lane_flush(lane);
		}
	}
}

/* ---- the end's core ---------------------------------------------------------------------------- */

/* The lane is this loop's to change. */
static struct net_lane *lane_of(const struct port_lane *way)
{
	return atomic_load_explicit(&way->lane, memory_order_relaxed);
}

bool lane_pass(struct core *core, struct port_end *end, unsigned int from, uint64_t run)
{
	const struct port_lane *way = &end->lanes[from];
	struct net_lane *lane = lane_of(way);

	if (!lane) {
		return true;
	}
	core_mark_dirty(core, end);
	return way->ops->lane_pass(lane, run);
}

/* L1 */
static bool is_in_view(const struct port_end *end)
{
	const struct port_view *view = end->core->ports[end->port].view;

	return view && view->core_of[end->queue] == end->core->index &&
	       view->ends[end->queue] == end;
}

/* No memory: it stays asked for, and is tried again with the next view. */
static void make(struct port_end *end, struct port_lane *way, struct loop *from)
{
	struct net_front *front = end->net->front;
	struct net_lane *lane;

	if (front->ops->lane_create(front, from, &lane)) {
		return;
	}
	way->ops = front->ops;
	atomic_store_explicit(&way->is_asked, false, memory_order_relaxed);
	/* Pairs with the acquire in send_by_lane(). */
	atomic_store_explicit(&way->lane, lane, memory_order_release);
}

void port_lanes_make(struct port_end *end)
{
	if (!end->lanes || end->is_leaving || !end->net->front ||
	    !end->net->front->ops->lane_create || !is_in_view(end)) {
		return;
	}
	for (unsigned int i = 0; i < end->core->cores; i++) {
		struct port_lane *way = &end->lanes[i];

		if (!lane_of(way) && !way->is_going &&
		    atomic_load_explicit(&way->is_asked, memory_order_relaxed)) {
			make(end, way, end->vswitch->cores[i]->loop);
		}
	}
}

static void on_ask(struct loop_work *work)
{
	port_lanes_make(container_of(work, struct port_end, ask));
}

static void on_gone(struct loop_work *work)
{
	struct port_lane *way = container_of(work, struct port_lane, gone);
	struct port_end *end = way->end;

	way->is_going = false;
	end->lanes_going--;
	if (end->has_left && end->lanes_going == 0) {
		port_end_left(end);
		return;
	}
	port_lanes_make(end);
}

void port_lanes_cut(struct port_end *end)
{
	for (unsigned int i = 0; end->lanes && i < end->core->cores; i++) {
		struct port_lane *way = &end->lanes[i];
		struct net_lane *lane = lane_of(way);

		if (lane) {
			/* L2: before anything is posted to the sender's loop. */
			atomic_store_explicit(&way->lane, NULL, memory_order_release);
			way->is_going = true;
			end->lanes_going++;
			way->ops->lane_cut(lane, &way->gone);
		}
	}
}

/* ---- life -------------------------------------------------------------------------------------- */

int port_lanes_create(struct port_end *end)
{
	const unsigned int cores = end->vswitch->config.core_count;

	if (cores == 1) {
		return 0;
	}
	end->lanes = fault_point() ? NULL : aligned_alloc(64, cores * sizeof(*end->lanes));
	if (!end->lanes) {
		return -ENOMEM;
	}
	memset(end->lanes, 0, cores * sizeof(*end->lanes));
	loop_work_init(&end->ask, on_ask);
	for (unsigned int i = 0; i < cores; i++) {
		end->lanes[i].end = end;
		list_init(&end->lanes[i].dirty);
		loop_work_init(&end->lanes[i].gone, on_gone);
	}
	return 0;
}

void port_lanes_destroy(struct port_end *end)
{
	check(end->lanes_going == 0);
	free(end->lanes);
}

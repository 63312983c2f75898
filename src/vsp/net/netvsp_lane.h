/* SPDX-License-Identifier: MIT */
/*
 * Lanes: a way into a queue for frames from another loop (net/net.h), copied once, by the sender, into
 * pieces of the receive buffer that the queue has granted beforehand. Only indices cross, by two rings
 * of one writer and one reader each; nobody waits for the other.
 *
 *   sender's loop                                            the queue's loop
 *                     ◄── granted: pieces ─────────────────  grant 64, refill
 *   lane_deliver() ──── filled: where a frame lies ────────► drain: batch, ring
 *   lane_flush()  ····· loop_post() ·····················►
 *
 *           want (a frame found no piece)
 *   shut ──────────────────────────────────────────────► open
 *     ▲                                                    │
 *     └── the view changes, close, leave, pause, idle ─────┘
 *
 * The queue shuts a lane at once, in the middle of whatever the sender does but the copying of a frame:
 * it takes is_open away and waits until is_busy is gone (a frame's copy at most).
 *
 * Invariants:
 *   V1  While is_open or is_busy is set, what the lane knows of the buffer does not change and the buffer
 *       is there. Each side stores its own and then looks at the other's, with a full barrier between
 *       (the queue makes it for both: membarrier(2)), so that one of the two sees.
 *   V2  A piece is in granted, in filled, or not the lane's. So there are never more in either than
 *       NETVSP_LANE_PIECES, and no ring is ever full.
 *   V3  The queue's loop alone touches the VMBus ring, the log and the free stack.
 *   V4  Frames are taken in order, and none of a run that has not been passed. Those that are still
 *       there when the lane is shut are lost.
 *   V5  Behind the cut nothing looks at the queue any more, which may be gone before the lane is.
 *
 *   owner   who called lane_create(), until lane_cut()
 */
#pragma once

#include "net/net.h"

struct netvsp_queue;

#define NETVSP_LANE_PIECES  1024U /* a power of two */
#define NETVSP_LANE_GRANT   64U
#define NETVSP_LANES_MAX    64U /* into one queue */
#define NETVSP_LANE_IDLE_NS 1000000000ULL
#define NETVSP_LANE_DRY_NS  1000000ULL /* without a piece: then the guest takes none */

/* The front end's table; see net/net.h. -ENOMEM; -ENOSPC: NETVSP_LANES_MAX. */
MUST_CHECK int netvsp_lane_create(struct net_front *front, struct loop *from,
				  struct net_lane **ret);
void netvsp_lane_cut(struct net_lane *lane, struct loop_work *done);
MUST_CHECK int netvsp_lane_deliver(struct net_lane *lane, const struct net_frame *frame,
				   uint64_t run);
MUST_CHECK bool netvsp_lane_pass(struct net_lane *lane, uint64_t run);
void netvsp_lane_flush(struct net_lane *lane);

/* ---- for the queue, on its loop ------------------------------------------------------------------ */

void netvsp_lanes_init(struct netvsp_queue *queue);
/* Takes what is in them, as far as there is room, and has all pieces again. By the queue's view. */
void netvsp_lanes_shut(struct netvsp_queue *queue);
/* There may be room in the ring, or pieces. */
void netvsp_lanes_go_on(struct netvsp_queue *queue);
/* Frames that found no piece: they were lost, or went another way. */
uint64_t netvsp_lanes_refused(const struct netvsp_queue *queue);

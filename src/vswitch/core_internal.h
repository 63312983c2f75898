/* SPDX-License-Identifier: MIT */
/*
 * What a core is made of, for the files of the pipeline, and what those call of each other.
 *
 *   port_guest.c ─┐                                          ┌─ deliver.c: offloads ─► lane.c: to a guest
 *   port_wire.c  ─┴─► pipeline.c: 1 to 8 ─► turn.c: 9 to 12 ─┘                        of another core's
 *                        admit.c: who may send      ask.c: its own questions about groups
 *                        core.c: life, adoption, the round's end      exchange.c: between cores
 *
 *   owner   the switch   thread  the core's loop, unless it says otherwise
 */
#pragma once

#include <stdatomic.h>

#include "base/counter.h"
#include "base/list.h"
#include "net/fifo.h"
#include "net/net_impl.h"
#include "net/steer.h"
#include "vswitch/bucket.h"
#include "vswitch/core.h"
#include "vswitch/fdb.h"
#include "vswitch/flow.h"
#include "vswitch/hand.h"
#include "vswitch/mcast.h"
#include "vswitch/news.h"
#include "vswitch/policy.h"
#include "vswitch/port.h"
#include "vswitch/sched.h"
#include "vswitch/stats.h"

#define VIEW_NO_CORE       0xffU
#define WIRE_BACKLOG_BYTES (1U << 20) /* frames of one batch that an uplink had no room for */
#define PIPELINE_CHUNK     16U        /* frames at a time: their heads stay in the first cache */
#define CORE_HAND_BATCH    256U       /* handed frames taken in one go */
#define CORE_TURNS_ROUNDS  16U /* without a second sender, until nobody takes turns any more */
/* vframe.drop of a frame that an extension has taken */
#define FRAME_TAKEN        DROP_CAUSE_COUNT
#define FRAME_TODO                                                                                 \
	(NET_FRAME_LSO | NET_FRAME_COALESCED | NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM)
#define CORE_AGE_SECONDS 16U /* a table is gone through once in so many */

/*
 * A port's ends as every core sees them; immutable. The control loop builds one after each change and
 * swaps it on each core (S2). An end is touched by its own core only, but for what is constant and its
 * lanes: of these each core has one of its own.
 */
struct port_view {
	uint8_t mac[NET_MAC_BYTES];
	bool is_wire, has_mac;
	bool link; /* of a wire: any of its ends */
	uint32_t mtu, coalesce_bytes_max;
	unsigned int queues;                 /* places in the arrays below that may be in use */
	uint8_t core_of[VSWITCH_QUEUES_MAX]; /* VIEW_NO_CORE: no such end */
	struct port_end *ends[VSWITCH_QUEUES_MAX];
	struct steer steer;
};

/* While a wire's ends are replaced, the new ones' numbers begin behind the old ones'. */
static inline unsigned int view_first_queue(const struct port_view *view)
{
	unsigned int queue = 0;

	while (queue + 1 < view->queues && view->core_of[queue] == VIEW_NO_CORE) {
		queue++;
	}
	return queue;
}

/* One line: what a core counts of a port. */
struct port_counters {
	_Alignas(64) counter_u64 sent_frames;
	counter_u64 sent_bytes, sent_large, sent_groups;
	counter_u64 delivered_frames, delivered_bytes, delivered_large;
	counter_u64 waits;
};

/* A port as one core sees it: what each frame needs, in one line, and the line of counters. */
struct port_slot {
	_Alignas(64) const struct port_policy *policy; /* NULL: not used */
	const struct port_view *view;                  /* NULL: no end */
	struct port_end *end; /* the guest's only queue, or a wire's first end, if it is here */
	struct port_counters counters;
};

/* And what some frames need. */
struct port_slow {
	struct guard_policy guard; /* the policy's, and what was snooped */
	bool has_flows;            /* a rule of the port is stateful */
	bool has_own;              /* own, own_fid: its FDB_OWN entry */
	uint8_t own[NET_MAC_BYTES];
	uint16_t own_fid;
	struct acl_counter *acl_in, *acl_out; /* made by the control loop */
	struct bucket_share rate, pps, broadcast, multicast, unknown;
};

/*
 * The way into a guest's end from one other core (lane.c): a lane of its front end's, if there is one.
 * L1  While there is a lane, the end's core has a view that names the end: whoever takes an entry out of
 *     the ring finds the lane that it speaks of.
 * L2  The sender looks at the lane anew for each call. So it has none any more when what is posted to
 *     its loop behind the store of NULL runs there.
 */
struct port_lane {
	_Alignas(64) _Atomic(struct net_lane *) lane; /* the end's core writes; NULL: none */
	const struct net_front_ops *ops;              /* the lane's */
	_Atomic(bool) is_asked; /* for a lane; by the sender, until there is one */
	/* the sending core's */
	bool is_between; /* runs: the last frame went by the ring */
	uint64_t run;    /* the last one that was begun */
	struct port_end *end;
	struct list dirty; /* core->dirty_lanes: to be flushed */
	/* the end's core's */
	bool is_going; /* cut, and the sender's loop has not let go yet */
	struct loop_work gone;
};

struct port_end {
	struct vswitch *vswitch;
	struct core *core;
	struct net *net; /* a guest's: what the NIC is attached to; a wire's: the back end */
	uint16_t port, queue;
	bool is_wire, is_leaving;
	bool yields, is_dirty;
	uint32_t round, sent_round; /* the core's, when it last earned a turn; when it last sent */
	uint32_t period;            /* the core's, that its credit is of */
	struct sched_entry sched;
	struct loop_timer timer; /* until its rate allows more */
	struct list link;        /* core->ends */
	struct list dirty;       /* core->dirty */
	struct list yield;       /* core->yield */
	struct loop_work left;   /* posted by the control loop: no core knows it any more */
	struct loop_work *done;
	/* a guest's */
	struct port_lane *lanes;  /* by the sender's core; NULL: a switch of one core */
	struct loop_work ask;     /* posted by senders: somebody wants a lane */
	unsigned int lanes_going; /* that have is_going */
	bool has_left;            /* and waits for those */
	bool is_scarce;           /* counted in core->scarce: it has little room (hold.c) */
	uint64_t starved_ns; /* when it had none, and nothing came back since; 0: it has some */
	/* a wire's */
	struct net_front front;
	struct fifo backlog;
	bool is_full;             /* counted in vswitch->full_wires */
	_Atomic(bool) is_blocked; /* the same; the one thing that other cores look at */
	struct list held;         /* core->held: its first frame waits for a guest (hold.c) */
	uint64_t hold_begun_ns;   /* since when; 0: it does not */
	uint64_t hold_seen_ns, hold_left_ns; /* what it may wait yet, and when that was looked at */
	uint64_t hold_others_ns; /* when it last spoke to another guest than before; 0: never */
	unsigned int hold_to;    /* the port it last spoke to, and 1; 0: none */
};

struct core_counters {
	_Alignas(64) counter_u64 batches;
	counter_u64 frames, plain_frames, flooded, handed_over, handed_lost, lane_frames;
	counter_u64 news_told, news_lost;
};

struct core {
	struct vswitch *vswitch;
	struct loop *loop;
	unsigned int index, cores;
	const struct policy *policy;
	uint64_t secret;
	uint32_t now_s;
	uint32_t round;
	unsigned int senders; /* ends that sent in this round */
	/* whose turn it is (sched.h) */
	unsigned int heaviest; /* of those who want to send in this round */
	unsigned int
		contended;    /* more than one wanted to: rounds for which turns are still taken */
	uint32_t period;      /* how often turns have begun to be taken: old debts are forgotten */
	uint32_t copies_cost; /* of this batch: what its sender is charged besides the frames */
	bool is_touched;      /* the round's end has something to do */
	bool is_quiet;        /* it is about to end */
	bool is_high;         /* a ring to another core is half full: see who waits for wires */
	struct fdb *fdb;
	struct mcast *mcast;
	struct flow_table *flows;
	struct team team; /* the policy's, with links as they are */
	struct sched sched;
	struct list ends, dirty, yield, dirty_lanes;
	struct list held;    /* host's ends that wait for a guest here */
	unsigned int scarce; /* guests' ends with little room */
	uint64_t runs;       /* numbers of lanes' runs that were given out */
	struct news_ring *news_in[VSWITCH_CORES_MAX], *news_out[VSWITCH_CORES_MAX];
	struct hand_ring *hand_in[VSWITCH_CORES_MAX], *hand_out[VSWITCH_CORES_MAX];
	struct loop_work flush;            /* deferred: the round's end */
	struct loop_work hand, news, room; /* posted by other cores */
	struct loop_timer second;
	struct core_counters counters;
	struct port_slot ports[VSWITCH_PORTS_MAX];
	counter_u64 drops[VSWITCH_PORTS_MAX][DROP_CAUSE_COUNT];
	struct port_slow slow[VSWITCH_PORTS_MAX];
	struct vframe batch[PIPELINE_CHUNK];
	struct vframe single;   /* handed or resumed */
	struct vframe asked;    /* a question of our own */
	struct querier querier; /* the first core's */
	struct querier_left left;
	struct loop_timer ask_again;
	struct vframe peeked;
	struct iovec iov[NET_IOV_MAX + 2]; /* of a frame that came without room for its head */
	struct mcast_news_list heard;
	uint8_t payload[MCAST_PAYLOAD_BYTES_MAX];
};

/* What limits a port, shared by the cores. */
struct port_buckets {
	struct bucket rate, pps, broadcast, multicast, unknown;
};

struct port {
	char name[VSWITCH_NAME_BYTES];
	_Atomic(uint64_t) claimed;                           /* queues: bits */
	_Atomic(struct port_end *) ends[VSWITCH_QUEUES_MAX]; /* with a front or a back end */
	/* the control loop's */
	struct port_view views[2];
	unsigned int current; /* of views: what the cores have, or had last */
	bool has_view, has_front;
	struct net_front_config front; /* of the first end, for who asks */
	uint64_t links;                /* of wires' ends, as last told */
	struct port_stats base;
};

struct vswitch {
	struct vswitch_config config;
	struct core *cores[VSWITCH_CORES_MAX];
	struct policy *policy;
	struct port *ports[VSWITCH_PORTS_MAX];
	struct port_buckets buckets[VSWITCH_PORTS_MAX];
	struct loop_work changed_work, bound_work;
	_Atomic(uint64_t) changed[VSWITCH_PORTS_MAX / 64]; /* ports: bits */
	_Atomic(unsigned int) ends_on[VSWITCH_CORES_MAX];
	_Alignas(64) _Atomic(unsigned int) full_wires; /* ends that wait for their kernel */
};

/* ---- core.c ---- */

MUST_CHECK int core_create(struct vswitch *vswitch, struct loop *loop, unsigned int index,
			   struct core **ret);
void core_destroy(struct core *core);
/* For loop_call(). */
void core_start(struct core *core);
/* First all of them are quiet, then each can be stopped: nobody posts to it any more. */
void core_quiet(struct core *core);
void core_stop(struct core *core);

/* Rules' counters of one core and policy, made and freed by the control loop. */
struct core_rules {
	struct acl_counter *in[VSWITCH_PORTS_MAX], *out[VSWITCH_PORTS_MAX];
};
/* rules: swapped with the old ones. */
void core_adopt(struct core *core, const struct policy *policy, struct core_rules *rules);
void core_set_view(struct core *core, uint16_t port, const struct port_view *view);
/* The port is gone: nobody there is known any more. */
void core_forget_port(struct core *core, uint16_t port);

/* Something waits for the end of this round. */
void core_touch_slowly(struct core *core);

static inline void core_touch(struct core *core)
{
	if (__builtin_expect(!core->is_touched, 0)) {
		core_touch_slowly(core);
	}
}

static inline void core_mark_dirty(struct core *core, struct port_end *end)
{
	if (__builtin_expect(!end->is_dirty, 0)) {
		end->is_dirty = true;
		list_append(&core->dirty, &end->dirty);
		core_touch(core);
	}
}

static inline void count_delivered(struct port_slot *slot, const struct net_frame *net)
{
	counter_add(&slot->counters.delivered_frames, 1);
	counter_add(&slot->counters.delivered_bytes, net->bytes);
	if (__builtin_expect(net->flags & NET_FRAME_COALESCED, 0)) {
		counter_add(&slot->counters.delivered_large, 1);
	}
}

static inline void core_drop(struct core *core, unsigned int port, enum drop_cause cause)
{
	counter_add(&core->drops[port][cause], 1);
}

/* ---- ask.c ---- */

/* Asks in each VLAN where it is time. The first core's. */
void core_ask(struct core *core, uint32_t now_s);
/* What core->heard says was left is asked about at the port that the frame came in on. */
void core_ask_left(struct core *core, const struct vframe *frame);
/* What is due to be asked about once more, at this time of loop_now_ns(). */
void core_ask_again(struct core *core, uint64_t now_ns);

/* ---- exchange.c ---- */

/* To all other cores, or to none: false. */
bool core_tell(struct core *core, const struct news *news);
void core_take_news(struct core *core);
/* run: of the lane to that queue, or 0. false: no room; the caller counts the loss. */
bool core_hand_over(struct core *core, unsigned int to, uint16_t port, uint16_t queue, uint64_t run,
		    const struct net_frame *frame);
void core_flush_hands(struct core *core);
void core_take_hands(struct core *core);
/* Whether who sends to this wire had better wait. */
bool core_is_wire_blocked(struct core *core, const struct port_slot *slot);
/* Who waited for a wire goes on. */
void core_wake(struct core *core);
void core_wake_all(struct vswitch *vswitch);

/* ---- hold.c ---- */

/* A guest's end, at the end of a round in which it was given something: has it plenty of room? */
void hold_look(struct port_end *end);
/* It has given back what somebody waits for: they go on. */
void hold_release(struct port_end *end);
/* Its front end goes, or it does; or a wire's. */
void hold_forget(struct port_end *end);

/* Whether frames of this end are to be looked at before they are taken. */
static inline bool hold_is_due(const struct core *core, const struct port_end *from)
{
	return (core->scarce || from->hold_begun_ns) && from->is_wire &&
	       core->policy->ports[from->port].kind == PORT_HOST;
}

/* Whether this frame for one port waits in its wire; that goes on by port_end_resume() then. */
bool hold_must_wait(struct core *core, struct port_end *wire, unsigned int port,
		    struct vframe *frame);

/* ---- admit.c ---- */

/* How many frames of `count` may be sent now; fewer: it is resumed later. */
unsigned int core_admit(struct core *core, struct port_end *from, const struct net_frame *frames,
			unsigned int count);
/* What was sent, and how often it was copied. */
void core_charge(struct core *core, struct port_end *from, const struct net_frame *frames,
		 unsigned int count);

/* ---- pipeline.c ---- */

/*
 * Frames from an end. As net_send_many() says, iov[-1] included; -EAGAIN: its rate, its turn, or an
 * uplink, and port_end_resume() will follow.
 */
int pipeline_run(struct core *core, struct port_end *from, struct net_frame *frames,
		 unsigned int count, unsigned int *ret_taken);

/* The same of one frame that has no room for a head in front of its iovecs. */
int pipeline_run_one(struct port_end *from, const struct net_frame *frame);

/* Dropped where it came from, and counted there. */
void pipeline_kill(struct core *core, struct vframe *frame, enum drop_cause cause);

/* ---- forward.c, rules.c ---- */

/* The source is known where it speaks; false: its port has too many, and the frame is dropped. */
bool pipeline_learn(struct core *core, struct vframe *frame, uint32_t macs_max);
/* Where it goes by the tables, or frame->drop. Whether that is many. */
bool pipeline_find(struct core *core, struct vframe *frame);
/* Stage 8, and what precedes the turn: frame->to or frame->drop. Whether it is for many (flooded, group). */
bool pipeline_forward(struct core *core, struct vframe *frame);
/* By one address; who is not known here may be in the news. -1: unknown. */
int pipeline_find_port(struct core *core, const struct vframe *frame);
/* The end that a frame to this port goes to, if it is on this core; else NULL. */
struct port_end *deliver_find_end(struct core *core, unsigned int port, struct vframe *frame);
/* DROP_NONE, or why not. */
enum drop_cause pipeline_rules(struct core *core, const struct vframe *frame, unsigned int port,
			       bool is_out);

/* ---- turn.c, deliver.c ---- */

/* Stages 9 to 13 for all of frame->to. is_for_many: who cannot have it is passed over in silence. */
void turn_run(struct core *core, struct vframe *frame, bool is_for_many);
/* Stages 9 to 13 for one port; behind stage 11 with is_resumed. Whether it went there. */
bool turn_port(struct core *core, struct vframe *frame, unsigned int port, bool is_for_many,
	       bool is_resumed);
void turn_mirror(struct core *core, struct vframe *frame, const port_set *targets);

/* Stage 13. tci: with is_tagged. */
void deliver(struct core *core, unsigned int port, struct vframe *frame, uint16_t tci,
	     bool is_tagged);
/* To an end on this core. */
void deliver_to_end(struct core *core, struct port_end *end, struct vframe *frame, uint16_t tci,
		    bool is_tagged);
void deliver_to_guest(struct core *core, struct port_slot *slot, struct port_end *end,
		      struct vframe *frame, uint16_t tci, bool is_tagged);

/* ---- lane.c ---- */

/* A guest's end has none yet; 0 or -ENOMEM. */
MUST_CHECK int port_lanes_create(struct port_end *end);
/* All are gone. */
void port_lanes_destroy(struct port_end *end);
/* The end's core: makes those that are asked for, if the end has a front end that can and is in the view. */
void port_lanes_make(struct port_end *end);
/* The end's core: its front end goes. They are gone when lanes_going is 0: on_left(). */
void port_lanes_cut(struct port_end *end);
/* A frame, as its guest takes it, for an end on another core; counts. */
void lane_put(struct core *core, struct port_slot *slot, struct port_end *end,
	      const struct net_frame *net);
/* The end's core takes an entry of the ring: what is in the lane before it comes first. false: it cannot. */
bool lane_pass(struct core *core, struct port_end *end, unsigned int from, uint64_t run);
/* The round's end, or a view that changes: receivers are told. */
void core_flush_lanes(struct core *core);

/* ---- port.c, port_wire.c ---- */

/* A free queue of the port, or -EBUSY, -ENOENT; the core of a loop. */
MUST_CHECK int port_end_init(struct port_end *end, struct vswitch *vswitch, uint16_t port,
			     struct loop *loop);
/* It was never told to anybody. */
void port_end_fini(struct port_end *end);
/* The core and, by and by, all others know it: it has a front or back end now. */
void port_end_join(struct port_end *end);
/* What it says of itself has changed. */
void port_end_changed(struct port_end *end);
/* done is posted on its loop when nobody knows it any more. */
void port_end_leave(struct port_end *end, struct loop_work *done);
/* Its lanes are gone, for which it has waited (has_left). */
void port_end_left(struct port_end *end);
/* Its sender was told -EAGAIN and may go on. */
void port_end_resume(struct port_end *end);

/* Its memory, when it has left. */
void port_wire_free(struct port_end *end);
/* A frame for the wire; counts. */
void port_wire_send(struct core *core, struct port_end *end, struct port_slot *slot,
		    const struct net_frame *frame);

/* ---- vswitch.c ---- */

/* Any thread: the control loop looks at the port. */
void vswitch_port_changed(struct vswitch *vswitch, uint16_t port);
/* Any core: something was snooped, and the control loop hears of it. */
void vswitch_bound(struct vswitch *vswitch);

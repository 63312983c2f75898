/* SPDX-License-Identifier: MIT */
/*
 * Connections that stateful rules have let through, so that their answers are let through as well.
 *
 * Each core has a table of its own with the flows of all cores. What one core changes it tells
 * the others (struct flow_news, flow_apply()) before it delivers the frame; so a core that misses
 * takes its news and looks again before it believes it.
 *
 *            frame that a stateful rule allows
 *                 │ flow_add()
 *                 ▼     a frame the other way                FIN both ways, or RST
 *             FLOW_NEW ───────────────────► FLOW_ESTABLISHED ─────────────────────► FLOW_CLOSING
 *                 │ FLOW_NEW_S                   │ idle_s     ◄── after RST, when ──      │ FLOW_CLOSING_S
 *                 ▼                              ▼            its maker goes on           ▼
 *
 *   F1  A port has at most its quota of flows, and at least entries / 2 / VSWITCH_PORTS_MAX of
 *       them it can always have: no port can take another's.
 *   F2  A port at its quota loses a flow that is over, unanswered or closing before it is refused
 *   one.
 *   F3  What a frame finds is of the same port, addresses, protocol and ports; an ICMP error finds
 *       the flow that it quotes, if it goes to who sent what is quoted, and changes nothing.
 *   F4  A flow that is silent for longer than its state allows is not found, aged out yet or not.
 *
 * "Local" is the port's side, as in acl.h. A flow of echo requests has the identifier as its
 * local port; of other protocols addresses and protocol are all. Pieces of a datagram behind the
 * first find what the first one left for them, for FLOW_PIECES_S.
 *
 *   owner   a core   thread  its loop
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "state/load.h"
#include "state/save.h"
#include "vswitch/frame.h"

#define FLOWS_MAX           65536U
#define FLOWS_PER_PORT      4096U
#define FLOW_EVICT_LOOKS    8U /* how many flows are looked at for one that can go (F2) */

#define FLOW_NEW_S          30U /* one way only, so far */
#define FLOW_CLOSING_S      10U
#define FLOW_PIECES_S       30U
#define FLOW_TCP_IDLE_S     7200U /* established; where the rule does not say */
#define FLOW_UDP_IDLE_S     180U
#define FLOW_DEFAULT_IDLE_S 60U /* ICMP and all others */

enum flow_state { FLOW_NEW, FLOW_ESTABLISHED, FLOW_CLOSING };

struct flow_key {
	struct vframe_ip local, remote;
	uint16_t port; /* of the switch */
	uint16_t local_port, remote_port;
	uint8_t protocol;
	uint8_t is_pieces; /* an entry for pieces of datagrams: ports are 0 */
};

struct flow {
	struct flow_key key;
	uint32_t rule;   /* id of the rule that let it through */
	uint32_t idle_s; /* when established */
	uint32_t seen_s, told_s;
	uint8_t state; /* enum flow_state */
	uint8_t seen;  /* FLOW_SEEN_* */
	uint8_t is_used;
	uint32_t chain;      /* private: links of the table */
	uint32_t prev, next; /* private: of the port's list */
};

/* What has been seen: flow.seen */
enum {
	FLOW_SEEN_MAKER = 1U << 0, /* frames in the direction of the one that made the flow */
	FLOW_SEEN_OTHER = 1U << 1, /* and against it */
	FLOW_SEEN_MAKER_FIN = 1U << 2,
	FLOW_SEEN_OTHER_FIN = 1U << 3,
	FLOW_SEEN_RST = 1U << 4,
	FLOW_MADE_OUT = 1U << 5, /* the frame that made it was on its way to the port */
};

/* For the other cores; plain bytes within a process. */
enum flow_news_kind {
	FLOW_NEWS_NONE,
	FLOW_NEWS_IS,  /* there is such a flow: made, changed, or still in use */
	FLOW_NEWS_GONE /* there is no such flow any more */
};

struct flow_news {
	struct flow_key key;
	uint32_t rule, idle_s;
	uint8_t seen;
	uint8_t kind; /* enum flow_news_kind */
};

_Static_assert(sizeof(struct flow_news) <= 56, "news have 64 bytes, with a head");

struct flow_table;

/*
 * At most `entries` (to FLOWS_MAX) flows, per_port of one port; all memory is taken here. -ENOMEM.
 * secret: of the process, so that nobody can aim at one bucket.
 */
MUST_CHECK int flow_table_create(uint32_t entries, uint32_t per_port, uint64_t secret,
				 struct flow_table **ret);

/* NULL is fine. */
void flow_table_destroy(struct flow_table *table);

/*
 * The flow of this frame, whichever way it goes; NULL: none. is_out: on its way to the port,
 * otherwise the port sent it. Advances states and the age. *ret_news: what the other cores are to
 * be told (its kind is FLOW_NEWS_NONE mostly), also when NULL is returned. Valid until the next
 * call.
 */
const struct flow *flow_find(struct flow_table *table, uint16_t port, const struct vframe *frame,
			     bool is_out, uint32_t now_s, struct flow_news *ret_news);

/*
 * A stateful rule has let this frame through, and flow_find() has found nothing. 0, also when
 * this is no frame that makes a flow (RST, ICMP errors, pieces behind the first, not IP): then
 * nothing is remembered and ret_news->kind is FLOW_NEWS_NONE. -ENOSPC: the port's quota, or the
 * table.
 */
MUST_CHECK int flow_add(struct flow_table *table, uint16_t port, const struct vframe *frame,
			bool is_out, uint32_t rule, uint32_t idle_s, uint32_t now_s,
			struct flow_news *ret_news);

/* What another core has told. false: no room for it here (a later frame of the flow is not let through). */
bool flow_apply(struct flow_table *table, const struct flow_news *news, uint32_t now_s);

/* Looks at `looks` more entries and forgets those that are silent for too long. How many that were. */
uint32_t flow_age(struct flow_table *table, uint32_t now_s, uint32_t looks);

/* Forgets a port's flows; those that one rule has made. Not told: each core is asked by itself. */
void flow_flush_port(struct flow_table *table, uint16_t port);
void flow_flush_rule(struct flow_table *table, uint16_t port, uint32_t rule);

uint32_t flow_count(const struct flow_table *table);
uint32_t flow_count_of(const struct flow_table *table, uint16_t port);

/* How long it may still be silent; 0: it is over. */
uint32_t flow_left_s(const struct flow *flow, uint32_t now_s);

/*
 * For showing: the next flow at or behind *cursor (0 at first), which is moved behind it; NULL at
 * the end. The table may change in between; then some may be missed or come twice.
 */
const struct flow *flow_next(const struct flow_table *table, uint32_t *cursor);

/*
 * Soft state: flows with their ages, as fields of the caller's group. Loading adds them, within
 * the quotas, leaving out ports that are not in `ports`; what makes no sense is an error of
 * *load, and what came before it stays (forget it with flow_flush_port()).
 */
void flow_save(const struct flow_table *table, struct save *save, uint32_t now_s);
void flow_load(struct flow_table *table, struct load *load, const port_set *ports, uint32_t now_s);

/* SPDX-License-Identifier: MIT */
/*
 * What natd's files share.
 *
 *   natd.c       life; what keeper and data process say
 *   natd_nat.c   the NAT that runs: made, changed, asked
 */
#pragma once

#include "loop/loop.h"
#include "net/net.h"
#include "switchd/keeper.h"
#include "switchd/natd.h"
#include "switchd/sw_config.h"

#define NATD_AREA   "nat"
#define NATD_PLACES 1024U

struct dhcp;

/* Between the wire and NAT: a front end of each, which hands what it gets to the other. */
struct natd_side {
	struct net_front front;
	struct natd *natd;
};

/* Which label a client's last message had. */
struct natd_place {
	uint8_t mac[NET_MAC_BYTES];
	uint16_t label; /* 0: nobody */
};

struct natd {
	const struct natd_config *config;
	struct loop *loop;
	bool is_ending;

	/* the data process; -1 and NULL: there has been none yet */
	int words_fd;
	struct loop_watch words;
	struct loop_work more_words; /* some may be left there */
	struct net *wire;
	struct natd_side of_wire, of_nat;
	struct natd_place places[NATD_PLACES];

	struct loop_watch keeper;

	/* NULL: nobody has said how yet */
	struct net *nat;
	struct sw_config *sw;   /* what it was made of */
	struct sw_config *next; /* what takes its place when it has stopped; else NULL */
	uint32_t next_serial;   /* who waits for that; 0: nobody any more */
	struct loop_work stopped;
	char *leases; /* of before, for the next NAT; or NULL */
	size_t lease_bytes;
	struct loop_work leases_changed;
	struct loop_timer leases_timer;
};

/* ---- natd.c ------------------------------------------------------------------------------------- */

/* Of a request: 0 or an errno with a sentence; fd: to go with it, or -1 (borrowed). */
void natd_answer(struct natd *natd, uint32_t type, uint32_t serial, int status, const char *text,
		 int fd);

/* ---- natd_nat.c --------------------------------------------------------------------------------- */

void natd_nat_init(struct natd *natd);
/* NATD_CONFIGURE, answered now or when the old one has stopped. config is taken. */
void natd_configure(struct natd *natd, struct sw_config *config_take, uint32_t serial);
/* The leases as they are, to the keeper. */
void natd_keep(struct natd *natd);
/* NATD_LEASES, NATD_FACTS: a memory file. A negative errno. */
MUST_CHECK int natd_list_leases(struct natd *natd);
MUST_CHECK int natd_list_facts(struct natd *natd);

/* The wire's labels. */
void natd_labelled(void *ctx, const uint8_t mac[NET_MAC_BYTES], uint16_t label);
extern const struct net_front_ops natd_wire_ops;

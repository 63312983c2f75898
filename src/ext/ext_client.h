/* SPDX-License-Identifier: MIT */
/*
 * For who writes an extension of the switch: connects, waits for frames, answers. docs/extensions.md
 * tells the story; src/ext/dns.c and src/ext/balance.c are whole programs.
 *
 *   while ((n = ext_client_next(client, -1, &frame)) >= 0) {
 *       if (n > 0) { look at frame.bytes; ext_client_pass(client, &frame) or another answer }
 *   }
 *
 * Each frame that ext_client_next() gave must be answered once, in any order, and soon: a filter's or a
 * forwarder's within ext_client_deadline_us(), or the switch goes on without it.
 *
 *   owner  the extension   thread  one at a time
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "proto/vsext.h"

struct ext_client;

struct ext_client_config {
	enum vsext_kind kind;
	const char *name;   /* the extension's: what `tabique switch ext list` shows */
	uint8_t directions; /* VSEXT_IN, VSEXT_OUT; a forwarder's: 0 */
	uint32_t snaplen;   /* capture: bytes of a frame; 0: all */
	bool no_drops;      /* capture: frames are not shown again when they are dropped */
	/* Which frames: only what `match` (VSEXT_MATCH_*) says is looked at. */
	uint16_t match;
	const char *port;
	uint16_t vlan, ethertype, l4_port;
	uint8_t protocol;
	uint8_t to[6];
};

/* A frame that waits for an answer; valid until that is given. */
struct ext_frame {
	const struct vsext_slot *slot; /* what is known of it */
	const uint8_t *bytes;          /* slot->bytes of them */
	uint8_t *changed;              /* filter: where a changed frame is put; else NULL */
	uint32_t room;                 /* so many bytes of it */
	/* the client's own */
	uint32_t core, index, seq;
};

/*
 * Connects. where: a socket's path (with a slash in it), or a switch's name. 0; -ENOENT and -ECONNREFUSED:
 * it does not run; -EBUSY, -EPERM and others that the switch answers. With a sentence.
 */
MUST_CHECK int ext_client_open(const char *where, const struct ext_client_config *config,
			       struct ext_client **ret, struct diag *reterr);

/* NULL is fine. Frames without an answer go the way of those that have none in time. */
void ext_client_close(struct ext_client *client);

/*
 * The next frame: 1; 0: none came within timeout_ms (-1: for ever), or a signal did; -EPIPE: the switch has
 * gone; -EPROTO: it speaks nonsense.
 */
MUST_CHECK int ext_client_next(struct ext_client *client, int timeout_ms, struct ext_frame *ret);

/* ---- answers ----------------------------------------------------------------------------------- */

/* Goes on as it is. A capture's only answer: the frame has been looked at. */
void ext_client_pass(struct ext_client *client, const struct ext_frame *frame);
/* Filter, forward. */
void ext_client_drop(struct ext_client *client, const struct ext_frame *frame);
/* Filter: frame->changed, so many bytes of it, goes on instead. Tags must be as they were. */
void ext_client_change(struct ext_client *client, const struct ext_frame *frame, uint32_t bytes);
/* Forward: to these ports; bit p % 64 of ports[p / 64] is port p. */
void ext_client_send(struct ext_client *client, const struct ext_frame *frame,
		     const uint64_t ports[VSEXT_PORTS_MAX / 64]);

/* ---- facts ------------------------------------------------------------------------------------- */

/* Ports as the switch has told of them; NULL: there is none. Waits for nothing. */
const struct vsext_port *ext_client_port(struct ext_client *client, uint16_t port);
/* By its name; -1: there is none. */
int ext_client_find_port(struct ext_client *client, const char *name);
/* Another number whenever a port has come, changed or gone, and for each connection; never 0. */
uint64_t ext_client_ports_seen(const struct ext_client *client);
/* Within which a frame must be answered; 0: a capture's. */
uint32_t ext_client_deadline_us(const struct ext_client *client);
/* Frames that the switch did not show, because all slots were in use. */
uint64_t ext_client_lost(const struct ext_client *client);

/* SPDX-License-Identifier: MIT */
#include "vswitch/flow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/num.h"
#include "proto/ether.h"
#include "vswitch/flow_internal.h"

/* Told again to the others when this part of the time that it may be silent is over. */
#define TELL_AGAIN_PART 4U

_Static_assert(FLOWS_MAX / 2 / VSWITCH_PORTS_MAX > 0, "F1 grants every port something");

int flow_table_create(uint32_t entries, uint32_t per_port, uint64_t secret, struct flow_table **ret)
{
	struct flow_table *table = fault_alloc(1, sizeof(*table));
	uint32_t buckets = 1;

	check(entries > 0 && entries <= FLOWS_MAX && per_port > 0);
	while (buckets < entries) {
		buckets *= 2;
	}
	if (!table) {
		return -ENOMEM;
	}
	table->buckets = fault_alloc(buckets, sizeof(*table->buckets));
	table->flows = table->buckets ? fault_alloc(entries, sizeof(*table->flows)) : NULL;
	if (!table->flows) {
		flow_table_destroy(table);
		return -ENOMEM;
	}
	memset(table->buckets, 0xff, buckets * sizeof(*table->buckets)); /* FLOW_NO_LINK */
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		table->ports[i].first = table->ports[i].last = FLOW_NO_LINK;
	}
	table->secret = secret;
	table->entries = entries;
	table->per_port = per_port;
	table->granted = (uint32_t)num_min(entries / 2 / VSWITCH_PORTS_MAX, per_port);
	table->free = FLOW_NO_LINK;
	table->bucket_mask = buckets - 1;
	*ret = table;
	return 0;
}

void flow_table_destroy(struct flow_table *table)
{
	if (table) {
		free(table->flows);
		free(table->buckets);
		free(table);
	}
}

/* ---- the table --------------------------------------------------------------------------------- */

static uint32_t *bucket_of(const struct flow_table *table, const struct flow_key *key)
{
	/* Each word by itself, under its own secret, so that the processor does them side by side. */
	uint64_t s = table->secret;
	uint64_t h = hash_mix(s, key->local.hi) ^ hash_mix(s + 1, key->local.lo) ^
		     hash_mix(s + 2, key->remote.hi) ^ hash_mix(s + 3, key->remote.lo) ^
		     hash_mix(s + 4, (uint64_t)key->port << 48 | (uint64_t)key->local_port << 32 |
					     (uint64_t)key->remote_port << 16 |
					     (uint64_t)key->protocol << 8 | key->is_pieces);

	return &table->buckets[hash_mix(s + 5, h) & table->bucket_mask];
}

static bool is_same(const struct flow_key *a, const struct flow_key *b)
{
	return a->local.lo == b->local.lo && a->remote.lo == b->remote.lo &&
	       a->local.hi == b->local.hi && a->remote.hi == b->remote.hi && a->port == b->port &&
	       a->local_port == b->local_port && a->remote_port == b->remote_port &&
	       a->protocol == b->protocol && a->is_pieces == b->is_pieces;
}

static struct flow *look_up(const struct flow_table *table, const struct flow_key *key)
{
	for (uint32_t i = *bucket_of(table, key); i != FLOW_NO_LINK; i = table->flows[i].chain) {
		if (is_same(&table->flows[i].key, key)) {
			return &table->flows[i];
		}
	}
	return NULL;
}

static void port_link(struct flow_table *table, uint32_t index)
{
	struct flow *flow = &table->flows[index];
	struct flow_port *port = &table->ports[flow->key.port];

	flow->prev = port->last;
	flow->next = FLOW_NO_LINK;
	if (port->last == FLOW_NO_LINK) {
		port->first = index;
	} else {
		table->flows[port->last].next = index;
	}
	port->last = index;
}

static void port_unlink(struct flow_table *table, uint32_t index)
{
	struct flow *flow = &table->flows[index];
	struct flow_port *port = &table->ports[flow->key.port];

	*(flow->prev == FLOW_NO_LINK ? &port->first : &table->flows[flow->prev].next) = flow->next;
	*(flow->next == FLOW_NO_LINK ? &port->last : &table->flows[flow->next].prev) = flow->prev;
}

static void forget(struct flow_table *table, struct flow *flow)
{
	uint32_t index = (uint32_t)(flow - table->flows);
	struct flow_port *port = &table->ports[flow->key.port];
	uint32_t *at = bucket_of(table, &flow->key);

	while (*at != index) {
		at = &table->flows[*at].chain;
	}
	*at = flow->chain;
	port_unlink(table, index);
	table->common -= port->count > table->granted;
	port->count--;
	table->count--;
	flow->is_used = false;
	flow->chain = table->free;
	table->free = index;
}

static bool has_room(const struct flow_table *table, uint16_t port)
{
	uint32_t count = table->ports[port].count;

	if (count < table->granted) {
		return true; /* F1 */
	}
	return count < table->per_port &&
	       table->common < table->entries - table->granted * VSWITCH_PORTS_MAX;
}

/* F2: of the port's oldest flows; those that stay go to the end of the line. */
static bool make_room(struct flow_table *table, uint16_t port, uint32_t now_s)
{
	for (unsigned int i = 0; i < FLOW_EVICT_LOOKS; i++) {
		uint32_t index = table->ports[port].first;
		struct flow *flow;

		if (index == FLOW_NO_LINK) {
			return false;
		}
		flow = &table->flows[index];
		if (flow->state != FLOW_ESTABLISHED || flow_left_s(flow, now_s) == 0) {
			forget(table, flow);
			return has_room(table, port);
		}
		port_unlink(table, index);
		port_link(table, index);
	}
	return false;
}

static struct flow *insert(struct flow_table *table, const struct flow_key *key, uint32_t now_s)
{
	struct flow_port *port = &table->ports[key->port];
	uint32_t *bucket, index;
	struct flow *flow;

	if (!has_room(table, key->port) && !make_room(table, key->port, now_s)) {
		return NULL;
	}
	if (table->free != FLOW_NO_LINK) {
		index = table->free;
		table->free = table->flows[index].chain;
	} else {
		check(table->fresh < table->entries);
		index = table->fresh++;
	}
	bucket = bucket_of(table, key);
	flow = &table->flows[index];
	*flow = (struct flow){ .key = *key, .is_used = true, .chain = *bucket };
	*bucket = index;
	port_link(table, index);
	port->count++;
	table->count++;
	table->common += port->count > table->granted;
	return flow;
}

/* ---- what a frame is of ------------------------------------------------------------------------ */

/* enum: what flow_find() and flow_add() do with a frame */
enum kind { KIND_NONE, KIND_FLOW, KIND_PIECE, KIND_ERROR };

static bool is_icmp_error(const struct vframe_key *key)
{
	if (key->protocol == IP_PROTOCOL_ICMP) {
		/* unreachable, quench, redirect, time exceeded, parameter problem: RFC 792 */
		return key->icmp_type == 3 || key->icmp_type == 4 || key->icmp_type == 5 ||
		       key->icmp_type == 11 || key->icmp_type == 12;
	}
	return key->protocol == IP_PROTOCOL_ICMPV6 && key->icmp_type < 128; /* RFC 4443, 2.1 */
}

static bool is_echo(uint8_t protocol, uint8_t type)
{
	return protocol == IP_PROTOCOL_ICMP ? type == 0 || type == 8 : type == 128 || type == 129;
}

static uint16_t echo_id(const uint8_t *bytes, uint32_t length, uint32_t icmp)
{
	return icmp + 6 <= length ? bytes_be16(bytes + icmp + 4) : 0;
}

static void swap_sides(struct flow_key *key)
{
	struct vframe_ip ip = key->local;
	uint16_t port = key->local_port;

	key->local = key->remote;
	key->remote = ip;
	key->local_port = key->remote_port;
	key->remote_port = port;
}

/* The ports at l4, or an echo's identifier; key's local is the source. */
static bool read_ports(struct flow_key *key, const uint8_t *bytes, uint32_t length, uint32_t l4)
{
	if (key->protocol == IP_PROTOCOL_TCP || key->protocol == IP_PROTOCOL_UDP) {
		if (l4 + 4 > length) {
			return false;
		}
		key->local_port = bytes_be16(bytes + l4);
		key->remote_port = bytes_be16(bytes + l4 + 2);
	} else if (key->protocol == IP_PROTOCOL_ICMP || key->protocol == IP_PROTOCOL_ICMPV6) {
		if (l4 + 6 > length) {
			return false;
		}
		/* The same for both ways: as both ports. */
		if (is_echo(key->protocol, bytes[l4])) {
			key->local_port = key->remote_port = echo_id(bytes, length, l4);
		}
	}
	return true;
}

static struct vframe_ip mapped(const uint8_t *ip)
{
	return (struct vframe_ip){ .lo = 0xffffULL << 32 | bytes_be32(ip) };
}

static struct vframe_ip ipv6_at(const uint8_t *ip)
{
	return (struct vframe_ip){ .hi = bytes_be64(ip), .lo = bytes_be64(ip + 8) };
}

/* The packet that an ICMP error quotes, from its sender's view. False: not to be read. */
static bool read_quote(const struct vframe *frame, struct flow_key *key)
{
	const uint8_t *bytes = frame->head;
	uint32_t length = frame->head_bytes, ip = frame->key.l4_offset + 8U;

	if (ip + 20 > length) {
		return false;
	}
	if (frame->key.ip_version == 4) {
		uint32_t header = (bytes[ip] & 15U) * 4U;

		if (bytes[ip] >> 4 != 4 || header < 20 || (bytes_be16(bytes + ip + 6) & 0x1fff)) {
			return false;
		}
		key->protocol = bytes[ip + 9];
		key->local = mapped(bytes + ip + 12);
		key->remote = mapped(bytes + ip + 16);
		return read_ports(key, bytes, length, ip + header);
	}
	/* Quoted extension headers are not followed: such an error is not let through. */
	if (ip + 40 > length || bytes[ip] >> 4 != 6) {
		return false;
	}
	key->protocol = bytes[ip + 6];
	key->local = ipv6_at(bytes + ip + 8);
	key->remote = ipv6_at(bytes + ip + 24);
	return read_ports(key, bytes, length, ip + 40);
}

static enum kind classify(const struct vframe *frame, uint16_t port, bool is_out,
			  struct flow_key *ret)
{
	const struct vframe_key *key = &frame->key;
	bool has_l4 = (key->flags & VKEY_L4) != 0;
	enum kind kind = KIND_FLOW;

	*ret = (struct flow_key){ .port = port, .protocol = key->protocol };
	if (key->ip_version == 0) {
		return KIND_NONE;
	}
	ret->local = key->ip_from;
	ret->remote = key->ip_to;
	if ((key->flags & VKEY_FRAGMENT) && !(key->flags & VKEY_FIRST)) {
		ret->is_pieces = true;
		kind = KIND_PIECE;
	} else if (key->protocol == IP_PROTOCOL_TCP || key->protocol == IP_PROTOCOL_UDP) {
		if (!has_l4) {
			return KIND_NONE;
		}
		ret->local_port = key->port_from;
		ret->remote_port = key->port_to;
	} else if (key->protocol == IP_PROTOCOL_ICMP || key->protocol == IP_PROTOCOL_ICMPV6) {
		if (!has_l4) {
			return KIND_NONE;
		}
		if (is_icmp_error(key)) {
			/* F3; who sent the quoted packet is who gets the error: the other way round. */
			if (!read_quote(frame, ret) || ret->local.hi != key->ip_to.hi ||
			    ret->local.lo != key->ip_to.lo) {
				return KIND_NONE;
			}
			is_out = !is_out;
			kind = KIND_ERROR;
		} else if (is_echo(key->protocol, key->icmp_type)) {
			ret->local_port = ret->remote_port =
				echo_id(frame->head, frame->head_bytes, key->l4_offset);
		}
	} else if (key->flags & VKEY_TRUNCATED) {
		return KIND_NONE;
	}
	if (is_out) {
		swap_sides(ret);
	}
	return kind;
}

/* ---- states ------------------------------------------------------------------------------------ */

static uint8_t state_of(uint8_t seen)
{
	if ((seen & FLOW_SEEN_RST) ||
	    ((seen & FLOW_SEEN_MAKER_FIN) && (seen & FLOW_SEEN_OTHER_FIN))) {
		return FLOW_CLOSING;
	}
	return seen & FLOW_SEEN_OTHER ? FLOW_ESTABLISHED : FLOW_NEW;
}

static uint32_t limit_s(const struct flow *flow)
{
	if (flow->key.is_pieces) {
		return FLOW_PIECES_S;
	}
	switch ((enum flow_state)flow->state) {
	case FLOW_NEW:
		return FLOW_NEW_S < flow->idle_s ? FLOW_NEW_S : flow->idle_s;
	case FLOW_CLOSING:
		return FLOW_CLOSING_S;
	case FLOW_ESTABLISHED:
		break;
	}
	return flow->idle_s;
}

uint32_t flow_left_s(const struct flow *flow, uint32_t now_s)
{
	/* Another core's clock may be a second ahead. */
	uint32_t silent_s = now_s > flow->seen_s ? now_s - flow->seen_s : 0;
	uint32_t limit = limit_s(flow);

	return silent_s < limit ? limit - silent_s : 0;
}

static uint32_t default_idle_s(uint8_t protocol)
{
	return protocol == IP_PROTOCOL_TCP   ? FLOW_TCP_IDLE_S
	       : protocol == IP_PROTOCOL_UDP ? FLOW_UDP_IDLE_S
					     : FLOW_DEFAULT_IDLE_S;
}

static void tell(struct flow *flow, uint32_t now_s, struct flow_news *ret_news)
{
	flow->told_s = now_s;
	*ret_news = (struct flow_news){ .key = flow->key,
					.rule = flow->rule,
					.idle_s = flow->idle_s,
					.seen = flow->seen,
					.kind = FLOW_NEWS_IS };
}

/* What this frame shows of the flow. */
static uint8_t seen_by(const struct flow *flow, const struct vframe *frame, bool is_out)
{
	bool is_maker = is_out == ((flow->seen & FLOW_MADE_OUT) != 0);
	uint8_t seen = flow->seen | (is_maker ? FLOW_SEEN_MAKER : FLOW_SEEN_OTHER);
	uint8_t tcp = frame->key.protocol == IP_PROTOCOL_TCP ? frame->key.tcp_flags : 0;

	if (tcp & VKEY_TCP_RST) {
		seen |= FLOW_SEEN_RST;
	} else if (tcp & VKEY_TCP_FIN) {
		seen |= is_maker ? FLOW_SEEN_MAKER_FIN : FLOW_SEEN_OTHER_FIN;
	} else if (is_maker && (tcp & VKEY_TCP_ACK)) {
		/*
		 * Who made it goes on: the RST was not believed, being forged. The rule would let
		 * this frame through anyway.
		 */
		seen &= (uint8_t)~FLOW_SEEN_RST;
	}
	return seen;
}

/* A SYN where a connection has ended is a new one, and the rules' matter. */
static bool is_reused(const struct flow *flow, const struct vframe *frame)
{
	return flow->state == FLOW_CLOSING && frame->key.protocol == IP_PROTOCOL_TCP &&
	       (frame->key.tcp_flags & (VKEY_TCP_SYN | VKEY_TCP_ACK)) == VKEY_TCP_SYN;
}

static void remember_pieces(struct flow_table *table, const struct flow *flow, uint32_t now_s)
{
	struct flow_key key = flow->key;
	uint32_t rule = flow->rule, idle_s = flow->idle_s;
	struct flow *pieces;

	key.is_pieces = true;
	key.local_port = key.remote_port = 0;
	pieces = look_up(table, &key);
	/* Never at the price of another flow: pieces are rare, and this one's caller holds on to it. */
	if (!pieces && has_room(table, key.port)) {
		pieces = insert(table, &key, now_s);
	}
	if (pieces) {
		pieces->rule = rule;
		pieces->idle_s = idle_s;
		pieces->seen_s = pieces->told_s = now_s;
	}
}

const struct flow *flow_find(struct flow_table *table, uint16_t port, const struct vframe *frame,
			     bool is_out, uint32_t now_s, struct flow_news *ret_news)
{
	struct flow_key key;
	enum kind kind = classify(frame, port, is_out, &key);
	struct flow *flow = kind == KIND_NONE ? NULL : look_up(table, &key);
	uint8_t seen;

	ret_news->kind = FLOW_NEWS_NONE;
	if (!flow || flow_left_s(flow, now_s) == 0) { /* F4 */
		return NULL;
	}
	if (kind != KIND_FLOW) {
		return flow; /* F3; pieces live from their first one on */
	}
	if (is_reused(flow, frame)) {
		*ret_news = (struct flow_news){ .key = key, .kind = FLOW_NEWS_GONE };
		forget(table, flow);
		return NULL;
	}
	seen = seen_by(flow, frame, is_out);
	flow->seen_s = now_s;
	if (seen != flow->seen) {
		flow->seen = seen;
		flow->state = state_of(seen);
		tell(flow, now_s, ret_news);
	} else if (now_s - flow->told_s > limit_s(flow) / TELL_AGAIN_PART) {
		tell(flow, now_s, ret_news);
	}
	if (frame->key.flags & VKEY_FIRST) {
		remember_pieces(table, flow, now_s);
	}
	return flow;
}

int flow_add(struct flow_table *table, uint16_t port, const struct vframe *frame, bool is_out,
	     uint32_t rule, uint32_t idle_s, uint32_t now_s, struct flow_news *ret_news)
{
	struct flow_key key;
	struct flow *flow;

	ret_news->kind = FLOW_NEWS_NONE;
	if (classify(frame, port, is_out, &key) != KIND_FLOW ||
	    (key.protocol == IP_PROTOCOL_TCP && (frame->key.tcp_flags & VKEY_TCP_RST))) {
		return 0;
	}
	flow = look_up(table, &key);
	if (flow) {
		forget(table, flow); /* silent for too long, so that it was not found */
	}
	flow = insert(table, &key, now_s);
	if (!flow) {
		return -ENOSPC;
	}
	flow->rule = rule;
	flow->idle_s = idle_s ? idle_s : default_idle_s(key.protocol);
	flow->seen = is_out ? FLOW_MADE_OUT : 0;
	flow->seen = seen_by(flow, frame, is_out);
	flow->state = state_of(flow->seen);
	flow->seen_s = now_s;
	tell(flow, now_s, ret_news);
	if (frame->key.flags & VKEY_FIRST) {
		remember_pieces(table, flow, now_s);
	}
	return 0;
}

bool flow_put(struct flow_table *table, const struct flow_news *news, uint32_t seen_s,
	      uint32_t now_s)
{
	struct flow *flow = look_up(table, &news->key);

	if (flow && ((flow->seen ^ news->seen) & FLOW_MADE_OUT)) {
		forget(table, flow); /* made both ways at once: the later one counts */
		flow = NULL;
	}
	if (!flow) {
		flow = insert(table, &news->key, now_s);
		if (!flow) {
			return false;
		}
		flow->seen = news->seen;
	}
	/* FINs and ways add up; whether an RST is believed is as the newest word has it. */
	flow->seen = (uint8_t)((flow->seen & ~FLOW_SEEN_RST) | news->seen);
	flow->state = state_of(flow->seen);
	flow->rule = news->rule;
	flow->idle_s = news->idle_s;
	flow->seen_s = flow->told_s = seen_s;
	return true;
}

bool flow_apply(struct flow_table *table, const struct flow_news *news, uint32_t now_s)
{
	struct flow *flow;

	switch ((enum flow_news_kind)news->kind) {
	case FLOW_NEWS_IS:
		return flow_put(table, news, now_s, now_s);
	case FLOW_NEWS_GONE:
		flow = look_up(table, &news->key);
		if (flow) {
			forget(table, flow);
		}
		break;
	case FLOW_NEWS_NONE:
		break;
	}
	return true;
}

/* ---- ageing and showing ------------------------------------------------------------------------ */

uint32_t flow_age(struct flow_table *table, uint32_t now_s, uint32_t looks)
{
	uint32_t gone = 0;

	looks = looks < table->fresh ? looks : table->fresh;
	for (uint32_t i = 0; i < looks; i++) {
		struct flow *flow;

		table->age_at = table->age_at < table->fresh ? table->age_at : 0;
		flow = &table->flows[table->age_at++];
		if (flow->is_used && flow_left_s(flow, now_s) == 0) {
			forget(table, flow);
			gone++;
		}
	}
	return gone;
}

static void flush(struct flow_table *table, uint16_t port, const uint32_t *rule)
{
	uint32_t next;

	for (uint32_t i = table->ports[port].first; i != FLOW_NO_LINK; i = next) {
		next = table->flows[i].next;
		if (!rule || table->flows[i].rule == *rule) {
			forget(table, &table->flows[i]);
		}
	}
}

void flow_flush_port(struct flow_table *table, uint16_t port)
{
	flush(table, port, NULL);
}

void flow_flush_rule(struct flow_table *table, uint16_t port, uint32_t rule)
{
	flush(table, port, &rule);
}

uint32_t flow_count(const struct flow_table *table)
{
	return table->count;
}

uint32_t flow_count_of(const struct flow_table *table, uint16_t port)
{
	return table->ports[port].count;
}

const struct flow *flow_next(const struct flow_table *table, uint32_t *cursor)
{
	while (*cursor < table->fresh) {
		const struct flow *flow = &table->flows[(*cursor)++];

		if (flow->is_used) {
			return flow;
		}
	}
	return NULL;
}

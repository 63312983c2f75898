/* SPDX-License-Identifier: MIT */
/*
 * Two cores' tables under actions taken from the input: frames are found or added, news told, time goes
 * on, state is saved and loaded. After each action quotas hold and all ways of counting agree.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "vswitch/flow.h"

#define ENTRIES  1024U
#define PER_PORT 6U
#define PORTS    4U

static struct bytes_cursor input;

static void make_frame(struct vframe *frame)
{
	static const uint8_t protocols[] = { 6, 6, 17, 1, 58, 47 };
	struct vframe_key *key = &frame->key;
	uint8_t what = bytes_take_u8(&input), ends = bytes_take_u8(&input);

	memset(frame, 0, sizeof(*frame));
	key->ip_version = what & 1 ? 6 : 4;
	key->protocol = protocols[(what >> 1) % sizeof(protocols)];
	key->flags = what & 64 ? VKEY_FRAGMENT | (what & 32 ? VKEY_FIRST | VKEY_L4 : 0) : VKEY_L4;
	key->ip_from.lo = 0xffffULL << 32 | (ends & 1);
	key->ip_to.lo = 0xffffULL << 32 | (ends >> 1 & 1);
	key->port_from = ends >> 2 & 7;
	key->port_to = ends >> 5;
	key->tcp_flags = bytes_take_u8(&input);
	key->icmp_type = bytes_take_u8(&input);
	key->icmp_code = 0;
	key->l3_offset = 14;
	key->l4_offset = 34;
	if (key->protocol == 1 || key->protocol == 58) {
		frame->head_bytes = bytes_take_u8(&input);
		for (unsigned int i = 34; i < frame->head_bytes && i < 80; i++) {
			frame->head[i] = bytes_take_u8(&input);
		}
	}
}

static void check_table(const struct flow_table *table, uint32_t now_s)
{
	uint32_t cursor = 0, counts[PORTS] = { 0 }, all = 0;
	const struct flow *flow;

	while ((flow = flow_next(table, &cursor)) != NULL) {
		check(flow->key.port < PORTS && flow->state <= FLOW_CLOSING);
		check(flow_left_s(flow, now_s) <= flow->idle_s || flow->key.is_pieces ||
		      flow->state == FLOW_CLOSING);
		counts[flow->key.port]++;
		all++;
	}
	check(all == flow_count(table));
	for (uint16_t i = 0; i < PORTS; i++) {
		check(counts[i] == flow_count_of(table, i) && counts[i] <= PER_PORT);
	}
}

static void reload(struct flow_table **table, uint32_t now_s)
{
	struct save save, again;
	struct load load;
	const uint8_t *bytes;
	size_t length;
	port_set ports = { { 0xf, 0, 0, 0 } };
	uint32_t count = flow_count(*table);

	save_init(&save);
	save_init(&again);
	flow_save(*table, &save, now_s);
	if (save_finish(&save, &bytes, &length)) {
		abort();
	}
	flow_table_destroy(*table);
	if (flow_table_create(ENTRIES, PER_PORT, 7, table)) {
		abort();
	}
	load_init(&load, bytes, length);
	flow_load(*table, &load, &ports, now_s);
	check(load_result(&load) == 0 && flow_count(*table) == count);
	save_fini(&save);
	save_fini(&again);
}

static void act(struct flow_table *tables[2], uint32_t *now_s)
{
	uint8_t action = bytes_take_u8(&input);
	unsigned int core = action & 1;
	struct flow_table *table = tables[core];
	uint16_t port = (action >> 1) % PORTS;
	bool is_out = action & 8;
	struct flow_news news;
	struct vframe frame;
	const struct flow *flow;

	switch (action >> 4) {
	case 0:
		*now_s += bytes_take_u8(&input);
		break;
	case 1:
		(void)flow_age(table, *now_s, bytes_take_u8(&input));
		break;
	case 2:
		flow_flush_port(table, port);
		break;
	case 3:
		flow_flush_rule(table, port, action & 8 ? 1 : 2);
		break;
	case 4:
		reload(&tables[core], *now_s);
		break;
	default:
		make_frame(&frame);
		flow = flow_find(table, port, &frame, is_out, *now_s, &news);
		check(!flow || (flow->key.port == port && flow->key.protocol != 0));
		if (!flow && news.kind == FLOW_NEWS_NONE && (action & 16)) {
			if (flow_add(table, port, &frame, is_out, 1 + core, 0, *now_s, &news)) {
				check(flow_count_of(table, port) == PER_PORT);
			} else if (news.kind != FLOW_NEWS_NONE) {
				check(flow_find(table, port, &frame, is_out, *now_s, &news));
				news.kind = FLOW_NEWS_IS;
			}
		}
		if (news.kind != FLOW_NEWS_NONE && !flow_apply(tables[1 - core], &news, *now_s)) {
			check(flow_count_of(tables[1 - core], port) == PER_PORT);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct flow_table *tables[2];
	uint32_t now_s = 1000;

	if (flow_table_create(ENTRIES, PER_PORT, 1, &tables[0]) ||
	    flow_table_create(ENTRIES, PER_PORT, 2, &tables[1])) {
		abort();
	}
	input = bytes_cursor(bytes, length);
	for (unsigned int i = 0; i < 512 && !input.failed; i++) {
		act(tables, &now_s);
		check_table(tables[0], now_s);
		check_table(tables[1], now_s);
	}
	flow_table_destroy(tables[0]);
	flow_table_destroy(tables[1]);
	return 0;
}

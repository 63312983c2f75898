/* SPDX-License-Identifier: MIT */
/* Saving and loading flows: docs/formats.md. A field is one flow, of fixed length. */
#include "base/bytes.h"
#include "vswitch/acl.h"
#include "vswitch/flow_internal.h"

enum { FLOW_STATE_FLOW = 1 };

#define FLOW_STATE_BYTES 53U
#define SEEN_ALL         0x3fU

static void put_ip(uint8_t *at, const struct vframe_ip *ip)
{
	bytes_put_le64(at, ip->hi);
	bytes_put_le64(at + 8, ip->lo);
}

void flow_save(const struct flow_table *table, struct save *save, uint32_t now_s)
{
	const struct flow *flow;
	uint32_t cursor = 0;

	while ((flow = flow_next(table, &cursor)) != NULL) {
		uint8_t bytes[FLOW_STATE_BYTES];

		put_ip(bytes, &flow->key.local);
		put_ip(bytes + 16, &flow->key.remote);
		bytes_put_le16(bytes + 32, flow->key.port);
		bytes_put_le16(bytes + 34, flow->key.local_port);
		bytes_put_le16(bytes + 36, flow->key.remote_port);
		bytes[38] = flow->key.protocol;
		bytes[39] = flow->key.is_pieces;
		bytes_put_le32(bytes + 40, flow->rule);
		bytes_put_le32(bytes + 44, flow->idle_s);
		bytes_put_le32(bytes + 48, now_s > flow->seen_s ? now_s - flow->seen_s : 0);
		bytes[52] = flow->seen;
		save_bytes(save, FLOW_STATE_FLOW, bytes, sizeof(bytes));
	}
}

static void load_flow(struct flow_table *table, struct load *load, const struct load_field *field,
		      const port_set *ports, uint32_t now_s)
{
	uint8_t bytes[FLOW_STATE_BYTES];
	struct flow_news news;
	uint32_t silent_s;

	load_bytes(load, field, bytes, sizeof(bytes));
	if (load->error) {
		return;
	}
	news = (struct flow_news){
		.key = { .local = { bytes_le64(bytes), bytes_le64(bytes + 8) },
			 .remote = { bytes_le64(bytes + 16), bytes_le64(bytes + 24) },
			 .port = bytes_le16(bytes + 32),
			 .local_port = bytes_le16(bytes + 34),
			 .remote_port = bytes_le16(bytes + 36),
			 .protocol = bytes[38],
			 .is_pieces = bytes[39] },
		.rule = bytes_le32(bytes + 40),
		.idle_s = bytes_le32(bytes + 44),
		.seen = bytes[52],
	};
	silent_s = bytes_le32(bytes + 48);
	if (news.key.port >= VSWITCH_PORTS_MAX || news.key.is_pieces > 1 || news.idle_s == 0 ||
	    news.idle_s > ACL_IDLE_S_MAX || (news.seen & ~SEEN_ALL) != 0) {
		load_fail(load);
		return;
	}
	/* What does not fit the quotas is left out, as is what was silent since before the clock began. */
	if (port_set_has(ports, news.key.port) && silent_s <= now_s &&
	    !flow_put(table, &news, now_s - silent_s, now_s)) {
		return;
	}
}

void flow_load(struct flow_table *table, struct load *load, const port_set *ports, uint32_t now_s)
{
	struct load_field field;

	while (load_next(load, &field)) {
		if (field.tag == FLOW_STATE_FLOW) {
			load_flow(table, load, &field, ports, now_s);
		}
	}
}

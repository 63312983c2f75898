/* SPDX-License-Identifier: MIT */
/*
 * Frames that may be about groups, one after the other, with time between them; a second table is told
 * the news. Limits must hold, and what is saved must load. Each: u8 port and flags, u8 seconds, u16 length, frame;
 * checksums are made right unless a flag says not to.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "net/offload.h"
#include "proto/ether.h"
#include "state/load.h"
#include "state/save.h"
#include "vswitch/mcast.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAME_BYTES_MAX 512U
#define STEPS_MAX       32U /* the tables are large: more would be slow */

struct pair {
	struct mcast *here, *there;
	uint32_t now_s;
};

static void mend_sum(const struct vframe *frame, uint8_t *payload, uint32_t bytes)
{
	const uint8_t *ip = frame->head + frame->key.l3_offset;
	uint8_t pseudo[40] = { 0 };
	uint64_t sum = 0;
	uint16_t folded;

	if (bytes < 4) {
		return;
	}
	payload[2] = payload[3] = 0;
	if (frame->key.ip_version == 6) {
		memcpy(pseudo, ip + 8, 32);
		bytes_put_be32(pseudo + 32, bytes);
		pseudo[39] = frame->key.protocol;
		sum = net_sum(pseudo, sizeof(pseudo));
	}
	folded = net_sum_fold(sum + net_sum(payload, bytes));
	memcpy(payload + 2, &folded, 2);
}

static void compare(const struct pair *pair)
{
	uint32_t here = 0, there = 0;
	struct mcast_entry a;
	struct mcast_counters ours = *mcast_counters(pair->here);
	const struct mcast_counters *theirs = mcast_counters(pair->there);

	check(ours.groups <= MCAST_GROUPS_MAX && ours.members <= MCAST_MEMBERS_MAX);
	check(theirs->groups <= MCAST_GROUPS_MAX && theirs->members <= MCAST_MEMBERS_MAX);
	while (mcast_next(pair->here, &here, pair->now_s, &a)) {
		check(a.left_s <= MCAST_MEMBER_S && a.vlan <= 0xfff);
	}
	while (mcast_next(pair->there, &there, pair->now_s, &a)) {
		check(a.left_s <= MCAST_MEMBER_S && a.vlan <= 0xfff);
	}
}

static void one(struct pair *pair, const uint8_t *at, uint32_t bytes)
{
	static struct mcast_news_list news;
	static struct vframe frame;
	struct mcast_policy policy = { .limit = 8 };
	uint8_t copy[FRAME_BYTES_MAX], payload[MCAST_PAYLOAD_BYTES_MAX];
	struct iovec room[2] = { { 0 }, { copy, bytes - 4 } };
	struct net_frame net = { .iov = room + 1, .iov_count = 1, .bytes = bytes - 4 };
	port_set ports;
	uint32_t length;

	memcpy(copy, at + 4, bytes - 4);
	pair->now_s += at[1];
	policy.fast_leave = at[0] & 0x10;
	policy.is_host = at[0] & 0x20;
	if (at[1]) {
		mcast_age(pair->here, pair->now_s);
		mcast_age(pair->there, pair->now_s);
	}
	if (vframe_pull(&frame, &net, VFRAME_HEAD_PLAIN) != 0) {
		return;
	}
	vframe_parse(&frame, 1);
	frame.from = at[0] & 15;
	frame.fid = at[0] >> 7;
	if (mcast_is_snoopable(&frame) && frame.key.l4_offset) {
		length = vframe_ip_end(&frame) - frame.key.l4_offset;
		length = vframe_copy(&frame, frame.key.l4_offset, payload, length);
		if (!(at[0] & 0x40)) {
			mend_sum(&frame, payload, length);
		}
		(void)mcast_snoop(pair->here, &frame, payload, length, &policy, pair->now_s, &news);
		check(news.count <= MCAST_NEWS_MAX && news.left_count <= news.count);
		for (unsigned int i = 0; i < news.count; i++) {
			(void)mcast_apply(pair->there, &news.news[i], pair->now_s);
		}
	}
	if (mcast_ports(pair->here, &frame, &ports)) {
		check(frame.key.ip_version != 0);
	}
	check(!mcast_is_ours(pair->here, frame.fid, false) ||
	      !mcast_has_other(pair->here, frame.fid, false));
	(void)mcast_routers(pair->here, frame.fid, frame.key.ip_version == 6, &ports);
}

static void save_and_load(const struct pair *pair)
{
	struct mcast *again = NULL;
	const uint8_t *bytes, *second_bytes;
	size_t length, second_length;
	struct save save, second;
	struct load load;

	if (mcast_create(3, &again)) {
		return;
	}
	save_init(&save);
	save_init(&second);
	mcast_save(pair->here, pair->now_s, &save);
	check(save_finish(&save, &bytes, &length) == 0);
	load_init(&load, bytes, length);
	mcast_load(again, &load, NULL, NULL, 5);
	check(load_result(&load) == 0);
	mcast_save(again, 5, &second);
	check(save_finish(&second, &second_bytes, &second_length) == 0);
	check(length == second_length);
	check(length == 0 || memcmp(bytes, second_bytes, length) == 0);
	save_fini(&save);
	save_fini(&second);
	mcast_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pair pair = { .now_s = 4294967000U }; /* over the wrap of the clock */

	if (mcast_create(1, &pair.here) || mcast_create(2, &pair.there)) {
		mcast_destroy(pair.here);
		return 0;
	}
	for (int is_v6 = 0; is_v6 < 2; is_v6++) {
		const struct mcast_news ours = { .kind = MCAST_OURS, .is_v6 = is_v6 };

		(void)mcast_apply(pair.here, &ours, pair.now_s);
		(void)mcast_apply(pair.there, &ours, pair.now_s);
	}
	mcast_set_address(pair.here, &(struct vframe_ip){ 0xfe80000000000000, 1ULL << 60 });
	for (unsigned int step = 0; size >= 4 && step < STEPS_MAX; step++) {
		uint32_t bytes = 4 + bytes_le16(data + 2) % FRAME_BYTES_MAX;

		bytes = bytes < size ? bytes : (uint32_t)size;
		one(&pair, data, bytes);
		data += bytes;
		size -= bytes;
	}
	compare(&pair);
	save_and_load(&pair);
	for (uint16_t port = 0; port < 16; port++) {
		mcast_flush_port(pair.here, port);
	}
	check(mcast_counters(pair.here)->members == 0 && mcast_counters(pair.here)->routers == 0);
	mcast_destroy(pair.here);
	mcast_destroy(pair.there);
	return 0;
}

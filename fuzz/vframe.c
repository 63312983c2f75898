/* SPDX-License-Identifier: MIT */
/*
 * A frame of any bytes, cut into iovecs in any way, is taken over and read: nothing may be claimed that
 * is not in the private head. Bytes: flags; length of the head; cuts (3, each of the frame's length in
 * 256ths); then the frame.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "proto/ether.h"
#include "vswitch/frame.h"
#include "vswitch/vlan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAME_BYTES_MAX 2048U
#define INPUT_HEADER    5U

static void check_key(const struct vframe *frame)
{
	const struct vframe_key *key = &frame->key;
	uint32_t l4_bytes = 4, end = vframe_ip_end(frame);

	check(frame->net.iov[0].iov_base == frame->head);
	check(frame->net.iov[0].iov_len == frame->head_bytes);
	check(frame->head_bytes <= VFRAME_HEAD_MAX && frame->head_bytes <= frame->net.bytes);
	check(key->ip_version == 0 || key->ip_version == 4 || key->ip_version == 6);
	check((end == 0) == (key->ip_version == 0));
	check(end <= frame->net.bytes);
	if (key->ip_version) {
		check(key->l3_offset >= ETHER_HEADER_BYTES &&
		      key->l3_offset + (key->ip_version == 4 ? 20U : 40U) <= frame->head_bytes);
		check(frame->head[key->l3_offset] >> 4 == key->ip_version);
	}
	if (key->flags & VKEY_ARP) {
		check(key->ip_version == 0 && key->l3_offset + 28U <= frame->head_bytes);
	}
	if (key->l4_offset) {
		check(key->ip_version && key->l4_offset < frame->head_bytes &&
		      key->l4_offset < end && key->l4_offset >= key->l3_offset + 20U);
	}
	if (key->flags & VKEY_L4) {
		if (key->protocol == IP_PROTOCOL_TCP) {
			l4_bytes = 20;
		} else if (key->protocol == IP_PROTOCOL_UDP) {
			l4_bytes = 8;
		}
		check(key->l4_offset && key->l4_offset + l4_bytes <= frame->head_bytes);
		check(key->l4_offset + l4_bytes <= end);
	} else {
		check(!key->port_from && !key->port_to && !key->icmp_type && !key->tcp_flags);
	}
	check(!(key->flags & VKEY_FIRST) || key->flags & VKEY_FRAGMENT);
}

/* What lies behind the iovecs now: the same bytes as before, but for a tag that was taken out. */
static void check_bytes(const struct vframe *frame, const uint8_t *bytes, uint32_t length)
{
	static uint8_t out[FRAME_BYTES_MAX];

	check(frame->net.bytes == length);
	check(vframe_copy(frame, 0, out, sizeof(out)) == length);
	check(memcmp(out, bytes, length) == 0);
}

/* With the tag taken away, or a tag in front, all is read alike. */
static void check_untag(struct vframe *frame, uint64_t secret)
{
	struct vframe_key before;
	uint32_t hash = frame->flow_hash, bytes = frame->net.bytes;
	bool was_tagged = frame->key.flags & VKEY_TAG;

	vframe_untag(frame);
	check(frame->net.bytes == bytes || (was_tagged && frame->net.bytes == bytes - 4));
	check_key(frame);
	before = frame->key;
	if (!(frame->key.flags & VKEY_TAG)) {
		vframe_parse(frame, secret);
		check(memcmp(&before, &frame->key, sizeof(before)) == 0);
		check(hash == frame->flow_hash);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vframe frame;
	struct iovec room[6], before[4];
	struct vlan_policy policy = { 0 };
	struct net_frame net = { .iov = room + 1 };
	uint32_t length, at = 0, head;
	uint8_t *bytes;

	if (size < INPUT_HEADER || size - INPUT_HEADER > FRAME_BYTES_MAX) {
		return 0;
	}
	length = (uint32_t)(size - INPUT_HEADER);
	head = ETHER_HEADER_BYTES + data[1] % (VFRAME_HEAD_MAX - ETHER_HEADER_BYTES + 1);
	bytes = malloc(length ? length : 1);
	memcpy(bytes, data + INPUT_HEADER, length);
	for (unsigned int i = 0; i < 4; i++) {
		uint32_t cut = i < 3 ? length * data[2 + i] / 256 : length;

		cut = cut < at ? at : cut;
		room[1 + i] = (struct iovec){ bytes + at, cut - at };
		at = cut;
	}
	memcpy(before, room + 1, sizeof(before));
	net.iov_count = 4;
	net.bytes = length + (data[0] >> 7); /* one more than there is */
	net.flags = (data[0] & 1 ? NET_FRAME_VLAN : 0) | (data[0] & 2 ? NET_FRAME_LSO : 0);
	net.vlan_tci = (uint16_t)(data[0] << 4);
	if (vframe_pull(&frame, &net, head) == 0 && frame.net.bytes == length) {
		check_bytes(&frame, bytes, length);
		vframe_unpull(&frame);
		check(memcmp(before, room + 1, sizeof(before)) == 0);
		check(vframe_pull(&frame, &net, head) == 0);
		vframe_parse(&frame, 1);
		check_key(&frame);
		check_untag(&frame, 1);
		policy.mode = data[0] >> 2 & 7;
		policy.id = 8;
		policy.secondary = 9;
		vlan_allow(&policy, (uint16_t)(data[0] << 4));
		if (vlan_ingress(&policy, NULL, &frame)) {
			uint16_t tci;
			bool tagged;

			check(!(frame.key.flags & VKEY_TAG) && !(frame.net.flags & NET_FRAME_VLAN));
			check_key(&frame);
			if (vlan_egress(&policy, &frame, &tci, &tagged)) {
				check(tagged || tci == 0);
			}
		}
	}
	free(bytes);
	return 0;
}

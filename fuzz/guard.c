/* SPDX-License-Identifier: MIT */
/*
 * Frames against guards: whatever passes must hold what the guards promise, judged by a second look
 * that knows nothing of vframe_key. Bytes: which guards; then the frame. Its payload is also snooped.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "proto/ether.h"
#include "vswitch/frame.h"
#include "vswitch/guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t own[6] = { 2, 0, 0, 0, 0, 0xa };

/* IPv6 without extension headers, whole, in a frame without a tag: the plain cases. */
static void check_plain_v6(const struct guard_policy *policy, const uint8_t *f, uint32_t bytes)
{
	uint32_t end = 54U + bytes_be16(f + 18);

	if (f[14] >> 4 != 6) {
		return;
	}
	end = bytes_be16(f + 18) == 0 || end > bytes ? bytes : end;
	if (f[20] == IP_PROTOCOL_ICMPV6 && end >= 58) {
		check(!policy->router || (f[54] != ICMPV6_RA && f[54] != ICMPV6_REDIRECT));
		if (policy->arp && f[54] == ICMPV6_NA && end >= 86) {
			/* Only the binding, fd00::a, or the address made of the MAC. */
			check((bytes_be64(f + 62) == 0xfd00000000000000ULL &&
			       bytes_be64(f + 70) == 0xa) ||
			      (bytes_be64(f + 62) == 0xfe80000000000000ULL &&
			       bytes_be64(f + 70) == 0x000000fffe00000aULL));
			if (end >= 86 && f[78] == 2) {
				check(f[79] == 1 && memcmp(f + 80, own, 6) == 0);
			}
		}
	}
	if (f[20] == IP_PROTOCOL_UDP && end >= 62) {
		check(!policy->dhcp || bytes_be16(f + 56) != DHCPV6_CLIENT_PORT);
	}
}

static void check_passed(const struct guard_policy *policy, const uint8_t *f, uint32_t bytes)
{
	uint16_t type = bytes_be16(f + 12);

	check(!policy->mac || memcmp(f + 6, own, 6) == 0);
	if (policy->arp && type == ETHER_TYPE_ARP) {
		check(bytes >= 42 && memcmp(f + 22, own, 6) == 0);
		check(bytes_be32(f + 28) == 0x0a00000a ||
		      (bytes_be32(f + 28) == 0 && bytes_be16(f + 20) == 1));
	}
	if (type == ETHER_TYPE_IPV6 && bytes >= 54) {
		check_plain_v6(policy, f, bytes);
	}
	if (policy->dhcp && type == ETHER_TYPE_IPV4 && bytes >= 42 && f[14] == 0x45 &&
	    (bytes_be16(f + 20) & 0x1fff) == 0 && f[23] == IP_PROTOCOL_UDP) {
		check(bytes_be16(f + 36) != DHCP_CLIENT_PORT);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vframe frame;
	struct guard_policy policy = { .mac_count = 1, .binding_count = 2 };
	struct guard_binding found[GUARD_SNOOP_MAX];
	uint8_t bytes[2048], mac[6];
	struct iovec room[2] = { { 0 }, { bytes, 0 } };
	struct net_frame net = { .iov = room + 1, .iov_count = 1 };
	unsigned int count;

	if (size < 1 || size > sizeof(bytes)) {
		return 0;
	}
	net.bytes = (uint32_t)size - 1;
	memcpy(bytes, data + 1, net.bytes);
	room[1].iov_len = net.bytes;
	policy.mac = data[0] & 1;
	policy.dhcp = data[0] & 2;
	policy.router = data[0] & 4;
	policy.arp = data[0] & 8;
	memcpy(policy.macs[0], own, 6);
	policy.bindings[0] = (struct guard_binding){ .ip = { 0, 0xffff0a00000aULL }, .until_s = 9 };
	policy.bindings[1] =
		(struct guard_binding){ .ip = { 0xfd00000000000000ULL, 0xa }, .until_s = 9 };
	if (vframe_pull(&frame, &net, guard_head_bytes(&policy)) != 0) {
		return 0;
	}
	vframe_parse(&frame, 1);
	if (guard_check(&policy, &frame, 1) == DROP_NONE) {
		check_passed(&policy, data + 1, net.bytes);
	}
	/* The frame's payload; and, to get further, the bytes as such. */
	if (guard_is_snoopable(&frame)) {
		uint8_t payload[GUARD_SNOOP_BYTES_MAX];
		uint32_t length =
			vframe_copy(&frame, frame.key.l4_offset + 8U, payload, sizeof(payload));

		count = guard_snoop(&frame, payload, length, 1, found, mac);
		check(count <= GUARD_SNOOP_MAX);
		for (unsigned int i = 0; i < count; i++) {
			(void)guard_bind(&policy, &found[i], 1);
			check(policy.binding_count <= GUARD_BINDINGS_MAX);
		}
	}
	return 0;
}

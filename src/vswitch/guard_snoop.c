/* SPDX-License-Identifier: MIT */
/* Which addresses DHCP servers give: bindings for ports that may use what they were given. */
#include <string.h>

#include "base/bytes.h"
#include "vswitch/guard.h"

/* RFC 2131: the fixed part, and behind it the cookie and the options */
#define DHCP_OP_REPLY         2U
#define DHCP_YIADDR_OFFSET    16U
#define DHCP_CHADDR_OFFSET    28U
#define DHCP_FIXED_BYTES      240U
#define DHCP_COOKIE           0x63825363U
#define DHCP_OPTION_PAD       0U
#define DHCP_OPTION_LEASE     51U
#define DHCP_OPTION_TYPE      53U
#define DHCP_OPTION_END       255U
#define DHCP_ACK              5U

/* RFC 8415 */
#define DHCPV6_REPLY          7U
#define DHCPV6_HEADER_BYTES   4U
#define DHCPV6_OPTION_BYTES   4U
#define DHCPV6_OPTION_IA_NA   3U
#define DHCPV6_OPTION_IA_TA   4U
#define DHCPV6_OPTION_ADDRESS 5U
#define DHCPV6_ADDRESS_BYTES  24U

#define LEASE_FOREVER         UINT32_MAX
#define MAPPED                0xffff00000000ULL

static uint32_t until(uint32_t now_s, uint32_t lease_s)
{
	return lease_s >= LEASE_FOREVER - now_s ? GUARD_FOREVER : now_s + lease_s;
}

static unsigned int snoop_v4(const uint8_t *dhcp, uint32_t bytes, uint32_t now_s,
			     struct guard_binding *ret, uint8_t ret_mac[NET_MAC_BYTES])
{
	uint32_t lease_s = 0, address;
	uint8_t type = 0;

	if (bytes < DHCP_FIXED_BYTES || dhcp[0] != DHCP_OP_REPLY || dhcp[1] != 1 ||
	    dhcp[2] != NET_MAC_BYTES || bytes_be32(dhcp + DHCP_FIXED_BYTES - 4) != DHCP_COOKIE) {
		return 0;
	}
	for (uint32_t at = DHCP_FIXED_BYTES; at < bytes && dhcp[at] != DHCP_OPTION_END;) {
		uint32_t length;

		if (dhcp[at] == DHCP_OPTION_PAD) {
			at++;
			continue;
		}
		if (bytes - at < 2 || dhcp[at + 1] > bytes - at - 2) {
			return 0;
		}
		length = dhcp[at + 1];
		if (dhcp[at] == DHCP_OPTION_TYPE && length == 1) {
			type = dhcp[at + 2];
		} else if (dhcp[at] == DHCP_OPTION_LEASE && length == 4) {
			lease_s = bytes_be32(dhcp + at + 2);
		}
		at += 2 + length;
	}
	address = bytes_be32(dhcp + DHCP_YIADDR_OFFSET);
	/* An answer to INFORM gives no address. */
	if (type != DHCP_ACK || address == 0 || lease_s == 0) {
		return 0;
	}
	*ret = (struct guard_binding){ .ip = { 0, MAPPED | address },
				       .until_s = until(now_s, lease_s) };
	memcpy(ret_mac, dhcp + DHCP_CHADDR_OFFSET, NET_MAC_BYTES);
	return 1;
}

/* Options of an identity association, or of the message. */
static unsigned int snoop_options(const uint8_t *at, uint32_t bytes, bool is_inner, uint32_t now_s,
				  struct guard_binding *ret, unsigned int room)
{
	unsigned int count = 0;

	while (bytes >= DHCPV6_OPTION_BYTES && count < room) {
		uint16_t code = bytes_be16(at);
		uint32_t length = bytes_be16(at + 2), skip = 0;

		at += DHCPV6_OPTION_BYTES;
		bytes -= DHCPV6_OPTION_BYTES;
		if (length > bytes) {
			break;
		}
		if (code == DHCPV6_OPTION_IA_NA) {
			skip = 12;
		} else if (code == DHCPV6_OPTION_IA_TA) {
			skip = 4;
		}
		if (!is_inner && skip && length >= skip) {
			count += snoop_options(at + skip, length - skip, true, now_s, ret + count,
					       room - count);
		} else if (is_inner && code == DHCPV6_OPTION_ADDRESS &&
			   length >= DHCPV6_ADDRESS_BYTES) {
			ret[count++] = (struct guard_binding){
				.ip = { bytes_be64(at), bytes_be64(at + 8) },
				.until_s = until(now_s, bytes_be32(at + 20)),
			};
		}
		at += length;
		bytes -= length;
	}
	return count;
}

unsigned int guard_snoop(const struct vframe *frame, const uint8_t *payload, uint32_t bytes,
			 uint32_t now_s, struct guard_binding ret[GUARD_SNOOP_MAX],
			 uint8_t ret_mac[NET_MAC_BYTES])
{
	unsigned int count;

	if (!guard_is_snoopable(frame)) {
		return 0;
	}
	if (frame->key.ip_version == 4) {
		return snoop_v4(payload, bytes, now_s, ret, ret_mac);
	}
	if (bytes < DHCPV6_HEADER_BYTES || payload[0] != DHCPV6_REPLY) {
		return 0;
	}
	count = snoop_options(payload + DHCPV6_HEADER_BYTES, bytes - DHCPV6_HEADER_BYTES, false,
			      now_s, ret, GUARD_SNOOP_MAX);
	if (count > 0) {
		memcpy(ret_mac, frame->key.to, NET_MAC_BYTES);
	}
	return count;
}

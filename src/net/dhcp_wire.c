/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "net/dhcp_internal.h"
#include "net/offload.h"
#include "proto/ether.h"

#define IP_BYTES       20U
#define UDP_BYTES      8U
#define BOOTP_OFFSET   (ETHER_HEADER_BYTES + IP_BYTES + UDP_BYTES)
#define BOOTP_MIN      300U /* what old clients insist on */
#define BOOTP_REQUEST  1U
#define BOOTP_REPLY    2U
#define BOOTP_ETHERNET 1U
#define COOKIE         0x63825363U
#define FLAG_BROADCAST 0x8000U

/* offsets of BOOTP's fields */
enum {
	AT_OP = 0,
	AT_HTYPE = 1,
	AT_HLEN = 2,
	AT_XID = 4,
	AT_FLAGS = 10,
	AT_CIADDR = 12,
	AT_YIADDR = 16,
	AT_SIADDR = 20,
	AT_GIADDR = 24,
	AT_CHADDR = 28,
	AT_SNAME = 44,
	AT_FILE = 108,
	AT_COOKIE = 236,
};
#define SNAME_BYTES 64U
#define FILE_BYTES  128U

enum {
	OPTION_PAD = 0,
	OPTION_MASK = 1,
	OPTION_ROUTER = 3,
	OPTION_DNS = 6,
	OPTION_HOST_NAME = 12,
	OPTION_DOMAIN = 15,
	OPTION_MTU = 26,
	OPTION_BROADCAST = 28,
	OPTION_REQUESTED = 50,
	OPTION_LEASE = 51,
	OPTION_OVERLOAD = 52,
	OPTION_TYPE = 53,
	OPTION_SERVER = 54,
	OPTION_T1 = 58,
	OPTION_T2 = 59,
	OPTION_CLIENT_ID = 61,
	OPTION_END = 255,
};
#define OVERLOAD_FILE  1U
#define OVERLOAD_SNAME 2U

/* ---- in ---------------------------------------------------------------------------------------- */

/* A name to be shown: as far as it is letters, digits and the like. */
static void take_name(char name[DHCP_NAME_BYTES], const uint8_t *value, uint8_t length)
{
	size_t n = 0;

	while (n < length && n < DHCP_NAME_BYTES - 1 && value[n] > ' ' && value[n] < 0x7f) {
		name[n] = (char)value[n];
		n++;
	}
	memset(name + n, 0, DHCP_NAME_BYTES - n);
}

static void take_option(struct dhcp_message *m, uint8_t *overload, uint8_t code,
			const uint8_t *value, uint8_t length)
{
	if (code == OPTION_HOST_NAME) {
		take_name(m->name, value, length);
	} else if (code == OPTION_CLIENT_ID && length >= 2 && length <= DHCP_ID_BYTES_MAX) {
		m->client.id_bytes = length;
		memcpy(m->client.id, value, length);
	} else if (code == OPTION_TYPE && length == 1) {
		m->type = value[0];
	} else if (code == OPTION_OVERLOAD && length == 1) {
		*overload = value[0];
	} else if (code == OPTION_REQUESTED && length == 4) {
		m->requested = bytes_be32(value);
	} else if (code == OPTION_LEASE && length == 4) {
		m->lease_s = bytes_be32(value);
	} else if (code == OPTION_SERVER && length == 4) {
		m->server = bytes_be32(value);
	}
}

/* One field of options; the returned byte is option 52. */
static uint8_t take_options(struct dhcp_message *m, const uint8_t *field, size_t bytes)
{
	struct bytes_cursor c = bytes_cursor(field, bytes);
	uint8_t overload = 0;

	while (c.left > 0) {
		uint8_t code = bytes_take_u8(&c), length;
		const uint8_t *value;

		if (code == OPTION_END) {
			break;
		}
		if (code == OPTION_PAD) {
			continue;
		}
		length = bytes_take_u8(&c);
		value = bytes_take(&c, length);
		if (!value) {
			break; /* cut short: what came before counts */
		}
		take_option(m, &overload, code, value, length);
	}
	return overload;
}

static bool is_to_us(const struct dhcp_config *config, uint32_t address)
{
	return address == UINT32_MAX || address == config->server ||
	       address == (config->network | ~dhcp_mask(config));
}

/* A datagram to a DHCP server that is us. *ret: behind its UDP header. */
static bool find_payload(const struct dhcp_config *config, const uint8_t *frame, uint32_t bytes,
			 const uint8_t **ret, uint32_t *ret_bytes)
{
	struct net_headers h;
	const uint8_t *udp;
	uint32_t length;

	if (net_headers_parse(frame, bytes, false, &h) || h.ip_version != 4 ||
	    h.protocol != NET_IP_UDP || h.is_fragment || h.end < h.l4_offset + UDP_BYTES) {
		return false;
	}
	udp = frame + h.l4_offset;
	if (bytes_be16(udp + 2) != DHCP_SERVER_PORT ||
	    !is_to_us(config, bytes_be32(frame + h.l3_offset + 16))) {
		return false;
	}
	length = bytes_be16(udp + 4);
	if (length < UDP_BYTES || length > h.end - h.l4_offset) {
		length = UDP_BYTES; /* ours, and nonsense */
	}
	*ret = udp + UDP_BYTES;
	*ret_bytes = length - UDP_BYTES;
	return true;
}

static bool is_request(const uint8_t *bootp, uint32_t bytes, const uint8_t *from)
{
	static const uint8_t none[NET_MAC_BYTES];

	return bytes >= DHCP_BOOTP_BYTES && bootp[AT_OP] == BOOTP_REQUEST &&
	       bootp[AT_HTYPE] == BOOTP_ETHERNET && bootp[AT_HLEN] == NET_MAC_BYTES &&
	       bytes_be32(bootp + AT_COOKIE) == COOKIE && bytes_be32(bootp + AT_GIADDR) == 0 &&
	       memcmp(bootp + AT_CHADDR, from, NET_MAC_BYTES) == 0 &&
	       memcmp(from, none, NET_MAC_BYTES) != 0 && !(from[0] & 1);
}

enum dhcp_result dhcp_parse(const struct dhcp_config *config, const uint8_t *frame, uint32_t bytes,
			    struct dhcp_message *ret)
{
	struct dhcp_message m = { 0 };
	const uint8_t *bootp;
	uint32_t length;
	uint8_t overload;

	if (!find_payload(config, frame, bytes, &bootp, &length)) {
		return DHCP_NOT_OURS;
	}
	if (!is_request(bootp, length, frame + ETHER_FROM_OFFSET)) {
		return DHCP_SILENT;
	}
	memcpy(m.client.mac, bootp + AT_CHADDR, NET_MAC_BYTES);
	m.xid = bytes_be32(bootp + AT_XID);
	m.flags = bytes_be16(bootp + AT_FLAGS);
	m.ciaddr = bytes_be32(bootp + AT_CIADDR);
	overload = take_options(&m, bootp + DHCP_BOOTP_BYTES, length - DHCP_BOOTP_BYTES);
	if (overload & OVERLOAD_FILE) {
		(void)take_options(&m, bootp + AT_FILE, FILE_BYTES);
	}
	if (overload & OVERLOAD_SNAME) {
		(void)take_options(&m, bootp + AT_SNAME, SNAME_BYTES);
	}
	*ret = m;
	return DHCP_REPLY;
}

/* ---- out --------------------------------------------------------------------------------------- */

static uint8_t *put_option(uint8_t *at, uint8_t code, const void *value, size_t bytes)
{
	at[0] = code;
	at[1] = (uint8_t)bytes;
	memcpy(at + 2, value, bytes);
	return at + 2 + bytes;
}

static uint8_t *put_u32(uint8_t *at, uint8_t code, uint32_t value)
{
	uint8_t be[4];

	bytes_put_be32(be, value);
	return put_option(at, code, be, sizeof(be));
}

/* What an address comes with. */
static uint8_t *put_network(uint8_t *at, const struct dhcp_config *config)
{
	const uint32_t mask = dhcp_mask(config);
	uint8_t mtu[2];

	at = put_u32(at, OPTION_MASK, mask);
	at = put_u32(at, OPTION_BROADCAST, config->network | ~mask);
	if (config->router) {
		at = put_u32(at, OPTION_ROUTER, config->router);
	}
	if (config->dns) {
		at = put_u32(at, OPTION_DNS, config->dns);
	}
	if (config->domain[0]) {
		at = put_option(at, OPTION_DOMAIN, config->domain, strlen(config->domain));
	}
	if (config->mtu) {
		bytes_put_be16(mtu, config->mtu);
		at = put_option(at, OPTION_MTU, mtu, sizeof(mtu));
	}
	return at;
}

static uint32_t put_bootp(uint8_t *bootp, const struct dhcp_config *config,
			  const struct dhcp_message *to, const struct dhcp_answer *answer)
{
	uint8_t *at = bootp + DHCP_BOOTP_BYTES;

	bootp[AT_OP] = BOOTP_REPLY;
	bootp[AT_HTYPE] = BOOTP_ETHERNET;
	bootp[AT_HLEN] = NET_MAC_BYTES;
	bytes_put_be32(bootp + AT_XID, to->xid);
	bytes_put_be16(bootp + AT_FLAGS, to->flags);
	if (answer->type != DHCP_NAK && answer->type != DHCP_OFFER) {
		bytes_put_be32(bootp + AT_CIADDR, to->ciaddr);
	}
	bytes_put_be32(bootp + AT_YIADDR, answer->address);
	memcpy(bootp + AT_CHADDR, to->client.mac, NET_MAC_BYTES);
	bytes_put_be32(bootp + AT_COOKIE, COOKIE);
	at = put_option(at, OPTION_TYPE, &answer->type, 1);
	at = put_u32(at, OPTION_SERVER, config->server);
	if (answer->lease_s) {
		at = put_u32(at, OPTION_LEASE, answer->lease_s);
		at = put_u32(at, OPTION_T1, answer->lease_s / 2);
		at = put_u32(at, OPTION_T2, (uint32_t)((uint64_t)answer->lease_s * 7 / 8));
	}
	if (answer->type != DHCP_NAK) {
		at = put_network(at, config);
	}
	if (to->client.id_bytes) {
		at = put_option(at, OPTION_CLIENT_ID, to->client.id, to->client.id_bytes);
	}
	*at++ = OPTION_END;
	return (uint32_t)num_max((uint64_t)(at - bootp), BOOTP_MIN);
}

/* To whom (RFC 2131, 4.1): an address of IP's; broadcast on Ethernet when it is one. */
static uint32_t destination(const struct dhcp_message *to, const struct dhcp_answer *answer)
{
	if (answer->type == DHCP_NAK) {
		return UINT32_MAX;
	}
	if (to->ciaddr) {
		return to->ciaddr;
	}
	return to->flags & FLAG_BROADCAST ? UINT32_MAX : answer->address;
}

uint32_t dhcp_build(const struct dhcp_config *config, const struct dhcp_message *to,
		    const struct dhcp_answer *answer, uint8_t reply[DHCP_REPLY_BYTES])
{
	const uint32_t address = destination(to, answer);
	uint8_t *ip = reply + ETHER_HEADER_BYTES, *udp = ip + IP_BYTES;
	uint32_t length, bytes;

	memset(reply, 0, DHCP_REPLY_BYTES);
	length = put_bootp(reply + BOOTP_OFFSET, config, to, answer);
	bytes = BOOTP_OFFSET + length;
	check(bytes <= DHCP_REPLY_BYTES);
	memset(reply, 0xff, NET_MAC_BYTES);
	if (address != UINT32_MAX) {
		memcpy(reply, to->client.mac, NET_MAC_BYTES);
	}
	memcpy(reply + ETHER_FROM_OFFSET, config->mac, NET_MAC_BYTES);
	bytes_put_be16(reply + ETHER_TYPE_OFFSET, ETHER_TYPE_IPV4);
	ip[0] = 0x45;
	bytes_put_be16(ip + 2, (uint16_t)(bytes - ETHER_HEADER_BYTES));
	ip[8] = 64;
	ip[9] = IP_PROTOCOL_UDP;
	bytes_put_be32(ip + 12, config->server);
	bytes_put_be32(ip + 16, address);
	bytes_put_be16(udp, DHCP_SERVER_PORT);
	bytes_put_be16(udp + 2, DHCP_CLIENT_PORT);
	bytes_put_be16(udp + 4, (uint16_t)(UDP_BYTES + length));
	check(net_offload_finish(reply, bytes, NET_FRAME_IP_CHECKSUM | NET_FRAME_L4_CHECKSUM) == 0);
	return bytes;
}

/* SPDX-License-Identifier: MIT */
/*
 * What the guest may ask of the NIC and set, by object identifier. What is not here is answered with
 * NOT_SUPPORTED, which all guests take in good part.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "vsp/net/netvsp_internal.h"

#define BUFFER_SPACE       (256U << 10) /* means nothing on a virtual NIC; what Hyper-V says */
#define VENDOR_ID          0x00ffffffU  /* NDIS: a vendor without an IEEE number */
#define VENDOR_DESCRIPTION "Tabique"
#define DRIVER_VERSION     0x0100
#define FRIENDLY_CHARS     256 /* UTF-16, with the terminating zero */

struct answer {
	uint8_t *info;
	uint32_t bytes;
};

static void put_bytes(struct answer *a, const void *src, uint32_t bytes)
{
	check(a->bytes + bytes <= RNDIS_INFO_BYTES_MAX);
	memcpy(a->info + a->bytes, src, bytes);
	a->bytes += bytes;
}

static void put16(struct answer *a, uint16_t value)
{
	uint8_t le[2];

	bytes_put_le16(le, value);
	put_bytes(a, le, sizeof(le));
}

static void put32(struct answer *a, uint32_t value)
{
	uint8_t le[4];

	bytes_put_le32(le, value);
	put_bytes(a, le, sizeof(le));
}

static void put64(struct answer *a, uint64_t value)
{
	put32(a, (uint32_t)value);
	put32(a, (uint32_t)(value >> 32));
}

static void put_object(struct answer *a, uint8_t type, uint8_t revision, uint16_t bytes)
{
	const uint8_t head[2] = { type, revision };

	put_bytes(a, head, sizeof(head));
	put16(a, bytes);
}

/* ---- what is asked ---- */

static const uint32_t supported[] = {
	OID_GEN_SUPPORTED_LIST,
	OID_GEN_HARDWARE_STATUS,
	OID_GEN_MEDIA_SUPPORTED,
	OID_GEN_MEDIA_IN_USE,
	OID_GEN_MAXIMUM_LOOKAHEAD,
	OID_GEN_MAXIMUM_FRAME_SIZE,
	OID_GEN_LINK_SPEED,
	OID_GEN_TRANSMIT_BUFFER_SPACE,
	OID_GEN_RECEIVE_BUFFER_SPACE,
	OID_GEN_TRANSMIT_BLOCK_SIZE,
	OID_GEN_RECEIVE_BLOCK_SIZE,
	OID_GEN_VENDOR_ID,
	OID_GEN_VENDOR_DESCRIPTION,
	OID_GEN_CURRENT_PACKET_FILTER,
	OID_GEN_CURRENT_LOOKAHEAD,
	OID_GEN_DRIVER_VERSION,
	OID_GEN_MAXIMUM_TOTAL_SIZE,
	OID_GEN_PROTOCOL_OPTIONS,
	OID_GEN_MAC_OPTIONS,
	OID_GEN_MEDIA_CONNECT_STATUS,
	OID_GEN_MAXIMUM_SEND_PACKETS,
	OID_GEN_VENDOR_DRIVER_VERSION,
	OID_GEN_NETWORK_LAYER_ADDRESSES,
	OID_GEN_PHYSICAL_MEDIUM,
	OID_GEN_RNDIS_CONFIG_PARAMETER,
	OID_GEN_XMIT_OK,
	OID_GEN_RCV_OK,
	OID_GEN_XMIT_ERROR,
	OID_GEN_RCV_ERROR,
	OID_GEN_RCV_NO_BUFFER,
	OID_GEN_FRIENDLY_NAME,
	OID_802_3_PERMANENT_ADDRESS,
	OID_802_3_CURRENT_ADDRESS,
	OID_802_3_MULTICAST_LIST,
	OID_802_3_MAXIMUM_LIST_SIZE,
	OID_802_3_RCV_ERROR_ALIGNMENT,
	OID_802_3_XMIT_ONE_COLLISION,
	OID_802_3_XMIT_MORE_COLLISIONS,
	/* from here on only for guests of NDIS 6 */
	OID_GEN_MAX_LINK_SPEED,
	OID_GEN_LINK_STATE,
	OID_GEN_LINK_PARAMETERS,
	OID_GEN_BYTES_RCV,
	OID_GEN_BYTES_XMIT,
	OID_GEN_RCV_DISCARDS,
	OID_GEN_XMIT_DISCARDS,
	OID_GEN_DIRECTED_FRAMES_XMIT,
	OID_GEN_MULTICAST_FRAMES_XMIT,
	OID_GEN_BROADCAST_FRAMES_XMIT,
	OID_GEN_DIRECTED_FRAMES_RCV,
	OID_GEN_MULTICAST_FRAMES_RCV,
	OID_GEN_BROADCAST_FRAMES_RCV,
	OID_TCP_OFFLOAD_CURRENT_CONFIG,
	OID_TCP_OFFLOAD_PARAMETERS,
	OID_TCP_OFFLOAD_HARDWARE_CAPS,
	OID_OFFLOAD_ENCAPSULATION,
	OID_GEN_RSS_CAPABILITIES,
	OID_GEN_RSS_PARAMETERS,
};
static_assert(sizeof(supported) <= RNDIS_INFO_BYTES_MAX, "the list fits an answer");

static void put_supported(const struct netvsp *nic, struct answer *a)
{
	for (size_t i = 0; i < ARRAY_SIZE(supported); i++) {
		if (supported[i] == OID_GEN_MAX_LINK_SPEED && nic->ndis_major < 6) {
			break;
		}
		put32(a, supported[i]);
	}
}

static void put_friendly_name(const struct netvsp *nic, struct answer *a)
{
	/* The name as UTF-16; names are ASCII as far as we give them. */
	for (size_t i = 0; nic->name[i]; i++) {
		put16(a, (uint8_t)nic->name[i]);
	}
	put16(a, 0);
	static_assert((NETVSP_NAME_BYTES_MAX + 1) * 2 <= FRIENDLY_CHARS * 2, "the guest's room");
}

static uint32_t csum_word(const struct netvsp *nic, uint8_t tcp, uint8_t udp, bool is_v4,
			  bool current, bool receive)
{
	uint32_t word = 0;
	uint8_t one_way = receive ? NDIS_PARAM_RX : NDIS_PARAM_ON;

	if (!current || tcp == NDIS_PARAM_TX_RX || tcp == one_way) {
		word |= NDIS_CSUM_TCP | NDIS_CSUM_TCP_OPTIONS | NDIS_CSUM_IP_OPTIONS;
	}
	if (!current || udp == NDIS_PARAM_TX_RX || udp == one_way) {
		word |= NDIS_CSUM_UDP | NDIS_CSUM_IP_OPTIONS;
	}
	if (is_v4 &&
	    (!current || nic->offloads.ip4 == NDIS_PARAM_TX_RX || nic->offloads.ip4 == one_way)) {
		word |= NDIS_CSUM_IP4_HEADER | NDIS_CSUM_IP_OPTIONS;
	}
	return word;
}

/* ndis_offload: what we can (current: what the guest has on). */
static void put_offload(const struct netvsp *nic, bool current, struct answer *a)
{
	const struct netvsp_offloads *o = &nic->offloads;
	bool lso4 = !current || o->lso4 == NDIS_PARAM_ON,
	     lso6 = !current || o->lso6 == NDIS_PARAM_ON;
	bool can_rsc = nic->dialect->rsc && !nic->no_rsc;
	uint8_t rsc[4] = { can_rsc && (!current || o->rsc4 == NDIS_PARAM_ON),
			   can_rsc && (!current || o->rsc6 == NDIS_PARAM_ON), 0, 0 };

	put_object(a, NDIS_OBJECT_OFFLOAD, nic->dialect->offload_revision,
		   nic->dialect->offload_bytes);
	for (int v4 = 1; v4 >= 0; v4--) {
		for (int receive = 0; receive <= 1; receive++) {
			put32(a, NDIS_ENCAPSULATION_8023);
			put32(a, csum_word(nic, v4 ? o->tcp4 : o->tcp6, v4 ? o->udp4 : o->udp6, v4,
					   current, receive));
		}
	}
	put32(a, lso4 ? NDIS_ENCAPSULATION_8023 : 0); /* LSO version 1 */
	put32(a, lso4 ? NDIS_LSO_BYTES_MAX : 0);
	put32(a, lso4 ? NDIS_LSO_SEGMENTS_MIN : 0);
	put32(a, 0);
	for (int i = 0; i < 7; i++) {
		put32(a, 0); /* IPsec */
	}
	put32(a, lso4 ? NDIS_ENCAPSULATION_8023 : 0);
	put32(a, lso4 ? NDIS_LSO_BYTES_MAX : 0);
	put32(a, lso4 ? NDIS_LSO_SEGMENTS_MIN : 0);
	put32(a, lso6 ? NDIS_ENCAPSULATION_8023 : 0);
	put32(a, lso6 ? NDIS_LSO_BYTES_MAX : 0);
	put32(a, lso6 ? NDIS_LSO_SEGMENTS_MIN : 0);
	put32(a, lso6 ? NDIS_LSO6_EXTENSIONS | NDIS_LSO6_TCP_OPTIONS : 0);
	put32(a, 0);
	if (nic->dialect->offload_revision >= 2) {
		for (int i = 0; i < 8; i++) {
			put32(a, 0);
		}
	}
	if (nic->dialect->offload_revision >= 3) {
		put_bytes(a, rsc, sizeof(rsc));
		put64(a, 0);
	}
	check(a->bytes == nic->dialect->offload_bytes);
}

static void put_link_state(const struct netvsp *nic, struct answer *a)
{
	put_object(a, NDIS_OBJECT_DEFAULT, 1, sizeof(struct ndis_link_state));
	put32(a, netvsp_link(nic) ? 1 : 2);
	put32(a, 2);
	put32(a, 0);
	put64(a, nic->link_bits);
	put64(a, nic->link_bits);
	put32(a, 0);
	put32(a, 0);
}

static void put_rss_capabilities(const struct netvsp *nic, struct answer *a)
{
	bool has_queues = nic->queue_count > 1;

	put_object(a, NDIS_OBJECT_RSS_CAPS, 2, NDIS_RSS_CAPABILITIES_BYTES);
	put32(a,
	      has_queues ? NDIS_HASH_TOEPLITZ | NDIS_RSS_CAP_TCP_IPV4 | NDIS_RSS_CAP_TCP_IPV6 : 0);
	put32(a, 1);
	put32(a, nic->queue_count);
	put16(a, NET_RSS_TABLE_ENTRIES); /* DPDK divides by it */
}

static void put_encapsulation(struct answer *a)
{
	put_object(a, NDIS_OBJECT_ENCAPSULATION, 1, sizeof(struct ndis_encapsulation));
	for (int i = 0; i < 2; i++) {
		put32(a, 1);
		put32(a, NDIS_ENCAPSULATION_8023);
		put32(a, NET_HEADER_BYTES);
	}
}

/* The numbers. Whether there is one. */
static bool query_number(const struct netvsp *nic, uint32_t oid, struct answer *a)
{
	switch (oid) {
	case OID_GEN_HARDWARE_STATUS: /* ready */
	case OID_GEN_MEDIA_SUPPORTED: /* 802.3 */
	case OID_GEN_MEDIA_IN_USE:
	case OID_GEN_PHYSICAL_MEDIUM:
	case OID_GEN_XMIT_ERROR:
	case OID_802_3_RCV_ERROR_ALIGNMENT:
	case OID_802_3_XMIT_ONE_COLLISION:
	case OID_802_3_XMIT_MORE_COLLISIONS:
	case OID_GEN_RCV_ERROR:
		put32(a, 0);
		return true;
	case OID_GEN_MAXIMUM_LOOKAHEAD:
	case OID_GEN_MAXIMUM_FRAME_SIZE:
		put32(a, nic->mtu);
		return true;
	case OID_GEN_CURRENT_LOOKAHEAD:
		put32(a, nic->lookahead);
		return true;
	case OID_GEN_MAXIMUM_TOTAL_SIZE:
	case OID_GEN_TRANSMIT_BLOCK_SIZE:
	case OID_GEN_RECEIVE_BLOCK_SIZE:
		put32(a, nic->mtu + NET_HEADER_BYTES);
		return true;
	case OID_GEN_LINK_SPEED:
		put32(a, netvsp_link_speed(nic));
		return true;
	case OID_GEN_TRANSMIT_BUFFER_SPACE:
	case OID_GEN_RECEIVE_BUFFER_SPACE:
		put32(a, BUFFER_SPACE);
		return true;
	case OID_GEN_VENDOR_ID:
		put32(a, VENDOR_ID);
		return true;
	case OID_GEN_CURRENT_PACKET_FILTER:
		put32(a, nic->filter);
		return true;
	case OID_GEN_MAC_OPTIONS:
		put32(a, NDIS_MAC_COPY_LOOKAHEAD | NDIS_MAC_TRANSFERS_NOT_PEND |
				 NDIS_MAC_NO_LOOPBACK | NDIS_MAC_8021P_PRIORITY |
				 NDIS_MAC_8021Q_VLAN);
		return true;
	case OID_GEN_MEDIA_CONNECT_STATUS:
		put32(a, netvsp_link(nic) ? NDIS_MEDIA_CONNECTED : NDIS_MEDIA_DISCONNECTED);
		return true;
	case OID_GEN_MAXIMUM_SEND_PACKETS:
		put32(a, UINT32_MAX);
		return true;
	case OID_802_3_MAXIMUM_LIST_SIZE:
		put32(a, NETVSP_MULTICAST_MAX);
		return true;
	case OID_GEN_DRIVER_VERSION:
	case OID_GEN_VENDOR_DRIVER_VERSION:
		put16(a, DRIVER_VERSION);
		return true;
	default:
		return false;
	}
}

/* A counter of all queues together. */
static uint64_t sum(const struct netvsp *nic, size_t offset)
{
	uint64_t total = 0;

	for (unsigned int i = 0; i < nic->queue_count; i++) {
		const uint8_t *counters = (const uint8_t *)&nic->queues[i].counters;

		total += counter_read((const counter_u64 *)(const void *)(counters + offset));
	}
	return total;
}

static bool query_statistics(const struct netvsp *nic, uint32_t oid, struct answer *a)
{
#define SUM(name) sum(nic, offsetof(struct netvsp_counters, name))
	switch (oid) {
	case OID_GEN_XMIT_OK:
		put64(a, SUM(tx_frames));
		return true;
	case OID_GEN_RCV_OK:
		put64(a, SUM(rx_frames));
		return true;
	case OID_GEN_RCV_NO_BUFFER:
	case OID_GEN_RCV_DISCARDS:
		put64(a, SUM(rx_lost));
		return true;
	case OID_GEN_XMIT_DISCARDS:
		put64(a, SUM(tx_refused));
		return true;
	case OID_GEN_BYTES_RCV:
		put64(a, SUM(rx_bytes));
		return true;
	case OID_GEN_BYTES_XMIT:
		put64(a, SUM(tx_bytes));
		return true;
	case OID_GEN_DIRECTED_FRAMES_XMIT:
		put64(a, SUM(tx_frames) - SUM(tx_multicast) - SUM(tx_broadcast));
		return true;
	case OID_GEN_MULTICAST_FRAMES_XMIT:
		put64(a, SUM(tx_multicast));
		return true;
	case OID_GEN_BROADCAST_FRAMES_XMIT:
		put64(a, SUM(tx_broadcast));
		return true;
	case OID_GEN_DIRECTED_FRAMES_RCV:
		put64(a, SUM(rx_frames) - SUM(rx_multicast) - SUM(rx_broadcast));
		return true;
	case OID_GEN_MULTICAST_FRAMES_RCV:
		put64(a, SUM(rx_multicast));
		return true;
	case OID_GEN_BROADCAST_FRAMES_RCV:
		put64(a, SUM(rx_broadcast));
		return true;
	default:
		return false;
	}
#undef SUM
}

uint32_t netvsp_oid_query(struct netvsp *nic, uint32_t oid, uint8_t *info, uint32_t *ret_bytes)
{
	struct answer a = { .info = info };

	switch (oid) {
	case OID_GEN_SUPPORTED_LIST:
		put_supported(nic, &a);
		break;
	case OID_GEN_VENDOR_DESCRIPTION:
		put_bytes(&a, VENDOR_DESCRIPTION, sizeof(VENDOR_DESCRIPTION));
		break;
	case OID_GEN_FRIENDLY_NAME:
		put_friendly_name(nic, &a);
		break;
	case OID_802_3_PERMANENT_ADDRESS:
		put_bytes(&a, nic->permanent_mac, NET_MAC_BYTES);
		break;
	case OID_802_3_CURRENT_ADDRESS:
		put_bytes(&a, nic->mac, NET_MAC_BYTES);
		break;
	case OID_802_3_MULTICAST_LIST:
		put_bytes(&a, nic->multicast, nic->multicast_count * NET_MAC_BYTES);
		break;
	case OID_GEN_MAX_LINK_SPEED:
		put64(&a, nic->link_bits);
		put64(&a, nic->link_bits);
		break;
	case OID_GEN_LINK_STATE:
		put_link_state(nic, &a);
		break;
	case OID_TCP_OFFLOAD_HARDWARE_CAPS:
		put_offload(nic, false, &a);
		break;
	case OID_TCP_OFFLOAD_CURRENT_CONFIG:
		put_offload(nic, true, &a);
		break;
	case OID_GEN_RSS_CAPABILITIES:
		put_rss_capabilities(nic, &a);
		break;
	case OID_GEN_RSS_PARAMETERS:
		if (!nic->rss.is_set) {
			return RNDIS_STATUS_NOT_SUPPORTED;
		}
		static_assert(NETVSP_RSS_INFO_BYTES_MAX <= RNDIS_INFO_BYTES_MAX, "fits");
		a.bytes = netvsp_rss_build(&nic->rss, info);
		break;
	case OID_OFFLOAD_ENCAPSULATION:
		put_encapsulation(&a);
		break;
	default:
		if (!query_number(nic, oid, &a) && !query_statistics(nic, oid, &a)) {
			return RNDIS_STATUS_NOT_SUPPORTED;
		}
		break;
	}
	*ret_bytes = a.bytes;
	return RNDIS_STATUS_SUCCESS;
}

/* ---- what is set ---- */

static uint32_t set_multicast(struct netvsp *nic, const uint8_t *info, uint32_t bytes)
{
	if (bytes % NET_MAC_BYTES) {
		return RNDIS_STATUS_INVALID_LENGTH;
	}
	if (bytes / NET_MAC_BYTES > NETVSP_MULTICAST_MAX) {
		return RNDIS_STATUS_MULTICAST_FULL;
	}
	nic->multicast_count = bytes / NET_MAC_BYTES;
	if (bytes) {
		memcpy(nic->multicast, info, bytes);
	}
	netvsp_publish(nic);
	return RNDIS_STATUS_SUCCESS;
}

static void set_param(uint8_t *param, uint8_t value, uint8_t max)
{
	if (value != NDIS_PARAM_KEEP && value <= max) {
		*param = value;
	}
}

static uint32_t set_offload(struct netvsp *nic, const uint8_t *info, uint32_t bytes)
{
	struct netvsp_offloads *o = &nic->offloads;

	if (bytes < NDIS_OFFLOAD_PARAMETERS_BYTES_R1) {
		return RNDIS_STATUS_INVALID_LENGTH;
	}
	if (info[0] != NDIS_OBJECT_DEFAULT || info[1] < 1) {
		return RNDIS_STATUS_INVALID_DATA;
	}
#define PARAM(field) info[offsetof(struct ndis_offload_parameters, field)]
	set_param(&o->ip4, PARAM(ip4), NDIS_PARAM_TX_RX);
	set_param(&o->tcp4, PARAM(tcp4), NDIS_PARAM_TX_RX);
	set_param(&o->udp4, PARAM(udp4), NDIS_PARAM_TX_RX);
	set_param(&o->tcp6, PARAM(tcp6), NDIS_PARAM_TX_RX);
	set_param(&o->udp6, PARAM(udp6), NDIS_PARAM_TX_RX);
	set_param(&o->lso4, PARAM(lso2_ip4), NDIS_PARAM_ON);
	set_param(&o->lso6, PARAM(lso2_ip6), NDIS_PARAM_ON);
	if (bytes > offsetof(struct ndis_offload_parameters, rsc_ip6)) {
		set_param(&o->rsc4, PARAM(rsc_ip4), NDIS_PARAM_ON);
		set_param(&o->rsc6, PARAM(rsc_ip6), NDIS_PARAM_ON);
	}
#undef PARAM
	netvsp_publish(nic);
	return RNDIS_STATUS_SUCCESS;
}

static uint32_t set_config_parameter(struct netvsp *nic, const uint8_t *info, uint32_t bytes)
{
	uint8_t mac[NET_MAC_BYTES];
	int err = rndis_parse_network_address(info, bytes, mac);

	if (err == -EOPNOTSUPP) {
		return RNDIS_STATUS_NOT_SUPPORTED;
	}
	if (err || mac[0] & 1) {
		return RNDIS_STATUS_INVALID_DATA;
	}
	memcpy(nic->mac, mac, sizeof(mac));
	netvsp_publish(nic);
	return RNDIS_STATUS_SUCCESS;
}

static uint32_t set_rss(struct netvsp *nic, const uint8_t *info, uint32_t bytes)
{
	uint32_t status;

	if (nic->queue_count == 1) {
		return RNDIS_STATUS_SUCCESS; /* any table leads to the one queue */
	}
	status = netvsp_rss_set(&nic->rss, info, bytes, nic->granted + 1);
	if (status == RNDIS_STATUS_SUCCESS) {
		netvsp_publish(nic);
	}
	return status;
}

uint32_t netvsp_oid_set(struct netvsp *nic, uint32_t oid, const uint8_t *info, uint32_t bytes)
{
	switch (oid) {
	case OID_GEN_CURRENT_PACKET_FILTER:
		if (bytes < 4) {
			return RNDIS_STATUS_INVALID_LENGTH;
		}
		nic->filter = bytes_le32(info);
		netvsp_publish(nic);
		return RNDIS_STATUS_SUCCESS;
	case OID_GEN_CURRENT_LOOKAHEAD:
		if (bytes < 4) {
			return RNDIS_STATUS_INVALID_LENGTH;
		}
		nic->lookahead = bytes_le32(info);
		return RNDIS_STATUS_SUCCESS;
	case OID_802_3_MULTICAST_LIST:
		return set_multicast(nic, info, bytes);
	case OID_TCP_OFFLOAD_PARAMETERS:
		return set_offload(nic, info, bytes);
	case OID_GEN_RNDIS_CONFIG_PARAMETER:
		return set_config_parameter(nic, info, bytes);
	case OID_OFFLOAD_ENCAPSULATION:       /* 802.3, what else */
	case OID_GEN_NETWORK_LAYER_ADDRESSES: /* for switches that filter by them */
	case OID_GEN_PROTOCOL_OPTIONS:
	case OID_GEN_LINK_PARAMETERS:
		return RNDIS_STATUS_SUCCESS;
	case OID_GEN_RSS_PARAMETERS:
		return set_rss(nic, info, bytes);
	default:
		return RNDIS_STATUS_NOT_SUPPORTED;
	}
}

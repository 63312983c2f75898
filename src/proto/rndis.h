/* SPDX-License-Identifier: MIT */
/*
 * RNDIS as NVSP carries it: frames with per-packet information, and the control of the NIC by
 * object identifiers (OIDs) of NDIS. Little-endian. Offsets in bodies count from the body's start,
 * that is 8 bytes after the message's start.
 *
 *   spec  docs/protocols.md#rndis (Microsoft [MS-RNDIS]; facts: Linux include/linux/rndis.h,
 *         drivers/net/hyperv/hyperv_net.h, rndis_filter.c; OpenVMM netvsp rndisprot.rs)
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* ---- messages ---------------------------------------------------------------------------------- */

struct rndis_header {
	uint32_t type;  /* RNDIS_* */
	uint32_t bytes; /* with this header */
};
static_assert(sizeof(struct rndis_header) == 8, "rndis header");

#define RNDIS_COMPLETION               0x80000000U
#define RNDIS_PACKET                   1U
#define RNDIS_INITIALIZE               2U
#define RNDIS_HALT                     3U
#define RNDIS_QUERY                    4U
#define RNDIS_SET                      5U
#define RNDIS_RESET                    6U
#define RNDIS_INDICATE                 7U
#define RNDIS_KEEPALIVE                8U

#define RNDIS_VERSION_MAJOR            1U
#define RNDIS_VERSION_MINOR            0U

#define RNDIS_STATUS_SUCCESS           0x00000000U
#define RNDIS_STATUS_MEDIA_CONNECT     0x4001000bU
#define RNDIS_STATUS_MEDIA_DISCONNECT  0x4001000cU
#define RNDIS_STATUS_LINK_SPEED_CHANGE 0x40010013U
#define RNDIS_STATUS_OFFLOAD_CURRENT   0x40020006U
#define RNDIS_STATUS_FAILURE           0xc0000001U
#define RNDIS_STATUS_NOT_SUPPORTED     0xc00000bbU
#define RNDIS_STATUS_MULTICAST_FULL    0xc0010009U
#define RNDIS_STATUS_INVALID_LENGTH    0xc0010014U
#define RNDIS_STATUS_INVALID_DATA      0xc0010015U

/* guest → host; answered by rndis_initialize_complete */
struct rndis_initialize {
	uint32_t request_id;
	uint32_t major, minor;
	uint32_t transfer_bytes_max;
};
static_assert(sizeof(struct rndis_initialize) == 16, "rndis initialize");

struct rndis_initialize_complete {
	uint32_t request_id;
	uint32_t status;
	uint32_t major, minor;
	uint32_t device_flags; /* RNDIS_DEVICE_CONNECTIONLESS */
	uint32_t medium;       /* 0: 802.3 */
	uint32_t packets_per_message_max;
	uint32_t transfer_bytes_max;
	uint32_t
		packet_alignment_shift; /* packets in one message start at multiples of 1 << this */
	uint32_t address_families_offset;
	uint32_t address_families_bytes;
};
static_assert(sizeof(struct rndis_initialize_complete) == 44, "rndis initialize complete");

#define RNDIS_DEVICE_CONNECTIONLESS 1U

/* guest → host; no answer */
struct rndis_halt {
	uint32_t request_id;
};

/* guest → host; QUERY is answered by rndis_query_complete, SET by rndis_status_complete */
struct rndis_oid_request {
	uint32_t request_id;
	uint32_t oid;
	uint32_t info_bytes;
	uint32_t info_offset;
	uint32_t vc_handle;
};
static_assert(sizeof(struct rndis_oid_request) == 20, "rndis query, set");

struct rndis_query_complete {
	uint32_t request_id;
	uint32_t status;
	uint32_t info_bytes;
	uint32_t info_offset;
};
static_assert(sizeof(struct rndis_query_complete) == 16, "rndis query complete");

/* SET, KEEPALIVE */
struct rndis_status_complete {
	uint32_t request_id;
	uint32_t status;
};
static_assert(sizeof(struct rndis_status_complete) == 8, "rndis set complete");

/* RESET's body is one reserved word; its answer: */
struct rndis_reset_complete {
	uint32_t status;
	uint32_t addressing_reset; /* 1: the guest must set filter and lists again */
};
static_assert(sizeof(struct rndis_reset_complete) == 8, "rndis reset complete");

/* host → guest; no answer */
struct rndis_indicate {
	uint32_t status;
	uint32_t info_bytes;
	uint32_t info_offset;
};
static_assert(sizeof(struct rndis_indicate) == 12, "rndis indicate");

/* ---- frames ------------------------------------------------------------------------------------ */

/* both ways: RNDIS_PACKET */
struct rndis_packet {
	uint32_t data_offset;
	uint32_t data_bytes;
	uint32_t oob_offset, oob_bytes, oob_count;
	uint32_t ppi_offset; /* per-packet information: a list of rndis_ppi */
	uint32_t ppi_bytes;
	uint32_t vc_handle;
	uint32_t reserved;
};
static_assert(sizeof(struct rndis_packet) == 36, "rndis packet");

/* One piece of per-packet information; the value is at value_offset from here. */
struct rndis_ppi {
	uint32_t bytes; /* with this header */
	uint32_t type;  /* RNDIS_PPI_* */
	uint32_t value_offset;
};
static_assert(sizeof(struct rndis_ppi) == 12, "rndis per-packet information");

#define RNDIS_PPI_CHECKSUM       0U
#define RNDIS_PPI_LSO            2U
#define RNDIS_PPI_VLAN           6U
#define RNDIS_PPI_HASH           8U
#define RNDIS_PPI_INTERNAL       0x80000000U
#define RNDIS_PPI_ID             (RNDIS_PPI_INTERNAL | 1U)

/* The value of RNDIS_PPI_CHECKSUM on transmit: bits, and the TCP or UDP header's offset. */
#define RNDIS_TX_IPV4            (1U << 0)
#define RNDIS_TX_IPV6            (1U << 1)
#define RNDIS_TX_TCP             (1U << 2)
#define RNDIS_TX_UDP             (1U << 3)
#define RNDIS_TX_IP_HEADER       (1U << 4)
#define RNDIS_TX_L4_SHIFT        16 /* 10 bits: offset from the frame's start */
#define RNDIS_TX_L4_MASK         0x3ffU

/* … and on receive. */
#define RNDIS_RX_TCP_FAILED      (1U << 0)
#define RNDIS_RX_UDP_FAILED      (1U << 1)
#define RNDIS_RX_IP_FAILED       (1U << 2)
#define RNDIS_RX_TCP_GOOD        (1U << 3)
#define RNDIS_RX_UDP_GOOD        (1U << 4)
#define RNDIS_RX_IP_GOOD         (1U << 5)
#define RNDIS_RX_LOOPBACK        (1U << 6)
#define RNDIS_RX_TCP_INVALID     (1U << 7)
#define RNDIS_RX_IP_INVALID      (1U << 8)

/*
 * RNDIS_PPI_LSO: version 1 (Windows Server 2008; type bit 0) and version 2 alike have mss and offset,
 * and the guest leaves the checksums out; version 2 also says which IP. Which it is we see in the frame.
 */
#define RNDIS_LSO_MSS_MASK       0xfffffU
#define RNDIS_LSO_L4_SHIFT       20
#define RNDIS_LSO_L4_MASK        0x3ffU
#define RNDIS_LSO_TYPE_V2        (1U << 30)
#define RNDIS_LSO_IPV6           (1U << 31)

/* RNDIS_PPI_VLAN */
#define RNDIS_VLAN_PRIORITY_MASK 7U
#define RNDIS_VLAN_CFI           (1U << 3)
#define RNDIS_VLAN_ID_SHIFT      4

/* RNDIS_PPI_ID: one of the pieces into which a coalesced frame (RSC) was put. */
struct rndis_ppi_id {
	uint8_t version; /* 1 */
	uint8_t flags;   /* RNDIS_ID_* */
	uint16_t packet_id;
};
static_assert(sizeof(struct rndis_ppi_id) == 4, "rndis packet id");

#define RNDIS_ID_PIECE                  1U
#define RNDIS_ID_PIECE_FIRST            2U
#define RNDIS_ID_PIECE_LAST             4U

/* ---- OIDs -------------------------------------------------------------------------------------- */

#define OID_GEN_SUPPORTED_LIST          0x00010101U
#define OID_GEN_HARDWARE_STATUS         0x00010102U
#define OID_GEN_MEDIA_SUPPORTED         0x00010103U
#define OID_GEN_MEDIA_IN_USE            0x00010104U
#define OID_GEN_MAXIMUM_LOOKAHEAD       0x00010105U
#define OID_GEN_MAXIMUM_FRAME_SIZE      0x00010106U
#define OID_GEN_LINK_SPEED              0x00010107U
#define OID_GEN_TRANSMIT_BUFFER_SPACE   0x00010108U
#define OID_GEN_RECEIVE_BUFFER_SPACE    0x00010109U
#define OID_GEN_TRANSMIT_BLOCK_SIZE     0x0001010aU
#define OID_GEN_RECEIVE_BLOCK_SIZE      0x0001010bU
#define OID_GEN_VENDOR_ID               0x0001010cU
#define OID_GEN_VENDOR_DESCRIPTION      0x0001010dU
#define OID_GEN_CURRENT_PACKET_FILTER   0x0001010eU
#define OID_GEN_CURRENT_LOOKAHEAD       0x0001010fU
#define OID_GEN_DRIVER_VERSION          0x00010110U
#define OID_GEN_MAXIMUM_TOTAL_SIZE      0x00010111U
#define OID_GEN_PROTOCOL_OPTIONS        0x00010112U
#define OID_GEN_MAC_OPTIONS             0x00010113U
#define OID_GEN_MEDIA_CONNECT_STATUS    0x00010114U
#define OID_GEN_MAXIMUM_SEND_PACKETS    0x00010115U
#define OID_GEN_VENDOR_DRIVER_VERSION   0x00010116U
#define OID_GEN_NETWORK_LAYER_ADDRESSES 0x00010118U
#define OID_GEN_PHYSICAL_MEDIUM         0x00010202U
#define OID_GEN_RSS_CAPABILITIES        0x00010203U
#define OID_GEN_RSS_PARAMETERS          0x00010204U
#define OID_GEN_MAX_LINK_SPEED          0x00010206U
#define OID_GEN_LINK_STATE              0x00010207U
#define OID_GEN_LINK_PARAMETERS         0x00010208U
#define OID_GEN_RNDIS_CONFIG_PARAMETER  0x0001021bU
#define OID_GEN_XMIT_OK                 0x00020101U
#define OID_GEN_RCV_OK                  0x00020102U
#define OID_GEN_XMIT_ERROR              0x00020103U
#define OID_GEN_RCV_ERROR               0x00020104U
#define OID_GEN_RCV_NO_BUFFER           0x00020105U
#define OID_GEN_DIRECTED_FRAMES_XMIT    0x00020202U
#define OID_GEN_MULTICAST_FRAMES_XMIT   0x00020204U
#define OID_GEN_BROADCAST_FRAMES_XMIT   0x00020206U
#define OID_GEN_DIRECTED_FRAMES_RCV     0x00020208U
#define OID_GEN_MULTICAST_FRAMES_RCV    0x0002020aU
#define OID_GEN_BROADCAST_FRAMES_RCV    0x0002020cU
#define OID_GEN_FRIENDLY_NAME           0x00020216U
#define OID_GEN_BYTES_RCV               0x00020219U
#define OID_GEN_BYTES_XMIT              0x0002021aU
#define OID_GEN_RCV_DISCARDS            0x0002021bU
#define OID_GEN_XMIT_DISCARDS           0x0002021cU
#define OID_802_3_PERMANENT_ADDRESS     0x01010101U
#define OID_802_3_CURRENT_ADDRESS       0x01010102U
#define OID_802_3_MULTICAST_LIST        0x01010103U
#define OID_802_3_MAXIMUM_LIST_SIZE     0x01010104U
#define OID_OFFLOAD_ENCAPSULATION       0x0101010aU
#define OID_802_3_RCV_ERROR_ALIGNMENT   0x01020101U
#define OID_802_3_XMIT_ONE_COLLISION    0x01020102U
#define OID_802_3_XMIT_MORE_COLLISIONS  0x01020103U
#define OID_TCP_OFFLOAD_CURRENT_CONFIG  0xfc01020bU
#define OID_TCP_OFFLOAD_PARAMETERS      0xfc01020cU
#define OID_TCP_OFFLOAD_HARDWARE_CAPS   0xfc01020dU

/* OID_GEN_CURRENT_PACKET_FILTER */
#define NDIS_FILTER_DIRECTED            0x01U
#define NDIS_FILTER_MULTICAST           0x02U
#define NDIS_FILTER_ALL_MULTICAST       0x04U
#define NDIS_FILTER_BROADCAST           0x08U
#define NDIS_FILTER_PROMISCUOUS         0x20U

/* OID_GEN_MEDIA_CONNECT_STATUS */
#define NDIS_MEDIA_CONNECTED            0U
#define NDIS_MEDIA_DISCONNECTED         1U

/* OID_GEN_MAC_OPTIONS */
#define NDIS_MAC_COPY_LOOKAHEAD         0x001U
#define NDIS_MAC_TRANSFERS_NOT_PEND     0x004U
#define NDIS_MAC_NO_LOOPBACK            0x008U
#define NDIS_MAC_8021P_PRIORITY         0x040U
#define NDIS_MAC_8021Q_VLAN             0x200U

struct ndis_object {
	uint8_t type; /* NDIS_OBJECT_* */
	uint8_t revision;
	uint16_t bytes;
};
static_assert(sizeof(struct ndis_object) == 4, "ndis object");

#define NDIS_OBJECT_DEFAULT        0x80
#define NDIS_OBJECT_RSS_CAPS       0x88
#define NDIS_OBJECT_RSS_PARAMETERS 0x89
#define NDIS_OBJECT_OFFLOAD        0xa7
#define NDIS_OBJECT_ENCAPSULATION  0xa8

/* OID_TCP_OFFLOAD_HARDWARE_CAPS, OID_TCP_OFFLOAD_CURRENT_CONFIG. */
struct ndis_offload {
	struct ndis_object object;
	uint32_t ip4_tx_encapsulation, ip4_tx; /* NDIS_ENCAPSULATION_*, NDIS_CSUM_* */
	uint32_t ip4_rx_encapsulation, ip4_rx;
	uint32_t ip6_tx_encapsulation, ip6_tx;
	uint32_t ip6_rx_encapsulation, ip6_rx;
	uint32_t lso1_encapsulation, lso1_bytes_max, lso1_segments_min, lso1_options;
	uint32_t ipsec1[7];
	uint32_t lso4_encapsulation, lso4_bytes_max, lso4_segments_min;
	uint32_t lso6_encapsulation, lso6_bytes_max, lso6_segments_min, lso6_options;
	uint32_t flags;
	/* revision 2 (NDIS 6.1) */
	uint32_t ipsec2[8];
	/* revision 3 (NDIS 6.30) */
	uint8_t rsc_ip4, rsc_ip6;
	uint8_t reserved[2];
	uint32_t gre_flags, gre_header_max;
};
static_assert(offsetof(struct ndis_offload, ipsec2) == 112, "offload revision 1");
static_assert(offsetof(struct ndis_offload, rsc_ip4) == 144, "offload revision 2");
static_assert(sizeof(struct ndis_offload) == 156, "offload revision 3");

#define NDIS_OFFLOAD_BYTES_R1   112
#define NDIS_OFFLOAD_BYTES_R2   144
#define NDIS_OFFLOAD_BYTES_R3   156

#define NDIS_ENCAPSULATION_8023 2U

/* ip4_tx, ip4_rx; the v6 fields have 1 for extension headers and no 0x100. */
#define NDIS_CSUM_IP_OPTIONS    0x001U
#define NDIS_CSUM_TCP_OPTIONS   0x004U
#define NDIS_CSUM_TCP           0x010U
#define NDIS_CSUM_UDP           0x040U
#define NDIS_CSUM_IP4_HEADER    0x100U

#define NDIS_LSO6_EXTENSIONS    0x001U
#define NDIS_LSO6_TCP_OPTIONS   0x004U

/* The most payload that Hyper-V's switch takes in one large send. */
#define NDIS_LSO_BYTES_MAX      0xf53cU
#define NDIS_LSO_SEGMENTS_MIN   2U

/* OID_TCP_OFFLOAD_PARAMETERS. Revision 1 ends after flags (20), 3 has what follows. */
struct ndis_offload_parameters {
	struct ndis_object object;           /* NDIS_OBJECT_DEFAULT */
	uint8_t ip4, tcp4, udp4, tcp6, udp6; /* NDIS_PARAM_* of checksums */
	uint8_t lso1;
	uint8_t ipsec1;
	uint8_t lso2_ip4, lso2_ip6; /* NDIS_PARAM_OFF, NDIS_PARAM_ON */
	uint8_t connection4, connection6;
	uint8_t reserved;
	uint32_t flags;
	uint8_t ipsec2, ipsec2_ip4;
	uint8_t rsc_ip4, rsc_ip6; /* NDIS_PARAM_OFF, NDIS_PARAM_ON */
	uint8_t encapsulation, encapsulation_types;
	uint8_t reserved2[2];
};
static_assert(offsetof(struct ndis_offload_parameters, rsc_ip4) == 22, "offload parameters");
static_assert(sizeof(struct ndis_offload_parameters) == 28, "offload parameters");

#define NDIS_OFFLOAD_PARAMETERS_BYTES_R1 16 /* the shortest that holds what we look at */

#define NDIS_PARAM_KEEP                  0
#define NDIS_PARAM_OFF                   1 /* for checksums: neither way */
#define NDIS_PARAM_ON                    2 /* for checksums: transmit only */
#define NDIS_PARAM_RX                    3
#define NDIS_PARAM_TX_RX                 4

/* OID_GEN_RSS_CAPABILITIES, revision 2 (18 bytes on the wire) */
struct ndis_rss_capabilities {
	struct ndis_object object; /* NDIS_OBJECT_RSS_CAPS */
	uint32_t flags;
	uint32_t interrupts;
	uint32_t receive_queues;
	uint16_t indirection_entries;
	uint16_t reserved;
};
static_assert(sizeof(struct ndis_rss_capabilities) == 20, "rss capabilities");
#define NDIS_RSS_CAPABILITIES_BYTES 18

/* ndis_rss_capabilities.flags: hash function, and what it can be of. */
#define NDIS_RSS_CAP_TCP_IPV4       0x100U
#define NDIS_RSS_CAP_TCP_IPV6       0x200U

/*
 * OID_GEN_RSS_PARAMETERS, revision 2, aligned as a C compiler does it (Linux does not pack it). Table
 * (32 bits for each entry: a queue) and key lie at offsets from the start.
 */
struct ndis_rss_parameters {
	struct ndis_object object; /* NDIS_OBJECT_RSS_PARAMETERS */
	uint16_t flags;            /* NDIS_RSS_* */
	uint16_t base_cpu;
	uint32_t hash_info; /* NDIS_HASH_* */
	uint16_t table_bytes;
	uint16_t reserved1;
	uint32_t table_offset;
	uint16_t key_bytes;
	uint16_t reserved2;
	uint32_t key_offset;
	uint32_t masks_offset, masks_count, mask_bytes; /* of processors: not looked at */
};
static_assert(offsetof(struct ndis_rss_parameters, key_offset) == 24, "rss parameters");
static_assert(sizeof(struct ndis_rss_parameters) == 40, "rss parameters");
#define NDIS_RSS_PARAMETERS_BYTES_MIN 28U
#define NDIS_RSS_PARAMETERS_REVISION  2

#define NDIS_RSS_BASE_CPU_UNCHANGED   0x0001U
#define NDIS_RSS_HASH_INFO_UNCHANGED  0x0002U
#define NDIS_RSS_TABLE_UNCHANGED      0x0004U
#define NDIS_RSS_KEY_UNCHANGED        0x0008U
#define NDIS_RSS_DISABLE              0x0010U

#define NDIS_HASH_FUNCTION_MASK       0xffU
#define NDIS_HASH_TOEPLITZ            0x01U
#define NDIS_HASH_IPV4                0x0100U
#define NDIS_HASH_TCP_IPV4            0x0200U
#define NDIS_HASH_IPV6                0x0400U
#define NDIS_HASH_IPV6_EX             0x0800U
#define NDIS_HASH_TCP_IPV6            0x1000U
#define NDIS_HASH_TCP_IPV6_EX         0x2000U
#define NDIS_HASH_UDP_IPV4            0x4000U
#define NDIS_HASH_UDP_IPV6            0x8000U

/* OID_GEN_LINK_STATE */
struct ndis_link_state {
	struct ndis_object object; /* NDIS_OBJECT_DEFAULT, revision 1 */
	uint32_t connect;          /* 1 connected, 2 disconnected */
	uint32_t duplex;           /* 2 full */
	uint32_t reserved;
	uint64_t transmit_bits, receive_bits; /* per second */
	uint32_t pause;
	uint32_t auto_negotiation;
};
static_assert(sizeof(struct ndis_link_state) == 40, "link state");

/* OID_OFFLOAD_ENCAPSULATION */
struct ndis_encapsulation {
	struct ndis_object object; /* NDIS_OBJECT_ENCAPSULATION, revision 1 */
	uint32_t ip4_enabled, ip4_type, ip4_header_bytes;
	uint32_t ip6_enabled, ip6_type, ip6_header_bytes;
};
static_assert(sizeof(struct ndis_encapsulation) == 28, "encapsulation");

/* OID_GEN_RNDIS_CONFIG_PARAMETER; offsets from its start, strings in UTF-16. */
struct rndis_config_parameter {
	uint32_t name_offset, name_bytes;
	uint32_t type; /* RNDIS_CONFIG_* */
	uint32_t value_offset, value_bytes;
};
static_assert(sizeof(struct rndis_config_parameter) == 20, "rndis config parameter");

#define RNDIS_CONFIG_INTEGER 0U
#define RNDIS_CONFIG_STRING  2U

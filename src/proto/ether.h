/* SPDX-License-Identifier: MIT */
/*
 * Ethernet and what lies in its frames, as far as the switch looks: constants only. Everything on the
 * wire is big-endian and is read bytewise at these offsets.
 *
 *   spec    IEEE 802.3, 802.1Q; RFC 826 (ARP), 791 (IPv4), 8200 (IPv6), 792, 4443 (ICMP), 4861 (ND),
 *           2236, 3376 (IGMP), 2710, 3810 (MLD), 2131 (DHCP), 8415 (DHCPv6)
 */
#pragma once

#define ETHER_TO_OFFSET       0
#define ETHER_FROM_OFFSET     6
#define ETHER_TYPE_OFFSET     12
#define ETHER_HEADER_BYTES    14
#define ETHER_TAG_BYTES       4

#define ETHER_TYPE_IPV4       0x0800U
#define ETHER_TYPE_ARP        0x0806U
#define ETHER_TYPE_RARP       0x8035U
#define ETHER_TYPE_VLAN       0x8100U
#define ETHER_TYPE_QINQ       0x88a8U
#define ETHER_TYPE_IPV6       0x86ddU
#define ETHER_TYPE_LENGTH_MAX 1500U /* up to here it is a length (802.3 with LLC) */

#define ETHER_VLAN_MASK       0x0fffU
#define ETHER_VLAN_MAX        4094U
#define ETHER_PCP_SHIFT       13

#define IP_PROTOCOL_ICMP      1U
#define IP_PROTOCOL_IGMP      2U
#define IP_PROTOCOL_TCP       6U
#define IP_PROTOCOL_UDP       17U
#define IP_PROTOCOL_ICMPV6    58U
#define IP_PROTOCOL_NONE      59U
#define IP_PROTOCOL_PIM       103U

/* IPv6 extension headers (RFC 8200, 4302) */
#define IPV6_EXT_HOP_BY_HOP   0U
#define IPV6_EXT_ROUTING      43U
#define IPV6_EXT_FRAGMENT     44U
#define IPV6_EXT_AH           51U
#define IPV6_EXT_DESTINATION  60U
#define IPV6_EXT_MOBILITY     135U
#define IPV6_EXT_HIP          139U
#define IPV6_EXT_SHIM6        140U

#define ARP_OPERATION_REQUEST 1U
#define ARP_OPERATION_REPLY   2U

#define ICMPV6_RS             133U
#define ICMPV6_RA             134U
#define ICMPV6_NS             135U
#define ICMPV6_NA             136U
#define ICMPV6_REDIRECT       137U
#define ICMPV6_MLD_QUERY      130U
#define ICMPV6_MLD_REPORT     131U
#define ICMPV6_MLD_DONE       132U
#define ICMPV6_MLD2_REPORT    143U

#define IGMP_QUERY            0x11U
#define IGMP_V1_REPORT        0x12U
#define IGMP_V2_REPORT        0x16U
#define IGMP_LEAVE            0x17U
#define IGMP_V3_REPORT        0x22U

#define DHCP_SERVER_PORT      67U
#define DHCP_CLIENT_PORT      68U
#define DHCPV6_CLIENT_PORT    546U
#define DHCPV6_SERVER_PORT    547U

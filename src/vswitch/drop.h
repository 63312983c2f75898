/* SPDX-License-Identifier: MIT */
/*
 * Why a frame went no further. Each is counted per port and per core, and has a name that people see
 * (`tabique switch stats`); one list, so that no cause is without.
 */
#pragma once

#include <stdint.h>

/* X(constant, name, what it means) */
#define DROP_CAUSES(X)                                                                             \
	X(DROP_NONE, "none", "goes on")                                                            \
	X(DROP_RUNT, "runt", "shorter than an Ethernet header")                                    \
	X(DROP_LONG, "long", "longer than the MTU and not to be cut")                              \
	X(DROP_SOURCE, "source", "sent from a group's or the zero address")                        \
	X(DROP_OFFLOAD, "offload", "headers that do not fit what is to be done to them")           \
	X(DROP_PORT_LINK, "port-link", "the source port's link is down")                           \
	X(DROP_VLAN, "vlan", "a VLAN that the source port is not in")                              \
	X(DROP_MAC_SPOOF, "mac-spoof", "a source address that is not the port's")                  \
	X(DROP_DHCP, "dhcp-guard", "a DHCP server's message from a port that may not")             \
	X(DROP_ROUTER, "router-guard", "a router advertisement or redirect from one that may not") \
	X(DROP_ARP, "arp-guard", "ARP or ND for an address that is not the port's")                \
	X(DROP_HIDDEN, "hidden", "IPv6 headers that hide what a guard must see")                   \
	X(DROP_ACL_IN, "acl-in", "a rule of the source port")                                      \
	X(DROP_ACL_OUT, "acl-out", "a rule of the destination port")                               \
	X(DROP_FLOW_TABLE, "flow-table", "no room for a stateful rule's connection")               \
	X(DROP_MAC_LIMIT, "mac-limit", "more addresses than the port may have")                    \
	X(DROP_STORM_BROADCAST, "storm-broadcast", "over the port's rate of broadcasts")           \
	X(DROP_STORM_MULTICAST, "storm-multicast", "over its rate of multicasts")                  \
	X(DROP_STORM_UNKNOWN, "storm-unknown", "over its rate of frames to unknown addresses")     \
	X(DROP_PPS, "pps", "over its rate of frames")                                              \
	X(DROP_NOWHERE, "nowhere", "no port to go to")                                             \
	X(DROP_LINK_LOCAL, "link-local", "to an address that bridges keep: pause, LACP, LLDP …")   \
	X(DROP_SPLIT_HORIZON, "split-horizon", "came back to where it came from")                  \
	X(DROP_TEAM, "team", "came in on an uplink that is not to be listened to")                 \
	X(DROP_NAT, "nat", "between NAT, which is for guests and the host, and an uplink")         \
	X(DROP_LINK, "link", "the destination's link is down")                                     \
	X(DROP_MTU, "mtu", "longer than the destination takes")                                    \
	X(DROP_NO_BUFFER, "no-buffer", "the destination has no receive buffer left")               \
	X(DROP_NO_LANE, "no-lane", "no room on the way to the destination's core")                 \
	X(DROP_UPLINK_FULL, "uplink-full", "the uplink takes no more")                             \
	X(DROP_EXT_FILTER, "ext-filter", "a filter extension said so")                             \
	X(DROP_EXT_FULL, "ext-full", "an extension that must see it has no room")                  \
	X(DROP_EXT_LATE, "ext-late", "an extension that must see it did not answer in time")       \
	X(DROP_EXT_BAD, "ext-bad", "an extension's answer made no sense")

enum drop_cause {
#define DROP_AS_CONSTANT(constant, name, meaning) constant,
	DROP_CAUSES(DROP_AS_CONSTANT)
#undef DROP_AS_CONSTANT
		DROP_CAUSE_COUNT
};

/* "acl-in"; and the sentence. cause is below DROP_CAUSE_COUNT. */
const char *drop_cause_name(enum drop_cause cause);
const char *drop_cause_meaning(enum drop_cause cause);

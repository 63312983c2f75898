/* SPDX-License-Identifier: MIT */
/*
 * A switch's way to the world by an interface of the host: which of the back ends for that, and that
 * one made.
 *
 *   auto   AF_XDP where the interface's driver has XDP natively; if that fails, and for everything
 *          else (veth, bridges, TAP devices, bonds, drivers that are not known), packet sockets, which
 *          carry large segments whole
 *
 *   owner   as net.h says   thread  as net/packet.h, net/xdp.h say
 */
#pragma once

#include "net/net.h"

enum net_uplink_mode { NET_UPLINK_AUTO, NET_UPLINK_XDP, NET_UPLINK_PACKET, NET_UPLINK_TAP };

#define NET_UPLINK_ENDS_MAX 16U

struct net_uplink_config {
	const char *name; /* of the interface */
	enum net_uplink_mode mode;
	unsigned int
		ends;     /* 1 to NET_UPLINK_ENDS_MAX: the first end and its twins, one per queue */
	int link_fd_take; /* of linkwatch_open(); -1: opens one */
};

/* NET_UPLINK_XDP or NET_UPLINK_PACKET, by the name of a driver (as of ethtool -i; "": none). */
enum net_uplink_mode net_uplink_for_driver(const char *driver);

/* The same for an interface; *ret_why says of which driver it is. */
enum net_uplink_mode net_uplink_choose(const char *name, struct diag *ret_why);

/*
 * Opens and makes the back end: needs the rights for that (CAP_NET_RAW; for XDP also CAP_NET_ADMIN and
 * CAP_BPF). 0, or an errno with a sentence. *ret_why: with auto, why it has become what net_kind() says.
 */
MUST_CHECK int net_uplink_create(struct loop *loop, const struct net_uplink_config *config,
				 struct net **ret, struct diag *ret_why, struct diag *reterr);

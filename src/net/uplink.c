/* SPDX-License-Identifier: MIT */
#include "net/uplink.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/num.h"
#include "net/interface.h"
#include "net/packet.h"
#include "net/tap.h"
#include "net/xdp.h"

static_assert(NET_UPLINK_ENDS_MAX <= NET_PACKET_ENDS_MAX, "a packet socket has so many ends");
static_assert(NET_UPLINK_ENDS_MAX <= NET_XDP_QUEUES_MAX, "AF_XDP has so many ends");
static_assert(NET_UPLINK_ENDS_MAX <= NET_TAP_QUEUES_MAX, "a TAP device has so many ends");

/* Drivers of cards that have ndo_bpf in Linux 6.1. */
static const char *const native[] = {
	"atlantic",  "bnxt_en",   "dpaa2-eth",   "ena",     "fsl_dpaa2_eth",
	"fsl_enetc", "fsl_dpa",   "hv_netvsc",   "i40e",    "ice",
	"igb",       "igc",       "ixgbe",       "ixgbevf", "lan966x-switch",
	"mlx4_en",   "mlx5_core", "mtk_soc_eth", "mvneta",  "mvpp2",
	"netsec",    "nfp",       "nicvf",       "qede",    "rvu-nicpf",
	"rvu-nicvf", "sfc",       "st_gmac",     "stmmac",  "virtio_net",
};

enum net_uplink_mode net_uplink_for_driver(const char *driver)
{
	for (size_t i = 0; i < ARRAY_SIZE(native); i++) {
		if (strcmp(driver, native[i]) == 0) {
			return NET_UPLINK_XDP;
		}
	}
	return NET_UPLINK_PACKET;
}

static void find_driver(const char *name, char driver[32])
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq request;
	int fd = net_interface_ask(name, &request);

	driver[0] = 0;
	if (fd < 0) {
		return;
	}
	request.ifr_data = (void *)&info;
	if (ioctl(fd, SIOCETHTOOL, &request) == 0) {
		memcpy(driver, info.driver, 31);
		driver[31] = 0;
	}
	close(fd);
}

enum net_uplink_mode net_uplink_choose(const char *name, struct diag *ret_why)
{
	enum net_uplink_mode mode;
	char driver[32];

	find_driver(name, driver);
	mode = net_uplink_for_driver(driver);
	(void)diag_set(ret_why, 0, "'%s' is of the driver %s, which %s", name,
		       driver[0] ? driver : "(none)",
		       mode == NET_UPLINK_XDP ? "has XDP" : "is better served by packet sockets");
	return mode;
}

static int make_xdp(struct loop *loop, const struct net_uplink_config *config, bool may_be_generic,
		    struct net **ret, struct diag *reterr)
{
	struct net_xdp_config xdp = { .name = config->name,
				      .mode = NET_XDP_NATIVE,
				      .queues = config->ends,
				      .map_fd = -1,
				      .link_fd_take = -1 };
	int err;

	if (config->link_fd_take >= 0) {
		xdp.link_fd_take = fcntl(config->link_fd_take, F_DUPFD_CLOEXEC, 0);
	}
	err = net_xdp_create(loop, &xdp, ret, reterr);
	if (err && err != -EMSGSIZE && err != -ENODEV && may_be_generic) {
		xdp.mode = NET_XDP_GENERIC;
		xdp.link_fd_take = config->link_fd_take >= 0
					   ? fcntl(config->link_fd_take, F_DUPFD_CLOEXEC, 0)
					   : -1;
		err = net_xdp_create(loop, &xdp, ret, reterr);
	}
	return err;
}

static int make_packet(struct loop *loop, const struct net_uplink_config *config, struct net **ret,
		       struct diag *reterr)
{
	int fds[NET_UPLINK_ENDS_MAX];
	const struct net_packet_config packet = { .name = config->name,
						  .fds_take = fds,
						  .ends = config->ends,
						  .link_fd_take = config->link_fd_take };
	int err = net_packet_open(config->name, config->ends, fds, reterr);

	if (err && config->link_fd_take >= 0) {
		close(config->link_fd_take);
	}
	return err ? err : net_packet_create(loop, &packet, ret, reterr);
}

static int make_tap(struct loop *loop, const struct net_uplink_config *config, struct net **ret,
		    struct diag *reterr)
{
	int fds[NET_UPLINK_ENDS_MAX];
	const struct net_tap_config tap = { .fds_take = fds,
					    .queues = config->ends,
					    .link_fd_take = config->link_fd_take };
	int err = net_tap_open(config->name, config->ends, fds, reterr);

	if (err && config->link_fd_take >= 0) {
		close(config->link_fd_take);
	}
	return err ? err : net_tap_create(loop, &tap, ret, reterr);
}

static int finish_xdp(const struct net_uplink_config *config, int err)
{
	if (config->link_fd_take >= 0) {
		close(config->link_fd_take);
	}
	return err;
}

int net_uplink_create(struct loop *loop, const struct net_uplink_config *config, struct net **ret,
		      struct diag *ret_why, struct diag *reterr)
{
	struct diag failure = { "" };

	check(config->ends >= 1 && config->ends <= NET_UPLINK_ENDS_MAX);
	(void)diag_set(ret_why, 0, "it was asked for");
	switch (config->mode) {
	case NET_UPLINK_TAP:
		return make_tap(loop, config, ret, reterr);
	case NET_UPLINK_XDP:
		return finish_xdp(config, make_xdp(loop, config, true, ret, reterr));
	case NET_UPLINK_AUTO:
		if (net_uplink_choose(config->name, ret_why) == NET_UPLINK_XDP) {
			if (!make_xdp(loop, config, false, ret, &failure)) {
				return finish_xdp(config, 0);
			}
			*ret_why = failure;
		}
		break;
	case NET_UPLINK_PACKET:
		break;
	}
	return make_packet(loop, config, ret, reterr);
}

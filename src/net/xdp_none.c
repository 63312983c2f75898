/* SPDX-License-Identifier: MIT */
/* In place of xdp.c where libxdp is missing. */
#include <errno.h>
#include <unistd.h>

#include "net/xdp.h"

static int refuse(struct diag *reterr)
{
	return diag_set(reterr, -EOPNOTSUPP,
			"built without AF_XDP (install libxdp-dev and build again)");
}

bool net_xdp_is_there(void)
{
	return false;
}

int net_xdp_load(const char *name, int *ret_map_fd, struct diag *reterr)
{
	(void)name;
	(void)ret_map_fd;
	return refuse(reterr);
}

void net_xdp_unload(const char *name)
{
	(void)name;
}

int net_xdp_create(struct loop *loop, const struct net_xdp_config *config, struct net **ret,
		   struct diag *reterr)
{
	(void)loop;
	(void)ret;
	if (config->link_fd_take >= 0) {
		close(config->link_fd_take);
	}
	return refuse(reterr);
}

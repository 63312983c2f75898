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
	for (unsigned int i = 0; config->fds_take && i < config->queues; i++) {
		close(config->fds_take[i]);
	}
	if (config->fds_take) {
		close(config->memory_fd_take);
	}
	return refuse(reterr);
}

int net_xdp_open(const char *name, unsigned int ends, int ret_fds[NET_XDP_QUEUES_MAX],
		 unsigned int *ret_count, int *ret_memory_fd, struct diag *reterr)
{
	(void)name;
	(void)ret_memory_fd;
	(void)ends;
	(void)ret_fds;
	(void)ret_count;
	return refuse(reterr);
}

int net_xdp_bind(const char *name, const int *fds, unsigned int count, int *ret_map_fd,
		 struct diag *reterr)
{
	(void)name;
	(void)fds;
	(void)count;
	(void)ret_map_fd;
	return refuse(reterr);
}

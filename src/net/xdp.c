/* SPDX-License-Identifier: MIT */
#include "net/xdp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fault.h"
#include "net/xdp_internal.h"

/* ---- its queues ---- */

/* Those that were given to us are the wire's to close, also when this fails. */
static int adopt_queues(struct xdp_state *state, const struct net_xdp_config *config,
			struct diag *reterr)
{
	int err = 0;

	for (unsigned int n = 0; n < config->queues && !err; n++) {
		err = xdp_queue_adopt(&state->queues[n], config->fds_take[n],
				      config->memory_fd_take, n);
	}
	close(config->memory_fd_take);
	if (err) {
		return diag_set(reterr, err, "no AF_XDP on network interface '%s': %s",
				config->name, strerror(-err));
	}
	return config->bind(config->bind_ctx, reterr);
}

/* The descriptors of its queues are copies: the library keeps its own. */
static int open_queues(struct xdp_state *state, const struct net_xdp_config *config, int *ret_fds)
{
	unsigned int n = 0;
	int err = 0;

	for (; n < config->queues && !err; n++) {
		err = xdp_queue_open(&state->queues[n], config, n);
		ret_fds[n] =
			err ? -1
			    : fcntl(xsk_socket__fd(state->queues[n].socket), F_DUPFD_CLOEXEC, 0);
		if (!err && ret_fds[n] < 0) {
			err = -errno;
		}
	}
	while (err && n > 0) {
		if (ret_fds[--n] >= 0) {
			close(ret_fds[n]);
		}
	}
	return err;
}

static void drop_state(struct xdp_state *state)
{
	for (unsigned int i = 0; i < NET_XDP_QUEUES_MAX; i++) {
		xdp_queue_close(&state->queues[i]);
	}
	free(state);
}

static void xdp_fini(void *state)
{
	drop_state(state);
}

static int xdp_attach(struct wire_group *group, int ifindex)
{
	(void)group;
	(void)ifindex;
	return -EOPNOTSUPP; /* another interface needs other sockets */
}

/* ---- life ---- */

static const struct wire_kind xdp_kind = {
	.net = {
		.kind = "xdp",
		.send = wire_send,
		.send_many = wire_send_many,
		.twin = wire_twin,
		.ends_max = NET_XDP_QUEUES_MAX,
		.room = wire_room,
		.configured = wire_configured,
		.stop = wire_stop,
		.destroy = wire_destroy,
		.facts = wire_facts,
	},
	.read = xdp_read,
	.write = xdp_write,
	.attach = xdp_attach,
	.fini = xdp_fini,
	.mtu_max = NET_XDP_MTU_MAX,
};

bool net_xdp_is_there(void)
{
	return true;
}

static int make_queues(struct xdp_state *state, const struct net_xdp_config *config, int *fds,
		       struct diag *reterr)
{
	int err = xdp_check_mtu(config->name, reterr);

	if (err) {
		return err;
	}
	err = open_queues(state, config, fds);
	return err ? diag_set(reterr, err, "no AF_XDP on network interface '%s': %s", config->name,
			      strerror(-err))
		   : 0;
}

int net_xdp_create(struct loop *loop, const struct net_xdp_config *config, struct net **ret,
		   struct diag *reterr)
{
	int fds[NET_XDP_QUEUES_MAX], err;
	struct wire_config wire = { .name = config->name,
				    .fds_take = fds,
				    .ends = config->queues,
				    .hdr_bytes = VNET_HDR_BYTES,
				    .link_fd_take = config->link_fd_take };
	struct xdp_state *state = fault_alloc(1, sizeof(*state));

	check(config->queues >= 1 && config->queues <= NET_XDP_QUEUES_MAX);
	xdp_hush();
	if (!state) {
		err = diag_set(reterr, -ENOMEM, "no memory");
		if (config->fds_take) {
			close(config->memory_fd_take);
		}
	} else if (config->fds_take) {
		/* closes the memory's descriptor */
		err = adopt_queues(state, config, reterr);
	} else {
		err = make_queues(state, config, fds, reterr);
	}
	if (config->fds_take) {
		wire.fds_take = config->fds_take;
	}
	if (err) {
		if (state) {
			drop_state(state);
		}
		wire.ends = config->fds_take ? config->queues : 0;
		wire_drop(&wire);
		return err;
	}
	wire.state_take = state;
	return wire_create(loop, &xdp_kind, &wire, ret, reterr);
}

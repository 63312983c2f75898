/* SPDX-License-Identifier: MIT */
#include "net/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "net/steer_bpf.h"
#include "net/wire_internal.h"

#define HDR_BYTES  12 /* num_buffers, unused, keeps the frame's IP header aligned to four */
#define TUN_DEVICE "/dev/net/tun"
#define FLAGS      (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

_Static_assert(NET_TAP_QUEUES_MAX <= WIRE_ENDS_MAX, "an end per queue");

/* ---- frames ---- */

/*
 * A read each, and not one submission of many to io_uring: that makes a read which finds nothing wait
 * for more (also on a non-blocking descriptor, unless Linux is 6.4 or newer and asked not to), and
 * several that wait are not woken in order.
 */
static void tap_read(struct wire *wire)
{
	unsigned int n = 0;

	while (n < WIRE_SLOTS) {
		ssize_t got = read(wire->fd, wire->slots[n].buffer, WIRE_SLOT_BYTES);

		if (got > 0) {
			wire->slots[n++].bytes = (int)got;
		} else if (got == 0 || errno != EINTR) {
			break; /* nothing more, or no device any more */
		}
	}
	wire_received(wire, n, n == WIRE_SLOTS);
}

static int tap_write(struct wire *wire, unsigned int count, unsigned int *ret_done)
{
	for (unsigned int i = 0; i < count;) {
		const struct msghdr *message = &wire->messages[i].msg_hdr;

		*ret_done = i;
		if (writev(wire->fd, message->msg_iov, (int)message->msg_iovlen) < 0) {
			if (errno == EAGAIN) {
				return -EAGAIN;
			}
			if (errno == EINTR) {
				continue;
			}
			/* Down, or gone, or no memory: a wire may lose it. */
			wire->refused++;
			wire->net.counters.send_lost++;
		}
		i++;
	}
	*ret_done = count;
	return 0;
}

/* ---- steering ---- */

/* Which queue the kernel puts a frame into: the guest's choice, where a program may be loaded for it. */
struct steering {
	struct steer_bpf bpf;
	bool is_tried, is_on;
};

/* Without it, tun spreads flows by a table of its own: all arrives, but not where the guest wants it. */
static bool can_steer(struct wire_group *group)
{
	struct steering *steering = group->state;
	int err;

	if (!steering->is_tried) {
		steering->is_tried = true;
		err = steer_bpf_create(BPF_PROG_TYPE_SOCKET_FILTER, &steering->bpf);
		if (err) {
			log_warn("net",
				 "TAP device '%s': the guest's table for its queues (ethtool -X) "
				 "has no "
				 "effect: cannot load a BPF program: %s (run with CAP_BPF)",
				 group->entry.name, strerror(-err));
		}
	}
	return steering->bpf.program >= 0;
}

/* The device's, whichever descriptor it is told by; -1: tun's own way. */
static void set_program(struct wire_group *group, int program)
{
	struct steering *steering = group->state;

	steering->is_on = program >= 0;
	if (ioctl(group->fds[0], TUNSETSTEERINGEBPF, &program) && steering->is_on) {
		steering->is_on = false;
		log_warn("net", "TAP device '%s': it takes no program for its queues: %s",
			 group->entry.name, strerror(errno));
		steer_bpf_destroy(&steering->bpf);
	}
}

static void tap_configured(struct net *net)
{
	struct wire_group *group = wire_from_net(net)->group;
	struct steering *steering = group->state;
	struct steer steer;
	bool wants;

	wire_configured(net);
	if (wire_from_net(net)->index != 0 || group->ends < 2) {
		return;
	}
	steer_init(&steer, &net->config.rss);
	wants = net->front && steer.rss.is_on && steer.rss.queues <= group->ends;
	if (!wants) {
		if (steering->is_on) {
			set_program(group, -1);
		}
		return;
	}
	if (can_steer(group) && steer_bpf_set(&steering->bpf, &steer) == 0 && !steering->is_on) {
		set_program(group, steering->bpf.program);
	}
}

static void free_steering(void *state)
{
	struct steering *steering = state;

	if (steering) {
		steer_bpf_destroy(&steering->bpf);
		free(steering);
	}
}

/* ---- the device ---- */

static int set_iff(int fd, const char *name, short flags)
{
	struct ifreq request = { .ifr_flags = flags };

	memcpy(request.ifr_name, name, strlen(name));
	return ioctl(fd, TUNSETIFF, &request) ? -errno : 0;
}

/* With several queues, or with one on a device that may have several. */
static int attach_one(int fd, const char *name, unsigned int queues)
{
	int err = set_iff(fd, name, (short)(FLAGS | (queues > 1 ? IFF_MULTI_QUEUE : 0)));

	return err == -EINVAL && queues == 1 ? set_iff(fd, name, (short)(FLAGS | IFF_MULTI_QUEUE))
					     : err;
}

/* What the kernel may leave undone, and the header's length: of the device, not of one queue. */
static int set_offloads(int fd)
{
	int bytes = HDR_BYTES;

	if (ioctl(fd, TUNSETVNETHDRSZ, &bytes)) {
		return -errno;
	}
	if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) &&
	    ioctl(fd, TUNSETOFFLOAD, 0)) {
		return -errno;
	}
	return 0;
}

/* Whether frames on it look as we want them: the first of several holders has decided. */
static int check_flags(int fd, struct ifreq *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (ioctl(fd, TUNGETIFF, ret)) {
		return -errno;
	}
	return (ret->ifr_flags & FLAGS) == FLAGS ? 0 : -EPROTO;
}

/* W3: on the group's loop. Those that an earlier try has attached stay so. */
static int tap_attach(struct wire_group *group, int ifindex)
{
	const struct steering *steering = group->state;
	struct ifreq device;

	(void)ifindex;
	for (unsigned int i = 0; i < group->ends; i++) {
		int err = attach_one(group->fds[i], group->entry.name, group->ends);

		err = err == -EEXIST ? 0 : err;
		err = err ? err : check_flags(group->fds[i], &device);
		err = err ? err : set_offloads(group->fds[i]);
		if (err) {
			return err;
		}
	}
	if (steering->is_on) {
		set_program(group, steering->bpf.program); /* it is another device */
	}
	return 0;
}

static int say_why(const char *name, unsigned int queues, int err, struct diag *reterr)
{
	switch (err) {
	case -EPERM:
	case -EACCES:
		return diag_set(reterr, err,
				"not allowed to use TAP device '%s' (make it for this user: ip "
				"tuntap add %s mode tap user NAME, or run with CAP_NET_ADMIN)",
				name, name);
	case -EBUSY:
		return diag_set(reterr, err,
				"TAP device '%s' is in use by another program (give each machine "
				"a device of its own)",
				name);
	case -E2BIG:
		return diag_set(reterr, err, "TAP device '%s' has no %u queues to spare", name,
				queues);
	case -EINVAL:
		return diag_set(reterr, err,
				queues > 1 ? "'%s' is no TAP device with several queues (ip tuntap "
					     "add %s mode tap multi_queue)"
					   : "'%s' is no TAP device (ip tuntap add %s mode tap; a "
					     "TUN device or another kind of interface will not do)",
				name, name);
	default:
		return diag_set(reterr, err, "cannot open TAP device '%s': %s", name,
				strerror(-err));
	}
}

bool net_tap_is_name(const char *name)
{
	size_t length = strlen(name);

	return length > 0 && length < IFNAMSIZ && !strpbrk(name, "/%: \t\n") &&
	       strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int open_queues(const char *name, unsigned int queues, bool may_grow, int *ret_fds,
		       struct diag *reterr)
{
	int fds[NET_TAP_QUEUES_MAX], err = 0;
	unsigned int n;

	if (!net_tap_is_name(name)) {
		return diag_set(reterr, -EINVAL,
				"'%s' is no name of a network interface (1 to 15 characters, no "
				"'/', ':', '%%' or space)",
				name);
	}
	check(queues >= 1 && queues <= NET_TAP_QUEUES_MAX);
	for (n = 0; n < queues && !err; n++) {
		fds[n] = open(TUN_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (fds[n] < 0) {
			err = diag_set(reterr, -errno,
				       "cannot open " TUN_DEVICE " for TAP device '%s': %s (is "
				       "the module tun loaded?)",
				       name, strerror(errno));
			break;
		}
		err = may_grow ? set_iff(fds[n], name, (short)(FLAGS | IFF_MULTI_QUEUE)) : -EINVAL;
		err = err == -EINVAL ? attach_one(fds[n], name, queues) : err;
		if (err) {
			err = say_why(name, queues, err, reterr);
		}
	}
	if (err) {
		while (n > 0) {
			close(fds[--n]);
		}
		return err;
	}
	memcpy(ret_fds, fds, queues * sizeof(int));
	return 0;
}

int net_tap_open(const char *name, unsigned int queues, int *ret_fds, struct diag *reterr)
{
	return open_queues(name, queues, false, ret_fds, reterr);
}

int net_tap_open_growing(const char *name, unsigned int queues, int *ret_fds, struct diag *reterr)
{
	return open_queues(name, queues, true, ret_fds, reterr);
}

/* ---- life ---- */

static const struct wire_kind tap_kind = {
	.net = {
		.kind = "tap",
		.send = wire_send,
		.send_many = wire_send_many,
		.twin = wire_twin,
		.ends_max = NET_TAP_QUEUES_MAX,
		.room = wire_room,
		.configured = tap_configured,
		.stop = wire_stop,
		.destroy = wire_destroy,
		.facts = wire_facts,
	},
	.read = tap_read,
	.write = tap_write,
	.attach = tap_attach,
	.fini = free_steering,
};

/* What the descriptors are on, and that they are what we need. */
static int take_device(const struct net_tap_config *config, char *ret_name, struct diag *reterr)
{
	struct ifreq request = { 0 };
	int err, limit = (int)num_min(config->send_bytes_max, INT32_MAX);

	err = check_flags(config->fds_take[0], &request);
	if (err == -EPROTO) {
		return diag_set(reterr, err,
				"TAP device '%.15s' is in use by a program that opened it without "
				"IFF_VNET_HDR (end that first)",
				request.ifr_name);
	}
	if (err) {
		return diag_set(reterr, err, "a descriptor that is no TAP device: %s",
				strerror(-err));
	}
	memcpy(ret_name, request.ifr_name, IFNAMSIZ);
	err = set_offloads(config->fds_take[0]);
	for (unsigned int i = 0; i < config->queues && !err; i++) {
		int flags = fcntl(config->fds_take[i], F_GETFL);

		if (flags < 0 || fcntl(config->fds_take[i], F_SETFL, flags | O_NONBLOCK) ||
		    (limit && ioctl(config->fds_take[i], TUNSETSNDBUF, &limit))) {
			err = -errno;
		}
	}
	return err ? diag_set(reterr, err, "TAP device '%.15s' cannot be set up: %s", ret_name,
			      strerror(-err))
		   : 0;
}

int net_tap_create(struct loop *loop, const struct net_tap_config *config, struct net **ret,
		   struct diag *reterr)
{
	char name[IFNAMSIZ];
	struct steering *steering;
	struct wire_config wire = { .name = name,
				    .fds_take = config->fds_take,
				    .ends = config->queues,
				    .hdr_bytes = HDR_BYTES,
				    .link_fd_take = config->link_fd_take };
	int err;

	check(config->queues >= 1 && config->queues <= NET_TAP_QUEUES_MAX);
	steering = fault_alloc(1, sizeof(*steering));
	err = steering ? take_device(config, name, reterr)
		       : diag_set(reterr, -ENOMEM, "no memory for a network");
	if (err) {
		free(steering);
		wire_drop(&wire);
		return err;
	}
	steering->bpf = (struct steer_bpf){ -1, -1 };
	wire.state_take = steering;
	return wire_create(loop, &tap_kind, &wire, ret, reterr);
}

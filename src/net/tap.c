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
#include "base/num.h"
#include "loop/batch.h"
#include "net/steer_bpf.h"
#include "net/wire_internal.h"

#define HDR_BYTES  12 /* num_buffers, unused, keeps the frame's IP header aligned to four */
#define TUN_DEVICE "/dev/net/tun"
#define FLAGS      (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

_Static_assert(NET_TAP_QUEUES_MAX <= WIRE_ENDS_MAX, "an end per queue");

/* What the device's queues have in common. */
struct tap {
	struct steering {
		struct steer_bpf bpf;
		bool is_tried, is_on;
	} steering;      /* which queue the kernel puts a frame into */
	bool is_limited; /* send_bytes_max: a write may have to wait */
};

/* ---- what arrives ---- */

/* Into the slots from this one on; how many were filled. */
static unsigned int read_each(struct wire *wire, unsigned int at, unsigned int count)
{
	unsigned int n = 0;

	while (n < count) {
		struct wire_slot *slot = &wire->slots[at + n];
		ssize_t got = read(wire->fd, slot->buffer, WIRE_SLOT_BYTES);

		wire->calls++;
		if (got > 0) {
			slot->bytes = (int)got;
			n++;
		} else if (got == 0 || errno != EINTR) {
			break; /* nothing more, or no device any more */
		}
	}
	return n;
}

/* The same in one system call. Frames are in the order in which they were read: buffers change places. */
static unsigned int read_batch(struct wire *wire, unsigned int at, unsigned int count)
{
	struct batch_op ops[BATCH_MAX];
	struct iovec iov[BATCH_MAX];
	unsigned int order[BATCH_MAX], done, n = 0;
	int calls;

	for (unsigned int i = 0; i < count; i++) {
		iov[i] = (struct iovec){ wire->slots[at + i].buffer, WIRE_SLOT_BYTES };
		ops[i] = (struct batch_op){ .iov = &iov[i], .iov_count = 1 };
	}
	calls = batch_run(wire->batch, wire->fd, false, ops, count, order, &done);
	if (calls < 0) {
		wire->batch = NULL;
		return read_each(wire, at, count);
	}
	wire->calls += (unsigned int)calls;
	for (unsigned int i = 0; i < done; i++) {
		if (ops[order[i]].result > 0) {
			wire->slots[at + n].buffer = iov[order[i]].iov_base;
			wire->slots[at + n++].bytes = ops[order[i]].result;
			iov[order[i]].iov_base = NULL;
		}
	}
	for (unsigned int i = 0, free_slot = at + n; i < count; i++) {
		if (iov[i].iov_base) {
			wire->slots[free_slot++].buffer = iov[i].iov_base;
		}
	}
	return n;
}

/*
 * As many at once as were there the last time, and one more, which finds nothing and says so; twice as
 * many while there is no end of them.
 */
static void tap_read(struct wire *wire)
{
	unsigned int n = 0, asked, got;

	do {
		wire->ahead = (unsigned int)num_min(num_max(wire->ahead, 2), WIRE_SLOTS);
		asked = (unsigned int)num_min(wire->ahead, WIRE_SLOTS - n);
		got = wire->batch && asked > 1 ? read_batch(wire, n, asked)
					       : read_each(wire, n, asked);
		n += got;
		wire->ahead = got == asked ? asked * 2 : n + 1;
	} while (got == asked && n < WIRE_SLOTS);
	wire_received(wire, n, n == WIRE_SLOTS);
}

/* ---- what leaves ---- */

static void refuse(struct wire *wire)
{
	/* Down, or gone, or no memory: a wire may lose it. */
	wire->refused++;
	wire->net.counters.send_lost++;
}

static int write_each(struct wire *wire, const struct mmsghdr *messages, unsigned int count,
		      unsigned int *ret_done)
{
	for (unsigned int i = 0; i < count;) {
		const struct msghdr *message = &messages[i].msg_hdr;

		*ret_done = i;
		wire->calls++;
		if (writev(wire->fd, message->msg_iov, (int)message->msg_iovlen) < 0) {
			if (errno == EAGAIN) {
				return -EAGAIN;
			}
			if (errno == EINTR) {
				continue;
			}
			refuse(wire);
		}
		i++;
	}
	*ret_done = count;
	return 0;
}

/*
 * In one system call. Where somebody else has limited the device, one may find no room and a later one
 * some: the first is lost then, rather than overtaken.
 */
static int write_batch(struct wire *wire, const struct mmsghdr *messages, unsigned int count,
		       unsigned int *ret_done)
{
	struct batch_op ops[BATCH_MAX];
	unsigned int order[BATCH_MAX], done;
	int calls;

	for (unsigned int i = 0; i < count; i++) {
		ops[i] = (struct batch_op){ .iov = messages[i].msg_hdr.msg_iov,
					    .iov_count =
						    (unsigned int)messages[i].msg_hdr.msg_iovlen };
	}
	calls = batch_run(wire->batch, wire->fd, true, ops, count, order, &done);
	if (calls < 0) {
		wire->batch = NULL;
		return write_each(wire, messages, count, ret_done);
	}
	wire->calls += (unsigned int)calls;
	while (count > 0 && ops[count - 1].result == -EAGAIN) {
		count--;
	}
	for (unsigned int i = 0; i < count; i++) {
		if (ops[i].result < 0) {
			refuse(wire);
		}
	}
	*ret_done = count;
	return 0;
}

static int tap_write(struct wire *wire, struct mmsghdr *messages, unsigned int count,
		     unsigned int *ret_done)
{
	const struct tap *tap = wire->group->state;
	unsigned int at = 0, done;
	int err = 0;

	while (at < count && !err) {
		unsigned int n = (unsigned int)num_min(count - at, BATCH_MAX);

		err = wire->batch && n > 1 && !tap->is_limited
			      ? write_batch(wire, messages + at, n, &done)
			      : write_each(wire, messages + at, n, &done);
		at += done;
		err = done < n ? -EAGAIN : err;
	}
	*ret_done = at;
	return err;
}

/* ---- steering ---- */

/* The guest's choice, where a program may be loaded for it. */
static struct steering *steering_of(struct wire_group *group)
{
	return &((struct tap *)group->state)->steering;
}

/* Without it, tun spreads flows by a table of its own: all arrives, but not where the guest wants it. */
static bool can_steer(struct wire_group *group)
{
	struct steering *steering = steering_of(group);
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
	struct steering *steering = steering_of(group);

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
	struct steering *steering = steering_of(group);
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

static void free_tap(void *state)
{
	struct tap *tap = state;

	if (tap) {
		steer_bpf_destroy(&tap->steering.bpf);
		free(tap);
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
	const struct steering *steering = steering_of(group);
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
		.batch_end = wire_batch_end,
		.room = wire_room,
		.configured = tap_configured,
		.stop = wire_stop,
		.destroy = wire_destroy,
		.facts = wire_facts,
	},
	.read = tap_read,
	.write = tap_write,
	.attach = tap_attach,
	.fini = free_tap,
	.wants_batch = true,
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
	struct tap *tap;
	struct wire_config wire = { .name = name,
				    .fds_take = config->fds_take,
				    .ends = config->queues,
				    .hdr_bytes = HDR_BYTES,
				    .link_fd_take = config->link_fd_take };
	int err;

	check(config->queues >= 1 && config->queues <= NET_TAP_QUEUES_MAX);
	tap = fault_alloc(1, sizeof(*tap));
	err = tap ? take_device(config, name, reterr)
		  : diag_set(reterr, -ENOMEM, "no memory for a network");
	if (err) {
		free(tap);
		wire_drop(&wire);
		return err;
	}
	tap->steering.bpf = (struct steer_bpf){ -1, -1 };
	tap->is_limited = config->send_bytes_max > 0;
	wire.state_take = tap;
	return wire_create(loop, &tap_kind, &wire, ret, reterr);
}

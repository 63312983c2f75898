/* SPDX-License-Identifier: MIT */
#include "net/packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "net/interface.h"
#include "net/wire_internal.h"

/* Newer than the C library's headers. */
#ifndef PACKET_FANOUT_FLAG_UNIQUEID
#define PACKET_FANOUT_FLAG_UNIQUEID 0x2000
#endif
#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000
#endif

#define BUFFER_BYTES (4 << 20) /* of a socket's, each way: bursts of large segments */

_Static_assert(NET_PACKET_ENDS_MAX <= WIRE_ENDS_MAX, "an end per socket");

/* Who opens sockets when this process may not, and what they have just opened. The group's state. */
struct others {
	struct loop *told;
	struct loop_work *returned;
	const int *spares; /* during net_packet_replace() only */
};

/* ---- frames ---- */

/* The tag that the kernel took out of the frame. false: one of a kind that we do not carry. */
static bool take_tag(struct msghdr *message, struct wire_slot *slot)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		struct tpacket_auxdata aux;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA ||
		    c->cmsg_len < CMSG_LEN(sizeof(aux))) {
			continue;
		}
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		slot->has_tag = (aux.tp_status & TP_STATUS_VLAN_VALID) != 0;
		slot->tci = aux.tp_vlan_tci;
		return !slot->has_tag || !(aux.tp_status & TP_STATUS_VLAN_TPID_VALID) ||
		       aux.tp_vlan_tpid == VNET_TYPE_VLAN;
	}
	return true;
}

static void packet_read(struct wire *wire)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
	} control[WIRE_SLOTS];
	struct mmsghdr messages[WIRE_SLOTS];
	struct iovec iov[WIRE_SLOTS];
	int got;

	for (unsigned int i = 0; i < WIRE_SLOTS; i++) {
		messages[i] =
			(struct mmsghdr){ .msg_hdr = { .msg_control = &control[i],
						       .msg_controllen = sizeof(control[i]) } };
	}
	got = wire_read_messages(wire, messages, iov);
	for (int i = 0; i < got; i++) {
		struct wire_slot *slot = &wire->slots[i];

		slot->bytes = (int)messages[i].msg_len;
		slot->has_tag = false;
		if (!take_tag(&messages[i].msg_hdr, slot) ||
		    messages[i].msg_hdr.msg_flags & MSG_TRUNC) {
			slot->bytes = 0;
			wire->bad++;
			wire->net.counters.deliver_lost++;
		}
	}
	wire_received(wire, got > 0 ? (unsigned int)got : 0,
		      got == (int)WIRE_SLOTS || (got < 0 && errno == ENETDOWN));
}

/* ---- sockets ---- */

static int set_option(int fd, int option, int value)
{
	return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) ? -errno : 0;
}

static void set_buffers(int fd)
{
	const int bytes = BUFFER_BYTES;

	/* As much as this user may have. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes))) {
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	}
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes))) {
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	}
}

/* From now on frames arrive. */
static int bind_to(int fd, int ifindex)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
				       .sll_protocol = htons(ETH_P_ALL),
				       .sll_ifindex = ifindex };
	struct packet_mreq promiscuous = { .mr_ifindex = ifindex, .mr_type = PACKET_MR_PROMISC };

	if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof(promiscuous)) ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		return -errno;
	}
	return 0;
}

static int prepare_socket(int fd, int ifindex)
{
	int err = set_option(fd, PACKET_VNET_HDR, 1);

	err = err ? err : set_option(fd, PACKET_AUXDATA, 1);
	err = err ? err : set_option(fd, PACKET_IGNORE_OUTGOING, 1);
	if (err) {
		return err;
	}
	set_buffers(fd);
	return bind_to(fd, ifindex);
}

/* The first makes a group of its own, the others join it. */
static int join(int fd, int first)
{
	int mode = PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_IGNORE_OUTGOING, group = 0;
	socklen_t length = sizeof(group);

	if (fd == first) {
		return set_option(fd, PACKET_FANOUT, (mode | PACKET_FANOUT_FLAG_UNIQUEID) << 16);
	}
	if (getsockopt(first, SOL_PACKET, PACKET_FANOUT, &group, &length)) {
		return -errno;
	}
	return set_option(fd, PACKET_FANOUT, (group & 0xffff) | mode << 16);
}

static int open_sockets(int ifindex, unsigned int ends, int *ret_fds)
{
	unsigned int n;
	int err = 0;

	for (n = 0; n < ends && !err; n++) {
		/* No protocol yet: nothing arrives before it is bound. */
		ret_fds[n] = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (ret_fds[n] < 0) {
			err = -errno;
			break;
		}
		err = prepare_socket(ret_fds[n], ifindex);
		if (!err && ends > 1) {
			err = join(ret_fds[n], ret_fds[0]);
		}
	}
	if (err) {
		close_fds(ret_fds, n);
	}
	return err;
}

/* Sockets take the place of those that are there, which somebody may be waiting for. All are taken. */
static int put_in_place(struct wire_group *group, const int *fds_take)
{
	int err = 0;

	for (unsigned int i = 0; i < group->ends; i++) {
		if (!err && dup3(fds_take[i], group->fds[i], O_CLOEXEC) < 0) {
			err = -errno;
		}
		close(fds_take[i]);
	}
	return err;
}

/* The interface that a socket is bound to; 0: none. */
static int interface_of(int fd)
{
	struct sockaddr_ll address = { .sll_ifindex = 0 };
	socklen_t bytes = sizeof(address);

	return getsockname(fd, (struct sockaddr *)&address, &bytes) ? 0 : address.sll_ifindex;
}

/*
 * W3. Those that others have opened, if they are there and of this interface. Else others are asked; but who
 * has just given those of another one (each of us sees names change in a time of its own) is asked when it is
 * tried again, so that the two of us do not go on at it without a pause.
 */
static int attach_given(struct wire_group *group, struct others *others, int ifindex)
{
	if (!others->spares) {
		loop_post(others->told, others->returned);
		return -EAGAIN;
	}
	return interface_of(others->spares[0]) == ifindex
		       ? put_in_place(group, steal(others->spares))
		       : -EAGAIN;
}

/* A socket that shares with others cannot be bound anew: others take their place. W3. */
static int packet_attach(struct wire_group *group, int ifindex)
{
	struct others *others = group->state;
	int fds[NET_PACKET_ENDS_MAX], err;

	if (others) {
		return attach_given(group, others, ifindex);
	}
	if (group->ends == 1) {
		return bind_to(group->fds[0], ifindex);
	}
	err = open_sockets(ifindex, group->ends, fds);
	return err ? err : put_in_place(group, fds);
}

void net_packet_replace(struct net *net, const int *fds_take)
{
	struct wire_group *group = wire_from_net(net)->group;
	struct others *others = group->state;

	check(others && net->ops->send == wire_send);
	others->spares = fds_take;
	wire_look_again(group);
	if (others->spares) {
		close_fds(others->spares, group->ends);
		others->spares = NULL;
	}
}

static int say_why(const char *name, int err, struct diag *reterr)
{
	switch (err) {
	case -EPERM:
	case -EACCES:
		return diag_set(reterr, err,
				"not allowed to open packet sockets on '%s' (run as root or with "
				"CAP_NET_RAW)",
				name);
	case -ENODEV:
		return diag_set(reterr, err, "there is no network interface '%s' (see ip link)",
				name);
	case -ENETDOWN:
		return diag_set(reterr, err,
				"network interface '%s' is down (ip link set %s up, then again)",
				name, name);
	default:
		return diag_set(reterr, err, "cannot use network interface '%s': %s", name,
				strerror(-err));
	}
}

/* Its index; or a negative errno. */
static int find_interface(const char *name, bool *ret_up)
{
	struct ifreq request;
	int fd = net_interface_ask(name, &request), ifindex, err = 0;

	if (fd < 0) {
		return fd;
	}
	if (ioctl(fd, SIOCGIFINDEX, &request)) {
		err = -errno;
	}
	ifindex = request.ifr_ifindex;
	if (!err && !ioctl(fd, SIOCGIFHWADDR, &request) &&
	    request.ifr_hwaddr.sa_family != ARPHRD_ETHER) {
		err = -EINVAL;
	}
	*ret_up = !err && !ioctl(fd, SIOCGIFFLAGS, &request) && request.ifr_flags & IFF_UP;
	close(fd);
	return err ? err : ifindex;
}

int net_packet_open(const char *name, unsigned int ends, int *ret_fds, struct diag *reterr)
{
	int fds[NET_PACKET_ENDS_MAX], ifindex, err;
	bool is_up = false;

	check(ends >= 1 && ends <= NET_PACKET_ENDS_MAX);
	ifindex = find_interface(name, &is_up);
	if (ifindex == -EINVAL) {
		return diag_set(reterr, -EINVAL, "network interface '%s' is no Ethernet", name);
	}
	if (ifindex < 0) {
		return say_why(name, ifindex, reterr);
	}
	err = !is_up && ends > 1 ? -ENETDOWN : open_sockets(ifindex, ends, fds);
	if (err) {
		return say_why(name, err, reterr);
	}
	memcpy(ret_fds, fds, ends * sizeof(int));
	return 0;
}

/* ---- life ---- */

static const struct wire_kind packet_kind = {
	.net = {
		.kind = "packet",
		.send = wire_send,
		.send_many = wire_send_many,
		.twin = wire_twin,
		.ends_max = NET_PACKET_ENDS_MAX,
		.batch_end = wire_batch_end,
		.room = wire_room,
		.configured = wire_configured,
		.stop = wire_stop,
		.destroy = wire_destroy,
		.facts = wire_facts,
	},
	.read = packet_read,
	.write = wire_write_messages,
	.attach = packet_attach,
	.fini = free,
};

int net_packet_create(struct loop *loop, const struct net_packet_config *config, struct net **ret,
		      struct diag *reterr)
{
	struct others *others = config->told ? fault_alloc(1, sizeof(*others)) : NULL;
	const struct wire_config wire = { .name = config->name,
					  .fds_take = config->fds_take,
					  .ends = config->ends,
					  .hdr_bytes = VNET_HDR_BYTES,
					  .link_fd_take = config->link_fd_take,
					  .state_take = others };

	check(config->ends >= 1 && config->ends <= NET_PACKET_ENDS_MAX);
	if (config->told && !others) {
		wire_drop(&wire);
		return diag_set(reterr, -ENOMEM, "no memory for a network");
	}
	if (others) {
		*others = (struct others){ .told = config->told, .returned = config->returned };
	}
	return wire_create(loop, &packet_kind, &wire, ret, reterr);
}

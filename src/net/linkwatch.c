/* SPDX-License-Identifier: MIT */
#include "net/linkwatch.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/num.h"

#define MESSAGE_BYTES 32768U
#define READS_MAX     64U /* in one go: others live on this loop too */

/*
 * Events are hints: whatever they say, the interface itself is asked (ioctl). So an event that was
 * lost (the socket's buffer was full) or came too late does no harm: then everything is asked.
 */
struct linkwatch {
	struct loop *loop;
	int fd;
	struct loop_watch watch;
	struct loop_work again;
	struct list entries;
	uint32_t round;
	alignas(struct nlmsghdr) uint8_t buffer[MESSAGE_BYTES];
};

int linkwatch_open(struct diag *reterr)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		int err = -errno;

		if (fd >= 0) {
			close(fd);
		}
		return diag_set(reterr, err, "cannot watch the host's network interfaces: %s",
				strerror(-err));
	}
	return fd;
}

/* ---- asking ---- */

/* By index when there was one (it may have another name by now), else by name. */
static void look(const struct linkwatch *watch, const struct linkwatch_entry *entry,
		 struct linkwatch_link *ret)
{
	struct ifreq request = { .ifr_ifindex = entry->now.ifindex };

	*ret = (struct linkwatch_link){ 0 };
	if (request.ifr_ifindex == 0 || ioctl(watch->fd, SIOCGIFNAME, &request)) {
		memset(&request, 0, sizeof(request));
		memcpy(request.ifr_name, entry->name, sizeof(request.ifr_name));
	}
	if (ioctl(watch->fd, SIOCGIFINDEX, &request)) {
		return;
	}
	ret->ifindex = request.ifr_ifindex;
	if (!ioctl(watch->fd, SIOCGIFFLAGS, &request)) {
		ret->up = (request.ifr_flags & IFF_UP) != 0;
		ret->running = ret->up && request.ifr_flags & IFF_RUNNING;
	}
	if (!ioctl(watch->fd, SIOCGIFMTU, &request)) {
		ret->mtu = (uint32_t)request.ifr_mtu;
	}
}

static bool is_same(const struct linkwatch_link *a, const struct linkwatch_link *b)
{
	return a->ifindex == b->ifindex && a->up == b->up && a->running == b->running &&
	       a->mtu == b->mtu;
}

/* The entry may be gone afterwards. */
static void ask(struct linkwatch *watch, struct linkwatch_entry *entry)
{
	struct linkwatch_link now;

	look(watch, entry, &now);
	if (now.ifindex != entry->now.ifindex && now.ifindex && entry->now.ifindex) {
		/* Gone and back between two looks: both are told. */
		struct linkwatch_link gone = { 0 };
		uint32_t seen = entry->seen;

		entry->now = gone;
		entry->seen = seen - 1; /* asked again in this round */
		entry->fn(entry, &gone);
		return;
	}
	if (!is_same(&now, &entry->now)) {
		entry->now = now;
		entry->fn(entry, &now);
	}
}

/* Entries may come and go meanwhile. */
static void ask_all(struct linkwatch *watch)
{
	struct list *at;

	watch->round++;
	for (at = watch->entries.next; at != &watch->entries;) {
		struct linkwatch_entry *entry = list_entry(at, struct linkwatch_entry, link);

		if (entry->seen == watch->round) {
			at = at->next;
			continue;
		}
		entry->seen = watch->round;
		ask(watch, entry);
		at = watch->entries.next;
	}
}

/* ---- hearing ---- */

static void on_event(struct linkwatch *watch)
{
	unsigned int reads;
	bool any = false;

	for (reads = 0; reads < READS_MAX; reads++) {
		ssize_t got = recv(watch->fd, watch->buffer, sizeof(watch->buffer), MSG_DONTWAIT);

		if (got < 0 && errno != ENOBUFS && errno != EINTR) {
			break;
		}
		any = true;
	}
	if (reads == READS_MAX) {
		loop_post(watch->loop, &watch->again);
	}
	if (any) {
		ask_all(watch);
	}
}

static void on_readable(struct loop_watch *loop_watch, uint32_t events)
{
	(void)events;
	on_event(container_of(loop_watch, struct linkwatch, watch));
}

static void on_again(struct loop_work *work)
{
	on_event(container_of(work, struct linkwatch, again));
}

/* ---- life ---- */

int linkwatch_create(struct loop *loop, int fd_take, struct linkwatch **ret, struct diag *reterr)
{
	struct linkwatch *watch;
	int err = 0;

	if (fd_take < 0) {
		fd_take = linkwatch_open(reterr);
		if (fd_take < 0) {
			return fd_take;
		}
	}
	watch = fault_alloc(1, sizeof(*watch));
	if (watch) {
		watch->loop = loop;
		watch->fd = fd_take;
		list_init(&watch->entries);
		loop_work_init(&watch->again, on_again);
		err = loop_watch_start(loop, &watch->watch, fd_take, POLLIN, on_readable);
	}
	if (!watch || err) {
		free(watch);
		close(fd_take);
		return diag_set(reterr, -ENOMEM, "no memory to watch network interfaces");
	}
	*ret = watch;
	return 0;
}

void linkwatch_destroy(struct linkwatch *watch)
{
	if (!watch) {
		return;
	}
	while (!list_is_empty(&watch->entries)) {
		list_remove(watch->entries.next);
	}
	loop_watch_stop(&watch->watch);
	loop_cancel(watch->loop, &watch->again);
	close(watch->fd);
	free(watch);
}

void linkwatch_add(struct linkwatch *watch, struct linkwatch_entry *entry, const char *name,
		   linkwatch_fn *fn)
{
	check(strlen(name) < sizeof(entry->name));
	*entry = (struct linkwatch_entry){ .fn = fn, .seen = watch->round };
	memcpy(entry->name, name, strlen(name));
	look(watch, entry, &entry->now);
	list_append(&watch->entries, &entry->link);
}

void linkwatch_remove(struct linkwatch_entry *entry)
{
	if (entry->link.next) {
		list_remove(&entry->link);
		entry->link.next = NULL;
	}
}

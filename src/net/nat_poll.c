/* SPDX-License-Identifier: MIT */
#include "net/nat_poll.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"

static void on_cancelled(struct loop_request *request, int result)
{
	struct nat_poll *poll = container_of(request, struct nat_poll, cancel);

	(void)result; /* the poll itself says how it ended */
	poll->armed--;
	poll->ready(poll);
}

int nat_poll_init(struct nat_poll *poll, struct loop *loop, nat_poll_ready_fn *ready)
{
	*poll = (struct nat_poll){ .loop = loop, .ready = ready, .cancel = { on_cancelled } };
	list_init(&poll->free);
	list_init(&poll->filled);
	poll->sockets = fault_alloc(NAT_SOCKETS_MAX, sizeof(*poll->sockets));
	poll->by_fd = fault_alloc(NAT_FDS_MAX, sizeof(*poll->by_fd));
	if (!poll->sockets || !poll->by_fd) {
		nat_poll_fini(poll);
		return -ENOMEM;
	}
	return 0;
}

void nat_poll_fini(struct nat_poll *poll)
{
	check(poll->armed == 0);
	free(poll->sockets);
	free(poll->by_fd);
	*poll = (struct nat_poll){ 0 };
}

static void release_if_idle(struct nat_socket *socket)
{
	if (socket->fd < 0 && !socket->in.armed && !socket->out.armed) {
		list_remove(&socket->link);
		list_prepend(&socket->poll->free, &socket->link);
	}
}

static void on_polled(struct loop_request *request, int result)
{
	struct nat_half *half = container_of(request, struct nat_half, request);
	struct nat_socket *socket = half->socket;
	struct nat_poll *poll = socket->poll;

	half->armed = false;
	poll->armed--;
	if (socket->fd < 0) {
		release_if_idle(socket);
	} else if (result > 0) {
		half->ready |= (uint32_t)result;
	}
	poll->ready(poll);
}

/*
 * slirp leaves its listening, UDP and ICMP sockets blocking, and an answer of io_uring's is a hint: a
 * loop may not block on it.
 */
static void unblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0 && !(flags & O_NONBLOCK)) {
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	}
}

static struct nat_socket *socket_new(struct nat_poll *poll, int fd)
{
	struct nat_socket *socket = list_first(&poll->free, struct nat_socket, link);

	if (socket) {
		list_remove(&socket->link);
	} else if (poll->unused < NAT_SOCKETS_MAX) {
		socket = &poll->sockets[poll->unused++];
	} else {
		return NULL;
	}
	*socket = (struct nat_socket){ .poll = poll, .fd = fd };
	list_init(&socket->link);
	socket->in = (struct nat_half){ .request = { on_polled }, .socket = socket };
	socket->out = (struct nat_half){ .request = { on_polled }, .socket = socket };
	poll->by_fd[fd] = (uint16_t)(socket - poll->sockets + 1);
	unblock(fd);
	return socket;
}

static struct nat_socket *socket_of(const struct nat_poll *poll, int fd)
{
	if (fd < 0 || fd >= NAT_FDS_MAX || !poll->by_fd[fd]) {
		return NULL;
	}
	return &poll->sockets[poll->by_fd[fd] - 1];
}

void nat_poll_begin(struct nat_poll *poll)
{
	list_for_each_safe (it, &poll->filled) {
		struct nat_socket *socket = list_entry(it, struct nat_socket, link);

		socket->in.wanted = socket->out.wanted = 0;
		list_remove(&socket->link);
	}
}

int nat_poll_add(struct nat_poll *poll, int fd, uint32_t events)
{
	struct nat_socket *socket = socket_of(poll, fd);

	if (!socket && fd >= 0 && fd < NAT_FDS_MAX) {
		socket = socket_new(poll, fd);
	}
	if (!socket) {
		poll->refused++;
		return -1;
	}
	/*
	 * No POLLPRI: io_uring passes on what a wake-up says, and a socket's wake-up for any data says
	 * "priority" too (sock_def_readable()), whereupon slirp takes plain bytes for urgent ones and
	 * the guest loses them. slirp's sockets have SO_OOBINLINE: urgent bytes come with the others.
	 */
	socket->in.wanted = events & POLLIN;
	socket->out.wanted = events & POLLOUT;
	list_remove(&socket->link);
	list_append(&poll->filled, &socket->link);
	return fd;
}

/* Whether it is ready already; else it is in the kernel afterwards. */
static bool half_arm(struct nat_poll *poll, struct nat_half *half, int fd)
{
	if (!half->wanted) {
		return false;
	}
	if (half->ready) {
		return true;
	}
	if (!half->armed) {
		io_uring_prep_poll_add(loop_sqe(poll->loop, &half->request), fd, half->wanted);
		half->armed = true;
		poll->armed++;
		poll->arms++;
	}
	return false;
}

bool nat_poll_end(struct nat_poll *poll)
{
	bool any = false;

	list_for_each (it, &poll->filled) {
		struct nat_socket *socket = list_entry(it, struct nat_socket, link);

		any |= half_arm(poll, &socket->in, socket->fd);
		any |= half_arm(poll, &socket->out, socket->fd);
	}
	return any;
}

/* As poll(2) answers: what was asked for, and what nobody need ask for. */
static uint32_t half_take(struct nat_half *half)
{
	uint32_t events = half->ready & (half->wanted | POLLERR | POLLHUP);

	half->ready = 0;
	return events;
}

uint32_t nat_poll_take(struct nat_poll *poll, int id, bool with_in)
{
	struct nat_socket *socket = socket_of(poll, id);
	uint32_t events = 0;

	if (!socket) {
		return 0;
	}
	if (socket->in.wanted && with_in) {
		events |= half_take(&socket->in);
	}
	if (socket->out.wanted) {
		events |= half_take(&socket->out);
	}
	return events;
}

static void half_cancel(struct nat_poll *poll, struct nat_half *half)
{
	if (!half->armed) {
		return;
	}
	/* The loop's user_data is the request's address. */
	io_uring_prep_cancel64(loop_sqe(poll->loop, &poll->cancel), (uintptr_t)&half->request, 0);
	poll->armed++;
	poll->cancels++;
}

void nat_poll_forget(struct nat_poll *poll, int fd)
{
	struct nat_socket *socket = socket_of(poll, fd);

	if (!socket) {
		return;
	}
	poll->by_fd[fd] = 0;
	socket->fd = -1;
	socket->in.wanted = socket->out.wanted = 0;
	list_remove(&socket->link);
	half_cancel(poll, &socket->in);
	half_cancel(poll, &socket->out);
	release_if_idle(socket);
}

bool nat_poll_is_busy(const struct nat_poll *poll)
{
	return poll->armed != 0;
}

/* SPDX-License-Identifier: MIT */
#include "vmbus/remote_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/num.h"
#include "base/shared.h"

#define CONTROL_BYTES (CMSG_SPACE(REMOTE_FDS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred)))

/* A message that waits. */
struct waiting {
	struct list link;
	int fds[REMOTE_FDS_MAX]; /* ours */
	unsigned int fd_count;
	uint32_t bytes;
	uint8_t data[];
};

/* ---- out ---- */

static int send_now(struct remote_socket *s, const uint8_t *data, uint32_t bytes, const int *fds,
		    unsigned int fd_count)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(REMOTE_FDS_MAX * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	shared_attach(&msg, control.bytes, fds, fd_count);
	ssize_t sent = sendmsg(s->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0) {
		return errno == EINTR || errno == ENOBUFS ? -EAGAIN : -errno;
	}
	s->messages_out++;
	return 0;
}

static void drop_waiting(struct remote_socket *s, struct waiting *w)
{
	list_remove(&w->link);
	s->queued--;
	s->queued_bytes -= w->bytes;
	for (unsigned int i = 0; i < w->fd_count; i++) {
		close(w->fds[i]);
	}
	free(w);
}

static void drop_queue(struct remote_socket *s)
{
	list_for_each_safe (it, &s->queue) {
		drop_waiting(s, list_entry(it, struct waiting, link));
	}
}

static void broken(struct remote_socket *s, int err)
{
	if (s->is_hung_up || s->is_ended) {
		return;
	}
	remote_socket_hang_up(s);
	if (s->ops->on_broken) {
		s->ops->on_broken(s->ctx, err);
	}
}

static int flush(struct remote_socket *s)
{
	struct waiting *w;

	while ((w = list_first(&s->queue, struct waiting, link))) {
		int err = send_now(s, w->data, w->bytes, w->fds, w->fd_count);

		if (err) {
			return err == -EAGAIN ? 0 : err;
		}
		drop_waiting(s, w);
	}
	return 0;
}

static int enqueue(struct remote_socket *s, const uint8_t *data, uint32_t bytes, const int *fds,
		   unsigned int fd_count)
{
	if (s->queued >= REMOTE_SOCKET_QUEUE_MESSAGES ||
	    s->queued_bytes + bytes > REMOTE_SOCKET_QUEUE_BYTES) {
		return -ENOBUFS;
	}
	struct waiting *w = fault_alloc(1, sizeof(*w) + bytes);

	if (!w) {
		return -ENOMEM;
	}
	list_append(&s->queue, &w->link);
	s->queued++;
	s->queued_bytes += bytes;
	w->bytes = bytes;
	memcpy(w->data, data, bytes);
	for (; w->fd_count < fd_count; w->fd_count++) {
		int fd = fcntl(fds[w->fd_count], F_DUPFD_CLOEXEC, 0);

		if (fd < 0) {
			int err = -errno;

			drop_waiting(s, w);
			return err;
		}
		w->fds[w->fd_count] = fd;
	}
	return 0;
}

void remote_socket_send(struct remote_socket *s, struct remote_message *message, const int *fds,
			unsigned int fd_count)
{
	uint8_t data[REMOTE_MESSAGE_BYTES_MAX];
	int err = -EAGAIN;

	check(fd_count <= REMOTE_FDS_MAX);
	if (s->fd < 0 || s->is_hung_up || s->is_ended) {
		return;
	}
	if (!message->serial) {
		message->serial = ++s->serial;
	}
	uint32_t bytes = remote_build(message, data);

	if (list_is_empty(&s->queue)) {
		err = send_now(s, data, bytes, fds, fd_count);
	}
	if (err == -EAGAIN) {
		err = enqueue(s, data, bytes, fds, fd_count);
	}
	if (err && err != -EPIPE && err != -ECONNRESET) {
		s->send_error = err; /* whoever sends does not expect to be called from here */
		loop_post(s->loop, &s->go_on);
	}
}

void remote_socket_hang_up(struct remote_socket *s)
{
	if (s->fd >= 0 && !s->is_hung_up) {
		s->is_hung_up = true;
		drop_queue(s);
		if (!s->ops->hangs_up_silently) {
			(void)shutdown(s->fd, SHUT_WR);
		}
	}
}

/* ---- in ---- */

struct received {
	ssize_t bytes;
	int fds[REMOTE_FDS_MAX];
	unsigned int fd_count;
	pid_t pid;
};

static void take_control(struct received *r, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET) {
			continue;
		}
		if (c->cmsg_type == SCM_CREDENTIALS) {
			struct ucred ucred;

			memcpy(&ucred, CMSG_DATA(c), sizeof(ucred));
			r->pid = ucred.pid;
		} else if (c->cmsg_type == SCM_RIGHTS) {
			size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

			for (size_t i = 0; i < n; i++) {
				int fd;

				memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
				if (r->fd_count < REMOTE_FDS_MAX) {
					r->fds[r->fd_count++] = fd;
				} else {
					close(fd);
				}
			}
		}
	}
}

/* 1: a datagram; 0: the end; -EAGAIN: nothing now; -EPROTO: too long, or its descriptors are lost. */
static int receive(struct remote_socket *s, struct received *r)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CONTROL_BYTES];
	} control;
	struct iovec iov = { .iov_base = s->buf, .iov_len = sizeof(s->buf) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };

	*r = (struct received){ 0 };
	do {
		r->bytes = recvmsg(s->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (r->bytes < 0 && errno == EINTR);
	if (r->bytes < 0) {
		return errno == EAGAIN ? -EAGAIN
				       : 0; /* ECONNRESET: it is gone with our words unread */
	}
	take_control(r, &msg);
	if (r->bytes == 0 && r->fd_count == 0) {
		return 0;
	}
	s->messages_in++;
	return msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -EPROTO : 1;
}

static void close_all(struct received *r)
{
	for (unsigned int i = 0; i < r->fd_count; i++) {
		if (r->fds[i] >= 0) {
			close(r->fds[i]);
		}
	}
}

/* One datagram. Whether there may be more. */
static bool take_one(struct remote_socket *s)
{
	struct remote_message message;
	struct received r;
	int err = receive(s, &r);

	if (err == -EAGAIN) {
		return false;
	}
	if (err == 0) {
		s->is_ended = true;
		return false;
	}
	if (err > 0 && !s->is_hung_up) {
		err = remote_parse(s->buf, (size_t)r.bytes, r.fd_count, &message);
		if (!err) {
			err = s->ops->on_message(s->ctx, &message, r.fds, r.fd_count, r.pid);
		}
	}
	close_all(&r);
	if (err < 0) {
		broken(s, err);
	}
	return true;
}

static void turn(struct remote_socket *s)
{
	int n = 0, err;

	if (s->fd < 0 || s->is_ended || s->is_taking) {
		return;
	}
	s->is_taking = true;
	while (n < REMOTE_SOCKET_ROUND && take_one(s)) {
		n++;
	}
	s->is_taking = false;
	if (s->is_ended) {
		loop_watch_stop(&s->watch);
		drop_queue(s);
		s->ops->on_ended(s->ctx);
		return;
	}
	if (n == REMOTE_SOCKET_ROUND) {
		loop_post(s->loop, &s->go_on); /* the others first */
	}
	err = s->send_error ? s->send_error : flush(s);
	if (err && err != -EPIPE && err != -ECONNRESET) { /* of those we hear as an end */
		broken(s, err);
	}
}

static void on_ready(struct loop_watch *watch, uint32_t poll_events)
{
	(void)poll_events;
	turn(container_of(watch, struct remote_socket, watch));
}

static void on_go_on(struct loop_work *work)
{
	turn(container_of(work, struct remote_socket, go_on));
}

void remote_socket_wait(struct remote_socket *s, int timeout_ms)
{
	struct pollfd pollfd = { .fd = s->fd, .events = POLLIN };

	if (s->fd >= 0 && !s->is_ended) {
		if (!list_is_empty(&s->queue)) {
			pollfd.events |= POLLOUT;
		}
		(void)poll(&pollfd, 1, timeout_ms);
		turn(s);
	}
}

/* ---- life ---- */

int remote_socket_open(struct remote_socket *s, struct loop *loop, int fd_take,
		       const struct remote_socket_ops *ops, void *ctx)
{
	memset(s, 0, offsetof(struct remote_socket, buf));
	s->loop = loop;
	s->ops = ops;
	s->ctx = ctx;
	s->fd = -1;
	list_init(&s->queue);
	loop_work_init(&s->go_on, on_go_on);
	int err =
		loop_watch_start(loop, &s->watch, fd_take, POLLIN | POLLOUT | POLLRDHUP, on_ready);

	if (!err) {
		s->fd = fd_take;
		loop_post(loop, &s->go_on); /* what has come before the watch */
	}
	return err;
}

void remote_socket_close(struct remote_socket *s)
{
	if (s->loop && s->fd >= 0) {
		check(!s->is_taking);
		loop_watch_stop(&s->watch);
		loop_cancel(s->loop, &s->go_on);
		drop_queue(s);
		close(s->fd);
		s->fd = -1;
	}
}

bool remote_socket_is_open(const struct remote_socket *s)
{
	return s->loop && s->fd >= 0 && !s->is_hung_up && !s->is_ended;
}

/* SPDX-License-Identifier: MIT */
#include "loop/listener.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

static bool is_short_of_something(int err)
{
	return err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM;
}

static void take(struct listener *listener)
{
	for (unsigned int n = 0; n < LISTENER_TURN && listener->is_started; n++) {
		int fd = accept4(listener->watch.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			listener->fn(listener, fd);
		} else if (errno != EINTR && errno != ECONNABORTED) {
			if (is_short_of_something(errno)) {
				/* No edge will tell of those who are in the backlog. */
				loop_timer_arm(&listener->again, LISTENER_WAIT_NS);
			}
			return;
		}
	}
	if (listener->is_started) {
		loop_post(listener->watch.loop, &listener->more);
	}
}

static void on_connection(struct loop_watch *watch, uint32_t poll_events)
{
	(void)poll_events;
	take(container_of(watch, struct listener, watch));
}

static void on_more(struct loop_work *work)
{
	take(container_of(work, struct listener, more));
}

static void on_again(struct loop_timer *timer)
{
	take(container_of(timer, struct listener, again));
}

int listener_start(struct listener *listener, struct loop *loop, int fd, listener_fn *fn)
{
	*listener = (struct listener){ .fn = fn };
	loop_work_init(&listener->more, on_more);
	loop_timer_init(&listener->again, loop, on_again);
	int err = loop_watch_start(loop, &listener->watch, fd, POLLIN, on_connection);

	listener->is_started = !err;
	return err;
}

void listener_stop(struct listener *listener)
{
	if (!listener->is_started) {
		return;
	}
	listener->is_started = false;
	loop_watch_stop(&listener->watch);
	loop_cancel(listener->watch.loop, &listener->more);
	loop_timer_cancel(&listener->again);
}

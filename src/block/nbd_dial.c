/* SPDX-License-Identifier: MIT */
/* Making a connection to a server, on a thread of its own: see nbd_internal.h. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "block/nbd_internal.h"

/* The resolver and TLS want more than a loop does. */
#define STACK_BYTES   (512 * KIB)

#define DIAL_GRACE_MS 500

static void dial_free(struct nbd_dial *dial)
{
	if (dial->done_fd >= 0) {
		close(dial->done_fd);
	}
	if (dial->cancel_fd >= 0) {
		close(dial->cancel_fd);
	}
	nbd_close(dial->handle);
	free(dial->uri);
	free(dial);
}

static void dial_signal(int fd)
{
	uint64_t one = 1;
	ssize_t done = write(fd, &one, sizeof(one));

	(void)done; /* an event counter at its end is as readable as can be */
}

/* One of the two goes; the second one clears up. */
static void dial_put(struct nbd_dial *dial)
{
	if (atomic_exchange(&dial->is_left, true)) {
		dial_free(dial);
	}
}

void nbd_dial_leave(struct nbd_dial *dial)
{
	if (dial) {
		dial_signal(dial->cancel_fd);
		dial_put(dial);
	}
}

/* libnbd's words without the name of its function. */
static int dial_error(struct nbd_dial *dial, int fallback)
{
	const char *text = nbd_get_error(), *colon;
	int err = nbd_get_errno();

	if (!text) {
		text = strerror(-fallback);
	} else if (strncmp(text, "nbd_", 4) == 0 && (colon = strstr(text, ": ")) != NULL) {
		text = colon + 2;
	}
	return diag_set(&dial->error, err > 0 ? -err : fallback, "%s", text);
}

/* What we ask of a server; nothing is sent yet. */
static int dial_setup(struct nbd_dial *dial, struct nbd_handle *handle)
{
	if (nbd_set_uri_allow_local_file(handle, true) < 0 ||
	    nbd_add_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0) {
		return dial_error(dial, -ENOMEM);
	}
	if (nbd_aio_connect_uri(handle, dial->uri) < 0) {
		return dial_error(dial, -EIO);
	}
	return 0;
}

/* Lets libnbd go on as soon as it can. 0, or why it will never be. */
static int dial_step(struct nbd_dial *dial, struct nbd_handle *handle, uint64_t until_ns)
{
	unsigned int direction = nbd_aio_get_direction(handle);
	struct pollfd fds[] = {
		{ .fd = nbd_aio_get_fd(handle) },
		{ .fd = dial->cancel_fd, .events = POLLIN },
	};
	uint64_t now_ns = loop_now_ns();
	int ready;

	if (fds[0].fd < 0) {
		return dial_error(dial, -EIO);
	}
	if (now_ns >= until_ns) {
		return diag_set(&dial->error, -ETIMEDOUT, "no answer for %llu s",
				(unsigned long long)(dial->limits.connect_ns / 1000000000ULL));
	}
	fds[0].events = (short)((direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
				(direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0));
	ready = poll(fds, 2, (int)num_min((until_ns - now_ns) / 1000000 + 1, INT_MAX));
	if (fds[1].revents) {
		return diag_set(&dial->error, -ECANCELED, "given up");
	}
	if (ready <= 0 || !fds[0].revents) {
		return 0;
	}
	if (direction & LIBNBD_AIO_DIRECTION_READ && fds[0].revents & ~POLLOUT) {
		ready = nbd_aio_notify_read(handle);
	} else {
		ready = nbd_aio_notify_write(handle);
	}
	return ready < 0 ? dial_error(dial, -EIO) : 0;
}

static int dial_run(struct nbd_dial *dial)
{
	uint64_t until_ns = loop_now_ns() + dial->limits.connect_ns;
	struct nbd_handle *handle = nbd_create();
	int err;

	if (!handle) {
		return dial_error(dial, -ENOMEM);
	}
	err = dial_setup(dial, handle);
	while (!err && !nbd_aio_is_ready(handle)) {
		if (nbd_aio_is_dead(handle)) {
			err = dial_error(dial, -EIO);
		} else if (nbd_aio_is_closed(handle)) {
			err = diag_set(&dial->error, -ECONNRESET,
				       "the server ended the connection");
		} else {
			err = dial_step(dial, handle, until_ns);
		}
	}
	if (err) {
		nbd_close(handle);
		return err;
	}
	dial->handle = handle;
	return 0;
}

static void *dial_main(void *arg)
{
	struct nbd_dial *dial = arg;

	prctl(PR_SET_NAME, "tabique-nbd");
	dial->err = dial_run(dial);
	atomic_store_explicit(&dial->is_ended, true, memory_order_release);
	dial_signal(dial->done_fd);
	dial_put(dial);
	return NULL;
}

/* Detached; signals are for others. */
static int dial_thread(struct nbd_dial *dial)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int err;

	if (fault_point()) {
		return -EAGAIN;
	}
	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	err = pthread_create(&thread, &attr, dial_main, dial);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return -err;
}

int nbd_dial_begin(const char *uri, const struct nbd_limits *limits, struct nbd_dial **ret)
{
	struct nbd_dial *dial = fault_alloc(1, sizeof(*dial));
	int err = 0;

	if (!dial) {
		return -ENOMEM;
	}
	dial->limits = *limits;
	dial->uri = strdup(uri);
	dial->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	dial->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!dial->uri) {
		err = -ENOMEM;
	} else if (dial->done_fd < 0 || dial->cancel_fd < 0) {
		err = -EMFILE;
	} else {
		err = dial_thread(dial);
	}
	if (err) {
		dial_free(dial);
		return err;
	}
	*ret = dial;
	return 0;
}

int nbd_dial_end(struct nbd_dial *dial, struct nbd_handle **ret, struct diag *reterr)
{
	int err;

	/* What the thread wrote is ours to see from here on. */
	check(atomic_load_explicit(&dial->is_ended, memory_order_acquire));
	err = dial->err;
	if (err) {
		*reterr = dial->error;
	} else {
		*ret = steal(dial->handle);
	}
	dial_put(dial);
	return err;
}

int nbd_dial_wait(const char *uri, const struct nbd_limits *limits, struct nbd_handle **ret,
		  struct diag *reterr)
{
	/* The thread ends in time by itself, and says why, unless it looks a name up. */
	int patience_ms = (int)(limits->connect_ns / 1000000) + DIAL_GRACE_MS;
	struct nbd_dial *dial;
	int err = nbd_dial_begin(uri, limits, &dial);

	if (err) {
		return diag_set(reterr, err, "%s", strerror(-err));
	}
	struct pollfd fd = { .fd = dial->done_fd, .events = POLLIN };

	do {
		err = poll(&fd, 1, patience_ms);
	} while (err < 0 && errno == EINTR);
	if (err == 1) {
		return nbd_dial_end(dial, ret, reterr);
	}
	nbd_dial_leave(dial);
	return diag_set(reterr, -ETIMEDOUT, "its name cannot be looked up in time");
}

/* SPDX-License-Identifier: MIT */
/*
 * The connection of a network disk while its block is started.
 *
 *                        link_drive: answers
 *                           ┌────┐
 *   nbd_link_start ──► connected ──┐ link_lose: it broke, was silent, or sent nonsense
 *                           ▲      ▼
 *                link_attach│    backing off ◄─────┐ link_on_dialed: no luck
 *                           │      │ link_on_backoff│
 *                           └── dialing ────────────┘     (nbd_dial.c, on a thread of its own)
 *
 * The descriptor is watched by one-shot polls. They look when they are armed, so no answer is overlooked
 * that came before; a multi-shot poll tells only of what becomes ready, and to ask libnbd whether it has
 * read everything would make version 1.14 keep the next command back (a read without data leaves its
 * state machine where nothing is sent). A poll holds the socket open: it has to be gone before the
 * next connection is watched.
 */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "block/nbd_internal.h"

static void link_settle(struct nbd *nbd);
static void link_drive(struct nbd *nbd);

/* ---- polls ------------------------------------------------------------------------------------------ */

static void on_polled(struct loop_request *request, int result)
{
	struct nbd_half *half = container_of(request, struct nbd_half, request);
	struct nbd *nbd = half->nbd;

	(void)result; /* a hint: link_drive looks for itself */
	half->armed = false;
	nbd->armed--;
	if (nbd->handle && !nbd->is_quiescing) {
		link_drive(nbd);
	} else {
		link_settle(nbd);
	}
}

static void on_cancelled(struct loop_request *request, int result)
{
	struct nbd *nbd = container_of(request, struct nbd, cancel);

	(void)result; /* the poll itself says how it ended */
	nbd->armed--;
	link_settle(nbd);
}

static void half_arm(struct nbd *nbd, struct nbd_half *half, uint32_t poll_events)
{
	if (half->armed) {
		return;
	}
	io_uring_prep_poll_add(loop_sqe(nbd->block.loop, &half->request),
			       nbd_aio_get_fd(nbd->handle), poll_events);
	half->armed = true;
	nbd->armed++;
}

static void half_cancel(struct nbd *nbd, struct nbd_half *half)
{
	if (half->armed) {
		/* The loop's user_data is the request's address. */
		io_uring_prep_cancel64(loop_sqe(nbd->block.loop, &nbd->cancel),
				       (uintptr_t)&half->request, 0);
		nbd->armed++;
	}
}

/* ---- losing a connection ----------------------------------------------------------------------------- */

static void link_back_off(struct nbd *nbd)
{
	loop_timer_arm(&nbd->backoff, nbd->backoff_ns);
	nbd->backoff_ns = num_min(nbd->backoff_ns * 2, nbd->limits.backoff_ns_max);
}

static void link_lose(struct nbd *nbd, int err, const char *why)
{
	log_guest(&nbd->log_rate, "nbd", "%s: connection lost: %s; trying to get it back", nbd->uri,
		  why);
	nbd->losses++;
	half_cancel(nbd, &nbd->in);
	half_cancel(nbd, &nbd->out);
	loop_timer_cancel(&nbd->watchdog);
	nbd_drop(nbd, err);
	link_back_off(nbd);
}

/* Why libnbd says that it is dead. */
static const char *link_reason(void)
{
	const char *text = nbd_get_error();

	return text ? text : "the server ended it";
}

/* libnbd has given the connection up, perhaps while a command was being sent. */
static bool link_is_broken(struct nbd *nbd)
{
	return nbd_aio_is_dead(nbd->handle) != 0 || nbd_aio_is_closed(nbd->handle) != 0;
}

/* ---- watching a connection --------------------------------------------------------------------------- */

void nbd_link_tend(struct nbd *nbd)
{
	unsigned int direction;
	bool is_busy = !list_is_empty(&nbd->flying);

	if (!nbd->handle || nbd->is_quiescing) {
		return;
	}
	if (link_is_broken(nbd)) {
		link_lose(nbd, -EIO, link_reason());
		return;
	}
	/*
	 * Under TLS there may be something to read that is no data (a session ticket), which would leave
	 * libnbd waiting for data: so only look when there will be some.
	 */
	if (is_busy || !nbd->export.tls) {
		half_arm(nbd, &nbd->in, POLLIN);
	}
	direction = nbd_aio_get_direction(nbd->handle);
	if (direction & LIBNBD_AIO_DIRECTION_WRITE) {
		half_arm(nbd, &nbd->out, POLLOUT);
	}
	if (is_busy && !loop_timer_is_armed(&nbd->watchdog)) {
		nbd->events_seen = nbd->events;
		nbd->silent_ticks = 0;
		loop_timer_arm(&nbd->watchdog, nbd->limits.silence_ns / NBD_TICKS);
	}
}

/* One step of libnbd's; whether there was anything to do, and the connection still is. */
static bool link_step(struct nbd *nbd)
{
	unsigned int direction = nbd_aio_get_direction(nbd->handle);
	bool in = direction & LIBNBD_AIO_DIRECTION_READ;
	bool out = direction & LIBNBD_AIO_DIRECTION_WRITE;
	struct pollfd fd = {
		.fd = nbd_aio_get_fd(nbd->handle),
		.events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0)),
	};
	int done;

	if (fd.fd >= 0 && poll(&fd, 1, 0) <= 0) {
		return false;
	}
	if (fd.fd >= 0 && in && (fd.revents & ~POLLOUT || !out)) {
		done = nbd_aio_notify_read(nbd->handle);
	} else if (fd.fd >= 0 && out) {
		done = nbd_aio_notify_write(nbd->handle);
	} else {
		done = -1;
	}
	nbd->events++;
	if (done < 0 || link_is_broken(nbd)) {
		link_lose(nbd, -EIO, link_reason());
		return false;
	}
	return true;
}

static void link_drive(struct nbd *nbd)
{
	for (int i = 0; i < NBD_TURN_MAX && link_step(nbd); i++) {}
	if (!nbd->handle) {
		return;
	}
	if (!list_is_empty(&nbd->done)) {
		nbd->backoff_ns = nbd->limits.backoff_ns_min; /* it is of use */
	}
	nbd_reap(nbd);
	nbd_link_tend(nbd);
}

static void link_on_watchdog(struct loop_timer *timer)
{
	struct nbd *nbd = container_of(timer, struct nbd, watchdog);
	const struct nbd_op *oldest = list_first(&nbd->flying, struct nbd_op, link);

	nbd->ticks++;
	if (!oldest || !nbd->handle) {
		return;
	}
	if (nbd->events != nbd->events_seen) {
		nbd->events_seen = nbd->events;
		nbd->silent_ticks = 0;
	} else {
		nbd->silent_ticks++;
	}
	if (nbd->silent_ticks >= NBD_TICKS ||
	    nbd->ticks - oldest->tick >= NBD_TICKS * NBD_PATIENCE) {
		link_lose(nbd, -ETIMEDOUT, "no answer in time");
		return;
	}
	loop_timer_arm(timer, nbd->limits.silence_ns / NBD_TICKS);
}

/* ---- getting one back ---------------------------------------------------------------------------------- */

/* The same disk as before: nothing that we promised is missing. */
static int link_compare(const struct nbd *nbd, const struct nbd_export *now, struct diag *reterr)
{
	const struct nbd_export *then = &nbd->export;

	if (now->bytes < nbd->block.info.bytes) {
		return diag_set(reterr, -ENXIO, "its export has become smaller");
	}
	if (now->read_only && !nbd->block.info.read_only) {
		return diag_set(reterr, -EROFS, "its export has become read-only");
	}
	if (now->block_bytes > nbd->block.info.logical_block_bytes ||
	    now->piece_bytes < nbd->block.info.logical_block_bytes) {
		return diag_set(reterr, -ENXIO, "it wants other block sizes now");
	}
	if ((then->flush && !now->flush) || (then->trim && !now->trim) ||
	    (then->zero && !now->zero)) {
		return diag_set(reterr, -EOPNOTSUPP, "it can do less than before");
	}
	return 0;
}

static void link_attach(struct nbd *nbd, struct nbd_handle *handle)
{
	struct nbd_export now;
	struct diag diag;
	int err = nbd_export_read(handle, nbd->uri, &now, &diag);

	if (!err) {
		err = link_compare(nbd, &now, &diag);
	}
	if (err) {
		log_guest(&nbd->log_rate, "nbd", "%s: the server is back, but not as it was: %s",
			  nbd->uri, diag.text);
		nbd_close(handle);
		link_back_off(nbd);
		return;
	}
	log_guest(&nbd->log_rate, "nbd", "%s: connected again", nbd->uri);
	nbd->handle = handle;
	nbd->server_bytes = now.bytes;
	nbd->export = now;
	nbd->export.piece_bytes =
		(uint32_t)num_align_down(now.piece_bytes, nbd->block.info.logical_block_bytes);
	nbd->connections++;
	nbd_link_tend(nbd);
}

static void link_take_dial(struct nbd *nbd)
{
	struct nbd_handle *handle;
	struct diag diag;
	int err = nbd_dial_end(nbd->dial, &handle, &diag);

	nbd->dial = NULL;
	nbd->is_dialed = false;
	if (err) {
		log_debug("nbd", "%s: %s", nbd->uri, diag.text);
		link_back_off(nbd);
	} else {
		link_attach(nbd, handle);
	}
}

static void link_on_dialed(struct loop_watch *watch, uint32_t poll_events)
{
	struct nbd *nbd = container_of(watch, struct nbd, dial_watch);

	loop_watch_stop(watch);
	nbd->is_dialed = true;
	link_settle(nbd);
}

static void link_on_backoff(struct loop_timer *timer)
{
	struct nbd *nbd = container_of(timer, struct nbd, backoff);

	if (nbd_dial_begin(nbd->uri, &nbd->limits, &nbd->dial)) {
		link_back_off(nbd);
		return;
	}
	nbd->dial_watch = (struct loop_watch){ 0 };
	if (loop_watch_start(nbd->block.loop, &nbd->dial_watch, nbd->dial->done_fd, POLLIN,
			     link_on_dialed)) {
		nbd_dial_leave(steal(nbd->dial));
		link_back_off(nbd);
	}
}

/* Goes on with what had to wait until the kernel has let go of the connection before. */
static void link_settle(struct nbd *nbd)
{
	if (nbd->armed > 0) {
		return;
	}
	if (nbd->is_quiescing) {
		nbd->is_quiescing = false;
		block_quiesced(&nbd->block);
	} else if (nbd->is_dialed) {
		link_take_dial(nbd);
	}
}

/* ---- life --------------------------------------------------------------------------------------------- */

int nbd_link_start(struct nbd *nbd, struct loop *loop)
{
	nbd->in = (struct nbd_half){ .request = { on_polled }, .nbd = nbd };
	nbd->out = (struct nbd_half){ .request = { on_polled }, .nbd = nbd };
	nbd->cancel = (struct loop_request){ on_cancelled };
	nbd->backoff_ns = nbd->limits.backoff_ns_min;
	loop_work_init(&nbd->tend_work, nbd_on_tend);
	loop_timer_init(&nbd->backoff, loop, link_on_backoff);
	loop_timer_init(&nbd->watchdog, loop, link_on_watchdog);
	if (nbd->handle) {
		loop_defer(loop, &nbd->tend_work);
	} else {
		loop_timer_arm(&nbd->backoff, 0);
	}
	return 0;
}

void nbd_link_quiesce(struct nbd *nbd)
{
	nbd->is_quiescing = true;
	loop_timer_cancel(&nbd->backoff);
	loop_timer_cancel(&nbd->watchdog);
	loop_watch_stop(&nbd->dial_watch);
	nbd_dial_leave(steal(nbd->dial));
	nbd->is_dialed = false;
	half_cancel(nbd, &nbd->in);
	half_cancel(nbd, &nbd->out);
	link_settle(nbd);
}

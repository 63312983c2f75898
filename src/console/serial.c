/* SPDX-License-Identifier: MIT */
#include "console/serial_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/num.h"

#define ESCAPE_CHARACTER 0x01U /* Ctrl-A */

/* This much output does not wait for company. */
#define URGENT_BYTES     2048U

/* A full descriptor is tried again after this even if its wake-up was missed. */
#define RETRY_NS         50000000ULL

static bool serial_has_sink(const struct serial *serial)
{
	return serial->out.io != SERIAL_IO_NONE;
}

/* ---- output: any thread ---- */

static void ring_drop(struct serial *serial, size_t count)
{
	serial->head = (serial->head + count) % SERIAL_RING_BYTES;
	serial->count -= count;
	serial->stats.dropped_bytes += count;
}

static void ring_put(struct serial *serial, const uint8_t *bytes, size_t count)
{
	size_t at = (serial->head + serial->count) % SERIAL_RING_BYTES;
	size_t first = num_min(count, SERIAL_RING_BYTES - at);

	memcpy(serial->ring + at, bytes, first);
	memcpy(serial->ring, bytes + first, count - first);
	serial->count += count;
}

static size_t ring_get(struct serial *serial, uint8_t *ret_bytes, size_t room)
{
	size_t count = num_min(room, serial->count);
	size_t first = num_min(count, SERIAL_RING_BYTES - serial->head);

	memcpy(ret_bytes, serial->ring + serial->head, first);
	memcpy(ret_bytes + first, serial->ring, count - first);
	serial->head = (serial->head + count) % SERIAL_RING_BYTES;
	serial->count -= count;
	return count;
}

size_t serial_write(struct serial *serial, const void *bytes, size_t count)
{
	const uint8_t *from = bytes;
	size_t taken = count, skipped = 0;
	bool post = false;

	pthread_mutex_lock(&serial->lock);
	if (!serial->lossy) {
		taken = num_min(count, SERIAL_RING_BYTES - serial->count);
	} else if (count > SERIAL_RING_BYTES) {
		skipped = count - SERIAL_RING_BYTES;
		serial->stats.dropped_bytes += skipped;
	}
	if (serial->count + (taken - skipped) > SERIAL_RING_BYTES) {
		ring_drop(serial, serial->count + (taken - skipped) - SERIAL_RING_BYTES);
	}
	ring_put(serial, from + skipped, taken - skipped);
	if (taken < count) {
		serial->refused = true;
		serial->stats.refused++;
	}
	if (serial->count > 0 && !serial->scheduled) {
		serial->scheduled = true;
		post = true;
	}
	if (serial->count >= URGENT_BYTES && !serial->urgent) {
		serial->urgent = true;
		post = true;
	}
	pthread_mutex_unlock(&serial->lock);

	if (post) {
		loop_post(serial->loop, &serial->output_work);
	}
	return taken;
}

void serial_read_stats(struct serial *serial, struct serial_stats *ret)
{
	pthread_mutex_lock(&serial->lock);
	*ret = serial->stats;
	pthread_mutex_unlock(&serial->lock);
}

/* ---- output: the loop ---- */

/* Bytes written, or a negative errno. */
static ssize_t end_write(const struct serial_end *end, const uint8_t *bytes, size_t count)
{
	ssize_t written;

	do {
		written = end->io == SERIAL_IO_SOCKET
				  ? send(end->fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL)
				  : write(end->fd, bytes, count);
	} while (written < 0 && errno == EINTR);
	return written < 0 ? -errno : written;
}

/* The next bytes into the chunk; false when there are none. Owes on_writable() in *ret_room. */
static bool chunk_fill(struct serial *serial, bool *ret_room)
{
	if (serial->chunk_count > 0) {
		return true;
	}
	pthread_mutex_lock(&serial->lock);
	serial->chunk_at = 0;
	serial->chunk_count = ring_get(serial, serial->chunk, sizeof(serial->chunk));
	if (serial->chunk_count == 0) {
		serial->scheduled = false;
		serial->urgent = false;
	}
	/* Half empty before the guest is asked again: fewer, larger pieces. */
	if (serial->refused && serial->count <= SERIAL_RING_BYTES / 2) {
		serial->refused = false;
		*ret_room = true;
	}
	pthread_mutex_unlock(&serial->lock);
	return serial->chunk_count > 0;
}

/* count bytes of the chunk are done with: written, or lost. */
static void chunk_consume(struct serial *serial, size_t count, bool written)
{
	serial->chunk_at += count;
	serial->chunk_count -= count;
	pthread_mutex_lock(&serial->lock);
	if (written) {
		serial->stats.written_bytes += count;
	} else {
		serial->stats.dropped_bytes += count;
	}
	pthread_mutex_unlock(&serial->lock);
}

static void client_close(struct serial *serial);

/* The sink refuses for good: its reader has left, or the disk is full. */
static void sink_failed(struct serial *serial, int err)
{
	if (serial->listen_fd >= 0) {
		client_close(serial);
		return;
	}
	if (err == -EPIPE || err == -EIO) {
		loop_watch_stop(&serial->watch_out);
		close(serial->out.fd);
		serial->out = (struct serial_end){ .fd = -1 };
	}
	pthread_mutex_lock(&serial->lock);
	bool first = serial->stats.dropped_bytes == 0;
	pthread_mutex_unlock(&serial->lock);
	if (first) {
		log_warn("serial", "output is lost: %s", strerror(-err));
	}
}

/* Writes until nothing is left (0), the sink is full (-EAGAIN), or a client is missing (-ENOTCONN). */
static int serial_flush(struct serial *serial, bool *ret_room)
{
	for (;;) {
		ssize_t written;

		if (!serial_has_sink(serial) && serial->listen_fd >= 0) {
			return -ENOTCONN; /* the ring keeps the newest output for a client */
		}
		if (!chunk_fill(serial, ret_room)) {
			return 0;
		}
		if (!serial_has_sink(serial)) {
			chunk_consume(serial, serial->chunk_count, false);
			continue;
		}
		written = end_write(&serial->out, serial->chunk + serial->chunk_at,
				    serial->chunk_count);
		if (written == -EAGAIN) {
			return -EAGAIN;
		}
		if (written < 0) {
			sink_failed(serial, (int)written);
			if (serial->listen_fd < 0) {
				chunk_consume(serial, serial->chunk_count, false);
			}
			continue;
		}
		chunk_consume(serial, (size_t)written, true);
	}
}

static void serial_pump_output(struct serial *serial)
{
	bool room = false;
	int err = serial_flush(serial, &room);

	if (err == -EAGAIN) {
		loop_timer_arm(&serial->gather, RETRY_NS);
	} else {
		loop_timer_cancel(&serial->gather);
	}
	if (room && serial->ops) {
		serial->ops->on_writable(serial->ops_ctx);
	}
}

static void serial_on_gather(struct loop_timer *timer)
{
	serial_pump_output(container_of(timer, struct serial, gather));
}

static void serial_on_output(struct loop_work *work)
{
	struct serial *serial = container_of(work, struct serial, output_work);
	bool urgent;

	pthread_mutex_lock(&serial->lock);
	urgent = serial->urgent;
	pthread_mutex_unlock(&serial->lock);
	if (urgent) {
		serial_pump_output(serial);
	} else if (!loop_timer_is_armed(&serial->gather)) {
		loop_timer_arm(&serial->gather, SERIAL_GATHER_NS);
	}
}

static void serial_on_out_ready(struct loop_watch *watch, uint32_t poll_events)
{
	serial_pump_output(container_of(watch, struct serial, watch_out));
}

/* ---- input: the loop ---- */

/* The end that input comes from: a client's socket is both. */
static struct serial_end *serial_input_end(struct serial *serial)
{
	return serial->listen_fd >= 0 ? &serial->out : &serial->in;
}

/* Bytes read, 0 at the end, or a negative errno. */
static ssize_t end_read(const struct serial_end *end, uint8_t *ret_bytes, size_t room)
{
	ssize_t got;

	if (end->io == SERIAL_IO_NONE) {
		return -EAGAIN;
	}
	do {
		got = end->io == SERIAL_IO_SOCKET ? recv(end->fd, ret_bytes, room, MSG_DONTWAIT)
						  : read(end->fd, ret_bytes, room);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* Takes the user's escapes out of what a terminal typed; returns what is left of it. */
static size_t serial_filter_escape(struct serial *serial, uint8_t *bytes, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		uint8_t byte = bytes[i];

		if (!serial->escape && byte == ESCAPE_CHARACTER) {
			serial->escape = true;
			continue;
		}
		if (serial->escape && byte == 'x') {
			if (serial->on_quit) {
				serial->on_quit(serial->quit_ctx);
			}
		} else {
			bytes[kept++] = byte; /* Ctrl-A before it is swallowed */
		}
		serial->escape = false;
	}
	return kept;
}

static void serial_deliver(struct serial *serial)
{
	size_t taken;

	if (serial->input_count == 0 || serial->input_blocked || !serial->ops) {
		return;
	}
	taken = serial->ops->on_input(serial->ops_ctx, serial->input, serial->input_count);
	check(taken <= serial->input_count);
	serial->input_count -= taken;
	memmove(serial->input, serial->input + taken, serial->input_count);
	serial->input_blocked = serial->input_count > 0;
}

/* Nothing more comes from there. */
static void serial_input_ended(struct serial *serial)
{
	if (serial->listen_fd >= 0) {
		client_close(serial);
		return;
	}
	loop_watch_stop(&serial->watch_in);
	if (serial->is_terminal) {
		return; /* still needed to give it back */
	}
	close(serial->in.fd);
	serial->in = (struct serial_end){ .fd = -1 };
}

/* Reads and delivers until the host has no more, or the user takes no more and the buffer is full. */
static void serial_pump_input(struct serial *serial)
{
	for (;;) {
		size_t room;
		ssize_t got;

		serial_deliver(serial);
		room = SERIAL_INPUT_BYTES - serial->input_count;
		if (room == 0) {
			return;
		}
		got = end_read(serial_input_end(serial), serial->input + serial->input_count, room);
		if (got == -EAGAIN) {
			return;
		}
		if (got <= 0) {
			serial_input_ended(serial);
			return;
		}
		pthread_mutex_lock(&serial->lock);
		serial->stats.input_bytes += (uint64_t)got;
		pthread_mutex_unlock(&serial->lock);
		if (serial->is_terminal) {
			got = (ssize_t)serial_filter_escape(
				serial, serial->input + serial->input_count, (size_t)got);
		}
		serial->input_count += (size_t)got;
	}
}

static void serial_on_in_ready(struct loop_watch *watch, uint32_t poll_events)
{
	serial_pump_input(container_of(watch, struct serial, watch_in));
}

static void serial_on_input_work(struct loop_work *work)
{
	struct serial *serial = container_of(work, struct serial, input_work);

	serial->input_blocked = false;
	serial_pump_input(serial);
}

void serial_input_ready(struct serial *serial)
{
	loop_post(serial->loop, &serial->input_work);
}

/* ---- a socket's client ---- */

static void client_close(struct serial *serial)
{
	if (serial->out.fd < 0) {
		return;
	}
	loop_watch_stop(&serial->watch_in);
	close(serial->out.fd);
	serial->out = (struct serial_end){ .fd = -1 };
	/* The next one begins with what the guest says then; this one's typing goes with it. */
	if (serial->chunk_count > 0) {
		chunk_consume(serial, serial->chunk_count, false);
	}
	serial->input_count = 0;
}

static void serial_on_client_ready(struct loop_watch *watch, uint32_t poll_events)
{
	struct serial *serial = container_of(watch, struct serial, watch_in);

	serial_pump_input(serial);
	if (serial->out.fd >= 0 && (poll_events & (POLLHUP | POLLERR))) {
		client_close(serial);
	}
	if (serial->out.fd >= 0) {
		serial_pump_output(serial);
	}
}

static void serial_on_connect(struct listener *listener, int fd_take)
{
	struct serial *serial = container_of(listener, struct serial, listener);

	if (serial->out.fd >= 0) {
		close(fd_take); /* one at a time */
		return;
	}
	serial->out = (struct serial_end){ .fd = fd_take, .io = SERIAL_IO_SOCKET };
	serial->watch_in = (struct loop_watch){ 0 };
	if (loop_watch_start(serial->loop, &serial->watch_in, fd_take, POLLIN | POLLOUT,
			     serial_on_client_ready) != 0) {
		client_close(serial);
		return;
	}
	serial_pump_output(serial);
}

/* ---- life ---- */

void serial_attach(struct serial *serial, const struct serial_user_ops *ops, void *ctx)
{
	serial->ops = ops;
	serial->ops_ctx = ctx;
	serial->input_blocked = false;
	/* Input that came before, and a plain file, which no poll announces. */
	if (ops) {
		loop_post(serial->loop, &serial->input_work);
	}
}

void serial_on_quit(struct serial *serial, void (*fn)(void *ctx), void *ctx)
{
	serial->on_quit = fn;
	serial->quit_ctx = ctx;
}

static bool is_polled(const struct serial_end *end)
{
	return end->io == SERIAL_IO_NONBLOCK || end->io == SERIAL_IO_SOCKET;
}

static void end_close(struct serial_end *end)
{
	if (end->fd >= 0) {
		close(end->fd);
	}
	*end = (struct serial_end){ .fd = -1 };
}

static int serial_watch(struct serial *serial)
{
	int err = 0;

	if (serial->listen_fd >= 0) {
		return listener_start(&serial->listener, serial->loop, serial->listen_fd,
				      serial_on_connect);
	}
	if (is_polled(&serial->in)) {
		err = loop_watch_start(serial->loop, &serial->watch_in, serial->in.fd, POLLIN,
				       serial_on_in_ready);
	}
	if (!err && is_polled(&serial->out)) {
		err = loop_watch_start(serial->loop, &serial->watch_out, serial->out.fd, POLLOUT,
				       serial_on_out_ready);
	}
	return err;
}

int serial_create(struct loop *loop, const char *spec, struct serial **ret, struct diag *reterr)
{
	struct serial *serial = fault_alloc(1, sizeof(*serial));
	int err;

	if (!serial) {
		return diag_set(reterr, -ENOMEM, "serial port: out of memory");
	}
	pthread_mutex_init(&serial->lock, NULL);
	serial->loop = loop;
	serial->in.fd = -1;
	serial->out.fd = -1;
	serial->listen_fd = -1;
	loop_timer_init(&serial->gather, loop, serial_on_gather);
	loop_work_init(&serial->output_work, serial_on_output);
	loop_work_init(&serial->input_work, serial_on_input_work);

	err = serial_open(serial, spec, reterr);
	if (!err) {
		err = serial_watch(serial);
		if (err) {
			err = diag_set(reterr, err, "serial port: %s", strerror(-err));
		}
	}
	if (err) {
		serial_destroy(serial);
		return err;
	}
	*ret = serial;
	return 0;
}

/* The guest's last words, against a sink that may be slow, but not for ever. */
static void serial_last_flush(struct serial *serial)
{
	uint64_t end_ns = loop_now_ns() + SERIAL_FLUSH_MS * 1000000ULL;
	bool room;

	while (serial_flush(serial, &room) == -EAGAIN) {
		struct pollfd pollfd = { .fd = serial->out.fd, .events = POLLOUT };
		uint64_t now_ns = loop_now_ns();

		if (now_ns >= end_ns) {
			return;
		}
		(void)poll(&pollfd, 1, (int)((end_ns - now_ns) / 1000000U) + 1);
	}
}

void serial_destroy(struct serial *serial)
{
	if (!serial) {
		return;
	}
	serial->ops = NULL;
	/* Nobody posts any more; what was posted runs now. */
	while (atomic_load(&serial->output_work.queued) ||
	       atomic_load(&serial->input_work.queued)) {
		loop_turn(serial->loop);
	}
	serial_last_flush(serial);
	loop_timer_cancel(&serial->gather);
	loop_watch_stop(&serial->watch_in);
	loop_watch_stop(&serial->watch_out);
	listener_stop(&serial->listener);
	if (serial->is_terminal) {
		serial_restore_terminal();
	}
	end_close(&serial->in);
	end_close(&serial->out);
	if (serial->listen_fd >= 0) {
		close(serial->listen_fd);
		(void)unlink(serial->address.sun_path);
	}
	pthread_mutex_destroy(&serial->lock);
	free(serial);
}

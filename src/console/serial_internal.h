/* SPDX-License-Identifier: MIT */
/*
 * Shared by the files of the serial back ends: serial.c moves bytes, serial_open.c makes the
 * descriptors that they move through, terminal.c has the user's terminal in its care.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/un.h>

#include "console/serial.h"
#include "loop/listener.h"

/* How a descriptor is written and read without ever waiting for its other side. */
enum serial_io {
	SERIAL_IO_NONE,     /* there is none */
	SERIAL_IO_FILE,     /* never waits: regular files, /dev/null; not polled */
	SERIAL_IO_NONBLOCK, /* O_NONBLOCK is set on our own description */
	SERIAL_IO_SOCKET,   /* MSG_DONTWAIT */
};

struct serial_end {
	int fd; /* owned; -1 with SERIAL_IO_NONE */
	enum serial_io io;
};

struct serial {
	/* ---- any thread, under lock ---- */
	pthread_mutex_t lock;
	uint8_t ring[SERIAL_RING_BYTES]; /* output */
	size_t head, count;
	bool refused;   /* serial_write() took less than all: on_writable() is owed */
	bool scheduled; /* the loop knows that there is output */
	bool urgent;    /* and that it shall not gather any more */
	struct serial_stats stats;

	/* ---- constant ---- */
	struct loop *loop;
	bool lossy; /* drops the oldest output instead of refusing the newest */
	bool is_terminal;

	/* ---- the loop ---- */
	struct serial_end in, out; /* a client of a socket: out only, for both directions */
	int listen_fd;
	struct sockaddr_un address; /* of listen_fd, to be removed */
	struct loop_watch watch_in, watch_out;
	struct listener listener; /* at listen_fd */
	struct loop_timer gather; /* runs: output waits for company, or for room outside */
	struct loop_work output_work, input_work;

	uint8_t chunk[4096]; /* output on its way: taken from the ring, not yet written */
	size_t chunk_at, chunk_count;

	uint8_t input[SERIAL_INPUT_BYTES];
	size_t input_count;
	bool input_blocked; /* the user did not take all: wait for serial_input_ready() */
	bool escape;        /* the last byte was the escape character */

	const struct serial_user_ops *ops;
	void *ops_ctx;
	void (*on_quit)(void *ctx);
	void *quit_ctx;
};

/* Fills in, out, listen_fd, lossy and is_terminal from spec; what it opened is in serial either way. */
MUST_CHECK int serial_open(struct serial *serial, const char *spec, struct diag *reterr);

/* Makes a terminal raw. 0 or an errno. One terminal per process. */
MUST_CHECK int terminal_make_raw(int fd);

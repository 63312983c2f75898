/* SPDX-License-Identifier: MIT */
/*
 * Screens, keyboards and serial lines on the host: the consoles of a partition. This header: the
 * back end of a serial port.
 *
 *     vCPU: serial_write() ─► output ring ─► loop ─► terminal, file, socket
 *     terminal, socket ─► loop ─► on_input() ─► UART;   what it does not take waits here
 *
 * Both directions are bounded. A vCPU never waits: what finds no room in the output ring is not
 * taken, and on_writable() follows when there is room again. Kinds:
 *
 *   stdio       standard input and output; a terminal becomes raw, and Ctrl-A x leaves (Ctrl-A
 *               Ctrl-A sends one Ctrl-A). End of input is not an error.
 *   file:PATH   output into a file, emptied first; no input
 *   unix:PATH   a listening socket, one client at a time; while there is none, or while it
 *               does not read, the last SERIAL_RING_BYTES are kept and older output is dropped
 *               and counted
 *   none        output is dropped
 *
 * stdio and file lose nothing: their ring fills up and the guest waits.
 *
 *   owner   vm, which destroys it after the UART
 *   thread  the loop it was created on, except serial_write(), serial_input_ready() and
 *           serial_read_stats(): any thread. Its lock is taken last.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "loop/loop.h"

#define SERIAL_RING_BYTES  65536U
#define SERIAL_INPUT_BYTES 4096U

/* Output waits this long for company before it is written: one system call for many bytes. */
#define SERIAL_GATHER_NS   2000000ULL

/* serial_destroy() tries this long to get rid of the last output. */
#define SERIAL_FLUSH_MS    1000

struct serial;

/* Who has the other end (a UART). Called on the loop. */
struct serial_user_ops {
	/* Input; returns how much was taken. The rest is offered again after serial_input_ready(). */
	size_t (*on_input)(void *ctx, const uint8_t *bytes, size_t count);
	/* serial_write() would take something again, after it has refused something. */
	void (*on_writable)(void *ctx);
};

/*
 * spec: "stdio", "none", "file:PATH" or "unix:PATH". 0; -EINVAL for a spec that is none of these, or
 * the errno of the file or socket; sentence in *reterr.
 */
MUST_CHECK int serial_create(struct loop *loop, const char *spec, struct serial **ret,
			     struct diag *reterr);

/*
 * Writes what is left within SERIAL_FLUSH_MS, gives the terminal back as it was, removes the
 * socket. NULL is fine.
 */
void serial_destroy(struct serial *serial);

/* Before the first vCPU runs; NULL ops to detach. ctx is borrowed until then. */
void serial_attach(struct serial *serial, const struct serial_user_ops *ops, void *ctx);

/* fn(ctx) is called on the loop when the user types the escape (Ctrl-A x). */
void serial_on_quit(struct serial *serial, void (*fn)(void *ctx), void *ctx);

/* Any thread: takes up to count bytes for output; returns how many. Never waits. */
size_t serial_write(struct serial *serial, const void *bytes, size_t count);

/* Any thread: on_input() would take something again. */
void serial_input_ready(struct serial *serial);

struct serial_stats {
	uint64_t written_bytes; /* to the host */
	uint64_t dropped_bytes; /* nobody was there, or the write failed */
	uint64_t input_bytes;
	uint64_t refused; /* times serial_write() took less than all */
};
void serial_read_stats(struct serial *serial, struct serial_stats *ret);

/*
 * Any thread, any time, async-signal-safe: gives a raw terminal back as it was. Called by itself at
 * exit() and for signals that end the process and that nobody else handles.
 */
void serial_restore_terminal(void);

/* SPDX-License-Identifier: MIT */
/*
 * Both ends of the emulated host behind tools/with-kvm, in one static program:
 * inside.c and outside.c.
 *
 * Outside it starts QEMU and relays terminal, pipes, signals and the exit
 * status of one command. Inside, as process 1 of the initramfs, it loads the
 * modules, mounts the outer machine's files and runs that command. They talk
 * over one virtio-serial port:
 *
 *   frame     type (1 byte), length (4 bytes, little endian), payload
 *   outside   S spec, I input, E end of input, W window size, K signal
 *   inside    H hello, R running, O output, A error output, C credit for
 *             input, B heartbeat, F failed (a sentence), X exit status
 *
 * Input is sent only against credit, so that a signal or a window size is
 * never stuck behind input that nobody reads. Output needs no credit: a full
 * port blocks the command, as a full pipe would.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	INPUT_WINDOW_BYTES = 64 * 1024,
	FRAME_MAX_BYTES = 4 * 1024 * 1024,
	CHUNK_BYTES = 32 * 1024,
	GRACE_S = 5, /* between a passed-on signal and the end of QEMU */
	HEARTBEAT_S = 5,
	SILENCE_S = 90,   /* without a heartbeat: the emulated host hangs */
	EXIT_DIED = 124,  /* the emulated host ended under the command */
	EXIT_FAILED = 125 /* it did not come up */
};

enum { SPEC_TTY = 1, SPEC_SEPARATE_STDERR = 2 };

/* Reads frames from a descriptor that may deliver them in pieces. */
struct frames {
	unsigned char *data;
	size_t used, size;
};

/* The spec: these numbers, then strings that end in NUL: modules, directory, shares, words, variables. */
struct spec_numbers {
	uint32_t flags, rows, columns, shares, arguments, variables;
};

int write_all(int fd, const void *data, size_t len);
int send_frame(int fd, char type, const void *data, size_t len);
int send_number(int fd, char type, uint32_t number);

/* Takes in what is there. Returns bytes read, 0 at the end, -errno. */
ssize_t frames_fill(struct frames *f, int fd);

/* The first whole frame, which stays valid until frames_drop; false if none. */
bool frames_first(struct frames *f, char *ret_type, unsigned char **ret_data, uint32_t *ret_len);
void frames_drop(struct frames *f, uint32_t len);

__attribute__((noreturn)) void inside(void);
int outside(int argc, char **argv);

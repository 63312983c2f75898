/* SPDX-License-Identifier: MIT */
/* Frames on the port, and which end this is. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0) {
			if (errno == EINTR) {
				continue;
			}
			if (errno == EAGAIN) {
				struct pollfd pfd = { .fd = fd, .events = POLLOUT };

				poll(&pfd, 1, 1000);
				continue;
			}
			return -errno;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int send_frame(int fd, char type, const void *data, size_t len)
{
	unsigned char head[5] = { (unsigned char)type, len & 0xff, (len >> 8) & 0xff,
				  (len >> 16) & 0xff, (len >> 24) & 0xff };
	int r = write_all(fd, head, sizeof head);

	return r < 0 || len == 0 ? r : write_all(fd, data, len);
}

int send_number(int fd, char type, uint32_t number)
{
	return send_frame(fd, type, &number, sizeof number);
}

ssize_t frames_fill(struct frames *f, int fd)
{
	if (f->size - f->used < CHUNK_BYTES) {
		f->size = f->size * 2 + 4 * CHUNK_BYTES;
		f->data = realloc(f->data, f->size);
		if (f->data == NULL) {
			abort();
		}
	}
	ssize_t n = read(fd, f->data + f->used, f->size - f->used);

	if (n < 0) {
		return -errno;
	}
	f->used += (size_t)n;
	return n;
}

bool frames_first(struct frames *f, char *ret_type, unsigned char **ret_data, uint32_t *ret_len)
{
	if (f->used < 5) {
		return false;
	}
	uint32_t len = (uint32_t)f->data[1] | (uint32_t)f->data[2] << 8 |
		       (uint32_t)f->data[3] << 16 | (uint32_t)f->data[4] << 24;

	if (len > FRAME_MAX_BYTES) {
		fprintf(stderr, "with-kvm: the emulated host sends garbage\n");
		exit(EXIT_DIED);
	}
	if (f->used < 5 + (size_t)len) {
		return false;
	}
	*ret_type = (char)f->data[0];
	*ret_data = f->data + 5;
	*ret_len = len;
	return true;
}

void frames_drop(struct frames *f, uint32_t len)
{
	f->used -= 5 + (size_t)len;
	memmove(f->data, f->data + 5 + len, f->used);
}

int main(int argc, char **argv)
{
	if (getpid() == 1) {
		inside();
	}
	return outside(argc, argv);
}

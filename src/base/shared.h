/* SPDX-License-Identifier: MIT */
/*
 * What processes share over a socket: memory that cannot change its size under who maps it, and
 * descriptors that go with a message.
 *
 *   thread  any
 */
#pragma once

#include <stddef.h>

#include "base/check.h"

struct msghdr;

/*
 * A memfd of so many bytes, zeroes, mapped for reading and writing here; sealed against shrinking,
 * growing and further seals, and with more_seals (F_SEAL_*): our own mapping stays what it is even with
 * F_SEAL_FUTURE_WRITE. 0 or a negative errno. Memory and descriptor are the caller's to munmap() and
 * close().
 */
MUST_CHECK int shared_create(const char *name, size_t bytes, unsigned int more_seals, void **ret,
			     int *ret_fd);

/*
 * Adds descriptors to a message that is to be sent (SCM_RIGHTS). control: zeroes, CMSG_SPACE(count *
 * sizeof(int)) bytes, aligned for a struct cmsghdr; it stays with the message. Nothing for count 0.
 */
void shared_attach(struct msghdr *msg, void *control, const int *fds, unsigned int count);

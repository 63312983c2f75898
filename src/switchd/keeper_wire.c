/* SPDX-License-Identifier: MIT */
/* Messages between keeper and data process, and the latter's half of a conversation. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/shared.h"
#include "switchd/keeper.h"

#define CALL_TIMEOUT_MS 10000
#define KEEPER_WHO      "the keeper of this switch"

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * KEEPER_FDS_MAX)];
};

int keeper_send(int fd, const struct keeper_message *message, const int *fds, unsigned int fd_count)
{
	union control control = { 0 };
	struct iovec iov = { (void *)message, sizeof(*message) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	check(fd_count <= KEEPER_FDS_MAX);
	shared_attach(&msg, control.bytes, fds, fd_count);
	do {
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static unsigned int take_fds(struct msghdr *msg, int ret_fds[KEEPER_FDS_MAX])
{
	unsigned int count = 0;

	for (struct cmsghdr *head = CMSG_FIRSTHDR(msg); head; head = CMSG_NXTHDR(msg, head)) {
		size_t bytes = head->cmsg_len - CMSG_LEN(0);

		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) {
			continue;
		}
		for (size_t i = 0; i < bytes / sizeof(int) && count < KEEPER_FDS_MAX; i++) {
			memcpy(&ret_fds[count++], CMSG_DATA(head) + i * sizeof(int), sizeof(int));
		}
	}
	return count;
}

int keeper_receive(int fd, int flags, struct keeper_message *ret, int ret_fds[KEEPER_FDS_MAX],
		   unsigned int *ret_fd_count)
{
	union control control;
	struct keeper_message message;
	struct iovec iov = { &message, sizeof(message) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control) };
	unsigned int count;
	ssize_t n;

	do {
		n = recvmsg(fd, &msg, flags | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		return -errno;
	}
	/* Also a message without any byte, which looks like an end, may have some with it. */
	count = take_fds(&msg, ret_fds);
	if (n != sizeof(message) || message.magic != KEEPER_MAGIC ||
	    msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		close_fds(ret_fds, count);
		return n == 0 ? -EPIPE : -EPROTO;
	}
	message.name[sizeof(message.name) - 1] = '\0';
	message.text[sizeof(message.text) - 1] = '\0';
	*ret = message;
	*ret_fd_count = count;
	return 0;
}

/* Waits for the answer with this serial; KEEPER_QUIT in between is put off: the keeper repeats it. */
static int wait_answer(int fd, int timeout_ms, uint32_t serial, struct keeper_message *ret,
		       int *ret_fds, unsigned int *ret_fd_count)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	for (;;) {
		int err, ready = poll(&poll_fd, 1, timeout_ms);

		if (ready < 0 && errno == EINTR) {
			continue;
		}
		if (ready <= 0) {
			return ready < 0 ? -errno : -ETIMEDOUT;
		}
		err = keeper_receive(fd, MSG_DONTWAIT, ret, ret_fds, ret_fd_count);
		if (err == -EAGAIN) {
			continue;
		}
		if (err || ret->serial == serial) {
			return err;
		}
		close_fds(ret_fds, *ret_fd_count);
	}
}

int keeper_converse(int fd, const char *who, int timeout_ms, struct keeper_message *message,
		    const int *fds, unsigned int fd_count, int *ret_fds, unsigned int *ret_fd_count,
		    struct diag *reterr)
{
	int got[KEEPER_FDS_MAX];
	unsigned int got_count = 0;
	struct timespec now;
	int err;

	/* Answers to a request that was given up must not be taken for this one's. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	message->magic = KEEPER_MAGIC;
	message->serial = (uint32_t)now.tv_nsec | 1;
	err = keeper_send(fd, message, fds, fd_count);
	err = err ? err : wait_answer(fd, timeout_ms, message->serial, message, got, &got_count);
	if (err) {
		return diag_set(reterr, err, "%s does not answer: %s", who, strerror(-err));
	}
	if (message->status) {
		close_fds(got, got_count);
		return diag_set(reterr, message->status, "%s", message->text);
	}
	if (!ret_fds) {
		close_fds(got, got_count);
		return 0;
	}
	memcpy(ret_fds, got, sizeof(int) * got_count);
	*ret_fd_count = got_count;
	return 0;
}

int keeper_call(int fd, enum keeper_type type, const char *name, uint32_t count, const int *fds,
		unsigned int fd_count, int *ret_fds, unsigned int *ret_fd_count,
		struct diag *reterr)
{
	struct keeper_message message = { .type = type, .count = count };

	snprintf(message.name, sizeof(message.name), "%s", name ? name : "");
	return keeper_converse(fd, KEEPER_WHO, CALL_TIMEOUT_MS, &message, fds, fd_count, ret_fds,
			       ret_fd_count, reterr);
}

int keeper_ask_number(int fd, enum keeper_type type, uint32_t *ret, struct diag *reterr)
{
	struct keeper_message message = { .type = type };
	int err = keeper_converse(fd, KEEPER_WHO, CALL_TIMEOUT_MS, &message, NULL, 0, NULL, NULL,
				  reterr);

	if (!err) {
		*ret = message.count;
	}
	return err;
}

bool keeper_wants_end(int fd)
{
	struct keeper_message message;
	int fds[KEEPER_FDS_MAX];
	unsigned int count;
	int err = keeper_receive(fd, MSG_DONTWAIT, &message, fds, &count);

	if (err) {
		return err != -EAGAIN;
	}
	close_fds(fds, count);
	return message.type == KEEPER_QUIT;
}

int keeper_copy_of(int fd, size_t bytes_max, char **ret, size_t *ret_bytes)
{
	struct stat st;
	auto_free char *text = NULL;
	size_t bytes = 0;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < 0 ||
	    (uint64_t)st.st_size > bytes_max) {
		return -EINVAL;
	}
	text = malloc((size_t)st.st_size + 1);
	if (!text) {
		return -ENOMEM;
	}
	while (bytes < (size_t)st.st_size) {
		ssize_t n = pread(fd, text + bytes, (size_t)st.st_size - bytes, (off_t)bytes);

		if (n <= 0) {
			return n < 0 ? -errno : -EINVAL;
		}
		bytes += (size_t)n;
	}
	text[bytes] = '\0';
	*ret = steal(text);
	*ret_bytes = bytes;
	return 0;
}

int keeper_file_of(const char *name, const void *bytes, size_t length)
{
	auto_close int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0) {
		return -errno;
	}
	return write(fd, bytes, length) == (ssize_t)length ? steal_fd(&fd) : -EIO;
}

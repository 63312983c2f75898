/* SPDX-License-Identifier: MIT */
#include "base/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int shared_create(const char *name, size_t bytes, unsigned int more_seals, void **ret, int *ret_fd)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *at = MAP_FAILED;
	int err;

	if (fd < 0) {
		return -errno;
	}
	if (ftruncate(fd, (off_t)bytes) == 0) {
		at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	}
	/* Ours is mapped already: with F_SEAL_FUTURE_WRITE nobody else gets one that can write. */
	if (at != MAP_FAILED &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | more_seals) == 0) {
		*ret = at;
		*ret_fd = fd;
		return 0;
	}
	err = -errno;
	if (at != MAP_FAILED) {
		munmap(at, bytes);
	}
	close(fd);
	return err;
}

void shared_attach(struct msghdr *msg, void *control, const int *fds, unsigned int count)
{
	struct cmsghdr *head;

	if (count == 0) {
		return;
	}
	msg->msg_control = control;
	msg->msg_controllen = CMSG_SPACE(count * sizeof(int));
	head = CMSG_FIRSTHDR(msg);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(head), fds, count * sizeof(int));
}

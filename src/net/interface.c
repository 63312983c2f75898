/* SPDX-License-Identifier: MIT */
#include "net/interface.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

int net_interface_ask(const char *name, struct ifreq *ret_request)
{
	const size_t length = strlen(name);
	int fd;

	if (length == 0 || length >= IFNAMSIZ) {
		return -ENODEV;
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return -errno;
	}
	*ret_request = (struct ifreq){ 0 };
	memcpy(ret_request->ifr_name, name, length);
	return fd;
}

/* SPDX-License-Identifier: MIT */
#include "net/interface.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

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

/* A number of the kernel's for IPv4 on an interface; -1: there is none. */
static int conf_of(const char *name, const char *what)
{
	char path[96], text[16];
	auto_close int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/%s", name, what);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0) {
		return -1;
	}
	text[n] = 0;
	return atoi(text);
}

/* The kernel takes the larger of all's number and the interface's own. */
bool net_interface_answers_for_others(const char *name)
{
	return conf_of(name, "arp_ignore") == 0 && conf_of("all", "arp_ignore") == 0 &&
	       conf_of(name, "arp_filter") == 0 && conf_of("all", "arp_filter") == 0;
}

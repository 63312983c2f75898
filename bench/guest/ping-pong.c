/* SPDX-License-Identifier: MIT */
/*
 * One byte to and fro over TCP, as often as it goes:
 *
 *   ping-pong ADDRESS PORT          answers, until killed
 *   ping-pong ADDRESS PORT SECONDS  asks, and prints the round trips per second
 */
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tool.h"

static int tcp_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0) {
		fail("socket");
	}
	return fd;
}

static int answer(const char *host, const char *port)
{
	struct sockaddr_in address = address_of(host, port);
	int fd = tcp_socket(), on = 1;
	char byte;

	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 4) < 0) {
		fail("bind");
	}
	for (;;) {
		int peer = accept(fd, NULL, NULL);

		if (peer < 0) {
			fail("accept");
		}
		setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		while (read(peer, &byte, 1) == 1 && write(peer, &byte, 1) == 1) {}
		close(peer);
	}
}

static int ask(const char *host, const char *port, double seconds)
{
	struct sockaddr_in address = address_of(host, port);
	int fd = tcp_socket();
	unsigned long done = 0;
	char byte = 'b';

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		fail("connect");
	}
	double start = now(), end = start + seconds;

	do {
		if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) {
			fail("round trip");
		}
		done++;
	} while (now() < end);
	printf("ping-pong: %.0f round trips per second, %lu done\n", (double)done / (now() - start),
	       done);
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3) {
		return answer(argv[1], argv[2]);
	}
	if (argc == 4) {
		return ask(argv[1], argv[2], strtod(argv[3], NULL));
	}
	fprintf(stderr, "usage: ping-pong ADDRESS PORT [SECONDS]\n");
	return 2;
}

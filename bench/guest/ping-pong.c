/* SPDX-License-Identifier: MIT */
/*
 * One byte to and fro over TCP, as often as it goes:
 *
 *   ping-pong ADDRESS PORT          answers, until killed
 *   ping-pong ADDRESS PORT SECONDS  asks, and prints the round trips per second
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

__attribute__((noreturn)) static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int tcp_socket(const char *address, const char *port, struct sockaddr_in *ret_address)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	*ret_address = (struct sockaddr_in){ .sin_family = AF_INET,
					     .sin_port = htons((uint16_t)atoi(port)) };
	if (fd < 0 || inet_pton(AF_INET, address, &ret_address->sin_addr) != 1 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0) {
		fail("socket");
	}
	return fd;
}

static int answer(const char *host, const char *port)
{
	struct sockaddr_in address;
	int fd = tcp_socket(host, port, &address), on = 1;
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
	struct sockaddr_in address;
	int fd = tcp_socket(host, port, &address);
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

/* SPDX-License-Identifier: MIT */
/*
 * As many small datagrams as it goes, in frames of 64 bytes:
 *
 *   udp-blast ADDRESS PORT          counts what arrives, until killed
 *   udp-blast ADDRESS PORT SECONDS  sends, and prints how many per second arrived
 *
 * The first byte of a datagram tells what it is: data, or the question how much of this run has
 * arrived, which is answered by the number. A run's number keeps late ones of the run before apart.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tool.h"

#define BATCH  64
#define BYTES  18 /* with its headers and its checksum a frame of the least size */
#define TRIES  20
#define BUFFER (4 << 20)

enum { DATA = 'd', QUESTION = 'q', ANSWER = 'a' };

struct datagram {
	uint8_t kind, run[3];
	uint32_t count;
	uint8_t rest[BYTES - 8];
};

static int udp_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bytes = BUFFER;

	if (fd < 0) {
		fail("socket");
	}
	/* As much as the kernel lets us. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return fd;
}

struct batch {
	struct datagram data[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_in from[BATCH];
	struct mmsghdr messages[BATCH];
};

static void batch_init(struct batch *batch)
{
	memset(batch, 0, sizeof(*batch));
	for (int i = 0; i < BATCH; i++) {
		batch->iov[i] = (struct iovec){ &batch->data[i], sizeof(batch->data[i]) };
		batch->messages[i].msg_hdr.msg_iov = &batch->iov[i];
		batch->messages[i].msg_hdr.msg_iovlen = 1;
	}
}

/* ---- who counts ---- */

static int count(const char *host, const char *port)
{
	static struct batch batch;
	struct sockaddr_in address = address_of(host, port);
	uint8_t run[3] = { 0 };
	uint32_t arrived = 0;
	int fd = udp_socket();

	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		fail("bind");
	}
	batch_init(&batch);
	for (;;) {
		for (int i = 0; i < BATCH; i++) {
			batch.messages[i].msg_hdr.msg_name = &batch.from[i];
			batch.messages[i].msg_hdr.msg_namelen = sizeof(batch.from[i]);
		}
		int n = recvmmsg(fd, batch.messages, BATCH, MSG_WAITFORONE, NULL);

		for (int i = 0; i < n; i++) {
			struct datagram *data = &batch.data[i];

			if (memcmp(data->run, run, sizeof(run)) != 0) {
				memcpy(run, data->run, sizeof(run));
				arrived = 0;
			}
			if (data->kind == DATA) {
				arrived++;
				continue;
			}
			data->kind = ANSWER;
			data->count = htonl(arrived);
			(void)sendto(fd, data, sizeof(*data), 0, (struct sockaddr *)&batch.from[i],
				     sizeof(batch.from[i]));
		}
	}
}

/* ---- who sends ---- */

static uint64_t send_for(int fd, struct batch *batch, double seconds, double *ret_took)
{
	double start = now(), end = start + seconds;
	uint64_t sent = 0;

	do {
		int n = sendmmsg(fd, batch->messages, BATCH, 0);

		if (n < 0 && errno != ENOBUFS && errno != EAGAIN) {
			fail("send");
		}
		sent += n > 0 ? (uint64_t)n : 0;
	} while (now() < end);
	*ret_took = now() - start;
	return sent;
}

/* Asked until two answers agree: what is under way still arrives. */
static uint32_t ask(int fd, const uint8_t run[3])
{
	struct timeval patience = { .tv_usec = 500000 };
	struct datagram data = { .kind = QUESTION }, answer;
	uint32_t before = UINT32_MAX;

	memcpy(data.run, run, sizeof(data.run));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	for (int tries = 0; tries < TRIES; tries++) {
		(void)send(fd, &data, sizeof(data), 0);
		if (recv(fd, &answer, sizeof(answer), 0) != sizeof(answer) ||
		    answer.kind != ANSWER || memcmp(answer.run, run, sizeof(data.run)) != 0) {
			continue;
		}
		if (ntohl(answer.count) == before) {
			return before;
		}
		before = ntohl(answer.count);
		usleep(50000);
	}
	fprintf(stderr, "udp-blast: nobody says how much has arrived\n");
	exit(1);
}

static int blast(const char *host, const char *port, double seconds)
{
	static struct batch batch;
	struct sockaddr_in address = address_of(host, port);
	uint32_t mark = (uint32_t)(now() * 1000);
	int fd = udp_socket();
	double took;

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		fail("connect");
	}
	batch_init(&batch);
	for (int i = 0; i < BATCH; i++) {
		batch.data[i].kind = DATA;
		memcpy(batch.data[i].run, &mark, sizeof(batch.data[i].run));
	}
	uint64_t sent = send_for(fd, &batch, seconds, &took);
	uint32_t arrived = ask(fd, batch.data[0].run);

	printf("udp-blast: %.0f datagrams per second arrived, %llu sent, %u done\n", arrived / took,
	       (unsigned long long)sent, arrived);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3) {
		return count(argv[1], argv[2]);
	}
	if (argc == 4) {
		return blast(argv[1], argv[2], strtod(argv[3], NULL));
	}
	fprintf(stderr, "usage: udp-blast ADDRESS PORT [SECONDS]\n");
	return 2;
}

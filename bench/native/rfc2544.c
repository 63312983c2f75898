/* SPDX-License-Identifier: MIT */
/*
 * Loss and latency between two devices of this namespace, as RFC 2544 asks for them but with short trials:
 * the highest rate at which every frame that goes out at one comes in at the other, found by bisection, and
 * how long frames are under way at half of that rate.
 *
 * usage: bench_rfc2544 FROM TO BYTES MS     BYTES as on a wire, check sequence included; MS of a trial
 *
 * Prints one line of JSON. A rate has passed when one of TRIES trials lost nothing: this machine has other
 * things to do, and what a switch loses while nobody runs it says nothing of the switch.
 *
 *   main thread          sends
 *   "sink"               receives
 *   spec                 RFC 2544, 26.1 and 26.2
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"

#define FRAME_MIN   60U
#define FRAME_MAX   9014U
#define CHECK_BYTES 4U /* of a wire's frame, which nobody sees */
#define BATCH       32U
#define TRIES       3
#define STEPS       12 /* of the bisection, at most; it ends at 3 % */
#define PPS_MIN     200.0
#define REST_NS     300000000ULL /* behind the last frame, until it is lost */
#define SAMPLES_MAX 400000U
#define SINK_BYTES  (64 << 20)
#define TYPE        0x88b6U /* for local experiments */
#define TRIAL_AT    14U
#define TIME_AT     22U

struct bench {
	int out, in;
	uint32_t bytes; /* without the check sequence */
	uint64_t ns;
	uint8_t frame[BATCH][FRAME_MAX];
	struct mmsghdr messages[BATCH];
	struct iovec iov[BATCH];
	/* of the trial under way; the sink's but for `trial` */
	_Atomic(uint64_t) trial, received;
	_Atomic(bool) ends;
	uint32_t sample_count;
	uint64_t samples[SAMPLES_MAX];
};

struct trial {
	double offered, lost; /* frames a second, frames */
	uint64_t sent;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now); /* what frames are stamped with when they come in */
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

__attribute__((noreturn)) static void give_up(const char *what, const char *which)
{
	fprintf(stderr, "rfc2544: %s %s: %s\n", what, which, strerror(errno));
	exit(1);
}

/* ---- sockets ------------------------------------------------------------------------------------ */

static int open_on(const char *name, uint16_t type)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(type),
				  .sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(type));

	if (fd < 0 || at.sll_ifindex == 0 || bind(fd, (struct sockaddr *)&at, sizeof(at))) {
		give_up("cannot use", name);
	}
	return fd;
}

static void read_mac(int fd, const char *name, uint8_t ret[6])
{
	struct ifreq request = { 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFHWADDR, &request)) {
		give_up("no address of", name);
	}
	memcpy(ret, request.ifr_hwaddr.sa_data, 6);
}

static void make_frames(struct bench *bench, const uint8_t *to, const uint8_t *from)
{
	for (unsigned int i = 0; i < BATCH; i++) {
		memcpy(bench->frame[i], to, 6);
		memcpy(bench->frame[i] + 6, from, 6);
		bytes_put_be16(bench->frame[i] + 12, TYPE);
		bench->iov[i] = (struct iovec){ bench->frame[i], bench->bytes };
		bench->messages[i].msg_hdr =
			(struct msghdr){ .msg_iov = &bench->iov[i], .msg_iovlen = 1 };
	}
}

/* Who is at `to` says something, so that the switch in between knows where that is. */
static void teach(const char *to, const uint8_t mac[6])
{
	uint8_t frame[FRAME_MIN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	const struct timespec moment = { .tv_nsec = 100000000 };
	int fd = open_on(to, 0);

	memcpy(frame + 6, mac, 6);
	bytes_put_be16(frame + 12, 0x88b5);
	if (send(fd, frame, sizeof(frame), 0) < 0) {
		give_up("cannot send at", to);
	}
	nanosleep(&moment, NULL);
	close(fd);
}

static void bench_open(struct bench *bench, const char *from, const char *to)
{
	int room = SINK_BYTES, on = 1;
	uint8_t to_mac[6], from_mac[6];

	bench->out = open_on(from, 0);
	bench->in = open_on(to, TYPE);
	if (setsockopt(bench->in, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) ||
	    setsockopt(bench->in, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) ||
	    setsockopt(bench->out, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on))) {
		give_up("cannot set up", to);
	}
	read_mac(bench->in, to, to_mac);
	read_mac(bench->out, from, from_mac);
	make_frames(bench, to_mac, from_mac);
	teach(to, to_mac);
}

/* ---- the sink ----------------------------------------------------------------------------------- */

/* When the kernel got it: the sink may have had to wait for its processor. */
static uint64_t arrival_ns(struct msghdr *message)
{
	struct cmsghdr *at = CMSG_FIRSTHDR(message);
	struct timespec when = { 0 };

	for (; at; at = CMSG_NXTHDR(message, at)) {
		if (at->cmsg_level == SOL_SOCKET && at->cmsg_type == SO_TIMESTAMPNS) {
			memcpy(&when, CMSG_DATA(at), sizeof(when));
		}
	}
	return (uint64_t)when.tv_sec * 1000000000ULL + (uint64_t)when.tv_nsec;
}

static void count_frame(struct bench *bench, const uint8_t *frame, uint64_t now)
{
	if (bytes_be64(frame + TRIAL_AT) !=
	    atomic_load_explicit(&bench->trial, memory_order_relaxed)) {
		return;
	}
	if (bench->sample_count < SAMPLES_MAX) {
		bench->samples[bench->sample_count++] = now - bytes_be64(frame + TIME_AT);
	}
	atomic_fetch_add_explicit(&bench->received, 1, memory_order_release);
}

static void *sink_main(void *arg)
{
	static uint8_t heads[BATCH][64];
	static _Alignas(struct cmsghdr) uint8_t control[BATCH][128];
	struct mmsghdr messages[BATCH] = { 0 };
	struct iovec iov[BATCH];
	struct bench *bench = arg;
	struct pollfd pfd = { .fd = bench->in, .events = POLLIN };

	for (unsigned int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ heads[i], sizeof(heads[i]) };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i],
						       .msg_iovlen = 1,
						       .msg_control = control[i] };
	}
	while (!atomic_load(&bench->ends)) {
		int count = 0;

		for (unsigned int i = 0; i < BATCH; i++) {
			messages[i].msg_hdr.msg_controllen = sizeof(control[i]);
		}
		if (poll(&pfd, 1, 50) > 0) {
			count = recvmmsg(bench->in, messages, BATCH, MSG_DONTWAIT, NULL);
		}
		for (int i = 0; i < count; i++) {
			count_frame(bench, heads[i], arrival_ns(&messages[i].msg_hdr));
		}
	}
	return NULL;
}

/* ---- trials ------------------------------------------------------------------------------------- */

/* Sends so many frames now; how many the kernel took. */
static unsigned int send_some(struct bench *bench, uint64_t trial, unsigned int count)
{
	uint64_t now = now_ns();
	int sent;

	for (unsigned int i = 0; i < count; i++) {
		bytes_put_be64(bench->frame[i] + TRIAL_AT, trial);
		bytes_put_be64(bench->frame[i] + TIME_AT, now);
	}
	sent = sendmmsg(bench->out, bench->messages, count, 0);
	if (sent < 0 && errno != ENOBUFS && errno != EAGAIN) {
		give_up("cannot", "send");
	}
	return sent < 0 ? 0 : (unsigned int)sent;
}

static void wait_rest(struct bench *bench, uint64_t sent)
{
	uint64_t end = now_ns() + REST_NS;

	while (atomic_load_explicit(&bench->received, memory_order_acquire) < sent &&
	       now_ns() < end) {
		const struct timespec moment = { .tv_nsec = 1000000 };

		nanosleep(&moment, NULL);
	}
}

/* One trial; pps 0: as fast as it goes. */
static struct trial run_trial(struct bench *bench, double pps)
{
	static uint64_t trials;
	uint64_t trial = ++trials, began, now;
	struct trial result = { 0 };

	bench->sample_count = 0;
	atomic_store(&bench->received, 0);
	atomic_store(&bench->trial, trial);
	began = now_ns();
	do {
		now = now_ns();
		double due = pps > 0 ? pps * (double)(now - began) / 1e9 + 1 : 1e18;
		double owed = due - (double)result.sent;

		if (owed >= 1) {
			result.sent +=
				send_some(bench, trial, owed > BATCH ? BATCH : (unsigned int)owed);
		} else {
			sched_yield(); /* to whom is to be measured, if he shares this processor */
		}
	} while (now - began < bench->ns);
	result.offered = (double)result.sent * 1e9 / (double)(now_ns() - began);
	wait_rest(bench, result.sent);
	result.lost = (double)result.sent - (double)atomic_load(&bench->received);
	return result;
}

/* Whether nothing was lost, of as much as was asked for; the rate that it was. */
static bool passes(struct bench *bench, double pps, double *ret_offered)
{
	for (int i = 0; i < TRIES; i++) {
		struct trial trial = run_trial(bench, pps);

		if (trial.lost == 0 && trial.offered > 0.95 * pps) {
			*ret_offered = trial.offered;
			return true;
		}
	}
	return false;
}

/* The highest rate without loss; *ret_most: what the sender could offer at all. */
static double find_rate(struct bench *bench, double *ret_most)
{
	struct trial all = run_trial(bench, 0);
	double low = 0, high = all.offered;

	*ret_most = all.offered;
	if (all.lost == 0) {
		return all.offered;
	}
	for (int step = 0; step < STEPS && high - low > 0.03 * high && high > PPS_MIN; step++) {
		double middle = (low + high) / 2, offered;

		if (passes(bench, middle, &offered)) {
			low = middle;
		} else {
			high = middle;
		}
	}
	return low;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double share_us(const struct bench *bench, double share)
{
	return (double)bench->samples[(size_t)(share * (bench->sample_count - 1))] / 1e3;
}

int main(int argc, char **argv)
{
	static struct bench bench;
	pthread_t sink;
	double rate, most;

	if (argc != 5) {
		fprintf(stderr, "usage: bench_rfc2544 FROM TO BYTES MS\n");
		return 2;
	}
	bench.bytes = (uint32_t)strtoul(argv[3], NULL, 10) - CHECK_BYTES;
	bench.ns = strtoull(argv[4], NULL, 10) * 1000000;
	if (bench.bytes < FRAME_MIN || bench.bytes > FRAME_MAX || bench.ns == 0) {
		fprintf(stderr, "rfc2544: frames have %u to %u bytes\n", FRAME_MIN + CHECK_BYTES,
			FRAME_MAX + CHECK_BYTES);
		return 2;
	}
	bench_open(&bench, argv[1], argv[2]);
	check(pthread_create(&sink, NULL, sink_main, &bench) == 0);
	rate = find_rate(&bench, &most);
	run_trial(&bench, rate > 2 * PPS_MIN ? rate / 2 : PPS_MIN);
	atomic_store(&bench.ends, true);
	pthread_join(sink, NULL);
	check(bench.sample_count > 0);
	qsort(bench.samples, bench.sample_count, sizeof(bench.samples[0]), compare);
	printf("{\"bytes\": %s, \"pps\": %.0f, \"offered\": %.0f, \"latency_us\": %.1f, "
	       "\"latency_99_us\": %.1f}\n",
	       argv[3], rate, most, share_us(&bench, 0.5), share_us(&bench, 0.99));
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * The switch's pipeline alone: two front ends that do nothing, on one core; frames of 64 bytes in
 * batches of eight, as Linux sends them. Prints millions of frames a second of this thread's own time.
 *
 *   bench_pipeline [seconds]
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/check.h"
#include "vswitch/policy.h"
#include "vswitch/port.h"
#include "vswitch/vswitch.h"

#define BATCH   8U
#define BYTES   64U
#define BATCHES 4096U /* between two looks at the clock */
#define SOURCES 64U   /* batches in memory: 32 KiB of frames */

static int deliver(struct net_front *front, const struct net_frame *frame)
{
	(void)front;
	return frame->bytes == 0 ? -EAGAIN : 0;
}

static void nothing(struct net_front *front)
{
	(void)front;
}

static const struct net_front_ops ops = {
	.deliver = deliver,
	.batch_end = nothing,
	.writable = nothing,
	.link_changed = nothing,
};

static uint8_t bytes[SOURCES][BATCH][BYTES];

static void make_frames(void)
{
	for (unsigned int i = 0; i < SOURCES; i++) {
		for (unsigned int j = 0; j < BATCH; j++) {
			uint8_t *frame = bytes[i][j];

			memcpy(frame, (uint8_t[]){ 2, 0, 0, 0, 0, 1 }, 6);
			memcpy(frame + 6, (uint8_t[]){ 2, 0, 0, 0, 0, 0 }, 6);
			bytes_put_be16(frame + 12, 0x0800);
			frame[14] = 0x45;
			bytes_put_be16(frame + 16, BYTES - 14);
			frame[23] = 17;
			bytes_put_be32(frame + 26, 0x0a000001);
			bytes_put_be32(frame + 30, 0x0a000002);
			bytes_put_be16(frame + 34, (uint16_t)(1000 + i));
			bytes_put_be16(frame + 38, BYTES - 34);
		}
	}
}

static void send_batch(struct net *net, unsigned int source)
{
	struct iovec iov[BATCH][2];
	struct net_frame frames[BATCH];
	unsigned int taken;

	for (unsigned int i = 0; i < BATCH; i++) {
		iov[i][1] = (struct iovec){ bytes[source][i], BYTES };
		frames[i] = (struct net_frame){ .iov = &iov[i][1], .iov_count = 1, .bytes = BYTES };
	}
	check(net_send_many(net, frames, BATCH, &taken) == 0);
}

/* Of this thread only: others use the machine, too. */
static uint64_t spent_ns(void)
{
	struct timespec time;

	check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
	return (uint64_t)time.tv_sec * 1000000000ULL + (uint64_t)time.tv_nsec;
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 1;
	struct vswitch_config config = { .core_count = 1, .secret = 1 };
	struct net_front fronts[2] = { { &ops }, { &ops } };
	struct vswitch *vswitch;
	struct policy *policy;
	struct net *nets[2];
	struct loop *loop;
	struct diag diag;
	uint64_t frames = 0, start, end;

	check(loop_create("bench", &loop, &diag) == 0);
	config.control = config.loops[0] = loop;
	check(vswitch_create(&config, &vswitch) == 0);
	check(policy_create(&policy) == 0);
	policy_port_init(policy, 0, PORT_GUEST);
	policy_port_init(policy, 1, PORT_GUEST);
	policy_seal(policy);
	vswitch_adopt(vswitch, policy);
	for (uint16_t i = 0; i < 2; i++) {
		struct net_front_config front = { .mac = { 2, 0, 0, 0, 0, (uint8_t)i },
						  .mtu = 1500 };

		check(vswitch_port_add(vswitch, i, "port") == 0);
		check(port_guest_create(vswitch, i, loop, &nets[i]) == 0);
		check(net_attach(nets[i], &fronts[i], &front) == 0);
	}
	while (loop_turn(loop)) {}
	make_frames();
	start = spent_ns();
	do {
		for (unsigned int i = 0; i < BATCHES; i++) {
			send_batch(nets[0], i % SOURCES);
			if (i % 8 == 7) {
				loop_turn(loop); /* a round's end */
			}
		}
		frames += BATCHES * BATCH;
		end = spent_ns();
	} while ((double)(end - start) < seconds * 1e9);
	printf("%.2f M frames/s, %.1f ns each\n", (double)frames * 1e3 / (double)(end - start),
	       (double)(end - start) / (double)frames);
	check(net_counters(nets[1])->delivered_frames == frames);
	return 0;
}

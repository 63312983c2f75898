/* SPDX-License-Identifier: MIT */
/*
 * Copying a frame and making its checksum: in two passes, and in one (net/sum.h); beside memcpy() alone.
 * And a large frame in the pieces that a NIC's receive buffer has, beside one memcpy() of it.
 *
 *   bench_sum [--no-steps]
 *
 * Times are of this thread, the best of many slices: others use the machine, too. "near" copies within
 * 128 KiB, "far" within 32 MiB. Instructions are counted one by one; a repeated string instruction, which
 * memcpy() uses from some KiB on, is one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/num.h"
#include "meter.h"
#include "net/sum.h"

#define NEAR_BYTES  (128U << 10)
#define FAR_BYTES   (32U << 20)
#define SLICES      60
#define SLICE_BYTES (1U << 20)
#define HEAD_BYTES  110U /* of RNDIS, in front of a frame */
#define PIECE_BYTES 8192U
#define STEPS       4U

static uint8_t *from, *to;
static volatile uint64_t sink; /* what is summed is wanted */

/* ---- the ways ---------------------------------------------------------------------------------- */

/* As the switch summed before there was another way. */
static uint64_t sum_words(const uint8_t *p, size_t bytes)
{
	uint64_t a = 0, b = 0;

	for (; bytes >= 16; bytes -= 16, p += 16) {
		uint32_t w[4];

		memcpy(w, p, sizeof(w));
		a += (uint64_t)w[0] + w[1];
		b += (uint64_t)w[2] + w[3];
	}
	for (; bytes >= 2; bytes -= 2, p += 2) {
		uint16_t w;

		memcpy(&w, p, sizeof(w));
		a += w;
	}
	return a + b + (bytes ? *p : 0U);
}

static void copy_only(uint8_t *dst, const uint8_t *src, uint32_t bytes)
{
	memcpy(dst, src, bytes);
}

static void two_passes(uint8_t *dst, const uint8_t *src, uint32_t bytes)
{
	sink = sum_words(src, bytes);
	memcpy(dst, src, bytes);
}

static void one_plain(uint8_t *dst, const uint8_t *src, uint32_t bytes)
{
	sink = net_copy_and_sum_by(NET_SUM_PLAIN, dst, src, bytes);
}

static void one_sse2(uint8_t *dst, const uint8_t *src, uint32_t bytes)
{
	sink = net_copy_and_sum_by((enum net_sum_way)num_min(NET_SUM_SSE2, net_sum_best()), dst,
				   src, bytes);
}

static void one_pass(uint8_t *dst, const uint8_t *src, uint32_t bytes)
{
	sink = net_copy_and_sum(dst, src, bytes);
}

static void in_pieces(uint8_t *dst, const uint8_t *src, uint32_t bytes)
{
	for (uint32_t at = 0, run; at < bytes; at += run, dst += PIECE_BYTES) {
		run = (uint32_t)num_min(bytes - at, PIECE_BYTES - HEAD_BYTES);
		memcpy(dst, src + at, run);
	}
}

static void copies_in_pieces(uint8_t *dst, const uint8_t *src, uint32_t bytes)
{
	for (uint32_t at = 0, run; at < bytes; at += run, dst += PIECE_BYTES) {
		run = (uint32_t)num_min(bytes - at, PIECE_BYTES - HEAD_BYTES);
		net_copy(dst, src + at, run);
	}
}

static const struct {
	const char *name;
	void (*fn)(uint8_t *dst, const uint8_t *src, uint32_t bytes);
} ways[] = {
	{ "memcpy alone", copy_only },
	{ "two passes", two_passes },
	{ "one pass, words", one_plain },
	{ "one pass, SSE2", one_sse2 },
	{ "one pass, by choice", one_pass },
	{ "memcpy in pieces", in_pieces },
	{ "net_copy in pieces", copies_in_pieces },
};

/* ---- measuring --------------------------------------------------------------------------------- */

static double spent_ns(void)
{
	struct timespec time;

	check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
	return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* A frame's copy begins behind the head; in pieces it takes more room. */
static size_t stride_of(uint32_t bytes)
{
	return num_align_up((size_t)bytes + bytes / (PIECE_BYTES - HEAD_BYTES) * HEAD_BYTES +
				    2 * HEAD_BYTES,
			    64);
}

static double best_ns(size_t way, uint32_t bytes, size_t span)
{
	const size_t stride = stride_of(bytes), places = num_max(span / stride, 1);
	const size_t turns = SLICE_BYTES / bytes;
	double best = 1e18;
	size_t at = 0;

	for (unsigned int slice = 0; slice < SLICES; slice++) {
		double began = spent_ns(), took;

		for (size_t i = 0; i < turns; i++, at = at + 1 < places ? at + 1 : 0) {
			ways[way].fn(to + at * stride + HEAD_BYTES, from + at * stride, bytes);
		}
		took = (spent_ns() - began) / (double)turns;
		best = took < best ? took : best;
	}
	return best;
}

struct stepped {
	size_t way;
	uint32_t bytes;
};

static void step_main(void *ctx)
{
	const struct stepped *s = ctx;

	ways[s->way].fn(to, from, s->bytes);
	meter_mark();
	for (unsigned int i = 0; i < STEPS; i++) {
		ways[s->way].fn(to + HEAD_BYTES, from, s->bytes);
	}
	meter_mark();
}

static void show(size_t way, uint32_t bytes, bool with_steps)
{
	struct stepped s = { way, bytes };
	uint64_t counts[METER_SIDES];
	double near = best_ns(way, bytes, NEAR_BYTES), far = best_ns(way, bytes, FAR_BYTES);

	printf("%7u %-22s %9.1f %8.1f %9.1f %8.1f ", bytes, ways[way].name, near, bytes / near, far,
	       bytes / far);
	if (with_steps && meter_steps(step_main, &s, counts)) {
		printf("%8.0f\n", (double)(counts[0] + counts[1]) / STEPS);
	} else {
		printf("%8s\n", "n/a");
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const uint32_t sizes[] = { 30, 94, 480, 1480, 8980, 62318 };
	const bool with_steps = argc < 2 || strcmp(argv[1], "--no-steps") != 0;

	from = malloc(FAR_BYTES + SLICE_BYTES);
	to = malloc(FAR_BYTES + SLICE_BYTES);
	check(from && to);
	memset(from, 0x5a, FAR_BYTES + SLICE_BYTES);
	memset(to, 0, FAR_BYTES + SLICE_BYTES);
	printf("%7s %-22s %9s %8s %9s %8s %8s\n", "bytes", "", "near, ns", "GB/s", "far, ns",
	       "GB/s", "instr");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (size_t way = 0; way < ARRAY_SIZE(ways); way++) {
			bool is_cut = ways[way].fn == in_pieces || ways[way].fn == copies_in_pieces;

			if (!is_cut || sizes[i] > PIECE_BYTES) {
				show(way, sizes[i], with_steps);
			}
		}
	}
	free(from);
	free(to);
	return 0;
}

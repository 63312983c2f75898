/* SPDX-License-Identifier: MIT */
/*
 * Two cores of the virtual switch, a fake guest on each: frames go from the first to the second, and so
 * from one core to the other. Each guest's driver (nic.h) is a poller of its core's loop, so that two
 * processors do. The sender has so many frames under way and no more, as TCP has; or any number, and then
 * some are lost. docs/benchmarks.md says how to read it.
 *
 *   bench_cores [milliseconds [kind]]      kind: 0 to 3
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#include "base/check.h"
#include "base/num.h"
#include "meter.h"
#include "nic.h"
#include "party.h"
#include "vswitch/stats.h"

#define SLICE_NS    2000000ULL
#define SLICES_MAX  16384U
#define CLOCK_TURNS 16U /* turns between two looks at the clock */
#define LOST_NS     200000000ULL

/* A core, with its loop's thread and its guest; and how much of its time moved frames. */
struct half {
	struct loop_poller poller;
	struct loop *loop;
	struct party party;
	int cpu;
	uint64_t at_tsc, busy_tsc, all_tsc;
};

struct bench {
	struct loop *control;
	struct vswitch *vswitch;
	struct half halves[2];
	struct nic_sender sender;
	struct nic_sink sink;
	struct loop_work done;
	bool is_done;

	struct nic_load load;
	uint32_t window; /* frames */
	_Atomic(bool) is_ending;
	_Atomic(uint64_t) came; /* frames, as the taker has counted */
	uint64_t given_up, moved_at_ns,
		moved; /* the sender's: lost frames; when came was seen to grow */
	_Atomic(bool) is_at_rest;
	/* the taker's */
	unsigned int turns, slice_count;
	uint64_t slice_ns, slice_frames;
	double slices[SLICES_MAX]; /* ns per frame */
};

/* ---- the two guests ----------------------------------------------------------------------------- */

static void gauge(struct half *half, uint64_t from, bool has_moved)
{
	uint64_t now = __rdtsc();

	if (half->at_tsc) {
		half->all_tsc += now - half->at_tsc;
		half->busy_tsc += has_moved ? now - half->at_tsc : now - from;
	}
	half->at_tsc = now;
}

/* Whether another frame may be under way. What has not come for so long is lost. */
static bool has_window(struct bench *b)
{
	uint64_t came = b->came;
	uint64_t way = b->sender.sent_frames - b->given_up - came;

	if (came != b->moved) {
		b->moved = came;
		b->moved_at_ns = 0;
	}
	if (way < b->window) {
		return true;
	}
	if (b->moved_at_ns == 0) {
		b->moved_at_ns = loop_now_ns();
	} else if (loop_now_ns() > b->moved_at_ns + LOST_NS) {
		b->given_up += way;
	}
	return false;
}

static bool on_sender(struct loop_poller *poller)
{
	struct half *half = container_of(poller, struct half, poller);
	struct bench *b = container_of(half, struct bench, halves[0]);
	bool is_ending = b->is_ending;
	uint64_t from = __rdtsc();
	uint32_t done = nic_sender_turn(&b->sender, is_ending || !has_window(b));

	gauge(half, from, done > 0);
	if (is_ending && b->sender.in_flight == 0) {
		b->is_at_rest = true;
	}
	return true;
}

static void take_slice(struct bench *b)
{
	uint64_t now = loop_now_ns(), frames = b->came;

	if (b->slice_ns == 0 || now - b->slice_ns >= SLICE_NS) {
		if (b->slice_ns && frames > b->slice_frames && b->slice_count < SLICES_MAX) {
			b->slices[b->slice_count++] =
				(double)(now - b->slice_ns) / (double)(frames - b->slice_frames);
		}
		b->slice_ns = now;
		b->slice_frames = frames;
	}
}

static bool on_sink(struct loop_poller *poller)
{
	struct half *half = container_of(poller, struct half, poller);
	struct bench *b = container_of(half, struct bench, halves[1]);
	uint64_t from = __rdtsc();
	uint32_t done = nic_sink_turn(&b->sink);

	if (done) {
		b->came = b->sink.bytes / b->load.frame_bytes;
	}
	gauge(half, from, done > 0);
	if (++b->turns % CLOCK_TURNS == 0 && !b->is_ending) {
		take_slice(b);
	}
	return true;
}

static bool always(struct loop_poller *poller)
{
	(void)poller;
	return true;
}

static const struct loop_poller_ops sender_ops = { on_sender, always },
				    sink_ops = { on_sink, always };

/* ---- the switch --------------------------------------------------------------------------------- */

static void bench_create(struct bench *b, const int *cpus)
{
	struct vswitch_config config = { .core_count = 2, .secret = 1 };
	struct policy *policy;
	struct diag diag;

	check(loop_create("control", &b->control, &diag) == 0);
	config.control = b->control;
	for (unsigned int i = 0; i < 2; i++) {
		check(loop_create("core", &b->halves[i].loop, &diag) == 0);
		b->halves[i].cpu = cpus[i];
		config.loops[i] = b->halves[i].loop;
	}
	check(vswitch_create(&config, &b->vswitch) == 0);
	check(policy_create(&policy) == 0);
	for (uint16_t i = 0; i < 2; i++) {
		struct party *party = &b->halves[i].party;

		party->core = b->halves[i].loop;
		party->loops[0] = b->control;
		party->loops[1] = b->halves[0].loop;
		party->loops[2] = b->halves[1].loop;
		party_plug(party, b->vswitch, policy, i);
	}
	policy_seal(policy);
	vswitch_adopt(b->vswitch, policy);
	party_start(&b->halves[0].party);
	party_start(&b->halves[1].party);
	nic_sender_init(&b->sender, &b->halves[0].party.vsc);
	nic_sink_init(&b->sink, &b->halves[1].party.vsc);
}

static void on_done(struct loop_work *work)
{
	container_of(work, struct bench, done)->is_done = true;
}

static void bench_destroy(struct bench *b)
{
	nic_sender_fini(&b->sender);
	nic_sink_fini(&b->sink);
	party_unplug(&b->halves[0].party, b->vswitch);
	party_unplug(&b->halves[1].party, b->vswitch);
	loop_work_init(&b->done, on_done);
	vswitch_stop(b->vswitch, &b->done);
	while (!b->is_done) {
		loop_turn(b->control);
	}
	vswitch_destroy(b->vswitch);
	loop_destroy(b->halves[0].loop);
	loop_destroy(b->halves[1].loop);
	loop_destroy(b->control);
}

/* ---- one run ------------------------------------------------------------------------------------ */

static void begin(void *arg)
{
	struct half *half = arg;

	meter_pin(half->cpu);
	loop_poller_add(half->loop, &half->poller);
}

static void end(void *arg)
{
	struct half *half = arg;

	loop_poller_remove(half->loop, &half->poller);
}

static void sleep_ns(uint64_t ns)
{
	struct timespec time = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	nanosleep(&time, NULL);
}

static void run(struct bench *b, uint64_t ns)
{
	struct diag diag;

	nic_sender_start(&b->sender, &b->load, b->halves[1].party.mac, b->halves[0].party.mac);
	b->halves[0].poller.ops = &sender_ops;
	b->halves[1].poller.ops = &sink_ops;
	for (unsigned int i = 0; i < 2; i++) {
		check(loop_start_thread(b->halves[i].loop, &diag) == 0);
		loop_call(b->halves[i].loop, begin, &b->halves[i]);
	}
	sleep_ns(ns);
	b->is_ending = true;
	while (!b->is_at_rest) {
		sleep_ns(1000000);
	}
	sleep_ns(LOST_NS); /* what is under way still */
	for (unsigned int i = 0; i < 2; i++) {
		loop_call(b->halves[i].loop, end, &b->halves[i]);
		loop_stop_thread(b->halves[i].loop);
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double busy(const struct half *half)
{
	return (double)half->busy_tsc / (double)num_max(half->all_tsc, 1);
}

static void show(struct bench *b, const char *name)
{
	struct core_stats stats;
	double best, median;

	check(b->slice_count > 0);
	qsort(b->slices, b->slice_count, sizeof(b->slices[0]), compare);
	best = b->slices[0];
	median = b->slices[b->slice_count / 2];
	vswitch_core_stats(b->vswitch, 0, &stats);
	printf("%-12s %8.3f %8.3f %9.1f %7.2f %7.2f %7.2f %7.2f %9llu %9llu %6llu\n", name,
	       1e3 / best, 1e3 / median, best, b->load.frame_bytes / best,
	       b->load.frame_bytes / median, busy(&b->halves[0]), busy(&b->halves[1]),
	       (unsigned long long)stats.lane_frames, (unsigned long long)stats.handed_over,
	       (unsigned long long)(b->sender.sent_frames - b->came));
	fflush(stdout);
}

static const struct {
	const char *name;
	struct nic_load load;
	uint32_t window;
} kinds[] = {
	{ "64 bytes", { 64, 64, 8, false }, 1024 },
	{ "64, no limit", { 64, 64, 8, false }, UINT32_MAX },
	{ "1500 bytes", { 1500, 32, 3, true }, 256 },
	{ "64 KB", { NIC_LARGE_BYTES, 8, 1, true }, 8 },
};

int main(int argc, char **argv)
{
	uint64_t ms = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
	unsigned long kind = argc > 2 ? strtoul(argv[2], NULL, 10) : ARRAY_SIZE(kinds);
	int cpus[2];

	if (argc > 3 || ms == 0) {
		fprintf(stderr, "usage: %s [milliseconds [kind]]\n", argv[0]);
		return 2;
	}
	if (meter_processors(cpus, 2) < 2) {
		fprintf(stderr,
			"cores: two processors are needed, one for each core of the switch\n");
		return 77;
	}
	printf("From a guest on one core of the switch to one on the other; a core and its guest "
	       "on "
	       "processor %d, %d\n\n%-12s %8s %8s %9s %7s %7s %7s %7s %9s %9s %6s\n",
	       cpus[0], cpus[1], "per frame", "M/s", "median", "ns", "GB/s", "median", "busy",
	       "busy", "by lane", "handed", "lost");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct bench *b;

		if (kind < ARRAY_SIZE(kinds) && kind != i) {
			continue;
		}
		b = calloc(1, sizeof(*b));
		check(b);
		b->load = kinds[i].load;
		b->window = kinds[i].window;
		meter_pin_any(cpus, 2); /* a loop that may use one only would not spin */
		bench_create(b, cpus);
		run(b, ms * 1000000);
		show(b, kinds[i].name);
		bench_destroy(b);
		free(b);
	}
	return 0;
}

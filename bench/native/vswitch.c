/* SPDX-License-Identifier: MIT */
/*
 * The virtual switch without a guest: two fake guests whose drivers' data path is nic.h, through two
 * real NetVSPs on one core of a real switch, one way; small frames and large ones, beside what memcpy
 * does with the same memory. docs/benchmarks.md says how to read it.
 *
 *   main thread          the core's loop, on the first processor
 *   "guests"             both guests, on the second
 */
#include <getopt.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <x86intrin.h>

#include "base/check.h"
#include "base/num.h"
#include "meter.h"
#include "nic.h"
#include "party.h"
#include "vswitch/policy.h"
#include "vswitch/stats.h"
#include "vswitch/vswitch.h"

#define SLICE_NS    2000000ULL
#define SLICES_MAX  4096
#define STEP_DEPTH  8U /* packets in flight when instructions are counted */
#define REST_NS     5000000000ULL
#define CLOCK_TURNS 16 /* turns between two looks at the clock */
/* Of 2,048: what is under way to the taker never fills its buffer, whenever its thread runs. */
#define PIECES_MAX  1280U
#define PIECE_BYTES 8000U

/* ---- two guests on a switch --------------------------------------------------------------------- */

struct rig {
	struct loop *loop;
	struct vswitch *vswitch;
	struct party party[2];
	struct nic_sender sender;
	struct nic_sink sink;
	struct loop_work done;
	bool is_done;
};

static bool never(struct loop_poller *poller)
{
	(void)poller;
	return false;
}

static void rig_create(struct rig *rig)
{
	struct vswitch_config config = { .core_count = 1, .secret = 1 };
	struct policy *policy;
	struct diag diag;

	memset(rig, 0, sizeof(*rig));
	check(loop_create("core", &rig->loop, &diag) == 0);
	config.control = config.loops[0] = rig->loop;
	check(vswitch_create(&config, &rig->vswitch) == 0);
	check(policy_create(&policy) == 0);
	for (uint16_t i = 0; i < 2; i++) {
		rig->party[i].core = rig->party[i].loops[0] = rig->loop;
		party_plug(&rig->party[i], rig->vswitch, policy, i);
	}
	policy_seal(policy);
	vswitch_adopt(rig->vswitch, policy);
	party_start(&rig->party[0]);
	party_start(&rig->party[1]);
	nic_sender_init(&rig->sender, &rig->party[0].vsc);
	nic_sink_init(&rig->sink, &rig->party[1].vsc);
}

static void on_done(struct loop_work *work)
{
	container_of(work, struct rig, done)->is_done = true;
}

static void wait_done(struct rig *rig)
{
	while (!rig->is_done) {
		loop_turn(rig->loop);
	}
	rig->is_done = false;
}

static void rig_destroy(struct rig *rig)
{
	nic_sender_fini(&rig->sender);
	nic_sink_fini(&rig->sink);
	loop_work_init(&rig->done, on_done);
	for (uint16_t i = 0; i < 2; i++) {
		party_unplug(&rig->party[i], rig->vswitch);
	}
	vswitch_stop(rig->vswitch, &rig->done);
	wait_done(rig);
	vswitch_destroy(rig->vswitch);
	loop_destroy(rig->loop);
}

/* ---- one run ------------------------------------------------------------------------------------ */

/* How much of its time the core had something to do: looks on after each round of its loop. */
struct gauge {
	struct loop_poller poller;
	const struct net_counters *sent;
	uint64_t at, frames, busy_tsc, all_tsc;
};

struct run {
	struct nic_load load;
	bool alone; /* one thread does it all: no cache line changes its owner */
	uint64_t ns;
	int cpus[2]; /* the core's, the guests' */

	struct rig *rig;
	uint64_t began, slice_began, slice_wall, slice_bytes, slice_tsc;
	uint64_t guest_tsc;
	double slices[SLICES_MAX]; /* ns per frame, of the host's where we know it */
	struct gauge gauge;
	unsigned int slice_count;

	/* results, per frame where no unit is named */
	double ns_each, median_ns, copies_ns, busy;
	double ranges, batch, doorbells, enters;
	bool counted, stepped;
	double counts[METER_COUNTS];
	double instructions, guest_instructions;
};

static uint64_t now_ns(const struct run *run)
{
	struct timespec time;

	if (!run->alone) {
		return loop_now_ns();
	}
	/* Others use this machine, too. */
	check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) == 0);
	return (uint64_t)time.tv_sec * 1000000000ULL + (uint64_t)time.tv_nsec;
}

static double frames_of(const struct run *run, uint64_t bytes)
{
	return (double)bytes / run->load.frame_bytes;
}

static void slice_begin(struct run *run)
{
	run->slice_began = now_ns(run);
	run->slice_wall = loop_now_ns();
	run->slice_bytes = run->rig->sink.bytes;
	run->slice_tsc = __rdtsc();
	run->guest_tsc = 0;
}

/* Looks at the clock; whether there is time left. */
static bool slice_take(struct run *run)
{
	uint64_t now = now_ns(run), took = now - run->slice_began;
	double frames = frames_of(run, run->rig->sink.bytes - run->slice_bytes);

	if (took >= SLICE_NS && run->slice_count < SLICES_MAX && frames > 0) {
		double host = 1;

		if (run->alone) {
			host -= (double)run->guest_tsc / (double)(__rdtsc() - run->slice_tsc);
		}
		/* What is divided by the time stamp counter must not have been interrupted. */
		if (!run->alone || loop_now_ns() - run->slice_wall < took + took / 64) {
			run->slices[run->slice_count++] = (double)took * host / frames;
		}
		slice_begin(run);
	}
	return now - run->began < run->ns;
}

/* Both guests once; whether anything is under way. */
static bool turn_guests(struct rig *rig, bool ending)
{
	uint32_t frame_bytes = rig->sender.load.frame_bytes;
	uint32_t done = nic_sink_turn(&rig->sink);

	/*
	 * A frame without a buffer would be dropped, and waited for in vain: when this thread has lost its
	 * processor here and once more behind the next line, two depths of frames are there.
	 */
	rig->sender.bytes_max =
		rig->sink.bytes +
		(uint64_t)frame_bytes * (PIECES_MAX / (frame_bytes / PIECE_BYTES + 1));
	done += nic_sender_turn(&rig->sender, ending);
	if (done == 0) {
		__builtin_ia32_pause();
	}
	return rig->sender.in_flight > 0 || rig->sink.bytes < rig->sender.sent_bytes;
}

static void run_start(struct run *run)
{
	struct rig *rig = run->rig;

	nic_sender_start(&rig->sender, &run->load, rig->party[1].mac, rig->party[0].mac);
	run->began = now_ns(run);
	slice_begin(run);
}

static void show_ring(const char *name, const struct vsc_ring *ring)
{
	const struct vmbus_ring_control *control = ring->control;

	fprintf(stderr, "  %s: at %u write %u read %u mask %u pending %u\n", name, ring->at,
		control->write_index, control->read_index, control->interrupt_mask,
		control->pending_send_bytes);
}

/* What is under way arrives, or the process ends and says what it knows. */
static void wait_rest(struct run *run)
{
	const struct rig *rig = run->rig;
	uint64_t until = loop_now_ns() + REST_NS;
	struct port_stats stats;

	while (turn_guests(run->rig, true)) {
		if (loop_now_ns() > until) {
			fprintf(stderr,
				"vswitch: %u packets are not completed, %llu of %llu frames have "
				"come\n",
				rig->sender.in_flight,
				(unsigned long long)(rig->sink.bytes / run->load.frame_bytes),
				(unsigned long long)rig->sender.sent_frames);
			vswitch_port_stats(rig->vswitch, 1, &stats);
			fprintf(stderr, "  %llu found no buffer\n",
				(unsigned long long)stats.drops[DROP_NO_BUFFER]);
			show_ring("sender asks", &rig->sender.asks);
			show_ring("sender is told", &rig->sender.tells);
			show_ring("taker asks", &rig->sink.asks);
			show_ring("taker is told", &rig->sink.tells);
			abort();
		}
	}
}

static void *guests_main(void *arg)
{
	struct run *run = arg;

	prctl(PR_SET_NAME, "guests");
	run_start(run);
	do {
		for (int i = 0; i < CLOCK_TURNS; i++) {
			turn_guests(run->rig, false);
		}
	} while (slice_take(run));
	wait_rest(run);
	loop_quit(run->rig->loop);
	return NULL;
}

/* The guests as one more poller of the core's loop: nothing depends on who runs when. */
struct stepper {
	struct loop_poller poller;
	struct run *run;
	uint64_t from, to; /* bytes at the sink */
	bool begun;
	unsigned int turns;
};

static bool step_arm(struct loop_poller *poller)
{
	(void)poller;
	return true;
}

static bool on_alone(struct loop_poller *poller)
{
	struct stepper *stepper = container_of(poller, struct stepper, poller);
	struct run *run = stepper->run;
	uint64_t before;

	if (++stepper->turns % CLOCK_TURNS == 0 && !slice_take(run)) {
		stepper->begun = false; /* the end */
	}
	before = __rdtsc();
	if (!turn_guests(run->rig, !stepper->begun)) {
		loop_quit(run->rig->loop);
	}
	run->guest_tsc += __rdtsc() - before;
	return true;
}

static void run_alone(struct run *run)
{
	static const struct loop_poller_ops ops = { on_alone, step_arm };
	struct stepper stepper = { .poller.ops = &ops, .run = run, .begun = true };

	run_start(run);
	loop_poller_add(run->rig->loop, &stepper.poller);
	loop_run(run->rig->loop);
	loop_poller_remove(run->rig->loop, &stepper.poller);
}

static bool on_gauge(struct loop_poller *poller)
{
	struct gauge *gauge = container_of(poller, struct gauge, poller);
	uint64_t now = __rdtsc(), frames = gauge->sent->sent_frames;

	if (gauge->at) {
		gauge->all_tsc += now - gauge->at;
		gauge->busy_tsc += frames != gauge->frames ? now - gauge->at : 0;
	}
	gauge->at = now;
	gauge->frames = frames;
	return false;
}

static void run_beside(struct run *run)
{
	static const struct loop_poller_ops ops = { on_gauge, never };
	pthread_t guests = meter_thread(run->cpus[1], guests_main, run);

	run->gauge =
		(struct gauge){ .poller.ops = &ops, .sent = net_counters(run->rig->party[0].net) };
	loop_poller_add(run->rig->loop, &run->gauge.poller);
	loop_run(run->rig->loop);
	loop_poller_remove(run->rig->loop, &run->gauge.poller);
	pthread_join(guests, NULL);
	run->busy = (double)run->gauge.busy_tsc / (double)num_max(run->gauge.all_tsc, 1);
}

/* ---- memcpy ------------------------------------------------------------------------------------- */

/* The same frames into so many places in turn, by memcpy; the best of many slices. */
static double copy_ns(struct run *run, uint32_t places)
{
	uint8_t *to = fake_guest_hva(run->rig->party[1].vsc.guest, run->rig->party[1].vsc.recv_gpa,
				     PARTY_RECV_BYTES);
	const uint32_t stride = NIC_LARGE_PAGES * MEM_PAGE_BYTES, count = run->load.frame_bytes;
	uint64_t began = loop_now_ns(), now;
	double best = 1e18;
	uint32_t i = 0;

	do {
		uint64_t from = loop_now_ns();

		for (uint32_t n = 0; n < 256; n++, i++) {
			memcpy(to + (size_t)(i % places) * stride,
			       run->rig->sender.pages + (size_t)(i % NIC_LARGE_BUFFERS) * stride,
			       count);
		}
		now = loop_now_ns();
		best = best < (double)(now - from) / 256 ? best : (double)(now - from) / 256;
	} while (now - began < run->ns / 2);
	return best;
}

/* ---- what came out ------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void run_evaluate(struct run *run, const struct loop_stats *from,
			 const struct loop_stats *to)
{
	const struct rig *rig = run->rig;
	double frames = frames_of(run, rig->sink.bytes);

	check(run->slice_count > 0 && frames > 0);
	check(rig->sink.bytes == rig->sender.sent_frames * run->load.frame_bytes);
	qsort(run->slices, run->slice_count, sizeof(run->slices[0]), compare);
	run->ns_each = run->slices[0];
	run->median_ns = run->slices[run->slice_count / 2];
	run->ranges = (double)rig->sink.pieces / frames;
	run->batch = frames / (double)num_max(rig->sink.packets, 1);
	run->doorbells = (double)(rig->sender.doorbells + rig->sink.doorbells) / frames;
	run->enters = (double)(to->enters - from->enters) / frames;
}

static void run_time(struct run *run)
{
	struct loop_stats from, to;
	uint64_t counts[METER_COUNTS];
	static struct rig rig;
	struct meter meter;

	/* A loop that may use one processor only would not spin before it sleeps. */
	meter_pin_any(run->cpus, 2);
	rig_create(&rig);
	run->rig = &rig;
	meter_pin(run->cpus[0]);
	if (run->load.frame_bytes == NIC_LARGE_BYTES) {
		run->copies_ns =
			copy_ns(run, PARTY_RECV_BYTES / (NIC_LARGE_PAGES * MEM_PAGE_BYTES));
	}
	loop_read_stats(rig.loop, &from);
	run->counted = meter_start(&meter);
	if (run->alone) {
		run_alone(run);
	} else {
		run_beside(run);
	}
	meter_stop(&meter, counts);
	loop_read_stats(rig.loop, &to);
	run_evaluate(run, &from, &to);
	for (int i = 0; i < METER_COUNTS; i++) {
		run->counts[i] = (double)counts[i] / frames_of(run, rig.sink.bytes);
	}
	run->rig = NULL;
	rig_destroy(&rig);
}

/* ---- counting instructions one by one ----------------------------------------------------------- */

static bool on_step(struct loop_poller *poller)
{
	struct stepper *stepper = container_of(poller, struct stepper, poller);
	struct rig *rig = stepper->run->rig;

	meter_side(1);
	turn_guests(rig, false);
	if (rig->sink.bytes >= (stepper->begun ? stepper->to : stepper->from)) {
		stepper->begun = true;
		stepper->from = UINT64_MAX;
		meter_mark();
	}
	meter_side(0);
	return true;
}

/* Every batch is as the one before; stepping is slow. */
static uint64_t step_bytes(const struct run *run)
{
	return (uint64_t)STEP_DEPTH * run->load.batch * run->load.frame_bytes;
}

/* In the child. */
static void step_main(void *ctx)
{
	static const struct loop_poller_ops ops = { on_step, step_arm };
	static struct rig rig;
	struct run *run = ctx;
	struct stepper stepper = { .poller.ops = &ops,
				   .run = run,
				   .from = 4 * step_bytes(run),
				   .to = 6 * step_bytes(run) };

	meter_pin_any(run->cpus, 2);
	rig_create(&rig);
	run->rig = &rig;
	run->load.depth = STEP_DEPTH;
	meter_pin(run->cpus[0]);
	run_start(run);
	loop_poller_add(rig.loop, &stepper.poller);
	loop_run(rig.loop); /* the parent ends it */
}

static void run_step(struct run *run)
{
	double frames = 2.0 * STEP_DEPTH * run->load.batch;
	uint64_t counts[METER_SIDES];

	run->stepped = meter_steps(step_main, run, counts);
	run->instructions = (double)counts[0] / frames;
	run->guest_instructions = (double)counts[1] / frames;
}

/* ---- what is shown ------------------------------------------------------------------------------ */

static double gigabytes(const struct run *run, double ns)
{
	return run->load.frame_bytes / ns;
}

static void show_head(double hertz, double line_ns, const int *cpus)
{
	printf("Two guests on the switch, without a guest: one way, one core of the switch on "
	       "processor %d,\nboth guests on %d; core %.2f GHz, a cache line to the other core "
	       "%.0f ns = %.0f cycles\n\n%-30s %8s %8s %7s %7s %7s %7s %7s %7s %7s %7s\n",
	       cpus[0], cpus[1], hertz / 1e9, line_ns, line_ns * hertz / 1e9, "per frame", "M/s",
	       "median", "ns", "cycles", "instr", "guest", "batch", "bells", "busy", "GB/s");
}

static void show(const struct run *run, const char *name, double hertz)
{
	printf("%-30s %8.3f %8.3f %7.1f %7.0f ", name, 1e3 / run->ns_each, 1e3 / run->median_ns,
	       run->ns_each, run->ns_each * hertz / 1e9);
	if (run->stepped) {
		printf("%7.0f %7.0f ", run->instructions, run->guest_instructions);
	} else {
		printf("%7s %7s ", "n/a", "n/a");
	}
	printf("%7.1f %7.4f %7.2f %7.2f\n", run->batch, run->doorbells,
	       run->alone ? 1.0 : run->busy, gigabytes(run, run->ns_each));
	if (run->copies_ns > 0) {
		printf("%-30s %8.3f %8s %7.1f %7.0f %48.2f\n", "  memcpy of the same",
		       1e3 / run->copies_ns, "", run->copies_ns, run->copies_ns * hertz / 1e9,
		       gigabytes(run, run->copies_ns));
	}
	if (run->counted) {
		printf("  counted by the processor: %.0f cycles, %.0f instructions, %.2f cache "
		       "misses\n",
		       run->counts[METER_CYCLES], run->counts[METER_INSTRUCTIONS],
		       run->counts[METER_CACHE_MISSES]);
	}
	fflush(stdout);
}

static json_t *to_json(const struct run *run, const char *name, double hertz)
{
	json_t *item =
		json_pack("{s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "what", name,
			  "bytes", (int)run->load.frame_bytes, "frames", 1e9 / run->ns_each,
			  "median_frames", 1e9 / run->median_ns, "cycles",
			  run->ns_each * hertz / 1e9, "gigabytes", gigabytes(run, run->ns_each),
			  "batch", run->batch, "pieces", run->ranges, "doorbells", run->doorbells,
			  "enters", run->enters, "busy", run->alone ? 1.0 : run->busy);

	check(item);
	if (run->copies_ns > 0) {
		json_object_set_new(item, "memcpy_gigabytes",
				    json_real(gigabytes(run, run->copies_ns)));
	}
	if (run->stepped) {
		json_object_set_new(item, "instructions", json_real(run->instructions));
		json_object_set_new(item, "guest_instructions", json_real(run->guest_instructions));
	}
	if (run->counted) {
		json_object_set_new(item, "counted_cycles", json_real(run->counts[METER_CYCLES]));
	}
	return item;
}

/* ---- the program -------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	struct nic_load load;
	bool alone, steps;
} kinds[] = {
	{ "64 bytes", { 64, 128, 8, false }, .steps = true },
	{ "64 bytes, hash and checksum", { 64, 128, 8, true }, .steps = true },
	{ "64 bytes, one in a packet", { 64, 128, 1, false } },
	{ "64 bytes, one thread is all", { 64, 128, 8, false }, .alone = true },
	{ "1500 bytes, hash and checksum", { 1514, 64, 3, true }, .steps = true },
	{ "1500 bytes, one thread is all", { 1514, 64, 3, true }, .alone = true },
	{ "64 KB", { NIC_LARGE_BYTES, 16, 1, true }, .steps = true },
	{ "64 KB, one thread is all", { NIC_LARGE_BYTES, 16, 1, true }, .alone = true },
};

struct options {
	uint64_t ms;
	int kind; /* -1: all */
	bool steps;
	const char *json;
};

static void usage(const char *name)
{
	fprintf(stderr, "usage: %s [--quick] [--ms N] [--kind 0..%zu] [--no-steps] [--json PATH]\n",
		name, ARRAY_SIZE(kinds) - 1);
	exit(2);
}

static struct options options_parse(int argc, char **argv)
{
	static const struct option names[] = {
		{ "ms", required_argument, NULL, 'm' },   { "kind", required_argument, NULL, 'k' },
		{ "no-steps", no_argument, NULL, 's' },   { "quick", no_argument, NULL, 'q' },
		{ "json", required_argument, NULL, 'j' }, { 0 },
	};
	struct options o = { .ms = 1000, .kind = -1, .steps = true };
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 'm':
			o.ms = num_max(strtoul(optarg, NULL, 10), 4 * SLICE_NS / 1000000);
			break;
		case 'k':
			o.kind = (int)strtol(optarg, NULL, 10);
			break;
		case 'q':
			o.ms = 300;
			break;
		case 's':
			o.steps = false;
			break;
		case 'j':
			o.json = optarg;
			break;
		default:
			usage(argv[0]);
		}
	}
	if (o.kind >= (int)ARRAY_SIZE(kinds) || optind != argc) {
		usage(argv[0]);
	}
	return o;
}

int main(int argc, char **argv)
{
	struct options o = options_parse(argc, argv);
	json_t *rows = json_array(), *root;
	int cpus[2], status = 0;

	if (meter_processors(cpus, 2) < 2) {
		fprintf(stderr, "vswitch: two processors are needed, one for the switch and one "
				"for the guests\n");
		return 77;
	}
	double line_ns = meter_line_ns(cpus[0], cpus[1]), hertz = meter_hertz();

	show_head(hertz, line_ns, cpus);
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		static struct run run;

		if (o.kind >= 0 && (size_t)o.kind != k) {
			continue;
		}
		run = (struct run){ .load = kinds[k].load,
				    .alone = kinds[k].alone,
				    .ns = o.ms * 1000000,
				    .cpus = { cpus[0], cpus[1] } };
		run_time(&run);
		if (o.steps && kinds[k].steps) {
			run_step(&run);
		}
		show(&run, kinds[k].name, hertz);
		json_array_append_new(rows, to_json(&run, kinds[k].name, hertz));
	}
	root = json_pack("{s:f, s:f, s:o}", "hertz", hertz, "line_ns", line_ns, "rows", rows);
	if (o.json && (!root || json_dump_file(root, o.json, JSON_INDENT(1)))) {
		fprintf(stderr, "vswitch: cannot write %s\n", o.json);
		status = 1;
	}
	json_decref(root);
	return status;
}

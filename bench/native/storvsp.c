/* SPDX-License-Identifier: MIT */
/*
 * StorVSP without a guest: a thread that speaks hv_storvsc's half (vsc.h) drives the very same bus,
 * StorVSP, SCSI disk and loop over shared rings, with a null disk behind them; what one core of the
 * host does, and what it takes per I/O. docs/benchmarks.md says how to read it.
 *
 *   main thread          the I/O loop, on the first processor
 *   "vsc"                the guest, on the second
 */
#include <getopt.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/check.h"
#include "base/num.h"
#include "block/block.h"
#include "meter.h"
#include "proto/vstor.h"
#include "vsc.h"
#include "vsp/storage/storvsp.h"

#define QUEUES_MAX  1
#define RAM_BYTES   (64U << 20)
#define RING_BYTES  (128U << 10) /* hv_storvsc's default */
#define DISK_BYTES  (1ULL << 40)
#define SLICE_NS    5000000ULL
#define SLICES_MAX  4096
#define CLOCK_TURNS 64 /* turns between two looks at the clock */

/* ---- a machine with one controller -------------------------------------------------------------- */

struct machine {
	struct fake_guest *guest;
	struct storvsp *storvsp;
	struct loop *loop;
	struct scsi_disk *disk;
	struct block *block;
	struct vsc_queue queues[QUEUES_MAX];
	unsigned int queue_count;
	struct loop_work done;
	bool is_done;
};

static void ask(struct fake_channel *channel, uint32_t operation, const void *body, size_t bytes)
{
	struct vstor_header header = { .operation = operation, .flags = VSTOR_FLAG_COMPLETION };
	static struct fake_packet answer;
	uint8_t packet[VSTOR_PACKET_BYTES] = { 0 };

	memcpy(packet, &header, sizeof(header));
	memcpy(packet + sizeof(header), body, bytes);
	fake_channel_send_inband(channel, 1, packet, sizeof(packet));
	fake_channel_expect_completion(channel, 1, &answer);
	memcpy(&header, answer.payload, sizeof(header));
	check(header.status == VSTOR_STATUS_SUCCESS);
}

static struct fake_channel *open_primary(struct machine *m)
{
	static const struct guid type = GUID(0xba6163d9, 0x04a1, 0x4d29, 0xb605, 0x72e2ffb1dc7f);
	struct fake_channel *channel = fake_channel_open(m->guest, &type, 0, RING_BYTES);
	struct vstor_version version = { .version = VSTOR_VERSION_WIN10 };

	ask(channel, VSTOR_BEGIN_INITIALIZATION, NULL, 0);
	ask(channel, VSTOR_QUERY_PROTOCOL_VERSION, &version, sizeof(version));
	ask(channel, VSTOR_QUERY_PROPERTIES, NULL, 0);
	ask(channel, VSTOR_END_INITIALIZATION, NULL, 0);
	return channel;
}

static void on_done(struct loop_work *work)
{
	container_of(work, struct machine, done)->is_done = true;
}

static bool is_done(void *arg)
{
	return ((struct machine *)arg)->is_done;
}

static void machine_create(struct machine *m, bool data)
{
	struct block_config config = { .kind = BLOCK_NULL,
				       .null_bytes = DISK_BYTES,
				       .null_no_data = !data };
	struct storvsp_config controller = { .name = "scsi0", .loops = &m->loop, .loop_count = 1 };
	struct scsi_disk_config disk = { .transfer_bytes_max = STORVSP_TRANSFER_BYTES_MAX,
					 .write_cache = true };
	struct storvsp_address first = { 0, 0, 0 };
	struct diag diag;

	memset(m, 0, sizeof(*m));
	loop_work_init(&m->done, on_done);
	m->guest = fake_guest_create(RAM_BYTES, 1);
	m->loop = controller.control = fake_guest_loop(m->guest);
	check(storvsp_create(&controller, &m->storvsp) == 0);
	check(block_open(&config, &m->block, &diag) == 0);
	check(block_start(m->block, m->loop) == 0);
	disk.info = block_info(m->block);
	check(scsi_disk_create(&disk, &m->disk, &diag) == 0);
	scsi_disk_attach(m->disk, 0, m->block);
	check(storvsp_add(m->storvsp, first, m->disk, &diag) == 0);
	fake_guest_offer(m->guest, storvsp_device(m->storvsp));
	fake_guest_connect(m->guest, VMBUS_VERSION_5_3);
	m->queue_count = 1;
	vsc_queue_init(&m->queues[0], m->guest, open_primary(m));
}

static void machine_wait(struct machine *m)
{
	check(fake_guest_wait(m->guest, is_done, m));
	m->is_done = false;
}

static void machine_destroy(struct machine *m)
{
	for (unsigned int i = m->queue_count; i-- > 0;) {
		vsc_queue_fini(&m->queues[i]);
		fake_channel_close(m->queues[i].channel);
	}
	bus_revoke(fake_guest_bus(m->guest), storvsp_device(m->storvsp), &m->done);
	machine_wait(m);
	storvsp_destroy(m->storvsp);
	scsi_disk_detach(m->disk, 0);
	block_stop(m->block, &m->done);
	machine_wait(m);
	block_close(m->block);
	scsi_disk_destroy(m->disk);
	fake_guest_destroy(m->guest);
}

/* A number from the bus's tree, summed over our channels. */
static uint64_t channel_count(struct machine *m, const char *name)
{
	json_t *root = json_object(), *item;
	struct inspect at = { root };
	uint64_t sum = 0;
	size_t i;

	bus_inspect(fake_guest_bus(m->guest), &at);
	json_array_foreach(json_object_get(root, "channels"), i, item)
	{
		sum += (uint64_t)json_integer_value(json_object_get(item, name));
	}
	json_decref(root);
	return sum;
}

/* ---- one run ------------------------------------------------------------------------------------ */

struct run {
	struct vsc_config vsc;
	bool data;  /* reads fill the guest's pages with zeroes */
	bool alone; /* one thread does both halves: no cache line changes its owner */
	uint64_t ns;
	int cpus[2]; /* the host's, the guest's */

	struct machine *machine;
	uint64_t began, slice_began, slice_done;
	double slices[SLICES_MAX]; /* I/Os per second */
	unsigned int slice_count;

	/* results, per I/O where no unit is named */
	double iops, median_iops;
	double batch, drain; /* packets at once: host, guest */
	double doorbells, interrupts, enters, rounds, sleeps;
	bool counted; /* by the processor: the host's thread, kernel and all */
	double counts[METER_COUNTS];
	bool stepped; /* one by one: no kernel, one interrupt for each batch */
	double instructions, guest_instructions;
};

struct snapshot {
	uint64_t packets, batches, doorbells, interrupts;
	struct loop_stats loop;
};

static void snapshot_take(struct machine *m, struct snapshot *ret)
{
	ret->packets = channel_count(m, "packets_in");
	ret->batches = channel_count(m, "batches");
	ret->doorbells = channel_count(m, "doorbells");
	ret->interrupts = channel_count(m, "interrupts");
	loop_read_stats(fake_guest_loop(m->guest), &ret->loop);
}

static uint64_t done_so_far(const struct machine *m)
{
	uint64_t done = 0;

	for (unsigned int i = 0; i < m->queue_count; i++) {
		done += m->queues[i].counts.done;
	}
	return done;
}

static bool turn_all(struct machine *m, bool ending)
{
	bool busy = false;

	for (unsigned int i = 0; i < m->queue_count; i++) {
		if (vsc_queue_turn(&m->queues[i], ending) == 0) {
			__builtin_ia32_pause();
		}
		busy |= m->queues[i].in_flight > 0;
	}
	return busy;
}

/* Looks at the clock; whether there is time left. */
static bool slice_take(struct run *run)
{
	uint64_t now = loop_now_ns(), took = now - run->slice_began;

	if (took >= SLICE_NS && run->slice_count < SLICES_MAX) {
		uint64_t done = done_so_far(run->machine);

		run->slices[run->slice_count++] =
			(double)(done - run->slice_done) * 1e9 / (double)took;
		run->slice_began = now;
		run->slice_done = done;
	}
	return now - run->began < run->ns;
}

static void *guest_main(void *arg)
{
	struct run *run = arg;
	struct machine *m = run->machine;

	prctl(PR_SET_NAME, "vsc");
	for (unsigned int i = 0; i < m->queue_count; i++) {
		vsc_queue_start(&m->queues[i], &run->vsc);
	}
	run->began = run->slice_began = loop_now_ns();
	do {
		for (int i = 0; i < CLOCK_TURNS; i++) {
			turn_all(m, false);
		}
	} while (slice_take(run));
	while (turn_all(m, true)) {}
	loop_quit(fake_guest_loop(m->guest));
	return NULL;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void run_evaluate(struct run *run, const struct snapshot *from, const struct snapshot *to)
{
	struct machine *m = run->machine;
	double done = (double)done_so_far(m);
	uint64_t drains = 0;

	for (unsigned int i = 0; i < m->queue_count; i++) {
		drains += m->queues[i].counts.drains;
	}
	check(run->slice_count > 0 && done > 0);
	qsort(run->slices, run->slice_count, sizeof(run->slices[0]), compare);
	run->iops = run->slices[run->slice_count - 1];
	run->median_iops = run->slices[run->slice_count / 2];
	run->batch = (double)(to->packets - from->packets) /
		     (double)num_max(to->batches - from->batches, 1);
	run->drain = done / (double)num_max(drains, 1);
	run->doorbells = (double)(to->doorbells - from->doorbells) / done;
	run->interrupts = (double)(to->interrupts - from->interrupts) / done;
	run->enters = (double)(to->loop.enters - from->loop.enters) / done;
	run->rounds = (double)(to->loop.rounds - from->loop.rounds) / done;
	run->sleeps = (double)(to->loop.sleeps - from->loop.sleeps) / done;
}

/* ---- guest and host take turns on one thread ---------------------------------------------------- */

/* The guest as one more poller of the host's loop: nothing depends on who runs when. */
struct stepper {
	struct loop_poller poller;
	struct run *run;
	struct vsc_queue *queue;
	uint64_t from, to;
	bool begun;
	unsigned int turns;
};

static bool step_arm(struct loop_poller *poller)
{
	return true;
}

static bool on_alone(struct loop_poller *poller)
{
	struct stepper *stepper = container_of(poller, struct stepper, poller);
	struct run *run = stepper->run;

	if (++stepper->turns % CLOCK_TURNS == 0 && !slice_take(run)) {
		stepper->begun = false; /* the end */
	}
	if (!turn_all(run->machine, !stepper->begun)) {
		loop_quit(fake_guest_loop(run->machine->guest));
	}
	return true;
}

static void run_alone(struct run *run)
{
	static const struct loop_poller_ops ops = { on_alone, step_arm };
	struct stepper stepper = { .poller.ops = &ops, .run = run, .begun = true };
	struct loop *loop = fake_guest_loop(run->machine->guest);

	vsc_queue_start(&run->machine->queues[0], &run->vsc);
	run->began = run->slice_began = loop_now_ns();
	loop_poller_add(loop, &stepper.poller);
	loop_run(loop);
	loop_poller_remove(loop, &stepper.poller);
}

static void run_beside(struct run *run)
{
	pthread_t guest = meter_thread(run->cpus[1], guest_main, run);

	loop_run(fake_guest_loop(run->machine->guest));
	pthread_join(guest, NULL);
}

static void run_time(struct run *run)
{
	uint64_t counts[METER_COUNTS];
	struct snapshot from, to;
	struct machine machine;
	struct meter meter;

	/* A loop that may use one processor only would not spin before it sleeps. */
	meter_pin_any(run->cpus, 2);
	machine_create(&machine, run->data);
	run->machine = &machine;
	meter_pin(run->cpus[0]);
	snapshot_take(&machine, &from);
	run->counted = meter_start(&meter);
	if (run->alone) {
		run_alone(run);
	} else {
		run_beside(run);
	}
	meter_stop(&meter, counts);
	snapshot_take(&machine, &to);
	run_evaluate(run, &from, &to);
	for (int i = 0; i < METER_COUNTS; i++) {
		run->counts[i] = (double)counts[i] / (double)done_so_far(&machine);
	}
	run->machine = NULL;
	machine_destroy(&machine);
}

/* ---- counting instructions one by one ----------------------------------------------------------- */

static bool on_step(struct loop_poller *poller)
{
	struct stepper *stepper = container_of(poller, struct stepper, poller);

	meter_side(1);
	vsc_queue_turn(stepper->queue, false);
	if (stepper->queue->counts.done == (stepper->begun ? stepper->to : stepper->from)) {
		stepper->begun = true;
		meter_mark();
	}
	check(stepper->queue->counts.done < stepper->to);
	meter_side(0);
	return true;
}

static uint64_t steps_from(const struct run *run)
{
	/* Every batch is as the one before; stepping is slow. */
	return num_max(run->vsc.depth, 8);
}

/* In the child. */
static void step_main(void *ctx)
{
	static const struct loop_poller_ops ops = { on_step, step_arm };
	const struct run *run = ctx;
	struct machine machine;

	meter_pin_any(run->cpus, 2);
	machine_create(&machine, run->data);
	meter_pin(run->cpus[0]);
	struct stepper stepper = { .poller.ops = &ops,
				   .queue = &machine.queues[0],
				   .from = steps_from(run),
				   .to = 2 * steps_from(run) };

	vsc_queue_start(stepper.queue, &run->vsc);
	loop_poller_add(fake_guest_loop(machine.guest), &stepper.poller);
	loop_run(fake_guest_loop(machine.guest)); /* the parent ends it */
}

static void run_step(struct run *run)
{
	uint64_t counts[METER_SIDES];

	run->stepped = meter_steps(step_main, run, counts);
	run->instructions = (double)counts[0] / (double)steps_from(run);
	run->guest_instructions = (double)counts[1] / (double)steps_from(run);
}

/* ---- what is shown ------------------------------------------------------------------------------ */

static void show_head(double hertz, double line_ns, const int *cpus)
{
	printf("StorVSP without a guest: 4 KiB random, null disk, one queue; host on processor %d, "
	       "guest on %d;\ncore %.2f GHz, a cache line to the other core %.0f ns = %.0f cycles\n"
	       "\n%-24s %5s %9s %9s %6s %6s %6s %6s %6s %6s %6s %6s %6s\n",
	       cpus[0], cpus[1], hertz / 1e9, line_ns, line_ns * hertz / 1e9, "per I/O", "depth",
	       "IOPS", "median", "ns", "cycles", "instr", "guest", "batch", "drain", "bells",
	       "irqs", "enters");
}

static void show(const struct run *run, const char *name, double hertz)
{
	printf("%-24s %5u %9.0f %9.0f %6.0f %6.0f ", name, run->vsc.depth, run->iops,
	       run->median_iops, 1e9 / run->iops, hertz / run->iops);
	if (run->stepped) {
		printf("%6.0f %6.0f ", run->instructions, run->guest_instructions);
	} else {
		printf("%6s %6s ", "n/a", "n/a");
	}
	printf("%6.1f %6.1f %6.3f %6.3f %6.3f\n", run->batch, run->drain, run->doorbells,
	       run->interrupts, run->enters);
	if (run->counted) {
		printf("%-24s %5s counted by the processor: %.0f cycles, %.0f instructions, %.2f "
		       "cache misses\n",
		       "", "", run->counts[METER_CYCLES], run->counts[METER_INSTRUCTIONS],
		       run->counts[METER_CACHE_MISSES]);
	}
	fflush(stdout);
}

static json_t *to_json(const struct run *run, const char *name, double hertz)
{
	json_t *item = json_pack("{s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}",
				 "what", name, "depth", (int)run->vsc.depth, "iops", run->iops,
				 "median_iops", run->median_iops, "cycles", hertz / run->iops,
				 "batch", run->batch, "drain", run->drain, "doorbells",
				 run->doorbells, "interrupts", run->interrupts, "enters",
				 run->enters, "rounds", run->rounds, "sleeps", run->sleeps);

	check(item);
	if (run->stepped) {
		json_object_set_new(item, "instructions", json_real(run->instructions));
		json_object_set_new(item, "guest_instructions", json_real(run->guest_instructions));
	}
	if (run->counted) {
		json_object_set_new(item, "counted_cycles", json_real(run->counts[METER_CYCLES]));
		json_object_set_new(item, "counted_instructions",
				    json_real(run->counts[METER_INSTRUCTIONS]));
		json_object_set_new(item, "counted_cache_misses",
				    json_real(run->counts[METER_CACHE_MISSES]));
	}
	return item;
}

/* ---- the program -------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	bool data, polls, writes, alone;
	bool steps; /* worth counting one by one */
} kinds[] = {
	{ "read", .steps = true },
	{ "read, zeroes filled in", .data = true, .steps = true },
	{ "read, guest polls", .polls = true },
	{ "write", .writes = true },
	{ "read, one thread is both", .polls = true, .alone = true },
};

struct options {
	uint64_t ms;
	uint32_t depth; /* 0: all */
	int kind;       /* -1: all */
	bool steps;
	const char *json;
};

static void usage(const char *name)
{
	fprintf(stderr,
		"usage: %s [--ms N] [--depth N] [--kind 0..%zu] [--no-steps] [--json PATH]\n", name,
		ARRAY_SIZE(kinds) - 1);
	exit(2);
}

static struct options options_parse(int argc, char **argv)
{
	static const struct option names[] = {
		{ "ms", required_argument, NULL, 'm' },   { "depth", required_argument, NULL, 'd' },
		{ "kind", required_argument, NULL, 'k' }, { "no-steps", no_argument, NULL, 's' },
		{ "json", required_argument, NULL, 'j' }, { 0 },
	};
	struct options o = { .ms = 1000, .kind = -1, .steps = true };
	int c;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (c) {
		case 'm':
			o.ms = num_max(strtoul(optarg, NULL, 10), 2 * SLICE_NS / 1000000);
			break;
		case 'd':
			o.depth = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'k':
			o.kind = (int)strtol(optarg, NULL, 10);
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
	if (o.depth > VSC_DEPTH_MAX || o.kind >= (int)ARRAY_SIZE(kinds) || optind != argc) {
		usage(argv[0]);
	}
	return o;
}

static void run_all(const struct options *o, const int *cpus, double hertz, json_t *rows)
{
	static const uint32_t depths[] = { 1, 8, 32, 128 };

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		for (size_t d = 0; d < ARRAY_SIZE(depths); d++) {
			static struct run run;

			if ((o->kind >= 0 && (size_t)o->kind != k) || (o->depth && d > 0)) {
				continue;
			}
			run = (struct run){
				.vsc = { .depth = o->depth ? o->depth : depths[d],
					 .polls = kinds[k].polls,
					 .writes = kinds[k].writes,
					 .disk_bytes = DISK_BYTES },
				.data = kinds[k].data,
				.alone = kinds[k].alone,
				.ns = o->ms * 1000000,
				.cpus = { cpus[0], cpus[1] },
			};
			run_time(&run);
			if (o->steps && kinds[k].steps) {
				run_step(&run);
			}
			show(&run, kinds[k].name, hertz);
			json_array_append_new(rows, to_json(&run, kinds[k].name, hertz));
		}
	}
}

int main(int argc, char **argv)
{
	struct options o = options_parse(argc, argv);
	json_t *rows = json_array();
	int cpus[2];

	if (meter_processors(cpus, 2) < 2) {
		fprintf(stderr, "storvsp: two processors are needed, one for the host and one for "
				"the guest\n");
		return 77;
	}
	double line_ns = meter_line_ns(cpus[0], cpus[1]), hertz = meter_hertz();

	show_head(hertz, line_ns, cpus);
	run_all(&o, cpus, hertz, rows);
	if (o.json) {
		json_t *root = json_pack("{s:f, s:f, s:o}", "hertz", hertz, "line_ns", line_ns,
					 "rows", rows);

		if (!root || json_dump_file(root, o.json, JSON_INDENT(1))) {
			fprintf(stderr, "storvsp: cannot write %s\n", o.json);
			return 1;
		}
		json_decref(root);
	} else {
		json_decref(rows);
	}
	return 0;
}

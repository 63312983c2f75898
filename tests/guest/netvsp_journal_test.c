/* SPDX-License-Identifier: MIT */
/*
 * The crash-point test of NetVSP. A child process serves a NIC with one or two queues over journaled
 * channels and is killed at its n-th store that others could see, n = 1, 2, 3 … until it survives; others
 * take over, and may be killed in their turn; the last is this process, unjournaled. Whatever happens,
 * every packet of the guest's is completed exactly once, no frame comes twice, no piece is written
 * while the guest has it and none is forgotten, what was committed arrives, and what the guest has set
 * stays.
 *
 * The guest (shared_nic.h) acts either between the child's turns, in its thread, so that the same n and
 * the same seed are the same run; or here, at the same time, while each queue has a thread of its own.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "guest/fake_synic.h"
#include "guest/shared_nic.h"
#include "net/net_impl.h"
#include "vmbus/journaled.h"
#include "vsp/net/netvsp_internal.h"

#define RELID         7U /* the primary's; the next is the sub-channel's */
#define RING_GPADL    11U
#define JOURNAL_ROOM  (1U << 20)
#define MEMORY_GFN    SHARED_RINGS_GFN
#define MEMORY_PAGES  (SHARED_SEND_GFN + SHARED_SEND_PAGES - MEMORY_GFN)
#define POINTS_MAX    20000U
#define TURNS_MAX     2000000U
#define UNSAFE_MAX    512U
#define EXIT_FINISHED 0
#define EXIT_BROKEN   3

static struct mem *mem;
static struct shared_nic *guest;
static uint8_t *journal_memory;

/* ---- the back end ----------------------------------------------------------------------------------- */

/* Counts what comes, and makes frames. */
struct end {
	struct net net;
	unsigned int queue, random;
	struct netvsp *nic;
	struct loop_work work;
	bool is_full; /* net_send() has said -EAGAIN */
	bool is_going;
	uint32_t number; /* a frame that found no room; 0: none */
	uint32_t unsafe[UNSAFE_MAX], unsafe_count;
	uint64_t stamp; /* of the commit that makes them safe; 0: not known yet */
};

static int end_send(struct net *net, const struct net_frame *frame)
{
	struct end *end = container_of(net, struct end, net);
	const uint8_t *bytes = frame->iov[0].iov_base;
	uint32_t number = bytes_le32(bytes + 18);

	if (end->is_going && shared_roll(&end->random, 8) == 0) {
		end->is_full = true;
		return -EAGAIN;
	}
	if (frame->bytes != 40 || bytes_le32(bytes + 14) != end->queue ||
	    number >= 2 * SHARED_TX + 2) {
		shared_nic_wrong(guest, "the back end gets a frame that nobody sent");
		return 0;
	}
	atomic_fetch_add(&guest->queue[end->queue].arrived[number], 1);
	return 0;
}

static const struct net_ops end_ops = { .kind = "test", .send = end_send };

static uint32_t accepted(const struct shared_queue *q)
{
	uint32_t count = 0;

	for (uint32_t i = 1; i <= SHARED_RX_TRIES; i++) {
		count += atomic_load(&q->rx[i].is_accepted);
	}
	return count;
}

/* Whether it was taken. */
static bool deliver_one(struct end *end)
{
	struct shared_queue *q = &guest->queue[end->queue];
	const struct netvsp_queue *queue = &end->nic->queues[end->queue];
	uint64_t lost = counter_read(&queue->counters.rx_lost);
	uint8_t bytes[SHARED_LARGE_BYTES];

	if (!end->number) {
		end->number = atomic_fetch_add(&q->rx_made, 1) + 1;
	}
	uint32_t number = end->number, length;

	if (number > SHARED_RX_TRIES || end->unsafe_count == UNSAFE_MAX) {
		return false;
	}
	length = shared_frame_make(bytes, end->queue, number);

	struct iovec iov = { bytes, length };
	const struct net_frame frame = {
		.iov = &iov,
		.iov_count = 1,
		.bytes = length,
		.flags = length > 1500 ? NET_FRAME_COALESCED : 0,
		.l4 = NET_L4_TCP,
	};

	if (net_deliver(&end->net, &frame)) {
		return false;
	}
	end->number = 0;
	if (counter_read(&queue->counters.rx_lost) != lost) {
		shared_nic_wrong(guest, "queue %u: a frame is lost", end->queue);
	}
	atomic_store(&q->rx[number].is_accepted, true);
	end->unsafe[end->unsafe_count++] = number;
	return true;
}

/* What is committed can be lost no more. */
static void make_safe(struct end *end)
{
	const struct netvsp_queue *queue = &end->nic->queues[end->queue];

	if (end->stamp && vmbus_channel_is_past(queue->channel, end->stamp)) {
		for (uint32_t i = 0; i < end->unsafe_count; i++) {
			atomic_store(&guest->queue[end->queue].rx[end->unsafe[i]].is_safe, true);
		}
		end->unsafe_count = 0;
	}
	end->stamp = 0;
}

static void on_end_work(struct loop_work *work)
{
	struct end *end = container_of(work, struct end, work);
	const struct netvsp_queue *queue = &end->nic->queues[end->queue];

	if (!end->is_going) {
		return;
	}
	make_safe(end);
	if (accepted(&guest->queue[end->queue]) < SHARED_RX) {
		for (unsigned int n = shared_roll(&end->random, 3); n > 0 && deliver_one(end);
		     n--) {}
		net_deliver_end(&end->net);
	}
	if (end->unsafe_count && queue->channel && queue->batch.ranges == 0) {
		end->stamp = vmbus_channel_stamp(queue->channel);
	}
	if (end->is_full) {
		end->is_full = false;
		net_now_writable(&end->net);
	}
	loop_post(end->net.loop, work);
}

static void end_start(void *arg)
{
	struct end *end = arg;

	end->is_going = true;
	loop_post(end->net.loop, &end->work);
}

static void end_stop(void *arg)
{
	struct end *end = arg;

	make_safe(end);
	end->is_going = false;
	loop_cancel(end->net.loop, &end->work);
}

/* ---- who serves ------------------------------------------------------------------------------------- */

struct server {
	bool has_threads;
	struct loop *control, *loops[SHARED_QUEUES];
	struct fake_synic *synic;
	struct gpadl_table *gpadls;
	struct end ends[SHARED_QUEUES];
	struct netvsp *nic;
	struct vmbus_channel *channels[SHARED_QUEUES];
	struct journal journal;
	struct device_journal d;
};

static void ignore_work(struct loop_work *work)
{
	(void)work;
}

static void ignore_gone(void *ctx, uint32_t id)
{
	(void)ctx;
	(void)id;
}

static void add_gpadl(struct server *s, uint32_t relid, uint32_t id, uint64_t gfn, uint32_t pages)
{
	struct {
		struct vmbus_gpa_range range;
		uint64_t gfns[SHARED_RECV_PAGES];
	} range = { .range.length_bytes = pages * (uint32_t)MEM_PAGE_BYTES };

	for (uint32_t i = 0; i < pages; i++) {
		range.gfns[i] = gfn + i;
	}
	check(gpadl_table_begin(s->gpadls, relid, id, 1, (const uint8_t *)&range,
				(uint32_t)sizeof(range.range) + 8 * pages) == 1);
}

static void add_channel(struct server *s, unsigned int i)
{
	const struct channel_place place = { .doorbell_fd_take = -1,
					     .mem = mem,
					     .closed = ignore_work,
					     .subs_asked = ignore_work,
					     .loop = s->loops[i],
					     .control_loop = s->control,
					     .synic = fake_synic_base(s->synic),
					     .gpadls = s->gpadls };

	add_gpadl(s, RELID + i, RING_GPADL + i, SHARED_RINGS_GFN + 2 * i * SHARED_RING_PAGES,
		  2 * SHARED_RING_PAGES);
	check(channel_create(&place, netvsp_device(s->nic), i, &s->channels[i]) == 0);
	s->channels[i]->relid = RELID + i;
	s->channels[i]->downstream_page = SHARED_RING_PAGES;
	check(gpadl_table_get(s->gpadls, RELID + i, RING_GPADL + i, &s->channels[i]->ring_gpadl) ==
	      0);
	check(channel_map_rings(s->channels[i]) == 0);
}

static void make_nic(struct server *s)
{
	static const uint8_t mac[6] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x00 };
	struct net *twin = &s->ends[1].net;
	const struct netvsp_config config = { .name = "net0",
					      .mac = mac,
					      .net = &s->ends[0].net,
					      .twins = &twin,
					      .twin_count = guest->queues - 1 };
	struct diag diag;

	for (unsigned int i = 0; i < guest->queues; i++) {
		net_init(&s->ends[i].net, &end_ops, s->loops[i]);
		s->ends[i].queue = i;
		s->ends[i].random = guest->random + i;
		s->ends[i].net.link_up = true;
		loop_work_init(&s->ends[i].work, on_end_work);
	}
	check(netvsp_create(&config, &s->nic, &diag) == 0);
	for (unsigned int i = 0; i < guest->queues; i++) {
		s->ends[i].nic = s->nic;
	}
}

/* Everything but the open channels. The rings are mapped. */
static void server_init(struct server *s, bool has_threads)
{
	struct diag diag;

	*s = (struct server){ .has_threads = has_threads };
	check(loop_create("control", &s->control, &diag) == 0);
	for (unsigned int i = 0; i < guest->queues; i++) {
		s->loops[i] = s->control;
		if (has_threads) {
			check(loop_create("queue", &s->loops[i], &diag) == 0);
		}
	}
	s->synic = fake_synic_create(1);
	check(gpadl_table_create(mem, s->control, ignore_gone, NULL, &s->gpadls) == 0);
	add_gpadl(s, RELID, SHARED_RECV_GPADL, SHARED_RECV_GFN, SHARED_RECV_PAGES);
	add_gpadl(s, RELID, SHARED_SEND_GPADL, SHARED_SEND_GFN, SHARED_SEND_PAGES);
	make_nic(s);
	for (unsigned int i = 0; i < guest->queues; i++) {
		add_channel(s, i);
		if (has_threads) {
			check(loop_start_thread(s->loops[i], &diag) == 0);
		}
	}
	s->d = (struct device_journal){ .device = netvsp_device(s->nic),
					.channels = s->channels,
					.channel_count = guest->queues,
					.journal = &s->journal };
}

/* Closed, or it has left. */
static void server_fini(struct server *s)
{
	while (loop_turn(s->control)) {}
	netvsp_destroy(s->nic);
	for (unsigned int i = 0; i < guest->queues; i++) {
		if (s->has_threads) {
			loop_stop_thread(s->loops[i]);
		}
		channel_unmap_rings(s->channels[i]);
		gpadl_put(s->channels[i]->ring_gpadl);
		channel_destroy(s->channels[i]);
	}
	while (loop_turn(s->control)) {}
	gpadl_table_clear(s->gpadls);
	gpadl_table_destroy(s->gpadls);
	fake_synic_destroy(s->synic);
	for (unsigned int i = 0; s->has_threads && i < guest->queues; i++) {
		loop_destroy(s->loops[i]);
	}
	loop_destroy(s->control);
}

static void start_ends(struct server *s, bool start)
{
	for (unsigned int i = 0; i < guest->queues; i++) {
		loop_call(s->loops[i], start ? end_start : end_stop, &s->ends[i]);
	}
}

/* ---- the beginning: at home --------------------------------------------------------------------------- */

static void turn_until(struct server *s, const bool *what)
{
	for (unsigned int i = 0; !*what; i++) {
		(void)loop_turn(s->control);
		shared_nic_take(guest, 0, 8);
		check(i < TURNS_MAX && !guest->wrong[0]);
	}
}

static void ask(struct server *s, const void *message, uint32_t bytes)
{
	shared_nic_ask(guest, 1, message, bytes);
	turn_until(s, &guest->has_completion);
}

/* A SET, or another request when info is NULL. */
static void control(struct server *s, uint32_t type, uint32_t oid, const void *info, uint32_t bytes)
{
	uint32_t message[7 + 256] = { type, 28 + bytes, 99, oid, bytes, 20, 0 };

	if (type == RNDIS_INITIALIZE) {
		memcpy(message, (uint32_t[]){ type, 24, 99, 1, 0, 0x4000 }, 24);
	} else {
		memcpy(message + 7, info, bytes);
	}
	shared_nic_control(guest, 1, message, message[1]);
	turn_until(s, &guest->has_reply);
	turn_until(s, &guest->has_completion);
}

static void set_rss(struct server *s)
{
	uint8_t info[40 + 8 + NET_RSS_KEY_BYTES] = { 0x89, 2, 40, 0 };

	bytes_put_le32(info + 8, NDIS_HASH_TOEPLITZ | NDIS_HASH_IPV4 | NDIS_HASH_TCP_IPV4);
	bytes_put_le16(info + 12, 8);
	bytes_put_le32(info + 16, 40);
	bytes_put_le16(info + 20, NET_RSS_KEY_BYTES);
	bytes_put_le32(info + 24, 48);
	bytes_put_le32(info + 44, 1);
	memset(info + 48, 0x5a, NET_RSS_KEY_BYTES);
	control(s, RNDIS_SET, OID_GEN_RSS_PARAMETERS, info, sizeof(info));
}

static void negotiate(struct server *s)
{
	static const uint8_t user_data[VMBUS_OFFER_USER_DEFINED_BYTES];
	const struct ndis_offload_parameters offloads = {
		.object = { NDIS_OBJECT_DEFAULT, 3, sizeof(offloads) },
		.rsc_ip4 = NDIS_PARAM_ON,
		.rsc_ip6 = NDIS_PARAM_ON,
	};
	uint32_t filter = NDIS_FILTER_PROMISCUOUS;

	ask(s, (uint32_t[10]){ NVSP_INIT, NVSP_VERSION_61, NVSP_VERSION_61 }, 40);
	ask(s, (uint32_t[10]){ NVSP_SEND_NDIS_CONFIG, 1514, 0, NVSP_CAP_RSC }, 40);
	ask(s, (uint32_t[10]){ NVSP_SEND_NDIS_VERSION, 6, 30 }, 40);
	ask(s, (uint32_t[10]){ NVSP_SEND_RECV_BUF, SHARED_RECV_GPADL, SHARED_RECV_ID }, 40);
	guest->piece_bytes = bytes_le32(guest->completion + 16);
	guest->pieces = bytes_le32(guest->completion + 20);
	check(guest->pieces > 0 && guest->pieces <= SHARED_PIECES_MAX);
	ask(s, (uint32_t[10]){ NVSP_SEND_SEND_BUF, SHARED_SEND_GPADL, 0 }, 40);
	control(s, RNDIS_INITIALIZE, 0, NULL, 0);
	if (guest->queues > 1) {
		ask(s, (uint32_t[10]){ NVSP_SUBCHANNEL, NVSP_SUBCHANNEL_ALLOCATE, 1 }, 40);
		check(bytes_le32(guest->completion + 8) == 1);
		check(channel_open(s->channels[1], user_data) == 0);
		set_rss(s);
	}
	control(s, RNDIS_SET, OID_TCP_OFFLOAD_PARAMETERS, &offloads, sizeof(offloads));
	control(s, RNDIS_SET, OID_GEN_CURRENT_PACKET_FILTER, &filter, 4);
	check(s->nic->filter == filter);
}

/* The guest opens its channels, and the device is ready to be served elsewhere. */
static void begin(unsigned int queues, unsigned int seed)
{
	static const uint8_t user_data[VMBUS_OFFER_USER_DEFINED_BYTES];
	struct server s;

	shared_nic_init(guest, mem, queues);
	guest->random = seed * 7919 + 1;
	server_init(&s, false);
	check(channel_open(s.channels[0], user_data) == 0);
	negotiate(&s);
	while (loop_turn(s.control) || shared_nic_take(guest, 0, 8)) {}
	guest->is_setting_up = false;
	memcpy(guest->mac, s.nic->mac, sizeof(guest->mac));
	for (unsigned int i = 0; i < queues; i++) {
		channel_set_paused(s.channels[i], true);
	}
	assert_int_equal(device_journal_write(&s.d, journal_memory, JOURNAL_ROOM), 0);
	device_journal_leave(&s.d);
	server_fini(&s);
}

/* ---- serving ------------------------------------------------------------------------------------------- */

static void count_frames(void)
{
	for (unsigned int i = 0; i < guest->queues; i++) {
		const struct shared_queue *q = &guest->queue[i];

		for (unsigned int n = 1; n <= SHARED_TX; n++) {
			if (q->is_completed[n] != 1) {
				shared_nic_wrong(guest, "queue %u: packet %u is completed %u times",
						 i, n, q->is_completed[n]);
			}
			if (!atomic_load(&q->arrived[2 * n]) ||
			    (n % 2 && !atomic_load(&q->arrived[2 * n + 1]))) {
				shared_nic_wrong(guest, "queue %u: packet %u was never sent", i, n);
			}
		}
	}
}

/* Nothing is under way: all pieces are free again, and what was set is as it was. */
static void look_inside(const struct server *s)
{
	const struct netvsp *nic = s->nic;
	uint32_t owned = 0;

	for (unsigned int i = 0; i < guest->queues; i++) {
		const struct netvsp_queue *queue = &nic->queues[i];

		if (queue->pool.count + queue->batch.ranges != queue->pool.owned ||
		    queue->returning.count) {
			shared_nic_wrong(guest, "queue %u: %u of %u pieces are free, %u return", i,
					 queue->pool.count, queue->pool.owned,
					 queue->returning.count);
		}
		owned += queue->pool.owned;
	}
	if (owned != guest->pieces || nic->granted != guest->queues - 1) {
		shared_nic_wrong(guest, "%u pieces of %u are owned", owned, guest->pieces);
	}
	if (memcmp(nic->mac, guest->mac, 6) != 0 || nic->filter != NDIS_FILTER_PROMISCUOUS ||
	    nic->offloads.rsc4 != NDIS_PARAM_ON || !netvsp_has_rsc(nic) ||
	    nic->rss.is_on != (guest->queues > 1) ||
	    (guest->queues > 1 && (nic->rss.key[7] != 0x5a || nic->rss.table_entries != 2))) {
		shared_nic_wrong(guest, "what the guest has set is another");
	}
}

/* Serves until the guest is done, from what the last one left. */
static void serve(struct server *s, bool goes_on, bool guest_is_here)
{
	check(journal_attach(&s->journal, journal_memory, JOURNAL_ROOM) == 0);
	int err = device_journal_restore(&s->d, goes_on, false);

	if (err) {
		shared_nic_wrong(guest, "restore: %s", strerror(-err));
		return;
	}
	start_ends(s, true);
	for (unsigned int i = 0; !shared_nic_is_done(guest); i++) {
		if (guest_is_here) {
			shared_nic_act(guest);
		}
		if (!loop_turn(s->control)) {
			sched_yield();
		}
		if (i == TURNS_MAX) {
			char text[120];

			shared_nic_explain(guest, text, sizeof(text));
			shared_nic_wrong(guest, "stuck: %s", text);
		}
	}
	start_ends(s, false);
}

/* The last commits, and a frame that has waited for room in the ring. */
static void settle(const struct server *s)
{
	for (unsigned int i = 0; i < 1000 || !shared_nic_is_done(guest); i++) {
		shared_nic_act(guest);
		if (!loop_turn(s->control)) {
			sched_yield();
		}
	}
}

static _Noreturn void run_child(unsigned int n, bool is_threaded)
{
	struct server s;

	server_init(&s, is_threaded);
	fault_crash(n);
	serve(&s, true, !is_threaded);
	if (!is_threaded && !guest->wrong[0]) {
		settle(&s);
		look_inside(&s);
	}
	device_journal_leave(&s.d);
	fault_crash(0);
	_exit(guest->wrong[0] ? EXIT_BROKEN : EXIT_FINISHED);
}

/* Whether it survived. */
static bool serve_in_child(unsigned int n, bool is_threaded)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		run_child(n, is_threaded);
	}
	while (waitpid(pid, &status, is_threaded ? WNOHANG : 0) != pid) {
		shared_nic_act(guest);
		sched_yield();
	}
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGKILL);
		return false;
	}
	assert_string_equal(guest->wrong, "");
	assert_int_equal(WEXITSTATUS(status), EXIT_FINISHED);
	return true;
}

static void server_close(struct server *s)
{
	for (unsigned int i = guest->queues; i-- > 0;) {
		channel_close(s->channels[i]);
	}
	server_fini(s);
}

static void run_here(void)
{
	struct server s;

	server_init(&s, false);
	serve(&s, false, true);
	if (!guest->wrong[0]) {
		settle(&s);
		look_inside(&s);
		count_frames();
	}
	assert_string_equal(guest->wrong, "");
	server_close(&s);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

/* What begin() leaves, so that it need not be done for each run. */
static struct {
	uint8_t *memory, *journal;
	struct shared_nic guest;
} beginning;

static void *memory(void)
{
	return mem_hva(mem, MEMORY_GFN * MEM_PAGE_BYTES, MEMORY_PAGES * MEM_PAGE_BYTES);
}

static void remember_beginning(unsigned int queues, unsigned int seed)
{
	begin(queues, seed);
	memcpy(beginning.memory, memory(), MEMORY_PAGES * MEM_PAGE_BYTES);
	memcpy(beginning.journal, journal_memory, JOURNAL_ROOM);
	beginning.guest = *guest;
}

static void begin_again(void)
{
	memcpy(memory(), beginning.memory, MEMORY_PAGES * MEM_PAGE_BYTES);
	memcpy(journal_memory, beginning.journal, JOURNAL_ROOM);
	*guest = beginning.guest;
}

/* One guest's life, whose first server is killed at its n-th store. Whether that one survived. */
static bool run(unsigned int n, unsigned int seed, bool is_threaded)
{
	begin_again();
	bool is_done = serve_in_child(n, is_threaded), survived = is_done;
	/* Others, some of whom begin in a journal that nobody has left in order. */
	unsigned int heirs = (n + seed) % 3;

	for (unsigned int i = 0; i < heirs && !is_done; i++) {
		is_done = serve_in_child(1 + (n * 31 + seed * 17 + i * 7) % 600, is_threaded);
	}
	run_here();
	return survived;
}

static unsigned int setting(const char *name, unsigned int by_default)
{
	const char *text = getenv(name);

	return text ? (unsigned int)strtoul(text, NULL, 10) : by_default;
}

/* Every step-th point; all of them with TABIQUE_TEST_STEP=1. */
static void try_points(unsigned int queues, unsigned int seed, bool is_threaded, unsigned int step)
{
	step = setting("TABIQUE_TEST_STEP", step);
	remember_beginning(queues, seed);
	for (unsigned int n = 1 + seed % step; n < POINTS_MAX; n += step) {
		if (run(n, seed, is_threaded)) {
			print_message("%u queues, seed %u: killed at up to %u stores\n", queues,
				      seed, n - step);
			return;
		}
	}
	fail_msg("more than %u stores", POINTS_MAX);
}

static void each_store_of_a_queue_may_be_the_last(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= setting("TABIQUE_TEST_SEEDS", 1); seed++) {
		try_points(1, seed, false, 23);
	}
}

static void each_store_of_two_queues_may_be_the_last(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= setting("TABIQUE_TEST_SEEDS", 1); seed++) {
		try_points(2, seed, false, 47);
	}
}

static void each_store_of_two_threads_may_be_the_last(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= setting("TABIQUE_TEST_SEEDS", 1); seed++) {
		try_points(2, seed, true, 127);
	}
}

static void a_nic_comes_and_goes_in_order(void **state)
{
	(void)state;
	remember_beginning(2, 1);
	begin_again();
	assert_true(serve_in_child(0, false));
	run_here();
}

/* Serves one packet, whose completion is shown and not told, and is killed. */
static void serve_one_and_die(void)
{
	struct server s;

	server_init(&s, false);
	check(journal_attach(&s.journal, journal_memory, JOURNAL_ROOM) == 0);
	check(device_journal_restore(&s.d, true, false) == 0);
	while (loop_turn(s.control)) {}
	shared_nic_take(guest, 0, 8);
	uint64_t told = fake_synic_flag_count(s.synic, RELID);

	shared_nic_send_next(guest, 0);
	(void)loop_turn(s.control);
	_exit(guest->queue[0].sent == 1 && vmbus_ring_owes(&s.channels[0]->out) &&
			      fake_synic_flag_count(s.synic, RELID) == told
		      ? EXIT_FINISHED
		      : EXIT_BROKEN);
}

static void what_a_killed_server_owed_is_told_by_the_next(void **state)
{
	struct server s;
	int status;

	(void)state;
	remember_beginning(1, 1);
	begin_again();
	pid_t child = fork();

	if (child == 0) {
		serve_one_and_die();
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, EXIT_FINISHED);
	server_init(&s, false);
	check(journal_attach(&s.journal, journal_memory, JOURNAL_ROOM) == 0);
	assert_int_equal(device_journal_restore(&s.d, true, false), 0);
	assert_int_equal(fake_synic_flag_count(s.synic, RELID), 1);
	assert_true(shared_nic_take(guest, 0, 8) >= 1);
	assert_int_equal(guest->queue[0].is_completed[1], 1);
	assert_string_equal(guest->wrong, "");
	device_journal_leave(&s.d);
	server_fini(&s);
}

static void the_link_is_told_after_a_restore(void **state)
{
	struct server s;

	(void)state;
	remember_beginning(2, 1);
	begin_again();
	server_init(&s, false);
	s.ends[0].net.link_up = s.ends[1].net.link_up = false;
	check(journal_attach(&s.journal, journal_memory, JOURNAL_ROOM) == 0);
	assert_int_equal(device_journal_restore(&s.d, true, false), 0);
	while (loop_turn(s.control) || shared_nic_take(guest, 0, 8)) {}
	assert_int_equal(guest->indications, 1);
	assert_int_equal(guest->indicated, RNDIS_STATUS_MEDIA_DISCONNECT);
	device_journal_leave(&s.d);
	server_fini(&s);

	server_init(&s, false);
	check(journal_attach(&s.journal, journal_memory, JOURNAL_ROOM) == 0);
	assert_int_equal(device_journal_restore(&s.d, false, true), 0);
	while (loop_turn(s.control) || shared_nic_take(guest, 0, 8)) {}
	assert_int_equal(guest->indications, 1); /* it is paused */
	channel_set_paused(s.channels[0], false);
	channel_set_paused(s.channels[1], false);
	while (loop_turn(s.control) || shared_nic_take(guest, 0, 8)) {}
	assert_int_equal(guest->indications, 2);
	assert_int_equal(guest->indicated, RNDIS_STATUS_MEDIA_CONNECT);
	assert_string_equal(guest->wrong, "");
	server_close(&s);
}

/* Into the log of a journal with nothing out: entry `piece`. */
static struct netvsp_log_entry *entry_of(struct server *s, uint32_t piece)
{
	return (struct netvsp_log_entry *)journal_log(&s->journal) + piece;
}

static int restore_anew(struct server *s)
{
	int err;

	server_init(s, false);
	check(journal_attach(&s->journal, journal_memory, JOURNAL_ROOM) == 0);
	err = device_journal_restore(&s->d, true, false);
	if (!err) {
		device_journal_leave(&s->d);
	}
	server_fini(s);
	return err;
}

static void a_log_that_cannot_be_is_refused(void **state)
{
	struct server s;

	(void)state;
	remember_beginning(2, 1);
	begin_again();
	assert_int_equal(restore_anew(&s), 0);
	entry_of(&s, 3)->shown = 1;
	entry_of(&s, 3)->next = 3;
	assert_int_equal(restore_anew(&s), 0);
	entry_of(&s, 3)->next = 128; /* beyond the buffer */
	assert_int_equal(restore_anew(&s), -EBADMSG);
	entry_of(&s, 3)->next = 4; /* a circle */
	entry_of(&s, 4)->next = 3;
	assert_int_equal(restore_anew(&s), -EBADMSG);
	entry_of(&s, 4)->next = 4; /* another queue's */
	entry_of(&s, 4)->queue = !entry_of(&s, 3)->queue;
	assert_int_equal(restore_anew(&s), -EBADMSG);
	entry_of(&s, 4)->queue = entry_of(&s, 3)->queue;
	entry_of(&s, 4)->shown = 1; /* a head in the middle */
	assert_int_equal(restore_anew(&s), -EBADMSG);
	entry_of(&s, 4)->shown = 0;
	assert_int_equal(restore_anew(&s), 0);
	entry_of(&s, 5)->queue = 7; /* none of a queue's: the primary's, and free */
	entry_of(&s, 5)->shown = 1;
	assert_int_equal(restore_anew(&s), 0);
}

static void any_log_is_borne(void **state)
{
	unsigned int random = 7;
	struct server s;

	(void)state;
	for (unsigned int n = 0; n < 40; n++) {
		begin_again();
		check(journal_attach(&s.journal, journal_memory, JOURNAL_ROOM) == 0);
		for (uint32_t i = 0; i < SHARED_PIECES_MAX; i++) {
			struct netvsp_log_entry *entry = entry_of(&s, i);

			entry->shown = shared_roll(&random, n + 2) ? 0 : shared_roll(&random, 4);
			entry->returned = shared_roll(&random, 4);
			entry->next = shared_roll(&random, 3) ? i : shared_roll(&random, 140);
			entry->queue = (uint16_t)shared_roll(&random, n % 4 + 1);
		}
		int err = restore_anew(&s);

		assert_true(err == 0 || err == -EBADMSG);
	}
}

static void restoring_survives_each_failing_allocation(void **state)
{
	struct server s;
	int err = -ENOMEM;

	(void)state;
	begin_again();
	for (unsigned int n = 1; err; n++) {
		server_init(&s, false);
		check(journal_attach(&s.journal, journal_memory, JOURNAL_ROOM) == 0);
		fault_arm(n);
		err = device_journal_restore(&s.d, true, false);
		fault_arm(0);
		assert_true(err == 0 || err == -ENOMEM || err == -EBADMSG);
		assert_true(n < 40);
		if (!err) {
			device_journal_leave(&s.d);
		}
		server_fini(&s);
	}
}

int main(void)
{
	const struct mem_config config = { .bytes = MEM_BYTES_MIN };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_nic_comes_and_goes_in_order),
		cmocka_unit_test(what_a_killed_server_owed_is_told_by_the_next),
		cmocka_unit_test(the_link_is_told_after_a_restore),
		cmocka_unit_test(a_log_that_cannot_be_is_refused),
		cmocka_unit_test(any_log_is_borne),
		cmocka_unit_test(restoring_survives_each_failing_allocation),
		cmocka_unit_test(each_store_of_a_queue_may_be_the_last),
		cmocka_unit_test(each_store_of_two_queues_may_be_the_last),
		cmocka_unit_test(each_store_of_two_threads_may_be_the_last),
	};
	struct diag diag;

	check(mem_create(&config, &mem, &diag) == 0);
	guest = mmap(NULL, sizeof(*guest), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	journal_memory =
		mmap(NULL, JOURNAL_ROOM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(guest != MAP_FAILED && journal_memory != MAP_FAILED);
	beginning.memory = malloc(MEMORY_PAGES * MEM_PAGE_BYTES);
	beginning.journal = malloc(JOURNAL_ROOM);
	check(beginning.memory && beginning.journal);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	free(beginning.memory);
	free(beginning.journal);
	munmap(guest, sizeof(*guest));
	munmap(journal_memory, JOURNAL_ROOM);
	mem_destroy(mem);
	return failed;
}

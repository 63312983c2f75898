/* SPDX-License-Identifier: MIT */
/*
 * The crash-point test. A child process serves an echo over a journaled channel and is killed at its
 * n-th store that others could see, n = 1, 2, 3 … until it survives; others take over, and may be
 * killed in their turn; the last is this process, unjournaled. Whatever happens, every request of the
 * guest's is answered exactly once, and none is lost.
 *
 * The guest acts either between the child's turns, in the child's thread (so that the same n and the same
 * seed are the same run), or here, at the same time.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
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
#include "proto/echo.h"
#include "vmbus/journaled.h"
#include "vsp/echo/echo.h"

#define RELID             7
#define GPADL             5
#define RING_PAGES        3 /* one control page: small, so that rings are full */
#define RINGS_GFN         256
#define REQUESTS          40
#define BYTES_MAX         600
#define PAYLOAD_BYTES_MAX 1024
#define JOURNAL_ROOM      (1U << 20)
#define POINTS_MAX        5000
#define TURNS_MAX         2000000
#define EXIT_FINISHED     0
#define EXIT_BROKEN       3

/* The guest: in memory that both processes share, as its rings are. */
struct guest {
	uint64_t sent, completed, sequence;
	bool is_answered[REQUESTS + 1];
	char wrong[120]; /* the first thing that was; empty: nothing */
	unsigned int random;
};

static struct mem *mem;
static struct guest *guest;
static uint8_t *journal_memory;

/* ---- the guest ------------------------------------------------------------------------------------ */

static unsigned int roll(unsigned int below)
{
	guest->random = guest->random * 1103515245U + 12345U;
	return (guest->random >> 16) % below;
}

__attribute__((format(printf, 1, 2))) static void wrong(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (!guest->wrong[0]) {
		vsnprintf(guest->wrong, sizeof(guest->wrong), fmt, args);
	}
	va_end(args);
}

static struct vmbus_ring_control *ring_of(unsigned int which)
{
	return mem_hva(mem, (RINGS_GFN + which * RING_PAGES) * MEM_PAGE_BYTES,
		       RING_PAGES * MEM_PAGE_BYTES);
}

static const uint32_t data_bytes = (RING_PAGES - 1) * MEM_PAGE_BYTES;

static uint32_t copy(unsigned int which, uint32_t at, void *buf, size_t bytes, bool is_write)
{
	uint8_t *data = (uint8_t *)ring_of(which) + MEM_PAGE_BYTES, *b = buf;

	for (size_t i = 0; i < bytes; i++, at = (at + 1) % data_bytes) {
		if (is_write) {
			data[at] = b[i];
		} else {
			b[i] = data[at];
		}
	}
	return at;
}

static uint32_t bytes_of(uint64_t id)
{
	return (uint32_t)(id * 7919 % BYTES_MAX);
}

static uint8_t byte_of(uint64_t id, uint32_t i)
{
	return (uint8_t)(id * 31 + i * 7);
}

static bool send_bytes(uint64_t id, void *payload, uint32_t bytes)
{
	struct vmbus_ring_control *ring = ring_of(0);
	uint32_t write = ring->write_index, read = atomic_load(&ring->read_index);
	uint32_t length = 16 + (uint32_t)num_align_up(bytes, 8);
	uint32_t used = (write + data_bytes - read) % data_bytes;
	uint64_t trailer = (uint64_t)write << 32;
	struct vmbus_packet_header header = { .type = VMBUS_PACKET_INBAND,
					      .offset8 = 2,
					      .length8 = (uint16_t)(length / 8),
					      .flags = 1,
					      .transaction_id = id };

	if (length + 8 >= data_bytes - used) {
		return false;
	}
	uint32_t at = copy(0, write, &header, 16, true);

	at = copy(0, at, payload, num_align_up(bytes, 8), true);
	at = copy(0, at, &trailer, 8, true);
	atomic_store(&ring->write_index, at);
	return true;
}

static bool send_next(void)
{
	uint8_t payload[PAYLOAD_BYTES_MAX] = { 0 };
	uint64_t id = guest->sent + 1;
	uint32_t bytes = bytes_of(id);

	bytes_put_le32(payload, ECHO_MSG_ECHO);
	bytes_put_le32(payload + 4, 8 + bytes);
	for (uint32_t i = 0; i < bytes; i++) {
		payload[16 + i] = byte_of(id, i);
	}
	if (!send_bytes(id, payload, 16 + bytes)) {
		return false;
	}
	guest->sent = id;
	return true;
}

static void check_answer(const struct vmbus_packet_header *header, const uint8_t *payload)
{
	uint64_t id = header->transaction_id;
	uint32_t bytes = bytes_of(id);

	if (id == 0 || id > guest->sent || header->type != VMBUS_PACKET_COMPLETION) {
		wrong("an answer to %llu, which was not asked", (unsigned long long)id);
		return;
	}
	if (guest->is_answered[id]) {
		wrong("%llu is answered twice", (unsigned long long)id);
	}
	if (bytes_le32(payload) != ECHO_MSG_ECHO || bytes_le32(payload + 4) != 8 + bytes) {
		wrong("the answer to %llu is another's", (unsigned long long)id);
	}
	if (bytes_le64(payload + 8) != guest->sequence + 1) {
		wrong("sequence %llu after %llu", (unsigned long long)bytes_le64(payload + 8),
		      (unsigned long long)guest->sequence);
	}
	for (uint32_t i = 0; i < bytes; i++) {
		if (payload[16 + i] != byte_of(id, i)) {
			wrong("byte %u of answer %llu", i, (unsigned long long)id);
			break;
		}
	}
	guest->sequence++;
	guest->is_answered[id] = true;
	guest->completed++;
}

/* The next packet from the host: its payload; false: none. */
static bool receive(struct vmbus_packet_header *ret, uint8_t *ret_payload)
{
	struct vmbus_ring_control *ring = ring_of(1);
	uint32_t read = ring->read_index;

	if (atomic_load(&ring->write_index) == read) {
		return false;
	}
	uint32_t at = copy(1, read, ret, 16, false);
	uint32_t bytes = ret->length8 * 8U - 16;

	if (ret->offset8 != 2 || bytes > PAYLOAD_BYTES_MAX) {
		wrong("not a packet at %u", read);
		return false;
	}
	at = copy(1, at, ret_payload, bytes, false);
	atomic_store(&ring->read_index, (at + 8) % data_bytes);
	return true;
}

static void guest_acts(void)
{
	uint8_t payload[PAYLOAD_BYTES_MAX];
	struct vmbus_packet_header header;

	for (unsigned int n = roll(8); n > 0 && guest->sent < REQUESTS && send_next(); n--) {}
	/* Seldom enough that the ring is full at times. */
	for (unsigned int n = roll(4) ? 0 : roll(20); n > 0 && receive(&header, payload); n--) {
		check_answer(&header, payload);
	}
}

static bool guest_is_done(void)
{
	return guest->completed == REQUESTS || guest->wrong[0];
}

/* ---- who serves ------------------------------------------------------------------------------------- */

struct server {
	struct loop *loop;
	struct fake_synic *synic;
	struct gpadl_table *gpadls;
	struct echo *echo;
	struct vmbus_channel *channel;
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

/* Everything but the open channel. The rings are mapped. */
static void server_init(struct server *s, uint64_t delay_ns)
{
	struct channel_place place = {
		.doorbell_fd_take = -1, .mem = mem, .closed = ignore_work, .subs_asked = ignore_work
	};
	struct {
		struct vmbus_gpa_range range;
		uint64_t gfns[2 * RING_PAGES];
	} range = { .range.length_bytes = 2 * RING_PAGES * MEM_PAGE_BYTES };
	struct diag diag;

	for (uint64_t i = 0; i < 2 * RING_PAGES; i++) {
		range.gfns[i] = RINGS_GFN + i;
	}
	*s = (struct server){ 0 };
	check(loop_create("server", &s->loop, &diag) == 0);
	s->synic = fake_synic_create(1);
	check(gpadl_table_create(mem, s->loop, ignore_gone, NULL, &s->gpadls) == 0);
	check(gpadl_table_begin(s->gpadls, RELID, GPADL, 1, (const uint8_t *)&range,
				sizeof(range)) == 1);
	check(echo_create("crash", &s->echo) == 0);
	echo_set_delay(s->echo, delay_ns);
	place.loop = place.control_loop = s->loop;
	place.synic = fake_synic_base(s->synic);
	place.gpadls = s->gpadls;
	check(channel_create(&place, echo_device(s->echo), 0, &s->channel) == 0);
	s->channel->relid = RELID;
	s->channel->downstream_page = RING_PAGES;
	check(gpadl_table_get(s->gpadls, RELID, GPADL, &s->channel->ring_gpadl) == 0);
	check(channel_map_rings(s->channel) == 0);
	s->d = (struct device_journal){ .device = echo_device(s->echo),
					.channels = &s->channel,
					.channel_count = 1,
					.journal = &s->journal };
}

/* Closed, or it has left. */
static void server_fini(struct server *s)
{
	while (loop_turn(s->loop)) {}
	channel_unmap_rings(s->channel);
	gpadl_put(s->channel->ring_gpadl);
	channel_destroy(s->channel);
	echo_destroy(s->echo);
	gpadl_table_clear(s->gpadls);
	gpadl_table_destroy(s->gpadls);
	fake_synic_destroy(s->synic);
	loop_destroy(s->loop);
}

static void server_close(struct server *s)
{
	channel_close(s->channel);
	server_fini(s);
}

/* The guest opens its channel and says hello; the device is ready to be served elsewhere. */
static void begin(uint64_t delay_ns)
{
	static const uint8_t user_data[VMBUS_OFFER_USER_DEFINED_BYTES];
	uint8_t hello[16] = { 0 }, payload[PAYLOAD_BYTES_MAX];
	struct vmbus_packet_header header;
	struct server s;

	memset(ring_of(0), 0, MEM_PAGE_BYTES);
	memset(ring_of(1), 0, MEM_PAGE_BYTES);
	server_init(&s, delay_ns);
	check(channel_open(s.channel, user_data) == 0);
	bytes_put_le32(hello, ECHO_MSG_HELLO);
	bytes_put_le32(hello + 4, 4);
	bytes_put_le32(hello + 8, ECHO_VERSION_2);
	check(send_bytes(0, hello, 12));
	while (!receive(&header, payload)) {
		(void)loop_turn(s.loop);
	}
	channel_set_paused(s.channel, true);
	assert_int_equal(device_journal_write(&s.d, journal_memory, JOURNAL_ROOM), 0);
	device_journal_leave(&s.d);
	server_fini(&s);
}

/* Serves until the guest is done, from what the last one left. */
static void serve(struct server *s, bool goes_on, bool guest_is_here)
{
	check(journal_attach(&s->journal, journal_memory, JOURNAL_ROOM) == 0);
	int err = device_journal_restore(&s->d, goes_on, false);

	if (err) {
		wrong("restore: %s", strerror(-err));
		return;
	}
	if (fake_synic_flag_count(s->synic, RELID) != 1) {
		wrong("the guest is not signalled");
	}
	for (unsigned int i = 0; !guest_is_done(); i++) {
		if (guest_is_here) {
			guest_acts();
		}
		if (!loop_turn(s->loop)) {
			sched_yield();
		}
		if (i == TURNS_MAX) {
			wrong("%llu of %llu are not answered",
			      (unsigned long long)(guest->sent - guest->completed),
			      (unsigned long long)guest->sent);
		}
	}
}

static _Noreturn void run_child(unsigned int n, uint64_t delay_ns, bool guest_is_here)
{
	struct server s;

	server_init(&s, delay_ns);
	fault_crash(n);
	serve(&s, true, guest_is_here);
	device_journal_leave(&s.d);
	fault_crash(0);
	_exit(guest->wrong[0] ? EXIT_BROKEN : EXIT_FINISHED);
}

/* Whether it survived. */
static bool serve_in_child(unsigned int n, uint64_t delay_ns, bool guest_is_here)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		run_child(n, delay_ns, guest_is_here);
	}
	while (waitpid(pid, &status, guest_is_here ? 0 : WNOHANG) != pid) {
		guest_acts();
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

/* ---- tests --------------------------------------------------------------------------------------------- */

static void run_here(uint64_t delay_ns)
{
	struct server s;

	server_init(&s, delay_ns);
	serve(&s, false, true);
	assert_string_equal(guest->wrong, "");
	server_close(&s);
}

/* One guest's life, whose first server is killed at its n-th store. Whether that one survived. */
static bool run(unsigned int n, unsigned int seed, uint64_t delay_ns, bool guest_is_here)
{
	*guest = (struct guest){ .random = seed * 7919 + 1 };
	begin(delay_ns);
	if (serve_in_child(n, delay_ns, guest_is_here)) {
		assert_int_equal(guest->completed, REQUESTS);
		return true;
	}
	/* Others, some of whom begin in a journal that nobody has left in order. */
	unsigned int heirs = (n + seed) % 3;
	bool is_done = false;

	for (unsigned int i = 0; i < heirs && !is_done; i++) {
		is_done = serve_in_child(1 + (n * 31 + seed * 17 + i * 7) % 120, delay_ns,
					 guest_is_here);
	}
	run_here(delay_ns);
	assert_int_equal(guest->completed, REQUESTS);
	assert_int_equal(ring_of(0)->read_index, ring_of(0)->write_index);
	assert_int_equal(ring_of(1)->read_index, ring_of(1)->write_index);
	return false;
}

static unsigned int seeds(unsigned int by_default)
{
	const char *text = getenv("TABIQUE_TEST_SEEDS");

	return text ? (unsigned int)strtoul(text, NULL, 10) : by_default;
}

static void try_each_point(unsigned int seed, uint64_t delay_ns, bool guest_is_here)
{
	for (unsigned int n = 1; n < POINTS_MAX; n++) {
		if (run(n, seed, delay_ns, guest_is_here)) {
			print_message("seed %u: killed at %u stores\n", seed, n - 1);
			return;
		}
	}
	fail_msg("more than %d stores", POINTS_MAX);
}

static void each_store_may_be_the_last(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= seeds(2); seed++) {
		try_each_point(seed, 0, true);
	}
}

static void each_store_may_be_the_last_when_answers_are_late(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= seeds(1); seed++) {
		try_each_point(seed, 20000, true);
	}
}

static void each_store_may_be_the_last_while_the_guest_acts(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= seeds(1); seed++) {
		try_each_point(seed, 0, false);
		try_each_point(seed, 20000, false);
	}
}

static void a_device_comes_and_goes_in_order(void **state)
{
	(void)state;
	*guest = (struct guest){ .random = 1 };
	begin(0);
	assert_true(serve_in_child(0, 0, true));
	assert_int_equal(guest->completed, REQUESTS);

	struct server s;

	server_init(&s, 0);
	assert_int_equal(journal_attach(&s.journal, journal_memory, JOURNAL_ROOM), 0);
	assert_true(journal_is_clean(&s.journal));
	assert_int_equal(device_journal_restore(&s.d, false, true), 0);
	assert_true(vmbus_channel_is_paused(s.channel));
	assert_false(vmbus_channel_is_journaled(s.channel));
	server_close(&s);
}

static void restoring_survives_each_failing_allocation(void **state)
{
	struct server s;
	int err = -ENOMEM;

	(void)state;
	*guest = (struct guest){ .random = 1 };
	begin(0);
	server_init(&s, 0);
	for (unsigned int n = 1; err; n++) {
		assert_int_equal(journal_attach(&s.journal, journal_memory, JOURNAL_ROOM), 0);
		fault_arm(n);
		err = device_journal_restore(&s.d, true, false);
		fault_arm(0);
		assert_true(err == 0 || err == -ENOMEM);
		assert_true(n < 20);
	}
	device_journal_leave(&s.d);
	server_fini(&s);
}

/* Sends what the guest takes for an answer nobody asked for: 0, or why not. */
static int say(struct server *s, uint64_t id)
{
	uint8_t word[8] = { 0 };

	return vmbus_channel_send_inband(s->channel, id, false, word, sizeof(word));
}

static void what_is_sent_when_the_journal_is_written_is_refused_and_not_lost(void **state)
{
	static const uint8_t user_data[VMBUS_OFFER_USER_DEFINED_BYTES];
	uint8_t payload[PAYLOAD_BYTES_MAX];
	struct vmbus_packet_header header;
	struct server s, next;

	(void)state;
	*guest = (struct guest){ .random = 1 };
	memset(ring_of(0), 0, MEM_PAGE_BYTES);
	memset(ring_of(1), 0, MEM_PAGE_BYTES);
	server_init(&s, 0);
	assert_int_equal(channel_open(s.channel, user_data), 0);
	assert_int_equal(say(&s, 100), 0);
	channel_set_paused(s.channel, true);
	assert_int_equal(device_journal_write(&s.d, journal_memory, JOURNAL_ROOM), 0);
	/* It goes on where it is after all, and speaks again. */
	assert_int_equal(say(&s, 101), -EAGAIN);
	assert_false(vmbus_channel_has_room(s.channel, 8));
	assert_false(vmbus_channel_wait_room(s.channel, 8));
	channel_set_paused(s.channel, false);
	assert_int_equal(say(&s, 102), 0);
	channel_set_paused(s.channel, true);
	assert_int_equal(device_journal_write(&s.d, journal_memory, JOURNAL_ROOM), 0);
	assert_int_equal(say(&s, 103), -EAGAIN);
	device_journal_leave(&s.d);
	server_init(&next, 0);
	assert_int_equal(journal_attach(&next.journal, journal_memory, JOURNAL_ROOM), 0);
	assert_int_equal(device_journal_restore(&next.d, true, false), 0);
	assert_int_equal(say(&next, 104), 0);
	device_journal_leave(&next.d);
	/* All that was said, and each once. */
	for (uint64_t id = 100; id <= 104; id += 2) {
		assert_true(receive(&header, payload));
		assert_int_equal(header.transaction_id, id);
	}
	assert_false(receive(&header, payload));
	server_fini(&next);
	server_fini(&s);
}

static void a_journal_that_cannot_be_is_refused(void **state)
{
	struct server s;

	(void)state;
	*guest = (struct guest){ .random = 1 };
	begin(0);
	server_init(&s, 0);
	assert_int_equal(journal_attach(&s.journal, journal_memory, JOURNAL_ROOM), 0);
	journal_commit(&s.journal, 0, 2, data_bytes, 0);
	assert_int_equal(device_journal_restore(&s.d, false, false), -EBADMSG);
	journal_commit(&s.journal, 0, 3, 0, 4);
	assert_int_equal(device_journal_restore(&s.d, false, false), -EBADMSG);
	journal_commit(&s.journal, 0, 0, 0, 0);
	assert_int_equal(device_journal_restore(&s.d, false, false), -EBADMSG);
	server_fini(&s);
}

int main(void)
{
	const struct mem_config config = { .bytes = MEM_BYTES_MIN };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_comes_and_goes_in_order),
		cmocka_unit_test(what_is_sent_when_the_journal_is_written_is_refused_and_not_lost),
		cmocka_unit_test(a_journal_that_cannot_be_is_refused),
		cmocka_unit_test(restoring_survives_each_failing_allocation),
		cmocka_unit_test(each_store_may_be_the_last),
		cmocka_unit_test(each_store_may_be_the_last_when_answers_are_late),
		cmocka_unit_test(each_store_may_be_the_last_while_the_guest_acts),
	};
	struct diag diag;

	check(mem_create(&config, &mem, &diag) == 0);
	guest = mmap(NULL, sizeof(*guest), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	journal_memory =
		mmap(NULL, JOURNAL_ROOM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(guest != MAP_FAILED && journal_memory != MAP_FAILED);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	munmap(guest, sizeof(*guest));
	munmap(journal_memory, JOURNAL_ROOM);
	mem_destroy(mem);
	return failed;
}

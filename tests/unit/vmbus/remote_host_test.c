/* SPDX-License-Identifier: MIT */
/*
 * What a host refuses a worker (vmbus/remote_host.h): this test is the worker, message by message, and
 * the host is in the same thread. Its service makes devices that do nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/num.h"
#include "base/shared.h"
#include "vmbus/journaled.h"
#include "vmbus/remote_host.h"
#include "vmbus/remote_host_internal.h"
#include "vmbus/remote_wire.h"

#define RAM_BYTES  (64ULL << 20)
#define RING_GFN   256U
#define RING_PAGES 20U /* both */
#define WAIT_NS    (5ULL * 1000 * 1000 * 1000)

struct world {
	struct loop *loop;
	struct remote_host *host;
	struct mem *mem;
	struct sockaddr_un address;
	socklen_t address_bytes;
	struct remote_board *board;
	uint8_t *journal;
	size_t journal_bytes;
	int board_fd, journal_fd, event_fd, fd;
	bool says_no, is_done;
	unsigned int created, destroyed;
	struct loop_work done;
	struct remote_message got;
	uint8_t got_bytes[REMOTE_MESSAGE_BYTES_MAX];
	/* what the next lend() does wrong */
	uint32_t gfn_step, relid, fds_max;
	const char *kind;
	int doorbell_fd;
};

/* ---- a VSP that does nothing ---- */

static int nop_open(struct vmbus_device *device, struct vmbus_channel *channel, const uint8_t *data)
{
	(void)device;
	(void)channel;
	(void)data;
	return 0;
}

static int nop_packet(struct vmbus_device *device, struct vmbus_channel *channel,
		      const struct vmbus_packet *packet)
{
	(void)device;
	(void)channel;
	(void)packet;
	return 0;
}

static void nop_close(struct vmbus_device *device, struct vmbus_channel *channel)
{
	(void)device;
	vmbus_channel_closed(channel);
}

static void nop_save(struct vmbus_device *device, struct save *save)
{
	(void)device;
	(void)save;
}

static int nop_load(struct vmbus_device *device, struct load *load)
{
	(void)device;
	return load_result(load);
}

static const struct vmbus_device_ops nop_ops = {
	.name = "nop",
	.packet_bytes_max = 256,
	.open = nop_open,
	.packet = nop_packet,
	.close = nop_close,
	.save = nop_save,
	.load = nop_load,
};

static int create(void *ctx, const struct remote_loan *loan, struct vmbus_device **ret,
		  struct diag *reterr)
{
	struct world *w = ctx;

	(void)reterr;
	assert_string_equal(loan->port, "a/b");
	assert_string_equal(loan->partition, "me");
	assert_int_equal(loan->uid, getuid());
	assert_int_equal(loan->pid, getpid());
	*ret = calloc(1, sizeof(**ret));
	(*ret)->ops = &nop_ops;
	(*ret)->loop = w->loop;
	w->created++;
	return 0;
}

static void destroy(void *ctx, struct vmbus_device *device)
{
	((struct world *)ctx)->destroyed++;
	free(device);
}

static bool may(void *ctx, const struct remote_loan *loan, struct diag *reterr)
{
	(void)loan;
	return !((struct world *)ctx)->says_no || diag_set(reterr, 0, "not yours");
}

static const struct remote_service service = {
	.kind = "nop", .create = create, .destroy = destroy, .may = may
};

/* ---- the worker's half ---- */

static int sealed(size_t bytes, int seals, void *ret_map)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *map;

	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	memcpy(ret_map, &map, sizeof(map));
	return fd;
}

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static void write_journal(struct world *w)
{
	struct vmbus_device device = { .ops = &nop_ops };
	struct journal_config config = device_journal_config(&device, 1);
	struct journal journal;
	size_t room;

	w->journal_bytes = journal_bytes(&config);
	w->journal_fd = sealed(w->journal_bytes, SEALS, &w->journal);
	journal_format(&journal, w->journal, &config);
	(void)journal_bank_begin(&journal, &room);
	journal_bank_end(&journal, 0, 1);
	journal_commit(&journal, 0, 1, 0, 0);
}

static void start_host(struct world *w)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct remote_host_config config = { .control = w->loop,
					     .listen_fd = fd,
					     .services = &service,
					     .service_count = 1,
					     .ctx = w,
					     .workers_max = 2,
					     .devices_max = 2,
					     .mappings_max = 40,
					     .lends_per_second = 8,
					     .fds_max = w->fds_max };

	w->address.sun_family = AF_UNIX; /* a name that the kernel makes up */
	assert_int_equal(bind(fd, (struct sockaddr *)&w->address, sizeof(sa_family_t)), 0);
	w->address_bytes = sizeof(w->address);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&w->address, &w->address_bytes), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(remote_host_create(&config, &w->host), 0);
}

static int dial(struct world *w)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&w->address, w->address_bytes), 0);
	return fd;
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct mem_config memory = { .bytes = RAM_BYTES };
	struct diag diag;

	assert_int_equal(loop_create("test", &w->loop, &diag), 0);
	assert_int_equal(mem_create(&memory, &w->mem, &diag), 0);
	w->board_fd = sealed(REMOTE_BOARD_BYTES, SEALS, &w->board);
	w->board->magic = REMOTE_BOARD_MAGIC;
	w->board->version = REMOTE_BOARD_VERSION;
	write_journal(w);
	w->event_fd = w->doorbell_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	w->gfn_step = 1;
	w->relid = 5;
	w->kind = "nop";
	start_host(w);
	w->fd = dial(w);
	*state = w;
	return 0;
}

static void on_done(struct loop_work *work)
{
	container_of(work, struct world, done)->is_done = true;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	uint64_t until = loop_now_ns() + WAIT_NS;

	loop_work_init(&w->done, on_done);
	remote_host_return_all(w->host, REMOTE_RETURN_SHUTDOWN, 0, &w->done);
	while (!w->is_done && loop_now_ns() < until) {
		loop_turn(w->loop);
	}
	assert_true(w->is_done);
	assert_int_equal(w->created, w->destroyed);
	remote_host_destroy(w->host);
	for (int i = 0; i < 4; i++) {
		loop_turn(w->loop);
	}
	munmap(w->board, REMOTE_BOARD_BYTES);
	munmap(w->journal, w->journal_bytes);
	close(w->board_fd);
	close(w->journal_fd);
	close(w->event_fd);
	close(w->fd);
	mem_destroy(w->mem);
	loop_destroy(w->loop);
	free(w);
	return 0;
}

static void say(struct world *w, struct remote_message *message, const int *fds,
		unsigned int fd_count)
{
	uint8_t buf[REMOTE_MESSAGE_BYTES_MAX];
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(3 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { buf, remote_build(message, buf) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	shared_attach(&msg, control.bytes, fds, fd_count);
	assert_int_equal(sendmsg(w->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL), iov.iov_len);
}

/* The next message of the host's; 0 when it has closed. */
static uint16_t hear(struct world *w)
{
	uint64_t until = loop_now_ns() + WAIT_NS;

	while (loop_now_ns() < until) {
		ssize_t n = recv(w->fd, w->got_bytes, sizeof(w->got_bytes), MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno == ECONNRESET)) {
			return 0;
		}
		if (n > 0) {
			assert_int_equal(remote_parse(w->got_bytes, (size_t)n, 0, &w->got), 0);
			return w->got.type;
		}
		loop_turn(w->loop);
	}
	fail_msg("the host says nothing");
	return 0;
}

static int32_t hello(struct world *w, int ram_fd, int board_fd, int sint_fd)
{
	struct remote_message m = { .type = REMOTE_MSG_HELLO };
	int fds[] = { ram_fd, board_fd, sint_fd };

	m.hello.version_min = m.hello.version_max = REMOTE_VERSION;
	m.hello.vps = 1;
	m.hello.range_count = 1;
	m.hello.board_bytes = REMOTE_BOARD_BYTES;
	m.hello.ranges[0].bytes = RAM_BYTES;
	strcpy(m.hello.name, "me");
	say(w, &m, fds, 3);
	assert_int_equal(hear(w), REMOTE_MSG_WELCOME);
	return w->got.welcome.status;
}

static void good_hello(struct world *w)
{
	assert_int_equal(hello(w, mem_fd(w->mem), w->board_fd, w->event_fd), 0);
}

static void say_lend(struct world *w, uint32_t device)
{
	struct remote_message m = { .type = REMOTE_MSG_LEND, .device = device };

	strcpy(m.lend.kind, w->kind);
	strcpy(m.lend.port, "a/b");
	m.lend.vmbus_version = VMBUS_VERSION_5_3;
	m.lend.channels = m.lend.gpadls = 1;
	m.lend.journal_bytes = (uint32_t)w->journal_bytes;
	say(w, &m, &w->journal_fd, 1);
}

static void say_all(struct world *w, uint32_t device)
{
	struct remote_message m = { .type = REMOTE_MSG_GPADL, .device = device };
	struct remote_message c = { .type = REMOTE_MSG_CHANNEL, .device = device };
	struct remote_message s = { .type = REMOTE_MSG_START, .device = device };
	uint64_t gfns[RING_PAGES];

	say_lend(w, device);
	for (uint32_t i = 0; i < RING_PAGES; i++) {
		gfns[i] = RING_GFN + device * 100ULL + i * w->gfn_step;
	}
	m.gpadl.gpadl = 70 + device;
	m.gpadl.relid = w->relid + device;
	m.gpadl.length = RING_PAGES * 4096;
	m.gpadl.pages = m.gpadl.count = RING_PAGES;
	m.tail = (const uint8_t *)gfns;
	m.tail_bytes = sizeof(gfns);
	say(w, &m, NULL, 0);
	c.channel.relid = w->relid + device;
	c.channel.ring_gpadl = 70 + device;
	c.channel.downstream_page = RING_PAGES / 2;
	say(w, &c, &w->doorbell_fd, 1);
	say(w, &s, NULL, 0);
}

/* All of it; the status of STARTED. */
static int32_t lend(struct world *w, uint32_t device)
{
	say_all(w, device);
	assert_int_equal(hear(w), REMOTE_MSG_STARTED);
	assert_int_equal(w->got.device, device);
	return w->got.started.status;
}

static void recall(struct world *w, uint32_t device)
{
	struct remote_message m = { .type = REMOTE_MSG_RECALL, .device = device };

	say(w, &m, NULL, 0);
	assert_int_equal(hear(w), REMOTE_MSG_RETURNED);
	assert_int_equal(w->got.returned.reason, REMOTE_RETURN_RECALLED);
}

/* ---- tests ---- */

static void a_device_is_lent_and_recalled(void **state)
{
	struct world *w = *state;
	struct remote_message m = { .type = REMOTE_MSG_PING, .serial = 99 };

	good_hello(w);
	say(w, &m, NULL, 0);
	assert_int_equal(hear(w), REMOTE_MSG_PONG);
	assert_int_equal(w->got.serial, 99);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(lend(w, 0), 0);
		assert_int_equal(lend(w, 1), 0);
		recall(w, 0);
		recall(w, 1);
	}
	assert_int_equal(w->destroyed, 4);
}

static void memory_that_is_not_sealed_is_refused(void **state)
{
	struct world *w = *state;
	uint8_t *map;
	int fd = sealed(RAM_BYTES, F_SEAL_SHRINK, &map);

	assert_int_equal(hello(w, fd, w->board_fd, w->event_fd), -EPERM);
	assert_int_equal(hear(w), 0);
	munmap(map, RAM_BYTES);
	close(fd);
}

static void a_board_that_is_not_sealed_is_refused(void **state)
{
	struct world *w = *state;
	uint8_t *map;
	int fd = sealed(REMOTE_BOARD_BYTES, F_SEAL_SHRINK | F_SEAL_GROW, &map);

	assert_int_equal(hello(w, mem_fd(w->mem), fd, w->event_fd), -EPERM);
	assert_int_equal(hear(w), 0);
	munmap(map, REMOTE_BOARD_BYTES);
	close(fd);
}

static void an_interrupt_that_is_no_eventfd_is_refused(void **state)
{
	struct world *w = *state;

	assert_int_equal(hello(w, mem_fd(w->mem), w->board_fd, w->board_fd), -EPERM);
	assert_int_equal(hear(w), 0);
}

static void a_doorbell_that_is_no_eventfd_is_refused(void **state)
{
	struct world *w = *state;

	good_hello(w);
	w->doorbell_fd = w->journal_fd;
	assert_int_equal(lend(w, 0), -EPERM);
	w->doorbell_fd = w->event_fd;
	assert_int_equal(lend(w, 0), 0); /* the same device, done right */
}

static void rings_in_too_many_pieces_are_refused(void **state)
{
	struct world *w = *state;

	good_hello(w);
	w->gfn_step = 2;
	assert_int_equal(lend(w, 0), -ENOSPC);
	w->gfn_step = 1;
	assert_int_equal(lend(w, 0), 0);
}

static void kinds_ports_and_numbers_that_are_not_there_are_refused(void **state)
{
	struct world *w = *state;

	good_hello(w);
	w->kind = "nip";
	assert_int_equal(lend(w, 0), -ENODEV);
	w->kind = "nop";
	w->says_no = true;
	assert_int_equal(lend(w, 0), -EPERM);
	assert_string_equal(w->got.started.text, "not yours");
	w->says_no = false;
	assert_int_equal(lend(w, 2), -ENOSPC); /* devices_max */
	assert_int_equal(lend(w, 1), 0);
}

static void a_journal_that_makes_no_sense_is_refused(void **state)
{
	struct world *w = *state;

	good_hello(w);
	w->journal[4]++; /* its version */
	assert_int_equal(lend(w, 0), -EPROTONOSUPPORT);
	w->journal[4]--;
	w->journal[16]++; /* its channels */
	assert_int_equal(lend(w, 0), -EBADMSG);
	w->journal[16]--;
	assert_int_equal(lend(w, 0), 0);
}

static void who_lends_too_often_is_refused(void **state)
{
	struct world *w = *state;
	int32_t status = 0;

	good_hello(w);
	for (int i = 0; i < 20 && !status; i++) {
		status = lend(w, 0);
		if (!status) {
			recall(w, 0);
		}
	}
	assert_int_equal(status, -EAGAIN);
}

static void who_asks_too_often_is_told_nothing(void **state)
{
	struct world *w = *state;
	struct remote_message m = { .type = REMOTE_MSG_INSPECT, .device = 0 };
	uint64_t start_ns = loop_now_ns(), seconds;
	unsigned int told = 0;

	good_hello(w);
	assert_int_equal(lend(w, 0), 0);
	for (int i = 0; i < 200; i++) {
		say(w, &m, NULL, 0);
		assert_int_equal(hear(w), REMOTE_MSG_INSPECTED);
		told += w->got.tail_bytes > 0;
	}
	seconds = (loop_now_ns() - start_ns) / 1000000000ULL;
	assert_in_range(told, 1, REMOTE_HOST_INSPECTS_PER_SECOND * (seconds + 1));
	recall(w, 0);
}

static void workers_beyond_the_limit_are_turned_away(void **state)
{
	struct world *w = *state;
	int first = w->fd, second;

	good_hello(w);
	second = w->fd = dial(w);
	good_hello(w);
	w->fd = dial(w);
	assert_int_equal(hear(w), 0);
	close(w->fd);
	close(second);
	/* One has gone: there is room again. */
	for (int i = 0; i < 100; i++) {
		loop_turn(w->loop);
	}
	w->fd = dial(w);
	good_hello(w);
	close(first);
}

/* Descriptors of this process, in which the host is. */
static unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int count = 0;

	while (readdir(dir)) {
		count++;
	}
	closedir(dir);
	return count;
}

static void restart_host(struct world *w, uint32_t fds_max)
{
	loop_work_init(&w->done, on_done);
	remote_host_return_all(w->host, REMOTE_RETURN_SHUTDOWN, 0, &w->done);
	while (!w->is_done) {
		loop_turn(w->loop);
	}
	w->is_done = false;
	remote_host_destroy(w->host);
	w->fds_max = fds_max;
	start_host(w);
	close(w->fd);
	w->fd = dial(w);
}

static void who_has_used_up_his_descriptors_is_refused_and_others_are_not(void **state)
{
	struct world *w = *state;
	unsigned int before, after;
	int first;

	restart_host(w,
		     6); /* connection, memory, interrupt; journal and doorbell: one more is left */
	good_hello(w);
	assert_int_equal(lend(w, 0), 0);
	before = count_fds();
	for (int i = 0; i < 3; i++) {
		say_all(w, 1);
		assert_int_equal(hear(w), REMOTE_MSG_STARTED);
		assert_int_equal(w->got.started.status, -EMFILE);
	}
	after = count_fds();
	assert_int_equal(after, before);
	/* Another worker has his own. */
	first = w->fd;
	w->fd = dial(w);
	good_hello(w);
	assert_int_equal(lend(w, 1), 0);
	close(w->fd);
	/* What is given back can be lent again. */
	w->fd = first;
	recall(w, 0);
	assert_int_equal(lend(w, 1), 0);
}

static void a_device_is_refused_whole_when_its_last_doorbell_is_too_many(void **state)
{
	struct world *w = *state;
	struct remote_message m = { .type = REMOTE_MSG_CHANNEL };
	unsigned int before;

	restart_host(w, 5);
	good_hello(w);
	before = count_fds();
	m.type = REMOTE_MSG_LEND;
	strcpy(m.lend.kind, "nop");
	strcpy(m.lend.port, "a/b");
	m.lend.vmbus_version = VMBUS_VERSION_5_3;
	m.lend.channels = 3;
	m.lend.journal_bytes = (uint32_t)w->journal_bytes;
	say(w, &m, &w->journal_fd, 1);
	for (uint16_t i = 0; i < 3; i++) {
		m = (struct remote_message){ .type = REMOTE_MSG_CHANNEL };
		m.channel.relid = 5U + i;
		m.channel.index = i;
		say(w, &m, &w->doorbell_fd, 1);
	}
	m = (struct remote_message){ .type = REMOTE_MSG_START };
	say(w, &m, NULL, 0);
	assert_int_equal(hear(w), REMOTE_MSG_STARTED);
	assert_int_equal(w->got.started.status, -EMFILE);
	assert_int_equal(count_fds(), before);
	assert_int_equal(lend(w, 0), 0);
}

static void interrupts_beyond_the_budget_are_refused(void **state)
{
	struct world *w = *state;

	restart_host(w, 2);
	assert_int_equal(hello(w, mem_fd(w->mem), w->board_fd, w->event_fd), -EMFILE);
	assert_int_equal(hear(w), 0);
}

static void all_workers_together_leave_the_process_its_own(void **state)
{
	struct world *w = *state;
	struct rlimit old, low = { .rlim_cur = REMOTE_HOST_FDS_OWN + REMOTE_HOST_FDS_LEAST + 4 };

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	restart_host(w, 0);
	assert_int_equal(w->host->config.workers_max, 1); /* of 2 */
	assert_int_equal(w->host->config.fds_max, REMOTE_HOST_FDS_LEAST + 4);
	low.rlim_cur = REMOTE_HOST_FDS_OWN + 2 * 300;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	restart_host(w, 0);
	assert_int_equal(w->host->config.workers_max, 2);
	assert_int_equal(w->host->config.fds_max, 300);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

static void a_message_out_of_turn_ends_the_connection(void **state)
{
	struct world *w = *state;

	for (uint16_t type = REMOTE_MSG_WELCOME; type <= REMOTE_MSG_PONG; type++) {
		struct remote_message m = { .type = type, .device = 0 };

		if (type == REMOTE_MSG_LEND || type == REMOTE_MSG_CHANNEL) {
			continue; /* have descriptors */
		}
		if (type % 2) { /* before HELLO nothing is right */
			good_hello(w);
		}
		if (type % 2 && (type == REMOTE_MSG_PING || type == REMOTE_MSG_INSPECT)) {
			continue;
		}
		say(w, &m, NULL, 0);
		assert_int_equal(hear(w), 0);
		close(w->fd);
		w->fd = dial(w);
	}
}

static void what_is_lent_twice_ends_the_connection_and_all_is_let_go(void **state)
{
	struct world *w = *state;

	good_hello(w);
	assert_int_equal(lend(w, 0), 0);
	say_lend(w, 0);
	assert_int_equal(hear(w), 0);
	assert_int_equal(w->destroyed, 1);
}

static void everything_is_given_back_with_a_reason(void **state)
{
	struct world *w = *state;

	good_hello(w);
	assert_int_equal(lend(w, 1), 0);
	loop_work_init(&w->done, on_done);
	remote_host_return_all(w->host, REMOTE_RETURN_UPGRADE, 700, &w->done);
	assert_int_equal(hear(w), REMOTE_MSG_RETURNED);
	assert_int_equal(w->got.returned.reason, REMOTE_RETURN_UPGRADE);
	assert_int_equal(w->got.returned.retry_ms, 700);
	assert_int_equal(w->destroyed, 1);
	assert_int_equal(hear(w), 0);
	while (!w->is_done) {
		loop_turn(w->loop);
	}
	/* As new, for tear_down(). */
	w->is_done = false;
	remote_host_destroy(w->host);
	start_host(w);
}

static void who_never_listens_does_not_hold_up_the_end(void **state)
{
	struct world *w = *state;
	struct remote_message ping = { .type = REMOTE_MSG_PING,
				       .device = REMOTE_DEVICE_CONNECTION,
				       .serial = 1 };
	const struct remote_peer *peer;
	uint64_t until;

	good_hello(w);
	peer = list_first(&w->host->peers, struct remote_peer, link);
	while (peer->socket.queued == 0) {
		say(w, &ping, NULL, 0); /* and its answers are read by nobody */
		loop_turn(w->loop);
	}
	loop_work_init(&w->done, on_done);
	remote_host_return_all(w->host, REMOTE_RETURN_UPGRADE, 0, &w->done);
	until = loop_now_ns() + WAIT_NS;
	while (!w->is_done && loop_now_ns() < until) {
		loop_turn(w->loop);
	}
	assert_true(w->is_done);
	/* As new, for tear_down(). */
	w->is_done = false;
	remote_host_destroy(w->host);
	start_host(w);
}

static void whatever_allocation_fails_the_worker_hears_of_it(void **state)
{
	struct world *w = *state;
	bool fired = true;
	unsigned int n;

	for (n = 1; fired && n < 200; n++) {
		struct remote_message m = { .type = REMOTE_MSG_RECALL };
		uint16_t heard;

		good_hello(w);
		fault_arm(n);
		say_all(w, 0);
		heard = hear(w);
		fired = fault_fired();
		fault_arm(0);
		if (heard == REMOTE_MSG_STARTED && w->got.started.status == 0) {
			say(w, &m, NULL, 0);
			assert_int_equal(hear(w), REMOTE_MSG_RETURNED);
		} else {
			assert_true(fired && (heard == 0 || heard == REMOTE_MSG_STARTED));
		}
		assert_int_equal(w->created, w->destroyed);
		close(w->fd);
		for (int i = 0; i < 20; i++) {
			loop_turn(w->loop);
		}
		w->fd = dial(w);
	}
	assert_true(n > 5 && !fired);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_device_is_lent_and_recalled),
		T(memory_that_is_not_sealed_is_refused),
		T(a_board_that_is_not_sealed_is_refused),
		T(an_interrupt_that_is_no_eventfd_is_refused),
		T(a_doorbell_that_is_no_eventfd_is_refused),
		T(rings_in_too_many_pieces_are_refused),
		T(kinds_ports_and_numbers_that_are_not_there_are_refused),
		T(a_journal_that_makes_no_sense_is_refused),
		T(who_lends_too_often_is_refused),
		T(who_asks_too_often_is_told_nothing),
		T(who_has_used_up_his_descriptors_is_refused_and_others_are_not),
		T(a_device_is_refused_whole_when_its_last_doorbell_is_too_many),
		T(interrupts_beyond_the_budget_are_refused),
		T(all_workers_together_leave_the_process_its_own),
		T(workers_beyond_the_limit_are_turned_away),
		T(a_message_out_of_turn_ends_the_connection),
		T(what_is_lent_twice_ends_the_connection_and_all_is_let_go),
		T(everything_is_given_back_with_a_reason),
		T(who_never_listens_does_not_hold_up_the_end),
		T(whatever_allocation_fails_the_worker_hears_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

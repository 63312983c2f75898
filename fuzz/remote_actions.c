/* SPDX-License-Identifier: MIT */
/*
 * A hostile worker against vmbus/remote_host.h, with echo as its VSP. An input is a list of actions:
 * messages that are right but for some bytes, messages that are not, memory (rings, board, journal)
 * that changes under the host, descriptors of the wrong kind, and ends of the connection. The host may
 * refuse and hang up; it must not crash, leak, or stay behind.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/num.h"
#include "base/shared.h"
#include "vmbus/journaled.h"
#include "vmbus/remote_host.h"
#include "vmbus/remote_wire.h"
#include "vsp/echo/echo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM_BYTES  (64ULL << 20)
#define RING_PAGES 4U
#define RING_GFN   256U /* where the rings are */
#define RELID      5U
#define GPADL      77U

struct world {
	struct loop *loop;
	struct remote_host *host;
	struct mem *mem;
	struct sockaddr_un address;
	socklen_t address_bytes;
	int board_fd, journal_fd, sint_fd, doorbell_fd, other_fd;
	struct remote_board *board;
	uint8_t *journal;
	size_t journal_bytes;
	int fd; /* the connection, or -1 */
	struct echo *echoes[REMOTE_DEVICES_MAX];
	bool is_done;
	struct loop_work done;
	const uint8_t *in;
	size_t left;
};

static uint8_t take(struct world *w)
{
	if (w->left == 0) {
		return 0;
	}
	w->left--;
	return *w->in++;
}

/* ---- the service ---- */

static int create(void *ctx, const struct remote_loan *loan, struct vmbus_device **ret,
		  struct diag *reterr)
{
	struct world *w = ctx;

	if (loan->port[0] == '!') {
		return diag_set(reterr, -13, "%s", loan->port);
	}
	for (size_t i = 0; i < ARRAY_SIZE(w->echoes); i++) {
		if (!w->echoes[i]) {
			check(echo_create("fuzz", &w->echoes[i]) == 0);
			*ret = echo_device(w->echoes[i]);
			(*ret)->loop = w->loop;
			return 0;
		}
	}
	return diag_set(reterr, -28, "too many");
}

static void destroy(void *ctx, struct vmbus_device *device)
{
	struct world *w = ctx;

	for (size_t i = 0; i < ARRAY_SIZE(w->echoes); i++) {
		if (w->echoes[i] && echo_device(w->echoes[i]) == device) {
			echo_destroy(w->echoes[i]);
			w->echoes[i] = NULL;
			return;
		}
	}
	check(false);
}

static const struct remote_service service = { .kind = "echo",
					       .create = create,
					       .destroy = destroy };

/* ---- the worker's things ---- */

static int sealed(size_t bytes, void *ret_map)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *map;

	check(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
	check(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(map != MAP_FAILED);
	memcpy(ret_map, &map, sizeof(map));
	return fd;
}

/* As a worker's that lends a fresh echo. */
static void write_journal(struct world *w)
{
	struct echo *echo;
	struct journal journal;
	struct save save;
	const uint8_t *bytes;
	size_t length, room;

	check(echo_create("fuzz", &echo) == 0);
	struct journal_config config = device_journal_config(echo_device(echo), 1);

	w->journal_bytes = journal_bytes(&config);
	w->journal_fd = sealed(w->journal_bytes, &w->journal);
	journal_format(&journal, w->journal, &config);
	save_init(&save);
	echo_device(echo)->ops->save(echo_device(echo), &save);
	check(save_finish(&save, &bytes, &length) == 0);
	void *bank = journal_bank_begin(&journal, &room);

	check(length <= room);
	memcpy(bank, bytes, length);
	journal_bank_end(&journal, length, 1);
	journal_commit(&journal, 0, 1, 0, 0);
	save_fini(&save);
	echo_destroy(echo);
}

static void connect_worker(struct world *w)
{
	w->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	check(connect(w->fd, (struct sockaddr *)&w->address, w->address_bytes) == 0);
}

static void begin(struct world *w)
{
	struct mem_config memory = { .bytes = RAM_BYTES };
	struct diag diag;
	int listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	check(loop_create("fuzz", &w->loop, &diag) == 0);
	check(mem_create(&memory, &w->mem, &diag) == 0);
	w->board_fd = sealed(REMOTE_BOARD_BYTES, &w->board);
	w->board->magic = REMOTE_BOARD_MAGIC;
	w->board->version = REMOTE_BOARD_VERSION;
	w->board->vps = 1;
	w->board->siefp[0] = 0x2000 | 1;
	write_journal(w);
	w->sint_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	w->doorbell_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	w->other_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	w->address.sun_family = AF_UNIX;
	/* A name that the kernel makes up. */
	check(bind(listen_fd, (struct sockaddr *)&w->address, sizeof(sa_family_t)) == 0);
	w->address_bytes = sizeof(w->address);
	check(getsockname(listen_fd, (struct sockaddr *)&w->address, &w->address_bytes) == 0);
	check(listen(listen_fd, 8) == 0);
	struct remote_host_config config = { .control = w->loop,
					     .listen_fd = listen_fd,
					     .services = &service,
					     .service_count = 1,
					     .ctx = w,
					     .workers_max = 4,
					     .devices_max = 4,
					     .mappings_max = 64 };

	check(remote_host_create(&config, &w->host) == 0);
	connect_worker(w);
}

static void turn(struct world *w, unsigned int times)
{
	while (times-- > 0) {
		(void)loop_turn(w->loop);
	}
}

static void on_done(struct loop_work *work)
{
	container_of(work, struct world, done)->is_done = true;
}

static void end(struct world *w)
{
	loop_work_init(&w->done, on_done);
	remote_host_return_all(w->host, REMOTE_RETURN_SHUTDOWN, 0, &w->done);
	for (uint64_t until = loop_now_ns() + 5000000000ULL; !w->is_done;) {
		turn(w, 1);
		check(loop_now_ns() < until);
	}
	for (size_t i = 0; i < ARRAY_SIZE(w->echoes); i++) {
		check(!w->echoes[i]);
	}
	remote_host_destroy(w->host);
	turn(w, 4);
	if (w->fd >= 0) {
		close(w->fd);
	}
	munmap(w->board, REMOTE_BOARD_BYTES);
	munmap(w->journal, w->journal_bytes);
	close(w->board_fd);
	close(w->journal_fd);
	close(w->sint_fd);
	close(w->doorbell_fd);
	close(w->other_fd);
	mem_destroy(w->mem);
	loop_destroy(w->loop);
}

/* ---- actions ---- */

/* Sends it, with some bytes changed as the input says. */
static void say(struct world *w, struct remote_message *message, int *fds, unsigned int fd_count)
{
	uint8_t buf[REMOTE_MESSAGE_BYTES_MAX];
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(8 * sizeof(int))];
	} control = { 0 };
	uint32_t bytes = remote_build(message, buf);
	uint8_t changes = take(w) & 3;

	while (changes-- > 0) {
		uint16_t at = (uint16_t)(take(w) | (take(w) & 1) << 8);

		buf[at % bytes] = take(w);
	}
	if (take(w) == 0xee && fd_count > 0) {
		fds[take(w) % fd_count] = w->other_fd;
	}
	struct iovec iov = { buf, bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	shared_attach(&msg, control.bytes, fds, fd_count);
	(void)!sendmsg(w->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void say_hello(struct world *w)
{
	struct remote_message m = { .type = REMOTE_MSG_HELLO };
	int fds[] = { mem_fd(w->mem), w->board_fd, w->sint_fd };

	m.hello.version_min = m.hello.version_max = REMOTE_VERSION;
	m.hello.vps = 1;
	m.hello.range_count = 1;
	m.hello.board_bytes = REMOTE_BOARD_BYTES;
	m.hello.ranges[0].bytes = RAM_BYTES;
	say(w, &m, fds, 3);
}

static void say_lend(struct world *w, uint32_t device)
{
	struct remote_message m = { .type = REMOTE_MSG_LEND, .device = device };
	int fds[] = { w->journal_fd };

	memcpy(m.lend.kind, "echo", 5);
	memcpy(m.lend.port, "a/b", 4);
	m.lend.vmbus_version = VMBUS_VERSION_5_3;
	m.lend.channels = m.lend.gpadls = 1;
	m.lend.journal_bytes = (uint32_t)w->journal_bytes;
	say(w, &m, fds, 1);
}

static void say_gpadl(struct world *w, uint32_t device)
{
	struct remote_message m = { .type = REMOTE_MSG_GPADL, .device = device };
	uint64_t gfns[2 * RING_PAGES];

	for (size_t i = 0; i < ARRAY_SIZE(gfns); i++) {
		gfns[i] = RING_GFN + i;
	}
	m.gpadl.gpadl = GPADL + device;
	m.gpadl.relid = RELID + device;
	m.gpadl.length = sizeof(gfns) / 8 * 4096;
	m.gpadl.pages = m.gpadl.count = ARRAY_SIZE(gfns);
	m.tail = (const uint8_t *)gfns;
	m.tail_bytes = sizeof(gfns);
	say(w, &m, NULL, 0);
}

static void say_channel(struct world *w, uint32_t device)
{
	struct remote_message m = { .type = REMOTE_MSG_CHANNEL, .device = device };
	int fds[] = { w->doorbell_fd };

	m.channel.relid = RELID + device;
	m.channel.ring_gpadl = GPADL + device;
	m.channel.downstream_page = RING_PAGES;
	m.channel.flags = take(w) & 1;
	say(w, &m, fds, 1);
}

static void say_short(struct world *w, uint16_t type, uint32_t device)
{
	struct remote_message m = { .type = type, .device = device };
	uint8_t relid[4] = { RELID };

	if (type == REMOTE_MSG_RECALL && (take(w) & 1)) {
		relid[0] = (uint8_t)(RELID + device);
		m.recall.close_count = 1;
		m.tail = relid;
		m.tail_bytes = 4;
	}
	say(w, &m, NULL, 0);
}

static void say_all(struct world *w, uint32_t device)
{
	say_lend(w, device);
	say_gpadl(w, device);
	say_channel(w, device);
	say_short(w, REMOTE_MSG_START, device);
}

/* A whole echo in the ring, by the guest. */
static void send_packet(struct world *w)
{
	struct vmbus_ring_control *control = mem_hva(w->mem, RING_GFN << 12, 4096);
	uint8_t *data = (uint8_t *)control + VMBUS_RING_CONTROL_BYTES;
	uint32_t at = control->write_index % ((RING_PAGES - 1) * 4096) & ~7U;
	uint32_t packet[10] = { 6 | 2 << 16, 4 | 1 << 16, take(w), 0, take(w) % 5, 8, take(w) % 3 };

	if (at + sizeof(packet) <= (RING_PAGES - 1) * 4096) {
		packet[9] = at;
		memcpy(data + at, packet, sizeof(packet));
		control->write_index = (at + (uint32_t)sizeof(packet)) % ((RING_PAGES - 1) * 4096);
	}
	uint64_t one = 1;

	(void)!write(w->doorbell_fd, &one, sizeof(one));
}

static void scribble(struct world *w, uint8_t *base, size_t bytes)
{
	size_t at = (size_t)(take(w) | take(w) << 8 | take(w) << 16) % bytes;

	base[at] = take(w);
}

static void act(struct world *w)
{
	uint8_t action = take(w);
	uint32_t device = take(w) & 3;

	switch (action % 20) {
	case 0:
		say_hello(w);
		break;
	case 1:
		say_lend(w, device);
		break;
	case 2:
		say_gpadl(w, device);
		break;
	case 3:
		say_channel(w, device);
		break;
	case 4:
		say_short(w, REMOTE_MSG_START, device);
		break;
	case 5:
	case 6:
		say_all(w, device);
		break;
	case 7:
		say_short(w, REMOTE_MSG_RECALL, device);
		break;
	case 8:
		say_short(w, REMOTE_MSG_INSPECT, device);
		break;
	case 9:
		say_short(w, REMOTE_MSG_PING, device);
		break;
	case 10:
		say_short(w, 1 + take(w) % REMOTE_MSG_PONG, device);
		break;
	case 11:
		scribble(w, mem_hva(w->mem, RING_GFN << 12, 8 * 4096), 2ULL * RING_PAGES * 4096);
		break;
	case 12: /* the control page of a ring */
		scribble(w, mem_hva(w->mem, (RING_GFN + (device & 1) * RING_PAGES) << 12, 64), 16);
		break;
	case 13:
		scribble(w, (uint8_t *)w->board, REMOTE_BOARD_BYTES);
		break;
	case 14:
		scribble(w, w->journal, device ? 512 : w->journal_bytes);
		break;
	case 15:
		close(w->fd);
		connect_worker(w);
		break;
	case 16:
		shutdown(w->fd, SHUT_WR);
		break;
	case 17:
	case 18:
		send_packet(w);
		break;
	default:
		break;
	}
	turn(w, 1 + (device & 1) * 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world w = { .fd = -1, .in = data, .left = size };

	log_set_level(LOG_ERROR);
	begin(&w);
	while (w.left > 0) {
		act(&w);
	}
	end(&w);
	return 0;
}

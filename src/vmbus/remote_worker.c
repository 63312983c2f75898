/* SPDX-License-Identifier: MIT */
/*
 * The worker's connection to a host process:
 *
 *   IDLE ── connect, HELLO ─► GREETING ── WELCOME, PING ─► CHECKING ── PONG ─► READY
 *    ▲                           │                           │                  │
 *    └── 10 ms, doubling to 1 s ─┴───── the host has closed, or is gone ────────┘
 *
 * The host is gone when its process is (a pidfd says so when its last thread is), or when it has closed
 * the connection: it does so only when it has let go of all memory, and a process that is killed lets
 * go of its memory before its descriptors. Its process is the one that the kernel says sent WELCOME:
 * who listened may be another. The ping shows that it lived when the pidfd was opened.
 */
#include "vmbus/remote_worker.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/num.h"
#include "vmbus/remote_mute.h"
#include "vmbus/remote_worker_internal.h"

#define RETRY_NS_MIN 10000000ULL
#define RETRY_NS_MAX 1000000000ULL
#define PING_NS      1000000000ULL
#define STALLED_NS   5000000000ULL

/* Datagrams that may still lie in the socket of a host that is gone. */
#define LAST_ROUNDS  1024

static void retry_later(struct remote_worker *worker)
{
	loop_timer_arm(&worker->retry, worker->retry_ns);
	worker->retry_ns = num_min(worker->retry_ns * 2, RETRY_NS_MAX);
}

static bool has_lendings(const struct remote_worker *worker)
{
	for (unsigned int i = 0; i < REMOTE_DEVICES_MAX; i++) {
		if (worker->lendings[i]) {
			return true;
		}
	}
	return false;
}

/* ---- the end of a connection ---- */

/* The host serves nothing any more. */
static void end_connection(struct remote_worker *worker)
{
	bool was_ready = worker->state == WORKER_READY;

	worker->state = WORKER_IDLE;
	loop_timer_cancel(&worker->ping);
	loop_watch_stop(&worker->pid_watch);
	if (worker->pidfd >= 0) {
		close(worker->pidfd);
		worker->pidfd = -1;
	}
	worker->pid = 0;
	worker->is_stalled = false;
	remote_socket_close(&worker->socket);
	if (was_ready) {
		worker->retry_ns = RETRY_NS_MIN;
	}
	retry_later(worker);
	for (unsigned int i = 0; i < REMOTE_DEVICES_MAX; i++) {
		struct remote_lending *lending = worker->lendings[i];

		if (lending && lending->state != LEND_HOME) {
			remote_lend_home(lending, REMOTE_HOME_KILLED, 0,
					 "the process that served it is gone");
		}
	}
}

static void on_ended(void *ctx)
{
	end_connection(ctx);
}

static void on_broken(void *ctx, int err)
{
	struct remote_worker *worker = ctx;

	log_guest(&worker->log_rate, "remote", "%s: hung up: %s", worker->path, strerror(-err));
}

/* Its last thread is gone. What it said before counts. */
static void on_pid(struct loop_watch *watch, uint32_t poll_events)
{
	struct remote_worker *worker = container_of(watch, struct remote_worker, pid_watch);

	(void)poll_events;
	for (int i = 0; i < LAST_ROUNDS && worker->state != WORKER_IDLE; i++) {
		uint64_t before = worker->socket.messages_in;

		remote_socket_wait(&worker->socket, 0);
		if (worker->socket.messages_in == before) {
			break;
		}
	}
	if (worker->state != WORKER_IDLE) { /* somebody else still holds its end */
		end_connection(worker);
	}
}

/* ---- pings ---- */

static uint32_t send_ping(struct remote_worker *worker)
{
	struct remote_message message = { .type = REMOTE_MSG_PING,
					  .device = REMOTE_DEVICE_CONNECTION };

	remote_socket_send(&worker->socket, &message, NULL, 0);
	return message.serial;
}

static void on_ping_timer(struct loop_timer *timer)
{
	struct remote_worker *worker = container_of(timer, struct remote_worker, ping);

	for (unsigned int i = 0; i < REMOTE_DEVICES_MAX; i++) {
		if (worker->lendings[i] && worker->lendings[i]->state != LEND_HOME) {
			if (!worker->is_stalled &&
			    loop_now_ns() - worker->pong_at_ns > STALLED_NS) {
				worker->is_stalled = true;
				log_warn("remote", "%s: the process that serves it does not answer",
					 worker->path);
			}
			(void)send_ping(worker);
			loop_timer_arm(timer, PING_NS);
			return;
		}
	}
}

void remote_worker_start_pings(struct remote_worker *worker)
{
	if (!loop_timer_is_armed(&worker->ping)) {
		worker->pong_at_ns = loop_now_ns();
		loop_timer_arm(&worker->ping, PING_NS);
	}
}

/* ---- messages ---- */

static int watch_process(struct remote_worker *worker, pid_t pid)
{
	if (pid <= 0) {
		return -ESRCH; /* of another PID name space: nobody could say when it is gone */
	}
	worker->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (worker->pidfd < 0) {
		return -errno;
	}
	worker->pid = pid;
	return loop_watch_start(worker->bus->loop, &worker->pid_watch, worker->pidfd, POLLIN,
				on_pid);
}

static int on_welcome(struct remote_worker *worker, const struct remote_welcome *welcome, pid_t pid)
{
	if (worker->state != WORKER_GREETING) {
		return -EPROTO;
	}
	if (welcome->status < 0) {
		log_guest(&worker->log_rate, "remote", "%s: refused: %s", worker->path,
			  welcome->text);
		worker->retry_ns = RETRY_NS_MAX;
		remote_socket_hang_up(&worker->socket);
		return 0;
	}
	if (welcome->version != REMOTE_VERSION || welcome->channels_max == 0) {
		return -EPROTO;
	}
	worker->channels_max = (uint32_t)num_min(welcome->channels_max, REMOTE_CHANNELS_MAX);
	int err = watch_process(worker, pid);

	if (!err) {
		worker->state = WORKER_CHECKING;
		worker->check_serial = send_ping(worker);
	}
	return err;
}

static int on_pong(struct remote_worker *worker, uint32_t serial)
{
	worker->pong_at_ns = loop_now_ns();
	worker->is_stalled = false;
	if (worker->state != WORKER_CHECKING || serial != worker->check_serial) {
		return worker->state == WORKER_READY ? 0 : -EPROTO;
	}
	worker->state = WORKER_READY;
	worker->connects++;
	for (unsigned int i = 0; i < REMOTE_DEVICES_MAX; i++) {
		if (worker->lendings[i]) {
			remote_lend_later(worker->lendings[i], 0);
		}
	}
	return 0;
}

static int on_message(void *ctx, const struct remote_message *message, int *fds,
		      unsigned int fd_count, pid_t pid)
{
	struct remote_worker *worker = ctx;
	struct remote_lending *lending;

	(void)fds;
	(void)fd_count;
	if (worker->pid && pid != worker->pid) {
		return -EPROTO;
	}
	if (message->type == REMOTE_MSG_WELCOME) {
		return on_welcome(worker, &message->welcome, pid);
	}
	if (message->type == REMOTE_MSG_PONG) {
		return on_pong(worker, message->serial);
	}
	if (worker->state != WORKER_READY || message->device >= REMOTE_DEVICES_MAX) {
		return -EPROTO;
	}
	lending = worker->lendings[message->device];
	/* One that has been removed may still be spoken of. */
	return lending ? remote_lend_on_message(lending, message) : 0;
}

static const struct remote_socket_ops socket_ops = {
	.on_message = on_message,
	.on_broken = on_broken,
	.on_ended = on_ended,
};

/* ---- the beginning of a connection ---- */

static void send_hello(struct remote_worker *worker, int board_fd)
{
	struct synic *synic = worker->bus->synic;
	struct remote_message message = { .type = REMOTE_MSG_HELLO,
					  .device = REMOTE_DEVICE_CONNECTION };
	struct remote_hello *hello = &message.hello;
	int fds[REMOTE_FDS_MAX] = { mem_fd(worker->bus->mem), board_fd };
	const struct mem_range *ranges;

	hello->version_min = hello->version_max = REMOTE_VERSION;
	hello->vps = synic->ops->vp_count(synic);
	hello->range_count = (uint32_t)mem_ranges(worker->bus->mem, &ranges);
	hello->board_bytes = REMOTE_BOARD_BYTES;
	for (uint32_t i = 0; i < hello->range_count; i++) {
		hello->ranges[i].gpa = ranges[i].gpa;
		hello->ranges[i].bytes = ranges[i].bytes;
		hello->ranges[i].fd_offset = ranges[i].fd_offset;
	}
	memcpy(hello->uuid, worker->uuid, sizeof(hello->uuid));
	memcpy(hello->name, worker->name, sizeof(hello->name));
	for (uint32_t vp = 0; vp < hello->vps; vp++) {
		fds[2 + vp] = synic->ops->sint_eventfd(synic, vp, VMBUS_SINT);
	}
	remote_socket_send(&worker->socket, &message, fds, 2 + hello->vps);
}

static int dial(const struct remote_worker *worker)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int one = 1, fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, worker->path, sizeof(address.sun_path));
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) != 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		int err = -errno;

		if (fd >= 0) {
			close(fd);
		}
		return err;
	}
	return fd;
}

static void on_retry(struct loop_timer *timer)
{
	struct remote_worker *worker = container_of(timer, struct remote_worker, retry);
	int board_fd, fd, err;

	if (worker->state != WORKER_IDLE || !has_lendings(worker)) {
		return;
	}
	fd = dial(worker);
	if (fd < 0) {
		retry_later(worker); /* nobody is there, or nobody has time */
		return;
	}
	err = bus_away_board(worker->bus, &board_fd);
	if (!err) {
		err = remote_socket_open(&worker->socket, worker->bus->loop, fd, &socket_ops,
					 worker);
	}
	if (err) {
		log_guest(&worker->log_rate, "remote", "%s: %s", worker->path, strerror(-err));
		close(fd);
		retry_later(worker);
		return;
	}
	worker->state = WORKER_GREETING;
	send_hello(worker, board_fd);
}

/* ---- for users ---- */

int remote_worker_create(const struct remote_worker_config *config, struct remote_worker **ret)
{
	struct remote_worker *worker;
	struct synic *synic = config->bus->synic;

	if (strlen(config->path) >= sizeof(worker->path)) {
		return -ENAMETOOLONG;
	}
	if (synic->ops->vp_count(synic) > REMOTE_VPS_MAX) {
		return -E2BIG;
	}
	worker = fault_alloc(1, sizeof(*worker));
	if (!worker) {
		return -ENOMEM;
	}
	worker->bus = config->bus;
	remote_copy_text(worker->path, sizeof(worker->path), config->path);
	remote_copy_text(worker->name, sizeof(worker->name), config->name);
	memcpy(worker->uuid, config->uuid, sizeof(worker->uuid));
	worker->on_event = config->on_event;
	worker->ctx = config->ctx;
	worker->pidfd = worker->socket.fd = -1;
	worker->retry_ns = RETRY_NS_MIN;
	loop_timer_init(&worker->retry, worker->bus->loop, on_retry);
	loop_timer_init(&worker->ping, worker->bus->loop, on_ping_timer);
	*ret = worker;
	return 0;
}

void remote_worker_destroy(struct remote_worker *worker)
{
	if (!worker) {
		return;
	}
	check(!has_lendings(worker));
	if (worker->state != WORKER_IDLE) {
		end_connection(worker);
	}
	loop_timer_cancel(&worker->retry);
	loop_timer_cancel(&worker->ping);
	free(worker);
}

static void on_quiet(struct loop_timer *timer)
{
	remote_lend_try(container_of(timer, struct remote_lending, quiet));
}

static void on_over(struct loop_work *work)
{
	remote_lend_free(container_of(work, struct remote_lending, over));
}

int remote_worker_add(struct remote_worker *worker, struct vmbus_device *device,
		      const struct remote_target *target)
{
	struct remote_lending *lending;
	uint32_t number = 0;

	check(!device->lending && target->config_bytes <= REMOTE_CONFIG_BYTES_MAX);
	while (number < REMOTE_DEVICES_MAX && worker->lendings[number]) {
		number++;
	}
	if (number == REMOTE_DEVICES_MAX) {
		return -ENOSPC;
	}
	lending = fault_alloc(1, sizeof(*lending));
	if (!lending) {
		return -ENOMEM;
	}
	lending->base.ops = &remote_lending_ops;
	lending->worker = worker;
	lending->device = device;
	lending->number = number;
	lending->journal_fd = -1;
	lending->quiet_ns = LEND_QUIET_NS;
	lending->is_mute = remote_is_mute(device);
	remote_copy_text(lending->kind, sizeof(lending->kind), target->kind);
	remote_copy_text(lending->port, sizeof(lending->port), target->port);
	lending->config_bytes = target->config_bytes;
	if (target->config_bytes > 0) {
		memcpy(lending->config, target->config, target->config_bytes);
	}
	loop_timer_init(&lending->quiet, worker->bus->loop, on_quiet);
	loop_work_init(&lending->over, on_over);
	worker->lendings[number] = lending;
	device->lending = &lending->base;
	remote_lend_later(lending, LEND_QUIET_NS);
	if (worker->state == WORKER_IDLE && !loop_timer_is_armed(&worker->retry)) {
		loop_timer_arm(&worker->retry, 0);
	}
	return 0;
}

static struct remote_lending *lending_of(const struct remote_worker *worker,
					 const struct vmbus_device *device)
{
	struct remote_lending *lending = container_of(device->lending, struct remote_lending, base);

	check(device->lending && lending->worker == worker);
	return lending;
}

void remote_worker_recall(struct remote_worker *worker, struct vmbus_device *device,
			  enum remote_recall_reason reason, struct loop_work *done)
{
	struct remote_lending *lending = lending_of(worker, device);
	unsigned int i = 0;

	if (lending->state == LEND_HOME) {
		loop_post(worker->bus->loop, done);
		return;
	}
	while (i < LEND_WAITERS && lending->waiters[i]) {
		i++;
	}
	check(i < LEND_WAITERS);
	lending->waiters[i] = done;
	remote_lend_send_recall(lending, reason);
}

void remote_worker_remove(struct remote_worker *worker, struct vmbus_device *device,
			  struct loop_work *done)
{
	struct remote_lending *lending = lending_of(worker, device);

	lending->is_leaving = true;
	if (lending->state == LEND_HOME) {
		remote_lend_free(lending);
		loop_post(worker->bus->loop, done);
	} else {
		remote_worker_recall(worker, device, REMOTE_RECALL_END, done);
	}
}

bool remote_worker_is_away(const struct vmbus_device *device)
{
	return bus_away_is_away(device);
}

bool remote_worker_has_host(const struct remote_worker *worker)
{
	return worker->state == WORKER_READY;
}

bool remote_worker_is_stalled(const struct remote_worker *worker)
{
	return worker->is_stalled;
}

void remote_worker_inspect(const struct remote_worker *worker, struct inspect *at)
{
	static const char *const states[] = { "no host", "greeting", "checking", "ready" };
	static const char *const lent[] = { "home", "lending", "away", "returning" };

	inspect_string(at, "path", worker->path);
	inspect_string(at, "state", states[worker->state]);
	inspect_bool(at, "stalled", worker->is_stalled);
	inspect_u64(at, "pid", (uint64_t)worker->pid);
	inspect_u64(at, "connects", worker->connects);
	for (unsigned int i = 0; i < REMOTE_DEVICES_MAX; i++) {
		const struct remote_lending *lending = worker->lendings[i];

		if (!lending) {
			continue;
		}
		struct inspect item = inspect_item(at, "devices");

		inspect_string(&item, "port", lending->port);
		inspect_string(&item, "state", lent[lending->state]);
		inspect_u64(&item, "lends", lending->lends);
		inspect_u64(&item, "recalls", lending->recalls);
		inspect_u64(&item, "returns", lending->returns);
		inspect_u64(&item, "kills", lending->kills);
		inspect_u64(&item, "refusals", lending->refusals);
		inspect_u64(&item, "losses", lending->losses);
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * Workers come, are mapped, and go:
 *
 *   accepted ── HELLO ─► greeted ── (loans: remote_loan.c) ── EOF, nonsense, return_all ─► over
 *                                                                 all loans are gone ─► freed
 *
 * The socket is closed last, when nothing of the worker's is mapped any more: it goes by that.
 */
#include "vmbus/remote_host.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/num.h"
#include "vmbus/remote_host_internal.h"

/* A worker says HELLO within this, or is turned away. */
#define GREETING_LIMIT_NS 5000000000ULL

/* What is still to be sent to one that is over is tried so often, in such steps: it may never listen. */
#define LAST_WORDS_NS     5000000ULL
#define LAST_WORDS_TRIES  100U

bool remote_host_is_eventfd(const struct remote_host *host, int fd)
{
	char name[16], target[64];

	snprintf(name, sizeof(name), "%d", fd);
	ssize_t n = readlinkat(host->proc_fd, name, target, sizeof(target) - 1);

	if (n < 0) {
		return false;
	}
	target[n] = '\0';
	return strcmp(target, "anon_inode:[eventfd]") == 0;
}

/* ---- descriptors ---- */

bool remote_peer_take_fds(struct remote_peer *peer, unsigned int count)
{
	if (count > peer->host->config.fds_max - peer->fds) {
		return false;
	}
	peer->fds += count;
	return true;
}

void remote_peer_give_fds(struct remote_peer *peer, unsigned int count)
{
	check(count <= peer->fds);
	peer->fds -= count;
}

/*
 * All workers' budgets together leave the process its own: where it may have few descriptors there is
 * room for fewer workers, and each may have less.
 */
static void share_fds(struct remote_host_config *config)
{
	struct rlimit limit;
	uint64_t all;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
		return;
	}
	all = limit.rlim_cur - num_min(limit.rlim_cur, REMOTE_HOST_FDS_OWN);
	config->workers_max =
		(uint32_t)num_min(config->workers_max, num_max(all / REMOTE_HOST_FDS_LEAST, 1));
	config->fds_max = (uint32_t)num_min(
		config->fds_max, num_max(all / config->workers_max, REMOTE_HOST_FDS_LEAST));
}

/* ---- the end of a worker ---- */

static void free_peer(struct remote_peer *peer)
{
	struct remote_host *host = peer->host;

	loop_timer_cancel(&peer->greeting);
	loop_timer_cancel(&peer->last_words);
	loop_cancel(host->config.control, &peer->over);
	gpadl_table_destroy(peer->gpadls);
	if (peer->board) {
		munmap((void *)(uintptr_t)peer->board, sizeof(*peer->board));
	}
	for (unsigned int i = 0; i < peer->sint_count; i++) {
		close(peer->sint_fds[i]);
	}
	mem_destroy(peer->mem);
	remote_socket_close(&peer->socket); /* last: see above */
	list_remove(&peer->link);
	host->peer_count--;
	free(peer);
	if (host->is_returning && host->peer_count == 0 && host->returned) {
		loop_post(host->config.control, host->returned);
		host->returned = NULL;
	}
}

static bool has_loans(const struct remote_peer *peer)
{
	for (unsigned int i = 0; i < REMOTE_DEVICES_MAX; i++) {
		if (peer->loans[i]) {
			return true;
		}
	}
	return false;
}

static void on_over(struct loop_work *work)
{
	struct remote_peer *peer = container_of(work, struct remote_peer, over);

	if (!peer->is_over || has_loans(peer)) {
		return;
	}
	if (remote_socket_is_open(&peer->socket) && peer->socket.queued > 0 &&
	    peer->last_tries++ < LAST_WORDS_TRIES) {
		loop_timer_arm(&peer->last_words, LAST_WORDS_NS);
		return;
	}
	free_peer(peer);
}

static void on_last_words(struct loop_timer *timer)
{
	struct remote_peer *peer = container_of(timer, struct remote_peer, last_words);

	loop_post(peer->host->config.control, &peer->over);
}

void remote_peer_let_go(struct remote_peer *peer)
{
	if (peer->is_over) {
		loop_post(peer->host->config.control, &peer->over);
	}
}

/* Nothing is taken from it any more; it goes when all its loans have. */
static void end_peer(struct remote_peer *peer, enum remote_return_reason reason, uint32_t retry_ms,
		     const char *text)
{
	if (peer->is_over) {
		return;
	}
	peer->is_over = true;
	loop_timer_cancel(&peer->greeting);
	for (unsigned int i = 0; i < REMOTE_DEVICES_MAX; i++) {
		if (peer->loans[i]) {
			loan_stop(peer->loans[i], reason, retry_ms, text);
		}
	}
	remote_peer_let_go(peer);
}

static void on_ended(void *ctx)
{
	end_peer(ctx, REMOTE_RETURN_SHUTDOWN, 0, "");
}

static void on_broken(void *ctx, int err)
{
	struct remote_peer *peer = ctx;

	log_guest(&peer->host->log_rate, "remote", "worker %d (%s): hung up: %s", (int)peer->pid,
		  peer->name, strerror(-err));
	end_peer(peer, REMOTE_RETURN_SHUTDOWN, 0, "");
}

/* ---- HELLO ---- */

static int import_memory(struct remote_peer *peer, const struct remote_hello *hello, int *fds,
			 struct diag *why)
{
	struct mem_range ranges[REMOTE_RANGES_MAX] = { 0 };

	for (uint32_t i = 0; i < hello->range_count; i++) {
		ranges[i].gpa = hello->ranges[i].gpa;
		ranges[i].bytes = hello->ranges[i].bytes;
		ranges[i].fd_offset = hello->ranges[i].fd_offset;
	}
	return mem_import(steal_fd(&fds[0]), ranges, hello->range_count, &peer->mem, why);
}

static int map_board(struct remote_peer *peer, int fd, struct diag *why)
{
	void *board;
	int err = mem_check_sealed(fd, REMOTE_BOARD_BYTES);

	if (err) {
		return diag_set(why, err, "the board is no sealed memfd of its size");
	}
	board = mmap(NULL, REMOTE_BOARD_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (board == MAP_FAILED) {
		return diag_set(why, -ENOMEM, "the board cannot be mapped");
	}
	peer->board = board;
	if (peer->board->magic != REMOTE_BOARD_MAGIC ||
	    peer->board->version != REMOTE_BOARD_VERSION) {
		return diag_set(why, -EPROTONOSUPPORT, "the board is of another version");
	}
	return 0;
}

static int take_sints(struct remote_peer *peer, int *fds, uint32_t vps, struct diag *why)
{
	if (!remote_peer_take_fds(peer, vps)) {
		return diag_set(why, -EMFILE, "more interrupts than it may have descriptors");
	}
	for (uint32_t i = 0; i < vps; i++) {
		if (!remote_host_is_eventfd(peer->host, fds[i])) {
			return diag_set(why, -EPERM, "an interrupt that is no eventfd");
		}
		peer->sint_fds[peer->sint_count++] = steal_fd(&fds[i]);
	}
	return 0;
}

static void on_gpadl_gone(void *ctx, uint32_t id)
{
	(void)ctx;
	(void)id;
}

static int greet(struct remote_peer *peer, const struct remote_hello *hello, int *fds,
		 struct diag *why)
{
	if (hello->version_min > REMOTE_VERSION || hello->version_max < REMOTE_VERSION) {
		return diag_set(why, -EPROTONOSUPPORT, "no common version: here it is %d",
				REMOTE_VERSION);
	}
	memcpy(peer->name, hello->name, sizeof(peer->name));
	memcpy(peer->uuid, hello->uuid, sizeof(peer->uuid));
	peer->vps = hello->vps;
	int err = import_memory(peer, hello, fds, why);

	if (!err) {
		err = map_board(peer, fds[1], why);
	}
	if (!err) {
		err = take_sints(peer, fds + 2, hello->vps, why);
	}
	if (!err) {
		err = gpadl_table_create(peer->mem, peer->host->config.control, on_gpadl_gone, peer,
					 &peer->gpadls);
	}
	if (!err) {
		remote_synic_init(&peer->synic, peer->mem, peer->board, peer->vps, peer->sint_fds);
	}
	return err;
}

static int on_hello(struct remote_peer *peer, const struct remote_hello *hello, int *fds)
{
	const struct remote_host_config *config = &peer->host->config;
	struct remote_message message = { .type = REMOTE_MSG_WELCOME,
					  .device = REMOTE_DEVICE_CONNECTION };
	struct diag why = { "" };

	if (peer->is_greeted) {
		return -EPROTO;
	}
	int err = greet(peer, hello, fds, &why);

	message.welcome.version = REMOTE_VERSION;
	message.welcome.status = err;
	message.welcome.devices_max = config->devices_max;
	message.welcome.channels_max = REMOTE_CHANNELS_MAX;
	remote_copy_text(message.welcome.text, sizeof(message.welcome.text), why.text);
	remote_socket_send(&peer->socket, &message, NULL, 0);
	if (err) {
		log_guest(&peer->host->log_rate, "remote", "worker %d is refused: %s",
			  (int)peer->pid, why.text);
		end_peer(peer, REMOTE_RETURN_SHUTDOWN, 0, "");
		return 0;
	}
	loop_timer_cancel(&peer->greeting);
	peer->is_greeted = true;
	return 0;
}

/* ---- messages ---- */

static int on_message(void *ctx, const struct remote_message *message, int *fds,
		      unsigned int fd_count, pid_t pid)
{
	struct remote_peer *peer = ctx;

	(void)fd_count;
	(void)pid;
	if (peer->is_over) {
		return 0;
	}
	if (message->type == REMOTE_MSG_HELLO) {
		return on_hello(peer, &message->hello, fds);
	}
	if (!peer->is_greeted) {
		return -EPROTO;
	}
	if (message->type == REMOTE_MSG_PING) {
		struct remote_message pong = { .type = REMOTE_MSG_PONG,
					       .device = message->device,
					       .serial = message->serial };

		remote_socket_send(&peer->socket, &pong, NULL, 0);
		return 0;
	}
	return loan_on_message(peer, message, fds);
}

static const struct remote_socket_ops socket_ops = {
	.on_message = on_message,
	.on_broken = on_broken,
	.on_ended = on_ended,
	.hangs_up_silently = true, /* the worker would take it for the end: see above */
};

/* ---- a worker connects ---- */

static void on_greeting_limit(struct loop_timer *timer)
{
	struct remote_peer *peer = container_of(timer, struct remote_peer, greeting);

	end_peer(peer, REMOTE_RETURN_SHUTDOWN, 0, "");
}

static int add_peer(struct remote_host *host, int fd)
{
	struct remote_peer *peer = fault_alloc(1, sizeof(*peer));
	struct ucred ucred = { 0 };
	socklen_t length = sizeof(ucred);

	if (!peer) {
		return -ENOMEM;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &ucred, &length) != 0) {
		free(peer);
		return -errno;
	}
	peer->host = host;
	peer->fds = 2; /* its connection, its memory */
	peer->uid = ucred.uid;
	peer->pid = ucred.pid;
	loop_work_init(&peer->over, on_over);
	loop_timer_init(&peer->greeting, host->config.control, on_greeting_limit);
	loop_timer_init(&peer->last_words, host->config.control, on_last_words);
	int err = remote_socket_open(&peer->socket, host->config.control, fd, &socket_ops, peer);

	if (err) {
		free(peer);
		return err;
	}
	list_append(&host->peers, &peer->link);
	host->peer_count++;
	host->accepted++;
	loop_timer_arm(&peer->greeting, GREETING_LIMIT_NS);
	return 0;
}

static void on_connection(struct listener *listener, int fd_take)
{
	struct remote_host *host = container_of(listener, struct remote_host, listener);

	if (host->peer_count >= host->config.workers_max || add_peer(host, fd_take)) {
		host->turned_away++;
		close(fd_take);
	}
}

/* ---- for the assembly ---- */

int remote_host_create(const struct remote_host_config *config, struct remote_host **ret)
{
	struct remote_host *host = fault_alloc(1, sizeof(*host));
	int err;

	if (!host) {
		return -ENOMEM;
	}
	host->config = *config;
	list_init(&host->peers);
	host->config.workers_max =
		config->workers_max ? config->workers_max : REMOTE_HOST_WORKERS_MAX;
	host->config.devices_max = (uint32_t)num_min(config->devices_max ? config->devices_max
									 : REMOTE_HOST_DEVICES_MAX,
						     REMOTE_DEVICES_MAX);
	host->config.mappings_max =
		config->mappings_max ? config->mappings_max : REMOTE_HOST_MAPPINGS_MAX;
	host->config.lends_per_second =
		config->lends_per_second ? config->lends_per_second : REMOTE_HOST_LENDS_PER_SECOND;
	host->config.fds_max = config->fds_max ? config->fds_max : REMOTE_HOST_FDS_MAX;
	share_fds(&host->config);
	check(host->config.fds_max >= 2);
	host->proc_fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = host->proc_fd < 0 ? -errno
				: listener_start(&host->listener, config->control,
						 config->listen_fd, on_connection);
	if (err) {
		if (host->proc_fd >= 0) {
			close(host->proc_fd);
		}
		free(host);
		return err;
	}
	*ret = host;
	return 0;
}

void remote_host_destroy(struct remote_host *host)
{
	if (!host) {
		return;
	}
	check(list_is_empty(&host->peers));
	listener_stop(&host->listener);
	close(host->config.listen_fd);
	close(host->proc_fd);
	free(host);
}

static struct loan *find_loan(const struct remote_host *host, const struct vmbus_device *device)
{
	list_for_each (it, &host->peers) {
		const struct remote_peer *peer = list_entry(it, struct remote_peer, link);

		for (unsigned int i = 0; i < REMOTE_DEVICES_MAX; i++) {
			if (peer->loans[i] && peer->loans[i]->device == device) {
				return peer->loans[i];
			}
		}
	}
	return NULL;
}

void remote_host_return(struct remote_host *host, struct vmbus_device *device,
			enum remote_return_reason reason, const char *text)
{
	struct loan *loan = find_loan(host, device);

	check(loan);
	loan_stop(loan, reason, 0, text);
}

void remote_host_return_all(struct remote_host *host, enum remote_return_reason reason,
			    uint32_t retry_ms, struct loop_work *done)
{
	check(!host->is_returning);
	host->is_returning = true;
	listener_stop(&host->listener);
	if (host->peer_count == 0) {
		loop_post(host->config.control, done);
		return;
	}
	host->returned = done;
	list_for_each (it, &host->peers) {
		end_peer(list_entry(it, struct remote_peer, link), reason, retry_ms,
			 "the host gives everything back");
	}
}

const struct remote_loan *remote_host_loan(const struct remote_host *host,
					   const struct vmbus_device *device)
{
	const struct loan *loan = find_loan(host, device);

	return loan ? &loan->info : NULL;
}

void remote_host_inspect(struct remote_host *host, struct inspect *at)
{
	inspect_u64(at, "accepted", host->accepted);
	inspect_u64(at, "turned_away", host->turned_away);
	list_for_each (it, &host->peers) {
		const struct remote_peer *peer = list_entry(it, struct remote_peer, link);
		struct inspect item = inspect_item(at, "workers");

		inspect_string(&item, "name", peer->name);
		inspect_u64(&item, "pid", (uint64_t)peer->pid);
		inspect_u64(&item, "uid", peer->uid);
		inspect_u64(&item, "descriptors", peer->fds);
		inspect_u64(&item, "lends", peer->lends);
		inspect_u64(&item, "refusals", peer->refusals);
		for (unsigned int i = 0; i < REMOTE_DEVICES_MAX; i++) {
			if (peer->loans[i]) {
				struct inspect device = inspect_item(&item, "devices");

				loan_inspect(peer->loans[i], &device);
			}
		}
	}
}

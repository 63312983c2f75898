/* SPDX-License-Identifier: MIT */
#include "ext/ext_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"

#define RING_MASK        (VSEXT_RING - 1U)
#define WELCOME_MS       5000
#define BELL_BYTES       256U
#define SOCKET_EVERY     1024U /* frames: then the socket is looked at, too */
#define CHANGED_BYTES(c) ((c)->kind == VSEXT_FILTER ? VSEXT_ANSWERS_BYTES : VSEXT_ANSWERS_CHANGED)

struct client_core {
	const struct vsext_asks *asks;
	const struct vsext_ask *ask_ring;
	const uint8_t *slots;
	struct vsext_answers *answers;
	struct vsext_answer *answer_ring;
	uint8_t *changed; /* NULL: no filter */
	int bell;
	uint32_t consumed, produced;
	uint32_t rung_for; /* which sleep of the switch's */
};

struct ext_client {
	enum vsext_kind kind;
	int fd;
	unsigned int cores, turn;
	struct client_core core[VSEXT_CORES_MAX];
	void *asks, *answers; /* mapped */
	size_t asks_bytes, answers_bytes;
	uint32_t sleeps, since;
	uint32_t deadline_us;
	struct vsext_port ports[VSEXT_PORTS_MAX];
	uint64_t ports_seen;
};

/* ---- connecting -------------------------------------------------------------------------------- */

/* As the switch's own program has it (docs/man/tabique-switch.1). */
static int find_path(const char *where, char *ret, size_t bytes, struct diag *reterr)
{
	const char *chosen = getenv("TABIQUE_SWITCH_DIR"), *run = getenv("XDG_RUNTIME_DIR");
	int n;

	if (strchr(where, '/')) {
		n = snprintf(ret, bytes, "%s", where);
	} else if (chosen && *chosen) {
		n = snprintf(ret, bytes, "%s/%s.ext", chosen, where);
	} else if (geteuid() == 0) {
		n = snprintf(ret, bytes, "/run/tabique/switch/%s.ext", where);
	} else if (run && *run) {
		n = snprintf(ret, bytes, "%s/tabique/switch/%s.ext", run, where);
	} else {
		return diag_set(
			reterr, -ENOENT,
			"XDG_RUNTIME_DIR is not set, so there is no place for switches: set "
			"it, or TABIQUE_SWITCH_DIR");
	}
	if (n < 0 || (size_t)n >= bytes) {
		return diag_set(reterr, -ENAMETOOLONG, "%s is too long for a socket's name", where);
	}
	return 0;
}

static int dial(const char *where, int *ret, struct diag *reterr)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	auto_close int fd = -1;
	int err = find_path(where, address.sun_path, sizeof(address.sun_path), reterr);

	if (err) {
		return err;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return diag_set(reterr, -errno, "cannot make a socket: %s", strerror(errno));
	}
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
		return diag_set(reterr, -errno, "cannot connect to the switch at %s: %s",
				address.sun_path, strerror(errno));
	}
	*ret = steal_fd(&fd);
	return 0;
}

static void copy_name(char to[VSEXT_NAME_BYTES], const char *from)
{
	snprintf(to, VSEXT_NAME_BYTES, "%s", from ? from : "");
}

static int say_hello(int fd, const struct ext_client_config *config, struct diag *reterr)
{
	struct vsext_hello hello = {
		.header = { VSEXT_MSG_HELLO, 0, sizeof(hello) },
		.version = VSEXT_VERSION,
		.kind = (uint8_t)config->kind,
		.directions = config->directions,
		.snaplen = config->snaplen,
		.match = config->match,
		.vlan = config->vlan,
		.ethertype = config->ethertype,
		.l4_port = config->l4_port,
		.protocol = config->protocol,
		.no_drops = config->no_drops,
	};

	memcpy(hello.to, config->to, sizeof(hello.to));
	copy_name(hello.port, config->port);
	copy_name(hello.name, config->name);
	if (send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) != (ssize_t)sizeof(hello)) {
		return diag_set(reterr, -errno, "cannot speak to the switch: %s", strerror(errno));
	}
	return 0;
}

/* WELCOME and its descriptors; *ret_count of them have come in any case. */
static int hear_welcome(int fd, struct vsext_welcome *ret, int fds[VSEXT_FDS_MAX],
			unsigned int *ret_count, struct diag *reterr)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(VSEXT_FDS_MAX * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { ret, sizeof(*ret) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.bytes,
			      .msg_controllen = sizeof(control.bytes) };
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	ssize_t bytes;

	if (poll(&wait, 1, WELCOME_MS) != 1) {
		return diag_set(reterr, -ETIMEDOUT, "the switch does not answer");
	}
	bytes = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); bytes >= 0 && c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			*ret_count = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(fds, CMSG_DATA(c), *ret_count * sizeof(int));
		}
	}
	if (bytes < (ssize_t)sizeof(*ret) || ret->header.type != VSEXT_MSG_WELCOME ||
	    ret->version != VSEXT_VERSION) {
		return diag_set(reterr, -EPROTO, "what answers is no switch");
	}
	if (ret->status) {
		return diag_set(reterr, ret->status, "the switch says no: %.63s", ret->text);
	}
	return 0;
}

static void set_core(struct ext_client *client, unsigned int index)
{
	struct client_core *core = &client->core[index];
	const uint8_t *asks = (const uint8_t *)client->asks + (size_t)index * VSEXT_ASKS_BYTES;
	uint8_t *answers = (uint8_t *)client->answers + (size_t)index * CHANGED_BYTES(client);

	core->asks = (const struct vsext_asks *)asks;
	core->ask_ring = (const struct vsext_ask *)(asks + VSEXT_HEADER_BYTES);
	core->slots = asks + VSEXT_ASKS_SLOTS;
	core->answers = (struct vsext_answers *)answers;
	core->answer_ring = (struct vsext_answer *)(answers + VSEXT_HEADER_BYTES);
	core->changed = client->kind == VSEXT_FILTER ? answers + VSEXT_ANSWERS_CHANGED : NULL;
}

/* Takes the doorbells out of fds. */
static int map(struct ext_client *client, const struct vsext_welcome *welcome, int *fds,
	       unsigned int count, struct diag *reterr)
{
	if (welcome->cores == 0 || welcome->cores > VSEXT_CORES_MAX ||
	    count != 2 + welcome->cores || welcome->asks_bytes != VSEXT_ASKS_BYTES ||
	    welcome->answers_bytes != CHANGED_BYTES(client)) {
		return diag_set(reterr, -EPROTO, "the switch's WELCOME makes no sense");
	}
	client->cores = welcome->cores;
	client->asks_bytes = (size_t)welcome->cores * VSEXT_ASKS_BYTES;
	client->answers_bytes = (size_t)welcome->cores * CHANGED_BYTES(client);
	client->deadline_us = welcome->deadline_us;
	client->asks = mmap(NULL, client->asks_bytes, PROT_READ, MAP_SHARED, fds[0], 0);
	client->answers =
		mmap(NULL, client->answers_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
	if (client->asks == MAP_FAILED || client->answers == MAP_FAILED) {
		return diag_set(reterr, -errno, "cannot map the switch's memory: %s",
				strerror(errno));
	}
	for (unsigned int i = 0; i < client->cores; i++) {
		set_core(client, i);
		client->core[i].bell = steal_fd(&fds[2 + i]);
	}
	return 0;
}

int ext_client_open(const char *where, const struct ext_client_config *config,
		    struct ext_client **ret, struct diag *reterr)
{
	struct ext_client *client = fault_alloc(1, sizeof(*client));
	int fds[VSEXT_FDS_MAX], err;
	struct vsext_welcome welcome;
	unsigned int count = 0;
	struct timespec now;

	if (!client) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	client->ports_seen = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec + 1;
	client->kind = config->kind;
	client->fd = -1;
	client->asks = client->answers = MAP_FAILED;
	for (unsigned int i = 0; i < VSEXT_CORES_MAX; i++) {
		client->core[i].bell = -1;
	}
	err = dial(where, &client->fd, reterr);
	err = err ? err : say_hello(client->fd, config, reterr);
	err = err ? err : hear_welcome(client->fd, &welcome, fds, &count, reterr);
	err = err ? err : map(client, &welcome, fds, count, reterr);
	for (unsigned int i = 0; i < count; i++) {
		cleanup_close(&fds[i]);
	}
	if (err) {
		ext_client_close(client);
		return err;
	}
	*ret = client;
	return 0;
}

void ext_client_close(struct ext_client *client)
{
	if (!client) {
		return;
	}
	if (client->asks != MAP_FAILED) {
		munmap(client->asks, client->asks_bytes);
	}
	if (client->answers != MAP_FAILED) {
		munmap(client->answers, client->answers_bytes);
	}
	for (unsigned int i = 0; i < VSEXT_CORES_MAX; i++) {
		cleanup_close(&client->core[i].bell);
	}
	cleanup_close(&client->fd);
	free(client);
}

/* ---- ports ------------------------------------------------------------------------------------- */

static int take_ports(struct ext_client *client, const uint8_t *message, size_t bytes)
{
	struct vsext_ports head;

	if (bytes < sizeof(head)) {
		return -EPROTO;
	}
	memcpy(&head, message, sizeof(head));
	if (head.header.type != VSEXT_MSG_PORTS) {
		return 0; /* of a later version */
	}
	if (head.count > VSEXT_PORTS_MAX ||
	    bytes < sizeof(head) + head.count * sizeof(struct vsext_port)) {
		return -EPROTO;
	}
	for (uint32_t i = 0; i < head.count; i++) {
		struct vsext_port port;

		memcpy(&port, message + sizeof(head) + i * sizeof(port), sizeof(port));
		if (port.port >= VSEXT_PORTS_MAX) {
			return -EPROTO;
		}
		port.name[sizeof(port.name) - 1] = '\0';
		client->ports[port.port] = port;
	}
	client->ports_seen++;
	return 0;
}

/* All that has come, without waiting. 0; -EPIPE, -EPROTO. */
static int read_socket(struct ext_client *client)
{
	uint8_t message[VSEXT_MESSAGE_BYTES_MAX];

	client->since = 0;
	for (;;) {
		ssize_t bytes = recv(client->fd, message, sizeof(message), MSG_DONTWAIT);

		if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) {
			return 0;
		}
		if (bytes <= 0) {
			return -EPIPE;
		}
		if (take_ports(client, message, (size_t)bytes)) {
			return -EPROTO;
		}
	}
}

const struct vsext_port *ext_client_port(struct ext_client *client, uint16_t port)
{
	if (port >= VSEXT_PORTS_MAX) {
		return NULL;
	}
	if (!client->ports[port].flags) {
		/* Its first frame may be here before its name. */
		(void)!read_socket(client);
	}
	return client->ports[port].flags ? &client->ports[port] : NULL;
}

int ext_client_find_port(struct ext_client *client, const char *name)
{
	for (unsigned int i = 0; i < VSEXT_PORTS_MAX; i++) {
		if (client->ports[i].flags && strcmp(client->ports[i].name, name) == 0) {
			return (int)i;
		}
	}
	return -1;
}

uint64_t ext_client_ports_seen(const struct ext_client *client)
{
	return client->ports_seen;
}

/* ---- frames ------------------------------------------------------------------------------------ */

static bool has_asks(const struct client_core *core)
{
	return atomic_load_explicit(&core->asks->produced, memory_order_acquire) != core->consumed;
}

static void take(struct ext_client *client, unsigned int index, struct ext_frame *ret)
{
	struct client_core *core = &client->core[index];
	struct vsext_ask ask = core->ask_ring[core->consumed++ & RING_MASK];
	const uint8_t *slot = core->slots + vsext_slot_offset(ask.slot % VSEXT_SLOTS);

	*ret = (struct ext_frame){
		.slot = (const struct vsext_slot *)slot,
		.bytes = slot + sizeof(struct vsext_slot),
		.room = vsext_slot_room(ask.slot % VSEXT_SLOTS),
		.core = index,
		.index = ask.slot % VSEXT_SLOTS,
		.seq = ask.seq,
	};
	if (core->changed) {
		ret->changed = core->changed + vsext_slot_offset(ret->index);
	}
}

/* The cores take turns. */
static bool find(struct ext_client *client, struct ext_frame *ret)
{
	for (unsigned int i = 0; i < client->cores; i++) {
		unsigned int index = (client->turn + i) % client->cores;

		/* Pairs with the switch's release. */
		if (has_asks(&client->core[index])) {
			client->turn = index + 1;
			take(client, index, ret);
			return true;
		}
	}
	return false;
}

/* Says so to all cores. Whether something has come meanwhile. */
static bool fall_asleep(struct ext_client *client)
{
	bool any = false;

	client->sleeps += client->sleeps == UINT32_MAX ? 2 : 1;
	for (unsigned int i = 0; i < client->cores; i++) {
		atomic_store_explicit(&client->core[i].answers->sleeping, client->sleeps,
				      memory_order_relaxed);
	}
	/* Pairs with the switch's: it asks, then looks whether we sleep. */
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned int i = 0; i < client->cores; i++) {
		any |= has_asks(&client->core[i]);
	}
	return any;
}

static void wake_up(struct ext_client *client)
{
	for (unsigned int i = 0; i < client->cores; i++) {
		atomic_store_explicit(&client->core[i].answers->sleeping, 0, memory_order_relaxed);
	}
}

/* Until something comes. 1: something has; 0: nothing, or a signal; -EPIPE, -EPROTO. */
static int sleep_until(struct ext_client *client, int timeout_ms)
{
	struct pollfd waits[VSEXT_CORES_MAX + 1];
	uint8_t bytes[BELL_BYTES];
	int n;

	for (unsigned int i = 0; i < client->cores; i++) {
		waits[i] = (struct pollfd){ .fd = client->core[i].bell, .events = POLLIN };
	}
	waits[client->cores] = (struct pollfd){ .fd = client->fd, .events = POLLIN };
	n = poll(waits, client->cores + 1, timeout_ms);
	if (n <= 0) {
		return 0;
	}
	for (unsigned int i = 0; i < client->cores; i++) {
		if (waits[i].revents) {
			(void)!recv(waits[i].fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		}
	}
	if (waits[client->cores].revents) {
		int err = read_socket(client);

		return err ? err : 1;
	}
	return 1;
}

int ext_client_next(struct ext_client *client, int timeout_ms, struct ext_frame *ret)
{
	int err = ++client->since >= SOCKET_EVERY ? read_socket(client) : 0;

	while (!err) {
		int woken = 1;

		if (find(client, ret)) {
			return 1;
		}
		if (!fall_asleep(client)) {
			woken = sleep_until(client, timeout_ms);
		}
		wake_up(client);
		if (woken <= 0) {
			return woken;
		}
	}
	return err;
}

/* ---- answers ----------------------------------------------------------------------------------- */

static void answer(struct ext_client *client, const struct ext_frame *frame,
		   const struct vsext_answer *answer)
{
	struct client_core *core = &client->core[frame->core];
	uint32_t sleep;

	core->answer_ring[core->produced & RING_MASK] = *answer;
	atomic_store_explicit(&core->answers->produced, ++core->produced, memory_order_release);
	/* Pairs with the switch's: it says that it sleeps, then looks once more. */
	atomic_thread_fence(memory_order_seq_cst);
	sleep = atomic_load_explicit(&core->asks->sleeping, memory_order_relaxed);
	if (sleep != 0 && sleep != core->rung_for) {
		core->rung_for = sleep;
		(void)!send(core->bell, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

void ext_client_pass(struct ext_client *client, const struct ext_frame *frame)
{
	struct vsext_answer a = { .slot = frame->index, .seq = frame->seq, .verdict = VSEXT_PASS };

	answer(client, frame, &a);
}

void ext_client_drop(struct ext_client *client, const struct ext_frame *frame)
{
	struct vsext_answer a = { .slot = frame->index, .seq = frame->seq, .verdict = VSEXT_DROP };

	answer(client, frame, &a);
}

void ext_client_change(struct ext_client *client, const struct ext_frame *frame, uint32_t bytes)
{
	struct vsext_answer a = {
		.slot = frame->index, .seq = frame->seq, .verdict = VSEXT_CHANGED, .bytes = bytes
	};

	answer(client, frame, &a);
}

void ext_client_send(struct ext_client *client, const struct ext_frame *frame,
		     const uint64_t ports[VSEXT_PORTS_MAX / 64])
{
	struct vsext_answer a = { .slot = frame->index, .seq = frame->seq, .verdict = VSEXT_SEND };

	memcpy(a.to, ports, sizeof(a.to));
	answer(client, frame, &a);
}

/* ---- facts ------------------------------------------------------------------------------------- */

uint32_t ext_client_deadline_us(const struct ext_client *client)
{
	return client->deadline_us;
}

uint64_t ext_client_lost(const struct ext_client *client)
{
	uint64_t lost = 0;

	for (unsigned int i = 0; i < client->cores; i++) {
		lost += atomic_load_explicit(&client->core[i].asks->lost, memory_order_relaxed);
	}
	return lost;
}

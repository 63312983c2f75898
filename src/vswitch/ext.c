/* SPDX-License-Identifier: MIT */
/*
 * The control loop's half: extensions connect, are told the ports, and leave.
 *
 *   accept ─► (waits for HELLO, 5 s) ─► open on all cores ─► EOF, nonsense, exts_remove(): closed on all
 */
#include "vswitch/ext.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/shared.h"
#include "vswitch/core_internal.h"
#include "vswitch/ext_internal.h"

#define AREA "ext"

/* ---- leaving ----------------------------------------------------------------------------------- */

static void close_half(struct core *core, void *arg)
{
	struct ext *ext = arg;

	if (ext->halves[core_index(core)]) {
		ext_half_close(ext->halves[core_index(core)]);
	}
}

static void free_ext(struct ext *ext)
{
	for (unsigned int i = 0; i < VSWITCH_CORES_MAX; i++) {
		if (ext->halves[i] && ext->halves[i]->bell >= 0) {
			close(ext->halves[i]->bell);
		}
		free(ext->halves[i]);
	}
	if (ext->asks) {
		munmap(ext->asks, ext->asks_bytes);
	}
	if (ext->answers) {
		munmap(ext->answers, ext->answers_bytes);
	}
	close(ext->fd);
	free(ext);
}

static void remove_ext(struct ext *ext, const char *why)
{
	struct exts *exts = ext->exts;

	if (ext->has_hello) {
		log_info(AREA, "%s: %s", ext->hello.name, why);
	}
	loop_timer_cancel(&ext->timer);
	loop_watch_stop(&ext->watch);
	vswitch_on_cores(exts->config.vswitch, close_half, ext);
	/* No core knows it any more. */
	loop_cancel(exts->config.control, &ext->broken_work);
	list_remove(&ext->link);
	exts->count--;
	if (ext->has_hello && !exts->is_stopped) {
		loop_post(exts->config.control, &exts->stages_work);
	}
	free_ext(ext);
}

static void on_broken(struct loop_work *work)
{
	remove_ext(container_of(work, struct ext, broken_work), "disconnected, it spoke nonsense");
}

void ext_is_broken(struct ext *ext)
{
	loop_post(ext->exts->config.control, &ext->broken_work);
}

static void on_silent(struct loop_timer *timer)
{
	remove_ext(container_of(timer, struct ext, timer), "said no HELLO");
}

/* ---- ports ------------------------------------------------------------------------------------- */

static uint16_t port_flags(const struct vswitch *vswitch, unsigned int port)
{
	const struct port_policy *policy = &vswitch_policy(vswitch)->ports[port];
	const struct port *state = vswitch->ports[port];
	const struct port_view *view = state ? &state->views[state->current] : NULL;

	if (!state || !policy->is_used) {
		return 0;
	}
	if (!policy->link ||
	    (policy->kind != PORT_TEAM && (!state->has_view || (view->is_wire && !view->link)))) {
		return VSEXT_PORT_HERE;
	}
	return VSEXT_PORT_HERE | VSEXT_PORT_LINK;
}

static void read_ports(struct exts *exts)
{
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		struct vsext_port *port = &exts->ports[i];
		const char *name = vswitch_port_name(exts->config.vswitch, (uint16_t)i);

		*port = (struct vsext_port){ .port = (uint16_t)i };
		port->flags = port_flags(exts->config.vswitch, i);
		if (port->flags && name) {
			snprintf(port->name, sizeof(port->name), "%s", name);
		}
	}
}

/* What it does not know yet. Its socket full: when there is room again. */
static void tell_ports(struct ext *ext)
{
	const struct exts *exts = ext->exts;
	struct {
		struct vsext_ports head;
		struct vsext_port ports[VSEXT_PORTS_MAX];
	} __attribute__((packed)) message;
	uint32_t count = 0, bytes;

	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		if (memcmp(&ext->told[i], &exts->ports[i], sizeof(ext->told[i])) != 0) {
			message.ports[count++] = exts->ports[i];
		}
	}
	ext->must_tell = false;
	if (count == 0) {
		return;
	}
	bytes = (uint32_t)(sizeof(message.head) + count * sizeof(message.ports[0]));
	message.head =
		(struct vsext_ports){ .header = { VSEXT_MSG_PORTS, 0, bytes }, .count = count };
	if (send(ext->fd, &message, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)bytes) {
		ext->must_tell = true; /* gone: its EOF comes */
		return;
	}
	memcpy(ext->told, exts->ports, sizeof(ext->told));
}

struct ports_change {
	struct ext *ext;
	port_set ports;
};

static void set_ports(struct core *core, void *arg)
{
	struct ports_change *change = arg;

	change->ext->halves[core_index(core)]->ports = change->ports;
}

/* The ports that its HELLO is about. Whether that is another set. */
static bool match_ports(struct ext *ext)
{
	struct ports_change change = { .ext = ext };

	if (!(ext->hello.match & VSEXT_MATCH_PORT)) {
		return false;
	}
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		const struct vsext_port *port = &ext->exts->ports[i];

		if (port->flags && strcmp(port->name, ext->hello.port) == 0) {
			port_set_add(&change.ports, i);
		}
	}
	if (memcmp(&ext->halves[0]->ports, &change.ports, sizeof(change.ports)) == 0) {
		return false;
	}
	vswitch_on_cores(ext->exts->config.vswitch, set_ports, &change);
	return true;
}

void exts_ports_changed(struct exts *exts)
{
	bool changed = false;

	read_ports(exts);
	list_for_each (it, &exts->list) {
		struct ext *ext = list_entry(it, struct ext, link);

		if (ext->has_hello) {
			changed |= match_ports(ext);
			tell_ports(ext);
		}
	}
	if (changed) {
		loop_post(exts->config.control, &exts->stages_work);
	}
}

/* ---- HELLO ------------------------------------------------------------------------------------- */

static int make_memory(const char *name, size_t bytes, unsigned int seals, void **ret, int *ret_fd)
{
	if (fault_point() || shared_create(name, bytes, seals, ret, ret_fd)) {
		return -ENOMEM;
	}
	return 0;
}

static uint32_t answers_bytes(const struct ext *ext)
{
	/* Only a filter changes bytes. */
	return ext->hello.kind == VSEXT_FILTER ? VSEXT_ANSWERS_BYTES : VSEXT_ANSWERS_CHANGED;
}

static int make_half(struct ext *ext, unsigned int index, int *ret_bell)
{
	struct ext_half *half = fault_alloc(1, sizeof(*half));
	uint8_t *asks = (uint8_t *)ext->asks + (size_t)index * VSEXT_ASKS_BYTES;
	const uint8_t *answers = (uint8_t *)ext->answers + (size_t)index * answers_bytes(ext);
	int bells[2];

	if (!half) {
		return -ENOMEM;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, bells)) {
		free(half);
		return -errno;
	}
	half->ext = ext;
	half->exts = &ext->exts->cores[index];
	half->bell = bells[0];
	half->asks = (struct vsext_asks *)asks;
	half->ask_ring = (struct vsext_ask *)(asks + VSEXT_HEADER_BYTES);
	half->slots = asks + VSEXT_ASKS_SLOTS;
	half->answers = (struct vsext_answers *)(uintptr_t)answers;
	half->answer_ring = (const struct vsext_answer *)(answers + VSEXT_HEADER_BYTES);
	half->changed = answers + VSEXT_ANSWERS_CHANGED;
	ext_half_init(half);
	ext->halves[index] = half;
	*ret_bell = bells[1];
	return 0;
}

/* Memory and halves; descriptors that the extension gets are in fds, *count of them, in any case. */
static int make_halves(struct ext *ext, int fds[VSEXT_FDS_MAX], unsigned int *count)
{
	unsigned int cores = vswitch_cores(ext->exts->config.vswitch);
	int err;

	ext->asks_bytes = (size_t)cores * VSEXT_ASKS_BYTES;
	ext->answers_bytes = (size_t)cores * answers_bytes(ext);
	err = make_memory("ext-asks", ext->asks_bytes, F_SEAL_FUTURE_WRITE, &ext->asks, &fds[0]);
	if (err) {
		return err;
	}
	*count = 1;
	err = make_memory("ext-answers", ext->answers_bytes, 0, &ext->answers, &fds[1]);
	if (err) {
		return err;
	}
	*count = 2;
	for (unsigned int i = 0; i < cores && !err; i++) {
		err = make_half(ext, i, &fds[*count]);
		*count += !err;
	}
	return err;
}

static int send_welcome(struct ext *ext, int status, const char *text, const int *fds,
			unsigned int count)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(VSEXT_FDS_MAX * sizeof(int))];
	} control = { 0 };
	struct vsext_welcome welcome = {
		.header = { VSEXT_MSG_WELCOME, 0, sizeof(welcome) },
		.version = VSEXT_VERSION,
		.status = status,
		.cores = vswitch_cores(ext->exts->config.vswitch),
		.asks_bytes = VSEXT_ASKS_BYTES,
		.answers_bytes = answers_bytes(ext),
	};
	struct iovec iov = { &welcome, sizeof(welcome) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (ext->hello.kind != VSEXT_CAPTURE) {
		welcome.deadline_us = (uint32_t)(ext->rules.deadline_ns / 1000);
	}
	snprintf(welcome.text, sizeof(welcome.text), "%.*s", VSEXT_NAME_BYTES - 1, text);
	shared_attach(&msg, control.bytes, fds, count);
	return sendmsg(ext->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

struct opening {
	struct ext *ext;
	int err;
};

static void open_half(struct core *core, void *arg)
{
	struct opening *opening = arg;

	if (!opening->err) {
		opening->err = ext_half_open(opening->ext->halves[core_index(core)], core);
	}
}

/* Whether there is a forwarder already, or this one may not connect. */
static int admit(struct ext *ext, struct diag *reterr)
{
	const struct exts *exts = ext->exts;
	int err = 0;

	if (ext->hello.kind == VSEXT_FORWARD) {
		list_for_each (it, &exts->list) {
			const struct ext *other = list_entry(it, struct ext, link);

			if (other->has_hello && other->hello.kind == VSEXT_FORWARD) {
				return diag_set(reterr, -EBUSY, "%s forwards here already",
						other->hello.name);
			}
		}
	}
	if (exts->config.events && exts->config.events->admit) {
		err = exts->config.events->admit(exts->config.ctx, ext->hello.name,
						 (enum vsext_kind)ext->hello.kind, ext->uid,
						 &ext->rules, reterr);
	}
	if (ext->rules.deadline_ns == 0) {
		ext->rules.deadline_ns = EXT_DEADLINE_NS;
	}
	if (ext->rules.deadline_ns > EXT_DEADLINE_MAX_NS) {
		ext->rules.deadline_ns = EXT_DEADLINE_MAX_NS;
	}
	return err;
}

/* At its place among the others, and on all cores. */
static int go(struct ext *ext)
{
	struct exts *exts = ext->exts;
	struct opening opening = { .ext = ext };
	struct list *at = &exts->list;

	list_remove(&ext->link);
	list_for_each (it, &exts->list) {
		if (list_entry(it, struct ext, link)->rules.position > ext->rules.position) {
			at = it;
			break;
		}
	}
	list_insert_before(at, &ext->link);
	ext->has_hello = true;
	for (unsigned int i = 0; i < VSWITCH_PORTS_MAX; i++) {
		ext->told[i].port = (uint16_t)i; /* and not there */
	}
	(void)match_ports(ext);
	vswitch_on_cores(exts->config.vswitch, open_half, &opening);
	if (!opening.err) {
		tell_ports(ext);
		loop_post(exts->config.control, &exts->stages_work);
		log_info(AREA, "%s: connected", ext->hello.name);
	}
	return opening.err;
}

/* What it says first. Otherwise it is removed. */
static int on_hello(struct ext *ext, const void *message, size_t bytes)
{
	int fds[VSEXT_FDS_MAX], err, said;
	unsigned int count = 0;
	struct diag diag;

	err = ext_parse_hello(message, bytes, &ext->hello, &diag);
	err = err ? err : admit(ext, &diag);
	if (!err) {
		err = make_halves(ext, fds, &count);
		if (err) {
			diag_set(&diag, err, "the switch has no memory for it");
		}
	}
	said = send_welcome(ext, err, err ? diag.text : "", fds, err ? 0 : count);
	for (unsigned int i = 0; i < count; i++) {
		close(fds[i]);
	}
	if (err) {
		log_info(AREA, "refused: %s", diag.text);
		return err;
	}
	loop_timer_cancel(&ext->timer);
	return said ? said : go(ext);
}

static void on_socket(struct loop_watch *watch, uint32_t poll_events)
{
	struct ext *ext = container_of(watch, struct ext, watch);
	uint8_t message[sizeof(struct vsext_hello) * 2];

	(void)poll_events;
	for (;;) {
		/* Without room for control messages: descriptors are thrown away by the kernel. */
		ssize_t bytes = recv(ext->fd, message, sizeof(message), MSG_DONTWAIT);

		if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) {
			break;
		}
		if (bytes <= 0) {
			remove_ext(ext, "has gone");
			return;
		}
		if (ext->has_hello || on_hello(ext, message, (size_t)bytes)) {
			remove_ext(ext, "disconnected");
			return;
		}
	}
	if (ext->must_tell) {
		tell_ports(ext);
	}
}

/* ---- connections ------------------------------------------------------------------------------- */

static void add_ext(struct exts *exts, int fd_take)
{
	struct ext *ext = exts->count < EXTS_MAX ? fault_alloc(1, sizeof(*ext)) : NULL;
	struct ucred cred = { .uid = (uid_t)-1 };
	socklen_t bytes = sizeof(cred);

	if (!ext) {
		close(fd_take);
		return;
	}
	(void)!getsockopt(fd_take, SOL_SOCKET, SO_PEERCRED, &cred, &bytes);
	ext->exts = exts;
	ext->fd = fd_take;
	ext->uid = cred.uid;
	ext->pid = cred.pid;
	loop_work_init(&ext->broken_work, on_broken);
	loop_timer_init(&ext->timer, exts->config.control, on_silent);
	if (loop_watch_start(exts->config.control, &ext->watch, ext->fd, POLLIN | POLLOUT,
			     on_socket)) {
		free_ext(ext);
		return;
	}
	loop_timer_arm(&ext->timer, EXT_HELLO_NS);
	list_append(&exts->list, &ext->link);
	exts->count++;
}

static void on_connection(struct listener *listener, int fd_take)
{
	add_ext(container_of(listener, struct exts, listener), fd_take);
}

static void on_stages(struct loop_work *work)
{
	struct exts *exts = container_of(work, struct exts, stages_work);

	if (exts->config.events && exts->config.events->stages_changed) {
		exts->config.events->stages_changed(exts->config.ctx);
	}
}

/* ---- life -------------------------------------------------------------------------------------- */

int exts_create(const struct exts_config *config, struct exts **ret)
{
	struct exts *exts = fault_alloc(1, sizeof(*exts));
	int err = exts ? 0 : -ENOMEM, fd = config->listen_fd;

	for (unsigned int i = 0; !err && i < vswitch_cores(config->vswitch); i++) {
		exts->cores[i].scratch = fault_alloc(1, NET_FRAME_BYTES_MAX);
		err = exts->cores[i].scratch ? 0 : -ENOMEM;
	}
	if (!err) {
		exts->config = *config;
		list_init(&exts->list);
		loop_work_init(&exts->stages_work, on_stages);
		(void)!fcntl(fd, F_SETFL, O_NONBLOCK);
		err = listener_start(&exts->listener, config->control, fd, on_connection);
	}
	if (err) {
		exts_destroy(exts);
		close(fd);
		return err;
	}
	read_ports(exts);
	*ret = exts;
	return 0;
}

void exts_stop(struct exts *exts)
{
	if (exts->is_stopped) {
		return;
	}
	exts->is_stopped = true;
	listener_stop(&exts->listener);
	close(exts->config.listen_fd);
	list_for_each_safe (it, &exts->list) {
		remove_ext(list_entry(it, struct ext, link), "the switch ends");
	}
	loop_cancel(exts->config.control, &exts->stages_work);
}

void exts_destroy(struct exts *exts)
{
	if (!exts) {
		return;
	}
	for (unsigned int i = 0; i < VSWITCH_CORES_MAX; i++) {
		free(exts->cores[i].scratch);
	}
	free(exts);
}

/* ---- what others ask --------------------------------------------------------------------------- */

static uint8_t stages_of(const struct ext *ext)
{
	uint8_t in = ext->hello.directions & VSEXT_IN, out = ext->hello.directions & VSEXT_OUT;

	switch ((enum vsext_kind)ext->hello.kind) {
	case VSEXT_CAPTURE:
		return (uint8_t)((in ? PORT_EXT_CAPTURE_IN : 0) | (out ? PORT_EXT_CAPTURE_OUT : 0));
	case VSEXT_FILTER:
		return (uint8_t)((in ? PORT_EXT_FILTER_IN : 0) | (out ? PORT_EXT_FILTER_OUT : 0));
	case VSEXT_FORWARD:
		return PORT_EXT_FORWARD;
	default:
		return 0;
	}
}

uint8_t exts_stages(const struct exts *exts, uint16_t port)
{
	uint8_t stages = 0;

	list_for_each (it, &exts->list) {
		const struct ext *ext = list_entry(it, struct ext, link);

		if (ext->has_hello && (!(ext->hello.match & VSEXT_MATCH_PORT) ||
				       port_set_has(&ext->halves[0]->ports, port))) {
			stages |= stages_of(ext);
		}
	}
	return stages;
}

static void add_counters(struct ext_info *info, const struct ext_counters *from)
{
	info->asked += counter_read(&from->asked);
	info->passed += counter_read(&from->passed);
	info->dropped += counter_read(&from->dropped);
	info->changed += counter_read(&from->changed);
	info->sent += counter_read(&from->sent);
	info->full += counter_read(&from->full);
	info->late += counter_read(&from->late);
	info->bypassed += counter_read(&from->bypassed);
	info->bad += counter_read(&from->bad);
	info->held += counter_read(&from->held);
	info->is_suspended |= atomic_load_explicit(&from->is_suspended, memory_order_relaxed);
}

void exts_each(const struct exts *exts, ext_info_fn *fn, void *ctx)
{
	list_for_each (it, &exts->list) {
		const struct ext *ext = list_entry(it, struct ext, link);
		struct ext_info info = { .uid = ext->uid, .pid = ext->pid, .rules = ext->rules };

		if (!ext->has_hello) {
			continue;
		}
		memcpy(info.name, ext->hello.name, sizeof(info.name));
		info.kind = (enum vsext_kind)ext->hello.kind;
		for (unsigned int i = 0; i < VSWITCH_CORES_MAX; i++) {
			if (ext->halves[i]) {
				add_counters(&info, &ext->halves[i]->counters);
			}
		}
		fn(ctx, &info);
	}
}

unsigned int exts_remove(struct exts *exts, const char *name)
{
	unsigned int removed = 0;

	list_for_each_safe (it, &exts->list) {
		struct ext *ext = list_entry(it, struct ext, link);

		if (ext->has_hello && strcmp(ext->hello.name, name) == 0) {
			remove_ext(ext, "removed");
			removed++;
		}
	}
	return removed;
}

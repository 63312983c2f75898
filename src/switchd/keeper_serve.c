/* SPDX-License-Identifier: MIT */
/* What the keeper does for its data process. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "net/linkwatch.h"
#include "switchd/keeper_internal.h"

#define AREA "keeper"

/* ---- the configuration -------------------------------------------------------------------------- */

/* NAT is not opened like a device, so it is asked for when the configuration turns it on. */
static int check_nat(struct keeper *keeper, const struct sw_config *config, struct diag *reterr)
{
	auto_destroy(sw_config) struct sw_config *before = NULL;
	struct diag ignored;

	if (!config->nat.on ||
	    (!sw_file_load(keeper->config->name, &before, &ignored) && before->nat.on)) {
		return 0;
	}
	return keeper_check_listed(keeper, SW_DEVICE_NAT, reterr);
}

static int save_config(struct keeper *keeper, const int *fds, unsigned int count,
		       struct keeper_answer *answer)
{
	auto_destroy(sw_config) struct sw_config *config = NULL;
	auto_free char *text = NULL;
	size_t bytes = 0;
	int err = count == 1 ? keeper_copy_of(fds[0], SW_CONFIG_BYTES_MAX, &text, &bytes) : -EPROTO;

	if (err) {
		return diag_set(&answer->diag, err, "the configuration cannot be read: %s",
				strerror(-err));
	}
	err = sw_config_parse_text(text, bytes, &config, &answer->diag);
	if (!err && strcmp(config->name, keeper->config->name) != 0) {
		err = diag_set(&answer->diag, -EINVAL, "it is the configuration of another switch");
	}
	err = err ? err : check_nat(keeper, config, &answer->diag);
	err = err ? err : sw_file_save_text(keeper->config->name, text, bytes, &answer->diag);
	if (!err && !config->nat.on) {
		keeper_quit_nat(keeper);
	}
	return err;
}

/* Its file, as it is: the data process has no files. */
static int open_config(struct keeper *keeper, int *ret, struct diag *reterr)
{
	char path[SW_PATH_BYTES];
	int err = sw_path(SW_PATH_CONFIG, keeper->config->name, path, reterr);

	if (err) {
		return err;
	}
	*ret = open(path, O_RDONLY | O_CLOEXEC);
	return *ret < 0 ? diag_set(reterr, -errno, "cannot read %s: %s", path, strerror(errno)) : 0;
}

static int hello(struct keeper *keeper, struct keeper_answer *answer)
{
	int config = -1, err = open_config(keeper, &config, &answer->diag);

	if (err) {
		return err;
	}
	for (unsigned int i = 0; i < 3; i++) {
		answer->fds[i] = fcntl(keeper->listeners[i], F_DUPFD_CLOEXEC, 0);
	}
	answer->fds[3] = config;
	answer->count = 4;
	return 0;
}

/* ---- which request ------------------------------------------------------------------------------ */

static int open_links(struct keeper_answer *answer)
{
	int fd = linkwatch_open(&answer->diag);

	if (fd < 0) {
		return fd;
	}
	answer->fds[0] = fd;
	answer->count = 1;
	return 0;
}

static int take_state(struct keeper *keeper, struct keeper_answer *answer)
{
	answer->count = keeper->state_fd >= 0 ? 1 : 0;
	answer->fds[0] = keeper->state_fd;
	keeper->state_fd = -1; /* once: what breaks a process must not break the next one */
	return 0;
}

static int leave_state(struct keeper *keeper, int *fds, unsigned int count,
		       struct keeper_answer *answer)
{
	struct stat st;

	if (count != 1 || fstat(fds[0], &st) || st.st_size > KEEPER_STATE_BYTES_MAX) {
		return diag_set(&answer->diag, -EPROTO, "that is no state");
	}
	if (keeper->state_fd >= 0) {
		close(keeper->state_fd);
	}
	keeper->state_fd = steal_fd(&fds[0]);
	return 0;
}

void keeper_keep_state(struct keeper *keeper)
{
	auto_close int from = steal_fd(&keeper->state_fd), to = -1;
	auto_free char *bytes = NULL;
	char path[SW_PATH_BYTES];
	struct diag diag;
	size_t length = 0;

	if (from < 0 || sw_path(SW_PATH_STATE, keeper->config->name, path, &diag) ||
	    keeper_copy_of(from, KEEPER_KEPT_BYTES_MAX, &bytes, &length)) {
		return;
	}
	(void)!unlink(path); /* whatever is there: nothing is written through it */
	to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (to < 0 || write(to, bytes, length) != (ssize_t)length) {
		log_warn(AREA, "cannot keep what was learned in %s: %s", path, strerror(errno));
		(void)!unlink(path);
	}
}

void keeper_find_state(struct keeper *keeper)
{
	char path[SW_PATH_BYTES];
	struct diag diag;

	if (!sw_path(SW_PATH_STATE, keeper->config->name, path, &diag)) {
		keeper->state_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		(void)!unlink(path);
	}
}

static void ready(struct keeper *keeper)
{
	if (!keeper->was_ready) {
		keeper_tell_ready(keeper->config, "ready");
	}
	keeper->was_ready = true;
}

static int serve(struct keeper *keeper, const struct keeper_message *request, int *fds,
		 unsigned int count, struct keeper_answer *answer)
{
	switch ((enum keeper_type)request->type) {
	case KEEPER_HELLO:
		return hello(keeper, answer);
	case KEEPER_TAKE_STATE:
		return take_state(keeper, answer);
	case KEEPER_OPEN_TAP:
	case KEEPER_OPEN_PACKET:
	case KEEPER_OPEN_XDP:
		return keeper_open_device(keeper, request, answer);
	case KEEPER_BIND_XDP:
		return keeper_bind_xdp(keeper, request, answer);
	case KEEPER_OPEN_LINKS:
		return open_links(answer);
	case KEEPER_CLOSE:
		keeper_close_tap(keeper, request->name);
		return 0;
	case KEEPER_CLOSE_XDP:
		keeper_close_xdp(keeper, request->name);
		return 0;
	case KEEPER_SAVE_CONFIG:
		return save_config(keeper, fds, count, answer);
	case KEEPER_LEAVE_STATE:
		return leave_state(keeper, fds, count, answer);
	case KEEPER_UPGRADE:
		keeper->is_upgrade = true;
		return 0;
	case KEEPER_STOP:
		/* Before it is answered: then the switch may be removed, and this with it. */
		keeper_keep_state(keeper);
		keeper->is_ending = true;
		return 0;
	case KEEPER_READY:
		ready(keeper);
		return 0;
	case KEEPER_COUNT_REFUSED:
		answer->number = keeper->refused;
		return 0;
	case KEEPER_OPEN_NAT:
		return keeper_open_nat(keeper, answer);
	case KEEPER_SAVE_LEASES: /* keeper_nat.c */
	case KEEPER_TAKE_LEASES:
	case KEEPER_QUIT:
		break;
	}
	return diag_set(&answer->diag, -EOPNOTSUPP, "the keeper does not know request %u",
			request->type);
}

int keeper_serve_at(struct keeper *keeper, int fd, keeper_serve_fn *fn)
{
	struct keeper_message request;
	struct keeper_answer answer = { .message = { .magic = KEEPER_MAGIC } };
	int fds[KEEPER_FDS_MAX], status, err;
	unsigned int count;

	err = keeper_receive(fd, MSG_DONTWAIT, &request, fds, &count);
	if (err) {
		return err == -EAGAIN ? 0 : err;
	}
	status = fn(keeper, &request, fds, count, &answer);
	for (unsigned int i = 0; i < count; i++) {
		if (fds[i] >= 0) {
			close(fds[i]);
		}
	}
	answer.message.type = request.type;
	answer.message.serial = request.serial;
	answer.message.status = status;
	answer.message.count = status ? 0 : answer.number ? answer.number : answer.count;
	if (status) {
		snprintf(answer.message.text, sizeof(answer.message.text), "%s", answer.diag.text);
	}
	err = keeper_send(fd, &answer.message, answer.fds, status ? 0 : answer.count);
	for (unsigned int i = 0; !status && !answer.is_lent && i < answer.count; i++) {
		close(answer.fds[i]);
	}
	return err;
}

int keeper_serve(struct keeper *keeper)
{
	return keeper_serve_at(keeper, keeper->fd, serve);
}

/* SPDX-License-Identifier: MIT */
/* What the keeper does for its data process. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "net/interface.h"
#include "net/linkwatch.h"
#include "net/packet.h"
#include "net/tap.h"
#include "net/uplink.h"
#include "net/xdp.h"
#include "switchd/keeper_internal.h"

#define AREA "keeper"

/* An answer, and descriptors that go with it; those that are only for it are closed afterwards. */
struct answer {
	struct keeper_message message;
	struct diag diag;
	int fds[KEEPER_FDS_MAX];
	unsigned int count;
	bool is_lent; /* the descriptors stay ours */
};

/* ---- the configuration -------------------------------------------------------------------------- */

/* What another process may write while it is read: a private copy. */
static int copy_of(int fd, size_t bytes_max, char **ret, size_t *ret_bytes)
{
	struct stat st;
	auto_free char *text = NULL;
	size_t bytes = 0;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < 0 ||
	    (uint64_t)st.st_size > bytes_max) {
		return -EINVAL;
	}
	text = malloc((size_t)st.st_size + 1);
	if (!text) {
		return -ENOMEM;
	}
	while (bytes < (size_t)st.st_size) {
		ssize_t n = pread(fd, text + bytes, (size_t)st.st_size - bytes, (off_t)bytes);

		if (n <= 0) {
			return n < 0 ? -errno : -EINVAL;
		}
		bytes += (size_t)n;
	}
	*ret = steal(text);
	*ret_bytes = bytes;
	return 0;
}

static int save_config(struct keeper *keeper, const int *fds, unsigned int count,
		       struct answer *answer)
{
	auto_destroy(sw_config) struct sw_config *config = NULL;
	auto_free char *text = NULL;
	size_t bytes = 0;
	int err = count == 1 ? copy_of(fds[0], SW_CONFIG_BYTES_MAX, &text, &bytes) : -EPROTO;

	if (err) {
		return diag_set(&answer->diag, err, "the configuration cannot be read: %s",
				strerror(-err));
	}
	err = sw_config_parse_text(text, bytes, &config, &answer->diag);
	if (!err && strcmp(config->name, keeper->config->name) != 0) {
		err = diag_set(&answer->diag, -EINVAL, "it is the configuration of another switch");
	}
	return err ? err : sw_file_save_text(keeper->config->name, text, bytes, &answer->diag);
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

static int hello(struct keeper *keeper, struct answer *answer)
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

/* ---- devices ------------------------------------------------------------------------------------ */

/* Only what the configuration's file names is opened. */
static int may_open(const struct sw_config *config, const char *name, bool is_tap,
		    struct diag *reterr)
{
	const struct sw_uplink *uplink = sw_uplink_find(config, name);

	if ((is_tap && strcmp(config->settings.host_port, name) == 0 && name[0]) ||
	    (uplink && (uplink->mode == SW_UPLINK_TAP) == is_tap)) {
		return 0;
	}
	return diag_set(reterr, -EPERM, "the configuration of switch %s names no %s %s",
			config->name, is_tap ? "TAP" : "uplink", name);
}

/*
 * Peers would have learned the device's own address for the host's, and what they send there reaches
 * the host only as long as the kernel gets the device's frames too: not under AF_XDP.
 */
static void warn_of_arp(const struct sw_config *config, const char *name)
{
	if (config->settings.host_port[0] && net_interface_answers_for_others(name)) {
		log_warn(AREA,
			 "%s: the host answers ARP there for %s too, with that device's address "
			 "(sysctl net/ipv4/conf/%s/arp_ignore=1)",
			 name, config->settings.host_port, name);
	}
}

static struct keeper_tap *find_tap(struct keeper *keeper, const char *name)
{
	for (unsigned int i = 0; i < KEEPER_TAPS_MAX; i++) {
		if (strcmp(keeper->taps[i].name, name) == 0) {
			return &keeper->taps[i];
		}
	}
	return NULL;
}

static void close_tap(struct keeper_tap *tap)
{
	for (unsigned int i = 0; i < tap->count; i++) {
		close(tap->fds[i]);
	}
	*tap = (struct keeper_tap){ 0 };
}

/* A TAP of a switch is of no use while it is down; whoever wants it down says so afterwards. */
static void set_up(const char *name)
{
	struct ifreq request;
	auto_close int fd = net_interface_ask(name, &request);

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request)) {
		return;
	}
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request)) {
		log_warn(AREA, "%s: cannot set it up: %s", name, strerror(errno));
	}
}

/*
 * As many queues as the process that asks has cores, of the device that is there: closed and opened again it
 * would be another one, without its addresses.
 */
static int fit_tap(struct keeper_tap *tap, unsigned int count, struct diag *reterr)
{
	int err = 0;

	while (tap->count > count) {
		close(tap->fds[--tap->count]);
	}
	if (tap->count < count) {
		err = net_tap_open_growing(tap->name, count - tap->count, tap->fds + tap->count,
					   reterr);
		tap->count = err ? tap->count : count;
	}
	return err;
}

static int open_tap(struct keeper *keeper, const struct keeper_message *request,
		    struct answer *answer)
{
	struct keeper_tap *tap = find_tap(keeper, request->name);
	int err;

	if (tap) {
		err = fit_tap(tap, request->count, &answer->diag);
	} else {
		tap = find_tap(keeper, "");
		err = tap ? net_tap_open_growing(request->name, request->count, tap->fds,
						 &answer->diag)
			  : diag_set(&answer->diag, -ENOSPC, "too many TAPs");
	}
	if (err) {
		return err;
	}
	if (!tap->name[0]) {
		snprintf(tap->name, sizeof(tap->name), "%s", request->name);
		tap->count = request->count;
		set_up(tap->name);
	}
	memcpy(answer->fds, tap->fds, sizeof(int) * tap->count);
	answer->count = tap->count;
	answer->is_lent = true;
	return 0;
}

static int open_packet(const struct sw_config *config, const struct keeper_message *request,
		       struct answer *answer)
{
	int err = net_packet_open(request->name, request->count, answer->fds, &answer->diag);

	if (!err) {
		answer->count = request->count;
		warn_of_arp(config, request->name);
	}
	return err;
}

/* ---- AF_XDP ------------------------------------------------------------------------------------- */

static struct keeper_xdp *find_xdp(struct keeper *keeper, const char *name)
{
	for (unsigned int i = 0; i < SW_UPLINKS_MAX; i++) {
		if (strcmp(keeper->xdps[i].name, name) == 0) {
			return &keeper->xdps[i];
		}
	}
	return NULL;
}

static void close_xdp(struct keeper_xdp *xdp)
{
	for (unsigned int i = 0; xdp->name[0] && i <= xdp->count; i++) {
		close(xdp->fds[i]);
	}
	if (xdp->name[0] && xdp->map_fd >= 0) {
		net_xdp_unload(xdp->name);
		close(xdp->map_fd);
	}
	*xdp = (struct keeper_xdp){ 0 };
}

void keeper_close_xdps(struct keeper *keeper)
{
	for (unsigned int i = 0; i < SW_UPLINKS_MAX; i++) {
		close_xdp(&keeper->xdps[i]);
	}
}

/* With mode=auto only where the driver does it well. */
static int may_xdp(const struct sw_config *config, const char *name, struct diag *reterr)
{
	const struct sw_uplink *uplink = sw_uplink_find(config, name);
	struct diag why;

	if (uplink->mode == SW_UPLINK_PACKET) {
		return diag_set(reterr, -EPERM, "uplink %s has mode=packet", name);
	}
	if (uplink->mode == SW_UPLINK_AUTO && net_uplink_choose(name, &why) != NET_UPLINK_XDP) {
		return diag_set(reterr, -EOPNOTSUPP, "%s", why.text);
	}
	return 0;
}

static int open_xdp(struct keeper *keeper, const struct sw_config *config,
		    const struct keeper_message *request, struct answer *answer)
{
	struct keeper_xdp *xdp = find_xdp(keeper, request->name);
	int memory_fd, err = may_xdp(config, request->name, &answer->diag);

	if (err) {
		return err;
	}
	if (xdp) {
		close_xdp(xdp);
	}
	xdp = find_xdp(keeper, "");
	if (!xdp) {
		return diag_set(&answer->diag, -ENOSPC, "too many devices");
	}
	err = net_xdp_open(request->name, (unsigned int)num_min(request->count, KEEPER_FDS_MAX - 1),
			   xdp->fds, &xdp->count, &memory_fd, &answer->diag);
	if (err) {
		*xdp = (struct keeper_xdp){ 0 };
		return err;
	}
	xdp->fds[xdp->count] = memory_fd;
	snprintf(xdp->name, sizeof(xdp->name), "%s", request->name);
	xdp->map_fd = -1;
	answer->count = xdp->count + 1;
	memcpy(answer->fds, xdp->fds, sizeof(int) * answer->count);
	answer->is_lent = true;
	return 0;
}

static int bind_xdp(struct keeper *keeper, const struct keeper_message *request,
		    struct answer *answer)
{
	auto_destroy(sw_config) struct sw_config *config = NULL;
	struct keeper_xdp *xdp = request->name[0] ? find_xdp(keeper, request->name) : NULL;
	struct diag ignored;
	int err;

	if (!xdp || xdp->map_fd >= 0) {
		return diag_set(&answer->diag, -EINVAL, "no sockets of %s are to be bound",
				request->name);
	}
	err = net_xdp_bind(xdp->name, xdp->fds, xdp->count, &xdp->map_fd, &answer->diag);
	if (err) {
		close_xdp(xdp);
		return err;
	}
	if (!sw_file_load(keeper->config->name, &config, &ignored)) {
		warn_of_arp(config, request->name);
	}
	return 0;
}

static int open_device(struct keeper *keeper, const struct keeper_message *request,
		       struct answer *answer)
{
	auto_destroy(sw_config) struct sw_config *config = NULL;
	int err;

	if (request->count < 1 || request->count > KEEPER_FDS_MAX || !request->name[0]) {
		return diag_set(&answer->diag, -EINVAL, "no device, or too many queues");
	}
	err = sw_file_load(keeper->config->name, &config, &answer->diag);
	err = err ? err
		  : may_open(config, request->name, request->type == KEEPER_OPEN_TAP,
			     &answer->diag);
	if (err) {
		return err;
	}
	return request->type == KEEPER_OPEN_TAP      ? open_tap(keeper, request, answer)
	       : request->type == KEEPER_OPEN_PACKET ? open_packet(config, request, answer)
						     : open_xdp(keeper, config, request, answer);
}

void keeper_close_taps(struct keeper *keeper)
{
	for (unsigned int i = 0; i < KEEPER_TAPS_MAX; i++) {
		close_tap(&keeper->taps[i]);
	}
}

/* ---- which request ------------------------------------------------------------------------------ */

static int open_links(struct answer *answer)
{
	int fd = linkwatch_open(&answer->diag);

	if (fd < 0) {
		return fd;
	}
	answer->fds[0] = fd;
	answer->count = 1;
	return 0;
}

static int take_state(struct keeper *keeper, struct answer *answer)
{
	answer->count = keeper->state_fd >= 0 ? 1 : 0;
	answer->fds[0] = keeper->state_fd;
	keeper->state_fd = -1; /* once: what breaks a process must not break the next one */
	return 0;
}

static int leave_state(struct keeper *keeper, int *fds, unsigned int count, struct answer *answer)
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
	    copy_of(from, KEEPER_KEPT_BYTES_MAX, &bytes, &length)) {
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

/* Not looked into: who loads them takes them for hostile. */
static int save_leases(struct keeper *keeper, const int *fds, unsigned int count,
		       struct answer *answer)
{
	auto_free char *bytes = NULL;
	size_t length = 0;
	int err = count == 1 ? copy_of(fds[0], KEEPER_LEASE_BYTES_MAX, &bytes, &length) : -EPROTO;

	if (err) {
		return diag_set(&answer->diag, err, "the leases cannot be read: %s",
				strerror(-err));
	}
	return sw_file_save_leases(keeper->config->name, bytes, length, &answer->diag);
}

static int take_leases(struct keeper *keeper, struct answer *answer)
{
	char path[SW_PATH_BYTES];
	int err = sw_path(SW_PATH_LEASES, keeper->config->name, path, &answer->diag);

	if (err || keeper->failures >= KEEPER_LEASE_FAILURES) {
		return err;
	}
	answer->fds[0] = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	answer->count = answer->fds[0] >= 0 ? 1 : 0;
	return 0;
}

static void ready(struct keeper *keeper)
{
	if (!keeper->was_ready) {
		keeper_tell_ready(keeper->config, "ready");
	}
	keeper->was_ready = true;
}

static int serve(struct keeper *keeper, const struct keeper_message *request, int *fds,
		 unsigned int count, struct answer *answer)
{
	switch ((enum keeper_type)request->type) {
	case KEEPER_HELLO:
		return hello(keeper, answer);
	case KEEPER_TAKE_STATE:
		return take_state(keeper, answer);
	case KEEPER_OPEN_TAP:
	case KEEPER_OPEN_PACKET:
	case KEEPER_OPEN_XDP:
		return open_device(keeper, request, answer);
	case KEEPER_BIND_XDP:
		return bind_xdp(keeper, request, answer);
	case KEEPER_OPEN_LINKS:
		return open_links(answer);
	case KEEPER_CLOSE:
		if (request->name[0] && find_tap(keeper, request->name)) {
			close_tap(find_tap(keeper, request->name));
		}
		return 0;
	case KEEPER_CLOSE_XDP:
		if (request->name[0] && find_xdp(keeper, request->name)) {
			close_xdp(find_xdp(keeper, request->name));
		}
		return 0;
	case KEEPER_SAVE_CONFIG:
		return save_config(keeper, fds, count, answer);
	case KEEPER_LEAVE_STATE:
		return leave_state(keeper, fds, count, answer);
	case KEEPER_SAVE_LEASES:
		return save_leases(keeper, fds, count, answer);
	case KEEPER_TAKE_LEASES:
		return take_leases(keeper, answer);
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
	case KEEPER_QUIT:
		break;
	}
	return diag_set(&answer->diag, -EOPNOTSUPP, "the keeper does not know request %u",
			request->type);
}

int keeper_serve(struct keeper *keeper)
{
	struct keeper_message request;
	struct answer answer = { .message = { .magic = KEEPER_MAGIC } };
	int fds[KEEPER_FDS_MAX], status, err;
	unsigned int count;

	err = keeper_receive(keeper->fd, MSG_DONTWAIT, &request, fds, &count);
	if (err) {
		return err == -EAGAIN ? 0 : err;
	}
	status = serve(keeper, &request, fds, count, &answer);
	for (unsigned int i = 0; i < count; i++) {
		if (fds[i] >= 0) {
			close(fds[i]);
		}
	}
	answer.message.type = request.type;
	answer.message.serial = request.serial;
	answer.message.status = status;
	answer.message.count = status ? 0 : answer.count;
	if (status) {
		snprintf(answer.message.text, sizeof(answer.message.text), "%s", answer.diag.text);
	}
	err = keeper_send(keeper->fd, &answer.message, answer.fds, status ? 0 : answer.count);
	for (unsigned int i = 0; !status && !answer.is_lent && i < answer.count; i++) {
		close(answer.fds[i]);
	}
	return err;
}

/* SPDX-License-Identifier: MIT */
/* Devices of the host that the keeper opens for its data process. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "net/interface.h"
#include "net/packet.h"
#include "net/tap.h"
#include "net/uplink.h"
#include "net/xdp.h"
#include "switchd/keeper_internal.h"

#define AREA "keeper"

/* ---- what may be opened ------------------------------------------------------------------------- */

/*
 * What a data process wants that users have not allowed. Whoever asks without end is not to fill the log: it
 * is told of when the number is a power of two.
 */
int keeper_check_listed(struct keeper *keeper, const char *dev, struct diag *reterr)
{
	int err = sw_devices_check(keeper->config->name, dev, reterr);

	if (err == -EPERM && keeper->refused < UINT32_MAX) {
		keeper->refused++;
		if ((keeper->refused & (keeper->refused - 1)) == 0) {
			log_warn(AREA, "refused (the %u. time): %s", keeper->refused, reterr->text);
		}
	}
	return err;
}

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

/* ---- TAPs --------------------------------------------------------------------------------------- */

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
	close_fds(tap->fds, tap->count);
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
		    struct keeper_answer *answer)
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

void keeper_close_tap(struct keeper *keeper, const char *name)
{
	struct keeper_tap *tap = name[0] ? find_tap(keeper, name) : NULL;

	if (tap) {
		close_tap(tap);
	}
}

void keeper_close_taps(struct keeper *keeper)
{
	for (unsigned int i = 0; i < KEEPER_TAPS_MAX; i++) {
		close_tap(&keeper->taps[i]);
	}
}

/* ---- packet sockets ----------------------------------------------------------------------------- */

static int open_packet(const struct sw_config *config, const struct keeper_message *request,
		       struct keeper_answer *answer)
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

void keeper_close_xdp(struct keeper *keeper, const char *name)
{
	struct keeper_xdp *xdp = name[0] ? find_xdp(keeper, name) : NULL;

	if (xdp) {
		close_xdp(xdp);
	}
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
		    const struct keeper_message *request, struct keeper_answer *answer)
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

int keeper_bind_xdp(struct keeper *keeper, const struct keeper_message *request,
		    struct keeper_answer *answer)
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

/* ---- which ------------------------------------------------------------------------------------- */

int keeper_open_device(struct keeper *keeper, const struct keeper_message *request,
		       struct keeper_answer *answer)
{
	auto_destroy(sw_config) struct sw_config *config = NULL;
	int err;

	if (request->count < 1 || request->count > KEEPER_FDS_MAX || !request->name[0]) {
		return diag_set(&answer->diag, -EINVAL, "no device, or too many queues");
	}
	err = keeper_check_listed(keeper, request->name, &answer->diag);
	err = err ? err : sw_file_load(keeper->config->name, &config, &answer->diag);
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

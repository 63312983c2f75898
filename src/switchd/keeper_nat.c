/* SPDX-License-Identifier: MIT */
/*
 * The process of NAT (natd.h), which the keeper starts when the data process asks for it, watches, and starts
 * again when it is asked for after a death. It waits for nobody: to who does not read it says no more.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "loop/loop.h"
#include "net/pipe.h"
#include "switchd/keeper_internal.h"
#include "switchd/natd.h"

#define AREA    "keeper"
#define MS      1000000ULL
#define S       (1000 * MS)
#define QUIT_MS 1000U

/* ---- leases ------------------------------------------------------------------------------------- */

/* Not looked into: who loads them takes them for hostile. */
static int save_leases(struct keeper *keeper, const int *fds, unsigned int count,
		       struct keeper_answer *answer)
{
	auto_free char *bytes = NULL;
	size_t length = 0;
	int err = count == 1 ? keeper_copy_of(fds[0], KEEPER_LEASE_BYTES_MAX, &bytes, &length)
			     : -EPROTO;

	if (err) {
		return diag_set(&answer->diag, err, "the leases cannot be read: %s",
				strerror(-err));
	}
	return sw_file_save_leases(keeper->config->name, bytes, length, &answer->diag);
}

static int take_leases(struct keeper *keeper, struct keeper_answer *answer)
{
	char path[SW_PATH_BYTES];
	int err = sw_path(SW_PATH_LEASES, keeper->config->name, path, &answer->diag);

	if (err || keeper->nat.failures >= KEEPER_LEASE_FAILURES) {
		return err;
	}
	answer->fds[0] = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	answer->count = answer->fds[0] >= 0 ? 1 : 0;
	return 0;
}

static int serve(struct keeper *keeper, const struct keeper_message *request, int *fds,
		 unsigned int count, struct keeper_answer *answer)
{
	switch (request->type) {
	case KEEPER_SAVE_LEASES:
		return save_leases(keeper, fds, count, answer);
	case KEEPER_TAKE_LEASES:
		return take_leases(keeper, answer);
	default:
		return diag_set(&answer->diag, -EPERM, "request %u is not NAT's to make",
				request->type);
	}
}

void keeper_serve_nat(struct keeper *keeper)
{
	/* Its end is near, or it speaks nonsense, or does not read what it asked for: its end is due. */
	if (keeper->nat.pid > 0 && keeper_serve_at(keeper, keeper->nat.fd, serve)) {
		kill(keeper->nat.pid, SIGKILL);
	}
}

/* ---- its life ----------------------------------------------------------------------------------- */

/* What it has said at last: leases, mostly. Nobody hears the answers any more. */
static void hear_the_rest(struct keeper *keeper)
{
	struct pollfd fd = { .fd = keeper->nat.fd, .events = POLLIN };
	int err = 0;

	for (int i = 0; i < 16 && poll(&fd, 1, 0) > 0 && err != -EPROTO; i++) {
		err = keeper_serve_at(keeper, keeper->nat.fd, serve);
	}
}

bool keeper_nat_ended(struct keeper *keeper, pid_t pid, int status)
{
	struct keeper_nat *nat = &keeper->nat;
	char how[64];

	if (nat->pid <= 0 || pid != nat->pid) {
		return false;
	}
	hear_the_rest(keeper);
	close(nat->fd);
	nat->fd = -1;
	nat->pid = 0;
	if (nat->quit_ns) {
		*nat = (struct keeper_nat){ .fd = -1 };
		return true;
	}
	keeper_describe(status, how, sizeof(how));
	nat->failures = loop_now_ns() - nat->started_ns >= KEEPER_RESTART_HEALTHY_S * S
				? 1
				: nat->failures + 1;
	nat->next_ns = loop_now_ns() + keeper_restart_delay_ms(nat->failures) * MS;
	log_error(AREA, "NAT's process of switch %s %s; the next one may begin in %u ms",
		  keeper->config->name, how, keeper_restart_delay_ms(nat->failures));
	return true;
}

static int start(struct keeper *keeper, struct diag *reterr)
{
	struct keeper_nat *nat = &keeper->nat;
	uint64_t now_ns = loop_now_ns();
	int err, status;

	if (nat->pid > 0) {
		/* It was told to end, and has not yet: what it had to say it has said. */
		kill(nat->pid, SIGKILL);
		if (waitpid(nat->pid, &status, 0) == nat->pid) {
			(void)keeper_nat_ended(keeper, nat->pid, status);
		}
	}
	if (nat->pid > 0 || now_ns < nat->next_ns) {
		return diag_set(reterr, -EAGAIN,
				"NAT's process of switch %s ended %u times in a row: it is started "
				"again in a moment",
				keeper->config->name, nat->failures);
	}
	err = keeper_spawn(keeper, "--nat", &nat->fd, &nat->pid);
	if (err) {
		return diag_set(reterr, err, "cannot start NAT's process: %s", strerror(-err));
	}
	nat->started_ns = now_ns;
	/* Nobody may hold the keeper up by not reading. */
	if (fcntl(nat->fd, F_SETFL, O_NONBLOCK)) {
		log_warn(AREA, "cannot make NAT's socket non-blocking: %s", strerror(errno));
	}
	return 0;
}

void keeper_quit_nat(struct keeper *keeper)
{
	struct keeper_message message = { .magic = KEEPER_MAGIC, .type = KEEPER_QUIT };
	struct keeper_nat *nat = &keeper->nat;

	if (nat->pid <= 0) {
		return;
	}
	if (!nat->quit_ns) {
		nat->quit_ns = loop_now_ns();
		if (!keeper_send(nat->fd, &message, NULL, 0)) {
			return;
		}
	} else if (loop_now_ns() - nat->quit_ns < QUIT_MS * MS) {
		return;
	}
	kill(nat->pid, SIGKILL);
}

/* ---- for the data process ----------------------------------------------------------------------- */

static int open_pairs(int ret_own[2], int ret_others[2])
{
	int frames[2], words[2], err = net_pipe_pair(frames);

	if (err) {
		return err;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, words)) {
		err = -errno;
		close(frames[0]);
		close(frames[1]);
		return err;
	}
	/* The data process waits for answers; NAT's process waits for nobody. */
	(void)fcntl(words[1], F_SETFL, O_NONBLOCK);
	ret_own[0] = frames[0];
	ret_own[1] = words[0];
	ret_others[0] = frames[1];
	ret_others[1] = words[1];
	return 0;
}

int keeper_open_nat(struct keeper *keeper, struct keeper_answer *answer)
{
	auto_destroy(sw_config) struct sw_config *config = NULL;
	struct keeper_message message = { .magic = KEEPER_MAGIC, .type = NATD_PEER };
	int others[2], err;

	err = keeper_check_listed(keeper, SW_DEVICE_NAT, &answer->diag);
	err = err ? err : sw_file_load(keeper->config->name, &config, &answer->diag);
	if (!err && !config->nat.on) {
		err = diag_set(&answer->diag, -EPERM, "the configuration of switch %s has no NAT",
			       config->name);
	}
	if (!err && (keeper->nat.pid <= 0 || keeper->nat.quit_ns)) {
		err = start(keeper, &answer->diag);
	}
	if (err) {
		return err;
	}
	err = open_pairs(answer->fds, others);
	if (err) {
		return diag_set(&answer->diag, err, "cannot make sockets: %s", strerror(-err));
	}
	err = keeper_send(keeper->nat.fd, &message, others, 2);
	close(others[0]);
	close(others[1]);
	if (err) {
		close(answer->fds[0]);
		close(answer->fds[1]);
		kill(keeper->nat.pid, SIGKILL);
		return diag_set(&answer->diag, -EAGAIN, "NAT's process does not take sockets: %s",
				strerror(-err));
	}
	answer->count = 2;
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "switchd/natd.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/pipe.h"
#include "switchd/natd_internal.h"
#include "switchd/sandbox.h"

#define STATUS_OK     0
#define STATUS_HOST   2
/* Requests that are served before whatever else there is to do: frames, and the keeper's word. */
#define WORDS_AT_ONCE 8U

/* ---- what the data process says ----------------------------------------------------------------- */

static void drop_peer(struct natd *natd)
{
	if (natd->words_fd >= 0) {
		loop_watch_stop(&natd->words);
		loop_cancel(natd->loop, &natd->more_words);
		close(natd->words_fd);
		natd->words_fd = -1;
	}
	natd->next_serial = 0;
}

void natd_answer(struct natd *natd, uint32_t type, uint32_t serial, int status, const char *text,
		 int fd)
{
	struct keeper_message message = {
		.magic = KEEPER_MAGIC, .type = type, .serial = serial, .status = status
	};

	if (natd->words_fd < 0 || serial == 0) {
		return;
	}
	snprintf(message.text, sizeof(message.text), "%s", text);
	/* Non-blocking: who does not read has nothing more to say. */
	if (keeper_send(natd->words_fd, &message, &fd, fd >= 0)) {
		drop_peer(natd);
	}
}

static void configure(struct natd *natd, const struct keeper_message *request, const int *fds,
		      unsigned int count)
{
	auto_destroy(sw_config) struct sw_config *config = NULL;
	auto_free char *text = NULL;
	struct diag diag;
	size_t bytes = 0;
	int err = count == 1 ? keeper_copy_of(fds[0], SW_CONFIG_BYTES_MAX, &text, &bytes) : -EPROTO;

	if (err) {
		diag_set(&diag, err, "the configuration cannot be read: %s", strerror(-err));
	} else {
		err = sw_config_parse_text(text, bytes, &config, &diag);
	}
	if (!err && !config->nat.on) {
		err = diag_set(&diag, -EINVAL, "that is a configuration without NAT");
	}
	if (err) {
		natd_answer(natd, request->type, request->serial, err, diag.text, -1);
		return;
	}
	natd_configure(natd, steal(config), request->serial);
}

static void give(struct natd *natd, const struct keeper_message *request, int fd_take)
{
	natd_answer(natd, request->type, request->serial, fd_take < 0 ? fd_take : 0,
		    fd_take < 0 ? strerror(-fd_take) : "", fd_take);
	if (fd_take >= 0) {
		close(fd_take);
	}
}

static void serve(struct natd *natd, const struct keeper_message *request, const int *fds,
		  unsigned int count)
{
	switch ((enum natd_type)request->type) {
	case NATD_CONFIGURE:
		configure(natd, request, fds, count);
		return;
	case NATD_LEASES:
		give(natd, request, natd_list_leases(natd));
		return;
	case NATD_FACTS:
		give(natd, request, natd_list_facts(natd));
		return;
	case NATD_PEER:
	default:
		natd_answer(natd, request->type, request->serial, -EOPNOTSUPP,
			    "NAT's process does not know that request", -1);
	}
}

/* A data process that asks without end is not to be all that is heard. */
static void listen_to_words(struct natd *natd)
{
	struct keeper_message request;
	int fds[KEEPER_FDS_MAX], err = 0;
	unsigned int count;

	for (unsigned int i = 0; !err && natd->words_fd >= 0; i++) {
		if (i == WORDS_AT_ONCE) {
			loop_defer(natd->loop, &natd->more_words);
			return;
		}
		err = keeper_receive(natd->words_fd, MSG_DONTWAIT, &request, fds, &count);
		if (!err) {
			serve(natd, &request, fds, count);
			close_fds(fds, count);
		}
	}
	if (err && err != -EAGAIN) {
		drop_peer(natd);
	}
}

static void on_words(struct loop_watch *watch, uint32_t poll_events)
{
	(void)poll_events;
	listen_to_words(container_of(watch, struct natd, words));
}

static void on_more_words(struct loop_work *work)
{
	listen_to_words(container_of(work, struct natd, more_words));
}

/* ---- what the keeper says ----------------------------------------------------------------------- */

static int plug(struct natd *natd, int fd_take, struct diag *reterr)
{
	const struct net_front_config front = { .mtu = NET_MTU_MAX,
						.coalesce_bytes_max = NET_FRAME_BYTES_MAX };
	const struct net_pipe_config config = { .fd_take = fd_take,
						.labelled = natd_labelled,
						.ctx = natd };
	int err;

	if (natd->wire) {
		err = net_pipe_replace(natd->wire, fd_take);
		return err ? diag_set(reterr, err, "%s", strerror(-err)) : 0;
	}
	err = net_pipe_create(natd->loop, &config, &natd->wire, reterr);
	if (!err) {
		natd->of_wire = (struct natd_side){ .front = { &natd_wire_ops }, .natd = natd };
		err = net_attach(natd->wire, &natd->of_wire.front, &front);
		check(!err);
	}
	return err;
}

/* Another data process, or the same one again: the former one's sockets are closed. */
static void take_peer(struct natd *natd, const int *fds_take)
{
	struct diag diag;

	drop_peer(natd);
	natd->words_fd = fds_take[1];
	natd->words = (struct loop_watch){ 0 };
	if (plug(natd, fds_take[0], &diag) ||
	    loop_watch_start(natd->loop, &natd->words, natd->words_fd, POLLIN, on_words)) {
		log_error(NATD_AREA, "no memory for a switch's frames");
		natd->is_ending = true;
	}
}

/* What is no answer to a question of ours is for nobody. */
static void hear(struct natd *natd, const struct keeper_message *message, int *fds,
		 unsigned int count)
{
	if (message->type == NATD_PEER && count == 2) {
		take_peer(natd, fds);
		return;
	}
	if (message->type == KEEPER_TAKE_LEASES && count == 1) {
		free(natd->leases);
		natd->leases = NULL;
		if (keeper_copy_of(fds[0], KEEPER_LEASE_BYTES_MAX, &natd->leases,
				   &natd->lease_bytes)) {
			log_warn(NATD_AREA, "the leases of before cannot be read");
		}
	} else if (message->status) {
		log_warn(NATD_AREA, "%s", message->text);
	}
	natd->is_ending |= message->type == KEEPER_QUIT;
	close_fds(fds, count);
}

static void on_keeper(struct loop_watch *watch, uint32_t poll_events)
{
	struct natd *natd = container_of(watch, struct natd, keeper);
	struct keeper_message message;
	int fds[KEEPER_FDS_MAX], err = 0;
	unsigned int count;

	(void)poll_events;
	while (!err) {
		err = keeper_receive(watch->fd, MSG_DONTWAIT, &message, fds, &count);
		if (!err) {
			hear(natd, &message, fds, count);
		}
	}
	if (natd->is_ending || err != -EAGAIN) {
		natd_keep(natd);
		loop_quit(natd->loop);
	}
}

/* Before anything is made: sockets that come meanwhile are taken, too. */
static int ask_for_leases(struct natd *natd)
{
	struct keeper_message message = { .magic = KEEPER_MAGIC, .type = KEEPER_TAKE_LEASES };
	int fds[KEEPER_FDS_MAX], err;
	unsigned int count;

	err = keeper_send(natd->config->keeper_fd, &message, NULL, 0);
	message.type = 0;
	while (!err && message.type != KEEPER_TAKE_LEASES && !natd->is_ending) {
		err = keeper_receive(natd->config->keeper_fd, 0, &message, fds, &count);
		if (!err) {
			hear(natd, &message, fds, count);
		}
	}
	return err;
}

/* ---- life --------------------------------------------------------------------------------------- */

static int begin(struct natd *natd, struct diag *reterr)
{
	const struct natd_config *config = natd->config;
	int err = loop_create("tabique-nat", &natd->loop, reterr);

	err = err ? err : loop_restrict(natd->loop);
	if (err) {
		return diag_set(reterr, err, "cannot make an event loop: %s", strerror(-err));
	}
	loop_work_init(&natd->more_words, on_more_words);
	natd_nat_init(natd);
	/* It reads /etc/resolv.conf as that changes. */
	err = sandbox_process(config->uid, config->gid, true, reterr);
	if (err) {
		return err;
	}
	err = sandbox_thread(SANDBOX_NAT);
	if (err) {
		return diag_set(reterr, err, "cannot give up system calls: %s", strerror(-err));
	}
	err = ask_for_leases(natd);
	err = err ? err
		  : loop_watch_start(natd->loop, &natd->keeper, config->keeper_fd, POLLIN,
				     on_keeper);
	return err ? diag_set(reterr, err, "the keeper of switch %s does not answer: %s",
			      config->name, strerror(-err))
		   : 0;
}

int natd_run(const struct natd_config *config)
{
	/* Large, and there once. */
	struct natd *natd = calloc(1, sizeof(*natd));
	struct diag diag;

	if (!natd) {
		return STATUS_HOST;
	}
	natd->config = config;
	natd->words_fd = -1;
	prctl(PR_SET_NAME, "tabique-nat");
	sandbox_raise_descriptor_limit(); /* each connection is a descriptor */
	if (begin(natd, &diag)) {
		fprintf(stderr, "tabique-switch: error: %s\n", diag.text);
		return STATUS_HOST;
	}
	if (!natd->is_ending) {
		loop_run(natd->loop);
	}
	/* The rest is the kernel's. */
	return STATUS_OK;
}

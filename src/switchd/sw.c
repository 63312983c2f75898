/* SPDX-License-Identifier: MIT */
/*
 *   HELLO ─► loops, tables, wires ─► sandbox ─► threads, sockets ─► READY ─► serves
 *                                                                      │ QUIT, stop, upgrade
 *                           exit ◄── state left, answered ◄── all given back to the workers
 */
#include "switchd/sw.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "switchd/sandbox.h"
#include "switchd/sw_internal.h"
#include "vswitch/policy.h"

#define STATUS_OK       0
#define STATUS_HOST     2
#define RETURN_LIMIT_NS (3ULL * 1000 * 1000 * 1000)
#define LEAVE_NS        (1ULL * 1000 * 1000 * 1000)

/* What the keeper has given at the beginning. */
struct gifts {
	char *config;
	size_t config_bytes;
	char *state;
	size_t state_bytes;
};

/* ---- the keeper --------------------------------------------------------------------------------- */

/* All of a file or memfd, closed afterwards. */
static int read_fd(int fd_take, char **ret, size_t *ret_bytes)
{
	auto_close int fd = fd_take;

	return keeper_copy_of(fd, KEEPER_STATE_BYTES_MAX, ret, ret_bytes);
}

static int say_hello(struct sw *sw, struct gifts *gifts, struct diag *reterr)
{
	int fds[KEEPER_FDS_MAX], err;
	unsigned int count = 0;

	err = keeper_call(sw->keeper_fd, KEEPER_HELLO, NULL, 0, NULL, 0, fds, &count, reterr);
	if (err) {
		return err;
	}
	if (count != 4) {
		return diag_set(reterr, -EPROTO, "the keeper of this switch gave no sockets");
	}
	sw->listen_vsp = fds[0];
	sw->listen_ctl = fds[1];
	sw->listen_ext = fds[2];
	if (read_fd(fds[3], &gifts->config, &gifts->config_bytes)) {
		return diag_set(reterr, -EIO, "the configuration cannot be read");
	}
	err = keeper_call(sw->keeper_fd, KEEPER_TAKE_STATE, NULL, 0, NULL, 0, fds, &count, reterr);
	if (!err && count == 1 && read_fd(fds[0], &gifts->state, &gifts->state_bytes)) {
		log_warn(SW_AREA, "what the process before has left cannot be read");
	}
	return err;
}

static void on_keeper(struct loop_watch *watch, uint32_t poll_events)
{
	struct sw *sw = container_of(watch, struct sw, keeper_watch);

	(void)poll_events;
	if (keeper_wants_end(watch->fd)) {
		sw_end(sw, SW_END_QUIT, NULL);
	}
}

/* ---- loops and tables --------------------------------------------------------------------------- */

static unsigned int cores_wanted(const struct sw_config *config)
{
	unsigned int processors = loop_processors();

	if (config->settings.threads) {
		return config->settings.threads;
	}
	return (unsigned int)num_min(num_max(processors, 2) - 1, SW_CORES_MAX);
}

static void on_end_timer(struct loop_timer *timer);
static void on_leave_timer(struct loop_timer *timer);

/* A list of system calls is worth little next to a ring that may be asked for any. */
static int restrict_loop(struct loop *loop, struct diag *reterr)
{
	int err = loop_restrict(loop);

	return err ? diag_set(reterr, err, "cannot give up what io_uring can do: %s",
			      strerror(-err))
		   : 0;
}

static int create_loops(struct sw *sw, struct diag *reterr)
{
	unsigned int wanted = cores_wanted(sw->config);
	int err = loop_create("tabique-switch", &sw->control, reterr);

	if (err) {
		return err;
	}
	loop_timer_init(&sw->end_timer, sw->control, on_end_timer);
	loop_timer_init(&sw->leave_timer, sw->control, on_leave_timer);

	err = restrict_loop(sw->control, reterr);
	while (!err && sw->loop_count < wanted) {
		err = loop_create("tabique-sw", &sw->loops[sw->loop_count], reterr);
		if (!err) {
			/* Now: its thread will not be allowed to. */
			(void)loop_batch(sw->loops[sw->loop_count++]);
			err = restrict_loop(sw->loops[sw->loop_count - 1], reterr);
		}
	}
	return err;
}

static void on_link_changed(void *ctx, uint16_t port, unsigned int queue, bool up)
{
	struct sw *sw = ctx;

	(void)queue; /* the first end's number is not always 0, and its link is the wire's */
	(void)up;
	list_for_each (it, &sw->wires) {
		struct sw_wire *wire = list_entry(it, struct sw_wire, link);

		if (wire->port == port && !wire->is_closing) {
			sw_wire_look(wire);
		}
	}
	loop_defer(sw->control, &sw->readopt);
}

/* A NIC's address is part of its guard. */
static void on_port_changed(void *ctx, uint16_t port)
{
	struct sw *sw = ctx;

	(void)port;
	loop_defer(sw->control, &sw->readopt);
}

static void on_readopt(struct loop_work *work)
{
	struct sw *sw = container_of(work, struct sw, readopt);
	struct diag diag;

	if (sw->ending == SW_END_NONE && sw_adopt(sw, &diag)) {
		log_error(SW_AREA, "%s", diag.text);
	}
}

/* DHCP has given an address: who is killed must not have it taken away from its guest. Once a second. */
static void on_bound(void *ctx)
{
	struct sw *sw = ctx;

	if (!sw->is_leaving_due && sw->ending == SW_END_NONE) {
		sw->is_leaving_due = true;
		loop_timer_arm(&sw->leave_timer, LEAVE_NS);
	}
}

static const struct vswitch_events events = {
	.link_changed = on_link_changed,
	.port_changed = on_port_changed,
	.bound = on_bound,
};

static int create_tables(struct sw *sw, struct diag *reterr)
{
	struct vswitch_config config = {
		.control = sw->control, .core_count = sw->loop_count, .events = &events, .ctx = sw
	};
	int err;

	for (unsigned int i = 0; i < sw->loop_count; i++) {
		config.loops[i] = sw->loops[i];
	}
	if (getrandom(&config.secret, sizeof(config.secret), 0) != sizeof(config.secret)) {
		return diag_set(reterr, -EIO, "there are no random numbers");
	}
	err = vswitch_create(&config, &sw->vswitch);
	return err ? diag_set(reterr, err, "cannot make the switch: %s", strerror(-err)) : 0;
}

/* ---- the beginning ------------------------------------------------------------------------------ */

static void lock_core(void *arg)
{
	*(int *)arg = sandbox_thread(SANDBOX_CORE);
}

static int start_threads(struct sw *sw, struct diag *reterr)
{
	while (sw->started_count < sw->loop_count) {
		int err = loop_start_thread(sw->loops[sw->started_count], reterr);

		if (err) {
			return err;
		}
		sw->started_count++;
	}
	return 0;
}

static int restrict_all(struct sw *sw, const struct sw_run_config *config, struct diag *reterr)
{
	int err = sandbox_process(config->uid, config->gid, false, reterr);

	err = err ? err : start_threads(sw, reterr);
	if (err) {
		return err;
	}
	for (unsigned int i = 0; i < sw->loop_count; i++) {
		loop_call(sw->loops[i], lock_core, &err);
		if (err) {
			return diag_set(reterr, err, "cannot give up system calls: %s",
					strerror(-err));
		}
	}
	err = sandbox_thread(SANDBOX_CONTROL);
	return err ? diag_set(reterr, err, "cannot give up system calls: %s", strerror(-err)) : 0;
}

static int begin(struct sw *sw, const struct sw_run_config *config, struct gifts *gifts,
		 struct diag *reterr)
{
	int err = say_hello(sw, gifts, reterr);

	err = err ? err
		  : sw_config_parse_text(gifts->config, gifts->config_bytes, &sw->config, reterr);
	if (err) {
		return err;
	}
	if (gifts->state) {
		sw_state_load_names(sw, gifts->state, gifts->state_bytes);
	}
	err = create_loops(sw, reterr);
	err = err ? err : create_tables(sw, reterr);
	/* It looks at /proc, which is not there afterwards. */
	err = err ? err : sw_ports_create(sw, reterr);
	/* Who opens what comes from the keeper needs no rights; threads begin without any. */
	err = err ? err : restrict_all(sw, config, reterr);
	if (err) {
		return err;
	}
	sw_nat_init(sw);
	err = sw_ext_create(sw, reterr);
	if (err) {
		return err;
	}
	sw_apply_first(sw);
	if (gifts->state) {
		sw_state_load_tables(sw, gifts->state, gifts->state_bytes);
		on_bound(sw); /* the keeper has given it away: it wants it again */
	}
	err = sw_verbs_create(sw, reterr);
	if (!err &&
	    loop_watch_start(sw->control, &sw->keeper_watch, sw->keeper_fd, POLLIN, on_keeper)) {
		err = diag_set(reterr, -ENOMEM, "no memory");
	}
	return err ? err
		   : keeper_call(sw->keeper_fd, KEEPER_READY, NULL, 0, NULL, 0, NULL, NULL, reterr);
}

/* ---- the end ------------------------------------------------------------------------------------ */

static void leave_state(struct sw *sw, bool everything)
{
	int fd = sw_state_save(sw, everything);
	struct diag diag;

	if (fd < 0) {
		log_warn(SW_AREA, "what was learned is lost: %s", strerror(-fd));
		return;
	}
	if (keeper_call(sw->keeper_fd, KEEPER_LEAVE_STATE, NULL, 0, &fd, 1, NULL, NULL, &diag)) {
		log_warn(SW_AREA, "%s", diag.text);
	}
	close(fd);
}

static void on_leave_timer(struct loop_timer *timer)
{
	struct sw *sw = container_of(timer, struct sw, leave_timer);

	sw->is_leaving_due = false;
	leave_state(sw, false);
}

/* Nothing of a guest's is mapped any more (or somebody is late, and finds out by our end). */
static void finish(struct sw *sw)
{
	struct diag diag;

	loop_timer_cancel(&sw->end_timer);
	loop_timer_cancel(&sw->leave_timer);
	sw_nat_end(sw);
	sw_uplinks_end(sw);
	leave_state(sw, sw->ending == SW_END_UPGRADE);
	if (sw->ending != SW_END_QUIT &&
	    keeper_call(sw->keeper_fd, sw->ending == SW_END_UPGRADE ? KEEPER_UPGRADE : KEEPER_STOP,
			NULL, 0, NULL, 0, NULL, NULL, &diag)) {
		log_warn(SW_AREA, "%s", diag.text);
	}
	if (sw->end_reply) {
		rpc_reply_ok_take(steal(sw->end_reply), json_object());
	}
	loop_quit(sw->control);
}

static void on_returned(struct loop_work *work)
{
	finish(container_of(work, struct sw, returned));
}

static void on_end_timer(struct loop_timer *timer)
{
	struct sw *sw = container_of(timer, struct sw, end_timer);

	log_warn(SW_AREA, "not all workers have taken their devices back in time");
	finish(sw);
}

void sw_end(struct sw *sw, enum sw_end why, struct rpc_reply *reply)
{
	if (sw->ending != SW_END_NONE) {
		if (reply) {
			rpc_reply_error(reply, "the switch ends already");
		}
		return;
	}
	sw->ending = why;
	sw->end_reply = reply;
	loop_timer_arm(&sw->end_timer, RETURN_LIMIT_NS);
	sw_ports_return_all(sw, why == SW_END_UPGRADE);
}

/*
 * The answer to who ended it is sent; the rest is the kernel's: it takes memory, devices and threads
 * faster than we can give them back one by one, and the next process may begin.
 */
static void end(struct sw *sw)
{
	sw_verbs_destroy(sw);
}

int sw_run(const struct sw_run_config *config)
{
	struct sw sw = { .name = config->name,
			 .keeper_fd = config->keeper_fd,
			 .nat_fd = -1,
			 .started_ns = loop_now_ns(),
			 .listen_vsp = -1,
			 .listen_ctl = -1,
			 .listen_ext = -1 };
	struct gifts gifts = { 0 };
	struct diag diag;
	int err;

	list_init(&sw.wires);
	list_init(&sw.nics);
	loop_work_init(&sw.readopt, on_readopt);
	loop_work_init(&sw.returned, on_returned);
	prctl(PR_SET_NAME, "tabique-switch");
	/*
	 * A worker may hold some eleven hundred descriptors here (64 processors, 16 devices of 64 channels),
	 * which is more than the usual soft limit for all of them together.
	 */
	sandbox_raise_descriptor_limit();
	err = begin(&sw, config, &gifts, &diag);
	free(gifts.config);
	free(gifts.state);
	if (err) {
		fprintf(stderr, "tabique-switch: error: %s\n", diag.text);
		return STATUS_HOST;
	}
	loop_run(sw.control);
	end(&sw);
	return STATUS_OK;
}

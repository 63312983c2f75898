/* SPDX-License-Identifier: MIT */
/* A device goes to the host process and comes home: the worker's side. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "base/shared.h"
#include "vmbus/remote_mute.h"
#include "vmbus/remote_worker_internal.h"

static struct remote_lending *of(struct vmbus_lending *base)
{
	return container_of(base, struct remote_lending, base);
}

/* ---- the device's channels ---- */

struct paused_args {
	struct vmbus_channel *channel;
	bool is_paused;
};

static void set_paused_on_loop(void *arg)
{
	struct paused_args *args = arg;

	channel_set_paused(args->channel, args->is_paused);
}

static void set_paused(struct remote_lending *lending, bool is_paused)
{
	for (unsigned int i = 0; i < lending->channel_count; i++) {
		struct paused_args args = { lending->channels[i], is_paused };

		loop_call(args.channel->loop, set_paused_on_loop, &args);
	}
}

/* Those that are open, the primary first. Whether they are few enough. */
static bool collect_channels(struct remote_lending *lending)
{
	const struct vmbus_bus *bus = lending->worker->bus;

	lending->channels[0] = lending->device->channel;
	lending->channel_count = 1;
	for (uint32_t relid = 1; relid <= VMBUS_RELID_MAX; relid++) {
		struct vmbus_channel *channel = bus->channels[relid];

		if (!channel || channel->device != lending->device || channel->index == 0 ||
		    !control_is_open(bus->control, relid)) {
			continue;
		}
		if (lending->channel_count == lending->worker->channels_max ||
		    channel->index >= REMOTE_CHANNELS_MAX) {
			return false;
		}
		lending->channels[lending->channel_count++] = channel;
	}
	return true;
}

static struct device_journal journaled(struct remote_lending *lending)
{
	return (struct device_journal){ .device = lending->device,
					.channels = lending->channels,
					.channel_count = lending->channel_count,
					.journal = &lending->journal };
}

/* ---- the journal ---- */

static void drop_journal(struct remote_lending *lending)
{
	if (lending->journal_map) {
		munmap(lending->journal_map, lending->journal_bytes);
		lending->journal_map = NULL;
	}
	if (lending->journal_fd >= 0) {
		close(lending->journal_fd);
		lending->journal_fd = -1;
	}
}

static int make_journal(struct remote_lending *lending, size_t bytes)
{
	if (bytes > REMOTE_JOURNAL_BYTES_MAX) {
		return -E2BIG;
	}
	void *map;
	int err = shared_create("tabique-journal", bytes, 0, &map, &lending->journal_fd);

	if (!err) {
		lending->journal_map = map;
		lending->journal_bytes = bytes;
	}
	return err;
}

/* ---- away ---- */

static void send(struct remote_lending *lending, struct remote_message *message, const int *fds,
		 unsigned int fd_count)
{
	message->device = lending->number;
	remote_socket_send(&lending->worker->socket, message, fds, fd_count);
}

static void count_gpadl(void *ctx, const struct gpadl *gpadl)
{
	unsigned int *count = ctx;

	(void)gpadl;
	(*count)++;
}

struct gpadl_args {
	struct remote_lending *lending;
	uint32_t relid;
};

static void send_gpadl(void *ctx, const struct gpadl *gpadl)
{
	const struct gpadl_args *args = ctx;
	size_t pages;
	const uint64_t *gfns = gpadl_gfns(gpadl, &pages);

	for (size_t first = 0; first < pages; first += REMOTE_GFNS_MAX) {
		size_t count = num_min(pages - first, REMOTE_GFNS_MAX);
		struct remote_message message = { .type = REMOTE_MSG_GPADL };

		message.gpadl.gpadl = gpadl_id(gpadl);
		message.gpadl.relid = args->relid;
		message.gpadl.offset = gpadl_offset(gpadl);
		message.gpadl.length = (uint32_t)gpadl_bytes(gpadl);
		message.gpadl.pages = (uint32_t)pages;
		message.gpadl.first = (uint32_t)first;
		message.gpadl.count = (uint32_t)count;
		message.tail = (const uint8_t *)(gfns + first);
		message.tail_bytes = (uint32_t)(count * 8);
		send(args->lending, &message, NULL, 0);
	}
}

static void send_lend(struct remote_lending *lending, unsigned int gpadls)
{
	const struct vmbus_offer *offer = &lending->device->offer;
	struct remote_message message = { .type = REMOTE_MSG_LEND };
	struct remote_lend *lend = &message.lend;

	memcpy(lend->kind, lending->kind, sizeof(lend->kind));
	memcpy(lend->port, lending->port, sizeof(lend->port));
	lend->interface_type = offer->interface_type;
	lend->interface_instance = offer->interface_instance;
	memcpy(lend->user_defined, offer->user_defined, sizeof(lend->user_defined));
	lend->offer_flags = offer->flags;
	lend->mmio_mib = offer->mmio_mib;
	lend->vmbus_version = lending->channels[0]->version;
	lend->channels = (uint16_t)lending->channel_count;
	lend->gpadls = (uint16_t)gpadls;
	lend->journal_bytes = (uint32_t)lending->journal_bytes;
	lend->config_bytes = (uint32_t)lending->config_bytes;
	message.tail = lending->config;
	message.tail_bytes = lend->config_bytes;
	send(lending, &message, &lending->journal_fd, 1);
}

static void send_channel(struct remote_lending *lending, const struct vmbus_channel *channel)
{
	struct remote_message message = { .type = REMOTE_MSG_CHANNEL };

	message.channel.relid = channel->relid;
	message.channel.index = channel->index;
	if (lending->is_mute && journal_seq(&lending->journal, channel->index) == 0) {
		message.channel.flags = REMOTE_CHANNEL_FRESH;
	}
	message.channel.ring_gpadl = gpadl_id(channel->ring_gpadl);
	message.channel.downstream_page = channel->downstream_page;
	memcpy(message.channel.user_data,
	       control_user_data(lending->worker->bus->control, channel->relid),
	       sizeof(message.channel.user_data));
	send(lending, &message, &channel->doorbell_fd, 1);
}

static void send_all(struct remote_lending *lending, unsigned int gpadls)
{
	struct gpadl_table *table = lending->worker->bus->gpadls;
	struct remote_message start = { .type = REMOTE_MSG_START };

	send_lend(lending, gpadls);
	for (unsigned int i = 0; i < lending->channel_count; i++) {
		struct gpadl_args args = { lending, lending->channels[i]->relid };

		gpadl_table_each(table, args.relid, send_gpadl, &args);
	}
	for (unsigned int i = 0; i < lending->channel_count; i++) {
		send_channel(lending, lending->channels[i]);
	}
	send(lending, &start, NULL, 0);
}

/* A mute device's journal is the one that it had over there; the first is empty. */
static int keep_journal(struct remote_lending *lending, const struct journal_config *config)
{
	size_t bytes;
	uint8_t *image = NULL;
	int err;

	if (lending->journal_map) {
		return 0;
	}
	image = remote_mute_take_image(lending->device, &bytes);
	err = make_journal(lending, image ? bytes : journal_bytes(config));
	if (!err && image) {
		memcpy(lending->journal_map, image, bytes);
		err = journal_attach(&lending->journal, lending->journal_map, bytes);
		if (err) {
			drop_journal(lending);
		}
	} else if (!err) {
		journal_format(&lending->journal, lending->journal_map, config);
	}
	free(image);
	return err;
}

/* Pauses the device and writes its journal; what fails leaves it as it was. */
static int write_journal(struct remote_lending *lending)
{
	uint32_t channels = 1;

	for (unsigned int i = 0; i < lending->channel_count; i++) {
		channels = (uint32_t)num_max(channels, lending->channels[i]->index + 1U);
	}
	struct journal_config config = device_journal_config(lending->device, channels);

	if (lending->is_mute) {
		return keep_journal(lending, &config);
	}
	int err = make_journal(lending, journal_bytes(&config));

	if (err) {
		return err;
	}
	struct device_journal d = journaled(lending);

	set_paused(lending, true);
	err = device_journal_write(&d, lending->journal_map, lending->journal_bytes);
	if (err) {
		set_paused(lending, false);
		drop_journal(lending);
	}
	return err;
}

static void lend(struct remote_lending *lending)
{
	unsigned int gpadls = 0;
	int err = collect_channels(lending) ? 0 : -E2BIG;

	for (unsigned int i = 0; i < lending->channel_count; i++) {
		gpadl_table_each(lending->worker->bus->gpadls, lending->channels[i]->relid,
				 count_gpadl, &gpadls);
	}
	if (!err) {
		err = gpadls > REMOTE_GPADLS_MAX ? -E2BIG : write_journal(lending);
	}
	if (err) {
		if (err != -EBUSY) {
			log_guest(&lending->log_rate, "remote", "%s cannot be lent: %s",
				  lending->port, strerror(-err));
		}
		remote_lend_later(lending, err == -EBUSY ? LEND_QUIET_NS : LEND_REFUSED_NS);
		return;
	}
	struct device_journal d = journaled(lending);

	if (lending->channels[0]->is_open) { /* not so a mute device that has been away before */
		device_journal_leave(&d);
	}
	lending->state = LEND_LENDING; /* W1: from here on only remote_lend_home() leads back */
	lending->lent_at_ns = loop_now_ns();
	lending->lends++;
	send_all(lending, gpadls);
	remote_worker_start_pings(lending->worker);
}

void remote_lend_try(struct remote_lending *lending)
{
	const struct vmbus_bus *bus = lending->worker->bus;
	const struct vmbus_channel *primary = lending->device->channel;

	if (lending->state != LEND_HOME || lending->is_leaving ||
	    lending->worker->state != WORKER_READY || !primary || bus->is_paused ||
	    !control_is_open(bus->control, primary->relid)) {
		return; /* whatever changes that touches it */
	}
	if (bus_away_may_leave(bus, lending->device)) {
		lend(lending);
	} else {
		remote_lend_later(lending, lending->quiet_ns);
	}
}

void remote_lend_later(struct remote_lending *lending, uint64_t ns)
{
	loop_timer_arm(&lending->quiet, ns);
}

/* ---- home ---- */

static int restore(struct remote_lending *lending)
{
	struct device_journal d = journaled(lending);
	int err = 0;

	for (unsigned int i = 0; i < lending->channel_count && !err; i++) {
		err = channel_map_rings(lending->channels[i]);
	}
	if (!err) {
		err = device_journal_restore(&d, false, true);
	}
	for (unsigned int i = 0; err && i < lending->channel_count; i++) {
		channel_unmap_rings(lending->channels[i]);
	}
	return err;
}

/* Who keeps coming home is lent less eagerly. */
static void adapt_quiet(struct remote_lending *lending)
{
	if (loop_now_ns() - lending->lent_at_ns < 10 * lending->quiet_ns) {
		lending->quiet_ns = num_min(lending->quiet_ns * 2, LEND_QUIET_NS_MAX);
	} else {
		lending->quiet_ns = LEND_QUIET_NS;
	}
}

static void end_waits(struct remote_lending *lending)
{
	for (unsigned int i = 0; i < LEND_WAITERS; i++) {
		if (lending->waiters[i]) {
			loop_post(lending->worker->bus->loop, lending->waiters[i]);
			lending->waiters[i] = NULL;
		}
	}
}

static void count_event(struct remote_lending *lending, enum remote_event event)
{
	lending->returns += event == REMOTE_HOME_ORDERLY;
	lending->kills += event == REMOTE_HOME_KILLED;
	lending->refusals += event == REMOTE_REFUSED;
}

void remote_lend_home(struct remote_lending *lending, enum remote_event event, uint32_t retry_ms,
		      const char *text)
{
	struct remote_worker *worker = lending->worker;
	struct vmbus_device *device = lending->device;
	int err = lending->is_mute ? 0 : restore(lending);

	check(lending->state != LEND_HOME);
	if (!lending->is_mute || (lending->closes && event == REMOTE_HOME_ORDERLY)) {
		drop_journal(lending);
	}
	lending->closes = false;
	lending->state = LEND_HOME;
	count_event(lending, event);
	adapt_quiet(lending);
	if (err) {
		/* The guest, or a host that lied: nothing flows until the guest has closed it. */
		lending->losses++;
		log_guest(&lending->log_rate, "remote",
			  "%s is lost: what is left of it makes no sense (%s)", lending->port,
			  strerror(-err));
	}
	if (worker->on_event) {
		worker->on_event(worker->ctx, device, event, retry_ms, text);
	}
	if (!err && !lending->is_mute && !worker->bus->is_paused) {
		set_paused(lending, false);
	}
	lending->channel_count = 0;
	remote_lend_later(lending,
			  err || event == REMOTE_REFUSED ? LEND_REFUSED_NS : lending->quiet_ns);
	if (lending->is_leaving) {
		loop_post(worker->bus->loop, &lending->over); /* before whoever waits for it */
	}
	end_waits(lending);
	bus_away_came_home(worker->bus, device);
}

void remote_lend_send_recall(struct remote_lending *lending, enum remote_recall_reason reason)
{
	struct remote_message message = { .type = REMOTE_MSG_RECALL };
	uint8_t relid[4];

	if (lending->state == LEND_HOME || lending->state == LEND_RETURNING) {
		return;
	}
	lending->state = LEND_RETURNING;
	lending->recalls++;
	message.recall.reason = reason;
	if (lending->closes) {
		bytes_put_le32(relid, lending->channels[0]->relid);
		message.recall.close_count = 1;
		message.tail = relid;
		message.tail_bytes = sizeof(relid);
	}
	send(lending, &message, NULL, 0);
}

/* ---- messages ---- */

static int on_started(struct remote_lending *lending, const struct remote_started *started)
{
	struct remote_worker *worker = lending->worker;

	if (lending->state == LEND_HOME || lending->state == LEND_AWAY) {
		return -EPROTO;
	}
	if (started->status < 0) {
		log_guest(&lending->log_rate, "remote", "%s is refused: %s", lending->port,
			  started->text);
		remote_lend_home(lending, REMOTE_REFUSED, 0, started->text);
		return 0;
	}
	if (lending->state == LEND_RETURNING) {
		return 0; /* it crossed the recall */
	}
	lending->state = LEND_AWAY;
	if (worker->on_event) {
		worker->on_event(worker->ctx, lending->device, REMOTE_AWAY, 0, "");
	}
	return 0;
}

static int on_returned(struct remote_lending *lending, const struct remote_returned *returned)
{
	enum remote_event event = REMOTE_HOME_ORDERLY;

	if (lending->state == LEND_HOME) {
		return -EPROTO;
	}
	if (returned->reason == REMOTE_RETURN_REMOVED || returned->reason == REMOTE_RETURN_BROKEN) {
		log_guest(&lending->log_rate, "remote", "%s is given back: %s", lending->port,
			  returned->text);
		event = REMOTE_REFUSED;
	}
	remote_lend_home(lending, event, returned->retry_ms, returned->text);
	return 0;
}

static int on_subs(struct remote_lending *lending, const struct remote_subs *subs)
{
	struct vmbus_channel *primary = lending->device->channel;

	if (lending->state == LEND_HOME || subs->count > lending->device->sub_channels_max) {
		return -EPROTO;
	}
	atomic_store(&primary->subs_wanted, subs->count);
	loop_post(primary->control_loop, &primary->subs_asked);
	return 0;
}

static int on_inspected(struct remote_lending *lending, const struct remote_message *message)
{
	free(lending->inspected);
	lending->inspected = fault_alloc(1, message->tail_bytes + 1U);
	if (lending->inspected) {
		memcpy(lending->inspected, message->tail, message->tail_bytes);
		lending->inspected_bytes = message->tail_bytes;
	}
	return 0;
}

int remote_lend_on_message(struct remote_lending *lending, const struct remote_message *message)
{
	switch (message->type) {
	case REMOTE_MSG_STARTED:
		return on_started(lending, &message->started);
	case REMOTE_MSG_RETURNED:
		return on_returned(lending, &message->returned);
	case REMOTE_MSG_SUBS:
		return on_subs(lending, &message->subs);
	case REMOTE_MSG_INSPECTED:
		return on_inspected(lending, message);
	default:
		return -EPROTO;
	}
}

/* ---- for the gate ---- */

static bool is_away(const struct vmbus_lending *base)
{
	return container_of(base, struct remote_lending, base)->state != LEND_HOME;
}

static void recall(struct vmbus_lending *base, enum remote_recall_reason reason)
{
	remote_lend_send_recall(of(base), reason);
}

static bool wait(struct vmbus_lending *base, uint64_t until_ns)
{
	struct remote_lending *lending = of(base);
	uint64_t now = loop_now_ns();

	while (lending->state != LEND_HOME && now < until_ns) {
		remote_socket_wait(&lending->worker->socket, (int)((until_ns - now) / 1000000 + 1));
		now = loop_now_ns();
	}
	return lending->state == LEND_HOME;
}

static void touched(struct vmbus_lending *base)
{
	struct remote_lending *lending = of(base);

	if (lending->state == LEND_HOME) {
		/* Nobody here answers it: it is lent at once. */
		remote_lend_later(lending, lending->is_mute ? 0 : lending->quiet_ns);
	}
}

/* A twin sees its close() at home. */
static void closing(struct vmbus_lending *base)
{
	struct remote_lending *lending = of(base);

	if (!lending->is_mute) {
		return;
	}
	if (lending->state == LEND_HOME) {
		drop_journal(lending);
	} else if (lending->state != LEND_RETURNING) {
		lending->closes = true;
	}
}

static void inspect(struct vmbus_lending *base, struct inspect *at)
{
	struct remote_lending *lending = of(base);
	struct remote_message message = { .type = REMOTE_MSG_INSPECT };
	uint64_t now = loop_now_ns(), until_ns = now + INSPECT_LIMIT_NS;

	free(lending->inspected);
	lending->inspected = NULL;
	if (lending->worker->is_stalled) {
		inspect_bool(at, "stalled", true);
		return;
	}
	send(lending, &message, NULL, 0);
	while (!lending->inspected && lending->state != LEND_HOME && now < until_ns) {
		remote_socket_wait(&lending->worker->socket, (int)((until_ns - now) / 1000000 + 1));
		now = loop_now_ns();
	}
	if (lending->inspected) {
		inspect_text(at, "host", lending->inspected, lending->inspected_bytes);
	}
}

const struct vmbus_lending_ops remote_lending_ops = {
	.is_away = is_away,
	.recall = recall,
	.wait = wait,
	.touched = touched,
	.inspect = inspect,
	.closing = closing,
};

void remote_lend_free(struct remote_lending *lending)
{
	check(lending->state == LEND_HOME);
	drop_journal(lending);
	loop_timer_cancel(&lending->quiet);
	loop_cancel(lending->worker->bus->loop, &lending->over);
	lending->device->lending = NULL;
	lending->worker->lendings[lending->number] = NULL;
	free(lending->inspected);
	free(lending);
}

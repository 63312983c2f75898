/* SPDX-License-Identifier: MIT */
/*
 * A device that a worker has lent: it comes in pieces (LEND, GPADLs, CHANNELs), is put together at
 * START, serves, and is given back. Whatever is wrong with the pieces is told in STARTED.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "base/num.h"
#include "vmbus/remote_host_internal.h"

/* Two rings of so many runs of pages: their data twice, their control pages, a run split between. */
#define RING_MAPPINGS(runs) (2 * (runs) + 4)

static void send(const struct loan *loan, struct remote_message *message)
{
	message->device = loan->number;
	remote_socket_send(&loan->peer->socket, message, NULL, 0);
}

static void refuse(struct loan *loan, int err, const char *text)
{
	if (!loan->error) {
		loan->error = diag_set(&loan->why, err, "%s", text);
	}
}

/* ---- the end ---- */

static void end_signal(void *arg)
{
	struct vmbus_channel *channel = arg;

	loop_signal_destroy(channel->signal);
	channel->signal = NULL;
}

/* Not open; its rings may be mapped. */
static void drop_channel(struct vmbus_channel *channel)
{
	loop_call(channel->loop, end_signal, channel);
	channel_unmap_rings(channel);
	gpadl_put(channel->ring_gpadl);
	channel->ring_gpadl = NULL;
	channel_destroy(channel);
}

static void drop_channels(struct loan *loan)
{
	for (unsigned int i = 0; i < loan->channel_count; i++) {
		drop_channel(loan->channels[i]);
	}
	loan->channel_count = 0;
	for (unsigned int i = 0; i < loan->described_count; i++) {
		if (loan->described[i].doorbell_fd >= 0) {
			close(loan->described[i].doorbell_fd);
		}
	}
	loan->described_count = 0;
}

/* All of it, whatever there is; afterwards nothing of the guest's is mapped for it. */
static void drop(struct loan *loan)
{
	struct remote_peer *peer = loan->peer;

	drop_channels(loan);
	if (loan->device) {
		loan->device->channel = NULL;
		loan->service->destroy(peer->host->config.ctx, loan->device);
		loan->device = NULL;
	}
	for (unsigned int i = 0; i < loan->gpadl_count; i++) {
		check(gpadl_table_teardown(peer->gpadls, loan->gpadls[i]) == 0);
	}
	if (loan->journal_map) {
		munmap(loan->journal_map, loan->journal_bytes);
	}
	if (loan->journal_fd >= 0) {
		close(loan->journal_fd);
	}
	remote_peer_give_fds(peer, loan->fds);
	peer->loans[loan->number] = NULL;
}

static void finish(struct loan *loan)
{
	struct remote_peer *peer = loan->peer;
	struct remote_message message = { .type = REMOTE_MSG_RETURNED };

	drop(loan);
	message.returned.reason = loan->reason;
	message.returned.status = loan->error;
	message.returned.retry_ms = loan->retry_ms;
	remote_copy_text(message.returned.text, sizeof(message.returned.text), loan->why.text);
	send(loan, &message); /* the last word: nothing is mapped any more */
	loop_cancel(peer->host->config.control, &loan->stopped);
	free(loan);
	remote_peer_let_go(peer);
}

static void leave(struct loan *loan)
{
	struct device_journal d = { .device = loan->device,
				    .channels = loan->channels,
				    .channel_count = loan->channel_count,
				    .journal = &loan->journal };

	if (loan->channel_count > 0) {
		device_journal_leave(&d);
	} else if (loan->device->ops->log_attach && journal_log(&loan->journal)) {
		loan->device->ops->log_attach(loan->device, NULL); /* all are closed */
	}
	finish(loan);
}

static void close_on_loop(void *arg)
{
	channel_close(arg);
}

static void set_paused_on_loop(void *arg)
{
	channel_set_paused(arg, true);
}

static bool wants_close(const struct loan *loan, uint32_t relid)
{
	for (unsigned int i = 0; i < loan->close_count; i++) {
		if (loan->closes[i] == relid) {
			return true;
		}
	}
	return false;
}

/* The service has come to rest. First those whose close() the VSP shall see; then the others leave. */
static void on_stopped(struct loop_work *work)
{
	struct loan *loan = container_of(work, struct loan, stopped);
	bool all = loan->close_count > 0 && wants_close(loan, loan->channels[0]->relid); /* D4 */

	for (unsigned int i = loan->channel_count; i-- > 0;) {
		struct vmbus_channel *channel = loan->channels[i];

		if (all || wants_close(loan, channel->relid)) {
			loan->closing++;
			loop_call(channel->loop, close_on_loop, channel);
		}
	}
	if (loan->closing == 0) {
		leave(loan);
	}
}

static void on_channel_closed(struct loop_work *work)
{
	struct vmbus_channel *channel = container_of(work, struct vmbus_channel, closed);
	struct loan *loan = channel->owner;

	unsigned int at = 0;

	while (at < loan->channel_count && loan->channels[at] != channel) {
		at++;
	}
	if (at < loan->channel_count) {
		loan->channel_count--;
		for (; at < loan->channel_count; at++) {
			loan->channels[at] = loan->channels[at + 1];
		}
		drop_channel(channel);
	}
	if (--loan->closing == 0) {
		leave(loan);
	}
}

void loan_stop(struct loan *loan, enum remote_return_reason reason, uint32_t retry_ms,
	       const char *text)
{
	const struct remote_host_config *config = &loan->peer->host->config;

	if (loan->state == LOAN_STOPPING) {
		return;
	}
	bool was_served = loan->state == LOAN_SERVED;

	loan->state = LOAN_STOPPING;
	loan->reason = reason;
	loan->retry_ms = retry_ms;
	remote_copy_text(loan->why.text, sizeof(loan->why.text), text);
	if (!was_served) {
		finish(loan);
		return;
	}
	for (unsigned int i = 0; i < loan->channel_count; i++) {
		loop_call(loan->channels[i]->loop, set_paused_on_loop, loan->channels[i]);
	}
	if (loan->service->stop) {
		loan->service->stop(config->ctx, loan->device, &loan->stopped);
	} else {
		loop_post(config->control, &loan->stopped);
	}
}

/* ---- the pieces ---- */

/* One more descriptor of the worker's stays; else the device is refused. */
static bool take_fd(struct loan *loan)
{
	if (!remote_peer_take_fds(loan->peer, 1)) {
		refuse(loan, -EMFILE, "the worker has used up its descriptors here");
		return false;
	}
	loan->fds++;
	return true;
}

/* More than so many in a second. */
static bool is_flood(uint64_t *window_ns, uint32_t *count, uint32_t most)
{
	uint64_t now = loop_now_ns();

	if (now - *window_ns > 1000000000ULL) {
		*window_ns = now;
		*count = 0;
	}
	return ++*count > most;
}

static const struct remote_service *find_service(const struct remote_host *host, const char *kind)
{
	for (size_t i = 0; i < host->config.service_count; i++) {
		if (strcmp(host->config.services[i].kind, kind) == 0) {
			return &host->config.services[i];
		}
	}
	return NULL;
}

static void copy_lend(struct loan *loan, const struct remote_message *message)
{
	const struct remote_lend *lend = &message->lend;
	const struct remote_peer *peer = loan->peer;

	memcpy(loan->kind, lend->kind, sizeof(loan->kind));
	memcpy(loan->port, lend->port, sizeof(loan->port));
	loan->offer.interface_type = lend->interface_type;
	loan->offer.interface_instance = lend->interface_instance;
	loan->offer.flags = lend->offer_flags;
	loan->offer.mmio_mib = lend->mmio_mib;
	memcpy(loan->offer.user_defined, lend->user_defined, sizeof(loan->offer.user_defined));
	if (message->tail_bytes > 0) {
		memcpy(loan->config, message->tail, message->tail_bytes);
	}
	loan->channels_expected = lend->channels;
	loan->gpadls_expected = lend->gpadls;
	loan->journal_bytes = lend->journal_bytes;
	loan->info = (struct remote_loan){
		.kind = loan->kind,
		.port = loan->port,
		.partition = peer->name,
		.uid = peer->uid,
		.pid = peer->pid,
		.vps = peer->vps,
		.channels = lend->channels,
		.vmbus_version = lend->vmbus_version,
		.offer = &loan->offer,
		.config = loan->config,
		.config_bytes = message->tail_bytes,
	};
	memcpy(loan->info.uuid, peer->uuid, sizeof(loan->info.uuid));
}

static int on_lend(struct remote_peer *peer, const struct remote_message *message, int *fds)
{
	struct loan *loan;

	if (message->device >= REMOTE_DEVICES_MAX || peer->loans[message->device]) {
		return -EPROTO;
	}
	loan = fault_alloc(1, sizeof(*loan));
	if (!loan) {
		return -ENOMEM;
	}
	loan->peer = peer;
	loan->number = message->device;
	loan->journal_fd = -1;
	if (take_fd(loan)) {
		loan->journal_fd = steal_fd(&fds[0]);
	}
	loop_work_init(&loan->stopped, on_stopped);
	copy_lend(loan, message);
	peer->loans[loan->number] = loan;
	peer->lends++;
	loan->service = find_service(peer->host, loan->kind);
	if (is_flood(&peer->window_ns, &peer->lends_in_window,
		     peer->host->config.lends_per_second)) {
		refuse(loan, -EAGAIN, "lent too often");
	} else if (!loan->service) {
		refuse(loan, -ENODEV, "no such kind of device here");
	} else if (message->device >= peer->host->config.devices_max) {
		refuse(loan, -ENOSPC, "too many devices");
	} else if (loan->service->may) {
		struct diag why = { "" };

		if (!loan->service->may(peer->host->config.ctx, &loan->info, &why)) {
			refuse(loan, -EPERM, why.text);
		}
	}
	return 0;
}

static int on_gpadl(struct loan *loan, const struct remote_message *message)
{
	const struct remote_gpadl *gpadl = &message->gpadl;
	struct gpadl_table *table = loan->peer->gpadls;
	int done = 0;

	if (loan->error) {
		return 0;
	}
	if (gpadl->first == 0) {
		uint8_t head[8];

		if (loan->gpadl_count == loan->gpadls_expected) {
			return -EPROTO;
		}
		bytes_put_le32(head, gpadl->length);
		bytes_put_le32(head + 4, gpadl->offset);
		done = gpadl_table_begin(table, gpadl->relid, gpadl->gpadl, 1, head, sizeof(head));
		if (done >= 0) {
			loan->gpadls[loan->gpadl_count++] = gpadl->gpadl;
		}
	} else if (loan->gpadl_count == 0 || loan->gpadls[loan->gpadl_count - 1] != gpadl->gpadl) {
		return -EPROTO; /* parts come in order */
	}
	if (done >= 0) {
		uint32_t relid;

		done = gpadl_table_append(table, gpadl->gpadl, message->tail, message->tail_bytes,
					  &relid);
		if (done < 0 && done != -ENOENT) {
			loan->gpadl_count--; /* the table has buried it */
		}
	}
	if (done < 0) {
		refuse(loan, done, "a GPADL that makes no sense");
	}
	return 0;
}

static int on_channel(struct loan *loan, const struct remote_message *message, int *fds)
{
	const struct remote_channel *channel = &message->channel;

	if (loan->error) {
		return 0;
	}
	if (loan->described_count == loan->channels_expected ||
	    (channel->index == 0) != (loan->described_count == 0) || channel->relid < 1 ||
	    channel->relid > VMBUS_RELID_MAX) {
		return -EPROTO;
	}
	for (unsigned int i = 0; i < loan->described_count; i++) {
		if (loan->described[i].index == channel->index ||
		    loan->described[i].relid == channel->relid) {
			return -EPROTO;
		}
	}
	if (!remote_host_is_eventfd(loan->peer->host, fds[0])) {
		refuse(loan, -EPERM, "a doorbell that is no eventfd");
		return 0;
	}
	if (!take_fd(loan)) {
		return 0;
	}
	struct loan_channel *to = &loan->described[loan->described_count++];

	to->relid = channel->relid;
	to->index = channel->index;
	to->flags = channel->flags;
	to->ring_gpadl = channel->ring_gpadl;
	to->downstream_page = channel->downstream_page;
	memcpy(to->user_data, channel->user_data, sizeof(to->user_data));
	to->doorbell_fd = steal_fd(&fds[0]);
	return 0;
}

/* ---- put together ---- */

static void on_subs_asked(struct loop_work *work)
{
	struct vmbus_channel *channel = container_of(work, struct vmbus_channel, subs_asked);
	struct loan *loan = channel->owner;
	struct remote_message message = { .type = REMOTE_MSG_SUBS };

	message.subs.count = atomic_load(&channel->subs_wanted);
	send(loan, &message);
}

static int attach_journal(struct loan *loan)
{
	int err = mem_check_sealed(loan->journal_fd, loan->journal_bytes);

	if (err) {
		return diag_set(&loan->why, err, "the journal is no sealed memfd of its size");
	}
	void *map = mmap(NULL, loan->journal_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			 loan->journal_fd, 0);

	if (map == MAP_FAILED) {
		return diag_set(&loan->why, -ENOMEM, "the journal cannot be mapped");
	}
	loan->journal_map = map;
	err = journal_attach(&loan->journal, map, loan->journal_bytes);
	if (err) {
		return diag_set(&loan->why, err, "the journal is of another version, or broken");
	}
	return 0;
}

/* Does what the worker has made fit what our VSP needs? */
static int check_journal(struct loan *loan)
{
	const struct journal_config *has = &loan->journal.config;
	struct journal_config wants = device_journal_config(loan->device, has->channels);

	for (unsigned int i = 0; i < loan->described_count; i++) {
		uint16_t index = loan->described[i].index;

		if (index >= has->channels || index > loan->device->sub_channels_max) {
			return diag_set(&loan->why, -EINVAL, "more channels than there may be");
		}
	}
	if (has->log_bytes != wants.log_bytes || has->keep_slots != wants.keep_slots ||
	    has->keep_slot_bytes != wants.keep_slot_bytes) {
		return diag_set(&loan->why, -EPROTONOSUPPORT, "the journal is of another VSP");
	}
	return 0;
}

static int make_channel(struct loan *loan, struct loan_channel *from)
{
	struct remote_peer *peer = loan->peer;
	struct vmbus_device *device = loan->device;
	struct vmbus_channel *channel;
	struct channel_place place = {
		.owner = loan,
		.loop = from->index ? device->sub_loops[from->index - 1] : device->loop,
		.control_loop = peer->host->config.control,
		.mem = peer->mem,
		.synic = &peer->synic.base,
		.gpadls = peer->gpadls,
		.doorbell_fd_take = steal_fd(&from->doorbell_fd),
		.closed = on_channel_closed,
		.subs_asked = on_subs_asked,
	};
	int err = channel_create(&place, device, from->index, &channel);

	if (err) {
		return diag_set(&loan->why, err, "no memory");
	}
	loan->channels[loan->channel_count++] = channel;
	channel->relid = from->relid;
	channel->version = loan->info.vmbus_version;
	channel->board_target_vp = &peer->board->target_vp[from->relid];
	channel->downstream_page = from->downstream_page;
	err = gpadl_table_get(peer->gpadls, from->relid, from->ring_gpadl, &channel->ring_gpadl);
	return err ? diag_set(&loan->why, err, "a ring without its GPADL") : 0;
}

/* Scattered pages cost mappings, of which the process has a limited number for all. */
static int check_mappings(struct loan *loan)
{
	size_t total = 0;

	for (unsigned int i = 0; i < loan->channel_count; i++) {
		size_t pages;
		const uint64_t *gfns = gpadl_gfns(loan->channels[i]->ring_gpadl, &pages);

		total += RING_MAPPINGS(mem_count_runs(gfns, pages));
	}
	return total > loan->peer->host->config.mappings_max
		       ? diag_set(&loan->why, -ENOSPC, "its rings lie in too many pieces")
		       : 0;
}

static void make_signal(void *arg)
{
	struct vmbus_channel *channel = arg;

	channel->signal = loop_signal_create(channel->loop);
}

static int map_channels(struct loan *loan)
{
	int err = check_mappings(loan);

	for (unsigned int i = 0; i < loan->channel_count && !err; i++) {
		struct vmbus_channel *channel = loan->channels[i];

		err = channel_map_rings(channel);
		if (err) {
			return diag_set(&loan->why, err, "a ring cannot be mapped");
		}
		loop_call(channel->loop, make_signal, channel);
		if (!channel->signal) {
			return diag_set(&loan->why, -ENOMEM, "no memory");
		}
	}
	return err;
}

struct open_args {
	struct vmbus_channel *channel;
	const uint8_t *user_data;
	int result;
};

static void open_on_loop(void *arg)
{
	struct open_args *args = arg;

	args->channel->is_paused = true;
	args->result = channel_open(args->channel, args->user_data);
}

/*
 * The VSP has not seen the channel's open() yet, since nobody at the worker has it: it does now, and
 * what it thinks then is what it is restored from.
 */
static int open_fresh(struct loan *loan, const struct device_journal *d)
{
	struct open_args args = { d->channels[0], loan->described[0].user_data, 0 };

	if (d->channel_count > 1) {
		return diag_set(&loan->why, -EOPNOTSUPP, "a fresh device has one channel");
	}
	loop_call(args.channel->loop, open_on_loop, &args);
	if (args.result) {
		return diag_set(&loan->why, args.result, "its VSP refuses to open: %s",
				strerror(-args.result));
	}
	int err = device_journal_write(d, loan->journal_map, loan->journal_bytes);

	device_journal_leave(d);
	return err ? err : channel_map_rings(args.channel);
}

static int restore(struct loan *loan)
{
	struct device_journal d = { .device = loan->device,
				    .channels = loan->channels,
				    .channel_count = loan->channel_count,
				    .journal = &loan->journal };
	int err = 0;

	if (loan->described[0].flags & REMOTE_CHANNEL_FRESH) {
		err = open_fresh(loan, &d);
		if (err) {
			return err;
		}
	}
	err = device_journal_restore(&d, true, false);
	return err ? diag_set(&loan->why, err, "what the journal says cannot be") : 0;
}

static int assemble(struct loan *loan)
{
	const struct remote_host_config *config = &loan->peer->host->config;
	int err = attach_journal(loan);

	if (!err) {
		err = loan->service->create(config->ctx, &loan->info, &loan->device, &loan->why);
	}
	if (err) {
		loan->device = NULL;
		return err;
	}
	loan->device->offer = loan->offer;
	err = check_journal(loan);
	for (unsigned int i = 0; i < loan->described_count && !err; i++) {
		err = make_channel(loan, &loan->described[i]);
	}
	if (err) {
		return err;
	}
	loan->device->channel = loan->channels[0];
	err = map_channels(loan);
	return err ? err : restore(loan);
}

static int on_start(struct loan *loan)
{
	struct remote_peer *peer = loan->peer;
	struct remote_message message = { .type = REMOTE_MSG_STARTED };

	if (!loan->error && (loan->described_count != loan->channels_expected ||
			     loan->gpadl_count != loan->gpadls_expected)) {
		return -EPROTO;
	}
	if (!loan->error) {
		loan->error = assemble(loan);
	}
	message.started.status = loan->error;
	if (!loan->error) {
		loan->state = LOAN_SERVED;
		send(loan, &message);
		if (loan->service->started) {
			loan->service->started(peer->host->config.ctx, loan->device);
		}
		return 0;
	}
	peer->refusals++;
	remote_copy_text(message.started.text, sizeof(message.started.text), loan->why.text);
	drop(loan);
	send(loan, &message);
	free(loan);
	remote_peer_let_go(peer);
	return 0;
}

/* ---- messages about a loan ---- */

static void on_recall(struct loan *loan, const struct remote_message *message)
{
	for (unsigned int i = 0; i < message->recall.close_count; i++) {
		loan->closes[i] = bytes_le32(message->tail + 4U * i);
	}
	loan->close_count = message->recall.close_count;
	loan_stop(loan, REMOTE_RETURN_RECALLED, 0, "");
}

void loan_inspect(const struct loan *loan, struct inspect *at)
{
	static const char *const states[] = { "coming", "served", "stopping" };

	inspect_string(at, "kind", loan->kind);
	inspect_string(at, "port", loan->port);
	inspect_string(at, "state", states[loan->state]);
	for (unsigned int i = 0; loan->state == LOAN_SERVED && i < loan->channel_count; i++) {
		struct inspect item = inspect_item(at, "channels");

		channel_inspect(loan->channels[i], &item);
	}
}

static int on_inspect(const struct loan *loan)
{
	char text[REMOTE_MESSAGE_BYTES_MAX - sizeof(struct remote_header)];
	struct remote_peer *peer = loan->peer;
	struct remote_message message = { .type = REMOTE_MSG_INSPECTED };
	struct inspect tree = { 0 };

	if (!is_flood(&peer->inspect_window_ns, &peer->inspects_in_window,
		      REMOTE_HOST_INSPECTS_PER_SECOND)) {
		tree = inspect_init();
	}
	if (tree.object) {
		loan_inspect(loan, &tree);
		message.tail_bytes = (uint32_t)inspect_print(&tree, text, sizeof(text));
		message.tail = (const uint8_t *)text;
		inspect_fini(&tree);
	}
	send(loan, &message);
	return 0;
}

int loan_on_message(struct remote_peer *peer, const struct remote_message *message, int *fds)
{
	struct loan *loan =
		message->device < REMOTE_DEVICES_MAX ? peer->loans[message->device] : NULL;
	bool is_coming = loan && loan->state == LOAN_COMING;

	switch (message->type) {
	case REMOTE_MSG_LEND:
		return on_lend(peer, message, fds);
	case REMOTE_MSG_GPADL:
		return is_coming ? on_gpadl(loan, message) : -EPROTO;
	case REMOTE_MSG_CHANNEL:
		return is_coming ? on_channel(loan, message, fds) : -EPROTO;
	case REMOTE_MSG_START:
		return is_coming ? on_start(loan) : -EPROTO;
	case REMOTE_MSG_RECALL:
		if (loan) { /* else it crossed its RETURNED */
			on_recall(loan, message);
		}
		return 0;
	case REMOTE_MSG_INSPECT:
		return loan ? on_inspect(loan) : 0;
	default:
		return -EPROTO;
	}
}

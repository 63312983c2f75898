/* SPDX-License-Identifier: MIT */
#include "vmbus/journaled.h"

#include <errno.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"

struct call {
	const struct device_journal *d;
	struct vmbus_channel *channel;
	uint8_t *bank; /* JOURNAL_BANK_BYTES */
	bool flag;
	int result;
};

/* On the channel's loop. */
static int call_on(struct vmbus_channel *channel, void (*fn)(void *arg), struct call *call)
{
	call->channel = channel;
	call->result = 0;
	loop_call(channel->loop, fn, call);
	return call->result;
}

static struct vmbus_channel *primary_of(const struct device_journal *d)
{
	for (unsigned int i = 0; i < d->channel_count; i++) {
		if (d->channels[i]->index == 0) {
			return d->channels[i];
		}
	}
	check(false);
	return NULL;
}

struct journal_config device_journal_config(const struct vmbus_device *device, uint32_t channels)
{
	const struct vmbus_device_ops *ops = device->ops;

	return (struct journal_config){
		.channels = channels,
		.log_bytes = ops->log_bytes ? ops->log_bytes(device) : 0,
		.keep_slots = ops->keep_max,
		.keep_slot_bytes =
			ops->keep_max ? (uint32_t)num_align_up(ops->packet_bytes_max, 8) : 0,
	};
}

/* ---- writing ---- */

static void write_channel(void *arg)
{
	struct call *call = arg;

	call->result = channel_write_journal(call->channel, call->d->journal);
}

static void write_device(void *arg)
{
	struct call *call = arg;
	struct vmbus_device *device = call->d->device;

	call->result = channel_write_bank(call->channel, call->d->journal, 1);
	if (!call->result && device->ops->log_write && journal_log(call->d->journal)) {
		device->ops->log_write(device, journal_log(call->d->journal));
	}
}

int device_journal_write(const struct device_journal *d, void *base, size_t bytes)
{
	struct call call = { .d = d };
	uint32_t indices = 0;
	int err = 0;

	if (!d->device->ops->save || !d->device->ops->load) {
		return -EOPNOTSUPP;
	}
	for (unsigned int i = 0; i < d->channel_count; i++) {
		if (d->channels[i]->index >= indices) {
			indices = d->channels[i]->index + 1U;
		}
	}
	if (indices > JOURNAL_CHANNELS_MAX) {
		return -E2BIG;
	}
	const struct journal_config config = device_journal_config(d->device, indices);

	if (journal_bytes(&config) > bytes) {
		return -E2BIG;
	}
	journal_format(d->journal, base, &config);
	for (unsigned int i = 0; !err && i < d->channel_count; i++) {
		err = call_on(d->channels[i], write_channel, &call);
	}
	if (!err) {
		err = call_on(primary_of(d), write_device, &call);
	}
	if (!err) {
		journal_set_clean(d->journal, true);
	}
	return err;
}

/* ---- restoring ---- */

static void restore_channel(void *arg)
{
	struct call *call = arg;

	call->result = channel_restore_from(call->channel, call->d->journal);
}

static void load_device(void *arg)
{
	struct call *call = arg;
	struct vmbus_device *device = call->d->device;
	const struct journal *journal = call->d->journal;
	struct load load;
	size_t length;

	if (call->channel->fresh) {
		return; /* it has opened, and there is nothing to load */
	}
	int err = journal_bank_find(call->d->journal, call->channel->seq, call->bank, &length);

	if (!err) {
		load_init(&load, call->bank, length);
		err = device->ops->load(device, &load);
	}
	if (!err && device->ops->recover) {
		err = device->ops->recover(device, journal_log(journal), journal_is_clean(journal));
	}
	call->result = err == -ENOENT ? -EBADMSG : err;
}

static void drop_channel(void *arg)
{
	channel_drop(((struct call *)arg)->channel);
}

static void go_on(void *arg)
{
	struct call *call = arg;

	channel_go_on(call->channel, call->flag);
	if (call->channel->fresh && call->channel->index == 0) {
		vmbus_channel_touch(call->channel);
	}
}

static void unpause(void *arg)
{
	channel_set_paused(((struct call *)arg)->channel, false);
}

static int restore(const struct device_journal *d, struct call *call)
{
	unsigned int i;
	int err = 0;

	for (i = 0; !err && i < d->channel_count; i++) {
		err = call_on(d->channels[i], restore_channel, call);
	}
	if (!err) {
		err = call_on(primary_of(d), load_device, call);
		if (!err) {
			return 0;
		}
	} else {
		i--; /* the last one is not open */
	}
	while (i-- > 0) {
		(void)call_on(d->channels[i], drop_channel, call);
	}
	return err;
}

/* Whether the journal is for this device. */
static bool is_its_own(const struct device_journal *d)
{
	const struct journal_config *config = &d->journal->config;
	struct journal_config want = device_journal_config(d->device, config->channels);

	return config->log_bytes == want.log_bytes && config->keep_slots == want.keep_slots &&
	       config->keep_slot_bytes == want.keep_slot_bytes;
}

int device_journal_restore(const struct device_journal *d, bool goes_on, bool is_paused)
{
	const struct vmbus_device_ops *ops = d->device->ops;
	struct call call = { .d = d, .flag = goes_on };

	if (!is_its_own(d) || !ops->load) {
		return -EBADMSG;
	}
	call.bank = fault_alloc(1, JOURNAL_BANK_BYTES);
	if (!call.bank) {
		return -ENOMEM;
	}
	bool has_log = goes_on && ops->log_attach && journal_log(d->journal);

	if (has_log) {
		ops->log_attach(d->device, journal_log(d->journal));
	}
	int err = restore(d, &call);

	free(call.bank);
	if (err) {
		if (has_log) {
			ops->log_attach(d->device, NULL);
		}
		return err;
	}
	if (goes_on) {
		journal_set_clean(d->journal, false);
	}
	for (unsigned int i = 0; i < d->channel_count; i++) {
		(void)call_on(d->channels[i], go_on, &call);
	}
	for (unsigned int i = 0; !is_paused && i < d->channel_count; i++) {
		(void)call_on(d->channels[i], unpause, &call);
	}
	return 0;
}

/* ---- leaving ---- */

static void pause_channel(void *arg)
{
	channel_set_paused(((struct call *)arg)->channel, true);
}

static void leave_channel(void *arg)
{
	struct call *call = arg;

	/* The bank is written with the last commit, so that it is as new as the rings are. */
	if (call->channel->index == 0) {
		vmbus_channel_touch(call->channel);
	}
	channel_leave(call->channel);
}

void device_journal_leave(const struct device_journal *d)
{
	struct vmbus_channel *primary = primary_of(d);
	bool is_journaled = primary->journal != NULL;
	struct call call = { .d = d };

	for (unsigned int i = 0; i < d->channel_count; i++) {
		(void)call_on(d->channels[i], pause_channel, &call);
	}
	for (unsigned int i = 0; i < d->channel_count; i++) {
		if (d->channels[i] != primary) {
			(void)call_on(d->channels[i], leave_channel, &call);
		}
	}
	(void)call_on(primary, leave_channel, &call);
	if (is_journaled) {
		if (d->device->ops->log_attach && journal_log(d->journal)) {
			d->device->ops->log_attach(d->device, NULL);
		}
		journal_set_clean(d->journal, true);
	}
}

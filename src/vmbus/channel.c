/* SPDX-License-Identifier: MIT */
/* One channel on its I/O loop: ring to VSP, VSP to ring, doorbell and interrupt. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"
#include "vmbus/channel_internal.h"

/* Packets taken in one go before others on the loop have their turn. */
#define BATCH_PACKETS 64

/* How often to look for room when the guest does not signal it. */
#define ROOM_POLL_NS  1000000ULL

static const struct vmbus_device_ops *ops_of(const struct vmbus_channel *channel)
{
	return channel->device->ops;
}

/* ---- telling the guest ---- */

/* What was written is the guest's to see; must_signal is set if it has to be told now. */
static void publish_ring(struct vmbus_channel *channel)
{
	if (channel->out.write != channel->out.published) {
		channel_note_shown(channel, vmbus_ring_publish(&channel->out));
	}
}

/*
 * Makes final, at once, all that was read and written: see journal.h. must_signal is set if the guest
 * has to be told. The only place where a journaled channel's shared indices are stored (J2).
 */
static void commit(struct vmbus_channel *channel)
{
	struct vmbus_ring_reader *in = &channel->in;
	struct vmbus_ring_writer *out = &channel->out;

	check(!channel->holds_commit); /* J1 */
	if (in->read == in->committed && out->write == out->published && !channel->is_touched &&
	    channel->keep.answered == CHANNEL_SLOT_NONE) {
		return;
	}
	uint64_t seq = channel->seq + 1;

	if (channel->is_touched) {
		channel_save_bank(channel, seq);
	}
	journal_commit(channel->journal, channel->index, seq, in->read, out->write);
	channel->seq = seq;
	in->intent = in->read;
	out->intent = out->write;
	publish_ring(channel);
	if (vmbus_ring_commit(in)) {
		channel->must_signal = true;
	}
	channel_free_answered(channel);
	if (ops_of(channel)->committed) {
		channel->holds_commit = true; /* what it sends waits for the end of the round */
		ops_of(channel)->committed(channel->device, channel);
		channel->holds_commit = false;
	}
}

/* Lets the guest see all that was written; must_signal is set if it has to be told. */
static void publish(struct vmbus_channel *channel, bool in_vain)
{
	channel->is_urgent = false;
	coalesce_shown(&channel->coalesce, in_vain);
	if (channel->journal) {
		commit(channel);
		return;
	}
	publish_ring(channel);
}

/* Publishes, and signals once for all of it. */
static void show(struct vmbus_channel *channel, bool in_vain)
{
	publish(channel, in_vain);
	if (channel->must_signal) {
		channel->must_signal = false;
		channel_signal(channel);
	}
}

/* At the end of a round that wrote something. Answers may wait for others: see gather(). */
static void on_flush(struct loop_work *work)
{
	struct vmbus_channel *channel = container_of(work, struct vmbus_channel, flush);

	if (channel->is_open && (channel->is_urgent || channel->must_signal ||
				 coalesce_is_enough(&channel->coalesce))) {
		show(channel, false);
	}
}

static void kill_channel(struct vmbus_channel *channel, const char *why)
{
	if (!channel->is_dead) {
		channel->is_dead = true;
		vmbus_channel_fault(channel, "%s: the channel is dead until it is closed", why);
	}
}

/* ---- packets from the guest ---- */

/* One packet to the device. Whether to go on reading. */
static bool deliver(struct vmbus_channel *channel, const struct vmbus_packet *packet,
		    uint32_t packet_at)
{
	channel->holds_commit = true;
	int err = ops_of(channel)->packet(channel->device, channel, packet);

	channel->holds_commit = false;
	if (err == -EAGAIN) {
		vmbus_ring_unread(&channel->in, packet_at);
		channel->is_stopped = true;
		return false;
	}
	counter_add(&channel->packets_in, 1);
	if (err == -EBADMSG || err == -EOPNOTSUPP) {
		vmbus_channel_fault(channel, "packet of type %u and %u bytes refused: %s",
				    packet->type, packet->payload_bytes, strerror(-err));
	} else if (err) {
		kill_channel(channel, "protocol broken");
		return false;
	}
	return !channel->ends_batch;
}

static void note_taken(struct vmbus_channel *channel, unsigned int requests)
{
	struct coalesce *coalesce = &channel->coalesce;

	if (requests > 0) {
		coalesce_taken(coalesce, requests, coalesce_is_on(coalesce) ? loop_now_ns() : 0);
	}
}

static bool may_read(const struct vmbus_channel *channel)
{
	return channel->is_open && !channel->is_closing && !channel->is_dead &&
	       !channel->is_stopped && !channel->is_paused;
}

/* Up to a batch of packets from the ring. How many were taken. */
static unsigned int read_batch(struct vmbus_channel *channel)
{
	unsigned int taken = 0, requests = 0;

	for (; taken < BATCH_PACKETS; taken++) {
		struct vmbus_packet packet;
		uint32_t at = channel->in.read;
		int err = vmbus_ring_read(&channel->in, channel->packet_buf,
					  ops_of(channel)->packet_bytes_max, &packet);

		if (err == -EAGAIN) {
			break;
		}
		if (err) {
			kill_channel(channel, "guest → host ring broken");
			break;
		}
		requests += packet.wants_completion;
		if (!deliver(channel, &packet, at)) {
			taken += !channel->is_stopped;
			break;
		}
	}
	if (taken > 0) {
		note_taken(channel, requests);
	}
	return taken;
}

/* The packets that were kept where this channel was before. How many were taken. */
static unsigned int give_again(struct vmbus_channel *channel)
{
	struct vmbus_packet packet;
	unsigned int taken = 0;

	while (channel_again_next(channel, &packet)) {
		bool goes_on = deliver(channel, &packet, channel->in.read);

		if (channel->is_stopped) {
			channel->keep.now = CHANNEL_SLOT_NONE;
			break;
		}
		channel_again_taken(channel);
		taken++;
		if (!goes_on) {
			break;
		}
	}
	return taken;
}

/* Drains the ring, up to a batch. Whether there was anything. */
static bool drain(struct vmbus_channel *channel)
{
	unsigned int taken;

	if (!may_read(channel)) {
		return false;
	}
	channel->ends_batch = false;
	if (channel->keep.again) {
		taken = give_again(channel);
	} else if (vmbus_ring_has_packets(&channel->in)) {
		taken = read_batch(channel);
	} else {
		return false;
	}
	if (taken == 0) {
		return false;
	}
	counter_add(&channel->batches, 1);
	loop_note_work(channel->loop, taken);
	if (ops_of(channel)->batch_end && !channel->is_closing) {
		ops_of(channel)->batch_end(channel->device, channel);
	}
	if (channel->journal) {
		publish(channel, false);
	} else if (vmbus_ring_commit(&channel->in)) {
		channel->must_signal = true; /* the guest waits for room in its ring */
	}
	if (channel->must_signal) {
		loop_defer(channel->loop, &channel->flush);
	}
	return true;
}

/* The guest has made room that send() lacked. Whether it had. */
static bool look_for_room(struct vmbus_channel *channel)
{
	if (channel->room_wanted == 0 || !channel->is_open || channel->is_dead ||
	    channel->is_paused || !vmbus_ring_has_room(&channel->out, channel->room_wanted)) {
		return false;
	}
	channel->room_wanted = 0;
	(void)vmbus_ring_wait_room(&channel->out, 0);
	loop_timer_cancel(&channel->room_timer);
	if (ops_of(channel)->writable) {
		ops_of(channel)->writable(channel->device, channel);
	}
	return true;
}

/*
 * While more requests are expected, what there is waits for them: answers for the guest, submissions
 * for the kernel. When no more come, what was held back is submitted in this round; what that does at
 * once, as a RAM disk, is shown with the rest in the next. Whether the loop is to stay awake.
 */
static bool gather(struct vmbus_channel *channel)
{
	struct coalesce *coalesce = &channel->coalesce;

	if (!coalesce_is_on(coalesce)) {
		return false;
	}
	switch (coalesce_advise(coalesce, loop_now_ns())) {
	case COALESCE_GO_ON:
		return false;
	case COALESCE_WAIT:
		if (coalesce->outstanding > coalesce->held) {
			loop_hold_submissions(channel->loop, coalesce_submissions(coalesce));
		}
		return true;
	case COALESCE_SUBMIT:
		return true;
	case COALESCE_SHOW:
		show(channel, true);
		return true;
	}
	return false;
}

/* What has been gathered, if it is enough. Whether it was. */
static bool show_gathered(struct vmbus_channel *channel)
{
	if (!coalesce_is_on(&channel->coalesce) || !coalesce_is_enough(&channel->coalesce)) {
		return false;
	}
	show(channel, false);
	return true;
}

static bool on_poll(struct loop_poller *poller)
{
	struct vmbus_channel *channel = container_of(poller, struct vmbus_channel, poller);

	if (!channel->is_masked && may_read(channel)) {
		/* As long as we look by ourselves the guest need not signal. */
		vmbus_ring_mask(&channel->in);
		channel->is_masked = true;
	}
	/* Before what the round will submit, so that the guest can start on it at once. */
	bool any = show_gathered(channel);

	any |= drain(channel);
	any |= look_for_room(channel);
	return any | gather(channel);
}

static bool on_arm(struct loop_poller *poller)
{
	struct vmbus_channel *channel = container_of(poller, struct vmbus_channel, poller);
	bool holds = channel->coalesce.held > 0;

	if (holds) {
		show(channel, false); /* nobody else looks before the loop wakes */
	}
	if (!may_read(channel)) {
		return holds;
	}
	channel->is_masked = false;
	return vmbus_ring_arm(&channel->in) || look_for_room(channel) || holds;
}

static void on_doorbell(struct loop_watch *watch, uint32_t poll_events)
{
	struct vmbus_channel *channel = container_of(watch, struct vmbus_channel, doorbell);

	(void)poll_events;
	counter_add(&channel->doorbells, 1); /* the poller does the work, later in this round */
}

static void on_room_timer(struct loop_timer *timer)
{
	struct vmbus_channel *channel = container_of(timer, struct vmbus_channel, room_timer);

	if (!look_for_room(channel) && channel->room_wanted) {
		loop_timer_arm(timer, ROOM_POLL_NS);
	}
}

/* ---- life ---- */

static int start_rings(struct vmbus_channel *channel)
{
	uint32_t in_read, out_write;

	if (channel->journal) {
		journal_where(channel->journal, channel->index, channel->seq, &in_read, &out_write);
		return vmbus_ring_roll(&channel->in, in_read, &channel->out, out_write);
	}
	int err = vmbus_ring_reader_init(&channel->in);

	return err ? err : vmbus_ring_writer_init(&channel->out);
}

static void free_buffers(struct vmbus_channel *channel)
{
	channel_keep_fini(channel);
	free(channel->packet_buf);
	channel->packet_buf = NULL;
}

static int start(struct vmbus_channel *channel)
{
	static const struct loop_poller_ops poller_ops = { on_poll, on_arm };
	int err = start_rings(channel);

	if (err) {
		return err;
	}
	channel->packet_buf = fault_alloc(1, num_align_up(ops_of(channel)->packet_bytes_max, 8));
	err = channel->packet_buf ? channel_keep_init(channel) : -ENOMEM;
	if (!err) {
		err = loop_watch_start(channel->loop, &channel->doorbell, channel->doorbell_fd,
				       POLLIN, on_doorbell);
	}
	if (err) {
		free_buffers(channel);
		return err;
	}
	channel->is_open = true;
	channel->is_closing = channel->is_dead = channel->is_stopped = false;
	channel->holds_commit = channel->ends_batch = channel->is_touched = false;
	channel->must_signal = channel->is_masked = channel->is_written = false;
	channel->is_urgent = false;
	/* A loop that never spins sleeps at once: it has nothing to wait for. */
	coalesce_init(&channel->coalesce,
		      ops_of(channel)->coalesces && !channel->journal && loop_spins(channel->loop));
	channel->room_wanted = 0;
	channel->poller.ops = &poller_ops;
	loop_work_init(&channel->flush, on_flush);
	loop_timer_init(&channel->room_timer, channel->loop, on_room_timer);
	channel_signal_init(channel);
	loop_poller_add(channel->loop, &channel->poller);
	return 0;
}

static void stop(struct vmbus_channel *channel)
{
	channel->is_open = false;
	loop_watch_stop(&channel->doorbell);
	loop_poller_remove(channel->loop, &channel->poller);
	loop_timer_cancel(&channel->room_timer);
	loop_timer_cancel(&channel->lazy_timer);
	loop_cancel(channel->loop, &channel->flush);
	free_buffers(channel);
	channel->journal = NULL;
	channel->seq = 0;
}

int channel_open(struct vmbus_channel *channel, const uint8_t *user_data)
{
	int err = start(channel);

	if (err) {
		return err;
	}
	err = ops_of(channel)->open(channel->device, channel, user_data);
	if (err) {
		stop(channel);
	}
	return err;
}

static int start_restored(struct vmbus_channel *channel)
{
	const struct vmbus_device_ops *ops = ops_of(channel);
	int err = start(channel);

	if (err) {
		return err;
	}
	if (channel->fresh) {
		err = ops->open(channel->device, channel, channel->fresh);
	} else if (ops->restored) {
		err = ops->restored(channel->device, channel);
	}
	if (err) {
		stop(channel);
	}
	return err;
}

int channel_restore(struct vmbus_channel *channel)
{
	return start_restored(channel);
}

int channel_restore_from(struct vmbus_channel *channel, struct journal *journal)
{
	check(!channel->is_open);
	if (channel->index >= journal->config.channels ||
	    journal->config.keep_slots != ops_of(channel)->keep_max ||
	    journal_seq(journal, channel->index) == 0) {
		return -EBADMSG;
	}
	channel->is_paused = true;
	channel->journal = journal;
	channel->seq = journal_seq(journal, channel->index);
	int err = start_restored(channel);

	if (err) {
		channel->journal = NULL;
		channel->seq = 0;
	}
	return err;
}

void channel_go_on(struct vmbus_channel *channel, bool goes_on)
{
	check(channel->is_open && channel->is_paused && channel->journal);
	if (goes_on) {
		channel_again_reserve(channel);
	} else {
		channel->journal = NULL;
		channel->seq = 0;
		channel->in.is_journaled = channel->out.is_journaled = false;
		coalesce_init(&channel->coalesce,
			      ops_of(channel)->coalesces && loop_spins(channel->loop));
	}
	/* Who was here before may have died between an index and its signal. */
	channel_signal(channel);
}

void channel_drop(struct vmbus_channel *channel)
{
	check(channel->is_open && !channel->holds_commit);
	if (ops_of(channel)->leave) {
		ops_of(channel)->leave(channel->device, channel);
	}
	stop(channel);
}

void channel_leave(struct vmbus_channel *channel)
{
	check(channel->is_open && !channel->holds_commit);
	check(!channel->is_written || (channel->out.write == channel->out.published &&
				       channel->in.read == channel->in.committed)); /* J5 */
	show(channel, false);
	channel_drop(channel);
	channel_unmap_rings(channel);
}

void channel_close(struct vmbus_channel *channel)
{
	check(channel->is_open && !channel->is_closing);
	channel->is_closing = channel->ends_batch = true;
	channel->room_wanted = 0;
	ops_of(channel)->close(channel->device, channel);
}

void vmbus_channel_closed(struct vmbus_channel *channel)
{
	loop_check_here(channel->loop);
	check(channel->is_open && channel->is_closing);
	stop(channel);
	/* The control loop takes the rings away. */
	loop_post(channel->control_loop, &channel->closed);
}

void channel_show(struct vmbus_channel *channel)
{
	show(channel, false);
}

void channel_set_paused(struct vmbus_channel *channel, bool paused)
{
	bool was_paused = channel->is_paused;

	channel->is_paused = paused;
	channel->is_written = channel->is_written && paused;
	if (channel->is_open && channel->coalesce.held > 0) {
		show(channel, false); /* a saved ring has all that its device has answered */
	}
	if (channel->is_open && paused) {
		channel_pay(channel); /* and its event flag says so */
	}
	if (was_paused && !paused && vmbus_channel_is_open(channel) && ops_of(channel)->unpaused) {
		ops_of(channel)->unpaused(channel->device, channel);
	}
}

/* ---- for VSPs ---- */

struct loop *vmbus_channel_loop(const struct vmbus_channel *channel)
{
	return channel->loop;
}

const struct mem *vmbus_channel_mem(const struct vmbus_channel *channel)
{
	return channel->mem;
}

uint32_t vmbus_channel_relid(const struct vmbus_channel *channel)
{
	return channel->relid;
}

uint16_t vmbus_channel_index(const struct vmbus_channel *channel)
{
	return channel->index;
}

bool vmbus_channel_is_open(const struct vmbus_channel *channel)
{
	return channel->is_open && !channel->is_closing;
}

void vmbus_channel_offer_subs(struct vmbus_channel *primary, unsigned int count)
{
	loop_check_here(primary->loop);
	check(primary->index == 0 && count <= primary->device->sub_channels_max);
	atomic_store(&primary->subs_wanted, count);
	loop_post(primary->control_loop, &primary->subs_asked);
}

bool vmbus_channel_is_paused(const struct vmbus_channel *channel)
{
	return channel->is_paused;
}

uint32_t vmbus_channel_version(const struct vmbus_channel *channel)
{
	return channel->version;
}

static uint64_t content_bytes(const struct vmbus_send *send)
{
	uint64_t bytes = send->descriptor_bytes;

	for (int i = 0; i < send->payload_count; i++) {
		bytes += send->payload[i].iov_len;
	}
	return bytes;
}

/* It is about to leave: there is no room, until it goes on here after all. */
static bool has_left(struct vmbus_channel *channel, uint64_t bytes)
{
	if (channel->is_written) {
		channel->room_wanted = bytes;
	}
	return channel->is_written;
}

/* No room: ask the guest to signal when there is. Whether there is now after all. */
static bool wait_for_room(struct vmbus_channel *channel, uint64_t bytes)
{
	counter_add(&channel->ring_full, 1);
	/* The guest makes room only from what it has been shown, and told of. */
	channel_hurry(channel);
	loop_defer(channel->loop, &channel->flush);
	if (channel->journal && channel->holds_commit) {
		channel->ends_batch = channel->is_urgent = true; /* J1: when packet() returns */
	} else {
		publish(channel, false);
	}
	if (vmbus_ring_wait_room(&channel->out, bytes)) {
		return true;
	}
	channel->room_wanted = bytes;
	if (!vmbus_ring_signals_room(&channel->out)) {
		loop_timer_arm(&channel->room_timer, ROOM_POLL_NS);
	}
	return false;
}

int vmbus_channel_send(struct vmbus_channel *channel, const struct vmbus_send *send)
{
	loop_check_here(channel->loop);
	if (!channel->is_open || channel->is_dead) {
		return -EPIPE;
	}
	if (has_left(channel, content_bytes(send))) {
		return -EAGAIN;
	}
	int err = vmbus_ring_write(&channel->out, send);

	if (err == -EAGAIN && wait_for_room(channel, content_bytes(send))) {
		err = vmbus_ring_write(&channel->out, send);
	}
	if (err == -EPROTO) {
		kill_channel(channel, "host → guest ring broken");
		return -EPIPE;
	}
	if (!err) {
		counter_add(&channel->packets_out, 1);
		channel_note_sent(channel, send->lazy_bytes);
		loop_defer(channel->loop, &channel->flush);
		if (send->type == VMBUS_PACKET_COMPLETION) {
			coalesce_answered(&channel->coalesce);
		} else {
			channel->is_urgent = true;
		}
	}
	return err;
}

int vmbus_channel_send_inband(struct vmbus_channel *channel, uint64_t transaction_id,
			      bool wants_completion, const void *payload, uint32_t bytes)
{
	struct iovec iov = { .iov_base = (void *)payload, .iov_len = bytes };
	struct vmbus_send send = { .type = VMBUS_PACKET_INBAND,
				   .wants_completion = wants_completion,
				   .transaction_id = transaction_id,
				   .payload = &iov,
				   .payload_count = 1 };

	return vmbus_channel_send(channel, &send);
}

int vmbus_channel_complete_lazily(struct vmbus_channel *channel, uint64_t transaction_id,
				  const void *payload, uint32_t bytes, uint32_t lazy_bytes)
{
	struct iovec iov = { .iov_base = (void *)payload, .iov_len = bytes };
	struct vmbus_send send = { .type = VMBUS_PACKET_COMPLETION,
				   .transaction_id = transaction_id,
				   .payload = &iov,
				   .payload_count = bytes ? 1 : 0,
				   .lazy_bytes = lazy_bytes };

	return vmbus_channel_send(channel, &send);
}

int vmbus_channel_complete(struct vmbus_channel *channel, uint64_t transaction_id,
			   const void *payload, uint32_t bytes)
{
	return vmbus_channel_complete_lazily(channel, transaction_id, payload, bytes, 0);
}

bool vmbus_channel_has_room(const struct vmbus_channel *channel, uint32_t bytes)
{
	return channel->is_open && !channel->is_written &&
	       vmbus_ring_has_room(&((struct vmbus_channel *)channel)->out, bytes);
}

bool vmbus_channel_wait_room(struct vmbus_channel *channel, uint32_t bytes)
{
	loop_check_here(channel->loop);
	return channel->is_open && !has_left(channel, bytes) &&
	       (vmbus_ring_has_room(&channel->out, bytes) || wait_for_room(channel, bytes));
}

void vmbus_channel_resume(struct vmbus_channel *channel)
{
	loop_check_here(channel->loop);
	channel->is_stopped = false; /* the poller looks in this round or the next */
}

void vmbus_channel_yield(struct vmbus_channel *channel)
{
	channel->ends_batch = true;
}

void vmbus_channel_touch(struct vmbus_channel *primary)
{
	check(primary->index == 0);
	if (primary->journal) {
		primary->is_touched = primary->is_urgent = true;
		loop_defer(primary->loop, &primary->flush);
	}
}

int vmbus_channel_gpadl_get(struct vmbus_channel *channel, uint32_t id, struct gpadl **ret)
{
	return gpadl_table_get(channel->gpadls, channel->relid, id, ret);
}

void vmbus_channel_fault(struct vmbus_channel *channel, const char *fmt, ...)
{
	char text[160];
	va_list args;

	counter_add(&channel->faults, 1);
	if (log_guest_drops(&channel->log_rate)) {
		return;
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_guest(&channel->log_rate, ops_of(channel)->name, "channel %u: %s", channel->relid,
		  text);
}

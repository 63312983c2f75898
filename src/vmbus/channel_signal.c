/* SPDX-License-Identifier: MIT */
/*
 * When a channel's guest is interrupted for what it has been shown: at once, or, for lazy packets, with
 * the next that is not lazy, or when there are enough of them, or after a while.
 *
 *            a lazy packet is shown to          a packet that is not lazy is shown,
 *            a guest that does not look         or the lazy ones are too many
 *   nothing ───────────────────────────► owed ────────────────────────────────────► interrupted
 *   owed       ▲                          │  │                                           │
 *      ▲       └── the guest looks ───────┘  └── the timer; the machine is paused ──►────┤
 *      └─────────────────────────────────────────────────────────────────────────────────┘
 *
 * Whoever serves the channel next interrupts the guest first thing (channel_go_on()), so that what is
 * owed need not be known beyond the process.
 */
#include "dev/synic.h"
#include "vmbus/channel_internal.h"

/* Of what was shown. What is written, but not yet shown, is in the hurry that it was in. */
static void owe_nothing(struct vmbus_channel *channel)
{
	loop_timer_cancel(&channel->lazy_timer);
	if (channel->out.write == channel->out.published) {
		channel->is_prompt = false;
		channel->lazy_packets = 0;
		channel->lazy_bytes = 0;
	}
}

void channel_signal(struct vmbus_channel *channel)
{
	struct synic *synic = channel->synic;
	const _Atomic(uint32_t) *at =
		channel->board_target_vp ? channel->board_target_vp : &channel->target_vp;
	uint32_t vp = atomic_load_explicit(at, memory_order_relaxed);
	int fd = synic->ops->sint_eventfd(synic, vp, VMBUS_SINT);

	vmbus_ring_told(&channel->out);
	owe_nothing(channel);
	if (fd >= 0 && synic->ops->set_event_flag(synic, vp, VMBUS_SINT, channel->relid)) {
		counter_add(&channel->interrupts, 1);
		if (channel->signal) {
			loop_signal_once(channel->signal, fd);
		} else {
			loop_signal_eventfd(channel->loop, fd);
		}
	}
}

void channel_hurry(struct vmbus_channel *channel)
{
	channel->is_prompt = true;
	if (loop_timer_is_armed(&channel->lazy_timer)) {
		channel->must_signal = true;
	}
}

static bool must_be_told(const struct vmbus_channel *channel)
{
	return channel->is_prompt || channel->is_paused ||
	       channel->lazy_packets > VMBUS_LAZY_PACKETS || channel->lazy_bytes > VMBUS_LAZY_BYTES;
}

void channel_note_shown(struct vmbus_channel *channel, bool is_owed)
{
	if (!is_owed) {
		owe_nothing(channel);
	} else if (must_be_told(channel)) {
		channel->must_signal = true;
	} else {
		counter_add(&channel->lazy, 1);
		if (!loop_timer_is_armed(&channel->lazy_timer)) {
			loop_timer_arm(&channel->lazy_timer, VMBUS_LAZY_NS);
		}
	}
}

/* Whether there was something that it has not looked at by itself. */
static bool pay_lazy(struct vmbus_channel *channel)
{
	if (!vmbus_ring_owes(&channel->out)) {
		owe_nothing(channel);
		return false;
	}
	channel_signal(channel);
	return true;
}

void channel_pay(struct vmbus_channel *channel)
{
	if (channel->must_signal) {
		channel->must_signal = false; /* the round's end would have done it */
		channel_signal(channel);
	} else if (loop_timer_is_armed(&channel->lazy_timer)) {
		(void)pay_lazy(channel);
	}
}

static void on_lazy_timer(struct loop_timer *timer)
{
	struct vmbus_channel *channel = container_of(timer, struct vmbus_channel, lazy_timer);

	if (pay_lazy(channel)) {
		counter_add(&channel->late, 1);
	}
}

void channel_signal_init(struct vmbus_channel *channel)
{
	loop_timer_init(&channel->lazy_timer, channel->loop, on_lazy_timer);
	owe_nothing(channel);
}

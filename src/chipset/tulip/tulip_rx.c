/* SPDX-License-Identifier: MIT */
/*
 * Frames to the guest (4.3.5). A frame goes into the buffers of as many descriptors as it needs; each is closed
 * when it is full. After a frame the next descriptor is looked at at once, and if it is the host's the
 * receiver is suspended and says so (RU). It looks again when it is asked to (CSR2) or with the next frame.
 *
 * A frame that finds no descriptor stays with the net for a while (TULIP_RX_HOLD_NS): most drivers give
 * buffers back without a word.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "chipset/tulip/tulip_internal.h"
#include "net/fifo.h"

#define HOLD_LOOK_NS    500000ULL /* how often a descriptor is looked for meanwhile */
#define VLAN_TYPE       0x8100U
#define VLAN_BYTES      4U
#define ADDRESSES       (2U * NET_MAC_BYTES)
#define TYPE_MIN        1501U /* less is a length: no Ethernet II frame */
#define LONG_MIN        (1518U + 1U)
#define LOOPED_EXTERNAL 2U

/* A frame on its way into descriptors: pieces, then zeroes, then the check sequence. */
struct source {
	const struct iovec *iov;
	size_t at;
	uint32_t data, padding, fcs_left; /* bytes that are still to come */
	uint8_t fcs[FCS_BYTES];
	uint8_t to[NET_MAC_BYTES];
	uint16_t type;
	uint32_t bytes; /* in all */
};

static struct tulip *from_front(struct net_front *front)
{
	return container_of(front, struct tulip, front);
}

/* ---- descriptors ------------------------------------------------------------------------------------- */

/* Whether the next descriptor is ours; suspended when it is not. */
static bool acquire(struct tulip *tulip, struct tulip_desc *ret)
{
	if (tulip_desc_read(tulip, tulip->rx.at, ret)) {
		return false;
	}
	if (ret->status & TULIP_DESC_OWN) {
		tulip->rx.state = TULIP_RS_WAIT;
		return true;
	}
	if (tulip->rx.state != TULIP_RS_SUSPENDED) { /* it is told once (3.2.2.5, RU) */
		tulip->rx.state = TULIP_RS_SUSPENDED;
		tulip_raise(tulip, TULIP_CSR5_RU);
	}
	return false;
}

void tulip_rx_miss(struct tulip *tulip)
{
	tulip->counters.rx_missed++;
	if ((tulip->missed & TULIP_CSR8_MISSED_MAX) == TULIP_CSR8_MISSED_MAX) {
		tulip->missed = TULIP_CSR8_MFO; /* and begins anew */
	} else {
		tulip->missed++;
	}
}

/* ---- a frame into them ------------------------------------------------------------------------------- */

static int put_bytes(struct tulip *tulip, struct source *source, uint32_t gpa, uint32_t bytes)
{
	static const uint8_t zeroes[FRAME_MIN];
	const uint8_t *from;
	uint32_t run;

	while (bytes) {
		if (source->data) {
			run = (uint32_t)num_min(source->iov->iov_len - source->at, source->data);
			from = (const uint8_t *)source->iov->iov_base + source->at;
		} else if (source->padding) {
			run = source->padding;
			from = zeroes;
		} else {
			run = source->fcs_left;
			from = source->fcs + FCS_BYTES - run;
		}
		run = (uint32_t)num_min(run, bytes);
		if (run && tulip_buffer_write(tulip, gpa, from, run)) {
			return -EFAULT;
		}
		gpa += run;
		bytes -= run;
		if (source->data) {
			source->data -= run;
			source->at += run;
			if (source->at == source->iov->iov_len) {
				source->iov++;
				source->at = 0;
			}
		} else if (source->padding) {
			source->padding -= run;
		} else {
			source->fcs_left -= run;
		}
	}
	return 0;
}

/* Fills a descriptor's buffers. Returns what is left of the frame, or -EFAULT. */
static int fill(struct tulip *tulip, struct source *source, const struct tulip_desc *desc)
{
	for (unsigned int i = 0; i < 2; i++) {
		uint32_t left = source->data + source->padding + source->fcs_left, gpa;
		uint32_t run = (uint32_t)num_min(tulip_desc_buffer(desc, i, &gpa), left);

		/* Receive buffers are longwords (4.2.1.3). */
		if (put_bytes(tulip, source, gpa & ~3U, run)) {
			return -EFAULT;
		}
	}
	return (int)(source->data + source->padding + source->fcs_left);
}

static uint32_t last_status(const struct tulip *tulip, const struct source *source, bool is_cut)
{
	uint32_t stored = source->bytes - source->data - source->padding - source->fcs_left;
	uint32_t status = TULIP_RDES0_LS | stored << TULIP_RDES0_LENGTH_SHIFT;
	uint32_t loop = tulip->csr6 >> TULIP_CSR6_OM_SHIFT & TULIP_CSR6_OM_MASK;

	if (loop) {
		status |= (loop == TULIP_OM_INTERNAL ? 1U : LOOPED_EXTERNAL)
			  << TULIP_RDES0_DT_SHIFT;
	}
	if (!tulip_filter_matches(tulip, source->to)) {
		status |= TULIP_RDES0_FF; /* promiscuous, or receive all */
	}
	if (source->to[0] & 1) {
		status |= TULIP_RDES0_MF;
	}
	if (source->type >= TYPE_MIN) {
		status |= TULIP_RDES0_FT;
	}
	if (source->bytes >= LONG_MIN) {
		status |= TULIP_RDES0_TL |
			  TULIP_RDES0_ES; /* a tag's four bytes do that; it is whole */
	}
	return is_cut ? status | TULIP_RDES0_DE | TULIP_RDES0_ES : status;
}

/* desc is ours. Every way out closes the last descriptor, or the bus is dead. */
static void put_frame(struct tulip *tulip, struct source *source, struct tulip_desc *desc)
{
	uint32_t first = TULIP_RDES0_FS;
	struct tulip_desc next;
	bool is_cut = false;

	for (unsigned int i = 1;; i++) {
		int left = fill(tulip, source, desc);

		if (left < 0) {
			return;
		}
		tulip->rx.at = tulip_desc_next(tulip, desc, tulip->csr3);
		if (left == 0) {
			break;
		}
		/* More: the next one must be ours, too, or the frame is cut off here (DE). */
		if (i == RX_FRAME_DESCS || !acquire(tulip, &next)) {
			is_cut = true;
			break;
		}
		if (tulip_desc_close(tulip, desc->gpa, first)) {
			return;
		}
		first = 0;
		*desc = next;
	}
	if (tulip->is_dead ||
	    tulip_desc_close(tulip, desc->gpa, first | last_status(tulip, source, is_cut))) {
		return;
	}
	tulip->csr5 |= TULIP_CSR5_RI;
	tulip->is_irq_due = true;
	tulip->counters.rx_frames++;
	tulip->counters.rx_bytes += source->bytes - FCS_BYTES;
	tulip->rx.is_late = false;
	if (!is_cut) {
		(void)acquire(tulip, &next);
	}
}

/* Its head is copied, the check sequence made. */
static void source_init(const struct tulip *tulip, struct source *source, const struct iovec *iov,
			int count, uint32_t bytes)
{
	static const uint8_t zeroes[FRAME_MIN];
	uint8_t head[NET_HEADER_BYTES];
	uint32_t crc = TULIP_CRC_BEGIN;
	size_t have = 0;

	*source = (struct source){ .iov = iov, .data = bytes, .fcs_left = FCS_BYTES };
	for (int i = 0; i < count; i++) {
		size_t run = num_min(iov[i].iov_len, sizeof(head) - have);

		memcpy(head + have, iov[i].iov_base, run);
		have += run;
		crc = tulip_crc_add(&tulip->crc, crc, iov[i].iov_base, iov[i].iov_len);
	}
	source->padding = bytes < FRAME_MIN ? FRAME_MIN - bytes : 0;
	crc = tulip_crc_add(&tulip->crc, crc, zeroes, source->padding);
	bytes_put_le32(source->fcs, ~crc);
	memcpy(source->to, head, sizeof(source->to));
	source->type = bytes_be16(head + ADDRESSES);
	source->bytes = bytes + source->padding + FCS_BYTES;
}

static bool is_wanted(const struct tulip *tulip, const uint8_t *to)
{
	return tulip->csr6 & (TULIP_CSR6_PR | TULIP_CSR6_RA) || tulip_filter_matches(tulip, to);
}

/* 0: the frame is dealt with; -EAGAIN: there is no descriptor. */
static int receive(struct tulip *tulip, const struct iovec *iov, int count, uint32_t bytes)
{
	struct tulip_desc desc;
	struct source source;

	source_init(tulip, &source, iov, count, bytes);
	if (!is_wanted(tulip, source.to)) {
		tulip->counters.rx_filtered++;
		return 0;
	}
	if (!tulip_can_master(tulip) || !acquire(tulip, &desc)) {
		return tulip->is_dead ? 0 : -EAGAIN;
	}
	put_frame(tulip, &source, &desc);
	return 0;
}

void tulip_rx_loop(struct tulip *tulip, const uint8_t *frame, uint32_t bytes)
{
	struct iovec iov = { (void *)(uintptr_t)frame, bytes };

	if (tulip->rx.state == TULIP_RS_STOPPED || bytes < NET_HEADER_BYTES) {
		return;
	}
	if (receive(tulip, &iov, 1, bytes)) {
		tulip_rx_miss(tulip);
	}
}

/* ---- the net's side ---------------------------------------------------------------------------------- */

/* In one piece, with its tag and its checksums: what the iovecs alone do not say. */
static uint32_t gather(struct tulip *tulip, const struct net_frame *frame, struct iovec *ret)
{
	uint8_t *at = tulip->rx.scratch;
	uint32_t bytes = frame->bytes;

	if (frame->flags & NET_FRAME_VLAN) {
		fifo_gather(at + VLAN_BYTES, frame);
		memmove(at, at + VLAN_BYTES, ADDRESSES);
		bytes_put_be16(at + ADDRESSES, VLAN_TYPE);
		bytes_put_be16(at + ADDRESSES + 2, frame->vlan_tci);
		bytes += VLAN_BYTES;
	} else {
		fifo_gather(at, frame);
	}
	*ret = (struct iovec){ at, bytes };
	return bytes;
}

static int deliver_locked(struct tulip *tulip, const struct net_frame *frame)
{
	uint32_t most = TULIP_FRAME_MAX - (frame->flags & NET_FRAME_VLAN ? VLAN_BYTES : 0);
	struct iovec iov;
	int err;

	if (tulip->rx.state == TULIP_RS_STOPPED || tulip_is_looped(tulip) ||
	    !tulip_phy_is_up(&tulip->phy) || frame->bytes < NET_HEADER_BYTES ||
	    frame->bytes > most) {
		tulip->counters.rx_lost++;
		return 0;
	}
	if (frame->flags & (NET_FRAME_VLAN | NET_FRAME_L4_PARTIAL)) {
		uint32_t bytes = gather(tulip, frame, &iov);

		err = receive(tulip, &iov, 1, bytes);
	} else {
		err = receive(tulip, frame->iov, frame->iov_count, frame->bytes);
	}
	if (err && tulip->rx.is_late) {
		tulip_rx_miss(tulip);
		return 0;
	}
	return err;
}

static void hold(struct tulip *tulip)
{
	if (!tulip->rx.is_held) {
		tulip->rx.is_held = true;
		tulip->rx.held_ns = loop_now_ns();
		tulip->counters.rx_waits++;
	}
	if (!tulip->is_paused && !loop_timer_is_armed(&tulip->hold_timer)) {
		loop_timer_arm(&tulip->hold_timer, HOLD_LOOK_NS);
	}
}

static int on_deliver(struct net_front *front, const struct net_frame *frame)
{
	struct tulip *tulip = from_front(front);
	int err = -EAGAIN;

	chipset_lock(tulip->chipset);
	if (!tulip->is_paused) {
		err = deliver_locked(tulip, frame);
	}
	if (err) {
		hold(tulip);
		tulip_update_irq(tulip); /* RU */
	}
	chipset_unlock(tulip->chipset);
	return err;
}

static void on_batch_end(struct net_front *front)
{
	struct tulip *tulip = from_front(front);

	chipset_lock(tulip->chipset);
	if (tulip->is_irq_due) {
		tulip_update_irq(tulip);
	}
	chipset_unlock(tulip->chipset);
}

static void on_writable(struct net_front *front)
{
	tulip_tx_run(from_front(front));
}

static void on_link_changed(struct net_front *front)
{
	tulip_link_update(from_front(front));
}

const struct net_front_ops tulip_front_ops = {
	.deliver = on_deliver,
	.batch_end = on_batch_end,
	.writable = on_writable,
	.link_changed = on_link_changed,
};

/* Whether a frame that the net holds should come now. */
static bool may_go_on(struct tulip *tulip)
{
	struct tulip_desc desc;

	if (tulip->rx.state == TULIP_RS_STOPPED || tulip_is_looped(tulip)) {
		return true; /* it is lost */
	}
	if (tulip_can_master(tulip) && acquire(tulip, &desc)) {
		return true;
	}
	if (loop_now_ns() - tulip->rx.held_ns >= TULIP_RX_HOLD_NS) {
		tulip->rx.is_late = true;
	}
	return tulip->rx.is_late || tulip->is_dead;
}

static void go_on(struct tulip *tulip)
{
	bool now = false;

	chipset_lock(tulip->chipset);
	if (tulip->rx.is_held && !tulip->is_paused) {
		now = may_go_on(tulip);
		tulip->rx.is_held = !now;
		if (!now) {
			loop_timer_arm(&tulip->hold_timer, HOLD_LOOK_NS);
		}
	}
	tulip_update_irq(tulip);
	chipset_unlock(tulip->chipset);
	if (now && tulip->net) {
		net_room(tulip->net);
	}
}

void tulip_on_rx_work(struct loop_work *work)
{
	go_on(container_of(work, struct tulip, rx_work));
}

void tulip_on_rx_hold(struct loop_timer *timer)
{
	go_on(container_of(timer, struct tulip, hold_timer));
}

/* ---- the guest's side -------------------------------------------------------------------------------- */

void tulip_rx_start(struct tulip *tulip)
{
	if (tulip->rx.state != TULIP_RS_STOPPED || tulip->is_dead) {
		return;
	}
	tulip->rx.state = TULIP_RS_WAIT;
	tulip_rx_demand(tulip);
}

void tulip_rx_stop(struct tulip *tulip)
{
	if (tulip->rx.state == TULIP_RS_STOPPED) {
		return;
	}
	tulip->rx.state = TULIP_RS_STOPPED;
	tulip_raise(tulip, TULIP_CSR5_RPS);
	loop_post(tulip->loop, &tulip->rx_work);
}

void tulip_rx_demand(struct tulip *tulip)
{
	struct tulip_desc desc;

	if (tulip->rx.state == TULIP_RS_STOPPED || !tulip_can_master(tulip)) {
		return;
	}
	if (acquire(tulip, &desc) && tulip->rx.is_held) {
		loop_post(tulip->loop, &tulip->rx_work);
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * Frames from the guest (4.3.6). A turn gathers frames as they lie in guest memory, hands them to the net in one
 * call and gives their descriptors back:
 *
 *     tulip_tx_run() ─► gather() ─► gather_frame() per frame   [lock]
 *                    ─► net_send_many()
 *                    ─► complete()                             [lock, T2]
 *
 * What is no frame for the wire (setup frames, loopback, errors) is dealt with in gather(), in its turn: when no
 * frame before it is still to be sent.
 */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "chipset/tulip/tulip_internal.h"

#define TURN_ROUNDS      4U
#define JABBER_BYTES     2560U  /* with CSR15's JCK */
#define JABBER_BYTES_100 32500U /* 2.6 ms at 100 Mb/s */
#define POLL_MIN_NS      200000ULL

enum step {
	STEP_GATHERED, /* it waits to be sent */
	STEP_DONE,     /* it was dealt with */
	STEP_LATER,    /* what was gathered comes first */
	STEP_WAIT,     /* a descriptor is not ours, or nothing goes on */
};

/* A frame while it is looked at: descriptors and iovecs behind those of the frames before it. */
struct walk {
	struct tulip_sent sent;
	struct tulip_desc desc;
	struct iovec *iov;
	int iov_count;
	bool is_bounced; /* it lies in tx.bounce, as much of it as a frame may have */
};

/* Says that a descriptor is not ours: once. */
static enum step suspend(struct tulip *tulip)
{
	struct tulip_tx *tx = &tulip->tx;

	if (tx->frames_count) {
		return STEP_LATER;
	}
	tx->state = TULIP_TS_SUSPENDED;
	tulip_raise(tulip, TULIP_CSR5_TU);
	return STEP_WAIT;
}

static void stop_now(struct tulip *tulip, uint32_t events)
{
	tulip->tx.state = TULIP_TS_STOPPED;
	tulip->tx.is_stopping = false;
	tulip_raise(tulip, events | TULIP_CSR5_TPS);
}

/* Gives a frame's descriptors back, the last one with its status; 0 or -EFAULT. */
static int close_frame(struct tulip *tulip, const struct tulip_sent *sent, uint32_t status)
{
	struct tulip_tx *tx = &tulip->tx;

	for (unsigned int i = 0; i < sent->count; i++) {
		bool is_last = i + 1U == sent->count;

		if (tulip_desc_close(tulip, tx->descs[sent->first + i], is_last ? status : 0)) {
			return -EFAULT;
		}
	}
	tx->at = sent->next;
	if (sent->control & TULIP_TDES1_IC) {
		tulip->csr5 |= TULIP_CSR5_TI;
	}
	return 0;
}

/* ---- what is no frame -------------------------------------------------------------------------------- */

/* Setup frames, and descriptors without a first one: fillers of drivers that know an erratum. */
static enum step gather_other(struct tulip *tulip, const struct tulip_desc *desc)
{
	struct tulip_tx *tx = &tulip->tx;
	uint8_t setup[TULIP_SETUP_BYTES];
	uint32_t status = 0, gpa, bytes = tulip_desc_buffer(desc, 0, &gpa);

	if (tx->frames_count) {
		return STEP_LATER;
	}
	if (desc->control & TULIP_TDES1_SET) {
		if (bytes >= sizeof(setup)) {
			if (tulip_buffer_read(tulip, gpa, setup, sizeof(setup))) {
				return STEP_WAIT;
			}
			tulip_filter_setup(tulip, setup, desc->control);
		}
		status = TULIP_TDES0_SETUP_DONE;
	}
	if (tulip_desc_close(tulip, desc->gpa, status)) {
		return STEP_WAIT;
	}
	tx->at = tulip_desc_next(tulip, desc, tulip->csr4);
	if (desc->control & TULIP_TDES1_IC) {
		tulip->csr5 |= TULIP_CSR5_TI;
	}
	return STEP_DONE;
}

/* ---- frames ------------------------------------------------------------------------------------------ */

static int add_buffer(struct tulip *tulip, struct walk *walk, uint32_t gpa, uint32_t bytes)
{
	struct tulip_tx *tx = &tulip->tx;
	uint32_t have = walk->sent.bytes;
	void *hva;

	walk->sent.bytes += bytes;
	if (walk->is_bounced) {
		uint32_t room = sizeof(tx->bounce) - (uint32_t)num_min(have, sizeof(tx->bounce));

		bytes = (uint32_t)num_min(bytes, room);
		return bytes ? tulip_buffer_read(tulip, gpa, tx->bounce + have, bytes) : 0;
	}
	hva = mem_hva(tulip->mem, gpa, bytes);
	if (!hva) {
		tulip_bus_error(tulip);
		return -EFAULT;
	}
	walk->iov[walk->iov_count++] = (struct iovec){ hva, bytes };
	return 0;
}

static uint32_t jabber_bytes(const struct tulip *tulip)
{
	if (tulip->csr15 & TULIP_CSR15_JBD) {
		return UINT32_MAX;
	}
	return tulip->csr15 & TULIP_CSR15_JCK ? JABBER_BYTES : JABBER_BYTES_100;
}

/* The jabber timer cuts it off and stops the transmitter (3.2.2.5, TJT). */
static enum step jabber(struct tulip *tulip, struct walk *walk)
{
	if (tulip->tx.frames_count) {
		return STEP_LATER;
	}
	tulip->counters.tx_lost++;
	if (!close_frame(tulip, &walk->sent, TULIP_TDES0_ES | TULIP_TDES0_TO)) {
		stop_now(tulip, TULIP_CSR5_TJT);
	}
	return STEP_WAIT;
}

/* All descriptors of a frame: STEP_GATHERED, or how it ends. */
static enum step walk_frame(struct tulip *tulip, struct walk *walk)
{
	struct tulip_tx *tx = &tulip->tx;
	struct tulip_desc *desc = &walk->desc;

	for (;;) {
		tx->descs[walk->sent.first + walk->sent.count++] = desc->gpa;
		walk->sent.control = desc->control;
		walk->sent.next = tulip_desc_next(tulip, desc, tulip->csr4);
		for (unsigned int i = 0; i < 2; i++) {
			uint32_t gpa, bytes = tulip_desc_buffer(desc, i, &gpa);

			if (bytes && tx->frames_count && !mem_hva(tulip->mem, gpa, bytes)) {
				return STEP_LATER; /* the frames before it are good */
			}
			if (bytes && add_buffer(tulip, walk, gpa, bytes)) {
				return STEP_WAIT;
			}
		}
		if (walk->sent.bytes > jabber_bytes(tulip) ||
		    (walk->sent.count == TX_FRAME_DESCS && !(desc->control & TULIP_TDES1_LS))) {
			return jabber(tulip, walk);
		}
		if (desc->control & TULIP_TDES1_LS) {
			return STEP_GATHERED;
		}
		if (tulip_desc_read(tulip, walk->sent.next, desc)) {
			return STEP_WAIT;
		}
		if (!(desc->status & TULIP_DESC_OWN)) {
			return suspend(tulip); /* it is tried again from its first one */
		}
	}
}

/* The frame's own check sequence goes (AC); a short one becomes a frame of 60 bytes, unless DPD. */
static void trim_and_pad(struct tulip *tulip, struct walk *walk)
{
	static const uint8_t zeroes[FRAME_MIN];
	uint32_t cut = walk->sent.control & TULIP_TDES1_AC
			       ? (uint32_t)num_min(FCS_BYTES, walk->sent.bytes)
			       : 0;
	uint32_t padding;

	walk->sent.bytes -= cut;
	while (cut && !walk->is_bounced) {
		struct iovec *last = &walk->iov[walk->iov_count - 1];
		uint32_t run = (uint32_t)num_min(cut, last->iov_len);

		last->iov_len -= run;
		cut -= run;
		walk->iov_count -= last->iov_len == 0;
	}
	if (walk->sent.bytes == 0 || walk->sent.bytes >= FRAME_MIN ||
	    walk->sent.control & TULIP_TDES1_DPD) {
		return;
	}
	padding = FRAME_MIN - walk->sent.bytes;
	if (walk->is_bounced) {
		memset(tulip->tx.bounce + walk->sent.bytes, 0, padding);
	} else {
		walk->iov[walk->iov_count++] = (struct iovec){ (void *)(uintptr_t)zeroes, padding };
	}
	walk->sent.bytes = FRAME_MIN;
}

/* What becomes of a frame that does not leave: its status. */
static uint32_t keep_frame(struct tulip *tulip, const struct walk *walk)
{
	uint32_t loop = tulip->csr6 >> TULIP_CSR6_OM_SHIFT & TULIP_CSR6_OM_MASK;

	if (loop == TULIP_OM_INTERNAL && tulip->csr6 & TULIP_CSR6_FC) {
		return TULIP_TDES0_ES | TULIP_TDES0_EC; /* sixteen forced collisions */
	}
	if (walk->sent.bytes == 0) {
		return 0;
	}
	if (tulip_is_looped(tulip) && walk->sent.bytes <= TULIP_FRAME_MAX) {
		tulip_rx_loop(tulip, tulip->tx.bounce, walk->sent.bytes);
		return 0;
	}
	tulip->counters.tx_lost++;
	if (!tulip_is_looped(tulip) && !tulip_phy_is_up(&tulip->phy) &&
	    !(tulip->csr6 & TULIP_CSR6_FD)) {
		return TULIP_TDES0_ES | TULIP_TDES0_NC | TULIP_TDES0_LO; /* no carrier */
	}
	return 0; /* the wire loses it: too long, too short, no cable */
}

static void queue_frame(struct tulip *tulip, struct walk *walk)
{
	struct tulip_tx *tx = &tulip->tx;

	if (walk->is_bounced) {
		walk->iov[0] = (struct iovec){ tx->bounce, walk->sent.bytes };
		walk->iov_count = 1;
	}
	tx->frames[tx->frames_count] = (struct net_frame){ .iov = walk->iov,
							   .iov_count = walk->iov_count,
							   .bytes = walk->sent.bytes };
	tx->sent[tx->frames_count++] = walk->sent;
	tx->descs_count += walk->sent.count;
	tx->iovs_count += 1U + (unsigned int)walk->iov_count;
}

static enum step gather_frame(struct tulip *tulip, uint32_t at)
{
	struct tulip_tx *tx = &tulip->tx;
	struct walk walk = {
		.sent.first = (uint16_t)tx->descs_count,
		.iov = tx->iovs + tx->iovs_count + 1, /* net_send_many(): iov[-1] */
		.is_bounced = tulip->csr0 & TULIP_CSR0_BLE || tulip_is_looped(tulip),
	};
	enum step step;

	if (tulip_desc_read(tulip, at, &walk.desc)) {
		return STEP_WAIT;
	}
	if (!(walk.desc.status & TULIP_DESC_OWN)) {
		return suspend(tulip);
	}
	if (walk.desc.control & TULIP_TDES1_SET || !(walk.desc.control & TULIP_TDES1_FS)) {
		return gather_other(tulip, &walk.desc);
	}
	if (walk.is_bounced && tx->frames_count) {
		return STEP_LATER; /* there is one place to bounce */
	}
	step = walk_frame(tulip, &walk);
	if (step != STEP_GATHERED) {
		return step;
	}
	trim_and_pad(tulip, &walk);
	if (walk.sent.bytes >= NET_HEADER_BYTES && walk.sent.bytes <= TULIP_FRAME_MAX &&
	    !tulip_is_looped(tulip) && tulip_phy_is_up(&tulip->phy) && tulip->net) {
		queue_frame(tulip, &walk);
		return STEP_GATHERED;
	}
	if (tx->frames_count) {
		return STEP_LATER;
	}
	return close_frame(tulip, &walk.sent, keep_frame(tulip, &walk)) ? STEP_WAIT : STEP_DONE;
}

static bool has_place(const struct tulip_tx *tx)
{
	return tx->frames_count < TX_FRAMES &&
	       tx->descs_count + TX_FRAME_DESCS <= ARRAY_SIZE(tx->descs) &&
	       tx->iovs_count + 1 + TX_FRAME_IOVS <= ARRAY_SIZE(tx->iovs);
}

/* Whether there may be more than was gathered. */
static bool gather(struct tulip *tulip)
{
	struct tulip_tx *tx = &tulip->tx;
	uint32_t at = tx->at;

	tx->frames_count = tx->descs_count = tx->iovs_count = 0;
	/* One step looks at TX_FRAME_DESCS descriptors at the most (T3). */
	for (unsigned int i = 0; i < TX_STEPS && has_place(tx); i++) {
		enum step step;

		if (tulip->is_paused || !tulip_can_master(tulip) ||
		    (tx->state != TULIP_TS_FETCH && tx->state != TULIP_TS_READ)) {
			return false;
		}
		step = gather_frame(tulip, at);
		if (step == STEP_WAIT) {
			return false;
		}
		if (step == STEP_LATER) {
			return true;
		}
		at = step == STEP_GATHERED ? tx->sent[tx->frames_count - 1].next : tx->at;
	}
	return true;
}

/* Gives back what was sent. Whether there is more. */
static bool complete(struct tulip *tulip, unsigned int taken, uint32_t epoch)
{
	struct tulip_tx *tx = &tulip->tx;
	struct tulip_desc next;

	tx->is_sending = false;
	for (unsigned int i = 0; i < taken && tx->epoch == epoch && !tulip->is_dead; i++) {
		if (close_frame(tulip, &tx->sent[i], 0)) {
			break;
		}
		tulip->counters.tx_frames++;
		tulip->counters.tx_bytes += tx->sent[i].bytes;
	}
	if (tx->is_stopping) {
		stop_now(tulip, 0);
	}
	/* Is that all? Said now it is one interrupt with what was sent. */
	if (tx->state == TULIP_TS_READ && taken == tx->frames_count && tulip_can_master(tulip) &&
	    !tulip_desc_read(tulip, tx->at, &next) && !(next.status & TULIP_DESC_OWN)) {
		tx->frames_count = 0;
		(void)suspend(tulip);
	}
	tulip_update_irq(tulip);
	return tx->state != TULIP_TS_STOPPED && tx->state != TULIP_TS_SUSPENDED;
}

/* A round: gathered, sent, given back. Whether there may be more. */
static bool run_round(struct tulip *tulip, bool *ret_sent)
{
	struct tulip_tx *tx = &tulip->tx;
	unsigned int count, taken;
	uint32_t epoch;
	bool more;
	int err;

	chipset_lock(tulip->chipset);
	more = gather(tulip);
	count = taken = tx->frames_count;
	epoch = tx->epoch;
	if (count) {
		tx->state = TULIP_TS_READ;
		tx->is_sending = true;
	}
	tulip_update_irq(tulip);
	chipset_unlock(tulip->chipset);
	if (count == 0) {
		return more;
	}
	err = net_send_many(tulip->net, tx->frames, count, &taken);
	*ret_sent = true;
	chipset_lock(tulip->chipset);
	more = complete(tulip, taken, epoch);
	tulip->counters.tx_waits += err != 0;
	chipset_unlock(tulip->chipset);
	return more && err == 0; /* else it goes on when the net is writable */
}

static void arm_poll(struct tulip *tulip)
{
	/* µs at 100 Mb/s (3.2.2.1, TAP); what is faster than POLL_MIN_NS is no use here. */
	static const uint16_t periods[] = { 0, 200, 800, 1600, 13, 26, 51, 102 };
	uint64_t ns = 0;

	chipset_lock(tulip->chipset);
	if (tulip->tx.state == TULIP_TS_SUSPENDED && !tulip->is_paused) {
		ns = periods[tulip->csr0 >> TULIP_CSR0_TAP_SHIFT & TULIP_CSR0_TAP_MASK] * 1000ULL;
	}
	chipset_unlock(tulip->chipset);
	if (ns) {
		loop_timer_arm(&tulip->poll_timer, num_max(ns, POLL_MIN_NS));
	}
}

void tulip_tx_run(struct tulip *tulip)
{
	bool more = true, sent = false;

	for (unsigned int i = 0; i < TURN_ROUNDS && more; i++) {
		more = run_round(tulip, &sent);
	}
	if (sent) {
		net_batch_end(tulip->net);
	}
	if (more) {
		loop_defer(tulip->loop, &tulip->tx_work);
	}
	arm_poll(tulip);
}

void tulip_on_tx_work(struct loop_work *work)
{
	tulip_tx_run(container_of(work, struct tulip, tx_work));
}

void tulip_tx_look(struct tulip *tulip)
{
	struct tulip_desc desc;

	if (tulip->tx.state == TULIP_TS_SUSPENDED && tulip_can_master(tulip) && !tulip->is_paused &&
	    !tulip_desc_read(tulip, tulip->tx.at, &desc) && desc.status & TULIP_DESC_OWN) {
		tulip->tx.state = TULIP_TS_FETCH;
	}
}

/* Transmit automatic polling. */
void tulip_on_tx_poll(struct loop_timer *timer)
{
	struct tulip *tulip = container_of(timer, struct tulip, poll_timer);

	chipset_lock(tulip->chipset);
	tulip_tx_look(tulip);
	chipset_unlock(tulip->chipset);
	tulip_tx_run(tulip);
}

/* ---- the guest's side -------------------------------------------------------------------------------- */

void tulip_tx_start(struct tulip *tulip)
{
	struct tulip_tx *tx = &tulip->tx;

	tx->is_stopping = false;
	if (tx->state != TULIP_TS_STOPPED || tulip->is_dead) {
		return;
	}
	tx->state = TULIP_TS_FETCH;
	loop_post(tulip->loop, &tulip->tx_work);
}

/* After the frames that are on their way. TPS stays until it is acknowledged: FreeBSD waits for it here. */
void tulip_tx_stop(struct tulip *tulip)
{
	if (tulip->tx.state == TULIP_TS_STOPPED) {
		return;
	}
	if (tulip->tx.is_sending) {
		tulip->tx.is_stopping = true;
		return;
	}
	stop_now(tulip, 0);
}

void tulip_tx_demand(struct tulip *tulip)
{
	if (tulip->tx.state == TULIP_TS_STOPPED) {
		return;
	}
	if (tulip->tx.state == TULIP_TS_SUSPENDED) {
		tulip->tx.state = TULIP_TS_FETCH;
	}
	loop_post(tulip->loop, &tulip->tx_work);
}

void tulip_tx_list(struct tulip *tulip)
{
	tulip->tx.at = tulip->csr4;
	tulip->tx.epoch++;
}

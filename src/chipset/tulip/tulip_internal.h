/* SPDX-License-Identifier: MIT */
/*
 * What the files of the 21140 share.
 *
 *     transmit   STOPPED ── ST ──► FETCH ── a descriptor that is not ours ──► SUSPENDED ── CSR1 ──► FETCH
 *     receive    STOPPED ── SR ──► WAIT  ── a descriptor that is not ours ──► SUSPENDED ── CSR2, a frame ──► WAIT
 *                   ▲─────────────── ST or SR cleared, jabber, bus error, reset ◄─┘
 *
 * Invariants:
 *   T1  Registers, processes and descriptors are touched under the chipset lock; the net is called without it,
 *       on the loop. Frames that are with net_send_many() are the only thing in between (tx.is_sending).
 *   T2  A sent frame's descriptors are given back after net_send_many() has returned, and only if `epoch` is
 *       what it was: a reset or another list (CSR4) in between has disowned them.
 *   T3  The lock is held for TX_STEPS frames of TX_FRAME_DESCS descriptors at the most, or for one received frame
 *       of RX_FRAME_DESCS.
 *   T4  While it is paused no guest memory is touched from the loop.
 *
 *   thread  as marked
 */
#pragma once

#include "chipset/tulip/tulip.h"
#include "chipset/tulip/tulip_crc.h"
#include "chipset/tulip/tulip_serial.h"

#define TX_FRAMES      NET_SEND_MANY_MAX
#define TX_FRAME_DESCS 64U /* a frame in more pieces is jabber */
#define TX_STEPS       64U
#define TX_IOVS        (TX_FRAMES * 8U)
/* The most that one frame takes: two buffers each, padding, and the back end's room (net_send_many()). */
#define TX_FRAME_IOVS  (2U * TX_FRAME_DESCS + 2U)
#define RX_FRAME_DESCS 512U
#define FCS_BYTES      4U
#define FRAME_MIN      60U /* without it */
#define DOORBELLS      2U  /* CSR1, CSR2 */

/* A descriptor, copied once. */
struct tulip_desc {
	uint32_t gpa;
	uint32_t status, control, buffer_1, buffer_2;
};

struct tulip_counters {
	uint64_t tx_frames, tx_bytes, tx_lost, tx_waits, setups;
	uint64_t rx_frames, rx_bytes, rx_lost, rx_filtered, rx_missed, rx_waits;
	uint64_t bus_errors, interrupts;
};

/* A sent frame's descriptors in tx.descs, and what is to be told about it. */
struct tulip_sent {
	uint16_t first, count;
	uint32_t control; /* of the last */
	uint32_t next;    /* gpa */
	uint32_t bytes;
};

struct tulip_tx {
	/* under the lock */
	uint32_t at; /* gpa of the next descriptor */
	uint8_t state;
	bool is_sending; /* T1 */
	bool is_stopping;
	uint32_t epoch; /* T2 */
	/* the loop's; filled under the lock */
	unsigned int frames_count, descs_count, iovs_count;
	struct net_frame frames[TX_FRAMES];
	struct tulip_sent sent[TX_FRAMES];
	uint32_t descs[TX_FRAMES * 2 + TX_FRAME_DESCS];
	struct iovec iovs[TX_IOVS + TX_FRAME_IOVS];
	uint8_t bounce[TULIP_FRAME_MAX]; /* big-endian buffers, loopback */
};

struct tulip_rx {
	/* under the lock */
	uint32_t at;
	uint8_t state;
	bool is_held; /* the net keeps a frame until net_room() */
	bool is_late; /* it kept one for too long: frames are missed */
	/* the loop's */
	uint64_t held_ns; /* since when */
	uint8_t scratch[TULIP_FRAME_MAX + 4U];
};

struct tulip {
	struct chipset *chipset; /* borrowed, as all pointers of the config */
	const struct mem *mem;
	struct loop *loop;
	struct doorbells doorbells;
	const uint8_t *rom;
	uint32_t rom_bytes;
	uint8_t mac[NET_MAC_BYTES];
	struct tulip_crc crc;

	/* ---- under the chipset lock ---- */
	struct pci_function pci;
	uint32_t csr0, csr3, csr4, csr6, csr7, csr9, csr10, csr15;
	uint32_t csr5; /* events alone; summaries and states are worked out */
	uint32_t bus_error;
	uint32_t timer_value;  /* of CSR11, CONTINUOUS included */
	uint64_t timer_end_ns; /* 0: it does not run */
	uint8_t pins, pins_out;
	uint32_t missed, overflow; /* of CSR8 with their flags */
	bool is_dead;              /* after a bus error: no access until it is reset */
	bool is_irq_due;
	uint8_t setup[TULIP_SETUP_BYTES];
	struct tulip_srom srom;
	struct tulip_phy phy;
	struct tulip_tx tx;
	struct tulip_rx rx;
	struct tulip_counters counters;

	/* ---- the loop's ---- */
	struct net *net;
	struct net_front front;
	bool is_cable_in, is_paused;
	struct loop_work tx_work, rx_work, timer_work;
	struct loop_timer timer, poll_timer, hold_timer;
	struct {
		int fd; /* -1: none */
		struct loop_watch watch;
		bool is_added[2]; /* by BAR; under the lock */
	} bells[DOORBELLS];
};

/* ---- under the chipset lock ---- */

/* tulip.c */
void tulip_raise(struct tulip *tulip, uint32_t events);
void tulip_update_irq(struct tulip *tulip);
uint32_t tulip_status(const struct tulip *tulip); /* CSR5 */
void tulip_power_on(struct tulip *tulip, bool is_soft);
bool tulip_can_master(const struct tulip *tulip);
bool tulip_is_looped(const struct tulip *tulip);
/* A transfer that nobody answered: the chip is dead until it is reset. */
void tulip_bus_error(struct tulip *tulip);
uint64_t tulip_timer_tick_ns(const struct tulip *tulip);

/* tulip_csr.c */
extern const struct io_region_ops tulip_csr_ops;

/* tulip_desc.c: 0, or -EFAULT: tulip_bus_error() was called. */
MUST_CHECK int tulip_desc_read(struct tulip *tulip, uint32_t gpa, struct tulip_desc *ret);
MUST_CHECK int tulip_desc_close(struct tulip *tulip, uint32_t gpa, uint32_t status);
/* list: CSR3 or CSR4. */
uint32_t tulip_desc_next(const struct tulip *tulip, const struct tulip_desc *desc, uint32_t list);
/* A buffer's address (0: it has none of that number) and size. */
uint32_t tulip_desc_buffer(const struct tulip_desc *desc, unsigned int number, uint32_t *ret_gpa);
MUST_CHECK int tulip_buffer_read(struct tulip *tulip, uint32_t gpa, void *ret, uint32_t bytes);
MUST_CHECK int tulip_buffer_write(struct tulip *tulip, uint32_t gpa, const void *buf,
				  uint32_t bytes);

/* tulip_filter.c */
void tulip_filter_setup(struct tulip *tulip, const uint8_t *setup, uint32_t control);
bool tulip_filter_matches(const struct tulip *tulip, const uint8_t *to);

/* tulip_tx.c */
void tulip_tx_start(struct tulip *tulip);
void tulip_tx_stop(struct tulip *tulip);
void tulip_tx_demand(struct tulip *tulip); /* CSR1 */
void tulip_tx_list(struct tulip *tulip);   /* CSR4 was written */
/* As if CSR1 were written, but without a word when there is nothing. */
void tulip_tx_look(struct tulip *tulip);

/* tulip_rx.c */
void tulip_rx_start(struct tulip *tulip);
void tulip_rx_stop(struct tulip *tulip);
void tulip_rx_demand(struct tulip *tulip); /* CSR2 */
/* What the chip sent itself. */
void tulip_rx_loop(struct tulip *tulip, const uint8_t *frame, uint32_t bytes);
void tulip_rx_miss(struct tulip *tulip);

/* ---- the loop's, without the lock ---- */

extern const struct net_front_ops tulip_front_ops;
void tulip_on_tx_work(struct loop_work *work);
void tulip_on_tx_poll(struct loop_timer *timer);
void tulip_on_rx_work(struct loop_work *work);
void tulip_on_rx_hold(struct loop_timer *timer);
/* Sends what there is: a turn. */
void tulip_tx_run(struct tulip *tulip);
/* The net or the cable has changed. */
void tulip_link_update(struct tulip *tulip);

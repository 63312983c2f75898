/* SPDX-License-Identifier: MIT */
/*
 * The guest's half of NetVSP's data path as hv_netvsc does it, over the fake guest's memory: one guest
 * sends, one takes. Negotiation is the tests' (guest/netvsc.h); this is only what is done per packet,
 * lean enough to be measured beside. Every packet is published by itself, the doorbell rings only when
 * the host has not masked it and had read all that was there before. The guests poll, as NAPI does
 * under load: they want no interrupt. They fetch ahead what the host has written, which Linux does not:
 * with two processors both guests share one, and it is the switch that is to be measured.
 *
 *   owner   the benchmark   thread  the guests': one for both, or the host's
 *   spec    docs/protocols.md#nvsp, #rndis
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/netvsc.h"
#include "vsc.h"

#define NIC_DEPTH_MAX     128U /* packets in flight, one section of the send buffer each */
#define NIC_BATCH_MAX     8U   /* frames in one packet, as many as Linux puts there */
#define NIC_PPI_BYTES     32U  /* two of 16 bytes */
#define NIC_LARGE_BYTES   62318U
#define NIC_LARGE_MSS     1448U
#define NIC_LARGE_PAGES   17U /* a page of heads, then payload */
#define NIC_LARGE_BUFFERS 256U

/* What is sent, all alike. */
struct nic_load {
	uint32_t frame_bytes; /* NIC_LARGE_BYTES: one large TCP segment, in pages of its own */
	uint32_t depth;       /* packets in flight */
	uint32_t batch;       /* frames in each */
	bool offloads;        /* hash and checksum wanted, as Linux does */
};

struct nic_sender {
	struct netvsc *vsc;
	struct nic_load load;
	struct vsc_ring asks, tells; /* guest → host, host → guest */
	uint8_t *sections, *pages;   /* of the send buffer; of large frames */
	gpa_t pages_gpa;
	uint32_t in_flight, next_buffer, free_count, message_bytes, head_bytes;
	uint8_t message[2048]; /* RNDIS head and the frame, or the large one's heads */
	uint16_t free[NIC_DEPTH_MAX];
	uint64_t sent_frames, doorbells;
	uint64_t sent_bytes, bytes_max; /* it sends no more than that: who takes must keep up */
};

struct nic_sink {
	struct netvsc *vsc;
	struct vsc_ring asks, tells;
	const uint8_t *buffer; /* the receive buffer */
	uint64_t bytes, pieces, packets, doorbells, drains;
};

/* The NICs are negotiated and idle; borrowed until fini. */
void nic_sender_init(struct nic_sender *sender, struct netvsc *vsc);
void nic_sink_init(struct nic_sink *sink, struct netvsc *vsc);
void nic_sender_fini(struct nic_sender *sender);
void nic_sink_fini(struct nic_sink *sink);

void nic_sender_start(struct nic_sender *sender, const struct nic_load *load, const uint8_t *to,
		      const uint8_t *from);

/*
 * Takes completions and, unless `ending`, fills up to the depth; how many packets went out. A completion
 * that is not the right one ends the process.
 */
uint32_t nic_sender_turn(struct nic_sender *sender, bool ending);

/* Takes what has come, looks at each head and gives it back; how many packets. */
uint32_t nic_sink_turn(struct nic_sink *sink);

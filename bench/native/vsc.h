/* SPDX-License-Identifier: MIT */
/*
 * The guest's half of StorVSP as hv_storvsc does it, over the fake guest's memory, on a thread of its
 * own: every packet is published by itself, the doorbell rings only when the host has not masked it
 * and had read all that was there before; answers are taken until there are none, then the host is
 * asked for an interrupt and the ring is looked at once more.
 *
 *   owner   the benchmark   thread  one per vsc: the guest's; queues are touched by no other
 *   spec    docs/protocols.md#ring
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/fake_guest.h"

#define VSC_DEPTH_MAX      512
#define VSC_IO_BYTES       4096U

/* Pages of data of one ring. */
#define VSC_RING_PAGES_MAX 128

/* A READ or WRITE of one page as a GPA-direct packet: header, page list, VSTOR packet, trailer. */
#define VSC_ASKS_BYTES     (16U + 8 + 8 + 8 + 64 + 8)
/* Its answer: header, VSTOR packet, trailer. */
#define VSC_TELLS_BYTES    (16U + 64 + 8)

struct vsc_config {
	uint32_t depth; /* commands in flight, ≤ VSC_DEPTH_MAX */
	bool polls;     /* looks at the ring for ever, wants no interrupt */
	bool writes;
	uint64_t disk_bytes;
};

struct vsc_ring {
	struct vmbus_ring_control *control;
	uint8_t *data; /* twice in a row: nothing wraps */
	uint32_t bytes, at;
};

/* What a queue has seen. Read by others when its thread has ended. */
struct vsc_counts {
	uint64_t done, doorbells, interrupts, drains;
};

struct vsc_queue {
	struct fake_guest *guest;
	struct fake_channel *channel;
	struct vsc_config config;
	struct vsc_ring asks, tells; /* guest → host, host → guest */
	bool sleeps;                 /* has asked for an interrupt */
	uint32_t in_flight;
	uint64_t random;
	uint64_t gfns[VSC_DEPTH_MAX]; /* a page for each command */
	struct vsc_counts counts;
};

/* The half `which` of a channel's rings (0: guest → host), where it stands now. */
void vsc_ring_init(struct vsc_ring *ring, struct fake_guest *guest, struct fake_channel *channel,
		   unsigned int which);
void vsc_ring_fini(struct vsc_ring *ring);

/* The channel is negotiated and idle; borrowed until fini. */
void vsc_queue_init(struct vsc_queue *queue, struct fake_guest *guest,
		    struct fake_channel *channel);
void vsc_queue_fini(struct vsc_queue *queue);

/* Fills the queue up to its depth. */
void vsc_queue_start(struct vsc_queue *queue, const struct vsc_config *config);

/*
 * Takes what has been answered and asks as many times anew unless `ending`. How many were answered;
 * an answer that is not the right one ends the process.
 */
uint32_t vsc_queue_turn(struct vsc_queue *queue, bool ending);

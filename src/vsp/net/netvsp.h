/* SPDX-License-Identifier: MIT */
/*
 * NetVSP: the synthetic NIC (network virtual service provider), with a channel for each queue.
 *
 *   closed ──open──► new ──INIT──► negotiated ──RECV_BUF, SEND_BUF──► wired ──INITIALIZE──► operational
 *      ▲                                                                ▲                      │
 *      └───────────────── close, from anywhere                          └──HALT, REVOKE ◄──────┘
 *
 * The guest gives two buffers. Frames for the guest are written into pieces of the receive buffer
 * (one piece for a frame; several for a coalesced one) and announced in batches by one transfer-pages
 * packet; the guest gives the pieces back by completing it. Frames from the guest lie in the send
 * buffer or in its own pages and go to the back end from there, without a copy of ours.
 *
 * A guest of NVSP 5 or later may ask for sub-channels (SUBCHANNEL), a queue each, as many as the back end
 * has ends. Each lives on its end's loop. It says by OID_GEN_RSS_PARAMETERS which flow it wants to
 * receive where, and the back end, whose table that is then (struct net_rss), brings frames there.
 *
 *   owner   vm   thread  the device's loop, which is the first end's, except where it says otherwise
 *   spec    docs/protocols.md#nvsp, #rndis
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "net/net.h"
#include "vmbus/device.h"

struct netvsp;

#define NETVSP_NAME_BYTES_MAX 64
#define NETVSP_QUEUES_MAX     64U /* Linux takes no more */

struct netvsp_config {
	const char *name; /* unique in the partition: "net0"; the instance id is made of it */
	/* What makes the default MAC unique among partitions: the partition's name; may be NULL. */
	const char *partition;
	const uint8_t *mac; /* NULL: derived from the names, locally administered, stable */
	struct net *net;    /* borrowed for the NIC's life; attached to it */
	/* Further ends of the same back end (net_twin()), likewise: a queue for each. */
	struct net *const *twins;
	unsigned int twin_count; /* at most NETVSP_QUEUES_MAX - 1 */
	bool no_rsc;             /* do not offer coalesced receive */
	uint32_t nvsp_max;       /* NVSP_VERSION_*: speak none that is newer; 0: all (for tests) */
	/*
	 * Optional: each time when a driver has made the NIC operational, and when a saved state is loaded
	 * in which one had. The device's loop, from within the NIC: it calls neither the NIC nor its back end.
	 */
	void (*on_driver)(void *ctx);
	void *on_driver_ctx;
};

/* 0; -EINVAL (a MAC that is a group's or zero, a name too long), -EBUSY (the back end is taken), … */
MUST_CHECK int netvsp_create(const struct netvsp_config *config, struct netvsp **ret,
			     struct diag *reterr);

/*
 * NULL is fine. The device has been revoked. Detaches from the back end. The control thread, while its
 * loops run or have not begun to; or where all loops are the caller's.
 */
void netvsp_destroy(struct netvsp *nic);

unsigned int netvsp_queues(const struct netvsp *nic);

/* For bus_offer(); loop is set. */
struct vmbus_device *netvsp_device(struct netvsp *nic);

/* The address that the NIC was born with. */
const uint8_t *netvsp_mac(const struct netvsp *nic);

/*
 * The cable as the user sees it; the guest sees it up when the back end's is up too. A driver that asks is
 * told at any time, and one that has set a packet filter when it changes.
 */
void netvsp_set_link(struct netvsp *nic, bool up);

/* The same, as who served the NIC last had it, perhaps another process that it was lent to. */
bool netvsp_link_wanted(const struct netvsp *nic);

/* The speed that the guest is shown; a guest of NVSP 5 or later is told of the change. */
void netvsp_set_speed(struct netvsp *nic, uint64_t bits_per_second);

/*
 * Pausing the bus stops what comes from the guest; this stops what goes to it. Between bus_pause()
 * and bus_resume(); the control thread, waits for each queue's loop.
 */
void netvsp_pause(struct netvsp *nic);
void netvsp_resume(struct netvsp *nic);

/* The default address of a NIC: the same for the same names for ever. */
void netvsp_default_mac(const char *partition, const char *name, uint8_t ret_mac[NET_MAC_BYTES]);

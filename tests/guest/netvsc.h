/* SPDX-License-Identifier: MIT */
/*
 * The guest's half of a synthetic NIC over the fake guest: what Linux's netvsc and rndis_filter do,
 * with the checks that they make on what the host sends. Failing expectations end the test.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/fake_guest.h"
#include "net/net.h"
#include "proto/nvsp.h"
#include "proto/rndis.h"
#include "vsp/net/netvsp.h"
#include "vsp/net/rndis_parse.h"

#define NETVSC_RECV_BYTES    (4U << 20)
#define NETVSC_SEND_BYTES    (1U << 20)
#define NETVSC_RING_BYTES    (32U * 4096)
#define NETVSC_SECTION_BYTES 6144U
#define NETVSC_RECV_ID       0xcafe
#define NETVSC_SEND_ID       0
#define NETVSC_QUEUE         2048
#define NETVSC_FRAME_MAX     66000U

/* Something that arrived: a frame or a control message. */
struct netvsc_item {
	struct netvsc_item *next;
	bool is_control;
	unsigned int pieces;
	uint32_t checksum;
	uint32_t bytes;
	uint8_t data[];
};

struct netvsc {
	struct fake_guest *guest;
	struct fake_channel *channel;         /* NULL: closed */
	uint32_t ring_bytes, recv_bytes, mtu; /* to be used; mtu with its header */

	uint32_t version;
	gpa_t recv_gpa, send_gpa;
	uint32_t recv_room;              /* allocated at recv_gpa */
	uint32_t recv_gpadl, send_gpadl; /* 0: none */
	uint32_t piece_bytes, pieces;
	uint64_t next_transaction;
	uint32_t next_request;
	gpa_t scratch;
	uint64_t *scattered;

	struct fake_packet packet; /* the last one */
	unsigned int completions;  /* of packets without a waiter */
	unsigned int receive_packets;
	bool keep; /* do not complete what arrives, remember it */
	uint64_t kept[16384];
	unsigned int kept_count;
	struct netvsc_item *first, **last;
	/* a coalesced frame in the making, and facts of the frame last expected */
	uint8_t *joined;
	uint32_t joined_bytes, joined_checksum;
	unsigned int joined_pieces;
	unsigned int frame_pieces;
	uint32_t frame_checksum;
};

void netvsc_init(struct netvsc *vsc);
void netvsc_fini(struct netvsc *vsc);
void netvsc_open(struct netvsc *vsc);
/* Closes the channel and tears all GPADLs down; no-op when closed. */
void netvsc_close(struct netvsc *vsc);
/* HALT, revoke, close; old drivers tear the buffers' GPADLs down before they close. */
void netvsc_unbind(struct netvsc *vsc, bool gpadls_first);
void netvsc_revoke_device(struct netvsc *vsc, struct vmbus_device *device);

/* From INIT to INITIALIZE. */
void netvsc_start(struct netvsc *vsc, uint32_t version);
uint32_t netvsc_init_version(struct netvsc *vsc, uint32_t version); /* NVSP_STATUS_* */
/* In-band, waits for the completion, which is in vsc->packet then. */
void netvsc_send_nvsp(struct netvsc *vsc, const void *message, uint32_t bytes);

/* ---- control ---- */

void netvsc_send_control(struct netvsc *vsc, const void *message, uint32_t bytes);
/* The next control message; must be of this type. Valid until the next call. */
const uint8_t *netvsc_expect_control(struct netvsc *vsc, uint32_t type);
uint32_t netvsc_query(struct netvsc *vsc, uint32_t oid, uint8_t *info, uint32_t *ret_bytes);
void netvsc_post_query(struct netvsc *vsc, uint32_t oid, uint32_t request_id);
void netvsc_expect_reply(struct netvsc *vsc, uint32_t request_id);
uint32_t netvsc_set(struct netvsc *vsc, uint32_t oid, const void *info, uint32_t bytes);
void netvsc_set_filter(struct netvsc *vsc, uint32_t filter);
uint32_t netvsc_set_address(struct netvsc *vsc, const char *hex);
void netvsc_enable_rsc(struct netvsc *vsc, bool on);
void netvsc_expect_status(struct netvsc *vsc, uint32_t status);

/* ---- frames ---- */

/* An RNDIS message around a frame; its length. ppi: 16 bytes each. */
uint32_t netvsc_build_frame(uint8_t *buf, const void *frame, uint32_t bytes, const uint8_t *ppi,
			    uint32_t ppi_bytes);
/* Lengthens each message so that the next starts where it does. */
void netvsc_pad_messages(uint8_t *section, uint32_t bytes);

/* Each waits for the completion and returns its NVSP_STATUS_*. */
uint32_t netvsc_send_section(struct netvsc *vsc, uint32_t section, const void *frame,
			     uint32_t bytes);
uint32_t netvsc_send_raw_section(struct netvsc *vsc, uint32_t section, const void *messages,
				 uint32_t bytes);
uint32_t netvsc_send_rndis(struct netvsc *vsc, uint32_t section, uint32_t section_bytes);
uint32_t netvsc_send_pages(struct netvsc *vsc, const void *frame, uint32_t bytes);
uint32_t netvsc_send_pages_ppi(struct netvsc *vsc, const void *frame, uint32_t bytes,
			       const uint8_t *ppi, uint32_t ppi_bytes);
uint32_t netvsc_send_split(struct netvsc *vsc, uint32_t section, const void *frame, uint32_t bytes);
/* The same without waiting. */
void netvsc_post_section(struct netvsc *vsc, uint32_t section, const void *frame, uint32_t bytes);
void netvsc_post_raw_section(struct netvsc *vsc, uint32_t section, const void *messages,
			     uint32_t bytes);
void netvsc_wait_completions(struct netvsc *vsc, unsigned int count);

/* The next frame; it must be this one. */
void netvsc_expect_frame(struct netvsc *vsc, const void *frame, uint32_t bytes);
/* The next frame, to be freed by the caller; NULL when none comes in time. */
struct netvsc_item *netvsc_next_frame(struct netvsc *vsc, uint64_t wait_ns);
void netvsc_expect_silence(struct netvsc *vsc);

/* Takes what has arrived, waiting for one packet at least. */
void netvsc_take_one(struct netvsc *vsc);
/* Forgets what has arrived. */
void netvsc_drain(struct netvsc *vsc);
void netvsc_complete(struct netvsc *vsc, uint64_t transaction_id);
bool netvsc_have_kept(const struct netvsc *vsc);
void netvsc_give_back(struct netvsc *vsc);

/* Loads a NIC's state over what it has. */
int netvsc_reload(struct netvsp *nic, const uint8_t *bytes, size_t length, struct load *load);

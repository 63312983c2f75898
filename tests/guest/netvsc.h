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
#define NETVSC_CHANNELS      8

/* Something that arrived: a frame or a control message. */
struct netvsc_item {
	struct netvsc_item *next;
	bool is_control;
	unsigned int pieces;
	unsigned int queue; /* that it came on */
	uint32_t checksum;
	bool has_hash, has_vlan;
	uint32_t hash;
	uint32_t vlan; /* RNDIS_PPI_VLAN */
	uint32_t bytes;
	uint8_t data[];
};

struct netvsc {
	struct fake_guest *guest;
	struct fake_channel *channel; /* the one that is spoken on; NULL: closed */
	struct fake_channel *channels[NETVSC_CHANNELS];
	unsigned int selected, channel_count;
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
	unsigned int ranges_max; /* in one of them */
	unsigned int tables;     /* send tables that came */
	uint32_t send_table[NVSP_SEND_TABLE_ENTRIES];
	bool keep; /* do not complete what arrives, remember it */
	uint64_t kept[16384];
	unsigned int kept_count;
	struct netvsc_item *first, **last;
	/* a coalesced frame in the making, and facts of the frame last expected */
	uint8_t *joined;
	uint32_t joined_bytes, joined_checksum;
	unsigned int joined_pieces;
	bool joined_has_hash;
	uint32_t joined_hash;
	unsigned int frame_pieces;
	uint32_t frame_checksum;
	bool frame_has_hash;
	uint32_t frame_hash;
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

/* ---- queues ---- */

/* The channel that all of this speaks on from now on; 0 is the primary, which control must go to. */
void netvsc_select(struct netvsc *vsc, unsigned int channel);
/* Asks for sub-channels, opens all that are granted, and waits for the send table; how many. */
unsigned int netvsc_open_subs(struct netvsc *vsc, uint32_t wanted);
/* Only asks; *ret_status is NVSP_STATUS_*. */
unsigned int netvsc_ask_subs(struct netvsc *vsc, uint32_t wanted, uint32_t *ret_status);
void netvsc_open_sub(struct netvsc *vsc, unsigned int channel);
/* OID_GEN_RSS_PARAMETERS as Linux sends it (off, then on), entry i: table[i % entries]. Its status. */
extern const uint8_t netvsc_rss_key[NET_RSS_KEY_BYTES];
uint32_t netvsc_set_rss(struct netvsc *vsc, const uint32_t *table, unsigned int entries);

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

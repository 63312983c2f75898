/* SPDX-License-Identifier: MIT */
/*
 * NVSP messages: bytes to requests and answers to bytes. Pure functions.
 *
 *   spec  proto/nvsp.h
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "proto/nvsp.h"

/* What a version means. One per connection, chosen by INIT. */
struct nvsp_dialect {
	uint32_t version; /* NVSP_VERSION_* */
	const char *name;
	uint32_t message_bytes; /* of what we send */
	uint32_t last_type;     /* the last message that the guest may send */
	bool rsc;               /* coalesced frames in pieces */
	bool link_speed;        /* the guest asks for it, and hears of changes */
	uint8_t offload_revision;
	uint16_t offload_bytes; /* of ndis_offload */
};

/* The dialect of one version, NULL when we do not speak it. */
const struct nvsp_dialect *nvsp_dialect(uint32_t version);

struct nvsp_request {
	uint32_t type; /* NVSP_* */
	union {
		struct {
			uint32_t version_min, version_max;
		} init;
		struct {
			uint32_t major, minor;
		} ndis_version;
		struct {
			uint32_t mtu, capabilities;
		} ndis_config;
		struct {
			uint32_t gpadl;
			uint16_t id;
		} buffer; /* SEND_RECV_BUF, SEND_SEND_BUF */
		struct {
			uint16_t id;
		} revoke;
		struct {
			uint32_t channel, section, section_bytes;
		} rndis;
		struct {
			uint32_t status;
		} rndis_complete;
		struct {
			uint32_t path;
		} switch_data_path;
		struct {
			uint32_t op, count;
		} subchannel;
	};
};

/*
 * A message from the guest. dialect: NULL before INIT has succeeded, when only INIT is legal.
 *
 * 0; -EBADMSG: shorter than its type demands; -EPROTO: not legal in this state; -EOPNOTSUPP: a type
 * that the dialect knows and we do not serve (ret->type is set), or does not know.
 */
MUST_CHECK int nvsp_parse(const void *buf, size_t bytes, const struct nvsp_dialect *dialect,
			  struct nvsp_request *ret);

/* A message to the guest; answers are padded with zeroes to their version's length. */
struct nvsp_message {
	uint8_t bytes[sizeof(struct nvsp_send_indirection_table)];
	uint32_t length;
};

void nvsp_build_init_complete(const struct nvsp_dialect *dialect, uint32_t version, uint32_t status,
			      struct nvsp_message *ret);
void nvsp_build_recv_buf_complete(const struct nvsp_dialect *dialect, uint32_t status,
				  uint32_t piece_bytes, uint32_t pieces, struct nvsp_message *ret);
void nvsp_build_send_buf_complete(const struct nvsp_dialect *dialect, uint32_t status,
				  uint32_t section_bytes, struct nvsp_message *ret);
void nvsp_build_rndis(const struct nvsp_dialect *dialect, uint32_t channel,
		      struct nvsp_message *ret);
/* Short: the commonest message of all is 8 bytes. */
void nvsp_build_rndis_complete(uint32_t status, struct nvsp_message *ret);
void nvsp_build_subchannel(const struct nvsp_dialect *dialect, uint32_t status, uint32_t count,
			   struct nvsp_message *ret);
/* Each queue in turn. */
void nvsp_build_send_table(unsigned int queues, struct nvsp_message *ret);
void nvsp_build_refusal(const struct nvsp_dialect *dialect, uint32_t type,
			struct nvsp_message *ret);

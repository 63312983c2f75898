/* SPDX-License-Identifier: MIT */
/*
 * RNDIS messages: bytes to requests and back. Pure functions; the bytes are copies of ours.
 *
 * A message with a frame is read in two steps, so that only its headers are copied: first the fixed
 * header, which says where the rest is, then the per-packet information. The frame stays where it
 * is.
 *
 *   spec  proto/rndis.h
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "proto/rndis.h"

/* Header and fixed part of a message with a frame. */
#define RNDIS_PACKET_HEAD_BYTES (sizeof(struct rndis_header) + sizeof(struct rndis_packet))
/* Per-packet information in one message; Linux sends at most 64 bytes of it. */
#define RNDIS_PPI_BYTES_MAX     1024
/* A message without a frame. */
#define RNDIS_CONTROL_BYTES_MAX 4096

/* 0; -EBADMSG: a length below a header's or above what there is (left). */
MUST_CHECK int rndis_parse_header(const uint8_t *buf, size_t left, struct rndis_header *ret);

/* A frame in a message; offsets from the message's start. */
struct rndis_frame {
	uint32_t data_offset, data_bytes;
	uint32_t ppi_offset, ppi_bytes;
};

/* buf: RNDIS_PACKET_HEAD_BYTES of a message of message_bytes. 0 or -EBADMSG. */
MUST_CHECK int rndis_parse_packet(const uint8_t *buf, uint32_t message_bytes,
				  struct rndis_frame *ret);

/* What the guest wants done with a frame. */
struct rndis_offload {
	bool has_checksum, has_lso, has_vlan;
	uint32_t checksum; /* RNDIS_TX_* */
	uint32_t lso;      /* RNDIS_LSO_* */
	uint16_t vlan_tci; /* as on the wire: priority, CFI, id */
};

/* Values of unknown types are passed over. 0 or -EBADMSG. */
MUST_CHECK int rndis_parse_ppi(const uint8_t *ppi, uint32_t bytes, struct rndis_offload *ret);

struct rndis_request {
	uint32_t type; /* RNDIS_* */
	uint32_t request_id;
	uint32_t oid;        /* QUERY, SET */
	const uint8_t *info; /* borrowed from the message */
	uint32_t info_bytes;
	uint32_t major, minor; /* INITIALIZE */
};

/* 0; -EBADMSG; -EOPNOTSUPP for a type that is no request (request_id is valid when there is one). */
MUST_CHECK int rndis_parse_request(const uint8_t *buf, uint32_t bytes, struct rndis_request *ret);

/* "NetworkAddress" = "0123456789AB" in OID_GEN_RNDIS_CONFIG_PARAMETER. 0; -EBADMSG; -EOPNOTSUPP. */
MUST_CHECK int rndis_parse_network_address(const uint8_t *info, uint32_t bytes, uint8_t ret_mac[6]);

/* ---- build ---- */

/* Each returns the message's length; buf has room for RNDIS_REPLY_BYTES_MAX. */
#define RNDIS_REPLY_BYTES_MAX 1024
#define RNDIS_INFO_BYTES_MAX                                                                       \
	(RNDIS_REPLY_BYTES_MAX - sizeof(struct rndis_header) - sizeof(struct rndis_query_complete))

uint32_t rndis_build_initialize(uint8_t *buf, uint32_t request_id, uint32_t status,
				uint32_t transfer_bytes_max);
/* The answer's bytes are to be put at rndis_query_info(buf) before. */
uint8_t *rndis_query_info(uint8_t *buf);
uint32_t rndis_build_query(uint8_t *buf, uint32_t request_id, uint32_t status, uint32_t info_bytes);
/* type: RNDIS_SET, RNDIS_KEEPALIVE */
uint32_t rndis_build_status(uint8_t *buf, uint32_t type, uint32_t request_id, uint32_t status);
uint32_t rndis_build_reset(uint8_t *buf, uint32_t status);
uint32_t rndis_build_indicate(uint8_t *buf, uint32_t status, const void *info, uint32_t info_bytes);

/* What goes before a frame on receive. */
struct rndis_receive {
	uint32_t data_bytes; /* in this message */
	uint32_t checksum;   /* RNDIS_RX_*; 0: say nothing */
	bool has_vlan, has_hash;
	uint16_t vlan_tci;
	uint32_t hash; /* of the flow */
	uint8_t piece; /* RNDIS_ID_*; 0: the frame is whole */
};

/* Upper bound of what rndis_build_packet() writes. */
#define RNDIS_RECEIVE_HEAD_MAX 108
uint32_t rndis_build_packet(uint8_t *buf, const struct rndis_receive *receive);

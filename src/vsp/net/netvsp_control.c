/* SPDX-License-Identifier: MIT */
/* RNDIS requests: each is answered at once, by a message in the receive buffer. */
#include <errno.h>
#include <string.h>

#include "vsp/net/netvsp_internal.h"

void netvsp_rndis_reset(struct netvsp *nic)
{
	nic->operational = false;
	nic->filter = 0;
	nic->multicast_count = 0;
	nic->lookahead = nic->mtu;
	nic->offloads = (struct netvsp_offloads){ .ip4 = NDIS_PARAM_TX_RX,
						  .tcp4 = NDIS_PARAM_TX_RX,
						  .udp4 = NDIS_PARAM_TX_RX,
						  .tcp6 = NDIS_PARAM_TX_RX,
						  .udp6 = NDIS_PARAM_TX_RX,
						  .lso4 = NDIS_PARAM_ON,
						  .lso6 = NDIS_PARAM_ON,
						  .rsc4 = NDIS_PARAM_OFF,
						  .rsc6 = NDIS_PARAM_OFF };
	nic->rss = (struct netvsp_rss){ 0 };
	memcpy(nic->mac, nic->permanent_mac, sizeof(nic->mac));
}

void netvsp_tell_driver(struct netvsp *nic)
{
	if (nic->operational && nic->on_driver) {
		nic->on_driver(nic->on_driver_ctx);
	}
}

static uint32_t on_initialize(struct netvsp *nic, const struct rndis_request *request, uint8_t *buf)
{
	/* Microsoft's and Linux's guests say 1.0, and there has never been another. */
	bool is_ours = request->major == RNDIS_VERSION_MAJOR;

	if (is_ours) {
		netvsp_rndis_reset(nic);
		nic->operational = true;
		nic->link_told = netvsp_link(nic);
		netvsp_publish(nic);
		netvsp_tell_driver(nic);
	}
	return rndis_build_initialize(buf, request->request_id,
				      is_ours ? RNDIS_STATUS_SUCCESS : RNDIS_STATUS_NOT_SUPPORTED,
				      NETVSP_SECTION_BYTES);
}

static uint32_t on_query(struct netvsp *nic, const struct rndis_request *request, uint8_t *buf)
{
	uint32_t bytes = 0;
	uint32_t status = netvsp_oid_query(nic, request->oid, rndis_query_info(buf), &bytes);

	if (status == RNDIS_STATUS_NOT_SUPPORTED) {
		nic->counters.unknown_oids++;
	}
	if (request->oid == OID_GEN_MEDIA_CONNECT_STATUS || request->oid == OID_GEN_LINK_STATE) {
		nic->link_told = netvsp_link(nic);
	}
	return rndis_build_query(buf, request->request_id, status,
				 status == RNDIS_STATUS_SUCCESS ? bytes : 0);
}

static uint32_t on_set(struct netvsp *nic, const struct rndis_request *request, uint8_t *buf)
{
	uint32_t status = netvsp_oid_set(nic, request->oid, request->info, request->info_bytes);

	if (status == RNDIS_STATUS_NOT_SUPPORTED) {
		nic->counters.unknown_oids++;
	}
	return rndis_build_status(buf, RNDIS_SET, request->request_id, status);
}

/* The answer to a request that makes no sense. 0 bytes: none is possible. */
static uint32_t refuse(const struct rndis_request *request, uint8_t *buf)
{
	switch (request->type) {
	case RNDIS_QUERY:
		return rndis_build_query(buf, request->request_id, RNDIS_STATUS_INVALID_DATA, 0);
	case RNDIS_SET:
		return rndis_build_status(buf, RNDIS_SET, request->request_id,
					  RNDIS_STATUS_INVALID_DATA);
	default:
		return 0;
	}
}

int netvsp_control(struct netvsp *nic, const uint8_t *message, uint32_t bytes)
{
	uint8_t buf[RNDIS_REPLY_BYTES_MAX] = { 0 };
	struct rndis_request request;
	uint32_t length = 0;
	int err = rndis_parse_request(message, bytes, &request);

	if (err == -EBADMSG && bytes >= sizeof(struct rndis_header) + 4) {
		length = refuse(&request, buf);
	}
	if (!err) {
		switch (request.type) {
		case RNDIS_INITIALIZE:
			length = on_initialize(nic, &request, buf);
			break;
		case RNDIS_HALT:
			netvsp_rndis_reset(nic);
			netvsp_publish(nic);
			break;
		case RNDIS_QUERY:
			length = on_query(nic, &request, buf);
			break;
		case RNDIS_SET:
			length = on_set(nic, &request, buf);
			break;
		case RNDIS_RESET:
			nic->filter = 0;
			nic->multicast_count = 0;
			netvsp_publish(nic);
			length = rndis_build_reset(buf, RNDIS_STATUS_SUCCESS);
			break;
		case RNDIS_KEEPALIVE:
			length = rndis_build_status(buf, RNDIS_KEEPALIVE, request.request_id,
						    RNDIS_STATUS_SUCCESS);
			break;
		default:
			check(false); /* rndis_parse_request() lets nothing else through */
		}
	}
	netvsp_touch(nic);
	if (length) {
		netvsp_reply(nic, buf, length);
	}
	netvsp_tell_link(nic); /* the filter that it waited for may be there */
	return err ? -EBADMSG : 0;
}

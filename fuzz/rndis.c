/* SPDX-License-Identifier: MIT */
/* RNDIS messages: the first byte chooses the parser, the rest is its input. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vsp/net/netvsp_rss.h"
#include "vsp/net/rndis_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As the transmit path does: header, then what it points at. */
static void fuzz_packet(const uint8_t *bytes, uint32_t size)
{
	struct rndis_header header;
	struct rndis_frame frame;
	struct rndis_offload offload;

	if (rndis_parse_header(bytes, size, &header) || header.bytes < RNDIS_PACKET_HEAD_BYTES ||
	    rndis_parse_packet(bytes, header.bytes, &frame)) {
		return;
	}
	check(frame.data_offset <= header.bytes &&
	      frame.data_bytes <= header.bytes - frame.data_offset);
	check(frame.ppi_offset <= header.bytes &&
	      frame.ppi_bytes <= header.bytes - frame.ppi_offset);
	check(frame.ppi_bytes <= RNDIS_PPI_BYTES_MAX);
	check(rndis_parse_ppi(bytes + frame.ppi_offset, frame.ppi_bytes, &offload) <= 0);
}

static void fuzz_request(const uint8_t *bytes, uint32_t size)
{
	struct rndis_request request;
	uint8_t mac[6];

	if (rndis_parse_request(bytes, size, &request) == 0 && request.info) {
		check(request.info >= bytes && request.info_bytes <= size &&
		      request.info + request.info_bytes <= bytes + size);
		check(rndis_parse_network_address(request.info, request.info_bytes, mac) <= 0);
	}
}

/* What was accepted makes sense, and comes out as it went in. */
static void fuzz_rss(const uint8_t *bytes, uint32_t size, unsigned int queues)
{
	struct netvsp_rss rss = { 0 }, again = { 0 };
	uint8_t info[NETVSP_RSS_INFO_BYTES_MAX];
	uint32_t status = netvsp_rss_set(&rss, bytes, size, queues);

	check(netvsp_rss_is_sound(&rss, queues));
	if (status == RNDIS_STATUS_SUCCESS && rss.is_on) {
		uint32_t length = netvsp_rss_build(&rss, info);

		check(netvsp_rss_set(&again, info, length, queues) == RNDIS_STATUS_SUCCESS);
		check(memcmp(&rss, &again, sizeof(rss)) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy, mac[6];
	struct rndis_offload offload;

	if (size < 1 || size > 1U << 16) {
		return 0;
	}
	/* A block of the exact size, so that each byte beyond it is noticed. */
	copy = malloc(size - 1 ? size - 1 : 1);
	memcpy(copy, data + 1, size - 1);
	if (data[0] >= 0x80) {
		fuzz_rss(copy, (uint32_t)size - 1, data[0] & 0x7fU);
		free(copy);
		return 0;
	}
	switch (data[0] % 4) {
	case 0:
		fuzz_packet(copy, (uint32_t)size - 1);
		break;
	case 1:
		fuzz_request(copy, (uint32_t)size - 1);
		break;
	case 2:
		check(rndis_parse_ppi(copy, (uint32_t)size - 1, &offload) <= 0);
		break;
	default:
		check(rndis_parse_network_address(copy, (uint32_t)size - 1, mac) <= 0);
		break;
	}
	free(copy);
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "ext/pcapng_write.h"

#include <string.h>

#include "base/bytes.h"
#include "proto/ether.h"

#define TEXT_MAX    64U
#define NANOSECONDS 9U
#define ADDRESSES   12U /* of an Ethernet header: a tag comes behind them */
#define PAD(n)      ((4U - (n) % 4U) % 4U)

static size_t put(uint8_t *to, size_t at, const void *bytes, size_t count)
{
	memcpy(to + at, bytes, count);
	return at + count;
}

static size_t put_padding(uint8_t *to, size_t at, size_t count)
{
	memset(to + at, 0, PAD(count));
	return at + PAD(count);
}

static size_t put_option(uint8_t *to, size_t at, uint16_t type, const void *bytes, size_t count)
{
	struct pcapng_option option = { type, (uint16_t)count };

	at = put(to, at, &option, sizeof(option));
	at = put(to, at, bytes, count);
	return put_padding(to, at, count);
}

static size_t put_text(uint8_t *to, size_t at, uint16_t type, const char *text)
{
	return put_option(to, at, type, text, strnlen(text, TEXT_MAX));
}

/* Options end, and the block's length is put where it belongs. */
static size_t finish(uint8_t *to, size_t at)
{
	struct pcapng_option end = { PCAPNG_OPT_END, 0 };
	uint32_t bytes;

	at = put(to, at, &end, sizeof(end));
	bytes = (uint32_t)(at + sizeof(bytes));
	memcpy(to + sizeof(uint32_t), &bytes, sizeof(bytes));
	return put(to, at, &bytes, sizeof(bytes));
}

size_t pcapng_section(uint8_t *to, const char *application)
{
	struct pcapng_section section = {
		.block = { PCAPNG_BLOCK_SECTION, 0 },
		.magic = PCAPNG_MAGIC,
		.major = 1,
		.length = { (uint32_t)PCAPNG_LENGTH_UNKNOWN,
			    (uint32_t)(PCAPNG_LENGTH_UNKNOWN >> 32) },
	};
	size_t at = put(to, 0, &section, sizeof(section));

	return finish(to, put_text(to, at, PCAPNG_SHB_APPLICATION, application));
}

size_t pcapng_interface(uint8_t *to, const char *name, uint32_t snaplen)
{
	struct pcapng_interface interface = {
		.block = { PCAPNG_BLOCK_INTERFACE, 0 },
		.link = PCAPNG_LINK_ETHERNET,
		.snaplen = snaplen,
	};
	uint8_t resolution = NANOSECONDS;
	size_t at = put(to, 0, &interface, sizeof(interface));

	at = put_text(to, at, PCAPNG_IF_NAME, name);
	return finish(to, put_option(to, at, PCAPNG_IF_TSRESOL, &resolution, sizeof(resolution)));
}

/* The frame's bytes, with its tag where it belongs. */
static size_t put_frame(uint8_t *to, size_t at, const struct pcapng_frame *frame)
{
	uint8_t tag[ETHER_TAG_BYTES];

	if (!frame->has_tag || frame->captured < ADDRESSES) {
		return put(to, at, frame->bytes, frame->captured);
	}
	bytes_put_be16(tag, ETHER_TYPE_VLAN);
	bytes_put_be16(tag + 2, frame->tci);
	at = put(to, at, frame->bytes, ADDRESSES);
	at = put(to, at, tag, sizeof(tag));
	return put(to, at, frame->bytes + ADDRESSES, frame->captured - ADDRESSES);
}

size_t pcapng_packet(uint8_t *to, const struct pcapng_frame *frame)
{
	uint32_t more = frame->has_tag && frame->captured >= ADDRESSES ? ETHER_TAG_BYTES : 0;
	struct pcapng_packet packet = {
		.block = { PCAPNG_BLOCK_PACKET, 0 },
		.interface = frame->interface,
		.time_high = (uint32_t)(frame->time_ns >> 32),
		.time_low = (uint32_t)frame->time_ns,
		.captured_bytes = frame->captured + more,
		.bytes = frame->length + more,
	};
	size_t at = put(to, 0, &packet, sizeof(packet));

	at = put_frame(to, at, frame);
	at = put_padding(to, at, packet.captured_bytes);
	at = put_option(to, at, PCAPNG_EPB_FLAGS, &frame->direction, sizeof(frame->direction));
	if (frame->comment) {
		at = put_text(to, at, PCAPNG_OPT_COMMENT, frame->comment);
	}
	return finish(to, at);
}

size_t pcapng_statistics(uint8_t *to, uint32_t interface, uint64_t time_ns, uint64_t lost)
{
	struct pcapng_statistics statistics = {
		.block = { PCAPNG_BLOCK_STATISTICS, 0 },
		.interface = interface,
		.time_high = (uint32_t)(time_ns >> 32),
		.time_low = (uint32_t)time_ns,
	};
	size_t at = put(to, 0, &statistics, sizeof(statistics));

	return finish(to, put_option(to, at, PCAPNG_ISB_IF_DROP, &lost, sizeof(lost)));
}

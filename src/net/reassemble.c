/* SPDX-License-Identifier: MIT */
#include "net/reassemble.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fault.h"
#include "base/num.h"
#include "net/offload.h"

#define HEAD_MAX    (NET_HEADER_BYTES + 60U)
#define FRAME_BYTES (HEAD_MAX + 65536U)
#define FRAG_MORE   0x2000
#define FRAG_OFFSET 0x1fff

int reassembler_init(struct reassembler *r)
{
	*r = (struct reassembler){ .block = fault_alloc(REASSEMBLE_DATAGRAMS, FRAME_BYTES) };
	if (!r->block) {
		return -ENOMEM;
	}
	for (size_t i = 0; i < REASSEMBLE_DATAGRAMS; i++) {
		r->datagrams[i].frame = r->block + i * FRAME_BYTES;
	}
	return 0;
}

void reassembler_fini(struct reassembler *r)
{
	free(r->block);
	*r = (struct reassembler){ 0 };
}

static void make_key(const uint8_t *ip, uint8_t key[10])
{
	memcpy(key, ip + 12, 8);
	memcpy(key + 8, ip + 4, 2);
}

static struct reassembly *find(struct reassembler *r, const uint8_t *key, uint8_t protocol)
{
	struct reassembly *oldest = &r->datagrams[0];

	for (size_t i = 0; i < REASSEMBLE_DATAGRAMS; i++) {
		struct reassembly *d = &r->datagrams[i];

		if (d->used && !memcmp(d->key, key, sizeof(d->key)) &&
		    d->frame[NET_HEADER_BYTES + 9] == protocol) {
			return d;
		}
	}
	for (size_t i = 0; i < REASSEMBLE_DATAGRAMS; i++) {
		struct reassembly *d = &r->datagrams[i];

		if (!d->used) {
			oldest = d;
			break;
		}
		if (d->age < oldest->age) {
			oldest = d;
		}
	}
	r->evicted += oldest->used;
	oldest->used = false;
	return oldest;
}

static void begin(struct reassembler *r, struct reassembly *d, const uint8_t *frame,
		  const struct net_headers *h, const uint8_t *key)
{
	memcpy(d->key, key, sizeof(d->key));
	memcpy(d->frame, frame, h->l4_offset);
	memset(d->map, 0, sizeof(d->map));
	d->used = true;
	d->age = r->fragments;
	d->head_bytes = h->l4_offset;
	d->total = d->have = 0;
}

/* Marks [offset, offset + bytes); false when some of it was there already. */
static bool mark(struct reassembly *d, uint32_t offset, uint32_t bytes)
{
	for (uint32_t unit = offset / 8; unit < (offset + bytes + 7) / 8; unit++) {
		uint64_t bit = 1ULL << (unit % 64);

		if (d->map[unit / 64] & bit) {
			return false;
		}
		d->map[unit / 64] |= bit;
		d->have++;
	}
	return true;
}

/* One fragment into its datagram. Whether that is whole now. */
static bool add(struct reassembler *r, struct reassembly *d, const uint8_t *frame,
		const struct net_headers *h)
{
	uint16_t field = bytes_be16(frame + h->l3_offset + 6);
	uint32_t offset = (field & FRAG_OFFSET) * 8U, bytes = h->end - h->l4_offset;
	bool is_last = !(field & FRAG_MORE);

	if (bytes == 0 || (!is_last && bytes % 8) || offset + bytes > UINT16_MAX - 60 ||
	    (is_last && d->total) || (d->total && offset + bytes > d->total)) {
		d->used = false;
		return false;
	}
	if (!mark(d, offset, bytes)) {
		d->used = false;
		r->overlaps++;
		return false;
	}
	memcpy(d->frame + d->head_bytes + offset, frame + h->l4_offset, bytes);
	if (is_last) {
		d->total = offset + bytes;
	}
	/* Units beyond the end, if any, keep it from ever being whole; it will be evicted. */
	return d->total && d->have == (d->total + 7) / 8;
}

bool reassembler_take(struct reassembler *r, uint8_t *frame, uint32_t bytes, uint8_t **ret_frame,
		      uint32_t *ret_bytes)
{
	struct net_headers h;
	struct reassembly *d;
	uint8_t key[10], *ip;
	uint16_t sum;

	if (net_headers_parse(frame, bytes, false, &h) || h.ip_version != 4 || !h.is_fragment) {
		*ret_frame = frame;
		*ret_bytes = bytes;
		return true;
	}
	ip = frame + h.l3_offset;
	if (net_sum_fold(net_sum(ip, (size_t)h.l4_offset - h.l3_offset)) != 0) {
		return false;
	}
	r->fragments++;
	make_key(ip, key);
	d = find(r, key, h.protocol);
	if (!d->used) {
		begin(r, d, frame, &h, key);
	}
	if (!add(r, d, frame, &h)) {
		return false;
	}
	d->used = false;
	r->completed++;
	ip = d->frame + NET_HEADER_BYTES;
	bytes_put_be16(ip + 2, (uint16_t)(d->head_bytes - NET_HEADER_BYTES + d->total));
	memset(ip + 6, 0, 2);
	memset(ip + 10, 0, 2);
	sum = net_sum_fold(net_sum(ip, d->head_bytes - NET_HEADER_BYTES));
	memcpy(ip + 10, &sum, 2);
	*ret_frame = d->frame;
	*ret_bytes = d->head_bytes + d->total;
	return true;
}

/* SPDX-License-Identifier: MIT */
#include "vsp/net/rndis_parse.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"

#define BODY sizeof(struct rndis_header) /* where offsets in bodies count from */

int rndis_parse_header(const uint8_t *buf, size_t left, struct rndis_header *ret)
{
	struct rndis_header h;

	if (left < sizeof(h)) {
		return -EBADMSG;
	}
	h.type = bytes_le32(buf);
	h.bytes = bytes_le32(buf + 4);
	if (h.bytes < sizeof(h) || h.bytes > left) {
		return -EBADMSG;
	}
	*ret = h;
	return 0;
}

int rndis_parse_packet(const uint8_t *buf, uint32_t message_bytes, struct rndis_frame *ret)
{
	struct bytes_cursor c = bytes_cursor(buf + BODY, sizeof(struct rndis_packet));
	struct rndis_frame f;
	uint32_t room;

	if (message_bytes < RNDIS_PACKET_HEAD_BYTES) {
		return -EBADMSG;
	}
	room = message_bytes - (uint32_t)BODY;
	f.data_offset = bytes_take_le32(&c);
	f.data_bytes = bytes_take_le32(&c);
	bytes_take(&c, 12); /* out-of-band data: nobody has any */
	f.ppi_offset = bytes_take_le32(&c);
	f.ppi_bytes = bytes_take_le32(&c);
	if (!num_range_fits(f.data_offset, f.data_bytes, room) ||
	    f.data_offset < sizeof(struct rndis_packet)) {
		return -EBADMSG;
	}
	if (f.ppi_offset == 0 || f.ppi_bytes == 0) {
		f.ppi_offset = f.ppi_bytes = 0;
	} else if (!num_range_fits(f.ppi_offset, f.ppi_bytes, room) ||
		   f.ppi_offset < sizeof(struct rndis_packet) ||
		   f.ppi_bytes > RNDIS_PPI_BYTES_MAX) {
		return -EBADMSG;
	}
	f.data_offset += (uint32_t)BODY;
	f.ppi_offset += (uint32_t)BODY;
	*ret = f;
	return 0;
}

static uint16_t vlan_tci(uint32_t value)
{
	return (uint16_t)((value & RNDIS_VLAN_PRIORITY_MASK) << 13 |
			  (value & RNDIS_VLAN_CFI ? 1U << 12 : 0) |
			  ((value >> RNDIS_VLAN_ID_SHIFT) & 0xfffU));
}

int rndis_parse_ppi(const uint8_t *ppi, uint32_t bytes, struct rndis_offload *ret)
{
	struct rndis_offload o = { 0 };

	while (bytes >= sizeof(struct rndis_ppi)) {
		uint32_t size = bytes_le32(ppi), type = bytes_le32(ppi + 4);
		uint32_t at = bytes_le32(ppi + 8), value;

		if (size < sizeof(struct rndis_ppi) || size > bytes || at > size) {
			return -EBADMSG;
		}
		if (type == RNDIS_PPI_CHECKSUM || type == RNDIS_PPI_LSO || type == RNDIS_PPI_VLAN) {
			if (at < sizeof(struct rndis_ppi) || size - at < 4) {
				return -EBADMSG;
			}
			value = bytes_le32(ppi + at);
			if (type == RNDIS_PPI_CHECKSUM) {
				o.has_checksum = true;
				o.checksum = value;
			} else if (type == RNDIS_PPI_LSO) {
				o.has_lso = true;
				o.lso = value;
			} else {
				o.has_vlan = true;
				o.vlan_tci = vlan_tci(value);
			}
		}
		ppi += size;
		bytes -= size;
	}
	if (bytes) {
		return -EBADMSG;
	}
	*ret = o;
	return 0;
}

static int parse_oid(struct bytes_cursor *c, uint32_t body_bytes, struct rndis_request *r)
{
	const uint8_t *body = c->at - 4; /* behind request_id */
	uint32_t offset;

	r->oid = bytes_take_le32(c);
	r->info_bytes = bytes_take_le32(c);
	offset = bytes_take_le32(c);
	bytes_take_le32(c);
	if (c->failed) {
		return -EBADMSG;
	}
	if (r->info_bytes == 0) {
		return 0;
	}
	if (!num_range_fits(offset, r->info_bytes, body_bytes) ||
	    offset < sizeof(struct rndis_oid_request)) {
		return -EBADMSG;
	}
	r->info = body + offset;
	return 0;
}

int rndis_parse_request(const uint8_t *buf, uint32_t bytes, struct rndis_request *ret)
{
	struct rndis_request r = { 0 };
	struct rndis_header h;
	struct bytes_cursor c;
	int err = 0;

	if (rndis_parse_header(buf, bytes, &h)) {
		return -EBADMSG;
	}
	r.type = h.type;
	c = bytes_cursor(buf + BODY, h.bytes - BODY);
	r.request_id = bytes_take_le32(&c); /* RESET's reserved word lies there too */
	switch (h.type) {
	case RNDIS_INITIALIZE:
		r.major = bytes_take_le32(&c);
		r.minor = bytes_take_le32(&c);
		bytes_take_le32(&c);
		break;
	case RNDIS_QUERY:
	case RNDIS_SET:
		err = c.failed ? -EBADMSG : parse_oid(&c, (uint32_t)(h.bytes - BODY), &r);
		break;
	case RNDIS_HALT:
	case RNDIS_RESET:
	case RNDIS_KEEPALIVE:
		break;
	default:
		err = -EOPNOTSUPP;
		break;
	}
	if (!err && c.failed) {
		err = -EBADMSG;
	}
	/* Also on failure: what is known lets the caller answer. */
	*ret = r;
	return err;
}

/* One UTF-16 character of a string, as ASCII; 0 for anything else. */
static int ascii_at(const uint8_t *utf16, uint32_t index)
{
	uint16_t c = bytes_le16(utf16 + 2U * index);

	return c < 0x80 ? c : 0;
}

static bool equals_ascii(const uint8_t *utf16, uint32_t chars, const char *ascii)
{
	if (chars != strlen(ascii)) {
		return false;
	}
	for (uint32_t i = 0; i < chars; i++) {
		if (tolower(ascii_at(utf16, i)) != tolower((unsigned char)ascii[i])) {
			return false;
		}
	}
	return true;
}

static int hex_value(int c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	c = tolower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int rndis_parse_network_address(const uint8_t *info, uint32_t bytes, uint8_t ret_mac[6])
{
	struct bytes_cursor c = bytes_cursor(info, bytes);
	uint32_t name_offset = bytes_take_le32(&c), name_bytes = bytes_take_le32(&c);
	uint32_t type = bytes_take_le32(&c);
	uint32_t value_offset = bytes_take_le32(&c), value_bytes = bytes_take_le32(&c);
	uint8_t mac[6];

	if (c.failed || !num_range_fits(name_offset, name_bytes, bytes) ||
	    !num_range_fits(value_offset, value_bytes, bytes)) {
		return -EBADMSG;
	}
	if (type != RNDIS_CONFIG_STRING ||
	    !equals_ascii(info + name_offset, name_bytes / 2, "NetworkAddress")) {
		return -EOPNOTSUPP;
	}
	if (value_bytes != 24) {
		return -EBADMSG;
	}
	for (uint32_t i = 0; i < 6; i++) {
		int high = hex_value(ascii_at(info + value_offset, 2 * i));
		int low = hex_value(ascii_at(info + value_offset, 2 * i + 1));

		if (high < 0 || low < 0) {
			return -EBADMSG;
		}
		mac[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret_mac, mac, sizeof(mac));
	return 0;
}

/* ---- build ---- */

static uint32_t put_header(uint8_t *buf, uint32_t type, size_t bytes)
{
	bytes_put_le32(buf, type);
	bytes_put_le32(buf + 4, (uint32_t)bytes);
	return (uint32_t)bytes;
}

uint32_t rndis_build_initialize(uint8_t *buf, uint32_t request_id, uint32_t status,
				uint32_t transfer_bytes_max)
{
	const uint32_t words[] = { request_id,
				   status,
				   RNDIS_VERSION_MAJOR,
				   RNDIS_VERSION_MINOR,
				   RNDIS_DEVICE_CONNECTIONLESS,
				   0, /* 802.3 */
				   8, /* packets in one message */
				   transfer_bytes_max,
				   3, /* at multiples of 8 bytes */
				   0,
				   0 };

	static_assert(sizeof(words) == sizeof(struct rndis_initialize_complete), "words");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		bytes_put_le32(buf + BODY + 4 * i, words[i]);
	}
	return put_header(buf, RNDIS_INITIALIZE | RNDIS_COMPLETION, BODY + sizeof(words));
}

uint8_t *rndis_query_info(uint8_t *buf)
{
	return buf + BODY + sizeof(struct rndis_query_complete);
}

uint32_t rndis_build_query(uint8_t *buf, uint32_t request_id, uint32_t status, uint32_t info_bytes)
{
	check(info_bytes <= RNDIS_INFO_BYTES_MAX);
	bytes_put_le32(buf + BODY, request_id);
	bytes_put_le32(buf + BODY + 4, status);
	bytes_put_le32(buf + BODY + 8, info_bytes);
	/* Linux wants an offset that lies behind the fixed part even when there is nothing. */
	bytes_put_le32(buf + BODY + 12, sizeof(struct rndis_query_complete));
	return put_header(buf, RNDIS_QUERY | RNDIS_COMPLETION,
			  BODY + sizeof(struct rndis_query_complete) + info_bytes);
}

uint32_t rndis_build_status(uint8_t *buf, uint32_t type, uint32_t request_id, uint32_t status)
{
	bytes_put_le32(buf + BODY, request_id);
	bytes_put_le32(buf + BODY + 4, status);
	return put_header(buf, type | RNDIS_COMPLETION,
			  BODY + sizeof(struct rndis_status_complete));
}

uint32_t rndis_build_reset(uint8_t *buf, uint32_t status)
{
	bytes_put_le32(buf + BODY, status);
	bytes_put_le32(buf + BODY + 4, 1);
	return put_header(buf, RNDIS_RESET | RNDIS_COMPLETION,
			  BODY + sizeof(struct rndis_reset_complete));
}

uint32_t rndis_build_indicate(uint8_t *buf, uint32_t status, const void *info, uint32_t info_bytes)
{
	check(info_bytes <= RNDIS_INFO_BYTES_MAX);
	bytes_put_le32(buf + BODY, status);
	bytes_put_le32(buf + BODY + 4, info_bytes);
	bytes_put_le32(buf + BODY + 8, info_bytes ? sizeof(struct rndis_indicate) : 0);
	if (info_bytes) {
		memcpy(buf + BODY + sizeof(struct rndis_indicate), info, info_bytes);
	}
	return put_header(buf, RNDIS_INDICATE, BODY + sizeof(struct rndis_indicate) + info_bytes);
}

static uint8_t *put_ppi(uint8_t *at, uint32_t type, uint32_t value)
{
	bytes_put_le32(at, sizeof(struct rndis_ppi) + 4);
	bytes_put_le32(at + 4, type);
	bytes_put_le32(at + 8, sizeof(struct rndis_ppi));
	bytes_put_le32(at + 12, value);
	return at + 16;
}

uint32_t rndis_build_packet(uint8_t *buf, const struct rndis_receive *receive)
{
	uint8_t *ppi = buf + RNDIS_PACKET_HEAD_BYTES, *at = ppi;
	uint32_t head, ppi_bytes;

	memset(buf, 0, RNDIS_PACKET_HEAD_BYTES);
	if (receive->checksum) {
		at = put_ppi(at, RNDIS_PPI_CHECKSUM, receive->checksum);
	}
	if (receive->has_vlan) {
		uint32_t tci = receive->vlan_tci;

		at = put_ppi(at, RNDIS_PPI_VLAN,
			     tci >> 13 | (tci & 1U << 12 ? RNDIS_VLAN_CFI : 0) |
				     (tci & 0xfffU) << RNDIS_VLAN_ID_SHIFT);
	}
	if (receive->has_hash) {
		at = put_ppi(at, RNDIS_PPI_HASH, receive->hash);
	}
	if (receive->piece) {
		/* version 1, flags, packet id 0 */
		at = put_ppi(at, RNDIS_PPI_ID, 1U | (uint32_t)receive->piece << 8);
	}
	ppi_bytes = (uint32_t)(at - ppi);
	head = (uint32_t)(at - buf);
	bytes_put_le32(buf + BODY, head - (uint32_t)BODY);
	bytes_put_le32(buf + BODY + 4, receive->data_bytes);
	if (ppi_bytes) {
		bytes_put_le32(buf + BODY + offsetof(struct rndis_packet, ppi_offset),
			       sizeof(struct rndis_packet));
		bytes_put_le32(buf + BODY + offsetof(struct rndis_packet, ppi_bytes), ppi_bytes);
	}
	put_header(buf, RNDIS_PACKET, (size_t)head + receive->data_bytes);
	return head;
}

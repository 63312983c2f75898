/* SPDX-License-Identifier: MIT */
#include "vsp/net/nvsp_parse.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "proto/rndis.h"

static const struct nvsp_dialect dialects[] = {
	{ NVSP_VERSION_1, "1", NVSP_MESSAGE_BYTES_V1, NVSP_LAST_V1, false, false, 1,
	  NDIS_OFFLOAD_BYTES_R1 },
	{ NVSP_VERSION_2, "2", NVSP_MESSAGE_BYTES_V1, NVSP_LAST_V2, false, false, 1,
	  NDIS_OFFLOAD_BYTES_R1 },
	{ NVSP_VERSION_4, "4", NVSP_MESSAGE_BYTES_V1, NVSP_LAST_V4, false, false, 2,
	  NDIS_OFFLOAD_BYTES_R2 },
	{ NVSP_VERSION_5, "5", NVSP_MESSAGE_BYTES_V1, NVSP_LAST_V5, false, true, 3,
	  NDIS_OFFLOAD_BYTES_R3 },
	{ NVSP_VERSION_6, "6", NVSP_MESSAGE_BYTES_V1, NVSP_LAST_V6, false, true, 3,
	  NDIS_OFFLOAD_BYTES_R3 },
	{ NVSP_VERSION_61, "6.1", NVSP_MESSAGE_BYTES_V61, NVSP_LAST_V6, true, true, 3,
	  NDIS_OFFLOAD_BYTES_R3 },
};

const struct nvsp_dialect *nvsp_dialect(uint32_t version)
{
	for (size_t i = 0; i < ARRAY_SIZE(dialects); i++) {
		if (dialects[i].version == version) {
			return &dialects[i];
		}
	}
	return NULL;
}

/* ---- parse ---- */

/* Bodies begin behind the type. Each reads its fields; a short one shows in the cursor. */
static int parse_body(struct bytes_cursor *c, struct nvsp_request *r)
{
	switch (r->type) {
	case NVSP_INIT:
		r->init.version_min = bytes_take_le32(c);
		r->init.version_max = bytes_take_le32(c);
		return 0;
	case NVSP_SEND_NDIS_VERSION:
		r->ndis_version.major = bytes_take_le32(c);
		r->ndis_version.minor = bytes_take_le32(c);
		return 0;
	case NVSP_SEND_RECV_BUF:
	case NVSP_SEND_SEND_BUF:
		r->buffer.gpadl = bytes_take_le32(c);
		r->buffer.id = bytes_take_le16(c);
		return 0;
	case NVSP_REVOKE_RECV_BUF:
	case NVSP_REVOKE_SEND_BUF:
		r->revoke.id = bytes_take_le16(c);
		return 0;
	case NVSP_SEND_RNDIS:
		r->rndis.channel = bytes_take_le32(c);
		r->rndis.section = bytes_take_le32(c);
		r->rndis.section_bytes = bytes_take_le32(c);
		return 0;
	case NVSP_SEND_RNDIS_COMPLETE:
		r->rndis_complete.status = bytes_take_le32(c);
		return 0;
	case NVSP_SEND_NDIS_CONFIG:
		r->ndis_config.mtu = bytes_take_le32(c);
		bytes_take_le32(c);
		r->ndis_config.capabilities = bytes_take_le32(c);
		bytes_take_le32(c);
		return 0;
	case NVSP_SWITCH_DATA_PATH:
		r->switch_data_path.path = bytes_take_le32(c);
		return 0;
	case NVSP_SUBCHANNEL:
		r->subchannel.op = bytes_take_le32(c);
		r->subchannel.count = bytes_take_le32(c);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

int nvsp_parse(const void *buf, size_t bytes, const struct nvsp_dialect *dialect,
	       struct nvsp_request *ret)
{
	struct bytes_cursor c = bytes_cursor(buf, bytes);
	struct nvsp_request r = { .type = bytes_take_le32(&c) };
	int err;

	if (c.failed) {
		return -EBADMSG;
	}
	ret->type = r.type;
	if (!dialect && r.type != NVSP_INIT) {
		return -EPROTO;
	}
	if (dialect && r.type != NVSP_INIT && r.type > dialect->last_type) {
		return -EOPNOTSUPP;
	}
	err = parse_body(&c, &r);
	if (err) {
		return err;
	}
	if (c.failed) {
		return -EBADMSG;
	}
	*ret = r;
	return 0;
}

/* ---- build ---- */

static void begin(const struct nvsp_dialect *dialect, uint32_t type, struct nvsp_message *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->length = dialect ? dialect->message_bytes : NVSP_MESSAGE_BYTES_V1;
	bytes_put_le32(ret->bytes, type);
}

static void put(struct nvsp_message *m, size_t offset, uint32_t value)
{
	bytes_put_le32(m->bytes + offset, value);
}

void nvsp_build_init_complete(const struct nvsp_dialect *dialect, uint32_t version, uint32_t status,
			      struct nvsp_message *ret)
{
	begin(dialect, NVSP_INIT_COMPLETE, ret);
	put(ret, offsetof(struct nvsp_init_complete, version), version);
	put(ret, offsetof(struct nvsp_init_complete, mdl_chain_max), NVSP_MDL_CHAIN_MAX);
	put(ret, offsetof(struct nvsp_init_complete, status), status);
}

void nvsp_build_recv_buf_complete(const struct nvsp_dialect *dialect, uint32_t status,
				  uint32_t piece_bytes, uint32_t pieces, struct nvsp_message *ret)
{
	begin(dialect, NVSP_SEND_RECV_BUF_COMPLETE, ret);
	put(ret, offsetof(struct nvsp_recv_buf_complete, status), status);
	if (status != NVSP_STATUS_SUCCESS) {
		return;
	}
	put(ret, offsetof(struct nvsp_recv_buf_complete, section_count), 1);
	put(ret, offsetof(struct nvsp_recv_buf_complete, piece_bytes), piece_bytes);
	put(ret, offsetof(struct nvsp_recv_buf_complete, pieces), pieces);
	put(ret, offsetof(struct nvsp_recv_buf_complete, end_offset), piece_bytes * pieces);
}

void nvsp_build_send_buf_complete(const struct nvsp_dialect *dialect, uint32_t status,
				  uint32_t section_bytes, struct nvsp_message *ret)
{
	begin(dialect, NVSP_SEND_SEND_BUF_COMPLETE, ret);
	put(ret, offsetof(struct nvsp_send_buf_complete, status), status);
	put(ret, offsetof(struct nvsp_send_buf_complete, section_bytes), section_bytes);
}

void nvsp_build_rndis(const struct nvsp_dialect *dialect, uint32_t channel,
		      struct nvsp_message *ret)
{
	begin(dialect, NVSP_SEND_RNDIS, ret);
	put(ret, offsetof(struct nvsp_rndis, channel), channel);
	put(ret, offsetof(struct nvsp_rndis, section), NVSP_SECTION_NONE);
}

void nvsp_build_rndis_complete(uint32_t status, struct nvsp_message *ret)
{
	begin(NULL, NVSP_SEND_RNDIS_COMPLETE, ret);
	put(ret, offsetof(struct nvsp_rndis_complete, status), status);
	ret->length = sizeof(struct nvsp_rndis_complete);
}

void nvsp_build_subchannel(const struct nvsp_dialect *dialect, uint32_t status, uint32_t count,
			   struct nvsp_message *ret)
{
	begin(dialect, NVSP_SUBCHANNEL, ret);
	put(ret, offsetof(struct nvsp_subchannel, op), status);
	put(ret, offsetof(struct nvsp_subchannel, count), count);
}

void nvsp_build_send_table(unsigned int queues, struct nvsp_message *ret)
{
	begin(NULL, NVSP_SEND_INDIRECTION_TABLE, ret);
	put(ret, offsetof(struct nvsp_send_indirection_table, count), NVSP_SEND_TABLE_ENTRIES);
	put(ret, offsetof(struct nvsp_send_indirection_table, offset),
	    offsetof(struct nvsp_send_indirection_table, table));
	for (unsigned int i = 0; i < NVSP_SEND_TABLE_ENTRIES; i++) {
		put(ret, offsetof(struct nvsp_send_indirection_table, table) + 4 * (size_t)i,
		    i % queues);
	}
	ret->length = sizeof(struct nvsp_send_indirection_table);
}

void nvsp_build_refusal(const struct nvsp_dialect *dialect, uint32_t type, struct nvsp_message *ret)
{
	begin(dialect, type, ret);
	put(ret, offsetof(struct nvsp_refusal, status), NVSP_STATUS_FAIL);
}

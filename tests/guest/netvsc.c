/* SPDX-License-Identifier: MIT */
#include "guest/netvsc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/num.h"

#define SCRATCH_BYTES  (64U << 10)
#define SCATTERED      20
#define RSC_PIECES_MAX 562

static const struct guid nic_type = NVSP_INTERFACE;

/* ---- life ---- */

void netvsc_init(struct netvsc *vsc)
{
	*vsc = (struct netvsc){ .ring_bytes = NETVSC_RING_BYTES,
				.recv_bytes = NETVSC_RECV_BYTES,
				.mtu = 1514,
				.next_transaction = 1,
				.next_request = 1 };
	vsc->last = &vsc->first;
	vsc->guest = fake_guest_create(64 << 20, 1);
	vsc->send_gpa = fake_guest_alloc(vsc->guest, NETVSC_SEND_BYTES);
	vsc->scratch = fake_guest_alloc(vsc->guest, SCRATCH_BYTES);
	vsc->scattered = calloc(SCATTERED, sizeof(*vsc->scattered));
	fake_guest_alloc_scattered(vsc->guest, SCATTERED, vsc->scattered);
	vsc->joined = malloc(NETVSC_FRAME_MAX);
}

static void drop_items(struct netvsc *vsc)
{
	while (vsc->first) {
		struct netvsc_item *item = vsc->first;

		vsc->first = item->next;
		free(item);
	}
	vsc->last = &vsc->first;
}

void netvsc_fini(struct netvsc *vsc)
{
	drop_items(vsc);
	free(vsc->scattered);
	free(vsc->joined);
	fake_guest_destroy(vsc->guest);
}

void netvsc_open(struct netvsc *vsc)
{
	vsc->channel = fake_channel_open(vsc->guest, &nic_type, 0, vsc->ring_bytes);
	vsc->channels[0] = vsc->channel;
	vsc->selected = 0;
	vsc->channel_count = 1;
	vsc->completions = vsc->kept_count = 0;
	vsc->joined_pieces = 0;
}

static void teardown(struct netvsc *vsc, uint32_t relid, uint32_t *gpadl)
{
	if (*gpadl) {
		fake_guest_gpadl_teardown(vsc->guest, relid, *gpadl);
		*gpadl = 0;
	}
}

static void close_with(struct netvsc *vsc, bool gpadls_first)
{
	uint32_t relid;

	if (!vsc->channel) {
		return;
	}
	netvsc_select(vsc, 0);
	/* Linux: the sub-channels first. */
	while (vsc->channel_count > 1) {
		fake_channel_close(vsc->channels[--vsc->channel_count]);
	}
	relid = fake_channel_relid(vsc->channel);
	if (gpadls_first) {
		teardown(vsc, relid, &vsc->recv_gpadl);
		teardown(vsc, relid, &vsc->send_gpadl);
	}
	fake_channel_close(vsc->channel);
	vsc->channel = NULL;
	vsc->channel_count = 0;
	teardown(vsc, relid, &vsc->recv_gpadl);
	teardown(vsc, relid, &vsc->send_gpadl);
	drop_items(vsc);
}

void netvsc_close(struct netvsc *vsc)
{
	close_with(vsc, false);
}

static void post_inband(struct netvsc *vsc, const void *message, uint32_t bytes)
{
	struct iovec iov = { (void *)(uintptr_t)message, bytes };
	struct vmbus_send send = { .type = VMBUS_PACKET_INBAND,
				   .payload = &iov,
				   .payload_count = 1 };

	fake_channel_send(vsc->channel, &send);
}

void netvsc_unbind(struct netvsc *vsc, bool gpadls_first)
{
	const uint32_t halt[3] = { RNDIS_HALT, 12, vsc->next_request++ };
	uint32_t revoke[10] = { NVSP_REVOKE_RECV_BUF, NETVSC_RECV_ID };

	netvsc_send_control(vsc, halt, sizeof(halt));
	post_inband(vsc, revoke, sizeof(revoke));
	revoke[0] = NVSP_REVOKE_SEND_BUF;
	revoke[1] = NETVSC_SEND_ID;
	post_inband(vsc, revoke, sizeof(revoke));
	fake_guest_settle(vsc->guest);
	close_with(vsc, gpadls_first);
}

static bool is_set(void *arg)
{
	return *(bool *)arg;
}

struct revocation {
	struct loop_work work;
	bool done;
};

static void on_revoked(struct loop_work *work)
{
	container_of(work, struct revocation, work)->done = true;
}

void netvsc_revoke_device(struct netvsc *vsc, struct vmbus_device *device)
{
	struct revocation revocation = { .done = false };

	loop_work_init(&revocation.work, on_revoked);
	bus_revoke(fake_guest_bus(vsc->guest), device, &revocation.work);
	assert_true(fake_guest_wait(vsc->guest, is_set, &revocation.done));
}

/* ---- what arrives ---- */

static struct netvsc_item *add_item(struct netvsc *vsc, bool is_control, const uint8_t *data,
				    uint32_t bytes, unsigned int pieces, uint32_t checksum)
{
	struct netvsc_item *item = malloc(sizeof(*item) + bytes);

	*item = (struct netvsc_item){ .is_control = is_control,
				      .bytes = bytes,
				      .pieces = pieces,
				      .queue = vsc->selected,
				      .checksum = checksum };
	memcpy(item->data, data, bytes);
	*vsc->last = item;
	vsc->last = &item->next;
	return item;
}

/* As rndis_get_ppi() looks for it. NULL: not there. */
static const uint8_t *find_ppi(const uint8_t *body, uint32_t room, uint32_t type)
{
	uint32_t offset = bytes_le32(body + offsetof(struct rndis_packet, ppi_offset));
	uint32_t left = bytes_le32(body + offsetof(struct rndis_packet, ppi_bytes));

	if (offset == 0) {
		return NULL;
	}
	assert_true(offset >= sizeof(struct rndis_packet) && offset <= room);
	assert_true(left >= sizeof(struct rndis_ppi) && left <= room - offset);
	while (left > 0) {
		uint32_t size = bytes_le32(body + offset), at = bytes_le32(body + offset + 8);

		assert_true(size <= left && at < size && size > 0);
		if (bytes_le32(body + offset + 4) == type) {
			assert_true(size - at >= 4);
			return body + offset + at;
		}
		left -= size;
		offset += size;
	}
	return NULL;
}

/* rndis_filter_receive_data() */
static void take_frame(struct netvsc *vsc, const uint8_t *message, uint32_t bytes, bool is_last)
{
	const uint8_t *body = message + 8, *checksum, *id, *hash, *vlan;
	struct netvsc_item *item;
	uint32_t room = bytes - 8, offset, length;

	assert_true(bytes >= RNDIS_PACKET_HEAD_BYTES);
	offset = bytes_le32(body);
	length = bytes_le32(body + 4);
	assert_true(offset < room && length <= room - offset);
	checksum = find_ppi(body, room, RNDIS_PPI_CHECKSUM);
	id = find_ppi(body, room, RNDIS_PPI_ID);
	hash = find_ppi(body, room, RNDIS_PPI_HASH);
	vlan = find_ppi(body, room, RNDIS_PPI_VLAN);
	if (id && id[1] & RNDIS_ID_PIECE) {
		if (id[1] & RNDIS_ID_PIECE_FIRST) {
			vsc->joined_pieces = 0;
		} else {
			assert_true(vsc->joined_pieces > 0);
		}
		assert_true(id[1] & RNDIS_ID_PIECE_LAST || !is_last);
	} else {
		vsc->joined_pieces = 0;
	}
	assert_true(vsc->joined_pieces < RSC_PIECES_MAX);
	if (vsc->joined_pieces++ == 0) {
		vsc->joined_bytes = 0;
		vsc->joined_checksum = checksum ? bytes_le32(checksum) : 0;
		vsc->joined_has_hash = hash != NULL;
		vsc->joined_hash = hash ? bytes_le32(hash) : 0;
	}
	assert_true(vsc->joined_bytes + length <= NETVSC_FRAME_MAX);
	memcpy(vsc->joined + vsc->joined_bytes, body + offset, length);
	vsc->joined_bytes += length;
	if (id && !(id[1] & RNDIS_ID_PIECE_LAST)) {
		return;
	}
	item = add_item(vsc, false, vsc->joined, vsc->joined_bytes, vsc->joined_pieces,
			vsc->joined_checksum);
	item->has_hash = vsc->joined_has_hash;
	item->hash = vsc->joined_hash;
	item->has_vlan = vlan != NULL; /* a chain's pieces all say it */
	item->vlan = vlan ? bytes_le32(vlan) : 0;
	vsc->joined_pieces = 0;
}

/* netvsc_receive() */
static void take_pages(struct netvsc *vsc)
{
	const struct fake_packet *p = &vsc->packet;
	uint32_t count;

	assert_true(p->payload_bytes >= 16);
	assert_int_equal(bytes_le32(p->payload), NVSP_SEND_RNDIS);
	assert_true(p->descriptor_bytes >= sizeof(struct vmbus_transfer_pages_header));
	assert_int_equal(bytes_le16(p->descriptor), NETVSC_RECV_ID);
	assert_int_equal(p->flags & VMBUS_PACKET_FLAG_COMPLETION_REQUESTED,
			 VMBUS_PACKET_FLAG_COMPLETION_REQUESTED);
	count = bytes_le32(p->descriptor + 4);
	assert_true(count > 0 && 8 + 8 * (uint64_t)count <= p->descriptor_bytes);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t bytes = bytes_le32(p->descriptor + 8 + 8 * (size_t)i);
		uint32_t offset = bytes_le32(p->descriptor + 12 + 8 * (size_t)i);
		uint32_t recv_bytes = vsc->recv_room;
		const uint8_t *message;

		assert_true(offset <= recv_bytes && bytes <= recv_bytes - offset);
		assert_true(bytes <= vsc->piece_bytes && bytes >= 8);
		message = fake_guest_hva(vsc->guest, vsc->recv_gpa + offset, bytes);
		assert_true(bytes_le32(message + 4) >= 8 && bytes_le32(message + 4) <= bytes);
		if (bytes_le32(message) == RNDIS_PACKET) {
			assert_int_equal(bytes_le32(p->payload + 4), NVSP_RNDIS_DATA);
			take_frame(vsc, message, bytes_le32(message + 4), i == count - 1);
		} else {
			assert_int_equal(bytes_le32(p->payload + 4), NVSP_RNDIS_CONTROL);
			add_item(vsc, true, message, bytes, 1, 0);
		}
	}
	vsc->receive_packets++;
	vsc->ranges_max = (unsigned int)num_max(vsc->ranges_max, count);
	if (vsc->keep) {
		assert_true(vsc->kept_count < ARRAY_SIZE(vsc->kept));
		vsc->kept[vsc->kept_count++] = p->transaction_id;
	} else {
		netvsc_complete(vsc, p->transaction_id);
	}
}

/* netvsc_send_table() */
static void take_table(struct netvsc *vsc)
{
	const struct fake_packet *p = &vsc->packet;
	uint32_t offset;

	assert_true(p->payload_bytes >= 12);
	assert_int_equal(vsc->selected, 0);
	assert_int_equal(bytes_le32(p->payload), NVSP_SEND_INDIRECTION_TABLE);
	assert_int_equal(bytes_le32(p->payload + 4), NVSP_SEND_TABLE_ENTRIES);
	offset = bytes_le32(p->payload + 8);
	if (vsc->version <= NVSP_VERSION_6 && p->payload_bytes >= 40 + 64) {
		offset = 40; /* it mistrusts old hosts */
	}
	assert_true(offset <= p->payload_bytes - 64);
	for (size_t i = 0; i < NVSP_SEND_TABLE_ENTRIES; i++) {
		vsc->send_table[i] = bytes_le32(p->payload + offset + 4 * i);
	}
	vsc->tables++;
}

static void take_packet(struct netvsc *vsc)
{
	switch (vsc->packet.type) {
	case VMBUS_PACKET_TRANSFER_PAGES:
		take_pages(vsc);
		break;
	case VMBUS_PACKET_COMPLETION:
		vsc->completions++;
		break;
	case VMBUS_PACKET_INBAND:
		take_table(vsc);
		break;
	default:
		fail_msg("a packet of type %u", vsc->packet.type);
	}
}

void netvsc_take_one(struct netvsc *vsc)
{
	fake_channel_receive(vsc->channel, &vsc->packet);
	take_packet(vsc);
}

void netvsc_drain(struct netvsc *vsc)
{
	fake_guest_settle(vsc->guest);
	while (fake_channel_poll(vsc->channel, &vsc->packet)) {
		take_packet(vsc);
		fake_guest_settle(vsc->guest);
	}
	drop_items(vsc);
}

void netvsc_complete(struct netvsc *vsc, uint64_t transaction_id)
{
	uint32_t message[2] = { NVSP_SEND_RNDIS_COMPLETE, NVSP_STATUS_SUCCESS };
	struct iovec iov = { message, sizeof(message) };
	struct vmbus_send send = { .type = VMBUS_PACKET_COMPLETION,
				   .transaction_id = transaction_id,
				   .payload = &iov,
				   .payload_count = 1 };

	fake_channel_send(vsc->channel, &send);
}

bool netvsc_have_kept(const struct netvsc *vsc)
{
	return vsc->kept_count > 0;
}

void netvsc_give_back(struct netvsc *vsc)
{
	for (unsigned int i = 0; i < vsc->kept_count; i++) {
		netvsc_complete(vsc, vsc->kept[i]);
	}
	vsc->kept_count = 0;
}

/* Takes packets until the completion of this transaction is in vsc->packet. */
static void wait_completion(struct netvsc *vsc, uint64_t transaction)
{
	for (;;) {
		fake_channel_receive(vsc->channel, &vsc->packet);
		if (vsc->packet.type == VMBUS_PACKET_COMPLETION &&
		    vsc->packet.transaction_id == transaction) {
			return;
		}
		take_packet(vsc);
	}
}

void netvsc_wait_completions(struct netvsc *vsc, unsigned int count)
{
	while (vsc->completions < count) {
		netvsc_take_one(vsc);
	}
}

/* The first item of a kind, taken out; NULL: none. */
static struct netvsc_item *pick(struct netvsc *vsc, bool is_control)
{
	for (struct netvsc_item **at = &vsc->first; *at; at = &(*at)->next) {
		struct netvsc_item *item = *at;

		if (item->is_control != is_control) {
			continue;
		}
		*at = item->next;
		if (!*at) {
			vsc->last = at;
		}
		return item;
	}
	return NULL;
}

static struct netvsc_item *wait_item(struct netvsc *vsc, bool is_control)
{
	struct netvsc_item *item;

	while (!(item = pick(vsc, is_control))) {
		netvsc_take_one(vsc);
	}
	return item;
}

struct netvsc_item *netvsc_next_frame(struct netvsc *vsc, uint64_t wait_ns)
{
	uint64_t until = loop_now_ns() + wait_ns;
	struct netvsc_item *item;

	while (!(item = pick(vsc, false)) && loop_now_ns() < until) {
		if (fake_channel_poll(vsc->channel, &vsc->packet)) {
			take_packet(vsc);
		}
	}
	return item;
}

void netvsc_expect_frame(struct netvsc *vsc, const void *frame, uint32_t bytes)
{
	struct netvsc_item *item = wait_item(vsc, false);

	assert_int_equal(item->bytes, bytes);
	assert_memory_equal(item->data, frame, bytes);
	vsc->frame_pieces = item->pieces;
	vsc->frame_checksum = item->checksum;
	vsc->frame_has_hash = item->has_hash;
	vsc->frame_hash = item->hash;
	assert_int_equal(item->queue, vsc->selected);
	free(item);
}

void netvsc_expect_silence(struct netvsc *vsc)
{
	fake_guest_settle(vsc->guest);
	while (fake_channel_poll(vsc->channel, &vsc->packet)) {
		take_packet(vsc);
	}
	assert_null(vsc->first);
}

/* ---- negotiation ---- */

void netvsc_send_nvsp(struct netvsc *vsc, const void *message, uint32_t bytes)
{
	uint64_t transaction = vsc->next_transaction++;

	fake_channel_send_inband(vsc->channel, transaction, message, bytes);
	wait_completion(vsc, transaction);
}

uint32_t netvsc_init_version(struct netvsc *vsc, uint32_t version)
{
	const uint32_t init[10] = { NVSP_INIT, version, version };

	netvsc_send_nvsp(vsc, init, sizeof(init));
	/* Linux drops shorter ones. */
	assert_true(vsc->packet.payload_bytes >= NVSP_MESSAGE_BYTES_V1);
	assert_int_equal(bytes_le32(vsc->packet.payload), NVSP_INIT_COMPLETE);
	return bytes_le32(vsc->packet.payload + 12);
}

static void send_buffers(struct netvsc *vsc)
{
	uint32_t relid = fake_channel_relid(vsc->channel);
	uint32_t message[10] = { NVSP_SEND_RECV_BUF };
	const uint8_t *answer = vsc->packet.payload;

	if (vsc->recv_room != vsc->recv_bytes) {
		vsc->recv_gpa = fake_guest_alloc(vsc->guest, vsc->recv_bytes);
		vsc->recv_room = vsc->recv_bytes;
	}
	vsc->recv_gpadl = fake_guest_gpadl(vsc->guest, relid, vsc->recv_gpa, vsc->recv_bytes);
	message[1] = vsc->recv_gpadl;
	message[2] = NETVSC_RECV_ID;
	netvsc_send_nvsp(vsc, message, sizeof(message));
	assert_true(vsc->packet.payload_bytes >= NVSP_MESSAGE_BYTES_V1);
	assert_int_equal(bytes_le32(answer), NVSP_SEND_RECV_BUF_COMPLETE);
	assert_int_equal(bytes_le32(answer + 4), NVSP_STATUS_SUCCESS);
	assert_int_equal(bytes_le32(answer + 8), 1);
	assert_int_equal(bytes_le32(answer + 12), 0);
	vsc->piece_bytes = bytes_le32(answer + 16);
	vsc->pieces = bytes_le32(answer + 20);
	assert_true(vsc->piece_bytes >= 1728);
	assert_true((uint64_t)vsc->piece_bytes * vsc->pieces <= vsc->recv_bytes);

	vsc->send_gpadl = fake_guest_gpadl(vsc->guest, relid, vsc->send_gpa, NETVSC_SEND_BYTES);
	message[0] = NVSP_SEND_SEND_BUF;
	message[1] = vsc->send_gpadl;
	message[2] = NETVSC_SEND_ID;
	netvsc_send_nvsp(vsc, message, sizeof(message));
	assert_int_equal(bytes_le32(answer), NVSP_SEND_SEND_BUF_COMPLETE);
	assert_int_equal(bytes_le32(answer + 4), NVSP_STATUS_SUCCESS);
	assert_int_equal(bytes_le32(answer + 8), NETVSC_SECTION_BYTES);
}

void netvsc_start(struct netvsc *vsc, uint32_t version)
{
	uint32_t message[10] = { NVSP_SEND_NDIS_CONFIG, vsc->mtu, 0, NVSP_CAP_VLAN };
	const uint32_t initialize[6] = { RNDIS_INITIALIZE, 24, vsc->next_request++, 1, 0, 0x4000 };
	const uint8_t *reply;

	vsc->version = version;
	assert_int_equal(netvsc_init_version(vsc, version), NVSP_STATUS_SUCCESS);
	if (version >= NVSP_VERSION_2) {
		message[3] |= version >= NVSP_VERSION_5 ? NVSP_CAP_SRIOV | NVSP_CAP_TEAMING : 0;
		message[3] |= version >= NVSP_VERSION_61 ? NVSP_CAP_RSC : 0;
		post_inband(vsc, message, sizeof(message));
	}
	message[0] = NVSP_SEND_NDIS_VERSION;
	message[1] = 6;
	message[2] = version <= NVSP_VERSION_4 ? 1 : 30;
	post_inband(vsc, message, sizeof(message));
	send_buffers(vsc);
	netvsc_send_control(vsc, initialize, sizeof(initialize));
	reply = netvsc_expect_control(vsc, RNDIS_INITIALIZE | RNDIS_COMPLETION);
	assert_int_equal(bytes_le32(reply + 8), initialize[2]);
	assert_int_equal(bytes_le32(reply + 12), RNDIS_STATUS_SUCCESS);
	assert_true(bytes_le32(reply + 32) >= 1);
}

/* ---- control ---- */

void netvsc_send_control(struct netvsc *vsc, const void *message, uint32_t bytes)
{
	const uint32_t nvsp[10] = { NVSP_SEND_RNDIS, NVSP_RNDIS_CONTROL, NVSP_SECTION_NONE };
	uint64_t transaction = vsc->next_transaction++;

	memcpy(fake_guest_hva(vsc->guest, vsc->scratch, bytes), message, bytes);
	fake_channel_send_gpa(vsc->channel, transaction, vsc->scratch, bytes, nvsp, sizeof(nvsp));
	wait_completion(vsc, transaction);
	assert_int_equal(bytes_le32(vsc->packet.payload), NVSP_SEND_RNDIS_COMPLETE);
}

const uint8_t *netvsc_expect_control(struct netvsc *vsc, uint32_t type)
{
	static uint8_t message[8192];
	struct netvsc_item *item = wait_item(vsc, true);

	assert_true(item->bytes <= sizeof(message));
	memcpy(message, item->data, item->bytes);
	free(item);
	assert_int_equal(bytes_le32(message), type);
	return message;
}

static uint32_t build_oid(struct netvsc *vsc, uint32_t *message, uint32_t type, uint32_t oid,
			  uint32_t info_bytes)
{
	message[0] = type;
	message[1] = 28 + info_bytes;
	message[2] = vsc->next_request++;
	message[3] = oid;
	message[4] = info_bytes;
	message[5] = 20;
	message[6] = 0;
	return message[2];
}

uint32_t netvsc_query(struct netvsc *vsc, uint32_t oid, uint8_t *info, uint32_t *ret_bytes)
{
	uint32_t message[7], offset;
	uint32_t id = build_oid(vsc, message, RNDIS_QUERY, oid, 0);
	const uint8_t *reply;

	netvsc_send_control(vsc, message, sizeof(message));
	reply = netvsc_expect_control(vsc, RNDIS_QUERY | RNDIS_COMPLETION);
	assert_int_equal(bytes_le32(reply + 8), id);
	*ret_bytes = bytes_le32(reply + 16);
	offset = bytes_le32(reply + 20);
	/* rndis_filter_query_device() */
	assert_true(offset >= 16 && offset <= bytes_le32(reply + 4) - 8);
	assert_true(*ret_bytes <= bytes_le32(reply + 4) - 8 - offset);
	memcpy(info, reply + 8 + offset, *ret_bytes);
	return bytes_le32(reply + 12);
}

void netvsc_post_query(struct netvsc *vsc, uint32_t oid, uint32_t request_id)
{
	const uint32_t nvsp[10] = { NVSP_SEND_RNDIS, NVSP_RNDIS_CONTROL, NVSP_SECTION_NONE };
	uint32_t message[7];

	build_oid(vsc, message, RNDIS_QUERY, oid, 0);
	message[2] = request_id;
	memcpy(fake_guest_hva(vsc->guest, vsc->scratch, sizeof(message)), message, sizeof(message));
	fake_channel_send_gpa(vsc->channel, vsc->next_transaction++, vsc->scratch, sizeof(message),
			      nvsp, sizeof(nvsp));
	/* The message lies in one place: let it be read. */
	fake_guest_settle(vsc->guest);
}

void netvsc_expect_reply(struct netvsc *vsc, uint32_t request_id)
{
	const uint8_t *reply = netvsc_expect_control(vsc, RNDIS_QUERY | RNDIS_COMPLETION);

	assert_int_equal(bytes_le32(reply + 8), request_id);
}

uint32_t netvsc_set(struct netvsc *vsc, uint32_t oid, const void *info, uint32_t bytes)
{
	uint32_t message[7 + 1024];
	uint32_t id = build_oid(vsc, message, RNDIS_SET, oid, bytes);
	const uint8_t *reply;

	memcpy(message + 7, info, bytes);
	netvsc_send_control(vsc, message, 28 + bytes);
	reply = netvsc_expect_control(vsc, RNDIS_SET | RNDIS_COMPLETION);
	assert_int_equal(bytes_le32(reply + 8), id);
	return bytes_le32(reply + 12);
}

void netvsc_set_filter(struct netvsc *vsc, uint32_t filter)
{
	assert_int_equal(netvsc_set(vsc, OID_GEN_CURRENT_PACKET_FILTER, &filter, 4), 0);
}

uint32_t netvsc_set_address(struct netvsc *vsc, const char *hex)
{
	static const char name[] = "NetworkAddress";
	uint8_t info[20 + 28 + 24] = { 0 };

	bytes_put_le32(info, 20);
	bytes_put_le32(info + 4, 28);
	bytes_put_le32(info + 8, RNDIS_CONFIG_STRING);
	bytes_put_le32(info + 12, 48);
	bytes_put_le32(info + 16, 24);
	for (int i = 0; i < 14; i++) {
		info[20 + 2 * i] = (uint8_t)name[i];
	}
	for (int i = 0; i < 12; i++) {
		info[48 + 2 * i] = (uint8_t)hex[i];
	}
	return netvsc_set(vsc, OID_GEN_RNDIS_CONFIG_PARAMETER, info, sizeof(info));
}

void netvsc_enable_rsc(struct netvsc *vsc, bool on)
{
	struct ndis_offload_parameters params = {
		.object = { NDIS_OBJECT_DEFAULT, 3, sizeof(params) },
		.rsc_ip4 = on ? NDIS_PARAM_ON : NDIS_PARAM_OFF,
		.rsc_ip6 = on ? NDIS_PARAM_ON : NDIS_PARAM_OFF,
	};

	assert_int_equal(netvsc_set(vsc, OID_TCP_OFFLOAD_PARAMETERS, &params, sizeof(params)), 0);
}

void netvsc_expect_status(struct netvsc *vsc, uint32_t status)
{
	const uint8_t *message = netvsc_expect_control(vsc, RNDIS_INDICATE);

	assert_int_equal(bytes_le32(message + 8), status);
}

/* ---- frames from the guest ---- */

uint32_t netvsc_build_frame(uint8_t *buf, const void *frame, uint32_t bytes, const uint8_t *ppi,
			    uint32_t ppi_bytes)
{
	memset(buf, 0, RNDIS_PACKET_HEAD_BYTES);
	bytes_put_le32(buf, RNDIS_PACKET);
	bytes_put_le32(buf + 4, (uint32_t)RNDIS_PACKET_HEAD_BYTES + ppi_bytes + bytes);
	bytes_put_le32(buf + 8, (uint32_t)sizeof(struct rndis_packet) + ppi_bytes);
	bytes_put_le32(buf + 12, bytes);
	bytes_put_le32(buf + 28, sizeof(struct rndis_packet));
	bytes_put_le32(buf + 32, ppi_bytes);
	if (ppi_bytes) {
		memcpy(buf + RNDIS_PACKET_HEAD_BYTES, ppi, ppi_bytes);
	}
	memcpy(buf + RNDIS_PACKET_HEAD_BYTES + ppi_bytes, frame, bytes);
	return (uint32_t)RNDIS_PACKET_HEAD_BYTES + ppi_bytes + bytes;
}

void netvsc_pad_messages(uint8_t *section, uint32_t bytes)
{
	for (uint32_t at = 0; at < bytes;) {
		uint32_t padded = (uint32_t)num_align_up(bytes_le32(section + at + 4), 8);

		bytes_put_le32(section + at + 4, padded);
		at += padded;
	}
}

static uint8_t *section_hva(struct netvsc *vsc, uint32_t section)
{
	return fake_guest_hva(vsc->guest, vsc->send_gpa + (gpa_t)section * NETVSC_SECTION_BYTES,
			      NETVSC_SECTION_BYTES);
}

static uint32_t status_of(const struct netvsc *vsc)
{
	assert_true(vsc->packet.payload_bytes >= 8);
	assert_int_equal(bytes_le32(vsc->packet.payload), NVSP_SEND_RNDIS_COMPLETE);
	return bytes_le32(vsc->packet.payload + 4);
}

uint32_t netvsc_send_rndis(struct netvsc *vsc, uint32_t section, uint32_t section_bytes)
{
	const uint32_t nvsp[10] = { NVSP_SEND_RNDIS, NVSP_RNDIS_DATA, section, section_bytes };

	netvsc_send_nvsp(vsc, nvsp, sizeof(nvsp));
	return status_of(vsc);
}

uint32_t netvsc_send_raw_section(struct netvsc *vsc, uint32_t section, const void *messages,
				 uint32_t bytes)
{
	memcpy(section_hva(vsc, section), messages, bytes);
	return netvsc_send_rndis(vsc, section, bytes);
}

uint32_t netvsc_send_section(struct netvsc *vsc, uint32_t section, const void *frame,
			     uint32_t bytes)
{
	uint32_t length = netvsc_build_frame(section_hva(vsc, section), frame, bytes, NULL, 0);

	return netvsc_send_rndis(vsc, section, length);
}

void netvsc_post_raw_section(struct netvsc *vsc, uint32_t section, const void *messages,
			     uint32_t bytes)
{
	const uint32_t nvsp[10] = { NVSP_SEND_RNDIS, NVSP_RNDIS_DATA, section, bytes };

	memcpy(section_hva(vsc, section), messages, bytes);
	fake_channel_send_inband(vsc->channel, vsc->next_transaction++, nvsp, sizeof(nvsp));
}

void netvsc_post_section(struct netvsc *vsc, uint32_t section, const void *frame, uint32_t bytes)
{
	uint8_t message[NETVSC_SECTION_BYTES];

	netvsc_post_raw_section(vsc, section, message,
				netvsc_build_frame(message, frame, bytes, NULL, 0));
}

/* Puts bytes into the scattered pages, from `offset` into the first. */
static void scatter(struct netvsc *vsc, uint32_t offset, const uint8_t *src, uint32_t bytes)
{
	for (uint32_t done = 0; done < bytes;) {
		uint32_t at = offset + done, in_page = at % 4096;
		uint32_t run = (uint32_t)num_min(4096 - in_page, bytes - done);

		assert_true(at / 4096 < SCATTERED);
		memcpy(fake_guest_hva(vsc->guest, (vsc->scattered[at / 4096] << 12) + in_page, run),
		       src + done, run);
		done += run;
	}
}

uint32_t netvsc_send_pages_ppi(struct netvsc *vsc, const void *frame, uint32_t bytes,
			       const uint8_t *ppi, uint32_t ppi_bytes)
{
	const uint32_t nvsp[10] = { NVSP_SEND_RNDIS, NVSP_RNDIS_DATA, NVSP_SECTION_NONE };
	const uint32_t offset = 1000; /* so that headers and data cross pages oddly */
	uint8_t *message = malloc(bytes + ppi_bytes + RNDIS_PACKET_HEAD_BYTES);
	uint32_t length = netvsc_build_frame(message, frame, bytes, ppi, ppi_bytes);
	uint64_t transaction = vsc->next_transaction++;

	scatter(vsc, offset, message, length);
	free(message);
	fake_channel_send_gfns(vsc->channel, transaction, vsc->scattered,
			       (offset + length + 4095) / 4096, offset, length, nvsp, sizeof(nvsp));
	wait_completion(vsc, transaction);
	return status_of(vsc);
}

uint32_t netvsc_send_pages(struct netvsc *vsc, const void *frame, uint32_t bytes)
{
	return netvsc_send_pages_ppi(vsc, frame, bytes, NULL, 0);
}

uint32_t netvsc_send_split(struct netvsc *vsc, uint32_t section, const void *frame, uint32_t bytes)
{
	uint32_t nvsp[10] = { NVSP_SEND_RNDIS, NVSP_RNDIS_DATA, section, RNDIS_PACKET_HEAD_BYTES };
	uint8_t message[NETVSC_SECTION_BYTES];
	uint32_t length = netvsc_build_frame(message, frame, bytes, NULL, 0);
	uint64_t transaction = vsc->next_transaction++;
	uint32_t rest = length - (uint32_t)RNDIS_PACKET_HEAD_BYTES;

	memcpy(section_hva(vsc, section), message, RNDIS_PACKET_HEAD_BYTES);
	scatter(vsc, 3000, message + RNDIS_PACKET_HEAD_BYTES, rest);
	fake_channel_send_gfns(vsc->channel, transaction, vsc->scattered,
			       (3000 + rest + 4095) / 4096, 3000, rest, nvsp, sizeof(nvsp));
	wait_completion(vsc, transaction);
	return status_of(vsc);
}

int netvsc_reload(struct netvsp *nic, const uint8_t *bytes, size_t length, struct load *load)
{
	struct vmbus_device *device = netvsp_device(nic);

	load_init(load, bytes, length);
	return device->ops->load(device, load);
}

/* SPDX-License-Identifier: MIT */
/*
 * NetVSP with three queues over the fake guest: the input is a list of actions of a hostile guest, and
 * of a network that sends frames, blocks, and pulls cables meanwhile.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "base/num.h"
#include "guest/fake_guest.h"
#include "net/net.h"
#include "proto/nvsp.h"
#include "proto/rndis.h"
#include "vsp/net/netvsp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RING_BYTES      (4 * 4096)
#define RECV_BYTES      (256U << 10)
#define SEND_BYTES      (64U << 10)
#define SECTION_BYTES   6144U
#define OPENS_PER_GUEST 300

enum action {
	INBAND,
	PAGES,
	INIT,
	START,
	SECTION,
	CONTROL,
	COMPLETE,
	DELIVER,
	BLOCK,
	LINK,
	TURN,
	READ,
	REOPEN,
	SAVE_AND_LOAD,
	LOAD,
	PAUSE,
	ACTIONS
};

/* From this byte on: what concerns queues. Those above mean what they always have. */
#define QUEUE_ACTIONS_AT 0xf0
enum queue_action { SELECT, SUBS, OPEN_SUB, CLOSE_SUB, RSS, SPEED, QUEUE_ACTIONS };

#define QUEUES 3

static const struct guid type = NVSP_INTERFACE;
static struct fake_guest *guest;
static struct net *ends[QUEUES];
static struct netvsp *nic;
static struct fake_channel *channels[QUEUES];
static struct fake_channel *channel; /* the one that is spoken on */
static unsigned int selected;
static gpa_t recv_gpa, send_gpa, pages_gpa;
static uint32_t recv_gpadl, send_gpadl;
static unsigned int opens;
static bool paused, blocked;
static bool is_unsound; /* a load has failed: nobody saves that, and nobody runs it in earnest */
static uint64_t last_transaction;

static void on_revoked(struct loop_work *work)
{
	(void)work;
}

static void destroy_guest(void)
{
	struct loop_work work;

	loop_work_init(&work, on_revoked);
	bus_revoke(fake_guest_bus(guest), netvsp_device(nic), &work);
	fake_guest_settle(guest);
	netvsp_destroy(nic);
	for (int i = QUEUES - 1; i >= 0; i--) {
		net_destroy(ends[i]);
	}
	fake_guest_destroy(guest);
}

static void make_guest(void)
{
	struct netvsp_config config = { .name = "net0" };
	struct diag diag;

	if (guest && opens < OPENS_PER_GUEST) {
		return;
	}
	if (guest) {
		destroy_guest();
	}
	opens = 0;
	log_set_level(LOG_ERROR);
	guest = fake_guest_create(64 << 20, 1);
	check(net_null_create_many(fake_guest_loop(guest), true, &ends[0]) == 0);
	for (int i = 1; i < QUEUES; i++) {
		check(net_twin(ends[0], fake_guest_loop(guest), &ends[i]) == 0);
	}
	config.net = ends[0];
	config.twins = ends + 1;
	config.twin_count = QUEUES - 1;
	check(netvsp_create(&config, &nic, &diag) == 0);
	fake_guest_offer(guest, netvsp_device(nic));
	fake_guest_connect(guest, VMBUS_VERSION_5_3);
	recv_gpa = fake_guest_alloc(guest, RECV_BYTES);
	send_gpa = fake_guest_alloc(guest, SEND_BYTES);
	pages_gpa = fake_guest_alloc(guest, SEND_BYTES);
}

static void select_channel(unsigned int index)
{
	if (channels[index % QUEUES]) {
		selected = index % QUEUES;
		channel = channels[selected];
	}
}

/* The sub-channel of this index, if it is offered. */
static void open_sub(unsigned int index)
{
	const struct vmbus_msg_offer_channel *offer;

	fake_guest_settle(guest);
	for (unsigned int n = 0; (offer = fake_guest_find_offer(guest, &type, n)); n++) {
		if (offer->sub_channel_index == index && !channels[index]) {
			channels[index] = fake_channel_open(guest, &type, n, RING_BYTES);
			return;
		}
	}
}

static void close_sub(unsigned int index)
{
	if (channels[index]) {
		fake_channel_close(channels[index]);
		channels[index] = NULL;
		select_channel(0);
	}
}

static void open_channel(void)
{
	opens++;
	channels[0] = fake_channel_open(guest, &type, 0, RING_BYTES);
	select_channel(0);
	recv_gpadl = fake_guest_gpadl(guest, fake_channel_relid(channel), recv_gpa, RECV_BYTES);
	send_gpadl = fake_guest_gpadl(guest, fake_channel_relid(channel), send_gpa, SEND_BYTES);
}

/* A guest need not close its sub-channels before: the host closes them with the primary. */
static void close_channel(bool subs_first)
{
	uint32_t relid = fake_channel_relid(channels[0]);

	for (unsigned int i = 1; i < QUEUES && subs_first; i++) {
		close_sub(i);
	}
	fake_channel_close(channels[0]);
	for (unsigned int i = 1; i < QUEUES; i++) {
		if (channels[i]) {
			fake_channel_close(channels[i]);
			channels[i] = NULL;
		}
	}
	channels[0] = channel = NULL;
	is_unsound = false;
	fake_guest_gpadl_teardown(guest, relid, recv_gpadl);
	fake_guest_gpadl_teardown(guest, relid, send_gpadl);
}

static void send(uint16_t packet_type, const void *descriptor, uint32_t descriptor_bytes,
		 const void *payload, size_t bytes)
{
	static uint64_t transaction = 1;
	struct iovec iov = { (void *)(uintptr_t)payload, bytes };
	struct vmbus_send packet = { .type = packet_type,
				     .wants_completion = packet_type != VMBUS_PACKET_COMPLETION,
				     .transaction_id = packet_type == VMBUS_PACKET_COMPLETION
							       ? last_transaction
							       : transaction++,
				     .descriptor = descriptor_bytes ? descriptor : NULL,
				     .descriptor_bytes = descriptor_bytes,
				     .payload = &iov,
				     .payload_count = bytes > 0 };

	(void)!fake_channel_try_send(channel, &packet);
}

static void send_words(const uint32_t *words, size_t bytes)
{
	send(VMBUS_PACKET_INBAND, NULL, 0, words, bytes);
}

static const uint8_t *take_some(struct bytes_cursor *input, size_t max, uint32_t *ret_bytes)
{
	uint32_t bytes = (uint32_t)num_min(num_min(bytes_take_le16(input), input->left), max);
	const uint8_t *some = bytes_take(input, bytes);

	*ret_bytes = some ? bytes : 0; /* an input that ended before has none */
	return some;
}

/* An NVSP_SEND_RNDIS whose message lies in pages, at an offset and in ranges of the input's. */
static void send_pages(struct bytes_cursor *input, uint32_t channel_type)
{
	uint32_t nvsp[10] = { NVSP_SEND_RNDIS, channel_type, NVSP_SECTION_NONE }, bytes;
	uint32_t offset = bytes_take_le16(input) % 4096U;
	const uint8_t *message = take_some(input, 8000, &bytes);
	struct {
		uint32_t reserved, ranges, length, offset;
		uint64_t gfns[4];
	} descriptor = { .ranges = 1, .length = bytes, .offset = offset };

	if (bytes) {
		memcpy(fake_guest_hva(guest, pages_gpa + offset, bytes), message, bytes);
	}
	for (uint32_t i = 0; i < 4; i++) {
		descriptor.gfns[i] = (pages_gpa >> 12) + i;
	}
	/* A byte of the input may point it elsewhere. */
	uint8_t spoil = bytes_take_u8(input);

	if (spoil > 200) {
		((uint8_t *)&descriptor)[(spoil * 7U) % sizeof(descriptor)] = bytes_take_u8(input);
	}
	send(VMBUS_PACKET_GPA_DIRECT, &descriptor,
	     (uint32_t)(16 + 8 * ((offset + bytes + 4095) / 4096)), nvsp, sizeof(nvsp));
}

static void send_section(struct bytes_cursor *input)
{
	uint32_t section = bytes_take_u8(input), bytes;
	const uint8_t *messages = take_some(input, SECTION_BYTES, &bytes);
	uint32_t nvsp[10] = { NVSP_SEND_RNDIS, bytes_take_u8(input) % 3, section, bytes };

	if (bytes && section < SEND_BYTES / SECTION_BYTES) {
		memcpy(fake_guest_hva(guest, send_gpa + (gpa_t)section * SECTION_BYTES, bytes),
		       messages, bytes);
	}
	send_words(nvsp, sizeof(nvsp));
}

/* QUERY or SET of a known OID with a body of the input's. */
static void send_control(struct bytes_cursor *input)
{
	static const uint32_t oids[] = {
		OID_GEN_SUPPORTED_LIST,         OID_GEN_CURRENT_PACKET_FILTER,
		OID_802_3_MULTICAST_LIST,       OID_TCP_OFFLOAD_PARAMETERS,
		OID_GEN_RSS_PARAMETERS,         OID_GEN_RNDIS_CONFIG_PARAMETER,
		OID_GEN_FRIENDLY_NAME,          OID_TCP_OFFLOAD_HARDWARE_CAPS,
		OID_TCP_OFFLOAD_CURRENT_CONFIG, OID_GEN_LINK_STATE,
	};
	uint32_t nvsp[10] = { NVSP_SEND_RNDIS, NVSP_RNDIS_CONTROL, 2, 0 }, info_bytes;
	uint8_t which = bytes_take_u8(input);
	uint8_t *section = fake_guest_hva(guest, send_gpa + 2 * SECTION_BYTES, SECTION_BYTES);
	const uint8_t *info = take_some(input, 600, &info_bytes);
	uint32_t words[7] = { which & 1 ? RNDIS_SET : RNDIS_QUERY,
			      28 + info_bytes,
			      which,
			      oids[which / 2 % ARRAY_SIZE(oids)],
			      info_bytes,
			      20,
			      0 };

	memcpy(section, words, sizeof(words));
	if (info_bytes) {
		memcpy(section + 28, info, info_bytes);
	}
	nvsp[3] = words[1];
	send_words(nvsp, sizeof(nvsp));
}

/* From INIT to INITIALIZE, RSC and promiscuous, without waiting for anything. */
static void start(uint8_t version)
{
	static const uint32_t versions[] = { NVSP_VERSION_1, NVSP_VERSION_2, NVSP_VERSION_4,
					     NVSP_VERSION_5, NVSP_VERSION_6, NVSP_VERSION_61 };
	uint32_t v = versions[version % ARRAY_SIZE(versions)];
	uint32_t *section = fake_guest_hva(guest, send_gpa, SECTION_BYTES);
	const uint32_t rndis[] = { RNDIS_INITIALIZE,
				   24,
				   1,
				   1,
				   0,
				   0x4000,
				   RNDIS_SET,
				   32,
				   2,
				   OID_GEN_CURRENT_PACKET_FILTER,
				   4,
				   20,
				   0,
				   0x20,
				   RNDIS_SET,
				   56,
				   3,
				   OID_TCP_OFFLOAD_PARAMETERS,
				   28,
				   20,
				   0,
				   0x001c0380,
				   0,
				   0,
				   0,
				   0,
				   0x02020000,
				   0 };

	send_words((uint32_t[]){ NVSP_INIT, v, v }, 12);
	send_words((uint32_t[]){ NVSP_SEND_NDIS_CONFIG, version & 0x80 ? 9014 : 1514, 0, 0xff, 0 },
		   20);
	send_words((uint32_t[]){ NVSP_SEND_RECV_BUF, recv_gpadl, 0xcafe }, 12);
	send_words((uint32_t[]){ NVSP_SEND_SEND_BUF, send_gpadl, 0 }, 12);
	memcpy(section, rndis, sizeof(rndis));
	send_words((uint32_t[]){ NVSP_SEND_RNDIS, 1, 0, sizeof(rndis) }, 16);
	fake_guest_settle(guest);
}

static void deliver(struct bytes_cursor *input)
{
	static uint8_t bytes[66000];
	uint32_t length = bytes_take_le16(input) + 1U;
	uint32_t cut = bytes_take_u8(input) % length;
	struct iovec iov[2] = { { bytes, cut }, { bytes + cut, length - cut } };
	struct net_frame frame = { .iov = cut ? iov : iov + 1,
				   .iov_count = cut ? 2 : 1,
				   .bytes = length,
				   .flags = bytes_take_u8(input),
				   .l4 = NET_L4_TCP,
				   .mss = 1460 };

	memset(bytes, 0xff, NET_MAC_BYTES);
	if (length >= NET_HEADER_BYTES) {
		(void)!net_null_deliver(ends[selected], &frame);
	}
}

static void read_all(bool complete)
{
	static struct fake_packet packet;

	while (fake_channel_poll(channel, &packet)) {
		if (packet.type == VMBUS_PACKET_TRANSFER_PAGES) {
			last_transaction = packet.transaction_id;
			if (complete) {
				send(VMBUS_PACKET_COMPLETION, NULL, 0,
				     (uint32_t[]){ NVSP_SEND_RNDIS_COMPLETE, 1 }, 8);
			}
		}
	}
}

static int load(const uint8_t *bytes, size_t length)
{
	struct vmbus_device *device = netvsp_device(nic);
	struct load load;

	load_init(&load, bytes, length);
	return device->ops->load(device, &load);
}

static void save_and_load(void)
{
	struct vmbus_device *device = netvsp_device(nic);
	const uint8_t *a, *b;
	struct save first, second;
	size_t a_length, b_length;

	if (is_unsound) {
		return;
	}
	save_init(&first);
	device->ops->save(device, &first);
	check(save_finish(&first, &a, &a_length) == 0);
	check(load(a, a_length) == 0);
	save_init(&second);
	device->ops->save(device, &second);
	check(save_finish(&second, &b, &b_length) == 0);
	check(a_length == b_length && memcmp(a, b, a_length) == 0);
	save_fini(&first);
	save_fini(&second);
}

/* OID_GEN_RSS_PARAMETERS whose head and tables are the input's over what Linux sends. */
static void send_rss(struct bytes_cursor *input)
{
	uint32_t nvsp[10] = { NVSP_SEND_RNDIS, NVSP_RNDIS_CONTROL, 2, 28 + 592 };
	uint8_t *section = fake_guest_hva(guest, send_gpa + 2 * SECTION_BYTES, SECTION_BYTES);
	const uint32_t words[7] = { RNDIS_SET, 28 + 592, 9, OID_GEN_RSS_PARAMETERS, 592, 20, 0 };
	uint8_t *info = section + sizeof(words), count = bytes_take_u8(input) % 32;

	memcpy(section, words, sizeof(words));
	memset(info, 0, 592);
	memcpy(info, (uint8_t[]){ 0x89, 2, 40, 0 }, 4);
	bytes_put_le32(info + 8, 0x1701);
	bytes_put_le16(info + 12, 512);
	bytes_put_le32(info + 16, 40);
	bytes_put_le16(info + 20, 40);
	bytes_put_le32(info + 24, 552);
	while (count-- > 0 && input->left) {
		uint32_t at = bytes_take_le16(input) % 592U;

		info[at] = bytes_take_u8(input);
	}
	send_words(nvsp, sizeof(nvsp));
}

static void act_on_queues(uint8_t byte, struct bytes_cursor *input)
{
	switch ((enum queue_action)(byte % QUEUE_ACTIONS)) {
	case SELECT:
		select_channel(bytes_take_u8(input));
		break;
	case SUBS:
		send_words((uint32_t[]){ NVSP_SUBCHANNEL, 1, bytes_take_u8(input) }, 12);
		break;
	case OPEN_SUB:
		open_sub(1 + bytes_take_u8(input) % (QUEUES - 1));
		break;
	case CLOSE_SUB:
		close_sub(1 + bytes_take_u8(input) % (QUEUES - 1));
		break;
	case RSS:
		send_rss(input);
		break;
	case SPEED:
		netvsp_set_speed(nic, 1000000ULL * bytes_take_le16(input));
		break;
	case QUEUE_ACTIONS:
	default:
		break;
	}
}

static void act(struct bytes_cursor *input)
{
	uint8_t byte = bytes_take_u8(input);
	const uint8_t *bytes;
	uint32_t count;

	if (byte >= QUEUE_ACTIONS_AT) {
		act_on_queues(byte - QUEUE_ACTIONS_AT, input);
		return;
	}

	switch ((enum action)(byte % ACTIONS)) {
	case INBAND:
		bytes = take_some(input, 2048, &count);
		send(VMBUS_PACKET_INBAND, NULL, 0, bytes, count);
		break;
	case PAGES:
		send_pages(input, byte / ACTIONS % 2);
		break;
	case INIT:
		count = bytes_take_le32(input);
		send_words((uint32_t[]){ NVSP_INIT, count, count }, 12);
		break;
	case START:
		start(bytes_take_u8(input));
		break;
	case SECTION:
		send_section(input);
		break;
	case CONTROL:
		send_control(input);
		break;
	case COMPLETE:
		last_transaction = byte / ACTIONS ? bytes_take_u8(input) : last_transaction;
		send(VMBUS_PACKET_COMPLETION, NULL, 0, (uint32_t[]){ NVSP_SEND_RNDIS_COMPLETE, 1 },
		     8);
		break;
	case DELIVER:
		deliver(input);
		break;
	case BLOCK:
		blocked = !blocked;
		net_null_block(ends[selected], blocked);
		break;
	case LINK:
		netvsp_set_link(nic, byte / ACTIONS % 2);
		break;
	case TURN:
		loop_turn(fake_guest_loop(guest));
		break;
	case READ:
		read_all(byte / ACTIONS % 4 != 0);
		break;
	case REOPEN:
		close_channel(byte / ACTIONS % 2);
		open_channel();
		break;
	case SAVE_AND_LOAD:
		save_and_load();
		break;
	case LOAD:
		bytes = take_some(input, 512, &count);
		is_unsound = load(bytes, count) != 0;
		break;
	case PAUSE:
		paused = !paused;
		(paused ? netvsp_pause : netvsp_resume)(nic);
		break;
	case ACTIONS:
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_cursor input = bytes_cursor(data, size);

	make_guest();
	open_channel();
	while (input.left && !input.failed) {
		act(&input);
	}
	fake_guest_settle(guest);
	read_all(true);
	if (paused) {
		netvsp_resume(nic);
	}
	for (int i = 0; i < QUEUES; i++) {
		net_null_block(ends[i], false);
	}
	paused = blocked = false;
	netvsp_set_link(nic, true);
	close_channel(true);
	fake_guest_settle(guest);
	return 0;
}

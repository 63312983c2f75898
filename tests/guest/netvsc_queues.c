/* SPDX-License-Identifier: MIT */
/* The guest's half of a synthetic NIC: its sub-channels, and who gets what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/bytes.h"
#include "guest/netvsc.h"

static const struct guid type = NVSP_INTERFACE;

void netvsc_select(struct netvsc *vsc, unsigned int channel)
{
	assert_true(channel < vsc->channel_count);
	vsc->selected = channel;
	vsc->channel = vsc->channels[channel];
}

unsigned int netvsc_ask_subs(struct netvsc *vsc, uint32_t wanted, uint32_t *ret_status)
{
	const uint32_t message[10] = { NVSP_SUBCHANNEL, NVSP_SUBCHANNEL_ALLOCATE, wanted };

	netvsc_send_nvsp(vsc, message, sizeof(message));
	*ret_status = 0;
	if (vsc->packet.payload_bytes < 12) {
		return 0;
	}
	assert_int_equal(bytes_le32(vsc->packet.payload), NVSP_SUBCHANNEL);
	*ret_status = bytes_le32(vsc->packet.payload + 4);
	/* rndis_set_subchannel() */
	assert_true(bytes_le32(vsc->packet.payload + 8) <= wanted);
	return bytes_le32(vsc->packet.payload + 8);
}

struct wanted_offer {
	struct fake_guest *guest;
	unsigned int n;
};

static bool is_offered(void *arg)
{
	struct wanted_offer *wanted = arg;

	return fake_guest_find_offer(wanted->guest, &type, wanted->n) != NULL;
}

void netvsc_open_sub(struct netvsc *vsc, unsigned int channel)
{
	struct wanted_offer wanted = { vsc->guest, channel };

	assert_int_equal(channel, vsc->channel_count);
	assert_true(channel < NETVSC_CHANNELS);
	assert_true(fake_guest_wait(vsc->guest, is_offered, &wanted));
	assert_int_equal(fake_guest_find_offer(vsc->guest, &type, channel)->sub_channel_index,
			 channel);
	vsc->channels[channel] = fake_channel_open(vsc->guest, &type, channel, vsc->ring_bytes);
	vsc->channel_count++;
}

unsigned int netvsc_open_subs(struct netvsc *vsc, uint32_t wanted)
{
	unsigned int tables = vsc->tables, granted;
	uint32_t status;

	granted = netvsc_ask_subs(vsc, wanted, &status);
	assert_int_equal(status, NVSP_STATUS_SUCCESS);
	for (unsigned int i = 1; i <= granted; i++) {
		assert_int_equal(vsc->tables, tables);
		netvsc_open_sub(vsc, i);
	}
	while (granted && vsc->tables == tables) {
		netvsc_take_one(vsc);
	}
	return granted;
}

const uint8_t netvsc_rss_key[NET_RSS_KEY_BYTES] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

/* rndis_set_rss_param_msg() */
uint32_t netvsc_set_rss(struct netvsc *vsc, const uint32_t *table, unsigned int entries)
{
	uint8_t info[40 + 4 * NET_RSS_TABLE_ENTRIES + NET_RSS_KEY_BYTES] = { 0x89, 2, 40, 0 };

	bytes_put_le16(info + 4, NDIS_RSS_DISABLE);
	bytes_put_le32(info + 8, NDIS_HASH_TOEPLITZ | NDIS_HASH_IPV4 | NDIS_HASH_TCP_IPV4 |
					 NDIS_HASH_IPV6 | NDIS_HASH_TCP_IPV6);
	bytes_put_le16(info + 12, 4 * NET_RSS_TABLE_ENTRIES);
	bytes_put_le32(info + 16, 40);
	bytes_put_le16(info + 20, NET_RSS_KEY_BYTES);
	bytes_put_le32(info + 24, 40 + 4 * NET_RSS_TABLE_ENTRIES);
	for (unsigned int i = 0; i < NET_RSS_TABLE_ENTRIES; i++) {
		bytes_put_le32(info + 40 + 4 * (size_t)i, table[i % entries]);
	}
	memcpy(info + 40 + 4 * NET_RSS_TABLE_ENTRIES, netvsc_rss_key, NET_RSS_KEY_BYTES);
	assert_int_equal(netvsc_set(vsc, OID_GEN_RSS_PARAMETERS, info, sizeof(info)),
			 RNDIS_STATUS_SUCCESS);
	bytes_put_le16(info + 4, 0);
	return netvsc_set(vsc, OID_GEN_RSS_PARAMETERS, info, sizeof(info));
}

/* SPDX-License-Identifier: MIT */
/*
 * The DHCP server: the input is frames, each behind its length and the seconds before it. What is
 * checked: nobody holds another's address, answers are sound, what is saved loads again as it was.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "net/dhcp.h"
#include "net/offload.h"
#include "state/load.h"
#include "state/save.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NETWORK 0x0a000200U

static const struct dhcp_config config = { .network = NETWORK,
					   .prefix_bits = 24,
					   .mac = { 0x52, 0x55, 10, 0, 2, 2 },
					   .server = NETWORK + 2,
					   .router = NETWORK + 2,
					   .dns = NETWORK + 3,
					   .pool_first = NETWORK + 1,
					   .pool_last = NETWORK + 20,
					   .mtu = 1500,
					   .domain = "fuzz" };

static void check_reply(const uint8_t *reply, uint32_t bytes, const uint8_t *frame)
{
	uint8_t copy[DHCP_REPLY_BYTES];
	struct net_headers h;

	check(bytes <= sizeof(copy));
	memcpy(copy, reply, bytes);
	check(net_headers_parse(reply, bytes, false, &h) == 0 && h.end == bytes);
	check(net_offload_finish(copy, bytes, NET_FRAME_IP_CHECKSUM | NET_FRAME_L4_CHECKSUM) == 0);
	check(memcmp(copy, reply, bytes) == 0);
	check(memcmp(reply, frame + 6, 6) == 0 ||
	      memcmp(reply, "\xff\xff\xff\xff\xff\xff", 6) == 0);
}

static void check_leases(const struct dhcp *dhcp, uint64_t now_s)
{
	struct dhcp_lease lease;
	uint32_t cursor = 0;
	uint8_t seen[256] = { 0 };

	while (dhcp_next(dhcp, &cursor, now_s, &lease)) {
		check((lease.address & 0xffffff00) == NETWORK && !seen[lease.address & 255]++);
		check(lease.address != NETWORK + 2 && lease.address != NETWORK + 3);
		if (lease.address == NETWORK + 5) {
			check(lease.mac[0] == 2 && lease.mac[5] == 5);
		}
		if (lease.left_s) {
			const uint8_t *mac = dhcp_holder(dhcp, lease.address, now_s);

			check(mac && memcmp(mac, lease.mac, 6) == 0);
		}
	}
}

static struct dhcp *make(void)
{
	const struct dhcp_static in = { { 2, 0, 0, 0, 0, 5 }, NETWORK + 5 },
				 out = { { 2, 0, 0, 0, 0, 6 }, NETWORK + 99 };
	struct dhcp *dhcp;
	struct diag diag;

	check(dhcp_create(&config, &dhcp, &diag) == 0);
	check(dhcp_static_add(dhcp, &in, 0, &diag) == 0);
	check(dhcp_static_add(dhcp, &out, 0, &diag) == 0);
	return dhcp;
}

/* Saved bytes of our own come back as they were. */
static void check_saved(const struct dhcp *dhcp, uint64_t now_s)
{
	struct save save, again;
	const uint8_t *bytes, *bytes_again;
	size_t length, length_again;
	struct dhcp *copy = make();
	struct load load;

	save_init(&save);
	save_init(&again);
	dhcp_save(dhcp, now_s, &save);
	check(save_finish(&save, &bytes, &length) == 0);
	load_init(&load, bytes, length);
	dhcp_load(copy, &load, 1000);
	check(load_result(&load) == 0);
	dhcp_save(copy, 1000, &again);
	check(save_finish(&again, &bytes_again, &length_again) == 0);
	check(length == length_again && (length == 0 || memcmp(bytes, bytes_again, length) == 0));
	save_fini(&save);
	save_fini(&again);
	dhcp_destroy(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_cursor input = bytes_cursor(data, size);
	uint64_t now_s = 1000;
	struct dhcp *dhcp = make();

	if (bytes_take_u8(&input) == 1) { /* a state from elsewhere, then frames */
		uint16_t length = (uint16_t)num_min(bytes_take_le16(&input), input.left);
		struct load load;

		load_init(&load, bytes_take(&input, length), length);
		dhcp_load(dhcp, &load, now_s);
		(void)!load_result(&load);
	}
	while (input.left >= 3 && !input.failed) {
		uint16_t length = bytes_take_le16(&input);
		uint8_t reply[DHCP_REPLY_BYTES];
		const uint8_t *frame;
		uint32_t bytes;

		now_s += (uint64_t)bytes_take_u8(&input) * 4;
		length = (uint16_t)num_min(length, input.left);
		frame = bytes_take(&input, length);
		if (dhcp_input(dhcp, frame, length, now_s, reply, &bytes) == DHCP_REPLY) {
			check_reply(reply, bytes, frame);
		} else {
			check(bytes == 0);
		}
		check_leases(dhcp, now_s);
	}
	check_saved(dhcp, now_s);
	dhcp_destroy(dhcp);
	return 0;
}

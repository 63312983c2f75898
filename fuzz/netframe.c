/* SPDX-License-Identifier: MIT */
/* What is done to frames: offloads, segment size, cutting, reassembly. The first four bytes choose. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "net/offload.h"
#include "net/reassemble.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sink {
	uint32_t limit;
};

static void on_piece(void *ctx, const struct iovec *iov, int count, uint32_t bytes)
{
	const struct sink *sink = ctx;
	static uint8_t frame[NET_FRAME_BYTES_MAX + 128];
	uint32_t at = 0;

	for (int i = 0; i < count; i++) {
		check(at + iov[i].iov_len <= sizeof(frame));
		memcpy(frame + at, iov[i].iov_base, iov[i].iov_len);
		at += (uint32_t)iov[i].iov_len;
	}
	check(at == bytes && bytes <= sink->limit);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct reassembler reassembler;
	struct sink sink = { .limit = NET_FRAME_BYTES_MAX + 128 };
	uint32_t bytes, value, left;
	uint8_t *frame, *whole;
	int err = 0;

	if (size < 4 || size > NET_FRAME_BYTES_MAX) {
		return 0;
	}
	if (!reassembler.block && reassembler_init(&reassembler)) {
		return 0;
	}
	value = bytes_le16(data + 2);
	bytes = (uint32_t)size - 4;
	frame = malloc(bytes ? bytes : 1);
	memcpy(frame, data + 4, bytes);
	if (net_offload_finish(frame, bytes, data[1]) == 0) {
		switch (data[0] % 4) {
		case 0:
			(void)net_raise_mss(frame, bytes, value);
			break;
		case 1:
			err = net_cut_tcp(frame, bytes, value, on_piece, &sink);
			break;
		case 2:
			sink.limit = value + NET_HEADER_BYTES;
			err = net_cut_ip(frame, bytes, value, 1, on_piece, &sink);
			break;
		default:
			/* Many frames, each as long as its first two bytes say. */
			for (uint32_t at = 0; bytes - at > 2; at += left) {
				uint8_t *one = frame + at + 2;

				left = 2 + bytes_le16(frame + at) % 1600U;
				if (left > bytes - at) {
					break;
				}
				err |= net_offload_finish(one, left - 2, NET_FRAME_IP_CHECKSUM);
				(void)reassembler_take(&reassembler, one, left - 2, &whole, &value);
			}
			break;
		}
	}
	check(err <= 0); /* whatever it is, it is an errno or nothing */
	free(frame);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Messages of proto/remote.h (vmbus/remote_wire.h): the first byte is the number of descriptors, the
 * rest a datagram, whose length is made right, or hardly an input would get further. What is taken is
 * built again, and is taken again as the same.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "vmbus/remote_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t in[REMOTE_MESSAGE_BYTES_MAX + 1], out[REMOTE_MESSAGE_BYTES_MAX];
	struct remote_message first, again;
	unsigned int fd_count;

	if (size < 1 || size - 1 > sizeof(in)) {
		return 0;
	}
	fd_count = data[0] & 0x7f;
	size--;
	memcpy(in, data + 1, size);
	if (size >= 8 && !(data[0] & 0x80)) {
		bytes_put_le32(in + 4, (uint32_t)size);
	}
	if (remote_parse(in, size, fd_count, &first)) {
		return 0;
	}
	uint32_t bytes = remote_build(&first, out);

	check(bytes <= size);
	check(remote_parse(out, bytes, fd_count, &again) == 0);
	check(again.type == first.type && again.device == first.device &&
	      again.serial == first.serial && again.tail_bytes == first.tail_bytes);
	check(first.tail_bytes == 0 || memcmp(first.tail, again.tail, first.tail_bytes) == 0);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* Descriptors of packets that carry guest pages. */
#include <errno.h>

#include "base/bytes.h"
#include "vmbus/device.h"

static int take_range(struct bytes_cursor *c, struct gpa_range *ret)
{
	struct gpa_range range;

	range.length_bytes = bytes_take_le32(c);
	range.offset_bytes = bytes_take_le32(c);
	if (c->failed || range.offset_bytes >= MEM_PAGE_BYTES) {
		return -EBADMSG;
	}
	uint64_t span = (uint64_t)range.offset_bytes + range.length_bytes;

	range.gfn_count = (uint32_t)((span + MEM_PAGE_BYTES - 1) >> MEM_PAGE_SHIFT);
	range.gfns = (const uint64_t *)(const void *)bytes_take(c, range.gfn_count * 8ULL);
	if (c->failed) {
		return -EBADMSG;
	}
	*ret = range;
	return gpa_range_check(ret);
}

int vmbus_packet_gpa_ranges(const struct vmbus_packet *packet, struct gpa_range *ret_ranges,
			    int max)
{
	struct bytes_cursor c = bytes_cursor(packet->descriptor, packet->descriptor_bytes);

	bytes_take_le32(&c); /* reserved */
	uint32_t count = bytes_take_le32(&c);

	if (packet->type != VMBUS_PACKET_GPA_DIRECT || c.failed || count > (uint32_t)max) {
		return -EBADMSG;
	}
	for (uint32_t i = 0; i < count; i++) {
		int err = take_range(&c, &ret_ranges[i]);

		if (err) {
			return err;
		}
	}
	return (int)count;
}

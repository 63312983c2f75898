/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/virtio_net.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/num.h"
#include "net/fifo.h"
#include "net/offload.h"
#include "net/vnet_hdr.h"

#define HDR 12U

/* A TCP or UDP frame without checksums; its payload is a pattern. Returns its length. */
static uint32_t build(uint8_t *frame, int version, uint8_t protocol, uint32_t payload)
{
	const uint32_t l3 = version == 4 ? 20 : 40, l4 = protocol == NET_IP_TCP ? 20 : 8;
	uint8_t *ip = frame + 14, *transport = ip + l3;

	memset(frame, 0, 14 + l3 + l4);
	memset(frame, 2, 12);
	bytes_put_be16(frame + 12, version == 4 ? 0x0800 : 0x86dd);
	if (version == 4) {
		ip[0] = 0x45;
		bytes_put_be16(ip + 2, (uint16_t)(l3 + l4 + payload));
		ip[8] = 64;
		ip[9] = protocol;
		memset(ip + 12, 7, 8);
	} else {
		ip[0] = 0x60;
		bytes_put_be16(ip + 4, (uint16_t)(l4 + payload));
		ip[6] = protocol;
		memset(ip + 8, 7, 32);
	}
	if (protocol == NET_IP_TCP) {
		transport[12] = 0x50;
		transport[13] = 0x10;
	} else {
		bytes_put_be16(transport + 4, (uint16_t)(l4 + payload));
	}
	for (uint32_t i = 0; i < payload; i++) {
		transport[l4 + i] = (uint8_t)(i * 31 + 1);
	}
	return 14 + l3 + l4 + payload;
}

/* What vnet_send() made, in one piece. */
struct sent {
	struct virtio_net_hdr hdr;
	uint8_t frame[NET_FRAME_BYTES_MAX + 4];
	uint32_t bytes;
};

static int send_frame(const struct net_frame *frame, struct sent *sent)
{
	static uint8_t all[HDR + NET_FRAME_BYTES_MAX + 4];
	struct iovec iov[VNET_SEND_PIECES];
	struct vnet_head head;
	uint32_t at = 0;
	int count, err = vnet_send(frame, HDR, &head, iov, &count);

	if (err) {
		return err;
	}
	assert_in_range(count, 1, frame->iov_count + 1);
	for (int i = 0; i < count; i++) {
		memcpy(all + at, iov[i].iov_base, iov[i].iov_len);
		at += (uint32_t)iov[i].iov_len;
	}
	memcpy(&sent->hdr, all, sizeof(sent->hdr));
	assert_int_equal(all[10] | all[11], 0);
	sent->bytes = at - HDR;
	memcpy(sent->frame, all + HDR, sent->bytes);
	return 0;
}

/* Cut into pieces of so many bytes. */
static struct net_frame cut(uint8_t *frame, uint32_t bytes, uint32_t piece, struct iovec *iov)
{
	int count = 0;

	for (uint32_t at = 0; at < bytes; at += piece) {
		iov[count++] = (struct iovec){ frame + at, (size_t)num_min(piece, bytes - at) };
	}
	return (struct net_frame){ .iov = iov, .iov_count = count, .bytes = bytes };
}

static void a_finished_frame_goes_as_it_is(void **state)
{
	uint8_t frame[200];
	uint32_t bytes = build(frame, 4, NET_IP_UDP, 100);
	struct iovec iov[1];
	struct net_frame f = cut(frame, bytes, 200, iov);
	static struct sent sent;

	(void)state;
	assert_int_equal(send_frame(&f, &sent), 0);
	assert_true(bytes_is_zero(&sent.hdr, sizeof(sent.hdr)));
	assert_int_equal(sent.bytes, bytes);
	assert_memory_equal(sent.frame, frame, bytes);
}

/* What who gets it copies out. */
static void gather(const struct vnet_frame *f, uint8_t *copy)
{
	struct iovec iov;
	const struct net_frame frame = vnet_net_frame(f, &iov);

	fifo_gather(copy, &frame);
}

/* What the kernel does with NEEDS_CSUM gives the same as doing it all at once; nothing of the
 * sender's is written. */
static void a_missing_checksum_is_prepared_in_a_copy(void **state)
{
	static const int versions[] = { 4, 6 };
	static const uint8_t protocols[] = { NET_IP_TCP, NET_IP_UDP };
	static struct sent sent;

	(void)state;
	for (int v = 0; v < 2; v++) {
		for (int p = 0; p < 2; p++) {
			for (uint32_t piece = 7; piece < 300; piece += 13) {
				uint8_t frame[400], before[400], right[400], copy[400];
				uint32_t bytes = build(frame, versions[v], protocols[p], 201);
				uint16_t flags = NET_FRAME_L4_CHECKSUM | NET_FRAME_IP_CHECKSUM;
				struct iovec iov[60];
				struct net_frame f;
				struct vnet_frame back;

				memcpy(right, frame, bytes);
				assert_int_equal(net_offload_finish(right, bytes, flags), 0);
				/* Padding is no part of it, whatever it holds. */
				memset(frame + bytes, 0xee, 9);
				memcpy(before, frame, sizeof(before));
				f = cut(frame, bytes + 9, piece, iov);
				f.flags = flags;
				assert_int_equal(send_frame(&f, &sent), 0);
				assert_int_equal(sent.bytes, bytes);
				assert_memory_equal(frame, before, bytes + 9);
				assert_int_equal(sent.hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
				assert_int_equal(vnet_receive((uint8_t *)&sent.hdr, sent.frame,
							      sent.bytes, &back),
						 0);
				assert_int_equal(back.bytes, bytes);
				gather(&back, copy);
				assert_memory_equal(copy, right, bytes);
				assert_int_equal(back.flags,
						 NET_FRAME_CHECKSUM_GOOD | NET_FRAME_L4_PARTIAL);
				assert_int_equal(back.l4, p ? NET_L4_UDP : NET_L4_TCP);
			}
		}
	}
}

static void a_large_segment_gets_lengths_and_a_segment_size(void **state)
{
	static uint8_t frame[NET_FRAME_BYTES_MAX];
	static struct sent sent;

	(void)state;
	for (int version = 4; version <= 6; version += 2) {
		const uint32_t head = version == 4 ? 54 : 74;
		uint32_t bytes = build(frame, version, NET_IP_TCP, 20000);
		struct iovec iov[60];
		struct net_frame f = cut(frame, bytes, 4096, iov);
		struct vnet_frame back;

		/* The sender's length is 0, as Windows and Linux leave it. */
		bytes_put_be16(frame + 14 + (version == 4 ? 2 : 4), 0);
		f.flags = NET_FRAME_LSO | NET_FRAME_VLAN;
		f.vlan_tci = 0x2005;
		f.mss = 1400;
		assert_int_equal(send_frame(&f, &sent), 0);
		assert_int_equal(sent.bytes, bytes + 4);
		assert_int_equal(sent.hdr.gso_type, version == 4 ? VIRTIO_NET_HDR_GSO_TCPV4
								 : VIRTIO_NET_HDR_GSO_TCPV6);
		assert_int_equal(sent.hdr.gso_size, 1400);
		assert_int_equal(sent.hdr.hdr_len, head + 4);
		assert_int_equal(sent.hdr.csum_start, head - 20 + 4);
		assert_int_equal(sent.hdr.csum_offset, 16);
		assert_int_equal(bytes_be16(sent.frame + 12), 0x8100);
		assert_int_equal(bytes_be16(sent.frame + 14), 0x2005);
		assert_int_equal(bytes_be16(frame + 14 + (version == 4 ? 2 : 4)), 0);
		assert_int_equal(vnet_receive((uint8_t *)&sent.hdr, sent.frame, sent.bytes, &back),
				 0);
		assert_int_equal(back.flags,
				 NET_FRAME_VLAN | NET_FRAME_COALESCED | NET_FRAME_CHECKSUM_GOOD);
		assert_int_equal(back.vlan_tci, 0x2005);
		assert_int_equal(back.mss, 1400);
		assert_int_equal(back.bytes, bytes);
		assert_memory_equal(back.frame + head, frame + head, 20000);
	}
}

static void a_large_segment_that_fits_one_is_no_large_one(void **state)
{
	uint8_t frame[2000];
	uint32_t bytes = build(frame, 4, NET_IP_TCP, 1400);
	struct iovec iov[1];
	struct net_frame f = cut(frame, bytes, 2000, iov);
	static struct sent sent;

	(void)state;
	f.flags = NET_FRAME_LSO;
	f.mss = 1400;
	assert_int_equal(send_frame(&f, &sent), 0);
	assert_int_equal(sent.hdr.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	assert_int_equal(sent.hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
}

static void a_frame_in_most_pieces_and_with_a_head_goes(void **state)
{
	static struct sent sent;
	uint8_t frame[NET_PIECES_MAX * 8 + 54];
	uint32_t bytes = build(frame, 4, NET_IP_TCP, NET_PIECES_MAX * 8);
	struct iovec iov[NET_PIECES_MAX + 1];
	struct net_frame net = {
		.iov = iov, .iov_count = NET_PIECES_MAX, .bytes = bytes, .flags = NET_FRAME_HEAD
	};

	(void)state;
	for (uint32_t i = 0; i < NET_PIECES_MAX; i++) {
		iov[i] = (struct iovec){ frame + (i ? 54 + 8 * i : 0), i ? 8 : 62 };
	}
	assert_int_equal(send_frame(&net, &sent), 0);
	assert_int_equal(sent.bytes, bytes);
	assert_memory_equal(sent.frame, frame, bytes);
	iov[NET_PIECES_MAX] = (struct iovec){ frame, 1 };
	net.iov_count++;
	net.bytes++;
	assert_int_equal(send_frame(&net, &sent), -EBADMSG);
}

static void what_a_frame_does_not_have_is_refused(void **state)
{
	uint8_t frame[2000];
	uint32_t bytes = build(frame, 4, NET_IP_TCP, 1000);
	struct iovec iov[1];
	struct net_frame f = cut(frame, bytes, 2000, iov);
	static struct sent sent;

	(void)state;
	f.flags = NET_FRAME_LSO;
	f.mss = 0;
	assert_int_equal(send_frame(&f, &sent), -EBADMSG);
	f.mss = NET_MSS_MIN - 1;
	assert_int_equal(send_frame(&f, &sent), -EBADMSG);
	f.mss = 500;
	frame[46] = 0xf0; /* a TCP header of 60 bytes is fine */
	assert_int_equal(send_frame(&f, &sent), 0);
	frame[46] = 0x40;
	assert_int_equal(send_frame(&f, &sent), -EBADMSG);
	frame[46] = 0x50;
	frame[23] = NET_IP_UDP;
	assert_int_equal(send_frame(&f, &sent), -EBADMSG);
	frame[23] = 1; /* ICMP */
	f.flags = NET_FRAME_L4_CHECKSUM;
	assert_int_equal(send_frame(&f, &sent), -EBADMSG);
	frame[23] = NET_IP_TCP;
	frame[20] = 0x20; /* a fragment */
	assert_int_equal(send_frame(&f, &sent), -EBADMSG);
	frame[20] = 0;
	frame[14] = 0x4f; /* headers longer than the frame */
	f = cut(frame, 60, 2000, iov);
	f.flags = NET_FRAME_L4_CHECKSUM;
	assert_int_equal(send_frame(&f, &sent), -EBADMSG);
	f.flags = 0;
	f.bytes = 61; /* more than its pieces hold */
	assert_int_equal(send_frame(&f, &sent), -EBADMSG);
	f.bytes = 13;
	assert_int_equal(send_frame(&f, &sent), -EBADMSG);
}

static void hostile_headers_from_the_kernel_are_refused(void **state)
{
	uint8_t frame[2000];
	uint32_t bytes = build(frame, 4, NET_IP_TCP, 1000);
	struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM };
	struct vnet_frame ret;

	(void)state;
	for (uint32_t start = 0; start < 65536; start += 89) {
		for (uint32_t offset = 0; offset < 65536; offset += 1021) {
			hdr.csum_start = (uint16_t)start;
			hdr.csum_offset = (uint16_t)offset;
			assert_int_equal(vnet_receive((uint8_t *)&hdr, frame, bytes, &ret),
					 start >= 14 && start + offset + 2 <= bytes ? 0 : -EBADMSG);
		}
	}
	bytes = build(frame, 4, NET_IP_TCP, 1000);
	hdr = (struct virtio_net_hdr){ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 };
	assert_int_equal(vnet_receive((uint8_t *)&hdr, frame, bytes, &ret), -EBADMSG);
	hdr.gso_size = 1;
	assert_int_equal(vnet_receive((uint8_t *)&hdr, frame, bytes, &ret), -EBADMSG);
	hdr.gso_size = 500;
	assert_int_equal(vnet_receive((uint8_t *)&hdr, frame, bytes, &ret), 0);
	hdr.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
	assert_int_equal(vnet_receive((uint8_t *)&hdr, frame, bytes, &ret), -EBADMSG);
	hdr.gso_type = VIRTIO_NET_HDR_GSO_UDP;
	assert_int_equal(vnet_receive((uint8_t *)&hdr, frame, bytes, &ret), -EBADMSG);
	hdr.gso_type = 0x7f;
	assert_int_equal(vnet_receive((uint8_t *)&hdr, frame, bytes, &ret), -EBADMSG);
	hdr.gso_type = 0;
	assert_int_equal(vnet_receive((uint8_t *)&hdr, frame, 13, &ret), -EBADMSG);
	assert_int_equal(vnet_receive((uint8_t *)&hdr, frame, 14, &ret), 0);
}

/* Where kernel and headers do not agree, or few understand the latter, all is done at once. */
static void unusual_frames_get_their_checksum_at_once(void **state)
{
	uint8_t frame[400], right[400];
	uint32_t bytes = build(frame, 4, NET_IP_UDP, 100);
	struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				      .csum_start = 34,
				      .csum_offset = 6 };
	struct vnet_frame ret;
	uint16_t pseudo;

	(void)state;
	memcpy(right, frame, bytes);
	assert_int_equal(net_offload_finish(right, bytes, NET_FRAME_L4_CHECKSUM), 0);
	pseudo = (uint16_t)~net_sum_fold(net_pseudo_sum(frame + 14, 4, NET_IP_UDP, bytes - 34));
	memcpy(frame + 40, &pseudo, 2);
	/* The datagram ends before the frame: the kernel sums that, too, and it is all zeroes. */
	memset(frame + bytes, 0, 10);
	assert_int_equal(vnet_receive((uint8_t *)&hdr, frame, bytes + 10, &ret), 0);
	assert_false(ret.flags & NET_FRAME_L4_PARTIAL);
	assert_memory_equal(ret.frame, right, bytes);
	/* Another place. */
	memcpy(frame + 40, &pseudo, 2);
	hdr.csum_offset = 10;
	assert_int_equal(vnet_receive((uint8_t *)&hdr, frame, bytes, &ret), 0);
	assert_false(ret.flags & NET_FRAME_L4_PARTIAL);
	/* As it should be. */
	hdr.csum_offset = 6;
	assert_int_equal(vnet_receive((uint8_t *)&hdr, frame, bytes, &ret), 0);
	assert_true(ret.flags & NET_FRAME_L4_PARTIAL);
	assert_memory_equal(ret.frame + 40, &pseudo, 2);
}

static void a_bad_ip_header_is_not_called_good(void **state)
{
	uint8_t frame[200];
	uint32_t bytes = build(frame, 4, NET_IP_UDP, 100);
	struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_DATA_VALID };
	struct vnet_frame ret;

	(void)state;
	assert_int_equal(vnet_receive((uint8_t *)&hdr, frame, bytes, &ret), 0);
	assert_int_equal(ret.flags, 0);
	assert_int_equal(net_offload_finish(frame, bytes, NET_FRAME_IP_CHECKSUM), 0);
	assert_int_equal(vnet_receive((uint8_t *)&hdr, frame, bytes, &ret), 0);
	assert_int_equal(ret.flags, NET_FRAME_CHECKSUM_GOOD);
	assert_int_equal(ret.l4, NET_L4_UDP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_finished_frame_goes_as_it_is),
		cmocka_unit_test(a_missing_checksum_is_prepared_in_a_copy),
		cmocka_unit_test(a_large_segment_gets_lengths_and_a_segment_size),
		cmocka_unit_test(a_large_segment_that_fits_one_is_no_large_one),
		cmocka_unit_test(a_frame_in_most_pieces_and_with_a_head_goes),
		cmocka_unit_test(what_a_frame_does_not_have_is_refused),
		cmocka_unit_test(hostile_headers_from_the_kernel_are_refused),
		cmocka_unit_test(unusual_frames_get_their_checksum_at_once),
		cmocka_unit_test(a_bad_ip_header_is_not_called_good),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

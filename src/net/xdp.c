/* SPDX-License-Identifier: MIT */
#include "net/xdp.h"

#include <errno.h>
#include <fcntl.h>
#include <bpf/bpf.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xdp/libxdp.h>
#include <xdp/xsk.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "base/num.h"
#include "net/fifo.h"
#include "net/interface.h"
#include "net/offload.h"
#include "net/wire_internal.h"
#include "proto/ether.h"

#define CHUNK_BYTES    4096U
#define RX_CHUNKS      1024U
#define TX_CHUNKS      2048U
#define MEMORY_BYTES   ((size_t)(RX_CHUNKS + TX_CHUNKS) * CHUNK_BYTES)
#define HEADROOM       16U /* for VNET_HDR_BYTES */
#define FRAME_MAX      (NET_XDP_MTU_MAX + NET_HEADER_BYTES + VNET_TAG_BYTES)
/* The kernel sends 32 frames in one call (TX_BATCH_SIZE), in versions to come perhaps others. */
#define KICKS_MAX      (TX_CHUNKS / 16)
#define TCP_SUM_OFFSET 16U
#define UDP_SUM_OFFSET 6U

/* In front of a frame in its chunk: XDP_PACKET_HEADROOM of the kernel's. */
_Static_assert(256 + HEADROOM + FRAME_MAX <= CHUNK_BYTES, "a frame fits its chunk");
_Static_assert(HEADROOM >= VNET_HDR_BYTES, "a header before each frame");
_Static_assert(NET_XDP_QUEUES_MAX <= WIRE_ENDS_MAX, "an end per queue");

/* A queue: memory that the kernel shares, four rings over it. */
struct xdp_queue {
	uint8_t *memory;       /* chunks: RX_CHUNKS to receive into, TX_CHUNKS to send from */
	int fd;                /* the socket's */
	struct xsk_umem *umem; /* NULL, like the next: of a socket that was given to us */
	struct xsk_socket *socket;
	struct mapping {
		void *at;
		size_t bytes;
	} maps[4]; /* of its rings then */
	struct xsk_ring_prod fill, tx;
	struct xsk_ring_cons done, rx;
	uint64_t held[WIRE_SLOTS]; /* chunks of the slots */
	unsigned int held_count;
	uint64_t free[TX_CHUNKS];
	unsigned int free_count;
	uint8_t *large; /* a segment to be cut, in one piece */
};

struct xdp_state {
	struct xdp_queue queues[NET_XDP_QUEUES_MAX];
};

static struct xdp_queue *queue_of(const struct wire *wire)
{
	struct xdp_state *state = wire->group->state;

	return &state->queues[wire->index];
}

/* ---- what arrives ---- */

/* The slots' chunks have been delivered (W1): the kernel may have them again. */
static void give_back(struct xdp_queue *q)
{
	uint32_t at;

	if (q->held_count &&
	    xsk_ring_prod__reserve(&q->fill, q->held_count, &at) == q->held_count) {
		for (unsigned int i = 0; i < q->held_count; i++) {
			*xsk_ring_prod__fill_addr(&q->fill, at + i) = q->held[i];
		}
		xsk_ring_prod__submit(&q->fill, q->held_count);
		q->held_count = 0;
	}
}

/*
 * A checksum that is nothing but the pseudo header's sum: of a sender on this host, who leaves the rest
 * to the device. (One that happens to be right all the same is made again, and is the same.)
 */
static void note_checksum(const uint8_t *frame, uint32_t bytes, struct virtio_net_hdr *hdr)
{
	struct net_headers h;
	uint32_t offset;
	uint16_t field;

	if (net_headers_parse(frame, bytes, false, &h) || h.is_fragment ||
	    (h.protocol != NET_IP_TCP && h.protocol != NET_IP_UDP)) {
		return;
	}
	offset = h.protocol == NET_IP_TCP ? TCP_SUM_OFFSET : UDP_SUM_OFFSET;
	if (h.l4_offset + offset + 2 > h.end) {
		return;
	}
	field = (uint16_t)~net_sum_fold(
		net_pseudo_sum(frame + h.l3_offset, h.ip_version, h.protocol, h.end - h.l4_offset));
	if (memcmp(frame + h.l4_offset + offset, &field, 2) == 0) {
		hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		hdr->csum_start = h.l4_offset;
		hdr->csum_offset = (uint16_t)offset;
	}
}

/* The frame lies behind its own header, in memory that is the kernel's no more. */
static void take_slot(struct xdp_queue *q, struct wire_slot *slot, const struct xdp_desc *desc)
{
	uint8_t *frame = q->memory + desc->addr;
	struct virtio_net_hdr hdr = { 0 };
	uint32_t tag = 0;

	slot->has_tag = false;
	/* A tag is in the frame: what is behind it is looked at as if it were not. */
	if (desc->len > NET_HEADER_BYTES + VNET_TAG_BYTES &&
	    bytes_be16(frame + ETHER_TYPE_OFFSET) == ETHER_TYPE_VLAN) {
		tag = VNET_TAG_BYTES;
		slot->has_tag = true;
		slot->tci = bytes_be16(frame + NET_HEADER_BYTES);
		memmove(frame + tag, frame, ETHER_TYPE_OFFSET);
		frame += tag;
	}
	note_checksum(frame, desc->len - tag, &hdr);
	slot->buffer = frame - VNET_HDR_BYTES;
	slot->bytes = (int)(desc->len - tag + VNET_HDR_BYTES);
	memcpy(slot->buffer, &hdr, sizeof(hdr));
}

static void kick(struct wire *wire, struct xdp_queue *q);

static void xdp_read(struct wire *wire)
{
	struct xdp_queue *q = queue_of(wire);
	uint32_t at, got;

	give_back(q);
	got = xsk_ring_cons__peek(&q->rx, WIRE_SLOTS, &at);
	for (uint32_t i = 0; i < got; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&q->rx, at + i);

		q->held[i] = desc->addr & ~(uint64_t)(CHUNK_BYTES - 1);
		take_slot(q, &wire->slots[i], desc);
	}
	q->held_count = got;
	xsk_ring_cons__release(&q->rx, got);
	kick(wire, q);
	wire_received(wire, got, got == WIRE_SLOTS);
}

/* ---- what leaves ---- */

static void reclaim(struct xdp_queue *q)
{
	uint32_t at, done = xsk_ring_cons__peek(&q->done, TX_CHUNKS, &at);

	for (uint32_t i = 0; i < done; i++) {
		q->free[q->free_count++] = *xsk_ring_cons__comp_addr(&q->done, at + i);
	}
	xsk_ring_cons__release(&q->done, done);
}

static bool has_unsent(struct xdp_queue *q)
{
	return xsk_prod_nb_free(&q->tx, TX_CHUNKS) < TX_CHUNKS;
}

/* In copy mode the kernel sends when it is told to. What the device has no room for: next round. */
static void kick(struct wire *wire, struct xdp_queue *q)
{
	for (unsigned int i = 0; i < KICKS_MAX && has_unsent(q); i++) {
		wire->calls++;
		if (sendto(q->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
		    errno != EINTR) {
			break;
		}
	}
	if (has_unsent(q) && !wire->is_stopping) {
		wire->more = true;
		loop_defer(wire->net.loop, &wire->pump_work);
	}
}

struct sending {
	struct wire *wire;
	struct xdp_queue *queue;
	bool has_tag; /* to be put into each piece */
	uint16_t tci;
};

/* A frame, or a piece of one, whose checksums are there. */
static void put_frame(void *ctx, const struct iovec *iov, int count, uint32_t bytes)
{
	struct sending *s = ctx;
	struct xdp_queue *q = s->queue;
	const uint32_t tag = s->has_tag ? VNET_TAG_BYTES : 0;
	const struct net_frame frame = { .iov = iov, .iov_count = count, .bytes = bytes };
	uint64_t chunk;
	uint8_t *to;
	uint32_t at;

	if (!q->free_count) {
		kick(s->wire, q);
		reclaim(q);
	}
	if (bytes + tag > FRAME_MAX || !q->free_count ||
	    xsk_ring_prod__reserve(&q->tx, 1, &at) != 1) {
		s->wire->refused++;
		s->wire->net.counters.send_lost++;
		return;
	}
	chunk = q->free[--q->free_count];
	to = q->memory + chunk;
	fifo_gather(to + tag, &frame);
	if (tag) {
		memmove(to, to + tag, ETHER_TYPE_OFFSET);
		bytes_put_be16(to + ETHER_TYPE_OFFSET, ETHER_TYPE_VLAN);
		bytes_put_be16(to + ETHER_TYPE_OFFSET + 2, s->tci);
	}
	*xsk_ring_prod__tx_desc(&q->tx, at) =
		(struct xdp_desc){ .addr = chunk, .len = bytes + tag };
	xsk_ring_prod__submit(&q->tx, 1);
}

/* The rest of a checksum of which the pseudo header's part is there. */
static void complete_checksum(uint8_t *frame, uint32_t bytes, const struct virtio_net_hdr *hdr)
{
	const uint32_t at = (uint32_t)hdr->csum_start + hdr->csum_offset;
	uint16_t sum;

	if (at + 2 > bytes) {
		return;
	}
	sum = net_sum_fold(net_sum(frame + hdr->csum_start, bytes - hdr->csum_start));
	if (sum == 0 && hdr->csum_offset == UDP_SUM_OFFSET) {
		sum = UINT16_MAX; /* RFC 768: 0 says that there is none */
	}
	memcpy(frame + at, &sum, 2);
}

static void send_large(struct sending *s, uint8_t *frame, uint32_t bytes, uint32_t mss)
{
	if (bytes_be16(frame + ETHER_TYPE_OFFSET) == ETHER_TYPE_VLAN) {
		s->has_tag = true;
		s->tci = bytes_be16(frame + NET_HEADER_BYTES);
		memmove(frame + VNET_TAG_BYTES, frame, ETHER_TYPE_OFFSET);
		frame += VNET_TAG_BYTES;
		bytes -= VNET_TAG_BYTES;
	}
	if (net_cut_tcp(frame, bytes, mss, put_frame, s)) {
		s->wire->net.counters.send_lost++;
	}
}

/* What vnet_send() has prepared: a virtio_net_hdr and the frame, its tag within. */
static void send_message(struct wire *wire, struct xdp_queue *q, const struct msghdr *message)
{
	const struct iovec *iov = message->msg_iov;
	struct net_frame whole = { .iov = iov, .iov_count = (int)message->msg_iovlen };
	struct sending s = { .wire = wire, .queue = q };
	struct virtio_net_hdr hdr;
	struct iovec piece;

	memcpy(&hdr, iov[0].iov_base, sizeof(hdr));
	for (int i = 0; i < whole.iov_count; i++) {
		whole.bytes += (uint32_t)iov[i].iov_len;
	}
	fifo_gather(q->large, &whole); /* 10 bytes of header, and the frame */
	piece = (struct iovec){ q->large + VNET_HDR_BYTES, whole.bytes - VNET_HDR_BYTES };
	if (hdr.gso_type) {
		send_large(&s, piece.iov_base, (uint32_t)piece.iov_len, hdr.gso_size);
		return;
	}
	if (hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		complete_checksum(piece.iov_base, (uint32_t)piece.iov_len, &hdr);
	}
	put_frame(&s, &piece, 1, (uint32_t)piece.iov_len);
}

/* Never waits: what finds no room is lost, as on a card whose queue is full. */
static int xdp_write(struct wire *wire, struct mmsghdr *messages, unsigned int count,
		     unsigned int *ret_done)
{
	struct xdp_queue *q = queue_of(wire);

	reclaim(q);
	for (unsigned int i = 0; i < count; i++) {
		send_message(wire, q, &messages[i].msg_hdr);
	}
	kick(wire, q);
	*ret_done = count;
	return 0;
}

/* ---- queues ---- */

static void close_queue(struct xdp_queue *q)
{
	if (q->socket) {
		xsk_socket__delete(q->socket);
	}
	if (q->umem) {
		xsk_umem__delete(q->umem);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(q->maps); i++) {
		if (q->maps[i].at) {
			munmap(q->maps[i].at, q->maps[i].bytes);
		}
	}
	if (q->memory) {
		munmap(q->memory, MEMORY_BYTES);
	}
	free(q->large);
}

static void fill_queue(struct xdp_queue *q)
{
	uint32_t at;

	check(xsk_ring_prod__reserve(&q->fill, RX_CHUNKS, &at) == RX_CHUNKS);
	for (uint32_t i = 0; i < RX_CHUNKS; i++) {
		*xsk_ring_prod__fill_addr(&q->fill, at + i) = (uint64_t)i * CHUNK_BYTES;
	}
	xsk_ring_prod__submit(&q->fill, RX_CHUNKS);
	for (uint32_t i = 0; i < TX_CHUNKS; i++) {
		q->free[i] = (uint64_t)(RX_CHUNKS + i) * CHUNK_BYTES;
	}
	q->free_count = TX_CHUNKS;
}

/* Its own, or the number-th part of a file of memory. */
static int make_memory(struct xdp_queue *q, int memory_fd, unsigned int number)
{
	q->large = fault_alloc(1, VNET_HDR_BYTES + NET_FRAME_BYTES_MAX + VNET_TAG_BYTES);
	q->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
			 memory_fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, memory_fd,
			 memory_fd < 0 ? 0 : (off_t)(number * MEMORY_BYTES));
	if (q->memory == MAP_FAILED || !q->large) {
		q->memory = q->memory == MAP_FAILED ? NULL : q->memory;
		return -ENOMEM;
	}
	return 0;
}

/* A ring of a given socket: its size is told, it is mapped, and *ret begins where it is. */
static int map_ring(struct xdp_queue *q, struct mapping *map, uint32_t count, size_t entry_bytes,
		    const struct xdp_ring_offset *off, off_t page, struct xsk_ring_prod *ret)
{
	uint8_t *at;

	map->bytes = off->desc + count * entry_bytes;
	at = mmap(NULL, map->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, q->fd, page);
	if (at == MAP_FAILED) {
		return -errno;
	}
	map->at = at;
	*ret = (struct xsk_ring_prod){ .mask = count - 1,
				       .size = count,
				       .producer = (uint32_t *)(void *)(at + off->producer),
				       .consumer = (uint32_t *)(void *)(at + off->consumer),
				       .ring = at + off->desc,
				       .flags = (uint32_t *)(void *)(at + off->flags) };
	return 0;
}

/* The library's two kinds of rings look alike; only a consumer's begins empty. */
static struct xsk_ring_cons as_cons(const struct xsk_ring_prod *ring)
{
	return (struct xsk_ring_cons){ .mask = ring->mask,
				       .size = ring->size,
				       .producer = ring->producer,
				       .consumer = ring->consumer,
				       .ring = ring->ring,
				       .flags = ring->flags };
}

static int set_sizes(const struct xdp_queue *q)
{
	const struct {
		int option;
		uint32_t count;
	} rings[] = { { XDP_UMEM_FILL_RING, RX_CHUNKS },
		      { XDP_UMEM_COMPLETION_RING, TX_CHUNKS },
		      { XDP_RX_RING, RX_CHUNKS },
		      { XDP_TX_RING, TX_CHUNKS } };
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(rings); i++) {
		err = setsockopt(q->fd, SOL_XDP, rings[i].option, &rings[i].count,
				 sizeof(rings[i].count));
	}
	return err ? -errno : 0;
}

/* What the library does with a socket of its own, but for binding it: that is another process's. */
static int adopt_queue(struct xdp_queue *q, int fd, int memory_fd, unsigned int number)
{
	struct xsk_ring_prod done, rx;
	struct xdp_mmap_offsets off;
	socklen_t length = sizeof(off);
	int err = make_memory(q, memory_fd, number);

	q->fd = fd;
	err = err ? err : set_sizes(q);
	if (!err && getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &length)) {
		err = -errno;
	}
	err = err ? err
		  : map_ring(q, &q->maps[0], RX_CHUNKS, sizeof(uint64_t), &off.fr,
			     XDP_UMEM_PGOFF_FILL_RING, &q->fill);
	err = err ? err
		  : map_ring(q, &q->maps[1], TX_CHUNKS, sizeof(uint64_t), &off.cr,
			     XDP_UMEM_PGOFF_COMPLETION_RING, &done);
	err = err ? err
		  : map_ring(q, &q->maps[2], RX_CHUNKS, sizeof(struct xdp_desc), &off.rx,
			     XDP_PGOFF_RX_RING, &rx);
	err = err ? err
		  : map_ring(q, &q->maps[3], TX_CHUNKS, sizeof(struct xdp_desc), &off.tx,
			     XDP_PGOFF_TX_RING, &q->tx);
	if (!err) {
		q->done = as_cons(&done);
		q->rx = as_cons(&rx);
		/* The room that a producer thinks there is counts from what the consumer has taken. */
		q->fill.cached_cons = RX_CHUNKS;
		q->tx.cached_cons = TX_CHUNKS;
		fill_queue(q);
	}
	return err;
}

static int open_queue(struct xdp_queue *q, const struct net_xdp_config *config, uint32_t number)
{
	const struct xsk_umem_config umem = { .fill_size = RX_CHUNKS,
					      .comp_size = TX_CHUNKS,
					      .frame_size = CHUNK_BYTES,
					      .frame_headroom = HEADROOM };
	const struct xsk_socket_config socket = {
		.rx_size = RX_CHUNKS,
		.tx_size = TX_CHUNKS,
		.libxdp_flags = config->map_fd >= 0 ? XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD : 0,
		.xdp_flags =
			config->mode == NET_XDP_GENERIC ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE,
		.bind_flags = XDP_COPY
	};
	int err = make_memory(q, -1, 0);

	if (err) {
		return err;
	}
	err = xsk_umem__create(&q->umem, q->memory, MEMORY_BYTES, &q->fill, &q->done, &umem);
	if (err) {
		q->umem = NULL;
		return err;
	}
	fill_queue(q);
	err = xsk_socket__create(&q->socket, config->name, number, q->umem, &q->rx, &q->tx,
				 &socket);
	if (err) {
		q->socket = NULL;
		return err;
	}
	q->fd = xsk_socket__fd(q->socket);
	return config->map_fd >= 0 ? xsk_socket__update_xskmap(q->socket, config->map_fd) : 0;
}

/* Those that were given to us are the wire's to close, also when this fails. */
static int adopt_queues(struct xdp_state *state, const struct net_xdp_config *config,
			struct diag *reterr)
{
	int err = 0;

	for (unsigned int n = 0; n < config->queues && !err; n++) {
		err = adopt_queue(&state->queues[n], config->fds_take[n], config->memory_fd_take,
				  n);
	}
	close(config->memory_fd_take);
	if (err) {
		return diag_set(reterr, err, "no AF_XDP on network interface '%s': %s",
				config->name, strerror(-err));
	}
	return config->bind(config->bind_ctx, reterr);
}

/* The descriptors of its queues are copies: the library keeps its own. */
static int open_queues(struct xdp_state *state, const struct net_xdp_config *config, int *ret_fds)
{
	unsigned int n = 0;
	int err = 0;

	for (; n < config->queues && !err; n++) {
		err = open_queue(&state->queues[n], config, n);
		ret_fds[n] =
			err ? -1
			    : fcntl(xsk_socket__fd(state->queues[n].socket), F_DUPFD_CLOEXEC, 0);
		if (!err && ret_fds[n] < 0) {
			err = -errno;
		}
	}
	while (err && n > 0) {
		if (ret_fds[--n] >= 0) {
			close(ret_fds[n]);
		}
	}
	return err;
}

static void drop_state(struct xdp_state *state)
{
	for (unsigned int i = 0; i < NET_XDP_QUEUES_MAX; i++) {
		close_queue(&state->queues[i]);
	}
	free(state);
}

static void xdp_fini(void *state)
{
	drop_state(state);
}

static int xdp_attach(struct wire_group *group, int ifindex)
{
	(void)group;
	(void)ifindex;
	return -EOPNOTSUPP; /* another interface needs other sockets */
}

/* ---- life ---- */

static const struct wire_kind xdp_kind = {
	.net = {
		.kind = "xdp",
		.send = wire_send,
		.send_many = wire_send_many,
		.twin = wire_twin,
		.ends_max = NET_XDP_QUEUES_MAX,
		.room = wire_room,
		.configured = wire_configured,
		.stop = wire_stop,
		.destroy = wire_destroy,
		.facts = wire_facts,
	},
	.read = xdp_read,
	.write = xdp_write,
	.attach = xdp_attach,
	.fini = xdp_fini,
	.mtu_max = NET_XDP_MTU_MAX,
};

bool net_xdp_is_there(void)
{
	return true;
}

/* Its MTU; or a negative errno. */
static int mtu_of(const char *name)
{
	struct ifreq request;
	int fd = net_interface_ask(name, &request), mtu;

	if (fd < 0) {
		return fd;
	}
	mtu = ioctl(fd, SIOCGIFMTU, &request) ? -errno : request.ifr_mtu;
	close(fd);
	return mtu;
}

/* The libraries would write to stderr; what they return says enough. */
static void hush(void)
{
	libxdp_set_print(NULL);
	libbpf_set_print(NULL);
}

int net_xdp_load(const char *name, int *ret_map_fd, struct diag *reterr)
{
	const unsigned int ifindex = if_nametoindex(name);
	int err;

	hush();
	if (!ifindex) {
		return diag_set(reterr, -ENODEV, "there is no network interface '%s' (see ip link)",
				name);
	}
	err = xsk_setup_xdp_prog((int)ifindex, ret_map_fd);
	if (err) {
		return diag_set(reterr, err, "no XDP program can be put on '%s': %s", name,
				strerror(-err));
	}
	return 0;
}

void net_xdp_unload(const char *name)
{
	const unsigned int ifindex = if_nametoindex(name);
	struct xdp_multiprog *programs;

	hush();
	programs = ifindex ? xdp_multiprog__get_from_ifindex((int)ifindex) : NULL;
	if (programs && !libxdp_get_error(programs)) {
		(void)xdp_multiprog__detach(programs);
		xdp_multiprog__close(programs);
	}
}

static int check_mtu(const char *name, struct diag *reterr)
{
	const int mtu = mtu_of(name);

	if (mtu < 0) {
		return diag_set(reterr, mtu, "cannot use network interface '%s': %s", name,
				strerror(-mtu));
	}
	if ((unsigned int)mtu > NET_XDP_MTU_MAX) {
		return diag_set(reterr, -EMSGSIZE,
				"AF_XDP takes an MTU of up to %u, and that of '%s' is %d",
				NET_XDP_MTU_MAX, name, mtu);
	}
	return 0;
}

/* Receive queues; 1 where the driver does not say. */
static unsigned int queues_of(const char *name)
{
	struct ethtool_channels channels = { .cmd = ETHTOOL_GCHANNELS };
	struct ifreq request;
	auto_close int fd = net_interface_ask(name, &request);

	request.ifr_data = (void *)&channels;
	if (fd < 0 || ioctl(fd, SIOCETHTOOL, &request)) {
		return 1;
	}
	return (unsigned int)num_max(1, channels.rx_count + channels.combined_count);
}

/* Tells the kernel that the number-th part of the file is the socket's memory; it locks it. */
static int give_memory(int fd, int memory_fd, unsigned int number)
{
	struct xdp_umem_reg umem = { .len = MEMORY_BYTES,
				     .chunk_size = CHUNK_BYTES,
				     .headroom = HEADROOM };
	void *at = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd,
			(off_t)(number * MEMORY_BYTES));
	int err;

	if (at == MAP_FAILED) {
		return -errno;
	}
	umem.addr = (uintptr_t)at;
	err = setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)) ? -errno : 0;
	munmap(at, MEMORY_BYTES);
	return err;
}

static int open_socket(const char *name, int memory_fd, unsigned int number, int *ret,
		       struct diag *reterr)
{
	auto_close int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err = fd < 0 ? -errno : give_memory(fd, memory_fd, number);

	if (err) {
		return diag_set(reterr, err, "no AF_XDP socket for '%s': %s%s", name,
				strerror(-err),
				err == -ENOBUFS ? " (too little locked memory: ulimit -l)" : "");
	}
	*ret = steal_fd(&fd);
	return 0;
}

int net_xdp_open(const char *name, unsigned int ends, int ret_fds[NET_XDP_QUEUES_MAX],
		 unsigned int *ret_count, int *ret_memory_fd, struct diag *reterr)
{
	const unsigned int queues = queues_of(name);
	auto_close int memory_fd = -1;
	unsigned int count = 0;
	int err = check_mtu(name, reterr);

	if (err) {
		return err;
	}
	if (queues > ends || queues > NET_XDP_QUEUES_MAX) {
		return diag_set(reterr, -E2BIG,
				"'%s' has %u receive queues, more than the %u that are served "
				"(ethtool -L %s, or threads= of the switch)",
				name, queues, ends, name);
	}
	memory_fd = memfd_create("xdp", MFD_CLOEXEC);
	if (memory_fd < 0 || ftruncate(memory_fd, (off_t)(queues * MEMORY_BYTES))) {
		return diag_set(reterr, -errno, "no memory for '%s': %s", name, strerror(errno));
	}
	while (!err && count < queues) {
		err = open_socket(name, memory_fd, count, &ret_fds[count], reterr);
		count += !err;
	}
	while (err && count > 0) {
		close(ret_fds[--count]);
	}
	if (!err) {
		*ret_count = count;
		*ret_memory_fd = steal_fd(&memory_fd);
	}
	return err;
}

int net_xdp_bind(const char *name, const int *fds, unsigned int count, int *ret_map_fd,
		 struct diag *reterr)
{
	struct sockaddr_xdp address = { .sxdp_family = AF_XDP,
					.sxdp_flags = XDP_COPY,
					.sxdp_ifindex = if_nametoindex(name) };
	int map_fd, err = net_xdp_load(name, &map_fd, reterr);

	if (err) {
		return err;
	}
	for (uint32_t i = 0; i < count && !err; i++) {
		address.sxdp_queue_id = i;
		if (bind(fds[i], (const struct sockaddr *)&address, sizeof(address)) ||
		    bpf_map_update_elem(map_fd, &i, &fds[i], 0)) {
			err = diag_set(reterr, -errno, "no AF_XDP at queue %u of '%s': %s", i, name,
				       strerror(errno));
		}
	}
	if (err) {
		net_xdp_unload(name);
		close(map_fd);
		return err;
	}
	*ret_map_fd = map_fd;
	return 0;
}

static int make_queues(struct xdp_state *state, const struct net_xdp_config *config, int *fds,
		       struct diag *reterr)
{
	int err = check_mtu(config->name, reterr);

	if (err) {
		return err;
	}
	err = open_queues(state, config, fds);
	return err ? diag_set(reterr, err, "no AF_XDP on network interface '%s': %s", config->name,
			      strerror(-err))
		   : 0;
}

int net_xdp_create(struct loop *loop, const struct net_xdp_config *config, struct net **ret,
		   struct diag *reterr)
{
	int fds[NET_XDP_QUEUES_MAX], err;
	struct wire_config wire = { .name = config->name,
				    .fds_take = fds,
				    .ends = config->queues,
				    .hdr_bytes = VNET_HDR_BYTES,
				    .link_fd_take = config->link_fd_take };
	struct xdp_state *state = fault_alloc(1, sizeof(*state));

	check(config->queues >= 1 && config->queues <= NET_XDP_QUEUES_MAX);
	hush();
	if (!state) {
		err = diag_set(reterr, -ENOMEM, "no memory");
		if (config->fds_take) {
			close(config->memory_fd_take);
		}
	} else if (config->fds_take) {
		/* closes the memory's descriptor */
		err = adopt_queues(state, config, reterr);
	} else {
		err = make_queues(state, config, fds, reterr);
	}
	if (config->fds_take) {
		wire.fds_take = config->fds_take;
	}
	if (err) {
		if (state) {
			drop_state(state);
		}
		wire.ends = config->fds_take ? config->queues : 0;
		wire_drop(&wire);
		return err;
	}
	wire.state_take = state;
	return wire_create(loop, &xdp_kind, &wire, ret, reterr);
}

/* SPDX-License-Identifier: MIT */
/* A queue: its memory, its rings, its socket. */
#include <errno.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/fault.h"
#include "base/num.h"
#include "net/xdp_internal.h"

void xdp_queue_close(struct xdp_queue *q)
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
		munmap(q->memory, XDP_MEMORY_BYTES);
	}
	free(q->large);
}

static void fill_queue(struct xdp_queue *q)
{
	uint32_t at;

	check(xsk_ring_prod__reserve(&q->fill, XDP_RX_CHUNKS, &at) == XDP_RX_CHUNKS);
	for (uint32_t i = 0; i < XDP_RX_CHUNKS; i++) {
		*xsk_ring_prod__fill_addr(&q->fill, at + i) = (uint64_t)i * XDP_CHUNK_BYTES;
	}
	xsk_ring_prod__submit(&q->fill, XDP_RX_CHUNKS);
	for (uint32_t i = 0; i < XDP_TX_CHUNKS; i++) {
		q->free[i] = (uint64_t)(XDP_RX_CHUNKS + i) * XDP_CHUNK_BYTES;
	}
	q->free_count = XDP_TX_CHUNKS;
}

/* Its own, or the number-th part of a file of memory. */
static int make_memory(struct xdp_queue *q, int memory_fd, unsigned int number)
{
	q->large = fault_alloc(1, VNET_HDR_BYTES + NET_FRAME_BYTES_MAX + VNET_TAG_BYTES);
	q->memory = mmap(NULL, XDP_MEMORY_BYTES, PROT_READ | PROT_WRITE,
			 memory_fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, memory_fd,
			 memory_fd < 0 ? 0 : (off_t)(number * XDP_MEMORY_BYTES));
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
	} rings[] = { { XDP_UMEM_FILL_RING, XDP_RX_CHUNKS },
		      { XDP_UMEM_COMPLETION_RING, XDP_TX_CHUNKS },
		      { XDP_RX_RING, XDP_RX_CHUNKS },
		      { XDP_TX_RING, XDP_TX_CHUNKS } };
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(rings); i++) {
		err = setsockopt(q->fd, SOL_XDP, rings[i].option, &rings[i].count,
				 sizeof(rings[i].count));
	}
	return err ? -errno : 0;
}

int xdp_queue_adopt(struct xdp_queue *q, int fd, int memory_fd, unsigned int number)
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
		  : map_ring(q, &q->maps[0], XDP_RX_CHUNKS, sizeof(uint64_t), &off.fr,
			     XDP_UMEM_PGOFF_FILL_RING, &q->fill);
	err = err ? err
		  : map_ring(q, &q->maps[1], XDP_TX_CHUNKS, sizeof(uint64_t), &off.cr,
			     XDP_UMEM_PGOFF_COMPLETION_RING, &done);
	err = err ? err
		  : map_ring(q, &q->maps[2], XDP_RX_CHUNKS, sizeof(struct xdp_desc), &off.rx,
			     XDP_PGOFF_RX_RING, &rx);
	err = err ? err
		  : map_ring(q, &q->maps[3], XDP_TX_CHUNKS, sizeof(struct xdp_desc), &off.tx,
			     XDP_PGOFF_TX_RING, &q->tx);
	if (!err) {
		q->done = as_cons(&done);
		q->rx = as_cons(&rx);
		/* The room that a producer thinks there is counts from what the consumer has taken. */
		q->fill.cached_cons = XDP_RX_CHUNKS;
		q->tx.cached_cons = XDP_TX_CHUNKS;
		fill_queue(q);
	}
	return err;
}

int xdp_queue_open(struct xdp_queue *q, const struct net_xdp_config *config, uint32_t number)
{
	const struct xsk_umem_config umem = { .fill_size = XDP_RX_CHUNKS,
					      .comp_size = XDP_TX_CHUNKS,
					      .frame_size = XDP_CHUNK_BYTES,
					      .frame_headroom = XDP_HEADROOM };
	const struct xsk_socket_config socket = {
		.rx_size = XDP_RX_CHUNKS,
		.tx_size = XDP_TX_CHUNKS,
		.libxdp_flags = config->map_fd >= 0 ? XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD : 0,
		.xdp_flags =
			config->mode == NET_XDP_GENERIC ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE,
		.bind_flags = XDP_COPY
	};
	int err = make_memory(q, -1, 0);

	if (err) {
		return err;
	}
	err = xsk_umem__create(&q->umem, q->memory, XDP_MEMORY_BYTES, &q->fill, &q->done, &umem);
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

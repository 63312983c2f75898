/* SPDX-License-Identifier: MIT */
/* For a process that may, on behalf of one that may not: sockets, memory, the program on the interface. */
#include <errno.h>
#include <bpf/bpf.h>
#include <linux/ethtool.h>
#include <linux/if_xdp.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "net/interface.h"
#include "net/xdp_internal.h"

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

void xdp_hush(void)
{
	libxdp_set_print(NULL);
	libbpf_set_print(NULL);
}

int net_xdp_load(const char *name, int *ret_map_fd, struct diag *reterr)
{
	const unsigned int ifindex = if_nametoindex(name);
	int err;

	xdp_hush();
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

	xdp_hush();
	programs = ifindex ? xdp_multiprog__get_from_ifindex((int)ifindex) : NULL;
	if (programs && !libxdp_get_error(programs)) {
		(void)xdp_multiprog__detach(programs);
		xdp_multiprog__close(programs);
	}
}

int xdp_check_mtu(const char *name, struct diag *reterr)
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
	struct xdp_umem_reg umem = { .len = XDP_MEMORY_BYTES,
				     .chunk_size = XDP_CHUNK_BYTES,
				     .headroom = XDP_HEADROOM };
	void *at = mmap(NULL, XDP_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd,
			(off_t)(number * XDP_MEMORY_BYTES));
	int err;

	if (at == MAP_FAILED) {
		return -errno;
	}
	umem.addr = (uintptr_t)at;
	err = setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)) ? -errno : 0;
	munmap(at, XDP_MEMORY_BYTES);
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
	int err = xdp_check_mtu(name, reterr);

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
	if (memory_fd < 0 || ftruncate(memory_fd, (off_t)(queues * XDP_MEMORY_BYTES))) {
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

/* SPDX-License-Identifier: MIT */
/*
 * A driver gone mad, at a 21140: each input is a sequence of actions of eight bytes (what, how, a value, another):
 * registers by ports and memory in all widths, descriptors and setup frames in a few pages of memory, configuration
 * space, frames from the wire, a wire that is full or without a link, time, pauses, moves to another machine. It
 * ends in a load of the input itself as a state.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "chipset/tulip/tulip.h"
#include "net/net_impl.h"
#include "proto/tulip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEVFN        PCI_DEVFN(10, 0)
#define PORTS        0xc000U
#define MMIO         0xe0000000U
#define MEMORY_BYTES (64ULL << 20)
#define AREA         0x10000U /* what actions write */
#define AREA_BYTES   0x4000U
#define ACTION_BYTES 8U
#define ACTIONS_MAX  512U

struct machine {
	struct net net; /* the wire */
	unsigned int takes;
	struct loop *loop;
	struct chipset *chipset;
	struct pci_bus *bus;
	struct tulip *tulip;
	bool is_paused;
	uint64_t sum; /* of what was sent: all bytes are looked at */
};

/* Memory and the loop are made once, as they cost the most; each input begins with zeroes and nothing to do. */
static struct mem *memory;
static struct loop *the_loop;

static void ignore(void *ctx)
{
}

static const struct chipset_power_ops power_ops = { ignore, ignore };

/* ---- the wire -------------------------------------------------------------------------------------- */

static int wire_send(struct net *net, const struct net_frame *frame)
{
	struct machine *m = container_of(net, struct machine, net);
	uint32_t bytes = 0;

	if (m->takes == 0) {
		return -EAGAIN;
	}
	m->takes--;
	check(frame->iov_count >= 1 && frame->iov_count <= NET_IOV_MAX);
	check(frame->bytes >= NET_HEADER_BYTES && frame->bytes <= TULIP_FRAME_MAX);
	for (int i = 0; i < frame->iov_count; i++) {
		const uint8_t *at = frame->iov[i].iov_base;

		bytes += (uint32_t)frame->iov[i].iov_len;
		for (size_t j = 0; j < frame->iov[i].iov_len; j++) {
			m->sum += at[j];
		}
	}
	check(bytes == frame->bytes);
	return 0;
}

static int wire_send_many(struct net *net, struct net_frame *frames, unsigned int count,
			  unsigned int *ret_taken)
{
	unsigned int i = 0;

	while (i < count && !wire_send(net, &frames[i])) {
		memset((struct iovec *)(uintptr_t)frames[i].iov - 1, 0, sizeof(struct iovec));
		i++;
	}
	*ret_taken = i;
	return i < count ? -EAGAIN : 0;
}

static void wire_destroy(struct net *net)
{
}

static const struct net_ops wire_ops = {
	.kind = "wire",
	.send = wire_send,
	.send_many = wire_send_many,
	.destroy = wire_destroy,
};

/* ---- the machine ----------------------------------------------------------------------------------- */

static void make_chip(struct machine *m)
{
	struct tulip_config config = {
		.chipset = m->chipset,
		.bus = m->bus,
		.devfn = DEVFN,
		.mem = memory,
		.loop = m->loop,
		.net = &m->net,
		.mac = { 0x00, 0x15, 0x5d, 1, 2, 3 },
	};

	check(tulip_create(&config, &m->tulip) == 0);
}

static void machine_init(struct machine *m)
{
	const struct chipset_power power = { &power_ops, NULL };
	const struct mem_config config = { .bytes = MEMORY_BYTES };
	struct diag diag;

	if (!memory) {
		check(mem_create(&config, &memory, &diag) == 0);
	}
	memset(mem_hva(memory, AREA, AREA_BYTES), 0, AREA_BYTES);
	*m = (struct machine){ .takes = 1000 };
	if (!the_loop) {
		check(loop_create("fuzz", &the_loop, &diag) == 0);
	}
	m->loop = the_loop;
	check(chipset_create(&m->chipset) == 0);
	check(pci_bus_create(m->chipset, &power, &m->bus) == 0);
	net_init(&m->net, &wire_ops, m->loop);
	net_link_set(&m->net, true);
	make_chip(m);
}

static void machine_fini(struct machine *m)
{
	tulip_destroy(m->tulip);
	pci_bus_destroy(m->bus);
	chipset_destroy(m->chipset);
}

static void config_write(struct machine *m, uint32_t offset, uint32_t value)
{
	uint32_t address = 0x80000000U | (uint32_t)DEVFN << 8 | (offset & 0xfc);

	chipset_pio(m->chipset, 0xcf8, true, &address, 4, 1);
	chipset_pio(m->chipset, 0xcfc, true, &value, 4, 1);
}

static void map(struct machine *m)
{
	config_write(m, PCI_BAR_0, PORTS);
	config_write(m, PCI_BAR_0 + 4, MMIO);
	config_write(m, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void move(struct machine *m)
{
	const uint8_t *bytes;
	struct save save;
	struct load load;
	size_t length;

	tulip_pause(m->tulip);
	save_init(&save);
	tulip_save(m->tulip, &save);
	check(save_finish(&save, &bytes, &length) == 0);
	tulip_destroy(m->tulip);
	make_chip(m);
	tulip_pause(m->tulip);
	load_init(&load, bytes, length);
	check(tulip_load(m->tulip, &load) == 0);
	save_fini(&save);
	tulip_resume(m->tulip);
	m->is_paused = false;
}

/* ---- actions --------------------------------------------------------------------------------------- */

static void access_register(struct machine *m, uint8_t how, uint32_t value, bool is_write)
{
	uint32_t offset = (how & 15U) * 8 + (how & 0x40 ? 3 : 0);
	unsigned int bytes = how & 0x20 ? 1U << (value & 1) : 4;
	uint64_t data = value;

	if (how & 0x80) {
		chipset_mmio(m->chipset, MMIO + offset, is_write, &data, bytes);
	} else {
		chipset_pio(m->chipset, (uint16_t)(PORTS + offset), is_write, &data, bytes, 1);
	}
}

/* Addresses that are worth while: in the area mostly. */
static uint32_t address(uint32_t value)
{
	return value & 0x8000 ? value << 16 : AREA + value % AREA_BYTES;
}

/* A descriptor: at a place of 256, owned, its flags, its sizes. */
static void put_descriptor(struct machine *m, uint8_t at, uint8_t flags, uint32_t value)
{
	uint8_t desc[TULIP_DESC_BYTES];

	bytes_put_le32(desc, TULIP_DESC_OWN);
	bytes_put_le32(desc + 4, (uint32_t)flags << 24 | (value & 0x00ffffff));
	bytes_put_le32(desc + 8, address(value >> 8));
	bytes_put_le32(desc + 12, address(value >> 12) & ~15U);
	check(mem_write(memory, AREA + at * TULIP_DESC_BYTES, desc, sizeof(desc)) == 0);
}

static void deliver(struct machine *m, uint8_t how, uint32_t value)
{
	static uint8_t data[2048];
	uint32_t bytes = (value >> 8) % sizeof(data);
	struct iovec iov[2] = { { data, bytes / 2 }, { data + bytes / 2, bytes - bytes / 2 } };
	struct net_frame frame = { .iov = iov, .iov_count = 2, .bytes = bytes };

	memset(data, how & 1 ? 0xff : 0, NET_MAC_BYTES);
	memset(data + NET_MAC_BYTES, how, bytes > NET_MAC_BYTES ? bytes - NET_MAC_BYTES : 0);
	if (how & 2) {
		frame.flags = NET_FRAME_VLAN;
		frame.vlan_tci = (uint16_t)value;
	}
	if (net_deliver(&m->net, &frame)) {
		return; /* lost: this wire keeps nothing */
	}
	if (how & 4) {
		net_deliver_end(&m->net);
	}
}

/* What the host does. */
static void host(struct machine *m, uint8_t how, uint32_t value)
{
	switch (how % 8) {
	case 0:
		m->takes = value % 100;
		net_now_writable(&m->net);
		break;
	case 1:
		net_link_set(&m->net, value & 1);
		break;
	case 2:
		tulip_set_cable(m->tulip, value & 1);
		break;
	case 3:
		check(tulip_set_net(m->tulip, value & 1 ? &m->net : NULL) == 0);
		break;
	case 4:
		m->is_paused = !m->is_paused;
		(m->is_paused ? tulip_pause : tulip_resume)(m->tulip);
		break;
	case 5:
		move(m);
		break;
	case 6:
		tulip_reset(m->tulip);
		map(m);
		break;
	default:
		loop_turn(m->loop);
		break;
	}
}

static void act(struct machine *m, const uint8_t *action)
{
	uint8_t how = action[1];
	uint32_t value = bytes_le32(action + 4);
	uint8_t other[TULIP_SETUP_BYTES];

	switch (action[0] % 8) {
	case 0:
	case 1:
		access_register(m, how, value, true);
		break;
	case 2:
		access_register(m, how, value, false);
		break;
	case 3:
		put_descriptor(m, how, action[2], value);
		break;
	case 4: /* lists in the area */
		access_register(m, how & 1 ? 3 : 4, address(value) & ~15U, true);
		break;
	case 5:
		deliver(m, how, value);
		break;
	case 6:
		host(m, how, value);
		break;
	default:
		if (how & 0x80) {
			config_write(m, how & 0x7c, value);
			break;
		}
		memset(other, (int)value, sizeof(other));
		check(mem_write(memory, AREA + (value >> 8) % (AREA_BYTES - sizeof(other)), other,
				sizeof(other)) == 0);
		break;
	}
	loop_turn(m->loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine m;
	struct load load;
	int ignored;

	machine_init(&m);
	map(&m);
	for (size_t at = 0; at + ACTION_BYTES <= size && at / ACTION_BYTES < ACTIONS_MAX;
	     at += ACTION_BYTES) {
		act(&m, data + at);
	}
	tulip_pause(m.tulip);
	load_init(&load, data, size);
	ignored = tulip_load(m.tulip, &load);
	(void)ignored;
	tulip_resume(m.tulip);
	for (unsigned int i = 0; i < 10; i++) {
		loop_turn(m.loop);
	}
	machine_fini(&m);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * A DECchip 21140A Fast Ethernet controller with its board: serial ROM, one PHY on MII, optionally a boot ROM.
 * Stock drivers for it are in every system of the last thirty years; it is the legacy network adapter.
 *
 *     vCPU ── CSR1 (or its doorbell) ──► tx_run() ── net_send_many() ──► net
 *     vCPU ◄── INTx ◄── CSR5 ◄── descriptors, buffers ◄── deliver() ◄── net
 *
 * It is a front end of a struct net. What it declares there is a plain card: MTU 1500, no large segments, no
 * checksums of its own; so its back end cuts and finishes what it delivers. Sent frames are handed on where
 * they lie in guest memory, received ones copied into the guest's buffers once.
 *
 * A guest that gives no receive buffers keeps its back end waiting for TULIP_RX_HOLD_NS, which stands for
 * the FIFO of the chip; after that, frames are missed (CSR8) until there is a buffer again.
 *
 *   owner   vm, one per emulated adapter; before the bus, loop and net die
 *   thread  the loop's, or any while that loop does not run or is paused here; vCPUs under the chipset lock
 *   spec    proto/tulip.h; docs/tulip.md
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "chipset/pci.h"
#include "dev/window.h"
#include "loop/loop.h"
#include "mem/mem.h"
#include "net/net.h"

#define TULIP_RX_HOLD_NS    10000000ULL
#define TULIP_MTU           1500U
/* A wire's longest frame without its check sequence, and with a VLAN's tag; longer ones are lost. */
#define TULIP_FRAME_MAX     (TULIP_MTU + NET_HEADER_BYTES + 4U)
#define TULIP_ROM_BYTES_MAX (256U << 10)

struct tulip;

/* All pointers are borrowed until tulip_destroy(). */
struct tulip_config {
	struct chipset *chipset;
	struct pci_bus *bus;
	uint8_t devfn;
	const struct mem *mem;
	struct loop *loop; /* net's */
	struct net *net;   /* NULL: none yet, the cable is out */
	uint8_t mac[NET_MAC_BYTES];
	struct doorbells doorbells;
	/* The boot ROM's image; NULL: none. A power of two of bytes, 2 KiB to TULIP_ROM_BYTES_MAX. */
	const uint8_t *rom;
	uint32_t rom_bytes;
};

/* 0; -EINVAL (ROM's size), -EEXIST (devfn), -EBUSY (net has a front end), -ENOMEM, an errno of eventfd(2). */
MUST_CHECK int tulip_create(const struct tulip_config *config, struct tulip **ret);

/* NULL is fine. The net is detached, the function leaves the bus: also while the guest runs (unplugging). */
void tulip_destroy(struct tulip *tulip);

/*
 * Gives it another net, or with NULL takes its own away: it is not called again, and not borrowed any more.
 * Frames that the guest sends without one are lost, and its PHY sees no link. 0, or -EBUSY (with no net
 * then). The loop's thread.
 */
MUST_CHECK int tulip_set_net(struct tulip *tulip, struct net *net);
/* NULL: none. */
struct net *tulip_net(const struct tulip *tulip);

/* The cable: what the guest sees as link is this and the net's own. In when created. The loop's thread. */
void tulip_set_cable(struct tulip *tulip, bool is_in);
bool tulip_link_is_up(const struct tulip *tulip);

/* While paused it touches no guest memory, and its net keeps the frames. The loop's thread. */
void tulip_pause(struct tulip *tulip);
void tulip_resume(struct tulip *tulip);

/* While the vCPUs are out and it is paused (or its loop does not run). */
void tulip_reset(struct tulip *tulip);
void tulip_save(struct tulip *tulip, struct save *save);
MUST_CHECK int tulip_load(struct tulip *tulip, struct load *load);

/* Any thread. */
void tulip_inspect(struct tulip *tulip, struct inspect *at);

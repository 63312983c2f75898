/* SPDX-License-Identifier: MIT */
/*
 * The chipset: emulated devices behind ports and MMIO, and the dispatch of a vCPU's accesses to
 * them. No device of speed lives here; what Linux' boot touches often is answered in few exits.
 *
 *     vCPU thread ── chipset_pio() ────► [chipset lock] ──► region's ops ──► irq_line_set()
 *     loop thread ── timers, input ────► [chipset lock] ──► device       ──► irq_line_set()
 *
 * One lock, the chipset lock, protects every device of this directory. Devices take it themselves
 * where they are called from a loop; handlers are called with it held. Nothing waits under it. Under
 * it may be taken: the lock of a serial back end, the partition's interrupt lines.
 *
 *   owner   vm; devices are destroyed before it
 *   thread  see each function
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "dev/inspect.h"
#include "dev/pio.h"

#define CHIPSET_REGIONS_MAX 96

struct chipset;

MUST_CHECK int chipset_create(struct chipset **ret);

/* NULL is fine. No vCPU may run any more. */
void chipset_destroy(struct chipset *chipset);

/*
 * Adds a range of ports or of guest physical addresses; *region is copied. Before the first vCPU
 * runs. -EEXIST when it overlaps another, -ENOSPC beyond CHIPSET_REGIONS_MAX.
 */
MUST_CHECK int chipset_pio_add(struct chipset *chipset, const struct io_region *region);
MUST_CHECK int chipset_mmio_add(struct chipset *chipset, const struct io_region *region);

/*
 * With the chipset lock held, also from a region's own ops: a region that the guest moves (a PCI base
 * address). The same errors. Unmap: the region that begins at base; nothing when there is none.
 */
MUST_CHECK int chipset_map(struct chipset *chipset, bool is_port, const struct io_region *region);
void chipset_unmap(struct chipset *chipset, bool is_port, uint64_t base);

/* Takes away all regions of this ctx: the first thing that a device's destroy does. */
void chipset_remove(struct chipset *chipset, const void *ctx);

/*
 * vCPU threads: an access to a port, `count` times in a row (string instructions), each of `bytes`
 * (1, 2, 4) at data, little-endian. False when nobody answers: then a read gives all ones. An
 * access that crosses the end of its region is answered by nobody.
 */
bool chipset_pio(struct chipset *chipset, uint16_t port, bool is_write, void *data,
		 unsigned int bytes, unsigned int count);

/* vCPU threads: 1, 2, 4 or 8 bytes at gpa, likewise. */
bool chipset_mmio(struct chipset *chipset, uint64_t gpa, bool is_write, void *data,
		  unsigned int bytes);

/* For the devices: the chipset lock. */
void chipset_lock(struct chipset *chipset);
void chipset_unlock(struct chipset *chipset);

/* Accesses answered and not, per region. Any thread. */
void chipset_inspect(struct chipset *chipset, struct inspect *at);

/*
 * What the guest does to the machine. Called on a vCPU thread with the chipset lock held: note it,
 * wake the control loop, return.
 */
struct chipset_power_ops {
	void (*on_poweroff)(void *ctx); /* S5 */
	void (*on_reset)(void *ctx);
};

struct chipset_power {
	const struct chipset_power_ops *ops;
	void *ctx;
};

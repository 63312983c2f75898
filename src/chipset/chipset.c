/* SPDX-License-Identifier: MIT */
#include "chipset/chipset.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/num.h"

struct region {
	struct io_region io;
	uint64_t reads, writes;
};

/* Ports, or MMIO: sorted by base, never overlapping. */
struct space {
	struct region regions[CHIPSET_REGIONS_MAX];
	size_t count;
	size_t last;      /* the region of the last hit: accesses come in bursts */
	uint64_t changes; /* of the table: a handler may move regions */
	uint64_t unclaimed;
};

struct chipset {
	pthread_mutex_t lock; /* protects all below, and every device of this directory */
	struct space ports;
	struct space mmio;
};

int chipset_create(struct chipset **ret)
{
	struct chipset *chipset = fault_alloc(1, sizeof(*chipset));

	if (!chipset) {
		return -ENOMEM;
	}
	pthread_mutex_init(&chipset->lock, NULL);
	*ret = chipset;
	return 0;
}

void chipset_destroy(struct chipset *chipset)
{
	if (!chipset) {
		return;
	}
	pthread_mutex_destroy(&chipset->lock);
	free(chipset);
}

void chipset_lock(struct chipset *chipset)
{
	pthread_mutex_lock(&chipset->lock);
}

void chipset_unlock(struct chipset *chipset)
{
	pthread_mutex_unlock(&chipset->lock);
}

static int space_add(struct space *space, const struct io_region *io)
{
	size_t at = 0;

	check(io->bytes > 0 && io->ops);
	if (space->count == CHIPSET_REGIONS_MAX) {
		return -ENOSPC;
	}
	while (at < space->count && space->regions[at].io.base < io->base) {
		at++;
	}
	if (at > 0) {
		const struct io_region *below = &space->regions[at - 1].io;

		if (io->base - below->base < below->bytes) {
			return -EEXIST;
		}
	}
	if (at < space->count && space->regions[at].io.base - io->base < io->bytes) {
		return -EEXIST;
	}
	memmove(&space->regions[at + 1], &space->regions[at],
		(space->count - at) * sizeof(space->regions[0]));
	space->regions[at] = (struct region){ .io = *io };
	space->count++;
	space->changes++;
	return 0;
}

static int chipset_add(struct chipset *chipset, struct space *space, const struct io_region *io)
{
	int err;

	chipset_lock(chipset);
	err = space_add(space, io);
	chipset_unlock(chipset);
	return err;
}

int chipset_pio_add(struct chipset *chipset, const struct io_region *region)
{
	return chipset_add(chipset, &chipset->ports, region);
}

int chipset_mmio_add(struct chipset *chipset, const struct io_region *region)
{
	return chipset_add(chipset, &chipset->mmio, region);
}

int chipset_map(struct chipset *chipset, bool is_port, const struct io_region *region)
{
	return space_add(is_port ? &chipset->ports : &chipset->mmio, region);
}

void chipset_unmap(struct chipset *chipset, bool is_port, uint64_t base)
{
	struct space *space = is_port ? &chipset->ports : &chipset->mmio;

	for (size_t i = 0; i < space->count; i++) {
		if (space->regions[i].io.base == base) {
			space->count--;
			memmove(&space->regions[i], &space->regions[i + 1],
				(space->count - i) * sizeof(space->regions[0]));
			space->changes++;
			return;
		}
	}
}

static void space_remove(struct space *space, const void *ctx)
{
	size_t kept = 0;

	for (size_t i = 0; i < space->count; i++) {
		if (space->regions[i].io.ctx != ctx) {
			space->regions[kept++] = space->regions[i];
		}
	}
	space->count = kept;
	space->changes++;
}

void chipset_remove(struct chipset *chipset, const void *ctx)
{
	chipset_lock(chipset);
	space_remove(&chipset->ports, ctx);
	space_remove(&chipset->mmio, ctx);
	chipset_unlock(chipset);
}

static bool region_holds(const struct region *region, uint64_t at, unsigned int bytes)
{
	return at >= region->io.base &&
	       num_range_fits(at - region->io.base, bytes, region->io.bytes);
}

/* The region that answers this access, or NULL. */
static struct region *space_find(struct space *space, uint64_t at, unsigned int bytes)
{
	size_t low = 0, high = space->count;

	if (space->last < space->count && region_holds(&space->regions[space->last], at, bytes)) {
		return &space->regions[space->last];
	}
	while (low < high) { /* the first region that begins above `at` */
		size_t middle = low + (high - low) / 2;

		if (space->regions[middle].io.base <= at) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	if (low == 0 || !region_holds(&space->regions[low - 1], at, bytes)) {
		space->unclaimed++;
		return NULL;
	}
	space->last = low - 1;
	return &space->regions[low - 1];
}

static void region_read(struct region *region, uint64_t at, void *ret_data, unsigned int bytes)
{
	uint64_t value;

	region->reads++;
	value = region->io.ops->read(region->io.ctx, at - region->io.base, bytes);
	memcpy(ret_data, &value, bytes); /* x86: little-endian, as the guest */
}

static void region_write(struct region *region, uint64_t at, const void *data, unsigned int bytes)
{
	uint64_t value = 0;

	region->writes++;
	memcpy(&value, data, bytes);
	region->io.ops->write(region->io.ctx, at - region->io.base, value, bytes);
}

static bool space_access(struct space *space, uint64_t at, bool is_write, uint8_t *data,
			 unsigned int bytes, unsigned int count)
{
	struct region *region = space_find(space, at, bytes);
	uint64_t changes = space->changes;

	for (unsigned int i = 0; i < count; i++) {
		if (space->changes != changes) { /* the one before has moved it */
			changes = space->changes;
			region = space_find(space, at, bytes);
		}
		if (!region) {
			if (!is_write) {
				memset(data + (size_t)i * bytes, 0xff, (size_t)bytes * (count - i));
			}
			return false;
		}
		if (is_write) {
			region_write(region, at, data + (size_t)i * bytes, bytes);
		} else {
			region_read(region, at, data + (size_t)i * bytes, bytes);
		}
	}
	return true;
}

bool chipset_pio(struct chipset *chipset, uint16_t port, bool is_write, void *data,
		 unsigned int bytes, unsigned int count)
{
	bool answered;

	check(bytes == 1 || bytes == 2 || bytes == 4);
	chipset_lock(chipset);
	answered = space_access(&chipset->ports, port, is_write, data, bytes, count);
	chipset_unlock(chipset);
	return answered;
}

bool chipset_mmio(struct chipset *chipset, uint64_t gpa, bool is_write, void *data,
		  unsigned int bytes)
{
	bool answered;

	check(bytes > 0 && bytes <= 8);
	chipset_lock(chipset);
	answered = space_access(&chipset->mmio, gpa, is_write, data, bytes, 1);
	chipset_unlock(chipset);
	return answered;
}

static void space_inspect(const struct space *space, const char *name, struct inspect *at)
{
	for (size_t i = 0; i < space->count; i++) {
		const struct region *region = &space->regions[i];
		struct inspect item = inspect_item(at, name);

		inspect_string(&item, "name", region->io.name);
		inspect_format(&item, "base", "0x%llx", (unsigned long long)region->io.base);
		inspect_u64(&item, "reads", region->reads);
		inspect_u64(&item, "writes", region->writes);
	}
}

void chipset_inspect(struct chipset *chipset, struct inspect *at)
{
	chipset_lock(chipset);
	space_inspect(&chipset->ports, "ports", at);
	space_inspect(&chipset->mmio, "mmio", at);
	inspect_u64(at, "unclaimed_ports", chipset->ports.unclaimed);
	inspect_u64(at, "unclaimed_mmio", chipset->mmio.unclaimed);
	chipset_unlock(chipset);
}

/* SPDX-License-Identifier: MIT */
/*
 * Ports and MMIO that a device answers, and the interrupt lines that it pulls: what a chipset device
 * sees of the machine.
 *
 *   thread  handlers run on vCPU threads, one at a time per dispatcher (the chipset lock); they
 *           never wait
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Accesses of 1, 2 or 4 bytes (MMIO also 8), offset relative to the region. */
struct io_region_ops {
	uint64_t (*read)(void *ctx, uint64_t offset, unsigned int bytes);
	void (*write)(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes);
};

struct io_region {
	const struct io_region_ops *ops;
	void *ctx;
	uint64_t base; /* port number or gpa */
	uint64_t bytes;
	const char *name;
};

/* A level of an interrupt line (GSI); implemented by the partition. Any thread. */
struct irq_line {
	void (*set)(void *ctx, uint32_t gsi, bool level);
	void *ctx;
	uint32_t gsi;
};

static inline void irq_line_set(const struct irq_line *line, bool level)
{
	if (line->set) {
		line->set(line->ctx, line->gsi, level);
	}
}

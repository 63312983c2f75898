/* SPDX-License-Identifier: MIT */
/*
 * The ports of the enhanced commands (the 2D engine). They answer when CR40 says so: registers keep what is
 * written, the engine is idle with an empty queue, and commands do nothing but count. s3fb draws by the
 * processor and never uses them (docs/s3.md).
 */
#include "chipset/s3/s3_internal.h"

#include "base/num.h"

#define PORTS_EACH 4U
#define PORT_STEP  0x400U

static uint32_t what_is_read(const struct s3_engine_port *port)
{
	switch (port->port) {
	case S3_ENGINE_STATUS_PORT:
		return S3_ENGINE_STATUS_8BPP | S3_ENGINE_STATUS_EMPTY;
	case S3_ENGINE_COMMAND_PORT:
		return S3_ENGINE_IDLE;
	default:
		return port->value;
	}
}

static uint64_t engine_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	return what_is_read(ctx) >> 8 * offset;
}

static void engine_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct s3_engine_port *port = ctx;
	uint32_t mask = (bytes == 4 ? ~0U : (1U << 8 * bytes) - 1) << 8 * offset;

	port->value = (port->value & ~mask) | ((uint32_t)value << 8 * offset & mask);
	port->s3->engine_commands += port->port == S3_ENGINE_COMMAND_PORT;
}

void s3_engine_init(struct s3 *s3)
{
	for (uint32_t i = 0; i < S3_ENGINE_PORTS; i++) {
		struct s3_engine_port *port = &s3->engine[i];
		uint32_t first = S3_ENGINE_FIRST_PORT + (i - 2) * PORT_STEP;

		port->s3 = s3;
		port->port = (uint16_t)(i == 0   ? S3_ENGINE_STATUS_PORT
					: i == 1 ? S3_ENGINE_CONTROL_PORT
						 : first);
	}
	s3->engine[S3_ENGINE_PORTS - 1].port = S3_ENGINE_PIXEL_PORT;
}

static void engine_map(struct s3 *s3, struct s3_engine_port *port)
{
	static const struct io_region_ops ops = { engine_read, engine_write };
	const struct io_region region = { &ops, port, port->port, PORTS_EACH, "s3 engine" };

	if (chipset_map(s3->chipset, true, &region)) {
		s3->conflicts++; /* a BAR is there, or the table is full: nobody answers for us */
	} else {
		port->is_mapped = true;
	}
}

void s3_engine_decode(struct s3 *s3)
{
	bool is_on = s3->has_ports && (s3->regs.crtc[S3_CR_SYSTEM] & S3_CR40_ENGINE);

	for (uint32_t i = 0; i < S3_ENGINE_PORTS; i++) {
		struct s3_engine_port *port = &s3->engine[i];

		if (is_on && !port->is_mapped) {
			engine_map(s3, port);
		} else if (!is_on && port->is_mapped) {
			chipset_unmap(s3->chipset, true, port->port);
			port->is_mapped = false;
		}
	}
}

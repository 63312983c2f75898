/* SPDX-License-Identifier: MIT */
#include "chipset/debugport.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "proto/board.h"

#define IS_THERE   0xe9U
#define LINE_BYTES 200U

struct debugport {
	struct chipset *chipset; /* borrowed */
	char line[LINE_BYTES + 1], last[LINE_BYTES + 1];
	size_t length;
	uint64_t since_power_on, bytes;
};

static void end_line(struct debugport *port)
{
	port->line[port->length] = '\0';
	port->length = 0;
	memcpy(port->last, port->line, sizeof(port->last));
	if (port->since_power_on <= DEBUGPORT_BYTES_MAX) {
		log_info("firmware", "%s", port->line);
	}
}

static uint64_t port_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	return IS_THERE;
}

static void port_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	struct debugport *port = ctx;
	char c = (char)(value & 0xff);

	port->bytes++;
	port->since_power_on++;
	if (c == '\n') {
		end_line(port);
		return;
	}
	if (c == '\r') {
		return;
	}
	/* It goes to people's terminals. */
	port->line[port->length++] = (c >= ' ' && c <= '~') || c == '\t' ? c : '?';
	if (port->length == LINE_BYTES) {
		end_line(port);
	}
}

int debugport_create(struct chipset *chipset, struct debugport **ret)
{
	static const struct io_region_ops ops = { port_read, port_write };
	struct debugport *port = fault_alloc(1, sizeof(*port));
	int err;

	if (!port) {
		return -ENOMEM;
	}
	port->chipset = chipset;
	err = chipset_pio_add(chipset,
			      &(struct io_region){ &ops, port, BOARD_DEBUG_PORT, 1, "debug port" });
	if (err) {
		free(port);
		return err;
	}
	*ret = port;
	return 0;
}

void debugport_destroy(struct debugport *port)
{
	if (port) {
		chipset_remove(port->chipset, port);
	}
	free(port);
}

void debugport_reset(struct debugport *port)
{
	chipset_lock(port->chipset);
	port->length = 0;
	port->since_power_on = 0;
	chipset_unlock(port->chipset);
}

void debugport_inspect(struct debugport *port, struct inspect *at)
{
	chipset_lock(port->chipset);
	inspect_u64(at, "bytes", port->bytes);
	inspect_string(at, "last_line", port->last);
	chipset_unlock(port->chipset);
}

/* SPDX-License-Identifier: MIT */
/*
 * The table of GPADLs of a partition: how they come (HEADER, BODY…) and go.
 *
 *   owner   the bus   thread  the control loop, but gpadl_table_get() and gpadl_put(): any
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "loop/loop.h"
#include "mem/mem.h"
#include "state/load.h"
#include "state/save.h"
#include "vmbus/gpadl.h"

struct gpadl_table;

/* Told, on the control loop, when a GPADL that was torn down has no user left. */
typedef void gpadl_gone_fn(void *ctx, uint32_t id);

MUST_CHECK int gpadl_table_create(const struct mem *mem, struct loop *control_loop,
				  gpadl_gone_fn *gone, void *ctx, struct gpadl_table **ret);

/* No reference may be out. */
void gpadl_table_destroy(struct gpadl_table *table);

/*
 * Begins a GPADL: one range, whose first part is in bytes. Its own length rules: the message's
 * field for all ranges has 16 bits, which large buffers overflow. 1 when it is complete, 0 when more
 * must come; -EEXIST, -ENOSPC (limits), -ENOMEM, -EBADMSG (layout), -EFAULT (no RAM).
 */
MUST_CHECK int gpadl_table_begin(struct gpadl_table *table, uint32_t relid, uint32_t id,
				 uint32_t range_count, const uint8_t *bytes, uint32_t length);

/* The next piece; the same results, and -ENOENT. *ret_relid: who began it. */
MUST_CHECK int gpadl_table_append(struct gpadl_table *table, uint32_t id, const uint8_t *bytes,
				  uint32_t length, uint32_t *ret_relid);

/* gone() follows, perhaps at once. 0, or -ENOENT. */
MUST_CHECK int gpadl_table_teardown(struct gpadl_table *table, uint32_t id);

/* The connection is over: all are torn down, and nobody is told. */
void gpadl_table_clear(struct gpadl_table *table);

/* A complete GPADL with a reference for the caller. 0 or -ENOENT. Any thread. */
MUST_CHECK int gpadl_table_get(struct gpadl_table *table, uint32_t relid, uint32_t id,
			       struct gpadl **ret);

/* The channel of one that lives, complete or not; 0: there is none. Control loop. */
uint32_t gpadl_table_relid(struct gpadl_table *table, uint32_t id);

/* Calls fn for each complete one of this channel's. Control loop. */
typedef void gpadl_each_fn(void *ctx, const struct gpadl *gpadl);
void gpadl_table_each(struct gpadl_table *table, uint32_t relid, gpadl_each_fn *fn, void *ctx);

uint32_t gpadl_table_count(const struct gpadl_table *table);

void gpadl_table_save(struct gpadl_table *table, struct save *save);
MUST_CHECK int gpadl_table_load(struct gpadl_table *table, struct load *load);

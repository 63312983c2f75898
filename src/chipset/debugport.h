/* SPDX-License-Identifier: MIT */
/*
 * The port that firmware writes its debug output to, a character at a time: lines of it go to our log,
 * as "firmware", at level info. It reads as 0xe9, which is how firmware finds out that it is there.
 *
 * A guest can write for ever: after DEBUGPORT_BYTES_MAX since power-on the rest is only counted.
 *
 *   owner   vm    thread  vCPU threads under the chipset lock
 *   spec    Bochs' port 0xe9, at 0x402 as in SeaBIOS' src/hw/serialio.c
 */
#pragma once

#include "chipset/chipset.h"

#define DEBUGPORT_BYTES_MAX 0x20000U

struct debugport;

/* 0, -ENOMEM or chipset_pio_add's. */
MUST_CHECK int debugport_create(struct chipset *chipset, struct debugport **ret);
void debugport_destroy(struct debugport *port);

/* Any thread, while the vCPUs are out. It has no state worth saving. */
void debugport_reset(struct debugport *port);

/* Any thread: characters, and the last whole line. */
void debugport_inspect(struct debugport *port, struct inspect *at);

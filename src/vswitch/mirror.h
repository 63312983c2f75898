/* SPDX-License-Identifier: MIT */
/*
 * Port mirroring: sessions that copy what some ports send, or get, or both, to one other port.
 * Compiled to the set of targets of each port and direction.
 *
 * A copy is not mirrored again. A frame between two sources of one session comes twice, as on
 * Hyper-V.
 *
 *   owner   the policy; immutable once compiled   thread  any
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "vswitch/frame.h"

#define MIRROR_SESSIONS_MAX 16U

/* mirror_session.directions */
enum { MIRROR_IN = 1U << 0 /* what the sources send */, MIRROR_OUT = 1U << 1 /* what they get */ };

struct mirror_session {
	port_set sources;
	uint8_t directions; /* MIRROR_*, at least one */
	uint16_t target;
};

struct mirror {
	port_set mirrored[2];                   /* [is_egress]: ports with any target */
	port_set targets[2][VSWITCH_PORTS_MAX]; /* [is_egress][port] */
};

/*
 * 0, or -EINVAL with diag: more than MIRROR_SESSIONS_MAX, no sources, no direction, no such
 * target, a target that is a source of its session. *ret is whole on 0.
 */
MUST_CHECK int mirror_compile(const struct mirror_session *sessions, unsigned int count,
			      struct mirror *ret, struct diag *diag);

/* Where copies of this port's frames go; NULL: nowhere. */
static inline const port_set *mirror_targets(const struct mirror *mirror, uint16_t port,
					     bool is_egress)
{
	return port_set_has(&mirror->mirrored[is_egress], port) ? &mirror->targets[is_egress][port]
								: NULL;
}

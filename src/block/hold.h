/* SPDX-License-Identifier: MIT */
/*
 * A layer that keeps requests which the back end failed, so that nobody above hears of trouble that
 * passes: a full disk, a network that is away.
 *
 *                  submit                  done, no error or one that stays
 *   user ─────────► below ───────────────────────────────────────────────────► user
 *                     ▲  │ an error that may pass
 *       retry, timer  │  ▼
 *                    held ──────────────────────────────────────────────────► user
 *                                    give up: -ECANCELED
 *
 * What goes below has iovecs of its own, made anew for each try, so that a failed try may have left
 * anything in its own. Retry and give up at one end reach all ends of the disk.
 *
 * A flush that failed through the page cache is not held: the host forgets what it could not write, and
 * another try would only seem to succeed. See raw.c.
 */
#pragma once

#include "block/block.h"

/* Takes lower, also on failure. on_error is BLOCK_STOP or BLOCK_RETRY; on_stop of config is used. */
MUST_CHECK int block_hold_create(const struct block_config *config, struct block *lower_take,
				 struct block **ret, struct diag *reterr);

/* SPDX-License-Identifier: MIT */
/*
 * The layer that makes requests wait until every policy of their disk lets them pass. Nothing below it
 * waits: it is the topmost.
 */
#pragma once

#include "block/block.h"

#define BLOCK_QOS_MAX 4 /* policies of one disk */

/* Takes lower, also on failure. qos and qos_count of config are used. */
MUST_CHECK int block_qos_create(const struct block_config *config, struct block *lower_take,
				struct block **ret, struct diag *reterr);

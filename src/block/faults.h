/* SPDX-License-Identifier: MIT */
/*
 * Faults by composition, as users write them (--disk …,fault=TEXT): layers over a disk, from the lowest
 * to the topmost, separated by '+'.
 *
 *   delay:TIME[:OP]           each request (of this kind) takes TIME longer: 500us, 20ms, 1s
 *   fail:OP[:every=N|:nth=N|:at=OFFSET][:ERRNO]
 *                             each, every N-th, only the N-th, or each that touches this byte fails
 *                             (EIO, or the ERRNO of that name)
 *   log:FILE                  a line for each request, see block_log_create(); no '+' in FILE
 *
 * OP is read, write, flush, discard, zeroes or all. OFFSET may end in K, M, G or T.
 */
#pragma once

#include "base/check.h"
#include "base/diag.h"
#include "block/block.h"

#define BLOCK_FAULTS_MAX        8 /* layers in one text */
#define BLOCK_FAULT_BYTES_MAX   4352U
#define BLOCK_FAULT_DELAY_MAX_S 3600U

/* Is the text right? Nothing is opened. 0 or -EINVAL with a sentence. */
MUST_CHECK int block_faults_check(const char *text, struct diag *reterr);

/* Puts the layers of text on lower (which is closed on failure, too). "" or NULL: lower itself. */
MUST_CHECK int block_faults_create(const char *text, struct block *lower_take, struct block **ret,
				   struct diag *reterr);

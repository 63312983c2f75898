/* SPDX-License-Identifier: MIT */
/*
 * Pictures as PNG files, by libpng.
 *
 *   thread  any; writing waits for the disk: not on a vCPU's thread, nor under a lock
 *   spec    Portable Network Graphics, ISO/IEC 15948
 */
#pragma once

#include "base/check.h"
#include "base/diag.h"
#include "console/picture.h"

/*
 * Writes the picture to a file, which appears whole or not at all (path.part is renamed). 0; -EINVAL: an
 * empty picture; -EIO, -ENAMETOOLONG or another errno, with a sentence in *reterr.
 */
MUST_CHECK int png_save(const struct picture *picture, const char *path, struct diag *reterr);

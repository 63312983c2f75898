/* SPDX-License-Identifier: MIT */
/*
 * How a guest of the legacy board sees a disk or an adapter: as the chip that everybody has a driver for, until
 * a driver of ours takes it over (auto); or as one of the two for good.
 */
#pragma once

#include "base/check.h"
#include "base/diag.h"

enum vm_face { VM_FACE_AUTO, VM_FACE_EMULATED, VM_FACE_SYNTHETIC };

/* The value of the word "face", in disk_config.c. 0, or -EINVAL with a sentence that begins with option. */
MUST_CHECK int vm_face_set(enum vm_face *at, const char *option, const char *value,
			   struct diag *reterr);

/* SPDX-License-Identifier: MIT */
#include "block/vhdx_internal.h"

const struct image_ops vhdx_image_ops = {
	.create = vhdx_create,
	.check = vhdx_check,
	.compact = vhdx_compact,
};

/* SPDX-License-Identifier: MIT */
/*
 * A picture: what a screen shows, 32 bits for each pixel (0x00RRGGBB in the machine's order), line after
 * line without gaps.
 *
 *   owner   whoever made it: picture_fini()
 *   thread  the owner's
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>

#define PICTURE_WIDTH_MAX  2048U
#define PICTURE_HEIGHT_MAX 2048U

struct picture {
	uint32_t width, height; /* pixels; 0: none yet */
	uint32_t *pixels;       /* width * height */
};

static inline uint32_t *picture_line(const struct picture *picture, uint32_t y)
{
	return picture->pixels + (uint64_t)y * picture->width;
}

static inline void picture_fini(struct picture *picture)
{
	free(picture->pixels);
	*picture = (struct picture){ 0 };
}

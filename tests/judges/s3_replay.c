/* SPDX-License-Identifier: MIT */
/*
 * s3_replay TRACE PPM [windows]: what a BIOS did to QEMU's VGA, done to ours. TRACE is QEMU's log of
 * memory_region_ops_read and _write; each read must give what it gave there (but the status with its retraces), and
 * our picture must be QEMU's, PPM, in the six bits that a DAC has: how they become eight is each one's affair.
 */
#include "unit/chipset/s3_rig.h"

#define DIFFERENT_MAX 10U

static uint8_t *ppm_read(const char *path, uint32_t *ret_width, uint32_t *ret_height)
{
	FILE *file = fopen(path, "rb");
	unsigned int width, height;
	uint8_t *bytes;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "P6 %u %u 255", &width, &height), 2);
	assert_true(width <= PICTURE_WIDTH_MAX && height <= PICTURE_HEIGHT_MAX);
	fgetc(file);
	bytes = malloc(3ULL * width * height);
	assert_non_null(bytes);
	assert_int_equal(fread(bytes, 3, (size_t)width * height, file), (size_t)width * height);
	fclose(file);
	*ret_width = width;
	*ret_height = height;
	return bytes;
}

/* One access; whether a read gave the same. */
static bool replay(struct s3_rig *g, bool is_write, uint64_t at, uint64_t value, unsigned int bytes)
{
	bool is_memory = at >= VGA_MEMORY_GPA;
	uint64_t got = 0;

	if (is_write && is_memory) {
		s3_store(g, at, value, bytes);
	} else if (is_write) {
		chipset_pio(g->p.rig.chipset, (uint16_t)at, true, &value, bytes, 1);
	} else if (is_memory) {
		got = s3_fetch(g, at, bytes);
	} else {
		chipset_pio(g->p.rig.chipset, (uint16_t)at, false, &got, bytes, 1);
	}
	return is_write || got == value || at == VGA_PORT_STATUS_1;
}

static unsigned long replay_all(struct s3_rig *g, const char *path, unsigned long *ret_different)
{
	FILE *file = fopen(path, "r");
	unsigned long count = 0;
	char line[512], name[64], what[16];
	unsigned long long at, value;
	unsigned int bytes;

	assert_non_null(file);
	*ret_different = 0;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line,
			   "memory_region_ops_%15s cpu %*d mr %*s addr 0x%llx value 0x%llx size %u "
			   "name '%63[^']'",
			   what, &at, &value, &bytes, name) != 5 ||
		    (strcmp(name, "vga") != 0 && strcmp(name, "vga-lowmem") != 0)) {
			continue;
		}
		count++;
		if (!replay(g, what[0] == 'w', at, value, bytes) &&
		    ++*ret_different <= DIFFERENT_MAX) {
			printf("access %lu: 0x%llx, %u bytes, is not 0x%llx\n", count, at, bytes,
			       value);
		}
	}
	fclose(file);
	return count;
}

static unsigned long compare(struct s3_rig *g, uint64_t frame, const uint8_t *ppm, uint32_t width,
			     uint32_t height)
{
	const struct picture *picture = s3_picture(g, frame, NULL);
	unsigned long different = 0;

	assert_int_equal(picture->width, width);
	assert_int_equal(picture->height, height);
	for (uint32_t i = 0; i < width * height; i++) {
		uint32_t pixel = (uint32_t)ppm[3 * i] << 16 | ppm[3 * i + 1] << 8 | ppm[3 * i + 2];

		different += ((pixel ^ picture->pixels[i]) & 0xfcfcfc) != 0;
	}
	return different;
}

int main(int argc, char **argv)
{
	unsigned long count, reads, pixels;
	static struct s3_rig g;
	uint32_t width, height;
	uint8_t *ppm;

	if (argc < 3) {
		fputs("usage: s3_replay TRACE PPM [windows]\n", stderr);
		return 1;
	}
	s3_rig_init(&g, argc > 3);
	count = replay_all(&g, argv[1], &reads);
	ppm = ppm_read(argv[2], &width, &height);
	pixels = compare(&g, 0, ppm, width, height);
	if (pixels) { /* QEMU's cursor may be away at this moment */
		pixels = compare(&g, S3_BLINK_CURSOR_FRAMES / 2, ppm, width, height);
	}
	printf("%lu accesses, %lu reads and %lu pixels of %ux%u differ\n", count, reads, pixels,
	       width, height);
	free(ppm);
	s3_rig_fini(&g);
	return count < 1000 || reads || pixels;
}

/* SPDX-License-Identifier: MIT */
/*
 * Stands in for libFuzzer's main where there is no libFuzzer: runs a target once on each file, and
 * on each file of each directory, that it is given. Exit 0 when all ran; whatever is wrong shows as
 * a crash, in sanitized builds as a report.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REPLAY_BYTES_MAX (1U << 20)

static int run_file(const char *path)
{
	auto_free uint8_t *buf = malloc(REPLAY_BYTES_MAX);
	FILE *file = fopen(path, "rb");
	size_t length;

	if (!file || !buf) {
		fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
		return 1;
	}
	length = fread(buf, 1, REPLAY_BYTES_MAX, file);
	fclose(file);

	/* A block of exactly this size, so that a sanitizer sees a read past its end. */
	auto_free uint8_t *input = malloc(length ? length : 1);

	if (!input) {
		return 1;
	}
	memcpy(input, buf, length);
	LLVMFuzzerTestOneInput(input, length);
	return 0;
}

static int run_directory(const char *path, unsigned int *count)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	int failed = 0;

	if (!dir) {
		fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
		return 1;
	}
	while ((entry = readdir(dir)) != NULL) {
		char name[4096];

		if (entry->d_name[0] == '.') {
			continue;
		}
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		failed |= run_file(name);
		(*count)++;
	}
	closedir(dir);
	return failed;
}

int main(int argc, char **argv)
{
	unsigned int count = 0;
	int failed = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode)) {
			failed |= run_directory(argv[i], &count);
		} else {
			failed |= run_file(argv[i]);
			count++;
		}
	}
	if (count == 0) {
		fprintf(stderr, "replay: no inputs\n");
		failed = 1;
	}
	printf("%u inputs\n", count);
	return failed;
}

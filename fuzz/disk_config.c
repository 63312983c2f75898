/* SPDX-License-Identifier: MIT */
/*
 * The words of --disk, --dvd and --policy, as text; nothing is opened. Input: a letter that says which
 * (d, v, p), then the text, up to a line's end; more lines add to the same configuration. What is
 * accepted is copied, and the copy must be as acceptable.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/num.h"
#include "vm/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_BYTES 8192

static void check_disk(const struct vm_disk_config *disk)
{
	struct vm_disk_config copy;
	struct diag diag;

	check(strlen(disk->id) < VM_DISK_ID_BYTES && strlen(disk->policy) < VM_DISK_ID_BYTES);
	check(disk->controller < VM_CONTROLLERS_MAX);
	check(disk->lun >= -1 && disk->lun < VM_CONTROLLER_LUNS_MAX);
	check(!disk->is_dvd || disk->read_only);
	check(disk->path || disk->is_dvd || disk->kind == BLOCK_NULL);
	check(vm_disk_config_copy(disk, &copy) == 0);
	check(vm_disk_config_finish(&copy, "again", &diag) == 0);
	check(!disk->path == !copy.path && (!copy.path || strcmp(disk->path, copy.path) == 0));
	vm_disk_config_fini(&copy);
}

static void add(struct vm_config *config, char which, const char *text)
{
	struct diag diag = { .text = "" };
	int err = which == 'p'   ? vm_config_add_policy(config, text, &diag)
		  : which == 'v' ? vm_config_add_dvd(config, text, &diag)
				 : vm_config_add_disk(config, text, &diag);

	check(err == 0 || (err == -EINVAL && diag.text[0]));
	if (err == 0 && which != 'p') {
		check_disk(&config->disks[config->disk_count - 1]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vm_config config;
	static char text[TEXT_BYTES];
	char *at = text, *line;

	size = num_min(size, sizeof(text) - 1);
	memcpy(text, data, size);
	text[size] = '\0';
	vm_config_init(&config);
	while ((line = strsep(&at, "\n")) != NULL) {
		if (*line) {
			add(&config, *line, line + 1);
		}
	}
	vm_config_fini(&config);
	return 0;
}

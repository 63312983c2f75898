/* SPDX-License-Identifier: MIT */
/* Which disks of the legacy board are on its IDE controller or its SCSI card, and where. */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "vm/config.h"

static const char *option_of(const struct vm_disk_config *disk)
{
	return disk->is_dvd ? "--dvd" : "--disk";
}

static const char *name_of(const struct vm_disk_config *disk)
{
	return disk->path ? disk->path : disk->is_dvd ? "(empty)" : "(null)";
}

/* The other machine has no such controllers. */
static int check_modern(const struct vm_disk_config *disk, struct diag *reterr)
{
	const char *word = disk->bus == VM_DISK_IDE       ? "bus=ide"
			   : disk->bus == VM_DISK_ADAPTEC ? "bus=adaptec"
			   : disk->position >= 0          ? "position"
			   : disk->face != VM_FACE_AUTO   ? "face"
							  : NULL;

	return word ? diag_set(reterr, -EINVAL,
			       "%s %s: %s is for a board with PCI: give --machine legacy, or leave "
			       "it out",
			       option_of(disk), name_of(disk), word)
		    : 0;
}

/* Where this one would be: disks from the beginning, drives from the second channel on, as PCs have them. */
static int first_free(const struct vm_disk_config *disk,
		      struct vm_disk_config *const taken[VM_IDE_POSITIONS])
{
	static const int disks[] = { 0, 1, 2, 3 }, drives[] = { 2, 3, 1, 0 };

	for (size_t i = 0; i < VM_IDE_POSITIONS; i++) {
		int position = disk->is_dvd ? drives[i] : disks[i];

		if (!taken[position]) {
			return position;
		}
	}
	return -1;
}

static bool wants_ide(const struct vm_disk_config *disk)
{
	/* A disk that no firmware shall see needs none of the few places. */
	return disk->bus == VM_DISK_IDE ||
	       (disk->bus == VM_DISK_AUTO &&
		(disk->position >= 0 || disk->face != VM_FACE_SYNTHETIC));
}

static int place_named(struct vm_disk_config *disk, struct vm_disk_config *taken[VM_IDE_POSITIONS],
		       struct diag *reterr)
{
	struct vm_disk_config **at = &taken[disk->position];

	if (*at) {
		return diag_set(reterr, -EINVAL,
				"%s %s: IDE position %d is taken by %s: give another, or none",
				option_of(disk), name_of(disk), disk->position, name_of(*at));
	}
	*at = disk;
	disk->bus = VM_DISK_IDE;
	return 0;
}

static int place_free(struct vm_disk_config *disk, struct vm_disk_config *taken[VM_IDE_POSITIONS],
		      struct diag *reterr)
{
	int position = first_free(disk, taken);

	if (position >= 0) {
		disk->position = position;
		disk->bus = VM_DISK_IDE;
		taken[position] = disk;
		return 0;
	}
	if (disk->bus == VM_DISK_IDE || disk->face == VM_FACE_EMULATED) {
		return diag_set(reterr, -EINVAL,
				"%s %s: the IDE controller has %d places, and all are taken: give "
				"bus=scsi",
				option_of(disk), name_of(disk), VM_IDE_POSITIONS);
	}
	disk->bus = VM_DISK_SCSI;
	return 0;
}

/* ---- the card ---------------------------------------------------------------------------------- */

static int place_target(struct vm_disk_config *disk,
			struct vm_disk_config *taken[VM_ADAPTEC_TARGETS], struct diag *reterr)
{
	int target = disk->target;

	for (int i = 0; i < VM_ADAPTEC_TARGETS && target < 0; i++) {
		target = taken[i] ? -1 : i;
	}
	if (target < 0) {
		return diag_set(reterr, -EINVAL,
				"%s %s: the Adaptec card has %d targets, and all are taken: give "
				"bus=scsi",
				option_of(disk), name_of(disk), VM_ADAPTEC_TARGETS);
	}
	if (taken[target]) {
		return diag_set(
			reterr, -EINVAL,
			"%s %s: target %d of the Adaptec card is taken by %s: give another, "
			"or none",
			option_of(disk), name_of(disk), target, name_of(taken[target]));
	}
	disk->target = target;
	taken[target] = disk;
	return 0;
}

/* Those that name a target first. */
static int place_on_card(struct vm_config *config, struct diag *reterr)
{
	struct vm_disk_config *taken[VM_ADAPTEC_TARGETS] = { NULL };
	int err = 0;

	for (unsigned int named = 2; named-- > 0;) {
		for (size_t i = 0; i < config->disk_count && !err; i++) {
			struct vm_disk_config *disk = &config->disks[i];
			bool is_now = named ? disk->target >= 0 : disk->target < 0;

			if (disk->bus == VM_DISK_ADAPTEC && is_now) {
				err = place_target(disk, taken, reterr);
			}
		}
	}
	return err;
}

/* ---- all ----------------------------------------------------------------------------------------- */

int vm_config_place_disks(struct vm_config *config, struct diag *reterr)
{
	struct vm_disk_config *taken[VM_IDE_POSITIONS] = { NULL };
	int err = 0;

	for (size_t i = 0; i < config->disk_count && !err; i++) {
		struct vm_disk_config *disk = &config->disks[i];

		if (config->machine != VM_MACHINE_LEGACY) {
			err = check_modern(disk, reterr);
		} else if (wants_ide(disk) && disk->position >= 0) {
			err = place_named(disk, taken, reterr);
		}
	}
	for (size_t i = 0; i < config->disk_count && !err; i++) {
		struct vm_disk_config *disk = &config->disks[i];
		bool is_legacy = config->machine == VM_MACHINE_LEGACY;

		if (is_legacy && wants_ide(disk) && disk->position < 0) {
			err = place_free(disk, taken, reterr);
		} else if (disk->bus == VM_DISK_AUTO) {
			disk->bus = VM_DISK_SCSI;
		}
	}
	return err ? err : place_on_card(config, reterr);
}

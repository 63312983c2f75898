/* SPDX-License-Identifier: MIT */
#include "vm/disk_faces.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "chipset/ide/ide.h"
#include "proto/board.h"
#include "vm/legacy.h"

/* ---- from one face to the other: the controller's loop --------------------------------------------- */

static unsigned int drive_of(const struct vm_disk *disk)
{
	return (unsigned int)disk->config.position;
}

static void give_back(struct vm_disk *disk)
{
	atomic_store(&disk->face.is_synthetic, false);
	ide_attach(disk->disks->ide, drive_of(disk), NULL);
}

static void on_drained(struct loop_work *work)
{
	struct vm_disk *disk = container_of(work, struct vm_disk, face.drained);

	disk->face.is_draining = false;
	if (!disk->face.has_driver) {
		give_back(disk); /* it has gone meanwhile */
		return;
	}
	atomic_store(&disk->face.is_synthetic, true);
	atomic_fetch_add(&disk->face.handovers, 1);
	storvsp_begin(disk->controller->storvsp);
}

static void on_opened(void *ctx)
{
	struct vm_disk *disk = ctx;

	disk->face.has_driver = true;
	if (!disk->face.is_draining) {
		disk->face.is_draining = true;
		ide_detach(disk->disks->ide, drive_of(disk), &disk->face.drained);
	}
}

static void on_closed(void *ctx)
{
	struct vm_disk *disk = ctx;

	disk->face.has_driver = false;
	if (!disk->face.is_draining) {
		give_back(disk);
	}
}

/* ---- channels --------------------------------------------------------------------------------------- */

static int make_controller(struct vm_disk *disk, struct vm_controller *controller)
{
	struct vm_disks *disks = disk->disks;
	const struct storvsp_ide ide = { .channel = (uint8_t)(drive_of(disk) / IDE_UNITS),
					 .device = (uint8_t)(drive_of(disk) % IDE_UNITS),
					 .opened = on_opened,
					 .closed = on_closed,
					 .ctx = disk };
	char name[16];
	const struct storvsp_config config = { .name = name,
					       .ide = &ide,
					       .control = disks->vm->control,
					       .loops = controller->loops,
					       .loop_count = 1 };

	check(!controller->storvsp); /* vm_config_place_disks() */
	loop_work_init(&disk->face.drained, on_drained);
	snprintf(name, sizeof(name), "ide%u", drive_of(disk));
	controller->loops[0] = vm_io_loop(disks->vm, 0);
	controller->loop_count = 1;
	disk->controller = controller;
	disk->address = (struct storvsp_address){ .target = ide.device };
	return storvsp_create(&config, &controller->storvsp);
}

int vm_face_controller(struct vm_disk *disk, struct diag *reterr)
{
	struct vm_disks *disks = disk->disks;
	int err;

	if (disks->vm->state != VM_CREATED) {
		return diag_set(reterr, -EINVAL,
				"an IDE disk cannot come while the machine runs: give bus=scsi");
	}
	err = make_controller(disk, &disks->faces[drive_of(disk)]);
	return err ? diag_set(reterr, err, "cannot make the IDE disk %u: %s", drive_of(disk),
			      strerror(-err))
		   : 0;
}

/* A drive stays with the chip, and so does who was told to. */
static bool has_channel(const struct vm_disk *disk)
{
	return !disk->config.is_dvd && disk->config.face != VM_FACE_EMULATED;
}

static bool has_chip(const struct vm_disk *disk)
{
	return disk->config.face != VM_FACE_SYNTHETIC;
}

static int offer(struct vm_disk *disk, struct diag *reterr)
{
	int err = bus_offer(disk->disks->vm->bus, storvsp_device(disk->controller->storvsp));

	disk->controller->is_offered = !err;
	return err ? diag_set(reterr, err, "cannot offer the IDE disk %s: %s", disk->config.id,
			      strerror(-err))
		   : 0;
}

/* ---- the controller --------------------------------------------------------------------------------- */

static void fill_drive(struct vm_disk *disk, struct ide_drive_config *ret)
{
	*ret = (struct ide_drive_config){ .kind = disk->config.is_dvd ? IDE_DVD : IDE_DISK,
					  .write_cache = disk->config.write_cache,
					  .serial = disk->config.serial };
	if (disk->config.is_dvd) {
		ret->unit = disk->scsi;
	} else {
		ret->block = disk->medium.ends[0].block;
	}
}

static void on_paused(struct loop_work *work)
{
	struct vm_disks *disks = container_of(work, struct vm_disks, ide_quiet);

	atomic_store(&disks->is_ide_quiet, true);
}

int vm_faces_create(struct vm_disks *disks, struct diag *reterr)
{
	struct vm *vm = disks->vm;
	struct ide_config config = {
		.chipset = vm->chipset,
		.bus = vm->pci_bus,
		.devfn = PCI_DEVFN(LEGACY_SLOT_IDE, 1),
		.mem = vm->mem,
		.loop = vm_io_loop(vm, 0),
		.lines = { partition_irq_line(vm->partition, BOARD_IDE_GSI_0),
			   partition_irq_line(vm->partition, BOARD_IDE_GSI_1) },
		.is_decoded = !vm->config->firmware,
	};
	int err;

	if (!vm->pci_bus) {
		return 0;
	}
	loop_work_init(&disks->ide_quiet, on_paused);
	list_for_each (it, &disks->list) {
		struct vm_disk *disk = list_entry(it, struct vm_disk, link);

		if (disk->config.bus == VM_DISK_IDE && has_chip(disk)) {
			fill_drive(disk, &config.drives[drive_of(disk)]);
		}
	}
	err = ide_create(&config, &disks->ide, reterr);
	list_for_each (it, &disks->list) {
		struct vm_disk *disk = list_entry(it, struct vm_disk, link);

		if (!err && disk->config.bus == VM_DISK_IDE && has_channel(disk)) {
			err = offer(disk, reterr);
		}
	}
	return err;
}

void vm_faces_destroy(struct vm_disks *disks)
{
	ide_destroy(disks->ide);
	disks->ide = NULL;
}

void vm_faces_pause(struct vm_disks *disks)
{
	if (disks->ide && !disks->is_ide_paused) {
		disks->is_ide_paused = true;
		atomic_store(&disks->is_ide_quiet, false);
		ide_pause(disks->ide, &disks->ide_quiet);
	}
}

void vm_faces_settle(struct vm_disks *disks)
{
	vm_faces_pause(disks);
	if (disks->ide) {
		vm_disks_wait_quiet(disks, &disks->is_ide_quiet);
	}
}

void vm_faces_resume(struct vm_disks *disks)
{
	if (disks->ide && disks->is_ide_paused) {
		disks->is_ide_paused = false;
		ide_resume(disks->ide);
	}
}

void vm_faces_reset(struct vm_disks *disks)
{
	bool was_paused = disks->is_ide_paused;

	if (!disks->ide) {
		return;
	}
	vm_faces_settle(disks);
	ide_reset(disks->ide);
	if (!was_paused) {
		vm_faces_resume(disks);
	}
}

/* ---- for people --------------------------------------------------------------------------------------- */

void vm_faces_inspect(struct vm_disks *disks, struct inspect *at)
{
	if (disks->ide) {
		struct inspect child = inspect_child(at, "ide");

		ide_inspect(disks->ide, &child);
	}
}

static const char *reason(const struct vm_disk *disk, bool is_synthetic)
{
	if (disk->config.face != VM_FACE_AUTO) {
		return "the user has said so";
	}
	if (disk->config.is_dvd) {
		return "a DVD drive on IDE has no other";
	}
	return is_synthetic ? "the guest's StorVSC has taken it over"
			    : "no StorVSC of the guest has asked for it";
}

void vm_face_inspect(const struct vm_disk *disk, struct inspect *at)
{
	bool is_ide = disk->config.bus == VM_DISK_IDE;
	bool is_adaptec = disk->config.bus == VM_DISK_ADAPTEC;
	bool is_synthetic = (!is_ide && !is_adaptec) || disk->config.face == VM_FACE_SYNTHETIC ||
			    atomic_load(&disk->face.is_synthetic);

	inspect_string(at, "bus", is_ide ? "ide" : is_adaptec ? "adaptec" : "scsi");
	inspect_string(at, "face", is_synthetic ? "synthetic" : "emulated");
	if (is_adaptec) {
		inspect_u64(at, "target", disk->address.target);
	} else if (is_ide) {
		inspect_u64(at, "position", drive_of(disk));
		inspect_string(at, "face_because", reason(disk, is_synthetic));
		inspect_u64(at, "handovers", atomic_load(&disk->face.handovers));
	}
}

bool vm_faces_need_ata(const struct vm_config *config)
{
	for (size_t i = 0; i < config->disk_count; i++) {
		const struct vm_disk_config *disk = &config->disks[i];

		if (disk->bus == VM_DISK_IDE && !disk->is_dvd && disk->face == VM_FACE_EMULATED) {
			return true;
		}
	}
	return false;
}

/* SPDX-License-Identifier: MIT */
#include "vm/disk_card.h"

#include <errno.h>
#include <string.h>

#include "chipset/aic7870/aic7870.h"
#include "vm/legacy.h"

static_assert(VM_ADAPTEC_TARGETS == AIC7870_HOST_ID, "the card's own id is behind the disks'");

/* Its loop; queue 0 of the units is there. */
static struct loop *loop_of(const struct vm_disks *disks)
{
	return vm_io_loop(disks->vm, 0);
}

/* ---- disks ---------------------------------------------------------------------------------------- */

int vm_disk_card_controller(struct vm_disk *disk, struct diag *reterr)
{
	struct vm_disks *disks = disk->disks;
	struct vm_controller *controller = &disks->card.controller;

	if (disks->vm->state != VM_CREATED) {
		return diag_set(reterr, -EINVAL,
				"a disk on the Adaptec card cannot come while the machine runs: "
				"give bus=scsi");
	}
	controller->loops[0] = loop_of(disks);
	controller->loop_count = 1;
	disk->controller = controller;
	disk->address = (struct storvsp_address){ .target = (uint8_t)disk->config.target };
	return 0;
}

static struct scsi_disk **unit_of(struct vm_disk *disk)
{
	return &disk->disks->card.targets[disk->address.target].luns[0];
}

void vm_disk_card_add(struct vm_disk *disk)
{
	check(!disk->disks->card.chip && !*unit_of(disk)); /* vm_config_place_disks() */
	*unit_of(disk) = disk->scsi;
}

void vm_disk_card_remove(struct vm_disk *disk)
{
	check(!disk->disks->card.chip);
	*unit_of(disk) = NULL;
}

/* ---- the card --------------------------------------------------------------------------------------- */

static void on_quiet(struct loop_work *work)
{
	struct vm_disk_card *card = container_of(work, struct vm_disk_card, quiet);

	atomic_store(&card->is_quiet, true);
}

int vm_disk_card_create(struct vm_disks *disks, struct diag *reterr)
{
	struct vm *vm = disks->vm;
	struct vm_disk_card *card = &disks->card;
	struct aic7870_config config = { .chipset = vm->chipset,
					 .bus = vm->pci_bus,
					 .devfn = PCI_DEVFN(LEGACY_SLOT_SCSI, 0),
					 .mem = vm->mem,
					 .loop = loop_of(disks) };
	bool is_wanted = false;

	for (unsigned int id = 0; id < VM_ADAPTEC_TARGETS; id++) {
		if (card->targets[id].luns[0]) {
			config.targets[id] = &card->targets[id];
			is_wanted = true;
		}
	}
	if (!is_wanted) {
		return 0;
	}
	check(vm->pci_bus); /* vm_config_place_disks() */
	loop_work_init(&card->quiet, on_quiet);
	int err = aic7870_create(&config, &card->chip);

	return err ? diag_set(reterr, err, "cannot make the Adaptec card: %s", strerror(-err)) : 0;
}

static void destroy_on_loop(void *arg)
{
	aic7870_destroy(arg);
}

void vm_disk_card_destroy(struct vm_disks *disks)
{
	struct aic7870 *chip = disks->card.chip;

	if (chip) {
		loop_call(loop_of(disks), destroy_on_loop, chip);
		disks->card.chip = NULL;
	}
}

/* What an earlier stop may still have to say is not about this one. */
static void stop_on_loop(void *arg)
{
	struct vm_disks *disks = arg;
	struct vm_disk_card *card = &disks->card;
	struct loop *loop = loop_of(disks);

	loop_cancel(loop, &card->quiet);
	atomic_store(&card->is_quiet, false);
	aic7870_stop(card->chip, loop, &card->quiet);
}

static void resume_on_loop(void *arg)
{
	aic7870_resume(arg);
}

void vm_disk_card_pause(struct vm_disks *disks)
{
	struct vm_disk_card *card = &disks->card;

	if (card->chip && !card->is_paused) {
		card->is_paused = true;
		loop_call(loop_of(disks), stop_on_loop, disks);
	}
}

void vm_disk_card_settle(struct vm_disks *disks)
{
	vm_disk_card_pause(disks);
	if (disks->card.chip) {
		vm_disks_wait_quiet(disks, &disks->card.is_quiet);
	}
}

void vm_disk_card_resume(struct vm_disks *disks)
{
	struct vm_disk_card *card = &disks->card;

	if (card->chip && card->is_paused) {
		card->is_paused = false;
		loop_call(loop_of(disks), resume_on_loop, card->chip);
	}
}

void vm_disk_card_reset(struct vm_disks *disks)
{
	bool was_paused = disks->card.is_paused;

	if (!disks->card.chip) {
		return;
	}
	vm_disk_card_settle(disks);
	aic7870_reset(disks->card.chip);
	if (!was_paused) {
		vm_disk_card_resume(disks);
	}
}

void vm_disk_card_inspect(struct vm_disks *disks, struct inspect *at)
{
	if (disks->card.chip) {
		struct inspect child = inspect_child(at, "adaptec");

		aic7870_inspect(disks->card.chip, &child);
	}
}

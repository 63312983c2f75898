/* SPDX-License-Identifier: MIT */
/* A legacy board of vm's making with disks on its own controllers, and nothing else. Included once in a program. */
#pragma once

#include "guest/vm_rig.h"

#include "chipset/pci.h"
#include "vm/disk_card.h"
#include "vm/disk_faces.h"

/* What the partition has in the worker. */
static unsigned int interrupts;

static void set_line(void *ctx, uint32_t gsi, bool level)
{
	(void)ctx;
	(void)gsi;
	interrupts += level;
}

struct irq_line partition_irq_line(struct partition *partition, uint32_t gsi)
{
	(void)partition;
	return (struct irq_line){ .set = set_line, .gsi = gsi };
}

struct board {
	struct rig rig;
	struct vm_config config;
};

static void on_reset(void *ctx)
{
	(void)ctx;
}

static const struct chipset_power_ops power_ops = { on_reset, on_reset };

/* A legacy board with these disks, its guest connected to VMBus. */
static inline void board_create(struct board *board, const char *const *disks, size_t count)
{
	struct vm *vm = &board->rig.vm;
	const struct chipset_power power = { .ops = &power_ops };
	struct diag diag;

	rig_create(&board->rig);
	make_file(&board->rig, "a.img", DISK_BYTES);
	make_file(&board->rig, "b.img", DISK_BYTES);
	vm_config_init(&board->config);
	board->config.machine = VM_MACHINE_LEGACY;
	vm->config = &board->config;
	vm->mem = fake_guest_mem(board->rig.m.guest);
	vm->state = VM_CREATED;
	assert_int_equal(chipset_create(&vm->chipset), 0);
	assert_int_equal(pci_bus_create(vm->chipset, &power, &vm->pci_bus), 0);
	for (size_t i = 0; i < count; i++) {
		char words[256];

		snprintf(words, sizeof(words), "path=%s/%s", board->rig.dir, disks[i]);
		assert_int_equal(vm_config_add_disk(&board->config, words, &diag), 0);
	}
	assert_int_equal(vm_config_place_disks(&board->config, &diag), 0);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(vm_disks_add(vm->disks, &board->config.disks[i], NULL, &diag), 0);
	}
	assert_int_equal(vm_faces_create(vm->disks, &diag), 0);
	assert_int_equal(vm_disk_card_create(vm->disks, &diag), 0);
	vm->state = VM_RUNNING;
	fake_guest_connect(board->rig.m.guest, VMBUS_VERSION_5_3);
}

static inline void board_destroy(struct board *board)
{
	struct vm *vm = &board->rig.vm;

	rig_end(&board->rig);
	vm_faces_destroy(vm->disks);
	vm_disk_card_destroy(vm->disks);
	pci_bus_destroy(vm->pci_bus);
	chipset_destroy(vm->chipset);
	rig_destroy(&board->rig);
	vm_config_fini(&board->config);
}

/* SPDX-License-Identifier: MIT */
/* One disk, two faces: an ATA driver at the ports, and a StorVSC that takes the disk over. */
#include "guest/vm_rig.h"

#include "chipset/ide/ide.h"
#include "chipset/pci.h"
#include "proto/ata.h"
#include "vm/disk_faces.h"

#define SECTOR       512U
#define LBA_OF(seed) (64U + (seed))

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

struct faces {
	struct rig rig;
	struct vm_config config;
};

static void on_reset(void *ctx)
{
	(void)ctx;
}

static const struct chipset_power_ops power_ops = { on_reset, on_reset };

/* A legacy board with these disks, its guest connected to VMBus. */
static void faces_create(struct faces *f, const char *const *disks, size_t count)
{
	struct vm *vm = &f->rig.vm;
	const struct chipset_power power = { .ops = &power_ops };
	struct diag diag;

	rig_create(&f->rig);
	make_file(&f->rig, "a.img", DISK_BYTES);
	make_file(&f->rig, "b.img", DISK_BYTES);
	vm_config_init(&f->config);
	f->config.machine = VM_MACHINE_LEGACY;
	vm->config = &f->config;
	vm->mem = fake_guest_mem(f->rig.m.guest);
	vm->state = VM_CREATED;
	assert_int_equal(chipset_create(&vm->chipset), 0);
	assert_int_equal(pci_bus_create(vm->chipset, &power, &vm->pci_bus), 0);
	for (size_t i = 0; i < count; i++) {
		char words[256];

		snprintf(words, sizeof(words), "path=%s/%s", f->rig.dir, disks[i]);
		assert_int_equal(vm_config_add_disk(&f->config, words, &diag), 0);
	}
	assert_int_equal(vm_config_place_disks(&f->config, &diag), 0);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(vm_disks_add(vm->disks, &f->config.disks[i], NULL, &diag), 0);
	}
	assert_int_equal(vm_faces_create(vm->disks, &diag), 0);
	vm->state = VM_RUNNING;
	fake_guest_connect(f->rig.m.guest, VMBUS_VERSION_5_3);
}

static void faces_destroy(struct faces *f)
{
	struct vm *vm = &f->rig.vm;

	rig_end(&f->rig);
	vm_faces_destroy(vm->disks);
	pci_bus_destroy(vm->pci_bus);
	chipset_destroy(vm->chipset);
	rig_destroy(&f->rig);
	vm_config_fini(&f->config);
}

/* ---- at the ports ---- */

static void out8(struct faces *f, unsigned int reg, uint8_t value)
{
	chipset_pio(f->rig.vm.chipset, (uint16_t)(ATA_PORT_PRIMARY + reg), true, &value, 1, 1);
}

static uint8_t ata_status(struct faces *f)
{
	uint8_t value = 0;

	chipset_pio(f->rig.vm.chipset, ATA_PORT_PRIMARY + ATA_REG_STATUS, false, &value, 1, 1);
	return value;
}

static void wait_idle(struct faces *f)
{
	while (ata_status(f) & ATA_STATUS_BSY) {
		fake_guest_settle(f->rig.m.guest);
	}
}

static void ata_begin(struct faces *f, uint8_t command, uint32_t lba)
{
	out8(f, ATA_REG_DEVICE, ATA_DEVICE_ALWAYS | ATA_DEVICE_LBA);
	out8(f, ATA_REG_COUNT, 1);
	out8(f, ATA_REG_LBA_LOW, (uint8_t)lba);
	out8(f, ATA_REG_LBA_MID, (uint8_t)(lba >> 8));
	out8(f, ATA_REG_LBA_HIGH, (uint8_t)(lba >> 16));
	out8(f, ATA_REG_COMMAND, command);
}

static void ata_data(struct faces *f, bool is_write, uint8_t *data)
{
	wait_idle(f);
	assert_int_equal(ata_status(f) & (ATA_STATUS_DRQ | ATA_STATUS_ERR), ATA_STATUS_DRQ);
	chipset_pio(f->rig.vm.chipset, ATA_PORT_PRIMARY, is_write, data, 2, SECTOR / 2);
}

/* Given to the controller, which may not have written it yet. */
static void ata_give(struct faces *f, uint32_t seed)
{
	uint8_t data[SECTOR];

	for (uint32_t i = 0; i < SECTOR; i++) {
		data[i] = pattern(seed, i);
	}
	ata_begin(f, ATA_CMD_WRITE, LBA_OF(seed));
	ata_data(f, true, data);
}

static void ata_write(struct faces *f, uint32_t seed)
{
	ata_give(f, seed);
	wait_idle(f);
	assert_int_equal(ata_status(f) & (ATA_STATUS_DRDY | ATA_STATUS_ERR | ATA_STATUS_DF),
			 ATA_STATUS_DRDY);
}

static void ata_expect(struct faces *f, uint32_t seed)
{
	uint8_t data[SECTOR];

	ata_begin(f, ATA_CMD_READ, LBA_OF(seed));
	ata_data(f, false, data);
	for (uint32_t i = 0; i < SECTOR; i++) {
		assert_int_equal(data[i], pattern(seed, i));
	}
}

static bool is_there(void *arg)
{
	struct faces *f = arg;

	out8(f, ATA_REG_DEVICE, ATA_DEVICE_ALWAYS | ATA_DEVICE_LBA);
	return (ata_status(f) & (ATA_STATUS_DRDY | ATA_STATUS_BSY)) == ATA_STATUS_DRDY;
}

static bool is_gone(void *arg)
{
	return !is_there(arg);
}

/* ---- over VMBus ---- */

static void vsc_open(struct faces *f)
{
	f->rig.m.storvsp = f->rig.vm.disks->faces[0].storvsp;
	f->rig.m.channel = fake_channel_open(f->rig.m.guest, &ide_type, 0, RING_BYTES);
}

static void vsc_close(struct faces *f)
{
	fake_channel_close(f->rig.m.channel);
	f->rig.m.channel = NULL;
}

static void vsc_rw(struct faces *f, uint8_t op, uint32_t seed)
{
	struct buffer b;
	struct packet p;

	buffer_create(&f->rig.m, &b, 0, SECTOR);
	if (op == SCSI_OP_WRITE_10) {
		buffer_fill(&f->rig.m, &b, seed);
	}
	skip_attentions(&f->rig, 0, &p);
	rw_init(&p, op, LBA_OF(seed), SECTOR, false);
	run_srb(&f->rig.m, &p, &b);
	expect_good(&p, SECTOR);
	buffer_expect(&f->rig.m, &b, seed);
}

static uint64_t handovers(struct faces *f)
{
	return disk_number(&f->rig, "disk0", "handovers");
}

/* ---- the tests ---- */

static void a_driver_takes_the_disk_over_and_gives_it_back(void **state)
{
	static const char *const disks[] = { "a.img,format=raw" };
	struct faces f;

	faces_create(&f, disks, 1);
	for (uint32_t i = 0; i < 4; i++) {
		assert_true(fake_guest_wait(f.rig.m.guest, is_there, &f));
		ata_write(&f, 2 * i);
		vsc_open(&f);
		negotiate(&f.rig.m, VSTOR_VERSION_WIN10);
		assert_true(is_gone(&f));
		vsc_rw(&f, SCSI_OP_READ_10, 2 * i);
		vsc_rw(&f, SCSI_OP_WRITE_10, 2 * i + 1);
		assert_int_equal(handovers(&f), i + 1);
		vsc_close(&f);
		assert_true(fake_guest_wait(f.rig.m.guest, is_there, &f));
		ata_expect(&f, 2 * i + 1);
	}
	assert_true(interrupts > 0);
	faces_destroy(&f);
}

/* The emulated face has a write at the host: the driver's first packet is answered after it. */
static void a_request_in_flight_is_waited_for(void **state)
{
	static const char *const disks[] = { "a.img,format=raw,fault=delay:100ms:write" };
	struct faces f;

	faces_create(&f, disks, 1);
	ata_give(&f, 5);
	vsc_open(&f);
	assert_int_equal(handovers(&f), 0);
	negotiate(&f.rig.m, VSTOR_VERSION_WIN10);
	assert_int_equal(handovers(&f), 1);
	vsc_rw(&f, SCSI_OP_READ_10, 5);
	vsc_close(&f);
	faces_destroy(&f);
}

static void a_driver_that_goes_at_once_leaves_the_disk(void **state)
{
	static const char *const disks[] = { "a.img,format=raw,fault=delay:100ms:write" };
	struct faces f;

	faces_create(&f, disks, 1);
	ata_give(&f, 6);
	for (int i = 0; i < 3; i++) {
		vsc_open(&f);
		vsc_close(&f);
	}
	assert_true(fake_guest_wait(f.rig.m.guest, is_there, &f));
	ata_expect(&f, 6);
	assert_int_equal(handovers(&f), 0);
	faces_destroy(&f);
}

static void a_user_may_choose(void **state)
{
	static const char *const disks[] = { "a.img,format=raw,face=emulated",
					     "b.img,format=raw,bus=ide,face=synthetic" };
	const struct vmbus_msg_offer_channel *offer;
	struct faces f;

	faces_create(&f, disks, 2);
	assert_true(is_there(&f));
	ata_write(&f, 1);
	offer = fake_guest_find_offer(f.rig.m.guest, &ide_type, 0);
	assert_non_null(offer);
	assert_int_equal(offer->interface_instance.bytes[4], 1); /* the second disk's alone */
	assert_null(fake_guest_find_offer(f.rig.m.guest, &ide_type, 1));
	out8(&f, ATA_REG_DEVICE, ATA_DEVICE_ALWAYS | ATA_DEVICE_ONE);
	assert_int_equal(ata_status(&f), 0); /* nobody is there */
	assert_true(vm_faces_need_ata(&f.config));
	faces_destroy(&f);
}

static void they_stay_while_the_machine_runs(void **state)
{
	static const char *const disks[] = { "a.img,format=raw" };
	struct faces f;

	faces_create(&f, disks, 1);
	refuse(&f.rig, "cannot come while the machine runs",
	       "{'verb':'disk add','path':'%s/b.img','format':'raw','bus':'ide'}", f.rig.dir);
	refuse(&f.rig, "stays while the machine runs", "{'verb':'disk remove','id':'disk0'}");
	do_verb(&f.rig, "{'verb':'disk add','path':'%s/b.img','format':'raw'}", f.rig.dir);
	assert_int_equal(count_disks(&f.rig), 2);
	faces_destroy(&f);
}

static void nothing_is_begun_while_paused(void **state)
{
	static const char *const disks[] = { "a.img,format=raw" };
	struct faces f;

	faces_create(&f, disks, 1);
	vm_faces_pause(f.rig.vm.disks);
	vm_faces_pause(f.rig.vm.disks);
	vm_faces_settle(f.rig.vm.disks);
	ata_begin(&f, ATA_CMD_READ, 0);
	fake_guest_settle(f.rig.m.guest);
	assert_true(ata_status(&f) & ATA_STATUS_BSY);
	vm_faces_resume(f.rig.vm.disks);
	wait_idle(&f);
	assert_true(ata_status(&f) & ATA_STATUS_DRQ);
	vm_faces_reset(f.rig.vm.disks); /* in the middle of the transfer */
	assert_true(is_there(&f));
	assert_false(ata_status(&f) & ATA_STATUS_DRQ);
	ata_write(&f, 3);
	ata_expect(&f, 3);
	faces_destroy(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_driver_takes_the_disk_over_and_gives_it_back),
		cmocka_unit_test(a_request_in_flight_is_waited_for),
		cmocka_unit_test(a_driver_that_goes_at_once_leaves_the_disk),
		cmocka_unit_test(a_user_may_choose),
		cmocka_unit_test(they_stay_while_the_machine_runs),
		cmocka_unit_test(nothing_is_begun_while_paused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* One disk, two faces: an ATA driver at the ports, and a StorVSC that takes the disk over. */
#include "guest/board_rig.h"

#include "chipset/ide/ide.h"
#include "proto/ata.h"

#define SECTOR       512U
#define LBA_OF(seed) (64U + (seed))

/* ---- at the ports ---- */

static void out8(struct board *f, unsigned int reg, uint8_t value)
{
	chipset_pio(f->rig.vm.chipset, (uint16_t)(ATA_PORT_PRIMARY + reg), true, &value, 1, 1);
}

static uint8_t ata_status(struct board *f)
{
	uint8_t value = 0;

	chipset_pio(f->rig.vm.chipset, ATA_PORT_PRIMARY + ATA_REG_STATUS, false, &value, 1, 1);
	return value;
}

static void wait_idle(struct board *f)
{
	while (ata_status(f) & ATA_STATUS_BSY) {
		fake_guest_settle(f->rig.m.guest);
	}
}

static void ata_begin(struct board *f, uint8_t command, uint32_t lba)
{
	out8(f, ATA_REG_DEVICE, ATA_DEVICE_ALWAYS | ATA_DEVICE_LBA);
	out8(f, ATA_REG_COUNT, 1);
	out8(f, ATA_REG_LBA_LOW, (uint8_t)lba);
	out8(f, ATA_REG_LBA_MID, (uint8_t)(lba >> 8));
	out8(f, ATA_REG_LBA_HIGH, (uint8_t)(lba >> 16));
	out8(f, ATA_REG_COMMAND, command);
}

static void ata_data(struct board *f, bool is_write, uint8_t *data)
{
	wait_idle(f);
	assert_int_equal(ata_status(f) & (ATA_STATUS_DRQ | ATA_STATUS_ERR), ATA_STATUS_DRQ);
	chipset_pio(f->rig.vm.chipset, ATA_PORT_PRIMARY, is_write, data, 2, SECTOR / 2);
}

/* Given to the controller, which may not have written it yet. */
static void ata_give(struct board *f, uint32_t seed)
{
	uint8_t data[SECTOR];

	for (uint32_t i = 0; i < SECTOR; i++) {
		data[i] = pattern(seed, i);
	}
	ata_begin(f, ATA_CMD_WRITE, LBA_OF(seed));
	ata_data(f, true, data);
}

static void ata_write(struct board *f, uint32_t seed)
{
	ata_give(f, seed);
	wait_idle(f);
	assert_int_equal(ata_status(f) & (ATA_STATUS_DRDY | ATA_STATUS_ERR | ATA_STATUS_DF),
			 ATA_STATUS_DRDY);
}

static void ata_expect(struct board *f, uint32_t seed)
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
	struct board *f = arg;

	out8(f, ATA_REG_DEVICE, ATA_DEVICE_ALWAYS | ATA_DEVICE_LBA);
	return (ata_status(f) & (ATA_STATUS_DRDY | ATA_STATUS_BSY)) == ATA_STATUS_DRDY;
}

static void nothing(void *arg)
{
	(void)arg;
}

/* What the controller's loop has posted to itself has run: a drive that is let go of has been given back. */
static void turn_io(struct board *f)
{
	for (int i = 0; i < 4; i++) {
		loop_call(vm_io_loop(&f->rig.vm, 0), nothing, NULL);
	}
}

static bool is_gone(void *arg)
{
	return !is_there(arg);
}

/* ---- over VMBus ---- */

static void vsc_open(struct board *f)
{
	f->rig.m.storvsp = f->rig.vm.disks->faces[0].storvsp;
	f->rig.m.channel = fake_channel_open(f->rig.m.guest, &ide_type, 0, RING_BYTES);
}

static void vsc_close(struct board *f)
{
	fake_channel_close(f->rig.m.channel);
	f->rig.m.channel = NULL;
}

static void vsc_rw(struct board *f, uint8_t op, uint32_t seed)
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

static uint64_t handovers(struct board *f)
{
	return disk_number(&f->rig, "disk0", "handovers");
}

/* ---- the tests ---- */

static void a_driver_takes_the_disk_over_and_gives_it_back(void **state)
{
	static const char *const disks[] = { "a.img,format=raw" };
	struct board f;

	board_create(&f, disks, 1);
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
	board_destroy(&f);
}

/* The emulated face has a write at the host: the driver's first packet is answered after it. */
static void a_request_in_flight_is_waited_for(void **state)
{
	static const char *const disks[] = { "a.img,format=raw,fault=delay:100ms:write" };
	struct board f;

	board_create(&f, disks, 1);
	ata_give(&f, 5);
	vsc_open(&f);
	assert_int_equal(handovers(&f), 0);
	negotiate(&f.rig.m, VSTOR_VERSION_WIN10);
	assert_int_equal(handovers(&f), 1);
	vsc_rw(&f, SCSI_OP_READ_10, 5);
	vsc_close(&f);
	board_destroy(&f);
}

static void a_driver_that_goes_at_once_leaves_the_disk(void **state)
{
	static const char *const disks[] = { "a.img,format=raw,fault=delay:100ms:write" };
	struct board f;

	board_create(&f, disks, 1);
	ata_give(&f, 6);
	for (int i = 0; i < 3; i++) {
		vsc_open(&f);
		vsc_close(&f);
	}
	wait_idle(&f); /* of the write: and then the controller lets go, and has it again */
	turn_io(&f);
	assert_true(fake_guest_wait(f.rig.m.guest, is_there, &f));
	ata_expect(&f, 6);
	assert_int_equal(handovers(&f), 0);
	board_destroy(&f);
}

static void a_user_may_choose(void **state)
{
	static const char *const disks[] = { "a.img,format=raw,face=emulated",
					     "b.img,format=raw,bus=ide,face=synthetic" };
	const struct vmbus_msg_offer_channel *offer;
	struct board f;

	board_create(&f, disks, 2);
	assert_true(is_there(&f));
	ata_write(&f, 1);
	offer = fake_guest_find_offer(f.rig.m.guest, &ide_type, 0);
	assert_non_null(offer);
	assert_int_equal(offer->interface_instance.bytes[4], 1); /* the second disk's alone */
	assert_null(fake_guest_find_offer(f.rig.m.guest, &ide_type, 1));
	out8(&f, ATA_REG_DEVICE, ATA_DEVICE_ALWAYS | ATA_DEVICE_ONE);
	assert_int_equal(ata_status(&f), 0); /* nobody is there */
	assert_true(vm_faces_need_ata(&f.config));
	board_destroy(&f);
}

static void they_stay_while_the_machine_runs(void **state)
{
	static const char *const disks[] = { "a.img,format=raw" };
	struct board f;

	board_create(&f, disks, 1);
	refuse(&f.rig, "cannot come while the machine runs",
	       "{'verb':'disk add','path':'%s/b.img','format':'raw','bus':'ide'}", f.rig.dir);
	refuse(&f.rig, "stays while the machine runs", "{'verb':'disk remove','id':'disk0'}");
	do_verb(&f.rig, "{'verb':'disk add','path':'%s/b.img','format':'raw'}", f.rig.dir);
	assert_int_equal(count_disks(&f.rig), 2);
	board_destroy(&f);
}

static void nothing_is_begun_while_paused(void **state)
{
	static const char *const disks[] = { "a.img,format=raw" };
	struct board f;

	board_create(&f, disks, 1);
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
	board_destroy(&f);
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

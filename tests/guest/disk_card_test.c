/* SPDX-License-Identifier: MIT */
/*
 * The legacy board's SCSI card as vm makes it: who is on it, and what becomes of a command when the machine is
 * paused, reset, or ends. The driver plays initiator byte by byte, with the card's sequencer paused.
 */
#include "guest/board_rig.h"

#include "chipset/aic7870/aic7870.h"
#include "vm/legacy.h"

#define DEVFN  PCI_DEVFN(LEGACY_SLOT_SCSI, 0)
#define PORT   0xe000U
#define SECTOR 512U
#define LBA    64U
#define FREE   0xff /* no phase: the bus is */

/* ---- at the ports ---- */

static uint32_t config_access(struct board *b, uint32_t offset, bool is_write, uint32_t value)
{
	struct chipset *chipset = b->rig.vm.chipset;
	uint32_t address = 0x80000000U | (uint32_t)DEVFN << 8 | offset;

	chipset_pio(chipset, 0xcf8, true, &address, 4, 1);
	chipset_pio(chipset, 0xcfc, is_write, &value, 4, 1);
	return value;
}

static uint8_t in8(struct board *b, uint8_t reg)
{
	uint8_t value = 0xff;

	chipset_pio(b->rig.vm.chipset, (uint16_t)(PORT + reg), false, &value, 1, 1);
	return value;
}

static void out8(struct board *b, uint8_t reg, uint8_t value)
{
	chipset_pio(b->rig.vm.chipset, (uint16_t)(PORT + reg), true, &value, 1, 1);
}

/* As after a power-on, when firmware has given the ports. */
static void card_start(struct board *b)
{
	config_access(b, PCI_BAR_0, true, PORT);
	config_access(b, PCI_COMMAND, true, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	assert_int_equal(in8(b, AIC_HCNTRL), AIC_CHIPRST | AIC_PAUSE);
	out8(b, AIC_HCNTRL, AIC_PAUSE);
	out8(b, AIC_SXFRCTL0, AIC_SPIOEN);
	out8(b, AIC_SXFRCTL1, AIC_ENSTIMER);
}

/* ---- on the bus ---- */

static bool has_selected(void *arg)
{
	return (in8(arg, AIC_SSTAT0) & AIC_SELDO) || (in8(arg, AIC_SSTAT1) & AIC_SELTO);
}

static bool is_there(struct board *b, uint8_t id)
{
	bool is_selected;

	out8(b, AIC_SSTAT1, AIC_SELTO | AIC_BUSFREE);
	out8(b, AIC_SCSIID, (uint8_t)(id << 4 | AIC7870_HOST_ID));
	out8(b, AIC_SCSISEQ, AIC_ENSELO | AIC_ENAUTOATNO);
	assert_true(fake_guest_wait(b->rig.m.guest, has_selected, b));
	is_selected = in8(b, AIC_SSTAT0) & AIC_SELDO;
	out8(b, AIC_SCSISEQ, 0);
	out8(b, AIC_SSTAT0, AIC_SELDO);
	return is_selected;
}

static bool is_asked(void *arg)
{
	uint8_t lines = in8(arg, AIC_SCSISIG);

	return !(lines & AIC_BSY) || (lines & AIC_REQ);
}

static uint8_t phase(struct board *b)
{
	uint8_t lines;

	assert_true(fake_guest_wait(b->rig.m.guest, is_asked, b));
	lines = in8(b, AIC_SCSISIG);
	return lines & AIC_BSY ? lines & AIC_PHASE_MASK : FREE;
}

static void put(struct board *b, uint8_t expected, uint8_t value)
{
	assert_int_equal(phase(b), expected);
	out8(b, AIC_SCSISIG, expected);
	out8(b, AIC_SCSIDATL, value);
}

static uint8_t get(struct board *b, uint8_t expected)
{
	assert_int_equal(phase(b), expected);
	out8(b, AIC_SCSISIG, expected);
	return in8(b, AIC_SCSIDATL);
}

/* Up to the last byte of its CDB. The target keeps the bus. */
static void begin(struct board *b, uint8_t id, const uint8_t cdb[6])
{
	assert_true(is_there(b, id));
	assert_int_equal(phase(b), AIC_P_MESGOUT);
	out8(b, AIC_SSTAT1, AIC_CLRATNO);
	put(b, AIC_P_MESGOUT, AIC_MSG_IDENTIFY);
	for (int i = 0; i < 6; i++) {
		put(b, AIC_P_COMMAND, cdb[i]);
	}
}

static uint8_t end(struct board *b)
{
	uint8_t status = get(b, AIC_P_STATUS);

	assert_int_equal(get(b, AIC_P_MESGIN), AIC_MSG_COMPLETE);
	assert_int_equal(phase(b), FREE);
	return status;
}

/* One sector; the first commands are answered with attentions. */
static void begin_rw(struct board *b, uint8_t id, uint8_t op)
{
	const uint8_t ready[6] = { SCSI_OP_TEST_UNIT_READY }, cdb[6] = { op, 0, 0, LBA, 1 };

	begin(b, id, ready);
	for (int i = 0; end(b) != SCSI_STATUS_GOOD; i++) {
		assert_true(i < 4);
		begin(b, id, ready);
	}
	begin(b, id, cdb);
}

static void give(struct board *b, uint32_t seed)
{
	for (uint32_t i = 0; i < SECTOR; i++) {
		put(b, AIC_P_DATAOUT, pattern(seed, i));
	}
}

static void take(struct board *b, uint32_t seed)
{
	for (uint32_t i = 0; i < SECTOR; i++) {
		assert_int_equal(get(b, AIC_P_DATAIN), pattern(seed, i));
	}
	assert_int_equal(end(b), SCSI_STATUS_GOOD);
}

static void converse_at(struct board *b, uint8_t id, uint32_t seed)
{
	begin_rw(b, id, SCSI_OP_WRITE_6);
	give(b, seed);
	assert_int_equal(end(b), SCSI_STATUS_GOOD);
	begin_rw(b, id, SCSI_OP_READ_6);
	take(b, seed);
}

/* ---- the tests ---- */

static void disks_are_at_their_targets(void **state)
{
	static const char *const disks[] = { "a.img,format=raw,bus=adaptec",
					     "b.img,format=raw,bus=adaptec,target=0" };
	struct board b;

	board_create(&b, disks, 2);
	assert_int_equal(config_access(&b, 0, false, 0), AIC_DEVICE_ID << 16 | AIC_VENDOR_ID);
	card_start(&b);
	for (uint8_t id = 2; id < AIC7870_HOST_ID; id++) {
		assert_false(is_there(&b, id));
	}
	converse_at(&b, 0, 1);
	converse_at(&b, 1, 2);
	begin_rw(&b, 0, SCSI_OP_READ_6);
	take(&b, 1);
	assert_int_equal(disk_number(&b.rig, "disk0", "target"), 1);
	assert_int_equal(disk_number(&b.rig, "disk1", "target"), 0);
	assert_int_equal(disk_number(&b.rig, "disk1", "writes"), 1);
	board_destroy(&b);
}

static void without_a_disk_there_is_no_card(void **state)
{
	static const char *const disks[] = { "a.img,format=raw,bus=scsi" };
	struct board b;

	board_create(&b, disks, 1);
	assert_int_equal(config_access(&b, 0, false, 0), 0xffffffffU);
	vm_disk_card_pause(b.rig.vm.disks);
	vm_disk_card_reset(b.rig.vm.disks);
	vm_disk_card_resume(b.rig.vm.disks);
	board_destroy(&b);
}

/* What is at the host is waited for; what is not stays on the bus. */
static void a_pause_waits_for_what_is_at_the_host(void **state)
{
	static const char *const disks[] = {
		"a.img,format=raw,bus=adaptec,fault=delay:100ms:write"
	};
	struct vm_disks *vm_disks;
	struct board b;

	board_create(&b, disks, 1);
	vm_disks = b.rig.vm.disks;
	card_start(&b);
	begin_rw(&b, 0, SCSI_OP_WRITE_6);
	give(&b, 3);
	fake_guest_settle(b.rig.m.guest);
	vm_disk_card_pause(vm_disks);
	vm_disk_card_pause(vm_disks);
	vm_disk_card_settle(vm_disks);
	assert_int_equal(disk_number(&b.rig, "disk0", "in_flight"), 0);
	for (int i = 0; i < 3; i++) { /* a stop's news is not the next one's */
		vm_disk_card_resume(vm_disks);
		vm_disk_card_pause(vm_disks);
	}
	vm_disk_card_resume(vm_disks);
	assert_int_equal(end(&b), SCSI_STATUS_GOOD);
	begin_rw(&b, 0, SCSI_OP_READ_6);
	vm_disk_card_pause(vm_disks);
	vm_disk_card_resume(vm_disks);
	take(&b, 3);
	board_destroy(&b);
}

static void a_reset_is_a_power_on(void **state)
{
	static const char *const disks[] = {
		"a.img,format=raw,bus=adaptec,fault=delay:100ms:write"
	};
	struct board b;

	board_create(&b, disks, 1);
	card_start(&b);
	for (uint32_t i = 0; i < 3; i++) {
		begin_rw(&b, 0, SCSI_OP_WRITE_6);
		give(&b, i);
		fake_guest_settle(b.rig.m.guest);
		vm_disk_card_reset(b.rig.vm.disks);
		assert_int_equal(config_access(&b, PCI_COMMAND, false, 0) & 0xffff, 0);
		card_start(&b);
		begin_rw(&b, 0, SCSI_OP_READ_6);
		take(&b, i);
	}
	board_destroy(&b);
}

/* One that the host holds for an error ends with the machine, or with its reset. */
static void held_requests_are_given_up(void **state)
{
	static const char *const disks[] = {
		"a.img,format=raw,bus=adaptec,on-error=stop,fault=fail:all:ENOSPC"
	};
	const uint8_t read[6] = { SCSI_OP_READ_6, 0, 0, LBA, 1 };
	struct board b;

	board_create(&b, disks, 1);
	card_start(&b);
	begin_rw(&b, 0, SCSI_OP_READ_6);
	while (disk_number(&b.rig, "disk0", "held") == 0) {
		fake_guest_settle(b.rig.m.guest);
	}
	vm_disk_card_reset(b.rig.vm.disks);
	card_start(&b);
	begin(&b, 0, read);
	board_destroy(&b);
}

static void the_end_waits_for_what_is_at_the_host(void **state)
{
	static const char *const disks[] = {
		"a.img,format=raw,bus=adaptec,fault=delay:100ms:read"
	};
	struct board b;

	board_create(&b, disks, 1);
	card_start(&b);
	begin_rw(&b, 0, SCSI_OP_READ_6);
	board_destroy(&b);
}

static void they_stay_while_the_machine_runs(void **state)
{
	static const char *const disks[] = { "a.img,format=raw,bus=adaptec" };
	struct board b;

	board_create(&b, disks, 1);
	refuse(&b.rig, "cannot come while the machine runs",
	       "{'verb':'disk add','path':'%s/b.img','format':'raw','bus':'adaptec'}", b.rig.dir);
	refuse(&b.rig, "stays while the machine runs", "{'verb':'disk remove','id':'disk0'}");
	do_verb(&b.rig, "{'verb':'disk resize','id':'disk0','size':%u}", 2 * DISK_BYTES);
	assert_int_equal(disk_number(&b.rig, "disk0", "bytes"), 2 * DISK_BYTES);
	card_start(&b);
	converse_at(&b, 0, 7);
	board_destroy(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disks_are_at_their_targets),
		cmocka_unit_test(without_a_disk_there_is_no_card),
		cmocka_unit_test(a_pause_waits_for_what_is_at_the_host),
		cmocka_unit_test(a_reset_is_a_power_on),
		cmocka_unit_test(held_requests_are_given_up),
		cmocka_unit_test(the_end_waits_for_what_is_at_the_host),
		cmocka_unit_test(they_stay_while_the_machine_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

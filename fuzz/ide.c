/* SPDX-License-Identifier: MIT */
/*
 * The IDE function with a disk that fails and dawdles, a read-only one and a DVD drive. Input: actions, each
 * a byte (what, in its lower four bits; which channel, in bit 4) and its operands: register accesses of every
 * width, whole task files and packets, descriptors, strings at the data port, configuration space, time, faults
 * of the host, drives and discs that come and go, states saved, loaded, and made up.
 *
 * After all of it a reset must leave every drive idle, and a state must save as it was loaded.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "block/layers.h"
#include "chipset/ide/ide.h"
#include "proto/ata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ACTIONS_MAX 256
#define BM_PORT     0xc000U
#define TABLE_GPA   0x100000U
#define DEVFN       PCI_DEVFN(7, 1)
#define DISK_BYTES  (1U << 20)
#define TURNS_MAX   100000U

static struct loop *loop;
static struct mem *mem;
static struct block *disk, *read_only, *disc;
static struct block_fail *fail;
static struct block_delay *delay;
static struct scsi_disk *dvd;

static struct chipset *chipset;
static struct pci_bus *bus;
static struct ide *ide;
static unsigned int done;
static struct loop_work done_work, detach_work;
static bool is_detaching;
static bool level[2];

static void ignore(void *ctx)
{
}

static void on_done(struct loop_work *work)
{
	done++;
}

static void on_detached(struct loop_work *work)
{
	check(is_detaching);
	is_detaching = false;
}

static void set_line(void *ctx, uint32_t gsi, bool is_up)
{
	check(level[gsi - 14] != is_up); /* edges only */
	level[gsi - 14] = is_up;
}

static struct block *open_null(uint32_t bytes, bool is_read_only)
{
	const struct block_config config = { .kind = BLOCK_NULL,
					     .null_bytes = bytes,
					     .read_only = is_read_only,
					     .logical_block_bytes = 512 };
	struct block *block;
	struct diag diag;

	check(block_open(&config, &block, &diag) == 0);
	return block;
}

/* Made once: what an input leaves behind in them, begin() undoes. */
static void setup(void)
{
	const struct mem_config config = { .bytes = 64ULL << 20 };
	struct scsi_disk_config unit = { .type = SCSI_DVD,
					 .transfer_bytes_max = IDE_PACKET_BYTES_MAX };
	struct diag diag;

	check(loop_create("fuzz", &loop, &diag) == 0);
	check(mem_create(&config, &mem, &diag) == 0);
	check(block_fail_create(open_null(DISK_BYTES, false), &fail) == 0);
	check(block_delay_create(block_fail_block(fail), 0, &delay) == 0);
	disk = block_delay_block(delay);
	read_only = open_null(DISK_BYTES / 2, true);
	disc = open_null(DISK_BYTES, true);
	check(block_start(disk, loop) == 0 && block_start(read_only, loop) == 0 &&
	      block_start(disc, loop) == 0);
	unit.info = block_info(disc);
	check(scsi_disk_create(&unit, &dvd, &diag) == 0);
	loop_work_init(&done_work, on_done);
	loop_work_init(&detach_work, on_detached);
}

static void turn_until_done(unsigned int count)
{
	for (unsigned int i = 0; done < count; i++) {
		check(i < TURNS_MAX); /* bounded work */
		loop_turn(loop);
	}
}

static void release(void)
{
	block_delay_set(delay, 0);
	block_delay_release(delay);
}

static void pause_chip(void)
{
	release();
	ide_pause(ide, &done_work);
	turn_until_done(done + 1);
}

static void create(void)
{
	static const struct chipset_power_ops power_ops = { ignore, ignore };
	const struct chipset_power power = { &power_ops, NULL };
	struct ide_config config = {
		.mem = mem,
		.loop = loop,
		.devfn = DEVFN,
		.is_decoded = true,
		.lines = { { set_line, NULL, 14 }, { set_line, NULL, 15 } },
		.drives = { { .kind = IDE_DISK, .block = disk, .write_cache = true },
			    { .kind = IDE_DISK, .block = read_only },
			    { .kind = IDE_DVD, .unit = dvd } },
	};
	struct diag diag;

	check(chipset_create(&chipset) == 0);
	check(pci_bus_create(chipset, &power, &bus) == 0);
	config.chipset = chipset;
	config.bus = bus;
	check(ide_create(&config, &ide, &diag) == 0);
}

static void out(uint16_t port, uint32_t value, unsigned int bytes)
{
	chipset_pio(chipset, port, true, &value, bytes, 1);
}

static uint32_t in(uint16_t port, unsigned int bytes)
{
	uint32_t value = 0;

	chipset_pio(chipset, port, false, &value, bytes, 1);
	return value;
}

static void enable(void)
{
	out(0xcf8, 0x80000000U | DEVFN << 8 | 0x20, 4);
	out(0xcfc, BM_PORT, 4);
	out(0xcf8, 0x80000000U | DEVFN << 8 | 0x04, 4);
	out(0xcfc, 0x0005, 2);
	out(0xcf8, 0x80000000U | DEVFN << 8 | 0x40, 4);
	out(0xcfc, 0x80008000U, 4);
}

static void insert_disc(void)
{
	struct diag diag;

	if (scsi_disk_end(dvd, 0)) {
		scsi_disk_detach(dvd, 0);
	}
	scsi_disk_clear_medium(dvd);
	check(scsi_disk_set_medium(dvd, block_info(disc), &diag) == 0);
	scsi_disk_attach(dvd, 0, disc);
}

static void begin(void)
{
	insert_disc();
	scsi_disk_reset(dvd);
	memset(mem_hva(mem, TABLE_GPA, 65536), 0, 65536);
	level[0] = level[1] = is_detaching = false;
	block_fail_nth(fail, BLOCK_READ, 0, -EIO);
	block_fail_nth(fail, BLOCK_WRITE, 0, -EIO);
	block_fail_nth(fail, BLOCK_FLUSH, 0, -EIO);
	create();
	enable();
}

/* ---- actions ---------------------------------------------------------------------------------------------- */

static uint16_t pick_port(unsigned int channel, uint8_t which)
{
	if (which & 0x80) {
		return (uint16_t)(BM_PORT + channel * 8 + (which & 7));
	}
	if (which & 0x40) {
		return channel ? 0x376 : 0x3f6;
	}
	return (uint16_t)((channel ? 0x170 : 0x1f0) + (which & 7));
}

static void access_port(struct bytes_cursor *c, unsigned int channel, bool is_write)
{
	uint8_t which = bytes_take_u8(c);
	unsigned int bytes = 1U << (which >> 3 & 3) % 3;
	uint16_t port = pick_port(channel, which);

	if (is_write) {
		out(port, bytes_take_le32(c), bytes);
	} else {
		in(port, bytes);
	}
}

/* Device, both halves of the registers, command. */
static void task_file(struct bytes_cursor *c, unsigned int channel)
{
	uint16_t base = channel ? 0x170 : 0x1f0;

	out((uint16_t)(base + 6), bytes_take_u8(c), 1);
	for (uint16_t reg = 1; reg < 6; reg++) {
		uint16_t value = bytes_take_le16(c);

		out((uint16_t)(base + reg), value >> 8, 1);
		out((uint16_t)(base + reg), value & 0xff, 1);
	}
	out((uint16_t)(base + 7), bytes_take_u8(c), 1);
}

static void packet(struct bytes_cursor *c, unsigned int channel)
{
	uint16_t base = channel ? 0x170 : 0x1f0;
	uint8_t cdb[12];

	out((uint16_t)(base + 6), 0xa0, 1);
	out((uint16_t)(base + 1), bytes_take_u8(c), 1);
	out((uint16_t)(base + 4), bytes_take_u8(c), 1);
	out((uint16_t)(base + 5), bytes_take_u8(c), 1);
	out((uint16_t)(base + 7), ATA_CMD_PACKET, 1);
	bytes_take_copy(c, cdb, sizeof(cdb));
	chipset_pio(chipset, base, true, cdb, 2, 6);
}

static void descriptors(struct bytes_cursor *c, unsigned int channel)
{
	unsigned int at = bytes_take_u8(c), count = 1U + bytes_take_u8(c) % 64;
	uint32_t gpa = bytes_take_le32(c);
	uint16_t bytes = bytes_take_le16(c), flags = bytes_take_le16(c);

	for (unsigned int i = 0; i < count; i++, gpa += bytes) {
		uint8_t raw[8];

		bytes_put_le32(raw, gpa);
		bytes_put_le16(&raw[4], bytes);
		bytes_put_le16(&raw[6], i + 1 == count ? flags : 0);
		check(mem_write(mem, TABLE_GPA + (at + i) * 8, raw, 8) == 0);
	}
	out((uint16_t)(BM_PORT + channel * 8 + 4), TABLE_GPA + at * 8, 4);
}

static void string(struct bytes_cursor *c, unsigned int channel)
{
	static uint8_t data[4096];
	uint8_t what = bytes_take_u8(c);
	unsigned int bytes = 1U << (what & 3) % 3, count = 1U + (what >> 3) * 16U;

	chipset_pio(chipset, channel ? 0x170 : 0x1f0, what & 4, data, bytes,
		    (unsigned int)num_min(count, sizeof(data) / bytes));
}

static void save_into(struct save *save, const uint8_t **ret, size_t *ret_bytes)
{
	save_init(save);
	ide_save(ide, save);
	check(save_finish(save, ret, ret_bytes) == 0);
}

static void save_and_load(void)
{
	struct save first, second;
	const uint8_t *a, *b;
	size_t a_bytes, b_bytes;
	struct load load;

	if (is_detaching) {
		return;
	}
	pause_chip();
	save_into(&first, &a, &a_bytes);
	load_init(&load, a, a_bytes);
	check(ide_load(ide, &load) == 0);
	save_into(&second, &b, &b_bytes);
	check(a_bytes == b_bytes && memcmp(a, b, a_bytes) == 0);
	save_fini(&first);
	save_fini(&second);
	ide_resume(ide);
}

/* A true state with some bytes changed, or bytes of the input. */
static void load_nonsense(struct bytes_cursor *c)
{
	uint8_t what = bytes_take_u8(c);
	struct save save;
	const uint8_t *bytes;
	size_t length;
	struct load load;

	if (is_detaching) {
		return;
	}
	pause_chip();
	save_into(&save, &bytes, &length);
	for (unsigned int i = 0; i < (what & 7U); i++) {
		size_t at = bytes_take_le16(c) % length;

		save.bytes[at] = bytes_take_u8(c);
	}
	if (what & 0x80) {
		length = num_min(length, c->left);
		memcpy(save.bytes, c->at, length);
	}
	load_init(&load, bytes, length);
	if (ide_load(ide, &load) == 0) {
		ide_resume(ide);
		save_and_load();
		pause_chip();
	}
	save_fini(&save);
	ide_resume(ide);
}

static void host(struct bytes_cursor *c)
{
	uint8_t what = bytes_take_u8(c);
	static const int errors[] = { -EIO, -ENOSPC, -EINVAL, -EIO };

	if (what & 0x80) {
		block_delay_set(delay, BLOCK_DELAY_HOLD);
	} else if (what & 0x40) {
		release();
	} else {
		block_fail_nth(fail, (enum block_op)(what % 3), 1U + (what >> 2 & 3),
			       errors[what >> 4 & 3]);
	}
}

static void come_and_go(struct bytes_cursor *c)
{
	uint8_t what = bytes_take_u8(c);

	if (what & 0x80) {
		ide_attach(ide, what & 3, NULL);
	} else if (!is_detaching) {
		is_detaching = true;
		ide_detach(ide, what & 3, &detach_work);
	}
}

static void disc_changes(struct bytes_cursor *c)
{
	if (bytes_take_u8(c) & 1) {
		insert_disc();
	} else if (scsi_disk_end(dvd, 0)) {
		scsi_disk_detach(dvd, 0);
		scsi_disk_clear_medium(dvd);
	}
}

static void configure(struct bytes_cursor *c)
{
	uint8_t offset = bytes_take_u8(c);

	out(0xcf8, 0x80000000U | DEVFN << 8 | offset, 4);
	out((uint16_t)(0xcfc + (offset & 3)), bytes_take_le16(c), 1);
}

static void reset(void)
{
	if (!is_detaching) {
		pause_chip();
		ide_reset(ide);
		ide_resume(ide);
		enable();
	}
}

static void act(struct bytes_cursor *c)
{
	uint8_t what = bytes_take_u8(c);
	unsigned int channel = what >> 4 & 1;

	switch (what & 0x0f) {
	case 0:
		access_port(c, channel, true);
		break;
	case 1:
		access_port(c, channel, false);
		break;
	case 2:
		task_file(c, channel);
		break;
	case 3:
		packet(c, channel);
		break;
	case 4:
		descriptors(c, channel);
		break;
	case 5:
		string(c, channel);
		break;
	case 6:
		for (unsigned int i = 0; i < 1U + (what >> 5); i++) {
			loop_turn(loop);
		}
		break;
	case 7:
		save_and_load();
		break;
	case 8:
		load_nonsense(c);
		break;
	case 9:
		host(c);
		break;
	case 10:
		come_and_go(c);
		break;
	case 11:
		configure(c);
		break;
	case 12:
		reset();
		break;
	case 13:
		disc_changes(c);
		break;
	case 14: /* start, and what an interrupt handler reads */
		out((uint16_t)(BM_PORT + channel * 8), what >> 5 & 1 ? 9 : 0, 1);
		break;
	default:
		in(channel ? 0x177 : 0x1f7, 1);
		break;
	}
}

/* Whatever happened: a reset leaves drives that are idle. */
static void check_alive(void)
{
	enable();
	for (unsigned int channel = 0; channel < 2; channel++) {
		out(channel ? 0x376 : 0x3f6, ATA_CONTROL_SRST, 1);
		out(channel ? 0x376 : 0x3f6, 0, 1);
	}
	for (unsigned int i = 0; i < 64; i++) {
		loop_turn(loop);
	}
	pause_chip();
	for (unsigned int channel = 0; channel < 2; channel++) {
		uint8_t status = (uint8_t)in(channel ? 0x376 : 0x3f6, 1);

		check(!(status & (ATA_STATUS_BSY | ATA_STATUS_DRQ)) || status == 0xff);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_cursor c = bytes_cursor(data, size);

	if (!loop) {
		setup();
	}
	begin();
	for (unsigned int i = 0; i < ACTIONS_MAX && c.left > 0; i++) {
		act(&c);
	}
	release();
	for (unsigned int i = 0; is_detaching; i++) {
		check(i < TURNS_MAX);
		loop_turn(loop);
	}
	check_alive();
	ide_destroy(ide);
	pci_bus_destroy(bus);
	chipset_destroy(chipset);
	scsi_disk_detach(dvd, 0);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * The AIC-7870 as a hostile guest has it: register noise of all widths, programs, SCBs and memory of any
 * contents, a bus with two disks and a DVD drive, time, stops, saved states. Input: actions of four bytes
 *
 *   what, a register or an index, two bytes of value
 *
 * Whatever is done, a round of the loop ends soon, and every command that was begun ends.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "chipset/aic7870/aic7870.h"
#include "scsi/scsi_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEVFN       PCI_DEVFN(4, 0)
#define PORT        0xe000
#define GPA         0xfebf0000U
#define UNITS       3
#define ACTIONS_MAX 4096

struct machine {
	struct loop *loop;
	struct chipset *chipset;
	struct pci_bus *bus;
	struct mem *mem;
	struct aic7870 *chip;
	struct scsi_target targets[AIC_IDS];
	struct block *ends[UNITS];
	struct scsi_disk *units[UNITS];
	bool was_quiet;
};

static struct machine *machine; /* made once, reset for each input */
static struct loop_work quiet;

static void ignore(void *ctx)
{
}

static void on_quiet(struct loop_work *work)
{
	machine->was_quiet = true;
}

static const struct chipset_power_ops power_ops = { ignore, ignore };

static void create_chip(struct machine *m)
{
	struct aic7870_config config = {
		.chipset = m->chipset, .bus = m->bus, .devfn = DEVFN, .mem = m->mem, .loop = m->loop
	};

	for (unsigned int i = 0; i < AIC_IDS; i++) {
		config.targets[i] = &m->targets[i];
	}
	check(aic7870_create(&config, &m->chip) == 0);
}

static void setup(void)
{
	const struct chipset_power power = { &power_ops, NULL };
	const struct mem_config memory = { .bytes = 64 << 20 };
	struct block_config config = { .kind = BLOCK_NULL, .null_bytes = 1 << 20 };
	struct machine *m = calloc(1, sizeof(*m));
	struct diag diag;

	check(m != NULL);
	machine = m;
	loop_work_init(&quiet, on_quiet);
	check(loop_create("fuzz", &m->loop, &diag) == 0);
	check(chipset_create(&m->chipset) == 0);
	check(mem_create(&memory, &m->mem, &diag) == 0);
	check(pci_bus_create(m->chipset, &power, &m->bus) == 0);
	for (unsigned int i = 0; i < UNITS; i++) {
		struct scsi_disk_config unit = { .type = i == 2 ? SCSI_DVD : SCSI_DISK,
						 .transfer_bytes_max = AIC7870_TRANSFER_BYTES_MAX };

		check(block_open(&config, &m->ends[i], &diag) == 0);
		check(block_start(m->ends[i], m->loop) == 0);
		unit.info = block_info(m->ends[i]);
		check(scsi_disk_create(&unit, &m->units[i], &diag) == 0);
		scsi_disk_attach(m->units[i], 0, m->ends[i]);
		m->targets[i & 1].luns[i] = m->units[i];
	}
	create_chip(m);
}

static void config_write(struct machine *m, uint32_t offset, uint32_t value)
{
	uint32_t address = 0x80000000U | DEVFN << 8 | (offset & 0xfc);

	chipset_pio(m->chipset, 0xcf8, true, &address, 4, 1);
	chipset_pio(m->chipset, 0xcfc, true, &value, 4, 1);
}

static void map(struct machine *m)
{
	config_write(m, PCI_BAR_0, PORT);
	config_write(m, PCI_BAR_0 + 4, GPA);
	config_write(m, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static void write_register(struct machine *m, uint8_t reg, uint64_t value, unsigned int bytes)
{
	chipset_mmio(m->chipset, GPA + reg, true, &value, bytes);
}

static void stop(struct machine *m)
{
	m->was_quiet = false;
	aic7870_stop(m->chip, m->loop, &quiet);
	for (unsigned int i = 0; i < 100000 && !m->was_quiet; i++) {
		loop_turn(m->loop);
	}
	check(m->was_quiet); /* everything ends */
}

/* Saved, loaded into another chip, saved: the same bytes. */
static void save_and_load(struct machine *m)
{
	struct save first, second;
	const uint8_t *a, *b;
	size_t a_bytes, b_bytes;
	struct load load;

	stop(m);
	save_init(&first);
	save_init(&second);
	aic7870_save(m->chip, &first);
	check(save_finish(&first, &a, &a_bytes) == 0);
	aic7870_destroy(m->chip);
	create_chip(m);
	load_init(&load, a, a_bytes);
	check(aic7870_load(m->chip, &load) == 0);
	aic7870_save(m->chip, &second);
	check(save_finish(&second, &b, &b_bytes) == 0);
	check(a_bytes == b_bytes && memcmp(a, b, a_bytes) == 0);
	save_fini(&first);
	save_fini(&second);
	aic7870_resume(m->chip);
}

/* The saved state, with bytes of it changed. */
static void load_nonsense(struct machine *m, uint8_t seed, uint16_t value)
{
	struct save save;
	struct load load;
	const uint8_t *saved;
	uint8_t *bytes;
	size_t length;
	int ignored;

	stop(m);
	save_init(&save);
	aic7870_save(m->chip, &save);
	check(save_finish(&save, &saved, &length) == 0);
	bytes = malloc(length);
	check(bytes != NULL);
	memcpy(bytes, saved, length);
	for (unsigned int i = 0; i < 4; i++) {
		/* The end is where commands and the bus are. */
		size_t back = 1 + (value * (i + 1U) + seed * 7U) %
					  (i < 3 ? num_min(length, 400) : length);

		bytes[length - back] = (uint8_t)(seed + i * 31);
	}
	load_init(&load, bytes, length);
	ignored = aic7870_load(m->chip, &load);
	(void)ignored;
	free(bytes);
	save_fini(&save);
	aic7870_resume(m->chip);
}

static void fill_memory(struct machine *m, uint8_t at, uint16_t value)
{
	uint8_t *memory = mem_hva(m->mem, (uint64_t)at << 12, 4096);

	for (unsigned int i = 0; memory && i < 64; i++) {
		memory[i] = (uint8_t)(value >> (i & 1) * 8) ^ (uint8_t)(i >> 2);
	}
}

/* A word of a program: the value at a place that the register byte names. */
static void write_program(struct machine *m, uint8_t at, uint16_t value, const uint8_t *more)
{
	uint32_t word = (uint32_t)value << 16 | (uint32_t)more[0] << 8 | more[1];

	write_register(m, AIC_HCNTRL, AIC_PAUSE, 1);
	write_register(m, AIC_SEQCTL, AIC_LOADRAM | AIC_FAILDIS, 1);
	write_register(m, AIC_SEQADDR0, at, 1);
	write_register(m, AIC_SEQADDR1, 0, 1);
	for (unsigned int i = 0; i < 4; i++) {
		write_register(m, AIC_SEQRAM, word >> 8 * i, 1);
	}
	write_register(m, AIC_SEQCTL, AIC_FAILDIS, 1);
	write_register(m, AIC_SEQADDR0, 0, 1);
}

static void act(struct machine *m, struct bytes_cursor *c)
{
	static const uint8_t none[2];
	uint8_t what = bytes_take_u8(c), at = bytes_take_u8(c);
	uint16_t value = bytes_take_le16(c);
	uint64_t read = 0;

	if (what < 0xa0) {
		write_register(m, at, what & 1 ? value * 0x10001U : value,
			       1U << (what & 3 ? 0 : 2));
	} else if (what < 0xc0) {
		chipset_pio(m->chipset, (uint16_t)(PORT + at), false, &read, 1, 1);
	} else if (what < 0xd8) {
		const uint8_t *more = c->left >= 2 ? bytes_take(c, 2) : none;

		write_program(m, at, value, more);
	} else if (what < 0xe8) {
		for (unsigned int i = 0; i <= (at & 1); i++) {
			loop_turn(m->loop);
		}
	} else if (what < 0xf0) {
		fill_memory(m, at, value);
	} else if (what < 0xf4) {
		save_and_load(m);
	} else if (what < 0xf8) {
		load_nonsense(m, at, value);
		map(m);
	} else if (what < 0xfc) {
		config_write(m, at, value);
	} else {
		aic7870_reset(m->chip);
		map(m);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes_cursor c = bytes_cursor(data, size);

	if (!machine) {
		setup();
	}
	stop(machine);
	aic7870_destroy(machine->chip);
	create_chip(machine);
	map(machine);
	for (unsigned int i = 0; i < UNITS; i++) {
		scsi_disk_reset(machine->units[i]);
	}
	for (unsigned int i = 0; i < ACTIONS_MAX && c.left >= 4; i++) {
		act(machine, &c);
	}
	stop(machine);
	return 0;
}

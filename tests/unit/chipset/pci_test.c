/* SPDX-License-Identifier: MIT */
#include "pci_rig.h"

#include <errno.h>

#define DEVFN PCI_DEVFN(5, 0)
#define OTHER PCI_DEVFN(6, 1)

struct chip {
	struct pci_function function;
	uint8_t ports[16];
	uint32_t memory[1024];
	unsigned int moves, written;
	uint64_t base;
	bool is_mapped;
};

static uint64_t ports_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	uint64_t value = 0;

	memcpy(&value, ((struct chip *)ctx)->ports + offset, bytes);
	return value;
}

static void ports_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	memcpy(((struct chip *)ctx)->ports + offset, &value, bytes);
}

static uint64_t memory_read(void *ctx, uint64_t offset, unsigned int bytes)
{
	return ((struct chip *)ctx)->memory[offset / 4];
}

static void memory_write(void *ctx, uint64_t offset, uint64_t value, unsigned int bytes)
{
	((struct chip *)ctx)->memory[offset / 4] = (uint32_t)value;
}

static const struct io_region_ops ports_ops = { ports_read, ports_write };
static const struct io_region_ops memory_ops = { memory_read, memory_write };

static void on_written(struct pci_function *function, uint32_t offset, unsigned int bytes)
{
	((struct chip *)function->ctx)->written++;
}

static void on_moved(struct pci_function *function, unsigned int bar, uint64_t base, bool is_mapped)
{
	struct chip *chip = function->ctx;

	chip->moves++;
	chip->base = base;
	chip->is_mapped = is_mapped;
}

static const struct pci_function_ops function_ops = { .config_written = on_written,
						      .bar_moved = on_moved };

static void chip_init(struct chip *chip, unsigned int pin)
{
	const struct pci_identity identity = { .vendor = 0x1011,
					       .device = 0x0009,
					       .revision = 0x22,
					       .class_code = 0x020000,
					       .subsystem_vendor = 0x1414,
					       .subsystem_device = 7,
					       .interrupt_pin = (uint8_t)pin };

	memset(chip, 0, sizeof(*chip));
	pci_function_init(&chip->function, "chip", &identity);
	chip->function.ctx = chip;
	chip->function.ops = &function_ops;
	chip->function.bars[0] = (struct pci_bar){
		.bytes = 16, .is_io = true, .ops = &ports_ops, .ctx = chip, .name = "chip ports"
	};
	chip->function.bars[1] = (struct pci_bar){
		.bytes = 4096, .ops = &memory_ops, .ctx = chip, .name = "chip memory"
	};
	chip->function.bars[PCI_BAR_ROM] = (struct pci_bar){
		.bytes = 0x10000, .ops = &memory_ops, .ctx = chip, .name = "chip ROM"
	};
}

struct fixture {
	struct pci_rig p;
	struct chip chip;
};

static int set_up(void **state)
{
	static struct fixture f;

	pci_rig_init(&f.p);
	chip_init(&f.chip, 1);
	assert_int_equal(pci_add(f.p.bus, &f.chip.function, DEVFN), 0);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	pci_remove(&f->chip.function);
	pci_rig_fini(&f->p);
	return 0;
}

static void a_guest_finds_it(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(pci_rig_read(&f->p, DEVFN, 0), 0x00091011);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, 8), 0x02000022);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, PCI_SUBSYSTEM), 0x00071414);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, 0x3c) >> 8 & 0xff, 1);
	/* Byte by byte, and word by word. */
	pci_rig_select(&f->p, DEVFN, 0);
	assert_int_equal(rig_in(&f->p.rig, 0xcfe), 0x09);
	assert_int_equal(rig_in16(&f->p.rig, 0xcfc), 0x1011);
	/* Nobody is there, on no other bus, and not without the enable bit. */
	assert_int_equal(pci_rig_read(&f->p, OTHER, 0), 0xffffffff);
	rig_out32(&f->p.rig, 0xcf8, 0x80010000U | DEVFN << 8);
	assert_int_equal(rig_in32(&f->p.rig, 0xcfc), 0xffffffff);
	rig_out32(&f->p.rig, 0xcf8, DEVFN << 8);
	assert_int_equal(rig_in32(&f->p.rig, 0xcfc), 0xffffffff);
	assert_int_equal(rig_in32(&f->p.rig, 0xcf8), DEVFN << 8);
}

static void what_is_fixed_cannot_be_written(void **state)
{
	struct fixture *f = *state;

	for (uint32_t offset = 0; offset < PCI_CONFIG_BYTES; offset += 4) {
		pci_rig_write(&f->p, DEVFN, offset, 0xffffffff);
	}
	assert_int_equal(pci_rig_read(&f->p, DEVFN, 0), 0x00091011);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, 4), 0x00000147);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, 0x0c), 0x0000ffff);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, PCI_SUBSYSTEM), 0x00071414);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, 0x3c), 0x000001ff);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, 0x80), 0);
	/* Errors are cleared by writing ones. */
	pci_put(&f->chip.function, PCI_STATUS, PCI_STATUS_MASTER_ABORT | PCI_STATUS_MEDIUM, 2);
	pci_rig_write(&f->p, DEVFN, 4, 0xffff0000);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, 4) >> 16, PCI_STATUS_MEDIUM);
}

static void base_addresses_say_their_size(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(pci_rig_read(&f->p, DEVFN, 0x10), 1);
	pci_rig_write(&f->p, DEVFN, 4, 3); /* decoding: asked for all the same, by some */
	pci_rig_write(&f->p, DEVFN, 0x10, 0xffffffff);
	pci_rig_write(&f->p, DEVFN, 0x14, 0xffffffff);
	pci_rig_write(&f->p, DEVFN, 0x18, 0xffffffff);
	pci_rig_write(&f->p, DEVFN, 0x30, 0xffffffff);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, 0x10), 0xfffffff1);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, 0x14), 0xfffff000);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, 0x18), 0);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, 0x30), 0xffff0001);
	assert_int_equal(f->chip.moves, 0); /* and nothing was put there */
}

static void base_addresses_move(void **state)
{
	struct fixture *f = *state;

	pci_rig_write(&f->p, DEVFN, 0x10, 0xc000);
	pci_rig_write(&f->p, DEVFN, 0x14, 0xfe000000);
	rig_out(&f->p.rig, 0xc003, 0x55);
	assert_int_equal(f->chip.ports[3], 0); /* not decoded yet */
	pci_rig_write16(&f->p, DEVFN, PCI_COMMAND, PCI_COMMAND_IO);
	rig_out(&f->p.rig, 0xc003, 0x55);
	assert_int_equal(f->chip.ports[3], 0x55);
	assert_int_equal(pci_rig_load(&f->p, 0xfe000000, 4), 0xffffffff);
	pci_rig_write16(&f->p, DEVFN, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	pci_rig_store(&f->p, 0xfe000010, 77, 4);
	assert_int_equal(pci_rig_load(&f->p, 0xfe000010, 4), 77);
	assert_true(f->chip.is_mapped && f->chip.base == 0xfe000000);

	pci_rig_write(&f->p, DEVFN, 0x14, 0xfd000000);
	assert_int_equal(pci_rig_load(&f->p, 0xfe000010, 4), 0xffffffff);
	assert_int_equal(pci_rig_load(&f->p, 0xfd000010, 4), 77);
	pci_rig_write(&f->p, DEVFN, 0x30, 0xfc000001);
	assert_int_equal(pci_rig_load(&f->p, 0xfc000010, 4), 77);
	pci_rig_write16(&f->p, DEVFN, PCI_COMMAND, 0);
	assert_int_equal(rig_in(&f->p.rig, 0xc003), 0xff);
	assert_int_equal(pci_rig_load(&f->p, 0xfd000010, 4), 0xffffffff);
	assert_int_equal(pci_rig_load(&f->p, 0xfc000010, 4), 0xffffffff);
}

/* Two at one place: the first one has it, until it goes. */
static void two_want_one_place(void **state)
{
	struct fixture *f = *state;
	static struct chip other;

	chip_init(&other, 1);
	assert_int_equal(pci_add(f->p.bus, &other.function, DEVFN), -EEXIST);
	assert_int_equal(pci_add(f->p.bus, &other.function, OTHER), 0);
	pci_rig_write(&f->p, DEVFN, 0x10, 0xc000);
	pci_rig_write(&f->p, OTHER, 0x10, 0xc008);
	pci_rig_write16(&f->p, DEVFN, PCI_COMMAND, PCI_COMMAND_IO);
	pci_rig_write16(&f->p, OTHER, PCI_COMMAND, PCI_COMMAND_IO);
	rig_out(&f->p.rig, 0xc000, 1);
	assert_int_equal(f->chip.ports[0], 1);
	assert_int_equal(other.ports[0], 0);
	pci_rig_write(&f->p, DEVFN, 0x10, 0xd000);
	rig_out(&f->p.rig, 0xc000, 2);
	assert_int_equal(other.ports[0], 2);
	/* Not over what is fixed on the board. */
	pci_rig_write(&f->p, OTHER, 0x10, 0xcf0);
	assert_int_equal(pci_rig_read(&f->p, OTHER, 0), 0x00091011);
	pci_remove(&other.function);
	assert_int_equal(pci_rig_read(&f->p, OTHER, 0), 0xffffffff);
}

/* A string of writes to the data port, the first of which moves regions about. */
static void a_string_moves_what_it_writes_to(void **state)
{
	struct fixture *f = *state;
	uint32_t values[3] = { 0xc001, 0xb001, 0xa001 };

	pci_rig_write16(&f->p, DEVFN, PCI_COMMAND, PCI_COMMAND_IO);
	pci_rig_select(&f->p, DEVFN, 0x10);
	assert_true(chipset_pio(f->p.rig.chipset, 0xcfc, true, values, 4, 3));
	rig_out(&f->p.rig, 0xa001, 9);
	assert_int_equal(f->chip.ports[1], 9);
	assert_int_equal(rig_in(&f->p.rig, 0xb001), 0xff);
}

static void pins_meet_in_wires(void **state)
{
	struct fixture *f = *state;
	static struct chip other;

	/* INTA of device 5 and INTD of device 6 are one wire. */
	chip_init(&other, 4);
	assert_int_equal(pci_add(f->p.bus, &other.function, OTHER), 0);
	chipset_lock(f->p.rig.chipset);
	pci_set_intx(&f->chip.function, true);
	assert_true(f->p.wires[1]);
	pci_set_intx(&other.function, true);
	pci_set_intx(&other.function, true);
	pci_set_intx(&f->chip.function, false);
	assert_true(f->p.wires[1]);
	chipset_unlock(f->p.rig.chipset);
	pci_remove(&other.function); /* pulled out while it pulls */
	assert_false(f->p.wires[1]);
	assert_int_equal(f->p.edges[1], 1);
}

static void the_reset_register(void **state)
{
	struct fixture *f = *state;

	rig_out(&f->p.rig, 0xcf9, 0x02);
	assert_int_equal(f->p.rig.resets, 0);
	rig_out(&f->p.rig, 0xcf9, 0x06);
	rig_out(&f->p.rig, 0xcf9, 0x06);
	assert_int_equal(f->p.rig.resets, 1);
	assert_int_equal(rig_in(&f->p.rig, 0xcf9), 0x06);
	pci_bus_reset(f->p.bus);
	assert_int_equal(rig_in(&f->p.rig, 0xcf9), 0);
}

static void reset_takes_all_away(void **state)
{
	struct fixture *f = *state;

	pci_rig_write(&f->p, DEVFN, 0x10, 0xc000);
	pci_rig_write16(&f->p, DEVFN, PCI_COMMAND, PCI_COMMAND_IO);
	chipset_lock(f->p.rig.chipset);
	pci_set_intx(&f->chip.function, true);
	pci_function_reset(&f->chip.function);
	chipset_unlock(f->p.rig.chipset);
	assert_false(f->p.wires[1]);
	assert_int_equal(rig_in(&f->p.rig, 0xc000), 0xff);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, 0x10), 1);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, 4), 0);
}

static void it_is_saved_and_loaded(void **state)
{
	struct fixture *f = *state;
	const uint8_t *bytes;
	struct save save;
	struct load load;
	size_t length;

	pci_rig_write(&f->p, DEVFN, 0x10, 0xc000);
	pci_rig_write16(&f->p, DEVFN, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	save_init(&save);
	pci_function_save(&f->chip.function, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	chipset_lock(f->p.rig.chipset);
	pci_function_reset(&f->chip.function);
	assert_false(pci_is_master(&f->chip.function));
	load_init(&load, bytes, length);
	assert_int_equal(pci_function_load(&f->chip.function, &load), 0);
	assert_true(pci_is_master(&f->chip.function));
	chipset_unlock(f->p.rig.chipset);
	rig_out(&f->p.rig, 0xc002, 3);
	assert_int_equal(f->chip.ports[2], 3);
	/* Cut off, and with another identity: what is fixed stays. */
	load_init(&load, bytes, length - 1);
	assert_int_equal(pci_function_load(&f->chip.function, &load), -EBADMSG);
	assert_int_equal(pci_rig_read(&f->p, DEVFN, 0), 0x00091011);
	save_fini(&save);
}

static void the_bus_is_saved_and_loaded(void **state)
{
	struct fixture *f = *state;
	const uint8_t *bytes;
	struct save save;
	struct load load;
	size_t length;

	pci_rig_select(&f->p, DEVFN, 8);
	save_init(&save);
	pci_bus_save(f->p.bus, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	pci_bus_reset(f->p.bus);
	assert_int_equal(rig_in32(&f->p.rig, 0xcfc), 0xffffffff);
	load_init(&load, bytes, length);
	assert_int_equal(pci_bus_load(f->p.bus, &load), 0);
	assert_int_equal(rig_in32(&f->p.rig, 0xcfc), 0x02000022);
	save_fini(&save);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_guest_finds_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_fixed_cannot_be_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(base_addresses_say_their_size, set_up, tear_down),
		cmocka_unit_test_setup_teardown(base_addresses_move, set_up, tear_down),
		cmocka_unit_test_setup_teardown(two_want_one_place, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_string_moves_what_it_writes_to, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(pins_meet_in_wires, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_reset_register, set_up, tear_down),
		cmocka_unit_test_setup_teardown(reset_takes_all_away, set_up, tear_down),
		cmocka_unit_test_setup_teardown(it_is_saved_and_loaded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_bus_is_saved_and_loaded, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

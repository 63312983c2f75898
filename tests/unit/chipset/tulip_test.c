/* SPDX-License-Identifier: MIT */
/* The 21140's registers, its serial ROM and PHY as a driver rattles their wires, its timer, its place on the bus. */
#include <unistd.h>

#include "tulip_rig.h"

/* ---- wires ------------------------------------------------------------------------------------------ */

#define SROM_ON (TULIP_CSR9_SR | 0x4000U)
#define CS      TULIP_CSR9_SROM_CS
#define CLOCK   TULIP_CSR9_SROM_CLOCK
#define IN      TULIP_CSR9_SROM_IN

/* Sends so many bits of value; returns what came out meanwhile, a bit after each clock. */
static uint32_t srom_shift(struct tulip_rig *r, uint32_t value, unsigned int bits)
{
	uint32_t out = 0;

	while (bits--) {
		uint32_t in = value >> bits & 1 ? IN : 0;

		csr_out(r, 9, SROM_ON | CS | in);
		csr_out(r, 9, SROM_ON | CS | in | CLOCK);
		out = out << 1 | ((csr_in(r, 9) & TULIP_CSR9_SROM_OUT) != 0);
	}
	csr_out(r, 9, SROM_ON | CS);
	return out;
}

static void srom_begin(struct tulip_rig *r)
{
	csr_out(r, 9, SROM_ON);
	csr_out(r, 9, SROM_ON | CS);
}

static void srom_end(struct tulip_rig *r)
{
	csr_out(r, 9, SROM_ON);
}

/* As Linux does it: two zeroes, the start bit, the instruction, the address; all that came out. */
static uint32_t srom_read_raw(struct tulip_rig *r, unsigned int location, unsigned int address_bits)
{
	uint32_t out;

	srom_begin(r);
	out = srom_shift(r, 6U << address_bits | location, address_bits + 5);
	out = out << 16 | srom_shift(r, 0, 16);
	srom_end(r);
	return out;
}

static uint16_t srom_read(struct tulip_rig *r, unsigned int location)
{
	return (uint16_t)srom_read_raw(r, location, 6);
}

static void srom_command(struct tulip_rig *r, uint32_t bits, unsigned int count)
{
	srom_begin(r);
	srom_shift(r, bits, count);
	srom_end(r);
}

static void mdio_clock(struct tulip_rig *r, uint32_t bits)
{
	csr_out(r, 9, bits);
	csr_out(r, 9, bits | TULIP_CSR9_MDC);
}

static void mdio_shift(struct tulip_rig *r, uint32_t value, unsigned int bits)
{
	while (bits--) {
		mdio_clock(r, value >> bits & 1 ? TULIP_CSR9_MDO : 0);
	}
}

/* As Linux does it; with the bits of the turn-around in 16 and 17. */
static uint32_t mdio_read_raw(struct tulip_rig *r, unsigned int phy, unsigned int number)
{
	uint32_t value = 0;

	mdio_shift(r, 0xffffffff, 32);
	mdio_shift(r, 0xf6U << 10 | phy << 5 | number, 16);
	for (unsigned int i = 0; i < 19; i++) {
		csr_out(r, 9, TULIP_CSR9_MII);
		value = value << 1 | ((csr_in(r, 9) & TULIP_CSR9_MDI) != 0);
		csr_out(r, 9, TULIP_CSR9_MII | TULIP_CSR9_MDC);
	}
	return value >> 1;
}

static uint16_t mdio_read(struct tulip_rig *r, unsigned int number)
{
	return (uint16_t)mdio_read_raw(r, TULIP_PHY_ADDRESS, number);
}

static void mdio_write(struct tulip_rig *r, unsigned int phy, unsigned int number, uint16_t value)
{
	mdio_shift(r, 0xffffffff, 32);
	mdio_shift(r, 0x5002U << 16 | phy << 23 | number << 18 | value, 32);
	mdio_clock(r, TULIP_CSR9_MII);
	mdio_clock(r, TULIP_CSR9_MII);
}

/* ---- the bus ---------------------------------------------------------------------------------------- */

static void it_is_found_on_the_bus(void **state)
{
	struct tulip_rig *r = rig_new();

	assert_int_equal(pci_rig_read(&r->p, RIG_DEVFN, PCI_VENDOR_ID), 0x00091011);
	assert_int_equal(pci_rig_read(&r->p, RIG_DEVFN, PCI_REVISION), 0x02000020);
	assert_int_equal(pci_rig_read(&r->p, RIG_DEVFN, PCI_SUBSYSTEM), 0x21140a00);
	assert_int_equal(pci_rig_read(&r->p, RIG_DEVFN, PCI_INTERRUPT_LINE) & 0xffffff00,
			 0x28140100);
	pci_rig_write(&r->p, RIG_DEVFN, PCI_BAR_0, 0xffffffff);
	assert_int_equal(pci_rig_read(&r->p, RIG_DEVFN, PCI_BAR_0), 0xffffff81);
	pci_rig_write(&r->p, RIG_DEVFN, PCI_BAR_0 + 4, 0xffffffff);
	assert_int_equal(pci_rig_read(&r->p, RIG_DEVFN, PCI_BAR_0 + 4), 0xffffff80);
	pci_rig_write(&r->p, RIG_DEVFN, PCI_ROM_ADDRESS, 0xffffffff);
	assert_int_equal(pci_rig_read(&r->p, RIG_DEVFN, PCI_ROM_ADDRESS), 0);
	pci_rig_write16(&r->p, RIG_DEVFN, PCI_COMMAND, 0xffff);
	assert_int_equal(pci_rig_read(&r->p, RIG_DEVFN, PCI_COMMAND), 0x02800157);
	pci_rig_write(&r->p, RIG_DEVFN, TULIP_CFDA, 0xffffffff);
	assert_int_equal(pci_rig_read(&r->p, RIG_DEVFN, TULIP_CFDA), 0xc000ff00);
	rig_free(r);
}

static void registers_are_the_data_sheets_after_power_on(void **state)
{
	struct tulip_rig *r = rig_new();

	assert_int_equal(csr_in(r, 0), 0xfe000000);
	assert_int_equal(csr_in(r, 1), 0xffffffff);
	assert_int_equal(csr_in(r, 2), 0xffffffff);
	assert_int_equal(csr_in(r, 5), 0xf0000000);
	assert_int_equal(csr_in(r, 6), 0x32000040);
	assert_int_equal(csr_in(r, 7), 0xfffe0000);
	assert_int_equal(csr_in(r, 8), 0xe0000000);
	assert_int_equal(csr_in(r, 11), 0xfffe0000);
	assert_int_equal(csr_in(r, 12), 0xfffffeff);
	assert_int_equal(csr_in(r, 13), 0xffffffff);
	assert_int_equal(csr_in(r, 14), 0xffffffff);
	assert_int_equal(csr_in(r, 15), 0xfffffec8);
	rig_free(r);
}

static void ports_and_memory_are_the_same_registers(void **state)
{
	struct tulip_rig *r = rig_new();

	pci_rig_store(&r->p, RIG_MMIO + TULIP_CSR(3), 0x12345677, 4);
	assert_int_equal(csr_in(r, 3), 0x12345674);
	csr_out(r, 4, 0x00345678);
	assert_int_equal(pci_rig_load(&r->p, RIG_MMIO + TULIP_CSR(4), 4), 0x00345678);
	assert_int_equal(pci_rig_load(&r->p, RIG_MMIO + TULIP_CSR(4) + 1, 2), 0x3456);
	assert_int_equal(pci_rig_load(&r->p, RIG_MMIO + TULIP_CSR(4), 8), 0xffffffff00345678ULL);
	assert_int_equal(pci_rig_load(&r->p, RIG_MMIO + TULIP_CSR(4) + 4, 4), 0xffffffff);
	/* Narrow writes, and those between registers, do nothing. */
	pci_rig_store(&r->p, RIG_MMIO + TULIP_CSR(4), 0xffff, 2);
	pci_rig_store(&r->p, RIG_MMIO + TULIP_CSR(4) + 4, 0xffffffff, 4);
	assert_int_equal(csr_in(r, 4), 0x00345678);
	rig_free(r);
}

static void pins_keep_what_is_written_to_outputs(void **state)
{
	struct tulip_rig *r = rig_new();

	csr_out(r, 12, TULIP_CSR12_GPC | 0x0f);
	csr_out(r, 12, 0xa5);
	assert_int_equal(csr_in(r, 12) & 0xff, 0xf5);
	csr_out(r, 12, TULIP_CSR12_GPC | 0xff);
	assert_int_equal(csr_in(r, 12) & 0xff, 0xa5);
	rig_free(r);
}

static void a_software_reset_keeps_the_port_and_the_phy(void **state)
{
	struct tulip_rig *r = rig_up();

	mdio_write(r, TULIP_PHY_ADDRESS, MII_ADVERTISE, 0x0061);
	csr_out(r, 12, TULIP_CSR12_GPC | 0xff);
	csr_out(r, 0, TULIP_CSR0_SWR);
	assert_int_equal(csr_in(r, 0), 0xfe000001);
	assert_int_equal(csr_in(r, 3), 0);
	assert_int_equal(csr_in(r, 5), 0xf0000000);
	assert_int_equal(csr_in(r, 6), 0x32040040);
	assert_int_equal(csr_in(r, 7), 0xfffe0000);
	assert_int_equal(csr_in(r, 12), 0xfffffeff);
	assert_int_equal(mdio_read(r, MII_ADVERTISE), 0x0061);
	csr_out(r, 0, 0x01a08000);
	assert_int_equal(csr_in(r, 0), 0xffa08000);
	rig_free(r);
}

static void a_machine_reset_is_power_on(void **state)
{
	struct tulip_rig *r = rig_up();

	mdio_write(r, TULIP_PHY_ADDRESS, MII_ADVERTISE, 0x0061);
	pci_rig_write(&r->p, RIG_DEVFN, TULIP_CFDA, 0x0000ff00);
	tulip_reset(r->tulip);
	assert_int_equal(pci_rig_read(&r->p, RIG_DEVFN, PCI_COMMAND) & 0xffff, 0);
	assert_int_equal(pci_rig_read(&r->p, RIG_DEVFN, TULIP_CFDA), 0);
	rig_map(r);
	assert_int_equal(csr_in(r, 6), 0x32000040);
	assert_int_equal(mdio_read(r, MII_ADVERTISE), 0x01e1);
	rig_rings(r);
	rig_up_with(r, 0);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 1), 0);
	assert_received(r, rig_mac, 100, 1);
	rig_free(r);
}

static void a_boot_rom_is_read_through_its_bar_and_csr9(void **state)
{
	struct tulip_rig *r = rig_new();
	struct tulip_config config = rig_config(r);
	uint8_t rom[4096];

	for (unsigned int i = 0; i < sizeof(rom); i++) {
		rom[i] = (uint8_t)(i * 3 + i / 256);
	}
	tulip_destroy(r->tulip);
	config.rom = rom;
	config.rom_bytes = 3000;
	assert_int_equal(tulip_create(&config, &r->tulip), -EINVAL);
	config.rom_bytes = sizeof(rom);
	assert_int_equal(tulip_create(&config, &r->tulip), 0);
	rig_map(r);
	pci_rig_write(&r->p, RIG_DEVFN, PCI_ROM_ADDRESS, 0xe1000001);
	assert_int_equal(pci_rig_load(&r->p, 0xe1000100, 4), bytes_le32(rom + 0x100));
	pci_rig_store(&r->p, 0xe1000100, 0, 4);
	assert_int_equal(pci_rig_load(&r->p, 0xe1000ffe, 2), bytes_le16(rom + 0xffe));
	csr_out(r, 10, 0x123);
	csr_out(r, 9, TULIP_CSR9_BR | 0x4000);
	assert_int_equal(csr_in(r, 9) & 0xff, rom[0x123]);
	csr_out(r, 10, 0x1123);
	assert_int_equal(csr_in(r, 9) & 0xff, 0xff);
	rig_free(r);
}

static void create_undoes_itself_when_something_fails(void **state)
{
	struct tulip_rig *r = rig_new();
	struct tulip_config config = rig_config(r);
	struct tulip *second;

	assert_int_equal(tulip_create(&config, &second), -EBUSY); /* the net has a front end */
	config.net = NULL;
	assert_int_equal(tulip_create(&config, &second), -EEXIST);
	config.devfn = PCI_DEVFN(11, 0);
	assert_int_equal(tulip_create(&config, &second), 0);
	tulip_destroy(second);
	tulip_destroy(NULL);
	rig_free(r);
}

/* ---- serial ROM ------------------------------------------------------------------------------------- */

static uint32_t slow_crc(const uint8_t *bytes, size_t count)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < count * 8; i++) {
		bool carry = ((crc & 1) != 0) != ((bytes[i / 8] >> i % 8 & 1) != 0);

		crc = crc >> 1 ^ (carry ? 0xedb88320U : 0);
	}
	return ~crc;
}

static void the_srom_is_one_that_linux_parses(void **state)
{
	struct tulip_rig *r = rig_new();
	uint8_t rom[TULIP_SROM_BYTES], *p;

	/* Six bits of address: a 0 comes out behind the sixth, where eight are tried. */
	assert_int_equal(srom_read_raw(r, 0xff, 8) & 0x40000, 0);
	for (unsigned int i = 0; i < TULIP_SROM_WORDS; i++) {
		bytes_put_le16(rom + 2 * i, srom_read(r, i));
	}
	assert_memory_not_equal(rom, rom + 16, 8); /* not the layout of old */
	assert_memory_equal(rom + 20, rig_mac, 6);
	assert_int_equal(rom[18], 4);
	assert_int_equal(rom[19], 1);
	assert_int_equal(bytes_le16(rom + 126), slow_crc(rom, 126) & 0xffff);
	assert_int_not_equal(rom[27], 0);
	p = rom + rom[27];
	assert_int_equal(bytes_le16(p), 0x0800); /* autosense */
	assert_int_equal(p[3], 1);               /* leaf */
	p += 4;
	assert_int_equal(p[0], 0x80 | 12); /* extended, so long */
	assert_int_equal(p[1], 1);         /* an MII PHY */
	assert_int_equal(p[2] | p[3] | p[4], 0);
	assert_int_equal(bytes_le16(p + 5), 0x7800);
	assert_int_equal(bytes_le16(p + 7), 0x01e1);
	rig_free(r);
}

static void the_srom_can_be_written_when_that_was_allowed(void **state)
{
	struct tulip_rig *r = rig_new();
	uint16_t was = srom_read(r, 5);

	srom_command(r, 0x5U << 22 | 5U << 16 | 0xbeef, 25);
	assert_int_equal(srom_read(r, 5), was); /* protected */
	srom_command(r, 0x130, 9);              /* enable */
	srom_command(r, (0x5U << 22 | 5U << 16 | 0xbeef) >> 5, 20);
	assert_int_equal(srom_read(r, 5), was); /* given up half-way */
	srom_command(r, 0x5U << 22 | 5U << 16 | 0xbeef, 25);
	assert_int_equal(srom_read(r, 5), 0xbeef);
	srom_command(r, 0x7U << 6 | 5, 9); /* erase */
	assert_int_equal(srom_read(r, 5), 0xffff);
	srom_command(r, 0x4U << 22 | 0x10U << 16 | 0x1234, 25); /* all */
	assert_int_equal(srom_read(r, 0), 0x1234);
	assert_int_equal(srom_read(r, 63), 0x1234);
	srom_command(r, 0x120, 9); /* erase all */
	assert_int_equal(srom_read(r, 7), 0xffff);
	srom_command(r, 0x100, 9); /* disable */
	srom_command(r, 0x5U << 22 | 5U << 16 | 0xbeef, 25);
	assert_int_equal(srom_read(r, 5), 0xffff);
	rig_free(r);
}

static void the_srom_reads_on_from_word_to_word(void **state)
{
	struct tulip_rig *r = rig_new();
	uint16_t a = srom_read(r, 10), b = srom_read(r, 11);

	srom_begin(r);
	srom_shift(r, 6U << 6 | 10, 9);
	assert_int_equal(srom_shift(r, 0, 32), (uint32_t)a << 16 | b);
	srom_end(r);
	rig_free(r);
}

/* ---- PHY -------------------------------------------------------------------------------------------- */

static void one_phy_answers_and_has_negotiated(void **state)
{
	struct tulip_rig *r = rig_new();
	uint32_t raw;

	for (unsigned int phy = 0; phy < 32; phy++) {
		raw = mdio_read_raw(r, phy, MII_BMSR);
		if (phy == TULIP_PHY_ADDRESS) {
			assert_int_equal(raw & 0x10000, 0); /* the turn-around */
			assert_int_equal(raw & 0xffff, 0x786d);
		} else {
			assert_int_equal(raw & 0x1ffff, 0x1ffff);
		}
	}
	assert_int_equal(mdio_read(r, MII_BMCR), 0x3000);
	assert_int_equal(mdio_read(r, MII_ADVERTISE), 0x01e1);
	assert_int_equal(mdio_read(r, MII_PARTNER), 0x41e1);
	assert_int_equal(mdio_read(r, MII_EXPANSION) & 1, 1);
	assert_int_equal(mdio_read(r, MII_ID1), 0x2000);
	assert_int_equal(mdio_read(r, 17), 0);
	rig_free(r);
}

static void the_phy_can_be_set_and_reset(void **state)
{
	struct tulip_rig *r = rig_new();

	mdio_write(r, TULIP_PHY_ADDRESS, MII_ADVERTISE, 0x0061);
	mdio_write(r, 2, MII_ADVERTISE, 0x0021); /* somebody else's */
	assert_int_equal(mdio_read(r, MII_ADVERTISE), 0x0061);
	mdio_write(r, TULIP_PHY_ADDRESS, MII_BMCR, 0x1200); /* begins again by itself */
	assert_int_equal(mdio_read(r, MII_BMCR), 0x1000);
	mdio_write(r, TULIP_PHY_ADDRESS, MII_BMCR, 0x2100); /* forced */
	assert_int_equal(mdio_read(r, MII_BMSR) & 0x24, 0x04);
	assert_int_equal(mdio_read(r, MII_PARTNER), 0);
	mdio_write(r, TULIP_PHY_ADDRESS, MII_BMCR, 0x0800); /* power down */
	assert_int_equal(mdio_read(r, MII_BMSR) & 0x24, 0);
	mdio_write(r, TULIP_PHY_ADDRESS, MII_BMCR, 0x8000);
	assert_int_equal(mdio_read(r, MII_BMCR), 0x3000);
	assert_int_equal(mdio_read(r, MII_ADVERTISE), 0x01e1);
	rig_free(r);
}

/* MII's own loopback (22.2.4.1.2). */
static void the_phy_loops_frames_back(void **state)
{
	struct tulip_rig *r = rig_up();

	csr_out(r, 6, RIG_MODE | TULIP_CSR6_ST | TULIP_CSR6_SR | TULIP_CSR6_PR);
	for (unsigned int i = 0; i < RIG_DESCS; i++) {
		assert_int_equal(rig_deliver(r, rig_mac, 100, 1), 0);
	}
	assert_int_equal(rig_deliver(r, rig_mac, 100, 1), -EAGAIN);
	mdio_write(r, TULIP_PHY_ADDRESS, MII_BMCR, MII_BMCR_LOOPBACK | MII_BMCR_100);
	rig_settle(r);
	assert_int_equal(r->wire.rooms, 1); /* what waits is lost */
	for (unsigned int i = 0; i < RIG_DESCS; i++) {
		assert_received(r, rig_mac, 100, 1);
	}
	rig_send(r, 300, 0, 1);
	assert_int_equal(r->wire.count, 0);
	assert_int_equal(get32(r, rx_desc(0)) >> 16 & TULIP_RDES0_LENGTH_MASK, 304);
	rig_free(r);
}

static void the_link_is_the_nets_and_the_cables(void **state)
{
	struct tulip_rig *r = rig_up();

	assert_int_equal(mdio_read(r, MII_BMSR) & 0x24, 0x24);
	net_link_set(&r->wire.net, false);
	assert_int_equal(mdio_read(r, MII_BMSR) & 0x24, 0);
	assert_int_equal(mdio_read(r, MII_PARTNER), 0);
	assert_int_equal(rig_deliver(r, rig_mac, 100, 1), 0); /* lost */
	assert_int_equal(get32(r, rx_desc(0)), TULIP_DESC_OWN);
	net_link_set(&r->wire.net, true);
	assert_int_equal(mdio_read(r, MII_BMSR) & 0x04, 0x04);
	/* A break between two looks is seen once. */
	tulip_set_cable(r->tulip, false);
	assert_false(tulip_link_is_up(r->tulip));
	tulip_set_cable(r->tulip, true);
	assert_true(tulip_link_is_up(r->tulip));
	assert_int_equal(mdio_read(r, MII_BMSR) & 0x24, 0x20);
	assert_int_equal(mdio_read(r, MII_BMSR) & 0x24, 0x24);
	rig_free(r);
}

/* ---- the timer -------------------------------------------------------------------------------------- */

static void the_timer_interrupts_once_or_again_and_again(void **state)
{
	struct tulip_rig *r = rig_up();

	csr_out(r, 7, TULIP_CSR5_NIS | TULIP_CSR5_GTE);
	csr_out(r, 5, 0x1ffff);
	csr_out(r, 11, 1000); /* 82 ms */
	assert_in_range(csr_in(r, 11) & 0xffff, 1, 1000);
	rig_turn(&r->p.rig, 1);
	assert_false(rig_irq(r));
	rig_wait_irq(r);
	assert_int_equal(csr_in(r, 5) & 0x1ffff, TULIP_CSR5_NIS | TULIP_CSR5_GTE);
	assert_int_equal(csr_in(r, 11) & 0x1ffff, 0);
	csr_out(r, 5, TULIP_CSR5_GTE);
	assert_false(rig_irq(r));
	rig_turn(&r->p.rig, 6);
	assert_false(rig_irq(r));

	csr_out(r, 11, TULIP_CSR11_CONTINUOUS | 0xfff0);
	csr_out(r, 11, TULIP_CSR11_CONTINUOUS | 1000);
	rig_wait_irq(r);
	assert_in_range(csr_in(r, 11) & 0xffff, 1, 1000); /* it begins anew */
	csr_out(r, 5, TULIP_CSR5_GTE);

	csr_out(r, 11, TULIP_CSR11_CONTINUOUS | 20);
	for (unsigned int i = 0; i < 3; i++) {
		rig_wait_irq(r);
		csr_out(r, 5, TULIP_CSR5_GTE);
	}
	csr_out(r, 11, 0);
	rig_turn(&r->p.rig, 5);
	assert_false(rig_irq(r));
	rig_free(r);
}

static void the_timers_tick_is_the_ports(void **state)
{
	struct tulip_rig *r = rig_new();

	/* 60000 ticks; what is left after 20 ms tells how long one is. */
	csr_out(r, 6, TULIP_CSR6_PS);
	csr_out(r, 11, 60000);
	rig_turn(&r->p.rig, 20);
	assert_in_range(csr_in(r, 11) & 0xffff, 56000, 59756); /* 81.92 µs */
	csr_out(r, 6, TULIP_CSR6_PS | TULIP_CSR6_TTM);
	csr_out(r, 11, 60000);
	rig_turn(&r->p.rig, 20);
	assert_in_range(csr_in(r, 11) & 0xffff, 59500, 59976); /* 819.2 µs */
	csr_out(r, 6, 0);
	csr_out(r, 11, 60000);
	rig_turn(&r->p.rig, 20);
	assert_in_range(csr_in(r, 11) & 0xffff, 58000, 59903); /* 204.8 µs */
	rig_free(r);
}

/* ---- doorbells -------------------------------------------------------------------------------------- */

struct bell_board {
	int fd[2][2]; /* by ports or memory, CSR1 or CSR2 */
	uint64_t base[2][2];
	unsigned int added, removed;
	bool refuses;
};

static int bell_add(void *ctx, bool is_port, uint64_t base, unsigned int bytes, int fd)
{
	struct bell_board *board = ctx;
	unsigned int n = (unsigned int)(base % 128 / 8) - 1;

	assert_int_equal(bytes, 4);
	assert_in_range(n, 0, 1);
	if (board->refuses) {
		return -ENOSPC;
	}
	board->fd[is_port][n] = fd;
	board->base[is_port][n] = base;
	board->added++;
	return 0;
}

static void bell_remove(void *ctx, bool is_port, uint64_t base, unsigned int bytes, int fd)
{
	struct bell_board *board = ctx;
	unsigned int n = (unsigned int)(base % 128 / 8) - 1;

	assert_int_equal(board->base[is_port][n], base);
	assert_int_equal(board->fd[is_port][n], fd);
	board->removed++;
}

static void demands_are_doorbells_where_there_are_any(void **state)
{
	static const struct doorbell_ops ops = { bell_add, bell_remove };
	struct tulip_rig *r = rig_new();
	struct tulip_config config = rig_config(r);
	struct bell_board board = { .added = 0 };
	uint64_t one = 1;

	tulip_destroy(r->tulip);
	config.doorbells = (struct doorbells){ &ops, &board };
	assert_int_equal(tulip_create(&config, &r->tulip), 0);
	rig_map(r);
	assert_int_equal(board.added, 4);
	assert_int_equal(board.base[1][0], RIG_PORTS + 8);
	assert_int_equal(board.base[0][1], RIG_MMIO + 16);
	rig_rings(r);
	rig_up_with(r, 0);
	rig_queue(r, 100, RIG_WHOLE, 9);
	assert_int_equal(write(board.fd[1][0], &one, sizeof(one)), sizeof(one));
	rig_wait_sent(r, 1);
	assert_sent(r, 0, 100, 9);
	assert_int_equal(write(board.fd[0][1], &one, sizeof(one)), sizeof(one));
	rig_turn(&r->p.rig, 2);
	/* They move with the address. */
	pci_rig_write(&r->p, RIG_DEVFN, PCI_BAR_0, 0xd000);
	assert_int_equal(board.base[1][0], 0xd008);
	assert_int_equal(board.added, 6);
	assert_int_equal(board.removed, 2);
	/* Where none is to be had the register does it. */
	board.refuses = true;
	pci_rig_write(&r->p, RIG_DEVFN, PCI_BAR_0, RIG_PORTS);
	assert_int_equal(board.removed, 4);
	rig_send(r, 200, 0, 3);
	assert_sent(r, 1, 200, 3);
	tulip_destroy(r->tulip);
	assert_int_equal(board.added, board.removed);
	r->tulip = NULL;
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_found_on_the_bus),
		cmocka_unit_test(registers_are_the_data_sheets_after_power_on),
		cmocka_unit_test(ports_and_memory_are_the_same_registers),
		cmocka_unit_test(pins_keep_what_is_written_to_outputs),
		cmocka_unit_test(a_software_reset_keeps_the_port_and_the_phy),
		cmocka_unit_test(a_machine_reset_is_power_on),
		cmocka_unit_test(a_boot_rom_is_read_through_its_bar_and_csr9),
		cmocka_unit_test(create_undoes_itself_when_something_fails),
		cmocka_unit_test(the_srom_is_one_that_linux_parses),
		cmocka_unit_test(the_srom_can_be_written_when_that_was_allowed),
		cmocka_unit_test(the_srom_reads_on_from_word_to_word),
		cmocka_unit_test(one_phy_answers_and_has_negotiated),
		cmocka_unit_test(the_phy_can_be_set_and_reset),
		cmocka_unit_test(the_phy_loops_frames_back),
		cmocka_unit_test(the_link_is_the_nets_and_the_cables),
		cmocka_unit_test(the_timer_interrupts_once_or_again_and_again),
		cmocka_unit_test(the_timers_tick_is_the_ports),
		cmocka_unit_test(demands_are_doorbells_where_there_are_any),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

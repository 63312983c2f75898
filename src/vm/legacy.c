/* SPDX-License-Identifier: MIT */
#include "vm/legacy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/fault.h"
#include "base/num.h"
#include "boot/acpi.h"
#include "boot/boot.h"
#include "chipset/debugport.h"
#include "chipset/dma.h"
#include "chipset/fwcfg.h"
#include "chipset/i440bx.h"
#include "chipset/pci.h"
#include "chipset/piix4.h"
#include "chipset/piix4_pm.h"
#include "chipset/ps2/ps2.h"
#include "proto/board.h"
#include "proto/piix4.h"
#include "vm/disk_faces.h"
#include "vm/vga.h"

#define FIRMWARE_END_GPA  0x100000000ULL
#define SHADOW_END_GPA    0x100000ULL

/* KVM's own pages (partition/partition_internal.h), which firmware must not hand out. */
#define KVM_PAGES_GPA     0xfeffc000ULL
#define KVM_PAGES_BYTES   0x4000ULL

/* CMOS RAM as SeaBIOS reads it (src/hw/rtc.h), the first of them as every PC's. */
#define CMOS_FIRST        0x10U /* the floppy drives: none */
#define CMOS_EQUIPMENT    0x14U
#define CMOS_BASE_KIB     0x15U
#define CMOS_EXTENDED_KIB 0x17U
#define CMOS_CHECKSUM     0x2eU
#define CMOS_EXTENDED_2   0x30U
#define CMOS_CENTURY      0x32U /* the clock's */
#define CMOS_ABOVE_16M    0x34U /* in units of 64 KiB */
#define CMOS_BOOT_1       0x38U /* upper half: third device */
#define CMOS_BOOT_2       0x3dU /* first device, second device */
#define CMOS_ABOVE_4G     0x5bU /* in units of 64 KiB, three bytes */
#define CMOS_CPUS         0x5fU /* less one */
#define EQUIPMENT_FPU     0x02U
#define EQUIPMENT_MOUSE   0x04U
#define CMOS_UNIT         (64 * KIB)

/* Without a bootable disk SeaBIOS then stays where it is. */
#define WAIT_FOR_EVER     0xffffffffU
#define BOOT_MENU_WAIT_MS 2500U

#define E820_RAM          1U
#define E820_RESERVED     2U
#define E820_ENTRY_BYTES  20U

struct vm_legacy {
	struct i440bx *bridge;
	struct piix4 *piix4;
	struct piix4_pm *pm_function;
	struct dma *dma;
	struct ps2 *ps2;
	struct fwcfg *fwcfg;
	struct debugport *debugport;

	/* The firmware's image, at the end of 4 GiB in a window of the partition. */
	uint8_t *firmware;
	uint64_t firmware_bytes;
	bool is_firmware_mapped;
};

bool vm_is_legacy(const struct vm *vm)
{
	return vm->config->machine == VM_MACHINE_LEGACY;
}

enum smbios_identity vm_legacy_identity(const struct vm_config *config)
{
	if (config->machine != VM_MACHINE_LEGACY) {
		return SMBIOS_TABIQUE;
	}
	return vm_faces_need_ata(config) ? SMBIOS_VIRTUAL_SERVER : SMBIOS_HYPER_V;
}

/* ---- THE table of PCI devices, in start-up order ---- */

static int bridge_make(struct vm *vm)
{
	return i440bx_create(vm->chipset, vm->pci_bus, &vm->legacy->bridge);
}

static void bridge_restart(struct vm *vm)
{
	i440bx_reset(vm->legacy->bridge);
}

static void bridge_unmake(struct vm *vm)
{
	i440bx_destroy(vm->legacy->bridge);
}

static void bridge_show(struct vm *vm, struct inspect *at)
{
	i440bx_inspect(vm->legacy->bridge, at);
}

static int isa_make(struct vm *vm)
{
	const struct piix4_config config = {
		.chipset = vm->chipset,
		.bus = vm->pci_bus,
		.devfn = PCI_DEVFN(PIIX4_SLOT, 0),
		.irq = partition_irq_line(vm->partition, 0),
		.power = &vm->power,
	};

	return piix4_create(&config, &vm->legacy->piix4);
}

static void isa_restart(struct vm *vm)
{
	piix4_reset(vm->legacy->piix4);
}

static void isa_unmake(struct vm *vm)
{
	piix4_destroy(vm->legacy->piix4);
}

static void isa_show(struct vm *vm, struct inspect *at)
{
	piix4_inspect(vm->legacy->piix4, at);
}

static int pm_make(struct vm *vm)
{
	return piix4_pm_create(vm->chipset, vm->pci_bus, PCI_DEVFN(PIIX4_SLOT, 3), vm->pm,
			       &vm->legacy->pm_function);
}

static void pm_restart(struct vm *vm)
{
	piix4_pm_reset(vm->legacy->pm_function);
}

static void pm_unmake(struct vm *vm)
{
	piix4_pm_destroy(vm->legacy->pm_function);
}

static void pm_show(struct vm *vm, struct inspect *at)
{
	piix4_pm_inspect(vm->legacy->pm_function, at);
}

/*
 * To add a chip: its pointer above, four functions, a row. Chips behind the bridge come after it; the
 * router last of those that pull interrupt pins, for it is reset last of them.
 */
static const struct legacy_chip {
	const char *name;
	int (*create)(struct vm *vm); /* 0, or a negative errno */
	void (*reset)(struct vm *vm);
	void (*destroy)(struct vm *vm); /* also what was not made */
	void (*inspect)(struct vm *vm, struct inspect *at);
} chips[] = {
	{ "host_bridge", bridge_make, bridge_restart, bridge_unmake, bridge_show },
	{ "power_management", pm_make, pm_restart, pm_unmake, pm_show },
	{ "graphics_card", vm_vga_create, vm_vga_reset, vm_vga_destroy, vm_vga_inspect },
	{ "isa_bridge", isa_make, isa_restart, isa_unmake, isa_show },
};

/* ---- CMOS ---- */

static uint8_t boot_nibble(const struct vm_config *config, size_t n)
{
	/* SeaBIOS' numbers: 1 floppy, 2 hard disk, 3 CD, 4 network; 0 none. */
	static const uint8_t numbers[] = {
		[VM_BOOT_DISK] = 2, [VM_BOOT_DVD] = 3, [VM_BOOT_NET] = 4
	};

	return n < config->boot_count ? numbers[config->boot_order[n]] : 0;
}

static void put_memory(const struct vm *vm, uint8_t *cmos)
{
	const struct mem_range *ranges;
	size_t count = mem_ranges(vm->mem, &ranges);
	uint64_t low = ranges[0].bytes, high = count > 1 ? ranges[1].bytes : 0;
	uint16_t extended_kib = (uint16_t)num_min((low - MIB) / KIB, UINT16_MAX);

	bytes_put_le16(cmos + CMOS_BASE_KIB, 640);
	bytes_put_le16(cmos + CMOS_EXTENDED_KIB, extended_kib);
	bytes_put_le16(cmos + CMOS_EXTENDED_2, extended_kib);
	bytes_put_le16(cmos + CMOS_ABOVE_16M, (uint16_t)((low - 16 * MIB) / CMOS_UNIT));
	bytes_put_le32(cmos + CMOS_ABOVE_4G, (uint32_t)num_min(high / CMOS_UNIT, 0xffffff));
}

static void fill_cmos(struct vm *vm)
{
	const struct vm_config *config = vm->config;
	uint8_t cmos[CMOS_CPUS + 1] = { 0 };
	uint16_t sum = 0;

	put_memory(vm, cmos);
	cmos[CMOS_EQUIPMENT] = EQUIPMENT_FPU | EQUIPMENT_MOUSE;
	cmos[CMOS_BOOT_1] = (uint8_t)(boot_nibble(config, 2) << 4);
	cmos[CMOS_BOOT_2] = (uint8_t)(boot_nibble(config, 0) | boot_nibble(config, 1) << 4);
	cmos[CMOS_CPUS] = (uint8_t)(config->cpus - 1);
	for (unsigned int reg = CMOS_FIRST; reg < CMOS_CHECKSUM; reg++) {
		sum = (uint16_t)(sum + cmos[reg]);
	}
	bytes_put_be16(cmos + CMOS_CHECKSUM, sum);
	for (uint8_t reg = CMOS_FIRST; reg <= CMOS_CPUS; reg++) {
		if (reg != CMOS_CENTURY) {
			rtc_set_cmos(vm->rtc, reg, cmos[reg]);
		}
	}
}

/* ---- what firmware is told ---- */

static int add_file(struct vm *vm, const char *name, const void *bytes, size_t count)
{
	return fwcfg_add_file(vm->legacy->fwcfg, name, bytes, count);
}

/* Files that hold one number: SeaBIOS takes 1 to 8 bytes. */
static int add_word(struct vm *vm, const char *name, uint32_t value)
{
	uint8_t word[4];

	bytes_put_le32(word, value);
	return add_file(vm, name, word, sizeof(word));
}

static void put_e820(uint8_t *entry, uint64_t gpa, uint64_t bytes, uint32_t type)
{
	bytes_put_le64(entry, gpa);
	bytes_put_le64(entry + 8, bytes);
	bytes_put_le32(entry + 16, type);
}

static int add_memory_map(struct vm *vm)
{
	const struct mem_range *ranges;
	size_t count = mem_ranges(vm->mem, &ranges);
	uint8_t map[3 * E820_ENTRY_BYTES];

	check(count <= 2);
	for (size_t i = 0; i < count; i++) {
		put_e820(map + i * E820_ENTRY_BYTES, ranges[i].gpa, ranges[i].bytes, E820_RAM);
	}
	put_e820(map + count * E820_ENTRY_BYTES, KVM_PAGES_GPA, KVM_PAGES_BYTES, E820_RESERVED);
	return add_file(vm, "etc/e820", map, (count + 1) * E820_ENTRY_BYTES);
}

static int add_acpi(struct vm *vm)
{
	struct acpi_config config = {
		.vps = vm->config->cpus, .pm_timer = true, .is_legacy = true, .has_vga = vm->vga
	};
	auto_free struct acpi_firmware *acpi = fault_alloc(1, sizeof(*acpi));
	int err;

	if (!acpi) {
		return -ENOMEM;
	}
	boot_mmio_high(vm->mem, vm_phys_bits(), &config.mmio_high_gpa, &config.mmio_high_bytes);
	err = acpi_build_firmware(&config, acpi);
	if (!err) {
		err = add_file(vm, "etc/acpi/tables", acpi->tables, acpi->tables_bytes);
	}
	if (!err) {
		err = add_file(vm, "etc/acpi/rsdp", acpi->rsdp, sizeof(acpi->rsdp));
	}
	return err ? err : add_file(vm, "etc/table-loader", acpi->loader, acpi->loader_bytes);
}

static int add_smbios(struct vm *vm)
{
	struct smbios_firmware smbios;
	int err;

	smbios_build_firmware(vm_legacy_identity(vm->config), &smbios);
	err = add_file(vm, "etc/smbios/smbios-anchor", smbios.anchor, sizeof(smbios.anchor));
	return err ? err
		   : add_file(vm, "etc/smbios/smbios-tables", smbios.tables, smbios.tables_bytes);
}

static int add_boot_words(struct vm *vm)
{
	const struct vm_config *config = vm->config;
	int err = add_word(vm, "etc/boot-fail-wait", WAIT_FOR_EVER);

	if (!err && config->boot_serial) {
		err = add_word(vm, "etc/sercon-port", BOARD_COM1_PORT);
	}
	if (!err && config->boot_menu) {
		err = add_word(vm, "etc/boot-menu-wait", BOOT_MENU_WAIT_MS);
	}
	return err;
}

static int fill_fwcfg(struct vm *vm)
{
	const struct {
		uint16_t key;
		uint64_t value;
		unsigned int bytes;
	} numbers[] = {
		{ FWCFG_RAM_BYTES, mem_bytes(vm->mem), 8 },
		{ FWCFG_CPUS, vm->config->cpus, 2 },
		{ FWCFG_CPUS_MAX, vm->config->cpus, 2 },
		{ FWCFG_BOOT_MENU, vm->config->boot_menu, 2 },
	};
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(numbers) && !err; i++) {
		err = fwcfg_add_number(vm->legacy->fwcfg, numbers[i].key, numbers[i].value,
				       numbers[i].bytes);
	}
	if (!err) {
		err = add_memory_map(vm);
	}
	if (!err) {
		err = add_acpi(vm);
	}
	if (!err) {
		err = add_smbios(vm);
	}
	return err ? err : add_boot_words(vm);
}

static int firmware_make(struct vm *vm)
{
	struct vm_legacy *legacy = vm->legacy;
	int err;

	if (!legacy->firmware) {
		return 0;
	}
	err = fwcfg_create(vm->chipset, vm->mem, &legacy->fwcfg);
	if (!err) {
		err = debugport_create(vm->chipset, &legacy->debugport);
	}
	return err ? err : fill_fwcfg(vm);
}

static int map_firmware(struct vm *vm)
{
	struct windows windows = partition_windows(vm->partition);
	struct vm_legacy *legacy = vm->legacy;
	uint64_t gpa = FIRMWARE_END_GPA - legacy->firmware_bytes;
	int err =
		windows.ops->map(windows.ctx, gpa, legacy->firmware, legacy->firmware_bytes, true);

	legacy->is_firmware_mapped = !err;
	return err;
}

static void unmap_firmware(struct vm *vm)
{
	struct windows windows = partition_windows(vm->partition);
	struct vm_legacy *legacy = vm->legacy;

	if (legacy->is_firmware_mapped) {
		windows.ops->unmap(windows.ctx, FIRMWARE_END_GPA - legacy->firmware_bytes,
				   legacy->firmware_bytes);
		legacy->is_firmware_mapped = false;
	}
}

/* ---- the firmware's image ---- */

static int read_firmware(struct vm_legacy *legacy, int fd, const char *path, struct diag *reterr)
{
	size_t have = 0;

	while (have < legacy->firmware_bytes) {
		ssize_t got = pread(fd, legacy->firmware + have, legacy->firmware_bytes - have,
				    (off_t)have);

		if (got <= 0) {
			int err = got < 0 ? -errno : -EINVAL;

			return diag_set(reterr, err, "firmware %s cannot be read: %s", path,
					got < 0 ? strerror(errno) : "it has become shorter");
		}
		have += (size_t)got;
	}
	return 0;
}

static int check_firmware(int fd, const char *path, uint64_t *ret_bytes, struct diag *reterr)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		return diag_set(reterr, -EINVAL, "firmware %s is no regular file", path);
	}
	if (st.st_size != 64 * (off_t)KIB && st.st_size != 128 * (off_t)KIB &&
	    st.st_size != BOARD_FIRMWARE_BYTES_MAX) {
		return diag_set(reterr, -EINVAL,
				"firmware %s has %lld bytes: a BIOS has 64, 128 or 256 KiB", path,
				(long long)st.st_size);
	}
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

int vm_legacy_open_firmware(struct vm *vm, struct diag *reterr)
{
	const char *path = vm->config->firmware;
	auto_close int fd = -1;
	void *image;

	if (!vm_is_legacy(vm)) {
		return 0;
	}
	vm->legacy = fault_alloc(1, sizeof(*vm->legacy));
	if (!vm->legacy) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	if (!path) {
		return 0; /* a kernel is booted without */
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return diag_set(
			reterr, -errno,
			"firmware %s cannot be opened: %s: install Debian's package seabios, "
			"or give --firmware FILE",
			path, strerror(errno));
	}
	int err = check_firmware(fd, path, &vm->legacy->firmware_bytes, reterr);

	if (err) {
		return err;
	}
	image = mmap(NULL, vm->legacy->firmware_bytes, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (image == MAP_FAILED) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	vm->legacy->firmware = image;
	return read_firmware(vm->legacy, fd, path, reterr);
}

/*
 * The whole of it ends at 1 MiB, in RAM. (A 440BX shows real mode the last 128 KiB, and firmware copies
 * the rest with the help of its PAM registers; SeaBIOS does so on bridges that it knows, and this one it
 * does not.) Below it no option ROM is left.
 */
static void shadow_firmware(struct vm *vm)
{
	const struct vm_legacy *legacy = vm->legacy;
	uint64_t bytes = legacy->firmware_bytes, room = SHADOW_END_GPA - BOARD_OPTION_ROMS_GPA;
	uint8_t *hva = mem_hva(vm->mem, BOARD_OPTION_ROMS_GPA, room);

	check(hva && bytes <= room);
	memset(hva, 0, room - bytes);
	memcpy(hva + room - bytes, legacy->firmware, bytes);
}

/* ---- life ---- */

static int make_isa(struct vm *vm)
{
	const struct ps2_config ps2 = {
		.chipset = vm->chipset,
		.keyboard = partition_irq_line(vm->partition, BOARD_KEYBOARD_GSI),
		.mouse = partition_irq_line(vm->partition, BOARD_MOUSE_GSI),
		.power = &vm->power,
	};
	int err = ps2_create(&ps2, &vm->legacy->ps2);

	return err ? err : dma_create(vm->chipset, &vm->legacy->dma);
}

int vm_legacy_create(struct vm *vm, struct diag *reterr)
{
	int err;

	if (!vm_is_legacy(vm)) {
		return 0;
	}
	fill_cmos(vm);
	err = make_isa(vm);
	if (!err) {
		err = pci_bus_create(vm->chipset, &vm->power, &vm->pci_bus);
	}
	for (size_t i = 0; i < ARRAY_SIZE(chips) && !err; i++) {
		err = chips[i].create(vm);
	}
	if (!err) {
		err = firmware_make(vm);
	}
	if (!err && vm->legacy->firmware) {
		err = map_firmware(vm);
	}
	return err ? diag_set(reterr, err, "cannot make the board: %s", strerror(-err)) : 0;
}

void vm_legacy_destroy(struct vm *vm)
{
	struct vm_legacy *legacy = vm->legacy;

	if (!legacy) {
		return;
	}
	unmap_firmware(vm);
	debugport_destroy(legacy->debugport);
	fwcfg_destroy(legacy->fwcfg);
	for (size_t i = ARRAY_SIZE(chips); i-- > 0;) {
		chips[i].destroy(vm);
	}
	pci_bus_destroy(vm->pci_bus);
	dma_destroy(legacy->dma);
	ps2_destroy(legacy->ps2);
	if (legacy->firmware) {
		munmap(legacy->firmware, legacy->firmware_bytes);
	}
	free(legacy);
	vm->legacy = NULL;
}

void vm_legacy_reset(struct vm *vm)
{
	struct vm_legacy *legacy = vm->legacy;

	if (!legacy) {
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(chips); i++) {
		chips[i].reset(vm);
	}
	pci_bus_reset(vm->pci_bus);
	dma_reset(legacy->dma);
	ps2_reset(legacy->ps2);
	if (legacy->firmware) {
		fwcfg_reset(legacy->fwcfg);
		debugport_reset(legacy->debugport);
	}
}

void vm_legacy_boot(struct vm *vm)
{
	if (!vm->legacy) {
		return;
	}
	if (vm->legacy->firmware) {
		shadow_firmware(vm);
	} else {
		piix4_pm_configure(vm->legacy->pm_function, BOARD_PM1_EVENT_PORT, BOARD_SMB_PORT);
	}
}

void vm_legacy_inspect(struct vm *vm, struct inspect *at)
{
	struct vm_legacy *legacy = vm->legacy;
	struct inspect child;

	if (!legacy) {
		return;
	}
	child = inspect_child(at, "pci");
	pci_bus_inspect(vm->pci_bus, &child);
	for (size_t i = 0; i < ARRAY_SIZE(chips); i++) {
		child = inspect_child(at, chips[i].name);
		chips[i].inspect(vm, &child);
	}
	child = inspect_child(at, "ps2");
	ps2_inspect(legacy->ps2, &child);
	if (legacy->firmware) {
		child = inspect_child(at, "firmware");
		inspect_string(&child, "file", vm->config->firmware);
		fwcfg_inspect(legacy->fwcfg, &child);
		debugport_inspect(legacy->debugport, &child);
	}
}

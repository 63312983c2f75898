/* SPDX-License-Identifier: MIT */
#include "boot/acpi.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "proto/board.h"

/* Made of dsdt.asl and dsdt_legacy.asl by iasl: unsigned char dsdt_aml_code[], dsdt_legacy_aml_code[]. */
#include "dsdt.hex"
#include "dsdt_legacy.hex"

#define HEADER_BYTES         36U
#define FADT_BYTES           276U
#define FACS_BYTES           64U
#define TABLE_ALIGN          64U

#define OEM_ID               "TABIQ "
#define OEM_TABLE_ID         "TABIQUE "
#define CREATOR_ID           "TABQ"

/* FADT: flags (5.2.9), boot architecture flags (5.2.9.3), generic addresses (5.2.3.2). */
#define FADT_WBINVD          (1U << 0)
#define FADT_C1              (1U << 2)
#define FADT_NO_SLEEP_BUTTON (1U << 5)
#define FADT_NO_RTC_WAKE     (1U << 6)
#define FADT_RESET_REGISTER  (1U << 10)
#define FADT_BOOT_LEGACY     (1U << 0)
#define FADT_BOOT_8042       (1U << 1)
#define FADT_BOOT_NO_VGA     (1U << 2)
#define GAS_PORT             1U
#define RTC_CENTURY_REGISTER 0x32U

#define MADT_PCAT_COMPAT     1U
#define MADT_LAPIC           0U
#define MADT_IOAPIC          1U
#define MADT_OVERRIDE        2U
#define MADT_LAPIC_NMI       4U
#define MADT_X2APIC          9U
#define MADT_X2APIC_NMI      10U
#define MADT_ENABLED         1U
#define MADT_XAPIC_IDS       255U /* 255 is the broadcast */
#define MADT_HIGH_LEVEL      0x000dU
#define MADT_ALL_VPS         0xffU
#define MADT_ALL_VPS_X2      0xffffffffU
#define MADT_NMI_LINT        1U

#define POINTERS_MAX         32U
#define TABLES_MAX           8U

/*
 * Tables one after the other; grows until it fails once. Pointers among them are offsets in the area
 * until area_settle() knows where it is.
 */
struct area {
	uint8_t bytes[ACPI_AREA_BYTES];
	uint32_t at;
	bool full;
	struct acpi_pointer pointers[POINTERS_MAX];
	uint32_t pointer_count;
	struct acpi_table tables[TABLES_MAX];
	uint32_t table_count;
};

static uint8_t *area_take(struct area *area, uint32_t count)
{
	static uint8_t nowhere[FADT_BYTES];

	if (area->full || count > ACPI_AREA_BYTES - area->at) {
		check(count <= sizeof(nowhere));
		area->full = true;
		return nowhere;
	}
	area->at += count;
	return area->bytes + area->at - count;
}

static void area_u8(struct area *area, uint8_t value)
{
	*area_take(area, 1) = value;
}

static void area_u16(struct area *area, uint16_t value)
{
	bytes_put_le16(area_take(area, 2), value);
}

static void area_u32(struct area *area, uint32_t value)
{
	bytes_put_le32(area_take(area, 4), value);
}

static void area_u64(struct area *area, uint64_t value)
{
	bytes_put_le64(area_take(area, 8), value);
}

static void area_text(struct area *area, const char *text)
{
	uint32_t count = (uint32_t)strlen(text);

	memcpy(area_take(area, count), text, count);
}

/* The `bytes` at offset `at` are a pointer, to offset `target`. */
static void area_pointer(struct area *area, uint32_t at, uint32_t bytes, uint32_t target)
{
	uint8_t value[8];

	if (area->full || area->pointer_count == POINTERS_MAX) {
		area->full = true;
		return;
	}
	bytes_put_le64(value, target);
	memcpy(area->bytes + at, value, bytes);
	area->pointers[area->pointer_count++] = (struct acpi_pointer){ at, bytes };
}

static uint8_t checksum(const uint8_t *bytes, size_t count)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < count; i++) {
		sum = (uint8_t)(sum + bytes[i]);
	}
	return (uint8_t)-sum;
}

/* Begins a table; returns its offset, for table_end(). */
static uint32_t table_begin(struct area *area, const char *signature, uint8_t revision)
{
	uint32_t start = (uint32_t)num_align_up(area->at, TABLE_ALIGN);

	if (start > ACPI_AREA_BYTES) {
		area->full = true;
		return 0;
	}
	area->at = start;
	area_text(area, signature);
	area_u32(area, 0); /* length */
	area_u8(area, revision);
	area_u8(area, 0); /* checksum */
	area_text(area, OEM_ID);
	area_text(area, OEM_TABLE_ID);
	area_u32(area, 1);
	area_text(area, CREATOR_ID);
	area_u32(area, 1);
	return start;
}

/* Its offset; the checksum is made when pointers are settled. */
static uint32_t table_end(struct area *area, uint32_t start)
{
	if (area->full || area->table_count == TABLES_MAX) {
		area->full = true;
		return start;
	}
	bytes_put_le32(area->bytes + start + 4, area->at - start);
	area->tables[area->table_count++] = (struct acpi_table){ start, area->at - start };
	return start;
}

/* The area is at gpa: pointers become addresses, and tables get their checksums. */
static void area_settle(struct area *area, gpa_t gpa)
{
	for (uint32_t i = 0; i < area->pointer_count; i++) {
		uint8_t *at = area->bytes + area->pointers[i].offset, value[8] = { 0 };

		memcpy(value, at, area->pointers[i].bytes);
		bytes_put_le64(value, bytes_le64(value) + gpa);
		memcpy(at, value, area->pointers[i].bytes);
	}
	for (uint32_t i = 0; i < area->table_count; i++) {
		uint8_t *table = area->bytes + area->tables[i].offset;

		table[ACPI_CHECKSUM_OFFSET] = 0;
		table[ACPI_CHECKSUM_OFFSET] = checksum(table, area->tables[i].bytes);
	}
}

static void put_port(uint8_t *gas, uint32_t port, uint32_t bytes)
{
	static const uint8_t access_size[] = { [1] = 1, [2] = 2, [4] = 3 };

	gas[0] = GAS_PORT;
	gas[1] = (uint8_t)(bytes * 8);
	gas[2] = 0;
	/* The event block is two registers of two bytes; no access spans them. */
	gas[3] = port == BOARD_PM1_EVENT_PORT ? 2 : access_size[bytes];
	bytes_put_le64(gas + 4, port);
}

static uint32_t build_facs(struct area *area)
{
	uint8_t *facs;

	area->at = (uint32_t)num_align_up(area->at, TABLE_ALIGN);
	facs = area_take(area, FACS_BYTES);
	memcpy(facs, "FACS", 4);
	bytes_put_le32(facs + 4, FACS_BYTES);
	facs[32] = 2; /* version */
	return area->at - FACS_BYTES;
}

static uint16_t boot_flags(const struct acpi_config *config)
{
	uint16_t flags = config->has_vga ? 0 : FADT_BOOT_NO_VGA;

	return config->is_legacy ? flags | FADT_BOOT_LEGACY | FADT_BOOT_8042 : flags;
}

static uint32_t build_fadt(struct area *area, const struct acpi_config *config, uint32_t facs,
			   uint32_t dsdt)
{
	uint32_t start = table_begin(area, "FACP", 6);
	uint8_t *t = area_take(area, FADT_BYTES - HEADER_BYTES) - HEADER_BYTES;

	if (area->full) {
		return 0;
	}
	area_pointer(area, start + 36, 4, facs);
	area_pointer(area, start + 40, 4, dsdt);
	bytes_put_le16(t + 46, BOARD_SCI_GSI);
	bytes_put_le32(t + 56, BOARD_PM1_EVENT_PORT);
	bytes_put_le32(t + 64, BOARD_PM1_CONTROL_PORT);
	t[88] = BOARD_PM1_EVENT_BYTES;
	t[89] = BOARD_PM1_CONTROL_BYTES;
	bytes_put_le16(t + 96, 0xffff); /* no C2 */
	bytes_put_le16(t + 98, 0xffff); /* no C3 */
	t[108] = RTC_CENTURY_REGISTER;
	bytes_put_le16(t + 109, boot_flags(config));
	bytes_put_le32(t + 112, FADT_WBINVD | FADT_C1 | FADT_NO_SLEEP_BUTTON | FADT_NO_RTC_WAKE |
					FADT_RESET_REGISTER);
	put_port(t + 116, BOARD_RESET_PORT, 1);
	t[128] = BOARD_RESET_VALUE;
	t[131] = 3; /* revision 6.3 */
	area_pointer(area, start + 140, 8, dsdt);
	put_port(t + 148, BOARD_PM1_EVENT_PORT, BOARD_PM1_EVENT_BYTES);
	put_port(t + 172, BOARD_PM1_CONTROL_PORT, BOARD_PM1_CONTROL_BYTES);
	if (config->pm_timer) {
		bytes_put_le32(t + 76, BOARD_PM_TIMER_PORT);
		t[91] = BOARD_PM_TIMER_BYTES;
		put_port(t + 208, BOARD_PM_TIMER_PORT, BOARD_PM_TIMER_BYTES);
	}
	return table_end(area, start);
}

static void madt_override(struct area *area, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	area_u8(area, MADT_OVERRIDE);
	area_u8(area, 10);
	area_u8(area, 0); /* ISA */
	area_u8(area, irq);
	area_u32(area, gsi);
	area_u16(area, flags);
}

static void madt_vp(struct area *area, uint32_t id)
{
	if (id < MADT_XAPIC_IDS) {
		area_u8(area, MADT_LAPIC);
		area_u8(area, 8);
		area_u8(area, (uint8_t)id);
		area_u8(area, (uint8_t)id);
		area_u32(area, MADT_ENABLED);
		return;
	}
	area_u8(area, MADT_X2APIC);
	area_u8(area, 16);
	area_u16(area, 0);
	area_u32(area, id);
	area_u32(area, MADT_ENABLED);
	area_u32(area, id);
}

/* Lines that PIRQs may share are level-triggered, as KVM's interrupt controllers have them: high. */
static void madt_overrides(struct area *area, const struct acpi_config *config)
{
	madt_override(area, 0, 2, 0);
	madt_override(area, BOARD_SCI_GSI, BOARD_SCI_GSI, MADT_HIGH_LEVEL);
	if (config->is_legacy) {
		madt_override(area, 10, 10, MADT_HIGH_LEVEL);
		madt_override(area, 11, 11, MADT_HIGH_LEVEL);
	}
}

static uint32_t build_madt(struct area *area, const struct acpi_config *config)
{
	uint32_t vps = config->vps;
	uint32_t start = table_begin(area, "APIC", 5);

	area_u32(area, (uint32_t)BOARD_LAPIC_GPA);
	area_u32(area, MADT_PCAT_COMPAT);
	for (uint32_t id = 0; id < vps; id++) {
		madt_vp(area, id);
	}
	area_u8(area, MADT_IOAPIC);
	area_u8(area, 12);
	area_u16(area, 0); /* id 0, reserved */
	area_u32(area, (uint32_t)BOARD_IOAPIC_GPA);
	area_u32(area, 0); /* first GSI */
	madt_overrides(area, config);
	area_u8(area, MADT_LAPIC_NMI);
	area_u8(area, 6);
	area_u8(area, MADT_ALL_VPS);
	area_u16(area, 0);
	area_u8(area, MADT_NMI_LINT);
	if (vps > MADT_XAPIC_IDS) {
		area_u8(area, MADT_X2APIC_NMI);
		area_u8(area, 12);
		area_u16(area, 0);
		area_u32(area, MADT_ALL_VPS_X2);
		area_u8(area, MADT_NMI_LINT);
		area_u8(area, 0);
		area_u16(area, 0);
	}
	return table_end(area, start);
}

/* ---- AML (20.2) ---- */

static void aml_name_u64(struct area *area, const char *name, uint64_t value)
{
	area_u8(area, 0x08); /* NameOp */
	area_text(area, name);
	area_u8(area, 0x0e); /* QWordPrefix */
	area_u64(area, value);
}

#define AML_VP_BYTES 32U

/* Device (Cnnn) { Name (_HID, "ACPI0007")  Name (_UID, nnn) }, of AML_VP_BYTES. */
static void aml_vp(struct area *area, uint32_t id)
{
	static const char hex[] = "0123456789ABCDEF";
	const char name[] = { 'C', hex[id >> 8 & 15], hex[id >> 4 & 15], hex[id & 15], 0 };

	area_u16(area, 0x825b);          /* DeviceOp */
	area_u8(area, AML_VP_BYTES - 2); /* PkgLength counts itself */
	area_text(area, name);
	area_u8(area, 0x08);
	area_text(area, "_HID");
	area_u8(area, 0x0d); /* StringPrefix */
	area_text(area, "ACPI0007");
	area_u8(area, 0);
	area_u8(area, 0x08);
	area_text(area, "_UID");
	area_u8(area, 0x0c); /* DWordPrefix */
	area_u32(area, id);
}

static uint32_t build_ssdt(struct area *area, const struct acpi_config *config)
{
	uint32_t start = table_begin(area, "SSDT", 2);
	uint32_t package = 3 + 5 + config->vps * AML_VP_BYTES;

	aml_name_u64(area, "MHGB", config->mmio_high_gpa);
	aml_name_u64(area, "MHGL", config->mmio_high_bytes);
	area_u8(area, 0x10); /* ScopeOp; a PkgLength of 3 bytes: 4 bits, 8 bits, 8 bits */
	area_u8(area, (uint8_t)(0x80U | (package & 15U)));
	area_u8(area, (uint8_t)(package >> 4));
	area_u8(area, (uint8_t)(package >> 12));
	area_text(area, "\\_SB_");
	for (uint32_t id = 0; id < config->vps; id++) {
		aml_vp(area, id);
	}
	return table_end(area, start);
}

static uint32_t build_dsdt(struct area *area, const struct acpi_config *config)
{
	const void *aml = config->is_legacy ? dsdt_legacy_aml_code : dsdt_aml_code;
	size_t bytes = config->is_legacy ? sizeof(dsdt_legacy_aml_code) : sizeof(dsdt_aml_code);
	uint32_t start = (uint32_t)num_align_up(area->at, TABLE_ALIGN);

	if (start > ACPI_AREA_BYTES || bytes > ACPI_AREA_BYTES - start) {
		area->full = true;
		return 0;
	}
	memcpy(area->bytes + start, aml, bytes);
	area->at = start + (uint32_t)bytes;
	return start;
}

/* XSDT, or RSDT when the pointers have 4 bytes. */
static uint32_t build_root(struct area *area, const char *signature, uint32_t pointer_bytes,
			   const uint32_t *tables, size_t count)
{
	uint32_t start = table_begin(area, signature, 1);

	for (size_t i = 0; i < count; i++) {
		uint32_t at = area->at;

		area_take(area, pointer_bytes);
		area_pointer(area, at, pointer_bytes, tables[i]);
	}
	return table_end(area, start);
}

struct roots {
	uint32_t rsdt, xsdt; /* rsdt: the legacy board's only, for systems of its time */
};

static struct roots build_tables(struct area *area, const struct acpi_config *config)
{
	struct roots roots = { 0 };
	uint32_t facs = build_facs(area);
	uint32_t dsdt = build_dsdt(area, config);
	uint32_t tables[3];

	tables[0] = build_fadt(area, config, facs, dsdt);
	tables[1] = build_madt(area, config);
	tables[2] = build_ssdt(area, config);
	roots.xsdt = build_root(area, "XSDT", 8, tables, ARRAY_SIZE(tables));
	if (config->is_legacy) {
		roots.rsdt = build_root(area, "RSDT", 4, tables, ARRAY_SIZE(tables));
	}
	return roots;
}

static void build_rsdp(uint8_t *rsdp, gpa_t rsdt, gpa_t xsdt)
{
	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, OEM_ID, 6);
	rsdp[15] = 2; /* revision */
	bytes_put_le32(rsdp + ACPI_RSDP_RSDT, (uint32_t)rsdt);
	bytes_put_le32(rsdp + 20, ACPI_RSDP_BYTES);
	bytes_put_le64(rsdp + ACPI_RSDP_XSDT, xsdt);
	rsdp[8] = checksum(rsdp, ACPI_RSDP_OLD_BYTES); /* of revision 0's part */
	rsdp[32] = checksum(rsdp, ACPI_RSDP_BYTES);
}

int acpi_build(const struct mem *mem, const struct acpi_config *config, gpa_t *ret_rsdp)
{
	struct area area = { .at = TABLE_ALIGN }; /* room for the RSDP */
	struct roots roots = build_tables(&area, config);
	int err;

	if (area.full) {
		return -E2BIG;
	}
	area_settle(&area, ACPI_AREA_GPA);
	build_rsdp(area.bytes, roots.rsdt ? ACPI_AREA_GPA + roots.rsdt : 0,
		   ACPI_AREA_GPA + roots.xsdt);
	err = mem_write(mem, ACPI_AREA_GPA, area.bytes, area.at);
	if (!err) {
		*ret_rsdp = ACPI_AREA_GPA;
	}
	return err;
}

/* ---- for firmware's table loader ---- */

#define LOADER_ALLOCATE     1U
#define LOADER_ADD_POINTER  2U
#define LOADER_ADD_CHECKSUM 3U
#define LOADER_ZONE_HIGH    1U
#define LOADER_ZONE_FSEG    2U
#define LOADER_FILE_BYTES   56U

#define TABLES_FILE         "etc/acpi/tables"
#define RSDP_FILE           "etc/acpi/rsdp"

static uint8_t *loader_entry(struct acpi_firmware *to, uint32_t command, const char *file)
{
	uint8_t *entry = to->loader + to->loader_bytes;

	check(to->loader_bytes < sizeof(to->loader));
	to->loader_bytes += ACPI_LOADER_ENTRY_BYTES;
	bytes_put_le32(entry, command);
	strncpy((char *)entry + 4, file, LOADER_FILE_BYTES - 1);
	return entry + 4 + LOADER_FILE_BYTES;
}

static void loader_allocate(struct acpi_firmware *to, const char *file, uint32_t align,
			    uint8_t zone)
{
	uint8_t *entry = loader_entry(to, LOADER_ALLOCATE, file);

	bytes_put_le32(entry, align);
	entry[4] = zone;
}

/* A pointer in `file`, which holds an offset in the tables. */
static void loader_pointer(struct acpi_firmware *to, const char *file, uint32_t offset,
			   uint32_t bytes)
{
	uint8_t *entry = loader_entry(to, LOADER_ADD_POINTER, file);

	strncpy((char *)entry, TABLES_FILE, LOADER_FILE_BYTES - 1);
	bytes_put_le32(entry + LOADER_FILE_BYTES, offset);
	entry[LOADER_FILE_BYTES + 4] = (uint8_t)bytes;
}

static void loader_checksum(struct acpi_firmware *to, const char *file, uint32_t at, uint32_t start,
			    uint32_t bytes)
{
	uint8_t *entry = loader_entry(to, LOADER_ADD_CHECKSUM, file);

	bytes_put_le32(entry, at);
	bytes_put_le32(entry + 4, start);
	bytes_put_le32(entry + 8, bytes);
}

int acpi_build_firmware(const struct acpi_config *config, struct acpi_firmware *ret)
{
	struct area area = { 0 };
	struct roots roots = build_tables(&area, config);

	static_assert(sizeof(ret->loader) ==
			      ACPI_LOADER_ENTRY_BYTES * (2 + POINTERS_MAX + 2 + TABLES_MAX + 2),
		      "room for every command");
	if (area.full) {
		return -E2BIG;
	}
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->tables, area.bytes, area.at);
	ret->tables_bytes = area.at;
	build_rsdp(ret->rsdp, roots.rsdt, roots.xsdt);
	ret->rsdp[8] = ret->rsdp[32] = 0; /* the loader adds to what is there */
	loader_allocate(ret, TABLES_FILE, TABLE_ALIGN, LOADER_ZONE_HIGH);
	loader_allocate(ret, RSDP_FILE, 16, LOADER_ZONE_FSEG);
	for (uint32_t i = 0; i < area.pointer_count; i++) {
		loader_pointer(ret, TABLES_FILE, area.pointers[i].offset, area.pointers[i].bytes);
	}
	for (uint32_t i = 0; i < area.table_count; i++) {
		loader_checksum(ret, TABLES_FILE, area.tables[i].offset + ACPI_CHECKSUM_OFFSET,
				area.tables[i].offset, area.tables[i].bytes);
	}
	loader_pointer(ret, RSDP_FILE, ACPI_RSDP_RSDT, 4);
	loader_pointer(ret, RSDP_FILE, ACPI_RSDP_XSDT, 8);
	loader_checksum(ret, RSDP_FILE, 8, 0, ACPI_RSDP_OLD_BYTES);
	loader_checksum(ret, RSDP_FILE, 32, 0, ACPI_RSDP_BYTES);
	return 0;
}

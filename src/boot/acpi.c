/* SPDX-License-Identifier: MIT */
#include "boot/acpi.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "proto/board.h"

/* Made of dsdt.asl by iasl: unsigned char dsdt_aml_code[]. */
#include "dsdt.hex"

#define HEADER_BYTES         36U
#define RSDP_BYTES           36U
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

/* Tables one after the other; grows until it fails once. */
struct area {
	uint8_t bytes[ACPI_AREA_BYTES];
	uint32_t at;
	bool full;
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

static gpa_t table_end(struct area *area, uint32_t start)
{
	uint8_t *table = area->bytes + start;

	bytes_put_le32(table + 4, area->at - start);
	table[9] = 0;
	table[9] = checksum(table, area->at - start);
	return ACPI_AREA_GPA + start;
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

static gpa_t build_facs(struct area *area)
{
	uint8_t *facs;

	area->at = (uint32_t)num_align_up(area->at, TABLE_ALIGN);
	facs = area_take(area, FACS_BYTES);
	memcpy(facs, "FACS", 4);
	bytes_put_le32(facs + 4, FACS_BYTES);
	facs[32] = 2; /* version */
	return ACPI_AREA_GPA + area->at - FACS_BYTES;
}

static gpa_t build_fadt(struct area *area, const struct acpi_config *config, gpa_t facs, gpa_t dsdt)
{
	uint32_t start = table_begin(area, "FACP", 6);
	uint8_t *t = area_take(area, FADT_BYTES - HEADER_BYTES) - HEADER_BYTES;

	if (area->full) {
		return 0;
	}
	bytes_put_le32(t + 36, (uint32_t)facs);
	bytes_put_le32(t + 40, (uint32_t)dsdt);
	bytes_put_le16(t + 46, BOARD_SCI_GSI);
	bytes_put_le32(t + 56, BOARD_PM1_EVENT_PORT);
	bytes_put_le32(t + 64, BOARD_PM1_CONTROL_PORT);
	t[88] = BOARD_PM1_EVENT_BYTES;
	t[89] = BOARD_PM1_CONTROL_BYTES;
	bytes_put_le16(t + 96, 0xffff); /* no C2 */
	bytes_put_le16(t + 98, 0xffff); /* no C3 */
	t[108] = RTC_CENTURY_REGISTER;
	bytes_put_le16(t + 109, FADT_BOOT_NO_VGA); /* and no 8042 */
	bytes_put_le32(t + 112, FADT_WBINVD | FADT_C1 | FADT_NO_SLEEP_BUTTON | FADT_NO_RTC_WAKE |
					FADT_RESET_REGISTER);
	put_port(t + 116, BOARD_RESET_PORT, 1);
	t[128] = BOARD_RESET_VALUE;
	t[131] = 3; /* revision 6.3 */
	bytes_put_le64(t + 140, dsdt);
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

static gpa_t build_madt(struct area *area, uint32_t vps)
{
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
	madt_override(area, 0, 2, 0);
	madt_override(area, BOARD_SCI_GSI, BOARD_SCI_GSI, MADT_HIGH_LEVEL);
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

static gpa_t build_ssdt(struct area *area, const struct acpi_config *config)
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

static gpa_t build_dsdt(struct area *area)
{
	gpa_t gpa;

	area->at = (uint32_t)num_align_up(area->at, TABLE_ALIGN);
	gpa = ACPI_AREA_GPA + area->at;
	if (sizeof(dsdt_aml_code) > ACPI_AREA_BYTES - area->at) {
		area->full = true;
		return 0;
	}
	memcpy(area->bytes + area->at, dsdt_aml_code, sizeof(dsdt_aml_code));
	area->at += (uint32_t)sizeof(dsdt_aml_code);
	return gpa;
}

static void build_rsdp(struct area *area, gpa_t xsdt)
{
	uint8_t *rsdp = area->bytes; /* room was left at the beginning */

	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, OEM_ID, 6);
	rsdp[15] = 2; /* revision */
	bytes_put_le32(rsdp + 20, RSDP_BYTES);
	bytes_put_le64(rsdp + 24, xsdt);
	rsdp[8] = checksum(rsdp, 20); /* of revision 0's part */
	rsdp[32] = checksum(rsdp, RSDP_BYTES);
}

int acpi_build(const struct mem *mem, const struct acpi_config *config, gpa_t *ret_rsdp)
{
	struct area area = { .at = TABLE_ALIGN };
	gpa_t facs, dsdt, tables[3];
	uint32_t start;
	int err;

	facs = build_facs(&area);
	dsdt = build_dsdt(&area);
	tables[0] = build_fadt(&area, config, facs, dsdt);
	tables[1] = build_madt(&area, config->vps);
	tables[2] = build_ssdt(&area, config);
	start = table_begin(&area, "XSDT", 1);
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		area_u64(&area, tables[i]);
	}
	if (area.full) {
		return -E2BIG;
	}
	build_rsdp(&area, table_end(&area, start));
	err = mem_write(mem, ACPI_AREA_GPA, area.bytes, area.at);
	if (!err) {
		*ret_rsdp = ACPI_AREA_GPA;
	}
	return err;
}

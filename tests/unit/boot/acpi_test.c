/* SPDX-License-Identifier: MIT */
#include "images.h"

#include <stdio.h>

#include "boot/acpi.h"

static uint8_t sum(const uint8_t *bytes, size_t count)
{
	uint8_t total = 0;

	for (size_t i = 0; i < count; i++) {
		total = (uint8_t)(total + bytes[i]);
	}
	return total;
}

static const uint8_t *table_at(struct mem *mem, uint64_t gpa)
{
	const uint8_t *header = mem_hva(mem, gpa, 36);
	uint32_t length;

	assert_non_null(header);
	length = bytes_le32(header + 4);
	assert_true(length >= 36 && length <= ACPI_AREA_BYTES);
	/* Outside of the area: where firmware has put it. */
	assert_true(gpa > ACPI_AREA_GPA + ACPI_AREA_BYTES ||
		    gpa + length <= ACPI_AREA_GPA + ACPI_AREA_BYTES);
	assert_int_equal(sum(header, length), 0);
	return header;
}

/* Follows RSDP and XSDT. */
static const uint8_t *find(struct mem *mem, gpa_t rsdp, const char *signature)
{
	const uint8_t *root = mem_hva(mem, rsdp, 36), *xsdt = table_at(mem, bytes_le64(root + 24));

	assert_int_equal(sum(root, 20), 0);
	assert_int_equal(sum(root, 36), 0);
	for (uint32_t at = 36; at < bytes_le32(xsdt + 4); at += 8) {
		const uint8_t *table = table_at(mem, bytes_le64(xsdt + at));

		if (memcmp(table, signature, 4) == 0) {
			return table;
		}
	}
	return NULL;
}

/* iasl, which the build needs anyway, must understand what we made by hand. */
static void check_with_iasl(const uint8_t *table)
{
	char dir[] = "/tmp/acpi-test-XXXXXX", command[256];
	FILE *file;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(command, sizeof(command), "%s/t.aml", dir);
	file = fopen(command, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(table, bytes_le32(table + 4), 1, file), 1);
	assert_int_equal(fclose(file), 0);
	(void)snprintf(command, sizeof(command),
		       "cd %s && iasl -d t.aml >log 2>&1 && ! grep -iE 'error|warning' log t.dsl",
		       dir);
	assert_int_equal(system(command), 0);
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

static void tables_are_sound(void **state)
{
	static const uint32_t counts[] = { 1, 2, 64, 300, BOOT_VPS_MAX };
	struct mem *mem = make_mem(64 * MIB);

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		struct acpi_config config = { .vps = counts[i],
					      .mmio_high_gpa = 5 * GIB,
					      .mmio_high_bytes = 64 * GIB };
		const uint8_t *fadt;
		gpa_t rsdp;

		assert_int_equal(acpi_build(mem, &config, &rsdp), 0);
		fadt = find(mem, rsdp, "FACP");
		assert_non_null(fadt);
		assert_int_equal(bytes_le32(fadt + 4), 276);
		assert_memory_equal(table_at(mem, bytes_le64(fadt + 140)), "DSDT", 4);
		assert_int_equal(bytes_le32(fadt + 40), bytes_le64(fadt + 140));
		assert_memory_equal(mem_hva(mem, bytes_le32(fadt + 36), 4), "FACS", 4);
		assert_int_equal(fadt[91], 0); /* no PM timer */
		assert_non_null(find(mem, rsdp, "APIC"));
		assert_non_null(find(mem, rsdp, "SSDT"));
	}
	mem_destroy(mem);
}

static void iasl_reads_them(void **state)
{
	static const char *const signatures[] = { "FACP", "APIC", "SSDT" };
	struct acpi_config config = {
		.vps = 3, .mmio_high_gpa = 5 * GIB, .mmio_high_bytes = GIB, .pm_timer = true
	};
	struct mem *mem = make_mem(64 * MIB);
	gpa_t rsdp;

	if (system("iasl -v >/dev/null 2>&1") != 0) {
		skip();
	}
	assert_int_equal(acpi_build(mem, &config, &rsdp), 0);
	for (size_t i = 0; i < ARRAY_SIZE(signatures); i++) {
		check_with_iasl(find(mem, rsdp, signatures[i]));
	}
	mem_destroy(mem);
}

/* ---- what firmware does with our files (SeaBIOS src/fw/romfile_loader.c) ---- */

#define LOADED_GPA 0x7fe0000ULL
#define RSDP_GPA   0xf5000ULL

struct loaded {
	struct mem *mem;
	const struct acpi_firmware *from;
	unsigned int allocations, checksums;
};

static uint8_t *file_at(struct loaded *l, const uint8_t *name, gpa_t *ret_gpa)
{
	bool is_rsdp = strcmp((const char *)name, "etc/acpi/rsdp") == 0;

	assert_true(is_rsdp || strcmp((const char *)name, "etc/acpi/tables") == 0);
	*ret_gpa = is_rsdp ? RSDP_GPA : LOADED_GPA;
	return mem_hva(l->mem, *ret_gpa, 1);
}

static void run_entry(struct loaded *l, const uint8_t *entry)
{
	gpa_t gpa, source;
	uint8_t *file = file_at(l, entry + 4, &gpa), *at;
	uint64_t value = 0;

	switch (bytes_le32(entry)) {
	case 1:
		assert_true(bytes_le32(entry + 60) <= 4096);
		memcpy(file, gpa == RSDP_GPA ? l->from->rsdp : l->from->tables,
		       gpa == RSDP_GPA ? sizeof(l->from->rsdp) : l->from->tables_bytes);
		l->allocations++;
		break;
	case 2:
		(void)file_at(l, entry + 60, &source);
		at = file + bytes_le32(entry + 116);
		assert_true(entry[120] == 4 || entry[120] == 8);
		memcpy(&value, at, entry[120]);
		assert_true(value < l->from->tables_bytes);
		value += source;
		memcpy(at, &value, entry[120]);
		break;
	case 3:
		at = file + bytes_le32(entry + 60);
		*at = (uint8_t)(*at - sum(file + bytes_le32(entry + 64), bytes_le32(entry + 68)));
		l->checksums++;
		break;
	default:
		fail();
	}
}

static void firmware_finds_its_own_places(void **state)
{
	static const uint32_t counts[] = { 1, 64 };
	static struct acpi_firmware firmware;
	struct mem *mem = make_mem(128 * MIB);

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		const struct acpi_config config = { .vps = counts[i],
						    .mmio_high_gpa = 5 * GIB,
						    .mmio_high_bytes = GIB,
						    .pm_timer = true,
						    .is_legacy = true };
		struct loaded l = { .mem = mem, .from = &firmware };
		const uint8_t *rsdp = mem_hva(mem, RSDP_GPA, 36), *rsdt, *fadt;

		assert_int_equal(acpi_build_firmware(&config, &firmware), 0);
		for (uint32_t at = 0; at < firmware.loader_bytes; at += 128) {
			run_entry(&l, firmware.loader + at);
		}
		assert_int_equal(l.allocations, 2);
		assert_int_equal(sum(rsdp, 20), 0);
		assert_int_equal(sum(rsdp, 36), 0);
		rsdt = table_at(mem, bytes_le32(rsdp + 16));
		assert_memory_equal(rsdt, "RSDT", 4);
		assert_int_equal(bytes_le32(rsdt + 4), 36 + 3 * 4);
		fadt = find(mem, RSDP_GPA, "FACP");
		assert_ptr_equal(table_at(mem, bytes_le32(rsdt + 36)), fadt);
		assert_memory_equal(table_at(mem, bytes_le64(fadt + 140)), "DSDT", 4);
		assert_int_equal(bytes_le16(fadt + 109), 0x07); /* legacy devices, 8042, no VGA */
		assert_non_null(find(mem, RSDP_GPA, "APIC"));
		assert_non_null(find(mem, RSDP_GPA, "SSDT"));
	}
	mem_destroy(mem);
}

static void smbios_for_firmware_is_sound(void **state)
{
	struct smbios_firmware smbios;

	smbios_build_firmware(SMBIOS_TABIQUE, &smbios);
	assert_memory_equal(smbios.anchor, "_SM_", 4);
	assert_int_equal(smbios.anchor[5], sizeof(smbios.anchor));
	assert_int_equal(sum(smbios.anchor, sizeof(smbios.anchor)), 0);
	assert_int_equal(sum(smbios.anchor + 16, 15), 0);
	assert_int_equal(bytes_le16(smbios.anchor + 22), smbios.tables_bytes);
	assert_int_equal(smbios.tables[0], 1);
	assert_string_equal((const char *)smbios.tables + smbios.tables[1], "Tabique");
	assert_int_equal(smbios.tables[smbios.tables_bytes - 6], 127);
	/* The one that Linux knows as Hyper-V's, and the one that it knows as Virtual Server's. */
	smbios_build_firmware(SMBIOS_HYPER_V, &smbios);
	assert_string_equal((const char *)smbios.tables + smbios.tables[1],
			    "Microsoft Corporation");
	assert_non_null(memmem(smbios.tables, smbios.tables_bytes, "\0Virtual Machine\0", 17));
	assert_null(memmem(smbios.tables, smbios.tables_bytes, "VS2005R2", 8));
	smbios_build_firmware(SMBIOS_VIRTUAL_SERVER, &smbios);
	assert_non_null(memmem(smbios.tables, smbios.tables_bytes, "\0VS2005R2\0", 10));
	assert_int_equal(sum(smbios.anchor, sizeof(smbios.anchor)), 0);
}

static void every_processor_has_its_local_apic(void **state)
{
	struct acpi_config config = { .vps = 300 };
	struct mem *mem = make_mem(64 * MIB);
	const uint8_t *madt;
	uint32_t next = 0, ioapics = 0;
	gpa_t rsdp;

	assert_int_equal(acpi_build(mem, &config, &rsdp), 0);
	madt = find(mem, rsdp, "APIC");
	for (uint32_t at = 44; at < bytes_le32(madt + 4); at += madt[at + 1]) {
		assert_true(madt[at + 1] >= 6);
		if (madt[at] == 0) {
			assert_int_equal(madt[at + 3], next++);
		} else if (madt[at] == 9) {
			assert_int_equal(bytes_le32(madt + at + 4), next++);
		}
		ioapics += madt[at] == 1;
	}
	assert_int_equal(next, 300);
	assert_int_equal(ioapics, 1);
	mem_destroy(mem);
}

static void smbios_is_where_linux_looks(void **state)
{
	struct mem *mem = make_mem(64 * MIB);
	const uint8_t *entry, *table;

	assert_int_equal(smbios_build(mem, SMBIOS_TABIQUE), 0);
	entry = mem_hva(mem, 0xf0000, 512);
	assert_memory_equal(entry, "_SM3_", 5);
	assert_int_equal(sum(entry, entry[6]), 0);
	table = mem_hva(mem, bytes_le64(entry + 16), bytes_le32(entry + 12));
	assert_int_equal(table[0], 0);
	assert_string_equal((const char *)table + table[1], "Tabique");
	assert_int_equal(table[bytes_le32(entry + 12) - 6], 127);
	mem_destroy(mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_are_sound),
		cmocka_unit_test(iasl_reads_them),
		cmocka_unit_test(firmware_finds_its_own_places),
		cmocka_unit_test(smbios_for_firmware_is_sound),
		cmocka_unit_test(every_processor_has_its_local_apic),
		cmocka_unit_test(smbios_is_where_linux_looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

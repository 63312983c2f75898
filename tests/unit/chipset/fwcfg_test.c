/* SPDX-License-Identifier: MIT */
/* Firmware's side: SeaBIOS src/fw/paravirt.c. */
#include "pci_rig.h"

#include <errno.h>
#include <stdio.h>

#include "base/bytes.h"
#include "chipset/fwcfg.h"

#define REQUEST_GPA 0x8000U
#define BUFFER_GPA  0x9000U

struct fixture {
	struct pci_rig p;
	struct fwcfg *fwcfg;
};

static void fixture_init(struct fixture *f)
{
	pci_rig_init(&f->p);
	assert_int_equal(fwcfg_create(f->p.rig.chipset, f->p.mem, &f->fwcfg), 0);
	assert_int_equal(fwcfg_add_number(f->fwcfg, FWCFG_CPUS, 3, 2), 0);
	assert_int_equal(fwcfg_add_file(f->fwcfg, "etc/first", "one", 3), 0);
	assert_int_equal(fwcfg_add_file(f->fwcfg, "etc/second", "two and more", 12), 0);
}

static void fixture_fini(struct fixture *f)
{
	fwcfg_destroy(f->fwcfg);
	pci_rig_fini(&f->p);
}

static void read_item(struct fixture *f, uint16_t key, void *ret, unsigned int count)
{
	rig_out16(&f->p.rig, 0x510, key);
	assert_true(chipset_pio(f->p.rig.chipset, 0x511, false, ret, 1, count)); /* rep insb */
}

/* The control word when it is over. */
static uint32_t dma(struct fixture *f, uint32_t control, uint32_t length, uint64_t gpa)
{
	uint8_t request[16];

	bytes_put_be32(request, control);
	bytes_put_be32(request + 4, length);
	bytes_put_be64(request + 8, gpa);
	assert_int_equal(mem_write(f->p.mem, REQUEST_GPA, request, sizeof(request)), 0);
	rig_out32(&f->p.rig, 0x518, __builtin_bswap32(REQUEST_GPA));
	assert_int_equal(mem_read(f->p.mem, REQUEST_GPA, request, 4), 0);
	return bytes_be32(request);
}

static void firmware_finds_items_and_files(void **state)
{
	uint8_t bytes[4 + 2 * 64];
	struct fixture f;

	(void)state;
	fixture_init(&f);
	read_item(&f, 0, bytes, 4);
	assert_memory_equal(bytes, "QEMU", 4);
	read_item(&f, 1, bytes, 4);
	assert_int_equal(bytes_le32(bytes), 3);
	read_item(&f, FWCFG_CPUS, bytes, 4);
	assert_memory_equal(bytes, "\x03\x00\x00\x00", 4); /* behind its end: zeroes */
	read_item(&f, 0x7777, bytes, 4);
	assert_memory_equal(bytes, "\0\0\0\0", 4);

	read_item(&f, 0x19, bytes, sizeof(bytes));
	assert_int_equal(bytes_be32(bytes), 2);
	assert_int_equal(bytes_be32(bytes + 4), 3);
	assert_string_equal((const char *)bytes + 12, "etc/first");
	assert_int_equal(bytes_be32(bytes + 68), 12);
	assert_string_equal((const char *)bytes + 76, "etc/second");
	read_item(&f, bytes_be16(bytes + 72), bytes, 14);
	assert_memory_equal(bytes, "two and more\0\0", 14);
	fixture_fini(&f);
}

static void dma_reads_and_skips(void **state)
{
	uint8_t *buffer;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	buffer = mem_hva(f.p.mem, BUFFER_GPA, 16);
	assert_true(rig_in32(&f.p.rig, 0x514) == 0x554d4551U); /* "QEMU" */
	assert_true(rig_in32(&f.p.rig, 0x518) == 0x47464320U); /* " CFG" */
	memset(buffer, 0xee, 16);
	assert_int_equal(dma(&f, 0x21U << 16 | 8 | 2, 3, BUFFER_GPA), 0);
	assert_memory_equal(buffer, "two\xee", 4);
	assert_int_equal(dma(&f, 4, 5, 0), 0);
	assert_int_equal(dma(&f, 2, 6, BUFFER_GPA), 0);
	assert_memory_equal(buffer, "more\0\0\xee", 7);
	assert_int_equal(dma(&f, 4, 0xffffffff, 0), 0);
	assert_int_equal(dma(&f, 2, 2, BUFFER_GPA), 0);
	assert_memory_equal(buffer, "\0\0re", 4);
	/* Both ways to the data share one offset. */
	assert_int_equal(dma(&f, 0x20U << 16 | 8, 0, 0), 0);
	assert_int_equal(rig_in(&f.p.rig, 0x511), 'o');
	fixture_fini(&f);
}

static void nonsense_is_an_error_and_no_harm(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	assert_int_equal(dma(&f, 0x20U << 16 | 8 | 2, 4, PCI_RIG_MEM_BYTES - 2), 1);
	assert_int_equal(dma(&f, 0x20U << 16 | 8 | 2, 4, ~0ULL), 1);
	assert_int_equal(dma(&f, 0x20U << 16 | 8 | 2, 0xffffffff, 0), 1);
	assert_int_equal(dma(&f, 0x20U << 16 | 8 | 16, 3, BUFFER_GPA), 1); /* nothing is written */
	rig_out32(&f.p.rig, 0x514, 0xffffffff);
	rig_out32(&f.p.rig, 0x518, 0xffffffff); /* a request from nowhere */
	rig_out16(&f.p.rig, 0x518, 0x1234);
	rig_out(&f.p.rig, 0x511, 0x12);
	assert_int_equal(fwcfg_add_file(f.fwcfg, "etc/first", "x", 1), -EEXIST);
	for (unsigned int i = 2; i < FWCFG_FILES_MAX; i++) {
		char name[16];

		snprintf(name, sizeof(name), "file%u", i);
		assert_int_equal(fwcfg_add_file(f.fwcfg, name, "", 0), 0);
	}
	assert_int_equal(fwcfg_add_file(f.fwcfg, "more", "x", 1), -ENOSPC);
	fixture_fini(&f);
}

static void a_saved_one_reads_on_where_it_was(void **state)
{
	struct fixture f;
	struct save save;
	const uint8_t *bytes;
	size_t length;
	struct load load;

	(void)state;
	fixture_init(&f);
	rig_out16(&f.p.rig, 0x510, 0x21);
	assert_int_equal(rig_in(&f.p.rig, 0x511), 't');
	save_init(&save);
	fwcfg_save(f.fwcfg, &save);
	assert_int_equal(save_finish(&save, &bytes, &length), 0);
	fwcfg_reset(f.fwcfg);
	assert_int_equal(rig_in(&f.p.rig, 0x511), 'Q');
	load_init(&load, bytes, length);
	assert_int_equal(fwcfg_load(f.fwcfg, &load), 0);
	assert_int_equal(rig_in(&f.p.rig, 0x511), 'w');
	save_fini(&save);
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(firmware_finds_items_and_files),
		cmocka_unit_test(dma_reads_and_skips),
		cmocka_unit_test(nonsense_is_an_error_and_no_harm),
		cmocka_unit_test(a_saved_one_reads_on_where_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

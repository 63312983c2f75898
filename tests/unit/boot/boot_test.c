/* SPDX-License-Identifier: MIT */
#include "images.h"

#include <fcntl.h>

#define KERNEL_BYTES 8192U

struct fixture {
	struct mem *mem;
	uint8_t image[IMAGE_SETUP_BYTES + KERNEL_BYTES];
	struct boot_config config;
	struct boot_entry entry;
	struct diag diag;
};

static void fixture_init(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->mem = make_mem(64 * MIB);
	image_setup(f->image, KERNEL_BYTES);
	for (size_t i = 0; i < KERNEL_BYTES; i++) {
		f->image[IMAGE_SETUP_BYTES + i] = (uint8_t)(i * 7);
	}
	f->config = (struct boot_config){
		.kernel_fd = -1,
		.kernel_name = "k",
		.initrd_fd = -1,
		.initrd_name = "i",
		.cmdline = "console=ttyS0",
		.vps = 2,
	};
}

static int load(struct fixture *f, const void *bytes, size_t count)
{
	int fd = file_of(bytes, count), err;

	f->config.kernel_fd = fd;
	err = boot_linux_load(f->mem, &f->config, &f->entry, &f->diag);
	close(fd);
	return err;
}

static int load_image(struct fixture *f)
{
	return load(f, f->image, sizeof(f->image));
}

static void fixture_fini(struct fixture *f)
{
	if (f->config.initrd_fd >= 0) {
		close(f->config.initrd_fd);
	}
	mem_destroy(f->mem);
}

static const uint8_t *ram(struct fixture *f, gpa_t gpa)
{
	return mem_hva(f->mem, gpa, 4096);
}

static void a_bzimage_starts_at_its_64_bit_entry(void **state)
{
	const uint8_t *params;
	struct fixture f;

	fixture_init(&f);
	assert_int_equal(load_image(&f), 0);
	assert_int_equal(f.entry.mode, BOOT_LONG64);
	assert_int_equal(f.entry.rip, 0x1000200);
	assert_memory_equal(ram(&f, 0x1000000), f.image + IMAGE_SETUP_BYTES, 4096);
	params = ram(&f, f.entry.rsi);
	assert_memory_equal(params + 0x202, "HdrS", 4);
	assert_int_equal(params[0x210], 0xff);
	assert_int_equal(params[0x1ef], 0); /* the sentinel: the rest is valid */
	assert_string_equal((const char *)ram(&f, bytes_le32(params + 0x228)), "console=ttyS0");
	assert_int_equal(bytes_le32(params + 0x218), 0);
	assert_memory_equal(ram(&f, bytes_le64(params + 0x70)), "RSD PTR ", 8);
	/* Page tables: PML4 → PDPT → PD, 2 MiB pages, one to one. */
	assert_int_equal(bytes_le64(ram(&f, f.entry.cr3)), (f.entry.cr3 + 4096) | 3);
	assert_int_equal(bytes_le64(ram(&f, f.entry.cr3 + 3 * 4096) + 8), 0x40200083);
	fixture_fini(&f);
}

static void the_memory_map_has_all_of_it(void **state)
{
	const uint8_t *params;
	struct fixture f;
	uint64_t usable = 0, end = 0;

	fixture_init(&f);
	mem_destroy(f.mem);
	f.mem = make_mem(4 * GIB);
	assert_int_equal(load_image(&f), 0);
	params = ram(&f, f.entry.rsi);
	for (size_t i = 0; i < params[0x1e8]; i++) {
		const uint8_t *entry = params + 0x2d0 + i * 20;

		assert_true(bytes_le64(entry) >= end);
		end = bytes_le64(entry) + bytes_le64(entry + 8);
		usable += bytes_le32(entry + 16) == 1 ? bytes_le64(entry + 8) : 0;
	}
	assert_true(end == 5 * GIB);
	assert_true(usable == 4 * GIB - 0x100000 + 0x9fc00);
	fixture_fini(&f);
}

static void the_initrd_goes_to_the_top(void **state)
{
	const uint8_t *params;
	struct fixture f;
	uint8_t initrd[5000];

	fixture_init(&f);
	memset(initrd, 0x5a, sizeof(initrd));
	f.config.initrd_fd = file_of(initrd, sizeof(initrd));
	assert_int_equal(load_image(&f), 0);
	params = ram(&f, f.entry.rsi);
	assert_int_equal(bytes_le32(params + 0x218), 64 * MIB - 8192);
	assert_int_equal(bytes_le32(params + 0x21c), 5000);
	assert_memory_equal(ram(&f, 64 * MIB - 8192), initrd, 4096);
	fixture_fini(&f);
}

static void mistakes_get_a_sentence(void **state)
{
	struct fixture f;
	uint8_t junk[8192] = { 0 };
	char longer[3000];

	fixture_init(&f);
	assert_int_equal(load(&f, junk, sizeof(junk)), -EINVAL);
	assert_non_null(strstr(f.diag.text, "not a Linux kernel"));
	assert_int_equal(load(&f, junk, 0), -EINVAL);
	assert_int_equal(load(&f, f.image, IMAGE_SETUP_BYTES + 100), -EINVAL);
	assert_non_null(strstr(f.diag.text, "truncated"));

	bytes_put_le32(f.image + 0x260, 64 * MIB);
	assert_int_equal(load_image(&f), -E2BIG);
	assert_non_null(strstr(f.diag.text, "needs 80 MiB"));
	image_setup(f.image, KERNEL_BYTES);

	bytes_put_le16(f.image + 0x206, 0x0206);
	assert_int_equal(load_image(&f), -EINVAL);
	assert_non_null(strstr(f.diag.text, "2.06"));
	image_setup(f.image, KERNEL_BYTES);

	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	f.config.cmdline = longer;
	assert_int_equal(load_image(&f), -EINVAL);
	assert_non_null(strstr(f.diag.text, "2999 bytes"));
	f.config.cmdline = NULL;
	assert_int_equal(load_image(&f), 0);

	f.config.initrd_fd = memfd_create("big", 0);
	assert_int_equal(ftruncate(f.config.initrd_fd, 60 * MIB), 0);
	assert_int_equal(load_image(&f), -E2BIG);
	assert_non_null(strstr(f.diag.text, "does not fit"));

	f.config.kernel_fd = open("/", O_RDONLY);
	assert_int_equal(boot_linux_load(f.mem, &f.config, &f.entry, &f.diag), -EISDIR);
	close(f.config.kernel_fd);
	fixture_fini(&f);
}

/* An ELF image with one segment and, unless entry is 0, a PVH note. */
static size_t make_elf(uint8_t *out, uint32_t entry)
{
	Elf64_Ehdr ehdr = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_phoff = 64,
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2,
	};
	Elf64_Phdr phdrs[2] = {
		{ .p_type = PT_LOAD,
		  .p_offset = 4096,
		  .p_paddr = 0x1000000,
		  .p_filesz = 4096,
		  .p_memsz = 0x10000 },
		{ .p_type = PT_NOTE, .p_offset = 1024, .p_filesz = entry ? 20 : 0 },
	};

	memset(out, 0, 8192);
	memcpy(out, &ehdr, sizeof(ehdr));
	memcpy(out + 64, phdrs, sizeof(phdrs));
	bytes_put_le32(out + 1024, 4);
	bytes_put_le32(out + 1028, 4);
	bytes_put_le32(out + 1032, 18);
	memcpy(out + 1036, "Xen", 4);
	bytes_put_le32(out + 1040, entry);
	memset(out + 4096, 0xc3, 4096);
	return 8192;
}

static void an_elf_kernel_starts_through_pvh(void **state)
{
	const uint8_t *info;
	struct fixture f;
	uint8_t elf[8192];

	fixture_init(&f);
	memset(mem_hva(f.mem, 0x1000000, 0x10000), 0xee, 0x10000);
	f.config.initrd_fd = file_of("ramdisk", 7);
	assert_int_equal(load(&f, elf, make_elf(elf, 0x1000040)), 0);
	assert_int_equal(f.entry.mode, BOOT_PROTECTED32);
	assert_int_equal(f.entry.rip, 0x1000040);
	assert_int_equal(*ram(&f, 0x1000fff), 0xc3);
	assert_int_equal(*ram(&f, 0x1001000), 0);
	assert_int_equal(*ram(&f, 0x100ffff), 0);
	info = ram(&f, f.entry.rbx);
	assert_int_equal(bytes_le32(info), 0x336ec578);
	assert_int_equal(bytes_le32(info + 12), 1);
	assert_memory_equal(ram(&f, bytes_le64(ram(&f, bytes_le64(info + 16)))), "ramdisk", 7);
	assert_string_equal((const char *)ram(&f, bytes_le64(info + 24)), "console=ttyS0");
	assert_memory_equal(ram(&f, bytes_le64(info + 32)), "RSD PTR ", 8);
	assert_int_equal(bytes_le32(info + 48), 4);

	assert_int_equal(load(&f, elf, make_elf(elf, 0)), -EINVAL);
	assert_non_null(strstr(f.diag.text, "PVH"));
	assert_int_equal(load(&f, elf, make_elf(elf, 0x40000000)), -EINVAL);
	make_elf(elf, 0x1000040);
	elf[18] = EM_386;
	assert_int_equal(load(&f, elf, sizeof(elf)), -EINVAL);
	fixture_fini(&f);
}

static void the_high_window_lies_behind_ram(void **state)
{
	struct mem *mem = make_mem(4 * GIB);
	uint64_t bytes;
	gpa_t gpa;

	boot_mmio_high(mem, 40, &gpa, &bytes);
	assert_true(gpa == 5 * GIB && bytes == 64 * GIB);
	boot_mmio_high(mem, 36, &gpa, &bytes);
	assert_true(gpa == 5 * GIB && bytes == 59 * GIB);
	boot_mmio_high(mem, 32, &gpa, &bytes);
	assert_true(bytes == 0);
	mem_destroy(mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bzimage_starts_at_its_64_bit_entry),
		cmocka_unit_test(the_memory_map_has_all_of_it),
		cmocka_unit_test(the_initrd_goes_to_the_top),
		cmocka_unit_test(mistakes_get_a_sentence),
		cmocka_unit_test(an_elf_kernel_starts_through_pvh),
		cmocka_unit_test(the_high_window_lies_behind_ram),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

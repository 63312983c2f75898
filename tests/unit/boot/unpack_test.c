/* SPDX-License-Identifier: MIT */
#include "images.h"

#include <dirent.h>
#include <lzma.h>
#include <sys/stat.h>

#define LOAD        0x1000000ULL
#define ELF_BYTES   (FILE_OFFSET + 8192 + 64)
#define FILE_OFFSET (2 * MIB)
#define KERNEL_VA   0xffffffff81000000ULL
#define RELOCS      6U

/*
 * An ELF kernel of two segments, one section header, and three lists of relocations: an address to
 * add to (at 0x100), to subtract from (0x200), a 64-bit one (0x300).
 */
static uint8_t *make_kernel(size_t *ret_bytes)
{
	static const uint32_t relocs[RELOCS] = { 0, 0x81000300, 0, 0x81000200, 0, 0x81000100 };
	Elf64_Ehdr ehdr = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
		.e_machine = EM_X86_64,
		.e_entry = LOAD + 0x40,
		.e_phoff = 64,
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2,
		.e_shoff = FILE_OFFSET + 8192,
		.e_shentsize = 64,
		.e_shnum = 1,
	};
	Elf64_Phdr phdrs[2] = {
		{ .p_type = PT_LOAD,
		  .p_offset = FILE_OFFSET,
		  .p_paddr = LOAD,
		  .p_filesz = 4096,
		  .p_memsz = 4096 },
		{ .p_type = PT_LOAD,
		  .p_offset = FILE_OFFSET + 4096,
		  .p_paddr = LOAD + 4096,
		  .p_filesz = 4096,
		  .p_memsz = 8 * MIB },
	};
	uint8_t *elf = calloc(1, ELF_BYTES + sizeof(relocs));

	assert_non_null(elf);
	memcpy(elf, &ehdr, sizeof(ehdr));
	memcpy(elf + 64, phdrs, sizeof(phdrs));
	memset(elf + FILE_OFFSET, 0x11, 4096);
	memset(elf + FILE_OFFSET + 4096, 0x22, 4096);
	bytes_put_le32(elf + FILE_OFFSET + 0x100, 0x81000000);
	bytes_put_le32(elf + FILE_OFFSET + 0x200, 0x40000000);
	bytes_put_le64(elf + FILE_OFFSET + 0x300, KERNEL_VA);
	memcpy(elf + ELF_BYTES, relocs, sizeof(relocs));
	*ret_bytes = ELF_BYTES + sizeof(relocs);
	return elf;
}

struct fixture {
	struct mem *mem;
	uint8_t *kernel;
	size_t kernel_bytes;
	uint8_t *image;
	size_t image_bytes;
	struct boot_config config;
	struct boot_entry entry;
	struct diag diag;
};

/* A bzImage around the kernel, packed by xz; the size follows as Linux' build puts it. */
static void make_image(struct fixture *f)
{
	size_t room = IMAGE_SETUP_BYTES + 1024 + lzma_stream_buffer_bound(f->kernel_bytes) + 4;
	size_t at = IMAGE_SETUP_BYTES + 1024;

	free(f->image);
	f->image = calloc(1, room);
	assert_non_null(f->image);
	assert_int_equal(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, NULL, f->kernel,
						 f->kernel_bytes, f->image, &at, room - 4),
			 LZMA_OK);
	bytes_put_le32(f->image + at, (uint32_t)f->kernel_bytes);
	f->image_bytes = at + 4;
	image_setup(f->image, f->image_bytes - IMAGE_SETUP_BYTES);
	bytes_put_le32(f->image + 0x248, 1024);
	bytes_put_le32(f->image + 0x24c, (uint32_t)(f->image_bytes - IMAGE_SETUP_BYTES - 1024));
}

static void fixture_init(struct fixture *f, const char *cmdline)
{
	*f = (struct fixture){ .mem = make_mem(128 * MIB) };
	f->kernel = make_kernel(&f->kernel_bytes);
	f->config = (struct boot_config){ .kernel_name = "k",
					  .initrd_fd = -1,
					  .cmdline = cmdline,
					  .vps = 1,
					  .fast_unpack = true };
	make_image(f);
}

static int load(struct fixture *f)
{
	int err;

	f->config.kernel_fd = file_of(f->image, f->image_bytes);
	err = boot_linux_load(f->mem, &f->config, &f->entry, &f->diag);
	close(f->config.kernel_fd);
	return err;
}

static void fixture_fini(struct fixture *f)
{
	free(f->kernel);
	free(f->image);
	mem_destroy(f->mem);
}

static uint8_t loadflags(struct fixture *f)
{
	return *(uint8_t *)mem_hva(f->mem, f->entry.rsi + 0x211, 1);
}

static void without_randomization_it_lies_where_it_was_linked(void **state)
{
	struct fixture f;

	fixture_init(&f, "quiet nokaslr");
	assert_int_equal(load(&f), 0);
	assert_true(f.entry.unpacked);
	assert_int_equal(f.entry.rip, LOAD + 0x40);
	assert_memory_equal(mem_hva(f.mem, LOAD, 8192), f.kernel + FILE_OFFSET, 8192);
	assert_int_equal(loadflags(&f), 1);
	fixture_fini(&f);
}

static void with_it_all_addresses_move_by_the_same(void **state)
{
	struct fixture f;
	bool moved = false;

	fixture_init(&f, "quiet nokaslrx");
	for (unsigned int i = 0; i < 8; i++) {
		const uint8_t *at;
		uint64_t delta;

		assert_int_equal(load(&f), 0);
		assert_true(f.entry.unpacked);
		assert_int_equal(loadflags(&f), 3);
		assert_int_equal(f.entry.rip % (2 * MIB), 0x40);
		at = mem_hva(f.mem, f.entry.rip - 0x40, 8192);
		assert_non_null(at);
		delta = bytes_le64(at + 0x300) - KERNEL_VA;
		assert_true(delta % (2 * MIB) == 0 && delta < GIB);
		assert_int_equal(bytes_le32(at + 0x100), (uint32_t)(0x81000000 + delta));
		assert_int_equal(bytes_le32(at + 0x200), (uint32_t)(0x40000000 - delta));
		assert_int_equal(at[4096], 0x22);
		moved |= delta != 0;
	}
	assert_true(moved);
	fixture_fini(&f);
}

/* Whatever is odd about the payload, the guest gets the image to unpack itself. */
static void doubts_take_the_ordinary_way(void **state)
{
	for (unsigned int doubt = 0; doubt < 6; doubt++) {
		struct fixture f;

		fixture_init(&f, "");
		if (doubt == 0) { /* not an ELF image */
			f.kernel[0] = 0;
		} else if (doubt == 1) { /* a relocation outside of the kernel */
			bytes_put_le32(f.kernel + ELF_BYTES + 4, 0x90000000);
		} else if (doubt == 2) { /* a list without its beginning */
			bytes_put_le32(f.kernel + ELF_BYTES, 0x81000400);
		} else if (doubt == 3) { /* a segment that would move up */
			bytes_put_le64(f.kernel + 64 + 56 + 24, LOAD + 64 * MIB);
		}
		make_image(&f);
		if (doubt == 4) { /* damaged */
			f.image[IMAGE_SETUP_BYTES + 1024 + 40] ^= 1;
		} else if (doubt == 5) { /* another size than promised */
			f.image[f.image_bytes - 4] ^= 1;
		}
		assert_int_equal(load(&f), 0);
		assert_false(f.entry.unpacked);
		assert_int_equal(f.entry.rip, LOAD + 0x200);
		assert_memory_equal(mem_hva(f.mem, LOAD, 4096), f.image + IMAGE_SETUP_BYTES,
				    num_min(4096, f.image_bytes - IMAGE_SETUP_BYTES));
		assert_int_equal(loadflags(&f), 1);
		fixture_fini(&f);
	}
}

/* Looks whether exactly `count` files are in the directory; removes them. */
static void expect_files(const char *dir, unsigned int count)
{
	DIR *d = opendir(dir);
	const struct dirent *entry;
	unsigned int found = 0;

	assert_non_null(d);
	while ((entry = readdir(d))) {
		if (entry->d_name[0] != '.') {
			found++;
			assert_int_equal(unlinkat(dirfd(d), entry->d_name, 0), 0);
		}
	}
	closedir(d);
	assert_int_equal(found, count);
}

static void what_was_unpacked_is_kept_for_the_next_start(void **state)
{
	char dir[] = "/tmp/unpack-test-XXXXXX";
	struct fixture f;
	uint8_t first[8192];

	assert_non_null(mkdtemp(dir));
	fixture_init(&f, "nokaslr");
	f.config.cache_dir = dir;
	f.config.kernel_fd = file_of(f.image, f.image_bytes);
	assert_int_equal(boot_linux_load(f.mem, &f.config, &f.entry, &f.diag), 0);
	memcpy(first, mem_hva(f.mem, LOAD, sizeof(first)), sizeof(first));

	uint8_t zero[64] = { 0 };

	memset(mem_hva(f.mem, LOAD, 8192), 0, 8192);
	assert_int_equal(boot_linux_load(f.mem, &f.config, &f.entry, &f.diag), 0);
	assert_true(f.entry.unpacked);
	assert_memory_equal(mem_hva(f.mem, LOAD, sizeof(first)), first, sizeof(first));

	/* A changed kernel is another one. */
	usleep(20000);
	assert_int_equal(pwrite(f.config.kernel_fd, zero, 1, 64), 1);
	assert_int_equal(boot_linux_load(f.mem, &f.config, &f.entry, &f.diag), 0);
	expect_files(dir, 2);

	/* A directory that others may write is not ours. */
	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(boot_linux_load(f.mem, &f.config, &f.entry, &f.diag), 0);
	expect_files(dir, 0);
	close(f.config.kernel_fd);
	rmdir(dir);
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_randomization_it_lies_where_it_was_linked),
		cmocka_unit_test(with_it_all_addresses_move_by_the_same),
		cmocka_unit_test(doubts_take_the_ordinary_way),
		cmocka_unit_test(what_was_unpacked_is_kept_for_the_next_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

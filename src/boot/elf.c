/* SPDX-License-Identifier: MIT */
/*
 * An ELF kernel that says, in a note, where its 32-bit entry point for PVH is.
 *
 *   spec    Xen: include/public/arch-x86/hvm/start_info.h, elfnote.h; docs/misc/pvh.pandoc
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/num.h"
#include "boot/boot_internal.h"

#define PHDRS_MAX         64U
#define NOTE_PHYS32_ENTRY 18U

#define START_INFO_MAGIC  0x336ec578U
#define START_INFO_BYTES  56U
#define MODULE_BYTES      32U
#define MAP_ENTRY_BYTES   24U
#define PVH_CMDLINE_MAX   (BOOT_CMDLINE_BYTES_MAX - 1)
#define PVH_MODULE_GPA    (LAYOUT_PVH_INFO_GPA + START_INFO_BYTES)
#define PVH_MAP_GPA       (PVH_MODULE_GPA + MODULE_BYTES)

static int not_a_kernel(struct loader *loader, const char *why)
{
	return diag_set(loader->reterr, -EINVAL, "kernel %s: %s", loader->config->kernel_name, why);
}

static int check_header(struct loader *loader, const Elf64_Ehdr *ehdr)
{
	if (ehdr->e_ident[EI_CLASS] != ELFCLASS64 || ehdr->e_ident[EI_DATA] != ELFDATA2LSB ||
	    ehdr->e_machine != EM_X86_64) {
		return not_a_kernel(loader, "an ELF image, but not for 64-bit x86");
	}
	if (ehdr->e_phentsize != sizeof(Elf64_Phdr) || ehdr->e_phnum == 0 ||
	    ehdr->e_phnum > PHDRS_MAX) {
		return not_a_kernel(loader, "an ELF image, but not a kernel");
	}
	return 0;
}

/* Loads one segment, bss zeroed; *ret_end grows to its end. */
static int load_segment(struct loader *loader, const Elf64_Phdr *phdr, gpa_t *ret_end)
{
	uint64_t end;
	void *hva;
	int err;

	if (phdr->p_memsz == 0) {
		return 0;
	}
	if (phdr->p_filesz > phdr->p_memsz || phdr->p_paddr < LAYOUT_HIGH_START ||
	    !num_add_u64(phdr->p_paddr, phdr->p_memsz, &end)) {
		return not_a_kernel(loader, "a segment that makes no sense");
	}
	err = loader_check_fits(loader, end);
	if (err) {
		return err;
	}
	err = loader_read_guest(loader, phdr->p_offset, phdr->p_paddr, phdr->p_filesz);
	if (err) {
		return err;
	}
	hva = mem_hva(loader->mem, phdr->p_paddr + phdr->p_filesz, phdr->p_memsz - phdr->p_filesz);
	if (hva) {
		memset(hva, 0, phdr->p_memsz - phdr->p_filesz);
	}
	*ret_end = num_max(*ret_end, end);
	return 0;
}

/* Looks for the entry point among the notes; *ret_entry stays when it is not there. */
static int find_entry(struct loader *loader, const Elf64_Phdr *phdr, gpa_t *ret_entry)
{
	static const char owner[] = "Xen";
	uint8_t notes[4096];
	uint64_t left = phdr->p_filesz;
	struct bytes_cursor c;
	int err;

	if (left > sizeof(notes)) {
		return not_a_kernel(loader, "its notes are too long");
	}
	err = loader_read(loader, phdr->p_offset, notes, left);
	if (err) {
		return err;
	}
	c = bytes_cursor(notes, left);
	while (c.left >= sizeof(Elf64_Nhdr)) {
		uint32_t name_bytes = bytes_take_le32(&c);
		uint32_t desc_bytes = bytes_take_le32(&c);
		uint32_t type = bytes_take_le32(&c);
		const uint8_t *name = bytes_take(&c, num_align_up(name_bytes, 4));
		const uint8_t *desc = bytes_take(&c, num_min(num_align_up(desc_bytes, 4), c.left));

		if (c.failed || !name || !desc) {
			break;
		}
		if (type == NOTE_PHYS32_ENTRY && name_bytes == sizeof(owner) &&
		    memcmp(name, owner, sizeof(owner)) == 0 && desc_bytes >= 4 && desc_bytes <= 8) {
			*ret_entry = bytes_le32(desc);
		}
	}
	return 0;
}

static int load_segments(struct loader *loader, const Elf64_Ehdr *ehdr, gpa_t *ret_entry,
			 gpa_t *ret_end)
{
	Elf64_Phdr phdrs[PHDRS_MAX];
	int err = loader_read(loader, ehdr->e_phoff, phdrs, ehdr->e_phnum * sizeof(phdrs[0]));

	for (size_t i = 0; !err && i < ehdr->e_phnum; i++) {
		if (phdrs[i].p_type == PT_NOTE) {
			err = find_entry(loader, &phdrs[i], ret_entry);
		} else if (phdrs[i].p_type == PT_LOAD) {
			err = load_segment(loader, &phdrs[i], ret_end);
		}
	}
	return err;
}

static int build_start_info(struct loader *loader)
{
	uint8_t info[START_INFO_BYTES + MODULE_BYTES + LAYOUT_MAP_MAX * MAP_ENTRY_BYTES] = { 0 };
	uint8_t *module = info + START_INFO_BYTES, *entries = module + MODULE_BYTES;
	struct layout_map map;

	layout_map_build(loader->mem, &map);
	bytes_put_le32(info, START_INFO_MAGIC);
	bytes_put_le32(info + 4, 1); /* version */
	if (loader->initrd_bytes) {
		bytes_put_le32(info + 12, 1);
		bytes_put_le64(info + 16, PVH_MODULE_GPA);
		bytes_put_le64(module, loader->initrd_gpa);
		bytes_put_le64(module + 8, loader->initrd_bytes);
	}
	bytes_put_le64(info + 24, LAYOUT_CMDLINE_GPA);
	bytes_put_le64(info + 32, loader->rsdp);
	bytes_put_le64(info + 40, PVH_MAP_GPA);
	bytes_put_le32(info + 48, map.count);
	for (uint32_t i = 0; i < map.count; i++) {
		uint8_t *entry = entries + (size_t)i * MAP_ENTRY_BYTES;

		bytes_put_le64(entry, map.entries[i].gpa);
		bytes_put_le64(entry + 8, map.entries[i].bytes);
		bytes_put_le32(entry + 16, map.entries[i].type);
	}
	return mem_write(loader->mem, LAYOUT_PVH_INFO_GPA, info, sizeof(info));
}

int elf_load(struct loader *loader, const uint8_t *head, struct boot_entry *ret)
{
	gpa_t entry = 0, end = 0;
	Elf64_Ehdr ehdr;
	int err;

	memcpy(&ehdr, head, sizeof(ehdr)); /* head is longer, and zero behind the file's end */
	err = check_header(loader, &ehdr);
	if (!err) {
		err = loader_cmdline(loader, PVH_CMDLINE_MAX);
	}
	if (!err) {
		err = load_segments(loader, &ehdr, &entry, &end);
	}
	if (!err && (entry < LAYOUT_HIGH_START || entry >= end)) {
		err = not_a_kernel(loader, "an ELF image without a PVH entry point (CONFIG_PVH)");
	}
	if (!err) {
		err = loader_initrd(loader, num_align_up(end, MEM_PAGE_BYTES), MEM_HIGH_BASE);
	}
	if (!err) {
		err = build_start_info(loader);
	}
	if (!err) {
		err = layout_entry(loader->mem, BOOT_PROTECTED32, ret);
	}
	if (!err) {
		ret->rip = entry;
		ret->rbx = LAYOUT_PVH_INFO_GPA;
	}
	return err;
}

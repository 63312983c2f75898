/* SPDX-License-Identifier: MIT */
/*
 * What Linux' own decompressor does (arch/x86/boot/compressed), done before the guest runs. All of
 * it happens in guest memory, whose content nobody needs yet:
 *
 *     base          load                                       base + out            top of RAM
 *      | ELF header | segments, already where they belong, or a little above | reloc |  …  payload |
 *
 * base is 2 MiB below the load address, which is where linkers put the first segment in the file;
 * the later ones move down. The payload's tail is a list of addresses that a kernel at another
 * virtual address must have corrected: with it the kernel is put at a random one, physically and
 * virtually, as it would have done itself.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <lzma.h>
#ifdef HAVE_LZ4
#include <lz4.h>
#endif

#include "base/bytes.h"
#include "base/num.h"
#include "boot/boot_internal.h"
#include "boot/unpack_cache.h"

#define FIRST_SEGMENT_OFFSET (2 * MIB)
#define KERNEL_ALIGN         (2 * MIB)
#define KERNEL_MAP           0xffffffff80000000ULL /* __START_KERNEL_map */
#define KERNEL_IMAGE_BYTES   GIB                   /* virtual room for it, with randomization */
#define PHYSICAL_LIMIT       (2 * GIB)
#define OUT_BYTES_MAX        (512 * MIB)
#define SIZE_TRAILER_BYTES   4U
#define SEGMENTS_MAX         16U
#define XZ_MEMORY_MAX        (128 * MIB)
#define LZ4_LEGACY_MAGIC     0x184c2102U
#define LZ4_BLOCK_BYTES      (8 * MIB)

/* ---- methods ---- */

static int unpack_xz(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes,
		     size_t *ret_bytes)
{
	uint64_t memory = XZ_MEMORY_MAX;
	size_t in_at = 0, out_at = 0;

	if (lzma_stream_buffer_decode(&memory, 0, NULL, in, &in_at, in_bytes, out, &out_at,
				      out_bytes) != LZMA_OK) {
		return -ENOEXEC;
	}
	*ret_bytes = out_at;
	return 0;
}

/* The "legacy" frame: blocks of up to 8 MiB, each with its compressed size before it. */
static int unpack_lz4(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes,
		      size_t *ret_bytes)
{
#ifdef HAVE_LZ4
	struct bytes_cursor c = bytes_cursor(in, in_bytes);
	size_t out_at = 0;

	bytes_take(&c, 4);
	while (c.left > SIZE_TRAILER_BYTES) {
		uint32_t block_bytes = bytes_take_le32(&c);
		const uint8_t *block = bytes_take(&c, block_bytes);
		int room = (int)num_min(out_bytes - out_at, LZ4_BLOCK_BYTES), got;

		if (!block || block_bytes > INT32_MAX) {
			return -ENOEXEC;
		}
		got = LZ4_decompress_safe((const char *)block, (char *)out + out_at,
					  (int)block_bytes, room);
		if (got <= 0) {
			return -ENOEXEC;
		}
		out_at += (size_t)got;
	}
	*ret_bytes = out_at;
	return 0;
#else
	return -ENOEXEC;
#endif
}

int unpack_decompress(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes,
		      size_t *ret_bytes)
{
	static const uint8_t xz_magic[] = { 0xfd, '7', 'z', 'X', 'Z', 0 };

	if (in_bytes < 16) {
		return -ENOEXEC;
	}
	if (memcmp(in, xz_magic, sizeof(xz_magic)) == 0) {
		return unpack_xz(in, in_bytes, out, out_bytes, ret_bytes);
	}
	if (bytes_le32(in) == LZ4_LEGACY_MAGIC) {
		return unpack_lz4(in, in_bytes, out, out_bytes, ret_bytes);
	}
	return -ENOEXEC;
}

/* ---- the ELF image that comes out ---- */

struct placement {
	const uint8_t *base; /* of the decompressed image: in guest memory, or a mapped file */
	size_t bytes;        /* of it */
	bool is_in_place;    /* base is in guest memory, and segments may overlap */
	uint8_t *load;       /* where the kernel begins */
	size_t room;         /* from there to the end of low RAM */

	struct {
		size_t from, to, bytes; /* from: offset in base; to: offset in load */
	} segments[SEGMENTS_MAX];
	size_t segment_count;
	uint64_t entry;        /* offset in load */
	uint64_t file_end;     /* of what the segments bring, offset in load */
	uint64_t end;          /* with bss, offset in load */
	uint64_t relocs_start; /* offset in base; up to its end */
};

/* Takes note of one segment. Ascending, and never moving up, so that none overwrites another. */
static int placement_add(struct placement *p, const Elf64_Phdr *phdr, uint64_t load_gpa)
{
	uint64_t to = phdr->p_paddr - load_gpa, end;

	if (phdr->p_paddr < load_gpa || phdr->p_filesz > phdr->p_memsz ||
	    !num_range_fits(phdr->p_offset, phdr->p_filesz, p->bytes) ||
	    !num_range_fits(to, phdr->p_memsz, p->room) || to < p->file_end ||
	    p->segment_count == SEGMENTS_MAX) {
		return -ENOEXEC;
	}
	if (p->is_in_place && p->load + to > p->base + phdr->p_offset) {
		return -ENOEXEC;
	}
	end = to + phdr->p_memsz;
	p->segments[p->segment_count].from = phdr->p_offset;
	p->segments[p->segment_count].to = to;
	p->segments[p->segment_count].bytes = phdr->p_filesz;
	p->segment_count++;
	p->file_end = to + phdr->p_filesz;
	p->end = num_max(p->end, end);
	return 0;
}

static int placement_parse(struct placement *p, uint64_t load_gpa)
{
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr;

	if (p->bytes < sizeof(ehdr)) {
		return -ENOEXEC;
	}
	memcpy(&ehdr, p->base, sizeof(ehdr));
	if (memcmp(ehdr.e_ident, ELFMAG, SELFMAG) != 0 || ehdr.e_ident[EI_CLASS] != ELFCLASS64 ||
	    ehdr.e_machine != EM_X86_64 || ehdr.e_phentsize != sizeof(phdr) ||
	    !num_range_fits(ehdr.e_phoff, ehdr.e_phnum * sizeof(phdr), p->bytes)) {
		return -ENOEXEC;
	}
	for (size_t i = 0; i < ehdr.e_phnum; i++) {
		memcpy(&phdr, p->base + ehdr.e_phoff + i * sizeof(phdr), sizeof(phdr));
		if (phdr.p_type == PT_LOAD && placement_add(p, &phdr, load_gpa) != 0) {
			return -ENOEXEC;
		}
	}
	if (ehdr.e_entry < load_gpa || ehdr.e_entry - load_gpa >= p->file_end) {
		return -ENOEXEC;
	}
	p->entry = ehdr.e_entry - load_gpa;
	/* objcopy leaves the section headers last; what follows are the relocations. */
	p->relocs_start = p->bytes;
	if (num_range_fits(ehdr.e_shoff, (uint64_t)ehdr.e_shnum * ehdr.e_shentsize, p->bytes) &&
	    ehdr.e_shoff >= p->segments[p->segment_count - 1].from) {
		p->relocs_start = ehdr.e_shoff + (uint64_t)ehdr.e_shnum * ehdr.e_shentsize;
	}
	return 0;
}

static void placement_move(const struct placement *p)
{
	for (size_t i = 0; i < p->segment_count; i++) {
		memmove(p->load + p->segments[i].to, p->base + p->segments[i].from,
			p->segments[i].bytes);
	}
}

/* ---- relocation ---- */

enum reloc_kind { RELOC_ADD_32, RELOC_SUBTRACT_32, RELOC_ADD_64, RELOC_KINDS };

static void reloc_apply(uint8_t *at, enum reloc_kind kind, uint64_t delta)
{
	switch (kind) {
	case RELOC_ADD_32:
		bytes_put_le32(at, bytes_le32(at) + (uint32_t)delta);
		break;
	case RELOC_SUBTRACT_32:
		bytes_put_le32(at, bytes_le32(at) - (uint32_t)delta);
		break;
	case RELOC_ADD_64:
		bytes_put_le64(at, bytes_le64(at) + delta);
		break;
	case RELOC_KINDS:
		break;
	}
}

/*
 * Walks the three lists from the end: 32-bit addresses to add to, to subtract from, 64-bit ones;
 * each begins with a zero. Applies delta, or with 0 only checks. -ENOEXEC when they make no sense.
 */
static int relocs_walk(const struct placement *p, uint64_t load_gpa, uint64_t delta)
{
	const uint8_t *start = p->base + p->relocs_start, *at = p->base + p->bytes;

	for (enum reloc_kind kind = RELOC_ADD_32; kind < RELOC_KINDS; kind++) {
		for (;;) {
			uint64_t where;
			uint32_t entry;

			if (at - start < 4) {
				return -ENOEXEC;
			}
			at -= 4;
			entry = bytes_le32(at);
			if (entry == 0) {
				break;
			}
			where = (uint64_t)(int64_t)(int32_t)entry - KERNEL_MAP - load_gpa;
			if (!num_range_fits(where, 8, p->file_end)) {
				return -ENOEXEC;
			}
			if (delta) {
				reloc_apply(p->load + where, kind, delta);
			}
		}
	}
	return 0;
}

static int random_below(uint64_t limit, uint64_t *ret)
{
	uint64_t value;

	if (getrandom(&value, sizeof(value), 0) != (ssize_t)sizeof(value)) {
		return -ENOEXEC;
	}
	*ret = value % limit; /* a few hundred slots in 2^64: no bias to speak of */
	return 0;
}

static int relocate(const struct placement *p, uint64_t load_gpa)
{
	uint64_t need = num_align_up(num_max(p->end, p->bytes), KERNEL_ALIGN), slot;
	int err;

	if (load_gpa + need > KERNEL_IMAGE_BYTES) {
		return -ENOEXEC;
	}
	err = random_below(1 + (KERNEL_IMAGE_BYTES - load_gpa - need) / KERNEL_ALIGN, &slot);
	if (!err) {
		err = relocs_walk(p, load_gpa, 0);
	}
	if (!err && slot) {
		err = relocs_walk(p, load_gpa, slot * KERNEL_ALIGN);
	}
	return err;
}

/* ---- all together ---- */

/* Physical address: the kernel's own, or a random one above it that leaves room for the RAM disk. */
static int choose_load(const struct loader *loader, const struct unpack_request *request,
		       uint64_t out_bytes, gpa_t limit, gpa_t *ret)
{
	uint64_t need = out_bytes + 4 * MIB, room, slot = 0;
	struct stat st;
	int err = 0;

	if (!num_range_fits(request->load_gpa, need, limit)) {
		return -ENOEXEC;
	}
	if (loader->config->initrd_fd >= 0 && fstat(loader->config->initrd_fd, &st) == 0) {
		need += (uint64_t)st.st_size;
	}
	/* bss and the like: as much again as Linux itself reserves at most, in practice a fifth. */
	need += out_bytes;
	room = num_min(limit, PHYSICAL_LIMIT) - request->load_gpa;
	if (request->randomize && need < room) {
		err = random_below(1 + (room - need) / KERNEL_ALIGN, &slot);
	}
	*ret = request->load_gpa + slot * KERNEL_ALIGN;
	return err;
}

/* From an earlier start. */
static int find_unpacked(const struct loader *loader, size_t out_bytes, struct placement *p)
{
	const struct boot_config *config = loader->config;
	uint8_t *image;

	if (!config->cache_dir ||
	    unpack_cache_map(config->cache_dir, config->kernel_fd, out_bytes, &image) != 0) {
		return -ENOENT;
	}
	p->base = image;
	p->bytes = out_bytes;
	return 0;
}

static int unpack_in_place(struct loader *loader, const struct unpack_request *request,
			   const uint8_t *payload, size_t out_bytes, struct placement *p)
{
	const struct boot_config *config = loader->config;
	uint8_t *base = p->load - FIRST_SEGMENT_OFFSET;

	if ((size_t)(payload - base) < out_bytes ||
	    unpack_decompress(payload, request->bytes, base, out_bytes, &p->bytes) != 0 ||
	    p->bytes != out_bytes) {
		return -ENOEXEC;
	}
	p->base = base;
	p->is_in_place = true;
	if (config->cache_dir) {
		unpack_cache_store(config->cache_dir, config->kernel_fd, base, out_bytes);
	}
	return 0;
}

static int place(struct placement *p, const struct unpack_request *request, gpa_t load,
		 struct unpack_result *ret)
{
	int err = placement_parse(p, request->load_gpa);
	bool randomize = request->randomize && p->bytes - p->relocs_start >= 12;

	if (err) {
		return err;
	}
	placement_move(p);
	err = randomize ? relocate(p, request->load_gpa) : 0;
	if (!err) {
		*ret = (struct unpack_result){ .entry = load + p->entry,
					       .end = load + p->end,
					       .randomized = randomize };
	}
	return err;
}

int unpack_kernel(struct loader *loader, const struct unpack_request *request,
		  struct unpack_result *ret)
{
	struct placement p = { 0 };
	gpa_t load, payload_gpa;
	uint8_t *payload, trailer[SIZE_TRAILER_BYTES];
	size_t out_bytes;
	int err;

	if (request->bytes < 64 || request->bytes > loader->low_end / 2 ||
	    request->load_gpa % KERNEL_ALIGN) {
		return -ENOEXEC;
	}
	err = loader_read(loader, request->offset + request->bytes - SIZE_TRAILER_BYTES, trailer,
			  SIZE_TRAILER_BYTES);
	if (err) {
		return err;
	}
	out_bytes = bytes_le32(trailer);
	if (out_bytes > OUT_BYTES_MAX) {
		return -ENOEXEC;
	}
	payload_gpa = num_align_down(loader->low_end - request->bytes, MEM_PAGE_BYTES);
	payload = mem_hva(loader->mem, payload_gpa, request->bytes);
	err = choose_load(loader, request, out_bytes, payload_gpa, &load);
	if (err) {
		return err;
	}
	p.load = mem_hva(loader->mem, load, loader->low_end - load);
	p.room = loader->low_end - load;
	if (!payload || !p.load || load < FIRST_SEGMENT_OFFSET) {
		return -ENOEXEC;
	}
	if (find_unpacked(loader, out_bytes, &p) != 0) {
		err = loader_read_guest(loader, request->offset, payload_gpa, request->bytes);
		if (!err) {
			err = unpack_in_place(loader, request, payload, out_bytes, &p);
		}
	}
	if (!err) {
		err = place(&p, request, load, ret);
	}
	if (p.base && !p.is_in_place) {
		munmap((void *)p.base, p.bytes);
	}
	return err;
}

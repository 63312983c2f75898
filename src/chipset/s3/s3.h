/* SPDX-License-Identifier: MIT */
/*
 * A graphics card with S3's Trio64: a VGA, S3's extensions to it, 4 MB of memory.
 *
 *     guest ── 0x3c0…0x3df ──► registers ──► s3_mode: what they say ──┐
 *           ── 0xa0000, BAR 0 ──► planes or flat memory ──────────────┴──► s3_screen ──► struct picture
 *
 * Where the memory is flat, and where it is plain text, the guest gets it as memory (dev/window.h), and
 * no access leaves the kernel; everything works without windows, too.
 *
 *   owner   vm; destroyed before its bus
 *   thread  handlers under the chipset lock; each function below says its own
 *   spec    proto/s3.h names the documents; docs/s3.md tells what of them is here
 */
#pragma once

#include "base/diag.h"
#include "chipset/pci.h"
#include "console/picture.h"
#include "dev/inspect.h"
#include "dev/window.h"
#include "state/load.h"
#include "state/save.h"

struct s3;

struct s3_config {
	struct chipset *chipset;
	struct pci_bus *bus;
	uint8_t devfn;
	struct windows windows; /* ops NULL: none */
	/*
	 * An expansion ROM for x86 with a PCI data structure, of at most 64 KB; its ids are made this chip's
	 * and its checksum right. Copied. NULL: none.
	 */
	const void *rom;
	size_t rom_bytes;
};

/*
 * Before the first VP runs. 0; -EINVAL, -EFBIG: the ROM, with a sentence in *reterr; -EEXIST: the place is
 * taken; -ENOMEM.
 */
MUST_CHECK int s3_create(const struct s3_config *config, struct s3 **ret, struct diag *reterr);
void s3_destroy(struct s3 *s3);

/* Would s3_create() take that ROM? 0; -EINVAL, -EFBIG with a sentence. Any thread. */
MUST_CHECK int s3_check_rom(const void *rom, size_t rom_bytes, struct diag *reterr);

/* Any thread, while the vCPUs are out. */
void s3_reset(struct s3 *s3);
void s3_save(struct s3 *s3, struct save *save);
MUST_CHECK int s3_load(struct s3 *s3, struct load *load);

/* Any thread. */
void s3_inspect(struct s3 *s3, struct inspect *at);

/* ---- the picture ------------------------------------------------------------------------------------ */

/* Phases of blinking: cursor and text each have one. In frames (1/60 s); 0: everything shows. */
#define S3_BLINK_CURSOR_FRAMES 16U
#define S3_BLINK_TEXT_FRAMES   32U

/*
 * Brings the chip's picture up to date as of that frame, makes anew only lines that have changed, and lends
 * it until the next call; ret_lines, if not NULL, says how many lines that were. 0 or -ENOMEM (the old picture stays).
 * One thread at a time, any but under the chipset lock, which it takes for a look at the registers only.
 */
MUST_CHECK int s3_render(struct s3 *s3, uint64_t frame, const struct picture **ret,
			 uint32_t *ret_lines);

/* The same as a PNG file, as of frame 0. 0, or an errno with a sentence in *reterr. Waits for the disk. */
MUST_CHECK int s3_screendump(struct s3 *s3, const char *path, struct diag *reterr);

/* SPDX-License-Identifier: MIT */
/*
 * Firmware configuration: named files and numbered items that firmware reads of the machine, through a
 * selector and a data port, or by DMA into its memory.
 *
 * Nothing can be written into it. Items end where they end: what is read behind is zero.
 *
 *   owner   vm    thread  vCPU threads under the chipset lock; items before the first vCPU runs
 *   spec    QEMU docs/specs/fw_cfg.rst
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "chipset/chipset.h"
#include "mem/mem.h"
#include "state/load.h"
#include "state/save.h"

#define FWCFG_FILES_MAX  32U
#define FWCFG_NAME_BYTES 56U /* with its zero */

/* Numbered items. */
#define FWCFG_RAM_BYTES  0x03U /* u64 */
#define FWCFG_CPUS       0x05U /* u16 */
#define FWCFG_BOOT_MENU  0x0eU /* u16 */
#define FWCFG_CPUS_MAX   0x0fU /* u16 */

struct fwcfg;

/* Ports 0x510 and 0x511, and 0x514 to 0x51b. 0, -ENOMEM or chipset_pio_add's. */
MUST_CHECK int fwcfg_create(struct chipset *chipset, const struct mem *mem, struct fwcfg **ret);
void fwcfg_destroy(struct fwcfg *fwcfg);

/*
 * Copies of the caller's bytes. 0; -ENOMEM; -ENOSPC: too many; -EEXIST. add_number: one of the items
 * above, as many bytes long as it says there.
 */
MUST_CHECK int fwcfg_add_file(struct fwcfg *fwcfg, const char *name, const void *bytes,
			      size_t count);
MUST_CHECK int fwcfg_add_number(struct fwcfg *fwcfg, uint16_t key, uint64_t value,
				unsigned int bytes);

/* Any thread, while the vCPUs are out. Items are no state: the machine is made with the same ones. */
void fwcfg_reset(struct fwcfg *fwcfg);
void fwcfg_save(struct fwcfg *fwcfg, struct save *save);
MUST_CHECK int fwcfg_load(struct fwcfg *fwcfg, struct load *load);

/* Any thread. */
void fwcfg_inspect(struct fwcfg *fwcfg, struct inspect *at);

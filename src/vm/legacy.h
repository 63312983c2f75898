/* SPDX-License-Identifier: MIT */
/*
 * The legacy board: 440BX and PIIX4 with what hangs on their buses, and firmware. On the other machine
 * there is none of it.
 *
 *     00.0 82443BX   07.0 PIIX4 ISA bridge   07.1 IDE   07.3 PIIX4 power management
 *     ISA: PS/2, DMA, CMOS, two serial ports, fw_cfg, the debug port        KVM: PICs, PIT, IOAPIC
 *
 *   owner   vm    thread  the control loop
 */
#pragma once

#include "boot/acpi.h"
#include "vm/vm_internal.h"

/* Where PCI devices are: legacy.c's table names who makes them. */
#define LEGACY_SLOT_IDE   7U /* function 1 */
#define LEGACY_SLOT_VGA   8U
#define LEGACY_SLOT_SCSI  9U
#define LEGACY_SLOT_NET_0 10U /* and on */

/*
 * The machine's part between chipset and serial port; vm->chipset is there. What a failed create has
 * made, destroy unmakes. Nothing to do on the other machine. Errors with a sentence.
 */
MUST_CHECK int vm_legacy_create(struct vm *vm, struct diag *reterr);
void vm_legacy_destroy(struct vm *vm);
void vm_legacy_reset(struct vm *vm);
void vm_legacy_inspect(struct vm *vm, struct inspect *at);

/*
 * When all devices are reset: the firmware into memory, or, for a kernel that is booted without, the
 * chips as firmware would leave them.
 */
void vm_legacy_boot(struct vm *vm);

/* Reads the firmware's image, before anything is made. -EINVAL or an errno, with a sentence. */
MUST_CHECK int vm_legacy_open_firmware(struct vm *vm, struct diag *reterr);

bool vm_is_legacy(const struct vm *vm);

/* Who a guest is told has made the machine: it decides which of a disk's faces Linux takes. */
enum smbios_identity vm_legacy_identity(const struct vm_config *config);

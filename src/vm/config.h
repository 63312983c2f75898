/* SPDX-License-Identifier: MIT */
/*
 * What a VM is made of, as plain data, and the words by which a user says so.
 *
 * "key=value" lists are separated by commas; a comma in a value is written twice (",,").
 *
 *   owner   the caller: vm_config_init(), vm_config_fini()   thread  any one
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "vm/disk_config.h"
#include "vm/net_config.h"

#define VM_DISKS_MAX      64
#define VM_NETS_MAX       16
#define VM_CPUS_MAX       64
#define VM_IO_THREADS_MAX 16
#define VM_NAME_BYTES     64

#define VM_FIRMWARE_BIOS  "/usr/share/seabios/bios-256k.bin"      /* of Debian's package seabios */
#define VM_VGA_BIOS       "/usr/share/seabios/vgabios-stdvga.bin" /* likewise */

/* modern: as little of a PC as Linux wants. legacy: a 440BX board, with firmware or without. */
enum vm_machine { VM_MACHINE_MODERN, VM_MACHINE_LEGACY };

/* The graphics card. Nothing said: what the machine has, which vm_config_finish() puts there. */
enum vm_vga_card { VM_VGA_DEFAULT, VM_VGA_NONE, VM_VGA_S3 };

/* What firmware tries to boot from. */
enum vm_boot_device { VM_BOOT_DISK, VM_BOOT_DVD, VM_BOOT_NET };
#define VM_BOOT_DEVICES 3

struct vm_config {
	enum vm_machine machine;
	char name[VM_NAME_BYTES];
	uint32_t cpus;
	uint64_t memory_bytes;
	uint32_t io_threads;
	char *kernel, *initrd, *cmdline;                 /* initrd and cmdline may be NULL */
	char *firmware;                                  /* a BIOS image, or NULL; or a kernel */
	enum vm_boot_device boot_order[VM_BOOT_DEVICES]; /* boot_count of them */
	size_t boot_count;
	bool has_boot_order, boot_menu, boot_serial; /* boot_serial: firmware's screen on COM1 */
	bool has_boot_serial;
	enum vm_vga_card vga;
	char *serial;       /* as serial_create() takes it */
	char *serial2;      /* of the legacy board: likewise */
	char *control;      /* path of the control socket, or NULL */
	bool no_reboot;     /* a reset ends the VM */
	bool unpack_kernel; /* decompress a bzImage on the host */
	char *cache_dir;    /* for unpacked kernels, or NULL */
	struct vm_disk_config disks[VM_DISKS_MAX];
	size_t disk_count;
	struct vm_policy_config policies[VM_DISKS_MAX];
	size_t policy_count;
	struct vm_net_config nets[VM_NETS_MAX];
	size_t net_count;
};

/* The defaults: 1 processor, 512 MiB, serial on stdio. */
void vm_config_init(struct vm_config *config);
void vm_config_fini(struct vm_config *config);

/* Each: 0, or -EINVAL or -ENOMEM with a sentence. */

/* "512M", "2G", "1048576K", plain bytes; binary units. option: whose value it is, for the sentence. */
MUST_CHECK int vm_config_parse_size(const char *option, const char *text, uint64_t *ret,
				    struct diag *reterr);

/* "path=disk.img[,readonly=on]…": the words are vm_disk_config_set()'s. A DVD drive may be "empty". */
MUST_CHECK int vm_config_add_disk(struct vm_config *config, const char *text, struct diag *reterr);
MUST_CHECK int vm_config_add_dvd(struct vm_config *config, const char *text, struct diag *reterr);

/* "name=NAME,iops=1000,bandwidth=100M…" */
MUST_CHECK int vm_config_add_policy(struct vm_config *config, const char *text,
				    struct diag *reterr);

/* "modern", "legacy" */
MUST_CHECK int vm_config_set_machine(struct vm_config *config, const char *text,
				     struct diag *reterr);

/* "bios", or the file of one */
MUST_CHECK int vm_config_set_firmware(struct vm_config *config, const char *text,
				      struct diag *reterr);

/* "s3", "none" */
MUST_CHECK int vm_config_set_vga(struct vm_config *config, const char *text, struct diag *reterr);

/* "disk,dvd,net", some of them */
MUST_CHECK int vm_config_set_boot_order(struct vm_config *config, const char *text,
					struct diag *reterr);

/* "nat,forward=tcp:2222:22", "tap=tap0,queues=2": the words are vm_net_config_set()'s. */
MUST_CHECK int vm_config_add_net(struct vm_config *config, const char *text, struct diag *reterr);

/* 1 to 63 letters, digits, '.', '_', '-'. */
MUST_CHECK int vm_config_set_name(struct vm_config *config, const char *text, struct diag *reterr);

/*
 * Where each disk is: on the legacy board's IDE controller as long as it has room, else on SCSI. Part of
 * vm_config_finish().
 */
MUST_CHECK int vm_config_place_disks(struct vm_config *config, struct diag *reterr);

/* What only shows when all is known: there is something to boot, and words that belong together; MAC addresses differ (and are made up). */
MUST_CHECK int vm_config_finish(struct vm_config *config, struct diag *reterr);

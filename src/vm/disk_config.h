/* SPDX-License-Identifier: MIT */
/*
 * What a disk, a DVD drive or a storage policy is made of, as plain data, and the words by which a user
 * says so: "key=value" pairs, from the command line or from the control socket.
 *
 *   owner   the caller: init, fini   thread  any one
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "block/block.h"
#include "block/qos.h"
#include "vm/face.h"

#define VM_DISK_ID_BYTES       32
#define VM_FORMAT_BYTES        16
#define VM_CONTROLLERS_MAX     4
#define VM_CONTROLLER_LUNS_MAX 64
#define VM_IOPS_MAX            1000000000U

enum vm_disk_bus { VM_DISK_AUTO, VM_DISK_SCSI, VM_DISK_IDE, VM_DISK_ADAPTEC };

#define VM_IDE_POSITIONS   4 /* channel × 2 + device */
#define VM_ADAPTEC_TARGETS 7 /* SCSI ids; the next is the card's own */

struct vm_disk_config {
	char id[VM_DISK_ID_BYTES]; /* "": is given one */
	bool is_dvd;
	bool is_empty;                /* a DVD drive that shall have no disc */
	char *path;                   /* NULL: a DVD drive without a disc */
	enum block_kind kind;         /* BLOCK_AUTO: as image_probe() says */
	char format[VM_FORMAT_BYTES]; /* BLOCK_QEMU: qemu-nbd's word */
	uint64_t null_bytes;          /* BLOCK_NULL */
	bool read_only;
	bool buffered; /* through the host's page cache */
	bool write_cache;
	uint64_t slice_offset_bytes, slice_bytes; /* 0, 0: all of it */
	uint32_t sector_bytes;                    /* 0: as the format or the host says */
	char *serial, *wwn;                       /* NULL: from the file's identity */
	unsigned int controller;
	int lun; /* -1: the first that is free */
	enum vm_disk_bus bus;
	int position; /* on IDE; -1: the first that is free */
	int target;   /* on the Adaptec card; -1: the first that is free */
	enum vm_face face;
	enum block_on_error on_error;
	struct qos_limits qos;
	char policy[VM_DISK_ID_BYTES]; /* "": none */
	char *fault, *file_fault;
};

struct vm_policy_config {
	char name[VM_DISK_ID_BYTES];
	struct qos_limits qos;
};

void vm_disk_config_init(struct vm_disk_config *config, bool is_dvd);
void vm_disk_config_fini(struct vm_disk_config *config);
MUST_CHECK int vm_disk_config_copy(const struct vm_disk_config *config, struct vm_disk_config *ret);

/* option ("--disk", "disk add"): whose words they are, for the sentence. 0, -EINVAL or -ENOMEM. */
MUST_CHECK int vm_disk_config_set(struct vm_disk_config *config, const char *option,
				  const char *key, const char *value, struct diag *reterr);

/* After the last word: what contradicts itself or is missing. */
MUST_CHECK int vm_disk_config_finish(const struct vm_disk_config *config, const char *option,
				     struct diag *reterr);

/* iops, iops-burst, bandwidth, bandwidth-burst. -ENOENT, without a sentence: none of these words. */
MUST_CHECK int vm_qos_set(struct qos_limits *qos, const char *option, const char *key,
			  const char *value, struct diag *reterr);

MUST_CHECK int vm_policy_config_set(struct vm_policy_config *config, const char *option,
				    const char *key, const char *value, struct diag *reterr);

/* 1 to VM_DISK_ID_BYTES - 1 letters, digits, '.', '_', '-'. */
MUST_CHECK int vm_id_set(char ret[VM_DISK_ID_BYTES], const char *option, const char *key,
			 const char *value, struct diag *reterr);

/* SPDX-License-Identifier: MIT */
#include "vm/disk_config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "block/faults.h"
#include "block/image.h"
#include "vm/config.h"

void vm_disk_config_init(struct vm_disk_config *config, bool is_dvd)
{
	*config = (struct vm_disk_config){
		.is_dvd = is_dvd,
		.kind = is_dvd ? BLOCK_RAW : BLOCK_AUTO,
		.read_only = is_dvd,
		.write_cache = true,
		.lun = -1,
		.position = -1,
		.target = -1,
	};
}

void vm_disk_config_fini(struct vm_disk_config *config)
{
	free(config->path);
	free(config->serial);
	free(config->wwn);
	free(config->fault);
	free(config->file_fault);
	*config = (struct vm_disk_config){ 0 };
}

int vm_disk_config_copy(const struct vm_disk_config *config, struct vm_disk_config *ret)
{
	struct vm_disk_config copy = *config;
	char **const texts[] = { &copy.path, &copy.serial, &copy.wwn, &copy.fault,
				 &copy.file_fault };
	char *const from[] = { config->path, config->serial, config->wwn, config->fault,
			       config->file_fault };
	bool ok = true;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		*texts[i] = from[i] ? strdup(from[i]) : NULL;
		ok = ok && (!from[i] || *texts[i]);
	}
	if (!ok) {
		vm_disk_config_fini(&copy);
		return -ENOMEM;
	}
	*ret = copy;
	return 0;
}

/* ---- values ------------------------------------------------------------------------------------ */

static int set_text(char **at, const char *option, const char *key, const char *value,
		    struct diag *reterr)
{
	if (*at || !*value) {
		return diag_set(reterr, -EINVAL, "%s: %s needs one value, as in %s=...", option,
				key, key);
	}
	*at = strdup(value);
	return *at ? 0 : diag_set(reterr, -ENOMEM, "no memory");
}

static int set_switch(bool *at, const char *option, const char *key, const char *value,
		      struct diag *reterr)
{
	/* true and false: as JSON says it. */
	bool on = strcmp(value, "on") == 0 || strcmp(value, "true") == 0;

	if (!on && strcmp(value, "off") != 0 && strcmp(value, "false") != 0) {
		return diag_set(reterr, -EINVAL, "%s: %s is on or off, not \"%s\"", option, key,
				value);
	}
	*at = on;
	return 0;
}

static int set_size(uint64_t *at, const char *option, const char *key, const char *value,
		    struct diag *reterr)
{
	char name[64];

	snprintf(name, sizeof(name), "%s: %s", option, key);
	return vm_config_parse_size(name, value, at, reterr);
}

static int set_number(unsigned int *at, const char *option, const char *key, const char *value,
		      unsigned int max, struct diag *reterr)
{
	char *end;
	unsigned long number = strtoul(value, &end, 10);

	if (!isdigit((unsigned char)value[0]) || *end || number > max) {
		return diag_set(reterr, -EINVAL, "%s: %s \"%s\": give a number from 0 to %u",
				option, key, value, max);
	}
	*at = (unsigned int)number;
	return 0;
}

int vm_id_set(char ret[VM_DISK_ID_BYTES], const char *option, const char *key, const char *value,
	      struct diag *reterr)
{
	size_t length = strlen(value);
	bool ok = length >= 1 && length < VM_DISK_ID_BYTES;

	for (size_t i = 0; i < length; i++) {
		ok = ok && (isalnum((unsigned char)value[i]) || strchr("._-", value[i]));
	}
	if (!ok) {
		return diag_set(reterr, -EINVAL,
				"%s: %s \"%s\": give 1 to %d letters, digits, dots, dashes or "
				"underscores",
				option, key, value, VM_DISK_ID_BYTES - 1);
	}
	strcpy(ret, value);
	return 0;
}

static int set_format(struct vm_disk_config *config, const char *option, const char *value,
		      struct diag *reterr)
{
	struct image_probe probe;
	struct diag why;

	if (strcmp(value, "null") == 0) {
		config->kind = BLOCK_NULL;
		return 0;
	}
	if (image_kind_parse(value, &probe, &why)) {
		return diag_set(reterr, -EINVAL, "%s: %s", option, why.text);
	}
	config->kind = probe.kind;
	snprintf(config->format, sizeof(config->format), "%s",
		 probe.qemu_format ? probe.qemu_format : "");
	return 0;
}

/* One of the words (NULL ends them), by its number; all: as the sentence lists them. */
static int set_word(int *at, const char *option, const char *key, const char *value,
		    const char *const words[], const char *all, struct diag *reterr)
{
	for (int i = 0; words[i]; i++) {
		if (strcmp(value, words[i]) == 0) {
			*at = i;
			return 0;
		}
	}
	return diag_set(reterr, -EINVAL, "%s: %s is %s, not \"%s\"", option, key, all, value);
}

int vm_face_set(enum vm_face *at, const char *option, const char *value, struct diag *reterr)
{
	static const char *const words[] = { "auto", "emulated", "synthetic", NULL };
	int word = (int)*at;
	int err = set_word(&word, option, "face", value, words, "auto, emulated or synthetic",
			   reterr);

	*at = (enum vm_face)word;
	return err;
}

static int set_on_error(struct vm_disk_config *config, const char *option, const char *value,
			struct diag *reterr)
{
	static const char *const words[] = { "report", "stop", "retry", NULL };
	int word = (int)config->on_error;
	int err =
		set_word(&word, option, "on-error", value, words, "report, stop or retry", reterr);

	config->on_error = (enum block_on_error)word;
	return err;
}

static int set_sector(struct vm_disk_config *config, const char *option, const char *value,
		      struct diag *reterr)
{
	if (strcmp(value, "512") != 0 && strcmp(value, "4096") != 0) {
		return diag_set(reterr, -EINVAL, "%s: sector is 512 or 4096, not \"%s\"", option,
				value);
	}
	config->sector_bytes = value[0] == '5' ? 512 : 4096;
	return 0;
}

static int set_fault(char **at, const char *option, const char *key, const char *value,
		     struct diag *reterr)
{
	struct diag why;

	if (block_faults_check(value, &why)) {
		return diag_set(reterr, -EINVAL, "%s: %s: %s", option, key, why.text);
	}
	return set_text(at, option, key, value, reterr);
}

static int set_lun(struct vm_disk_config *config, const char *option, const char *value,
		   struct diag *reterr)
{
	unsigned int lun;
	int err = set_number(&lun, option, "lun", value, VM_CONTROLLER_LUNS_MAX - 1, reterr);

	if (!err) {
		config->lun = (int)lun;
	}
	return err;
}

static int set_count(uint64_t *at, const char *option, const char *key, const char *value,
		     struct diag *reterr)
{
	unsigned int number;
	int err = set_number(&number, option, key, value, VM_IOPS_MAX, reterr);

	if (!err) {
		*at = number;
	}
	return err;
}

int vm_qos_set(struct qos_limits *qos, const char *option, const char *key, const char *value,
	       struct diag *reterr)
{
	if (strcmp(key, "iops") == 0) {
		return set_count(&qos->iops, option, key, value, reterr);
	} else if (strcmp(key, "iops-burst") == 0) {
		return set_count(&qos->iops_burst, option, key, value, reterr);
	} else if (strcmp(key, "bandwidth") == 0) {
		return set_size(&qos->bytes_per_s, option, key, value, reterr);
	} else if (strcmp(key, "bandwidth-burst") == 0) {
		return set_size(&qos->bytes_burst, option, key, value, reterr);
	}
	return -ENOENT;
}

/* ---- a disk ------------------------------------------------------------------------------------ */

#define DISK_KEYS                                                                                  \
	"path, format, readonly, cache, write-cache, offset, size, sector, serial, wwn, "          \
	"bus, position, target, face, controller, lun, id, on-error, iops, iops-burst, "           \
	"bandwidth, bandwidth-burst, policy, "                                                     \
	"fault and file-fault"

/* Those that say where the data is. */
static int set_place(struct vm_disk_config *config, const char *option, const char *key,
		     const char *value, struct diag *reterr)
{
	if (strcmp(key, "path") == 0) {
		return set_text(&config->path, option, key, value, reterr);
	} else if (strcmp(key, "format") == 0) {
		return set_format(config, option, value, reterr);
	} else if (strcmp(key, "readonly") == 0) {
		return set_switch(&config->read_only, option, key, value, reterr);
	} else if (strcmp(key, "cache") == 0) {
		return set_switch(&config->buffered, option, key, value, reterr);
	} else if (strcmp(key, "offset") == 0) {
		return set_size(&config->slice_offset_bytes, option, key, value, reterr);
	} else if (strcmp(key, "size") == 0) {
		return set_size(&config->slice_bytes, option, key, value, reterr);
	} else if (strcmp(key, "fault") == 0) {
		return set_fault(&config->fault, option, key, value, reterr);
	} else if (strcmp(key, "file-fault") == 0) {
		return set_fault(&config->file_fault, option, key, value, reterr);
	} else if (strcmp(key, "on-error") == 0) {
		return set_on_error(config, option, value, reterr);
	} else if (strcmp(key, "empty") == 0 && config->is_dvd) {
		return set_switch(&config->is_empty, option, key, *value ? value : "on", reterr);
	}
	return -ENOENT;
}

/* Those that say on which bus it is, and how it looks there. */
static int set_bus(struct vm_disk_config *config, const char *option, const char *key,
		   const char *value, struct diag *reterr)
{
	static const char *const buses[] = { "auto", "scsi", "ide", "adaptec", NULL };
	unsigned int number = 0;
	int word = (int)config->bus, err;

	if (strcmp(key, "bus") == 0) {
		err = set_word(&word, option, key, value, buses, "auto, scsi, ide or adaptec",
			       reterr);
		config->bus = (enum vm_disk_bus)word;
		return err;
	} else if (strcmp(key, "face") == 0) {
		return vm_face_set(&config->face, option, value, reterr);
	} else if (strcmp(key, "position") == 0) {
		err = set_number(&number, option, key, value, VM_IDE_POSITIONS - 1, reterr);
		config->position = err ? -1 : (int)number;
		return err;
	} else if (strcmp(key, "target") == 0) {
		err = set_number(&number, option, key, value, VM_ADAPTEC_TARGETS - 1, reterr);
		config->target = err ? -1 : (int)number;
		return err;
	}
	return -ENOENT;
}

/* Those that say what the guest sees. */
static int set_face(struct vm_disk_config *config, const char *option, const char *key,
		    const char *value, struct diag *reterr)
{
	if (strcmp(key, "serial") == 0) {
		return set_text(&config->serial, option, key, value, reterr);
	} else if (strcmp(key, "wwn") == 0) {
		return set_text(&config->wwn, option, key, value, reterr);
	} else if (strcmp(key, "sector") == 0) {
		return set_sector(config, option, value, reterr);
	} else if (strcmp(key, "write-cache") == 0) {
		return set_switch(&config->write_cache, option, key, value, reterr);
	} else if (strcmp(key, "controller") == 0) {
		return set_number(&config->controller, option, key, value, VM_CONTROLLERS_MAX - 1,
				  reterr);
	} else if (strcmp(key, "lun") == 0) {
		return set_lun(config, option, value, reterr);
	} else if (strcmp(key, "id") == 0) {
		return vm_id_set(config->id, option, key, value, reterr);
	} else if (strcmp(key, "policy") == 0) {
		return vm_id_set(config->policy, option, key, value, reterr);
	}
	return set_bus(config, option, key, value, reterr);
}

int vm_disk_config_set(struct vm_disk_config *config, const char *option, const char *key,
		       const char *value, struct diag *reterr)
{
	int err = -ENOENT;

	value = value ? value : "";
	err = set_place(config, option, key, value, reterr);
	if (err == -ENOENT) {
		err = set_face(config, option, key, value, reterr);
	}
	if (err == -ENOENT) {
		err = vm_qos_set(&config->qos, option, key, value, reterr);
	}
	if (err == -ENOENT) {
		return diag_set(reterr, -EINVAL, "%s: unknown key \"%s\": known are " DISK_KEYS,
				option, key);
	}
	return err;
}

/* path=null:SIZE, or format=null with size=SIZE */
static int finish_null(const struct vm_disk_config *config, const char *option, struct diag *reterr)
{
	uint64_t bytes = config->slice_bytes;
	int err = 0;

	if (config->slice_offset_bytes || (config->path && config->slice_bytes)) {
		return diag_set(
			reterr, -EINVAL,
			"%s: a null disk has one size and no offset: give path=null:SIZE, or "
			"format=null,size=SIZE",
			option);
	}
	if (config->path && strncmp(config->path, "null:", 5) == 0) {
		err = set_size(&bytes, option, "path=null:", config->path + 5, reterr);
	}
	if (!err && bytes == 0) {
		err = diag_set(reterr, -EINVAL, "%s: a null disk needs a size, as in null:1G",
			       option);
	}
	return err;
}

/* Words that are about another bus than the disk's. */
static int finish_bus(const struct vm_disk_config *config, const char *option, struct diag *reterr)
{
	bool is_adaptec = config->bus == VM_DISK_ADAPTEC;

	if (config->position >= 0 && (config->bus == VM_DISK_SCSI || is_adaptec)) {
		return diag_set(reterr, -EINVAL, "%s: position is for bus=ide: leave it out, or %s",
				option, is_adaptec ? "bus=adaptec" : "bus=scsi");
	}
	if (config->target >= 0 && !is_adaptec) {
		return diag_set(reterr, -EINVAL,
				"%s: target is for the Adaptec card: give bus=adaptec, or leave it "
				"out",
				option);
	}
	if (is_adaptec && (config->controller || config->lun >= 0)) {
		return diag_set(reterr, -EINVAL,
				"%s: controller and lun are for bus=scsi: give target=N (0 to %d) "
				"with bus=adaptec",
				option, VM_ADAPTEC_TARGETS - 1);
	}
	if (is_adaptec && config->face == VM_FACE_SYNTHETIC) {
		return diag_set(
			reterr, -EINVAL,
			"%s: a disk on the Adaptec card has no synthetic face: give bus=scsi",
			option);
	}
	if (config->is_dvd && config->face == VM_FACE_SYNTHETIC && config->bus == VM_DISK_IDE) {
		return diag_set(reterr, -EINVAL,
				"%s: a DVD drive on IDE has no synthetic face: give bus=scsi",
				option);
	}
	return 0;
}

int vm_disk_config_finish(const struct vm_disk_config *config, const char *option,
			  struct diag *reterr)
{
	bool is_null = config->kind == BLOCK_NULL ||
		       (config->path && strncmp(config->path, "null:", 5) == 0);
	bool is_slice = config->slice_offset_bytes || config->slice_bytes;
	bool may_be_raw = config->kind == BLOCK_RAW || config->kind == BLOCK_AUTO;

	if (config->is_dvd && !config->read_only) {
		return diag_set(reterr, -EINVAL, "%s: a DVD is read-only: leave readonly=off out",
				option);
	}
	if (config->is_empty && config->path) {
		return diag_set(
			reterr, -EINVAL,
			"%s: a drive is empty, or has a disc in it (path=%s): leave one out",
			option, config->path);
	}
	if (finish_bus(config, option, reterr)) {
		return -EINVAL;
	}
	if (is_null) {
		return finish_null(config, option, reterr);
	}
	if (!config->path && !config->is_dvd) {
		return diag_set(reterr, -EINVAL, "%s names no file: give path=FILE", option);
	}
	if (is_slice && !config->path) {
		return diag_set(reterr, -EINVAL,
				"%s: offset and size are for a disc: give path=FILE", option);
	}
	if (is_slice && !may_be_raw) {
		return diag_set(reterr, -EINVAL,
				"%s: offset and size are for raw disks: leave them out, or use "
				"format=raw",
				option);
	}
	if (config->sector_bytes && !may_be_raw) {
		return diag_set(
			reterr, -EINVAL,
			"%s: sector is for raw disks, other formats say it themselves: leave it "
			"out",
			option);
	}
	return 0;
}

int vm_policy_config_set(struct vm_policy_config *config, const char *option, const char *key,
			 const char *value, struct diag *reterr)
{
	int err;

	value = value ? value : "";
	if (strcmp(key, "name") == 0) {
		return vm_id_set(config->name, option, key, value, reterr);
	}
	err = vm_qos_set(&config->qos, option, key, value, reterr);
	if (err == -ENOENT) {
		return diag_set(reterr, -EINVAL,
				"%s: unknown key \"%s\": known are name, iops, iops-burst, "
				"bandwidth and bandwidth-burst",
				option, key);
	}
	return err;
}

/* SPDX-License-Identifier: MIT */
#include "vm/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "vsp/net/netvsp.h"

void vm_config_init(struct vm_config *config)
{
	*config = (struct vm_config){
		.cpus = 1,
		.memory_bytes = 512 * MIB,
		.io_threads = 1,
		.unpack_kernel = true,
		.boot_serial = true,
		.boot_order = { VM_BOOT_DISK, VM_BOOT_DVD, VM_BOOT_NET },
		.boot_count = VM_BOOT_DEVICES,
	};
	strcpy(config->name, "tabique");
}

void vm_config_fini(struct vm_config *config)
{
	for (size_t i = 0; i < config->disk_count; i++) {
		vm_disk_config_fini(&config->disks[i]);
	}
	free(config->kernel);
	free(config->initrd);
	free(config->cmdline);
	free(config->firmware);
	free(config->serial);
	free(config->serial2);
	free(config->control);
	free(config->cache_dir);
	*config = (struct vm_config){ 0 };
}

int vm_config_parse_size(const char *option, const char *text, uint64_t *ret, struct diag *reterr)
{
	static const struct {
		char unit;
		uint64_t bytes;
	} units[] = { { 'K', KIB }, { 'M', MIB }, { 'G', GIB }, { 'T', 1024 * GIB } };
	uint64_t scale = 1, bytes;
	char *end;

	errno = 0;
	unsigned long long number = strtoull(text, &end, 10);
	bool ok = isdigit((unsigned char)text[0]) && errno == 0;

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (*end && toupper((unsigned char)*end) == units[i].unit) {
			scale = units[i].bytes;
			end++;
			break;
		}
	}
	if (!ok || *end || !num_mul_u64(number, scale, &bytes)) {
		return diag_set(reterr, -EINVAL,
				"%s \"%s\" is no size: give a number and K, M, G or T, as in 512M",
				option, text);
	}
	*ret = bytes;
	return 0;
}

/* ---- key=value lists ---- */

/*
 * Cuts the next "key=value" off *at (",," is a comma in a value). Returns false at the end. *ret_value
 * is NULL for a word without '='. The text is changed in place.
 */
static bool next_pair(char **at, char **ret_key, char **ret_value)
{
	char *from = *at, *to = *at;

	if (!from || !*from) {
		return false;
	}
	*ret_key = from;
	*ret_value = NULL;
	for (; *from; from++) {
		if (*from == ',') {
			if (from[1] != ',') {
				break;
			}
			from++;
		} else if (*from == '=' && !*ret_value) {
			*to++ = '\0';
			*ret_value = to;
			continue;
		}
		*to++ = *from;
	}
	*at = *from ? from + 1 : from;
	*to = '\0';
	return true;
}

static int add_disk(struct vm_config *config, const char *option, bool is_dvd, const char *text,
		    struct diag *reterr)
{
	auto_free char *copy = strdup(text);
	char *at = copy, *key, *value;

	if (!copy) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	if (config->disk_count == VM_DISKS_MAX) {
		return diag_set(reterr, -EINVAL, "%s: at most %d disks", option, VM_DISKS_MAX);
	}
	/* Counted at once, so that fini frees also the half of it. */
	struct vm_disk_config *disk = &config->disks[config->disk_count++];

	vm_disk_config_init(disk, is_dvd);
	while (next_pair(&at, &key, &value)) {
		int err = vm_disk_config_set(disk, option, key, value, reterr);

		if (err) {
			return err;
		}
	}
	return vm_disk_config_finish(disk, option, reterr);
}

int vm_config_add_disk(struct vm_config *config, const char *text, struct diag *reterr)
{
	return add_disk(config, "--disk", false, text, reterr);
}

int vm_config_add_dvd(struct vm_config *config, const char *text, struct diag *reterr)
{
	return add_disk(config, "--dvd", true, text, reterr);
}

int vm_config_add_policy(struct vm_config *config, const char *text, struct diag *reterr)
{
	auto_free char *copy = strdup(text);
	char *at = copy, *key, *value;

	if (!copy) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	if (config->policy_count == ARRAY_SIZE(config->policies)) {
		return diag_set(reterr, -EINVAL, "--policy: at most %zu policies",
				ARRAY_SIZE(config->policies));
	}
	struct vm_policy_config *policy = &config->policies[config->policy_count++];

	while (next_pair(&at, &key, &value)) {
		int err = vm_policy_config_set(policy, "--policy", key, value, reterr);

		if (err) {
			return err;
		}
	}
	if (!policy->name[0]) {
		return diag_set(reterr, -EINVAL, "--policy \"%s\" has no name: give name=NAME",
				text);
	}
	return 0;
}

int vm_config_add_net(struct vm_config *config, const char *text, struct diag *reterr)
{
	auto_free char *copy = strdup(text);
	char *at = copy, *key, *value;

	if (!copy) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	if (config->net_count == VM_NETS_MAX) {
		return diag_set(reterr, -EINVAL, "--net: at most %d adapters", VM_NETS_MAX);
	}
	struct vm_net_config *net = &config->nets[config->net_count];
	int err;

	if (!next_pair(&at, &key, &value)) {
		key = "";
		value = NULL;
	}
	err = vm_net_config_init(net, key, value, reterr);
	if (err) {
		return err;
	}
	config->net_count++;
	while (next_pair(&at, &key, &value)) {
		err = vm_net_config_set(net, key, value, reterr);
		if (err) {
			return err;
		}
	}
	return 0;
}

int vm_config_set_name(struct vm_config *config, const char *text, struct diag *reterr)
{
	size_t length = strlen(text);
	bool ok = length >= 1 && length < VM_NAME_BYTES;

	for (size_t i = 0; i < length; i++) {
		ok = ok && (isalnum((unsigned char)text[i]) || strchr("._-", text[i]));
	}
	if (!ok) {
		return diag_set(reterr, -EINVAL,
				"--name \"%s\": give 1 to %d letters, digits, dots, dashes or "
				"underscores",
				text, VM_NAME_BYTES - 1);
	}
	strcpy(config->name, text);
	return 0;
}

/* ---- the board ---- */

int vm_config_set_machine(struct vm_config *config, const char *text, struct diag *reterr)
{
	if (strcmp(text, "modern") != 0 && strcmp(text, "legacy") != 0) {
		return diag_set(reterr, -EINVAL, "--machine is modern or legacy, not \"%s\"", text);
	}
	config->machine = strcmp(text, "legacy") == 0 ? VM_MACHINE_LEGACY : VM_MACHINE_MODERN;
	return 0;
}

int vm_config_set_firmware(struct vm_config *config, const char *text, struct diag *reterr)
{
	if (!*text) {
		return diag_set(reterr, -EINVAL,
				"--firmware is empty: give bios, or the file of a BIOS");
	}
	free(config->firmware);
	config->firmware = strdup(strcmp(text, "bios") == 0 ? VM_FIRMWARE_BIOS : text);
	return config->firmware ? 0 : diag_set(reterr, -ENOMEM, "no memory");
}

int vm_config_set_vga(struct vm_config *config, const char *text, struct diag *reterr)
{
	if (strcmp(text, "s3") != 0 && strcmp(text, "none") != 0) {
		return diag_set(reterr, -EINVAL, "--vga is s3 or none, not \"%s\"", text);
	}
	config->vga = strcmp(text, "s3") == 0 ? VM_VGA_S3 : VM_VGA_NONE;
	return 0;
}

/* 0; -EINVAL: no such device; -EEXIST: it is there already. */
static int add_boot_device(struct vm_config *config, const char *word)
{
	static const char *const names[VM_BOOT_DEVICES] = {
		[VM_BOOT_DISK] = "disk", [VM_BOOT_DVD] = "dvd", [VM_BOOT_NET] = "net"
	};
	enum vm_boot_device device = 0;

	while (device < VM_BOOT_DEVICES && strcmp(names[device], word) != 0) {
		device++;
	}
	if (device == VM_BOOT_DEVICES) {
		return -EINVAL;
	}
	for (size_t i = 0; i < config->boot_count; i++) {
		if (config->boot_order[i] == device) {
			return -EEXIST;
		}
	}
	config->boot_order[config->boot_count++] = device;
	return 0;
}

int vm_config_set_boot_order(struct vm_config *config, const char *text, struct diag *reterr)
{
	auto_free char *copy = strdup(text);
	char *at = copy, *word, *value;

	if (!copy) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	config->has_boot_order = true;
	config->boot_count = 0;
	while (next_pair(&at, &word, &value)) {
		int err = value ? -EINVAL : add_boot_device(config, word);

		if (err == -EEXIST) {
			return diag_set(reterr, -EINVAL, "--boot-order \"%s\" names %s twice", text,
					word);
		}
		if (err) {
			return diag_set(
				reterr, err,
				"--boot-order \"%s\": give some of disk, dvd and net, as in "
				"dvd,disk",
				text);
		}
	}
	if (config->boot_count == 0) {
		return diag_set(reterr, -EINVAL,
				"--boot-order is empty: give some of disk, dvd and net");
	}
	return 0;
}

/* A word for firmware, where there is none. */
static int check_firmware_word(const struct vm_config *config, bool is_given, const char *option,
			       struct diag *reterr)
{
	return is_given && !config->firmware
		       ? diag_set(reterr, -EINVAL,
				  "%s is for firmware: give --firmware bios, or leave it out",
				  option)
		       : 0;
}

static int check_kernel_word(const struct vm_config *config, bool is_given, const char *option,
			     struct diag *reterr)
{
	return is_given && config->firmware ? diag_set(reterr, -EINVAL,
						       "%s is not for firmware, which finds its "
						       "system on a disk: leave out "
						       "%s or --firmware",
						       option, option)
					    : 0;
}

static int finish_vga(struct vm_config *config, struct diag *reterr)
{
	bool is_legacy = config->machine == VM_MACHINE_LEGACY;

	if (config->vga != VM_VGA_DEFAULT && !is_legacy) {
		return diag_set(reterr, -EINVAL,
				"--vga: only the legacy machine can have a graphics card: give "
				"--machine legacy, or leave it out");
	}
	if (config->vga == VM_VGA_DEFAULT) {
		config->vga = is_legacy ? VM_VGA_S3 : VM_VGA_NONE;
	}
	return 0;
}

static int finish_board(struct vm_config *config, struct diag *reterr)
{
	bool is_legacy = config->machine == VM_MACHINE_LEGACY;
	int err;

	if (is_legacy && !config->kernel && !config->firmware) {
		err = vm_config_set_firmware(config, "bios", reterr);
		if (err) {
			return err;
		}
	}
	if (!config->kernel && !config->firmware) {
		return diag_set(reterr, -EINVAL,
				"no kernel is named: give --kernel FILE, or --machine legacy");
	}
	if (config->firmware && !is_legacy) {
		return diag_set(reterr, -EINVAL,
				"--firmware needs a machine that has it: give --machine legacy");
	}
	if (config->serial2 && !is_legacy) {
		return diag_set(reterr, -EINVAL,
				"--serial2: only the legacy machine has a second serial port: give "
				"--machine legacy");
	}
	err = finish_vga(config, reterr);
	if (!err) {
		err = check_kernel_word(config, config->kernel, "--kernel", reterr);
	}
	if (!err) {
		err = check_kernel_word(config, config->initrd, "--initrd", reterr);
	}
	if (!err) {
		err = check_kernel_word(config, config->cmdline, "--append", reterr);
	}
	if (!err) {
		err = check_firmware_word(config, config->has_boot_order, "--boot-order", reterr);
	}
	if (!err) {
		err = check_firmware_word(config, config->boot_menu, "--boot-menu", reterr);
	}
	return err ? err
		   : check_firmware_word(config, config->has_boot_serial, "--boot-serial", reterr);
}

/* The defaults of both ports; only one can have the terminal. */
static int finish_serial(struct vm_config *config, struct diag *reterr)
{
	if (!config->serial) {
		config->serial = strdup("stdio");
	}
	if (!config->serial2) {
		config->serial2 = strdup("none");
	}
	if (!config->serial || !config->serial2) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	if (strcmp(config->serial, "stdio") == 0 && strcmp(config->serial2, "stdio") == 0) {
		return diag_set(reterr, -EINVAL,
				"--serial and --serial2 cannot both have stdio: give one of them "
				"none, file:PATH or unix:PATH");
	}
	return 0;
}

/* ---- the whole ---- */

static bool is_zero_mac(const uint8_t mac[NET_MAC_BYTES])
{
	static const uint8_t zero[NET_MAC_BYTES];

	return memcmp(mac, zero, NET_MAC_BYTES) == 0;
}

static bool is_taken(const struct vm_config *config, size_t index)
{
	for (size_t i = 0; i < config->net_count; i++) {
		if (i != index &&
		    memcmp(config->nets[i].mac, config->nets[index].mac, NET_MAC_BYTES) == 0) {
			return true;
		}
	}
	return false;
}

/* Linux' tulip takes these for the addresses of boards that have their bytes swapped, and swaps them back. */
static bool is_swapped_by_tulip(const uint8_t mac[NET_MAC_BYTES])
{
	return (mac[0] == 0x02 || mac[0] == 0xa0 || mac[0] == 0xc0) && mac[1] == 0;
}

static bool is_usable(const struct vm_config *config, size_t index)
{
	const uint8_t *mac = config->nets[index].mac;

	return !is_zero_mac(mac) && !is_taken(config, index) &&
	       (config->machine != VM_MACHINE_LEGACY || !is_swapped_by_tulip(mac));
}

static void make_mac(struct vm_config *config, size_t index)
{
	uint8_t *mac = config->nets[index].mac;

	for (unsigned int salt = 0; !is_usable(config, index); salt++) {
		char name[32];

		snprintf(name, sizeof(name), salt ? "net%zu-%u" : "net%zu", index, salt);
		netvsp_default_mac(config->name, name, mac);
	}
}

int vm_config_finish(struct vm_config *config, struct diag *reterr)
{
	int err = finish_board(config, reterr);

	if (err) {
		return err;
	}
	err = vm_config_place_disks(config, reterr);
	if (err) {
		return err;
	}
	for (size_t i = 0; i < config->net_count && !err; i++) {
		err = vm_net_config_check(&config->nets[i], config->machine == VM_MACHINE_LEGACY,
					  reterr);
	}
	if (err) {
		return err;
	}
	for (size_t i = 0; i < config->net_count; i++) {
		const uint8_t *mac = config->nets[i].mac;

		if (!is_zero_mac(mac) && is_taken(config, i)) {
			return diag_set(reterr, -EINVAL,
					"--net: two adapters have the MAC address "
					"%02x:%02x:%02x:%02x:%02x:%02x: give them different ones",
					mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
		}
	}
	for (size_t i = 0; i < config->net_count; i++) {
		if (is_zero_mac(config->nets[i].mac)) {
			make_mac(config, i);
		}
	}
	return finish_serial(config, reterr);
}

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
		.cpus = 1, .memory_bytes = 512 * MIB, .io_threads = 1, .unpack_kernel = true
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
	free(config->serial);
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

static void make_mac(struct vm_config *config, size_t index)
{
	uint8_t *mac = config->nets[index].mac;

	for (unsigned int salt = 0; is_zero_mac(mac) || is_taken(config, index); salt++) {
		char name[32];

		snprintf(name, sizeof(name), salt ? "net%zu-%u" : "net%zu", index, salt);
		netvsp_default_mac(config->name, name, mac);
	}
}

int vm_config_finish(struct vm_config *config, struct diag *reterr)
{
	if (!config->kernel) {
		return diag_set(reterr, -EINVAL, "no kernel is named: give --kernel FILE");
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
	if (!config->serial) {
		config->serial = strdup("stdio");
	}
	return config->serial ? 0 : diag_set(reterr, -ENOMEM, "no memory");
}

/* SPDX-License-Identifier: MIT */
#include "vm/net_config.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "net/tap.h"
#include "proto/nvsp.h"

/* ---- the kind ---- */

static int set_tap(struct vm_net_config *net, const char *value, struct diag *reterr)
{
	if (!value || !net_tap_is_name(value)) {
		return diag_set(reterr, -EINVAL,
				"--net: tap \"%s\" is no name of a network interface: give 1 to "
				"15 characters without '/', ':', '%%' or spaces, as in tap=tap0",
				value ? value : "");
	}
	net->kind = VM_NET_TAP;
	memcpy(net->tap, value, strlen(value) + 1);
	return 0;
}

/* As the switch has them: letters, digits and some signs, the first none of these. */
static bool is_name(const char *text, size_t room, const char *signs)
{
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++) {
		if (!isalnum((unsigned char)text[i]) && !(i > 0 && strchr(signs, text[i]))) {
			return false;
		}
	}
	return length > 0 && length < room;
}

static int set_switch(struct vm_net_config *net, const char *value, struct diag *reterr)
{
	if (!value || !is_name(value, sizeof(net->switch_name), "._-")) {
		return diag_set(reterr, -EINVAL,
				"--net: switch \"%s\" is no name of a switch: give 1 to %d "
				"letters, digits, dots, dashes or underscores, as in switch=lan",
				value ? value : "", VM_SWITCH_NAME_BYTES - 1);
	}
	net->kind = VM_NET_SWITCH;
	memcpy(net->switch_name, value, strlen(value) + 1);
	return 0;
}

int vm_net_config_init(struct vm_net_config *net, const char *key, const char *value,
		       struct diag *reterr)
{
	*net = (struct vm_net_config){ .kind = VM_NET_NAT };
	if (strcmp(key, "nat") == 0 && !value) {
		return 0;
	}
	if (strcmp(key, "tap") == 0) {
		return set_tap(net, value, reterr);
	}
	if (strcmp(key, "switch") == 0) {
		return set_switch(net, value, reterr);
	}
	return diag_set(reterr, -EINVAL,
			"--net \"%s%s%s\" is of no known kind: give nat, tap=NAME or switch=NAME, "
			"as in nat,forward=tcp:2222:22, tap=tap0 or switch=lan",
			key, value ? "=" : "", value ? value : "");
}

/* ---- what else ---- */

static int set_mac(struct vm_net_config *net, const char *text, struct diag *reterr)
{
	unsigned int b[NET_MAC_BYTES];
	int end = -1;

	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		   &end) != NET_MAC_BYTES ||
	    end != (int)strlen(text) || end != 17) {
		return diag_set(reterr, -EINVAL,
				"--net: mac \"%s\" is no address: give six bytes, as in "
				"02:00:00:00:00:01",
				text);
	}
	if (b[0] & 1) {
		return diag_set(reterr, -EINVAL,
				"--net: mac %s is a multicast address: make its first byte even",
				text);
	}
	for (int i = 0; i < NET_MAC_BYTES; i++) {
		net->mac[i] = (uint8_t)b[i];
	}
	return 0;
}

static int set_forward(struct vm_net_config *net, const char *text, struct diag *reterr)
{
	if (net->kind == VM_NET_TAP) {
		return diag_set(reterr, -EINVAL,
				"--net: forward is for nat: through TAP device '%s' the guest has "
				"addresses of its own",
				net->tap);
	}
	if (net->kind == VM_NET_SWITCH) {
		return diag_set(reterr, -EINVAL,
				"--net: forward is for nat: on switch %s the guest has addresses "
				"of its own",
				net->switch_name);
	}
	if (net->forward_count == VM_FORWARDS_MAX) {
		return diag_set(reterr, -EINVAL, "--net: at most %d forwards", VM_FORWARDS_MAX);
	}
	int err = net_nat_parse_forward(text, &net->forwards[net->forward_count], reterr);

	net->forward_count += !err;
	return err;
}

static int set_port(struct vm_net_config *net, const char *text, struct diag *reterr)
{
	if (net->kind != VM_NET_SWITCH) {
		return diag_set(reterr, -EINVAL,
				"--net: port is for switch: nothing else has ports");
	}
	if (!is_name(text, sizeof(net->switch_port), "._-/:+")) {
		return diag_set(reterr, -EINVAL,
				"--net: port \"%s\" is no name of a switch's port: give 1 to %d "
				"letters, digits or any of . _ - / : +",
				text, VM_SWITCH_PORT_BYTES - 1);
	}
	memcpy(net->switch_port, text, strlen(text) + 1);
	return 0;
}

static int set_queues(struct vm_net_config *net, const char *text, struct diag *reterr)
{
	char *end;
	unsigned long queues = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)text[0]) || *end || queues < 1 || queues > VM_NET_QUEUES_MAX) {
		return diag_set(reterr, -EINVAL, "--net: queues \"%s\" is no number from 1 to %u",
				text, VM_NET_QUEUES_MAX);
	}
	if (net->kind == VM_NET_NAT && queues > 1) {
		return diag_set(reterr, -EINVAL,
				"--net: the address translation has one queue: several are for "
				"tap and switch");
	}
	net->queues = (uint32_t)queues;
	return 0;
}

static int set_link(struct vm_net_config *net, const char *text, struct diag *reterr)
{
	if (strcmp(text, "up") != 0 && strcmp(text, "down") != 0) {
		return diag_set(reterr, -EINVAL, "--net: link is up or down, not \"%s\"", text);
	}
	net->link_down = strcmp(text, "down") == 0;
	return 0;
}

static int set_nvsp_max(struct vm_net_config *net, const char *text, struct diag *reterr)
{
	static const struct {
		const char *name;
		uint32_t version;
	} versions[] = { { "1", NVSP_VERSION_1 }, { "2", NVSP_VERSION_2 },
			 { "4", NVSP_VERSION_4 }, { "5", NVSP_VERSION_5 },
			 { "6", NVSP_VERSION_6 }, { "6.1", NVSP_VERSION_61 } };

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		if (strcmp(text, versions[i].name) == 0) {
			net->nvsp_max = versions[i].version;
			return 0;
		}
	}
	return diag_set(
		reterr, -EINVAL,
		"--net: nvsp-max \"%s\" is no version of NVSP: known are 1, 2, 4, 5, 6 and 6.1",
		text);
}

static int set_no_rsc(struct vm_net_config *net, const char *text, struct diag *reterr)
{
	if (*text) {
		return diag_set(reterr, -EINVAL, "--net: no-rsc has no value");
	}
	net->no_rsc = true;
	return 0;
}

static int set_face(struct vm_net_config *net, const char *text, struct diag *reterr)
{
	return vm_face_set(&net->face, "--net", text, reterr);
}

int vm_net_config_check(const struct vm_net_config *net, bool is_legacy, struct diag *reterr)
{
	if (net->face != VM_FACE_AUTO && !is_legacy) {
		return diag_set(
			reterr, -EINVAL,
			"--net: face is for a board with PCI: give --machine legacy, or leave it "
			"out");
	}
	if (net->face == VM_FACE_EMULATED && net->kind == VM_NET_SWITCH) {
		return diag_set(
			reterr, -EINVAL,
			"--net switch=%s: a switch's port has no emulated face: give nat or tap, "
			"or leave face=emulated out",
			net->switch_name);
	}
	if (is_legacy && net->face != VM_FACE_SYNTHETIC && net->queues > 1 &&
	    net->kind != VM_NET_SWITCH) {
		return diag_set(reterr, -EINVAL,
				"--net: an adapter with an emulated face has one queue: give "
				"face=synthetic, or leave queues=%u out",
				net->queues);
	}
	return 0;
}

int vm_net_config_set(struct vm_net_config *net, const char *key, const char *value,
		      struct diag *reterr)
{
	static const struct {
		const char *key;
		int (*set)(struct vm_net_config *net, const char *text, struct diag *reterr);
	} words[] = {
		{ "mac", set_mac },       { "forward", set_forward }, { "port", set_port },
		{ "link", set_link },     { "queues", set_queues },   { "nvsp-max", set_nvsp_max },
		{ "no-rsc", set_no_rsc }, { "face", set_face },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(key, words[i].key) == 0) {
			return words[i].set(net, value ? value : "", reterr);
		}
	}
	return diag_set(
		reterr, -EINVAL,
		"--net: unknown key \"%s\": known are mac, queues, link, no-rsc, nvsp-max, face, "
		"forward (nat) and port (switch)",
		key);
}

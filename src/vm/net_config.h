/* SPDX-License-Identifier: MIT */
/*
 * What a network adapter is, as plain data, and the words of --net:
 *
 *   nat[,forward=…]…  |  tap=NAME  |  switch=NAME[,port=PORT]
 *   and for each: [,mac=ADDRESS][,queues=N][,link=up|down][,no-rsc][,nvsp-max=1|2|4|5|6|6.1]
 *                      [,face=auto|emulated|synthetic]
 *
 *   owner   vm_config   thread  any one
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <net/if.h>

#include "base/check.h"
#include "base/diag.h"
#include "net/net.h"
#include "vm/face.h"

#define VM_FORWARDS_MAX      NET_NAT_FORWARDS_MAX
#define VM_NET_QUEUES_MAX    16U
#define VM_SWITCH_NAME_BYTES 32
#define VM_SWITCH_PORT_BYTES 64

/* Where the adapter's cable leads to. */
enum vm_net_kind { VM_NET_NAT, VM_NET_TAP, VM_NET_SWITCH };

struct vm_net_config {
	enum vm_net_kind kind;
	uint8_t mac[NET_MAC_BYTES];
	char tap[IFNAMSIZ];                           /* the host's TAP device */
	char switch_name[VM_SWITCH_NAME_BYTES];       /* of tabique-switch */
	char switch_port[VM_SWITCH_PORT_BYTES];       /* empty: PARTITION/netN */
	struct net_forward forwards[VM_FORWARDS_MAX]; /* through the address translation */
	size_t forward_count;
	uint32_t queues;   /* 0: as many as make sense */
	uint32_t nvsp_max; /* NVSP_VERSION_*, 0: all */
	bool no_rsc;       /* no coalesced frames for the guest */
	bool link_down;    /* at the start */
	enum vm_face face; /* of the legacy board */
};

/*
 * The first pair says the kind, the others what else; value is NULL for a word without '='. 0, or -EINVAL
 * with a sentence.
 */
MUST_CHECK int vm_net_config_init(struct vm_net_config *net, const char *key, const char *value,
				  struct diag *reterr);
MUST_CHECK int vm_net_config_set(struct vm_net_config *net, const char *key, const char *value,
				 struct diag *reterr);

/* On this machine. 0, or -EINVAL with a sentence. */
MUST_CHECK int vm_net_config_check(const struct vm_net_config *net, bool is_legacy,
				   struct diag *reterr);

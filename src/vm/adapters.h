/* SPDX-License-Identifier: MIT */
/*
 * The network adapters of a VM: for each --net a NetVSP, and a back end with an end for each of its
 * queues, on I/O loops that follow each other.
 *
 *   nat      the address translation, which has one end
 *   tap=     a TAP device of the host, with a queue of its own for each of ours
 *   switch=  no back end at all: the NIC is lent to a process that serves it (vmbus/remote_worker.h);
 *            what is left here is a twin whose cable is unplugged
 *
 *   owner   vm   thread  control
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"
#include "base/diag.h"
#include "dev/inspect.h"
#include "rpc/rpc.h"
#include "vm/net_config.h"

struct vm;
struct vm_adapters;
struct vmbus_device;

/* 0 or -ENOMEM. */
MUST_CHECK int vm_adapters_create(struct vm *vm, struct vm_adapters **ret);

/* After vm_adapters_stop(); they are revoked. NULL is fine. */
void vm_adapters_destroy(struct vm_adapters *adapters);

/*
 * Makes the next one and shows it to the guest. net is borrowed for the VM's life. 0 or an errno with a
 * sentence; what is left then goes with the others.
 */
MUST_CHECK int vm_adapters_add(struct vm_adapters *adapters, const struct vm_net_config *net,
			       struct diag *reterr);

/* The n-th as the bus has it; NULL at the end. */
struct vmbus_device *vm_adapters_device(struct vm_adapters *adapters, size_t n);

/* The machine is reset: the bus is quiet. */
void vm_adapters_reset(struct vm_adapters *adapters);

/* Stops and restarts what comes from the network. I/O loops still run; waits. */
void vm_adapters_pause(struct vm_adapters *adapters, bool is_paused);

/*
 * Stops what is in flight, and waits; also in the half-built, and a second time. All are at home. I/O
 * loops still run, or were never started.
 */
void vm_adapters_stop(struct vm_adapters *adapters);

void vm_adapters_inspect(struct vm_adapters *adapters, struct inspect *at);

/* The control socket's: docs/control-socket.md. */
rpc_verb_fn vm_verb_net_link, vm_verb_net_list;

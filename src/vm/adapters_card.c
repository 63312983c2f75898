/* SPDX-License-Identifier: MIT */
/*
 * No screwdriver: on the legacy board an adapter is a DECchip 21140 and a NetVSP with the same address, at the
 * two ends of one change-over switch (net/faces.h).
 *
 *     reset ──► the card has the wire ── the guest's NetVSC is operational ──► NetVSP has it, until a reset
 *
 * A guest that never loads a driver for NetVSP keeps the card. One that has taken the wire over does not give it
 * back: its driver goes and comes with each change of its MTU.
 */
#include <errno.h>
#include <string.h>

#include "chipset/tulip/tulip.h"
#include "net/faces.h"
#include "vm/adapters_internal.h"
#include "vm/legacy.h"

bool vm_card_is_wanted(const struct vm_adapter *adapter)
{
	return adapter->adapters->vm->pci_bus && adapter->config->kind != VM_NET_SWITCH &&
	       adapter->config->face != VM_FACE_SYNTHETIC;
}

static void on_driver_came(struct loop_work *work)
{
	struct vm_adapter *adapter = container_of(work, struct vm_adapter, driver_came);

	net_faces_choose(adapter->faces, ADAPTER_SYNTHETIC);
}

void vm_card_on_driver(void *ctx)
{
	struct vm_adapter *adapter = ctx;

	/* Not from within the NIC, whose link it changes. */
	loop_defer(net_loop(adapter->ends[0]), &adapter->driver_came);
}

int vm_card_split(struct vm_adapter *adapter, struct diag *reterr)
{
	int err = 0;

	if (vm_card_is_wanted(adapter)) {
		loop_work_init(&adapter->driver_came, on_driver_came);
		err = net_faces_create(adapter->ends[0], &adapter->faces);
	}
	return err ? diag_set(reterr, err, "no memory for a NIC") : 0;
}

int vm_card_create(struct vm_adapter *adapter, struct diag *reterr)
{
	struct vm *vm = adapter->adapters->vm;
	size_t number = (size_t)(adapter - adapter->adapters->list);
	struct tulip_config config = {
		.chipset = vm->chipset,
		.bus = vm->pci_bus,
		.devfn = PCI_DEVFN(LEGACY_SLOT_NET_0 + number, 0),
		.mem = vm->mem,
		.loop = net_loop(adapter->ends[0]),
	};
	int err;

	if (!adapter->faces) {
		return 0;
	}
	config.net = net_faces_end(adapter->faces, ADAPTER_EMULATED);
	config.doorbells = partition_doorbells(vm->partition);
	memcpy(config.mac, netvsp_mac(adapter->nic), sizeof(config.mac));
	err = tulip_create(&config, &adapter->card);
	return err ? diag_set(reterr, err, "cannot make %s's emulated card: %s", adapter->name,
			      strerror(-err))
		   : 0;
}

void vm_card_destroy(struct vm_adapter *adapter)
{
	tulip_destroy(adapter->card);
	net_faces_destroy(adapter->faces);
}

void vm_card_set_link(const struct vm_adapter *adapter)
{
	if (adapter->card) {
		tulip_set_cable(adapter->card, adapter->is_link_up);
	}
}

static void pause_on_loop(void *arg)
{
	tulip_pause(arg);
}

static void resume_on_loop(void *arg)
{
	tulip_resume(arg);
}

void vm_card_pause(struct vm_adapter *adapter, bool is_paused)
{
	if (adapter->card) {
		loop_call(net_loop(adapter->ends[0]), is_paused ? pause_on_loop : resume_on_loop,
			  adapter->card);
	}
}

static void reset_on_loop(void *arg)
{
	struct vm_adapter *adapter = arg;
	bool was_paused = adapter->adapters->vm->was_paused;

	loop_cancel(net_loop(adapter->ends[0]), &adapter->driver_came);
	if (!was_paused) {
		tulip_pause(adapter->card);
	}
	net_faces_choose(adapter->faces, ADAPTER_EMULATED);
	tulip_reset(adapter->card);
	if (!was_paused) {
		tulip_resume(adapter->card);
	}
}

void vm_card_reset(struct vm_adapter *adapter)
{
	if (adapter->card) {
		loop_call(net_loop(adapter->ends[0]), reset_on_loop, adapter);
	}
}

static const char *reason(const struct vm_adapter *adapter, bool is_synthetic)
{
	if (adapter->config->face != VM_FACE_AUTO) {
		return "the user has said so";
	}
	if (!adapter->faces) {
		return "it has no other";
	}
	return is_synthetic ? "the guest's NetVSC has taken it over"
			    : "no NetVSC of the guest has asked for it";
}

void vm_card_inspect(const struct vm_adapter *adapter, struct inspect *at)
{
	bool is_synthetic =
		!adapter->faces || net_faces_chosen(adapter->faces) == ADAPTER_SYNTHETIC;

	inspect_string(at, "face", is_synthetic ? "synthetic" : "emulated");
	inspect_string(at, "face_because", reason(adapter, is_synthetic));
	if (adapter->card) {
		struct inspect child = inspect_child(at, "card");

		tulip_inspect(adapter->card, &child);
	}
}

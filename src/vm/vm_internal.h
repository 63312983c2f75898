/* SPDX-License-Identifier: MIT */
/* The parts of a VM, shared by vm.c (life), devices.c (the table of devices) and verbs.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "block/block.h"
#include "chipset/chipset.h"
#include "chipset/i8042.h"
#include "chipset/pm.h"
#include "chipset/rtc.h"
#include "chipset/uart.h"
#include "console/serial.h"
#include "dev/inspect.h"
#include "loop/loop.h"
#include "loop/patience.h"
#include "mem/mem.h"
#include "net/net.h"
#include "partition/partition.h"
#include "rpc/rpc.h"
#include "vm/adapters.h"
#include "vm/config.h"
#include "vm/disks.h"
#include "vm/vm.h"
#include "vmbus/bus.h"
#include "vsp/ic/ic.h"
#include "vsp/net/netvsp.h"
#include "vsp/storage/storvsp.h"

enum vm_state { VM_CREATED, VM_RUNNING, VM_PAUSED, VM_RESETTING, VM_ENDING };

/* A request to shut down that a client of the control socket waits for. */
struct vm_shutdown {
	struct shutdown_request request;
	struct rpc_reply *reply;
	bool is_under_way;
};

struct vm {
	const struct vm_config *config;
	struct loop *control;
	struct loop *io[VM_IO_THREADS_MAX];
	uint32_t io_count;
	struct patience_group patience; /* theirs, where processors are few */

	struct mem *mem;
	struct partition *partition;
	struct vmbus_bus *bus;
	int kernel_fd, initrd_fd;

	/* devices.c, in the order of its table */
	struct chipset *chipset;
	struct chipset_power power;
	struct serial *serial;
	struct uart *uart;
	struct rtc *rtc;
	struct pm *pm;
	struct i8042 *i8042;      /* not on the legacy board */
	struct vm_legacy *legacy; /* only there */
	struct vm_vga *vga;       /* likewise: its graphics card, or NULL */
	struct pci_bus *pci_bus;  /* likewise */
	struct serial *serial2;   /* likewise */
	struct uart *uart2;
	struct vm_disks *disks;
	struct vm_adapters *adapters;
	struct heartbeat *heartbeat;
	struct shutdown *shutdown;
	struct timesync *timesync;

	struct rpc_server *rpc;
	struct vm_shutdown shutdown_request;

	/* life; control loop */
	enum vm_state state;
	bool was_paused;          /* before a reset */
	bool is_paused_for_error; /* by a disk's on-error=stop, not by a user */
	int status;
	uint64_t resets, crashes;
	uint64_t started_ns;
	char crash_text[256];
	struct loop_work reset_asked, poweroff_asked, bus_quiet, device_gone;
	struct loop_timer end_timer;
	unsigned int devices_left;
	struct loop_watch signal_watch;
	int signal_fd;
};

/* A kind of device, in start-up order: later ones may use earlier ones. */
struct vm_device_kind {
	const char *name;
	/* 0, or a negative errno with a sentence; *ret_status as vm_create(). */
	int (*create)(struct vm *vm, int *ret_status, struct diag *reterr);
	/* Optional: the machine is reset; VPs are out and the bus is quiet. */
	void (*reset)(struct vm *vm);
	/* The half-built, too. I/O threads no longer run. */
	void (*destroy)(struct vm *vm);
	/* Optional. */
	void (*inspect)(struct vm *vm, struct inspect *at);
};

extern const struct vm_device_kind vm_device_kinds[];
extern const size_t vm_device_kind_count;

/* The n-th VMBus device, or NULL: for revoking all. */
struct vmbus_device *vm_bus_device(struct vm *vm, size_t n);

/* Physical address bits of the guest, which sees the host's. */
unsigned int vm_phys_bits(void);

/* The I/O loop for the n-th disk or adapter. */
struct loop *vm_io_loop(struct vm *vm, size_t n);

/*
 * Stops what disks and adapters have in flight, and waits; also in the half-built, and a second time.
 * I/O loops still run, or were never started.
 */
void vm_stop_back_ends(struct vm *vm);

/* vm.c, for verbs.c. */
void vm_end(struct vm *vm, int status);
void vm_ask_reset(struct vm *vm);
/* 0, or -ETIMEDOUT when a device does not come home from another process: it runs on. */
MUST_CHECK int vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);

/* verbs.c */
extern const struct rpc_verb vm_verbs[];
extern const size_t vm_verb_count;
/* An answer to a client who waits, before the server goes. */
void vm_verbs_abandon(struct vm *vm);
/* {"state":…}, of a verb that may change it. */
struct json_t *vm_state_answer(const struct vm *vm);

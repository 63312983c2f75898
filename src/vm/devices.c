/* SPDX-License-Identifier: MIT */
/*
 * THE table of devices, in start-up order. There is no other registration: to add a device, add a
 * row, its pointer in vm_internal.h and its words in config.c.
 */
#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "proto/board.h"
#include "vm/legacy.h"
#include "vm/disk_card.h"
#include "vm/disk_faces.h"
#include "vm/vm_internal.h"

static int no_memory(int err, const char *what, struct diag *reterr)
{
	return err ? diag_set(reterr, err, "cannot make the %s: %s", what, strerror(-err)) : 0;
}

struct loop *vm_io_loop(struct vm *vm, size_t n)
{
	return vm->io[n % vm->io_count];
}

/* ---- chipset ---- */

/* On a vCPU's thread, with the chipset's lock held. */
static void on_poweroff(void *ctx)
{
	struct vm *vm = ctx;

	loop_post(vm->control, &vm->poweroff_asked);
}

static void on_reset(void *ctx)
{
	vm_ask_reset(ctx);
}

static int chipset_make(struct vm *vm, int *ret_status, struct diag *reterr)
{
	static const struct chipset_power_ops power_ops = { .on_poweroff = on_poweroff,
							    .on_reset = on_reset };
	struct irq_line rtc_irq = partition_irq_line(vm->partition, BOARD_RTC_GSI);
	struct irq_line sci = partition_irq_line(vm->partition, BOARD_SCI_GSI);

	(void)ret_status;
	vm->power = (struct chipset_power){ .ops = &power_ops, .ctx = vm };
	int err = chipset_create(&vm->chipset);

	if (!err) {
		err = rtc_create(vm->chipset, vm->control, BOARD_RTC_PORT, &rtc_irq, &vm->rtc);
	}
	if (!err) {
		err = pm_create(vm->chipset, &sci, &vm->power, &vm->pm);
	}
	if (!err && !vm_is_legacy(vm)) {
		err = i8042_create(vm->chipset, &vm->power, &vm->i8042);
	}
	return no_memory(err, "chipset", reterr);
}

static void chipset_restart(struct vm *vm)
{
	rtc_reset(vm->rtc);
	pm_reset(vm->pm);
	if (vm->i8042) {
		i8042_reset(vm->i8042);
	}
}

static void chipset_unmake(struct vm *vm)
{
	i8042_destroy(vm->i8042);
	pm_destroy(vm->pm);
	rtc_destroy(vm->rtc);
	chipset_destroy(vm->chipset);
}

static void chipset_show(struct vm *vm, struct inspect *at)
{
	struct inspect child;

	chipset_inspect(vm->chipset, at);
	child = inspect_child(at, "rtc");
	rtc_inspect(vm->rtc, &child);
	child = inspect_child(at, "pm");
	pm_inspect(vm->pm, &child);
	if (vm->i8042) {
		child = inspect_child(at, "i8042");
		i8042_inspect(vm->i8042, &child);
	}
}

/* ---- the legacy board ---- */

static int legacy_make(struct vm *vm, int *ret_status, struct diag *reterr)
{
	(void)ret_status;
	return vm_legacy_create(vm, reterr);
}

/* ---- serial port ---- */

static void on_escape(void *ctx)
{
	vm_end(ctx, VM_STATUS_OK);
}

static int serial_make(struct vm *vm, int *ret_status, struct diag *reterr)
{
	struct irq_line irq = partition_irq_line(vm->partition, BOARD_COM1_GSI);
	int err = serial_create(vm->control, vm->config->serial, &vm->serial, reterr);

	(void)ret_status;
	if (err) {
		return err;
	}
	serial_on_quit(vm->serial, on_escape, vm);
	err = uart_create(vm->chipset, BOARD_COM1_PORT, &irq, vm->serial, &vm->uart);
	if (err || !vm_is_legacy(vm)) {
		return no_memory(err, "serial port", reterr);
	}
	irq = partition_irq_line(vm->partition, BOARD_COM2_GSI);
	err = serial_create(vm->control, vm->config->serial2, &vm->serial2, reterr);
	if (err) {
		return err;
	}
	serial_on_quit(vm->serial2, on_escape, vm);
	err = uart_create(vm->chipset, BOARD_COM2_PORT, &irq, vm->serial2, &vm->uart2);
	return no_memory(err, "second serial port", reterr);
}

static void serial_restart(struct vm *vm)
{
	uart_reset(vm->uart);
	if (vm->uart2) {
		uart_reset(vm->uart2);
	}
}

static void serial_unmake(struct vm *vm)
{
	uart_destroy(vm->uart2);
	serial_destroy(vm->serial2);
	uart_destroy(vm->uart);
	serial_destroy(vm->serial);
}

static void show_port(const char *back_end, struct serial *serial, struct uart *uart,
		      struct inspect *at)
{
	struct serial_stats stats;

	serial_read_stats(serial, &stats);
	inspect_string(at, "back_end", back_end);
	inspect_u64(at, "written_bytes", stats.written_bytes);
	inspect_u64(at, "dropped_bytes", stats.dropped_bytes);
	inspect_u64(at, "input_bytes", stats.input_bytes);
	uart_inspect(uart, at);
}

static void serial_show(struct vm *vm, struct inspect *at)
{
	show_port(vm->config->serial, vm->serial, vm->uart, at);
	if (vm->uart2) {
		struct inspect second = inspect_child(at, "second");

		show_port(vm->config->serial2, vm->serial2, vm->uart2, &second);
	}
}

/* ---- disks ---- */

static int storage_make(struct vm *vm, int *ret_status, struct diag *reterr)
{
	int err = no_memory(vm_disks_create(vm, &vm->disks), "disks", reterr);

	(void)ret_status;
	for (size_t i = 0; i < vm->config->policy_count && !err; i++) {
		err = vm_disks_add_policy(vm->disks, &vm->config->policies[i], reterr);
	}
	for (size_t i = 0; i < vm->config->disk_count && !err; i++) {
		err = vm_disks_add(vm->disks, &vm->config->disks[i], NULL, reterr);
	}
	err = err ? err : vm_faces_create(vm->disks, reterr);
	return err ? err : vm_disk_card_create(vm->disks, reterr);
}

static void storage_restart(struct vm *vm)
{
	vm_faces_reset(vm->disks);
	vm_disk_card_reset(vm->disks);
}

static void storage_unmake(struct vm *vm)
{
	vm_disks_destroy(vm->disks);
}

static void storage_show(struct vm *vm, struct inspect *at)
{
	vm_disks_inspect(vm->disks, at);
}

static int offer(struct vm *vm, struct vmbus_device *device, struct loop *loop, const char *what,
		 struct diag *reterr)
{
	device->loop = loop;
	return no_memory(bus_offer(vm->bus, device), what, reterr);
}

/* ---- network adapters ---- */

static int network_make(struct vm *vm, int *ret_status, struct diag *reterr)
{
	int err = no_memory(vm_adapters_create(vm, &vm->adapters), "adapters", reterr);

	*ret_status = VM_STATUS_HOST;
	for (size_t i = 0; i < vm->config->net_count && !err; i++) {
		err = vm_adapters_add(vm->adapters, &vm->config->nets[i], reterr);
	}
	return err;
}

static void network_restart(struct vm *vm)
{
	vm_adapters_reset(vm->adapters);
}

static void network_unmake(struct vm *vm)
{
	vm_adapters_destroy(vm->adapters);
}

static void network_show(struct vm *vm, struct inspect *at)
{
	vm_adapters_inspect(vm->adapters, at);
}

/* ---- integration components ---- */

static int ic_make(struct vm *vm, int *ret_status, struct diag *reterr)
{
	const struct timesync_config timesync = { 0 };
	struct loop *loop = vm_io_loop(vm, 0);

	(void)ret_status;
	int err = heartbeat_create(0, &vm->heartbeat);

	if (!err) {
		err = shutdown_create(&vm->shutdown);
	}
	if (!err) {
		err = timesync_create(&timesync, &vm->timesync);
	}
	if (err) {
		return no_memory(err, "integration components", reterr);
	}
	err = offer(vm, heartbeat_device(vm->heartbeat), loop, "heartbeat", reterr);
	if (!err) {
		err = offer(vm, shutdown_device(vm->shutdown), loop, "shutdown component", reterr);
	}
	if (!err) {
		err = offer(vm, timesync_device(vm->timesync), loop, "time component", reterr);
	}
	return err;
}

static void ic_unmake(struct vm *vm)
{
	timesync_destroy(vm->timesync);
	shutdown_destroy(vm->shutdown);
	heartbeat_destroy(vm->heartbeat);
}

static void ic_show(struct vm *vm, struct inspect *at)
{
	inspect_string(at, "heartbeat", heartbeat_health_name(heartbeat_health(vm->heartbeat)));
}

/* ---- the table ---- */

const struct vm_device_kind vm_device_kinds[] = {
	{ "chipset", chipset_make, chipset_restart, chipset_unmake, chipset_show },
	{ "board", legacy_make, vm_legacy_reset, vm_legacy_destroy, vm_legacy_inspect },
	{ "serial", serial_make, serial_restart, serial_unmake, serial_show },
	{ "disks", storage_make, storage_restart, storage_unmake, storage_show },
	{ "adapters", network_make, network_restart, network_unmake, network_show },
	{ "integration", ic_make, NULL, ic_unmake, ic_show },
};

const size_t vm_device_kind_count = ARRAY_SIZE(vm_device_kinds);

struct vmbus_device *vm_bus_device(struct vm *vm, size_t n)
{
	struct vmbus_device *devices[3 + VM_CONTROLLERS_MAX + VM_IDE_POSITIONS + VM_NETS_MAX];
	struct vmbus_device *device;
	size_t count = 0;

	while ((device = vm_disks_device(vm->disks, count)) != NULL) {
		devices[count++] = device;
	}
	for (size_t i = 0; (device = vm_adapters_device(vm->adapters, i)) != NULL; i++) {
		devices[count++] = device;
	}
	if (vm->timesync) {
		devices[count++] = heartbeat_device(vm->heartbeat);
		devices[count++] = shutdown_device(vm->shutdown);
		devices[count++] = timesync_device(vm->timesync);
	}
	return n < count ? devices[n] : NULL;
}

void vm_stop_back_ends(struct vm *vm)
{
	vm_disks_stop(vm->disks);
	vm_adapters_stop(vm->adapters);
}

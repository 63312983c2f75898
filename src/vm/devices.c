/* SPDX-License-Identifier: MIT */
/*
 * THE table of devices, in start-up order. There is no other registration: to add a device, add a
 * row, its pointer in vm_internal.h and its words in config.c.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "net/tap.h"
#include "proto/board.h"
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
	const struct chipset_power power = { .ops = &power_ops, .ctx = vm };
	struct irq_line rtc_irq = partition_irq_line(vm->partition, BOARD_RTC_GSI);
	struct irq_line sci = partition_irq_line(vm->partition, BOARD_SCI_GSI);

	(void)ret_status;
	int err = chipset_create(&vm->chipset);

	if (!err) {
		err = rtc_create(vm->chipset, vm->control, BOARD_RTC_PORT, &rtc_irq, &vm->rtc);
	}
	if (!err) {
		err = pm_create(vm->chipset, &sci, &power, &vm->pm);
	}
	if (!err) {
		err = i8042_create(vm->chipset, &power, &vm->i8042);
	}
	return no_memory(err, "chipset", reterr);
}

static void chipset_restart(struct vm *vm)
{
	rtc_reset(vm->rtc);
	pm_reset(vm->pm);
	i8042_reset(vm->i8042);
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
	child = inspect_child(at, "i8042");
	i8042_inspect(vm->i8042, &child);
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
	return no_memory(err, "serial port", reterr);
}

static void serial_restart(struct vm *vm)
{
	uart_reset(vm->uart);
}

static void serial_unmake(struct vm *vm)
{
	uart_destroy(vm->uart);
	serial_destroy(vm->serial);
}

static void serial_show(struct vm *vm, struct inspect *at)
{
	struct serial_stats stats;

	serial_read_stats(vm->serial, &stats);
	inspect_string(at, "back_end", vm->config->serial);
	inspect_u64(at, "written_bytes", stats.written_bytes);
	inspect_u64(at, "dropped_bytes", stats.dropped_bytes);
	inspect_u64(at, "input_bytes", stats.input_bytes);
	uart_inspect(vm->uart, at);
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
	return err;
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

static int back_end_make(const struct vm_net_config *net, struct loop *loop, struct net **ret,
			 struct diag *reterr)
{
	if (net->tap[0]) {
		int fd;
		struct net_tap_config tap = { .fds_take = &fd, .queues = 1, .link_fd_take = -1 };
		int err = net_tap_open(net->tap, 1, &fd, reterr);

		return err ? err : net_tap_create(loop, &tap, ret, reterr);
	}
	struct net_nat_config nat = { .forwards = net->forwards,
				      .forward_count = net->forward_count };

	return net_nat_create(loop, &nat, ret, reterr);
}

static int net_make(struct vm *vm, size_t n, struct diag *reterr)
{
	const struct vm_net_config *net = &vm->config->nets[n];
	/* Adapters begin where the disks' loop ends. */
	struct loop *loop = vm_io_loop(vm, n + (vm->config->disk_count > 0));
	char name[NETVSP_NAME_BYTES_MAX];
	int err = back_end_make(net, loop, &vm->nets[n], reterr);

	if (err) {
		return err;
	}
	snprintf(name, sizeof(name), "net%zu", n);
	struct netvsp_config config = {
		.name = name, .partition = vm->config->name, .mac = net->mac, .net = vm->nets[n]
	};

	err = netvsp_create(&config, &vm->netvsps[n], reterr);
	if (err) {
		return err;
	}
	return offer(vm, netvsp_device(vm->netvsps[n]), loop, "network adapter", reterr);
}

static int network_make(struct vm *vm, int *ret_status, struct diag *reterr)
{
	int err = 0;

	for (size_t i = 0; i < vm->config->net_count && !err; i++) {
		err = net_make(vm, i, reterr);
		*ret_status = err ? VM_STATUS_HOST : *ret_status;
	}
	return err;
}

static void network_unmake(struct vm *vm)
{
	for (size_t i = 0; i < vm->config->net_count; i++) {
		netvsp_destroy(vm->netvsps[i]);
		net_destroy(vm->nets[i]);
	}
}

static void show_fact(void *ctx, const char *name, uint64_t value)
{
	inspect_u64(ctx, name, value);
}

static void network_show(struct vm *vm, struct inspect *at)
{
	for (size_t i = 0; i < vm->config->net_count; i++) {
		const struct net_counters *counters = net_counters(vm->nets[i]);
		const uint8_t *mac = vm->config->nets[i].mac;
		struct inspect item = inspect_item(at, "list");

		inspect_string(&item, "back_end", net_kind(vm->nets[i]));
		inspect_format(&item, "mac", "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
			       mac[2], mac[3], mac[4], mac[5]);
		inspect_bool(&item, "link", net_link_is_up(vm->nets[i]));
		inspect_u64(&item, "sent_frames", counters->sent_frames);
		inspect_u64(&item, "sent_bytes", counters->sent_bytes);
		inspect_u64(&item, "sent_large", counters->sent_large);
		inspect_u64(&item, "send_lost", counters->send_lost);
		inspect_u64(&item, "delivered_frames", counters->delivered_frames);
		inspect_u64(&item, "delivered_bytes", counters->delivered_bytes);
		inspect_u64(&item, "delivered_large", counters->delivered_large);
		inspect_u64(&item, "deliver_lost", counters->deliver_lost);
		net_facts(vm->nets[i], show_fact, &item);
	}
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
	{ "serial", serial_make, serial_restart, serial_unmake, serial_show },
	{ "disks", storage_make, NULL, storage_unmake, storage_show },
	{ "adapters", network_make, NULL, network_unmake, network_show },
	{ "integration", ic_make, NULL, ic_unmake, ic_show },
};

const size_t vm_device_kind_count = ARRAY_SIZE(vm_device_kinds);

struct vmbus_device *vm_bus_device(struct vm *vm, size_t n)
{
	struct vmbus_device *devices[3 + VM_CONTROLLERS_MAX + VM_NETS_MAX], *controller;
	size_t count = 0;

	while ((controller = vm_disks_device(vm->disks, count)) != NULL) {
		devices[count++] = controller;
	}
	for (size_t i = 0; i < vm->config->net_count && vm->netvsps[i]; i++) {
		devices[count++] = netvsp_device(vm->netvsps[i]);
	}
	if (vm->timesync) {
		devices[count++] = heartbeat_device(vm->heartbeat);
		devices[count++] = shutdown_device(vm->shutdown);
		devices[count++] = timesync_device(vm->timesync);
	}
	return n < count ? devices[n] : NULL;
}

/* ---- back ends, on their loops ---- */

struct stop {
	struct loop_work done;
	sem_t stopped;
	bool is_stopped; /* the loop's thread */
	struct net *net;
};

static void on_stopped(struct loop_work *work)
{
	struct stop *stop = container_of(work, struct stop, done);

	stop->is_stopped = true;
	sem_post(&stop->stopped);
}

static void stop_on_loop(void *arg)
{
	struct stop *stop = arg;

	net_detach(stop->net);
	net_stop(stop->net, &stop->done);
}

static void stop_one(struct loop *loop, struct stop *stop)
{
	loop_work_init(&stop->done, on_stopped);
	sem_init(&stop->stopped, 0, 0);
	loop_call(loop, stop_on_loop, stop);
	while (loop_is_here(loop) && !stop->is_stopped) {
		loop_turn(loop); /* its thread was never started */
	}
	while (sem_wait(&stop->stopped) != 0) {
		check(errno == EINTR);
	}
	sem_destroy(&stop->stopped);
}

void vm_stop_back_ends(struct vm *vm)
{
	vm_disks_stop(vm->disks);
	for (size_t i = 0; i < vm->config->net_count; i++) {
		struct stop stop = { .net = vm->nets[i] };

		if (stop.net && !vm->nets_stopped) {
			stop_one(net_loop(stop.net), &stop);
		}
	}
	vm->nets_stopped = true;
}

void vm_pause_adapters(struct vm *vm, bool paused)
{
	for (size_t i = 0; i < vm->config->net_count; i++) {
		(paused ? netvsp_pause : netvsp_resume)(vm->netvsps[i]);
	}
}

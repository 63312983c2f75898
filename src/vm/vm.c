/* SPDX-License-Identifier: MIT */
#include "vm/vm.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"
#include "boot/boot.h"
#include "vm/legacy.h"
#include "vm/disk_card.h"
#include "vm/disk_faces.h"
#include "vm/vga.h"
#include "vm/vm_internal.h"

/* A guest that has reported its crash still writes its last words to the console. */
#define CRASH_GRACE_NS 1000000000ULL

/* How long the end may wait for disks and adapters; then we go without them. */
#define END_LIMIT_NS   (10ULL * 1000 * 1000 * 1000)

/* ---- booting ---- */

unsigned int vm_phys_bits(void)
{
	unsigned int a, b, c, d;

	return __get_cpuid(0x80000008, &a, &b, &c, &d) ? a & 0xff : 36;
}

static int open_image(const char *what, const char *path, int *ret, struct diag *reterr)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		return diag_set(reterr, -errno, "%s %s cannot be opened: %s: give a readable file",
				what, path, strerror(errno));
	}
	if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
		close(fd);
		return diag_set(reterr, -EINVAL, "%s %s is no regular file", what, path);
	}
	*ret = fd;
	return 0;
}

/* Kernel, RAM disk and tables into memory, and VP 0 to their entry. */
static int load_kernel(struct vm *vm, struct diag *reterr)
{
	const struct vm_config *config = vm->config;
	struct boot_config boot = { .kernel_fd = vm->kernel_fd,
				    .initrd_fd = vm->initrd_fd,
				    .kernel_name = config->kernel,
				    .initrd_name = config->initrd,
				    .cmdline = config->cmdline,
				    .vps = config->cpus,
				    .pm_timer = true,
				    .is_legacy = vm_is_legacy(vm),
				    .has_vga = vm->vga,
				    .identity = vm_legacy_identity(config),
				    .fast_unpack = config->unpack_kernel,
				    .cache_dir = config->cache_dir };
	struct boot_entry entry;

	boot_mmio_high(vm->mem, vm_phys_bits(), &boot.mmio_high_gpa, &boot.mmio_high_bytes);
	int err = boot_linux_load(vm->mem, &boot, &entry, reterr);

	if (err) {
		return err;
	}
	struct partition_boot start = {
		.mode = entry.mode == BOOT_LONG64 ? PARTITION_BOOT_LONG : PARTITION_BOOT_PROTECTED,
		.rip = entry.rip,
		.rsp = entry.rsp,
		.rbx = entry.rbx,
		.rsi = entry.rsi,
		.cr3 = entry.cr3,
		.gdt_gpa = entry.gdt_base,
		.gdt_limit = entry.gdt_limit,
	};

	return partition_reset(vm->partition, &start, reterr);
}

static int load_system(struct vm *vm, struct diag *reterr)
{
	const struct partition_boot start = { .mode = PARTITION_BOOT_FIRMWARE };

	return vm->config->kernel ? load_kernel(vm, reterr)
				  : partition_reset(vm->partition, &start, reterr);
}

/* ---- the end ---- */

static void on_device_gone(struct loop_work *work)
{
	struct vm *vm = container_of(work, struct vm, device_gone);
	struct vmbus_device *device;

	/* One after the other: each revoke posts the same work. */
	for (size_t n = 0; (device = vm_bus_device(vm, n)); n++) {
		if (device->channel) {
			bus_revoke(vm->bus, device, &vm->device_gone);
			return;
		}
	}
	if (vm_vga_is_done(vm)) {
		loop_quit(vm->control);
	}
}

static void on_end_limit(struct loop_timer *timer)
{
	struct vm *vm = container_of(timer, struct vm, end_timer);

	log_error("vm", "a disk or an adapter does not come to rest: leaving without it");
	serial_restore_terminal();
	_exit(vm->status);
}

void vm_end(struct vm *vm, int status)
{
	if (vm->state == VM_ENDING) {
		return;
	}
	vm->state = VM_ENDING;
	vm->status = status;
	partition_stop(vm->partition);
	loop_timer_cancel(&vm->end_timer);
	loop_timer_init(&vm->end_timer, vm->control, on_end_limit);
	loop_timer_arm(&vm->end_timer, END_LIMIT_NS);
	vm_adapters_pause(vm->adapters, false);
	vm_disks_give_up(vm->disks); /* what on-error holds would keep channels open */
	bus_resume(vm->bus);         /* a paused channel would not close */
	loop_post(vm->control, &vm->device_gone);
}

/* ---- reset ---- */

static void reset_devices(struct vm *vm)
{
	for (size_t i = 0; i < vm_device_kind_count; i++) {
		if (vm_device_kinds[i].reset) {
			vm_device_kinds[i].reset(vm);
		}
	}
}

/* The bus is quiet: nothing writes guest memory any more. */
static void on_bus_quiet(struct loop_work *work)
{
	struct vm *vm = container_of(work, struct vm, bus_quiet);
	struct diag diag;

	if (vm->state != VM_RESETTING) {
		return; /* it ended meanwhile */
	}
	reset_devices(vm);
	if (load_system(vm, &diag)) {
		log_error("vm", "the guest cannot be started again: %s", diag.text);
		vm_end(vm, VM_STATUS_HOST);
		return;
	}
	vm_legacy_boot(vm);
	vm->resets++;
	if (vm->was_paused) {
		vm->state = VM_PAUSED;
		if (vm->is_paused_for_error) {
			vm_resume(vm); /* what it waited for is over */
		}
		return;
	}
	vm->state = VM_RUNNING;
	bus_resume(vm->bus);
	partition_resume(vm->partition);
}

static void on_reset_asked(struct loop_work *work)
{
	struct vm *vm = container_of(work, struct vm, reset_asked);

	if (vm->state == VM_ENDING || vm->state == VM_RESETTING) {
		return;
	}
	if (vm->config->no_reboot) {
		vm_end(vm, vm->crashes ? VM_STATUS_GUEST_CRASH : VM_STATUS_OK);
		return;
	}
	log_info("vm", "reset");
	vm->was_paused = vm->state == VM_PAUSED;
	vm_disks_reset(vm->disks);
	vm->state = VM_RESETTING;
	partition_pause(vm->partition);
	bus_reset(vm->bus, &vm->bus_quiet);
}

void vm_ask_reset(struct vm *vm)
{
	loop_post(vm->control, &vm->reset_asked);
}

static void on_poweroff_asked(struct loop_work *work)
{
	vm_end(container_of(work, struct vm, poweroff_asked), VM_STATUS_OK);
}

/* ---- pause ---- */

int vm_pause(struct vm *vm)
{
	if (vm->state != VM_RUNNING) {
		return 0;
	}
	partition_pause(vm->partition);
	int err = bus_pause(vm->bus);

	if (err) {
		partition_resume(vm->partition);
		return err;
	}
	vm_adapters_pause(vm->adapters, true);
	vm_faces_pause(vm->disks);
	vm_disk_card_pause(vm->disks);
	vm->state = VM_PAUSED;
	return 0;
}

void vm_resume(struct vm *vm)
{
	if (vm->state == VM_PAUSED) {
		vm_adapters_pause(vm->adapters, false);
		bus_resume(vm->bus);
		vm_disks_resumed(vm->disks);
		vm_faces_resume(vm->disks);
		vm_disk_card_resume(vm->disks);
		partition_resume(vm->partition);
		timesync_sync(vm->timesync);
		vm->state = VM_RUNNING;
		vm->is_paused_for_error = false;
	}
}

/* ---- what the partition says ---- */

static bool on_pio(void *ctx, uint16_t port, bool is_write, void *data, unsigned int bytes,
		   unsigned int count)
{
	return chipset_pio(((struct vm *)ctx)->chipset, port, is_write, data, bytes, count);
}

static bool on_mmio(void *ctx, gpa_t gpa, bool is_write, void *data, unsigned int bytes)
{
	return chipset_mmio(((struct vm *)ctx)->chipset, gpa, is_write, data, bytes);
}

static void on_crash_grace_over(struct loop_timer *timer)
{
	vm_end(container_of(timer, struct vm, end_timer), VM_STATUS_GUEST_CRASH);
}

/* The last lines of the guest's text, which end with the reason; one log line each. */
static void log_crash_text(const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");

		if (length) {
			log_error("guest", "%.*s", (int)length, text);
		}
		text += length + (text[length] == '\n');
	}
}

static void on_crash(struct vm *vm, const struct partition_event *event)
{
	log_error("guest", "VP %u reports a crash: %#llx %#llx %#llx %#llx %#llx", event->vp,
		  (unsigned long long)event->crash[0], (unsigned long long)event->crash[1],
		  (unsigned long long)event->crash[2], (unsigned long long)event->crash[3],
		  (unsigned long long)event->crash[4]);
	if (event->text && event->text[0]) {
		log_crash_text(event->text);
		snprintf(vm->crash_text, sizeof(vm->crash_text), "%s", event->text);
	}
	vm->crashes++;
	if (!loop_timer_is_armed(&vm->end_timer)) {
		loop_timer_init(&vm->end_timer, vm->control, on_crash_grace_over);
		loop_timer_arm(&vm->end_timer, CRASH_GRACE_NS);
	}
}

static void on_event(void *ctx, const struct partition_event *event)
{
	struct vm *vm = ctx;

	if (vm->state == VM_ENDING) {
		return;
	}
	switch (event->kind) {
	case PARTITION_EVENT_RESET:
		vm_ask_reset(vm);
		break;
	case PARTITION_EVENT_CRASH:
		on_crash(vm, event);
		break;
	case PARTITION_EVENT_TRIPLE_FAULT:
		log_error("guest", "triple fault on VP %u", event->vp);
		vm_end(vm, VM_STATUS_GUEST_CRASH);
		break;
	case PARTITION_EVENT_FAILURE:
		log_error("vm", "VP %u cannot go on: %s", event->vp, event->text);
		vm_end(vm, VM_STATUS_HOST);
		break;
	}
}

static const struct partition_ops partition_ops = { .pio = on_pio,
						    .mmio = on_mmio,
						    .on_event = on_event };

/* ---- signals ---- */

static void on_signal(struct loop_watch *watch, uint32_t poll_events)
{
	struct vm *vm = container_of(watch, struct vm, signal_watch);
	struct signalfd_siginfo info;

	(void)poll_events;
	while (read(vm->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		log_info("vm", "signal %u", info.ssi_signo);
		vm_end(vm, 128 + (int)info.ssi_signo);
	}
}

static int watch_signals(struct vm *vm, struct diag *reterr)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	/* Before any thread is made: they all inherit it. */
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	vm->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	int err = vm->signal_fd < 0 ? -errno
				    : loop_watch_start(vm->control, &vm->signal_watch,
						       vm->signal_fd, POLLIN, on_signal);

	return err ? diag_set(reterr, err, "cannot watch for signals: %s", strerror(-err)) : 0;
}

/* ---- life ---- */

/* Whose fault an errno is, for what the user named. */
static int status_of(int err)
{
	switch (-err) {
	case EINVAL:
	case ENOENT:
	case ENOTDIR:
	case EISDIR:
	case EACCES:
	case EPERM:
	case E2BIG:
	case EEXIST:
	case ENOEXEC:
	case ENAMETOOLONG:
	case ELOOP:
	case EBUSY:
		return VM_STATUS_USER;
	default:
		return VM_STATUS_HOST;
	}
}

/*
 * Each virtual processor and each I/O loop may want one of the host's for itself. Where there are
 * fewer, a loop that looks for work keeps a guest from making any.
 */
static bool loops_may_spin(const struct vm *vm)
{
	return vm->config->cpus + vm->config->io_threads <= loop_processors();
}

static int create_loops(struct vm *vm, struct diag *reterr)
{
	int err = loop_create("tabique", &vm->control, reterr);
	bool may_spin = loops_may_spin(vm);

	patience_group_init(&vm->patience);
	while (!err && vm->io_count < vm->config->io_threads) {
		err = loop_create("tabique-io", &vm->io[vm->io_count], reterr);
		if (!err && !may_spin) {
			loop_share_processor(vm->io[vm->io_count], &vm->patience);
		}
		vm->io_count += !err;
	}
	return err;
}

static int create_partition(struct vm *vm, struct diag *reterr)
{
	struct partition_config config = {
		.vps = vm->config->cpus,
		.has_pit = vm_is_legacy(vm),
		.has_vga_hole = vm_is_legacy(vm),
		.kvm_fd = -1,
		.ops = &partition_ops,
		.ops_ctx = vm,
	};
	int err = partition_create(vm->mem, vm->control, &config, &vm->partition, reterr);

	if (err) {
		return err;
	}
	err = bus_create(vm->control, vm->mem, partition_synic(vm->partition), &vm->bus);
	return err ? diag_set(reterr, err, "no memory for VMBus") : 0;
}

static int create_devices(struct vm *vm, int *ret_status, struct diag *reterr)
{
	int err = 0;

	for (size_t i = 0; i < vm_device_kind_count && !err; i++) {
		*ret_status = -1;
		err = vm_device_kinds[i].create(vm, ret_status, reterr);
		if (err && *ret_status < 0) {
			*ret_status = status_of(err);
		}
	}
	return err;
}

static int open_images(struct vm *vm, struct diag *reterr)
{
	int err = vm_legacy_open_firmware(vm, reterr);

	if (!err) {
		err = vm_vga_open(vm, reterr);
	}
	if (!err && vm->config->kernel) {
		err = open_image("kernel", vm->config->kernel, &vm->kernel_fd, reterr);
	}
	if (!err && vm->config->initrd) {
		err = open_image("initrd", vm->config->initrd, &vm->initrd_fd, reterr);
	}
	return err;
}

/* In the order in which mistakes are cheapest to find; the guest's memory comes late. */
static int build(struct vm *vm, int *ret_status, struct diag *reterr)
{
	struct mem_config memory = { .bytes = vm->config->memory_bytes };
	int err = open_images(vm, reterr);

	*ret_status = status_of(err);
	if (err) {
		return err;
	}
	*ret_status = VM_STATUS_HOST;
	err = create_loops(vm, reterr);
	if (!err) {
		err = watch_signals(vm, reterr);
	}
	if (!err) {
		err = mem_create(&memory, &vm->mem, reterr);
		*ret_status = err == -EINVAL ? VM_STATUS_USER : VM_STATUS_HOST;
	}
	if (!err) {
		err = create_partition(vm, reterr);
	}
	if (!err) {
		err = load_system(vm, reterr);
		*ret_status = status_of(err);
	}
	if (!err) {
		err = create_devices(vm, ret_status, reterr);
	}
	if (!err) {
		vm_legacy_boot(vm);
	}
	if (!err && vm->config->control) {
		err = rpc_server_create(vm->control, vm->config->control, vm_verbs, vm_verb_count,
					vm, &vm->rpc, reterr);
		*ret_status = status_of(err);
	}
	return err;
}

int vm_create(const struct vm_config *config, struct vm **ret, int *ret_status, struct diag *reterr)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm) {
		*ret_status = VM_STATUS_HOST;
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	vm->config = config;
	vm->kernel_fd = vm->initrd_fd = vm->signal_fd = -1;
	loop_work_init(&vm->reset_asked, on_reset_asked);
	loop_work_init(&vm->poweroff_asked, on_poweroff_asked);
	loop_work_init(&vm->bus_quiet, on_bus_quiet);
	loop_work_init(&vm->device_gone, on_device_gone);
	int err = build(vm, ret_status, reterr);

	if (err) {
		vm_destroy(vm);
		return err;
	}
	*ret = vm;
	return 0;
}

static int start_threads(struct vm *vm, struct diag *reterr)
{
	for (uint32_t i = 0; i < vm->io_count; i++) {
		int err = loop_start_thread(vm->io[i], reterr);

		if (err) {
			return err;
		}
	}
	return partition_start(vm->partition, reterr);
}

int vm_run(struct vm *vm)
{
	struct diag diag;

	vm->started_ns = loop_now_ns();
	vm->state = VM_RUNNING;
	prctl(PR_SET_NAME, vm->config->name);
	if (start_threads(vm, &diag)) {
		log_error("vm", "%s", diag.text);
		vm_end(vm, VM_STATUS_HOST);
	}
	loop_run(vm->control); /* until on_device_gone() finds no device left */
	vm_verbs_abandon(vm);
	vm_stop_back_ends(vm);
	loop_timer_cancel(&vm->end_timer);
	return vm->status;
}

static void close_fd(int fd)
{
	if (fd >= 0) {
		close(fd);
	}
}

void vm_destroy(struct vm *vm)
{
	if (!vm) {
		return;
	}
	vm_stop_back_ends(vm);
	for (uint32_t i = 0; i < vm->io_count; i++) {
		loop_stop_thread(vm->io[i]);
	}
	rpc_server_destroy(vm->rpc);
	bus_destroy(vm->bus);
	for (size_t i = vm_device_kind_count; i-- > 0;) {
		vm_device_kinds[i].destroy(vm);
	}
	partition_destroy(vm->partition);
	mem_destroy(vm->mem);
	loop_watch_stop(&vm->signal_watch);
	close_fd(vm->signal_fd);
	close_fd(vm->kernel_fd);
	close_fd(vm->initrd_fd);
	for (uint32_t i = 0; i < vm->io_count; i++) {
		loop_destroy(vm->io[i]);
	}
	loop_destroy(vm->control);
	free(vm);
}

int vm_host_check(struct diag *reterr)
{
	return partition_host_check(reterr);
}

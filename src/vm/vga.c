/* SPDX-License-Identifier: MIT */
#include "vm/vga.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fault.h"
#include "base/num.h"
#include "chipset/s3/s3.h"
#include "vm/legacy.h"

#define STACK_BYTES   (256 * KIB)

/* Of an expansion ROM: one unit, and what the card has room for. */
#define ROM_BYTES_MIN 512
#define ROM_BYTES_MAX ((off_t)(64 * KIB))

/* A picture that is being written, by a thread of its own: that may wait for the disk. */
struct dump {
	struct rpc_reply *reply; /* NULL: none is */
	bool is_awaited;         /* the VM's end waits for it */
	pthread_t thread;
	char *path;
	int err; /* the thread's, until it has posted done */
	struct diag diag;
	struct loop_work done;
};

struct vm_vga {
	struct vm *vm;
	struct s3 *s3;
	uint8_t *rom; /* NULL without firmware, which alone would run it */
	size_t rom_bytes;
	struct dump dump;
};

/* ---- its BIOS ---------------------------------------------------------------------------------------- */

static int read_all(int fd, const char *path, uint8_t *rom, size_t bytes, struct diag *reterr)
{
	size_t have = 0;

	while (have < bytes) {
		ssize_t got = pread(fd, rom + have, bytes - have, (off_t)have);

		if (got <= 0) {
			int err = got < 0 ? -errno : -EINVAL;

			return diag_set(reterr, err, "VGA BIOS %s cannot be read: %s", path,
					got < 0 ? strerror(-err) : "it has become shorter");
		}
		have += (size_t)got;
	}
	return 0;
}

static int check_file(int fd, const char *path, size_t *ret_bytes, struct diag *reterr)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		return diag_set(reterr, -EINVAL,
				"VGA BIOS %s is no regular file: install Debian's package seabios "
				"again, or give --vga none",
				path);
	}
	if (st.st_size < ROM_BYTES_MIN || st.st_size > ROM_BYTES_MAX) {
		return diag_set(
			reterr, -EINVAL,
			"VGA BIOS %s has %lld bytes, and one has %d to %lld: install Debian's "
			"package seabios again, or give --vga none",
			path, (long long)st.st_size, ROM_BYTES_MIN, (long long)ROM_BYTES_MAX);
	}
	*ret_bytes = (size_t)st.st_size;
	return 0;
}

int vm_vga_read_rom(const char *path, uint8_t **ret, size_t *ret_bytes, struct diag *reterr)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	auto_free uint8_t *rom = NULL;
	size_t bytes = 0;
	int err;

	if (fd < 0) {
		err = -errno;
		return diag_set(
			reterr, err,
			"VGA BIOS %s cannot be opened: %s: install Debian's package seabios, "
			"or give --vga none",
			path, strerror(-err));
	}
	err = check_file(fd, path, &bytes, reterr);
	if (err) {
		return err;
	}
	rom = fault_alloc(1, bytes);
	if (!rom) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	err = read_all(fd, path, rom, bytes, reterr);
	err = err ? err : s3_check_rom(rom, bytes, reterr);
	if (!err) {
		*ret = steal(rom);
		*ret_bytes = bytes;
	}
	return err;
}

int vm_vga_open(struct vm *vm, struct diag *reterr)
{
	if (vm->config->vga != VM_VGA_S3) {
		return 0;
	}
	vm->vga = fault_alloc(1, sizeof(*vm->vga));
	if (!vm->vga) {
		return diag_set(reterr, -ENOMEM, "no memory");
	}
	vm->vga->vm = vm;
	return vm->config->firmware
		       ? vm_vga_read_rom(VM_VGA_BIOS, &vm->vga->rom, &vm->vga->rom_bytes, reterr)
		       : 0;
}

/* ---- the board's row --------------------------------------------------------------------------------- */

int vm_vga_create(struct vm *vm)
{
	struct vm_vga *vga = vm->vga;
	struct diag diag; /* its ROM has been looked at: what is left says an errno as well */

	if (!vga) {
		return 0;
	}
	const struct s3_config config = {
		.chipset = vm->chipset,
		.bus = vm->pci_bus,
		.devfn = PCI_DEVFN(LEGACY_SLOT_VGA, 0),
		.windows = partition_windows(vm->partition),
		.rom = vga->rom,
		.rom_bytes = vga->rom_bytes,
	};

	return s3_create(&config, &vga->s3, &diag);
}

void vm_vga_reset(struct vm *vm)
{
	if (vm->vga) {
		s3_reset(vm->vga->s3);
	}
}

void vm_vga_destroy(struct vm *vm)
{
	struct vm_vga *vga = vm->vga;

	if (!vga) {
		return;
	}
	check(!vga->dump.reply); /* vm_vga_is_done() was asked */
	s3_destroy(vga->s3);
	free(vga->rom);
	free(steal(vm->vga));
}

void vm_vga_inspect(struct vm *vm, struct inspect *at)
{
	inspect_string(at, "model", vm->vga ? "S3 Trio64" : "none");
	if (vm->vga) {
		inspect_string(at, "bios", vm->vga->rom ? VM_VGA_BIOS : "none");
		s3_inspect(vm->vga->s3, at);
	}
}

/* ---- screendump -------------------------------------------------------------------------------------- */

static void *dump_main(void *arg)
{
	struct vm_vga *vga = arg;
	struct dump *dump = &vga->dump;

	prctl(PR_SET_NAME, "tabique-dump");
	dump->err = s3_screendump(vga->s3, dump->path, &dump->diag);
	loop_post(vga->vm->control, &dump->done);
	return NULL;
}

static void on_dump_done(struct loop_work *work)
{
	struct dump *dump = container_of(work, struct dump, done);
	struct vm_vga *vga = container_of(dump, struct vm_vga, dump);
	struct rpc_reply *reply = steal(dump->reply);

	pthread_join(dump->thread, NULL); /* it has nothing left to do */
	free(steal(dump->path));
	if (dump->err) {
		rpc_reply_error(reply, "%s", dump->diag.text);
	} else {
		rpc_reply_ok_take(reply, NULL);
	}
	if (dump->is_awaited) {
		loop_post(vga->vm->control, &vga->vm->device_gone);
	}
}

static int begin_dump(struct vm_vga *vga, const char *path)
{
	struct dump *dump = &vga->dump;
	pthread_attr_t attr;
	int err;

	dump->path = fault_point() ? NULL : strdup(path);
	if (!dump->path) {
		return -ENOMEM;
	}
	loop_work_init(&dump->done, on_dump_done);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	err = fault_point() ? EAGAIN : pthread_create(&dump->thread, &attr, dump_main, vga);
	pthread_attr_destroy(&attr);
	if (err) {
		free(steal(dump->path));
	}
	return -err;
}

/* What is in the way of a picture now; NULL: nothing. */
static const char *obstacle(const struct vm *vm)
{
	if (!vm->vga) {
		return "This machine has no graphics card: --machine legacy with --vga s3 has one.";
	}
	if (vm->state == VM_ENDING) {
		return "The VM is ending.";
	}
	return vm->vga->dump.reply ? "A screendump is under way: try again." : NULL;
}

void vm_verb_screendump(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	const char *path = json_string_value(json_object_get(request, "file"));
	const char *why = obstacle(vm);
	int err;

	if (!why && (!path || !path[0])) {
		why = "screendump names no file: give file=FILE.png";
	}
	if (why) {
		rpc_reply_error(reply, "%s", why);
		return;
	}
	vm->vga->dump.reply = reply;
	err = begin_dump(vm->vga, path);
	if (err) {
		vm->vga->dump.reply = NULL;
		rpc_reply_error(reply, "%s: cannot be written: no thread for it: %s", path,
				strerror(-err));
	}
}

bool vm_vga_is_done(struct vm *vm)
{
	if (!vm->vga || !vm->vga->dump.reply) {
		return true;
	}
	vm->vga->dump.is_awaited = true;
	return false;
}

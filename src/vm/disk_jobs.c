/* SPDX-License-Identifier: MIT */
/*
 * What takes its time with a disk that a guest is using: removal, resize, eject, change. One at a time
 * for each disk:
 *
 *            begin()                    ends are stopped / the resize is done
 *   IDLE ─────────────► REMOVING, … ─────────────────────────────────────────► finish(): done, IDLE
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "vm/disks_internal.h"

static int begin(struct vm_disk *disk, enum vm_disk_job job, vm_disk_done_fn *done, void *ctx,
		 struct diag *reterr)
{
	static const char *const names[] = { "",         "being removed",     "being resized",
					     "ejecting", "changing its disc", "being closed" };

	if (disk->job != VM_DISK_IDLE) {
		return diag_set(reterr, -EBUSY, "disk %s is %s: try again", disk->config.id,
				names[disk->job]);
	}
	disk->job = job;
	disk->done = done;
	disk->done_ctx = ctx;
	disk->result = 0;
	return 0;
}

static void go_on(struct vm_disks *disks);

static void finish(struct vm_disk *disk)
{
	struct vm_disks *disks = disk->disks;
	vm_disk_done_fn *done = disk->done;
	void *ctx = disk->done_ctx;
	int result = disk->result;

	if (disk->job == VM_DISK_REMOVING) {
		vm_disk_free(disk);
	} else {
		disk->job = VM_DISK_IDLE;
		disk->done = NULL;
		if (scsi_disk_is_ejected(disk->scsi)) {
			loop_post(disk->disks->vm->control, &disk->eject_asked);
		}
	}
	if (done) {
		done(ctx, result);
	}
	go_on(disks); /* what this disk held is given up */
}

void vm_disk_end_job(struct vm_disk *disk)
{
	vm_disk_done_fn *done = disk->done;

	disk->job = VM_DISK_ENDING;
	disk->done = NULL;
	if (done) {
		done(disk->done_ctx, -ECANCELED);
	}
}

void vm_disk_discard(struct vm_disk *disk)
{
	if (disk->medium.count == 0 || !block_loop(disk->medium.ends[0].block)) {
		vm_disk_free(disk);
		return;
	}
	disk->job = VM_DISK_REMOVING;
	vm_disk_stop_ends(disk);
}

/* ---- media -------------------------------------------------------------------------------------- */

/* The new disc is in the drive; the old one has been closed. */
static int insert_next(struct vm_disk *disk, struct diag *reterr)
{
	int err = scsi_disk_set_medium(disk->scsi, block_info(disk->next.ends[0].block), reterr);

	free(steal(disk->config.path));
	if (err) {
		vm_medium_close(&disk->next);
		free(steal(disk->next_path));
		return err;
	}
	disk->config.path = steal(disk->next_path);
	disk->medium = disk->next;
	disk->next.count = 0;
	return 0;
}

/*
 * false: the new disc could not be started, and what did start is being stopped again, so that the
 * drive comes to be empty.
 */
static bool change(struct vm_disk *disk)
{
	struct diag diag;

	disk->result = insert_next(disk, &diag);
	if (disk->result == 0) {
		disk->result = vm_disk_start_ends(disk, &diag);
		if (disk->result) {
			disk->job = VM_DISK_EJECTING;
			vm_disk_stop_ends(disk);
		}
	}
	if (disk->result) {
		log_error("disks", "%s", diag.text);
	}
	return disk->job == VM_DISK_CHANGING;
}

static void take_out(struct vm_disk *disk)
{
	vm_medium_close(&disk->medium);
	if (disk->config.is_dvd) {
		scsi_disk_clear_medium(disk->scsi);
	}
}

static void on_ends_stopped(struct loop_work *work)
{
	struct vm_disk *disk = container_of(work, struct vm_disk, ends_stopped);

	if (!vm_disk_ends_are_stopped(disk)) {
		return;
	}
	take_out(disk);
	atomic_store(&disk->error, 0);
	switch (disk->job) {
	case VM_DISK_CHANGING:
		if (!change(disk)) {
			return;
		}
		vm_disk_announce(disk);
		break;
	case VM_DISK_EJECTING:
		free(steal(disk->config.path));
		vm_disk_announce(disk);
		break;
	case VM_DISK_REMOVING:
		break;
	case VM_DISK_ENDING:
		return; /* vm_disks_stop() looks for itself */
	case VM_DISK_IDLE:
	case VM_DISK_RESIZING:
		check(false); /* they do not stop ends */
	}
	finish(disk);
}

static int check_tray(struct vm_disk *disk, bool force, struct diag *reterr)
{
	if (!disk->config.is_dvd) {
		return diag_set(reterr, -EINVAL,
				"disk %s is no DVD drive: use `disk remove` for disks",
				disk->config.id);
	}
	if (scsi_disk_is_locked(disk->scsi) && !force) {
		scsi_disk_ask_eject(disk->scsi);
		return diag_set(reterr, -EBUSY,
				"the guest has locked drive %s and was asked to let go: unmount "
				"the disc there, or use force=true",
				disk->config.id);
	}
	return 0;
}

int vm_disks_eject(struct vm_disks *disks, const char *id, bool force, vm_disk_done_fn *done,
		   void *ctx, struct diag *reterr)
{
	struct vm_disk *disk;
	int err = vm_disks_find(disks, id, &disk, reterr);

	err = err ? err : check_tray(disk, force, reterr);
	err = err ? err : begin(disk, VM_DISK_EJECTING, done, ctx, reterr);
	if (!err) {
		vm_disk_stop_ends(disk);
	}
	return err;
}

/* The guest took the disc out. When something else is under way, finish() comes back to it. */
static void on_eject_asked(struct loop_work *work)
{
	struct vm_disk *disk = container_of(work, struct vm_disk, eject_asked);
	struct diag diag;

	if (scsi_disk_is_ejected(disk->scsi) &&
	    begin(disk, VM_DISK_EJECTING, NULL, NULL, &diag) == 0) {
		vm_disk_stop_ends(disk);
	}
}

int vm_disks_change(struct vm_disks *disks, const char *id, const char *path, bool force,
		    vm_disk_done_fn *done, void *ctx, struct diag *reterr)
{
	struct vm_disk *disk;
	int err = vm_disks_find(disks, id, &disk, reterr);

	err = err ? err : check_tray(disk, force, reterr);
	err = err ? err : begin(disk, VM_DISK_CHANGING, done, ctx, reterr);
	if (err) {
		return err;
	}
	disk->next_path = strdup(path);
	err = disk->next_path ? vm_medium_open(disk, path, &disk->next, reterr)
			      : diag_set(reterr, -ENOMEM, "no memory");
	if (err) {
		free(steal(disk->next_path));
		disk->job = VM_DISK_IDLE;
		disk->done = NULL;
		return err;
	}
	vm_disk_stop_ends(disk);
	return 0;
}

int vm_disks_remove(struct vm_disks *disks, const char *id, vm_disk_done_fn *done, void *ctx,
		    struct diag *reterr)
{
	struct vm_disk *disk;
	int err = vm_disks_find(disks, id, &disk, reterr);

	if (!err && disk->config.bus != VM_DISK_SCSI && disk->config.bus != VM_DISK_AUTO) {
		err = diag_set(reterr, -EINVAL,
			       "disk %s is on the %s, and stays while the machine runs",
			       disk->config.id,
			       disk->config.bus == VM_DISK_IDE ? "IDE controller" : "Adaptec card");
	}
	err = err ? err : begin(disk, VM_DISK_REMOVING, done, ctx, reterr);
	if (!err) {
		vm_disk_leave(disk);
		vm_disk_stop_ends(disk);
	}
	return err;
}

/* ---- resize ------------------------------------------------------------------------------------- */

static void refresh_on_loop(void *arg)
{
	block_refresh(((struct vm_disk_end *)arg)->block);
}

/* The size below is the new one, or as it was. */
static void on_resized(struct loop_work *work)
{
	struct vm_disk *disk = container_of(work, struct vm_disk, resized);

	if (disk->job != VM_DISK_RESIZING) {
		return; /* the VM ends */
	}
	if (disk->result == 0) {
		vm_disk_each_end(disk, refresh_on_loop);
		scsi_disk_resized(disk->scsi);
		vm_disk_announce(disk);
	}
	finish(disk);
}

static void on_resize_done(struct block_request *request, int result)
{
	struct vm_disk *disk = container_of(request, struct vm_disk, request);

	disk->result = result;
	loop_post(disk->disks->vm->control, &disk->resized);
}

static void submit_resize_on_loop(void *arg)
{
	struct vm_disk *disk = arg;

	block_submit(disk->medium.ends[0].block, &disk->request);
}

int vm_disks_resize(struct vm_disks *disks, const char *id, uint64_t bytes, vm_disk_done_fn *done,
		    void *ctx, struct diag *reterr)
{
	struct vm_disk *disk;
	int err = vm_disks_find(disks, id, &disk, reterr);

	if (!err && disk->config.is_dvd) {
		err = diag_set(reterr, -EINVAL, "disk %s is a DVD drive, whose size is its disc's",
			       id);
	}
	err = err ? err : begin(disk, VM_DISK_RESIZING, done, ctx, reterr);
	if (err) {
		return err;
	}
	if (bytes == 0) {
		loop_post(disks->vm->control, &disk->resized);
		return 0;
	}
	disk->request = (struct block_request){ .op = BLOCK_RESIZE,
						.offset_bytes = bytes,
						.done = on_resize_done };
	loop_call(vm_disk_loop(disk, 0), submit_resize_on_loop, disk);
	return 0;
}

/* ---- errors of the host's storage ---------------------------------------------------------------- */

static void on_error_asked(struct loop_work *work)
{
	struct vm_disk *disk = container_of(work, struct vm_disk, error_asked);
	struct vm *vm = disk->disks->vm;
	int err = atomic_load(&disk->error);

	if (err && (vm->state == VM_ENDING || vm->state == VM_RESETTING)) {
		atomic_store(&disk->error, 0); /* nobody will mend it for this guest */
		vm_disk_give_up(disk);
		err = 0;
	}
	if (!err) {
		return; /* or it has been given up or tried again meanwhile */
	}
	log_error("disks",
		  "disk %s: %s: the VM is paused; mend it, then `tabique ctl … disk retry id=%s`",
		  disk->config.id, strerror(-err), disk->config.id);
	if (vm->state == VM_RUNNING) {
		/* Else it runs on, and only what it asks of this disk waits. */
		vm->is_paused_for_error = vm_pause(vm) == 0;
	}
}

static struct vm_disk *first_in_error(struct vm_disks *disks)
{
	list_for_each (it, &disks->list) {
		struct vm_disk *disk = list_entry(it, struct vm_disk, link);

		if (atomic_load(&disk->error)) {
			return disk;
		}
	}
	return NULL;
}

bool vm_disks_error(struct vm_disks *disks, char *ret, size_t bytes)
{
	const struct vm_disk *disk = first_in_error(disks);

	if (disk) {
		snprintf(ret, bytes, "disk %s: %s", disk->config.id,
			 strerror(-atomic_load(&disk->error)));
	}
	return disk;
}

/* The VM goes on when what it was paused for is over. One that fails again pauses it again. */
static void go_on(struct vm_disks *disks)
{
	if (disks->vm->is_paused_for_error && !first_in_error(disks)) {
		vm_resume(disks->vm);
	}
}

static void retry_on_loop(void *arg)
{
	block_retry(((struct vm_disk_end *)arg)->block);
}

/* The error is forgotten first: a new one may come before the call returns. */
static void retry(struct vm_disk *disk)
{
	atomic_store(&disk->error, 0);
	vm_disk_each_end(disk, retry_on_loop);
}

int vm_disks_retry(struct vm_disks *disks, const char *id, struct diag *reterr)
{
	struct vm_disk *only = NULL;
	int err = id ? vm_disks_find(disks, id, &only, reterr) : 0;

	if (err) {
		return err;
	}
	list_for_each (it, &disks->list) {
		struct vm_disk *disk = list_entry(it, struct vm_disk, link);

		if (!only || disk == only) {
			retry(disk);
		}
	}
	go_on(disks);
	return 0;
}

void vm_disks_retry_all(struct vm_disks *disks)
{
	list_for_each (it, &disks->list) {
		retry(list_entry(it, struct vm_disk, link));
	}
}

/* Channels close, and what they had in flight is given up there (storvsp). */
void vm_disks_reset(struct vm_disks *disks)
{
	list_for_each (it, &disks->list) {
		atomic_store(&list_entry(it, struct vm_disk, link)->error, 0);
	}
	vm_disks_give_up(disks);
}

/* ---- life --------------------------------------------------------------------------------------- */

void vm_disk_jobs_init(struct vm_disk *disk)
{
	loop_work_init(&disk->ends_stopped, on_ends_stopped);
	loop_work_init(&disk->eject_asked, on_eject_asked);
	loop_work_init(&disk->error_asked, on_error_asked);
	loop_work_init(&disk->resized, on_resized);
}

void vm_disk_jobs_fini(struct vm_disk *disk)
{
	struct loop *control = disk->disks->vm->control;

	loop_cancel(control, &disk->ends_stopped);
	loop_cancel(control, &disk->eject_asked);
	loop_cancel(control, &disk->error_asked);
	loop_cancel(control, &disk->resized);
	vm_medium_close(&disk->next);
	free(steal(disk->next_path));
}

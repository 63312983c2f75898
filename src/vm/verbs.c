/* SPDX-License-Identifier: MIT */
/* What the control socket understands. docs/control-socket.md says it to users. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/num.h"
#include "vm/disk_verbs.h"
#include "vm/vga.h"
#include "vm/vm_internal.h"

static const char *state_name(const struct vm *vm)
{
	static const char *const names[] = { "created", "running", "paused", "resetting",
					     "ending" };

	return names[vm->state];
}

json_t *vm_state_answer(const struct vm *vm)
{
	return json_pack("{s:s}", "state", state_name(vm));
}

static void on_status(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	json_t *result = json_object();
	struct inspect at = { result };
	char text[128];

	(void)request;
	inspect_string(&at, "name", vm->config->name);
	inspect_string(&at, "state", state_name(vm));
	if (vm->state == VM_PAUSED && vm_disks_error(vm->disks, text, sizeof(text))) {
		inspect_string(&at, "reason", text);
	}
	inspect_u64(&at, "cpus", vm->config->cpus);
	inspect_u64(&at, "memory_bytes", vm->config->memory_bytes);
	inspect_u64(&at, "uptime_ms", (loop_now_ns() - vm->started_ns) / 1000000);
	inspect_u64(&at, "resets", vm->resets);
	inspect_u64(&at, "crashes", vm->crashes);
	inspect_string(&at, "heartbeat", heartbeat_health_name(heartbeat_health(vm->heartbeat)));
	rpc_reply_ok_take(reply, result);
}

static void inspect_loop(struct inspect *at, const char *name, const struct loop *loop)
{
	struct inspect item = inspect_item(at, "loops");
	struct loop_stats stats;

	loop_read_stats(loop, &stats);
	inspect_string(&item, "name", name);
	inspect_u64(&item, "rounds", stats.rounds);
	inspect_u64(&item, "sleeps", stats.sleeps);
	inspect_u64(&item, "enters", stats.enters);
	inspect_u64(&item, "submissions", stats.submissions);
	inspect_u64(&item, "poll_hits", stats.poll_hits);
	inspect_bool(&item, "patient", stats.is_patient);
}

static void on_inspect(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	json_t *result = json_object();
	struct inspect at = { result }, child;

	(void)request;
	inspect_string(&at, "name", vm->config->name);
	inspect_string(&at, "state", state_name(vm));
	child = inspect_child(&at, "partition");
	partition_inspect(vm->partition, &child);
	child = inspect_child(&at, "vmbus");
	bus_inspect(vm->bus, &child);
	for (size_t i = 0; i < vm_device_kind_count; i++) {
		if (vm_device_kinds[i].inspect) {
			child = inspect_child(&at, vm_device_kinds[i].name);
			vm_device_kinds[i].inspect(vm, &child);
		}
	}
	inspect_loop(&at, "control", vm->control);
	for (uint32_t i = 0; i < vm->io_count; i++) {
		inspect_loop(&at, "io", vm->io[i]);
	}
	rpc_reply_ok_take(reply, result);
}

static void on_pause(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;

	(void)request;
	if (vm->state != VM_RUNNING && vm->state != VM_PAUSED) {
		rpc_reply_error(reply, "The VM is %s and cannot be paused now.", state_name(vm));
		return;
	}
	if (vm_pause(vm)) {
		rpc_reply_error(
			reply,
			"A device is served by another process, which does not give it back: "
			"the VM runs on. See `inspect` for which one.");
		return;
	}
	vm->is_paused_for_error =
		false; /* now it is for the user, too, and `disk retry` leaves it */
	rpc_reply_ok_take(reply, vm_state_answer(vm));
}

static void on_resume(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;

	(void)request;
	if (vm->state != VM_RUNNING && vm->state != VM_PAUSED) {
		rpc_reply_error(reply, "The VM is %s and cannot be resumed now.", state_name(vm));
		return;
	}
	vm_disks_retry_all(vm->disks);
	vm_resume(vm);
	rpc_reply_ok_take(reply, vm_state_answer(vm));
}

static void on_reset(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;

	(void)request;
	vm_ask_reset(vm);
	rpc_reply_ok_take(reply, NULL);
}

static void on_nmi(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;

	(void)request;
	partition_nmi(vm->partition);
	rpc_reply_ok_take(reply, NULL);
}

static void on_power_button(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;

	(void)request;
	pm_press_power_button(vm->pm);
	rpc_reply_ok_take(reply, NULL);
}

static void on_shutdown_done(struct loop_work *work)
{
	struct shutdown_request *request = container_of(work, struct shutdown_request, done);
	struct vm_shutdown *waiting = container_of(request, struct vm_shutdown, request);
	struct rpc_reply *reply = waiting->reply;

	waiting->is_under_way = false;
	waiting->reply = NULL;
	if (!reply) {
		return; /* answered when the VM ended */
	}
	if (request->result) {
		rpc_reply_error(reply, "The guest cannot be shut down: %s.",
				shutdown_result_text(request->result));
		return;
	}
	rpc_reply_ok_take(reply, NULL);
}

static void on_shutdown(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	struct vm_shutdown *waiting = &vm->shutdown_request;
	bool restart = json_is_true(json_object_get(request, "restart"));

	if (waiting->is_under_way || vm->state != VM_RUNNING) {
		rpc_reply_error(reply, waiting->is_under_way
					       ? "A shutdown is under way already."
					       : "The VM is not running: resume it first.");
		return;
	}
	*waiting = (struct vm_shutdown){ .reply = reply, .is_under_way = true };
	waiting->request.kind = restart ? SHUTDOWN_RESTART : SHUTDOWN_POWER_OFF;
	waiting->request.force = true;
	waiting->request.done_loop = vm->control;
	loop_work_init(&waiting->request.done, on_shutdown_done);
	shutdown_submit(vm->shutdown, &waiting->request);
}

void vm_verbs_abandon(struct vm *vm)
{
	struct rpc_reply *reply = vm->shutdown_request.reply;

	vm->shutdown_request.reply = NULL;
	if (reply) {
		/* It went down before its own answer was seen: that is what was asked for. */
		rpc_reply_ok_take(reply, NULL);
	}
}

static void on_quit(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;

	(void)request;
	rpc_reply_ok_take(reply, NULL);
	vm_end(vm, VM_STATUS_OK);
}

const struct rpc_verb vm_verbs[] = {
	{ "status", "name, state, uptime, heartbeat", on_status },
	{ "inspect", "the whole tree: processors, bus, channels, disks, adapters", on_inspect },
	{ "pause", "stop the processors", on_pause },
	{ "resume", "let them run again", on_resume },
	{ "reset", "restart the guest without asking it", on_reset },
	{ "nmi", "send a non-maskable interrupt to every processor", on_nmi },
	{ "powerbutton", "press the ACPI power button", on_power_button },
	{ "shutdown", "ask the guest to power off (restart=true: to restart) in order",
	  on_shutdown },
	{ "screendump", "file=FILE.png: the picture on the screen", vm_verb_screendump },
	{ "quit", "end the VM at once", on_quit },
	{ "disk add", "plug in a disk: the words of --disk", vm_verb_disk_add },
	{ "dvd add", "plug in a DVD drive: the words of --dvd", vm_verb_dvd_add },
	{ "disk remove", "id=ID: take it from the guest and close it", vm_verb_disk_remove },
	{ "disk resize",
	  "id=ID size=SIZE: make it larger (shrink=true: smaller); without size: look again",
	  vm_verb_disk_resize },
	{ "disk eject", "id=ID: take the disc out (force=true: also when the guest has locked it)",
	  vm_verb_disk_eject },
	{ "disk change", "id=ID path=FILE: another disc (force=true as in disk eject)",
	  vm_verb_disk_change },
	{ "disk retry", "try again what on-error=stop holds; id=ID: of one disk",
	  vm_verb_disk_retry },
	{ "disk qos", "id=ID: show its limits, or set iops, bandwidth, iops-burst, bandwidth-burst",
	  vm_verb_disk_qos },
	{ "disk list", "disks, DVD drives and policies with their counters", vm_verb_disk_list },
	{ "net list", "network adapters", vm_verb_net_list },
	{ "net link", "id=ID state=up|down: plug an adapter's cable in, or pull it",
	  vm_verb_net_link },
	{ "policy add", "name=NAME: limits for several disks: the words of --policy",
	  vm_verb_policy_add },
	{ "policy set", "name=NAME: change its limits; only what is named changes",
	  vm_verb_policy_set },
	{ "policy list", "policies with their counters", vm_verb_policy_list },
};

const size_t vm_verb_count = ARRAY_SIZE(vm_verbs);

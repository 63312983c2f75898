/* SPDX-License-Identifier: MIT */
/* What the control socket understands. docs/control-socket.md says it to users. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/num.h"
#include "vm/vm_internal.h"

static const char *state_name(const struct vm *vm)
{
	static const char *const names[] = { "created", "running", "paused", "resetting",
					     "ending" };

	return names[vm->state];
}

static json_t *state_answer(const struct vm *vm)
{
	return json_pack("{s:s}", "state", state_name(vm));
}

static void on_status(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;
	json_t *result = json_object();
	struct inspect at = { result };

	(void)request;
	inspect_string(&at, "name", vm->config->name);
	inspect_string(&at, "state", state_name(vm));
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
	vm_pause(vm);
	rpc_reply_ok_take(reply, state_answer(vm));
}

static void on_resume(void *ctx, const json_t *request, struct rpc_reply *reply)
{
	struct vm *vm = ctx;

	(void)request;
	if (vm->state != VM_RUNNING && vm->state != VM_PAUSED) {
		rpc_reply_error(reply, "The VM is %s and cannot be resumed now.", state_name(vm));
		return;
	}
	vm_resume(vm);
	rpc_reply_ok_take(reply, state_answer(vm));
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
	{ "quit", "end the VM at once", on_quit },
};

const size_t vm_verb_count = ARRAY_SIZE(vm_verbs);

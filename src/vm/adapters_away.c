/* SPDX-License-Identifier: MIT */
/*
 * Adapters on a switch: their NetVSP runs in the switch's process, and what is here is its twin, which
 * serves the guest while that process does not.
 *
 *   unplugged ──vm_away_add()──► home ──AWAY──► away: the switch serves it
 *       ▲                        │  ▲             │
 *       │ by the user            │  └── ORDERLY ──┤  the cable stays in for a while: frames wait
 *       └────────────────────────┘  └── KILLED, ──┘  the cable is out
 *                                       REFUSED
 *
 *   V1  While the twin is away nobody calls its NIC: it has no channel, and its state is the switch's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/guid.h"
#include "base/log.h"
#include "net/away.h"
#include "state/save.h"
#include "vm/adapters_internal.h"
#include "vsp/net/netvsp_loan.h"

#define AREA        "net"
/* The same places as the switch's process finds. */
#define SWITCH_DIR  "/run/tabique/switch"
#define KIND        "net"
#define MISSING_NS  1000000000ULL
/* How much longer than it has said a switch may take to be back. */
#define PATIENCE_NS 2000000000ULL

/* ---- the cable ---- */

struct cable {
	struct vm_adapter *adapter;
	struct net *end;
	bool up;
};

static void set_end_on_loop(void *arg)
{
	const struct cable *cable = arg;

	net_away_set_link(cable->end, cable->up);
}

static void set_nic_on_loop(void *arg)
{
	const struct cable *cable = arg;

	/* It compares also what another process has told the guest. */
	netvsp_set_link(cable->adapter->nic, cable->up);
}

static void ask_on_loop(void *arg)
{
	struct cable *cable = arg;

	cable->up = netvsp_link_wanted(cable->adapter->nic);
}

/* V1: at home. The guest is told when it has been told something else. */
static void set_cable(struct vm_adapter *adapter, bool up)
{
	struct cable cable = { .adapter = adapter, .up = up };

	for (unsigned int n = adapter->end_count; n-- > 0;) {
		cable.end = adapter->ends[n];
		loop_call(net_loop(cable.end), set_end_on_loop, &cable);
	}
	cable.up = adapter->is_link_up;
	loop_call(net_loop(adapter->ends[0]), set_nic_on_loop, &cable);
}

/*
 * The cable stays as it was over there, also for a driver that has just begun; for frames that means:
 * wait.
 */
static void hold_cable(struct vm_adapter *adapter, uint64_t ns)
{
	struct cable cable = { .adapter = adapter };

	loop_call(net_loop(adapter->ends[0]), ask_on_loop, &cable);
	set_cable(adapter, cable.up);
	if (cable.up) {
		loop_timer_arm(&adapter->patience, ns);
	}
}

static bool is_away(const struct vm_adapter *adapter)
{
	return remote_worker_is_away(netvsp_device(adapter->nic));
}

static void on_patience_over(struct loop_timer *timer)
{
	struct vm_adapter *adapter = container_of(timer, struct vm_adapter, patience);

	if (!is_away(adapter)) {
		set_cable(adapter, false);
	}
}

/* ---- what the switch does ---- */

static struct vm_adapter *adapter_of(struct vm_adapters *adapters,
				     const struct vmbus_device *device)
{
	for (size_t i = 0; i < adapters->count; i++) {
		struct vm_adapter *adapter = &adapters->list[i];

		if (adapter->nic && netvsp_device(adapter->nic) == device) {
			return adapter;
		}
	}
	check(false);
	return NULL;
}

static void set_why(struct vm_adapter *adapter, const char *text)
{
	snprintf(adapter->why, sizeof(adapter->why), "%s", text);
}

/* Refusals repeat every second: each is said once. */
static void refused(struct vm_adapter *adapter, const char *text)
{
	if (strcmp(adapter->why, text) != 0) {
		set_why(adapter, text);
		log_warn(AREA, "%s: switch %s does not take it: %s", adapter->name,
			 adapter->config->switch_name, adapter->why);
	}
	set_cable(adapter, false);
}

static void on_event(void *ctx, struct vmbus_device *device, enum remote_event event,
		     uint32_t retry_ms, const char *text)
{
	struct vm_adapter *adapter = adapter_of(ctx, device);
	const char *name = adapter->config->switch_name;

	loop_timer_cancel(&adapter->patience);
	switch (event) {
	case REMOTE_AWAY:
		adapter->was_away = true;
		log_info(AREA, "%s: on port %s of switch %s", adapter->name, adapter->port, name);
		set_why(adapter, "");
		break;
	case REMOTE_HOME_ORDERLY:
		set_why(adapter, text && *text ? text : "taken back for a moment");
		hold_cable(adapter, retry_ms * 1000000ULL + PATIENCE_NS);
		break;
	case REMOTE_HOME_KILLED:
		log_warn(AREA, "%s: switch %s: %s: the link is down until it is back",
			 adapter->name, name, text);
		set_why(adapter, text);
		set_cable(adapter, false);
		break;
	case REMOTE_REFUSED:
		refused(adapter, text);
		break;
	}
}

/* ---- the switch ---- */

/* $TABIQUE_SWITCH_DIR; root's; the user's own. */
static int find_path(const char *name, char *ret, size_t bytes, struct diag *reterr)
{
	const char *chosen = getenv("TABIQUE_SWITCH_DIR"), *base = getenv("XDG_RUNTIME_DIR");
	int n;

	if (chosen && *chosen) {
		n = snprintf(ret, bytes, "%s/%s.vsp", chosen, name);
	} else if (geteuid() != 0 && base && *base) {
		n = snprintf(ret, bytes, "%s/tabique/switch/%s.vsp", base, name);
	} else {
		n = snprintf(ret, bytes, SWITCH_DIR "/%s.vsp", name);
	}
	if (n < 0 || (size_t)n >= bytes) {
		return diag_set(reterr, -ENAMETOOLONG,
				"--net: switch %s has too long a path: set TABIQUE_SWITCH_DIR to "
				"a shorter one",
				name);
	}
	return 0;
}

static void make_uuid(const char *partition, uint8_t ret[16])
{
	char text[VM_NAME_BYTES + 16];
	struct guid guid;

	snprintf(text, sizeof(text), "partition/%s", partition);
	guid_from_name(text, &guid);
	memcpy(ret, guid.bytes, 16);
}

/* One connection for all that are plugged in there. */
static int find_switch(struct vm_adapters *adapters, const char *name, struct vm_switch **ret,
		       struct diag *reterr)
{
	struct vm_switch *at = &adapters->switches[adapters->switch_count];
	struct remote_worker_config config = { .bus = adapters->vm->bus,
					       .path = at->path,
					       .name = adapters->vm->config->name,
					       .on_event = on_event,
					       .ctx = adapters };
	char path[sizeof(at->path)];
	int err = find_path(name, path, sizeof(path), reterr);

	if (err) {
		return err;
	}
	for (size_t i = 0; i < adapters->switch_count; i++) {
		if (strcmp(adapters->switches[i].path, path) == 0) {
			*ret = &adapters->switches[i];
			return 0;
		}
	}
	memcpy(at->path, path, sizeof(path));
	make_uuid(config.name, config.uuid);
	err = remote_worker_create(&config, &at->worker);
	if (err) {
		return diag_set(reterr, err, "--net: switch %s: %s", name, strerror(-err));
	}
	adapters->switch_count++;
	*ret = at;
	return 0;
}

static int lend(struct vm_adapter *adapter)
{
	const struct vm_net_config *net = adapter->config;
	struct netvsp_loan loan = { .has_mac = true,
				    .queues_max = adapter->end_count,
				    .no_rsc = net->no_rsc,
				    .nvsp_max = net->nvsp_max };
	uint8_t bytes[REMOTE_CONFIG_BYTES_MAX];
	struct remote_target target = { .kind = KIND, .port = adapter->port };
	struct save save;
	int err;

	memcpy(loan.name, adapter->name, sizeof(loan.name));
	memcpy(loan.mac, net->mac, NET_MAC_BYTES);
	save_init_fixed(&save, bytes, sizeof(bytes));
	netvsp_loan_build(&loan, &save);
	err = save_finish(&save, &target.config, &target.config_bytes);
	check(err == 0);
	err = remote_worker_add(adapter->at->worker, netvsp_device(adapter->nic), &target);
	save_fini(&save);
	adapter->is_lent = err == 0;
	return err;
}

static void on_removed(struct loop_work *work);

int vm_away_add(struct vm_adapter *adapter, struct diag *reterr)
{
	struct vm_adapters *adapters = adapter->adapters;
	const struct vm_net_config *net = adapter->config;
	int err = find_switch(adapters, net->switch_name, &adapter->at, reterr);

	if (err) {
		return err;
	}
	if (net->switch_port[0]) {
		snprintf(adapter->port, sizeof(adapter->port), "%s", net->switch_port);
	} else {
		snprintf(adapter->port, sizeof(adapter->port), "%s/%s", adapters->vm->config->name,
			 adapter->name);
	}
	loop_timer_init(&adapter->patience, adapters->vm->control, on_patience_over);
	loop_work_init(&adapter->removed, on_removed);
	set_why(adapter, "never plugged in yet");
	if (!loop_timer_is_armed(&adapters->missing)) {
		loop_timer_arm(&adapters->missing, MISSING_NS);
	}
	err = adapter->is_link_up ? lend(adapter) : 0;
	return err ? diag_set(reterr, err, "%s cannot be lent to switch %s: %s", adapter->name,
			      net->switch_name, strerror(-err))
		   : 0;
}

/* ---- the user pulls the cable ---- */

static void plug_in(struct vm_adapter *adapter)
{
	int err = lend(adapter);

	set_cable(adapter, false); /* until the switch says that it is in */
	if (err) {
		set_why(adapter, strerror(-err));
	}
}

static void on_removed(struct loop_work *work)
{
	struct vm_adapter *adapter = container_of(work, struct vm_adapter, removed);

	adapter->is_leaving = adapter->is_lent = false;
	loop_timer_cancel(&adapter->patience);
	set_why(adapter, "its cable is pulled");
	set_cable(adapter, false);
	if (adapter->is_link_up) {
		plug_in(adapter);
	}
}

void vm_away_set_link(struct vm_adapter *adapter)
{
	if (adapter->is_leaving) {
		return; /* on_removed() looks */
	}
	if (adapter->is_link_up && !adapter->is_lent) {
		plug_in(adapter);
	} else if (!adapter->is_link_up && adapter->is_lent) {
		adapter->is_leaving = true;
		remote_worker_remove(adapter->at->worker, netvsp_device(adapter->nic),
				     &adapter->removed);
	}
}

/* ---- life ---- */

/* Once, for those that were not there when the machine began: the guest runs without. */
static void on_missing(struct loop_timer *timer)
{
	struct vm_adapters *adapters = container_of(timer, struct vm_adapters, missing);

	for (size_t i = 0; i < adapters->count; i++) {
		const struct vm_adapter *adapter = &adapters->list[i];

		if (adapter->at && !adapter->was_away &&
		    !remote_worker_has_host(adapter->at->worker)) {
			log_warn(AREA,
				 "%s: there is no switch %s (at %s): the link is down until there "
				 "is",
				 adapter->name, adapter->config->switch_name, adapter->at->path);
		}
	}
}

void vm_away_init(struct vm_adapters *adapters)
{
	loop_timer_init(&adapters->missing, adapters->vm->control, on_missing);
}

void vm_away_stop(struct vm_adapters *adapters)
{
	loop_timer_cancel(&adapters->missing);
	for (size_t i = 0; i < adapters->count; i++) {
		struct vm_adapter *adapter = &adapters->list[i];

		if (!adapter->at) {
			continue;
		}
		loop_timer_cancel(&adapter->patience);
		if (adapter->is_lent && !adapter->is_leaving) {
			remote_worker_remove(adapter->at->worker, netvsp_device(adapter->nic),
					     &adapter->removed);
		}
		loop_cancel(adapters->vm->control, &adapter->removed);
		adapter->is_lent = adapter->is_leaving = false;
	}
	while (adapters->switch_count > 0) {
		struct vm_switch *at = &adapters->switches[--adapters->switch_count];

		remote_worker_destroy(at->worker);
		at->worker = NULL;
	}
}

/* ---- for people ---- */

static const char *where(const struct vm_adapter *adapter)
{
	if (!is_away(adapter)) {
		return adapter->is_lent ? "home" : "unplugged";
	}
	return remote_worker_is_stalled(adapter->at->worker) ? "stalled" : "away";
}

void vm_away_inspect(const struct vm_adapter *adapter, struct inspect *at)
{
	bool is_home = !is_away(adapter);

	inspect_string(at, "switch", adapter->config->switch_name);
	inspect_string(at, "port", adapter->port);
	inspect_string(at, "where", where(adapter));
	if (adapter->why[0]) {
		inspect_string(at, "why", adapter->why);
	}
	if (is_home) {
		inspect_bool(at, "link", adapter->is_link_up && net_link_is_up(adapter->ends[0]));
	}
	if (adapter->at->worker) {
		struct inspect child = inspect_child(at, "connection");

		remote_worker_inspect(adapter->at->worker, &child);
	}
}

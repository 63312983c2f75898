/* SPDX-License-Identifier: MIT */
/*
 * What the files of the data process share. All of it is the control loop's, but where a field says
 * otherwise.
 *
 *   sw.c        life: from HELLO to the end
 *   sw_apply.c  a new configuration takes the place of the old one
 *   sw_wires.c  the host's port, uplinks, NAT as wires
 *   sw_uplinks.c  uplinks' devices that come and go
 *   sw_nat_run.c  what is said to NAT's process, and the wire to it
 *   sw_bindings.c  addresses that DHCP gave, over the end of a process
 *   sw_ports.c  the NICs of guests, which workers lend
 *   sw_ext.c    extensions
 *   sw_rules.c  what rules count
 *   sw_verbs.c  what people ask
 *   sw_state.c  what the next process is left
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "loop/loop.h"
#include "net/linkwatch.h"
#include "net/net.h"
#include "rpc/rpc.h"
#include "switchd/keeper.h"
#include "switchd/sw_config.h"
#include "switchd/sw_policy.h"
#include "vswitch/guard.h"
#include "vswitch/vswitch.h"

struct exts;
struct json_t;
struct load;
struct load_field;
struct port_end;
struct remote_host;
struct save;
struct sw;

#define SW_AREA "switch"

struct sw_wire_end {
	struct sw_wire *wire;
	struct loop *loop;
	struct net *net;
	struct port_end *end;
	struct loop_work detached, stopped; /* on loop */
	int err;
};

/* A way out of the switch: one port of it, with an end on each core. */
struct sw_wire {
	struct list link;
	struct sw *sw;
	uint16_t port;
	uint8_t mode; /* enum sw_uplink_mode, as configured; NAT is none of them */
	bool is_nat, is_xdp;
	int ifindex;     /* with is_xdp: of the device that its sockets are of */
	struct diag why; /* with mode=auto: why it is not AF_XDP */
	char dev[SW_IFNAME_BYTES];
	unsigned int count;
	struct sw_wire_end ends[SW_CORES_MAX];
	bool is_closing;
	bool is_up;                /* the first end: its link */
	bool has_complained;       /* of a device that cannot be opened again */
	struct loop_work returned; /* of packet sockets: the device is there again */
	unsigned int closing;      /* ends that are left */
	struct loop_work advance;  /* the next one of them */
};

/* A binding of a process before, for a port that is not there yet: a worker may bring it. */
struct sw_parked {
	char port[SW_NAME_BYTES];
	int number; /* -1: not there */
	struct guard_binding binding;
};
#define SW_PARKED_MAX ((unsigned int)SW_PORTS_MAX * GUARD_BINDINGS_MAX)

enum sw_end { SW_END_NONE, SW_END_QUIT, SW_END_STOP, SW_END_UPGRADE };

struct sw {
	const char *name;
	int keeper_fd;
	struct loop_watch keeper_watch;
	struct sw_config *config;
	uint64_t started_ns;

	struct loop *control;
	struct loop *loops[SW_CORES_MAX];
	unsigned int loop_count, started_count; /* made; their threads run */
	struct vswitch *vswitch;
	struct loop_work readopt; /* the facts have changed: a new policy */

	struct list wires;          /* struct sw_wire */
	struct sw_uplinks *uplinks; /* sw_uplinks.c's; NULL: there has been none */
	struct list nics;           /* struct sw_nic */
	struct remote_host *host;

	struct exts *exts;

	struct sw_parked *parked; /* parked_count of them; SW_PARKED_MAX fit, or NULL */
	unsigned int parked_count;
	struct loop_timer leave_timer; /* bindings are left with the keeper, in case that we die */
	bool is_leaving_due;

	struct core *first_core; /* of NAT's wire; to be asked on its loop */
	int nat_fd;              /* what is said to NAT's process (natd.h); -1: it is not there */
	struct diag nat_why;     /* NAT is configured and not there: why */
	struct loop_work nat_gone;
	struct loop_timer nat_timer; /* it is looked for again */

	struct rpc_server *rpc;
	struct rpc_verb *verbs;
	size_t verb_count;

	enum sw_end ending;
	struct rpc_reply *end_reply; /* who asked for it; NULL: nobody */
	struct loop_work returned;   /* all that was lent is back */
	struct loop_timer end_timer;
	int listen_vsp, listen_ctl, listen_ext;
};

/* ---- sw.c --------------------------------------------------------------------------------------- */

/* Gives everything back and ends. reply: answered then; may be NULL. */
void sw_end(struct sw *sw, enum sw_end why, struct rpc_reply *reply);

/* ---- sw_apply.c --------------------------------------------------------------------------------- */

/*
 * A new configuration (taken in any case): saved, devices opened, told to the cores; or the old one stays
 * in force and on disk, with a sentence.
 */
MUST_CHECK int sw_apply(struct sw *sw, struct sw_config *config_take, struct diag *reterr);
/* A configuration as the keeper and NAT's process want it: a memory file. A negative errno, with a sentence. */
MUST_CHECK int sw_config_file(const struct sw_config *config, struct diag *reterr);
/* The same at the beginning: what cannot be opened now is only logged, and is missing. */
void sw_apply_first(struct sw *sw);
/* Builds a policy of the configuration and what is plugged in, and hands it to the cores. */
MUST_CHECK int sw_adopt(struct sw *sw, struct diag *reterr);
/* A port that a worker has brought. */
MUST_CHECK int sw_bring_port(struct sw *sw, const char *name, struct diag *reterr);
/* Ports that nobody uses any more are taken off the switch. */
void sw_forget_ports(struct sw *sw);

/* ---- sw_wires.c --------------------------------------------------------------------------------- */

/* Opens what config names and is not open, until one cannot be. */
MUST_CHECK int sw_wires_open(struct sw *sw, const struct sw_config *config, struct diag *reterr);
/* All of them: what cannot be opened is logged, and is missing. */
void sw_wires_open_all(struct sw *sw);
/* The way to NAT, of them, if it is configured and not open; else it is tried again. */
void sw_wires_open_nat(struct sw *sw);
/* A device of an uplink is there and up, perhaps another one of its name: it is opened, if need be. */
void sw_wires_device_is_there(struct sw *sw, const char *dev, int ifindex);
/* Closes those that config does not name. */
void sw_wires_close(struct sw *sw, const struct sw_config *config);
/* Asks its first end for its link. */
void sw_wire_look(struct sw_wire *wire);
bool sw_wires_link(const struct sw *sw, uint16_t port);
const struct sw_wire *sw_wire_at(const struct sw *sw, uint16_t port); /* NULL: none */

/* ---- sw_uplinks.c ------------------------------------------------------------------------------- */

/* The devices that config names are watched from now on, and no others. Before they are opened. */
void sw_uplinks_watch(struct sw *sw, const struct sw_config *config);
/* 0: there is none of this name, or it is not watched. */
int sw_uplinks_ifindex(const struct sw *sw, const char *dev);
void sw_uplinks_end(struct sw *sw);

/* ---- sw_nat_run.c ------------------------------------------------------------------------------- */

/* When loops and tables are there. */
void sw_nat_init(struct sw *sw);
/* At the end: NAT's process is not looked for any more. It stays. */
void sw_nat_end(struct sw *sw);
/*
 * Asks the keeper for NAT's process, and that to be as sw->config says. *ret_fd: where frames go, a
 * pipe's (net/pipe.h).
 */
MUST_CHECK int sw_nat_connect(struct sw *sw, int *ret_fd, struct diag *reterr);
/* On `loop`: the wire to it. fd is taken. */
MUST_CHECK int sw_nat_make(struct sw *sw, struct loop *loop, int fd_take, struct net **ret,
			   struct diag *reterr);
/* NAT is turned off: its wire is about to close. */
void sw_nat_disconnect(struct sw *sw);
/* It could not be had, and why: try again by and by. */
void sw_nat_look_again(struct sw *sw, int err, const struct diag *why);
/*
 * From before to sw->config. Says no with a sentence, and then all is as before: a port of the host is
 * taken.
 */
MUST_CHECK int sw_nat_change(struct sw *sw, const struct sw_config *before, struct diag *reterr);
int sw_nat_leases(struct sw *sw, const struct json_t *request, struct json_t *result,
		  struct diag *reterr);
int sw_nat_show(struct sw *sw, const struct json_t *request, struct json_t *result,
		struct diag *reterr);

/* ---- sw_ports.c --------------------------------------------------------------------------------- */

MUST_CHECK int sw_ports_create(struct sw *sw, struct diag *reterr);
void sw_ports_destroy(struct sw *sw);
/* Everything is given back to the workers; sw->returned is posted. upgrade: they may come again soon. */
void sw_ports_return_all(struct sw *sw, bool is_upgrade);
/* The NIC at this port goes back to its worker, if there is one. */
void sw_ports_return(struct sw *sw, uint16_t port, const char *why);
bool sw_ports_has(const struct sw *sw, uint16_t port);
/* Facts of a port for people: partition, address, queues. */
void sw_ports_describe(const struct sw *sw, uint16_t port, struct json_t *json);
/* The link of each NIC as the configuration has it. */
void sw_ports_set_links(struct sw *sw);

/* ---- sw_ext.c ------------------------------------------------------------------------------------ */

/* Listens at listen_ext. */
MUST_CHECK int sw_ext_create(struct sw *sw, struct diag *reterr);
/* What extensions want at each port, into a policy that is sealed anew. */
void sw_ext_add_stages(const struct sw *sw, struct policy *policy);
/* After its settings have changed, the one that request names comes again. */
void sw_ext_reconnect(struct sw *sw, const struct json_t *request);
int sw_show_exts(struct sw *sw, const struct json_t *request, struct json_t *result,
		 struct diag *reterr);

/* ---- sw_verbs.c --------------------------------------------------------------------------------- */

MUST_CHECK int sw_verbs_create(struct sw *sw, struct diag *reterr);
void sw_verbs_destroy(struct sw *sw);

/* ---- sw_tables.c of the cores: FDB, groups, flows, rules (sw_show.c) ----------------------------- */

int sw_show_fdb(struct sw *sw, const struct json_t *request, struct json_t *result,
		struct diag *reterr);
int sw_flush_fdb(struct sw *sw, const struct json_t *request, struct json_t *result,
		 struct diag *reterr);
int sw_show_groups(struct sw *sw, const struct json_t *request, struct json_t *result,
		   struct diag *reterr);
int sw_show_flows(struct sw *sw, const struct json_t *request, struct json_t *result,
		  struct diag *reterr);
int sw_show_stats(struct sw *sw, const struct json_t *request, struct json_t *result,
		  struct diag *reterr);
/* The configured addresses into all FDBs, and those of `before` out of them (NULL: none). */
void sw_set_statics(struct sw *sw, const struct sw_config *before);

/* ---- sw_bindings.c ------------------------------------------------------------------------------ */

/* Fields of the state, one for each binding that was snooped, parked ones too. */
void sw_bindings_save(struct sw *sw, struct save *save, uint16_t tag);
/* One of them, written elapsed_s ago: parked. */
void sw_binding_load(struct sw *sw, struct load *load, const struct load_field *field,
		     uint32_t elapsed_s);
/* What is parked for ports that are there now is in force again. */
void sw_bindings_restore(struct sw *sw);

/* ---- sw_rules.c --------------------------------------------------------------------------------- */

/* Rules with their counters, over all ports or (port=) as that one has them. */
int sw_show_rules(struct sw *sw, const struct json_t *request, struct json_t *result,
		  struct diag *reterr);
int sw_zero_rules(struct sw *sw, const struct json_t *request, struct json_t *result,
		  struct diag *reterr);
/* Fields of the state: what each rule has counted at each port; and one of them. */
void sw_rules_save(const struct sw *sw, struct save *save, uint16_t tag);
void sw_rule_load(struct sw *sw, struct load *load, const struct load_field *field);

/* ---- sw_state.c --------------------------------------------------------------------------------- */

/* What the next process must know, in a memfd; or a negative errno. Not everything: what is true for long. */
MUST_CHECK int sw_state_save(struct sw *sw, bool everything);
/* Numbers and automatic ports of the process before: into sw->config, before there are ports. */
void sw_state_load_names(struct sw *sw, const void *bytes, size_t length);
/* And what it had learned, when they are there. */
void sw_state_load_tables(struct sw *sw, const void *bytes, size_t length);

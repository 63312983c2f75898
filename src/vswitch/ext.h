/* SPDX-License-Identifier: MIT */
/*
 * Extensions: processes that look at, change, drop or forward frames (proto/vsext.h), as the switch
 * sees them. The switch depends on none of them: frames that one does not answer in time go on or are
 * dropped, as is configured, and who speaks nonsense is disconnected.
 *
 *   control loop   ext.c       accepts, reads HELLO, tells ports, removes who has gone or spoke nonsense
 *     │ loop_call()
 *     ▼
 *   each core      ext_core.c  hooks of the pipeline: who must see a frame
 *                  ext_half.c  one extension's memory on one core: slots, rings, deadlines
 *
 * Invariants:
 *   X1  A core never waits: no slot, or an extension that is suspended, is decided at once.
 *   X2  The bytes of a frame that is held are in memory that the extension can only read, and all else
 *       about it in memory that it does not have. From the extension's own memory an answer is copied
 *       once, changed bytes once; then they are checked.
 *   X3  Frames that one core gave to one extension go on in that order, whatever the order of the answers.
 *   X4  A slot is either free, or held (waits for an answer, which is waited for), or lent (nobody waits
 *       any more, but the extension may still look at it): it is free again only after its answer.
 *
 *   owner   the switch process (or a test)   thread  the control loop, unless it says otherwise
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/check.h"
#include "base/diag.h"
#include "loop/loop.h"
#include "proto/vsext.h"
#include "vswitch/core.h"
#include "vswitch/vswitch.h"

#define EXTS_MAX            16U /* connections, those that have not said HELLO yet included */
#define EXT_DEADLINE_NS     20000000ULL
#define EXT_DEADLINE_MAX_NS 1000000000ULL
#define EXT_MISSES_MAX      3U /* in EXT_WINDOW_NS: then it is not asked for EXT_SUSPENDED_NS */
#define EXT_WINDOW_NS       1000000000ULL
#define EXT_SUSPENDED_NS    1000000000ULL
#define EXT_HELLO_NS        5000000000ULL /* to say it */

struct exts;

/* What holds for one extension. */
struct ext_rules {
	bool drops_on_failure; /* what has no answer; else it goes on (a forwarder's: by the tables) */
	uint32_t
		position; /* among filters: smaller ones come first on the way in, last on the way out */
	uint64_t deadline_ns; /* 1 to EXT_DEADLINE_MAX_NS; 0: EXT_DEADLINE_NS */
};

/* Told on the control loop. All optional. */
struct exts_events {
	/*
	 * May this one connect? uid: of the process. Fills rules (zeroes before). 0, or a negative errno and
	 * a sentence, which the extension is told. Without it: anyone, by the defaults.
	 */
	int (*admit)(void *ctx, const char *name, enum vsext_kind kind, uid_t uid,
		     struct ext_rules *rules, struct diag *reterr);
	/* exts_stages() is another: a policy that says so should be adopted. Not from within a call here. */
	void (*stages_changed)(void *ctx);
};

struct exts_config {
	struct vswitch *vswitch;
	struct loop *control;
	int listen_fd;                    /* SOCK_SEQPACKET, listens; taken, also when it fails */
	const struct exts_events *events; /* NULL: nobody listens */
	void *ctx;
};

/* ---- life -------------------------------------------------------------------------------------- */

/* 0, -ENOMEM. */
MUST_CHECK int exts_create(const struct exts_config *config, struct exts **ret);

/*
 * All of them are disconnected, what they held goes on or is dropped. Cores' loops run, and their policy
 * may still have the hooks: they do nothing any more.
 */
void exts_stop(struct exts *exts);

/* Stopped, and no policy in force has the hooks. NULL is fine. */
void exts_destroy(struct exts *exts);

/* ---- for who builds policies ------------------------------------------------------------------- */

/* policy.ext; policy.ext_ctx is the struct exts. */
extern const struct ext_hooks exts_hooks;

/* port_policy.ext of a port: PORT_EXT_* that some extension wants there. */
uint8_t exts_stages(const struct exts *exts, uint16_t port);

/* Ports have been added, removed, plugged in, or their links have changed: extensions are told. */
void exts_ports_changed(struct exts *exts);

/* ---- for verbs --------------------------------------------------------------------------------- */

struct ext_info {
	char name[VSEXT_NAME_BYTES];
	enum vsext_kind kind;
	uid_t uid;
	pid_t pid;
	struct ext_rules rules;
	bool is_suspended; /* on some core */
	uint64_t asked;    /* frames that it was shown */
	uint64_t passed, dropped, changed, sent;
	uint64_t full;     /* frames that there was no room for */
	uint64_t late;     /* not answered in time */
	uint64_t bypassed; /* while it was suspended */
	uint64_t bad;      /* answers that made no sense */
	uint64_t held;     /* at present */
};
typedef void ext_info_fn(void *ctx, const struct ext_info *info);

/* In the order of filters; connections without HELLO are none. */
void exts_each(const struct exts *exts, ext_info_fn *fn, void *ctx);

/* Disconnects all of that name; how many. */
unsigned int exts_remove(struct exts *exts, const char *name);

/* SPDX-License-Identifier: MIT */
/*
 * Where the files of a switch are, and its configuration in one of them.
 *
 * For root: /var/lib/tabique/switch/NAME.json, and sockets in /run/tabique/switch. For others
 * $XDG_STATE_HOME/tabique/switch (~/.local/state) and $XDG_RUNTIME_DIR/tabique/switch. With
 * TABIQUE_SWITCH_DIR both are in that directory.
 *
 *   owner   the caller   thread  any one
 */
#pragma once

#include <stddef.h>

#include "base/check.h"
#include "base/diag.h"
#include "switchd/sw_config.h"

#define SW_PATH_BYTES 108 /* what fits into a socket's address, its end included */

enum sw_path {
	SW_PATH_CONFIG, /* NAME.json */
	SW_PATH_VSP,    /* NAME.vsp: workers */
	SW_PATH_CTL,    /* NAME.ctl: verbs */
	SW_PATH_EXT,    /* NAME.ext: extensions */
	SW_PATH_LOCK,   /* NAME.lock: held by who runs the switch */
	SW_PATH_STATE, /* NAME.state: what one that has ended leaves for when it is started again */
	SW_PATH_LEASES, /* NAME.leases, beside NAME.json: of NAT's clients */
	SW_PATH_LOG,    /* NAME.log: what one that `tabique switch` has started says */
	SW_PATH_DEVICES, /* NAME.devices, beside NAME.json: what of the host it may have (sw_devices.h) */
};

/* name NULL: the directory. -ENAMETOOLONG, -ENOENT (no such place for this user) with a sentence. */
MUST_CHECK int sw_path(enum sw_path which, const char *name, char ret[SW_PATH_BYTES],
		       struct diag *reterr);

/* Makes both directories, for their owner only. */
MUST_CHECK int sw_path_make(struct diag *reterr);

/*
 * The file's configuration. -ENOENT: there is no such switch; -EINVAL: the file is broken, and is left
 * as it is; another errno. Each with a sentence.
 */
MUST_CHECK int sw_file_load(const char *name, struct sw_config **ret, struct diag *reterr);

/*
 * Replaces the file by a new one, which is on stable storage before it has the name: after a crash it is
 * the old or the new one.
 */
MUST_CHECK int sw_file_save(const struct sw_config *config, struct diag *reterr);
/* The same with a text that is one. */
MUST_CHECK int sw_file_save_text(const char *name, const char *text, size_t bytes,
				 struct diag *reterr);

/* Replaces the file of leases: after a crash it is the old or the new one, or nothing worth reading. */
MUST_CHECK int sw_file_save_leases(const char *name, const char *bytes, size_t length,
				   struct diag *reterr);

/* Replaces the list of devices, as the configuration. */
MUST_CHECK int sw_file_save_devices(const char *name, const char *text, size_t bytes,
				    struct diag *reterr);

/* Removes it, the list of devices, the leases, and what its process has left. -ENOENT and others, with a sentence. */
MUST_CHECK int sw_file_remove(const char *name, struct diag *reterr);

/* Calls fn for each name that has a file, in no order, until it returns something else than 0. */
typedef int sw_file_fn(void *ctx, const char *name);
MUST_CHECK int sw_file_each(sw_file_fn *fn, void *ctx, struct diag *reterr);

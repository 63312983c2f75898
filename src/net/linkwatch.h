/* SPDX-License-Identifier: MIT */
/*
 * What happens to the host's network interfaces: up, down, gone, back again. An entry is for a name;
 * while an interface of this name exists it is followed by its index (also when it is renamed), and
 * when it has been removed the next one of that name is taken for the same.
 *
 *   owner   a back end or a switch   thread  its loop
 *   spec    rtnetlink(7): RTM_NEWLINK, RTM_DELLINK, group RTNLGRP_LINK
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "base/diag.h"
#include "base/list.h"
#include "loop/loop.h"

struct linkwatch;
struct linkwatch_entry;

/* An interface as it is now. */
struct linkwatch_link {
	int ifindex;  /* 0: there is none of this name */
	bool up;      /* by its administrator */
	bool running; /* and has a carrier: packets pass */
	uint32_t mtu;
};

/* Something above has changed. From the loop; the entry may be removed here. */
typedef void linkwatch_fn(struct linkwatch_entry *entry, const struct linkwatch_link *link);

/* Embedded in who wants to know. */
struct linkwatch_entry {
	struct list link; /* the watch's */
	linkwatch_fn *fn;
	char name[IFNAMSIZ];
	struct linkwatch_link now;
	uint32_t seen; /* the watch's */
};

/*
 * A netlink socket that hears of interfaces of the network namespace of who calls. Its descriptor, or
 * a negative errno with a sentence.
 */
MUST_CHECK int linkwatch_open(struct diag *reterr);

/* fd: of linkwatch_open(), taken over (also on failure); -1: opens one. 0 or a negative errno. */
MUST_CHECK int linkwatch_create(struct loop *loop, int fd_take, struct linkwatch **ret,
				struct diag *reterr);

/* Entries are forgotten. NULL is fine. */
void linkwatch_destroy(struct linkwatch *watch);

/*
 * Watches a name (copied; shorter than IFNAMSIZ). entry->now is filled at once and is what the next
 * change is compared with: fn is not called for it.
 */
void linkwatch_add(struct linkwatch *watch, struct linkwatch_entry *entry, const char *name,
		   linkwatch_fn *fn);
/* No-op for an entry that is not (zeroed, removed). */
void linkwatch_remove(struct linkwatch_entry *entry);

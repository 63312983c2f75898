/* SPDX-License-Identifier: MIT */
/*
 * Storage quality of service: maxima of operations and of bytes per second, per disk or shared by
 * several disks.
 *
 * Operations are counted as Hyper-V counts them, normalized: each begun 8 KiB of a transfer is one, and a
 * transfer of nothing (discard, write zeroes) is one; flushes are free. A policy is two token buckets that refill
 * continuously; its burst is how much they hold. Disks that share a policy take turns, request by
 * request, so that one that floods does not starve another.
 *
 *   owner   the caller; it outlives the blocks that use it   thread  any
 */
#pragma once

#include <stdint.h>

#include "base/check.h"
#include "block/block.h"

#define QOS_NORMAL_BYTES 8192ULL

struct qos_policy;

struct qos_limits {
	uint64_t iops;        /* normalized operations per second; 0: no limit */
	uint64_t iops_burst;  /* operations at once after a rest; 0: a tenth of a second's */
	uint64_t bytes_per_s; /* 0: no limit */
	uint64_t bytes_burst; /* 0: a tenth of a second's */
};

struct qos_stats {
	uint64_t operations; /* normalized, let through */
	uint64_t bytes;
	uint64_t delayed; /* requests that had to wait */
	uint64_t waiting; /* now */
};

MUST_CHECK int qos_policy_create(const struct qos_limits *limits, struct qos_policy **ret);
/* No block uses it any more. NULL is fine. */
void qos_policy_destroy(struct qos_policy *policy);

/* In force at once, also for those that wait. */
void qos_policy_set(struct qos_policy *policy, const struct qos_limits *limits);
void qos_policy_read(struct qos_policy *policy, struct qos_limits *ret_limits,
		     struct qos_stats *ret_stats);

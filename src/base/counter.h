/* SPDX-License-Identifier: MIT */
/*
 * Counters that one thread writes and any may read: no locked instruction, no tearing. Each read is
 * exact; several together are a snapshot only roughly.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic(uint64_t) counter_u64;

/* The counter's one writer. */
static inline void counter_add(counter_u64 *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

/* Any thread. */
static inline uint64_t counter_read(const counter_u64 *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

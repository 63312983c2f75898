/* SPDX-License-Identifier: MIT */
/*
 * Token buckets: so many bytes, or frames, a second, and so many at once. A bucket is shared by
 * cores: each has a share that takes a quantum (what the rate allows in BUCKET_QUANTUM_NS) by one
 * atomic operation, and spends it without any.
 *
 * What a bucket is: the time due_ns at which all that was handed out is paid for. It never lies
 * further back than the burst; a quantum moves it on by what it costs, and not beyond now. So one
 * word is the whole state.
 *
 *   B1  Over any time t no more than rate × t + burst + one quantum for each share is spent, and
 *       one amount that is larger than the burst (it goes when the bucket is full, and is paid
 *       for afterwards).
 *   B2  Rates from 1 to BUCKET_RATE_MAX and bursts to BUCKET_BURST_MAX do not overflow.
 *
 *   owner   the bucket: who limits (a port); a share: a core   thread  bucket_*(bucket) any, a
 *   share its core's
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"

#define BUCKET_RATE_MAX   (400ULL * 1000 * 1000 * 1000 / 8) /* 400 Gbit/s in bytes */
#define BUCKET_BURST_MAX  (1ULL << 32)
#define BUCKET_QUANTUM_NS 1000000ULL
#define BUCKET_WAIT_NEVER UINT64_MAX

struct bucket {
	_Atomic(uint64_t) rate;     /* a second; 0: no limit */
	_Atomic(uint64_t) burst_ns; /* the burst, as time that it takes to earn it */
	_Atomic(uint64_t) due_ns;
};

struct bucket_share {
	struct bucket *bucket;
	uint64_t left;
};

/* Full. rate 0: no limit; above the maxima: the maxima; burst at least 1. now_ns: loop_now_ns(). */
void bucket_init(struct bucket *bucket, uint64_t rate, uint64_t burst, uint64_t now_ns);

/* Changes the limit while cores take from it; what has been earned stays, up to the new burst. Any thread. */
void bucket_set(struct bucket *bucket, uint64_t rate, uint64_t burst);

void bucket_share_init(struct bucket_share *share, struct bucket *bucket);

/*
 * Whether there is that much: then it is spent, else nothing is. For storms and frame rates:
 * false is a drop. amount is below 2^32.
 */
bool bucket_take(struct bucket_share *share, uint64_t amount, uint64_t now_ns);

/*
 * How long until bucket_take(amount) is true, if no other core takes: 0 is now. For a maximum
 * bandwidth: the sender's ring waits for so long.
 */
uint64_t bucket_wait_ns(const struct bucket_share *share, uint64_t amount, uint64_t now_ns);

/* What was taken for a frame that then did not go comes back into the share. */
void bucket_give_back(struct bucket_share *share, uint64_t amount);

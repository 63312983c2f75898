/* SPDX-License-Identifier: MIT */
#include "vswitch/bucket.h"

#include "base/num.h"

#define NS_PER_S 1000000000ULL

/* Time that earns this amount; amount is below 2^33, so that the product has 63 bits. */
static uint64_t cost_ns(uint64_t amount, uint64_t rate)
{
	return amount * NS_PER_S / rate;
}

void bucket_set(struct bucket *bucket, uint64_t rate, uint64_t burst)
{
	rate = num_min(rate, BUCKET_RATE_MAX);
	burst = num_min(num_max(burst, 1), BUCKET_BURST_MAX);
	atomic_store_explicit(&bucket->burst_ns, rate ? cost_ns(burst, rate) : 0,
			      memory_order_relaxed);
	atomic_store_explicit(&bucket->rate, rate, memory_order_relaxed);
}

void bucket_init(struct bucket *bucket, uint64_t rate, uint64_t burst, uint64_t now_ns)
{
	bucket_set(bucket, rate, burst);
	/* Full: all of the burst is earned, for due lies that far back. */
	atomic_store_explicit(&bucket->due_ns,
			      now_ns - num_min(now_ns, atomic_load_explicit(&bucket->burst_ns,
									    memory_order_relaxed)),
			      memory_order_relaxed);
}

void bucket_share_init(struct bucket_share *share, struct bucket *bucket)
{
	*share = (struct bucket_share){ .bucket = bucket };
}

/* due as it counts at now: never further back than the burst. */
static uint64_t due_at(uint64_t due, uint64_t burst_ns, uint64_t now_ns)
{
	return num_max(due, now_ns - num_min(now_ns, burst_ns));
}

/* How much to move due on for at least need_ns; 0: there is not that much. */
static uint64_t grant_ns(uint64_t due, uint64_t burst_ns, uint64_t need_ns, uint64_t now_ns)
{
	uint64_t earned = due < now_ns ? now_ns - due : 0;

	if (need_ns <= earned) {
		/* A whole quantum if it is there, so that most frames need no atomic operation. */
		return num_max(need_ns, num_min(earned, BUCKET_QUANTUM_NS));
	}
	/* B1: more than the bucket holds goes when it is full. */
	return need_ns > burst_ns && earned >= num_min(burst_ns, now_ns) ? need_ns : 0;
}

bool bucket_take(struct bucket_share *share, uint64_t amount, uint64_t now_ns)
{
	struct bucket *bucket = share->bucket;
	uint64_t rate = atomic_load_explicit(&bucket->rate, memory_order_relaxed);
	uint64_t burst_ns = atomic_load_explicit(&bucket->burst_ns, memory_order_relaxed);
	uint64_t due, need_ns, granted;

	check(amount <= UINT32_MAX);
	if (rate == 0) {
		return true;
	}
	if (amount <= share->left) {
		share->left -= amount;
		return true;
	}
	/* Rounded up: what is handed out is never more than what is paid for. */
	need_ns = cost_ns(amount - share->left, rate) + 1;
	due = atomic_load_explicit(&bucket->due_ns, memory_order_relaxed);
	do {
		uint64_t from = due_at(due, burst_ns, now_ns);

		granted = grant_ns(from, burst_ns, need_ns, now_ns);
		if (granted == 0) {
			return false;
		}
		if (atomic_compare_exchange_weak_explicit(&bucket->due_ns, &due, from + granted,
							  memory_order_relaxed,
							  memory_order_relaxed)) {
			break;
		}
	} while (true);
	if (granted > need_ns) {
		/* At most a quantum of time, 1e6 ns, by 5e10 a second: 56 bits. */
		share->left += granted * rate / NS_PER_S;
		share->left -= num_min(share->left, amount);
	} else {
		share->left = 0;
	}
	return true;
}

uint64_t bucket_wait_ns(const struct bucket_share *share, uint64_t amount, uint64_t now_ns)
{
	const struct bucket *bucket = share->bucket;
	uint64_t rate = atomic_load_explicit(&bucket->rate, memory_order_relaxed);
	uint64_t burst_ns = atomic_load_explicit(&bucket->burst_ns, memory_order_relaxed);
	uint64_t due, need_ns;

	check(amount <= UINT32_MAX);
	if (rate == 0 || amount <= share->left) {
		return 0;
	}
	due = due_at(atomic_load_explicit(&bucket->due_ns, memory_order_relaxed), burst_ns, now_ns);
	need_ns = num_min(cost_ns(amount - share->left, rate) + 1, burst_ns);
	return due + need_ns > now_ns ? due + need_ns - now_ns : 0;
}

void bucket_give_back(struct bucket_share *share, uint64_t amount)
{
	share->left = num_min(share->left + amount, UINT32_MAX);
}

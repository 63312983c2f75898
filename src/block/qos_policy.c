/* SPDX-License-Identifier: MIT */
/*
 * Token buckets, kept as times: a bucket that is full at full_ns regains what a request takes in the
 * time that its rate needs for it. How far full_ns may lie in the future is the burst.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/num.h"
#include "block/qos_internal.h"

#define NS_PER_S           1000000000ULL
#define QOS_NS_MAX         (1ULL << 60) /* 36 years: longer is not told apart */
#define QOS_BURST_NS       (NS_PER_S / 10)
#define QOS_RATE_EXACT_MAX (1ULL << 33) /* times NS_PER_S it fits; faster ones are rounded */

struct qos_bucket {
	uint64_t rate, burst_ns, full_ns;
};

struct qos_policy {
	/* Any thread: whether the lock has to be taken at all. */
	atomic_bool is_limited;

	pthread_mutex_t lock; /* for all below; nothing is taken under it */
	struct qos_limits limits;
	struct qos_bucket operations, bytes;
	struct list turns;
	struct list members;
	struct qos_stats closed; /* of ends that are gone */
};

/* ---- buckets ---- */

static uint64_t qos_ns(uint64_t amount, uint64_t rate)
{
	while (rate > QOS_RATE_EXACT_MAX) {
		rate >>= 1;
		amount >>= 1;
	}
	if (amount / rate >= QOS_NS_MAX / NS_PER_S) {
		return QOS_NS_MAX;
	}
	return amount / rate * NS_PER_S + amount % rate * NS_PER_S / rate;
}

/* How long until so much may be taken: what is more than the bucket holds needs a full one. */
static uint64_t bucket_wait_ns(const struct qos_bucket *bucket, uint64_t amount, uint64_t now_ns)
{
	uint64_t cost_ns, may_ns;

	if (bucket->rate == 0) {
		return 0;
	}
	cost_ns = qos_ns(amount, bucket->rate);
	may_ns = now_ns + (bucket->burst_ns > cost_ns ? bucket->burst_ns - cost_ns : 0);
	return bucket->full_ns > may_ns ? bucket->full_ns - may_ns : 0;
}

static void bucket_take(struct qos_bucket *bucket, uint64_t amount, uint64_t now_ns)
{
	if (bucket->rate) {
		bucket->full_ns = num_max(bucket->full_ns, now_ns) + qos_ns(amount, bucket->rate);
	}
}

/* What is missing in the bucket stays missing, at the new rate. */
static void bucket_set(struct qos_bucket *bucket, uint64_t rate, uint64_t burst, uint64_t now_ns)
{
	uint64_t missing_ns = bucket->full_ns > now_ns ? bucket->full_ns - now_ns : 0;
	double scaled = 0;

	if (bucket->rate && rate) {
		scaled = (double)missing_ns * (double)bucket->rate / (double)rate;
	}
	missing_ns = scaled < (double)QOS_NS_MAX ? (uint64_t)scaled : QOS_NS_MAX;
	bucket->full_ns = now_ns + missing_ns;
	bucket->rate = rate;
	bucket->burst_ns = burst && rate ? qos_ns(burst, rate) : QOS_BURST_NS;
}

/* ---- turns: under the lock ---- */

static struct qos_waiter *policy_first(const struct qos_policy *policy)
{
	const struct qos_turn *turn = list_first(&policy->turns, struct qos_turn, link);

	return turn ? list_first(&turn->ends, struct qos_waiter, link) : NULL;
}

static uint64_t policy_wait_ns(const struct qos_policy *policy, const struct qos_waiter *waiter,
			       uint64_t now_ns)
{
	return num_max(bucket_wait_ns(&policy->operations, waiter->operations, now_ns),
		       bucket_wait_ns(&policy->bytes, waiter->bytes, now_ns));
}

static void policy_charge(struct qos_policy *policy, const struct qos_waiter *waiter,
			  uint64_t now_ns)
{
	bucket_take(&policy->operations, waiter->operations, now_ns);
	bucket_take(&policy->bytes, waiter->bytes, now_ns);
}

/* Its disk's turn is over: it is the last, if it has others that wait. */
static void policy_remove(struct qos_policy *policy, struct qos_waiter *waiter)
{
	list_remove(&waiter->link);
	list_remove(&waiter->turn->link);
	if (!list_is_empty(&waiter->turn->ends)) {
		list_append(&policy->turns, &waiter->turn->link);
	}
}

/*
 * Lets pass who may now, and wakes them; and who is the first of those that have to wait, so that it
 * looks at the clock. self (or NULL) is not woken. Returns what the first waits.
 */
static uint64_t policy_pump(struct qos_policy *policy, const struct qos_waiter *self)
{
	uint64_t now_ns = loop_now_ns(), wait_ns = 0;
	struct qos_waiter *first;

	while ((first = policy_first(policy)) != NULL) {
		wait_ns = policy_wait_ns(policy, first, now_ns);
		if (wait_ns > 0) {
			break;
		}
		policy_charge(policy, first, now_ns);
		policy_remove(policy, first);
		first->is_granted = true;
		if (first != self) {
			loop_post(first->loop, first->wake);
		}
	}
	if (first && first != self) {
		loop_post(first->loop, first->wake);
	}
	return wait_ns;
}

bool qos_take(struct qos_policy *policy, struct qos_waiter *waiter, uint64_t *ret_wait_ns)
{
	uint64_t now_ns, wait_ns;

	if (!atomic_load_explicit(&policy->is_limited, memory_order_relaxed)) {
		return true;
	}
	now_ns = loop_now_ns();
	pthread_mutex_lock(&policy->lock);
	wait_ns = policy_wait_ns(policy, waiter, now_ns);
	if (!list_is_empty(&policy->turns)) {
		wait_ns = QOS_NO_WAIT; /* whoever is before us wakes us */
	}
	if (wait_ns == 0) {
		policy_charge(policy, waiter, now_ns);
	} else {
		waiter->is_granted = false;
		if (list_is_empty(&waiter->turn->ends)) {
			list_append(&policy->turns, &waiter->turn->link);
		}
		list_append(&waiter->turn->ends, &waiter->link);
	}
	pthread_mutex_unlock(&policy->lock);
	*ret_wait_ns = wait_ns;
	return wait_ns == 0;
}

bool qos_resume(struct qos_policy *policy, struct qos_waiter *waiter, uint64_t *ret_wait_ns)
{
	uint64_t wait_ns;
	bool granted;

	pthread_mutex_lock(&policy->lock);
	wait_ns = policy_pump(policy, waiter);
	granted = waiter->is_granted;
	if (policy_first(policy) != waiter) {
		wait_ns = QOS_NO_WAIT;
	}
	pthread_mutex_unlock(&policy->lock);
	*ret_wait_ns = wait_ns;
	return granted;
}

void qos_leave(struct qos_policy *policy, struct qos_waiter *waiter)
{
	pthread_mutex_lock(&policy->lock);
	if (!waiter->is_granted) {
		policy_remove(policy, waiter);
		policy_pump(policy, NULL);
	}
	pthread_mutex_unlock(&policy->lock);
}

/* ---- life ---- */

void qos_attach(struct qos_policy *policy, struct qos_member *member)
{
	pthread_mutex_lock(&policy->lock);
	list_append(&policy->members, &member->link);
	pthread_mutex_unlock(&policy->lock);
}

static void policy_add(struct qos_stats *sum, const struct qos_counters *counters)
{
	sum->operations += counter_read(&counters->operations);
	sum->bytes += counter_read(&counters->bytes);
	sum->delayed += counter_read(&counters->delayed);
	sum->waiting += counter_read(&counters->waiting);
}

void qos_detach(struct qos_policy *policy, struct qos_member *member)
{
	pthread_mutex_lock(&policy->lock);
	list_remove(&member->link);
	policy_add(&policy->closed, member->counters);
	pthread_mutex_unlock(&policy->lock);
}

void qos_policy_set(struct qos_policy *policy, const struct qos_limits *limits)
{
	uint64_t now_ns = loop_now_ns();

	pthread_mutex_lock(&policy->lock);
	policy->limits = *limits;
	bucket_set(&policy->operations, limits->iops, limits->iops_burst, now_ns);
	bucket_set(&policy->bytes, limits->bytes_per_s, limits->bytes_burst, now_ns);
	atomic_store_explicit(&policy->is_limited, limits->iops || limits->bytes_per_s,
			      memory_order_relaxed);
	policy_pump(policy, NULL);
	pthread_mutex_unlock(&policy->lock);
}

int qos_policy_create(const struct qos_limits *limits, struct qos_policy **ret)
{
	struct qos_policy *policy = fault_alloc(1, sizeof(*policy));

	if (!policy) {
		return -ENOMEM;
	}
	pthread_mutex_init(&policy->lock, NULL);
	list_init(&policy->turns);
	list_init(&policy->members);
	qos_policy_set(policy, limits);
	*ret = policy;
	return 0;
}

void qos_policy_destroy(struct qos_policy *policy)
{
	if (!policy) {
		return;
	}
	check(list_is_empty(&policy->members));
	pthread_mutex_destroy(&policy->lock);
	free(policy);
}

void qos_policy_read(struct qos_policy *policy, struct qos_limits *ret_limits,
		     struct qos_stats *ret_stats)
{
	struct qos_stats sum;

	pthread_mutex_lock(&policy->lock);
	sum = policy->closed;
	list_for_each (it, &policy->members) {
		policy_add(&sum, list_entry(it, struct qos_member, link)->counters);
	}
	*ret_limits = policy->limits;
	pthread_mutex_unlock(&policy->lock);
	*ret_stats = sum;
}

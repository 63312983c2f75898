/* SPDX-License-Identifier: MIT */
#include "base/fault.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned int armed, passed;
static bool fired;

void fault_arm(unsigned int n)
{
	armed = n;
	passed = 0;
	fired = false;
}

unsigned int fault_points(void)
{
	return passed;
}

bool fault_fired(void)
{
	return fired;
}

bool fault_point(void)
{
	if (__builtin_expect(armed == 0, 1)) {
		return false;
	}
	passed++;
	if (passed == armed) {
		fired = true;
		return true;
	}
	return false;
}

void *fault_alloc(size_t count, size_t bytes)
{
	return fault_point() ? NULL : calloc(count, bytes);
}

_Atomic unsigned int fault_stores_left;

void fault_crash(unsigned int n)
{
	fault_stores_left = n;
}

void fault_store_armed(void)
{
	if (--fault_stores_left == 0) {
		kill(getpid(), SIGKILL);
		_exit(127); /* not reached */
	}
}

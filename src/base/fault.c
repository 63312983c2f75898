/* SPDX-License-Identifier: MIT */
#include "base/fault.h"

#include <stdlib.h>

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

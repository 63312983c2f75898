/* SPDX-License-Identifier: MIT */
#include "vswitch/drop.h"

#include "base/check.h"

const char *drop_cause_name(enum drop_cause cause)
{
	static const char *const names[] = {
#define DROP_AS_NAME(constant, name, meaning) [constant] = name,
		DROP_CAUSES(DROP_AS_NAME)
#undef DROP_AS_NAME
	};

	check(cause < DROP_CAUSE_COUNT);
	return names[cause];
}

const char *drop_cause_meaning(enum drop_cause cause)
{
	static const char *const meanings[] = {
#define DROP_AS_MEANING(constant, name, meaning) [constant] = meaning,
		DROP_CAUSES(DROP_AS_MEANING)
#undef DROP_AS_MEANING
	};

	check(cause < DROP_CAUSE_COUNT);
	return meanings[cause];
}

/* SPDX-License-Identifier: MIT */
/* tabique switch capture: a file of its own, for it is no verb of the switch's but an extension. */
#pragma once

#include <stddef.h>

/* name: a switch's, or its socket's path; NULL: none was said. words: KEY=VALUE. The exit status. */
int switch_capture(const char *name, char *const *words, size_t count);

int switch_capture_help(void);

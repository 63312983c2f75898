/* SPDX-License-Identifier: MIT */
/*
 * One sentence for the user, shown as written: what is wrong, with which thing, and the remedy.
 * Functions that can fail through a user's mistake or the host's refusal take a `struct diag
 * *reterr` last and fill it before they return a negative errno.
 */
#pragma once

#define DIAG_BYTES 512

struct diag {
	char text[DIAG_BYTES];
};

/* Fills the sentence and returns err, so that a function can end `return diag_set(...)`. */
__attribute__((format(printf, 3, 4))) int diag_set(struct diag *reterr, int err, const char *fmt,
						   ...);

/* SPDX-License-Identifier: MIT */
/*
 * Release by scope. auto_free and auto_close on a local release it at the end of its block; steal()
 * and steal_fd() hand it on and leave nothing to release. AUTO_DESTROY(type, fn) gives the same to
 * any type whose destroy takes a pointer that may be NULL. And close_fds(), for several at once.
 */
#pragma once

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0) {
		close(*fd);
	}
}

#define auto_free  __attribute__((cleanup(cleanup_free)))
#define auto_close __attribute__((cleanup(cleanup_close)))

/* Defines the cleanup function behind `auto_destroy(name)`; name is a struct's tag. */
#define AUTO_DESTROY(name, destroy)                                                                \
	static inline void cleanup_##name(struct name **p)                                         \
	{                                                                                          \
		destroy(*p);                                                                       \
	}
#define auto_destroy(name) __attribute__((cleanup(cleanup_##name)))

#define steal(p)                                                                                   \
	({                                                                                         \
		typeof(p) stolen_ = (p);                                                           \
		(p) = NULL;                                                                        \
		stolen_;                                                                           \
	})

static inline void close_fds(const int *fds, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		close(fds[i]);
	}
}

static inline int steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

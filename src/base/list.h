/* SPDX-License-Identifier: MIT */
/*
 * Intrusive doubly linked list. The head is a link of its own; an entry that is in no list points
 * at itself, so removal is always allowed.
 */
#pragma once

#include <stdbool.h>

#include "base/num.h"

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(name)                                                                            \
	{                                                                                          \
		&(name), &(name)                                                                   \
	}

static inline void list_init(struct list *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool list_is_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_before(struct list *at, struct list *entry)
{
	entry->prev = at->prev;
	entry->next = at;
	at->prev->next = entry;
	at->prev = entry;
}

static inline void list_append(struct list *head, struct list *entry)
{
	list_insert_before(head, entry);
}

static inline void list_prepend(struct list *head, struct list *entry)
{
	list_insert_before(head->next, entry);
}

static inline void list_remove(struct list *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	list_init(entry);
}

/* All entries, in order, to a head that was not initialized; from is empty then. */
static inline void list_take(struct list *from, struct list *ret)
{
	list_init(ret);
	if (!list_is_empty(from)) {
		*ret = *from;
		ret->next->prev = ret;
		ret->prev->next = ret;
		list_init(from);
	}
}

#define list_entry(ptr, type, member) container_of(ptr, type, member)

/* The first entry, or NULL when there is none. */
#define list_first(head, type, member)                                                             \
	(list_is_empty(head) ? NULL : list_entry((head)->next, type, member))

#define list_for_each(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)

/* The current entry may be removed in the body. */
#define list_for_each_safe(it, head)                                                               \
	for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                  \
	     it = it##_next, it##_next = it->next)

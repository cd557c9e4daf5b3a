// SPDX-License-Identifier: ISC
// A doubly linked list whose links live inside the members.
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *prev;
    struct link *next;
};

// The head is a link too; an empty list points at itself. A zeroed link is in no list.
static inline void list_init(struct link *head)
{
    head->prev = head->next = head;
}
static inline bool list_empty(const struct link *head)
{
    return head->next == head;
}
static inline bool link_in_list(const struct link *l)
{
    return l->next != NULL;
}
static inline void list_insert_before(struct link *at, struct link *l)
{
    l->prev = at->prev;
    l->next = at;
    at->prev->next = l;
    at->prev = l;
}
static inline void list_append(struct link *head, struct link *l)
{
    list_insert_before(head, l);
}
static inline void list_prepend(struct link *head, struct link *l)
{
    list_insert_before(head->next, l);
}
// Harmless on a link that is in no list.
static inline void list_remove(struct link *l)
{
    if (l->next == NULL)
        return;
    l->prev->next = l->next;
    l->next->prev = l->prev;
    l->prev = l->next = NULL;
}

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define list_first(head, type, member)                                                             \
    (list_empty(head) ? NULL : container_of((head)->next, type, member))
// The body may remove the current member.
#define list_each(head, it, type, member)                                                          \
    for (struct link *it##_l = (head)->next, *it##_n = it##_l->next;                               \
         it##_l != (head) && ((it) = container_of(it##_l, type, member)) != NULL;                  \
         it##_l = it##_n, it##_n = it##_l->next)

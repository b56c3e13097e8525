/* base/list.h - an intrusive, circular, doubly linked list. Threads: whatever guards the list that embeds it. */
#ifndef WEIR_BASE_LIST_H
#define WEIR_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct weir_list {
    struct weir_list *prev, *next;
};

#define WEIR_LIST_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))
/* Walks `head`; `next` keeps the way on, so that the body may remove `node`. */
#define WEIR_LIST_EACH(node, following, head)                                                                \
    for (struct weir_list *node = (head)->next, *following = node->next; node != (head);                     \
         node = following, following = node->next)

static inline void weir_list_init(struct weir_list *head)
{
    head->prev = head->next = head;
}

static inline bool weir_list_empty(const struct weir_list *head)
{
    return head->next == head;
}

static inline void weir_list_insert_after(struct weir_list *at, struct weir_list *node)
{
    node->prev = at;
    node->next = at->next;
    at->next->prev = node;
    at->next = node;
}

static inline void weir_list_append(struct weir_list *head, struct weir_list *node)
{
    weir_list_insert_after(head->prev, node);
}

static inline void weir_list_prepend(struct weir_list *head, struct weir_list *node)
{
    weir_list_insert_after(head, node);
}

/* Takes `node` out of its list and leaves it as a list of its own, so that a second removal does no harm. */
static inline void weir_list_remove(struct weir_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    weir_list_init(node);
}

/* Moves all of `from` to the end of `to`; `from` is empty then. */
static inline void weir_list_splice(struct weir_list *to, struct weir_list *from)
{
    if (weir_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    weir_list_init(from);
}

/* Removes and returns the first node; NULL when empty. */
static inline struct weir_list *weir_list_take_first(struct weir_list *head)
{
    struct weir_list *node = head->next;
    if (node == head)
        return NULL;
    weir_list_remove(node);
    return node;
}

#endif

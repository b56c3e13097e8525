#include "base/inbox.h"

static void on_wake(uv_async_t *handle)
{
    (void)handle; /* its only task is to end the poll; the owner drains after each one */
}

int weir_inbox_init(struct weir_inbox *in, uv_loop_t *loop)
{
    int rc = uv_async_init(loop, &in->wake, on_wake);
    if (rc < 0)
        return rc;
    weir_mutex_init(&in->mu, WEIR_RANK_INBOX, "inbox");
    weir_list_init(&in->waiting);
    atomic_init(&in->filled, false);
    atomic_init(&in->parked, false);
    return 0;
}

void weir_inbox_close(struct weir_inbox *in)
{
    uv_close((uv_handle_t *)&in->wake, NULL);
}

void weir_inbox_fini(struct weir_inbox *in)
{
    weir_mutex_fini(&in->mu);
}

static void wake_locked(struct weir_inbox *in)
{
    if (atomic_load(&in->parked) && atomic_exchange(&in->parked, false)) /* the first of a burst wakes */
        uv_async_send(&in->wake);
}

void weir_inbox_post(struct weir_inbox *in, struct weir_message *m)
{
    weir_mutex_lock(&in->mu);
    weir_list_append(&in->waiting, &m->node);
    atomic_store(&in->filled, true);
    wake_locked(in); /* once unlocked, the owner may have delivered the message, and ended because it was the last that it waited for */
    weir_mutex_unlock(&in->mu);
}

bool weir_inbox_drain(struct weir_inbox *in)
{
    if (!atomic_load_explicit(&in->filled, memory_order_acquire))
        return false;
    struct weir_list taken;
    weir_list_init(&taken);
    weir_mutex_lock(&in->mu);
    weir_list_splice(&taken, &in->waiting);
    atomic_store(&in->filled, false);
    weir_mutex_unlock(&in->mu);
    struct weir_list *node;
    while ((node = weir_list_take_first(&taken)) != NULL) {
        struct weir_message *m = WEIR_LIST_ENTRY(node, struct weir_message, node);
        m->deliver(m);
    }
    return true;
}

bool weir_inbox_park(struct weir_inbox *in)
{
    atomic_store(&in->parked, true);
    if (!atomic_load(&in->filled))
        return true;
    atomic_store(&in->parked, false);
    return false;
}

void weir_inbox_unpark(struct weir_inbox *in)
{
    atomic_store(&in->parked, false);
}

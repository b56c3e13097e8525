#include "lua/handler.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/event.h"
#include "core/handler.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/worker.h"
#include "lua/call.h"
#include "lua/log.h"
#include "lua/script.h"
#include "lua/stream_ud.h"

enum { SITES = 16, SITE_TEXT = 200 };

static const uint64_t SITE_PAUSE_NS = WEIR_NS_PER_S, RETRY_NS = WEIR_NS_PER_S;

/* A place that errors come from, told apart by the first line of their message. */
struct site {
    uint64_t hash;    /* 0: unused */
    uint64_t last_ns; /* when it was logged last */
    uint64_t left_out;
};

struct weir_lua_handler {
    struct weir_handler base;
    const struct weir_lua_script *script; /* [const] */
    struct weir_vm_meter meter;
    struct weir_vm *vm;       /* [owner: worker] takes the calls */
    struct weir_list retired; /* [owner: worker] VMs that only end theirs */
    uint64_t retry_ns;        /* [owner: worker] no new VM could be made; not before then again */
    struct site sites[SITES]; /* [owner: worker] */
    struct site replaced;     /* [owner: worker] the log line of a VM that was replaced; no hash */
    struct site unclosed;     /* [owner: worker] that of a stream left open; no hash */
};

static struct weir_lua_handler *handler_of(struct weir_handler *h)
{
    return WEIR_LIST_ENTRY(h, struct weir_lua_handler, base);
}

static int make_vm(struct weir_lua_handler *h, struct weir_vm **ret, struct weir_err *reterr)
{
    struct weir_vm *vm;
    int rc = weir_vm_create(h->script, h->base.seat, &h->meter, &vm, reterr);
    if (rc != WEIR_OK)
        return rc;
    rc = weir_vm_init(vm, reterr);
    if (rc != WEIR_OK) {
        weir_vm_destroy(vm);
        return rc;
    }
    *ret = vm;
    return WEIR_OK;
}

/* --- the log --- */

static uint64_t hash_first_line(const char *text)
{
    uint64_t h = 0xcbf29ce484222325ULL; /* FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/) */
    for (size_t i = 0; i < SITE_TEXT && text[i] != '\0' && text[i] != '\n'; i++)
        h = (h ^ (unsigned char)text[i]) * 0x100000001b3ULL;
    return h | 1;
}

/* The entry of this site, or the one that was silent longest. */
static struct site *find_site(struct weir_lua_handler *h, uint64_t hash)
{
    struct site *oldest = &h->sites[0];
    for (size_t i = 0; i < SITES; i++) {
        if (h->sites[i].hash == hash)
            return &h->sites[i];
        if (h->sites[i].last_ns < oldest->last_ns)
            oldest = &h->sites[i];
    }
    *oldest = (struct site){.hash = hash};
    return oldest;
}

void weir_lua_report_failure(struct weir_vm *vm, const struct weir_call *call, const char *text)
{
    struct site *site = find_site(handler_of(vm->seat->handler), hash_first_line(text));
    uint64_t now = weir_clock_ns();
    if (site->last_ns != 0 && now - site->last_ns < SITE_PAUSE_NS) {
        site->left_out++;
        return;
    }
    char where[128], fields[160];
    weir_lua_log_where(vm, where, sizeof where);
    snprintf(fields, sizeof fields, "{\"event\":%llu,\"events\":%zu,\"worker\":%u,\"left_out\":%llu}",
             (unsigned long long)call->one->id, call->count, vm->seat->worker->index,
             (unsigned long long)site->left_out);
    site->last_ns = now;
    site->left_out = 0;
    if (call->reason == WEIR_REASON_MEMORY)
        weir_log(WEIR_LOG_ERROR, where, fields, "%s: %s (limits.memory is %zu bytes)", vm->script->file, text,
                 vm->limit);
    else
        weir_log(WEIR_LOG_ERROR, where, fields, "%s", text);
}

/* A warning that a script can bring about with each event: one line a second. */
static void warn_seldom(struct site *site, const char *where, const char *text)
{
    uint64_t now = weir_clock_ns();
    if (site->last_ns != 0 && now - site->last_ns < SITE_PAUSE_NS) {
        site->left_out++;
        return;
    }
    char fields[48];
    snprintf(fields, sizeof fields, "{\"left_out\":%llu}", (unsigned long long)site->left_out);
    weir_log(WEIR_LOG_WARN, where, fields, "%s", text);
    site->last_ns = now;
    site->left_out = 0;
}

void weir_lua_report_open_stream(struct weir_vm *vm)
{
    char where[128];
    weir_lua_log_where(vm, where, sizeof where);
    warn_seldom(&handler_of(vm->seat->handler)->unclosed, where,
                "a handler returned without stream:close(), and the answer was cut");
}

/* --- VMs --- */

void weir_lua_settle(struct weir_vm *vm)
{
    struct weir_lua_handler *h = handler_of(vm->seat->handler);
    if (vm == h->vm || vm->live > 0)
        return;
    weir_list_remove(&vm->node);
    weir_vm_destroy(vm);
}

/* Puts a fresh VM in the place of a broken one. If none can be made the old one goes on: its state is whole,
 * only memory was short. */
static void replace_vm(struct weir_lua_handler *h)
{
    struct weir_err err;
    struct weir_vm *fresh, *old = h->vm;
    uint64_t now = weir_clock_ns();
    if (now < h->retry_ns)
        return;
    char where[128];
    weir_lua_log_where(old, where, sizeof where);
    if (make_vm(h, &fresh, &err) != WEIR_OK) {
        h->retry_ns = now + RETRY_NS;
        weir_log(WEIR_LOG_ERROR, where, NULL,
                 "no new VM could be made in place of one that ran out of memory: %s", err.text);
        return;
    }
    char text[128];
    snprintf(text, sizeof text, "a VM ran out of memory (limits.memory is %zu bytes) and was replaced", old->limit);
    warn_seldom(&h->replaced, where, text);
    h->vm = fresh;
    weir_list_append(&h->retired, &old->node);
    weir_lua_settle(old);
}

static void begin_call(struct weir_lua_handler *h, struct weir_event **evs, size_t n)
{
    if (h->vm->broken)
        replace_vm(h);
    struct weir_call *call = weir_call_take(h->vm, evs, n);
    if (call != NULL) {
        weir_call_start(call);
        return;
    }
    char where[128];
    weir_lua_log_where(h->vm, where, sizeof where);
    weir_log(WEIR_LOG_ERROR, where, NULL, "not enough memory to begin a call (limits.memory is %zu bytes)",
             h->vm->limit);
    for (size_t i = 0; i < n; i++)
        weir_seat_end(h->base.seat, evs[i], WEIR_REASON_MEMORY);
}

/* --- core/handler.h --- */

static void handle(struct weir_handler *base, struct weir_event **evs, size_t n)
{
    struct weir_lua_handler *h = handler_of(base);
    if (!h->vm->takes_batches) {
        for (size_t i = 0; i < n; i++)
            if (weir_seat_begin(base->seat, evs[i]))
                begin_call(h, &evs[i], 1);
        return;
    }
    size_t begun = 0;
    for (size_t i = 0; i < n; i++)
        if (weir_seat_begin(base->seat, evs[i]))
            evs[begun++] = evs[i];
    if (begun > 0)
        begin_call(h, evs, begun);
}

static void cancel_vm(struct weir_vm *vm)
{
    weir_call_cancel_all(vm);
    weir_stream_ud_cut_all(vm);
}

static void cancel(struct weir_handler *base)
{
    struct weir_lua_handler *h = handler_of(base);
    cancel_vm(h->vm);
    WEIR_LIST_EACH(node, following, &h->retired)
    {
        struct weir_vm *vm = WEIR_LIST_ENTRY(node, struct weir_vm, node);
        cancel_vm(vm);
        weir_lua_settle(vm);
    }
}

static void close_handler(struct weir_handler *base)
{
    struct weir_lua_handler *h = handler_of(base);
    while (!weir_list_empty(&h->retired))
        weir_vm_destroy(WEIR_LIST_ENTRY(weir_list_take_first(&h->retired), struct weir_vm, node));
    weir_vm_destroy(h->vm);
    weir_free(h);
}

static size_t memory(const struct weir_handler *base)
{
    const struct weir_lua_handler *h =
        (const struct weir_lua_handler *)(const void *)base; /* base is its first member */
    return atomic_load_explicit(&h->meter.used, memory_order_relaxed);
}

int weir_lua_handler_create(const struct weir_lua_script *script, struct weir_seat *seat,
                            struct weir_handler **ret, struct weir_err *reterr)
{
    static const struct weir_handler_ops ops = {
        .handle = handle, .cancel = cancel, .close = close_handler, .memory = memory};
    struct weir_lua_handler *h = weir_calloc(1, sizeof *h);
    if (h == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", script->file);
    h->base.ops = &ops;
    h->base.seat = seat;
    h->script = script;
    weir_list_init(&h->retired);
    int rc = make_vm(h, &h->vm, reterr);
    if (rc != WEIR_OK) {
        weir_free(h);
        return rc;
    }
    *ret = &h->base;
    return WEIR_OK;
}

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
#include "lua/vms.h"

enum { SITES = 16, SITE_TEXT = 200 };

static const uint64_t SITE_PAUSE_NS = WEIR_NS_PER_S;

/* A place that errors come from, told apart by the first line of their message. */
struct site {
    uint64_t hash;    /* 0: unused */
    uint64_t last_ns; /* when it was logged last */
    uint64_t left_out;
    char *text; /* the first line of what was logged then; NULL: nothing, or there was no memory */
};

struct weir_lua_handler {
    struct weir_handler base;
    struct weir_vms vms;
    struct site sites[SITES]; /* [owner: worker] */
    struct site unclosed;     /* [owner: worker] the log line of a stream left open; no hash */
    struct site replaced;     /* [owner: worker] that of a VM that was replaced; no hash */
    struct site timers;       /* [owner: worker] that of a timer whose function could not begin; no hash */
};

static struct weir_lua_handler *handler_of(struct weir_handler *h)
{
    return WEIR_LIST_ENTRY(h, struct weir_lua_handler, base);
}

/* --- the log --- */

static uint64_t hash_first_line(const char *text)
{
    uint64_t h = 0xcbf29ce484222325ULL; /* FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/) */
    for (size_t i = 0; i < SITE_TEXT && text[i] != '\0' && text[i] != '\n'; i++)
        h = (h ^ (unsigned char)text[i]) * 0x100000001b3ULL;
    return h | 1;
}

static void keep_first_line(struct site *site, const char *text)
{
    size_t len = strcspn(text, "\n");
    weir_free(site->text);
    site->text = weir_strndup(text, len < SITE_TEXT ? len : SITE_TEXT);
}

/* Nothing more will come from this site, or it makes room for another: tells what was left out since its last line. */
static void close_site(struct weir_lua_handler *h, struct site *site, enum weir_log_level level)
{
    if (site->left_out > 0) {
        char where[128], fields[48];
        snprintf(where, sizeof where, "stage %s", h->base.seat->stage->name);
        snprintf(fields, sizeof fields, "{\"left_out\":%llu}", (unsigned long long)site->left_out);
        weir_log(level, where, fields, "again: %s", site->text != NULL ? site->text : "an error that was logged before");
    }
    weir_free(site->text);
    *site = (struct site){.hash = 0};
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
    close_site(h, oldest, WEIR_LOG_ERROR);
    oldest->hash = hash;
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
             call->fiber ? 0ULL : (unsigned long long)call->one->id, call->count, vm->seat->worker->index,
             (unsigned long long)site->left_out);
    site->last_ns = now;
    site->left_out = 0;
    keep_first_line(site, text);
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
    keep_first_line(site, text);
}

void weir_lua_report_open_stream(struct weir_vm *vm, const char *place)
{
    char where[128], text[256];
    weir_lua_log_where(vm, where, sizeof where);
    snprintf(text, sizeof text, "%s: a handler returned without stream:close() of the stream that was started here, and the answer was cut",
             place);
    warn_seldom(&handler_of(vm->seat->handler)->unclosed, where, text);
}

void weir_lua_report_replaced(struct weir_vm *vm, bool doomed)
{
    char where[128], text[160];
    weir_lua_log_where(vm, where, sizeof where);
    if (doomed)
        snprintf(text, sizeof text, "a VM in which a call was ended over its limits was replaced");
    else
        snprintf(text, sizeof text, "a VM ran out of memory (limits.memory is %zu bytes) and was replaced", vm->limit);
    warn_seldom(&handler_of(vm->seat->handler)->replaced, where, text);
}

void weir_lua_report_timer(struct weir_vm *vm, const char *why)
{
    char where[128], text[256];
    weir_lua_log_where(vm, where, sizeof where);
    snprintf(text, sizeof text, "a timer's function could not begin: %s", why);
    warn_seldom(&handler_of(vm->seat->handler)->timers, where, text);
}

/* --- calls --- */

void weir_lua_settle(struct weir_vm *vm)
{
    weir_vms_settle(&handler_of(vm->seat->handler)->vms, vm);
}

static void begin_call(struct weir_vm *vm, struct weir_event **evs, size_t n)
{
    struct weir_call *call = weir_call_take(vm, evs, n);
    if (call != NULL) {
        weir_call_start(call);
        return;
    }
    char where[128], text[96];
    weir_lua_log_where(vm, where, sizeof where);
    snprintf(text, sizeof text, "not enough memory to begin a call (limits.memory is %zu bytes)", vm->limit);
    weir_log(WEIR_LOG_ERROR, where, NULL, "%s", text);
    for (size_t i = 0; i < n; i++)
        weir_seat_end(vm->seat, evs[i], WEIR_REASON_MEMORY, text);
}

static void run_batch(struct weir_lua_handler *h, struct weir_vm *vm, struct weir_event **evs, size_t n)
{
    size_t begun = 0;
    for (size_t i = 0; i < n; i++)
        if (weir_seat_begin(h->base.seat, evs[i]))
            evs[begun++] = evs[i];
    if (begun > 0)
        begin_call(vm, evs, begun);
}

/* Begins what can be begun. Returns how many events it has taken. */
static size_t run_events(struct weir_lua_handler *h, struct weir_event **evs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct weir_vm *vm = weir_vms_pick(&h->vms);
        if (vm == NULL)
            return i;
        if (vm->takes_batches) {
            run_batch(h, vm, evs + i, n - i);
            return n;
        }
        if (weir_seat_begin(h->base.seat, evs[i]))
            begin_call(vm, &evs[i], 1);
    }
    return n;
}

/* --- core/handler.h --- */

static void handle(struct weir_handler *base, struct weir_event **evs, size_t n)
{
    struct weir_lua_handler *h = handler_of(base);
    size_t taken = run_events(h, evs, n);
    if (taken < n)
        weir_seat_give_back(base->seat, evs + taken, n - taken);
}

static void start(struct weir_handler *base)
{
    weir_vms_start(&handler_of(base)->vms);
}

static void cancel(struct weir_handler *base)
{
    weir_vms_cancel(&handler_of(base)->vms);
}

static void close_handler(struct weir_handler *base)
{
    struct weir_lua_handler *h = handler_of(base);
    weir_vms_cancel(&h->vms); /* a worker that retires has fibers still */
    weir_vms_fini(&h->vms);
    for (size_t i = 0; i < SITES; i++)
        close_site(h, &h->sites[i], WEIR_LOG_ERROR);
    close_site(h, &h->unclosed, WEIR_LOG_WARN);
    close_site(h, &h->replaced, WEIR_LOG_WARN);
    close_site(h, &h->timers, WEIR_LOG_WARN);
    weir_free(h);
}

static void collect(struct weir_handler *base)
{
    weir_vms_collect(&handler_of(base)->vms);
}

static size_t memory(const struct weir_handler *base)
{
    const struct weir_lua_handler *h =
        (const struct weir_lua_handler *)(const void *)base; /* base is its first member */
    return weir_vms_memory(&h->vms);
}

int weir_lua_handler_create(const struct weir_lua_script *script, struct weir_seat *seat,
                            struct weir_handler **ret, struct weir_err *reterr)
{
    static const struct weir_handler_ops ops = {
        .start = start, .handle = handle, .cancel = cancel, .close = close_handler, .collect = collect, .memory = memory};
    struct weir_lua_handler *h = weir_calloc(1, sizeof *h);
    if (h == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", script->file);
    h->base.ops = &ops;
    h->base.seat = seat;
    int rc = weir_vms_init(&h->vms, script, seat, reterr);
    if (rc != WEIR_OK) {
        weir_free(h);
        return rc;
    }
    *ret = &h->base;
    return WEIR_OK;
}

/* tests/unit/lua_fixture.h - an application of Lua stages on one worker that the test drives by hand, and
 * requests without sockets.
 *
 *   lua_send ──> "host" ──to_<stage>──> Lua stages ──> "sink", which keeps what arrives as JSON text
 *
 * The functions of io/http_request.h are the test's own here, so that what a script did with a request can be
 * looked at. */
#ifndef WEIR_TESTS_UNIT_LUA_FIXTURE_H
#define WEIR_TESTS_UNIT_LUA_FIXTURE_H

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "core/event.h"
#include "core/gate.h"
#include "core/graph.h"
#include "core/pool.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/waiter.h"
#include "core/worker.h"
#include "io/http_request.h"
#include "lua/lua_binding.h"

/* --- requests --- */

struct fake_request {
    struct weir_http_request http;
    bool gone;
};

/* What became of the last request. */
static struct {
    int status; /* 0: not answered */
    char headers[512], body[512], file[128];
    int ended; /* -1, or the enum weir_request_end that the host was asked for */
    char streamed[512];
    int closed;     /* -1: open; else whole or not */
    int slow_after; /* writes until one answers WEIR_E_FULL; -1: never */
    struct weir_http_wait *waiting;
    int live;
} seen;

static bool fake_gone(const struct weir_request *r)
{
    return ((const struct fake_request *)(const void *)r)->gone;
}

static void fake_free(struct weir_request *r)
{
    struct fake_request *f = (struct fake_request *)(void *)r;
    weir_value_unref(f->http.vars);
    free(f);
    seen.live--;
}

static void fake_end(struct weir_request *r, struct weir_worker *w, enum weir_request_end why)
{
    (void)w;
    seen.ended = (int)why;
    fake_free(r);
}

static const struct weir_request_ops fake_ops = {.gone = fake_gone, .end = fake_end};

struct weir_http_request *weir_http_request_of(struct weir_request *r)
{
    return r->ops == &fake_ops ? (struct weir_http_request *)(void *)r : NULL;
}

const struct weir_http_text *weir_http_request_header(const struct weir_http_request *r, const char *name,
                                                      size_t len)
{
    for (size_t i = 0; i < r->header_count; i++)
        if (r->headers[i].name.len == len && memcmp(r->headers[i].name.data, name, len) == 0)
            return &r->headers[i].value;
    return NULL;
}

int weir_http_check_headers(const struct weir_http_header *headers, size_t count, struct weir_err *reterr)
{
    for (size_t i = 0; i < count; i++)
        if (memchr(headers[i].value.data, '\n', headers[i].value.len) != NULL)
            return weir_err_set(reterr, WEIR_E_INVAL, "header '%s': a line break", headers[i].name.data);
    return WEIR_OK;
}

static void note_head(int status, const struct weir_http_header *headers, size_t count)
{
    size_t n = 0;
    seen.status = status;
    seen.headers[0] = '\0';
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(seen.headers + n, sizeof seen.headers - n, "%.*s: %.*s\n",
                              (int)headers[i].name.len, headers[i].name.data, (int)headers[i].value.len,
                              headers[i].value.data);
}

void weir_http_reply(struct weir_http_request *r, struct weir_worker *w, int status,
                     const struct weir_http_header *headers, size_t count, const void *body, size_t len)
{
    (void)w;
    note_head(status, headers, count);
    snprintf(seen.body, sizeof seen.body, "%.*s", (int)len, (const char *)body);
    fake_free(&r->base);
}

void weir_http_reply_file(struct weir_http_request *r, struct weir_worker *w, int status,
                          const struct weir_http_header *headers, size_t count, const char *root,
                          const char *path)
{
    (void)w;
    (void)root;
    note_head(status, headers, count);
    snprintf(seen.file, sizeof seen.file, "%s", path);
    fake_free(&r->base);
}

struct weir_http_stream *weir_http_start(struct weir_http_request *r, struct weir_worker *w, int status,
                                         const struct weir_http_header *headers, size_t count)
{
    (void)w;
    note_head(status, headers, count);
    seen.closed = -1;
    seen.streamed[0] = '\0';
    fake_free(&r->base);
    return (struct weir_http_stream *)(void *)&seen;
}

int weir_http_stream_write(struct weir_http_stream *s, const void *data, size_t len,
                           struct weir_http_wait *wait)
{
    (void)s;
    strncat(seen.streamed, data, len);
    if (seen.slow_after < 0 || seen.slow_after-- > 0)
        return WEIR_OK;
    seen.waiting = wait;
    return WEIR_E_FULL;
}

void weir_http_stream_close(struct weir_http_stream *s, bool whole)
{
    (void)s;
    seen.closed = whole;
    seen.waiting = NULL;
}

void weir_http_read(struct weir_http_request *r, struct weir_worker *w, struct weir_http_wait *wait)
{
    (void)r;
    (void)w;
    seen.waiting = wait;
}

void weir_http_read_cancel(struct weir_http_request *r, struct weir_http_wait *wait)
{
    (void)r;
    assert_ptr_equal(seen.waiting, wait);
    seen.waiting = NULL;
}

/* The wait that is under way ends. */
static inline void fake_wait_ends(int rc, const char *data)
{
    struct weir_http_wait *wait = seen.waiting;
    assert_non_null(wait);
    seen.waiting = NULL;
    wait->done(wait, rc, data, data != NULL ? strlen(data) : 0);
}

#define TEXT(s)                                                                                              \
    {                                                                                                        \
        .data = (s), .len = sizeof(s) - 1                                                                    \
    }

static inline struct weir_request *fake_request(const char *body, bool streamed)
{
    static const struct weir_http_header headers[] = {{TEXT("host"), TEXT("example.org")},
                                                      {TEXT("x-count"), TEXT("3")}};
    struct fake_request *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->http = (struct weir_http_request){.base = {.ops = &fake_ops, .size = 100},
                                         .method = TEXT("GET"),
                                         .target = TEXT("/a%20b?q=1"),
                                         .path = TEXT("/a%20b"),
                                         .query = TEXT("q=1"),
                                         .remote = TEXT("127.0.0.1:5"),
                                         .version_minor = 1,
                                         .headers = headers,
                                         .header_count = 2,
                                         .arrival_ns = weir_clock_ns(),
                                         .id = 77,
                                         .body_streamed = streamed,
                                         .body = {.data = body, .len = strlen(body)}};
    memset(&seen, 0, sizeof seen);
    seen.ended = seen.closed = seen.slow_after = -1;
    seen.live = 1;
    return &f->http.base;
}

/* --- the application --- */

struct lua_stage_spec {
    const char *name, *script;
    const char *to;  /* "out=sink both=sink,a" */
    size_t capacity; /* 0: 1024 */
    enum weir_overflow overflow;
    unsigned batch_max;
    unsigned concurrency;
    size_t memory;
    const char *lib; /* NULL: safe */
    bool gated;      /* it has a gate, open at first */
};

/* The built-in ones. */
static const struct weir_watch_limits lua_limits = {.slice_ns = 10 * WEIR_NS_PER_MS,
                                                    .stall_ns = 50 * WEIR_NS_PER_MS,
                                                    .cpu_ns = WEIR_NS_PER_S,
                                                    .wall_ns = 30 * WEIR_NS_PER_S};

struct lua_app {
    struct weir_graph *g;
    struct weir_worker *w;
    char folder[64];
    long live_before; /* blocks of memory */
    bool sink_closed; /* the sink takes nothing */
};

static struct weir_strbuf lua_got; /* what arrived at the sink, a line each */

struct native {
    struct weir_handler base;
};

static void native_handle(struct weir_handler *h, struct weir_event **evs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!weir_seat_begin(h->seat, evs[i]))
            continue;
        weir_value_print(evs[i]->value, &lua_got);
        weir_strbuf_addc(&lua_got, '\n');
        weir_seat_end(h->seat, evs[i], WEIR_REASON_NONE, NULL);
    }
}

static void native_cancel(struct weir_handler *h)
{
    (void)h;
}

static void native_close(struct weir_handler *h)
{
    weir_free(h);
}

static size_t native_memory(const struct weir_handler *h)
{
    (void)h;
    return 0;
}

static int native_make(void *self, struct weir_seat *seat, struct weir_handler **ret, struct weir_err *reterr)
{
    static const struct weir_handler_ops ops = {.handle = native_handle, .cancel = native_cancel, .close = native_close, .memory = native_memory};
    (void)self;
    struct weir_handler *h = weir_calloc(1, sizeof *h);
    if (h == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "native: out of memory");
    h->ops = &ops;
    h->seat = seat;
    *ret = h;
    return WEIR_OK;
}

static inline void lua_write(const struct lua_app *app, const char *name, const char *text)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", app->folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static inline void lua_folder(struct lua_app *app)
{
    memset(app, 0, sizeof *app);
    snprintf(app->folder, sizeof app->folder, "/tmp/weir-lua-XXXXXX");
    assert_non_null(mkdtemp(app->folder));
}

static inline void lua_remove_folder(const struct lua_app *app)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", app->folder);
    assert_int_equal(system(command), 0);
}

static void wire(struct weir_graph *g, struct weir_stage *s, const char *to)
{
    char text[256];
    char *save = NULL;
    snprintf(text, sizeof text, "%s", to != NULL ? to : "");
    for (char *word = strtok_r(text, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save)) {
        char *target = strchr(word, '=');
        *target++ = '\0';
        size_t edges = 1;
        for (const char *at = target; *at != '\0'; at++)
            edges += *at == ',';
        static char names[64][32];
        static size_t used;
        char *name = names[used++ % 64];
        snprintf(name, sizeof names[0], "%s", word);
        struct weir_port *p = weir_graph_add_port(s, name, edges);
        char *inner = NULL;
        size_t i = 0;
        for (char *one = strtok_r(target, ",", &inner); one != NULL; one = strtok_r(NULL, ",", &inner), i++) {
            p->edges[i].target = weir_graph_stage(g, one);
            assert_non_null(p->edges[i].target);
            p->edges[i].overflow = p->edges[i].target->queue.overflow;
        }
    }
}

static inline int lua_open_stage(struct lua_app *app, struct weir_stage *s, const struct lua_stage_spec *spec,
                                 struct weir_err *err)
{
    char file[160], name[64];
    const char *lib = spec->lib != NULL ? spec->lib : "safe";
    snprintf(name, sizeof name, "%s.lua", spec->name);
    snprintf(file, sizeof file, "%s/%s", app->folder, name);
    lua_write(app, name, spec->script);
    struct weir_lua_options o = {
        .file = file, .folder = app->folder, .libs = &lib, .lib_count = 1, .memory = s->memory, .limits = lua_limits};
    int rc = weir_lua_maker_create(&o, &s->handler, err);
    if (rc == WEIR_OK)
        s->takes_batches = weir_lua_maker_takes_batches(&s->handler) != 0;
    return rc;
}

static inline void lua_open(struct lua_app *app, const struct lua_stage_spec *specs, size_t n)
{
    struct weir_err err;
    long live = weir_mem_live();
    lua_folder(app);
    app->live_before = live;
    weir_strbuf_init(&lua_got);
    assert_int_equal(weir_graph_create(n + 2, 1, &app->g, &err), WEIR_OK);
    struct weir_graph *g = app->g;
    g->class_count = 2;
    g->default_class = 1;
    static const char *const classes[] = {"gold", "normal"};
    g->class_names = (void *)classes;
    g->pools[0].name = "main";
    g->pools[0].min = g->pools[0].max = 1;
    for (size_t i = 0; i < n + 2; i++) {
        struct weir_stage *s = &g->stages[i];
        const struct lua_stage_spec none = {.name = i == n ? "sink" : "host"},
                                    *spec = i < n ? &specs[i] : &none;
        s->name = i < n ? specs[i].name : i == n ? "sink" : "host";
        s->kind = WEIR_STAGE_HANDLER;
        s->pool = &g->pools[0];
        s->batch_max = spec->batch_max != 0 ? spec->batch_max : 64;
        s->concurrency = spec->concurrency != 0 ? spec->concurrency : 1000;
        s->slice_ns = 10 * WEIR_NS_PER_MS;
        s->wall_ns = 30 * WEIR_NS_PER_S; /* what a wait without a deadline may take */
        s->memory = spec->memory != 0 ? spec->memory : 8 << 20;
        s->slice_ns = lua_limits.slice_ns;
        s->stall_ns = lua_limits.stall_ns;
        s->cpu_ns = lua_limits.cpu_ns;
        s->wall_ns = lua_limits.wall_ns;
        s->queue.capacity = spec->capacity != 0 ? spec->capacity : 1024;
        s->queue.bytes = 64 << 20;
        s->queue.overflow.policy = spec->overflow;
        s->generation = 1;
        if (spec->gated)
            assert_int_equal(weir_gate_create(g->class_count, &s->gate, &err), WEIR_OK);
        s->handler = (struct weir_handler_maker){.make = native_make};
    }
    for (size_t i = 0; i < n; i++)
        wire(g, &g->stages[i], specs[i].to);
    for (size_t i = 0; i < n; i++) {
        char to[80];
        snprintf(to, sizeof to, "to_%s=%s", specs[i].name, specs[i].name);
        wire(g, &g->stages[n + 1], to);
    }
    assert_int_equal(weir_graph_finish(g, &err), WEIR_OK);
    for (size_t i = 0; i < n; i++)
        if (lua_open_stage(app, &g->stages[i], &specs[i], &err) != WEIR_OK)
            fail_msg("%s", err.text);
    if (weir_worker_create(&g->pools[0], 0, &app->w, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    weir_worker_now(app->w);
}

static inline struct weir_seat *lua_seat(struct lua_app *app, const char *stage)
{
    return app->w->seats[weir_graph_stage(app->g, stage)->index];
}

/* Lets every stage take what it has until nothing moves. */
static inline void lua_pump(struct lua_app *app)
{
    struct weir_event *batch[64];
    bool moved = true;
    while (moved) {
        moved = false;
        for (size_t i = 0; i < app->g->stage_count; i++) {
            struct weir_seat *seat = app->w->by_rank[i];
            size_t room = seat->stage->concurrency - seat->running,
                   max = seat->stage->batch_max < room ? seat->stage->batch_max : room;
            if (app->sink_closed && strcmp(seat->stage->name, "sink") == 0)
                max = 0;
            size_t n = max > 0 ? weir_queue_take(seat, batch, max) : 0;
            if (n > 0)
                seat->handler->ops->handle(seat->handler, batch, n);
            moved |= n > 0;
        }
        weir_worker_flush(app->w);
        moved |= weir_inbox_drain(&app->w->inbox);
        uv_run(&app->w->loop, UV_RUN_NOWAIT);
        weir_worker_now(app->w);
    }
    for (size_t i = 0; i < app->g->stage_count; i++)
        assert_true(weir_ledger_holds(&app->w->seats[i]->ledger));
}

/* Offers an event to a stage, as a source would; takes the value's reference and the request. */
static inline enum weir_verdict lua_offer(struct lua_app *app, const char *stage, struct weir_value v,
                                          struct weir_request *r)
{
    char port[80];
    struct weir_seat *host = lua_seat(app, "host");
    struct weir_event *ev = weir_event_create(app->w);
    snprintf(port, sizeof port, "to_%s", stage);
    ev->value = v;
    ev->request = r;
    enum weir_verdict verdict = weir_port_emit(host, weir_stage_port(host->stage, port), ev, NULL);
    if (verdict != WEIR_VERDICT_ACCEPTED)
        weir_event_free(app->w, ev);
    return verdict;
}

static inline void lua_send_int(struct lua_app *app, const char *stage, int64_t i)
{
    assert_int_equal(lua_offer(app, stage, (struct weir_value){.kind = WEIR_VALUE_INT, .integer = i}, NULL),
                     WEIR_VERDICT_ACCEPTED);
    lua_pump(app);
}

/* Sends a string of fewer than 65536 bytes. */
static inline void lua_send_text(struct lua_app *app, const char *stage, const char *text)
{
    size_t len = strlen(text);
    struct weir_blob *blob = weir_blob_create(len + 3);
    assert_non_null(blob);
    blob->data[0] = 0xda; /* str 16 */
    blob->data[1] = (unsigned char)(len >> 8);
    blob->data[2] = (unsigned char)len;
    memcpy(blob->data + 3, text, len);
    assert_int_equal(lua_offer(app, stage, (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob}, NULL),
                     WEIR_VERDICT_ACCEPTED);
    lua_pump(app);
}

static inline void lua_send_request(struct lua_app *app, const char *stage, struct weir_request *r)
{
    assert_int_equal(lua_offer(app, stage, (struct weir_value){.kind = WEIR_VALUE_REQUEST, .integer = 0}, r),
                     WEIR_VERDICT_ACCEPTED);
    lua_pump(app);
}

static inline int64_t lua_count(_Atomic int64_t *cell)
{
    return atomic_load_explicit(cell, memory_order_relaxed);
}

/* What has arrived at the sink since the last time, a line each. */
static inline const char *lua_arrived(void)
{
    static char text[8192];
    snprintf(text, sizeof text, "%s", lua_got.len > 0 ? lua_got.data : "");
    weir_strbuf_clear(&lua_got);
    return text;
}

static inline void lua_cancel(struct lua_app *app)
{
    weir_waiter_sweep(app->w, true);
    weir_inbox_drain(&app->w->inbox);
    for (size_t i = 0; i < app->g->stage_count; i++)
        app->w->seats[i]->handler->ops->cancel(app->w->seats[i]->handler);
}

static inline void lua_close_app(struct lua_app *app)
{
    lua_cancel(app);
    app->sink_closed = false;
    lua_pump(app);
    weir_worker_destroy(app->w);
    weir_graph_destroy(app->g);
    weir_strbuf_fini(&lua_got);
    lua_remove_folder(app);
    assert_int_equal(weir_mem_live(), app->live_before);
}

/* --- the log --- */

/* What was written to the log between log_begin and log_end. */
static char logged[4096];

static inline int log_begin(void)
{
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    FILE *f = tmpfile();
    assert_non_null(f);
    dup2(fileno(f), STDERR_FILENO);
    fclose(f);
    return saved;
}

static inline void log_end(int saved)
{
    fflush(stderr);
    lseek(STDERR_FILENO, 0, SEEK_SET);
    ssize_t n = read(STDERR_FILENO, logged, sizeof logged - 1);
    logged[n > 0 ? n : 0] = '\0';
    dup2(saved, STDERR_FILENO);
    close(saved);
}

static inline size_t count_of(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        n++;
    return n;
}

#define LUA_APP(app, ...)                                                                                    \
    struct lua_app app;                                                                                      \
    do {                                                                                                     \
        const struct lua_stage_spec specs_[] = {__VA_ARGS__};                                                \
        lua_open(&app, specs_, sizeof specs_ / sizeof specs_[0]);                                            \
    } while (0)

#endif

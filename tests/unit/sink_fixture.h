/* tests/unit/sink_fixture.h - a sink behind a stage that feeds it, on a worker that the test drives by hand:
 * time is virtual, the loop is real. bed_until turns the worker until something is so; it waits for the
 * kernel and for other threads, never for time. */
#ifndef WEIR_TESTS_UNIT_SINK_FIXTURE_H
#define WEIR_TESTS_UNIT_SINK_FIXTURE_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "config/app.h"
#include "config/types.h"
#include "core/stage.h"
#include "support.h"

enum { FEED, END };

/* As the program does. */
static inline void ignore_sigpipe(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    assert_int_equal(sigaction(SIGPIPE, &ignore, NULL), 0);
}

typedef int bed_open_fn(struct weir_stage *stage, const struct weir_conf *options,
                        struct weir_handler_maker *ret, struct weir_err *reterr);

struct bed {
    struct rig *rig;
    struct weir_worker *w;
    struct weir_app *app; /* holds the options */
};

/* The options of stage `end`, as in YAML: "path: '/tmp/x', sync: always". */
static inline struct weir_app *bed_options(const struct weir_app_type *type, const char *options)
{
    static const struct weir_app_type feed = {.name = "feed", .kind = WEIR_APP_SOURCE, .text = "a test"};
    const struct weir_app_type *list[] = {&feed, type};
    const struct weir_app_types types = {.types = list, .count = 2};
    struct weir_strbuf report = WEIR_STRBUF_INIT;
    struct weir_app *app = NULL;
    struct weir_err err;
    char yaml[1024];
    int n = snprintf(yaml, sizeof yaml,
                     "weir: 1\nstages:\n  feed: {source: feed, to: end}\n  end: {sink: '%s'%s%s}\n",
                     type->name, options[0] != '\0' ? ", " : "", options);
    if (weir_app_parse(yaml, (size_t)n, "weir.yaml", "/", NULL, 0, &types, &report, &app, &err) < 0)
        fail_msg("%s", report.data);
    weir_strbuf_fini(&report);
    return app;
}

static inline void bed_make_by(struct bed *b, const struct weir_app_type *type, bed_open_fn *open,
                               const char *options, unsigned concurrency, enum weir_queue_by order_by)
{
    struct weir_err err;
    b->app = bed_options(type, options);
    b->rig = rig_create(2, 1);
    rig_pool(b->rig, 0, "main", 1, false);
    rig_stage(b->rig, FEED, "feed", 0, rig_handled, NULL);
    struct weir_stage *end = rig_stage_defaults(b->rig, END, "end", 0);
    end->kind = WEIR_STAGE_SINK;
    end->concurrency = concurrency;
    end->queue.bytes = 64 << 20;
    end->queue.keys.by = order_by;
    if (open(end, b->app->stages[1].options, &end->handler, &err) < 0)
        fail_msg("%s", err.text);
    rig_wire_one(b->rig, FEED, "out", END);
    rig_finish(b->rig);
    b->w = rig_worker(b->rig, 0);
}

static inline void bed_make(struct bed *b, const struct weir_app_type *type, bed_open_fn *open,
                            const char *options, unsigned concurrency)
{
    bed_make_by(b, type, open, options, concurrency, WEIR_BY_NONE);
}

static inline void bed_end(struct bed *b)
{
    rig_worker_end(b->w);
    rig_destroy(b->rig);
    weir_app_free(b->app);
}

static inline void bed_turn(struct bed *b)
{
    rig_run(b->w);
    uv_run(&b->w->loop, UV_RUN_NOWAIT);
    rig_run(b->w);
}

/* Turns until `done`. Fails after 20 s, which only bounds how long a broken build hangs. */
static inline void bed_until(struct bed *b, bool (*done)(struct bed *b, void *arg), void *arg)
{
    for (int i = 0; !done(b, arg); i++) {
        assert_true(i < 20000);
        bed_turn(b);
        poll(NULL, 0, 1);
    }
}

static inline bool bed_at_rest(struct bed *b, void *arg)
{
    (void)arg;
    struct weir_ledger_sum l = rig_ledger(b->rig, END);
    return l.queued == 0 && l.running == 0;
}

static inline bool bed_handled(struct bed *b, void *arg)
{
    return rig_ledger(b->rig, END).handled >= *(int *)arg;
}

static inline bool bed_failed(struct bed *b, void *arg)
{
    return rig_ledger(b->rig, END).failed >= *(int *)arg;
}

/* Emits a string of `len` bytes. */
static inline void bed_emit(struct bed *b, const void *data, size_t len)
{
    struct weir_event *ev = weir_event_create(b->w);
    struct weir_blob *blob = weir_blob_create(len + 5);
    blob->data[0] = 0xdb;
    for (int i = 0; i < 4; i++)
        blob->data[1 + i] = (unsigned char)(len >> (24 - 8 * i));
    memcpy(blob->data + 5, data, len);
    ev->value = (struct weir_value){.kind = WEIR_VALUE_BYTES, .blob = blob};
    assert_int_equal(rig_emit(b->w, FEED, ev), WEIR_VERDICT_ACCEPTED);
}

static inline void bed_emits(struct bed *b, const char *text)
{
    bed_emit(b, text, strlen(text));
}

/* Opening the sink and making its handler survive any failed allocation; the bed is made already. */
static inline void bed_expect_no_leaks(struct bed *b, bed_open_fn *open)
{
    long before = weir_mem_live();
    struct weir_stage stage = {.name = "end"};
    struct weir_err err;
    int rc = WEIR_E_NOMEM;
    for (long n = 0; rc != WEIR_OK; n++) {
        struct weir_handler_maker m = {0};
        struct weir_handler *h = NULL;
        weir_mem_fail_after(n);
        rc = open(&stage, b->app->stages[1].options, &m, &err);
        bool opened = rc == WEIR_OK;
        if (opened)
            rc = m.make(m.self, b->w->seats[END], &h, &err);
        weir_mem_fail_after(-1);
        assert_true(rc == WEIR_OK || (rc == WEIR_E_NOMEM && h == NULL));
        assert_true(n > 0 || rc == WEIR_E_NOMEM);
        if (h != NULL)
            h->ops->close(h);
        if (opened)
            m.destroy(m.self);
        assert_int_equal(weir_mem_live(), before);
    }
}

/* All of a file; to be freed. */
static inline char *bed_read(const char *path)
{
    struct weir_strbuf text = WEIR_STRBUF_INIT;
    int fd = open(path, O_RDONLY);
    char buffer[4096];
    ssize_t n;
    if (fd < 0)
        return NULL;
    weir_strbuf_adds(&text, "");
    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        weir_strbuf_add(&text, buffer, (size_t)n);
    close(fd);
    return weir_strbuf_take(&text);
}

static inline void bed_expect_file(const char *path, const char *expected)
{
    char *text = bed_read(path);
    assert_non_null(text);
    assert_string_equal(text, expected);
    weir_free(text);
}

#endif

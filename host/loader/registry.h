/* loader/registry.h - what an application's stages can be made of: source types, sink types, and how a handler's file becomes a
 * maker of handlers. Filled by the composition root (cli/main.c), which alone knows the bindings. Read-only once filled. */
#ifndef WEIR_LOADER_REGISTRY_H
#define WEIR_LOADER_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "config/types.h"
#include "core/handler.h"
#include "core/source.h"
#include "core/source_script.h"

struct weir_app;
struct weir_app_controller;
struct weir_app_stage;
struct weir_conf;
struct weir_controller_type;
struct weir_stage;

struct weir_source_type {
    const struct weir_app_type *type;
    /* As weir_http_source_open. */
    int (*open)(struct weir_stage *stage, const struct weir_conf *options, struct weir_source_maker *ret, char *bound, size_t size,
                struct weir_err *reterr);
};

struct weir_sink_type {
    const struct weir_app_type *type;
    int (*open)(struct weir_stage *stage, const struct weir_conf *options, struct weir_handler_maker *ret, struct weir_err *reterr);
};

/* How handler files are loaded: the Lua binding's part. */
struct weir_handler_loader {
    /* Reads and compiles the stage's script; the maker makes a VM per seat. Also says whether the handler wants whole batches. */
    int (*load)(const struct weir_app *app, const struct weir_app_stage *stage, struct weir_handler_maker *ret, bool *takes_batches,
                struct weir_err *reterr);
    /* For `weir check`: loads it, starts nothing. */
    int (*check)(const struct weir_app *app, const struct weir_app_stage *stage, struct weir_err *reterr);
    /* Tells the ports that the stage's script calls, with the lines, as far as its text says so. NULL: it has no text. */
    int (*calls)(const struct weir_app *app, const struct weir_app_stage *stage,
                 void (*found)(void *arg, const char *port, size_t len, int line), void *arg, struct weir_err *reterr);
};

/* How controllers of the application's own are loaded: likewise. */
struct weir_controller_loader {
    /* Reads and compiles the script, and tries whether it can be set up; the type is the caller's until its `release`. NULL: there are none. */
    int (*load)(const struct weir_app *app, const struct weir_app_controller *from, enum weir_knob knob, const struct weir_controller_type **ret,
                struct weir_err *reterr);
};

struct weir_registry;

/* What `weir test` runs. */
struct weir_test_plan {
    const struct weir_registry *registry;
    const char *const *arguments; /* the test runner's */
    size_t argument_count;
    bool coverage;
};

struct weir_registry {
    const struct weir_source_type *sources;
    size_t source_count;
    const struct weir_sink_type *sinks;
    size_t sink_count;
    struct weir_handler_loader handlers;
    struct weir_script_loader scripts; /* of sources */
    struct weir_controller_loader controllers;
    /* Runs specs; WEIR_OK: `*ret_failed` says whether any failed. NOTFOUND: what runs them is not installed. NULL: there is nothing to. */
    int (*test)(const struct weir_test_plan *plan, bool *ret_failed, struct weir_err *reterr);
};

/* The type named so; NULL: none (weir_app_load has refused such a name already). */
const struct weir_source_type *weir_registry_source(const struct weir_registry *r, const char *name);
const struct weir_sink_type *weir_registry_sink(const struct weir_registry *r, const char *name);

#endif

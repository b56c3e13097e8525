/* bindings/lua/lua_binding.h - what the host sees of the Lua binding: a maker of handlers from a script. */
#ifndef WEIR_LUA_BINDING_H
#define WEIR_LUA_BINDING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "core/handler.h"
#include "core/policy.h"
#include "core/source_script.h"
#include "core/watch.h"

struct weir_app;
struct weir_conf;
struct weir_controller_type;
struct weir_stage;

struct weir_lua_options {
    const char *file;        /* path of the script, as messages show it */
    const char *folder;      /* the application's: where `require` looks, and where reply{file=} is rooted */
    const char **libs;       /* {"safe"}, {"all"}, or names of libraries */
    size_t lib_count;
    bool blocking;           /* its pool is `blocking: true`; else libraries that block are worth a warning */
    size_t memory;           /* bytes per VM */
    struct weir_watch_limits limits; /* of a call; its cpu is that of loading and of init, too */
    const struct weir_conf *config; /* for init(ctx).config; NULL: an empty table */
    bool of_source;                 /* it is no handler: a source asks it (core/source_script.h) */
    bool of_controller;             /* nor is it this one: it is a controller (controller/controller.h) */
    const struct weir_app *app;     /* whose shared tables a script that is only loaded may name; NULL: any */
};

/* Reads and compiles the script once and makes `*ret`, which makes a VM per seat from it. `options` is copied, what it points to must outlive the
 * maker. A failure names file, line and what was expected. Control thread. */
int weir_lua_maker_create(const struct weir_lua_options *options, struct weir_handler_maker *ret, struct weir_err *reterr);

/* For `weir check`: loads the script in a VM and runs nothing but its main chunk, checks what it returns. */
int weir_lua_check(const struct weir_lua_options *options, struct weir_err *reterr);

/* Tells the ports that the script calls (weir.call), with the lines, as far as its text says so. For `weir check`. */
int weir_lua_calls(const struct weir_lua_options *options, void (*found)(void *arg, const char *port, size_t len, int line), void *arg,
                   struct weir_err *reterr);

/* What sources ask: reads and compiles `file`, `*ret` makes a small VM per worker, with `libs: safe` and fixed limits. Both are copied. Control
 * thread. */
int weir_lua_source_script_load(const char *file, const char *folder, struct weir_source_script_maker *ret, struct weir_err *reterr);

/* A controller: reads and compiles the script, which `config` goes to; `*ret` is the caller's, called `name`, until its `release`. Of `options` file,
 * folder, config and app count. As above. */
int weir_lua_controller_load(const struct weir_lua_options *options, enum weir_knob knob, const char *name,
                             const struct weir_controller_type **ret, struct weir_err *reterr);

/* Whether the script has handle_batch; asked after the maker was made, before the first handler. */
int weir_lua_maker_takes_batches(const struct weir_handler_maker *maker);

#endif

/* bindings/lua/script.h - a handler's source: the file and its modules, read once, so that all VMs of a stage
 * run the same text. Owner: the maker (maker.c); [const] once the maker is made, but for the modules.
 * Threads: modules may be looked up by any worker. */
#ifndef WEIR_LUA_SCRIPT_H
#define WEIR_LUA_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/list.h"
#include "base/sync.h"
#include "core/watch.h"
#include "lua/lua_binding.h"
#include "lua/vm.h"

struct weir_tls_cache;

/* A file that `require` has read. Never changes once it is in the list. */
struct weir_lua_module {
    struct weir_list node; /* [mu] */
    char *path;            /* as messages show it */
    char *text;
    size_t len;
};

struct weir_lua_script {
    char *file, *folder;            /* [const] */
    char **libs;                    /* [const] */
    size_t lib_count;               /* [const] */
    size_t memory;                  /* [const] bytes per VM */
    struct weir_watch_limits limits; /* [const] of a call, and of loading */
    const struct weir_conf *config; /* [const] */
    const struct weir_app *app;     /* [const] NULL: not known */
    char *text;                     /* [owner: control] the source, until it is compiled */
    size_t text_len;
    char *code; /* [const] once the first VM is made: bytecode, which only the host loads */
    size_t code_len;
    bool takes_batches;        /* [const] once the first VM is made */
    bool of_source;            /* [const] a source asks it */
    bool of_controller;        /* [const] it is a controller */
    struct weir_mutex *mu;     /* rank WEIR_RANK_GRAPH; nothing is locked or called under it */
    struct weir_list *modules; /* [mu] */
    struct weir_tls_cache *tls; /* [const] what its VMs connect with (weir.tcp) */
};

/* Copies the options and reads the file. */
int weir_script_open(const struct weir_lua_options *options, struct weir_lua_script **ret,
                     struct weir_err *reterr);
/* Compiles it and finds out what it returns, in a VM of its own that runs the main chunk. Control thread. */
int weir_script_compile(struct weir_lua_script *s, struct weir_err *reterr);
/* Takes NULL. No VM of it is left. */
void weir_script_close(struct weir_lua_script *s);

/* Whether it has `libs: all`: files and processes outside of the application are within its reach. Any thread. */
bool weir_script_is_open(const struct weir_lua_script *s);

/* Pushes the main chunk; false: it can't be compiled, and `reterr` says why. */
WEIR_L_RAISES bool weir_script_push_main(lua_State *L, const struct weir_lua_script *s,
                                         struct weir_err *reterr);
/* The file `path` beneath the folder, from the list or read now; it lives as long as the script. NULL with
 * WEIR_E_NOTFOUND: there is none. */
const struct weir_lua_module *weir_script_module(const struct weir_lua_script *s, const char *path,
                                                 struct weir_err *reterr);
/* Compiles it: pushes the chunk, or the message, and returns Lua's status. */
WEIR_L_RAISES int weir_script_load_module(lua_State *L, const struct weir_lua_script *s,
                                          const struct weir_lua_module *m);

#endif

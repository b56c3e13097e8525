/* weir.spawn: runs a program (io/process.h) while its call waits. A program can reach everything: `libs: all` only. */
#include <lauxlib.h>
#include <string.h>

#include "core/seat.h"
#include "io/process.h"
#include "lua/api.h"
#include "lua/call.h"
#include "lua/script.h"

enum { OPTIONS = 1, HANDLE = 2, WORDS_MAX = 1024 };

static const lua_Integer DEFAULT_OUTPUT = 1 << 20;

struct spawn_ud {
    struct weir_process *p; /* NULL: none runs */
    struct weir_wait wait;
};

static void end_process(struct spawn_ud *u)
{
    struct weir_process *p = u->p;
    u->p = NULL;
    weir_process_close(p);
}

static bool stop_waiting(struct weir_wait *wait)
{
    end_process(WEIR_LIST_ENTRY(wait, struct spawn_ud, wait));
    return true;
}

static void on_done(struct weir_process *p)
{
    struct spawn_ud *u = p->arg;
    weir_call_continue(u->wait.call);
}

WEIR_L_RAISES static int l_gc(lua_State *L)
{
    end_process(luaL_checkudata(L, 1, "weir.process"));
    return 0;
}

/* --- options --- */

WEIR_L_RAISES static void check_names(lua_State *L)
{
    static const char *const known[] = {"cmd", "args", "stdin", "env", "cwd", "timeout", "max_output"};
    lua_pushnil(L);
    while (lua_next(L, OPTIONS)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof known[0] && !found; i++)
            found = strcmp(known[i], name) == 0;
        if (!found)
            luaL_error(L, "weir.spawn: there is no option '%s'", name);
        lua_pop(L, 1);
    }
}

/* The text at `idx`, which must be free of NUL bytes. */
WEIR_L_RAISES static const char *check_word(lua_State *L, int idx, const char *what)
{
    size_t len;
    if (lua_type(L, idx) != LUA_TSTRING)
        luaL_error(L, "weir.spawn: %s must be a string, it is a %s", what, luaL_typename(L, idx));
    const char *s = lua_tolstring(L, idx, &len);
    if (strlen(s) != len)
        luaL_error(L, "weir.spawn: %s has a NUL byte in it", what);
    return s;
}

WEIR_L_RAISES static const char *text_option(lua_State *L, const char *name)
{
    char what[32];
    const char *s = NULL;
    snprintf(what, sizeof what, "`%s`", name);
    if (weir_api_push_option(L, OPTIONS, name) != LUA_TNIL)
        s = check_word(L, -1, what); /* the table keeps it */
    lua_pop(L, 1);
    return s;
}

/* argv, in memory of the VM: the userdata stays on the stack; the strings are the table's. */
WEIR_L_RAISES static char **push_words(lua_State *L, const char *cmd)
{
    lua_Integer n = 0;
    int type = weir_api_push_option(L, OPTIONS, "args");
    if (type == LUA_TTABLE)
        n = (lua_Integer)lua_rawlen(L, -1);
    else if (type != LUA_TNIL)
        luaL_error(L, "weir.spawn: `args` must be a list of strings, it is a %s", luaL_typename(L, -1));
    if (n > WORDS_MAX)
        luaL_error(L, "weir.spawn: `args` has more than %d entries", (int)WORDS_MAX);
    const char **argv = lua_newuserdatauv(L, ((size_t)n + 2) * sizeof(char *), 0);
    argv[0] = cmd;
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -2, i);
        argv[i] = check_word(L, -1, "each of `args`");
        lua_pop(L, 1);
    }
    argv[n + 1] = NULL;
    return (char **)argv; /* posix_spawn's type; it changes nothing */
}

/* NAME=value texts in a table that stays on the stack, and the list of them. NULL: the host's. */
WEIR_L_RAISES static char **push_env(lua_State *L)
{
    lua_Integer n = 0;
    int type = weir_api_push_option(L, OPTIONS, "env");
    if (type == LUA_TNIL)
        return NULL;
    if (type != LUA_TTABLE)
        luaL_error(L, "weir.spawn: `env` must be a table, it is a %s", luaL_typename(L, -1));
    int from = lua_gettop(L);
    lua_newtable(L);
    int texts = lua_gettop(L);
    lua_pushnil(L);
    while (lua_next(L, from)) {
        const char *name = check_word(L, -2, "each name in `env`"), *value = check_word(L, -1, "each value in `env`");
        if (name[0] == '\0' || strchr(name, '=') != NULL)
            luaL_error(L, "weir.spawn: `env` has the name '%s'", name);
        lua_pushfstring(L, "%s=%s", name, value);
        lua_rawseti(L, texts, ++n);
        lua_pop(L, 1);
        if (n == WORDS_MAX)
            luaL_error(L, "weir.spawn: `env` has %d entries", (int)WORDS_MAX);
    }
    const char **env = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof(char *), 0);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, texts, i);
        env[i - 1] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    env[n] = NULL;
    return (char **)env;
}

/* What it refers to stays on the stack. */
WEIR_L_RAISES static void read_options(lua_State *L, struct weir_process_options *o)
{
    int is_integer = 1;
    lua_Integer max = DEFAULT_OUTPUT;
    check_names(L);
    const char *cmd = text_option(L, "cmd"), *cwd = text_option(L, "cwd");
    if (cmd == NULL || cmd[0] == '\0')
        luaL_error(L, "weir.spawn: `cmd` is missing");
    *o = (struct weir_process_options){.argv = NULL};
    o->cwd = cwd != NULL ? weir_api_push_path(L, cwd) : weir_vm_of(L)->script->folder;
    if (weir_api_push_option(L, OPTIONS, "timeout") != LUA_TNIL)
        o->timeout_ns = weir_api_check_seconds(L, -1, "weir.spawn: `timeout`");
    if (weir_api_push_option(L, OPTIONS, "max_output") != LUA_TNIL)
        max = lua_tointegerx(L, -1, &is_integer);
    if (!is_integer || max < 0)
        luaL_error(L, "weir.spawn: `max_output` must be an integer, at least 0");
    o->max_output = (size_t)max;
    int type = weir_api_push_option(L, OPTIONS, "stdin");
    if (type == LUA_TSTRING)
        o->input = lua_tolstring(L, -1, &o->input_len);
    else if (type != LUA_TNIL)
        luaL_error(L, "weir.spawn: `stdin` must be a string, it is a %s", luaL_typename(L, -1));
    lua_pop(L, 3);
    o->argv = push_words(L, cmd);
    o->env = push_env(L);
}

/* --- running it --- */

WEIR_L_RAISES static void set_text(lua_State *L, const char *name, const struct weir_strbuf *text)
{
    lua_pushlstring(L, text->data != NULL ? text->data : "", text->len);
    lua_setfield(L, -2, name);
}

WEIR_L_RAISES static int push_failure(lua_State *L, const char *text, const char *code)
{
    lua_pushnil(L);
    lua_pushstring(L, text);
    lua_pushstring(L, code);
    return 3;
}

WEIR_L_RAISES static int l_ended(lua_State *L, int status, lua_KContext ctx)
{
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    struct spawn_ud *u = lua_touserdata(L, HANDLE);
    const struct weir_process *p = u->p;
    if (p->code != NULL) {
        const char *why = strcmp(p->code, "TIMEOUT") == 0     ? "it took too long and was ended"
                          : strcmp(p->code, "TOO_LARGE") == 0 ? "it wrote more than max_output and was ended"
                                                              : "out of memory";
        int n = push_failure(L, why, p->code);
        end_process(u);
        return n;
    }
    lua_createtable(L, 0, 4);
    if (p->signal != 0)
        lua_pushinteger(L, p->signal);
    else
        lua_pushinteger(L, p->status);
    lua_setfield(L, -2, p->signal != 0 ? "signal" : "status");
    set_text(L, "stdout", &p->output);
    set_text(L, "stderr", &p->errors);
    end_process(u);
    return 1;
}

/* weir.spawn{cmd=, args=, stdin=, env=, cwd=, timeout=, max_output=} -> {status= | signal=, stdout=, stderr=} | nil, message, code */
WEIR_L_RAISES static int l_spawn(lua_State *L)
{
    struct weir_process_options o;
    struct weir_err err;
    const char *code;
    struct weir_vm *vm = weir_vm_of(L);
    if (!weir_script_is_open(vm->script))
        return luaL_error(L, "weir.spawn needs `libs: all` for this stage in weir.yaml: a program can reach everything");
    weir_call_running(L, "weir.spawn");
    weir_call_check_can_wait(L, "weir.spawn");
    if (!lua_istable(L, OPTIONS))
        return luaL_error(L, "weir.spawn: expected a table of options, got %s", luaL_typename(L, 1));
    lua_settop(L, 1);
    struct spawn_ud *u = lua_newuserdatauv(L, sizeof *u, 0);
    u->p = NULL;
    luaL_setmetatable(L, "weir.process");
    read_options(L, &o);
    if (weir_process_start(vm->seat->worker, &o, on_done, u, &u->p, &code, &err) != WEIR_OK)
        return push_failure(L, err.text, code);
    lua_settop(L, HANDLE);
    u->wait.cancel = stop_waiting;
    return weir_call_suspend(L, &u->wait, l_ended);
}

WEIR_L_RAISES void weir_api_spawn_open(lua_State *L)
{
    luaL_newmetatable(L, "weir.process");
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    lua_pushcfunction(L, l_spawn);
    lua_setfield(L, -2, "spawn");
}

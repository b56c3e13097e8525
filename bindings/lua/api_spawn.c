/* weir.spawn: runs a program (io/process.h) while its call waits. A program can reach everything: `libs: all` only. */
#include <lauxlib.h>
#include <string.h>

#include "core/seat.h"
#include "io/process.h"
#include "lua/api.h"
#include "lua/api_options.h"
#include "lua/call.h"
#include "lua/script.h"
#include "lua/vm_hold.h"

enum { OPTIONS = 1, HANDLE = 2, WORDS_MAX = 1024 };

static const size_t DEFAULT_OUTPUT = 1 << 20;
static const char what[] = "weir.spawn";

struct spawn_ud {
    struct weir_process *p; /* NULL: none runs */
    struct weir_wait wait;
    struct weir_vm_hold hold; /* of its input and output */
};

static void end_process(struct spawn_ud *u)
{
    struct weir_process *p = u->p;
    u->p = NULL;
    weir_process_close(p);
    weir_vm_unhold(&u->hold);
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

/* The text at `idx`, which must be free of NUL bytes. */
WEIR_L_RAISES static const char *check_word(lua_State *L, int idx, const char *which)
{
    size_t len;
    if (lua_type(L, idx) != LUA_TSTRING)
        luaL_error(L, "weir.spawn: %s must be a string, it is a %s", which, luaL_typename(L, idx));
    const char *s = lua_tolstring(L, idx, &len);
    if (strlen(s) != len)
        luaL_error(L, "weir.spawn: %s has a NUL byte in it", which);
    return s;
}

/* argv, in memory of the VM: the userdata stays on the stack; the strings are the table's. */
WEIR_L_RAISES static char **push_words(const struct weir_api_options *options, const char *cmd)
{
    lua_State *L = options->L;
    lua_Integer n = 0;
    int type = weir_api_option_push(options, "args");
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
WEIR_L_RAISES static char **push_env(const struct weir_api_options *options)
{
    lua_State *L = options->L;
    lua_Integer n = 0;
    int type = weir_api_option_push(options, "env");
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
    static const char *const known[] = {"cmd", "args", "stdin", "env", "cwd", "timeout", "max_output", NULL};
    struct weir_api_options options = weir_api_options(L, OPTIONS, what, known);
    const char *cmd = weir_api_option_text(&options, "cmd"), *cwd = weir_api_option_path(&options, "cwd");
    if (cmd == NULL || cmd[0] == '\0')
        luaL_error(L, "weir.spawn: `cmd` is missing");
    *o = (struct weir_process_options){.cwd = cwd != NULL ? cwd : weir_vm_of(L)->script->folder,
                                       .timeout_ns = weir_api_option_duration(&options, "timeout", 0),
                                       .max_output = weir_api_option_bytes(&options, "max_output", DEFAULT_OUTPUT)};
    int type = weir_api_option_push(&options, "stdin");
    if (type == LUA_TSTRING)
        o->input = lua_tolstring(L, -1, &o->input_len); /* the table keeps it */
    else if (type != LUA_TNIL)
        luaL_error(L, "weir.spawn: `stdin` must be a string, it is a %s", luaL_typename(L, -1));
    lua_pop(L, 1);
    o->argv = push_words(&options, cmd);
    o->env = push_env(&options);
}

/* --- running it --- */

WEIR_L_RAISES static void set_text(lua_State *L, const char *name, const struct weir_strbuf *text)
{
    lua_pushlstring(L, text->data != NULL ? text->data : "", text->len);
    lua_setfield(L, -2, name);
}

WEIR_L_RAISES static int push_failure(lua_State *L, const struct spawn_ud *u)
{
    const char *code = u->p->code;
    if (strcmp(code, "ENOMEM") == 0 && u->hold.refused)
        return weir_vm_hold_push_refusal(L, what);
    const char *why = strcmp(code, "TIMEOUT") == 0     ? "it took too long and was ended"
                      : strcmp(code, "TOO_LARGE") == 0 ? "it wrote more than max_output and was ended"
                                                       : "out of memory";
    return weir_api_push_failure(L, why, code);
}

WEIR_L_RAISES static int l_ended(lua_State *L, int status, lua_KContext ctx)
{
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    struct spawn_ud *u = lua_touserdata(L, HANDLE);
    const struct weir_process *p = u->p;
    if (p->code != NULL || !weir_vm_has_room(weir_vm_of(L), p->output.len + p->errors.len)) {
        int n = p->code != NULL ? push_failure(L, u) : weir_vm_hold_push_refusal(L, what);
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
    struct weir_call *call = weir_call_running(L, "weir.spawn");
    weir_call_check_can_wait(L, "weir.spawn");
    if (weir_call_time_left(call) == 0)
        return weir_api_push_too_late(L);
    if (!lua_istable(L, OPTIONS))
        return luaL_error(L, "weir.spawn: expected a table of options, got %s", luaL_typename(L, 1));
    lua_settop(L, 1);
    struct spawn_ud *u = lua_newuserdatauv(L, sizeof *u, 0);
    *u = (struct spawn_ud){.p = NULL};
    luaL_setmetatable(L, "weir.process");
    read_options(L, &o);
    weir_vm_hold_begin(&u->hold, vm);
    o.holder = &u->hold.holder;
    int rc = weir_process_start(vm->seat->worker, &o, on_done, u, &u->p, &code, &err);
    if (rc != WEIR_OK) {
        weir_vm_unhold(&u->hold);
        return rc == WEIR_E_LIMIT ? weir_vm_hold_push_refusal(L, what) : weir_api_push_failure(L, err.text, code);
    }
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

/* weir.fs: files, without blocking the worker (io/file_job.h). Paths are relative to the application's folder; with `libs: safe` nothing
 * outside of it can be reached. Failures of the world are nil, message, code. */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "core/seat.h"
#include "io/file_job.h"
#include "lua/api.h"
#include "lua/call.h"
#include "lua/script.h"

enum { LIST_MAX = 16 << 20 };

/* The job while its call waits; the userdata lets go of it if the call never comes back. */
struct job_ud {
    struct weir_file_job *job;
    struct weir_wait wait;
};

static bool stop_waiting(struct weir_wait *wait)
{
    struct job_ud *u = WEIR_LIST_ENTRY(wait, struct job_ud, wait);
    weir_file_job_abandon(u->job);
    u->job = NULL;
    return true;
}

static void on_done(struct weir_file_job *job)
{
    struct job_ud *u = job->arg;
    weir_call_continue(u->wait.call);
}

WEIR_L_RAISES static int l_gc(lua_State *L)
{
    struct job_ud *u = luaL_checkudata(L, 1, "weir.fs.job");
    if (u->job != NULL)
        weir_file_job_destroy(u->job);
    u->job = NULL;
    return 0;
}

/* --- arguments --- */

WEIR_L_RAISES const char *weir_api_push_path(lua_State *L, const char *path)
{
    if (path[0] == '/')
        return path;
    return lua_pushfstring(L, "%s/%s", weir_vm_of(L)->script->folder, path);
}

WEIR_L_RAISES static struct job_ud *push_job(lua_State *L, enum weir_file_op op, const char *what, bool two)
{
    char text[64];
    const struct weir_lua_script *script = weir_vm_of(L)->script;
    weir_call_running(L, what);
    weir_call_check_can_wait(L, what);
    snprintf(text, sizeof text, "%s: the path", what);
    const char *path = weir_api_check_string(L, 1, text), *to = NULL;
    snprintf(text, sizeof text, "%s: the new path", what);
    if (two)
        to = weir_api_check_string(L, 2, text);
    struct job_ud *u = lua_newuserdatauv(L, sizeof *u, 0);
    u->job = NULL;
    luaL_setmetatable(L, "weir.fs.job");
    u->job = weir_file_job_create(op, script->folder, path, to);
    if (u->job == NULL)
        luaL_error(L, "%s: out of memory", what);
    u->job->beneath = !weir_script_is_open(script);
    u->job->arg = u;
    return u;
}

WEIR_L_RAISES static bool options(lua_State *L, int idx, const char *what, const char *const *known)
{
    if (lua_isnoneornil(L, idx))
        return false;
    if (!lua_istable(L, idx))
        luaL_error(L, "%s: the options must be a table, they are a %s", what, luaL_typename(L, idx));
    lua_pushnil(L);
    while (lua_next(L, idx)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        const char *const *at = known;
        while (*at != NULL && strcmp(*at, name) != 0)
            at++;
        if (*at == NULL)
            luaL_error(L, "%s: there is no option '%s'", what, name);
        lua_pop(L, 1);
    }
    return true;
}

WEIR_L_RAISES static lua_Integer integer_option(lua_State *L, int idx, const char *what, const char *name, lua_Integer fallback)
{
    lua_Integer value = fallback;
    if (lua_getfield(L, idx, name) != LUA_TNIL) {
        int is_integer;
        value = lua_tointegerx(L, -1, &is_integer);
        if (!is_integer || value < 0)
            luaL_error(L, "%s: `%s` must be an integer, at least 0", what, name);
    }
    lua_pop(L, 1);
    return value;
}

/* --- results --- */

WEIR_L_RAISES static int push_failure(lua_State *L, struct job_ud *u)
{
    int error = u->job->error;
    const char *text = error == EFBIG ? "it is larger than `max`" : strerror(error);
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", u->job->path, text);
    lua_pushstring(L, uv_err_name(-error));
    return 3;
}

WEIR_L_RAISES static void push_stat(lua_State *L, const struct stat *st)
{
    const char *type = S_ISREG(st->st_mode)   ? "file"
                       : S_ISDIR(st->st_mode) ? "folder"
                       : S_ISLNK(st->st_mode) ? "link"
                                              : "other";
    lua_createtable(L, 0, 4);
    lua_pushstring(L, type);
    lua_setfield(L, -2, "type");
    lua_pushinteger(L, (lua_Integer)st->st_size);
    lua_setfield(L, -2, "size");
    lua_pushnumber(L, (lua_Number)st->st_mtim.tv_sec + (lua_Number)st->st_mtim.tv_nsec / 1e9);
    lua_setfield(L, -2, "modified");
    lua_pushinteger(L, (lua_Integer)(st->st_mode & 07777));
    lua_setfield(L, -2, "mode");
}

WEIR_L_RAISES static void push_names(lua_State *L, const struct weir_strbuf *names)
{
    lua_Integer n = 0;
    lua_newtable(L);
    for (size_t at = 0; at < names->len; at += strlen(names->data + at) + 1) {
        lua_pushstring(L, names->data + at);
        lua_rawseti(L, -2, ++n);
    }
}

WEIR_L_RAISES static int push_result(lua_State *L, struct job_ud *u)
{
    const struct weir_file_job *job = u->job;
    if (job->error != 0)
        return push_failure(L, u);
    if (job->op == WEIR_FILE_READ)
        lua_pushlstring(L, job->data.data != NULL ? job->data.data : "", job->data.len);
    else if (job->op == WEIR_FILE_STAT)
        push_stat(L, &job->stat);
    else if (job->op == WEIR_FILE_LIST)
        push_names(L, &job->data);
    else
        lua_pushboolean(L, 1);
    return 1;
}

/* The job is at the top of the stack, as when its call was suspended. */
WEIR_L_RAISES static int l_done(lua_State *L, int status, lua_KContext ctx)
{
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    struct job_ud *u = lua_touserdata(L, -1);
    int n = push_result(L, u);
    weir_file_job_destroy(u->job);
    u->job = NULL;
    return n;
}

/* The job is at the top of the stack. */
WEIR_L_RAISES static int start(lua_State *L, struct job_ud *u)
{
    u->job->done = on_done;
    u->wait.cancel = stop_waiting;
    weir_file_job_start(weir_vm_of(L)->seat->worker, u->job);
    return weir_call_suspend(L, &u->wait, l_done);
}

/* --- the functions --- */

/* weir.fs.read(path [, {max=, offset=, length=}]) */
WEIR_L_RAISES static int l_read(lua_State *L)
{
    static const char *const known[] = {"max", "offset", "length", NULL};
    const char *what = "weir.fs.read";
    struct weir_vm *vm = weir_vm_of(L);
    lua_settop(L, 2);
    struct job_ud *u = push_job(L, WEIR_FILE_READ, what, false);
    u->job->max = vm->limit / 4;
    u->job->whole = true;
    if (options(L, 2, what, known)) {
        lua_Integer length = integer_option(L, 2, what, "length", -1);
        u->job->offset = (uint64_t)integer_option(L, 2, what, "offset", 0);
        u->job->max = (size_t)integer_option(L, 2, what, "max", (lua_Integer)u->job->max);
        u->job->whole = length < 0;
        if (length >= 0 && (size_t)length < u->job->max)
            u->job->max = (size_t)length;
    }
    return start(L, u);
}

/* weir.fs.write(path, data [, {append=, replace=, sync=, mode=}]) */
WEIR_L_RAISES static int l_write(lua_State *L)
{
    static const char *const known[] = {"append", "replace", "sync", "mode", NULL};
    const char *what = "weir.fs.write";
    size_t len;
    weir_api_check_string(L, 2, "weir.fs.write: the data");
    const char *data = lua_tolstring(L, 2, &len);
    lua_settop(L, 3);
    struct job_ud *u = push_job(L, WEIR_FILE_WRITE, what, false);
    if (options(L, 3, what, known)) {
        u->job->mode = (mode_t)integer_option(L, 3, what, "mode", 0) & 07777;
        lua_getfield(L, 3, "sync");
        lua_getfield(L, 3, "append");
        lua_getfield(L, 3, "replace");
        u->job->sync = lua_toboolean(L, -3);
        bool append = lua_toboolean(L, -2), replace = lua_toboolean(L, -1);
        if (append && replace)
            luaL_error(L, "weir.fs.write: `append` and `replace` exclude each other");
        u->job->op = append ? WEIR_FILE_APPEND : replace ? WEIR_FILE_REPLACE : WEIR_FILE_WRITE;
        lua_pop(L, 3);
    }
    weir_strbuf_add(&u->job->data, data, len);
    if (u->job->data.failed)
        return luaL_error(L, "weir.fs.write: out of memory");
    return start(L, u);
}

WEIR_L_RAISES static int simple(lua_State *L, enum weir_file_op op, const char *what, bool two)
{
    lua_settop(L, two ? 2 : 1);
    struct job_ud *u = push_job(L, op, what, two);
    u->job->max = LIST_MAX;
    return start(L, u);
}

WEIR_L_RAISES static int l_stat(lua_State *L)
{
    return simple(L, WEIR_FILE_STAT, "weir.fs.stat", false);
}

WEIR_L_RAISES static int l_list(lua_State *L)
{
    return simple(L, WEIR_FILE_LIST, "weir.fs.list", false);
}

WEIR_L_RAISES static int l_remove(lua_State *L)
{
    return simple(L, WEIR_FILE_REMOVE, "weir.fs.remove", false);
}

WEIR_L_RAISES static int l_mkdir(lua_State *L)
{
    return simple(L, WEIR_FILE_MAKE_FOLDER, "weir.fs.mkdir", false);
}

WEIR_L_RAISES static int l_rename(lua_State *L)
{
    return simple(L, WEIR_FILE_RENAME, "weir.fs.rename", true);
}

WEIR_L_RAISES void weir_api_fs_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"read", l_read},     {"write", l_write}, {"stat", l_stat},     {"list", l_list},
                                         {"remove", l_remove}, {"mkdir", l_mkdir}, {"rename", l_rename}, {NULL, NULL}};
    luaL_newmetatable(L, "weir.fs.job");
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "fs");
}

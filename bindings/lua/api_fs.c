/* weir.fs: files, without blocking the worker (io/file_job.h). Paths are relative to the application's folder; with `libs: safe` nothing
 * outside of it can be reached. Failures of the world are nil, message, code. */
#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "core/seat.h"
#include "io/file_job.h"
#include "lua/api.h"
#include "lua/api_options.h"
#include "lua/call.h"
#include "lua/script.h"
#include "lua/vm_hold.h"

enum { LIST_MAX = 16 << 20 };

/* A job that a call waits for. It outlives the call and its VM, if they end first: the files' thread has it. */
struct fs_job {
    struct weir_file_job *job;
    struct weir_wait wait;
    struct weir_vm_hold hold; /* of the job's data */
    struct fs_job **box;      /* the userdata; NULL: nobody waits any more */
    const char *what;         /* the function, for messages */
};

static void free_job(struct fs_job *f)
{
    weir_vm_unhold(&f->hold);
    weir_file_job_destroy(f->job);
    weir_free(f);
}

static bool stop_waiting(struct weir_wait *wait)
{
    struct fs_job *f = WEIR_LIST_ENTRY(wait, struct fs_job, wait);
    *f->box = NULL;
    f->box = NULL;
    weir_file_job_cancel(f->job);
    return true;
}

static void on_done(struct weir_file_job *job)
{
    struct fs_job *f = job->arg;
    if (f->box == NULL)
        free_job(f);
    else
        weir_call_continue(f->wait.call);
}

static void empty_box(struct fs_job **box)
{
    struct fs_job *f = *box;
    *box = NULL;
    if (f != NULL) /* it has ended, or never began: while it runs, the call that waits keeps the box */
        free_job(f);
}

WEIR_L_RAISES static int l_gc(lua_State *L)
{
    empty_box(luaL_checkudata(L, 1, "weir.fs.job"));
    return 0;
}

/* --- arguments --- */

WEIR_L_RAISES static struct fs_job *push_job(lua_State *L, enum weir_file_op op, const char *what, bool two)
{
    char text[64];
    struct weir_vm *vm = weir_vm_of(L);
    weir_call_running(L, what);
    weir_call_check_can_wait(L, what);
    snprintf(text, sizeof text, "%s: the path", what);
    const char *path = weir_api_check_string(L, 1, text), *to = NULL;
    snprintf(text, sizeof text, "%s: the new path", what);
    if (two)
        to = weir_api_check_string(L, 2, text);
    struct fs_job **box = lua_newuserdatauv(L, sizeof(struct fs_job *), 0);
    *box = NULL;
    luaL_setmetatable(L, "weir.fs.job");
    struct fs_job *f = weir_calloc(1, sizeof *f);
    struct weir_file_job *job = f != NULL ? weir_file_job_create(op, vm->script->folder, path, to) : NULL;
    if (job == NULL) {
        weir_free(f);
        luaL_error(L, "%s: out of memory", what);
        return NULL; /* luaL_error does not return; the compiler can't know */
    }
    weir_vm_hold_begin(&f->hold, vm);
    f->job = job;
    f->box = box;
    f->what = what;
    *box = f;
    job->beneath = !weir_script_is_open(vm->script);
    job->holder = &f->hold.holder;
    job->arg = f;
    return f;
}

/* --- results --- */

WEIR_L_RAISES static int push_failure(lua_State *L, const struct fs_job *f)
{
    int error = f->job->error;
    if (error == ENOMEM && f->hold.refused)
        return weir_vm_hold_push_refusal(L, f->what);
    lua_pushfstring(L, "%s: %s", f->job->path, error == EFBIG ? "it is larger than `max`" : strerror(error));
    return weir_api_push_failure(L, lua_tostring(L, -1), uv_err_name(-error));
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

WEIR_L_RAISES static int push_names(lua_State *L, const struct weir_strbuf *names, const char *what)
{
    lua_Integer n = 0;
    if (!weir_vm_has_room(weir_vm_of(L), 4 * names->len)) /* a string and a slot for each: about that */
        return weir_vm_hold_push_refusal(L, what);
    lua_newtable(L);
    for (size_t at = 0; at < names->len; at += strlen(names->data + at) + 1) {
        lua_pushstring(L, names->data + at);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

WEIR_L_RAISES static int push_result(lua_State *L, const struct fs_job *f)
{
    const struct weir_file_job *job = f->job;
    if (job->error != 0)
        return push_failure(L, f);
    if (job->op == WEIR_FILE_READ)
        return weir_vm_hold_push_text(L, f->what, &job->data);
    if (job->op == WEIR_FILE_LIST)
        return push_names(L, &job->data, f->what);
    if (job->op == WEIR_FILE_STAT)
        push_stat(L, &job->stat);
    else
        lua_pushboolean(L, 1);
    return 1;
}

/* The job's box is at the top of the stack, as when its call was suspended. */
WEIR_L_RAISES static int l_done(lua_State *L, int status, lua_KContext ctx)
{
    (void)status; /* always LUA_YIELD */
    (void)ctx;
    struct fs_job **box = lua_touserdata(L, -1);
    int n = push_result(L, *box);
    empty_box(box);
    return n;
}

/* The box is at the top of the stack. */
WEIR_L_RAISES static int start(lua_State *L, struct fs_job *f)
{
    f->job->done = on_done;
    f->wait.cancel = stop_waiting;
    if (!weir_file_job_start(weir_vm_of(L)->seat->worker, f->job)) {
        const char *what = f->what;
        empty_box(f->box);
        return weir_vm_hold_push_refusal(L, what);
    }
    return weir_call_suspend(L, &f->wait, l_done);
}

/* --- the functions --- */

/* weir.fs.read(path [, {max=, offset=, length=}]) */
WEIR_L_RAISES static int l_read(lua_State *L)
{
    static const char *const known[] = {"max", "offset", "length", NULL};
    const char *what = "weir.fs.read";
    lua_settop(L, 2);
    struct weir_api_options o = weir_api_options(L, 2, what, known);
    size_t max = weir_api_option_bytes(&o, "max", weir_vm_of(L)->limit / 4);
    lua_Integer offset = weir_api_option_integer(&o, "offset", 0, 0, LUA_MAXINTEGER);
    lua_Integer length = weir_api_option_integer(&o, "length", -1, 0, LUA_MAXINTEGER);
    struct fs_job *f = push_job(L, WEIR_FILE_READ, what, false);
    f->job->offset = (uint64_t)offset;
    f->job->whole = length < 0;
    f->job->max = length >= 0 && (size_t)length < max ? (size_t)length : max;
    return start(L, f);
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
    struct weir_api_options o = weir_api_options(L, 3, what, known);
    lua_Integer mode = weir_api_option_integer(&o, "mode", 0, 0, 07777);
    bool append = weir_api_option_bool(&o, "append", false), replace = weir_api_option_bool(&o, "replace", false),
         sync = weir_api_option_bool(&o, "sync", false);
    if (append && replace)
        return luaL_error(L, "weir.fs.write: `append` and `replace` exclude each other");
    struct fs_job *f = push_job(L, append ? WEIR_FILE_APPEND : replace ? WEIR_FILE_REPLACE : WEIR_FILE_WRITE, what, false);
    f->job->mode = (mode_t)mode;
    f->job->sync = sync;
    if (!weir_holder_reserve(&f->hold.holder, &f->job->data, len, 0)) {
        if (f->job->data.failed)
            return luaL_error(L, "weir.fs.write: out of memory");
        empty_box(f->box);
        return weir_vm_hold_push_refusal(L, what);
    }
    weir_strbuf_add(&f->job->data, data, len);
    return start(L, f);
}

WEIR_L_RAISES static int simple(lua_State *L, enum weir_file_op op, const char *what, bool two)
{
    lua_settop(L, two ? 2 : 1);
    size_t quarter = weir_vm_of(L)->limit / 4;
    struct fs_job *f = push_job(L, op, what, two);
    f->job->max = quarter < LIST_MAX ? quarter : LIST_MAX;
    return start(L, f);
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

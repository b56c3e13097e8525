#include "lua/vm.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "core/port.h"
#include "core/seat.h"
#include "core/stage.h"
#include "core/watch.h"
#include "lua/api.h"
#include "lua/call.h"
#include "lua/config.h"
#include "lua/preempt.h"
#include "lua/request_ud.h"
#include "lua/sandbox.h"
#include "lua/script.h"
#include "lua/stream_ud.h"
#include "lua/vm_hold.h"

enum { BUFFER_START = 512 };

/* Lua answers a refusal with a full collection, which allocates nothing, and asks for the same once more.
 * Only a second refusal, or any other request, says that the allocation has failed. */
static void *refuse(struct weir_vm *vm, const void *block, size_t new)
{
    if (vm->refused)
        vm->broken = true;
    vm->refused = true;
    vm->refused_block = block;
    vm->refused_size = new;
    return NULL;
}

static void end_refusal(struct weir_vm *vm, const void *block, size_t new)
{
    if (vm->refused_block != block || vm->refused_size != new) {
        vm->broken = true;
        vm->refused = false;
    }
}

static void *grow(struct weir_vm *vm, void *block, size_t old, size_t new)
{
    if (vm->refused)
        end_refusal(vm, block, new);
    if (vm->refuse_once) {
        vm->refuse_once = false;
        return refuse(vm, block, new);
    }
    size_t more = weir_block_footprint(new) - weir_block_footprint(old);
    if (more > vm->limit || vm->used > vm->limit - more)
        return refuse(vm, block, new);
    void *moved = block == NULL ? weir_block_cache_take(&vm->blocks, new) : NULL;
    if (moved == NULL)
        moved = weir_realloc(block, weir_block_size(new));
    if (moved == NULL)
        return refuse(vm, block, new);
    vm->refused = false;
    vm->used += more;
    return moved;
}

static void *allocate(void *ud, void *block, size_t old, size_t new)
{
    struct weir_vm *vm = ud;
    if (block == NULL)
        old = 0; /* it tells the kind of object then */
    if (new > old)
        return grow(vm, block, old, new);
    vm->used -= weir_block_footprint(old) - weir_block_footprint(new);
    if (new == 0) {
        weir_block_cache_give(&vm->blocks, block, old);
        return NULL;
    }
    void *moved = weir_realloc(block, weir_block_size(new));
    return moved != NULL ? moved : block; /* making smaller never fails */
}

/* Only a bug of ours gets here: something raised outside a protected call. Lua aborts when this returns. */
static int l_panic(lua_State *L)
{
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
    weir_log(WEIR_LOG_ERROR, "lua", NULL, "an error outside a protected call: %s", text);
    return 0;
}

static bool resize_buffer(struct weir_vm *vm, size_t cap)
{
    struct weir_vm_buffer *b = &vm->buffer;
    if (vm->used > vm->limit || cap - b->cap > vm->limit - vm->used)
        return false;
    unsigned char *data = weir_realloc(b->data, cap);
    if (data == NULL)
        return false;
    vm->used += cap - b->cap;
    b->data = data;
    b->cap = cap;
    return true;
}

/* Lua collects, and calls no finalizer then, when it is refused an allocation; asked for more than there can be, it raises the error that
 * nothing else can. */
WEIR_L_RAISES void weir_vm_buffer_grow(lua_State *L, size_t more)
{
    struct weir_vm *vm = weir_vm_of(L);
    size_t need = vm->buffer.len + more, cap = vm->buffer.cap < BUFFER_START ? BUFFER_START : vm->buffer.cap;
    while (cap < need)
        cap *= 2;
    if (cap == vm->buffer.cap || resize_buffer(vm, cap))
        return;
    vm->refuse_once = true;
    lua_newuserdatauv(L, 0, 0);
    lua_pop(L, 1);
    if (!resize_buffer(vm, cap) && !resize_buffer(vm, need))
        lua_newuserdatauv(L, vm->limit + 1, 0);
}

void weir_vm_buffer_free(struct weir_vm_buffer *b)
{
    WEIR_LIST_ENTRY(b, struct weir_vm, buffer)->used -= b->cap;
    weir_free(b->data);
    *b = (struct weir_vm_buffer){.data = NULL};
}

WEIR_L_RAISES int weir_l_traceback(lua_State *L)
{
    const char *text = lua_tostring(L, 1);
    if (text == NULL) {
        if (luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING)
            text = lua_tostring(L, -1);
        else
            text = lua_pushfstring(L, "(the error is a %s value)", luaL_typename(L, 1));
    }
    luaL_traceback(L, L, text, 1);
    return 1;
}

const char *weir_vm_error_text(lua_State *L, int status)
{
    if (status == LUA_ERRMEM)
        return "not enough memory";
    if (status == LUA_ERRERR)
        return "an error in the error handler";
    return lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "an error that is no text";
}

int weir_vm_call(struct weir_vm *vm, lua_CFunction entry, void *args, struct weir_err *reterr)
{
    lua_State *L = vm->L;
    int top = lua_gettop(L);
    if (!lua_checkstack(L, 3))
        return weir_err_set(reterr, WEIR_E_NOMEM, "lua: out of memory");
    lua_pushcfunction(L, weir_l_traceback); /* none of these three allocates, */
    lua_pushcfunction(L, entry);            /* so nothing can raise before    */
    lua_pushlightuserdata(L, args);         /* the call protects us           */
    bool outermost = vm->current == NULL;
    if (outermost)
        weir_preempt_enter(vm, L, 0, 0);
    int status = lua_pcall(L, 1, 0, top + 1);
    if (outermost)
        weir_preempt_leave(vm);
    int rc = WEIR_OK;
    if (vm->doom != WEIR_REASON_NONE && outermost) {
        rc = weir_err_set(reterr, WEIR_E_SCRIPT, "%s", vm->doom_text);
        vm->doom = WEIR_REASON_NONE;
        vm->broken = true;
    } else if (status != LUA_OK)
        rc = weir_err_set(reterr, status == LUA_ERRMEM ? WEIR_E_NOMEM : WEIR_E_SCRIPT, "%s",
                          weir_vm_error_text(L, status));
    lua_settop(L, top);
    return rc;
}

/* The names of the stage's ports, interned and kept alive, so that l_emit can compare addresses. */
WEIR_L_RAISES static void open_ports(lua_State *L, struct weir_vm *vm)
{
    size_t count = vm->seat != NULL ? vm->seat->stage->port_count : 0;
    if (count == 0)
        return;
    vm->ports = weir_calloc(count, sizeof *vm->ports);
    if (vm->ports == NULL)
        luaL_error(L, "out of memory");
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        vm->ports[i].interned = lua_pushstring(L, vm->seat->stage->ports[i].name);
        vm->ports[i].port = &vm->seat->stage->ports[i];
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    vm->port_count = count;
    vm->ports_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* [const] while VMs are made */
static void (*prepare_vm)(lua_State *L, void *arg);
static void *prepare_arg;

void weir_vm_set_prepare(void (*prepare)(lua_State *L, void *arg), void *arg)
{
    prepare_vm = prepare;
    prepare_arg = arg;
}

WEIR_L_RAISES static int l_open(lua_State *L)
{
    struct weir_vm *vm = weir_vm_of(L);
    open_ports(L, vm);
    weir_request_ud_open(L);
    weir_stream_ud_open(L);
    weir_api_open(L); /* leaves the `weir` table */
    if (prepare_vm != NULL)
        prepare_vm(L, prepare_arg);
    weir_sandbox_open(L, vm->script);
    weir_preempt_open(L);
    lua_pop(L, 1);
    return 0;
}

struct load {
    struct weir_err err; /* set: the script is wrong, and this says how */
    int main;            /* where its chunk is on the stack */
};

/* The last line of the script that does something: where its `return` is, or is missing. `main` is its chunk. */
WEIR_L_RAISES static int last_line(lua_State *L, int main)
{
    lua_Debug info;
    int last = 1;
    lua_pushvalue(L, main);
    lua_getinfo(L, ">L", &info);
    lua_pushnil(L);
    while (lua_istable(L, -2) && lua_next(L, -2)) {
        int line = (int)lua_tointeger(L, -2);
        last = line > last ? line : last;
        lua_pop(L, 1);
    }
    return last;
}

WEIR_L_RAISES static void complain(lua_State *L, struct load *load, const char *fmt, ...)
{
    struct weir_err text;
    va_list ap;
    va_start(ap, fmt);
    weir_err_vset(&text, WEIR_E_SCRIPT, fmt, ap);
    va_end(ap);
    weir_err_set(&load->err, WEIR_E_SCRIPT, "%s:%d: %s", weir_vm_of(L)->script->file, last_line(L, load->main), text.text);
}

static const char *name_result(lua_State *L)
{
    return lua_isnil(L, -1) ? "nothing" : lua_type(L, -1) == LUA_TSTRING ? "a string" : luaL_typename(L, -1);
}

/* What a source asks is one function; what is said of handlers does not help with it. */
WEIR_L_RAISES static void check_of_source(lua_State *L, struct load *load)
{
    bool table = lua_istable(L, -1);
    bool good = lua_isfunction(L, -1) || (table && lua_getfield(L, -1, "handle") == LUA_TFUNCTION);
    if (!good)
        complain(L, load, "a file for a source must return a function, or a table with one, `handle`; this one returned %s",
                 table ? "a table without it" : name_result(L));
    lua_settop(L, load->main + 1);
}

/* What a controller is, for controller.c: the function, or the table with it. */
WEIR_L_RAISES static void take_controller(lua_State *L, struct weir_vm *vm, struct load *load)
{
    bool table = lua_istable(L, -1);
    if (!lua_isfunction(L, -1) && !(table && lua_getfield(L, -1, "step") == LUA_TFUNCTION)) {
        complain(L, load, "a controller's file must return a function, or a table with one, `step`; this one returned %s",
                 table ? "a table without it" : name_result(L));
        return;
    }
    lua_settop(L, load->main + 1);
    vm->handle_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Takes what the handler is from the script's result at the top of the stack. */
WEIR_L_RAISES static void take_result(lua_State *L, struct weir_vm *vm, struct load *load)
{
    if (lua_isfunction(L, -1)) {
        vm->handle_ref = luaL_ref(L, LUA_REGISTRYINDEX);
        return;
    }
    if (!lua_istable(L, -1)) {
        complain(L, load,
               "a handler file must return a table with `handle` or `handle_batch`, or a function; this one returned %s",
               name_result(L));
        return;
    }
    bool one = lua_getfield(L, -1, "handle") != LUA_TNIL,
         batch = lua_getfield(L, -2, "handle_batch") != LUA_TNIL;
    int init = lua_getfield(L, -3, "init");
    if (one && batch)
        complain(L, load, "the table has both `handle` and `handle_batch`; it must have one of them");
    else if (!one && !batch)
        complain(L, load, "the returned table has neither `handle` nor `handle_batch`");
    else if (!lua_isfunction(L, one ? -3 : -2))
        complain(L, load, "`%s` must be a function, it is a %s", one ? "handle" : "handle_batch",
               luaL_typename(L, one ? -3 : -2));
    else if (init != LUA_TNIL && init != LUA_TFUNCTION)
        complain(L, load, "`init` must be a function, it is a %s", luaL_typename(L, -1));
    if (load->err.code != WEIR_OK)
        return;
    vm->takes_batches = batch;
    if (init == LUA_TFUNCTION)
        vm->init_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    else
        lua_pop(L, 1);
    lua_pushvalue(L, one ? -2 : -1);
    vm->handle_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

WEIR_L_RAISES static int l_load(lua_State *L)
{
    struct load *load = lua_touserdata(L, 1);
    struct weir_vm *vm = weir_vm_of(L);
    if (!weir_script_push_main(L, vm->script, &load->err))
        return 0;
    load->main = lua_gettop(L);
    lua_pushvalue(L, load->main);
    lua_call(L, 0, 1);
    if (vm->script->of_source)
        check_of_source(L, load);
    if (vm->script->of_controller)
        take_controller(L, vm, load);
    else if (load->err.code == WEIR_OK)
        take_result(L, vm, load);
    return 0;
}

static void take_turn(struct weir_aside *turn)
{
    weir_call_run_ready(WEIR_LIST_ENTRY(turn, struct weir_vm, turn));
}

void weir_vm_schedule(struct weir_vm *vm)
{
    if (vm->attached && weir_list_empty(&vm->turn.node))
        weir_worker_set_aside(vm->seat->worker, &vm->turn);
}

void weir_vm_attach(struct weir_vm *vm)
{
    vm->attached = true;
    vm->watch = weir_watch_current();
    weir_api_time_attach(vm);
    if (!weir_list_empty(&vm->ready))
        weir_vm_schedule(vm);
}

void weir_vm_retire(struct weir_vm *vm)
{
    weir_api_time_detach(vm);
    weir_call_cancel_fibers(vm);
}

void weir_vm_detach(struct weir_vm *vm)
{
    vm->attached = false;
    weir_list_remove(&vm->turn.node);
    weir_api_time_detach(vm);
    weir_stream_ud_cut_all(vm);
    while (!weir_list_empty(&vm->objects)) {
        struct weir_vm_object *o = WEIR_LIST_ENTRY(vm->objects.next, struct weir_vm_object, node);
        o->close(o);
    }
    weir_vm_unhold_all(vm); /* some are of what another thread has not done with yet */
}

static struct weir_vm *allocate_vm(const struct weir_lua_script *script, struct weir_seat *seat)
{
    struct weir_vm *vm = weir_calloc(1, sizeof *vm);
    if (vm == NULL)
        return NULL;
    vm->script = script;
    vm->seat = seat;
    vm->limit = script->memory;
    vm->soft = script->memory / 4 * 3;
    weir_list_init(&vm->idle);
    weir_list_init(&vm->bare);
    weir_list_init(&vm->suspended);
    weir_list_init(&vm->orphans);
    weir_list_init(&vm->ready);
    weir_list_init(&vm->turn.node);
    weir_list_init(&vm->timers);
    weir_list_init(&vm->objects);
    weir_list_init(&vm->holds.list);
    vm->turn.run = take_turn;
    vm->watch = weir_watch_current();
    vm->doom = WEIR_REASON_NONE;
    weir_list_init(&vm->streams);
    weir_list_init(&vm->node);
    vm->handle_ref = vm->init_ref = vm->request_ref = vm->stream_ref = LUA_NOREF;
    vm->array_ref = vm->loaded_ref = vm->ports_ref = vm->vars_ref = LUA_NOREF;
    return vm;
}

static int describe_memory(const struct weir_vm *vm, struct weir_err *reterr)
{
    return weir_err_set(reterr, WEIR_E_NOMEM, "%s:1: out of memory while loading (limits.memory is %zu bytes)",
                        vm->script->file, vm->limit);
}

int weir_vm_create(const struct weir_lua_script *script, struct weir_seat *seat, struct weir_vm **ret,
                   struct weir_err *reterr)
{
    struct weir_vm *vm = allocate_vm(script, seat);
    if (vm == NULL)
        return weir_err_set(reterr, WEIR_E_NOMEM, "%s: out of memory", script->file);
    struct load load = {.err = {.code = WEIR_OK}};
    vm->L = lua_newstate(allocate, vm);
    int rc = WEIR_E_NOMEM;
    if (vm->L != NULL) {
        lua_atpanic(vm->L, l_panic);
        *(struct weir_vm **)lua_getextraspace(vm->L) = vm;
        weir_preempt_prepare(vm);
        rc = weir_vm_call(vm, l_open, NULL, reterr);
    }
    if (rc == WEIR_OK)
        rc = weir_vm_call(vm, l_load, &load, reterr);
    if (rc == WEIR_OK && load.err.code != WEIR_OK)
        rc = weir_err_set(reterr, load.err.code, "%s", load.err.text);
    if (rc == WEIR_E_NOMEM)
        describe_memory(vm, reterr);
    if (rc != WEIR_OK) {
        weir_vm_destroy(vm);
        return rc;
    }
    vm->phase = WEIR_VM_SERVING;
    *ret = vm;
    return WEIR_OK;
}

WEIR_L_RAISES static int l_init(lua_State *L)
{
    struct weir_vm *vm = weir_vm_of(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->init_ref);
    weir_config_push_ctx(L, vm);
    lua_call(L, 1, 0);
    return 0;
}

int weir_vm_init(struct weir_vm *vm, struct weir_err *reterr)
{
    if (vm->init_ref == LUA_NOREF)
        return WEIR_OK;
    vm->phase = WEIR_VM_INIT;
    int rc = weir_vm_call(vm, l_init, NULL, reterr);
    if (rc == WEIR_E_NOMEM)
        describe_memory(vm, reterr);
    vm->phase = WEIR_VM_SERVING;
    return rc;
}

void weir_vm_destroy(struct weir_vm *vm)
{
    if (vm == NULL)
        return;
    vm->watch = NULL; /* this thread is another, and what finalizers do is not watched */
    if (vm->L != NULL)
        lua_close(vm->L); /* takes the registry and every reference with it */
    weir_call_free_all(vm);
    weir_free(vm->ports);
    weir_vm_buffer_free(&vm->buffer);
    weir_block_cache_fini(&vm->blocks);
    weir_free(vm);
}

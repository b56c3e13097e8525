/* Fuzz target: MessagePack bytes into a VM and back. What the check lets pass becomes a Lua value or raises;
 * a value that came out goes in again, and out, and is the same. */
#include <lua.h>
#include <lauxlib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/value.h"
#include "lua/convert.h"
#include "lua/script.h"
#include "lua/vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool true_thing)
{
    if (!true_thing)
        abort();
}

static struct weir_value value_of(const uint8_t *data, size_t size)
{
    struct weir_value v = {.kind = WEIR_VALUE_BYTES, .blob = weir_blob_create(size)};
    must(v.blob != NULL);
    memcpy(v.blob->data, data, size);
    return v;
}

/* Whether two values are the same all the way down; a NaN is the same as a NaN. */
static bool same(lua_State *L, int a, int b)
{
    luaL_checkstack(L, 8, NULL);
    if (lua_type(L, a) == LUA_TNUMBER && lua_type(L, b) == LUA_TNUMBER && !lua_rawequal(L, a, a))
        return !lua_rawequal(L, b, b);
    if (lua_type(L, a) == LUA_TNUMBER && lua_isinteger(L, a) != lua_isinteger(L, b))
        return false;
    if (!lua_istable(L, a) || !lua_istable(L, b))
        return lua_rawequal(L, a, b);
    int top = lua_gettop(L);
    size_t left = 0;
    for (lua_pushnil(L); lua_next(L, a); lua_settop(L, top + 1), left++) {
        lua_pushvalue(L, top + 1);
        lua_rawget(L, b);
        if (!same(L, top + 2, top + 3))
            return false;
    }
    for (lua_pushnil(L); lua_next(L, b); lua_settop(L, top + 1))
        left--;
    return left == 0;
}

struct trip {
    struct weir_value in, out;
    bool read; /* the bytes became a value */
};

static int l_read(lua_State *L)
{
    struct trip *t = lua_touserdata(L, 1);
    weir_convert_push(L, t->in, 0);
    t->read = true;
    struct weir_encoded enc;
    struct weir_vm *vm = weir_vm_of(L);
    vm->buffer.len = 0;
    weir_convert_encode(L, -1, "event", &enc);
    must(weir_convert_take(vm, &enc, &t->out));
    weir_convert_push(L, t->out, 0);
    must(same(L, 2, 3));
    return 0;
}

static struct weir_vm *make_vm(void)
{
    static char file[] = "fuzz", folder[] = ".", text[] = "return print";
    static struct weir_lua_script script = {
        .file = file, .folder = folder, .memory = 64 << 20, .text = text, .text_len = sizeof text - 1};
    struct weir_vm *vm = NULL;
    struct weir_err err;
    must(weir_vm_create(&script, NULL, &vm, &err) == WEIR_OK);
    return vm;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!weir_value_check(data, size))
        return 0;
    struct weir_vm *vm = make_vm();
    struct trip t = {.in = value_of(data, size), .out = WEIR_VALUE_NOTHING, .read = false};
    struct weir_err err;
    int rc = weir_vm_call(vm, l_read, &t, &err);
    /* what could be read can be sent again; memory may always be short */
    must(rc == WEIR_OK || !t.read || rc == WEIR_E_NOMEM);
    weir_value_unref(t.in);
    weir_value_unref(t.out);
    weir_vm_destroy(vm);
    return 0;
}
